//! One provider each, as data and pure functions.
//!
//! A connector says what it can do ([`Spec`]), turns a message into a [`Call`] ([`Connector::send`]), reads the answer
//! ([`Connector::answer`]), and, where the provider calls us, verifies and reads those requests ([`Inbound`]). It never
//! performs IO, never sleeps, never looks at a clock or a random number: time and nonces arrive in [`Cx`]. Retries,
//! tokens, logging and redaction live once, in `net` and `engine`. Transport failures never reach a connector either: the engine turns
//! them into `unavailable` or `unknown` by whether the request may have been taken.

mod africastalking;
mod aisensy;
mod aws;
mod decimal;
pub mod dkim;
mod email;
mod gupshup;
mod hook;
mod interakt;
mod jwt;
mod letter;
mod mailgun;
mod mailjet;
pub mod manage;
mod messagebird;
pub mod mime;
mod multipart;
mod noop;
mod read;
mod refusals;
pub mod registry;
mod resend;
pub mod returns;
pub mod sandbox;
mod sendgrid;
mod ses;
mod smtp;
mod sns;
mod spec;
pub mod stripe;
mod telegram;
mod termii;
mod twilio;
mod vonage;
pub mod webhook;
mod whatsapp;
mod whatsapp_cloud;

use bytes::Bytes;
use model::{
    Address, Answer, AttachmentRef, AttemptId, BadSetting, Call, Channel, Content, EmailAddress, Fact, Failure,
    FailureKind, HttpCall, Media, MessageId, Money, Phone, Timestamp, Values,
};

pub use spec::{Limits, Spec};

/// A provider.
pub trait Connector: Sync + Send {
    /// What it is and can do.
    fn spec(&self) -> &'static Spec;

    /// Checks settings beyond their types, such as `account_sid` beginning with `AC`. Called whenever an account is saved.
    fn check(&self, _settings: &Values) -> Result<(), BadSetting> {
        Ok(())
    }

    /// Checks the account's sender (`from`). `None` where the provider needs none.
    fn check_from(&self, _from: &str, _channel: Channel) -> Result<(), BadSetting> {
        Ok(())
    }

    /// Refuses at accept what an account with these settings cannot carry (`content` failures whose detail names the field). The content is rendered; its attachments
    /// say how large they are.
    fn can_carry(&self, _settings: &Values, _content: &Content) -> Result<(), Failure> {
        Ok(())
    }

    /// Refuses at accept an uploaded file that is too large for the provider, or of a type it does not take, as this kind of media. Its name, type and size are known then,
    /// its bytes are not; [`Connector::send`] looks again. Not asked about media by URL, which the provider fetches itself.
    fn can_upload(&self, _media: &Media, _file: &AttachmentRef) -> Result<(), Failure> {
        Ok(())
    }

    /// Builds the request for one message.
    fn send(&self, cx: &Cx<'_>, message: &Outgoing<'_>) -> Result<Call, Failure>;

    /// Reads the answer to step `step` (0 is the one [`Connector::send`] made).
    fn answer(&self, cx: &Cx<'_>, message: &Outgoing<'_>, step: u8, answer: &Answer) -> Step;

    /// True when the receiver recognises a repeated request as the same, so that one without an answer can be repeated without harm.
    fn repeats_safely(&self) -> bool {
        false
    }

    /// Sends many messages in one request, where the provider can.
    fn batch(&self) -> Option<&dyn Batch> {
        None
    }

    /// The requests that check the credentials, the sender and the balance, each under a name for people.
    fn test(&self, cx: &Cx<'_>) -> Result<Vec<Probe>, Failure>;

    /// Reads the answer to one of the [`Connector::test`] requests: more than one check where the answer tells more.
    fn tested(&self, cx: &Cx<'_>, probe: &Probe, answer: &Answer) -> Vec<Check>;

    /// True when the provider can be asked what became of an attempt ([`Connector::poll`]).
    fn can_poll(&self, _settings: &Values) -> bool {
        false
    }

    /// Asks the provider what became of an attempt. `None` when it cannot be asked about this one.
    fn poll(&self, _cx: &Cx<'_>, _asked: &Asked<'_>) -> Option<Call> {
        None
    }

    /// Reads the answer to [`Connector::poll`].
    fn polled(&self, _cx: &Cx<'_>, _asked: &Asked<'_>, _answer: &Answer) -> Polled {
        Polled::Undecided
    }

    /// Where answers to this mail shall go, when the account has an address of its own for each.
    fn reply_address(&self, _cx: &Cx<'_>, _message: MessageId) -> Option<EmailAddress> {
        None
    }

    /// How the provider's requests to us are checked and read.
    fn inbound(&self) -> Option<&dyn Inbound> {
        None
    }

    /// Mail domains at the provider, where its API has them.
    fn domains(&self) -> Option<&dyn manage::Domains> {
        None
    }

    /// True when mails are finished by us and therefore signed by us: then a domain's keys are ours to make ([`dkim`]).
    fn signs_mail(&self) -> bool {
        false
    }

    /// Telling the provider where it reports to, where its API allows that.
    fn callbacks(&self) -> Option<&dyn manage::Callbacks> {
        None
    }

    /// Asking whether a number or name is the account's.
    fn numbers(&self) -> Option<&dyn manage::Numbers> {
        None
    }

    /// Registering the business behind the account with carriers.
    fn registrations(&self) -> Option<&dyn manage::Registrations> {
        None
    }

    /// WhatsApp templates at the provider.
    fn templates(&self) -> Option<&dyn manage::Templates> {
        None
    }

    /// What the provider took for an attempt, by the answer to [`Connector::poll`], where it says so there.
    fn polled_price(&self, _cx: &Cx<'_>, _asked: &Asked<'_>, _answer: &Answer) -> Option<Money> {
        None
    }

    /// The provider's own record of each message, where its API lists them.
    fn records(&self) -> Option<&dyn manage::Records> {
        None
    }

    /// What a message's id in a table exported at the provider is to us; `to` is the recipient the row names.
    fn listed_id(&self, written: &str, _to: Option<&str>) -> String {
        written.strip_prefix('<').and_then(|id| id.strip_suffix('>')).unwrap_or(written).to_owned()
    }

    /// What the provider counted, and whom it no longer writes to.
    fn figures(&self) -> Option<&dyn manage::Figures> {
        None
    }
}

/// Everything a connector may know besides the message.
#[derive(Debug, Clone, Copy)]
pub struct Cx<'a> {
    /// The account's settings, opened.
    pub settings: &'a Values,
    /// The account's default sender as the tenant wrote it.
    pub from: Option<&'a str>,
    /// Where requests go instead of the provider (operator's configuration), without a trailing slash.
    pub base_url: Option<&'a str>,
    /// The account's public callback URL, `https://…/hooks/acc_…`, without a query.
    pub callback_url: &'a str,
    /// The current instant.
    pub now: Timestamp,
    /// Fresh random bits for nonces and boundaries.
    pub nonce: u128,
}

impl Cx<'_> {
    /// The operator's base URL, or the provider's own.
    pub fn base_or(&self, provider: &str) -> String {
        self.base_url.unwrap_or(provider).trim_end_matches('/').to_owned()
    }
}

/// One message about to leave, rendered.
#[derive(Debug, Clone)]
pub struct Outgoing<'a> {
    /// Which message.
    pub message_id: MessageId,
    /// Which attempt: what we put into the provider's echo field.
    pub attempt_id: AttemptId,
    /// 1 for the first try.
    pub attempt: u32,
    /// Over which channel.
    pub channel: Channel,
    /// True when whoever sends it chose its sender: it leaves as no other.
    pub names_sender: bool,
    /// To whom.
    pub to: &'a Address,
    /// What it says.
    pub content: &'a Content,
    /// The bytes of the content's attachments, in the same order.
    pub files: &'a [File],
    /// When the message was accepted: for its Date header.
    pub accepted_at: Timestamp,
}

/// An attachment with its bytes.
#[derive(Debug, Clone)]
pub struct File {
    /// Name, type and size.
    pub reference: AttachmentRef,
    /// The bytes.
    pub bytes: Bytes,
}

/// What an answer means.
#[derive(Debug, Clone)]
pub enum Step {
    /// The exchange is over.
    Done(Outcome),
    /// One more request is needed; its answer comes back with the next step number.
    Call(Call),
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The provider took the message.
    Accepted(Acceptance),
    /// It did not, or nobody can say ([`FailureKind::Unknown`]).
    Refused(Failure),
}

/// What the provider said when it took a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Acceptance {
    /// The provider's id, for matching callbacks.
    pub provider_message_id: Option<String>,
    /// Parts it counted, when it says.
    pub segments: Option<u32>,
    /// The price it names.
    pub price: Option<Money>,
    /// A new address for this recipient (Telegram group migrations), to be kept for later messages.
    pub moved_to: Option<Address>,
    /// Facts that will become known by themselves after so many milliseconds: how the sandbox acts out a delivery. The engine keeps them durably.
    pub later: Vec<(u64, Fact)>,
}

impl Acceptance {
    /// Taken under this id.
    pub fn with_id(id: impl Into<String>) -> Self {
        Self { provider_message_id: Some(id.into()), ..Self::default() }
    }
}

/// A provider request that carries several messages.
pub trait Batch: Sync + Send {
    /// Most messages in one request.
    fn max(&self) -> usize;

    /// True when `other` may ride in the same request as `first`.
    fn fits(&self, cx: &Cx<'_>, first: &Outgoing<'_>, other: &Outgoing<'_>) -> bool;

    /// Builds the request.
    fn send(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>]) -> Result<Call, Failure>;

    /// Splits the answer: one outcome per message, in order. A message the answer does not speak of is [`FailureKind::Unknown`].
    fn answer(&self, cx: &Cx<'_>, messages: &[Outgoing<'_>], answer: &Answer) -> Vec<Outcome>;
}

/// One request of an account's test.
#[derive(Debug, Clone)]
pub struct Probe {
    /// What is being checked, for people: `Credentials`, `Sender`, `Balance`.
    pub name: &'static str,
    /// The request.
    pub call: Call,
}

/// One line of an account's test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was checked.
    pub name: String,
    /// Whether it is in order.
    pub ok: bool,
    /// What was found; when not in order, what to do.
    pub detail: String,
}

impl Check {
    /// A line in order.
    pub fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: true, detail: detail.into() }
    }

    /// A line not in order; `detail` names the remedy.
    pub fn failed(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), ok: false, detail: detail.into() }
    }
}

/// The attempt a provider is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The provider's id, when it gave one.
    pub provider_message_id: Option<&'a str>,
    /// Our echo.
    pub attempt_id: AttemptId,
    /// To whom it went.
    pub to: &'a Address,
    /// What it said, rendered: some providers can only be asked by recipient, time and text.
    pub content: &'a Content,
    /// Over which channel.
    pub channel: Channel,
    /// When the request left.
    pub sent_at: Timestamp,
}

/// What the provider says of an attempt.
#[derive(Debug, Clone, PartialEq)]
pub enum Polled {
    /// It knows the attempt, under this id, and these facts.
    Known {
        /// The provider's id.
        provider_message_id: String,
        /// What became of it; [`Fact::Sent`] at least.
        facts: Vec<(Fact, Option<Timestamp>)>,
    },
    /// It certainly never took the attempt.
    NotTaken,
    /// It cannot say, yet.
    Undecided,
}

/// Largest request of a provider that is read, in bytes: every provider's batches of events stay far below.
pub const CALLBACK_MAX: usize = 1 << 20;

/// The code of a failure after which a provider is asked to come again: what it keeps for us could not be fetched now.
pub const NOT_FETCHED: &str = "mail_not_fetched";

/// Requests from a provider to us.
pub trait Inbound: Sync + Send {
    /// What follows the account's callback URL in the address to paste at the provider; empty for nothing. Providers that sign nothing get an
    /// address nobody can guess. The same for as long as the settings are.
    fn path(&self, _cx: &Cx<'_>) -> String {
        String::new()
    }

    /// True when a mail to this address is for this account: reports about mails come as mails. Such a mail is handed to [`Inbound::read`] as a `POST` to [`Inbound::path`] with
    /// the mail as its body, and the address in a `Delivered-To` header before it.
    fn takes_mail(&self, _cx: &Cx<'_>, _address: &str) -> bool {
        false
    }

    /// Like [`Inbound::path`], for mails that people write: `None` where this provider brings none, or brings them to the same address as everything else.
    fn mail_path(&self, _cx: &Cx<'_>) -> Option<String> {
        None
    }

    /// Largest body that is read of a request to this path, in bytes. Beyond [`CALLBACK_MAX`] only for addresses nobody can guess.
    fn body_max(&self, cx: &Cx<'_>, path: &str) -> usize {
        match self.mail_path(cx) {
            Some(own) if hook::is_same(path, &own) => letter::MAIL_MAX,
            Some(_) | None => CALLBACK_MAX,
        }
    }

    /// What must be fetched before a verified request can be read: some providers tell of a mail and keep it. `answers` are the answers so far, in order; `None` when nothing more
    /// is needed. After a failure [`NOT_FETCHED`] the provider is asked to come again; any other is what the log says of the request.
    fn missing(&self, _cx: &Cx<'_>, _request: &Request<'_>, _answers: &[Answer]) -> Result<Option<Call>, Failure> {
        Ok(None)
    }

    /// Checks that the request comes from the provider. There is no default: a connector says how, and fails closed. `fetched` brings the
    /// answer when an earlier call returned [`Verdict::Fetch`].
    fn verify(&self, cx: &Cx<'_>, request: &Request<'_>, fetched: Option<&Answer>) -> Verdict;

    /// Reads a verified request. An unknown kind of event is not an error: it yields nothing.
    fn read(&self, cx: &Cx<'_>, request: &Request<'_>) -> Result<Vec<Observed>, Failure>;

    /// Reads a verified request with the answers to what was [`missing`](Inbound::missing).
    fn read_with(&self, cx: &Cx<'_>, request: &Request<'_>, _answers: &[Answer]) -> Result<Vec<Observed>, Failure> {
        self.read(cx, request)
    }

    /// What the provider wants as an answer once the request is stored. Default: 200 without a body.
    fn reply(&self, _cx: &Cx<'_>, _request: &Request<'_>) -> Reply {
        Reply::default()
    }

    /// A key that makes repeated deliveries of one request the same, such as the provider's event id. Default: the hash of the body and URL.
    fn dedupe_key(&self, _request: &Request<'_>) -> Option<String> {
        None
    }
}

/// A request from a provider, raw.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `GET` or `POST`.
    pub method: &'a str,
    /// What follows `/hooks/{account_id}` in the path, such as `/inbound`; empty for none.
    pub path: &'a str,
    /// The query string as sent, without the question mark.
    pub query: &'a str,
    /// Headers with lower-case names.
    pub headers: &'a [(String, String)],
    /// The body as sent.
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The first value of a header, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// Whether a request is the provider's.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It is.
    Valid,
    /// It is not, or cannot be shown to be; the reason is for the callback log.
    Invalid(String),
    /// This must be fetched to decide (a signing certificate). The engine caches the answer by URL.
    Fetch(HttpCall),
}

/// The answer to a provider's request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Content type and body, when the provider wants one.
    pub body: Option<(&'static str, String)>,
}

impl Default for Reply {
    fn default() -> Self {
        Self { status: 200, body: None }
    }
}

/// What a provider told us.
#[derive(Debug, Clone)]
pub enum Observed {
    /// About a message we sent.
    Status(Report),
    /// A message somebody sent to the tenant.
    Message(InboundMessage),
    /// Something about the account's WhatsApp templates changed: they are to be read again.
    Templates,
    /// A request the provider wants us to make (confirming a subscription, answering a button press).
    Follow(Call),
}

/// A fact about a message we sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The provider's id.
    pub provider_message_id: Option<String>,
    /// Our echo, where the provider repeats it. Its number is 0 when only the message is known.
    pub attempt_id: Option<AttemptId>,
    /// What happened.
    pub fact: Fact,
    /// When, if the provider says.
    pub at: Option<Timestamp>,
    /// Parts the provider counted: segments of an SMS, minutes of a call that have begun.
    pub segments: Option<u32>,
    /// The price it names.
    pub price: Option<Money>,
    /// As what it billed the message, where it says so.
    pub pricing: Option<Pricing>,
    /// Its own status word, for the timeline.
    pub provider_status: String,
}

/// As what kind of message a provider billed one, where kinds are priced apart: WhatsApp.
/// <https://developers.facebook.com/docs/whatsapp/pricing>
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Pricing {
    /// Its word, in small letters: `marketing`, `utility`, `authentication`, `service` or another one.
    pub category: String,
    /// True when it takes nothing for the message: the recipient wrote within the last 24 hours, or came by an advertisement.
    pub is_free: bool,
}

impl Report {
    /// A fact under the provider's id, with nothing more.
    pub fn new(provider_message_id: impl Into<String>, provider_status: impl Into<String>, fact: Fact) -> Self {
        Self {
            provider_message_id: Some(provider_message_id.into()),
            attempt_id: None,
            fact,
            at: None,
            segments: None,
            price: None,
            pricing: None,
            provider_status: provider_status.into(),
        }
    }
}

/// A message somebody sent to the tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct InboundMessage {
    /// The provider's id: what makes a repeated delivery the same message.
    pub provider_message_id: String,
    /// Over which channel.
    pub channel: Channel,
    /// Who wrote.
    pub from: Address,
    /// The name the provider knows them by.
    pub from_name: Option<String>,
    /// To which of the tenant's senders.
    pub to: String,
    /// What they wrote; empty for none.
    pub text: String,
    /// What they attached: media type and where the provider keeps it (a URL, or a provider file id).
    pub media: Vec<InboundMedia>,
    /// Where they are.
    pub location: Option<model::Location>,
    /// The data of the button they pressed.
    pub button: Option<String>,
    /// The provider's id of the message they answered.
    pub in_reply_to: Option<String>,
    /// The consent keyword the provider recognised in it and acted on itself. It may have been a word of the tenant's own choosing.
    pub keyword: Option<Keyword>,
    /// When, if the provider says.
    pub at: Option<Timestamp>,
    /// What only a mail has.
    pub mail: Option<Box<InboundMail>>,
}

/// What a mail somebody wrote has besides its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboundMail {
    /// Its subject.
    pub subject: String,
    /// What they wrote themselves, without the mail they quote, as far as that can be told.
    pub new_text: String,
    /// Its HTML, which anybody may have written: never to be shown as it is.
    pub html: Option<String>,
    /// What is attached.
    pub files: Vec<InboundFile>,
    /// How many more files it had than are kept.
    pub files_left_out: u32,
    /// The ids of the mails it refers to, nearest first, without angle brackets.
    pub references: Vec<String>,
    /// Our message that it answers, where the address it came to says so.
    pub answers: Option<MessageId>,
    /// True for what a machine wrote by itself, such as a note of absence.
    pub is_automatic: bool,
}

/// A file that came with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundFile {
    /// Its name.
    pub filename: String,
    /// Its media type.
    pub content_type: String,
    /// By which the HTML shows it.
    pub content_id: Option<String>,
    /// The bytes.
    pub bytes: Bytes,
}

/// What a consent keyword asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keyword {
    /// No more messages.
    Stop,
    /// Messages again.
    Start,
    /// Who is writing, and how to stop.
    Help,
}

/// A file somebody sent.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct InboundMedia {
    /// Media type, when the provider says.
    pub content_type: Option<String>,
    /// A URL, or the provider's file id.
    pub reference: String,
    /// Its name.
    pub filename: Option<String>,
}

/// The phone number behind an address, or a `recipient` failure.
pub fn phone(to: &Address) -> Result<&Phone, Failure> {
    match to {
        Address::Phone(phone) => Ok(phone),
        _ => Err(Failure::new(FailureKind::Recipient, "address_mismatch", "This channel needs a phone number.")),
    }
}
