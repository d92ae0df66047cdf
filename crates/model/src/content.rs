//! What a message says, by channel. The same shapes are accepted by the API, stored, rendered and handed to connectors;
//! only the placeholders in the texts are gone once rendered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AttachmentId, Channel, EmailAddress};

/// What a message says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum Content {
    /// For e-mail.
    Email(EmailContent),
    /// For SMS and MMS.
    Sms(SmsContent),
    /// For WhatsApp.
    Whatsapp(WhatsappContent),
    /// For Telegram.
    Telegram(TelegramContent),
    /// For a spoken call.
    Voice(VoiceContent),
    /// For a tenant's webhook endpoint.
    Webhook(WebhookContent),
}

impl Content {
    /// The channel this content is for.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
            Self::Sms(_) => Channel::Sms,
            Self::Whatsapp(_) => Channel::Whatsapp,
            Self::Telegram(_) => Channel::Telegram,
            Self::Voice(_) => Channel::Voice,
            Self::Webhook(_) => Channel::Webhook,
        }
    }

    /// Its pictures, films, sounds and documents. A mail has attachments instead.
    pub fn media(&self) -> &[Media] {
        match self {
            Self::Sms(sms) => &sms.media,
            Self::Whatsapp(whatsapp) => &whatsapp.media,
            Self::Telegram(telegram) => &telegram.media,
            Self::Email(_) | Self::Voice(_) | Self::Webhook(_) => &[],
        }
    }
}

/// A mail. At least one of `text` and `html`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmailContent {
    /// The subject line; may hold placeholders, may not hold line breaks once rendered.
    #[serde(default)]
    pub subject: String,
    /// The plain text part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The HTML part. Variables are HTML-escaped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// Where replies go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<EmailAddress>,
    /// Extra headers by name. Names that the mail needs itself (From, To, Date, …) are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Files. Filled from the message's `attachments` and the content's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentRef>,
}

/// A stored file that goes with a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttachmentRef {
    /// Which file.
    pub attachment_id: AttachmentId,
    /// The name the recipient sees.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// SHA-256 of the bytes in lower-case hex: where the blob store keeps them.
    pub sha256: String,
    /// Size in bytes.
    pub size: u64,
    /// For images shown inside the HTML as `cid:…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_id: Option<String>,
}

/// A text, with media as MMS where the number can.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmsContent {
    /// The text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Media (MMS).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
}

/// A WhatsApp message: free text and media inside the 24-hour window, a template at any time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappContent {
    /// The text, or the caption of a single media item.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
    /// Reply buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// A place on the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// An approved template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whatsapp_template: Option<WhatsappTemplate>,
}

/// A template as approved by WhatsApp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhatsappTemplate {
    /// Its name at the provider; for Twilio the content SID (`HX…`).
    pub name: String,
    /// Its language code, such as `en_US`.
    pub language: String,
    /// The values for its placeholders, in the provider-neutral form of Meta's Cloud API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<serde_json::Value>,
}

/// A Telegram message.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelegramContent {
    /// The text, or the caption of the first media item.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// Media.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub media: Vec<Media>,
    /// Rows of inline buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Vec<Button>>,
    /// A place on the map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
}

/// A spoken call.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VoiceContent {
    /// What is said.
    pub say: String,
    /// The provider's voice name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voice: Option<String>,
    /// The language, as in `en-GB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// One event for a tenant's endpoint: the JSON body, exactly as it will be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookContent {
    /// The event's id, sent as `webhook-id` and kept over retries and replays.
    pub event_id: String,
    /// The body.
    pub body: String,
}

/// A picture, film, sound or document by URL or by uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// What it is.
    #[serde(rename = "type")]
    pub kind: MediaKind,
    /// Where the provider fetches it: `https`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// An uploaded file instead of a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment_id: Option<AttachmentId>,
    /// Text below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caption: Option<String>,
    /// The name a document is shown under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filename: Option<String>,
}

/// Kinds of media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum MediaKind {
    #[serde(alias = "photo")]
    Image,
    Video,
    Audio,
    Document,
}

/// Something to press: a link, or an answer that comes back as an inbound message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Button {
    /// What it says.
    pub text: String,
    /// The link it opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What comes back when it is pressed.
    #[serde(default, skip_serializing_if = "Option::is_none", alias = "callback_data")]
    pub data: Option<String>,
}

/// A place on the map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Degrees north, -90 to 90.
    pub latitude: f64,
    /// Degrees east, -180 to 180.
    pub longitude: f64,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its postal address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
