//! Termii's webhooks: what became of messages, and messages from people. The object stands alone or in `data`.
//! <https://developers.termii.com/events-and-reports>

use model::{Address, Channel, Fact, Failure, FailureKind};
use serde_json::Value;

use super::{NAME, id};
use crate::{
    InboundMessage, Observed, Report,
    read::{bad_callback, text},
};

use FailureKind::{Recipient, Unavailable};

/// Reads a webhook.
pub(super) fn read(body: &[u8]) -> Result<Vec<Observed>, Failure> {
    let body: Value = serde_json::from_slice(body).map_err(|_| bad_callback(NAME))?;
    let event = if body["data"].is_object() { &body["data"] } else { &body };
    let Some(status) = text(event, "/status") else { return Ok(Vec::new()) };
    if status.eq_ignore_ascii_case("received") {
        return Ok(message(event)?.map(Observed::Message).into_iter().collect());
    }
    Ok(report(event, status).map(Observed::Status).into_iter().collect())
}

fn report(event: &Value, status: &str) -> Option<Report> {
    let fact = fact(status)?;
    Some(Report::new(id(&event["message_id"])?, status, fact))
}

/// Words come in any case.
fn fact(status: &str) -> Option<Fact> {
    let failed = |kind, says: &str| Some(Fact::Failed { failure: Failure::new(kind, status, says) });
    match status.to_ascii_lowercase().as_str() {
        "delivered" => Some(Fact::Delivered),
        "message sent" | "sent" => Some(Fact::Sent),
        "dnd active on phone number" => failed(
            Recipient,
            "The recipient is on the do-not-disturb list, which this route does not reach. Set the account's `route` to dnd for transactional messages.",
        ),
        "message failed" | "failed" => failed(Unavailable, "The message was not delivered; Termii gives no reason."),
        "rejected" => failed(Unavailable, "The recipient's network rejected the message."),
        "expired" => failed(Unavailable, "The recipient's phone could not be reached in time."),
        _ => None,
    }
}

fn message(event: &Value) -> Result<Option<InboundMessage>, Failure> {
    let (Some(from), Some(words)) = (text(event, "/sender"), text(event, "/message")) else { return Ok(None) };
    let phone = format!("+{}", from.trim_start_matches('+')).parse().map_err(|_| {
        let detail = format!("A message comes from {from}, which is not a phone number; it was not stored.");
        Failure::new(Recipient, "unreadable_sender", detail)
    })?;
    Ok(Some(InboundMessage {
        provider_message_id: id(&event["message_id"]).or_else(|| id(&event["id"])).unwrap_or_default(),
        channel: Channel::Sms,
        from: Address::Phone(phone),
        from_name: None,
        to: text(event, "/receiver").unwrap_or_default().to_owned(),
        text: words.to_owned(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: None,
        keyword: None,
        mail: None,
        // Its times name no zone.
        at: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_status_in_any_case() {
        let word = |status| match fact(status) {
            Some(Fact::Failed { failure }) => format!("failed {}", failure.kind),
            Some(other) => other.as_str().to_owned(),
            None => "nothing".to_owned(),
        };
        for (status, wanted) in [
            ("Delivered", "delivered"),
            ("DELIVERED", "delivered"),
            ("Message Sent", "sent"),
            ("MESSAGE SENT", "sent"),
            ("Message Failed", "failed unavailable"),
            ("DND Active on Phone Number", "failed recipient"),
            ("Rejected", "failed unavailable"),
            ("Expired", "failed unavailable"),
            ("Teleported", "nothing"),
        ] {
            assert_eq!(word(status), wanted, "{status}");
        }
    }
}
