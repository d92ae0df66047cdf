//! Price lists: what the operator asks for a message, and what providers ask of the operator. A list counts from an instant until the next list of its currency does, and never changes.
//!
//! Which row a message falls under is [`super::book`]'s. Lists come as JSON or as a table ([`super::sheet`]).

use std::{collections::BTreeSet, sync::Arc};

use model::{Channel, Purpose, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx,
    prices::{self as rows, PriceHead, PriceList},
    tenants,
};
use utoipa::ToSchema;

use super::book::Price;
pub use super::book::{Category, PriceUnit};
use crate::{
    Error, Parts, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    vault::OPERATOR,
};

/// Rows of a list: every country of the world for each of five channels and four categories, with room for networks.
pub const ROWS_MAX: usize = 10_000;
/// Instants still to come from which another list of a currency counts: two years of weekly prices entered ahead.
const LISTS_AHEAD_MAX: i64 = 104;
/// Lists of each currency that are looked at, those that count from the latest instants: all that are ahead, and as many of those that have begun, for messages accepted under them.
pub(super) const LISTS_READ: i64 = 2 * LISTS_AHEAD_MAX;
/// Highest price of one unit, in millionths: a million of any currency's unit, 40 dollars in that of Vietnam. More is a slip of the keyboard.
const UNIT_MAX: i64 = 1_000_000_000_000;
/// Highest markup, in hundredths of a percent: a hundredfold. More is a slip of the keyboard.
const MARKUP_MAX: i64 = 1_000_000;
/// Longest prefix of a number, in digits: E.164 has fifteen.
pub(super) const PREFIX_MAX: usize = 15;
/// Longest note, in characters.
const NOTE_MAX: usize = 500;
/// Wrong rows that are told of at once: whoever has more has one mistake in all of them.
pub(super) const FAULTS_MAX: usize = 100;

/// A row of a price list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceRow {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// Through which connector; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "twilio")]
    pub provider: Option<String>,
    /// In which country the recipient's number is; any when left out. Instead of `prefix`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "IN")]
    pub country: Option<String>,
    /// What the recipient's number begins with, in digits after the `+`; any recipient when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "91")]
    pub prefix: Option<String>,
    /// Which kind of message: `marketing`, `utility`, `authentication` or `service` for WhatsApp, `mms` for SMS with media; any when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Why; any purpose when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// What is paid for.
    pub unit: PriceUnit,
    /// What one of it costs the tenant whatever the provider takes, in millionths of the list's currency. Needed unless there is a markup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 7500)]
    pub amount_micros: Option<i64>,
    /// What the provider takes for one of it, in millionths of the list's currency. Only the operator sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 6000)]
    pub cost_micros: Option<i64>,
    /// The tenant also pays what the provider takes and this on it, in hundredths of a percent (2500 is 25 %). What the provider reports counts before `cost_micros`, when it is in
    /// the list's currency. Only the operator sees it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = 2500)]
    pub markup_basis_points: Option<i64>,
}

/// What a row is about; no two rows of a list are about the same.
pub type About = (Channel, Option<String>, Option<String>, Option<String>, Option<Category>, Option<Purpose>);

impl PriceRow {
    /// A row for everything of a channel at a fixed price.
    pub const fn new(channel: Channel, unit: PriceUnit, amount_micros: i64) -> Self {
        Self {
            channel,
            provider: None,
            country: None,
            prefix: None,
            category: None,
            purpose: None,
            unit,
            amount_micros: Some(amount_micros),
            cost_micros: None,
            markup_basis_points: None,
        }
    }

    /// What it is about.
    pub fn about(&self) -> About {
        let Self { channel, provider, country, prefix, category, purpose, .. } = self.clone();
        (channel, provider, country, prefix, category, purpose)
    }

    /// The price it names.
    pub fn price(&self, list: i64) -> Price {
        Price {
            list,
            per: self.unit,
            fixed_micros: self.amount_micros.unwrap_or(0),
            cost_micros: self.cost_micros,
            markup: self.markup_basis_points,
        }
    }

    /// The row as a tenant sees it: what it pays, by the list.
    fn for_tenant(self) -> Self {
        let (fixed, markup) = (i128::from(self.amount_micros.unwrap_or(0)), self.markup_basis_points);
        let cost = i128::from(self.cost_micros.unwrap_or(0));
        let marked_up = markup.map_or(0, |markup| (cost * (10_000 + i128::from(markup)) + 9_999).div_euclid(10_000));
        let amount_micros = i64::try_from(fixed + marked_up).ok();
        Self { amount_micros, cost_micros: None, markup_basis_points: None, ..self }
    }
}

/// A price list to be made.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPriceList {
    /// ISO 4217 currency of all its amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// From when it counts; at once when left out. Not in the past.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<Timestamp>,
    /// What people should know about it.
    #[serde(default)]
    pub note: Option<String>,
    /// Its rows.
    pub rows: Vec<PriceRow>,
}

/// A price list.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = PriceList)]
pub struct PriceListView {
    /// Counts up with each list.
    #[schema(example = 1)]
    pub version: i64,
    /// ISO 4217 currency of all its amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// From when it counts.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    /// What people should know about it.
    pub note: String,
    /// Its rows.
    pub rows: Vec<PriceRow>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// A price list without its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PriceListSummary)]
pub struct PriceListSummary {
    /// Counts up with each list.
    #[schema(example = 1)]
    pub version: i64,
    /// ISO 4217 currency of all its amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// From when it counts.
    #[schema(value_type = String, format = DateTime)]
    pub valid_from: Timestamp,
    /// What people should know about it.
    pub note: String,
    /// How many rows it has: `GET /v1/prices/{version}` shows them, `GET /v1/prices/export` hands them out as a table.
    #[schema(example = 212)]
    pub row_count: i64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

fn summary(head: PriceHead) -> PriceListSummary {
    PriceListSummary {
        version: head.version,
        currency: head.currency,
        valid_from: head.valid_from,
        note: head.note,
        row_count: head.row_count,
        created_at: head.created_at,
    }
}

pub(crate) fn view(list: PriceList) -> PriceListView {
    PriceListView {
        version: list.version,
        currency: list.currency,
        valid_from: list.valid_from,
        note: list.note,
        rows: serde_json::from_str(&list.body).unwrap_or_default(),
        created_at: list.created_at,
    }
}

/// A list as this caller may see it.
fn shown(caller: &Caller, list: PriceList) -> PriceListView {
    let list = view(list);
    if caller.is_operator {
        return list;
    }
    PriceListView { rows: list.rows.into_iter().map(PriceRow::for_tenant).collect(), ..list }
}

/// Makes a price list. Needs an operator with the scope `prices:write`.
#[crate::boxed]
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPriceList) -> Result<Reply, Error> {
    caller.need_operator("prices:write")?;
    let now = parts.ports.clock.now();
    let row_count = new.rows.len() as i64;
    let list = check(new, now, "/rows")?;
    let by = Caller { tenant: None, ..caller.clone() };
    let (ids, inner) = (Arc::clone(&parts.ports.ids), by.clone());
    let reply = once(parts, &by, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let config = tenants::bump(tx, None).await?;
            check_room(tx, &list.currency, list.valid_from, now).await?;
            let version = rows::insert(tx, &list, row_count).await?;
            rows::touch_tenants(tx, config).await?;
            let detail = json!({ "version": version, "currency": list.currency, "valid_from": list.valid_from });
            let subject = format!("prices/{version}");
            audit::record(tx, OPERATOR, &ids, now, &inner, "prices.created", subject, &detail).await?;
            Ok(view(PriceList { version, ..list }))
        })
    })
    .await?;
    parts.directory.catch_up().await;
    Ok(reply)
}

/// Lists price lists without their rows, newest first. Needs the scope `prices:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<PriceListSummary>, Error> {
    caller.need("prices:read")?;
    let window = Window::read("prices", limit, cursor)?;
    let before = i64::try_from(window.before).unwrap_or(i64::MAX);
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { rows::list(tx, before, window.rows()).await }));
    let found: Vec<PriceHead> = read.await.map_err(Error::from)?;
    Ok(window.page(found, |list| u128::from(list.version.unsigned_abs()), summary))
}

/// What a tenant's messages cost now and later.
#[derive(Debug)]
pub struct TenantPrices {
    /// In which currency they are charged.
    pub currency: String,
    /// The list that counts now.
    pub current: Option<PriceListView>,
    /// Those that are to count, soonest first.
    pub coming: Vec<PriceListSummary>,
}

/// Shows what a tenant's messages cost: the lists of its ledger's currency. Needs the scope `prices:read`; only an operator sees what providers take.
#[crate::boxed]
pub async fn of_tenant(parts: &Parts, caller: &Caller) -> Result<TenantPrices, Error> {
    caller.need("prices:read")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let currency = super::purchases::currency(parts, tenant).await?;
    let of = currency.clone();
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let current = rows::counting_in(tx, &of, now).await?;
            Ok::<_, Error>((current, rows::coming_in(tx, &of, now, LISTS_AHEAD_MAX).await?))
        })
    });
    let (current, coming) = read.await?;
    let current = current.map(|list| shown(caller, list));
    Ok(TenantPrices { currency, current, coming: coming.into_iter().map(summary).collect() })
}

/// The versions of the lists that count now, one for each currency. Needs the scope `prices:read`.
#[crate::boxed]
pub async fn counting(parts: &Parts, caller: &Caller) -> Result<BTreeSet<i64>, Error> {
    caller.need("prices:read")?;
    let now = parts.ports.clock.now();
    let read = parts.ports.db.read(caller.reach(), move |tx| Box::pin(async move { rows::counting(tx, now).await }));
    let found: Vec<i64> = read.await.map_err(Error::from)?;
    Ok(found.into_iter().collect())
}

/// Shows one price list; the newest when no version is named. Needs the scope `prices:read`; only an operator sees what providers take.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller, version: Option<i64>) -> Result<PriceListView, Error> {
    caller.need("prices:read")?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let version = match version {
                Some(version) => version,
                None => rows::newest(tx).await?,
            };
            rows::find(tx, version).await
        })
    });
    let found: Option<PriceList> = read.await.map_err(Error::from)?;
    found.map(|list| shown(caller, list)).ok_or_else(|| Error::not_found("price list"))
}

/// The rows that count for a currency at an instant, as stored, where there is room for another list from then on.
pub(super) async fn current(
    parts: &Parts,
    currency: &str,
    at: Timestamp,
    now: Timestamp,
) -> Result<Vec<PriceRow>, Error> {
    let of = currency.to_owned();
    let read = parts.ports.db.read(store::Scope::System, move |tx| {
        Box::pin(async move {
            check_room(tx, &of, at, now).await?;
            Ok::<_, Error>(rows::counting_in(tx, &of, at).await?)
        })
    });
    Ok(read.await?.map(|list| view(list).rows).unwrap_or_default())
}

/// Refuses a list for later when too many are waiting already: those would keep the list of today from being read.
pub(super) async fn check_room(
    tx: &mut Tx,
    currency: &str,
    valid_from: Timestamp,
    now: Timestamp,
) -> Result<(), Error> {
    if valid_from <= now || rows::ahead(tx, currency, now, valid_from).await? < LISTS_AHEAD_MAX {
        return Ok(());
    }
    let detail = format!(
        "{LISTS_AHEAD_MAX} lists in {currency} are waiting already; take the `valid_from` of one of them to replace it, or wait until the next one counts"
    );
    Err(Error::invalid("/valid_from", detail))
}

/// Checks what a list says besides its rows. Answers its currency, from when it counts, and its note.
pub(super) fn check_head(
    currency: &str,
    valid_from: Option<Timestamp>,
    note: Option<&str>,
    now: Timestamp,
    faults: &mut Faults,
) -> (String, Timestamp, String) {
    let currency = faults.currency("/currency", currency);
    let valid_from = valid_from.unwrap_or(now);
    if valid_from < now {
        faults.add("/valid_from", "prices cannot change in the past; leave it out for now, or give a later time");
    }
    let note = note.unwrap_or_default();
    if note.chars().count() > NOTE_MAX || note.contains('\0') {
        faults.add("/note", format!("at most {NOTE_MAX} characters, and no NUL"));
    }
    (currency, valid_from, note.to_owned())
}

/// Checks a list; what is wrong with its rows points below `rows`.
pub(super) fn check(new: NewPriceList, now: Timestamp, rows: &str) -> Result<PriceList, Error> {
    let mut faults = Faults::default();
    let (currency, valid_from, note) = check_head(&new.currency, new.valid_from, new.note.as_deref(), now, &mut faults);
    if new.rows.is_empty() || new.rows.len() > ROWS_MAX {
        faults.add(rows, format!("1 to {ROWS_MAX} rows"));
    }
    check_rows(&new.rows, |index| format!("{rows}/{index}"), &mut faults);
    faults.end()?;
    let body = serde_json::to_string(&new.rows).map_err(Error::internal)?;
    Ok(PriceList { version: 0, currency, valid_from, note, body, created_at: now })
}

/// Notes what is wrong with rows, each by itself and beside the ones before; `at` says where a row stands.
pub(super) fn check_rows(list: &[PriceRow], at: impl Fn(usize) -> String, faults: &mut Faults) {
    let mut seen = std::collections::HashSet::new();
    for (index, row) in list.iter().enumerate().take(ROWS_MAX) {
        if faults.0.len() >= FAULTS_MAX {
            return;
        }
        let pointer = at(index);
        check_row(row, &pointer, faults);
        if !seen.insert(row.about()) {
            faults.add(pointer, "an earlier row is about the same messages; leave one of them out");
        }
    }
}

fn check_row(row: &PriceRow, pointer: &str, faults: &mut Faults) {
    for (name, micros) in [("amount_micros", row.amount_micros), ("cost_micros", row.cost_micros)] {
        if micros.is_some_and(|micros| !(0..=UNIT_MAX).contains(&micros)) {
            faults.add(format!("{pointer}/{name}"), format!("0 to {UNIT_MAX} millionths of the currency's unit"));
        }
    }
    match row.markup_basis_points {
        Some(markup) if !(0..=MARKUP_MAX).contains(&markup) => {
            faults.add(
                format!("{pointer}/markup_basis_points"),
                format!("0 to {MARKUP_MAX} hundredths of a percent; 2500 is 25 %"),
            );
        }
        Some(_) if row.cost_micros.is_none() => faults.add(
            format!("{pointer}/cost_micros"),
            "a markup needs to know what the provider takes, for as long as it has not reported it",
        ),
        None if row.amount_micros.is_none() => faults.add(
            format!("{pointer}/amount_micros"),
            "what the tenant pays: give `amount_micros`, `markup_basis_points` or both",
        ),
        _ => {}
    }
    // No country's code begins with 0: that is how numbers are dialled, not how they begin.
    let is_prefix = |text: &String| {
        (1..=PREFIX_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0')
    };
    if row.prefix.as_ref().is_some_and(|prefix| !is_prefix(prefix)) {
        faults.add(
            format!("{pointer}/prefix"),
            "the first digits of a number, from the country's code on, without the +, zeros before it and spaces, such as 91",
        );
    }
    if let Some(country) = &row.country {
        faults.country(&format!("{pointer}/country"), country);
    }
    let has_numbers = matches!(row.channel, Channel::Sms | Channel::Whatsapp | Channel::Voice);
    for (name, is_given) in [("prefix", row.prefix.is_some()), ("country", row.country.is_some())] {
        if is_given && !has_numbers {
            faults.add(format!("{pointer}/{name}"), format!("{} has no numbers; leave `{name}` out", row.channel));
        }
    }
    if row.prefix.is_some() && row.country.is_some() {
        faults.add(format!("{pointer}/country"), "give either `country` or `prefix`; the longer prefix wins anyway");
    }
    if let Some(category) = row.category.filter(|category| category.channel() != row.channel) {
        faults.add(
            format!("{pointer}/category"),
            format!("`{}` is a kind of {}; leave `category` out", category.as_str(), category.channel()),
        );
    }
    match (row.unit, row.channel) {
        (PriceUnit::Segment, Channel::Sms) | (PriceUnit::Minute, Channel::Voice) => {}
        (PriceUnit::Message | PriceUnit::Thousand, _) => {}
        (PriceUnit::Segment, channel) => faults.add(
            format!("{pointer}/unit"),
            format!("{channel} has no segments; use `message`, `thousand` or, for calls, `minute`"),
        ),
        (PriceUnit::Minute, channel) => {
            faults.add(format!("{pointer}/unit"), format!("{channel} has no minutes; use `message` or `thousand`"));
        }
    }
    if row.channel == Channel::Webhook {
        faults.add(format!("{pointer}/channel"), "events to endpoints cost nothing; leave the row out");
    }
    if row.provider.as_deref().is_some_and(|id| connectors::registry::find(id).is_none()) {
        faults.add(format!("{pointer}/provider"), "there is no such connector; GET /v1/connectors lists them");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prefix: Option<&str>, provider: Option<&str>, amount: i64) -> PriceRow {
        let row = PriceRow::new(Channel::Sms, PriceUnit::Segment, amount);
        PriceRow { provider: provider.map(str::to_owned), prefix: prefix.map(str::to_owned), ..row }
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        let now = Timestamp::from_seconds(1_000);
        let check = |rows: Vec<PriceRow>, valid_from: i64, expected: &[&str]| {
            let valid_from = Some(Timestamp::from_seconds(valid_from));
            let new = NewPriceList { currency: "USD".to_owned(), valid_from, note: None, rows };
            let refused = super::check(new, now, "/rows").err();
            let pointers: Vec<String> =
                refused.map(|error| error.errors.into_iter().map(|field| field.pointer).collect()).unwrap_or_default();
            assert_eq!(pointers, expected);
        };
        check(vec![row(None, None, 7)], 1_000, &[]);
        check(Vec::new(), 999, &["/valid_from", "/rows"]);
        check(
            vec![row(Some("+91"), Some("carrier-pigeon"), -1)],
            1_000,
            &["/rows/0/amount_micros", "/rows/0/prefix", "/rows/0/provider"],
        );
        check(vec![row(Some("91"), None, 1), row(Some("91"), None, 2)], 1_000, &["/rows/1"]);
        check(vec![row(Some("0044"), None, 1), row(Some("0"), None, 1)], 1_000, &["/rows/0/prefix", "/rows/1/prefix"]);
        let mail = PriceRow { channel: Channel::Email, unit: PriceUnit::Thousand, ..row(Some("91"), None, 1) };
        check(vec![mail], 1_000, &["/rows/0/prefix"]);
        let marked = PriceRow { amount_micros: None, markup_basis_points: Some(-1), ..row(None, None, 1) };
        check(vec![marked.clone()], 1_000, &["/rows/0/markup_basis_points"]);
        check(vec![PriceRow { markup_basis_points: Some(1), ..marked.clone() }], 1_000, &["/rows/0/cost_micros"]);
        check(vec![PriceRow { markup_basis_points: Some(1), cost_micros: Some(5), ..marked.clone() }], 1_000, &[]);
        check(vec![PriceRow { markup_basis_points: None, ..marked }], 1_000, &["/rows/0/amount_micros"]);
        let placed = PriceRow { country: Some("UK".to_owned()), ..row(Some("44"), None, 1) };
        check(vec![placed], 1_000, &["/rows/0/country", "/rows/0/country"]);
        let kind = PriceRow { category: Some(Category::Service), unit: PriceUnit::Minute, ..row(None, None, 1) };
        check(vec![kind], 1_000, &["/rows/0/category", "/rows/0/unit"]);
    }

    #[test]
    fn a_tenant_sees_what_it_pays_and_not_what_the_provider_takes() {
        let row = PriceRow { cost_micros: Some(6_001), markup_basis_points: Some(2_500), ..row(None, None, 3) };
        let seen = PriceRow { amount_micros: Some(7_505), cost_micros: None, markup_basis_points: None, ..row.clone() };
        assert_eq!(row.for_tenant(), seen);
    }
}
