//! The account's sending statistics and its suppression list.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ListSuppressedDestinations.html>
//!
//! Statistics come from version 1 of the API, which every account may use: those of version 2 need the Virtual Deliverability Manager, which costs money. They
//! know attempts, bounces and complaints; deliveries and openings are only told by events.

use std::collections::BTreeMap;

use model::{Answer, HttpCall, Method, Timestamp};
use serde_json::Value;

use super::{
    Settings, base,
    callbacks::query_reply,
    domains::{NAME, call},
    sign,
};
use crate::{
    Cx,
    aws::xml,
    manage::{self, Day, Figures, Next, Period, Plan, Suppressed, SuppressedPage, Suppression, each, reply},
    read::text,
};

const PAGE: usize = 100;
/// It shows the last two weeks: whole days before the running one.
/// <https://docs.aws.amazon.com/ses/latest/APIReference/API_GetSendStatistics.html>
const DAYS_KEPT: u16 = 13;

pub(super) struct Statistics;

impl Figures for Statistics {
    fn statistics(&self, cx: &Cx<'_>, period: &Period, answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        Some(if answers.is_empty() { ask(cx) } else { days(period, answers) })
    }

    fn days_kept(&self) -> Option<u16> {
        Some(DAYS_KEPT)
    }

    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        let reason = match list {
            Suppression::Bounces => "BOUNCE",
            Suppression::Complaints => "COMPLAINT",
            Suppression::Unsubscribes => return None,
        };
        if answers.is_empty() {
            let mut query = url::form_urlencoded::Serializer::new(String::new());
            query.append_pair("Reason", reason).append_pair("PageSize", &PAGE.to_string());
            if let Some(after) = after {
                query.append_pair("NextToken", after);
            }
            return Some(call(cx, Method::Get, &format!("/suppression/addresses?{}", query.finish()), None));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let next = text(&body, "/NextToken").map(str::to_owned);
            let entries = each(&body, "/SuppressedDestinationSummaries").filter_map(entry).collect();
            Next::Done(SuppressedPage { entries, next })
        }))
    }
}

/// <https://docs.aws.amazon.com/ses/latest/APIReference/API_GetSendStatistics.html>
fn ask<T>(cx: &Cx<'_>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = HttpCall::new(Method::Post, format!("{}/", base(cx, &settings)));
    let call = manage::form(call, &[("Action", "GetSendStatistics"), ("Version", "2010-12-01")]);
    sign(cx, &settings, call).map(Next::Call)
}

/// Adds up the quarters of an hour the statistics are in.
fn days(period: &Period, answers: &[Answer]) -> Plan<Vec<Day>> {
    let body = query_reply(NAME, answers, 0)?;
    let points = xml::text(&body, "SendDataPoints").ok_or_else(|| manage::unreadable(NAME))?;
    let mut days: BTreeMap<String, [i64; 3]> = BTreeMap::new();
    for point in xml::each(&points, "member") {
        let at = xml::text(point, "Timestamp").unwrap_or_default();
        let Some(day) = at.get(..10).filter(|day| (period.from.as_str()..=period.to.as_str()).contains(day)) else {
            continue;
        };
        let sums = days.entry(day.to_owned()).or_default();
        for (sum, name) in sums.iter_mut().zip(["DeliveryAttempts", "Bounces", "Complaints"]) {
            *sum += xml::text(point, name).and_then(|count| count.parse::<i64>().ok()).unwrap_or(0);
        }
    }
    let day = |(day, [sent, bounced, complained]): (String, [i64; 3])| Day {
        sent: Some(sent),
        bounced: Some(bounced),
        complained: Some(complained),
        ..Day { day, ..Day::default() }
    };
    Ok(Next::Done(days.into_iter().map(day).collect()))
}

fn entry(row: &Value) -> Option<Suppressed> {
    let at = row
        .get("LastUpdateTime")
        .and_then(Value::as_f64)
        .map(|seconds| Timestamp::from_seconds(seconds as i64).to_string());
    Some(Suppressed {
        address: text(row, "/EmailAddress")?.to_owned(),
        reason: text(row, "/Reason").map(str::to_owned),
        at,
    })
}
