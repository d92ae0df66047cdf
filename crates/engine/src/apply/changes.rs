//! What a report changed of its message, for the callback log. Compared are the few things reports can change, so it costs no copy of the row.

use model::{Channel, Money, Status, Timestamp};
use serde::{Deserialize, Serialize};
use store::messages::{Engagement, Message};
use utoipa::ToSchema;

/// One thing that changed, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallbackChange)]
pub struct Change {
    /// What: of the message its `status`, `channel` (it fell back), `segments`, `price` (in millionths, as the provider takes it, whenever a report names it), or when it was first `opened`,
    /// `clicked`,
    /// `complained`, `unsubscribed`, `replied` (with `machine_` before it when a program did it); `suppression` of its address with the reason, `soft_bounce` counted against it;
    /// `inbound_message` stored, `contact` for what the word somebody wrote did to their consent, as the event that tells it; `whatsapp_templates` that are read again. By
    /// a payment provider's event the `purchase` or `refund` it is about, what was `refunded` of the purchase, the tenant's `credit`, `refunds_and_disputes` that are asked for next, and
    /// `payment_stray`: that it brought nobody credit (`taken`, `gone` or `currency`), or that this is `settled`.
    #[schema(example = "status")]
    pub what: String,
    /// What it was; `null` when it was nothing.
    #[schema(example = "sent")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is.
    #[schema(example = "delivered")]
    pub to: String,
}

impl Change {
    /// Something new.
    pub fn new(what: &str, to: impl ToString) -> Self {
        Self { what: what.to_owned(), from: None, to: to.to_string() }
    }

    fn from(what: &str, from: impl ToString, to: impl ToString) -> Self {
        Self { from: Some(from.to_string()), ..Self::new(what, to) }
    }
}

/// What of a message reports can change.
pub(super) struct Before {
    status: Status,
    channel: Channel,
    segments: Option<u32>,
    engagement: Engagement,
}

impl Before {
    pub(super) fn of(m: &Message) -> Self {
        Self { status: m.status, channel: m.channel, segments: m.segments, engagement: m.engagement }
    }

    /// What is different now. `price` is what the report named, where it counts.
    pub(super) fn changes(&self, m: &Message, price: Option<&Money>) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.status != m.status {
            changes.push(Change::from("status", self.status.as_str(), m.status.as_str()));
        }
        if self.channel != m.channel {
            changes.push(Change::from("channel", self.channel, m.channel));
        }
        if let Some(after) = m.segments.filter(|_| self.segments != m.segments) {
            let before = self.segments.map(|count| count.to_string());
            changes.push(Change { from: before, ..Change::new("segments", after) });
        }
        if let Some(price) = price {
            changes.push(Change::new("price", format!("{} {}", price.amount_micros, price.currency)));
        }
        let (was, is) = (first(&self.engagement), first(&m.engagement));
        for ((what, before), (_, after)) in was.into_iter().zip(is) {
            if let Some(after) = after.filter(|_| before != after) {
                changes.push(Change { from: before.map(|at| at.to_string()), ..Change::new(what, after) });
            }
        }
        changes
    }
}

fn first(e: &Engagement) -> [(&'static str, Option<Timestamp>); 7] {
    [
        ("opened", e.opened_at),
        ("clicked", e.clicked_at),
        ("machine_opened", e.machine_opened_at),
        ("machine_clicked", e.machine_clicked_at),
        ("complained", e.complained_at),
        ("unsubscribed", e.unsubscribed_at),
        ("replied", e.replied_at),
    ]
}
