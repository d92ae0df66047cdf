//! Accounts: a tenant's own settings for a provider.

use axum::extract::State;
use engine::{
    accounts::{
        self, AccountCallbacks, AccountHealth, AccountPatch, AccountStats, AccountTest, AccountView, NewAccount,
        ProviderSuppressions,
    },
    page::Page,
};
use model::AccountId;
use serde::Deserialize;
use utoipa::IntoParams;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Adds an account
///
/// `GET /v1/connectors` says which settings each connector reads. Secrets are sealed before they are stored and come back as hints such as `••••1234`. The first
/// account for a channel becomes its default. Try it out with `POST /v1/accounts/{id}/test`.
#[utoipa::path(post, path = "/v1/accounts", operation_id = "create_account", tag = "Accounts",
    request_body(content = NewAccount, example = json!({
        "name": "Ticket mail", "connector": "smtp", "from": "Acme Tickets <tickets@acme.example>",
        "settings": {"host": "mail.acme.example", "port": 587, "security": "starttls", "username": "tickets", "password": "correct horse battery"},
    })),
    responses((status = 201, description = "The new account.", body = AccountView, example = json!(examples::account()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewAccount = read(&post.body)?;
    answer::reply(accounts::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists accounts
///
/// Newest first.
#[utoipa::path(get, path = "/v1/accounts", operation_id = "list_accounts", tag = "Accounts", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<AccountView>, example = json!(examples::page(examples::account())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&accounts::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows an account
///
/// With its state, why it is paused when it is, and where its provider reports to.
#[utoipa::path(get, path = "/v1/accounts/{id}", operation_id = "get_account", tag = "Accounts",
    responses((status = 200, description = "The account.", body = AccountView, example = json!(examples::account()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>) -> Answer {
    answer::json(&accounts::get(app.engine().parts(), &caller, id).await?)
}

/// Changes an account
///
/// JSON Merge Patch, also inside `settings`: fields left out keep their value, a secret sent back as its hint is kept. New settings or a new sender end a pause.
#[utoipa::path(patch, path = "/v1/accounts/{id}", operation_id = "update_account", tag = "Accounts",
    request_body(content = AccountPatch, example = json!({"settings": {"password": "a new one"}, "per_second": 20})),
    responses((status = 200, description = "The account as it is now.", body = AccountView, example = json!(examples::account()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>, Json(body): Json) -> Answer {
    let change: AccountPatch = read(&body)?;
    answer::json(&accounts::patch(app.engine().parts(), &caller, id, change).await?)
}

/// How an account is deleted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// True to delete it although messages wait for it: they leave through the channel's default account, or become dead letters with the reason.
    #[serde(default)]
    #[param(default = false)]
    force: bool,
}

/// Deletes an account
///
/// Its secrets are erased. Refused with 409 while messages wait for it or are on their way, unless `force` is true.
#[utoipa::path(delete, path = "/v1/accounts/{id}", operation_id = "delete_account", tag = "Accounts", params(DeleteQuery),
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<AccountId>,
    Args(query): Args<DeleteQuery>,
) -> Answer {
    let parts = app.engine().parts();
    if query.force {
        accounts::force_delete(parts, &caller, id).await?;
    } else {
        accounts::delete(parts, &caller, id).await?;
    }
    answer::nothing()
}

/// Tries an account out
///
/// Asks the provider whether credentials, sender and balance are in order. Sends no message.
#[utoipa::path(post, path = "/v1/accounts/{id}/test", operation_id = "test_account", tag = "Accounts",
    responses((status = 200, description = "What was found; `ok` is false when anything is not in order.", body = AccountTest,
        example = json!({"ok": false, "checks": [{"name": "Credentials", "ok": false, "detail": "The server refused the login (535 5.7.8). Update username and password."}]}))))]
pub(crate) async fn test(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(accounts::test(app.engine().parts(), &caller, &post.repeat, id).await?)
}

/// Shows what an account is doing
///
/// Its queue, what is on its way, what became of its recent messages, and what the provider itself counted in the last seven days, where it shows that.
#[utoipa::path(get, path = "/v1/accounts/{id}/stats", operation_id = "get_account_stats", tag = "Accounts",
    responses((status = 200, description = "The numbers at this moment.", body = AccountStats, example = json!({
        "state": "ready", "queued": 3, "in_flight": 1, "failures_in_a_row": 0,
        "recent": {"total": 120, "sent": 4, "delivered": 110, "read": 0, "failed": 2, "bounced": 4, "unknown": 0},
        "provider": {"days": [{"day": "2026-11-21", "sent": 118, "delivered": 110, "bounced": 4, "complained": 0, "opened": 61, "clicked": 12}], "trouble": null},
        "at": "2026-11-21T09:30:00.000000Z",
    }))))]
pub(crate) async fn stats(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>) -> Answer {
    answer::json(&accounts::stats(app.engine().parts(), &caller, id).await?)
}

/// Shows how an account does
///
/// Whether its circuit lets messages through, and what came of its attempts in the last 24 hours: success, throttling, how quickly its provider answered, the last error. Rules under
/// `/v1/routes` choose by the same numbers.
#[utoipa::path(get, path = "/v1/accounts/{id}/health", operation_id = "get_account_health", tag = "Accounts",
    responses((status = 200, description = "The figures at this moment.", body = AccountHealth, example = json!(examples::health()))))]
pub(crate) async fn health(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>) -> Answer {
    answer::json(&accounts::health_of(app.engine().parts(), &caller, id).await?)
}

/// Shows how callbacks are set up
///
/// Asks the provider where it reports to. Where it has no API for that, the answer holds the address to paste, and where.
#[utoipa::path(get, path = "/v1/accounts/{id}/callbacks", operation_id = "get_account_callbacks", tag = "Accounts",
    responses((status = 200, description = "What is set, and what is left to do by hand.", body = AccountCallbacks, example = json!(examples::callbacks()))))]
pub(crate) async fn callbacks(State(app): State<App>, Who(caller): Who, Id(id): Id<AccountId>) -> Answer {
    answer::json(&accounts::callbacks(app.engine().parts(), &caller, id).await?)
}

/// Sets callbacks up
///
/// Tells the provider over its API where to report to, and keeps the signing secrets it gives. Repeating it changes nothing.
#[utoipa::path(post, path = "/v1/accounts/{id}/callbacks", operation_id = "set_account_callbacks", tag = "Accounts",
    responses((status = 200, description = "What was done, and what is left to do by hand.", body = AccountCallbacks, example = json!(examples::callbacks()))))]
pub(crate) async fn set_callbacks(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<AccountId>,
    post: Post,
) -> Answer {
    post.must_be_empty()?;
    answer::reply(accounts::set_callbacks(app.engine().parts(), &caller, &post.repeat, id).await?)
}

/// Which list, and which page of it.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SuppressionsQuery {
    /// `bounces`, `complaints` or `unsubscribes`.
    #[param(default = "bounces")]
    list: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists whom the provider no longer writes to
///
/// The provider's own list, asked now. `offered` is false where it shows none.
#[utoipa::path(get, path = "/v1/accounts/{id}/suppressions", operation_id = "list_account_suppressions", tag = "Accounts", params(SuppressionsQuery),
    responses((status = 200, description = "One page, as long as the provider's.", body = ProviderSuppressions, example = json!({
        "offered": true, "data": [{"address": "ada@example.com", "reason": "550 5.1.1 No such user", "at": "2026-11-20T09:30:00.000000Z"}], "next_cursor": null,
    }))))]
pub(crate) async fn suppressions(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<AccountId>,
    Args(query): Args<SuppressionsQuery>,
) -> Answer {
    let (list, cursor) = (query.list.as_deref(), query.cursor.as_deref());
    answer::json(&accounts::suppressions(app.engine().parts(), &caller, id, list, cursor).await?)
}
