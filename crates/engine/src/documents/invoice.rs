//! Where everything stands on an invoice: who and what at the top, the table, the sums, how to pay, and on each page which of how many it is.

use super::{
    InvoiceDocument, Kind, Paper, Party,
    color::Color,
    figures,
    fonts::Fonts,
    sheet::{Sheets, Side, Span},
    text::{Line, Setter, Style},
    words::Words,
};

/// Distances are in points.
const MARGIN: f32 = 48.0;
/// The coloured bar at the top of each page.
const BAR: f32 = 8.0;
/// Where the first page begins, below the bar.
const TOP: f32 = 42.0;
/// Where later pages begin, below their heading.
const TOP_LATER: f32 = 60.0;
/// Kept free below, for the page's number.
const FOOT: f32 = 58.0;
const GAP: f32 = 16.0;
/// Around a table's texts.
const PAD: f32 = 5.0;
const LOGO: (f32, f32) = (170.0, 56.0);
const HAIR: f32 = 0.6;

const BODY: Style = Style { size: 9.5, is_bold: false };
const STRONG: Style = Style { size: 9.5, is_bold: true };
const SMALL: Style = Style { size: 8.5, is_bold: false };
const HEADING: Style = Style { size: 8.5, is_bold: true };
const NAME: Style = Style { size: 15.0, is_bold: true };
const TITLE: Style = Style { size: 22.0, is_bold: true };
const SUM: Style = Style { size: 11.5, is_bold: true };

/// What the document is called.
pub(super) fn title(document: &InvoiceDocument) -> &str {
    let words = document.language.words();
    document.title.as_deref().unwrap_or(match document.kind {
        Kind::Invoice => words.invoice,
        Kind::CreditNote => words.credit_note,
    })
}

/// Gives everything its place.
pub(super) fn lay_out(document: &InvoiceDocument, fonts: &Fonts) -> Sheets {
    let (width, height) = match document.paper {
        Paper::A4 => (595.28, 841.89),
        Paper::Letter => (612.0, 792.0),
    };
    let is_rtl = document.language.is_rtl();
    let mut layout = Layout {
        document,
        words: document.language.words(),
        setter: Setter { fonts, is_rtl },
        sheets: Sheets { width, height, is_rtl, pages: vec![Vec::new()], y: TOP },
        inks: Inks::of(document),
        table: None,
    };
    layout.bar();
    layout.head();
    layout.parties();
    layout.table();
    layout.sums();
    layout.remarks(layout.words.payment, document.payment.as_deref());
    layout.remarks(layout.words.notes, document.notes.as_deref());
    layout.feet();
    layout.sheets
}

struct Inks {
    bar: Color,
    on_bar: Color,
    title: Color,
    text: Color,
    muted: Color,
    hair: Color,
}

impl Inks {
    fn of(document: &InvoiceDocument) -> Self {
        let look = &document.look;
        let text = look.text.readable_on(Color::WHITE);
        Self {
            bar: look.primary,
            on_bar: look.on_primary.readable_on(look.primary),
            title: look.primary.readable_on(Color::WHITE),
            text,
            muted: text.tint(70).readable_on(Color::WHITE),
            hair: text.tint(18),
        }
    }
}

/// The table's columns; those nothing stands in are left out.
#[derive(Debug, Clone, Copy)]
struct Columns {
    description: Span,
    quantity: Option<Span>,
    price: Option<Span>,
    tax: Option<Span>,
    amount: Span,
}

struct Layout<'a> {
    document: &'a InvoiceDocument,
    words: &'static Words,
    setter: Setter<'a>,
    sheets: Sheets,
    inks: Inks,
    /// The table whose head is repeated on a new page, while it is being filled.
    table: Option<Columns>,
}

impl Layout<'_> {
    fn content(&self) -> Span {
        Span { start: MARGIN, width: self.sheets.width - 2.0 * MARGIN }
    }

    fn room(&self) -> f32 {
        self.sheets.height - FOOT - self.sheets.y
    }

    fn bar(&mut self) {
        let all = Span { start: 0.0, width: self.sheets.width };
        self.sheets.block(all, 0.0, BAR, self.inks.bar);
    }

    /// Begins a new page, with what tells a loose sheet where it belongs.
    fn turn(&mut self) {
        self.sheets.pages.push(Vec::new());
        self.bar();
        let (left, right) = self.halves();
        let what = format!("{} {}", title(self.document), self.document.number);
        self.text(left, Side::Start, 28.0, &what, HEADING, self.inks.muted);
        let name = self.setter.clipped(&self.document.seller.name, SMALL, right.width);
        self.sheets.text(right, Side::End, 28.0, name, self.inks.muted);
        self.sheets.block(self.content(), 44.0, HAIR, self.inks.hair);
        self.sheets.y = TOP_LATER;
        if let Some(columns) = self.table {
            self.table_head(columns);
        }
    }

    fn halves(&self) -> (Span, Span) {
        let content = self.content();
        let half = (content.width - GAP) / 2.0;
        (content.part(0.0, half), content.part(half + GAP, half))
    }

    /// Turns the page unless this much fits.
    fn need(&mut self, height: f32) {
        if self.room() < height {
            self.turn();
        }
    }

    /// Puts one line, smaller if need be.
    fn text(&mut self, span: Span, side: Side, top: f32, text: &str, style: Style, color: Color) {
        let line = self.setter.fitted(text, style, span.width);
        self.sheets.text(span, side, top, line, color);
    }

    /// Puts as many lines as the text needs, and says where they end.
    fn lines(&mut self, span: Span, side: Side, top: f32, text: &str, style: Style, color: Color) -> f32 {
        let mut y = top;
        for line in self.setter.wrap(text, style, span.width) {
            self.sheets.text(span, side, y, line, color);
            y += style.leading();
        }
        y
    }

    fn head(&mut self) {
        let (left, right) = self.halves();
        let top = self.sheets.y;
        let mut end = match &self.document.look.logo {
            Some(logo) => {
                let size = logo.fit(LOGO.0, LOGO.1);
                self.sheets.picture(left, top, size);
                top + size.1
            }
            None => self.lines(left, Side::Start, top, &self.document.seller.name, NAME, self.inks.text),
        };
        self.text(right, Side::End, top - 4.0, title(self.document), TITLE, self.inks.title);
        self.text(right, Side::End, top + 26.0, &self.document.number, BODY, self.inks.muted);
        end = end.max(top + 26.0 + BODY.leading());
        self.sheets.y = end + 22.0;
    }

    fn parties(&mut self) {
        let content = self.content();
        let third = (content.width - 2.0 * GAP) / 3.0;
        let top = self.sheets.y;
        let seller = self.party(content.part(0.0, third), self.words.seller, &self.document.seller);
        let buyer = self.party(content.part(third + GAP, third), self.words.buyer, &self.document.buyer);
        let details = self.details(content.part(2.0 * (third + GAP), third), top);
        self.sheets.y = seller.max(buyer).max(details) + 20.0;
    }

    fn party(&mut self, span: Span, heading: &str, party: &Party) -> f32 {
        let mut y = self.lines(span, Side::Start, self.sheets.y, heading, HEADING, self.inks.muted) + 2.0;
        y = self.lines(span, Side::Start, y, &party.name, STRONG, self.inks.text);
        let tax_id = party.tax_id.as_ref().map(|id| format!("{}: {id}", self.words.tax_id));
        for line in party.address.iter().chain(&tax_id).chain(&party.email).chain(&party.phone) {
            y = self.lines(span, Side::Start, y, line, BODY, self.inks.text);
        }
        y
    }

    fn details(&mut self, span: Span, top: f32) -> f32 {
        let (document, words, language) = (self.document, self.words, self.document.language);
        let mut rows = vec![(words.number, document.number.clone()), (words.issued, language.date(document.issued_on))];
        rows.extend(document.due_on.map(|date| (words.due, language.date(date))));
        let period = document.period.map(|(first, last)| format!("{} – {}", language.date(first), language.date(last)));
        rows.extend(period.map(|period| (words.period, period)));
        rows.extend(document.references.iter().map(|(name, value)| (name.as_str(), value.clone())));
        let mut y = top;
        let name_width = span.width * 0.42;
        for (name, value) in rows {
            let after = self.lines(span.part(0.0, name_width), Side::Start, y, name, SMALL, self.inks.muted);
            let rest = span.part(name_width + 4.0, span.width - name_width - 4.0);
            y = self.lines(rest, Side::End, y, &value, SMALL, self.inks.text).max(after) + 2.0;
        }
        y
    }

    fn columns(&self) -> Columns {
        let lines = &self.document.lines;
        let content = self.content();
        let mut end = content.width;
        let mut take = |width: f32| {
            end -= width;
            content.part(end, width).inset(PAD)
        };
        let amount = take(88.0);
        let tax = lines.iter().any(|line| line.tax_rate_micros.is_some()).then(|| take(56.0));
        let price = lines.iter().any(|line| line.unit_price_micros.is_some()).then(|| take(84.0));
        let quantity = lines.iter().any(|line| line.quantity_micros.is_some()).then(|| take(66.0));
        Columns { description: content.part(0.0, end).inset(PAD), quantity, price, tax, amount }
    }

    fn table_head(&mut self, columns: Columns) {
        let height = HEADING.leading() + 2.0 * PAD;
        let top = self.sheets.y;
        self.sheets.block(self.content(), top, height, self.inks.bar);
        let words = self.words;
        let mut put = |span: Span, side, text: &str| {
            self.text(span, side, top + PAD, text, HEADING, self.inks.on_bar);
        };
        put(columns.description, Side::Start, words.description);
        for (span, text) in [
            (columns.quantity, words.quantity),
            (columns.price, words.unit_price),
            (columns.tax, words.tax_rate),
            (Some(columns.amount), words.amount),
        ] {
            if let Some(span) = span {
                put(span, Side::End, text);
            }
        }
        self.sheets.y = top + height;
    }

    fn table(&mut self) {
        let columns = self.columns();
        self.need(HEADING.leading() + BODY.leading() + 4.0 * PAD);
        self.table_head(columns);
        self.table = Some(columns);
        for index in 0..self.document.lines.len() {
            self.row(columns, index);
        }
        self.table = None;
        self.sheets.y += 14.0;
    }

    /// One line of the invoice. It stays on one page where a page can hold it.
    fn row(&mut self, columns: Columns, index: usize) {
        let item = &self.document.lines[index];
        let leading = BODY.leading();
        let described = self.setter.wrap(&item.description, BODY, columns.description.width);
        let height = described.len() as f32 * leading + 2.0 * PAD;
        let page = self.sheets.height - FOOT - TOP_LATER - HEADING.leading() - 2.0 * PAD;
        if height <= page {
            self.need(height);
        }
        self.sheets.y += PAD;
        let quantity = item.quantity_micros.map(|quantity| {
            let figure = self.figure(quantity, 0);
            item.unit.as_ref().map(|unit| format!("{figure} {unit}")).unwrap_or(figure)
        });
        let price = item.unit_price_micros.map(|price| self.amount(price));
        let tax = item.tax_rate_micros.map(|rate| format!("{} %", self.figure(rate, 0)));
        let amount = Some(self.amount(item.amount_micros));
        for (number, line) in described.into_iter().enumerate() {
            if self.room() < leading + PAD {
                self.turn();
                self.sheets.y += PAD;
            }
            let top = self.sheets.y;
            self.sheets.text(columns.description, Side::Start, top, line, self.inks.text);
            if number == 0 {
                for (span, figure) in [
                    (columns.quantity, &quantity),
                    (columns.price, &price),
                    (columns.tax, &tax),
                    (Some(columns.amount), &amount),
                ] {
                    if let (Some(span), Some(figure)) = (span, figure) {
                        self.text(span, Side::End, top, figure, BODY, self.inks.text);
                    }
                }
            }
            self.sheets.y += leading;
        }
        self.sheets.y += PAD;
        self.sheets.block(self.content(), self.sheets.y - HAIR, HAIR, self.inks.hair);
    }

    fn sums(&mut self) {
        let (document, words) = (self.document, self.words);
        let totals = document.totals;
        let width = 270.0;
        let span = self.content().part(self.content().width - width, width);
        let (names, figures) = (span.part(PAD, 160.0), span.part(160.0, width - 160.0 - PAD));
        let mut rows = Vec::new();
        if !document.taxes.is_empty() || totals.net_micros != totals.total_micros {
            rows.push((words.net.to_owned(), self.amount(totals.net_micros)));
        }
        for tax in &document.taxes {
            let rate = tax.rate_micros.map(|rate| format!(" {} %", self.figure(rate, 0))).unwrap_or_default();
            let name = words.tax_line.replace("{tax}", &format!("{}{rate}", tax.name));
            rows.push((name.replace("{base}", &self.amount(tax.base_micros)), self.amount(tax.amount_micros)));
        }
        let wrapped: Vec<(Vec<Line>, String)> =
            rows.into_iter().map(|(name, figure)| (self.setter.wrap(&name, BODY, names.width), figure)).collect();
        let lines: usize = wrapped.iter().map(|(name, _)| name.len()).sum();
        let band = SUM.leading() + 2.0 * PAD;
        // As many taxes as fill a page may be broken up; the sums of any usual invoice are not.
        self.need((lines as f32 * (BODY.leading() + 3.0) + band + 2.0 * (BODY.leading() + 3.0)).min(400.0));
        for (name, figure) in wrapped {
            self.need(BODY.leading() * name.len() as f32);
            let top = self.sheets.y;
            self.text(figures, Side::End, top, &figure, BODY, self.inks.text);
            for line in name {
                self.sheets.text(names, Side::Start, self.sheets.y, line, self.inks.text);
                self.sheets.y += BODY.leading();
            }
            self.sheets.y += 3.0;
        }
        let in_currency = |layout: &Self, micros| format!("{} {}", document.currency, layout.amount(micros));
        let was_paid = totals.paid_micros != 0;
        if was_paid {
            for (name, micros) in [(words.total, totals.total_micros), (words.paid, -totals.paid_micros)] {
                self.need(BODY.leading());
                let top = self.sheets.y;
                let figure = in_currency(self, micros);
                self.text(names, Side::Start, top, name, STRONG, self.inks.text);
                self.text(figures, Side::End, top, &figure, STRONG, self.inks.text);
                self.sheets.y += BODY.leading() + 3.0;
            }
        }
        self.need(band);
        let top = self.sheets.y + 2.0;
        let (name, sum) = if was_paid {
            (words.payable, totals.total_micros - totals.paid_micros)
        } else {
            (words.total, totals.total_micros)
        };
        self.sheets.block(span, top, band, self.inks.bar);
        let figure = in_currency(self, sum);
        let (names, figures) = (span.part(PAD, 118.0), span.part(118.0, width - 118.0 - PAD));
        self.text(names, Side::Start, top + PAD, name, SUM, self.inks.on_bar);
        self.text(figures, Side::End, top + PAD, &figure, SUM, self.inks.on_bar);
        self.sheets.y = top + band + 22.0;
    }

    /// A heading with a text that may go on for pages.
    fn remarks(&mut self, heading: &str, text: Option<&str>) {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return };
        let content = self.content();
        self.need(HEADING.leading() + 2.0 * BODY.leading());
        self.sheets.y = self.lines(content, Side::Start, self.sheets.y, heading, HEADING, self.inks.muted) + 2.0;
        for line in self.setter.wrap(text, BODY, content.width) {
            self.need(BODY.leading());
            self.sheets.text(content, Side::Start, self.sheets.y, line, self.inks.text);
            self.sheets.y += BODY.leading();
        }
        self.sheets.y += 14.0;
    }

    /// What stands at the bottom of each page, once it is known how many there are.
    fn feet(&mut self) {
        let (left, right) = self.halves();
        let content = self.content();
        let top = self.sheets.height - 38.0;
        let count = self.sheets.pages.len();
        let mut pages = std::mem::take(&mut self.sheets.pages);
        for (index, page) in pages.iter_mut().enumerate() {
            self.sheets.pages = vec![std::mem::take(page)];
            let number = self.words.page.replace("{pages}", &count.to_string());
            let number = number.replace("{page}", &(index + 1).to_string());
            self.sheets.block(content, top - 8.0, HAIR, self.inks.hair);
            let name = self.setter.clipped(&self.document.seller.name, SMALL, left.width);
            self.sheets.text(left, Side::Start, top, name, self.inks.muted);
            self.text(right, Side::End, top, &number, SMALL, self.inks.muted);
            *page = self.sheets.pages.swap_remove(0);
        }
        self.sheets.pages = pages;
    }

    /// An amount with at least the currency's decimals.
    fn amount(&self, micros: i64) -> String {
        self.figure(micros, figures::decimals(&self.document.currency))
    }

    fn figure(&self, micros: i64, least: u32) -> String {
        figures::write(micros, least, self.document.language.marks())
    }
}
