//! Messages that go another way: through another account of the same channel, or over the next channel.

use std::{collections::BTreeMap, sync::Arc};

use model::{ATTEMPTS_MAX, AccountId, Channel, Failure, FailureKind, MessageId, Status, TenantId, Timestamp};
use store::{fallbacks::Fallback, inflight::Flight, messages::Message};

use super::{Fold, json};
use crate::{
    Error,
    accept::plan::default_account,
    apply::{
        Rerouted,
        conclude::{Next, TRIES_MAX},
        fallback,
    },
    money::purse::Way,
    routing::{
        again::{self, Because},
        decide::{Decision, Routed},
    },
    view,
};

impl Fold<'_> {
    /// Gives a message to another account its rules allow, when the failure lies with the account and nothing was taken. At once where that one had no try yet, else when the next try is due.
    pub(super) fn fails_over(&mut self, m: &mut Message, flight: &Flight, failure: &Failure, next: &Next) -> bool {
        let (due_at, tries) = match next {
            Next::Retry { due_at, tries, is_possible_duplicate: false } => (*due_at, *tries),
            // It has no try left here; what another account has not been asked is worth one.
            Next::Fail { is_dead_letter: true } => (self.now, TRIES_MAX - 1),
            Next::Retry { .. } | Next::Fail { .. } | Next::Unknown { .. } | Next::Ask { .. } => return false,
        };
        let Some(history) = self.histories.get(&m.id).filter(|_| again::allows(failure)) else { return false };
        let Some(tenant) = self.tenants.get(&m.tenant_id).filter(|_| flight.number < ATTEMPTS_MAX) else {
            return false;
        };
        let figures = tenant.routes.known();
        let routed = again::elsewhere(tenant, m, flight.account_id, history, Because::Failed, &figures, self.now);
        let Routed::To(decision) = routed else { return false };
        let is_fresh = history.tries(decision.account_id) == 0;
        let due_at = if is_fresh { self.now } else { due_at };
        let is_over = matches!(next, Next::Fail { .. }) && !is_fresh;
        if decision.waits || is_over || m.expires_at.is_some_and(|at| at <= due_at) {
            return false;
        }
        if self.pay_through(m, decision.account_id).is_err() {
            return false;
        }
        let why = format!("{} failed ({})", self.account_name(m.tenant_id, flight.account_id), failure.code);
        if !self.put_on(m, &decision, &why, Some(failure)) {
            return false;
        }
        self.queue(m, decision.account_id, flight.class, due_at, tries);
        true
    }

    /// Puts a message on the account that was decided for, and notes it. `failure` is why the one before is left.
    pub(super) fn put_on(
        &mut self,
        m: &mut Message,
        decision: &Decision,
        why: &str,
        failure: Option<&Failure>,
    ) -> bool {
        let account = self.tenants.get(&m.tenant_id).and_then(|tenant| tenant.account(decision.account_id));
        let Some(account) = account.map(Arc::clone) else { return false };
        let from = m.account_id;
        again::put_on(m, &account, decision, why);
        self.reprice(m, None, None);
        let detail = serde_json::json!({ "from": from, "to": account.id, "because": failure, "detail": why, "decision": decision });
        // A message may wait for the same account more than once.
        let dedupe = format!("rerouted:{}:{}", m.attempts, self.now.as_micros());
        self.observe(m, "engine", "rerouted", dedupe, Some(detail.to_string()));
        true
    }

    /// Takes what a message costs through another account; the refusal when credit does not reach for it.
    fn pay_through(&mut self, m: &Message, account: AccountId) -> Result<(), Error> {
        let Some(tenant) = self.tenants.get(&m.tenant_id) else { return Ok(()) };
        let Some(account) = tenant.account(account) else { return Ok(()) };
        let way = Way::through(m, account.connector.spec().id);
        let needed = self.means.purses.need(tenant, &way, "Buy credit, then retry the message.")?;
        self.means.purses.take(needed);
        Ok(())
    }

    pub(super) fn account_name(&self, tenant: TenantId, account: AccountId) -> String {
        let found = self.tenants.get(&tenant).and_then(|tenant| tenant.account(account));
        found.map_or_else(|| account.to_string(), |account| account.name.clone())
    }

    /// Moves a message on to its next channel, when there is one. `why` is what ended this one.
    pub(super) fn falls_back(&mut self, m: &mut Message, why: &Failure) -> bool {
        if !fallback::allows(why) || m.expires_at.is_some_and(|at| at <= self.now) {
            return false;
        }
        let Some(left) = self.ways.left.get(&m.id) else { return false };
        let position = self.ways.former.get(&m.id).map_or(0, Vec::len) as u32;
        let Some(tenant) = self.tenants.get(&m.tenant_id) else { return false };
        let (means, mut passed): (_, BTreeMap<&str, Vec<Channel>>) = (&mut self.means, BTreeMap::new());
        let (id, purpose, accepted_at, is_sent) = (m.id, m.purpose, m.created_at, m.sent_at.is_some());
        let is_usable = |step: &fallback::Step| {
            let account = tenant.account(step.account_id);
            if !account.is_some_and(|account| account.is_enabled && account.channels.contains(&step.channel)) {
                return false;
            }
            let way = Way {
                id,
                channel: step.channel,
                connector: &step.connector,
                address: &step.address,
                segments: step.segments,
                category: Some(step.category),
                purpose,
                accepted_at,
                is_sent,
            };
            // What the plan and credit have left is taken only where both have enough.
            let taken = means.purses.need(tenant, &way, "").and_then(|needed| {
                means.rooms.take(tenant, step.channel, accepted_at)?;
                means.purses.take(needed);
                Ok(())
            });
            taken.map_err(|refusal| passed.entry(refusal.code).or_default().push(step.channel)).is_ok()
        };
        let steps = fallback::steps(&left.rest);
        let after_s = left.after_s;
        let (from, tries) = (m.channel, 0);
        m.failure = m.failure.take().or_else(|| json(why));
        let moved = fallback::move_on(m, &steps, position, is_usable, self.now);
        for (because, channels) in passed {
            let detail = serde_json::json!({ "channels": channels, "because": because });
            let dedupe = format!("passed_over:{position}:{because}");
            self.observe(m, "engine", "passed_over", dedupe, Some(detail.to_string()));
        }
        let Some((former, rest, category)) = moved else { return false };
        self.reprice(m, Some(&former), Some(category));
        let detail = serde_json::json!({ "from": from, "to": m.channel, "address": m.address, "account_id": m.account_id, "because": why });
        self.observe(m, "engine", "fell_back", format!("fell_back:{position}"), Some(detail.to_string()));
        self.ways.former.entry(m.id).or_default().push(former.clone());
        self.writes.former_routes.push(former);
        let left = Fallback {
            tenant_id: m.tenant_id,
            message_id: m.id,
            rest: serde_json::to_string(&rest).unwrap_or_default(),
            after_s,
            due_at: None,
        };
        self.ways.left.insert(m.id, left.clone());
        self.writes.fallbacks.push(left);
        if let Some(account_id) = m.account_id {
            let (class, now) = (m.class, self.now);
            self.queue(m, account_id, class, now, tries);
        }
        let data = view::message_json(m, self.now);
        self.tell(m.tenant_id, "message.fell_back", data);
        true
    }

    /// A message was sent and did not arrive in time.
    pub(in crate::apply) fn overdue(&mut self, tenant_id: TenantId, id: MessageId) {
        let Some(mut m) = self.take(id) else { return };
        let waits = m.status == Status::Sent && m.due_at.is_none() && m.sent_at.is_some();
        let is_due = self.ways.left.get(&id).is_some_and(|left| left.due_at.is_some_and(|at| at <= self.now));
        if m.tenant_id == tenant_id && is_due {
            let why = Failure::new(
                FailureKind::Unavailable,
                "not_delivered_in_time",
                "It was sent, and nothing said within `fallback_after_s` that it arrived.",
            );
            if !(waits && self.falls_back(&mut m, &why)) {
                self.wait_for_delivery(&m, None);
            }
        }
        self.put(m);
    }

    /// Notes when a message with another channel left is to move on, or that it no longer is.
    pub(super) fn wait_for_delivery(&mut self, m: &Message, due_at: Option<Timestamp>) {
        if let Some(left) = self.ways.left.get_mut(&m.id)
            && left.due_at != due_at
        {
            left.due_at = due_at;
            self.writes.fallbacks.push(left.clone());
        }
    }

    /// The account a message waits for is gone, or fails. Rules that decided about it are asked again; without them the channel's default account takes over from one that is gone.
    pub(in crate::apply) fn rerouted(&mut self, rerouted: &Rerouted) {
        let Some(mut m) = self.take(rerouted.message_id) else { return };
        let routed = match (self.tenants.get(&m.tenant_id), self.histories.get(&m.id)) {
            (Some(tenant), Some(history)) => {
                let figures = tenant.routes.known();
                again::elsewhere(tenant, &m, rerouted.account_id, history, rerouted.because, &figures, self.now)
            }
            _ => Routed::Unruled,
        };
        let is_gone = rerouted.because == Because::Gone;
        match routed {
            Routed::To(decision) if is_gone || !decision.waits => {
                let due_at = m.due_at.unwrap_or(self.now);
                if let Err(refusal) = self.pay_through(&m, decision.account_id) {
                    // One that only fails may still come back.
                    if is_gone {
                        self.stop_unpaid(&mut m, rerouted.account_id, refusal);
                    }
                    self.put(m);
                    return;
                }
                self.withdraw_delivery(&mut m);
                let name = self.account_name(m.tenant_id, rerouted.account_id);
                let why = if is_gone { format!("{name} was deleted") } else { format!("{name} fails") };
                if self.put_on(&mut m, &decision, &why, None) {
                    let class = m.class;
                    self.queue(&mut m, decision.account_id, class, due_at, rerouted.tries);
                }
                self.put(m);
            }
            Routed::Nowhere(passed) if is_gone => {
                self.withdraw_delivery(&mut m);
                let failure =
                    Failure::new(FailureKind::Account, "account_deleted", crate::routing::nowhere(&passed).detail);
                m.failure = json(&failure);
                let class = m.class;
                self.follow(&mut m, rerouted.account_id, class, Next::Fail { is_dead_letter: true }, &failure);
                self.put(m);
            }
            _ if is_gone => self.fall_to_default(m, rerouted),
            _ => self.put(m),
        }
    }

    /// The account a message waits for was deleted, and credit does not reach for the way that is left: it becomes a dead letter.
    fn stop_unpaid(&mut self, m: &mut Message, account: AccountId, refusal: Error) {
        self.withdraw_delivery(m);
        let failure = Failure::new(FailureKind::Account, refusal.code, refusal.detail);
        m.failure = json(&failure);
        let class = m.class;
        self.follow(m, account, class, Next::Fail { is_dead_letter: true }, &failure);
    }

    /// The account a message waits for was deleted, and no rule speaks of it: the channel's default account takes over, or the message becomes a dead letter.
    fn fall_to_default(&mut self, mut m: Message, rerouted: &Rerouted) {
        let due_at = m.due_at.unwrap_or(self.now);
        let other = self.tenants.get(&m.tenant_id).and_then(|tenant| default_account(tenant, m.channel));
        let other = other.filter(|other| other.id != rerouted.account_id);
        if let Some(Err(refusal)) = other.map(|other| self.pay_through(&m, other.id)) {
            self.stop_unpaid(&mut m, rerouted.account_id, refusal);
            self.put(m);
            return;
        }
        self.withdraw_delivery(&mut m);
        match other {
            Some(other) => {
                let detail = serde_json::json!({ "from": rerouted.account_id, "to": other.id }).to_string();
                self.observe(&m, "engine", "rerouted", format!("rerouted:{}", rerouted.account_id), Some(detail));
                let why = format!(
                    "the account it waited for was deleted, so the channel's default account {} is used",
                    other.name
                );
                let why = fallback::with_rest_of(m.route.as_deref().unwrap_or_default(), why);
                (m.account_id, m.connector, m.route) =
                    (Some(other.id), Some(other.connector.spec().id.to_owned()), Some(why));
                let other_id = other.id;
                self.reprice(&mut m, None, None);
                let class = m.class;
                self.queue(&mut m, other_id, class, due_at, 0);
            }
            None => {
                let failure = Failure::new(
                    FailureKind::Account,
                    "account_deleted",
                    format!(
                        "The account this message waited for was deleted, and there is no other for {}. Add one, then retry the message.",
                        m.channel
                    ),
                );
                m.failure = json(&failure);
                let class = m.class;
                self.follow(&mut m, rerouted.account_id, class, Next::Fail { is_dead_letter: true }, &failure);
            }
        }
        self.put(m);
    }
}
