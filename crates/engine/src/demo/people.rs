//! What people in a demo do about a message they read: most nothing, some answer, and some have had enough of news.
//!
//! Who does what follows from the message's id alone, so the job may look at the same message as often as it likes, and on any node: an answer has the message's id in its own, and a
//! withdrawal is a step with a key.

use std::{collections::HashSet, sync::Arc};

use model::{AccountId, Channel, ContactId, InboundId, MessageId, Purpose, TenantId, Timestamp};
use serde_json::json;
use store::{
    Scope, demo_tenants, inbound,
    inbound::Inbound,
    messages::{self, Filter, Message},
};

use super::{
    DEMOS_MAX,
    past::{ANSWER_TEXTS, chance},
    read, step,
};
use crate::{
    Engine, Error,
    inbound::{Body, json as told},
    keys::Caller,
    writes::Writes,
};

/// How long after it was read a message is answered, in seconds, and for how long the job looks for it: a job that was late finds it all the same.
const AFTER_S: i64 = 5;
const WITHIN_S: i64 = 60;
/// How long ago a message may have been accepted, in seconds: a campaign at a slow pace takes minutes.
const ACCEPTED_WITHIN_S: i64 = 900;
/// Messages of a tenant looked at: what somebody who shows it around sends in that time, with room.
const LOOKED_AT: i64 = 500;
/// Of a hundred messages, so many are answered.
const ANSWERED: u64 = 7;
/// Of a hundred marketing messages, so many are the last the reader wants.
const ENOUGH: u64 = 4;

/// What somebody does about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reaction {
    /// Writes one of the texts.
    Answers(usize),
    /// Wants no more.
    HasEnough,
}

fn reaction(id: MessageId, channel: Channel, purpose: Purpose) -> Option<Reaction> {
    let drawn = chance((id.ulid() >> 10) as u64);
    let can_answer = !matches!(channel, Channel::Voice | Channel::Webhook);
    match drawn % 100 {
        ..ANSWERED if can_answer => Some(Reaction::Answers((drawn >> 32) as usize % ANSWER_TEXTS.len())),
        drawn if drawn >= 100 - ENOUGH && purpose == Purpose::Marketing => Some(Reaction::HasEnough),
        _ => None,
    }
}

/// Lets the people of every demo do what they do. Answers how many did something.
#[crate::boxed]
pub async fn react(engine: &Arc<Engine>) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(
            async move { Ok::<_, Error>(demo_tenants::list(tx, TenantId::from_ulid(u128::MAX), DEMOS_MAX).await?) },
        )
    });
    let mut done = 0;
    for demo in read.await? {
        match react_in(engine, demo.tenant).await {
            Ok(count) => done += count,
            // One that is being deleted must not keep the others waiting.
            Err(error) => {
                tracing::warn!(%error, tenant.id = %demo.tenant, "The people of a demo cannot do anything now")
            }
        }
    }
    Ok(done)
}

async fn react_in(engine: &Arc<Engine>, tenant: TenantId) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let filter = Filter { since: Some(now.plus_seconds(-ACCEPTED_WITHIN_S)), ..Filter::default() };
            Ok::<_, Error>(messages::list(tx, tenant, &filter, None, now, LOOKED_AT).await?)
        })
    });
    let is_due =
        |m: &Message| m.read_at.is_some_and(|at| (AFTER_S * 1_000..WITHIN_S * 1_000).contains(&now.millis_since(at)));
    let (mut answers, mut leavers) = (Vec::new(), Vec::new());
    for m in read.await?.into_iter().filter(is_due) {
        match (reaction(m.id, m.channel, m.purpose), m.account_id, m.contact_id) {
            (Some(Reaction::Answers(which)), Some(account), contact) => {
                answers.push(answer(engine, &m, account, contact, which, now));
            }
            (Some(Reaction::HasEnough), _, Some(contact)) => leavers.push((m.id, m.channel, contact)),
            _ => {}
        }
    }
    let mut done = 0;
    if !answers.is_empty() {
        done += write(engine, tenant, answers, now).await?;
    }
    for (message, channel, contact) in leavers {
        let said = read_consent(channel)?;
        let key = step(&format!("left-{message}"));
        let reply = engine.record_consent(&Caller::system(Some(tenant)), &key, contact, said).await?;
        done += u64::from(!reply.replayed);
    }
    Ok(done)
}

fn read_consent(channel: Channel) -> Result<crate::consent::records::NewConsent, Error> {
    read(json!({"channel": channel, "state": "opted_out", "evidence": "They followed the link in a message."}))
}

fn answer(
    engine: &Engine,
    m: &Message,
    account_id: AccountId,
    contact_id: Option<ContactId>,
    which: usize,
    now: Timestamp,
) -> Inbound {
    let to = if m.channel == Channel::Email { "news@acme.example" } else { "+12025550100" };
    let body = Body {
        to: to.to_owned(),
        text: ANSWER_TEXTS[which].to_owned(),
        in_reply_to: m.provider_message_id.clone(),
        sent_at: Some(now),
        ..Body::default()
    };
    Inbound {
        tenant_id: m.tenant_id,
        id: InboundId::from_ulid(engine.ports.ids.ulid(now)),
        account_id,
        channel: m.channel,
        provider_message_id: format!("sbx_re_{}", m.id),
        address: m.address.clone(),
        body: serde_json::to_string(&body).expect("an answer has a JSON form"),
        received_at: now,
        contact_id,
    }
}

/// Writes the answers that are not there yet, with what is told about them.
async fn write(engine: &Arc<Engine>, tenant_id: TenantId, answers: Vec<Inbound>, now: Timestamp) -> Result<u64, Error> {
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let (ids, shard) = (Arc::clone(&engine.ports.ids), engine.shard());
    let write = engine.ports.db.write(Scope::Tenant(tenant_id), move |tx| {
        Box::pin(async move {
            let keys: Vec<_> = answers.iter().map(|m| (m.account_id, m.provider_message_id.clone())).collect();
            let known: HashSet<_> = inbound::known(tx, &keys).await?.into_iter().collect();
            let is_new = |m: &Inbound| !known.contains(&(m.account_id, m.provider_message_id.clone()));
            let new: Vec<Inbound> = answers.into_iter().filter(is_new).collect();
            if new.is_empty() {
                return Ok::<_, Error>(0);
            }
            if inbound::insert_many(tx, &new).await? < new.len() as u64 {
                return Err(Error::internal("another node wrote a demo's answers first"));
            }
            let mut writes = Writes::default();
            for m in &new {
                writes.event(&tenant, "message.received", told(m), now, &ids);
            }
            writes.write(tx, shard).await?;
            Ok(new.len() as u64)
        })
    });
    let count = write.await?;
    engine.wakers.wake(tenant_id);
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_answer_some_leave_and_most_do_nothing() {
        let of = |channel, purpose| {
            let drawn = (1..=1_000u128).map(|n| reaction(MessageId::from_ulid(n << 20), channel, purpose));
            drawn.fold((0, 0), |(answers, leavers), reaction| match reaction {
                Some(Reaction::Answers(which)) => {
                    assert!(which < ANSWER_TEXTS.len());
                    (answers + 1, leavers)
                }
                Some(Reaction::HasEnough) => (answers, leavers + 1),
                None => (answers, leavers),
            })
        };
        let (answers, leavers) = of(Channel::Email, Purpose::Marketing);
        assert!((40..=100).contains(&answers) && (20..=60).contains(&leavers), "{answers} {leavers}");
        assert_eq!(of(Channel::Sms, Purpose::Transactional).1, 0, "nobody leaves because of a ticket");
        assert_eq!(of(Channel::Voice, Purpose::Transactional), (0, 0));
    }
}
