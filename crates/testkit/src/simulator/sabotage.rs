//! Cheating behind the engine's back, to see that the laws notice.

use model::{MessageId, Status};
use store::{Scope, messages::Message};

use super::{Result, Simulation, picture::Picture};

/// What is done behind the engine's back, once, as soon as it can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A provider gets a message that it has already taken once more.
    SendTwice,
    /// Due work disappears.
    LoseDelivery,
    /// A message in flight becomes due as well.
    QueueTwice,
    /// An accepted message disappears.
    LoseMessage,
    /// A sent message is queued again.
    StepBack,
    /// A counter is raised.
    Miscount,
    /// The record of an attempt disappears.
    ForgetAttempt,
    /// A message is called sent that no provider took.
    Invent,
    /// A message is called canceled that a provider took.
    Withdraw,
    /// An attempt is given to another tenant.
    Mix,
    /// A message is charged twice.
    ChargeTwice,
    /// A message's price is neither charged nor given back.
    ForgetCharge,
    /// Credit is spent that is not there.
    Overspend,
    /// A plan's counter loses what was used.
    ForgetUse,
    /// More is accepted than a plan allows.
    Overuse,
}

impl Sabotage {
    /// A message it can be done to.
    fn victim(self, picture: &Picture, copies: impl Fn(MessageId) -> usize) -> Option<&Message> {
        let is_final = |m: &Message| m.status.is_final();
        let is_at_rest = |m: &Message| is_final(m) && !picture.flying.contains_key(&m.id);
        let has_unknown =
            |m: &Message| picture.attempts_of(m.id).iter().any(|a| a.outcome == model::FailureKind::Unknown.code());
        picture.messages.values().find(|m| match self {
            Self::SendTwice => copies(m.id) == 1 && is_at_rest(m) && !has_unknown(m),
            Self::LoseDelivery => picture.due.contains_key(&m.id),
            Self::QueueTwice => picture.flying.contains_key(&m.id) && !is_final(m),
            Self::LoseMessage => is_at_rest(m),
            Self::StepBack => matches!(m.status, Status::Delivered | Status::Read),
            Self::Miscount => true,
            Self::ForgetAttempt => copies(m.id) == 1 && is_at_rest(m),
            Self::Invent => matches!(m.status, Status::Canceled | Status::Expired),
            Self::Withdraw => copies(m.id) > 0 && m.status == Status::Queued && m.poll_at.is_some(),
            Self::Mix => !picture.attempts_of(m.id).is_empty(),
            Self::ChargeTwice => m.sent_at.is_some() && m.cost_micros.is_some_and(|cost| cost > 0),
            Self::ForgetCharge => is_final(m) && m.cost_micros.is_some_and(|cost| cost > 0),
            Self::Overspend => m.cost_micros.is_some_and(|cost| cost > 0),
            Self::ForgetUse | Self::Overuse => engine::plans::quota::counts(m) && m.channel == model::Channel::Sms,
        })
    }

    /// The statements that do it to message `$1`.
    const fn sql(self) -> &'static str {
        match self {
            Self::SendTwice => "",
            Self::LoseDelivery => "DELETE FROM deliveries WHERE message_id = $1",
            Self::QueueTwice => {
                "INSERT INTO deliveries (account_id, class, due_at, message_id, tenant_id, attempts, tries, expires_at)
                 SELECT account_id, class, started_at, message_id, tenant_id, number, tries, expires_at FROM inflight WHERE message_id = $1"
            }
            Self::LoseMessage => "DELETE FROM messages WHERE id = $1",
            Self::StepBack => "UPDATE messages SET status = 7 WHERE id = $1",
            Self::Miscount => {
                "UPDATE usage_counters SET accepted = accepted + 1 WHERE tenant_id = (SELECT tenant_id FROM messages WHERE id = $1)"
            }
            Self::ForgetAttempt => "DELETE FROM attempts WHERE message_id = $1",
            Self::Invent => "UPDATE messages SET status = 7 WHERE id = $1",
            Self::Withdraw => "UPDATE messages SET status = 3 WHERE id = $1",
            Self::Mix => "UPDATE attempts SET tenant_id = message_id WHERE message_id = $1",
            Self::ChargeTwice => {
                "UPDATE credit_ledgers SET available = available - 10, revenue = revenue + 10 WHERE tenant_id = (SELECT tenant_id FROM messages WHERE id = $1)"
            }
            Self::ForgetCharge => "DELETE FROM message_charges WHERE message_id = $1",
            Self::Overspend => {
                "UPDATE credit_ledgers SET available = -1, adjusted = adjusted - available - 1 WHERE tenant_id = (SELECT tenant_id FROM messages WHERE id = $1)"
            }
            Self::ForgetUse => {
                "UPDATE quota_counters SET used = 0 WHERE channel = 2 AND tenant_id = (SELECT tenant_id FROM messages WHERE id = $1)"
            }
            Self::Overuse => {
                "UPDATE quota_counters SET used = 1000 WHERE channel = 2 AND tenant_id = (SELECT tenant_id FROM messages WHERE id = $1)"
            }
        }
    }
}

impl Simulation {
    /// Does it, once there is something to do it to.
    pub(super) fn cheat(&mut self, sabotage: Sabotage) -> Result {
        if self.has_cheated {
            return Ok(());
        }
        let picture = self.look()?;
        let mut state = self.outside.provider.state();
        let of = |id: MessageId| state.copies.iter().filter(move |copy| copy.item.message == id);
        let Some(id) = sabotage.victim(&picture, |id| of(id).count()).map(|m| m.id) else { return Ok(()) };
        self.has_cheated = true;
        let copy = of(id).next().cloned();
        let sql = sabotage.sql();
        if sql.is_empty() {
            state.copies.extend(copy);
            return Ok(());
        }
        drop(state);
        let done = self.db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&id]).await }));
        self.runtime.block_on(done).map(drop).map_err(|error| super::broken(super::laws::WORKS, error))
    }
}
