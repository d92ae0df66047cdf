//! Everything events need, from nothing: a configuration set, an SNS topic that SES may publish to, its subscription, and the event destination between them.
//! <https://docs.aws.amazon.com/ses/latest/dg/event-publishing-add-event-destination-sns.html>
//!
//! SNS confirms the subscription by a request to the callback URL, which is answered like any other.

use model::{Answer, Call, Failure, FailureKind, HttpCall, Method};
use serde_json::json;
use url::form_urlencoded;

use super::{
    Settings,
    domains::{NAME, call},
};
use crate::{
    Cx, aws,
    aws::xml,
    manage::{CallbackState, Callbacks, Next, Plan, each, get, refused, reply, status},
    read::text,
};

const SNS: &str = "sns";
/// What the configuration set is called when the account names none, and the event destination in any case.
const OWN: &str = "tidings";
const EVENTS: &[&str] = &[
    "SEND",
    "REJECT",
    "BOUNCE",
    "COMPLAINT",
    "DELIVERY",
    "OPEN",
    "CLICK",
    "RENDERING_FAILURE",
    "DELIVERY_DELAY",
    "SUBSCRIPTION",
];

pub(super) struct Events;

impl Callbacks for Events {
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let no =
            |line: &str| Ok(Next::Done(CallbackState { lines: vec![line.to_owned()], ..CallbackState::default() }));
        let Some(set) = &settings.configuration_set else {
            return no("The account names no configuration set, so SES reports nothing.");
        };
        if answers.is_empty() {
            return call(cx, Method::Get, &format!("/configuration-sets/{set}/event-destinations"), None);
        }
        if status(answers, 0)? == 404 {
            return no("SES does not know the account's configuration set.");
        }
        let body = reply(NAME, answers, 0)?;
        let topics: Vec<&str> =
            each(&body, "/EventDestinations").filter_map(|to| text(to, "/SnsDestination/TopicArn")).collect();
        let is_ours = |topic: &&&str| settings.topic_arn.as_deref().is_none_or(|own| own == **topic);
        match topics.iter().find(is_ours) {
            Some(topic) => {
                let line = format!(
                    "SES publishes the events of {set} to {topic}, as far as the topic is subscribed to this account's callback URL."
                );
                Ok(Next::Done(CallbackState { is_set: true, lines: vec![line], ..CallbackState::default() }))
            }
            None => no("The configuration set has no destination at the account's SNS topic."),
        }
    }

    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState> {
        let settings = Settings::read(cx.settings)?;
        let set = settings.configuration_set.as_deref().unwrap_or(OWN);
        match answers.len() {
            0 => call(cx, Method::Post, "/configuration-sets", Some(json!({ "ConfigurationSetName": set }))),
            1 => {
                made_or_there(answers, 0)?;
                // Making a topic that is there answers the same topic.
                let account = cx.callback_url.rsplit('/').next().unwrap_or_default();
                sns(cx, &settings, &[("Action", "CreateTopic"), ("Name", &format!("{OWN}-{account}"))])
            }
            2 => {
                let topic = topic(answers)?;
                let policy = policy(&topic);
                let pairs = [
                    ("Action", "SetTopicAttributes"),
                    ("TopicArn", topic.as_str()),
                    ("AttributeName", "Policy"),
                    ("AttributeValue", policy.as_str()),
                ];
                sns(cx, &settings, &pairs)
            }
            3 => {
                sns_ok(answers, 2)?;
                let topic = topic(answers)?;
                let pairs = [
                    ("Action", "Subscribe"),
                    ("TopicArn", topic.as_str()),
                    ("Protocol", protocol(cx)),
                    ("Endpoint", cx.callback_url),
                ];
                sns(cx, &settings, &pairs)
            }
            4 => {
                sns_ok(answers, 3)?;
                let destination = json!({
                    "EventDestinationName": OWN,
                    "EventDestination": {"Enabled": true, "MatchingEventTypes": EVENTS, "SnsDestination": {"TopicArn": topic(answers)?}},
                });
                call(cx, Method::Post, &format!("/configuration-sets/{set}/event-destinations"), Some(destination))
            }
            _ => {
                made_or_there(answers, 4)?;
                let topic = topic(answers)?;
                Ok(Next::Done(CallbackState {
                    is_set: true,
                    lines: vec![
                        format!("SES publishes the events of {set} to {topic}."),
                        "SNS asks this account's callback URL to confirm the subscription, which it does by itself."
                            .to_owned(),
                    ],
                    settings: vec![("configuration_set", set.to_owned()), ("topic_arn", topic)],
                    by_hand: Vec::new(),
                }))
            }
        }
    }
}

fn protocol(cx: &Cx<'_>) -> &'static str {
    if cx.callback_url.starts_with("https:") { "https" } else { "http" }
}

/// What is there already is as good as made.
fn made_or_there(answers: &[Answer], index: usize) -> Result<(), Failure> {
    let http = get(answers, index)?;
    if aws::error(http).kind == "AlreadyExistsException" {
        return Ok(());
    }
    reply(NAME, answers, index).map(drop)
}

fn sns_ok(answers: &[Answer], index: usize) -> Result<String, Failure> {
    query_reply("Amazon SNS", answers, index)
}

/// The `index`th answer's XML, when it was a success; the refusal in the service's words otherwise.
pub(super) fn query_reply(service: &str, answers: &[Answer], index: usize) -> Result<String, Failure> {
    let http = get(answers, index)?;
    if http.status == 200 {
        return Ok(http.text().into_owned());
    }
    let error = xml::error(http);
    let mut failure = refused(service, http);
    if !error.message.is_empty() {
        failure.detail = format!("{service} refused: {} ({}).", error.message.trim_end_matches('.'), error.kind);
        failure.provider_detail = Some(error.message);
    }
    Err(failure)
}

/// The topic made in the second step.
fn topic(answers: &[Answer]) -> Result<String, Failure> {
    let unreadable = || {
        Failure::new(FailureKind::Unknown, "unreadable_answer", "Amazon SNS answered something that cannot be read.")
    };
    xml::text(&sns_ok(answers, 1)?, "TopicArn").ok_or_else(unreadable)
}

/// Lets the owner do everything, and SES publish for that owner.
fn policy(topic: &str) -> String {
    let owner = topic.split(':').nth(4).unwrap_or_default();
    json!({
        "Version": "2012-10-17",
        "Statement": [
            {"Sid": "Owner", "Effect": "Allow", "Principal": {"AWS": owner}, "Action": [
                "SNS:GetTopicAttributes", "SNS:SetTopicAttributes", "SNS:AddPermission", "SNS:RemovePermission", "SNS:DeleteTopic", "SNS:Subscribe",
                "SNS:ListSubscriptionsByTopic", "SNS:Publish",
            ], "Resource": topic},
            {"Sid": "Ses", "Effect": "Allow", "Principal": {"Service": "ses.amazonaws.com"}, "Action": "SNS:Publish", "Resource": topic,
                "Condition": {"StringEquals": {"AWS:SourceAccount": owner}}},
        ],
    })
    .to_string()
}

fn sns<T>(cx: &Cx<'_>, settings: &Settings, pairs: &[(&str, &str)]) -> Plan<T> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs).append_pair("Version", "2010-03-31");
    let base = cx.base_or(&format!("https://sns.{}.amazonaws.com", settings.region));
    let call = HttpCall::new(Method::Post, format!("{base}/"))
        .body("application/x-www-form-urlencoded; charset=utf-8", form.finish());
    let keys = aws::Keys {
        access_key_id: &settings.access_key_id,
        secret_access_key: &settings.secret_access_key,
        session_token: settings.session_token.as_ref(),
        region: &settings.region,
    };
    aws::signed(call, &keys, SNS, cx.now).map(Call::Http).map(Next::Call)
}
