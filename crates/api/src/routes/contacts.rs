//! Contacts, and the attributes a tenant gives them.

use axum::extract::State;
use engine::{
    contacts::{
        self, ContactEntry, ContactPatch, ContactQuery, ContactView, ErasureView, MergeRequest, NewContact,
        attributes::{self, AttributeView, NewAttribute},
    },
    page::Page,
};
use model::ContactId;
use serde::Deserialize;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Named, Post, Who, read},
};

/// Adds a contact
///
/// Recognised by `external_id`, `email`, `phone` or `telegram_chat_id`, each of which one contact can have: what another one has already is answered 409 with its id.
/// Attributes are declared first, with `POST /v1/contact-attributes`.
#[utoipa::path(post, path = "/v1/contacts", operation_id = "create_contact", tag = "Contacts",
    request_body(content = NewContact, example = json!({"external_id": "customer-42", "first_name": "Ada", "last_name": "Lovelace", "email": "ada@example.com",
        "phone": "+15550100002", "language": "en-GB", "timezone": "Europe/London"})),
    responses((status = 201, description = "The new contact.", body = ContactView, example = json!(examples::contact()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewContact = read(&post.body)?;
    answer::reply(contacts::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Lists contacts
///
/// Newest first.
#[utoipa::path(get, path = "/v1/contacts", operation_id = "list_contacts", tag = "Contacts", params(ContactQuery),
    responses((status = 200, description = "One page.", body = Page<ContactView>, example = json!(examples::page(examples::contact())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<ContactQuery>) -> Answer {
    answer::json(&contacts::list(app.engine(), &caller, &query).await?)
}

/// Shows a contact
///
/// With its attributes.
#[utoipa::path(get, path = "/v1/contacts/{id}", operation_id = "get_contact", tag = "Contacts",
    responses((status = 200, description = "The contact.", body = ContactView, example = json!(examples::contact()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>) -> Answer {
    answer::json(&contacts::get(app.engine(), &caller, id).await?)
}

/// Changes a contact
///
/// JSON Merge Patch: fields left out keep their value, `null` removes one, also inside `attributes`.
#[utoipa::path(patch, path = "/v1/contacts/{id}", operation_id = "update_contact", tag = "Contacts",
    request_body(content = ContactPatch, example = json!({"phone": "+15550100003", "timezone": null})),
    responses((status = 200, description = "The contact as it is now.", body = ContactView, example = json!(examples::contact()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>, Json(body): Json) -> Answer {
    let change: ContactPatch = read(&body)?;
    answer::json(&contacts::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a contact
///
/// With its places in lists. Its messages stay, without a contact to look at.
#[utoipa::path(delete, path = "/v1/contacts/{id}", operation_id = "delete_contact", tag = "Contacts",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>) -> Answer {
    contacts::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}

/// Merges a duplicate into a contact
///
/// The contact keeps its fields and gets those it lacks from the duplicate, with its messages and places in lists. The duplicate is gone then.
#[utoipa::path(post, path = "/v1/contacts/{id}/merge", operation_id = "merge_contacts", tag = "Contacts",
    request_body(content = MergeRequest, example = json!({"from": "con_01K9ZCB7J8K9M0N1P2Q3R4S5T6"})),
    responses((status = 200, description = "The contact as it is now.", body = ContactView, example = json!(examples::contact()))))]
pub(crate) async fn merge(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>, post: Post) -> Answer {
    let request: MergeRequest = read(&post.body)?;
    answer::reply(contacts::merge(app.engine(), &caller, &post.repeat, id, request).await?)
}

/// Erases a contact
///
/// Its addresses, and what it was told and wrote, go from messages, attempts, events and logs; the messages still count. What waits is withdrawn, and its addresses stay on
/// the suppression list as keyed hashes. Messages to it that repeat are removed, it is taken out of campaigns that name it, and files that came with messages to it alone go. Uploads are yours to delete.
/// This cannot be undone.
#[utoipa::path(post, path = "/v1/contacts/{id}/erase", operation_id = "erase_contact", tag = "Contacts",
    responses((status = 200, description = "What was emptied.", body = ErasureView, example = json!(examples::erasure()))))]
pub(crate) async fn erase(State(app): State<App>, Who(caller): Who, Id(id): Id<ContactId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(contacts::erase(app.engine(), &caller, &post.repeat, id).await?)
}

/// Shows what was between you and a contact
///
/// Messages both ways over all channels, newest first.
#[utoipa::path(get, path = "/v1/contacts/{id}/timeline", operation_id = "get_contact_timeline", tag = "Contacts", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ContactEntry>, example = json!(examples::page(examples::contact_entry())))))]
pub(crate) async fn timeline(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<ContactId>,
    Args(query): Args<PageQuery>,
) -> Answer {
    answer::json(&contacts::timeline(app.engine(), &caller, id, query.limit, query.cursor.as_deref()).await?)
}

/// Declares an attribute
///
/// Contacts can then have a value of this type under its name. Up to 20 texts and lists, and as many numbers, dates and flags.
#[utoipa::path(post, path = "/v1/contact-attributes", operation_id = "create_contact_attribute", tag = "Contacts",
    request_body(content = NewAttribute, example = json!({"name": "plan", "type": "text"})),
    responses((status = 201, description = "The new attribute.", body = AttributeView, example = json!(examples::contact_attribute()))))]
pub(crate) async fn create_attribute(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewAttribute = read(&post.body)?;
    answer::reply(attributes::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Nothing to choose: the list is always whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoQuery {}

/// Lists attributes
///
/// All of them, by name.
#[utoipa::path(get, path = "/v1/contact-attributes", operation_id = "list_contact_attributes", tag = "Contacts",
    responses((status = 200, description = "All attributes.", body = Page<AttributeView>, example = json!(examples::page(examples::contact_attribute())))))]
pub(crate) async fn list_attributes(
    State(app): State<App>,
    Who(caller): Who,
    Args(NoQuery {}): Args<NoQuery>,
) -> Answer {
    answer::json(&attributes::list(app.engine(), &caller).await?)
}

/// Removes an attribute
///
/// With the values all contacts have of it.
#[utoipa::path(delete, path = "/v1/contact-attributes/{name}", operation_id = "delete_contact_attribute", tag = "Contacts",
    responses((status = 204, description = "It is removed.")))]
pub(crate) async fn delete_attribute(State(app): State<App>, Who(caller): Who, Named(name): Named) -> Answer {
    attributes::delete(app.engine(), &caller, name).await?;
    answer::nothing()
}
