//! Every component on one page, for those who build pages. Only in debug builds.

use maud::html;
use model::{Channel, Status};

use crate::{
    cx::{Answer, Cx},
    form::{Faults, Form},
    parts::{
        self, Control, Field, Tone,
        chart::{self, Line, Series},
        field, icon, link_button,
        table::{self, Row, Table, cell, number, text},
        timeline::{Event, timeline},
    },
    shell::{self, Section},
};

/// Text that tries to break a page.
const HOSTILE: &str = "<script>alert(1)</script> “مرحبا” 👩‍👩‍👧‍👦 Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";

/// Shows all of them.
pub(crate) async fn show(cx: Cx) -> Answer {
    let form = Form::of([("name", HOSTILE), ("kind", "b")]);
    let mut faults = Faults::default();
    faults.add("wrong", "this field says what is wrong and what to do");
    let labels: Vec<String> = (0..12).map(|month| format!("{month:02}")).collect();
    let series = [
        Series { name: "Delivered", colour: '1', values: vec![12, 40, 33, 51, 60, 58, 72, 90, 88, 94, 120, 101] },
        Series { name: "Failed", colour: 'b', values: vec![1, 2, 0, 4, 2, 1, 3, 9, 2, 1, 4, 2] },
    ];
    let rates = [
        Line { name: "Arrived", colour: '2', values: series[0].values.iter().map(|value| Some(value / 2)).collect() },
        Line {
            name: "Read",
            colour: '5',
            values: series[1].values.iter().map(|value| (*value > 1).then_some(value * 9)).collect(),
        },
    ];
    let tones = [
        ("Plain", Tone::Plain),
        ("Good", Tone::Good),
        ("Info", Tone::Info),
        ("Warn", Tone::Warn),
        ("Bad", Tone::Bad),
        ("Special", Tone::Special),
    ];
    let body = html! {
        (parts::card("Buttons", None, html! {
            div.row { (link_button("#main", "primary", Some("plus"), "Primary")) (link_button("#main", "", None, "Default")) (link_button("#main", "danger", Some("trash"), "Danger")) (link_button("#main", "quiet", None, "Quiet")) (link_button("#main", "small", None, "Small"))
                button.button disabled { "Disabled" } button.button type="button" data-opens="sample" { "Dialog" } }
            (parts::dialog(&parts::Dialog { id: "sample", title: "A question?", action: "/console/styleguide", csrf: "", body: html! { p { (HOSTILE) } }, yes: "Do it", is_dangerous: true }))
        }))
        (parts::card("Badges", None, html! {
            div.row { @for (name, tone) in tones { (parts::badge(tone, name)) } (parts::tag("Tag")) }
            div.row.spaced { @for status in Status::ALL { (parts::status(*status)) } }
        }))
        (parts::card("Notices", None, html! { div.stack.tight { @for (name, tone) in tones { (parts::notice(tone, name, html! { p { (HOSTILE) } })) } } }))
        (parts::card("Fields", None, html! {
            div.form {
                (Field::text("name", "Text").help("A word of help.").draw(&form, &faults))
                (Field::text("wrong", "Wrong").required().draw(&form, &faults))
                (Field::text("secret", "Secret").with(Control::Secret { kept: Some("••••1234"), is_long: false }).draw(&form, &faults))
                (Field::text("area", "Area").with(Control::Area { rows: 3 }).draw(&form, &faults))
                (Field::text("kind", "Choice").with(Control::Choice(vec![("a", "First".into()), ("b", "Second".into())])).draw(&form, &faults))
                (field::check("box", "true", true, "A box", "What it means."))
                @for connector in connectors::registry::listed().filter(|c| matches!(c.spec().id, "smtp" | "twilio")) {
                    fieldset.form { legend { (connector.spec().name) } @for declared in connector.spec().fields { (field::declared(declared, None, &form, &faults)) } }
                }
            }
        }))
        section.tiles aria-label="Tiles" {
            (parts::tile("Messages today", &crate::format::number(1_234_567), Some(html! { "since midnight" })))
            (parts::tile("Arrived", "97.3 %", Some(html! { a href="#main" { "With a link" } })))
            (parts::tile("Plan", HOSTILE, Some(parts::badge(Tone::Good, "Active"))))
        }
        (parts::card_flush("Filters", None, html! {
            (table::filters("/console/styleguide", "filtered", &[
                table::Filter::Search { name: "q", label: "A word, an address or an id", value: HOSTILE },
                table::Filter::Choice { name: "state", label: "Any state", value: "", choices: vec![("open".into(), "Open".into())] },
            ]))
            div #filtered { (parts::empty("search", "Nothing matches", "Choose something else.", None)) }
        }))
        (parts::card("What people see", None, html! {
            div.row {
                div.phone { div.bubble dir="auto" { (HOSTILE) } div."bubble whatsapp" dir="auto" { (HOSTILE) } span.chat-button { "A button" } }
            }
        }))
        (parts::card_flush("Findings", None, html! {
            @for (name, tone) in tones { article.finding aria-label=(name) { div.row { (parts::badge(tone, name)) span."strong break" { (HOSTILE) } } p."muted break" { (HOSTILE) } } }
        }))
        (parts::toast(Tone::Good, HOSTILE))
        (parts::card_flush("Table", None, html! {
            (table::table(Table { caption: "Samples", columns: &["Name", "State", "Count"], rows: vec![
                Row { href: Some("/console/styleguide".into()), cells: vec![text("Ada Lovelace"), cell(parts::status(Status::Read)), number(1_234_567)] },
                Row { href: None, cells: vec![text(HOSTILE), cell(parts::status(Status::Failed)), number(0)] },
            ] }))
            (table::pager(&table::Pages { path: "/console/styleguide", query: &[], is_first: false, next: Some("x"), shown: 2 }))
        }))
        (parts::card("Charts", None, html! { div.stack { (chart::bars("Bars", &labels, &series, 200)) (chart::lines("Lines", &labels, &rates, " %", 200)) (chart::shares_of("Steps", 1200, &[("Recipients", 1200), ("Arrived", 1100), ("Read", 640)])) div.row { (chart::sparkline("Trend", &series[0].values)) } (chart::shares("Shares", &[('1', 70), ('n', 20), ('b', 10)])) } }))
        (parts::card("Timeline", None, timeline(tones.iter().map(|(name, tone)| Event { tone: *tone, picture: "check", title: html! { (name) }, at: cx.here().at(cx.here().now), detail: Some(html! { (HOSTILE) }), is_future: *tone == Tone::Special }).collect())))
        (parts::card("Copy and facts", None, html! { (parts::copy_line("https://tidings.example/hooks/acc_01", "the address")) (parts::facts([("Name", html! { (HOSTILE) }), ("Channel", html! { (icon(parts::channel_icon(Channel::Sms))) })])) }))
        (parts::card("Empty", None, parts::empty("inbox", "Nothing here yet", "What this is for, and the next step.", Some(link_button("#main", "primary", None, "Do it")))))
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Every component, with text that tries to break it." }),
        tabs: Some(parts::tabs(
            "Parts",
            &[("/console/styleguide", "All"), ("/console", "Home")],
            "/console/styleguide",
        )),
        ..shell::Page::new("Style guide", Section::Elsewhere, body)
    }))
}
