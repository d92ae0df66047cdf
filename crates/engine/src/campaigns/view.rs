//! Campaigns as the API shows them.

use model::{AccountId, CampaignId, Channel, ContactId, MessageId, Money, Purpose, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{
    campaign_recipients::{self, Outcome},
    campaigns::Campaign,
};
use utoipa::ToSchema;

use super::{
    definition::{AudienceRequest, Metric, NewCampaign, TestRequest, VariantRequest},
    states::State,
    tally::{Tally, count},
    timing::CampaignTiming,
    variants::{self, Rate},
};
use crate::Error;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CampaignState {
    /// It can be changed.
    Draft,
    /// It starts by itself.
    Scheduled,
    /// Its messages are being accepted, or wait to leave.
    Sending,
    /// Somebody stopped it for now.
    Paused,
    /// All its messages have left.
    Sent,
    /// Somebody ended it.
    Canceled,
    /// It could not go on.
    Failed,
}

/// A campaign.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CampaignView {
    /// Its id.
    #[schema(value_type = String, example = "cmp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: CampaignId,
    /// Where it stands.
    pub state: CampaignState,
    /// Its name for people.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// How it goes.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// `marketing` or `transactional`; marketing when `null`.
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// What it says.
    #[schema(value_type = Option<Object>)]
    pub content: Option<Box<RawValue>>,
    /// Or the template it uses.
    #[schema(value_type = Option<Object>)]
    pub template: Option<Box<RawValue>>,
    /// Or the things it may say, which are compared.
    pub variants: Vec<VariantRequest>,
    /// How they are compared.
    pub test: Option<TestRequest>,
    /// Whom it is for.
    pub audience: AudienceRequest,
    /// Fills placeholders, the same for everybody.
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Box<RawValue>>,
    /// Through which account, when not the channel's default.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// What the contacts' preferences speak of.
    pub topic: Option<String>,
    /// True when recipients who have not agreed are left out; otherwise they keep it from starting.
    pub remove_without_consent: bool,
    /// When it goes out, when it is scheduled other than for one instant.
    pub timing: Option<CampaignTiming>,
    /// The recurring campaign it is one occurrence of.
    #[schema(value_type = Option<String>)]
    pub parent_id: Option<CampaignId>,
    /// Who made it.
    pub creator: String,
    /// Recipients, once its audience is frozen.
    pub recipients: u64,
    /// Of whom have a message.
    pub accepted: u64,
    /// Of whom were left out.
    pub excluded: u64,
    /// How much of the audience is done, in percent.
    pub progress_percent: f64,
    /// Seconds until every recipient has a message, at the pace so far.
    pub eta_s: Option<u64>,
    /// The variant everybody else gets.
    pub winner: Option<u32>,
    /// What is being done about it while it is sent: `checking`, `freezing`, `expanding`, `testing`, `resting` or `draining`.
    #[schema(example = "expanding")]
    pub stage: Option<String>,
    /// Why it failed.
    pub problem: Option<String>,
    /// When it starts by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub scheduled_at: Option<Timestamp>,
    /// When it was started.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When the test between variants ends.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub test_ends_at: Option<Timestamp>,
    /// When it was paused.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub paused_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When somebody last changed it.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

pub(super) fn campaign(row: &Campaign, now: Timestamp) -> Result<CampaignView, Error> {
    let done = row.accepted + row.excluded;
    let new = NewCampaign::of(row)?;
    Ok(CampaignView {
        id: row.id,
        state: match State::from_stored(&row.state) {
            State::Draft => CampaignState::Draft,
            State::Scheduled => CampaignState::Scheduled,
            State::Sending => CampaignState::Sending,
            State::Paused => CampaignState::Paused,
            State::Sent => CampaignState::Sent,
            State::Canceled => CampaignState::Canceled,
            State::Failed => CampaignState::Failed,
        },
        name: row.name.clone(),
        description: new.description,
        channel: new.channel,
        purpose: new.purpose,
        content: new.content,
        template: new.template,
        variants: new.variants,
        test: new.test,
        audience: new.audience,
        variables: new.variables,
        account_id: new.account_id,
        topic: new.topic,
        remove_without_consent: new.remove_without_consent,
        timing: new.timing,
        parent_id: row.parent_id,
        creator: row.creator.clone(),
        recipients: row.total,
        accepted: row.accepted,
        excluded: row.excluded,
        progress_percent: if row.total == 0 {
            0.0
        } else {
            (done as f64 / row.total as f64 * 10_000.0).round() / 100.0
        },
        eta_s: eta_s(row, done, now),
        winner: row.winner,
        stage: matches!(State::from_stored(&row.state), State::Sending | State::Paused).then(|| row.phase.clone()),
        problem: row.problem.clone(),
        scheduled_at: row.scheduled_at,
        started_at: row.started_at,
        test_ends_at: row.test_ends_at,
        paused_at: row.paused_at,
        ended_at: row.ended_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

/// How long the rest takes at the pace so far; nothing while there is no pace.
fn eta_s(row: &Campaign, done: u64, now: Timestamp) -> Option<u64> {
    let is_expanding = row.state == State::Sending.as_str() && row.phase == super::work::EXPANDING && done > 0;
    let elapsed_ms = now.millis_since(row.started_at.filter(|_| is_expanding)?).max(1).unsigned_abs();
    let left = row.total.saturating_sub(done);
    Some((u128::from(left) * u128::from(elapsed_ms) / u128::from(done) / 1_000) as u64)
}

/// How a campaign went, or goes.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CampaignStats {
    /// The campaign.
    pub campaign: CampaignView,
    /// All its messages together.
    pub messages: VariantStats,
    /// By variant, where there are several.
    pub variants: Vec<VariantStats>,
    /// The variant that does best by the test's metric so far, and whether its interval lies apart from the others'.
    pub best: Option<Best>,
    /// Why recipients were left out.
    pub left_out: Vec<LeftOut>,
}

/// A variant that leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Best {
    /// Its place, from 0.
    pub variant: u32,
    /// False while chance may explain the lead.
    pub is_clear: bool,
}

/// A reason and its recipients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LeftOut {
    /// A code.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What became of messages.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct VariantStats {
    /// The variant's place, from 0.
    pub variant: u32,
    /// Messages.
    pub accepted: u64,
    /// Taken by the provider.
    pub sent: u64,
    /// Arrived.
    pub delivered: Rate,
    /// Opened or read by a person, as far as anybody can tell.
    pub opened: Rate,
    /// A person followed a link.
    pub clicked: Rate,
    /// The recipient wrote back over the same channel within 30 days.
    pub replied: Rate,
    /// Reported as unwanted.
    pub complained: u64,
    /// Answered by asking for no more.
    pub unsubscribed: u64,
    /// Only a program loaded its pictures: no part of `opened`.
    pub machine_opened: u64,
    /// Only a program followed a link: no part of `clicked`.
    pub machine_clicked: u64,
    /// Failed, bounced, expired or unknown.
    pub failed: u64,
    /// Withdrawn.
    pub canceled: u64,
    /// Not sent because the recipient must not be written to.
    pub suppressed: u64,
    /// Still to leave.
    pub waiting: u64,
    /// What they cost so far, in millionths: the sum of `costs`, which says more where there are several currencies.
    pub cost_micros: i64,
    /// The same by currency, as far as it is known.
    #[schema(value_type = Vec<Object>)]
    pub costs: Vec<Money>,
}

fn variant_stats(tally: &Tally) -> VariantStats {
    let c = &tally.counts;
    let sent = count(c.outcome.sent);
    VariantStats {
        variant: tally.variant,
        accepted: count(c.outcome.accepted),
        sent,
        delivered: variants::rate(count(c.outcome.delivered), sent),
        opened: variants::rate(tally.opened(), sent),
        clicked: variants::rate(count(c.clicked), sent),
        replied: variants::rate(count(c.replied), sent),
        complained: count(c.complained),
        unsubscribed: count(c.unsubscribed),
        machine_opened: count(c.machine_opened),
        machine_clicked: count(c.machine_clicked),
        failed: tally.failed(),
        canceled: count(c.outcome.canceled),
        suppressed: count(c.outcome.suppressed),
        waiting: count(c.waiting),
        cost_micros: c.cost_micros,
        costs: tally.costs(),
    }
}

/// The rates of all variants by the metric of the test, in their order.
pub(super) fn rates(tally: &[Tally], variants: usize, metric: Metric) -> Vec<Rate> {
    let none = Tally::default();
    let rate = |variant: usize| {
        let of = tally.iter().find(|tally| tally.variant as usize == variant).unwrap_or(&none);
        let hits = match metric {
            Metric::Delivered => count(of.counts.outcome.delivered),
            Metric::Opened => of.opened(),
            Metric::Clicked => count(of.counts.clicked),
            Metric::Replied => count(of.counts.replied),
        };
        variants::rate(hits, count(of.counts.outcome.sent))
    };
    (0..variants).map(rate).collect()
}

pub(super) fn stats(
    row: &Campaign,
    tally: &[Tally],
    excluded: Vec<(String, u64)>,
    now: Timestamp,
) -> Result<CampaignStats, Error> {
    let view = campaign(row, now)?;
    let mut all = Tally::default();
    tally.iter().for_each(|one| all.merge(one));
    let best = view.test.as_ref().and_then(|test| {
        variants::winner(&rates(tally, view.variants.len(), test.metric))
            .map(|(variant, is_clear)| Best { variant, is_clear })
    });
    let has_variants = !view.variants.is_empty();
    Ok(CampaignStats {
        campaign: view,
        messages: variant_stats(&all),
        variants: tally.iter().filter(|_| has_variants).map(variant_stats).collect(),
        best,
        left_out: excluded.into_iter().map(|(reason, count)| LeftOut { reason, count }).collect(),
    })
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RecipientView {
    /// Who.
    #[schema(value_type = String)]
    pub contact_id: ContactId,
    /// `waiting`, `left_out`, or the message's status.
    #[schema(example = "delivered")]
    pub status: String,
    /// Which variant.
    pub variant: Option<u32>,
    /// Where it went.
    pub to: Option<String>,
    /// The message.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Why it was left out, or the failure's code.
    pub reason: Option<String>,
}

pub(super) fn recipient(outcome: &Outcome) -> RecipientView {
    let recipient = &outcome.recipient;
    let code = |failure: &str| {
        let failure: Option<serde_json::Value> = serde_json::from_str(failure).ok();
        failure.and_then(|failure| failure["code"].as_str().map(str::to_owned))
    };
    let (status, to, failure) = match &outcome.message {
        Some((address, status, failure)) => {
            (status.as_str().to_owned(), Some(address.clone()), failure.as_deref().and_then(code))
        }
        None if recipient.outcome == campaign_recipients::EXCLUDED => ("left_out".to_owned(), None, None),
        None => ("waiting".to_owned(), None, None),
    };
    RecipientView {
        contact_id: recipient.contact_id,
        status,
        variant: recipient.variant,
        to,
        message_id: recipient.message_id,
        reason: recipient.reason.clone().or(failure),
    }
}
