//! Amazon SNS: Publish to a phone number, the sandbox's state and the SMS attributes, under Signature V4; and the delivery log records that a tenant's
//! own function forwards. <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::Fields,
    message::{Draft, Message, Stage},
    provider::{Cx, Provider, Setting, Settings, account, written},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Sns;

const SETTINGS: &[Setting] = &[
    Setting { name: "access_key_id", default: "AKIDSIMULATED" },
    Setting { name: "secret_access_key", default: "simulated-secret-access-key" },
    Setting { name: "region", default: "eu-west-1" },
    Setting { name: "from", default: "ACME" },
    // SNS itself calls nobody back: with a URL here the log records are forwarded to it, as a tenant's Lambda function does.
    Setting { name: "callback_url", default: "" },
];
/// Longest text, in bytes.
const MESSAGE_MAX: usize = 1_600;
const NAMESPACE: &str = "http://sns.amazonaws.com/doc/2010-03-31/";
const REQUEST_ID: &str =
    "<ResponseMetadata><RequestId>b0e6c2d1-0000-4000-a000-000000000000</RequestId></ResponseMetadata>";

fn error(status: u16, kind: &str, code: &str, message: &str) -> Reply {
    let body = format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>b0e6c2d1-0000-4000-a000-000000000000</RequestId></ErrorResponse>"
    );
    Reply::of(status, "text/xml", body)
}

fn result(action: &str, inner: &str) -> Reply {
    Reply::of(
        200,
        "text/xml",
        format!(
            "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{inner}</{action}Result>{REQUEST_ID}</{action}Response>"
        ),
    )
}

impl Provider for Sns {
    fn id(&self) -> &'static str {
        "sns"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let keys = json!({
            "access_key_id": settings["access_key_id"], "secret_access_key": settings["secret_access_key"], "region": settings["region"],
        });
        vec![account("sns", "Amazon SNS", Some(&settings["from"]), keys)]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        if let Some(code) = sign::sigv4_problem(request, cx.get("access_key_id"), cx.get("secret_access_key"), "sns") {
            return Err(error(403, "Sender", code, "The request could not be authenticated"));
        }
        let fields = request.form();
        if request.method != "POST" || fields.get("Version") != "2010-03-31" {
            return Err(error(400, "Sender", "InvalidAction", "Could not find the operation or version"));
        }
        match fields.get("Action") {
            "Publish" => publish(cx, &fields),
            "GetSMSSandboxAccountStatus" => {
                Ok(result("GetSMSSandboxAccountStatus", "<IsInSandbox>false</IsInSandbox>"))
            }
            "GetSMSAttributes" => Ok(result(
                "GetSMSAttributes",
                "<attributes><entry><key>MonthlySpendLimit</key><value>100</value></entry></attributes>",
            )),
            _ => Err(error(400, "Sender", "InvalidAction", "Could not find the operation")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "Sender", "Throttled", "Rate exceeded").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        match status {
            503 => error(503, "Receiver", "ServiceUnavailable", "The service is unavailable"),
            status => error(status, "Receiver", "InternalError", "Internal failure"),
        }
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = Some(cx.get("callback_url")).filter(|url| !url.is_empty())?;
        let (status, words) = match stage {
            Stage::Delivered => ("SUCCESS", "Message has been accepted by phone"),
            Stage::Failed => ("FAILURE", "Unknown error attempting to reach phone"),
            Stage::OptedOut => ("FAILURE", "Phone number is opted out"),
            _ => return None,
        };
        let body = json!({
            "notification": {"messageId": message.id, "timestamp": written(cx.now, "%Y-%m-%d %H:%M:%S.000")},
            "delivery": {"phoneCarrier": "Simulated", "mnc": 1, "mcc": 262, "destination": message.to, "priceInUSD": 0.00645, "smsType": "Transactional", "numberOfMessageParts": 1, "providerResponse": words, "dwellTimeMs": 599, "dwellTimeMsUntilDeviceAck": 1344},
            "status": status,
        });
        Some(HttpCall::new(Method::Post, url).body("application/json", body.to_string()))
    }
}

fn publish(cx: &mut Cx<'_>, fields: &Fields) -> Result<Reply, Reply> {
    let invalid = |words: &str| error(400, "Sender", "InvalidParameter", &format!("Invalid parameter: {words}"));
    let (to, text) = (fields.get("PhoneNumber"), fields.get("Message"));
    let is_number = to
        .strip_prefix('+')
        .is_some_and(|digits| digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit()));
    match cx.fate(to) {
        Fate::Throttled => return Err(Sns.throttled(None)),
        fate if fate == Fate::Refused || !is_number => {
            return Err(invalid(&format!("PhoneNumber Reason: {to} is not valid to publish to")));
        }
        _ => {}
    }
    if text.is_empty() || text.len() > MESSAGE_MAX {
        return Err(invalid("Message"));
    }
    // Every attribute is a triple under one number.
    let mut attributes = Vec::new();
    for number in 1.. {
        let field = |part: &str| fields.get(&format!("MessageAttributes.entry.{number}.{part}")).to_owned();
        let (name, kind, value) = (field("Name"), field("Value.DataType"), field("Value.StringValue"));
        if name.is_empty() {
            break;
        }
        if !["String", "Number"].contains(&kind.as_str()) || value.is_empty() {
            return Err(error(
                400,
                "Sender",
                "ParameterValueInvalid",
                &format!("The message attribute '{name}' has an invalid value"),
            ));
        }
        attributes.push((name, value));
    }
    let from =
        attributes.iter().find(|(name, _)| name == "AWS.SNS.SMS.SenderID" || name == "AWS.MM.SMS.OriginationNumber");
    let id = cx.uuid();
    cx.take(Draft {
        id: id.clone(),
        channel: "sms",
        to: to.to_owned(),
        from: from.map(|(_, value)| value.clone()).unwrap_or_default(),
        text: text.to_owned(),
        parts: attributes.iter().map(|(name, value)| format!("attribute {name} {value}")).collect(),
        ..Draft::default()
    });
    Ok(result("Publish", &format!("<MessageId>{id}</MessageId>")))
}
