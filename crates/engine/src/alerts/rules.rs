//! Alert rules: what is watched, from where on it is too much, and who is told (`/v1/alert-rules`). Whoever is watched has some from the start; they can be changed and deleted
//! like any other.

mod asked;

use model::{AccountId, AlertRuleId, Channel, Ids, Money, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx,
    alert_rules::{self as rows, AlertRule},
};
use utoipa::ToSchema;

pub use self::asked::{AlertRulePatch, NewAlertRule, RECEIVERS_MAX};
use self::asked::{Wanted, amended, check_seen, settle};
use super::{
    events::Audience,
    facts::{
        Spent,
        money::{own_currency, spent_by},
    },
    kinds::{AlertKind, AlertUnit, KINDS, Spec},
    list::end_of_rule,
};
use crate::{
    Error, Parts, audit,
    directory::Tenant,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    vault::OPERATOR,
};

/// Rules a tenant can have: all of them are judged at every look.
pub const RULES_MAX: usize = 100;
/// The quiet period unless another is asked for, in seconds.
const QUIET_S: i64 = 4 * 3_600;
const MICROS: i64 = 1_000_000;
/// The receiver that stands for everybody who administers the tenant.
pub const ADMINS: &str = "admins";

/// Where notices of a rule go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AlertReceiver)]
pub struct Receiver {
    /// `email`, `sms` or `telegram`.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// An address, a number or a chat; over `email` also `admins`, for everybody with the role admin or owner.
    #[schema(example = "ops@acme.example")]
    pub to: String,
}

/// A rule, as it is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which one.
    pub id: AlertRuleId,
    /// What it watches.
    pub kind: AlertKind,
    /// Name for people.
    pub name: String,
    /// From where on something is the matter, in millionths of the kind's unit.
    pub threshold_micros: i64,
    /// The currency of a budget. One of an earlier version that is not known is the owner's own.
    pub currency: Option<String>,
    /// The time it looks back over, in seconds.
    pub over_s: i64,
    /// Fewer than this say nothing.
    pub at_least: i64,
    /// Only this channel.
    pub channel: Option<Channel>,
    /// Only this account.
    pub account_id: Option<AccountId>,
    /// How long it must be so, in seconds.
    pub for_s: i64,
    /// How long nothing more is said about the same subject, in seconds.
    pub quiet_s: i64,
    /// Who is told.
    pub deliver: Vec<Receiver>,
}

impl Rule {
    /// The rule of a kind as everybody gets it.
    pub fn default_of(kind: AlertKind, id: AlertRuleId) -> Self {
        let spec = kind.spec();
        Self {
            id,
            kind,
            name: spec.name.to_owned(),
            threshold_micros: spec.threshold_micros,
            currency: None,
            over_s: spec.over_s,
            at_least: spec.at_least,
            channel: None,
            account_id: None,
            for_s: spec.for_s,
            quiet_s: QUIET_S,
            deliver: vec![Receiver { channel: Channel::Email, to: ADMINS.to_owned() }],
        }
    }

    /// Reads a row; `None` for a kind this binary does not know.
    pub fn from_row(row: &AlertRule) -> Option<Self> {
        Some(Self {
            id: row.id,
            kind: AlertKind::from_stored(&row.kind)?,
            name: row.name.clone(),
            threshold_micros: row.threshold_micros,
            currency: row.currency.clone(),
            over_s: row.over_s,
            at_least: row.at_least,
            channel: row.channel,
            account_id: row.account_id,
            for_s: row.for_s,
            quiet_s: row.quiet_s,
            deliver: serde_json::from_str(&row.deliver).unwrap_or_default(),
        })
    }

    fn row(&self, owner: TenantId, is_enabled: bool, created_at: Timestamp, now: Timestamp) -> AlertRule {
        AlertRule {
            tenant_id: owner,
            id: self.id,
            kind: self.kind.as_str().to_owned(),
            name: self.name.clone(),
            is_enabled,
            threshold_micros: self.threshold_micros,
            currency: self.currency.clone(),
            over_s: self.over_s,
            at_least: self.at_least,
            channel: self.channel,
            account_id: self.account_id,
            for_s: self.for_s,
            quiet_s: self.quiet_s,
            deliver: serde_json::to_string(&self.deliver).expect("receivers have a JSON form"),
            created_at,
            updated_at: now,
        }
    }
}

/// A rule as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AlertRuleView {
    /// Its id.
    #[schema(value_type = String, example = "alr_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: AlertRuleId,
    /// What it watches.
    pub kind: AlertKind,
    /// What that means, in a sentence.
    pub explanation: &'static str,
    /// Name for people.
    pub name: String,
    /// Whether it watches.
    pub enabled: bool,
    /// From where on something is the matter.
    #[schema(example = 4.0)]
    pub threshold: f64,
    /// In what the threshold is given.
    pub unit: AlertUnit,
    /// The currency of a budget; `null` for other kinds.
    pub currency: Option<String>,
    /// What the month's messages cost in other currencies, which this budget does not look at: each wants a rule of its own. Empty for other kinds.
    #[schema(value_type = Vec<Object>)]
    pub other_costs: Vec<Money>,
    /// The time it looks back over, in seconds; `null` for kinds that look at what is.
    pub over_s: Option<i64>,
    /// Fewer messages say nothing; `null` for kinds that do not count.
    pub at_least: Option<i64>,
    /// Only this channel.
    #[schema(value_type = Option<String>)]
    pub channel: Option<Channel>,
    /// Only this account.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// How long it must be so before it fires, in seconds.
    pub for_s: i64,
    /// How long nothing more is said about the same subject, in seconds.
    pub quiet_s: i64,
    /// Who is told.
    pub deliver: Vec<Receiver>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A rule as people see it, with what was spent if it is a budget.
fn view(row: &AlertRule, spent: Option<&Spent>) -> Option<AlertRuleView> {
    let rule = Rule::from_row(row)?;
    let spec = rule.kind.spec();
    let spent = spent.filter(|_| spec.unit == AlertUnit::Money);
    let currency = rule.currency.or_else(|| spent.map(|spent| spent.currency.clone()));
    let others = spent.into_iter().flat_map(|spent| spent.others(currency.as_deref().unwrap_or_default()));
    let other_costs =
        others.map(|(other, amount_micros)| Money { amount_micros, currency: other.to_owned() }).collect();
    Some(AlertRuleView {
        id: rule.id,
        kind: rule.kind,
        explanation: spec.explains,
        name: rule.name,
        enabled: row.is_enabled,
        threshold: rule.threshold_micros as f64 / MICROS as f64,
        unit: spec.unit,
        currency,
        other_costs,
        over_s: Some(rule.over_s).filter(|_| spec.over_s > 0),
        at_least: Some(rule.at_least).filter(|_| spec.at_least > 0),
        channel: rule.channel,
        account_id: rule.account_id,
        for_s: rule.for_s,
        quiet_s: rule.quiet_s,
        deliver: rule.deliver,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// What the owner's messages cost, where one of these rules is a budget.
async fn spent_for(
    tx: &mut Tx,
    owner: TenantId,
    tenant: Option<&Tenant>,
    rules: &[AlertRule],
    now: Timestamp,
) -> Result<Option<Spent>, Error> {
    let is_budget =
        |row: &AlertRule| AlertKind::from_stored(&row.kind).is_some_and(|kind| kind.spec().unit == AlertUnit::Money);
    Ok(if rules.iter().any(is_budget) { Some(spent_by(tx, owner, tenant, now).await?) } else { None })
}

/// The currency budgets are in unless another is named; the operator has none.
async fn own(tx: &mut Tx, tenant: Option<&Tenant>) -> Result<Option<String>, Error> {
    Ok(match tenant {
        Some(tenant) => Some(own_currency(tx, tenant).await?),
        None => None,
    })
}

/// How many kinds there are. A kind is added at the end of the table, so that whoever has got the rules of fewer gets those of the others.
pub const KINDS_COUNT: i64 = KINDS.len() as i64;

/// Gives whoever is not watched yet the rules everybody gets, and whoever was watched by an earlier version those of kinds it did not know. `true` when it did.
#[crate::boxed]
pub async fn ensure(tx: &mut Tx, owner: TenantId, ids: &Ids, now: Timestamp) -> Result<bool, Error> {
    let Some(known) = rows::begin(tx, owner, KINDS_COUNT, now).await? else { return Ok(false) };
    let new = KINDS.iter().skip(usize::try_from(known).unwrap_or(0));
    for spec in new.filter(|spec| is_for(spec, owner) && spec.has_default) {
        let rule = Rule::default_of(spec.kind, AlertRuleId::from_ulid(ids.ulid(now)));
        rows::put(tx, &rule.row(owner, true, now, now)).await?;
    }
    Ok(true)
}

fn is_for(spec: &Spec, owner: TenantId) -> bool {
    if owner == OPERATOR { spec.is_operators } else { spec.is_tenants }
}

/// Writes the default rules before they are first looked at.
async fn begin(parts: &Parts, caller: &Caller, owner: TenantId, now: Timestamp) -> Result<(), Error> {
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::has_begun(tx, owner, KINDS_COUNT).await?) })
    });
    if read.await? {
        return Ok(());
    }
    let ids = std::sync::Arc::clone(&parts.ports.ids);
    let write =
        parts.ports.db.write(caller.reach(), move |tx| Box::pin(async move { ensure(tx, owner, &ids, now).await }));
    write.await.map(drop)
}

/// The channels of an account of the owner's; `None` when it has none such.
async fn carried(parts: &Parts, owner: TenantId, account: AccountId) -> Result<Option<Vec<Channel>>, Error> {
    let found = if owner == OPERATOR { None } else { parts.directory.account(owner, account).await? };
    Ok(found.map(|account| account.channels.clone()))
}

fn no_account() -> Error {
    Error::invalid("/account_id", "there is no such account; see GET /v1/accounts")
}

/// Makes a rule. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewAlertRule) -> Result<Reply, Error> {
    let (owner, now) = (caller.need_owner("alerts:write")?, parts.ports.clock.now());
    begin(parts, caller, owner, now).await?;
    let spec = new.kind.spec();
    if !is_for(spec, owner) {
        let whose = if owner == OPERATOR { "the operator" } else { "a tenant" };
        let known: Vec<_> = KINDS.iter().filter(|spec| is_for(spec, owner)).map(|spec| spec.word).collect();
        let detail = format!("{whose} has no rules about {}; there are {}", spec.word, known.join(", "));
        return Err(Error::invalid("/kind", detail));
    }
    let carried = match new.account_id {
        Some(id) => Some(carried(parts, owner, id).await?.ok_or_else(no_account)?),
        None => None,
    };
    let mut faults = Faults::default();
    let wanted = Wanted {
        name: new.name.unwrap_or_else(|| spec.name.to_owned()),
        threshold: new.threshold,
        currency: new.currency,
        over_s: new.over_s,
        at_least: new.at_least,
        channel: new.channel,
        account_id: new.account_id,
        for_s: new.for_s,
        quiet_s: new.quiet_s,
        deliver: new.deliver,
    };
    let tenant = parts.directory.tenant(owner).await?;
    let of = tenant.clone();
    let read = parts.ports.db.read(caller.reach(), move |tx| Box::pin(async move { own(tx, of.as_deref()).await }));
    let own = read.await?;
    let id = AlertRuleId::from_ulid(parts.ports.ids.ulid(now));
    let rule = settle(new.kind, id, wanted, own.as_deref(), &mut faults);
    check_seen(&rule, carried.as_deref(), &mut faults);
    faults.end()?;
    let row = rule.row(owner, new.enabled.unwrap_or(true), now, now);
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // One at a time, so that the limit holds.
            rows::look_again(tx, owner).await?;
            if rows::all(tx, owner).await?.len() >= RULES_MAX {
                let detail =
                    format!("There are {RULES_MAX} rules already, which is the most. Delete those nobody needs.");
                return Err(Error::conflict("too_many_alert_rules", detail));
            }
            rows::put(tx, &row).await?;
            audit::record(tx, owner, &ids, now, &by, "alert_rule.created", row.id, &whole(&row)?).await?;
            let spent = spent_for(tx, owner, tenant.as_deref(), std::slice::from_ref(&row), now).await?;
            view(&row, spent.as_ref()).ok_or_else(|| Error::not_found("alert rule"))
        })
    })
    .await
}

/// Lists the caller's rules, newest first. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<AlertRuleView>, Error> {
    let (owner, now) = (caller.need_owner("alerts:read")?, parts.ports.clock.now());
    let window = Window::read("alert_rules", limit, cursor)?;
    begin(parts, caller, owner, now).await?;
    let tenant = parts.directory.tenant(owner).await?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = AlertRuleId::from_ulid(window.before);
            let rules = rows::list(tx, owner, before, window.rows()).await?;
            let spent = spent_for(tx, owner, tenant.as_deref(), &rules, now).await?;
            Ok::<_, Error>((rules, spent))
        })
    });
    let (rules, spent) = read.await?;
    let page = window.page(rules, |row| row.id.ulid(), |row| view(&row, spent.as_ref()));
    Ok(Page { data: page.data.into_iter().flatten().collect(), next_cursor: page.next_cursor })
}

/// One of the caller's rules. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: AlertRuleId) -> Result<AlertRuleView, Error> {
    let (owner, now) = (caller.need_owner("alerts:read")?, parts.ports.clock.now());
    let tenant = parts.directory.tenant(owner).await?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = rows::find(tx, owner, id).await?.ok_or_else(|| Error::not_found("alert rule"))?;
            let spent = spent_for(tx, owner, tenant.as_deref(), std::slice::from_ref(&row), now).await?;
            view(&row, spent.as_ref()).ok_or_else(|| Error::not_found("alert rule"))
        })
    });
    read.await
}

/// Changes a rule. What fires under it goes on to be judged by the new one, and ends when it watches no more. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn patch(
    parts: &Parts,
    caller: &Caller,
    id: AlertRuleId,
    change: AlertRulePatch,
) -> Result<AlertRuleView, Error> {
    let (owner, now) = (caller.need_owner("alerts:write")?, parts.ports.clock.now());
    let before = get_row(parts, caller, owner, id).await?;
    let carried = match change.account_id.clone().onto(before.account_id) {
        None => None,
        // One that is gone is no reason against another change.
        Some(account) if before.account_id == Some(account) => carried(parts, owner, account).await?,
        Some(account) => Some(carried(parts, owner, account).await?.ok_or_else(no_account)?),
    };
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    let (tenant, audience) = (parts.directory.tenant(owner).await?, Audience::of(parts, owner).await?);
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            rows::look_again(tx, owner).await?;
            let before = rows::find(tx, owner, id).await?.ok_or_else(|| Error::not_found("alert rule"))?;
            let own = own(tx, tenant.as_deref()).await?;
            let after = amended(&before, change, own.as_deref(), carried.as_deref(), now)?;
            rows::put(tx, &after).await?;
            if before.is_enabled && !after.is_enabled {
                end_of_rule(tx, audience.as_ref(), &after, &by, "Its rule was switched off.", &ids, now).await?;
            }
            let difference = audit::difference(&whole(&before)?, &whole(&after)?);
            audit::record(tx, owner, &ids, now, &by, "alert_rule.updated", id, &difference).await?;
            let spent = spent_for(tx, owner, tenant.as_deref(), std::slice::from_ref(&after), now).await?;
            view(&after, spent.as_ref()).ok_or_else(|| Error::not_found("alert rule"))
        })
    });
    write.await
}

/// A rule as the audit log tells it: what it watches for and whom it tells.
fn whole(row: &AlertRule) -> Result<serde_json::Value, Error> {
    let mut whole = serde_json::to_value(view(row, None)).map_err(Error::internal)?;
    if let Some(fields) = whole.as_object_mut() {
        let untold = ["id", "other_costs", "created_at", "updated_at"];
        fields.retain(|name, value| !value.is_null() && !untold.contains(&name.as_str()));
    }
    Ok(whole)
}

/// Deletes a rule. What fires under it ends with it. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: AlertRuleId) -> Result<(), Error> {
    let (owner, now) = (caller.need_owner("alerts:write")?, parts.ports.clock.now());
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    let audience = Audience::of(parts, owner).await?;
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            rows::look_again(tx, owner).await?;
            let row = rows::find(tx, owner, id).await?.ok_or_else(|| Error::not_found("alert rule"))?;
            end_of_rule(tx, audience.as_ref(), &row, &by, "Its rule was deleted.", &ids, now).await?;
            rows::remove(tx, owner, id).await?;
            audit::record(tx, owner, &ids, now, &by, "alert_rule.deleted", id, &whole(&row)?).await
        })
    });
    write.await
}

/// The row of one of the caller's rules.
pub(super) async fn get_row(
    parts: &Parts,
    caller: &Caller,
    owner: TenantId,
    id: AlertRuleId,
) -> Result<AlertRule, Error> {
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(rows::find(tx, owner, id).await?) }));
    read.await?.ok_or_else(|| Error::not_found("alert rule"))
}

impl Receiver {
    /// The address as a message's `to` names it; `None` for `admins`.
    pub(super) fn to(&self) -> Option<serde_json::Value> {
        match self.channel {
            Channel::Email if self.to == ADMINS => None,
            Channel::Email => Some(json!({"email": self.to})),
            Channel::Telegram => self.to.parse::<i64>().ok().map(|chat| json!({"telegram_chat_id": chat})),
            Channel::Sms | Channel::Whatsapp | Channel::Voice | Channel::Webhook => Some(json!({"phone": self.to})),
        }
    }
}
