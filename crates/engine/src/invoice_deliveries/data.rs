//! An invoice as a tenant posts it: read, added up again, and turned into a document. Pure.

use std::fmt;

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, de};
use utoipa::ToSchema;

use crate::{
    Error,
    documents::{self, InvoiceDocument, Item, Kind, LINES_MAX, Language, Look, Paper, Party, TaxLine, Totals, figures},
    names::Faults,
};

/// Longest number: it stands in a file's name and in a line of a table.
const NUMBER_MAX: usize = 60;
/// Longest name or line of an address, in characters.
const LINE_MAX: usize = 200;
/// Lines of an address.
const ADDRESS_MAX: usize = 8;
/// Longest description of a line, in characters: half a page.
const DESCRIPTION_MAX: usize = 2_000;
/// Longest notes, in characters: two pages.
const TEXT_MAX: usize = 8_000;
/// Longest unit, in characters: what a column holds.
const UNIT_MAX: usize = 20;
/// Name and value pairs beside the dates.
const REFERENCES_MAX: usize = 10;
/// Tax lines: more rates than any country has.
const TAXES_MAX: usize = 20;
/// Largest amount, in millionths: a hundred billion, so that a thousand of them can be added up.
const AMOUNT_MAX: i64 = 100_000_000_000 * figures::ONE;

/// A decimal number of up to six places: a text such as `"2.5"`, or a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, example = "2.5")]
pub struct Decimal(pub i64);

impl Decimal {
    /// One.
    pub const ONE: Self = Self(figures::ONE);

    /// Reads a text such as `2.5`.
    pub fn read(text: &str) -> Option<Self> {
        figures::read(text).map(Self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Decimal;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a decimal number as a text, such as \"2.5\", with at most six places, or a whole number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Decimal, E> {
                Decimal::read(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Decimal, E> {
                self.visit_str(&number.to_string())
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Decimal, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What the document is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = InvoiceDeliveryKind)]
pub enum InvoiceKind {
    /// Asks for money.
    #[default]
    Invoice,
    /// Takes back what an invoice asked for.
    CreditNote,
}

/// What it is printed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoicePaper {
    /// 210 × 297 mm.
    A4,
    /// 8.5 × 11 inches.
    Letter,
}

/// One side of an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceParty {
    /// Its name.
    #[schema(example = "Babbage Engines Ltd")]
    pub name: String,
    /// Its address, line by line.
    #[serde(default)]
    pub address: Vec<String>,
    /// Its number with the tax office.
    #[serde(default)]
    pub tax_id: Option<String>,
    /// Where it reads mail.
    #[serde(default)]
    pub email: Option<String>,
    /// Where it answers the phone.
    #[serde(default)]
    pub phone: Option<String>,
}

/// Something more that stands beside the dates, such as an order's number.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceReference {
    /// What it is called.
    #[schema(example = "Order")]
    pub name: String,
    /// What it says.
    #[schema(example = "PO-77")]
    pub value: String,
}

/// The days an invoice charges for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoicePeriod {
    /// The first.
    #[schema(value_type = String, format = Date)]
    pub from: Date,
    /// The last.
    #[schema(value_type = String, format = Date)]
    pub to: Date,
}

/// One line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvoiceDeliveryLine)]
pub struct InvoiceLine {
    /// What it is; may have several lines.
    #[schema(example = "Consulting")]
    pub description: String,
    /// How many.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "12.5")]
    pub quantity: Option<Decimal>,
    /// Of what, such as `h`.
    #[serde(default)]
    pub unit: Option<String>,
    /// What one costs, in millionths of the currency's unit. Needs a quantity.
    #[serde(default)]
    #[schema(example = 120_000_000)]
    pub unit_price_micros: Option<i64>,
    /// The rate of tax in percent.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "19")]
    pub tax_percent: Option<Decimal>,
    /// What it comes to before tax, in millionths: quantity times price, rounded to the currency's smallest unit.
    #[schema(example = 1_500_000_000)]
    pub amount_micros: i64,
}

/// The tax of one rate.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceTax {
    /// What it is called.
    #[schema(example = "VAT")]
    pub name: String,
    /// Its rate.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "19")]
    pub percent: Option<Decimal>,
    /// What it is levied on, in millionths.
    #[schema(example = 1_500_000_000)]
    pub base_micros: i64,
    /// What it comes to, in millionths.
    #[schema(example = 285_000_000)]
    pub amount_micros: i64,
}

/// The sums of an invoice, in millionths of the currency's unit. They are added up again and refused when they do not agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceTotals {
    /// All lines.
    #[schema(example = 1_500_000_000)]
    pub net_micros: i64,
    /// All taxes.
    #[serde(default)]
    #[schema(example = 285_000_000)]
    pub tax_micros: i64,
    /// Both.
    #[schema(example = 1_785_000_000)]
    pub total_micros: i64,
    /// Of that, what was paid already.
    #[serde(default)]
    pub paid_micros: i64,
    /// What is left to pay; worked out when left out.
    #[serde(default)]
    pub due_micros: Option<i64>,
}

/// An invoice given as data. Its PDF is drawn with the tenant's branding.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceData {
    /// What it is.
    #[serde(default)]
    pub kind: InvoiceKind,
    /// Its number, as the seller counts.
    #[schema(example = "2026-0042")]
    pub number: String,
    /// What it is called, such as `Tax invoice`; the language's word for its kind when left out.
    #[serde(default)]
    pub title: Option<String>,
    /// The language of its words: en, en-IN, de, fr, es, pt, ru, hi or ar. English for others; the recipient's when left out.
    #[serde(default)]
    #[schema(example = "en")]
    pub locale: Option<String>,
    /// `a4`, or `letter`, which is taken for tenants in the United States and Canada when left out.
    #[serde(default)]
    pub paper: Option<InvoicePaper>,
    /// The day it is written.
    #[schema(value_type = String, format = Date, example = "2026-11-29")]
    pub issue_date: Date,
    /// The day it is to be paid by.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date, example = "2026-12-13")]
    pub due_date: Option<Date>,
    /// What it charges for.
    #[serde(default)]
    pub period: Option<InvoicePeriod>,
    /// More about it.
    #[serde(default)]
    pub references: Vec<InvoiceReference>,
    /// Who sells.
    pub seller: InvoiceParty,
    /// Who buys.
    pub buyer: InvoiceParty,
    /// ISO 4217: of every amount.
    #[schema(example = "EUR")]
    pub currency: String,
    /// What is charged for: 1 to 1,000 lines.
    pub lines: Vec<InvoiceLine>,
    /// Taxes, one line for each rate.
    #[serde(default)]
    pub taxes: Vec<InvoiceTax>,
    /// Sums.
    pub totals: InvoiceTotals,
    /// How to pay; may have several lines.
    #[serde(default)]
    pub payment: Option<String>,
    /// Anything else; may have several lines.
    #[serde(default)]
    pub notes: Option<String>,
}

/// A number that can stand in a file's name and in a table, without surrounding spaces.
pub(super) fn number(pointer: &str, text: &str, faults: &mut Faults) -> String {
    let number = text.trim();
    if number.is_empty() || number.chars().count() > NUMBER_MAX || number.chars().any(char::is_control) {
        faults.add(pointer, format!("1 to {NUMBER_MAX} characters without line breaks"));
    }
    number.to_owned()
}

/// What the file of an invoice is called.
pub(super) fn filename(number: &str) -> String {
    let fit = |c: char| if c.is_whitespace() || "/\\:*?\"<>|".contains(c) { '-' } else { c };
    format!("invoice-{}.pdf", number.chars().map(fit).collect::<String>())
}

impl InvoiceData {
    /// The invoice with every amount worked out from its lines' quantities, prices and rates: for people, who would rather not add up. What no amount can hold stays zero, and is refused when
    /// the sums are checked.
    #[must_use]
    pub fn added_up(mut self, tax_name: &str) -> Self {
        let sums = Sums { currency: &self.currency, minor: figures::minor_unit(&self.currency) };
        let fit = |micros: i128| i64::try_from(micros).unwrap_or_default();
        for line in &mut self.lines {
            let product = i128::from(line.quantity.map_or(0, |quantity| quantity.0))
                * i128::from(line.unit_price_micros.unwrap_or_default());
            line.amount_micros = fit(sums.round(product));
        }
        let mut rates: Vec<Decimal> = self.lines.iter().filter_map(|line| line.tax_percent).collect();
        rates.sort_unstable_by_key(|rate| std::cmp::Reverse(rate.0));
        rates.dedup();
        self.taxes = rates
            .into_iter()
            .map(|rate| {
                let of_rate = self.lines.iter().filter(|line| line.tax_percent == Some(rate));
                let base: i128 = of_rate.map(|line| i128::from(line.amount_micros)).sum();
                InvoiceTax {
                    name: tax_name.to_owned(),
                    percent: Some(rate),
                    base_micros: fit(base),
                    amount_micros: fit(sums.round(base * i128::from(rate.0) / 100)),
                }
            })
            .collect();
        let net: i128 = self.lines.iter().map(|line| i128::from(line.amount_micros)).sum();
        let tax: i128 = self.taxes.iter().map(|tax| i128::from(tax.amount_micros)).sum();
        self.totals = InvoiceTotals {
            net_micros: fit(net),
            tax_micros: fit(tax),
            total_micros: fit(net + tax),
            ..InvoiceTotals::default()
        };
        self
    }

    /// The document this is, after its texts and sums were checked. Errors point below `/invoice`.
    pub(super) fn document(&self, language: Language, is_letter: bool, look: Look) -> Result<InvoiceDocument, Error> {
        let mut faults = Faults::default();
        let number = number("/invoice/number", &self.number, &mut faults);
        faults.currency("/invoice/currency", &self.currency);
        self.check_texts(&mut faults);
        if faults.0.is_empty() {
            self.check_sums(&mut faults);
        }
        faults.end()?;
        let document = InvoiceDocument {
            kind: match self.kind {
                InvoiceKind::Invoice => Kind::Invoice,
                InvoiceKind::CreditNote => Kind::CreditNote,
            },
            title: self.title.clone(),
            language,
            paper: match self.paper {
                Some(InvoicePaper::Letter) => Paper::Letter,
                None if is_letter => Paper::Letter,
                Some(InvoicePaper::A4) | None => Paper::A4,
            },
            number,
            issued_on: self.issue_date,
            due_on: self.due_date,
            period: self.period.map(|period| (period.from, period.to)),
            references: self.references.iter().map(|r| (r.name.clone(), r.value.clone())).collect(),
            seller: party(&self.seller),
            buyer: party(&self.buyer),
            currency: self.currency.clone(),
            lines: self.lines.iter().map(item).collect(),
            taxes: self.taxes.iter().map(tax).collect(),
            totals: Totals {
                net_micros: self.totals.net_micros,
                total_micros: self.totals.total_micros,
                paid_micros: self.totals.paid_micros,
            },
            payment: self.payment.clone(),
            notes: self.notes.clone(),
            look,
        };
        let mut faults = Faults::default();
        for (pointer, c) in documents::uncovered(&document) {
            let detail = format!(
                "no font we ship has the character `{c}` (U+{:04X}); write it in another script, or send a ready PDF as `document`",
                u32::from(c)
            );
            faults.add(format!("/invoice{pointer}"), detail);
        }
        faults.end()?;
        Ok(document)
    }

    /// What is left to pay.
    pub(super) fn due_micros(&self) -> i64 {
        self.totals.total_micros.saturating_sub(self.totals.paid_micros)
    }

    fn check_texts(&self, faults: &mut Faults) {
        let mut line = |pointer: String, text: &str, max: usize, is_needed: bool| {
            if is_needed && text.trim().is_empty() {
                faults.add(pointer, "something has to stand here");
            } else if text.chars().count() > max {
                faults.add(pointer, format!("at most {max} characters"));
            }
        };
        line("/invoice/title".to_owned(), self.title.as_deref().unwrap_or_default(), 60, false);
        for (side, party) in [("seller", &self.seller), ("buyer", &self.buyer)] {
            line(format!("/invoice/{side}/name"), &party.name, LINE_MAX, true);
            for (index, text) in party.address.iter().enumerate() {
                line(format!("/invoice/{side}/address/{index}"), text, LINE_MAX, false);
            }
            for (field, text) in [("tax_id", &party.tax_id), ("email", &party.email), ("phone", &party.phone)] {
                line(format!("/invoice/{side}/{field}"), text.as_deref().unwrap_or_default(), LINE_MAX, false);
            }
        }
        for (index, reference) in self.references.iter().enumerate() {
            line(format!("/invoice/references/{index}/name"), &reference.name, LINE_MAX, true);
            line(format!("/invoice/references/{index}/value"), &reference.value, LINE_MAX, true);
        }
        for (index, item) in self.lines.iter().enumerate() {
            line(format!("/invoice/lines/{index}/description"), &item.description, DESCRIPTION_MAX, true);
            line(format!("/invoice/lines/{index}/unit"), item.unit.as_deref().unwrap_or_default(), UNIT_MAX, false);
        }
        for (index, tax) in self.taxes.iter().enumerate() {
            line(format!("/invoice/taxes/{index}/name"), &tax.name, LINE_MAX, true);
        }
        for (field, text) in [("payment", &self.payment), ("notes", &self.notes)] {
            line(format!("/invoice/{field}"), text.as_deref().unwrap_or_default(), TEXT_MAX, false);
        }
        for (pointer, count, most) in [
            ("/invoice/seller/address", self.seller.address.len(), ADDRESS_MAX),
            ("/invoice/buyer/address", self.buyer.address.len(), ADDRESS_MAX),
            ("/invoice/references", self.references.len(), REFERENCES_MAX),
            ("/invoice/taxes", self.taxes.len(), TAXES_MAX),
            ("/invoice/lines", self.lines.len(), LINES_MAX),
        ] {
            if count > most {
                faults.add(pointer, format!("at most {most}; there are {count}"));
            }
        }
        if self.lines.is_empty() {
            faults.add("/invoice/lines", "an invoice has at least one line");
        }
        if self.due_date.is_some_and(|due| due < self.issue_date) {
            faults.add("/invoice/due_date", "must not be earlier than `issue_date`");
        }
        if self.period.is_some_and(|period| period.to < period.from) {
            faults.add("/invoice/period/to", "must not be earlier than `from`");
        }
    }

    /// Adds everything up again, to the smallest unit of the currency.
    fn check_sums(&self, faults: &mut Faults) {
        let sums = Sums { currency: &self.currency, minor: figures::minor_unit(&self.currency) };
        for (index, line) in self.lines.iter().enumerate() {
            let at = |field: &str| format!("/invoice/lines/{index}/{field}");
            sums.whole(&at("amount_micros"), line.amount_micros, faults);
            sums.bounded(&at("unit_price_micros"), line.unit_price_micros.unwrap_or(0), faults);
            sums.bounded(&at("quantity"), line.quantity.map_or(0, |quantity| quantity.0), faults);
            percent(&at("tax_percent"), line.tax_percent, faults);
            match (line.quantity, line.unit_price_micros) {
                (Some(quantity), Some(price)) => {
                    let product = i128::from(quantity.0) * i128::from(price);
                    sums.rounded(&at("amount_micros"), line.amount_micros, product, "quantity times price", faults);
                }
                (None, Some(_)) => faults.add(at("quantity"), "a price needs a quantity; give \"1\" for one"),
                (_, None) => {}
            }
        }
        let totals = &self.totals;
        let lines: i128 = self.lines.iter().map(|line| i128::from(line.amount_micros)).sum();
        sums.equal("/invoice/totals/net_micros", totals.net_micros, lines, "the lines come to", faults);
        for (index, tax) in self.taxes.iter().enumerate() {
            let at = |field: &str| format!("/invoice/taxes/{index}/{field}");
            sums.whole(&at("amount_micros"), tax.amount_micros, faults);
            sums.whole(&at("base_micros"), tax.base_micros, faults);
            percent(&at("percent"), tax.percent, faults);
            let Some(rate) = tax.percent else { continue };
            let taxed: Vec<i128> = self
                .lines
                .iter()
                .filter(|line| line.tax_percent == Some(rate))
                .map(|line| i128::from(line.amount_micros))
                .collect();
            if !taxed.is_empty() {
                let words = "the lines of this rate come to";
                sums.equal(&at("base_micros"), tax.base_micros, taxed.iter().sum(), words, faults);
            }
            // Rounded once on the base, or line by line: both are usual.
            let of = |base: i128| base * i128::from(rate.0) / 100;
            let by_line: i128 = taxed.iter().map(|amount| sums.round(of(*amount))).sum();
            if taxed.is_empty() || i128::from(tax.amount_micros) != by_line {
                let product = of(i128::from(tax.base_micros));
                sums.rounded(&at("amount_micros"), tax.amount_micros, product, "base times rate", faults);
            }
        }
        let taxes: i128 = self.taxes.iter().map(|tax| i128::from(tax.amount_micros)).sum();
        sums.equal("/invoice/totals/tax_micros", totals.tax_micros, taxes, "the taxes come to", faults);
        let total = i128::from(totals.net_micros) + i128::from(totals.tax_micros);
        sums.equal("/invoice/totals/total_micros", totals.total_micros, total, "net and tax come to", faults);
        sums.whole("/invoice/totals/paid_micros", totals.paid_micros, faults);
        if let Some(due) = totals.due_micros {
            let left = i128::from(totals.total_micros) - i128::from(totals.paid_micros);
            sums.equal("/invoice/totals/due_micros", due, left, "the total less what was paid comes to", faults);
        }
    }
}

struct Sums<'a> {
    currency: &'a str,
    minor: i64,
}

impl Sums<'_> {
    fn bounded(&self, pointer: &str, micros: i64, faults: &mut Faults) -> bool {
        let is_bounded = (-AMOUNT_MAX..=AMOUNT_MAX).contains(&micros);
        if !is_bounded {
            faults.add(pointer, format!("between -{AMOUNT_MAX} and {AMOUNT_MAX} millionths"));
        }
        is_bounded
    }

    /// An amount somebody can pay.
    fn whole(&self, pointer: &str, micros: i64, faults: &mut Faults) {
        if self.bounded(pointer, micros, faults) && micros % self.minor != 0 {
            let detail = format!(
                "not a whole number of {}'s smallest unit, which is {} millionths: expected {}",
                self.currency,
                self.minor,
                self.round(i128::from(micros) * i128::from(figures::ONE))
            );
            faults.add(pointer, detail);
        }
    }

    fn equal(&self, pointer: &str, given: i64, expected: i128, words: &str, faults: &mut Faults) {
        if i128::from(given) != expected {
            let written = self.written(expected);
            faults.add(pointer, format!("{words} {written}: expected {expected}, and this is {given}"));
        }
    }

    /// Half of the smallest unit may go either way. `exact` is in millionths of millionths.
    fn rounded(&self, pointer: &str, given: i64, exact: i128, words: &str, faults: &mut Faults) {
        let difference = (i128::from(given) * i128::from(figures::ONE) - exact).abs();
        if 2 * difference > i128::from(self.minor) * i128::from(figures::ONE) {
            let expected = self.round(exact);
            let written = self.written(expected);
            faults.add(pointer, format!("{words} comes to {written}: expected {expected}, and this is {given}"));
        }
    }

    /// Millionths of millionths as millionths, rounded half away from zero to the smallest unit.
    fn round(&self, exact: i128) -> i128 {
        let unit = i128::from(self.minor) * i128::from(figures::ONE);
        let units = (exact.abs() + unit / 2) / unit;
        units * exact.signum() * i128::from(self.minor)
    }

    fn written(&self, micros: i128) -> String {
        i64::try_from(micros).map_or_else(
            |_| "more than any invoice".to_owned(),
            |micros| documents::money(micros, self.currency, Language::En),
        )
    }
}

fn percent(pointer: &str, rate: Option<Decimal>, faults: &mut Faults) {
    if rate.is_some_and(|rate| !(0..=100 * figures::ONE).contains(&rate.0)) {
        faults.add(pointer, "a rate in percent is between 0 and 100");
    }
}

fn party(party: &InvoiceParty) -> Party {
    Party {
        name: party.name.clone(),
        address: party.address.clone(),
        tax_id: party.tax_id.clone(),
        email: party.email.clone(),
        phone: party.phone.clone(),
    }
}

fn item(line: &InvoiceLine) -> Item {
    Item {
        description: line.description.clone(),
        quantity_micros: line.quantity.map(|quantity| quantity.0),
        unit: line.unit.clone(),
        unit_price_micros: line.unit_price_micros,
        tax_rate_micros: line.tax_percent.map(|rate| rate.0),
        amount_micros: line.amount_micros,
    }
}

fn tax(tax: &InvoiceTax) -> TaxLine {
    TaxLine {
        name: tax.name.clone(),
        rate_micros: tax.percent.map(|rate| rate.0),
        base_micros: tax.base_micros,
        amount_micros: tax.amount_micros,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{accept::request, branding::Branding};

    fn invoice() -> Value {
        json!({
            "number": "2026-0042", "issue_date": "2026-11-29", "due_date": "2026-12-13", "currency": "EUR",
            "seller": {"name": "Lovelace"}, "buyer": {"name": "Babbage", "address": ["1 Dorset Street"]},
            "lines": [{"description": "Programs", "quantity": "2.5", "unit": "h", "unit_price_micros": 99_990_000, "tax_percent": "19", "amount_micros": 249_980_000}],
            "taxes": [{"name": "VAT", "percent": 19, "base_micros": 249_980_000, "amount_micros": 47_500_000}],
            "totals": {"net_micros": 249_980_000, "tax_micros": 47_500_000, "total_micros": 297_480_000}
        })
    }

    fn read(value: &Value) -> Result<InvoiceDocument, Error> {
        let data: InvoiceData = request::read(value.to_string().as_bytes(), "/invoice")?;
        data.document(Language::En, false, Look::of(&Branding::default(), None))
    }

    /// What is wrong with the invoice once the value at `pointer` is another.
    fn with(pointer: &str, value: Value) -> Vec<(String, String)> {
        let mut invoice = invoice();
        match invoice.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, name) = pointer.rsplit_once('/').unwrap();
                invoice.pointer_mut(parent).unwrap()[name] = value;
            }
        }
        read(&invoice).err().map(|e| e.errors.into_iter().map(|e| (e.pointer, e.detail)).collect()).unwrap_or_default()
    }

    #[test]
    fn sums_that_agree_pass() {
        let document = read(&invoice()).unwrap();
        assert_eq!((document.totals.total_micros, document.number.as_str()), (297_480_000, "2026-0042"));
        // The half cent may be rounded down as well.
        let mut down = invoice();
        down["lines"][0]["amount_micros"] = json!(249_970_000);
        down["taxes"] = json!([]);
        down["totals"] = json!({"net_micros": 249_970_000, "total_micros": 249_970_000});
        assert!(read(&down).is_ok());
    }

    #[test]
    fn each_sum_that_does_not_agree_names_the_right_one() {
        let check = |pointer: &str, value: Value, expected: &str| {
            let found = with(pointer, value);
            let words = found.iter().find(|(at, _)| *at == format!("/invoice{pointer}"));
            assert!(words.is_some_and(|(_, words)| words.contains(expected)), "{pointer}: {found:?}");
        };
        check("/lines/0/amount_micros", json!(249_990_000), "expected 249980000");
        check("/lines/0/amount_micros", json!(249_980_001), "smallest unit");
        check(
            "/totals/net_micros",
            json!(249_970_000),
            "the lines come to EUR 249.98: expected 249980000, and this is 249970000",
        );
        check("/totals/tax_micros", json!(0), "the taxes come to EUR 47.50: expected 47500000");
        check("/totals/total_micros", json!(1), "net and tax come to EUR 297.48");
        check("/totals/due_micros", json!(5), "expected 297480000");
        check("/taxes/0/amount_micros", json!(47_510_000), "base times rate comes to EUR 47.50");
        check("/taxes/0/base_micros", json!(100_000_000), "the lines of this rate come to EUR 249.98");
        check("/lines/0/tax_percent", json!("119"), "between 0 and 100");
        check("/lines/0/amount_micros", json!(i64::MAX), "millionths");
    }

    #[test]
    fn what_is_added_up_agrees_with_itself() {
        let check = |currency: &str, lines: Value, expected: (i64, i64)| {
            let mut value = invoice();
            value["currency"] = json!(currency);
            value["lines"] = lines;
            let data: InvoiceData = request::read(value.to_string().as_bytes(), "/invoice").unwrap();
            let data = data.added_up("VAT");
            assert_eq!((data.totals.net_micros, data.totals.total_micros), expected);
            data.document(Language::En, false, Look::of(&Branding::default(), None)).unwrap();
        };
        let line = |quantity: &str, price: i64, rate: &str| json!({"description": "x", "quantity": quantity, "unit_price_micros": price, "tax_percent": rate, "amount_micros": 0});
        check("EUR", json!([line("2.5", 99_990_000, "19"), line("3", 10_000, "7")]), (250_010_000, 297_510_000));
        check("JPY", json!([line("0.333333", 1_000_000_000, "10")]), (333_000_000, 366_000_000));
        check("EUR", json!([line("-1", 100_000_000, "19")]), (-100_000_000, -119_000_000));
        // A third of a thousandth of a cent, many times: nothing comes of it, and nothing goes astray.
        check("EUR", json!(vec![line("1", 3, "19.6"); 50]), (0, 0));
    }

    #[test]
    fn taxes_may_be_rounded_line_by_line() {
        let mut invoice = invoice();
        let line = json!({"description": "Stamp", "tax_percent": "7", "amount_micros": 70_000});
        // Seven percent of seven cents are less than half a cent: none line by line, and one cent for all three.
        invoice["lines"] = json!([line, line, line]);
        for (tax, is_right) in [(0, true), (10_000, true), (20_000, false)] {
            invoice["taxes"] = json!([{"name": "VAT", "percent": "7", "base_micros": 210_000, "amount_micros": tax}]);
            invoice["totals"] = json!({"net_micros": 210_000, "tax_micros": tax, "total_micros": 210_000 + tax});
            assert_eq!(read(&invoice).is_ok(), is_right, "{tax}");
        }
    }

    #[test]
    fn mistakes_are_named_by_their_place() {
        let check = |pointer: &str, value: Value, at: &str| {
            let found = with(pointer, value);
            assert!(found.iter().any(|(pointer, _)| pointer == at), "{pointer}: {found:?}");
        };
        check("/number", json!(" "), "/invoice/number");
        check("/number", json!("x".repeat(61)), "/invoice/number");
        check("/currency", json!("euro"), "/invoice/currency");
        check("/buyer/name", json!(""), "/invoice/buyer/name");
        check("/buyer/name", json!("東京"), "/invoice/buyer/name");
        check("/buyer/address", json!(vec!["x"; 9]), "/invoice/buyer/address");
        check("/lines", json!([]), "/invoice/lines");
        check("/due_date", json!("2026-11-28"), "/invoice/due_date");
        check("/due_date", json!("tomorrow"), "/invoice/due_date");
        check("/lines/0/quantity", json!(2.5), "/invoice/lines/0/quantity");
        check("/lines/0/quantity", Value::Null, "/invoice/lines/0/quantity");
        check("/lines/0/price", json!(1), "/invoice/lines/0/price");
        check("/lines/0/description", json!("x".repeat(2_001)), "/invoice/lines/0/description");
    }

    #[test]
    fn currencies_without_cents_have_whole_amounts() {
        let mut yen = invoice();
        yen["currency"] = json!("JPY");
        yen["lines"] = json!([{"description": "Tea", "amount_micros": 500_500_000}]);
        yen["taxes"] = json!([]);
        yen["totals"] = json!({"net_micros": 500_500_000, "total_micros": 500_500_000});
        assert!(read(&yen).unwrap_err().errors[0].detail.contains("1000000 millionths"));
    }

    #[test]
    fn a_file_is_named_after_its_number() {
        let check = |number: &str, expected: &str| assert_eq!(filename(number), expected);
        check("2026-0042", "invoice-2026-0042.pdf");
        check("RE 2026/11", "invoice-RE-2026-11.pdf");
        check("..\\x", "invoice-..-x.pdf");
        check("Счёт-5", "invoice-Счёт-5.pdf");
    }
}
