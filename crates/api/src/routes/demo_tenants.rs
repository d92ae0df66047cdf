//! Demo tenants, for the operator's staff.

use axum::extract::State;
use engine::{
    demo::{self, DemoTenantView, NewDemoTenant},
    page::Page,
};
use model::TenantId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Post, Who, read},
};

/// Makes a demo tenant
///
/// It has an owner, contacts, templates, two months of messages, a campaign that ended and one under way. Everything can be done in it and nothing leaves: its only
/// connector is the sandbox, and it can never be turned into another. The link signs in as the owner, once, within a day. A week later the tenant is deleted with all it has.
#[utoipa::path(post, path = "/v1/demo-tenants", operation_id = "create_demo_tenant", tag = "Tenants",
    request_body(content = NewDemoTenant, example = json!({"name": "Demo for Globex"})),
    responses((status = 201, description = "The demo tenant, with its link.", body = DemoTenantView, example = json!(examples::new_demo_tenant()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewDemoTenant = read(&post.body)?;
    answer::reply(demo::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists demo tenants
///
/// Newest first, each with the day it ends.
#[utoipa::path(get, path = "/v1/demo-tenants", operation_id = "list_demo_tenants", tag = "Tenants", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<DemoTenantView>, example = json!(examples::page(examples::demo_tenant())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&demo::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a demo tenant
///
/// With the day it ends, and whether it is filled.
#[utoipa::path(get, path = "/v1/demo-tenants/{id}", operation_id = "get_demo_tenant", tag = "Tenants",
    responses((status = 200, description = "The demo tenant.", body = DemoTenantView, example = json!(examples::demo_tenant()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>) -> Answer {
    answer::json(&demo::get(app.engine().parts(), &caller, id).await?)
}

/// Makes another link into a demo tenant
///
/// It signs in as the owner, once, within a day. The link before is good no longer.
#[utoipa::path(post, path = "/v1/demo-tenants/{id}/link", operation_id = "create_demo_tenant_link", tag = "Tenants",
    responses((status = 201, description = "The demo tenant, with its new link.", body = DemoTenantView, example = json!(examples::new_demo_tenant()))))]
pub(crate) async fn link(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(demo::link(app.engine().parts(), &caller, &post.repeat, id).await?)
}

/// Deletes a demo tenant
///
/// Before its week is over. It is gone at once, and everything it had is removed within minutes.
#[utoipa::path(delete, path = "/v1/demo-tenants/{id}", operation_id = "delete_demo_tenant", tag = "Tenants",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<TenantId>) -> Answer {
    demo::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}
