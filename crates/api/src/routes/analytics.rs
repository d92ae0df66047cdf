//! What became of messages, over time.

use axum::extract::State;
use engine::analytics::{AnalyticsQuery, AnalyticsView};

use crate::{
    App,
    answer::{self, Answer},
    extract::Who,
    formats::{Form, FormatQuery, Formed},
};

/// Tells figures over time
///
/// How many messages were accepted, sent, delivered, read, opened, clicked and so on, by period and group. A message counts in the period it was accepted in. The figures are written
/// with the messages, so they are exact and up to date. An operator without `Tidings-Tenant` sees every tenant, in UTC. As CSV the answer is a table without totals.
#[utoipa::path(get, path = "/v1/analytics", operation_id = "get_analytics", tag = "Usage", params(AnalyticsQuery, FormatQuery),
    responses((status = 200, description = "The figures.", content(
        (AnalyticsView = "application/json", example = json!({
            "since": "2026-11-01T00:00:00.000000Z", "until": "2026-12-01T00:00:00.000000Z", "timezone": "UTC", "interval": "month", "group_by": ["channel"],
            "data": [{"period": "2026-11-01T00:00:00.000000Z", "channel": "email", "accepted": 120, "sent": 118, "delivered": 110, "read": 0, "opened": 40, "machine_opened": 20, "clicked": 11, "machine_clicked": 3, "failed": 1, "bounced": 4, "failed_by_reason": {"recipient": 4, "opted_out": 0, "content": 0, "throttled": 0, "unavailable": 1, "account": 0, "unknown": 0}, "complained": 0, "unsubscribed": 1, "replied": 2, "canceled": 1, "expired": 0, "suppressed": 0, "unknown": 0, "segments": 0, "delivery_median_ms": 1400, "delivery_p95_ms": 8200, "response_median_ms": 240000, "response_p95_ms": 900000, "costs": [{"amount_micros": 900000, "currency": "USD"}], "cost_per_delivered": [{"amount_micros": 8181, "currency": "USD"}]}],
            "totals": {"accepted": 120, "sent": 118, "delivered": 110, "read": 0, "opened": 40, "machine_opened": 20, "clicked": 11, "machine_clicked": 3, "failed": 1, "bounced": 4, "failed_by_reason": {"recipient": 4, "opted_out": 0, "content": 0, "throttled": 0, "unavailable": 1, "account": 0, "unknown": 0}, "complained": 0, "unsubscribed": 1, "replied": 2, "canceled": 1, "expired": 0, "suppressed": 0, "unknown": 0, "segments": 0, "delivery_median_ms": 1400, "delivery_p95_ms": 8200, "response_median_ms": 240000, "response_p95_ms": 900000, "costs": [{"amount_micros": 900000, "currency": "USD"}], "cost_per_delivered": [{"amount_micros": 8181, "currency": "USD"}]},
        })),
        (String = "text/csv", example = json!("period,channel,accepted,sent\r\n2026-11-01T00:00:00.000000Z,email,120,118\r\n"))))))]
pub(crate) async fn get(
    State(app): State<App>,
    Who(caller): Who,
    Formed(query, wanted): Formed<AnalyticsQuery>,
) -> Answer {
    match wanted.of(&[Form::Json, Form::Csv])? {
        Form::Csv => Ok(answer::csv(app.engine().analytics_csv(&caller, &query).await?)),
        _ => answer::made(app.engine().analytics(&caller, &query).await?),
    }
}
