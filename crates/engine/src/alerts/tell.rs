//! Letters about alerts, through Tidings itself: by e-mail, SMS and Telegram.
//!
//! Everything there is to say to a tenant is one letter per receiver. It leaves through one of the tenant's own accounts that is not in trouble; without such an account a mail leaves
//! through the operator's (`mail_tenant` of the configuration), and other letters are given up, which the log says. Nothing of a demo tenant leaves it. A letter is recognised
//! by its idempotency key, so a process that dies between sending and noting sends nothing twice.

use std::{collections::BTreeMap, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use model::{AccountId, AlertId, AlertRuleId, Channel, TenantId, Timestamp, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use store::{
    Scope, account_states, alert_rules,
    alerts::{self, Alert},
    memberships, users,
};

use utoipa::ToSchema;

use super::{
    AlertKind, TOPIC,
    facts::Shared,
    letter::{self, Letter},
    rules::{self, Receiver, Rule},
};
use crate::{
    Engine, Error, ErrorKind,
    access::{OperatorRole, Role, mail},
    directory::{Tenant, TenantState},
    keys::Caller,
    once::{self, IdempotencyKey, Repeat, Reply, Secrecy, once},
    vault::OPERATOR,
};

/// Time between two letters to one receiver, in seconds: what happens meanwhile is told together.
const GROUP_S: i64 = 300;
/// Tenants told in one run.
const TENANTS_MAX: i64 = 200;
/// Alerts of one letter. More say the same.
const ALERTS_MAX: i64 = 100;
/// People `admins` stands for at most.
const ADMINS_MAX: i64 = 50;

/// Sends the letters that are due. Answers to how many tenants. Run every minute, after the looks.
#[crate::boxed]
pub async fn tell(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let due = alert_rules::to_tell(tx, now.plus_seconds(-GROUP_S), TENANTS_MAX).await?;
            let troubled = if due.is_empty() { Vec::new() } else { account_states::troubled(tx).await? };
            Ok::<_, Error>((due, Shared { troubled, ..Shared::default() }))
        })
    });
    let (due, shared) = read.await?;
    let mut told = 0;
    for owner in due {
        match tell_one(engine, owner, &shared, now).await {
            Ok(()) => told += 1,
            // It is due again in a minute; the others must not wait for it.
            Err(error) => tracing::warn!(tenant.id = %owner, %error, "Cannot send letters about alerts"),
        }
    }
    Ok(told)
}

async fn tell_one(engine: &Engine, owner: TenantId, shared: &Shared, now: Timestamp) -> Result<(), Error> {
    let scope = if owner == OPERATOR { Scope::System } else { Scope::Tenant(owner) };
    let read = engine.ports.db.read(scope, move |tx| {
        Box::pin(async move {
            let rows = alerts::telling(tx, owner, ALERTS_MAX).await?;
            let rules = alert_rules::all(tx, owner).await?;
            Ok::<_, Error>((rows, rules))
        })
    });
    let (rows, rules) = read.await?;
    let deliver: BTreeMap<AlertRuleId, Vec<Receiver>> =
        rules.iter().filter_map(Rule::from_row).map(|rule| (rule.id, rule.deliver)).collect();
    let mut letters: BTreeMap<Receiver, Vec<&Alert>> = BTreeMap::new();
    let mut admins = None;
    for row in &rows {
        for receiver in deliver.get(&row.rule_id).into_iter().flatten() {
            if receiver.to == rules::ADMINS && receiver.channel == Channel::Email {
                if admins.is_none() {
                    admins = Some(administrators(engine, owner).await?);
                }
                for to in admins.iter().flatten() {
                    let receiver = Receiver { channel: Channel::Email, to: to.clone() };
                    letters.entry(receiver).or_default().push(row);
                }
            } else {
                letters.entry(receiver.clone()).or_default().push(row);
            }
        }
    }
    let tenant = engine.directory.tenant(owner).await?;
    for (receiver, mut alerts) in letters {
        alerts.dedup_by_key(|alert| alert.id);
        let whose = tenant.as_ref().map_or("this installation", |tenant| tenant.name.as_str());
        let letter = letter::write(&alerts, whose, &format!("{}/console/alerts", engine.config.public_url));
        let key = key(&receiver, &alerts);
        post(engine, tenant.as_ref(), shared, &receiver, &letter, Some(key)).await?;
    }
    let said: Vec<(AlertId, String)> =
        rows.into_iter().filter_map(|row| row.telling.map(|telling| (row.id, telling))).collect();
    let write = engine.ports.db.write(scope, move |tx| {
        Box::pin(async move {
            for (id, telling) in &said {
                alerts::told(tx, owner, *id, telling, now).await?;
            }
            Ok::<_, Error>(alert_rules::note_told(tx, owner, now).await?)
        })
    });
    write.await
}

/// The addresses of everybody who administers a tenant, or the installation.
async fn administrators(engine: &Engine, owner: TenantId) -> Result<Vec<String>, Error> {
    let everybody = UserId::from_ulid(u128::MAX);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            if owner == OPERATOR {
                let staff = users::staff(tx, everybody, ADMINS_MAX).await?;
                let is_admin = |role: &Option<String>| role.as_deref() == Some(OperatorRole::Admin.as_str());
                return Ok(staff
                    .into_iter()
                    .filter(|user| is_admin(&user.operator_role))
                    .map(|user| user.email)
                    .collect());
            }
            let members = memberships::list(tx, owner, everybody, crate::page::LIMIT_MAX.into()).await?;
            let admins = members.into_iter().filter(|(of, _)| {
                let role = Role::from_stored(&of.role);
                of.accepted_at.is_some() && role.is_some_and(|role| role >= Role::Admin)
            });
            Ok::<_, Error>(admins.take(ADMINS_MAX as usize).map(|(_, user)| user.email).collect())
        })
    });
    read.await
}

/// What a letter is recognised by: to whom, and which alerts in which state.
fn key(receiver: &Receiver, alerts: &[&Alert]) -> String {
    let said: Vec<Value> = alerts
        .iter()
        .map(|alert| json!([alert.id, alert.telling, alert.times, alert.fired_at, alert.told_at]))
        .collect();
    let text = json!([receiver, said]).to_string();
    let hash: String =
        digest(&SHA256, text.as_bytes()).as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("alert-{hash}")
}

/// The account a letter leaves through: one of the tenant's that carries the channel and works, its default first.
fn way(tenant: &Tenant, shared: &Shared, channel: Channel) -> Option<AccountId> {
    let works = |account: &&Arc<crate::directory::Account>| {
        account.is_enabled
            && account.channels.contains(&channel)
            && !shared.is_paused(account.id)
            && (tenant.is_demo || !mail::NOWHERE.contains(&account.connector.spec().id))
    };
    let mut found: Vec<_> = tenant.accounts.iter().filter(works).collect();
    found.sort_by_key(|account| !account.default_for.contains(&channel));
    found.first().map(|account| account.id)
}

/// Hands a letter to the engine like any other message. A letter that cannot leave is given up and logged: what it says stands under alerts anyway.
async fn post(
    engine: &Engine,
    tenant: Option<&Arc<Tenant>>,
    shared: &Shared,
    receiver: &Receiver,
    letter: &Letter,
    key: Option<String>,
) -> Result<(), Error> {
    let Some(to) = receiver.to() else { return Ok(()) };
    let content = match receiver.channel {
        Channel::Email => json!({"subject": "{{ subject }}", "text": "{{ text }}"}),
        _ => json!({"text": "{{ text }}"}),
    };
    let text = if receiver.channel == Channel::Email { &letter.text } else { &letter.short };
    let variables = json!({"subject": letter.subject, "text": text});
    let mut request = json!({
        "to": to, "channel": receiver.channel, "purpose": "transactional", "priority": "high", "topic": TOPIC, "content": content, "variables": variables,
    });
    let mut ways: Vec<(TenantId, AccountId)> = Vec::new();
    if let Some(tenant) = tenant.filter(|tenant| tenant.state == TenantState::Active) {
        ways.extend(way(tenant, shared, receiver.channel).map(|account| (tenant.id, account)));
    }
    let is_demo = tenant.is_some_and(|tenant| tenant.is_demo);
    let is_operators = tenant.is_none();
    if !is_demo
        && (is_operators || receiver.channel == Channel::Email)
        && let Some(id) = engine.config.mail_tenant
        && let Some(other) = engine.directory.tenant(id).await?
        && !ways.iter().any(|(tenant, _)| *tenant == other.id)
    {
        ways.extend(way(&other, shared, receiver.channel).map(|account| (other.id, account)));
    }
    for (tenant, account) in ways {
        request["account_id"] = json!(account);
        let key = key.as_deref().map(IdempotencyKey::parse).transpose()?;
        match engine.send(&Caller::system(Some(tenant)), request.to_string().as_bytes(), key).await {
            Ok(_) => return Ok(()),
            // The database or the tenant's rate: later. Anything else does not get better by waiting.
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Throttled) => return Err(error),
            Err(error) => {
                tracing::warn!(tenant.id = %tenant, account.id = %account, %error, "A letter about alerts was not accepted");
            }
        }
    }
    tracing::warn!(channel = %receiver.channel, "There is no account through which a letter about alerts can leave; it stands under alerts only");
    Ok(())
}

/// Who was told by a test.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertRuleTest {
    /// Everybody a letter was written to; `admins` as the addresses it stands for.
    pub receivers: Vec<Receiver>,
}

/// Sends a letter to everybody a rule tells, to see whether it arrives. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn test(engine: &Engine, caller: &Caller, repeat: &Repeat, id: AlertRuleId) -> Result<Reply, Error> {
    caller.need("alerts:write")?;
    if let Some(before) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(before);
    }
    let row = rules::get_row(engine, caller, id).await?;
    let rule = Rule::from_row(&row).ok_or_else(|| Error::not_found("alert rule"))?;
    let owner = caller.owner();
    let tenant = engine.directory.tenant(owner).await?;
    let troubled = engine.ports.db.read(Scope::System, |tx| Box::pin(account_states::troubled(tx))).await?;
    let shared = Shared { troubled, ..Shared::default() };
    let mut receivers: Vec<Receiver> = Vec::new();
    for receiver in rule.deliver {
        if receiver.to().is_some() {
            receivers.push(receiver);
        } else {
            let admins = administrators(engine, owner).await?.into_iter();
            receivers.extend(admins.map(|to| Receiver { channel: Channel::Email, to }));
        }
    }
    receivers.sort();
    receivers.dedup();
    let letter = trial(&rule.name, rule.kind);
    for receiver in &receivers {
        post(engine, tenant.as_ref(), &shared, receiver, &letter, None).await?;
    }
    let told = AlertRuleTest { receivers };
    once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |_| Box::pin(async move { Ok(told) })).await
}

fn trial(name: &str, kind: AlertKind) -> Letter {
    let text = format!(
        "Somebody tries out who is told by the alert rule {name}. Nothing is the matter.\n\n{}\n",
        kind.spec().explains
    );
    Letter {
        subject: format!("Test of the alert rule {name}"),
        short: format!("Test of the alert rule {name}: nothing is the matter."),
        text,
    }
}
