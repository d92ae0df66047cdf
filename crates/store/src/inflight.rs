//! Attempts in flight: leased, about to leave or gone, and not answered yet. A row here is written before its request leaves; after a crash it says exactly
//! what is not known. Also the workers that hold them.

use model::{AccountId, Class, MessageId, TenantId, Timestamp, Ulid};

use crate::{Error, Given, Kind, Param, Row, Tx, Value};

/// A process that leases work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub Ulid);

impl Param for WorkerId {
    fn value(&self) -> Value<'_> {
        Value::Id(self.0.to_be_bytes())
    }
}

impl crate::Column for WorkerId {
    fn read(value: crate::Owned) -> Option<Self> {
        MessageId::read(value).map(|id| Self(id.ulid()))
    }
}

/// An attempt in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flight {
    /// Which message; it has one attempt in flight at most.
    pub message_id: MessageId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Through which account.
    pub account_id: AccountId,
    /// From which lane.
    pub class: Class,
    /// The attempt's number, from 1.
    pub number: u32,
    /// Tries before this one that counted against the retry limit.
    pub tries: u32,
    /// Who holds it.
    pub worker: WorkerId,
    /// Since when.
    pub started_at: Timestamp,
    /// When the message must no longer leave.
    pub expires_at: Option<Timestamp>,
}

const COLUMNS: &str = "message_id, tenant_id, account_id, class, number, tries, worker, started_at, expires_at";

impl Flight {
    fn read(mut row: Row) -> Result<Self, Error> {
        let row = &mut row;
        Ok(Self {
            message_id: row.get(0)?,
            tenant_id: row.get(1)?,
            account_id: row.get(2)?,
            class: row.get(3)?,
            number: row.get(4)?,
            tries: row.get(5)?,
            worker: row.get(6)?,
            started_at: row.get(7)?,
            expires_at: row.get(8)?,
        })
    }
}

/// Records attempts that are about to leave.
pub async fn insert_many(tx: &mut Tx, flights: &[Flight]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("message_id", Kind::Id),
        ("tenant_id", Kind::Id),
        ("account_id", Kind::Id),
        ("class", Kind::Int),
        ("number", Kind::Int),
        ("tries", Kind::Int),
        ("worker", Kind::Id),
        ("started_at", Kind::Time),
        ("expires_at", Kind::Time),
    ]);
    for f in flights {
        given.row([
            &f.message_id,
            &f.tenant_id,
            &f.account_id,
            &f.class,
            &f.number,
            &f.tries,
            &f.worker,
            &f.started_at,
            &f.expires_at,
        ]);
    }
    tx.insert_many_later("inflight", &given, "").await
}

/// Ends flights that are still held by the worker that started them. Answers the messages whose flight was still there: a worker that came
/// back too late is not among them.
pub async fn end_many(tx: &mut Tx, flights: &[Flight]) -> Result<Vec<MessageId>, Error> {
    let mut given = Given::new(&[("message_id", Kind::Id), ("number", Kind::Int), ("worker", Kind::Id)]);
    for f in flights {
        given.row([&f.message_id, &f.number, &f.worker]);
    }
    tx.match_many("DELETE FROM inflight", &given, "RETURNING message_id")
        .await?
        .into_iter()
        .map(|mut row| row.get(0))
        .collect()
}

/// The attempts in flight of these messages of any tenants.
pub async fn find_many(tx: &mut Tx, messages: &[MessageId]) -> Result<Vec<Flight>, Error> {
    let mut given = Given::new(&[("message_id", Kind::Id)]);
    for message in messages {
        given.row([message]);
    }
    tx.match_many(&format!("SELECT {COLUMNS} FROM inflight"), &given, "").await?.into_iter().map(Flight::read).collect()
}

/// How many attempts of an account are in flight.
pub async fn count_of_account(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<i64, Error> {
    let sql = "SELECT COUNT(*) FROM inflight WHERE tenant_id = $1 AND account_id = $2";
    tx.row(sql, &[&tenant, &account]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Flights of any tenants whose worker was last seen before `seen_before`, or is not known at all.
pub async fn abandoned(tx: &mut Tx, seen_before: Timestamp, limit: i64) -> Result<Vec<Flight>, Error> {
    let lock = match tx.dialect() {
        crate::Dialect::Sqlite => "",
        crate::Dialect::Postgres => "FOR UPDATE SKIP LOCKED",
    };
    let sql = format!(
        "SELECT {COLUMNS} FROM inflight WHERE worker NOT IN (SELECT id FROM workers WHERE seen_at >= $1) ORDER BY message_id LIMIT $2 {lock}"
    );
    tx.rows(&sql, &[&seen_before, &limit]).await?.into_iter().map(Flight::read).collect()
}

/// Says that a worker is alive. Answers false when it was not known: it was taken for dead, and its flights with it.
pub async fn seen(tx: &mut Tx, worker: WorkerId, now: Timestamp) -> Result<bool, Error> {
    let updated = tx.execute("UPDATE workers SET seen_at = $2 WHERE id = $1", &[&worker, &now]).await?;
    if updated == 0 {
        tx.execute("INSERT INTO workers (id, started_at, seen_at) VALUES ($1, $2, $3)", &[&worker, &now, &now]).await?;
    }
    Ok(updated > 0)
}

/// The processes that lease work, oldest first: which, since when, and when they last gave a sign of life. Across tenants: for the operator.
pub async fn workers(tx: &mut Tx) -> Result<Vec<(WorkerId, Timestamp, Timestamp)>, Error> {
    let rows = tx.rows("SELECT id, started_at, seen_at FROM workers ORDER BY started_at, id LIMIT 100", &[]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Says that workers last seen after `latest`, which lies in the future, were seen now: the clock was set back since, and whoever of them is dead would pass for alive until
/// it is where it was.
pub async fn seen_at_most(tx: &mut Tx, latest: Timestamp, now: Timestamp) -> Result<(), Error> {
    tx.execute("UPDATE workers SET seen_at = $1 WHERE seen_at > $2", &[&now, &latest]).await.map(drop)
}

/// Forgets a worker that stops, and those last seen before `seen_before` that hold nothing.
pub async fn forget(tx: &mut Tx, worker: Option<WorkerId>, seen_before: Timestamp) -> Result<(), Error> {
    let sql = "DELETE FROM workers WHERE (id = $1 OR seen_at < $2) AND id NOT IN (SELECT worker FROM inflight)";
    tx.execute(sql, &[&worker, &seen_before]).await.map(drop)
}

/// Forgets every worker: for a process that knows to be the only one.
pub async fn forget_all(tx: &mut Tx) -> Result<(), Error> {
    tx.execute("DELETE FROM workers", &[]).await.map(drop)
}
