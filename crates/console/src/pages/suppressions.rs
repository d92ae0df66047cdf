//! The suppression list: addresses nothing is sent to, with the reason, and how they leave it.

use axum::extract::Path;
use engine::{
    consent::suppressions::{NewSuppression, SuppressionQuery, SuppressionView},
    export::Format,
    once::Repeat,
};
use http::{HeaderValue, header};
use maud::{Markup, html};
use model::{Blocks, Channel, SuppressionReason};
use serde::Deserialize;

use super::{channels, contacts};
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read,
    shell::{self, Section},
};

const PATH: &str = "/console/suppressions";

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
    reason: Option<SuppressionReason>,
    address: Option<String>,
    cursor: Option<String>,
}

/// One entry, as the list answers it.
#[derive(Debug, Deserialize)]
struct Entry {
    id: model::SuppressionId,
    channel: Channel,
    address: Option<String>,
    reason: SuppressionReason,
    blocks: Blocks,
    source: String,
    detail: Option<String>,
    message_id: Option<model::MessageId>,
    created_at: model::Timestamp,
}

impl From<&SuppressionView> for Entry {
    fn from(view: &SuppressionView) -> Self {
        Self {
            id: view.id,
            channel: view.channel,
            address: view.address.clone(),
            reason: view.reason,
            blocks: view.blocks,
            source: view.source.clone(),
            detail: view.detail.clone(),
            message_id: view.message_id,
            created_at: view.created_at,
        }
    }
}

/// Lists suppressed addresses.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let query = SuppressionQuery {
        channel: wanted.channel,
        reason: wanted.reason,
        address: wanted.address.clone(),
        limit: None,
        cursor: wanted.cursor.clone(),
    };
    let page: read::Page<Entry> = read::json(&cx.engine().suppressions(&cx.caller, &query).await?)?;
    let may = cx.may("consent:write");
    let (channel, reason) = (
        wanted.channel.map(|c| c.to_string()).unwrap_or_default(),
        wanted.reason.map(|r| r.to_string()).unwrap_or_default(),
    );
    let address = wanted.address.as_deref().unwrap_or_default();
    let reasons =
        SuppressionReason::ALL.iter().map(|reason| (reason.to_string(), format::words(reason.as_str()))).collect();
    let filters = [
        Filter::Search { name: "address", label: "Exactly this address or number", value: address },
        Filter::Choice {
            name: "channel",
            label: "Any channel",
            value: &channel,
            choices: channels::of_people().map(|c| (c.to_string(), format::channel(c).to_owned())).collect(),
        },
        Filter::Choice { name: "reason", label: "Any reason", value: &reason, choices: reasons },
    ];
    let is_narrowed = !address.is_empty() || !channel.is_empty() || !reason.is_empty();
    let query = [("address", address.to_owned()), ("channel", channel.clone()), ("reason", reason.clone())];
    let body = html! {
        section.card aria-label="Suppressed addresses" {
            (table::filters(PATH, "suppressions", &filters))
            div #suppressions {
                @if page.data.is_empty() && is_narrowed {
                    (parts::empty("search", "No entry matches", "Addresses are found as a whole, not by a part.", Some(link_button(PATH, "", None, "Clear the filters"))))
                } @else if page.data.is_empty() {
                    (parts::empty("shield", "Nobody is suppressed", "Addresses come here by themselves when they bounce, complain or say STOP, and by hand.", None))
                } @else {
                    (entries(&cx, &page.data, PATH))
                    (table::pager(&Pages { path: PATH, query: &query, is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    let actions = html! {
        @if !page.data.is_empty() { (link_button(&format!("{PATH}/export"), "", None, "As CSV")) }
        @if may { button."button primary" type="button" data-opens="suppress" { (icon("plus")) "Suppress an address" } (add_dialog(&cx)) }
    };
    Ok(cx.page(shell::Page {
        actions: Some(actions),
        tabs: Some(contacts::tabs(PATH)),
        lead: Some(html! { "Addresses nothing is sent to, whatever asks for it." }),
        ..shell::Page::new("Suppressed addresses", Section::Contacts, body)
    }))
}

fn add_dialog(cx: &Cx) -> Markup {
    let (form, none) = (Form::default(), Faults::default());
    let channels =
        channels::of_people().map(|channel| (channel.as_str(), format::channel(channel).to_owned())).collect();
    let blocks = vec![("everything", "Everything".to_owned()), ("marketing", "Marketing only".to_owned())];
    let body = html! {
        (Field::text("to", "Address or number").required().example("ada@example.com").draw(&form, &none))
        (Field::text("on", "Channel").required().with(Control::Choice(channels)).draw(&form, &none))
        (Field::text("blocks", "Holds back").required().with(Control::Choice(blocks)).draw(&form, &none))
        (Field::text("detail", "Remark").draw(&form, &none))
    };
    parts::dialog(&Dialog {
        id: "suppress",
        title: "Suppress an address",
        action: PATH,
        csrf: cx.csrf(),
        body,
        yes: "Suppress it",
        is_dangerous: false,
    })
}

/// Some entries with the button that takes each off the list, which leads back to `back`.
pub(super) fn rows(cx: &Cx, entries_of: &[SuppressionView], back: &str) -> Markup {
    entries(cx, &entries_of.iter().map(Entry::from).collect::<Vec<_>>(), back)
}

fn entries(cx: &Cx, of: &[Entry], back: &str) -> Markup {
    let may = cx.may("consent:write");
    let row = |entry: &Entry| Row {
        href: None,
        cells: vec![
            cell(html! { span.wide-text { @match &entry.address { Some(address) => (address), None => "Erased" } } }),
            cell(html! { span.row { (icon(parts::channel_icon(entry.channel))) (format::channel(entry.channel)) } }),
            cell(html! {
                (format::words(entry.reason.as_str()))
                @if entry.blocks == Blocks::Marketing { " " (parts::badge(Tone::Warn, "Marketing only")) }
                @if let Some(detail) = &entry.detail { div.sub dir="auto" { (detail) } }
            }),
            cell(
                html! { @match entry.message_id { Some(id) => a href={ "/console/messages/" (id) } { "From a message" }, None => (format::words(&entry.source)) } },
            ),
            cell(cx.here().at(entry.created_at)),
            cell(html! {
                @if may {
                    @let dialog = format!("lift-{}", entry.id);
                    button."button small" type="button" data-opens=(dialog) aria-label={ "Lift " (entry.address.as_deref().unwrap_or("the entry")) } { "Lift" }
                    (parts::dialog(&Dialog { id: &dialog, title: "Take it off the list?", action: &format!("{PATH}/{}/lift", entry.id), csrf: cx.csrf(), body: html! {
                        p.muted { "Messages go there again. Do it only when the recipient asked for it, or the reason is gone." }
                        input type="hidden" name="back" value=(back);
                        div.field { label for={ (dialog) "-why" } { "Why" } input id={ (dialog) "-why" } name="why" type="text" autocomplete="off" required; }
                    }, yes: "Lift it", is_dangerous: true }))
                }
            }),
        ],
    };
    table::table(Table {
        caption: "Suppressed addresses, newest first",
        columns: &["Address", "Channel", "Reason", "By", "Since", ""],
        rows: of.iter().map(row).collect(),
    })
}

/// Puts an address on the list.
pub(crate) async fn add(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("consent:write")?;
    let Ok(channel) = form.text("on").parse::<Channel>() else { return Err(super::no_page().into()) };
    let new = NewSuppression {
        channel,
        address: form.text("to").to_owned(),
        reason: None,
        blocks: form.text("blocks").parse().ok(),
        detail: form.filled("detail").map(str::to_owned),
    };
    match cx.engine().suppress(&cx.caller, &Repeat::NONE, new).await {
        Ok(_) => Ok(cx.done(PATH, "Nothing is sent there from now on.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes an entry off the list.
pub(crate) async fn lift(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let back = Some(form.text("back")).filter(|back| back.starts_with("/console/contacts/")).unwrap_or(PATH);
    match cx.engine().unsuppress(&cx.caller, super::id(&id)?, form.filled("why").map(str::to_owned)).await {
        Ok(()) => Ok(cx.done(back, "It was taken off the list.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(back, &error.detail)),
        Err(error) => Err(error.into()),
    }
}

/// The list as a file.
pub(crate) async fn export(cx: Cx) -> Answer {
    cx.tenant()?;
    let export = cx.engine().export_suppressions(&cx.caller, &SuppressionQuery::default(), Format::Csv).await?;
    let mut response = axum::response::Response::new(export.body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(export.content_type));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"suppressions.csv\""));
    Ok(response)
}
