//! Invoices and credit notes, their numbers, and how the operator writes them.

use model::{Channel, InvoiceId, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Param, Row, Tx, sql::Sql};

/// A row of `invoices`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: InvoiceId,
    /// `invoice`, `correction` or `credit_note`.
    pub kind: String,
    /// `draft`, `issued`, `paid` or `void`.
    pub state: String,
    /// Its number, once it was issued.
    pub number: Option<String>,
    /// The invoice a credit note is about.
    pub of_id: Option<InvoiceId>,
    /// ISO 4217 code.
    pub currency: String,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// What is to be paid.
    pub total: i64,
    /// What it says, as JSON.
    pub body: String,
    /// When it was issued.
    pub issued_at: Option<Timestamp>,
    /// Until when it is to be paid.
    pub due_at: Option<Timestamp>,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// The payment's reference.
    pub payment: Option<String>,
    /// When it was taken back.
    pub voided_at: Option<Timestamp>,
    /// How it goes out to its customer.
    pub mail: Mail,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Invoice {
    /// A draft of a kind for a time, in a currency, that says nothing yet.
    pub fn draft(
        tenant_id: TenantId,
        id: InvoiceId,
        kind: &str,
        currency: &str,
        (starts_at, ends_at): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Self {
        Self {
            tenant_id,
            id,
            kind: kind.to_owned(),
            state: "draft".to_owned(),
            number: None,
            of_id: None,
            currency: currency.to_owned(),
            starts_at,
            ends_at,
            total: 0,
            body: String::new(),
            issued_at: None,
            due_at: None,
            paid_at: None,
            payment: None,
            voided_at: None,
            mail: Mail::default(),
            created_at: now,
            updated_at: now,
        }
    }
}

/// The mail an invoice goes out in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mail {
    /// `waiting`, `accepted`, `sent`, `delivered` or `failed`; `None` for an invoice that is not to go out.
    pub state: Option<String>,
    /// Why it did not go, or did not arrive, as a JSON object.
    pub failure: Option<String>,
    /// When a mail was last accepted.
    pub mailed_at: Option<Timestamp>,
    /// As which message.
    pub id: Option<MessageId>,
    /// Whose message that is.
    pub tenant_id: Option<TenantId>,
    /// How often it was tried.
    pub tries: i64,
    /// When it is tried, or looked at, next.
    pub due_at: Option<Timestamp>,
}

const COLUMNS: &str = "tenant_id, id, kind, state, number, of_id, currency, starts_at, ends_at, total, body, issued_at, due_at, paid_at, payment, voided_at,
    mail_state, mail_failure, mailed_at, mail_id, mail_tenant_id, mail_tries, mail_at, created_at, updated_at";

fn read(mut row: Row) -> Result<Invoice, Error> {
    let row = &mut row;
    Ok(Invoice {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        kind: row.get(2)?,
        state: row.get(3)?,
        number: row.get(4)?,
        of_id: row.get(5)?,
        currency: row.get(6)?,
        starts_at: row.get(7)?,
        ends_at: row.get(8)?,
        total: row.get(9)?,
        body: row.get(10)?,
        issued_at: row.get(11)?,
        due_at: row.get(12)?,
        paid_at: row.get(13)?,
        payment: row.get(14)?,
        voided_at: row.get(15)?,
        mail: Mail {
            state: row.get(16)?,
            failure: row.get(17)?,
            mailed_at: row.get(18)?,
            id: row.get(19)?,
            tenant_id: row.get(20)?,
            tries: row.get(21)?,
            due_at: row.get(22)?,
        },
        created_at: row.get(23)?,
        updated_at: row.get(24)?,
    })
}

/// Adds an invoice.
pub async fn insert(tx: &mut Tx, tenant: TenantId, i: &Invoice) -> Result<(), Error> {
    let values = (1..=25).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let params: [&dyn Param; 25] = [
        &tenant,
        &i.id,
        &i.kind,
        &i.state,
        &i.number,
        &i.of_id,
        &i.currency,
        &i.starts_at,
        &i.ends_at,
        &i.total,
        &i.body,
        &i.issued_at,
        &i.due_at,
        &i.paid_at,
        &i.payment,
        &i.voided_at,
        &i.mail.state,
        &i.mail.failure,
        &i.mail.mailed_at,
        &i.mail.id,
        &i.mail.tenant_id,
        &i.mail.tries,
        &i.mail.due_at,
        &i.created_at,
        &i.updated_at,
    ];
    tx.execute(&format!("INSERT INTO invoices ({COLUMNS}) VALUES ({values})"), &params).await.map(drop)
}

/// Writes anew what a draft says. Once it has a number it says what it says.
pub async fn rewrite(tx: &mut Tx, tenant: TenantId, i: &Invoice) -> Result<(), Error> {
    let sql = "UPDATE invoices SET total = $1, body = $2, updated_at = $3 WHERE tenant_id = $4 AND id = $5 AND state = 'draft'";
    tx.execute(sql, &[&i.total, &i.body, &i.updated_at, &tenant, &i.id]).await.map(drop)
}

/// Writes what becomes of an invoice. What it says stays as it was made.
pub async fn update(tx: &mut Tx, tenant: TenantId, i: &Invoice) -> Result<(), Error> {
    let params: [&dyn Param; 17] = [
        &i.state,
        &i.number,
        &i.issued_at,
        &i.due_at,
        &i.paid_at,
        &i.payment,
        &i.voided_at,
        &i.mail.state,
        &i.mail.failure,
        &i.mail.mailed_at,
        &i.mail.id,
        &i.mail.tenant_id,
        &i.mail.tries,
        &i.mail.due_at,
        &i.updated_at,
        &tenant,
        &i.id,
    ];
    let sql = "UPDATE invoices SET state = $1, number = $2, issued_at = $3, due_at = $4, paid_at = $5, payment = $6, voided_at = $7, mail_state = $8, mail_failure = $9,
        mailed_at = $10, mail_id = $11, mail_tenant_id = $12, mail_tries = $13, mail_at = $14, updated_at = $15 WHERE tenant_id = $16 AND id = $17";
    tx.execute(sql, &params).await.map(drop)
}

/// One of the tenant's invoices.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: InvoiceId) -> Result<Option<Invoice>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Reads one of the tenant's invoices and keeps others from changing it until the transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: InvoiceId) -> Result<Option<Invoice>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND id = $2 {}", tx.dialect().for_update());
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Whose an invoice is. Across tenants: for the operator, who acts in that tenant from then on.
pub async fn owner(tx: &mut Tx, id: InvoiceId) -> Result<Option<TenantId>, Error> {
    let row = tx.row("SELECT tenant_id FROM invoices WHERE id = $1", &[&id]).await?;
    row.map(|mut row| row.get(0)).transpose()
}

/// Invoices made before `before`, newest first: the tenant's, or everybody's for the operator (`None`). Only those in one state where that is given; without drafts unless
/// `has_drafts`.
pub async fn list(
    tx: &mut Tx,
    tenant: Option<TenantId>,
    state: Option<&str>,
    has_drafts: bool,
    before: InvoiceId,
    limit: i64,
) -> Result<Vec<Invoice>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM invoices WHERE id < ").bind(before);
    if let Some(tenant) = tenant {
        sql.push(" AND tenant_id = ").bind(tenant);
    }
    if let Some(state) = state {
        sql.push(" AND state = ").bind(state);
    }
    if !has_drafts {
        sql.push(" AND number IS NOT NULL");
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
    sql.rows(tx, &format!("SELECT {COLUMNS}")).await?.into_iter().map(read).collect()
}

/// The tenant's invoices of months that begin at `since` or later, the oldest first.
pub async fn months_since(tx: &mut Tx, tenant: TenantId, since: Timestamp) -> Result<Vec<Invoice>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND kind = 'invoice' AND starts_at >= $2 ORDER BY starts_at, id"
    );
    tx.rows(&sql, &[&tenant, &since]).await?.into_iter().map(read).collect()
}

/// From when until when the tenant's invoice bills in whose time an instant lies; `None` where that was not billed.
pub async fn month_of(tx: &mut Tx, tenant: TenantId, at: Timestamp) -> Result<Option<(Timestamp, Timestamp)>, Error> {
    let sql = "SELECT starts_at, ends_at FROM invoices WHERE tenant_id = $1 AND kind = 'invoice' AND starts_at <= $2 AND ends_at > $2 ORDER BY starts_at LIMIT 1";
    tx.row(sql, &[&tenant, &at]).await?.map(|mut row| Ok((row.get(0)?, row.get(1)?))).transpose()
}

/// All of the tenant's invoices and corrections, the oldest months first. For the recount.
pub async fn bills(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Invoice>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND kind <> 'credit_note' ORDER BY starts_at, id");
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// The tenant's invoices that are still to be paid, drafts among them, the oldest first.
pub async fn unpaid(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Invoice>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND kind <> 'credit_note' AND state IN ('draft', 'issued') ORDER BY id"
    );
    tx.rows(&sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// The tenant's unpaid invoice that was due first, if it was due by `now` and is not forgiven: due by `forgiven_until`.
pub async fn first_overdue(
    tx: &mut Tx,
    tenant: TenantId,
    forgiven_until: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Invoice>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invoices WHERE tenant_id = $1 AND kind <> 'credit_note' AND state = 'issued' AND due_at <= $2 AND due_at > $3 ORDER BY due_at, id LIMIT 1"
    );
    let after = forgiven_until.unwrap_or(Timestamp::EPOCH);
    tx.row(&sql, &[&tenant, &now, &after]).await?.map(read).transpose()
}

/// Tenants with an invoice that became overdue by `now`, was not forgiven, and whose subscription does not say so yet. Across tenants: for the job that notices.
pub async fn newly_overdue(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT DISTINCT i.tenant_id FROM invoices i JOIN subscriptions s ON s.tenant_id = i.tenant_id JOIN tenants t ON t.id = i.tenant_id
        WHERE i.kind <> 'credit_note' AND i.state = 'issued' AND i.due_at <= $1 AND (s.forgiven_until IS NULL OR i.due_at > s.forgiven_until) AND s.past_due_since IS NULL AND t.deleted_at IS NULL
        ORDER BY i.tenant_id LIMIT $2";
    tx.rows(sql, &[&now, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Invoices whose mail is to be tried by `now`, those that wait longest first. Across tenants: for the job that mails.
pub async fn to_mail(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Invoice>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invoices WHERE mail_at <= $1 AND mail_state IN ('waiting', 'failed') ORDER BY mail_at, id LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Invoices whose mail is out and is to be looked at by `now`, those that wait longest first. Across tenants: for the job that mails.
pub async fn mailed(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Invoice>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM invoices WHERE mail_at <= $1 AND mail_state IN ('accepted', 'sent') ORDER BY mail_at, id LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Lets the tenant's invoices go out now that did not reach anybody, because there is an address by now.
pub async fn mail_again(tx: &mut Tx, tenant: TenantId, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE invoices SET mail_at = $1, mail_tries = mail_tries + 1 WHERE tenant_id = $2 AND mail_state IN ('waiting', 'failed') AND state NOT IN ('draft', 'void')";
    tx.execute(sql, &[&now, &tenant]).await.map(drop)
}

/// Takes the next number of a series. Others who take one of it wait until this transaction ends, so none is lost.
pub async fn next_number(tx: &mut Tx, series: &str) -> Result<i64, Error> {
    let sql = "INSERT INTO invoice_series (series, last_number) VALUES ($1, 1)
        ON CONFLICT (series) DO UPDATE SET last_number = invoice_series.last_number + 1 RETURNING last_number";
    let row = tx.row(sql, &[&series]).await?;
    row.ok_or_else(|| Error::Other("a series of invoices gave no number".to_owned()))?.get(0)
}

/// Every series with its last number. For the recount.
pub async fn series(tx: &mut Tx) -> Result<Vec<(String, i64)>, Error> {
    let rows = tx.rows("SELECT series, last_number FROM invoice_series ORDER BY series", &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// A page of all invoices after one, in the order of their ids. Across tenants: for the recount.
pub async fn page(tx: &mut Tx, after: InvoiceId, limit: i64) -> Result<Vec<Invoice>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM invoices WHERE id > $1 ORDER BY id LIMIT $2");
    tx.rows(&sql, &[&after, &limit]).await?.into_iter().map(read).collect()
}

/// A row of `invoiced_usage`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoiced {
    /// Whose.
    pub tenant_id: TenantId,
    /// From when.
    pub starts_at: Timestamp,
    /// Over which channel.
    pub channel: Channel,
    /// To which country; empty for addresses that lie in none.
    pub country: String,
    /// Until when.
    pub ends_at: Timestamp,
    /// Messages that are on invoices.
    pub sent: i64,
    /// Messages a price list charged that are on invoices.
    pub charges: i64,
    /// What it charged for them.
    pub charged: i64,
}

/// Writes what is on invoices now; the tenants are the rows' own.
pub async fn put_invoiced(tx: &mut Tx, rows: &[Invoiced]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("starts_at", Kind::Time),
        ("channel", Kind::Int),
        ("country", Kind::Text),
        ("ends_at", Kind::Time),
        ("sent", Kind::Int),
        ("charges", Kind::Int),
        ("charged", Kind::Int),
    ]);
    for r in rows {
        given.row([&r.tenant_id, &r.starts_at, &r.channel, &r.country, &r.ends_at, &r.sent, &r.charges, &r.charged]);
    }
    let suffix = "ON CONFLICT (tenant_id, starts_at, channel, country) DO UPDATE SET sent = excluded.sent, charges = excluded.charges, charged = excluded.charged";
    tx.insert_many("invoiced_usage", &given, suffix).await.map(drop)
}

/// What is on invoices of the tenant's months that begin at `since` or later, in the order of the keys.
pub async fn invoiced_since(tx: &mut Tx, tenant: TenantId, since: Timestamp) -> Result<Vec<Invoiced>, Error> {
    let sql = "SELECT tenant_id, starts_at, channel, country, ends_at, sent, charges, charged FROM invoiced_usage WHERE tenant_id = $1 AND starts_at >= $2
        ORDER BY starts_at, channel, country";
    let read = |mut row: Row| {
        Ok(Invoiced {
            tenant_id: row.get(0)?,
            starts_at: row.get(1)?,
            channel: row.get(2)?,
            country: row.get(3)?,
            ends_at: row.get(4)?,
            sent: row.get(5)?,
            charges: row.get(6)?,
            charged: row.get(7)?,
        })
    };
    tx.rows(sql, &[&tenant, &since]).await?.into_iter().map(read).collect()
}

/// How the operator writes invoices, as JSON; `None` until it said so.
pub async fn settings(tx: &mut Tx) -> Result<Option<String>, Error> {
    let row = tx.row("SELECT body FROM billing_settings WHERE id = 1", &[]).await?;
    row.map(|mut row| row.get(0)).transpose()
}

/// Says how the operator writes invoices.
pub async fn put_settings(tx: &mut Tx, body: &str, now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO billing_settings (id, body, updated_at) VALUES (1, $1, $2)
        ON CONFLICT (id) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at";
    tx.execute(sql, &[&body, &now]).await.map(drop)
}
