//! Facts that wait: those that become known by themselves (sandbox), and provider reports about an id we do not know yet.

use model::{AccountId, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Tx};

/// A fact that becomes known at `due_at`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaterFact {
    /// When.
    pub due_at: Timestamp,
    /// About which message.
    pub message_id: MessageId,
    /// Its place among the facts of the message.
    pub position: i64,
    /// Whose.
    pub tenant_id: TenantId,
    /// JSON of [`model::Fact`].
    pub fact: String,
}

/// Keeps facts for later.
pub async fn insert_later(tx: &mut Tx, facts: &[LaterFact]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("due_at", Kind::Time),
        ("message_id", Kind::Id),
        ("position", Kind::Int),
        ("tenant_id", Kind::Id),
        ("fact", Kind::Text),
    ]);
    for f in facts {
        given.row([&f.due_at, &f.message_id, &f.position, &f.tenant_id, &f.fact]);
    }
    tx.insert_many_later("later_facts", &given, "ON CONFLICT DO NOTHING").await
}

/// The facts that are due now, of any tenants, earliest first.
pub async fn due_later_now(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<LaterFact>, Error> {
    let sql = "SELECT due_at, message_id, position, tenant_id, fact FROM later_facts WHERE due_at <= $1 ORDER BY due_at, message_id, position LIMIT $2";
    let rows = tx.rows(sql, &[&now, &limit]).await?;
    rows.into_iter()
        .map(|mut row| {
            Ok(LaterFact {
                due_at: row.get(0)?,
                message_id: row.get(1)?,
                position: row.get(2)?,
                tenant_id: row.get(3)?,
                fact: row.get(4)?,
            })
        })
        .collect()
}

/// Forgets facts that were applied.
pub async fn remove_later(tx: &mut Tx, facts: &[LaterFact]) -> Result<(), Error> {
    let mut given = Given::new(&[("due_at", Kind::Time), ("message_id", Kind::Id), ("position", Kind::Int)]);
    for f in facts {
        given.row([&f.due_at, &f.message_id, &f.position]);
    }
    tx.delete_many_later("later_facts", &given).await
}

/// A provider's report about an id we do not know, yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyReport {
    /// Whose account it came to.
    pub account_id: AccountId,
    /// The provider's id.
    pub provider_message_id: String,
    /// Makes a repeated report the same row.
    pub dedupe: String,
    /// Whose.
    pub tenant_id: TenantId,
    /// The report, as JSON.
    pub report: String,
    /// When it came.
    pub received_at: Timestamp,
}

/// Keeps reports until their id is known.
pub async fn insert_early(tx: &mut Tx, reports: &[EarlyReport]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("account_id", Kind::Id),
        ("provider_message_id", Kind::Text),
        ("dedupe", Kind::Text),
        ("tenant_id", Kind::Id),
        ("report", Kind::Text),
        ("received_at", Kind::Time),
    ]);
    for r in reports {
        given.row([&r.account_id, &r.provider_message_id, &r.dedupe, &r.tenant_id, &r.report, &r.received_at]);
    }
    tx.insert_many_later("early_reports", &given, "ON CONFLICT DO NOTHING").await
}

/// Takes the reports about these ids: they are known now.
pub async fn take_early(tx: &mut Tx, ids: &[(AccountId, String)]) -> Result<Vec<EarlyReport>, Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("provider_message_id", Kind::Text)]);
    for (account, id) in ids {
        given.row([account, id]);
    }
    let columns = "RETURNING account_id, provider_message_id, dedupe, tenant_id, report, received_at";
    let rows = tx.match_many("DELETE FROM early_reports", &given, columns).await?;
    let mut reports = rows
        .into_iter()
        .map(|mut row| {
            let row = &mut row;
            Ok(EarlyReport {
                account_id: row.get(0)?,
                provider_message_id: row.get(1)?,
                dedupe: row.get(2)?,
                tenant_id: row.get(3)?,
                report: row.get(4)?,
                received_at: row.get(5)?,
            })
        })
        .collect::<Result<Vec<_>, Error>>()?;
    reports.sort_by(|a, b| (a.received_at, &a.dedupe).cmp(&(b.received_at, &b.dedupe)));
    Ok(reports)
}

/// Early reports, of any tenants, whose id is known by now, each with its message. There are some only where two transactions passed each other.
pub async fn known_early(tx: &mut Tx, limit: i64) -> Result<Vec<(EarlyReport, MessageId)>, Error> {
    let sql = "SELECT e.account_id, e.provider_message_id, e.dedupe, e.tenant_id, e.report, e.received_at, m.id
        FROM early_reports AS e JOIN messages AS m ON m.account_id = e.account_id AND m.provider_message_id = e.provider_message_id
        WHERE m.provider_message_id IS NOT NULL AND m.tenant_id = e.tenant_id ORDER BY e.received_at, e.dedupe LIMIT $1";
    let rows = tx.rows(sql, &[&limit]).await?;
    rows.into_iter()
        .map(|mut row| {
            let row = &mut row;
            let report = EarlyReport {
                account_id: row.get(0)?,
                provider_message_id: row.get(1)?,
                dedupe: row.get(2)?,
                tenant_id: row.get(3)?,
                report: row.get(4)?,
                received_at: row.get(5)?,
            };
            Ok((report, row.get(6)?))
        })
        .collect()
}

/// Forgets reports that were applied.
pub async fn remove_early(tx: &mut Tx, reports: &[EarlyReport]) -> Result<(), Error> {
    let mut given =
        Given::new(&[("account_id", Kind::Id), ("provider_message_id", Kind::Text), ("dedupe", Kind::Text)]);
    for r in reports {
        given.row([&r.account_id, &r.provider_message_id, &r.dedupe]);
    }
    tx.delete_many_later("early_reports", &given).await
}

/// Forgets reports nobody asked for since `before`. Answers how many.
pub async fn purge_early(tx: &mut Tx, before: Timestamp) -> Result<u64, Error> {
    tx.execute("DELETE FROM early_reports WHERE received_at < $1", &[&before]).await
}
