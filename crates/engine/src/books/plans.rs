//! Every plan against what the operator's log says of how it was made: what a plan grants and costs never changes, and bills are made from it.

use model::{Money, PlanId};
use serde_json::Value;
use store::{
    Db, Scope, audit,
    plans::{self, Plan},
};

use super::{Found, PAGE};
use crate::{
    Error,
    plans::{Allowance, allowances},
    vault::OPERATOR,
};

/// Checks what plans grant and cost. That of demo tenants was made by nobody.
pub(super) async fn look(db: &Db, found: &mut Found) -> Result<(), Error> {
    let mut before = PlanId::from_ulid(u128::MAX);
    loop {
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let page = plans::list(tx, None, before, PAGE).await?;
                let ids: Vec<String> = page.iter().map(|plan| plan.id.to_string()).collect();
                Ok::<_, Error>((page, audit::about_many(tx, OPERATOR, &ids).await?))
            })
        });
        let (page, told) = read.await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = last.id;
        for plan in &page {
            let mut told = told.get(&plan.id.to_string()).into_iter().flatten();
            let made = told.find(|entry| entry.action == "plan.created");
            if let Some(wrong) = made.and_then(|entry| altered(plan, &entry.detail)) {
                found.add(None, "billing", || wrong);
            }
        }
    }
}

/// What a plan costs or grants otherwise than when it was made.
fn altered(plan: &Plan, made: &str) -> Option<String> {
    let mut made: Value = serde_json::from_str(made).ok()?;
    let granted = made["allowances"].to_string();
    let fee: Money = serde_json::from_value(made["monthly_fee"].take()).ok()?;
    let then: Vec<Allowance> = serde_json::from_value(made["allowances"].take()).ok()?;
    let is_same = (plan.monthly_fee, &plan.currency) == (fee.amount_micros, &fee.currency);
    (!is_same || allowances(&plan.allowances) != then).then(|| {
        format!(
            "the plan {} costs {} {} a month and grants {}, and was made to cost {} {} and to grant {granted}",
            plan.id, plan.monthly_fee, plan.currency, plan.allowances, fee.amount_micros, fee.currency
        )
    })
}
