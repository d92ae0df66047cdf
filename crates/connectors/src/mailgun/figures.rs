//! Totals by day of the account's sending domain, and its suppression lists.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/stats>

use model::{Answer, Method};
use serde_json::Value;

use super::{NAME, Settings, domains::ask};
use crate::{
    Cx,
    manage::{Day, Figures, Next, Period, Plan, Suppressed, SuppressedPage, Suppression, each, reply},
    read::text,
};

const PAGE: usize = 100;

pub(super) struct Stats;

impl Figures for Stats {
    fn statistics(&self, cx: &Cx<'_>, period: &Period, answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        if answers.is_empty() {
            let domain = Settings::read(cx.settings).ok()?.domain;
            let events = ["accepted", "delivered", "failed", "complained", "opened", "clicked"]
                .map(|event| format!("event={event}"));
            let (from, to) = (seconds(&period.from)?, seconds(&period.to)? + 86_400 - 1);
            let path = format!("/v3/{domain}/stats/total?{}&resolution=day&start={from}&end={to}", events.join("&"));
            return Some(ask(cx, Method::Get, &path, &[]));
        }
        Some(reply(NAME, answers, 0).map(|body| Next::Done(each(&body, "/stats").filter_map(day).collect())))
    }

    fn suppressed(
        &self,
        cx: &Cx<'_>,
        list: Suppression,
        after: Option<&str>,
        answers: &[Answer],
    ) -> Option<Plan<SuppressedPage>> {
        if answers.is_empty() {
            let domain = Settings::read(cx.settings).ok()?.domain;
            let name = match list {
                Suppression::Bounces => "bounces",
                Suppression::Complaints => "complaints",
                Suppression::Unsubscribes => "unsubscribes",
            };
            // Pages are named by the last address before them.
            let from = after.map_or_else(String::new, |address| {
                let address: String = url::form_urlencoded::byte_serialize(address.as_bytes()).collect();
                format!("&page=next&address={address}")
            });
            return Some(ask(cx, Method::Get, &format!("/v3/{domain}/{name}?limit={PAGE}{from}"), &[]));
        }
        Some(reply(NAME, answers, 0).map(|body| {
            let entries: Vec<Suppressed> = each(&body, "/items").filter_map(entry).collect();
            let next = entries.last().filter(|_| entries.len() == PAGE).map(|last| last.address.clone());
            Next::Done(SuppressedPage { entries, next })
        }))
    }
}

fn seconds(day: &str) -> Option<i64> {
    format!("{day}T00:00:00Z").parse::<model::Timestamp>().ok().map(model::Timestamp::as_seconds)
}

/// `Tue, 14 Feb 2012 00:00:00 UTC`.
fn day(row: &Value) -> Option<Day> {
    let time = text(row, "/time")?.replace("UTC", "GMT");
    let at = model::Timestamp::from(jiff::fmt::rfc2822::parse(&time).ok()?.timestamp()).to_string();
    let count = |pointer: &str| row.pointer(pointer).and_then(Value::as_i64);
    Some(Day {
        day: at.get(..10)?.to_owned(),
        sent: count("/accepted/outgoing").or_else(|| count("/accepted/total")),
        delivered: count("/delivered/total"),
        bounced: count("/failed/permanent/total").or_else(|| count("/failed/permanent/bounce")),
        complained: count("/complained/total"),
        opened: count("/opened/total"),
        clicked: count("/clicked/total"),
    })
}

fn entry(row: &Value) -> Option<Suppressed> {
    let reason = text(row, "/error").or_else(|| text(row, "/code")).map(str::to_owned);
    Some(Suppressed {
        address: text(row, "/address")?.to_owned(),
        reason,
        at: text(row, "/created_at").map(str::to_owned),
    })
}
