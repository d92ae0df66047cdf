//! Form fields, also drawn from a connector's own declaration.

use maud::{Markup, html};
use model::FieldKind;
use serde_json::Value;

use super::icon;
use crate::form::{Faults, Form};

/// What a person types into.
#[derive(Debug, Clone)]
pub(crate) enum Control<'a> {
    /// One line.
    Text,
    /// One line that holds an e-mail address.
    Email,
    /// A password; never filled in.
    Password {
        /// `current-password` or `new-password`.
        autocomplete: &'static str,
    },
    /// Six digits of an app, or a recovery code; never filled in.
    Code,
    /// A whole number.
    Number,
    /// Something that is kept and not shown again: what stands there now, as a hint.
    Secret {
        /// The hint of what is stored.
        kept: Option<&'a str>,
        /// Whether it may have several lines.
        is_long: bool,
    },
    /// Many lines.
    Area {
        /// How many are shown.
        rows: u8,
    },
    /// One of these: value and words.
    Choice(Vec<(&'a str, String)>),
    /// A date and time in the viewer's zone.
    When,
}

/// One field.
#[derive(Debug, Clone)]
pub(crate) struct Field<'a> {
    /// Its name in the form.
    pub(crate) name: &'a str,
    /// Its name for people.
    pub(crate) label: &'a str,
    /// What it is for; empty when the label says it all.
    pub(crate) help: &'a str,
    /// What a person types into.
    pub(crate) control: Control<'a>,
    /// Whether it must be filled.
    pub(crate) is_required: bool,
    /// An example.
    pub(crate) placeholder: &'a str,
    /// Whether it is not said that it may be left empty, because others decide whether it counts.
    pub(crate) is_plain: bool,
    /// The id of a list of proposals.
    pub(crate) proposals: Option<&'a str>,
}

impl<'a> Field<'a> {
    /// A line of text.
    pub(crate) const fn text(name: &'a str, label: &'a str) -> Self {
        Self {
            name,
            label,
            help: "",
            control: Control::Text,
            is_required: false,
            placeholder: "",
            is_plain: false,
            proposals: None,
        }
    }

    /// With another control.
    pub(crate) fn with(mut self, control: Control<'a>) -> Self {
        self.control = control;
        self
    }

    /// With a word of help.
    pub(crate) const fn help(mut self, help: &'a str) -> Self {
        self.help = help;
        self
    }

    /// With proposals out of the `datalist` with this id.
    pub(crate) const fn proposing(mut self, list: &'a str) -> Self {
        self.proposals = Some(list);
        self
    }

    /// With an example.
    pub(crate) const fn example(mut self, placeholder: &'a str) -> Self {
        self.placeholder = placeholder;
        self
    }

    /// Without a word on whether it must be filled.
    pub(crate) const fn plain(mut self) -> Self {
        self.is_plain = true;
        self
    }

    /// One that must be filled.
    pub(crate) const fn required(mut self) -> Self {
        self.is_required = true;
        self
    }

    /// Draws it with what the form holds and what is wrong with it.
    pub(crate) fn draw(&self, form: &Form, faults: &Faults) -> Markup {
        let fault = faults.at(self.name);
        let id = id(self.name);
        let described =
            [(!self.help.is_empty()).then(|| format!("{id}-help")), fault.is_some().then(|| format!("{id}-error"))];
        let described = described.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let described = Some(described).filter(|ids| !ids.is_empty());
        let invalid = fault.is_some().then_some("true");
        let value = form.get(self.name).unwrap_or_default();
        let example = Some(self.placeholder).filter(|text| !text.is_empty());
        let input = |kind: &str, autocomplete: &str, mode: Option<&str>, shown: &str| {
            html! {
                input id=(id) name=(self.name) type=(kind) value=(shown) placeholder=[example] required[self.is_required] autocomplete=(autocomplete)
                    inputmode=[mode] list=[self.proposals] aria-describedby=[described.as_deref()] aria-invalid=[invalid];
            }
        };
        html! {
            div.field {
                label for=(id) { (self.label) @if !self.is_required && !self.is_plain { " " span.optional { "optional" } } }
                @match &self.control {
                    Control::Text => (input("text", "off", None, value)),
                    Control::Email => (input("email", if self.name == "email" { "username" } else { "off" }, Some("email"), value)),
                    Control::Password { autocomplete } => (input("password", autocomplete, None, "")),
                    Control::Code => (input("text", "one-time-code", None, "")),
                    Control::Number => (input("text", "off", Some("numeric"), value)),
                    Control::When => (input("datetime-local", "off", None, value)),
                    Control::Secret { kept, is_long } => {
                        @let hint = kept.map(|kept| format!("{kept} · leave empty to keep"));
                        @let hint = hint.as_deref().or(example);
                        @let required = self.is_required && kept.is_none();
                        @if *is_long {
                            textarea id=(id) name=(self.name) rows="5" placeholder=[hint] required[required] autocomplete="off" spellcheck="false"
                                aria-describedby=[described.as_deref()] aria-invalid=[invalid] {}
                        } @else {
                            input id=(id) name=(self.name) type="password" placeholder=[hint] required[required] autocomplete="new-password" spellcheck="false"
                                aria-describedby=[described.as_deref()] aria-invalid=[invalid];
                        }
                    }
                    Control::Area { rows } => {
                        textarea id=(id) name=(self.name) rows=(rows) placeholder=[example] required[self.is_required]
                            aria-describedby=[described.as_deref()] aria-invalid=[invalid] { (value) }
                    }
                    Control::Choice(choices) => {
                        select id=(id) name=(self.name) required[self.is_required] aria-describedby=[described.as_deref()] aria-invalid=[invalid] {
                            @for (word, text) in choices { option value=(word) selected[*word == value] { (text) } }
                        }
                    }
                }
                @if let Some(fault) = &fault { p.error id={ (id) "-error" } { (icon("alert")) span { (fault) } } }
                @if !self.help.is_empty() { p.help id={ (id) "-help" } { (self.help) } }
            }
        }
    }
}

/// A box to check, with what it means.
pub(crate) fn check(name: &str, value: &str, is_on: bool, label: &str, help: &str) -> Markup {
    html! {
        label.check {
            input type="checkbox" name=(name) value=(value) checked[is_on];
            span { (label) @if !help.is_empty() { span.help { (help) } } }
        }
    }
}

/// The id of a field's element.
fn id(name: &str) -> String {
    format!("f-{}", name.replace(['/', '.'], "-"))
}

/// What a declared field's form name is.
pub(crate) fn setting_name(field: &model::Field) -> String {
    format!("settings/{}", field.name)
}

/// Draws a connector's declared field. `shown` is the account's settings as they may be shown.
pub(crate) fn declared(field: &model::Field, shown: Option<&Value>, form: &Form, faults: &Faults) -> Markup {
    let name = setting_name(field);
    let help = plain(field.help);
    let hint = shown.and_then(Value::as_str).filter(|hint| !hint.is_empty());
    let control = match field.kind {
        FieldKind::Text => Control::Text,
        FieldKind::Number => Control::Number,
        FieldKind::Secret => {
            Control::Secret { kept: hint, is_long: field.help.contains("PEM") || field.name.ends_with("private_key") }
        }
        FieldKind::Bool => Control::Choice(
            [("", "Default".to_owned()), ("true", "Yes".to_owned()), ("false", "No".to_owned())]
                .into_iter()
                .filter(|(word, _)| !(word.is_empty() && (field.required || field.default.is_some())))
                .collect(),
        ),
        FieldKind::Choice { choices } => {
            let open = (!field.required && field.default.is_none()).then(|| ("", "Not set".to_owned()));
            let rest = choices.iter().map(|choice| (*choice, (*choice).to_owned()));
            Control::Choice(open.into_iter().chain(rest).collect())
        }
    };
    let is_required = field.required && field.default.is_none();
    Field {
        name: &name,
        label: field.label,
        help: &help,
        control,
        is_required,
        placeholder: field.default.unwrap_or_default(),
        is_plain: false,
        proposals: None,
    }
    .draw(form, faults)
}

/// A declaration's help without the marks of code.
fn plain(help: &str) -> String {
    help.replace('`', "")
}
