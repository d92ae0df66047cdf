//! Lists: contacts put together by hand or by an import.

use model::{ContactId, ListId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Tx, contact_attributes,
    contacts::{self, Audience, Search},
    lists::{self, List},
};
use utoipa::ToSchema;

use super::{ContactView, Work, full, reader, view as contact_view, writer};
use crate::{
    Engine, Error, FieldError, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Lists a tenant can have: more are segments.
pub const LISTS_MAX: i64 = 1_000;
/// Contacts added or removed by one request.
pub const MEMBERS_MAX: usize = 10_000;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 1_000;

/// A list to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewList {
    /// Name for people.
    #[schema(example = "Newsletter")]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

/// Changes of a list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ListPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
}

/// Contacts to add or remove.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Members {
    /// 1 to 10,000 contacts.
    #[schema(value_type = Vec<String>)]
    pub contact_ids: Vec<ContactId>,
}

/// A list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ListView {
    /// Its id.
    #[schema(value_type = String, example = "lst_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ListId,
    /// Name for people.
    #[schema(example = "Newsletter")]
    pub name: String,
    /// What it is for.
    pub description: String,
    /// How many contacts are on it.
    #[schema(example = 1_204)]
    pub contacts: i64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its name or description last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// How many contacts a request added or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct MembersChanged {
    /// Contacts that were not on the list before, or are not any more.
    #[schema(example = 2)]
    pub changed: u64,
    /// How many contacts are on the list now.
    #[schema(example = 1_206)]
    pub contacts: i64,
}

async fn view(tx: &mut Tx, list: &List) -> Result<ListView, Error> {
    Ok(ListView {
        id: list.id,
        name: list.name.clone(),
        description: list.description.clone(),
        contacts: contacts::count(tx, list.tenant_id, &Audience::List(list.id)).await?,
        created_at: list.created_at,
        updated_at: list.updated_at,
    })
}

/// The tenant's list, or 404.
pub(crate) async fn found(tx: &mut Tx, tenant: TenantId, id: ListId) -> Result<List, Error> {
    lists::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("list"))
}

/// What the audit log holds of a list: who is on it stands in no entry, only how many came or went.
fn told(list: &List) -> Value {
    json!({"name": list.name, "description": list.description})
}

/// A description of up to 1,000 characters.
pub(crate) fn description(faults: &mut Faults, text: &str) -> String {
    let text = text.trim();
    if text.chars().count() > DESCRIPTION_MAX {
        faults.add("/description", format!("at most {DESCRIPTION_MAX} characters"));
    }
    if text.contains('\0') {
        faults.add("/description", "no NUL characters");
    }
    text.to_owned()
}

/// Makes a list. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewList) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let mut faults = Faults::default();
    let list = List {
        tenant_id: tenant.id,
        id: ListId::from_ulid(engine.ports.ids.ulid(now)),
        name: faults.name("/name", &new.name),
        description: description(&mut faults, new.description.as_deref().unwrap_or_default()),
        created_at: now,
        updated_at: now,
    };
    faults.end()?;
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            if lists::count(tx, list.tenant_id).await? >= LISTS_MAX {
                let detail =
                    format!("There are {LISTS_MAX} lists already, which is the most. Delete those nobody uses.");
                return Err(full("too_many_lists", detail));
            }
            lists::insert(tx, &list).await?;
            work.record(tx, "list.created", list.id, &told(&list)).await?;
            view(tx, &list).await
        })
    })
    .await
}

/// Lists the tenant's lists, newest first. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ListView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("lists", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in lists::list(tx, tenant, ListId::from_ulid(window.before), window.rows()).await? {
                views.push(view(tx, &row).await?);
            }
            Ok::<_, Error>(views)
        })
    });
    Ok(window.page(read.await?, |view| view.id.ulid(), |view| view))
}

/// Reads a list. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: ListId) -> Result<ListView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let list = found(tx, tenant, id).await?;
            view(tx, &list).await
        })
    });
    read.await
}

/// Changes a list's name and description. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, id: ListId, change: ListPatch) -> Result<ListView, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let mut list = found(tx, work.tenant.id, id).await?;
            let before = told(&list);
            let mut faults = Faults::default();
            list.name = change.name.required(list.name, "/name", &mut faults.0);
            list.name = faults.name("/name", &list.name);
            list.description = description(&mut faults, &change.description.or(list.description, String::new()));
            list.updated_at = now;
            faults.end()?;
            lists::update(tx, &list).await?;
            work.record(tx, "list.updated", id, &audit::difference(&before, &told(&list))).await?;
            view(tx, &list).await
        })
    });
    write.await
}

/// Removes a list; the contacts stay. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: ListId) -> Result<(), Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let list = found(tx, work.tenant.id, id).await?;
            lists::delete(tx, work.tenant.id, id).await?;
            work.record(tx, "list.deleted", id, &told(&list)).await
        })
    });
    write.await
}

/// Which way contacts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Onto the list.
    Add,
    /// Off it.
    Remove,
}

/// Puts contacts on a list or takes them off, all or none. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn change_members(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: ListId,
    way: Way,
    members: Members,
) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    if !(1..=MEMBERS_MAX).contains(&members.contact_ids.len()) {
        return Err(Error::invalid("/contact_ids", format!("1 to {MEMBERS_MAX} contacts")));
    }
    once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let tenant = work.tenant.id;
            let list = found(tx, tenant, id).await?;
            let changed = match way {
                Way::Remove => lists::remove(tx, tenant, id, &members.contact_ids).await?,
                Way::Add => {
                    must_exist(tx, tenant, &members.contact_ids).await?;
                    lists::add(tx, tenant, id, &members.contact_ids, now).await?
                }
            };
            let contacts = contacts::count(tx, tenant, &Audience::List(list.id)).await?;
            if changed > 0 {
                let action = match way {
                    Way::Add => "list.contacts_added",
                    Way::Remove => "list.contacts_removed",
                };
                work.record(tx, action, id, &json!({"changed": changed, "contacts": contacts})).await?;
            }
            Ok::<_, Error>(MembersChanged { changed, contacts })
        })
    })
    .await
}

async fn must_exist(tx: &mut Tx, tenant: TenantId, ids: &[ContactId]) -> Result<(), Error> {
    let known = contacts::known(tx, tenant, ids).await?;
    let missing = ids.iter().enumerate().filter(|(_, id)| !known.contains(id));
    let bad: Vec<FieldError> = missing
        .take(100)
        .map(|(index, _)| FieldError::new(format!("/contact_ids/{index}"), "there is no such contact"))
        .collect();
    if bad.is_empty() { Ok(()) } else { Err(Error::invalid_fields(bad)) }
}

/// The lists a contact is on, by name. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn of_contact(engine: &Engine, caller: &Caller, contact: ContactId) -> Result<Vec<ListView>, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            contacts::find(tx, tenant, contact).await?.ok_or_else(super::no_such)?;
            let mut on = Vec::new();
            for id in lists::of_contact(tx, tenant, contact).await? {
                let list = found(tx, tenant, id).await?;
                on.push(view(tx, &list).await?);
            }
            Ok::<_, Error>(on)
        })
    });
    let mut on = read.await?;
    on.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(on)
}

/// Lists the contacts on a list, newest first. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn members(
    engine: &Engine,
    caller: &Caller,
    id: ListId,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ContactView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("list_contacts", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let search = Search { text: None, audience: Audience::List(found(tx, tenant, id).await?.id) };
            let before = ContactId::from_ulid(window.before);
            let rows = contacts::search(tx, tenant, &search, before, window.rows()).await?;
            Ok::<_, Error>((rows, contact_attributes::all(tx, tenant).await?))
        })
    });
    let (rows, schema) = read.await?;
    Ok(window.page(rows, |row| row.id.ulid(), |row| contact_view::contact(&row, &schema)))
}
