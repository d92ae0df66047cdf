//! What the provider counted and whom it no longer writes to, beside our own counts. Asked now, kept nowhere: the provider's page is the truth about the provider.

use connectors::manage::{Day, Period, Suppression};
use model::{AccountId, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{Error, Parts, keys::Caller, provider};

/// Days of the provider's statistics: a week shows a trend and fits every provider's page.
const DAYS: i64 = 7;

/// One day as the provider counted it. What it does not count is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderDay {
    /// The day in UTC.
    #[schema(example = "2026-11-21")]
    pub day: String,
    /// Taken for sending.
    pub sent: Option<i64>,
    /// Arrived.
    pub delivered: Option<i64>,
    /// Came back.
    pub bounced: Option<i64>,
    /// Reported as unwanted.
    pub complained: Option<i64>,
    /// Opened.
    pub opened: Option<i64>,
    /// Links followed.
    pub clicked: Option<i64>,
}

/// What the provider counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderStats {
    /// The last seven days, as far as the provider shows them.
    pub days: Vec<ProviderDay>,
    /// Why there are none: the provider refused, or gave no answer.
    pub trouble: Option<String>,
}

/// One address the provider no longer writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderSuppression {
    /// Whose.
    #[schema(example = "ada@example.com")]
    pub address: String,
    /// Why, in the provider's words.
    pub reason: Option<String>,
    /// Since when, as the provider writes it.
    pub at: Option<String>,
}

/// One page of a provider's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProviderSuppressions {
    /// False where this provider shows no such list.
    pub offered: bool,
    /// The page.
    pub data: Vec<ProviderSuppression>,
    /// `cursor` of the next page; in the provider's own form.
    pub next_cursor: Option<String>,
}

/// Asks the provider for its statistics; `None` where it has none to show.
pub(super) async fn of(parts: &Parts, account: &crate::directory::Account, now: Timestamp) -> Option<ProviderStats> {
    let figures = account.connector.figures()?;
    let period = Period { from: day(now.plus_seconds(-(DAYS - 1) * 86_400)), to: day(now) };
    // Whether it has any is only said by asking.
    let cx = offers(parts, account, |cx| figures.statistics(cx, &period, &[]).is_some());
    if !cx {
        return None;
    }
    let driven = provider::drive(parts, account, |cx, answers| {
        figures.statistics(cx, &period, answers).unwrap_or_else(|| Ok(connectors::manage::Next::Done(Vec::new())))
    });
    Some(match driven.await {
        Ok(days) => ProviderStats { days: days.into_iter().map(shown).collect(), trouble: None },
        Err(failure) => ProviderStats { days: Vec::new(), trouble: Some(failure.detail) },
    })
}

/// Reads one page of the provider's list `bounces`, `complaints` or `unsubscribes`. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn suppressions(
    parts: &Parts,
    caller: &Caller,
    id: AccountId,
    list: Option<&str>,
    cursor: Option<&str>,
) -> Result<ProviderSuppressions, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let list = match list {
        None | Some("bounces") => Suppression::Bounces,
        Some("complaints") => Suppression::Complaints,
        Some("unsubscribes") => Suppression::Unsubscribes,
        Some(_) => return Err(Error::invalid("/list", "must be bounces, complaints or unsubscribes")),
    };
    // It becomes part of a request to the provider.
    if cursor.is_some_and(|cursor| cursor.len() > 2_000 || !cursor.bytes().all(|b| b.is_ascii_graphic())) {
        return Err(Error::invalid("/cursor", "is not one this list gave out"));
    }
    let account = provider::account(parts, tenant, id).await?;
    let none = ProviderSuppressions { offered: false, data: Vec::new(), next_cursor: None };
    let Some(figures) = account.connector.figures() else { return Ok(none) };
    if !offers(parts, &account, |cx| figures.suppressed(cx, list, cursor, &[]).is_some()) {
        return Ok(none);
    }
    let driven = provider::drive(parts, &account, |cx, answers| {
        figures
            .suppressed(cx, list, cursor, answers)
            .unwrap_or_else(|| Ok(connectors::manage::Next::Done(connectors::manage::SuppressedPage::default())))
    });
    let page = driven.await.map_err(provider::refusal)?;
    let entry = |entry: connectors::manage::Suppressed| ProviderSuppression {
        address: entry.address,
        reason: entry.reason,
        at: entry.at,
    };
    Ok(ProviderSuppressions {
        offered: true,
        data: page.entries.into_iter().map(entry).collect(),
        next_cursor: page.next,
    })
}

/// Whether a plan exists at all, without making its first request.
fn offers(
    parts: &Parts,
    account: &crate::directory::Account,
    is_offered: impl Fn(&connectors::Cx<'_>) -> bool,
) -> bool {
    is_offered(&account.cx(parts.ports.clock.now()))
}

/// The day of an instant in UTC, as `2026-11-21`.
pub(crate) fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn shown(day: Day) -> ProviderDay {
    ProviderDay {
        day: day.day.chars().take(10).collect(),
        sent: day.sent,
        delivered: day.delivered,
        bounced: day.bounced,
        complained: day.complained,
        opened: day.opened,
        clicked: day.clicked,
    }
}
