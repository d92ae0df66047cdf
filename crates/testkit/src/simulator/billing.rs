//! Billing in a simulated world: tenants with plans and credit, and the laws about both.

use engine::{
    books,
    keys::Caller,
    money::{credits, prices},
    once::Repeat,
    plans::{self, subscription},
};
use model::PlanId;
use serde_json::{Value, json};

use super::{
    Result, Simulation, broken,
    laws::{BOOKS, CREDIT, QUOTA, WORKS},
};

impl Simulation {
    /// Gives each tenant a plan that is used up soon, and credit that is spent soon; some have one of the two.
    pub(super) fn bill(&mut self) -> Result {
        let everyone = Caller::system(None);
        let rows = ["email", "sms", "whatsapp"].map(|channel| {
            let unit = if channel == "sms" { "segment" } else { "message" };
            json!({ "channel": channel, "unit": unit, "amount_micros": 10 })
        });
        let list = serde_json::from_value(json!({ "currency": "USD", "rows": rows })).expect("a price list's request");
        let node = &self.nodes[0];
        let made = node.run(prices::create(node.engine.parts(), &everyone, &Repeat::NONE, list));
        made.map_err(|error| broken(WORKS, error.detail))?;
        for tenant in &self.tenants {
            let (has_plan, has_credit) = [(true, true), (true, false), (false, true)][self.below(3)];
            let done = node.run(async {
                if has_plan {
                    let allowances = json!([
                        { "channel": "sms", "included": 2 + self.below(20) },
                        { "channel": "email", "included": self.below(10), "overage_micros": 5, "limit": 10 + self.below(20) },
                    ]);
                    let new = json!({ "name": "Plan", "currency": "USD", "monthly_fee_micros": 1_000_000, "allowances": allowances });
                    let new = serde_json::from_value(new).expect("a plan's request");
                    let made = plans::create(node.engine.parts(), &everyone, &Repeat::NONE, new).await?;
                    let made: Value = serde_json::from_slice(&made.body).expect("an answer is JSON");
                    let plan: PlanId = made["id"].as_str().and_then(|id| id.parse().ok()).expect("a plan has an id");
                    let change = serde_json::from_value(json!({ "plan_id": plan })).expect("a subscription's request");
                    subscription::patch(&node.engine, &tenant.caller, change).await?;
                }
                if has_credit {
                    let mode = serde_json::from_value(json!({ "mode": "prepaid" })).expect("a mode");
                    credits::patch(node.engine.parts(), &tenant.caller, mode).await?;
                    let bought = json!({ "amount_micros": 20 + 10 * self.below(30), "reference": "bank" });
                    let bought = serde_json::from_value(bought).expect("a purchase");
                    credits::purchase(node.engine.parts(), &tenant.caller, &Repeat::NONE, bought).await?;
                }
                Ok::<_, engine::Error>(())
            });
            done.map_err(|error| broken(WORKS, error.detail))?;
        }
        Ok(())
    }

    /// Holds the books against what happened.
    pub(super) fn look_at_books(&self) -> Result {
        let verified = self.runtime.block_on(books::verify(&self.db)).map_err(|error| broken(WORKS, error.detail))?;
        let tenants: Vec<_> = self.tenants.iter().map(|tenant| tenant.id).collect();
        for tenant in tenants {
            let read = self.db.read(store::Scope::System, move |tx| {
                Box::pin(async move {
                    let ledger = store::credits::find(tx, tenant).await?;
                    let counters = store::quotas::all(tx, tenant).await?;
                    let subscription = store::subscriptions::find(tx, tenant).await?;
                    let plan = match subscription.and_then(|subscription| subscription.plan_id) {
                        Some(id) => store::plans::find(tx, id).await?,
                        None => None,
                    };
                    Ok::<_, store::Error>((ledger, counters, plan))
                })
            });
            let (ledger, counters, plan) = self.runtime.block_on(read).map_err(|error| broken(WORKS, error))?;
            if let Some(ledger) = ledger
                && ledger.available < 0
            {
                return Err(broken(CREDIT, format!("{tenant} has {} millionths", ledger.available)));
            }
            let allowances: Vec<plans::Allowance> =
                plan.and_then(|plan| serde_json::from_str(&plan.allowances).ok()).unwrap_or_default();
            for counter in counters {
                let stop = allowances.iter().find(|allowance| allowance.channel == counter.channel);
                if let Some(stop) = stop.and_then(plans::Allowance::stop)
                    && counter.used > stop
                {
                    let by = format!("{tenant} used {} of {stop} over {}", counter.used, counter.channel);
                    return Err(broken(QUOTA, by));
                }
            }
        }
        match verified.differences.first() {
            Some(difference) => Err(broken(BOOKS, difference)),
            None => Ok(()),
        }
    }
}
