//! `tidings master-key`.

use std::sync::Arc;

use clap::Subcommand;

use crate::{
    cli::{Failure, Outcome, put_json, say},
    config::Config,
    node,
};

/// What can be done with the master key.
#[derive(Debug, Subcommand)]
pub enum MasterKey {
    /// Seal every tenant's data key with the first of the configured master keys. Servers may keep running with both keys
    #[command(after_help = "Example:\n  TIDINGS_MASTER_KEY=new:…,old:… tidings master-key rotate")]
    Rotate,
}

/// Runs it. Killed half-way, the next run carries on.
pub async fn run(config: &Config, command: MasterKey, json: bool) -> Outcome {
    let MasterKey::Rotate = command;
    let engine = node::admin(config).await?;
    let (db, ids) = (&engine.ports.db, Arc::clone(&engine.ports.ids));
    let done = engine.vault.rotate_master(db, &ids).await?;
    say(&format!("{} data keys are sealed by the master key `{}` now.", done.resealed, done.master_key_id));
    if json {
        put_json(&done)?;
    }
    if !done.unreadable.is_empty() {
        let which: Vec<_> = done.unreadable.iter().map(|(tenant, id)| format!("{id} of {tenant}")).collect();
        return Err(Failure::Failed(anyhow::anyhow!(
            "these data keys do not open and stayed as they were: {}. Keep the old master key and restore them from a backup",
            which.join(", ")
        )));
    }
    Ok(())
}
