//! As whom messages go: senders, mail domains with their DNS records, and the WhatsApp templates that providers approved.

use axum::extract::Path;
use engine::{
    Error,
    accounts::{self, AccountView},
    domains::{self, DomainView, NewDomain},
    once::Repeat,
    patch::Patch,
    senders::{self, NewSender, SenderPatch, SenderState, SenderView},
    whatsapp_templates::{self, WhatsappTemplateView},
};
use maud::{Markup, html};
use model::{AccountId, Channel};
use serde_json::Value;

use super::channels;
use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Row, Table, cell, text},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/senders";
/// Rows of each kind a page shows.
const SHOWN: u32 = 200;

/// What belongs to channels.
pub(super) fn tabs(here: &str) -> Markup {
    parts::tabs(
        "Channels",
        &[
            ("/console/channels", "Accounts"),
            (PATH, "Senders and domains"),
            (super::routing::PATH, "Routing"),
            (super::registrations::PATH, "Registration"),
        ],
        here,
    )
}

/// Shows senders, domains and WhatsApp templates.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let accounts = accounts::list(parts_of, caller, Some(channels::ALL), None).await?.data;
    let senders = senders::list(parts_of, caller, None, Some(SHOWN), None).await?.data;
    let domains = domains::list(parts_of, caller, Some(SHOWN), None).await?.data;
    let theirs: Vec<AccountView> =
        accounts.iter().filter(|account| cx.may_manage(&account.channels)).cloned().collect();
    let carries_mail = |account: &AccountView| account.channels.contains(&Channel::Email);
    // What an empty card leads to: its window, or the account that has to be there first.
    let next = |window: &str, words: &str, is_possible: bool| match is_possible {
        true => Some(html! { button.button type="button" data-opens=(window) { (icon("plus")) (words) } }),
        false if accounts.is_empty() && cx.may("accounts:write") => {
            Some(link_button("/console/channels/new", "", Some("plus"), "Add an account first"))
        }
        false => None,
    };
    let actions = html! {
        @if !theirs.is_empty() {
            @if theirs.iter().any(carries_mail) { button.button type="button" data-opens="new-domain" { (icon("plus")) "Add domain" } }
            button."button primary" type="button" data-opens="new-sender" { (icon("plus")) "Add sender" }
            (add_dialogs(&cx, &theirs))
        }
    };
    let body = html! {
        (senders_card(&cx, &senders, &accounts, next("new-sender", "Add sender", !theirs.is_empty())))
        @if domains.is_empty() {
            (parts::card("Domains", None, parts::empty("mail", "No mail domains", "Add the domain your mails come from. You get the DNS records to publish, and each is looked up until it is right.", next("new-domain", "Add domain", theirs.iter().any(carries_mail)))))
        } @else {
            @for domain in &domains { (domain_card(&cx, domain, &accounts)) }
        }
        (whatsapp(&cx, &accounts).await?)
    };
    Ok(cx.page(shell::Page {
        actions: Some(actions),
        tabs: Some(tabs(PATH)),
        lead: Some(html! { "As whom your messages go, and what providers and name servers say to it." }),
        ..shell::Page::new("Senders and domains", Section::Channels, body)
    }))
}

fn account_name(accounts: &[AccountView], id: AccountId) -> &str {
    accounts.iter().find(|account| account.id == id).map_or("another account", |account| account.name.as_str())
}

/// Whether somebody may change what lies on an account.
fn may_change(cx: &Cx, accounts: &[AccountView], id: AccountId) -> bool {
    accounts.iter().find(|account| account.id == id).is_some_and(|account| cx.may_manage(&account.channels))
}

fn add_dialogs(cx: &Cx, accounts: &[AccountView]) -> Markup {
    let (form, none) = (Form::default(), Faults::default());
    let ids: Vec<String> = accounts.iter().map(|account| account.id.to_string()).collect();
    let of = |wanted: &dyn Fn(&AccountView) -> bool| -> Vec<(&str, String)> {
        ids.iter()
            .zip(accounts)
            .filter(|(_, account)| wanted(account))
            .map(|(id, account)| (id.as_str(), account.name.clone()))
            .collect()
    };
    html! {
        (parts::dialog(&Dialog { id: "new-sender", title: "Add sender", action: PATH, csrf: cx.csrf(), body: html! {
            (Field::text("sender-account", "Account").required().with(Control::Choice(of(&|_| true))).draw(&form, &none))
            (Field::text("from", "Goes as").required().example("Acme News <news@acme.example>").help("A mail address, a number or a name, as the provider knows it.").draw(&form, &none))
            (Field::text("sender-name", "Name for yourselves").draw(&form, &none))
            (parts::field::check("default", "true", false, "The account's default", ""))
        }, yes: "Add sender", is_dangerous: false }))
        @if accounts.iter().any(|account| account.channels.contains(&Channel::Email)) {
            (parts::dialog(&Dialog { id: "new-domain", title: "Add domain", action: &format!("{PATH}/domains"), csrf: cx.csrf(), body: html! {
                (Field::text("domain-account", "Account").required().with(Control::Choice(of(&|account| account.channels.contains(&Channel::Email)))).draw(&form, &none))
                (Field::text("domain", "Domain").required().example("acme.example").draw(&form, &none))
            }, yes: "Add domain", is_dangerous: false }))
        }
    }
}

fn senders_card(cx: &Cx, senders: &[SenderView], accounts: &[AccountView], next: Option<Markup>) -> Markup {
    let row = |sender: &SenderView| {
        let may = may_change(cx, accounts, sender.account_id);
        let (tone, words) = match sender.state {
            SenderState::Verified => (Tone::Good, "Verified"),
            SenderState::Refused => (Tone::Bad, "Refused"),
            SenderState::Unknown => (Tone::Plain, "Not known"),
        };
        let path = format!("{PATH}/{}", sender.id);
        Row {
            href: None,
            cells: vec![
                cell(
                    html! { span.wide-text { (sender.from) } @if sender.name != sender.from { div.sub dir="auto" { (sender.name) } } },
                ),
                text(account_name(accounts, sender.account_id)),
                text(&sender.channels.iter().map(|channel| format::channel(*channel)).collect::<Vec<_>>().join(", ")),
                cell(html! {
                    (parts::badge(tone, words)) @if sender.default { " " (parts::tag("Default")) }
                    @if let Some(detail) = &sender.detail { div.sub { (detail) } }
                }),
                cell(html! {
                    @if may {
                        div.row {
                            (parts::act(&format!("{path}/verify"), cx.csrf(), "small", None, "Verify"))
                            @if !sender.default { (parts::act(&format!("{path}/default"), cx.csrf(), "small", None, "Make default")) }
                            (parts::act(&format!("{path}/delete"), cx.csrf(), "small danger", None, "Delete"))
                        }
                    }
                }),
            ],
        }
    };
    parts::card_flush(
        "Senders",
        None,
        html! {
            @if senders.is_empty() {
                (parts::empty("person", "No senders", "An account sends as the address in its settings. Add others here to choose among them, and to see whether the provider lets them send.", next))
            } @else {
                (table::table(Table { caption: "Senders", columns: &["Goes as", "Account", "Channels", "State", ""], rows: senders.iter().map(row).collect() }))
            }
        },
    )
}

/// A word of the engine's as JSON has it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A state as providers and name servers say it.
fn state(word: &str) -> Markup {
    let tone = match word {
        "verified" | "ok" | "found" | "approved" => Tone::Good,
        "pending" | "unchecked" | "unknown" | "optional" => Tone::Plain,
        "failed" | "wrong" | "rejected" | "refused" => Tone::Bad,
        _ => Tone::Warn,
    };
    parts::badge(tone, &format::words(word))
}

fn domain_card(cx: &Cx, domain: &DomainView, accounts: &[AccountView]) -> Markup {
    let may = may_change(cx, accounts, domain.account_id);
    let path = format!("{PATH}/domains/{}", domain.id);
    let row = |record: &engine::domains::RecordView| Row {
        href: None,
        cells: vec![
            cell(
                html! { (word(&record.purpose).to_uppercase()) @if !record.required { " " span.optional { "optional" } } },
            ),
            text(&word(&record.kind).to_uppercase()),
            cell(parts::copy_line(&record.name, &format!("the name of {}", record.name))),
            cell(parts::copy_line(&record.value, &format!("the value of {}", record.name))),
            cell(
                html! { (state(&word(&record.state))) @if let Some(detail) = &record.detail { div.sub { (detail) } } @for found in &record.found { div."sub break" { "Found: " code { (found) } } } },
            ),
        ],
    };
    let actions = html! {
        (state(&word(&domain.state)))
        @if may {
            (parts::act(&format!("{path}/verify"), cx.csrf(), "small", Some("pulse"), "Verify"))
            (parts::act(&format!("{path}/delete"), cx.csrf(), "small danger", None, "Delete"))
        }
    };
    parts::card_flush(
        &domain.name,
        Some(actions),
        html! {
            p."padded small muted" {
                "Through " (account_name(accounts, domain.account_id)) "."
                @if let Some(at) = domain.checked_at { " Looked up " (cx.here().at(at)) "." } @else { " Not looked up yet." }
                @if let Some(detail) = &domain.detail { " " (detail) }
            }
            (table::table(Table { caption: "DNS records to publish", columns: &["For", "Type", "Name", "Value", "State"], rows: domain.records.iter().map(row).collect() }))
        },
    )
}

async fn whatsapp(cx: &Cx, accounts: &[AccountView]) -> Result<Markup, Fault> {
    let manages = |account: &&AccountView| {
        account.channels.contains(&Channel::Whatsapp)
            && connectors::registry::find(&account.connector).is_some_and(|connector| connector.templates().is_some())
    };
    let mut cards = Vec::new();
    for account in accounts.iter().filter(manages) {
        let page = whatsapp_templates::list(cx.engine().parts(), &cx.caller, account.id, Some(SHOWN), None).await?;
        cards.push(whatsapp_card(cx, account, &page.data));
    }
    Ok(html! { @for card in cards { (card) } })
}

fn whatsapp_card(cx: &Cx, account: &AccountView, templates: &[WhatsappTemplateView]) -> Markup {
    let row = |template: &WhatsappTemplateView| Row {
        href: None,
        cells: vec![
            cell(
                html! { span.wide-text { (template.name) } @if let Some(body) = body(&template.components) { div.sub dir="auto" { (body) } } },
            ),
            text(&template.language),
            text(&format::words(&template.category.to_lowercase())),
            cell(html! { (state(&template.status)) @if let Some(reason) = &template.reason { div.sub { (reason) } } }),
            cell(cx.here().at(template.synced_at)),
        ],
    };
    let sync = html! { @if cx.may_manage(&account.channels) { (link_button(&format!("{PATH}/whatsapp/{}/new", account.id), "small", Some("plus"), "New template")) (parts::act(&format!("{PATH}/whatsapp/{}", account.id), cx.csrf(), "small", Some("retry"), "Ask the provider")) } };
    parts::card_flush(
        &format!("WhatsApp templates of {}", account.name),
        Some(sync),
        html! {
            @if templates.is_empty() {
                (parts::empty("chat", "No WhatsApp templates known", "Ask the provider for those it has. Without one, a message arrives only within 24 hours of the recipient's last.", None))
            } @else {
                (table::table(Table { caption: "WhatsApp templates", columns: &["Name", "Language", "Category", "Status", "Asked"], rows: templates.iter().map(row).collect() }))
            }
        },
    )
}

/// What a provider's template says.
fn body(components: &Value) -> Option<&str> {
    let is_body = |component: &&Value| component["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("body"));
    components.as_array()?.iter().find(is_body)?["text"].as_str()
}

/// Adds a sender.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let new = NewSender {
        account_id: super::id(form.text("sender-account"))?,
        from: form.text("from").to_owned(),
        name: form.filled("sender-name").map(str::to_owned),
        channels: None,
        default: form.is_on("default"),
    };
    told(
        &cx,
        senders::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, new).await.map(|_| "The sender was added."),
    )
}

/// Does what one of a sender's buttons says.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let id = super::id(&id)?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let done = match action.as_str() {
        "verify" => senders::verify(parts_of, caller, &Repeat::NONE, id).await.map(|_| "The provider was asked."),
        "default" => {
            let change = SenderPatch { default: Patch::Set(true), ..SenderPatch::default() };
            senders::patch(parts_of, caller, id, change).await.map(|_| "The account sends as this from now on.")
        }
        "delete" => senders::delete(parts_of, caller, id).await.map(|()| "The sender was deleted."),
        _ => Err(super::no_page()),
    };
    told(&cx, done)
}

/// Adds a domain.
pub(crate) async fn create_domain(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let new = NewDomain { name: form.text("domain").to_owned(), account_id: super::id(form.text("domain-account"))? };
    let made = domains::create(cx.engine().parts(), &cx.caller, &Repeat::NONE, new).await;
    told(&cx, made.map(|_| "The domain was added. Publish its records; they are looked up until they are right."))
}

/// Does what one of a domain's buttons says.
pub(crate) async fn act_domain(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let id = super::id(&id)?;
    let done = match action.as_str() {
        "verify" => {
            domains::verify(cx.engine(), &cx.caller, &Repeat::NONE, id).await.map(|_| "The records were looked up.")
        }
        "delete" => domains::delete(cx.engine().parts(), &cx.caller, id).await.map(|()| "The domain was deleted."),
        _ => Err(super::no_page()),
    };
    told(&cx, done)
}

/// Asks a provider for its WhatsApp templates.
pub(crate) async fn sync(Path(id): Path<String>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let done = whatsapp_templates::sync(cx.engine(), &cx.caller, &Repeat::NONE, super::id(&id)?).await;
    told(&cx, done.map(|_| "The provider was asked."))
}

fn told(cx: &Cx, done: Result<&str, Error>) -> Answer {
    match done {
        Ok(said) => Ok(cx.done(PATH, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422 | 502) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(error.into()),
    }
}
