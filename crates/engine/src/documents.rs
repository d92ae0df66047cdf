//! Documents as PDF: invoices and credit notes, ours and our tenants'.
//!
//! Data in, bytes out: the same document gives the same bytes, whoever renders it and whenever. Amounts are taken as they are; whoever makes the document has checked them. Pages run from
//! right to left for languages that do. A character none of the shipped fonts has (Chinese, Japanese and Korean, pictures) is drawn as `\u{fffd}`; [`uncovered`] names such characters beforehand,
//! for callers who would rather refuse. A picture that turns out to be broken is left out, and the seller's name stands in its place: a logo must not hold up an invoice.

mod color;
pub mod figures;
mod fonts;
mod invoice;
mod paint;
mod sheet;
mod text;
mod words;

use jiff::civil::Date;

pub use self::{
    color::Color,
    paint::{PICTURE_MAX, Picture},
    words::Language,
};
use crate::{Error, branding::Branding};

/// Most lines of one document: some forty pages, laid out in well under a second.
pub const LINES_MAX: usize = 1_000;

/// What a document is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Asks for money.
    #[default]
    Invoice,
    /// Takes back what an invoice asked for.
    CreditNote,
}

/// What a document is printed on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Paper {
    /// 210 × 297 mm.
    #[default]
    A4,
    /// 8.5 × 11 inches.
    Letter,
}

/// An invoice or a credit note, ready to be drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvoiceDocument {
    /// What it is.
    pub kind: Kind,
    /// What it is called, such as `Tax invoice`; the language's word for its kind when `None`.
    pub title: Option<String>,
    /// In which language the parts are named and figures written.
    pub language: Language,
    /// What it is printed on.
    pub paper: Paper,
    /// Its number, as the seller counts.
    pub number: String,
    /// The day it is written.
    pub issued_on: Date,
    /// The day it is to be paid by.
    pub due_on: Option<Date>,
    /// The first and last day of what it charges for.
    pub period: Option<(Date, Date)>,
    /// More about it, such as an order number: what it is called, and what it says.
    pub references: Vec<(String, String)>,
    /// Who sells.
    pub seller: Party,
    /// Who buys.
    pub buyer: Party,
    /// ISO 4217.
    pub currency: String,
    /// What is charged for; at most [`LINES_MAX`].
    pub lines: Vec<Item>,
    /// Taxes, one line for each rate.
    pub taxes: Vec<TaxLine>,
    /// Sums.
    pub totals: Totals,
    /// How to pay; may have several lines.
    pub payment: Option<String>,
    /// Anything else; may have several lines.
    pub notes: Option<String>,
    /// How it looks.
    pub look: Look,
}

/// One side of an invoice.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Party {
    /// Its name.
    pub name: String,
    /// Its address, line by line.
    pub address: Vec<String>,
    /// Its number with the tax office.
    pub tax_id: Option<String>,
    /// Where it reads mail.
    pub email: Option<String>,
    /// Where it answers the phone.
    pub phone: Option<String>,
}

/// One line of an invoice. All numbers are millionths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Item {
    /// What it is; may have several lines.
    pub description: String,
    /// How many.
    pub quantity_micros: Option<i64>,
    /// Of what, such as `h`.
    pub unit: Option<String>,
    /// What one costs.
    pub unit_price_micros: Option<i64>,
    /// The tax's rate in percent.
    pub tax_rate_micros: Option<i64>,
    /// What the line costs before tax.
    pub amount_micros: i64,
}

/// The tax of one rate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaxLine {
    /// What it is called, such as `VAT`.
    pub name: String,
    /// Its rate in percent, in millionths.
    pub rate_micros: Option<i64>,
    /// What it is levied on.
    pub base_micros: i64,
    /// What it comes to.
    pub amount_micros: i64,
}

/// The sums of an invoice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Before tax.
    pub net_micros: i64,
    /// With tax.
    pub total_micros: i64,
    /// Of that, what was paid already.
    pub paid_micros: i64,
}

/// How a document looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Of bars and the title.
    pub primary: Color,
    /// Of texts on that colour, where it can be read there.
    pub on_primary: Color,
    /// Of texts.
    pub text: Color,
    /// In the first page's corner.
    pub logo: Option<Picture>,
}

impl Look {
    /// The branding's colours with this logo.
    pub fn of(branding: &Branding, logo: Option<Picture>) -> Self {
        let read = |text: &str, otherwise| Color::read(text).unwrap_or(otherwise);
        let colors = &branding.colors;
        Self {
            primary: read(&colors.primary, Color::BLACK),
            on_primary: read(&colors.on_primary, Color::WHITE),
            text: read(&colors.text, Color::BLACK),
            logo,
        }
    }
}

/// Why a document could not be made: the library refused what we drew. The text is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the PDF could not be written: {0}")]
pub struct Unwritable(String);

/// Draws an invoice or credit note as PDF. Takes some ten milliseconds, most of it for embedding fonts: not for a thread that serves requests.
pub fn invoice(document: &InvoiceDocument) -> Result<Vec<u8>, Unwritable> {
    let fonts = fonts::Fonts::load();
    let pages = invoice::lay_out(document, &fonts);
    paint::paint(document, &fonts, &pages)
}

/// Draws an invoice as [`invoice`] does, on a thread that may be kept busy.
#[crate::boxed]
pub async fn draw(document: InvoiceDocument) -> Result<Vec<u8>, Error> {
    let drawn = tokio::task::spawn_blocking(move || invoice(&document)).await;
    drawn.map_err(Error::internal)?.map_err(Error::internal)
}

/// What a document is called: its own title, or its language's word for what it is.
pub fn title(document: &InvoiceDocument) -> &str {
    invoice::title(document)
}

/// An amount with its currency before it, as documents write it.
pub fn money(micros: i64, currency: &str, language: Language) -> String {
    format!("{currency} {}", figures::write(micros, figures::decimals(currency), language.marks()))
}

/// The first character of a text that no font has: it would be an empty box on paper.
pub fn without_font(text: &str) -> Option<char> {
    if text.is_ascii() {
        return None;
    }
    let fonts = fonts::Fonts::load();
    text.chars().find(|c| !c.is_control() && !fonts.has(*c))
}

/// The first character of each field that no font has, with a pointer to the field.
pub fn uncovered(document: &InvoiceDocument) -> Vec<(String, char)> {
    let fonts = fonts::Fonts::load();
    let mut found = Vec::new();
    let mut look = |pointer: String, text: &str| {
        found.extend(text.chars().find(|c| !c.is_control() && !fonts.has(*c)).map(|c| (pointer, c)));
    };
    for (field, text) in [
        ("title", &document.title),
        ("number", &Some(document.number.clone())),
        ("payment", &document.payment),
        ("notes", &document.notes),
    ] {
        look(format!("/{field}"), text.as_deref().unwrap_or_default());
    }
    for (side, party) in [("seller", &document.seller), ("buyer", &document.buyer)] {
        look(format!("/{side}/name"), &party.name);
        for (index, line) in party.address.iter().enumerate() {
            look(format!("/{side}/address/{index}"), line);
        }
        for (field, text) in [("tax_id", &party.tax_id), ("email", &party.email), ("phone", &party.phone)] {
            look(format!("/{side}/{field}"), text.as_deref().unwrap_or_default());
        }
    }
    for (index, (name, value)) in document.references.iter().enumerate() {
        look(format!("/references/{index}/name"), name);
        look(format!("/references/{index}/value"), value);
    }
    for (index, line) in document.lines.iter().enumerate() {
        look(format!("/lines/{index}/description"), &line.description);
        look(format!("/lines/{index}/unit"), line.unit.as_deref().unwrap_or_default());
    }
    for (index, tax) in document.taxes.iter().enumerate() {
        look(format!("/taxes/{index}/name"), &tax.name);
    }
    found
}

#[cfg(test)]
mod tests;
