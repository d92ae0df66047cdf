//! Everything the simulator keeps, all of it bounded: the oldest goes first.

use std::collections::{BTreeMap, VecDeque};

use model::Timestamp;
use serde::Serialize;

use crate::{message::Message, provider::Settings, providers::PROVIDERS, request::Request, script::Rule};

/// Messages kept: a benchmark's worth to look at, in some ten megabytes.
const MESSAGES_MAX: usize = 20_000;
/// Requests and callbacks kept, each: what a person reads back while developing.
const LOG_MAX: usize = 1_000;
/// What is kept of a body, in bytes.
const BODY_MAX: usize = 16 * 1024;
/// Between two stages of a message until it is set, in milliseconds: quick, and slow enough that the answer is read before the first callback.
const STEP_MS: u64 = 100;

/// A request that was answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Seen {
    pub at: Timestamp,
    pub provider: String,
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: BTreeMap<String, String>,
    /// The beginning of the body, as text.
    pub body: String,
    /// The answer's status; missing when the connection was dropped.
    pub status: Option<u16>,
    /// The answer's body.
    pub answer: String,
    /// Which day of the script this was.
    pub day: Option<String>,
}

/// A callback that was made.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Made {
    pub at: Timestamp,
    pub provider: &'static str,
    /// Which message it was about; missing for what somebody wrote.
    pub message_id: Option<String>,
    pub stage: String,
    pub url: String,
    /// What came back: a status, or why nothing did.
    pub outcome: String,
}

/// What is kept.
pub(crate) struct World {
    pub messages: VecDeque<Message>,
    pub requests: VecDeque<Seen>,
    pub callbacks: VecDeque<Made>,
    pub settings: BTreeMap<&'static str, Settings>,
    pub rules: Vec<Rule>,
    pub step_ms: u64,
}

impl World {
    /// With nothing in it, and every setting as documented.
    pub fn new() -> Self {
        let settings = |provider: &dyn crate::provider::Provider| -> Settings {
            provider.settings().iter().map(|set| (set.name.to_owned(), set.default.to_owned())).collect()
        };
        Self {
            messages: VecDeque::new(),
            requests: VecDeque::new(),
            callbacks: VecDeque::new(),
            settings: PROVIDERS.iter().map(|provider| (provider.id(), settings(*provider))).collect(),
            rules: Vec::new(),
            step_ms: STEP_MS,
        }
    }

    /// Keeps a message.
    pub fn keep(&mut self, message: Message) {
        bounded(&mut self.messages, message, MESSAGES_MAX);
    }

    /// Keeps a request with its answer.
    pub fn note(&mut self, seen: Seen) {
        bounded(&mut self.requests, seen, LOG_MAX);
    }

    /// Keeps a callback.
    pub fn note_callback(&mut self, made: Made) {
        bounded(&mut self.callbacks, made, LOG_MAX);
    }

    /// Spoils one request less by a rule.
    pub fn use_up(&mut self, rule: usize) {
        if let Some(left) = self.rules.get_mut(rule).and_then(|rule| rule.times.as_mut()) {
            *left = left.saturating_sub(1);
        }
    }
}

impl Seen {
    /// A request that has no answer yet.
    pub fn new(at: Timestamp, provider: &str, request: &Request) -> Self {
        Self {
            at,
            provider: provider.to_owned(),
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.iter().cloned().collect(),
            body: beginning(&request.body),
            status: None,
            answer: String::new(),
            day: None,
        }
    }
}

/// The beginning of a body, as text.
pub(crate) fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(BODY_MAX)]).into_owned()
}

fn bounded<T>(list: &mut VecDeque<T>, item: T, max: usize) {
    if list.len() >= max {
        list.pop_front();
    }
    list.push_back(item);
}
