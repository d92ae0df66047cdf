//! The lists one contact is on, as a card of its page.

use axum::extract::Path;
use engine::{
    contacts::lists::{self, ListView, Members, Way},
    once::Repeat,
};
use maud::{Markup, html};
use model::ContactId;

use crate::{
    cx::{Answer, Cx, Posted},
    form, parts,
};

/// The lists a contact is on, to take it off, and others to put it on.
pub(super) fn card(cx: &Cx, contact: ContactId, on: &[ListView], every: &[ListView]) -> Markup {
    let may = cx.may("contacts:write");
    let action = format!("/console/contacts/{contact}/lists");
    let others: Vec<&ListView> = every.iter().filter(|list| on.iter().all(|known| known.id != list.id)).collect();
    let body = html! {
        div {
            @if on.is_empty() { p.padded.muted { "On no list." } }
            @else {
                ul.lines {
                    @for list in on {
                        li.act-line {
                            a href={ "/console/lists/" (list.id) } { span.break dir="auto" { (list.name) } }
                            @if may {
                                form method="post" action=(action) {
                                    (form::token(cx.csrf()))
                                    input type="hidden" name="off" value=(list.id);
                                    button."button small" type="submit" aria-label={ "Take off " (list.name) } { "Take off" }
                                }
                            }
                        }
                    }
                }
            }
            @if may && !others.is_empty() {
                form."padded row" method="post" action=(action) {
                    (form::token(cx.csrf()))
                    select name="on" aria-label="A list to put them on" { @for list in others { option value=(list.id) { (list.name) } } }
                    button.button type="submit" { "Put on this list" }
                }
            }
        }
    };
    parts::card_flush("Lists", None, body)
}

/// Puts a contact on a list, or takes it off.
pub(crate) async fn change(Path(contact): Path<String>, Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need("contacts:write")?;
    let contact: ContactId = super::id(&contact)?;
    let (way, list, said) = match (form.filled("on"), form.filled("off")) {
        (Some(list), _) => (Way::Add, list, "They are on the list now."),
        (None, Some(list)) => (Way::Remove, list, "They are off the list."),
        (None, None) => return Err(super::no_page().into()),
    };
    let members = Members { contact_ids: vec![contact] };
    lists::change_members(cx.engine(), &cx.caller, &Repeat::NONE, super::id(list)?, way, members).await?;
    Ok(cx.done(&format!("/console/contacts/{contact}"), said))
}
