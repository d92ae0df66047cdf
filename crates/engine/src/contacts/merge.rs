//! Two contacts that are one person become one.

use model::ContactId;
use serde::Deserialize;
use serde_json::json;
use store::{contact_attributes, contacts};
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
            contacts::hand_over(tx, tenant, from, id).await?;
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
    Ok(reply)
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
