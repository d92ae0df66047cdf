//! Which figures are asked for: the query as it is sent, checked and turned into what is summed. Pure.

use model::{AccountId, CampaignId, Channel, Purpose, TemplateId, Timestamp};
use serde::{Deserialize, Serialize};
use store::message_counters::{self, Filter, Split};
use utoipa::IntoParams;

use super::period::Zone;
use crate::{Error, queries::malformed};

/// What is shown when no beginning is given, in days.
const DAYS_DEFAULT: i64 = 30;
/// Any 31 days: they are put together again.
const MONTH_S: i64 = 31 * 86_400;
/// Longest text to filter by.
const TEXT_MAX: usize = 200;

/// Which figures are asked for (`GET /v1/analytics`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
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
    /// `channel`, `provider`, `account`, `purpose`, `country`, `campaign`, `template`, `topic`, `variant` in any combination, separated by commas. An operator outside of a tenant has
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
    /// By variant of a campaign.
    Variant,
}

const DIMENSIONS: [(&str, Dimension); 10] = [
    ("tenant", Dimension::Tenant),
    ("channel", Dimension::Channel),
    ("provider", Dimension::Provider),
    ("account", Dimension::Account),
    ("purpose", Dimension::Purpose),
    ("country", Dimension::Country),
    ("campaign", Dimension::Campaign),
    ("template", Dimension::Template),
    ("topic", Dimension::Topic),
    ("variant", Dimension::Variant),
];

/// Reads `?group_by=`; the answer stands in one order and holds each once.
pub(super) fn group_by(text: Option<&str>, is_all: bool) -> Result<Vec<Dimension>, Error> {
    let known = if is_all { &DIMENSIONS[..] } else { &DIMENSIONS[1..] };
    let Some(text) = text else { return Ok(Vec::new()) };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    if let Some(word) = words.iter().find(|word| !known.iter().any(|(name, _)| name == *word)) {
        let names = known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(malformed("?group_by", format!("`{word}` is nothing to group by; there are {names}")));
    }
    Ok(known.iter().filter(|(name, _)| words.contains(name)).map(|(_, by)| *by).collect())
}

pub(super) fn filter(query: &AnalyticsQuery, zone: &Zone, now: Timestamp) -> Result<Filter, Error> {
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
        from: zone.slot(from),
        until: zone.slot(until),
        channel: query.channel,
        provider: query.provider.clone(),
        account_id: query.account_id,
        purpose: query.purpose,
        country: query.country.clone(),
        campaign_id: query.campaign_id,
        template_id: query.template_id,
        topic: query.topic.clone(),
        ..Filter::default()
    })
}

/// The same question to the sums by day, where it is about whole days: they are far fewer, and the answer is the same.
pub(super) fn by_day(filter: &Filter, interval: Interval, zone: &Zone, now: Timestamp) -> Option<Filter> {
    if interval == Interval::Hour {
        return None;
    }
    let from = zone.day_from(filter.from)?;
    // What ends in the future holds everything there is.
    let until = if filter.until > now { Filter::everything().until } else { zone.day_from(filter.until)? };
    Some(Filter { from, until, ..filter.clone() })
}

/// The same question in parts of a month each, from the `first` sum on: more sums by slot than are read at once lie in a long time.
pub(super) fn by_month(filter: &Filter, first: Timestamp, now: Timestamp) -> Vec<Filter> {
    let (mut from, end) = (filter.from.max(first), filter.until.min(now.plus_seconds(MONTH_S)));
    let mut parts = Vec::new();
    while from < end {
        let until = from.plus_seconds(MONTH_S).min(end);
        parts.push(Filter { from, until, ..filter.clone() });
        from = until;
    }
    parts
}

pub(super) fn split(group_by: &[Dimension], interval: Interval) -> Split {
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
        variant: by(Dimension::Variant),
        // Amounts in different currencies are never added.
        currency: true,
        clock: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let kathmandu = filter(&AnalyticsQuery::default(), &Zone::named("Asia/Kathmandu"), now).unwrap();
        assert_eq!(kathmandu.from.to_string(), "2026-10-29T18:15:00.000000Z");
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
        assert_eq!(pointer(AnalyticsQuery { until: text("9999-12-31"), ..Default::default() }), "?until");
        assert_eq!(pointer(AnalyticsQuery { since: text("0000-01-01"), ..Default::default() }), "?since");
        let reversed = AnalyticsQuery { since: text("2026-11-02"), until: text("2026-11-02"), ..Default::default() };
        assert_eq!(pointer(reversed), "?until");
        assert_eq!(pointer(AnalyticsQuery { country: text("de"), ..Default::default() }), "?country");
        assert_eq!(pointer(AnalyticsQuery { topic: text(""), ..Default::default() }), "?topic");
    }

    #[test]
    fn whole_days_are_read_by_day() {
        let now: Timestamp = "2026-11-29T12:10:00Z".parse().unwrap();
        let zone = Zone::named("Asia/Kathmandu");
        let read = |query: AnalyticsQuery, interval| by_day(&filter(&query, &zone, now).unwrap(), interval, &zone, now);
        let query = |since: &str, until: Option<&str>| AnalyticsQuery {
            since: Some(since.to_owned()),
            until: until.map(str::to_owned),
            ..Default::default()
        };
        let days = read(query("2026-11-01", Some("2026-11-29")), Interval::Week).unwrap();
        assert_eq!(days.from, "2026-11-01T00:00:00Z".parse().unwrap());
        assert_eq!(days.until, "2026-11-29T00:00:00Z".parse().unwrap());
        assert!(read(AnalyticsQuery::default(), Interval::All).is_some_and(|days| days.until > now));
        assert!(read(query("2026-11-01", None), Interval::Hour).is_none());
        assert!(read(query("2026-11-01T00:00:00Z", None), Interval::Day).is_none(), "that is no midnight there");
        assert!(read(query("2026-11-01", Some("2026-11-29T12:00:00Z")), Interval::Day).is_none());
    }

    #[test]
    fn a_long_time_is_read_in_parts_that_leave_nothing_out() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (first, now) = (at("2026-01-15T08:00:00Z"), at("2026-11-29T12:10:00Z"));
        let ask = |from, until| by_month(&Filter { from: at(from), until: at(until), ..Filter::default() }, first, now);
        let parts = ask("0001-01-01T00:00:00Z", "9999-01-01T00:00:00Z");
        assert_eq!((parts[0].from, parts.len()), (first, 12));
        assert!(parts.windows(2).all(|pair| pair[0].until == pair[1].from) && parts[11].until > now);
        let short = ask("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z");
        assert_eq!((short.len(), short[0].until), (1, at("2026-11-02T00:00:00Z")));
        assert_eq!(ask("2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z").len(), 0);
    }
}
