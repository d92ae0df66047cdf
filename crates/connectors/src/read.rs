//! What connectors with HTTP and JSON have in common: reading answers and callbacks, and the shape of keys. Whatever cannot be read is nothing, or
//! a failure; nothing here guesses.

use model::{Answer, BadSetting, Failure, FailureKind, HttpAnswer, Timestamp};
use serde_json::Value;

/// A setting that was refused.
pub(crate) fn bad(field: &str, detail: &str) -> BadSetting {
    BadSetting { field: field.to_owned(), detail: detail.to_owned() }
}

/// True for what can stand in an `Authorization` header as a key.
pub(crate) fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

/// The HTTP answer.
pub(crate) fn http(answer: &Answer) -> Result<&HttpAnswer, Failure> {
    match answer {
        Answer::Http(http) => Ok(http),
        Answer::Smtp(_) | Answer::Local => {
            Err(Failure::new(FailureKind::Unknown, "no_answer", "No HTTP answer came back."))
        }
    }
}

/// The body as JSON; null when it is none, or was cut at our limit.
pub(crate) fn json(http: &HttpAnswer) -> Value {
    if http.is_truncated { Value::Null } else { serde_json::from_slice(&http.body).unwrap_or_default() }
}

/// A text that is not empty.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// A callback that is not what the provider sends, although it is signed.
pub(crate) fn bad_callback(provider: &str) -> Failure {
    let detail = format!("The body is not the JSON {provider} sends.");
    Failure::new(FailureKind::Unavailable, "bad_callback", detail)
}

/// Seconds since 1970, whole or with a fraction, as a number or a text.
pub(crate) fn seconds(value: &Value) -> Option<Timestamp> {
    let seconds = match value {
        Value::Number(number) => number.as_f64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    // Beyond these the multiplication would lose or saturate; no provider means such a time.
    (0.0..1e11).contains(&seconds).then(|| Timestamp::from_micros((seconds * 1e6).round() as i64))
}

/// Minutes of a call that have begun, of the seconds it lasted: what calls are charged by. `None` for a call nobody answered, and for what is no number.
pub(crate) fn begun_minutes(seconds: &str) -> Option<u32> {
    let whole = seconds.split('.').next()?.parse::<u32>().ok()?;
    let is_more = seconds.split_once('.').is_some_and(|(_, part)| part.bytes().any(|b| b != b'0'));
    let seconds = whole.checked_add(u32::from(is_more))?;
    Some(seconds.div_ceil(60)).filter(|minutes| *minutes > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_counts_once_it_has_begun() {
        let check = |seconds: &str, minutes: Option<u32>| assert_eq!(begun_minutes(seconds), minutes, "{seconds}");
        check("0", None);
        check("1", Some(1));
        check("60", Some(1));
        check("60.0", Some(1));
        check("60.2", Some(2));
        check("3601", Some(61));
        for bad in ["", "x", "-1", "1e3"] {
            check(bad, None);
        }
    }
}
