//! Attempts that ended, and what was learned about messages otherwise. Both are append-only: together with the message's row they are its timeline.

use model::{AccountId, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// One exchange with a provider about one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Whose.
    pub tenant_id: TenantId,
    /// About which message.
    pub message_id: MessageId,
    /// From 1.
    pub number: u32,
    /// Through which account.
    pub account_id: AccountId,
    /// When it was recorded, before the request left.
    pub started_at: Timestamp,
    /// When its end was recorded.
    pub finished_at: Timestamp,
    /// 0 when the provider took the message, otherwise the failure's kind.
    pub outcome: i64,
    /// JSON of [`model::Failure`].
    pub failure: Option<String>,
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// Redacted request and answer, as JSON.
    pub exchange: Option<String>,
    /// What we did about it, for people.
    pub note: Option<String>,
}

/// Appends attempts. A number that is already there stays as it is: the first word about an attempt wins.
pub async fn insert_many(tx: &mut Tx, attempts: &[Attempt]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("number", Kind::Int),
        ("account_id", Kind::Id),
        ("started_at", Kind::Time),
        ("finished_at", Kind::Time),
        ("outcome", Kind::Int),
        ("failure", Kind::Text),
        ("provider_message_id", Kind::Text),
        ("exchange", Kind::Text),
        ("note", Kind::Text),
    ]);
    for a in attempts {
        given.row([
            &a.tenant_id,
            &a.message_id,
            &a.number,
            &a.account_id,
            &a.started_at,
            &a.finished_at,
            &a.outcome,
            &a.failure,
            &a.provider_message_id,
            &a.exchange,
            &a.note,
        ]);
    }
    tx.insert_many_later("attempts", &given, "ON CONFLICT DO NOTHING").await
}

/// Through which accounts attempts went that ended, and how: of several messages, in no particular order.
pub async fn ways_of(tx: &mut Tx, keys: &[(TenantId, MessageId)]) -> Result<Vec<(MessageId, AccountId, i64)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id)]);
    for (tenant, message) in keys {
        given.row([tenant, message]);
    }
    let rows = tx.match_many("SELECT message_id, account_id, outcome FROM attempts", &given, "").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// A message's attempts, in order.
pub async fn of_message(tx: &mut Tx, tenant: TenantId, message: MessageId) -> Result<Vec<Attempt>, Error> {
    let sql = "SELECT tenant_id, message_id, number, account_id, started_at, finished_at, outcome, failure, provider_message_id, exchange, note
        FROM attempts WHERE tenant_id = $1 AND message_id = $2 ORDER BY number";
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Attempt {
            tenant_id: row.get(0)?,
            message_id: row.get(1)?,
            number: row.get(2)?,
            account_id: row.get(3)?,
            started_at: row.get(4)?,
            finished_at: row.get(5)?,
            outcome: row.get(6)?,
            failure: row.get(7)?,
            provider_message_id: row.get(8)?,
            exchange: row.get(9)?,
            note: row.get(10)?,
        })
    };
    tx.rows(sql, &[&tenant, &message]).await?.into_iter().map(read).collect()
}

/// Something that was learned about a message outside its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Whose.
    pub tenant_id: TenantId,
    /// About which message.
    pub message_id: MessageId,
    /// Makes a repeated report the same row.
    pub dedupe: String,
    /// Who said it: `provider`, `poll`, `sandbox`, `engine`, or an actor such as `key_…`.
    pub source: String,
    /// The word for it: `delivered`, `opened`, `canceled`, `rerouted`, …
    pub kind: String,
    /// More, as JSON.
    pub detail: Option<String>,
    /// When it happened.
    pub at: Timestamp,
    /// When we learned it.
    pub recorded_at: Timestamp,
}

/// Appends observations. Answers how many were new.
pub async fn insert_observations(tx: &mut Tx, observations: &[Observation]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("message_id", Kind::Id),
        ("dedupe", Kind::Text),
        ("source", Kind::Text),
        ("kind", Kind::Text),
        ("detail", Kind::Text),
        ("at", Kind::Time),
        ("recorded_at", Kind::Time),
    ]);
    for o in observations {
        given.row([&o.tenant_id, &o.message_id, &o.dedupe, &o.source, &o.kind, &o.detail, &o.at, &o.recorded_at]);
    }
    tx.insert_many("observations", &given, "ON CONFLICT DO NOTHING").await
}

/// The details of one kind of observation of several messages, the newest of each message last.
pub async fn details_of(
    tx: &mut Tx,
    keys: &[(TenantId, MessageId)],
    kind: &str,
) -> Result<Vec<(MessageId, String)>, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("message_id", Kind::Id), ("kind", Kind::Text)]);
    for (tenant, message) in keys {
        given.row([tenant, message, &kind]);
    }
    let rows = tx
        .match_many("SELECT message_id, detail, recorded_at FROM observations", &given, "AND detail IS NOT NULL")
        .await?;
    let read = |mut row: Row| Ok::<_, Error>((row.get::<Timestamp>(2)?, (row.get(0)?, row.get(1)?)));
    let mut found: Vec<(Timestamp, (MessageId, String))> = rows.into_iter().map(read).collect::<Result<_, _>>()?;
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, detail)| detail).collect())
}

/// What was learned about a message, in the order it was learned.
pub async fn observations_of(tx: &mut Tx, tenant: TenantId, message: MessageId) -> Result<Vec<Observation>, Error> {
    let sql = "SELECT tenant_id, message_id, dedupe, source, kind, detail, at, recorded_at
        FROM observations WHERE tenant_id = $1 AND message_id = $2 ORDER BY recorded_at, at, dedupe";
    let read = |mut row: Row| {
        let row = &mut row;
        Ok(Observation {
            tenant_id: row.get(0)?,
            message_id: row.get(1)?,
            dedupe: row.get(2)?,
            source: row.get(3)?,
            kind: row.get(4)?,
            detail: row.get(5)?,
            at: row.get(6)?,
            recorded_at: row.get(7)?,
        })
    };
    tx.rows(sql, &[&tenant, &message]).await?.into_iter().map(read).collect()
}
