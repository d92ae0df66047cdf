//! Amazon SES v2: SendEmail, SendBulkEmail, GetAccount, Signature V4, and events through SNS with its signed envelope. Identities and configuration sets
//! are in `identities`, topics and statistics in `query`.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/>

mod identities;
mod query;

use model::{HttpCall, Method};
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    fields::decoded,
    letter,
    message::{Draft, Message, Stage},
    mime::{self, bare, is_address, part},
    provider::{Cx, Provider, Setting, Settings, Written, account, text, written},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Ses;

const SETTINGS: &[Setting] = &[
    Setting { name: "access_key_id", default: "AKIDSIMULATED" },
    Setting { name: "secret_access_key", default: "simulated-secret-access-key" },
    Setting { name: "region", default: "eu-west-1" },
    Setting { name: "configuration_set", default: "simulated" },
    Setting { name: "topic_arn", default: "arn:aws:sns:eu-west-1:123456789012:ses-events" },
    Setting { name: "from", default: "Acme Tickets <tickets@acme.example>" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "identities", default: "[]" },
    Setting { name: "configuration_sets", default: "{}" },
    Setting { name: "topics", default: "[]" },
    Setting { name: "subscription", default: "{}" },
    // Where received mails are put; without it they travel inside the notification.
    Setting { name: "mail_bucket", default: "" },
    Setting { name: "objects", default: "{}" },
];
/// Objects kept.
const OBJECTS_MAX: usize = 50;
/// Most headers of a `Simple` mail, and most recipients of any.
const HEADERS_MAX: usize = 15;
const RECIPIENTS_MAX: usize = 50;
/// Where the certificate is, below the provider's base URL.
const CERTIFICATE: &str = "SimpleNotificationService-simulated.pem";

fn error(status: u16, kind: &'static str, message: &str) -> Reply {
    Reply::json(status, &json!({ "message": message })).header("x-amzn-errortype", kind)
}

impl Provider for Ses {
    fn id(&self) -> &'static str {
        "ses"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let names = ["access_key_id", "secret_access_key", "region", "configuration_set", "topic_arn"];
        let keys: serde_json::Map<String, Value> =
            names.iter().map(|name| ((*name).to_owned(), settings[*name].clone().into())).collect();
        vec![account("ses", "Amazon SES", Some(&settings["from"]), keys.into())]
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let segments = request.segments();
        if segments == [CERTIFICATE] {
            return Ok(Reply::of(200, "application/x-pem-file", sign::CERTIFICATE));
        }
        if segments.is_empty() {
            return older(cx, request);
        }
        let service = if segments.first() == Some(&"s3") { "s3" } else { "ses" };
        match sign::sigv4_problem(request, cx.get("access_key_id"), cx.get("secret_access_key"), service) {
            None => {}
            Some("MissingAuthenticationToken") => {
                return Err(error(403, "MissingAuthenticationTokenException", "Missing Authentication Token"));
            }
            Some("InvalidClientTokenId") => {
                return Err(error(
                    403,
                    "UnrecognizedClientException",
                    "The security token included in the request is invalid.",
                ));
            }
            Some(_) => {
                let words = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.";
                return Err(error(403, "SignatureDoesNotMatch", words));
            }
        }
        match (request.method.as_str(), &segments[..]) {
            ("POST", ["v2", "email", "outbound-emails"]) => send(cx, request),
            ("POST", ["v2", "email", "outbound-bulk-emails"]) => send_bulk(cx, request),
            ("GET", ["v2", "email", "account"]) => Ok(Reply::json(
                200,
                &json!({
                    "SendQuota": {"Max24HourSend": 50_000.0, "MaxSendRate": 14.0, "SentLast24Hours": cx.known().count() as f64},
                    "SendingEnabled": true, "ProductionAccessEnabled": true, "EnforcementStatus": "HEALTHY",
                }),
            )),
            ("GET", ["v2", "email", "insights", id]) => match cx.find(id) {
                Some(message) => Ok(Reply::json(200, &insights(cx, message))),
                None => Err(error(404, "NotFoundException", "Message not found")),
            },
            ("GET", ["s3", bucket, key @ ..]) if *bucket == cx.get("mail_bucket") => {
                use base64::{Engine as _, engine::general_purpose::STANDARD};
                let object = cx.kept("objects")[decoded(&key.join("/")).as_ref()].as_str().map(str::to_owned);
                let object = object.and_then(|text| STANDARD.decode(text).ok());
                let absent = || Reply::of(404, "application/xml", "<Error><Code>NoSuchKey</Code></Error>");
                Ok(Reply::of(200, "binary/octet-stream", object.ok_or_else(absent)?))
            }
            (_, ["v2", "email", rest @ ..]) => identities::answer(cx, request, rest),
            _ => Err(error(404, "UnknownOperationException", "Unknown operation")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "TooManyRequestsException", "Maximum sending rate exceeded.").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "InternalServiceErrorException", "Internal service error")
    }

    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall> {
        let url = cx.callback_of(message)?;
        let now = written(cx.now, "%Y-%m-%dT%H:%M:%S.000Z");
        let bounce = |kind: &str, sub: &str, status: &str, words: &str| {
            let recipient =
                json!({"emailAddress": message.to, "action": "failed", "status": status, "diagnosticCode": words});
            json!({"bounceType": kind, "bounceSubType": sub, "bouncedRecipients": [recipient], "timestamp": now, "feedbackId": cx.hex(16), "reportingMTA": "dsn; simulator"})
        };
        let (kind, name, more) = match stage {
            Stage::Sent => ("Send", "send", json!({})),
            Stage::Delivered => (
                "Delivery",
                "delivery",
                json!({"timestamp": now, "processingTimeMillis": 546, "recipients": [message.to], "smtpResponse": "250 ok", "reportingMTA": "simulator"}),
            ),
            Stage::Opened => {
                ("Open", "open", json!({"ipAddress": "192.0.2.1", "timestamp": now, "userAgent": "Simulator/1.0"}))
            }
            Stage::Clicked => (
                "Click",
                "click",
                json!({"ipAddress": "192.0.2.1", "timestamp": now, "userAgent": "Simulator/1.0", "link": "https://acme.example/clicked", "linkTags": null}),
            ),
            Stage::Bounced => {
                ("Bounce", "bounce", bounce("Permanent", "General", "5.1.1", "smtp; 550 5.1.1 user unknown"))
            }
            Stage::SoftBounced => {
                ("Bounce", "bounce", bounce("Transient", "MailboxFull", "4.2.2", "smtp; 452 4.2.2 mailbox full"))
            }
            Stage::Failed => ("Reject", "reject", json!({"reason": "Bad content"})),
            Stage::Complained => (
                "Complaint",
                "complaint",
                json!({"complainedRecipients": [{"emailAddress": message.to}], "timestamp": now, "feedbackId": cx.hex(16), "complaintFeedbackType": "abuse"}),
            ),
            _ => return None,
        };
        let mail = json!({
            "timestamp": now, "messageId": message.id, "source": message.from, "sendingAccountId": "123456789012", "destination": [message.to],
            "headersTruncated": false, "headers": [], "commonHeaders": {"to": [message.to], "subject": message.subject}, "tags": message.more["tags"],
        });
        let event = json!({"eventType": kind, "mail": mail, name: more});
        let (base, topic, words) = (text(&message.more, "/base_url"), cx.get("topic_arn"), event.to_string());
        let subject = [("Subject", "Amazon SES Email Event Notification".to_owned())];
        Some(envelope(cx, "Notification", topic, base, url, &words, &now, &subject))
    }

    /// A receipt rule: the mail inside the notification, or in a bucket.
    /// <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html>
    fn inbound(&self, cx: &mut Cx<'_>, written: &Written) -> Option<HttpCall> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let (url, to) = (cx.callback("callback_url")?, written.to.clone()?);
        let now = self::written(cx.now, "%Y-%m-%dT%H:%M:%S.000Z");
        let (raw, id, bucket) =
            (STANDARD.encode(letter::raw(cx, written, &to)), cx.hex(40), cx.get("mail_bucket").to_owned());
        let action = match bucket.as_str() {
            "" => json!({"type": "SNS", "topicArn": cx.get("topic_arn"), "encoding": "BASE64"}),
            _ => {
                json!({"type": "S3", "topicArn": cx.get("topic_arn"), "bucketName": bucket, "objectKeyPrefix": "in", "objectKey": format!("in/{id}=+")})
            }
        };
        let pass = json!({"status": "PASS"});
        let mut event = json!({
            "notificationType": "Received",
            "receipt": {
                "timestamp": now, "processingTimeMillis": 222, "recipients": [to], "spamVerdict": pass, "virusVerdict": pass, "spfVerdict": pass, "dkimVerdict": pass,
                "dmarcVerdict": pass, "action": action,
            },
            "mail": {"timestamp": now, "source": written.from, "messageId": id, "destination": [to], "headersTruncated": false, "headers": [], "commonHeaders": {}},
        });
        if bucket.is_empty() {
            event["content"] = raw.into();
        } else {
            let mut objects = cx.kept("objects").as_object().cloned().unwrap_or_default();
            if objects.len() >= OBJECTS_MAX {
                objects.clear();
            }
            objects.insert(format!("in/{id}=+"), raw.into());
            cx.keep("objects", &objects.into());
        }
        let (base, topic, words) = (cx.base_url, cx.get("topic_arn"), event.to_string());
        let subject = [("Subject", "Amazon SES Email Receipt Notification".to_owned())];
        Some(envelope(cx, "Notification", topic, base, url, &words, &now, &subject))
    }
}

/// What has happened to a mail by now. <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetMessageInsights.html>
fn insights(cx: &Cx<'_>, message: &Message) -> Value {
    let word = |stage: &Stage| match stage {
        Stage::Sent => Some("SEND"),
        Stage::Delivered => Some("DELIVERY"),
        Stage::Opened => Some("OPEN"),
        Stage::Clicked => Some("CLICK"),
        Stage::Bounced | Stage::SoftBounced => Some("BOUNCE"),
        Stage::Complained => Some("COMPLAINT"),
        Stage::Failed => Some("REJECT"),
        _ => None,
    };
    let past = message.steps.iter().filter(|(at, _)| *at <= cx.now);
    let events: Vec<Value> = past
        .filter_map(|(at, stage)| {
            let kind = if *stage == Stage::Bounced { "PERMANENT" } else { "TRANSIENT" };
            let details = json!({"Bounce": {"BounceType": kind, "BounceSubType": "General", "DiagnosticCode": "smtp; 550 5.1.1 user unknown"}});
            Some(json!({"Timestamp": at.as_seconds(), "Type": word(stage)?, "Details": if word(stage)? == "BOUNCE" { details } else { json!({}) }}))
        })
        .collect();
    json!({
        "MessageId": message.id, "FromEmailAddress": message.from, "Subject": message.subject, "EmailTags": [],
        "Insights": [{"Destination": message.to, "Isp": "Simulated", "Events": events}],
    })
}

/// What goes to the root: actions of Amazon's older services, and the link that confirms a subscription.
fn older(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    if request.method == "GET" {
        return query::confirm(cx, request);
    }
    let fields = request.form();
    let service = query::service(fields.get("Action"));
    match sign::sigv4_problem(request, cx.get("access_key_id"), cx.get("secret_access_key"), service) {
        None => query::answer(cx, &fields),
        Some(code) => Err(query::unsigned(code)),
    }
}

/// A signed message of SNS. <https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>
#[allow(clippy::too_many_arguments, reason = "each is a field of its own, and a struct would be used once")]
fn envelope(
    cx: &Cx<'_>,
    kind: &str,
    topic: &str,
    base: &str,
    url: String,
    message: &str,
    now: &str,
    more: &[(&str, String)],
) -> HttpCall {
    let id = cx.uuid();
    let mut signed =
        vec![("Message", message), ("MessageId", &id), ("Timestamp", now), ("TopicArn", topic), ("Type", kind)];
    signed.extend(more.iter().map(|(name, value)| (*name, value.as_str())));
    // What is signed stands in the order of the alphabet.
    signed.sort_unstable();
    let text: String = signed.iter().map(|(name, value)| format!("{name}\n{value}\n")).collect();
    let mut body: serde_json::Map<String, Value> =
        signed.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))).collect();
    body.insert("SignatureVersion".to_owned(), "2".into());
    body.insert("Signature".to_owned(), sign::sns(&text).into());
    body.insert("SigningCertURL".to_owned(), format!("{base}/{CERTIFICATE}").into());
    if kind == "Notification" {
        body.insert("UnsubscribeURL".to_owned(), format!("{base}/?Action=Unsubscribe").into());
    }
    HttpCall::new(Method::Post, url)
        .body("text/plain; charset=UTF-8", Value::from(body).to_string())
        .header("x-amz-sns-message-type", kind)
        .header("x-amz-sns-message-id", id)
        .header("x-amz-sns-topic-arn", topic)
}

/// The sender and the configuration set of a request, when this account may use them.
fn sender(cx: &Cx<'_>, body: &Value) -> Result<String, Reply> {
    let from = bare(text(body, "/FromEmailAddress"));
    let own = bare(cx.get("from"));
    let domain = from.rsplit('@').next().unwrap_or_default();
    if own.rsplit('@').next() != Some(domain) && !identities::is_verified(cx, domain) {
        let words = format!(
            "Email address is not verified. The following identities failed the check in region {}: {from}",
            cx.get("region")
        );
        return Err(error(400, "MessageRejected", &words));
    }
    let set = text(body, "/ConfigurationSetName");
    if !set.is_empty() && !identities::sets(cx)[set].is_array() {
        return Err(error(404, "NotFoundException", &format!("Configuration set <{set}> does not exist.")));
    }
    Ok(from)
}

/// The tags of a mail as events carry them.
fn tags(list: &Value) -> serde_json::Map<String, Value> {
    list.as_array().into_iter().flatten().map(|tag| (text(tag, "/Name").to_owned(), json!([tag["Value"]]))).collect()
}

/// Many mails from one template, with a result for each. <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html>
fn send_bulk(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let bad = |words: &str| error(400, "BadRequestException", words);
    let body = request.json().ok_or_else(|| bad("The request body is not valid JSON"))?;
    let from = sender(cx, &body)?;
    let template = &body["DefaultContent"]["Template"];
    let content = &template["TemplateContent"];
    if ["TemplateName", "TemplateArn"].iter().any(|name| !template[*name].is_null()) {
        return Err(error(404, "NotFoundException", "Template does not exist."));
    }
    if content["Subject"].as_str().is_none() || content["Text"].is_null() && content["Html"].is_null() {
        return Err(bad("TemplateContent needs a Subject and a Text or Html part"));
    }
    let defaults: Value = serde_json::from_str(text(template, "/TemplateData"))
        .map_err(|_| bad("TemplateData is not a JSON object in a string"))?;
    let entries = body["BulkEmailEntries"].as_array().filter(|entries| (1..=RECIPIENTS_MAX).contains(&entries.len()));
    let entries = entries.ok_or_else(|| bad("BulkEmailEntries must have from 1 to 50 entries"))?;
    let mut results = Vec::new();
    for entry in entries {
        let parties = (from.as_str(), body["ReplyToAddresses"][0].as_str());
        results.push(match bulk_entry(cx, entry, content, &defaults, parties) {
            Ok(id) => json!({"Status": "SUCCESS", "MessageId": id}),
            Err((status, words)) => json!({"Status": status, "Error": words}),
        });
    }
    Ok(Reply::json(200, &json!({ "BulkEmailEntryResults": results })))
}

/// One of many mails: its id, or its status and what is wrong.
fn bulk_entry(
    cx: &mut Cx<'_>,
    entry: &Value,
    content: &Value,
    defaults: &Value,
    (from, reply_to): (&str, Option<&str>),
) -> Result<String, (&'static str, String)> {
    let to = bare(text(entry, "/Destination/ToAddresses/0"));
    match cx.fate(&to) {
        Fate::Throttled => return Err(("ACCOUNT_THROTTLED", "Maximum sending rate exceeded.".to_owned())),
        fate if fate == Fate::Refused || !is_address(&to) => {
            return Err(("INVALID_PARAMETER", "Invalid email address: missing or bad domain".to_owned()));
        }
        _ => {}
    }
    let given = text(entry, "/ReplacementEmailContent/ReplacementTemplate/ReplacementTemplateData");
    let own: Value = serde_json::from_str(given).unwrap_or(Value::Null);
    let rendered = |part: &str| -> Result<Option<String>, (&'static str, String)> {
        let Some(mut rest) = content[part].as_str() else { return Ok(None) };
        let mut whole = String::new();
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            let value = own[name].as_str().or_else(|| defaults[name].as_str()).ok_or_else(|| {
                ("INVALID_PARAMETER", format!("Attribute '{name}' is not present in the rendering data."))
            })?;
            whole.push_str(before);
            whole.push_str(value);
            rest = after;
        }
        whole.push_str(rest);
        Ok(Some(whole))
    };
    let headers = entry["ReplacementHeaders"].as_array().map_or(0, Vec::len);
    if headers > HEADERS_MAX {
        return Err(("INVALID_PARAMETER", "Too many headers".to_owned()));
    }
    let tags = tags(&entry["ReplacementTags"]);
    let id = format!("0102{}-{}-000000", cx.hex(12), cx.uuid());
    let draft = Draft {
        channel: "email",
        from: from.to_owned(),
        to,
        subject: rendered("Subject")?,
        reply_to: reply_to.map(str::to_owned),
        text: rendered("Text")?.unwrap_or_default(),
        parts: rendered("Html")?.map(|_| "html".to_owned()).into_iter().collect(),
        echo: tags.values().next().and_then(|values| values[0].as_str()).map(str::to_owned),
        id: id.clone(),
        more: json!({"tags": tags, "base_url": cx.base_url}),
        ..Draft::default()
    };
    cx.take(draft);
    Ok(id)
}

fn send(cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let bad = |words: &str| error(400, "BadRequestException", words);
    let body = request.json().ok_or_else(|| bad("The request body is not valid JSON"))?;
    let from = sender(cx, &body)?;
    let content = &body["Content"];
    let kinds = ["Simple", "Raw", "Template"].iter().filter(|kind| !content[**kind].is_null()).count();
    if kinds != 1 {
        return Err(bad("Exactly one of Simple, Raw and Template must be given"));
    }
    if !content["Template"].is_null() {
        return Err(error(404, "NotFoundException", "Template does not exist."));
    }
    let names = ["ToAddresses", "CcAddresses", "BccAddresses"];
    let recipients: Vec<String> = names
        .iter()
        .flat_map(|name| body["Destination"][*name].as_array().into_iter().flatten())
        .filter_map(|to| to.as_str().map(bare))
        .collect();
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        return Err(bad("Recipient count must be from 1 to 50"));
    }
    let reply_to = body["ReplyToAddresses"][0].as_str().map(str::to_owned);
    let mut draft = Draft { channel: "email", from, reply_to, ..Draft::default() };
    match (&content["Simple"], &content["Raw"]) {
        (Value::Null, raw) => {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            let mail = STANDARD.decode(text(raw, "/Data")).map_err(|_| bad("Raw.Data is not base64"))?;
            mime::describe(&mut draft, &mail);
        }
        (simple, _) => {
            let headers = simple["Headers"].as_array().map_or(0, Vec::len);
            if headers > HEADERS_MAX {
                return Err(bad("Too many headers"));
            }
            draft.subject = simple.pointer("/Subject/Data").and_then(Value::as_str).map(str::to_owned);
            draft.text = text(simple, "/Body/Text/Data").to_owned();
            let html = simple.pointer("/Body/Html/Data").map(|_| "html".to_owned());
            if draft.subject.is_none() || draft.text.is_empty() && html.is_none() {
                return Err(bad("Subject and Body are required"));
            }
            let files = simple["Attachments"].as_array().into_iter().flatten().map(|file| {
                part(
                    text(file, "/FileName"),
                    text(file, "/ContentType"),
                    text(file, "/RawContent"),
                    text(file, "/ContentId"),
                )
            });
            draft.parts = html.into_iter().chain(files).collect();
        }
    }
    let tags = tags(&body["EmailTags"]);
    draft.echo = tags.values().next().and_then(|values| values[0].as_str()).map(str::to_owned);
    draft.id = format!("0102{}-{}-000000", cx.hex(12), cx.uuid());
    draft.more = json!({"tags": tags, "base_url": cx.base_url});
    let id = draft.id.clone();
    for to in recipients {
        match cx.fate(&to) {
            Fate::Throttled => return Err(Ses.throttled(None)),
            fate if fate == Fate::Refused || !is_address(&to) => {
                return Err(bad("Invalid email address: missing or bad domain"));
            }
            _ => {}
        }
        cx.take(Draft { to, ..draft.clone() });
    }
    Ok(Reply::json(200, &json!({ "MessageId": id })))
}
