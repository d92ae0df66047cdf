//! Every request a provider made to us, as it came: what support looks at when a report is missed, and what makes a repeated request no second one.
//!
//! `dedupe` is set only on verified requests. A forged request can therefore never stand in the way of a real one.
//!
//! What the operator's payment provider tells is the operator's own: it is kept under the zero id and came to no account, which is the zero id as well.

use model::{AccountId, CallbackId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Param, Row, Tx};

/// A row of `callback_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Whose; the operator's own are kept under the zero id.
    pub tenant_id: TenantId,
    /// Sortable id.
    pub id: CallbackId,
    /// To which account it came; the zero id for none.
    pub account_id: AccountId,
    /// When.
    pub received_at: Timestamp,
    /// `GET` or `POST`.
    pub method: String,
    /// What follows the account in the path.
    pub path: String,
    /// The query, without the question mark and without secrets.
    pub query: String,
    /// Headers without secrets, as a JSON list of pairs.
    pub headers: String,
    /// The body, perhaps shortened.
    pub body: Vec<u8>,
    /// How many bytes the body has, or had before it was shortened for the log or for a list.
    pub size: u64,
    /// Makes a repeated request the same row; `None` unless verified.
    pub dedupe: Option<Vec<u8>>,
    /// `valid`, `invalid` or `unreadable`.
    pub verdict: String,
    /// Why it is not valid or not readable, or what came of the call it asked for.
    pub detail: Option<String>,
    /// How many things it told us.
    pub observed: u32,
    /// How many of them are about messages we do not know (yet).
    pub unmatched: u32,
    /// How often it came again.
    pub repeats: u32,
    /// What it told about which messages, as JSON; `None` for nothing.
    pub told: Option<String>,
    /// Which event of a payment provider it is; nothing of what came to accounts.
    pub event: Event,
}

/// An event of a payment provider, as far as it could be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The provider's word for what it tells.
    pub kind: Option<String>,
    /// The provider's id.
    pub id: Option<String>,
    /// The tenant it is about; it may be gone by now.
    pub about: Option<TenantId>,
}

const COLUMNS: &str = "tenant_id, id, account_id, received_at, method, path, query, headers, size, dedupe, verdict, detail, observed, unmatched, repeats, told,
    event_type, event_id, about_id";

/// Bytes of each body that a list reads: enough to recognise a request by.
const LISTED_BODY: u32 = 2_048;

fn read(mut row: Row) -> Result<Callback, Error> {
    Ok(Callback {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        account_id: row.get(2)?,
        received_at: row.get(3)?,
        method: row.get(4)?,
        path: row.get(5)?,
        query: row.get(6)?,
        headers: row.get(7)?,
        size: row.get(8)?,
        dedupe: row.get(9)?,
        verdict: row.get(10)?,
        detail: row.get(11)?,
        observed: row.get(12)?,
        unmatched: row.get(13)?,
        repeats: row.get(14)?,
        told: row.get(15)?,
        event: Event { kind: row.get(16)?, id: row.get(17)?, about: row.get(18)? },
        body: row.get(19)?,
    })
}

/// Appends requests to anybody's accounts and answers how many. Fewer than given: another transaction was first with one of the verified ones, so the caller
/// rolls back and looks again. On PostgreSQL this waits for a transaction that is writing the same request.
pub async fn insert_many(tx: &mut Tx, callbacks: &[Callback]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("account_id", Kind::Id),
        ("received_at", Kind::Time),
        ("method", Kind::Text),
        ("path", Kind::Text),
        ("query", Kind::Text),
        ("headers", Kind::Text),
        ("body", Kind::Bytes),
        ("size", Kind::Int),
        ("dedupe", Kind::Bytes),
        ("verdict", Kind::Text),
        ("detail", Kind::Text),
        ("observed", Kind::Int),
        ("unmatched", Kind::Int),
        ("repeats", Kind::Int),
        ("told", Kind::Text),
        ("event_type", Kind::Text),
        ("event_id", Kind::Text),
        ("about_id", Kind::Id),
    ]);
    for c in callbacks {
        given.row([
            &c.tenant_id,
            &c.id,
            &c.account_id,
            &c.received_at,
            &c.method,
            &c.path,
            &c.query,
            &c.headers,
            &c.body,
            &c.size,
            &c.dedupe,
            &c.verdict,
            &c.detail,
            &c.observed,
            &c.unmatched,
            &c.repeats,
            &c.told,
            &c.event.kind,
            &c.event.id,
            &c.event.about,
        ]);
    }
    let suffix = "ON CONFLICT (account_id, dedupe) WHERE dedupe IS NOT NULL DO NOTHING";
    tx.insert_many("callback_log", &given, suffix).await
}

/// Appends a request of the operator's payment provider. One that was there before is counted on its row, which says from then on what it told this time if that `is_news`.
pub async fn put(tx: &mut Tx, c: &Callback, is_news: bool) -> Result<(), Error> {
    if insert_many(tx, std::slice::from_ref(c)).await? > 0 {
        return Ok(());
    }
    if is_news {
        let sql = "UPDATE callback_log SET repeats = repeats + 1, told = $1, detail = $2, observed = $3, unmatched = $4, about_id = $5 WHERE account_id = $6 AND dedupe = $7";
        let params: [&dyn Param; 7] =
            [&c.told, &c.detail, &c.observed, &c.unmatched, &c.event.about, &c.account_id, &c.dedupe];
        return tx.execute(sql, &params).await.map(drop);
    }
    let sql = "UPDATE callback_log SET repeats = repeats + 1 WHERE account_id = $1 AND dedupe = $2";
    tx.execute(sql, &[&c.account_id, &c.dedupe]).await.map(drop)
}

/// Which of these verified requests, of any tenants' accounts, were here before.
pub async fn known(tx: &mut Tx, keys: &[(AccountId, Vec<u8>)]) -> Result<Vec<(AccountId, Vec<u8>)>, Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("dedupe", Kind::Bytes)]);
    for (account, dedupe) in keys {
        given.row([account, dedupe]);
    }
    let statement = "SELECT account_id, dedupe FROM callback_log";
    let rows = tx.match_many(statement, &given, "AND dedupe IS NOT NULL").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Counts requests that came again: (account, dedupe, times). The caller gives each key once, in order, so that two transactions cannot wait for each other.
pub async fn count_repeats(tx: &mut Tx, repeats: &[(AccountId, Vec<u8>, u32)]) -> Result<(), Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("dedupe", Kind::Bytes), ("times", Kind::Int)]);
    for (account, dedupe, times) in repeats {
        given.row([account, dedupe, times]);
    }
    let sql = "UPDATE callback_log SET repeats = repeats + given.times FROM {given}
        WHERE callback_log.account_id = given.account_id AND callback_log.dedupe = given.dedupe AND callback_log.dedupe IS NOT NULL";
    tx.execute_many(sql, &given).await.map(drop)
}

/// Writes down what came of a request later, such as the call it asked for.
pub async fn set_detail(tx: &mut Tx, tenant: TenantId, id: CallbackId, detail: &str) -> Result<(), Error> {
    let sql = "UPDATE callback_log SET detail = $1 WHERE tenant_id = $2 AND id = $3";
    tx.execute(sql, &[&detail, &tenant, &id]).await.map(drop)
}

/// One of the tenant's requests, with its whole body.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: CallbackId) -> Result<Option<Callback>, Error> {
    let sql = format!("SELECT {COLUMNS}, body FROM callback_log WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Which requests a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// To this account.
    pub account_id: Option<AccountId>,
    /// With this verdict.
    pub verdict: Option<&'static str>,
    /// Of a payment provider: events of this type.
    pub event_type: Option<String>,
    /// Of a payment provider: the event with this id.
    pub event_id: Option<String>,
    /// Of a payment provider: about this tenant.
    pub about: Option<TenantId>,
}

/// The tenant's requests, newest first, that came before `before`, each with the beginning of its body.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: CallbackId,
    limit: i64,
) -> Result<Vec<Callback>, Error> {
    let mut sql = format!(
        "SELECT {COLUMNS}, CASE WHEN length(body) > {LISTED_BODY} THEN substr(body, 1, {LISTED_BODY}) ELSE body END
         FROM callback_log WHERE tenant_id = $1 AND id < $2"
    );
    let mut params: Vec<&dyn Param> = vec![&tenant, &before];
    let conditions: [(&str, Option<&dyn Param>); 5] = [
        ("account_id", filter.account_id.as_ref().map(|id| id as &dyn Param)),
        ("verdict", filter.verdict.as_ref().map(|verdict| verdict as &dyn Param)),
        ("event_type", filter.event_type.as_ref().map(|kind| kind as &dyn Param)),
        ("event_id", filter.event_id.as_ref().map(|id| id as &dyn Param)),
        ("about_id", filter.about.as_ref().map(|tenant| tenant as &dyn Param)),
    ];
    for (column, value) in conditions {
        let Some(value) = value else { continue };
        params.push(value);
        sql.push_str(&format!(" AND {column} = ${}", params.len()));
    }
    params.push(&limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
    tx.rows(&sql, &params).await?.into_iter().map(read).collect()
}

/// What one [`purge`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Rows removed.
    pub removed: u64,
    /// The tenant whose turn this was: the next turn begins after it, or with it again when `limit` rows were removed. `None` when no tenant was left.
    pub tenant: Option<TenantId>,
}

/// Forgets up to `limit` requests received before `before` of the next tenant after `after`; `None` begins with the operator. Across tenants: for the cleaner. Hops over the primary key, so
/// the cost is in tenants and old rows, not in rows.
pub async fn purge(tx: &mut Tx, after: Option<TenantId>, before: Timestamp, limit: i64) -> Result<Purged, Error> {
    let found = match &after {
        Some(after) => {
            let next = "SELECT tenant_id FROM callback_log WHERE tenant_id > $1 ORDER BY tenant_id LIMIT 1";
            tx.row(next, &[after]).await?
        }
        None => tx.row("SELECT tenant_id FROM callback_log ORDER BY tenant_id LIMIT 1", &[]).await?,
    };
    let Some(mut row) = found else { return Ok(Purged { removed: 0, tenant: None }) };
    let tenant: TenantId = row.get(0)?;
    let end = CallbackId::from_ulid(u128::from(before.as_millis().max(0).unsigned_abs()) << 80);
    let sql = "DELETE FROM callback_log WHERE tenant_id = $1 AND id IN
        (SELECT id FROM callback_log WHERE tenant_id = $1 AND id < $2 ORDER BY id LIMIT $3)";
    let removed = tx.execute(sql, &[&tenant, &end, &limit]).await?;
    Ok(Purged { removed, tenant: Some(tenant) })
}

/// Forgets up to `limit` of a tenant's requests with this verdict that have `keep` newer ones. Answers how many.
pub async fn trim(tx: &mut Tx, tenant: TenantId, verdict: &str, keep: i64, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM callback_log WHERE tenant_id = $1 AND id IN
        (SELECT id FROM callback_log WHERE tenant_id = $1 AND verdict = $2 ORDER BY id DESC LIMIT $4 OFFSET $3)";
    tx.execute(sql, &[&tenant, &verdict, &keep, &limit]).await
}
