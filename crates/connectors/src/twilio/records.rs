//! The account's messages and calls as Twilio lists them, with the price of each: first all messages, then all calls. A call is in its list once it was dialled; one that still waits
//! is found by its SID.
//! <https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources>
//! <https://www.twilio.com/docs/voice/api/call-resource#read-multiple-call-resources>

use jiff::civil::Date;
use model::{Answer, Call, FailureKind, Method, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, answer, request};
use crate::{
    Cx,
    manage::{self, Next, Period, Plan, Record, RecordPage, Records},
    read,
};

/// Messages or calls of one page: some 300 KiB, well within what is read of an answer.
const PAGE: &str = "250";
/// What stands before the query in the address of the next page.
const LIST: &str = "/Messages.json?";
const CALLS: &str = "/Calls.json?";

pub(super) struct Messages;

impl Records for Messages {
    fn page(&self, cx: &Cx<'_>, period: &Period, after: Option<&str>, answers: &[Answer]) -> Plan<RecordPage> {
        // A page of calls is named with its list, one of messages by its query alone.
        let is_calls = after.is_some_and(|after| after.starts_with(CALLS));
        if answers.is_empty() {
            return match after {
                Some(after) if is_calls => ask(cx, after),
                Some(after) => ask(cx, &format!("{LIST}{after}")),
                // On or after the first day, and on or before the last, in GMT.
                None => ask(cx, &first(LIST, ("DateSent>", &period.from), ("DateSent<", &period.to))),
            };
        }
        let body = manage::reply("Twilio", answers, 0)?;
        let (name, list) = if is_calls { ("calls", CALLS) } else { ("messages", LIST) };
        let all = body[name].as_array().ok_or_else(|| manage::unreadable("Twilio"))?;
        let next = answer::text(&body, "next_page_uri").and_then(|uri| uri.split_once(list)).map(|(_, query)| query);
        let next = match next {
            Some(query) if is_calls => Some(format!("{CALLS}{query}")),
            Some(query) => Some(query.to_owned()),
            None if is_calls => None,
            // Begun on or after the first day, and before the one after the last, in UTC.
            None => Some(first(CALLS, ("StartTime>", &period.from), ("StartTime<", &day_after(&period.to)))),
        };
        Ok(Next::Done(RecordPage { records: all.iter().filter(is_ours).filter_map(record).collect(), next }))
    }

    fn one(&self, cx: &Cx<'_>, id: &str, answers: &[Answer]) -> Plan<Option<Record>> {
        if answers.is_empty() {
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Ok(Next::Done(None));
            }
            let resource = if id.starts_with("CA") { "Calls" } else { "Messages" };
            return ask(cx, &format!("/{resource}/{id}.json"));
        }
        match manage::reply("Twilio", answers, 0) {
            Ok(message) => Ok(Next::Done(record(&message))),
            Err(failure) if failure.kind == FailureKind::Content => Ok(Next::Done(None)),
            Err(failure) => Err(failure),
        }
    }
}

/// The first page of a list.
fn first(list: &str, from: (&str, &str), to: (&str, &str)) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair(from.0, from.1).append_pair(to.0, to.1).append_pair("PageSize", PAGE);
    format!("{list}{}", query.finish())
}

fn day_after(day: &str) -> String {
    let next = day.parse::<Date>().ok().and_then(|day| day.tomorrow().ok());
    next.map_or_else(|| day.to_owned(), |day| day.to_string())
}

fn ask<T>(cx: &Cx<'_>, path: &str) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    Ok(Next::Call(Call::Http(request(cx, &settings, Method::Get, path))))
}

fn is_ours(message: &&Value) -> bool {
    answer::text(message, "direction").is_some_and(|direction| direction.starts_with("outbound"))
}

fn record(message: &Value) -> Option<Record> {
    Some(Record {
        provider_message_id: answer::text(message, "sid")?.to_owned(),
        at: ["date_sent", "start_time", "date_created"].into_iter().find_map(|name| date(message, name)),
        price: answer::price(message),
        segments: answer::segments(message).or_else(|| minutes(message)),
    })
}

/// What a call is charged by.
fn minutes(call: &Value) -> Option<u32> {
    answer::text(call, "duration").filter(|_| call["status"] == "completed").and_then(read::begun_minutes)
}

/// Dates are RFC 2822, in GMT, to the second.
fn date(message: &Value, name: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(answer::text(message, name)?).ok().map(|at| at.timestamp().into())
}

#[cfg(test)]
mod tests {
    use model::{HttpAnswer, Money, Values};
    use serde_json::json;

    use super::*;

    fn answered(body: &Value) -> [Answer; 1] {
        [Answer::Http(HttpAnswer { status: 200, body: body.to_string().into(), ..HttpAnswer::default() })]
    }

    fn url<T: std::fmt::Debug>(plan: Plan<T>) -> String {
        match plan.unwrap() {
            Next::Call(Call::Http(call)) => call.url,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_of_both_lists_are_followed_and_what_was_received_is_left_out() {
        let mut values = Values::default();
        values.set("account_sid", "AC1");
        values.set("auth_token", "t");
        let cx = Cx {
            settings: &values,
            from: None,
            base_url: None,
            callback_url: "",
            now: Timestamp::from_seconds(0),
            nonce: 0,
        };
        let period = Period { from: "2026-11-01".to_owned(), to: "2026-12-01".to_owned() };
        let first = url(Messages.page(&cx, &period, None, &[]));
        assert_eq!(
            first,
            "https://api.twilio.com/2010-04-01/Accounts/AC1/Messages.json?DateSent%3E=2026-11-01&DateSent%3C=2026-12-01&PageSize=250"
        );
        let message = |sid: &str, direction: &str, price: Value| {
            json!({
                "sid": sid, "direction": direction, "price": price, "price_unit": "usd", "num_segments": "2", "date_sent": "Sat, 21 Nov 2026 09:30:00 +0000",
            })
        };
        let body = json!({
            "messages": [message("SM1", "outbound-api", json!("-0.01500")), message("SM2", "inbound", json!(null)), message("SM3", "outbound-reply", json!(null))],
            "next_page_uri": "/2010-04-01/Accounts/AC1/Messages.json?PageSize=250&Page=1&PageToken=PASM3",
        });
        let Next::Done(page) = Messages.page(&cx, &period, None, &answered(&body)).unwrap() else { panic!() };
        let ids: Vec<&str> = page.records.iter().map(|record| record.provider_message_id.as_str()).collect();
        assert_eq!(ids, ["SM1", "SM3"]);
        let usd = Money { amount_micros: 15_000, currency: "USD".to_owned() };
        assert_eq!((page.records[0].price.as_ref(), page.records[0].segments), (Some(&usd), Some(2)));
        assert_eq!(page.records[0].at, Some(Timestamp::from_seconds(1_795_253_400)));
        let next = url(Messages.page(&cx, &period, page.next.as_deref(), &[]));
        assert!(next.ends_with("/Messages.json?PageSize=250&Page=1&PageToken=PASM3"), "{next}");
        let last = json!({"messages": [], "next_page_uri": null});
        let Next::Done(page) = Messages.page(&cx, &period, page.next.as_deref(), &answered(&last)).unwrap() else {
            panic!()
        };
        let calls = url(Messages.page(&cx, &period, page.next.as_deref(), &[]));
        assert_eq!(
            calls,
            "https://api.twilio.com/2010-04-01/Accounts/AC1/Calls.json?StartTime%3E=2026-11-01&StartTime%3C=2026-12-02&PageSize=250"
        );
        let call = |sid: &str, direction: &str| {
            json!({
                "sid": sid, "direction": direction, "status": "completed", "price": "-0.200", "price_unit": "USD", "duration": "64", "start_time": "Sat, 21 Nov 2026 09:30:00 +0000",
                "date_created": "Sat, 21 Nov 2026 09:29:00 +0000",
            })
        };
        let body = json!({
            "calls": [call("CA1", "outbound-api"), call("CA2", "inbound")],
            "next_page_uri": "/2010-04-01/Accounts/AC1/Calls.json?PageSize=250&Page=1&PageToken=PACA1",
        });
        let Next::Done(page) = Messages.page(&cx, &period, page.next.as_deref(), &answered(&body)).unwrap() else {
            panic!()
        };
        assert_eq!(page.records.len(), 1);
        let record = &page.records[0];
        assert_eq!(
            (record.provider_message_id.as_str(), record.at),
            ("CA1", Some(Timestamp::from_seconds(1_795_253_400)))
        );
        assert_eq!((record.price.as_ref().map(|price| price.amount_micros), record.segments), (Some(200_000), Some(2)));
        let next = url(Messages.page(&cx, &period, page.next.as_deref(), &[]));
        assert!(next.ends_with("/Accounts/AC1/Calls.json?PageSize=250&Page=1&PageToken=PACA1"), "{next}");
        let last = json!({"calls": [], "next_page_uri": null});
        let end = Messages.page(&cx, &period, page.next.as_deref(), &answered(&last));
        assert!(matches!(end, Ok(Next::Done(page)) if page.next.is_none()));
        assert!(url(Messages.one(&cx, "CA1", &[])).ends_with("/Accounts/AC1/Calls/CA1.json"));
        assert!(url(Messages.one(&cx, "SM1", &[])).ends_with("/Accounts/AC1/Messages/SM1.json"));
        assert!(matches!(Messages.one(&cx, "../x", &[]), Ok(Next::Done(None))));
        let missing = [Answer::Http(HttpAnswer { status: 404, body: "{}".into(), ..HttpAnswer::default() })];
        assert!(matches!(Messages.one(&cx, "SM9", &missing), Ok(Next::Done(None))));
    }
}
