//! Rules about which account a message leaves through: in their order, with a form for one, and a message to try them on.

use std::collections::BTreeMap;

use axum::extract::Path;
use engine::{
    Error,
    accounts::{self, AccountView},
    once::Repeat,
    patch::Patch,
    routing::{
        self, NewRoute, RoutePatch, RouteTrial, RouteView, TrialTo, TrialView,
        decide::{Considered, Verdict},
        rule::{By, Candidate, Choice, Day, Hours, Matches, Otherwise},
    },
};
use http::HeaderMap;
use maud::{Markup, html};
use model::{Channel, Purpose, RouteId};
use serde::Deserialize;

use super::channels;
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query, html as answer},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Row, Table, cell},
    },
    shell::{self, Section},
};

/// Where the rules are.
pub(super) const PATH: &str = "/console/routing";
const ABOVE: &[(&str, &str)] = &[("/console/channels", "Channels"), (PATH, "Routing")];
/// Fields of the form, for errors that belong to none.
const NAMES: &[&str] = &[
    "name",
    "choose/by",
    "choose/hours",
    "accounts",
    "otherwise",
    "match/countries",
    "match/prefixes",
    "match/purposes",
    "match/topics",
    "match/template_ids",
    "match/hours",
    "match/metadata",
    "enabled",
    "position",
];

const fn by_words(by: By) -> &'static str {
    match by {
        By::Priority => "In this order",
        By::Weight => "By shares",
        By::LowestPrice => "The cheapest",
        By::BestDeliveryRate => "The best delivery rate",
        By::Health => "The healthiest",
    }
}

const BYS: [By; 5] = [By::Priority, By::Weight, By::LowestPrice, By::BestDeliveryRate, By::Health];

/// Shows the rules.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let rules = routing::list(cx.engine(), &cx.caller, None).await?.data;
    let accounts = all_accounts(&cx).await?;
    Ok(cx.page(list_page(&cx, &rules, &accounts, None, &Form::default(), &Faults::default())))
}

async fn all_accounts(cx: &Cx) -> Result<Vec<AccountView>, Error> {
    Ok(accounts::list(cx.engine().parts(), &cx.caller, Some(channels::ALL), None).await?.data)
}

fn list_page<'a>(
    cx: &Cx,
    rules: &[RouteView],
    accounts: &[AccountView],
    tried: Option<&TrialView>,
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let may = cx.may("accounts:write") && !accounts.is_empty();
    let actions = html! { @if may { (link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add rule")) } };
    let body = html! {
        @if rules.is_empty() {
            (parts::card("Rules", None, parts::empty("route", "No rules", "Every message leaves through its channel's default account. With rules you choose by country, purpose, time or price, and messages go on through another account when one fails.",
                may.then(|| link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add rule")))))
        } @else {
            @for channel in channels::of_people() {
                @let of: Vec<&RouteView> = rules.iter().filter(|rule| rule.channel == channel).collect();
                @if !of.is_empty() { (channel_card(cx, channel, &of, accounts)) }
            }
        }
        (trial_card(cx, tried, form, faults))
    };
    shell::Page {
        actions: Some(actions),
        tabs: Some(super::senders::tabs(PATH)),
        lead: Some(
            html! { "Which account a message leaves through. The first rule that matches decides; without one it is the channel's default account." },
        ),
        ..shell::Page::new("Routing", Section::Channels, body)
    }
}

fn channel_card(cx: &Cx, channel: Channel, rules: &[&RouteView], accounts: &[AccountView]) -> Markup {
    let may = cx.may("accounts:write");
    let last = rules.len();
    let row = |(at, rule): (usize, &&RouteView)| {
        let path = format!("{PATH}/{}", rule.id);
        let move_to = |way: &str, name: &str, picture: &str| {
            html! {
                form method="post" action={ (path) "/" (way) } {
                    (form::token(cx.csrf()))
                    button."button small icon-only" type="submit" aria-label={ (name) ": " (rule.name) } title=(name) { (icon(picture)) }
                }
            }
        };
        Row {
            href: None,
            cells: vec![
                cell(html! {
                    div.row { span."num muted" { (rule.position) } a.strong href=(path) dir="auto" { (rule.name) } @if !rule.enabled { (parts::badge(Tone::Plain, "Off")) } }
                    @for problem in &rule.problems { div.sub { (parts::badge(Tone::Warn, "Skipped")) " " (problem) } }
                }),
                cell(html! { (about(&rule.matches)) }),
                cell(html! {
                    (by_words(rule.choose.by))
                    div.sub { (rule.accounts.iter().map(|one| name_of(accounts, one)).collect::<Vec<_>>().join(", ")) }
                }),
                cell(html! { (otherwise_words(rule.otherwise)) }),
                cell(html! {
                    @if may {
                        div.row {
                            @if at > 0 { (move_to("up", "Move up", "up")) }
                            @if at + 1 < last { (move_to("down", "Move down", "down")) }
                            (link_button(&path, "small", None, "Edit"))
                        }
                    }
                }),
            ],
        }
    };
    parts::card_flush(
        format::channel(channel),
        None,
        table::table(Table {
            caption: &format!("Rules for {}", format::channel(channel)),
            columns: &["Rule", "About", "Chooses", "Otherwise", ""],
            rows: rules.iter().enumerate().map(row).collect(),
        }),
    )
}

fn name_of(accounts: &[AccountView], one: &Candidate) -> String {
    let name = accounts
        .iter()
        .find(|account| account.id == one.account_id)
        .map_or("a deleted account", |account| account.name.as_str());
    match (one.weight, one.price_micros) {
        (Some(weight), _) => format!("{name} ({weight})"),
        (None, Some(price)) => format!("{name} ({})", decimal(price)),
        (None, None) => name.to_owned(),
    }
}

const fn otherwise_words(otherwise: Otherwise) -> &'static str {
    match otherwise {
        Otherwise::NextRule => "The next rule",
        Otherwise::Wait => "Waits",
    }
}

/// What a rule is about, in a line.
fn about(matches: &Matches) -> String {
    let mut parts: Vec<String> = Vec::new();
    let places: Vec<String> =
        matches.countries.iter().cloned().chain(matches.prefixes.iter().map(|prefix| format!("+{prefix}…"))).collect();
    parts.extend((!places.is_empty()).then(|| format!("to {}", places.join(", "))));
    let purposes: Vec<&str> = matches.purposes.iter().map(|purpose| purpose.as_str()).collect();
    parts.extend((!purposes.is_empty()).then(|| purposes.join(" or ")));
    parts.extend((!matches.topics.is_empty()).then(|| format!("about {}", matches.topics.join(", "))));
    let templates = matches.template_ids.len() as i64;
    parts.extend((templates > 0).then(|| format::count(templates, "template", "templates")));
    if let Some(hours) = &matches.hours {
        parts.push(hours_words(hours));
    }
    parts.extend(matches.metadata.iter().map(|(name, values)| format!("{name} is {}", values.join(" or "))));
    if parts.is_empty() { "Every message".to_owned() } else { parts.join("; ") }
}

fn clock(minutes: u16) -> String {
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn hours_words(hours: &Hours) -> String {
    let days: Vec<&str> = hours.days.iter().map(|day| day.as_str()).collect();
    let days = if days.is_empty() { String::new() } else { format!(" on {}", days.join(", ")) };
    let zone = hours.timezone.as_deref().map(|zone| format!(" ({zone})")).unwrap_or_default();
    format!("{} to {}{days}{zone}", clock(hours.from), clock(hours.until))
}

fn channel_choices() -> Vec<(&'static str, String)> {
    channels::of_people().map(|channel| (channel.as_str(), format::channel(channel).to_owned())).collect()
}

fn trial_card(cx: &Cx, tried: Option<&TrialView>, form: &Form, faults: &Faults) -> Markup {
    html! {
        section.card aria-label="Try the rules" {
            header { h2 { "Try the rules" } }
            form method="post" action={ (PATH) "/try" } hx-post={ (PATH) "/try" } hx-target="#tried" hx-disabled-elt="find button" {
                (form::token(cx.csrf()))
                div.body {
                    div.stack {
                        div."fields-2" {
                            (Field::text("channel", "Channel").required().with(Control::Choice(channel_choices())).draw(form, faults))
                            (Field::text("to", "Recipient").example("+254700000001 or ada@example.com").help("A number for SMS, WhatsApp and voice.").plain().draw(form, faults))
                            (Field::text("purpose", "Purpose").with(Control::Choice(vec![("transactional", "Transactional".to_owned()), ("marketing", "Marketing".to_owned())])).plain().draw(form, faults))
                            (Field::text("topic", "Topic").draw(form, faults))
                            (Field::text("metadata", "Metadata").example(r#"{"tier": "gold"}"#).help("A JSON object.").draw(form, faults))
                        }
                        div #tried role="status" { (result(tried)) }
                    }
                }
                footer { span."muted small" { "Nothing is sent." } div.end { button.button type="submit" { (icon("pulse")) "Try" span.busy aria-label="Trying" {} } } }
            }
        }
    }
}

fn result(tried: Option<&TrialView>) -> Markup {
    let Some(tried) = tried else { return html! {} };
    let Some(decision) = &tried.decision else {
        let tone = if tried.account_id.is_some() { Tone::Info } else { Tone::Bad };
        let title = if tried.account_id.is_some() { "The default account" } else { "It would not be accepted" };
        return parts::notice(tone, title, html! { p { (tried.why) } });
    };
    let line = |one: &Considered| {
        let (tone, word) = match one.verdict {
            Verdict::Chosen => (Tone::Good, "Chosen"),
            Verdict::Next => (Tone::Plain, "Next"),
            Verdict::Skipped => (Tone::Warn, "Skipped"),
        };
        html! {
            li.row {
                (parts::badge(tone, word)) " " span.strong { (one.account) }
                @if let Some(figure) = &one.figure { " " span.muted { (figure) } }
                @if let Some(why) = &one.why { " " span.muted { (why) } }
            }
        }
    };
    let tone = if decision.waits { Tone::Warn } else { Tone::Good };
    let rule = decision.rule.as_deref().unwrap_or("No rule's account works");
    parts::notice(
        tone,
        &format!("{} · {rule}", decision.account),
        html! {
            p { (decision.why) }
            @if !decision.considered.is_empty() { ul."stack tight spaced" { @for one in &decision.considered { (line(one)) } } }
            @for passed in &decision.passed { p.small { "The rule " (passed.rule) " matched: " (passed.why) "." } }
        },
    )
}

/// Tries the rules; answers the decision alone to the button, and the whole page without script.
pub(crate) async fn try_out(headers: HeaderMap, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let tried = match trial(&form) {
        Ok(trial) => routing::try_out(cx.engine(), &cx.caller, trial).await,
        Err(error) => Err(error),
    };
    let is_part = headers.contains_key("hx-request");
    match tried {
        Ok(tried) if is_part => Ok(answer(result(Some(&tried)))),
        Err(error) if is_part && error.kind.status() == 422 => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(answer(parts::notice(Tone::Bad, "", html! { p { (lines.join("; ")) } })))
        }
        Ok(tried) => again(&cx, Some(&tried), &form, &Faults::default()).await,
        Err(error) if error.kind.status() == 422 => again(&cx, None, &form, &Faults::of(&error)).await,
        Err(error) => Err(error.into()),
    }
}

async fn again(cx: &Cx, tried: Option<&TrialView>, form: &Form, faults: &Faults) -> Answer {
    let rules = routing::list(cx.engine(), &cx.caller, None).await?.data;
    let accounts = all_accounts(cx).await?;
    Ok(cx.page(list_page(cx, &rules, &accounts, tried, form, faults)))
}

fn trial(form: &Form) -> Result<RouteTrial, Error> {
    let channel: Channel = form.text("channel").parse().map_err(|_| Error::invalid("/channel", "choose a channel"))?;
    let mut to = TrialTo::default();
    if let Some(text) = form.filled("to") {
        if channel == Channel::Email {
            let email = text.parse().map_err(|_| Error::invalid("/to", "not an e-mail address"))?;
            to.email = Some(email);
        } else if channel != Channel::Telegram {
            let phone = text.replace(' ', "").parse();
            to.phone = Some(phone.map_err(|_| Error::invalid("/to", "not a number; write one such as +254700000001"))?);
        }
    }
    let metadata = form.filled("metadata").map(|text| serde_json::value::RawValue::from_string(text.to_owned()));
    Ok(RouteTrial {
        channel,
        to,
        purpose: form.text("purpose").parse().ok(),
        topic: form.filled("topic").map(str::to_owned),
        template_id: None,
        metadata: metadata.transpose().map_err(|_| Error::invalid("/metadata", "not a JSON object"))?,
        at: None,
    })
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    channel: Option<Channel>,
}

/// Shows the form of a new rule: first the channel, then what follows from it.
pub(crate) async fn new(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let accounts = all_accounts(&cx).await?;
    let carries = |channel: Channel| accounts.iter().any(|account| account.channels.contains(&channel));
    let Some(channel) = wanted.channel.filter(|channel| *channel != Channel::Webhook && carries(*channel)) else {
        return Ok(cx.page(choose_page(&accounts)));
    };
    let form = Form::of([("choose/by", "priority"), ("otherwise", "next_rule"), ("enabled", "true")]);
    Ok(cx.page(form_page(&cx, channel, None, &accounts, &form, &Faults::default())))
}

fn choose_page<'a>(accounts: &[AccountView]) -> shell::Page<'a> {
    let body = html! {
        section.card {
            div."body flush" {
                ul.lines {
                    @for channel in channels::of_people() {
                        @let count = accounts.iter().filter(|account| account.channels.contains(&channel)).count() as i64;
                        @if count > 0 {
                            li { a.row.apart.line href={ (PATH) "/new?channel=" (channel) } {
                                span.row.who { (icon(parts::channel_icon(channel))) span.strong { (format::channel(channel)) } }
                                span."muted small" { (format::count(count, "account", "accounts")) }
                            } }
                        }
                    }
                }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        lead: Some(html! { "For which channel?" }),
        is_narrow: true,
        ..shell::Page::new("New rule", Section::Channels, body)
    }
}

fn form_page<'a>(
    cx: &Cx,
    channel: Channel,
    rule: Option<&'a RouteView>,
    accounts: &[AccountView],
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let may = cx.may("accounts:write");
    let path = rule.map_or_else(|| format!("{PATH}/new?channel={channel}"), |rule| format!("{PATH}/{}", rule.id));
    let actions = rule.filter(|_| may).map(|_| {
        html! {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: "Delete this rule?", action: &format!("{path}/delete"), csrf: cx.csrf(),
                body: html! { p.muted { "Rules behind it move up. Messages it decided about go on." } }, yes: "Delete rule", is_dangerous: true }))
        }
    });
    let body = html! {
        section.card {
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] {
                    div.body { div.form { (shell::form_faults(faults, NAMES)) (fields(channel, rule, accounts, form, faults)) } }
                }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) @if may { button."button primary" type="submit" { "Save rule" } } } }
            }
        }
    };
    shell::Page {
        above: ABOVE,
        actions,
        is_narrow: true,
        lead: Some(html! { "For " (format::channel(channel)) "." }),
        ..shell::Page::new(rule.map_or("New rule", |rule| rule.name.as_str()), Section::Channels, body)
    }
}

fn fields(
    channel: Channel,
    rule: Option<&RouteView>,
    accounts: &[AccountView],
    form: &Form,
    faults: &Faults,
) -> Markup {
    let has_numbers = matches!(channel, Channel::Sms | Channel::Whatsapp | Channel::Voice);
    let bys = BYS.iter().map(|by| (by.as_str(), by_words(*by).to_owned())).collect();
    let otherwises = [Otherwise::NextRule, Otherwise::Wait];
    let otherwises = otherwises.iter().map(|word| {
        let text = match word {
            Otherwise::NextRule => "Ask the next rule, and the default account in the end",
            Otherwise::Wait => "Let it wait: it never goes through another account",
        };
        (word.as_str(), text.to_owned())
    });
    let purposes = vec![
        ("", "Any".to_owned()),
        ("transactional", "Transactional".to_owned()),
        ("marketing", "Marketing".to_owned()),
    ];
    html! {
        (Field::text("name", "Name").required().draw(form, faults))
        fieldset.field {
            legend { "Which messages" }
            p.help { "All that is filled in must hold. Leave everything empty for every message of the channel." }
            div."fields-2 spaced" {
                @if has_numbers {
                    (Field::text("match/countries", "Countries").plain().example("KE, UG").help("Two letters each.").draw(form, faults))
                    (Field::text("match/prefixes", "Numbers that begin with").plain().example("25470").help("Without the +.").draw(form, faults))
                }
                (Field::text("match/purposes", "Purpose").plain().with(Control::Choice(purposes)).draw(form, faults))
                (Field::text("match/topics", "Topics").plain().example("payment_reminders").draw(form, faults))
                (Field::text("match/metadata", "Metadata").plain().example("tier = gold").help("name = value; several values apart by |.").draw(form, faults))
                (Field::text("match/template_ids", "Templates").plain().example("tpl_…").help("Their ids.").draw(form, faults))
            }
            details.more id="hours" open[form.filled("hours-from").is_some() || faults.at("match/hours").is_some()] {
                summary { "Only at some hours" }
                div."fields-2 spaced" {
                    (Field::text("hours-from", "From").plain().example("09:00").draw(form, faults))
                    (Field::text("hours-until", "Until").plain().example("17:30").draw(form, faults))
                    (Field::text("hours-zone", "Time zone").plain().example("Africa/Nairobi").help("Your own when left empty.").draw(form, faults))
                }
                div."checks inline" {
                    @for day in Day::ALL { (parts::field::check("hours-days", day.as_str(), form.all("hours-days").any(|on| on == day.as_str()), &format::words(day.as_str()), "")) }
                }
                @if let Some(fault) = faults.at("match/hours") { p.error { (icon("alert")) span { (fault) } } }
            }
        }
        div."fields-2" {
            (Field::text("choose/by", "Chooses").required().with(Control::Choice(bys)).draw(form, faults))
            (Field::text("choose/hours", "Looking back, in hours").with(Control::Number).help("For delivery rate and health.").draw(form, faults))
        }
        (candidates(channel, rule, accounts, form, faults))
        (Field::text("otherwise", "When none of them works").required().with(Control::Choice(otherwises.collect())).draw(form, faults))
        (parts::field::check("enabled", "true", form.is_on("enabled"), "On", "A rule that is off is passed over."))
    }
}

/// One line for each account that carries the channel: its place in the order, and what it is weighed by.
fn candidates(
    channel: Channel,
    rule: Option<&RouteView>,
    accounts: &[AccountView],
    form: &Form,
    faults: &Faults,
) -> Markup {
    let carrying = accounts.iter().filter(|account| account.channels.contains(&channel));
    html! {
        fieldset.field {
            legend { "Among these accounts" }
            p.help { "Number those that may be used, 1 first. A share counts when chosen by shares; a price, per message or part of an SMS, when the cheapest is chosen and the price list does not know it." }
            div.stack.spaced {
                @for account in carrying {
                    @let id = account.id;
                    div."row-fields" {
                        div { span.strong { (account.name) } div.sub { (account.connector) " " (super::home::account_state(account)) } }
                        (small(&format!("place-{id}"), &format!("Place of {}", account.name), "Place", form))
                        (small(&format!("weight-{id}"), &format!("Share of {}", account.name), "Share", form))
                        (small(&format!("price-{id}"), &format!("Price through {}", account.name), "Price", form))
                    }
                }
            }
            @if let Some(rule) = rule { @for problem in &rule.problems { p.help { (problem) } } }
            @if let Some(fault) = faults.at("accounts") { p.error { (icon("alert")) span { (fault) } } }
        }
    }
}

fn small(name: &str, label: &str, placeholder: &str, form: &Form) -> Markup {
    html! { input name=(name) type="text" inputmode="decimal" aria-label=(label) placeholder=(placeholder) autocomplete="off" value=(form.get(name).unwrap_or_default()); }
}

/// What the form says.
struct Said {
    matches: Matches,
    choose: Choice,
    accounts: Vec<Candidate>,
    otherwise: Otherwise,
}

fn said(form: &Form, accounts: &[AccountView]) -> Result<Said, Error> {
    let mut bad: Vec<engine::FieldError> = Vec::new();
    let mut add = |pointer: &str, detail: &str| bad.push(engine::FieldError::new(pointer, detail));
    let words = |name: &str| -> Vec<String> {
        let text = form.text(name);
        text.split([',', ' ', ';']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut template_ids = Vec::new();
    for word in words("match/template_ids") {
        match word.parse() {
            Ok(id) => template_ids.push(id),
            Err(_) => add("/match/template_ids", "an id begins with tpl_"),
        }
    }
    let mut metadata: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for part in form.text("match/metadata").split([',', ';']).filter(|part| !part.trim().is_empty()) {
        match part.split_once('=') {
            Some((name, values)) => {
                let values = values.split('|').map(|value| value.trim().to_owned()).collect();
                metadata.insert(name.trim().to_owned(), values);
            }
            None => add("/match/metadata", "write name = value"),
        }
    }
    let hours = match (form.filled("hours-from"), form.filled("hours-until")) {
        (None, None) => None,
        (from, until) => {
            let read = |text: Option<&str>| text.and_then(engine::consent::hours::clock::parse);
            if let (Some(from), Some(until)) = (read(from), read(until)) {
                let on: Vec<&str> = form.all("hours-days").collect();
                let days = Day::ALL.into_iter().filter(|day| on.contains(&day.as_str())).collect();
                Some(Hours { from, until, days, timezone: form.filled("hours-zone").map(str::to_owned) })
            } else {
                add("/match/hours", "write both times as in 09:00");
                None
            }
        }
    };
    let by = BYS.into_iter().find(|by| by.as_str() == form.text("choose/by")).unwrap_or(By::Priority);
    let hours_back = form.filled("choose/hours").map(|text| text.parse::<u32>());
    if matches!(hours_back, Some(Err(_))) {
        add("/choose/hours", "write a whole number, or leave it empty");
    }
    let mut listed: Vec<(u32, Candidate)> = Vec::new();
    for account in accounts {
        let id = account.id;
        let Some(place) = form.filled(&format!("place-{id}")) else { continue };
        let Ok(place) = place.parse() else {
            add("/accounts", "places are whole numbers, 1 first");
            continue;
        };
        let weight = form.filled(&format!("weight-{id}")).map(|text| text.parse::<u32>());
        let price = form.filled(&format!("price-{id}")).map(micros);
        if matches!(weight, Some(Err(_))) || matches!(price, Some(None)) {
            add("/accounts", "shares are whole numbers, and prices numbers such as 0.0075");
        }
        let candidate = Candidate {
            account_id: id,
            weight: weight.and_then(Result::ok).filter(|_| by == By::Weight),
            price_micros: price.flatten().filter(|_| by == By::LowestPrice),
        };
        listed.push((place, candidate));
    }
    listed.sort_by_key(|(place, _)| *place);
    if !bad.is_empty() {
        return Err(Error::invalid_fields(bad));
    }
    let looks_back = matches!(by, By::BestDeliveryRate | By::Health);
    Ok(Said {
        matches: Matches {
            countries: words("match/countries").into_iter().map(|word| word.to_uppercase()).collect(),
            prefixes: words("match/prefixes").into_iter().map(|word| word.trim_start_matches('+').to_owned()).collect(),
            purposes: form.text("match/purposes").parse::<Purpose>().into_iter().collect(),
            topics: words("match/topics"),
            template_ids,
            hours,
            metadata,
        },
        choose: Choice { by, hours: hours_back.and_then(Result::ok).filter(|_| looks_back) },
        accounts: listed.into_iter().map(|(_, candidate)| candidate).collect(),
        otherwise: if form.text("otherwise") == "wait" { Otherwise::Wait } else { Otherwise::NextRule },
    })
}

/// A decimal number as millionths.
fn micros(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if text.is_empty() || whole.len() > 9 || part.len() > 6 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some(whole * 1_000_000 + format!("{part:0<6}").parse::<i64>().ok()?)
}

/// Millionths as a decimal number.
fn decimal(micros: i64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The form as a rule is stored.
fn stored(rule: &RouteView) -> Form {
    let m = &rule.matches;
    let ids: Vec<String> = m.template_ids.iter().map(ToString::to_string).collect();
    let metadata: Vec<String> =
        m.metadata.iter().map(|(name, values)| format!("{name} = {}", values.join(" | "))).collect();
    let mut form = Form::of([
        ("name", rule.name.clone()),
        ("match/countries", m.countries.join(", ")),
        ("match/prefixes", m.prefixes.join(", ")),
        ("match/purposes", if m.purposes.len() == 1 { m.purposes[0].as_str().to_owned() } else { String::new() }),
        ("match/topics", m.topics.join(", ")),
        ("match/template_ids", ids.join(", ")),
        ("match/metadata", metadata.join(", ")),
        ("choose/by", rule.choose.by.as_str().to_owned()),
        ("choose/hours", rule.choose.hours.map(|hours| hours.to_string()).unwrap_or_default()),
        ("otherwise", rule.otherwise.as_str().to_owned()),
    ]);
    if rule.enabled {
        form.set("enabled", "true");
    }
    if let Some(hours) = &m.hours {
        form.set("hours-from", clock(hours.from));
        form.set("hours-until", clock(hours.until));
        form.set("hours-zone", hours.timezone.clone().unwrap_or_default());
        hours.days.iter().for_each(|day| form.set("hours-days", day.as_str()));
    }
    for (place, one) in (1..).zip(&rule.accounts) {
        let place: u32 = place;
        form.set(format!("place-{}", one.account_id), place.to_string());
        form.set(format!("weight-{}", one.account_id), one.weight.map(|weight| weight.to_string()).unwrap_or_default());
        form.set(format!("price-{}", one.account_id), one.price_micros.map(decimal).unwrap_or_default());
    }
    form
}

/// Makes a rule.
pub(crate) async fn create(Query(wanted): Query<Wanted>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("accounts:write")?;
    let channel = wanted.channel.ok_or_else(super::no_page)?;
    let accounts = all_accounts(&cx).await?;
    let made = match said(&form, &accounts) {
        Ok(said) => {
            let new = NewRoute {
                name: form.text("name").to_owned(),
                channel,
                position: None,
                enabled: Some(form.is_on("enabled")),
                matches: said.matches,
                choose: said.choose,
                accounts: said.accounts,
                otherwise: said.otherwise,
            };
            routing::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await.map(drop)
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(()) => Ok(cx.done(PATH, "The rule was saved. Try it below.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(form_page(&cx, channel, None, &accounts, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a rule.
pub(crate) async fn edit(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let rule = routing::get(cx.engine(), &cx.caller, super::id(&id)?).await?;
    let accounts = all_accounts(&cx).await?;
    Ok(cx.page(form_page(&cx, rule.channel, Some(&rule), &accounts, &stored(&rule), &Faults::default())))
}

/// Changes a rule.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: RouteId = super::id(&id)?;
    let rule = routing::get(cx.engine(), &cx.caller, id).await?;
    let accounts = all_accounts(&cx).await?;
    let changed = match said(&form, &accounts) {
        Ok(said) => {
            let change = RoutePatch {
                name: Patch::Set(form.text("name").to_owned()),
                position: Patch::Keep,
                enabled: Patch::Set(form.is_on("enabled")),
                matches: Patch::Set(said.matches),
                choose: Patch::Set(said.choose),
                accounts: Patch::Set(said.accounts),
                otherwise: Patch::Set(said.otherwise),
            };
            routing::patch(cx.engine(), &cx.caller, id, change).await.map(drop)
        }
        Err(error) => Err(error),
    };
    match changed {
        Ok(()) => Ok(cx.done(PATH, "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(form_page(&cx, rule.channel, Some(&rule), &accounts, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Moves or deletes a rule.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    cx.tenant()?;
    let id: RouteId = super::id(&id)?;
    let rule = routing::get(cx.engine(), &cx.caller, id).await?;
    let move_to = async |position: u32| {
        let change = RoutePatch { position: Patch::Set(position), ..RoutePatch::default() };
        routing::patch(cx.engine(), &cx.caller, id, change).await.map(|_| "The rule was moved.")
    };
    let done = match action.as_str() {
        "up" => move_to(rule.position.saturating_sub(1).max(1)).await,
        "down" => move_to(rule.position + 1).await,
        "delete" => routing::delete(cx.engine(), &cx.caller, id).await.map(|()| "The rule was deleted."),
        _ => Err(super::no_page()),
    };
    match done {
        Ok(said) => Ok(cx.done(PATH, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let lines: Vec<String> = Faults::of(&error).rest::<&str>(&[]).collect();
            Ok(cx.refused(PATH, &lines.join("; ")))
        }
        Err(error) => Err(Fault::from(error)),
    }
}
