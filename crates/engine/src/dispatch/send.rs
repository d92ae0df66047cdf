//! One exchange: render, let the connector build the request, let the transport carry it, let the connector read the answer. Pure parts apart from the transport; no
//! database. What comes out is always a [`Finished`] per message, also after a panic: nothing that was claimed is forgotten.

use std::{panic::AssertUnwindSafe, sync::Arc};

use connectors::{Cx, File, Outcome, Outgoing, Step};
use futures_util::FutureExt as _;
use model::{Address, Answer, Broken, Call, Channel, Content, Failure, FailureKind, Mailbox, Purpose, Timestamp};
use store::{attempt_counters::UNANSWERED_MS, inflight::Flight, messages::Message};
use tokio::task::JoinSet;

use super::{exchange, handed::handed};
use crate::{
    Engine,
    apply::{Finished, Held, Input},
    consent::{links::Links, screen::Ruling},
    directory::Account,
    render::{self, Prepared, Provided},
    tracking,
};

/// Requests one attempt may need (an upload and a send, a moved chat): a connector that wants more is broken.
const STEPS_MAX: u8 = 8;
/// First wait after `apply` could not write, in milliseconds; doubles up to [`APPLY_RETRY_MAX_MS`].
const APPLY_RETRY_MS: u64 = 100;
const APPLY_RETRY_MAX_MS: u64 = 5_000;
/// How old the look at whether a message may go can be when its request leaves, in milliseconds: the window in which an opt-out may come too late.
pub const LOOK_AGAIN_MS: i64 = 250;

/// A message about to leave.
#[derive(Clone)]
pub(super) struct Part {
    pub flight: Flight,
    pub message: Message,
    pub content: Arc<Prepared>,
    /// Set when it must not leave now.
    pub ruling: Option<Ruling>,
}

/// One provider request's worth of messages.
pub(super) struct Job {
    pub account: Arc<Account>,
    pub parts: Vec<Part>,
}

/// What a part became once rendered.
struct Ready {
    part: Part,
    to: Address,
    content: Arc<Content>,
    files: Vec<File>,
}

/// Groups an account's messages into requests: as many as ride together, or one each.
pub(super) fn jobs(_engine: &Engine, account: &Arc<Account>, parts: Vec<Part>) -> Vec<Job> {
    let size = account.connector.batch().map_or(1, connectors::Batch::max);
    parts.chunks(size).map(|chunk| Job { account: Arc::clone(account), parts: chunk.to_vec() }).collect()
}

/// Sends a job's messages and applies the results. Returns once they are committed.
pub(super) async fn perform(engine: Arc<Engine>, job: Job) {
    let landing: Vec<_> = job.parts.iter().map(|part| (part.flight.account_id, part.flight.class)).collect();
    let account = Arc::clone(&job.account);
    let parts = job.parts.clone();
    let finished = match AssertUnwindSafe(attempt(&engine, job)).catch_unwind().await {
        Ok(finished) => finished,
        Err(_) => {
            let failure = Failure::new(
                FailureKind::Unknown,
                "internal_error",
                "Tidings failed while sending; it cannot be said whether the request left.",
            );
            parts
                .into_iter()
                .map(|part| Finished::new(part.flight, &account, Outcome::Refused(failure.clone()), None))
                .collect()
        }
    };
    // The next requests need not wait until these answers are on disk. Refusals do wait: they may pause the account.
    let all_taken = finished.iter().all(|finished| matches!(finished.outcome, Outcome::Accepted(_)));
    let landing: Vec<_> = landing
        .into_iter()
        .map(|(account, class)| (account, class, all_taken && engine.dispatcher.answered(account)))
        .collect();
    if !finished.is_empty() {
        land(Arc::clone(&engine), Input::Finished(finished)).await;
    }
    for (account, class, was_answered) in landing {
        engine.dispatcher.landed(account, class, was_answered);
    }
}

/// Hands results to `apply` until they are written: the provider has acted, and only the database knows so far that it was asked.
async fn land(engine: Arc<Engine>, input: Input) {
    let weight = input.weight();
    let mut wait_ms = APPLY_RETRY_MS;
    loop {
        match engine.applies.submit(input.clone(), weight).await {
            Some(Ok(())) => return,
            Some(Err(error)) => {
                tracing::error!(%error, messages = weight, "Cannot record what providers answered; trying again")
            }
            None => tracing::error!(
                messages = weight,
                "Recording what providers answered panicked; the attempts will be recovered as unknown"
            ),
        }
        engine.ports.clock.sleep(wait_ms).await;
        wait_ms = (wait_ms * 2).min(APPLY_RETRY_MAX_MS);
    }
}

/// Makes a job's exchanges one after the other. Answers the results that are not written yet.
async fn attempt(engine: &Arc<Engine>, job: Job) -> Vec<Finished> {
    let Job { account, parts } = job;
    let mut looked_at = engine.ports.clock.now();
    let mut landing = JoinSet::new();
    let (mut finished, mut ready) = (Vec::with_capacity(parts.len()), Vec::with_capacity(parts.len()));
    let (parts, barred): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|part| part.ruling.is_none());
    hold(engine, barred, &mut landing);
    for part in parts {
        match prepare(engine, &account, &part).await {
            Ok((to, content, files)) => ready.push(Ready { part, to, content, files }),
            Err(failure) => finished.push(Finished::new(part.flight, &account, Outcome::Refused(failure), None)),
        }
    }
    let base_url = engine.config.base_url(&account);
    let now = engine.ports.clock.now();
    while !ready.is_empty() {
        let from = match account.from_of(ready[0].part.message.sender_id) {
            Ok(from) => from,
            Err(failure) => {
                let part = ready.remove(0).part;
                finished.push(Finished::new(part.flight, &account, Outcome::Refused(failure), None));
                continue;
            }
        };
        let named = with_name(engine, &ready[0].part.message, from).await;
        let from = named.as_deref().or(from);
        if engine.ports.clock.now().millis_since(looked_at) >= LOOK_AGAIN_MS {
            // The requests before took their time, and somebody may have asked for no more meanwhile.
            looked_at = engine.ports.clock.now();
            ready = look_again(engine, ready, &mut landing).await;
            if ready.is_empty() {
                break;
            }
        }
        let cx = Cx { from, base_url, nonce: engine.ports.ids.ulid(now), ..account.cx(now) };
        let together: Vec<Ready> = take_group(&cx, &account, &mut ready);
        let started_at = engine.ports.clock.now();
        let results = if together.len() > 1 {
            exchange_many(engine, &account, &cx, &together).await
        } else {
            vec![exchange_one(engine, &account, &cx, &together[0]).await]
        };
        let took_ms = engine.ports.clock.now().millis_since(started_at).max(0);
        let seconds = took_ms as f64 / 1000.0;
        metrics::histogram!("tidings_send_seconds", "connector" => account.connector.spec().id).record(seconds);
        finished.extend(together.into_iter().zip(results).map(|(ready, (outcome, record, heard))| Finished {
            took_ms: match heard {
                Heard::Answer => Some(took_ms),
                Heard::Nothing => Some(UNANSWERED_MS),
                Heard::NotAsked => None,
            },
            bytes: Some(handed(&ready.content, &ready.files)),
            ..Finished::new(ready.part.flight, &account, outcome, record)
        }));
        if !ready.is_empty() {
            // What is answered is written while the next request is under way: a crash while that one hangs must not make this one unknown.
            landing.spawn(land(Arc::clone(engine), Input::Finished(std::mem::take(&mut finished))));
        }
    }
    while landing.join_next().await.is_some() {}
    finished
}

/// The sender of a mail with the name from the tenant's branding beside it; `None` where it has one already, or there is none.
async fn with_name(engine: &Engine, message: &Message, from: Option<&str>) -> Option<String> {
    let from = from.filter(|_| message.channel == Channel::Email)?;
    let mailbox: Mailbox = from.parse().ok().filter(|mailbox: &Mailbox| mailbox.name.is_none())?;
    // Without an answer of the database it goes without a name rather than not at all.
    let tenant = engine.directory.tenant(message.tenant_id).await.ok().flatten()?;
    // What would be read as an address is no name.
    let name = tenant.branding.sender_name.clone().filter(|name| !name.contains(['<', '>', '"']))?;
    Some(Mailbox { name: Some(name), ..mailbox }.to_string())
}

/// Hands messages that must not leave now back to `apply`.
fn hold(engine: &Arc<Engine>, barred: Vec<Part>, landing: &mut JoinSet<()>) {
    let held: Vec<Held> =
        barred.into_iter().filter_map(|part| Some(Held { flight: part.flight, ruling: part.ruling? })).collect();
    if !held.is_empty() {
        landing.spawn(land(Arc::clone(engine), Input::Held(held)));
    }
}

/// Looks once more at messages that waited for a request before theirs. When the database does not answer, they wait on: nothing leaves unseen.
async fn look_again(engine: &Arc<Engine>, ready: Vec<Ready>, landing: &mut JoinSet<()>) -> Vec<Ready> {
    let keys: Vec<_> = ready.iter().map(|ready| (ready.part.flight.tenant_id, ready.part.flight.message_id)).collect();
    let mut rulings = loop {
        match super::look(engine, keys.clone()).await {
            Ok((_, rulings)) => break rulings,
            Err(error) => {
                tracing::warn!(%error, "Cannot look again at what is to be sent; trying again");
                engine.ports.clock.sleep(super::RETRY_MS).await;
            }
        }
    };
    if rulings.is_empty() {
        return ready;
    }
    let (mut open, mut barred) = (Vec::with_capacity(ready.len()), Vec::new());
    for one in ready {
        match rulings.remove(&one.part.flight.message_id) {
            Some(ruling) => barred.push(Part { ruling: Some(ruling), ..one.part }),
            None => open.push(one),
        }
    }
    hold(engine, barred, landing);
    open
}

/// Takes the first message and those that may ride in its request.
fn take_group(cx: &Cx<'_>, account: &Account, ready: &mut Vec<Ready>) -> Vec<Ready> {
    let first = ready.remove(0);
    let mut group = vec![first];
    if let Some(batch) = account.connector.batch() {
        let mut index = 0;
        while index < ready.len() && group.len() < batch.max() {
            // `cx` holds one sender for all of them.
            let is_same_sender = group[0].part.message.sender_id == ready[index].part.message.sender_id;
            if is_same_sender && batch.fits(cx, &outgoing(&group[0]), &outgoing(&ready[index])) {
                group.push(ready.remove(index));
            } else {
                index += 1;
            }
        }
    }
    group
}

async fn prepare(
    engine: &Engine,
    account: &Account,
    part: &Part,
) -> Result<(Address, Arc<Content>, Vec<File>), Failure> {
    let message = &part.message;
    let to = Address::read(message.channel, &message.address)
        .map_err(|error| Failure::new(FailureKind::Recipient, "bad_address", error.to_string()))?;
    let tenant = engine.directory.tenant(message.tenant_id).await.map_err(|error| render::as_failure(&error))?;
    let nothing = Provided::new();
    let provided = tenant.as_ref().map_or(&nothing, |tenant| &tenant.provided);
    let links = match message.purpose {
        Purpose::Marketing if message.channel != Channel::Webhook => Some(links(engine, message).await?),
        _ => None,
    };
    let content = part.content.render_with(message.variables.as_deref(), provided, links.as_ref());
    let content = content.map_err(|error| render::as_failure(&error))?;
    let content = tracking::leaving(engine, tenant.as_deref(), message, content).await;
    let mut content = content.map_err(|error| render::as_failure(&error))?;
    if let Some(links) = &links {
        one_click(&mut content, links);
    }
    answers_to(engine, account, message, &mut content);
    let files = engine.files(message.tenant_id, &content).await?;
    Ok((to, content, files))
}

/// Has answers to a mail go to an address of its own where the account has such, unless the mail says where they shall go.
fn answers_to(engine: &Engine, account: &Account, message: &Message, content: &mut Arc<Content>) {
    let Content::Email(email) = &**content else { return };
    if email.reply_to.is_some() || email.headers.keys().any(|name| name.eq_ignore_ascii_case("Reply-To")) {
        return;
    }
    let cx = account.cx(engine.ports.clock.now());
    let Some(address) = account.connector.reply_address(&cx, message.id) else { return };
    if let Content::Email(email) = Arc::make_mut(content) {
        email.reply_to = Some(address);
    }
}

/// The links of a marketing message. The tenant's first makes the secret they are sealed with.
async fn links(engine: &Engine, message: &Message) -> Result<Links, Failure> {
    let unavailable = |detail: String| Failure::new(FailureKind::Unavailable, "links_unavailable", detail);
    for _ in 0..2 {
        let tenant = engine.directory.tenant(message.tenant_id).await.map_err(|error| unavailable(error.detail))?;
        let Some(tenant) = tenant else { break };
        if let Some(links) = Links::of(&tenant.consent, &tenant.public_url, tenant.id, message) {
            return Ok(links);
        }
        engine.need_secret(tenant.id).await.map_err(|error| unavailable(error.detail))?;
    }
    Err(unavailable("The links of this message could not be made; it is tried again.".to_owned()))
}

/// Puts the headers of one-click unsubscription (RFC 8058) into a mail, unless it brings its own.
fn one_click(content: &mut Arc<Content>, links: &Links) {
    let Content::Email(email) = &**content else { return };
    if email.headers.keys().any(|name| name.eq_ignore_ascii_case("List-Unsubscribe")) {
        return;
    }
    if let Content::Email(email) = Arc::make_mut(content) {
        email.headers.insert("List-Unsubscribe".to_owned(), format!("<{}>", links.unsubscribe_url));
        email.headers.insert("List-Unsubscribe-Post".to_owned(), "List-Unsubscribe=One-Click".to_owned());
    }
}

fn outgoing(ready: &Ready) -> Outgoing<'_> {
    let message = &ready.part.message;
    Outgoing {
        message_id: message.id,
        attempt_id: message.id.attempt(ready.part.flight.number),
        attempt: ready.part.flight.number,
        channel: message.channel,
        names_sender: message.sender_id.is_some(),
        to: &ready.to,
        content: &ready.content,
        files: &ready.files,
        accepted_at: message.created_at,
    }
}

type Result1 = (Outcome, Option<String>, Heard);

/// What was heard of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// It answered.
    Answer,
    /// It was asked, and did not.
    Nothing,
    /// It was not asked: the message or the account's settings are no good for it.
    NotAsked,
}

impl Heard {
    /// What a broken exchange says: an address that cannot be used is none of a provider's.
    fn of(broken: &Broken) -> Self {
        if is_bad_address(broken) { Self::NotAsked } else { Self::Nothing }
    }
}

fn is_bad_address(broken: &Broken) -> bool {
    matches!(broken.code, "refused_address" | "bad_url" | "bad_request")
}

async fn exchange_one(engine: &Engine, account: &Account, cx: &Cx<'_>, ready: &Ready) -> Result1 {
    let message = outgoing(ready);
    let connector = account.connector;
    let mut call = match connector.send(cx, &message) {
        Ok(call) => call,
        Err(failure) => return (Outcome::Refused(failure), None, Heard::NotAsked),
    };
    for step in 0..STEPS_MAX {
        let (result, record) = carry(engine, account, call, is_private(ready)).await;
        match result {
            Err(broken) => {
                return (Outcome::Refused(broken_failure(&broken, step > 0)), record, Heard::of(&broken));
            }
            Ok(answer) => match connector.answer(cx, &message, step, &answer) {
                Step::Done(outcome) => return (outcome, record, Heard::Answer),
                Step::Call(next) => call = next,
            },
        }
    }
    (
        Outcome::Refused(Failure::new(
            FailureKind::Unknown,
            "too_many_steps",
            "The exchange with the provider did not come to an end.",
        )),
        None,
        Heard::Answer,
    )
}

async fn exchange_many(engine: &Engine, account: &Account, cx: &Cx<'_>, group: &[Ready]) -> Vec<Result1> {
    let messages: Vec<Outgoing<'_>> = group.iter().map(outgoing).collect();
    let Some(batch) = account.connector.batch() else { return Vec::new() };
    let refused = |failure: &Failure, record: &Option<String>, heard| {
        group.iter().map(|_| (Outcome::Refused(failure.clone()), record.clone(), heard)).collect()
    };
    let call = match batch.send(cx, &messages) {
        Ok(call) => call,
        Err(failure) => return refused(&failure, &None, Heard::NotAsked),
    };
    let (result, record) = carry(engine, account, call, group.iter().any(is_private)).await;
    match result {
        Err(broken) => refused(&broken_failure(&broken, false), &record, Heard::of(&broken)),
        Ok(answer) => {
            let mut outcomes = batch.answer(cx, &messages, &answer);
            let silent = || {
                Outcome::Refused(Failure::new(
                    FailureKind::Unknown,
                    "not_in_answer",
                    "The provider's answer does not speak of this message.",
                ))
            };
            outcomes.resize_with(group.len(), silent);
            outcomes.into_iter().map(|outcome| (outcome, record.clone(), Heard::Answer)).collect()
        }
    }
}

/// True when the message carries a secret for its recipient alone, such as the link of a password reset.
fn is_private(ready: &Ready) -> bool {
    render::has_secrets(ready.part.message.variables.as_deref())
}

async fn carry(
    engine: &Engine,
    account: &Account,
    call: Call,
    is_private: bool,
) -> (Result<Answer, Broken>, Option<String>) {
    if matches!(call, Call::Local) {
        return (Ok(Answer::Local), None);
    }
    let call = Arc::new(call);
    let result = engine.ports.transport.exchange(Arc::clone(&call)).await;
    let record = exchange::record(&call, &result, account, is_private);
    (result, record)
}

/// What an exchange without an answer means. After an earlier step of the same attempt was answered, part of the message may be with the recipient.
fn broken_failure(broken: &Broken, has_answered: bool) -> Failure {
    if broken.may_have_acted || has_answered {
        let detail = format!(
            "The request left and no answer came back ({}). It cannot be said whether the provider took the message.",
            broken.detail
        );
        return Failure::new(FailureKind::Unknown, broken.code, detail);
    }
    let (kind, detail) = match is_bad_address(broken) {
        true => (
            FailureKind::Account,
            format!("The provider's address cannot be used: {}. Correct the account's settings.", broken.detail),
        ),
        false => (FailureKind::Unavailable, format!("The provider could not be reached: {}.", broken.detail)),
    };
    Failure::new(kind, broken.code, detail)
}

impl Finished {
    fn new(flight: Flight, account: &Arc<Account>, outcome: Outcome, exchange: Option<String>) -> Self {
        Self {
            flight,
            account: Some(Arc::clone(account)),
            outcome,
            exchange,
            took_ms: None,
            bytes: None,
            finished_at: Timestamp::EPOCH,
        }
    }
}
