//! What became known of a message after it left: a report of its provider, an opening or a click, a reply. It may speak of a way the message has left.

use model::{Fact, Status, Timestamp};
use store::{
    attempts::Observation,
    messages::{Engagement, Message},
    reports::EarlyReport,
};

use super::{ASK_SENT_AFTER_MS, Fold};
use crate::apply::{Change, EarlyPayload, Learned, changes::Before, fallback};

impl Fold<'_> {
    /// A fact became known. Answers what it changed.
    pub(in crate::apply) fn learned(&mut self, learned: &Learned) -> Vec<Change> {
        let Some(mut m) = self.take(learned.message_id) else { return Vec::new() };
        if m.tenant_id != learned.tenant_id {
            self.put(m);
            return Vec::new();
        }
        let before = Before::of(&m);
        let former = self.ways.former.get(&m.id).and_then(|former| {
            fallback::about_former(&m, former, learned.attempt, learned.provider_message_id.as_deref())
        });
        self.writes.observations.push(observation(learned, self.now));
        let noticed = match former {
            Some(position) => {
                self.told_late(&mut m, position, learned);
                // The message has moved on: only that it arrived after all, what the recipient did, and what that way cost, still matters.
                let matters = matches!(learned.fact.status(), Some(Status::Delivered | Status::Read) | None);
                if matters { self.believe(&mut m, learned, true) } else { None }
            }
            None => {
                self.told_now(&mut m, learned);
                self.believe(&mut m, learned, false)
            }
        };
        let mut changes = before.changes(&m, learned.price.as_ref());
        changes.extend(noticed);
        self.put(m);
        changes
    }

    /// What its provider says of a message the way it goes now: how it knows it there, in how many parts it was sent, and what it takes.
    fn told_now(&mut self, m: &mut Message, learned: &Learned) {
        if m.provider_message_id.is_none() {
            m.provider_message_id.clone_from(&learned.provider_message_id);
        }
        m.segments = learned.segments.filter(|count| *count > 0).or(m.segments);
        self.priced(m, learned.price.as_ref(), learned.pricing.as_ref());
    }

    /// Lets a fact change its message: that goes another way, or is settled, and its tenant is told. Answers what the fact did to the address.
    fn believe(&mut self, m: &mut Message, learned: &Learned, is_former: bool) -> Option<Change> {
        let fact = &learned.fact;
        let noticed = self.noticed(m, fact);
        if let Fact::Failed { failure } | Fact::Bounced { failure, .. } = fact
            && !matches!(m.status, Status::Delivered | Status::Read)
            && m.due_at.is_none()
            && self.falls_back(m, failure)
        {
            return noticed;
        }
        let is_sent = *fact == Fact::Sent;
        if fact.status().is_some_and(Status::is_final) {
            // Whatever the provider says settles an attempt nobody could speak for: no retry, no more asking.
            self.withdraw_delivery(m);
            m.poll_at = m.poll_at.filter(|_| is_sent).map(|_| self.now.plus_millis(ASK_SENT_AFTER_MS));
        }
        if fact.status().is_some_and(Status::was_accepted) && m.sent_at.is_none() && !is_sent && !is_former {
            // Delivered and read imply that it was sent, the way they speak of.
            m.sent_at = Some(learned.at);
        }
        engage(&mut m.engagement, learned);
        // What machines do is on record, and no news.
        if learned.machine.is_none() {
            self.step(m, fact, learned.at);
        }
        noticed
    }

    /// A report that came before the provider's answer was recorded.
    pub(in crate::apply) fn early(&mut self, early: &EarlyReport) {
        let row = self.rows.values().find(|m| {
            m.account_id == Some(early.account_id)
                && m.provider_message_id.as_deref() == Some(&early.provider_message_id)
        });
        let Some((message_id, tenant_id)) = row.map(|m| (m.id, m.tenant_id)) else { return };
        if let Some(payload) = EarlyPayload::read(&early.report) {
            drop(self.learned(&payload.learned(tenant_id, message_id, early)));
        }
    }
}

/// What became known, for the message's timeline.
fn observation(learned: &Learned, now: Timestamp) -> Observation {
    let mut detail = serde_json::Map::new();
    if let Some(word) = &learned.provider_status {
        detail.insert("provider_status".to_owned(), word.clone().into());
    }
    if let Some(failure) = learned.fact.failure() {
        detail.insert("failure".to_owned(), serde_json::to_value(failure).unwrap_or_default());
    }
    if let Fact::Clicked { url: Some(url) } = &learned.fact {
        detail.insert("url".to_owned(), url.clone().into());
    }
    if let Some(machine) = learned.machine {
        detail.insert("machine".to_owned(), machine.into());
    }
    if let Some(pricing) = &learned.pricing {
        detail.insert("billed_as".to_owned(), serde_json::to_value(pricing).unwrap_or_default());
    }
    Observation {
        tenant_id: learned.tenant_id,
        message_id: learned.message_id,
        dedupe: learned.dedupe.clone(),
        source: learned.source.clone(),
        kind: match learned.machine {
            // A word of its own, so that nobody who looks for what people did finds it.
            Some(_) => format!("machine_{}", learned.fact.as_str()),
            None => learned.fact.as_str().to_owned(),
        },
        detail: (!detail.is_empty()).then(|| serde_json::Value::Object(detail).to_string()),
        at: learned.at,
        recorded_at: now,
    }
}

/// Notes the first opening, click, complaint, unsubscription and reply, each kind apart. The earliest counts, in whatever order they become known.
fn engage(engagement: &mut Engagement, learned: &Learned) {
    let first = match (&learned.fact, learned.machine) {
        (Fact::Opened, None) => &mut engagement.opened_at,
        (Fact::Opened, Some(_)) => &mut engagement.machine_opened_at,
        (Fact::Clicked { .. }, None) => &mut engagement.clicked_at,
        (Fact::Clicked { .. }, Some(_)) => &mut engagement.machine_clicked_at,
        (Fact::Complained, _) => &mut engagement.complained_at,
        (Fact::Unsubscribed, _) => &mut engagement.unsubscribed_at,
        (Fact::Replied, _) => &mut engagement.replied_at,
        _ => return,
    };
    *first = Some(first.map_or(learned.at, |at| at.min(learned.at)));
}
