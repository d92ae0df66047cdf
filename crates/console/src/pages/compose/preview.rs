//! What would happen to a message, and what it looks like, while it is written: made by the same dry run the API offers.

use axum::response::Response;
use engine::Error;
use http::{HeaderValue, header};
use maud::{Markup, PreEscaped, html};
use model::Channel;
use serde_json::{Value, json};

use super::{PATH, bytes, names_of, request, variables};
use crate::{
    cx::{Answer, Cx, Posted, html as answer},
    form::{Faults, Form},
    format,
    pages::actions,
    parts::{self, Tone},
    read::{self, DryRun},
};

/// A mail's preview may show its own styles and pictures, and do nothing.
const MAIL_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data: https: http:; font-src https: data:; frame-ancestors 'self'; base-uri 'none'; form-action 'none'";

/// Explains what would happen.
pub(crate) async fn show(Posted { cx, form }: Posted) -> Answer {
    cx.caller.need("messages:write")?;
    let explained = match request(&form, &cx, true).await {
        Ok(request) => cx.engine().send(&cx.caller, &bytes(&request), None).await,
        Err(error) => Err(error),
    };
    let names = names_of(&cx, &form).await?;
    let shown = match explained {
        Ok(reply) => explanation(&cx, &read::json::<DryRun>(&reply.body)?),
        Err(error) if error.kind.status() < 500 => still_missing(&cx, &form, &error),
        Err(error) => return Err(error.into()),
    };
    Ok(answer(html! {
        (shown)
        // Only when the placeholders changed, so that nobody loses the field they type into.
        @if form.text("known") != names.join(" ") { div #variables hx-swap-oob="innerHTML" { (variables(&form, &names)) } }
    }))
}

fn still_missing(cx: &Cx, form: &Form, error: &Error) -> Markup {
    let faults = Faults::of(error);
    let is_blank = form.filled("to").is_none();
    let lines: Vec<String> = faults.rest::<&str>(&[]).collect();
    parts::card(
        "What will happen",
        None,
        html! {
            @if is_blank {
                p.muted { "Write something, and this says over which way it leaves, when, and what it looks like." }
            } @else {
                (parts::notice(Tone::Warn, "It cannot be sent like this", html! {
                    @for line in lines { p { (line) } }
                    @if let Some(action) = error.action { p { (actions::link(cx, action)) } }
                }))
            }
        },
    )
}

fn explanation(cx: &Cx, run: &DryRun) -> Markup {
    let text = |name: &str| run.content.get(name).and_then(Value::as_str).unwrap_or_default();
    let said = if run.channel == Channel::Voice { text("say") } else { text("text") };
    let provider =
        connectors::registry::find(&run.connector).map_or(run.connector.as_str(), |connector| connector.spec().name);
    let leaves = if run.status == "scheduled" {
        html! { (cx.here().at(run.leaves_at)) ", " (cx.here().distance(run.leaves_at)) }
    } else {
        html! { "At once" }
    };
    let mut rows = vec![
        ("To", html! { span.break { (run.to) } }),
        ("Through", html! { (provider) }),
        ("Because", html! { (run.route) }),
        ("Leaves", leaves),
    ];
    if run.channel == Channel::Email {
        rows.insert(1, ("Subject", html! { span.break dir="auto" { (text("subject")) } }));
    }
    if run.channel == Channel::Sms {
        let size = model::segments(said);
        let (alphabet, most) = match size.encoding {
            model::Encoding::Gsm7 => ("GSM-7", if size.count > 1 { 153 } else { 160 }),
            model::Encoding::Ucs2 => ("Unicode", if size.count > 1 { 67 } else { 70 }),
        };
        let parts = run.segments.unwrap_or(size.count);
        rows.push(("Parts", html! { strong { (format::count(i64::from(parts), "part", "parts")) } " · " (size.units) " of " (i64::from(size.count) * most) " characters, " (alphabet) }));
    }
    html! {
        (parts::card("What will happen", None, parts::facts(rows)))
        @if run.channel != Channel::Email {
            section.card.spaced aria-label="Preview" { header { h2 { "Preview" } } div.body { div.phone { div class={ "bubble " (run.channel) } dir="auto" { (said) } } } }
        }
    }
}

/// Where a mail is shown.
pub(super) fn mail_card() -> Markup {
    html! {
        section.card aria-label="Preview" {
            header { h2 { "Preview" } }
            iframe.mail-frame name="mail-frame" title="The mail as it will look" sandbox="" {}
            mail-preview form="compose" action={ (PATH) "/mail" } frame="mail-frame" {}
        }
    }
}

/// Shows a mail as it will look, as a document of its own that can do nothing.
pub(crate) async fn mail(Posted { cx, form }: Posted) -> Answer {
    cx.caller.need("messages:write")?;
    let mut trial = request(&Form::of([("channel", "email"), ("to", "preview@example.com")]), &cx, true).await?;
    let wanted = request(&form, &cx, true).await.unwrap_or_else(|_| json!({}));
    for name in ["content", "variables", "account_id", "template"] {
        if let Some(value) = wanted.get(name) {
            trial[name] = value.clone();
        }
    }
    if let Some(trial) = trial.as_object_mut().filter(|trial| trial.contains_key("template")) {
        trial.remove("content");
        // A template may speak of its reader.
        if wanted["to"].get("contact_id").is_some() {
            trial.insert("to".to_owned(), wanted["to"].clone());
        }
    }
    let content = match cx.engine().send(&cx.caller, &bytes(&trial), None).await {
        Ok(reply) => read::json::<DryRun>(&reply.body)?.content,
        Err(error) if error.kind.status() < 500 => wanted.get("content").cloned().unwrap_or_default(),
        Err(error) => return Err(error.into()),
    };
    Ok(mail_document(&content))
}

/// A mail's HTML when it has some, or its text, as a document under a policy of its own.
pub(in crate::pages) fn mail_document(content: &Value) -> Response {
    let text = |name: &str| content.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let document = match (text("html"), text("text")) {
        (Some(source), _) => PreEscaped(source.to_owned()),
        (None, said) => {
            html! { body style="font: 15px/1.5 system-ui, sans-serif; margin: 20px; color: #222" { pre style="font: inherit; white-space: pre-wrap" { (said.unwrap_or_default()) } } }
        }
    };
    let mut response = answer(document);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(MAIL_POLICY));
    response
}
