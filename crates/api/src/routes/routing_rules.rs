//! Rules about which account a message leaves through.

use axum::extract::State;
use engine::routing::{self, NewRoute, RouteList, RoutePatch, RouteTrial, RouteView, TrialView};
use model::{Channel, RouteId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    examples,
    extract::{Args, Id, Json, Post, Who, read},
};

/// Makes a routing rule
///
/// Rules of a channel are asked in their order; the first that matches a message chooses among its accounts: `priority` as listed, `weight` by shares, `lowest_price`,
/// `best_delivery_rate` and `health` of the last hours. Accounts that are disabled, deleted or failing are skipped, and when an attempt is throttled, cannot reach the provider or fails
/// because of the account, the message goes on through the next one. When none works, `otherwise` says whether the next rule is asked (`next_rule`) or the message waits (`wait`).
/// Messages that name their `account_id` or `sender_id` are not routed. At most 100 rules.
#[utoipa::path(post, path = "/v1/routes", operation_id = "create_route", tag = "Routing",
    request_body(content = NewRoute, example = json!(examples::new_route())),
    responses((status = 201, description = "The new rule.", body = RouteView, example = json!(examples::route()))))]
pub(crate) async fn create(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let new: NewRoute = read(&post.body)?;
    answer::reply(routing::create(app.engine(), &caller, &post.repeat, new).await?)
}

/// Which rules a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RoutesQuery {
    /// Those about this channel.
    #[param(value_type = Option<String>, example = "sms")]
    channel: Option<Channel>,
}

/// Lists routing rules
///
/// By channel, and in the order they are asked. There are few, so this list has no pages.
#[utoipa::path(get, path = "/v1/routes", operation_id = "list_routes", tag = "Routing", params(RoutesQuery),
    responses((status = 200, description = "All rules.", body = RouteList, example = json!({"data": [examples::route()]}))))]
pub(crate) async fn list(State(app): State<App>, Who(caller): Who, Args(query): Args<RoutesQuery>) -> Answer {
    answer::json(&routing::list(app.engine(), &caller, query.channel).await?)
}

/// Tries the rules on a message
///
/// Says which account it would leave through now and why, without sending or keeping anything. A rule that chooses by weight draws anew each time.
#[utoipa::path(post, path = "/v1/routes/try", operation_id = "try_routes", tag = "Routing",
    request_body(content = RouteTrial, example = json!({"channel": "sms", "to": {"phone": "+254700000001"}, "purpose": "marketing"})),
    responses((status = 200, description = "The decision.", body = TrialView, example = json!(examples::route_trial()))))]
pub(crate) async fn try_out(State(app): State<App>, Who(caller): Who, post: Post) -> Answer {
    let trial: RouteTrial = read(&post.body)?;
    answer::json(&routing::try_out(app.engine(), &caller, trial).await?)
}

/// Shows a routing rule
///
/// With what is wrong with its accounts, if anything is.
#[utoipa::path(get, path = "/v1/routes/{id}", operation_id = "get_route", tag = "Routing",
    responses((status = 200, description = "The rule.", body = RouteView, example = json!(examples::route()))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Id(id): Id<RouteId>) -> Answer {
    answer::json(&routing::get(app.engine(), &caller, id).await?)
}

/// Changes or moves a routing rule
///
/// JSON Merge Patch, except that `match`, `choose` and `accounts` are replaced as a whole. With another `position` the other rules of the channel move.
#[utoipa::path(patch, path = "/v1/routes/{id}", operation_id = "update_route", tag = "Routing",
    request_body(content = RoutePatch, example = json!({"position": 1, "match": {"countries": ["KE", "UG"]}})),
    responses((status = 200, description = "The rule as it is now.", body = RouteView, example = json!(examples::route()))))]
pub(crate) async fn patch(State(app): State<App>, Who(caller): Who, Id(id): Id<RouteId>, Json(body): Json) -> Answer {
    let change: RoutePatch = read(&body)?;
    answer::json(&routing::patch(app.engine(), &caller, id, change).await?)
}

/// Deletes a routing rule
///
/// Those behind it move up. Messages it decided about go on.
#[utoipa::path(delete, path = "/v1/routes/{id}", operation_id = "delete_route", tag = "Routing",
    responses((status = 204, description = "It is deleted.")))]
pub(crate) async fn delete(State(app): State<App>, Who(caller): Who, Id(id): Id<RouteId>) -> Answer {
    routing::delete(app.engine(), &caller, id).await?;
    answer::nothing()
}
