//! Folds inputs into message rows and what is written beside them. No IO: rows come in, [`Writes`] go out.

mod elsewhere;
mod learned;
mod pricing;
mod suppressing;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use connectors::{Acceptance, Outcome, registry};
use model::{
    AccountId, Channel, Class, Fact, Failure, FailureKind, Guarantee, Ids, MessageId, Status, TenantId, Timestamp, step,
};
use store::{
    attempts::{Attempt, Observation},
    deliveries::Delivery,
    fallbacks::{Fallback, FormerRoute},
    inflight::Flight,
    messages::Message,
    reports::LaterFact,
    suppressions::{SoftBounce, Suppression},
};

use super::{
    AskedAbout, Finished, Held, Moved, Withdrawn,
    conclude::{self, Facts, Next, conclude},
    health::News,
};
use crate::{
    consent::{notice, screen::Ruling},
    engine::Tenants,
    money::purse::Purses,
    plans::quota::Rooms,
    routing::again::History,
    view,
    waiting::ASK_FOR_MS,
    writes::Writes,
};

/// Wait before a message that was sent and of which nothing was heard since is asked about, in milliseconds (mission M2.7).
pub const ASK_SENT_AFTER_MS: i64 = 5 * 60_000;

pub(super) struct Fold<'a> {
    rows: HashMap<MessageId, Message>,
    before: HashMap<MessageId, Message>,
    tenants: &'a Tenants,
    ids: &'a Ids,
    now: Timestamp,
    writes: Writes,
    /// Ends of attempts per account, in order; `None` is an end that speaks for the account.
    ends: BTreeMap<(TenantId, AccountId), Vec<Option<Failure>>>,
    due: BTreeMap<(TenantId, AccountId, Class), Timestamp>,
    told: BTreeSet<TenantId>,
    /// Messages whose charge may come to something else: their rows are written even when nothing else changed.
    repriced: BTreeSet<MessageId>,
    /// Addresses reports speak against.
    suppressions: Vec<Suppression>,
    /// Bounces that may pass, with the address as the message has it.
    soft: Vec<(SoftBounce, String)>,
    ways: Ways,
    /// What was tried for messages that may go through another account.
    histories: HashMap<MessageId, History>,
    means: Means,
}

/// What is left of plans and credit for messages that may go another way.
pub(super) struct Means {
    pub rooms: Rooms,
    pub purses: Purses,
}

/// The channels left to messages, and the ways they went before.
#[derive(Default)]
pub(super) struct Ways {
    pub left: HashMap<MessageId, Fallback>,
    pub former: HashMap<MessageId, Vec<FormerRoute>>,
}

type Due = Vec<(TenantId, AccountId, Class, Timestamp)>;

impl<'a> Fold<'a> {
    pub(super) fn new(
        rows: HashMap<MessageId, Message>,
        tenants: &'a Tenants,
        ids: &'a Ids,
        now: Timestamp,
        ways: Ways,
        histories: HashMap<MessageId, History>,
        means: Means,
    ) -> Self {
        Self {
            rows,
            before: HashMap::new(),
            tenants,
            ids,
            now,
            writes: Writes::default(),
            ends: BTreeMap::new(),
            due: BTreeMap::new(),
            told: BTreeSet::new(),
            repriced: BTreeSet::new(),
            suppressions: Vec::new(),
            soft: Vec::new(),
            ways,
            histories,
            means,
        }
    }

    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn row(&self, id: MessageId) -> Option<&Message> {
        self.rows.get(&id)
    }

    /// True when a message of this transaction is known to its provider by this id.
    pub(super) fn has_taken(&self, connector: &str, id: &str) -> bool {
        let is_it =
            |m: &Message| m.connector.as_deref() == Some(connector) && m.provider_message_id.as_deref() == Some(id);
        self.rows.values().any(is_it)
    }

    pub(super) fn take_ends(&mut self) -> Vec<(TenantId, AccountId, Vec<Option<Failure>>)> {
        std::mem::take(&mut self.ends).into_iter().map(|((tenant, account), ends)| (tenant, account, ends)).collect()
    }

    /// Everything to be written, the lanes that have new work, the tenants that have news, and whose plans were used.
    pub(super) fn into_writes(mut self) -> (Writes, Due, Vec<TenantId>, Rooms) {
        let mut changed: Vec<MessageId> = self.before.keys().copied().collect();
        changed.sort_unstable();
        for id in changed {
            let (Some(before), Some(after)) = (self.before.get(&id), self.rows.get(&id)) else { continue };
            if before != after || self.repriced.contains(&id) {
                self.writes.change(before, after.clone());
            }
        }
        let due =
            self.due.into_iter().map(|((tenant, account, class), due_at)| (tenant, account, class, due_at)).collect();
        (self.writes, due, self.told.into_iter().collect(), self.means.rooms)
    }

    /// Takes a row out to be changed, keeping what it was. [`Fold::put`] puts it back.
    fn take(&mut self, id: MessageId) -> Option<Message> {
        let row = self.rows.remove(&id)?;
        self.before.entry(id).or_insert_with(|| row.clone());
        Some(row)
    }

    fn put(&mut self, row: Message) {
        self.rows.insert(row.id, row);
    }

    /// An attempt ended. `is_held`: its row in `inflight` was still ours.
    pub(super) fn finished(&mut self, finished: &Finished, is_held: bool) {
        let Some(mut m) = self.take(finished.flight.message_id) else { return };
        if is_held {
            self.attempt(m.channel, finished, None);
            m.attempts = m.attempts.max(finished.flight.number);
            // Counted once the message is known to be sent, which for an attempt without an answer may be later.
            m.bytes = finished.bytes.or(m.bytes);
            match &finished.outcome {
                Outcome::Accepted(acceptance) => {
                    self.end(&finished.flight, None);
                    self.accepted(&mut m, finished, acceptance);
                }
                Outcome::Refused(failure) => {
                    self.end(&finished.flight, Some(failure.clone()));
                    let repeats_safely =
                        finished.account.as_ref().is_some_and(|account| account.connector.repeats_safely());
                    self.refused(&mut m, &finished.flight, failure, repeats_safely);
                }
            }
        } else {
            self.late(&mut m, finished);
        }
        self.put(m);
    }

    fn end(&mut self, flight: &Flight, failure: Option<Failure>) {
        self.ends.entry((flight.tenant_id, flight.account_id)).or_default().push(failure);
    }

    fn attempt(&mut self, channel: Channel, finished: &Finished, note: Option<String>) {
        let flight = &finished.flight;
        let (outcome, failure, provider_message_id) = match &finished.outcome {
            Outcome::Accepted(acceptance) => (0, None, acceptance.provider_message_id.clone()),
            Outcome::Refused(failure) => (failure.kind.code(), json(failure), None),
        };
        let name = if outcome == 0 {
            "accepted"
        } else {
            FailureKind::from_code(outcome).map_or("unknown", FailureKind::as_str)
        };
        let connector = finished.account.as_ref().map_or("none", |account| account.connector.spec().id);
        metrics::counter!("tidings_attempts_total", "connector" => connector, "outcome" => name).increment(1);
        let attempt = Attempt {
            tenant_id: flight.tenant_id,
            message_id: flight.message_id,
            number: flight.number,
            account_id: flight.account_id,
            started_at: flight.started_at,
            finished_at: self.now,
            outcome,
            failure,
            provider_message_id,
            exchange: finished.exchange.clone(),
            note,
        };
        let is_of_batch = matches!(&finished.outcome, Outcome::Refused(failure) if failure.is_of_batch);
        self.writes.attempted(channel, attempt, finished.took_ms, is_of_batch);
    }

    fn accepted(&mut self, m: &mut Message, finished: &Finished, acceptance: &Acceptance) {
        if acceptance.provider_message_id.is_some() {
            m.provider_message_id.clone_from(&acceptance.provider_message_id);
        }
        // What was sent has at least one part: a provider that says none has not counted yet.
        m.segments = acceptance.segments.filter(|count| *count > 0).or(m.segments);
        self.priced(m, acceptance.price.as_ref(), None);
        m.due_at = None;
        for (position, (after_ms, fact)) in acceptance.later.iter().enumerate() {
            self.writes.later.push(LaterFact {
                due_at: self.now.plus_millis(*after_ms as i64),
                message_id: m.id,
                position: position as i64,
                tenant_id: m.tenant_id,
                fact: json(fact).unwrap_or_default(),
            });
        }
        if let Some(moved) = &acceptance.moved_to {
            self.observe(
                m,
                "engine",
                "moved",
                format!("moved:{}", finished.flight.number),
                Some(serde_json::json!({ "to": moved.to_string() }).to_string()),
            );
        }
        let has_receipts = finished.account.as_ref().is_some_and(|account| account.connector.spec().has_receipts);
        let asks = has_receipts && self.can_ask(m);
        m.poll_at = asks.then(|| self.now.plus_millis(ASK_SENT_AFTER_MS));
        m.polls = 0;
        self.step(m, &Fact::Sent, self.now);
        if let Some(after_s) = self.ways.left.get(&m.id).map(|left| left.after_s).filter(|after_s| *after_s > 0) {
            self.wait_for_delivery(m, Some(self.now.plus_seconds(after_s.into())));
        }
    }

    fn refused(&mut self, m: &mut Message, flight: &Flight, failure: &Failure, repeats_safely: bool) {
        let arrived = matches!(m.status, Status::Delivered | Status::Read);
        if !arrived {
            m.failure = json(failure);
        }
        self.notice(m, |channel, connector| notice::of_failure(channel, connector, failure));
        let facts = Facts {
            channel: m.channel,
            guarantee: m.guarantee,
            number: flight.number,
            tries: flight.tries,
            repeats_safely,
            can_ask: self.can_ask(m),
        };
        let next = if arrived || (m.status.was_accepted() && m.sent_at.is_some()) {
            // A callback that overtook the answer has already told the truth, or it arrived by a way it had left.
            m.due_at = None;
            return;
        } else {
            conclude(facts, failure, self.now, self.ids)
        };
        if self.fails_over(m, flight, failure, &next) {
            return;
        }
        self.follow(m, flight.account_id, flight.class, next, failure);
    }

    /// Does what the rules say follows a failed attempt.
    fn follow(&mut self, m: &mut Message, account: AccountId, class: Class, next: Next, failure: &Failure) {
        match next {
            Next::Retry { due_at, tries, is_possible_duplicate } => {
                if is_possible_duplicate {
                    let note = "The attempt before this one got no answer; the recipient may get the message twice.";
                    let detail = serde_json::json!({ "after_attempt": m.attempts, "detail": note }).to_string();
                    self.observe(
                        m,
                        "engine",
                        "possible_duplicate",
                        format!("possible_duplicate:{}", m.attempts),
                        Some(detail),
                    );
                }
                // With attempts before this one it waits for its end in the queue: the job that expires it looks whether one of them may have reached the recipient.
                if m.expires_at.is_some_and(|at| at <= due_at) && (is_possible_duplicate || m.attempts <= 1) {
                    m.due_at = None;
                    let fact = match is_possible_duplicate {
                        true => Fact::Unknown { failure: failure.clone() },
                        false => Fact::Expired,
                    };
                    self.step(m, &fact, self.now);
                    return;
                }
                self.queue(m, account, class, due_at, tries);
            }
            Next::Fail { .. } if self.falls_back(m, failure) => {}
            Next::Fail { is_dead_letter } => {
                (m.due_at, m.poll_at) = (None, None);
                m.dead_at = is_dead_letter.then_some(self.now);
                self.step(m, &Fact::Failed { failure: failure.clone() }, self.now);
            }
            Next::Unknown { ask_at } => {
                (m.due_at, m.poll_at, m.polls) = (None, ask_at, 0);
                m.dead_at = ask_at.is_none().then_some(self.now);
                self.step(m, &Fact::Unknown { failure: failure.clone() }, self.now);
            }
            Next::Ask { ask_at } => (m.due_at, m.poll_at, m.polls) = (None, Some(ask_at), 0),
        }
    }

    /// Puts a message back into its lane.
    fn queue(&mut self, m: &mut Message, account_id: AccountId, class: Class, due_at: Timestamp, tries: u32) {
        (m.due_at, m.poll_at) = (Some(due_at), None);
        self.writes.deliveries.push(Delivery {
            account_id,
            class,
            due_at,
            message_id: m.id,
            tenant_id: m.tenant_id,
            attempts: m.attempts,
            tries,
            expires_at: m.expires_at,
        });
        let due = self.due.entry((m.tenant_id, account_id, class)).or_insert(due_at);
        *due = (*due).min(due_at);
    }

    /// A worker that was taken for dead came back with an answer. The attempt is on record as unknown; what it says now is still true.
    fn late(&mut self, m: &mut Message, finished: &Finished) {
        let Outcome::Accepted(acceptance) = &finished.outcome else { return };
        let detail = serde_json::json!({ "attempt": finished.flight.number, "provider_message_id": acceptance.provider_message_id }).to_string();
        self.observe(m, "engine", "late_answer", format!("late_answer:{}", finished.flight.number), Some(detail));
        if m.provider_message_id.is_none() {
            m.provider_message_id.clone_from(&acceptance.provider_message_id);
        }
        m.bytes = m.bytes.or(finished.bytes);
        self.withdraw_delivery(m);
        self.step(m, &Fact::Sent, self.now);
    }

    /// A process died with this attempt in flight: nobody can say whether its request left.
    pub(super) fn abandoned(&mut self, flight: &Flight) {
        let Some(mut m) = self.take(flight.message_id) else { return };
        let failure = Failure::new(
            FailureKind::Unknown,
            "process_ended",
            "Tidings stopped while this attempt was under way. It cannot be said whether the provider took the message.",
        );
        let outcome = Outcome::Refused(failure.clone());
        let finished = Finished {
            flight: flight.clone(),
            account: None,
            outcome,
            exchange: None,
            took_ms: None,
            bytes: None,
            finished_at: self.now,
        };
        self.attempt(m.channel, &finished, Some("Found after a restart.".to_owned()));
        m.attempts = m.attempts.max(flight.number);
        let repeats_safely =
            m.connector.as_deref().and_then(registry::find).is_some_and(|connector| connector.repeats_safely());
        self.refused(&mut m, flight, &failure, repeats_safely);
        self.put(m);
    }

    /// The provider was asked.
    pub(super) fn asked(&mut self, asked: &AskedAbout) {
        let Some(mut m) = self.take(asked.message_id) else { return };
        m.polls += 1;
        let waits = !m.status.is_final() && m.due_at.is_none();
        let is_over = asked.is_not_taken || asked.gives_up;
        // What was found turned out to be another message's, which took it first: nothing is known of this one.
        let again = (waits && !is_over).then(|| self.now.plus_millis(conclude::ASK_AFTER_MS));
        m.poll_at = asked.ask_again_at.or(again);
        if let Some(account) = m.account_id.filter(|_| waits && is_over && m.guarantee == Guarantee::AtLeastOnce) {
            let failure = m.failure.as_deref().and_then(|text| serde_json::from_str(text).ok());
            let failure: Failure = failure
                .unwrap_or_else(|| Failure::new(FailureKind::Unknown, "no_answer", "The provider gave no answer."));
            // Each asking stands for one try: what is asked about again and again is not retried for ever.
            let next = conclude::again(m.channel, m.attempts, &failure, self.now, self.ids, !asked.is_not_taken)
                .unwrap_or(Next::Unknown { ask_at: None });
            let class = m.class;
            self.follow(&mut m, account, class, next, &failure);
        }
        self.put(m);
    }

    /// A message is withdrawn before it leaves. `doubt` is what an earlier attempt failed by that nobody can speak for.
    pub(super) fn withdrawn(&mut self, withdrawn: &Withdrawn, doubt: Option<Failure>) {
        let Some(mut m) = self.take(withdrawn.message_id) else { return };
        if m.tenant_id == withdrawn.tenant_id && !m.status.is_final() {
            self.withdraw_delivery(&mut m);
            m.poll_at = None;
            self.observe(&m, &withdrawn.source, withdrawn.fact.as_str(), withdrawn.fact.as_str().to_owned(), None);
            let was_unknown = m
                .failure
                .as_deref()
                .and_then(|text| serde_json::from_str::<Failure>(text).ok())
                .filter(|f| f.kind == FailureKind::Unknown);
            match was_unknown.or(doubt) {
                // It may have reached the recipient: withdrawing the retry does not withdraw that.
                Some(failure) => self.step(&mut m, &Fact::Unknown { failure }, self.now),
                None => self.step(&mut m, &withdrawn.fact, self.now),
            }
        }
        self.put(m);
    }

    /// A message was claimed and is held back; its request never left. `doubt` is what an earlier attempt failed by that nobody can speak for.
    pub(super) fn held(&mut self, held: &Held, doubt: Option<Failure>) {
        let Some(mut m) = self.take(held.flight.message_id) else { return };
        match &held.ruling {
            Ruling::Bar(failure) => {
                (m.due_at, m.poll_at) = (None, None);
                let detail = serde_json::json!({ "failure": failure }).to_string();
                self.observe(&m, "engine", "suppressed", format!("suppressed:{}", m.channel), Some(detail));
                match doubt {
                    None if self.falls_back(&mut m, failure) => {}
                    Some(failure) => self.step(&mut m, &Fact::Unknown { failure }, self.now),
                    None => self.step(&mut m, &Fact::Suppressed { failure: failure.clone() }, self.now),
                }
            }
            Ruling::Wait { until, why } => {
                let detail = serde_json::json!({ "until": until, "detail": why }).to_string();
                self.observe(&m, "engine", "deferred", format!("deferred:{until}"), Some(detail));
                self.queue(&mut m, held.flight.account_id, held.flight.class, *until, held.flight.tries);
            }
        }
        self.put(m);
    }

    /// A message that waits goes on waiting, for another time.
    pub(super) fn moved(&mut self, moved: &Moved) {
        let Some(mut m) = self.take(moved.message_id) else { return };
        if let Some(account) = m.account_id {
            let due_at = m.send_at.map_or(moved.due_at, |send_at| send_at.max(moved.due_at));
            self.withdraw_delivery(&mut m);
            let class = m.class;
            self.queue(&mut m, account, class, due_at, 0);
        }
        self.put(m);
    }

    /// Takes a message's due work out of its lane.
    fn withdraw_delivery(&mut self, m: &mut Message) {
        let (Some(account_id), Some(due_at)) = (m.account_id, m.due_at.take()) else { return };
        self.writes.deliveries.retain(|delivery| delivery.message_id != m.id);
        self.writes.ended_deliveries.push(Delivery {
            account_id,
            class: m.class,
            due_at,
            message_id: m.id,
            tenant_id: m.tenant_id,
            attempts: m.attempts,
            tries: 0,
            expires_at: m.expires_at,
        });
    }

    /// Lets a fact change a message, and tells the tenant.
    fn step(&mut self, m: &mut Message, fact: &Fact, at: Timestamp) {
        let change = step(m.status, fact, at);
        let earlier = |stored: Option<Timestamp>, offered: Option<Timestamp>| match (stored, offered) {
            (Some(stored), Some(offered)) => Some(stored.min(offered)),
            (stored, offered) => stored.or(offered),
        };
        m.sent_at = earlier(m.sent_at, change.sent_at);
        m.delivered_at = earlier(m.delivered_at, change.delivered_at);
        m.read_at = earlier(m.read_at, change.read_at);
        if let Some(status) = change.status {
            m.status = status;
            if status.was_accepted() {
                m.dead_at = None;
            }
            match fact.failure() {
                Some(failure) => m.failure = json(failure),
                None if status.was_accepted() => m.failure = None,
                None => {}
            }
            if status.is_final() && !status.was_accepted() {
                m.ended_at = Some(at);
            }
            // What is set aside for it stays so as long as somebody may still say that it was taken.
            if status == Status::Unknown && m.aside.is_some() && m.poll_at.is_none() {
                m.poll_at = Some(self.now.plus_millis(ASK_FOR_MS));
            }
        }
        let is_engagement = fact.status().is_none();
        if (change.status.is_some() || is_engagement) && m.channel != Channel::Webhook {
            let data = view::message_json(m, self.now);
            self.tell(m.tenant_id, &format!("message.{}", fact.as_str()), data);
        }
    }

    fn tell(&mut self, tenant_id: TenantId, kind: &str, data: String) {
        if let Some(tenant) = self.tenants.get(&tenant_id) {
            let first_new = self.writes.deliveries.len();
            self.writes.event(tenant, kind, data, self.now, self.ids);
            for delivery in &self.writes.deliveries[first_new..] {
                self.due.entry((tenant_id, delivery.account_id, delivery.class)).or_insert(delivery.due_at);
            }
            self.told.insert(tenant_id);
        }
    }

    /// Tells that an account was paused or works again.
    pub(super) fn account_news(
        &mut self,
        tenant_id: TenantId,
        account_id: AccountId,
        news: News,
        failure: Option<&Failure>,
    ) {
        let Some(account) = self.tenants.get(&tenant_id).and_then(|tenant| tenant.account(account_id)) else { return };
        let is_endpoint = account.connector.spec().id == "webhook";
        let kind = match news {
            News::Paused => "account.paused",
            News::Resumed => "account.resumed",
        };
        tracing::warn!(account.id = %account_id, connector = account.connector.spec().id, failure = failure.map(|f| f.code.as_str()), "{kind}");
        if is_endpoint {
            return;
        }
        let data = serde_json::json!({ "account_id": account_id, "name": account.name, "connector": account.connector.spec().id, "failure": failure });
        self.tell(tenant_id, kind, data.to_string());
    }

    /// True when the message's account can ask its provider what became of an attempt.
    fn can_ask(&self, m: &Message) -> bool {
        let account = self.tenants.get(&m.tenant_id).zip(m.account_id).and_then(|(tenant, id)| tenant.account(id));
        account.is_some_and(|account| account.connector.can_poll(&account.values))
    }

    fn observe(&mut self, m: &Message, source: &str, kind: &str, dedupe: String, detail: Option<String>) {
        self.writes.observations.push(Observation {
            tenant_id: m.tenant_id,
            message_id: m.id,
            dedupe,
            source: source.to_owned(),
            kind: kind.to_owned(),
            detail,
            at: self.now,
            recorded_at: self.now,
        });
    }
}

fn json<T: serde::Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}
