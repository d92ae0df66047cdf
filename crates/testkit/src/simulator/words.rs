//! What providers are asked, and what they answer, in their own words. Pure.

use model::{Answer, AttemptId, Broken, Call, HttpAnswer, HttpCall, MessageId, Method, SmtpCall, SmtpReply, SmtpStage};
use serde_json::{Value, json};
use url::{Url, form_urlencoded};

use super::provider::{Copy, Word};
use crate::{broken_after, broken_before, http_answer, smtp_accepted};

/// Who is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Twilio,
    Resend,
    Smtp,
}

/// One message within a request.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// The number of the client's wish, which every recipient's address carries.
    pub tag: u32,
    /// The message we said it is.
    pub message: MessageId,
    /// Which attempt, where the provider is told.
    pub attempt: Option<u32>,
    /// The recipient's address as the provider wants it.
    pub to: String,
    /// The text, or a mail's subject.
    pub text: String,
}

/// A request to send.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub kind: Kind,
    /// What names the account at the provider: account SID, API key, host.
    pub account: String,
    pub items: Vec<Item>,
    /// The idempotency key.
    pub key: Option<String>,
    /// True when it may carry many messages.
    pub is_batch: bool,
}

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub kind: Kind,
    pub account: String,
    pub about: About,
}

#[derive(Debug, Clone)]
pub(super) enum About {
    /// One copy by the provider's id.
    Id(String),
    /// Whatever went to this recipient.
    Recipient(String),
    /// Everything.
    All,
}

/// What a call is.
pub(super) enum Heard {
    Send(Request),
    Ask(Question),
    /// Nothing this provider understands.
    Odd(String),
}

/// Reads a call.
pub(super) fn hear(call: &Call) -> Heard {
    let heard = match call {
        Call::Local => None,
        Call::Smtp(smtp) => mail(smtp).map(Heard::Send),
        Call::Http(http) => match (Url::parse(&http.url), http.method) {
            (Ok(url), Method::Post) if url.host_str() == Some("api.twilio.com") => twilio(&url, http).map(Heard::Send),
            (Ok(url), Method::Post) if url.host_str() == Some("api.resend.com") => resend(&url, http).map(Heard::Send),
            (Ok(url), Method::Get) => question(&url, http).map(Heard::Ask),
            _ => None,
        },
    };
    heard.unwrap_or_else(|| Heard::Odd(format!("{call:?}")))
}

fn mail(smtp: &SmtpCall) -> Option<Request> {
    let to = smtp.rcpt_to.as_ref()?.as_str().to_owned();
    let attempt: AttemptId = smtp.envelope_id.as_deref()?.parse().ok()?;
    let item =
        Item { tag: tag(&to)?, message: attempt.message(), attempt: Some(attempt.number()), to, text: String::new() };
    Some(Request { kind: Kind::Smtp, account: smtp.host.clone(), items: vec![item], key: None, is_batch: false })
}

fn twilio(url: &Url, http: &HttpCall) -> Option<Request> {
    let form: std::collections::BTreeMap<String, String> = form_urlencoded::parse(&http.body).into_owned().collect();
    let callback = Url::parse(form.get("StatusCallback")?).ok()?;
    let attempt: AttemptId = callback.query_pairs().find(|(name, _)| name == "attempt")?.1.parse().ok()?;
    let to = form.get("To")?.clone();
    let text = form.get("Body")?.clone();
    let item = Item { tag: tag(&to)?, message: attempt.message(), attempt: Some(attempt.number()), to, text };
    Some(Request { kind: Kind::Twilio, account: sid(url)?, items: vec![item], key: None, is_batch: false })
}

fn sid(url: &Url) -> Option<String> {
    url.path_segments()?.nth(2).map(str::to_owned)
}

fn resend(url: &Url, http: &HttpCall) -> Option<Request> {
    let header = |name: &str| http.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    let body: Value = serde_json::from_slice(&http.body).ok()?;
    let is_batch = url.path() == "/emails/batch";
    let mails = if is_batch { body.as_array()?.clone() } else { vec![body] };
    let item = |mail: &Value| {
        let to = mail["to"][0].as_str()?.to_owned();
        let message = mail["tags"][0]["value"].as_str()?.parse().ok()?;
        Some(Item { tag: tag(&to)?, message, attempt: None, to, text: mail["subject"].as_str()?.to_owned() })
    };
    let items = mails.iter().map(item).collect::<Option<Vec<_>>>()?;
    let key = Some(header("idempotency-key")?);
    Some(Request { kind: Kind::Resend, account: header("authorization")?, items, key, is_batch })
}

fn question(url: &Url, http: &HttpCall) -> Option<Question> {
    let last = url.path_segments()?.next_back()?.trim_end_matches(".json").to_owned();
    match url.host_str()? {
        "api.twilio.com" => {
            let to = url.query_pairs().find(|(name, _)| name == "To").map(|(_, to)| to.into_owned());
            let about = to.map_or(About::Id(last), About::Recipient);
            Some(Question { kind: Kind::Twilio, account: sid(url)?, about })
        }
        "api.resend.com" => {
            let account = http.headers.iter().find(|(name, _)| name == "authorization")?.1.clone();
            let about = if last == "emails" { About::All } else { About::Id(last) };
            Some(Question { kind: Kind::Resend, account, about })
        }
        _ => None,
    }
}

/// The number in a recipient's address: the last eight digits of a phone number, or `m123@…`.
fn tag(to: &str) -> Option<u32> {
    match to.split_once('@') {
        Some((local, _)) => local.strip_prefix('m')?.parse().ok(),
        None => to.get(to.len().checked_sub(8)?..)?.parse().ok(),
    }
}

/// Why a provider refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Recipient,
    OptedOut,
    Content,
    Account,
    Unavailable,
}

/// What an exchange brings.
pub(super) type Brought = Result<Answer, Broken>;

/// The provider took the request; `ids` has an id for each message it took.
pub(super) fn accepted(request: &Request, ids: &[Option<String>]) -> Brought {
    match request.kind {
        Kind::Smtp => smtp_accepted(),
        Kind::Twilio => {
            let sid = ids.first().and_then(Option::as_ref).expect("a text that was taken has an id");
            http_answer(201, json!({ "sid": sid, "status": "queued", "num_segments": "2" }).to_string())
        }
        Kind::Resend if request.is_batch => {
            let data: Vec<Value> = ids.iter().flatten().map(|id| json!({ "id": id })).collect();
            let refused = ids.iter().enumerate().filter(|(_, id)| id.is_none());
            let errors: Vec<Value> = refused
                .map(|(index, _)| json!({ "index": index, "message": "Invalid `to` field: it is no address." }))
                .collect();
            http_answer(200, json!({ "data": data, "errors": errors }).to_string())
        }
        Kind::Resend => http_answer(200, json!({ "id": ids.first().and_then(Option::as_ref) }).to_string()),
    }
}

/// An answer that says yes and nothing else that can be read.
pub(super) fn garbled(kind: Kind) -> Brought {
    match kind {
        Kind::Smtp => broken_after("garbled_reply"),
        Kind::Twilio | Kind::Resend => http_answer(200, "<html>All is well</html>"),
    }
}

/// The provider failed inside.
pub(super) fn server_error(kind: Kind) -> Brought {
    match kind {
        Kind::Smtp => broken_after("connection_reset"),
        Kind::Twilio | Kind::Resend => http_answer(500, "{}"),
    }
}

/// The request never got there.
pub(super) fn lost_before() -> Brought {
    broken_before("connect_refused")
}

/// Nobody knows where the request got to.
pub(super) fn lost_after() -> Brought {
    broken_after("timeout")
}

/// Too much at once. `wait` is what the provider puts into `Retry-After`, if anything.
pub(super) fn throttled(kind: Kind, wait: Option<String>) -> Brought {
    let headers = wait.map(|wait| ("retry-after".to_owned(), wait)).into_iter().collect();
    let body = match kind {
        Kind::Smtp => return reply(SmtpStage::MailFrom, 421, "4.7.0", "too many connections"),
        Kind::Twilio => json!({ "code": 20429, "message": "Too Many Requests" }),
        Kind::Resend => json!({ "name": "rate_limit_exceeded", "message": "Too many requests" }),
    };
    Ok(Answer::Http(HttpAnswer { status: 429, headers, body: body.to_string().into(), is_truncated: false }))
}

/// A refusal.
pub(super) fn refused(kind: Kind, why: Why) -> Brought {
    match kind {
        Kind::Twilio => {
            let (status, code) = match why {
                Why::Recipient => (400, 21_211),
                Why::OptedOut => (400, 21_610),
                Why::Content => (400, 21_617),
                Why::Account => (401, 20_003),
                Why::Unavailable => (400, 30_017),
            };
            http_answer(status, json!({ "code": code, "message": "No", "status": status }).to_string())
        }
        Kind::Resend => {
            let (status, name, message) = match why {
                Why::Recipient | Why::OptedOut => (422, "validation_error", "Invalid `to` field"),
                Why::Content => (422, "invalid_attachment", "Bad attachment"),
                Why::Account => (403, "invalid_api_key", "API key is invalid"),
                Why::Unavailable => return lost_before(),
            };
            http_answer(status, json!({ "name": name, "message": message }).to_string())
        }
        Kind::Smtp => match why {
            Why::Recipient | Why::OptedOut => reply(SmtpStage::RcptTo, 550, "5.1.1", "no such user"),
            Why::Content => reply(SmtpStage::FinalDot, 554, "5.6.0", "content refused"),
            Why::Account => reply(SmtpStage::Auth, 535, "5.7.8", "bad credentials"),
            Why::Unavailable => reply(SmtpStage::Greeting, 451, "4.3.0", "try later"),
        },
    }
}

fn reply(stage: SmtpStage, code: u16, enhanced: &str, text: &str) -> Brought {
    let reply = SmtpReply { code, enhanced: Some(enhanced.to_owned()), text: text.to_owned() };
    Ok(Answer::Smtp(model::SmtpAnswer { stage, reply, capabilities: Vec::new(), tls: None }))
}

/// The provider says what it knows.
pub(super) fn told(question: &Question, copies: &[&Copy]) -> Brought {
    let resource = |copy: &Copy| match question.kind {
        Kind::Twilio => text_resource(copy),
        Kind::Resend | Kind::Smtp => mail_resource(copy),
    };
    let body = match (&question.about, copies.first()) {
        (About::Id(_), None) => return http_answer(404, "{}"),
        (About::Id(_), Some(copy)) => resource(copy),
        (About::Recipient(_), _) => json!({ "messages": copies.iter().map(|copy| resource(copy)).collect::<Vec<_>>() }),
        (About::All, _) => json!({ "data": copies.iter().map(|copy| resource(copy)).collect::<Vec<_>>() }),
    };
    http_answer(200, body.to_string())
}

fn text_resource(copy: &Copy) -> Value {
    let date = copy.at.jiff().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let status = copy.last().map_or("queued", Word::of_twilio);
    let error = (copy.last() == Some(Word::Failed)).then_some(30_005);
    json!({
        "sid": copy.id, "status": status, "error_code": error, "body": copy.item.text, "direction": "outbound-api",
        "date_created": date, "date_updated": date, "num_segments": "2",
    })
}

fn mail_resource(copy: &Copy) -> Value {
    let event = copy.last().map_or("queued", |word| word.of_resend().trim_start_matches("email."));
    json!({
        "id": copy.id, "to": [copy.item.to], "subject": copy.item.text, "created_at": copy.at.to_string(), "last_event": event,
    })
}
