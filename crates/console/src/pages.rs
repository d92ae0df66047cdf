//! Every page: a handler that asks the engine, and functions from what it answers to markup. One file per place in the navigation.

mod account;
mod actions;
mod alerts;
mod analytics;
mod billing;
mod bills;
mod branding;
mod callbacks;
mod campaigns;
mod channels;
mod compose;
mod consent;
mod contacts;
mod content_rules;
mod demos;
pub(crate) mod doors;
mod home;
mod imports;
mod invoices;
mod keys;
mod letters;
mod lists;
mod logs;
mod me;
mod message;
mod messages;
mod on_lists;
mod operator;
pub(crate) mod palette;
mod payments;
mod personal;
mod plans;
mod prices;
mod purchases;
mod reconciliations;
mod registrations;
mod retention;
mod routing;
mod rules;
mod schedules;
mod segments;
mod senders;
mod settings;
#[cfg(debug_assertions)]
mod styleguide;
mod subscription;
mod suppressions;
mod templates;
mod tenants;
mod usage;
mod users;
mod webhooks;
mod whatsapp;

use axum::{
    Router,
    response::Response,
    routing::{get, post},
};
use engine::{Error, ErrorKind};

use crate::{
    App, BASE, assets,
    cx::{Fault, go},
    live,
};

/// Every route.
pub(crate) fn routes() -> Router<App> {
    let router = Router::new()
        .route("/", get(async || go(BASE)))
        .route("/console", get(home::show))
        .route("/console/sign-in", get(doors::sign_in_page).post(doors::sign_in))
        .route("/console/code", get(doors::code_page).post(doors::code))
        .route("/console/enter/{token}", get(doors::enter_page).post(doors::enter_by_link))
        .route("/console/forgot", get(doors::forgot_page).post(doors::forgot))
        .route("/console/reset/{token}", get(doors::reset_page).post(doors::reset))
        .route("/console/invitation/{token}", get(doors::invitation_page).post(doors::join))
        .route("/console/me", get(me::show))
        .route("/console/me/name", post(me::rename))
        .route("/console/me/password", post(me::change_password))
        .route("/console/me/totp", post(me::begin_totp))
        .route("/console/me/totp/on", post(me::enable_totp))
        .route("/console/me/totp/off", post(me::disable_totp))
        .route("/console/me/recovery-codes", post(me::recovery_codes))
        .route("/console/me/sessions/{id}/end", post(me::end_session))
        .route("/console/sign-out", post(doors::sign_out))
        .route("/console/enter", post(doors::enter))
        .route("/console/leave", post(doors::leave))
        .route("/console/messages", get(messages::list))
        .route("/console/messages/{id}", get(message::show))
        .route("/console/messages/{id}/cancel", post(message::cancel))
        .route("/console/messages/{id}/retry", post(message::retry))
        .route("/console/dead-letters", get(letters::dead))
        .route("/console/dead-letters/retry", post(letters::retry_all))
        .route("/console/dead-letters/export", get(letters::export))
        .route("/console/inbound", get(letters::inbound))
        .route("/console/schedules", get(schedules::list))
        .route("/console/schedules/{id}", get(schedules::show))
        .route("/console/schedules/{id}/{action}", post(schedules::act))
        .route("/console/invoices", get(invoices::list).post(invoices::send))
        .route("/console/invoices/new", get(invoices::new))
        .route("/console/invoices/more", post(invoices::more))
        .route("/console/invoices/preview", post(invoices::preview))
        .route("/console/invoices/{id}/document", get(invoices::document))
        .route("/console/compose", get(compose::show).post(compose::send))
        .route("/console/compose/recipients", get(compose::recipients))
        .route("/console/compose/preview", post(compose::preview::show))
        .route("/console/compose/mail", post(compose::preview::mail))
        .route("/console/compose/files", post(compose::file))
        .route("/console/contacts", get(contacts::list).post(contacts::create))
        .route("/console/contacts/new", get(contacts::new))
        .route("/console/contacts/import", get(imports::show))
        .route("/console/contacts/import/file", post(imports::file))
        .route("/console/contacts/import/new/{file}", get(imports::plan).post(imports::go_on))
        .route("/console/contacts/import/{id}", get(imports::follow))
        .route("/console/contacts/import/{id}/errors", get(imports::errors))
        .route("/console/contacts/import/{id}/cancel", post(imports::cancel))
        .route("/console/contacts/export", get(contacts::export))
        .route("/console/contacts/rules", get(rules::show).post(rules::save))
        .route("/console/contacts/rules/{what}", post(rules::add))
        .route("/console/contacts/rules/{what}/{name}/delete", post(rules::remove))
        .route("/console/contacts/{id}", get(contacts::show).post(contacts::update))
        .route("/console/contacts/{id}/delete", post(contacts::delete))
        .route("/console/contacts/{id}/lists", post(on_lists::change))
        .route("/console/contacts/{id}/data", get(personal::show))
        .route("/console/contacts/{id}/data/export", post(personal::ask))
        .route("/console/contacts/{id}/data/merge", post(personal::join))
        .route("/console/contacts/{id}/data/erase", post(personal::erase))
        .route("/console/contacts/{id}/data/{export}", get(personal::file))
        .route("/console/lists", get(lists::all).post(lists::create))
        .route("/console/lists/{id}", get(lists::show).post(lists::update))
        .route("/console/lists/{id}/{action}", post(lists::act))
        .route("/console/contacts/{id}/consent", get(consent::show).post(consent::record))
        .route("/console/contacts/{id}/preferences", post(consent::prefer))
        .route("/console/suppressions", get(suppressions::list).post(suppressions::add))
        .route("/console/suppressions/export", get(suppressions::export))
        .route("/console/suppressions/{id}/lift", post(suppressions::lift))
        .route("/console/senders", get(senders::show).post(senders::create))
        .route("/console/senders/domains", post(senders::create_domain))
        .route("/console/senders/domains/{id}/{action}", post(senders::act_domain))
        .route("/console/senders/whatsapp/{id}", post(senders::sync))
        .route("/console/senders/whatsapp/{id}/new", get(whatsapp::new).post(whatsapp::create))
        .route("/console/senders/whatsapp/{id}/new/preview", post(whatsapp::preview))
        .route("/console/senders/{id}/{action}", post(senders::act))
        .route("/console/routing", get(routing::show))
        .route("/console/routing/new", get(routing::new).post(routing::create))
        .route("/console/routing/try", post(routing::trial::try_out))
        .route("/console/routing/{id}", get(routing::edit).post(routing::update))
        .route("/console/routing/{id}/{action}", post(routing::act))
        .route("/console/segments", get(segments::list).post(segments::create))
        .route("/console/segments/new", get(segments::new))
        .route("/console/segments/row", post(segments::more))
        .route("/console/segments/preview", post(segments::preview))
        .route("/console/segments/{id}", get(segments::show).post(segments::update))
        .route("/console/segments/{id}/delete", post(segments::delete))
        .route("/console/templates", get(templates::list).post(templates::create))
        .route("/console/templates/new", get(templates::new))
        .route("/console/templates/preview", post(templates::preview::show))
        .route("/console/templates/preview/mail", post(templates::preview::mail))
        .route("/console/templates/{id}", get(templates::editor::show).post(templates::editor::save))
        .route("/console/templates/{id}/compare", get(templates::compare::show))
        .route("/console/templates/{id}/{action}", post(templates::editor::act))
        .route("/console/campaigns", get(campaigns::list).post(campaigns::builder::create))
        .route("/console/campaigns/new", get(campaigns::builder::new))
        .route("/console/campaigns/{id}", get(campaigns::show::show))
        .route("/console/campaigns/{id}/edit", get(campaigns::builder::edit).post(campaigns::builder::update))
        .route("/console/campaigns/{id}/check", get(campaigns::show::check))
        .route("/console/campaigns/{id}/recipients.csv", get(campaigns::show::export))
        .route("/console/campaigns/{id}/{action}", post(campaigns::show::act))
        .route("/console/channels", get(channels::show))
        .route("/console/channels/new", get(channels::choose))
        .route("/console/channels/new/{connector}", get(account::new).post(account::create))
        .route("/console/channels/{id}", get(account::show).post(account::update))
        .route("/console/channels/{id}/test", post(account::test))
        .route("/console/channels/{id}/provider", get(account::provider::show))
        .route("/console/channels/{id}/provider/callbacks", post(account::provider::set))
        .route("/console/channels/{id}/enable", post(account::enable))
        .route("/console/channels/{id}/disable", post(account::disable))
        .route("/console/channels/{id}/delete", post(account::delete))
        .route("/console/settings", get(settings::show).post(settings::save))
        .route("/console/settings/keys", get(keys::list).post(keys::create))
        .route("/console/settings/keys/new", get(keys::new))
        .route("/console/settings/keys/{id}/revoke", post(keys::revoke))
        .route("/console/settings/users", get(users::list).post(users::create))
        .route("/console/settings/users/new", get(users::new))
        .route("/console/settings/users/{id}", get(users::show).post(users::update))
        .route("/console/settings/users/{id}/{action}", post(users::act))
        .route("/console/settings/webhooks", get(webhooks::list).post(webhooks::create))
        .route("/console/settings/webhooks/new", get(webhooks::new))
        .route("/console/settings/webhooks/{id}", get(webhooks::show).post(webhooks::update))
        .route("/console/settings/webhooks/{id}/{action}", get(webhooks::delivery).post(webhooks::act))
        .route("/console/settings/webhooks/{id}/{action}/retry", post(webhooks::retry))
        .route("/console/settings/branding", get(branding::show).post(branding::save))
        .route("/console/settings/content", get(content_rules::list).post(content_rules::create))
        .route("/console/settings/content/new", get(content_rules::new))
        .route("/console/settings/content/{id}", get(content_rules::show).post(content_rules::update))
        .route("/console/settings/content/{id}/delete", post(content_rules::delete))
        .route("/console/settings/retention", get(retention::show).post(retention::save))
        .route("/console/settings/audit", get(logs::audit_log))
        .route("/console/settings/audit/export", get(logs::export))
        .route("/console/settings/callbacks", get(callbacks::list))
        .route("/console/settings/callbacks/{id}", get(callbacks::show))
        .route("/console/alerts", get(alerts::list))
        .route("/console/alerts/rules", get(alerts::rules_page).post(alerts::create))
        .route("/console/alerts/rules/{id}", get(alerts::rule).post(alerts::update))
        .route("/console/alerts/rules/{id}/{action}", post(alerts::act_rule))
        .route("/console/alerts/{id}/{action}", post(alerts::act))
        .route("/console/operator/alerts", get(alerts::list))
        .route("/console/operator/alerts/rules", get(alerts::rules_page).post(alerts::create))
        .route("/console/operator/alerts/rules/{id}", get(alerts::rule).post(alerts::update))
        .route("/console/operator/alerts/rules/{id}/{action}", post(alerts::act_rule))
        .route("/console/operator/alerts/{id}/{action}", post(alerts::act))
        .route("/console/analytics", get(analytics::show))
        .route("/console/analytics/export", get(analytics::export))
        .route("/console/operator/analytics", get(analytics::show))
        .route("/console/operator/analytics/export", get(analytics::export))
        .route("/console/usage", get(usage::show))
        .route("/console/usage/export", get(usage::export))
        .route("/console/billing", get(billing::show))
        .route("/console/billing/statement.csv", get(billing::export))
        .route("/console/billing/prices", get(billing::price_list))
        .route("/console/billing/prices/{version}", get(billing::coming_list))
        .route("/console/billing/plan", get(subscription::show).post(subscription::save))
        .route("/console/billing/invoices", get(bills::list))
        .route("/console/billing/invoices/{id}", get(bills::show))
        .route("/console/billing/invoices/{id}/document", get(bills::document))
        .route("/console/billing/invoices/{id}/{action}", post(bills::act))
        .route("/console/billing/purchases", get(purchases::list).post(purchases::buy))
        .route("/console/billing/purchases/new", get(purchases::new))
        .route("/console/billing/purchases/marks", post(purchases::mark))
        .route("/console/billing/purchases/{id}", get(purchases::show))
        .route("/console/billing/purchases/{id}/receipt", get(purchases::receipt))
        .route("/console/billing/purchases/{id}/refund", post(purchases::refund))
        .route("/console/billing/payment-method/forget", post(purchases::forget))
        .route("/console/billing/{action}", post(billing::act))
        .route("/console/reconciliations", get(reconciliations::list).post(reconciliations::create))
        .route("/console/reconciliations/new", get(reconciliations::new))
        .route("/console/reconciliations/{id}", get(reconciliations::show))
        .route("/console/reconciliations/{id}/differences.csv", get(reconciliations::export))
        .route("/console/registration", get(registrations::show).post(registrations::create))
        .route("/console/registration/profile", get(registrations::profile::show).post(registrations::profile::save))
        .route("/console/registration/toll-free", post(registrations::toll_free::create))
        .route("/console/registration/toll-free/new", get(registrations::toll_free::new))
        .route("/console/registration/toll-free/{id}", get(registrations::toll_free::one))
        .route("/console/registration/toll-free/{id}/{action}", post(registrations::toll_free::act))
        .route("/console/registration/{id}", get(registrations::one))
        .route("/console/registration/{id}/{action}", post(registrations::act))
        .route("/console/operator/registrations", get(registrations::stuck))
        .route("/console/operator/numbers", get(registrations::numbers::list).post(registrations::numbers::create))
        .route("/console/operator/numbers/new", get(registrations::numbers::new))
        .route("/console/operator/numbers/{id}", get(registrations::numbers::show).post(registrations::numbers::update))
        .route("/console/operator/numbers/{id}/{action}", post(registrations::numbers::end))
        .route("/console/operator/payments", get(payments::show).post(payments::save))
        .route("/console/operator/payments/remove", post(payments::remove))
        .route("/console/operator/payments/callbacks", get(callbacks::payments))
        .route("/console/operator/payments/callbacks/{id}", get(callbacks::payment))
        .route("/console/operator/invoices", get(bills::list))
        .route("/console/operator/invoices/settings", get(bills::settings_page).post(bills::save_settings))
        .route("/console/operator/invoices/{id}", get(bills::show))
        .route("/console/operator/invoices/{id}/document", get(bills::document))
        .route("/console/operator/invoices/{id}/{action}", post(bills::act))
        .route("/console/operator/plans", get(plans::list).post(plans::create))
        .route("/console/operator/plans/new", get(plans::new))
        .route("/console/operator/plans/{id}", get(plans::show).post(plans::update))
        .route("/console/operator/prices", get(prices::list).post(prices::create))
        .route("/console/operator/prices/new", get(prices::new))
        .route("/console/operator/prices/{version}", get(prices::show))
        .route("/console/operator/prices/try", post(prices::try_out))
        .route("/console/tenants", get(tenants::list).post(tenants::create))
        .route("/console/tenants/new", get(tenants::new))
        .route("/console/tenants/{id}", get(tenants::show).post(tenants::update))
        .route("/console/tenants/{id}/{action}", post(tenants::act))
        .route("/console/demos", get(demos::list).post(demos::create))
        .route("/console/demos/{id}/{action}", post(demos::act))
        .route("/console/operator/accounts", get(operator::accounts))
        .route("/console/operator/queue", get(operator::queue))
        .route("/console/operator/system", get(operator::system))
        .route("/console/operator/system/audit-log/export", get(operator::export_log))
        .route("/console/palette", get(palette::search))
        .route("/console/live", get(live::follow))
        .route("/console/assets/{hash}/{*name}", get(assets::serve))
        .route("/console/", get(async || go(BASE)))
        .route("/console/{*rest}", get(nothing));
    #[cfg(debug_assertions)]
    let router = router.route("/console/styleguide", get(styleguide::show));
    router
}

/// A path no page has.
async fn nothing() -> Result<Response, Fault> {
    Err(no_page().into())
}

/// The refusal of an address that leads nowhere.
pub(crate) fn no_page() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "no_such_page",
        "No page has this address. It may have been mistyped, or what it showed is gone.",
    )
}

/// Reads an id in a path; what is no id leads nowhere.
pub(crate) fn id<T: std::str::FromStr>(text: &str) -> Result<T, Fault> {
    text.parse().map_err(|_| no_page().into())
}
