//! Files by URL: fetched once when the message is accepted, as an untrusted request, so that what is sent is what was there then.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use model::{Answer, Call, HttpAnswer, HttpCall, Method, TenantId, Timestamp};
use store::attachments::Attachment;
use tokio::sync::Semaphore;

use super::{FILE_MAX, Given, check, too_large};
use crate::{Engine, Error, ErrorKind, FieldError, bounded::Bounded};

/// Time for one file, in milliseconds: the caller is waiting.
const TIMEOUT_MS: u64 = 10_000;
/// Files fetched at once by one node: each may hold [`FILE_MAX`] bytes.
const FETCHES_MAX: usize = 16;
/// How long what a URL brought is used again, in milliseconds: a batch with the same file in each message fetches it once.
const FRESH_MS: i64 = 60_000;
/// URLs remembered.
const REMEMBERED_MAX: usize = 1_024;
/// A server's answer to a file it does not say the type of (RFC 9110 8.3).
const UNNAMED_TYPE: &str = "application/octet-stream";

/// What was fetched lately, and how many fetches are under way.
pub(crate) struct Fetches {
    seats: Semaphore,
    lately: Mutex<Bounded<(TenantId, String), (Timestamp, Attachment)>>,
}

impl Default for Fetches {
    fn default() -> Self {
        Self { seats: Semaphore::new(FETCHES_MAX), lately: Mutex::new(Bounded::new(REMEMBERED_MAX)) }
    }
}

impl Engine {
    /// Fetches and stores the file behind a URL.
    pub(super) async fn fetch(
        &self,
        tenant: TenantId,
        given: &Given<'_>,
        url: &str,
        until: Timestamp,
    ) -> Result<Attachment, Error> {
        let pointer = format!("{}/url", given.pointer);
        if self.tenant(tenant).await?.1.is_demo {
            return Err(Error::invalid(pointer, crate::demo::NO_FETCHING));
        }
        let now = self.ports.clock.now();
        let key = (tenant, url.to_owned());
        let lately = self.fetches.lately.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((at, file)) = lately
            && now.millis_since(at).abs() < FRESH_MS
            && self.hold_file(&file, until).await?
        {
            return Ok(file);
        }
        let _seat = self.fetches.seats.acquire().await.map_err(Error::internal)?;
        let mut call = HttpCall::new(Method::Get, url);
        (call.timeout_ms, call.answer_max, call.is_untrusted) = (TIMEOUT_MS, FILE_MAX, true);
        let answer = self.ports.transport.exchange(Arc::new(Call::Http(call))).await;
        let answer = match answer {
            Ok(Answer::Http(answer)) => answer,
            Ok(Answer::Smtp(_) | Answer::Local) => return Err(Error::internal("an HTTP request had another answer")),
            Err(broken) => {
                return Err(unfetched(&pointer, format!("the file could not be fetched: {}", broken.detail)));
            }
        };
        let bytes = body(&pointer, &answer)?;
        let name = given.request.filename.clone().or_else(|| filename(&answer, url));
        let Some(name) = name else {
            return Err(Error::invalid(format!("{}/filename", given.pointer), "the URL tells no file name; give one"));
        };
        let kind = given.request.content_type.clone().unwrap_or_else(|| content_type(&answer));
        let file = self.keep_for_message(tenant, &name, &kind, bytes, until).await?;
        let mut lately = self.fetches.lately.lock().unwrap_or_else(PoisonError::into_inner);
        lately.insert(key, (now, file.clone()));
        Ok(file)
    }
}

fn body(pointer: &str, answer: &HttpAnswer) -> Result<Bytes, Error> {
    if !(200..300).contains(&answer.status) {
        let remedy =
            if (300..400).contains(&answer.status) { "; redirects are not followed, give the final URL" } else { "" };
        return Err(unfetched(pointer, format!("the server answered {} instead of the file{remedy}", answer.status)));
    }
    if answer.is_truncated || answer.body.len() > FILE_MAX {
        return Err(too_large(pointer, &format!("the file has more than {FILE_MAX} bytes")));
    }
    if answer.body.is_empty() {
        return Err(unfetched(pointer, "the server answered with an empty file".to_owned()));
    }
    Ok(answer.body.clone())
}

fn unfetched(pointer: &str, detail: String) -> Error {
    Error {
        errors: vec![FieldError::new(pointer, detail.clone())],
        ..Error::new(ErrorKind::Invalid, "attachment_not_fetched", format!("{pointer}: {detail}"))
    }
}

/// What the server calls the file, or the last part of the URL's path.
fn filename(answer: &HttpAnswer, url: &str) -> Option<String> {
    let said = answer.header("content-disposition").and_then(disposition_name);
    said.or_else(|| path_name(url)).and_then(|name| check::tidy_filename(&name))
}

/// The `filename` of a Content-Disposition header (RFC 6266), in quotes or without. The extended form `filename*` goes before it.
fn disposition_name(header: &str) -> Option<String> {
    let parameters = || header.split(';').skip(1).filter_map(|parameter| parameter.trim().split_once('='));
    let extended = parameters().find(|(name, _)| name.trim().eq_ignore_ascii_case("filename*"));
    let extended = extended.and_then(|(_, value)| value.trim().strip_prefix("UTF-8''").map(percent_decoded));
    extended.or_else(|| {
        let (_, value) = parameters().find(|(name, _)| name.trim().eq_ignore_ascii_case("filename"))?;
        Some(value.trim().trim_matches('"').to_owned())
    })
}

fn path_name(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    let last = url.path_segments()?.next_back()?;
    (!last.is_empty()).then(|| percent_decoded(last))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let escaped = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        let decoded = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(decoded.unwrap_or(bytes[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn content_type(answer: &HttpAnswer) -> String {
    let said = answer.header("content-type").map(str::trim).filter(|kind| check::content_type(kind).is_ok());
    said.unwrap_or(UNNAMED_TYPE).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_or_the_path_names_the_file() {
        let check = |header: Option<&str>, url: &str, expected: Option<&str>| {
            let headers =
                header.map(|value| ("content-disposition".to_owned(), value.to_owned())).into_iter().collect();
            let answer = HttpAnswer { headers, ..HttpAnswer::default() };
            assert_eq!(filename(&answer, url).as_deref(), expected, "{header:?} {url}");
        };
        check(None, "https://a.example/x/ticket.pdf?sig=1/2", Some("ticket.pdf"));
        check(None, "https://a.example/x/my%20ticket.pdf", Some("my ticket.pdf"));
        check(None, "https://a.example/", None);
        check(None, "https://a.example/x%2F..%2Fy.pdf", Some("y.pdf"));
        check(Some(r#"attachment; filename="in voice.pdf""#), "https://a.example/x", Some("in voice.pdf"));
        check(Some("attachment; filename=invoice.pdf"), "https://a.example/x", Some("invoice.pdf"));
        check(
            Some("attachment; filename=a.pdf; filename*=UTF-8''gr%C3%B6%C3%9Fe.pdf"),
            "https://a.example/x",
            Some("größe.pdf"),
        );
        check(Some(r#"attachment; filename="../../etc/passwd""#), "https://a.example/x", Some("passwd"));
        check(Some("inline"), "https://a.example/x.png", Some("x.png"));
        check(None, "https://a.example/%zz%4", Some("%zz%4"));
    }

    #[test]
    fn only_whole_files_are_taken() {
        let code = |answer: HttpAnswer| body("/url", &answer).map(|bytes| bytes.len()).map_err(|error| error.code);
        let answer = |status, body: &'static [u8]| HttpAnswer { status, body: body.into(), ..HttpAnswer::default() };
        assert_eq!(code(answer(200, b"x")), Ok(1));
        assert_eq!(code(answer(200, b"")), Err("attachment_not_fetched"));
        assert_eq!(code(answer(302, b"x")), Err("attachment_not_fetched"));
        assert_eq!(code(answer(404, b"x")), Err("attachment_not_fetched"));
        assert_eq!(code(HttpAnswer { is_truncated: true, ..answer(200, b"x") }), Err("attachment_too_large"));
    }
}
