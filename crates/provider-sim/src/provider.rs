//! What a provider is to the simulator, and what it may use while it answers.

use std::collections::{BTreeMap, VecDeque};

use model::{HttpCall, Ids, Location, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    request::{Reply, Request},
    script::{Day, Rule},
};

/// A credential or another setting of the simulated account, with the value it has until it is changed.
pub(crate) struct Setting {
    /// Its name, as in `PUT /_sim/providers/{id}`.
    pub name: &'static str,
    /// Its value at the start.
    pub default: &'static str,
}

/// A provider's API. An answer that refuses is an `Err`, so that checks read as a list of `?`.
pub(crate) trait Provider: Sync {
    /// The connector's id: the first segment of its paths.
    fn id(&self) -> &'static str;

    /// The account's settings.
    fn settings(&self) -> &'static [Setting];

    /// The accounts of Tidings that go with these settings, as `POST /v1/accounts` takes them.
    fn accounts(&self, settings: &Settings) -> Vec<Value>;

    /// Answers a request.
    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply>;

    /// "Too many requests", in its words.
    fn throttled(&self, after_s: Option<u64>) -> Reply;

    /// "Something broke here", in its words.
    fn broken(&self, status: u16) -> Reply;

    /// The callback about a message that has come to a stage, signed; `None` where it tells nothing of it.
    fn report(&self, cx: &Cx<'_>, message: &Message, stage: Stage) -> Option<HttpCall>;

    /// The callback about a message that somebody wrote, signed; `None` for a kind it does not have.
    fn inbound(&self, _cx: &mut Cx<'_>, _written: &Written) -> Option<HttpCall> {
        None
    }
}

/// Settings by name.
pub(crate) type Settings = BTreeMap<String, String>;

/// What somebody writes to the tenant.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    /// Which provider brings it.
    pub provider: String,
    /// Over which channel, where the provider has several: `sms` or `whatsapp`, and for Bird `bird-sms` or `bird-whatsapp`.
    #[serde(default)]
    pub channel: Option<String>,
    /// Who writes: a number, a mail address, a chat id.
    pub from: String,
    /// To whom; the account's own sender when it is missing.
    #[serde(default)]
    pub to: Option<String>,
    /// The words.
    #[serde(default)]
    pub text: String,
    /// A file.
    #[serde(default)]
    pub media: Option<WrittenMedia>,
    /// A place.
    #[serde(default)]
    pub location: Option<Location>,
    /// The data of a button that was pressed; its words are `text`.
    #[serde(default)]
    pub button: Option<String>,
    /// The provider's id of the message that is answered; for a mail, its `Message-ID`.
    #[serde(default)]
    pub in_reply_to: Option<String>,
    /// The subject of a mail.
    #[serde(default)]
    pub subject: String,
    /// A mail's text as HTML.
    #[serde(default)]
    pub html: Option<String>,
    /// More headers of a mail.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Files of a mail.
    #[serde(default)]
    pub files: Vec<WrittenFile>,
}

/// A file that comes with a mail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenFile {
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// The bytes in base64.
    pub content_base64: String,
}

/// A file somebody sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenMedia {
    /// Where it can be fetched.
    pub url: String,
    /// Its media type.
    pub content_type: String,
}

impl Written {
    /// True when it comes over WhatsApp.
    pub fn is_whatsapp(&self) -> bool {
        self.channel.as_deref().is_some_and(|channel| channel.ends_with("whatsapp"))
    }

    /// `image`, `video`, `audio` or `document`.
    pub fn kind(&self) -> &'static str {
        let kind = self.media.as_ref().map_or("", |media| media.content_type.split('/').next().unwrap_or_default());
        ["image", "video", "audio"].into_iter().find(|known| *known == kind).unwrap_or("document")
    }
}

/// What a provider may use.
pub(crate) struct Cx<'a> {
    /// Which provider.
    pub provider: &'static str,
    /// Its settings as they are now.
    pub settings: &'a Settings,
    /// What was taken before, the oldest first; of all providers.
    pub messages: &'a VecDeque<Message>,
    /// The script: rules that decide what becomes of messages.
    pub rules: &'a [Rule],
    /// Makes ids.
    pub ids: &'a Ids,
    /// The current instant.
    pub now: Timestamp,
    /// Between two stages of a message, in milliseconds.
    pub step_ms: u64,
    /// Where the simulator answers for this provider, such as `http://127.0.0.1:9100/twilio`.
    pub base_url: &'a str,
    /// What this request brought.
    pub taken: Vec<Message>,
    /// Settings this request changes.
    pub changes: Vec<(&'static str, String)>,
    /// What was decided about recipients of this request.
    pub fates: BTreeMap<String, Fate>,
    /// Rules of the script that decided something.
    pub used: Vec<usize>,
    /// Callbacks this request asks for that are about no message.
    pub calls: Vec<HttpCall>,
}

impl Cx<'_> {
    /// A setting; empty when it is not set.
    pub fn get(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    /// Things the account has at the provider, such as webhooks and templates: a setting that holds JSON.
    pub fn kept(&self, name: &str) -> Value {
        serde_json::from_str(self.get(name)).unwrap_or_default()
    }

    /// Keeps such things.
    pub fn keep(&mut self, name: &'static str, things: &Value) {
        self.changes.push((name, things.to_string()));
    }

    /// What becomes of messages to an address.
    pub fn fate(&mut self, to: &str) -> Fate {
        if let Some(fate) = self.fates.get(to) {
            return *fate;
        }
        let decides = |rule: &Rule| match rule.day {
            Day::Fate(fate) if rule.path.is_none() && rule.is_about(self.provider, "", &[to]) => Some(fate),
            _ => None,
        };
        let ruled = self.rules.iter().enumerate().find_map(|(at, rule)| Some((at, decides(rule)?)));
        self.used.extend(ruled.map(|(at, _)| at));
        let fate = ruled.map_or_else(|| Fate::of(to), |(_, fate)| fate);
        self.fates.insert(to.to_owned(), fate);
        fate
    }

    /// Takes a message.
    pub fn take(&mut self, draft: Draft) {
        let fate = self.fate(&draft.to);
        let after = |steps: usize| self.now.plus_millis(self.step_ms.saturating_mul(steps as u64).cast_signed());
        let stages = fate.stages(draft.channel).iter();
        let steps = stages.enumerate().map(|(index, stage)| (after(index + 1), *stage)).collect();
        let Draft { id, channel, to, from, echo, subject, reply_to, text, parts, callback_url, more } = draft;
        let reply_to = reply_to.filter(|address| !address.is_empty());
        let callback_url = callback_url.filter(|url| !url.is_empty());
        let provider = self.provider;
        let at = self.now;
        self.taken.push(Message {
            provider,
            id,
            channel,
            to,
            from,
            echo,
            subject,
            reply_to,
            text,
            parts,
            at,
            fate,
            callback_url,
            more,
            steps,
        });
    }

    /// This provider's messages, the newest first.
    pub fn known(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().rev().filter(move |message| message.provider == self.provider)
    }

    /// The newest message with this id.
    pub fn find(&self, id: &str) -> Option<&Message> {
        self.known().find(|message| message.id == id)
    }

    /// So many hexadecimal digits nobody had before.
    pub fn hex(&self, digits: usize) -> String {
        let mut bytes = vec![0; digits.div_ceil(2)];
        self.ids.fill(&mut bytes);
        let mut text = crate::sign::hex(&bytes);
        text.truncate(digits);
        text
    }

    /// A UUID nobody had before (version 4).
    pub fn uuid(&self) -> String {
        let digits = self.hex(32);
        format!("{}-{}-4{}-a{}-{}", &digits[..8], &digits[8..12], &digits[13..16], &digits[17..20], &digits[20..])
    }

    /// Seconds since 1970.
    pub fn unix(&self) -> i64 {
        self.now.as_seconds()
    }

    /// Where callbacks go that no message asks for: the configured URL, or the one the newest message came with, without its query.
    pub fn callback(&self, setting: &str) -> Option<String> {
        let configured = Some(self.get(setting)).filter(|url| !url.is_empty()).map(str::to_owned);
        configured.or_else(|| {
            let url = self.known().find_map(|message| message.callback_url.as_deref())?;
            Some(url.split('?').next().unwrap_or_default().to_owned())
        })
    }

    /// Where callbacks about a message go.
    pub fn callback_of(&self, message: &Message) -> Option<String> {
        message.callback_url.clone().or_else(|| self.callback("callback_url"))
    }
}

/// An instant in the formats providers write.
pub(crate) fn written(at: Timestamp, format: &str) -> String {
    at.jiff().strftime(format).to_string()
}

/// `2026-11-21T09:30:00Z`.
pub(crate) fn iso(at: Timestamp) -> String {
    written(at, "%Y-%m-%dT%H:%M:%SZ")
}

/// `Sat, 21 Nov 2026 09:30:00 +0000`.
pub(crate) fn rfc2822(at: Timestamp) -> String {
    written(at, "%a, %d %b %Y %H:%M:%S +0000")
}

/// An account as `POST /v1/accounts` takes it.
pub(crate) fn account(connector: &str, name: &str, from: Option<&str>, settings: Value) -> Value {
    let mut account = json!({"connector": connector, "name": name, "settings": settings});
    if let Some(from) = from {
        account["from"] = from.into();
    }
    account
}

/// A text in JSON; empty when it is not there or no text.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
