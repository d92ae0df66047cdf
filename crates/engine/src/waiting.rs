//! What becomes due by itself: messages whose time runs out, facts that become known (sandbox), and providers to be asked about silence.

use std::sync::Arc;

use connectors::{Asked, Cx, Polled};
use futures_util::{StreamExt as _, stream};
use model::{Address, Content, Fact, FailureKind, Money, Purpose, Status, Timestamp};
use store::{Scope, attempts, deliveries, messages, messages::Message, reports};

use crate::{
    Engine, Error,
    apply::{AskedAbout, Input, Learned, Rerouted, Withdrawn},
    consent::links::Links,
    directory::Account,
    routing::again::Because,
};

/// Rows handled in one go.
const PAGE: i64 = 500;
/// Providers asked at once.
const ASKS_AT_ONCE: usize = 16;
/// Wait between two questions about one message, in milliseconds (mission M2.7).
const ASK_EVERY_MS: i64 = 5 * 60_000;
/// How long after it was sent, or nobody could say whether it was, a message is asked about, in milliseconds: three days, the longest any provider keeps trying. What is set aside for one nobody
/// spoke for is given back then.
pub(crate) const ASK_FOR_MS: i64 = 3 * 86_400_000;
/// Questions about an attempt without an answer before an at-least-once message is tried again.
const ASKS_MAX: u32 = 3;
/// Waits between those questions, in milliseconds.
const ASK_UNANSWERED_MS: [i64; 3] = [5_000, 15_000, 30_000];

/// Expires messages whose time ran out before they left. Answers how many.
#[crate::boxed]
pub async fn expire(engine: &Engine) -> Result<usize, Error> {
    let now = engine.ports.clock.now();
    let expired = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { deliveries::expired_now(tx, now, PAGE).await }))
        .await?;
    let items: Vec<_> = expired
        .into_iter()
        .map(|d| Withdrawn {
            tenant_id: d.tenant_id,
            message_id: d.message_id,
            fact: Fact::Expired,
            source: "engine".to_owned(),
        })
        .collect();
    let count = items.len();
    if count > 0 {
        submit(engine, Input::Withdrawn(items), count).await?;
    }
    Ok(count)
}

/// Sends messages that wait for a deleted account another way, or fails them with the reason. Answers how many.
#[crate::boxed]
pub async fn reroute(engine: &Engine) -> Result<usize, Error> {
    let stranded =
        engine.ports.db.read(Scope::System, |tx| Box::pin(async move { deliveries::stranded(tx, PAGE).await })).await?;
    let items: Vec<_> = stranded
        .into_iter()
        .map(|d| Rerouted {
            tenant_id: d.tenant_id,
            message_id: d.message_id,
            account_id: d.account_id,
            because: Because::Gone,
            tries: 0,
        })
        .collect();
    let count = items.len();
    if count > 0 {
        // The directory must not offer the deleted account.
        engine.directory.refresh().await?;
        submit(engine, Input::Rerouted(items), count).await?;
    }
    Ok(count)
}

/// Applies the facts that have become known by themselves. Answers how many.
#[crate::boxed]
pub async fn later(engine: &Engine) -> Result<usize, Error> {
    let now = engine.ports.clock.now();
    let due = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { reports::due_later_now(tx, now, PAGE).await }))
        .await?;
    let learned: Vec<_> = due
        .iter()
        .filter_map(|later| {
            Some(Learned {
                tenant_id: later.tenant_id,
                message_id: later.message_id,
                fact: serde_json::from_str(&later.fact).ok()?,
                at: later.due_at,
                source: "sandbox".to_owned(),
                dedupe: format!("later:{}", later.position),
                provider_status: None,
                provider_message_id: None,
                segments: None,
                price: None,
                pricing: None,
                machine: None,
                attempt: None,
            })
        })
        .collect();
    let count = due.len();
    if count > 0 {
        // Applied before they are forgotten: a crash in between applies them twice, which changes nothing.
        submit(engine, Input::Learned(learned), count).await?;
        engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { reports::remove_later(tx, &due).await }))
            .await?;
    }
    Ok(count)
}

/// Asks providers about messages they have not spoken of for too long, and about attempts without an answer. Answers how many were asked about.
#[crate::boxed]
pub async fn ask(engine: &Arc<Engine>) -> Result<usize, Error> {
    let now = engine.ports.clock.now();
    let due = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { messages::due_polls(tx, now, PAGE).await }))
        .await?;
    let count = due.len();
    let asked: Vec<(Option<Learned>, AskedAbout)> =
        stream::iter(due).map(|m| ask_about(engine, m)).buffered(ASKS_AT_ONCE).collect().await;
    let (mut learned, mut about) = (Vec::new(), Vec::new());
    for (fact, asked) in asked {
        learned.extend(fact);
        about.push(asked);
    }
    if !learned.is_empty() {
        let weight = learned.len();
        submit(engine, Input::Learned(learned), weight).await?;
    }
    if !about.is_empty() {
        let weight = about.len();
        submit(engine, Input::Asked(about), weight).await?;
    }
    Ok(count)
}

async fn submit(engine: &Engine, input: Input, weight: usize) -> Result<(), Error> {
    engine.applies.submit(input, weight).await.unwrap_or_else(|| Err(Error::internal("applying panicked")))
}

/// One question and what it leaves us with.
async fn ask_about(engine: &Arc<Engine>, m: Message) -> (Option<Learned>, AskedAbout) {
    let now = engine.ports.clock.now();
    let mut asked = AskedAbout {
        tenant_id: m.tenant_id,
        message_id: m.id,
        is_not_taken: false,
        ask_again_at: None,
        gives_up: false,
    };
    let (said, price) = question(engine, &m, now).await;
    match said {
        // Looked at once more when it is written.
        Polled::Known { provider_message_id, .. } if is_anothers(engine, &m, provider_message_id.clone()).await => {
            undecided(&m, asked, now)
        }
        Polled::Known { provider_message_id, facts } => {
            // The highest fact says it all: the others lie behind it.
            let best = facts.into_iter().max_by_key(|(fact, _)| fact.status());
            let fact = best.map(|(fact, at)| Learned {
                tenant_id: m.tenant_id,
                message_id: m.id,
                dedupe: format!("poll:{}", fact.as_str()),
                at: at.unwrap_or(now),
                fact,
                source: "poll".to_owned(),
                provider_status: None,
                provider_message_id: Some(provider_message_id),
                segments: None,
                price: price.clone(),
                pricing: None,
                machine: None,
                attempt: None,
            });
            let is_settled = fact.as_ref().is_some_and(|learned| learned.fact != Fact::Sent);
            asked.ask_again_at = ask_again_at(&m, now).filter(|_| !is_settled);
            let is_news = |learned: &Learned| learned.fact.status().is_none_or(|status| status > m.status);
            (fact.filter(|learned| is_news(learned) || price.is_some()), asked)
        }
        Polled::NotTaken => {
            asked.is_not_taken = true;
            (None, asked)
        }
        Polled::Undecided => undecided(&m, asked, now),
    }
}

/// What follows when the provider could not be asked, or said nothing that is certainly about this message.
fn undecided(m: &Message, mut asked: AskedAbout, now: Timestamp) -> (Option<Learned>, AskedAbout) {
    let is_unanswered = !m.status.is_final() || m.status == Status::Unknown;
    if is_unanswered && m.status != Status::Unknown && m.polls + 1 >= ASKS_MAX {
        asked.gives_up = true;
    } else {
        let is_over = m.status == Status::Unknown && ask_again_at(m, now).is_none();
        let soon = ASK_UNANSWERED_MS.get(m.polls as usize).filter(|_| is_unanswered && !is_over);
        asked.ask_again_at = soon.map_or_else(|| ask_again_at(m, now), |wait_ms| Some(now.plus_millis(*wait_ms)));
    }
    (None, asked)
}

/// True when what was found by its likeness is, by its id, another message of ours: the same words to the same person, or any other call to them. True also while that cannot be said.
async fn is_anothers(engine: &Engine, m: &Message, id: String) -> bool {
    let (connector, own) = (m.connector.clone().unwrap_or_default(), (m.tenant_id, m.id));
    if m.provider_message_id.as_ref() == Some(&id) {
        return false;
    }
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { messages::is_anothers(tx, &connector, &id, own).await }));
    read.await.unwrap_or(true)
}

fn ask_again_at(m: &Message, now: Timestamp) -> Option<Timestamp> {
    let left_at = m.sent_at.or(m.ended_at).or(m.send_at).unwrap_or(m.created_at);
    Some(now.plus_millis(ASK_EVERY_MS)).filter(|next| next.millis_since(left_at) < ASK_FOR_MS)
}

async fn question(engine: &Arc<Engine>, m: &Message, now: Timestamp) -> (Polled, Option<Money>) {
    let Some((account, to, content)) = subject(engine, m).await else { return (Polled::Undecided, None) };
    let Some(sent_at) = sent_at(engine, m).await else { return (Polled::Undecided, None) };
    let from = account.from_of(m.sender_id).ok().flatten();
    let base_url = engine.config.base_url(&account);
    let cx = Cx { from, base_url, nonce: engine.ports.ids.ulid(now), ..account.cx(now) };
    let asked = Asked {
        provider_message_id: m.provider_message_id.as_deref(),
        attempt_id: m.id.attempt(m.attempts),
        to: &to,
        content: &content,
        channel: m.channel,
        sent_at,
    };
    let Some(call) = account.connector.poll(&cx, &asked) else { return (Polled::Undecided, None) };
    match engine.ports.transport.exchange(Arc::new(call)).await {
        Ok(answer) => {
            (account.connector.polled(&cx, &asked, &answer), account.connector.polled_price(&cx, &asked, &answer))
        }
        Err(broken) => {
            tracing::info!(message.id = %m.id, code = broken.code, kind = FailureKind::Unavailable.as_str(), "Could not ask the provider");
            (Polled::Undecided, None)
        }
    }
}

/// When a message was sent, or was last tried to be.
async fn sent_at(engine: &Engine, m: &Message) -> Option<Timestamp> {
    if m.sent_at.is_some() {
        return m.sent_at;
    }
    let (tenant, id) = (m.tenant_id, m.id);
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { attempts::of_message(tx, tenant, id).await }));
    let attempts = read.await.ok()?;
    Some(attempts.last().map_or(m.created_at, |attempt| attempt.started_at))
}

async fn subject(engine: &Engine, m: &Message) -> Option<(Arc<Account>, Address, Arc<Content>)> {
    let account = engine.directory.account(m.tenant_id, m.account_id?).await.ok()??;
    let to = Address::read(m.channel, &m.address).ok()?;
    let prepared = engine.content(m.tenant_id, m.content_id).await.ok()?;
    let tenant = engine.directory.tenant(m.tenant_id).await.ok()??;
    // What a provider is asked about does not depend on where the links lead.
    let links = (m.purpose == Purpose::Marketing).then(|| Links::sample(&tenant.public_url));
    Some((account, to, prepared.render_with(m.variables.as_deref(), &tenant.provided, links.as_ref()).ok()?))
}
