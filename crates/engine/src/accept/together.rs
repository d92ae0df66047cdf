//! Messages that are accepted together with a step of somebody who keeps count: a schedule's next occurrence, a campaign's place in its audience. Both are
//! written in one transaction, so a process that dies has done both or neither.

use std::sync::Arc;

use model::{BoxFuture, MessageId, TenantId};
use store::Tx;

use super::{Committed, Item, PLANS_MAX, Planned, answered, too_busy};
use crate::{Engine, Error, accept::request::MessageRequest};

type Take = dyn for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> + Send + Sync;

/// A step that is taken in the transaction that writes the messages. It answers false when somebody else took it: then nothing is written.
pub(crate) struct Step(Arc<Take>);

impl Step {
    /// A step; it may run more than once, each time in a transaction of its own.
    pub(crate) fn new(
        take: impl for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(take))
    }

    pub(super) fn take<'t>(&self, tx: &'t mut Tx) -> BoxFuture<'t, Result<bool, store::Error>> {
        (self.0)(tx)
    }
}

impl Engine {
    /// Accepts one message with the step `step` makes for its id. `None` when somebody else took the step.
    pub(crate) async fn accept_with(
        &self,
        tenant_id: TenantId,
        request: &MessageRequest,
        step: impl Fn(MessageId) -> Step + Send + Sync,
    ) -> Result<Option<MessageId>, Error> {
        let files = self.attach(tenant_id, request).await?;
        for _ in 0..PLANS_MAX {
            let (version, tenant) = self.tenant(tenant_id).await?;
            let now = self.ports.clock.now();
            let (plan, content, text) = self.plan_one(request, &tenant, files.clone(), now)?;
            let message = self.new_message(request, &tenant, &plan, content, now);
            let id = message.id;
            let item = Item {
                leaving: None,
                messages: vec![Planned { message, content: Some(text) }],
                answer: answered(tenant_id, None, [0; 32], Vec::new(), now),
                has_key: false,
                is_single: false,
                step: Some(step(id)),
                tenant,
                version,
            };
            match self.hand_in(item, 1).await? {
                Handed::Done => {
                    self.contents.put(content, plan.content);
                    self.dispatcher.nudge(tenant_id, plan.account.id, plan.class, plan.due_at);
                    self.wakers.wake(tenant_id);
                    return Ok(Some(id));
                }
                Handed::Passed => return Ok(None),
                Handed::Stale => self.directory.refresh().await.map(drop)?,
            }
        }
        Err(too_busy())
    }

    async fn hand_in(&self, item: Item, weight: usize) -> Result<Handed, Error> {
        let lost = || Committed::Failed(Error::internal("the batch was lost to a panic"));
        match self.accepts.submit(item, weight).await.unwrap_or_else(lost) {
            Committed::Done { .. } => Ok(Handed::Done),
            Committed::Passed => Ok(Handed::Passed),
            Committed::Stale => Ok(Handed::Stale),
            Committed::Known(_) => Err(Error::internal("a message without an idempotency key had one")),
            Committed::Failed(error) => Err(error),
        }
    }
}

/// What became of messages with a step.
enum Handed {
    /// Both are written.
    Done,
    /// Somebody else took the step.
    Passed,
    /// The configuration changed; plan again.
    Stale,
}
