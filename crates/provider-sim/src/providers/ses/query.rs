//! Amazon's older services that belong to SES: topics of SNS and their subscriptions, through which events come, and the sending statistics.
//! <https://docs.aws.amazon.com/sns/latest/api/API_Subscribe.html> <https://docs.aws.amazon.com/ses/latest/APIReference/API_GetSendStatistics.html>

use serde_json::{Value, json};

use super::envelope;
use crate::{
    fields::{Fields, form},
    provider::{Cx, iso, written},
    request::{Reply, Request},
};

/// Days `GetSendStatistics` goes back.
const STATISTICS_DAYS: i64 = 13;
const SNS: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const SES: &str = "http://ses.amazonaws.com/doc/2010-12-01/";
/// What a topic's address begins with, before its name.
const ACCOUNT: &str = "123456789012";

/// Which service an action is one of: the name its requests are signed for.
pub(super) fn service(action: &str) -> &'static str {
    if action == "GetSendStatistics" { "ses" } else { "sns" }
}

fn error(code: &str, message: &str) -> Reply {
    let body = format!(
        "<ErrorResponse xmlns=\"{SNS}\"><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>b0e6c2d1-0000-4000-a000-000000000000</RequestId></ErrorResponse>"
    );
    Reply::of(400, "text/xml", body)
}

/// "This is not signed as it should be", in these services' words.
pub(super) fn unsigned(code: &str) -> Reply {
    Reply { status: 403, ..error(code, "The request could not be authenticated") }
}

fn result(namespace: &str, action: &str, inner: &str) -> Reply {
    let id = "<ResponseMetadata><RequestId>b0e6c2d1-0000-4000-a000-000000000000</RequestId></ResponseMetadata>";
    let body = format!(
        "<{action}Response xmlns=\"{namespace}\"><{action}Result>{inner}</{action}Result>{id}</{action}Response>"
    );
    Reply::of(200, "text/xml", body)
}

/// Answers an action whose signature was checked.
pub(super) fn answer(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let invalid = |what: &str| error("InvalidParameter", &format!("Invalid parameter: {what}"));
    let (arn, mut topics) = (fields.get("TopicArn").to_owned(), cx.list("topics"));
    let at = topics.iter().position(|topic| topic["arn"] == arn.as_str());
    match (fields.get("Action"), fields.get("Version")) {
        ("GetSendStatistics", "2010-12-01") => Ok(statistics(cx)),
        ("CreateTopic", "2010-03-31") => {
            let name = fields.get("Name");
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
                return Err(invalid("Topic Name"));
            }
            let arn = format!("arn:aws:sns:{}:{ACCOUNT}:{name}", cx.get("region"));
            if !topics.iter().any(|topic| topic["arn"] == arn.as_str()) {
                topics.push(json!({"arn": arn, "policy": ""}));
                cx.keep("topics", &topics.into());
            }
            Ok(result(SNS, "CreateTopic", &format!("<TopicArn>{arn}</TopicArn>")))
        }
        ("SetTopicAttributes", "2010-03-31") => {
            let at = at.ok_or_else(|| error("NotFound", "Topic does not exist"))?;
            let value = fields.get("AttributeValue");
            if fields.get("AttributeName") != "Policy" || serde_json::from_str::<Value>(value).is_err() {
                return Err(invalid("AttributeValue"));
            }
            topics[at]["policy"] = value.into();
            cx.keep("topics", &topics.into());
            Ok(result(SNS, "SetTopicAttributes", ""))
        }
        ("Subscribe", "2010-03-31") => {
            at.ok_or_else(|| error("NotFound", "Topic does not exist"))?;
            let (protocol, endpoint) = (fields.get("Protocol"), fields.get("Endpoint"));
            if !["http", "https"].contains(&protocol) || !endpoint.starts_with(&format!("{protocol}://")) {
                return Err(invalid("Endpoint must match the specified protocol"));
            }
            subscribe(cx, &arn, endpoint);
            Ok(result(SNS, "Subscribe", "<SubscriptionArn>pending confirmation</SubscriptionArn>"))
        }
        _ => Err(error("InvalidAction", "Could not find the operation or version")),
    }
}

/// Asks the endpoint to confirm, as SNS does before it sends anything there.
fn subscribe(cx: &mut Cx<'_>, topic: &str, endpoint: &str) {
    let token = cx.hex(64);
    cx.keep("subscription", &json!({"topic": topic, "endpoint": endpoint, "token": token}));
    let query = form(&[("Action", "ConfirmSubscription"), ("TopicArn", topic), ("Token", &token)]);
    let (base, now) = (cx.base_url.to_owned(), written(cx.now, "%Y-%m-%dT%H:%M:%S.000Z"));
    let words = format!("You have chosen to subscribe to the topic {topic}. To confirm, visit the SubscribeURL.");
    let asked = [("SubscribeURL", format!("{base}/?{query}")), ("Token", token)];
    let call = envelope(cx, "SubscriptionConfirmation", topic, &base, endpoint.to_owned(), &words, &now, &asked);
    cx.calls.push(call);
}

/// `GET /?Action=ConfirmSubscription`: whoever has the token may. Events go to the endpoint from then on.
pub(super) fn confirm(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let (asked, pending) = (request.parameters(), cx.kept("subscription"));
    let word = |name: &str| pending[name].as_str().unwrap_or_default().to_owned();
    let is_it =
        !word("token").is_empty() && asked.get("Token") == word("token") && asked.get("TopicArn") == word("topic");
    if asked.get("Action") != "ConfirmSubscription" || !is_it {
        return Err(error("InvalidParameter", "Invalid token"));
    }
    cx.changes.push(("callback_url", word("endpoint")));
    cx.changes.push(("topic_arn", word("topic")));
    let arn = format!("{}:{}", word("topic"), cx.uuid());
    Ok(result(SNS, "ConfirmSubscription", &format!("<SubscriptionArn>{arn}</SubscriptionArn>")))
}

/// The last fourteen days. The real ones are in quarters of an hour; one a day adds up to the same.
fn statistics(cx: &Cx<'_>) -> Reply {
    let (from, to) = (iso(cx.now.plus_seconds(-STATISTICS_DAYS * 86_400)), iso(cx.now));
    let points = cx.tallies(&from, &to).into_iter().filter(|tally| tally.sent > 0);
    let points: String = points
        .map(|tally| {
            format!(
                "<member><DeliveryAttempts>{}</DeliveryAttempts><Timestamp>{}T00:15:00Z</Timestamp><Rejects>0</Rejects><Bounces>{}</Bounces><Complaints>{}</Complaints></member>",
                tally.sent, tally.day, tally.bounced, tally.complained
            )
        })
        .collect();
    result(SES, "GetSendStatistics", &format!("<SendDataPoints>{points}</SendDataPoints>"))
}
