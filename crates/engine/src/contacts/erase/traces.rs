//! Where people are named besides in their own rows: events and their copies, providers' requests, recorded exchanges, kept answers, messages that repeat, campaigns, files. Each look goes through a
//! tenant's rows once, in bounded steps, for any number of people at once.

use std::{collections::BTreeSet, sync::Arc};

use model::{AttachmentId, CallbackId, CampaignId, MessageId, ScheduleId, TenantId};
use serde_json::{Value, json};
use store::{
    Scope, attachments, campaigns, erasure, events,
    messages::ContentId,
    schedules::{self, Schedule},
};

use super::Person;
use crate::{Engine, Error, contacts::naming::Text};

/// Events and callbacks one transaction looks at.
const LOOKED_AT: i64 = 500;
/// Campaigns and schedules one transaction looks at: each may be large.
const LARGE: i64 = 100;
/// Contents one snapshot looks at.
const CONTENTS: i64 = 2_000;
/// What an emptied event or kept answer carries.
const EMPTIED: &str = r#"{"erased":true}"#;

/// Those to look for, of one tenant.
pub(super) struct People {
    pub tenant: TenantId,
    pub all: Vec<Arc<Person>>,
}

impl People {
    /// True when a text that Tidings or the tenant wrote names one of them.
    fn are_in(&self, text: &str) -> bool {
        self.are_in_a(Text::Ours, text)
    }

    fn are_in_a(&self, kind: Text, text: &str) -> bool {
        let small = text.to_lowercase();
        self.all.iter().any(|person| person.is_in_small(&small, kind))
    }

    /// The text without their names.
    fn taken_out(&self, text: &str) -> String {
        self.all.iter().fold(text.to_owned(), |text, person| person.taken_out(&text))
    }
}

/// Empties events that tell of them, and their copies for endpoints.
pub(super) async fn told(engine: &Engine, people: &Arc<People>) -> Result<u64, Error> {
    let (mut count, mut after) = (0, events::Place::default());
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = events::all_after(tx, of.tenant, after, LOOKED_AT).await?;
                let mut emptied = 0;
                for (place, event) in page.iter().filter(|(_, event)| of.are_in(&event.data)) {
                    events::replace_data(tx, of.tenant, *place, EMPTIED).await?;
                    let copy =
                        crate::writes::webhook_body(&events::Event { data: EMPTIED.to_owned(), ..event.clone() });
                    let copy = json!({"channel": "webhook", "event_id": event.id, "body": copy}).to_string();
                    erasure::empty_content(tx, of.tenant, ContentId(event.id.ulid()), &copy).await?;
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

/// Empties what providers sent about them.
pub(super) async fn logged(engine: &Engine, people: &Arc<People>) -> Result<u64, Error> {
    let (mut count, mut after) = (0, CallbackId::from_ulid(0));
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = erasure::callbacks(tx, of.tenant, after, LOOKED_AT).await?;
                let mut emptied = 0;
                for (id, query, headers, body) in &page {
                    let body = String::from_utf8_lossy(body);
                    if [body.as_ref(), query, headers].into_iter().any(|text| of.are_in_a(Text::Provider, text)) {
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

/// Empties what was exchanged with the tenant's own endpoints about them.
pub(super) async fn exchanged(engine: &Engine, people: &Arc<People>) -> Result<(), Error> {
    let mut after = (MessageId::from_ulid(0), 0);
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = erasure::exchanges(tx, of.tenant, after, LOOKED_AT).await?;
                for (message, number, _) in page.iter().filter(|(.., exchange)| of.are_in(exchange)) {
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

/// Empties answers that were kept under idempotency keys: the requests stay done, and are still not done twice.
pub(super) async fn answered(engine: &Engine, people: &Arc<People>) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = erasure::answers(tx, of.tenant, &after, LOOKED_AT).await?;
                for (key, _) in page.iter().filter(|(_, body)| of.are_in(&String::from_utf8_lossy(body))) {
                    erasure::empty_answer(tx, of.tenant, key, EMPTIED.as_bytes()).await?;
                }
                Ok::<_, Error>(page.into_iter().next_back().map(|(key, _)| key))
            })
        });
        match write.await? {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// Removes messages to them that repeat, and takes their names out of those to others. Answers how many were removed.
pub(super) async fn repeated(engine: &Engine, people: &Arc<People>) -> Result<u64, Error> {
    let (mut count, mut before) = (0, ScheduleId::from_ulid(u128::MAX));
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = schedules::list(tx, of.tenant, before, LARGE).await?;
                let mut removed = 0;
                for row in page.iter().filter(|row| of.are_in(&row.request) || of.are_in(&row.name)) {
                    let request: Value = serde_json::from_str(&row.request).unwrap_or_default();
                    if of.are_in(&request["to"].to_string()) {
                        removed += u64::from(schedules::delete(tx, of.tenant, row.id).await?);
                        continue;
                    }
                    // Locked and read again: an occurrence may have moved it on.
                    if let Some(row) = schedules::lock(tx, of.tenant, row.id).await? {
                        let (request, name) = (of.taken_out(&row.request), of.taken_out(&row.name));
                        schedules::update(tx, &Schedule { request, name, ..row }).await?;
                    }
                }
                Ok::<_, Error>((removed, page.last().map(|row| row.id)))
            })
        });
        let (removed, last) = write.await?;
        count += removed;
        match last {
            Some(last) => before = last,
            None => return Ok(count),
        }
    }
}

/// Takes them out of campaigns that name them one by one, and their addresses out of what campaigns say.
pub(super) async fn meant(engine: &Engine, people: &Arc<People>) -> Result<(), Error> {
    let mut before = CampaignId::from_ulid(u128::MAX);
    loop {
        let of = Arc::clone(people);
        let write = engine.ports.db.write(Scope::Tenant(people.tenant), move |tx| {
            Box::pin(async move {
                let page = campaigns::list(tx, of.tenant, before, LARGE).await?;
                let named = |row: &&campaigns::Campaign| {
                    [&row.definition, &row.name, &row.description].into_iter().any(|text| of.are_in(text))
                };
                for row in page.iter().filter(named) {
                    let Some(mut row) = campaigns::lock(tx, of.tenant, row.id).await? else { continue };
                    let mut definition: Value = serde_json::from_str(&row.definition).unwrap_or_default();
                    if let Some(ids) = definition.pointer_mut("/audience/contact_ids").and_then(Value::as_array_mut) {
                        ids.retain(|id| of.all.iter().all(|person| *id != json!(person.id)));
                    }
                    row.definition = of.taken_out(&definition.to_string());
                    (row.name, row.description) = (of.taken_out(&row.name), of.taken_out(&row.description));
                    campaigns::update(tx, &row).await?;
                }
                Ok::<_, Error>(page.last().map(|row| row.id))
            })
        });
        match write.await? {
            Some(last) => before = last,
            None => return Ok(()),
        }
    }
}

/// Lets go of files that came with messages to them and stand in nobody else's. Uploads are the tenant's own, and stay. Answers how many went.
pub(super) async fn files(engine: &Engine, people: &People, named: BTreeSet<AttachmentId>) -> Result<u64, Error> {
    if named.is_empty() {
        return Ok(0);
    }
    let tenant = people.tenant;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let named: Vec<_> = named.into_iter().collect();
            Ok::<_, Error>(attachments::find_many(tx, tenant, &named).await?)
        })
    });
    let rows = read.await?;
    let mut own: BTreeSet<AttachmentId> = rows.iter().filter(|row| row.purge_at.is_some()).map(|row| row.id).collect();
    let mut after = ContentId(0);
    while !own.is_empty() {
        let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(erasure::contents(tx, tenant, after, CONTENTS).await?) })
        });
        let page = read.await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        own.retain(|id| {
            let id = id.to_string();
            page.iter().all(|(_, body)| !body.contains(&id))
        });
    }
    let now = engine.ports.clock.now();
    let count = own.len() as u64;
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            for id in own {
                erasure::let_go_of_file(tx, tenant, id, now).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await?;
    if count > 0 {
        crate::attachments::purge(engine, now).await?;
    }
    Ok(count)
}
