//! Publishing: from what an author wrote to contents that can be rendered for anybody. Pure. Refuses whatever would fail for every message, with the field, the line and the reason.

use std::collections::BTreeMap;

use model::{Channel, Content, EmailAddress, EmailContent};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};
use utoipa::ToSchema;

use super::{
    markup,
    variables::{self, PROVIDED, Use, Variable, VariableType},
};
use crate::{
    Error, FieldError,
    accept::{plan, request},
    render::{self, Needs, Prepared, Provided},
};

/// Languages of one version: more than any sender keeps up.
pub const VARIANTS_MAX: usize = 50;
/// Bytes of HTML above which Gmail cuts a mail off.
pub const CLIP: usize = 102 * 1024;

/// What an author writes: the variants by language, and what is known of their variables.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Source {
    /// The language of those who have none of the others.
    pub default_locale: String,
    /// What is said, by language.
    pub variants: BTreeMap<String, Box<RawValue>>,
    /// Declared variables; `None` when they are to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<Vec<Variable>>,
}

/// A mail as it is written in a template.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailVariant {
    #[serde(default)]
    subject: String,
    #[serde(default)]
    mjml: Option<String>,
    #[serde(default)]
    html: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    reply_to: Option<EmailAddress>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

/// Something an author may want to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// Which field.
    #[schema(example = "/variants/en/mjml")]
    pub pointer: String,
    /// Stable word for it.
    #[schema(example = "clipped")]
    pub code: String,
    /// What it is, and what to do.
    pub detail: String,
}

/// What publishing makes.
#[derive(Debug, Clone)]
pub struct Compiled {
    /// What is said, by language, with what it needs.
    pub contents: BTreeMap<String, (Content, Needs)>,
    /// Variables, declared or found.
    pub variables: Vec<Variable>,
    /// What is odd and no error.
    pub warnings: Vec<Warning>,
}

/// Compiles a version for a channel.
pub fn compile(channel: Channel, source: &Source, provided: &Provided) -> Result<Compiled, Error> {
    let (mut bad, mut warnings) = (Vec::new(), Vec::new());
    if let Some(declared) = &source.variables {
        variables::check(declared, &mut bad);
    }
    let mut written = BTreeMap::new();
    for (locale, raw) in &source.variants {
        let base = format!("/variants/{locale}");
        match variant(channel, raw, &base, &mut warnings) {
            Ok(content) => drop(written.insert(locale, content)),
            Err(error) if error.errors.is_empty() => return Err(error),
            Err(error) => bad.extend(error.errors),
        }
    }
    let mut found: BTreeMap<String, Use> = BTreeMap::new();
    for (locale, (content, origin)) in &written {
        let base = format!("/variants/{locale}");
        match Prepared::new(content.clone()) {
            Ok(prepared) => {
                for (pointer, text) in prepared.placeholders() {
                    let pointer = at(&pointer, &base, origin.as_deref());
                    // The author's own text has the lines the author knows.
                    let text = origin.as_ref().filter(|_| pointer.ends_with("/mjml")).map_or(text, |mjml| mjml.clone());
                    look(source, &pointer, &text, &mut found, &mut bad);
                }
            }
            Err(error) => bad.extend(error.errors.into_iter().map(|field| rebased(field, &base, origin.as_deref()))),
        }
    }
    let variables = match &source.variables {
        Some(declared) => {
            for (index, variable) in declared.iter().enumerate().filter(|(_, v)| !found.contains_key(&v.name)) {
                warnings.push(Warning {
                    pointer: format!("/variables/{index}"),
                    code: "unused_variable".to_owned(),
                    detail: format!("`{}` is declared and nothing uses it", variable.name),
                });
            }
            declared.clone()
        }
        None => found.iter().map(|(name, use_)| discovered(name, *use_)).collect(),
    };
    let mut contents = BTreeMap::new();
    for (locale, (content, origin)) in written {
        let needs = needs(locale, &variables, source.variables.as_deref());
        rehearse(&content, &variables, provided, &format!("/variants/{locale}"), origin.as_deref(), &mut bad);
        contents.insert(locale.clone(), (content, needs));
    }
    bad.sort_by(|a, b| a.pointer.cmp(&b.pointer));
    bad.dedup();
    if bad.is_empty() { Ok(Compiled { contents, variables, warnings }) } else { Err(Error::invalid_fields(bad)) }
}

/// A variant as a content, and the MJML it was made of.
fn variant(
    channel: Channel,
    raw: &RawValue,
    base: &str,
    warnings: &mut Vec<Warning>,
) -> Result<(Content, Option<String>), Error> {
    if channel != Channel::Email {
        return plan::content(raw.get().as_bytes(), channel, Vec::new(), base).map(|content| (content, None));
    }
    let email: EmailVariant = request::read(raw.get().as_bytes(), base)?;
    if email.mjml.is_some() && email.html.is_some() {
        return Err(Error::invalid(format!("{base}/html"), "give either `mjml` or `html`, not both"));
    }
    let (html, field) = match (&email.mjml, email.html) {
        (Some(mjml), _) => (Some(made_of_mjml(mjml, base)?), "mjml"),
        (None, html) => (html, "html"),
    };
    let html = html.filter(|html| !html.trim().is_empty()).map(|html| {
        markup::inline_css(&html).unwrap_or_else(|why| {
            warnings.push(Warning {
                pointer: format!("{base}/{field}"),
                code: "css_not_inlined".to_owned(),
                detail: format!("Styles stay where they are, and some mail programs do not read them there: {why}."),
            });
            html
        })
    });
    if let Some(html) = html.as_ref().filter(|html| html.len() > CLIP) {
        warnings.push(Warning {
            pointer: format!("{base}/{field}"),
            code: "clipped".to_owned(),
            detail: format!("The HTML has {} bytes. Gmail cuts mails off after {CLIP}; what follows, often the link to unsubscribe, is hidden.", html.len()),
        });
    }
    let text = email.text.filter(|text| !text.trim().is_empty()).or_else(|| markup::text(html.as_deref()?));
    let content = Content::Email(EmailContent {
        subject: email.subject,
        text,
        html,
        reply_to: email.reply_to,
        headers: email.headers,
        attachments: Vec::new(),
    });
    plan::check_source(&content, base)?;
    Ok((content, email.mjml))
}

fn made_of_mjml(mjml: &str, base: &str) -> Result<String, Error> {
    let pointer = format!("{base}/mjml");
    if mjml.len() > plan::TEXT_MAX {
        return Err(Error::invalid(pointer, format!("at most {} bytes", plan::TEXT_MAX)));
    }
    // Placeholders first: their mistakes have better words.
    let sketch = Content::Email(EmailContent { html: Some(mjml.to_owned()), ..EmailContent::default() });
    if let Err(error) = Prepared::new(sketch) {
        let fields = error.errors.into_iter().map(|field| FieldError::new(pointer.clone(), field.detail));
        return Err(Error::invalid_fields(fields.collect()));
    }
    markup::mjml(mjml).map_err(|fault| {
        let line = fault.line.map(|line| format!("line {line}: ")).unwrap_or_default();
        Error::invalid(pointer, format!("{line}{}", fault.detail))
    })
}

/// Where a text of a content comes from.
fn at(pointer: &str, base: &str, mjml: Option<&str>) -> String {
    let rest = pointer.strip_prefix("/content").unwrap_or(pointer);
    let rest = if rest == "/html" && mjml.is_some() { "/mjml" } else { rest };
    format!("{base}{}", rest.trim_end_matches(':'))
}

fn rebased(field: FieldError, base: &str, mjml: Option<&str>) -> FieldError {
    FieldError::new(at(&field.pointer, base, mjml), field.detail)
}

/// Notes what a text uses, and what of it is not there.
fn look(source: &Source, pointer: &str, text: &str, found: &mut BTreeMap<String, Use>, bad: &mut Vec<FieldError>) {
    let uses = variables::uses(text, render::has_filter, render::has_test);
    for (what, line) in uses.unknown {
        bad.push(FieldError::new(pointer, format!("line {line}: {what}")));
    }
    for (name, use_) in uses.variables {
        if PROVIDED.contains(&name.as_str()) {
            continue;
        }
        if source.variables.as_ref().is_some_and(|declared| declared.iter().all(|variable| variable.name != name)) {
            let line = use_.line;
            bad.push(FieldError::new(pointer, format!("line {line}: `{name}` is not declared; add it to `variables`, or leave `variables` out to have them found")));
        }
        let known = found.entry(name).or_insert(use_);
        known.is_needed |= use_.is_needed;
        if known.kind == VariableType::Any {
            known.kind = use_.kind;
        }
    }
}

fn discovered(name: &str, use_: Use) -> Variable {
    Variable { name: name.to_owned(), kind: use_.kind, required: Some(use_.is_needed), ..Variable::default() }
}

fn needs(locale: &str, variables: &[Variable], declared: Option<&[Variable]>) -> Needs {
    Needs {
        locale: locale.to_owned(),
        required: variables.iter().filter(|v| v.is_required()).map(|v| v.name.clone()).collect(),
        // A variable that was only found stays undefined when it is missing: the template asks whether it is there.
        defaults: declared
            .iter()
            .flat_map(|variables| variables.iter())
            .filter_map(|v| Some((v.name.clone(), v.fallback()?)))
            .collect(),
        // What a template seems to expect is a guess; only what is declared is insisted on.
        types: declared
            .iter()
            .flat_map(|variables| variables.iter())
            .filter(|v| v.kind != VariableType::Any)
            .map(|v| (v.name.clone(), v.kind))
            .collect(),
    }
}

/// Values to show a template with: examples and defaults, then the given ones. And whether all that are needed are there.
pub fn samples(variables: &[Variable], given: &Map<String, Value>) -> (Map<String, Value>, bool) {
    let mut values = given.clone();
    for variable in variables {
        let value = variable.example.clone().or_else(|| variable.default.clone());
        if let Some(value) = value
            && !values.contains_key(&variable.name)
        {
            values.insert(variable.name.clone(), value);
        }
    }
    let is_whole = variables.iter().all(|variable| !variable.is_required() || values.contains_key(&variable.name));
    (values, is_whole)
}

fn rehearse(
    content: &Content,
    variables: &[Variable],
    provided: &Provided,
    base: &str,
    mjml: Option<&str>,
    bad: &mut Vec<FieldError>,
) {
    let Ok(prepared) = Prepared::new(content.clone()) else { return };
    let (values, is_whole) = samples(variables, &Map::new());
    let is_whole = is_whole && variables.iter().any(|variable| variable.example.is_some());
    let failed = prepared.rehearse(&values, provided, is_whole);
    bad.extend(failed.into_iter().map(|field| rebased(field, base, mjml)));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn source(variants: Value, variables: Option<Value>) -> Source {
        let mut source = json!({ "default_locale": "en", "variants": variants });
        if let Some(variables) = variables {
            source["variables"] = variables;
        }
        serde_json::from_str(&source.to_string()).unwrap()
    }

    fn refused(channel: Channel, variants: Value, variables: Option<Value>) -> Vec<String> {
        let error = compile(channel, &source(variants, variables), &Provided::new()).err().unwrap();
        error.errors.into_iter().map(|field| format!("{} {}", field.pointer, field.detail)).collect()
    }

    #[test]
    fn what_would_fail_for_everybody_is_refused_with_its_place() {
        let check = |variant: Value, expected: &[&str]| {
            let refused = refused(Channel::Email, json!({ "en": variant }), None);
            for expected in expected {
                assert!(refused.iter().any(|text| text.contains(expected)), "{expected} is not in {refused:?}");
            }
        };
        check(json!({"subject": "x", "html": "a\n{{ b"}), &["/variants/en/html line 2: the template cannot be read"]);
        check(
            json!({"subject": "{{ x|shout }}", "text": "a"}),
            &["/variants/en/subject line 1: there is no filter `shout`"],
        );
        check(
            json!({"subject": "x", "text": "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}"}),
            &["/variants/en/text the template does too much work"],
        );
        check(
            json!({"subject": "x", "mjml": "<mjml>\n<mj-body>\n<mj-nothing/></mj-body></mjml>"}),
            &["/variants/en/mjml line 3: MJML"],
        );
        check(
            json!({"subject": "x", "mjml": "<mjml>\n<mj-body>{{ a|shout }}</mj-body></mjml>"}),
            &["/variants/en/mjml line 2: there is no filter"],
        );
        check(json!({"subject": "x", "mjml": "<mjml></mjml>", "html": "<p>"}), &["/variants/en/html give either"]);
        check(json!({"subject": "x"}), &["/variants/en a mail needs"]);
        check(json!({"subject": "x", "tekst": "y"}), &["/variants/en/tekst unknown field"]);
        assert_eq!(
            refused(Channel::Sms, json!({ "en": {"text": ""} }), None),
            ["/variants/en/text a text message needs `text`"]
        );
    }

    #[test]
    fn a_variable_is_declared_or_found() {
        let variant = json!({ "en": {"text": "{{ name }} {{ brand.name }}\n{{ count }}"} });
        let refused = refused(Channel::Sms, variant.clone(), Some(json!([{"name": "name"}])));
        assert!(refused[0].starts_with("/variants/en/text line 2: `count` is not declared"), "{refused:?}");
        let found = compile(Channel::Sms, &source(variant, None), &Provided::new()).unwrap();
        let names: Vec<_> = found.variables.iter().map(|v| (v.name.as_str(), v.is_required())).collect();
        assert_eq!(names, [("count", true), ("name", true)]);
    }

    #[test]
    fn a_template_is_tried_with_its_examples() {
        let variant = json!({ "en": {"text": "{{ price|round }}"} });
        let refused =
            refused(Channel::Sms, variant, Some(json!([{"name": "price", "type": "string", "example": "a lot"}])));
        assert!(refused[0].starts_with("/variants/en/text the template fails"), "{refused:?}");
    }

    #[test]
    fn a_text_part_is_made_and_long_mails_are_warned_of() {
        let html = format!("<p>Hello {{{{ name }}}}</p>{}", "<p>word</p>".repeat(10_000));
        let made =
            compile(Channel::Email, &source(json!({ "en": {"subject": "x", "html": html} }), None), &Provided::new())
                .unwrap();
        let Content::Email(email) = &made.contents["en"].0 else { unreachable!() };
        assert!(email.text.as_ref().unwrap().starts_with("Hello {{ name }}"));
        assert_eq!(made.warnings.iter().map(|w| w.code.as_str()).collect::<Vec<_>>(), ["clipped"]);
    }
}
