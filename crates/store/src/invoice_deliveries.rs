//! Invoices that were sent to a tenant's customers: which number, as which file, and in which messages.

use model::{AttachmentId, ContactId, InvoiceDeliveryId, MessageId, TenantId, Timestamp};

use crate::{Error, Param, Row, Tx};

/// A row of `invoice_deliveries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceDelivery {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: InvoiceDeliveryId,
    /// The invoice's number, as its seller counts.
    pub number: String,
    /// True when the number had been sent before.
    pub is_resend: bool,
    /// What was asked for: `auto`, `email`, `whatsapp` or `both`.
    pub channel: String,
    /// Why it went the way it went, for people.
    pub reason: String,
    /// The file's name.
    pub filename: String,
    /// The file.
    pub attachment_id: AttachmentId,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes in lower-case hex.
    pub sha256: String,
    /// What the invoice comes to, where it is known.
    pub total_micros: Option<i64>,
    /// ISO 4217.
    pub currency: Option<String>,
    /// The contact it went to.
    pub contact_id: Option<ContactId>,
    /// The mail.
    pub email_message_id: Option<MessageId>,
    /// The WhatsApp message.
    pub whatsapp_message_id: Option<MessageId>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

impl InvoiceDelivery {
    /// Its messages.
    pub fn messages(&self) -> impl Iterator<Item = MessageId> {
        [self.email_message_id, self.whatsapp_message_id].into_iter().flatten()
    }
}

const COLUMNS: &str = "tenant_id, id, number, is_resend, channel, reason, filename, attachment_id, size, sha256, total_micros, currency, contact_id, email_message_id,
    whatsapp_message_id, created_at";

fn read(mut row: Row) -> Result<InvoiceDelivery, Error> {
    let row = &mut row;
    Ok(InvoiceDelivery {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        number: row.get(2)?,
        is_resend: row.get(3)?,
        channel: row.get(4)?,
        reason: row.get(5)?,
        filename: row.get(6)?,
        attachment_id: row.get(7)?,
        size: row.get(8)?,
        sha256: row.get(9)?,
        total_micros: row.get(10)?,
        currency: row.get(11)?,
        contact_id: row.get(12)?,
        email_message_id: row.get(13)?,
        whatsapp_message_id: row.get(14)?,
        created_at: row.get(15)?,
    })
}

/// Adds a delivery. False when it is the first of its number by its own account (`is_resend` is false) and another was before: nothing is written then. One that may repeat a number and
/// is its first all the same is kept as the first, so that the next is noticed.
pub async fn insert(tx: &mut Tx, delivery: &InvoiceDelivery) -> Result<bool, Error> {
    if put(tx, delivery, false).await? {
        return Ok(true);
    }
    if !delivery.is_resend {
        return Ok(false);
    }
    put(tx, delivery, true).await
}

async fn put(tx: &mut Tx, d: &InvoiceDelivery, is_resend: bool) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO invoice_deliveries ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING"
    );
    let params: [&dyn Param; 16] = [
        &d.tenant_id,
        &d.id,
        &d.number,
        &is_resend,
        &d.channel,
        &d.reason,
        &d.filename,
        &d.attachment_id,
        &d.size,
        &d.sha256,
        &d.total_micros,
        &d.currency,
        &d.contact_id,
        &d.email_message_id,
        &d.whatsapp_message_id,
        &d.created_at,
    ];
    Ok(tx.execute(&sql, &params).await? > 0)
}

/// One of the tenant's deliveries.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: InvoiceDeliveryId) -> Result<Option<InvoiceDelivery>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM invoice_deliveries WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The latest delivery of an invoice.
pub async fn latest(tx: &mut Tx, tenant: TenantId, number: &str) -> Result<Option<InvoiceDelivery>, Error> {
    let never = InvoiceDeliveryId::from_ulid(u128::MAX);
    Ok(list(tx, tenant, never, Some(number), 1).await?.pop())
}

/// The tenant's deliveries, newest first, made before `before`; those of one number, or all.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    before: InvoiceDeliveryId,
    number: Option<&str>,
    limit: i64,
) -> Result<Vec<InvoiceDelivery>, Error> {
    let rows = match number {
        Some(number) => {
            let sql = format!(
                "SELECT {COLUMNS} FROM invoice_deliveries WHERE tenant_id = $1 AND number = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
            );
            tx.rows(&sql, &[&tenant, &number, &before, &limit]).await?
        }
        None => {
            let sql = format!(
                "SELECT {COLUMNS} FROM invoice_deliveries WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
            );
            tx.rows(&sql, &[&tenant, &before, &limit]).await?
        }
    };
    rows.into_iter().map(read).collect()
}

/// Takes the files of a contact's invoices away; their bytes go like those of any deleted file. Answers how many.
pub async fn take_files(tx: &mut Tx, tenant: TenantId, contact: ContactId, now: Timestamp) -> Result<u64, Error> {
    let sql = "UPDATE attachments SET deleted_at = $1, purge_at = $1 WHERE tenant_id = $2 AND deleted_at IS NULL AND purging_at IS NULL
        AND id IN (SELECT attachment_id FROM invoice_deliveries WHERE tenant_id = $2 AND contact_id = $3)";
    tx.execute(sql, &[&now, &tenant, &contact]).await
}
