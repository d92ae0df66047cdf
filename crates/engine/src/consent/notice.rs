//! What a provider's report means for the address it speaks of: pure. Called by apply for every fact and refusal about a message, and written in the same transaction.

use model::{Blocks, Channel, Fact, Failure, FailureKind, SuppressionReason, Timestamp};

/// Soft bounces that make a suppression, when nothing arrived in between.
pub const SOFT_MAX: usize = 5;
/// Over at least this time, in seconds: a full mailbox or a phone that is off for a weekend is no reason.
pub const SOFT_SPAN_S: i64 = 7 * 86_400;
/// Soft bounces older than this no longer count, in seconds.
pub const SOFT_KEPT_S: i64 = 90 * 86_400;

/// Refusals called `opted_out` that speak of a moment or of this message rather than of the recipient's wish.
const NOT_A_WISH: &[&str] = &["1006", "1007", "1008"];

/// What a report means for its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It goes on the list.
    Suppress {
        /// Why.
        reason: SuppressionReason,
        /// What that holds back.
        blocks: Blocks,
        /// The provider's words.
        detail: String,
    },
    /// It counts towards being given up.
    Soft,
}

/// What a fact means. `connector` is the one that reports it.
pub fn of_fact(channel: Channel, connector: &str, fact: &Fact) -> Option<Notice> {
    match fact {
        Fact::Bounced { hard, failure } => match failure.kind {
            FailureKind::OptedOut => of_failure(channel, connector, failure),
            _ if is_policy(failure) => None,
            _ if *hard && !is_passing(failure) => Some(suppress(channel, SuppressionReason::HardBounce, failure)),
            _ => Some(Notice::Soft),
        },
        Fact::Failed { failure } => of_failure(channel, connector, failure),
        Fact::Complained => Some(Notice::Suppress {
            reason: SuppressionReason::Complaint,
            blocks: super::bar::blocks(channel, SuppressionReason::Complaint),
            detail: "The recipient reported a message as unwanted.".to_owned(),
        }),
        Fact::Unsubscribed => Some(Notice::Suppress {
            reason: SuppressionReason::OptedOut,
            blocks: super::bar::blocks(channel, SuppressionReason::OptedOut),
            detail: "The recipient unsubscribed at the provider.".to_owned(),
        }),
        _ => None,
    }
}

/// What a refusal means. Mail that is refused for good speaks of the address; a phone that cannot be reached may be off, so it counts until there are enough.
pub fn of_failure(channel: Channel, connector: &str, failure: &Failure) -> Option<Notice> {
    match failure.kind {
        FailureKind::OptedOut if connector == "gupshup" && NOT_A_WISH.contains(&failure.code.as_str()) => None,
        FailureKind::OptedOut => {
            let is_marketing_only = channel == Channel::Whatsapp && failure.code.contains("131050");
            let Notice::Suppress { reason, blocks, detail } = suppress(channel, SuppressionReason::OptedOut, failure)
            else {
                return None;
            };
            let blocks = if is_marketing_only { Blocks::Marketing } else { blocks };
            Some(Notice::Suppress { reason, blocks, detail })
        }
        FailureKind::Recipient if is_policy(failure) => None,
        FailureKind::Recipient => match channel {
            Channel::Email if is_passing(failure) => Some(Notice::Soft),
            Channel::Email | Channel::Telegram => Some(suppress(channel, SuppressionReason::HardBounce, failure)),
            Channel::Sms | Channel::Whatsapp | Channel::Voice => Some(Notice::Soft),
            Channel::Webhook => None,
        },
        _ => None,
    }
}

fn suppress(channel: Channel, reason: SuppressionReason, failure: &Failure) -> Notice {
    let detail = match &failure.provider_detail {
        Some(words) => format!("{} {words}", failure.code),
        None => format!("{} {}", failure.code, failure.detail),
    };
    Notice::Suppress { reason, blocks: super::bar::blocks(channel, reason), detail }
}

/// True when a code, or the provider's words, carry an enhanced status code (RFC 3463) that begins so.
fn has_status(failure: &Failure, start: &str) -> bool {
    let words = failure.provider_detail.as_deref().unwrap_or_default();
    let texts = std::iter::once(failure.code.as_str()).chain(words.split([' ', '(', ')', ';', ':', '[', ']', '-']));
    texts.take(40).any(|text| text.starts_with(start) && text[start.len()..].starts_with(|c: char| c.is_ascii_digit()))
}

/// 5.7.x: the receiver's policy, or our reputation. The address is not to blame.
fn is_policy(failure: &Failure) -> bool {
    has_status(failure, "5.7.")
}

/// 4.x.x, or a full mailbox (5.2.2): it may work again.
fn is_passing(failure: &Failure) -> bool {
    has_status(failure, "4.") || has_status(failure, "5.2.")
}

/// True when these soft bounces, of which nothing that arrived came after, are enough to give an address up.
pub fn is_given_up(bounces: &[Timestamp], last_arrival: Option<Timestamp>, now: Timestamp) -> bool {
    let counts = |at: &&Timestamp| **at > now.plus_seconds(-SOFT_KEPT_S) && last_arrival.is_none_or(|seen| **at > seen);
    let counting: Vec<&Timestamp> = bounces.iter().filter(counts).collect();
    let Some((first, last)) = counting.first().zip(counting.last()) else { return false };
    counting.len() >= SOFT_MAX && last.millis_since(**first) >= SOFT_SPAN_S * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(kind: FailureKind, code: &str, words: &str) -> Failure {
        Failure::new(kind, code, "x").with_provider_detail(words)
    }

    fn short(notice: Option<Notice>) -> String {
        match notice {
            None => "nothing".to_owned(),
            Some(Notice::Soft) => "soft".to_owned(),
            Some(Notice::Suppress { reason, blocks, .. }) => format!("{reason} {blocks}"),
        }
    }

    #[test]
    fn refusals_are_told_apart_by_kind_and_code() {
        use FailureKind::{Content, OptedOut, Recipient, Throttled, Unknown};
        for (channel, connector, kind, code, words, expected) in [
            (Channel::Email, "smtp", Recipient, "5.1.1", "550 5.1.1 no such user", "hard_bounce everything"),
            (Channel::Email, "smtp", Recipient, "550", "5.1.10 recipient not found", "hard_bounce everything"),
            (Channel::Email, "ses", Recipient, "suppressed", "", "hard_bounce everything"),
            (Channel::Email, "smtp", Recipient, "5.7.1", "policy", "nothing"),
            (Channel::Email, "smtp", Recipient, "550", "550-5.7.515 access denied", "nothing"),
            (Channel::Email, "smtp", Recipient, "5.2.2", "mailbox full", "soft"),
            (Channel::Email, "smtp", Recipient, "552", "(5.2.2) over quota", "soft"),
            (Channel::Email, "sendgrid", OptedOut, "dropped", "Unsubscribed Address", "opted_out marketing"),
            (Channel::Sms, "twilio", OptedOut, "21610", "", "opted_out everything"),
            (Channel::Sms, "twilio", Recipient, "30003", "unreachable", "soft"),
            (Channel::Whatsapp, "whatsapp_cloud", OptedOut, "131050", "", "opted_out marketing"),
            (Channel::Whatsapp, "gupshup", OptedOut, "1006", "", "nothing"),
            (Channel::Whatsapp, "gupshup", OptedOut, "1012", "", "opted_out everything"),
            (Channel::Telegram, "telegram", OptedOut, "403", "bot was blocked by the user", "opted_out everything"),
            (Channel::Telegram, "telegram", Recipient, "400", "chat not found", "hard_bounce everything"),
            (Channel::Email, "smtp", Content, "5.6.0", "", "nothing"),
            (Channel::Email, "smtp", Throttled, "4.7.0", "", "nothing"),
            (Channel::Email, "smtp", Unknown, "no_answer", "", "nothing"),
        ] {
            let notice = of_failure(channel, connector, &failure(kind, code, words));
            assert_eq!(short(notice), expected, "{connector} {code} {words}");
        }
    }

    #[test]
    fn reports_are_told_apart() {
        let bounced = |hard, code| Fact::Bounced { hard, failure: failure(FailureKind::Recipient, code, "") };
        let check =
            |fact: Fact, expected: &str| assert_eq!(short(of_fact(Channel::Email, "ses", &fact)), expected, "{fact:?}");
        check(bounced(true, "5.1.1"), "hard_bounce everything");
        check(bounced(true, "5.7.26"), "nothing");
        check(bounced(false, "5.2.2"), "soft");
        check(Fact::Complained, "complaint marketing");
        check(Fact::Unsubscribed, "opted_out marketing");
        check(Fact::Delivered, "nothing");
        assert_eq!(short(of_fact(Channel::Sms, "twilio", &Fact::Unsubscribed)), "opted_out everything");
    }

    #[test]
    fn five_soft_bounces_over_a_week_are_enough() {
        let day = |n: i64| Timestamp::from_seconds(n * 86_400);
        let check = |days: &[i64], arrival: Option<i64>, expected: bool| {
            let bounces: Vec<_> = days.iter().map(|n| day(100 + n)).collect();
            assert_eq!(
                is_given_up(&bounces, arrival.map(|n| day(100 + n)), day(108)),
                expected,
                "{days:?} {arrival:?}"
            );
        };
        check(&[0, 1, 2, 3, 7], None, true);
        check(&[0, 1, 2, 3, 6], None, false);
        check(&[0, 1, 2, 7], None, false);
        check(&[0, 1, 2, 3, 7], Some(1), false);
        check(&[0, 1, 2, 3, 4, 5, 7], Some(-1), true);
        check(&[-90, 1, 2, 3, 8], None, false);
    }
}
