//! Telling a tenant once that its credit runs low, and asking once for a purchase. A mark is crossed downwards when what can be spent falls below it; it is armed again when that was above
//! it. Accept looks in its transaction, so what spends the credit tells it; a job finds the rest: purchases that were too small, corrections, credit that ended.

use model::{TenantId, Timestamp};
use serde_json::json;
use store::{
    Scope,
    credits::{self as rows, Ledger},
};

use crate::{Engine, Error, provider};

/// Ledgers the job looks at in one run.
const PAGE: i64 = 500;

/// A mark that was crossed downwards: the event to be told, and what it says.
pub(crate) type Crossing = (&'static str, String);

/// Notes on a ledger which of its marks it is below, and answers those it was not below before.
pub(crate) fn cross(l: &mut Ledger) -> Vec<Crossing> {
    let spendable = l.left();
    let mut told = Vec::new();
    let money = |amount_micros: i64| json!({ "amount_micros": amount_micros, "currency": l.currency });
    let is_low = l.low_at.is_some_and(|mark| spendable < mark);
    if is_low && !l.is_low {
        let data = json!({ "available": money(spendable), "mark": money(l.low_at.unwrap_or(0)) });
        told.push(("credit.low", data.to_string()));
    }
    let is_short = l.top_up_at.is_some_and(|mark| spendable < mark);
    if is_short && !l.is_topping_up {
        let (mark, amount) = (l.top_up_at.unwrap_or(0), l.top_up_amount.unwrap_or(0));
        let data = json!({ "available": money(spendable), "mark": money(mark), "amount": money(amount) });
        told.push(("credit.top_up_needed", data.to_string()));
        l.top_ups += 1;
    }
    (l.is_low, l.is_topping_up) = (is_low, is_short);
    told
}

/// Tells tenants whose credit has crossed a mark. Run every few seconds; answers how many were looked at.
#[crate::boxed]
pub async fn watch(engine: &Engine) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, |tx| Box::pin(async move { rows::across_marks(tx, PAGE).await }));
    let due: Vec<TenantId> = read.await.map_err(Error::from)?;
    let count = due.len() as u64;
    for tenant in due {
        watch_one(engine, tenant, engine.ports.clock.now()).await?;
    }
    Ok(count)
}

async fn watch_one(engine: &Engine, id: TenantId, now: Timestamp) -> Result<(), Error> {
    let Some(tenant) = engine.directory.tenant(id).await? else { return Ok(()) };
    let (ids, shard) = (std::sync::Arc::clone(&engine.ports.ids), engine.shard());
    let write = engine.ports.db.write(Scope::Tenant(id), move |tx| {
        Box::pin(async move {
            let Some(mut ledger) = rows::lock(tx, id).await? else { return Ok(Vec::new()) };
            let mut deliveries = Vec::new();
            for (kind, data) in cross(&mut ledger) {
                let data: serde_json::Value = serde_json::from_str(&data).map_err(Error::internal)?;
                deliveries.extend(provider::tell(tx, &tenant, kind, &data, now, &ids, shard).await?);
            }
            rows::put(tx, id, &ledger).await?;
            Ok::<_, Error>(deliveries)
        })
    });
    let deliveries = write.await?;
    provider::wake(engine, id, &deliveries);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_once_per_crossing() {
        let mut ledger = Ledger::empty(TenantId::from_ulid(1), "prepaid", "USD", Timestamp::from_seconds(1));
        (ledger.low_at, ledger.top_up_at, ledger.top_up_amount) = (Some(50), Some(20), Some(500));
        let mut told = |available: i64, promo: i64| {
            (ledger.available, ledger.promo) = (available, promo);
            cross(&mut ledger).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>()
        };
        assert_eq!(told(50, 0), Vec::<&str>::new());
        assert_eq!(told(40, 9), ["credit.low"]);
        assert_eq!(told(30, 0), Vec::<&str>::new());
        assert_eq!(told(19, 0), ["credit.top_up_needed"]);
        assert_eq!(told(0, 60), Vec::<&str>::new());
        assert_eq!(told(0, 10), ["credit.low", "credit.top_up_needed"]);
    }
}
