//! `tidings tenant`.

use clap::Subcommand;
use engine::{
    keys::Caller,
    tenants::{self, NewTenant},
};
use serde_json::json;

use crate::{
    cli::{Outcome, put, put_json, put_table, say},
    config::Config,
    node,
};

/// What can be done with tenants.
#[derive(Debug, Subcommand)]
pub enum Tenant {
    /// Make a tenant and its first API key, which is shown this once
    #[command(
        after_help = "Example:\n  tidings tenant create \"Acme Tickets\" --timezone Europe/Berlin --currency EUR --json"
    )]
    Create {
        /// Name for people
        name: String,
        /// IANA time zone [default: UTC]
        #[arg(long)]
        timezone: Option<String>,
        /// ISO 4217 currency [default: USD]
        #[arg(long)]
        currency: Option<String>,
        /// ISO 3166-1 alpha-2 country
        #[arg(long)]
        default_country: Option<String>,
    },
    /// List tenants, newest first
    #[command(after_help = "Example:\n  tidings tenant list --json")]
    List {
        /// How many, 1 to 500
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
}

/// Runs one of them on the database itself; a running server notices within a second.
pub async fn run(config: &Config, command: Tenant, json: bool) -> Outcome {
    let engine = node::admin(config).await?;
    let parts = engine.parts();
    let caller = Caller::system(None);
    match command {
        Tenant::Create { name, timezone, currency, default_country } => {
            let new = NewTenant { name, timezone, currency, default_country, per_second: None };
            let (tenant, key) = tenants::create_with_key(parts, &caller, new).await?;
            if json {
                return put_json(&json!({"tenant": tenant, "api_key": key.key}));
            }
            say(&format!("Made the tenant {} ({}). Its first API key, shown this once:", tenant.name, tenant.id));
            put(&key.key);
        }
        Tenant::List { limit, cursor } => {
            let page = tenants::list(parts, &caller, Some(limit), cursor.as_deref()).await?;
            if json {
                return put_json(&page);
            }
            let rows: Vec<_> = page
                .data
                .iter()
                .map(|t| [t.id.to_string(), t.state.as_str().to_owned(), t.created_at.to_string(), t.name.clone()])
                .collect();
            put_table(["ID", "STATE", "CREATED", "NAME"], &rows);
            if let Some(cursor) = page.next_cursor {
                say(&format!("There are more: --cursor {cursor}"));
            }
        }
    }
    Ok(())
}
