//! Alerts: what is the matter, and the rules that say so.

use axum::extract::State;
use engine::{
    alerts::{self, AlertQuery, AlertRulePatch, AlertRuleTest, AlertRuleView, AlertView, NewAlertRule, Note, rules},
    page::Page,
};
use model::{AlertId, AlertRuleId};

use super::PageQuery;
use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Lists alerts
///
/// Newest first. `state=open` are those that are not over. An operator without `Tidings-Tenant` sees the installation's own.
#[utoipa::path(get, path = "/v1/alerts", operation_id = "list_alerts", tag = "Alerts", params(AlertQuery),
    responses((status = 200, description = "One page.", body = Page<AlertView>, example = json!(examples::page(examples::alert())))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<AlertQuery>) -> Answer {
    answer::json(&alerts::list(app.engine().parts(), &caller, &query).await?)
}

/// Shows an alert
///
/// With what was seen, in words, and what to do; and with everybody who is told by letter, how far each letter is and why it was not accepted, where it was not.
#[utoipa::path(get, path = "/v1/alerts/{id}", operation_id = "get_alert", tag = "Alerts",
    responses((status = 200, description = "The alert.", body = AlertView, example = json!(examples::alert()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertId>) -> Answer {
    answer::json(&alerts::get(app.engine().parts(), &caller, id).await?)
}

/// Acknowledges an alert
///
/// Says that somebody takes care of it: no reminders are sent. It is over by itself when what it is about is.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", operation_id = "acknowledge_alert", tag = "Alerts",
    request_body(content = Note, example = json!({"note": "Rotated the token, watching it."})),
    responses((status = 200, description = "The alert as it is now.", body = AlertView, example = json!(examples::alert()))))]
pub(crate) async fn acknowledge(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertId>, post: Post) -> Answer {
    let note = note(&post)?;
    answer::reply(alerts::acknowledge(app.engine(), &caller, &post.repeat, id, note).await?)
}

/// Resolves an alert
///
/// Says that it is over. The same subject does not fire again before the rule's quiet period has passed.
#[utoipa::path(post, path = "/v1/alerts/{id}/resolve", operation_id = "resolve_alert", tag = "Alerts",
    request_body(content = Note, example = json!({"note": "A planned campaign."})),
    responses((status = 200, description = "The alert as it is now.", body = AlertView, example = json!(examples::alert()))))]
pub(crate) async fn resolve(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertId>, post: Post) -> Answer {
    let note = note(&post)?;
    answer::reply(alerts::resolve(app.engine(), &caller, &post.repeat, id, note).await?)
}

/// A note may be left out with the whole body.
fn note(post: &Post) -> Result<Note, engine::Error> {
    if post.body.is_empty() { Ok(Note::default()) } else { read(&post.body) }
}

/// Makes an alert rule
///
/// Everybody has a rule of each kind but budgets from the start; further ones may be stricter about one channel or account, or tell others. A budget is in one currency: what messages cost in others
/// stands in `other_costs`, and wants a rule for each.
#[utoipa::path(post, path = "/v1/alert-rules", operation_id = "create_alert_rule", tag = "Alerts",
    request_body(content = NewAlertRule, example = json!({"kind": "bounce_rate", "name": "Newsletter bounces", "threshold": 3.5, "deliver": [{"channel": "email", "to": "ops@acme.example"}]})),
    responses((status = 201, description = "The new rule.", body = AlertRuleView, example = json!(examples::alert_rule()))))]
pub(crate) async fn create_rule(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewAlertRule = read(&post.body)?;
    answer::reply(rules::create(app.engine().parts(), &caller, &post.repeat, new).await?)
}

/// Lists alert rules
///
/// Newest first; the ones everybody has from the start are among them.
#[utoipa::path(get, path = "/v1/alert-rules", operation_id = "list_alert_rules", tag = "Alerts", params(PageQuery),
    responses((status = 200, description = "One page.", body = Page<AlertRuleView>, example = json!(examples::page(examples::alert_rule())))))]
pub(crate) async fn list_rules(State(app): State<App>, Who(caller): Who, Args(query): Args<PageQuery>) -> Answer {
    answer::json(&rules::list(app.engine().parts(), &caller, query.limit, query.cursor.as_deref()).await?)
}

/// Shows an alert rule
///
/// With what it watches, in a sentence.
#[utoipa::path(get, path = "/v1/alert-rules/{id}", operation_id = "get_alert_rule", tag = "Alerts",
    responses((status = 200, description = "The rule.", body = AlertRuleView, example = json!(examples::alert_rule()))))]
pub(crate) async fn get_rule(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertRuleId>) -> Answer {
    answer::json(&rules::get(app.engine().parts(), &caller, id).await?)
}

/// Changes an alert rule
///
/// JSON Merge Patch; `null` brings a default back. What it watches stays.
#[utoipa::path(patch, path = "/v1/alert-rules/{id}", operation_id = "update_alert_rule", tag = "Alerts",
    request_body(content = AlertRulePatch, example = json!({"threshold": 2.5, "quiet_s": 3600})),
    responses((status = 200, description = "The rule as it is now.", body = AlertRuleView, example = json!(examples::alert_rule()))))]
pub(crate) async fn patch_rule(
    State(app): State<App>,
    Who(caller): Who,
    Id(id): Id<AlertRuleId>,
    Json(body): Json,
) -> Answer {
    let change: AlertRulePatch = read(&body)?;
    answer::json(&rules::patch(app.engine().parts(), &caller, id, change).await?)
}

/// Deletes an alert rule
///
/// What fires under it is over then, ended by whoever deletes it. To keep a rule without watching, set `enabled` to false.
#[utoipa::path(delete, path = "/v1/alert-rules/{id}", operation_id = "delete_alert_rule", tag = "Alerts",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete_rule(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertRuleId>) -> Answer {
    rules::delete(app.engine().parts(), &caller, id).await?;
    answer::nothing()
}

/// Tests an alert rule
///
/// Sends a letter to everybody the rule tells, through Tidings itself, to see whether it arrives. It counts and costs as any message; `letters` says of each why it was not accepted, where it was not. In a
/// day of UTC tests write 200 letters, 10 of them to one receiver.
#[utoipa::path(post, path = "/v1/alert-rules/{id}/test", operation_id = "test_alert_rule", tag = "Alerts",
    responses((status = 200, description = "Who was written to.", body = AlertRuleTest, example = json!({"receivers": [{"channel": "email", "to": "ops@acme.example"}], "letters": [examples::alert_letter()]}))))]
pub(crate) async fn test_rule(State(app): State<App>, Who(caller): Who, Id(id): Id<AlertRuleId>, post: Post) -> Answer {
    post.must_be_empty()?;
    answer::reply(alerts::test(app.engine(), &caller, &post.repeat, id).await?)
}
