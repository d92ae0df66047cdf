//! What stands against writing to an address: pure.

use model::{Blocks, Channel, Failure, FailureKind, Purpose, SuppressionReason};
use store::suppressions::Suppression;

/// The form in which addresses are compared: mail without regard to capitals, everything else as it is.
pub fn key(channel: Channel, address: &str) -> String {
    match channel {
        Channel::Email => address.to_lowercase(),
        _ => address.to_owned(),
    }
}

/// What a suppression for this reason holds back, unless it is said otherwise.
///
/// A complaint and an unsubscribed mail hold back marketing: a person who is tired of newsletters still gets the invoice. STOP by SMS, WhatsApp, Telegram or voice holds back
/// everything on that channel, as carriers and regulators want it, unless the tenant's `stop_scope` is `program`.
pub const fn blocks(channel: Channel, reason: SuppressionReason) -> Blocks {
    match (reason, channel) {
        (SuppressionReason::Complaint, _) | (SuppressionReason::OptedOut, Channel::Email) => Blocks::Marketing,
        _ => Blocks::Everything,
    }
}

/// The topic of our answer to somebody who wrote STOP: the one message they still get. Requests cannot name it, because it has a colon.
pub const STOP_REPLY: &str = "reply:stop";
/// The topic of our answer to HELP, which is given to whoever asks.
pub const HELP_REPLY: &str = "reply:help";

/// Why a message must not go to an address, if one of these suppressions of it says so.
pub fn bar(purpose: Purpose, topic: Option<&str>, against: &[&Suppression]) -> Option<Failure> {
    let is_reply = matches!(topic, Some(STOP_REPLY | HELP_REPLY));
    let holds = |s: &&&Suppression| {
        let is_covered = s.blocks == Blocks::Everything || purpose == Purpose::Marketing;
        is_covered && !(is_reply && s.reason == SuppressionReason::OptedOut)
    };
    // What holds back most comes first, then what came first.
    let strongest = against.iter().filter(holds).max_by_key(|s| (s.blocks, std::cmp::Reverse(s.id)))?;
    let (kind, words) = match strongest.reason {
        SuppressionReason::HardBounce => (FailureKind::Recipient, "the address does not exist"),
        SuppressionReason::SoftBounces => (FailureKind::Recipient, "it could not be reached again and again"),
        SuppressionReason::Complaint => (FailureKind::OptedOut, "the recipient reported a message as unwanted"),
        SuppressionReason::OptedOut => (FailureKind::OptedOut, "the recipient asked for no more messages"),
        SuppressionReason::Manual => (FailureKind::OptedOut, "it was put on the list by hand"),
        SuppressionReason::Import => (FailureKind::OptedOut, "it came with an imported list"),
        SuppressionReason::Erased => (FailureKind::OptedOut, "the contact was erased"),
    };
    let held = match strongest.blocks {
        Blocks::Marketing => "marketing messages",
        Blocks::Everything => "messages",
    };
    let detail = format!(
        "This address gets no {held} over {}: {words} ({}, since {}). If that no longer holds, remove {} from the suppression list.",
        strongest.channel, strongest.reason, strongest.created_at, strongest.id
    );
    Some(Failure::new(kind, format!("suppressed_{}", strongest.reason), detail))
}

#[cfg(test)]
mod tests {
    use model::{SuppressionId, TenantId, Timestamp};

    use super::*;

    fn of(id: u128, reason: SuppressionReason, blocks: Blocks) -> Suppression {
        Suppression {
            tenant_id: TenantId::from_ulid(1),
            channel: Channel::Sms,
            address: "+4915112345678".to_owned(),
            reason,
            id: SuppressionId::from_ulid(id),
            blocks,
            source: "provider".to_owned(),
            detail: None,
            message_id: None,
            created_at: Timestamp::from_seconds(1),
        }
    }

    fn code(purpose: Purpose, topic: Option<&str>, rows: &[Suppression]) -> Option<String> {
        bar(purpose, topic, &rows.iter().collect::<Vec<_>>()).map(|failure| failure.code)
    }

    #[test]
    fn what_holds_back_marketing_lets_transactional_messages_pass() {
        let complaint = [of(1, SuppressionReason::Complaint, Blocks::Marketing)];
        assert_eq!(code(Purpose::Marketing, None, &complaint).as_deref(), Some("suppressed_complaint"));
        assert_eq!(code(Purpose::Transactional, None, &complaint), None);
        assert_eq!(code(Purpose::Marketing, None, &[]), None);
    }

    #[test]
    fn the_strongest_reason_is_named() {
        let rows = [
            of(1, SuppressionReason::Complaint, Blocks::Marketing),
            of(3, SuppressionReason::HardBounce, Blocks::Everything),
            of(2, SuppressionReason::Manual, Blocks::Everything),
        ];
        for purpose in [Purpose::Marketing, Purpose::Transactional] {
            assert_eq!(code(purpose, None, &rows).as_deref(), Some("suppressed_manual"));
        }
    }

    #[test]
    fn the_answer_to_stop_passes_stop_and_nothing_else() {
        let stop = [of(1, SuppressionReason::OptedOut, Blocks::Everything)];
        assert_eq!(code(Purpose::Transactional, Some(STOP_REPLY), &stop), None);
        assert_eq!(code(Purpose::Transactional, Some(HELP_REPLY), &stop), None);
        assert!(code(Purpose::Transactional, Some("reply_stop"), &stop).is_some());
        let gone = [stop[0].clone(), of(2, SuppressionReason::Manual, Blocks::Everything)];
        assert_eq!(code(Purpose::Transactional, Some(STOP_REPLY), &gone).as_deref(), Some("suppressed_manual"));
    }

    #[test]
    fn mail_addresses_are_compared_without_capitals() {
        assert_eq!(key(Channel::Email, "Ada@Example.com"), "ada@example.com");
        assert_eq!(key(Channel::Telegram, "-100"), "-100");
    }
}
