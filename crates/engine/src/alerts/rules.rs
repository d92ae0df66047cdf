//! Alert rules: what is watched, from where on it is too much, and who is told (`/v1/alert-rules`). Whoever is watched has some from the start; they can be changed and deleted
//! like any other.

use model::{AccountId, AlertRuleId, Channel, EmailAddress, Ids, Phone, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx,
    alert_rules::{self as rows, AlertRule},
};
use utoipa::ToSchema;

use super::{
    kinds::{AlertKind, AlertUnit, KINDS, Spec},
    list::end_of_rule,
};
use crate::{
    Error, FieldError, Parts, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
    vault::OPERATOR,
};

/// Rules a tenant can have: all of them are judged at every look.
pub const RULES_MAX: usize = 100;
/// Receivers of one rule: more are a mailing list, which has one address.
pub const RECEIVERS_MAX: usize = 10;
/// The quiet period unless another is asked for, in seconds.
const QUIET_S: i64 = 4 * 3_600;
/// The shortest and longest quiet period, in seconds.
const QUIET_BOUNDS_S: (i64, i64) = (300, 7 * 86_400);
/// The shortest and longest time a rule looks back over, in seconds.
const OVER_BOUNDS_S: (i64, i64) = (1_800, 30 * 86_400);
/// The longest time something can have to be the matter before it fires, in seconds.
const FOR_MAX_S: i64 = 86_400;
/// The most messages a rule can wait for.
const AT_LEAST_MAX: i64 = 1_000_000_000;
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

/// A rule to be made. What is left out is as in the rule everybody gets.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAlertRule {
    /// What it watches.
    pub kind: AlertKind,
    /// Name for people.
    #[serde(default)]
    #[schema(example = "Newsletter bounces")]
    pub name: Option<String>,
    /// From where on something is the matter: percent, seconds, how many or so many times, by the kind.
    #[serde(default)]
    #[schema(example = 3.5)]
    pub threshold: Option<f64>,
    /// The time it looks back over, in seconds, for kinds that do: 30 minutes to 30 days.
    #[serde(default)]
    #[schema(example = 86_400)]
    pub over_s: Option<i64>,
    /// Fewer messages than this say nothing, for kinds that count.
    #[serde(default)]
    #[schema(example = 500)]
    pub at_least: Option<i64>,
    /// Only this channel, for kinds that look at channels.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Only this account, for kinds that look at accounts.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// How long something must be the matter before it fires, in seconds, up to a day.
    #[serde(default)]
    pub for_s: Option<i64>,
    /// How long nothing more is said about the same subject, in seconds: 5 minutes to 7 days, 4 hours by default.
    #[serde(default)]
    pub quiet_s: Option<i64>,
    /// False to keep it without watching.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Who is told, besides endpoints and streams; everybody who administers the tenant by default.
    #[serde(default)]
    pub deliver: Option<Vec<Receiver>>,
}

/// Changes of a rule. What it watches stays.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AlertRulePatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// From where on something is the matter; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<f64>)]
    pub threshold: Patch<f64>,
    /// The time it looks back over, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub over_s: Patch<i64>,
    /// Fewer messages say nothing; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub at_least: Patch<i64>,
    /// Only this channel; `null` for all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub channel: Patch<Channel>,
    /// Only this account; `null` for all.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Patch<AccountId>,
    /// How long it must be so, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub for_s: Patch<i64>,
    /// The quiet period, in seconds; `null` for the default.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub quiet_s: Patch<i64>,
    /// Whether it watches; what fires under it ends with `false`.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    /// Who is told; `null` for everybody who administers the tenant, `[]` for nobody but endpoints and streams.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Receiver>>)]
    pub deliver: Patch<Vec<Receiver>>,
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

fn view(row: &AlertRule) -> Option<AlertRuleView> {
    let rule = Rule::from_row(row)?;
    let spec = rule.kind.spec();
    Some(AlertRuleView {
        id: rule.id,
        kind: rule.kind,
        explanation: spec.explains,
        name: rule.name,
        enabled: row.is_enabled,
        threshold: rule.threshold_micros as f64 / MICROS as f64,
        unit: spec.unit,
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
async fn begin(parts: &Parts, caller: &Caller) -> Result<(), Error> {
    let (owner, now) = (caller.owner(), parts.ports.clock.now());
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

/// What a request says about a rule's fields, checked.
struct Wanted {
    name: String,
    threshold: Option<f64>,
    over_s: Option<i64>,
    at_least: Option<i64>,
    channel: Option<Channel>,
    account_id: Option<AccountId>,
    for_s: Option<i64>,
    quiet_s: Option<i64>,
    deliver: Option<Vec<Receiver>>,
}

/// A rule of a kind with these fields; what is not said is as in the default rule.
fn settle(kind: AlertKind, id: AlertRuleId, wanted: Wanted, faults: &mut Faults) -> Rule {
    let spec = kind.spec();
    let default = Rule::default_of(kind, id);
    let within = |faults: &mut Faults, pointer: &str, value: Option<i64>, default: i64, (least, most): (i64, i64)| {
        if value.is_some_and(|value| !(least..=most).contains(&value)) {
            faults.add(pointer, format!("a number from {least} to {most}"));
        }
        value.unwrap_or(default)
    };
    let refused = |faults: &mut Faults, pointer: &str, is_given: bool, what: &str| {
        if is_given {
            faults.add(pointer, format!("a rule about {} has no {what}; leave the field out", spec.word));
        }
    };
    let threshold_micros = match wanted.threshold {
        None if !spec.has_default => {
            faults.add("/threshold", "say what is too much: there is no default for a budget");
            0
        }
        None => default.threshold_micros,
        Some(_) if spec.unit == AlertUnit::None => {
            refused(faults, "/threshold", true, "threshold");
            0
        }
        Some(threshold) => {
            let micros = (threshold * MICROS as f64).round();
            if !(micros >= 1.0 && micros <= (spec.unit.most() * MICROS) as f64) {
                faults.add("/threshold", format!("a number above 0 and up to {}", spec.unit.most()));
            }
            micros as i64
        }
    };
    if spec.over_s == 0 {
        refused(faults, "/over_s", wanted.over_s.is_some(), "time it looks back over");
    }
    if spec.at_least == 0 {
        refused(faults, "/at_least", wanted.at_least.is_some(), "least number of messages");
    }
    if !spec.is_by_account {
        refused(faults, "/account_id", wanted.account_id.is_some(), "account");
        if kind != AlertKind::UsageAnomaly {
            refused(faults, "/channel", wanted.channel.is_some(), "channel");
        }
    }
    if wanted.channel == Some(Channel::Webhook) {
        faults.add("/channel", "events to endpoints are not watched; they are listed under /v1/webhook-endpoints");
    }
    Rule {
        name: faults.name("/name", &wanted.name),
        threshold_micros,
        over_s: within(faults, "/over_s", wanted.over_s.filter(|_| spec.over_s > 0), spec.over_s, OVER_BOUNDS_S),
        at_least: within(
            faults,
            "/at_least",
            wanted.at_least.filter(|_| spec.at_least > 0),
            spec.at_least,
            (1, AT_LEAST_MAX),
        ),
        channel: wanted.channel,
        account_id: wanted.account_id,
        for_s: within(faults, "/for_s", wanted.for_s, spec.for_s, (0, FOR_MAX_S)),
        quiet_s: within(faults, "/quiet_s", wanted.quiet_s, QUIET_S, QUIET_BOUNDS_S),
        deliver: match wanted.deliver {
            Some(receivers) => check_receivers(receivers, faults),
            None => default.deliver,
        },
        ..Rule::default_of(kind, id)
    }
}

fn check_receivers(receivers: Vec<Receiver>, faults: &mut Faults) -> Vec<Receiver> {
    if receivers.len() > RECEIVERS_MAX {
        faults.add("/deliver", format!("at most {RECEIVERS_MAX} receivers; for more, use a mailing list"));
        return Vec::new();
    }
    for (index, receiver) in receivers.iter().enumerate() {
        let to = receiver.to.as_str();
        let bad = match receiver.channel {
            Channel::Email if to == ADMINS => None,
            Channel::Email => to.parse::<EmailAddress>().err().map(|bad| format!("{bad}, or `{ADMINS}`")),
            Channel::Sms => to.parse::<Phone>().err().map(|bad| bad.to_string()),
            Channel::Telegram => {
                to.parse::<i64>().is_err().then(|| "a Telegram chat is a number, as in 123456789".to_owned())
            }
            Channel::Whatsapp | Channel::Voice | Channel::Webhook => {
                let detail = "alerts go over email, sms and telegram; endpoints get the events alert.* by themselves";
                faults.add(format!("/deliver/{index}/channel"), detail);
                continue;
            }
        };
        if let Some(detail) = bad {
            faults.add(format!("/deliver/{index}/to"), detail);
        }
    }
    let mut receivers = receivers;
    receivers.sort();
    receivers.dedup();
    receivers
}

/// Refuses an account the caller's tenant does not have.
async fn check_account(parts: &Parts, owner: TenantId, account: Option<AccountId>) -> Result<(), Error> {
    let Some(id) = account else { return Ok(()) };
    let found = if owner == OPERATOR { None } else { parts.directory.account(owner, id).await? };
    match found {
        Some(_) => Ok(()),
        None => Err(Error::invalid("/account_id", "there is no such account; see GET /v1/accounts")),
    }
}

/// Makes a rule. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewAlertRule) -> Result<Reply, Error> {
    caller.need("alerts:write")?;
    begin(parts, caller).await?;
    let (owner, now) = (caller.owner(), parts.ports.clock.now());
    let spec = new.kind.spec();
    if !is_for(spec, owner) {
        let whose = if owner == OPERATOR { "the operator" } else { "a tenant" };
        let known: Vec<_> = KINDS.iter().filter(|spec| is_for(spec, owner)).map(|spec| spec.word).collect();
        let detail = format!("{whose} has no rules about {}; there are {}", spec.word, known.join(", "));
        return Err(Error::invalid("/kind", detail));
    }
    check_account(parts, owner, new.account_id).await?;
    let mut faults = Faults::default();
    let wanted = Wanted {
        name: new.name.unwrap_or_else(|| spec.name.to_owned()),
        threshold: new.threshold,
        over_s: new.over_s,
        at_least: new.at_least,
        channel: new.channel,
        account_id: new.account_id,
        for_s: new.for_s,
        quiet_s: new.quiet_s,
        deliver: new.deliver,
    };
    let rule = settle(new.kind, AlertRuleId::from_ulid(parts.ports.ids.ulid(now)), wanted, &mut faults);
    faults.end()?;
    let row = rule.row(owner, new.enabled.unwrap_or(true), now, now);
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            // One at a time, so that the limit holds.
            rows::hold(tx, owner, None).await?;
            if rows::all(tx, owner).await?.len() >= RULES_MAX {
                let detail =
                    format!("There are {RULES_MAX} rules already, which is the most. Delete those nobody needs.");
                return Err(Error::conflict("too_many_alert_rules", detail));
            }
            rows::put(tx, &row).await?;
            audit::record(tx, owner, &ids, now, &by, "alert_rule.created", row.id, &whole(&row)?).await?;
            view(&row).ok_or_else(|| Error::not_found("alert rule"))
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
    caller.need("alerts:read")?;
    let window = Window::read("alert_rules", limit, cursor)?;
    begin(parts, caller).await?;
    let owner = caller.owner();
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = AlertRuleId::from_ulid(window.before);
            Ok::<_, Error>(rows::list(tx, owner, before, window.rows()).await?)
        })
    });
    let page = window.page(read.await?, |row| row.id.ulid(), |row| view(&row));
    Ok(Page { data: page.data.into_iter().flatten().collect(), next_cursor: page.next_cursor })
}

/// One of the caller's rules. Needs the scope `alerts:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: AlertRuleId) -> Result<AlertRuleView, Error> {
    caller.need("alerts:read")?;
    let owner = caller.owner();
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { Ok::<_, Error>(rows::find(tx, owner, id).await?) }));
    read.await?.as_ref().and_then(view).ok_or_else(|| Error::not_found("alert rule"))
}

/// Changes a rule. What fires under it goes on to be judged by the new one, and ends when it watches no more. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn patch(
    parts: &Parts,
    caller: &Caller,
    id: AlertRuleId,
    change: AlertRulePatch,
) -> Result<AlertRuleView, Error> {
    caller.need("alerts:write")?;
    let (owner, now) = (caller.owner(), parts.ports.clock.now());
    get_row(parts, caller, id).await?;
    if let Patch::Set(account) = change.account_id {
        check_account(parts, owner, Some(account)).await?;
    }
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    let tenant = parts.directory.tenant(owner).await?;
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            rows::hold(tx, owner, None).await?;
            let before = rows::find(tx, owner, id).await?.ok_or_else(|| Error::not_found("alert rule"))?;
            let after = amended(&before, change, now)?;
            rows::put(tx, &after).await?;
            if before.is_enabled && !after.is_enabled {
                end_of_rule(tx, tenant.as_deref(), &after, &by.actor(), &ids, now).await?;
            }
            let difference = audit::difference(&whole(&before)?, &whole(&after)?);
            if difference.as_object().is_some_and(|fields| !fields.is_empty()) {
                audit::record(tx, owner, &ids, now, &by, "alert_rule.updated", id, &difference).await?;
            }
            view(&after).ok_or_else(|| Error::not_found("alert rule"))
        })
    });
    write.await
}

/// A rule as the audit log tells it: what it watches for and whom it tells.
fn whole(row: &AlertRule) -> Result<serde_json::Value, Error> {
    let mut whole = serde_json::to_value(view(row)).map_err(Error::internal)?;
    if let Some(fields) = whole.as_object_mut() {
        fields.retain(|name, value| !value.is_null() && !matches!(name.as_str(), "id" | "created_at" | "updated_at"));
    }
    Ok(whole)
}

/// A row as a patch leaves it.
fn amended(before: &AlertRule, change: AlertRulePatch, now: Timestamp) -> Result<AlertRule, Error> {
    let rule = Rule::from_row(before).ok_or_else(|| Error::not_found("alert rule"))?;
    let spec = rule.kind.spec();
    let mut bad: Vec<FieldError> = Vec::new();
    let name = change.name.required(rule.name.clone(), "/name", &mut bad);
    let is_enabled = change.enabled.required(before.is_enabled, "/enabled", &mut bad);
    let threshold = rule.threshold_micros as f64 / MICROS as f64;
    let wanted = Wanted {
        name,
        threshold: change.threshold.onto(Some(threshold).filter(|_| spec.unit != AlertUnit::None)),
        over_s: change.over_s.onto(Some(rule.over_s).filter(|_| spec.over_s > 0)),
        at_least: change.at_least.onto(Some(rule.at_least).filter(|_| spec.at_least > 0)),
        channel: change.channel.onto(rule.channel),
        account_id: change.account_id.onto(rule.account_id),
        for_s: change.for_s.onto(Some(rule.for_s)),
        quiet_s: change.quiet_s.onto(Some(rule.quiet_s)),
        deliver: change.deliver.onto(Some(rule.deliver)),
    };
    let mut faults = Faults(bad);
    let rule = settle(rule.kind, rule.id, wanted, &mut faults);
    faults.end()?;
    Ok(rule.row(before.tenant_id, is_enabled, before.created_at, now))
}

/// Deletes a rule. What fires under it fires on until a person resolves it. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: AlertRuleId) -> Result<(), Error> {
    caller.need("alerts:write")?;
    let (owner, now) = (caller.owner(), parts.ports.clock.now());
    let (ids, by) = (std::sync::Arc::clone(&parts.ports.ids), caller.clone());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            rows::hold(tx, owner, None).await?;
            let row = rows::find(tx, owner, id).await?.ok_or_else(|| Error::not_found("alert rule"))?;
            rows::remove(tx, owner, id).await?;
            audit::record(tx, owner, &ids, now, &by, "alert_rule.deleted", id, &whole(&row)?).await
        })
    });
    write.await
}

/// The row of one of the caller's rules.
pub(super) async fn get_row(parts: &Parts, caller: &Caller, id: AlertRuleId) -> Result<AlertRule, Error> {
    let owner = caller.owner();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        Wanted {
            name: "Bounces".to_owned(),
            threshold: None,
            over_s: None,
            at_least: None,
            channel: None,
            account_id: None,
            for_s: None,
            quiet_s: None,
            deliver: None,
        }
    }

    fn pointers(kind: AlertKind, wanted: Wanted) -> Vec<String> {
        let mut faults = Faults::default();
        settle(kind, AlertRuleId::from_ulid(1), wanted, &mut faults);
        faults.0.into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn what_is_not_said_is_as_everybody_has_it() {
        let mut faults = Faults::default();
        let rule = settle(AlertKind::ComplaintRate, AlertRuleId::from_ulid(1), wanted(), &mut faults);
        assert_eq!((rule.threshold_micros, rule.over_s, rule.at_least), (80_000, 86_400, 1_000));
        assert_eq!(faults.0, []);
        let fine = settle(
            AlertKind::ComplaintRate,
            AlertRuleId::from_ulid(1),
            Wanted { threshold: Some(0.1), ..wanted() },
            &mut faults,
        );
        assert_eq!(fine.threshold_micros, 100_000);
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let receiver = |channel, to: &str| Receiver { channel, to: to.to_owned() };
        let check = |kind, wanted, expected: &[&str]| assert_eq!(pointers(kind, wanted), expected);
        use AlertKind::{BounceRate, QueueAge, Registration, UsageAnomaly};
        check(BounceRate, Wanted { threshold: Some(0.0), ..wanted() }, &["/threshold"]);
        check(BounceRate, Wanted { threshold: Some(100.5), ..wanted() }, &["/threshold"]);
        check(BounceRate, Wanted { threshold: Some(f64::NAN), ..wanted() }, &["/threshold"]);
        check(Registration, Wanted { threshold: Some(1.0), ..wanted() }, &["/threshold"]);
        check(QueueAge, Wanted { over_s: Some(3_600), at_least: Some(5), ..wanted() }, &["/over_s", "/at_least"]);
        check(BounceRate, Wanted { over_s: Some(60), at_least: Some(0), ..wanted() }, &["/over_s", "/at_least"]);
        check(AlertKind::Cost, wanted(), &["/threshold"]);
        check(AlertKind::Cost, Wanted { threshold: Some(250.0), ..wanted() }, &[]);
        check(UsageAnomaly, Wanted { channel: Some(Channel::Sms), ..wanted() }, &[]);
        check(
            Registration,
            Wanted { channel: Some(Channel::Sms), account_id: Some(AccountId::from_ulid(1)), ..wanted() },
            &["/account_id", "/channel"],
        );
        check(BounceRate, Wanted { quiet_s: Some(1), for_s: Some(-1), ..wanted() }, &["/for_s", "/quiet_s"]);
        let deliver = vec![
            receiver(Channel::Email, ADMINS),
            receiver(Channel::Email, "nobody"),
            receiver(Channel::Sms, "0151"),
            receiver(Channel::Telegram, "@ada"),
            receiver(Channel::Voice, "+4915112345678"),
        ];
        check(
            BounceRate,
            Wanted { deliver: Some(deliver), ..wanted() },
            &["/deliver/1/to", "/deliver/2/to", "/deliver/3/to", "/deliver/4/channel"],
        );
        let many = vec![receiver(Channel::Email, ADMINS); RECEIVERS_MAX + 1];
        check(BounceRate, Wanted { deliver: Some(many), ..wanted() }, &["/deliver"]);
    }
}
