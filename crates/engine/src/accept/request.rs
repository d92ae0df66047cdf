//! The body of `POST /v1/messages`, read with JSON pointers to whatever is wrong with it.

use std::{collections::BTreeMap, sync::Arc};

use model::{
    AccountId, AttachmentId, Button, Channel, ContactId, EmailAddress, Guarantee, Location, Media, Phone, Priority,
    Purpose, SenderId, TemplateId, Timestamp, WhatsappTemplate,
};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::{Error, ErrorKind, branding::TrackingRule, consent::Wishes, contacts::Recipient, render::Needs};

/// Deepest nesting a request may have.
const DEPTH_MAX: usize = 64;

/// One message to one recipient.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRequest {
    /// Who gets it.
    pub to: To,
    /// How it goes: one channel, `auto`, or channels in order of preference. May be left out for e-mail and Telegram addresses.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "email")]
    pub channel: Option<ChannelChoice>,
    /// `transactional` (default) or `marketing`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "transactional")]
    pub purpose: Option<Purpose>,
    /// What the contact's preferences speak of, such as `invoice_delivery`. At most 64 characters of `[a-z0-9_]`.
    #[serde(default)]
    pub topic: Option<String>,
    /// What it says, by channel. Texts may hold placeholders such as `{{ name }}`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Box<RawValue>>,
    /// A stored template instead of `content`.
    #[serde(default)]
    pub template: Option<TemplateRequest>,
    /// Fills the placeholders. At most 64 KiB. What a variable whose name begins with `secret_` says is for the recipient alone: the message's requests are then recorded
    /// without their bodies.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Box<RawValue>>,
    /// What is tracked in this mail, instead of what its template or the tenant says.
    #[serde(default)]
    pub tracking: Option<TrackingRule>,
    /// Through this account instead of the channel's default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// From this sender instead of the account's own.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub sender_id: Option<SenderId>,
    /// Not before this instant; at most a year ahead.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// Not after this instant.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// `high`, `normal` (default) or `low`, within the purpose.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "normal")]
    pub priority: Option<Priority>,
    /// `at_least_once` (default) or `at_most_once`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "at_least_once")]
    pub guarantee: Option<Guarantee>,
    /// Your own JSON object, kept and told back. At most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
    /// Files, for e-mail.
    #[serde(default)]
    pub attachments: Vec<AttachmentRequest>,
    /// How long to wait for delivery before the next channel of a list, in seconds.
    #[serde(default)]
    pub fallback_after_s: Option<u32>,
    /// Explains what would happen and sends nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The contact that `to` names, once it was read.
    #[serde(skip)]
    #[schema(ignore)]
    pub recipient: Option<Arc<Recipient>>,
    /// What it says when that is neither `content` nor a stored template: written by us.
    #[serde(skip)]
    #[schema(ignore)]
    pub written: Option<Arc<Written>>,
    /// What that contact prefers and allows, for `auto`.
    #[serde(skip)]
    #[schema(ignore)]
    pub wishes: Option<Arc<Wishes>>,
    /// The topic of what Tidings says itself: it counts against no plan, costs nothing, and no rule about contents is asked. No client says so.
    #[serde(skip)]
    #[schema(ignore)]
    pub ours: Option<&'static str>,
    /// Which of its campaign's variants it is; no client says so.
    #[serde(skip)]
    pub variant: Option<u32>,
}

/// What a message of ours says: compiled like a template's version, and stored with the message.
#[derive(Debug, Clone)]
pub struct Written {
    /// With its placeholders.
    pub content: model::Content,
    /// What fills them.
    pub needs: Needs,
}

/// A recipient: one of these, or several when `channel` is `auto` or a list.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// A stored contact.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// An e-mail address.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "ada@example.com")]
    pub email: Option<EmailAddress>,
    /// A phone number in E.164, for SMS, WhatsApp and voice.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "+15550100001")]
    pub phone: Option<Phone>,
    /// A Telegram chat.
    #[serde(default)]
    pub telegram_chat_id: Option<i64>,
}

/// A channel, `auto`, or channels in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelChoice {
    /// This one.
    One(Channel),
    /// Whatever reaches the recipient.
    Auto,
    /// The first of these that can.
    List(Vec<Channel>),
}

impl<'de> Deserialize<'de> for ChannelChoice {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let channel = |text: &str| -> Result<Channel, String> {
            match text.parse() {
                Ok(Channel::Webhook) | Err(_) => {
                    Err(format!("unknown channel `{text}`; expected email, sms, whatsapp, telegram, voice or auto"))
                }
                Ok(channel) => Ok(channel),
            }
        };
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) if text == "auto" => Ok(Self::Auto),
            serde_json::Value::String(text) => channel(&text).map(Self::One).map_err(D::Error::custom),
            serde_json::Value::Array(items) if (1..=5).contains(&items.len()) => items
                .iter()
                .map(|item| channel(item.as_str().unwrap_or_default()))
                .collect::<Result<_, _>>()
                .map(Self::List)
                .map_err(D::Error::custom),
            _ => Err(D::Error::custom("expected a channel, `auto`, or an array of one to five channels")),
        }
    }
}

/// Which stored template.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateRequest {
    /// By id.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub id: Option<TemplateId>,
    /// Or by name.
    #[serde(default)]
    pub name: Option<String>,
    /// A version instead of the published one.
    #[serde(default)]
    pub version: Option<u32>,
    /// A language such as `de` instead of the contact's.
    #[serde(default)]
    pub locale: Option<String>,
}

/// A file: uploaded before, in the request, or to be fetched. Exactly one of `attachment_id`, `content_base64` and `url`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRequest {
    /// The name the recipient sees. Defaults to the uploaded file's.
    #[serde(default)]
    pub filename: Option<String>,
    /// Its media type. Defaults to the uploaded file's, or what the URL's server says.
    #[serde(default)]
    pub content_type: Option<String>,
    /// The bytes in base64.
    #[serde(default)]
    pub content_base64: Option<String>,
    /// A file uploaded with `POST /v1/attachments`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub attachment_id: Option<AttachmentId>,
    /// A public `http` or `https` URL, fetched once when the message is accepted.
    #[serde(default)]
    pub url: Option<String>,
    /// For images shown inside the HTML as `cid:…`.
    #[serde(default)]
    pub content_id: Option<String>,
}

/// The content of a mail as it is posted.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailRequest {
    /// The subject line.
    #[serde(default)]
    pub subject: String,
    /// The plain text part.
    #[serde(default)]
    pub text: Option<String>,
    /// The HTML part; variables are escaped.
    #[serde(default)]
    pub html: Option<String>,
    /// Where replies go.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub reply_to: Option<EmailAddress>,
    /// Extra headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Files.
    #[serde(default)]
    pub attachments: Vec<AttachmentRequest>,
}

/// The content of a WhatsApp message as it is posted; SMS and Telegram have the same fields where they apply.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RichRequest {
    /// The text.
    #[serde(default)]
    pub text: String,
    /// Media by URL or uploaded file.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub media: Vec<Media>,
    /// Buttons.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    pub buttons: Vec<Button>,
    /// A place.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub location: Option<Location>,
    /// An approved WhatsApp template.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub whatsapp_template: Option<WhatsappTemplate>,
}

/// The body of `POST /v1/messages/batch`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchRequest {
    /// Up to 1,000 messages, each read by itself.
    pub messages: Vec<Box<RawValue>>,
}

/// Reads a JSON body. What cannot be read is 400; what can be read but is wrong is 422 with a pointer below `base`.
pub fn read<T: DeserializeOwned>(body: &[u8], base: &str) -> Result<T, Error> {
    if body.trim_ascii_start().starts_with(b"[") && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return Err(Error::invalid(base, "expected an object, not an array"));
    }
    if let Ok(value) = serde_json::from_slice(body) {
        return Ok(value);
    }
    if let Err(error) = std::str::from_utf8(body) {
        let detail = format!("The body is not UTF-8: see byte {}.", error.valid_up_to());
        return Err(Error::new(ErrorKind::Malformed, "malformed_json", detail));
    }
    if depth(body) > DEPTH_MAX {
        return Err(Error::new(
            ErrorKind::Malformed,
            "malformed_json",
            format!("The body is nested more than {DEPTH_MAX} levels deep."),
        ));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Err(error) => error,
        Ok(_) => {
            return Err(Error::new(
                ErrorKind::Malformed,
                "malformed_json",
                "There is something after the end of the JSON value.",
            ));
        }
    };
    // A wrong value may stand before the place from where on it is no JSON.
    let broken = if error.inner().is_data() { serde_json::from_slice::<IgnoredAny>(body).err() } else { None };
    if let Some(broken) = broken.as_ref().or((!error.inner().is_data()).then_some(error.inner())) {
        let detail = format!("The body is not valid JSON: {broken}.");
        return Err(Error::new(ErrorKind::Malformed, "malformed_json", detail));
    }
    let detail = error.inner().to_string();
    let detail = detail.split(" at line ").next().unwrap_or(&detail).to_owned();
    Err(Error::invalid(pointer(base, error.path(), &detail), detail))
}

/// The path as a JSON pointer. A missing or unknown field is pointed at by its own name.
fn pointer(base: &str, path: &serde_path_to_error::Path, detail: &str) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = base.to_owned();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let named = ["unknown field `", "missing field `"]
        .iter()
        .find_map(|start| detail.strip_prefix(start))
        .and_then(|rest| rest.split('`').next());
    if let Some(name) = named
        && !pointer.ends_with(&format!("/{name}"))
    {
        pointer.push_str(&format!("/{name}"));
    }
    pointer
}

/// How deep brackets nest, seen without parsing: the parser itself stops at 128.
fn depth(body: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(body: &str) -> (ErrorKind, String) {
        let error = read::<MessageRequest>(body.as_bytes(), "").unwrap_err();
        (error.kind, error.errors.first().map_or(error.code.to_owned(), |field| field.pointer.clone()))
    }

    #[test]
    fn each_mistake_is_pointed_at() {
        for (body, kind, pointer) in [
            ("{", ErrorKind::Malformed, "malformed_json"),
            ("[]", ErrorKind::Invalid, ""),
            (r#"{"to": {"email": "ada@example.com"}} x"#, ErrorKind::Malformed, "malformed_json"),
            (r#"{"channel": "email"}"#, ErrorKind::Invalid, "/to"),
            (r#"{"to": {"email": "ada"}}"#, ErrorKind::Invalid, "/to/email"),
            (r#"{"to": {"phone": 5}}"#, ErrorKind::Invalid, "/to/phone"),
            (r#"{"to": {"fax": "5"}}"#, ErrorKind::Invalid, "/to/fax"),
            (r#"{"to": {}, "color": "red"}"#, ErrorKind::Invalid, "/color"),
            (r#"{"to": {}, "channel": "pigeon"}"#, ErrorKind::Invalid, "/channel"),
            (r#"{"to": {}, "channel": []}"#, ErrorKind::Invalid, "/channel"),
            (r#"{"to": {}, "send_at": "tomorrow"}"#, ErrorKind::Invalid, "/send_at"),
            (r#"{"to": {}, "account_id": "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"}"#, ErrorKind::Invalid, "/account_id"),
            (r#"{"to": {}, "attachments": [{"name": "x"}]}"#, ErrorKind::Invalid, "/attachments/0/name"),
        ] {
            assert_eq!(refused(body), (kind, pointer.to_owned()), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_as_such() {
        let body = format!("{{\"to\": {}1{}}}", "[".repeat(200), "]".repeat(200));
        let error = read::<MessageRequest>(body.as_bytes(), "").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed);
        assert!(error.detail.contains("64 levels"), "{}", error.detail);
    }
}
