//! Alerts: what is the matter, who takes care of it, and the rules that say so. The tenant has its own, and so has the operator, on pages that are the same.

use axum::extract::Path;
use engine::{
    accounts,
    alerts::{
        self, AlertKind, AlertLetter, AlertQuery, AlertRulePatch, AlertRuleView, AlertState, AlertStateFilter,
        AlertView, LetterState, Note, Receiver, Severity,
        kinds::{AlertUnit, KINDS},
        letters::LetterAbout,
        rules, words,
    },
    keys::Caller,
    once::{Repeat, Reply},
    patch::Patch,
};
use http::Uri;
use maud::{Markup, html};
use model::{AccountId, AlertId, AlertRuleId, Channel};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Dialog, Field, Tone,
        field::check,
        icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/alerts";
const OPERATOR_PATH: &str = "/console/operator/alerts";
/// The rule's fields, for faults that have no field of their own.
const FIELDS: [&str; 10] =
    ["name", "threshold", "currency", "over_s", "at_least", "channel", "account_id", "for_s", "quiet_s", "deliver"];

/// Whose alerts the pages are about.
struct Side {
    /// Where its alerts are.
    path: &'static str,
    /// Where its rules are.
    rules: &'static str,
    /// Where that is in the navigation.
    section: Section,
    /// As whom the engine is asked.
    caller: Caller,
    /// Whether this person may change anything.
    may: bool,
    /// Whether it is the operator's.
    is_operators: bool,
}

impl Side {
    /// Whose alerts an address is about; the operator's are for its staff.
    fn of(cx: &Cx, uri: &Uri) -> Result<Self, Fault> {
        if uri.path().starts_with(OPERATOR_PATH) {
            let caller = cx.outside();
            caller.need_operator("alerts:read")?;
            return Ok(Self {
                path: OPERATOR_PATH,
                rules: "/console/operator/alerts/rules",
                section: Section::OperatorAlerts,
                caller,
                may: cx.may_outside("alerts:write"),
                is_operators: true,
            });
        }
        cx.tenant()?;
        Ok(Self {
            path: PATH,
            rules: "/console/alerts/rules",
            section: Section::Alerts,
            caller: cx.caller.clone(),
            may: cx.may("alerts:write"),
            is_operators: false,
        })
    }

    fn tabs(&self, here: &str) -> Markup {
        parts::tabs("Alerts", &[(self.path, "Alerts"), (self.rules, "Rules")], here)
    }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    state: Option<String>,
    cursor: Option<String>,
}

/// Lists alerts, those that are not over unless others are asked for.
pub(crate) async fn list(cx: Cx, uri: Uri, Query(wanted): Query<Wanted>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let state = wanted.state.as_deref().unwrap_or("open");
    let filter = match state {
        "all" => None,
        "resolved" => Some(AlertStateFilter::Resolved),
        _ => Some(AlertStateFilter::Open),
    };
    let query = AlertQuery { state: filter, cursor: wanted.cursor.clone(), ..AlertQuery::default() };
    let page = alerts::list(cx.engine().parts(), &side.caller, &query).await?;
    let is_somebodys = |alert: &AlertView| alert.resolved_by.is_some() || alert.acknowledged_by.is_some();
    let people = match page.data.iter().any(is_somebodys) {
        true => super::logs::people(&cx, &side.caller).await?,
        false => Vec::new(),
    };
    let choices = vec![("resolved".to_owned(), "Over".to_owned()), ("all".to_owned(), "All".to_owned())];
    let chosen = if state == "open" { "" } else { state };
    let filters = [Filter::Choice { name: "state", label: "Open", value: chosen, choices }];
    let again = table::address(side.path, [("state", chosen)]);
    let body = html! {
        section.card aria-label="Alerts" {
            (table::filters(side.path, "alerts", &filters))
            div #alerts hx-get=(again) hx-trigger="news from:body" hx-select="#alerts" hx-swap="outerHTML" {
                @if page.data.is_empty() && state == "open" {
                    (parts::empty("check", "Nothing is the matter", "When an account fails, mails bounce or an hour is unlike those before, it stands here, and whoever the rules name is told.", Some(link_button(side.rules, "", None, "See the rules"))))
                } @else if page.data.is_empty() {
                    (parts::empty("alert", "No alerts", "What is over is kept for a little more than a year.", None))
                } @else {
                    @for alert in &page.data { (one(&cx, &side, alert, &people)) }
                    (table::pager(&Pages { path: side.path, query: &[("state", chosen.to_owned())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(side.tabs(side.path)),
        lead: Some(html! { "What is the matter, since when, and who takes care of it." }),
        is_live: !side.is_operators,
        ..shell::Page::new("Alerts", side.section, body)
    }))
}

/// An alert's state in a word.
pub(super) fn state(alert: &AlertView) -> Markup {
    let (tone, word) = match (alert.state, alert.severity) {
        (AlertState::Resolved, _) => (Tone::Good, "Over"),
        (AlertState::Acknowledged, _) => (Tone::Info, "Acknowledged"),
        (AlertState::Firing, Severity::Critical) => (Tone::Bad, "Critical"),
        (AlertState::Firing, Severity::Warning) => (Tone::Warn, "Warning"),
    };
    parts::badge(tone, word)
}

fn one(cx: &Cx, side: &Side, alert: &AlertView, people: &[(String, String)]) -> Markup {
    let name = |actor: &str| match people.iter().find(|(id, _)| id == actor) {
        Some((_, name)) => name.clone(),
        None if actor == "system" => "the program".to_owned(),
        None => actor.to_owned(),
    };
    html! {
        article.finding aria-label=(alert.title) {
            div."row apart" {
                div."row grow" { (state(alert)) span."strong break" dir="auto" { (alert.title) } }
                @if side.may && alert.state != AlertState::Resolved {
                    div.row {
                        @if alert.state == AlertState::Firing { (dialog(cx, side, alert, "acknowledge", "Do you take care of it?", "Acknowledge", "Nobody is reminded any more. It is over by itself when what it is about is.")) }
                        (dialog(cx, side, alert, "resolve", "Is it over?", "Resolve", "The same is not told again before the rule's quiet period has passed."))
                    }
                }
            }
            p.break dir="auto" { (alert.detail) }
            p."muted small" {
                "Since " (cx.here().at(alert.fired_at))
                @if alert.times > 1 { " · came back " (format::count(alert.times - 1, "time", "times")) }
                @if let Some(at) = alert.resolved_at { " · over " (cx.here().at(at)) }
                @if let Some(by) = &alert.resolved_by { ", ended by " span dir="auto" { (name(by)) } }
                @if let (Some(at), AlertState::Acknowledged) = (alert.acknowledged_at, alert.state) {
                    " · acknowledged " (cx.here().at(at))
                    @if let Some(by) = &alert.acknowledged_by { " by " span dir="auto" { (name(by)) } }
                }
                @if let Some(account) = account(alert).filter(|_| !side.is_operators) { " · " a href={ "/console/channels/" (account) } { "The account" } }
                " · " a href={ (side.rules) "/" (alert.rule_id) } { "The rule" }
            }
            (letters(cx, side, &alert.letters))
            @if let Some(note) = &alert.note { p.break dir="auto" { (icon("info")) " " (note) } }
        }
    }
}

/// Who is told by letter, and how far each letter is.
fn letters(cx: &Cx, side: &Side, letters: &[AlertLetter]) -> Markup {
    let heard = letters.iter().filter(|letter| letter.is_heard()).count();
    let state = |letter: &AlertLetter| match letter.state {
        LetterState::Accepted => parts::badge(Tone::Good, "Accepted"),
        LetterState::Delivered => parts::badge(Tone::Good, "Arrived"),
        LetterState::Undelivered => parts::badge(Tone::Bad, "Could not be delivered"),
        LetterState::Waiting => parts::badge(Tone::Warn, "Tried again"),
        LetterState::GivenUp => parts::badge(Tone::Bad, "Not told"),
    };
    html! {
        @if !letters.is_empty() {
            details.more open[heard < letters.len()] {
                summary { "Told by letter: " (heard) " of " (letters.len()) }
                ul.stack {
                    @for letter in letters {
                        li {
                            div.row {
                                (state(letter))
                                span.break dir="auto" { (format::channel(letter.channel)) " to " (letter.to) }
                                span."muted small" {
                                    @if letter.about == LetterAbout::Resolved { "that it is over, " }
                                    (cx.here().at(letter.tried_at))
                                    @if letter.tries > 1 { ", tried " (letter.tries) " times" }
                                }
                                @if let Some(message) = letter.message_id.filter(|_| !side.is_operators) { a.small href={ "/console/messages/" (message) } { "The message" } }
                                @if letter.by_operator && !side.is_operators { span."muted small" { "through the operator’s account" } }
                            }
                            @if let Some(reason) = &letter.reason { p."muted small break" dir="auto" { (reason) } }
                        }
                    }
                }
            }
        }
    }
}

fn dialog(cx: &Cx, side: &Side, alert: &AlertView, action: &str, title: &str, yes: &str, help: &str) -> Markup {
    let (id, field) = (format!("{action}-{}", alert.id), format!("note-{action}-{}", alert.id));
    let body = html! {
        p.muted { (help) }
        div.field { label for=(field) { "Note " span.optional { "optional" } } input id=(field) name="note" type="text" autocomplete="off"; }
    };
    let path = format!("{}/{}/{action}", side.path, alert.id);
    html! {
        button."button small" type="button" data-opens=(id) aria-label={ (yes) ": " (alert.title) } { (yes) }
        (parts::dialog(&Dialog { id: &id, title, action: &path, csrf: cx.csrf(), body, yes, is_dangerous: false }))
    }
}

/// The account an alert is about.
fn account(alert: &AlertView) -> Option<AccountId> {
    alert.subject.parse().ok()
}

/// Acknowledges or resolves an alert.
pub(crate) async fn act(uri: Uri, Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let id: AlertId = super::id(&id)?;
    let (note, engine) = (Note { note: form.filled("note").map(str::to_owned) }, cx.engine());
    let (done, said) = match action.as_str() {
        "acknowledge" => {
            (alerts::acknowledge(engine, &side.caller, &Repeat::NONE, id, note).await, "You take care of it.")
        }
        "resolve" => (alerts::resolve(engine, &side.caller, &Repeat::NONE, id, note).await, "It is over."),
        _ => return Err(super::no_page().into()),
    };
    match done {
        Ok(_) => Ok(cx.done(side.path, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(side.path, &lines(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Everything an error says, for a page without the form it is about.
fn lines(error: &engine::Error) -> String {
    Faults::of(error).rest::<&str>(&[]).collect::<Vec<_>>().join("; ")
}

/// Lists the rules.
pub(crate) async fn rules_page(cx: Cx, uri: Uri) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let page = rules::list(cx.engine().parts(), &side.caller, Some(rules::RULES_MAX as u32), None).await?;
    let row = |rule: &AlertRuleView| Row {
        href: Some(format!("{}/{}", side.rules, rule.id)),
        cells: vec![
            cell(html! {
                span.strong dir="auto" { (rule.name) }
                div.sub { (rule.explanation) }
                @if let Some(others) = others(rule) { div.sub { (others) } }
            }),
            cell(html! { (threshold(rule)) }),
            cell(html! { span.wide-text { (receivers(&rule.deliver)) } }),
            cell(
                html! { @if rule.enabled { (parts::badge(Tone::Good, "Watching")) } @else { (parts::badge(Tone::Plain, "Off")) } },
            ),
        ],
    };
    let body = html! {
        section.card aria-label="Rules" {
            @if page.data.is_empty() {
                (parts::empty("alert", "No rules", "Without a rule nothing is watched. Endpoints and streams are told of what a rule finds, and by letter whoever it names.", None))
            } @else {
                (table::table(Table { caption: "Alert rules, newest first", columns: &["Rule", "From where on", "Tells", "State"], rows: page.data.iter().map(row).collect() }))
            }
        }
    };
    let actions = html! {
        @if side.may { button."button primary" type="button" data-opens="new-rule" { (icon("plus")) "Add rule" } (new_dialog(&cx, &side)) }
    };
    Ok(cx.page(shell::Page {
        tabs: Some(side.tabs(side.rules)),
        actions: Some(actions),
        lead: Some(html! { "What is watched, from where on it is too much, and who is told." }),
        ..shell::Page::new("Alert rules", side.section, body)
    }))
}

fn new_dialog(cx: &Cx, side: &Side) -> Markup {
    let kinds = KINDS.iter().filter(|spec| if side.is_operators { spec.is_operators } else { spec.is_tenants });
    let kinds = kinds.map(|spec| (spec.word, spec.name.to_owned())).collect();
    let (form, none) = (Form::default(), Faults::default());
    let body = html! {
        (Field::text("kind", "What it watches").required().with(Control::Choice(kinds)).draw(&form, &none))
        (Field::text("name", "Name").example("Newsletter bounces").draw(&form, &none))
        (Field::text("threshold", "From where on").help("Percent, seconds, messages, times or money, by what it watches. Empty for the default. The rest is on the rule's own page.").with(Control::Number).draw(&form, &none))
        (Field::text("currency", "Currency of a budget").example("EUR").help(if side.is_operators { "Only for what messages cost: three letters." } else { "Only for what messages cost: three letters. Empty for that of your credit, or else your own." }).draw(&form, &none))
    };
    parts::dialog(&Dialog {
        id: "new-rule",
        title: "Add an alert rule",
        action: side.rules,
        csrf: cx.csrf(),
        body,
        yes: "Add rule",
        is_dangerous: false,
    })
}

fn threshold(rule: &AlertRuleView) -> String {
    let micros = (rule.threshold * 1e6) as i64;
    let amount = match &rule.currency {
        Some(currency) => words::money(micros, currency),
        None => words::amount(rule.unit, micros),
    };
    let over = rule.over_s.map_or_else(String::new, |s| format!(" in {}", words::duration(s)));
    let least = rule.at_least.map_or_else(String::new, |n| format!(", of at least {}", format::number(n)));
    let what = match amount.trim() {
        "" if over.is_empty() => "At once",
        "" => "Any",
        amount => amount,
    };
    format!("{what}{over}{least}")
}

/// What the month cost in currencies a budget does not look at.
fn others(rule: &AlertRuleView) -> Option<String> {
    let others: Vec<String> = rule.other_costs.iter().map(format::money).collect();
    (!others.is_empty()).then(|| {
        format!("This month’s messages have also cost {}, which this budget does not look at.", words::listed(&others))
    })
}

fn receivers(deliver: &[Receiver]) -> String {
    let who = |receiver: &Receiver| match receiver.to.as_str() {
        rules::ADMINS => "Admins".to_owned(),
        to => to.to_owned(),
    };
    let all: Vec<String> = deliver.iter().map(who).collect();
    if all.is_empty() { "Nobody by letter".to_owned() } else { all.join(", ") }
}

/// Makes a rule and goes on to its form.
pub(crate) async fn create(uri: Uri, Posted { cx, form }: Posted) -> Answer {
    let side = Side::of(&cx, &uri)?;
    side.caller.need("alerts:write")?;
    let Some(kind) = AlertKind::from_stored(form.text("kind")) else { return Err(super::no_page().into()) };
    let mut new = Map::from_iter([("kind".to_owned(), json!(kind))]);
    for field in ["name", "currency"] {
        new.extend(form.filled(field).map(|text| (field.to_owned(), json!(text))));
    }
    match form.filled("threshold").map(str::parse::<f64>) {
        Some(Err(_)) => return Ok(cx.refused(side.rules, "From where on: write a number, such as 3.5")),
        Some(Ok(threshold)) => new.extend([("threshold".to_owned(), json!(threshold))]),
        None => {}
    }
    let new = serde_json::from_value(Value::Object(new)).map_err(engine::Error::internal)?;
    match rules::create(cx.engine().parts(), &side.caller, &Repeat::NONE, new).await {
        Ok(reply) => Ok(cx.done(&format!("{}/{}", side.rules, made(&reply)?), "It watches from now on.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(side.rules, &lines(&error))),
        Err(error) => Err(error.into()),
    }
}

fn made(reply: &Reply) -> Result<String, engine::Error> {
    Ok(read::json::<Made>(&reply.body)?.id)
}

/// Shows a rule's form.
pub(crate) async fn rule(cx: Cx, uri: Uri, Path(id): Path<String>) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let rule = rules::get(cx.engine().parts(), &side.caller, super::id(&id)?).await?;
    let (form, accounts) = (stored(&rule), accounts_of(&cx, &side).await?);
    Ok(cx.page(rule_page(&cx, &side, &rule, &accounts, &form, &Faults::default())))
}

/// The accounts a rule can be about, by id and name.
async fn accounts_of(cx: &Cx, side: &Side) -> Result<Vec<(String, String)>, engine::Error> {
    if side.is_operators || !cx.may("accounts:read") {
        return Ok(Vec::new());
    }
    let page = accounts::list(cx.engine().parts(), &cx.caller, Some(super::channels::ALL), None).await?;
    Ok(page.data.into_iter().map(|account| (account.id.to_string(), account.name)).collect())
}

fn stored(rule: &AlertRuleView) -> Form {
    let line = |receiver: &Receiver| format!("{} {}", receiver.channel, receiver.to);
    let mut form = Form::of([
        ("name", rule.name.clone()),
        ("threshold", rule.threshold.to_string()),
        ("currency", rule.currency.clone().unwrap_or_default()),
        ("channel", rule.channel.map(|channel| channel.to_string()).unwrap_or_default()),
        ("account_id", rule.account_id.map(|id| id.to_string()).unwrap_or_default()),
        ("for_s", format::span(rule.for_s)),
        ("quiet_s", format::span(rule.quiet_s)),
        ("deliver", rule.deliver.iter().map(line).collect::<Vec<_>>().join("\n")),
    ]);
    if let Some(over_s) = rule.over_s {
        form.set("over_s", format::span(over_s));
    }
    if let Some(at_least) = rule.at_least {
        form.set("at_least", at_least.to_string());
    }
    if rule.enabled {
        form.set("enabled", "on");
    }
    form
}

/// In what a threshold is written.
fn unit(unit: AlertUnit) -> String {
    match json!(unit).as_str().unwrap_or_default() {
        "count" => "How many.".to_owned(),
        "times" => "So many times the usual distance.".to_owned(),
        "money" => "In units of the currency.".to_owned(),
        word => format!("In {word}."),
    }
}

/// The channels a rule of a kind can be about, and the one it is about in any case: only mails come back or are reported as unwanted.
fn watched(kind: AlertKind, stored: Option<Channel>) -> impl Iterator<Item = Channel> {
    let is_of_mails = matches!(kind, AlertKind::BounceRate | AlertKind::ComplaintRate);
    let is_one = move |channel: &Channel| !is_of_mails || *channel == Channel::Email || Some(*channel) == stored;
    super::channels::of_people().filter(is_one)
}

fn rule_page<'a>(
    cx: &Cx,
    side: &'a Side,
    rule: &'a AlertRuleView,
    accounts: &[(String, String)],
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let path = format!("{}/{}", side.rules, rule.id);
    let is_by_account = rule.kind.spec().is_by_account && !side.is_operators;
    let receivers_help = match side.is_operators {
        true => {
            "One on each line: email, sms or telegram, and where to. “email admins” is everybody of the staff with the role admin. Letters leave through the tenant that mail_tenant of the configuration names; its endpoints and streams are told in any case."
        }
        false => {
            "One on each line: email, sms or telegram, and where to. “email admins” is everybody with the role admin or owner. Endpoints and streams are told in any case."
        }
    };
    let channels: Vec<(&str, String)> = std::iter::once(("", "Every channel".to_owned()))
        .chain(watched(rule.kind, rule.channel).map(|channel| (channel.as_str(), format::channel(channel).to_owned())))
        .collect();
    let of_accounts: Vec<(&str, String)> = std::iter::once(("", "Every account".to_owned()))
        .chain(accounts.iter().map(|(id, name)| (id.as_str(), name.clone())))
        .collect();
    let body = html! {
        @if let Some(others) = others(rule) { (parts::notice(Tone::Info, "Costs in other currencies", html! { (others) " Add a rule for each." })) }
        section.card aria-label="The rule" {
            form method="post" action=(path) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!side.may] { div.body { div.form {
                    (shell::form_faults(faults, &FIELDS))
                    (Field::text("name", "Name").required().draw(form, faults))
                    div.fields-2 {
                        @if rule.unit != AlertUnit::None { (Field::text("threshold", "From where on").required().with(Control::Number).help(&unit(rule.unit)).draw(form, faults)) }
                        @if rule.unit == AlertUnit::Money { (Field::text("currency", "Currency").required().example("EUR").help("What messages cost in another is not counted.").draw(form, faults)) }
                        @if rule.over_s.is_some() { (Field::text("over_s", "Looks back over").required().example("1 h").help("Such as 30 min, 6 h or 1 d.").draw(form, faults)) }
                        @if rule.at_least.is_some() { (Field::text("at_least", "Fewer messages say nothing").required().with(Control::Number).draw(form, faults)) }
                        @if is_by_account {
                            (Field::text("channel", "Channel").plain().with(Control::Choice(channels)).draw(form, faults))
                            (Field::text("account_id", "Account").plain().with(Control::Choice(of_accounts)).draw(form, faults))
                        }
                        (Field::text("for_s", "Must be so for").required().example("5 min").help("Before it fires: 0 s for at once.").draw(form, faults))
                        (Field::text("quiet_s", "Quiet period").required().example("4 h").help("For how long nothing more is said about the same account or channel.").draw(form, faults))
                    }
                    (Field::text("deliver", "Who is told by letter").with(Control::Area { rows: 3 }).example("email admins").help(receivers_help).draw(form, faults))
                    (check("enabled", "on", form.is_on("enabled"), "It watches", "Without this it is kept and finds nothing, and what fires under it is over."))
                } } }
                @if side.may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
        @if side.may {
            section.card aria-label="Try it or delete it" {
                div.body { div."row apart" {
                    (parts::act(&format!("{path}/test"), cx.csrf(), "", Some("send"), "Send a test to everybody it tells"))
                    button."button danger" type="button" data-opens="delete-rule" { (icon("trash")) "Delete" }
                    (parts::dialog(&Dialog { id: "delete-rule", title: "Delete this rule?", action: &format!("{path}/delete"), csrf: cx.csrf(), body: html! { p.muted { "What fires under it is over then. To keep the rule without watching, switch it off." } }, yes: "Delete it", is_dangerous: true }))
                } }
            }
        }
    };
    shell::Page {
        above: if side.is_operators {
            &[(OPERATOR_PATH, "Alerts"), ("/console/operator/alerts/rules", "Rules")]
        } else {
            &[(PATH, "Alerts"), ("/console/alerts/rules", "Rules")]
        },
        lead: Some(html! { (rule.explanation) }),
        is_narrow: true,
        ..shell::Page::new(&rule.name, side.section, body)
    }
}

/// Changes a rule.
pub(crate) async fn update(uri: Uri, Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let id: AlertRuleId = super::id(&id)?;
    side.caller.need("alerts:write")?;
    let rule = rules::get(cx.engine().parts(), &side.caller, id).await?;
    let mut faults = Faults::default();
    let is_by_account = rule.kind.spec().is_by_account && !side.is_operators;
    let change = AlertRulePatch {
        name: Patch::Set(form.text("name").to_owned()),
        threshold: if rule.unit == AlertUnit::None { Patch::Keep } else { number(&form, "threshold", &mut faults) },
        currency: match form.filled("currency") {
            _ if rule.unit != AlertUnit::Money => Patch::Keep,
            Some(currency) => Patch::Set(currency.to_owned()),
            None => Patch::Clear,
        },
        over_s: if rule.over_s.is_some() { span(&form, "over_s", &mut faults) } else { Patch::Keep },
        at_least: if rule.at_least.is_some() { number(&form, "at_least", &mut faults) } else { Patch::Keep },
        channel: if is_by_account { word(&form, "channel", &mut faults) } else { Patch::Keep },
        account_id: if is_by_account { word(&form, "account_id", &mut faults) } else { Patch::Keep },
        for_s: span(&form, "for_s", &mut faults),
        quiet_s: span(&form, "quiet_s", &mut faults),
        enabled: Patch::Set(form.is_on("enabled")),
        deliver: Patch::Set(read_receivers(form.text("deliver"), &mut faults)),
    };
    let changed = if faults.is_empty() {
        match rules::patch(cx.engine().parts(), &side.caller, id, change).await {
            Err(error) if matches!(error.kind.status(), 409 | 422) => Err(Faults::of(&error)),
            done => Ok(done?),
        }
    } else {
        Err(faults)
    };
    match changed {
        Ok(_) => Ok(cx.done(side.rules, "The rule was changed.")),
        Err(faults) => {
            let accounts = accounts_of(&cx, &side).await?;
            Ok(cx.again(rule_page(&cx, &side, &rule, &accounts, &form, &faults)))
        }
    }
}

fn number<T: std::str::FromStr>(form: &Form, name: &str, faults: &mut Faults) -> Patch<T> {
    match form.text(name).parse() {
        Ok(number) => Patch::Set(number),
        Err(_) => {
            faults.add(name, "write a number");
            Patch::Keep
        }
    }
}

/// A length of time, as the engine wants it in seconds.
fn span(form: &Form, name: &str, faults: &mut Faults) -> Patch<i64> {
    match format::read_span(form.text(name)) {
        Some(seconds) => Patch::Set(seconds),
        None => {
            faults.add(name, "write a whole number and a unit, such as 30 min, 6 h or 1 d");
            Patch::Keep
        }
    }
}

/// A choice, or none of them.
fn word<T: std::str::FromStr>(form: &Form, name: &str, faults: &mut Faults) -> Patch<T> {
    match form.filled(name).map(str::parse) {
        None => Patch::Clear,
        Some(Ok(value)) => Patch::Set(value),
        Some(Err(_)) => {
            faults.add(name, "choose one of the list");
            Patch::Keep
        }
    }
}

/// One receiver on each line: the channel, and where to.
fn read_receivers(text: &str, faults: &mut Faults) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parts = line.split_once(char::is_whitespace);
        let read = parts.and_then(|(channel, to)| Some((channel.parse::<Channel>().ok()?, to.trim())));
        match read {
            Some((channel, to)) => receivers.push(Receiver { channel, to: to.to_owned() }),
            None => faults.add("deliver", format!("“{line}” is no receiver; write as in “email ops@acme.example”")),
        }
    }
    receivers
}

/// Tries a rule out, or deletes it.
pub(crate) async fn act_rule(
    uri: Uri,
    Path((id, action)): Path<(String, String)>,
    Posted { cx, .. }: Posted,
) -> Answer {
    let side = Side::of(&cx, &uri)?;
    let id: AlertRuleId = super::id(&id)?;
    let path = format!("{}/{id}", side.rules);
    let done = match action.as_str() {
        "test" => match alerts::test(cx.engine(), &side.caller, &Repeat::NONE, id).await {
            Ok(reply) => match refused(&reply)? {
                Some(why) => return Ok(cx.refused(&path, &why)),
                None if side.is_operators => {
                    Ok((path.clone(), "The test is on its way; see it under Messages of the tenant it leaves through."))
                }
                None => Ok((path.clone(), "The test is on its way; see it under Messages.")),
            },
            Err(error) => Err(error),
        },
        "delete" => rules::delete(cx.engine().parts(), &side.caller, id)
            .await
            .map(|()| (side.rules.to_owned(), "The rule was deleted.")),
        _ => return Err(super::no_page().into()),
    };
    match done {
        Ok((to, said)) => Ok(cx.done(&to, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(&path, &lines(&error))),
        Err(error) => Err(error.into()),
    }
}

/// Who could not be written to by a test, and why.
fn refused(reply: &Reply) -> Result<Option<String>, engine::Error> {
    let told: Tested = read::json(&reply.body)?;
    let lost = told.letters.iter().filter(|letter| letter.state != LetterState::Accepted);
    let lines: Vec<String> = lost
        .map(|letter| format!("{} was not written to: {}", letter.to, letter.reason.as_deref().unwrap_or_default()))
        .collect();
    if told.letters.is_empty() {
        return Ok(Some("The rule tells nobody by letter.".to_owned()));
    }
    Ok((!lines.is_empty()).then(|| lines.join(" ")))
}

/// What a test came to.
#[derive(Deserialize)]
struct Tested {
    letters: Vec<AlertLetter>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_about_mails_is_about_no_other_channel() {
        let offered = |kind, stored| watched(kind, stored).collect::<Vec<_>>();
        assert_eq!(offered(AlertKind::BounceRate, None), [Channel::Email]);
        assert_eq!(offered(AlertKind::ComplaintRate, Some(Channel::Email)), [Channel::Email]);
        // What an earlier version let be made is shown as it is.
        assert!(offered(AlertKind::BounceRate, Some(Channel::Sms)).contains(&Channel::Sms));
        assert!(offered(AlertKind::DeliveryRate, None).contains(&Channel::Sms));
    }

    #[test]
    fn receivers_stand_on_lines() {
        let mut faults = Faults::default();
        let read = read_receivers("email admins\n\n sms  +4915112345678 \nnobody\npigeon Ada", &mut faults);
        let said: Vec<_> = read.iter().map(|r| (r.channel, r.to.as_str())).collect();
        assert_eq!(said, [(Channel::Email, "admins"), (Channel::Sms, "+4915112345678")]);
        assert!(faults.at("deliver").is_some_and(|text| text.contains("“nobody”") && text.contains("“pigeon Ada”")));
    }
}
