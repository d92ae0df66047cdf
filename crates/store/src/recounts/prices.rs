//! What was charged, by what it was charged for: together with what the ledger carries it must be what prices come to.

use model::{MessageId, TenantId, Timestamp};

use crate::{
    Error, Tx,
    credits::{Charge, SETTLED, charged},
    retention,
};

/// Charges under one price and for as many parts, of messages and of ways they left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// One that stands for all of them: `charged` and `reported` are what theirs come to, and what the provider reported in another currency, or where the price does not ask for it, is left out.
    pub charge: Charge,
    /// How many there are.
    pub count: i64,
    /// How many of them paid nothing.
    pub unpaid: i64,
}

/// A tenant's charges of messages accepted since an instant, put together by price. `None` where messages left ways for which they were charged and that have no charge of their own.
pub async fn by_price(
    tx: &mut Tx,
    tenant: TenantId,
    currency: &str,
    since: Timestamp,
) -> Result<Option<Vec<Alike>>, Error> {
    let since = MessageId::from_ulid(retention::first_id(since));
    let unknown = "SELECT 1 FROM former_routes r JOIN messages m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
        WHERE r.tenant_id = $1 AND r.message_id >= $2 AND r.sent_at IS NOT NULL AND r.charge IS NULL AND (m.aside IS NOT NULL
            OR EXISTS (SELECT 1 FROM message_charges c WHERE c.tenant_id = r.tenant_id AND c.message_id = r.message_id)) LIMIT 1";
    if tx.row(unknown, &[&tenant, &since]).await?.is_some() {
        return Ok(None);
    }
    let number = |name: &str| format!("CAST(charge ->> '{name}' AS BIGINT)");
    let reported = "CASE WHEN markup IS NOT NULL AND reported_currency = $3 THEN reported END";
    let sql = format!(
        "SELECT unit, per, cost_unit, markup, units, COUNT(*), CAST(SUM({reported}) AS BIGINT), CAST(SUM(paid) AS BIGINT), COUNT(CASE WHEN paid = 0 THEN 1 END) FROM (
            SELECT unit, per, cost_unit, markup, units, reported, reported_currency, charged - charged_before AS paid FROM {} AS c
            WHERE tenant_id = $1 AND message_id >= $2 AND state = 'settled'
                AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.tenant_id = $1 AND m.id = c.message_id AND m.aside IS NOT NULL)
            UNION ALL SELECT COALESCE({}, 0), COALESCE({}, 0), {}, {}, COALESCE({}, 0), {}, charge ->> 'reported_currency', COALESCE({}, 0) FROM former_routes
            WHERE tenant_id = $1 AND message_id >= $2 AND charge IS NOT NULL
         ) AS charges GROUP BY unit, per, cost_unit, markup, units, {reported} IS NULL",
        charged(tx.dialect()),
        number("unit"),
        number("per"),
        number("cost_unit"),
        number("markup"),
        number("units"),
        number("reported"),
        number("charged"),
    );
    let mut all = Vec::new();
    for mut row in tx.rows(&sql, &[&tenant, &since, &currency]).await? {
        let nobody = Charge::new(tenant, MessageId::from_ulid(0), SETTLED);
        let charge = Charge {
            unit: row.get(0)?,
            per: row.get(1)?,
            cost_unit: row.get(2)?,
            markup: row.get(3)?,
            units: row.get(4)?,
            reported: row.get(6)?,
            charged: row.get(7)?,
            ..nobody
        };
        all.push(Alike { charge, count: row.get(5)?, unpaid: row.get(8)? });
    }
    Ok(Some(all))
}
