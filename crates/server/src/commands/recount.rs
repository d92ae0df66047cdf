//! `tidings recount`.

use clap::Args;
use engine::keys::Caller;
use model::TenantId;
use serde_json::json;

use crate::{
    cli::{Outcome, put_json, say},
    config::Config,
    node,
};

/// Tenants read at once.
const PAGE: u32 = 500;

/// Whose sums are counted again.
#[derive(Debug, Args)]
pub struct Recount {
    /// Only this tenant's; everybody's when left out
    #[arg(long)]
    tenant: Option<TenantId>,
}

/// Counts every message again and writes the sums that were wrong. Safe beside running servers, and killed half-way, the next run carries on.
pub async fn run(config: &Config, command: Recount, json: bool) -> Outcome {
    let engine = node::admin(config).await?;
    let mut tenants: Vec<TenantId> = command.tenant.into_iter().collect();
    if tenants.is_empty() {
        let (caller, mut cursor) = (Caller::system(None), None::<String>);
        loop {
            let page = engine::tenants::list(engine.parts(), &caller, Some(PAGE), cursor.as_deref()).await?;
            tenants.extend(page.data.iter().map(|tenant| tenant.id));
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
    }
    let mut wrong = 0;
    for tenant in &tenants {
        engine.tenant(*tenant).await?;
        let found = engine.recount(*tenant).await?;
        if found > 0 {
            say(&format!("{found} sums of {tenant} were wrong and are right now."));
        }
        wrong += found;
    }
    if wrong == 0 {
        say(&format!("Every sum of {} tenants is right.", tenants.len()));
    }
    if json {
        return put_json(&json!({"tenants": tenants.len(), "corrected": wrong}));
    }
    Ok(())
}
