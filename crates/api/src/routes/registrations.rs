//! Registration with American carriers, and the operator's pool of numbers.

use axum::extract::State;
use engine::{
    page::Page,
    registrations::{
        self, NewRegistration, RegistrationView, Resubmission,
        numbers::{self, NewNumber, NumberPatch, NumberState, NumberView},
        profile::{self, BusinessProfile, BusinessProfileView},
        toll_free::{self, NewTollFree, TollFreeResubmission},
    },
};
use model::{NumberId, RegistrationId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Shows the business profile
///
/// Who the tenant's business is, with what is left to fill in before it can be registered.
#[utoipa::path(get, path = "/v1/business-profile", operation_id = "get_business_profile", tag = "Registration",
    responses((status = 200, description = "The profile.", body = BusinessProfileView, example = json!(examples::business_profile()))))]
pub(crate) async fn profile(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&profile::get(app.engine(), &caller).await?)
}

/// Changes the business profile
///
/// JSON Merge Patch: fields left out keep their value, `null` empties them. What could never be submitted is refused by name; what is merely missing is listed under `missing`. The operator
/// may set `us_sms`: `required` refuses text messages to the United States from accounts whose registration is not approved, `off` never does, `when_started` does once one was begun.
#[utoipa::path(patch, path = "/v1/business-profile", operation_id = "update_business_profile", tag = "Registration",
    request_body(content = BusinessProfile, example = json!({"legal_name": "Acme Events LLC", "business_type": "llc", "ein": "12-3456789"})),
    responses((status = 200, description = "The profile as it is now.", body = BusinessProfileView, example = json!(examples::business_profile()))))]
pub(crate) async fn patch_profile(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    answer::json(&profile::patch(app.engine(), &caller, &body).await?)
}

/// Begins a 10DLC registration
///
/// Registers the business of the profile with American carriers for one account: profile, brand, messaging service, campaign, number. Each step is worked off in the background and told by
/// `registration.changed`. From then on text messages of the account to the United States are refused with `registration_required` until it is approved.
#[utoipa::path(post, path = "/v1/registrations/10dlc", operation_id = "create_registration", tag = "Registration",
    request_body(content = NewRegistration, example = json!({"account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X", "area_code": "415"})),
    responses((status = 201, description = "It has begun.", body = RegistrationView, example = json!(examples::registration()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewRegistration = read(&post.body)?;
    answer::reply(registrations::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists 10DLC registrations
///
/// Newest first. The operator, outside of any tenant, sees those of all tenants that need somebody to look (`operator_needed`).
#[utoipa::path(get, path = "/v1/registrations/10dlc", operation_id = "list_registrations", tag = "Registration", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<RegistrationView>, example = json!(examples::page(examples::registration())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&registrations::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a 10DLC registration
///
/// With its stage, and why it was rejected.
#[utoipa::path(get, path = "/v1/registrations/10dlc/{id}", operation_id = "get_registration", tag = "Registration",
    responses((status = 200, description = "The registration.", body = RegistrationView, example = json!(examples::registration()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<RegistrationId>) -> Answer {
    answer::json(&registrations::get(app.engine().parts(), &caller, id).await?)
}

/// Submits a 10DLC registration again
///
/// One that was rejected begins anew at the stage that was refused, with the business profile as it is now. One that stopped because the provider did not answer goes on where it was. While a
/// sole proprietor has to answer the registry's text message (`brand_review`), another one is sent.
#[utoipa::path(post, path = "/v1/registrations/10dlc/{id}/submit", operation_id = "submit_registration", tag = "Registration",
    request_body(content = Resubmission, example = json!({"area_code": "628"})),
    responses((status = 200, description = "It goes on.", body = RegistrationView, example = json!(examples::registration()))))]
pub(crate) async fn submit(State(app): State<App>, Who(caller): Who, Id(id): Id<RegistrationId>, post: Post) -> Answer {
    let again: Resubmission = read(&post.body)?;
    answer::reply(registrations::submit(app.engine(), &caller, &post.repeat, id, again).await?)
}

/// Deletes a 10DLC registration
///
/// Here only: what was made at the provider stays there, and the number goes back to the operator's pool.
#[utoipa::path(delete, path = "/v1/registrations/10dlc/{id}", operation_id = "delete_registration", tag = "Registration",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<RegistrationId>) -> Answer {
    registrations::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}

/// Begins the verification of a toll-free number
///
/// American carriers block messages from toll-free numbers that are not verified. What is said about the business comes from its profile; each step is told by `registration.changed`. From
/// then on text messages from this number to the United States are refused with `registration_required` until it is approved.
#[utoipa::path(post, path = "/v1/registrations/toll-free", operation_id = "create_toll_free_verification", tag = "Registration",
    request_body(content = NewTollFree, example = json!({"account_id": "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X", "number": "+18005550100", "opt_in_type": "web_form", "opt_in_image_urls": ["https://acme.example/opt-in.png"]})),
    responses((status = 201, description = "It has begun.", body = RegistrationView, example = json!(examples::toll_free()))))]
pub(crate) async fn create_toll_free(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewTollFree = read(&post.body)?;
    answer::reply(toll_free::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists verifications of toll-free numbers
///
/// Newest first. The operator, outside of any tenant, sees those of all tenants that need somebody to look (`operator_needed`).
#[utoipa::path(get, path = "/v1/registrations/toll-free", operation_id = "list_toll_free_verifications", tag = "Registration", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<RegistrationView>, example = json!(examples::page(examples::toll_free())))))]
pub(crate) async fn list_toll_free(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&toll_free::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows the verification of a toll-free number
///
/// With its stage, and why it was rejected.
#[utoipa::path(get, path = "/v1/registrations/toll-free/{id}", operation_id = "get_toll_free_verification", tag = "Registration",
    responses((status = 200, description = "The verification.", body = RegistrationView, example = json!(examples::toll_free()))))]
pub(crate) async fn get_toll_free(State(app): State<App>, Who(caller): Who, Id(id): Id<RegistrationId>) -> Answer {
    answer::json(&toll_free::get(app.engine().parts(), &caller, id).await?)
}

/// Submits the verification of a toll-free number again
///
/// One that was rejected is asked for anew, with the business profile as it is now and what is said here; one that stopped because the provider did not answer goes on where it was.
#[utoipa::path(post, path = "/v1/registrations/toll-free/{id}/submit", operation_id = "submit_toll_free_verification", tag = "Registration",
    request_body(content = TollFreeResubmission, example = json!({"opt_in_image_urls": ["https://acme.example/opt-in-form.png"]})),
    responses((status = 200, description = "It goes on.", body = RegistrationView, example = json!(examples::toll_free()))))]
pub(crate) async fn submit_toll_free(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<RegistrationId>,
    post: Post,
) -> Answer {
    let again: TollFreeResubmission = read(&post.body)?;
    answer::reply(toll_free::submit(app.engine(), &caller, &post.repeat, id, again).await?)
}

/// Deletes the verification of a toll-free number
///
/// Here only: what the provider decided about the number stays there.
#[utoipa::path(delete, path = "/v1/registrations/toll-free/{id}", operation_id = "delete_toll_free_verification", tag = "Registration",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete_toll_free(State(app): State<App>, Who(caller): Who, Id(id): Id<RegistrationId>) -> Answer {
    toll_free::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}

/// Which numbers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct NumberQuery {
    /// Only those in this state: `free`, `allocated`, `retired` or `failed`.
    #[param(value_type = Option<String>)]
    state: Option<NumberState>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Adds a number to the pool
///
/// A number the operator holds at a provider. The next registration of an account of the same holder that fits gets it before one is bought.
#[utoipa::path(post, path = "/v1/numbers", operation_id = "create_number", tag = "Registration",
    request_body(content = NewNumber, example = json!({"number": "+14155550100", "connector": "twilio", "provider_account": "AC00000000000000000000000000000001", "reference": "PN00000000000000000000000000000001"})),
    responses((status = 201, description = "It is in the pool.", body = NumberView, example = json!(examples::number()))))]
pub(crate) async fn create_number(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewNumber = read(&post.body)?;
    answer::reply(numbers::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists the pool of numbers
///
/// Newest first.
#[utoipa::path(get, path = "/v1/numbers", operation_id = "list_numbers", tag = "Registration", params(NumberQuery),
    responses((status = 200, description = "One page.", body = Page<NumberView>, example = json!(examples::page(examples::number())))))]
pub(crate) async fn list_numbers(State(app): State<App>, Who(caller): Who, Args(query): Args<NumberQuery>) -> Answer {
    let parts = app.engine().parts();
    answer::json(&numbers::list(parts, &caller, query.state, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a number
///
/// With the tenant it is with.
#[utoipa::path(get, path = "/v1/numbers/{id}", operation_id = "get_number", tag = "Registration",
    responses((status = 200, description = "The number.", body = NumberView, example = json!(examples::number()))))]
pub(crate) async fn get_number(State(app): State<App>, Who(caller): Who, Id(id): Id<NumberId>) -> Answer {
    answer::json(&numbers::get(app.engine().parts(), &caller, id).await?)
}

/// Changes a number
///
/// JSON Merge Patch. `free` takes it from whoever has it here, `retired` and `failed` put it aside; nothing changes at the provider.
#[utoipa::path(patch, path = "/v1/numbers/{id}", operation_id = "update_number", tag = "Registration",
    request_body(content = NumberPatch, example = json!({"state": "retired", "detail": "Given back in November"})),
    responses((status = 200, description = "The number as it is now.", body = NumberView, example = json!(examples::number()))))]
pub(crate) async fn patch_number(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<NumberId>,
    Json(body): Json,
) -> Answer {
    let change: NumberPatch = read(&body)?;
    answer::json(&numbers::patch(app.engine().parts(), &caller, id, change).await?)
}

/// How a number is removed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReleaseQuery {
    /// True to give it back to the provider as well, through any account of who holds it there: nothing is paid for it any more, and somebody else may get it.
    #[serde(default)]
    #[param(default = false)]
    release: bool,
}

/// Removes a number
///
/// Takes it out of the pool; with `release` it is given back to the provider. Refused with 409 while it is with a tenant. When the provider does not answer, the number is put aside
/// (`retired`), and this can be asked again.
#[utoipa::path(delete, path = "/v1/numbers/{id}", operation_id = "delete_number", tag = "Registration", params(ReleaseQuery),
    responses((status = 204, description = "It is not in the pool any more.")))]
pub(crate) async fn delete_number(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<NumberId>,
    Args(query): Args<ReleaseQuery>,
) -> Answer {
    numbers::remove(app.engine().parts(), &caller, id, query.release).await?;
    answer::nothing()
}
