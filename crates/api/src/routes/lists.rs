//! Lists of contacts.

use axum::extract::State;
use engine::{
    contacts::{
        ContactView,
        lists::{self, ListPatch, ListView, Members, MembersChanged, NewList, Way},
    },
    page::Page,
};
use model::ListId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a list
///
/// Empty at first. Contacts come onto it by `POST /v1/lists/{id}/contacts` or by an import.
#[utoipa::path(post, path = "/v1/lists", operation_id = "create_list", tag = "Lists",
    request_body(content = NewList, example = json!({"name": "Newsletter", "description": "Monthly, in English"})),
    responses((status = 201, description = "The new list.", body = ListView, example = json!(examples::list()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewList = read(&post.body)?;
    answer::reply(lists::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists lists
///
/// Newest first.
#[utoipa::path(get, path = "/v1/lists", operation_id = "list_lists", tag = "Lists", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ListView>, example = json!(examples::page(examples::list())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&lists::list(app.engine(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows a list
///
/// With how many contacts are on it.
#[utoipa::path(get, path = "/v1/lists/{id}", operation_id = "get_list", tag = "Lists",
    responses((status = 200, description = "The list.", body = ListView, example = json!(examples::list()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ListId>) -> Answer {
    answer::json(&lists::get(app.engine(), &caller, id).await?)
}

/// Changes a list
///
/// JSON Merge Patch: fields left out keep their value.
#[utoipa::path(patch, path = "/v1/lists/{id}", operation_id = "update_list", tag = "Lists",
    request_body(content = ListPatch, example = json!({"name": "Newsletter, English"})),
    responses((status = 200, description = "The list as it is now.", body = ListView, example = json!(examples::list()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<ListId>, Json(body): Json) -> Answer {
    let change: ListPatch = read(&body)?;
    answer::json(&lists::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a list
///
/// The contacts stay.
#[utoipa::path(delete, path = "/v1/lists/{id}", operation_id = "delete_list", tag = "Lists",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<ListId>) -> Answer {
    lists::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Puts contacts on a list
///
/// Up to 10,000 at once, all or none. Those that are on it already stay.
#[utoipa::path(post, path = "/v1/lists/{id}/contacts", operation_id = "add_to_list", tag = "Lists",
    request_body(content = Members, example = json!({"contact_ids": ["con_01K9ZCB1C2D3E4F5G6H7J8K9M0"]})),
    responses((status = 200, description = "How many are new on it.", body = MembersChanged, example = json!({"changed": 1, "contacts": 1205}))))]
pub(crate) async fn add(State(app): State<App>, Who(caller): Who, Id(id): Id<ListId>, post: Post) -> Answer {
    let members: Members = read(&post.body)?;
    answer::reply(lists::change_members(app.engine(), &caller, &post.repeat, id, Way::Add, members).await?)
}

/// Takes contacts off a list
///
/// Up to 10,000 at once. Those that are not on it are passed over.
#[utoipa::path(post, path = "/v1/lists/{id}/contacts/remove", operation_id = "remove_from_list", tag = "Lists",
    request_body(content = Members, example = json!({"contact_ids": ["con_01K9ZCB1C2D3E4F5G6H7J8K9M0"]})),
    responses((status = 200, description = "How many were on it.", body = MembersChanged, example = json!({"changed": 1, "contacts": 1204}))))]
pub(crate) async fn remove(State(app): State<App>, Who(caller): Who, Id(id): Id<ListId>, post: Post) -> Answer {
    let members: Members = read(&post.body)?;
    answer::reply(lists::change_members(app.engine(), &caller, &post.repeat, id, Way::Remove, members).await?)
}

/// Lists the contacts on a list
///
/// Newest contact first.
#[utoipa::path(get, path = "/v1/lists/{id}/contacts", operation_id = "list_list_contacts", tag = "Lists", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ContactView>, example = json!(examples::page(examples::contact())))))]
pub(crate) async fn members(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ListId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    answer::json(&lists::members(app.engine(), &caller, id, query.limit, query.cursor.as_deref()).await?)
}
