//! Toll-free numbers: which are verified, asking for another, and saying anew how people agree to be written to.

use axum::extract::Path;
use engine::{
    accounts::AccountView,
    once::Repeat,
    patch::Patch,
    registrations::{
        RegistrationView,
        toll_free::{self, NewTollFree, OptInType, TollFreeOptIn, TollFreeResubmission},
    },
};
use maud::{Markup, html};
use model::{AccountId, Phone, RegistrationId};

use super::{accounts, acted, name_of, offers, page_of, profile, stage_title, state};
use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{self, Faults, Form},
    pages,
    parts::{
        self, Control, Field, link_button,
        table::{self, Row, Table, cell, text},
    },
    read::{self, Made},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/registration/toll-free";
const NEW: &str = "/console/registration/toll-free/new";
/// Verifications on the page of registrations: the newest. Nobody has more toll-free numbers.
const SHOWN: u32 = 50;
const NAMES: [&str; 5] = ["account_id", "number", "opt_in_type", "opt_in_image_urls", "additional_information"];
/// How people agree, as a form says it.
const WAYS: [(OptInType, &str, &str); 5] = [
    (OptInType::WebForm, "web_form", "On a website"),
    (OptInType::PaperForm, "paper_form", "On paper"),
    (OptInType::Verbal, "verbal", "By word of mouth"),
    (OptInType::ViaText, "via_text", "By a text message"),
    (OptInType::MobileQrCode, "mobile_qr_code", "By a QR code"),
];

/// How people agree, in words.
pub(super) fn way(kind: OptInType) -> &'static str {
    WAYS.iter().find(|(known, ..)| *known == kind).map_or("", |(_, _, words)| words)
}

/// The verifications on the page of registrations.
pub(super) async fn card(cx: &Cx, accounts: &[AccountView], is_complete: bool) -> Result<Markup, Fault> {
    let page = toll_free::list(cx.engine().parts(), &cx.caller, Some(SHOWN), None).await?;
    let row = |one: &RegistrationView| Row {
        href: Some(format!("{PATH}/{}", one.id)),
        cells: vec![
            cell(html! { span."strong num" { (one.number.as_deref().unwrap_or("–")) } }),
            cell(state(one.state)),
            text(&stage_title(&one.stage)),
            cell(html! { span.wide-text dir="auto" { (name_of(accounts, one.account_id)) } }),
            cell(cx.here().at(one.submitted_at)),
        ],
    };
    let columns = &["Number", "State", "Stage", "Account", "Submitted"];
    let may = cx.may("registrations:write") && is_complete && accounts.iter().any(offers);
    let new = html! { @if may { (link_button(NEW, "small", None, "Verify a number")) } };
    let body = html! {
        div {
            @if page.data.is_empty() { p.padded.muted { "Carriers block text messages from American toll-free numbers (+1 800, 888, 877 and so on) until somebody verified them. None of yours is." } }
            @else { (table::table(Table { caption: "Toll-free numbers, newest first", columns, rows: page.data.iter().map(row).collect() })) }
        }
    };
    Ok(parts::card_flush("Toll-free numbers", Some(new), body))
}

/// How people agree, as stored.
pub(super) fn stored(said: &TollFreeOptIn) -> Form {
    let word = WAYS.iter().find(|(known, ..)| *known == said.opt_in_type).map_or("", |(_, word, _)| word);
    Form::of([
        ("opt_in_type", word.to_owned()),
        ("opt_in_image_urls", said.opt_in_image_urls.join("\n")),
        ("additional_information", said.additional_information.clone().unwrap_or_default()),
    ])
}

/// The fields about how people agree.
pub(super) fn fields(form: &Form, faults: &Faults) -> Markup {
    let ways = WAYS.iter().map(|(_, word, words)| (*word, (*words).to_owned())).collect();
    html! {
        (Field::text("opt_in_type", "People agree").required().with(Control::Choice(ways)).draw(form, faults))
        (Field::text("opt_in_image_urls", "Pictures that show it").required().with(Control::Area { rows: 3 }).example("https://acme.example/opt-in.png").help("One to five web addresses anybody can open, one a line.").draw(form, faults))
        (Field::text("additional_information", "What else the provider should know").with(Control::Area { rows: 3 }).draw(form, faults))
    }
}

/// Shows the form of a number to be verified.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.tenant()?;
    cx.caller.need("registrations:write")?;
    let page = new_page(&cx, &Form::default(), &Faults::default()).await?;
    Ok(cx.page(page))
}

async fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> Result<shell::Page<'a>, Fault> {
    let able: Vec<AccountView> = accounts(cx).await?.into_iter().filter(offers).collect();
    let ids: Vec<String> = able.iter().map(|account| account.id.to_string()).collect();
    let choices = ids.iter().zip(&able).map(|(id, account)| (id.as_str(), account.name.clone())).collect();
    let body = html! {
        section.card aria-label="Verify a number" {
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    div.fields-2 {
                        (Field::text("account_id", "Account").required().with(Control::Choice(choices)).draw(form, faults))
                        (Field::text("number", "Number").example("+18005550100").help("The account's own sender when left empty.").draw(form, faults))
                    }
                    (fields(form, faults))
                } }
                footer { div.end { (link_button(super::PATH, "", None, "Cancel")) button."button primary" type="submit" { "Submit" } } }
            }
        }
    };
    Ok(shell::Page {
        above: super::ABOVE,
        lead: Some(html! { "The business is submitted as it stands, with what is sent from this number." }),
        is_narrow: true,
        ..shell::Page::new("Verify a toll-free number", Section::Channels, body)
    })
}

/// What a form says of how people agree; what is wrong is told by field.
fn read_said(form: &Form, faults: &mut Faults) -> Option<(OptInType, Vec<String>, Option<String>)> {
    let found = WAYS.iter().find(|(_, word, _)| *word == form.text("opt_in_type"));
    if found.is_none() {
        faults.add("opt_in_type", "choose how people agree");
    }
    let lines = form.text("opt_in_image_urls").lines().map(str::trim).filter(|line| !line.is_empty());
    let note = form.filled("additional_information").map(str::to_owned);
    found.map(|(kind, ..)| (*kind, lines.map(str::to_owned).collect(), note))
}

/// Begins the verification of a number.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("registrations:write")?;
    let mut faults = Faults::default();
    let account = form.text("account_id").parse::<AccountId>();
    if account.is_err() {
        faults.add("account_id", "choose an account");
    }
    let number = form.filled("number").map(str::parse::<Phone>).transpose();
    if number.is_err() {
        faults.add("number", "write the number in E.164 form, as in +18005550100");
    }
    if let (Ok(account_id), Ok(number), Some((opt_in_type, opt_in_image_urls, additional_information))) =
        (account, number, read_said(&form, &mut faults))
    {
        let new = NewTollFree { account_id, number, opt_in_type, opt_in_image_urls, additional_information };
        match toll_free::create(cx.engine(), &cx.caller, &Repeat::NONE, new).await {
            Ok(reply) => {
                let made: Made = read::json(&reply.body)?;
                return Ok(cx.done(&format!("{PATH}/{}", made.id), "It has begun. This page follows."));
            }
            Err(error) if error.code == "business_profile_incomplete" => {
                return Ok(cx.refused(profile::PATH, "The business is not told completely yet."));
            }
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    let page = new_page(&cx, &form, &faults).await?;
    Ok(cx.again(page))
}

/// Shows a verification with its stages.
pub(crate) async fn one(cx: Cx, Path(id): Path<String>) -> Answer {
    cx.tenant()?;
    let one = toll_free::get(cx.engine().parts(), &cx.caller, pages::id(&id)?).await?;
    page_of(&cx, &one).await
}

/// Submits a verification again, or forgets it.
pub(crate) async fn act(Path((id, action)): Path<(String, String)>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("registrations:write")?;
    let id: RegistrationId = pages::id(&id)?;
    let path = format!("{PATH}/{id}");
    match action.as_str() {
        "submit" => {
            let Some((kind, images, note)) = read_said(&form, &mut Faults::default()) else {
                return Ok(cx.refused(&path, "Choose how people agree."));
            };
            let again = TollFreeResubmission {
                opt_in_type: Some(kind),
                opt_in_image_urls: Some(images),
                additional_information: note.map_or(Patch::Clear, Patch::Set),
            };
            let done = toll_free::submit(cx.engine(), &cx.caller, &Repeat::NONE, id, again).await;
            acted(&cx, done.map(drop), (&path, "It goes on."), &path)
        }
        "delete" => {
            let done = toll_free::delete(cx.engine().parts(), &cx.caller, id).await;
            acted(&cx, done, (super::PATH, "The verification was deleted."), &path)
        }
        _ => Err(pages::no_page().into()),
    }
}
