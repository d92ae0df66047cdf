//! The webhook.
//! <https://resend.com/docs/api-reference/webhooks/create-webhook>

use model::{Answer, Method};
use serde_json::{Value, json};

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{CallbackState, Callbacks, Next, Plan, each, reply},
    read::text,
};

const EVENTS: &[&str] = &[
    "email.sent",
    "email.delivered",
    "email.delivery_delayed",
    "email.bounced",
    "email.complained",
    "email.failed",
    "email.suppressed",
    "email.opened",
    "email.clicked",
];

/// The event that tells of mails, where the account has a domain for answers.
const RECEIVED: &str = "email.received";

fn events(cx: &Cx<'_>) -> Vec<&'static str> {
    let receives = cx.settings.get("reply_domain").is_some_and(|domain| !domain.is_empty());
    EVENTS.iter().copied().chain(receives.then_some(RECEIVED)).collect()
}

pub(super) struct Webhook;

impl Callbacks for Webhook {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, "/webhooks", None);
        }
        let body = reply(NAME, answers, 0)?;
        let has_secret = cx.settings.get("webhook_secret").is_some_and(|secret| !secret.is_empty());
        let found = ours(cx, &body);
        let line = match found {
            Some(hook) if text(hook, "/status") == Some("disabled") => "Resend has our webhook, but it is disabled.",
            Some(_) if !has_secret => "Resend has our webhook, but its signing secret is not in this account.",
            Some(_) => "Resend reports here, signed.",
            None => "Resend has no webhook with this account's URL.",
        };
        let is_set = has_secret && found.is_some_and(|hook| text(hook, "/status") != Some("disabled"));
        Ok(Next::Done(CallbackState { is_set, lines: vec![line.to_owned()], ..CallbackState::default() }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, "/webhooks", None);
        }
        let known = reply(NAME, answers, 0)?;
        let secret_at = match ours(cx, &known).and_then(|hook| text(hook, "/id")) {
            Some(id) => match answers.len() {
                1 => {
                    let body = json!({ "endpoint": cx.callback_url, "events": events(cx), "status": "enabled" });
                    return ask(cx, Method::Patch, &format!("/webhooks/{id}"), Some(body));
                }
                2 => {
                    reply(NAME, answers, 1)?;
                    return ask(cx, Method::Get, &format!("/webhooks/{id}"), None);
                }
                _ => 2,
            },
            None => match answers.len() {
                1 => {
                    let body = json!({ "endpoint": cx.callback_url, "events": events(cx) });
                    return ask(cx, Method::Post, "/webhooks", Some(body));
                }
                _ => 1,
            },
        };
        let made = reply(NAME, answers, secret_at)?;
        let secret = text(&made, "/signing_secret").ok_or_else(|| crate::manage::unreadable(NAME))?;
        Ok(Next::Done(CallbackState {
            is_set: true,
            lines: vec!["Resend reports here, signed; its signing secret is kept in this account.".to_owned()],
            settings: vec![("webhook_secret", secret.to_owned())],
            by_hand: Vec::new(),
        }))
    }
}

fn ours<'a>(cx: &Cx<'_>, body: &'a Value) -> Option<&'a Value> {
    each(body, "/data").find(|hook| text(hook, "/endpoint") == Some(cx.callback_url))
}
