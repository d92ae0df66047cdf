//! The life of a message as one pure function. A message's status only rises along one order, so facts may come late,
//! twice or shuffled and the end is the same: the highest status anybody reported.

use serde::{Deserialize, Serialize};

use crate::{Failure, Timestamp, channel::words};

words! {
    /// Where a message is. Later values win; nothing goes back.
    Status {
        /// Accepted, waits for `send_at`.
        Scheduled = "scheduled" / 0,
        /// Accepted, waits for its turn or its next try.
        Queued = "queued" / 1,
        /// An attempt is under way. Derived while one is in flight, never stored.
        Sending = "sending" / 2,
        /// Withdrawn before it left.
        Canceled = "canceled" / 3,
        /// Its `expires_at` passed before it left.
        Expired = "expired" / 4,
        /// Not sent because the recipient must not be written to.
        Suppressed = "suppressed" / 5,
        /// It may or may not have been taken by the provider; nobody has said.
        Unknown = "unknown" / 6,
        /// The provider took it.
        Sent = "sent" / 7,
        /// It did not reach the recipient.
        Failed = "failed" / 8,
        /// It reached the recipient's device or mailbox.
        Delivered = "delivered" / 9,
        /// The recipient's server sent it back, perhaps after taking it.
        Bounced = "bounced" / 10,
        /// The recipient opened it, as far as the provider can tell.
        Read = "read" / 11,
    }
}

impl Status {
    /// True when no attempt will follow.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Scheduled | Self::Queued | Self::Sending)
    }

    /// True when the provider is known to have taken the message.
    pub const fn was_accepted(self) -> bool {
        matches!(self, Self::Sent | Self::Delivered | Self::Bounced | Self::Read)
    }
}

/// Something that became known about a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The provider took it.
    Sent,
    /// It arrived.
    Delivered,
    /// It was read (also implies that it arrived).
    Read,
    /// It did not arrive, for this reason.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It came back. `hard`: the address does not exist; otherwise the mailbox is full or the like.
    Bounced {
        /// True when the address should not be used again.
        hard: bool,
        /// Why.
        failure: Failure,
    },
    /// Nobody can say whether the provider took it, and we stop trying.
    Unknown {
        /// Why nobody can say.
        failure: Failure,
    },
    /// The tenant withdrew it before it left.
    Canceled,
    /// Its time ran out before it left.
    Expired,
    /// The recipient must not be written to.
    Suppressed {
        /// Why.
        failure: Failure,
    },
    /// Engagement: opened, with no change of status for e-mail (opens are guesses).
    Opened,
    /// Engagement: a link was clicked.
    Clicked {
        /// The link, when the provider says which.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
    },
    /// The recipient reported it as unwanted.
    Complained,
    /// The recipient asked for no more.
    Unsubscribed,
    /// The recipient wrote back.
    Replied,
}

impl Fact {
    /// The word used in timelines and event types (`message.delivered`).
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed { .. } => "failed",
            Self::Bounced { .. } => "bounced",
            Self::Unknown { .. } => "unknown",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::Suppressed { .. } => "suppressed",
            Self::Opened => "opened",
            Self::Clicked { .. } => "clicked",
            Self::Complained => "complained",
            Self::Unsubscribed => "unsubscribed",
            Self::Replied => "replied",
        }
    }

    /// The status this fact speaks for; `None` for engagement, which changes no status.
    pub const fn status(&self) -> Option<Status> {
        match self {
            Self::Sent => Some(Status::Sent),
            Self::Delivered => Some(Status::Delivered),
            Self::Read => Some(Status::Read),
            Self::Failed { .. } => Some(Status::Failed),
            Self::Bounced { .. } => Some(Status::Bounced),
            Self::Unknown { .. } => Some(Status::Unknown),
            Self::Canceled => Some(Status::Canceled),
            Self::Expired => Some(Status::Expired),
            Self::Suppressed { .. } => Some(Status::Suppressed),
            Self::Opened | Self::Clicked { .. } | Self::Complained | Self::Unsubscribed | Self::Replied => None,
        }
    }

    /// The failure this fact carries.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure }
            | Self::Bounced { failure, .. }
            | Self::Unknown { failure }
            | Self::Suppressed { failure } => Some(failure),
            _ => None,
        }
    }
}

/// What a fact changes on the message's row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    /// The new status, when it rises.
    pub status: Option<Status>,
    /// The instant to store as `sent_at`, when none is stored or this one is earlier.
    pub sent_at: Option<Timestamp>,
    /// Likewise `delivered_at`.
    pub delivered_at: Option<Timestamp>,
    /// Likewise `read_at`.
    pub read_at: Option<Timestamp>,
}

/// Says what `fact`, known to have happened at `at`, changes on a message that stands at `status`.
///
/// Monotone (the status never falls), idempotent, and indifferent to order: applying any set of facts in any order
/// ends at the same status, the highest among them. Times are offered, and the earliest wins where they are stored.
pub fn step(status: Status, fact: &Fact, at: Timestamp) -> Change {
    let mut change = Change { status: fact.status().filter(|next| *next > status), ..Change::default() };
    match fact {
        Fact::Sent => change.sent_at = Some(at),
        Fact::Delivered => change.delivered_at = Some(at),
        Fact::Read => change.read_at = Some(at),
        _ => {}
    }
    change
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FailureKind;

    const AT: Timestamp = Timestamp::from_seconds(1);

    fn failed() -> Fact {
        Fact::Failed { failure: Failure::new(FailureKind::Recipient, "x", "y") }
    }

    fn after(facts: &[Fact]) -> Status {
        facts.iter().fold(Status::Queued, |status, fact| step(status, fact, AT).status.unwrap_or(status))
    }

    #[test]
    fn late_receipt_does_not_reopen() {
        assert_eq!(after(&[Fact::Delivered, Fact::Sent]), Status::Delivered);
        assert_eq!(after(&[Fact::Read, Fact::Delivered, failed()]), Status::Read);
    }

    #[test]
    fn a_bounce_after_delivery_wins_and_a_failure_does_not() {
        let bounce = Fact::Bounced { hard: true, failure: Failure::new(FailureKind::Recipient, "5.1.1", "gone") };
        assert_eq!(after(&[Fact::Delivered, bounce]), Status::Bounced);
        assert_eq!(after(&[Fact::Delivered, failed()]), Status::Delivered);
    }

    #[test]
    fn unknown_is_settled_by_any_word_of_the_provider() {
        let unknown = Fact::Unknown { failure: Failure::new(FailureKind::Unknown, "no_answer", "") };
        for fact in [Fact::Sent, failed(), Fact::Delivered] {
            assert_eq!(after(&[unknown.clone(), fact.clone()]), fact.status().unwrap());
        }
    }

    #[test]
    fn engagement_changes_no_status() {
        assert_eq!(after(&[Fact::Sent, Fact::Opened, Fact::Clicked { url: None }, Fact::Complained]), Status::Sent);
    }

    #[test]
    fn codes_rise_with_the_order() {
        assert!(Status::ALL.windows(2).all(|pair| pair[0] < pair[1] && pair[0].code() < pair[1].code()));
    }
}
