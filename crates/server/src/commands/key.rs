//! `tidings key`.

use clap::Subcommand;
use engine::keys::{self, ApiKeyView, Caller, NewApiKey};
use model::{KeyId, TenantId, Timestamp};

use crate::{
    cli::{Failure, Outcome, put, put_json, put_table, say},
    config::Config,
    node,
};

/// What can be done with API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key, which is shown this once
    #[command(
        after_help = "Examples:\n  tidings key create --tenant ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD --name deploy --scopes messages:write\n  tidings key create --operator --name ops"
    )]
    Create {
        #[command(flatten)]
        owner: Owner,
        /// Name for people: which program uses it
        #[arg(long)]
        name: String,
        /// What it may do, separated by commas [default: everything]
        #[arg(long, value_delimiter = ',')]
        scopes: Option<Vec<String>>,
        /// Addresses or networks it may be used from, separated by commas [default: everywhere]
        #[arg(long, value_delimiter = ',')]
        ip_allow_list: Option<Vec<String>>,
        /// When it ends, such as 2027-01-01T00:00:00Z [default: never]
        #[arg(long)]
        expires_at: Option<Timestamp>,
    },
    /// List the keys that were not revoked, newest first
    #[command(after_help = "Example:\n  tidings key list --operator")]
    List {
        #[command(flatten)]
        owner: Owner,
        /// How many, 1 to 500
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Where the page before ended
        #[arg(long)]
        cursor: Option<String>,
    },
    /// Revoke a key; running servers refuse it within a second
    #[command(
        after_help = "Example:\n  tidings key revoke key_01K9ZC8Q6T7Y2V5B3N4M1XWRSD --tenant ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"
    )]
    Revoke {
        /// Which one
        key: KeyId,
        #[command(flatten)]
        owner: Owner,
    },
}

/// Whose keys.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct Owner {
    /// A tenant's
    #[arg(long, value_name = "ten_…")]
    tenant: Option<TenantId>,
    /// The operator's own
    #[arg(long)]
    operator: bool,
}

/// Runs one of them on the database itself; a running server notices within a second.
pub async fn run(config: &Config, command: Key, json: bool) -> Outcome {
    let engine = node::admin(config).await?;
    let parts = engine.parts();
    match command {
        Key::Create { owner, name, scopes, ip_allow_list, expires_at } => {
            let caller = owner.caller(parts).await?;
            let key = keys::make(parts, &caller, NewApiKey { name, scopes, ip_allow_list, expires_at }).await?;
            if json {
                return put_json(&key);
            }
            say(&format!("Made the API key {} ({}), shown this once:", key.view.name, key.view.id));
            put(&key.key);
        }
        Key::List { owner, limit, cursor } => {
            let caller = owner.caller(parts).await?;
            let page = keys::list(parts, &caller, Some(limit), cursor.as_deref()).await?;
            if json {
                return put_json(&page);
            }
            put_table(
                ["ID", "KEY", "SCOPES", "LAST USED", "NAME"],
                &page.data.into_iter().map(row).collect::<Vec<_>>(),
            );
            if let Some(cursor) = page.next_cursor {
                say(&format!("There are more: --cursor {cursor}"));
            }
        }
        Key::Revoke { key, owner } => {
            let caller = owner.caller(parts).await?;
            keys::revoke(parts, &caller, key).await?;
            say(&format!("Revoked the API key {key}."));
            if json {
                put_json(&serde_json::json!({"id": key, "revoked": true}))?;
            }
        }
    }
    Ok(())
}

fn row(key: ApiKeyView) -> [String; 5] {
    let last_used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    [key.id.to_string(), key.hint, key.scopes.join(","), last_used, key.name]
}

impl Owner {
    /// The command line acting as this owner. A tenant that is not there is refused here, with its id.
    async fn caller(&self, parts: &engine::Parts) -> Result<Caller, Failure> {
        if let Some(tenant) = self.tenant
            && parts.directory.tenant(tenant).await?.is_none()
        {
            return Err(Failure::Failed(anyhow::anyhow!(
                "there is no tenant {tenant}; `tidings tenant list` shows them"
            )));
        }
        Ok(Caller::system(self.tenant))
    }
}
