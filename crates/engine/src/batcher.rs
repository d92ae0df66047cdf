//! Group commit: what arrives while a transaction is under way rides in the next one.
//!
//! There is no timer and no standing task. The first caller to find nobody at work starts a run; it takes everything that waits, again and again, until nothing does.
//! A single request on an idle machine therefore pays for one commit and no waiting, and a thousand at once share a few.

use std::sync::{Arc, Mutex, PoisonError};

use model::BoxFuture;
use tokio::sync::oneshot;

/// Performs a batch. Answers one result per item, in order.
pub type Run<I, O> = Arc<dyn Fn(Vec<I>) -> BoxFuture<'static, Vec<O>> + Send + Sync>;

/// Collects items of many callers into batches.
pub struct Batcher<I, O> {
    shared: Arc<Shared<I, O>>,
}

struct Shared<I, O> {
    state: Mutex<State<I, O>>,
    run: Run<I, O>,
    weight_max: usize,
    runs_max: usize,
}

struct State<I, O> {
    waiting: std::collections::VecDeque<(I, usize, oneshot::Sender<O>)>,
    runs: usize,
}

impl<I, O> Clone for Batcher<I, O> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<I: Send + 'static, O: Send + 'static> Batcher<I, O> {
    /// Batches of `weight_max` at most, `runs_max` of them under way at once.
    pub fn new(weight_max: usize, runs_max: usize, run: Run<I, O>) -> Self {
        let state = Mutex::new(State { waiting: std::collections::VecDeque::new(), runs: 0 });
        Self { shared: Arc::new(Shared { state, run, weight_max, runs_max }) }
    }

    /// Hands in one item that counts `weight` and waits for its result. `None` when the batch was lost to a panic.
    #[crate::boxed]
    pub async fn submit(&self, item: I, weight: usize) -> Option<O> {
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut state = self.shared.lock();
            state.waiting.push_back((item, weight, answer));
            let starts = state.runs < self.shared.runs_max;
            state.runs += usize::from(starts);
            starts
        };
        if starts {
            // Its own task, so that a caller who goes away does not take the others' work with it.
            tokio::spawn(Arc::clone(&self.shared).work());
        }
        answered.await.ok()
    }
}

impl<I, O> Shared<I, O> {
    fn lock(&self) -> std::sync::MutexGuard<'_, State<I, O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<(I, oneshot::Sender<O>)> {
        let mut state = self.lock();
        let (mut batch, mut weight) = (Vec::new(), 0);
        while let Some((_, next, _)) = state.waiting.front() {
            weight += next;
            if weight > self.weight_max && !batch.is_empty() {
                break;
            }
            batch.extend(state.waiting.pop_front().map(|(item, _, answer)| (item, answer)));
        }
        if batch.is_empty() {
            state.runs -= 1;
        }
        batch
    }

    async fn work(self: Arc<Self>) {
        let mut seat = Seat { shared: &self, is_done: false };
        loop {
            let batch = self.take();
            if batch.is_empty() {
                seat.is_done = true;
                return;
            }
            let (items, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
            let results = (self.run)(items).await;
            debug_assert_eq!(results.len(), answers.len(), "a batch answers every item");
            for (answer, result) in answers.into_iter().zip(results) {
                let _ = answer.send(result);
            }
        }
    }
}

/// Gives a run's place back when it ends by a panic.
struct Seat<'a, I, O> {
    shared: &'a Shared<I, O>,
    is_done: bool,
}

impl<I, O> Drop for Seat<'_, I, O> {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.lock().runs -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_waits_rides_together() {
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let (gate, opened) = tokio::sync::watch::channel(false);
        let seen = Arc::clone(&sizes);
        let batcher = Batcher::new(
            3,
            1,
            Arc::new(move |items: Vec<u32>| {
                seen.lock().unwrap().push(items.len());
                let mut opened = opened.clone();
                Box::pin(async move {
                    opened.wait_for(|open| *open).await.unwrap();
                    items.into_iter().map(|item| item * 2).collect()
                })
            }),
        );
        let calls: Vec<_> = (0..6)
            .map(|n| {
                tokio::spawn({
                    let batcher = batcher.clone();
                    async move { batcher.submit(n, 1).await }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        gate.send(true).unwrap();
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.unwrap(), Some(n as u32 * 2));
        }
        let sizes = sizes.lock().unwrap().clone();
        assert_eq!(sizes.iter().sum::<usize>(), 6);
        assert!(sizes.iter().all(|size| *size <= 3) && sizes.len() < 6, "{sizes:?}");
    }

    #[tokio::test]
    async fn a_panic_loses_its_batch_and_nothing_more() {
        let batcher = Batcher::new(
            1,
            1,
            Arc::new(|items: Vec<u32>| {
                Box::pin(async move {
                    assert_ne!(items, [0], "poison");
                    items
                }) as BoxFuture<'static, Vec<u32>>
            }),
        );
        assert_eq!(batcher.submit(0, 1).await, None);
        assert_eq!(batcher.submit(1, 1).await, Some(1));
    }
}
