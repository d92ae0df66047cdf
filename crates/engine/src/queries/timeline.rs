//! What became of a message, told in order: facts from four tables, read in one snapshot and sorted purely.

use model::{AccountId, AttemptId, FailureKind, MessageId, Status, TenantId, Timestamp};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use store::{
    Tx,
    attempts::{self, Attempt, Observation},
    contents,
    inflight::{self, Flight},
    messages::{self, Message},
};
use utoipa::ToSchema;

use super::found;
use crate::{Error, view::raw};

/// Longest text of a content that is shown, in characters: enough to recognise the message by.
const TEXT_MAX: usize = 500;

/// What became of a message, oldest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// What happened, and what happens next.
    pub data: Vec<Entry>,
}

/// One thing that happened to a message, or will.
#[derive(Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Entry {
    /// It was accepted.
    Accepted {
        /// When.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
        /// Over which channel.
        #[schema(example = "email")]
        channel: &'static str,
        /// Why.
        #[schema(example = "transactional")]
        purpose: &'static str,
        /// What is done when nobody can say whether the provider took it.
        #[schema(example = "at_least_once")]
        guarantee: &'static str,
        /// To whom.
        to: String,
        /// What it says, before placeholders are filled; long texts are cut.
        #[schema(value_type = Object)]
        content: Value,
        /// Not before this instant.
        #[schema(value_type = Option<String>, format = DateTime)]
        send_at: Option<Timestamp>,
        /// Not after this instant.
        #[schema(value_type = Option<String>, format = DateTime)]
        expires_at: Option<Timestamp>,
    },
    /// It was given to an account.
    Routed {
        /// When.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
        /// To which.
        #[schema(value_type = Option<String>)]
        account_id: Option<AccountId>,
        /// Of which connector.
        connector: Option<String>,
        /// Why this one.
        why: Option<String>,
    },
    /// An exchange with the provider.
    Attempt {
        /// When it began.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
        /// What we put into the provider's echo field.
        #[schema(value_type = String, example = "att_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
        id: AttemptId,
        /// From 1.
        number: u32,
        /// Through which account.
        #[schema(value_type = String)]
        account_id: AccountId,
        /// When its end was recorded; `null` while it is under way.
        #[schema(value_type = Option<String>, format = DateTime)]
        finished_at: Option<Timestamp>,
        /// `accepted`, the kind of failure, or `under_way`.
        #[schema(example = "accepted")]
        outcome: &'static str,
        /// Why it failed.
        #[schema(value_type = Option<Object>)]
        failure: Option<Box<RawValue>>,
        /// The provider's id.
        provider_message_id: Option<String>,
        /// Request and answer, without secrets.
        #[schema(value_type = Option<Object>)]
        exchange: Option<Box<RawValue>>,
        /// What we did about it.
        note: Option<String>,
    },
    /// Something was learned otherwise.
    Observation {
        /// When it happened.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
        /// When we learned it.
        #[schema(value_type = String, format = DateTime)]
        recorded_at: Timestamp,
        /// Who said so: `provider`, `poll`, `sandbox`, `engine`, or an actor such as `key_…`.
        #[schema(example = "provider")]
        source: String,
        /// The word for it.
        #[schema(example = "delivered")]
        kind: String,
        /// More.
        #[schema(value_type = Option<Object>)]
        detail: Option<Box<RawValue>>,
    },
    /// Its status changed.
    Change {
        /// When.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
        /// To what.
        #[schema(value_type = String, example = "sent")]
        status: Status,
    },
    /// The next attempt will be made.
    NextAttempt {
        /// When it is due.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
    },
    /// The provider will be asked what became of it; where it cannot be asked, nobody's word is waited for any longer.
    NextQuestion {
        /// When.
        #[schema(value_type = String, format = DateTime)]
        at: Timestamp,
    },
}

/// Everything there is to tell.
pub(super) struct Facts {
    message: Message,
    content: Option<String>,
    attempts: Vec<Attempt>,
    flight: Option<Flight>,
    observations: Vec<Observation>,
}

pub(super) async fn read(tx: &mut Tx, tenant: TenantId, id: MessageId) -> Result<Facts, Error> {
    let message = found(messages::find(tx, tenant, id).await?)?;
    let content = contents::find_many(tx, &[(tenant, message.content_id)]).await?.pop().map(|stored| stored.body);
    let attempts = attempts::of_message(tx, tenant, id).await?;
    let flight = inflight::find_many(tx, &[id]).await?.pop();
    let observations = attempts::observations_of(tx, tenant, id).await?;
    Ok(Facts { message, content, attempts, flight, observations })
}

/// Puts the facts in order. What a provider's clock puts before the message existed comes after its acceptance.
pub(super) fn tell(facts: Facts, now: Timestamp) -> Timeline {
    let Facts { message: m, content, attempts, flight, observations } = facts;
    let mut entries = vec![
        (
            m.created_at,
            Entry::Accepted {
                at: m.created_at,
                channel: m.channel.as_str(),
                purpose: m.purpose.as_str(),
                guarantee: m.guarantee.as_str(),
                to: m.address.clone(),
                content: content.and_then(|text| serde_json::from_str(&text).ok()).map_or(Value::Null, shortened),
                send_at: m.send_at,
                expires_at: m.expires_at,
            },
        ),
        (
            m.created_at,
            Entry::Routed {
                at: m.created_at,
                account_id: m.account_id,
                connector: m.connector.clone(),
                why: m.route.clone(),
            },
        ),
    ];
    let bounced_at = observations.iter().filter(|o| o.kind == Status::Bounced.as_str()).map(|o| o.at).min();
    let is_in_flight = flight.is_some();
    let changes: Vec<_> = changes(&m, bounced_at)
        .into_iter()
        .map(|(at, status)| (place(at, status, &observations), at, status))
        .collect();
    entries.extend(attempts.into_iter().map(|attempt| (attempt.started_at, ended(attempt))));
    entries.extend(flight.map(|flight| (flight.started_at, under_way(&flight))));
    entries.extend(observations.into_iter().map(|o| (o.recorded_at, observed(o))));
    entries.extend(changes.into_iter().map(|(place, at, status)| (place, Entry::Change { at, status })));
    let due_at = m.due_at.filter(|_| !m.status.is_final() && !is_in_flight);
    // What is due already comes last all the same: it has not happened.
    entries.extend(due_at.map(|at| (at.max(now), Entry::NextAttempt { at })));
    entries.extend(m.poll_at.map(|at| (at.max(now), Entry::NextQuestion { at })));
    entries.sort_by_key(|(at, _)| (*at).max(m.created_at));
    Timeline { data: entries.into_iter().map(|(_, entry)| entry).collect() }
}

fn ended(attempt: Attempt) -> Entry {
    Entry::Attempt {
        at: attempt.started_at,
        id: attempt.message_id.attempt(attempt.number),
        number: attempt.number,
        account_id: attempt.account_id,
        finished_at: Some(attempt.finished_at),
        outcome: match attempt.outcome {
            0 => "accepted",
            code => FailureKind::from_code(code).map_or("unknown", FailureKind::as_str),
        },
        failure: raw(attempt.failure.as_deref()),
        provider_message_id: attempt.provider_message_id,
        exchange: raw(attempt.exchange.as_deref()),
        note: attempt.note,
    }
}

fn under_way(flight: &Flight) -> Entry {
    Entry::Attempt {
        at: flight.started_at,
        id: flight.message_id.attempt(flight.number),
        number: flight.number,
        account_id: flight.account_id,
        finished_at: None,
        outcome: "under_way",
        failure: None,
        provider_message_id: None,
        exchange: None,
        note: None,
    }
}

fn observed(o: Observation) -> Entry {
    Entry::Observation {
        at: o.at,
        recorded_at: o.recorded_at,
        source: o.source,
        kind: o.kind,
        detail: raw(o.detail.as_deref()),
    }
}

/// Where a change stands: behind the observation that made it, which was recorded a little after it happened, or long after.
fn place(at: Timestamp, status: Status, observations: &[Observation]) -> Timestamp {
    let causes = observations.iter().filter(|o| o.kind == status.as_str() && o.at == at);
    causes.map(|o| o.recorded_at).min().map_or(at, |recorded_at| recorded_at.max(at))
}

/// The statuses whose instants the row keeps.
fn changes(m: &Message, bounced_at: Option<Timestamp>) -> Vec<(Timestamp, Status)> {
    let mut changes = Vec::new();
    changes.extend(m.sent_at.map(|at| (at, Status::Sent)));
    changes.extend(m.delivered_at.map(|at| (at, Status::Delivered)));
    changes.extend(m.read_at.map(|at| (at, Status::Read)));
    changes.extend(bounced_at.filter(|_| m.status == Status::Bounced).map(|at| (at, Status::Bounced)));
    changes.extend(m.ended_at.filter(|_| m.status.is_final() && !m.status.was_accepted()).map(|at| (at, m.status)));
    changes
}

/// The same JSON with long texts cut.
fn shortened(value: Value) -> Value {
    match value {
        Value::String(text) if text.chars().count() > TEXT_MAX => {
            Value::String(text.chars().take(TEXT_MAX).chain(['…']).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(shortened).collect()),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, shortened(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_stands_behind_what_made_it() {
        let at = Timestamp::from_seconds;
        let observation = |kind: &str, happened_s: i64, recorded_s: i64| Observation {
            tenant_id: TenantId::from_ulid(1),
            message_id: MessageId::from_ulid(1 << 10),
            dedupe: String::new(),
            source: "provider".to_owned(),
            kind: kind.to_owned(),
            detail: None,
            at: at(happened_s),
            recorded_at: at(recorded_s),
        };
        let observations = [observation("delivered", 5, 9), observation("delivered", 5, 7), observation("sent", 6, 8)];
        assert_eq!(place(at(5), Status::Delivered, &observations), at(7));
        assert_eq!(place(at(4), Status::Sent, &observations), at(4), "the provider's answer made it");
        assert_eq!(place(at(5), Status::Read, &observations), at(5));
    }

    #[test]
    fn long_texts_are_cut_wherever_they_are() {
        let long = "ä".repeat(600);
        let cut = shortened(serde_json::json!({"html": long, "list": [{"text": long}], "n": 1, "short": "x"}));
        assert_eq!(cut["html"].as_str().map(|text| text.chars().count()), Some(501));
        assert!(cut["list"][0]["text"].as_str().unwrap().ends_with('…'));
        assert_eq!((&cut["n"], &cut["short"]), (&Value::from(1), &Value::from("x")));
    }
}
