//! Erasing a person: addresses and content go from everything that was written, read or logged about them; what counts keeps counting.
//!
//! What waits is withdrawn first. Then rows are emptied in bounded steps, the contact itself last: who is interrupted asks again, and the rest is done. Its addresses
//! stay on the suppression list as keyed hashes, so that nobody writes to them by mistake. Answers kept under an idempotency key are forgotten by themselves within a day.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    CallbackId, Channel, ContactId, Failure, MessageId, SuppressionId, SuppressionReason, TenantId, Timestamp,
};
use serde::Serialize;
use serde_json::json;
use store::{
    Scope, attempts, contacts, erasure, events, fallbacks, invoice_deliveries,
    messages::{self, Message},
    suppressions::{self, Suppression},
};
use utoipa::ToSchema;

use super::{Work, links::address, no_such, settle, writer};
use crate::{
    Engine, Error,
    consent::bar,
    country,
    inbound::Body,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once, replay},
    writes::Writes,
};

/// Messages one transaction empties: some milliseconds.
const MESSAGES: i64 = 100;
/// Events and callbacks one transaction looks at.
const LOOKED_AT: i64 = 500;
/// What an emptied event carries.
const EMPTY_EVENT: &str = r#"{"erased":true}"#;

/// What an erasure came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErasureView {
    /// Messages to the contact that were emptied; they still count.
    pub messages: u64,
    /// Messages from the contact that were emptied.
    pub inbound_messages: u64,
    /// Events that were emptied.
    pub events: u64,
    /// Requests of providers that were emptied in their log.
    pub callbacks: u64,
}

/// Whom to look for.
struct Person {
    tenant: TenantId,
    id: ContactId,
    /// As messages and callbacks have them.
    addresses: Vec<String>,
    /// By channel, in the form the suppression list has.
    keys: Vec<(Channel, String)>,
    /// In lower case: what is looked for in logged texts.
    needles: Vec<String>,
}

impl Person {
    fn new(contact: &contacts::Contact) -> Self {
        let channels = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Voice, Channel::Telegram];
        let keys: Vec<(Channel, String)> = channels
            .into_iter()
            .filter_map(|channel| Some((channel, bar::key(channel, &address(contact, channel)?.to_string()))))
            .collect();
        let mut addresses: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut needles = vec![contact.id.to_string().to_lowercase()];
        for one in &addresses {
            let plain = one.trim_start_matches('+').to_lowercase();
            needles.push(plain.replace('@', "%40"));
            needles.push(plain);
        }
        Self { tenant: contact.tenant_id, id: contact.id, addresses, keys, needles }
    }

    fn is_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        self.needles.iter().any(|needle| text.contains(needle))
    }
}

/// Erases a contact. Needs the scope `contacts:write`. 409 `message_in_flight` while one of its messages is being sent.
pub async fn erase(engine: &Engine, caller: &Caller, repeat: &Repeat, id: ContactId) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    if let Some(reply) = replay(engine.parts(), caller, repeat).await? {
        return Ok(reply);
    }
    let of = tenant.id;
    let read = engine
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(contacts::find(tx, of, id).await?) }));
    let person = Arc::new(Person::new(&read.await?.ok_or_else(no_such)?));
    if !tenant.consent.has_secret() {
        engine.need_secret(of).await?;
    }
    suppress(engine, caller, &person, now).await?;
    let mut done = ErasureView { messages: messages(engine, caller, &person).await?, ..ErasureView::default() };
    done.inbound_messages = inbound(engine, &person).await?;
    done.events = told(engine, &person).await?;
    done.callbacks = logged(engine, &person).await?;
    exchanged(engine, &person).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            contacts::lock(tx, person.tenant, id).await?.ok_or_else(no_such)?;
            invoice_deliveries::take_files(tx, person.tenant, id, now).await?;
            contacts::delete(tx, person.tenant, id).await?;
            erasure::forget_contact(tx, person.tenant, id).await?;
            for address in &person.addresses {
                erasure::forget_address(tx, person.tenant, address).await?;
            }
            work.tell(tx, "contact.deleted", json!({"id": id, "erased": true}).to_string()).await?;
            work.record(tx, "contact.erased", id, &json!({ "emptied": done })).await?;
            Ok::<_, Error>(done)
        })
    });
    let reply = reply.await?;
    settle(engine, &tenant).await;
    engine.noticed(of).await;
    Ok(reply)
}

/// Puts the addresses on the suppression list as hashes, and turns what stands there of them into hashes.
async fn suppress(engine: &Engine, caller: &Caller, person: &Arc<Person>, now: Timestamp) -> Result<(), Error> {
    let consent = engine.tenant(person.tenant).await?.1;
    let (person, ids, shard, source) =
        (Arc::clone(person), Arc::clone(&engine.ports.ids), engine.shard(), caller.actor());
    let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
        Box::pin(async move {
            let mut writes = Writes::default();
            for (channel, key) in &person.keys {
                let Some(hash) = consent.consent.hash(*channel, key) else { continue };
                suppressions::erase(tx, person.tenant, *channel, key, &hash).await?;
                writes.suppressions.push(Suppression {
                    tenant_id: person.tenant,
                    channel: *channel,
                    address: hash,
                    reason: SuppressionReason::Erased,
                    id: SuppressionId::from_ulid(ids.ulid(now)),
                    blocks: bar::blocks(*channel, SuppressionReason::Erased),
                    source: source.clone(),
                    detail: None,
                    message_id: None,
                    created_at: now,
                });
            }
            Ok::<_, Error>(writes.write(tx, shard).await?)
        })
    });
    write.await?;
    engine.directory.catch_up().await;
    Ok(())
}

/// Empties the messages to the person, after withdrawing those that wait.
async fn messages(engine: &Engine, caller: &Caller, person: &Arc<Person>) -> Result<u64, Error> {
    let mut count = 0;
    loop {
        let of = Arc::clone(person);
        let read = engine.ports.db.read(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                let ids = erasure::messages_of(tx, of.tenant, of.id, &of.addresses, MESSAGES).await?;
                let keys: Vec<_> = ids.into_iter().map(|id| (of.tenant, id)).collect();
                Ok::<_, Error>(messages::find_many(tx, &keys).await?)
            })
        });
        let page = read.await?;
        if page.is_empty() {
            return Ok(count);
        }
        for waiting in page.iter().filter(|m| !m.status.is_final()) {
            let by = Caller { permissions: None, scopes: crate::keys::Scopes::All, ..caller.clone() };
            match engine.cancel(&by, &Repeat::NONE, waiting.id).await {
                // It ended meanwhile.
                Err(error) if error.code == "message_not_cancelable" => {}
                withdrawn => drop(withdrawn?),
            }
        }
        count += page.len() as u64;
        let tenant = person.tenant;
        let ids: Vec<MessageId> = page.iter().map(|m| m.id).collect();
        let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let keys: Vec<_> = ids.iter().map(|id| (tenant, *id)).collect();
                let rows = messages::lock_many(tx, &keys).await?;
                for m in &rows {
                    for attempt in attempts::of_message(tx, tenant, m.id).await? {
                        let kept = attempt.failure.as_deref().map(kept);
                        erasure::keep_failure(tx, tenant, m.id, attempt.number, kept.as_deref()).await?;
                    }
                    let kept = m.failure.as_deref().map(kept);
                    let address = country::erased(m.channel, &m.address);
                    erasure::empty_message(tx, tenant, m.id, &address, kept.as_deref()).await?;
                }
                for route in fallbacks::former(tx, &keys).await? {
                    let address = country::erased(route.channel, &route.address);
                    erasure::empty_route(tx, tenant, route.message_id, route.position, &address).await?;
                }
                // What many were told is nobody's own; what only this person was told goes.
                let own = rows.iter().filter(|m| m.campaign_id.is_none() && m.template.is_none());
                let contents: BTreeMap<_, &Message> = own.map(|m| (m.content_id.0, m)).collect();
                for m in contents.into_values() {
                    if !erasure::is_shared(tx, tenant, m.content_id, accepted_with(m)).await? {
                        erasure::empty_content(tx, tenant, m.content_id, &nothing(m.channel)).await?;
                    }
                }
                Ok::<_, Error>(())
            })
        });
        write.await?;
    }
}

/// The ids messages of the same request can have: those made within the same seconds.
fn accepted_with(m: &Message) -> (MessageId, MessageId) {
    let millis = |at: Timestamp| u128::from(at.as_millis().max(0).unsigned_abs()) << 80;
    let (first, last) = (m.created_at.plus_seconds(-2), m.created_at.plus_seconds(3));
    (MessageId::from_ulid(millis(first)), MessageId::from_ulid(millis(last)))
}

/// A failure without anybody's words: its kind and code.
fn kept(failure: &str) -> String {
    let Ok(failure) = serde_json::from_str::<Failure>(failure) else { return "null".to_owned() };
    let kept = Failure::new(failure.kind, failure.code, "The recipient was erased.");
    serde_json::to_string(&kept).expect("a failure has a JSON form")
}

/// A content of a channel that says nothing.
fn nothing(channel: Channel) -> String {
    let field = match channel {
        Channel::Email => "subject",
        Channel::Voice => "say",
        _ => "text",
    };
    json!({"channel": channel, field: ""}).to_string()
}

async fn inbound(engine: &Engine, person: &Arc<Person>) -> Result<u64, Error> {
    let body = serde_json::to_string(&Body::default()).map_err(Error::internal)?;
    let mut count = 0;
    loop {
        let (of, body) = (Arc::clone(person), body.clone());
        let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                Ok::<_, Error>(erasure::empty_inbound(tx, of.tenant, of.id, &of.addresses, &body, MESSAGES).await?)
            })
        });
        match write.await? {
            0 => return Ok(count),
            more => count += more,
        }
    }
}

/// Empties events that tell of the person, and their copies for endpoints.
async fn told(engine: &Engine, person: &Arc<Person>) -> Result<u64, Error> {
    let (mut count, mut after) = (0, events::Place::default());
    loop {
        let of = Arc::clone(person);
        let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                let page = events::all_after(tx, of.tenant, after, LOOKED_AT).await?;
                let mut emptied = 0;
                for (place, event) in page.iter().filter(|(_, event)| of.is_in(&event.data)) {
                    events::replace_data(tx, of.tenant, *place, EMPTY_EVENT).await?;
                    let copy =
                        crate::writes::webhook_body(&events::Event { data: EMPTY_EVENT.to_owned(), ..event.clone() });
                    let copy = json!({"channel": "webhook", "event_id": event.id, "body": copy}).to_string();
                    erasure::empty_content(tx, of.tenant, messages::ContentId(event.id.ulid()), &copy).await?;
                    emptied += 1;
                }
                Ok::<_, Error>((emptied, page.last().map(|(place, _)| *place)))
            })
        });
        let (emptied, last) = write.await?;
        count += emptied;
        match last {
            Some(last) => after = last,
            None => return Ok(count),
        }
    }
}

/// Empties what providers sent about the person.
async fn logged(engine: &Engine, person: &Arc<Person>) -> Result<u64, Error> {
    let (mut count, mut after) = (0, CallbackId::from_ulid(0));
    loop {
        let of = Arc::clone(person);
        let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                let page = erasure::callbacks(tx, of.tenant, after, LOOKED_AT).await?;
                let mut emptied = 0;
                for (id, query, headers, body) in &page {
                    if of.is_in(&String::from_utf8_lossy(body)) || of.is_in(query) || of.is_in(headers) {
                        erasure::empty_callback(tx, of.tenant, *id).await?;
                        emptied += 1;
                    }
                }
                Ok::<_, Error>((emptied, page.last().map(|(id, ..)| *id)))
            })
        });
        let (emptied, last) = write.await?;
        count += emptied;
        match last {
            Some(last) => after = last,
            None => return Ok(count),
        }
    }
}

/// Empties what was exchanged with the tenant's own endpoints about the person.
async fn exchanged(engine: &Engine, person: &Arc<Person>) -> Result<(), Error> {
    let mut after = (MessageId::from_ulid(0), 0);
    loop {
        let of = Arc::clone(person);
        let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                let page = erasure::exchanges(tx, of.tenant, after, LOOKED_AT).await?;
                for (message, number, _) in page.iter().filter(|(.., exchange)| of.is_in(exchange)) {
                    erasure::empty_exchange(tx, of.tenant, *message, *number).await?;
                }
                Ok::<_, Error>(page.last().map(|(message, number, _)| (*message, *number)))
            })
        });
        match write.await? {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_kind_and_code_only() {
        let failure = r#"{"kind":"recipient","code":"550","detail":"ada@example.com is unknown","provider_detail":"no ada here"}"#;
        let left: serde_json::Value = serde_json::from_str(&kept(failure)).unwrap();
        assert_eq!((&left["kind"], &left["code"]), (&json!("recipient"), &json!("550")));
        assert!(!left.to_string().contains("ada"));
    }

    #[test]
    fn what_is_left_of_a_content_can_be_read() {
        for channel in crate::access::permissions::CHANNELS {
            let content: model::Content = serde_json::from_str(&nothing(channel)).unwrap();
            assert_eq!(content.channel(), channel);
        }
    }
}
