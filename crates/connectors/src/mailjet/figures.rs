//! Counters by day. Mailjet keeps no suppression list one could read: it answers each message to a blocked address with an event.
//! <https://dev.mailjet.com/email/reference/statistics/>

use model::{Answer, Method};
use serde_json::Value;

use super::{NAME, domains::ask};
use crate::{
    Cx,
    manage::{Day, Figures, Next, Period, Plan, each, reply},
    read::text,
};

pub(super) struct Counters;

impl Figures for Counters {
    fn statistics(&self, cx: &Cx<'_>, period: &Period, answers: &[Answer]) -> Option<Plan<Vec<Day>>> {
        if answers.is_empty() {
            let path = format!(
                "/v3/REST/statcounters?CounterSource=APIKey&CounterTiming=Message&CounterResolution=Day&FromTS={}T00:00:00Z&ToTS={}T23:59:59Z&Limit=100",
                period.from, period.to
            );
            return Some(ask(cx, Method::Get, &path, None));
        }
        Some(reply(NAME, answers, 0).map(|body| Next::Done(each(&body, "/Data").filter_map(day).collect())))
    }
}

fn day(row: &Value) -> Option<Day> {
    let count = |name: &str| row.get(name).and_then(Value::as_i64);
    let bounced = [count("MessageHardBouncedCount"), count("MessageSoftBouncedCount")];
    Some(Day {
        day: text(row, "/Timeslice")?.get(..10)?.to_owned(),
        sent: count("MessageSentCount"),
        delivered: None,
        bounced: bounced.iter().any(Option::is_some).then(|| bounced.iter().flatten().sum()),
        complained: count("MessageSpamCount"),
        opened: count("MessageOpenedCount"),
        clicked: count("MessageClickedCount"),
    })
}
