//! What the e-mail providers with an HTTP API have in common: the parts of a mail as their JSON and forms want them, the checks before a request,
//! and what becomes of a batch that was refused as a whole.
//!
//! Called by `sendgrid`, `mailgun`, `mailjet` and `resend` only. Finished messages are written by [`crate::mime`], not here.

use std::collections::BTreeMap;

use model::{AttachmentRef, BadSetting, Content, EmailContent, Failure, FailureKind, HttpAnswer, Timestamp};
use serde_json::Value;

use crate::{Cx, File, Outcome, Outgoing, mime};

pub(crate) use crate::{
    read::{bad, bad_callback, http, is_key, json, seconds, text},
    refusals::{Rule, Said, refusal, rule},
};

/// The name under which providers carry our attempt id and repeat it in their events.
pub(crate) const ECHO: &str = "tidings_attempt";
/// Texts of one message in a batch whose messages differ, in bytes: a hundred of them stay well below every provider's limit of a request.
const LIGHT_MAX: usize = 256 * 1024;
/// Callbacks may be this much younger than our clock says, in milliseconds: clocks differ.
const SKEW_MS: i64 = 300_000;

/// The content of a mail, or a refusal of anything else.
pub(crate) fn content<'a>(content: &'a Content, provider: &str) -> Result<&'a EmailContent, Failure> {
    match content {
        Content::Email(email) => Ok(email),
        Content::Sms(_) | Content::Whatsapp(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            Err(Failure::new(FailureKind::Content, "wrong_channel", format!("{provider} carries e-mail only.")))
        }
    }
}

/// Refuses what no mail may hold, and mails beyond the provider's size by what is known before the files are read. `max` is in bytes,
/// with files in base64.
pub(crate) fn check(email: &EmailContent, provider: &str, max: u64) -> Result<(), Failure> {
    mime::check(email)?;
    let texts = [&email.text, &email.html].into_iter().flatten().map(|text| text.len() as u64).sum::<u64>();
    let files = email.attachments.iter().map(|file| file.size).fold(0, u64::saturating_add);
    if texts.saturating_add(files.saturating_mul(4) / 3) <= max {
        return Ok(());
    }
    let detail =
        format!("`attachments` are too large: {provider} takes mails of up to {} MB, encoded.", max / (1024 * 1024));
    Err(Failure::new(FailureKind::Content, "too_large", detail))
}

/// A `content` failure that names the field.
pub(crate) fn refused(field: &str, problem: &str) -> Failure {
    Failure::new(FailureKind::Content, "bad_content", format!("`{field}` {problem}."))
}

/// Refuses senders that are no mailbox or have letters beyond ASCII before the @, which none of these providers takes.
pub(crate) fn check_from(from: &str, provider: &str) -> Result<(), BadSetting> {
    let mailbox = mime::mailbox(from)?;
    if mailbox.address.as_str().is_ascii() {
        return Ok(());
    }
    let detail = format!("has letters beyond ASCII before the @, which {provider} does not take");
    Err(BadSetting { field: "from".to_owned(), detail })
}

/// Extra headers with values beyond ASCII as encoded words (RFC 2047): these providers write them into the mail as they are.
pub(crate) fn headers(email: &EmailContent) -> BTreeMap<&str, String> {
    email.headers.iter().map(|(name, value)| (name.as_str(), mime::header_text(value))).collect()
}

/// The message's files, or an `unavailable` failure when they could not be read.
pub(crate) fn files<'a>(message: &Outgoing<'a>, email: &EmailContent) -> Result<&'a [File], Failure> {
    if message.files.len() == email.attachments.len() {
        return Ok(message.files);
    }
    Err(Failure::new(
        FailureKind::Unavailable,
        "attachments_missing",
        "The bytes of the `attachments` could not be read; the message is tried again.",
    ))
}

/// True for a file that is shown inside the HTML.
pub(crate) fn is_inline(email: &EmailContent, file: &AttachmentRef) -> bool {
    email.html.is_some() && file.content_id.is_some()
}

/// A text that is there and not empty.
pub(crate) fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// True for a message that may ride with others of other content: no files, texts of common size. A message that was tried before goes
/// alone: the batch it rode in may have been refused because of another one.
pub(crate) fn is_light(message: &Outgoing<'_>) -> bool {
    let Content::Email(email) = message.content else { return false };
    let texts = [&email.text, &email.html].into_iter().flatten().map(String::len).sum::<usize>();
    message.attempt == 1 && email.attachments.is_empty() && texts <= LIGHT_MAX
}

/// True when two mails are the same but for recipient, subject and the values of extra headers, and neither was tried before.
pub(crate) fn is_same_body<'a>(first: &Outgoing<'a>, other: &Outgoing<'a>) -> Option<[&'a EmailContent; 2]> {
    is_same_but_reply_to(first, other).filter(|[one, two]| one.reply_to == two.reply_to)
}

/// The same, where the address for answers may differ as well.
pub(crate) fn is_same_but_reply_to<'a>(first: &Outgoing<'a>, other: &Outgoing<'a>) -> Option<[&'a EmailContent; 2]> {
    let (Content::Email(one), Content::Email(two)) = (first.content, other.content) else { return None };
    let is_same = first.attempt == 1
        && other.attempt == 1
        && one.text == two.text
        && one.html == two.html
        && one.attachments == two.attachments;
    is_same.then_some([one, two])
}

/// The outcomes of a batch that was refused as a whole. What speaks of the account or the pace holds for each message; what speaks of one
/// recipient or content does not say whose, so every message is tried again, alone.
pub(crate) fn whole(count: usize, failure: Failure) -> Vec<Outcome> {
    let failure = match failure.kind {
        FailureKind::Recipient | FailureKind::OptedOut | FailureKind::Content if count > 1 => again(failure),
        _ => failure,
    };
    vec![Outcome::Refused(failure); count]
}

/// For a message that nothing is known against, of a batch that was refused: it is tried again, alone.
pub(crate) fn again(failure: Failure) -> Failure {
    Failure {
        kind: FailureKind::Unavailable,
        detail: "The provider refused the whole batch because of one message; each is tried again alone.".to_owned(),
        retry_after_ms: None,
        is_of_batch: true,
        ..failure
    }
}

/// A success without what makes it one: nobody can say whether the mail was taken.
pub(crate) fn unreadable(provider: &str, http: &HttpAnswer) -> Failure {
    let detail =
        format!("{provider} answered with success but without an id: nobody can say whether it took the mail.");
    Failure::new(FailureKind::Unknown, "malformed_answer", detail).with_provider_detail(http.text())
}

/// Checks the age of a signed callback: an old one may have been recorded and played again.
pub(crate) fn check_age(cx: &Cx<'_>, at: Timestamp, max_ms: i64) -> Result<(), &'static str> {
    match cx.now.millis_since(at) {
        age if age > max_ms => Err("the timestamp is too old"),
        age if age < -SKEW_MS => Err("the timestamp lies in the future: check this machine's clock"),
        _ => Ok(()),
    }
}

/// Milliseconds from now until an instant given in seconds since 1970, as in `X-RateLimit-Reset`; at most a day, as for `Retry-After`.
pub(crate) fn until(cx: &Cx<'_>, at: &str) -> Option<u64> {
    const DAY_MS: u64 = 86_400_000;
    let at = seconds(&Value::from(at.trim()))?;
    u64::try_from(at.millis_since(cx.now)).ok().map(|wait_ms| wait_ms.min(DAY_MS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{AttachmentId, Values};

    fn cx(values: &Values) -> Cx<'_> {
        let now = Timestamp::from_seconds(1_763_676_000);
        Cx { settings: values, from: None, base_url: None, callback_url: "", now, nonce: 0 }
    }

    #[test]
    fn sizes_are_counted_encoded() {
        let mail = |size: u64| EmailContent {
            subject: "Hi".into(),
            text: Some("1234".into()),
            attachments: vec![AttachmentRef {
                attachment_id: AttachmentId::from_ulid(1),
                filename: "a".into(),
                content_type: "a/b".into(),
                sha256: String::new(),
                size,
                content_id: None,
            }],
            ..EmailContent::default()
        };
        assert_eq!(check(&mail(300), "Acme", 404), Ok(()));
        assert_eq!(check(&mail(301), "Acme", 405), Ok(()));
        assert_eq!(check(&mail(301), "Acme", 404).unwrap_err().code, "too_large");
        assert_eq!(check(&mail(u64::MAX), "Acme", 404).unwrap_err().kind, FailureKind::Content);
    }

    #[test]
    fn only_light_messages_of_a_first_try_share_a_request() {
        let is_light = |attempt: u32, text: usize, files: usize| {
            let file = AttachmentRef {
                attachment_id: AttachmentId::from_ulid(1),
                filename: "a".into(),
                content_type: "a/b".into(),
                sha256: String::new(),
                size: 1,
                content_id: None,
            };
            let email = EmailContent {
                text: Some("x".repeat(text)),
                html: Some("x".into()),
                attachments: vec![file; files],
                ..EmailContent::default()
            };
            is_light(&Outgoing {
                message_id: model::MessageId::from_ulid(1),
                attempt_id: model::AttemptId::from_ulid(1),
                attempt,
                channel: model::Channel::Email,
                names_sender: false,
                to: &model::Address::Email("a@example.com".parse().unwrap()),
                content: &Content::Email(email),
                files: &[],
                accepted_at: Timestamp::EPOCH,
            })
        };
        assert!(is_light(1, LIGHT_MAX - 1, 0));
        assert!(!is_light(1, LIGHT_MAX, 0));
        assert!(!is_light(1, 1, 1));
        assert!(!is_light(2, 1, 0));
    }

    #[test]
    fn a_refused_batch_condemns_nobody() {
        let kind = |count, kind| {
            let outcomes = whole(count, Failure::new(kind, "400", "x"));
            assert_eq!(outcomes.len(), count);
            match outcomes.into_iter().next().unwrap() {
                Outcome::Refused(failure) => failure.kind,
                Outcome::Accepted(_) => unreachable!("the batch was refused"),
            }
        };
        assert_eq!(kind(2, FailureKind::Recipient), FailureKind::Unavailable);
        assert_eq!(kind(2, FailureKind::Content), FailureKind::Unavailable);
        assert_eq!(kind(1, FailureKind::Recipient), FailureKind::Recipient);
        assert_eq!(kind(2, FailureKind::Account), FailureKind::Account);
        assert_eq!(kind(2, FailureKind::Throttled), FailureKind::Throttled);
        assert_eq!(kind(2, FailureKind::Unknown), FailureKind::Unknown);
    }

    #[test]
    fn instants_in_all_their_forms() {
        let at = |value: Value| seconds(&value).map(Timestamp::as_millis);
        assert_eq!(at(serde_json::json!(1_529_006_854.25)), Some(1_529_006_854_250));
        assert_eq!(at(serde_json::json!("1529006854")), Some(1_529_006_854_000));
        for bad in [serde_json::json!(-1), serde_json::json!(1e300), serde_json::json!("soon"), Value::Null] {
            assert_eq!(at(bad), None);
        }
    }

    #[test]
    fn ages_and_waits() {
        let values = Values::default();
        let cx = cx(&values);
        assert_eq!(until(&cx, "1763676002"), Some(2_000));
        assert_eq!(until(&cx, "1763676000.5"), Some(500));
        assert_eq!(until(&cx, "9999999999"), Some(86_400_000));
        assert_eq!(until(&cx, "1763675999"), None);
        assert_eq!(check_age(&cx, cx.now.plus_seconds(-10), 10_000), Ok(()));
        assert!(check_age(&cx, cx.now.plus_seconds(-11), 10_000).is_err());
        assert_eq!(check_age(&cx, cx.now.plus_seconds(300), 10_000), Ok(()));
        assert!(check_age(&cx, cx.now.plus_seconds(301), 10_000).is_err());
    }
}
