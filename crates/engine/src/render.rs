//! Placeholders in contents: MiniJinja in a sandbox. No files, no host objects; fuel, recursion and output are limited; a variable that is not there is an error. HTML
//! escapes, SMS, WhatsApp, Telegram and mail texts do not.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, LazyLock},
};

use minijinja::{AutoEscape, Environment, ErrorKind as JinjaErrorKind, UndefinedBehavior, Value};
use model::Content;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

use crate::{Error, ErrorKind, FieldError, consent::links::Links, links, templates::VariableType};

/// Instructions one template may execute: a few milliseconds of work. A loop that explodes ends here.
const FUEL: u64 = 100_000;
/// Bytes one template may make: what mail readers show before they clip, five times over.
const OUTPUT_MAX: usize = 512 * 1024;
/// Nested calls.
const RECURSION_MAX: usize = 32;

static SANDBOX: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(RECURSION_MAX);
    environment
        .set_auto_escape_callback(|name| if name.ends_with("/html") { AutoEscape::Html } else { AutoEscape::None });
    environment
});

/// What placeholders can speak of besides a message's own variables, by name, such as `brand`. A variable of the same name goes first.
pub type Provided = BTreeMap<&'static str, Value>;

/// What a template's content needs to be filled; lies beside it in `contents`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// The language it is written in.
    #[serde(default)]
    pub locale: String,
    /// Variables a message must give.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required: Vec<String>,
    /// What is taken for variables a message does not give.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub defaults: Map<String, Json>,
    /// Variables that must be of a type.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, VariableType>,
}

impl Needs {
    /// Names what `variables` lacks, each under its own pointer.
    fn check(&self, variables: &Map<String, Json>, provided: &Provided) -> Vec<FieldError> {
        let missing = self.required.iter().filter(|name| !variables.contains_key(*name));
        let missing = missing.filter(|name| !provided.contains_key(name.as_str())).map(|name| {
            FieldError::new(
                pointer_to(name),
                "the template needs this variable, and it has no default; give it a value",
            )
        });
        let wrong = self.types.iter().filter_map(|(name, kind)| {
            let value = variables.get(name).filter(|value| !kind.fits(value))?;
            let is = match value {
                Json::String(_) => "a string",
                Json::Number(_) => "a number",
                Json::Bool(_) => "a boolean",
                Json::Array(_) => "a list",
                Json::Object(_) | Json::Null => "an object",
            };
            Some(FieldError::new(pointer_to(name), format!("expected a {}, and this is {is}", kind.as_str())))
        });
        missing.chain(wrong).collect()
    }
}

fn pointer_to(name: &str) -> String {
    format!("/variables/{}", name.replace('.', "/"))
}

/// A content with its placeholders compiled, ready to be rendered many times.
pub struct Prepared {
    content: Arc<Content>,
    /// `None` without placeholders: then every rendering is the content itself.
    environment: Option<Environment<'static>>,
    /// For a template's content.
    needs: Option<Needs>,
}

impl Prepared {
    /// Compiles a content. The error names the field and the place in it.
    pub fn new(content: Content) -> Result<Self, Error> {
        let mut environment = None;
        let mut content = content;
        let mut bad = Vec::new();
        for (pointer, text) in texts(&mut content) {
            if has_placeholder(text) {
                let environment = environment.get_or_insert_with(|| SANDBOX.clone());
                if let Err(error) = environment.add_template_owned(pointer.clone(), text.clone()) {
                    let line = error.line().filter(|_| text.contains('\n'));
                    let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                    bad.push(FieldError::new(
                        pointer,
                        format!("{line}the template cannot be read: {}", sentence(&error)),
                    ));
                }
            }
        }
        if bad.is_empty() {
            Ok(Self { content: Arc::new(content), environment, needs: None })
        } else {
            Err(Error::invalid_fields(bad))
        }
    }

    /// Compiles a template's content, which knows what it needs.
    pub fn of_template(content: Content, needs: Needs) -> Result<Self, Error> {
        Ok(Self { needs: Some(needs), ..Self::new(content)? })
    }

    /// Compiles what lies in `contents`.
    pub fn stored(stored: &store::contents::Stored) -> Result<Self, Error> {
        let content = serde_json::from_str(&stored.body).map_err(Error::internal)?;
        let needs = stored.template.as_deref().map(serde_json::from_str).transpose().map_err(Error::internal)?;
        Ok(Self { needs, ..Self::new(content)? })
    }

    /// The content before rendering.
    pub fn source(&self) -> &Content {
        &self.content
    }

    /// What a template's content needs.
    pub fn needs(&self) -> Option<&Needs> {
        self.needs.as_ref()
    }

    /// Fills the placeholders from a JSON object, and from what is provided where that is silent.
    pub fn render(&self, variables: Option<&str>, provided: &Provided) -> Result<Arc<Content>, Error> {
        self.render_with(variables, provided, None)
    }

    /// Fills the placeholders as [`Prepared::render`] does, and those of a marketing message's links.
    pub fn render_with(
        &self,
        variables: Option<&str>,
        provided: &Provided,
        links: Option<&Links>,
    ) -> Result<Arc<Content>, Error> {
        if self.environment.is_none() && self.needs.is_none() {
            return Ok(Arc::clone(&self.content));
        }
        let mut values: Map<String, Json> = variables
            .map_or(Ok(Map::new()), serde_json::from_str)
            .map_err(|_| Error::invalid("/variables", "expected an object"))?;
        if let Some(links) = links {
            values.insert("unsubscribe_url".to_owned(), links.unsubscribe_url.clone().into());
            values.insert("preferences_url".to_owned(), links.preferences_url.clone().into());
        }
        self.fill(&values, provided)
    }

    /// Fills the placeholders from variables that were read.
    pub fn fill(&self, values: &Map<String, Json>, provided: &Provided) -> Result<Arc<Content>, Error> {
        let mut bad = self.needs.as_ref().map(|needs| needs.check(values, provided)).unwrap_or_default();
        if !bad.is_empty() {
            return Err(Error { code: "missing_variables", ..Error::invalid_fields(bad) });
        }
        let Some(environment) = &self.environment else { return Ok(Arc::clone(&self.content)) };
        let defaults = self.needs.iter().flat_map(|needs| &needs.defaults);
        let context: BTreeMap<&str, Value> = provided
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .chain(defaults.chain(values).map(|(name, value)| (name.as_str(), json_value(value))))
            .collect();
        let context = Value::from_pairs(context);
        let mut content = Content::clone(&self.content);
        for (pointer, text) in texts(&mut content) {
            let Ok(template) = environment.get_template(&pointer) else { continue };
            let mut output = Limited { bytes: Vec::with_capacity(text.len()) };
            match template.render_captured_to(&context, &mut output) {
                Ok(_) => *text = String::from_utf8_lossy(&output.bytes).into_owned(),
                Err(error) => bad.push(self.explain(pointer, &error)),
            }
        }
        if bad.is_empty()
            && let Content::Email(email) = &content
            && let Some(link) = email.html.as_deref().and_then(links::dangerous)
        {
            let detail = format!(
                "a variable makes a link that would run or hide something: `{link}`; links begin with https:, http:, mailto: or tel:"
            );
            bad.push(FieldError::new("/content/html", detail));
        }
        if bad.is_empty() {
            Ok(Arc::new(content))
        } else {
            Err(Error { code: "template_error", ..Error::invalid_fields(bad) })
        }
    }

    fn explain(&self, pointer: String, error: &minijinja::Error) -> FieldError {
        let piece =
            piece(error).map(|piece| piece.trim_matches(|c: char| matches!(c, '{' | '}' | '-') || c.is_whitespace()));
        let name = piece.filter(|_| self.needs.is_some() && error.kind() == JinjaErrorKind::UndefinedError);
        let is_path = |name: &&str| name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
        match name.filter(is_path) {
            Some(name) => FieldError::new(pointer_to(name), "the template uses this, and it has no value here"),
            None => explain(pointer, error),
        }
    }

    /// Renders with what may be only some of the variables, and tells what would fail for every message: work or output without end. `is_whole`: all variables
    /// are there, so that any failure counts.
    pub fn rehearse(&self, values: &Map<String, Json>, provided: &Provided, is_whole: bool) -> Vec<FieldError> {
        let Some(environment) = &self.environment else { return Vec::new() };
        let mut environment = environment.clone();
        if !is_whole {
            environment.set_undefined_behavior(UndefinedBehavior::Chainable);
        }
        let provided = provided.iter().map(|(name, value)| (*name, value.clone()));
        let given = values.iter().map(|(name, value)| (name.as_str(), json_value(value)));
        let context = Value::from_pairs(provided.chain(given).collect::<BTreeMap<&str, Value>>());
        let mut content = Content::clone(&self.content);
        let mut bad = Vec::new();
        for (pointer, _) in texts(&mut content) {
            let Ok(template) = environment.get_template(&pointer) else { continue };
            if let Err(error) = template.render_captured_to(&context, &mut Limited { bytes: Vec::new() })
                && (is_whole || matches!(error.kind(), JinjaErrorKind::OutOfFuel | JinjaErrorKind::WriteFailure))
            {
                bad.push(explain(pointer, &error));
            }
        }
        bad
    }

    /// Every text with placeholders, under its pointer.
    pub fn placeholders(&self) -> Vec<(String, String)> {
        let mut content = Content::clone(&self.content);
        texts(&mut content)
            .into_iter()
            .filter(|(_, text)| has_placeholder(text))
            .map(|(at, text)| (at, text.clone()))
            .collect()
    }
}

/// A JSON value as MiniJinja has it.
pub fn json_value(value: &Json) -> Value {
    Value::from(minijinja::value::Serde(value))
}

/// True when the sandbox has this filter.
pub fn has_filter(name: &str) -> bool {
    let error = SANDBOX.empty_state().apply_filter(name, &[Value::UNDEFINED]).err();
    error.is_none_or(|error| error.kind() != JinjaErrorKind::UnknownFilter)
}

/// True when the sandbox has this test.
pub fn has_test(name: &str) -> bool {
    let error = SANDBOX.empty_state().perform_test(name, &[Value::UNDEFINED]).err();
    error.is_none_or(|error| error.kind() != JinjaErrorKind::UnknownTest)
}

struct Limited {
    bytes: Vec<u8>,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_MAX {
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn explain(pointer: String, error: &minijinja::Error) -> FieldError {
    match error.kind() {
        JinjaErrorKind::UndefinedError => {
            let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
            FieldError::new(pointer, format!("a placeholder has no value in `variables`{line}: {}", sentence(error)))
        }
        JinjaErrorKind::OutOfFuel => {
            FieldError::new(pointer, format!("the template does too much work: more than {FUEL} steps"))
        }
        JinjaErrorKind::WriteFailure => {
            FieldError::new(pointer, format!("the template makes more than {OUTPUT_MAX} bytes"))
        }
        _ => FieldError::new(pointer, format!("the template fails: {}", sentence(error))),
    }
}

/// The error's own words without the names of our internals.
fn sentence(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match piece(error) {
        Some(piece) if piece.len() <= 80 => format!("{what} at `{piece}`"),
        _ => what,
    }
}

/// The piece of the template an error is about.
fn piece(error: &minijinja::Error) -> Option<&str> {
    error.template_source().zip(error.range()).and_then(|(source, range)| source.get(range))
}

/// True when MiniJinja would do something with a text.
pub fn has_placeholder(text: &str) -> bool {
    text.contains("{{") || text.contains("{%") || text.contains("{#")
}

/// Every text of a content that may hold placeholders, under its JSON pointer. The pointer of HTML ends in `/html`, which is what turns escaping on.
fn texts(content: &mut Content) -> Vec<(String, &mut String)> {
    let mut texts: Vec<(String, &mut String)> = Vec::new();
    match content {
        Content::Email(email) => {
            texts.push(("/content/subject".into(), &mut email.subject));
            texts.extend(email.text.as_mut().map(|text| ("/content/text".into(), text)));
            texts.extend(email.html.as_mut().map(|html| ("/content/html".into(), html)));
            texts.extend(email.headers.iter_mut().map(|(name, value)| (format!("/content/headers/{name}:"), value)));
        }
        Content::Sms(sms) => {
            texts.push(("/content/text".into(), &mut sms.text));
            media_texts(&mut texts, &mut sms.media);
        }
        Content::Whatsapp(whatsapp) => {
            texts.push(("/content/text".into(), &mut whatsapp.text));
            media_texts(&mut texts, &mut whatsapp.media);
            for (index, button) in whatsapp.buttons.iter_mut().enumerate() {
                button_texts(&mut texts, format!("/content/buttons/{index}"), button);
            }
            if let Some(template) = &mut whatsapp.whatsapp_template {
                for (index, component) in template.components.iter_mut().enumerate() {
                    json_texts(&mut texts, format!("/content/whatsapp_template/components/{index}"), component);
                }
            }
        }
        Content::Telegram(telegram) => {
            texts.push(("/content/text".into(), &mut telegram.text));
            media_texts(&mut texts, &mut telegram.media);
            for (row, buttons) in telegram.buttons.iter_mut().enumerate() {
                for (index, button) in buttons.iter_mut().enumerate() {
                    button_texts(&mut texts, format!("/content/buttons/{row}/{index}"), button);
                }
            }
        }
        Content::Voice(voice) => texts.push(("/content/say".into(), &mut voice.say)),
        // Made by us, and never a template: an event may carry a tenant's text with braces in it.
        Content::Webhook(_) => {}
    }
    texts
}

fn media_texts<'a>(texts: &mut Vec<(String, &'a mut String)>, media: &'a mut [model::Media]) {
    for (index, item) in media.iter_mut().enumerate() {
        texts.extend(item.url.as_mut().map(|url| (format!("/content/media/{index}/url"), url)));
        texts.extend(item.caption.as_mut().map(|caption| (format!("/content/media/{index}/caption"), caption)));
    }
}

fn button_texts<'a>(texts: &mut Vec<(String, &'a mut String)>, pointer: String, button: &'a mut model::Button) {
    texts.extend(button.url.as_mut().map(|url| (format!("{pointer}/url"), url)));
    texts.extend(button.data.as_mut().map(|data| (format!("{pointer}/data"), data)));
    texts.push((format!("{pointer}/text"), &mut button.text));
}

fn json_texts<'a>(texts: &mut Vec<(String, &'a mut String)>, pointer: String, value: &'a mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => texts.push((pointer, text)),
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                json_texts(texts, format!("{pointer}/{index}"), item);
            }
        }
        serde_json::Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                json_texts(texts, format!("{pointer}/{name}"), field);
            }
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// A template failure seen when a message was about to leave: what passed at accept cannot fail here unless the limits changed.
pub fn as_failure(error: &Error) -> model::Failure {
    let kind =
        if error.kind == ErrorKind::Internal { model::FailureKind::Unavailable } else { model::FailureKind::Content };
    model::Failure::new(kind, error.code, error.detail.clone())
}

/// What begins the name of a variable whose value is for the recipient alone: a message that has one is recorded without the body of its requests.
pub const SECRET_PREFIX: &str = "secret_";

/// True when one of these variables is for the recipient alone.
pub fn has_secrets(variables: Option<&str>) -> bool {
    // Most messages have none; only those that might are read.
    variables.filter(|text| text.contains(SECRET_PREFIX) || text.contains("\\u")).is_some_and(|text| {
        serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text)
            .is_ok_and(|variables| variables.keys().any(|name| name.starts_with(SECRET_PREFIX)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{EmailContent, SmsContent};

    fn sms(text: &str, variables: &str) -> Result<String, String> {
        let content = Content::Sms(SmsContent { text: text.to_owned(), ..SmsContent::default() });
        let rendered = Prepared::new(content)
            .and_then(|prepared| prepared.render(Some(variables), &Provided::new()))
            .map_err(|error| error.detail)?;
        let Content::Sms(sms) = &*rendered else { unreachable!() };
        Ok(sms.text.clone())
    }

    #[test]
    fn placeholders_are_filled() {
        assert_eq!(sms("Hello {{ name }}", r#"{"name": "Ada"}"#).unwrap(), "Hello Ada");
        assert_eq!(sms("{% for n in list %}{{ n }},{% endfor %}", r#"{"list": [1, 2]}"#).unwrap(), "1,2,");
        assert_eq!(sms("100 % {plain}", "{}").unwrap(), "100 % {plain}");
    }

    #[test]
    fn only_html_escapes() {
        let email = EmailContent {
            subject: "{{ n }}".into(),
            text: Some("{{ n }}".into()),
            html: Some("<b>{{ n }}</b>".into()),
            ..EmailContent::default()
        };
        let rendered =
            Prepared::new(Content::Email(email)).unwrap().render(Some(r#"{"n": "a<b>&"}"#), &Provided::new()).unwrap();
        let Content::Email(email) = &*rendered else { unreachable!() };
        assert_eq!(
            (email.subject.as_str(), email.text.as_deref(), email.html.as_deref()),
            ("a<b>&", Some("a<b>&"), Some("<b>a&lt;b&gt;&amp;</b>"))
        );
    }

    #[test]
    fn variables_are_not_templates() {
        assert_eq!(sms("{{ n }}", r#"{"n": "{{ 7 * 7 }}"}"#).unwrap(), "{{ 7 * 7 }}");
    }

    #[test]
    fn bad_templates_are_explained() {
        for (text, word) in [
            ("{{ name", "cannot be read"),
            ("{{ nobody }}", "no value in `variables`"),
            ("{{ a.b.c }}", "no value in `variables`"),
            ("{% for i in range(100000) %}{% for j in range(100000) %}x{% endfor %}{% endfor %}", "steps"),
            ("{% include '/etc/passwd' %}", "fails"),
            ("{{ 'x' * 1000000 }}", "template"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "template"),
        ] {
            let error = sms(text, "{}").unwrap_err();
            assert!(error.contains(word), "{text}: {error}");
            assert!(error.starts_with("/content/text: "), "{error}");
        }
    }

    #[test]
    fn a_secret_variable_is_known_by_its_name() {
        let check =
            |variables: Option<&str>, expected: bool| assert_eq!(has_secrets(variables), expected, "{variables:?}");
        check(None, false);
        check(Some(r#"{"name": "secret_"}"#), false);
        check(Some(r#"{"name": "Ada", "secret_link": "x"}"#), true);
        check(Some(r#"{"deep": {"secret_link": "x"}}"#), false);
    }
}
