//! What a reader of the PDF sees, asked through a PDF library that is not the one it was written with.

use jiff::civil::date;
use lopdf::Document;

use super::*;
use crate::branding::Branding;

fn document() -> InvoiceDocument {
    let seller = Party {
        name: "Lovelace & Partner GmbH".to_owned(),
        address: vec!["Analytische Straße 18".to_owned(), "10115 Berlin".to_owned()],
        tax_id: Some("DE123456789".to_owned()),
        email: Some("billing@lovelace.example".to_owned()),
        phone: None,
    };
    let buyer = Party {
        name: "Babbage Engines Ltd".to_owned(),
        address: vec!["1 Dorset Street".to_owned(), "London W1U 4EG".to_owned()],
        ..Party::default()
    };
    let line = |description: &str, quantity, price, amount| Item {
        description: description.to_owned(),
        quantity_micros: Some(quantity),
        unit: Some("h".to_owned()),
        unit_price_micros: Some(price),
        tax_rate_micros: Some(19_000_000),
        amount_micros: amount,
    };
    InvoiceDocument {
        kind: Kind::Invoice,
        title: None,
        language: Language::En,
        paper: Paper::A4,
        number: "2026-0042".to_owned(),
        issued_on: date(2026, 11, 29),
        due_on: Some(date(2026, 12, 13)),
        period: None,
        references: vec![("Order".to_owned(), "PO-77".to_owned())],
        seller,
        buyer,
        currency: "EUR".to_owned(),
        lines: vec![
            line("Programs for the analytical engine", 12_500_000, 120_000_000, 1_500_000_000),
            line("Proof of the Bernoulli numbers", 1_000_000, 250_000_000, 250_000_000),
        ],
        taxes: vec![TaxLine {
            name: "VAT".to_owned(),
            rate_micros: Some(19_000_000),
            base_micros: 1_750_000_000,
            amount_micros: 332_500_000,
        }],
        totals: Totals { net_micros: 1_750_000_000, total_micros: 2_082_500_000, paid_micros: 0 },
        payment: Some("IBAN DE02 1203 0000 0000 2020 51\nReference 2026-0042".to_owned()),
        notes: Some("Thank you for your trust.".to_owned()),
        look: Look::of(&Branding::default(), None),
    }
}

/// The texts of each page in the order they are drawn, with single spaces.
fn pages(pdf: &[u8]) -> Vec<String> {
    let read = Document::load_mem(pdf).expect("another library opens it");
    let numbers: Vec<u32> = read.get_pages().into_keys().collect();
    let text = |page: u32| read.extract_text(&[page]).expect("its texts can be read");
    numbers.into_iter().map(|page| text(page).split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn an_invoice_says_who_owes_whom_what() {
    let pages = pages(&invoice(&document()).unwrap());
    let expected = "Lovelace & Partner GmbH Invoice 2026-0042 \
        From Lovelace & Partner GmbH Analytische Straße 18 10115 Berlin Tax ID: DE123456789 billing@lovelace.example \
        Billed to Babbage Engines Ltd 1 Dorset Street London W1U 4EG \
        Number 2026-0042 Date 29 November 2026 Due 13 December 2026 Order PO-77 \
        Description Quantity Unit price Tax Amount \
        Programs for the analytical engine 12.5 h 120.00 19 % 1,500.00 \
        Proof of the Bernoulli numbers 1 h 250.00 19 % 250.00 \
        1,750.00 Net amount 332.50 VAT 19 % on 1,750.00 Total EUR 2,082.50 \
        Payment IBAN DE02 1203 0000 0000 2020 51 Reference 2026-0042 \
        Notes Thank you for your trust. \
        Lovelace & Partner GmbH Page 1 of 1";
    assert_eq!(pages, [expected]);
}

#[test]
fn the_same_document_gives_the_same_bytes() {
    assert_eq!(invoice(&document()).unwrap(), invoice(&document()).unwrap());
    let mut other = document();
    other.number = "2026-0043".to_owned();
    assert_ne!(invoice(&document()).unwrap(), invoice(&other).unwrap());
}

#[test]
fn a_long_invoice_goes_on_over_pages_and_repeats_what_a_loose_sheet_needs() {
    let mut long = document();
    long.lines = (1..=90)
        .map(|number| Item {
            description: format!("Item {number:03}"),
            amount_micros: number * figures::ONE,
            ..Item::default()
        })
        .collect();
    let pages = pages(&invoice(&long).unwrap());
    assert!(pages.len() > 2, "{} pages", pages.len());
    for (index, page) in pages.iter().enumerate() {
        assert!(page.ends_with(&format!("Page {} of {}", index + 1, pages.len())), "{page}");
        assert!(page.contains("Invoice 2026-0042") || index == 0, "{page}");
        assert_eq!(page.matches("Description Amount").count(), 1, "each page with lines has a head: {page}");
    }
    let all = pages.join(" ");
    for number in 1..=90 {
        assert_eq!(all.matches(&format!("Item {number:03} {number}.00")).count(), 1, "line {number}");
    }
    assert_eq!(all.matches("Total EUR").count(), 1);
}

#[test]
fn a_description_longer_than_a_page_loses_nothing() {
    let mut long = document();
    let words: Vec<String> = (0..2_000).map(|number| format!("w{number}")).collect();
    long.lines[0].description = words.join(" ");
    let pages = pages(&invoice(&long).unwrap());
    assert!(pages.len() > 1);
    let all = pages.join(" ");
    let last = words.iter().rev().find(|word| !all.split(' ').any(|seen| seen == word.as_str()));
    assert_eq!(last, None, "each word is on some page");
}

#[test]
fn names_and_figures_of_any_length_stay_in_their_places() {
    let mut wide = document();
    wide.seller.name =
        "Gesellschaft für außerordentlich lange Firmennamen und Beteiligungsverwaltung mbH & Co. KGaA ".repeat(2);
    wide.buyer.name = "W".repeat(200);
    wide.number = "R".repeat(60);
    wide.lines[0].amount_micros = i64::MAX;
    wide.lines[0].unit = Some("Kilowattstunden".to_owned());
    wide.totals.total_micros = i64::MAX;
    wide.taxes[0].name = "Steuer mit einem Namen, der nicht in eine Zeile passt ".repeat(3);
    for paper in [Paper::A4, Paper::Letter] {
        let document = InvoiceDocument { paper, ..wide.clone() };
        let fonts = fonts::Fonts::load();
        let sheets = super::invoice::lay_out(&document, &fonts);
        for mark in sheets.pages.iter().flatten() {
            if let sheet::Mark::Text { x, y, line, .. } = mark {
                let (right, bottom) = (x + line.width, *y);
                assert!(
                    *x >= 40.0 && right <= sheets.width - 40.0,
                    "{x} to {right}: {:?}",
                    line.runs.first().map(|run| &run.text)
                );
                assert!(bottom > 0.0 && bottom < sheets.height - 20.0, "{bottom}");
            }
        }
        assert!(invoice(&document).unwrap().starts_with(b"%PDF-"));
    }
}

#[test]
fn pages_run_from_right_to_left_where_the_language_does() {
    let mut arabic = document();
    arabic.language = Language::Ar;
    arabic.seller.name = "شركة الأفق للاستشارات".to_owned();
    arabic.lines[0].description = "خدمات استشارية Cloud".to_owned();
    let fonts = fonts::Fonts::load();
    let sheets = super::invoice::lay_out(&arabic, &fonts);
    let place = |said: &str| {
        let found = sheets.pages[0].iter().find_map(|mark| match mark {
            sheet::Mark::Text { x, line, .. } if line.runs.iter().any(|run| run.text == said) => Some(x + line.width),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("{said} is on the page"))
    };
    assert!((place("الوصف") - (sheets.width - 53.0)).abs() < 0.1, "the description stands at the right");
    assert!(place("1,500.00") < 150.0, "its amount at the left");
    let text = pages(&invoice(&arabic).unwrap()).concat();
    assert!(text.contains("1,500.00") && text.contains("Cloud") && text.contains("2026-0042"), "{text}");
}

#[test]
fn letters_that_join_are_drawn_joined_and_can_be_copied() {
    let mut hindi = document();
    hindi.language = Language::Hi;
    hindi.lines[0].amount_micros = 10_000_000 * figures::ONE;
    hindi.notes = Some("धन्यवाद, कृपया समय पर भुगतान करें।".to_owned());
    let fonts = fonts::Fonts::load();
    let sheets = super::invoice::lay_out(&hindi, &fonts);
    let glyphs = sheets.pages.iter().flatten().flat_map(|mark| match mark {
        sheet::Mark::Text { line, .. } => line.runs.iter().flat_map(|run| &run.glyphs).collect(),
        _ => Vec::new(),
    });
    assert_eq!(glyphs.filter(|glyph| glyph.glyph_id.to_u32() == 0).count(), 0, "nothing is drawn as an empty box");
    let pdf = invoice(&hindi).unwrap();
    let read = Document::load_mem(&pdf).unwrap();
    let page = read.get_pages()[&1];
    // What glyphs that stand for several letters say is written beside them.
    let drawing = String::from_utf8_lossy(&read.get_page_content(page)).into_owned();
    assert!(drawing.contains("/ActualText"), "{drawing}");
    assert!(pages(&pdf).concat().contains("1,00,00,000.00"), "digits are grouped as in India");
}

#[test]
fn currencies_keep_their_own_decimals() {
    let check = |currency: &str, micros: i64, expected: &str| {
        let mut other = document();
        other.currency = currency.to_owned();
        other.totals.total_micros = micros;
        let text = pages(&invoice(&other).unwrap()).concat();
        assert!(text.contains(expected), "{expected} in {text}");
    };
    check("JPY", 1_235_000_000, "Total JPY 1,235 ");
    check("KWD", 1_234_500_000, "Total KWD 1,234.500 ");
    check("EUR", -12_000_000, "Total EUR -12.00 ");
}

#[test]
fn what_was_paid_is_taken_off() {
    let mut paid = document();
    paid.totals.paid_micros = 82_500_000;
    let text = pages(&invoice(&paid).unwrap()).concat();
    assert!(text.contains("Total EUR 2,082.50 Already paid EUR -82.50 Amount due EUR 2,000.00"), "{text}");
}

#[test]
fn characters_no_font_has_are_named() {
    let mut other = document();
    assert_eq!(uncovered(&other), []);
    other.buyer.name = "東京 Ltd".to_owned();
    other.lines[1].description = "Party 🎉".to_owned();
    assert_eq!(uncovered(&other), [("/buyer/name".to_owned(), '東'), ("/lines/1/description".to_owned(), '🎉')]);
    let text = pages(&invoice(&other).unwrap()).concat();
    assert!(text.contains("\u{fffd}\u{fffd} Ltd"), "{text}");
}

#[test]
fn a_logo_is_drawn_and_a_broken_one_is_left_out() {
    // A chequered flag.
    let png = include_bytes!("testdata/logo.png").to_vec();
    let mut with = document();
    with.look.logo = Picture::read(png.clone());
    assert!(with.look.logo.is_some());
    let drawn = invoice(&with).unwrap();
    assert!(!pages(&drawn)[0].starts_with("Lovelace"), "the logo stands where the name did");
    let read = Document::load_mem(&drawn).unwrap();
    let is_picture = |object: &lopdf::Object| {
        object.as_stream().is_ok_and(|stream| {
            stream.dict.get(b"Subtype").is_ok_and(|kind| kind.as_name().is_ok_and(|name| name == b"Image"))
        })
    };
    assert!(read.objects.values().any(is_picture));

    let mut broken = png;
    let end = broken.len() - 20;
    broken[45..end].fill(0);
    with.look.logo = Picture::read(broken);
    assert!(with.look.logo.is_some(), "its head is sound");
    assert!(pages(&invoice(&with).unwrap())[0].starts_with("Lovelace"));
    assert_eq!(Picture::read(b"<svg/>".to_vec()), None);
    assert_eq!(Picture::read(Vec::new()), None);
}
