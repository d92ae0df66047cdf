//! What a message says, by channel, as the document shows it. The engine reads these shapes itself; a test holds the two together.
#![allow(dead_code, reason = "describes what the engine reads")]

use std::collections::BTreeMap;

use engine::accept::request::AttachmentRequest;
use serde::Deserialize;
use utoipa::ToSchema;

/// A mail: `text`, `html` or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({
    "subject": "Your ticket", "text": "Hello {{ name }}", "html": "<p>Hello {{ name }}</p>", "reply_to": "help@acme.example",
    "headers": {"X-Order": "42"}, "attachments": [{"filename": "ticket.txt", "content_type": "text/plain", "content_base64": "SGVsbG8="}],
}))]
pub(crate) struct EmailContent {
    /// The subject line. No line breaks, also not from variables.
    subject: Option<String>,
    /// The plain text part.
    text: Option<String>,
    /// The HTML part; variables are escaped.
    html: Option<String>,
    /// Where replies go.
    reply_to: Option<String>,
    /// Extra headers by name. Those a mail needs itself (From, To, Date, …) are refused.
    headers: Option<BTreeMap<String, String>>,
    /// Files.
    attachments: Option<Vec<AttachmentRequest>>,
}

/// An SMS, or an MMS where the sender can.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"text": "Hello {{ name }}", "media": [{"type": "image", "url": "https://acme.example/ticket.png"}]}))]
pub(crate) struct SmsContent {
    /// The text.
    text: Option<String>,
    /// Media.
    media: Option<Vec<MediaItem>>,
}

/// A WhatsApp message: text, media and a place within 24 hours of the recipient's last message, an approved template at any time.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"whatsapp_template": {"name": "ticket_ready", "language": "en_US", "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}]}}))]
pub(crate) struct WhatsappContent {
    /// The text, or the caption of a single media item.
    text: Option<String>,
    /// Media.
    media: Option<Vec<MediaItem>>,
    /// Reply buttons.
    buttons: Option<Vec<ButtonItem>>,
    /// A place.
    location: Option<Place>,
    /// An approved template.
    whatsapp_template: Option<ApprovedTemplate>,
}

/// A Telegram message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"text": "Hello {{ name }}", "buttons": [[{"text": "Open", "url": "https://acme.example"}]]}))]
pub(crate) struct TelegramContent {
    /// The text, or the caption of the first media item.
    text: Option<String>,
    /// Media.
    media: Option<Vec<MediaItem>>,
    /// Rows of buttons.
    buttons: Option<Vec<Vec<ButtonItem>>>,
    /// A place.
    location: Option<Place>,
}

/// A spoken call.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"say": "Hello {{ name }}", "voice": "alice", "language": "en-GB"}))]
pub(crate) struct VoiceContent {
    /// What is said.
    say: String,
    /// The provider's voice name.
    voice: Option<String>,
    /// The language.
    language: Option<String>,
}

/// A picture, film, sound or document. Exactly one of `url` and `attachment_id`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MediaItem {
    /// `image`, `video`, `audio` or `document`.
    #[serde(rename = "type")]
    #[schema(example = "image")]
    kind: String,
    /// Where the provider fetches it: `https`.
    #[schema(example = "https://acme.example/ticket.png")]
    url: Option<String>,
    /// An uploaded file instead.
    #[schema(example = "atc_01K9ZC4G5H6J7K8M9N0P1Q2R3S")]
    attachment_id: Option<String>,
    /// Text below it.
    caption: Option<String>,
    /// The name a document is shown under.
    filename: Option<String>,
}

/// Something to press: a link, or an answer that comes back as an inbound message.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ButtonItem {
    /// What it says.
    #[schema(example = "Open")]
    text: String,
    /// The link it opens.
    url: Option<String>,
    /// What comes back when it is pressed.
    data: Option<String>,
}

/// A place on the map.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Degrees north, -90 to 90.
    #[schema(example = 52.52)]
    latitude: f64,
    /// Degrees east, -180 to 180.
    #[schema(example = 13.4)]
    longitude: f64,
    /// Its name.
    name: Option<String>,
    /// Its postal address.
    address: Option<String>,
}

/// A template as approved by WhatsApp.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApprovedTemplate {
    /// Its name at the provider; for Twilio the content SID (`HX…`).
    #[schema(example = "ticket_ready")]
    name: String,
    /// Its language code.
    #[schema(example = "en_US")]
    language: String,
    /// The values for its placeholders, as in Meta's Cloud API.
    #[schema(value_type = Option<Vec<Object>>)]
    components: Option<Vec<serde_json::Value>>,
}
