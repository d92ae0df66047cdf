//! Statistics by day, and the suppression lists.
//! <https://www.twilio.com/docs/sendgrid/api-reference/stats/retrieve-global-email-statistics>

use model::{Answer, Method, Timestamp};
use serde_json::Value;

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{Day, Figures, Next, Period, Plan, Suppressed, SuppressedPage, Suppression, reply},
    read::text,
};

const PAGE: usize = 100;

pub(super) struct Stats;

impl Figures for Stats {
    fn statistics(&self, cx: &Cx<'_>, period: &Period, answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        if answers.is_empty() {
            let path = format!("/v3/stats?start_date={}&end_date={}&aggregated_by=day", period.from, period.to);
            return Some(ask(cx, Method::Get, &path, None));
        }
        Some(
            reply(NAME, answers, 0)
                .map(|body| Next::Done(body.as_array().into_iter().flatten().filter_map(day).collect())),
        )
    }

    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        let offset: usize = after.and_then(|after| after.parse().ok()).unwrap_or(0);
        if answers.is_empty() {
            let name = match list {
                Suppression::Bounces => "bounces",
                Suppression::Complaints => "spam_reports",
                Suppression::Unsubscribes => "unsubscribes",
            };
            return Some(ask(cx, Method::Get, &format!("/v3/suppression/{name}?limit={PAGE}&offset={offset}"), None));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let rows = body.as_array().map(Vec::as_slice).unwrap_or_default();
            let next = (rows.len() == PAGE).then(|| (offset + PAGE).to_string());
            Next::Done(SuppressedPage { entries: rows.iter().filter_map(entry).collect(), next })
        }))
    }
}

fn day(row: &Value) -> Option<Day> {
    let metric = |name: &str| row.pointer(&format!("/stats/0/metrics/{name}")).and_then(Value::as_i64);
    Some(Day {
        day: text(row, "/date")?.to_owned(),
        // It took what it then dropped, such as a mail to a suppressed address; only the rest is `processed`.
        sent: metric("requests").or_else(|| metric("processed")),
        delivered: metric("delivered"),
        bounced: metric("bounces"),
        complained: metric("spam_reports"),
        opened: metric("unique_opens"),
        clicked: metric("unique_clicks"),
    })
}

fn entry(row: &Value) -> Option<Suppressed> {
    let at = row.get("created").and_then(Value::as_i64).map(|seconds| Timestamp::from_seconds(seconds).to_string());
    Some(Suppressed { address: text(row, "/email")?.to_owned(), reason: text(row, "/reason").map(str::to_owned), at })
}
