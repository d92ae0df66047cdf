//! Recovery: what processes that are gone left behind.
//!
//! Every process that leases work says every few seconds that it is alive. The attempts in flight of one that has not been seen for a while are applied as
//! unanswered: each message then goes its normal way (a retry that is marked as a possible duplicate, a question to the provider, or `unknown`), as its guarantee says.
//! A process that was only paused and comes back finds its attempts gone; `apply` records what it brings as a late answer.

use model::Timestamp;
use store::{Scope, inflight};

use crate::{Engine, Error, apply::Input};

/// Time between two signs of life, in milliseconds.
pub const BEAT_MS: u64 = 5_000;
/// Silence after which a process counts as gone, in milliseconds: six beats, so that a slow disk does not look like a death.
pub const GONE_AFTER_MS: i64 = 30_000;
/// Attempts recovered in one transaction.
const PAGE: i64 = 500;

/// Says that this process is alive.
#[crate::boxed]
pub async fn beat(engine: &Engine) -> Result<(), Error> {
    let (worker, now) = (engine.worker, engine.ports.clock.now());
    let was_known = engine
        .ports
        .db
        .write(Scope::System, move |tx| {
            Box::pin(async move {
                inflight::seen_at_most(tx, now.plus_millis(GONE_AFTER_MS), now).await?;
                inflight::seen(tx, worker, now).await
            })
        })
        .await?;
    if !was_known {
        tracing::info!("This process is now known as a worker");
    }
    Ok(())
}

/// Recovers the attempts of processes that are gone. `only_self_lives`: nobody else can be alive, as when a server has just locked its SQLite database; then nothing is
/// waited for. Answers how many attempts.
#[crate::boxed]
pub async fn recover(engine: &Engine, only_self_lives: bool) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let seen_before = if only_self_lives { now } else { now.plus_millis(-GONE_AFTER_MS) };
    if only_self_lives {
        // Nobody else lives: forget everybody, so that their flights are abandoned ones.
        engine.ports.db.write(Scope::System, move |tx| Box::pin(async move { inflight::forget_all(tx).await })).await?;
    }
    let mut recovered = 0;
    loop {
        let flights = engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { inflight::abandoned(tx, seen_before, PAGE).await }))
            .await?;
        if flights.is_empty() {
            break;
        }
        let count = flights.len();
        engine
            .applies
            .submit(Input::Abandoned(flights), count)
            .await
            .unwrap_or_else(|| Err(Error::internal("recovery panicked")))?;
        recovered += count as u64;
    }
    if recovered > 0 {
        tracing::warn!(attempts = recovered, "Recovered attempts whose process is gone");
        metrics::counter!("tidings_attempts_recovered_total").increment(recovered);
    }
    Ok(recovered)
}

/// Says goodbye, and forgets processes that are long gone.
#[crate::boxed]
pub async fn leave(engine: &Engine, is_leaving: bool) -> Result<(), Error> {
    let worker = is_leaving.then_some(engine.worker);
    let seen_before = Timestamp::plus_millis(engine.ports.clock.now(), -2 * GONE_AFTER_MS);
    Ok(engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(async move { inflight::forget(tx, worker, seen_before).await }))
        .await?)
}
