//! What Amazon's services have in common: signing requests (Signature V4), naming errors, and the envelopes their notifications come in.

pub(crate) mod envelope;
mod sign;
pub(crate) mod xml;

use model::HttpAnswer;
use serde_json::Value;

pub(crate) use sign::{Keys, signed};

/// The error an answer names: its type and its words. Either may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AwsError {
    /// Such as `TooManyRequestsException`, without namespace or URL.
    pub kind: String,
    /// For people.
    pub message: String,
}

/// Reads the error of a JSON service. The type stands in a header or in the body, with a namespace before a `#` or a URL after a `:`.
pub(crate) fn error(answer: &HttpAnswer) -> AwsError {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text =
        |names: &[&str]| names.iter().find_map(|name| body.get(name).and_then(Value::as_str)).unwrap_or_default();
    let kind = answer.header("x-amzn-errortype").unwrap_or_else(|| text(&["code", "Code", "__type"]));
    let kind = kind.split(':').next().unwrap_or_default().rsplit('#').next().unwrap_or_default().trim();
    AwsError { kind: kind.to_owned(), message: text(&["message", "Message"]).to_owned() }
}

/// True for what can stand in the host name as a region, such as `eu-west-1`.
pub(crate) fn is_region(text: &str) -> bool {
    (3..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_types_in_all_their_places() {
        let kind = |header: Option<&str>, body: &str| {
            let headers = header.map(|value| ("x-amzn-errortype".to_owned(), value.to_owned())).into_iter().collect();
            error(&HttpAnswer { status: 400, headers, body: body.to_owned().into(), is_truncated: false })
        };
        let wanted = |kind: &str, message: &str| AwsError { kind: kind.to_owned(), message: message.to_owned() };
        assert_eq!(kind(Some("MessageRejected"), r#"{"message":"no"}"#), wanted("MessageRejected", "no"));
        assert_eq!(
            kind(Some("MessageRejected:http://internal.amazon.com/coral/x/"), r#"{"Message":"no"}"#),
            wanted("MessageRejected", "no")
        );
        assert_eq!(
            kind(None, r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#),
            wanted("AccessDeniedException", "")
        );
        assert_eq!(kind(None, r#"{"code":"Throttling","message":"slow"}"#), wanted("Throttling", "slow"));
        assert_eq!(kind(None, "<html>"), wanted("", ""));
    }
}
