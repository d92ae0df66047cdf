//! The form of `messages`.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/messages/post-v3--domain-name--messages>

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{EmailContent, Failure, FailureKind};
use serde_json::{Map, Value};

use super::NAME;
use crate::{Cx, Outgoing, email, mime, mime::Parties, multipart::Form};

/// Largest mail, in bytes, encoded.
const MAIL_MAX: u64 = 25 * 1024 * 1024;
/// Extra headers and our echo together, in bytes; Mailgun counts the names too.
const OPTIONS_MAX: usize = 16 * 1024;
/// What our echo takes of them, with room for a batch's placeholders.
const ECHO_ROOM: usize = 256;
/// How recipient variables begin. Texts that hold it are never batched: Mailgun would take it for one of ours.
const VARIABLE: &str = "%recipient";
/// The variable that holds the subject.
const SUBJECT: &str = "subject";
/// The variable that holds the address for answers.
const REPLY_TO: &str = "reply_to";

/// Refuses what Mailgun would refuse or not carry.
pub(super) fn check(content: &EmailContent) -> Result<(), Failure> {
    email::check(content, NAME, MAIL_MAX)?;
    if email::present(&content.text).is_none() && email::present(&content.html).is_none() {
        return Err(email::refused("text", "and `html` are both empty, which Mailgun does not take"));
    }
    let headers = email::headers(content);
    let size: usize = headers.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
    if size + ECHO_ROOM > OPTIONS_MAX {
        return Err(email::refused("headers", "are longer than the 16 KB that Mailgun takes"));
    }
    Ok(())
}

/// The form of one message: its content type and body.
pub(super) fn single(cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<(String, Bytes), Failure> {
    let parties = mime::parties(cx, message)?;
    let mut form = Form::new(cx.nonce);
    form.text("from", &mime::mailbox_text(&parties.from));
    form.text("to", parties.to.as_str());
    form.text("subject", &parties.content.subject);
    for (name, value) in email::headers(parties.content) {
        form.text(&format!("h:{name}"), &value);
    }
    form.text(&format!("v:{}", email::ECHO), &message.attempt_id.to_string());
    if let Some(address) = &parties.content.reply_to {
        form.text("h:Reply-To", address.as_str());
    }
    rest(&mut form, message, parties.content)?;
    Ok(form.finish())
}

/// True when both may ride in one request: the same body, the same extra headers by name, and nothing that looks like a variable. Addresses for answers may differ, too.
pub(super) fn fits(first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool {
    let Some([one, two]) = email::is_same_but_reply_to(first, other) else { return false };
    one.reply_to.is_some() == two.reply_to.is_some()
        && one.headers.keys().eq(two.headers.keys())
        && !has_variable(one)
        && !has_variable(two)
}

fn has_variable(content: &EmailContent) -> bool {
    let texts = [Some(&content.subject), content.text.as_ref(), content.html.as_ref()];
    texts.into_iter().flatten().chain(content.headers.values()).any(|text| text.contains(VARIABLE))
}

/// The form of many messages. Recipient variables must be there for everyone: without them all would see each other.
/// <https://documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/batch-sending>
pub(super) fn batch(cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<(String, Bytes), Failure> {
    let parties = messages.iter().map(|message| mime::parties(cx, message)).collect::<Result<Vec<_>, _>>()?;
    let (Some(first), Some(message)) = (parties.first(), messages.first()) else {
        return Err(Failure::new(FailureKind::Unavailable, "no_messages", "There is no message to send."));
    };
    refuse_twins(&parties)?;
    let subject_varies = parties.iter().any(|party| party.content.subject != first.content.subject);
    let reply_to_varies = parties.iter().any(|party| party.content.reply_to != first.content.reply_to);
    let varying = varying_headers(&parties);
    let mut form = Form::new(cx.nonce);
    form.text("from", &mime::mailbox_text(&first.from));
    for party in &parties {
        form.text("to", party.to.as_str());
    }
    form.text("subject", &if subject_varies { variable(SUBJECT) } else { first.content.subject.clone() });
    for (name, value) in email::headers(first.content) {
        let value = if varying.contains(name) { variable(&header_key(name)) } else { value };
        form.text(&format!("h:{name}"), &value);
    }
    form.text(&format!("v:{}", email::ECHO), &variable(email::ECHO));
    let mut variables = Map::new();
    for (message, party) in messages.iter().zip(&parties) {
        let mut own = Map::from_iter([(email::ECHO.to_owned(), Value::from(message.attempt_id.to_string()))]);
        if let Some(address) = party.content.reply_to.as_ref().filter(|_| reply_to_varies) {
            own.insert(REPLY_TO.to_owned(), Value::from(address.as_str()));
        }
        if subject_varies {
            own.insert(SUBJECT.to_owned(), Value::from(party.content.subject.as_str()));
        }
        let headers = email::headers(party.content).into_iter().filter(|(name, _)| varying.contains(name));
        own.extend(headers.map(|(name, value)| (header_key(name), Value::from(value))));
        variables.insert(party.to.as_str().to_owned(), Value::Object(own));
    }
    form.text("recipient-variables", &Value::Object(variables).to_string());
    if let Some(address) = &first.content.reply_to {
        form.text("h:Reply-To", &if reply_to_varies { variable(REPLY_TO) } else { address.as_str().to_owned() });
    }
    rest(&mut form, message, first.content)?;
    Ok(form.finish())
}

fn variable(key: &str) -> String {
    format!("{VARIABLE}.{key}%")
}

fn header_key(name: &str) -> String {
    format!("h:{name}")
}

/// Variables are found by address, and Mailgun drops an address that comes twice: two messages to one person cannot share a request.
fn refuse_twins(parties: &[Parties<'_>]) -> Result<(), Failure> {
    let mut seen = BTreeSet::new();
    if parties.iter().all(|party| seen.insert(party.to.as_str().to_lowercase())) {
        return Ok(());
    }
    let detail = "Two messages of the batch go to one address, which Mailgun would drop; each is tried again alone.";
    Err(Failure { is_of_batch: true, ..Failure::new(FailureKind::Unavailable, "same_recipient", detail) })
}

fn varying_headers<'a>(parties: &[Parties<'a>]) -> BTreeSet<&'a str> {
    let mut first: BTreeMap<&str, &str> = BTreeMap::new();
    let mut varying = BTreeSet::new();
    for (name, value) in parties.iter().flat_map(|party| &party.content.headers) {
        if *first.entry(name).or_insert(value) != value.as_str() {
            varying.insert(name.as_str());
        }
    }
    varying
}

/// What all messages of a form have in common.
fn rest(form: &mut Form, message: &Outgoing<'_>, content: &EmailContent) -> Result<(), Failure> {
    check(content)?;
    for (name, text) in [("text", &content.text), ("html", &content.html)] {
        if let Some(text) = email::present(text) {
            form.text(name, text);
        }
    }
    for file in email::files(message, content)? {
        let reference = &file.reference;
        match reference.content_id.as_deref().filter(|_| email::is_inline(content, reference)) {
            // Mailgun makes the name the content id.
            Some(id) => form.file("inline", id, &reference.content_type, &file.bytes),
            None => form.file("attachment", &reference.filename, &reference.content_type, &file.bytes),
        }
    }
    Ok(())
}
