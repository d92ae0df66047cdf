//! What is being written, as somebody would get it. Made by the engine from the form as it is, at every pause in typing; nothing is kept.

use engine::{
    Error,
    contacts::{self, ContactQuery},
    templates::{self, Preview, PreviewRequest, Variable, VersionView},
};
use maud::{Markup, html};
use model::{Channel, ContactId, TemplateId};
use serde_json::Value;

use super::written;
use crate::{
    cx::{Answer, Cx, Posted, html as answer},
    form::{Faults, Form},
    format,
    pages::compose,
    parts::{self, Field, Tone},
};

/// Placeholders that get fields of their own at most; the rest is filled with its names.
const VARIABLES_MAX: usize = 40;

/// The version a form was begun from.
async fn base(cx: &Cx, form: &Form) -> Result<Option<VersionView>, Error> {
    let Ok(id) = form.text("template").parse::<TemplateId>() else { return Ok(None) };
    let versions = templates::versions(cx.engine(), &cx.caller, id, Some(super::editor::VERSIONS), None).await?;
    Ok(versions.data.into_iter().find(|version| version.version.to_string() == form.text("base")))
}

/// The contact whose eyes are borrowed: the first that is found by what was typed.
async fn seen_by(cx: &Cx, form: &Form) -> Result<Option<ContactId>, Error> {
    let Some(words) = form.filled("contact") else { return Ok(None) };
    let query = ContactQuery { q: Some(words.to_owned()), limit: Some(1), ..ContactQuery::default() };
    let found = contacts::list(cx.engine(), &cx.caller, &query).await?.data;
    let nobody = || Error::invalid("/contact", "nobody is found by this; type the beginning of a name or an address");
    found.first().map(|contact| Some(contact.id)).ok_or_else(nobody)
}

async fn tried(cx: &Cx, form: &Form) -> Result<(Preview, Vec<Variable>), Error> {
    let channel = super::channel_of(form);
    let base = base(cx, form).await?;
    let contact_id = seen_by(cx, form).await?;
    let new = written::version(cx, channel, form, base.as_ref()).await?;
    let request = PreviewRequest { contact_id, locale: Some(written::locale_of(form)), ..PreviewRequest::default() };
    templates::try_out(cx.engine(), &cx.caller, channel, new, request).await
}

/// Shows what the form says, and what to look out for.
pub(crate) async fn show(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("templates:read")?;
    let channel = super::channel_of(&form);
    let (preview, variables) = match tried(&cx, &form).await {
        Ok(tried) => tried,
        Err(error) if error.kind.status() < 500 => return Ok(answer(not_yet(&form, error))),
        Err(error) => return Err(error.into()),
    };
    let names = names(&variables);
    Ok(answer(html! {
        (shown(channel, &preview))
        // Only when the placeholders changed, so that nobody loses the field they type into.
        @if form.text("known") != names { div #variables hx-swap-oob="innerHTML" { (fields(&variables, &form)) } }
    }))
}

fn names(variables: &[Variable]) -> String {
    variables.iter().take(VARIABLES_MAX).map(|variable| variable.name.as_str()).collect::<Vec<_>>().join(" ")
}

/// A field for the example and the default of each placeholder.
pub(super) fn fields(variables: &[Variable], form: &Form) -> Markup {
    let none = Faults::default();
    html! {
        @if !variables.is_empty() {
            fieldset.form {
                legend { "Placeholders" }
                @for variable in variables.iter().take(VARIABLES_MAX) {
                    div.fields-2 {
                        (Field::text(&format!("variables/{}/example", variable.name), &format!("{}: example", variable.name)).draw(form, &none))
                        (Field::text(&format!("variables/{}/default", variable.name), &format!("{}: when missing", variable.name)).draw(form, &none))
                    }
                }
            }
        }
        input type="hidden" name="known" value=(names(variables));
    }
}

fn not_yet(form: &Form, error: Error) -> Markup {
    let is_blank = ["says/subject", "says/text", "says/html", "says/mjml", "says/say", "says/whatsapp_template/name"]
        .iter()
        .all(|name| form.filled(name).is_none());
    let faults = written::faults(error, form);
    html! {
        @if is_blank {
            p.muted { "Write something, and this shows what arrives." }
        } @else {
            (parts::notice(Tone::Warn, "It cannot be published like this", html! { @for line in faults.rest::<&str>(&[]) { p { (line) } } }))
        }
    }
}

fn shown(channel: Channel, preview: &Preview) -> Markup {
    let text = |name: &str| preview.content.get(name).and_then(Value::as_str).unwrap_or_default();
    html! {
        div.stack {
            @if channel == Channel::Email {
                (parts::facts([("Subject", html! { span.break dir="auto" { (text("subject")) } })]))
            } @else {
                div.phone { (bubble(channel, preview, if channel == Channel::Voice { text("say") } else { text("text") })) }
            }
            @if let Some(sms) = &preview.sms {
                p.small {
                    strong { (format::count(i64::from(sms.segments), "part", "parts")) } " · " (format::count(i64::from(sms.units), "character", "characters")) " · " (if sms.encoding == "gsm7" { "GSM-7" } else { "Unicode" })
                    @if !sms.forced_by.is_empty() { ", because of " @for odd in sms.forced_by.iter().take(8) { code { (odd) } " " } }
                }
                @if let Some(plain) = &sms.plain {
                    (parts::notice(Tone::Info, "Plain characters make it cheaper", html! { p { "With " (format::count(i64::from(plain.segments), "part", "parts")) ":" } p dir="auto" { (plain.text) } }))
                }
            }
            @for warning in &preview.warnings { (parts::notice(Tone::Warn, "", html! { p { (warning.detail) } })) }
        }
    }
}

fn bubble(channel: Channel, preview: &Preview, said: &str) -> Markup {
    let rows = preview.content["buttons"].as_array().map(Vec::as_slice).unwrap_or_default();
    // WhatsApp has one row of buttons, Telegram several.
    let buttons = rows.iter().flat_map(|row| row.as_array().map_or(std::slice::from_ref(row), Vec::as_slice));
    let template = preview.whatsapp.as_ref().and_then(|whatsapp| whatsapp.template.as_deref());
    html! {
        @if let (Some(name), Some(whatsapp)) = (template, &preview.whatsapp) {
            div class={ "bubble " (channel) } {
                strong { (name) } " " span.small { (whatsapp.language.as_deref().unwrap_or_default()) }
                @for component in &whatsapp.components {
                    @for parameter in component["parameters"].as_array().map(Vec::as_slice).unwrap_or_default() {
                        @if let Some(value) = parameter["text"].as_str() { div dir="auto" { (value) } }
                    }
                }
            }
        }
        @if !said.is_empty() { div class={ "bubble " (channel) } dir="auto" { (said) } }
        @for button in buttons { @if let Some(label) = button["text"].as_str() { span.chat-button dir="auto" { (label) } } }
    }
}

/// Shows a mail as a document of its own that can do nothing.
pub(crate) async fn mail(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("templates:read")?;
    let content = match tried(&cx, &form).await {
        Ok((preview, _)) => preview.content,
        Err(error) if error.kind.status() < 500 => Value::Null,
        Err(error) => return Err(error.into()),
    };
    Ok(compose::preview::mail_document(&content))
}

/// The frame a mail is shown in, at a computer, on a phone and in the dark.
pub(super) fn frame(form: &str) -> Markup {
    html! {
        div.mail-views {
            div.segmented role="radiogroup" aria-label="Shown" {
                @for (at, (value, label)) in [("wide", "Computer"), ("phone", "Phone"), ("dark", "Dark")].into_iter().enumerate() {
                    label { input type="radio" name="view" value=(value) checked[at == 0]; span { (label) } }
                }
            }
            div.mail-stage { iframe.mail-frame name="mail-frame" title="The mail as it will look" sandbox="" {} }
            mail-preview form=(form) action={ (super::PATH) "/preview/mail" } frame="mail-frame" {}
        }
    }
}
