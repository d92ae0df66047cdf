//! Contacts: the people a tenant talks to.
//!
//! A contact is known by the tenant's own id, an e-mail address, a phone number or a Telegram chat; no two contacts of a tenant share one of them. `fields` holds the rules
//! for what a field may hold, and the API, imports and merging all go through it. `attributes` are the tenant's own fields, declared before they are used. `lists` name
//! contacts by hand. Accept (see [`address`]) turns a contact into an address, and links a message to the contact its address belongs to.

pub mod attributes;
pub mod dossier;
pub(crate) mod erase;
pub mod export;
pub mod fields;
pub mod import;
pub(crate) mod links;
pub mod lists;
pub mod merge;
mod naming;
mod person;
mod timeline;
mod view;

use std::sync::Arc;

use model::{ContactId, ListId, SegmentId, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::json;
use store::{
    Tx,
    contact_attributes::{self, Attribute},
    contacts::{self, Audience, Contact, Key, Search},
    tenants,
};
use utoipa::IntoParams;

pub use erase::{ErasureView, erase};
pub use fields::{ContactPatch, NewContact};
pub use links::{Recipient, address};
pub use merge::{MergeRequest, merge};
pub use timeline::{ContactEntry, timeline};
pub use view::ContactView;
pub(crate) use view::contact as shown;

use crate::{
    Engine, Error, ErrorKind, FieldError, audit,
    directory::Tenant,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    queries::malformed,
    segments,
    writes::Writes,
};

/// Longest `q`, in bytes.
const Q_MAX: usize = 254;

/// Which contacts a list shows (`GET /v1/contacts`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ContactQuery {
    /// The beginning of an e-mail address, a phone number or an `external_id`, or a part of a name.
    #[param(example = "ada")]
    pub q: Option<String>,
    /// On this list.
    #[param(value_type = Option<String>)]
    pub list_id: Option<ListId>,
    /// Of this segment; not together with a list.
    #[param(value_type = Option<String>)]
    pub segment_id: Option<SegmentId>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Adds a contact. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewContact) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let id = ContactId::from_ulid(engine.ports.ids.ulid(now));
    let work = Work::new(engine, &tenant, caller, now);
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let schema = contact_attributes::all(tx, work.tenant.id).await?;
            let mut contact = Contact::new(work.tenant.id, id, now);
            fields::change(&mut contact, new.into(), &schema, work.tenant.default_country.as_deref())?;
            refuse_taken(tx, &contact).await?;
            if contacts::insert_many(tx, std::slice::from_ref(&contact)).await? == 0 {
                return Err(taken_meanwhile());
            }
            if contacts::mark(tx, work.tenant.id).await? {
                tenants::bump(tx, Some(work.tenant.id)).await?;
            }
            let view = view::contact(&contact, &schema);
            if by_hand(&work.caller) {
                let nothing = Contact::new(work.tenant.id, id, now);
                let detail = json!({ audit::FIELDS: fields::differing(&nothing, &contact, &schema) });
                work.record(tx, "contact.created", id, &detail).await?;
            }
            work.tell(tx, "contact.created", view::json(&view)).await?;
            Ok(view)
        })
    })
    .await?;
    settle(engine, &tenant).await;
    Ok(reply)
}

/// Reads a contact. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: ContactId) -> Result<ContactView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let contact = contacts::find(tx, tenant, id).await?.ok_or_else(no_such)?;
            Ok::<_, Error>(view::contact(&contact, &contact_attributes::all(tx, tenant).await?))
        })
    });
    read.await
}

/// Lists contacts, newest first. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller, query: &ContactQuery) -> Result<Page<ContactView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("contacts", query.limit, query.cursor.as_deref())?;
    let text = query.q.as_deref().map(str::trim).map(str::to_owned);
    if text.as_ref().is_some_and(|q| q.is_empty() || q.len() > Q_MAX || q.contains('\0')) {
        return Err(malformed("?q", format!("1 to {Q_MAX} bytes of a name, address, number or external id")));
    }
    let (list, segment) = (query.list_id, query.segment_id);
    if list.is_some() && segment.is_some() {
        return Err(malformed("?segment_id", "give a list or a segment, not both".to_owned()));
    }
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let audience = audience(tx, tenant, list, segment, now).await?;
            let before = ContactId::from_ulid(window.before);
            let rows = contacts::search(tx, tenant, &Search { text, audience }, before, window.rows()).await?;
            Ok::<_, Error>((rows, contact_attributes::all(tx, tenant).await?))
        })
    });
    let (rows, schema) = read.await?;
    Ok(window.page(rows, |row| row.id.ulid(), |row| view::contact(&row, &schema)))
}

/// The contacts of a list, of a segment, or all. A list or segment that is not the tenant's is not found.
pub(crate) async fn audience(
    tx: &mut Tx,
    tenant: TenantId,
    list: Option<ListId>,
    segment: Option<SegmentId>,
    now: Timestamp,
) -> Result<Audience, Error> {
    match (list, segment) {
        (Some(list), _) => Ok(Audience::List(lists::found(tx, tenant, list).await?.id)),
        (None, Some(segment)) => segments::audience(tx, tenant, segment, now).await,
        (None, None) => Ok(Audience::All),
    }
}

/// Changes a contact. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: ContactId,
    change: ContactPatch,
) -> Result<ContactView, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let schema = contact_attributes::all(tx, work.tenant.id).await?;
            let before = contacts::lock(tx, work.tenant.id, id).await?.ok_or_else(no_such)?;
            let mut after = before.clone();
            fields::change(&mut after, change, &schema, work.tenant.default_country.as_deref())?;
            if after == before {
                return Ok(view::contact(&before, &schema));
            }
            after.updated_at = now;
            refuse_taken(tx, &after).await?;
            contacts::update_many(tx, std::slice::from_ref(&after)).await.map_err(taken)?;
            let view = view::contact(&after, &schema);
            let detail = json!({ audit::FIELDS: fields::differing(&before, &after, &schema) });
            work.record(tx, "contact.updated", id, &detail).await?;
            work.tell(tx, "contact.updated", view::json(&view)).await?;
            Ok::<_, Error>(view)
        })
    });
    let view = write.await?;
    settle(engine, &tenant).await;
    Ok(view)
}

/// Removes a contact and its places in lists; its messages stay. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: ContactId) -> Result<(), Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let schema = contact_attributes::all(tx, work.tenant.id).await?;
            let contact = contacts::lock(tx, work.tenant.id, id).await?.ok_or_else(no_such)?;
            contacts::delete(tx, work.tenant.id, id).await?;
            work.tell(tx, "contact.deleted", view::json(&view::contact(&contact, &schema))).await?;
            work.record(tx, "contact.deleted", id, &json!({})).await
        })
    });
    write.await?;
    settle(engine, &tenant).await;
    Ok(())
}

/// Whether a contact was made by hand, by a person or by the operator. What a tenant's own programs make, one for each of its customers, is told by the event only: an entry for each would
/// bury what people did.
const fn by_hand(caller: &Caller) -> bool {
    caller.user_id.is_some() || caller.acts_for_operator()
}

/// What every change needs inside its transaction.
pub(crate) struct Work {
    pub(crate) tenant: Arc<Tenant>,
    caller: Caller,
    ids: Arc<model::Ids>,
    shard: i64,
    pub(crate) now: Timestamp,
}

impl Work {
    pub(crate) fn new(engine: &Engine, tenant: &Arc<Tenant>, caller: &Caller, now: Timestamp) -> Self {
        Self {
            tenant: Arc::clone(tenant),
            caller: caller.clone(),
            ids: Arc::clone(&engine.ports.ids),
            shard: engine.shard(),
            now,
        }
    }

    /// Tells the tenant of a change, in its transaction.
    pub(crate) async fn tell(&self, tx: &mut Tx, kind: &str, data: String) -> Result<(), Error> {
        let mut writes = Writes::default();
        writes.event(&self.tenant, kind, data, self.now, &self.ids);
        Ok(writes.write(tx, self.shard).await?)
    }

    /// Puts a change into the audit log.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx,
        action: &'static str,
        subject: impl std::fmt::Display + Send,
        detail: &serde_json::Value,
    ) -> Result<(), Error> {
        audit::record(tx, self.tenant.id, &self.ids, self.now, &self.caller, action, subject, detail).await
    }
}

/// After a change is on disk: streams and endpoints hear of it, and this node learns that the tenant has contacts.
pub(crate) async fn settle(engine: &Engine, tenant: &Tenant) {
    engine.wakers.wake(tenant.id);
    for endpoint in &tenant.endpoints {
        crate::endpoints::nudge(engine, tenant.id, endpoint.id);
    }
    if !tenant.has_contacts {
        engine.directory.catch_up().await;
    }
}

/// Refuses a contact whose id, address or number another one has, naming that one.
pub(crate) async fn refuse_taken(tx: &mut Tx, contact: &Contact) -> Result<(), Error> {
    let chat = contact.telegram_chat_id.map(|chat| chat.to_string());
    let keys = [
        (Key::ExternalId, "/external_id", contact.external_id.as_ref()),
        (Key::Email, "/email", contact.email.as_ref()),
        (Key::Phone, "/phone", contact.phone.as_ref()),
        (Key::Telegram, "/telegram_chat_id", chat.as_ref()),
    ];
    let mut errors = Vec::new();
    for (key, pointer, value) in keys {
        let Some(value) = value else { continue };
        let given = [(contact.tenant_id, value.clone())];
        for (_, _, other) in contacts::owners(tx, key, &given).await? {
            if other != contact.id {
                errors.push(FieldError::new(pointer, format!("the contact {other} has it already")));
            }
        }
    }
    match errors.first() {
        None => Ok(()),
        Some(first) => {
            let detail = format!(
                "{}: {}. Change that contact, or merge the two with POST /v1/contacts/{{id}}/merge.",
                first.pointer, first.detail
            );
            Err(Error { errors, ..Error::conflict("contact_exists", detail) })
        }
    }
}

fn taken_meanwhile() -> Error {
    Error::conflict("contact_exists", "Another request has just made a contact with the same id, address or number.")
}

/// What the database refuses here is a key that another request took first.
pub(crate) fn taken(error: store::Error) -> Error {
    match error {
        store::Error::Conflict { .. } => taken_meanwhile(),
        other => other.into(),
    }
}

pub(crate) fn no_such() -> Error {
    Error::not_found("contact")
}

pub(crate) fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("contacts:read")?;
    caller.need_tenant()
}

pub(crate) async fn writer(engine: &Engine, caller: &Caller) -> Result<(Arc<Tenant>, Timestamp), Error> {
    caller.need("contacts:write")?;
    let (_, tenant) = engine.tenant(caller.need_tenant()?).await?;
    Ok((tenant, engine.ports.clock.now()))
}

/// 422 for a limit that is reached.
pub(crate) fn full(code: &'static str, detail: String) -> Error {
    Error::new(ErrorKind::Conflict, code, detail)
}

/// An attribute by name.
pub(crate) fn attribute<'a>(schema: &'a [Attribute], name: &str) -> Option<&'a Attribute> {
    schema.binary_search_by(|attribute| attribute.name.as_str().cmp(name)).ok().map(|index| &schema[index])
}
