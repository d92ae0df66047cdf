//! How this installation takes payments: the operator's account at Stripe. Its secrets are typed here and never shown again.

use engine::{
    money::payments::{self, PaymentSettings, PaymentSettingsPatch, StripeKeys},
    patch::Patch,
};
use maud::{Markup, html};

use crate::{
    cx::{Answer, Cx, Posted},
    form::{self, Faults, Form},
    parts::{self, Control, Dialog, Field, Tone, icon},
    shell::{self, Section},
};

pub(super) const PATH: &str = "/console/operator/payments";
const NAMES: [&str; 2] = ["stripe/secret_key", "stripe/webhook_secret"];

/// Shows how payments are taken.
pub(crate) async fn show(cx: Cx) -> Answer {
    let settings = payments::get(cx.engine().parts(), &cx.outside()).await?;
    Ok(cx.page(page(&cx, &settings, &Faults::default())))
}

fn page<'a>(cx: &Cx, settings: &PaymentSettings, faults: &Faults) -> shell::Page<'a> {
    let may = cx.may_outside("credits:write");
    let account = settings.stripe.as_ref();
    let none = Form::default();
    let secret = |name: &'static str, label: &'static str, help: &'static str, kept: Option<&str>| -> Markup {
        let field = Field::text(name, label).required().help(help);
        field.with(Control::Secret { kept, is_long: false }).draw(&none, faults)
    };
    let state = match account {
        Some(_) => parts::badge(Tone::Good, "Payments are taken"),
        None => parts::badge(Tone::Plain, "Not set up"),
    };
    let body = html! {
        section.card aria-label="Stripe" {
            header { h2 { "Stripe" } (state) }
            form method="post" action=(PATH) data-guard {
                (form::token(cx.csrf()))
                fieldset disabled[!may] { div.body { div.form {
                    (shell::form_faults(faults, &NAMES))
                    (secret(NAMES[0], "Secret key", "A secret or restricted key that may write Checkout sessions, payments and refunds.", account.map(|stripe| stripe.secret_key.as_str())))
                    (secret(NAMES[1], "Signing secret", "Of the webhook endpoint below. Without it nobody could tell Stripe's word from anybody's.", account.map(|stripe| stripe.webhook_secret.as_str())))
                } } }
                @if may { footer {
                    @if let Some(stripe) = account { span."muted small" { "Changed " (cx.here().at(stripe.updated_at)) } }
                    div.end {
                        @if account.is_some() { button."button danger" type="button" data-opens="remove" { (icon("trash")) "Remove" } }
                        button."button primary" type="submit" { "Save" }
                    }
                } }
            }
        }
        (parts::card("Webhook endpoint", None, html! { div.stack {
            p.muted { "Enter this address at Stripe, under Developers, Webhooks, for the events " code { "checkout.session.*" } ", " code { "payment_intent.succeeded" } ", " code { "payment_intent.payment_failed" } ", " code { "charge.refunded" } " and " code { "refund.*" } "." }
            (parts::copy_line(&settings.stripe_webhook_url, "the address for Stripe's events"))
        } }))
        @if may && account.is_some() {
            (parts::dialog(&Dialog { id: "remove", title: "Remove the account at Stripe?", action: &format!("{PATH}/remove"), csrf: cx.csrf(), yes: "Remove it", is_dangerous: true,
                body: html! { p.muted { "Tenants cannot pay by themselves any more, nothing is bought when credit runs low, and what Stripe still tells of earlier payments is not taken." } } }))
        }
    };
    shell::Page {
        lead: Some(html! { "Tenants buy credit by themselves once an account at Stripe is set up." }),
        tabs: Some(super::bills::operators_tabs(PATH)),
        is_narrow: true,
        ..shell::Page::new("Payments", Section::Bills, body)
    }
}

/// Changes the account; a secret left empty stays.
pub(crate) async fn save(Posted { cx, form }: Posted) -> Answer {
    let [secret_key, webhook_secret] = NAMES.map(|name| form.filled(name).map(str::to_owned));
    change(&cx, Patch::Set(StripeKeys { secret_key, webhook_secret }), "Saved. Tenants can buy credit by themselves.")
        .await
}

/// Removes the account.
pub(crate) async fn remove(Posted { cx, .. }: Posted) -> Answer {
    change(&cx, Patch::Clear, "The account was removed.").await
}

async fn change(cx: &Cx, stripe: Patch<StripeKeys>, said: &str) -> Answer {
    let (parts, caller) = (cx.engine().parts(), cx.outside());
    match payments::patch(parts, &caller, PaymentSettingsPatch { stripe }).await {
        Ok(_) => Ok(cx.done(PATH, said)),
        Err(error) if matches!(error.kind.status(), 409 | 422) => {
            let settings = payments::get(parts, &caller).await?;
            Ok(cx.again(page(cx, &settings, &Faults::of(&error))))
        }
        Err(error) => Err(error.into()),
    }
}
