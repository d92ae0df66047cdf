//! Cheating behind the engine's back, to see that the laws notice.

use model::{MessageId, Status};
use store::{Scope, messages::Message};

use super::{Result, Simulation, picture::Picture, provider::Copy};

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
    /// A message that was taken is taken through another account as well.
    SendElsewhere,
    /// An attempt another account followed is said to have failed because of the recipient.
    BlameRecipient,
    /// An attempt another account followed is said to have had no answer.
    BlameSilence,
    /// A message leaves through an account nobody decided for.
    GoAstray,
    /// A rule's first account is passed over without a reason.
    PassOver,
    /// A rule's light account gets the heavy one's messages.
    LoadTheLot,
}

impl Sabotage {
    /// A message it can be done to.
    fn victim(self, picture: &Picture, copies: impl Fn(MessageId) -> usize) -> Option<&Message> {
        let is_final = |m: &Message| m.status.is_final();
        let is_at_rest = |m: &Message| is_final(m) && !picture.flying.contains_key(&m.id);
        let has_unknown =
            |m: &Message| picture.attempts_of(m.id).iter().any(|a| a.outcome == model::FailureKind::Unknown.code());
        let is_ruled = |m: &Message| picture.observed(m.id).iter().any(|seen| seen.kind == "routed");
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
            Self::ForgetCharge => is_final(m) && m.charge.is_some() && m.cost_micros.is_some_and(|cost| cost > 0),
            Self::Overspend => m.cost_micros.is_some_and(|cost| cost > 0),
            Self::SendElsewhere => copies(m.id) == 1 && is_at_rest(m) && !has_unknown(m),
            Self::BlameRecipient | Self::BlameSilence => {
                let attempts = picture.attempts_of(m.id);
                let has_moved = attempts.windows(2).any(|pair| pair[0].account != pair[1].account);
                has_moved && !picture.observed(m.id).iter().any(|seen| seen.kind == "retried")
            }
            Self::GoAstray => {
                let is_plain =
                    picture.observed(m.id).iter().all(|seen| !matches!(seen.kind.as_str(), "rerouted" | "retried"));
                is_at_rest(m) && is_ruled(m) && is_plain && picture.attempts_of(m.id).len() == 1
            }
            Self::PassOver => is_ruled(m),
            // Enough messages have to be there for a lot to say something.
            Self::LoadTheLot => {
                let is_weighed = |m: &&Message| {
                    let routed = picture.observed(m.id).iter().find(|seen| seen.kind == "routed");
                    routed.is_some_and(|seen| seen.detail.contains("\"weight "))
                };
                is_ruled(m) && picture.messages.values().filter(is_weighed).count() >= 14
            }
            Self::ForgetUse | Self::Overuse => engine::plans::quota::counts(m) && m.channel == model::Channel::Sms,
        })
    }

    /// The statements that do it to message `$1`.
    const fn sql(self) -> &'static str {
        match self {
            Self::SendTwice | Self::SendElsewhere | Self::PassOver | Self::LoadTheLot => "",
            // The last attempt through the account before.
            Self::BlameRecipient => {
                "UPDATE attempts SET outcome = 1 WHERE message_id = $1 AND account_id <> (SELECT account_id FROM messages WHERE id = $1)"
            }
            Self::BlameSilence => {
                "UPDATE attempts SET outcome = 7 WHERE message_id = $1 AND account_id <> (SELECT account_id FROM messages WHERE id = $1)"
            }
            Self::GoAstray => {
                "UPDATE attempts SET account_id = (SELECT a.id FROM accounts a WHERE a.tenant_id = attempts.tenant_id AND a.id <> attempts.account_id ORDER BY a.id LIMIT 1) WHERE message_id = $1"
            }
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
            Self::ForgetCharge => "UPDATE messages SET charge = NULL WHERE id = $1",
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
        match sabotage {
            Sabotage::SendTwice => {
                state.copies.extend(copy);
                return Ok(());
            }
            Sabotage::SendElsewhere => {
                state.copies.extend(copy.map(|copy| Copy { account: format!("{} too", copy.account), ..copy }));
                return Ok(());
            }
            _ => drop(state),
        }
        if matches!(sabotage, Sabotage::PassOver | Sabotage::LoadTheLot) {
            return self.swap_accounts(sabotage == Sabotage::LoadTheLot);
        }
        let done = self.db.write(Scope::System, move |tx| Box::pin(async move { tx.execute(sql, &[&id]).await }));
        self.runtime.block_on(done).map(drop).map_err(|error| super::broken(super::laws::WORKS, error))
    }

    /// In everything that was decided by rules of one kind, their two accounts change places.
    fn swap_accounts(&self, is_by_weight: bool) -> Result {
        let routes = self.routes.iter().filter(|route| route.is_by_weight == is_by_weight);
        let swaps: Vec<_> = routes
            .map(|route| {
                let [one, other] = [0, 1].map(|index| route.accounts[index].to_string());
                (self.tenants[route.tenant].id, route.channel, one, other)
            })
            .collect();
        let done = self.db.write(Scope::System, move |tx| {
            Box::pin(async move {
                for (tenant, channel, one, other) in swaps {
                    let sql = "UPDATE observations SET detail = REPLACE(REPLACE(REPLACE(detail, $1, '?'), $2, $1), '?', $2)
                        WHERE kind = 'routed' AND message_id IN (SELECT id FROM messages WHERE tenant_id = $3 AND channel = $4)";
                    tx.execute(sql, &[&one, &other, &tenant, &channel]).await?;
                }
                Ok::<_, store::Error>(())
            })
        });
        self.runtime.block_on(done).map_err(|error| super::broken(super::laws::WORKS, error))
    }
}
