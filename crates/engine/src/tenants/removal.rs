//! What is left of a deleted tenant is billed first, now that every attempt that was under way has its end on record. Then it goes, in bounded steps: people who belonged to nothing else, files, and then every row of every table. When nothing is left the
//! tenant's own row goes too, and only the operator's log still knows of it; of what it sent, marks stay for some months ([`removed`]). A process that dies anywhere leaves the rest to the next run.

use std::sync::Arc;

use model::TenantId;
use serde_json::json;
use store::{Scope, attachments, contact_imports, removed_messages, sessions, tenant_rows, tenants};

use crate::{
    Engine, Error, access::users, attachments as files, audit, contacts::import, invoices::closing, keys::Caller,
    reconciliations::removed,
};

/// How long after its deletion a tenant's rows stay, in seconds: until every attempt that was under way has its end on record and every node has noticed.
const GRACE_S: i64 = 120;
/// Tenants one run works on: others wait for the next.
const TENANTS_PER_RUN: i64 = 10;
/// Rows one transaction removes: some milliseconds of the one writer SQLite has.
const ROWS: i64 = 500;
/// Transactions one run makes for one tenant.
const STEPS_MAX: u32 = 100;
/// Stays when everything else goes: an operator has to keep its invoices for years, and a series of numbers without gaps. Those of demo tenants are for show and go, too.
const KEPT: &str = "invoices";
/// What a run answers when there is more to do: enough to be taken again at once.
const MORE: u64 = 1_000;

/// Deletes demo tenants whose time is over, and removes what is left of deleted tenants. Answers [`MORE`] when there is more to do.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    crate::demo::end_old(engine.parts()).await?;
    let before = engine.ports.clock.now().plus_seconds(-GRACE_S);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(tenants::deleted_before(tx, before, TENANTS_PER_RUN).await?) })
    });
    let mut more = 0;
    for tenant in read.await? {
        // One that cannot go now must not keep the others.
        match remove(engine, tenant).await {
            Ok(is_done) if is_done => {}
            Ok(_) => more = MORE,
            Err(error) => tracing::warn!(%error, tenant.id = %tenant, "What is left of a deleted tenant cannot go now"),
        }
    }
    Ok(more)
}

/// What one step came to.
enum Step {
    /// This many rows went.
    Rows,
    /// Files are still there: their own jobs are at them.
    Waits,
    /// Nothing is left.
    Done,
}

/// Removes what it may in one run; `true` when there is nothing more to do now.
async fn remove(engine: &Engine, tenant: TenantId) -> Result<bool, Error> {
    closing::close_last(engine, tenant).await?;
    let now = engine.ports.clock.now();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            sessions::look_away(tx, tenant).await?;
            Ok::<_, Error>(
                attachments::let_go(tx, tenant, now).await? + contact_imports::stop_all(tx, tenant, now).await?,
            )
        })
    });
    if write.await? > 0 {
        files::purge(engine, now).await?;
        import::purge(engine).await?;
    }
    for _ in 0..STEPS_MAX {
        let ids = Arc::clone(&engine.ports.ids);
        let write = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                if users::disband(tx, tenant, ROWS).await? > 0 {
                    return Ok(Step::Rows);
                }
                let has_files = attachments::let_go(tx, tenant, now).await? > 0;
                let has_imports = contact_imports::stop_all(tx, tenant, now).await? > 0;
                let is_demo = tenants::was_demo(tx, tenant).await?;
                for table in store::tenant_tables().filter(|table| is_demo || *table != KEPT) {
                    let waits = (table == "attachments" && has_files) || (table == "contact_imports" && has_imports);
                    let gone = match table {
                        _ if waits => 0,
                        _ if removed_messages::is_sent(table) => removed::remove(tx, tenant, table, ROWS, now).await?,
                        _ => tenant_rows::remove_some(tx, tenant, table, ROWS).await?,
                    };
                    if gone > 0 {
                        return Ok(Step::Rows);
                    }
                }
                if has_files || has_imports {
                    return Ok(Step::Waits);
                }
                let row = tenants::find_deleted(tx, tenant).await?;
                if tenants::remove(tx, tenant).await? > 0 {
                    let (by, name) = (Caller::system(None), row.map(|row| row.name).unwrap_or_default());
                    let detail = json!({"name": name});
                    audit::record_of_gone(tx, tenant, name, &ids, now, &by, "tenant.removed", tenant, &detail).await?;
                }
                Ok::<_, Error>(Step::Done)
            })
        });
        match write.await? {
            Step::Rows => {}
            Step::Waits => return Ok(true),
            Step::Done => {
                tracing::info!(tenant.id = %tenant, "Removed everything a deleted tenant had");
                return Ok(true);
            }
        }
    }
    Ok(false)
}
