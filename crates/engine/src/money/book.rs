//! The price book: which row of the price lists a message falls under, and what it comes to. Pure.
//!
//! Of the lists of a currency the one that became valid last counts. Of its rows for the channel the most particular one that fits wins: first by place (a longer prefix of
//! the recipient's number before a shorter one; a country counts like its calling code, and before a prefix of that length; anywhere comes last), then a row that names the provider,
//! then one that names the category, then one that names the purpose. Two rows of a list are never about the same messages, so one row wins.
//!
//! Prices are exact. A unit may cost less than a millionth (a thousand mails for 400 micros), and a markup may leave a fraction; so what a message costs is worked out in [`PARTS`] of a
//! millionth, and the ledger carries what is less than a millionth from message to message. What is set aside or shown beforehand is rounded up.

use std::collections::HashMap;

use connectors::Pricing;
use model::{Channel, Content, Money, Purpose, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Tx, credits::Charge, prices as rows};
use utoipa::ToSchema;

use super::prices::{LISTS_READ, PriceListView, PriceRow, view};
use crate::country;

/// What a millionth is divided into: a price per thousand with a markup in hundredths of a percent comes out without a rest.
pub const PARTS: i128 = 10_000_000;
/// A markup in hundredths of a percent of this doubles the price.
const WHOLE: i128 = 10_000;
/// What a price per thousand is for.
const THOUSAND: i128 = 1_000;

/// What is paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceUnit {
    /// Each message.
    Message,
    /// Each part of a message, as the provider reports them or else as we count them.
    Segment,
    /// Each minute of a call that has begun, as the provider reports them; one until it does.
    Minute,
    /// A thousand messages; each costs its part of it.
    Thousand,
}

impl PriceUnit {
    /// Every unit.
    pub const ALL: [Self; 4] = [Self::Message, Self::Segment, Self::Minute, Self::Thousand];

    /// The word in JSON and CSV.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Segment => "segment",
            Self::Minute => "minute",
            Self::Thousand => "thousand",
        }
    }

    /// True when a message may have several of it.
    pub const fn is_counted(self) -> bool {
        matches!(self, Self::Segment | Self::Minute)
    }

    /// The number in the database.
    pub const fn code(self) -> i64 {
        match self {
            Self::Message => 0,
            Self::Segment => store::credits::PER_SEGMENT,
            Self::Minute => 2,
            Self::Thousand => 3,
        }
    }

    /// Reads the database's number; one this binary does not know is for the message.
    pub fn from_code(code: i64) -> Self {
        Self::ALL.into_iter().find(|unit| unit.code() == code).unwrap_or(Self::Message)
    }
}

/// What kind of message it is, where providers price kinds of one channel apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Category {
    /// A WhatsApp template that advertises.
    Marketing,
    /// A WhatsApp template about something the recipient asked for.
    Utility,
    /// A WhatsApp template with a one-time code.
    Authentication,
    /// A WhatsApp message within the 24 hours after the recipient wrote.
    Service,
    /// A text message with media.
    Mms,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 5] = [Self::Marketing, Self::Utility, Self::Authentication, Self::Service, Self::Mms];

    /// The word in JSON, CSV and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Marketing => "marketing",
            Self::Utility => "utility",
            Self::Authentication => "authentication",
            Self::Service => "service",
            Self::Mms => "mms",
        }
    }

    /// The channel it belongs to.
    pub const fn channel(self) -> Channel {
        match self {
            Self::Mms => Channel::Sms,
            Self::Marketing | Self::Utility | Self::Authentication | Self::Service => Channel::Whatsapp,
        }
    }

    /// Reads the word, in whatever case the provider writes it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.as_str().eq_ignore_ascii_case(word))
    }

    /// What an approved template is taken for when the provider has not shown its category.
    pub const fn of_purpose(purpose: Purpose) -> Self {
        match purpose {
            Purpose::Marketing => Self::Marketing,
            Purpose::Transactional => Self::Utility,
        }
    }

    /// What kind of message a provider billed: what it takes nothing for is like an answer within the 24 hours after the recipient wrote. `None` for a word that is not known here.
    pub fn billed(pricing: &Pricing) -> Option<Self> {
        if pricing.is_free {
            return Some(Self::Service);
        }
        let word = match pricing.category.as_str() {
            "marketing_lite" => "marketing",
            "authentication_international" => "authentication",
            word => word,
        };
        Self::parse(word).filter(|category| category.channel() == Channel::Whatsapp)
    }

    /// What a message is that says this. `shown` tells the category the provider last showed for a template, by name and language.
    pub fn of<'a>(content: &Content, purpose: Purpose, shown: impl Fn(&str, &str) -> Option<&'a str>) -> Option<Self> {
        match content {
            Content::Sms(sms) => (!sms.media.is_empty()).then_some(Self::Mms),
            Content::Whatsapp(whatsapp) => Some(match &whatsapp.whatsapp_template {
                None => Self::Service,
                Some(template) => {
                    let shown = shown(&template.name, &template.language).and_then(Self::parse);
                    shown.unwrap_or(Self::of_purpose(purpose))
                }
            }),
            _ => None,
        }
    }
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
    /// In which country that is, see [`country::of`].
    pub country: Option<[u8; 2]>,
    /// Why.
    pub purpose: Purpose,
    /// What kind of message, where there are kinds.
    pub category: Option<Category>,
}

impl<'a> Asked<'a> {
    /// A message to an address, of no particular kind.
    pub fn new(channel: Channel, provider: &'a str, address: &'a str, purpose: Purpose) -> Self {
        Self { channel, provider, address, country: country::of(channel, address), purpose, category: None }
    }
}

/// What a message costs, and what that is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Version of the list it stands in.
    pub list: i64,
    /// What is paid for.
    pub per: PriceUnit,
    /// What one of it costs the tenant whatever the provider takes, in millionths.
    pub fixed_micros: i64,
    /// What the provider takes for one of it, as far as the list says.
    pub cost_micros: Option<i64>,
    /// What is put on what the provider takes, in hundredths of a percent; `None` when the tenant's price has nothing to do with it.
    pub markup: Option<i64>,
}

impl Price {
    /// The price a charge was made with.
    pub fn of_charge(c: &Charge) -> Self {
        Self {
            list: c.list_version,
            per: PriceUnit::from_code(c.per),
            fixed_micros: c.unit,
            cost_micros: c.cost_unit,
            markup: c.markup,
        }
    }

    /// What a message of so many segments or minutes costs, in [`PARTS`] of a millionth; one of which nobody counts any has one. `reported` is what the provider said it takes for the
    /// whole message, in the list's currency: it stands in for the cost of the list.
    pub fn exact(&self, segments: Option<u32>, reported: Option<i64>) -> i128 {
        let counted = segments.filter(|count| *count > 0 && self.per.is_counted());
        let units = i128::from(counted.unwrap_or(1));
        let whole = |micros: i64, factor: i128| {
            let parts = i128::from(micros) * factor * units;
            if self.per == PriceUnit::Thousand { parts / THOUSAND } else { parts }
        };
        let fixed = whole(self.fixed_micros, PARTS);
        let Some(markup) = self.markup else { return fixed };
        let factor = (WHOLE + i128::from(markup)) * (PARTS / WHOLE);
        fixed
            + match reported {
                Some(micros) => i128::from(micros) * factor,
                None => whole(self.cost_micros.unwrap_or(0), factor),
            }
    }

    /// True when it comes to whole millionths whatever the provider takes.
    pub const fn is_whole(&self) -> bool {
        self.markup.is_none() && !matches!(self.per, PriceUnit::Thousand)
    }

    /// The same in whole millionths, rounded up: what is shown and set aside before it is known.
    pub fn of(&self, segments: Option<u32>) -> i64 {
        up(self.exact(segments, None))
    }
}

/// Whole millionths, rounded up; more than the database can hold becomes the most it can.
pub fn up(parts: i128) -> i64 {
    i64::try_from((parts + PARTS - 1).div_euclid(PARTS)).unwrap_or(i64::MAX)
}

/// Every price list that can still matter.
#[derive(Debug, Default)]
pub struct Book {
    lists: Vec<List>,
}

/// A list with its rows where they are looked for.
#[derive(Debug)]
struct List {
    list: PriceListView,
    channels: HashMap<Channel, Places>,
}

/// Rows of a channel, the more particular first within each place; numbers of rows in the list.
#[derive(Debug, Default)]
struct Places {
    prefixes: HashMap<Box<str>, Vec<usize>>,
    countries: HashMap<[u8; 2], Vec<usize>>,
    anywhere: Vec<usize>,
    /// Digits of the longest prefix or calling code there is a row for: longer beginnings of a number are not looked for.
    longest: usize,
}

impl List {
    fn new(list: PriceListView) -> Self {
        let mut channels: HashMap<Channel, Places> = HashMap::new();
        for (index, row) in list.rows.iter().enumerate() {
            let places = channels.entry(row.channel).or_default();
            match (&row.prefix, row.country.as_deref().and_then(letters)) {
                (Some(prefix), _) => {
                    places.longest = places.longest.max(prefix.len());
                    places.prefixes.entry(prefix.as_str().into()).or_default().push(index);
                }
                (None, Some(country)) => {
                    places.longest = places.longest.max(country::CALLING_CODE_MAX);
                    places.countries.entry(country).or_default().push(index);
                }
                (None, None) => places.anywhere.push(index),
            }
        }
        for places in channels.values_mut() {
            let all = places.prefixes.values_mut().chain(places.countries.values_mut());
            for found in all.chain(std::iter::once(&mut places.anywhere)) {
                found.sort_by_key(|index| std::cmp::Reverse(rank(&list.rows[*index])));
            }
        }
        Self { list, channels }
    }

    fn find(&self, asked: &Asked<'_>) -> Option<&PriceRow> {
        let places = self.channels.get(&asked.channel)?;
        let first = |found: Option<&Vec<usize>>| {
            found?.iter().map(|index| &self.list.rows[*index]).find(|row| fits(row, asked))
        };
        let digits = asked.address.strip_prefix('+').unwrap_or_default();
        let code = country::calling_code(digits).map_or(0, str::len);
        let longest = digits.bytes().take_while(u8::is_ascii_digit).count().min(places.longest);
        for length in (1..=longest).rev() {
            if length == code
                && let Some(row) = asked.country.and_then(|country| first(places.countries.get(&country)))
            {
                return Some(row);
            }
            if let Some(row) = first(places.prefixes.get(&digits[..length])) {
                return Some(row);
            }
        }
        first(Some(&places.anywhere))
    }
}

/// How particular a row is apart from its place.
fn rank(row: &PriceRow) -> (bool, bool, bool) {
    (row.provider.is_some(), row.category.is_some(), row.purpose.is_some())
}

/// True when everything a row says besides its place is so.
fn fits(row: &PriceRow, asked: &Asked<'_>) -> bool {
    row.provider.as_ref().is_none_or(|provider| provider == asked.provider)
        && row.category.is_none_or(|category| asked.category == Some(category))
        && row.purpose.is_none_or(|purpose| purpose == asked.purpose)
}

fn letters(country: &str) -> Option<[u8; 2]> {
    country.as_bytes().try_into().ok()
}

impl Book {
    /// Reads those of each currency: every one that is to count, and the last ones that began to.
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self, store::Error> {
        Ok(Self::new(rows::latest_of_each(tx, LISTS_READ).await?.into_iter().map(view)))
    }

    /// A book of these lists.
    pub fn new(lists: impl IntoIterator<Item = PriceListView>) -> Self {
        Self { lists: lists.into_iter().map(List::new).collect() }
    }

    /// The price of a message in a currency at an instant.
    pub fn find(&self, currency: &str, asked: &Asked<'_>, at: Timestamp) -> Option<Price> {
        let list = self.valid(currency, at)?;
        list.find(asked).map(|row| row.price(list.list.version))
    }

    /// The list that counts for a currency at an instant.
    pub fn list(&self, currency: &str, at: Timestamp) -> Option<&PriceListView> {
        self.valid(currency, at).map(|list| &list.list)
    }

    fn valid(&self, currency: &str, at: Timestamp) -> Option<&List> {
        let valid = self.lists.iter().filter(|list| list.list.currency == currency && list.list.valid_from <= at);
        valid.max_by_key(|list| (list.list.valid_from, list.list.version))
    }
}

/// What the provider takes for a thousand units of messages like this one, in millionths of the currency's unit, as the price list of that currency says; `None` when it does not. For
/// comparing the accounts a message could go through: a thousand, so that prices per thousand compare without rounding.
pub fn provider_cost(book: &Book, currency: &str, asked: &Asked<'_>, at: Timestamp) -> Option<i64> {
    let price = book.find(currency, asked, at)?;
    let cost = price.cost_micros?;
    Some(if price.per == PriceUnit::Thousand { cost } else { cost.saturating_mul(1_000) })
}

/// What the provider reported, as far as a ledger in this currency can use it.
pub fn usable(reported: Option<i64>, reported_currency: Option<&str>, currency: &str) -> Option<i64> {
    reported.filter(|_| reported_currency == Some(currency))
}

/// A provider's price as a charge keeps it.
pub fn reported(money: &Money) -> (Option<i64>, Option<String>) {
    (Some(money.amount_micros), Some(money.currency.clone()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(prefix: Option<&str>, provider: Option<&str>, purpose: Option<Purpose>, amount: i64) -> PriceRow {
        PriceRow {
            provider: provider.map(str::to_owned),
            prefix: prefix.map(str::to_owned),
            purpose,
            ..PriceRow::new(Channel::Sms, PriceUnit::Segment, amount)
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
        let book = Book::new([list(3, 300, Vec::new()), list(2, 200, second), list(1, 100, first)]);
        let find = |address: &str, provider: &str, purpose: Purpose, at: i64| {
            let asked = Asked::new(Channel::Sms, provider, address, purpose);
            book.find("USD", &asked, Timestamp::from_seconds(at)).map(|price| price.fixed_micros)
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
        let asked = Asked::new(Channel::Email, "smtp", "ada@example.com", usual);
        assert_eq!(book.find("USD", &asked, Timestamp::from_seconds(250)), None, "no row for the channel");
        let asked = Asked { channel: Channel::Sms, ..asked };
        assert_eq!(book.find("EUR", &asked, Timestamp::from_seconds(250)), None, "no list in the currency");
    }

    #[test]
    fn a_country_counts_like_its_calling_code() {
        let of = |country: &str, amount| PriceRow {
            country: Some(country.to_owned()),
            ..PriceRow::new(Channel::Sms, PriceUnit::Segment, amount)
        };
        let rows = vec![
            row(None, None, None, 1),
            row(Some("1"), None, None, 2),
            of("CA", 3),
            row(Some("1416"), None, None, 4),
            row(Some("7"), None, None, 5),
            of("KZ", 6),
        ];
        let book = Book::new([list(1, 1, rows)]);
        let find = |address: &str| {
            let asked = Asked::new(Channel::Sms, "twilio", address, Purpose::Transactional);
            book.find("USD", &asked, Timestamp::from_seconds(2)).map(|price| price.fixed_micros)
        };
        let found = ["+12025550123", "+16045550123", "+14165550123", "+79161234567", "+77012345678", "+4915112345678"]
            .map(find);
        assert_eq!(found, [2, 3, 4, 5, 6, 1].map(Some));
    }

    #[test]
    fn categories_are_read_from_what_a_message_says() {
        let content = |text: &str| serde_json::from_str::<Content>(text).unwrap();
        let shown = |name: &str, _: &str| (name == "code").then_some("AUTHENTICATION");
        let of = |text: &str, purpose| Category::of(&content(text), purpose, shown).map(Category::as_str);
        let template =
            |name: &str| format!(r#"{{"channel":"whatsapp","whatsapp_template":{{"name":"{name}","language":"en"}}}}"#);
        let usual = Purpose::Transactional;
        assert_eq!(of(r#"{"channel":"whatsapp","text":"Hi"}"#, usual), Some("service"));
        assert_eq!(of(&template("code"), usual), Some("authentication"));
        assert_eq!(of(&template("other"), usual), Some("utility"));
        assert_eq!(of(&template("other"), Purpose::Marketing), Some("marketing"));
        assert_eq!(of(r#"{"channel":"sms","text":"Hi"}"#, usual), None);
        assert_eq!(
            of(r#"{"channel":"sms","media":[{"type":"image","url":"https://x.example/a.png"}]}"#, usual),
            Some("mms")
        );
    }

    #[test]
    fn prices_are_exact() {
        let price = |per, fixed_micros, cost_micros, markup| Price { list: 1, per, fixed_micros, cost_micros, markup };
        let check = |price: Price, segments, reported, parts: i128, shown: i64| {
            assert_eq!(price.exact(segments, reported), parts, "{price:?}");
            assert_eq!(price.of(segments), shown, "{price:?}");
        };
        check(price(PriceUnit::Message, 7, None, None), Some(3), None, 7 * PARTS, 7);
        check(price(PriceUnit::Segment, 7, None, None), Some(3), None, 21 * PARTS, 21);
        check(price(PriceUnit::Segment, 7, None, None), None, None, 7 * PARTS, 7);
        check(price(PriceUnit::Minute, 7, None, None), Some(0), None, 7 * PARTS, 7);
        // 401 micros a thousand are 0.401 for one.
        check(price(PriceUnit::Thousand, 401, None, None), None, None, 4_010_000, 1);
        // 7,501 and a quarter of it, and 3 besides.
        check(price(PriceUnit::Segment, 3, Some(7_501), Some(2_500)), Some(1), None, 93_792_500_000, 9_380);
        // A hundredth of a percent of a thousandth of a micro.
        check(price(PriceUnit::Thousand, 0, Some(1), Some(1)), None, None, 10_001, 1);
        // What the provider reported counts instead of the list.
        let marked = price(PriceUnit::Segment, 0, Some(5), Some(10_000));
        assert_eq!((marked.exact(Some(2), None), marked.exact(Some(2), Some(7))), (20 * PARTS, 14 * PARTS));
    }

    #[test]
    fn providers_are_compared_by_the_thousand() {
        let cost = |provider: &str, unit, cost_micros| PriceRow {
            provider: Some(provider.to_owned()),
            cost_micros: Some(cost_micros),
            ..PriceRow::new(Channel::Email, unit, 1_000)
        };
        let rows = vec![cost("smtp", PriceUnit::Message, 2), cost("ses", PriceUnit::Thousand, 100)];
        let book = Book::new([list(1, 1, rows)]);
        let of = |provider| {
            let asked = Asked::new(Channel::Email, provider, "ada@example.com", Purpose::Transactional);
            provider_cost(&book, "USD", &asked, Timestamp::from_seconds(2))
        };
        assert_eq!(["smtp", "ses", "mailgun"].map(of), [Some(2_000), Some(100), None]);
    }

    /// The chooser without an index: every row that fits, the highest rank.
    fn naive<'a>(rows: &'a [PriceRow], asked: &Asked<'_>) -> Option<&'a PriceRow> {
        let digits = asked.address.trim_start_matches('+');
        let code = country::calling_code(digits).map_or(0, str::len);
        let country = asked.country.map(|letters| String::from_utf8(letters.to_vec()).unwrap());
        let is_there = |row: &&PriceRow| {
            row.prefix.as_ref().is_none_or(|prefix| digits.starts_with(prefix.as_str()))
                && row.country.as_ref().is_none_or(|of| country.as_ref() == Some(of))
        };
        let place = |row: &PriceRow| match (&row.prefix, &row.country) {
            (Some(prefix), _) => (prefix.len(), false),
            (None, Some(_)) => (code, true),
            (None, None) => (0, false),
        };
        let fitting = rows.iter().filter(|row| row.channel == asked.channel).filter(is_there);
        fitting.filter(|row| fits(row, asked)).max_by_key(|row| (place(row), rank(row)))
    }

    fn any_row() -> impl Strategy<Value = PriceRow> {
        let place = prop_oneof![
            Just((None, None)),
            proptest::sample::select(vec!["1", "14", "141", "1416", "7", "77", "9", "91", "919", "9198"])
                .prop_map(|p| (Some(p.to_owned()), None)),
            proptest::sample::select(vec!["US", "CA", "KZ", "RU", "IN", "DE"]).prop_map(|c| (None, Some(c.to_owned()))),
        ];
        let provider = proptest::option::of(proptest::sample::select(vec!["twilio", "vonage"]).prop_map(str::to_owned));
        let purpose = proptest::option::of(proptest::sample::select(Purpose::ALL.to_vec()));
        let category = proptest::option::of(Just(Category::Mms));
        (place, provider, purpose, category, 0i64..1_000).prop_map(
            |((prefix, country), provider, purpose, category, amount)| PriceRow {
                prefix,
                country,
                provider,
                purpose,
                category,
                ..PriceRow::new(Channel::Sms, PriceUnit::Segment, amount)
            },
        )
    }

    proptest! {
        #[test]
        fn the_index_chooses_what_a_look_at_every_row_chooses(
            rows in proptest::collection::vec(any_row(), 0..40),
            address in proptest::sample::select(vec!["+12025550123", "+14165550123", "+16045550123", "+77012345678", "+79161234567", "+919800000001", "+4915112345678"]),
            provider in proptest::sample::select(vec!["twilio", "vonage", "sns"]),
            purpose in proptest::sample::select(Purpose::ALL.to_vec()),
            is_mms in any::<bool>(),
        ) {
            // As in a list that was checked, no two rows are about the same messages.
            let mut seen = Vec::new();
            let mut kept = Vec::new();
            for row in rows {
                let about = row.about();
                if !seen.contains(&about) {
                    seen.push(about);
                    kept.push(row);
                }
            }
            let asked = Asked { category: is_mms.then_some(Category::Mms), ..Asked::new(Channel::Sms, provider, address, purpose) };
            let wanted = naive(&kept, &asked).map(|row| row.price(1));
            let book = Book::new([list(1, 1, kept)]);
            prop_assert_eq!(book.find("USD", &asked, Timestamp::from_seconds(2)), wanted);
        }
    }
}
