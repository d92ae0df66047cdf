//! Everything that is kept about one person, found page by page, and who may read it.
//!
//! A person is a contact and its addresses: what was sent to an address before it was a contact's belongs to it as well. Pages go forward by id, so that a file of any size is made in the
//! memory of one page.

use model::{AuditId, CampaignId, ContactExportId, ContactId, InboundId, MessageId, TenantId, Timestamp};

use crate::{Column, Error, Param, Row, Tx, audit};

/// A row of `contact_exports`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContactExport {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: ContactExportId,
    /// About whom.
    pub contact_id: ContactId,
    /// Who asked.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it can be read.
    pub expires_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, contact_id, actor, created_at, expires_at";

/// Adds a permission.
pub async fn insert(tx: &mut Tx, e: &ContactExport) -> Result<(), Error> {
    let sql = format!("INSERT INTO contact_exports ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)");
    tx.execute(&sql, &[&e.tenant_id, &e.id, &e.contact_id, &e.actor, &e.created_at, &e.expires_at]).await.map(drop)
}

/// A permission that is still good.
pub async fn find(
    tx: &mut Tx,
    tenant: TenantId,
    id: ContactExportId,
    now: Timestamp,
) -> Result<Option<ContactExport>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM contact_exports WHERE tenant_id = $1 AND id = $2 AND expires_at > $3");
    let read = |mut row: Row| {
        Ok(ContactExport {
            tenant_id: row.get(0)?,
            id: row.get(1)?,
            contact_id: row.get(2)?,
            actor: row.get(3)?,
            created_at: row.get(4)?,
            expires_at: row.get(5)?,
        })
    };
    tx.row(&sql, &[&tenant, &id, &now]).await?.map(read).transpose()
}

/// Removes up to `limit` permissions of any tenants that have ended.
pub async fn purge(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM contact_exports WHERE (tenant_id, id) IN (SELECT tenant_id, id FROM contact_exports WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)";
    tx.execute(sql, &[&now, &limit]).await
}

/// Ids of a table's rows that carry the contact's id or one of its addresses, behind `after`, in order.
async fn ids<I: Column + Param + Ord + Copy>(
    tx: &mut Tx,
    table: &str,
    tenant: TenantId,
    (contact, addresses): (ContactId, &[String]),
    after: I,
    limit: i64,
) -> Result<Vec<I>, Error> {
    let page = |by: &str| {
        format!("SELECT id FROM {table} WHERE tenant_id = $1 AND {by} = $2 AND id > $3 ORDER BY id LIMIT $4")
    };
    let mut rows = tx.rows(&page("contact_id"), &[&tenant, &contact, &after, &limit]).await?;
    for address in addresses {
        rows.extend(tx.rows(&page("address"), &[&tenant, address, &after, &limit]).await?);
    }
    let mut ids: Vec<I> = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ids)
}

/// Up to `limit` messages to a contact, or to one of its addresses, behind `after`, oldest first.
pub async fn messages(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    addresses: &[String],
    after: MessageId,
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    ids(tx, "messages", tenant, (contact, addresses), after, limit).await
}

/// Up to `limit` messages from a contact, or from one of its addresses, behind `after`, oldest first.
pub async fn inbound(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    addresses: &[String],
    after: InboundId,
    limit: i64,
) -> Result<Vec<InboundId>, Error> {
    ids(tx, "inbound_messages", tenant, (contact, addresses), after, limit).await
}

/// A campaign a contact was a recipient of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Which campaign.
    pub campaign_id: CampaignId,
    /// Its name.
    pub name: String,
    /// Which variant the contact got.
    pub variant: Option<u32>,
    /// What became of it; see [`crate::campaign_recipients`].
    pub outcome: u32,
    /// Why it was left out: a code.
    pub reason: Option<String>,
    /// Its message.
    pub message_id: Option<MessageId>,
}

/// Up to `limit` campaigns behind `after` whose audience a contact belonged to, oldest first.
pub async fn campaigns(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    after: CampaignId,
    limit: i64,
) -> Result<Vec<Part>, Error> {
    // One look per campaign at the recipients' own key: in this order.
    let sql = "SELECT c.id, c.name, r.variant, r.outcome, r.reason, r.message_id FROM campaigns AS c CROSS JOIN campaign_recipients AS r
        WHERE c.tenant_id = $1 AND c.id > $2 AND r.tenant_id = c.tenant_id AND r.campaign_id = c.id AND r.contact_id = $3 ORDER BY c.id LIMIT $4";
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Part {
            campaign_id: row.get(0)?,
            name: row.get(1)?,
            variant: row.get(2)?,
            outcome: row.get(3)?,
            reason: row.get(4)?,
            message_id: row.get(5)?,
        })
    };
    tx.rows(sql, &[&tenant, &after, &contact, &limit]).await?.into_iter().map(read).collect()
}

/// Up to `limit` entries of the tenant's audit log about a contact behind `after`, oldest first.
pub async fn changes(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    after: AuditId,
    limit: i64,
) -> Result<Vec<audit::Entry>, Error> {
    audit::about(tx, tenant, &contact.to_string(), after, limit).await
}
