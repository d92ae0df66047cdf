//! Accept: from a request to a durable message.
//!
//! Facts (the tenant and its accounts) come from the directory's cache, the decision is pure ([`plan`]), and one transaction writes message, content,
//! due work, event, usage and the idempotency key together. Requests that arrive at the same time share that transaction. It checks that the
//! configuration it was planned with still holds; if not, the request is planned again. 202 is answered after the commit.

mod commit;
mod explain;
mod fallback;
pub mod plan;
pub mod request;
mod together;

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use model::{MessageId, TenantId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{
    Scope, contents,
    contents::Stored,
    credits::Charge,
    idempotency::Answered,
    messages::{ContentId, Message, OfTemplate},
};

use self::commit::Planned;
pub(crate) use self::commit::{COMMIT_MAX, Committed, Item, write};
pub(crate) use self::together::{Accepted, CAMPAIGN_WAITS, Step};
use self::{
    plan::{Plan, Routing},
    request::{BatchRequest, MessageRequest, Written},
};
use crate::{
    Engine, Error, ErrorKind, FieldError,
    access::Permission,
    analytics::period,
    directory::Tenant,
    keys::Caller,
    money::charge,
    once::{self, IdempotencyKey, Repeat, Reply},
    plans::subscription,
    render::{Needs, Prepared},
    routing::figures::Figures,
    templates::Picked,
    tracking, view,
};

/// Messages in one batch request.
pub const BATCH_MAX: usize = 1_000;
/// Times a request is planned again because the configuration changed meanwhile.
const PLANS_MAX: usize = 5;

/// The code under which a request learns that its step was taken by somebody else. Nobody outside sees it.
const PASSED: &str = "step_taken";

/// What a message says, found before it is planned.
struct Said {
    content_id: ContentId,
    prepared: Arc<Prepared>,
    /// What has to be stored; `None` when it is there already.
    stored: Option<Stored>,
    /// The template it was made of.
    template: Option<Picked>,
    /// What is known of the uploads its media name.
    uploads: Vec<model::AttachmentRef>,
}

impl Said {
    /// What is planned: the content, and the files its media name.
    fn says(&self) -> (Arc<Prepared>, &[model::AttachmentRef]) {
        (Arc::clone(&self.prepared), &self.uploads)
    }
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
    #[crate::boxed]
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

    /// Accepts a message that Tidings itself writes about `topic`: it counts against no plan, costs nothing, and waits for no rate. The same key is answered the same again, whatever the
    /// message says by then.
    pub(crate) async fn send_ours(
        &self,
        tenant: TenantId,
        topic: &'static str,
        body: &[u8],
        key: IdempotencyKey,
    ) -> Result<Reply, Error> {
        let request = MessageRequest { ours: Some(topic), ..request::read(body, "")? };
        let _running = self.hold(tenant, Some(&key))?;
        let fingerprint = once::fingerprint("POST", topic, key.as_str().as_bytes());
        match self.accept_one(tenant, &request, Some(&key), fingerprint).await {
            Err(error) if error.kind.status() < 500 => {
                self.answered_before(&Caller::system(Some(tenant)), Some(key), fingerprint, error).await
            }
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
            let (mut message, charge) = self.new_message(request, &tenant, &plan, &said, now)?;
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
                messages: vec![Planned { message, charge, content: said.stored, tail, decision: decided(&plan) }],
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
    #[crate::boxed]
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
            let uploads = self.uploads(tenant_id, prepared.source(), Some(now)).await?;
            let said =
                Said { content_id, prepared: Arc::clone(&prepared), stored: None, template: Some(picked), uploads };
            let (mut messages, mut lanes, mut ids) = (Vec::new(), BTreeSet::new(), Vec::new());
            let figures = self.figures(&tenant).await?;
            for (index, request) in requests.iter().enumerate() {
                let chosen = plan::choose(request, &tenant).map_err(|error| below(error, &format!("/to/{index}")))?;
                let routing = self.routing(figures.as_ref(), &said, now);
                let plan = plan::plan(request, &tenant, chosen, said.says(), routing, now)?;
                let (mut message, charge) = self.new_message(request, &tenant, &plan, &said, now)?;
                message.tracking |= tracking::TEST;
                lanes.insert((plan.account.id, plan.class, plan.due_at));
                ids.push(serde_json::json!({ "id": message.id, "to": message.address }));
                messages.push(Planned {
                    message,
                    charge,
                    content: stored.take(),
                    tail: None,
                    decision: decided(&plan),
                });
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
        let figures = self.figures(tenant).await?;
        let routing = self.routing(figures.as_ref(), &said, now);
        let plan = plan::plan(request, tenant, chosen, said.says(), routing, now)?;
        Ok((plan, said))
    }

    /// What a message's account is decided from; `None` where the tenant has no rules.
    fn routing(&self, figures: Option<&Arc<Figures>>, said: &Said, now: Timestamp) -> Option<Routing> {
        figures.map(|figures| Routing {
            figures: Arc::clone(figures),
            id: MessageId::from_ulid(self.ports.ids.ulid(now)),
            template: said.template.map(|picked| picked.of.id),
        })
    }

    /// What a request says over a channel, compiled. Refuses one whose content or template could never be said, whoever the recipient.
    pub(crate) async fn can_be_said(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        channel: model::Channel,
    ) -> Result<Arc<Prepared>, Error> {
        Ok(self.said(request, tenant, channel, Vec::new(), self.ports.clock.now()).await?.prepared)
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
        // A dry run holds nothing.
        let hold_until = (!request.dry_run).then(|| request.send_at.map_or(now, |at| at.max(now)));
        let fresh = |content: model::Content, needs: Option<Needs>| async move {
            let uploads = self.uploads(tenant.id, &content, hold_until).await?;
            let id = ContentId(self.ports.ids.ulid(now));
            let body = serde_json::to_string(&content).expect("a content has a JSON form");
            let template = needs.as_ref().map(|needs| serde_json::to_string(needs).expect("needs have a JSON form"));
            let prepared = match needs {
                Some(needs) => Prepared::of_template(content, needs)?,
                None => Prepared::new(content)?,
            };
            let stored = Some(Stored { tenant_id: tenant.id, id, body, template });
            Ok::<_, Error>(Said { content_id: id, prepared: Arc::new(prepared), stored, template: None, uploads })
        };
        if let Some(written) = &request.written {
            let Written { mut content, needs } = Written::clone(written);
            if let model::Content::Email(email) = &mut content {
                email.attachments = files;
            }
            return fresh(content, Some(needs)).await;
        }
        let Some(asked) = &request.template else { return fresh(plan::say(request, channel, files)?, None).await };
        if request.content.is_some() {
            return Err(Error::invalid("/template", "give either `content` or `template`, not both"));
        }
        plan::check_attachments(request, channel)?;
        let language = request.recipient.as_ref().and_then(|recipient| recipient.contact.language.as_deref());
        let picked = self.pick_template(tenant, asked, channel, language).await?;
        let prepared = self.content(tenant.id, picked.content_id).await?;
        if files.is_empty() {
            let uploads = self.uploads(tenant.id, prepared.source(), hold_until).await?;
            return Ok(Said { content_id: picked.content_id, prepared, stored: None, template: Some(picked), uploads });
        }
        // With files of its own a message says something of its own.
        let mut content = prepared.source().clone();
        if let model::Content::Email(email) = &mut content {
            email.attachments = files;
        }
        Ok(Said { template: Some(picked), ..fresh(content, prepared.needs().cloned()).await? })
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
        let figures = self.figures(tenant).await;
        for (index, request) in requests.iter().enumerate() {
            let figures = figures.as_ref().map_err(Clone::clone).map(Option::as_ref);
            match self.plan_item(request.as_ref().map_err(Clone::clone), tenant, figures, &mut known, now).await {
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
        figures: Result<Option<&Arc<Figures>>, Error>,
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
                let leaves_at = request.send_at.map_or(now, |at| at.max(now));
                let uploads = self.uploads(tenant.id, prepared.source(), Some(leaves_at)).await?;
                Said { content_id: *id, prepared: Arc::clone(prepared), stored: None, template: None, uploads }
            }
            None => self.said(request, tenant, chosen.0, files.clone(), now).await?,
        };
        let routing = self.routing(figures?, &said, now);
        let plan = plan::plan(request, tenant, chosen, said.says(), routing, now)?;
        if let Some(source) = source {
            known.entry(source).or_insert_with(|| (said.content_id, Arc::clone(&said.prepared)));
        }
        let (mut message, charge) = self.new_message(request, tenant, &plan, &said, now)?;
        let tail = self.tail(request, tenant, &plan, files, now).await?;
        let tail = tail.map(|tail| {
            let row = tail.attach(&mut message);
            (tail, row)
        });
        let decision = decided(&plan);
        Ok((Planned { message, charge, content: said.stored, tail, decision }, plan))
    }

    fn new_message(
        &self,
        request: &MessageRequest,
        tenant: &Tenant,
        plan: &Plan,
        said: &Said,
        now: Timestamp,
    ) -> Result<(Message, Option<Charge>), Error> {
        let text = |raw: &Option<Box<RawValue>>| raw.as_ref().map(|raw| raw.get().to_owned());
        let id = plan.ruled.as_ref().map_or_else(|| MessageId::from_ulid(self.ports.ids.ulid(now)), |(id, _)| *id);
        let mut message = Message {
            purpose: plan.purpose,
            class: plan.class,
            guarantee: plan.guarantee,
            status: plan.status,
            account_id: Some(plan.account.id),
            connector: Some(plan.account.connector.spec().id.to_owned()),
            variables: text(&request.variables),
            metadata: text(&request.metadata),
            topic: request.ours.map(str::to_owned).or_else(|| request.topic.clone()),
            route: Some(plan.route.clone()),
            segments: plan.segments,
            contact_id: request.to.contact_id,
            send_at: request.send_at,
            expires_at: request.expires_at,
            due_at: Some(plan.due_at),
            sender_id: plan.sender.as_ref().map(|sender| sender.id),
            variant: request.variant,
            clock: Some(period::clock(&tenant.consent.zone, now)),
            template: said.template.map(|picked| picked.of),
            tracking: tracking::decide(
                plan.channel,
                plan.purpose,
                &[request.tracking, said.template.and_then(|picked| picked.tracking), Some(tenant.branding.tracking)],
            ),
            ..Message::new(tenant.id, id, plan.channel, plan.address.to_string(), said.content_id, now)
        };
        let mut charge = None;
        if request.ours.is_none() {
            subscription::permit(tenant, plan.purpose, now)?;
            charge = charge::quote(tenant, &mut message, plan.category)?;
        }
        Ok((message, charge))
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
            Committed::Passed => Err(Error::conflict(PASSED, "Somebody else was first with this.")),
            Committed::Stale => {
                self.directory.refresh().await?;
                Ok(None)
            }
            Committed::Failed(error) => Err(error),
        }
    }
}

/// What rules decided about a message, as it is kept with it.
fn decided(plan: &Plan) -> Option<String> {
    plan.ruled.as_ref().map(|(_, decision)| serde_json::to_string(decision).expect("a decision has a JSON form"))
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
