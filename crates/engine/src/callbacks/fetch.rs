//! Files that decide whether a request is the provider's (signing certificates): fetched once, kept for a while, whatever anybody sends.
//!
//! Anybody can make us look, because nothing is verified yet. So connectors name only URLs on the provider's own hosts, requests that wait for the same file share one
//! fetch, and an account has a budget per minute.

use std::sync::{Arc, Mutex, PoisonError};

use model::{AccountId, Answer, Call, HttpAnswer, HttpCall, Timestamp};
use tokio::sync::OnceCell;

use super::{PerMinute, not_now};
use crate::{Error, Ports, bounded::Bounded};

/// Files kept at most: Amazon has one per region.
const FILES_MAX: usize = 256;
/// How long a file is kept, in seconds.
const KEPT_S: i64 = 3_600;
/// Fetches for one account per minute that were not answered from memory.
const FETCHES_PER_MINUTE: u32 = 10;

type File = Arc<OnceCell<(Timestamp, HttpAnswer)>>;

/// The files.
pub(super) struct Fetched {
    files: Mutex<Bounded<String, File>>,
    budget: PerMinute,
}

impl Default for Fetched {
    fn default() -> Self {
        Self { files: Mutex::new(Bounded::new(FILES_MAX)), budget: PerMinute::new(FETCHES_PER_MINUTE) }
    }
}

/// A fetch that brought nothing to keep.
enum Miss {
    /// An answer, but not the file.
    Answered(HttpAnswer),
    /// No answer.
    Failed(Error),
}

impl Fetched {
    /// The answer to `call`, from memory when it was 200 within the last hour.
    pub(super) async fn get(
        &self,
        ports: &Ports,
        account: AccountId,
        call: HttpCall,
        now: Timestamp,
    ) -> Result<Answer, Error> {
        let url = call.url.clone();
        let file = self.file(&url, now);
        let fetch = || async {
            if !self.budget.take(account, now) {
                return Err(Miss::Failed(not_now(
                    "Too many different certificates were asked for; try again in a minute.",
                )));
            }
            match ports.transport.exchange(Arc::new(Call::Http(call))).await {
                Ok(Answer::Http(answer)) if answer.status == 200 && !answer.is_truncated => Ok((now, answer)),
                Ok(Answer::Http(answer)) => Err(Miss::Answered(answer)),
                Ok(_) => Err(Miss::Failed(not_now("What verifies the request was not fetched over HTTP."))),
                Err(broken) => {
                    tracing::warn!(%broken, account.id = %account, "Cannot fetch what verifies a callback");
                    Err(Miss::Failed(not_now("What verifies the request could not be fetched now.")))
                }
            }
        };
        match file.get_or_try_init(fetch).await {
            Ok((_, answer)) => Ok(Answer::Http(answer.clone())),
            Err(miss) => {
                self.files().remove(&url);
                match miss {
                    Miss::Answered(answer) => Ok(Answer::Http(answer)),
                    Miss::Failed(error) => Err(error),
                }
            }
        }
    }

    fn file(&self, url: &str, now: Timestamp) -> File {
        let mut files = self.files();
        if let Some(file) = files.get(url) {
            let is_old = file.get().is_some_and(|(at, _)| at.plus_seconds(KEPT_S) <= now);
            if !is_old {
                return Arc::clone(file);
            }
        }
        let file = File::default();
        files.insert(url.to_owned(), Arc::clone(&file));
        file
    }

    fn files(&self) -> std::sync::MutexGuard<'_, Bounded<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
