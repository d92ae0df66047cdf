//! A message as the API shows it.

use model::{
    AccountId, CampaignId, Channel, ContactId, MessageId, Money, Purpose, SenderId, Status, TemplateId, Timestamp,
};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{fallbacks::FormerRoute, messages::Message};
use utoipa::ToSchema;

/// One thing to one recipient, and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageView<'a> {
    /// Its id.
    #[schema(value_type = String, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: MessageId,
    /// Where it is. Never goes back.
    #[schema(value_type = String, example = "queued")]
    pub status: Status,
    /// Over which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// `transactional` or `marketing`.
    #[schema(value_type = String, example = "transactional")]
    pub purpose: Purpose,
    /// What the contact's preferences speak of.
    pub topic: Option<&'a str>,
    /// To whom.
    #[schema(example = "ada@example.com")]
    pub to: &'a str,
    /// Through which account.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// As which of the account's senders; `null` for the account's own.
    #[schema(value_type = Option<String>)]
    pub sender_id: Option<SenderId>,
    /// The connector of that account.
    #[schema(example = "smtp")]
    pub connector: Option<&'a str>,
    /// The provider's id, once it took the message.
    pub provider_message_id: Option<&'a str>,
    /// The campaign it belongs to.
    #[schema(value_type = Option<String>)]
    pub campaign_id: Option<CampaignId>,
    /// The contact it goes to.
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// What it cost, all the ways it went.
    #[schema(value_type = Option<Object>)]
    pub cost: Option<Money>,
    /// Parts (SMS).
    pub segments: Option<u32>,
    /// Exchanges with the provider so far.
    pub attempts: u32,
    /// Why it failed, or why the last attempt did.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// The template it was made of.
    pub template: Option<TemplateUse>,
    /// Your own object.
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Not before this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// Not after this instant.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// When the next attempt is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// When the provider took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// When it was read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read_at: Option<Timestamp>,
    /// When a person first opened it, as far as that can be told (mails).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opened_at: Option<Timestamp>,
    /// When a person first followed one of its links, as far as that can be told (mails).
    #[schema(value_type = Option<String>, format = DateTime)]
    pub clicked_at: Option<Timestamp>,
    /// When the recipient first wrote back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub replied_at: Option<Timestamp>,
}

/// A message with the ways it went before.
#[derive(Debug, Serialize, ToSchema)]
pub struct MessageDetail<'a> {
    /// The message, and the way it goes now.
    #[serde(flatten)]
    pub message: MessageView<'a>,
    /// The ways it went before it went on to another channel or account, the first one first; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub former_routes: Vec<FormerRouteView>,
}

/// A way a message went before.
#[derive(Debug, Serialize, ToSchema)]
pub struct FormerRouteView {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// To whom.
    #[schema(example = "+4915112345678")]
    pub to: String,
    /// Through which account.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// The connector of that account.
    #[schema(example = "twilio")]
    pub connector: String,
    /// The provider's id, if it took the message.
    pub provider_message_id: Option<String>,
    /// What was paid for this way: part of what the message cost. `null` where nothing was sent, and where that is not known apart.
    #[schema(value_type = Option<Object>)]
    pub cost: Option<Money>,
    /// Parts (SMS).
    pub segments: Option<u32>,
    /// Why it did not arrive.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// When the provider took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// When the message went on.
    #[schema(value_type = String, format = DateTime)]
    pub left_at: Timestamp,
}

/// The version of a template a message was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TemplateUse {
    /// Which template.
    #[schema(value_type = String, example = "tpl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: TemplateId,
    /// Which of its versions.
    #[schema(example = 3)]
    pub version: u32,
}

/// Shows a message. `is_in_flight`: an attempt is under way.
pub fn message(m: &Message, is_in_flight: bool, now: Timestamp) -> MessageView<'_> {
    MessageView {
        id: m.id,
        status: shown_status(m, is_in_flight, now),
        channel: m.channel,
        purpose: m.purpose,
        topic: m.topic.as_deref(),
        to: &m.address,
        account_id: m.account_id,
        sender_id: m.sender_id,
        connector: m.connector.as_deref(),
        provider_message_id: m.provider_message_id.as_deref(),
        campaign_id: m.campaign_id,
        contact_id: m.contact_id,
        cost: m
            .cost_micros
            .zip(m.cost_currency.clone())
            .map(|(amount_micros, currency)| Money { amount_micros, currency }),
        segments: m.segments,
        attempts: m.attempts,
        failure: raw(m.failure.as_deref()),
        template: m.template.map(|of| TemplateUse { id: of.id, version: of.version }),
        metadata: raw(m.metadata.as_deref()),
        created_at: m.created_at,
        send_at: m.send_at,
        expires_at: m.expires_at,
        next_attempt_at: m.due_at.filter(|_| !m.status.is_final()),
        sent_at: m.sent_at,
        delivered_at: m.delivered_at,
        read_at: m.read_at,
        opened_at: m.engagement.opened_at,
        clicked_at: m.engagement.clicked_at,
        replied_at: m.engagement.replied_at,
    }
}

/// Shows a way a message went before.
pub fn former_route(route: FormerRoute) -> FormerRouteView {
    FormerRouteView {
        channel: route.channel,
        to: route.address,
        account_id: route.account_id,
        connector: route.connector,
        provider_message_id: route.provider_message_id,
        cost: route
            .cost_micros
            .zip(route.cost_currency)
            .map(|(amount_micros, currency)| Money { amount_micros, currency }),
        segments: route.segments,
        failure: raw(route.failure.as_deref()),
        sent_at: route.sent_at,
        left_at: route.left_at,
    }
}

/// What is stored knows neither the clock nor the work tables: `scheduled` ends by itself, and `sending` is an attempt in flight.
fn shown_status(m: &Message, is_in_flight: bool, now: Timestamp) -> Status {
    match m.status {
        Status::Scheduled | Status::Queued if is_in_flight => Status::Sending,
        Status::Scheduled if m.due_at.is_none_or(|due| due <= now) => Status::Queued,
        status => status,
    }
}

/// JSON kept as text, shown as JSON.
pub fn raw(text: Option<&str>) -> Option<Box<RawValue>> {
    text.and_then(|text| RawValue::from_string(text.to_owned()).ok())
}

/// The JSON of a message as events carry it.
pub fn message_json(m: &Message, now: Timestamp) -> String {
    serde_json::to_string(&message(m, false, now)).expect("a message has a JSON form")
}
