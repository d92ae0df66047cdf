//! Who changed what, and what providers sent us.

use axum::extract::State;
use engine::{
    audit::{self, AuditEntry, AuditQuery},
    callbacks::{CallbackQuery, CallbackView},
    export::Format,
    page::Page,
};
use model::{CallbackId, TenantId, Timestamp};

use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Who},
    formats::{FormatQuery, Formed},
};

/// Lists the audit log
///
/// Who changed what, when and from where, newest first; by who did it, what was done (`account.*` for all about accounts), about which noun, to what, when, and by a word. Secrets are never in it. An operator without
/// `Tidings-Tenant` sees the installation's own, with what its staff and keys did in tenants: by `tenant_id`, also when that is gone.
#[utoipa::path(get, path = "/v1/audit-log", operation_id = "list_audit_log", tag = "Logs", params(AuditQuery),
    responses((status = 200, description = "One page.", body = Page<AuditEntry>, example = json!(examples::page(examples::audit_entry())))))]
pub(crate) async fn audit(State(app): State<App>, Who(caller): Who, Args(query): Args<AuditQuery>) -> Answer {
    answer::json(&audit::search(app.engine().parts(), &caller, &query).await?)
}

/// Which entries, as which file.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditFileQuery {
    /// Only what this one did: an API key's or user's id, `system`, or `operator` for its staff and keys, as far as entries say of what kind who did it was: those from before that was kept
    /// (`actor_kind` is `null`) are found by the id of the key or user only.
    actor: Option<String>,
    /// Only this action, as `account.updated`, or all about a noun, as `account.*`.
    #[param(example = "account.*")]
    action: Option<String>,
    /// Only what is about this noun: `account`, `campaign`, `suppression` and so on.
    #[param(example = "suppression")]
    about: Option<String>,
    /// Only with this text in the subject, the actor or the detail.
    q: Option<String>,
    /// Only what was done to this one: an id.
    subject: Option<String>,
    /// In the operator's log: only what was done in this tenant, or to it, also when it is gone.
    #[param(value_type = Option<String>)]
    tenant_id: Option<TenantId>,
    /// Made at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Made before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// `Next-Cursor` of the file before.
    cursor: Option<String>,
}

/// Exports the audit log
///
/// As a file of up to 10,000 entries, newest first. When there are more, the header `Next-Cursor` leads to the next file. That it was exported is an entry itself.
#[utoipa::path(get, path = "/v1/audit-log/export", operation_id = "export_audit_log", tag = "Logs", params(AuditFileQuery, FormatQuery),
    responses((status = 200, description = "The file.",
        headers(("Next-Cursor" = String, description = "Give this as `cursor` to get the next file; missing at the end.")),
        content(
            (String = "application/x-ndjson", example = json!("{\"id\":\"aud_01K9ZC8Q6T7Y2V5B3N4M1XWRSD\",\"action\":\"account.updated\"}\n")),
            (String = "text/csv", example = json!("id,at,actor,action,subject,detail,ip,agent,tenant_id,tenant_name,actor_kind,actor_name\r\n")),
        ))))]
pub(crate) async fn export_audit(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<AuditFileQuery>,
) -> Answer {
    let format = wanted.file(Format::Ndjson)?;
    let AuditFileQuery { actor, action, about, q, subject, tenant_id, since, until, cursor } = query;
    let asked = AuditQuery { actor, action, about, q, subject, tenant_id, since, until, limit: None, cursor };
    let parts = app.engine().parts();
    let file = audit::export(parts, &caller, &asked, format).await?;
    Ok(answer::file(file))
}

/// Lists the callback log
///
/// What providers sent, newest first, as it was stored and with what was found about it: start here when a receipt is missing. Kept for 30 days. An operator without `Tidings-Tenant` sees what
/// its payment provider told of all tenants' payments, without what says who paid: by `event_type`, `event_id`, and `tenant_id`, also when that is gone.
#[utoipa::path(get, path = "/v1/callback-log", operation_id = "list_callback_log", tag = "Logs", params(CallbackQuery),
    responses((status = 200, description = "One page.", body = Page<CallbackView>, example = json!(examples::page(examples::callback())))))]
pub(crate) async fn callbacks(State(app): State<App>, Who(caller): Who, Args(query): Args<CallbackQuery>) -> Answer {
    answer::made(app.engine().callback_log(&caller, &query).await?)
}

/// Shows a callback
///
/// One request of a provider with its whole body. Of the payment provider's, as in the example, what says who paid is replaced, and 64 KiB are kept.
#[utoipa::path(get, path = "/v1/callback-log/{id}", operation_id = "get_callback", tag = "Logs",
    responses((status = 200, description = "The request.", body = CallbackView, example = json!(examples::payment_callback()))))]
pub(crate) async fn callback(State(app): State<App>, Who(caller): Who, Id(id): Id<CallbackId>) -> Answer {
    answer::made(app.engine().callback_entry(&caller, id).await?)
}
