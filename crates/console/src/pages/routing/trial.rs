//! A message to try the rules on: nothing is sent.

use engine::{
    Error,
    routing::{
        self, RouteTrial, TrialTo, TrialView,
        decide::{Considered, Verdict},
    },
};
use http::HeaderMap;
use maud::{Markup, html};
use model::Channel;

use super::{PATH, all_accounts, list_page};
use crate::{
    cx::{Answer, Cx, Posted, html as answer},
    form::{self, Faults, Form},
    format,
    pages::channels,
    parts::{self, Control, Field, Tone, icon},
};

fn channel_choices() -> Vec<(&'static str, String)> {
    channels::of_people().map(|channel| (channel.as_str(), format::channel(channel).to_owned())).collect()
}

/// The card with the form and what came of it.
pub(super) fn trial_card(cx: &Cx, tried: Option<&TrialView>, form: &Form, faults: &Faults) -> Markup {
    html! {
        section.card aria-label="Try the rules" {
            header { h2 { "Try the rules" } }
            form method="post" action={ (PATH) "/try" } hx-post={ (PATH) "/try" } hx-target="#tried" hx-disabled-elt="find button" {
                (form::token(cx.csrf()))
                div.body {
                    div.stack {
                        div."fields-2" {
                            (Field::text("channel", "Channel").required().with(Control::Choice(channel_choices())).draw(form, faults))
                            (Field::text("to", "Recipient").example("+254700000001 or ada@example.com").help("A number for SMS, WhatsApp and voice.").plain().draw(form, faults))
                            (Field::text("purpose", "Purpose").with(Control::Choice(vec![("transactional", "Transactional".to_owned()), ("marketing", "Marketing".to_owned())])).plain().draw(form, faults))
                            (Field::text("topic", "Topic").draw(form, faults))
                            (Field::text("metadata", "Metadata").example(r#"{"tier": "gold"}"#).help("A JSON object.").draw(form, faults))
                        }
                        div #tried role="status" { (result(tried)) }
                    }
                }
                footer { span."muted small" { "Nothing is sent." } div.end { button.button type="submit" { (icon("pulse")) "Try" span.busy aria-label="Trying" {} } } }
            }
        }
    }
}

fn result(tried: Option<&TrialView>) -> Markup {
    let Some(tried) = tried else { return html! {} };
    let Some(decision) = &tried.decision else {
        let tone = if tried.account_id.is_some() { Tone::Info } else { Tone::Bad };
        let title = if tried.account_id.is_some() { "The default account" } else { "It would not be accepted" };
        return parts::notice(tone, title, html! { p { (tried.why) } });
    };
    let line = |one: &Considered| {
        let (tone, word) = match one.verdict {
            Verdict::Chosen => (Tone::Good, "Chosen"),
            Verdict::Next => (Tone::Plain, "Next"),
            Verdict::Skipped => (Tone::Warn, "Skipped"),
        };
        html! {
            li.row {
                (parts::badge(tone, word)) " " span.strong { (one.account) }
                @if let Some(figure) = &one.figure { " " span.muted { (figure) } }
                @if let Some(why) = &one.why { " " span.muted { (why) } }
            }
        }
    };
    let tone = if decision.waits { Tone::Warn } else { Tone::Good };
    let rule = decision.rule.as_deref().unwrap_or("No rule's account works");
    parts::notice(
        tone,
        &format!("{} · {rule}", decision.account),
        html! {
            p { (decision.why) }
            @if !decision.considered.is_empty() { ul."stack tight spaced" { @for one in &decision.considered { (line(one)) } } }
            @for passed in &decision.passed { p.small { "The rule " (passed.rule) " matched: " (passed.why) "." } }
        },
    )
}

/// Tries the rules; answers the decision alone to the button, and the whole page without script.
pub(crate) async fn try_out(headers: HeaderMap, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let tried = match trial(&form) {
        Ok(trial) => routing::try_out(cx.engine(), &cx.caller, trial).await,
        Err(error) => Err(error),
    };
    let is_part = headers.contains_key("hx-request");
    match tried {
        Ok(tried) if is_part => Ok(answer(result(Some(&tried)))),
        Err(error) if is_part && error.kind.status() == 422 => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(answer(parts::notice(Tone::Bad, "", html! { p { (lines.join("; ")) } })))
        }
        Ok(tried) => again(&cx, Some(&tried), &form, &Faults::default()).await,
        Err(error) if error.kind.status() == 422 => again(&cx, None, &form, &Faults::of(&error)).await,
        Err(error) => Err(error.into()),
    }
}

async fn again(cx: &Cx, tried: Option<&TrialView>, form: &Form, faults: &Faults) -> Answer {
    let rules = routing::list(cx.engine(), &cx.caller, None).await?.data;
    let accounts = all_accounts(cx).await?;
    Ok(cx.page(list_page(cx, &rules, &accounts, tried, form, faults)))
}

fn trial(form: &Form) -> Result<RouteTrial, Error> {
    let channel: Channel = form.text("channel").parse().map_err(|_| Error::invalid("/channel", "choose a channel"))?;
    let mut to = TrialTo::default();
    if let Some(text) = form.filled("to") {
        if channel == Channel::Email {
            let email = text.parse().map_err(|_| Error::invalid("/to", "not an e-mail address"))?;
            to.email = Some(email);
        } else if channel != Channel::Telegram {
            let phone = text.replace(' ', "").parse();
            to.phone = Some(phone.map_err(|_| Error::invalid("/to", "not a number; write one such as +254700000001"))?);
        }
    }
    let metadata = form.filled("metadata").map(|text| serde_json::value::RawValue::from_string(text.to_owned()));
    Ok(RouteTrial {
        channel,
        to,
        purpose: form.text("purpose").parse().ok(),
        topic: form.filled("topic").map(str::to_owned),
        template_id: None,
        metadata: metadata.transpose().map_err(|_| Error::invalid("/metadata", "not a JSON object"))?,
        at: None,
    })
}
