//! Plans: what a tenant may send in a month, and what that costs.
//!
//! A plan names a monthly fee and, for each channel, how many messages are included and what happens beyond: each costs something, or sending stops. The operator
//! writes plans and gives tenants one ([`subscription`]). What is used is counted in the transaction that accepts messages ([`quota`]), so many that are accepted at the
//! same time never come to more than the plan allows. A tenant without a plan is not counted, and accepting its messages does nothing more than before.
//!
//! A plan and a price list are two ways to charge. A plan's messages stand on the monthly invoice; a price list's are charged one by one, to the tenant's credit. A tenant
//! that has both pays both, so an operator prices a channel in one of them.

pub mod months;
pub mod quota;
pub mod recount;
pub mod subscription;

use std::sync::Arc;

use model::{Channel, Money, PlanId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    plans::{self as rows, Plan},
    tenants,
};
use utoipa::ToSchema;

pub use subscription::{Subscribed, SubscriptionState};

use self::subscription::check_fonts;

use crate::{
    Error, Parts,
    access::permissions::CHANNELS,
    audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    vault::OPERATOR,
};

/// Highest fee, in millionths: a billion of any currency's unit, 40,000 dollars in that of Vietnam. More is a slip of the keyboard.
const FEE_MAX: i64 = 1_000_000_000_000_000;
/// Highest price of a message, in millionths: a million of any currency's unit. More is a slip of the keyboard.
const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// Most messages a month a plan can speak of: ten times what the largest senders of the world send.
const MESSAGES_MAX: i64 = 1_000_000_000_000;

/// What a plan grants on one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// Messages a month the fee pays for.
    #[schema(example = 1000)]
    pub included: i64,
    /// What each further message costs, in millionths of the plan's currency. Without it sending stops where `included` is used up.
    #[serde(default)]
    #[schema(example = 9000)]
    pub overage_micros: Option<i64>,
    /// Messages a month at which sending stops although further ones have a price; no end when left out.
    #[serde(default)]
    #[schema(example = 5000)]
    pub limit: Option<i64>,
}

impl Allowance {
    /// Where sending stops; `None` when it does not.
    pub fn stop(&self) -> Option<i64> {
        self.limit.or(if self.overage_micros.is_some() { None } else { Some(self.included) })
    }
}

/// A plan to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// Name for people.
    #[schema(example = "Studio")]
    pub name: String,
    /// ISO 4217 currency of all its amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// What a month costs, in millionths.
    #[schema(example = 49_000_000)]
    pub monthly_fee_micros: i64,
    /// What it grants. A channel that is not named is not limited by the plan, and nothing on it is charged.
    #[serde(default)]
    pub allowances: Vec<Allowance>,
    /// True when every tenant may see it, to choose from; otherwise only those who have it.
    #[serde(default)]
    pub is_offered: bool,
}

/// Changes of a plan. What it grants and costs stays; make another plan and move tenants there.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// Whether every tenant may see it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub is_offered: Patch<bool>,
    /// `true`: no tenant can be moved to it any more. Those who have it keep it.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub is_archived: Patch<bool>,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Plan)]
pub struct PlanView {
    /// Its id.
    #[schema(value_type = String, example = "pln_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: PlanId,
    /// Name for people.
    pub name: String,
    /// What a month costs.
    #[schema(value_type = Object)]
    pub monthly_fee: Money,
    /// What it grants.
    pub allowances: Vec<Allowance>,
    /// True when every tenant may see it.
    pub is_offered: bool,
    /// True when no tenant can be moved to it any more.
    pub is_archived: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

pub(crate) fn view(plan: Plan) -> PlanView {
    PlanView {
        id: plan.id,
        name: plan.name,
        monthly_fee: Money { amount_micros: plan.monthly_fee, currency: plan.currency },
        allowances: allowances(&plan.allowances),
        is_offered: plan.is_offered,
        is_archived: plan.archived_at.is_some(),
        created_at: plan.created_at,
        updated_at: plan.updated_at,
    }
}

/// Reads what the database keeps.
pub(crate) fn allowances(text: &str) -> Vec<Allowance> {
    serde_json::from_str(text).unwrap_or_default()
}

fn check(new: NewPlan, id: PlanId, now: Timestamp) -> Result<Plan, Error> {
    let mut faults = Faults::default();
    let name = faults.name("/name", &new.name);
    check_fonts("/name", &name, &mut faults);
    let currency = faults.currency("/currency", &new.currency);
    if !(0..=FEE_MAX).contains(&new.monthly_fee_micros) {
        faults.add("/monthly_fee_micros", format!("0 to {FEE_MAX} millionths of the currency's unit"));
    }
    if new.allowances.len() > CHANNELS.len() {
        faults.add("/allowances", "one for each channel at most");
    }
    for (index, allowance) in new.allowances.iter().enumerate().take(CHANNELS.len()) {
        check_allowance(allowance, &new.allowances[..index], &format!("/allowances/{index}"), &mut faults);
    }
    faults.end()?;
    let allowances = serde_json::to_string(&new.allowances).map_err(Error::internal)?;
    Ok(Plan {
        id,
        name,
        currency,
        monthly_fee: new.monthly_fee_micros,
        allowances,
        is_offered: new.is_offered,
        created_at: now,
        updated_at: now,
        archived_at: None,
    })
}

fn check_allowance(allowance: &Allowance, before: &[Allowance], pointer: &str, faults: &mut Faults) {
    if !CHANNELS.contains(&allowance.channel) {
        faults.add(format!("{pointer}/channel"), "email, sms, whatsapp, telegram or voice");
    }
    if before.iter().any(|other| other.channel == allowance.channel) {
        faults.add(format!("{pointer}/channel"), "this channel stands there already; leave one of the two out");
    }
    if !(0..=MESSAGES_MAX).contains(&allowance.included) {
        faults.add(format!("{pointer}/included"), format!("0 to {MESSAGES_MAX} messages"));
    }
    if allowance.overage_micros.is_some_and(|price| !(0..=AMOUNT_MAX).contains(&price)) {
        faults.add(
            format!("{pointer}/overage_micros"),
            format!("0 to {AMOUNT_MAX} millionths; leave it out to stop where `included` is used up"),
        );
    }
    match (allowance.limit, allowance.overage_micros) {
        (Some(_), None) => {
            faults.add(
                format!("{pointer}/limit"),
                "without `overage_micros` sending stops at `included`; leave `limit` out or give a price",
            );
        }
        (Some(limit), Some(_)) if !(allowance.included.max(0)..=MESSAGES_MAX).contains(&limit) => {
            faults.add(
                format!("{pointer}/limit"),
                format!("at least `included`, at most {MESSAGES_MAX}; leave it out for no end"),
            );
        }
        _ => {}
    }
}

/// Makes a plan. Needs an operator with the scope `plans:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPlan) -> Result<Reply, Error> {
    caller.need_operator("plans:write")?;
    let now = parts.ports.clock.now();
    let ids = Arc::clone(&parts.ports.ids);
    let plan = check(new, PlanId::from_ulid(ids.ulid(now)), now)?;
    let by = Caller { tenant: None, ..caller.clone() };
    let inner = by.clone();
    once(parts, &by, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            rows::insert(tx, &plan).await?;
            let view = view(plan);
            let detail = serde_json::to_value(&view).map_err(Error::internal)?;
            audit::record(tx, OPERATOR, &ids, now, &inner, "plan.created", view.id, &detail).await?;
            Ok(view)
        })
    })
    .await
}

/// Lists plans, newest first: all of them for an operator outside of any tenant, else those that are offered and the tenant's own. Needs the scope `plans:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<PlanView>, Error> {
    caller.need("plans:read")?;
    let (tenant, window) = (caller.tenant, Window::read("plans", limit, cursor)?);
    let before = PlanId::from_ulid(window.before);
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { rows::list(tx, tenant, before, window.rows()).await }));
    let found: Vec<Plan> = read.await.map_err(Error::from)?;
    Ok(window.page(found, |plan| plan.id.ulid(), view))
}

/// Reads a plan the caller may see. Needs the scope `plans:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: PlanId) -> Result<PlanView, Error> {
    caller.need("plans:read")?;
    let tenant = caller.tenant;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            match tenant {
                Some(tenant) => rows::find_visible(tx, tenant, id).await,
                None => rows::find(tx, id).await,
            }
        })
    });
    read.await.map_err(Error::from)?.map(view).ok_or_else(|| Error::not_found("plan"))
}

/// Changes a plan. Needs an operator with the scope `plans:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, id: PlanId, change: PlanPatch) -> Result<PlanView, Error> {
    caller.need_operator("plans:write")?;
    let now = parts.ports.clock.now();
    let (ids, by) = (Arc::clone(&parts.ports.ids), Caller { tenant: None, ..caller.clone() });
    let write = parts.ports.db.write(store::Scope::System, move |tx| {
        Box::pin(async move {
            let config = tenants::bump(tx, None).await?;
            let before = rows::find(tx, id).await?.ok_or_else(|| Error::not_found("plan"))?;
            let after = changed(before.clone(), change, now)?;
            rows::update(tx, &after).await?;
            rows::touch_subscribers(tx, id, config).await?;
            let detail = |plan: &Plan| json!({ "name": plan.name, "is_offered": plan.is_offered, "is_archived": plan.archived_at.is_some() });
            let difference = audit::difference(&detail(&before), &detail(&after));
            audit::record(tx, OPERATOR, &ids, now, &by, "plan.updated", id, &difference).await?;
            Ok::<_, Error>(view(after))
        })
    });
    let after = write.await?;
    parts.directory.catch_up().await;
    Ok(after)
}

fn changed(before: Plan, change: PlanPatch, now: Timestamp) -> Result<Plan, Error> {
    let mut faults = Faults::default();
    let mut after = before;
    let name = change.name.required(after.name.clone(), "/name", &mut faults.0);
    if name != after.name {
        // It stands on invoices. One an earlier version took stays until it is written anew.
        check_fonts("/name", &name, &mut faults);
    }
    after.name = faults.name("/name", &name);
    after.is_offered = change.is_offered.or(after.is_offered, false);
    let is_archived = change.is_archived.or(after.archived_at.is_some(), false);
    after.archived_at = is_archived.then(|| after.archived_at.unwrap_or(now));
    after.updated_at = now;
    faults.end()?;
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowance(included: i64, overage_micros: Option<i64>, limit: Option<i64>) -> Allowance {
        Allowance { channel: Channel::Sms, included, overage_micros, limit }
    }

    #[test]
    fn sending_stops_where_nothing_more_has_a_price() {
        let check = |allowance: Allowance, expected| assert_eq!(allowance.stop(), expected, "{allowance:?}");
        check(allowance(10, None, None), Some(10));
        check(allowance(10, Some(5), None), None);
        check(allowance(10, Some(5), Some(30)), Some(30));
        check(allowance(0, None, None), Some(0));
    }

    #[test]
    fn what_is_wrong_with_a_plan_is_named() {
        let check = |allowances: Vec<Allowance>, fee: i64, expected: &[&str]| {
            let new = NewPlan {
                name: "Studio".to_owned(),
                currency: "USD".to_owned(),
                monthly_fee_micros: fee,
                allowances,
                is_offered: false,
            };
            let refused = super::check(new, PlanId::from_ulid(1), Timestamp::EPOCH).err();
            let pointers: Vec<String> =
                refused.map(|error| error.errors.into_iter().map(|field| field.pointer).collect()).unwrap_or_default();
            assert_eq!(pointers, expected);
        };
        check(vec![allowance(10, Some(5), Some(10))], 0, &[]);
        check(Vec::new(), -1, &["/monthly_fee_micros"]);
        let unreadable = NewPlan {
            name: "工作室".to_owned(),
            currency: "USD".to_owned(),
            monthly_fee_micros: 1,
            allowances: Vec::new(),
            is_offered: false,
        };
        let refused = super::check(unreadable, PlanId::from_ulid(1), Timestamp::EPOCH).unwrap_err();
        assert!(
            refused.errors[0].pointer == "/name" && refused.errors[0].detail.contains("`工` (U+5DE5)"),
            "{refused:?}"
        );
        check(vec![allowance(10, None, Some(20))], 1, &["/allowances/0/limit"]);
        check(vec![allowance(10, Some(1), Some(9))], 1, &["/allowances/0/limit"]);
        check(vec![allowance(-1, Some(-1), None)], 1, &["/allowances/0/included", "/allowances/0/overage_micros"]);
        check(vec![allowance(1, None, None), allowance(1, None, None)], 1, &["/allowances/1/channel"]);
        let webhook = Allowance { channel: Channel::Webhook, ..allowance(1, None, None) };
        check(vec![webhook], 1, &["/allowances/0/channel"]);
    }
}
