//! Channels: a card for each with its accounts and their state, and the choice of a provider for a new account.

use std::collections::BTreeMap;

use connectors::{Connector, registry};
use engine::{
    accounts::{self, AccountState, AccountView},
    registrations::RegistrationView,
};
use maud::{Markup, html};
use model::{AccountId, Channel};
use serde::Deserialize;

use super::{home::account_state, registrations};
use crate::{
    cx::{Answer, Cx, Query},
    format,
    parts::{self, Tone, icon, link_button},
    shell::{self, Section},
};

/// Accounts read for the cards: as many as a tenant can have.
pub(super) const ALL: u32 = 200;

/// What a channel is for, in a sentence.
const fn purpose(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "Tickets, invoices, newsletters: HTML and text, with attachments.",
        Channel::Sms => "Short texts to any phone, with delivery reports.",
        Channel::Whatsapp => "Templates, media and answers within the 24-hour window.",
        Channel::Telegram => "Messages from your bot, with buttons and media.",
        Channel::Voice => "Spoken calls: a text read out in the recipient's language.",
        Channel::Webhook => "Events to your own endpoints.",
    }
}

/// The channels people set up.
pub(super) fn of_people() -> impl Iterator<Item = Channel> {
    Channel::ALL.iter().copied().filter(|channel| *channel != Channel::Webhook)
}

/// Shows the channels.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let accounts = accounts::list(cx.engine().parts(), &cx.caller, Some(ALL), None).await?.data;
    let registered = registrations::by_account(&cx).await?;
    let actions = html! { @if cx.may("accounts:write") { (link_button("/console/channels/new", "primary", Some("plus"), "Add account")) } };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Your own accounts with providers. A channel sends through its default account." }),
        actions: Some(actions),
        tabs: Some(super::senders::tabs("/console/channels")),
        is_live: true,
        ..shell::Page::new("Channels", Section::Channels, cards(&cx, &accounts, &registered))
    }))
}

/// The registration of each account that has one.
type Registered = BTreeMap<AccountId, RegistrationView>;

fn cards(cx: &Cx, accounts: &[AccountView], registered: &Registered) -> Markup {
    html! {
        div.stack #channels hx-get="/console/channels" hx-trigger="news from:body" hx-select="#channels" hx-swap="outerHTML" {
            @for channel in of_people() {
                @let of: Vec<&AccountView> = accounts.iter().filter(|account| account.channels.contains(&channel)).collect();
                section.card aria-label=(format::channel(channel)) {
                    header {
                        div.row { span.glyph { (icon(parts::channel_icon(channel))) } div { h2 { (format::channel(channel)) } span."muted small" { (purpose(channel)) } } }
                        (channel_state(channel, &of, registered))
                    }
                    div."body flush" {
                        @if of.is_empty() {
                            div.row.apart.padded {
                                span.muted { "No account yet." }
                                @if cx.may_manage(&[channel]) { (link_button(&format!("/console/channels/new?channel={channel}"), "small", Some("plus"), &format!("Set up {}", format::channel(channel)))) }
                            }
                        } @else {
                            ul.lines { @for account in of { (line(channel, account, registered.get(&account.id))) } }
                        }
                    }
                }
            }
        }
    }
}

fn channel_state(channel: Channel, of: &[&AccountView], registered: &Registered) -> Markup {
    let default = of.iter().find(|account| account.default_for.contains(&channel));
    let registration = default.and_then(|account| registered.get(&account.id)).filter(|_| channel == Channel::Sms);
    if let Some(pending) = registration.and_then(|registration| registrations::pending(registration.state))
        && default.is_some_and(|account| account.state == AccountState::Ready)
    {
        return pending;
    }
    match default {
        None if of.is_empty() => parts::badge(Tone::Plain, "Not set up"),
        None => parts::badge(Tone::Warn, "No default account"),
        Some(account) => match account.state {
            AccountState::Ready => parts::badge(Tone::Good, "Ready"),
            AccountState::Disabled => parts::badge(Tone::Warn, "Default account disabled"),
            AccountState::Paused | AccountState::Unusable => parts::badge(Tone::Bad, "Failing"),
        },
    }
}

fn line(channel: Channel, account: &AccountView, registration: Option<&RegistrationView>) -> Markup {
    let pending = registration.filter(|_| channel == Channel::Sms).and_then(|one| registrations::pending(one.state));
    let provider =
        registry::find(&account.connector).map_or(account.connector.as_str(), |connector| connector.spec().name);
    html! {
        li {
            a.row.apart.line href={ "/console/channels/" (account.id) } {
                span.row.who {
                    span.strong.clip { (account.name) }
                    @if account.default_for.contains(&channel) { (parts::tag("Default")) }
                }
                span."muted small clip" { (provider) @if let Some(from) = &account.from { " · " (from) } }
                (account_state(account))
            }
            @if let (Some(badge), Some(one)) = (pending, registration) {
                p."small padded-line" { (badge) " " a href={ (registrations::PATH) "/" (one.id) } { "Registration with American carriers" } }
            }
            @if let Some(pause) = &account.pause { p."small trouble" { (pause.detail) } }
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
}

/// Shows the providers a new account can have.
pub(crate) async fn choose(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let is_demo = cx.tenant()?.is_demo;
    let title = wanted
        .channel
        .map_or_else(|| "Add account".to_owned(), |channel| format!("Set up {}", format::channel(channel)));
    let is_theirs = |connector: &&dyn Connector| connector.spec().channels.iter().any(|one| cx.may_manage(&[*one]));
    let fits = |connector: &&dyn Connector| {
        wanted.channel.is_none_or(|channel| connector.spec().channels.contains(&channel)) && is_theirs(connector)
    };
    let mut found: Vec<&dyn Connector> =
        registry::listed().filter(fits).filter(|c| !is_demo || c.spec().id == "sandbox").collect();
    // The one that needs nothing comes last: people who have a provider look for its name first.
    found.sort_by_key(|connector| (connector.spec().id == "sandbox", connector.spec().name.to_lowercase()));
    let query = wanted.channel.map(|channel| format!("?channel={channel}")).unwrap_or_default();
    let body = html! {
        div.grid {
            @for connector in found {
                @let spec = connector.spec();
                a."card choice-card" href={ "/console/channels/new/" (spec.id) (query) } {
                    h2 { (spec.name) }
                    span."muted small" { (spec.channels.iter().map(|channel| format::channel(*channel)).collect::<Vec<_>>().join(" · ")) }
                    span.small { @if spec.id == "sandbox" { "Acts out deliveries and sends nothing: for trying things out." } @else if spec.has_receipts { "Reports delivery." } @else { "Tells only that it took a message." } }
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        above: &[("/console/channels", "Channels")],
        lead: Some(html! { "Choose the provider you have an account with." }),
        ..shell::Page::new(&title, Section::Channels, body)
    }))
}
