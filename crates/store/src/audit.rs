//! The audit log: who changed what in a tenant. Append-only, and each entry is chained to the one before by a hash that the engine makes.

use model::{AuditId, TenantId, Timestamp};

use crate::{Error, Row, Tx, sql::Sql};

/// A row of `audit_log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose log; the operator's own is kept under the zero id.
    pub tenant: TenantId,
    /// Sortable id.
    pub id: AuditId,
    /// When.
    pub at: Timestamp,
    /// Who: a key, a user or the system.
    pub actor: String,
    /// What was done, as in `account.updated`.
    pub action: String,
    /// To what: an id.
    pub subject: String,
    /// What changed, as JSON without secrets.
    pub detail: String,
    /// From where.
    pub ip: Option<String>,
}

const COLUMNS: &str = "tenant_id, id, at, actor, action, subject, detail, ip";
const CHAINED: &str = "number, hash, detail_hash, detail_salt";

fn read(mut row: Row) -> Result<Entry, Error> {
    Ok(Entry {
        tenant: row.get(0)?,
        id: row.get(1)?,
        at: row.get(2)?,
        actor: row.get(3)?,
        action: row.get(4)?,
        subject: row.get(5)?,
        detail: row.get(6)?,
        ip: row.get(7)?,
    })
}

/// An entry's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Counts the entries, from 1; 0 is the beginning of a chain.
    pub number: i64,
    /// Covers the entry and the hash before it.
    pub hash: Vec<u8>,
}

/// What the chain holds of an entry's detail, which may be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// Covers the salt and the detail.
    pub hash: Vec<u8>,
    /// Without it nobody can find out what the detail was; `None` once that was erased.
    pub salt: Option<String>,
}

/// The last link of the tenant's chain; `None` before the first. Whoever asks holds the chain until the transaction ends, so that links follow one another.
pub async fn lock_head(tx: &mut Tx, tenant: TenantId) -> Result<Option<Link>, Error> {
    let sql = "INSERT INTO audit_heads (tenant_id, number, hash) VALUES ($1, 0, $2) ON CONFLICT (tenant_id) DO NOTHING";
    tx.execute(sql, &[&tenant, &Vec::<u8>::new()]).await?;
    let lock = tx.dialect().for_update();
    head_of(tx, tenant, lock).await
}

/// The last link of the tenant's chain, to compare with; `None` before the first.
pub async fn head(tx: &mut Tx, tenant: TenantId) -> Result<Option<Link>, Error> {
    head_of(tx, tenant, "").await
}

async fn head_of(tx: &mut Tx, tenant: TenantId, lock: &str) -> Result<Option<Link>, Error> {
    let sql = format!("SELECT number, hash FROM audit_heads WHERE tenant_id = $1 {lock}");
    let link = |mut row: Row| Ok::<_, Error>(Link { number: row.get(0)?, hash: row.get(1)? });
    Ok(tx.row(&sql, &[&tenant]).await?.map(link).transpose()?.filter(|link| link.number > 0))
}

/// Appends an entry with its place in the chain. The caller holds the chain's head.
pub async fn append(tx: &mut Tx, entry: &Entry, link: &Link, commitment: &Commitment) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO audit_log ({COLUMNS}, {CHAINED}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
    );
    tx.execute(
        &sql,
        &[
            &entry.tenant,
            &entry.id,
            &entry.at,
            &entry.actor,
            &entry.action,
            &entry.subject,
            &entry.detail,
            &entry.ip,
            &link.number,
            &link.hash,
            &commitment.hash,
            &commitment.salt,
        ],
    )
    .await?;
    let sql = "UPDATE audit_heads SET number = $1, hash = $2 WHERE tenant_id = $3";
    tx.execute(sql, &[&link.number, &link.hash, &entry.tenant]).await.map(drop)
}

/// Whose logs there are. Across tenants: to verify them.
pub async fn owners(tx: &mut Tx) -> Result<Vec<TenantId>, Error> {
    let sql = "SELECT tenant_id FROM audit_log UNION SELECT tenant_id FROM audit_heads ORDER BY tenant_id";
    tx.rows(sql, &[]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// The tenant's chained entries after the link `number`, in the order of the chain.
pub async fn chain(
    tx: &mut Tx,
    tenant: TenantId,
    number: i64,
    limit: i64,
) -> Result<Vec<(Entry, Link, Commitment)>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, {CHAINED} FROM audit_log WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3"
    );
    let rows = tx.rows(&sql, &[&tenant, &number, &limit]).await?;
    let split = |mut row: Row| {
        let link = Link { number: row.get(8)?, hash: row.get(9)? };
        let commitment = Commitment { hash: row.get(10)?, salt: row.get(11)? };
        Ok((read(row)?, link, commitment))
    };
    rows.into_iter().map(split).collect()
}

/// The first of the tenant's entries that lies outside of the chain although it is younger than its first link. Those from before there was a chain have no place in it.
pub async fn unchained(tx: &mut Tx, tenant: TenantId) -> Result<Option<AuditId>, Error> {
    let sql = "SELECT id FROM audit_log WHERE tenant_id = $1 AND number IS NULL
        AND id > (SELECT id FROM audit_log WHERE tenant_id = $1 AND number = 1) ORDER BY id LIMIT 1";
    tx.row(sql, &[&tenant]).await?.map(|mut row| row.get(0)).transpose()
}

/// Up to `limit` of the tenant's entries about one thing behind `after`, oldest first.
pub async fn about(
    tx: &mut Tx,
    tenant: TenantId,
    subject: &str,
    after: AuditId,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_log WHERE tenant_id = $1 AND id > $2 AND subject = $3 ORDER BY id LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &after, &subject, &limit]).await?.into_iter().map(read).collect()
}

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By this one.
    pub actor: Option<String>,
    /// Of this action, or of all that begin so.
    pub action: Option<Action>,
    /// Of actions that begin with one of these.
    pub nouns: Vec<String>,
    /// About this one.
    pub subject: Option<String>,
    /// With this text in the subject, the actor or the detail, whatever the case of Latin letters: among the newest entries ([`SEARCHED`]).
    pub text: Option<String>,
    /// Made from this instant on.
    pub since: Option<Timestamp>,
    /// Made before this instant.
    pub until: Option<Timestamp>,
}

/// Entries a text is looked for in, the newest ones before where a list begins: some tenths of a second.
pub const SEARCHED: i64 = 100_000;

/// Which actions are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// This one.
    Is(String),
    /// All about a noun, as `account.`.
    BeginsWith(String),
}

/// The tenant's entries made before `before`, newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: AuditId,
    limit: i64,
) -> Result<Vec<Entry>, Error> {
    let mut sql = Sql::default();
    sql.push(" FROM audit_log WHERE tenant_id = ").bind(tenant).push(" AND id < ").bind(before);
    if let Some(actor) = &filter.actor {
        sql.push(" AND actor = ").bind(actor.as_str());
    }
    match &filter.action {
        None => {}
        Some(Action::Is(action)) => {
            sql.push(" AND action = ").bind(action.as_str());
        }
        Some(Action::BeginsWith(start)) => begins_with_any(sql.push(" AND "), std::slice::from_ref(start)),
    }
    if !filter.nouns.is_empty() {
        begins_with_any(sql.push(" AND "), &filter.nouns);
    }
    if let Some(subject) = &filter.subject {
        sql.push(" AND subject = ").bind(subject.as_str());
    }
    if let Some(since) = filter.since {
        sql.push(" AND at >= ").bind(since);
    }
    if let Some(until) = filter.until {
        sql.push(" AND at < ").bind(until);
    }
    if let Some(text) = &filter.text {
        for (index, column) in ["subject", "actor", "detail"].into_iter().enumerate() {
            sql.push(if index == 0 { " AND (" } else { " OR " }).contains_word(tx.dialect(), column, text);
        }
        sql.push(") AND id >= COALESCE((SELECT id FROM audit_log WHERE tenant_id = ").bind(tenant);
        sql.push(" AND id < ").bind(before);
        if let Some(until) = filter.until {
            sql.push(" AND at < ").bind(until);
        }
        sql.push(" ORDER BY id DESC LIMIT 1 OFFSET ").bind(SEARCHED).push("), ").bind(AuditId::from_ulid(0)).push(")");
    }
    sql.push(" ORDER BY id DESC LIMIT ").bind(limit);
    sql.rows(tx, &format!("SELECT {COLUMNS}")).await?.into_iter().map(read).collect()
}

/// Not a range: the column does not compare byte by byte everywhere.
fn begins_with_any(sql: &mut Sql, starts: &[String]) {
    for (index, start) in starts.iter().enumerate() {
        let length = start.chars().count() as i64;
        sql.push(if index == 0 { "(" } else { " OR " });
        sql.push("substr(action, 1, CAST(").bind(length).push(" AS INTEGER)) = ").bind(start.clone());
    }
    sql.push(")");
}
