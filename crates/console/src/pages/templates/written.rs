//! What somebody writes in the editor: the form of one language, read into a version with all the others, and filled from one. What the form has no field for stays as it was.

use std::collections::BTreeMap;

use engine::{
    Error,
    templates::{self, NewVersion, PreviewRequest, Variable, VariableType, VersionView, locale},
};
use maud::{Markup, html};
use model::Channel;
use serde_json::{Map, Value, json, value::RawValue};

use crate::{
    cx::Cx,
    form::{Faults, Form},
    parts::{Control, Field},
};

/// The fields of what is said, which show their own errors.
pub(super) const NAMES: [&str; 12] = [
    "name",
    "description",
    "locale",
    "says/subject",
    "says/text",
    "says/html",
    "says/mjml",
    "says/reply_to",
    "says/say",
    "says/language",
    "says/whatsapp_template",
    "contact",
];

/// The texts of a channel, as its content calls them.
const fn texts(channel: Channel) -> &'static [&'static str] {
    match channel {
        Channel::Email => &["subject", "text", "reply_to"],
        Channel::Voice => &["say", "language"],
        Channel::Sms | Channel::Whatsapp | Channel::Telegram | Channel::Webhook => &["text"],
    }
}

/// The fields of what is said on a channel.
pub(super) fn fields(channel: Channel, form: &Form, faults: &Faults) -> Markup {
    let placeholders = "Placeholders such as {{ first_name }} are filled in for each recipient.";
    match channel {
        Channel::Email => {
            let markups = [("html", "HTML"), ("mjml", "MJML, which fits every screen"), ("none", "Plain text only")];
            html! {
                (Field::text("says/subject", "Subject").required().draw(form, faults))
                (Field::text("markup", "Written as").with(Control::Choice(markups.map(|(word, text)| (word, text.to_owned())).to_vec())).required().draw(form, faults))
                div data-when="markup=html" { (Field::text("says/html", "HTML").with(Control::Area { rows: 14 }).help(placeholders).draw(form, faults)) }
                div data-when="markup=mjml" { (Field::text("says/mjml", "MJML").with(Control::Area { rows: 14 }).help(placeholders).draw(form, faults)) }
                (Field::text("says/text", "Text").with(Control::Area { rows: 6 }).help("For those who do not see HTML; made from it when left empty.").draw(form, faults))
                (Field::text("says/reply_to", "Answers go to").with(Control::Email).draw(form, faults))
            }
        }
        Channel::Voice => html! {
            (Field::text("says/say", "What is said").with(Control::Area { rows: 6 }).required().help(placeholders).draw(form, faults))
            (Field::text("says/language", "Spoken language").example("en-GB").draw(form, faults))
        },
        Channel::Whatsapp => html! {
            (Field::text("says/text", "Text").with(Control::Area { rows: 6 }).help("Arrives within 24 hours of the recipient's last message. For any other time, name an approved template.").draw(form, faults))
            fieldset.form {
                legend { "Approved template" }
                div.fields-2 {
                    (Field::text("says/whatsapp_template/name", "Its name").example("ticket_ready").draw(form, faults))
                    (Field::text("says/whatsapp_template/language", "Its language").example("en_US").draw(form, faults))
                }
                (Field::text("says/whatsapp_template/body", "Values for its text").with(Control::Area { rows: 3 }).help("One a line, in the order of {{1}}, {{2}} and so on.").draw(form, faults))
            }
        },
        Channel::Sms | Channel::Telegram | Channel::Webhook => html! {
            (Field::text("says/text", "Text").with(Control::Area { rows: 7 }).required().help(placeholders).draw(form, faults))
        },
    }
}

/// Fills the form with what a version says in a language.
pub(super) fn fill(channel: Channel, version: &VersionView, locale: &str) -> Form {
    let raw = version.variants.get(locale).or_else(|| version.variants.get(&version.default_locale));
    let says: Value = raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let text = |name: &str| says[name].as_str().unwrap_or_default().to_owned();
    let mut form = Form::of([
        ("channel", channel.as_str().to_owned()),
        ("locale", locale.to_owned()),
        ("base", version.version.to_string()),
        ("default_locale", version.default_locale.clone()),
    ]);
    for name in texts(channel) {
        form.set(format!("says/{name}"), text(name));
    }
    if channel == Channel::Email {
        let markup = if says["mjml"].is_string() {
            "mjml"
        } else if says["html"].is_string() {
            "html"
        } else {
            "none"
        };
        form.set("markup", markup);
        form.set("says/html", text("html"));
        form.set("says/mjml", text("mjml"));
    }
    if channel == Channel::Whatsapp {
        let template = &says["whatsapp_template"];
        for name in ["name", "language"] {
            form.set(format!("says/whatsapp_template/{name}"), template[name].as_str().unwrap_or_default());
        }
        form.set("says/whatsapp_template/body", body_values(template).join("\n"));
    }
    for variable in &version.variables {
        let shown = |value: &Option<Value>| value.as_ref().map(shown).unwrap_or_default();
        form.set(format!("variables/{}/example", variable.name), shown(&variable.example));
        form.set(format!("variables/{}/default", variable.name), shown(&variable.default));
    }
    form
}

/// The texts that fill the body of a provider's template.
fn body_values(template: &Value) -> Vec<&str> {
    let components = template["components"].as_array().map(Vec::as_slice).unwrap_or_default();
    let body = components.iter().find(|component| component["type"] == "body");
    let parameters = body.and_then(|body| body["parameters"].as_array()).map(Vec::as_slice).unwrap_or_default();
    parameters.iter().filter_map(|parameter| parameter["text"].as_str()).collect()
}

/// A variable's value as it is typed: a text as it is, anything else as JSON.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What somebody typed for a variable. What does not fit its type stays a text, and the engine says what is wrong with it.
pub(super) fn typed(kind: VariableType, text: &str) -> Value {
    let plain = || Value::String(text.to_owned());
    match kind {
        VariableType::Any | VariableType::String => plain(),
        VariableType::Number | VariableType::Boolean | VariableType::List | VariableType::Object => {
            serde_json::from_str(text).unwrap_or_else(|_| plain())
        }
    }
}

/// A text as a form sends it, with line ends as everybody else writes them.
fn lines(form: &Form, name: &str) -> Option<String> {
    form.get(name).map(|text| text.replace("\r\n", "\n")).filter(|text| !text.trim().is_empty())
}

/// What the form says in its language, over what was there.
fn says(channel: Channel, form: &Form, mut says: Map<String, Value>) -> Map<String, Value> {
    let mut set = |name: &str, value: Option<Value>| match value {
        Some(value) => drop(says.insert(name.to_owned(), value)),
        None => drop(says.remove(name)),
    };
    for name in texts(channel) {
        set(name, lines(form, &format!("says/{name}")).map(Value::String));
    }
    if channel == Channel::Email {
        for name in ["html", "mjml"] {
            let is_used = form.text("markup") == name;
            set(name, lines(form, &format!("says/{name}")).filter(|_| is_used).map(Value::String));
        }
    }
    if channel == Channel::Whatsapp {
        let values: Vec<Value> = lines(form, "says/whatsapp_template/body")
            .unwrap_or_default()
            .lines()
            .map(|line| json!({"type": "text", "text": line.trim()}))
            .collect();
        let mut components = match says.remove("whatsapp_template").map(|mut template| template["components"].take()) {
            Some(Value::Array(components)) => components,
            _ => Vec::new(),
        };
        components.retain(|component| component["type"] != "body");
        if !values.is_empty() {
            components.push(json!({"type": "body", "parameters": values}));
        }
        if let Some(name) = form.filled("says/whatsapp_template/name") {
            let language = form.text("says/whatsapp_template/language");
            says.insert(
                "whatsapp_template".to_owned(),
                json!({"name": name, "language": language, "components": components}),
            );
        }
    }
    says
}

/// The language of a form, as the engine writes it.
pub(super) fn locale_of(form: &Form) -> String {
    locale::parse(form.text("locale")).unwrap_or_else(|| form.text("locale").to_owned())
}

/// The version a form stands for: its language over those of the version it was begun from.
pub(super) async fn version(
    cx: &Cx,
    channel: Channel,
    form: &Form,
    base: Option<&VersionView>,
) -> Result<NewVersion, Error> {
    let locale = locale_of(form);
    let mut variants: BTreeMap<String, Box<RawValue>> = base.map(|base| base.variants.clone()).unwrap_or_default();
    let before = variants.get(&locale).and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default();
    let raw = serde_json::value::to_raw_value(&says(channel, form, before)).map_err(Error::internal)?;
    variants.insert(locale.clone(), raw);
    let default_locale = form.filled("default_locale").map_or(locale, str::to_owned);
    let mut new = NewVersion { default_locale: Some(default_locale), variants, variables: None };
    new.variables = variables(cx, channel, &new, form, base).await?;
    Ok(new)
}

/// The variables of what is written, with the examples and defaults of the form. None are declared where nobody said anything about any.
async fn variables(
    cx: &Cx,
    channel: Channel,
    new: &NewVersion,
    form: &Form,
    base: Option<&VersionView>,
) -> Result<Option<Vec<Variable>>, Error> {
    let known = base.map(|base| base.variables.as_slice()).unwrap_or_default();
    let found = match templates::try_out(cx.engine(), &cx.caller, channel, new.clone(), PreviewRequest::default()).await
    {
        Ok((_, found)) => found,
        // What is wrong with it is told elsewhere; what was declared stays.
        Err(error) if error.kind.status() < 500 => known.to_vec(),
        Err(error) => return Err(error),
    };
    let with = |found: Variable| {
        let mut variable = known.iter().find(|known| known.name == found.name).cloned().unwrap_or(found);
        let given = |what: &str| form.get(&format!("variables/{}/{what}", variable.name));
        let read = |text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| typed(variable.kind, text));
        let (example, default) = (given("example").map(read), given("default").map(read));
        variable.example = example.unwrap_or(variable.example);
        variable.default = default.unwrap_or(variable.default);
        variable
    };
    let variables: Vec<Variable> = found.into_iter().map(with).collect();
    let is_told = variables.iter().any(|v| v.example.is_some() || v.default.is_some() || v.description.is_some());
    Ok(is_told.then_some(variables))
}

/// What is wrong, at the fields of the form's language.
pub(super) fn faults(mut error: Error, form: &Form) -> Faults {
    let base = format!("/variants/{}", locale_of(form));
    for fault in &mut error.errors {
        if let Some(rest) = fault.pointer.strip_prefix(&base) {
            fault.pointer = format!("/says{rest}");
        }
    }
    Faults::of(&error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(channel: Channel, fields: &[(&str, &str)], before: Value, expected: Value) {
        let before = before.as_object().cloned().unwrap_or_default();
        assert_eq!(Value::Object(says(channel, &Form::of(fields.iter().copied()), before)), expected);
    }

    #[test]
    fn a_form_changes_what_it_has_fields_for_and_nothing_else() {
        check(
            Channel::Email,
            &[
                ("says/subject", "Hi"),
                ("markup", "mjml"),
                ("says/mjml", "<mjml>\r\n</mjml>"),
                ("says/html", "<p>old</p>"),
            ],
            json!({"html": "<p>old</p>", "headers": {"X-A": "b"}, "text": "gone"}),
            json!({"subject": "Hi", "mjml": "<mjml>\n</mjml>", "headers": {"X-A": "b"}}),
        );
        check(
            Channel::Telegram,
            &[("says/text", "New")],
            json!({"text": "Old", "buttons": [[{"text": "Go", "url": "https://a.example"}]]}),
            json!({"text": "New", "buttons": [[{"text": "Go", "url": "https://a.example"}]]}),
        );
        check(
            Channel::Whatsapp,
            &[
                ("says/whatsapp_template/name", "ready"),
                ("says/whatsapp_template/language", "en"),
                ("says/whatsapp_template/body", "{{ name }}\r\n42"),
            ],
            json!({"whatsapp_template": {"name": "x", "language": "en", "components": [{"type": "header"}, {"type": "body"}]}}),
            json!({"whatsapp_template": {"name": "ready", "language": "en", "components": [{"type": "header"}, {"type": "body", "parameters": [{"type": "text", "text": "{{ name }}"}, {"type": "text", "text": "42"}]}]}}),
        );
    }

    #[test]
    fn a_value_is_what_its_variable_wants() {
        let check = |kind, text: &str, expected: Value| {
            assert_eq!(typed(kind, text), expected);
            assert_eq!(shown(&expected), text);
        };
        check(VariableType::String, "42", json!("42"));
        check(VariableType::Number, "42", json!(42));
        check(VariableType::Number, "many", json!("many"));
        check(VariableType::List, "[1,2]", json!([1, 2]));
    }
}
