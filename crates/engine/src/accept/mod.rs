//! Accept: from a request to a durable message.
//!
//! Facts (the tenant and its accounts) come from the directory's cache, the decision is pure ([`plan`]), and one transaction writes message, content,
//! due work, event, usage and the idempotency key together. Requests that arrive at the same time share that transaction. It checks that the
//! configuration it was planned with still holds; if not, the request is planned again. 202 is answered after the commit.

mod fallback;
pub mod plan;
pub mod request;
mod together;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{AccountId, ContactId, MessageId, Money, Status, TenantId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{
    Scope, Tx, contents,
    contents::Stored,
    deliveries::Delivery,
    fallbacks::Fallback,
    idempotency::{self, Answered},
    inflight::{Flight, WorkerId},
    messages::{ContentId, Engagement, Message, OfTemplate},
    tenants,
};

pub(crate) use self::together::{Accepted, CAMPAIGN_WAITS, Step};
use self::{
    fallback::Tail,
    plan::Plan,
    request::{BatchRequest, MessageRequest},
};
use crate::{
    Engine, Error, ErrorKind, FieldError,
    access::Permission,
    consent::screen::{self, Ruling, Rulings},
    contacts::links::Links,
    directory::{Account, Tenant},
    dispatch::{Dispatcher, Place},
    keys::Caller,
    money::charge,
    once::{self, IdempotencyKey, Judged, Repeat, Reply},
    render::{Needs, Prepared},
    templates::Picked,
    tracking, view,
    writes::Writes,
};

/// Messages in one batch request.
pub const BATCH_MAX: usize = 1_000;
/// Messages in one transaction: bounds how long the first of them waits for the last.
pub(crate) const COMMIT_MAX: usize = 1_024;
/// Times a request is planned again because the configuration changed meanwhile.
const PLANS_MAX: usize = 5;

/// What one request adds, planned and ready to be written.
pub(crate) struct Item {
    /// The account and the compiled content of a single message that is due now: it may leave with the commit.
    leaving: Option<(Arc<Account>, Arc<Prepared>)>,
    tenant: Arc<Tenant>,
    version: i64,
    messages: Vec<Planned>,
    answer: Answered,
    has_key: bool,
    /// The answer shows the one message itself.
    is_single: bool,
    /// What moves in the same transaction.
    step: Option<Step>,
}

struct Planned {
    message: Message,
    content: Option<Stored>,
    /// What is left to try after its first channel.
    tail: Option<(Tail, Fallback)>,
}

/// What a message says, found before it is planned.
struct Said {
    content_id: ContentId,
    prepared: Arc<Prepared>,
    /// What has to be stored; `None` when it is there already.
    stored: Option<Stored>,
    /// The template it was made of.
    template: Option<Picked>,
}

/// What became of an item.
pub(crate) enum Committed {
    /// Written.
    Done {
        /// True when the message left with it.
        has_left: bool,
        /// The contact that was found behind the address.
        contact: Option<ContactId>,
        /// The answer, when it became another in the transaction: a contact was found, or the message is held back.
        body: Option<Vec<u8>>,
    },
    /// Its step was taken by somebody else: nothing was written.
    Passed,
    /// Its key was used before.
    Known(Answered),
    /// The configuration changed; plan again.
    Stale,
    /// Not written.
    Failed(Error),
}

/// Refuses a member who may not send on the channel a message would take. Keys are not asked: their scopes have said it.
pub(crate) fn may_send(caller: &Caller, request: &MessageRequest, tenant: &Tenant) -> Result<(), Error> {
    if caller.permissions.is_none() {
        return Ok(());
    }
    if let Some(request::ChannelChoice::List(channels)) = &request.channel {
        // Any of them may be the one that is used in the end.
        return channels.iter().try_for_each(|channel| caller.need_permission(Permission::Send(*channel)));
    }
    caller.need_permission(Permission::Send(plan::choose(request, tenant)?.0))
}

impl Engine {
    /// Accepts one message (`POST /v1/messages`). Answers 202 with the message once it is on disk, or 200 with an explanation for a dry run.
    pub async fn send(&self, caller: &Caller, body: &[u8], key: Option<IdempotencyKey>) -> Result<Reply, Error> {
        caller.need("messages:write")?;
        let tenant_id = caller.need_tenant()?;
        let mut request: MessageRequest = request::read(body, "")?;
        self.find_recipients(tenant_id, std::iter::once(&mut request)).await?;
        if request.dry_run {
            return self.explain(tenant_id, &request).await;
        }
        let tenant = self.tenant(tenant_id).await?.1;
        may_send(caller, &request, &tenant)?;
        self.charge(&tenant, 1)?;
        let _running = self.hold(tenant_id, key.as_ref())?;
        let fingerprint = once::fingerprint("POST", "/v1/messages", body);
        match self.accept_one(tenant_id, &request, key.as_ref(), fingerprint).await {
            Err(error) if error.kind.status() < 500 => self.answered_before(caller, key, fingerprint, error).await,
            accepted => accepted,
        }
    }

    /// What was accepted once is answered the same again, also when it would be refused by now: its time is over, or its account is gone.
    async fn answered_before(
        &self,
        caller: &Caller,
        key: Option<IdempotencyKey>,
        fingerprint: [u8; 32],
        refusal: Error,
    ) -> Result<Reply, Error> {
        let repeat = Repeat { key, fingerprint };
        once::replay(self.parts(), caller, &repeat).await?.ok_or(refusal)
    }

    async fn accept_one(
        &self,
        tenant_id: TenantId,
        request: &MessageRequest,
        key: Option<&IdempotencyKey>,
        fingerprint: [u8; 32],
    ) -> Result<Reply, Error> {
        let files = self.attach(tenant_id, request).await?;
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let (plan, said) = self.plan_one(request, &tenant, files.clone(), now).await?;
            let content = said.content_id;
            let mut message = self.new_message(request, &tenant, &plan, &said, now)?;
            let tail = self.tail(request, &tenant, &plan, &files, now).await?;
            let tail = tail.map(|tail| {
                let row = tail.attach(&mut message);
                (tail, row)
            });
            let body = serde_json::to_vec(&view::message(&message, false, now)).expect("a message has a JSON form");
            let id = message.id;
            let hint = (tenant_id, plan.account.id, plan.class, plan.due_at);
            let item = Item {
                leaving: (plan.due_at <= now).then(|| (Arc::clone(&plan.account), Arc::clone(&plan.content))),
                messages: vec![Planned { message, content: said.stored, tail }],
                answer: answered(tenant_id, key, fingerprint, body, now),
                has_key: key.is_some(),
                is_single: true,
                step: None,
                tenant,
                version,
            };
            let body = item.answer.body.clone();
            if let Some((reply, has_left)) = self.commit(item, 1, body).await? {
                if !reply.replayed {
                    if !has_left {
                        self.contents.put(content, plan.content);
                        self.dispatcher.nudge(hint.0, hint.1, hint.2, hint.3);
                    }
                    self.wakers.wake(tenant_id);
                    metrics::counter!("tidings_messages_accepted_total", "channel" => plan.channel.as_str())
                        .increment(1);
                    tracing::debug!(message.id = %id, "Accepted a message");
                }
                return Ok(reply);
            }
        }
        Err(too_busy())
    }

    /// Accepts up to 1,000 messages (`POST /v1/messages/batch`). Each is read, planned and answered by itself; those that pass are written together.
    pub async fn send_batch(&self, caller: &Caller, body: &[u8], key: Option<IdempotencyKey>) -> Result<Reply, Error> {
        caller.need("messages:write")?;
        let tenant_id = caller.need_tenant()?;
        let batch: BatchRequest = request::read(body, "")?;
        if batch.messages.is_empty() || batch.messages.len() > BATCH_MAX {
            return Err(Error::invalid("/messages", format!("1 to {BATCH_MAX} messages")));
        }
        let tenant = self.tenant(tenant_id).await?.1;
        self.charge(&tenant, batch.messages.len() as u32)?;
        let _running = self.hold(tenant_id, key.as_ref())?;
        let fingerprint = once::fingerprint("POST", "/v1/messages/batch", body);
        let mut requests = Vec::with_capacity(batch.messages.len());
        for raw in &batch.messages {
            let read = request::read::<MessageRequest>(raw.get().as_bytes(), "");
            let ready = match read {
                Ok(request) if request.dry_run => {
                    Err(Error::invalid("/dry_run", "a dry run explains one message; use POST /v1/messages"))
                }
                Ok(request) => self.attach(tenant_id, &request).await.map(|files| (request, files)),
                Err(error) => Err(error),
            };
            requests.push(ready);
        }
        let readable = requests.iter_mut().filter_map(|read| read.as_mut().ok()).map(|(request, _)| request);
        self.find_recipients(tenant_id, readable).await?;
        for ready in &mut requests {
            if let Ok((request, _)) = ready
                && let Err(refusal) = may_send(caller, request, &tenant)
            {
                *ready = Err(refusal);
            }
        }
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let planned = self.plan_batch(&requests, &tenant, now).await;
            let body =
                serde_json::to_vec(&serde_json::json!({ "data": planned.answers })).expect("answers have a JSON form");
            let item = Item {
                leaving: None,
                messages: planned.messages,
                answer: answered(tenant_id, key.as_ref(), fingerprint, body, now),
                has_key: key.is_some(),
                is_single: false,
                step: None,
                tenant,
                version,
            };
            let (weight, body) = (item.messages.len(), item.answer.body.clone());
            if let Some((reply, _)) = self.commit(item, weight, body).await? {
                if !reply.replayed {
                    for (id, content) in planned.contents {
                        self.contents.put(id, content);
                    }
                    for (account, class, due_at) in planned.lanes {
                        self.dispatcher.nudge(tenant_id, account, class, due_at);
                    }
                    self.wakers.wake(tenant_id);
                    metrics::counter!("tidings_messages_accepted_total", "channel" => "batch").increment(weight as u64);
                }
                return Ok(reply);
            }
        }
        Err(too_busy())
    }

    /// Accepts a template's test: one content to a few addresses, all of them or none.
    pub(crate) async fn accept_test(
        &self,
        tenant_id: TenantId,
        mut requests: Vec<MessageRequest>,
        content: model::Content,
        needs: Needs,
        of: OfTemplate,
        repeat: &Repeat,
    ) -> Result<Reply, Error> {
        self.charge(&self.tenant(tenant_id).await?.1, requests.len() as u32)?;
        let _running = self.hold(tenant_id, repeat.key.as_ref())?;
        self.find_recipients(tenant_id, requests.iter_mut()).await?;
        let body = serde_json::to_string(&content).expect("a content has a JSON form");
        let template = Some(serde_json::to_string(&needs).expect("needs have a JSON form"));
        let prepared = Arc::new(Prepared::of_template(content, needs)?);
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let content_id = ContentId(self.ports.ids.ulid(now));
            let mut stored = Some(Stored { tenant_id, id: content_id, body: body.clone(), template: template.clone() });
            let picked = Picked { of, content_id, tracking: None };
            let said = Said { content_id, prepared: Arc::clone(&prepared), stored: None, template: Some(picked) };
            let (mut messages, mut lanes, mut ids) = (Vec::new(), BTreeSet::new(), Vec::new());
            for (index, request) in requests.iter().enumerate() {
                let chosen = plan::choose(request, &tenant).map_err(|error| below(error, &format!("/to/{index}")))?;
                let plan = plan::plan(request, &tenant, chosen, Arc::clone(&prepared), now)?;
                let mut message = self.new_message(request, &tenant, &plan, &said, now)?;
                message.tracking |= tracking::TEST;
                lanes.insert((plan.account.id, plan.class, plan.due_at));
                ids.push(serde_json::json!({ "id": message.id, "to": message.address }));
                messages.push(Planned { message, content: stored.take(), tail: None });
            }
            let body = serde_json::to_vec(&serde_json::json!({ "data": ids })).expect("answers have a JSON form");
            let item = Item {
                leaving: None,
                messages,
                answer: answered(tenant_id, repeat.key.as_ref(), repeat.fingerprint, body, now),
                has_key: repeat.key.is_some(),
                is_single: false,
                step: None,
                tenant,
                version,
            };
            let (weight, body) = (item.messages.len(), item.answer.body.clone());
            if let Some((reply, _)) = self.commit(item, weight, body).await? {
                for (account, class, due_at) in lanes {
                    self.dispatcher.nudge(tenant_id, account, class, due_at);
                }
                self.wakers.wake(tenant_id);
                return Ok(reply);
            }
        }
        Err(too_busy())
    }

    /// Holds an idempotency key while its request runs.
    fn hold(&self, tenant: TenantId, key: Option<&IdempotencyKey>) -> Result<Option<once::RunningGuard>, Error> {
        key.map(|key| self.running.begin(tenant, key).ok_or_else(once::in_use)).transpose()
    }

    async fn plan_one(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        files: Vec<model::AttachmentRef>,
        now: Timestamp,
    ) -> Result<(Plan, Said), Error> {
        let chosen = plan::choose(request, tenant)?;
        let said = self.said(request, tenant, chosen.0, files, now).await?;
        let plan = plan::plan(request, tenant, chosen, Arc::clone(&said.prepared), now)?;
        Ok((plan, said))
    }

    /// Refuses a request whose content or template could never be said over a channel, whoever the recipient.
    pub(crate) async fn can_be_said(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        channel: model::Channel,
    ) -> Result<(), Error> {
        self.said(request, tenant, channel, Vec::new(), self.ports.clock.now()).await.map(drop)
    }

    /// Finds and compiles what a message says: its own content, or its template's, which is in memory as a rule.
    async fn said(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        channel: model::Channel,
        files: Vec<model::AttachmentRef>,
        now: Timestamp,
    ) -> Result<Said, Error> {
        let fresh = |content: model::Content, needs: Option<Needs>| {
            let id = ContentId(self.ports.ids.ulid(now));
            let body = serde_json::to_string(&content).expect("a content has a JSON form");
            let template = needs.as_ref().map(|needs| serde_json::to_string(needs).expect("needs have a JSON form"));
            let prepared = match needs {
                Some(needs) => Prepared::of_template(content, needs)?,
                None => Prepared::new(content)?,
            };
            let stored = Some(Stored { tenant_id: tenant.id, id, body, template });
            Ok::<_, Error>(Said { content_id: id, prepared: Arc::new(prepared), stored, template: None })
        };
        let Some(asked) = &request.template else { return fresh(plan::say(request, channel, files)?, None) };
        if request.content.is_some() {
            return Err(Error::invalid("/template", "give either `content` or `template`, not both"));
        }
        plan::check_attachments(request, channel)?;
        let language = request.recipient.as_ref().and_then(|recipient| recipient.contact.language.as_deref());
        let picked = self.pick_template(tenant, asked, channel, language).await?;
        let prepared = self.content(tenant.id, picked.content_id).await?;
        if files.is_empty() {
            return Ok(Said { content_id: picked.content_id, prepared, stored: None, template: Some(picked) });
        }
        // With files of its own a message says something of its own.
        let mut content = prepared.source().clone();
        if let model::Content::Email(email) = &mut content {
            email.attachments = files;
        }
        Ok(Said { template: Some(picked), ..fresh(content, prepared.needs().cloned())? })
    }

    /// A stored content, compiled: from memory, or read.
    pub(crate) async fn content(&self, tenant: TenantId, id: ContentId) -> Result<Arc<Prepared>, Error> {
        if let Some(prepared) = self.contents.get(id) {
            return Ok(prepared);
        }
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { contents::find_many(tx, &[(tenant, id)]).await })
        });
        let stored = read.await?.pop().ok_or_else(|| Error::internal("a content that messages point to is gone"))?;
        let prepared = Arc::new(Prepared::stored(&stored)?);
        self.contents.put(id, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// Plans many messages; those that say the same share one content, compiled once.
    async fn plan_batch(
        &self,
        requests: &[Result<(MessageRequest, Vec<model::AttachmentRef>), Error>],
        tenant: &Tenant,
        now: Timestamp,
    ) -> PlannedBatch {
        let mut batch = PlannedBatch::default();
        let mut known: HashMap<(model::Channel, String), (ContentId, Arc<Prepared>)> = HashMap::new();
        for (index, request) in requests.iter().enumerate() {
            match self.plan_item(request.as_ref().map_err(Clone::clone), tenant, &mut known, now).await {
                Ok((planned, plan)) => {
                    let message = &planned.message;
                    batch.answers.push(Answer::Accepted { index, id: message.id });
                    batch.lanes.insert((plan.account.id, plan.class, plan.due_at));
                    if planned.content.is_some() {
                        batch.contents.push((message.content_id, plan.content));
                    }
                    batch.messages.push(planned);
                }
                Err(error) => batch.answers.push(Answer::Refused { index, error: problem(&error) }),
            }
        }
        batch
    }

    async fn plan_item(
        &self,
        request: Result<&(MessageRequest, Vec<model::AttachmentRef>), Error>,
        tenant: &Tenant,
        known: &mut HashMap<(model::Channel, String), (ContentId, Arc<Prepared>)>,
        now: Timestamp,
    ) -> Result<(Planned, Plan), Error> {
        let (request, files) = request?;
        let chosen = plan::choose(request, tenant)?;
        // Of templates it is the engine that remembers.
        let source = request.content.as_ref().filter(|_| files.is_empty() && request.template.is_none());
        let source = source.map(|raw| (chosen.0, raw.get().to_owned()));
        let said = match source.as_ref().and_then(|source| known.get(source)) {
            Some((id, prepared)) => {
                Said { content_id: *id, prepared: Arc::clone(prepared), stored: None, template: None }
            }
            None => self.said(request, tenant, chosen.0, files.clone(), now).await?,
        };
        let plan = plan::plan(request, tenant, chosen, Arc::clone(&said.prepared), now)?;
        if let Some(source) = source {
            known.entry(source).or_insert_with(|| (said.content_id, Arc::clone(&said.prepared)));
        }
        let mut message = self.new_message(request, tenant, &plan, &said, now)?;
        let tail = self.tail(request, tenant, &plan, files, now).await?;
        let tail = tail.map(|tail| {
            let row = tail.attach(&mut message);
            (tail, row)
        });
        Ok((Planned { message, content: said.stored, tail }, plan))
    }

    fn new_message(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        plan: &Plan,
        said: &Said,
        now: Timestamp,
    ) -> Result<Message, Error> {
        let text = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
        let mut message = Message {
            tenant_id: tenant.id,
            id: MessageId::from_ulid(self.ports.ids.ulid(now)),
            channel: plan.channel,
            purpose: plan.purpose,
            class: plan.class,
            guarantee: plan.guarantee,
            status: plan.status,
            address: plan.address.to_string(),
            account_id: Some(plan.account.id),
            connector: Some(plan.account.connector.spec().id.to_owned()),
            content_id: said.content_id,
            variables: text(&request.variables),
            metadata: text(&request.metadata),
            topic: request.topic.clone(),
            route: Some(plan.route.clone()),
            provider_message_id: None,
            attempts: 0,
            failure: None,
            segments: plan.segments,
            cost_micros: None,
            cost_currency: None,
            contact_id: request.to.contact_id,
            campaign_id: None,
            created_at: now,
            send_at: request.send_at,
            expires_at: request.expires_at,
            due_at: Some(plan.due_at),
            poll_at: None,
            polls: 0,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            ended_at: None,
            dead_at: None,
            sender_id: plan.sender.as_ref().map(|sender| sender.id),
            template: said.template.map(|picked| picked.of),
            tracking: tracking::decide(
                plan.channel,
                plan.purpose,
                &[request.tracking, said.template.and_then(|picked| picked.tracking), Some(tenant.branding.tracking)],
            ),
            engagement: Engagement::default(),
        };
        charge::quote(tenant, &mut message)?;
        Ok(message)
    }

    /// Hands an item to the batcher. Answers the reply and whether the message has left; `None` when it has to be planned again.
    async fn commit(&self, item: Item, weight: usize, body: Vec<u8>) -> Result<Option<(Reply, bool)>, Error> {
        let lost = || Committed::Failed(Error::internal("the batch was lost to a panic"));
        match self.accepts.submit(item, weight.max(1)).await.unwrap_or_else(lost) {
            Committed::Done { has_left, body: changed, .. } => {
                Ok(Some((Reply { status: 202, body: changed.unwrap_or(body), replayed: false }, has_left)))
            }
            Committed::Known(answered) => {
                let status = u16::try_from(answered.status).unwrap_or(202);
                Ok(Some((Reply { status, body: answered.body, replayed: true }, false)))
            }
            Committed::Passed => Err(Error::internal("a request without a step was passed over")),
            Committed::Stale => {
                self.directory.refresh().await?;
                Ok(None)
            }
            Committed::Failed(error) => Err(error),
        }
    }

    /// Says what would happen to a message, and sends nothing.
    pub(crate) async fn explain(&self, tenant_id: TenantId, request: &MessageRequest) -> Result<Reply, Error> {
        if request.attachments.iter().any(|file| file.url.is_some()) {
            return Err(Error::invalid("/attachments", "a dry run fetches nothing; leave files given by URL out"));
        }
        let (_, tenant) = self.tenant(tenant_id).await?;
        let now = self.ports.clock.now();
        let (plan, said) = self.plan_one(request, &tenant, Vec::new(), now).await?;
        let message = self.new_message(request, &tenant, &plan, &said, now)?;
        let cost = message
            .cost_micros
            .zip(message.cost_currency.clone())
            .map(|(amount_micros, currency)| Money { amount_micros, currency });
        let consent = self.foresee(&tenant, message, now).await?;
        let explanation = Explanation {
            dry_run: true,
            status: match consent.verdict {
                "held_back" => Status::Suppressed.as_str(),
                "waits" => Status::Scheduled.as_str(),
                _ => plan.status.as_str(),
            },
            channel: plan.channel.as_str(),
            to: plan.address.to_string(),
            account_id: plan.account.id.to_string(),
            connector: plan.account.connector.spec().id,
            route: &plan.route,
            leaves_at: consent.until.unwrap_or(plan.due_at),
            consent,
            segments: plan.segments,
            cost,
            sender_id: plan.sender.as_ref().map(|sender| sender.id),
            warnings: plan.warnings(),
            content: &plan.rendered,
        };
        Ok(Reply {
            status: 200,
            body: serde_json::to_vec(&explanation).expect("an explanation has a JSON form"),
            replayed: false,
        })
    }
}

impl Engine {
    /// What consent, suppression and quiet hours would say of a message that is not written.
    async fn foresee(&self, tenant: &Arc<Tenant>, mut m: Message, now: Timestamp) -> Result<Foreseen, Error> {
        if m.contact_id.is_none() && tenant.has_contacts {
            let (tenant, channel, address) = (tenant.id, m.channel, m.address.clone());
            let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move {
                    let links = Links::find(tx, std::iter::once((tenant, channel, address.as_str()))).await?;
                    Ok::<_, store::Error>(links.of(tenant, channel, &address))
                })
            });
            m.contact_id = read.await?;
        }
        let (id, contact_id) = (m.id, m.contact_id);
        let ruling = self.ruled(tenant, vec![m], now).await?.remove(&id);
        let go = Foreseen { verdict: "go", code: None, detail: None, until: None, contact_id };
        Ok(match ruling {
            None => go,
            Some(Ruling::Bar(failure)) => {
                Foreseen { verdict: "held_back", code: Some(failure.code), detail: Some(failure.detail), ..go }
            }
            Some(Ruling::Wait { until, why }) => {
                Foreseen { verdict: "waits", detail: Some(why), until: Some(until), ..go }
            }
        })
    }
}

/// Whether a message may go, for the explanation of a dry run.
#[derive(Serialize)]
struct Foreseen {
    verdict: &'static str,
    code: Option<String>,
    detail: Option<String>,
    until: Option<Timestamp>,
    contact_id: Option<ContactId>,
}

#[derive(Default)]
struct PlannedBatch {
    messages: Vec<Planned>,
    answers: Vec<Answer>,
    contents: Vec<(ContentId, Arc<Prepared>)>,
    lanes: BTreeSet<(model::AccountId, model::Class, Timestamp)>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Accepted { index: usize, id: MessageId },
    Refused { index: usize, error: Problem },
}

/// A refused item of a batch: the same members as a problem+json answer.
#[derive(Serialize)]
struct Problem {
    status: u16,
    code: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
}

fn problem(error: &Error) -> Problem {
    Problem {
        status: error.kind.status(),
        code: error.code,
        detail: error.detail.clone(),
        errors: error.errors.clone(),
        action: error.action,
    }
}

#[derive(Serialize)]
struct Explanation<'a> {
    dry_run: bool,
    status: &'static str,
    channel: &'static str,
    to: String,
    account_id: String,
    connector: &'static str,
    route: &'a str,
    leaves_at: Timestamp,
    consent: Foreseen,
    segments: Option<u32>,
    cost: Option<Money>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_id: Option<model::SenderId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    content: &'a model::Content,
}

fn answered(
    tenant: TenantId,
    key: Option<&IdempotencyKey>,
    fingerprint: [u8; 32],
    body: Vec<u8>,
    now: Timestamp,
) -> Answered {
    Answered {
        tenant,
        key: key.map(|key| key.as_str().to_owned()).unwrap_or_default(),
        fingerprint: fingerprint.to_vec(),
        status: 202,
        body,
        data_key_id: None,
        created_at: now,
    }
}

/// The error with what speaks of `/to` pointing below `pointer`.
fn below(mut error: Error, pointer: &str) -> Error {
    for field in &mut error.errors {
        if let Some(rest) = field.pointer.strip_prefix("/to") {
            field.pointer = format!("{pointer}{rest}");
        }
    }
    error
}

fn too_busy() -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "configuration_changing",
        "The tenant's configuration keeps changing. Nothing was done; try again.",
    )
    .with_retry_after_ms(1_000)
}

/// Writes a batch of items in one transaction. When that fails for a reason that may be one item's, each is tried by itself.
pub(crate) async fn write(engine: &Arc<Engine>, items: Vec<Item>) -> Vec<Committed> {
    let items = Arc::new(items);
    let all: Vec<usize> = (0..items.len()).collect();
    match write_some(engine, Arc::clone(&items), all.clone()).await {
        Ok(committed) => committed,
        Err(error) if error.is_temporary() || items.len() == 1 => {
            let error = Error::from(error);
            items.iter().map(|_| Committed::Failed(error.clone())).collect()
        }
        Err(_) => {
            let mut committed = Vec::with_capacity(items.len());
            for index in all {
                let alone = write_some(engine, Arc::clone(&items), vec![index]).await;
                committed.push(match alone {
                    Ok(mut one) => one.pop().unwrap_or(Committed::Stale),
                    Err(error) => Committed::Failed(error.into()),
                });
            }
            committed
        }
    }
}

async fn write_some(
    engine: &Arc<Engine>,
    items: Arc<Vec<Item>>,
    chosen: Vec<usize>,
) -> Result<Vec<Committed>, store::Error> {
    let (ids, now, shard) = (Arc::clone(&engine.ports.ids), engine.ports.clock.now(), engine.shard());
    let places: Vec<Option<Place>> = chosen.iter().map(|index| place(engine, &items[*index], now)).collect();
    let held: Vec<bool> = places.iter().map(Option::is_some).collect();
    let worker = engine.worker;
    let written = {
        let (items, chosen) = (Arc::clone(&items), chosen.clone());
        engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                let chosen: Vec<(&Item, bool)> =
                    chosen.iter().zip(held).map(|(index, is_held)| (&items[*index], is_held)).collect();
                write_in(tx, &chosen, worker, &ids, now, shard).await
            })
        })
    };
    let committed = written.await?;
    for ((index, place), committed) in chosen.iter().zip(places).zip(&committed) {
        let item = &items[*index];
        if let (Some(place), Some((account, content)), Committed::Done { has_left: true, contact, .. }) =
            (place, &item.leaving, committed)
        {
            let mut message = item.messages[0].message.clone();
            message.contact_id = message.contact_id.or(*contact);
            place.depart(Arc::clone(account), flight(&message, account.id, worker, now), message, Arc::clone(content));
        }
    }
    Ok(committed)
}

/// A place in flight for an item that may leave with its commit, when there is one.
fn place(engine: &Arc<Engine>, item: &Item, now: Timestamp) -> Option<Place> {
    let (account, _) = item.leaving.as_ref()?;
    Dispatcher::reserve(engine, account, item.messages.first()?.message.class, now)
}

/// The first attempt of a message that leaves as it is accepted.
fn flight(m: &Message, account_id: AccountId, worker: WorkerId, now: Timestamp) -> Flight {
    Flight {
        message_id: m.id,
        tenant_id: m.tenant_id,
        account_id,
        class: m.class,
        number: 1,
        tries: 0,
        worker,
        started_at: now,
        expires_at: m.expires_at,
    }
}

async fn write_in(
    tx: &mut Tx,
    items: &[(&Item, bool)],
    worker: WorkerId,
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<Vec<Committed>, store::Error> {
    let version = tenants::version(tx).await?;
    let keys: Vec<(TenantId, &str)> = items
        .iter()
        .filter(|(item, _)| item.has_key)
        .map(|(item, _)| (item.answer.tenant, item.answer.key.as_str()))
        .collect();
    let mut known: HashMap<(TenantId, String), Answered> = idempotency::find_many(tx, &keys)
        .await?
        .into_iter()
        .map(|answered| ((answered.tenant, answered.key.clone()), answered))
        .collect();
    let links = links(tx, items).await?;
    let linked: Vec<Vec<Cow<'_, Message>>> = items.iter().map(|(item, _)| linked(item, &links)).collect();
    let rulings = screened(tx, items, &linked, version, now).await?;
    let billed = items.iter().filter(|(item, _)| item.version == version && item.tenant.billing.is_some());
    let (mut ledgers, mut charges) =
        (charge::lock(tx, billed.map(|(item, _)| item.tenant.id).collect()).await?, Vec::new());
    let mut committed = Vec::with_capacity(items.len());
    let (mut writes, mut answers) = (Writes::default(), Vec::new());
    for ((item, has_place), linked) in items.iter().zip(&linked) {
        let before = item.has_key.then(|| known.remove(&(item.answer.tenant, item.answer.key.clone()))).flatten();
        if let Some(before) = before {
            let fingerprint = item.answer.fingerprint.as_slice().try_into().unwrap_or(&[0; 32]);
            match once::judge(&before, fingerprint, now) {
                Ok(Judged::Replay) => {
                    committed.push(Committed::Known(before));
                    continue;
                }
                Ok(Judged::Expired) => idempotency::remove(tx, &before).await?,
                Err(error) => {
                    committed.push(Committed::Failed(error));
                    continue;
                }
            }
        }
        if item.version != version {
            committed.push(Committed::Stale);
            continue;
        }
        // What is held back for good costs nothing, unless another channel may still take it.
        let costing = item
            .messages
            .iter()
            .zip(linked)
            .filter(|(planned, m)| planned.tail.is_some() || !matches!(rulings.get(&m.id), Some(Ruling::Bar(_))));
        let costing = costing.map(|(_, m)| &**m);
        let owed = match charge::afford(ledgers.get(&item.tenant.id), &item.tenant, costing) {
            Ok(owed) => owed,
            Err(refusal) => {
                committed.push(Committed::Failed(refusal));
                continue;
            }
        };
        if let Some(step) = &item.step
            && !step.take(tx).await?
        {
            committed.push(Committed::Passed);
            continue;
        }
        if let Some(open) = ledgers.get_mut(&item.tenant.id) {
            owed.iter().for_each(|charge| open.reserve(charge, now));
            charges.extend(owed);
        }
        let mut has_left = *has_place;
        let first = linked.first().filter(|m| item.is_single && matches!(m, Cow::Owned(_)));
        let contact = first.and_then(|m| m.contact_id);
        let mut body = first.map(|m| view::message_json(m, now).into_bytes());
        for (planned, m) in item.messages.iter().zip(linked) {
            writes.fallbacks.extend(planned.tail.as_ref().map(|(_, row)| row.clone()));
            writes.contents.extend(planned.tail.iter().flat_map(|(tail, _)| &tail.contents).cloned());
            match rulings.get(&m.id) {
                // It takes its turn, is held back then, and goes on over its next channel.
                Some(Ruling::Bar(_)) if planned.tail.is_some() => {
                    has_left = false;
                    add(&mut writes, item, m, planned.content.as_ref(), None, now, ids);
                }
                Some(ruling) => {
                    let held = held(m, ruling, now);
                    has_left = false;
                    body = item.is_single.then(|| view::message_json(&held, now).into_bytes());
                    add(&mut writes, item, &held, planned.content.as_ref(), None, now, ids);
                }
                None => {
                    let leaving = has_left.then_some(worker);
                    add(&mut writes, item, m, planned.content.as_ref(), leaving, now, ids);
                }
            }
        }
        if item.has_key {
            answers.push(match &body {
                Some(body) => Answered { body: body.clone(), ..item.answer.clone() },
                None => item.answer.clone(),
            });
        }
        committed.push(Committed::Done { has_left, contact, body });
    }
    charge::write(tx, ledgers, &charges).await?;
    writes.write(tx, shard).await?;
    let inserted = idempotency::insert_many(tx, &answers).await?;
    if inserted < answers.len() as u64 {
        // Another node was first with one of the keys: roll back, and find its answer on the second look.
        return Err(store::Error::Conflict { detail: "an idempotency key was used at the same time".to_owned() });
    }
    Ok(committed)
}

/// The contacts behind the addresses of messages that name none. Asks nothing for tenants without contacts.
async fn links(tx: &mut Tx, items: &[(&Item, bool)]) -> Result<Links, store::Error> {
    let messages = items.iter().filter(|(item, _)| item.tenant.has_contacts).flat_map(|(item, _)| &item.messages);
    let unnamed = messages.map(|planned| &planned.message).filter(|m| m.contact_id.is_none());
    Links::find(tx, unnamed.map(|m| (m.tenant_id, m.channel, m.address.as_str()))).await
}

/// An item's messages, each with the contact found behind its address.
fn linked<'a>(item: &'a Item, links: &Links) -> Vec<Cow<'a, Message>> {
    let with_contact = |planned: &'a Planned| {
        let m = &planned.message;
        let contact = links.of(m.tenant_id, m.channel, &m.address).filter(|_| m.contact_id.is_none());
        contact.map_or(Cow::Borrowed(m), |id| Cow::Owned(Message { contact_id: Some(id), ..m.clone() }))
    };
    item.messages.iter().map(with_contact).collect()
}

/// What is found about the messages of items whose plan still holds. Without any to look at it costs nothing.
async fn screened(
    tx: &mut Tx,
    items: &[(&Item, bool)],
    linked: &[Vec<Cow<'_, Message>>],
    version: i64,
    now: Timestamp,
) -> Result<Rulings, store::Error> {
    let fresh = items.iter().zip(linked).filter(|((item, _), _)| item.version == version);
    let messages: Vec<(&Message, &Tenant)> = fresh
        .flat_map(|((item, _), linked)| linked.iter().map(|m| (&**m, &*item.tenant)))
        .filter(|(m, tenant)| screen::is_watched(m, tenant))
        .collect();
    screen::look(tx, &messages, now).await
}

/// A message as it is accepted although it must not go now.
fn held(planned: &Message, ruling: &Ruling, now: Timestamp) -> Message {
    let mut m = planned.clone();
    match ruling {
        Ruling::Bar(failure) => {
            (m.status, m.due_at, m.ended_at) = (Status::Suppressed, None, Some(now));
            m.failure = serde_json::to_string(failure).ok();
            (m.cost_micros, m.cost_currency) = (None, None);
        }
        Ruling::Wait { until, why } => {
            (m.status, m.due_at) = (Status::Scheduled, Some(*until));
            m.route = m.route.map(|route| format!("{route}; {why}"));
        }
    }
    m
}

/// What a new message writes. `leaving`: the process that sends it at once, so that its attempt is on record instead of due work.
fn add(
    writes: &mut Writes,
    item: &Item,
    m: &Message,
    content: Option<&Stored>,
    leaving: Option<WorkerId>,
    now: Timestamp,
    ids: &model::Ids,
) {
    writes.contents.extend(content.cloned());
    match (m.account_id.zip(m.due_at), leaving) {
        (Some((account_id, _)), Some(worker)) => writes.flights.push(flight(m, account_id, worker, now)),
        (Some((account_id, due_at)), None) => writes.deliveries.push(Delivery {
            account_id,
            class: m.class,
            due_at,
            message_id: m.id,
            tenant_id: m.tenant_id,
            attempts: 0,
            tries: 0,
            expires_at: m.expires_at,
        }),
        (None, _) => {}
    }
    writes.count(None, m);
    writes.event(&item.tenant, "message.accepted", view::message_json(m, now), now, ids);
    if m.status == Status::Suppressed {
        writes.event(&item.tenant, "message.suppressed", view::message_json(m, now), now, ids);
    }
    writes.new_messages.push(m.clone());
}
