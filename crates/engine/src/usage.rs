//! Usage of a month or a day: how many messages, over what, through whom, and what became of them. Read from counters that are written with the messages: those of the month where
//! they tell enough, those by half hour ([`store::message_counters`]) where a day, an account, a country or a campaign is asked for.

use std::collections::BTreeMap;

use jiff::civil::Date;
use model::{AccountId, CampaignId, Channel, Purpose, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    message_counters::{self, Filter, Split},
    usage::{self, Counts},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Engine, Error, audit,
    csv::Csv,
    keys::Caller,
    queries::{malformed, to_json},
};

/// Rows read for an operator's view over all tenants: ten thousand busy tenants on a handful of channels and providers.
const ROWS_MAX: i64 = 100_000;

/// Which usage is asked for (`GET /v1/usage`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// The month (UTC) in which messages were accepted; the current one by default.
    #[param(example = "2026-11")]
    pub month: Option<String>,
    /// Only this day (UTC) of the month.
    #[param(example = "2026-11-29")]
    pub day: Option<String>,
    /// `day`, `channel`, `provider`, `account`, `purpose`, `country`, `campaign` in any combination, separated by commas; `channel,provider,purpose` by default. An operator outside
    /// of a tenant has `tenant` as well.
    #[param(example = "channel,provider")]
    pub group_by: Option<String>,
}

/// Usage of a month.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// Which month.
    #[schema(example = "2026-11")]
    pub month: String,
    /// Which day of it, when one was asked for.
    #[schema(example = "2026-11-29")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// What the rows are grouped by.
    #[schema(value_type = Vec<String>)]
    pub group_by: Vec<GroupBy>,
    /// One row per group.
    pub data: Vec<UsageRow>,
    /// The sum of all rows.
    pub totals: UsageCounts,
}

/// Usage of one group. Fields that it is not grouped by are left out.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageRow {
    /// Whose.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// On which day (UTC).
    #[schema(example = "2026-11-29")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Over which channel.
    #[schema(value_type = Option<String>, example = "email")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Through which connector.
    #[schema(example = "smtp")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Through which account; left out for messages that never had one.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// Why.
    #[schema(value_type = Option<String>, example = "transactional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// To which country; left out for addresses that lie in none.
    #[schema(example = "DE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Of which campaign; left out for messages of none.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub campaign_id: Option<CampaignId>,
    /// How many.
    #[serde(flatten)]
    pub counts: UsageCounts,
}

macro_rules! usage_counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Numbers of messages.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
        pub struct UsageCounts { $($(#[$doc])* pub $name: i64,)+ }


        impl UsageCounts {
            const NAMES: &[&str] = &[$(stringify!($name)),+];

            fn values(&self) -> Vec<i64> { vec![$(self.$name),+] }
        }
    };
}

usage_counts! {
    /// Accepted.
    accepted,
    /// Taken by the provider.
    sent,
    /// Arrived.
    delivered,
    /// Read.
    read,
    /// Failed.
    failed,
    /// Came back.
    bounced,
    /// Withdrawn before they left.
    canceled,
    /// Ran out of time before they left.
    expired,
    /// Not sent because the recipient must not be written to.
    suppressed,
    /// Nobody can say whether the provider took them.
    unknown,
    /// Parts of sent messages (SMS).
    segments,
    /// Addresses that were sent to: a message goes to one, over each channel it was sent.
    recipients,
    /// What was handed to providers, in bytes: subjects, texts and HTML as they left, and files. Of messages sent since an upgrade that counts it.
    bytes,
}

impl From<Counts> for UsageCounts {
    fn from(counts: Counts) -> Self {
        let Counts {
            accepted,
            sent,
            delivered,
            read,
            failed,
            bounced,
            canceled,
            expired,
            suppressed,
            unknown,
            segments,
            bytes,
        } = counts;
        Self {
            accepted,
            sent,
            delivered,
            read,
            failed,
            bounced,
            canceled,
            expired,
            suppressed,
            unknown,
            segments,
            recipients: sent,
            bytes,
        }
    }
}

/// Something usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By tenant.
    Tenant,
    /// By day.
    Day,
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
}

use GroupBy as By;

impl By {
    const ALL: [Self; 8] = [
        Self::Tenant,
        Self::Day,
        Self::Channel,
        Self::Provider,
        Self::Account,
        Self::Purpose,
        Self::Country,
        Self::Campaign,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Day => "day",
            Self::Channel => "channel",
            Self::Provider => "provider",
            Self::Account => "account",
            Self::Purpose => "purpose",
            Self::Country => "country",
            Self::Campaign => "campaign",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Tenant => "tenant_id",
            Self::Account => "account_id",
            Self::Campaign => "campaign_id",
            Self::Day | Self::Channel | Self::Provider | Self::Purpose | Self::Country => self.as_str(),
        }
    }

    /// True when the counters of the month tell it.
    const fn is_of_month(self) -> bool {
        matches!(self, Self::Tenant | Self::Channel | Self::Provider | Self::Purpose)
    }
}

/// What one row is about, as far as it is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    tenant_id: Option<TenantId>,
    day: Option<String>,
    channel: Option<Channel>,
    provider: Option<String>,
    account_id: Option<AccountId>,
    purpose: Option<Purpose>,
    country: Option<String>,
    campaign_id: Option<CampaignId>,
}

impl From<usage::Key> for Group {
    fn from(key: usage::Key) -> Self {
        Self {
            tenant_id: Some(key.tenant_id),
            channel: Some(key.channel),
            provider: Some(key.provider),
            purpose: Some(key.purpose),
            ..Self::default()
        }
    }
}

impl From<message_counters::Key> for Group {
    fn from(key: message_counters::Key) -> Self {
        Self {
            tenant_id: Some(key.tenant_id),
            day: Some(key.at.jiff().to_zoned(jiff::tz::TimeZone::UTC).date().to_string()),
            channel: Some(key.channel),
            provider: Some(key.provider),
            account_id: Some(key.account_id).filter(|id| id.ulid() != 0),
            purpose: Some(key.purpose),
            country: Some(key.country).filter(|code| !code.is_empty()),
            campaign_id: Some(key.campaign_id).filter(|id| id.ulid() != 0),
        }
    }
}

impl Group {
    /// What is left of it when only this is asked for.
    fn only(self, group_by: &[By]) -> Self {
        let by = |wanted: By| group_by.contains(&wanted);
        Self {
            tenant_id: self.tenant_id.filter(|_| by(By::Tenant)),
            day: self.day.filter(|_| by(By::Day)),
            channel: self.channel.filter(|_| by(By::Channel)),
            provider: self.provider.filter(|_| by(By::Provider)),
            account_id: self.account_id.filter(|_| by(By::Account)),
            purpose: self.purpose.filter(|_| by(By::Purpose)),
            country: self.country.filter(|_| by(By::Country)),
            campaign_id: self.campaign_id.filter(|_| by(By::Campaign)),
        }
    }
}

impl Engine {
    /// Tells the usage of a month, as JSON: the tenant's, or everybody's for an operator outside of any. Needs the scope `usage:read`.
    #[crate::boxed]
    pub async fn usage(&self, caller: &Caller, query: &UsageQuery) -> Result<Vec<u8>, Error> {
        to_json(&self.usage_view(caller, query).await?)
    }

    /// The same as a CSV table, without totals. That somebody took it is in the audit log.
    #[crate::boxed]
    pub async fn usage_csv(&self, caller: &Caller, query: &UsageQuery) -> Result<Vec<u8>, Error> {
        let view = self.usage_view(caller, query).await?;
        audit::note_export(self.parts(), caller, "usage.exported", caller.owner(), view.data.len(), query).await?;
        Ok(table(&view))
    }

    async fn usage_view(&self, caller: &Caller, query: &UsageQuery) -> Result<UsageView, Error> {
        caller.need("usage:read")?;
        let is_all = caller.is_operator && caller.tenant.is_none();
        let tenant = if is_all { None } else { Some(caller.need_tenant()?) };
        let now = self.ports.clock.now();
        let day = day(query.day.as_deref(), query.month.as_deref())?;
        let month = match &day {
            Some(day) => day.chars().take(7).collect(),
            None => month(query.month.as_deref(), now)?,
        };
        let group_by = group_by(query.group_by.as_deref(), is_all)?;
        let is_of_month = day.is_none() && group_by.iter().all(|by| by.is_of_month());
        let rows = match is_of_month {
            true => self.month_rows(tenant, month.clone()).await?,
            false => self.slot_rows(tenant, &month, day.as_deref(), &group_by).await?,
        };
        if rows.len() as i64 == ROWS_MAX {
            let detail = "the answer would be too long; group by less, or name one day or, in the header Tidings-Tenant, one tenant";
            return Err(malformed("?group_by", detail.to_owned()));
        }
        Ok(fold(month, day, group_by, rows))
    }

    async fn month_rows(&self, tenant: Option<TenantId>, month: String) -> Result<Vec<(Group, Counts)>, Error> {
        let read = self.ports.db.read(tenant.map_or(Scope::System, Scope::Tenant), move |tx| {
            Box::pin(async move {
                match tenant {
                    Some(tenant) => usage::of_month(tx, tenant, &month).await,
                    None => usage::of_month_of_all(tx, &month, ROWS_MAX).await,
                }
            })
        });
        let rows = read.await.map_err(Error::from)?;
        Ok(rows.into_iter().map(|(key, counts)| (key.into(), counts)).collect())
    }

    async fn slot_rows(
        &self,
        tenant: Option<TenantId>,
        month: &str,
        day: Option<&str>,
        group_by: &[By],
    ) -> Result<Vec<(Group, Counts)>, Error> {
        let by = |wanted: By| group_by.contains(&wanted);
        let (from, until) = span(month, day)?;
        let filter = Filter { from, until, ..Filter::default() };
        let split = Split {
            tenant: by(By::Tenant),
            at: by(By::Day),
            channel: by(By::Channel),
            provider: by(By::Provider),
            account: by(By::Account),
            purpose: by(By::Purpose),
            country: by(By::Country),
            campaign: by(By::Campaign),
            ..Split::default()
        };
        let read = self.ports.db.read(tenant.map_or(Scope::System, Scope::Tenant), move |tx| {
            Box::pin(async move { message_counters::sums(tx, tenant, &filter, split, ROWS_MAX).await })
        });
        let rows = read.await.map_err(Error::from)?;
        Ok(rows.into_iter().map(|(key, counts)| (key.into(), counts.outcome)).collect())
    }
}

/// Reads `?month=`.
pub(crate) fn month(text: Option<&str>, now: Timestamp) -> Result<String, Error> {
    let Some(text) = text else { return Ok(now.month()) };
    let refused = || malformed("?month", format!("`{text}` is no month; write it as in 2026-11"));
    let (year, month) = text.split_once('-').ok_or_else(refused)?;
    let is_number = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    let is_month = is_number(year, 4) && is_number(month, 2) && month.parse().is_ok_and(|m: u8| (1..=12).contains(&m));
    if is_month { Ok(text.to_owned()) } else { Err(refused()) }
}

/// Reads `?day=`, which must lie in `?month=` when that is given too.
fn day(text: Option<&str>, month: Option<&str>) -> Result<Option<String>, Error> {
    let Some(text) = text else { return Ok(None) };
    if text.len() != 10 || text.parse::<Date>().is_err() {
        return Err(malformed("?day", format!("`{text}` is no day; write it as in 2026-11-29")));
    }
    if month.is_some_and(|month| !text.starts_with(month)) {
        return Err(malformed("?day", format!("`{text}` does not lie in that month; leave `month` out")));
    }
    Ok(Some(text.to_owned()))
}

/// From when until when a month, or a day of it, lasts in UTC.
pub(crate) fn span(month: &str, day: Option<&str>) -> Result<(Timestamp, Timestamp), Error> {
    let no_such = |_| malformed("?month", format!("`{month}` is no month; write it as in 2026-11"));
    let first: Date = day.map_or_else(|| format!("{month}-01"), str::to_owned).parse().map_err(no_such)?;
    let next = if day.is_some() { first.tomorrow() } else { first.last_of_month().tomorrow() }.map_err(no_such)?;
    let begin = |date: Date| date.to_zoned(jiff::tz::TimeZone::UTC).map(|zoned| zoned.timestamp().into());
    Ok((begin(first).map_err(no_such)?, begin(next).map_err(no_such)?))
}

/// Reads `?group_by=`; the answer stands in one order and holds each once.
fn group_by(text: Option<&str>, is_all: bool) -> Result<Vec<By>, Error> {
    let known = if is_all { &By::ALL[..] } else { &By::ALL[1..] };
    let Some(text) = text else { return Ok(known.iter().copied().filter(|by| by.is_of_month()).collect()) };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    for word in &words {
        if !known.iter().any(|by| by.as_str() == *word) {
            let names = known.iter().map(|by| by.as_str()).collect::<Vec<_>>().join(", ");
            return Err(malformed("?group_by", format!("`{word}` is nothing to group by; there are {names}")));
        }
    }
    Ok(known.iter().copied().filter(|by| words.contains(&by.as_str())).collect())
}

fn fold(month: String, day: Option<String>, group_by: Vec<By>, rows: Vec<(Group, Counts)>) -> UsageView {
    let mut groups: BTreeMap<Group, Counts> = BTreeMap::new();
    let mut totals = Counts::default();
    for (group, counts) in rows {
        *groups.entry(group.only(&group_by)).or_default() += counts;
        totals += counts;
    }
    // What moved on to another account or channel leaves nothing where it was.
    groups.retain(|_, counts| *counts != Counts::default());
    let row = |(group, counts): (Group, Counts)| UsageRow {
        tenant_id: group.tenant_id,
        day: group.day,
        channel: group.channel,
        provider: group.provider,
        account_id: group.account_id,
        purpose: group.purpose,
        country: group.country,
        campaign_id: group.campaign_id,
        counts: counts.into(),
    };
    UsageView { month, day, data: groups.into_iter().map(row).collect(), group_by, totals: totals.into() }
}

fn table(view: &UsageView) -> Vec<u8> {
    let header: Vec<&str> = ["month"]
        .into_iter()
        .chain(view.group_by.iter().map(|by| by.column()))
        .chain(UsageCounts::NAMES.iter().copied())
        .collect();
    let mut csv = Csv::with_header(&header);
    for row in &view.data {
        let mut cells = vec![view.month.clone()];
        cells.extend(view.group_by.iter().map(|by| {
            match by {
                By::Tenant => row.tenant_id.map(|id| id.to_string()),
                By::Day => row.day.clone(),
                By::Channel => row.channel.map(|channel| channel.to_string()),
                By::Provider => row.provider.clone(),
                By::Account => row.account_id.map(|id| id.to_string()),
                By::Purpose => row.purpose.map(|purpose| purpose.to_string()),
                By::Country => row.country.clone(),
                By::Campaign => row.campaign_id.map(|id| id.to_string()),
            }
            .unwrap_or_default()
        }));
        cells.extend(row.counts.values().iter().map(i64::to_string));
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: u128, channel: Channel, provider: &str) -> Group {
        let key = usage::Key {
            tenant_id: TenantId::from_ulid(tenant),
            month: "2026-11".into(),
            channel,
            provider: provider.into(),
            purpose: Purpose::Transactional,
        };
        key.into()
    }

    fn accepted(accepted: i64) -> Counts {
        Counts { accepted, ..Counts::default() }
    }

    #[test]
    fn a_month_has_a_form() {
        let now: Timestamp = "2026-12-31T23:59:59Z".parse().unwrap();
        let check = |text: Option<&str>, expected: Option<&str>| {
            assert_eq!(month(text, now).ok().as_deref(), expected, "{text:?}");
        };
        check(None, Some("2026-12"));
        check(Some("2026-11"), Some("2026-11"));
        for bad in ["", "2026", "2026-13", "2026-00", "2026-1", "26-11", "2026-11-01", "2026-+1"] {
            check(Some(bad), None);
        }
    }

    #[test]
    fn a_day_lies_in_its_month() {
        let pointer = |text, month| day(Some(text), month).unwrap_err().errors[0].pointer.clone();
        assert_eq!(day(Some("2026-11-29"), Some("2026-11")).unwrap().as_deref(), Some("2026-11-29"));
        for (bad, month) in [("2026-11-31", None), ("29.11.2026", None), ("2026-11-29", Some("2026-10"))] {
            assert_eq!(pointer(bad, month), "?day");
        }
        let (from, until) = span("2028-02", None).unwrap();
        assert_eq!((from, until), ("2028-02-01T00:00:00Z".parse().unwrap(), "2028-03-01T00:00:00Z".parse().unwrap()));
        let (from, until) = span("2026-12", Some("2026-12-31")).unwrap();
        assert_eq!((from, until), ("2026-12-31T00:00:00Z".parse().unwrap(), "2027-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn groups_are_known_words() {
        assert_eq!(group_by(Some("purpose,channel,purpose"), false).unwrap(), [GroupBy::Channel, GroupBy::Purpose]);
        assert_eq!(group_by(None, false).unwrap().len(), 3);
        assert_eq!(group_by(None, true).unwrap().len(), 4);
        for bad in ["", "tenant", "channel,", "colour"] {
            assert_eq!(group_by(Some(bad), false).unwrap_err().errors[0].pointer, "?group_by");
        }
    }

    #[test]
    fn rows_fold_into_groups_and_totals() {
        let rows = vec![
            (key(1, Channel::Sms, "twilio"), accepted(3)),
            (key(2, Channel::Sms, "twilio"), accepted(4)),
            (key(1, Channel::Email, "smtp"), accepted(5)),
        ];
        let view = fold("2026-11".into(), None, vec![GroupBy::Channel], rows);
        let sums: Vec<_> = view.data.iter().map(|row| (row.channel, row.counts.accepted)).collect();
        assert_eq!(sums, [(Some(Channel::Email), 5), (Some(Channel::Sms), 7)]);
        assert_eq!(view.totals.accepted, 12);
        assert_eq!(
            String::from_utf8(table(&view)).unwrap().lines().take(2).collect::<Vec<_>>(),
            [
                "month,channel,accepted,sent,delivered,read,failed,bounced,canceled,expired,suppressed,unknown,segments,recipients,bytes",
                "2026-11,email,5,0,0,0,0,0,0,0,0,0,0,0,0"
            ]
        );
    }
}
