//! The checklist before a campaign is sent: what is in order, what to know, and what blocks it.
//!
//! Each line is one entry of [`LINES`]: a function from the facts to what it found. Whatever else must be in order before a campaign may leave adds its line there.
//! Recipients are counted by planning their messages as accept will, over the first [`CHECKED_MAX`] of the audience; the report says how many that were.

mod permitted;

use std::{collections::BTreeMap, sync::Arc};

use model::{ContactId, TenantId, Timestamp};
use serde::Serialize;
use store::{Scope, account_states, campaigns::Campaign, contacts};
use utoipa::ToSchema;

use self::permitted::Barrier;
use super::{definition::NewCampaign, work};
use crate::{
    Engine, Error, ErrorKind, FieldError,
    accept::plan,
    contacts::links,
    directory::{Account, Tenant},
    keys::Caller,
};

/// Recipients whose messages are planned for a check: a second of work or so.
pub const CHECKED_MAX: u64 = 5_000;
/// Messages a second where neither the provider nor the tenant says a rate: what one node sends over a provider that answers quickly.
const PER_SECOND: u64 = 500;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// In order.
    Ok,
    /// Worth knowing.
    Warning,
    /// The campaign cannot be sent like this.
    Blocking,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Line {
    /// What was looked at.
    #[schema(example = "channel_ready")]
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// How many recipients it concerns.
    pub count: u64,
    /// What was found, for people.
    pub detail: String,
    /// What to do next.
    #[schema(example = "ADD_ACCOUNT")]
    pub action: Option<&'static str>,
}

/// The checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct CheckReport {
    /// True when nothing blocks it.
    pub can_send: bool,
    /// Recipients that were looked at.
    pub checked: u64,
    /// False when the audience is larger than what was looked at.
    pub is_complete: bool,
    /// The lines.
    pub lines: Vec<Line>,
}

/// What the lines are made of.
struct Facts {
    channel: model::Channel,
    account: Result<(Arc<Account>, Option<Timestamp>), Error>,
    checked: u64,
    is_complete: bool,
    unreachable: u64,
    ready: u64,
    /// Recipients by the code of what accept would answer, with the first one's words.
    refused: BTreeMap<&'static str, (u64, String)>,
    /// Recipients who must not be written to, or not yet, with the first one's words.
    held: BTreeMap<Barrier, (u64, String)>,
    /// True when those without consent are to be left out.
    removes: bool,
    segments: u64,
    now: Timestamp,
}

/// Every line, in the order shown. `None`: nothing to say.
const LINES: &[fn(&Facts) -> Option<Line>] = &[
    channel_ready,
    permitted::sender,
    audience,
    permitted::consent,
    permitted::suppressed,
    permitted::frequency,
    permitted::quiet_hours,
    no_address,
    missing_variables,
    refused,
    cost,
    duration,
];

fn line(
    code: &'static str,
    level: Level,
    count: u64,
    detail: impl Into<String>,
    action: Option<&'static str>,
) -> Option<Line> {
    Some(Line { code, level, count, detail: detail.into(), action })
}

fn channel_ready(facts: &Facts) -> Option<Line> {
    match &facts.account {
        Err(error) => line(
            "channel_ready",
            Level::Blocking,
            facts.checked,
            error.detail.clone(),
            error.action.or(Some("ADD_ACCOUNT")),
        ),
        Ok((account, Some(until))) if *until > facts.now => {
            let detail = format!("The account {} is paused; messages wait until it works again.", account.name);
            line("channel_ready", Level::Warning, facts.checked, detail, Some("UPDATE_ACCOUNT"))
        }
        Ok((account, _)) => {
            line("channel_ready", Level::Ok, 0, format!("{} goes through {}.", facts.channel, account.name), None)
        }
    }
}

fn audience(facts: &Facts) -> Option<Line> {
    if facts.checked == 0 {
        return line("audience", Level::Blocking, 0, "Nobody is in the audience.", Some("CHANGE_AUDIENCE"));
    }
    if facts.ready == 0 && facts.is_complete && facts.account.is_ok() {
        let detail = "Nobody in the audience can be sent this; the other lines say why.";
        return line("audience", Level::Blocking, facts.checked, detail, Some("CHANGE_AUDIENCE"));
    }
    line(
        "audience",
        Level::Ok,
        facts.ready,
        format!("{} of the {} recipients looked at can be sent this.", facts.ready, facts.checked),
        None,
    )
}

fn no_address(facts: &Facts) -> Option<Line> {
    let detail =
        format!("{} recipients have no valid address for {}; they are left out.", facts.unreachable, facts.channel);
    match facts.unreachable {
        0 => line("invalid_addresses", Level::Ok, 0, "Every recipient has an address.", None),
        count => line("invalid_addresses", Level::Warning, count, detail, Some("COMPLETE_CONTACTS")),
    }
}

/// The codes of refusals for want of a variable.
const LACKING: &[&str] = &["missing_variables", "template_error"];

fn missing_variables(facts: &Facts) -> Option<Line> {
    let lacking: Vec<&(u64, String)> = LACKING.iter().filter_map(|code| facts.refused.get(code)).collect();
    match lacking.first() {
        None => line("missing_variables", Level::Ok, 0, "Every placeholder has a value for everybody.", None),
        Some((_, words)) => {
            let count = lacking.iter().map(|(count, _)| count).sum();
            let detail =
                format!("{count} recipients lack a value for a placeholder and are left out. The first: {words}");
            line("missing_variables", Level::Warning, count, detail, Some("COMPLETE_CONTACTS"))
        }
    }
}

fn refused(facts: &Facts) -> Option<Line> {
    let others = facts.refused.iter().filter(|(code, _)| !LACKING.contains(*code));
    let (count, words) =
        others.fold((0, None), |(sum, first), (_, (count, words))| (sum + count, first.or(Some(words))));
    let words = words?;
    line(
        "content",
        Level::Warning,
        count,
        format!("{count} messages would be refused and are left out. The first: {words}"),
        Some("CHANGE_CONTENT"),
    )
}

fn cost(facts: &Facts) -> Option<Line> {
    let parts =
        if facts.segments > 0 { format!(" The texts looked at make {} parts.", facts.segments) } else { String::new() };
    line(
        "estimated_cost",
        Level::Ok,
        facts.ready,
        format!("The cost is not known before the provider names its price.{parts}"),
        None,
    )
}

fn duration(facts: &Facts) -> Option<Line> {
    let (account, _) = facts.account.as_ref().ok()?;
    let rate = match (u64::from(account.connector.spec().limits.per_second), account.per_second.map(u64::from)) {
        (0, own) => own.unwrap_or(PER_SECOND),
        (declared, own) => own.map_or(declared, |own| own.min(declared)),
    };
    let seconds = facts.ready.div_ceil(rate.max(1));
    line(
        "estimated_duration",
        Level::Ok,
        seconds,
        format!("About {seconds} seconds for the recipients looked at, at {rate} a second."),
        None,
    )
}

impl CheckReport {
    /// Refuses to start while something blocks, with the counts.
    pub(super) fn refuse(&self) -> Result<(), Error> {
        let blocking: Vec<&Line> = self.lines.iter().filter(|line| line.level == Level::Blocking).collect();
        let Some(first) = blocking.first() else { return Ok(()) };
        let fields = blocking
            .iter()
            .map(|line| FieldError::new(format!("/check/{}", line.code), format!("{} ({})", line.detail, line.count)));
        let mut error = Error::new(
            ErrorKind::Conflict,
            "campaign_blocked",
            format!("This campaign cannot be sent yet: {}", first.detail),
        );
        error.errors = fields.collect();
        error.action = first.action;
        Err(error)
    }
}

/// Checks a campaign (`POST /v1/campaigns/{id}/check`). Needs the scope `campaigns:read`.
pub async fn check(engine: &Engine, caller: &Caller, id: model::CampaignId) -> Result<CheckReport, Error> {
    let tenant = super::reader(caller)?;
    let row = super::read_one(engine, tenant, id).await?;
    report(engine, &row, engine.ports.clock.now()).await
}

/// Refuses a draft whose fields could never become a message, whoever the recipient.
pub(super) async fn can_be_read(engine: &Engine, tenant: TenantId, new: &NewCampaign) -> Result<(), Error> {
    let (_, tenant) = engine.tenant(tenant).await?;
    for (index, request) in work::requests(new)?.iter().enumerate() {
        engine.can_be_said(request, &tenant, new.channel).await.map_err(|error| {
            if new.variants.is_empty() { error } else { below(&format!("/variants/{index}"), error) }
        })?;
    }
    Ok(())
}

fn below(base: &str, mut error: Error) -> Error {
    for field in &mut error.errors {
        field.pointer = format!("{base}{}", field.pointer);
    }
    error
}

pub(super) async fn report(engine: &Engine, row: &Campaign, now: Timestamp) -> Result<CheckReport, Error> {
    let new = NewCampaign::of(row)?;
    let facts = facts(engine, row.tenant_id, &new, now).await?;
    let lines: Vec<Line> = LINES.iter().filter_map(|look| look(&facts)).collect();
    Ok(CheckReport {
        can_send: lines.iter().all(|line| line.level != Level::Blocking),
        checked: facts.checked,
        is_complete: facts.is_complete,
        lines,
    })
}

async fn facts(engine: &Engine, tenant_id: TenantId, new: &NewCampaign, now: Timestamp) -> Result<Facts, Error> {
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let mut facts = Facts {
        channel: new.channel,
        account: account(engine, &tenant, new).await,
        checked: 0,
        is_complete: false,
        unreachable: 0,
        ready: 0,
        refused: BTreeMap::new(),
        held: BTreeMap::new(),
        removes: new.remove_without_consent,
        segments: 0,
        now,
    };
    let says = work::requests(new)?;
    let local = new.timing.as_ref().and_then(super::timing::CampaignTiming::local);
    let mut after = ContactId::from_ulid(0);
    while facts.checked < CHECKED_MAX {
        let wanted = new.clone();
        let read = engine.ports.db.read(Scope::Tenant(tenant_id), move |tx| {
            Box::pin(async move { work::stretch(tx, tenant_id, &wanted, after, now).await })
        });
        let stretch = read.await?;
        let reachable: Vec<&contacts::Contact> =
            stretch.contacts.iter().filter(|contact| links::address(contact, new.channel).is_some()).collect();
        facts.checked += stretch.contacts.len() as u64;
        facts.unreachable += (stretch.contacts.len() - reachable.len()) as u64;
        if facts.account.is_ok() {
            let ask = |(index, contact): (usize, &&contacts::Contact)| {
                let mut request = says[index % says.len()].clone();
                request.to.contact_id = Some(contact.id);
                request
            };
            let mut asked: Vec<_> = reachable.iter().enumerate().map(ask).collect();
            if let Some(local) = local {
                engine.find_recipients(tenant_id, asked.iter_mut()).await?;
                work::at_local_time(&mut asked, local, &tenant.consent.zone);
            }
            for refusal in engine.rehearse(&tenant, asked).await? {
                match refusal {
                    Ok(planned) => {
                        let barrier = planned.ruling.as_ref().map(permitted::barrier);
                        if barrier.as_ref().is_none_or(|(barrier, _)| *barrier == Barrier::Waits) {
                            facts.ready += 1;
                            facts.segments += u64::from(planned.segments.unwrap_or(0));
                        }
                        if let Some((barrier, words)) = barrier {
                            facts.held.entry(barrier).or_insert((0, words)).0 += 1;
                        }
                    }
                    Err(error) => facts.refused.entry(error.code).or_insert((0, error.detail)).0 += 1,
                }
            }
        }
        match stretch.until {
            Some(until) => after = until,
            None => {
                facts.is_complete = true;
                break;
            }
        }
    }
    Ok(facts)
}

/// The account the campaign goes through, and until when it is paused.
async fn account(
    engine: &Engine,
    tenant: &Tenant,
    new: &NewCampaign,
) -> Result<(Arc<Account>, Option<Timestamp>), Error> {
    let found = match new.account_id {
        Some(id) => tenant.account(id).filter(|account| account.is_enabled && account.channels.contains(&new.channel)),
        None => plan::default_account(tenant, new.channel),
    };
    let Some(account) = found else {
        let detail = format!("There is no enabled account for {}. Add one, or enable it.", new.channel);
        return Err(Error::new(ErrorKind::Invalid, "no_account_for_channel", detail).with_action("ADD_ACCOUNT"));
    };
    let tenant_id = tenant.id;
    let read =
        engine.ports.db.read(Scope::Tenant(tenant_id), move |tx| Box::pin(account_states::of_tenant(tx, tenant_id)));
    let states: Vec<account_states::AccountState> = read.await?;
    let until = states.iter().find(|state| state.account_id == account.id).and_then(|state| state.paused_until);
    Ok((Arc::clone(account), until))
}
