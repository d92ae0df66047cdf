//! Messages we write ourselves on behalf of a tenant: answers to STOP, START and HELP, and the question of a double opt-in. They walk the same path as all others, are transactional,
//! and are written in the transaction of what they answer.

use std::sync::Arc;

use model::{Channel, Class, Content, Guarantee, Ids, MessageId, Priority, Purpose, Timestamp, segments};
use store::{
    deliveries::Delivery,
    messages::{ContentId, Message},
};

use crate::{
    analytics::period,
    directory::{Account, Tenant},
    view,
    writes::Writes,
};

/// How long an answer is worth sending, in seconds: the FCC gives five minutes for the confirmation of STOP.
const KEPT_S: i64 = 300;

/// The row of such a message.
#[allow(clippy::too_many_arguments, reason = "each is a different fact")]
pub(crate) fn message(
    tenant: &Tenant,
    account: &Arc<Account>,
    channel: Channel,
    address: &str,
    topic: &str,
    content: &Content,
    now: Timestamp,
    ids: &Ids,
) -> Message {
    let (id, content_id) = (MessageId::from_ulid(ids.ulid(now)), ContentId(ids.ulid(now)));
    Message {
        class: Class::new(Purpose::Transactional, Priority::High),
        guarantee: Guarantee::AtMostOnce,
        account_id: Some(account.id),
        connector: Some(account.connector.spec().id.to_owned()),
        topic: Some(topic.to_owned()),
        route: Some(format!("{channel}: Tidings answers for the tenant; {}", account.name)),
        segments: match content {
            Content::Sms(sms) => Some(segments(&sms.text).count),
            _ => None,
        },
        expires_at: topic.starts_with("reply:stop").then(|| now.plus_seconds(KEPT_S)),
        due_at: Some(now),
        clock: Some(period::clock(&tenant.consent.zone, now)),
        ..Message::new(tenant.id, id, channel, address.to_owned(), content_id, now)
    }
}

/// Writes it with its content, its due work and its event.
pub(crate) fn write(writes: &mut Writes, tenant: &Tenant, m: Message, content: &Content, now: Timestamp, ids: &Ids) {
    let (Some(account_id), Some(due_at)) = (m.account_id, m.due_at) else { return };
    let text = serde_json::to_string(content).expect("a content has a JSON form");
    writes.contents.push(store::contents::Stored {
        tenant_id: tenant.id,
        id: m.content_id,
        body: text,
        template: None,
    });
    writes.deliveries.push(Delivery {
        account_id,
        class: m.class,
        due_at,
        message_id: m.id,
        tenant_id: tenant.id,
        attempts: 0,
        tries: 0,
        expires_at: m.expires_at,
    });
    writes.count(None, &m);
    writes.event(tenant, "message.accepted", view::message_json(&m, now), now, ids);
    writes.new_messages.push(m);
}

/// A text that stays as it is when placeholders are filled.
pub(crate) fn literal(text: &str) -> String {
    text.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #")
}
