//! Usage of a month: how many messages, over what, through whom, and what became of them. Read from counters that are written with the messages.

use std::collections::BTreeMap;

use model::{Channel, Purpose, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    usage::{Counts, Key},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Engine, Error,
    csv::Csv,
    keys::Caller,
    queries::{malformed, to_json},
};

/// Rows read for an operator's view over all tenants: ten thousand busy tenants on a handful of channels and providers.
const ROWS_MAX: i64 = 100_000;

/// Which usage is asked for (`GET /v1/usage`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UsageQuery {
    /// The month (UTC) in which messages were accepted; the current one by default.
    #[param(example = "2026-11")]
    pub month: Option<String>,
    /// `channel`, `provider`, `purpose` in any combination, separated by commas; all by default. An operator outside of a tenant has `tenant` as well.
    #[param(example = "channel,provider")]
    pub group_by: Option<String>,
}

/// Usage of a month.
#[derive(Debug, Serialize, ToSchema)]
pub struct UsageView {
    /// Which month.
    #[schema(example = "2026-11")]
    pub month: String,
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
    /// Over which channel.
    #[schema(value_type = Option<String>, example = "email")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<Channel>,
    /// Through which connector.
    #[schema(example = "smtp")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Why.
    #[schema(value_type = Option<String>, example = "transactional")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// How many.
    #[serde(flatten)]
    pub counts: UsageCounts,
}

macro_rules! usage_counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// Numbers of messages.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
        pub struct UsageCounts { $($(#[$doc])* pub $name: i64,)+ }

        impl From<Counts> for UsageCounts {
            fn from(counts: Counts) -> Self { Self { $($name: counts.$name,)+ } }
        }

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
}

/// Something usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By tenant.
    Tenant,
    /// By channel.
    Channel,
    /// By connector.
    Provider,
    /// By purpose.
    Purpose,
}

impl GroupBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Channel => "channel",
            Self::Provider => "provider",
            Self::Purpose => "purpose",
        }
    }
}

impl Engine {
    /// Tells the usage of a month, as JSON: the tenant's, or everybody's for an operator outside of any. Needs the scope `usage:read`.
    pub async fn usage(&self, caller: &Caller, query: &UsageQuery) -> Result<Vec<u8>, Error> {
        to_json(&self.usage_view(caller, query).await?)
    }

    /// The same as a CSV table, without totals.
    pub async fn usage_csv(&self, caller: &Caller, query: &UsageQuery) -> Result<Vec<u8>, Error> {
        Ok(table(&self.usage_view(caller, query).await?))
    }

    async fn usage_view(&self, caller: &Caller, query: &UsageQuery) -> Result<UsageView, Error> {
        caller.need("usage:read")?;
        let is_all = caller.is_operator && caller.tenant.is_none();
        let month = month(query.month.as_deref(), self.ports.clock.now())?;
        let group_by = group_by(query.group_by.as_deref(), is_all)?;
        let wanted = month.clone();
        let rows = if is_all {
            let read = self.ports.db.read(Scope::System, move |tx| {
                Box::pin(async move { store::usage::of_month_of_all(tx, &wanted, ROWS_MAX).await })
            });
            let rows = read.await.map_err(Error::from)?;
            if rows.len() as i64 == ROWS_MAX {
                let detail = "there are too many tenants for one answer; name one in the header Tidings-Tenant";
                return Err(malformed("?month", detail.to_owned()));
            }
            rows
        } else {
            let tenant = caller.need_tenant()?;
            let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move { store::usage::of_month(tx, tenant, &wanted).await })
            });
            read.await.map_err(Error::from)?
        };
        Ok(fold(month, group_by, rows))
    }
}

/// Reads `?month=`.
fn month(text: Option<&str>, now: Timestamp) -> Result<String, Error> {
    let Some(text) = text else { return Ok(now.month()) };
    let refused = || malformed("?month", format!("`{text}` is no month; write it as in 2026-11"));
    let (year, month) = text.split_once('-').ok_or_else(refused)?;
    let is_number = |part: &str, len: usize| part.len() == len && part.bytes().all(|b| b.is_ascii_digit());
    let is_month = is_number(year, 4) && is_number(month, 2) && month.parse().is_ok_and(|m: u8| (1..=12).contains(&m));
    if is_month { Ok(text.to_owned()) } else { Err(refused()) }
}

/// Reads `?group_by=`; the answer stands in one order and holds each once.
fn group_by(text: Option<&str>, is_all: bool) -> Result<Vec<GroupBy>, Error> {
    let known = [GroupBy::Tenant, GroupBy::Channel, GroupBy::Provider, GroupBy::Purpose];
    let known = if is_all { &known[..] } else { &known[1..] };
    let Some(text) = text else { return Ok(known.to_vec()) };
    let words: Vec<&str> = text.split(',').map(str::trim).collect();
    for word in &words {
        if !known.iter().any(|by| by.as_str() == *word) {
            let names = known.iter().map(|by| by.as_str()).collect::<Vec<_>>().join(", ");
            return Err(malformed("?group_by", format!("`{word}` is nothing to group by; there are {names}")));
        }
    }
    Ok(known.iter().copied().filter(|by| words.contains(&by.as_str())).collect())
}

fn fold(month: String, group_by: Vec<GroupBy>, rows: Vec<(Key, Counts)>) -> UsageView {
    type Group = (Option<TenantId>, Option<Channel>, Option<String>, Option<Purpose>);
    let by = |wanted: GroupBy| group_by.contains(&wanted);
    let mut groups: BTreeMap<Group, Counts> = BTreeMap::new();
    let mut totals = Counts::default();
    for (key, counts) in rows {
        let group = (
            by(GroupBy::Tenant).then_some(key.tenant_id),
            by(GroupBy::Channel).then_some(key.channel),
            by(GroupBy::Provider).then_some(key.provider),
            by(GroupBy::Purpose).then_some(key.purpose),
        );
        *groups.entry(group).or_default() += counts;
        totals += counts;
    }
    let row = |((tenant_id, channel, provider, purpose), counts): (Group, Counts)| UsageRow {
        tenant_id,
        channel,
        provider,
        purpose,
        counts: counts.into(),
    };
    UsageView { month, data: groups.into_iter().map(row).collect(), group_by, totals: totals.into() }
}

fn table(view: &UsageView) -> Vec<u8> {
    let name = |by: &GroupBy| if *by == GroupBy::Tenant { "tenant_id" } else { by.as_str() };
    let header: Vec<&str> =
        ["month"].into_iter().chain(view.group_by.iter().map(name)).chain(UsageCounts::NAMES.iter().copied()).collect();
    let mut csv = Csv::with_header(&header);
    for row in &view.data {
        let mut cells = vec![view.month.clone()];
        cells.extend(row.tenant_id.map(|id| id.to_string()));
        cells.extend(row.channel.map(|channel| channel.to_string()));
        cells.extend(row.provider.clone());
        cells.extend(row.purpose.map(|purpose| purpose.to_string()));
        cells.extend(row.counts.values().iter().map(i64::to_string));
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: u128, channel: Channel, provider: &str) -> Key {
        Key {
            tenant_id: TenantId::from_ulid(tenant),
            month: "2026-11".into(),
            channel,
            provider: provider.into(),
            purpose: Purpose::Transactional,
        }
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
    fn groups_are_known_words() {
        assert_eq!(group_by(Some("purpose,channel,purpose"), false).unwrap(), [GroupBy::Channel, GroupBy::Purpose]);
        assert_eq!(group_by(None, false).unwrap().len(), 3);
        assert_eq!(group_by(None, true).unwrap().len(), 4);
        for bad in ["", "tenant", "channel,", "country"] {
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
        let view = fold("2026-11".into(), vec![GroupBy::Channel], rows);
        let sums: Vec<_> = view.data.iter().map(|row| (row.channel, row.counts.accepted)).collect();
        assert_eq!(sums, [(Some(Channel::Email), 5), (Some(Channel::Sms), 7)]);
        assert_eq!(view.totals.accepted, 12);
        assert_eq!(
            String::from_utf8(table(&view)).unwrap().lines().take(2).collect::<Vec<_>>(),
            [
                "month,channel,accepted,sent,delivered,read,failed,bounced,canceled,expired,suppressed,unknown,segments",
                "2026-11,email,5,0,0,0,0,0,0,0,0,0,0"
            ]
        );
    }
}
