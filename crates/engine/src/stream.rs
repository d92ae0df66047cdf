//! The live stream of a tenant's events, as server-sent events (`GET /v1/stream`) and for `tidings tail`; outside of any tenant that of the operator's alerts.
//!
//! A stream is a place in the stored events, nothing more: it reads the next page when its reader has taken the last one, so a slow reader costs one page of memory and
//! can be away and come back with the id of the last event it saw. What happens at a commit is only a hint ([`Wakers::wake`]); a look at the database once a second for
//! all streams of this node together makes it right, and shows what other nodes wrote. A hint that is lost costs a second, never an event.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use model::{BoxFuture, EventId, TenantId, Timestamp};
use store::{
    Scope,
    events::{self, Event, Place},
};
use tokio::sync::watch;

use crate::{Engine, Error, ErrorKind, endpoints, keys::Caller, writes};

/// Streams of one node at most: each holds a connection and up to a page of events.
pub const STREAMS_MAX: usize = 1_000;
/// Streams of one tenant on one node at most: a dashboard per person of a team, not per customer.
pub const STREAMS_PER_TENANT_MAX: usize = 20;
/// Events read at once. At up to 20 KB each this bounds what a reader that does not read costs.
const PAGE: i64 = 64;
/// Without anything to tell, a comment is sent this often, in milliseconds, so that proxies keep the connection: they close idle ones after 30 to 60 s.
const HEARTBEAT_MS: i64 = 15_000;
/// A stream ends after this long, in milliseconds, and its reader comes back by itself: so a revoked key or a deleted tenant reads on for a quarter of an hour at most.
const OPEN_MAX_MS: i64 = 15 * 60_000;
/// How often this node looks for events it was not told of, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// Time between two reads of one stream at least, in milliseconds: a busy tenant's commits are told together, fifty times a second.
const READ_EVERY_MS: i64 = 20;
/// How long after a hint a stream reads once more on PostgreSQL, in milliseconds: an event is shown only when every earlier transaction has ended.
const SETTLE_MS: u64 = 50;
/// How long events are kept for streams and replays, in seconds: a week.
const KEPT_S: i64 = 7 * 86_400;
/// Events removed in one transaction, and transactions of one run.
const PURGE_PAGE: i64 = 2_000;
const PURGE_PAGES: u32 = 100;

/// What there is to follow outside of any tenant.
const OPERATORS: &str = "operator_alert.";

/// The place before a tenant's first event.
const BEGINNING: EventId = EventId::from_ulid(0);

/// One piece of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// An event, in the form endpoints get it too.
    Event {
        /// Its id: what the reader gives back as `Last-Event-ID`.
        id: EventId,
        /// Its type.
        event: String,
        /// JSON on one line: `type`, `id`, `timestamp` and `data`.
        data: String,
    },
    /// Where a stream that begins now begins: the newest event there is, so that a reader that loses its connection before the first event can still go on.
    Start {
        /// What the reader gives back as `Last-Event-ID`.
        id: EventId,
    },
    /// The reader asked to go on after an event that is no longer kept: what follows begins with the oldest there is, and something may be missing.
    Reset,
    /// Nothing happened; the connection lives.
    Heartbeat,
}

impl Frame {
    /// The frame as it goes over the wire (`text/event-stream`).
    pub fn to_wire(&self) -> String {
        match self {
            Self::Event { id, event, data } => format!("id: {id}\nevent: {event}\ndata: {data}\n\n"),
            // A block without data tells the reader the id and is no event to it.
            Self::Start { id } => format!("id: {id}\n\n"),
            Self::Reset => {
                "event: stream.reset\ndata: {\"type\":\"stream.reset\",\"data\":{\"detail\":\"The event to go on after is not kept any more (events are kept for 7 days). \
                 The stream begins with the oldest event there is.\"}}\n\n"
                    .to_owned()
            }
            Self::Heartbeat => ": heartbeat\n\n".to_owned(),
        }
    }
}

/// Wakes the streams of this node when their tenant has news, and counts them.
#[derive(Clone, Default)]
pub struct Wakers(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// How many streams there are: most commits happen while nobody listens, and then cost one look at this number.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tenants: HashMap<TenantId, Listening>,
    looked_at: Option<Timestamp>,
    is_closed: bool,
}

struct Listening {
    /// Counts hints; a stream that sees it change reads.
    news: watch::Sender<u64>,
    streams: usize,
    /// The newest event seen when this node looked last.
    newest: Place,
}

impl Wakers {
    /// Says that a tenant has news. Called after the commit.
    pub fn wake(&self, tenant: TenantId) {
        if self.0.count.load(Ordering::Acquire) == 0 {
            return;
        }
        if let Some(listening) = self.0.state().tenants.get(&tenant) {
            listening.news.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Ends all streams and refuses new ones: for the stop of the program.
    pub fn close(&self) {
        let mut state = self.0.state();
        state.is_closed = true;
        state.tenants.clear();
    }

    /// Streams on this node.
    pub fn len(&self) -> usize {
        self.0.count.load(Ordering::Acquire)
    }

    /// True without streams.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts a stream in, or refuses it; `whose`: what the one who asks calls the tenant.
    fn enter(&self, tenant: TenantId, whose: &str) -> Result<(Seat, watch::Receiver<u64>), Error> {
        let mut state = self.0.state();
        if state.is_closed {
            return Err(Error::new(ErrorKind::Unavailable, "stopping", "This server is stopping. Connect again.")
                .with_retry_after_ms(1_000));
        }
        if self.len() >= STREAMS_MAX {
            return Err(too_many(format!("This server has its {STREAMS_MAX} streams already.")));
        }
        let listening = state.tenants.entry(tenant).or_insert_with(|| Listening {
            news: watch::Sender::new(0),
            streams: 0,
            newest: Place::default(),
        });
        if listening.streams >= STREAMS_PER_TENANT_MAX {
            return Err(too_many(format!("{whose} has its {STREAMS_PER_TENANT_MAX} streams already.")));
        }
        listening.streams += 1;
        let news = listening.news.subscribe();
        self.0.count.fetch_add(1, Ordering::AcqRel);
        Ok((Seat { shared: Arc::clone(&self.0), tenant }, news))
    }

    /// The tenants to look at, when it is time to look: one stream of the node does it for all.
    fn begin_look(&self, now: Timestamp) -> Option<Vec<TenantId>> {
        let mut state = self.0.state();
        let is_time = state.looked_at.is_none_or(|at| now.millis_since(at).unsigned_abs() >= LOOK_MS);
        if !is_time {
            return None;
        }
        state.looked_at = Some(now);
        Some(state.tenants.keys().copied().collect())
    }

    fn end_look(&self, found: &[(TenantId, Place)]) {
        let mut state = self.0.state();
        for (tenant, newest) in found {
            let Some(listening) = state.tenants.get_mut(tenant) else { continue };
            if listening.newest != *newest {
                listening.newest = *newest;
                listening.news.send_modify(|count| *count = count.wrapping_add(1));
            }
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(detail: String) -> Error {
    Error::new(ErrorKind::Throttled, "too_many_streams", format!("{detail} Close one, or try again later."))
        .with_retry_after_ms(10_000)
}

/// A stream's place among the counted ones.
struct Seat {
    shared: Arc<Shared>,
    tenant: TenantId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        self.shared.count.fetch_sub(1, Ordering::AcqRel);
        if let Some(listening) = state.tenants.get_mut(&self.tenant) {
            listening.streams -= 1;
            if listening.streams == 0 {
                state.tenants.remove(&self.tenant);
            }
        }
    }
}

impl Engine {
    /// The newest of the tenant's events: what is read from now on, and a stream opened later after this one, miss nothing between them. Needs the scope `events:read`.
    #[crate::boxed]
    pub async fn newest_event(&self, caller: &Caller) -> Result<EventId, Error> {
        caller.need("events:read")?;
        let tenant = caller.need_tenant()?;
        let read = self
            .ports
            .db
            .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(events::newest(tx, tenant).await?) }));
        Ok(read.await?.map_or(BEGINNING, |(_, id)| id))
    }

    /// Opens a stream of the tenant's events: those after `last_event_id`, or without one those that happen from now on. `filters` are as an endpoint's; none
    /// means every event. Outside of any tenant the operator follows its alerts. Needs the scope `events:read`, and there `alerts:read` as well.
    pub async fn subscribe(
        self: &Arc<Self>,
        caller: &Caller,
        last_event_id: Option<EventId>,
        filters: &[String],
    ) -> Result<Subscription, Error> {
        caller.need_owner("events:read")?;
        if !filters.is_empty() {
            endpoints::check_events(filters, "/events")?;
        }
        let (tenant, filters, whose) = match caller.tenant {
            Some(tenant) => (tenant, filters.to_vec(), "This tenant"),
            None => {
                let tenant = self.told_of_the_operators(caller).await?;
                (tenant, of_the_operators(filters)?, "The tenant that `mail_tenant` of the configuration names")
            }
        };
        let (seat, news) = self.wakers.enter(tenant, whose)?;
        let read = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                Ok::<_, Error>(match last_event_id {
                    None => {
                        let (place, id) = events::newest(tx, tenant).await?.unwrap_or((Place::default(), BEGINNING));
                        (place, Some(Frame::Start { id }))
                    }
                    Some(BEGINNING) => (Place::default(), None),
                    Some(id) => match events::place_of(tx, tenant, id).await? {
                        Some(place) => (place, None),
                        None => (Place::default(), Some(Frame::Reset)),
                    },
                })
            })
        });
        let (place, first) = read.await?;
        Ok(Subscription {
            engine: Arc::clone(self),
            tenant,
            filters,
            place,
            waiting: first.into_iter().collect(),
            news,
            is_behind: true,
            read_at: Timestamp::EPOCH,
            told_at: self.ports.clock.now(),
            opened_at: self.ports.clock.now(),
            timer: None,
            _seat: seat,
        })
    }

    /// The tenant whose events the operator's alerts are: the one its letters leave through.
    async fn told_of_the_operators(&self, caller: &Caller) -> Result<TenantId, Error> {
        caller.need("alerts:read")?;
        let missing = |why: &str| {
            let detail = format!(
                "Outside of a tenant there are only the operator's alerts to follow, and {why}. Set `mail_tenant` of the configuration to a tenant of your own, \
                 which is told of them from then on; or name the tenant whose events you want in the header `Tidings-Tenant: ten_…`."
            );
            Error::new(ErrorKind::Malformed, "tenant_required", detail)
        };
        let tenant = self.config.mail_tenant.ok_or_else(|| missing("no tenant is told of them"))?;
        match self.directory.tenant(tenant).await? {
            Some(_) => Ok(tenant),
            None => Err(missing("the tenant that is to be told of them is not there any more")),
        }
    }

    /// Removes events older than a week, in bounded steps. Run every minute; killed anywhere, the next run carries on.
    #[crate::boxed]
    pub async fn purge_events(&self, now: Timestamp) -> Result<u64, Error> {
        let before = now.plus_seconds(-KEPT_S);
        let mut removed = 0;
        for _ in 0..PURGE_PAGES {
            let purge = self.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { Ok::<_, Error>(events::purge(tx, before, PURGE_PAGE).await?) })
            });
            let step = purge.await?;
            removed += step;
            if step < PURGE_PAGE.unsigned_abs() {
                break;
            }
        }
        Ok(removed)
    }

    /// Looks for events of all streams' tenants, unless that was done within the last second, and wakes those that have some.
    async fn look_for_news(&self) -> Result<(), Error> {
        let Some(tenants) = self.wakers.begin_look(self.ports.clock.now()) else { return Ok(()) };
        let read = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(events::newest_of(tx, &tenants).await?) })
        });
        self.wakers.end_look(&read.await?);
        Ok(())
    }
}

/// The filters of a stream outside of any tenant: of that tenant's events the operator's alerts only.
fn of_the_operators(filters: &[String]) -> Result<Vec<String>, Error> {
    let (all, every) = (format!("{OPERATORS}*"), |filter: &String| filter == "*");
    if let Some(place) = filters.iter().position(|filter| !every(filter) && !filter.starts_with(OPERATORS)) {
        let detail = format!(
            "outside of a tenant there are only the operator's alerts: write `{all}`, or name a tenant in the header `Tidings-Tenant: ten_…`"
        );
        return Err(Error::invalid(format!("/events/{place}"), detail));
    }
    Ok(if filters.is_empty() || filters.iter().any(every) { vec![all] } else { filters.to_vec() })
}

/// An open stream. Dropping it closes it.
pub struct Subscription {
    engine: Arc<Engine>,
    tenant: TenantId,
    filters: Vec<String>,
    place: Place,
    waiting: VecDeque<Frame>,
    news: watch::Receiver<u64>,
    /// True while there may be events after `place`.
    is_behind: bool,
    read_at: Timestamp,
    told_at: Timestamp,
    opened_at: Timestamp,
    /// The running wait and what follows it, kept so that a caller who gives up on `next` and calls again does not begin a new one.
    timer: Option<(Then, BoxFuture<'static, ()>)>,
    _seat: Seat,
}

/// What a stream does when its wait is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Read: there was a hint.
    Read,
    /// Wait again: news of all streams were looked for.
    Look,
}

impl Subscription {
    /// The next frame, as soon as there is one; `None` when the server stops or the stream was open for long enough. May be dropped and called again without losing anything.
    #[crate::boxed]
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            let open_ms = self.engine.ports.clock.now().millis_since(self.opened_at).saturating_abs();
            if self.news.has_changed().is_err() || open_ms >= OPEN_MAX_MS {
                return None;
            }
            if let Some(frame) = self.waiting.pop_front() {
                self.told_at = self.engine.ports.clock.now();
                return Some(frame);
            }
            if self.is_behind {
                if let Err(error) = self.read().await {
                    tracing::warn!(%error, "A stream cannot read events; it tries again");
                    self.is_behind = false;
                }
            } else if self.engine.ports.clock.now().millis_since(self.told_at).saturating_abs() >= HEARTBEAT_MS {
                self.waiting.push_back(Frame::Heartbeat);
            } else {
                self.wait().await;
            }
        }
    }

    /// Waits for a hint or the time to look.
    async fn wait(&mut self) {
        let (then, timer) =
            self.timer.get_or_insert_with(|| (Then::Look, Box::pin(look_later(Arc::clone(&self.engine)))));
        let then = *then;
        tokio::select! {
            _ = self.news.changed(), if then == Then::Look => self.hinted(),
            () = timer => {
                self.timer = None;
                self.is_behind |= then == Then::Read;
            }
        }
    }

    /// Reads at once, or shortly when it has just read.
    fn hinted(&mut self) {
        let clock = &self.engine.ports.clock;
        let since_ms = clock.now().millis_since(self.read_at).saturating_abs();
        self.is_behind = since_ms >= READ_EVERY_MS;
        self.timer = if !self.is_behind {
            Some((Then::Read, clock.sleep((READ_EVERY_MS - since_ms).unsigned_abs())))
        } else if self.engine.ports.db.dialect() == store::Dialect::Postgres {
            Some((Then::Read, clock.sleep(SETTLE_MS)))
        } else {
            None
        };
    }

    /// Reads the next page. A page that is not full is the last one for now.
    async fn read(&mut self) -> Result<(), Error> {
        let (tenant, place) = (self.tenant, self.place);
        // Hints from here on may be about events this read does not see.
        self.news.mark_unchanged();
        self.read_at = self.engine.ports.clock.now();
        let read = self.engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { Ok::<_, Error>(events::after(tx, tenant, place, PAGE).await?) })
        });
        let page = read.await?;
        self.is_behind = page.len() as i64 == PAGE;
        for (place, event) in page {
            self.place = place;
            if self.filters.is_empty() || writes::wants(&self.filters, &event.kind) {
                self.waiting.push_back(frame(event));
            }
        }
        Ok(())
    }
}

/// Looks for news when it is time to.
async fn look_later(engine: Arc<Engine>) {
    engine.ports.clock.sleep(LOOK_MS).await;
    if let Err(error) = engine.look_for_news().await {
        tracing::warn!(%error, "Streams cannot look for news; they try again");
    }
}

fn frame(event: Event) -> Frame {
    let data = writes::webhook_body(&event);
    debug_assert!(!data.contains(['\n', '\r']), "JSON we write has no line breaks");
    Frame::Event { id: event.id, event: event.kind, data }
}
