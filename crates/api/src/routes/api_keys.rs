//! API keys: a tenant's, or the operator's own when it acts outside of any tenant.

use axum::extract::State;
use engine::{
    keys::{self, ApiKeyView, NewApiKey, NewApiKeyView},
    page::Page,
};
use model::KeyId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Post, Who, read},
};

/// Makes an API key
///
/// The key itself is in this answer and never again: only its hash is kept. A key can make keys that may do no more than itself. An operator without `Tidings-Tenant`
/// makes an operator's key.
#[utoipa::path(post, path = "/v1/api-keys", operation_id = "create_api_key", tag = "Keys",
    request_body(content = NewApiKey, example = json!({"name": "Ticket shop", "scopes": ["messages:write", "messages:read"], "ip_allow_list": ["192.0.2.0/24"]})),
    responses((status = 201, description = "The new key.", body = NewApiKeyView, example = json!(examples::new_api_key()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewApiKey = read(&post.body)?;
    answer::reply(keys::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists API keys
///
/// Those that were not revoked, newest first, without the keys themselves.
#[utoipa::path(get, path = "/v1/api-keys", operation_id = "list_api_keys", tag = "Keys", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<ApiKeyView>, example = json!(examples::page(examples::api_key())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&keys::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Revokes an API key
///
/// Requests that use it answer 401 from now on, on every node within a second.
#[utoipa::path(delete, path = "/v1/api-keys/{id}", operation_id = "revoke_api_key", tag = "Keys",
    responses((status = 204, description = "It is revoked.")))]
pub(crate) async fn revoke(State(app): State<App>, Who(caller): Who, Id(id): Id<KeyId>) -> Answer {
    keys::revoke(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}
