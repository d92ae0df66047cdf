//! Registration with American carriers: who the business is, a registration for each account with where it stands, and what to do when it was rejected. The operator sees those
//! that need somebody to look.

pub(crate) mod numbers;
pub(crate) mod profile;
pub(crate) mod toll_free;

use std::collections::BTreeMap;

use axum::extract::Path;
use connectors::{manage::Stage, registry};
use engine::{
    Error,
    accounts::{self, AccountView},
    once::Repeat,
    registrations::{
        self, NewRegistration, RegistrationKind, RegistrationState, RegistrationView, RejectionReason, Resubmission,
        profile::BusinessProfileView,
    },
    tenants,
};
use maud::{Markup, html};
use model::{AccountId, Channel, RegistrationId, TenantId};
use serde::Deserialize;

use super::{channels, senders};
use crate::{
    cx::{Answer, Cx, Fault, Posted, Query},
    form::{Faults, Form},
    format, pages,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Pages, Row, Table, cell, text},
        timeline::{Event, timeline},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/registration";
pub(super) const OPERATOR_PATH: &str = "/console/operator/registrations";
/// Registrations on a page; a tenant has one for each account.
const ROWS: u32 = 100;
const ABOVE: &[(&str, &str)] = &[(PATH, "Registration")];

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// A registration's state as a badge.
pub(super) fn state(state: RegistrationState) -> Markup {
    match state {
        RegistrationState::InProgress => html! { span."badge info moving" { "Under way" } },
        RegistrationState::Rejected => parts::badge(Tone::Bad, "Rejected"),
        RegistrationState::OperatorNeeded => parts::badge(Tone::Warn, "The operator looks"),
        RegistrationState::Approved => parts::badge(Tone::Good, "Approved"),
    }
}

/// What the channel's card says of an account that may not send yet.
pub(super) fn pending(state: RegistrationState) -> Option<Markup> {
    match state {
        RegistrationState::Approved => None,
        RegistrationState::Rejected => Some(parts::badge(Tone::Bad, "Registration rejected")),
        RegistrationState::InProgress | RegistrationState::OperatorNeeded => {
            Some(parts::badge(Tone::Warn, "Pending verification"))
        }
    }
}

/// The registration of each account that has one; nothing for somebody who may not see them.
pub(super) async fn by_account(cx: &Cx) -> Result<BTreeMap<AccountId, RegistrationView>, Error> {
    if !cx.may("registrations:read") {
        return Ok(BTreeMap::new());
    }
    let page = registrations::list(cx.engine().parts(), &cx.caller, Some(channels::ALL), None).await?;
    Ok(page.data.into_iter().map(|one| (one.account_id, one)).collect())
}

/// What a stage is, in words: the title, and what happens in it.
const fn words(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Profile => ("Business submitted", "The business is told to the provider."),
        Stage::ProfileReview => (
            "Business checked",
            "The provider looks whether the business is who it says; mostly minutes, at times two days.",
        ),
        Stage::Trust => ("Details added", "What carriers want to know besides is put together."),
        Stage::Brand => {
            ("Brand registered", "The business is entered in the carriers' registry. It takes a fee for it.")
        }
        Stage::BrandReview => (
            "Brand checked",
            "The registry compares name, address and EIN with public records; mostly minutes, at times days.",
        ),
        Stage::Code => (
            "Person asked",
            "The registry asks the person by text message whether it is them; the answer YES within a day lets it go on.",
        ),
        Stage::Verification => ("Number submitted", "What is sent from the toll-free number is told to the provider."),
        Stage::VerificationReview => {
            ("Number checked", "Carriers read what is sent and how people agreed to it; days, at times two weeks.")
        }
        Stage::Service => ("Sender made", "The messaging service the messages leave through is made."),
        Stage::Campaign => {
            ("Use case registered", "What is sent and how people agreed to it. Carriers take a fee each month for it.")
        }
        Stage::CampaignReview => {
            ("Use case checked", "Carriers read the description and the samples; days, at times two weeks.")
        }
        Stage::Number => (
            "Number found",
            "A free number of the pool is taken, or one is bought; the provider takes a fee each month for it.",
        ),
        Stage::Attach => ("Number attached", "The number is put into the messaging service."),
        Stage::Approved => ("Approved", "Text messages to the United States leave registered."),
    }
}

fn stage_title(word: &str) -> String {
    Stage::from_stored(word).map_or_else(|| format::words(word), |stage| words(stage).0.to_owned())
}

/// Whether an account can be registered at all.
fn offers(account: &AccountView) -> bool {
    let has = registry::find(&account.connector).is_some_and(|connector| connector.registrations().is_some());
    has && account.channels.contains(&Channel::Sms)
}

/// Shows the business and the registrations.
pub(crate) async fn show(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    cx.tenant()?;
    let (parts_of, caller) = (cx.engine().parts(), &cx.caller);
    let profile = registrations::profile::get(cx.engine(), caller).await?;
    let page = registrations::list(parts_of, caller, Some(ROWS), wanted.cursor.as_deref()).await?;
    let accounts = accounts(&cx).await?;
    let taken = by_account(&cx).await?;
    let free: Vec<&AccountView> =
        accounts.iter().filter(|account| offers(account) && !taken.contains_key(&account.id)).collect();
    let may = cx.may("registrations:write");
    let row = |one: &RegistrationView| Row {
        href: Some(format!("{PATH}/{}", one.id)),
        cells: vec![
            cell(html! { span."strong wide-text" dir="auto" { (name_of(&accounts, one.account_id)) } }),
            cell(state(one.state)),
            text(&stage_title(&one.stage)),
            cell(html! { @match &one.number { Some(number) => span.num { (number) }, None => span.muted { "–" } } }),
            cell(cx.here().at(one.submitted_at)),
        ],
    };
    let columns = &["Account", "State", "Stage", "Number", "Submitted"];
    let toll_free = toll_free::card(&cx, &accounts, profile.is_complete).await?;
    let body = html! {
        (profile_card(&cx, &profile))
        section.card #registrations aria-label="Registrations" hx-get=(PATH) hx-trigger="news from:body" hx-select="#registrations" hx-swap="outerHTML" {
            header { h2 { "Registrations" } }
            div."body flush" {
                @if page.data.is_empty() {
                    (parts::empty("shield", "No account is registered", nothing_words(&accounts, &profile), None))
                } @else {
                    (table::table(Table { caption: "Registrations, newest first", columns, rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
        (toll_free)
    };
    let actions = html! {
        @if may && profile.is_complete && !free.is_empty() {
            button."button primary" type="button" data-opens="begin" { (icon("shield")) "Register an account" }
            (begin_dialog(&cx, &free))
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Text messages to the United States reach phones only from a business that carriers know (10DLC)." }),
        actions: Some(actions),
        tabs: Some(senders::tabs(PATH)),
        is_live: true,
        ..shell::Page::new("Registration", Section::Channels, body)
    }))
}

async fn accounts(cx: &Cx) -> Result<Vec<AccountView>, Error> {
    if !cx.may("accounts:read") {
        return Ok(Vec::new());
    }
    Ok(accounts::list(cx.engine().parts(), &cx.caller, Some(channels::ALL), None).await?.data)
}

fn name_of(accounts: &[AccountView], id: AccountId) -> &str {
    accounts.iter().find(|account| account.id == id).map_or("An account that was deleted", |account| &account.name)
}

fn nothing_words(accounts: &[AccountView], profile: &BusinessProfileView) -> &'static str {
    if !accounts.iter().any(offers) {
        "Set up an SMS account with a provider that registers businesses, such as Twilio. Accounts of others are registered at their provider."
    } else if !profile.is_complete {
        "Say first who the business is. Then the account can be registered."
    } else {
        "The business is told. Register the account that sends to the United States."
    }
}

fn profile_card(cx: &Cx, profile: &BusinessProfileView) -> Markup {
    let business = &profile.profile;
    let may = cx.may("registrations:write");
    let is_begun = profile.updated_at.is_some();
    let badge = match (profile.is_complete, is_begun) {
        (true, _) => parts::badge(Tone::Good, "Complete"),
        (false, true) => {
            let left = i64::try_from(profile.missing.len()).unwrap_or(i64::MAX);
            parts::badge(Tone::Warn, &format!("{} left", format::count(left, "answer", "answers")))
        }
        (false, false) => parts::badge(Tone::Plain, "Not begun"),
    };
    let or_dash = |text: Option<&String>| html! { @match text { Some(text) => span.break dir="auto" { (text) }, None => span.muted { "–" } } };
    html! {
        section.card aria-label="The business" {
            header { h2 { "The business" } (badge) }
            div.body {
                @if is_begun {
                    (parts::facts([
                        ("Name", html! { (or_dash(business.legal_name.as_ref())) @if let Some(dba) = &business.dba { span.muted dir="auto" { " (" (dba) ")" } } }),
                        ("EIN", or_dash(business.ein.as_ref())),
                        ("Website", or_dash(business.website.as_ref())),
                        ("Sends", html! { @match business.use_case.category.as_deref() { Some(word) => (format::words(word)), None => span.muted { "–" } } @if let Some(volume) = business.monthly_volume { ", about " (format::number(i64::from(volume))) " a month" } }),
                        ("United States", html! { (profile::policy_words(profile.us_sms)) }),
                    ]))
                } @else {
                    p.muted { "Who the business is, what it sends, and how people agreed to it: asked once, checked before anything is submitted, used for every account." }
                }
            }
            footer { div.end { @if may { (link_button(profile::PATH, if profile.is_complete { "" } else { "primary" }, Some("pen"), if is_begun { "Change" } else { "Say who the business is" })) } @else { (link_button(profile::PATH, "", None, "See all of it")) } } }
        }
    }
}

fn begin_dialog(cx: &Cx, free: &[&AccountView]) -> Markup {
    let (form, none) = (Form::default(), Faults::default());
    let ids: Vec<String> = free.iter().map(|account| account.id.to_string()).collect();
    let choices = ids.iter().zip(free).map(|(id, account)| (id.as_str(), account.name.clone())).collect();
    parts::dialog(&Dialog {
        id: "begin",
        title: "Register an account",
        action: PATH,
        csrf: cx.csrf(),
        yes: "Begin",
        is_dangerous: false,
        body: html! {
            p.muted { "The business is submitted as it stands. The provider charges its account for the brand, each month for the use case, and for the number. Until it is approved, text messages of this account to the United States are refused." }
            (Field::text("account_id", "Account").required().with(Control::Choice(choices)).draw(&form, &none))
            (Field::text("area_code", "Area code of the number").example("415").help("Any when left empty.").draw(&form, &none))
        },
    })
}

/// Begins a registration.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("registrations:write")?;
    let Ok(account_id) = form.text("account_id").parse::<AccountId>() else {
        return Ok(cx.refused(PATH, "Choose an account."));
    };
    let new = NewRegistration { account_id, area_code: form.filled("area_code").map(str::to_owned) };
    match registrations::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
        Ok(reply) => {
            let made: Made = read::json(&reply.body)?;
            Ok(cx.done(&format!("{PATH}/{}", made.id), "It has begun. This page follows."))
        }
        Err(error) if error.code == "business_profile_incomplete" => {
            Ok(cx.refused(profile::PATH, "The business is not told completely yet."))
        }
        Err(error) if matches!(error.kind.status(), 404 | 409 | 422) => Ok(cx.refused(PATH, &said(&error))),
        Err(error) => Err(error.into()),
    }
}

/// What an error says, in one line.
fn said(error: &Error) -> String {
    Faults::of(error).rest::<&str>(&[]).collect::<Vec<_>>().join("; ")
}

/// Shows a registration with its stages.
pub(crate) async fn one(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let one = registrations::get(cx.engine().parts(), &cx.caller, pages::id(&id)?).await?;
    page_of(&cx, &one).await
}

/// Where a registration's page is.
fn path_of(one: &RegistrationView) -> String {
    match one.kind {
        RegistrationKind::TenDlc => format!("{PATH}/{}", one.id),
        RegistrationKind::TollFree => format!("{}/{}", toll_free::PATH, one.id),
    }
}

async fn page_of(cx: &Cx, one: &RegistrationView) -> Answer {
    let accounts = accounts(cx).await?;
    let is_toll_free = one.kind == RegistrationKind::TollFree;
    let number = one.number.as_deref().filter(|_| is_toll_free);
    let title = number.unwrap_or_else(|| name_of(&accounts, one.account_id)).to_owned();
    let path = path_of(one);
    let body = html! {
        div.stack.loose #registration hx-get=(path) hx-trigger="news from:body" hx-select="#registration" hx-swap="outerHTML" {
            (trouble(cx, one, &path))
            div.columns {
                (parts::card("Stages", Some(state(one.state)), stages(cx, one)))
                div.stack { (facts(cx, one)) (references(one)) }
            }
        }
    };
    let has_account = accounts.iter().any(|account| account.id == one.account_id);
    let may_delete = is_toll_free || one.state != RegistrationState::Approved;
    let (lead, gone) = match is_toll_free {
        true => (
            "Verification of a toll-free number",
            "Only here: the number is yours, and what the provider decided about it stays.",
        ),
        false => (
            "Registration with American carriers",
            "Only here: what was made at the provider stays there, and a number goes back to the operator's pool. The account can be registered anew.",
        ),
    };
    let actions = html! {
        @if has_account { (link_button(&format!("/console/channels/{}", one.account_id), "", Some("plug"), "The account")) }
        @if cx.may("registrations:write") && may_delete {
            button."button danger" type="button" data-opens="delete" { (icon("trash")) "Delete" }
            (parts::dialog(&Dialog { id: "delete", title: "Delete this registration?", action: &format!("{path}/delete"), csrf: cx.csrf(), yes: "Delete it", is_dangerous: true,
                body: html! { p.muted { (gone) } } }))
        }
    };
    Ok(cx.page(shell::Page {
        above: ABOVE,
        lead: Some(html! { (lead) ", last submitted " (cx.here().at(one.submitted_at)) "." }),
        actions: Some(actions),
        is_live: true,
        ..shell::Page::new(&title, Section::Channels, body)
    }))
}

/// What has to be done, and by whom.
fn trouble(cx: &Cx, one: &RegistrationView, path: &str) -> Markup {
    let may = cx.may("registrations:write");
    match one.state {
        RegistrationState::Rejected => parts::notice(
            Tone::Bad,
            "It was rejected",
            html! {
                ul.stack.tight { @for reason in &one.reasons { (reason_line(reason)) } }
                p { "Put right what is wrong in the business's answers, then submit it again: it goes on at the stage that was refused." }
                @if may {
                    div."row spaced" {
                        (link_button(profile::PATH, "small", Some("pen"), "Change the answers"))
                        (again(cx, one, path, "Submit again"))
                    }
                }
            },
        ),
        RegistrationState::OperatorNeeded => parts::notice(
            Tone::Warn,
            "The provider could not be asked for long",
            html! {
                @if let Some(problem) = &one.problem { p.break dir="auto" { (problem) } }
                p { "The operator was told. Once the provider answers again, it goes on where it was." }
                @if may { div."row spaced" { (again(cx, one, path, "Go on")) } }
            },
        ),
        RegistrationState::InProgress => match &one.problem {
            Some(problem) => parts::notice(
                Tone::Info,
                "The provider could not be asked",
                html! { p.break dir="auto" { (problem) } p { "It is asked again every five minutes, ten times; then the operator is told. So far " (format::count(i64::from(one.failures), "time", "times")) "." } },
            ),
            None => html! {},
        },
        RegistrationState::Approved => html! {},
    }
}

fn reason_line(reason: &RejectionReason) -> Markup {
    html! {
        li {
            span.break dir="auto" { (reason.detail) } " " code { (reason.code) }
            @if !reason.pointers.is_empty() { " Look at " @for (at, pointer) in reason.pointers.iter().enumerate() { @if at > 0 { ", " } a.inline href=(profile::at(pointer)) { (profile::label_of(pointer)) } } "." }
        }
    }
}

/// The button that submits again, with what can be said anew: another area code where the number is what is missing, or how people agree to be written to from a toll-free number.
fn again(cx: &Cx, one: &RegistrationView, path: &str, yes: &str) -> Markup {
    let (form, none) = (Form::default(), Faults::default());
    html! {
        button."button small" type="button" data-opens="again" { (icon("retry")) (yes) }
        (parts::dialog(&Dialog { id: "again", title: "Submit it again?", action: &format!("{path}/submit"), csrf: cx.csrf(), yes, is_dangerous: false,
            body: html! {
                p.muted { "With the business's answers as they are now." }
                @match &one.toll_free {
                    Some(said) => (toll_free::fields(&toll_free::stored(said), &none)),
                    None => (Field::text("area_code", "Another area code").example("628").help("When no number was found in the one before.").draw(&form, &none)),
                }
            } }))
    }
}

/// The stages a registration goes through. The registry asks a person again only where that is needed.
fn way(one: &RegistrationView) -> Vec<Stage> {
    match one.kind {
        RegistrationKind::TollFree => vec![Stage::Verification, Stage::VerificationReview, Stage::Approved],
        RegistrationKind::TenDlc => {
            let mut way = Stage::ALL.to_vec();
            if one.stage == Stage::Code.as_str() {
                let after = way.iter().position(|stage| *stage == Stage::BrandReview).unwrap_or(0);
                way.insert(after + 1, Stage::Code);
            }
            way
        }
    }
}

fn stages(cx: &Cx, one: &RegistrationView) -> Markup {
    let way = way(one);
    let here = way.iter().position(|stage| stage.as_str() == one.stage).unwrap_or(0);
    let is_approved = one.state == RegistrationState::Approved;
    let event = |(at, stage): (usize, &Stage)| {
        let (title, about) = words(*stage);
        let is_done = at < here || is_approved;
        let is_here = at == here && !is_approved;
        let (tone, picture) = match (is_done, is_here, one.state) {
            (true, ..) => (Tone::Good, "check"),
            (_, true, RegistrationState::Rejected) => (Tone::Bad, "alert"),
            (_, true, RegistrationState::OperatorNeeded) => (Tone::Warn, "alert"),
            (_, true, _) => (Tone::Info, "clock"),
            _ => (Tone::Plain, "clock"),
        };
        let when = match (*stage, one.approved_at) {
            (Stage::Approved, Some(at)) => cx.here().at(at),
            _ if is_here => match (one.state, one.next_at) {
                (RegistrationState::InProgress, Some(next)) => {
                    html! { span.muted { "asked again " (cx.here().distance(next)) } }
                }
                _ => html! { span.muted { "since " (cx.here().at(one.updated_at)) } },
            },
            _ => html! {},
        };
        let detail = (!is_done).then(|| html! { p.muted { (about) } });
        Event {
            tone,
            picture,
            title: html! { (title) @if is_done { span.visually-hidden { ", done" } } },
            at: when,
            detail,
            is_future: !is_done && !is_here,
        }
    };
    timeline(way.iter().enumerate().map(event).collect())
}

fn facts(cx: &Cx, one: &RegistrationView) -> Markup {
    parts::card(
        "About it",
        None,
        parts::facts([
            (
                "Number",
                html! { @match &one.number { Some(number) => span."strong num" { (number) }, None => span.muted { "not yet" } } },
            ),
            match &one.toll_free {
                Some(said) => ("People agree", html! { (toll_free::way(said.opt_in_type)) }),
                None => (
                    "Area code",
                    html! { @match &one.area_code { Some(code) => span.num { (code) }, None => span.muted { "any" } } },
                ),
            },
            ("Begun", cx.here().at(one.created_at)),
            ("Submitted", cx.here().at(one.submitted_at)),
            (
                "Approved",
                html! { @match one.approved_at { Some(at) => (cx.here().at(at)), None => span.muted { "not yet" } } },
            ),
            ("Id", html! { code.break { (one.id) } }),
        ]),
    )
}

/// What was made at the provider, to find it there.
fn references(one: &RegistrationView) -> Markup {
    let refs = &one.references;
    let all = [
        ("Profile", &refs.profile),
        ("Further details", &refs.trust),
        ("Brand", &refs.brand),
        ("Messaging service", &refs.service),
        ("Use case", &refs.campaign),
        ("Number", &refs.number_id),
    ];
    let made: Vec<(&'static str, Markup)> =
        all.into_iter().filter_map(|(name, id)| Some((name, html! { code.break { (id.as_ref()?) } }))).collect();
    html! { @if !made.is_empty() { (parts::card("At the provider", None, parts::facts(made))) } }
}

/// Submits a registration again, or deletes it.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    let id: RegistrationId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    let (done, to, words) = match action.as_str() {
        "submit" => {
            let again = Resubmission { area_code: form.filled("area_code").map(str::to_owned) };
            let done = registrations::submit(cx.engine(), &cx.caller, &Repeat::NONE, id, again).await;
            (done.map(drop), path.as_str(), "It goes on.")
        }
        "delete" => {
            (registrations::delete(cx.engine().parts(), &cx.caller, id).await, PATH, "The registration was deleted.")
        }
        _ => return Err(pages::no_page().into()),
    };
    acted(&cx, done, (to, words), &path)
}

/// Answers what became of something done to a registration whose page is at `path`.
fn acted(cx: &Cx, done: Result<(), Error>, (to, words): (&str, &str), path: &str) -> Answer {
    match done {
        Ok(()) => Ok(cx.done(to, words)),
        Err(error) if error.code == "business_profile_incomplete" => {
            Ok(cx.refused(profile::PATH, "The business is not told completely yet."))
        }
        Err(error) if matches!(error.kind.status(), 409 | 422) => Ok(cx.refused(path, &said(&error))),
        Err(error) => Err(error.into()),
    }
}

/// The parts of the operator's place.
pub(super) fn operators_tabs(here: &str) -> Markup {
    parts::tabs("Registration", &[(OPERATOR_PATH, "Need somebody"), (numbers::PATH, "Numbers")], here)
}

/// The names of tenants; one that is gone has none.
pub(super) async fn tenant_names(
    cx: &Cx,
    ids: impl Iterator<Item = TenantId>,
) -> Result<BTreeMap<TenantId, String>, Fault> {
    let mut names = BTreeMap::new();
    for id in ids {
        if names.contains_key(&id) {
            continue;
        }
        let name = match tenants::get(cx.engine().parts(), &cx.outside(), id).await {
            Ok(tenant) => tenant.name,
            Err(error) if error.kind == engine::ErrorKind::NotFound => "A tenant that is gone".to_owned(),
            Err(error) => return Err(error.into()),
        };
        names.insert(id, name);
    }
    Ok(names)
}

/// Lists what needs the operator, over all tenants.
pub(crate) async fn stuck(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("registrations:read")?;
    let page = registrations::list(cx.engine().parts(), &caller, None, wanted.cursor.as_deref()).await?;
    let names = tenant_names(&cx, page.data.iter().map(|one| one.tenant_id)).await?;
    let row = |one: &RegistrationView| Row {
        href: Some(format!("/console/tenants/{}", one.tenant_id)),
        cells: vec![
            cell(
                html! { span."strong wide-text" dir="auto" { (names.get(&one.tenant_id).map_or("–", String::as_str)) } div.sub { code { (one.id) } } },
            ),
            cell(state(one.state)),
            text(&stage_title(&one.stage)),
            cell(
                html! { @match &one.problem { Some(problem) => span.break dir="auto" { (problem) }, None => span.muted { "–" } } },
            ),
            cell(cx.here().at(one.updated_at)),
        ],
    };
    let columns = &["Tenant", "State", "Stage", "What the provider said", "Since"];
    let body = html! {
        section.card aria-label="Registrations" {
            @if page.data.is_empty() {
                (parts::empty("check", "Nothing needs you", "A registration appears here when its provider could not be asked for an hour, or refuses the account. Look at the account, then enter the tenant and let it go on.", None))
            } @else {
                (table::table(Table { caption: "Registrations that need somebody, newest first", columns, rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: OPERATOR_PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "Registrations with American carriers that cannot go on without somebody. Enter the tenant to let one go on." }),
        tabs: Some(operators_tabs(OPERATOR_PATH)),
        ..shell::Page::new("Registrations", Section::Registrations, body)
    }))
}
