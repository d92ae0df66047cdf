//! One step of a run: what may happen, how likely it is, and what it does.

use engine::{Error, callbacks, once::IdempotencyKey, recovery, waiting};
use futures_util::future::join_all;
use model::{Clock as _, Ids};
use serde_json::json;

use super::{
    Result, Simulation, broken,
    client::{self, Posted},
    laws::{ONCE, REPORTED, WORKS},
    node::Node,
    provider::{Verdict, Word},
    words::{Kind, Why},
};

/// What may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Send,
    SendTogether,
    Batch,
    Repeat,
    Claim,
    Depart,
    ProviderActs,
    Answer,
    AnswerMany,
    Report,
    Forge,
    Job,
    Pass,
    Leap,
    SetBack,
    Cancel,
    Retry,
    RetryAll,
    Trespass,
    Switch,
    Delete,
    Open,
    Crash,
    CrashWithin,
    Sleep,
    Join,
}

/// How likely each is, when the seed has no opinion.
const USUAL: [(Act, u64); 26] = [
    (Act::Send, 14),
    (Act::SendTogether, 3),
    (Act::Batch, 4),
    (Act::Repeat, 5),
    (Act::Claim, 14),
    (Act::Depart, 22),
    (Act::ProviderActs, 6),
    (Act::Answer, 24),
    (Act::AnswerMany, 4),
    (Act::Report, 14),
    (Act::Forge, 1),
    (Act::Job, 16),
    (Act::Pass, 18),
    (Act::Leap, 3),
    (Act::SetBack, 1),
    (Act::Cancel, 6),
    (Act::Retry, 5),
    (Act::RetryAll, 1),
    (Act::Trespass, 1),
    (Act::Switch, 3),
    (Act::Delete, 1),
    (Act::Open, 1),
    (Act::Crash, 2),
    (Act::CrashWithin, 4),
    (Act::Sleep, 2),
    (Act::Join, 2),
];

/// How old a request may be and still be repeated, in milliseconds: idempotency keys live for a day.
const REPEAT_MS: i64 = 20 * 3_600_000;

/// What a run does often, seldom or never: runs that differ find more than runs that are all alike.
pub(super) struct Weights([(Act, u64); 26]);

impl Weights {
    pub(super) fn of(chance: &Ids) -> Self {
        let is_needed = |act| matches!(act, Act::Send | Act::Claim | Act::Depart | Act::Answer | Act::Job | Act::Pass);
        Self(USUAL.map(|(act, weight)| match chance.below(5) {
            0 if !is_needed(act) => (act, 0),
            1 => (act, weight * 3),
            _ => (act, weight),
        }))
    }

    fn choose(&self, chance: &Ids) -> Act {
        let mut left = chance.below(self.0.iter().map(|(_, weight)| weight).sum());
        for (act, weight) in self.0 {
            if left < weight {
                return act;
            }
            left -= weight;
        }
        Act::Pass
    }
}

/// The end of a process in the middle of something: after how many waits.
pub(super) type Cut = Option<usize>;

impl Simulation {
    /// Does one thing. Answers false when only time has passed.
    pub(super) fn act(&mut self) -> Result<bool> {
        let act = self.weights.choose(&self.chance);
        self.perform(act)?;
        self.settle()?;
        Ok(!matches!(act, Act::Pass | Act::Leap | Act::SetBack | Act::Sleep))
    }

    fn perform(&mut self, act: Act) -> Result {
        match act {
            Act::Send => self.send(1, None),
            Act::SendTogether => self.send_together(),
            Act::Batch => self.send(2 + self.below(4), None),
            Act::Repeat => self.repeat(),
            Act::Claim => self.claim(None),
            Act::Depart => self.depart(),
            Act::ProviderActs => self.provider_acts(),
            Act::Answer => self.answer(1),
            Act::AnswerMany => self.answer(2 + self.below(4)),
            Act::Report => self.report(None),
            Act::Forge => self.forge(),
            Act::Job => self.job(None),
            Act::Pass => self.pass(),
            Act::Leap => self.leap(),
            Act::SetBack => self.set_back(),
            Act::Cancel => self.cancel(None),
            Act::Retry => self.retry(None),
            Act::RetryAll => self.retry_all(),
            Act::Trespass => self.trespass(),
            Act::Switch => self.switch(),
            Act::Delete => self.delete(),
            Act::Open => self.open(),
            Act::Crash => self.die(),
            Act::CrashWithin => self.die_within(),
            Act::Sleep => self.sleep(),
            Act::Join => self.join(),
        }
    }

    /// Runs something in a process, to its end or until the process dies.
    pub(super) fn within<T>(node: &Node, cut: Cut, op: impl Future<Output = T>) -> Option<T> {
        match cut {
            Some(polls) => node.cut(op, polls),
            None => Some(node.run(op)),
        }
    }

    /// Makes up a request for `count` messages.
    fn post(&mut self, count: usize) -> usize {
        let tenant = self.below(self.tenants.len());
        let now = self.outside.clock.now();
        let wishes: Vec<_> = (0..count).map(|_| self.client.wish(&self.chance, tenant, now, &self.accounts)).collect();
        let tags: Vec<u32> = wishes.iter().map(|(tag, _)| *tag).collect();
        let is_batch = count > 1;
        let mut bodies: Vec<_> = wishes.into_iter().map(|(_, body)| body).collect();
        let body = if is_batch { json!({ "messages": bodies }) } else { bodies.remove(0) };
        let key = (!self.one_in(3)).then(|| format!("key-{}", self.client.posted.len()));
        let posted = Posted { tenant, key, body: body.to_string(), is_batch, tags, at: now, answer: None };
        self.client.posted.push(posted);
        self.client.posted.len() - 1
    }

    fn send(&mut self, count: usize, cut: Cut) -> Result {
        let index = self.post(count);
        self.hand_in(index, cut)
    }

    /// Hands a request in. Sometimes its answer is lost on the way.
    fn hand_in(&mut self, index: usize, cut: Cut) -> Result {
        let node = self.awake();
        let answer = Self::within(&self.nodes[node], cut, self.request(node, index));
        let posted = &self.client.posted[index];
        let what = format!("tenant {} asks process {} for m{:?}", posted.tenant, self.nodes[node].number, posted.tags);
        if self.one_in(15) {
            self.note(format_args!("{what}: the answer is lost"));
        } else {
            self.answered(index, &what, answer)?;
        }
        if cut.is_some() { self.crash(node) } else { Ok(()) }
    }

    /// A request as a future.
    fn request(&self, node: usize, index: usize) -> impl Future<Output = Result<Vec<u8>, Error>> + use<> {
        let posted = &self.client.posted[index];
        let engine = std::sync::Arc::clone(&self.nodes[node].engine);
        let caller = self.tenants[posted.tenant].caller.clone();
        let (body, is_batch) = (posted.body.clone(), posted.is_batch);
        let key = posted.key.as_deref().map(|key| IdempotencyKey::parse(key).expect("a key"));
        async move {
            let reply = if is_batch {
                engine.send_batch(&caller, body.as_bytes(), key).await
            } else {
                engine.send(&caller, body.as_bytes(), key).await
            };
            reply.map(|reply| reply.body)
        }
    }

    fn answered(&mut self, index: usize, what: &str, answer: Option<Result<Vec<u8>, Error>>) -> Result {
        match answer {
            None => self.note(format_args!("{what}: no answer")),
            Some(Ok(body)) => {
                self.note(format_args!("{what}: accepted"));
                self.client.answered(index, Some(body)).map_err(|by| broken(ONCE, by))?;
            }
            Some(Err(error)) if error.kind.status() >= 500 => return Err(failed(what, &error)),
            Some(Err(error)) => {
                self.note(format_args!("{what}: refused, {} {}", error.code, error.detail));
                if self.client.posted[index].answer.is_some() && error.code != "idempotency_key_in_use" {
                    return Err(broken(ONCE, format!("{what}: accepted before, and now refused: {}", error.code)));
                }
                if self.client.posted[index].answer.is_none() {
                    self.client.answered(index, None).map_err(|by| broken(ONCE, by))?;
                }
            }
        }
        Ok(())
    }

    /// Requests that arrive at the same moment share a transaction; one of them may come twice.
    fn send_together(&mut self) -> Result {
        let node = self.awake();
        let tenants: Vec<_> = self.tenants.iter().map(|tenant| tenant.id).collect();
        self.nodes[node].warm_up(&tenants).map_err(|error| failed("reading the configuration", &error))?;
        let indexes: Vec<usize> = (0..2 + self.below(4)).map(|_| self.post(1)).collect();
        let requests: Vec<_> = indexes.iter().map(|index| self.request(node, *index)).collect();
        let answers = self.nodes[node].run(join_all(requests));
        for (index, answer) in indexes.into_iter().zip(answers) {
            let what = format!("together: m{:?}", self.client.posted[index].tags);
            self.answered(index, &what, Some(answer))?;
        }
        Ok(())
    }

    fn repeat(&mut self) -> Result {
        let now = self.outside.clock.now();
        let posted = self.client.posted.iter().enumerate();
        let may = posted.filter(|(_, p)| p.key.is_some() && now.millis_since(p.at) < REPEAT_MS);
        let may: Vec<usize> = may.map(|(index, _)| index).collect();
        match may.get(self.below(may.len())) {
            Some(index) => self.hand_in(*index, None),
            None => Ok(()),
        }
    }

    fn claim(&mut self, cut: Cut) -> Result {
        let node = self.awake();
        if let Some(polls) = cut {
            let engine = std::sync::Arc::clone(&self.nodes[node].engine);
            let number = self.nodes[node].number;
            self.note(format_args!("process {number} claims"));
            let _ = self.nodes[node].cut(async move { engine::dispatch::exchanges(&engine).await.map(drop) }, polls);
            return self.crash(node);
        }
        let count = self.nodes[node].claim().map_err(|error| failed("claiming", &error))?;
        let number = self.nodes[node].number;
        self.note(format_args!("process {number} claims: {count} exchanges may begin"));
        Ok(())
    }

    fn depart(&mut self) -> Result {
        let node = self.awake();
        let claimed = self.nodes[node].claimed();
        if claimed == 0 {
            return self.claim(None);
        }
        let index = self.below(claimed);
        self.nodes[node].depart(index).map_err(|by| broken(WORKS, by))?;
        let state = self.outside.provider.state();
        let last = state.waiting.last().filter(|waiting| waiting.node == self.nodes[node].number);
        let what =
            last.map(|waiting| waiting.request.items.iter().map(|item| (item.tag, item.attempt)).collect::<Vec<_>>());
        drop(state);
        let number = self.nodes[node].number;
        self.note(format_args!("process {number} asks for (message, attempt) {what:?}"));
        Ok(())
    }

    /// A request that waits for an answer, of a process that is awake or gone.
    fn waiting(&self) -> Option<usize> {
        let asleep = |number| self.nodes.iter().any(|n| n.number == number && n.asleep_until > self.step);
        let state = self.outside.provider.state();
        let all = state.waiting.iter().enumerate().filter(|(_, waiting)| !asleep(waiting.node));
        let all: Vec<usize> = all.map(|(index, _)| index).collect();
        drop(state);
        all.get(self.below(all.len())).copied()
    }

    fn provider_acts(&mut self) -> Result {
        let Some(index) = self.waiting() else { return Ok(()) };
        self.outside.provider.act(index);
        self.note(format_args!("a provider takes request {index} and does not answer yet"));
        Ok(())
    }

    /// Ends exchanges, `count` of them at the same moment.
    fn answer(&mut self, count: usize) -> Result {
        for _ in 0..count {
            let Some(index) = self.waiting() else { break };
            let (kind, is_batch) = {
                let state = self.outside.provider.state();
                (state.waiting[index].request.kind, state.waiting[index].request.is_batch)
            };
            let verdict = self.verdict(kind, is_batch);
            let state = self.outside.provider.state();
            let waiting = &state.waiting[index];
            let tags: Vec<_> = waiting.request.items.iter().map(|item| item.tag).collect();
            let line = format!("m{tags:?} of process {}, taken {}: {verdict:?}", waiting.node, waiting.has_acted());
            drop(state);
            self.note(line);
            self.outside.provider.answer(index, verdict);
        }
        self.settle()
    }

    /// Lets every process that is awake do what it can.
    pub(super) fn settle(&mut self) -> Result {
        let now = self.step;
        let mut awake = self.nodes.iter_mut().filter(|node| node.asleep_until <= now);
        awake.try_for_each(Node::settle).map_err(|by| broken(WORKS, by))
    }

    fn verdict(&self, kind: Kind, is_batch: bool) -> Verdict {
        match self.below(100) {
            0..45 => Verdict::Accept,
            45..50 => Verdict::Garble,
            50..56 => Verdict::Break,
            // One mail's server error is repeated under its key and reported as trouble; see the connector.
            56..59 if kind != Kind::Resend || is_batch => Verdict::FailAfter,
            56..66 => Verdict::LoseBefore,
            66..71 => Verdict::LoseAfter,
            71..74 => Verdict::FailBefore,
            74..78 => Verdict::Refuse(Why::Recipient),
            78..80 => Verdict::Refuse(Why::OptedOut),
            80..83 => Verdict::Refuse(Why::Content),
            83..86 => Verdict::Refuse(Why::Account),
            86..93 => Verdict::Refuse(Why::Unavailable),
            _ => Verdict::Throttle(self.retry_after()),
        }
    }

    fn retry_after(&self) -> Option<String> {
        let date =
            || self.outside.clock.now().plus_seconds(20).jiff().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
        match self.below(6) {
            0 => None,
            1 => Some("0".to_owned()),
            2 => Some(date()),
            3 => Some("soon".to_owned()),
            4 => Some("999999999".to_owned()),
            _ => Some((1 + self.below(30)).to_string()),
        }
    }

    /// A provider tells about a copy: the next thing that happened to it, or an earlier one again.
    fn report(&mut self, cut: Cut) -> Result {
        let chosen = {
            let mut state = self.outside.provider.state();
            let able: Vec<usize> =
                state.copies.iter().enumerate().filter(|(_, copy)| !copy.truth.is_empty()).map(|(i, _)| i).collect();
            let Some(index) = able.get(self.below(able.len())) else { return Ok(()) };
            let copy = &mut state.copies[*index];
            // Often nothing is said of what has just happened, so that the next report overtakes it.
            if copy.happened == 0 || (copy.happened < copy.truth.len() && self.one_in(2)) {
                copy.happened += 1;
                if copy.happened < copy.truth.len() && self.one_in(3) {
                    copy.happened += 1;
                }
            }
            let word = copy.truth[self.below(copy.happened)];
            (copy.clone(), word)
        };
        self.tell(&chosen.0, chosen.1, cut)
    }

    /// Hands a provider's report in.
    pub(super) fn tell(&mut self, copy: &super::provider::Copy, word: Word, cut: Cut) -> Result {
        let Some(account) = self.accounts.iter().find(|account| account.name_there == copy.account) else {
            return Ok(());
        };
        let (is_deleted, id) = (account.is_deleted, account.id);
        let now = self.outside.clock.now();
        let request = client::report(account, copy, word, self.chance.below(2), now, false);
        let node = self.awake();
        let what = format!("m{} is reported as {word:?} to process {}", copy.item.tag, self.nodes[node].number);
        let reply = Self::within(&self.nodes[node], cut, self.nodes[node].engine.callback(id, request, None));
        match reply {
            None => {
                self.note(format_args!("{what}: no answer"));
                self.client.handed_in.insert((copy.id.clone(), word));
            }
            Some(Ok(reply)) if reply.status < 300 => {
                self.note(what);
                self.client.hand_in(copy, word);
            }
            Some(Err(error)) if is_deleted && error.kind.status() == 404 => {
                self.note(format_args!("{what}: not found"))
            }
            Some(other) => return Err(broken(REPORTED, format!("{what}: {other:?}"))),
        }
        if cut.is_some() { self.crash(node) } else { Ok(()) }
    }

    /// Somebody else pretends to be a provider.
    fn forge(&mut self) -> Result {
        let copy = self.outside.provider.state().copies.last().cloned();
        let Some(copy) = copy.filter(|copy| copy.kind != Kind::Smtp) else { return Ok(()) };
        let Some(account) = self.accounts.iter().find(|a| a.name_there == copy.account && !a.is_deleted) else {
            return Ok(());
        };
        let request = client::report(account, &copy, Word::Bounced, 0, self.outside.clock.now(), true);
        let id = account.id;
        let node = self.awake();
        let reply = self.nodes[node].run(self.nodes[node].engine.callback(id, request, None));
        self.note(format_args!("a forged report about m{}", copy.item.tag));
        match reply {
            Err(error) if error.kind.status() == 401 => Ok(()),
            other => Err(broken(REPORTED, format!("a forged report was answered {other:?}"))),
        }
    }

    /// A background job runs.
    fn job(&mut self, cut: Cut) -> Result {
        let node = self.awake();
        let names = ["beat", "recover", "expire", "later", "ask", "rematch", "refresh", "forget", "reroute"];
        // Leases are only kept by beating, and questions settle most.
        let name = names[[0, 0, 1, 1, 2, 2, 3, 4, 4, 4, 5, 6, 7, 8][self.below(14)]];
        let name = if self.setup.is_routed && self.one_in(4) { "divert" } else { name };
        let done = Self::within(&self.nodes[node], cut, run_job(&self.nodes[node], name));
        let number = self.nodes[node].number;
        self.note(format_args!("process {number} runs {name}: {done:?}"));
        if let Some(Err(error)) = done {
            return Err(failed(name, &error));
        }
        if cut.is_some() { self.crash(node) } else { Ok(()) }
    }

    /// The process dies in the middle of something.
    fn die_within(&mut self) -> Result {
        let cut = Some(1 + self.below(4));
        match self.below(8) {
            0 | 1 => self.send(1 + self.below(3), cut),
            2 => self.claim(cut),
            3 => self.report(cut),
            4 => self.cancel(cut),
            5 => self.retry(cut),
            _ => self.job(cut),
        }
    }
}

pub(super) async fn run_job(node: &Node, name: &str) -> Result<usize, Error> {
    let engine = &node.engine;
    match name {
        "beat" => recovery::beat(engine).await.map(|()| 0),
        "recover" => recovery::recover(engine, false).await.map(|count| count as usize),
        "expire" => waiting::expire(engine).await,
        "later" => waiting::later(engine).await,
        "ask" => waiting::ask(engine).await,
        "reroute" => waiting::reroute(engine).await,
        "divert" => engine::routing::divert::divert(engine).await.map(|count| count as usize),
        "rematch" => callbacks::rematch(engine).await,
        "refresh" => engine.directory.refresh().await.map(|_| 0),
        _ => recovery::leave(engine, false).await.map(|()| 0),
    }
}

/// The engine said that it is at fault.
pub(super) fn failed(what: &str, error: &Error) -> super::Broken {
    broken(WORKS, format!("{what}: {error:?}"))
}
