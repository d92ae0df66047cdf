//! What stands beside an account's form: its test, where its provider reports to, and how its messages fare.

use connectors::Spec;
use engine::{
    accounts::{AccountStats, AccountView},
    analytics::{AnalyticsView, Figures},
    registrations::RegistrationView,
};
use maud::{Markup, html};

use super::{DAYS, View};
use crate::{
    cx::Cx,
    form, format,
    pages::{
        analytics::{Periods, lost, under_way},
        registrations,
    },
    parts::{
        self, Tone,
        chart::{self, Series},
        icon,
    },
    read::Test,
};

/// The test of the connection, with its button.
pub(super) fn test_card(cx: &Cx, view: &View, path: &str) -> Markup {
    html! {
        section.card aria-label="Connection" {
            header { h2 { "Connection" } }
            div.body {
                div #test role="status" { (tested(view.tested.as_ref())) }
            }
            @if cx.may_manage(&view.account.channels) {
                footer {
                    form method="post" action={ (path) "/test" } hx-post={ (path) "/test" } hx-target="#test" hx-disabled-elt="find button" {
                        (form::token(cx.csrf()))
                        button.button type="submit" { (icon("pulse")) "Test connection" span.busy aria-label="Testing" {} }
                    }
                }
            }
        }
    }
}

/// What the test found, or what it would do.
pub(super) fn tested(result: Option<&Result<Test, String>>) -> Markup {
    match result {
        None => {
            html! { p.muted { "Asks the provider whether the credentials and the sender are in order. Nothing is sent." } }
        }
        Some(Err(detail)) => parts::notice(Tone::Bad, "The test could not be made", html! { p { (detail) } }),
        Some(Ok(test)) => html! {
            div.stack.tight {
                p.strong { @if test.ok { "Everything is in order." } @else { "Something is not in order." } }
                ul.checks-list {
                    @for check in &test.checks {
                        li class=(if check.ok { "good" } else { "bad" }) {
                            (icon(if check.ok { "check" } else { "alert" }))
                            div { span.strong { (check.name) span.visually-hidden { (if check.ok { ": in order" } else { ": not in order" }) } } p.muted.break { (check.detail) } }
                        }
                    }
                }
            }
        },
    }
}

/// Where its registration with American carriers stands.
pub(super) fn registration_card(one: &RegistrationView) -> Markup {
    let path = format!("{}/{}", registrations::PATH, one.id);
    parts::card(
        "Registration",
        Some(registrations::state(one.state)),
        html! {
            div."row apart" {
                p.muted { @if let Some(number) = &one.number { "Sends to the United States from " span.num { (number) } "." } @else { "With American carriers." } }
                a.small href=(path) { "See its stages" }
            }
        },
    )
}

/// Where the provider reports to.
pub(super) fn callback_card(account: &AccountView, spec: &Spec) -> Markup {
    html! {
        @if let Some(url) = &account.callback_url {
            (parts::card("Callbacks", None, html! {
                div.stack {
                    p.muted { "Where " (spec.name) " reports what became of messages, and brings answers." }
                    (address(url, "the callback address"))
                    @if let Some(mail) = account.mail_url.as_ref().filter(|mail| *mail != url) {
                        p.muted { "Where it hands mails that people write." }
                        (address(mail, "the address for mails"))
                    }
                    @if let Some(help) = &account.callback_help { p.small { (help.replace('`', "")) } }
                    @if !spec.callback_security.is_empty() { p."small muted" { (spec.callback_security.replace('`', "")) } }
                    a.small href={ "/console/settings/callbacks?account_id=" (account.id) } { "What came so far" }
                }
            }))
        }
    }
}

/// An address to copy, or what of it is shown to who may not change the account.
pub(super) fn address(url: &str, what: &str) -> Markup {
    html! {
        @if url.contains('•') {
            code.break { (url) }
            p."small muted" { "What is not shown is secret: whoever may change this account sees it." }
        } @else {
            (parts::copy_line(url, what))
        }
    }
}

/// How its messages fared, day by day.
pub(super) fn days_card(days: &Periods, figures: &AnalyticsView) -> Markup {
    let values = |of: fn(&Figures) -> i64| days.sums(figures, |_| true, of);
    let totals = &figures.totals;
    let series = [
        Series { name: "Arrived", colour: '1', values: values(|f| f.delivered) },
        Series { name: "Sent or under way", colour: 'n', values: values(under_way) },
        Series { name: "Did not arrive", colour: 'b', values: values(lost) },
    ];
    parts::card(
        "Day by day",
        None,
        html! {
            @if totals.accepted == 0 { p.muted { "Nothing left through it in the last " (DAYS) " days." } }
            @else {
                (chart::bars("Messages through this account by day", &days.labels(), &series, 160))
                @if let Some(half) = totals.delivery_median_ms { p."muted small spaced" { "Half arrive within " (format::duration(half)) @if let Some(most) = totals.delivery_p95_ms { ", 95 % within " (format::duration(most)) } "." } }
            }
        },
    )
}

/// What it does now and did lately.
pub(super) fn stats_card(stats: &AccountStats, account: &AccountView) -> Markup {
    let recent = &stats.recent;
    let arrived = recent.delivered + recent.read;
    let bad = recent.failed + recent.bounced + recent.unknown;
    let rest = (recent.total - arrived - bad).max(0);
    parts::card(
        "Lately",
        None,
        html! {
            div.stack {
                @if recent.total == 0 {
                    p.muted { "Nothing was sent through it among your newest 10,000 messages." }
                } @else {
                    (chart::shares(&format!("{arrived} arrived, {rest} sent or under way, {bad} did not arrive"), &[('1', arrived), ('n', rest), ('b', bad)]))
                }
                (parts::facts([
                    ("Messages", html! { span.num { (format::number(recent.total)) } }),
                    ("Arrived", html! { span.num { (format::number(arrived)) " · " (format::percent(arrived, recent.total)) } }),
                    ("Not arrived", html! { span.num { (format::number(bad)) " · " (format::percent(bad, recent.total)) } }),
                    ("Waiting", html! { span.num { (format::number(stats.queued)) } }),
                    ("Under way", html! { span.num { (format::number(stats.in_flight)) } }),
                ]))
                a.small href={ "/console/messages?account=" (account.id) } { "Messages through this account" }
            }
        },
    )
}
