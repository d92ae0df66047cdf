//! What the plans of all providers have in common: reading answers, and telling a refusal.

use model::{Answer, Failure, FailureKind, HttpAnswer, HttpCall};
use serde_json::Value;

use crate::read;

/// Where providers keep their words for people.
const WORDS: &[&str] = &[
    "/message",
    "/Message",
    "/errors/0/message",
    "/error/error_user_msg",
    "/error/message",
    "/ErrorMessage",
    "/detail",
    "/description",
    "/error",
    "/errors/0/description",
    "/title",
];
/// Longest words kept.
const WORDS_MAX: usize = 500;

/// The `index`th answer's JSON, when it was a success; the provider's refusal otherwise.
pub(crate) fn reply(provider: &str, answers: &[Answer], index: usize) -> Result<Value, Failure> {
    let http = get(answers, index)?;
    if (200..300).contains(&http.status) {
        if http.body.is_empty() {
            return Ok(Value::Null);
        }
        return match read::json(http) {
            Value::Null => Err(unreadable(provider)),
            body => Ok(body),
        };
    }
    Err(refused(provider, http))
}

/// The `index`th answer.
pub(crate) fn get(answers: &[Answer], index: usize) -> Result<&HttpAnswer, Failure> {
    let missing = || Failure::new(FailureKind::Unknown, "no_answer", "No answer came back.");
    read::http(answers.get(index).ok_or_else(missing)?)
}

/// The `index`th answer's status.
pub(crate) fn status(answers: &[Answer], index: usize) -> Result<u16, Failure> {
    get(answers, index).map(|http| http.status)
}

/// A refusal, with the provider's words.
pub(crate) fn refused(provider: &str, http: &HttpAnswer) -> Failure {
    let body = read::json(http);
    let words = WORDS.iter().find_map(|pointer| read::text(&body, pointer)).unwrap_or("it gave no reason");
    let words: String = words.chars().take(WORDS_MAX).collect();
    let (kind, remedy) = match http.status {
        401 | 403 => (FailureKind::Account, " The account's key may not do this: give it more rights, or another key."),
        429 => (FailureKind::Throttled, " Try again later."),
        500.. => (FailureKind::Unavailable, " Try again later."),
        _ => (FailureKind::Content, ""),
    };
    let code = format!("http_{}", http.status);
    let mut failure =
        Failure::new(kind, &code, format!("{provider} refused: {}.{remedy}", words.trim_end_matches('.')));
    failure.provider_detail = Some(words);
    failure
}

/// A success that cannot be read.
pub(crate) fn unreadable(provider: &str) -> Failure {
    Failure::new(
        FailureKind::Unknown,
        "unreadable_answer",
        format!("{provider} answered something that cannot be read."),
    )
}

/// A body as JSON.
pub(crate) fn json_body(call: HttpCall, body: &Value) -> HttpCall {
    call.body("application/json", body.to_string())
}

/// A body as a form.
pub(crate) fn form(call: HttpCall, pairs: &[(&str, &str)]) -> HttpCall {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    text.extend_pairs(pairs);
    call.body("application/x-www-form-urlencoded", text.finish())
}

/// The members of a list; of anything else, none.
pub(crate) fn each<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The full name of a record that a provider names from the domain the tenant registered: of `updates.acme.example` both
/// `send.updates` and `send.updates.acme.example` are the latter.
pub(crate) fn absolute(name: &str, domain: &str) -> String {
    let (name, domain) = (name.trim_end_matches('.').to_ascii_lowercase(), domain.to_ascii_lowercase());
    if name.is_empty() || name == "@" {
        return domain;
    }
    if name == domain || name.ends_with(&format!(".{domain}")) {
        return name;
    }
    let (labels, own): (Vec<&str>, Vec<&str>) = (name.split('.').collect(), domain.split('.').collect());
    let shared = (1..own.len()).rev().find(|count| labels.ends_with(&own[..*count])).unwrap_or(0);
    format!("{name}.{}", own[shared..].join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_records_are_whole() {
        for (name, domain, whole) in [
            ("send", "acme.example", "send.acme.example"),
            ("send.updates", "updates.acme.example", "send.updates.acme.example"),
            (
                "resend._domainkey.updates.acme.example.",
                "updates.acme.example",
                "resend._domainkey.updates.acme.example",
            ),
            ("", "acme.example", "acme.example"),
            ("@", "acme.example", "acme.example"),
        ] {
            assert_eq!(absolute(name, domain), whole);
        }
    }

    #[test]
    fn a_refusal_keeps_the_providers_words() {
        let http = |status, body: &'static str| HttpAnswer { status, body: body.into(), ..HttpAnswer::default() };
        let failure = refused("Acme", &http(400, r#"{"errors":[{"message":"domain already exists."}]}"#));
        assert_eq!(
            (failure.kind, failure.detail.as_str()),
            (FailureKind::Content, "Acme refused: domain already exists.")
        );
        assert_eq!(refused("Acme", &http(403, "")).kind, FailureKind::Account);
        assert_eq!(refused("Acme", &http(503, "<html>")).kind, FailureKind::Unavailable);
    }
}
