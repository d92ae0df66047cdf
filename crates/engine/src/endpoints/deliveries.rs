//! What was sent to an endpoint: the log of its deliveries, each with its attempts, sending one again, and the test event.

use std::collections::HashSet;

use model::{Channel, Content, EndpointId, EventId, MessageId, Status, TenantId, Timestamp};
use serde::Serialize;
use serde_json::value::RawValue;
use store::{
    Tx,
    attempts::{self, Attempt},
    contents, endpoints,
    events::Event,
    inflight,
    messages::{self, ContentId, Filter, Message},
};
use utoipa::ToSchema;

use super::{find, find_active, nudge, reader, view::DeliveryQueued, writer};
use crate::{
    Engine, Error,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    view::raw,
    writes::Writes,
};

/// One event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointDelivery {
    /// Its id.
    #[schema(value_type = String, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub message_id: MessageId,
    /// The event: the request's `webhook-id`.
    #[schema(value_type = String, example = "evt_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub event_id: EventId,
    /// The event's type.
    #[schema(example = "message.delivered")]
    pub event_type: String,
    /// `queued`, `sending`, `sent` (the endpoint answered 2xx), `failed` or `canceled`.
    #[schema(value_type = String, example = "sent")]
    pub status: Status,
    /// Requests so far.
    pub attempts: u32,
    /// The HTTP status of the last answer, when there was one.
    #[schema(example = 200)]
    pub last_answer: Option<u16>,
    /// Why it failed, or why the last attempt did.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it is tried next.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt_at: Option<Timestamp>,
    /// When the endpoint took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
}

/// One event on its way to an endpoint, with everything there is to see.
#[derive(Debug, Serialize, ToSchema)]
pub struct EndpointDeliveryDetail {
    /// The delivery.
    #[serde(flatten)]
    pub delivery: EndpointDelivery,
    /// The body that is posted.
    #[schema(value_type = Option<Object>)]
    pub body: Option<Box<RawValue>>,
    /// The requests that were made, in order.
    pub log: Vec<DeliveryAttempt>,
}

/// One request to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeliveryAttempt {
    /// From 1.
    pub number: u32,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// When its end was recorded.
    #[schema(value_type = String, format = DateTime)]
    pub finished_at: Timestamp,
    /// The HTTP status of the answer, when there was one.
    pub answer: Option<u16>,
    /// Why it did not work.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// Request and answer, shortened and without the signature.
    #[schema(value_type = Option<Object>)]
    pub exchange: Option<Box<RawValue>>,
}

/// Which deliveries a list shows.
#[derive(Debug, Clone, Default)]
pub struct DeliveryQuery {
    /// `?status=`: `queued`, `sending`, `sent`, `failed` or `canceled`.
    pub status: Option<String>,
    /// `?limit=`.
    pub limit: Option<u32>,
    /// `?cursor=`.
    pub cursor: Option<String>,
}

/// States a delivery can be in.
const STATUSES: &[Status] = &[Status::Queued, Status::Sending, Status::Sent, Status::Failed, Status::Canceled];

/// Lists what was sent, or is to be sent, to an endpoint, newest first. Needs the scope `webhooks:read`.
#[crate::boxed]
pub async fn deliveries(
    engine: &Engine,
    caller: &Caller,
    id: EndpointId,
    query: &DeliveryQuery,
) -> Result<Page<EndpointDelivery>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("webhook-deliveries", query.limit, query.cursor.as_deref())?;
    let filter = Filter { status: query.status.as_deref().map(status).transpose()?, ..of_endpoint(id) };
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            find(tx, tenant, id).await?;
            let before = Some(MessageId::from_ulid(window.before));
            let rows = messages::list(tx, tenant, &filter, before, now, window.rows()).await?;
            shown(tx, tenant, &rows).await
        })
    });
    Ok(window.page(read.await?, |view| view.message_id.ulid(), |view| view))
}

/// Shows one delivery with its body and its attempts. Needs the scope `webhooks:read`.
#[crate::boxed]
pub async fn delivery(
    engine: &Engine,
    caller: &Caller,
    id: EndpointId,
    message: MessageId,
) -> Result<EndpointDeliveryDetail, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let row = find_delivery(tx, tenant, id, message).await?;
            let log = attempts::of_message(tx, tenant, message).await?;
            let content = contents::find_many(tx, &[(tenant, row.content_id)]).await?.pop();
            let delivery = shown(tx, tenant, &[row]).await?.pop();
            Ok::<_, Error>((delivery, content, log))
        })
    });
    let (delivery, content, log) = read.await?;
    let delivery = delivery.ok_or_else(|| Error::not_found("delivery"))?;
    let body = content.and_then(|stored| match serde_json::from_str(&stored.body) {
        Ok(Content::Webhook(content)) => RawValue::from_string(content.body).ok(),
        _ => None,
    });
    Ok(EndpointDeliveryDetail { delivery, body, log: log.iter().map(attempt).collect() })
}

/// Sends an event again that has left the queue: a new delivery of the same event. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn retry(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: EndpointId,
    message: MessageId,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let (now, ids, shard) = (engine.ports.clock.now(), engine.ports.ids.clone(), engine.shard());
    let reply = once(engine.parts(), caller, repeat, 202, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            find_active(tx, tenant, id).await?;
            let row = find_delivery(tx, tenant, id, message).await?;
            if !row.status.is_final() {
                return Err(Error::conflict(
                    "delivery_waiting",
                    "This delivery has not ended: it is tried again by itself, see `next_attempt_at`.",
                ));
            }
            let event = event_of(&row);
            let mut writes = Writes::default();
            let message_id = writes.webhook_message(&event, id, row.content_id, now, &ids);
            writes.write(tx, shard).await?;
            Ok(DeliveryQueued { message_id, event_id: event.id })
        })
    })
    .await?;
    nudge(engine, tenant, id);
    Ok(reply)
}

/// Sends the event `webhook.test` to one endpoint, whatever its filters, and to no stream. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn test(engine: &Engine, caller: &Caller, repeat: &Repeat, id: EndpointId) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let (now, ids, shard) = (engine.ports.clock.now(), engine.ports.ids.clone(), engine.shard());
    let reply = once(engine.parts(), caller, repeat, 202, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            find_active(tx, tenant, id).await?;
            let event = Event {
                id: EventId::from_ulid(ids.ulid(now)),
                tenant_id: tenant,
                kind: "webhook.test".to_owned(),
                at: now,
                data: serde_json::json!({"endpoint_id": id, "detail": "This is a test. Nothing happened."}).to_string(),
            };
            let mut writes = Writes::default();
            let content = writes.webhook_content(&event);
            let message_id = writes.webhook_message(&event, id, content, now, &ids);
            writes.write(tx, shard).await?;
            Ok(DeliveryQueued { message_id, event_id: event.id })
        })
    })
    .await?;
    nudge(engine, tenant, id);
    Ok(reply)
}

fn status(word: &str) -> Result<Status, Error> {
    let known = STATUSES.iter().find(|status| status.as_str() == word);
    known.copied().ok_or_else(|| {
        let known = STATUSES.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ");
        Error::new(
            crate::ErrorKind::Malformed,
            "invalid_status",
            format!("`status` is one of {known}; this one is `{word}`."),
        )
    })
}

/// Events to an endpoint are the messages addressed to it.
fn of_endpoint(id: EndpointId) -> Filter {
    Filter { channel: Some(Channel::Webhook), address: Some(id.to_string()), ..Filter::default() }
}

async fn find_delivery(
    tx: &mut Tx,
    tenant: TenantId,
    endpoint: EndpointId,
    message: MessageId,
) -> Result<Message, Error> {
    find(tx, tenant, endpoint).await?;
    let row = messages::find(tx, tenant, message).await?;
    let is_its = |row: &Message| row.channel == Channel::Webhook && row.account_id == Some(endpoint.account());
    row.filter(is_its).ok_or_else(|| Error::not_found("delivery"))
}

/// The event a delivery tells of, as far as its row knows. The content's id is the event's.
fn event_of(row: &Message) -> Event {
    Event {
        id: event_id(row.content_id),
        tenant_id: row.tenant_id,
        kind: row.topic.clone().unwrap_or_default(),
        at: row.created_at,
        data: String::new(),
    }
}

fn event_id(content: ContentId) -> EventId {
    EventId::from_ulid(content.0)
}

async fn shown(tx: &mut Tx, tenant: TenantId, rows: &[Message]) -> Result<Vec<EndpointDelivery>, Error> {
    let tried: Vec<_> = rows.iter().filter(|row| row.attempts > 0).map(|row| (row.id, row.attempts)).collect();
    let exchanges = endpoints::exchanges(tx, tenant, &tried).await?;
    let waiting: Vec<_> = rows.iter().filter(|row| !row.status.is_final()).map(|row| row.id).collect();
    let flying: HashSet<_> = inflight::find_many(tx, &waiting).await?.into_iter().map(|f| f.message_id).collect();
    let last_answer =
        |id| exchanges.iter().find(|(message, _)| *message == id).and_then(|(_, text)| answer(text.as_deref()));
    let show = |row: &Message| EndpointDelivery {
        message_id: row.id,
        event_id: event_id(row.content_id),
        event_type: row.topic.clone().unwrap_or_default(),
        status: if flying.contains(&row.id) { Status::Sending } else { row.status },
        attempts: row.attempts,
        last_answer: last_answer(row.id),
        failure: raw(row.failure.as_deref()),
        created_at: row.created_at,
        next_attempt_at: row.due_at.filter(|_| !row.status.is_final()),
        sent_at: row.sent_at,
    };
    Ok(rows.iter().map(show).collect())
}

fn attempt(row: &Attempt) -> DeliveryAttempt {
    DeliveryAttempt {
        number: row.number,
        started_at: row.started_at,
        finished_at: row.finished_at,
        answer: answer(row.exchange.as_deref()),
        failure: raw(row.failure.as_deref()),
        exchange: raw(row.exchange.as_deref()),
    }
}

/// The HTTP status in the record of an exchange: its answer begins with it.
fn answer(exchange: Option<&str>) -> Option<u16> {
    let exchange: serde_json::Value = serde_json::from_str(exchange?).ok()?;
    exchange["answer"].as_str()?.lines().next()?.trim().parse().ok()
}
