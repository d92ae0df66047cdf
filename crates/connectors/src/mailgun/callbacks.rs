//! The webhooks of the account's sending domain, one for each kind of event.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/domain-webhooks>

use model::{Answer, Failure, Method};
use serde_json::Value;

use super::{NAME, Settings, domains::ask};
use crate::{
    Cx,
    manage::{CallbackState, Callbacks, Next, Paste, Plan, each, reply, status},
    read::text,
};

const EVENTS: &[&str] =
    &["delivered", "opened", "clicked", "unsubscribed", "complained", "permanent_fail", "temporary_fail"];
/// URLs Mailgun keeps for one kind of event.
const URLS_MAX: usize = 3;

pub(super) struct Webhooks;

impl Callbacks for Webhooks {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, &path(cx)?, &[]);
        }
        let missing = missing(cx, &reply(NAME, answers, 0)?);
        let line = match missing.as_slice() {
            [] if !has_key(cx) => "Mailgun reports here, but its signing key is not in this account.".to_owned(),
            [] => "Mailgun reports every event here.".to_owned(),
            missing => format!("Mailgun does not report here: {}.", missing.join(", ")),
        };
        let is_set = missing.is_empty() && has_key(cx);
        Ok(Next::Done(CallbackState { is_set, lines: vec![line], ..CallbackState::default() }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let path = path(cx)?;
        if answers.is_empty() {
            return ask(cx, Method::Get, &path, &[]);
        }
        let known = reply(NAME, answers, 0)?;
        let missing = missing(cx, &known);
        let done = answers.len() - 1;
        if let Some(event) = missing.get(done) {
            if done > 0 {
                reply(NAME, answers, done)?;
            }
            let mut urls: Vec<&str> = urls(&known, event).take(URLS_MAX - 1).collect();
            urls.push(cx.callback_url);
            let is_new = urls.len() == 1;
            let mut pairs: Vec<(&str, &str)> = urls.into_iter().map(|url| ("url", url)).collect();
            if is_new {
                pairs.insert(0, ("id", event));
                return ask(cx, Method::Post, &path, &pairs);
            }
            return ask(cx, Method::Put, &format!("{path}/{event}"), &pairs);
        }
        if done == missing.len() && done > 0 {
            reply(NAME, answers, done)?;
        }
        if has_key(cx) {
            return Ok(Next::Done(set(true, Vec::new(), Vec::new())));
        }
        match answers.get(missing.len() + 1) {
            None => ask(cx, Method::Get, "/v5/accounts/http_signing_key", &[]),
            // Keys of a domain may not see it.
            Some(_) if status(answers, missing.len() + 1)? != 200 => {
                let place = "this account's `webhook_signing_key`".to_owned();
                let value = "the HTTP webhook signing key, in Mailgun under API Security".to_owned();
                Ok(Next::Done(set(false, Vec::new(), vec![Paste { place, value }])))
            }
            Some(_) => {
                let body = reply(NAME, answers, missing.len() + 1)?;
                let key = text(&body, "/http_signing_key").ok_or_else(|| crate::manage::unreadable(NAME))?;
                Ok(Next::Done(set(true, vec![("webhook_signing_key", key.to_owned())], Vec::new())))
            }
        }
    }
}

fn set(is_set: bool, settings: Vec<(&'static str, String)>, by_hand: Vec<Paste>) -> CallbackState {
    CallbackState { is_set, lines: vec!["Mailgun reports every event here.".to_owned()], settings, by_hand }
}

fn path(cx: &Cx<'_>) -> Result<String, Failure> {
    Ok(format!("/v3/domains/{}/webhooks", Settings::read(cx.settings)?.domain))
}

fn has_key(cx: &Cx<'_>) -> bool {
    cx.settings.get("webhook_signing_key").is_some_and(|key| !key.is_empty())
}

fn urls<'a>(body: &'a Value, event: &str) -> impl Iterator<Item = &'a str> {
    let hook = body.get("webhooks").and_then(|hooks| hooks.get(event)).unwrap_or(&Value::Null);
    each(hook, "/urls").filter_map(Value::as_str).chain(text(hook, "/url"))
}

fn missing(cx: &Cx<'_>, body: &Value) -> Vec<&'static str> {
    EVENTS.iter().copied().filter(|event| !urls(body, event).any(|url| url == cx.callback_url)).collect()
}
