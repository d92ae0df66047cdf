//! Messages that are accepted together with a step of somebody who keeps count: a schedule's next occurrence, a campaign's place in its audience. Both are
//! written in one transaction, so a process that dies has done both or neither.

use std::sync::Arc;

use model::{BoxFuture, CampaignId, MessageId, TenantId, Timestamp};
use store::{Scope, Tx, messages::Message};

use super::{
    Answer, Committed, Item, PASSED, PLANS_MAX, Planned, PlannedBatch, answered, commit::held, decided, problem,
    too_busy,
};
use crate::{
    Engine, Error, ErrorKind,
    accept::request::MessageRequest,
    consent::screen::{self, Ruling, Rulings},
    contacts::links::Links,
    directory::Tenant,
    once::{Repeat, Reply},
    registrations::gate,
};

type Take = dyn for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> + Send + Sync;

/// A step that is taken in the transaction that writes the messages. It answers false when somebody else took it: then nothing is written.
pub(crate) struct Step(Arc<Take>);

impl Step {
    /// A step; it may run more than once, each time in a transaction of its own.
    pub(crate) fn new(
        take: impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn take<'t>(&self, tx: &'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> {
        (self.0)(tx)
    }
}

impl Engine {
    /// Accepts one message with the step `step` makes for its id. `None` when somebody else took the step.
    pub(crate) async fn accept_with(
        &self,
        tenant_id: TenantId,
        request: &MessageRequest,
        step: impl Fn(MessageId) -> Step + Send + Sync,
    ) -> Result<Option<MessageId>, Error> {
        let files = self.attach(tenant_id, request).await?;
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let (plan, said) = self.plan_one(request, &tenant, files.clone(), now).await?;
            let (mut message, charge) = self.new_message(request, &tenant, &plan, &said, now)?;
            let tail = self.tail(request, &tenant, &plan, &files, now).await?;
            let tail = tail.map(|tail| {
                let row = tail.attach(&mut message);
                (tail, row)
            });
            let id = message.id;
            let item = Item {
                leaving: None,
                messages: vec![Planned { message, charge, content: said.stored, tail, decision: decided(&plan) }],
                answer: answered(tenant_id, None, [0; 32], Vec::new(), now),
                has_key: false,
                is_single: false,
                step: Some(step(id)),
                tenant,
                version,
            };
            match self.hand_in(item, 1).await? {
                Handed::Done => {
                    self.contents.put(said.content_id, plan.content);
                    self.dispatcher.nudge(tenant_id, plan.account.id, plan.class, plan.due_at);
                    self.wakers.wake(tenant_id);
                    return Ok(Some(id));
                }
                Handed::Passed => return Ok(None),
                Handed::Stale => self.directory.refresh().await.map(drop)?,
            }
        }
        Err(too_busy())
    }

    /// Accepts messages that belong together, all of them or none, with the step and the answer `tell` makes of them as they will be written. `None` when somebody else took the step.
    pub(crate) async fn accept_all(
        &self,
        tenant_id: TenantId,
        requests: &[MessageRequest],
        repeat: &Repeat,
        tell: impl Fn(&[Message]) -> Result<(Step, Vec<u8>), Error> + Send + Sync,
    ) -> Result<Option<Reply>, Error> {
        let _running = self.hold(tenant_id, repeat.key.as_ref())?;
        let mut ready = Vec::with_capacity(requests.len());
        for request in requests {
            ready.push((request, self.attach(tenant_id, request).await?));
        }
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let (mut messages, mut lanes, mut contents) = (Vec::new(), Vec::new(), Vec::new());
            for (request, files) in &ready {
                let (plan, said) = self.plan_one(request, &tenant, files.clone(), now).await?;
                let (message, charge) = self.new_message(request, &tenant, &plan, &said, now)?;
                lanes.push((plan.account.id, plan.class, plan.due_at));
                let decision = decided(&plan);
                contents.push((said.content_id, plan.content));
                messages.push(Planned { message, charge, content: said.stored, tail: None, decision });
            }
            let (step, body) = tell(&self.foretell(&tenant, &messages, now).await?)?;
            let weight = messages.len();
            let item = Item {
                leaving: None,
                messages,
                answer: answered(tenant_id, repeat.key.as_ref(), repeat.fingerprint, body.clone(), now),
                has_key: repeat.key.is_some(),
                is_single: false,
                step: Some(step),
                tenant,
                version,
            };
            match self.commit(item, weight, body).await {
                Ok(Some((reply, _))) => {
                    if !reply.replayed {
                        for (id, content) in contents {
                            self.contents.put(id, content);
                        }
                        for (account, class, due_at) in lanes {
                            self.dispatcher.nudge(tenant_id, account, class, due_at);
                        }
                        self.wakers.wake(tenant_id);
                    }
                    return Ok(Some(reply));
                }
                Ok(None) => {}
                Err(error) if error.code == PASSED => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(too_busy())
    }

    /// Messages as they will be written: with the contact behind their address, and held back where they must not go.
    async fn foretell(&self, tenant: &Arc<Tenant>, planned: &[Planned], now: Timestamp) -> Result<Vec<Message>, Error> {
        let mut messages: Vec<Message> = planned.iter().map(|planned| planned.message.clone()).collect();
        if tenant.has_contacts && messages.iter().any(|m| m.contact_id.is_none()) {
            let asked: Vec<_> = messages.iter().map(|m| (m.tenant_id, m.channel, m.address.clone())).collect();
            let read = self.ports.db.read(Scope::Tenant(tenant.id), move |tx| {
                Box::pin(async move {
                    let asked = asked.iter().map(|(tenant, channel, address)| (*tenant, *channel, address.as_str()));
                    Links::find(tx, asked).await
                })
            });
            let links = read.await?;
            for m in messages.iter_mut().filter(|m| m.contact_id.is_none()) {
                m.contact_id = links.of(m.tenant_id, m.channel, &m.address);
            }
        }
        let rulings = self.ruled(tenant, messages.clone(), now).await?;
        for m in &mut messages {
            if let Some(ruling) = rulings.get(&m.id) {
                *m = held(m, ruling, now);
            }
        }
        Ok(messages)
    }

    /// Accepts a campaign's next messages with the step `step` makes for what became of each request, in their order. False when somebody else took the step.
    pub(crate) async fn accept_campaign(
        &self,
        tenant_id: TenantId,
        campaign: CampaignId,
        mut requests: Vec<MessageRequest>,
        step: impl Fn(&[Accepted]) -> Step + Send + Sync,
    ) -> Result<bool, Error> {
        self.find_recipients(tenant_id, requests.iter_mut()).await?;
        let requests: Vec<_> = requests.into_iter().map(|request| Ok((request, Vec::new()))).collect();
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let mut planned = self.plan_batch(&requests, &tenant, now).await;
            self.leave_out(&tenant, &mut planned, now).await?;
            for planned in &mut planned.messages {
                planned.message.campaign_id = Some(campaign);
            }
            let accepted: Vec<Accepted> = planned.answers.iter().map(told).collect();
            if let Some(reason) = accepted.iter().find_map(|told| told.as_ref().err().filter(|code| is_passing(code))) {
                let detail = format!("Nothing can be sent at the moment ({reason}); it goes on once that has changed.");
                return Err(Error::new(ErrorKind::Unavailable, CAMPAIGN_WAITS, detail));
            }
            let weight = planned.messages.len();
            let item = Item {
                leaving: None,
                messages: planned.messages,
                answer: answered(tenant_id, None, [0; 32], Vec::new(), now),
                has_key: false,
                is_single: false,
                step: Some(step(&accepted)),
                tenant,
                version,
            };
            let handed = self.hand_in(item, weight.max(1)).await;
            if let Err(refusal) = &handed
                && refusal.kind == ErrorKind::Payment
            {
                let waits = Error::new(ErrorKind::Unavailable, CAMPAIGN_WAITS, refusal.detail.clone());
                return Err(Error { quota: refusal.quota.clone(), ..waits });
            }
            match handed? {
                Handed::Done => {
                    for (id, content) in planned.contents {
                        self.contents.put(id, content);
                    }
                    for (account, class, due_at) in planned.lanes {
                        self.dispatcher.nudge(tenant_id, account, class, due_at);
                    }
                    self.wakers.wake(tenant_id);
                    metrics::counter!("tidings_messages_accepted_total", "channel" => "campaign")
                        .increment(weight as u64);
                    return Ok(true);
                }
                Handed::Passed => return Ok(false),
                Handed::Stale => self.directory.refresh().await.map(drop)?,
            }
        }
        Err(too_busy())
    }

    /// Plans messages as accept would, and writes nothing. Answers the parts of each (SMS) and what consent says of it, or why it would be refused.
    pub(crate) async fn rehearse(
        &self,
        tenant: &Arc<Tenant>,
        mut requests: Vec<MessageRequest>,
    ) -> Result<Vec<Result<Rehearsed, Error>>, Error> {
        self.find_recipients(tenant.id, requests.iter_mut()).await?;
        let requests: Vec<_> = requests.into_iter().map(|request| Ok((request, Vec::new()))).collect();
        let now = self.ports.clock.now();
        let planned = self.plan_batch(&requests, tenant, now).await;
        let mut rulings = self.rulings(tenant, &planned, now).await?;
        let mut messages = planned.messages.iter();
        let mut rehearse = |m: &Message| Rehearsed {
            segments: m.segments,
            cost: m.cost_micros.zip(m.cost_currency.clone()),
            is_american: crate::campaigns::check::is_american(m.channel, &m.address),
            ruling: rulings.remove(&m.id),
        };
        let rehearsed = |answer: &Answer| match answer {
            Answer::Accepted { .. } => {
                let planned = messages.next().ok_or_else(|| Error::internal("an accepted message was not planned"))?;
                Ok(rehearse(&planned.message))
            }
            Answer::Refused { error, .. } => {
                let why = error.errors.first().map_or(&error.detail, |field| &field.detail);
                Err(Error::new(ErrorKind::Invalid, error.code, why.clone()))
            }
        };
        Ok(planned.answers.iter().map(rehearsed).collect())
    }

    /// What consent, suppression and the clock say of planned messages.
    async fn rulings(&self, tenant: &Arc<Tenant>, planned: &PlannedBatch, now: Timestamp) -> Result<Rulings, Error> {
        let messages: Vec<_> = planned.messages.iter().map(|planned| planned.message.clone()).collect();
        self.ruled(tenant, messages, now).await
    }

    /// What consent, suppression and the clock say of messages that are not written yet.
    pub(crate) async fn ruled(
        &self,
        tenant: &Arc<Tenant>,
        messages: Vec<Message>,
        now: Timestamp,
    ) -> Result<Rulings, Error> {
        if !messages.iter().any(|m| screen::is_watched(m, tenant)) {
            return Ok(Rulings::new());
        }
        let (id, tenant) = (tenant.id, Arc::clone(tenant));
        let read = self.ports.db.read(Scope::Tenant(id), move |tx| {
            Box::pin(async move {
                let watched: Vec<_> = messages.iter().map(|m| (m, &*tenant)).collect();
                screen::look(tx, &watched, now).await
            })
        });
        Ok(read.await?)
    }

    /// Takes the messages out of a campaign's batch that must not go: nobody is counted as written to who must not be. Each is answered with the reason instead.
    async fn leave_out(&self, tenant: &Arc<Tenant>, planned: &mut PlannedBatch, now: Timestamp) -> Result<(), Error> {
        let barred: std::collections::HashMap<MessageId, model::Failure> = self
            .rulings(tenant, planned, now)
            .await?
            .into_iter()
            .filter_map(|(id, ruling)| match ruling {
                Ruling::Bar(failure) => Some((id, failure)),
                Ruling::Wait { .. } => None,
            })
            .collect();
        if barred.is_empty() {
            return Ok(());
        }
        // A content is stored with the first message that says it, so the next one brings it when that one is left out.
        let mut contents: Vec<store::contents::Stored> = Vec::new();
        for left in planned.messages.extract_if(.., |planned| barred.contains_key(&planned.message.id)) {
            contents.extend(left.content);
        }
        for stored in contents {
            if let Some(heir) =
                planned.messages.iter_mut().find(|p| p.message.content_id == stored.id && p.content.is_none())
            {
                heir.content = Some(stored);
            }
        }
        for answer in &mut planned.answers {
            if let Answer::Accepted { index, id } = answer
                && let Some(failure) = barred.get(id)
            {
                let code = LEFT_OUT.iter().find(|code| **code == failure.code).copied().unwrap_or("suppressed");
                let error = problem(&Error::new(ErrorKind::Invalid, code, failure.detail.clone()));
                *answer = Answer::Refused { index: *index, error };
            }
        }
        Ok(())
    }

    async fn hand_in(&self, item: Item, weight: usize) -> Result<Handed, Error> {
        let lost = || Committed::Failed(Error::internal("the batch was lost to a panic"));
        match self.accepts.submit(item, weight).await.unwrap_or_else(lost) {
            Committed::Done { .. } => Ok(Handed::Done),
            Committed::Passed => Ok(Handed::Passed),
            Committed::Stale => Ok(Handed::Stale),
            Committed::Known(_) => Err(Error::internal("a message without an idempotency key had one")),
            Committed::Failed(error) => Err(error),
        }
    }
}

/// A message that was planned and not written.
pub(crate) struct Rehearsed {
    /// Parts, for SMS.
    pub segments: Option<u32>,
    /// What it will cost, in millionths, and of which currency, where that is known.
    pub cost: Option<(i64, String)>,
    /// True when it goes to a number of the United States.
    pub is_american: bool,
    /// What consent says of it; `None` when it may go.
    pub ruling: Option<Ruling>,
}

/// Why consent leaves a campaign's recipient out; every other code is one of the suppression list.
const LEFT_OUT: &[&str] = &[
    "do_not_contact",
    "opted_out",
    "opted_out_of_topic",
    "consent_pending",
    "no_consent",
    "frequency_cap",
    "reminder_frequency",
    "no_open_hour",
];

/// What became of one of a campaign's requests: its message, or the code of the refusal.
pub(crate) type Accepted = Result<MessageId, String>;

/// The code of the refusal to accept anything for a campaign while nothing could leave.
pub(crate) const CAMPAIGN_WAITS: &str = "campaign_waits";

/// True for a refusal that is not about the recipient: it passes, and nobody must be left out because of it.
fn is_passing(code: &str) -> bool {
    matches!(
        code,
        "tenant_suspended"
            | "account_disabled"
            | "no_account_for_channel"
            | "no_account_for_route"
            | "template_not_published"
            | "no_price"
            | "subscription_past_due"
            | "subscription_canceled"
            | gate::REFUSED
    )
}

fn told(answer: &Answer) -> Accepted {
    match answer {
        Answer::Accepted { id, .. } => Ok(*id),
        Answer::Refused { error, .. } => Err(error.code.to_owned()),
    }
}

/// What became of messages with a step.
enum Handed {
    /// Both are written.
    Done,
    /// Somebody else took the step.
    Passed,
    /// The configuration changed; plan again.
    Stale,
}
