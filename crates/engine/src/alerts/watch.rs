//! The job that looks: at tenants with messages in the last hour every minute, at those with something open or with messages in the last two days every five, at the operator
//! every minute, at whoever's rules changed in the next round, and at nobody else. Whoever takes a look writes its time first, so nodes share the work; what follows from it is one commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{AccountId, AlertId, AlertRuleId, TenantId, Timestamp};
use store::{
    Scope, Tx, account_states, alert_facts,
    alert_rules::{self, AlertState as StateRow},
    alerts::{self, Alert},
    deliveries,
};

use super::{
    AlertState,
    evaluate::{Change, Memories, Memory, Notice, evaluate},
    events::{Audience, Told},
    facts::{self, Known, Shared},
    letters::{self, LetterAbout},
    rules::{self, Rule},
    view,
};
use crate::{Engine, Error, access::mail, books, vault::OPERATOR};

/// Looks in one run; more follow at once.
const LOOKS_MAX: usize = 500;
/// Who had a message accepted this lately is looked at every minute, in seconds.
const HOT_S: i64 = 3_600;
/// Who had one this lately is looked at every five minutes, in seconds: long enough to notice that somebody fell silent.
const WARM_S: i64 = 2 * 86_400;
/// Time between two looks, in seconds, a little less than the period of the job.
const HOT_EVERY_S: i64 = 50;
const WARM_EVERY_S: i64 = 290;
/// Tenants that are considered. An installation with more runs on several databases.
const TENANTS_MAX: i64 = 200_000;
/// Lanes read at most; the dispatcher keeps as many.
const LANES_MAX: usize = 100_000;
/// Lanes at most whose tenant is asked whether anything may leave: those that have waited longest. Behind so many that are held back something that waits shows a little later.
const WAITING_MAX: usize = 5_000;
/// How long an alert that is over is kept, in seconds: a year and a month, so that a year can be compared with the one before.
const KEPT_S: i64 = 400 * 86_400;
/// Alerts removed in one transaction.
const PURGE_PAGE: i64 = 500;

/// Takes the looks that are due. Answers how many. Run every minute.
#[crate::boxed]
pub async fn watch(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let (hot, warm) = (now.plus_seconds(-HOT_S), now.plus_seconds(-WARM_S));
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let checked = alert_rules::checked(tx, TENANTS_MAX).await?;
            let behind = alert_rules::behind(tx, rules::KINDS_COUNT, TENANTS_MAX).await?;
            let hot = alert_facts::active_tenants(tx, hot, TENANTS_MAX).await?;
            let warm = alert_facts::active_tenants(tx, warm, TENANTS_MAX).await?;
            let open = alert_facts::tenants_in_trouble(tx, TENANTS_MAX).await?;
            let troubled = account_states::troubled(tx).await?;
            let lanes = deliveries::lanes(tx, LANES_MAX).await?;
            let findings = books::findings(tx).await?;
            Ok::<_, Error>((checked, behind, hot, warm, open, Shared { troubled, lanes, findings }))
        })
    });
    let (checked, behind, hot, warm, open, shared) = read.await?;
    books::show(shared.findings.as_ref());
    let seen = |tenant: &TenantId| checked.get(tenant).copied().unwrap_or(Timestamp::EPOCH);
    let due_before = |every_s: i64| now.plus_seconds(-every_s);
    // Whose rules are new or changed is looked at, whether anything else happened or not.
    let changed = checked.iter().filter(|(_, at)| **at == Timestamp::EPOCH).map(|(tenant, _)| *tenant);
    let waiting = shared.lanes.iter().filter(|lane| lane.due_at <= now).map(|lane| lane.tenant_id);
    let found = shared.findings.iter().flatten().map(|(tenant, _)| *tenant).filter(|tenant| *tenant != OPERATOR);
    let in_trouble =
        shared.troubled.iter().map(|state| state.tenant_id).chain(waiting).chain(found).chain(open).chain(warm);
    let mut due: BTreeSet<(Timestamp, TenantId)> = BTreeSet::new();
    for (tenant, every_s) in hot
        .into_iter()
        .chain([OPERATOR])
        .chain(changed)
        .map(|tenant| (tenant, HOT_EVERY_S))
        .chain(in_trouble.map(|tenant| (tenant, WARM_EVERY_S)))
    {
        if seen(&tenant) <= due_before(every_s) {
            due.insert((seen(&tenant), tenant));
        }
    }
    let chosen: Vec<TenantId> = due.into_iter().map(|(_, tenant)| tenant).take(LOOKS_MAX).collect();
    let shared = Arc::new(shared);
    let new: Vec<TenantId> = chosen
        .iter()
        .copied()
        .filter(|tenant| !checked.contains_key(tenant) || behind.binary_search(tenant).is_ok())
        .collect();
    begin(engine, new, now).await?;
    let claimed = claim(engine, chosen.clone(), due_before(HOT_EVERY_S), now).await?;
    for tenant in claimed {
        let looked = look(engine, tenant, &shared, seen(&tenant), now).await;
        if let Err(error) = looked {
            // The next look comes in a minute; the others must not wait for it.
            tracing::warn!(tenant.id = %tenant, %error, "Cannot judge the alert rules of a tenant");
        }
    }
    Ok(chosen.len() as u64)
}

/// Gives those who are not watched yet the default rules.
async fn begin(engine: &Engine, new: Vec<TenantId>, now: Timestamp) -> Result<(), Error> {
    for tenant in new {
        let ids = Arc::clone(&engine.ports.ids);
        let write = engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { rules::ensure(tx, tenant, &ids, now).await }));
        write.await?;
    }
    Ok(())
}

async fn claim(engine: &Engine, chosen: Vec<TenantId>, due: Timestamp, now: Timestamp) -> Result<Vec<TenantId>, Error> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(alert_rules::claim_many(tx, &chosen, due, now).await?) })
    });
    write.await
}

/// What one rule's judgement changed.
struct Judged {
    rule: Rule,
    before: Memories,
    after: Memories,
    notices: Vec<Notice>,
}

async fn look(
    engine: &Engine,
    owner: TenantId,
    shared: &Arc<Shared>,
    seen: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    let tenant = engine.directory.tenant(owner).await?;
    if tenant.is_none() && owner != OPERATOR {
        return Ok(());
    }
    let known = match owner == OPERATOR {
        true => Known {
            connectors: connectors(engine, shared).await?,
            waiting: waiting(engine, shared, now).await?,
            longer: engine.longer_mails.of(quarter(now)),
        },
        false => Known::default(),
    };
    let (inner, of) = (Arc::clone(shared), tenant.clone());
    let is_new_quarter = quarter(seen) != quarter(now);
    let read = engine.ports.db.read(scope(owner), move |tx| {
        Box::pin(async move {
            let rows = alert_rules::all(tx, owner).await?;
            let rules: Vec<Rule> = rows.iter().filter(|row| row.is_enabled).filter_map(Rule::from_row).collect();
            let states = alert_rules::states(tx, owner).await?;
            // An hour that fires is looked at until it is over, and a rule that is new at once.
            let is_new_quarter = is_new_quarter || rows.iter().any(|row| row.updated_at >= seen);
            let facts = match &of {
                Some(tenant) => {
                    let is_new_quarter = is_new_quarter || !states.is_empty();
                    facts::of_tenant(tx, tenant, &rules, &inner, is_new_quarter, now).await?
                }
                // Reading everybody's sums by day costs more, and nothing of it is over within minutes.
                None => facts::of_operator(tx, &rules, &inner, known, is_new_quarter, now).await?,
            };
            Ok::<_, Error>((rules, states, facts))
        })
    });
    let (rules, states, facts) = read.await?;
    if owner == OPERATOR {
        engine.longer_mails.keep(quarter(now), &facts.longer);
    }
    let judged: Vec<Judged> = rules
        .into_iter()
        .map(|rule| {
            let before = memories(&states, rule.id);
            let (after, notices) = evaluate(&rule, &facts, &before, now);
            Judged { rule, before, after, notices }
        })
        .filter(|judged| judged.before != judged.after || !judged.notices.is_empty())
        .collect();
    if judged.is_empty() {
        return Ok(());
    }
    let audience = Audience::of(engine, owner).await?;
    let hearing = audience.clone();
    let (ids, shard) = (Arc::clone(&engine.ports.ids), engine.shard());
    let write = engine.ports.db.write(scope(owner), move |tx| {
        Box::pin(async move {
            // Another node took the next look, or a person changed something: the next look sees it.
            if !alert_rules::hold(tx, owner, Some(now)).await? || alert_rules::states(tx, owner).await? != states {
                return Ok(Vec::new());
            }
            let mut told = Vec::new();
            for judged in &judged {
                told.extend(write(tx, owner, hearing.as_ref(), judged, &states, &ids, now, shard).await?);
            }
            Ok::<_, Error>(told)
        })
    });
    let deliveries = write.await?;
    if let Some(audience) = audience {
        audience.wake(engine, &deliveries);
    }
    Ok(())
}

fn scope(owner: TenantId) -> Scope {
    if owner == OPERATOR { Scope::System } else { Scope::Tenant(owner) }
}

/// The quarter of an hour an instant lies in. Zones differ by such, so an hour on a tenant's clock may begin with each of them.
fn quarter(at: Timestamp) -> i64 {
    at.as_seconds().div_euclid(900)
}

/// Which connectors the accounts in trouble have.
async fn connectors(engine: &Engine, shared: &Shared) -> Result<BTreeMap<AccountId, &'static str>, Error> {
    let mut found = BTreeMap::new();
    for state in shared.troubled.iter().filter(|state| state.pause.is_some()) {
        if let Some(account) = engine.directory.account(state.tenant_id, state.account_id).await? {
            let connector = account.connector.spec().id;
            // A tenant's own endpoints and what plays a provider are none, and an account that is switched off fails nobody.
            if connector != "webhook" && !mail::NOWHERE.contains(&connector) && account.is_enabled {
                found.insert(state.account_id, connector);
            }
        }
    }
    Ok(found)
}

/// Since when the first transactional message of all tenants has waited that could leave.
async fn waiting(engine: &Engine, shared: &Shared, now: Timestamp) -> Result<Option<Timestamp>, Error> {
    let mut lanes: Vec<_> = shared.lanes.iter().filter(|lane| !lane.class.is_bulk() && lane.due_at <= now).collect();
    lanes.sort_by_key(|lane| lane.due_at);
    for lane in lanes.into_iter().take(WAITING_MAX) {
        if let Some(tenant) = engine.directory.tenant(lane.tenant_id).await?
            && let Some(queue) = facts::queue(&tenant, shared, lane, now)
        {
            return Ok(Some(queue.since));
        }
    }
    Ok(None)
}

fn memories(states: &[StateRow], rule: AlertRuleId) -> Memories {
    let mine = states.iter().filter(|state| state.rule_id == rule);
    mine.map(|state| (state.subject.clone(), serde_json::from_str::<Memory>(&state.memory).unwrap_or_default()))
        .collect()
}

/// Writes what a judgement changed, and answers what endpoints are to get.
#[allow(clippy::too_many_arguments, reason = "each is a different fact of one transaction")]
async fn write(
    tx: &mut Tx,
    owner: TenantId,
    audience: Option<&Audience>,
    judged: &Judged,
    states: &[StateRow],
    ids: &model::Ids,
    now: Timestamp,
    shard: i64,
) -> Result<Vec<deliveries::Delivery>, Error> {
    let rule = &judged.rule;
    let state_of = |subject: &str| states.iter().find(|state| state.rule_id == rule.id && state.subject == subject);
    let mut alert_ids: BTreeMap<&str, AlertId> = BTreeMap::new();
    let mut deliveries = Vec::new();
    for notice in &judged.notices {
        let last = state_of(&notice.subject).and_then(|state| state.alert_id);
        let row = match last {
            Some(id) => alerts::lock(tx, owner, id).await?,
            None => None,
        };
        let Some(row) = written(owner, rule, notice, row, ids, now) else { continue };
        alerts::put(tx, &row).await?;
        alert_ids.insert(&notice.subject, row.id);
        if notice.is_told
            && let (Some(audience), Some(shown)) = (audience, view::alert(&row))
        {
            let told = if notice.change == Change::Resolved { Told::Resolved } else { Told::Firing };
            deliveries.extend(audience.tell(tx, told, &shown, ids, now, shard).await?);
        }
    }
    let kept: Vec<StateRow> = judged
        .after
        .iter()
        .map(|(subject, memory)| {
            let last = state_of(subject).and_then(|state| state.alert_id);
            Ok(StateRow {
                tenant_id: owner,
                rule_id: rule.id,
                subject: subject.clone(),
                memory: serde_json::to_string(memory).map_err(Error::internal)?,
                alert_id: alert_ids.get(subject.as_str()).copied().or(last),
                updated_at: now,
            })
        })
        .collect::<Result<_, Error>>()?;
    alert_rules::put_states(tx, &kept).await?;
    let gone = judged.before.keys().filter(|subject| !judged.after.contains_key(*subject));
    let gone: Vec<_> = gone.map(|subject| (rule.id, subject.clone())).collect();
    alert_rules::remove_states(tx, owner, &gone).await?;
    Ok(deliveries)
}

/// An alert's row as a notice leaves it. `None`: an alert that is gone ended.
fn written(
    owner: TenantId,
    rule: &Rule,
    notice: &Notice,
    row: Option<Alert>,
    ids: &model::Ids,
    now: Timestamp,
) -> Option<Alert> {
    let is_letter = notice.is_told && !rule.deliver.is_empty();
    let reading = notice.reading.as_ref();
    let seen = |mut row: Alert| {
        if let Some(reading) = reading {
            (row.title, row.detail) = (reading.title.clone(), reading.detail.clone());
            (row.value_micros, row.threshold_micros) = (reading.value_micros, rule.threshold_micros);
            row.currency = rule.currency.clone();
        }
        row
    };
    match (notice.change, row) {
        (Change::Resolved, row) => {
            let mut row = row?;
            row.state = AlertState::Resolved.as_str().to_owned();
            (row.resolved_at, row.resolved_by) = (Some(now), None);
            if let Some(reading) = reading.filter(|reading| reading.value_micros > 0) {
                row.value_micros = reading.value_micros;
            }
            // What nobody was told of need not be called off either. An earlier version did not keep who was.
            let mut letters = letters::read(row.letters.as_deref());
            let is_known = match row.letters {
                Some(_) => letters::is_told(&letters),
                None => is_letter && row.telling.is_none(),
            };
            if row.letters.is_some() {
                letters::end(&mut letters, "It was over first.");
                row.letters = Some(letters::write(&letters));
            }
            row.telling = is_known.then(|| LetterAbout::Resolved.as_str().to_owned());
            row.tell_at = is_known.then_some(now);
            Some(row)
        }
        // No occasion to say anything, so what letters are recognised by stays.
        (Change::Risen, Some(row)) => Some(seen(row)),
        (Change::Reopened | Change::Reminded, Some(row)) => {
            let mut row = seen(row);
            let mut letters = letters::read(row.letters.as_deref());
            if notice.change == Change::Reopened {
                row.state = AlertState::Firing.as_str().to_owned();
                (row.acknowledged_at, row.acknowledged_by) = (None, None);
                (row.resolved_at, row.resolved_by, row.fired_at) = (None, None, now);
                row.times += 1;
            }
            row.seen_at = now;
            if is_letter && row.state == AlertState::Firing.as_str() {
                // Everybody is told anew; somebody who takes care of it need not be.
                letters.clear();
                row.telling = Some(LetterAbout::Firing.as_str().to_owned());
                row.tell_at = Some(now);
            } else if notice.change == Change::Reopened {
                // Nothing is said of it, but whoever has not heard of it so far is told, whatever the quiet period.
                letters::reopen(&mut letters);
                let is_unheard = row.told_at.is_none() || letters.iter().any(|letter| letter.next_at().is_some());
                let next = letters::next(&letters, LetterAbout::Firing, now);
                row.tell_at = if is_unheard { Some(now) } else { next }.filter(|_| !rule.deliver.is_empty());
                row.telling = row.tell_at.map(|_| LetterAbout::Firing.as_str().to_owned());
            }
            row.letters = row.letters.map(|_| letters::write(&letters));
            Some(row)
        }
        (Change::Fired, _) | (Change::Reopened | Change::Reminded | Change::Risen, None) => Some(seen(Alert {
            tenant_id: owner,
            id: AlertId::from_ulid(ids.ulid(now)),
            rule_id: rule.id,
            kind: rule.kind.as_str().to_owned(),
            subject: notice.subject.clone(),
            severity: rule.kind.spec().severity.as_str().to_owned(),
            title: rule.name.clone(),
            detail: String::new(),
            value_micros: 0,
            threshold_micros: rule.threshold_micros,
            currency: rule.currency.clone(),
            state: AlertState::Firing.as_str().to_owned(),
            times: 1,
            fired_at: now,
            seen_at: now,
            acknowledged_at: None,
            acknowledged_by: None,
            note: None,
            resolved_at: None,
            resolved_by: None,
            telling: is_letter.then(|| LetterAbout::Firing.as_str().to_owned()),
            told_at: None,
            letters: Some(letters::write(&[])),
            tell_at: is_letter.then_some(now),
        })),
    }
}

/// Removes alerts that have been over for more than a year. Answers how many. Run every hour.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let before = engine.ports.clock.now().plus_seconds(-KEPT_S);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(alerts::purge(tx, before, PURGE_PAGE).await?) })
    });
    write.await
}
