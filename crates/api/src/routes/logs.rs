//! Who changed what, and what providers sent us.

use axum::extract::State;
use engine::{
    audit::{self, AuditEntry},
    callbacks::{CallbackQuery, CallbackView},
    page::Page,
};
use model::CallbackId;

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Who},
};

/// Lists the audit log
///
/// Who changed what, when and from where, newest first. Secrets are never in it. An operator without `Tidings-Tenant` sees the installation's own.
#[utoipa::path(get, path = "/v1/audit-log", operation_id = "list_audit_log", tag = "Logs", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<AuditEntry>, example = json!(examples::page(examples::audit_entry())))))]
pub(crate) async fn audit(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&audit::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Lists the callback log
///
/// What providers sent, newest first, as it was stored and with what was found about it: start here when a receipt is missing. Kept for 30 days.
#[utoipa::path(get, path = "/v1/callback-log", operation_id = "list_callback_log", tag = "Logs", params(CallbackQuery),
    responses((status = 200, description = "One page.", body = Page<CallbackView>, example = json!(examples::page(examples::callback())))))]
pub(crate) async fn callbacks(State(app): State<App>, Who(caller): Who, Args(query): Args<CallbackQuery>) -> Answer {
    answer::made(app.engine().callback_log(&caller, &query).await?)
}

/// Shows a callback
///
/// One request of a provider with its whole body.
#[utoipa::path(get, path = "/v1/callback-log/{id}", operation_id = "get_callback", tag = "Logs",
    responses((status = 200, description = "The request.", body = CallbackView, example = json!(examples::callback()))))]
pub(crate) async fn callback(State(app): State<App>, Who(caller): Who, Id(id): Id<CallbackId>) -> Answer {
    answer::made(app.engine().callback_entry(&caller, id).await?)
}
