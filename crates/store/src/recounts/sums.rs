//! Sums that are kept, and the same counted again.

use std::collections::BTreeMap;

use model::{AccountId, Channel, Status, TemplateId, TenantId, Timestamp};

use super::{Found, NOT_OURS, found};
use crate::{
    Dialect, Error, Row, Tx,
    charge_counters::{Counts, Key},
    quotas::Counter,
    template_counters,
};

/// What a price list charged a tenant's messages, sum by sum, of those accepted in a time.
pub async fn charge_counters(
    tx: &mut Tx,
    tenant_id: TenantId,
    from: Timestamp,
    until: Timestamp,
) -> Result<BTreeMap<Key, Counts>, Error> {
    let sql = "SELECT at, channel, country, messages, charged FROM charge_counters WHERE tenant_id = $1 AND at >= $2 AND at < $3";
    let read = |mut row: Row| {
        let key = Key { tenant_id, at: row.get(0)?, channel: row.get(1)?, country: row.get(2)? };
        Ok((key, Counts { messages: row.get(3)?, charged: row.get(4)? }))
    };
    tx.rows(sql, &[&tenant_id, &from, &until]).await?.into_iter().map(read).collect()
}

/// The sums of a template's version: all there are, in the order of their columns.
pub type OfTemplate = BTreeMap<(TemplateId, i64, bool), Vec<i64>>;

/// A tenant's sums by template, as they are kept and as its messages come to. `test` is the bit of `tracking` that marks tests.
pub async fn templates(tx: &mut Tx, tenant: TenantId, test: i64) -> Result<(OfTemplate, OfTemplate), Error> {
    let sums = template_counters::NAMES.map(|name| format!("CAST(SUM({name}) AS BIGINT)")).join(", ");
    let kept = format!(
        "SELECT template_id, version, is_test, {sums} FROM template_counters WHERE tenant_id = $1 GROUP BY template_id, version, is_test"
    );
    let is = |status: Status| format!("COUNT(CASE WHEN status = {} THEN 1 END)", status.code());
    let counted = format!(
        "SELECT template_id, template_version, (tracking & {test}) <> 0, COUNT(*), COUNT(sent_at), COUNT(delivered_at), COUNT(read_at), {}, {}, {}, {}, {}, {},
            CAST(COALESCE(SUM(CASE WHEN sent_at IS NOT NULL THEN segments END), 0) AS BIGINT), COUNT(opened_at), COUNT(clicked_at), COUNT(machine_opened_at), COUNT(machine_clicked_at)
         FROM messages WHERE tenant_id = $1 AND template_id IS NOT NULL GROUP BY template_id, template_version, (tracking & {test}) <> 0",
        is(Status::Failed),
        is(Status::Bounced),
        is(Status::Canceled),
        is(Status::Expired),
        is(Status::Suppressed),
        is(Status::Unknown)
    );
    let read = |mut row: Row| {
        let key = (row.get(0)?, row.get(1)?, row.get(2)?);
        let sums =
            (3..3 + template_counters::NAMES.len()).map(|index| row.get(index)).collect::<Result<Vec<i64>, Error>>()?;
        Ok((key, sums))
    };
    let kept = tx.rows(&kept, &[&tenant]).await?.into_iter().map(read).collect::<Result<OfTemplate, Error>>()?;
    let counted = tx.rows(&counted, &[&tenant]).await?.into_iter().map(read).collect::<Result<OfTemplate, Error>>()?;
    Ok((kept, counted))
}

/// How many attempts there were, by account, beginning of the sum's time and outcome.
pub type Attempts = BTreeMap<(AccountId, Timestamp, i64), i64>;

/// A tenant's attempts, as they are summed and as they are on record, over the last so many seconds of which there are sums. `length_s` is how long a sum is.
pub async fn attempts(
    tx: &mut Tx,
    tenant: TenantId,
    last_s: i64,
    length_s: i64,
) -> Result<(Attempts, Attempts), Error> {
    let newest = tx.row("SELECT MAX(at) FROM attempt_counters WHERE tenant_id = $1", &[&tenant]).await?;
    let newest: Option<Timestamp> = newest.map_or(Ok(None), |mut row| row.get(0))?;
    let Some(from) = newest.map(|newest| newest.plus_seconds(-last_s)) else { return Ok(Default::default()) };
    let names = ["accepted", "recipient", "opted_out", "content", "throttled", "unavailable", "account", "unknown"];
    let sums = names.map(|name| format!("CAST(SUM({name}) AS BIGINT)")).join(", ");
    let kept = format!(
        "SELECT account_id, at, {sums} FROM attempt_counters WHERE tenant_id = $1 AND at >= $2 GROUP BY account_id, at"
    );
    let mut summed = Attempts::new();
    for mut row in tx.rows(&kept, &[&tenant, &from]).await? {
        let (account, at) = (row.get(0)?, row.get(1)?);
        for outcome in 0..names.len() {
            let sum: i64 = row.get(2 + outcome)?;
            if sum != 0 {
                summed.insert((account, at, outcome as i64), sum);
            }
        }
    }
    let slot = match tx.dialect() {
        Dialect::Sqlite => format!("a.finished_at - a.finished_at % {}", length_s * 1_000_000),
        Dialect::Postgres => format!("date_bin('{length_s} seconds', a.finished_at, TIMESTAMPTZ 'epoch')"),
    };
    let recorded = format!(
        "SELECT a.account_id, {slot}, a.outcome, COUNT(*) FROM attempts a JOIN messages m ON m.tenant_id = a.tenant_id AND m.id = a.message_id
         WHERE a.tenant_id = $1 AND a.finished_at >= $2 AND m.channel <> $3 AND COALESCE(a.failure, '') NOT LIKE '%\"is_of_batch\":true%'
         GROUP BY a.account_id, {slot}, a.outcome"
    );
    let read = |mut row: Row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?));
    let rows = tx.rows(&recorded, &[&tenant, &from, &Channel::Webhook]).await?;
    Ok((summed, rows.into_iter().map(read).collect::<Result<_, Error>>()?))
}

/// Messages over a channel, of those accepted since an instant, that count for a plan and that no counter covers: when the first of them was accepted, and how many.
pub async fn uncounted(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Channel,
    since: Timestamp,
) -> Result<Option<(Timestamp, i64)>, Error> {
    let sql = format!(
        "SELECT MIN(m.created_at), COUNT(*) FROM messages m WHERE m.tenant_id = $1 AND m.channel = $2 AND m.created_at >= $3 AND m.sent_at IS NOT NULL AND {NOT_OURS}
        AND NOT EXISTS (SELECT 1 FROM quota_counters q WHERE q.tenant_id = $1 AND q.channel = $2 AND q.starts_at <= m.created_at AND m.created_at < q.ends_at)"
    );
    let Some(mut row) = tx.row(&sql, &[&tenant, &channel, &since]).await? else { return Ok(None) };
    let first: Option<Timestamp> = row.get(0)?;
    Ok(first.zip(Some(row.get(1)?)))
}

/// Months of one channel that overlap: each pair as the later counter and when the earlier one ends.
pub async fn overlapping(tx: &mut Tx, tenant: TenantId, limit: i64) -> Result<Found<(Counter, Timestamp)>, Error> {
    let sql = "SELECT q.starts_at, q.channel, q.ends_at, q.used, q.warned, q.warned_of, o.ends_at AS other FROM quota_counters q
        JOIN quota_counters o ON o.tenant_id = q.tenant_id AND o.channel = q.channel AND o.starts_at < q.starts_at AND o.ends_at > q.starts_at WHERE q.tenant_id = $1";
    found(tx, sql, &[&tenant], limit, |mut row| {
        let counter = Counter {
            tenant_id: tenant,
            starts_at: row.get(0)?,
            channel: row.get(1)?,
            ends_at: row.get(2)?,
            used: row.get(3)?,
            warned: row.get(4)?,
            warned_of: row.get(5)?,
        };
        Ok((counter, row.get(6)?))
    })
    .await
}

/// When a tenant was told how much of its plan is used, and the data of the event, as far as they are kept; in the order in which it was told.
pub async fn quota_notices(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(Timestamp, String)>, Error> {
    let sql =
        "SELECT at, data FROM events WHERE tenant_id = $1 AND type IN ('quota.warning', 'quota.reached') ORDER BY seq";
    tx.rows(sql, &[&tenant]).await?.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// The tenant's messages to people, of those accepted since an instant, that do not say what its clock showed.
pub async fn without_clock(
    tx: &mut Tx,
    tenant: TenantId,
    since: Timestamp,
    limit: i64,
) -> Result<Found<model::MessageId>, Error> {
    let sql = "SELECT id FROM messages WHERE tenant_id = $1 AND clock IS NULL AND channel <> $2 AND created_at >= $3";
    found(tx, sql, &[&tenant, &Channel::Webhook, &since], limit, |mut row| row.get(0)).await
}
