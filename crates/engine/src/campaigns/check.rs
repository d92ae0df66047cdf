//! The checklist before a campaign is sent: what is in order, what to know, and what blocks it.
//!
//! Each line is one entry of [`LINES`]: a function from the facts to what it found. Whatever else must be in order before a campaign may leave adds its line there.
//! Recipients are counted by planning their messages as accept will ([`count`]): those of a small audience while the caller waits, those of a large one in the background, where the report
//! says how far it is. A campaign that one of its recipients could block is not sent before everybody was counted.

mod count;
mod facts;
mod permitted;

use std::sync::Arc;

use model::{Channel, Money, TenantId, Timestamp};
use serde::Serialize;
use store::{campaign_checks::CampaignCheck, campaigns::Campaign};
use utoipa::ToSchema;

pub(crate) use self::count::is_american;
pub use self::count::run;
use self::facts::{Approval, Facts};
use super::{definition::NewCampaign, work};
use crate::{
    Engine, Error, ErrorKind, FieldError,
    alerts::words::duration as spoken,
    content_rules,
    directory::{Account, Tenant},
    keys::Caller,
    money,
    plans::quota::Shortfall,
    registrations::gate,
};

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
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct CheckReport {
    /// True when nothing blocks it, as far as everybody was counted.
    pub can_send: bool,
    /// Recipients that were counted.
    pub checked: u64,
    /// How many there are at most; `null` while nobody knows.
    pub expected: Option<u64>,
    /// How far the count is, in percent.
    pub progress_percent: f64,
    /// True when everybody was counted; otherwise the count goes on in the background, and `GET` says how far it is.
    pub is_complete: bool,
    /// What those it would be sent to cost, when prices are known.
    #[schema(value_type = Vec<Object>)]
    pub estimated_cost: Vec<Money>,
    /// How long it takes to leave, in seconds; `null` while it cannot leave.
    pub estimated_duration_s: Option<u64>,
    /// Why the count could not go on, for people.
    pub problem: Option<String>,
    /// When the count began.
    #[schema(value_type = String, format = DateTime)]
    pub checked_at: Timestamp,
    /// The lines.
    pub lines: Vec<Line>,
    /// What is missing where the plan does not reach: a refusal says it in figures, too.
    #[serde(skip)]
    quota: Option<Box<Shortfall>>,
    /// What it needs and what is available, where credit does not reach.
    #[serde(skip)]
    shortfall: Option<Box<(Money, Money)>>,
}

/// Every line, in the order shown. `None`: nothing to say.
const LINES: &[fn(&Facts) -> Option<Line>] = &[
    channel_ready,
    template,
    permitted::sender,
    registration,
    audience,
    permitted::consent,
    permitted::suppressed,
    permitted::frequency,
    permitted::quiet_hours,
    no_address,
    missing_variables,
    rules,
    refused,
    subscription,
    quota,
    credit,
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
    let everybody = facts.tally.checked;
    match &facts.account {
        Err(error) => line(
            "channel_ready",
            Level::Blocking,
            everybody,
            error.detail.clone(),
            error.action.or(Some("ADD_ACCOUNT")),
        ),
        Ok((account, Some(until))) if *until > facts.now => {
            let detail = format!("The account {} is paused; messages wait until it works again.", account.name);
            line("channel_ready", Level::Warning, everybody, detail, Some("UPDATE_ACCOUNT"))
        }
        Ok((account, _)) => line("channel_ready", Level::Ok, 0, format!("It goes through {}.", account.name), None),
    }
}

/// Whether what it says is there to be said: a template may have been taken back or deleted since.
fn template(facts: &Facts) -> Option<Line> {
    let error = facts.said.as_ref().err()?;
    let why = error.errors.first().map_or(&error.detail, |field| &field.detail);
    let detail = format!("{} {why}", error.detail);
    let detail = if *why == error.detail { error.detail.clone() } else { detail };
    line("template", Level::Blocking, facts.tally.checked, detail, error.action.or(Some("CHANGE_CONTENT")))
}

/// Whether those who let such messages out know of them: WhatsApp of its templates, American carriers of who sends.
fn registration(facts: &Facts) -> Option<Line> {
    let (account, _) = facts.account.as_ref().ok()?;
    let (ready, american) = (facts.tally.ready, facts.tally.american);
    match &facts.approval {
        Some(Approval::Given) => {
            return line("registration", Level::Ok, 0, "WhatsApp has approved what it says.", None);
        }
        Some(Approval::Refused(name, status, why)) => {
            let why = why.as_deref().map(|why| format!(" {why}")).unwrap_or_default();
            let action = if status == "submitted" { "WAIT_FOR_APPROVAL" } else { "CHANGE_TEMPLATE" };
            let detail =
                format!("WhatsApp lets the template {name} out only once it is approved; it is {status}.{why}");
            return line("registration", Level::Blocking, ready, detail, Some(action));
        }
        Some(Approval::Unknown(name)) => {
            let detail = format!(
                "Nothing is known here of the WhatsApp template {name}; read the account's templates anew to see whether it is approved."
            );
            return line("registration", Level::Warning, ready, detail, Some("SYNC_TEMPLATES"));
        }
        Some(Approval::FreeText) => {
            let detail =
                "Without `whatsapp_template` it arrives only within 24 hours of each recipient's last message.";
            return line("registration", Level::Warning, ready, detail, Some("USE_WHATSAPP_TEMPLATE"));
        }
        None => {}
    }
    if facts.channel != Channel::Sms {
        return None;
    }
    let (action, is_approved) = facts.registration;
    if let Some((count, words)) = facts.tally.refused.get(gate::REFUSED) {
        let detail = format!("{count} recipients are in the United States. {words}");
        return line("registration", Level::Blocking, *count, detail, action.or(Some(gate::CONFIGURE)));
    }
    if is_approved {
        return line("registration", Level::Ok, 0, "The business is registered with American carriers.", None);
    }
    if american == 0 || account.connector.spec().id == "sandbox" {
        return None;
    }
    let from = account.from.as_deref().unwrap_or("its sender");
    let detail = format!(
        "{american} recipients are in the United States, where carriers block local numbers that are not registered (10DLC). Register the business, or see at the provider that {from} is registered."
    );
    line("registration", Level::Warning, american, detail, Some("CONFIGURE_BUSINESS_INFO"))
}

fn audience(facts: &Facts) -> Option<Line> {
    let (checked, ready) = (facts.tally.checked, facts.tally.ready);
    if checked == 0 && facts.is_complete {
        return line("audience", Level::Blocking, 0, "Nobody is in the audience.", Some("CHANGE_AUDIENCE"));
    }
    if ready == 0 && facts.is_complete && facts.account.is_ok() && facts.said.is_ok() {
        let detail = "Nobody in the audience can be sent this; the other lines say why.";
        return line("audience", Level::Blocking, checked, detail, Some("CHANGE_AUDIENCE"));
    }
    let of = if facts.is_complete { "recipients" } else { "recipients counted so far" };
    line("audience", Level::Ok, ready, format!("{ready} of the {checked} {of} can be sent this."), None)
}

fn no_address(facts: &Facts) -> Option<Line> {
    let count = facts.tally.unreachable;
    let detail = format!("{count} recipients have no valid address for {}; they are left out.", facts.channel);
    match count {
        0 => line("invalid_addresses", Level::Ok, 0, "Every recipient has an address.", None),
        count => line("invalid_addresses", Level::Warning, count, detail, Some("COMPLETE_CONTACTS")),
    }
}

/// The codes of refusals for want of a variable.
const LACKING: &[&str] = &["missing_variables", "template_error"];

fn missing_variables(facts: &Facts) -> Option<Line> {
    let lacking: Vec<&(u64, String)> = LACKING.iter().filter_map(|code| facts.tally.refused.get(*code)).collect();
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

/// What the tenant's own rules say of the content, with each recipient's fields in it.
fn rules(facts: &Facts) -> Option<Line> {
    let Some((count, words)) = facts.tally.refused.get(content_rules::REFUSED) else {
        return line("content_rules", Level::Ok, 0, "It keeps to the rules for contents.", None);
    };
    let detail = format!("{count} messages break a rule for contents. The first: {words}");
    line("content_rules", Level::Blocking, *count, detail, Some("CHANGE_CONTENT"))
}

fn refused(facts: &Facts) -> Option<Line> {
    let has_its_line = [content_rules::REFUSED, gate::REFUSED];
    let is_other = |code: &str| !LACKING.contains(&code) && !has_its_line.contains(&code);
    let others = facts.tally.refused.iter().filter(|(code, _)| is_other(code.as_str()));
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

/// Whether the subscription permits such messages.
fn subscription(facts: &Facts) -> Option<Line> {
    match facts.permitted.as_ref()? {
        Ok(()) => line("subscription", Level::Ok, 0, "The subscription permits it.", None),
        Err(error) => line("subscription", Level::Blocking, facts.tally.checked, error.detail.clone(), error.action),
    }
}

/// What is missing of the plan on the channel, if anything.
fn quota_short(facts: &Facts) -> Option<Shortfall> {
    let quota = facts.quota.as_ref()?;
    let need = i64::try_from(facts.tally.ready).unwrap_or(i64::MAX);
    let remaining = quota.remaining.filter(|left| need > *left)?;
    Some(Shortfall::new(facts.channel, need, quota.used, remaining, quota.resets_at))
}

/// Whether the plan has enough left on the channel.
fn quota(facts: &Facts) -> Option<Line> {
    facts.quota.as_ref()?;
    let Some(short) = quota_short(facts) else {
        return line("quota", Level::Ok, 0, "The plan has enough left for everybody.", None);
    };
    let Shortfall { channel, need, used, remaining, resets_at, .. } = short;
    let detail = format!(
        "It needs {need} messages over {channel} of this month's plan; {used} are used and {remaining} are left until {resets_at}. Send to fewer recipients, change the plan, or wait for the next month."
    );
    line("quota", Level::Blocking, (need - remaining).unsigned_abs(), detail, Some("UPGRADE_PLAN"))
}

/// What it needs and what is available, where credit does not reach.
fn credit_short(facts: &Facts) -> Option<(Money, Money)> {
    let credit = facts.credit.as_ref()?;
    let need = facts.tally.cost.get(&credit.currency).copied().unwrap_or_default();
    let money = |amount_micros| Money { amount_micros, currency: credit.currency.clone() };
    (need > credit.spendable).then(|| (money(need), money(credit.spendable)))
}

/// Whether the credit reaches for everybody.
fn credit(facts: &Facts) -> Option<Line> {
    facts.credit.as_ref()?;
    if let Some((need, available)) = credit_short(facts) {
        let detail = format!(
            "It needs {}, and {} are available. Buy credit, or send to fewer recipients.",
            money::words(need.amount_micros, &need.currency),
            money::words(available.amount_micros, &available.currency)
        );
        return line("credit", Level::Blocking, facts.tally.ready, detail, Some("ADD_CREDIT"));
    }
    line("credit", Level::Ok, 0, "The credit reaches for everybody.", None)
}

fn cost(facts: &Facts) -> Option<Line> {
    let segments = facts.tally.segments;
    let parts = if segments > 0 { format!(" The texts make {segments} parts.") } else { String::new() };
    let costs = facts.tally.cost.iter().map(|(currency, micros)| money::words(*micros, currency));
    let costs = costs.collect::<Vec<_>>().join(" and ");
    let detail = if costs.is_empty() {
        format!("The cost is not known before the provider names its price.{parts}")
    } else {
        format!("It costs {costs}.{parts}")
    };
    line("estimated_cost", Level::Ok, facts.tally.ready, detail, None)
}

/// Messages a second, and how many seconds that is.
fn pace(facts: &Facts) -> Option<(u64, u64)> {
    let (account, _) = facts.account.as_ref().ok()?;
    let rate = match (u64::from(account.connector.spec().limits.per_second), account.per_second.map(u64::from)) {
        (0, own) => own.unwrap_or(PER_SECOND),
        (declared, own) => own.map_or(declared, |own| own.min(declared)),
    };
    Some((rate, facts.tally.ready.div_ceil(rate.max(1))))
}

fn duration(facts: &Facts) -> Option<Line> {
    let (rate, seconds) = pace(facts)?;
    line(
        "estimated_duration",
        Level::Ok,
        seconds,
        format!("About {}, at {rate} a second.", spoken(seconds.cast_signed())),
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
        // What only money can mend is answered as what costs too much.
        let is_money = |line: &&Line| ["subscription", "quota", "credit"].contains(&line.code);
        let kind = if blocking.iter().all(is_money) { ErrorKind::Payment } else { ErrorKind::Conflict };
        let mut error =
            Error::new(kind, "campaign_blocked", format!("This campaign cannot be sent yet: {}", first.detail));
        error.errors = fields.collect();
        error.action = first.action;
        (error.quota, error.shortfall) = (self.quota.clone(), self.shortfall.clone());
        Err(error)
    }
}

/// Checks a campaign anew (`POST /v1/campaigns/{id}/check`), unless a count of its audience is under way: then that one is shown. Needs the scope `campaigns:read`.
#[crate::boxed]
pub async fn check(engine: &Engine, caller: &Caller, id: model::CampaignId) -> Result<CheckReport, Error> {
    let tenant = super::reader(caller)?;
    let row = super::read_one(engine, tenant, id).await?;
    let now = engine.ports.clock.now();
    let check = match count::kept(engine, &row).await?.filter(|check| check.state == count::RUNNING) {
        Some(check) => check,
        None => count::begin(engine, &row, true, now).await?,
    };
    report(engine, &row, &check, now).await
}

/// Shows the checklist of a campaign (`GET /v1/campaigns/{id}/check`): the count that is under way or was made of a large audience within the last hour, otherwise a new one. Needs the scope
/// `campaigns:read`.
#[crate::boxed]
pub async fn current(engine: &Engine, caller: &Caller, id: model::CampaignId) -> Result<CheckReport, Error> {
    let tenant = super::reader(caller)?;
    let row = super::read_one(engine, tenant, id).await?;
    let now = engine.ports.clock.now();
    let check = match count::kept(engine, &row).await? {
        Some(check) if check.state == count::RUNNING => check,
        // A small audience is counted quickly, so what it says is always of now.
        Some(check) if count::is_fresh(&check, now) && check.expected > count::AT_ONCE => check,
        _ => count::begin(engine, &row, true, now).await?,
    };
    report(engine, &row, &check, now).await
}

/// Refuses to start what something blocks. True when nothing is known to block it, but somebody who was not counted yet may.
pub(super) async fn before_start(engine: &Engine, row: &Campaign, now: Timestamp) -> Result<bool, Error> {
    let new = NewCampaign::of(row)?;
    let kept =
        count::kept(engine, row).await?.filter(|check| count::is_fresh(check, now) && check.expected > count::AT_ONCE);
    let check = match kept {
        Some(check) => check,
        None => count::begin(engine, row, false, now).await?,
    };
    report(engine, row, &check, now).await?.refuse()?;
    let (_, tenant) = engine.tenant(row.tenant_id).await?;
    Ok(check.state != count::DONE && can_be_blocked_by_one(&new, &tenant))
}

/// True when a recipient nobody has looked at may block the campaign: by having no consent, by what its fields say, by its price, or by being where carriers want the business registered.
fn can_be_blocked_by_one(new: &NewCampaign, tenant: &Tenant) -> bool {
    let is_marketing = new.purpose.unwrap_or(model::Purpose::Marketing) == model::Purpose::Marketing;
    let costs = tenant.billing.is_some() || tenant.subscription.is_some();
    // By a rule it may leave through any of the accounts.
    let may_carry = |account: &&Arc<Account>| account.is_enabled && account.channels.contains(&Channel::Sms);
    let is_missing = |account: &Arc<Account>| tenant.registered.holds_back(account.id);
    let unregistered = new.channel == Channel::Sms && tenant.accounts.iter().filter(may_carry).any(is_missing);
    (is_marketing && !new.remove_without_consent) || tenant.rules.is_some() || costs || unregistered
}

/// Counts the whole audience of a campaign that was started. `None` while that goes on.
pub(super) async fn whole(engine: &Engine, row: &Campaign, now: Timestamp) -> Result<Option<CheckReport>, Error> {
    let check = match count::kept(engine, row).await? {
        Some(check) if check.state == count::RUNNING => return Ok(None),
        Some(check) if count::is_fresh(&check, now) => check,
        Some(CampaignCheck { problem: Some(problem), created_at, .. }) if Some(created_at) >= row.started_at => {
            return Err(Error::conflict("campaign_not_checked", problem));
        }
        _ => count::begin(engine, row, true, now).await?,
    };
    if check.state == count::RUNNING {
        return Ok(None);
    }
    report(engine, row, &check, now).await.map(Some)
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

async fn report(engine: &Engine, row: &Campaign, check: &CampaignCheck, now: Timestamp) -> Result<CheckReport, Error> {
    let new = NewCampaign::of(row)?;
    let facts = facts::facts(engine, check, &new, now).await?;
    let lines: Vec<Line> = LINES.iter().filter_map(|look| look(&facts)).collect();
    let cost = facts.tally.cost.iter();
    let checked = facts.tally.checked;
    Ok(CheckReport {
        can_send: check.problem.is_none() && lines.iter().all(|line| line.level != Level::Blocking),
        checked,
        expected: (check.expected > 0 || facts.is_complete).then_some(check.expected),
        progress_percent: match check.expected {
            _ if facts.is_complete => 100.0,
            0 => 0.0,
            expected => (checked as f64 / expected as f64 * 10_000.0).round().min(9_999.0) / 100.0,
        },
        is_complete: facts.is_complete,
        estimated_cost: cost
            .map(|(currency, micros)| Money { amount_micros: *micros, currency: currency.clone() })
            .collect(),
        estimated_duration_s: pace(&facts).map(|(_, seconds)| seconds),
        problem: check.problem.clone(),
        checked_at: check.created_at,
        lines,
        quota: quota_short(&facts).map(Box::new),
        shortfall: credit_short(&facts).map(Box::new),
    })
}
