//! Segments: contacts described by conditions, kept as the JSON tree the tenant gave and looked up anew at every use.
//!
//! `conditions` reads a tree against the tenant's attributes and the present instant; the store makes one query of it. A segment has no members of its own: who belongs to it
//! is decided when somebody asks.

pub mod conditions;

use std::sync::Arc;

use model::{Channel, SegmentId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Tx, contact_attributes,
    contacts::{self, Audience},
    segments::{self, Condition, Segment},
};
use utoipa::ToSchema;

use crate::{
    Engine, Error, audit,
    contacts::{ContactView, Work, full, lists::description, reader, shown, writer},
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Segments a tenant can have: each is somebody's question, not a row.
pub const SEGMENTS_MAX: i64 = 1_000;
/// Contacts a preview shows.
const SAMPLE: i64 = 10;

/// A segment to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSegment {
    /// Name for people.
    #[schema(example = "Active in German")]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The conditions: `{"all": […]}`, `{"any": […]}`, `{"not": …}`, or one about an attribute, a field, a list or messages.
    #[schema(value_type = Object)]
    pub conditions: Value,
}

/// Changes of a segment.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// The conditions, as a whole.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub conditions: Patch<Value>,
}

/// What to count.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewRequest {
    /// The conditions, as in a segment.
    #[schema(value_type = Object)]
    pub conditions: Value,
    /// Also how many of them can be sent marketing over this channel.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// About this topic.
    #[serde(default)]
    pub topic: Option<String>,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SegmentView {
    /// Its id.
    #[schema(value_type = String, example = "seg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: SegmentId,
    /// Name for people.
    #[schema(example = "Active in German")]
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The conditions.
    #[schema(value_type = Object)]
    pub conditions: Value,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Who belongs to a segment now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Preview {
    /// How many contacts.
    #[schema(example = 1_204)]
    pub contacts: i64,
    /// The first of them.
    pub sample: Vec<ContactView>,
    /// How many of them can be sent marketing, when a channel was asked about.
    pub remaining: Option<Remaining>,
}

/// How many contacts are left over a channel, each number of those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Remaining {
    /// Over which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// Have an address.
    #[schema(example = 1_100)]
    pub with_address: i64,
    /// And agreed to marketing.
    #[schema(example = 900)]
    pub with_consent: i64,
    /// And are not suppressed: these would be sent it.
    #[schema(example = 890)]
    pub not_suppressed: i64,
}

/// Over which channel somebody wants to write, and about what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Way {
    /// The channel; nothing is counted without one.
    pub channel: Option<Channel>,
    /// The topic.
    pub topic: Option<String>,
}

fn view(row: &Segment) -> SegmentView {
    SegmentView {
        id: row.id,
        name: row.name.clone(),
        description: row.description.clone(),
        conditions: serde_json::from_str(&row.conditions).unwrap_or_default(),
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

/// What the audit log holds of a segment.
fn told(row: &Segment) -> Value {
    let view = view(row);
    json!({"name": view.name, "description": view.description, "conditions": view.conditions})
}

/// The tenant's segment, or 404.
pub(crate) async fn found(tx: &mut Tx, tenant: TenantId, id: SegmentId) -> Result<Segment, Error> {
    segments::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("segment"))
}

/// The contacts of a segment at this instant. What it names may be gone by now: then this says so.
#[crate::boxed]
pub async fn audience(tx: &mut Tx, tenant: TenantId, id: SegmentId, now: Timestamp) -> Result<Audience, Error> {
    let segment = found(tx, tenant, id).await?;
    let tree: Value = serde_json::from_str(&segment.conditions).map_err(Error::internal)?;
    let condition = compile(tx, tenant, &tree, now).await.map_err(|error| {
        let detail =
            format!("The segment {} ({id}) cannot be used: {} Change its conditions.", segment.name, error.detail);
        Error { errors: Vec::new(), ..Error::conflict("segment_unusable", detail) }
    })?;
    Ok(Audience::Segment(Arc::new(condition)))
}

async fn compile(tx: &mut Tx, tenant: TenantId, tree: &Value, now: Timestamp) -> Result<Condition, Error> {
    let schema = contact_attributes::all(tx, tenant).await?;
    let condition = conditions::read(tree, "/conditions", &schema, now)?;
    for list in conditions::lists(&condition) {
        if store::lists::find(tx, tenant, list).await?.is_none() {
            return Err(Error::invalid("/conditions", format!("there is no such list: {list}")));
        }
    }
    Ok(condition)
}

/// Makes a segment. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewSegment) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let mut faults = Faults::default();
    let segment = Segment {
        tenant_id: tenant.id,
        id: SegmentId::from_ulid(engine.ports.ids.ulid(now)),
        name: faults.name("/name", &new.name),
        description: description(&mut faults, new.description.as_deref().unwrap_or_default()),
        conditions: new.conditions.to_string(),
        created_at: now,
        updated_at: now,
    };
    faults.end()?;
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            compile(tx, segment.tenant_id, &new.conditions, now).await?;
            if segments::count(tx, segment.tenant_id).await? >= SEGMENTS_MAX {
                let detail =
                    format!("There are {SEGMENTS_MAX} segments already, which is the most. Delete those nobody uses.");
                return Err(full("too_many_segments", detail));
            }
            segments::insert(tx, &segment).await?;
            work.record(tx, "segment.created", segment.id, &told(&segment)).await?;
            Ok(view(&segment))
        })
    })
    .await
}

/// Lists the tenant's segments, newest first. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<SegmentView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("segments", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            Ok::<_, Error>(segments::list(tx, tenant, SegmentId::from_ulid(window.before), window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view(&row)))
}

/// Reads a segment. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: SegmentId) -> Result<SegmentView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| Box::pin(async move { found(tx, tenant, id).await }));
    Ok(view(&read.await?))
}

/// Changes a segment. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: SegmentId,
    change: SegmentPatch,
) -> Result<SegmentView, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let tenant = work.tenant.id;
            let mut segment = found(tx, tenant, id).await?;
            let before = told(&segment);
            let mut faults = Faults::default();
            segment.name = change.name.required(segment.name, "/name", &mut faults.0);
            segment.name = faults.name("/name", &segment.name);
            segment.description = description(&mut faults, &change.description.or(segment.description, String::new()));
            match change.conditions {
                Patch::Keep => {}
                Patch::Clear => faults.add("/conditions", "this field cannot be removed; give a value or leave it out"),
                Patch::Set(tree) => {
                    compile(tx, tenant, &tree, now).await?;
                    segment.conditions = tree.to_string();
                }
            }
            faults.end()?;
            segment.updated_at = now;
            segments::update(tx, &segment).await?;
            work.record(tx, "segment.updated", id, &audit::difference(&before, &told(&segment))).await?;
            Ok::<_, Error>(view(&segment))
        })
    });
    write.await
}

/// Removes a segment; the contacts stay. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: SegmentId) -> Result<(), Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let segment = found(tx, work.tenant.id, id).await?;
            segments::delete(tx, work.tenant.id, id).await?;
            work.record(tx, "segment.deleted", id, &told(&segment)).await
        })
    });
    write.await
}

/// Counts the contacts of a stored segment and shows some. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn preview_stored(engine: &Engine, caller: &Caller, id: SegmentId, way: Way) -> Result<Preview, Error> {
    let tenant = reader(caller)?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let Audience::Segment(condition) = audience(tx, tenant, id, now).await? else {
                return Err(Error::internal("a segment is an audience of conditions"));
            };
            look(tx, tenant, condition, &way).await
        })
    });
    read.await
}

/// Counts the contacts conditions describe and shows some; nothing is kept. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn preview(engine: &Engine, caller: &Caller, request: PreviewRequest) -> Result<Preview, Error> {
    let tenant = reader(caller)?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let condition = compile(tx, tenant, &request.conditions, now).await?;
            let way = Way { channel: request.channel, topic: request.topic };
            look(tx, tenant, Arc::new(condition), &way).await
        })
    });
    read.await
}

async fn look(tx: &mut Tx, tenant: TenantId, condition: Arc<Condition>, way: &Way) -> Result<Preview, Error> {
    let audience = &Audience::Segment(Arc::clone(&condition));
    let contacts = contacts::count(tx, tenant, audience).await?;
    let sample = if contacts == 0 {
        Vec::new()
    } else {
        contacts::page(tx, tenant, audience, model::ContactId::from_ulid(0), SAMPLE).await?
    };
    let schema = contact_attributes::all(tx, tenant).await?;
    let sample = sample.iter().map(|contact| shown(contact, &schema)).collect();
    let remaining = match way.channel {
        Some(channel) => Some(remaining(tx, tenant, &condition, channel, way.topic.as_deref()).await?),
        None => None,
    };
    Ok(Preview { contacts, sample, remaining })
}

/// Counts who is left after the address, consent and the suppression list, one query each.
async fn remaining(
    tx: &mut Tx,
    tenant: TenantId,
    condition: &Condition,
    channel: Channel,
    topic: Option<&str>,
) -> Result<Remaining, Error> {
    let mut parts = vec![condition.clone()];
    let mut counts = [0; 3];
    let steps = [
        Condition::Reachable(channel),
        conditions::agreed(channel, topic),
        Condition::Not(Box::new(Condition::Suppressed(channel, true))),
    ];
    for (step, count) in steps.into_iter().zip(&mut counts) {
        parts.push(step);
        let audience = Audience::Segment(Arc::new(Condition::All(parts.clone())));
        *count = contacts::count(tx, tenant, &audience).await?;
    }
    let [with_address, with_consent, not_suppressed] = counts;
    Ok(Remaining { channel, with_address, with_consent, not_suppressed })
}
