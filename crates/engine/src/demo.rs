//! Demo tenants: made by the operator's staff to be looked at. Everything can be done in one and nothing leaves it; a week later it is deleted with all it has.
//!
//! That nothing leaves is not decided here: `connectors::registry` gives a demo tenant's accounts the sandbox, whatever their rows say, and nothing turns such a tenant
//! into another. A new one is filled in stages ([`cast`], [`past`], [`bill`], and what is under way), each of which can be repeated: a process that dies leaves the stage that is to
//! be done next, and the job carries on. Afterwards its people answer, and leave, by themselves ([`people`]).

pub(crate) mod bill;
mod cast;
mod past;
mod people;

use std::sync::Arc;

use model::{TenantId, Timestamp, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{Scope, Tx, demo_tenants, demo_tenants::DemoTenant, tenants as rows};
use utoipa::ToSchema;

use crate::{
    Engine, Error, Parts,
    access::{
        sign_in::{self, LinkKind},
        users,
    },
    audit, campaigns,
    keys::Caller,
    once::{IdempotencyKey, Repeat, Reply, Secrecy, fingerprint, once},
    page::{Page, Window},
    tenants::{self, NewTenant, TenantView},
};

pub use self::people::react;

/// The one connector of a demo tenant.
pub const CONNECTOR: &str = "sandbox";
/// Said to whoever wants another.
pub(crate) const ONLY_SANDBOX: &str =
    "a demo tenant sends nothing, so it has the sandbox only: use `sandbox`, which plays every channel";
/// Said to whoever wants a file from elsewhere.
pub(crate) const NO_FETCHING: &str = "a demo tenant fetches nothing from elsewhere; upload the file with POST /v1/attachments, or give it as `content_base64`";
/// How long a demo tenant lives, in seconds: a week.
pub const LIFE_S: i64 = 7 * 86_400;
/// Demo tenants at once: a sales team has a few dozen, and each holds some thousand rows.
const DEMOS_MAX: i64 = 200;
/// Demo tenants one run of a job works on.
const PER_RUN: i64 = 20;
/// After this long, in seconds, filling is given up: the keys that make its steps repeatable are forgotten by then.
const FILLED_WITHIN_S: i64 = 20 * 3_600;
/// The stage of the campaign that ended.
const ENDED_CAMPAIGN: i64 = 1 + past::WEEKS;
/// The stage of plan and invoice, which are about what was.
const BILL: i64 = ENDED_CAMPAIGN + 1;
/// The stage of what is under way.
const UNDER_WAY: i64 = BILL + 1;
/// The stage at which nothing is left to do.
const FILLED: i64 = UNDER_WAY + 1;

/// A demo tenant to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDemoTenant {
    /// Name for people: usually whom it is shown to.
    #[schema(example = "Demo for Globex")]
    pub name: String,
}

/// A demo tenant as its makers see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DemoTenantView {
    /// The tenant's id.
    #[schema(value_type = String, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: TenantId,
    /// Name for people.
    pub name: String,
    /// The user it was made with, who owns it.
    #[schema(value_type = String, example = "usr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub owner_id: UserId,
    /// Signs in as the owner, once, within a day. Shown when it was just made; null otherwise.
    pub link: Option<String>,
    /// False while its contacts, templates, history and campaigns are being made.
    pub is_filled: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is deleted with everything it has.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
}

fn view(row: DemoTenant, name: String, link: Option<String>) -> DemoTenantView {
    DemoTenantView {
        id: row.tenant,
        name,
        owner_id: row.owner,
        link,
        is_filled: row.stage >= FILLED,
        created_at: row.created_at,
        ends_at: row.ends_at,
    }
}

/// Makes a demo tenant with its owner and a link that signs in as them, and fills it. Needs an operator with the scope `demo-tenants:write`.
#[crate::boxed]
pub async fn create(
    engine: &Arc<Engine>,
    caller: &Caller,
    repeat: &Repeat,
    new: NewDemoTenant,
) -> Result<Reply, Error> {
    caller.need_operator("demo-tenants:write")?;
    let parts = engine.parts();
    let now = parts.ports.clock.now();
    let ids = Arc::clone(&parts.ports.ids);
    let id = TenantId::from_ulid(ids.ulid(now));
    let mut row = tenants::check(NewTenant { name: new.name, ..NewTenant::default() }, id, now)?;
    row.is_demo = true;
    let by = tenants::outside(caller);
    let token = sign_in::new_token(&ids);
    let link = users::link_url(parts, LinkKind::SignIn, &token);
    let inner = by.clone();
    let reply = once(parts, &by, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move {
            if demo_tenants::list(tx, TenantId::from_ulid(u128::MAX), DEMOS_MAX).await?.len() as i64 == DEMOS_MAX {
                return Err(Error::conflict(
                    "too_many_demo_tenants",
                    format!(
                        "There are {DEMOS_MAX} demo tenants already, which is the most. Delete those nobody looks at any more."
                    ),
                ));
            }
            let made = tenants::insert(tx, &ids, &inner, row).await?;
            let demo = enrol(tx, &ids, now, &inner, &made, &token).await?;
            Ok::<_, Error>(view(demo, made.name, Some(link)))
        })
    });
    let reply = reply.await?;
    if !reply.replayed {
        fill_now(engine, id).await;
    }
    Ok(reply)
}

async fn enrol(
    tx: &mut Tx,
    ids: &model::Ids,
    now: Timestamp,
    by: &Caller,
    tenant: &TenantView,
    token: &model::Secret,
) -> Result<DemoTenant, Error> {
    // An address nobody could write to, and nobody has: the name of the tenant in it is new.
    let email = format!("owner@{}.demo.localhost", tenant.id.to_string().to_lowercase().replace('_', "-"));
    let inside = Caller { tenant: Some(tenant.id), ..by.clone() };
    let owner = users::make_owner(tx, ids, now, &inside, (&email, "Ada Demo"), token).await?;
    let demo = DemoTenant { tenant: tenant.id, owner, stage: 0, created_at: now, ends_at: now.plus_seconds(LIFE_S) };
    demo_tenants::insert(tx, &demo).await?;
    Ok(demo)
}

/// Fills a tenant that was just made. Should it fail, the job tries again.
async fn fill_now(engine: &Arc<Engine>, id: TenantId) {
    if let Err(error) = fill(engine, id).await {
        tracing::warn!(%error, tenant.id = %id, "A demo tenant could not be filled at once");
    }
}

/// Lists demo tenants, newest first. Needs an operator with the scope `demo-tenants:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<DemoTenantView>, Error> {
    caller.need_operator("demo-tenants:read")?;
    let window = Window::read("demo-tenants", limit, cursor)?;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in demo_tenants::list(tx, TenantId::from_ulid(window.before), window.rows()).await? {
                let name = rows::find(tx, row.tenant).await?.map_or_else(String::new, |tenant| tenant.name);
                views.push(view(row, name, None));
            }
            Ok::<_, Error>(views)
        })
    });
    Ok(window.page(read.await?, |view| view.id.ulid(), |view| view))
}

/// Reads a demo tenant. Needs an operator with the scope `demo-tenants:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: TenantId) -> Result<DemoTenantView, Error> {
    caller.need_operator("demo-tenants:read")?;
    find(parts, id).await
}

async fn find(parts: &Parts, id: TenantId) -> Result<DemoTenantView, Error> {
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>((demo_tenants::find(tx, id).await?, rows::find(tx, id).await?)) })
    });
    match read.await? {
        (Some(row), Some(tenant)) => Ok(view(row, tenant.name, None)),
        _ => Err(Error::not_found("demo tenant")),
    }
}

/// Makes another link that signs in as the owner; the one before is good no longer. Needs an operator with the scope `demo-tenants:write`.
#[crate::boxed]
pub async fn link(parts: &Parts, caller: &Caller, repeat: &Repeat, id: TenantId) -> Result<Reply, Error> {
    caller.need_operator("demo-tenants:write")?;
    let by = tenants::outside(caller);
    let (ids, now) = (Arc::clone(&parts.ports.ids), parts.ports.clock.now());
    let token = sign_in::new_token(&ids);
    let link = users::link_url(parts, LinkKind::SignIn, &token);
    let actor = by.clone();
    once(parts, &by, repeat, 201, Secrecy::Sealed, move |tx| {
        Box::pin(async move {
            let row = demo_tenants::find(tx, id).await?.ok_or_else(|| Error::not_found("demo tenant"))?;
            let name = rows::find(tx, id).await?.map_or_else(String::new, |tenant| tenant.name);
            sign_in::make_link(tx, &token, now, LinkKind::SignIn, row.owner, Some(id), "link").await?;
            audit::record_in_both(tx, id, &ids, now, &actor, "demo_tenant.link_made", id, &json!({})).await?;
            Ok::<_, Error>(view(row, name, Some(link)))
        })
    })
    .await
}

/// Deletes a demo tenant before its time. Needs an operator with the scope `demo-tenants:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: TenantId) -> Result<(), Error> {
    caller.need_operator("demo-tenants:write")?;
    find(parts, id).await?;
    tenants::end(parts, caller, id).await
}

/// Deletes demo tenants whose time is over.
pub(crate) async fn end_old(parts: &Parts) -> Result<(), Error> {
    let now = parts.ports.clock.now();
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(demo_tenants::ended(tx, now, PER_RUN).await?) })
    });
    for row in read.await? {
        match tenants::end(parts, &Caller::system(None), row.tenant).await {
            // Another node was first.
            Err(error) if error.code == "not_found" => {}
            ended => ended?,
        }
    }
    Ok(())
}

/// Carries on with demo tenants whose filling was interrupted. Answers how many stages were done.
#[crate::boxed]
pub async fn fill_all(engine: &Arc<Engine>) -> Result<u64, Error> {
    let since = engine.ports.clock.now().plus_seconds(-FILLED_WITHIN_S);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(demo_tenants::unfilled(tx, FILLED, since, PER_RUN).await?) })
    });
    let mut done = 0;
    for row in read.await? {
        // One that cannot be filled now must not keep the others waiting.
        match fill(engine, row.tenant).await {
            Ok(stages) => done += stages,
            Err(error) => tracing::warn!(%error, tenant.id = %row.tenant, "A demo tenant could not be filled now"),
        }
    }
    Ok(done)
}

/// Does every stage that is left of a tenant's filling and answers how many those were.
#[crate::boxed]
pub async fn fill(engine: &Arc<Engine>, tenant: TenantId) -> Result<u64, Error> {
    let mut done = 0;
    loop {
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(demo_tenants::find(tx, tenant).await?) })
        });
        let Some(row) = read.await?.filter(|row| row.stage < FILLED) else { return Ok(done) };
        let caller = Caller::system(Some(tenant));
        let cast = cast::make(engine, &caller, row.created_at).await?;
        match row.stage {
            0 => advance(engine, row).await?,
            week @ 1..=past::WEEKS => past::week(engine, row, &cast, week).await?,
            ENDED_CAMPAIGN => past::campaign(engine, row, &cast).await?,
            BILL => bill::write(engine, row).await?,
            _ => {
                begin(engine, &caller, &cast).await?;
                advance(engine, row).await?;
            }
        }
        done += 1;
    }
}

async fn advance(engine: &Engine, row: DemoTenant) -> Result<(), Error> {
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(demo_tenants::advance(tx, row.tenant, row.stage, row.stage + 1).await?) })
    });
    write.await.map(drop)
}

/// What is under way when people come in: a campaign to everybody who agreed, at a pace one can watch, and messages of the ordinary day.
async fn begin(engine: &Arc<Engine>, caller: &Caller, cast: &cast::Cast) -> Result<(), Error> {
    let new = read(json!({
        "name": "Winter programme", "description": "What is on this winter, for everybody who wants to know.", "channel": "email", "purpose": "marketing",
        "template": {"id": cast.programme}, "audience": {"lists": [cast.newsletter]}, "account_id": cast.slow,
    }))?;
    let made = campaigns::create(engine, caller, &step("campaign"), new).await?;
    let id = id(&made)?;
    campaigns::start(engine, caller, &step("campaign-start"), id, None).await?;
    let body = serde_json::to_vec(&json!({ "messages": cast.day() })).map_err(Error::internal)?;
    engine.send_batch(caller, &body, Some(IdempotencyKey::parse("demo-day")?)).await.map(drop)
}

/// A step that is done once, however often it is tried.
fn step(name: &str) -> Repeat {
    let key = IdempotencyKey::parse(&format!("demo-{name}")).expect("a step's name is short and plain");
    Repeat { key: Some(key), fingerprint: fingerprint("POST", "/demo", name.as_bytes()) }
}

/// A request of ours as its type.
fn read<T: serde::de::DeserializeOwned>(request: Value) -> Result<T, Error> {
    // Through text: parts of requests are kept as they were written.
    serde_json::from_str(&request.to_string()).map_err(Error::internal)
}

/// The id in an answer.
fn id<T: std::str::FromStr>(reply: &Reply) -> Result<T, Error> {
    let body: Value = serde_json::from_slice(&reply.body).map_err(Error::internal)?;
    let id = body["id"].as_str().and_then(|id| id.parse().ok());
    id.ok_or_else(|| Error::internal("an answer has no id"))
}
