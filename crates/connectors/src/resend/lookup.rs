//! Asks Resend what became of an attempt: by its id, or, when its answer was lost, among the newest mails.
//! <https://resend.com/docs/api-reference/emails/retrieve-email>
//!
//! The list says neither tags nor texts, and reaches back a hundred mails only: a mail is ours when recipient, subject and time agree and no other
//! one's do. One that is not found is `undecided`, never "not taken".

use model::{Address, Answer, Call, Content, Fact, Failure, FailureKind, Method, Timestamp};
use serde_json::Value;

use super::{Settings, call};
use crate::{Asked, Cx, Polled, email};

/// Most mails on a page.
const LIMIT: usize = 100;
/// How far Resend's clock and ours may be apart, in milliseconds.
const SKEW_MS: i64 = 60_000;
/// The request itself may take as long as its timeout before Resend makes the mail, in milliseconds.
const TRAVEL_MS: i64 = 30_000;

pub(super) fn ask(cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
    let settings = Settings::read(cx.settings).ok()?;
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let path = match asked.provider_message_id {
        Some(id) if is_id(id) => format!("/emails/{id}"),
        Some(_) => return None,
        None => format!("/emails?limit={LIMIT}"),
    };
    Some(Call::Http(call(cx, &settings, Method::Get, &path)))
}

pub(super) fn read(asked: &Asked<'_>, answer: &Answer) -> Polled {
    let Ok(http) = email::http(answer) else { return Polled::Undecided };
    let body = if http.status == 200 { email::json(http) } else { Value::Null };
    let found = match asked.provider_message_id {
        Some(id) => Some(&body).filter(|mail| email::text(mail, "/id") == Some(id)),
        None => alike(asked, &body),
    };
    found.and_then(known).unwrap_or(Polled::Undecided)
}

/// The one mail of the list that looks like ours.
fn alike<'a>(asked: &Asked<'_>, list: &'a Value) -> Option<&'a Value> {
    let (Address::Email(to), Content::Email(content)) = (asked.to, asked.content) else { return None };
    let is_like = |mail: &&Value| {
        let is_to = email::text(mail, "/to/0").is_some_and(|given| given.eq_ignore_ascii_case(to.as_str()));
        let is_in_time = created_at(mail)
            .is_some_and(|at| (-SKEW_MS..=TRAVEL_MS + SKEW_MS).contains(&at.millis_since(asked.sent_at)));
        is_to && is_in_time && email::text(mail, "/subject") == Some(&content.subject)
    };
    let mut alike = list.get("data")?.as_array()?.iter().filter(is_like);
    match (alike.next(), alike.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}

/// Such as `2026-11-21 09:30:00.674981+00`.
fn created_at(mail: &Value) -> Option<Timestamp> {
    email::text(mail, "/created_at")?.parse().ok()
}

fn known(mail: &Value) -> Option<Polled> {
    let facts = facts(email::text(mail, "/last_event")?)?;
    let taken_at = created_at(mail);
    let facts = facts.into_iter().map(|fact| if fact == Fact::Sent { (fact, taken_at) } else { (fact, None) });
    Some(Polled::Known { provider_message_id: email::text(mail, "/id")?.to_owned(), facts: facts.collect() })
}

/// What the last event says. It does not tell for good from for now, so a bounce counts as the milder one until its event comes.
fn facts(last: &str) -> Option<Vec<Fact>> {
    let failure = |kind, detail: &str| Failure::new(kind, last, detail);
    let end = match last {
        "queued" | "scheduled" | "sent" | "delivery_delayed" => return Some(vec![Fact::Sent]),
        "delivered" => return Some(vec![Fact::Sent, Fact::Delivered]),
        "opened" => Fact::Opened,
        "clicked" => Fact::Clicked { url: None },
        "complained" => Fact::Complained,
        "bounced" => {
            let failure = failure(FailureKind::Unavailable, "The recipient's server returned the mail.");
            return Some(vec![Fact::Sent, Fact::Bounced { hard: false, failure }]);
        }
        "suppressed" => {
            let failure =
                failure(FailureKind::Recipient, "The address is on Resend's suppression list; the mail was not tried.");
            return Some(vec![Fact::Sent, Fact::Failed { failure }]);
        }
        "failed" => {
            let failure =
                failure(FailureKind::Unavailable, "Resend took the mail but did not send it. Look into Resend.");
            return Some(vec![Fact::Sent, Fact::Failed { failure }]);
        }
        "canceled" => return Some(vec![Fact::Sent, Fact::Canceled]),
        _ => return None,
    };
    Some(vec![Fact::Sent, Fact::Delivered, end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_events() {
        let words = |last: &str| {
            let word = |fact: &Fact| match fact {
                Fact::Bounced { hard, failure } => format!("bounced {hard} {}", failure.kind),
                Fact::Failed { failure } => format!("failed {}", failure.kind),
                other => other.as_str().to_owned(),
            };
            Some(facts(last)?.iter().map(word).collect::<Vec<_>>().join(" "))
        };
        for (last, wanted) in [
            ("queued", Some("sent")),
            ("scheduled", Some("sent")),
            ("sent", Some("sent")),
            ("delivery_delayed", Some("sent")),
            ("delivered", Some("sent delivered")),
            ("opened", Some("sent delivered opened")),
            ("clicked", Some("sent delivered clicked")),
            ("complained", Some("sent delivered complained")),
            ("bounced", Some("sent bounced false unavailable")),
            ("suppressed", Some("sent failed recipient")),
            ("failed", Some("sent failed unavailable")),
            ("canceled", Some("sent canceled")),
            ("newest", None),
        ] {
            assert_eq!(words(last).as_deref(), wanted, "{last}");
        }
    }

    #[test]
    fn resends_instants_are_read() {
        let at = |text: &str| created_at(&serde_json::json!({ "created_at": text })).map(Timestamp::as_millis);
        assert_eq!(at("2026-11-21 09:30:00.674981+00"), Some(1_795_253_400_674));
        assert_eq!(at("2026-11-21T09:30:00.674Z"), Some(1_795_253_400_674));
        assert_eq!(at("yesterday"), None);
    }
}
