//! Events: what we tell tenants, appended in the transaction of what they tell about. Streams and webhook replays read them back.

use model::{EventId, TenantId, Timestamp};

use crate::{Dialect, Error, Given, Kind, Row, Tx};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its id, the same on every channel it is told over.
    pub id: EventId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Its type, such as `message.delivered`.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// The JSON object it carries.
    pub data: String,
}

/// Replaces what the event at a place carries.
pub async fn replace_data(tx: &mut Tx, tenant: TenantId, at: Place, data: &str) -> Result<(), Error> {
    let sql = "UPDATE events SET data = $1 WHERE tenant_id = $2 AND txid = $3 AND seq = $4";
    tx.execute(sql, &[&data, &tenant, &at.txid, &at.seq]).await.map(drop)
}

/// A place in a tenant's stream: events after it are newer. Ordered by commit, so a reader that has passed a place misses nothing before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    txid: i64,
    seq: i64,
}

impl Place {
    /// The place as one number, for cursors.
    pub const fn number(self) -> u128 {
        (self.txid as u128) << 64 | self.seq as u64 as u128
    }

    /// Reads [`Place::number`].
    pub const fn from_number(number: u128) -> Self {
        Self { txid: (number >> 64) as i64, seq: number as u64 as i64 }
    }
}

/// Appends events.
pub async fn insert_many(tx: &mut Tx, events: &[Event]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("type", Kind::Text),
        ("at", Kind::Time),
        ("data", Kind::Text),
    ]);
    for e in events {
        given.row([&e.tenant_id, &e.id, &e.kind, &e.at, &e.data]);
    }
    tx.insert_many_later("events", &given, "").await
}

/// On PostgreSQL a transaction that began earlier may commit later, with events of a smaller number: events are shown once no transaction of this
/// database with a smaller number ran when the snapshot was taken. One that ran elsewhere in the cluster holds nothing up, if it still runs there; one
/// that has ended since may have been ours.
const SETTLED: &str = "AND txid < COALESCE(
    (SELECT MIN(running::TEXT::BIGINT) FROM pg_snapshot_xip(pg_current_snapshot()) AS running WHERE NOT EXISTS (
        SELECT 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
        WHERE locktype = 'transactionid' AND granted AND transactionid = running::xid AND datname <> current_database())),
    pg_snapshot_xmax(pg_current_snapshot())::TEXT::BIGINT)";

fn settled(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => SETTLED,
    }
}

/// Up to `limit` of a tenant's events after `after`, oldest first, each with its place.
pub async fn after(tx: &mut Tx, tenant: TenantId, after: Place, limit: i64) -> Result<Vec<(Place, Event)>, Error> {
    let settled = settled(tx.dialect());
    page(tx, tenant, after, settled, limit).await
}

/// As [`after`], also those a stream does not show yet because others may still come before them.
pub async fn all_after(tx: &mut Tx, tenant: TenantId, after: Place, limit: i64) -> Result<Vec<(Place, Event)>, Error> {
    page(tx, tenant, after, "", limit).await
}

async fn page(
    tx: &mut Tx,
    tenant: TenantId,
    after: Place,
    settled: &str,
    limit: i64,
) -> Result<Vec<(Place, Event)>, Error> {
    let sql = format!(
        "SELECT txid, seq, id, tenant_id, type, at, data FROM events WHERE tenant_id = $1 AND (txid, seq) > ($2, $3) {settled} ORDER BY txid, seq LIMIT $4"
    );
    let read = |mut row: Row| {
        let row = &mut row;
        let place = Place { txid: row.get(0)?, seq: row.get(1)? };
        Ok((
            place,
            Event { id: row.get(2)?, tenant_id: row.get(3)?, kind: row.get(4)?, at: row.get(5)?, data: row.get(6)? },
        ))
    };
    tx.rows(&sql, &[&tenant, &after.txid, &after.seq, &limit]).await?.into_iter().map(read).collect()
}

/// A tenant's newest event and its place: where a stream without history begins.
pub async fn newest(tx: &mut Tx, tenant: TenantId) -> Result<Option<(Place, EventId)>, Error> {
    let sql = format!(
        "SELECT txid, seq, id FROM events WHERE tenant_id = $1 {} ORDER BY txid DESC, seq DESC LIMIT 1",
        settled(tx.dialect())
    );
    let row = tx.row(&sql, &[&tenant]).await?;
    row.map(|mut row| Ok((Place { txid: row.get(0)?, seq: row.get(1)? }, row.get(2)?))).transpose()
}

/// Clocks of nodes and the times of commits differ; events lie at most this far from the place their time suggests, in seconds.
const DISORDER_S: i64 = 60;

/// The place of an event a reader has seen; `None` when it is no longer kept. Costs a look at the events of about the same time.
pub async fn place_of(tx: &mut Tx, tenant: TenantId, id: EventId) -> Result<Option<Place>, Error> {
    let made_at = Timestamp::from_millis(i64::try_from(id.ulid() >> 80).unwrap_or(i64::MAX));
    let (first, last) = (place_at(tx, made_at).await?, place_at(tx, made_at.plus_seconds(2 * DISORDER_S)).await?);
    let sql = "SELECT txid, seq FROM events WHERE tenant_id = $1 AND (txid, seq) >= ($2, $3) AND (txid, seq) <= ($4, $5) AND id = $6 LIMIT 1";
    let last = last.unwrap_or(Place { txid: i64::MAX, seq: i64::MAX });
    let Some(first) = first else { return Ok(None) };
    let row = tx.row(sql, &[&tenant, &first.txid, &first.seq, &last.txid, &last.seq, &id]).await?;
    row.map(|mut row| Ok(Place { txid: row.get(0)?, seq: row.get(1)? })).transpose()
}

/// A place before every event that happened at or after `at`, found by halving: events are appended in about the order of their times. `None` when there
/// are no such events. Looks at single events of any tenant.
async fn place_at(tx: &mut Tx, at: Timestamp) -> Result<Option<Place>, Error> {
    let at = at.plus_seconds(-DISORDER_S);
    let ends = "SELECT COALESCE(MIN(seq), 0), COALESCE(MAX(seq), -1) FROM events";
    let Some(mut ends) = tx.row(ends, &[]).await? else { return Ok(None) };
    let (mut low, mut high): (i64, i64) = (ends.get(0)?, ends.get(1)?);
    let mut found = None;
    while low <= high {
        let middle = low + (high - low) / 2;
        // Numbers have gaps: the first event from the middle on speaks for it.
        let next = "SELECT txid, seq, at FROM events WHERE seq >= $1 ORDER BY seq LIMIT 1";
        let Some(mut row) = tx.row(next, &[&middle]).await? else { break };
        let (place, happened): (Place, Timestamp) = (Place { txid: row.get(0)?, seq: row.get(1)? }, row.get(2)?);
        if happened >= at {
            found = Some(place);
            high = middle - 1;
        } else {
            low = place.seq + 1;
        }
    }
    Ok(found)
}

/// Where to begin reading a tenant's events that happened at or after `since`; some earlier ones may follow it too.
pub async fn before_time(tx: &mut Tx, since: Timestamp) -> Result<Place, Error> {
    let place = place_at(tx, since).await?;
    Ok(place.map_or(Place { txid: i64::MAX, seq: i64::MAX }, |place| Place { txid: place.txid, seq: place.seq - 1 }))
}

/// True when an event read in order lies so far behind `until` that no earlier one can follow.
pub fn is_past(event: &Event, until: Timestamp) -> bool {
    event.at >= until.plus_seconds(2 * DISORDER_S)
}

/// The newest places of several tenants' events, for those that have any; in no particular order.
pub async fn newest_of(tx: &mut Tx, tenants: &[TenantId]) -> Result<Vec<(TenantId, Place)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id)]);
    for tenant in tenants {
        given.row([tenant]);
    }
    let newest = format!(
        "SELECT %s FROM events WHERE events.tenant_id = given.tenant_id {} ORDER BY txid DESC, seq DESC LIMIT 1",
        settled(tx.dialect())
    );
    let (txid, seq) = (newest.replace("%s", "txid"), newest.replace("%s", "seq"));
    let sql = format!("SELECT given.tenant_id, ({txid}), ({seq}) FROM {{given}}");
    let mut places = Vec::new();
    for mut row in tx.rows_many(&sql, &given).await? {
        let (txid, seq): (Option<i64>, Option<i64>) = (row.get(1)?, row.get(2)?);
        if let (Some(txid), Some(seq)) = (txid, seq) {
            places.push((row.get(0)?, Place { txid, seq }));
        }
    }
    Ok(places)
}

/// Forgets events older than `before`, of any tenant, in the order they were written. Answers how many.
pub async fn purge(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at FROM events ORDER BY seq LIMIT $2) AS oldest WHERE at < $1)";
    tx.execute(sql, &[&before, &limit]).await
}
