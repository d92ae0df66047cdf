//! Everything between a tenant and one contact, over all channels, newest first.

use model::{ContactId, InboundId, MessageId, Timestamp, Ulid};
use serde::Serialize;
use serde_json::Value;
use store::{contacts, inbound, messages};
use utoipa::ToSchema;

use super::no_such;
use crate::{
    Engine, Error,
    keys::Caller,
    page::{Page, Window},
    view,
};

/// One entry of a contact's timeline.
#[derive(Debug, Serialize, ToSchema)]
pub struct ContactEntry {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `message` or `inbound_message`.
    #[serde(rename = "type")]
    #[schema(example = "message")]
    pub kind: &'static str,
    /// The message to the contact as it is now, as in `GET /v1/messages/{id}`; or what the contact wrote, as in `GET /v1/inbound-messages/{id}`.
    #[schema(value_type = Object)]
    pub data: Value,
    #[serde(skip)]
    id: Ulid,
}

/// One page of a contact's timeline. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn timeline(
    engine: &Engine,
    caller: &Caller,
    id: ContactId,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ContactEntry>, Error> {
    let tenant = super::reader(caller)?;
    let window = Window::read("contact_timeline", limit, cursor)?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            contacts::find(tx, tenant, id).await?.ok_or_else(no_such)?;
            let filter = messages::Filter { contact_id: Some(id), ..messages::Filter::default() };
            let before = MessageId::from_ulid(window.before);
            let sent = messages::list(tx, tenant, &filter, Some(before), now, window.rows()).await?;
            let filter = inbound::Filter { contact_id: Some(id), ..inbound::Filter::default() };
            let before = InboundId::from_ulid(window.before);
            let received = inbound::list(tx, tenant, &filter, before, window.rows()).await?;
            Ok::<_, Error>((sent, received))
        })
    });
    let (sent, received) = read.await?;
    // Ids are made in the order of time, so both lists are sorted by what they are merged by. A page shows at most `rows` of them.
    let sent = sent.iter().map(|m| ContactEntry {
        at: m.created_at,
        kind: "message",
        data: json(&view::message(m, false, now)),
        id: m.id.ulid(),
    });
    let received = received.iter().map(|m| ContactEntry {
        at: m.received_at,
        kind: "inbound_message",
        data: json(&crate::inbound::view(m)),
        id: m.id.ulid(),
    });
    let mut entries: Vec<ContactEntry> = sent.chain(received).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    Ok(window.page(entries, |entry| entry.id, |entry| entry))
}

fn json(view: &impl Serialize) -> Value {
    serde_json::to_value(view).expect("a view has a JSON form")
}
