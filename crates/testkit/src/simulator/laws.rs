//! What must hold after every step, checked against the database, the providers' ledger and what the clients were told. Pure.

use std::{collections::BTreeMap, fmt};

use model::{Blocks, FailureKind, Guarantee, MessageId, Purpose, Status, Timestamp};
use store::messages::Message;

use super::{
    client::{Account, Client, Tenant},
    picture::{Attempt, Picture},
    provider::{Copy, State},
};

/// A law that was broken, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The law.
    pub law: &'static str,
    /// What broke it.
    pub by: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken law: {}: {}", self.law, self.by)
    }
}

/// Nothing accepted is lost.
pub const LOST: &str = "a message is final, or in exactly one of: due, in flight, waiting to be asked about";
/// One request, one message.
pub const ONCE: &str = "what was answered 202 is there, and there once";
/// No provider is asked twice without need.
pub const TWICE: &str = "a provider takes a message a second time only after an attempt on record as unknown";
/// `at_most_once` means it.
pub const AT_MOST_ONCE: &str = "a message that is to be sent at most once is taken once";
/// An unknown attempt that is followed by another is marked.
pub const MARKED: &str = "a retry after an unknown attempt is marked as a possible duplicate";
/// The order of statuses.
pub const BACK: &str = "the status never goes back, unless a person reopens a dead letter";
/// What is withdrawn has not left.
pub const WITHDRAWN: &str = "what was canceled or expired was never taken by a provider";
/// Times are kept.
pub const TIME: &str = "nothing leaves before its time or after its end";
/// Counters.
pub const USAGE: &str = "usage equals a recount of the messages";
/// The timeline.
pub const TIMELINE: &str = "the timeline tells what the provider saw";
/// Claims about the provider are true.
pub const INVENTED: &str =
    "what is called sent was taken by a provider, and what is called unknown has an unknown attempt";
/// Reports count.
pub const REPORTED: &str = "what a provider reported and we confirmed is believed";
/// Tenants.
pub const APART: &str = "tenants are apart";
/// Rates.
pub const RATE: &str = "an account's rate is held in every second";
/// Suppressions hold.
pub const SUPPRESSED: &str = "nothing goes to a suppressed address after its suppression";
/// Words.
pub const WORDS: &str = "providers are asked in their own words";
/// Liveness.
pub const SETTLES: &str = "once everything is well, every message comes to its end";
/// Ledgers, charges, plans' counters and sums are what the messages come to.
pub const BOOKS: &str = "the books add up and equal a recount";
/// Nobody spends what is not there.
pub const CREDIT: &str = "prepaid credit never goes below zero";
/// Plans hold.
pub const QUOTA: &str = "no more is accepted than a plan allows";
/// Another account, and when.
pub const FAILOVER: &str = "another account follows only throttled, unavailable and account, never what the recipient or the content is refused for";
/// No guessing.
pub const AFTER_UNKNOWN: &str = "no other account is asked once nobody can say whether one took the message";
/// One way.
pub const ONE_WAY: &str = "two accounts take one message only after an attempt on record as unknown";
/// Rules are obeyed.
pub const DECIDED: &str = "a message leaves through the account that was decided for";
/// The first that can.
pub const PRIORITY: &str = "a rule by priority takes its first account that can be used";
/// Shares.
pub const WEIGHT: &str = "a rule by weight shares messages out by its weights";
/// The engine does not fail.
pub const WORKS: &str = "the engine answers";

/// Everything the laws look at.
pub(super) struct Case<'a> {
    pub picture: &'a Picture,
    pub provider: &'a State,
    pub client: &'a Client,
    pub tenants: &'a [Tenant],
    pub accounts: &'a [Account],
    /// False once the clock was set back: seconds then lie over each other.
    pub is_time_straight: bool,
}

type Verdict = Result<(), Broken>;

fn need(law: &'static str, holds: bool, by: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken { law, by: by() }) }
}

impl Case<'_> {
    /// Checks them all.
    pub fn check(&self) -> Verdict {
        let by_message = |id: MessageId| move |copy: &&Copy| copy.item.message == id;
        for (id, m) in &self.picture.messages {
            let copies: Vec<&Copy> = self.provider.copies.iter().filter(by_message(*id)).collect();
            self.conserved(m)?;
            self.not_back(m)?;
            self.copies(m, &copies)?;
            self.marked(m)?;
            self.on_time(m)?;
            self.owned(m)?;
            self.suppressed(m)?;
        }
        let unknown = self.picture.due.keys().chain(self.picture.flying.keys());
        for id in unknown {
            let is_there = self.picture.messages.contains_key(id);
            need(LOST, is_there, || format!("{id} is due or in flight and does not exist"))?;
        }
        self.once()?;
        self.usage()?;
        self.timeline()?;
        self.rates()?;
        need(WORDS, self.provider.odd.is_empty(), || self.provider.odd.join(", "))
    }

    fn name(&self, m: &Message) -> String {
        self.picture.name(m.id)
    }

    /// Everything on record about a message.
    pub fn story(&self, id: MessageId) -> String {
        let Some(m) = self.picture.messages.get(&id) else { return format!("{id} does not exist") };
        let (due, flying) = (self.picture.due.get(&id), self.picture.flying.get(&id));
        let (attempts, observed) = (self.picture.attempts_of(id), self.picture.observed(id));
        let name = self.name(m);
        format!("{name}\n{m:#?}\ndue {due:#?}\nin flight {flying:#?}\nattempts {attempts:#?}\nlearned {observed:#?}")
    }

    fn conserved(&self, m: &Message) -> Verdict {
        let due = self.picture.due.get(&m.id).map_or(0, Vec::len);
        let places = [due > 0, self.picture.flying.contains_key(&m.id), m.poll_at.is_some()];
        let [is_due, is_flying, is_asked] = places;
        let said = || format!("{}: due {due}, in flight {is_flying}, asked about {is_asked}", self.name(m));
        if m.status.is_final() {
            return need(LOST, !is_due, said);
        }
        need(LOST, due <= 1 && places.iter().filter(|place| **place).count() == 1, said)?;
        let Some(row) = self.picture.due.get(&m.id).and_then(|rows| rows.first()) else { return Ok(()) };
        let is_as_told = (Some(row.account), row.class, Some(row.at)) == (m.account_id, m.class, m.due_at);
        need(LOST, is_as_told, || format!("{} is due at {:?} and its row says {row:?}", self.name(m), m.due_at))
    }

    fn not_back(&self, m: &Message) -> Verdict {
        let before = self.client.seen.get(&m.id).copied().unwrap_or(m.status);
        need(BACK, m.status >= before || self.client.reopened.contains(&m.id), || {
            format!("{} was {before} before", self.name(m))
        })?;
        let told = self.client.told.get(&m.id).copied().unwrap_or(m.status);
        need(REPORTED, m.status >= told, || format!("{} was reported as {told}", self.name(m)))
    }

    fn copies(&self, m: &Message, copies: &[&Copy]) -> Verdict {
        let attempts = self.picture.attempts_of(m.id);
        let unknown = attempts.iter().filter(|attempt| is_unknown(attempt)).count();
        let retries = self.retries(m);
        let said = || format!("{}: taken {} times, {unknown} unknown attempts", self.name(m), copies.len());
        let mut ways: Vec<&str> = copies.iter().map(|copy| copy.account.as_str()).collect();
        ways.sort_unstable();
        ways.dedup();
        need(ONE_WAY, ways.len() <= 1 || unknown > 0 || retries > 0, || {
            format!("{}: taken by {ways:?}", self.name(m))
        })?;
        need(TWICE, copies.len() <= 1 + unknown, said)?;
        if m.guarantee == Guarantee::AtMostOnce {
            need(AT_MOST_ONCE, copies.len() <= 1 + retries, said)?;
        }
        for copy in copies.iter().filter(|copy| copy.item.attempt.is_some()) {
            let (mine, later): (Vec<&Attempt>, Vec<&Attempt>) = attempts
                .iter()
                .filter(|attempt| Some(attempt.number) >= copy.item.attempt)
                .partition(|attempt| Some(attempt.number) == copy.item.attempt);
            let is_clear = later.is_empty() || mine.iter().all(|attempt| is_unknown(attempt));
            need(TWICE, is_clear || retries > 0, || {
                format!("{}: attempt {:?} was taken and another followed", self.name(m), copy.item.attempt)
            })?;
        }
        let is_withdrawn = matches!(m.status, Status::Canceled | Status::Expired);
        need(WITHDRAWN, !is_withdrawn || copies.is_empty(), said)?;
        let is_acted = attempts.iter().any(|attempt| self.is_sandbox(attempt));
        need(INVENTED, is_acted || !m.status.was_accepted() || !copies.is_empty(), said)?;
        need(INVENTED, m.status != Status::Unknown || unknown > 0, said)
    }

    fn is_sandbox(&self, attempt: &Attempt) -> bool {
        self.accounts.iter().any(|account| account.id == attempt.account && account.connector == "sandbox")
    }

    fn retries(&self, m: &Message) -> usize {
        self.picture.observed(m.id).iter().filter(|seen| seen.kind == "retried").count()
    }

    /// An attempt that follows an unknown one is marked, unless the receiver knows repeats or a person wanted it.
    fn marked(&self, m: &Message) -> Verdict {
        let attempts = self.picture.attempts_of(m.id);
        let observed = self.picture.observed(m.id);
        let followed = attempts.iter().zip(attempts.iter().skip(1)).filter(|(one, _)| is_unknown(one));
        for (one, next) in followed {
            let mark = format!("possible_duplicate:{}", one.number);
            let is_marked = observed.iter().any(|seen| seen.dedupe == mark) || self.retries(m) > 0;
            need(MARKED, is_marked, || {
                format!("{}: attempt {} followed unknown attempt {}", self.name(m), next.number, one.number)
            })?;
        }
        Ok(())
    }

    fn on_time(&self, m: &Message) -> Verdict {
        let starts = self.picture.attempts_of(m.id).iter().map(|attempt| attempt.started_at);
        let starts = starts.chain(self.picture.flying.get(&m.id).map(|flying| flying.started_at));
        for (index, at) in starts.enumerate() {
            // A later attempt may be dated earlier when the clock was set back in between.
            let is_early = index == 0 && m.send_at.is_some_and(|send_at| at < send_at);
            let is_late = m.expires_at.is_some_and(|expires_at| at >= expires_at);
            need(TIME, !is_early && !is_late, || format!("{} left at {at}", self.name(m)))?;
        }
        Ok(())
    }

    fn owned(&self, m: &Message) -> Verdict {
        let account = self.accounts.iter().find(|account| Some(account.id) == m.account_id);
        let wish = Picture::tag(m).and_then(|tag| self.client.wishes.get(tag as usize));
        let is_own = |index: usize| self.tenants[index].id == m.tenant_id;
        let is_tenant =
            wish.is_none_or(|wish| is_own(wish.tenant)) && account.is_none_or(|account| is_own(account.tenant));
        let due = self.picture.due.get(&m.id).into_iter().flatten().map(|row| row.tenant);
        let flying = self.picture.flying.get(&m.id).map(|row| row.tenant);
        let attempts = self.picture.attempts_of(m.id).iter().map(|row| row.tenant);
        let observed = self.picture.observed(m.id).iter().map(|row| row.tenant);
        let mut all = due.chain(flying).chain(attempts).chain(observed);
        need(APART, is_tenant && all.all(|tenant| tenant == m.tenant_id), || self.name(m))
    }

    /// Every wish that was answered has its message, and none has two.
    fn once(&self) -> Verdict {
        let mut by_tag: BTreeMap<u32, Vec<&Message>> = BTreeMap::new();
        for m in self.picture.messages.values() {
            let tag = Picture::tag(m).ok_or_else(|| Broken { law: ONCE, by: format!("nobody wished for {}", m.id) })?;
            by_tag.entry(tag).or_default().push(m);
        }
        for (tag, wish) in self.client.wishes.iter().enumerate() {
            let found = by_tag.get(&(tag as u32)).map_or(&[][..], Vec::as_slice);
            need(ONCE, found.len() <= 1, || format!("m{tag} is there {} times", found.len()))?;
            let Some(id) = wish.id else {
                need(ONCE, !wish.is_refused || found.is_empty(), || format!("m{tag} was refused and is there"))?;
                continue;
            };
            need(ONCE, found.first().is_some_and(|m| m.id == id), || format!("m{tag} was answered as {id}"))?;
            need(ONCE, found.iter().all(|m| m.guarantee == wish.guarantee), || {
                format!("m{tag} is promised otherwise")
            })?;
            let reopened = found.iter().map(|m| self.retries(m)).sum::<usize>();
            need(BACK, reopened <= wish.retries, || {
                format!("m{tag} was reopened {reopened} times without being asked to")
            })?;
            let events = self.picture.accepted_events.get(&id).copied().unwrap_or(0);
            need(ONCE, events == 1, || format!("m{tag} was told of {events} times as accepted"))?;
        }
        Ok(())
    }

    /// An attempt that began after its address was suppressed must not exist. One that began before had its look before, too.
    fn suppressed(&self, m: &Message) -> Verdict {
        if !self.is_time_straight {
            return Ok(());
        }
        let key = engine::consent::bar::key(m.channel, &m.address);
        let against = self.picture.suppressions.iter().filter(|s| {
            (s.tenant_id, s.channel, &s.address) == (m.tenant_id, m.channel, &key)
                && (s.blocks == Blocks::Everything || m.purpose == Purpose::Marketing)
        });
        for suppression in against {
            let late = |at: &Timestamp| *at > suppression.created_at;
            let starts = self.picture.attempts_of(m.id).iter().map(|attempt| attempt.started_at);
            let at = starts.into_iter().find(late);
            need(SUPPRESSED, at.is_none(), || {
                format!("{} left at {at:?}, after {} at {}", self.name(m), suppression.reason, suppression.created_at)
            })?;
        }
        Ok(())
    }

    fn usage(&self) -> Verdict {
        let counts = self.picture.recount();
        let keys = counts.keys().chain(self.picture.usage.keys());
        for key in keys {
            let (sum, counter) = (counts.get(key).copied(), self.picture.usage.get(key).copied());
            need(USAGE, sum.unwrap_or_default() == counter.unwrap_or_default(), || {
                format!("{key:?}: {sum:?} by the messages, {counter:?} by the counters")
            })?;
        }
        let slots = self.picture.recount_slots();
        for key in slots.keys().chain(self.picture.slots.keys()) {
            let (sum, counter) = (slots.get(key).copied(), self.picture.slots.get(key).copied());
            need(USAGE, sum.unwrap_or_default() == counter.unwrap_or_default(), || {
                format!("{key:?}: {sum:?} by the messages, {counter:?} by the counters of half hours")
            })?;
        }
        Ok(())
    }

    fn timeline(&self) -> Verdict {
        for seen in &self.provider.seen {
            let Some(m) = self.picture.messages.get(&seen.item.message) else {
                return Err(Broken {
                    law: TIMELINE,
                    by: format!("m{} was asked for and does not exist", seen.item.tag),
                });
            };
            need(TIMELINE, Picture::tag(m) == Some(seen.item.tag), || format!("{} went to another", self.name(m)))?;
            let account = self.accounts.iter().find(|account| account.name_there == seen.account);
            let is_own = account.is_some_and(|account| self.tenants[account.tenant].id == m.tenant_id);
            need(APART, is_own, || format!("{} left through another tenant's account", self.name(m)))?;
            let Some(number) = seen.item.attempt else { continue };
            let is_recorded = self.picture.flying.get(&m.id).is_some_and(|flying| flying.number == number)
                || self.picture.attempts_of(m.id).iter().any(|attempt| attempt.number == number);
            need(TIMELINE, is_recorded, || {
                format!(
                    "{}: attempt {number} reached the provider from process {} without a record",
                    self.name(m),
                    seen.node
                )
            })?;
        }
        for (message, id, _) in &self.provider.answered {
            let is_told = self.picture.attempts_of(*message).iter().any(|a| a.provider_id.as_ref() == Some(id))
                || self.picture.observed(*message).iter().any(|o| o.kind == "late_answer" && o.detail.contains(id));
            need(TIMELINE, is_told, || format!("the answer {id} is on no record: {}", self.story(*message)))?;
        }
        for (id, m) in &self.picture.messages {
            let asked = self.provider.seen.iter().filter(|seen| seen.item.message == *id).count();
            let recorded = self.picture.attempts_of(*id).len() + usize::from(self.picture.flying.contains_key(id));
            need(TIMELINE, asked <= recorded, || {
                format!("{}: {asked} requests reached a provider and {recorded} attempts are on record", self.name(m))
            })?;
        }
        Ok(())
    }

    fn rates(&self) -> Verdict {
        if !self.is_time_straight {
            return Ok(());
        }
        for account in self.accounts {
            let Some(rate) = account.per_second else { continue };
            let ended = self.picture.attempts.values().flatten().filter(|a| a.account == account.id);
            let flying = self.picture.flying.values().filter(|f| f.account == account.id);
            let mut starts: Vec<Timestamp> = ended.map(|a| a.started_at).chain(flying.map(|f| f.started_at)).collect();
            starts.sort_unstable();
            let most = starts
                .iter()
                .enumerate()
                .map(|(index, first)| starts[index..].iter().take_while(|at| at.millis_since(*first) < 1_000).count())
                .max();
            need(RATE, most.unwrap_or(0) <= rate as usize, || {
                format!("{}: {most:?} messages in a second, {rate} allowed", account.name_there)
            })?;
        }
        Ok(())
    }
}

fn is_unknown(attempt: &Attempt) -> bool {
    attempt.outcome == FailureKind::Unknown.code()
}
