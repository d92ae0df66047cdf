//! The operator's plans: what a month costs and what it grants. Neither changes once a plan is made, so the form of one that exists is about its name and who sees it.

use axum::extract::Path;
use engine::{
    Error, FieldError,
    once::Repeat,
    patch::Patch,
    plans::{self, Allowance, NewPlan, PlanPatch, PlanView},
};
use maud::{Markup, html};
use model::{Channel, PlanId};
use serde::Deserialize;

use super::channels;
use crate::{
    cx::{Answer, Cx, Posted, Query},
    form::{self, Faults, Form},
    format,
    parts::{
        self, Control, Field, Tone,
        field::check,
        icon, link_button,
        table::{self, Pages, Row, Table, cell, figure},
    },
    shell::{self, Section},
};

const PATH: &str = "/console/operator/plans";
const ABOVE: &[(&str, &str)] = &[(PATH, "Plans")];
/// Plans on a page.
const ROWS: u32 = 50;

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    cursor: Option<String>,
}

/// Lists the plans.
pub(crate) async fn list(cx: Cx, Query(wanted): Query<Wanted>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("plans:read")?;
    let page = plans::list(cx.engine().parts(), &caller, Some(ROWS), wanted.cursor.as_deref()).await?;
    let may = cx.may_outside("plans:write");
    let new = || link_button(&format!("{PATH}/new"), "primary", Some("plus"), "Add plan");
    let row = |plan: &PlanView| Row {
        href: Some(format!("{PATH}/{}", plan.id)),
        cells: vec![
            cell(html! { span."strong wide-text" dir="auto" { (plan.name) } }),
            figure(&format::money(&plan.monthly_fee)),
            cell(html! { (grants(plan)) }),
            cell(state(plan)),
            cell(cx.here().day(plan.created_at)),
        ],
    };
    let body = html! {
        section.card aria-label="Plans" {
            @if page.data.is_empty() {
                (parts::empty("card", "No plans yet", "A plan has a monthly fee and says how many messages it pays for on each channel. A tenant without one is not limited and gets no invoice.", may.then(new)))
            } @else {
                (table::table(Table { caption: "Plans, newest first", columns: &["Plan", "A month", "Grants", "State", "Made"], rows: page.data.iter().map(row).collect() }))
                (table::pager(&Pages { path: PATH, query: &[], is_first: wanted.cursor.is_none(), next: page.next_cursor.as_deref(), shown: page.data.len() }))
            }
        }
    };
    Ok(cx.page(shell::Page {
        lead: Some(html! { "What tenants pay for each month. A plan's terms never change: make another and move tenants there." }),
        actions: (may && !page.data.is_empty()).then(new),
        ..shell::Page::new("Plans", Section::Plans, body)
    }))
}

fn state(plan: &PlanView) -> Markup {
    match (plan.is_archived, plan.is_offered) {
        (true, _) => parts::badge(Tone::Plain, "Archived"),
        (false, true) => parts::badge(Tone::Good, "Offered"),
        (false, false) => parts::badge(Tone::Info, "By arrangement"),
    }
}

/// What a plan grants, in a line.
fn grants(plan: &PlanView) -> String {
    let one = |a: &Allowance| format!("{} {}", format::number(a.included), format::channel(a.channel));
    let all: Vec<String> = plan.allowances.iter().map(one).collect();
    if all.is_empty() { "Not limited".to_owned() } else { all.join(", ") }
}

/// What a plan grants, channel by channel.
pub(super) fn allowances(plan: &PlanView) -> Markup {
    let currency = &plan.monthly_fee.currency;
    let row = |a: &Allowance| Row {
        href: None,
        cells: vec![
            cell(html! { span.row { (icon(parts::channel_icon(a.channel))) (format::channel(a.channel)) } }),
            figure(&format::number(a.included)),
            figure(&a.overage_micros.map_or_else(
                || "–".to_owned(),
                |micros| format!("{} {currency}", format::amount_of(micros, currency)),
            )),
            figure(&a.stop().map_or_else(|| "No end".to_owned(), format::number)),
        ],
    };
    html! {
        @if plan.allowances.is_empty() {
            p."muted padded" { "It limits no channel." }
        } @else {
            (table::table(Table { caption: "What it grants a month", columns: &["Channel", "Included", "Each further one", "Sending stops at"], rows: plan.allowances.iter().map(row).collect() }))
        }
    }
}

/// Shows the form of a new plan.
pub(crate) async fn new(cx: Cx) -> Answer {
    cx.outside().need_operator("plans:write")?;
    Ok(cx.page(new_page(&cx, &Form::of([("currency", "USD")]), &Faults::default())))
}

/// The name of a channel's field.
fn field(channel: Channel, what: &str) -> String {
    format!("allowances/{}/{what}", channel.as_str())
}

fn new_page<'a>(cx: &Cx, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let mut names: Vec<String> = ["name", "currency", "monthly_fee_micros"].map(str::to_owned).to_vec();
    names
        .extend(channels::of_people().flat_map(|c| ["included", "overage_micros", "limit"].map(|what| field(c, what))));
    let number = |channel: Channel, what: &str, label: &str| {
        let name = field(channel, what);
        Field::text(&name, label).plain().with(Control::Number).draw(form, faults)
    };
    let body = html! {
        form.stack method="post" action=(PATH) data-guard {
            (form::token(cx.csrf()))
            section.card aria-label="Plan" { div.body { div.form {
                (shell::form_faults(faults, &names))
                (Field::text("name", "Name").required().example("Studio").draw(form, faults))
                div.fields-2 {
                    (Field::text("monthly_fee_micros", "A month costs").required().example("49.00").draw(form, faults))
                    (Field::text("currency", "Currency").required().example("USD").draw(form, faults))
                }
                (check("is_offered", "true", form.is_on("is_offered"), "Every tenant sees it", "Otherwise only those who have it."))
            } } }
            section.card aria-label="What it grants a month" {
                header { h2 { "What it grants a month" } p { "A channel left empty is not limited. Without a price for further messages sending stops where the included ones end." } }
                div.body { div.form {
                    @for channel in channels::of_people() {
                        fieldset { legend { span.row { (icon(parts::channel_icon(channel))) (format::channel(channel)) } } div.fields-3 {
                            (number(channel, "included", "Included"))
                            (number(channel, "overage_micros", "Each further one costs"))
                            (number(channel, "limit", "Sending stops at"))
                        } }
                    }
                } }
                footer { div.end { (link_button(PATH, "", None, "Cancel")) button."button primary" type="submit" { "Add plan" } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new("Add plan", Section::Plans, body) }
}

/// Reads the form of a new plan.
fn read_new(form: &Form) -> Result<NewPlan, Error> {
    let mut faults: Vec<FieldError> = Vec::new();
    let wrong = |name: &str, detail: &str| FieldError::new(format!("/{name}"), detail);
    let monthly_fee_micros = format::read_amount(form.text("monthly_fee_micros"));
    if monthly_fee_micros.is_none() {
        faults.push(wrong("monthly_fee_micros", "write an amount such as 49.00, without a comma between thousands"));
    }
    let mut allowances = Vec::new();
    for channel in channels::of_people() {
        let [included, overage, limit] = ["included", "overage_micros", "limit"].map(|what| field(channel, what));
        if [&included, &overage, &limit].iter().all(|name| form.filled(name).is_none()) {
            continue;
        }
        let count = |name: &str, faults: &mut Vec<FieldError>| match form.filled(name).map(str::parse::<i64>) {
            None => None,
            Some(Ok(number)) => Some(number),
            Some(Err(_)) => {
                faults.push(wrong(name, "write a whole number"));
                None
            }
        };
        let overage_micros = form.filled(&overage).and_then(|text| {
            let read = format::read_amount(text);
            if read.is_none() {
                faults.push(wrong(&overage, "write an amount such as 0.009, without a comma between thousands"));
            }
            read
        });
        let included = count(&included, &mut faults).unwrap_or(0);
        let limit = count(&limit, &mut faults);
        allowances.push(Allowance { channel, included, overage_micros, limit });
    }
    if !faults.is_empty() {
        return Err(Error::invalid_fields(faults));
    }
    Ok(NewPlan {
        name: form.text("name").to_owned(),
        currency: form.text("currency").to_uppercase(),
        monthly_fee_micros: monthly_fee_micros.unwrap_or(0),
        allowances,
        is_offered: form.is_on("is_offered"),
    })
}

/// An error about a plan's allowances by their channel, as the form names them, instead of by their place.
fn by_channel(mut error: Error, allowances: &[Allowance]) -> Error {
    for fault in &mut error.errors {
        let place = fault.pointer.strip_prefix("/allowances/").and_then(|rest| rest.split_once('/'));
        let found = place.and_then(|(at, what)| Some((allowances.get(at.parse::<usize>().ok()?)?, what)));
        if let Some((allowance, what)) = found {
            fault.pointer = format!("/{}", field(allowance.channel, what));
        }
    }
    error
}

/// Makes a plan.
pub(crate) async fn create(Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("plans:write")?;
    let made = match read_new(&form) {
        Ok(new) => {
            let allowances = new.allowances.clone();
            let made = plans::create(cx.engine().parts(), &caller, &Repeat::NONE, new).await;
            made.map_err(|error| by_channel(error, &allowances))
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(_) => Ok(cx.done(PATH, "The plan was added.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            Ok(cx.again(new_page(&cx, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows a plan.
pub(crate) async fn show(cx: Cx, Path(id): Path<String>) -> Answer {
    let caller = cx.outside();
    caller.need_operator("plans:read")?;
    let plan = plans::get(cx.engine().parts(), &caller, super::id(&id)?).await?;
    let mut form = Form::of([("name", plan.name.clone())]);
    for (name, is) in [("is_offered", plan.is_offered), ("is_archived", plan.is_archived)] {
        if is {
            form.set(name, "true");
        }
    }
    Ok(cx.page(page(&cx, &plan, &form, &Faults::default())))
}

fn page<'a>(cx: &Cx, plan: &'a PlanView, form: &Form, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may_outside("plans:write");
    let fee = html! { span.strong { (format::money(&plan.monthly_fee)) } " " span.muted { "a month" } };
    let body = html! {
        (parts::card_flush("What it grants", Some(fee), allowances(plan)))
        section.card aria-label="Name and state" {
            header { h2 { "Name and state" } (state(plan)) }
            form method="post" action={ (PATH) "/" (plan.id) } data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &["name"]))
                    (Field::text("name", "Name").required().draw(form, faults))
                    (check("is_offered", "true", form.is_on("is_offered"), "Every tenant sees it", "Otherwise only those who have it."))
                    (check("is_archived", "true", form.is_on("is_archived"), "Archived", "No tenant can be moved to it any more. Those who have it keep it."))
                } } }
                @if may { footer { div.end { button."button primary" type="submit" { "Save" } } } }
            }
        }
    };
    shell::Page { above: ABOVE, is_narrow: true, ..shell::Page::new(&plan.name, Section::Plans, body) }
}

/// Changes a plan.
pub(crate) async fn update(Path(id): Path<String>, Posted { cx, form }: Posted) -> Answer {
    let caller = cx.outside();
    caller.need_operator("plans:write")?;
    let (id, parts): (PlanId, _) = (super::id(&id)?, cx.engine().parts());
    let change = PlanPatch {
        name: Patch::Set(form.text("name").to_owned()),
        is_offered: Patch::Set(form.is_on("is_offered")),
        is_archived: Patch::Set(form.is_on("is_archived")),
    };
    match plans::patch(parts, &caller, id, change).await {
        Ok(_) => Ok(cx.done(&format!("{PATH}/{id}"), "Saved.")),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let plan = plans::get(parts, &caller, id).await?;
            Ok(cx.again(page(&cx, &plan, &form, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_becomes_a_plan_and_faults_find_their_channel_again() {
        let form = Form::of([
            ("name", "Studio"),
            ("currency", "usd"),
            ("monthly_fee_micros", "49,5"),
            ("allowances/sms/included", "1000"),
            ("allowances/sms/overage_micros", "0.009"),
        ]);
        let new = read_new(&form).unwrap();
        assert_eq!((new.monthly_fee_micros, new.currency.as_str()), (49_500_000, "USD"));
        let sms = Allowance { channel: Channel::Sms, included: 1000, overage_micros: Some(9_000), limit: None };
        assert_eq!(new.allowances, [sms]);
        let error = by_channel(Error::invalid("/allowances/0/limit", "too low"), &new.allowances);
        assert_eq!(error.errors[0].pointer, "/allowances/sms/limit");
        let odd = read_new(&form.with("allowances/sms/included", "many").with("monthly_fee_micros", "")).unwrap_err();
        let pointers: Vec<_> = odd.errors.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/monthly_fee_micros", "/allowances/sms/included"]);
    }
}
