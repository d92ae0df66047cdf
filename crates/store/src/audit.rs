//! The audit log: who changed what in a tenant. Append-only, and each entry is chained to the one before by a hash that the engine makes.

use std::collections::BTreeMap;

use model::{AuditId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx, sql::Sql};

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
    /// What the browser or program calls itself.
    pub agent: Option<String>,
    /// `user`, `key`, `operator` or `system`; `None` for entries from before this was kept.
    pub actor_kind: Option<String>,
    /// What they were called then: a person's e-mail address, or a key's name.
    pub actor_name: Option<String>,
    /// In which tenant, of an entry of the operator's log; `None` in every other log, and where it was in none.
    pub acted_in: Option<ActedIn>,
}

/// The tenant an entry of the operator's log is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActedIn {
    /// Which one. It may be gone by now.
    pub tenant: TenantId,
    /// What it was called then; empty when that was not known any more.
    pub name: String,
}

const COLUMNS: &str =
    "tenant_id, id, at, actor, action, subject, detail, ip, agent, actor_kind, actor_name, acted_in, acted_in_name";
const CHAINED: &str = "number, hash, seal, detail_hash, detail_salt";

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
        agent: row.get(8)?,
        actor_kind: row.get(9)?,
        actor_name: row.get(10)?,
        acted_in: match row.get(11)? {
            Some(tenant) => Some(ActedIn { tenant, name: row.get::<Option<String>>(12)?.unwrap_or_default() }),
            None => None,
        },
    })
}

/// An entry's place in the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Counts the entries, from 1; 0 is the beginning of a chain.
    pub number: i64,
    /// Covers the entry and the hash before it.
    pub hash: Vec<u8>,
    /// Covers the hash with the installation's key; `None` for entries from before there were seals, and for the end of a chain ([`head`]).
    pub seal: Option<Vec<u8>>,
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
    let link = |mut row: Row| Ok::<_, Error>(Link { number: row.get(0)?, hash: row.get(1)?, seal: None });
    Ok(tx.row(&sql, &[&tenant]).await?.map(link).transpose()?.filter(|link| link.number > 0))
}

/// Appends an entry with its place in the chain. The caller holds the chain's head.
pub async fn append(tx: &mut Tx, entry: &Entry, link: &Link, commitment: &Commitment) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO audit_log ({COLUMNS}, {CHAINED}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
    );
    let (acted_in, name) = entry.acted_in.as_ref().map(|acted_in| (acted_in.tenant, acted_in.name.as_str())).unzip();
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
            &entry.agent,
            &entry.actor_kind,
            &entry.actor_name,
            &acted_in,
            &name,
            &link.number,
            &link.hash,
            &link.seal,
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
        let link = Link { number: row.get(13)?, hash: row.get(14)?, seal: row.get(15)? };
        let commitment = Commitment { hash: row.get(16)?, salt: row.get(17)? };
        Ok((read(row)?, link, commitment))
    };
    rows.into_iter().map(split).collect()
}

/// The tenant's entries from the id `from` on outside of the chain, oldest first: those from before there was one. Anything else there was not written by us.
pub async fn loose(tx: &mut Tx, tenant: TenantId, from: AuditId, limit: i64) -> Result<Vec<Entry>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM audit_log WHERE tenant_id = $1 AND id >= $2 AND (number IS NULL OR number < 1) ORDER BY id LIMIT $3"
    );
    tx.rows(&sql, &[&tenant, &from, &limit]).await?.into_iter().map(read).collect()
}

/// The hash of the tenant's chained entry with this number.
pub async fn hash_at(tx: &mut Tx, tenant: TenantId, number: i64) -> Result<Option<Vec<u8>>, Error> {
    let sql = "SELECT hash FROM audit_log WHERE tenant_id = $1 AND number = $2";
    tx.row(sql, &[&tenant, &number]).await?.map(|mut row| row.get(0)).transpose()
}

/// Whether the tenant's log has a chained entry with this id.
pub async fn is_chained(tx: &mut Tx, tenant: TenantId, id: AuditId) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM audit_log WHERE tenant_id = $1 AND id = $2 AND number IS NOT NULL";
    Ok(tx.row(sql, &[&tenant, &id]).await?.is_some())
}

/// The number of the tenant's newest chained entry without a seal, after the first of two numbers and up to the second.
pub async fn last_unsealed(tx: &mut Tx, tenant: TenantId, (after, to): (i64, i64)) -> Result<Option<i64>, Error> {
    let sql =
        "SELECT MAX(number) FROM audit_log WHERE tenant_id = $1 AND number > $2 AND number <= $3 AND seal IS NULL";
    tx.row(sql, &[&tenant, &after, &to]).await?.map_or(Ok(None), |mut row| row.get(0))
}

/// What the entries of one action in a log's chain are about.
pub async fn subjects(tx: &mut Tx, owner: TenantId, action: &str) -> Result<Vec<String>, Error> {
    let sql = "SELECT subject FROM audit_log WHERE tenant_id = $1 AND action = $2 AND number IS NOT NULL ORDER BY id";
    tx.rows(sql, &[&owner, &action]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// The numbers of the tenant's chained entries whose details were erased, in order.
pub async fn erased(tx: &mut Tx, tenant: TenantId) -> Result<Vec<i64>, Error> {
    let sql = "SELECT number FROM audit_log WHERE tenant_id = $1 AND number IS NOT NULL AND detail_salt IS NULL ORDER BY number";
    tx.rows(sql, &[&tenant]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// Erases the details of the tenant's entries about one thing, but for those of one action, and answers the numbers of those in the chain that still had some.
pub async fn erase_about(tx: &mut Tx, tenant: TenantId, subject: &str, but: &str) -> Result<Vec<i64>, Error> {
    let sql = "SELECT id, number, detail_salt FROM audit_log WHERE tenant_id = $1 AND subject = $2 AND action <> $3";
    let mut erased = Vec::new();
    for mut row in tx.rows(sql, &[&tenant, &subject, &but]).await? {
        let (id, number, salt): (AuditId, Option<i64>, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        erase(tx, tenant, id).await?;
        erased.extend(number.filter(|_| salt.is_some()));
    }
    Ok(erased)
}

/// Erases the detail of an entry, and the salt without which nobody can find out what it was.
pub(crate) async fn erase(tx: &mut Tx, tenant: TenantId, id: AuditId) -> Result<(), Error> {
    let sql = "UPDATE audit_log SET detail = '{}', detail_salt = NULL WHERE tenant_id = $1 AND id = $2";
    tx.execute(sql, &[&tenant, &id]).await.map(drop)
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

/// What a chained entry tells of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its place in the chain.
    pub number: i64,
    /// When.
    pub at: Timestamp,
    /// What was done.
    pub action: String,
    /// What changed, as JSON.
    pub detail: String,
}

/// What the tenant's chained entries tell of these things, of each in the order of the chain.
pub async fn about_many(
    tx: &mut Tx,
    tenant: TenantId,
    subjects: &[String],
) -> Result<BTreeMap<String, Vec<Told>>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("subject", Kind::Text)]);
    for subject in subjects {
        given.row([&tenant, subject]);
    }
    let statement = "SELECT subject, number, at, action, detail FROM audit_log";
    let mut told: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for mut row in tx.match_many(statement, &given, "AND number IS NOT NULL").await? {
        let one = Told { number: row.get(1)?, at: row.get(2)?, action: row.get(3)?, detail: row.get(4)? };
        told.entry(row.get(0)?).or_default().push(one);
    }
    told.values_mut().for_each(|told| told.sort_by_key(|one| one.number));
    Ok(told)
}

/// Which entries a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By this one.
    pub actor: Option<String>,
    /// By this kind of actor.
    pub actor_kind: Option<String>,
    /// Of this action, or of all that begin so.
    pub action: Option<Action>,
    /// Of actions that begin with one of these.
    pub nouns: Vec<String>,
    /// About this one.
    pub subject: Option<String>,
    /// Of the operator's log: done in this tenant, or to it.
    pub acted_in: Option<TenantId>,
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
    if let Some(kind) = &filter.actor_kind {
        sql.push(" AND actor_kind = ").bind(kind.as_str());
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
    if let Some(tenant) = filter.acted_in {
        sql.push(" AND (acted_in = ").bind(tenant).push(" OR subject = ").bind(tenant.to_string()).push(")");
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
