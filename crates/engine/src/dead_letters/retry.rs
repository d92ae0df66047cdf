//! Reopening dead letters, one or many, in one transaction with the request's idempotency key.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use model::{ATTEMPTS_MAX, AccountId, Channel, Class, Ids, MessageId, Status, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{
    Tx, accounts,
    attempts::Observation,
    deliveries::Delivery,
    fallbacks::{self, FormerRoute},
    messages::{self, Filter, Message},
};
use utoipa::ToSchema;

use crate::{
    Engine, Error,
    accept::plan::default_account,
    access::{Permission, permissions::CHANNELS},
    apply::fallback,
    cancel,
    directory::{Tenant, TenantState},
    keys::Caller,
    money::{
        charge,
        purse::{self, Purses, Way},
    },
    once::{Repeat, Reply, Secrecy, once},
    plans::quota::{self, Rooms},
    queries::found,
    routing::{
        self,
        again::{self, Because},
        decide::Routed,
        figures::CircuitState,
    },
    view,
    writes::Writes,
};

/// Messages reopened by one request: one transaction of bounded length.
pub const RETRY_MAX: usize = 1_000;

/// Which dead letters to retry (`POST /v1/dead-letters/retry`): exactly one of `ids`, a filter, and `all`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// These messages, at most 1,000.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub ids: Option<Vec<MessageId>>,
    /// Those of this account.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// Those accepted at or after this instant.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// All of them.
    #[serde(default)]
    pub all: bool,
}

/// What became of each.
#[derive(Debug, Serialize, ToSchema)]
pub struct RetryAnswer {
    /// One line per message, in the order they were named, or newest first.
    #[schema(value_type = Vec<Object>)]
    pub data: Vec<Retried>,
    /// True when more dead letters match than one request reopens: repeat it.
    pub has_more: bool,
}

/// One message of a bulk retry.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Retried {
    /// It waits to be sent again.
    Queued {
        /// Which.
        id: MessageId,
        /// `queued`.
        status: Status,
    },
    /// It stays as it is.
    Refused {
        /// Which.
        id: MessageId,
        /// Why.
        error: Refusal,
    },
}

/// Why a message of a bulk retry stays as it is.
#[derive(Debug, Serialize)]
pub struct Refusal {
    status: u16,
    code: &'static str,
    detail: String,
}

/// What a request chose.
enum Chosen {
    Ids(Vec<MessageId>),
    Matching(Filter),
}

impl RetryRequest {
    fn chosen(self) -> Result<Chosen, Error> {
        let is_filtered = self.account_id.is_some() || self.since.is_some();
        let ways = [self.ids.is_some(), is_filtered, self.all];
        if ways.iter().filter(|way| **way).count() != 1 {
            return Err(Error::invalid(
                "",
                "name the messages by exactly one of `ids`, `account_id` and/or `since`, or `all`",
            ));
        }
        let Some(mut ids) = self.ids else {
            let filter = Filter { account_id: self.account_id, since: self.since, is_dead: true, ..Filter::default() };
            return Ok(Chosen::Matching(filter));
        };
        if ids.is_empty() || ids.len() > RETRY_MAX {
            return Err(Error::invalid("/ids", format!("1 to {RETRY_MAX} ids of messages")));
        }
        let mut seen = std::collections::HashSet::new();
        ids.retain(|id| seen.insert(*id));
        Ok(Chosen::Ids(ids))
    }
}

/// Lanes that have new work after the commit.
type Lanes = Vec<(TenantId, AccountId, Class, Timestamp)>;

impl Engine {
    /// Sends one of the tenant's dead letters again (`POST /v1/messages/{id}/retry`). Answers 202 with the message. Needs the scope `messages:write`.
    ///
    /// 409 `message_not_retryable` when it is no dead letter, ran out of time or attempts, or has no account left to leave through.
    #[crate::boxed]
    pub async fn retry(&self, caller: &Caller, repeat: &Repeat, id: MessageId) -> Result<Reply, Error> {
        let (tenant_id, reopening) = self.reopening(caller).await?;
        let lanes = Arc::new(Mutex::new(Lanes::new()));
        let left = Arc::clone(&lanes);
        let reply = once(self.parts(), caller, repeat, 202, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let mut reopening = reopening;
                let m = found(messages::lock_many(tx, &[(tenant_id, id)]).await?.pop())?;
                reopening.open_purse(tx, &[&m]).await?;
                let after = reopening.reopen(tx, m).await?;
                let json: Box<RawValue> = cancel::shown(&view::message_json(&after, reopening.now))?;
                *left.lock().unwrap_or_else(PoisonError::into_inner) = reopening.write(tx).await?;
                Ok(json)
            })
        });
        let reply = reply.await?;
        self.set_going(tenant_id, &lanes);
        Ok(reply)
    }

    /// Sends many of the tenant's dead letters again (`POST /v1/dead-letters/retry`), up to [`RETRY_MAX`]. Answers 202 with a [`RetryAnswer`]. Needs the scope
    /// `messages:write`.
    #[crate::boxed]
    pub async fn retry_many(&self, caller: &Caller, repeat: &Repeat, request: RetryRequest) -> Result<Reply, Error> {
        let (tenant_id, reopening) = self.reopening(caller).await?;
        let chosen = request.chosen()?;
        let lanes = Arc::new(Mutex::new(Lanes::new()));
        let left = Arc::clone(&lanes);
        let reply = once(self.parts(), caller, repeat, 202, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                let mut reopening = reopening;
                let (ids, has_more) = pick(tx, tenant_id, chosen, reopening.now).await?;
                let keys: Vec<_> = ids.iter().map(|id| (tenant_id, *id)).collect();
                let mut rows: HashMap<MessageId, Message> =
                    messages::lock_many(tx, &keys).await?.into_iter().map(|m| (m.id, m)).collect();
                reopening.open_purse(tx, &rows.values().collect::<Vec<_>>()).await?;
                let mut data = Vec::with_capacity(ids.len());
                for id in ids {
                    data.push(match found(rows.remove(&id)) {
                        Ok(m) => line(id, reopening.reopen(tx, m).await)?,
                        Err(error) => line(id, Err(error))?,
                    });
                }
                *left.lock().unwrap_or_else(PoisonError::into_inner) = reopening.write(tx).await?;
                Ok(RetryAnswer { data, has_more })
            })
        });
        let reply = reply.await?;
        self.set_going(tenant_id, &lanes);
        Ok(reply)
    }

    async fn reopening(&self, caller: &Caller) -> Result<(TenantId, Reopening), Error> {
        caller.need("messages:write")?;
        let tenant_id = caller.need_tenant()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        if tenant.state == TenantState::Suspended {
            let detail = "This tenant is suspended and cannot send. Ask the operator to lift the suspension.";
            return Err(Error::forbidden("tenant_suspended", detail).with_action("CONTACT_OPERATOR"));
        }
        // What rules are asked with should a message need another account.
        self.figures(&tenant).await?;
        let reopening = Reopening {
            tenant,
            caller: caller.clone(),
            ids: Arc::clone(&self.ports.ids),
            now: self.ports.clock.now(),
            shard: self.shard(),
            is_there: HashMap::new(),
            writes: Writes::default(),
            rooms: Rooms::default(),
            has_locked: false,
            purses: Purses::default(),
        };
        Ok((tenant_id, reopening))
    }

    fn set_going(&self, tenant: TenantId, lanes: &Mutex<Lanes>) {
        let lanes = std::mem::take(&mut *lanes.lock().unwrap_or_else(PoisonError::into_inner));
        if lanes.is_empty() {
            return;
        }
        for (tenant, account, class, due_at) in lanes {
            self.dispatcher.nudge(tenant, account, class, due_at);
        }
        self.wakers.wake(tenant);
    }
}

/// The messages a request means, and whether there are more.
async fn pick(tx: &mut Tx, tenant: TenantId, chosen: Chosen, now: Timestamp) -> Result<(Vec<MessageId>, bool), Error> {
    match chosen {
        Chosen::Ids(ids) => Ok((ids, false)),
        Chosen::Matching(filter) => {
            let newest = Some(MessageId::from_ulid(u128::MAX));
            let rows = messages::list(tx, tenant, &filter, newest, now, RETRY_MAX as i64 + 1).await?;
            let has_more = rows.len() > RETRY_MAX;
            Ok((rows.into_iter().take(RETRY_MAX).map(|m| m.id).collect(), has_more))
        }
    }
}

/// A line of the answer. What is our fault fails the whole request instead.
fn line(id: MessageId, outcome: Result<Message, Error>) -> Result<Retried, Error> {
    match outcome {
        Ok(after) => Ok(Retried::Queued { id, status: after.status }),
        Err(error) if error.kind.status() >= 500 => Err(error),
        Err(error) => {
            let refusal = Refusal { status: error.kind.status(), code: error.code, detail: error.detail };
            Ok(Retried::Refused { id, error: refusal })
        }
    }
}

/// Reopens messages of one tenant in one transaction.
struct Reopening {
    tenant: Arc<Tenant>,
    caller: Caller,
    ids: Arc<Ids>,
    now: Timestamp,
    shard: i64,
    /// Whether an account is still there, as this transaction sees it.
    is_there: HashMap<AccountId, bool>,
    writes: Writes,
    /// What is left of the tenant's plan, once it was asked for.
    rooms: Rooms,
    has_locked: bool,
    /// What is left of the tenant's credit, where that can run out.
    purses: Purses,
}

impl Reopening {
    /// Queues a dead letter again. The row is locked by this transaction.
    async fn reopen(&mut self, tx: &mut Tx, before: Message) -> Result<Message, Error> {
        refuse(&before, self.now)?;
        self.caller.need_permission(Permission::Send(before.channel))?;
        let mut m = before.clone();
        let moved_from = self.route(tx, &mut m).await?;
        let left = if moved_from.is_some() { leave(tx, &before, &mut m, self.now).await? } else { None };
        // Its price was given back when it failed, unless it was sent after all, or somebody may still say so.
        let is_given_back = charge::is_given_back(&before);
        let needed = if moved_from.is_some() || is_given_back { self.need(&m)? } else { None };
        self.make_room(tx, &m, quota::counts(&before) && left.is_none()).await?;
        self.purses.take(needed);
        if moved_from.is_some() || is_given_back {
            self.writes.charge(charge::moved(&self.tenant, &mut m, left.as_ref(), None, self.now));
        }
        self.writes.former_routes.extend(left);
        let account_id = m.account_id.ok_or_else(|| Error::internal("a routed message has an account"))?;
        (m.status, m.dead_at, m.ended_at, m.poll_at, m.polls) = (Status::Queued, None, None, None, 0);
        // What the provider still says of the attempt before must not be taken for the next one's.
        m.provider_message_id = None;
        m.due_at = Some(self.now);
        self.writes.deliveries.push(Delivery {
            account_id,
            class: m.class,
            due_at: self.now,
            message_id: m.id,
            tenant_id: m.tenant_id,
            attempts: m.attempts,
            tries: 0,
            expires_at: m.expires_at,
        });
        let detail = serde_json::json!({ "from": before.status, "account_id": account_id, "moved_from": moved_from });
        self.writes.observations.push(Observation {
            tenant_id: m.tenant_id,
            message_id: m.id,
            dedupe: format!("retried:{}", self.now.as_micros()),
            source: self.caller.actor(),
            kind: "retried".to_owned(),
            detail: Some(detail.to_string()),
            at: self.now,
            recorded_at: self.now,
        });
        self.writes.event(&self.tenant, "message.retried", view::message_json(&m, self.now), self.now, &self.ids);
        self.writes.change(&before, m.clone());
        Ok(m)
    }

    /// Looks what credit there is for these messages. The ledger is locked before the counters of the plan, as accept does.
    async fn open_purse(&mut self, tx: &mut Tx, messages: &[&Message]) -> Result<(), Error> {
        if purse::pays_ahead(&self.tenant) {
            self.purses = Purses::lock(tx, [self.tenant.id].into(), messages, self.now).await?;
        }
        Ok(())
    }

    /// What the message needs of the tenant's credit to be tried again; refused where that does not reach.
    fn need(&self, m: &Message) -> Result<Option<purse::Needed>, Error> {
        let way = Way::through(m, m.connector.as_deref().unwrap_or_default());
        self.purses.need(&self.tenant, &way, "Buy credit, then retry. The message stays a dead letter.")
    }

    /// Takes what the message uses of the tenant's plan again, unless it still counts or never does; refused where nothing is left of it.
    async fn make_room(&mut self, tx: &mut Tx, m: &Message, still_counts: bool) -> Result<(), Error> {
        if still_counts || quota::is_ours(m) {
            return Ok(());
        }
        let tenant = Arc::clone(&self.tenant);
        if !self.has_locked {
            // All that this request may lock, at once: in accept's order, however many messages it reopens.
            let channels = CHANNELS.iter().map(|channel| (tenant.id, *channel, m.created_at));
            let since = Timestamp::from_micros(0);
            self.rooms = Rooms::lock(tx, &[(tenant.id, (&*tenant, since))].into(), &channels.collect()).await?;
            self.has_locked = true;
        }
        self.rooms.take(&tenant, m.channel, m.created_at).map_err(|refusal| {
            let is_over = refusal.quota.as_ref().is_some_and(|quota| quota.resets_at <= self.now);
            if is_over {
                not_retryable("The plan of the month this message was accepted in is used up, and that month is over. Send a new message instead.")
            } else {
                refusal
            }
        })
    }

    /// Keeps the message's account, or gives it another when that is gone: by the rules that decided about it, which are also asked while its account fails, else the channel's default
    /// one. Answers the account it left.
    async fn route(&mut self, tx: &mut Tx, m: &mut Message) -> Result<Option<AccountId>, Error> {
        let is_there = match m.account_id {
            Some(account) => self.is_there(tx, account).await?,
            None => false,
        };
        let left = m.account_id.filter(|_| again::was_ruled(m));
        if let Some(left) = left
            && self.by_rule(tx, m, left, is_there).await?
        {
            return Ok(Some(left));
        }
        if is_there {
            return Ok(None);
        }
        let tenant = Arc::clone(&self.tenant);
        let gone = m.account_id;
        let other = default_account(&tenant, m.channel).filter(|other| Some(other.id) != gone);
        let other = match other {
            Some(other) if self.is_there(tx, other.id).await? => other,
            _ => {
                let detail = format!(
                    "The account this message went through is gone, and there is no other for {}. Add one, then retry.",
                    m.channel
                );
                return Err(not_retryable(detail).with_action("ADD_ACCOUNT"));
            }
        };
        let route = format!(
            "retried: the account it went through is gone, so the channel's default account {} is used",
            other.name
        );
        let route = fallback::with_rest_of(m.route.as_deref().unwrap_or_default(), route);
        (m.account_id, m.connector, m.route) =
            (Some(other.id), Some(other.connector.spec().id.to_owned()), Some(route));
        Ok(gone)
    }

    /// Asks the rules for another account than `left`. True when the message goes there.
    async fn by_rule(&mut self, tx: &mut Tx, m: &mut Message, left: AccountId, is_there: bool) -> Result<bool, Error> {
        let tenant = Arc::clone(&self.tenant);
        let figures = tenant.routes.known();
        let fails = figures.circuit(left, self.now).state() == CircuitState::Open;
        if is_there && !fails {
            return Ok(false);
        }
        let history = again::histories(tx, &[m]).await?.remove(&m.id).unwrap_or_default();
        let because = if is_there { Because::Waits } else { Because::Gone };
        let (decision, why) = match again::elsewhere(&tenant, m, left, &history, because, &figures, self.now) {
            Routed::To(decision) if !decision.waits => (decision, if is_there { "fails" } else { "was deleted" }),
            Routed::To(decision) if !is_there => (decision, "was deleted"),
            Routed::Nowhere(passed) if !is_there => {
                let detail = routing::nowhere(&passed).detail;
                return Err(not_retryable(detail).with_action("CHANGE_ROUTE"));
            }
            Routed::To(_) | Routed::Nowhere(_) | Routed::Unruled => return Ok(false),
        };
        let Some(account) = tenant.account(decision.account_id) else { return Ok(false) };
        if !self.is_there(tx, account.id).await? {
            return Ok(false);
        }
        let name = tenant.account(left).map_or_else(|| left.to_string(), |account| account.name.clone());
        again::put_on(m, account, &decision, &format!("retried, and {name} {why}"));
        Ok(true)
    }

    async fn is_there(&mut self, tx: &mut Tx, account: AccountId) -> Result<bool, Error> {
        if let Some(known) = self.is_there.get(&account) {
            return Ok(*known);
        }
        let is_there = accounts::find(tx, self.tenant.id, account).await?.is_some();
        self.is_there.insert(account, is_there);
        Ok(is_there)
    }

    /// Writes what was reopened, and answers where there is new work.
    async fn write(mut self, tx: &mut Tx) -> Result<Lanes, Error> {
        self.writes.write(tx, self.shard).await?;
        let notices = self.rooms.notices(tx, |_| Some(&*self.tenant), self.now).await?;
        if !notices.is_empty() {
            let mut told = Writes::default();
            for (_, kind, data) in notices {
                told.event(&self.tenant, kind, data.to_string(), self.now, &self.ids);
            }
            told.write(tx, self.shard).await?;
            self.writes.deliveries.extend(told.deliveries);
        }
        Ok(self.writes.deliveries.iter().map(|d| (d.tenant_id, d.account_id, d.class, d.due_at)).collect())
    }
}

/// What was sent after all through the account the message leaves stays sent there, and paid: a way of its own.
async fn leave(
    tx: &mut Tx,
    before: &Message,
    m: &mut Message,
    now: Timestamp,
) -> Result<Option<FormerRoute>, store::Error> {
    if before.sent_at.is_none() {
        return Ok(None);
    }
    let position = fallbacks::former(tx, &[(m.tenant_id, m.id)]).await?.len() as u32;
    let mut leaving = before.clone();
    let left = fallback::leave(&mut leaving, position, now);
    (m.sent_at, m.bytes, m.cost_before) = (leaving.sent_at, leaving.bytes, leaving.cost_before);
    m.route = m.route.take().map(fallback::with_ways);
    Ok(left)
}

fn not_retryable(detail: impl Into<String>) -> Error {
    Error::conflict("message_not_retryable", detail)
}

fn refuse(m: &Message, now: Timestamp) -> Result<(), Error> {
    if m.channel == Channel::Webhook {
        return Err(Error::not_found("message"));
    }
    if m.dead_at.is_none() {
        return Err(not_retryable(format!(
            "This message is {}; only dead letters, which failed after every try, can be retried. Send a new message instead.",
            m.status
        )));
    }
    if m.expires_at.is_some_and(|at| at <= now) {
        return Err(not_retryable(
            "The time this message had to leave, its `expires_at`, is over. Send a new message instead.",
        ));
    }
    if m.attempts >= ATTEMPTS_MAX {
        return Err(not_retryable(format!(
            "This message was tried {ATTEMPTS_MAX} times, the most there can be. Send a new message instead."
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bulk_retry_is_named_in_one_way() {
        let request = |ids, account, all| RetryRequest { ids, account_id: account, since: None, all };
        let id = MessageId::from_ulid(1);
        let account = Some(AccountId::from_ulid(2));
        let is_ok = |request: RetryRequest| request.chosen().is_ok();
        assert!(is_ok(request(Some(vec![id]), None, false)));
        assert!(is_ok(request(None, account, false)));
        assert!(is_ok(request(None, None, true)));
        assert!(!is_ok(request(None, None, false)));
        assert!(!is_ok(request(Some(vec![id]), None, true)));
        assert!(!is_ok(request(None, account, true)));
        assert!(!is_ok(request(Some(vec![]), None, false)));
        assert!(!is_ok(request(Some(vec![id; RETRY_MAX + 1]), None, false)));
        let Ok(Chosen::Ids(ids)) = request(Some(vec![id, id]), None, false).chosen() else { panic!() };
        assert_eq!(ids, [id]);
    }
}
