//! The plan a tenant has: what it grants, what of that is used, and when it begins anew. The operator gives it and changes it here, inside of the tenant.

use engine::{
    ErrorKind,
    keys::Caller,
    patch::Patch,
    plans::{
        self, PlanView, SubscriptionState,
        quota::{QuotaLevel, QuotaView},
        subscription::{self, Customer, SubscriptionPatch, SubscriptionView},
    },
};
use maud::{Markup, html};
use model::{PlanId, Timestamp};

use super::billing;
use crate::{
    cx::{Answer, Cx, Fault, Posted},
    form::{self, Faults, Form},
    format,
    parts::{self, Control, Field, Tone, chart, icon, link_button},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/billing/plan";
/// Plans to choose from: more than anybody offers.
const PLANS: u32 = 200;
const NAMES: [&str; 9] = [
    "plan_id",
    "trial_ends_at",
    "canceled_at",
    "customer/name",
    "customer/address",
    "customer/country",
    "customer/tax_id",
    "customer/email",
    "customer/tax",
];

/// The subscription of the tenant somebody asks as, if it has one.
pub(super) async fn find(cx: &Cx, caller: &Caller) -> Result<Option<SubscriptionView>, Fault> {
    match subscription::get(cx.engine().parts(), caller).await {
        Ok(view) => Ok(Some(view)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Shows the plan.
pub(crate) async fn show(cx: Cx) -> Answer {
    cx.tenant()?;
    let view = find(&cx, &cx.caller).await?;
    let offered = plans::list(cx.engine().parts(), &cx.caller, Some(PLANS), None).await?.data;
    let form = stored(&cx, view.as_ref());
    let known = choices(&cx, view.as_ref()).await?;
    Ok(cx.page(page(&cx, view.as_ref(), &offered, &known, &form, &Faults::default())))
}

/// Whether this person gives tenants their plans, and this is not a demo.
fn may_change(cx: &Cx) -> bool {
    cx.caller.need_operator("plans:write").is_ok() && cx.tenant.as_ref().is_some_and(|tenant| !tenant.is_demo)
}

/// The plans the operator can choose from.
async fn choices(cx: &Cx, view: Option<&SubscriptionView>) -> Result<Vec<(String, String)>, Fault> {
    if !may_change(cx) {
        return Ok(Vec::new());
    }
    let all = plans::list(cx.engine().parts(), &cx.outside(), Some(PLANS), None).await?.data;
    let own = view.and_then(own_plan);
    let kept = all.into_iter().filter(|plan| !plan.is_archived || Some(plan.id) == own);
    Ok(kept.map(|plan| (plan.id.to_string(), format!("{}, {}", plan.name, format::money(&plan.monthly_fee)))).collect())
}

/// The plan somebody has.
fn own_plan(view: &SubscriptionView) -> Option<PlanId> {
    view.plan.as_ref().map(|plan| plan.id)
}

/// A subscription's state in a word.
pub(super) fn state(state: SubscriptionState) -> Markup {
    match state {
        SubscriptionState::Trial => parts::badge(Tone::Info, "Trial"),
        SubscriptionState::Active => parts::badge(Tone::Good, "Active"),
        SubscriptionState::PastDue => parts::badge(Tone::Bad, "Unpaid"),
        SubscriptionState::Canceled => parts::badge(Tone::Plain, "Canceled"),
    }
}

fn page<'a>(
    cx: &Cx,
    view: Option<&SubscriptionView>,
    offered: &[PlanView],
    known: &[(String, String)],
    form: &Form,
    faults: &Faults,
) -> shell::Page<'a> {
    let body = html! {
        @match view {
            None => section.card aria-label="Plan" {
                (parts::empty("card", "No plan", "Nothing is limited, and no invoice is written. The operator of this installation gives a tenant its plan.", None))
            },
            Some(view) => {
                (trouble(cx, view))
                section.tiles aria-label="Plan" {
                    @match &view.plan {
                        Some(plan) => {
                            (parts::tile("Plan", &plan.name, Some(state(view.state))))
                            (parts::tile("A month", &format::money(&plan.monthly_fee), view.trial_ends_at.filter(|at| *at > cx.here().now).map(|at| html! { "nothing until " (cx.here().day(at)) })))
                        }
                        None => (parts::tile("Plan", "None", Some(state(view.state)))),
                    }
                    (parts::tile("Next invoice", &view.next_invoice_at.map_or_else(|| "–".to_owned(), |at| cx.here().date(at)), Some(html! { "billed until " (cx.here().day(view.billed_until)) })))
                }
                (parts::card("This month", None, html! {
                    @if view.plan.is_none() && view.next_invoice_at.is_none() { p.muted { "Nothing is limited, and no invoice is written." } }
                    @else if view.plan.is_none() { p.muted { "What messages cost by the price list is paid afterwards. " a href=(super::billing::PATH) { "See what was used" } } }
                    @else { (quotas(cx, view)) }
                }))
            }
        }
        @let others: Vec<&PlanView> = offered.iter().filter(|plan| plan.is_offered && !plan.is_archived && view.and_then(own_plan) != Some(plan.id)).collect();
        @if !others.is_empty() {
            (parts::card("Other plans", None, html! {
                p.muted { "Ask the operator to move you; what was used stays used." }
                ul."grid spaced" { @for plan in others {
                    li.card { div.body { div.stack {
                        div { p.strong dir="auto" { (plan.name) } p.muted { (format::money(&plan.monthly_fee)) " a month" } }
                        ul { @for allowance in &plan.allowances { li.row { (icon(parts::channel_icon(allowance.channel))) span.num { (format::number(allowance.included)) } (format::channel(allowance.channel)) } } }
                    } } }
                } }
            }))
        }
        @if may_change(cx) { (operators_form(cx, view, known, form, faults)) }
    };
    shell::Page {
        lead: Some(html! { "What is paid for each month, and what of it is used." }),
        tabs: Some(billing::tabs(cx, PATH)),
        ..shell::Page::new("Plan and quota", Section::Usage, body)
    }
}

/// What stands in the way of sending, or soon will.
fn trouble(cx: &Cx, view: &SubscriptionView) -> Markup {
    html! {
        @match (view.state, view.canceled_at, view.marketing_stops_at) {
            (SubscriptionState::Canceled, Some(at), _) => (parts::notice(Tone::Bad, "The subscription is over", html! { p { "Nothing is accepted since " (cx.here().at(at)) ". The operator can let it go on." } })),
            (SubscriptionState::PastDue, _, Some(at)) => (parts::notice(Tone::Bad, "An invoice is unpaid", html! { p { @if at > cx.here().now { "Marketing stops on " } @else { "Marketing stopped on " } (cx.here().day(at)) "; transactional messages go on. " a href=(super::bills::PATH) { "See invoices" } } })),
            (_, Some(at), _) => (parts::notice(Tone::Warn, "The subscription ends", html! { p { "Nothing is accepted from " (cx.here().at(at)) " on." } })),
            _ => {}
        }
    }
}

/// Each channel with what is used of it.
pub(super) fn quotas(cx: &Cx, view: &SubscriptionView) -> Markup {
    let currency = view.plan.as_ref().map_or("", |plan| &plan.monthly_fee.currency);
    html! {
        @if view.quotas.is_empty() { p.muted { "This plan limits no channel." } }
        ul.bar-list {
            @for quota in &view.quotas {
                li.line {
                    div."row apart" {
                        span.row { (icon(parts::channel_icon(quota.channel))) span.strong { (format::channel(quota.channel)) } (mark(quota)) }
                        span.num { (format::number(quota.used)) span.muted { " of " (format::number(quota.limit.unwrap_or(quota.included))) } }
                    }
                    (bar(quota))
                    span."muted small" {
                        @match quota.remaining {
                            Some(left) => { (format::number(left)) " left" }
                            None => { (format::number((quota.included - quota.used).max(0))) " of the included ones left" }
                        }
                        @if let Some(price) = quota.overage_micros { ", each beyond " (format::number(quota.included)) " costs " (format::amount_of(price, currency)) " " (currency) }
                        " · begins anew " (cx.here().day(quota.resets_at))
                    }
                }
            }
        }
    }
}

/// A word where it is nearly used up.
fn mark(quota: &QuotaView) -> Markup {
    html! {
        @match (quota.level, quota.limit) {
            (QuotaLevel::Enough, _) => {},
            (QuotaLevel::NearlyUsedUp, _) => (parts::badge(Tone::Warn, "Nearly used up")),
            (QuotaLevel::UsedUp, Some(_)) => (parts::badge(Tone::Bad, "Used up")),
            (QuotaLevel::UsedUp, None) => (parts::badge(Tone::Warn, "Included ones used up")),
        }
    }
}

/// How much of a quota is used.
pub(super) fn bar(quota: &QuotaView) -> Markup {
    let whole = quota.limit.unwrap_or(quota.included);
    let title = format!("{}: {} of {} used", format::channel(quota.channel), quota.used, whole);
    let used = quota.used.min(whole);
    chart::shares(
        &title,
        &[
            (if quota.level == QuotaLevel::UsedUp && quota.limit.is_some() { 'b' } else { '1' }, used),
            ('0', whole - used),
        ],
    )
}

fn stored(cx: &Cx, view: Option<&SubscriptionView>) -> Form {
    let Some(view) = view else { return Form::default() };
    let local = |at: Option<Timestamp>| at.map(|at| cx.here().local(at)).unwrap_or_default();
    let customer = &view.customer;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut form = Form::of([
        ("plan_id", own_plan(view).map(|id| id.to_string()).unwrap_or_default()),
        ("trial_ends_at", local(view.trial_ends_at)),
        ("canceled_at", local(view.canceled_at)),
        ("customer/name", text(&customer.name)),
        ("customer/address", customer.address.join("\n")),
        ("customer/country", text(&customer.country)),
        ("customer/tax_id", text(&customer.tax_id)),
        ("customer/email", text(&customer.email)),
    ]);
    if let Some(tax) = &customer.tax {
        form.set("customer/tax", format!("{} {}", tax.name, super::bills::rate(tax.rate_ppm)));
    }
    form
}

/// Who is billed by the price list alone, or buys credit, needs no plan.
fn plan_field(view: Option<&SubscriptionView>) -> Field<'static> {
    let field = Field::text("plan_id", "Plan");
    if view.is_none_or(|view| view.plan.is_none()) { field } else { field.required() }
}

fn operators_form(
    cx: &Cx,
    view: Option<&SubscriptionView>,
    known: &[(String, String)],
    form: &Form,
    faults: &Faults,
) -> Markup {
    let without = match view.map(|view| (&view.plan, view.next_invoice_at)) {
        None => Some(("", "None: only whom credit is sold to".to_owned())),
        Some((None, Some(_))) => Some(("", "None: by the price list alone".to_owned())),
        Some((None, None)) => Some(("", "None".to_owned())),
        Some((Some(_), _)) => None,
    };
    let choices = without.into_iter().chain(known.iter().map(|(id, name)| (id.as_str(), name.clone()))).collect();
    html! {
        section.card aria-label="For the operator" {
            header { h2 { "For the operator" } }
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    (plan_field(view).with(Control::Choice(choices)).help("A change counts at once, for the whole running month.").draw(form, faults))
                    div.fields-2 {
                        (Field::text("trial_ends_at", "Trial until").with(Control::When).help("Until then no fee is charged.").draw(form, faults))
                        (Field::text("canceled_at", "Ends at").with(Control::When).help("From then on nothing is accepted.").draw(form, faults))
                    }
                    @if known.is_empty() { div."row apart" { p.muted { "There is no plan to give this tenant yet." } (link_button("/console/operator/plans/new", "", Some("plus"), "Add plan")) } }
                    h3.strong { "Whom invoices and receipts are addressed to" }
                    div.fields-2 {
                        (Field::text("customer/name", "Name").help("The tenant's name when empty.").draw(form, faults))
                        (Field::text("customer/email", "E-mail").with(Control::Email).help("Where invoices are sent.").draw(form, faults))
                        (Field::text("customer/country", "Country").example("DE").help("Two letters. Decides about taxes, too.").draw(form, faults))
                        (Field::text("customer/tax_id", "Tax number").example("DE123456789").draw(form, faults))
                    }
                    (Field::text("customer/address", "Address").with(Control::Area { rows: 3 }).help("Line by line.").draw(form, faults))
                    (Field::text("customer/tax", "Tax of its own").example("VAT 0").help("A name and percent, for one whose tax is not that of its country.").draw(form, faults))
                } }
                footer {
                    @if view.is_some_and(|view| view.past_due_since.is_some()) { label.check { input type="checkbox" name="forgive" value="true"; span { "Forgive the delay of what is unpaid" } } }
                    div.end { button."button primary" type="submit" { @if view.is_some() || known.is_empty() { "Save" } @else { "Give it this plan" } } }
                }
            }
        }
    }
}

/// Reads the operator's form, which is for a first subscription where there is no `view`.
fn read(cx: &Cx, form: &Form, view: Option<&SubscriptionView>, faults: &mut Faults) -> SubscriptionPatch {
    let mut when = |name: &str| match form.filled(name).map(|text| cx.here().read_local(text)) {
        None => Patch::Clear,
        Some(Some(at)) => Patch::Set(at),
        Some(None) => {
            faults.add(name, "choose a day and a time, or leave it empty");
            Patch::Keep
        }
    };
    let (trial_ends_at, canceled_at) = (when("trial_ends_at"), when("canceled_at"));
    let plan_id = match form.text("plan_id").parse() {
        Ok(id) => Patch::Set(id),
        // The engine says who needs one.
        Err(_) if form.text("plan_id").is_empty() => Patch::Keep,
        Err(_) => {
            faults.add("plan_id", "choose a plan");
            Patch::Keep
        }
    };
    let tax = form.filled("customer/tax").and_then(|text| {
        let read = super::bills::read_rate(text);
        if read.is_none() {
            faults.add("customer/tax", "write a name and percent, such as VAT 19");
        }
        read
    });
    let text = |name: &str| form.filled(name).map(str::to_owned);
    let customer = Customer {
        name: text("customer/name"),
        address: super::bills::lines(form.text("customer/address")),
        country: text("customer/country").map(|country| country.to_uppercase()),
        tax_id: text("customer/tax_id"),
        email: text("customer/email"),
        tax,
    };
    SubscriptionPatch {
        plan_id,
        trial_ends_at,
        canceled_at,
        past_due_since: if form.is_on("forgive") { Patch::Clear } else { Patch::Keep },
        // Fields that stay empty do not make a first one.
        customer: if view.is_none() && customer == Customer::default() { Patch::Keep } else { Patch::Set(customer) },
    }
}

/// Gives the tenant a plan, or changes its subscription.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    cx.tenant()?;
    cx.caller.need_operator("plans:write")?;
    let view = find(&cx, &cx.caller).await?;
    let mut faults = Faults::default();
    let change = read(&cx, &form, view.as_ref(), &mut faults);
    if faults.is_empty() {
        match subscription::patch(cx.engine(), &cx.caller, change).await {
            Ok(_) => return Ok(cx.done(PATH, "Saved.")),
            Err(error) if matches!(error.kind.status(), 409 | 422) => faults = Faults::of(&error),
            Err(error) => return Err(error.into()),
        }
    }
    let known = choices(&cx, view.as_ref()).await?;
    Ok(cx.again(page(&cx, view.as_ref(), &[], &known, &form, &faults)))
}
