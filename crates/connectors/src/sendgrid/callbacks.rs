//! The event webhook, signed.
//! <https://www.twilio.com/docs/sendgrid/api-reference/webhooks/create-an-event-webhook>

use model::{Answer, Method};
use serde_json::{Value, json};

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{CallbackState, Callbacks, Next, Plan, each, reply},
    read::text,
};

const PATH: &str = "/v3/user/webhooks/event/settings";
const EVENTS: &[&str] = &[
    "processed",
    "deferred",
    "delivered",
    "bounce",
    "dropped",
    "open",
    "click",
    "spam_report",
    "unsubscribe",
    "group_unsubscribe",
    "group_resubscribe",
];

pub(super) struct EventWebhook;

impl Callbacks for EventWebhook {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, &format!("{PATH}/all"), None);
        }
        let body = reply(NAME, answers, 0)?;
        let found = ours(cx, &body);
        let is_signed = cx.settings.get("webhook_public_key").is_some_and(|key| !key.is_empty());
        let line = match found {
            Some(hook) if !is_whole(hook) => "SendGrid has our event webhook, but not with every event.",
            Some(_) if !is_signed => "SendGrid has our event webhook, but its verification key is not in this account.",
            Some(_) => "SendGrid sends every event here, signed.",
            None => "SendGrid has no event webhook with this account's URL.",
        };
        let is_set = is_signed && found.is_some_and(is_whole);
        Ok(Next::Done(CallbackState { is_set, lines: vec![line.to_owned()], ..CallbackState::default() }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        match answers.len() {
            0 => ask(cx, Method::Get, &format!("{PATH}/all"), None),
            1 => match ours(cx, &reply(NAME, answers, 0)?).and_then(|hook| text(hook, "/id")) {
                Some(id) => ask(cx, Method::Patch, &format!("{PATH}/{id}"), Some(hook(cx))),
                None => ask(cx, Method::Post, PATH, Some(hook(cx))),
            },
            2 => {
                let made = reply(NAME, answers, 1)?;
                let id = text(&made, "/id").ok_or_else(|| crate::manage::unreadable(NAME))?;
                ask(cx, Method::Patch, &format!("{PATH}/signed/{id}"), Some(json!({ "enabled": true })))
            }
            _ => {
                let signed = reply(NAME, answers, 2)?;
                let key = text(&signed, "/public_key").ok_or_else(|| crate::manage::unreadable(NAME))?;
                Ok(Next::Done(CallbackState {
                    is_set: true,
                    lines: vec![
                        "SendGrid sends every event here, signed; its verification key is kept in this account."
                            .to_owned(),
                    ],
                    settings: vec![("webhook_public_key", key.to_owned())],
                    by_hand: Vec::new(),
                }))
            }
        }
    }
}

fn ours<'a>(cx: &Cx<'_>, body: &'a Value) -> Option<&'a Value> {
    each(body, "/webhooks").find(|hook| text(hook, "/url") == Some(cx.callback_url))
}

fn is_whole(hook: &Value) -> bool {
    hook["enabled"] == true && EVENTS.iter().all(|event| hook[*event] == true)
}

fn hook(cx: &Cx<'_>) -> Value {
    let mut body = json!({ "enabled": true, "url": cx.callback_url, "friendly_name": "Tidings" });
    for event in EVENTS {
        body[*event] = true.into();
    }
    body
}
