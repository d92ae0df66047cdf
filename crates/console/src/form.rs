//! Forms as browsers send them: names and texts.
//!
//! A field is named after the place its value takes in the engine's request, without the leading slash (`settings/host` for `/settings/host`), so that an error's JSON pointer
//! finds its field by itself.

use std::borrow::Cow;

use engine::FieldError;
use maud::{Markup, html};

use crate::format;

/// Largest form, in bytes: a mail's HTML and text with room to spare.
pub(crate) const FORM_MAX: usize = 2 * 1024 * 1024;
/// The field that carries the session's token.
pub(crate) const TOKEN: &str = "csrf";

/// What was sent, or is shown again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `application/x-www-form-urlencoded`.
    pub(crate) fn read(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// A form that shows these values.
    pub(crate) fn of<N: Into<String>, V: Into<String>>(fields: impl IntoIterator<Item = (N, V)>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// A field's text, as it was typed.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A field's text without spaces around it; empty when it was not sent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default().trim()
    }

    /// A field's text, or `None` when nothing was typed.
    pub(crate) fn filled(&self, name: &str) -> Option<&str> {
        Some(self.text(name)).filter(|text| !text.is_empty())
    }

    /// Whether a box was checked.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value != "false")
    }

    /// Every value sent under this name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The form with this value instead of those a field had.
    pub(crate) fn with(&self, name: &str, value: impl Into<String>) -> Self {
        let rest = self.0.iter().filter(|(known, _)| known != name).cloned();
        Self(rest.chain([(name.to_owned(), value.into())]).collect())
    }

    /// Adds a field.
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }
}

/// What is wrong with a form: found by field, or told above it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    fields: Vec<FieldError>,
    /// What is wrong with the whole.
    pub(crate) whole: Option<String>,
}

impl Faults {
    /// What an error says about a form. Errors that no form can mend are not asked for here.
    pub(crate) fn of(error: &engine::Error) -> Self {
        let whole = error.errors.is_empty().then(|| format::spoken(&error.detail));
        let said = |fault: &FieldError| FieldError::new(fault.pointer.clone(), format::spoken(&fault.detail));
        Self { fields: error.errors.iter().map(said).collect(), whole }
    }

    /// Something wrong that the console itself noticed.
    pub(crate) fn add(&mut self, name: &str, detail: impl Into<String>) {
        self.fields.push(FieldError::new(format!("/{name}"), detail));
    }

    /// True without any.
    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.whole.is_none()
    }

    /// What is wrong with the field of this name, or with something inside of it.
    pub(crate) fn at(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut found =
            self.fields.iter().filter(|fault| is_at(&fault.pointer, name)).map(|fault| fault.detail.as_str());
        let first = found.next()?;
        Some(found.fold(Cow::Borrowed(first), |text, more| Cow::Owned(format!("{text}; {more}"))))
    }

    /// What has no field among `names`, so that nothing is swallowed.
    pub(crate) fn rest<'a, N: AsRef<str>>(&'a self, names: &'a [N]) -> impl Iterator<Item = String> + 'a {
        let is_known = |pointer: &str| names.iter().any(|name| is_at(pointer, name.as_ref()));
        let fields = self.fields.iter().filter(move |fault| !is_known(&fault.pointer));
        self.whole.iter().cloned().chain(fields.map(|fault| {
            let name = fault.pointer.trim_start_matches('/').replace(['/', '_'], " ");
            if name.is_empty() { fault.detail.clone() } else { format!("{name}: {}", fault.detail) }
        }))
    }
}

/// Whether a pointer is at the field of this name, or inside of it.
fn is_at(pointer: &str, name: &str) -> bool {
    pointer.trim_start_matches('/').strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The hidden field every form of a signed-in person carries.
pub(crate) fn token(csrf: &str) -> Markup {
    html! { input type="hidden" name=(TOKEN) value=(csrf); }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_it_was_sent() {
        let form = Form::read(b"name=+Ada+%26+co+&on=true&on=x&empty=");
        assert_eq!((form.get("name"), form.text("name")), (Some(" Ada & co "), "Ada & co"));
        assert_eq!(form.all("on").collect::<Vec<_>>(), ["true", "x"]);
        assert!(form.is_on("on") && !form.is_on("off"));
        assert_eq!((form.filled("empty"), form.filled("gone")), (None, None));
    }

    #[test]
    fn an_error_finds_its_field_or_is_told_above() {
        let error = engine::Error::invalid_fields(vec![
            FieldError::new("/settings/host", "needed"),
            FieldError::new("/channels/0", "not carried"),
            FieldError::new("/elsewhere", "odd"),
        ]);
        let faults = Faults::of(&error);
        assert_eq!(faults.at("settings/host").as_deref(), Some("needed"));
        assert_eq!(faults.at("channels").as_deref(), Some("not carried"));
        assert_eq!(faults.at("settings/hos"), None);
        assert_eq!(faults.rest(&["settings/host", "channels"]).collect::<Vec<_>>(), ["elsewhere: odd"]);
    }
}
