//! Credit that is bought, money that goes back, what tenants pay with, and what a payment provider told us.

use model::{PurchaseId, RefundId, TenantId, Timestamp};

use crate::{Error, Param, Row, Tx};

/// A row of `credit_purchases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: PurchaseId,
    /// At which payment provider; `operator` for one the operator recorded.
    pub provider: String,
    /// `opening`, `open`, `pending`, `paid`, `failed` or `expired`.
    pub state: String,
    /// How much credit is bought.
    pub amount: i64,
    /// The tax that is paid on top of it; `None` where it is sold without any.
    pub tax: Option<Tax>,
    /// ISO 4217 code.
    pub currency: String,
    /// What was given back of the credit, or is about to be.
    pub refunded: i64,
    /// What was given back of the tax with it.
    pub refunded_tax: i64,
    /// The operator's reference.
    pub reference: Option<String>,
    /// The provider's id of the page it is paid on.
    pub session: Option<String>,
    /// The provider's id of the payment.
    pub payment: Option<String>,
    /// Where it is paid.
    pub url: Option<String>,
    /// Why it came to nothing.
    pub failure: Option<String>,
    /// True when nobody asked for it but a mark that was crossed.
    pub is_top_up: bool,
    /// True when what it is paid with is to be kept for such purchases.
    pub saves_method: bool,
    /// How often something was to be asked of the provider about it.
    pub looks: i64,
    /// How many of these were answered.
    pub looked: i64,
    /// The number of the entry it brought.
    pub entry: Option<i64>,
    /// Where its payer asked the bank for the money, as a JSON array.
    pub disputes: String,
    /// True while one of these is not over.
    pub is_disputed: bool,
    /// When the provider is next asked what became of it, should it not tell by itself; `None` once it is over.
    pub ask_at: Option<Timestamp>,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Purchase {
    /// How much of what is paid is tax.
    pub fn tax_micros(&self) -> i64 {
        self.tax.as_ref().map_or(0, |tax| tax.amount)
    }

    /// What is paid: the credit and its tax.
    pub fn total(&self) -> i64 {
        self.amount.saturating_add(self.tax_micros())
    }
}

/// The tax credit is sold with, as it was when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    /// What it is called.
    pub name: String,
    /// In millionths of the credit.
    pub rate_ppm: i64,
    /// How much.
    pub amount: i64,
    /// The customer's country.
    pub country: Option<String>,
    /// The customer's tax number.
    pub number: Option<String>,
}

/// A row of `credit_refunds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: RefundId,
    /// Of what, where it is of one purchase.
    pub purchase_id: Option<PurchaseId>,
    /// Through which payment provider; `operator` for money that went back outside of Tidings.
    pub provider: String,
    /// `opening`, `pending`, `done` or `failed`.
    pub state: String,
    /// How much credit goes back.
    pub amount: i64,
    /// The tax that goes back with it: money at the provider is both.
    pub tax: i64,
    /// What the ledger gave for it.
    pub taken: i64,
    /// Why.
    pub reason: String,
    /// The provider's id.
    pub provider_id: Option<String>,
    /// Why it came to nothing.
    pub failure: Option<String>,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// A row of `payment_methods`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentMethod {
    /// Whose.
    pub tenant_id: TenantId,
    /// At which payment provider.
    pub provider: String,
    /// The provider's id of who pays.
    pub customer: String,
    /// The provider's id of what with.
    pub method: String,
    /// The same for people.
    pub name: String,
    /// The last crossing of the ledger's mark that was acted upon.
    pub acted: i64,
    /// When it was kept.
    pub created_at: Timestamp,
}

/// How one payment provider is used, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentSettings {
    /// JSON, sealed.
    pub settings: Vec<u8>,
    /// By which of the operator's data keys.
    pub data_key_id: i64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// True of what is not put off; the first parameter is now.
const IS_DUE: &str = "(retry_at IS NULL OR retry_at <= $1)";

const PURCHASE: &str = "tenant_id, id, provider, state, amount, currency, refunded, reference, session, payment, url, failure, is_top_up, saves_method, looks, looked, entry, actor,
    created_at, updated_at, disputes, is_disputed, ask_at, tax, tax_name, tax_rate_ppm, tax_country, tax_number, refunded_tax";

fn read(mut row: Row) -> Result<Purchase, Error> {
    let row = &mut row;
    let tax = match row.get::<Option<String>>(24)? {
        Some(name) => Some(Tax {
            name,
            rate_ppm: row.get::<Option<i64>>(25)?.unwrap_or_default(),
            amount: row.get(23)?,
            country: row.get(26)?,
            number: row.get(27)?,
        }),
        None => None,
    };
    Ok(Purchase {
        tax,
        refunded_tax: row.get(28)?,
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        provider: row.get(2)?,
        state: row.get(3)?,
        amount: row.get(4)?,
        currency: row.get(5)?,
        refunded: row.get(6)?,
        reference: row.get(7)?,
        session: row.get(8)?,
        payment: row.get(9)?,
        url: row.get(10)?,
        failure: row.get(11)?,
        is_top_up: row.get(12)?,
        saves_method: row.get(13)?,
        looks: row.get(14)?,
        looked: row.get(15)?,
        entry: row.get(16)?,
        actor: row.get(17)?,
        created_at: row.get(18)?,
        updated_at: row.get(19)?,
        disputes: row.get(20)?,
        is_disputed: row.get(21)?,
        ask_at: row.get(22)?,
    })
}

/// Writes a purchase, new or changed. Whoever changes one holds the tenant's ledger.
pub async fn put(tx: &mut Tx, tenant: TenantId, p: &Purchase) -> Result<(), Error> {
    let values = (1..=29).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "INSERT INTO credit_purchases ({PURCHASE}) VALUES ({values}) ON CONFLICT (tenant_id, id) DO UPDATE SET state = excluded.state, amount = excluded.amount,
         refunded = excluded.refunded, session = excluded.session, payment = excluded.payment, url = excluded.url, failure = excluded.failure,
         saves_method = excluded.saves_method, looks = excluded.looks, looked = excluded.looked, entry = excluded.entry, updated_at = excluded.updated_at,
         disputes = excluded.disputes, is_disputed = excluded.is_disputed, ask_at = excluded.ask_at, tax = excluded.tax, refunded_tax = excluded.refunded_tax"
    );
    let tax = p.tax.as_ref();
    let (tax_micros, name, rate) = (p.tax_micros(), tax.map(|tax| &tax.name), tax.map(|tax| tax.rate_ppm));
    let (country, number) = (tax.and_then(|tax| tax.country.as_ref()), tax.and_then(|tax| tax.number.as_ref()));
    let params: [&dyn Param; 29] = [
        &tenant,
        &p.id,
        &p.provider,
        &p.state,
        &p.amount,
        &p.currency,
        &p.refunded,
        &p.reference,
        &p.session,
        &p.payment,
        &p.url,
        &p.failure,
        &p.is_top_up,
        &p.saves_method,
        &p.looks,
        &p.looked,
        &p.entry,
        &p.actor,
        &p.created_at,
        &p.updated_at,
        &p.disputes,
        &p.is_disputed,
        &p.ask_at,
        &tax_micros,
        &name,
        &rate,
        &country,
        &number,
        &p.refunded_tax,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// One of a tenant's purchases.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: PurchaseId) -> Result<Option<Purchase>, Error> {
    let sql = format!("SELECT {PURCHASE} FROM credit_purchases WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Purchases before `before`, newest first.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: PurchaseId, limit: i64) -> Result<Vec<Purchase>, Error> {
    let sql =
        format!("SELECT {PURCHASE} FROM credit_purchases WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// The tenant's purchases that were ever disputed, newest first.
pub async fn with_disputes(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Vec<Purchase>, Error> {
    let sql = format!(
        "SELECT {PURCHASE} FROM credit_purchases WHERE tenant_id = $1 AND disputes <> '[]' ORDER BY id DESC LIMIT $2"
    );
    tx.rows(&sql, &[&tenant, &limit]).await?.into_iter().map(read).collect()
}

/// What a tenant bought by itself since an instant, or may have: how many purchases, and how much credit.
pub async fn topped_up(tx: &mut Tx, tenant: TenantId, since: Timestamp) -> Result<(i64, i64), Error> {
    let sql = "SELECT COUNT(*), CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM credit_purchases
        WHERE tenant_id = $1 AND is_top_up AND state <> 'failed' AND created_at > $2";
    let Some(mut row) = tx.row(sql, &[&tenant, &since]).await? else { return Ok((0, 0)) };
    Ok((row.get(0)?, row.get(1)?))
}

/// The purchase behind a payment, one that was paid before all others. Across tenants: for what the payment provider says of it.
pub async fn of_payment(tx: &mut Tx, payment: &str) -> Result<Option<Purchase>, Error> {
    let sql = format!(
        "SELECT {PURCHASE} FROM credit_purchases WHERE payment = $1 ORDER BY CASE state WHEN 'paid' THEN 0 ELSE 1 END, id LIMIT 1"
    );
    tx.row(&sql, &[&payment]).await?.map(read).transpose()
}

/// Purchases the provider was not asked for yet, oldest first. Across tenants: for the job that asks.
pub async fn opening(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Purchase>, Error> {
    let sql =
        format!("SELECT {PURCHASE} FROM credit_purchases WHERE state = 'opening' AND {IS_DUE} ORDER BY id LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Purchases about which something is to be asked, oldest first. Across tenants: for the job that asks.
pub async fn to_look_at(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Purchase>, Error> {
    let sql = format!("SELECT {PURCHASE} FROM credit_purchases WHERE looked < looks AND {IS_DUE} ORDER BY id LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

/// Purchases whose provider is to be asked what became of them by now, those that wait longest first. Across tenants: for the job that asks.
pub async fn to_ask_about(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Purchase>, Error> {
    let sql = format!(
        "SELECT {PURCHASE} FROM credit_purchases WHERE ask_at <= $1 AND tenant_id IN (SELECT id FROM tenants WHERE deleted_at IS NULL) ORDER BY ask_at, id LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read).collect()
}

const REFUND: &str = "tenant_id, id, purchase_id, provider, state, amount, taken, reason, provider_id, failure, actor, created_at, updated_at, tax";

fn read_refund(mut row: Row) -> Result<Refund, Error> {
    let row = &mut row;
    Ok(Refund {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        purchase_id: row.get(2)?,
        provider: row.get(3)?,
        state: row.get(4)?,
        amount: row.get(5)?,
        taken: row.get(6)?,
        reason: row.get(7)?,
        provider_id: row.get(8)?,
        failure: row.get(9)?,
        actor: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        tax: row.get(13)?,
    })
}

/// Writes a refund, new or changed. Whoever changes one holds the tenant's ledger.
pub async fn put_refund(tx: &mut Tx, tenant: TenantId, r: &Refund) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO credit_refunds ({REFUND}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (tenant_id, id) DO UPDATE SET state = excluded.state, provider_id = excluded.provider_id, failure = excluded.failure, updated_at = excluded.updated_at"
    );
    tx.execute(&sql, &refund_values(&tenant, r)).await.map(drop)
}

/// Adds a refund of which the provider told first. False when its id there is known already, of whichever tenant.
pub async fn add_refund(tx: &mut Tx, tenant: TenantId, r: &Refund) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO credit_refunds ({REFUND}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING"
    );
    Ok(tx.execute(&sql, &refund_values(&tenant, r)).await? > 0)
}

fn refund_values<'a>(tenant: &'a TenantId, r: &'a Refund) -> [&'a dyn Param; 14] {
    [
        tenant,
        &r.id,
        &r.purchase_id,
        &r.provider,
        &r.state,
        &r.amount,
        &r.taken,
        &r.reason,
        &r.provider_id,
        &r.failure,
        &r.actor,
        &r.created_at,
        &r.updated_at,
        &r.tax,
    ]
}

/// One of a tenant's refunds.
pub async fn find_refund(tx: &mut Tx, tenant: TenantId, id: RefundId) -> Result<Option<Refund>, Error> {
    let sql = format!("SELECT {REFUND} FROM credit_refunds WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read_refund).transpose()
}

/// The tenant's refund the provider knows under an id.
pub async fn refund_by_provider(tx: &mut Tx, tenant: TenantId, provider_id: &str) -> Result<Option<Refund>, Error> {
    let sql = format!("SELECT {REFUND} FROM credit_refunds WHERE tenant_id = $1 AND provider_id = $2");
    tx.row(&sql, &[&tenant, &provider_id]).await?.map(read_refund).transpose()
}

/// Refunds before `before`, newest first.
pub async fn refunds(tx: &mut Tx, tenant: TenantId, before: RefundId, limit: i64) -> Result<Vec<Refund>, Error> {
    let sql = format!("SELECT {REFUND} FROM credit_refunds WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read_refund).collect()
}

/// Refunds the provider was not asked for yet, oldest first. Across tenants: for the job that asks.
pub async fn opening_refunds(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Refund>, Error> {
    let sql = format!("SELECT {REFUND} FROM credit_refunds WHERE state = 'opening' AND {IS_DUE} ORDER BY id LIMIT $2");
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(read_refund).collect()
}

/// What a job could not do something about.
#[derive(Debug, Clone, Copy)]
pub enum Stuck {
    /// A purchase.
    Purchase(TenantId, PurchaseId),
    /// A refund.
    Refund(TenantId, RefundId),
    /// What a tenant pays with when credit runs low.
    Method(TenantId),
}

/// Lets the jobs pass something over until an instant, so that it does not keep the others.
pub async fn put_off(tx: &mut Tx, stuck: Stuck, until: Timestamp) -> Result<(), Error> {
    let purchase = "UPDATE credit_purchases SET retry_at = $1, ask_at = CASE WHEN ask_at < $1 THEN $1 ELSE ask_at END WHERE tenant_id = $2 AND id = $3";
    let refund = "UPDATE credit_refunds SET retry_at = $1 WHERE tenant_id = $2 AND id = $3";
    let method = "UPDATE payment_methods SET retry_at = $1 WHERE tenant_id = $2";
    let done = match stuck {
        Stuck::Purchase(tenant, id) => tx.execute(purchase, &[&until, &tenant, &id]).await,
        Stuck::Refund(tenant, id) => tx.execute(refund, &[&until, &tenant, &id]).await,
        Stuck::Method(tenant) => tx.execute(method, &[&until, &tenant]).await,
    };
    done.map(drop)
}

/// Keeps what a tenant pays with, in place of what it was before.
pub async fn put_method(tx: &mut Tx, tenant: TenantId, m: &PaymentMethod) -> Result<(), Error> {
    let sql = "INSERT INTO payment_methods (tenant_id, provider, customer, method, name, acted, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (tenant_id) DO UPDATE SET provider = excluded.provider, customer = excluded.customer, method = excluded.method, name = excluded.name,
        acted = excluded.acted, created_at = excluded.created_at";
    tx.execute(sql, &[&tenant, &m.provider, &m.customer, &m.method, &m.name, &m.acted, &m.created_at]).await.map(drop)
}

/// What a tenant pays with.
pub async fn method(tx: &mut Tx, tenant: TenantId) -> Result<Option<PaymentMethod>, Error> {
    let sql = "SELECT tenant_id, provider, customer, method, name, acted, created_at FROM payment_methods WHERE tenant_id = $1";
    let read = |mut row: Row| {
        Ok(PaymentMethod {
            tenant_id: row.get(0)?,
            provider: row.get(1)?,
            customer: row.get(2)?,
            method: row.get(3)?,
            name: row.get(4)?,
            acted: row.get(5)?,
            created_at: row.get(6)?,
        })
    };
    tx.row(sql, &[&tenant]).await?.map(read).transpose()
}

/// Forgets what a tenant pays with. False when there was nothing.
pub async fn forget_method(tx: &mut Tx, tenant: TenantId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM payment_methods WHERE tenant_id = $1", &[&tenant]).await? > 0)
}

/// Tenants whose credit fell below their mark, who have something to pay with, and for whom nothing was bought yet and nothing is being bought by itself. Across tenants: for the job that buys.
pub async fn running_low(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT m.tenant_id FROM payment_methods m JOIN credit_ledgers l ON l.tenant_id = m.tenant_id
        WHERE l.is_topping_up AND l.top_ups > m.acted AND l.mode <> 'none' AND (m.retry_at IS NULL OR m.retry_at <= $1)
        AND NOT EXISTS (SELECT 1 FROM credit_purchases p WHERE p.tenant_id = m.tenant_id AND p.is_top_up AND p.state IN ('opening', 'pending')) ORDER BY m.tenant_id LIMIT $2";
    tx.rows(sql, &[&now, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Notes an event of a payment provider. False when it was taken before.
pub async fn take_event(tx: &mut Tx, id: &str, kind: &str, now: Timestamp) -> Result<bool, Error> {
    let sql = "INSERT INTO payment_events (id, kind, received_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING";
    Ok(tx.execute(sql, &[&id, &kind, &now]).await? > 0)
}

/// Forgets events older than `before`, `limit` at most. Answers how many.
pub async fn forget_events(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM payment_events WHERE id IN (SELECT id FROM payment_events WHERE received_at < $1 ORDER BY received_at LIMIT $2)";
    tx.execute(sql, &[&before, &limit]).await
}

/// How a payment provider is used.
pub async fn settings(tx: &mut Tx, provider: &str) -> Result<Option<PaymentSettings>, Error> {
    let sql = "SELECT settings, data_key_id, updated_at FROM payment_settings WHERE provider = $1";
    let read =
        |mut row: Row| Ok(PaymentSettings { settings: row.get(0)?, data_key_id: row.get(1)?, updated_at: row.get(2)? });
    tx.row(sql, &[&provider]).await?.map(read).transpose()
}

/// Says how a payment provider is used; `None` for no longer.
pub async fn put_settings(tx: &mut Tx, provider: &str, settings: Option<&PaymentSettings>) -> Result<(), Error> {
    let Some(s) = settings else {
        return tx.execute("DELETE FROM payment_settings WHERE provider = $1", &[&provider]).await.map(drop);
    };
    let sql = "INSERT INTO payment_settings (provider, settings, data_key_id, updated_at) VALUES ($1, $2, $3, $4)
        ON CONFLICT (provider) DO UPDATE SET settings = excluded.settings, data_key_id = excluded.data_key_id, updated_at = excluded.updated_at";
    tx.execute(sql, &[&provider, &s.settings, &s.data_key_id, &s.updated_at]).await.map(drop)
}
