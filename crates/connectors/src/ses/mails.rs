//! Mails that a receipt rule of SES hands to us: inside the notification, or in a bucket they are fetched from.
//! <https://docs.aws.amazon.com/ses/latest/dg/receiving-email-notifications-contents.html>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Answer, Call, Failure, FailureKind, HttpCall, Method};
use serde_json::Value;

use super::Settings;
use crate::{
    Cx, NOT_FETCHED, Observed, aws,
    letter::{self, MAIL_MAX},
    read::text,
};

/// The name requests for objects are signed for.
const SERVICE: &str = "s3";

/// The notification of a mail, if a text is one.
pub(super) fn notification(text_of: &str) -> Option<Value> {
    let event: Value = serde_json::from_str(text_of).ok()?;
    (text(&event, "/notificationType") == Some("Received")).then_some(event)
}

/// The object a mail lies in, unless the notification holds it.
pub(super) fn missing(cx: &Cx<'_>, event: &Value, answers: &[Answer]) -> Result<Option<Call>, Failure> {
    if event.get("content").is_some() || !answers.is_empty() {
        return Ok(None);
    }
    let at = |name: &str| text(event, &format!("/receipt/action/{name}"));
    let (Some(bucket), Some(key)) = (at("bucketName"), at("objectKey")) else {
        let detail = "The notification holds no mail and names no bucket: the receipt rule's action must be SNS or S3.";
        return Err(Failure::new(FailureKind::Content, "no_mail", detail));
    };
    let settings = Settings::read(cx.settings)?;
    let base = match cx.base_url {
        Some(base) => format!("{}/s3", base.trim_end_matches('/')),
        None => format!("https://s3.{}.amazonaws.com", settings.region),
    };
    let mut call = HttpCall::new(Method::Get, format!("{base}/{}/{}", encoded(bucket), encoded(key)));
    call.answer_max = MAIL_MAX;
    let keys = aws::Keys {
        access_key_id: &settings.access_key_id,
        secret_access_key: &settings.secret_access_key,
        session_token: settings.session_token.as_ref(),
        region: &settings.region,
    };
    aws::signed(call, &keys, SERVICE, cx.now).map(|call| Some(Call::Http(call)))
}

/// Reads the mail.
pub(super) fn read(cx: &Cx<'_>, event: &Value, answers: &[Answer]) -> Result<Vec<Observed>, Failure> {
    let settings = Settings::read(cx.settings)?;
    let raw = match (event.get("content").and_then(Value::as_str), answers.first()) {
        (Some(content), _) if text(event, "/receipt/action/encoding") == Some("BASE64") => {
            STANDARD.decode(content.split_ascii_whitespace().collect::<String>()).map_err(|_| {
                Failure::new(FailureKind::Content, "bad_mail", "The mail in the notification is not base64.")
            })?
        }
        (Some(content), _) => content.as_bytes().to_vec(),
        (None, Some(answer)) => fetched(answer)?,
        (None, None) => return Ok(Vec::new()),
    };
    let recipients = event.pointer("/receipt/recipients").and_then(Value::as_array).into_iter().flatten();
    let recipients = recipients.filter_map(Value::as_str).map(str::to_owned).collect();
    let mut seen = letter::whole(cx, Some(&settings.secret_access_key), &raw, recipients);
    if text(event, "/receipt/virusVerdict/status") == Some("FAIL") {
        for one in &mut seen {
            if let Observed::Message(message) = one
                && let Some(mail) = &mut message.mail
            {
                mail.files.clear();
            }
        }
    }
    Ok(seen)
}

/// A part of a path as Amazon signs it: everything but unreserved characters and slashes is encoded.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

fn fetched(answer: &Answer) -> Result<Vec<u8>, Failure> {
    let http = super::http(answer)?;
    match http.status {
        200 if !http.is_truncated => Ok(http.body.to_vec()),
        200 => Err(Failure::new(FailureKind::Content, "too_large", "The mail is larger than what is fetched.")),
        403 => Err(not_now(
            "Amazon S3 refused to hand over the mail: the account's key needs s3:GetObject for the bucket.".to_owned(),
        )),
        404 => Err(not_now(
            "The mail is not in its bucket, or the bucket is in another region than the account.".to_owned(),
        )),
        status => Err(not_now(format!("Amazon S3 answered {status} when asked for a mail."))),
    }
}

fn not_now(detail: String) -> Failure {
    Failure::new(FailureKind::Unavailable, NOT_FETCHED, detail)
}
