//! `setWebhook` with a secret.
//! <https://core.telegram.org/bots/api#setwebhook>

use model::{Answer, Call};
use serde_json::{Value, json};

use super::request;
use crate::{
    Cx,
    manage::{self, CallbackState, Callbacks, Next, Plan, each, reply},
    read::text,
};

const NAME: &str = "Telegram";
/// Some kinds of updates are off unless they are named.
const UPDATES: &[&str] = &["message", "edited_message", "callback_query", "my_chat_member"];

pub(super) struct Webhook;

impl Callbacks for Webhook {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return Ok(Next::Call(Call::Http(request(cx, "getWebhookInfo")?)));
        }
        let body = reply(NAME, answers, 0)?;
        let url = text(&body, "/result/url").unwrap_or_default();
        let allowed: Vec<&str> = each(&body, "/result/allowed_updates").filter_map(Value::as_str).collect();
        let has_secret = cx.settings.get("secret_token").is_some_and(|secret| !secret.is_empty());
        let line = match url {
            "" => "Telegram sends updates nowhere.".to_owned(),
            url if url != cx.callback_url => format!("Telegram sends updates to {url}."),
            _ if !has_secret => {
                "Telegram sends updates here, but this account has no secret to know them by.".to_owned()
            }
            _ if !UPDATES.iter().all(|update| allowed.contains(update)) => {
                "Telegram does not send every kind of update.".to_owned()
            }
            _ => {
                let line = vec!["Telegram sends updates here.".to_owned()];
                return Ok(Next::Done(CallbackState { is_set: true, lines: line, ..CallbackState::default() }));
            }
        };
        Ok(Next::Done(CallbackState { lines: vec![line], ..CallbackState::default() }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            let secret = cx.settings.get("secret_token").unwrap_or_default();
            let body = json!({ "url": cx.callback_url, "secret_token": secret, "allowed_updates": UPDATES });
            return Ok(Next::Call(Call::Http(manage::json_body(request(cx, "setWebhook")?, &body))));
        }
        reply(NAME, answers, 0)?;
        let lines = vec!["Telegram sends updates here, with the secret of this account.".to_owned()];
        Ok(Next::Done(CallbackState { is_set: true, lines, ..CallbackState::default() }))
    }

    fn own_secrets(&self) -> &'static [(&'static str, usize)] {
        &[("secret_token", 48)]
    }
}
