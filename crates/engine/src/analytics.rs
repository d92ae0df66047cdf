//! What was sent and what became of it, over time: `GET /v1/analytics`. Read from sums by half hour that are written with the messages, so an answer is exact and does not depend on
//! how many messages there are. A message counts in the period it was accepted in, whenever the rest becomes known.

pub mod count;
mod period;

use std::collections::BTreeMap;

use model::{AccountId, CampaignId, Channel, Purpose, TemplateId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    message_counters::{self, Counts, Filter, Key, Split, TOOK_MS},
};
use utoipa::{IntoParams, ToSchema};

use self::period::Zone;
use crate::{
    Engine, Error,
    csv::Csv,
    keys::Caller,
    queries::{malformed, to_json},
};

/// Sums read for one answer: a year of half hours for five groups. More would take longer than anybody waits.
const SUMS_MAX: i64 = 100_000;
/// Rows of one answer.
const ROWS_MAX: usize = 10_000;
/// What is shown when no beginning is given, in days.
const DAYS_DEFAULT: i64 = 30;
/// Longest text to filter by.
const TEXT_MAX: usize = 200;

/// Which figures are asked for (`GET /v1/analytics`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AnalyticsQuery {
    /// Accepted on or after this day in the tenant's time zone, or at or after this instant, rounded down to the half hour; 30 days before `until` by default.
    #[param(example = "2026-11-01")]
    pub since: Option<String>,
    /// Accepted before this day or instant; now by default.
    #[param(example = "2026-12-01")]
    pub until: Option<String>,
    /// `hour`, `day`, `week` (from Monday) or `month`, in the tenant's time zone; `all` (default) for one sum over the whole time.
    #[param(value_type = Option<String>, example = "day")]
    pub interval: Option<Interval>,
    /// `channel`, `provider`, `account`, `purpose`, `country`, `campaign`, `template`, `topic` in any combination, separated by commas. An operator outside of a tenant has
    /// `tenant` as well.
    #[param(example = "channel")]
    pub group_by: Option<String>,
    /// Only this channel.
    #[param(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Only this connector.
    #[param(example = "smtp")]
    pub provider: Option<String>,
    /// Only this account.
    #[param(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// Only this purpose.
    #[param(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// Only phone numbers of this country.
    #[param(example = "DE")]
    pub country: Option<String>,
    /// Only this campaign.
    #[param(value_type = Option<String>)]
    pub campaign_id: Option<CampaignId>,
    /// Only this template.
    #[param(value_type = Option<String>)]
    pub template_id: Option<TemplateId>,
    /// Only this topic.
    #[param(example = "newsletter")]
    pub topic: Option<String>,
}

/// How time is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// Not at all.
    #[default]
    All,
    /// By the hour.
    Hour,
    /// By the day.
    Day,
    /// By the week, from Monday.
    Week,
    /// By the month.
    Month,
}

/// Something figures are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dimension {
    /// By tenant.
    Tenant,
    /// By channel.
    Channel,
    /// By connector.
    Provider,
    /// By account.
    Account,
    /// By purpose.
    Purpose,
    /// By the country of a phone number.
    Country,
    /// By campaign.
    Campaign,
    /// By template and version.
    Template,
    /// By topic.
    Topic,
}

const DIMENSIONS: [(&str, Dimension); 9] = [
    ("tenant", Dimension::Tenant),
    ("channel", Dimension::Channel),
    ("provider", Dimension::Provider),
    ("account", Dimension::Account),
    ("purpose", Dimension::Purpose),
    ("country", Dimension::Country),
    ("campaign", Dimension::Campaign),
    ("template", Dimension::Template),
    ("topic", Dimension::Topic),
];

/// Figures over time.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalyticsView {
    /// From when on.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
    /// The time zone periods begin in.
    #[schema(example = "Europe/Berlin")]
    pub timezone: String,
    /// How time is cut.
    #[schema(value_type = String, example = "day")]
    pub interval: Interval,
    /// What the rows are grouped by.
    #[schema(value_type = Vec<String>)]
    pub group_by: Vec<Dimension>,
    /// One row per period and group, in their order; periods in which nothing was accepted are left out.
    pub data: Vec<AnalyticsRow>,
    /// The sum of all rows.
    pub totals: Figures,
}

/// The figures of one period and group. Fields that it is not grouped by, and those the messages did not have, are left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnalyticsRow {
    /// When the period begins.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub period: Option<Timestamp>,
    /// Whose.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// Over which channel.
    #[schema(value_type = Option<String>, example = "email")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Through which connector.
    #[schema(example = "smtp")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Through which account.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// Why.
    #[schema(value_type = Option<String>, example = "marketing")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// To which country.
    #[schema(example = "DE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Of which campaign.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<CampaignId>,
    /// Made of which template.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<TemplateId>,
    /// And which of its versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_version: Option<u32>,
    /// About what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// How many.
    #[serde(flatten)]
    pub figures: Figures,
}

/// Numbers of messages, and how long their delivery took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// Accepted.
    pub accepted: i64,
    /// Taken by the provider.
    pub sent: i64,
    /// Arrived.
    pub delivered: i64,
    /// Read, as far as the provider tells.
    pub read: i64,
    /// Opened by a person.
    pub opened: i64,
    /// Opened by a program, such as a mail provider that loads every picture.
    pub machine_opened: i64,
    /// With a link a person followed.
    pub clicked: i64,
    /// With a link a program followed.
    pub machine_clicked: i64,
    /// Failed.
    pub failed: i64,
    /// Came back.
    pub bounced: i64,
    /// Why those failed and came back.
    pub failed_by_reason: Reasons,
    /// Reported as unwanted.
    pub complained: i64,
    /// Answered by asking for no more.
    pub unsubscribed: i64,
    /// Withdrawn before they left.
    pub canceled: i64,
    /// Ran out of time before they left.
    pub expired: i64,
    /// Not sent because the recipient must not be written to.
    pub suppressed: i64,
    /// Nobody can say whether the provider took them.
    pub unknown: i64,
    /// Parts of sent messages (SMS).
    pub segments: i64,
    /// The time from sending to arrival that half of the deliveries stayed below, in milliseconds: estimated from buckets that end at 1, 2, 5, 10, 30 and 60 seconds, 5 and 15 minutes,
    /// 1, 4 and 24 hours. `null` without deliveries.
    pub delivery_median_ms: Option<i64>,
    /// The same for 95 of a hundred.
    pub delivery_p95_ms: Option<i64>,
}

/// Failed and bounced messages by the kind of failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Reasons {
    /// The address does not work.
    pub recipient: i64,
    /// The recipient wants none.
    pub opted_out: i64,
    /// What they say was refused.
    pub content: i64,
    /// The provider would take no more.
    pub throttled: i64,
    /// The provider was out of order.
    pub unavailable: i64,
    /// The account does not work.
    pub account: i64,
    /// Nobody can say.
    pub unknown: i64,
}

impl Figures {
    const NAMES: [&'static str; 26] = [
        "accepted",
        "sent",
        "delivered",
        "read",
        "opened",
        "machine_opened",
        "clicked",
        "machine_clicked",
        "failed",
        "bounced",
        "failed_recipient",
        "failed_opted_out",
        "failed_content",
        "failed_throttled",
        "failed_unavailable",
        "failed_account",
        "failed_unknown",
        "complained",
        "unsubscribed",
        "canceled",
        "expired",
        "suppressed",
        "unknown",
        "segments",
        "delivery_median_ms",
        "delivery_p95_ms",
    ];

    fn cells(&self) -> [Option<i64>; 26] {
        let r = &self.failed_by_reason;
        [
            Some(self.accepted),
            Some(self.sent),
            Some(self.delivered),
            Some(self.read),
            Some(self.opened),
            Some(self.machine_opened),
            Some(self.clicked),
            Some(self.machine_clicked),
            Some(self.failed),
            Some(self.bounced),
            Some(r.recipient),
            Some(r.opted_out),
            Some(r.content),
            Some(r.throttled),
            Some(r.unavailable),
            Some(r.account),
            Some(r.unknown),
            Some(self.complained),
            Some(self.unsubscribed),
            Some(self.canceled),
            Some(self.expired),
            Some(self.suppressed),
            Some(self.unknown),
            Some(self.segments),
            self.delivery_median_ms,
            self.delivery_p95_ms,
        ]
    }
}

impl From<Counts> for Figures {
    fn from(c: Counts) -> Self {
        let o = c.outcome;
        Self {
            accepted: o.accepted,
            sent: o.sent,
            delivered: o.delivered,
            read: o.read,
            opened: c.opened,
            machine_opened: c.machine_opened,
            clicked: c.clicked,
            machine_clicked: c.machine_clicked,
            failed: o.failed,
            bounced: o.bounced,
            failed_by_reason: Reasons {
                recipient: c.failed_recipient,
                opted_out: c.failed_opted_out,
                content: c.failed_content,
                throttled: c.failed_throttled,
                unavailable: c.failed_unavailable,
                account: c.failed_account,
                unknown: c.failed_unknown,
            },
            complained: c.complained,
            unsubscribed: c.unsubscribed,
            canceled: o.canceled,
            expired: o.expired,
            suppressed: o.suppressed,
            unknown: o.unknown,
            segments: o.segments,
            delivery_median_ms: quantile_ms(&c.took, 50),
            delivery_p95_ms: quantile_ms(&c.took, 95),
        }
    }
}

/// The time `percent` of a hundred deliveries stayed below: within its bucket the deliveries are taken to be spread evenly. Beyond the last bucket's end only that is known.
fn quantile_ms(took: &[i64; TOOK_MS.len() + 1], percent: i64) -> Option<i64> {
    quantile(took, &TOOK_MS, percent)
}

/// The same for any buckets, by their upper ends.
pub(crate) fn quantile(took: &[i64], ends: &[i64], percent: i64) -> Option<i64> {
    let total: i64 = took.iter().sum();
    // The rank of the delivery that is looked for, from 1.
    let rank = (total * percent + 99) / 100;
    let mut below = 0;
    let mut start = 0;
    for (count, end) in took.iter().zip(ends) {
        if below + count >= rank && *count > 0 {
            return Some(start + (end - start) * (rank - below) / count);
        }
        (below, start) = (below + count, *end);
    }
    (total > 0).then_some(start)
}

impl Engine {
    /// Tells figures over time, as JSON: the tenant's, or everybody's for an operator outside of any. Needs the scope `usage:read`.
    pub async fn analytics(&self, caller: &Caller, query: &AnalyticsQuery) -> Result<Vec<u8>, Error> {
        to_json(&self.analytics_view(caller, query).await?)
    }

    /// The same as a CSV table, without totals.
    pub async fn analytics_csv(&self, caller: &Caller, query: &AnalyticsQuery) -> Result<Vec<u8>, Error> {
        Ok(table(&self.analytics_view(caller, query).await?))
    }

    /// The same for pages.
    pub async fn analytics_view(&self, caller: &Caller, query: &AnalyticsQuery) -> Result<AnalyticsView, Error> {
        caller.need("usage:read")?;
        let is_all = caller.is_operator && caller.tenant.is_none();
        let (tenant, zone) = if is_all {
            (None, Zone::utc())
        } else {
            let id = caller.need_tenant()?;
            (Some(id), Zone::named(&self.tenant(id).await?.1.timezone))
        };
        let group_by = group_by(query.group_by.as_deref(), is_all)?;
        let filter = filter(query, &zone, self.ports.clock.now())?;
        let interval = query.interval.unwrap_or_default();
        let split = split(&group_by, interval);
        let (since, until) = (filter.from, filter.until);
        let read = self.ports.db.read(tenant.map_or(Scope::System, Scope::Tenant), move |tx| {
            Box::pin(async move { message_counters::sums(tx, tenant, &filter, split, SUMS_MAX).await })
        });
        let sums = read.await.map_err(Error::from)?;
        let too_much = || {
            let detail = format!(
                "the answer would have more than {ROWS_MAX} rows, or be made of more than {SUMS_MAX} sums; ask for fewer groups, a shorter time or longer periods"
            );
            malformed("?group_by", detail)
        };
        if sums.len() as i64 == SUMS_MAX {
            return Err(too_much());
        }
        let mut totals = Counts::default();
        let mut groups: BTreeMap<Key, Counts> = BTreeMap::new();
        for (mut key, counts) in sums {
            totals += counts;
            // A query cut off in the middle of a period shows the period from its beginning, not from where it was cut.
            key.at = zone.begin(key.at, interval);
            *groups.entry(key).or_default() += counts;
        }
        groups.retain(|_, counts| *counts != Counts::default());
        if groups.len() > ROWS_MAX {
            return Err(too_much());
        }
        let mut data: Vec<AnalyticsRow> = groups.into_iter().map(|(key, counts)| row(key, counts, split)).collect();
        // Keys are in order by tenant first; people read a table by time.
        data.sort_by_key(|row| row.period);
        Ok(AnalyticsView { since, until, timezone: zone.name(), interval, group_by, data, totals: totals.into() })
    }
}

/// Reads `?group_by=`; the answer stands in one order and holds each once.
fn group_by(text: Option<&str>, is_all: bool) -> Result<Vec<Dimension>, Error> {
    let known = if is_all { &DIMENSIONS[..] } else { &DIMENSIONS[1..] };
    let Some(text) = text else { return Ok(Vec::new()) };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(word) = words.iter().find(|word| !known.iter().any(|(name, _)| name == *word)) {
        let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(malformed("?group_by", format!("`{word}` is nothing to group by; there are {names}")));
    }
    Ok(known.iter().filter(|(name, _)| words.contains(name)).map(|(_, by)| *by).collect())
}

fn filter(query: &AnalyticsQuery, zone: &Zone, now: Timestamp) -> Result<Filter, Error> {
    let until = match &query.until {
        Some(text) => zone.edge("?until", text)?,
        None => now.plus_seconds(message_counters::SLOT_S),
    };
    let from = match &query.since {
        Some(text) => zone.edge("?since", text)?,
        None => zone.days_before(until, DAYS_DEFAULT),
    };
    if from >= until {
        return Err(malformed("?until", "nothing lies between `since` and `until`; give a later `until`".to_owned()));
    }
    for (pointer, text) in [("?provider", &query.provider), ("?topic", &query.topic)] {
        if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > TEXT_MAX || text.contains('\0')) {
            return Err(malformed(pointer, format!("1 to {TEXT_MAX} bytes")));
        }
    }
    if query.country.as_ref().is_some_and(|code| code.len() != 2 || !code.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err(malformed("?country", "two capital letters (ISO 3166-1), as in DE".to_owned()));
    }
    Ok(Filter {
        from: message_counters::slot(from),
        until: message_counters::slot(until),
        channel: query.channel,
        provider: query.provider.clone(),
        account_id: query.account_id,
        purpose: query.purpose,
        country: query.country.clone(),
        campaign_id: query.campaign_id,
        template_id: query.template_id,
        topic: query.topic.clone(),
        other_than: None,
    })
}

fn split(group_by: &[Dimension], interval: Interval) -> Split {
    let by = |wanted: Dimension| group_by.contains(&wanted);
    Split {
        tenant: by(Dimension::Tenant),
        at: interval != Interval::All,
        channel: by(Dimension::Channel),
        provider: by(Dimension::Provider),
        account: by(Dimension::Account),
        purpose: by(Dimension::Purpose),
        country: by(Dimension::Country),
        campaign: by(Dimension::Campaign),
        template: by(Dimension::Template),
        topic: by(Dimension::Topic),
    }
}

fn row(key: Key, counts: Counts, split: Split) -> AnalyticsRow {
    let text = |is_wanted: bool, text: String| Some(text).filter(|text| is_wanted && !text.is_empty());
    AnalyticsRow {
        period: split.at.then_some(key.at),
        tenant_id: split.tenant.then_some(key.tenant_id),
        channel: split.channel.then_some(key.channel),
        provider: text(split.provider, key.provider),
        account_id: Some(key.account_id).filter(|id| split.account && id.ulid() != 0),
        purpose: split.purpose.then_some(key.purpose),
        country: text(split.country, key.country),
        campaign_id: Some(key.campaign_id).filter(|id| split.campaign && id.ulid() != 0),
        template_id: Some(key.template_id).filter(|id| split.template && id.ulid() != 0),
        template_version: Some(key.template_version).filter(|version| split.template && *version != 0),
        topic: text(split.topic, key.topic),
        figures: counts.into(),
    }
}

fn table(view: &AnalyticsView) -> Vec<u8> {
    let mut header = Vec::new();
    if view.interval != Interval::All {
        header.push("period");
    }
    for by in &view.group_by {
        header.extend(match by {
            Dimension::Tenant => &["tenant_id"][..],
            Dimension::Channel => &["channel"],
            Dimension::Provider => &["provider"],
            Dimension::Account => &["account_id"],
            Dimension::Purpose => &["purpose"],
            Dimension::Country => &["country"],
            Dimension::Campaign => &["campaign_id"],
            Dimension::Template => &["template_id", "template_version"],
            Dimension::Topic => &["topic"],
        });
    }
    header.extend(Figures::NAMES);
    let mut csv = Csv::with_header(&header);
    for row in &view.data {
        let text = |value: Option<&dyn std::fmt::Display>| value.map_or_else(String::new, ToString::to_string);
        let mut cells = Vec::new();
        if view.interval != Interval::All {
            cells.push(text(row.period.as_ref().map(|at| at as _)));
        }
        for by in &view.group_by {
            match by {
                Dimension::Tenant => cells.push(text(row.tenant_id.as_ref().map(|id| id as _))),
                Dimension::Channel => cells.push(text(row.channel.as_ref().map(|channel| channel as _))),
                Dimension::Provider => cells.push(row.provider.clone().unwrap_or_default()),
                Dimension::Account => cells.push(text(row.account_id.as_ref().map(|id| id as _))),
                Dimension::Purpose => cells.push(text(row.purpose.as_ref().map(|purpose| purpose as _))),
                Dimension::Country => cells.push(row.country.clone().unwrap_or_default()),
                Dimension::Campaign => cells.push(text(row.campaign_id.as_ref().map(|id| id as _))),
                Dimension::Template => {
                    cells.push(text(row.template_id.as_ref().map(|id| id as _)));
                    cells.push(text(row.template_version.as_ref().map(|version| version as _)));
                }
                Dimension::Topic => cells.push(row.topic.clone().unwrap_or_default()),
            }
        }
        cells.extend(row.figures.cells().map(|figure| figure.map_or_else(String::new, |n| n.to_string())));
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_within_their_buckets() {
        let mut took = [0; TOOK_MS.len() + 1];
        assert_eq!(quantile_ms(&took, 50), None);
        took[0] = 10;
        assert_eq!((quantile_ms(&took, 50), quantile_ms(&took, 95)), (Some(500), Some(1_000)));
        took[4] = 1;
        assert_eq!((quantile_ms(&took, 50), quantile_ms(&took, 95)), (Some(600), Some(30_000)));
        let mut late = [0; TOOK_MS.len() + 1];
        late[TOOK_MS.len()] = 1;
        assert_eq!(quantile_ms(&late, 50), Some(86_400_000));
    }

    #[test]
    fn what_cannot_be_grouped_by_is_named() {
        assert_eq!(group_by(Some("topic, channel"), false).unwrap(), [Dimension::Channel, Dimension::Topic]);
        assert_eq!(group_by(Some("tenant"), true).unwrap(), [Dimension::Tenant]);
        for bad in ["tenant", "", "colour"] {
            assert_eq!(group_by(Some(bad), false).unwrap_err().errors[0].pointer, "?group_by");
        }
    }

    #[test]
    fn a_filter_says_what_is_wrong_with_it() {
        let now: Timestamp = "2026-11-29T12:10:00Z".parse().unwrap();
        let zone = Zone::named("Asia/Kolkata");
        let read = |query: AnalyticsQuery| filter(&query, &zone, now);
        let pointer = |query: AnalyticsQuery| read(query).unwrap_err().errors[0].pointer.clone();
        let text = |text: &str| Some(text.to_owned());
        let all = read(AnalyticsQuery::default()).unwrap();
        assert_eq!(
            (all.from.to_string().as_str(), all.until.to_string().as_str()),
            ("2026-10-29T18:30:00.000000Z", "2026-11-29T12:30:00.000000Z")
        );
        assert_eq!(pointer(AnalyticsQuery { since: text("yesterday"), ..Default::default() }), "?since");
        assert_eq!(pointer(AnalyticsQuery { until: text("2026-13-01"), ..Default::default() }), "?until");
        let reversed = AnalyticsQuery { since: text("2026-11-02"), until: text("2026-11-02"), ..Default::default() };
        assert_eq!(pointer(reversed), "?until");
        assert_eq!(pointer(AnalyticsQuery { country: text("de"), ..Default::default() }), "?country");
        assert_eq!(pointer(AnalyticsQuery { topic: text(""), ..Default::default() }), "?topic");
    }
}
