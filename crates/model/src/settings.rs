//! Settings of an account, declared once per connector with [`settings!`](crate::settings). Validation, sealing, redaction, the form and the docs page all
//! read the declaration.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::{Secret, SmtpSecurity};

/// One field of a connector's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Name in JSON.
    pub name: &'static str,
    /// Name on a form.
    pub label: &'static str,
    /// One or two sentences: where to find it, what it does.
    pub help: &'static str,
    /// What it holds.
    #[serde(flatten)]
    pub kind: FieldKind,
    /// True when an account cannot do without.
    pub required: bool,
    /// Taken when the field is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<&'static str>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FieldKind {
    /// Any text.
    Text,
    /// Write-only text.
    Secret,
    /// A whole number.
    Number,
    /// Yes or no.
    Bool,
    /// One of these.
    Choice {
        /// The allowed values.
        choices: &'static [&'static str],
    },
}

/// A value that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct BadSetting {
    /// Which field.
    pub field: String,
    /// What is wrong and what to do.
    pub detail: String,
}

/// Longest value of one field, in bytes: a 4096-bit PEM key with room to spare.
const VALUE_MAX: usize = 16 * 1024;

/// An account's settings by field name, opened. Every value is held as a secret in memory; the declaration says which may be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values(BTreeMap<String, Secret>);

impl Values {
    /// The text of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::reveal)
    }

    /// Sets a field without looking at a declaration: for tests and for values made by us.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), Secret::new(value));
    }

    /// Takes a field away.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Reads the settings object of a request against the declaration. `before` holds what is stored: fields that are left out keep
    /// their value, `null` removes it, and a secret sent back as its own hint (`••••1234`) is kept.
    pub fn merge(
        fields: &[Field],
        before: &Self,
        given: &serde_json::Map<String, Value>,
    ) -> Result<Self, Vec<BadSetting>> {
        let mut merged = before.clone();
        let mut bad = Vec::new();
        let refuse = |field: &str, detail: String| BadSetting { field: field.to_owned(), detail };
        for (name, value) in given {
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                let known = fields.iter().map(|field| field.name).collect::<Vec<_>>().join(", ");
                bad.push(refuse(
                    name,
                    format!(
                        "unknown setting; this connector knows: {}",
                        if known.is_empty() { "none" } else { &known }
                    ),
                ));
                continue;
            };
            let text = match (value, field.kind) {
                (Value::Null, _) => {
                    merged.0.remove(name);
                    continue;
                }
                (Value::String(text), _) => text.clone(),
                (Value::Number(number), FieldKind::Number) => number.to_string(),
                (Value::Bool(flag), FieldKind::Bool) => flag.to_string(),
                _ => {
                    bad.push(refuse(name, format!("expected {}", expected(field.kind))));
                    continue;
                }
            };
            if field.kind == FieldKind::Secret && before.0.get(name).is_some_and(|kept| kept.hint() == text) {
                continue;
            }
            match check(field, &text) {
                Ok(()) => merged.set(name, text),
                Err(detail) => bad.push(refuse(name, detail)),
            }
        }
        bad.extend(
            fields
                .iter()
                .filter(|field| {
                    field.required && field.default.is_none() && merged.get(field.name).is_none_or(str::is_empty)
                })
                .filter(|field| {
                    !given.get(field.name).is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
                })
                .map(|field| refuse(field.name, format!("{} is required. {}", field.label, field.help))),
        );
        if bad.is_empty() { Ok(merged) } else { Err(bad) }
    }

    /// What may be shown: plain values as they are, secrets as hints, fields that are not set as their default or `null`.
    pub fn shown(&self, fields: &[Field]) -> serde_json::Map<String, Value> {
        let show = |field: &Field| {
            let Some(text) = self.get(field.name).or(field.default) else { return Value::Null };
            match field.kind {
                FieldKind::Secret => Value::String(Secret::new(text).hint()),
                FieldKind::Number => text.parse::<i64>().map_or(Value::Null, Value::from),
                FieldKind::Bool => Value::Bool(text == "true"),
                FieldKind::Text | FieldKind::Choice { .. } => Value::String(text.to_owned()),
            }
        };
        fields.iter().map(|field| (field.name.to_owned(), show(field))).collect()
    }

    /// The values of secret fields, for redaction.
    pub fn secrets<'a>(&'a self, fields: &'a [Field]) -> impl Iterator<Item = &'a str> {
        fields
            .iter()
            .filter(|field| field.kind == FieldKind::Secret)
            .filter_map(|field| self.get(field.name))
            .filter(|value| !value.is_empty())
    }

    /// The plain JSON object, to be sealed.
    pub fn to_plain_json(&self) -> String {
        let object: BTreeMap<&str, &str> = self.0.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        serde_json::to_string(&object).expect("a map of texts has a JSON form")
    }

    /// Reads what [`Values::to_plain_json`] wrote.
    pub fn from_plain_json(text: &str) -> Result<Self, serde_json::Error> {
        let object: BTreeMap<String, String> = serde_json::from_str(text)?;
        Ok(Self(object.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()))
    }
}

fn expected(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Text | FieldKind::Secret | FieldKind::Choice { .. } => "a text",
        FieldKind::Number => "a whole number",
        FieldKind::Bool => "true or false",
    }
}

fn check(field: &Field, text: &str) -> Result<(), String> {
    if text.len() > VALUE_MAX {
        return Err(format!("at most {VALUE_MAX} bytes"));
    }
    let is_multiline_allowed = matches!(field.kind, FieldKind::Secret);
    if text.chars().any(|c| c.is_control() && !(is_multiline_allowed && matches!(c, '\n' | '\r'))) {
        return Err("no line breaks or control characters".to_owned());
    }
    match field.kind {
        FieldKind::Number if text.parse::<i64>().is_err() => Err("expected a whole number".to_owned()),
        FieldKind::Bool if !matches!(text, "true" | "false") => Err("expected true or false".to_owned()),
        FieldKind::Choice { choices } if !choices.contains(&text) => {
            Err(format!("expected one of {}", choices.join(", ")))
        }
        _ => Ok(()),
    }
}

/// A type a setting can be read as.
pub trait Setting: Sized {
    /// What the field holds.
    const KIND: FieldKind;
    /// False for `Option`.
    const REQUIRED: bool = true;

    /// Reads the stored text, or the lack of it.
    fn read(text: Option<&str>) -> Result<Self, String>;
}

impl Setting for String {
    const KIND: FieldKind = FieldKind::Text;
    fn read(text: Option<&str>) -> Result<Self, String> {
        text.map(str::to_owned).ok_or_else(|| "is missing".to_owned())
    }
}

impl Setting for Secret {
    const KIND: FieldKind = FieldKind::Secret;
    fn read(text: Option<&str>) -> Result<Self, String> {
        text.map(Secret::new).ok_or_else(|| "is missing".to_owned())
    }
}

impl Setting for u16 {
    const KIND: FieldKind = FieldKind::Number;
    fn read(text: Option<&str>) -> Result<Self, String> {
        text.ok_or("is missing")?.parse().map_err(|_| "must be a whole number from 0 to 65535".to_owned())
    }
}

impl Setting for bool {
    const KIND: FieldKind = FieldKind::Bool;
    fn read(text: Option<&str>) -> Result<Self, String> {
        text.ok_or("is missing")?.parse().map_err(|_| "must be true or false".to_owned())
    }
}

impl Setting for SmtpSecurity {
    const KIND: FieldKind = FieldKind::Choice { choices: &["none", "starttls", "tls"] };
    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("none") => Ok(Self::None),
            Some("starttls") => Ok(Self::StartTls),
            Some("tls") => Ok(Self::Tls),
            _ => Err("must be none, starttls or tls".to_owned()),
        }
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: FieldKind = T::KIND;
    const REQUIRED: bool = false;
    fn read(text: Option<&str>) -> Result<Self, String> {
        text.filter(|text| !text.is_empty()).map(|text| T::read(Some(text))).transpose()
    }
}

/// Declares a connector's settings: a typed struct, its `FIELDS` for forms and validation, and `read` from stored [`Values`].
///
/// The doc comment of each field is its help text; a default may follow the label.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[doc = $help:literal])+ $field:ident: $type:ty = $label:literal $(, default $default:literal)?;)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub struct $name { $($(#[doc = $help])+ pub $field: $type,)* }

        impl $name {
            /// The declaration: what forms, validation, sealing and docs read.
            pub const FIELDS: &'static [$crate::Field] = &[$($crate::Field {
                name: stringify!($field),
                label: $label,
                help: concat!($($help),+).trim_ascii(),
                kind: <$type as $crate::Setting>::KIND,
                required: <$type as $crate::Setting>::REQUIRED,
                default: $crate::settings!(@default $($default)?),
            },)*];

            /// Reads the stored values; the error names the field.
            #[allow(unused_variables)]
            pub fn read(values: &$crate::Values) -> Result<Self, $crate::BadSetting> {
                Ok(Self { $($field: <$type as $crate::Setting>::read(values.get(stringify!($field)).or($crate::settings!(@default $($default)?)))
                    .map_err(|detail| $crate::BadSetting { field: stringify!($field).to_owned(), detail })?,)* })
            }
        }
    };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    settings! {
        /// For the tests below.
        pub struct Sample {
            /// Starts with `AC`.
            account_sid: String = "Account SID";
            /// Kept secret.
            auth_token: Secret = "Auth token";
            /// Where the server listens.
            port: u16 = "Port", default "587";
            /// How the connection is protected.
            security: SmtpSecurity = "Security", default "starttls";
            /// Instead of a number.
            service: Option<String> = "Service";
        }
    }

    fn merge(before: &Values, given: Value) -> Result<Values, Vec<BadSetting>> {
        Values::merge(Sample::FIELDS, before, given.as_object().unwrap())
    }

    #[test]
    fn settings_are_read_as_declared() {
        let values =
            merge(&Values::default(), json!({"account_sid": "AC1", "auth_token": "0123456789abcdef"})).unwrap();
        let sample = Sample::read(&values).unwrap();
        assert_eq!((sample.account_sid.as_str(), sample.auth_token.reveal()), ("AC1", "0123456789abcdef"));
        assert_eq!((sample.port, sample.security, sample.service), (587, SmtpSecurity::StartTls, None));
        assert_eq!(
            Value::Object(values.shown(Sample::FIELDS)),
            json!({"account_sid": "AC1", "auth_token": "••••cdef", "port": 587, "security": "starttls", "service": null})
        );
        assert_eq!(Values::from_plain_json(&values.to_plain_json()).unwrap(), values);
    }

    #[test]
    fn a_hint_sent_back_keeps_the_secret() {
        let before =
            merge(&Values::default(), json!({"account_sid": "AC1", "auth_token": "0123456789abcdef"})).unwrap();
        let after = merge(&before, json!({"auth_token": "••••cdef", "port": 25})).unwrap();
        assert_eq!(after.get("auth_token"), Some("0123456789abcdef"));
        assert_eq!(after.get("port"), Some("25"));
    }

    #[test]
    fn each_bad_field_is_named() {
        let bad = merge(&Values::default(), json!({"account_sid": 1, "color": "red", "security": "ssl", "port": "x"}))
            .unwrap_err();
        let fields: Vec<_> = bad.iter().map(|bad| bad.field.as_str()).collect();
        assert_eq!(fields, ["account_sid", "color", "port", "security", "auth_token"]);
    }
}
