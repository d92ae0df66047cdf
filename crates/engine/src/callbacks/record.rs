//! A request as the log keeps it: bounded, and without secrets.

use std::borrow::Cow;

use aws_lc_rs::digest::{Context, SHA256};
use connectors::{Inbound, Request};
use model::{CallbackId, Timestamp};
use store::callback_log::{Callback, Event};

use super::{BODY_MAX, LOGGED_MAX, OwnedRequest};
use crate::directory::{Account, DOTS, Secrets};

/// Bytes kept of the body of a request that could not be verified.
const INVALID_BODY_MAX: usize = 4 * 1024;
/// Bytes kept of one header's value, and of the query.
const VALUE_MAX: usize = 2 * 1024;
/// Headers kept.
const HEADERS_MAX: usize = 64;
/// Headers whose values are never kept.
const HIDDEN: &[&str] =
    &["authorization", "proxy-authorization", "cookie", "x-telegram-bot-api-secret-token", "x-api-key"];
/// Parameters whose values are never kept: their names contain one of these.
const HIDDEN_PARAMETERS: &[&str] = &["token", "secret", "password", "api_key", "apikey"];
/// Bytes of a request's key: nobody but the provider can make two requests with the same.
const DEDUPE_LEN: usize = 16;

/// What the log says of a request.
pub(super) enum Logged {
    /// It is the provider's.
    Valid,
    /// It is not, or cannot be shown to be.
    Invalid(String),
    /// It is the provider's, and we cannot read it.
    Unreadable(String),
}

/// The log's row for a request. `dedupe` only for a verified one.
pub(super) fn row(
    account: &Account,
    id: CallbackId,
    request: &OwnedRequest,
    logged: Logged,
    dedupe: Option<Vec<u8>>,
    now: Timestamp,
) -> Callback {
    let (verdict, detail, body_max) = match logged {
        Logged::Valid => ("valid", None, kept_max(request)),
        Logged::Invalid(reason) => ("invalid", Some(reason), INVALID_BODY_MAX),
        Logged::Unreadable(reason) => ("unreadable", Some(reason), kept_max(request)),
    };
    let secrets = account.secrets();
    let headers: Vec<(&str, String)> =
        request.headers.iter().take(HEADERS_MAX).map(|(n, v)| header(n, v, secrets)).collect();
    Callback {
        tenant_id: account.tenant_id,
        id,
        account_id: account.id,
        received_at: now,
        method: cut(&request.method, VALUE_MAX),
        path: secrets.hidden(cut(&request.path, VALUE_MAX)),
        query: secrets.hidden(parameters(&cut(&request.query, VALUE_MAX))),
        headers: serde_json::to_string(&headers).unwrap_or_else(|_| "[]".to_owned()),
        body: secrets.hidden_bytes(&body(request, body_max)),
        size: request.body.len() as u64,
        dedupe,
        verdict: verdict.to_owned(),
        detail: detail.map(|detail| secrets.hidden(without_nul(&detail))),
        observed: 0,
        unmatched: 0,
        repeats: 0,
        told: None,
        event: Event::default(),
    }
}

/// The beginning of a request's body, without the values of a form's fields that are secrets by their names.
fn body(request: &OwnedRequest, max: usize) -> Cow<'_, [u8]> {
    let kept = &request.body[..request.body.len().min(max)];
    let is_form = request.headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("content-type") && value.starts_with("application/x-www-form-urlencoded")
    });
    match std::str::from_utf8(kept) {
        Ok(form) if is_form => Cow::Owned(parameters(form).into_bytes()),
        _ => Cow::Borrowed(kept),
    }
}

/// Events are kept whole; of something larger, a mail with its files, only the beginning.
fn kept_max(request: &OwnedRequest) -> usize {
    if request.body.len() > BODY_MAX { LOGGED_MAX } else { request.body.len() }
}

/// What makes a repeated request the same: the provider's own key, or everything the provider chose to say.
pub(super) fn dedupe(inbound: &dyn Inbound, request: &Request<'_>) -> Vec<u8> {
    let key = inbound.dedupe_key(request);
    let parts: Vec<&[u8]> = match &key {
        Some(key) => vec![key.as_bytes()],
        None => vec![request.method.as_bytes(), request.path.as_bytes(), request.query.as_bytes(), request.body],
    };
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref()[..DEDUPE_LEN].to_vec()
}

fn header<'a>(name: &'a str, value: &str, secrets: &Secrets) -> (&'a str, String) {
    if HIDDEN.contains(&name) {
        return (name, DOTS.to_owned());
    }
    (name, secrets.hidden(cut(value, VALUE_MAX)))
}

/// A query without the values of parameters that are secrets by their names.
fn parameters(query: &str) -> String {
    let one = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if HIDDEN_PARAMETERS.iter().any(|word| name.to_ascii_lowercase().contains(word)) => {
            format!("{name}={DOTS}")
        }
        _ => pair.to_owned(),
    };
    query.split('&').map(one).collect::<Vec<_>>().join("&")
}

/// The first `max` bytes, at a character's end.
pub(crate) fn cut(text: &str, max: usize) -> String {
    without_nul(&text[..text.floor_char_boundary(max)])
}

/// PostgreSQL keeps no NUL in a text.
pub(super) fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_a_form_with_telling_names_are_hidden() {
        let form = OwnedRequest {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            query: String::new(),
            headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded; charset=UTF-8".to_owned())],
            body: b"to=1&api_secret=abc&text=secret".to_vec().into(),
        };
        assert_eq!(&*body(&form, 100), "to=1&api_secret=••••&text=secret".as_bytes());
        let json = OwnedRequest { headers: Vec::new(), ..form };
        assert_eq!(&*body(&json, 10), b"to=1&api_s");
    }

    #[test]
    fn parameters_with_telling_names_are_hidden() {
        assert_eq!(
            parameters("hub.mode=subscribe&hub.verify_token=abc&hub.challenge=1&x"),
            "hub.mode=subscribe&hub.verify_token=••••&hub.challenge=1&x"
        );
        assert_eq!(parameters(""), "");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aä", 2), "a");
        assert_eq!(cut("a\0b", 10), "a\u{fffd}b");
    }
}
