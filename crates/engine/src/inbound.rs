//! Messages people send to a tenant: stored once per provider id, told as `message.received`, listed.

use connectors::{InboundMedia, InboundMessage, Keyword};
use model::{AccountId, CallbackId, Channel, ContactId, Ids, InboundId, Location, TenantId, Timestamp};
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
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
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
}

/// The row for a message that came in a request.
pub(crate) fn row(
    tenant_id: TenantId,
    account_id: AccountId,
    request: CallbackId,
    message: InboundMessage,
    now: Timestamp,
    ids: &Ids,
) -> Inbound {
    // PostgreSQL keeps no NUL in a text. A message without an id of its own is as unique as its request.
    let provider_message_id = match message.provider_message_id.replace('\0', "\u{fffd}") {
        id if id.is_empty() => request.to_string(),
        id => id,
    };
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
    };
    Inbound {
        tenant_id,
        id: InboundId::from_ulid(ids.ulid(now)),
        account_id,
        channel: message.channel,
        provider_message_id,
        address: message.from.to_string(),
        body: serde_json::to_string(&body).expect("what somebody sent has a JSON form"),
        received_at: now,
        contact_id: None,
    }
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
