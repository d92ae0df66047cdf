//! SMS delivery records of CloudWatch Logs, as a tenant's Lambda function forwards them.
//! <https://docs.aws.amazon.com/sns/latest/dg/sms_stats_cloudwatch.html>
//!
//! A body is one record, a list of records, or the decoded data of a subscription filter (`logEvents`, each with a record as text). The words Amazon
//! gives as reason for a failure were not seen in a source of ours that is current, so they are matched loosely, and what is not recognised
//! says nothing about the recipient.

use model::{Fact, Failure, FailureKind, Money};
use serde_json::Value;

use crate::{Observed, Report, decimal};

use FailureKind::{Account, Content, OptedOut, Recipient, Unavailable};

/// Words of `providerResponse` in lower case, of which one is there, what they mean, and what we say. The first that fits decides.
#[rustfmt::skip]
const REASONS: &[(&str, FailureKind, &str)] = &[
    ("opted out", OptedOut, "The recipient has opted out of messages from this account."),
    ("exceed max price", Content, "The message costs more than the account's highest price. Raise it."),
    ("no quota left", Account, "The account's monthly spending limit is reached. Ask Amazon for a higher one."),
    ("spam", Content, "The carrier blocked the message as unwanted. Change its text, or register the sender."),
    ("whitelist", Content, "The carrier takes only registered senders and texts. Register them with Amazon."),
    ("template", Content, "The text does not match its registered template."),
    ("invalid phone number", Recipient, "The recipient's number is not valid."),
    ("blacklist", Recipient, "The carrier blocks the recipient's number."),
    ("carrier is currently unreachable", Unavailable, "The recipient's carrier cannot be reached now."),
    ("unreachable", Unavailable, "The recipient's phone could not be reached: switched off or without network."),
    ("unavailable", Unavailable, "The recipient's phone could not be reached: switched off or without network."),
    ("unknown error", Unavailable, "The carrier reported an unknown error."),
];

/// Reads a body; records that are about no message of ours yield nothing.
pub(super) fn read(body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let given: Value = serde_json::from_slice(body).map_err(|error| {
        Failure::new(Unavailable, "bad_callback", format!("The delivery records are not JSON: {error}."))
    })?;
    let observed = match (&given, given.get("logEvents").and_then(Value::as_array)) {
        (_, Some(events)) => events.iter().filter_map(logged).filter_map(|record| report(&record)).collect(),
        (Value::Array(records), None) => records.iter().filter_map(report).collect(),
        _ => report(&given).into_iter().collect::<Vec<_>>(),
    };
    Ok(observed.into_iter().map(Observed::Status).collect())
}

fn logged(event: &Value) -> Option<Value> {
    serde_json::from_str(event.get("message")?.as_str()?).ok()
}

/// The record's own time is when the message was published, so the time of the report is ours.
fn report(record: &Value) -> Option<Report> {
    let id = record.pointer("/notification/messageId")?.as_str()?;
    let status = record.get("status")?.as_str()?;
    let words = record.pointer("/delivery/providerResponse").and_then(Value::as_str).unwrap_or_default();
    let fact = match status {
        "SUCCESS" => Fact::Delivered,
        "FAILURE" => Fact::Failed { failure: failure(words) },
        _ => return None,
    };
    let parts = record.pointer("/delivery/numberOfMessageParts").and_then(Value::as_u64);
    let price = record.pointer("/delivery/priceInUSD").and_then(|price| decimal::micros(&price.to_string()));
    Some(Report {
        segments: parts.and_then(|parts| u32::try_from(parts).ok()).filter(|parts| *parts > 0),
        price: price.map(|amount_micros| Money { amount_micros, currency: "USD".to_owned() }),
        ..Report::new(id, status, fact)
    })
}

fn failure(words: &str) -> Failure {
    let lower = words.to_lowercase();
    let (kind, detail) = REASONS
        .iter()
        .find(|(phrase, _, _)| lower.contains(phrase))
        .map_or((Unavailable, "Amazon did not deliver the message."), |(_, kind, detail)| (*kind, *detail));
    Failure::new(kind, "FAILURE", detail).with_provider_detail(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason() {
        for (words, wanted) in [
            ("Phone number is opted out", OptedOut),
            ("This delivery would exceed max price", Content),
            ("No quota left for account", Account),
            ("Blocked as spam by phone carrier", Content),
            ("Destination is not on whitelist", Content),
            ("Message does not match template", Content),
            ("Invalid phone number", Recipient),
            ("Destination is blacklisted", Recipient),
            ("Phone carrier is currently unreachable/unavailable", Unavailable),
            ("Phone is currently unreachable/unavailable", Unavailable),
            ("Carrier unavailable", Unavailable),
            ("Unknown error attempting to reach phone", Unavailable),
            ("Something new", Unavailable),
            ("", Unavailable),
        ] {
            assert_eq!(failure(words).kind, wanted, "{words}");
        }
        assert!(REASONS.iter().all(|(phrase, _, _)| *phrase == phrase.to_lowercase()));
    }

    #[test]
    fn what_is_no_record_yields_nothing() {
        for body in ["{}", "[]", "[1]", r#"{"logEvents":[{"message":"START RequestId"},{}]}"#, "null"] {
            assert!(read(body.as_bytes()).unwrap().is_empty(), "{body}");
        }
        let other = r#"{"notification":{"messageId":"m"},"status":"PENDING"}"#;
        assert!(read(other.as_bytes()).unwrap().is_empty());
        assert_eq!(read(b"<html>").unwrap_err().code, "bad_callback");
    }
}
