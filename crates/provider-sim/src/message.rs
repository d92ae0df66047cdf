//! What was taken, and how far it has come.

use model::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::fate::Fate;

/// A point in the life of a message. Each provider has its own word for it, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The provider holds it.
    Taken,
    /// Handed on; for calls: dialled.
    Sent,
    /// The phone rings.
    Ringing,
    /// Somebody answered the call.
    Answered,
    /// It arrived; for calls: it was heard to its end.
    Delivered,
    /// It was read.
    Read,
    /// The mail was opened.
    Opened,
    /// A link in the mail was followed.
    Clicked,
    /// The recipient called the mail spam.
    Complained,
    /// The recipient wants no more mail.
    Unsubscribed,
    /// The mail came back for good.
    Bounced,
    /// The mail came back for now.
    SoftBounced,
    /// It did not arrive.
    Failed,
    /// It was not delivered because the recipient had opted out.
    OptedOut,
}

/// One message to one recipient, as the provider took it.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    /// Which provider: the connector's id.
    pub provider: &'static str,
    /// The provider's id. Mails of one request may share it.
    pub id: String,
    /// `email`, `sms`, `whatsapp`, `telegram` or `voice`.
    pub channel: &'static str,
    /// The recipient as the provider was told.
    pub to: String,
    /// The sender as the provider was told.
    pub from: String,
    /// What the sender asked to be repeated in callbacks.
    pub echo: Option<String>,
    /// The subject of a mail.
    pub subject: Option<String>,
    /// Where answers to a mail shall go.
    pub reply_to: Option<String>,
    /// The words: text, caption, or what is spoken.
    pub text: String,
    /// What else there is, a line each: `html`, `attachment ticket.pdf application/pdf 1234 bytes`, `image https://…`, `button Yes`, …
    pub parts: Vec<String>,
    /// When it was taken.
    pub at: Timestamp,
    /// What becomes of it.
    pub fate: Fate,
    /// Where callbacks about it go.
    pub callback_url: Option<String>,
    /// What the provider needs to speak of it again.
    pub more: Value,
    /// How far it comes, and when.
    pub steps: Vec<(Timestamp, Stage)>,
}

impl Message {
    /// How far it has come by now.
    pub fn stage(&self, now: Timestamp) -> Stage {
        self.steps.iter().rev().find(|(at, _)| *at <= now).map_or(Stage::Taken, |(_, stage)| *stage)
    }

    /// When it last changed, seen from now.
    pub fn changed_at(&self, now: Timestamp) -> Timestamp {
        self.steps.iter().rev().find(|(at, _)| *at <= now).map_or(self.at, |(at, _)| *at)
    }
}

/// A message about to be taken; what is not named stays empty.
#[derive(Debug, Clone, Default)]
pub(crate) struct Draft {
    pub id: String,
    pub channel: &'static str,
    pub to: String,
    pub from: String,
    pub echo: Option<String>,
    pub subject: Option<String>,
    pub reply_to: Option<String>,
    pub text: String,
    pub parts: Vec<String>,
    pub callback_url: Option<String>,
    pub more: Value,
}
