//! The account's messages as Twilio lists them, with the price of each. Calls have a list of their own and are not read.
//! <https://www.twilio.com/docs/messaging/api/message-resource#read-multiple-message-resources>

use model::{Answer, Call, FailureKind, Method, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use super::{Settings, answer, request};
use crate::{
    Cx,
    manage::{self, Next, Period, Plan, Record, RecordPage, Records},
};

/// Messages of one page: some 300 KiB, well within what is read of an answer.
const PAGE: &str = "250";
/// What stands before the query in the address of the next page.
const LIST: &str = "/Messages.json?";

pub(super) struct Messages;

impl Records for Messages {
    fn page(&self, cx: &Cx<'_>, period: &Period, after: Option<&str>, answers: &[Answer]) -> Plan<RecordPage> {
        if answers.is_empty() {
            let first = || {
                let mut query = form_urlencoded::Serializer::new(String::new());
                // On or after the first day, and on or before the last, in GMT.
                query.append_pair("DateSent>", &period.from).append_pair("DateSent<", &period.to);
                query.append_pair("PageSize", PAGE).finish()
            };
            return ask(cx, &format!("{LIST}{}", after.map_or_else(first, str::to_owned)));
        }
        let body = manage::reply("Twilio", answers, 0)?;
        let all = body["messages"].as_array().ok_or_else(|| manage::unreadable("Twilio"))?;
        let next = answer::text(&body, "next_page_uri").and_then(|uri| uri.split_once(LIST));
        Ok(Next::Done(RecordPage {
            records: all.iter().filter(is_ours).filter_map(record).collect(),
            next: next.map(|(_, query)| query.to_owned()),
        }))
    }

    fn one(&self, cx: &Cx<'_>, id: &str, answers: &[Answer]) -> Plan<Option<Record>> {
        if answers.is_empty() {
            if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
                return Ok(Next::Done(None));
            }
            return ask(cx, &format!("/Messages/{id}.json"));
        }
        match manage::reply("Twilio", answers, 0) {
            Ok(message) => Ok(Next::Done(record(&message))),
            Err(failure) if failure.kind == FailureKind::Content => Ok(Next::Done(None)),
            Err(failure) => Err(failure),
        }
    }
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
        at: date(message, "date_sent").or_else(|| date(message, "date_created")),
        price: answer::price(message),
        segments: answer::segments(message),
    })
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
    fn pages_are_followed_and_what_was_received_is_left_out() {
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
        assert!(
            matches!(Messages.page(&cx, &period, None, &answered(&last)), Ok(Next::Done(page)) if page.next.is_none())
        );
        assert!(url(Messages.one(&cx, "SM1", &[])).ends_with("/Accounts/AC1/Messages/SM1.json"));
        assert!(matches!(Messages.one(&cx, "../x", &[]), Ok(Next::Done(None))));
        let missing = [Answer::Http(HttpAnswer { status: 404, body: "{}".into(), ..HttpAnswer::default() })];
        assert!(matches!(Messages.one(&cx, "SM9", &missing), Ok(Next::Done(None))));
    }
}
