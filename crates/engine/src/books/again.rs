//! Looking again, sooner than the daily check, at what it found: an alert about the books ends soon after somebody mended them, and not a day later.
//!
//! Only the tenants something was found at are counted again, and all invoices. What that costs is bounded: with more than [`TENANTS_MAX`] of them something is wrong everywhere, which the daily
//! check tells of, and the next look waits [`REST`] times as long as this one took. Nothing is told to tenants: they heard of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::TenantId;
use store::{Scope, installation, tenants};

use super::{CHECKED_MS, FOUND, Found, bills, findings_of, history::Prices, look};
use crate::{Engine, Error, analytics, vault::OPERATOR};

/// Under which name the installation keeps when it is looked again, in milliseconds since 1970.
const AGAIN: &str = "books_again_at";
/// Time between two looks at least, in milliseconds: a little less than the period of the job, which is an hour.
const EVERY_MS: i64 = 3_000_000;
/// How many times as long as a look took nothing is looked at again: so it takes a twentieth of the time of one core at most.
const REST: i64 = 20;
/// Tenants that are looked at again.
const TENANTS_MAX: usize = 50;

/// Looks again at whom something was found at, if it is time to. Answers whether it did. Run every hour, by whichever node comes first.
#[crate::boxed]
pub async fn again(engine: &Arc<Engine>) -> Result<bool, Error> {
    let now = engine.ports.clock.now().as_millis();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let Some(found) = installation::find(tx, FOUND).await? else { return Ok(None) };
            let whose: BTreeMap<TenantId, i64> = serde_json::from_str(&found).map_err(Error::internal)?;
            let is_found = whose.get(&OPERATOR).is_some_and(|total| *total > 0);
            let whose: BTreeSet<TenantId> = whose.into_keys().filter(|tenant| *tenant != OPERATOR).collect();
            if !is_found || whose.len() > TENANTS_MAX || analytics::is_pending(tx).await? {
                return Ok(None);
            }
            // Another node begins no second look while this one lasts, unless it lasts for a day.
            let until = (now + CHECKED_MS).to_string();
            let is_ours = match installation::find(tx, AGAIN).await? {
                None => installation::claim(tx, AGAIN, &until).await?,
                // The clock may have been set back since.
                Some(at) if at.parse().is_ok_and(|at: i64| (now + 1..=now + CHECKED_MS).contains(&at)) => false,
                Some(at) => installation::replace(tx, AGAIN, &at, &until).await?,
            };
            Ok::<_, Error>(is_ours.then_some((found, whose)))
        })
    });
    let Some((before, whose)) = write.await? else { return Ok(false) };
    let looked = look_at(engine, &whose).await;
    let took_ms = engine.ports.clock.now().as_millis() - now;
    let counts = looked.as_ref().ok().map(|found| findings_of(found.counts(), found.count()));
    let total = counts.as_ref().map(|counts| counts[&OPERATOR]);
    let next = (now + took_ms + (REST * took_ms).clamp(EVERY_MS, CHECKED_MS)).to_string();
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut is_newest = false;
            if let Some(counts) = counts {
                let text = serde_json::to_string(&counts).map_err(Error::internal)?;
                // What the daily check found meanwhile is newer.
                is_newest = installation::replace(tx, FOUND, &before, &text).await?;
            }
            installation::put(tx, AGAIN, &next).await?;
            Ok::<_, Error>(is_newest)
        })
    });
    let is_newest = write.await?;
    looked?;
    if let Some(total) = total.filter(|_| is_newest) {
        tracing::info!(total, "Looked again at what did not add up in the books");
    }
    Ok(true)
}

/// Checks these tenants, as far as they are there, and all invoices.
async fn look_at(engine: &Engine, whose: &BTreeSet<TenantId>) -> Result<super::Verified, Error> {
    let db = &engine.ports.db;
    let (mut found, mut prices) = (Found::default(), Prices::read(db).await?);
    for tenant in whose.iter().copied() {
        let read =
            db.read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(tenants::find(tx, tenant).await?) }));
        // A bill outlives its tenant.
        if let Some(row) = read.await? {
            look(db, &row, &mut prices, &mut found).await?;
        }
    }
    bills::look(db, &mut found).await?;
    Ok(found.end())
}
