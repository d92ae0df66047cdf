//! What `tidings demo` adds to `tidings serve`: a demo tenant, with its history and a campaign on its way. Made once; later starts find it, until its week is over.

use std::{fmt::Write as _, sync::Arc};

use engine::{
    Engine, Error,
    demo::{self, NewDemoTenant},
    keys::{self, Caller, NewApiKey},
    once::{Repeat, Reply},
};
use model::TenantId;
use serde::Serialize;
use serde_json::Value;
use store::{Scope, installation};

/// Remembers the demo tenant.
const FACT: &str = "demo_tenant";

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

/// Makes the demo tenant, or finds the one of an earlier start.
pub async fn prepare(engine: &Arc<Engine>) -> Result<Demo, Error> {
    let known = engine
        .ports
        .db
        .read(Scope::System, |tx| Box::pin(async move { Ok::<_, Error>(installation::find(tx, FACT).await?) }));
    let (parts, operator) = (engine.parts(), Caller::system(None));
    if let Some(tenant_id) = known.await?.and_then(|text| text.parse::<TenantId>().ok()) {
        match demo::link(parts, &operator, &Repeat::NONE, tenant_id).await {
            Ok(reply) => return Ok(Demo { tenant_id, api_key: None, link: text(&reply, "link")? }),
            // Its week is over.
            Err(error) if error.code == "not_found" => {}
            Err(error) => return Err(error),
        }
    }
    let new = NewDemoTenant { name: "Demo: Acme Tickets".to_owned() };
    let made = demo::create(engine, &operator, &Repeat::NONE, new).await?;
    let tenant_id: TenantId = text(&made, "id")?.parse().map_err(Error::internal)?;
    let key = NewApiKey { name: "First key".to_owned(), ..NewApiKey::default() };
    let key = keys::make(parts, &Caller::system(Some(tenant_id)), key).await?;
    let remember = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(installation::put(tx, FACT, &tenant_id.to_string()).await?) })
    });
    remember.await?;
    Ok(Demo { tenant_id, api_key: Some(key.key), link: text(&made, "link")? })
}

/// A text in an answer.
fn text(reply: &Reply, field: &str) -> Result<String, Error> {
    let body: Value = serde_json::from_slice(&reply.body).map_err(Error::internal)?;
    body[field].as_str().map(str::to_owned).ok_or_else(|| Error::internal(format!("an answer has no {field}")))
}
