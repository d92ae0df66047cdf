//! Our records held against a provider's: how far a comparison is, and what the provider has.

use std::collections::BTreeMap;

use model::{AccountId, Channel, MessageId, ReconciliationId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Param, Row, Tx, inflight::WorkerId, leases::Leased};

/// A row of `reconciliations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: ReconciliationId,
    /// Of which account.
    pub account_id: AccountId,
    /// Where the provider's records come from: `messages`, `statistics` or `csv`.
    pub source: String,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// Of which channel the records are, where they are of one alone.
    pub channel: Option<Channel>,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// What is done next: `fetch`, `ours` or `compare`.
    pub stage: String,
    /// How far that is.
    pub place: String,
    /// Messages of ours in that time.
    pub ours: i64,
    /// Messages of the provider in that time.
    pub theirs: i64,
    /// Messages both have.
    pub matched: i64,
    /// Messages only the provider has.
    pub missing_here: i64,
    /// Messages only we have.
    pub missing_there: i64,
    /// Messages both have at different prices.
    pub price_differences: i64,
    /// Messages both have in different numbers of parts.
    pub segment_differences: i64,
    /// Messages of the provider that another account here sent: they count on neither side.
    pub elsewhere: i64,
    /// Messages the provider was asked about one by one.
    pub looked_up: i64,
    /// Messages its list lacks that it was not asked about.
    pub not_asked: i64,
    /// Whether what the provider says of prices and parts counts from then on.
    pub is_binding: bool,
    /// What the provider took as we had it, for messages whose price both know.
    pub cost_ours: i64,
    /// The same as the provider says.
    pub cost_theirs: i64,
    /// In which currency.
    pub currency: Option<String>,
    /// Why it came to nothing.
    pub failure: Option<String>,
    /// Tries in a row that brought nothing.
    pub tries: i64,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last went on.
    pub updated_at: Timestamp,
    /// When it goes on; `None` once it is over.
    pub next_at: Option<Timestamp>,
}

/// A row of `reconciliation_records`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The provider's id of a message, or a day.
    pub record: String,
    /// Empty until it was compared; then what is different: `missing_here`, `missing_there`, `price`, `segments` or `count`.
    pub kind: String,
    /// Our message.
    pub message_id: Option<MessageId>,
    /// When it was sent.
    pub at: Option<Timestamp>,
    /// What we have: millionths, parts, or messages of a day.
    pub ours: Option<i64>,
    /// What the provider has.
    pub theirs: Option<i64>,
    /// In which currency, where these are amounts.
    pub currency: Option<String>,
    /// A message's parts as we have them.
    pub segments_ours: Option<i64>,
    /// Its parts as the provider says.
    pub segments_theirs: Option<i64>,
    /// Of a day: messages of ours just after its beginning.
    pub early: Option<i64>,
    /// Of a day: messages of ours just before its end.
    pub late: Option<i64>,
}

const COLUMNS: &str = "tenant_id, id, account_id, source, state, starts_at, ends_at, stage, place, ours, theirs, matched, missing_here, missing_there, price_differences, looked_up,
    cost_ours, cost_theirs, currency, failure, tries, actor, created_at, updated_at, channel, next_at, segment_differences, elsewhere, not_asked, is_binding";

fn read(mut row: Row) -> Result<Reconciliation, Error> {
    let row = &mut row;
    Ok(Reconciliation {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        account_id: row.get(2)?,
        source: row.get(3)?,
        state: row.get(4)?,
        starts_at: row.get(5)?,
        ends_at: row.get(6)?,
        stage: row.get(7)?,
        place: row.get(8)?,
        ours: row.get(9)?,
        theirs: row.get(10)?,
        matched: row.get(11)?,
        missing_here: row.get(12)?,
        missing_there: row.get(13)?,
        price_differences: row.get(14)?,
        looked_up: row.get(15)?,
        cost_ours: row.get(16)?,
        cost_theirs: row.get(17)?,
        currency: row.get(18)?,
        failure: row.get(19)?,
        tries: row.get(20)?,
        actor: row.get(21)?,
        created_at: row.get(22)?,
        updated_at: row.get(23)?,
        channel: row.get(24)?,
        next_at: row.get(25)?,
        segment_differences: row.get(26)?,
        elsewhere: row.get(27)?,
        not_asked: row.get(28)?,
        is_binding: row.get(29)?,
    })
}

/// Writes a reconciliation, new or further on.
pub async fn put(tx: &mut Tx, tenant: TenantId, r: &Reconciliation) -> Result<(), Error> {
    let values = (1..=30).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ");
    let changing = [
        "state",
        "stage",
        "place",
        "ours",
        "theirs",
        "matched",
        "missing_here",
        "missing_there",
        "price_differences",
        "segment_differences",
        "elsewhere",
        "not_asked",
        "looked_up",
        "cost_ours",
        "cost_theirs",
        "currency",
        "failure",
        "tries",
        "updated_at",
        "next_at",
    ];
    let sets = changing.map(|name| format!("{name} = excluded.{name}")).join(", ");
    let sql = format!(
        "INSERT INTO reconciliations ({COLUMNS}) VALUES ({values}) ON CONFLICT (tenant_id, id) DO UPDATE SET {sets}"
    );
    let params: [&dyn Param; 30] = [
        &tenant,
        &r.id,
        &r.account_id,
        &r.source,
        &r.state,
        &r.starts_at,
        &r.ends_at,
        &r.stage,
        &r.place,
        &r.ours,
        &r.theirs,
        &r.matched,
        &r.missing_here,
        &r.missing_there,
        &r.price_differences,
        &r.looked_up,
        &r.cost_ours,
        &r.cost_theirs,
        &r.currency,
        &r.failure,
        &r.tries,
        &r.actor,
        &r.created_at,
        &r.updated_at,
        &r.channel,
        &r.next_at,
        &r.segment_differences,
        &r.elsewhere,
        &r.not_asked,
        &r.is_binding,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// One of a tenant's reconciliations.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: ReconciliationId) -> Result<Option<Reconciliation>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM reconciliations WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The same, which nobody else carries on until this transaction ends.
pub async fn lock(tx: &mut Tx, tenant: TenantId, id: ReconciliationId) -> Result<Option<Reconciliation>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM reconciliations WHERE tenant_id = $1 AND id = $2 {lock}");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Reconciliations before `before`, newest first.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    before: ReconciliationId,
    limit: i64,
) -> Result<Vec<Reconciliation>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM reconciliations WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Takes reconciliations of any tenants that are to go on and nobody else works on, until `until`: those first that waited longest.
pub async fn lease(
    tx: &mut Tx,
    worker: WorkerId,
    now: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Reconciliation>, Error> {
    let leased = Leased { table: "reconciliations", key: "tenant_id, id", columns: COLUMNS };
    let rows = leased.lease(tx, worker, now, until, limit).await?;
    let mut leased = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    leased.sort_by_key(|row| (row.next_at, row.id));
    Ok(leased)
}

/// Ends a turn: others may take it again when it is due.
pub async fn release(tx: &mut Tx, tenant: TenantId, id: ReconciliationId, worker: WorkerId) -> Result<(), Error> {
    let sql = "UPDATE reconciliations SET leased_by = NULL, lease_until = NULL WHERE tenant_id = $1 AND id = $2 AND leased_by = $3";
    tx.execute(sql, &[&tenant, &id, &worker]).await.map(drop)
}

/// Removes a tenant's reconciliations but the newest `kept`, with what they found.
pub async fn remove_oldest(tx: &mut Tx, tenant: TenantId, kept: i64) -> Result<(), Error> {
    // SQLite has no OFFSET without a LIMIT.
    let old = "SELECT id FROM reconciliations WHERE tenant_id = $1 ORDER BY id DESC LIMIT 1000000 OFFSET $2";
    for (table, id) in [("reconciliation_records", "reconciliation_id"), ("reconciliations", "id")] {
        let sql = format!("DELETE FROM {table} WHERE tenant_id = $1 AND {id} IN ({old})");
        tx.execute(&sql, &[&tenant, &kept]).await?;
    }
    Ok(())
}

const RECORD: &str =
    "record, kind, message_id, at, ours, theirs, currency, segments_ours, segments_theirs, early, late";

fn read_record(mut row: Row) -> Result<Record, Error> {
    Ok(Record {
        record: row.get(0)?,
        kind: row.get(1)?,
        message_id: row.get(2)?,
        at: row.get(3)?,
        ours: row.get(4)?,
        theirs: row.get(5)?,
        currency: row.get(6)?,
        segments_ours: row.get(7)?,
        segments_theirs: row.get(8)?,
        early: row.get(9)?,
        late: row.get(10)?,
    })
}

/// Writes records, new or compared.
pub async fn put_records(tx: &mut Tx, tenant: TenantId, id: ReconciliationId, rows: &[Record]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("reconciliation_id", Kind::Id),
        ("record", Kind::Text),
        ("kind", Kind::Text),
        ("message_id", Kind::Id),
        ("at", Kind::Time),
        ("ours", Kind::Int),
        ("theirs", Kind::Int),
        ("currency", Kind::Text),
        ("segments_ours", Kind::Int),
        ("segments_theirs", Kind::Int),
        ("early", Kind::Int),
        ("late", Kind::Int),
    ]);
    // The same id twice in one statement would be a conflict with itself.
    let unique: BTreeMap<&str, &Record> = rows.iter().map(|row| (row.record.as_str(), row)).collect();
    for r in unique.into_values() {
        given.row([
            &tenant,
            &id,
            &r.record,
            &r.kind,
            &r.message_id,
            &r.at,
            &r.ours,
            &r.theirs,
            &r.currency,
            &r.segments_ours,
            &r.segments_theirs,
            &r.early,
            &r.late,
        ]);
    }
    let suffix = "ON CONFLICT (tenant_id, reconciliation_id, record) DO UPDATE SET kind = excluded.kind, message_id = excluded.message_id, at = excluded.at, ours = excluded.ours,
        theirs = excluded.theirs, currency = excluded.currency, segments_ours = excluded.segments_ours, segments_theirs = excluded.segments_theirs,
        early = excluded.early, late = excluded.late";
    tx.insert_many("reconciliation_records", &given, suffix).await.map(drop)
}

/// Records after `after` in the order of their names: those of one kind (empty: not compared yet), or all that differ (`None`). Where a message's price differs its parts may differ, too: it is among
/// `segments` as well then.
pub async fn records(
    tx: &mut Tx,
    tenant: TenantId,
    id: ReconciliationId,
    kind: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Record>, Error> {
    let which = match kind {
        Some("segments") => "(kind = $4 OR (kind = 'price' AND segments_ours <> segments_theirs))",
        Some(_) => "kind = $4",
        None => "kind <> $4",
    };
    let sql = format!(
        "SELECT {RECORD} FROM reconciliation_records WHERE tenant_id = $1 AND reconciliation_id = $2 AND record > $3 AND {which} ORDER BY record LIMIT $5"
    );
    let kind = kind.unwrap_or_default();
    tx.rows(&sql, &[&tenant, &id, &after, &kind, &limit]).await?.into_iter().map(read_record).collect()
}

/// Which of these names have a record.
pub async fn known(
    tx: &mut Tx,
    tenant: TenantId,
    id: ReconciliationId,
    names: &[String],
) -> Result<Vec<Record>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("reconciliation_id", Kind::Id), ("record", Kind::Text)]);
    for name in names {
        given.row([&tenant, &id, name]);
    }
    let sql = format!("SELECT {RECORD} FROM reconciliation_records");
    tx.match_many(&sql, &given, "").await?.into_iter().map(read_record).collect()
}

/// Removes records that are the same on both sides.
pub async fn remove_records(
    tx: &mut Tx,
    tenant: TenantId,
    id: ReconciliationId,
    names: &[String],
) -> Result<(), Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("reconciliation_id", Kind::Id), ("record", Kind::Text)]);
    for name in names {
        given.row([&tenant, &id, name]);
    }
    tx.delete_many("reconciliation_records", &given).await.map(drop)
}
