//! Mails that Resend receives: the event names one, and its text and files are fetched.
//! <https://resend.com/docs/dashboard/receiving/introduction>

use mail_parser::MessageParser;
use model::{Answer, Call, Failure, FailureKind, HttpCall, Method};
use serde_json::Value;

use super::{NAME, Settings, call};
use crate::{
    Cx, InboundFile, NOT_FETCHED, Observed, email,
    letter::{self, Letter},
};

/// Bytes fetched of one mail's files together: Resend takes mails of 40 MB.
const FILES_BYTES_MAX: usize = 40 << 20;
/// Files Resend lists at once, at most. It lists twenty unless it is asked for more.
const LIST_MAX: usize = 100;
/// Largest answer with a mail's texts, in bytes.
const TEXTS_MAX: usize = 8 << 20;

/// The id of the mail an event tells of.
pub(super) fn id(event: &Value) -> Option<&str> {
    let is_received = email::text(event, "/type") == Some("email.received");
    let id = email::text(event, "/data/email_id").filter(|_| is_received)?;
    // It becomes a part of a path.
    id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-').then_some(id)
}

/// The texts first, then the list of files with their addresses, then each file.
pub(super) fn missing(cx: &Cx<'_>, event: &Value, answers: &[Answer]) -> Result<Option<Call>, Failure> {
    let Some(id) = id(event) else { return Ok(None) };
    let get = |path: &str, answer_max: usize| {
        let settings = Settings::read(cx.settings)?;
        let mut call = call(cx, &settings, Method::Get, &format!("/emails/receiving/{id}{path}"));
        call.answer_max = answer_max;
        Ok(Some(Call::Http(call)))
    };
    let Some(first) = answers.first() else { return get("", TEXTS_MAX) };
    let mail = body(first)?;
    let has_files = mail.get("attachments").and_then(Value::as_array).is_some_and(|files| !files.is_empty());
    if !has_files {
        return Ok(None);
    }
    let Some(list) = answers.get(1) else {
        return get(&format!("/attachments?limit={LIST_MAX}"), TEXTS_MAX);
    };
    let list = body(list)?;
    match files(&list).get(answers.len() - 2) {
        None => Ok(None),
        Some(file) => {
            let url = email::text(file, "/download_url").unwrap_or_default();
            let mut call = HttpCall::new(Method::Get, url);
            call.answer_max = FILES_BYTES_MAX;
            // The address carries its own proof, and may lead anywhere; where the operator put somebody in Resend's place, to that one's host.
            call.is_untrusted = cx.base_url.is_none_or(|base| !url.starts_with(base));
            Ok(Some(Call::Http(call)))
        }
    }
}

/// Reads the mail an event tells of, with what was fetched.
pub(super) fn read(
    cx: &Cx<'_>,
    settings: &Settings,
    event: &Value,
    answers: &[Answer],
) -> Result<Vec<Observed>, Failure> {
    let Some(mail) = answers.first().map(body).transpose()? else { return Ok(Vec::new()) };
    let text = |name: &str| mail.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let list = answers.get(1).map(body).transpose()?.unwrap_or_default();
    let mut kept = Vec::new();
    for (file, answer) in files(&list).iter().zip(answers.iter().skip(2)) {
        let text = |name: &str| file.get(name).and_then(Value::as_str).map(str::to_owned);
        kept.push(InboundFile {
            filename: text("filename").unwrap_or_default(),
            content_type: text("content_type").unwrap_or_default(),
            content_id: text("content_id").filter(|id| !id.is_empty()),
            bytes: answered(answer)?.body.clone(),
        });
    }
    let all = mail.get("attachments").and_then(Value::as_array).map_or(0, Vec::len);
    // The headers as they came, and what is missing there of those that Resend keeps apart.
    let apart = [("From", "from"), ("Subject", "subject"), ("Message-ID", "message_id")];
    let mut lines: Vec<(&str, &str)> = Vec::new();
    for (name, value) in mail.get("headers").and_then(Value::as_object).into_iter().flatten() {
        lines.extend(value.as_str().map(|value| (name.as_str(), value)));
    }
    for (name, field) in apart {
        if !lines.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            lines.extend(mail.get(field).and_then(Value::as_str).map(|value| (name, value)));
        }
    }
    let head = letter::head(lines);
    let Some(head) = MessageParser::default().parse(&head) else { return Ok(Vec::new()) };
    let recipients =
        ["/data/to", "/data/received_for"].iter().filter_map(|at| event.pointer(at)).filter_map(Value::as_array);
    let recipients =
        recipients.flatten().filter_map(Value::as_str).flat_map(letter::addresses).map(str::to_owned).collect();
    Ok(letter::read(
        cx,
        Some(&settings.api_key),
        Letter {
            head: head.into_owned(),
            recipients,
            text: text("text"),
            html: text("html"),
            left_out: all.saturating_sub(kept.len()),
            files: kept,
            answers: None,
        },
    ))
}

/// The files that are fetched: as many as are kept of a mail, and no more than fit. A large one in between is passed over rather than what follows it.
fn files(list: &Value) -> Vec<&Value> {
    let mut room = FILES_BYTES_MAX as u64;
    let fits = |file: &&Value| {
        let size = file.get("size").and_then(Value::as_u64).unwrap_or(0);
        let left = room.checked_sub(size);
        room = left.unwrap_or(room);
        left.is_some()
    };
    let all = list.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(fits).take(letter::FILES_MAX).collect()
}

fn body(answer: &Answer) -> Result<Value, Failure> {
    serde_json::from_slice(&answered(answer)?.body)
        .map_err(|_| not_now("Resend's answer about a received mail cannot be read.".to_owned()))
}

/// An answer with what was asked for; otherwise Resend is asked to tell us again.
fn answered(answer: &Answer) -> Result<&model::HttpAnswer, Failure> {
    let http = email::http(answer)?;
    match http.status {
        200 if !http.is_truncated => Ok(http),
        200 => Err(Failure::new(FailureKind::Content, "too_large", "A received mail is larger than what is fetched.")),
        401 | 403 => Err(not_now("Resend does not let this key read received mails: it needs full access.".to_owned())),
        status => Err(not_now(format!("{NAME} answered {status} when asked for a received mail."))),
    }
}

fn not_now(detail: String) -> Failure {
    Failure::new(FailureKind::Unavailable, NOT_FETCHED, detail)
}
