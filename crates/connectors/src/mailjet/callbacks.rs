//! Event callback URLs, one for each kind of event.
//! <https://dev.mailjet.com/email/reference/webhook/>

use model::{Answer, Method};
use serde_json::{Value, json};

use super::{Mailjet, NAME, domains::ask};
use crate::{
    Cx, Inbound as _,
    manage::{CallbackState, Callbacks, Next, Plan, each, reply},
    read::text,
};

const PATH: &str = "/v3/REST/eventcallbackurl";
const EVENTS: &[&str] = &["sent", "open", "click", "bounce", "blocked", "spam", "unsub"];
/// Groups events into one request.
const VERSION: i64 = 2;

pub(super) struct EventUrls;

impl Callbacks for EventUrls {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, &format!("{PATH}?Limit=100"), None);
        }
        let missing = missing(cx, &reply(NAME, answers, 0)?);
        let line = match missing.as_slice() {
            [] => "Mailjet reports every event here.".to_owned(),
            missing => format!("Mailjet does not report here: {}.", missing.join(", ")),
        };
        Ok(Next::Done(CallbackState { is_set: missing.is_empty(), lines: vec![line], ..CallbackState::default() }))
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        if answers.is_empty() {
            return ask(cx, Method::Get, &format!("{PATH}?Limit=100"), None);
        }
        let known = reply(NAME, answers, 0)?;
        let (missing, done) = (missing(cx, &known), answers.len() - 1);
        if done > 0 {
            reply(NAME, answers, done)?;
        }
        let Some(event) = missing.get(done) else {
            let lines = vec!["Mailjet reports every event here.".to_owned()];
            return Ok(Next::Done(CallbackState { is_set: true, lines, ..CallbackState::default() }));
        };
        let url = url(cx);
        // There is one address for each kind: another's is replaced.
        let other = each(&known, "/Data").find(|row| is_of(row, event)).and_then(|row| row["ID"].as_i64());
        match other {
            Some(id) => ask(cx, Method::Put, &format!("{PATH}/{id}"), Some(json!({ "Url": url, "Version": VERSION }))),
            None => {
                let body = json!({ "EventType": event, "Url": url, "Version": VERSION });
                ask(cx, Method::Post, PATH, Some(body))
            }
        }
    }
}

fn url(cx: &Cx<'_>) -> String {
    format!("{}{}", cx.callback_url, Mailjet.path(cx))
}

fn is_of(row: &Value, event: &str) -> bool {
    text(row, "/EventType") == Some(event) && row["IsBackup"] != true
}

fn missing(cx: &Cx<'_>, body: &Value) -> Vec<&'static str> {
    let url = url(cx);
    let is_ours = |row: &Value, event: &str| {
        is_of(row, event) && text(row, "/Url") == Some(url.as_str()) && text(row, "/Status") != Some("dead")
    };
    EVENTS.iter().copied().filter(|event| !each(body, "/Data").any(|row| is_ours(row, event))).collect()
}
