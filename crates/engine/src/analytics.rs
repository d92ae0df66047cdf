//! What was sent and what became of it, over time: `GET /v1/analytics`. Read from sums by half hour and by day that are written with the messages, so an answer is exact and does not
//! depend on how many messages there are. Days, and what is made of them, are those of the clock the tenant had when the message was accepted. A message counts in the period it was accepted
//! in, whenever the rest becomes known.

pub mod count;
mod figures;
pub(crate) mod period;
mod query;
pub(crate) mod recount;

use std::collections::BTreeMap;

use model::{AccountId, CampaignId, Channel, Money, Purpose, TemplateId, TenantId, Timestamp};
use serde::Serialize;
use store::{
    Scope, Tx,
    message_counters::{self, Counts, Filter, Key, Split, Table},
};
use utoipa::ToSchema;

use self::{
    figures::Sum,
    period::Zone,
    query::{by_day, by_month, filter, group_by, split},
};
pub(crate) use self::{
    figures::quantile,
    recount::{count_campaign, count_first, is_pending, is_pending_for},
};
pub use self::{
    figures::{Figures, Reasons},
    query::{AnalyticsQuery, Dimension, Interval},
    recount::recount_pending,
};
use crate::{
    Engine, Error, audit,
    csv::Csv,
    keys::Caller,
    queries::{malformed, to_json},
};

/// Sums read for one answer: a year of half hours for five groups. More would take longer than anybody waits.
const SUMS_MAX: i64 = 100_000;
/// Rows of one answer.
const ROWS_MAX: usize = 10_000;

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
    /// Which of the campaign's variants, by its place, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<u32>,
    /// How many.
    #[serde(flatten)]
    pub figures: Figures,
}

impl Engine {
    /// Tells figures over time, as JSON: the tenant's, or everybody's for an operator outside of any. Needs the scope `usage:read`.
    #[crate::boxed]
    pub async fn analytics(&self, caller: &Caller, query: &AnalyticsQuery) -> Result<Vec<u8>, Error> {
        to_json(&self.analytics_view(caller, query).await?)
    }

    /// The same as a CSV table, without totals.
    #[crate::boxed]
    pub async fn analytics_csv(&self, caller: &Caller, query: &AnalyticsQuery) -> Result<Vec<u8>, Error> {
        let view = self.analytics_view(caller, query).await?;
        audit::note_export(self.parts(), caller, "analytics.exported", caller.owner(), view.data.len(), query).await?;
        Ok(table(&view))
    }

    /// The same for pages.
    #[crate::boxed]
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
        let now = self.ports.clock.now();
        let filter = filter(query, &zone, now)?;
        let interval = query.interval.unwrap_or_default();
        let split = split(&group_by, interval);
        let (since, until) = (filter.from, filter.until);
        // Days are those of each tenant's clock, so everybody's together are read by slot.
        let days = tenant.and_then(|_| by_day(&filter, interval, &zone, now));
        let inner = zone.clone();
        let read = self.ports.db.read(tenant.map_or(Scope::System, Scope::Tenant), move |tx| {
            Box::pin(async move {
                let reading = Reading { tenant, zone: inner, interval, split };
                let Some(tenant) = tenant else {
                    // Sums of a long time by slot are more than are read at once, and what they are put together to is few.
                    let first = message_counters::first_of_all(tx).await?.unwrap_or(now);
                    return reading.sums(tx, Table::Slots, &by_month(&filter, first, now)).await;
                };
                let Some(days) = days else { return reading.sums(tx, Table::Slots, &[filter]).await };
                if !is_pending_for(tx, tenant).await? {
                    return reading.sums(tx, Table::Days, &[days]).await;
                }
                // There are no sums by day yet, and by slot there are more than are read at once.
                let first = message_counters::first(tx, tenant).await?.unwrap_or(now);
                reading.sums(tx, Table::Slots, &by_month(&filter, first, now)).await
            })
        });
        let Some((mut groups, totals)) = read.await? else { return Err(too_much()) };
        // What moved on to another account or channel leaves nothing where it was.
        groups.retain(|_, sum| sum.counts != Counts::default());
        if groups.len() > ROWS_MAX {
            return Err(too_much());
        }
        let mut data: Vec<AnalyticsRow> = groups.into_iter().map(|(key, sum)| row(key, sum, split)).collect();
        // Keys are in order by tenant first; people read a table by time.
        data.sort_by_key(|row| row.period);
        Ok(AnalyticsView { since, until, timezone: zone.name(), interval, group_by, data, totals: totals.into() })
    }
}

fn too_much() -> Error {
    let detail = format!(
        "the answer would have more than {ROWS_MAX} rows, or be made of more than {SUMS_MAX} sums; ask for fewer groups, a shorter time or longer periods"
    );
    malformed("?group_by", detail)
}

/// How sums are read and put together.
struct Reading {
    tenant: Option<TenantId>,
    zone: Zone,
    interval: Interval,
    split: Split,
}

impl Reading {
    /// The sums of each period and group, and of all; `None` where that would take too long. Each of `parts` is read by itself.
    async fn sums(
        &self,
        tx: &mut Tx,
        table: Table,
        parts: &[Filter],
    ) -> Result<Option<(BTreeMap<Key, Sum>, Sum)>, Error> {
        let mut totals = Sum::default();
        let mut groups: BTreeMap<Key, Sum> = BTreeMap::new();
        for filter in parts {
            let sums = message_counters::sums_of(tx, table, self.tenant, filter, self.split, SUMS_MAX).await?;
            if sums.len() as i64 == SUMS_MAX {
                return Ok(None);
            }
            for (mut key, counts) in sums {
                let currency = std::mem::take(&mut key.currency);
                totals.add(&currency, counts);
                // A query cut off in the middle of a period shows the period from its beginning, not from where it was cut.
                let at = if table == Table::Days { self.zone.day_of(key.at) } else { key.at };
                key.at = self.zone.begin(at, self.interval);
                groups.entry(key).or_default().add(&currency, counts);
            }
        }
        Ok(Some((groups, totals)))
    }
}

fn row(key: Key, sum: Sum, split: Split) -> AnalyticsRow {
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
        variant: key.variant.checked_sub(1).filter(|_| split.variant),
        figures: sum.into(),
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
            Dimension::Variant => &["variant"],
        });
    }
    header.extend(Figures::NAMES);
    header.extend(["costs", "cost_per_delivered"]);
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
                Dimension::Variant => cells.push(text(row.variant.as_ref().map(|variant| variant as _))),
            }
        }
        cells.extend(row.figures.cells().map(|figure| figure.map_or_else(String::new, |n| n.to_string())));
        cells.extend([amounts(&row.figures.costs), amounts(&row.figures.cost_per_delivered)]);
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}

/// Amounts as one cell: `0.0075 USD`, several of them with a semicolon between.
fn amounts(money: &[Money]) -> String {
    let amount = |money: &Money| {
        let (whole, part) = (money.amount_micros / 1_000_000, (money.amount_micros % 1_000_000).abs());
        let sign = if money.amount_micros < 0 && whole == 0 { "-" } else { "" };
        format!("{sign}{whole}.{part:06} {}", money.currency)
    };
    money.iter().map(amount).collect::<Vec<_>>().join("; ")
}
