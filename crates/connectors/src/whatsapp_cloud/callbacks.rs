//! Subscribes Meta's app to the business account, with this account's own callback URL.
//! <https://developers.facebook.com/docs/whatsapp/embedded-signup/webhooks/override>

use model::{Answer, Call, Failure, FailureKind, Method};
use serde_json::{Value, json};

use super::{NAME, Settings, request};
use crate::{
    Cx,
    manage::{self, CallbackState, Callbacks, Next, Paste, Plan, each, reply},
    read::text,
};

pub(super) struct Subscription;

impl Callbacks for Subscription {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, None);
        }
        let body = reply(NAME, answers, 0)?;
        let to: Vec<&str> = each(&body, "/data").filter_map(|app| text(app, "/override_callback_uri")).collect();
        let is_subscribed = to.contains(&cx.callback_url);
        let line = match (is_subscribed, each(&body, "/data").count()) {
            (true, _) => "Meta reports here.".to_owned(),
            (false, 0) => "No app is subscribed to the WhatsApp Business account.".to_owned(),
            (false, _) => {
                "An app is subscribed, but not with this account's URL of its own; Meta's app dashboard may have it."
                    .to_owned()
            }
        };
        let by_hand = by_hand(cx);
        Ok(Next::Done(CallbackState {
            is_set: is_subscribed && by_hand.is_empty(),
            lines: vec![line],
            by_hand,
            ..CallbackState::default()
        }))
    }

    /// Meta calls us with the verify token before it answers.
    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            let token = cx.settings.get("verify_token").unwrap_or_default();
            let body = json!({ "override_callback_uri": cx.callback_url, "verify_token": token });
            return ask(cx, Method::Post, Some(body));
        }
        reply(NAME, answers, 0)?;
        let by_hand = by_hand(cx);
        let lines = vec!["Meta reports what the app is subscribed to here: messages and, for templates, message_template_status_update.".to_owned()];
        Ok(Next::Done(CallbackState { is_set: by_hand.is_empty(), lines, by_hand, ..CallbackState::default() }))
    }

    fn own_secrets(&self) -> &'static [(&'static str, usize)] {
        &[("verify_token", 32)]
    }
}

/// The app's secret signs Meta's requests and is shown on Meta's pages only.
fn by_hand(cx: &Cx<'_>) -> Vec<Paste> {
    let has_secret = cx.settings.get("app_secret").is_some_and(|secret| !secret.is_empty());
    let paste = Paste {
        place: "this account's `app_secret`".to_owned(),
        value: "the app secret, in Meta's app dashboard under App settings, Basic".to_owned(),
    };
    if has_secret { Vec::new() } else { vec![paste] }
}

fn ask<T>(cx: &Cx<'_>, method: Method, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let path = format!("/{}/subscribed_apps", business(&settings)?);
    let call = request::call(cx, &settings, method, &path);
    Ok(Next::Call(Call::Http(match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    })))
}

/// The business account, without which nothing but messages can be managed.
pub(super) fn business(settings: &Settings) -> Result<&str, Failure> {
    settings.business_account_id.as_deref().ok_or_else(|| {
        let detail = "The account has no WhatsApp Business account ID. Set `business_account_id`.";
        Failure::new(FailureKind::Content, "no_business_account", detail)
    })
}
