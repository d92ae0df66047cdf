//! Withdrawing a message that has not left.
//!
//! The message's state is changed by [`crate::apply`], here inside the transaction that keeps the request's idempotency key. Only what waits can be withdrawn: an attempt
//! in flight may already be in the provider's hands. A message with an earlier attempt that nobody can speak for loses its retry and becomes `unknown`, not
//! `canceled`, because it may have arrived.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{Channel, Fact, MessageId, Status};
use serde_json::value::RawValue;
use store::messages::{self, Message};

use crate::{
    Engine, Error,
    access::Permission,
    apply::{self, Aftermath, Input, Withdrawn},
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    queries::found,
    view,
};

impl Engine {
    /// Withdraws one of the tenant's messages before it leaves (`POST /v1/messages/{id}/cancel`). Answers 200 with the message. Needs the scope `messages:write`.
    ///
    /// 409 `message_in_flight` while an attempt is under way, 409 `message_not_cancelable` once the message has an end.
    #[crate::boxed]
    pub async fn cancel(&self, caller: &Caller, repeat: &Repeat, id: MessageId) -> Result<Reply, Error> {
        caller.need("messages:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let tenants = HashMap::from([(tenant_id, tenant)]);
        let (ids, now, shard) = (Arc::clone(&self.ports.ids), self.ports.clock.now(), self.shard());
        let input = Input::Withdrawn(vec![Withdrawn {
            tenant_id,
            message_id: id,
            fact: Fact::Canceled,
            source: caller.actor(),
        }]);
        let by = caller.clone();
        let aftermath = Arc::new(Mutex::new(Aftermath::default()));
        let left = Arc::clone(&aftermath);
        let reply = once(self.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let before = found(messages::find(tx, tenant_id, id).await?)?;
                if before.channel == Channel::Webhook {
                    return Err(Error::not_found("message"));
                }
                by.need_permission(Permission::Send(before.channel))?;
                let done = apply::write_in(tx, &[&input], &tenants, &[], &ids, now, shard).await?;
                let after = found(messages::find(tx, tenant_id, id).await?)?;
                refuse(&before, &after)?;
                *left.lock().unwrap_or_else(PoisonError::into_inner) = done;
                shown(&view::message_json(&after, now))
            })
        });
        let reply = reply.await?;
        std::mem::take(&mut *aftermath.lock().unwrap_or_else(PoisonError::into_inner)).remember(self);
        Ok(reply)
    }
}

/// Says why a message was not withdrawn, when it was not.
fn refuse(before: &Message, after: &Message) -> Result<(), Error> {
    let was_final = before.status.is_final();
    if !was_final && matches!(after.status, Status::Canceled | Status::Unknown) {
        return Ok(());
    }
    if !was_final && !after.status.is_final() {
        return Err(Error::conflict(
            "message_in_flight",
            "An attempt to send this message is under way, so it cannot be withdrawn now. Look at it again shortly: when the attempt fails, it can be canceled.",
        )
        .with_retry_after_ms(1_000));
    }
    let detail = match after.status {
        Status::Canceled => "This message is canceled already.".to_owned(),
        Status::Unknown => {
            "This message may have left already; nobody can say yet. Nothing waits that could be withdrawn.".to_owned()
        }
        status => format!("This message is {status}; only messages that wait to be sent can be canceled."),
    };
    Err(Error::conflict("message_not_cancelable", detail))
}

/// JSON text as an answer that can be kept.
pub(crate) fn shown(json: &str) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(json.to_owned()).map_err(|error| Error::internal(format!("an answer is no JSON: {error}")))
}
