//! What messages were charged, by the quarter of an hour they were accepted in and the place they were sent to: what stands on invoices.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, Timestamp};
use store::{
    Db,
    charge_counters::{self, Counts, Key, SLOT_S},
    messages::Message,
    recounts,
};

use super::{Found, Page, differing, each, history::History, read};
use crate::{Error, country, money::ledger::SETTLED};

/// What a tenant's messages were charged, by the place it is summed at.
#[derive(Default)]
pub(super) struct Recount {
    sums: BTreeMap<Key, Counts>,
    /// Quarters of an hour that an upgrade summed, without the places: only the whole is known.
    wholes: BTreeSet<Timestamp>,
    /// Places of messages of which it was not kept what each way cost: by quarter of an hour, only what they come to together is known.
    together: BTreeMap<Timestamp, Together>,
    /// Quarters of an hour that seem to differ.
    suspects: BTreeSet<Timestamp>,
    /// An upgrade did not find all messages.
    is_lost: bool,
}

#[derive(Default)]
struct Together {
    places: BTreeSet<Key>,
    /// It is not known either by how many ways they were charged, as their tenants were not billed all the time.
    is_uncounted: bool,
}

impl Recount {
    pub(super) fn add(&mut self, history: &History, m: &Message, page: &Page) {
        let Some(c) = page.charges.get(&m.id) else { return };
        let at = charge_counters::slot(m.created_at);
        let place = |channel: Channel, address: &str| Key {
            tenant_id: m.tenant_id,
            at,
            channel,
            country: country::text(channel, address),
        };
        let mut add = |key: Key, messages: i64, charged: i64| {
            *self.sums.entry(key).or_default() += Counts { messages, charged };
        };
        let now = place(m.channel, &m.address);
        let (mut own, mut older) = (0, Vec::new());
        for route in page.routes_of(m).filter(|route| route.sent_at.is_some()) {
            let place = place(route.channel, &route.address);
            match page.ways.get(&(m.id, route.position)) {
                Some(way) => {
                    own += way.charged;
                    add(place, 1, way.charged);
                }
                // It was left before ways had charges of their own, or while its tenant was not billed.
                None => {
                    add(place.clone(), 1, 0);
                    older.push(place);
                }
            }
        }
        let rest = c.charged_before - own;
        let before = older.first().unwrap_or(&now).clone();
        add(before.clone(), i64::from(older.is_empty() && rest != 0), rest);
        add(now.clone(), i64::from(c.state == SETTLED), c.charged - c.charged_before);
        if m.created_at < history.charges_summed {
            self.wholes.insert(at);
        }
        let is_uncounted = !older.is_empty() && history.has_changed_since(m.created_at);
        if is_uncounted || older.iter().any(|place| *place != before) {
            let together = self.together.entry(at).or_default();
            together.places.extend(older.into_iter().chain(is_uncounted.then_some(now)));
            together.is_uncounted |= is_uncounted;
        }
    }

    /// The sums of what is told apart: of places of which only what they come to is known, that.
    fn comparable(&self, sums: &BTreeMap<Key, Counts>) -> BTreeMap<(Timestamp, String), Counts> {
        let mut all: BTreeMap<(Timestamp, String), Counts> = BTreeMap::new();
        for (key, counts) in sums {
            let together = self.together.get(&key.at).filter(|together| together.places.contains(key));
            let (place, is_uncounted) = if self.wholes.contains(&key.at) {
                ("in all".to_owned(), true)
            } else if let Some(together) = together {
                ("for messages that left more than one way".to_owned(), together.is_uncounted)
            } else {
                let to = if key.country.is_empty() { "" } else { " to " };
                (format!("over {}{to}{}", key.channel, key.country), false)
            };
            let messages = if is_uncounted { 0 } else { counts.messages };
            *all.entry((key.at, place)).or_default() += Counts { messages, ..*counts };
        }
        all.retain(|_, counts| *counts != Counts::default());
        all
    }

    /// Where sums differ, and what they are.
    fn differences(&self, history: &History, kept: &BTreeMap<Key, Counts>) -> Vec<(Timestamp, String)> {
        let (counted, told) = (self.comparable(&self.sums), self.comparable(kept));
        let found = differing(&counted, &told)
            .into_iter()
            .filter(|((at, _), ..)| *at >= history.charges_summed || self.wholes.contains(at));
        let words = |((at, place), counted, told): (&(Timestamp, String), Option<&Counts>, Option<&Counts>)| {
            let (counted, told) = (counted.copied().unwrap_or_default(), told.copied().unwrap_or_default());
            let detail = format!(
                "{place} in the quarter of an hour from {at}: {} messages were charged {}, the sums say {} and {}",
                counted.messages, counted.charged, told.messages, told.charged
            );
            (*at, detail)
        };
        found.map(words).collect()
    }

    /// Holds the sums of a time against the messages, of which no more of it are expected, and lets go of what they came to.
    pub(super) async fn compare(
        &mut self,
        db: &Db,
        history: &History,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<(), Error> {
        let tenant = history.tenant;
        let kept = read(db, tenant, move |tx| Box::pin(recounts::charge_counters(tx, tenant, from, until)));
        let mut kept = kept.await?;
        // What an upgrade could not find the messages of is in no quarter of an hour; then the older ones are in none either.
        if history.charges_summed > Timestamp::EPOCH {
            self.is_lost |= kept.keys().any(|key| key.at == Timestamp::EPOCH);
            kept.retain(|key, _| key.at != Timestamp::EPOCH);
        }
        let later = self.take_from(until);
        let differences = self.differences(history, &kept);
        self.suspects.extend(differences.into_iter().map(|(at, _)| at));
        *self = Self { suspects: std::mem::take(&mut self.suspects), is_lost: self.is_lost, ..later };
        Ok(())
    }

    /// Takes out what is known of the time from an instant on.
    fn take_from(&mut self, at: Timestamp) -> Self {
        let sums = std::mem::take(&mut self.sums);
        let (later, sums) = sums.into_iter().partition(|(key, _)| key.at >= at);
        self.sums = sums;
        Self {
            sums: later,
            wholes: self.wholes.split_off(&at),
            together: self.together.split_off(&at),
            ..Self::default()
        }
    }

    /// Tells what differs, once everything was compared, counting what seems to once more. `late_s`: how much later than the clock a message's id may be, in seconds.
    pub(super) async fn tell(self, db: &Db, history: &History, late_s: i64, found: &mut Found) -> Result<(), Error> {
        for at in self.suspects.into_iter().filter(|at| !self.is_lost || *at >= history.charges_summed) {
            for (_, detail) in quarter(db, history, at, late_s).await? {
                found.add(Some(history.tenant), "charge", || detail);
            }
        }
        Ok(())
    }
}

/// Counts what messages of one quarter of an hour were charged again, in one snapshot, and says what differs.
async fn quarter(db: &Db, history: &History, at: Timestamp, late_s: i64) -> Result<Vec<(Timestamp, String)>, Error> {
    let (tenant, until, known) = (history.tenant, at.plus_seconds(SLOT_S), history.clone());
    read(db, tenant, move |tx| {
        Box::pin(async move {
            let mut recount = Recount::default();
            each(tx, tenant, (at, until), late_s, true, |page, m| recount.add(&known, m, page)).await?;
            let kept = recounts::charge_counters(tx, tenant, at, until).await?;
            Ok(recount.differences(&known, &kept))
        })
    })
    .await
}
