//! Messages people send to a tenant: stored once per provider id, told as `message.received`, listed.

use connectors::{InboundMedia, InboundMessage, Keyword};
use model::{
    AccountId, AttachmentId, CallbackId, Channel, ContactId, Ids, InboundId, Location, MessageId, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    inbound::{self, Filter, Inbound},
};
use utoipa::{IntoParams, ToSchema};

use crate::{Engine, Error, keys::Caller, page::Window, queries::to_json};

/// Which messages a list shows (`GET /v1/inbound-messages`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InboundQuery {
    /// Over this channel.
    #[param(value_type = Option<String>, example = "sms")]
    pub channel: Option<Channel>,
    /// Through this account.
    #[param(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// From exactly this address.
    #[param(example = "+15550100001")]
    pub from: Option<String>,
    /// From this contact.
    #[param(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// A message somebody sent to the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct InboundView {
    /// Its id.
    #[schema(value_type = String, example = "inb_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: InboundId,
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// Through which account it came.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// Who wrote.
    #[schema(example = "+15550100001")]
    pub from: String,
    /// Which of the tenant's contacts that is, when the address was one's as it came.
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// The provider's id.
    pub provider_message_id: String,
    /// What they sent.
    #[serde(flatten)]
    pub body: Body,
    /// When we stored it.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
}

/// What somebody sent, as stored.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
pub struct Body {
    /// The name the provider knows them by.
    pub from_name: Option<String>,
    /// To which of the tenant's senders.
    pub to: String,
    /// What they wrote; empty for none.
    pub text: String,
    /// What they attached: media type, where the provider keeps it, and its name.
    #[schema(value_type = Vec<Object>)]
    pub media: Vec<InboundMedia>,
    /// Where they are.
    #[schema(value_type = Option<Object>)]
    pub location: Option<Location>,
    /// The data of the button they pressed.
    pub button: Option<String>,
    /// The provider's id of the message they answered.
    pub in_reply_to: Option<String>,
    /// `stop`, `start` or `help`, when the provider recognised such a word and acted on it.
    #[schema(value_type = Option<String>)]
    pub keyword: Option<Keyword>,
    /// When they sent it, if the provider says.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// The message of the tenant's that they answered, when that can be told.
    #[schema(value_type = Option<String>, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub in_reply_to_message_id: Option<MessageId>,
    /// What only a mail has; `null` on other channels.
    pub mail: Option<MailBody>,
}

/// What a mail somebody wrote has besides its text.
#[derive(Debug, Default, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = InboundMail)]
pub struct MailBody {
    /// Its subject.
    #[schema(example = "Re: Your ticket")]
    pub subject: String,
    /// What they wrote themselves, without the mail they quote, as far as that can be told.
    #[schema(example = "Where is my ticket?")]
    pub new_text: String,
    /// Its HTML, at most 256 KiB of it. Anybody may have written it: never show it as it is.
    pub html: Option<String>,
    /// What is attached, to be read under `/v1/attachments/{id}`.
    pub attachments: Vec<MailFile>,
    /// How many files it had besides those: beyond the first 50, beyond 40 MiB, or empty.
    #[serde(default)]
    #[schema(example = 0)]
    pub attachments_left_out: u32,
    /// The ids of the mails it refers to, nearest first.
    pub references: Vec<String>,
    /// True for what a machine wrote by itself, such as a note of absence: no keyword in it is acted on.
    pub is_automatic: bool,
}

/// A file that came with a mail.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = InboundAttachment)]
pub struct MailFile {
    /// Which file it is.
    #[schema(value_type = String, example = "atc_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub attachment_id: AttachmentId,
    /// Its name.
    #[schema(example = "receipt.pdf")]
    pub filename: String,
    /// Its media type.
    #[schema(example = "application/pdf")]
    pub content_type: String,
    /// Its size in bytes.
    #[schema(example = 48_213)]
    pub size: u64,
    /// By which the HTML shows it, as in `cid:…`.
    pub content_id: Option<String>,
}

/// A message that came in a request, before it is known what it answers.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    /// Its row, without what it says.
    pub row: Inbound,
    /// What it says.
    pub body: Body,
    /// The message of ours that it answers, where the address it came to says so.
    answers: Option<MessageId>,
}

/// What may lead to the message that was answered.
pub(crate) struct Clue {
    /// It, by an id of ours.
    pub message: Option<MessageId>,
    /// What its provider may call it.
    pub provider_ids: Vec<String>,
}

impl Arrived {
    /// Prepares what a request told. `files` are the mail's, stored.
    pub(crate) fn new(
        (tenant_id, account_id): (TenantId, AccountId),
        request: CallbackId,
        message: InboundMessage,
        files: Vec<MailFile>,
        now: Timestamp,
        ids: &Ids,
    ) -> Self {
        // PostgreSQL keeps no NUL in a text. A message without an id of its own is as unique as its request.
        let provider_message_id = match message.provider_message_id.replace('\0', "\u{fffd}") {
            id if id.is_empty() => request.to_string(),
            id => id,
        };
        let answers = message.mail.as_ref().and_then(|mail| mail.answers);
        let mail = message.mail.map(|mail| MailBody {
            subject: mail.subject,
            new_text: mail.new_text,
            html: mail.html,
            attachments: files,
            attachments_left_out: mail.files_left_out,
            references: mail.references,
            is_automatic: mail.is_automatic,
        });
        let body = Body {
            from_name: message.from_name,
            to: message.to,
            text: message.text,
            media: message.media,
            location: message.location,
            button: message.button,
            in_reply_to: message.in_reply_to,
            keyword: message.keyword,
            sent_at: message.at,
            in_reply_to_message_id: None,
            mail,
        };
        let row = Inbound {
            tenant_id,
            id: InboundId::from_ulid(ids.ulid(now)),
            account_id,
            channel: message.channel,
            provider_message_id,
            address: message.from.to_string(),
            body: String::new(),
            received_at: now,
            contact_id: None,
        };
        Self { row, body, answers }
    }

    /// What it answers, the surest first. Mails are referred to by their `Message-ID`: ours begins with the message's id, providers make it of theirs, and Mailgun gives all
    /// mails of one request the same.
    pub(crate) fn clues(&self) -> impl Iterator<Item = Clue> {
        let by_address = self.answers.map(|id| Clue { message: Some(id), provider_ids: Vec::new() });
        let mail = self.body.mail.as_ref();
        let references = mail.map(|mail| mail.references.as_slice()).unwrap_or_default().iter().map(|id| {
            let local = id.split('@').next().unwrap_or_default();
            Clue {
                message: local.parse().ok(),
                provider_ids: vec![id.clone(), format!("{id}/{}", self.row.address), local.to_owned()],
            }
        });
        let other = self.body.in_reply_to.iter().filter(move |_| mail.is_none());
        let other = other.map(|id| Clue { message: None, provider_ids: vec![id.clone()] });
        by_address.into_iter().chain(references).chain(other)
    }

    /// True when a machine wrote it by itself.
    pub(crate) fn is_automatic(&self) -> bool {
        self.body.mail.as_ref().is_some_and(|mail| mail.is_automatic)
    }

    /// Its row, whole.
    pub(crate) fn into_row(self) -> Inbound {
        let body = serde_json::to_string(&self.body).expect("what somebody sent has a JSON form");
        Inbound { body, ..self.row }
    }
}

/// The files of messages whose bodies these are.
pub(crate) fn files_of(bodies: &[String]) -> Vec<AttachmentId> {
    let read = |body: &String| serde_json::from_str::<Body>(body).ok().and_then(|body| body.mail);
    bodies.iter().filter_map(read).flat_map(|mail| mail.attachments).map(|file| file.attachment_id).collect()
}

pub(crate) fn view(row: &Inbound) -> InboundView {
    InboundView {
        id: row.id,
        channel: row.channel,
        account_id: row.account_id,
        from: row.address.clone(),
        contact_id: row.contact_id,
        provider_message_id: row.provider_message_id.clone(),
        body: serde_json::from_str(&row.body).unwrap_or_default(),
        received_at: row.received_at,
    }
}

/// A message as events carry it.
pub(crate) fn json(row: &Inbound) -> String {
    serde_json::to_string(&view(row)).expect("a message has a JSON form")
}

impl Engine {
    /// Lists messages people sent to the tenant, newest first, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn inbound_messages(&self, caller: &Caller, query: &InboundQuery) -> Result<Vec<u8>, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        let window = Window::read("inbound_messages", query.limit, query.cursor.as_deref())?;
        let filter = Filter {
            channel: query.channel,
            account_id: query.account_id,
            address: query.from.clone(),
            contact_id: query.contact_id,
        };
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let before = InboundId::from_ulid(window.before);
                inbound::list(tx, tenant, &filter, before, window.rows()).await
            })
        });
        let rows = read.await.map_err(Error::from)?;
        to_json(&window.page(rows, |row| row.id.ulid(), |row| view(&row)))
    }

    /// Reads one of them, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn inbound_message(&self, caller: &Caller, id: InboundId) -> Result<Vec<u8>, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        let read = self
            .ports
            .db
            .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { inbound::find(tx, tenant, id).await }));
        let row = read.await.map_err(Error::from)?.ok_or_else(|| Error::not_found("inbound message"))?;
        to_json(&view(&row))
    }
}
