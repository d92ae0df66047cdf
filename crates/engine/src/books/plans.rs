//! Every plan against what the operator's log says of how it was made: what a plan grants and costs never changes, and bills are made from it.

use model::{Money, PlanId};
use serde::Deserialize;
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
            let Some(made) = made else { continue };
            match serde_json::from_str(&made.detail) {
                Ok(made) if is_like(plan, &made) => {}
                Ok(made) => found.add(None, "billing", || altered(plan, &made)),
                Err(_) => found.add(None, "billing", || format!("nobody can read how the plan {} was made", plan.id)),
            }
        }
    }
}

/// How a plan was made, as the log's entry says.
#[derive(Deserialize)]
struct Made {
    monthly_fee: Money,
    allowances: Vec<Allowance>,
}

fn is_like(plan: &Plan, made: &Made) -> bool {
    (plan.monthly_fee, &plan.currency) == (made.monthly_fee.amount_micros, &made.monthly_fee.currency)
        && allowances(&plan.allowances) == made.allowances
}

/// What a plan costs or grants otherwise than when it was made.
fn altered(plan: &Plan, made: &Made) -> String {
    let (fee, granted) = (&made.monthly_fee, serde_json::to_string(&made.allowances).unwrap_or_default());
    format!(
        "the plan {} costs {} {} a month and grants {}, and was made to cost {} {} and to grant {granted}",
        plan.id, plan.monthly_fee, plan.currency, plan.allowances, fee.amount_micros, fee.currency
    )
}
