//! What was sent, counted.

use axum::extract::State;
use engine::usage::{UsageQuery, UsageView};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    App,
    answer::{self, Answer},
    extract::Who,
    formats::{Form, FormatQuery, Formed},
};

/// Which usage.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// The month (UTC) in which messages were accepted; the current one by default.
    #[param(example = "2026-11")]
    month: Option<String>,
    /// Only this day (UTC) of the month.
    #[param(example = "2026-11-29")]
    day: Option<String>,
    /// `day`, `channel`, `provider`, `account`, `purpose`, `country`, `campaign` in any combination, separated by commas; `channel,provider,purpose` by default. An operator outside
    /// of a tenant has `tenant` as well.
    #[param(example = "channel,provider")]
    group_by: Option<String>,
}

/// Tells the usage of a month or a day
///
/// Messages by the month they were accepted in, counted in the transactions that wrote them. An operator without `Tidings-Tenant` sees every tenant.
#[utoipa::path(get, path = "/v1/usage", operation_id = "get_usage", tag = "Usage", params(Query, FormatQuery),
    responses((status = 200, description = "The usage.", content(
        (UsageView = "application/json", example = json!({
            "month": "2026-11", "group_by": ["channel", "provider"],
            "data": [{"channel": "email", "provider": "smtp", "accepted": 120, "sent": 118, "delivered": 110, "read": 0, "failed": 1, "bounced": 4, "canceled": 1, "expired": 0, "suppressed": 0, "unknown": 0, "segments": 0, "recipients": 118, "bytes": 1_415_230}],
            "totals": {"accepted": 120, "sent": 118, "delivered": 110, "read": 0, "failed": 1, "bounced": 4, "canceled": 1, "expired": 0, "suppressed": 0, "unknown": 0, "segments": 0, "recipients": 118, "bytes": 1_415_230},
        })),
        (String = "text/csv", example = json!("month,channel,provider,accepted,sent\r\n2026-11,email,smtp,120,118\r\n"))))))]
pub(crate) async fn get(State(app): State<App>, Who(caller): Who, Formed(query, wanted): Formed<Query>) -> Answer {
    let asked = UsageQuery { month: query.month, day: query.day, group_by: query.group_by };
    match wanted.of(&[Form::Json, Form::Csv])? {
        Form::Csv => Ok(answer::csv(app.engine().usage_csv(&caller, &asked).await?)),
        _ => answer::made(app.engine().usage(&caller, &asked).await?),
    }
}
