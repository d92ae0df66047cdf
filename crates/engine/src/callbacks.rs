//! Providers' requests to us: verified, stored as they came, and applied, before they are answered.
//!
//! A request names only the account. It is checked the provider's way with that account's own secrets; nothing of it is believed before. What is verified is written in one
//! transaction: the raw request, what it told us (through [`crate::apply`]), messages people sent, and the events of both. Requests that arrive together
//! share the transaction, and each is answered after the commit, so a provider that got its 2xx never has to be asked again. A repeated request finds its
//! key there and changes nothing. A request that is not the provider's is answered 401 and leaves a line in the log, so many a minute and no more.
//!
//! Mails that people write come the same way, and are larger: only to addresses nobody can guess, a few at once ([`rooms`]). What a provider tells of and keeps is fetched before it is stored, and
//! files are stored before the message that names them.
//!
//! Reports find their message by the attempt id we gave the provider to echo, or by the provider's own id. Those about an id that is not known yet are kept: the provider may be
//! quicker than our own commit of its answer. A message of another tenant, or one that never went through the account, is never touched.

mod answers;
mod fetch;
mod files;
mod follow;
mod log;
pub mod mail;
mod matching;
pub(crate) mod record;
mod rooms;
mod write;

use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use connectors::{Cx, Inbound, NOT_FETCHED, Observed, Reply, Request, Verdict};
use model::{AccountId, Answer, Call, CallbackId, Failure, FailureKind, Timestamp};
use store::callback_log::Callback;
use tokio::sync::Semaphore;

use self::{fetch::Fetched, record::Logged, rooms::Rooms, write::Written};
pub(crate) use self::{
    log::NO_ACCOUNT,
    write::{Committed, Item, write},
};
pub use self::{
    log::{CallbackQuery, CallbackView, Told, Unchanged, VerdictWord},
    matching::rematch,
    rooms::Room,
};
use crate::{
    Engine, Error, ErrorKind,
    batcher::Batcher,
    bounded::Bounded,
    directory::{Account, Tenant},
    inbound::MailFile,
};

/// Largest body read of most requests, in bytes; mails that people write may be larger ([`Engine::callback_body_max`]).
pub const BODY_MAX: usize = connectors::CALLBACK_MAX;
/// Bytes of a body that the log keeps: of a mail, what it says without most of its files.
const LOGGED_MAX: usize = 256 * 1024;
/// Why a large request is not taken now.
const FULL: &str = "Too many mails are being taken at this moment.";
/// Calls made to fetch what a request tells of: a mail's texts, the list of its files, and as many of them as are kept.
const FETCHES_MAX: usize = 52;
/// Bytes fetched for one request: what one mail has at most.
const FETCHED_MAX: usize = 48 << 20;
/// Requests and what they tell in one transaction: bounds how long the first of them waits for the last.
pub(crate) const COMMIT_MAX: usize = 512;
/// Requests of one account that failed verification and are still written down, per minute: enough to find a wrong secret by, too few to fill a disk. As many are that are the provider's and were not
/// taken, whatever others send. With an account that verifies nothing, as its provider signs nothing, everything passes for the provider's, so there both are anybody's to use up.
const REFUSED_PER_MINUTE: u32 = 30;
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
    untaken: PerMinute,
    follows: Arc<Semaphore>,
    rooms: Arc<Rooms>,
}

impl Callbacks {
    /// Nothing remembered yet.
    pub(crate) fn new(batcher: Batcher<Item, Committed>) -> Self {
        Self {
            batcher,
            fetched: Fetched::default(),
            invalid: PerMinute::new(REFUSED_PER_MINUTE),
            untaken: PerMinute::new(REFUSED_PER_MINUTE),
            follows: Arc::new(Semaphore::new(FOLLOWS_MAX)),
            rooms: Arc::default(),
        }
    }

    /// Whether a request that was not taken is written down: so many of each account in a minute, and as many again of those that are the provider's.
    pub(crate) fn keeps_refused(&self, account: AccountId, is_providers: bool, now: Timestamp) -> bool {
        if is_providers { self.untaken.take(account, now) } else { self.invalid.take(account, now) }
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
    /// How large a request to an account's path may be, and room for it: 404 as for [`Engine::callback`], 503 while too many large ones are being taken. `announced` is how large it says it is:
    /// events may come to where mails come, and take no room.
    #[crate::boxed]
    pub async fn callback_body_max(
        &self,
        account_id: AccountId,
        path: &str,
        announced: Option<u64>,
    ) -> Result<(usize, Room), Error> {
        if announced.is_some_and(|size| size <= BODY_MAX as u64) {
            return Ok((BODY_MAX, Room::NONE));
        }
        let to = self.addressee(account_id).await?;
        let max = to.inbound.body_max(&self.callback_cx(&to.account, self.ports.clock.now()), path);
        if max <= BODY_MAX {
            return Ok((max, Room::NONE));
        }
        Ok((max, self.callbacks.rooms.enter(to.tenant.id).ok_or_else(|| not_now(FULL))?))
    }

    /// Takes a provider's request about an account (`/hooks/{account_id}` and below) and answers what the provider wants to hear, once it is on disk.
    ///
    /// 404 for an account that is unknown, deleted or never called; 413 over [`BODY_MAX`]; 401 when it cannot be verified; 503 when it cannot be decided or stored
    /// now, so that the provider tries again.
    #[crate::boxed]
    pub async fn callback(
        &self,
        account_id: AccountId,
        request: OwnedRequest,
        peer: Option<IpAddr>,
    ) -> Result<Reply, Error> {
        let to = self.addressee(account_id).await?;
        let now = self.ports.clock.now();
        let cx = self.callback_cx(&to.account, now);
        let max = to.inbound.body_max(&cx, &request.path);
        if request.body.len() > max {
            let detail = format!("A callback to this address has at most {max} bytes.");
            return Err(Error::new(ErrorKind::TooLarge, "body_too_large", detail));
        }
        let id = CallbackId::from_ulid(self.ports.ids.ulid(now));
        let name = to.account.connector.spec().id;
        if let Some(reason) = self.doubt(&to, cx, &request).await? {
            metrics::counter!("tidings_callbacks_total", "connector" => name, "verdict" => "invalid").increment(1);
            let from = peer.map_or_else(String::new, |peer| format!(" (from {})", peer.to_canonical()));
            self.log_refused(&to, id, &request, Logged::Invalid(format!("{reason}{from}")), now).await;
            return Err(Error::new(
                ErrorKind::Unauthorized,
                "callback_not_verified",
                "This request could not be verified as the provider's. The callback log of the account says why.",
            ));
        }
        let raw = request.as_request();
        let (read, room) = match self.missing(&to, &cx, &raw).await {
            Ok((answers, room)) => (to.inbound.read_with(&cx, &raw, &answers), room),
            Err(failure) => (Err(failure), Room::NONE),
        };
        let (logged, mut observed) = match read {
            Ok(observed) => (Logged::Valid, observed),
            Err(failure) if failure.code == NOT_FETCHED => {
                self.log_refused(&to, id, &request, Logged::Unreadable(failure.detail.clone()), now).await;
                return Err(not_now(&failure.detail));
            }
            Err(failure) => (Logged::Unreadable(failure.detail), Vec::new()),
        };
        let files = self.keep_files(to.tenant.id, &mut observed).await?;
        drop(room);
        let row = record::row(&to.account, id, &request, logged, Some(record::dedupe(to.inbound, &raw)), now);
        match self.commit_callback(&to, row, observed, files, now).await? {
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
        Cx { base_url: self.config.base_url(account), nonce: self.ports.ids.ulid(now), ..account.cx(now) }
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

    /// Fetches what a request tells of and does not hold, with the room it takes: a small notification may tell of as much as a large request holds.
    async fn missing(&self, to: &Addressee, cx: &Cx<'_>, raw: &Request<'_>) -> Result<(Vec<Answer>, Room), Failure> {
        let not_fetched = |detail: String| Failure::new(FailureKind::Unavailable, NOT_FETCHED, detail);
        let (mut answers, mut left, mut room) = (Vec::new(), FETCHED_MAX, Room::NONE);
        while let Some(mut call) = to.inbound.missing(cx, raw, &answers)? {
            if !room.is_some() {
                room = self.callbacks.rooms.enter(to.tenant.id).ok_or_else(|| not_fetched(FULL.to_owned()))?;
            }
            let mut is_shortened = false;
            if let Call::Http(http) = &mut call {
                is_shortened = http.answer_max > left;
                http.answer_max = http.answer_max.min(left);
            }
            let answer =
                self.ports.transport.exchange(Arc::new(call)).await.map_err(|broken| {
                    not_fetched(format!("What the request tells of could not be fetched: {broken}"))
                })?;
            let mut is_over = answers.len() == FETCHES_MAX;
            if let Answer::Http(http) = &answer {
                is_over |= http.body.len() > left || (is_shortened && http.is_truncated);
                left = left.saturating_sub(http.body.len());
            }
            if is_over {
                let detail =
                    format!("The request tells of more than {FETCHES_MAX} parts, or of more than {FETCHED_MAX} bytes.");
                return Err(Failure::new(FailureKind::Content, "too_large", detail));
            }
            answers.push(answer);
        }
        Ok((answers, room))
    }

    /// Writes down a request that changed nothing: that somebody tried, or that it is to come again. That it cannot be written changes nothing about the answer.
    async fn log_refused(
        &self,
        to: &Addressee,
        id: CallbackId,
        request: &OwnedRequest,
        logged: Logged,
        now: Timestamp,
    ) {
        let (reason, is_providers) = match &logged {
            Logged::Valid => return,
            Logged::Invalid(reason) => (reason, false),
            Logged::Unreadable(reason) => (reason, true),
        };
        if !self.callbacks.keeps_refused(to.account.id, is_providers, now) {
            return;
        }
        tracing::warn!(account.id = %to.account.id, reason, "A callback was not taken");
        let row = record::row(&to.account, id, request, logged, None, now);
        if let Err(error) = self.commit_callback(to, row, Vec::new(), Vec::new(), now).await {
            tracing::warn!(%error, "Cannot write down a callback that was refused");
        }
    }

    async fn commit_callback(
        &self,
        to: &Addressee,
        row: Callback,
        observed: Vec<Observed>,
        files: Vec<Vec<MailFile>>,
        now: Timestamp,
    ) -> Result<(Written, Vec<Call>), Error> {
        let (item, calls) = Item::new(&to.tenant, &to.account, row, (observed, files), now, &self.ports.ids);
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
