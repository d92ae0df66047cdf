//! Amazon SES, version 2 of its API, with events over Amazon SNS.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/Welcome.html>
//!
//! `SendEmail` has no idempotency key and SES can be asked about a mail by its id only, so a lost answer stays unknown until an event with our tag says
//! more. Events come only when the account names a configuration set with an SNS destination.

mod bulk;
mod callbacks;
mod domains;
mod errors;
mod events;
mod figures;
mod insights;
mod mails;
mod request;
mod sender;

use model::{
    Answer, BadSetting, Call, Channel, Content, EmailAddress, Failure, FailureKind, HttpAnswer, HttpCall, MessageId,
    Method, Secret, Values, settings,
};
use serde_json::Value;

use crate::{
    Acceptance, Asked, Batch, Check, Connector, Cx, Inbound, Limits, Observed, Outcome, Outgoing, Polled, Probe,
    Request, Spec, Step, Verdict,
    aws::{
        self,
        envelope::{Envelope, is_amazon, is_below},
    },
    letter, manage, mime,
};

settings! {
    /// Settings of an Amazon SES account.
    pub struct Settings {
        /// Of an IAM user that may ses:SendEmail, ses:SendBulkEmail and ses:GetAccount; for statistics also ses:GetSendStatistics.
        access_key_id: String = "Access key ID";
        /// Shown once when the key is made.
        secret_access_key: Secret = "Secret access key";
        /// Where the identities are verified, such as eu-west-1.
        region: String = "Region";
        /// Its SNS destination brings deliveries, bounces and complaints back.
        configuration_set: Option<String> = "Configuration set";
        /// Events of any other topic are refused. Signatures are checked with and without it, but anybody at Amazon may have a topic.
        topic_arn: Option<String> = "SNS topic ARN";
        /// Only with temporary keys.
        session_token: Option<Secret> = "Session token";
        /// Asks Amazon about mails that had no event. Needs ses:GetMessageInsights, and Virtual Deliverability Manager, which costs extra.
        message_insights: bool = "Message insights", default "false";
        /// A domain of yours that receives at SES, such as reply.acme.example: each mail then asks for answers to an address of its own there, and a receipt rule that tells the topic, with
        /// the mail or a bucket it lies in, makes inbound messages of them. Mails then leave one by one: SES has one address for answers in a request. Needs `topic_arn`.
        reply_domain: Option<String> = "Reply domain";
    }
}

/// The name requests are signed for, which differs from the host's.
const SERVICE: &str = "ses";

static SPEC: Spec = Spec {
    id: "ses",
    name: "Amazon SES",
    docs_url: "https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html",
    channels: &[Channel::Email],
    fields: Settings::FIELDS,
    from_example: "Acme Tickets <tickets@acme.example>",
    needs_from: true,
    // The rate is the account's own (1 a second in the sandbox, then 14 and more); SES says when it is exceeded.
    limits: Limits { per_second: 0, concurrency: 32 },
    has_receipts: true,
    callback_help: "In Amazon SNS, make a topic with an HTTPS subscription to the callback URL, raw message delivery off; it confirms itself. In \
        Amazon SES, give the configuration set an event destination to that topic and name the set in this account. For answers, make a receipt rule for the reply domain \
        with an action to the same topic: SNS for mails up to 150 KB, or S3 with that topic, whose objects this account's key may read.",
    callback_security: "Every notification carries an RSA signature by Amazon SNS, which is checked. Set `topic_arn` so that only your own \
        topic is heard.",
};

/// The connector for Amazon SES.
pub struct Ses;

impl Connector for Ses {
    fn spec(&self) -> &'static Spec {
        &SPEC
    }

    fn check(&self, settings: &Values) -> Result<(), BadSetting> {
        let bad = |field: &str, detail: &str| BadSetting { field: field.to_owned(), detail: detail.to_owned() };
        let settings = Settings::read(settings)?;
        if settings.access_key_id.is_empty() || !settings.access_key_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(bad("access_key_id", "must be letters and digits, such as AKIAIOSFODNN7EXAMPLE"));
        }
        if !aws::is_region(&settings.region) {
            return Err(bad("region", "must be a region's code, such as eu-west-1"));
        }
        let is_set = |name: &str| {
            name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        if settings.configuration_set.as_deref().is_some_and(|name| !is_set(name)) {
            return Err(bad("configuration_set", "must be up to 64 letters, digits, dashes and underscores"));
        }
        let is_topic = |arn: &str| arn.starts_with("arn:aws") && arn.split(':').count() == 6 && arn.contains(":sns:");
        if settings.topic_arn.as_deref().is_some_and(|arn| !is_topic(arn)) {
            return Err(bad(
                "topic_arn",
                "must be a topic's ARN, such as arn:aws:sns:eu-west-1:123456789012:ses-events",
            ));
        }
        if settings.reply_domain.is_some() && settings.topic_arn.is_none() {
            return Err(bad("topic_arn", "is missing; without it the mails of anybody's topic would be believed"));
        }
        letter::check_domain(settings.reply_domain.as_deref())
    }

    fn check_from(&self, from: &str, _channel: Channel) -> Result<(), BadSetting> {
        let mailbox = mime::mailbox(from)?;
        if mailbox.address.as_str().is_ascii() {
            return Ok(());
        }
        Err(BadSetting {
            field: "from".to_owned(),
            detail: "has letters beyond ASCII before the @, which Amazon SES does not take".to_owned(),
        })
    }

    fn can_carry(&self, _settings: &Values, content: &Content) -> Result<(), Failure> {
        let Content::Email(email) = content else {
            return Err(Failure::new(FailureKind::Content, "wrong_channel", "Amazon SES carries e-mail only."));
        };
        mime::check(email)?;
        if email.reply_to.as_ref().is_some_and(|address| !address.as_str().is_ascii()) {
            let detail = "`reply_to` has letters beyond ASCII before the @, which Amazon SES does not take.";
            return Err(Failure::new(FailureKind::Content, "bad_content", detail));
        }
        request::check_size(email)
    }

    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let body = request::body(cx, message, settings.configuration_set.as_deref())?;
        let url = format!("{}/v2/email/outbound-emails", base(cx, &settings));
        sign(cx, &settings, HttpCall::new(Method::Post, url).body("application/json", body))
    }

    fn answer(&self, cx: &Cx<'_>, _message: &Outgoing<'_>, _step: u8, answer: &Answer) -> Step {
        Step::Done(match http(answer) {
            Ok(http) if http.status == 200 => taken(http),
            Ok(http) => Outcome::Refused(errors::failure(http, cx.now)),
            Err(failure) => Outcome::Refused(failure),
        })
    }

    fn batch(&self) -> Option<&dyn Batch> {
        Some(self)
    }

    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure> {
        let settings = Settings::read(cx.settings)?;
        let url = format!("{}/v2/email/account", base(cx, &settings));
        let account = Probe { name: "Credentials", call: sign(cx, &settings, HttpCall::new(Method::Get, url))? };
        Ok(std::iter::once(account).chain(sender::probe(cx, &settings)?).collect())
    }

    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check> {
        match http(answer) {
            _ if probe.name == sender::NAME => vec![sender::check(cx, answer)],
            Ok(http) if http.status == 200 => account(probe.name, http),
            Ok(http) => {
                let failure = errors::failure(http, cx.now);
                let words = failure.provider_detail.unwrap_or_default();
                vec![Check::failed(probe.name, format!("{} ({}: {words})", failure.detail, failure.code))]
            }
            Err(failure) => vec![Check::failed(probe.name, failure.detail)],
        }
    }

    fn can_poll(&self, settings: &Values) -> bool {
        Settings::read(settings).is_ok_and(|settings| settings.message_insights)
    }

    fn poll(&self, cx: &Cx<'_>, asked: &Asked<'_>) -> Option<Call> {
        insights::ask(cx, asked)
    }

    fn polled(&self, _cx: &Cx<'_>, asked: &Asked<'_>, answer: &Answer) -> Polled {
        insights::read(asked, answer)
    }

    fn reply_address(&self, cx: &Cx<'_>, message: MessageId) -> Option<EmailAddress> {
        letter::reply_address(cx, &Settings::read(cx.settings).ok()?.secret_access_key, message)
    }

    fn inbound(&self) -> Option<&dyn Inbound> {
        Some(self)
    }

    fn domains(&self) -> Option<&dyn manage::Domains> {
        Some(&domains::Domains)
    }

    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        Some(&callbacks::Events)
    }

    fn figures(&self) -> Option<&dyn manage::Figures> {
        Some(&figures::Statistics)
    }
}

impl Batch for Ses {
    fn max(&self) -> usize {
        bulk::BATCH_MAX
    }

    fn fits(&self, _cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
        bulk::fits(first, other)
    }

    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure> {
        let settings = Settings::read(cx.settings)?;
        let body = bulk::body(cx, messages, settings.configuration_set.as_deref())?;
        let url = format!("{}/v2/email/outbound-bulk-emails", base(cx, &settings));
        sign(cx, &settings, HttpCall::new(Method::Post, url).body("application/json", body))
    }

    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome> {
        match http(answer) {
            Ok(http) => bulk::outcomes(cx, messages.len(), http),
            Err(failure) => vec![Outcome::Refused(failure); messages.len()],
        }
    }
}

impl Inbound for Ses {
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, fetched: Option<&Answer>) -> Verdict {
        let topic = cx.settings.get("topic_arn").filter(|arn| !arn.is_empty());
        match Envelope::read(request) {
            Ok(envelope) => envelope.verify(topic, cx.base_url, cx.now, fetched),
            Err(reason) => Verdict::Invalid(reason),
        }
    }

    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure> {
        let envelope =
            Envelope::read(request).map_err(|reason| Failure::new(FailureKind::Unavailable, "bad_callback", reason))?;
        match (envelope.r#type.as_str(), envelope.subscribe_url.as_deref()) {
            ("Notification", _) => Ok(events::read(&envelope.message)),
            ("SubscriptionConfirmation", Some(url)) => confirm(url, cx.base_url),
            // Unsubscribing is the topic owner's business: following the link would subscribe again.
            _ => Ok(Vec::new()),
        }
    }

    fn missing(&self, cx: &Cx<'_>, request: &Request<'_>, answers: &[Answer]) -> Result<Option<Call>, Failure> {
        match received(request) {
            Some(event) => mails::missing(cx, &event, answers),
            None => Ok(None),
        }
    }

    fn read_with(&self, cx: &Cx<'_>, request: &Request<'_>, answers: &[Answer]) -> Result<Vec<Observed>, Failure> {
        match received(request) {
            Some(event) => mails::read(cx, &event, answers),
            None => self.read(cx, request),
        }
    }

    fn dedupe_key(&self, request: &Request<'_>) -> Option<String> {
        Envelope::read(request).ok().map(|envelope| envelope.message_id)
    }
}

/// The mail a notification tells of.
fn received(request: &Request<'_>) -> Option<Value> {
    let envelope = Envelope::read(request).ok().filter(|envelope| envelope.r#type == "Notification")?;
    mails::notification(&envelope.message)
}

fn base(cx: &Cx<'_>, settings: &Settings) -> String {
    cx.base_or(&format!("https://email.{}.amazonaws.com", settings.region))
}

fn sign(cx: &Cx<'_>, settings: &Settings, call: HttpCall) -> Result<Call, Failure> {
    let keys = aws::Keys {
        access_key_id: &settings.access_key_id,
        secret_access_key: &settings.secret_access_key,
        session_token: settings.session_token.as_ref(),
        region: &settings.region,
    };
    aws::signed(call, &keys, SERVICE, cx.now).map(Call::Http)
}

fn http(answer: &Answer) -> Result<&HttpAnswer, Failure> {
    match answer {
        Answer::Http(http) => Ok(http),
        Answer::Smtp(_) | Answer::Local => {
            Err(Failure::new(FailureKind::Unknown, "no_answer", "No HTTP answer came back."))
        }
    }
}

/// A 200 is only an acceptance when it names the mail's id.
fn taken(answer: &HttpAnswer) -> Outcome {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match body.get("MessageId").and_then(Value::as_str).filter(|id| !id.is_empty() && !answer.is_truncated) {
        Some(id) => Outcome::Accepted(Acceptance::with_id(id)),
        None => Outcome::Refused(
            Failure::new(
                FailureKind::Unknown,
                "malformed_answer",
                "Amazon SES said 200 without a MessageId: nobody can say whether it took the mail.",
            )
            .with_provider_detail(answer.text()),
        ),
    }
}

fn confirm(url: &str, base_url: Option<&str>) -> Result<Vec<Observed>, Failure> {
    let is_standing_in = is_below(url, base_url);
    if !is_standing_in && !is_amazon(url, |_| true) {
        let detail = "SubscribeURL is not on Amazon's SNS hosts; the subscription is not confirmed.";
        return Err(Failure::new(FailureKind::Unavailable, "bad_subscribe_url", detail));
    }
    let mut call = HttpCall::new(Method::Get, url);
    call.is_untrusted = !is_standing_in;
    Ok(vec![Observed::Follow(Call::Http(call))])
}

/// Reads `GetAccount`: <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_GetAccount.html>
fn account(name: &str, answer: &HttpAnswer) -> Vec<Check> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let flag = |field: &str| body.get(field).and_then(Value::as_bool);
    let (Some(is_enabled), Some(is_production)) = (flag("SendingEnabled"), flag("ProductionAccessEnabled")) else {
        return vec![Check::failed(
            name,
            "Amazon answered something that is no SES account. Check the region and any base URL.",
        )];
    };
    let sending = if is_enabled {
        Check::ok("Sending", "Sending is enabled.")
    } else {
        Check::failed("Sending", "Sending is paused for this account and region. Look into the SES console.")
    };
    let production = if is_production {
        Check::ok("Production access", "Mails may go to any recipient.")
    } else {
        Check::failed(
            "Production access",
            "The account is in the SES sandbox: only verified recipients, 200 a day. Ask Amazon for production access.",
        )
    };
    let enforcement = match body.get("EnforcementStatus").and_then(Value::as_str).unwrap_or("HEALTHY") {
        "HEALTHY" => Check::ok("Reputation", "HEALTHY"),
        status => Check::failed(
            "Reputation",
            format!("{status}: Amazon objects to bounces or complaints. Look into the SES console."),
        ),
    };
    vec![Check::ok(name, "The keys work."), sending, production, quota(&body), enforcement]
}

fn quota(body: &Value) -> Check {
    let number = |field: &str| body.get("SendQuota").and_then(|quota| quota.get(field)).and_then(Value::as_f64);
    let (Some(most), Some(sent)) = (number("Max24HourSend"), number("SentLast24Hours")) else {
        return Check::ok("Quota", "Amazon names none.");
    };
    let rate = number("MaxSendRate").map_or(String::new(), |rate| format!(", {rate} a second at most"));
    if most < 0.0 {
        return Check::ok("Quota", format!("{sent} sent in 24 hours, without a limit{rate}."));
    }
    let used = format!("{sent} of {most} sent in 24 hours{rate}.");
    if sent < most {
        Check::ok("Quota", used)
    } else {
        Check::failed("Quota", format!("{used} Ask Amazon for a higher quota."))
    }
}
