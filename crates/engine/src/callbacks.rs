//! Providers' requests to us: verified, stored as they came, and applied, before they are answered.
//!
//! A request names only the account. It is checked the provider's way with that account's own secrets; nothing of it is believed before. What is verified is written in one
//! transaction: the raw request, what it told us (through [`crate::apply`]), messages people sent, and the events of both. Requests that arrive together
//! share the transaction, and each is answered after the commit, so a provider that got its 2xx never has to be asked again. A repeated request finds its
//! key there and changes nothing. A request that is not the provider's is answered 401 and leaves a line in the log, so many a minute and no more.
//!
//! Reports find their message by the attempt id we gave the provider to echo, or by the provider's own id. Those about an id that is not known yet are kept: the provider may be
//! quicker than our own commit of its answer. A message of another tenant, or one that never went through the account, is never touched.

mod fetch;
mod follow;
mod log;
pub mod mail;
mod matching;
mod record;
mod write;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use connectors::{Cx, Inbound, Observed, Reply, Request, Verdict};
use model::{AccountId, CallbackId, Timestamp};
use store::callback_log::Callback;
use tokio::sync::Semaphore;

pub(crate) use self::write::{Committed, Item, write};
use self::{fetch::Fetched, record::Logged, write::Written};
pub use self::{
    log::{CallbackQuery, CallbackView, VerdictWord},
    matching::rematch,
};
use crate::{
    Engine, Error, ErrorKind,
    batcher::Batcher,
    bounded::Bounded,
    directory::{Account, Tenant},
};

/// Largest body read, in bytes: every provider's batches of events stay far below.
pub const BODY_MAX: usize = 1 << 20;
/// Requests and what they tell in one transaction: bounds how long the first of them waits for the last.
pub(crate) const COMMIT_MAX: usize = 512;
/// Requests of one account that failed verification and are still written down, per minute: enough to find a wrong secret by, too few to fill a disk.
const INVALID_PER_MINUTE: u32 = 30;
/// Accounts whose counts of this minute are remembered.
const COUNTED_MAX: usize = 4_096;
/// Calls that requests asked for under way at once.
const FOLLOWS_MAX: usize = 64;

/// A provider's request, raw.
#[derive(Debug, Clone, Default)]
pub struct OwnedRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// What follows `/hooks/{account_id}` in the path, such as `/inbound`; empty for none.
    pub path: String,
    /// The query string as sent, without the question mark.
    pub query: String,
    /// Headers with lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body as sent.
    pub body: Bytes,
}

impl OwnedRequest {
    fn as_request(&self) -> Request<'_> {
        Request { method: &self.method, path: &self.path, query: &self.query, headers: &self.headers, body: &self.body }
    }
}

/// What this node remembers about callbacks, and the door to their transactions.
pub(crate) struct Callbacks {
    batcher: Batcher<Item, Committed>,
    fetched: Fetched,
    invalid: PerMinute,
    follows: Arc<Semaphore>,
}

impl Callbacks {
    /// Nothing remembered yet.
    pub(crate) fn new(batcher: Batcher<Item, Committed>) -> Self {
        Self {
            batcher,
            fetched: Fetched::default(),
            invalid: PerMinute::new(INVALID_PER_MINUTE),
            follows: Arc::new(Semaphore::new(FOLLOWS_MAX)),
        }
    }
}

/// Counts per account and minute.
struct PerMinute {
    max: u32,
    counts: Mutex<Bounded<AccountId, (i64, u32)>>,
}

impl PerMinute {
    fn new(max: u32) -> Self {
        Self { max, counts: Mutex::new(Bounded::new(COUNTED_MAX)) }
    }

    /// Counts one, unless this minute is full.
    fn take(&self, account: AccountId, now: Timestamp) -> bool {
        let minute = now.as_seconds().div_euclid(60);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let used = counts.get(&account).filter(|(of, _)| *of == minute).map_or(0, |(_, used)| *used);
        if used < self.max {
            counts.insert(account, (minute, used + 1));
        }
        used < self.max
    }
}

/// Whose request this is.
struct Addressee {
    tenant: Arc<Tenant>,
    account: Arc<Account>,
    inbound: &'static dyn Inbound,
}

impl Engine {
    /// Takes a provider's request about an account (`/hooks/{account_id}` and below) and answers what the provider wants to hear, once it is on disk.
    ///
    /// 404 for an account that is unknown, deleted or never called; 413 over [`BODY_MAX`]; 401 when it cannot be verified; 503 when it cannot be decided or stored
    /// now, so that the provider tries again.
    pub async fn callback(
        &self,
        account_id: AccountId,
        request: OwnedRequest,
        peer: Option<IpAddr>,
    ) -> Result<Reply, Error> {
        if request.body.len() > BODY_MAX {
            let detail = format!("A callback has at most {BODY_MAX} bytes.");
            return Err(Error::new(ErrorKind::TooLarge, "body_too_large", detail));
        }
        let to = self.addressee(account_id).await?;
        let now = self.ports.clock.now();
        let cx = self.callback_cx(&to.account, now);
        let id = CallbackId::from_ulid(self.ports.ids.ulid(now));
        let name = to.account.connector.spec().id;
        if let Some(reason) = self.doubt(&to, cx, &request).await? {
            metrics::counter!("tidings_callbacks_total", "connector" => name, "verdict" => "invalid").increment(1);
            self.log_invalid(&to, id, &request, &reason, peer, now).await;
            return Err(Error::new(
                ErrorKind::Unauthorized,
                "callback_not_verified",
                "This request could not be verified as the provider's. The callback log of the account says why.",
            ));
        }
        let raw = request.as_request();
        let (logged, observed) = match to.inbound.read(&cx, &raw) {
            Ok(observed) => (Logged::Valid, observed),
            Err(failure) => (Logged::Unreadable(failure.detail), Vec::new()),
        };
        let row = record::row(&to.account, id, &request, logged, Some(record::dedupe(to.inbound, &raw)), now);
        match self.commit_callback(&to, row, observed, now).await? {
            (Written::New, calls) => {
                metrics::counter!("tidings_callbacks_total", "connector" => name, "verdict" => "valid").increment(1);
                self.follow(&to.account, id, calls);
            }
            (Written::Repeated, _) => {
                metrics::counter!("tidings_callbacks_total", "connector" => name, "verdict" => "repeated").increment(1);
            }
        }
        Ok(to.inbound.reply(&cx, &raw))
    }

    async fn addressee(&self, account_id: AccountId) -> Result<Addressee, Error> {
        let nobody = || Error::not_found("callback address");
        let (tenant, account) = self.directory.account_by_id(account_id).await?.ok_or_else(nobody)?;
        let inbound = account.connector.inbound().ok_or_else(nobody)?;
        if let Some(trouble) = &account.trouble {
            tracing::error!(account.id = %account_id, trouble, "A callback cannot be verified: the account's settings cannot be opened");
            return Err(not_now("The account's settings cannot be opened, so the request cannot be verified."));
        }
        Ok(Addressee { tenant, account, inbound })
    }

    fn callback_cx<'a>(&'a self, account: &'a Account, now: Timestamp) -> Cx<'a> {
        Cx {
            settings: &account.values,
            from: account.from.as_deref(),
            base_url: self.config.base_urls.get(account.connector.spec().id).map(String::as_str),
            callback_url: &account.callback_url,
            now,
            nonce: self.ports.ids.ulid(now),
        }
    }

    /// Why a request is not the provider's; `None` when it is.
    async fn doubt(&self, to: &Addressee, cx: Cx<'_>, request: &OwnedRequest) -> Result<Option<String>, Error> {
        let raw = request.as_request();
        let wanted = match to.inbound.verify(&cx, &raw, None) {
            Verdict::Valid => return Ok(None),
            Verdict::Invalid(reason) => return Ok(Some(reason)),
            Verdict::Fetch(call) => call,
        };
        let answer = self.callbacks.fetched.get(&self.ports, to.account.id, wanted, cx.now).await?;
        match to.inbound.verify(&cx, &raw, Some(&answer)) {
            Verdict::Valid => Ok(None),
            Verdict::Invalid(reason) => Ok(Some(reason)),
            Verdict::Fetch(_) => Ok(Some("the connector asks for more than one file to verify it".to_owned())),
        }
    }

    /// Writes down that somebody tried. That it cannot be written changes nothing about the answer.
    async fn log_invalid(
        &self,
        to: &Addressee,
        id: CallbackId,
        request: &OwnedRequest,
        reason: &str,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) {
        if !self.callbacks.invalid.take(to.account.id, now) {
            return;
        }
        let from = peer.map_or_else(String::new, |peer| format!(" (from {})", peer.to_canonical()));
        tracing::warn!(account.id = %to.account.id, reason, "A callback could not be verified");
        let row = record::row(&to.account, id, request, Logged::Invalid(format!("{reason}{from}")), None, now);
        if let Err(error) = self.commit_callback(to, row, Vec::new(), now).await {
            tracing::warn!(%error, "Cannot write down a callback that was refused");
        }
    }

    async fn commit_callback(
        &self,
        to: &Addressee,
        row: Callback,
        observed: Vec<Observed>,
        now: Timestamp,
    ) -> Result<(Written, Vec<model::Call>), Error> {
        let (item, calls) = Item::new(&to.tenant, &to.account, row, observed, now, &self.ports.ids);
        let weight = item.weight();
        let committed = self.callbacks.batcher.submit(item, weight).await;
        match committed.unwrap_or_else(|| Err(Error::internal("storing callbacks panicked"))) {
            Ok(written) => Ok((written, calls)),
            Err(error) => Err(error),
        }
    }
}

/// 503: the provider tries again.
fn not_now(detail: &str) -> Error {
    Error::new(ErrorKind::Unavailable, "callback_undecided", detail).with_retry_after_ms(5_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_a_measure_for_each_account() {
        let counts = PerMinute::new(2);
        let (one, two) = (AccountId::from_ulid(1), AccountId::from_ulid(2));
        let now = Timestamp::from_seconds(600);
        assert!(counts.take(one, now) && counts.take(one, now.plus_seconds(59)));
        assert!(!counts.take(one, now.plus_seconds(59)) && counts.take(two, now));
        assert!(counts.take(one, now.plus_seconds(60)));
    }
}
