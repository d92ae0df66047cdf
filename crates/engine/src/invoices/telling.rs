//! What is told of invoices: in the audit logs of the tenant and the operator, and to the tenant as events.

use model::{InvoiceId, Timestamp};
use serde_json::{Value, json};
use store::{Tx, invoices::Invoice, tenants};

use super::{Body, digest::Digest, view_for};
use crate::{Error, audit, directory::Tenant, keys::Caller, writes::Writes};

/// Writes into the audit log what happened to an invoice by itself and changes nothing of it: the tenant's, or the operator's once the tenant is gone.
pub(super) async fn note(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    what: &'static str,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    let detail = facts(row);
    let by = Caller::system(None);
    match tenant {
        Some(tenant) => audit::record(tx, tenant.id, ids, now, &by, what, row.id, &detail).await,
        None => {
            let name = name_of_gone(tx, row).await?;
            audit::record_of_gone(tx, row.tenant_id, name, ids, now, &by, what, row.id, &detail).await
        }
    }
}

/// Writes into the audit log that an invoice or a credit note has its number, with the digest it is held against from now on.
pub(super) async fn note_issued(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    by: &Caller,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    let mut detail = facts(row);
    detail["paid_at"] = json!(row.paid_at);
    detail["digest"] = json!(Digest::of(row));
    write_down(tx, tenant, row, ("invoice.issued", row.id), &detail, by, ids, now).await
}

/// What the audit log tells of an invoice.
pub(super) fn facts(row: &Invoice) -> Value {
    json!({
        "state": row.state, "number": row.number, "total_micros": row.total, "currency": row.currency, "due_at": row.due_at, "message_id": row.mail.id,
    })
}

/// Writes into the audit log what became of an invoice: the tenant's, and the operator's, which outlives the tenant as the invoice does. `what` was done, and to which invoice.
#[allow(clippy::too_many_arguments, reason = "as for an entry in one log")]
pub(super) async fn write_down(
    tx: &mut Tx,
    tenant: Option<&Tenant>,
    row: &Invoice,
    (what, id): (&'static str, InvoiceId),
    detail: &Value,
    by: &Caller,
    ids: &model::Ids,
    now: Timestamp,
) -> Result<(), Error> {
    match tenant {
        Some(tenant) => audit::record_in_both(tx, tenant.id, ids, now, by, what, id, detail).await,
        None => {
            let name = name_of_gone(tx, row).await?;
            audit::record_of_gone(tx, row.tenant_id, name, ids, now, by, what, id, detail).await
        }
    }
}

/// What a tenant was called that is gone: as long as its row is kept that says so, then its invoice.
pub(super) async fn name_of_gone(tx: &mut Tx, row: &Invoice) -> Result<String, Error> {
    match tenants::name(tx, row.tenant_id).await? {
        Some(name) => Ok(name),
        // One nobody can read any more has an entry all the same.
        None => Ok(Body::from_stored(&row.body).ok().and_then(|body| body.customer.name).unwrap_or_default()),
    }
}

/// Tells the tenant what happened to an invoice, in the transaction in which it happens.
pub(super) async fn tell(
    tx: &mut Tx,
    tenant: &Tenant,
    row: &Invoice,
    what: &'static str,
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<(), Error> {
    let mut writes = Writes::default();
    let data = serde_json::to_string(&view_for(row, false, now)?).map_err(Error::internal)?;
    writes.event(tenant, what, data, now, ids);
    Ok(writes.write(tx, shard).await?)
}
