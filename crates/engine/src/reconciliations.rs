//! Holding our records against a provider's: what both have, what one of them lacks, and prices that differ, with how accurate ours are.
//!
//! What the provider has comes from its own list of messages where its API has one (with what it took for each), from its statistics by day where it only counts, or from a table somebody
//! exported there. It is laid down row by row; then our messages of that time are looked for in it, and its rows among ours ([`work`]). What is the same on both sides is removed again, so what
//! is left are the differences. A message at the edge of the time, which one clock puts on this side and the other on that, is no difference: the provider is asked about a day more on
//! both sides, and about what is missing once more by its id. Neither is one that another account here sent through the same account at the provider: what is missing here is looked for among
//! the messages of all tenants, and of those that are gone ([`removed`]), and only counted.

mod compare;
mod days;
pub mod removed;
pub(crate) mod table;
pub mod work;

use std::sync::Arc;

use connectors::registry;
use model::{AccountId, Channel, MessageId, Money, ReconciliationId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope,
    reconciliations::{self as rows, Reconciliation, Record},
};
use utoipa::ToSchema;

use crate::{
    Error, Parts, audit,
    csv::Csv,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    provider,
};

/// Longest time that is compared at once, in seconds: two months, so that a month fits on any clock.
const PERIOD_MAX_S: i64 = 62 * 86_400;
/// Reconciliations of a tenant at work at once.
const RUNNING_MAX: usize = 5;
/// Reconciliations of a tenant that are kept: one a day for half a year.
const KEPT: i64 = 200;
/// Differences handed out as a table.
const TABLE_MAX: i64 = 50_000;
/// How accurate our records must be, in millionths: 99.9 percent.
const BAR_PPM: i64 = 999_000;

/// A comparison to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReconciliation {
    /// Of which account.
    #[schema(value_type = String, example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub account_id: AccountId,
    /// Messages sent from then on.
    #[schema(value_type = String, format = DateTime, example = "2026-11-01T00:00:00Z")]
    pub starts_at: Timestamp,
    /// Until then, at most 62 days later and not in the future.
    #[schema(value_type = String, format = DateTime, example = "2026-12-01T00:00:00Z")]
    pub ends_at: Timestamp,
    /// The provider's messages as a table, instead of asking the provider: a column with its ids (`id`, `sid`, `message_id` …), and where it has them `date`, `price`, `currency`,
    /// `segments` and `direction`; separated by commas, semicolons or tabs. Dates without a zone are in UTC; rows of received messages are passed over.
    #[serde(default)]
    #[schema(example = "sid,date_sent,price,currency\nSM1,2026-11-21T09:30:00Z,-0.0075,USD\n")]
    pub csv: Option<String>,
    /// The channel the table's messages went over, when it holds those of one alone: a table of calls, `voice`. Left out: a table of messages over every channel but calls, which providers
    /// export apart.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "voice")]
    pub channel: Option<Channel>,
}

/// A comparison.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub struct ReconciliationView {
    /// Which one.
    #[schema(value_type = String, example = "rec_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ReconciliationId,
    /// Of which account.
    #[schema(value_type = String, example = "acc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub account_id: AccountId,
    /// Where the provider's records come from: `messages` (one by one), `statistics` (counts by day), or `csv`.
    #[schema(example = "messages")]
    pub source: String,
    /// The one channel that was compared, when a table was of one alone.
    #[schema(value_type = Option<String>, example = "voice")]
    pub channel: Option<Channel>,
    /// `running`, `done` or `failed`.
    #[schema(example = "done")]
    pub state: String,
    /// From when.
    #[schema(value_type = String, format = DateTime)]
    pub starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    pub ends_at: Timestamp,
    /// Messages of ours.
    pub ours: i64,
    /// Messages of the provider, without those another account here sent.
    pub theirs: i64,
    /// Messages both have.
    pub matched: i64,
    /// Messages only the provider has.
    pub missing_here: i64,
    /// Messages only we have.
    pub missing_there: i64,
    /// Messages of the provider that another account here sent, of this tenant or another, through the same account at the provider: they count on neither side. Those of a tenant that is gone are
    /// known for 93 days after they were sent.
    pub elsewhere: i64,
    /// Messages of ours its list lacks and the provider could not be asked about one by one, because there were more than 10,000 of them: nothing is known of these, and how accurate the records are
    /// is not said then.
    pub not_asked: i64,
    /// Messages both have, at different prices.
    pub price_differences: i64,
    /// Messages both have, in different numbers of segments, or of minutes where they are calls.
    pub segment_differences: i64,
    /// Whether prices and segments as the provider has them count from then on: those of its own list, and of a table the operator sends. A table a tenant sends is only compared.
    pub is_binding: bool,
    /// Messages both have, of all there are, in millionths: 999000 is 99.9 percent. `null` until it is done, and where messages were not asked about.
    #[schema(example = 1_000_000)]
    pub accuracy_ppm: Option<i64>,
    /// True when that is 99.9 percent or more.
    pub is_accurate: Option<bool>,
    /// What the provider took for messages whose price both know, as we had it before. Of a tenant that is charged by a price list only the operator sees it, as the list may say what the provider
    /// takes.
    #[schema(value_type = Option<Object>)]
    pub cost_ours: Option<Money>,
    /// The same as the provider says.
    #[schema(value_type = Option<Object>)]
    pub cost_theirs: Option<Money>,
    /// Why it came to nothing.
    pub failure: Option<String>,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last went on.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Something that differs.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReconciliationDifference {
    /// `missing_here` (only the provider has it), `missing_there` (only we have it), `price`, `segments` (at the same price, or without one), or `count` (messages of a day, where the provider only
    /// counts).
    #[schema(example = "price")]
    pub kind: String,
    /// The provider's id of the message, or the day.
    #[schema(example = "SM00000000000000000000000000000001")]
    pub record: String,
    /// Our message.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// When it was sent.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// What we have: millionths, segments, or messages. Millionths only for the operator, as `cost_ours`.
    pub ours: Option<i64>,
    /// What the provider has.
    pub theirs: Option<i64>,
    /// In which currency, where these are amounts.
    pub currency: Option<String>,
    /// The message's segments as we had them, or minutes.
    pub segments_ours: Option<i64>,
    /// The same as the provider says.
    pub segments_theirs: Option<i64>,
}

fn view(r: Reconciliation) -> ReconciliationView {
    let accuracy_ppm =
        (r.state == "done" && r.not_asked == 0).then(|| accuracy(r.matched, r.missing_here + r.missing_there));
    let money = |amount_micros| r.currency.clone().map(|currency| Money { amount_micros, currency });
    ReconciliationView {
        accuracy_ppm,
        is_accurate: accuracy_ppm.map(|ppm| ppm >= BAR_PPM),
        cost_ours: money(r.cost_ours),
        cost_theirs: money(r.cost_theirs),
        id: r.id,
        account_id: r.account_id,
        source: r.source,
        channel: r.channel,
        state: r.state,
        starts_at: r.starts_at,
        ends_at: r.ends_at,
        ours: r.ours,
        theirs: r.theirs,
        matched: r.matched,
        missing_here: r.missing_here,
        missing_there: r.missing_there,
        elsewhere: r.elsewhere,
        not_asked: r.not_asked,
        is_binding: r.is_binding,
        price_differences: r.price_differences,
        segment_differences: r.segment_differences,
        failure: r.failure,
        created_at: r.created_at,
        updated_at: r.updated_at,
    }
}

/// What both have of all there is, in millionths, rounded down: never better than it is.
fn accuracy(matched: i64, missing: i64) -> i64 {
    let all = i128::from(matched) + i128::from(missing);
    if all == 0 { 1_000_000 } else { i64::try_from(i128::from(matched) * 1_000_000 / all).unwrap_or(0) }
}

fn difference(r: Record, hides_cost: bool) -> ReconciliationDifference {
    let ours = r.ours.filter(|_| !hides_cost || r.currency.is_none());
    ReconciliationDifference {
        kind: r.kind,
        record: r.record,
        message_id: r.message_id,
        at: r.at,
        ours,
        theirs: r.theirs,
        currency: r.currency,
        segments_ours: r.segments_ours,
        segments_theirs: r.segments_theirs,
    }
}

/// Begins to hold an account's messages against its provider's records. Needs the scope `usage:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewReconciliation) -> Result<Reply, Error> {
    caller.need("usage:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let mut faults = Faults::default();
    let seconds = new.ends_at.millis_since(new.starts_at) / 1_000;
    if !(1..=PERIOD_MAX_S).contains(&seconds) {
        faults.add("/ends_at", format!("after `starts_at`, at most {} days", PERIOD_MAX_S / 86_400));
    }
    if new.ends_at > now {
        faults.add("/ends_at", "not in the future: what is yet to be sent cannot be compared");
    }
    if new.channel.is_some() && new.csv.is_none() {
        faults.add("/channel", "belongs to a table: leave it out, or send `csv`");
    }
    if new.channel == Some(Channel::Webhook) {
        faults.add("/channel", "events to endpoints leave through no provider");
    }
    faults.end()?;
    // A table may be of an account that was deleted since: its provider bills what it sent all the same.
    let there = account_ever(parts, tenant, new.account_id).await?;
    let (source, records) = match &new.csv {
        Some(csv) => {
            let connector = registry::find(&there.connector).ok_or_else(unknown_account)?;
            ("csv", table::read(csv, &table::Asked { connector, starts_at: new.starts_at, ends_at: new.ends_at })?)
        }
        None if there.deleted_at.is_some() => {
            let detail = "the account was deleted: export its messages at the provider, and send them as `csv`";
            return Err(Error::invalid("/account_id", detail));
        }
        None => (asked_source(parts, tenant, &new).await?, Vec::new()),
    };
    // Providers count whole days of UTC, so ours are counted for the same ones.
    let (starts_at, ends_at) = match source {
        "statistics" => (days::midnight(new.starts_at), days::midnight(new.ends_at.plus_seconds(DAY_S - 1))),
        _ => (new.starts_at, new.ends_at),
    };
    let row = Reconciliation {
        tenant_id: tenant,
        id: ReconciliationId::from_ulid(parts.ports.ids.ulid(now)),
        account_id: new.account_id,
        source: source.to_owned(),
        channel: new.channel,
        state: "running".to_owned(),
        starts_at,
        ends_at,
        stage: if source == "csv" { "ours" } else { "fetch" }.to_owned(),
        place: String::new(),
        ours: 0,
        theirs: 0,
        matched: 0,
        missing_here: 0,
        missing_there: 0,
        price_differences: 0,
        segment_differences: 0,
        elsewhere: 0,
        looked_up: 0,
        not_asked: 0,
        // A table is what its sender says: only the operator's moves money.
        is_binding: source == "messages" || (source == "csv" && caller.is_operator),
        cost_ours: 0,
        cost_theirs: 0,
        currency: None,
        failure: None,
        tries: 0,
        actor: caller.actor(),
        created_at: now,
        updated_at: now,
        next_at: Some(now),
    };
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let newest = rows::list(tx, tenant, ReconciliationId::from_ulid(u128::MAX), KEPT).await?;
            if newest.iter().filter(|row| row.state == "running").count() >= RUNNING_MAX {
                let detail = format!("{RUNNING_MAX} reconciliations are at work already; wait until one is done.");
                return Err(Error::conflict("too_many_reconciliations", detail));
            }
            rows::put(tx, tenant, &row).await?;
            rows::put_records(tx, tenant, row.id, &records).await?;
            rows::remove_oldest(tx, tenant, KEPT).await?;
            let detail = json!({ "account_id": row.account_id, "starts_at": row.starts_at, "ends_at": row.ends_at, "source": row.source, "channel": row.channel });
            audit::record(tx, tenant, &ids, now, &by, "reconciliation.started", row.id, &detail).await?;
            Ok(view(row))
        })
    })
    .await
}

fn unknown_account() -> Error {
    Error::invalid("/account_id", "there is no such account")
}

/// One of the tenant's accounts, also once it was deleted.
async fn account_ever(parts: &Parts, tenant: TenantId, id: AccountId) -> Result<store::accounts::Account, Error> {
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(store::accounts::find_ever(tx, tenant, id).await?) })
    });
    read.await?.filter(|account| account.connector != "webhook").ok_or_else(unknown_account)
}

/// Which records the account's provider shows by itself.
async fn asked_source(parts: &Parts, tenant: TenantId, new: &NewReconciliation) -> Result<&'static str, Error> {
    let account = provider::named_account(parts, tenant, new.account_id).await?;
    if account.connector.records().is_some() {
        return Ok("messages");
    }
    let name = account.connector.spec().name;
    if !days::counts(parts, &account, new.starts_at, new.ends_at) {
        let detail =
            format!("{name} shows neither its messages nor counts by day: export them there, and send them as `csv`");
        return Err(Error::invalid("/csv", detail));
    }
    match days::forgotten(&account, new.starts_at, parts.ports.clock.now()) {
        Some(detail) => Err(Error::invalid("/starts_at", detail)),
        None => Ok("statistics"),
    }
}

const DAY_S: i64 = 86_400;

/// Whether this caller may not see what providers take, as our price lists say it: that is between them and the operator.
async fn hides_cost(parts: &Parts, caller: &Caller, tenant: TenantId) -> Result<bool, Error> {
    if caller.is_operator {
        return Ok(false);
    }
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(store::credits::find(tx, tenant).await?) })
    });
    Ok(read.await?.is_some_and(|ledger| ledger.entries > 0 || ledger.mode != "none"))
}

/// A reconciliation as a caller may see it.
fn shown(r: Reconciliation, hides_cost: bool) -> ReconciliationView {
    let view = view(r);
    if hides_cost { ReconciliationView { cost_ours: None, ..view } } else { view }
}

/// Lists reconciliations, newest first. Needs the scope `usage:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ReconciliationView>, Error> {
    caller.need("usage:read")?;
    let (tenant, window) = (caller.need_tenant()?, Window::read("reconciliations", limit, cursor)?);
    let (before, limit) = (ReconciliationId::from_ulid(window.before), window.rows());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::list(tx, tenant, before, limit).await?) })
    });
    let hides_cost = hides_cost(parts, caller, tenant).await?;
    Ok(window.page(read.await?, |row: &Reconciliation| row.id.ulid(), |row| shown(row, hides_cost)))
}

/// Shows a reconciliation. Needs the scope `usage:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, id: ReconciliationId) -> Result<ReconciliationView, Error> {
    caller.need("usage:read")?;
    let row = find(parts, caller, id).await?;
    let hides_cost = hides_cost(parts, caller, row.tenant_id).await?;
    Ok(shown(row, hides_cost))
}

async fn find(parts: &Parts, caller: &Caller, id: ReconciliationId) -> Result<Reconciliation, Error> {
    let tenant = caller.need_tenant()?;
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::find(tx, tenant, id).await?) })
    });
    read.await?.ok_or_else(|| Error::not_found("reconciliation"))
}

/// What a reconciliation found to differ, as far as it is: in the order of the provider's ids, or of the days. Needs the scope `usage:read`.
#[crate::boxed]
pub async fn differences(
    parts: &Parts,
    caller: &Caller,
    id: ReconciliationId,
) -> Result<Vec<ReconciliationDifference>, Error> {
    caller.need("usage:read")?;
    let tenant = find(parts, caller, id).await?.tenant_id;
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::records(tx, tenant, id, None, "", TABLE_MAX).await?) })
    });
    let hides_cost = hides_cost(parts, caller, tenant).await?;
    Ok(read.await?.into_iter().map(|record| difference(record, hides_cost)).collect())
}

/// A kind of difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Only the provider has the message.
    MissingHere,
    /// Only we have it.
    MissingThere,
    /// Both have it, at different prices.
    Price,
    /// Both have it, in different numbers of segments; its price may differ, too.
    Segments,
    /// The messages of a day, where the provider only counts.
    Count,
}

impl Difference {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingHere => "missing_here",
            Self::MissingThere => "missing_there",
            Self::Price => "price",
            Self::Segments => "segments",
            Self::Count => "count",
        }
    }
}

/// The same a part at a time, for a page: of one kind or of all, those after the record `after`. Needs the scope `usage:read`.
#[crate::boxed]
pub async fn differences_after(
    parts: &Parts,
    caller: &Caller,
    id: ReconciliationId,
    kind: Option<Difference>,
    after: &str,
    limit: i64,
) -> Result<Vec<ReconciliationDifference>, Error> {
    caller.need("usage:read")?;
    let tenant = find(parts, caller, id).await?.tenant_id;
    let (after, limit) = (after.to_owned(), limit.clamp(1, TABLE_MAX));
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let kind = kind.map(Difference::as_str);
            Ok::<_, Error>(rows::records(tx, tenant, id, kind, &after, limit).await?)
        })
    });
    let hides_cost = hides_cost(parts, caller, tenant).await?;
    Ok(read.await?.into_iter().map(|record| difference(record, hides_cost)).collect())
}

/// The same as a CSV table. That somebody took it is in the audit log. Needs the scope `usage:read`.
#[crate::boxed]
pub async fn differences_csv(parts: &Parts, caller: &Caller, id: ReconciliationId) -> Result<Vec<u8>, Error> {
    let header =
        ["kind", "record", "message_id", "at", "ours", "theirs", "currency", "segments_ours", "segments_theirs"];
    let mut csv = Csv::with_header(&header);
    let found = differences(parts, caller, id).await?;
    audit::note_export(parts, caller, "reconciliation.exported", id, found.len(), &json!({})).await?;
    for d in found {
        let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
        let cells = [
            d.kind,
            d.record,
            d.message_id.map(|id| id.to_string()).unwrap_or_default(),
            d.at.map(|at| at.to_string()).unwrap_or_default(),
            number(d.ours),
            number(d.theirs),
            d.currency.unwrap_or_default(),
            number(d.segments_ours),
            number(d.segments_theirs),
        ];
        csv.row(cells.iter().map(String::as_str));
    }
    Ok(csv.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_is_never_better_than_it_is() {
        assert_eq!(accuracy(0, 0), 1_000_000);
        assert_eq!(accuracy(999, 1), 999_000);
        assert_eq!(accuracy(9_989, 11), 998_900);
        assert_eq!(accuracy(2, 1), 666_666);
        assert_eq!(accuracy(i64::MAX, 0), 1_000_000);
    }
}
