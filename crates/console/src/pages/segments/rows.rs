//! The rows of the builder: each says one thing about a contact. A row has a subject, and for each kind of subject a test and a value of its own, of which only one is shown.

use engine::{
    Error,
    contacts::{
        attributes::{AttributeType, AttributeView},
        lists::ListView,
    },
    segments::SegmentView,
};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

use crate::{
    form::{Faults, Form},
    format,
    parts::{Control, Field},
};

/// Rows of one form; more are nested conditions, which programs write.
const ROWS_MAX: usize = 20;

/// What a subject holds, which decides what can be asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Several,
    Number,
    Flag,
    Date,
    List,
    Message,
}

const KINDS: [Kind; 7] = [Kind::Text, Kind::Several, Kind::Number, Kind::Flag, Kind::Date, Kind::List, Kind::Message];

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Several => "several",
            Self::Number => "number",
            Self::Flag => "flag",
            Self::Date => "date",
            Self::List => "list",
            Self::Message => "message",
        }
    }

    /// The tests: word of the form, words for people, the engine's word, and whether it is turned around.
    const fn tests(self) -> &'static [(&'static str, &'static str, &'static str, bool)] {
        const KNOWN: (&str, &str, &str, bool) = ("exists", "is known", "exists", false);
        const UNKNOWN: (&str, &str, &str, bool) = ("absent", "is not known", "exists", true);
        match self {
            Self::Text => &[
                ("is", "is", "is", false),
                ("is_not", "is not", "is", true),
                ("starts_with", "begins with", "starts_with", false),
                ("contains", "contains", "contains", false),
                KNOWN,
                UNKNOWN,
            ],
            Self::Several => &[("has", "has", "has", false), ("has_not", "has not", "has", true), KNOWN, UNKNOWN],
            Self::Number => &[
                ("is", "is", "is", false),
                ("at_least", "is at least", "at_least", false),
                ("at_most", "is at most", "at_most", false),
                ("more_than", "is more than", "more_than", false),
                ("less_than", "is less than", "less_than", false),
                KNOWN,
                UNKNOWN,
            ],
            Self::Flag => &[("is", "is", "is", false), KNOWN, UNKNOWN],
            Self::Date => &[
                ("on_or_after", "is on or after", "on_or_after", false),
                ("before", "is before", "before", false),
                ("within_last_days", "is within the last days", "within_last_days", false),
                ("within_next_days", "is within the next days", "within_next_days", false),
                ("more_than_days_ago", "is more days ago than", "more_than_days_ago", false),
                KNOWN,
                UNKNOWN,
            ],
            Self::List => &[("on", "is on", "list", false), ("off", "is not on", "list", true)],
            Self::Message => &[
                ("accepted", "got a message", "accepted", false),
                ("not_accepted", "got no message", "accepted", true),
                ("opened", "opened or read one", "opened", false),
                ("not_opened", "opened none", "opened", true),
                ("clicked", "clicked in one", "clicked", false),
                ("not_clicked", "clicked in none", "clicked", true),
                ("delivered", "received one", "delivered", false),
                ("failed", "could not be reached", "failed", false),
                ("replied", "answered one", "replied", false),
                ("not_replied", "answered none", "replied", true),
            ],
        }
    }
}

/// The fields of a contact that can be asked about.
const FIELDS: [(&str, Kind); 11] = [
    ("language", Kind::Text),
    ("email", Kind::Text),
    ("phone", Kind::Text),
    ("whatsapp", Kind::Text),
    ("telegram_chat_id", Kind::Number),
    ("first_name", Kind::Text),
    ("last_name", Kind::Text),
    ("timezone", Kind::Text),
    ("external_id", Kind::Text),
    ("created_at", Kind::Date),
    ("updated_at", Kind::Date),
];

const fn of_attribute(attribute: &AttributeView) -> Kind {
    match attribute.kind {
        AttributeType::Text => Kind::Text,
        AttributeType::Number => Kind::Number,
        AttributeType::Boolean => Kind::Flag,
        AttributeType::Date => Kind::Date,
        AttributeType::List => Kind::Several,
    }
}

/// What a subject's word holds: `field:email`, `attribute:plan`, `list`, `message`.
fn kind(subject: &str, attributes: &[AttributeView]) -> Option<Kind> {
    match subject.split_once(':') {
        Some(("field", name)) => FIELDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind),
        Some(("attribute", name)) => attributes.iter().find(|known| known.name == name).map(of_attribute),
        _ if subject == "list" => Some(Kind::List),
        _ if subject == "message" => Some(Kind::Message),
        _ => None,
    }
}

fn count(form: &Form) -> usize {
    form.text("rows").parse().unwrap_or(1).clamp(1, ROWS_MAX)
}

/// The form with one more row.
pub(super) fn with_one_more(form: &Form) -> Form {
    let rows = (count(form) + 1).min(ROWS_MAX).to_string();
    form.with("rows", rows)
}

/// Draws the rows.
pub(super) fn draw(attributes: &[AttributeView], lists: &[ListView], form: &Form) -> Markup {
    let own: Vec<String> = attributes.iter().map(|attribute| format!("attribute:{}", attribute.name)).collect();
    let fields: Vec<String> = FIELDS.iter().map(|(name, _)| format!("field:{name}")).collect();
    let mut subjects = vec![("", "Choose".to_owned())];
    subjects.extend(fields.iter().zip(FIELDS).map(|(word, (name, _))| (word.as_str(), title(name))));
    subjects.extend(own.iter().zip(attributes).map(|(word, attribute)| (word.as_str(), attribute.name.clone())));
    subjects.extend([("list", "A list".to_owned()), ("message", "Messages".to_owned())]);
    let words_of = |kind: Kind| -> String {
        let of =
            subjects.iter().map(|(word, _)| *word).filter(|word| super::rows::kind(word, attributes) == Some(kind));
        of.collect::<Vec<_>>().join("|")
    };
    let none = Faults::default();
    html! {
        input type="hidden" name="rows" value=(count(form));
        @for row in 0..count(form) {
            fieldset.condition {
                legend.visually-hidden { "Condition " (row + 1) }
                (Field::text(&format!("subject/{row}"), "About").plain().with(Control::Choice(subjects.clone())).draw(form, &none))
                @for kind in KINDS {
                    @let words = words_of(kind);
                    @if !words.is_empty() {
                        div.condition-test data-when={ "subject/" (row) "=" (words) } { (test(kind, row, lists, form, &none)) }
                    }
                }
            }
        }
    }
}

/// A field's name for people.
fn title(name: &str) -> String {
    match name {
        "created_at" => "Added".to_owned(),
        "updated_at" => "Changed".to_owned(),
        "email" => "E-mail".to_owned(),
        "whatsapp" => "WhatsApp number".to_owned(),
        "telegram_chat_id" => "Telegram chat".to_owned(),
        "timezone" => "Time zone".to_owned(),
        "external_id" => "Your own id".to_owned(),
        name => format::words(name),
    }
}

fn test(kind: Kind, row: usize, lists: &[ListView], form: &Form, none: &Faults) -> Markup {
    let (test, value) = (format!("{}/{row}/test", kind.word()), format!("{}/{row}/value", kind.word()));
    let tests = kind.tests().iter().map(|(word, words, ..)| (*word, (*words).to_owned())).collect();
    let ids: Vec<String> = lists.iter().map(|list| list.id.to_string()).collect();
    let control = match kind {
        Kind::Flag => Control::Choice(vec![("true", "yes".to_owned()), ("false", "no".to_owned())]),
        Kind::List => {
            Control::Choice(ids.iter().zip(lists).map(|(id, list)| (id.as_str(), list.name.clone())).collect())
        }
        Kind::Text | Kind::Several | Kind::Number | Kind::Date | Kind::Message => Control::Text,
    };
    let (label, example) = match kind {
        Kind::Text | Kind::Several => ("Value", "Several: separated by commas"),
        Kind::Number => ("Value", ""),
        Kind::Flag => ("Value", ""),
        Kind::Date => ("Day, or number of days", "2026-11-21 or 30"),
        Kind::List => ("List", ""),
        Kind::Message => ("Within so many days", "30"),
    };
    html! {
        (Field::text(&test, "Test").plain().with(Control::Choice(tests)).draw(form, none))
        (Field::text(&value, label).example(example).plain().with(control).draw(form, none))
    }
}

/// The conditions of a form; nothing when no row says anything.
pub(super) fn tree(form: &Form, attributes: &[AttributeView]) -> Result<Option<Value>, Error> {
    if let Some(text) = form.get("conditions") {
        return serde_json::from_str(text)
            .map(Some)
            .map_err(|error| Error::invalid("/conditions", format!("this is no JSON: {error}")));
    }
    let leaves: Vec<Value> = (0..count(form)).filter_map(|row| leaf(form, row, attributes)).collect();
    let way = if form.text("match") == "any" { "any" } else { "all" };
    Ok((!leaves.is_empty()).then(|| json!({ way: leaves })))
}

fn leaf(form: &Form, row: usize, attributes: &[AttributeView]) -> Option<Value> {
    let subject = form.text(&format!("subject/{row}"));
    let kind = kind(subject, attributes)?;
    let chosen = form.text(&format!("{}/{row}/test", kind.word()));
    let (_, _, word, is_turned) =
        kind.tests().iter().find(|(known, ..)| *known == chosen).or_else(|| kind.tests().first())?;
    let text = form.text(&format!("{}/{row}/value", kind.word()));
    let leaf = match kind {
        Kind::List => json!({"list": text}),
        Kind::Message => match text {
            "" => json!({"message": {"was": word}}),
            days => json!({"message": {"was": word, "within_days": whole(days)}}),
        },
        Kind::Text | Kind::Several | Kind::Number | Kind::Flag | Kind::Date => {
            let (what, name) = subject.split_once(':')?;
            let value = if *word == "exists" { Value::Bool(true) } else { value(kind, word, text) };
            json!({what: name, *word: value})
        }
    };
    Some(if *is_turned { json!({"not": leaf}) } else { leaf })
}

/// A whole number, or what was typed instead, of which the engine says what is wrong.
fn whole(text: &str) -> Value {
    text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number))
}

fn value(kind: Kind, test: &str, text: &str) -> Value {
    match kind {
        Kind::Text | Kind::Several if matches!(test, "is" | "has") && text.contains(',') => {
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(Value::from).collect()
        }
        Kind::Number => text.parse::<serde_json::Number>().map_or_else(|_| json!(text), Value::Number),
        Kind::Flag => json!(text != "false"),
        Kind::Date if test.contains("days") => whole(text),
        Kind::Text | Kind::Several | Kind::Date | Kind::List | Kind::Message => json!(text),
    }
}

/// Fills the form with a segment: row by row where it is that simple, else as JSON.
pub(super) fn fill(segment: &SegmentView, attributes: &[AttributeView]) -> Form {
    let mut form = Form::of([("name", segment.name.as_str()), ("description", &segment.description)]);
    match rows(&segment.conditions, attributes) {
        Some(rows) => rows.into_iter().for_each(|(name, value)| form.set(name, value)),
        None => form.set("conditions", serde_json::to_string_pretty(&segment.conditions).unwrap_or_default()),
    }
    form
}

/// The fields that stand for a tree; nothing for one the rows cannot say.
fn rows(tree: &Value, attributes: &[AttributeView]) -> Option<Vec<(String, String)>> {
    let (way, leaves) = match (tree.get("all"), tree.get("any")) {
        (Some(Value::Array(leaves)), None) => ("all", leaves.as_slice()),
        (None, Some(Value::Array(leaves))) => ("any", leaves.as_slice()),
        _ => ("all", std::slice::from_ref(tree)),
    };
    if leaves.len() > ROWS_MAX {
        return None;
    }
    let mut fields = vec![("match".to_owned(), way.to_owned()), ("rows".to_owned(), leaves.len().max(1).to_string())];
    for (row, leaf) in leaves.iter().enumerate() {
        let (is_turned, leaf) = leaf.get("not").map_or((false, leaf), |inner| (true, inner));
        let (subject, kind, word, text) = said(leaf.as_object()?, attributes)?;
        let (test, ..) = kind.tests().iter().find(|(_, _, known, turned)| *known == word && *turned == is_turned)?;
        fields.push((format!("subject/{row}"), subject));
        fields.push((format!("{}/{row}/test", kind.word()), (*test).to_owned()));
        fields.push((format!("{}/{row}/value", kind.word()), text));
    }
    // What was read must come back the same, or the form would change what nobody touched.
    let again = tree_of(&fields, attributes)?;
    let same = again == *tree || again == json!({ way: leaves });
    same.then_some(fields)
}

fn tree_of(fields: &[(String, String)], attributes: &[AttributeView]) -> Option<Value> {
    tree(&Form::of(fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))), attributes).ok()?
}

fn said(leaf: &Map<String, Value>, attributes: &[AttributeView]) -> Option<(String, Kind, String, String)> {
    let shown = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    };
    if let Some(list) = leaf.get("list") {
        return Some(("list".to_owned(), Kind::List, "list".to_owned(), shown(list)));
    }
    if let Some(message) = leaf.get("message") {
        let days = message.get("within_days").map(shown).unwrap_or_default();
        return Some(("message".to_owned(), Kind::Message, message.get("was")?.as_str()?.to_owned(), days));
    }
    let what = if leaf.contains_key("field") { "field" } else { "attribute" };
    let subject = format!("{what}:{}", leaf.get(what)?.as_str()?);
    let kind = kind(&subject, attributes)?;
    let mut tests = leaf.iter().filter(|(name, _)| name.as_str() != what);
    let (word, value) = tests.next().filter(|_| leaf.len() == 2)?;
    Some((subject, kind, word.clone(), if word == "exists" { String::new() } else { shown(value) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Vec<AttributeView> {
        Vec::new()
    }

    #[test]
    fn rows_and_trees_are_one_and_the_same() {
        for tree in [
            json!({"all": [{"field": "language", "starts_with": "de"}, {"not": {"field": "email", "exists": true}}]}),
            json!({"any": [{"field": "first_name", "is": ["Ada", "Bob"]}, {"list": "lst_1"}, {"not": {"message": {"was": "opened", "within_days": 30}}}]}),
            json!({"all": [{"field": "created_at", "within_last_days": 7}, {"field": "created_at", "before": "2026-01-01"}, {"field": "telegram_chat_id", "at_least": 5}]}),
        ] {
            let fields = rows(&tree, &attributes()).unwrap_or_default();
            assert_eq!(tree_of(&fields, &attributes()), Some(tree));
        }
    }

    #[test]
    fn what_rows_cannot_say_is_left_as_it_is() {
        for tree in [
            json!({"all": [{"any": [{"field": "language", "is": "de"}]}]}),
            json!({"field": "language", "is": "de", "contains": "x"}),
            json!({"all": [{"message": {"was": "opened", "channel": "sms"}}]}),
            json!({"all": [{"field": "first_name", "is": "Smith, Ada"}]}),
            json!({"all": [{"not": {"field": "first_name", "contains": "x"}}]}),
        ] {
            assert_eq!(rows(&tree, &attributes()), None, "{tree}");
        }
        assert!(rows(&json!({"field": "language", "is": "de"}), &attributes()).is_some(), "one alone is one row");
    }

    #[test]
    fn a_row_that_says_nothing_is_passed_over() {
        let form = Form::of([("rows", "2"), ("subject/0", ""), ("subject/1", "field:nonsense")]);
        assert!(tree(&form, &attributes()).is_ok_and(|tree| tree.is_none()));
    }
}
