//! What is asked of a provider and what came back, as data. Connectors build and read these; only `net` performs them.

use std::fmt;

use bytes::Bytes;

use crate::{EmailAddress, Secret};

/// One exchange to be made.
#[derive(Debug, Clone)]
pub enum Call {
    /// An HTTP request.
    Http(HttpCall),
    /// One mail over SMTP.
    Smtp(SmtpCall),
    /// No exchange: the connector answers by itself (sandbox, no-op). The engine hands it [`Answer::Local`].
    Local,
}

/// HTTP request methods in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        })
    }
}

/// An HTTP request. Header names are lower case.
#[derive(Clone)]
pub struct HttpCall {
    /// Request method.
    pub method: Method,
    /// Absolute `http` or `https` URL.
    pub url: String,
    /// Headers in order; `host`, `content-length` and `user-agent` are added by the transport.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// Time for the whole exchange, in milliseconds.
    pub timeout_ms: u64,
    /// Largest answer read, in bytes; what follows is dropped and the answer marked truncated.
    pub answer_max: usize,
    /// True when a tenant chose the URL (webhooks, attachments by URL): then only the ports 80 and 443 are open, besides hosts the operator
    /// allowed. The guard against private addresses holds for every call.
    pub is_untrusted: bool,
}

/// Time for one provider request unless its connector says otherwise, in milliseconds.
pub const TIMEOUT_MS: u64 = 30_000;
/// Largest provider answer read unless its connector says otherwise, in bytes.
pub const ANSWER_MAX: usize = 1 << 20;

impl HttpCall {
    /// A request without headers or body, with the default limits.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self {
            method,
            url: url.into(),
            headers: Vec::new(),
            body: Bytes::new(),
            timeout_ms: TIMEOUT_MS,
            answer_max: ANSWER_MAX,
            is_untrusted: false,
        }
    }

    /// Adds a header; the name is lower case.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        debug_assert!(name.bytes().all(|b| !b.is_ascii_uppercase()), "header names are lower case");
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Sets a body and its content type.
    #[must_use]
    pub fn body(self, content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut call = self.header("content-type", content_type);
        call.body = body.into();
        call
    }

    /// Adds `Authorization: Basic`.
    #[must_use]
    pub fn basic_auth(self, user: &str, password: &Secret) -> Self {
        use base64::Engine as _;
        let token = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.reveal()));
        self.header("authorization", format!("Basic {token}"))
    }
}

// The URL and headers may carry credentials: only the method and host are printed.
impl fmt::Debug for HttpCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.split('/').nth(2).unwrap_or("?");
        write!(f, "HttpCall({} {host}, {} bytes)", self.method, self.body.len())
    }
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmtpSecurity {
    /// Plain text throughout. Only sensible on a trusted network.
    None,
    /// Plain greeting, then STARTTLS; refused when the server does not offer it (RFC 3207).
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
}

/// Credentials for SMTP AUTH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpLogin {
    /// User name as the server knows it.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

/// One mail to one recipient over SMTP, or only the sign-in when `mail` is `None`.
#[derive(Debug, Clone)]
pub struct SmtpCall {
    /// Server name, used for DNS, SNI and certificate checks.
    pub host: String,
    /// Server port.
    pub port: u16,
    /// Protection of the connection.
    pub security: SmtpSecurity,
    /// Credentials, when the server wants any.
    pub login: Option<SmtpLogin>,
    /// Name given in EHLO.
    pub helo: String,
    /// Envelope sender.
    pub mail_from: String,
    /// Envelope recipient; `None` checks connection and credentials only.
    pub rcpt_to: Option<EmailAddress>,
    /// The finished message with CRLF line ends, not yet dot-stuffed.
    pub data: Bytes,
    /// Envelope id for delivery reports (RFC 3461), sent when the server offers DSN.
    pub envelope_id: Option<String>,
    /// Time for each command's reply, in milliseconds. The final dot gets ten minutes (RFC 5321 4.5.3.2.6) at most.
    pub timeout_ms: u64,
}

/// A complete answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To [`Call::Http`].
    Http(HttpAnswer),
    /// To [`Call::Smtp`].
    Smtp(SmtpAnswer),
    /// To [`Call::Local`].
    Local,
}

/// An HTTP answer. Header names are lower case.
#[derive(Debug, Clone, Default)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The body, at most the call's `answer_max`.
    pub body: Bytes,
    /// True when the body was cut at the limit.
    pub is_truncated: bool,
}

impl HttpAnswer {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }

    /// `Retry-After` in milliseconds: whole seconds, or an HTTP date seen from `now`. Absurd values are cut to a day.
    pub fn retry_after_ms(&self, now: crate::Timestamp) -> Option<u64> {
        const DAY_MS: u64 = 86_400_000;
        let text = self.header("retry-after")?.trim();
        let wait_ms = match text.parse::<f64>() {
            Ok(seconds) if seconds >= 0.0 => (seconds * 1000.0).min(DAY_MS as f64) as u64,
            Ok(_) => return None,
            Err(_) => {
                let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
                u64::try_from(crate::Timestamp::from(at).millis_since(now)).ok()?
            }
        };
        Some(wait_ms.min(DAY_MS))
    }
}

/// How far an SMTP exchange got: the stage whose reply ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum SmtpStage {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    MailFrom,
    RcptTo,
    Data,
    /// The reply to the final dot: a 250 here, and only here, means the server took the mail.
    FinalDot,
    /// Credentials were checked and nothing was sent (`rcpt_to` was `None`).
    Checked,
}

/// The end of an SMTP exchange.
#[derive(Debug, Clone)]
pub struct SmtpAnswer {
    /// Which command the reply belongs to.
    pub stage: SmtpStage,
    /// The reply that ended the exchange: the refusal, or the 250 to the final dot.
    pub reply: SmtpReply,
    /// What EHLO offered, such as `SIZE 10240000` and `AUTH PLAIN LOGIN`; filled for a credential check.
    pub capabilities: Vec<String>,
    /// TLS version and cipher, when the connection is protected.
    pub tls: Option<String>,
}

/// One SMTP reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmtpReply {
    /// Basic code, 200–599.
    pub code: u16,
    /// Enhanced code (RFC 3463) such as `5.1.1`, when the text begins with one.
    pub enhanced: Option<String>,
    /// The text of all lines, joined with spaces, without the enhanced code.
    pub text: String,
}

/// An exchange that brought no complete answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[error("{code}: {detail}")]
pub struct Broken {
    /// True when the request, or the part of it that makes the provider act, may have reached the provider. Then nobody can say
    /// whether it acted.
    pub may_have_acted: bool,
    /// Ours: `connect_refused`, `dns`, `tls`, `timeout`, `reset`, `refused_address`, `bad_url`, `bad_request`, `protocol`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn retry_after_in_all_its_forms() {
        let now: Timestamp = "2026-11-21T00:00:00Z".parse().unwrap();
        let wait = |value: &str| {
            HttpAnswer { headers: vec![("retry-after".into(), value.into())], ..HttpAnswer::default() }
                .retry_after_ms(now)
        };
        assert_eq!(wait("7"), Some(7_000));
        assert_eq!(wait("0.5"), Some(500));
        assert_eq!(wait("Sat, 21 Nov 2026 00:00:30 GMT"), Some(30_000));
        assert_eq!(wait("Sat, 21 Nov 2020 00:00:30 GMT"), None);
        assert_eq!(wait("99999999999"), Some(86_400_000));
        assert_eq!(wait("-1"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(HttpAnswer::default().retry_after_ms(now), None);
    }

    #[test]
    fn printing_a_call_hides_its_url_and_headers() {
        let call = HttpCall::new(Method::Post, "https://api.telegram.org/bot123:secret/sendMessage")
            .basic_auth("u", &Secret::new("pw"));
        assert_eq!(format!("{call:?}"), "HttpCall(POST api.telegram.org, 0 bytes)");
    }
}
