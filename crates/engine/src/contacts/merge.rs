//! Two contacts that are one person become one.
//!
//! Who it is, what it belongs to and what it said changes hands in one transaction; its messages, of which there may be a million, follow in steps of a few hundred. A row of
//! `contact_moves` says that they are on their way, so that a crash leaves the rest to [`run`]. Few are there when the request is answered.

use model::{ContactId, TenantId};
use serde::Deserialize;
use serde_json::json;
use store::{
    Scope, contact_attributes,
    contacts::{self, Move},
};
use utoipa::ToSchema;

use super::{ContactView, Work, fields, no_such, settle, taken, view, writer};
use crate::{
    Engine, Error,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
};

/// Which contact is the same person.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRequest {
    /// The contact that ends. What the other one has not, it gets from this one.
    #[schema(value_type = String, example = "con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub from: ContactId,
}

/// Merges `request.from` into `id`: fields the latter lacks, messages both ways and places in lists go over, then the former is gone. Needs the scope
/// `contacts:write`.
#[crate::boxed]
pub async fn merge(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: ContactId,
    request: MergeRequest,
) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let from = request.from;
    let work = Work::new(engine, &tenant, caller, now);
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let tenant = work.tenant.id;
            // In one order, so that two merges of the same pair cannot wait for each other.
            let first = contacts::lock(tx, tenant, id.min(from)).await?;
            let second = if id == from { None } else { contacts::lock(tx, tenant, id.max(from)).await? };
            let (kept, ended) = if id <= from { (first, second) } else { (second, first) };
            let mut kept = kept.ok_or_else(no_such)?;
            if id == from {
                return Err(Error::invalid("/from", "a contact cannot be merged with itself"));
            }
            let ended = ended.ok_or_else(|| Error::invalid("/from", "there is no such contact"))?;
            contacts::hand_over(tx, tenant, from, id, now).await?;
            contacts::delete(tx, tenant, from).await?;
            fill(&mut kept, &ended);
            kept.updated_at = now;
            contacts::update_many(tx, std::slice::from_ref(&kept)).await.map_err(taken)?;
            let schema = contact_attributes::all(tx, tenant).await?;
            let shown = view::contact(&kept, &schema);
            let mut gone = serde_json::to_value(view::contact(&ended, &schema)).expect("a contact has a JSON form");
            gone["merged_into"] = json!(id);
            work.tell(tx, "contact.updated", view::json(&shown)).await?;
            work.tell(tx, "contact.deleted", gone.to_string()).await?;
            work.record(tx, "contact.merged", id, &json!({ "from": from })).await?;
            Ok::<ContactView, Error>(shown)
        })
    })
    .await?;
    settle(engine, &tenant).await;
    follow(engine, tenant.id, id, AT_ONCE).await?;
    Ok(reply)
}

/// Messages handed over in one transaction: some milliseconds.
const STEP: i64 = 500;
/// Steps made before a merge is answered, and in one turn of the job for one contact.
const AT_ONCE: u32 = 10;
/// Contacts one turn of the job looks at.
const MOVES: i64 = 50;
/// How long a move is kept when nothing is left of it, in seconds: a message that was being accepted for the former contact may still be written.
const KEPT_S: i64 = 60;

/// Hands everything over that is on its way to a contact. For what must see all of it.
pub(super) async fn finish(engine: &Engine, tenant: TenantId, to: ContactId) -> Result<(), Error> {
    follow(engine, tenant, to, u32::MAX).await
}

async fn follow(engine: &Engine, tenant: TenantId, to: ContactId, steps: u32) -> Result<(), Error> {
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(contacts::moves_to(tx, tenant, to).await?) })
    });
    for one in read.await? {
        step(engine, one, steps).await?;
    }
    Ok(())
}

/// Goes on with contacts that became others. Answers how many messages were handed over.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(contacts::moves(tx, MOVES).await?) }));
    let mut count = 0;
    for one in read.await? {
        count += step(engine, one, AT_ONCE).await?;
    }
    Ok(count)
}

/// Makes up to `steps` steps of one move, and ends it when nothing was left for a while.
async fn step(engine: &Engine, one: Move, steps: u32) -> Result<u64, Error> {
    let is_old = engine.ports.clock.now() > one.created_at.plus_seconds(KEPT_S);
    let mut count = 0;
    for _ in 0..steps {
        let write = engine.ports.db.write(Scope::Tenant(one.tenant_id), move |tx| {
            Box::pin(async move {
                let moved = contacts::move_some(tx, &one, STEP).await?;
                if moved == 0 && is_old {
                    contacts::end_move(tx, &one).await?;
                }
                Ok::<_, Error>(moved)
            })
        });
        match write.await? {
            0 => break,
            moved => count += moved,
        }
    }
    Ok(count)
}

/// Gives `kept` what it lacks and `other` has.
fn fill(kept: &mut contacts::Contact, other: &contacts::Contact) {
    fn one<T: Clone>(kept: &mut Option<T>, other: &Option<T>) {
        if kept.is_none() {
            kept.clone_from(other);
        }
    }
    fn slots<T: Clone>(kept: &mut Vec<Option<T>>, other: &[Option<T>]) {
        if kept.len() < other.len() {
            kept.resize(other.len(), None);
        }
        kept.iter_mut().zip(other).for_each(|(kept, other)| one(kept, other));
    }
    // A name of its own beside first and last name says something only together with them.
    let has_name = kept.display_name().is_some();
    one(&mut kept.external_id, &other.external_id);
    one(&mut kept.email, &other.email);
    let whatsapp = other.whatsapp_number().cloned();
    one(&mut kept.phone, &other.phone);
    if kept.whatsapp.is_none() && kept.phone.is_none() {
        kept.whatsapp = whatsapp;
    }
    one(&mut kept.telegram_chat_id, &other.telegram_chat_id);
    one(&mut kept.language, &other.language);
    one(&mut kept.timezone, &other.timezone);
    if !has_name {
        kept.name.clone_from(&other.name);
        kept.first_name.clone_from(&other.first_name);
        kept.last_name.clone_from(&other.last_name);
    }
    slots(&mut kept.numbers, &other.numbers);
    slots(&mut kept.texts, &other.texts);
    fields::settle(kept);
}
