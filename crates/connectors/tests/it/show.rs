//! Prints what connectors produce as text to be read beside the provider's documentation.

use std::fmt::Write as _;

use model::{BadSetting, Call, Fact, Failure, HttpCall, SmtpCall, SmtpSecurity, Timestamp};
use tidings_connectors::{
    Acceptance, Check, InboundFile, InboundMail, InboundMessage, Observed, Outcome, Polled, Pricing, Reply, Report,
    Verdict,
};

/// What is not printed because nearly every request has it.
const TIMEOUT_MS_DEFAULT: u64 = 30_000;

pub fn bad_setting(bad: &BadSetting) -> String {
    format!("bad setting {}: {}", bad.field, bad.detail)
}

pub fn call(call: &Call) -> String {
    match call {
        Call::Http(http) => http_call(http),
        Call::Smtp(smtp) => smtp_call(smtp),
        Call::Local => "local".to_owned(),
    }
}

fn http_call(call: &HttpCall) -> String {
    let mut text = format!("{} {}\n", call.method, call.url);
    if call.timeout_ms != TIMEOUT_MS_DEFAULT {
        writeln!(text, "(timeout_ms {})", call.timeout_ms).unwrap();
    }
    if call.is_untrusted {
        writeln!(text, "(untrusted, answer_max {})", call.answer_max).unwrap();
    }
    for (name, value) in &call.headers {
        writeln!(text, "{name}: {value}").unwrap();
    }
    if !call.body.is_empty() {
        let kind = call.headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value);
        write!(text, "\n{}", http_body(kind, &call.body)).unwrap();
    }
    text
}

/// JSON is indented and forms are taken apart, but only when nothing is lost by it.
fn http_body(kind: &str, bytes: &[u8]) -> String {
    if kind.starts_with("application/json")
        && let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes)
    {
        return serde_json::to_string_pretty(&value).unwrap();
    }
    if kind.starts_with("application/x-www-form-urlencoded") {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(bytes).into_owned().collect();
        let again = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        if again.as_bytes() == bytes {
            return pairs
                .iter()
                .map(|(name, value)| format!("{name}={}", one_line(value)))
                .collect::<Vec<_>>()
                .join("\n");
        }
    }
    lines(bytes)
}

fn smtp_call(call: &SmtpCall) -> String {
    let security = match call.security {
        SmtpSecurity::None => "none",
        SmtpSecurity::StartTls => "starttls",
        SmtpSecurity::Tls => "tls",
    };
    let mut text = format!("SMTP {}:{} {security}\nehlo: {}\n", call.host, call.port, call.helo);
    if let Some(login) = &call.login {
        writeln!(text, "auth: {} {}", login.username, login.password.reveal()).unwrap();
    }
    if let Some(rcpt_to) = &call.rcpt_to {
        writeln!(text, "mail from: <{}>\nrcpt to: <{}>", call.mail_from, rcpt_to.as_str()).unwrap();
    }
    if let Some(id) = &call.envelope_id {
        writeln!(text, "envelope id: {id}").unwrap();
    }
    if !call.data.is_empty() {
        write!(text, "\n{}", lines(&call.data)).unwrap();
    }
    text
}

/// Text with its line ends made plain; line ends that are mixed are shown.
fn lines(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let bare = text.replace("\r\n", "");
    if text.contains("\r\n") && (bare.contains('\n') || bare.contains('\r')) {
        return text.replace('\r', "\\r");
    }
    text.replace("\r\n", "\n")
}

pub fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted(acceptance) => accepted(acceptance),
        Outcome::Refused(failure) => self::failure("refused", failure),
    }
}

fn accepted(acceptance: &Acceptance) -> String {
    let Acceptance { provider_message_id, segments, price, moved_to, later } = acceptance;
    let mut text = "accepted\n".to_owned();
    field(&mut text, "provider_message_id", provider_message_id.as_ref());
    field(&mut text, "segments", segments.as_ref());
    field(&mut text, "price", price.as_ref().map(|price| format!("{} {} micros", price.currency, price.amount_micros)));
    field(&mut text, "moved_to", moved_to.as_ref());
    for (wait_ms, fact) in later {
        write!(text, "after {wait_ms} ms: {}", self::fact(fact)).unwrap();
    }
    text
}

pub fn failure(head: &str, failure: &Failure) -> String {
    let Failure { kind, code, detail, provider_detail, retry_after_ms, is_of_batch } = failure;
    let mut text = format!("{head} {kind}\n");
    field(&mut text, "code", Some(code));
    field(&mut text, "detail", Some(detail));
    field(&mut text, "provider_detail", provider_detail.as_ref());
    field(&mut text, "retry_after_ms", retry_after_ms.as_ref());
    if *is_of_batch {
        field(&mut text, "because of another", Some("yes"));
    }
    text
}

fn fact(fact: &Fact) -> String {
    match fact {
        Fact::Bounced { hard, failure } => self::failure(if *hard { "bounced hard" } else { "bounced soft" }, failure),
        Fact::Failed { failure } | Fact::Unknown { failure } | Fact::Suppressed { failure } => {
            self::failure(fact.as_str(), failure)
        }
        Fact::Clicked { url: Some(url) } => format!("clicked {url}\n"),
        _ => format!("{}\n", fact.as_str()),
    }
}

pub fn polled(polled: &Polled) -> String {
    match polled {
        Polled::NotTaken => "not taken".to_owned(),
        Polled::Undecided => "undecided".to_owned(),
        Polled::Known { provider_message_id, facts } => {
            let mut text = format!("known as {provider_message_id}\n");
            for (fact, at) in facts {
                let at = at.map_or("at an unknown time".to_owned(), |at: Timestamp| format!("at {at}"));
                write!(text, "{at}: {}", self::fact(fact)).unwrap();
            }
            text
        }
    }
}

pub fn checks(checks: &[Check]) -> String {
    let show = |check: &Check| {
        let sign = if check.ok { "ok" } else { "NOT OK" };
        format!("{sign} {}: {}", check.name, one_line(&check.detail))
    };
    checks.iter().map(show).collect::<Vec<_>>().join("\n")
}

pub fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Valid => "valid".to_owned(),
        Verdict::Invalid(reason) => format!("invalid: {reason}"),
        Verdict::Fetch(call) => format!("fetch\n{}", http_call(call)),
    }
}

pub fn observed(observed: &Result<Vec<Observed>, Failure>) -> String {
    match observed {
        Err(failure) => self::failure("unreadable", failure),
        Ok(seen) if seen.is_empty() => "nothing".to_owned(),
        Ok(seen) => seen.iter().map(one_observed).collect::<Vec<_>>().join("\n"),
    }
}

fn one_observed(observed: &Observed) -> String {
    match observed {
        Observed::Status(report) => self::report(report),
        Observed::Message(message) => self::message(message),
        Observed::Templates => "templates changed".to_owned(),
        Observed::Follow(call) => format!("follow\n{}", self::call(call)),
    }
}

fn report(report: &Report) -> String {
    let Report { provider_message_id, attempt_id, fact, at, segments, price, pricing, provider_status } = report;
    let mut text = self::fact(fact);
    field(&mut text, "provider_message_id", provider_message_id.as_ref());
    field(&mut text, "attempt_id", attempt_id.as_ref());
    field(&mut text, "provider_status", Some(provider_status));
    field(&mut text, "at", at.as_ref());
    field(&mut text, "segments", segments.as_ref());
    field(&mut text, "price", price.as_ref().map(|price| format!("{} {} micros", price.currency, price.amount_micros)));
    let billed = |pricing: &Pricing| format!("{}{}", pricing.category, if pricing.is_free { ", free" } else { "" });
    field(&mut text, "billed_as", pricing.as_ref().map(billed));
    text
}

fn message(message: &InboundMessage) -> String {
    let InboundMessage {
        provider_message_id,
        channel,
        from,
        from_name,
        to,
        text: words,
        media,
        location,
        button,
        in_reply_to,
        keyword,
        at,
        mail,
    } = message;
    let mut text = format!("message over {channel}\n");
    field(&mut text, "provider_message_id", Some(provider_message_id));
    field(&mut text, "from", Some(from));
    field(&mut text, "from_name", from_name.as_ref());
    field(&mut text, "to", Some(to));
    field(&mut text, "text", Some(words).filter(|words| !words.is_empty()));
    for file in media {
        field(&mut text, "media", Some(serde_json::to_string(file).unwrap()));
    }
    field(&mut text, "location", location.as_ref().map(|place| serde_json::to_string(place).unwrap()));
    field(&mut text, "button", button.as_ref());
    field(&mut text, "in_reply_to", in_reply_to.as_ref());
    field(&mut text, "keyword", keyword.map(|keyword| format!("{keyword:?}").to_lowercase()));
    field(&mut text, "at", at.as_ref());
    if let Some(mail) = mail {
        self::mail(&mut text, mail);
    }
    text
}

fn mail(text: &mut String, mail: &InboundMail) {
    let InboundMail { subject, new_text, html, files, files_left_out, references, answers, is_automatic } = mail;
    field(text, "subject", Some(subject));
    field(text, "new_text", Some(new_text).filter(|words| !words.is_empty()));
    field(text, "html", html.as_ref());
    for file in files {
        let InboundFile { filename, content_type, content_id, bytes } = file;
        let id = content_id.as_ref().map(|id| format!(" <{id}>")).unwrap_or_default();
        field(text, "file", Some(format!("{filename} ({content_type}, {} bytes){id}", bytes.len())));
    }
    field(text, "files left out", Some(files_left_out).filter(|count| **count > 0));
    for id in references {
        field(text, "refers to", Some(id));
    }
    field(text, "answers", answers.as_ref());
    if *is_automatic {
        field(text, "automatic", Some("yes"));
    }
}

pub fn reply(reply: &Reply) -> String {
    match &reply.body {
        None => reply.status.to_string(),
        Some((kind, body)) => format!("{}\ncontent-type: {kind}\n\n{body}", reply.status),
    }
}

fn field(text: &mut String, name: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        writeln!(text, "{name}: {}", one_line(&value.to_string())).unwrap();
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', "\\n").replace('\r', "\\r")
}
