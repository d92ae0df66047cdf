//! `tidings migrate`.

use model::Clock as _;
use net::SystemClock;
use serde_json::json;
use store::Db;

use crate::{
    cli::{Outcome, put_json, say},
    config::Config,
    home,
};

/// Applies what is missing. Safe beside running servers and other migrations.
pub async fn run(config: &Config, json: bool) -> Outcome {
    home::make_data_dir(config)?;
    let db = Db::open(config.database_url.reveal())?;
    let applied = store::migrate(&db, SystemClock.now()).await?;
    if applied.is_empty() {
        say(&format!("The database is at version {}, the newest; nothing to do.", store::NEWEST));
    } else {
        say(&format!("The database is at version {} now.", store::NEWEST));
    }
    if json {
        return put_json(&json!({"version": store::NEWEST, "applied": applied}));
    }
    Ok(())
}
