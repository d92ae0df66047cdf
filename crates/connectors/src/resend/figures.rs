//! Metrics by day, and the suppression list.
//! <https://resend.com/docs/api-reference/suppressions/list-suppressions>

use model::{Answer, Method};
use serde_json::Value;

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{Day, Figures, Next, Period, Plan, Suppressed, SuppressedPage, Suppression, each, reply},
    read::text,
};

const PAGE: usize = 100;
/// What is asked for of each day.
const METRICS: &str = "sent,delivered,bounced,complained,unique_opened,unique_clicked";

pub(super) struct Metrics;

impl Figures for Metrics {
    fn statistics(&self, cx: &Cx<'_>, period: &Period, answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        if answers.is_empty() {
            let path = format!(
                "/emails/metrics?start_date={}T00:00:00.000Z&end_date={}T23:59:59.999Z&granularity=daily&metrics={METRICS}&dimensions=period",
                period.from, period.to
            );
            return Some(ask(cx, Method::Get, &path, None));
        }
        Some(reply(NAME, answers, 0).map(|body| Next::Done(each(&body, "/data").filter_map(day).collect())))
    }

    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        let origin = match list {
            Suppression::Bounces => "bounce",
            Suppression::Complaints => "complaint",
            // Resend keeps unsubscribes with its contacts, not with its mails.
            Suppression::Unsubscribes => return None,
        };
        if answers.is_empty() {
            let from = after.map_or_else(String::new, |id| format!("&after={id}"));
            return Some(ask(cx, Method::Get, &format!("/suppressions?limit={PAGE}&origin={origin}{from}"), None));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let last = each(&body, "/data").last().and_then(|row| text(row, "/id")).map(str::to_owned);
            let next = last.filter(|_| body["has_more"] == true);
            Next::Done(SuppressedPage { entries: each(&body, "/data").filter_map(entry).collect(), next })
        }))
    }
}

/// Days without mails are left out by Resend.
fn day(row: &Value) -> Option<Day> {
    let count = |name: &str| row.get(name).and_then(Value::as_f64).map(|count| count as i64);
    Some(Day {
        day: text(row, "/period")?.get(..10)?.to_owned(),
        sent: count("sent"),
        delivered: count("delivered"),
        bounced: count("bounced"),
        complained: count("complained"),
        opened: count("unique_opened"),
        clicked: count("unique_clicked"),
    })
}

fn entry(row: &Value) -> Option<Suppressed> {
    let reason = text(row, "/origin").map(str::to_owned);
    Some(Suppressed {
        address: text(row, "/email")?.to_owned(),
        reason,
        at: text(row, "/created_at").map(str::to_owned),
    })
}
