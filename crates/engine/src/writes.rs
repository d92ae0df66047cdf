//! What one transaction writes about messages, collected first and written together: accept and apply fill one of these.
//!
//! Events are added here with their deliveries to the tenant's webhook endpoints, so that what happened and the telling of it are one commit. Usage is counted
//! as the difference between a message's row before and after, so the counters equal a recount of the rows, through every crash and replay.

use std::{borrow::Cow, collections::BTreeMap, pin::Pin};

use model::{
    Channel, Class, Content, EventId, Ids, MessageId, Money, Priority, Purpose, Status, SuppressionReason, TenantId,
    Timestamp, WebhookContent,
};
use store::{
    Error, Tx, attempt_counters,
    attempts::{self, Attempt, Observation},
    consent_policies, contents,
    credits::Charge,
    deliveries::{self, Delivery},
    events::{self, Event},
    fallbacks::{self, Fallback, FormerRoute},
    inflight::{self, Flight},
    message_counters,
    messages::{self, ContentId, Message},
    reports::{self, EarlyReport, LaterFact},
    suppressions::{self, SoftBounce, Suppression},
    template_counters, tenants,
    usage::{self, Counts, Key},
};

use crate::{
    analytics::count,
    directory::Tenant,
    money::{charge, settling::Settling},
    plans::quota,
    tracking,
};

/// Rows to be written in one transaction.
#[derive(Default)]
pub struct Writes {
    /// New contents.
    pub contents: Vec<contents::Stored>,
    /// New messages.
    pub new_messages: Vec<Message>,
    /// Messages that changed.
    pub messages: Vec<Message>,
    /// Due work that is new.
    pub deliveries: Vec<Delivery>,
    /// Due work that is done or withdrawn.
    pub ended_deliveries: Vec<Delivery>,
    /// Attempts about to leave.
    pub flights: Vec<Flight>,
    attempts: Vec<Attempt>,
    /// What they add to the sums over them.
    attempt_sums: BTreeMap<attempt_counters::Key, attempt_counters::Counts>,
    /// What was learned otherwise.
    pub observations: Vec<Observation>,
    /// What tenants are told.
    pub events: Vec<Event>,
    /// Facts that become known by themselves.
    pub later: Vec<LaterFact>,
    /// Reports that wait for their id.
    pub early: Vec<EarlyReport>,
    /// New suppressions; those that are there already stay as they are.
    pub suppressions: Vec<Suppression>,
    /// Bounces that may pass.
    pub soft_bounces: Vec<SoftBounce>,
    /// What is left to try for messages with several channels; the last one for a message counts.
    pub fallbacks: Vec<Fallback>,
    /// Ways messages left for another channel.
    pub former_routes: Vec<FormerRoute>,
    /// What became known later of ways they left before, which were like this: by message and number of the way.
    late_routes: BTreeMap<(MessageId, u32), (FormerRoute, FormerRoute)>,
    usage: BTreeMap<Key, Counts>,
    /// What became of messages that cost something.
    outcomes: BTreeMap<TenantId, Vec<charge::Outcome>>,
    /// Messages that stopped counting for their tenant's plan, or count again.
    quotas: quota::Changes,
    templates: BTreeMap<template_counters::Key, template_counters::Counts>,
    slots: BTreeMap<message_counters::Key, message_counters::Counts>,
    /// Messages with which somebody did something for the first time.
    engaged: Vec<Message>,
}

impl Writes {
    /// Counts a message that is new, or the difference a change makes. Events to endpoints are not messages to people and are not counted.
    pub fn count(&mut self, before: Option<&Message>, after: &Message) {
        if after.channel == Channel::Webhook {
            return;
        }
        let key = |m: &Message| Key {
            tenant_id: m.tenant_id,
            month: m.created_at.month(),
            channel: m.channel,
            provider: m.connector.clone().unwrap_or_default(),
            purpose: m.purpose,
        };
        self.count_template(before, after);
        count::change(&mut self.slots, before, after);
        *self.usage.entry(key(after)).or_default() += counts(after);
        self.charge(before.and_then(|before| charge::outcome(before, after)));
        if let Some(before) = before {
            let left = self.former_routes.iter().filter(|way| way.message_id == after.id);
            quota::note(&mut self.quotas, before, after, left);
            let entry = self.usage.entry(key(before)).or_default();
            *entry = *entry - counts(before);
        }
    }

    /// Notes a change of a message's row, which may be none but for what it costs. When it is sent or over nothing is set aside for it any more; what it was charged comes with its outcome.
    pub fn change(&mut self, before: &Message, mut after: Message) {
        if *before != after {
            self.count(Some(before), &after);
        }
        if after.sent_at.is_some() || charge::is_given_back(&after) {
            after.aside = None;
        }
        self.messages.push(after);
    }

    /// Notes what became of messages that cost something, in the order it happened.
    pub(crate) fn charge(&mut self, outcomes: impl IntoIterator<Item = (TenantId, charge::Outcome)>) {
        for (tenant, outcome) in outcomes {
            self.outcomes.entry(tenant).or_default().push(outcome);
        }
    }

    fn count_template(&mut self, before: Option<&Message>, after: &Message) {
        if before.is_some_and(|before| before.engagement != after.engagement) {
            self.engaged.push(after.clone());
        }
        let Some(of) = after.template else { return };
        let key = template_counters::Key {
            tenant_id: after.tenant_id,
            template_id: of.id,
            version: of.version,
            is_test: tracking::is_test(after.tracking),
        };
        let before = before.map(template_counts).unwrap_or_default();
        self.templates.entry(key).or_default().add(template_counts(after).less(before));
    }

    /// Notes what became known of a way a message left. Its row is among those that change.
    pub fn late(&mut self, before: &FormerRoute, after: FormerRoute) {
        let key = |route: &FormerRoute| (route.message_id, route.position);
        match self.former_routes.iter_mut().find(|new| key(new) == key(&after)) {
            Some(new) => *new = after,
            None => {
                let place = self.late_routes.entry(key(&after));
                place.and_modify(|(_, last)| last.clone_from(&after)).or_insert_with(|| (before.clone(), after));
            }
        }
    }

    /// Adds an attempt that ended, and counts it unless it told a tenant's endpoint, or (`is_of_batch`) was refused because of another message of its request, which says nothing of the account.
    /// `took_ms` is as in [`attempt_counters::Counts::add`].
    pub fn attempted(&mut self, channel: Channel, attempt: Attempt, took_ms: Option<i64>, is_of_batch: bool) {
        if channel != Channel::Webhook && !is_of_batch {
            let key = attempt_counters::Key {
                tenant_id: attempt.tenant_id,
                account_id: attempt.account_id,
                at: attempt_counters::slot(attempt.finished_at),
            };
            let sums = self.attempt_sums.entry(key).or_default();
            sums.add(attempt.outcome, took_ms, attempt.failure.as_deref(), attempt.finished_at);
        }
        self.attempts.push(attempt);
    }

    /// Adds an event and its deliveries to the endpoints that want it.
    pub fn event(&mut self, tenant: &Tenant, kind: &str, data: String, now: Timestamp, ids: &Ids) {
        let event =
            Event { id: EventId::from_ulid(ids.ulid(now)), tenant_id: tenant.id, kind: kind.to_owned(), at: now, data };
        let wanting = tenant.endpoints.iter().filter(|endpoint| endpoint.is_active && wants(&endpoint.events, kind));
        let mut content_id = None;
        for endpoint in wanting {
            let content_id = *content_id.get_or_insert_with(|| self.webhook_content(&event));
            self.webhook_message(&event, endpoint.id, content_id, now, ids);
        }
        self.events.push(event);
    }

    /// Stores the body of an event once, for all endpoints it goes to and all its replays: the content's id is the event's.
    pub fn webhook_content(&mut self, event: &Event) -> ContentId {
        let stored = stored(event);
        let content_id = stored.id;
        self.contents.push(stored);
        content_id
    }

    /// Queues an event for one endpoint. Its lane is the endpoint's own, after the tenant's messages of high priority.
    pub fn webhook_message(
        &mut self,
        event: &Event,
        endpoint: model::EndpointId,
        content_id: ContentId,
        now: Timestamp,
        ids: &Ids,
    ) -> MessageId {
        let id = MessageId::from_ulid(ids.ulid(now));
        let class = Class::new(Purpose::Transactional, Priority::Normal);
        self.deliveries.push(Delivery {
            account_id: endpoint.account(),
            class,
            due_at: now,
            message_id: id,
            tenant_id: event.tenant_id,
            attempts: 0,
            tries: 0,
            expires_at: None,
        });
        self.new_messages.push(Message {
            class,
            account_id: Some(endpoint.account()),
            connector: Some("webhook".to_owned()),
            topic: Some(event.kind.clone()),
            due_at: Some(now),
            ..Message::new(event.tenant_id, id, Channel::Webhook, endpoint.to_string(), content_id, now)
        });
        id
    }

    /// Writes everything. `shard` spreads the usage rows of busy tenants over writers.
    #[crate::boxed]
    pub async fn write(&self, tx: &mut Tx, shard: i64) -> Result<(), Error> {
        let shared = self.write_own(tx).await?;
        shared.write(tx, shard).await
    }

    /// Writes the rows of the messages themselves, which no other transaction writes to; it waits for nobody, but where prices can be told only by who holds the ledger. What is left to be written is what
    /// transactions have in common.
    #[crate::boxed]
    pub async fn write_own<'a>(&'a self, tx: &mut Tx) -> Result<Shared<'a>, Error> {
        let settling = Settling::begin(tx, &self.outcomes).await?;
        let settled = settling.settled();
        let mut slots = Cow::Borrowed(&self.slots);
        let mut usage = Cow::Borrowed(&self.usage);
        let ways = self.ways(&settled.ways);
        let told = self.retold(&settled.costs, &ways);
        self.write_told(tx, &told, &settled.charges).await?;
        if let Cow::Owned(written) = &told.messages {
            // The sums were made of rows that did not know yet what they really cost.
            let pairs = self.messages.iter().zip(written).map(|(counted, written)| (written.id, (counted, written)));
            let last: BTreeMap<MessageId, (&Message, &Message)> = pairs.collect();
            for (counted, written) in last.into_values().filter(|(counted, written)| counted != written) {
                count::change(slots.to_mut(), Some(counted), written);
            }
        }
        if !ways.is_empty() {
            let last: BTreeMap<MessageId, &Message> = told.messages.iter().map(|m| (m.id, m)).collect();
            ways.count(&last, usage.to_mut(), slots.to_mut());
            ways.write(tx, &last).await?;
        }
        messages::update_asides(tx, &settled.asides).await?;
        messages::update_engagements(tx, &self.engaged.iter().collect::<Vec<_>>()).await?;
        deliveries::remove_many(tx, &self.ended_deliveries).await?;
        deliveries::insert_many(tx, &self.deliveries).await?;
        inflight::insert_many(tx, &self.flights).await?;
        attempts::insert_many(tx, &self.attempts).await?;
        attempts::insert_observations(tx, &self.observations).await?;
        reports::insert_later(tx, &self.later).await?;
        if !self.fallbacks.is_empty() {
            let last: BTreeMap<MessageId, &Fallback> = self.fallbacks.iter().map(|row| (row.message_id, row)).collect();
            fallbacks::put_many(tx, &last.into_values().cloned().collect::<Vec<_>>()).await?;
        }
        Ok(Shared { writes: self, settling, slots, usage })
    }
}

/// What is left of [`Writes`] when the rows of the messages are written: rows that transactions have in common. They hold these from here to their end, and all lock them in one order, ledgers first,
/// so that two of them cannot wait for each other.
#[must_use]
pub struct Shared<'a> {
    writes: &'a Writes,
    settling: Settling<'a>,
    slots: Cow<'a, count::Sums>,
    usage: Cow<'a, BTreeMap<Key, Counts>>,
}

impl<'a> Shared<'a> {
    /// Writes it.
    pub fn write<'b>(self, tx: &'b mut Tx, shard: i64) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'b>>
    where
        'a: 'b,
    {
        Box::pin(self.write_in_order(tx, shard))
    }

    async fn write_in_order(self, tx: &mut Tx, shard: i64) -> Result<(), Error> {
        let Self { writes, settling, slots, usage } = self;
        settling.finish(tx).await?;
        quota::apply(tx, &writes.quotas).await?;
        attempt_counters::add_many(tx, shard, &writes.attempt_sums).await?;
        reports::insert_early(tx, &writes.early).await?;
        if !writes.suppressions.is_empty() {
            writes.suppress(tx).await?;
        }
        suppressions::note_soft(tx, &writes.soft_bounces).await?;
        template_counters::add_many(tx, shard, &writes.templates).await?;
        message_counters::add_many(tx, shard, &slots).await?;
        usage::add_many(tx, shard, &usage).await
    }
}

/// Ways messages left, as they are written: new ones, and those of which more became known, with what they were before.
#[derive(Default)]
struct Ways {
    new: Vec<FormerRoute>,
    late: Vec<(FormerRoute, FormerRoute)>,
    /// How much more, or less, they cost than their messages' rows were made with.
    more: BTreeMap<MessageId, i64>,
}

impl Ways {
    const fn is_empty(&self) -> bool {
        self.new.is_empty() && self.late.is_empty()
    }

    fn count(
        &self,
        messages: &BTreeMap<MessageId, &Message>,
        usage: &mut BTreeMap<Key, Counts>,
        slots: &mut count::Sums,
    ) {
        let key = |m: &Message, route: &FormerRoute| Key {
            tenant_id: m.tenant_id,
            month: m.created_at.month(),
            channel: route.channel,
            provider: route.connector.clone(),
            purpose: m.purpose,
        };
        for route in &self.new {
            let Some(m) = messages.get(&route.message_id) else { continue };
            *usage.entry(key(m, route)).or_default() += former_counts(route);
            count::former(slots, m, route);
        }
        for (before, after) in &self.late {
            let Some(m) = messages.get(&after.message_id) else { continue };
            let sums = usage.entry(key(m, after)).or_default();
            *sums = *sums - former_counts(before);
            *sums += former_counts(after);
            count::late(slots, m, before, after);
        }
    }

    async fn write(&self, tx: &mut Tx, messages: &BTreeMap<MessageId, &Message>) -> Result<(), Error> {
        let of = |id: MessageId| messages.get(&id).copied();
        if !self.new.is_empty() {
            fallbacks::leave_many(tx, &self.new).await?;
            let moved: BTreeMap<_, _> =
                self.new.iter().filter_map(|way| Some((way.message_id, of(way.message_id)?))).collect();
            fallbacks::redirect_many(tx, &moved.into_values().collect::<Vec<_>>()).await?;
        }
        if !self.late.is_empty() {
            let late: Vec<FormerRoute> = self.late.iter().map(|(_, after)| after.clone()).collect();
            fallbacks::update_many(tx, &late).await?;
            let told: BTreeMap<_, _> =
                late.iter().filter_map(|way| Some((way.message_id, of(way.message_id)?))).collect();
            messages::update_costs_before(tx, &told.into_values().collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// What says what messages cost.
struct Told<'a> {
    contents: Cow<'a, [contents::Stored]>,
    messages: Cow<'a, [Message]>,
    events: Cow<'a, [Event]>,
}

impl Writes {
    /// The ways that were left, with what they were charged.
    fn ways(&self, charges: &BTreeMap<(MessageId, u32), Charge>) -> Ways {
        let mut ways = Ways {
            new: self.former_routes.clone(),
            late: self.late_routes.values().cloned().collect(),
            more: BTreeMap::new(),
        };
        for route in ways.new.iter_mut().chain(ways.late.iter_mut().map(|(_, after)| after)) {
            let Some(charge) = charges.get(&(route.message_id, route.position)) else { continue };
            let more = charge.charged - route.cost_micros.unwrap_or(0);
            if more != 0 {
                *ways.more.entry(route.message_id).or_default() += more;
            }
            route.cost_micros = Some(charge.charged);
            route.charge = Some(charge.to_way());
        }
        ways
    }

    /// What is written of messages, with what they really cost: an event, its copy for endpoints, and the row say one thing.
    fn retold(&self, costs: &BTreeMap<MessageId, i64>, ways: &Ways) -> Told<'_> {
        let mut told = Told {
            contents: self.contents.as_slice().into(),
            messages: self.messages.as_slice().into(),
            events: self.events.as_slice().into(),
        };
        let has_other = |m: &Message| costs.get(&m.id).is_some_and(|cost| m.cost_micros != Some(*cost));
        if ways.more.is_empty() && !told.messages.iter().any(has_other) {
            return told;
        }
        for m in told.messages.to_mut() {
            m.cost_before += ways.more.get(&m.id).copied().unwrap_or(0);
            let Some(cost) = costs.get(&m.id).copied().filter(|cost| m.cost_micros != Some(*cost)) else { continue };
            let Some(currency) = m.cost_currency.clone() else { continue };
            let said = |micros: Option<i64>| {
                let money = micros.map(|amount_micros| Money { amount_micros, currency: currency.clone() });
                format!(r#""cost":{}"#, serde_json::to_string(&money).expect("money has a JSON form"))
            };
            let (before, after) = (said(m.cost_micros), said(Some(cost)));
            // A message's id stands first in what an event tells of it, and nothing before the cost is the tenant's own words.
            let start = format!(r#"{{"id":"{}""#, m.id);
            for index in 0..told.events.len() {
                if !told.events[index].data.starts_with(&start) {
                    continue;
                }
                let event = &mut told.events.to_mut()[index];
                event.data = event.data.replacen(&before, &after, 1);
                let copy = stored(event);
                if let Some(place) = told.contents.iter().position(|content| content.id == copy.id) {
                    told.contents.to_mut()[place] = copy;
                }
            }
            m.cost_micros = Some(cost);
        }
        told
    }

    async fn write_told(&self, tx: &mut Tx, told: &Told<'_>, charges: &messages::Charges<'_>) -> Result<(), Error> {
        contents::insert_many(tx, &told.contents).await?;
        messages::insert_many(tx, &self.new_messages).await?;
        messages::update_many(tx, &told.messages, charges).await?;
        events::insert_many(tx, &told.events).await
    }
}

impl Writes {
    /// Writes suppressions. A tenant's first raises the configuration's version with it, so that both looks at a message notice (see [`crate::consent`]).
    async fn suppress(&self, tx: &mut Tx) -> Result<(), Error> {
        suppressions::insert_many(tx, &self.suppressions).await?;
        let mut owners: BTreeMap<TenantId, (bool, Timestamp)> = BTreeMap::new();
        for s in &self.suppressions {
            let entry = owners.entry(s.tenant_id).or_insert((false, s.created_at));
            entry.0 |= s.reason == SuppressionReason::Erased;
        }
        for (tenant, (has_erased, now)) in owners {
            consent_policies::begin(tx, tenant, now).await?;
            if consent_policies::note_suppressions(tx, tenant, has_erased).await? {
                tenants::bump(tx, Some(tenant)).await?;
            }
        }
        Ok(())
    }
}

/// The body of an event as its endpoints get it; the content's id is the event's.
fn stored(event: &Event) -> contents::Stored {
    let content = Content::Webhook(WebhookContent { event_id: event.id.to_string(), body: webhook_body(event) });
    contents::Stored {
        tenant_id: event.tenant_id,
        id: ContentId(event.id.ulid()),
        body: serde_json::to_string(&content).expect("a content has a JSON form"),
        template: None,
    }
}

/// What a message's row adds to the sums.
pub fn counts(m: &Message) -> Counts {
    let one = |condition: bool| i64::from(condition);
    Counts {
        accepted: 1,
        sent: one(m.sent_at.is_some()),
        delivered: one(m.delivered_at.is_some()),
        read: one(m.read_at.is_some()),
        failed: one(m.status == Status::Failed),
        bounced: one(m.status == Status::Bounced),
        canceled: one(m.status == Status::Canceled),
        expired: one(m.status == Status::Expired),
        suppressed: one(m.status == Status::Suppressed),
        unknown: one(m.status == Status::Unknown),
        segments: if m.sent_at.is_some() { i64::from(m.segments.unwrap_or(0)) } else { 0 },
        bytes: m.bytes.filter(|_| m.sent_at.is_some()).unwrap_or(0),
    }
}

/// What a message's row adds to its template's sums.
fn template_counts(m: &Message) -> template_counters::Counts {
    let one = |at: Option<Timestamp>| i64::from(at.is_some());
    template_counters::Counts {
        outcome: Counts { bytes: 0, ..counts(m) },
        opened: one(m.engagement.opened_at),
        clicked: one(m.engagement.clicked_at),
        machine_opened: one(m.engagement.machine_opened_at),
        machine_clicked: one(m.engagement.machine_clicked_at),
    }
}

/// What a way that a message left adds to the sums.
pub fn former_counts(former: &FormerRoute) -> Counts {
    let is_sent = former.sent_at.is_some();
    Counts {
        sent: i64::from(is_sent),
        segments: if is_sent { i64::from(former.segments.unwrap_or(0)) } else { 0 },
        bytes: former.bytes.filter(|_| is_sent).unwrap_or(0),
        ..Counts::default()
    }
}

/// True when one of an endpoint's filters covers an event type: `*`, `message.*`, or the type itself.
pub fn wants(filters: &[String], kind: &str) -> bool {
    filters.iter().any(|filter| match filter.strip_suffix('*') {
        Some(start) => kind.starts_with(start),
        None => filter == kind,
    })
}

/// The JSON an endpoint and a stream get (Standard Webhooks): type, timestamp and data.
pub fn webhook_body(event: &Event) -> String {
    format!(r#"{{"type":"{}","id":"{}","timestamp":"{}","data":{}}}"#, event.kind, event.id, event.at, event.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_cover_types() {
        let filters = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert!(wants(&filters(&["*"]), "message.sent"));
        assert!(wants(&filters(&["account.paused", "message.*"]), "message.sent"));
        assert!(!wants(&filters(&["message.sent"]), "message.sent_later"));
        assert!(!wants(&filters(&[]), "message.sent"));
    }
}
