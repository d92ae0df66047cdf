//! What `tidings demo` adds to `tidings serve`: a tenant on the sandbox, with a small campaign on its way. Made once; later starts find it.

use std::{fmt::Write as _, sync::Arc};

use connectors::sandbox::{Act, MAGIC};
use engine::{
    Engine, Error,
    access::{
        sign_in::{self, LinkKind},
        users::{self, NewMember},
    },
    accounts::{self, NewAccount},
    keys::Caller,
    once::{IdempotencyKey, Repeat},
    tenants::{self, NewTenant},
};
use model::{FailureKind, TenantId};
use serde::Serialize;
use serde_json::{Map, Value, json};
use store::{Scope, installation};

/// Remembers the demo tenant.
const FACT: &str = "demo_tenant";
/// Who the demo tenant's owner is. It is no address anybody could write to, on purpose.
const OWNER: &str = "owner@demo.localhost";
/// Recipients of the campaign. The sandbox delivers within seconds.
const RECIPIENTS: usize = 200;
/// Every so many recipients one has a bad day.
const BAD_EVERY: usize = 10;
const NAMES: [&str; 8] = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Margaret", "Tim"];

/// The demo tenant.
#[derive(Debug, Serialize)]
pub struct Demo {
    tenant_id: TenantId,
    /// Shown when it was just made.
    api_key: Option<String>,
    /// Leads into the console, signed in as the demo tenant's owner. Works once, for a day; every start makes a new one.
    link: String,
}

impl Demo {
    /// What to try, for people.
    pub fn text(&self, url: &str) -> String {
        let mut text = format!(
            "The demo tenant is {}. Come in, signed in as its owner (once, within a day): {}",
            self.tenant_id, self.link
        );
        if let Some(key) = &self.api_key {
            let _ = write!(
                text,
                " Its API key, shown this once: {key}\nIts first campaign is under way; look at it with\n  curl -H 'Authorization: Bearer {key}' {url}/v1/messages\nor follow it with\n  \
                 TIDINGS_API_KEY={key} tidings tail --url {url}"
            );
        }
        text
    }
}

/// Makes the tenant, its account and its campaign, or what is missing of them.
pub async fn prepare(engine: &Arc<Engine>) -> Result<Demo, Error> {
    let known = engine
        .ports
        .db
        .read(Scope::System, |tx| Box::pin(async move { Ok::<_, Error>(installation::find(tx, FACT).await?) }));
    let known = known.await?.and_then(|text| text.parse::<TenantId>().ok());
    if let Some(tenant_id) = known
        && engine.directory.tenant(tenant_id).await?.is_some()
    {
        return Ok(Demo { tenant_id, api_key: None, link: link(engine, tenant_id).await? });
    }
    let new = NewTenant { name: "Demo: Acme Tickets".to_owned(), ..NewTenant::default() };
    let (tenant, key) = tenants::create_with_key(engine.parts(), &Caller::system(None), new).await?;
    let caller = Caller::system(Some(tenant.id));
    accounts::create(engine.parts(), &caller, &Repeat::NONE, sandbox()).await?;
    let campaign = json!({"messages": (0..RECIPIENTS).map(message).collect::<Vec<_>>()});
    let campaign = serde_json::to_vec(&campaign).map_err(Error::internal)?;
    engine.send_batch(&caller, &campaign, Some(IdempotencyKey::parse("demo-campaign-1")?)).await?;
    let remember = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(installation::claim(tx, FACT, &tenant.id.to_string()).await?) })
    });
    remember.await?;
    Ok(Demo { tenant_id: tenant.id, api_key: Some(key.key), link: link(engine, tenant.id).await? })
}

/// A way into the console for whoever reads what the program prints.
async fn link(engine: &Arc<Engine>, tenant: TenantId) -> Result<String, Error> {
    let caller = Caller::system(Some(tenant));
    let people = users::list(engine.parts(), &caller, Some(500), None).await?.data;
    let owner = match people.into_iter().find(|member| member.email == OWNER) {
        Some(member) => member.id,
        None => {
            let new = NewMember {
                email: OWNER.to_owned(),
                name: Some("Ada Demo".to_owned()),
                role: "owner".to_owned(),
                permissions: None,
            };
            users::make(engine.parts(), &caller, new).await?.view.id
        }
    };
    let token = sign_in::sign_in_link(engine.parts(), owner, Some(tenant)).await?;
    Ok(users::link_url(engine.parts(), LinkKind::SignIn, &token))
}

fn sandbox() -> NewAccount {
    NewAccount {
        name: "Sandbox".to_owned(),
        connector: "sandbox".to_owned(),
        settings: Map::new(),
        channels: None,
        enabled: None,
        default_for: None,
        from: None,
        per_second: None,
        concurrency: None,
    }
}

/// One message of the campaign: mail and SMS in turns, and now and then a recipient with a bad day.
fn message(index: usize) -> Value {
    let name = NAMES[index % NAMES.len()];
    // The one that acts out a suspended account is left out: it would pause the demo's only account, and everything with it.
    let acts: Vec<_> = MAGIC.iter().filter(|magic| magic.act != Act::Refuse(FailureKind::Account)).collect();
    let bad = (index % BAD_EVERY == BAD_EVERY - 1).then(|| acts[index / BAD_EVERY % acts.len()]);
    let variables =
        json!({"name": name, "seat": format!("{}{}", index / 20 + 1, char::from(b'A' + (index % 20) as u8))});
    let metadata = json!({"campaign": "demo"});
    let phone = bad.and_then(|bad| bad.phone);
    if index % 2 == 1 && (bad.is_none() || phone.is_some()) {
        let phone = phone.map_or_else(|| format!("+1202555{:04}", 100 + index), str::to_owned);
        return json!({
            "to": {"phone": phone}, "channel": "sms", "purpose": "transactional", "variables": variables, "metadata": metadata,
            "content": {"text": "Hello {{ name }}, doors open at 7 pm. Your seat is {{ seat }}."},
        });
    }
    let local = bad
        .and_then(|bad| bad.email)
        .map_or_else(|| format!("{}{index}", name.to_lowercase()), |local| format!("{local}+{index}"));
    json!({
        "to": {"email": format!("{local}@example.com")}, "channel": "email", "purpose": "transactional", "variables": variables, "metadata": metadata,
        "content": {
            "subject": "Your ticket, {{ name }}",
            "text": "Hello {{ name }},\n\ndoors open at 7 pm. Your seat is {{ seat }}.\n",
            "html": "<p>Hello {{ name }},</p><p>doors open at 7 pm. Your seat is <b>{{ seat }}</b>.</p>",
        },
    })
}
