//! Rules about which account a message leaves through: in their order, with a form for one, and a message to try them on.

pub(crate) mod trial;
mod written;

use axum::extract::Path;
use engine::{
    Error,
    accounts::{self, AccountView},
    once::Repeat,
    patch::Patch,
    routing::{
        self, NewRoute, RoutePatch, RouteView, TrialView,
        rule::{By, Candidate, Day, Hours, Matches, Otherwise},
    },
};
use maud::{Markup, html};
use model::{Channel, RouteId};
use serde::Deserialize;

use self::written::{decimal, said, stored};
use super::channels;
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
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
        (trial::trial_card(cx, tried, form, faults))
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
    let may = cx.may_manage(&[channel]);
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
        return Ok(cx.page(choose_page(&cx, &accounts)));
    };
    let form = Form::of([("choose/by", "priority"), ("otherwise", "next_rule"), ("enabled", "true")]);
    Ok(cx.page(form_page(&cx, channel, None, &accounts, &form, &Faults::default())))
}

fn choose_page<'a>(cx: &Cx, accounts: &[AccountView]) -> shell::Page<'a> {
    let body = html! {
        section.card {
            div."body flush" {
                ul.lines {
                    @for channel in channels::of_people().filter(|channel| cx.may_manage(&[*channel])) {
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
    let may = cx.may_manage(&[channel]);
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
