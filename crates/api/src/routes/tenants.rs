//! Tenants, for the operator; and each tenant about itself.

use axum::extract::State;
use engine::{
    page::Page,
    tenants::{self, NewTenant, OwnTenantPatch, TenantPatch, TenantView},
};
use model::TenantId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a tenant
///
/// A tenant owns accounts, messages, keys and everything else; nothing is shared between two. Make it an API key with `POST /v1/api-keys` and the header
/// `Tidings-Tenant`.
#[utoipa::path(post, path = "/v1/tenants", operation_id = "create_tenant", tag = "Tenants",
    request_body(content = NewTenant, example = json!({"name": "Acme Tickets", "timezone": "Europe/Berlin", "currency": "EUR", "default_country": "DE"})),
    responses((status = 201, description = "The new tenant.", body = TenantView, example = json!(examples::tenant()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewTenant = read(&post.body)?;
    answer::reply(tenants::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists tenants
///
/// Newest first.
#[utoipa::path(get, path = "/v1/tenants", operation_id = "list_tenants", tag = "Tenants", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<TenantView>, example = json!(examples::page(examples::tenant())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&tenants::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a tenant
///
/// With its state and its defaults.
#[utoipa::path(get, path = "/v1/tenants/{id}", operation_id = "get_tenant", tag = "Tenants",
    responses((status = 200, description = "The tenant.", body = TenantView, example = json!(examples::tenant()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>) -> Answer {
    answer::json(&tenants::get(app.engine().parts(), &caller, id).await?)
}

/// Changes a tenant
///
/// JSON Merge Patch: fields left out keep their value. `state: "suspended"` stops everything from leaving until it is `active` again; what is queued waits.
#[utoipa::path(patch, path = "/v1/tenants/{id}", operation_id = "update_tenant", tag = "Tenants",
    request_body(content = TenantPatch, example = json!({"state": "suspended"})),
    responses((status = 200, description = "The tenant as it is now.", body = TenantView, example = json!(examples::tenant()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>, Json(body): Json) -> Answer {
    let change: TenantPatch = read(&body)?;
    answer::json(&tenants::patch(app.engine().parts(), &caller, id, change).await?)
}

/// Deletes a tenant
///
/// It is gone at once for everybody: its keys answer 401, its callbacks 404, and nothing of it is sent any more. What it used until then is billed
/// two minutes later, before anything it had is removed; its invoices are kept, and `GET /v1/invoices` lists them.
#[utoipa::path(delete, path = "/v1/tenants/{id}", operation_id = "delete_tenant", tag = "Tenants",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>) -> Answer {
    tenants::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}

/// Shows the caller's own tenant
///
/// The one the API key belongs to, or the one an operator names in `Tidings-Tenant`.
#[utoipa::path(get, path = "/v1/tenant", operation_id = "get_own_tenant", tag = "Tenants",
    responses((status = 200, description = "The tenant.", body = TenantView, example = json!(examples::tenant()))))]
pub(crate) async fn own(State(app): State<App>, Who(caller): Who) -> Answer {
    answer::json(&tenants::own(app.engine().parts(), &caller).await?)
}

/// Changes the caller's own tenant
///
/// JSON Merge Patch of what is the tenant's own: `name`, `timezone` (schedules, quiet hours and days of analytics follow it from now on) and `default_country`. Everything else about it the operator
/// changes with `PATCH /v1/tenants/{id}`.
#[utoipa::path(patch, path = "/v1/tenant", operation_id = "update_own_tenant", tag = "Tenants",
    request_body(content = OwnTenantPatch, example = json!({"name": "Acme Tickets", "timezone": "Europe/Berlin"})),
    responses((status = 200, description = "The tenant as it is now.", body = TenantView, example = json!(examples::tenant()))))]
pub(crate) async fn patch_own(State(app): State<App>, Who(caller): Who, Json(body): Json) -> Answer {
    let change: OwnTenantPatch = read(&body)?;
    answer::json(&tenants::patch_own(app.engine().parts(), &caller, change).await?)
}
