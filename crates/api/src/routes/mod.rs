//! The handlers, by noun. Each is one engine operation; its doc comment is its reference.

mod accounts;
mod alerts;
mod analytics;
mod api_keys;
mod attachments;
mod branding;
mod campaigns;
mod connectors;
mod consent;
mod contacts;
pub(crate) mod content;
mod content_rules;
mod credits;
mod dead_letters;
mod demo_tenants;
mod domains;
mod dossiers;
mod endpoints;
mod hooks;
mod imports;
mod inbound;
mod invoice_deliveries;
mod invoices;
mod lists;
mod logs;
mod messages;
mod oidc;
mod plans;
mod prices;
mod reconciliations;
mod registrations;
mod retention;
mod routing_rules;
mod schedules;
mod segments;
mod senders;
mod sessions;
mod sign_in;
mod stream;
mod subscriptions;
mod suppressions;
mod system;
mod templates;
mod tenants;
mod tracking;
mod usage;
mod users;
mod whatsapp_templates;

use axum::routing;
use engine::ErrorKind;
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, openapi::Base, problem::Problem};

/// Every route with its description.
pub(crate) fn all() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Base::openapi())
        .routes(routes!(messages::send, messages::list))
        .routes(routes!(messages::send_batch))
        .routes(routes!(messages::get))
        .routes(routes!(messages::timeline))
        .routes(routes!(messages::cancel))
        .routes(routes!(messages::retry))
        .routes(routes!(campaigns::create, campaigns::list))
        .routes(routes!(campaigns::get, campaigns::patch, campaigns::delete))
        .routes(routes!(campaigns::duplicate))
        .routes(routes!(campaigns::check, campaigns::current_check))
        .routes(routes!(campaigns::send))
        .routes(routes!(campaigns::schedule))
        .routes(routes!(campaigns::pause))
        .routes(routes!(campaigns::resume))
        .routes(routes!(campaigns::cancel))
        .routes(routes!(campaigns::winner))
        .routes(routes!(campaigns::stats))
        .routes(routes!(campaigns::recipients))
        .routes(routes!(campaigns::export))
        .routes(routes!(schedules::create, schedules::list))
        .routes(routes!(schedules::get, schedules::patch, schedules::delete))
        .routes(routes!(schedules::cancel))
        .routes(routes!(schedules::occurrences))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::export))
        .routes(routes!(dead_letters::retry))
        .routes(routes!(attachments::upload, attachments::list))
        .routes(routes!(attachments::get, attachments::delete))
        .routes(routes!(attachments::content))
        .routes(routes!(contacts::create, contacts::list))
        .routes(routes!(imports::import))
        .routes(routes!(imports::list))
        .routes(routes!(imports::get))
        .routes(routes!(imports::errors))
        .routes(routes!(imports::cancel))
        .routes(routes!(imports::export))
        .routes(routes!(contacts::get, contacts::patch, contacts::delete))
        .routes(routes!(contacts::merge))
        .routes(routes!(contacts::erase))
        .routes(routes!(dossiers::ask))
        .routes(routes!(dossiers::content))
        .routes(routes!(contacts::timeline))
        .routes(routes!(contacts::create_attribute, contacts::list_attributes))
        .routes(routes!(contacts::delete_attribute))
        .routes(routes!(lists::create, lists::list))
        .routes(routes!(lists::get, lists::patch, lists::delete))
        .routes(routes!(lists::add, lists::members))
        .routes(routes!(lists::remove))
        .routes(routes!(segments::create, segments::list))
        .routes(routes!(segments::preview))
        .routes(routes!(segments::get, segments::patch, segments::delete))
        .routes(routes!(segments::preview_stored))
        .routes(routes!(invoice_deliveries::create, invoice_deliveries::list))
        .routes(routes!(invoice_deliveries::get))
        .routes(routes!(invoice_deliveries::document))
        .routes(routes!(inbound::list))
        .routes(routes!(inbound::get))
        .routes(routes!(accounts::create, accounts::list))
        .routes(routes!(accounts::get, accounts::patch, accounts::delete))
        .routes(routes!(accounts::test))
        .routes(routes!(accounts::stats))
        .routes(routes!(accounts::health))
        .routes(routes!(accounts::callbacks, accounts::set_callbacks))
        .routes(routes!(accounts::suppressions))
        .routes(routes!(routing_rules::create, routing_rules::list))
        .routes(routes!(routing_rules::try_out))
        .routes(routes!(routing_rules::get, routing_rules::patch, routing_rules::delete))
        .routes(routes!(whatsapp_templates::list, whatsapp_templates::create))
        .routes(routes!(whatsapp_templates::sync))
        .routes(routes!(whatsapp_templates::delete))
        .routes(routes!(senders::create, senders::list))
        .routes(routes!(senders::get, senders::patch, senders::delete))
        .routes(routes!(senders::verify))
        .routes(routes!(domains::create, domains::list))
        .routes(routes!(domains::get, domains::delete))
        .routes(routes!(domains::verify))
        .routes(routes!(registrations::profile, registrations::patch_profile))
        .routes(routes!(registrations::create, registrations::list))
        .routes(routes!(registrations::get, registrations::delete))
        .routes(routes!(registrations::submit))
        .routes(routes!(registrations::create_toll_free, registrations::list_toll_free))
        .routes(routes!(registrations::get_toll_free, registrations::delete_toll_free))
        .routes(routes!(registrations::submit_toll_free))
        .routes(routes!(registrations::create_number, registrations::list_numbers))
        .routes(routes!(registrations::get_number, registrations::patch_number, registrations::delete_number))
        .routes(routes!(connectors::list))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::revoke))
        .routes(routes!(users::invite, users::list))
        .routes(routes!(users::get, users::patch, users::remove))
        .routes(routes!(users::resend))
        .routes(routes!(users::me, users::rename))
        .routes(routes!(users::change_password))
        .routes(routes!(users::begin_second_factor))
        .routes(routes!(users::confirm_second_factor))
        .routes(routes!(users::remove_second_factor))
        .routes(routes!(users::new_recovery_codes))
        .routes(routes!(sign_in::with_password, sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::end_others))
        .routes(routes!(sign_in::confirm))
        .routes(routes!(sign_in::with_link))
        .routes(routes!(sign_in::show_invitation))
        .routes(routes!(sign_in::accept_invitation))
        .routes(routes!(sign_in::join))
        .routes(routes!(sign_in::ask_for_reset))
        .routes(routes!(sign_in::reset_password))
        .routes(routes!(oidc::depart))
        .routes(routes!(oidc::arrive))
        .routes(routes!(tenants::create, tenants::list))
        .routes(routes!(tenants::get, tenants::patch, tenants::delete))
        .routes(routes!(tenants::own, tenants::patch_own))
        .routes(routes!(demo_tenants::create, demo_tenants::list))
        .routes(routes!(demo_tenants::get, demo_tenants::delete))
        .routes(routes!(demo_tenants::link))
        .routes(routes!(templates::create, templates::list))
        .routes(routes!(templates::get, templates::patch, templates::delete))
        .routes(routes!(templates::add_version, templates::versions))
        .routes(routes!(templates::publish))
        .routes(routes!(templates::rollback))
        .routes(routes!(templates::preview))
        .routes(routes!(templates::test))
        .routes(routes!(templates::stats))
        .routes(routes!(tracking::follow))
        .routes(routes!(branding::get, branding::patch))
        .routes(routes!(endpoints::create, endpoints::list))
        .routes(routes!(endpoints::get, endpoints::patch, endpoints::delete))
        .routes(routes!(endpoints::rotate_secret))
        .routes(routes!(endpoints::test))
        .routes(routes!(endpoints::replay))
        .routes(routes!(endpoints::deliveries))
        .routes(routes!(endpoints::delivery))
        .routes(routes!(endpoints::retry))
        .routes(routes!(consent::record, consent::list))
        .routes(routes!(consent::preferences, consent::patch_preferences))
        .routes(routes!(consent::put_topic, consent::topics))
        .routes(routes!(consent::remove_topic))
        .routes(routes!(consent::policy, consent::patch_policy))
        .routes(routes!(content_rules::create, content_rules::list))
        .routes(routes!(content_rules::get, content_rules::patch, content_rules::delete))
        .routes(routes!(retention::get, retention::patch))
        .routes(routes!(suppressions::add, suppressions::list))
        .routes(routes!(suppressions::add_many))
        .routes(routes!(suppressions::export))
        .routes(routes!(suppressions::get, suppressions::remove))
        .routes(routes!(stream::follow))
        .routes(routes!(usage::get))
        .routes(routes!(analytics::get))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::get))
        .routes(routes!(alerts::acknowledge))
        .routes(routes!(alerts::resolve))
        .routes(routes!(alerts::create_rule, alerts::list_rules))
        .routes(routes!(alerts::get_rule, alerts::patch_rule, alerts::delete_rule))
        .routes(routes!(alerts::test_rule))
        .routes(routes!(prices::create, prices::list))
        .routes(routes!(prices::get))
        .routes(routes!(plans::create, plans::list))
        .routes(routes!(plans::get, plans::patch))
        .routes(routes!(subscriptions::get, subscriptions::patch))
        .routes(routes!(prices::import))
        .routes(routes!(prices::export))
        .routes(routes!(prices::what_if))
        .routes(routes!(invoices::list))
        .routes(routes!(invoices::get))
        .routes(routes!(invoices::renew))
        .routes(routes!(invoices::issue))
        .routes(routes!(invoices::pay))
        .routes(routes!(invoices::void))
        .routes(routes!(invoices::bill_again))
        .routes(routes!(invoices::send))
        .routes(routes!(invoices::document))
        .routes(routes!(invoices::settings, invoices::patch_settings))
        .routes(routes!(credits::get, credits::patch))
        .routes(routes!(credits::entries))
        .routes(routes!(credits::buy, credits::purchases))
        .routes(routes!(credits::purchase))
        .routes(routes!(credits::receipt))
        .routes(routes!(credits::refund, credits::refunds))
        .routes(routes!(credits::method, credits::forget_method))
        .routes(routes!(credits::settings, credits::patch_settings))
        .routes(routes!(credits::adjust))
        .routes(routes!(reconciliations::create, reconciliations::list))
        .routes(routes!(reconciliations::get))
        .routes(routes!(reconciliations::differences))
        .routes(routes!(credits::grant, credits::grants))
        .routes(routes!(logs::audit))
        .routes(routes!(logs::export_audit))
        .routes(routes!(logs::callbacks))
        .routes(routes!(logs::callback))
        .routes(routes!(hooks::stripe))
        .routes(routes!(hooks::get, hooks::post))
        .route("/hooks/{account_id}/{*rest}", routing::get(hooks::below).post(hooks::below))
        .routes(routes!(system::health))
        .routes(routes!(system::ready))
        .routes(routes!(system::metrics))
        .routes(routes!(system::document))
}

/// 404 for a path nothing is at.
pub(crate) async fn no_such_path() -> Problem {
    Problem::new(
        ErrorKind::NotFound,
        "no_such_path",
        "There is nothing at this path. Every path is listed in /openapi.json.",
    )
}

/// 405; axum adds `Allow`.
pub(crate) async fn no_such_method() -> (StatusCode, Problem) {
    let detail = "This path does not take this method. The header `Allow` lists those it takes.";
    (StatusCode::METHOD_NOT_ALLOWED, Problem::new(ErrorKind::NotFound, "method_not_allowed", detail))
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}
