//! Webhook endpoints: a tenant's own URLs that are told what happens, as Standard Webhooks (<https://www.standardwebhooks.com>).
//!
//! An endpoint is a row in `endpoints` and, under the same sixteen bytes, an account of the internal connector `webhook` whose sealed settings hold the URL and the signing
//! secrets; both are written together. Events to an endpoint are messages over the channel `webhook`: they walk the same path as every message, in a lane of
//! their own, so one receiver that hangs delays nobody else. Retries last three days; an endpoint that takes nothing for five is switched off, with an event to the others.
//!
//! Everything a receiver gets carries the event's id, the same over retries, resends and replays: that is how it drops repeats.

mod changes;
mod deliveries;
mod event_types;
mod jobs;
mod replay;
mod view;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use connectors::{registry, webhook};
use model::{Class, EndpointId, Ids, Priority, Purpose, Secret, TenantId, Values};
use serde::Deserialize;
use store::{Tx, account_states, endpoints};
use utoipa::ToSchema;

pub use deliveries::{
    DeliveryAttempt, DeliveryQuery, EndpointDelivery, EndpointDeliveryDetail, deliveries, delivery, retry, test,
};
pub use event_types::{EVENT_TYPES, check as check_events};
pub use jobs::{disable_failing, expire_secrets, withdraw_idle};
pub use replay::{REPLAY_MAX, ReplayRequest, replay};
pub use view::{DeliveryQueued, EndpointFailing, EndpointState, EndpointView, EndpointWithSecret, ReplayQueued};

use crate::{
    Engine, Error,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Endpoints a tenant can have: each event is queued once for each of them, and all are read together whenever the tenant is.
pub const ENDPOINTS_MAX: u64 = 100;
/// How long a former secret signs beside its successor unless the request says otherwise, in seconds: a day.
pub const OVERLAP_S: u32 = 86_400;
/// The longest overlap, in seconds: a week, so that a secret that got out does not stay in use for long.
pub const OVERLAP_MAX_S: u32 = 7 * 86_400;
/// Longest URL, in bytes: what common servers and proxies take.
const URL_MAX: usize = 2_048;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 500;
/// Bytes of a signing secret; the specification asks for 24 to 64.
const SECRET_LEN: usize = 32;

/// The lane of everything that goes to endpoints, as [`crate::writes::Writes::webhook_message`] queues it.
const CLASS: Class = Class::new(Purpose::Transactional, Priority::Normal);

/// An endpoint to be made.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEndpoint {
    /// Where events are posted: a public `https` (or `http`) URL.
    #[schema(example = "https://shop.example/hooks/tidings")]
    pub url: String,
    /// What it is for. At most 500 characters.
    #[serde(default)]
    pub description: Option<String>,
    /// Which events it gets: `*` (default), a noun such as `message.*`, or types by name.
    #[serde(default)]
    #[schema(example = json!(["message.*"]))]
    pub events: Option<Vec<String>>,
    /// False to make it without using it yet.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// Changes of an endpoint.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointPatch {
    /// Where events are posted.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub url: Patch<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// Which events it gets; `null` for all.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub events: Patch<Vec<String>>,
    /// True switches it on and tries what waits at once; false switches it off, and what waits is kept for up to three days.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
}

/// How a secret is replaced.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RotateSecret {
    /// How long former secrets sign beside the new one, in seconds: 0 to 604800, a day when left out.
    #[serde(default)]
    #[schema(example = 86400)]
    pub overlap_s: Option<u32>,
}

/// Adds an endpoint; the answer shows its signing secret this once. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewEndpoint) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let events = new.events.unwrap_or_else(|| vec!["*".to_owned()]);
    let description = new.description.unwrap_or_default();
    let mut faults = Faults::default();
    check_url(&mut faults, engine, &new.url);
    check_description(&mut faults, &description);
    event_types::add_faults(&mut faults, &events, "/events");
    faults.end()?;
    let is_enabled = new.enabled.unwrap_or(true);
    let row = endpoints::Endpoint {
        id: EndpointId::from_ulid(engine.ports.ids.ulid(now)),
        tenant_id: tenant,
        url: new.url,
        description,
        events: words(&events),
        state: if is_enabled { view::ACTIVE } else { view::DISABLED }.to_owned(),
        state_reason: None,
        previous_secret_until: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let secret = new_secret(&engine.ports.ids);
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move { changes::insert(tx, &inner, &by, &row, &secret, now).await })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

/// Lists the tenant's endpoints, newest first. Needs the scope `webhooks:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<EndpointView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("webhook-endpoints", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let rows = endpoints::list(tx, tenant, EndpointId::from_ulid(window.before), window.rows()).await?;
            Ok::<_, Error>((rows, account_states::of_tenant(tx, tenant).await?))
        })
    });
    let (rows, states) = read.await?;
    let running = |id: EndpointId| states.iter().find(|state| state.account_id == id.account());
    Ok(window.page(rows, |row| row.id.ulid(), |row| view::endpoint(&row, running(row.id))))
}

/// Reads one of the tenant's endpoints. Needs the scope `webhooks:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: EndpointId) -> Result<EndpointView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find(tx, tenant, id).await?;
            changes::shown(tx, &row).await
        })
    });
    read.await
}

/// Changes an endpoint. Switching it on, or giving it another URL, ends its pause: what waits is tried at once. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: EndpointId,
    change: EndpointPatch,
) -> Result<EndpointView, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    if let Patch::Set(url) = &change.url {
        check_url(&mut faults, engine, url);
    }
    if let Patch::Set(description) = &change.description {
        check_description(&mut faults, description);
    }
    if let Patch::Set(events) = &change.events {
        event_types::add_faults(&mut faults, events, "/events");
    }
    faults.end()?;
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::patch(tx, &inner, &by, tenant, id, change, now).await })
    });
    let (after, is_healed) = write.await?;
    engine.directory.catch_up().await;
    if is_healed {
        engine.dispatcher.lanes().pause(id.account(), None, false);
        nudge(engine, tenant, id);
    }
    Ok(after)
}

/// Deletes an endpoint and its secrets, and withdraws what waits for it. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: EndpointId) -> Result<(), Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::delete(tx, &inner, &by, tenant, id, now).await })
    });
    write.await?;
    engine.directory.catch_up().await;
    // The job does what is left, should this not be all.
    if let Err(error) = jobs::withdraw(engine, tenant, id).await {
        tracing::warn!(%error, endpoint.id = %id, "Cannot withdraw the events of a deleted endpoint yet");
    }
    Ok(())
}

/// Gives an endpoint a new secret, shown this once; former ones sign beside it until the overlap ends. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn rotate_secret(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: EndpointId,
    request: RotateSecret,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let overlap_s = request.overlap_s.unwrap_or(OVERLAP_S);
    if overlap_s > OVERLAP_MAX_S {
        return Err(Error::invalid("/overlap_s", format!("0 to {OVERLAP_MAX_S} seconds (7 days)")));
    }
    let secret = new_secret(&engine.ports.ids);
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Sealed, move |tx| {
        Box::pin(async move { changes::rotate(tx, &inner, &by, tenant, id, overlap_s, &secret, now).await })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("webhooks:read")?;
    caller.need_tenant()
}

fn writer(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("webhooks:write")?;
    caller.need_tenant()
}

async fn find(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<endpoints::Endpoint, Error> {
    endpoints::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("webhook endpoint"))
}

/// An endpoint that events can be queued for.
async fn find_active(tx: &mut Tx, tenant: TenantId, id: EndpointId) -> Result<endpoints::Endpoint, Error> {
    let row = find(tx, tenant, id).await?;
    if row.state == view::ACTIVE {
        return Ok(row);
    }
    Err(Error::conflict(
        "endpoint_disabled",
        format!("The endpoint {id} is switched off. Switch it on with PATCH {{\"enabled\": true}} first."),
    )
    .with_action("ENABLE_ENDPOINT"))
}

/// Says that an endpoint's lane has work.
pub(crate) fn nudge(engine: &Engine, tenant: TenantId, id: EndpointId) {
    engine.dispatcher.nudge(tenant, id.account(), CLASS, engine.ports.clock.now());
}

fn check_url(faults: &mut Faults, engine: &Engine, url: &str) {
    if url.len() > URL_MAX {
        faults.add("/url", format!("at most {URL_MAX} bytes"));
        return;
    }
    let connector = registry::find("webhook").expect("the registry has the connector of endpoints");
    // The secret is only there so that the connector sees whole settings.
    let values = settings(url, &[&format!("{}{}", webhook::SECRET_PREFIX, STANDARD.encode([0; SECRET_LEN]))]);
    if let Err(bad) = connector.check(&values) {
        faults.add("/url", bad.detail);
    } else if let Err(refusal) = engine.ports.transport.check_url(url) {
        faults.add("/url", refusal);
    }
}

fn check_description(faults: &mut Faults, text: &str) {
    if text.chars().count() > DESCRIPTION_MAX {
        faults.add("/description", format!("at most {DESCRIPTION_MAX} characters"));
    }
    if text.contains('\0') {
        faults.add("/description", "no NUL characters");
    }
}

/// The account's settings: `secrets` is newest first.
fn settings(url: &str, secrets: &[&str]) -> Values {
    let mut values = Values::default();
    values.set("url", url);
    values.set("secrets", secrets.join(" "));
    values
}

fn new_secret(ids: &Ids) -> Secret {
    let mut bytes = zeroize::Zeroizing::new([0; SECRET_LEN]);
    ids.fill(&mut *bytes);
    Secret::new(format!("{}{}", webhook::SECRET_PREFIX, STANDARD.encode(*bytes)))
}

/// Filters as the row keeps them, each once.
fn words(filters: &[String]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for filter in filters {
        if !once.contains(&filter.as_str()) {
            once.push(filter);
        }
    }
    once.join(" ")
}
