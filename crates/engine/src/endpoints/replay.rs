//! Replays: stored events queued again for one endpoint, with their own ids, after a receiver was away or lost something.

use model::{EndpointId, TenantId, Timestamp};
use serde::Deserialize;
use store::{
    Scope, Tx,
    events::{self, Event, Place},
};
use utoipa::ToSchema;

use super::{event_types, find_active, nudge, view::ReplayQueued, writer};
use crate::{
    Engine, Error,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page, writes,
    writes::Writes,
};

/// Events queued by one call at most: a minute's work for a good receiver.
pub const REPLAY_MAX: usize = 10_000;
/// Events read and queued in one transaction: other writers wait no longer than for a batch of messages.
const PAGE: i64 = 500;
/// Pages read by one call at most, so that a filter that hardly anything passes does not read a week of events at a stretch.
const PAGES_MAX: u32 = 200;
/// The list its cursors belong to.
const LIST: &str = "webhook-replay";

/// Which events are sent again.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayRequest {
    /// Events that happened at or after. Events are kept for 7 days.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// And before; until now when left out.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Only these, as filters; the endpoint's own when left out.
    #[serde(default)]
    pub events: Option<Vec<String>>,
    /// `next_cursor` of the call before, to go on with the rest.
    #[serde(default)]
    pub cursor: Option<String>,
}

struct Wanted {
    tenant: TenantId,
    endpoint: EndpointId,
    filters: Vec<String>,
    since: Timestamp,
    until: Timestamp,
}

/// What one look at the stored events brought.
struct Found {
    events: Vec<Event>,
    /// Where to go on; `None` at the end.
    next: Option<Place>,
}

/// Queues stored events again for an endpoint, up to [`REPLAY_MAX`]. Answers 202 with how many, and where to go on. Killed half-way, some are queued; the receiver
/// drops what it gets twice by the event's id. Needs the scope `webhooks:write`.
#[crate::boxed]
pub async fn replay(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: EndpointId,
    request: ReplayRequest,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let until = request.until.unwrap_or(now).min(now);
    let mut faults = Faults::default();
    if request.since >= until {
        faults.add("/since", "must be earlier than `until` and than now");
    }
    if let Some(filters) = &request.events {
        event_types::add_faults(&mut faults, filters, "/events");
    }
    faults.end()?;
    let cursor = request.cursor.as_deref().map(|text| page::read_cursor(LIST, text)).transpose()?;
    if let Some(reply) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(reply);
    }
    let since = request.since;
    let read = engine.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let row = find_active(tx, tenant, id).await?;
            let place = match cursor {
                Some(number) => Place::from_number(number),
                None => events::before_time(tx, since).await?,
            };
            Ok::<_, Error>((row, place))
        })
    });
    let (row, mut place) = read.await?;
    let filters = request.events.unwrap_or_else(|| row.events.split_whitespace().map(str::to_owned).collect());
    let wanted = Wanted { tenant, endpoint: id, filters, since, until };

    // All pages but the last are written by themselves; the last one with the answer, so that a repeated request finds it.
    let (mut queued, mut pages) = (0, 1);
    let last = loop {
        let found = look(engine, &wanted, place, REPLAY_MAX - queued).await?;
        let is_full = queued + found.events.len() >= REPLAY_MAX || pages == PAGES_MAX;
        let Some(next) = found.next.filter(|_| !is_full) else { break found };
        queued += found.events.len();
        queue(engine, &wanted, found.events, now).await?;
        (place, pages) = (next, pages + 1);
    };
    let answer = ReplayQueued {
        queued: (queued + last.events.len()) as u64,
        next_cursor: last.next.map(|place| page::write_cursor(LIST, place.number())),
    };
    let writes = writes_for(engine, &wanted, &last.events, now);
    let shard = engine.shard();
    let reply = once(engine.parts(), caller, repeat, 202, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            write(tx, &wanted, &writes, shard).await?;
            Ok(answer)
        })
    })
    .await?;
    nudge(engine, tenant, id);
    Ok(reply)
}

/// Reads one page and chooses up to `max` of its events.
async fn look(engine: &Engine, wanted: &Wanted, place: Place, max: usize) -> Result<Found, Error> {
    let tenant = wanted.tenant;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(events::after(tx, tenant, place, PAGE).await?) })
    });
    let page = read.await?;
    let is_end =
        page.len() < PAGE as usize || page.last().is_some_and(|(_, event)| events::is_past(event, wanted.until));
    let mut found = Found { events: Vec::new(), next: None };
    for (place, event) in page {
        if event.at >= wanted.since && event.at < wanted.until && writes::wants(&wanted.filters, &event.kind) {
            found.events.push(event);
        }
        found.next = Some(place);
        if found.events.len() == max {
            return Ok(found);
        }
    }
    found.next = found.next.filter(|_| !is_end);
    Ok(found)
}

fn writes_for(engine: &Engine, wanted: &Wanted, events: &[Event], now: Timestamp) -> Writes {
    let mut writes = Writes::default();
    for event in events {
        let content = writes.webhook_content(event);
        writes.webhook_message(event, wanted.endpoint, content, now, &engine.ports.ids);
    }
    writes
}

async fn queue(engine: &Engine, wanted: &Wanted, events: Vec<Event>, now: Timestamp) -> Result<(), Error> {
    if events.is_empty() {
        return Ok(());
    }
    let writes = writes_for(engine, wanted, &events, now);
    let (tenant, endpoint, shard) = (wanted.tenant, wanted.endpoint, engine.shard());
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            find_active(tx, tenant, endpoint).await?;
            Ok::<_, Error>(writes.write(tx, shard).await?)
        })
    });
    write.await?;
    nudge(engine, tenant, endpoint);
    Ok(())
}

async fn write(tx: &mut Tx, wanted: &Wanted, writes: &Writes, shard: i64) -> Result<(), Error> {
    find_active(tx, wanted.tenant, wanted.endpoint).await?;
    Ok(writes.write(tx, shard).await?)
}
