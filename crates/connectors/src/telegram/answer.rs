//! Reads the answer to one part of a message and decides what follows: the next part, the same part again for a group that has moved, or the end.
//!
//! Steps are counted, not remembered. Step `n` is the answer to part `n`, except when the group moved: then step 0 was refused, step 1 repeats
//! part 0 in the new chat, and step `n` answers part `n - 1`. Whether it moved shows in the answer itself: basic groups have small negative ids,
//! the supergroups they become start with -100.
//!
//! Once a part has been taken, a failure of a later one must not bring the whole message back: what would be retried becomes `unknown`.

use model::{Address, Answer, ChatId, Failure, FailureKind, HttpAnswer};
use serde_json::Value;

use super::{call, chat, errors, parts};
use crate::{Acceptance, Cx, Outcome, Outgoing, Step};

/// Ids at or below this are supergroups and channels; other negative ones are basic groups.
const SUPERGROUP_FROM: i64 = -1_000_000_000_000;

/// Longest wait taken over from `retry_after`, in milliseconds: a day, as for the header of the same name.
const WAIT_MAX_MS: u64 = 86_400_000;

/// What one answer says.
enum Said {
    /// A message was made.
    Taken { chat: ChatId, message_id: i64 },
    /// The group has this chat id now.
    Moved(ChatId),
    /// It was refused.
    Refused(Failure),
}

/// Reads the answer to step `step`.
pub(super) fn step(cx: &Cx<'_>, message: &Outgoing<'_>, step: u8, answer: &Answer) -> Step {
    let (Ok(to), Ok(parts)) = (chat(message.to), parts::of(message.content)) else {
        // `send` has read both, or there would be no answer.
        return refused(Failure::new(
            FailureKind::Unknown,
            "malformed_answer",
            "An answer came to a message that was not sent.",
        ));
    };
    let step = usize::from(step);
    match read(cx, to, answer) {
        Said::Taken { chat, message_id } => {
            let has_moved = step > 0 && is_basic_group(to) && is_supergroup(chat);
            let next = step + 1 - usize::from(has_moved);
            if next < parts.list.len() {
                return call::part(cx, message, next, chat).map_or_else(|failure| refused(late(failure)), Step::Call);
            }
            let moved_to = has_moved.then_some(Address::Telegram(chat));
            let id = format!("{}:{message_id}", chat.0);
            Step::Done(Outcome::Accepted(Acceptance { moved_to, ..Acceptance::with_id(id) }))
        }
        Said::Moved(chat) if step == 0 => call::part(cx, message, 0, chat).map_or_else(refused, Step::Call),
        Said::Moved(_) => refused(errors::refused(400, "group chat was upgraded to a supergroup chat")),
        Said::Refused(failure) if step > 0 && parts.list.len() > 1 => refused(late(failure)),
        Said::Refused(failure) => refused(failure),
    }
}

fn refused(failure: Failure) -> Step {
    Step::Done(Outcome::Refused(failure))
}

/// A failure after an earlier part has been taken.
fn late(mut failure: Failure) -> Failure {
    failure.detail = format!("A first part of the message was sent, the rest was not. {}", failure.detail);
    if matches!(failure.kind, FailureKind::Throttled | FailureKind::Unavailable | FailureKind::Account) {
        failure.kind = FailureKind::Unknown;
        failure.retry_after_ms = None;
    }
    failure
}

fn read(cx: &Cx<'_>, to: ChatId, answer: &Answer) -> Said {
    let Answer::Http(http) = answer else {
        return Said::Refused(errors::foreign(200, "no HTTP answer"));
    };
    let body: Value = serde_json::from_slice(&http.body).unwrap_or_default();
    match body["ok"].as_bool() {
        Some(true) => taken(to, &body, http),
        Some(false) => not_taken(cx, &body, http),
        None => Said::Refused(foreign(cx, http)),
    }
}

/// The result is a message, or for an album an array of them: the first one stands for all.
fn taken(to: ChatId, body: &Value, http: &HttpAnswer) -> Said {
    let result = &body["result"];
    let message = result.get(0).unwrap_or(result);
    match message["message_id"].as_i64() {
        Some(message_id) => Said::Taken { chat: message["chat"]["id"].as_i64().map_or(to, ChatId), message_id },
        None => Said::Refused(errors::foreign(200, &http.text())),
    }
}

fn not_taken(cx: &Cx<'_>, body: &Value, http: &HttpAnswer) -> Said {
    let parameters = &body["parameters"];
    if let Some(chat) = parameters["migrate_to_chat_id"].as_i64() {
        return Said::Moved(ChatId(chat));
    }
    let code = body["error_code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(http.status);
    let mut failure = errors::refused(code, body["description"].as_str().unwrap_or_default());
    if failure.kind == FailureKind::Throttled {
        let seconds = parameters["retry_after"].as_u64();
        let wait_ms = seconds.map(|seconds| seconds.saturating_mul(1000).min(WAIT_MAX_MS));
        failure.retry_after_ms = wait_ms.or(http.retry_after_ms(cx.now));
    }
    Said::Refused(failure)
}

/// The failure behind an answer that is not Telegram's JSON.
pub(super) fn foreign(cx: &Cx<'_>, http: &HttpAnswer) -> Failure {
    let failure = errors::foreign(http.status, &http.text());
    match failure.kind {
        FailureKind::Throttled => failure.with_retry_after_ms(http.retry_after_ms(cx.now)),
        _ => failure,
    }
}

fn is_basic_group(chat: ChatId) -> bool {
    (SUPERGROUP_FROM + 1..0).contains(&chat.0)
}

fn is_supergroup(chat: ChatId) -> bool {
    chat.0 <= SUPERGROUP_FROM
}
