//! Below how much credit the tenant is told, and more is bought by itself.

use engine::{
    money::credits::{self, Credits, CreditsPatch, TopUp},
    patch::Patch,
};
use maud::{Markup, html};
use model::Money;

use super::{PATH, View, Wanted, is_demo, page};
use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    format,
    parts::{self, Field},
    shell,
};

/// The fields of the marks.
const MARKS: [&str; 4] = ["low_at_micros", "top_up/below_micros", "top_up/amount_micros", "top_up/monthly_max_micros"];

/// Whether this person says when credit is bought by itself.
pub(super) fn may(cx: &Cx) -> bool {
    cx.caller.need_operator("credits:write").is_ok() && !is_demo(cx)
}

pub(super) fn stored(credits: &Credits) -> Form {
    // No marks between thousands: what is written has to be read again.
    let text = |micros: Option<i64>| micros.map(|micros| format::amount(micros).replace(',', "")).unwrap_or_default();
    Form::of([
        (MARKS[0], text(credits.low_at_micros)),
        (MARKS[1], text(credits.top_up.map(|top_up| top_up.below_micros))),
        (MARKS[2], text(credits.top_up.map(|top_up| top_up.amount_micros))),
        (MARKS[3], text(credits.top_up.and_then(|top_up| top_up.monthly_max_micros))),
    ])
}

pub(super) fn card(cx: &Cx, view: &View, form: &Form, faults: &Faults) -> Markup {
    let currency = &view.credits.available.currency;
    let amount = |micros: i64| format::money(&Money { amount_micros: micros, currency: currency.clone() });
    if may(cx) {
        let unit = format!("In {currency}.");
        let field = |name: &'static str, label: &'static str, help: &str| {
            Field::text(name, label).help(help).draw(form, faults)
        };
        return html! {
            section.card aria-label="When credit runs low" {
                header { h2 { "When credit runs low" } }
                form method="post" action={ (PATH) "/marks" } data-guard {
                    (form::token(cx.csrf()))
                    div.body { div.form {
                        (shell::form_faults(faults, &MARKS))
                        (field(MARKS[0], "Tell the tenant below", &unit))
                        div.fields-2 {
                            (field(MARKS[1], "Buy by itself below", "With what the tenant let us keep to pay with."))
                            (field(MARKS[2], "So much each time", "At most four times a day."))
                        }
                        (field(MARKS[3], "At most in 30 days", if view.credits.purchase_tax.is_none() { "Leave empty for no further limit." } else { "Of credit, without the tax on it. Leave empty for no further limit." }))
                    } }
                    footer { div.end { button."button primary" type="submit" { "Save" } } }
                }
            }
        };
    }
    parts::card(
        "When credit runs low",
        None,
        html! {
            div.stack.tight {
                p { @match view.credits.low_at_micros { Some(micros) => { "You are told below " strong { (amount(micros)) } "." }, None => "Nobody is told." } }
                @match (view.credits.top_up, &view.method) {
                    (Some(top_up), Some(_)) => p {
                        "Below " strong { (amount(top_up.below_micros)) } ", " strong { (amount(top_up.amount_micros)) } " are bought by themselves"
                        @if let Some(most) = top_up.monthly_max_micros { ", at most " (amount(most)) " in 30 days" } "."
                    },
                    (Some(top_up), None) => p { "Below " strong { (amount(top_up.below_micros)) } " credit would be bought by itself, but nothing is kept to pay with." },
                    (None, _) => p { "Nothing is bought by itself." },
                }
                p."muted small" { "The operator of this installation sets these marks." }
            }
        },
    )
}

/// Reads the marks; what is wrong with them is told by field.
fn read_marks(form: &Form) -> Result<CreditsPatch, Faults> {
    let mut faults = Faults::default();
    let mut amount = |name: &str| {
        let text = form.filled(name)?;
        let read = format::read_amount(text).filter(|micros| *micros >= 0);
        if read.is_none() {
            faults.add(name, "write an amount such as 5.00, without a comma between thousands, or leave it empty");
        }
        read
    };
    let [low_at, below, bought, most] = MARKS.map(&mut amount);
    match (form.filled(MARKS[1]), form.filled(MARKS[2])) {
        (Some(_), None) => faults.add(MARKS[2], "say how much is bought each time"),
        (None, Some(_)) => faults.add(MARKS[1], "say below which amount"),
        _ => {}
    }
    if let (Some(bought), Some(most)) = (bought, most)
        && most < bought
    {
        faults.add(MARKS[3], "at least what is bought each time");
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let top_up = below.zip(bought).map(|(below_micros, amount_micros)| TopUp {
        below_micros,
        amount_micros,
        monthly_max_micros: most,
    });
    Ok(CreditsPatch {
        mode: None,
        low_at_micros: low_at.map_or(Patch::Clear, Patch::Set),
        top_up: top_up.map_or(Patch::Clear, Patch::Set),
    })
}

/// Says when the tenant is told, and when credit is bought by itself.
pub(crate) async fn mark(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need_operator("credits:write")?;
    let faults = match read_marks(&form) {
        Ok(change) => match credits::patch(cx.engine().parts(), &cx.caller, change).await {
            Ok(_) => return Ok(cx.done(PATH, "Saved.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => Faults::of(&error),
            Err(error) => return Err(error.into()),
        },
        Err(faults) => faults,
    };
    let view = View::read(&cx, Wanted::default()).await?;
    Ok(cx.again(page(&cx, &view, &form, &faults)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_whole_or_refused_by_field() {
        let form = |below: &str, bought: &str, most: &str| {
            Form::of([(MARKS[0], "5"), (MARKS[1], below), (MARKS[2], bought), (MARKS[3], most)])
        };
        let read = read_marks(&form("2", "10", "")).unwrap();
        let top_up = TopUp { below_micros: 2_000_000, amount_micros: 10_000_000, monthly_max_micros: None };
        assert_eq!((read.low_at_micros, read.top_up), (Patch::Set(5_000_000), Patch::Set(top_up)));
        assert_eq!(read_marks(&form("", "", "")).unwrap().top_up, Patch::Clear);
        for (fields, wrong) in [(("2", "", ""), 2), (("", "10", ""), 1), (("2", "10", "5"), 3), (("x", "10", ""), 1)] {
            let faults = read_marks(&form(fields.0, fields.1, fields.2)).unwrap_err();
            assert!(faults.at(MARKS[wrong]).is_some(), "{fields:?}: {faults:?}");
        }
    }
}
