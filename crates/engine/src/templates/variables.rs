//! Which variables a template uses, found in MiniJinja's own syntax tree, and what is declared about them.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::machinery::ast::{Call, CallArg, Expr, Filter, Stmt};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::FieldError;

/// Names every template can use without declaring them.
pub const PROVIDED: &[&str] = &["brand", "contact", "unsubscribe_url", "preferences_url"];
/// Functions of MiniJinja itself.
const FUNCTIONS: &[&str] =
    &["range", "dict", "namespace", "debug", "loop", "caller", "self", "super", "cycler", "joiner"];
/// Variables one version can declare.
pub const VARIABLES_MAX: usize = 200;
/// Longest name of a variable.
const NAME_MAX: usize = 64;

/// What a variable holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VariableType {
    /// Anything.
    #[default]
    Any,
    /// A text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A list.
    List,
    /// An object.
    Object,
}

impl VariableType {
    /// Whether a value is of this type; `null` is of every type.
    pub fn fits(self, value: &Value) -> bool {
        matches!(
            (self, value),
            (Self::Any, _)
                | (_, Value::Null)
                | (Self::String, Value::String(_))
                | (Self::Number, Value::Number(_))
                | (Self::Boolean, Value::Bool(_))
                | (Self::List, Value::Array(_))
                | (Self::Object, Value::Object(_))
        )
    }

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::String => "string",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::List => "list",
            Self::Object => "object",
        }
    }

    /// What stands for a value that is not there.
    pub(super) fn nothing(self) -> Value {
        match self {
            Self::Any | Self::String | Self::Number => Value::String(String::new()),
            Self::Boolean => Value::Bool(false),
            Self::List => Value::Array(Vec::new()),
            Self::Object => Value::Object(serde_json::Map::new()),
        }
    }
}

/// A variable of a template.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Its name in the template.
    #[schema(example = "first_name")]
    pub name: String,
    /// What it holds.
    #[serde(default, rename = "type")]
    pub kind: VariableType,
    /// Whether a message must give it. Left out: yes, unless there is a default.
    #[serde(default)]
    pub required: Option<bool>,
    /// What is taken when a message does not give it.
    #[serde(default)]
    pub default: Option<Value>,
    /// What previews and tests show.
    #[serde(default)]
    pub example: Option<Value>,
    /// What it is, for people.
    #[serde(default)]
    pub description: Option<String>,
}

impl Variable {
    /// Whether a message must give it.
    pub fn is_required(&self) -> bool {
        self.required.unwrap_or(self.default.is_none()) && self.default.is_none()
    }

    /// What is taken when a message does not give it; `None` when it must.
    pub fn fallback(&self) -> Option<Value> {
        if self.is_required() { None } else { Some(self.default.clone().unwrap_or_else(|| self.kind.nothing())) }
    }
}

/// Notes what is wrong with declared variables.
pub(super) fn check(variables: &[Variable], bad: &mut Vec<FieldError>) {
    if variables.len() > VARIABLES_MAX {
        bad.push(FieldError::new("/variables", format!("at most {VARIABLES_MAX} variables")));
        return;
    }
    let mut names = BTreeSet::new();
    for (index, variable) in variables.iter().enumerate() {
        let at = |field: &str| format!("/variables/{index}/{field}");
        let name = variable.name.as_str();
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !is_name || name.len() > NAME_MAX {
            let detail = format!("a name has up to {NAME_MAX} letters, digits and _, and begins with no digit");
            bad.push(FieldError::new(at("name"), detail));
        } else if PROVIDED.contains(&name) {
            bad.push(FieldError::new(
                at("name"),
                format!("`{name}` is there without being declared; choose another name"),
            ));
        } else if !names.insert(name) {
            bad.push(FieldError::new(at("name"), format!("`{name}` is declared twice")));
        }
        for (field, value) in [("default", &variable.default), ("example", &variable.example)] {
            if value.as_ref().is_some_and(|value| !variable.kind.fits(value)) {
                bad.push(FieldError::new(at(field), format!("expected a {}", variable.kind.as_str())));
            }
        }
    }
}

/// How a text uses what it uses.
#[derive(Debug, Default)]
pub(super) struct Uses {
    /// Variables by name: the first line, whether one is needed, and what it seems to be.
    pub variables: BTreeMap<String, Use>,
    /// Things that are not there: what and in which line.
    pub unknown: Vec<(String, u32)>,
}

/// How one variable is used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Use {
    pub line: u32,
    pub is_needed: bool,
    pub kind: VariableType,
}

/// Looks through a text. What cannot be parsed uses nothing; compiling says why.
pub(super) fn uses(text: &str, is_filter: impl Fn(&str) -> bool, is_test: impl Fn(&str) -> bool) -> Uses {
    let Ok(tree) = minijinja::machinery::parse(text, "text", minijinja::syntax::SyntaxConfig::default()) else {
        return Uses::default();
    };
    let mut walk = Walk {
        uses: Uses::default(),
        bound: vec![BTreeSet::new()],
        guarded: Vec::new(),
        is_filter: &is_filter,
        is_test: &is_test,
    };
    walk.statement(&tree);
    walk.uses
}

struct Walk<'w, 'a> {
    uses: Uses,
    /// Names the template sets itself, by scope.
    bound: Vec<BTreeSet<&'a str>>,
    /// Names the branch we are in has asked about.
    guarded: Vec<&'a str>,
    is_filter: &'w dyn Fn(&str) -> bool,
    is_test: &'w dyn Fn(&str) -> bool,
}

impl<'a> Walk<'_, 'a> {
    fn note(&mut self, name: &'a str, line: u32, is_soft: bool, kind: VariableType) {
        if self.bound.iter().any(|scope| scope.contains(name)) || FUNCTIONS.contains(&name) {
            return;
        }
        let is_needed = !is_soft && !self.guarded.contains(&name);
        let use_ = self.uses.variables.entry(name.to_owned()).or_insert(Use { line, is_needed, kind });
        use_.is_needed |= is_needed;
        if use_.kind == VariableType::Any {
            use_.kind = kind;
        }
    }

    fn bind(&mut self, target: &Expr<'a>) {
        match target {
            Expr::Var(var) => {
                if let Some(scope) = self.bound.last_mut() {
                    scope.insert(var.id);
                }
            }
            Expr::List(list) => list.items.iter().for_each(|item| self.bind(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.bind(item)),
            other => self.expression(other),
        }
    }

    fn scoped(&mut self, work: impl FnOnce(&mut Self)) {
        self.bound.push(BTreeSet::new());
        work(self);
        self.bound.pop();
    }

    fn body(&mut self, body: &[Stmt<'a>]) {
        body.iter().for_each(|statement| self.statement(statement));
    }

    fn refuse(&mut self, what: &str, line: u32) {
        self.uses.unknown.push((format!("{what} is not possible here: a template stands by itself"), line));
    }

    fn statement(&mut self, statement: &Stmt<'a>) {
        match statement {
            Stmt::Template(template) => self.body(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(each) => {
                self.typed(&each.iter, VariableType::List);
                self.scoped(|walk| {
                    walk.bind(&each.target);
                    each.filter_expr.iter().for_each(|filter| walk.expression(filter));
                    walk.body(&each.body);
                });
                self.scoped(|walk| walk.body(&each.else_body));
            }
            Stmt::IfCond(cond) => {
                self.expression(&cond.expr);
                let before = self.guarded.len();
                asked(&cond.expr, &mut self.guarded);
                self.body(&cond.true_body);
                self.body(&cond.false_body);
                self.guarded.truncate(before);
            }
            Stmt::WithBlock(with) => self.scoped(|walk| {
                for (target, value) in &with.assignments {
                    walk.expression(value);
                    walk.bind(target);
                }
                walk.body(&with.body);
            }),
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.bind(&set.target);
            }
            Stmt::SetBlock(set) => {
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.scoped(|walk| walk.body(&set.body));
                self.bind(&set.target);
            }
            Stmt::AutoEscape(escape) => self.refuse("`autoescape`", escape.span().start_line.into()),
            Stmt::FilterBlock(filter) => {
                self.expression(&filter.filter);
                self.scoped(|walk| walk.body(&filter.body));
            }
            Stmt::Block(block) => self.scoped(|walk| walk.body(&block.body)),
            Stmt::Import(import) => self.refuse("`import`", import.span().start_line.into()),
            Stmt::FromImport(import) => self.refuse("`from … import`", import.span().start_line.into()),
            Stmt::Extends(extends) => self.refuse("`extends`", extends.span().start_line.into()),
            Stmt::Include(include) => self.refuse("`include`", include.span().start_line.into()),
            Stmt::Macro(defined) => {
                if let Some(scope) = self.bound.last_mut() {
                    scope.insert(defined.name);
                }
                self.scoped(|walk| {
                    defined.args.iter().for_each(|arg| walk.bind(arg));
                    defined.defaults.iter().for_each(|value| walk.expression(value));
                    walk.body(&defined.body);
                });
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call);
                self.scoped(|walk| walk.body(&block.macro_decl.body));
            }
            Stmt::Do(doing) => self.call(&doing.call),
        }
    }

    fn call(&mut self, call: &Call<'a>) {
        self.expression(&call.expr);
        self.arguments(&call.args);
    }

    fn arguments(&mut self, args: &[CallArg<'a>]) {
        for arg in args {
            match arg {
                CallArg::Pos(value)
                | CallArg::Kwarg(_, value)
                | CallArg::PosSplat(value)
                | CallArg::KwargSplat(value) => {
                    self.expression(value);
                }
            }
        }
    }

    fn expression(&mut self, expression: &Expr<'a>) {
        self.typed(expression, VariableType::Any);
    }

    fn typed(&mut self, expression: &Expr<'a>, kind: VariableType) {
        match expression {
            Expr::Var(var) => self.note(var.id, var.span().start_line.into(), false, kind),
            Expr::Const(_) => {}
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                [&slice.start, &slice.stop, &slice.step].into_iter().flatten().for_each(|part| self.expression(part));
            }
            Expr::UnaryOp(op) => self.expression(&op.expr),
            Expr::BinOp(op) => {
                self.expression(&op.left);
                self.expression(&op.right);
            }
            Expr::Compare(compare) => {
                self.expression(&compare.expr);
                compare.ops.iter().for_each(|op| self.expression(&op.expr));
            }
            Expr::IfExpr(cond) => {
                self.expression(&cond.test_expr);
                let before = self.guarded.len();
                asked(&cond.test_expr, &mut self.guarded);
                self.expression(&cond.true_expr);
                cond.false_expr.iter().for_each(|value| self.expression(value));
                self.guarded.truncate(before);
            }
            Expr::Filter(filter) => self.filter(filter, filter.span().start_line.into()),
            Expr::Test(test) => {
                let line = test.span().start_line.into();
                if !(self.is_test)(test.name) {
                    self.uses.unknown.push((format!("there is no test `{}`", test.name), line));
                }
                match &test.expr {
                    Expr::Var(var) if matches!(test.name, "defined" | "undefined") => {
                        self.note(var.id, line, true, VariableType::Any);
                    }
                    expression => self.expression(expression),
                }
                self.arguments(&test.args);
            }
            Expr::GetAttr(get) => self.typed(&get.expr, VariableType::Object),
            Expr::GetItem(get) => {
                self.expression(&get.expr);
                self.expression(&get.subscript_expr);
            }
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.items.iter().for_each(|item| self.expression(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.expression(item)),
            Expr::Map(map) => {
                map.keys.iter().chain(&map.values).for_each(|item| self.expression(item));
            }
        }
    }

    fn filter(&mut self, filter: &Filter<'a>, line: u32) {
        if !(self.is_filter)(filter.name) {
            self.uses.unknown.push((format!("there is no filter `{}`", filter.name), line));
        }
        match &filter.expr {
            Some(Expr::Var(var)) if matches!(filter.name, "default" | "d") => {
                self.note(var.id, line, true, VariableType::Any);
            }
            Some(expression) => self.expression(expression),
            None => {}
        }
        self.arguments(&filter.args);
    }
}

/// The names a condition asks about with `is defined`.
fn asked<'a>(condition: &Expr<'a>, names: &mut Vec<&'a str>) {
    match condition {
        Expr::Test(test) if matches!(test.name, "defined" | "undefined") => {
            if let Expr::Var(var) = &test.expr {
                names.push(var.id);
            }
        }
        Expr::UnaryOp(op) => asked(&op.expr, names),
        Expr::BinOp(op) => {
            asked(&op.left, names);
            asked(&op.right, names);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(text: &str) -> Vec<String> {
        let uses = uses(text, |name| name != "shout", |name| name != "purple");
        let variables = uses.variables.iter().map(|(name, use_)| match use_.is_needed {
            true => format!("{name}:{}", use_.kind.as_str()),
            false => format!("{name}?"),
        });
        variables.chain(uses.unknown.iter().map(|(what, line)| format!("{line}: {what}"))).collect()
    }

    #[test]
    fn variables_are_found_with_what_is_asked_of_them() {
        let check = |text: &str, expected: &[&str]| assert_eq!(used(text), expected, "{text}");
        check("Hello {{ name }}", &["name:any"]);
        check(
            "{{ order.total }} {% for i in items %}{{ i.x }}{{ loop.index }}{% endfor %}",
            &["items:list", "order:object"],
        );
        check("{{ name|default('you') }}", &["name?"]);
        check("{% if name is defined %}{{ name }}{% endif %}", &["name?"]);
        check("{% if name is defined and x %}{{ name }}{% endif %}{{ name }}", &["name:any", "x:any"]);
        check("{% set a = b %}{{ a }}{% macro m(c) %}{{ c }}{{ d }}{% endmacro %}{{ m(1) }}", &["b:any", "d:any"]);
        check(
            "{{ x|shout }}\n{{ y is purple }}",
            &["x:any", "y:any", "1: there is no filter `shout`", "2: there is no test `purple`"],
        );
        check("{% include 'a' %}", &["1: `include` is not possible here: a template stands by itself"]);
        check("{% for i in range(3) %}{{ i }}{% endfor %}", &[]);
        check("{{ broken", &[]);
    }
}
