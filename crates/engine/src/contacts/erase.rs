//! Erasing a person: addresses and content go from everything that was written, read or logged about them; what counts keeps counting.
//!
//! What waits is withdrawn first. Then rows are emptied in bounded steps, the contact itself last: who is interrupted asks again, and the rest is done. Its addresses
//! stay on the suppression list as keyed hashes, so that nobody writes to them by mistake. Where else a person may be named is in [`traces`].

mod traces;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{
    AttachmentId, Channel, ContactId, Content, Failure, MessageId, SuppressionId, SuppressionReason, TenantId,
    Timestamp,
};
use serde::Serialize;
use serde_json::json;
use store::{
    Scope, Tx, attempts, contacts, contents, erasure, fallbacks, invoice_deliveries,
    messages::{self, Message},
    suppressions::{self, Suppression},
    templates,
};
use utoipa::ToSchema;

use self::traces::People;
use super::{Work, merge, no_such, person::Person, settle, writer};
use crate::{
    Engine, Error, audit,
    consent::bar,
    country,
    directory::Tenant,
    inbound::Body,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once, replay},
    writes::Writes,
};

/// Messages one transaction empties: some milliseconds.
const MESSAGES: i64 = 100;
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
    /// Messages to the contact that would have repeated, and were removed.
    pub schedules: u64,
    /// Files that came with messages to the contact alone, and were removed.
    pub files: u64,
}

/// Erases a contact. Needs the scope `contacts:write`. 409 `message_in_flight` while one of its messages is being sent.
#[crate::boxed]
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
    let done = empty(engine, caller, &tenant, vec![Arc::clone(&person)], now).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            contacts::lock(tx, person.tenant, id).await?.ok_or_else(no_such)?;
            remove(tx, &work, &person, json!({ "emptied": done })).await?;
            Ok::<_, Error>(done)
        })
    });
    let reply = reply.await?;
    settle(engine, &tenant).await;
    engine.noticed(of).await;
    Ok(reply)
}

/// Erases contacts nobody has had to do with for as long as the tenant keeps them. One that cannot go now is left for the next time. Answers how many went.
pub(crate) async fn idle(engine: &Engine, tenant: TenantId, idle: Vec<contacts::Contact>) -> Result<u64, Error> {
    if idle.is_empty() {
        return Ok(0);
    }
    let caller = Caller::system(Some(tenant));
    let (tenant, now) = writer(engine, &caller).await?;
    let people: Vec<Arc<Person>> = idle.iter().map(|contact| Arc::new(Person::new(contact))).collect();
    empty(engine, &caller, &tenant, people.clone(), now).await?;
    let mut count = 0;
    for (person, seen) in people.into_iter().zip(idle) {
        let work = Work::new(engine, &tenant, &caller, now);
        let write = engine.ports.db.write(Scope::Tenant(tenant.id), move |tx| {
            Box::pin(async move {
                // Somebody may have changed it since it was looked at.
                if contacts::lock(tx, person.tenant, person.id).await?.as_ref() != Some(&seen) {
                    return Ok(0);
                }
                remove(tx, &work, &person, json!({ "why": "inactive" })).await?;
                Ok::<u64, Error>(1)
            })
        });
        count += write.await?;
    }
    settle(engine, &tenant).await;
    Ok(count)
}

/// Empties everything about people but the contacts themselves.
async fn empty(
    engine: &Engine,
    caller: &Caller,
    tenant: &Arc<Tenant>,
    people: Vec<Arc<Person>>,
    now: Timestamp,
) -> Result<ErasureView, Error> {
    if !tenant.consent.has_secret() {
        engine.need_secret(tenant.id).await?;
    }
    let (mut done, mut named) = (ErasureView::default(), BTreeSet::new());
    for person in &people {
        merge::finish(engine, tenant.id, person.id).await?;
        suppress(engine, caller, person, now).await?;
    }
    let people = Arc::new(People { tenant: tenant.id, all: people });
    // What would make new messages goes before the messages.
    done.schedules = traces::repeated(engine, &people).await?;
    traces::meant(engine, &people).await?;
    for person in &people.all {
        done.messages += messages(engine, caller, person, &mut named).await?;
        done.inbound_messages += inbound(engine, person).await?;
    }
    done.files = traces::files(engine, &people, named).await?;
    done.events = traces::told(engine, &people).await?;
    done.callbacks = traces::logged(engine, &people).await?;
    traces::exchanged(engine, &people).await?;
    traces::answered(engine, &people).await?;
    Ok(done)
}

/// Removes a contact of whom nothing else is left, and says so, with the numbers of the audit entries that were emptied: whoever empties one without saying so is found out.
async fn remove(tx: &mut Tx, work: &Work, person: &Person, mut detail: serde_json::Value) -> Result<(), Error> {
    invoice_deliveries::take_files(tx, person.tenant, person.id, work.now).await?;
    contacts::delete(tx, person.tenant, person.id).await?;
    erasure::forget_contact(tx, person.tenant, person.id).await?;
    let about = person.id.to_string();
    let mut emptied = store::audit::erase_about(tx, person.tenant, &about, audit::CONTACT_ERASED).await?;
    for address in &person.addresses {
        erasure::forget_bounces(tx, person.tenant, address).await?;
        let (plain, named) = (address.trim_start_matches('+').to_lowercase(), |text: &str| person.is_in(text));
        for place in erasure::NAMED {
            erasure::forget_text(tx, person.tenant, place, &plain, named).await?;
        }
        let of_person = |action: &str, detail: &str| audit::tells_of_people(action) && person.is_in(detail);
        emptied.extend(erasure::forget_details(tx, person.tenant, &plain, of_person).await?);
    }
    emptied.sort_unstable();
    emptied.dedup();
    detail[audit::ERASED_ENTRIES] = json!(audit::ranges(&emptied));
    work.tell(tx, "contact.deleted", json!({"id": person.id, "erased": true}).to_string()).await?;
    work.record(tx, audit::CONTACT_ERASED, person.id, &detail).await
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
async fn messages(
    engine: &Engine,
    caller: &Caller,
    person: &Arc<Person>,
    named: &mut BTreeSet<AttachmentId>,
) -> Result<u64, Error> {
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
                let own = rows.iter().filter(|m| m.campaign_id.is_none());
                let by_content: BTreeMap<_, &Message> = own.map(|m| (m.content_id.0, m)).collect();
                let mut files = BTreeSet::new();
                for m in by_content.into_values() {
                    if let Some(of) = m.template
                        && templates::says(tx, tenant, of, m.content_id).await?
                    {
                        continue;
                    }
                    if !erasure::is_shared(tx, tenant, m.content_id, accepted_with(m)).await? {
                        files.extend(files_of(&contents::find_many(tx, &[(tenant, m.content_id)]).await?));
                        contents::replace(tx, tenant, m.content_id, &nothing(m.channel)).await?;
                    }
                }
                Ok::<_, Error>(files)
            })
        });
        named.extend(write.await?);
    }
}

/// The files contents name.
fn files_of(stored: &[contents::Stored]) -> Vec<AttachmentId> {
    let files = |stored: &contents::Stored| match serde_json::from_str(&stored.body) {
        Ok(Content::Email(email)) => email.attachments.into_iter().map(|file| file.attachment_id).collect(),
        _ => Vec::new(),
    };
    stored.iter().flat_map(files).collect()
}

/// The ids messages of the same request can have: those made within the same seconds.
pub(crate) fn accepted_with(m: &Message) -> (MessageId, MessageId) {
    let millis = |at: Timestamp| u128::from(at.as_millis().max(0).unsigned_abs()) << 80;
    let (first, last) = (m.created_at.plus_seconds(-2), m.created_at.plus_seconds(3));
    (MessageId::from_ulid(millis(first)), MessageId::from_ulid(millis(last)))
}

/// A failure without anybody's words: its kind and code.
pub(crate) fn kept(failure: &str) -> String {
    let Ok(failure) = serde_json::from_str::<Failure>(failure) else { return "null".to_owned() };
    let kept = Failure::new(failure.kind, failure.code, "The recipient was erased.");
    serde_json::to_string(&kept).expect("a failure has a JSON form")
}

/// A content of a channel that says nothing.
pub(crate) fn nothing(channel: Channel) -> String {
    let field = match channel {
        Channel::Webhook => return json!({"channel": channel, "event_id": "", "body": "{}"}).to_string(),
        Channel::Email => "subject",
        Channel::Voice => "say",
        _ => "text",
    };
    json!({"channel": channel, field: ""}).to_string()
}

async fn inbound(engine: &Engine, person: &Arc<Person>) -> Result<u64, Error> {
    let body = serde_json::to_string(&Body::default()).map_err(Error::internal)?;
    let (mut count, now) = (0, engine.ports.clock.now());
    loop {
        let (of, body) = (Arc::clone(person), body.clone());
        let write = engine.ports.db.write(Scope::Tenant(person.tenant), move |tx| {
            Box::pin(async move {
                let emptied = erasure::empty_inbound(tx, of.tenant, of.id, &of.addresses, &body, MESSAGES).await?;
                store::attachments::release(tx, of.tenant, &crate::inbound::files_of(&emptied), now).await?;
                Ok::<_, Error>(emptied.len() as u64)
            })
        });
        match write.await? {
            0 => return Ok(count),
            more => count += more,
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
        for channel in crate::access::permissions::CHANNELS.into_iter().chain([Channel::Webhook]) {
            let content: model::Content = serde_json::from_str(&nothing(channel)).unwrap();
            assert_eq!(content.channel(), channel);
        }
    }
}
