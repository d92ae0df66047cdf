//! Price lists: what the operator asks for a message. A list counts from an instant until the next list of its currency does, and never changes.
//!
//! Within a list the most particular row wins: the longest prefix of the recipient's number, then one that names the provider, then one that names the purpose.

use std::sync::Arc;

use model::{Channel, Purpose, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Tx,
    prices::{self as rows, PriceList},
    tenants,
};
use utoipa::ToSchema;

use crate::{
    Error, Parts, audit,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    vault::OPERATOR,
};

/// Rows of a list: every country of the world for each of five channels, with room for networks.
const ROWS_MAX: usize = 2_000;
/// Lists of each currency that are looked at: the newest. Two years of weekly prices fit.
const LISTS_READ: i64 = 104;
/// Highest price of one unit, in millionths: a thousand of any currency's unit. More is a slip of the keyboard.
const UNIT_MAX: i64 = 1_000_000_000;
/// Longest prefix of a number, in digits: E.164 has fifteen.
const PREFIX_MAX: usize = 15;
/// Longest note, in characters.
const NOTE_MAX: usize = 500;

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// Each message.
    Message,
    /// Each part of a message, as the provider reports them or else as we count them.
    Segment,
}

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
    /// What the recipient's number begins with, in digits after the `+`; any recipient when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "91")]
    pub prefix: Option<String>,
    /// Why; any purpose when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// What is paid for.
    pub unit: PriceUnit,
    /// What one of it costs the tenant, in millionths of the list's currency.
    #[schema(example = 7500)]
    pub amount_micros: i64,
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

fn view(list: PriceList) -> PriceListView {
    PriceListView {
        version: list.version,
        currency: list.currency,
        valid_from: list.valid_from,
        note: list.note,
        rows: serde_json::from_str(&list.body).unwrap_or_default(),
        created_at: list.created_at,
    }
}

/// Makes a price list. Needs an operator with the scope `prices:write`.
pub async fn create(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewPriceList) -> Result<Reply, Error> {
    caller.need_operator("prices:write")?;
    let now = parts.ports.clock.now();
    let list = check(new, now)?;
    let by = Caller { tenant: None, ..caller.clone() };
    let (ids, inner) = (Arc::clone(&parts.ports.ids), by.clone());
    let reply = once(parts, &by, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let config = tenants::bump(tx, None).await?;
            let version = rows::insert(tx, &list).await?;
            rows::touch_payers(tx, config).await?;
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

/// Lists price lists, newest first. Needs the scope `prices:read`.
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<PriceListView>, Error> {
    caller.need("prices:read")?;
    let window = Window::read("prices", limit, cursor)?;
    let before = i64::try_from(window.before).unwrap_or(i64::MAX);
    let read = parts
        .ports
        .db
        .read(caller.reach(), move |tx| Box::pin(async move { rows::list(tx, before, window.rows()).await }));
    let found: Vec<PriceList> = read.await.map_err(Error::from)?;
    Ok(window.page(found, |list| u128::from(list.version.unsigned_abs()), view))
}

fn check(new: NewPriceList, now: Timestamp) -> Result<PriceList, Error> {
    let mut faults = Faults::default();
    let currency = faults.currency("/currency", &new.currency);
    let valid_from = new.valid_from.unwrap_or(now);
    if valid_from < now {
        faults.add("/valid_from", "prices cannot change in the past; leave it out for now, or give a later time");
    }
    let note = new.note.unwrap_or_default();
    if note.chars().count() > NOTE_MAX {
        faults.add("/note", format!("at most {NOTE_MAX} characters"));
    }
    if new.rows.is_empty() || new.rows.len() > ROWS_MAX {
        faults.add("/rows", format!("1 to {ROWS_MAX} rows"));
    }
    for (index, row) in new.rows.iter().enumerate().take(ROWS_MAX) {
        check_row(row, &new.rows[..index], &format!("/rows/{index}"), &mut faults);
    }
    faults.end()?;
    let body = serde_json::to_string(&new.rows).map_err(Error::internal)?;
    Ok(PriceList { version: 0, currency, valid_from, note, body, created_at: now })
}

fn check_row(row: &PriceRow, before: &[PriceRow], pointer: &str, faults: &mut Faults) {
    if !(0..=UNIT_MAX).contains(&row.amount_micros) {
        faults.add(format!("{pointer}/amount_micros"), format!("0 to {UNIT_MAX} millionths of the currency's unit"));
    }
    let is_prefix = |text: &String| (1..=PREFIX_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if row.prefix.as_ref().is_some_and(|prefix| !is_prefix(prefix)) {
        faults.add(
            format!("{pointer}/prefix"),
            "the first digits of a number, without the + and without spaces, such as 91",
        );
    }
    if row.prefix.is_some() && !matches!(row.channel, Channel::Sms | Channel::Whatsapp | Channel::Voice) {
        faults.add(format!("{pointer}/prefix"), format!("{} has no numbers; leave `prefix` out", row.channel));
    }
    if row.provider.as_deref().is_some_and(|id| connectors::registry::find(id).is_none()) {
        faults.add(format!("{pointer}/provider"), "there is no such connector; GET /v1/connectors lists them");
    }
    let is_same = |other: &PriceRow| {
        (other.channel, &other.provider, &other.prefix, other.purpose)
            == (row.channel, &row.provider, &row.prefix, row.purpose)
    };
    if before.iter().any(is_same) {
        faults.add(pointer, "an earlier row is about the same messages; leave one of them out");
    }
}

/// Every price list that can still matter.
#[derive(Debug, Default)]
pub struct Book {
    lists: Vec<PriceListView>,
}

/// A message whose price is looked up.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Over which channel.
    pub channel: Channel,
    /// Through which connector.
    pub provider: &'a str,
    /// To whom.
    pub address: &'a str,
    /// Why.
    pub purpose: Purpose,
}

/// What a message costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Version of the list it stands in.
    pub list: i64,
    /// Of one unit.
    pub unit_micros: i64,
    /// True when the unit is a segment.
    pub is_per_segment: bool,
}

impl Price {
    /// What a message of so many segments costs; one without segments counts as one.
    pub fn of(&self, segments: Option<u32>) -> i64 {
        let units = if self.is_per_segment { segments.unwrap_or(1) } else { 1 };
        self.unit_micros.saturating_mul(i64::from(units))
    }
}

impl Book {
    /// Reads the newest lists of each currency.
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self, store::Error> {
        Ok(Self { lists: rows::newest_of_each(tx, LISTS_READ).await?.into_iter().map(view).collect() })
    }

    /// The price of a message in a currency at an instant: from the list that became valid last.
    pub fn find(&self, currency: &str, asked: &Asked<'_>, at: Timestamp) -> Option<Price> {
        let valid = self.lists.iter().filter(|list| list.currency == currency && list.valid_from <= at);
        let list = valid.max_by_key(|list| (list.valid_from, list.version))?;
        let digits = asked.address.trim_start_matches('+');
        let fits = |row: &&PriceRow| {
            row.channel == asked.channel
                && row.prefix.as_ref().is_none_or(|prefix| digits.starts_with(prefix.as_str()))
                && row.provider.as_ref().is_none_or(|provider| provider == asked.provider)
                && row.purpose.is_none_or(|purpose| purpose == asked.purpose)
        };
        let row = list.rows.iter().filter(fits).max_by_key(|row| {
            (row.prefix.as_ref().map_or(0, String::len), row.provider.is_some(), row.purpose.is_some())
        })?;
        Some(Price {
            list: list.version,
            unit_micros: row.amount_micros,
            is_per_segment: row.unit == PriceUnit::Segment,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(prefix: Option<&str>, provider: Option<&str>, purpose: Option<Purpose>, amount_micros: i64) -> PriceRow {
        PriceRow {
            channel: Channel::Sms,
            provider: provider.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
            purpose,
            unit: PriceUnit::Segment,
            amount_micros,
        }
    }

    fn list(version: i64, valid_from: i64, rows: Vec<PriceRow>) -> PriceListView {
        let at = Timestamp::from_seconds(valid_from);
        PriceListView { version, currency: "USD".to_owned(), valid_from: at, note: String::new(), rows, created_at: at }
    }

    #[test]
    fn the_most_particular_row_of_the_valid_list_wins() {
        let marketing = Some(Purpose::Marketing);
        let first = vec![row(None, None, None, 1), row(Some("91"), None, None, 2), row(Some("9198"), None, None, 3)];
        let second = vec![
            row(None, None, None, 10),
            row(None, None, marketing, 11),
            row(None, Some("twilio"), None, 12),
            row(Some("91"), None, None, 13),
        ];
        let book = Book { lists: vec![list(3, 300, Vec::new()), list(2, 200, second), list(1, 100, first)] };
        let find = |address: &str, provider: &str, purpose: Purpose, at: i64| {
            let asked = Asked { channel: Channel::Sms, provider, address, purpose };
            book.find("USD", &asked, Timestamp::from_seconds(at)).map(|price| price.unit_micros)
        };
        let usual = Purpose::Transactional;
        let cases = [
            (find("+15550100001", "vonage", usual, 99), None),
            (find("+15550100001", "vonage", usual, 100), Some(1)),
            (find("+919900000001", "vonage", usual, 150), Some(2)),
            (find("+919800000001", "vonage", usual, 199), Some(3)),
            (find("+15550100001", "vonage", usual, 200), Some(10)),
            (find("+15550100001", "vonage", Purpose::Marketing, 200), Some(11)),
            (find("+15550100001", "twilio", Purpose::Marketing, 200), Some(12)),
            (find("+919800000001", "twilio", Purpose::Marketing, 200), Some(13)),
            (find("+15550100001", "twilio", usual, 300), None),
        ];
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found, expected, "case {index}");
        }
        let asked = Asked { channel: Channel::Email, provider: "smtp", address: "ada@example.com", purpose: usual };
        assert_eq!(book.find("USD", &asked, Timestamp::from_seconds(250)), None, "no row for the channel");
        let asked = Asked { channel: Channel::Sms, ..asked };
        assert_eq!(book.find("EUR", &asked, Timestamp::from_seconds(250)), None, "no list in the currency");
    }

    #[test]
    fn what_is_wrong_with_a_list_is_named() {
        let now = Timestamp::from_seconds(1_000);
        let check = |rows: Vec<PriceRow>, valid_from: i64, expected: &[&str]| {
            let valid_from = Some(Timestamp::from_seconds(valid_from));
            let new = NewPriceList { currency: "USD".to_owned(), valid_from, note: None, rows };
            let refused = super::check(new, now).err();
            let pointers: Vec<String> =
                refused.map(|error| error.errors.into_iter().map(|field| field.pointer).collect()).unwrap_or_default();
            assert_eq!(pointers, expected);
        };
        check(vec![row(None, None, None, 7)], 1_000, &[]);
        check(Vec::new(), 999, &["/valid_from", "/rows"]);
        check(
            vec![row(Some("+91"), Some("carrier-pigeon"), None, -1)],
            1_000,
            &["/rows/0/amount_micros", "/rows/0/prefix", "/rows/0/provider"],
        );
        check(vec![row(Some("91"), None, None, 1), row(Some("91"), None, None, 2)], 1_000, &["/rows/1"]);
        let mail = PriceRow { channel: Channel::Email, ..row(Some("91"), None, None, 1) };
        check(vec![mail], 1_000, &["/rows/0/prefix"]);
    }
}
