//! The operator's pool of numbers: which there are, with whom they are, and putting them aside.

use axum::extract::Path;
use engine::{
    once::Repeat,
    patch::Patch,
    registrations::numbers::{self, NewNumber, NumberPatch, NumberState, NumberView},
};
use maud::{Markup, html};
use model::{NumberId, Phone};
use serde::Deserialize;

use super::{operators_tabs, tenant_names};
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    pages,
    parts::{
        self, Control, Dialog, Field, Tone, icon, link_button,
        table::{self, Filter, Pages, Row, Table, cell},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(crate) const PATH: &str = "/console/operator/numbers";
const NEW: &str = "/console/operator/numbers/new";
const ABOVE: &[(&str, &str)] = &[(PATH, "Numbers")];
const NAMES: [&str; 4] = ["number", "connector", "provider_account", "reference"];
/// The states there are, with their words.
const STATES: [(NumberState, &str); 4] = [
    (NumberState::Free, "Free"),
    (NumberState::Allocated, "With a tenant"),
    (NumberState::Retired, "Retired"),
    (NumberState::Failed, "Failed"),
];

fn read_state(word: Option<&str>) -> Option<NumberState> {
    STATES.iter().map(|(state, _)| *state).find(|state| Some(state.as_str()) == word)
}

fn state(state: NumberState) -> Markup {
    let tone = match state {
        NumberState::Free => Tone::Good,
        NumberState::Allocated => Tone::Info,
        NumberState::Retired => Tone::Plain,
        NumberState::Failed => Tone::Bad,
    };
    parts::badge(tone, STATES.iter().find(|(known, _)| *known == state).map_or("", |(_, words)| words))
}

fn provider(id: &str) -> &str {
    connectors::registry::find(id).map_or(id, |connector| connector.spec().name)
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    state: Option<String>,
    cursor: Option<String>,
}

/// Lists the pool.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    let wanted_state = read_state(wanted.state.as_deref());
    let page = numbers::list(cx.engine().parts(), &caller, wanted_state, None, wanted.cursor.as_deref()).await?;
    let names = tenant_names(&cx, page.data.iter().filter_map(|number| number.tenant_id)).await?;
    let chosen = wanted_state.map(NumberState::as_str).unwrap_or_default();
    let choices = STATES.iter().map(|(state, words)| (state.as_str().to_owned(), (*words).to_owned())).collect();
    let may = cx.may_outside("numbers:write");
    let new = || link_button(NEW, "primary", Some("plus"), "Add number");
    let row = |number: &NumberView| Row {
        href: Some(format!("{PATH}/{}", number.id)),
        cells: vec![
            cell(
                html! { span."strong num" { (number.number) } @if !number.country.is_empty() { " " span.muted { (number.country) } } },
            ),
            cell(
                html! { (state(number.state)) @if let Some(detail) = &number.detail { div.sub { span.wide-text dir="auto" title=(detail) { (detail) } } } },
            ),
            cell(
                html! { @match number.tenant_id.and_then(|id| names.get(&id)) { Some(name) => span.wide-text dir="auto" { (name) }, None => span.muted { "–" } } },
            ),
            cell(html! { (provider(&number.connector)) div.sub { code.break { (number.provider_account) } } }),
            cell(cx.here().at(number.updated_at)),
        ],
    };
    let columns = &["Number", "State", "With", "Held at", "Changed"];
    let body = html! {
        section.card aria-label="Numbers" {
            (table::filters(PATH, "numbers", &[Filter::Choice { name: "state", label: "Any state", value: chosen, choices }]))
            div #numbers {
                @if page.data.is_empty() && chosen.is_empty() {
                    (parts::empty("phone", "The pool is empty", "Numbers bought for registrations come in by themselves. Add those you hold already: the next registration that fits takes one before anything is bought.", may.then(new)))
                } @else if page.data.is_empty() {
                    (parts::empty("search", "No number is in this state", "Choose another.", Some(link_button(PATH, "", None, "Clear the filter"))))
                } @else {
                    (table::table(Table { caption: "Numbers, newest first", columns, rows: page.data.iter().map(row).collect() }))
                    (table::pager(&Pages { path: PATH, query: &[("state", chosen.to_owned())], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
                }
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "The American numbers this installation has at providers." }),
        actions: may.then(new),
        tabs: Some(operators_tabs(PATH)),
        ..shell::Page::new("Numbers", Section::Registrations, body)
    }))
}

/// Shows the form of a number that is held already.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.outside().need_operator("numbers:write")?;
    Ok(cx.page(new_page(&cx, &Form::of([("connector", "twilio")]), &Faults::default())))
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    // Whoever registers businesses, but not the one that only acts it out.
    let known = connectors::registry::listed().filter(|c| c.registrations().is_some() && c.spec().id != "sandbox");
    let choices = known.map(|connector| (connector.spec().id, connector.spec().name.to_owned())).collect();
    let body = html! {
        section.card aria-label="Add number" {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    div.fields-2 {
                        (Field::text("number", "Number").required().example("+14155550100").help("A local American number, not a toll-free one.").draw(form, faults))
                        (Field::text("connector", "Provider").required().with(Control::Choice(choices)).draw(form, faults))
                    }
                    (Field::text("provider_account", "Account there").required().example("AC00000000000000000000000000000001").help("Who holds it: Twilio's account SID. Only registrations of accounts with the same holder can take it.").draw(form, faults))
                    (Field::text("reference", "What the provider calls it").required().example("PN00000000000000000000000000000001").draw(form, faults))
                } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add number" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Add number", Section::Registrations, body) }
}

/// Adds a number.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("numbers:write")?;
    let faults = match form.text("number").parse::<Phone>() {
        Ok(number) => {
            let new = NewNumber {
                number,
                connector: form.text("connector").to_owned(),
                provider_account: form.text("provider_account").to_owned(),
                reference: form.text("reference").to_owned(),
            };
            match numbers::create(cx.engine().parts(), &caller, &Repeat::NONE, new).await {
                Ok(reply) => {
                    let made: Made = read::json(&reply.body)?;
                    return Ok(cx.done(&format!("{PATH}/{}", made.id), "The number is in the pool."));
                }
                Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
                Err(error) => return Err(error.into()),
            }
        }
        Err(_) => {
            let mut faults = Faults::default();
            faults.add("number", "write the number in E.164 form, as in +14155550100");
            faults
        }
    };
    Ok(cx.again(new_page(&cx, &form, &faults)))
}

/// Shows a number.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    let number = numbers::get(cx.engine().parts(), &cx.outside(), pages::id(&id)?).await?;
    let form = Form::of([("state", number.state.as_str()), ("detail", number.detail.as_deref().unwrap_or_default())]);
    page(&cx, &number, &form, &Faults::default()).await
}

async fn page(cx: &Cx, number: &NumberView, form: &Form, faults: &Faults) -> Answer {
    let may = cx.may_outside("numbers:write");
    let names = tenant_names(cx, number.tenant_id.into_iter()).await?;
    let is_taken = number.state == NumberState::Allocated;
    let choices: Vec<(&str, String)> = STATES
        .iter()
        .filter(|(state, _)| is_taken || *state != NumberState::Allocated)
        .map(|(state, words)| (state.as_str(), (*words).to_owned()))
        .collect();
    let body = html! {
        div."columns even" {
            (parts::card("About it", Some(state(number.state)), parts::facts([
                ("Country", html! { @if number.country.is_empty() { span.muted { "–" } } @else { (number.country) } }),
                ("Held at", html! { (provider(&number.connector)) }),
                ("Account there", html! { code.break { (number.provider_account) } }),
                ("Called there", html! { @match &number.reference { Some(id) => code.break { (id) }, None => span.muted { "not known: it is only counted" } } }),
                ("With", html! { @match number.tenant_id { Some(id) => a.break dir="auto" href={ "/console/tenants/" (id) } { (names.get(&id).map_or("–", String::as_str)) }, None => span.muted { "nobody" } } }),
                ("Registration", html! { @match number.registration_id { Some(id) => code.break { (id) }, None => span.muted { "–" } } }),
                ("Since", html! { @match number.allocated_at { Some(at) => (cx.here().at(at)), None => span.muted { "–" } } }),
                ("In the pool since", cx.here().at(number.created_at)),
            ])))
            section.card aria-label="State" {
                header { h2 { "State" } }
                form method="post" action={ (PATH) "/" (number.id) } data-guard {
                    (form::token(cx.csrf()))
                    fieldset disabled[!may] { div.body { div.form {
                        (shell::form_faults(faults, &["state", "detail"]))
                        (Field::text("state", "State").required().with(Control::Choice(choices)).help("Nothing changes at the provider. A number gets to a tenant by a registration that fits; freed, it can go to the next.").draw(form, faults))
                        (Field::text("detail", "Why").example("Given back in November").draw(form, faults))
                    } } }
                    @if may { footer { span."muted small" { "Changed " (cx.here().at(number.updated_at)) } div.end { button."button primary" type="submit" { "Save" } } } }
                }
            }
        }
        @if is_taken && may { (parts::notice(Tone::Warn, "A tenant sends from it", html! { p { "In another state it is taken from the tenant here. Nothing changes at the provider, and the tenant’s account sends from it until its sender is changed." } })) }
    };
    let shown = shell::Page {
        above: ABOVE,
        actions: (may && !is_taken).then(|| ends(cx, number)),
        ..shell::Page::new(&number.number, Section::Registrations, body)
    };
    Ok(if faults.is_empty() { cx.page(shown) } else { cx.again(shown) })
}

/// Giving a number back to its provider, and only forgetting it here: what nobody has.
fn ends(cx: &Cx, number: &NumberView) -> Markup {
    let path = format!("{PATH}/{}", number.id);
    html! {
        button.button type="button" data-opens="remove" { "Remove" }
        (parts::dialog(&Dialog { id: "remove", title: "Remove it from the pool?", action: &format!("{path}/remove"), csrf: cx.csrf(), yes: "Remove number", is_dangerous: true,
            body: html! { p.muted { "Only here: at " (provider(&number.connector)) " it goes on, and is paid for." } } }))
        @if number.reference.is_some() {
            button."button danger" type="button" data-opens="release" { (icon("trash")) "Give back" }
            (parts::dialog(&Dialog { id: "release", title: "Give it back to the provider?", action: &format!("{path}/release"), csrf: cx.csrf(), yes: "Give number back", is_dangerous: true,
                body: html! { p.muted { (provider(&number.connector)) " takes it, and no more is paid for it. Somebody else may get it; it cannot be had back." } } }))
        }
    }
}

/// Removes a number from the pool, or gives it back to its provider.
pub(crate) async fn end(Path((id, action)): Path<(String, String)>, Posted { cx, .. }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("numbers:write")?;
    let id: NumberId = pages::id(&id)?;
    let (is_released, said) = match action.as_str() {
        "remove" => (false, "The number is out of the pool."),
        "release" => (true, "The number was given back."),
        _ => return Err(pages::no_page().into()),
    };
    match numbers::remove(cx.engine().parts(), &caller, id, is_released).await {
        Ok(()) => Ok(cx.done(PATH, said)),
        Err(error) if !matches!(error.kind.status(), 403 | 404 | 500) => {
            Ok(cx.refused(&format!("{PATH}/{id}"), &error.detail))
        }
        Err(error) => Err(error.into()),
    }
}

/// Puts a number aside, or frees it.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("numbers:write")?;
    let (id, parts): (NumberId, _) = (pages::id(&id)?, cx.engine().parts());
    let mut faults = Faults::default();
    match read_state(form.get("state")) {
        None => faults.add("state", "choose a state"),
        Some(state) => {
            let detail = form.filled("detail").map_or(Patch::Clear, |detail| Patch::Set(detail.to_owned()));
            match numbers::patch(parts, &caller, id, NumberPatch { state: Patch::Set(state), detail }).await {
                Ok(_) => return Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
                Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
                Err(error) => return Err(error.into()),
            }
        }
    }
    let number = numbers::get(parts, &caller, id).await?;
    page(&cx, &number, &form, &faults).await
}
