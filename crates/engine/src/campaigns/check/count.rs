//! Counting an audience: every recipient's message is planned as accept will, stretch by stretch, and what is found is kept in a [`Tally`]. A large audience is counted in the background by
//! [`run`]; each step is read in one snapshot and written with the place it came to, so that a process that dies leaves the rest to another.

use std::{collections::BTreeMap, sync::Arc};

use model::{Channel, ContactId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope, Tx,
    campaign_checks::{self, CampaignCheck},
    campaigns::Campaign,
    contacts::{self, Audience},
};

use super::{
    super::{definition::NewCampaign, work},
    permitted::{self, Barrier},
};
use crate::{Engine, Error, accept::request::MessageRequest, contacts::links, country, directory::Tenant, segments};

/// Recipients counted while somebody waits for the answer: a second of work or so. The rest is counted in the background.
pub(super) const AT_ONCE: u64 = 5_000;
/// Stretches of one count before others have their turn.
const STEPS_MAX: usize = 20;
/// Counts taken at once.
const LEASES: i64 = 4;
/// How long a count is ours, in milliseconds: many times what a turn takes.
const LEASE_MS: i64 = 60_000;
/// How long a whole count is good for starting a campaign, in seconds: an hour, in which a person reads it and decides.
const FRESH_S: i64 = 3_600;

pub(super) const RUNNING: &str = "running";
pub(super) const DONE: &str = "done";
const FAILED: &str = "failed";

/// What was found about recipients so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    /// Recipients that were looked at.
    pub checked: u64,
    /// Those without an address for the channel.
    pub unreachable: u64,
    /// Those who can be sent it.
    pub ready: u64,
    /// Recipients by the code of what accept would answer, with the first one's words.
    pub refused: BTreeMap<String, (u64, String)>,
    /// Recipients who must not be written to, or not yet, with the first one's words.
    pub held: BTreeMap<Barrier, (u64, String)>,
    /// Parts (SMS) of those that are ready.
    pub segments: u64,
    /// What those that are ready will cost, by currency, in millionths.
    pub cost: BTreeMap<String, i64>,
    /// How many of them go to numbers of the United States.
    pub american: u64,
}

/// What a count is about.
pub(super) struct What<'a> {
    pub new: &'a NewCampaign,
    /// The requests its messages are made by.
    pub says: &'a [MessageRequest],
    /// False while nobody's message can be planned: then recipients and addresses are counted only.
    pub can_be_planned: bool,
}

/// Looks at the next stretch of an audience. Answers where the one after it begins; `None` at the end.
pub(super) async fn step(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    what: &What<'_>,
    tally: &mut Tally,
    after: ContactId,
    now: Timestamp,
) -> Result<Option<ContactId>, Error> {
    let What { new, says, can_be_planned } = *what;
    let (tenant_id, wanted) = (tenant.id, new.clone());
    let read = engine.ports.db.read(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move { work::stretch(tx, tenant_id, &wanted, after, now).await })
    });
    let stretch = read.await?;
    let reachable: Vec<&contacts::Contact> =
        stretch.contacts.iter().filter(|contact| links::address(contact, new.channel).is_some()).collect();
    tally.checked += stretch.contacts.len() as u64;
    tally.unreachable += (stretch.contacts.len() - reachable.len()) as u64;
    if !can_be_planned {
        return Ok(stretch.until);
    }
    let ask = |(index, contact): (usize, &&contacts::Contact)| {
        let mut request = says[index % says.len()].clone();
        request.to.contact_id = Some(contact.id);
        request
    };
    let mut asked: Vec<_> = reachable.iter().enumerate().map(ask).collect();
    let local = new.timing.as_ref().and_then(super::super::timing::CampaignTiming::local);
    if let Some(local) = local {
        engine.find_recipients(tenant_id, asked.iter_mut()).await?;
        work::at_local_time(&mut asked, local, &tenant.consent.zone);
    }
    for planned in engine.rehearse(tenant, asked).await? {
        let planned = match planned {
            Ok(planned) => planned,
            Err(error) => {
                tally.refused.entry(error.code.to_owned()).or_insert((0, error.detail)).0 += 1;
                continue;
            }
        };
        let barrier = planned.ruling.as_ref().map(permitted::barrier);
        if barrier.as_ref().is_none_or(|(barrier, _)| *barrier == Barrier::Waits) {
            tally.ready += 1;
            tally.segments += u64::from(planned.segments.unwrap_or(0));
            if let Some((cost, currency)) = planned.cost {
                *tally.cost.entry(currency).or_default() += cost;
            }
            tally.american += u64::from(new.channel == Channel::Sms && planned.is_american);
        }
        if let Some((barrier, words)) = barrier {
            tally.held.entry(barrier).or_insert((0, words)).0 += 1;
        }
    }
    Ok(stretch.until)
}

/// What a count found, as far as it has come.
pub(super) fn tally(check: &CampaignCheck) -> Result<Tally, Error> {
    serde_json::from_str(&check.tally).map_err(Error::internal)
}

fn text(tally: &Tally) -> Result<String, Error> {
    serde_json::to_string(tally).map_err(Error::internal)
}

/// Begins a count and makes its first steps: all of them when the audience is small. `is_kept`: the rest is counted in the background, and what was found can be read again.
pub(super) async fn begin(
    engine: &Engine,
    row: &Campaign,
    is_kept: bool,
    now: Timestamp,
) -> Result<CampaignCheck, Error> {
    let new = NewCampaign::of(row)?;
    let (_, tenant) = engine.tenant(row.tenant_id).await?;
    let says = work::requests(&new)?;
    let can_be_planned = super::facts::can_be_planned(engine, &tenant, &new, &says).await;
    let what = What { new: &new, says: &says, can_be_planned };
    let (mut tally, mut after) = (Tally::default(), Some(ContactId::from_ulid(0)));
    while let Some(from) = after.filter(|_| tally.checked < AT_ONCE) {
        after = step(engine, &tenant, &what, &mut tally, from, now).await?;
    }
    let check = CampaignCheck {
        tenant_id: row.tenant_id,
        campaign_id: row.id,
        definition: row.definition.clone(),
        state: if after.is_some() { RUNNING } else { DONE }.to_owned(),
        cursor: after.unwrap_or(ContactId::from_ulid(0)),
        expected: if after.is_some() { 0 } else { tally.checked },
        tally: text(&tally)?,
        problem: None,
        created_at: now,
        finished_at: after.is_none().then_some(now),
        next_at: after.map(|_| now),
    };
    if is_kept {
        let kept = check.clone();
        let write = engine.ports.db.write(Scope::Tenant(row.tenant_id), move |tx| {
            Box::pin(async move { Ok::<_, Error>(campaign_checks::begin(tx, &kept).await?) })
        });
        write.await?;
    }
    Ok(check)
}

/// The count of a campaign as it is defined now, if there is one.
pub(super) async fn kept(engine: &Engine, row: &Campaign) -> Result<Option<CampaignCheck>, Error> {
    let (tenant, id) = (row.tenant_id, row.id);
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(campaign_checks::find(tx, tenant, id)));
    let found: Option<CampaignCheck> = read.await?;
    Ok(found.filter(|check| check.definition == row.definition))
}

/// True for a whole count that is young enough to start a campaign by.
pub(super) fn is_fresh(check: &CampaignCheck, now: Timestamp) -> bool {
    check.state == DONE && check.finished_at.is_some_and(|at| at.plus_seconds(FRESH_S) > now)
}

/// Goes on with counts that are under way. Answers how many stretches were looked at.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let (now, worker) = (engine.ports.clock.now(), engine.worker);
    let until = now.plus_millis(LEASE_MS);
    let lease = engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(campaign_checks::lease(tx, worker, now, until, LEASES)));
    let leased: Vec<CampaignCheck> = lease.await?;
    let mut steps = 0;
    for check in leased {
        let (tenant, campaign) = (check.tenant_id, check.campaign_id);
        // One that cannot go on must not keep the others waiting.
        match turn(engine, check.clone()).await {
            Ok(count) => steps += count,
            Err(error) if error.kind.status() < 500 && error.kind.status() != 429 => {
                let mut failed = CampaignCheck { state: FAILED.to_owned(), next_at: None, ..check.clone() };
                failed.problem = Some(error.detail);
                write(engine, &check, failed).await?;
            }
            Err(error) => {
                tracing::warn!(campaign.id = %campaign, %error, "A campaign's audience could not be counted on and will be tried again")
            }
        }
        let release = engine
            .ports
            .db
            .write(Scope::Tenant(tenant), move |tx| Box::pin(campaign_checks::release(tx, tenant, campaign, worker)));
        let released: Result<(), store::Error> = release.await;
        released?;
    }
    Ok(steps)
}

/// Writes how far a count has come. False when somebody else moved it on, or began anew.
async fn write(engine: &Engine, before: &CampaignCheck, after: CampaignCheck) -> Result<bool, Error> {
    let before = before.clone();
    let write = engine.ports.db.write(Scope::Tenant(before.tenant_id), move |tx| {
        Box::pin(async move { Ok::<_, Error>(campaign_checks::advance(tx, &before, &after).await?) })
    });
    write.await
}

async fn turn(engine: &Arc<Engine>, mut check: CampaignCheck) -> Result<u64, Error> {
    let new: NewCampaign = serde_json::from_str(&check.definition).map_err(Error::internal)?;
    let says = work::requests(&new)?;
    if check.expected == 0 {
        let mut after = check.clone();
        after.expected = expected(engine, check.tenant_id, &new, check.created_at).await?.max(1);
        if !write(engine, &check, after.clone()).await? {
            return Ok(0);
        }
        check = after;
    }
    for count in 0..STEPS_MAX as u64 {
        // Read each time: what changes meanwhile counts for those still to come.
        let (_, tenant) = engine.tenant(check.tenant_id).await?;
        let can_be_planned = super::facts::can_be_planned(engine, &tenant, &new, &says).await;
        let what = What { new: &new, says: &says, can_be_planned };
        let now = engine.ports.clock.now();
        let mut found = tally(&check)?;
        let next = step(engine, &tenant, &what, &mut found, check.cursor, now).await?;
        let mut after = CampaignCheck { tally: text(&found)?, ..check.clone() };
        match next {
            Some(next) => (after.cursor, after.next_at) = (next, Some(now)),
            None => {
                (after.state, after.finished_at, after.next_at) = (DONE.to_owned(), Some(now), None);
                after.expected = found.checked;
            }
        }
        if !write(engine, &check, after.clone()).await? || next.is_none() {
            return Ok(count + 1);
        }
        check = after;
    }
    Ok(STEPS_MAX as u64)
}

/// How many recipients there are at most: whoever is in two lists is counted twice, and nobody is taken off.
async fn expected(engine: &Engine, tenant: TenantId, new: &NewCampaign, at: Timestamp) -> Result<u64, Error> {
    let audience = new.audience.clone();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let mut sum = audience.contact_ids.len() as u64;
            for list in audience.lists {
                sum += count(tx, tenant, &Audience::List(list)).await?;
            }
            for segment in audience.segments {
                let audience = segments::audience(tx, tenant, segment, at).await?;
                sum += count(tx, tenant, &audience).await?;
            }
            Ok::<_, Error>(sum)
        })
    });
    read.await
}

async fn count(tx: &mut Tx, tenant: TenantId, audience: &Audience) -> Result<u64, Error> {
    Ok(contacts::count(tx, tenant, audience).await?.unsigned_abs())
}

/// True when an American number is meant: registration is asked about there.
pub(crate) fn is_american(channel: Channel, address: &str) -> bool {
    country::of(channel, address) == Some(*b"US")
}
