//! The providers of a simulated world behind one transport: they keep a ledger of everything they were asked and of every copy they took, and answer when
//! the simulator says so. What they say about a copy later is decided when they take it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use model::{Answer, BoxFuture, Broken, Call, Clock as _, Ids, MessageId, Status, Timestamp, Transport};
use tokio::sync::{Notify, oneshot};

use super::words::{self, About, Brought, Heard, Item, Kind, Question, Request, Why};
use crate::{ManualClock, broken_after, broken_before, http_answer};

/// What becomes of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Word {
    Sent,
    Delivered,
    Read,
    Failed,
    Bounced,
}

impl Word {
    /// As Twilio says it.
    pub fn of_twilio(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Failed | Self::Bounced => "undelivered",
        }
    }

    /// As Resend says it.
    pub fn of_resend(self) -> &'static str {
        match self {
            Self::Sent => "email.sent",
            Self::Delivered | Self::Read => "email.delivered",
            Self::Failed | Self::Bounced => "email.bounced",
        }
    }

    /// The status it stands for.
    pub fn status(self) -> Status {
        match self {
            Self::Sent => Status::Sent,
            Self::Delivered => Status::Delivered,
            Self::Read => Status::Read,
            Self::Failed => Status::Failed,
            Self::Bounced => Status::Bounced,
        }
    }
}

/// A message in a provider's hands.
#[derive(Debug, Clone)]
pub(super) struct Copy {
    pub id: String,
    pub kind: Kind,
    pub account: String,
    pub item: Item,
    pub at: Timestamp,
    /// Everything that will ever be known of it, in order.
    pub truth: Vec<Word>,
    /// How much of that has happened.
    pub happened: usize,
}

impl Copy {
    /// The last thing that happened to it.
    pub fn last(&self) -> Option<Word> {
        self.happened.checked_sub(1).map(|index| self.truth[index])
    }
}

/// A message that was in a request, whatever became of it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub item: Item,
    pub account: String,
    pub node: u32,
}

/// A request that waits for its answer.
pub(super) struct Waiting {
    pub node: u32,
    pub request: Request,
    /// The ids of the copies, once the provider has acted.
    acted: Option<Vec<Option<String>>>,
    reply: oneshot::Sender<Brought>,
}

impl Waiting {
    /// True once the provider has taken the request.
    pub fn has_acted(&self) -> bool {
        self.acted.is_some()
    }
}

/// How the provider ends an exchange.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Takes it and says so.
    Accept,
    /// Takes it, and the answer cannot be read.
    Garble,
    /// Takes it, and the connection breaks.
    Break,
    /// Takes it, and answers with a server error.
    FailAfter,
    /// Never hears of it.
    LoseBefore,
    /// Never takes it, and the connection breaks late.
    LoseAfter,
    /// Does not take it, and answers with a server error.
    FailBefore,
    /// Refuses it.
    Refuse(Why),
    /// Wants less.
    Throttle(Option<String>),
}

/// Everything the providers know.
pub(super) struct State {
    pub waiting: Vec<Waiting>,
    pub copies: Vec<Copy>,
    pub seen: Vec<Seen>,
    /// Ids of copies that a process was told in good answers.
    pub answered: Vec<(MessageId, String, u32)>,
    /// What nobody understood.
    pub odd: Vec<String>,
    /// While true nothing goes wrong any more.
    pub is_healthy: bool,
    keys: BTreeMap<String, Vec<Option<String>>>,
    chance: Ids,
    asked: BTreeMap<String, u64>,
    seed: u64,
}

/// All providers.
pub(super) struct Provider {
    /// Told when a request arrives or an exchange ends.
    pub moved: Notify,
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

/// One process's way to the providers.
pub(super) struct Door {
    pub provider: Arc<Provider>,
    pub node: u32,
}

impl Transport for Door {
    fn exchange(&self, call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        let (provider, node) = (Arc::clone(&self.provider), self.node);
        Box::pin(async move {
            match words::hear(&call) {
                Heard::Ask(question) => provider.tell(&question, &format!("{call:?} {:?}", question.about)),
                Heard::Odd(what) => {
                    provider.state().odd.push(what);
                    broken_after("not_understood")
                }
                Heard::Send(request) => {
                    let answer = provider.arrive(node, request);
                    answer.await.unwrap_or_else(|_| broken_after("connection_reset"))
                }
            }
        })
    }
}

impl Provider {
    /// Providers that have heard of nothing yet.
    pub fn new(clock: Arc<ManualClock>, seed: u64) -> Arc<Self> {
        let state = State {
            waiting: Vec::new(),
            copies: Vec::new(),
            seen: Vec::new(),
            answered: Vec::new(),
            odd: Vec::new(),
            is_healthy: false,
            keys: BTreeMap::new(),
            chance: Ids::seeded(seed ^ 0x70_726f_7669_6465),
            asked: BTreeMap::new(),
            seed,
        };
        Arc::new(Self { moved: Notify::new(), clock, state: Mutex::new(state) })
    }

    /// What they know.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests of a process wait for an answer.
    pub fn waiting_of(&self, node: u32) -> usize {
        self.state().waiting.iter().filter(|waiting| waiting.node == node).count()
    }

    fn arrive(&self, node: u32, request: Request) -> oneshot::Receiver<Brought> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        for item in &request.items {
            state.seen.push(Seen { item: item.clone(), account: request.account.clone(), node });
        }
        state.waiting.push(Waiting { node, request, acted: None, reply });
        drop(state);
        self.moved.notify_one();
        answer
    }

    /// The provider takes a request without answering yet.
    pub fn act(&self, index: usize) {
        let now = self.clock.now();
        self.state().act(index, now);
    }

    /// Ends an exchange. What was taken already cannot be refused any more: the answer is lost instead.
    pub fn answer(&self, index: usize, verdict: Verdict) {
        let now = self.clock.now();
        let mut state = self.state();
        state.remember(index);
        let has_acted = state.waiting[index].has_acted();
        let acts = matches!(verdict, Verdict::Accept | Verdict::Garble | Verdict::Break | Verdict::FailAfter);
        if acts {
            state.act(index, now);
        }
        let waiting = state.waiting.remove(index);
        let request = &waiting.request;
        let mut told_ids = Vec::new();
        let brought = match verdict {
            Verdict::Accept => {
                let ids = waiting.acted.expect("it has just acted");
                let told = request.items.iter().zip(&ids).filter(|_| request.kind != Kind::Smtp);
                told_ids.extend(told.filter_map(|(item, id)| Some((item.message, id.clone()?))));
                words::accepted(request, &ids)
            }
            Verdict::Garble => words::garbled(request.kind),
            Verdict::FailAfter => words::server_error(request.kind),
            Verdict::Break => words::lost_after(),
            _ if has_acted => words::lost_after(),
            Verdict::LoseAfter => words::lost_after(),
            Verdict::LoseBefore => words::lost_before(),
            Verdict::FailBefore => words::server_error(request.kind),
            Verdict::Refuse(why) => words::refused(request.kind, why),
            Verdict::Throttle(wait) => words::throttled(request.kind, wait),
        };
        // A process that died meanwhile hears nothing.
        if waiting.reply.send(brought).is_ok() {
            state.answered.extend(told_ids.into_iter().map(|(message, id)| (message, id, waiting.node)));
        }
    }

    /// Answers a question: the truth, unless the network or the provider has a bad moment. Which one depends on the question alone, so that questions asked at the same
    /// time may come in any order.
    fn tell(&self, question: &Question, text: &str) -> Brought {
        let mut state = self.state();
        let times = state.asked.entry(text.to_owned()).or_default();
        *times += 1;
        let hash = text.bytes().fold(*times, |hash, byte| hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte));
        let chance = Ids::seeded(hash ^ state.seed).below(100);
        match chance {
            0..=14 if !state.is_healthy => return broken_before("connect_refused"),
            15..=24 if !state.is_healthy => return broken_after("timeout"),
            25..=34 if !state.is_healthy => return http_answer(200, "<html>"),
            35..=44 if !state.is_healthy => return http_answer(503, "{}"),
            _ => {}
        }
        let is_meant = |copy: &&Copy| {
            let is_it = match &question.about {
                About::Id(id) => copy.id == *id,
                About::Recipient(to) => copy.item.to == *to,
                About::All => true,
            };
            is_it && copy.account == question.account && copy.kind == question.kind
        };
        let copies: Vec<&Copy> = state.copies.iter().rev().filter(is_meant).take(100).collect();
        words::told(question, &copies)
    }
}

impl State {
    /// A request whose idempotency key is known was taken before.
    fn remember(&mut self, index: usize) {
        let known = self.waiting[index].request.key.as_ref().and_then(|key| self.keys.get(key)).cloned();
        if let Some(ids) = known {
            self.waiting[index].acted = Some(ids);
        }
    }

    fn act(&mut self, index: usize, now: Timestamp) {
        self.remember(index);
        if self.waiting[index].has_acted() {
            return;
        }
        let request = self.waiting[index].request.clone();
        let mut ids = Vec::new();
        for item in &request.items {
            let is_refused = request.is_batch && !self.is_healthy && self.chance.below(6) == 0;
            ids.push((!is_refused).then(|| self.take(&request, item, now)));
        }
        if let Some(key) = request.key {
            self.keys.insert(key, ids.clone());
        }
        self.waiting[index].acted = Some(ids);
    }

    /// Takes one copy. Answers its id.
    pub fn take(&mut self, request: &Request, item: &Item, now: Timestamp) -> String {
        use Word::{Bounced, Delivered, Failed, Read, Sent};
        let chance = self.chance.below(100);
        let truth: &[Word] = match (request.kind, chance) {
            (Kind::Smtp, _) => &[],
            (Kind::Twilio, 0..45) => &[Sent, Delivered],
            (Kind::Twilio, 45..60) => &[Sent, Delivered, Read],
            (Kind::Twilio, 60..75) => &[Sent, Failed],
            (Kind::Twilio, 75..90) => &[Delivered],
            (Kind::Resend, 0..60) => &[Sent, Delivered],
            (Kind::Resend, 60..75) => &[Sent, Bounced],
            (Kind::Resend, 75..90) => &[Sent, Delivered, Bounced],
            (Kind::Twilio | Kind::Resend, _) => &[Sent],
        };
        let number = self.copies.len() + 1;
        let id = match request.kind {
            Kind::Twilio => format!("SM{number:032x}"),
            Kind::Resend | Kind::Smtp => format!("{number:08x}-0000-4000-8000-000000000000"),
        };
        self.copies.push(Copy {
            id: id.clone(),
            kind: request.kind,
            account: request.account.clone(),
            item: item.clone(),
            at: now,
            truth: truth.to_vec(),
            happened: 0,
        });
        id
    }
}
