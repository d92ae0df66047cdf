//! SMS through Amazon SNS: `Publish` to a phone number.
//! <https://docs.aws.amazon.com/sns/latest/api/API_Publish.html>
//!
//! SNS takes no echo of ours, has no idempotency key and cannot be asked about a message, so an attempt without an answer stays `unknown`. A
//! message id is acceptance and nothing more: opted-out numbers and a spent budget may still be given one. Delivery is told only through CloudWatch
//! Logs, which a tenant may forward to the account's callback URL ([`reports`]); without that a message ends as `sent`.
//!
//! Refused here: media, and texts above the provider's 1,600 bytes.

mod errors;
mod reports;

use model::{
    Answer, BadSetting, Call, Channel, Content, Failure, FailureKind, FieldKind, HttpAnswer, HttpCall, Method, Phone,
    Secret, Setting, Values, settings,
};
use url::form_urlencoded;

use crate::{
    Acceptance, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Probe, Request, Spec, Step,
    Verdict,
    aws::{self, xml},
    hook, phone,
};

settings! {
    /// Settings of an Amazon SNS account.
    pub struct Settings {
        /// Of an IAM user that may sns:Publish, sns:GetSMSSandboxAccountStatus and sns:GetSMSAttributes.
        access_key_id: String = "Access key ID";
        /// Shown once when the key is made. The address for delivery reports is made from it too.
        secret_access_key: Secret = "Secret access key";
        /// One that can send SMS, such as eu-west-1.
        region: String = "Region";
        /// Only with temporary keys.
        session_token: Option<Secret> = "Session token";
        /// How Amazon routes the messages: transactional is the more reliable route, promotional the cheaper one.
        sms_type: SmsType = "SMS type", default "transactional";
        /// Most a message may cost, in US dollars, such as 0.50. Amazon does not send dearer ones.
        max_price: Option<String> = "Highest price";
        /// India only: the entity id of your DLT registration.
        entity_id: Option<String> = "DLT entity ID";
        /// India only: the id of the registered template all messages of this account follow.
        template_id: Option<String> = "DLT template ID";
    }
}

/// How Amazon routes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmsType {
    /// By the more reliable route.
    Transactional,
    /// By the cheaper route.
    Promotional,
}

impl Setting for SmsType {
    const KIND: FieldKind = FieldKind::Choice { choices: &["transactional", "promotional"] };

    fn read(text: Option<&str>) -> Result<Self, String> {
        match text {
            Some("transactional") => Ok(Self::Transactional),
            Some("promotional") => Ok(Self::Promotional),
            _ => Err("must be transactional or promotional".to_owned()),
        }
    }
}

/// The name requests are signed for.
const SERVICE: &str = "sns";
/// The version of SNS's API, the only one there is.
const VERSION: &str = "2010-03-31";
/// Longest text of one `Publish`, in bytes of UTF-8. <https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html>
const TEXT_MAX: usize = 1600;
/// Lengths of a sender's name. <https://docs.aws.amazon.com/sns/latest/dg/sms_sending-overview.html>
const NAME: std::ops::RangeInclusive<usize> = 3..=11;
/// Digits of a short code.
const SHORT_CODE: std::ops::RangeInclusive<usize> = 3..=8;
/// Longest id of India's DLT registers.
const DLT_MAX: usize = 50;

static SPEC: Spec = Spec {
    id: "sns",
    name: "Amazon SNS",
    docs_url: "https://docs.aws.amazon.com/sns/latest/dg/sns-mobile-phone-number-as-subscriber.html",
    channels: &[Channel::Sms],
    fields: Settings::FIELDS,
    from_example: "ACME",
    // Without a sender Amazon chooses one of the account's numbers, or a shared one.
    needs_from: false,
    // 20 messages a second in most regions (from memory of Amazon's quotas, which differ by region); SNS says when it is exceeded.
    limits: Limits { per_second: 20, concurrency: 16 },
    has_receipts: false,
    callback_help: "Amazon SNS does not call back. To see deliveries, switch on SMS delivery status logging (100% sampling) and forward the log \
        records from CloudWatch Logs with a subscription filter and a Lambda function that POSTs them as JSON to the callback URL.",
    callback_security: "Not signed: the records come from your own Lambda function. The callback URL ends in a secret made from the account's \
        secret access key; keep the URL to yourself.",
};

/// The connector for SMS through Amazon SNS.
pub struct Sns;

impl Connector for Sns {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let settings = Settings::read(settings)?;
        if settings.access_key_id.is_empty() || !settings.access_key_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(bad("access_key_id", "must be letters and digits, such as AKIAIOSFODNN7EXAMPLE"));
        }
        if !aws::is_region(&settings.region) {
            return Err(bad("region", "must be a region's code, such as eu-west-1"));
        }
        if settings.max_price.as_deref().is_some_and(|price| crate::decimal::micros(price).is_none_or(|p| p == 0)) {
            return Err(bad("max_price", "must be an amount of US dollars above zero, such as 0.50"));
        }
        let is_dlt = |id: &str| id.len() <= DLT_MAX && id.bytes().all(|b| b.is_ascii_alphanumeric());
        for (field, id) in [("entity_id", &settings.entity_id), ("template_id", &settings.template_id)] {
            if id.as_deref().is_some_and(|id| !is_dlt(id)) {
                return Err(bad(field, "must be up to 50 letters and digits"));
            }
        }
        Ok(())
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        sender(from).map(drop)
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        text(content).map(drop)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let mut form = action("Publish");
        form.append_pair("PhoneNumber", phone(message.to)?.as_str()).append_pair("Message", text(message.content)?);
        for (index, (name, kind, value)) in attributes(cx, &settings)?.into_iter().enumerate() {
            let part = |part| format!("MessageAttributes.entry.{}.{part}", index + 1);
            form.append_pair(&part("Name"), name)
                .append_pair(&part("Value.DataType"), kind)
                .append_pair(&part("Value.StringValue"), &value);
        }
        call(cx, &settings, form)
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match answer {
            Answer::Http(http) if http.status == 200 => taken(http),
            Answer::Http(http) => Outcome::Refused(errors::failure(http, cx.now)),
            _ => Outcome::Refused(unreadable("no HTTP answer")),
        })
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let settings = Settings::read(cx.settings)?;
        [(CREDENTIALS, "GetSMSSandboxAccountStatus"), (BUDGET, "GetSMSAttributes")]
            .into_iter()
            .map(|(name, operation)| Ok(Probe { name, call: call(cx, &settings, action(operation))? }))
            .collect()
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        let Answer::Http(http) = answer else {
            return vec![Check::failed(probe.name, "Amazon gave no HTTP answer.")];
        };
        if http.status != 200 {
            let failure = errors::failure(http, cx.now);
            return vec![Check::failed(probe.name, format!("{} ({})", failure.detail, failure.code))];
        }
        let body = http.text();
        match probe.name {
            BUDGET => vec![budget(&body)],
            _ => sandbox(cx, &body),
        }
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }
}

impl Inbound for Sns {
    fn path(&self, cx: &Cx<'_>) -> String {
        token(cx).map_or(String::new(), |token| format!("/{token}"))
    }

    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, _fetched: Option<&Answer>) -> Verdict {
        match token(cx) {
            Ok(token) if hook::has_token(request, &token) => Verdict::Valid,
            Ok(_) => Verdict::Invalid(
                "the address does not end in the account's secret: give the account's callback URL to the function again"
                    .to_owned(),
            ),
            Err(bad) => Verdict::Invalid(format!("the account's settings cannot be read: {bad}")),
        }
    }

    fn read(&self, _cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        reports::read(request.body)
    }
}

fn token(cx: &Cx<'_>) -> Result<String, BadSetting> {
    Ok(hook::token(cx, &Settings::read(cx.settings)?.secret_access_key, "sns reports"))
}

fn action(name: &str) -> form_urlencoded::Serializer<'static, String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("Action", name).append_pair("Version", VERSION);
    form
}

fn call(
    cx: &Cx<'_>,
    settings: &Settings,
    mut form: form_urlencoded::Serializer<'static, String>,
) -> Result<Call, Failure> {
    let base = cx.base_or(&format!("https://sns.{}.amazonaws.com", settings.region));
    let call = HttpCall::new(Method::Post, format!("{base}/"))
        .body("application/x-www-form-urlencoded; charset=utf-8", form.finish());
    let keys = aws::Keys {
        access_key_id: &settings.access_key_id,
        secret_access_key: &settings.secret_access_key,
        session_token: settings.session_token.as_ref(),
        region: &settings.region,
    };
    aws::signed(call, &keys, SERVICE, cx.now).map(Call::Http)
}

/// Name, data type and value of the message's attributes.
/// <https://docs.aws.amazon.com/sns/latest/dg/sms_publish-to-phone.html>
fn attributes(cx: &Cx<'_>, settings: &Settings) -> Result<Vec<(&'static str, &'static str, String)>, Failure> {
    let kind = match settings.sms_type {
        SmsType::Transactional => "Transactional",
        SmsType::Promotional => "Promotional",
    };
    let mut attributes = vec![("AWS.SNS.SMS.SMSType", "String", kind.to_owned())];
    if let Some(from) = cx.from.filter(|from| !from.is_empty()) {
        let name = sender(from).map_err(|bad| {
            let detail = format!("The sender {from} cannot be used: it {}.", bad.detail);
            Failure::new(FailureKind::Account, "bad_sender", detail)
        })?;
        attributes.push((name, "String", from.to_owned()));
    }
    let optional = [
        ("AWS.SNS.SMS.MaxPrice", "Number", &settings.max_price),
        ("AWS.MM.SMS.EntityId", "String", &settings.entity_id),
        ("AWS.MM.SMS.TemplateId", "String", &settings.template_id),
    ];
    attributes.extend(optional.into_iter().filter_map(|(name, kind, value)| Some((name, kind, value.clone()?))));
    Ok(attributes)
}

/// The attribute that carries a sender: a name, or a number of the account.
fn sender(from: &str) -> Result<&'static str, BadSetting> {
    let is_digits = !from.is_empty() && from.bytes().all(|b| b.is_ascii_digit());
    if from.parse::<Phone>().is_ok() || is_digits && SHORT_CODE.contains(&from.len()) {
        return Ok("AWS.MM.SMS.OriginationNumber");
    }
    let is_name = NAME.contains(&from.len())
        && from.bytes().all(|b| b.is_ascii_alphanumeric())
        && from.bytes().any(|b| b.is_ascii_alphabetic());
    if is_name {
        return Ok("AWS.SNS.SMS.SenderID");
    }
    Err(bad(
        "from",
        "must be a number of the account such as +15550100001, a short code, or a name of 3 to 11 letters and digits with at least one letter",
    ))
}

/// What an SMS says, or which of its fields SNS cannot carry.
fn text(content: &Content) -> Result<&str, Failure> {
    let Content::Sms(sms) = content else {
        return Err(refused("/channel", "Amazon SNS carries SMS only"));
    };
    if !sms.media.is_empty() {
        return Err(refused("/content/media", "Amazon SNS carries no media; put a link into the text"));
    }
    if sms.text.is_empty() {
        return Err(refused("/content/text", "is empty"));
    }
    if sms.text.len() > TEXT_MAX {
        let detail = format!("is longer than Amazon SNS's {TEXT_MAX} bytes; letters beyond ASCII take two and more");
        return Err(refused("/content/text", &detail));
    }
    Ok(&sms.text)
}

fn refused(pointer: &str, detail: &str) -> Failure {
    Failure::new(FailureKind::Content, "cannot_carry", format!("{pointer}: {detail}."))
}

/// Reads a 200: a message id in a whole answer, or nobody can say.
fn taken(http: &HttpAnswer) -> Outcome {
    let body = http.text();
    let is_whole = !http.is_truncated && body.trim_end().ends_with("</PublishResponse>");
    match xml::text(&body, "MessageId").filter(|id| is_whole && !id.is_empty()) {
        Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
        None => Outcome::Refused(unreadable(&body)),
    }
}

fn unreadable(words: &str) -> Failure {
    let detail =
        "Amazon SNS answered with success but without a message id, so nobody can say whether it took the message.";
    Failure::new(FailureKind::Unknown, "malformed_answer", detail).with_provider_detail(words)
}

const CREDENTIALS: &str = "Credentials";
const BUDGET: &str = "Spending limit";

fn sandbox(cx: &Cx<'_>, body: &str) -> Vec<Check> {
    const NAME: &str = "Production access";
    let production = match xml::text(body, "IsInSandbox").as_deref() {
        Some("false") => Check::ok(NAME, "Messages may go to any number."),
        Some("true") => Check::failed(
            NAME,
            "The account is in the SMS sandbox of this region: only verified numbers can be written to. Ask Amazon to move it out.",
        ),
        _ => return vec![not_amazon(CREDENTIALS)],
    };
    let sender = match cx.from {
        Some(from) => Check::ok("Sender", format!("Messages leave from {from}, where the country allows it.")),
        None => Check::ok("Sender", "Amazon chooses one of the account's numbers, or a shared one."),
    };
    vec![Check::ok(CREDENTIALS, "The keys work."), production, sender]
}

fn budget(body: &str) -> Check {
    if xml::text(body, "RequestId").is_none() {
        return not_amazon(BUDGET);
    }
    match xml::entry(body, "MonthlySpendLimit") {
        Some(limit) => Check::ok(BUDGET, format!("{limit} USD a month. Amazon stops sending when it is reached.")),
        None => Check::ok(
            BUDGET,
            "Amazon's default of 1 USD a month, unless it was raised. Amazon stops sending when it is reached.",
        ),
    }
}

fn not_amazon(name: &str) -> Check {
    Check::failed(name, "The answer is not Amazon's. Check the region and any base URL.")
}

fn bad(field: &str, detail: &str) -> BadSetting {
    BadSetting { field: field.to_owned(), detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Media, MediaKind, SmsContent};

    #[test]
    fn senders() {
        for (from, wanted) in [
            ("+15550100001", Some("AWS.MM.SMS.OriginationNumber")),
            ("12345", Some("AWS.MM.SMS.OriginationNumber")),
            ("ACME", Some("AWS.SNS.SMS.SenderID")),
            ("1a2", Some("AWS.SNS.SMS.SenderID")),
            ("ACMETICKETS", Some("AWS.SNS.SMS.SenderID")),
            ("ACMETICKETS2", None),
            ("AB", None),
            ("12", None),
            ("AC ME", None),
            ("Zürich", None),
            ("", None),
        ] {
            assert_eq!(sender(from).ok(), wanted, "{from}");
        }
    }

    #[test]
    fn texts() {
        let sms = |text: String| Content::Sms(SmsContent { text, media: Vec::new() });
        assert_eq!(text(&sms("ä".repeat(800))), Ok("ä".repeat(800).as_str()));
        let field = |content: &Content| text(content).unwrap_err().detail.split(':').next().unwrap().to_owned();
        assert_eq!(field(&sms("ä".repeat(801))), "/content/text");
        assert_eq!(field(&sms(String::new())), "/content/text");
        let media = vec![Media {
            kind: MediaKind::Image,
            url: Some("https://x/1".into()),
            attachment_id: None,
            caption: None,
            filename: None,
        }];
        assert_eq!(field(&Content::Sms(SmsContent { text: "Hi".into(), media })), "/content/media");
        assert_eq!(field(&Content::Voice(model::VoiceContent::default())), "/channel");
    }
}
