//! Clients that post messages to a server that is killed again and again, as good clients do: every request has an idempotency key, and a request
//! without an answer is repeated as it was until it has one.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    house::message,
    http::{Answer, Client},
};

/// Messages of one batch.
const BATCH: u64 = 25;
/// Longest wait for answers.
const ANSWERS: Duration = Duration::from_secs(120);

/// What is to be posted, and what was answered.
#[derive(Default)]
pub struct Feed {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Where the server is; `None` while there is none.
    url: Option<String>,
    is_over: bool,
    requests: VecDeque<Request>,
    /// Ids by number.
    accepted: BTreeMap<u64, String>,
    /// What was answered, to be repeated.
    answered: Vec<(Request, Vec<String>)>,
}

/// One request: several messages make a batch. Its idempotency key is its first number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Request {
    from: u64,
    count: u64,
}

impl Request {
    fn post(&self, client: &mut Client) -> std::io::Result<Answer> {
        let (path, body) = match self.count {
            1 => ("/v1/messages", message(self.from)),
            _ => ("/v1/messages/batch", json!({"messages": self.numbers().map(message).collect::<Vec<_>>()})),
        };
        let key = format!("order-{}", self.from);
        client.exchange(
            "POST",
            path,
            &[("content-type", "application/json"), ("idempotency-key", &key)],
            &body.to_string(),
        )
    }

    /// The messages' ids.
    fn ids(&self, answer: &Answer) -> Vec<String> {
        assert_eq!(answer.status, 202, "{}", answer.body);
        let id = |item: &Value| item["id"].as_str().unwrap_or_else(|| panic!("{item}")).to_owned();
        match self.count {
            1 => vec![id(&answer.json())],
            _ => answer.json()["data"].as_array().unwrap().iter().map(id).collect(),
        }
    }

    fn numbers(&self) -> std::ops::Range<u64> {
        self.from..self.from + self.count
    }
}

impl Feed {
    /// Adds messages to be posted: one half one by one, the other in batches.
    pub fn add(&self, numbers: std::ops::Range<u64>) {
        let middle = numbers.start + (numbers.end - numbers.start) / 2;
        let mut state = self.state();
        // Large and small in turn, as it happens in life.
        let singles = (numbers.start..middle).map(|from| Request { from, count: 1 });
        let mut batches = (middle..numbers.end)
            .step_by(BATCH as usize)
            .map(|from| Request { from, count: BATCH.min(numbers.end - from) });
        for (index, single) in singles.enumerate() {
            state.requests.push_back(single);
            if (index as u64).is_multiple_of(BATCH) {
                state.requests.extend(batches.next());
            }
        }
        state.requests.extend(batches);
        self.changed.notify_all();
    }

    /// Says where the server is, or that it is gone.
    pub fn server(&self, url: Option<&str>) {
        self.state().url = url.map(str::to_owned);
        self.changed.notify_all();
    }

    /// Runs clients beside `work`, to its end. They end with it, also when it fails.
    pub fn beside<T>(&self, clients: usize, key: &str, work: impl FnOnce() -> T) -> T {
        struct End<'a>(&'a Feed);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.state().is_over = true;
                self.0.changed.notify_all();
            }
        }
        thread::scope(|scope| {
            let _end = End(self);
            (0..clients).for_each(|_| drop(scope.spawn(|| self.run(key))));
            work()
        })
    }

    /// How many messages were accepted, as far as clients know.
    pub fn count(&self) -> usize {
        self.state().accepted.len()
    }

    /// Waits until so many messages were accepted.
    #[track_caller]
    pub fn wait(&self, count: usize) {
        let waiting = |state: &mut State| state.accepted.len() < count;
        let (state, late) =
            self.changed.wait_timeout_while(self.state(), ANSWERS, waiting).unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "{} of {count} were accepted in {ANSWERS:?}", state.accepted.len());
    }

    /// The ids of all accepted messages by number.
    pub fn accepted(&self) -> BTreeMap<u64, String> {
        self.state().accepted.clone()
    }

    /// Repeats every request that was answered: each must be answered the same, and be known as a repetition.
    pub fn repeat_all(&self, url: &str, key: &str) {
        let mut client = Client::new(url, key);
        let answered = std::mem::take(&mut self.state().answered);
        for (request, ids) in &answered {
            repeat(&mut client, request, ids).unwrap();
        }
    }

    /// One client: posts until it is over.
    fn run(&self, key: &str) {
        let (mut at, mut client) = (String::new(), None);
        let mut last: Option<(Request, Vec<String>)> = None;
        while let Some((url, request)) = self.next() {
            if url != at || client.is_none() {
                at.clone_from(&url);
                client = Some(Client::new(&url, key));
                // What was answered before the crash is still known after it.
                let known =
                    last.as_ref().zip(client.as_mut()).map(|((request, ids), client)| repeat(client, request, ids));
                if known.is_some_and(|known| known.is_err()) {
                    self.again(&at, request);
                    continue;
                }
            }
            let Some(client) = &mut client else { continue };
            let Ok(answer) = request.post(client) else {
                self.again(&at, request);
                continue;
            };
            let ids = request.ids(&answer);
            self.done(&request, &ids);
            last = Some((request, ids));
        }
    }

    /// The next request and where to post it.
    fn next(&self) -> Option<(String, Request)> {
        let waiting = |state: &mut State| !state.is_over && (state.url.is_none() || state.requests.is_empty());
        let mut state = self.changed.wait_while(self.state(), waiting).unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return None;
        }
        Some((state.url.clone()?, state.requests.pop_front()?))
    }

    /// Puts a request without an answer back. The server is gone: nobody asks it any more, and the request waits for the next.
    fn again(&self, at: &str, request: Request) {
        let mut state = self.state();
        state.url.take_if(|url| url == at);
        state.requests.push_front(request);
        self.changed.notify_all();
    }

    fn done(&self, request: &Request, ids: &[String]) {
        let mut state = self.state();
        state.accepted.extend(request.numbers().zip(ids.iter().cloned()));
        state.answered.push((request.clone(), ids.to_vec()));
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn repeat(client: &mut Client, request: &Request, ids: &[String]) -> std::io::Result<()> {
    let answer = request.post(client)?;
    assert_eq!(
        (request.ids(&answer).as_slice(), answer.header("idempotency-replayed")),
        (ids, Some("true")),
        "{request:?}"
    );
    Ok(())
}
