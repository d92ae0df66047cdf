//! Routing: which of a tenant's accounts a message leaves through (`/v1/routes`).
//!
//! A rule says which messages it is about, among which accounts it chooses, and by what ([`rule`]). The decision is pure and keeps its reasons ([`decide`]); what it is made from
//! comes with the cached tenant, and a look at circuits and sums that is at most seconds old ([`figures`]). Accept decides when a message is planned; the decision is stored with the message as
//! an observation. When its attempt fails for a reason that lies with the account, apply decides again ([`again`]), and what waits for an account whose circuit opened is looked for
//! and decided again too ([`divert`]). Tenants without rules pay nothing for any of this: nothing is read, written or allocated for them.
//!
//! A message that names its account or sender goes there and nowhere else.

pub mod again;
mod check;
pub mod decide;
pub mod divert;
pub mod figures;
pub mod rule;

use model::{Channel, EmailAddress, MessageId, Phone, Purpose, RouteId, TemplateId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use store::{Tx, accounts, routes, tenants};
use utoipa::ToSchema;

pub use self::check::ROUTES_MAX;
use self::{
    check::Known,
    decide::{Decision, Facts, Routed},
    rule::{Candidate, Choice, Matches, Otherwise, Rule, Subject},
};
use crate::{
    Engine, Error,
    accept::plan::default_account,
    accounts::changes::may_manage,
    audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    patch::Patch,
};

/// A rule to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// Name for people.
    #[schema(example = "Kenya")]
    pub name: String,
    /// For messages over this channel. Cannot be changed later.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// When it is asked: 1 first. Rules behind it move on. Left out: last.
    #[serde(default)]
    #[schema(example = 1)]
    pub position: Option<u32>,
    /// False to make it without using it yet.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Which messages it is about; all of the channel's when left out.
    #[serde(default, rename = "match")]
    pub matches: Matches,
    /// How it chooses.
    pub choose: Choice,
    /// Among which accounts, 1 to 20, in order.
    pub accounts: Vec<Candidate>,
    /// When none of them can take a message now.
    #[serde(default)]
    pub otherwise: Otherwise,
}

/// Changes of a rule. `match`, `choose` and `accounts` are replaced as a whole.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutePatch {
    /// Name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// When it is asked: 1 first. The others move.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub position: Patch<u32>,
    /// False to pass it over.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub enabled: Patch<bool>,
    /// Which messages it is about; `null` for all of the channel's.
    #[serde(default, rename = "match")]
    #[schema(value_type = Option<Matches>)]
    pub matches: Patch<Matches>,
    /// How it chooses.
    #[serde(default)]
    #[schema(value_type = Option<Choice>)]
    pub choose: Patch<Choice>,
    /// Among which accounts.
    #[serde(default)]
    #[schema(value_type = Option<Vec<Candidate>>)]
    pub accounts: Patch<Vec<Candidate>>,
    /// When none of them can take a message now.
    #[serde(default)]
    #[schema(value_type = Option<Otherwise>)]
    pub otherwise: Patch<Otherwise>,
}

/// A rule as people see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Route)]
pub struct RouteView {
    /// Its id.
    #[schema(value_type = String, example = "rte_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: RouteId,
    /// Name for people.
    pub name: String,
    /// For messages over this channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// When it is asked: 1 first.
    #[schema(example = 1)]
    pub position: u32,
    /// False while it is passed over.
    pub enabled: bool,
    /// Which messages it is about.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// How it chooses.
    pub choose: Choice,
    /// Among which accounts.
    pub accounts: Vec<Candidate>,
    /// When none of them can take a message now.
    pub otherwise: Otherwise,
    /// What is wrong with its accounts: those that are disabled or deleted are skipped.
    pub problems: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// All rules of a tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RouteList)]
pub struct RouteList {
    /// By channel, and in the order they are asked.
    pub data: Vec<RouteView>,
}

/// A message to try the rules on. Nothing is sent.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTrial {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// To whom: a number, or a mail address.
    #[serde(default)]
    pub to: TrialTo,
    /// `transactional` (default) or `marketing`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub purpose: Option<Purpose>,
    /// About what.
    #[serde(default)]
    pub topic: Option<String>,
    /// Made of which template.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub template_id: Option<TemplateId>,
    /// The message's own object.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
    /// When it would leave; now when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
}

/// Who would get it.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteTrialTo)]
pub struct TrialTo {
    /// A phone number in E.164.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "+254700000001")]
    pub phone: Option<Phone>,
    /// An e-mail address.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub email: Option<EmailAddress>,
}

/// What the rules say of a message.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RouteTrialResult)]
pub struct TrialView {
    /// The account it would leave through; `null` when there is none.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<model::AccountId>,
    /// Why, in words.
    pub why: String,
    /// The decision; `null` when no rule matches.
    pub decision: Option<Decision>,
}

/// What a route's text says of a decision, from its mark on.
pub(crate) fn words(decision: &Decision) -> String {
    match (&decision.rule, decision.rule_id) {
        (Some(rule), Some(id)) => {
            format!("{} {rule} ({id}): {}, {}", again::MARK, decision.account, decision.why)
        }
        _ => format!("{}s: {}, {}", again::MARK, decision.account, decision.why),
    }
}

/// The refusal of a message that rules match and no account may carry.
pub(crate) fn nowhere(passed: &[decide::Passed]) -> Error {
    let told: Vec<_> = passed.iter().map(|p| format!("the rule {} ({}): {}", p.rule, p.rule_id, p.why)).collect();
    let detail = format!(
        "Rules match this message and none of their accounts can be used. {}. Change the rule with PATCH /v1/routes/{{id}}, or enable an account.",
        told.join("; ")
    );
    Error {
        errors: vec![crate::FieldError::new("/channel", detail.clone())],
        ..Error::new(crate::ErrorKind::Invalid, "no_account_for_route", detail)
    }
    .with_action("CHANGE_ROUTE")
}

/// A tenant's rules, for the directory. One that cannot be read is passed over, and said so in the log.
pub(crate) async fn load(tx: &mut Tx, tenant: TenantId) -> Result<figures::Routes, store::Error> {
    let mut rules = Vec::new();
    for row in routes::all(tx, tenant).await? {
        match Rule::read(&row) {
            Some(rule) => rules.push(rule),
            None => tracing::error!(route.id = %row.id, "A routing rule cannot be read; it is passed over"),
        }
    }
    Ok(figures::Routes::new(rules))
}

fn view(row: &routes::Route, accounts: &[accounts::Account]) -> Result<RouteView, Error> {
    let rule = Rule::read(row).ok_or_else(|| Error::internal(format!("the rule {} cannot be read", row.id)))?;
    let problem = |candidate: &Candidate| {
        let id = candidate.account_id;
        match accounts.iter().find(|account| account.id == id) {
            None => Some(format!("The account {id} was deleted and is skipped. Take it out of the rule.")),
            Some(account) if !account.is_enabled => {
                Some(format!("The account {} ({id}) is disabled and is skipped.", account.name))
            }
            Some(account) if !crate::directory::channels(&account.channels).contains(&rule.channel) => Some(format!(
                "The account {} ({id}) does not carry {} any more and is skipped.",
                account.name, rule.channel
            )),
            Some(_) => None,
        }
    };
    Ok(RouteView {
        id: row.id,
        name: row.name.clone(),
        channel: row.channel,
        position: row.position,
        enabled: row.is_enabled,
        problems: rule.accounts.iter().filter_map(problem).collect(),
        matches: rule.matches,
        choose: rule.choice,
        accounts: rule.accounts,
        otherwise: rule.otherwise,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

fn row(tenant: TenantId, rule: &Rule, position: u32, created_at: Timestamp, now: Timestamp) -> routes::Route {
    routes::Route {
        tenant_id: tenant,
        id: rule.id,
        channel: rule.channel,
        position,
        name: rule.name.clone(),
        is_enabled: rule.is_enabled,
        matches: stored(&rule.matches),
        choice: stored(&rule.choice),
        accounts: stored(&rule.accounts),
        otherwise: rule.otherwise.as_str().to_owned(),
        created_at,
        updated_at: now,
    }
}

fn stored(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what a rule says has a JSON form")
}

/// Puts a row at a place among those of its channel and answers all whose position is another now, and the row itself.
fn place(mut others: Vec<routes::Route>, row: routes::Route, position: Option<u32>) -> Vec<routes::Route> {
    others.retain(|other| other.channel == row.channel && other.id != row.id);
    let index = position.map_or(others.len(), |position| (position as usize).saturating_sub(1)).min(others.len());
    let id = row.id;
    others.insert(index, row);
    let numbered = others.into_iter().zip(1..).map(|(other, position)| (other.position != position, position, other));
    numbered
        .filter(|(has_moved, _, other)| *has_moved || other.id == id)
        .map(|(_, position, other)| routes::Route { position, ..other })
        .collect()
}

fn told(view: &RouteView) -> serde_json::Value {
    json!({
        "name": view.name, "channel": view.channel, "position": view.position, "enabled": view.enabled, "match": view.matches, "choose": view.choose,
        "accounts": view.accounts, "otherwise": view.otherwise,
    })
}

async fn found(tx: &mut Tx, tenant: TenantId, id: RouteId) -> Result<(routes::Route, Vec<routes::Route>), Error> {
    let all = routes::all(tx, tenant).await?;
    let row = all.iter().find(|row| row.id == id).cloned().ok_or_else(|| Error::not_found("route"))?;
    Ok((row, all))
}

/// Makes a rule. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewRoute) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    may_manage(caller, &[new.channel])?;
    let now = engine.ports.clock.now();
    let id = RouteId::from_ulid(engine.ports.ids.ulid(now));
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let known = Known::read(tx, tenant).await?;
            let mut faults = Faults::default();
            let rule = Rule {
                id,
                channel: new.channel,
                name: faults.name("/name", &new.name),
                is_enabled: new.enabled.unwrap_or(true),
                matches: new.matches,
                choice: new.choose,
                accounts: new.accounts,
                otherwise: new.otherwise,
            };
            known.is_there_room()?;
            let rows = place(known.rules.clone(), row(tenant, &rule, 0, now, now), new.position);
            known.check(faults, tx, &rule, new.position, &rows).await?;
            routes::put_many(tx, tenant, &rows).await?;
            let made = rows.iter().find(|row| row.id == id).ok_or_else(|| Error::internal("a rule lost its place"))?;
            let shown = view(made, &known.accounts)?;
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "route.created", id, &told(&shown)).await?;
            Ok(shown)
        })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

/// Lists the tenant's rules, of one channel or of all, in the order they are asked. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller, channel: Option<Channel>) -> Result<RouteList, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { Ok::<_, Error>((routes::all(tx, tenant).await?, accounts::all(tx, tenant).await?)) })
    });
    let (rows, accounts) = read.await?;
    let wanted = rows.iter().filter(|row| channel.is_none_or(|channel| row.channel == channel));
    Ok(RouteList { data: wanted.map(|row| view(row, &accounts)).collect::<Result<_, _>>()? })
}

/// Reads one of the tenant's rules. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: RouteId) -> Result<RouteView, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let (row, _) = found(tx, tenant, id).await?;
            view(&row, &accounts::all(tx, tenant).await?)
        })
    });
    read.await
}

/// Changes a rule, or moves it. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, id: RouteId, change: RoutePatch) -> Result<RouteView, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let (now, inner, by) = (engine.ports.clock.now(), engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let known = Known::read(tx, tenant).await?;
            let before = known.rules.iter().find(|row| row.id == id).cloned();
            let before = before.ok_or_else(|| Error::not_found("route"))?;
            may_manage(&by, &[before.channel])?;
            let shown_before = view(&before, &known.accounts)?;
            let mut faults = Faults::default();
            let name = change.name.required(before.name.clone(), "/name", &mut faults.0);
            let rule = Rule {
                id,
                channel: before.channel,
                name: faults.name("/name", &name),
                is_enabled: change.enabled.required(before.is_enabled, "/enabled", &mut faults.0),
                matches: change.matches.or(shown_before.matches.clone(), Matches::default()),
                choice: change.choose.required(shown_before.choose, "/choose", &mut faults.0),
                accounts: change.accounts.required(shown_before.accounts.clone(), "/accounts", &mut faults.0),
                otherwise: change.otherwise.or(shown_before.otherwise, Otherwise::default()),
            };
            let position = change.position.required(before.position, "/position", &mut faults.0);
            let rows =
                place(known.rules.clone(), row(tenant, &rule, before.position, before.created_at, now), Some(position));
            known.check(faults, tx, &rule, Some(position), &rows).await?;
            routes::put_many(tx, tenant, &rows).await?;
            let after = rows.iter().find(|row| row.id == id).ok_or_else(|| Error::internal("a rule lost its place"))?;
            let shown = view(after, &known.accounts)?;
            let difference = audit::difference(&told(&shown_before), &told(&shown));
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "route.updated", id, &difference).await?;
            Ok::<_, Error>(shown)
        })
    });
    let after = write.await?;
    engine.directory.catch_up().await;
    Ok(after)
}

/// Removes a rule; those behind it move up. Messages it decided about go on as they were going. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: RouteId) -> Result<(), Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let (now, inner, by) = (engine.ports.clock.now(), engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            tenants::bump(tx, Some(tenant)).await?;
            let (row, all) = found(tx, tenant, id).await?;
            may_manage(&by, &[row.channel])?;
            routes::remove(tx, tenant, id).await?;
            let left = all.into_iter().filter(|other| other.channel == row.channel && other.id != id).zip(1..);
            let moved: Vec<_> = left
                .filter(|(other, position)| other.position != *position)
                .map(|(other, position)| routes::Route { position, ..other })
                .collect();
            routes::put_many(tx, tenant, &moved).await?;
            let detail = json!({ "name": row.name, "channel": row.channel, "position": row.position });
            audit::record(tx, tenant, &inner.ports.ids, now, &by, "route.deleted", id, &detail).await
        })
    });
    write.await?;
    engine.directory.catch_up().await;
    Ok(())
}

/// Says what the rules would decide about a message. Nothing is sent or kept. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn try_out(engine: &Engine, caller: &Caller, trial: RouteTrial) -> Result<TrialView, Error> {
    caller.need("accounts:read")?;
    let tenant = engine.tenant(caller.need_tenant()?).await?.1;
    let now = engine.ports.clock.now();
    let address = check::address(&trial)?;
    let figures = engine.figures(&tenant).await?.unwrap_or_default();
    let default = default_account(&tenant, trial.channel);
    let message = Subject {
        id: MessageId::from_ulid(engine.ports.ids.ulid(now)),
        channel: trial.channel,
        address: &address,
        purpose: trial.purpose.unwrap_or(Purpose::Transactional),
        topic: trial.topic.as_deref(),
        template: trial.template_id,
        metadata: trial.metadata.as_ref().map(|raw| raw.get()),
        segments: (trial.channel == Channel::Sms).then_some(1),
        leaves_at: trial.at.unwrap_or(now),
        accepted_at: now,
    };
    Ok(match decide::route(&Facts::of(&tenant, message, &figures, &|_| None), now) {
        Routed::To(decision) => {
            TrialView { account_id: Some(decision.account_id), why: decision.why.clone(), decision: Some(*decision) }
        }
        Routed::Nowhere(passed) => TrialView { account_id: None, why: nowhere(&passed).detail, decision: None },
        Routed::Unruled => TrialView {
            account_id: default.map(|account| account.id),
            why: match default {
                Some(account) => {
                    format!("no rule matches, so {} carries it as the channel's default account", account.name)
                }
                None => "no rule matches, and there is no account for this channel".to_owned(),
            },
            decision: None,
        },
    })
}
