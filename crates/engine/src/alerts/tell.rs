//! Letters about alerts, through Tidings itself: by e-mail, SMS and Telegram.
//!
//! Everything there is to say to a tenant is one letter per receiver. It leaves through the first of the tenant's own accounts that is not in trouble and takes it; a mail that none of them takes
//! leaves through the operator's (`mail_tenant` of the configuration) if it is to a user of the tenant. Nothing of a demo tenant leaves it. What no account takes is tried again later ([`letters`]), what was accepted is looked
//! after, and goes another way when it could not be delivered, and each alert says of everybody it is told to how far that is. How many leave in a day is bounded ([`rations`](super::rations)).
//!
//! A letter is recognised by its idempotency key, so what a process that dies between sending and noting has sent is not sent again by the same account, nor by another of the same tenant, as
//! long as it says the same. Where another alert joins it before the next run, or where it leaves through the operator's account then and not the tenant's (or the other way round), it is
//! another letter, and its receiver gets both.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::tz::TimeZone;
use model::{AccountId, AlertRuleId, Channel, Failure, FailureKind, MessageId, Status, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Scope, Tx, account_states, alert_rules,
    alerts::{self, Alert},
    memberships,
    messages::{self, Message},
    users,
};

use utoipa::ToSchema;

use super::{
    AlertKind, AlertState, LETTER, TRIAL,
    facts::Shared,
    letter::{self, Letter},
    letters::{self, AlertLetter, Became, LetterAbout, LetterState, LostWay, Tried},
    rations::Ration,
    rules::{self, Receiver, Rule},
};
use crate::{
    Engine, Error, ErrorKind,
    access::{OperatorRole, Role, mail, sign_in},
    audit,
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
/// People `admins` stands for at most: owners before admins, and who was a user first before others.
const ADMINS_MAX: i64 = 50;

/// Sends the letters that are due, and looks what became of those that were accepted. Answers to how many tenants. Run every minute, after the looks.
#[crate::boxed]
pub async fn tell(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let due = alert_rules::to_tell(tx, now.plus_seconds(-GROUP_S), now, TENANTS_MAX).await?;
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

/// An alert there is something to say about.
struct Telling {
    row: Alert,
    about: LetterAbout,
    /// Everybody its rule tells.
    receivers: Vec<Receiver>,
    letters: Vec<AlertLetter>,
    /// Whether a letter that was accepted turned out to be lost.
    is_lost: bool,
}

async fn tell_one(engine: &Engine, owner: TenantId, shared: &Shared, now: Timestamp) -> Result<(), Error> {
    let scope = if owner == OPERATOR { Scope::System } else { Scope::Tenant(owner) };
    let read = engine.ports.db.read(scope, move |tx| {
        Box::pin(async move {
            let rows = alerts::telling(tx, owner, now, ALERTS_MAX).await?;
            let rules = alert_rules::all(tx, owner).await?;
            Ok::<_, Error>((rows, rules))
        })
    });
    let (rows, rules) = read.await?;
    let deliver: BTreeMap<AlertRuleId, Vec<Receiver>> =
        rules.iter().filter_map(Rule::from_row).map(|rule| (rule.id, rule.deliver)).collect();
    let admins = administrators(engine, owner, deliver.values().flatten()).await?;
    let became = look_after(engine, owner, &rows).await?;
    let mut all: Vec<Telling> = Vec::new();
    let mut due: BTreeMap<Receiver, Vec<usize>> = BTreeMap::new();
    for row in rows {
        let receivers = everybody(deliver.get(&row.rule_id).map_or(&[], Vec::as_slice), &admins);
        let (about, known) =
            (LetterAbout::from_stored(row.telling.as_deref().unwrap_or_default()), row.letters.as_deref());
        let mut letters = letters::read(known);
        let is_lost = letters::follow(&mut letters, about, &became);
        for receiver in letters::due(known.map(|_| letters.as_slice()), about, &receivers, now) {
            due.entry(receiver).or_default().push(all.len());
        }
        all.push(Telling { row, about, receivers, letters, is_lost });
    }
    let tenant = engine.directory.tenant(owner).await?;
    let whose = tenant.as_ref().map_or("this installation", |tenant| tenant.name.as_str());
    let zone = tenant.as_ref().and_then(|tenant| TimeZone::get(&tenant.timezone).ok()).unwrap_or(TimeZone::UTC);
    let page = if owner == OPERATOR { "/console/operator/alerts" } else { "/console/alerts" };
    let (link, is_tried) = (format!("{}{page}", engine.config.public_url), !due.is_empty());
    for (receiver, places) in due {
        let said: Vec<&Alert> = places.iter().map(|place| &all[*place].row).collect();
        let letter = letter::write(&said, whose, &zone, &link);
        let key = key(&receiver, places.iter().map(|place| &all[*place]));
        let lost: Vec<LostWay> = places.iter().flat_map(|place| all[*place].lost(&receiver)).copied().collect();
        let ration = Ration::of(&said);
        let handed_over = async {
            if let Some(refusal) = ration.take(engine, owner, &receiver, now).await? {
                return Ok(Tried::Later(refusal));
            }
            let posted = post(engine, tenant.as_ref(), shared, &receiver, &letter, SentAs::Ours(&key), &lost).await;
            // One that was accepted before was counted then.
            if !matches!(posted, Ok(Tried::Accepted { is_new: true, .. })) {
                ration.give_back(engine, owner, &receiver, now).await?;
            }
            posted
        };
        let tried = handed_over.await.unwrap_or_else(|error| failed(owner, &error));
        for place in places {
            let Telling { about, letters, .. } = &mut all[place];
            letters::note(letters, *about, &receiver, &tried, now);
        }
    }
    let write = engine.ports.db.write(scope, move |tx| {
        Box::pin(async move {
            for telling in &all {
                conclude(tx, telling, now).await?;
            }
            if is_tried {
                alert_rules::note_told(tx, owner, now).await?;
            }
            Ok::<_, Error>(())
        })
    });
    write.await
}

/// What a try is that failed for a reason of ours. The others of the run are written to all the same. As it is no try, the next one asks with the same key whether the letter was accepted after all,
/// unless another alert joined it meanwhile or another tenant's account takes it: then it is another letter.
fn failed(owner: TenantId, error: &Error) -> Tried {
    tracing::warn!(tenant.id = %owner, %error, "Cannot hand over a letter about alerts");
    if error.code == once::IN_USE {
        return Tried::Later("It is being handed over by somebody else at this very moment.".to_owned());
    }
    Tried::Later(format!(
        "It could not be handed over just then, and nothing is wrong with the receiver: {}",
        error.detail
    ))
}

impl Telling {
    /// By which ways the letter to a receiver went and was not delivered.
    fn lost(&self, receiver: &Receiver) -> &[LostWay] {
        letters::find(&self.letters, self.about, receiver).map_or(&[], |letter| letter.lost.as_slice())
    }
}

/// What became of the letters about these alerts that were accepted, by message; those nothing is known of are left out.
async fn look_after(engine: &Engine, owner: TenantId, rows: &[Alert]) -> Result<BTreeMap<MessageId, Became>, Error> {
    let mut keys: BTreeSet<(TenantId, MessageId)> = BTreeSet::new();
    for row in rows {
        for (id, by_operator) in letters::open(&letters::read(row.letters.as_deref())) {
            let whose = if by_operator { engine.config.mail_tenant } else { Some(owner) };
            keys.extend(whose.map(|tenant| (tenant, id)));
        }
    }
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<_> = keys.into_iter().collect();
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(messages::find_many(tx, &keys).await?) }));
    let mut found = BTreeMap::new();
    for message in read.await? {
        let is_foreign = owner != OPERATOR && message.tenant_id != owner;
        if let Some(became) = became(&message, is_foreign) {
            if let Became::Lost(_, why) = &became {
                tracing::warn!(tenant.id = %message.tenant_id, message.id = %message.id, why, "A letter about alerts could not be delivered");
            }
            found.insert(message.id, became);
        }
    }
    Ok(found)
}

/// What a letter's message says of it; `None` while nothing is known. Of the operator's messages (`is_foreign`) a tenant hears no more than that.
fn became(message: &Message, is_foreign: bool) -> Option<Became> {
    let failure: Option<Failure> = message.failure.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let is_for_good = match message.status {
        Status::Delivered | Status::Read => return Some(Became::Delivered),
        Status::Scheduled | Status::Queued | Status::Sending | Status::Sent | Status::Unknown => return None,
        Status::Bounced | Status::Suppressed => true,
        Status::Canceled => return Some(Became::Canceled),
        Status::Expired => false,
        Status::Failed => failure.as_ref().is_some_and(|failure| {
            matches!(failure.kind, FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content)
        }),
    };
    let why = match failure.filter(|_| !is_foreign) {
        Some(failure) => format!("It could not be delivered ({}): {}", failure.code, failure.detail),
        None => format!("It could not be delivered: it is {}.", message.status.as_str()),
    };
    // Without an account nothing left.
    Some(Became::Lost(LostWay { account_id: message.account_id?, is_for_good }, why))
}

/// Everybody a rule tells; `admins` as the addresses it stands for. Where it stands for nobody it stays, so that the alert says so.
fn everybody(deliver: &[Receiver], admins: &[String]) -> Vec<Receiver> {
    let mut all: Vec<Receiver> = Vec::new();
    for receiver in deliver {
        if receiver.to().is_some() || admins.is_empty() {
            all.push(receiver.clone());
        } else {
            all.extend(admins.iter().map(|to| Receiver { channel: Channel::Email, to: to.clone() }));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Writes how far an alert's letters are.
async fn conclude(tx: &mut Tx, telling: &Telling, now: Timestamp) -> Result<(), Error> {
    let before = &telling.row;
    let Some(mut row) = alerts::lock(tx, before.tenant_id, before.id).await? else { return Ok(()) };
    let heard_at = letters::heard_at(&telling.letters);
    if telling.is_lost || heard_at == Some(now) {
        row.told_at = heard_at;
    }
    // What was said of another occasion is no longer the matter.
    if (row.times, row.seen_at) == (before.times, before.seen_at) {
        let mut kept = telling.letters.clone();
        letters::keep_accepted(&mut kept, &letters::read(row.letters.as_deref()));
        if row.telling == before.telling {
            // Who is no longer told by the rule need not be waited for.
            kept.retain(|letter| {
                letter.state != LetterState::Waiting
                    || telling.receivers.iter().any(|to| (to.channel, &to.to) == (letter.channel, &letter.to))
            });
            row.tell_at = letters::next(&kept, telling.about, now);
            row.telling = row.telling.filter(|_| row.tell_at.is_some());
        } else if AlertState::from_stored(&row.state) == AlertState::Resolved {
            // It ended while the letters were handed over: who just heard of it hears that, too.
            letters::end(&mut kept, "It was over first.");
            let is_known = row.resolved_by.is_none() && letters::is_told(&kept);
            row.telling = is_known.then(|| LetterAbout::Resolved.as_str().to_owned());
            row.tell_at = is_known.then_some(now);
        }
        row.letters = Some(letters::write(&kept));
    }
    Ok(alerts::put(tx, &row).await?)
}

/// The addresses of everybody who administers a tenant, or the installation, if one of these receivers stands for them.
async fn administrators<'a>(
    engine: &Engine,
    owner: TenantId,
    mut receivers: impl Iterator<Item = &'a Receiver>,
) -> Result<Vec<String>, Error> {
    if receivers.all(|receiver| receiver.to().is_some()) {
        return Ok(Vec::new());
    }
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            if owner == OPERATOR {
                return users::staff_emails(tx, OperatorRole::Admin.as_str(), ADMINS_MAX).await;
            }
            memberships::emails(tx, owner, [Role::Owner.as_str(), Role::Admin.as_str()], ADMINS_MAX).await
        })
    });
    Ok(read.await?)
}

/// What a letter is recognised by: to whom, which alerts in which state and of which occasion, and which try it is.
fn key<'a>(receiver: &Receiver, all: impl Iterator<Item = &'a Telling>) -> String {
    let said: Vec<Value> = all
        .map(|Telling { row, about, letters, .. }| {
            json!([row.id, row.telling, row.times, row.seen_at, letters::tries(letters, *about, receiver)])
        })
        .collect();
    keyed("alert", &json!([receiver, said]))
}

/// A key of what makes a letter the same.
fn keyed(word: &str, what: &Value) -> String {
    let hash = digest(&SHA256, what.to_string().as_bytes());
    let hash: String = hash.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{word}-{hash}")
}

/// What a letter is sent as.
#[derive(Clone, Copy)]
enum SentAs<'a> {
    /// Tidings' own message, recognised by this key.
    Ours(&'a str),
    /// A message like any other, recognised by this key, if there is one.
    AnyOther(Option<&'a str>),
}

/// A way out: an account, and whose it is.
struct Way {
    tenant: TenantId,
    account: AccountId,
    name: String,
    by_operator: bool,
}

/// The accounts of a tenant a letter can leave through: those that carry the channel and work, the default first.
fn ways(tenant: &Tenant, shared: &Shared, channel: Channel, by_operator: bool) -> Vec<Way> {
    let works = |account: &&Arc<crate::directory::Account>| {
        account.is_enabled
            && account.channels.contains(&channel)
            && !shared.is_paused(account.id)
            && (tenant.is_demo || !mail::NOWHERE.contains(&account.connector.spec().id))
    };
    let mut found: Vec<_> = tenant.accounts.iter().filter(works).collect();
    found.sort_by_key(|account| !account.default_for.contains(&channel));
    let way = |account: &Arc<crate::directory::Account>| Way {
        tenant: tenant.id,
        account: account.id,
        name: account.name.clone(),
        by_operator,
    };
    found.into_iter().map(way).collect()
}

/// What a message's answer says of it, as far as letters go.
#[derive(Deserialize)]
struct Answer {
    id: MessageId,
    status: String,
    failure: Option<Why>,
}

#[derive(Deserialize)]
struct Why {
    detail: String,
}

/// Hands a letter to the engine like any other message, by one way after another until one takes it; ways by which it was `lost` come last, or never.
async fn post(
    engine: &Engine,
    tenant: Option<&Arc<Tenant>>,
    shared: &Shared,
    receiver: &Receiver,
    letter: &Letter,
    sent_as: SentAs<'_>,
    lost: &[LostWay],
) -> Result<Tried, Error> {
    let Some(to) = receiver.to() else {
        return Ok(Tried::Refused("Nobody has the role admin or owner, so `admins` stands for nobody.".to_owned()));
    };
    let content = match receiver.channel {
        Channel::Email => json!({"subject": "{{ subject }}", "text": "{{ text }}"}),
        _ => json!({"text": "{{ text }}"}),
    };
    let text = if receiver.channel == Channel::Email { &letter.text } else { &letter.short };
    let variables = json!({"subject": letter.subject, "text": text});
    let mut request = json!({
        "to": to, "channel": receiver.channel, "purpose": "transactional", "priority": "high", "topic": TRIAL, "content": content, "variables": variables,
    });
    let mut refused: Vec<String> = Vec::new();
    // An address that takes nothing is given up once no way is left that might do better.
    let mut is_hopeless = !lost.is_empty() && lost.iter().all(|lost| lost.is_for_good);
    let went = |way: &Way| lost.iter().find(|lost| lost.account_id == way.account);
    // A tenant reads nothing of the operator's account.
    let is_lent = |way: &Way| way.by_operator && tenant.is_some();
    let mut ways = all_ways(engine, tenant, shared, receiver).await?;
    ways.retain(|way| went(way).is_none_or(|lost| !lost.is_for_good));
    ways.sort_by_key(|way| went(way).is_some());
    for way in ways {
        request["account_id"] = json!(way.account);
        let body = request.to_string();
        let sent = match sent_as {
            SentAs::Ours(key) => {
                engine.send_ours(way.tenant, LETTER, body.as_bytes(), IdempotencyKey::parse(key)?).await
            }
            SentAs::AnyOther(key) => {
                let key = key.map(IdempotencyKey::parse).transpose()?;
                engine.send(&Caller::system(Some(way.tenant)), body.as_bytes(), key).await
            }
        };
        let said = |why: &str| match is_lent(&way) {
            true => "The operator's account did not take it.".to_owned(),
            false => format!("{}: {why}", way.name),
        };
        match sent {
            Ok(reply) => {
                let answer: Answer = serde_json::from_slice(&reply.body).map_err(Error::internal)?;
                if answer.status != "suppressed" {
                    let (message_id, by_operator) = (Some(answer.id), way.by_operator);
                    return Ok(Tried::Accepted { message_id, by_operator, is_new: !reply.replayed });
                }
                let why = answer.failure.map_or_else(|| "it must not be written to".to_owned(), |of| of.detail);
                tracing::warn!(tenant.id = %way.tenant, account.id = %way.account, why, "A letter about alerts was suppressed");
                refused.push(said(&why));
            }
            // The database or we are busy, and the message may be there all the same: the same way is tried again with the same key.
            Err(error) if matches!(error.kind, ErrorKind::Unavailable | ErrorKind::Throttled) => {
                if !is_lent(&way) {
                    return Err(error);
                }
                tracing::warn!(tenant.id = %way.tenant, account.id = %way.account, %error, "A letter about a tenant's alerts cannot leave through the operator's account just then");
                return Err(Error {
                    detail: "The operator's account cannot take it at the moment.".to_owned(),
                    ..error
                });
            }
            // Somebody else hands over the same letter this very moment: another way would write it twice.
            Err(error) if error.code == once::IN_USE => return Err(error),
            Err(error) => {
                is_hopeless = false;
                tracing::warn!(tenant.id = %way.tenant, account.id = %way.account, %error, "A letter about alerts was not accepted");
                let why = error.errors.first().map_or(&error.detail, |field| &field.detail);
                refused.push(said(why));
            }
        }
    }
    if refused.is_empty() && is_hopeless {
        refused.push("There is no other way to this receiver.".to_owned());
    } else if refused.is_empty() {
        let whose = match (tenant, engine.config.mail_tenant) {
            (Some(_), Some(_)) if receiver.channel == Channel::Email => {
                "The operator's account writes to users of this tenant only, and the tenant itself"
            }
            (Some(_), _) => "This tenant",
            (None, Some(_)) => "The tenant that `mail_tenant` of the configuration names",
            (None, None) => "No tenant is named by `mail_tenant` of the configuration, so the operator",
        };
        refused.push(format!("{whose} has no account for {} that works and reaches people.", receiver.channel));
    }
    let why = refused.join(" ");
    Ok(if is_hopeless { Tried::Hopeless(why) } else { Tried::Refused(why) })
}

/// Every way out, the tenant's own first. The operator's account writes to people of the tenant only: to anybody else a tenant could have written what it likes in the operator's name.
async fn all_ways(
    engine: &Engine,
    tenant: Option<&Arc<Tenant>>,
    shared: &Shared,
    receiver: &Receiver,
) -> Result<Vec<Way>, Error> {
    let channel = receiver.channel;
    let own = tenant.filter(|tenant| tenant.state == TenantState::Active);
    let mut all = own.map_or_else(Vec::new, |tenant| ways(tenant, shared, channel, false));
    let may_borrow = tenant.is_none_or(|tenant| !tenant.is_demo && channel == Channel::Email);
    let Some(id) = engine.config.mail_tenant.filter(|_| may_borrow) else { return Ok(all) };
    if own.is_some_and(|tenant| tenant.id == id) {
        return Ok(all);
    }
    if let Some(tenant) = tenant
        && !is_member(engine, tenant.id, &receiver.to).await?
    {
        return Ok(all);
    }
    if let Some(other) = engine.directory.tenant(id).await? {
        all.extend(ways(&other, shared, channel, true));
    }
    Ok(all)
}

/// Whether an address is that of somebody who accepted to be a user of the tenant.
async fn is_member(engine: &Engine, tenant: TenantId, address: &str) -> Result<bool, Error> {
    let email = sign_in::plain_email(address);
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let Some(user) = users::find_by_email(tx, &email).await? else { return Ok::<_, Error>(false) };
            Ok(memberships::find(tx, tenant, user.id).await?.is_some_and(|(of, _)| of.accepted_at.is_some()))
        })
    });
    read.await
}

/// Who was told by a test.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlertRuleTest {
    /// Everybody a letter was written to; `admins` as the addresses it stands for.
    pub receivers: Vec<Receiver>,
    /// What became of each letter.
    pub letters: Vec<AlertLetter>,
}

/// Sends a letter to everybody a rule tells, to see whether it arrives. Needs the scope `alerts:write`.
#[crate::boxed]
pub async fn test(engine: &Engine, caller: &Caller, repeat: &Repeat, id: AlertRuleId) -> Result<Reply, Error> {
    let owner = caller.need_owner("alerts:write")?;
    if let Some(before) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(before);
    }
    let row = rules::get_row(engine, caller, owner, id).await?;
    let rule = Rule::from_row(&row).ok_or_else(|| Error::not_found("alert rule"))?;
    let tenant = engine.directory.tenant(owner).await?;
    let troubled = engine.ports.db.read(Scope::System, |tx| Box::pin(account_states::troubled(tx))).await?;
    let shared = Shared { troubled, ..Shared::default() };
    let receivers = everybody(&rule.deliver, &administrators(engine, owner, rule.deliver.iter()).await?);
    let (letter, now, mut letters) = (trial(&rule.name, rule.kind), engine.ports.clock.now(), Vec::new());
    for receiver in &receivers {
        // The same request twice, also at once, writes one letter.
        let key = repeat.key.as_ref().map(|key| keyed("alert-test", &json!([id, key.as_str(), receiver])));
        let sent_as = SentAs::AnyOther(key.as_deref());
        let handed_over = async {
            match Ration::Trial.take(engine, owner, receiver, now).await? {
                Some(refusal) => Ok(Tried::Later(refusal)),
                None => post(engine, tenant.as_ref(), &shared, receiver, &letter, sent_as, &[]).await,
            }
        };
        let tried = match handed_over.await {
            Ok(tried) => tried,
            // What the same request comes to is told to whoever was first.
            Err(error) if error.code == once::IN_USE => return Err(error),
            Err(error) => failed(owner, &error),
        };
        letters::note(&mut letters, LetterAbout::Firing, receiver, &tried, now);
    }
    // A test is not tried again.
    for letter in letters.iter_mut().filter(|letter| letter.state == LetterState::Waiting) {
        letter.state = LetterState::GivenUp;
    }
    let is_operators = owner == OPERATOR;
    let letters = letters.into_iter().map(|letter| letters::shown(letter, is_operators)).collect();
    let told = AlertRuleTest { receivers, letters };
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let detail = json!({"name": rule.name, "letters": told.letters});
            audit::record(tx, owner, &ids, now, &by, "alert_rule.tested", id, &detail).await?;
            Ok(told)
        })
    })
    .await
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

#[cfg(test)]
mod tests {
    use store::messages::ContentId;

    use super::*;

    #[test]
    fn what_became_of_a_letter_says_whether_the_same_way_may_do_better() {
        let message = |status, kind: Option<FailureKind>| {
            let failure = kind.map(|kind| serde_json::to_string(&Failure::new(kind, "code", "Why.")).unwrap());
            let (tenant, id, at) = (TenantId::from_ulid(1), MessageId::from_ulid(1), Timestamp::from_seconds(1));
            let made = Message::new(tenant, id, Channel::Email, "ada@example.com".to_owned(), ContentId(1), at);
            Message { status, failure, account_id: Some(AccountId::from_ulid(3)), ..made }
        };
        let lost = |is_for_good, why: &str| {
            Some(Became::Lost(LostWay { account_id: AccountId::from_ulid(3), is_for_good }, why.to_owned()))
        };
        let why = "It could not be delivered (code): Why.";
        let check = |status, kind, expected| assert_eq!(became(&message(status, kind), false), expected, "{status:?}");
        for status in [Status::Scheduled, Status::Queued, Status::Sending, Status::Sent, Status::Unknown] {
            check(status, None, None);
        }
        check(Status::Delivered, None, Some(Became::Delivered));
        check(Status::Read, None, Some(Became::Delivered));
        check(Status::Canceled, None, Some(Became::Canceled));
        check(Status::Bounced, Some(FailureKind::Recipient), lost(true, why));
        check(Status::Failed, Some(FailureKind::Recipient), lost(true, why));
        check(Status::Failed, Some(FailureKind::Unavailable), lost(false, why));
        check(Status::Expired, None, lost(false, "It could not be delivered: it is expired."));
        // What the operator's provider said is the operator's.
        let foreign = became(&message(Status::Bounced, Some(FailureKind::Recipient)), true);
        assert_eq!(foreign, lost(true, "It could not be delivered: it is bounced."));
    }
}
