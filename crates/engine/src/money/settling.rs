//! What outcomes of messages come to: their charges, where those are kept, and what is moved in ledgers for them.

use std::collections::BTreeMap;

use model::{MessageId, TenantId, Timestamp};
use store::{
    Tx, charge_counters,
    credits::{self, Charge, Ledger},
    messages,
};

use super::{
    book::Category,
    charge::{Fact, InRow, Outcome, lock, price, shown, waits, write},
    ledger::{self, Open, RESERVED, SETTLED, Told},
};

/// What messages cost after they were settled.
#[derive(Default)]
pub(crate) struct Settled<'a> {
    /// What each of them is shown to cost.
    pub costs: BTreeMap<MessageId, i64>,
    /// What is still, or newly, set aside: to be written into their rows after those were.
    pub asides: Vec<(TenantId, MessageId, String)>,
    /// What their rows are to say they were charged.
    pub charges: messages::Charges<'a>,
    /// What ways they left were charged, by their numbers, where that is new or another amount.
    pub ways: BTreeMap<(MessageId, u32), Charge>,
}

/// Charges messages that were sent and gives back the price of those that will not be, in two steps. A tenant's transactions wait for each other at its ledger. So where what becomes of all prices
/// follows from what is set aside for them ([`ledger::is_foreseen`]), it is held from [`Settling::finish`] on only, and what is written of messages meanwhile waits for nobody.
pub(crate) struct Settling<'a> {
    outcomes: &'a BTreeMap<TenantId, Vec<Outcome>>,
    /// What the messages cost before, while their ledgers are not held yet.
    before: Option<Vec<Known<'a>>>,
    ledgers: BTreeMap<TenantId, Open>,
    moved: Moved<'a>,
}

/// A charge as it was before, and where it stood.
#[derive(Clone)]
struct Known<'a> {
    charge: Charge,
    place: Place<'a>,
}

impl<'a> Known<'a> {
    /// What is set aside, as its message's row says.
    const fn aside(charge: Charge, text: &'a str) -> Self {
        let place = if charge.may_stay { Place::First(text) } else { Place::Aside };
        Self { charge, place }
    }
}

/// Where a charge stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place<'a> {
    /// In its message's row, which says this, since that was accepted: it may stay there.
    First(&'a str),
    /// In its message's row, only set aside; what ways the message left were charged has a row.
    Aside,
    /// In its message's row, which was charged what was set aside.
    Kept,
    /// In a row of its own.
    Table,
}

/// What outcomes came to.
#[derive(Default)]
struct Moved<'a> {
    /// In the order of their messages.
    charges: Vec<Changed<'a>>,
    ways: BTreeMap<(MessageId, u32), Charge>,
    sums: BTreeMap<charge_counters::Key, charge_counters::Counts>,
}

/// A charge something became of.
#[derive(PartialEq, Eq)]
struct Changed<'a> {
    charge: Charge,
    /// Where it stood.
    place: Place<'a>,
    is_changed: bool,
    /// What its message's row says of it from now on.
    kept: Option<&'a str>,
}

impl Changed<'_> {
    /// True when it is to be written into a row of its own. What is only set aside stands in its message's row, as what was charged as it was set aside; what ways it left were charged does not.
    fn is_written(&self) -> bool {
        self.is_changed && self.kept.is_none() && (self.charge.state != RESERVED || self.charge.charged != 0)
    }

    /// True when there is no row of its own yet.
    const fn is_new(&self) -> bool {
        matches!(self.place, Place::First(_) | Place::Kept)
    }
}

impl<'a> Settling<'a> {
    /// Works out what messages cost.
    pub(crate) async fn begin(
        tx: &mut Tx,
        outcomes: &'a BTreeMap<TenantId, Vec<Outcome>>,
    ) -> Result<Self, store::Error> {
        let mut settling = Self { outcomes, before: None, ledgers: BTreeMap::new(), moved: Moved::default() };
        if let Some(charges) = if waits(tx) { foreseen(outcomes)? } else { None } {
            let scratch =
                |tenant: &TenantId| (*tenant, Open::new(Ledger::empty(*tenant, "", "", Timestamp::from_micros(0))));
            settling.moved = act(outcomes, charges.clone(), &mut outcomes.keys().map(scratch).collect())?;
            settling.before = Some(charges);
        } else {
            settling.ledgers = held(tx, outcomes).await?;
            let is_held = |tenant: &TenantId| settling.ledgers.contains_key(tenant);
            let charges = before(tx, outcomes.iter().filter(|(tenant, _)| is_held(tenant))).await?;
            settling.moved = act(outcomes, charges, &mut settling.ledgers)?;
        }
        Ok(settling)
    }

    /// What messages cost now.
    pub(crate) fn settled(&self) -> Settled<'a> {
        let charges = || self.moved.charges.iter().map(|changed| &changed.charge);
        let aside = |charge: &Charge| charge.to_aside().map(|aside| (charge.tenant_id, charge.message_id, aside));
        let changed = self.moved.charges.iter().filter(|changed| changed.is_changed);
        Settled {
            costs: charges().map(|charge| (charge.message_id, shown(charge))).collect(),
            asides: charges().filter_map(aside).collect(),
            charges: changed.map(|changed| (changed.charge.message_id, changed.kept)).collect(),
            ways: self.moved.ways.clone(),
        }
    }

    /// Writes what was charged and given back, and moves it. What else all transactions of a tenant write to comes after this, so that two of them do not wait for each other.
    pub(crate) async fn finish(self, tx: &mut Tx) -> Result<(), store::Error> {
        let Self { outcomes, before, mut ledgers, mut moved } = self;
        let written = moved.charges.iter().filter(|changed| changed.is_written());
        let (new, again): (Vec<_>, Vec<_>) = written.partition(|changed| changed.is_new());
        credits::insert_charges(tx, new.into_iter().map(|changed| &changed.charge)).await?;
        credits::put_charges(tx, again.into_iter().map(|changed| &changed.charge)).await?;
        if let Some(before) = before {
            ledgers = held(tx, outcomes).await?;
            let again = act(outcomes, before, &mut ledgers)?;
            debug_assert!(ledgers.len() < outcomes.len() || again.charges == moved.charges, "foreseen otherwise");
            moved = again;
        }
        charge_counters::add_many(tx, &moved.sums).await?;
        write(tx, ledgers).await
    }
}

/// The ledgers of the tenants whose messages something became of.
async fn held(
    tx: &mut Tx,
    outcomes: &BTreeMap<TenantId, Vec<Outcome>>,
) -> Result<BTreeMap<TenantId, Open>, store::Error> {
    let Some(now) = outcomes.values().flatten().map(|outcome| outcome.fact.at()).max() else {
        return Ok(BTreeMap::new());
    };
    lock(tx, outcomes.keys().copied().collect(), now).await
}

/// What is set aside for the messages, in their order, when nothing but that says what becomes of it.
fn foreseen(outcomes: &BTreeMap<TenantId, Vec<Outcome>>) -> Result<Option<Vec<Known<'_>>>, store::Error> {
    let mut charges = Vec::new();
    for (tenant, outcomes) in outcomes {
        for outcome in outcomes {
            let InRow::Aside(aside) = &outcome.row else { return Ok(None) };
            let charge = Charge::of_aside(*tenant, outcome.id, aside)?;
            let is_foreseen = match &outcome.fact {
                Fact::Sent { segments, .. } => ledger::is_foreseen(&charge, *segments),
                Fact::Over { .. } => true,
                Fact::Told { .. } | Fact::Moved { .. } | Fact::Late { .. } => false,
            };
            if !is_foreseen {
                return Ok(None);
            }
            charges.push(Known::aside(charge, aside));
        }
    }
    charges.sort_unstable_by_key(|known| known.charge.message_id);
    let is_apart = charges.windows(2).all(|pair| pair[0].charge.message_id != pair[1].charge.message_id);
    Ok(Some(charges).filter(|_| is_apart))
}

/// Moves what follows from outcomes in ledgers that are held, of messages that cost so much before.
fn act<'a>(
    outcomes: &BTreeMap<TenantId, Vec<Outcome>>,
    charges: Vec<Known<'a>>,
    ledgers: &mut BTreeMap<TenantId, Open>,
) -> Result<Moved<'a>, store::Error> {
    let unchanged = |Known { charge, place }: Known<'a>| Changed { charge, place, is_changed: false, kept: None };
    let mut moved = Moved { charges: charges.into_iter().map(unchanged).collect(), ..Moved::default() };
    for (tenant, outcomes) in outcomes {
        let Some(open) = ledgers.get_mut(tenant) else { continue };
        for outcome in outcomes {
            let found = moved.charges.binary_search_by_key(&outcome.id, |changed| changed.charge.message_id);
            let Ok(at) = found else { continue };
            let changed = &mut moved.charges[at];
            let (charged, was_settled) = (changed.charge.charged, changed.charge.state == SETTLED);
            apply(open, changed, &mut moved.ways, &outcome.fact)?;
            let counts = charge_counters::Counts {
                messages: i64::from(!was_settled && changed.charge.state == SETTLED),
                charged: changed.charge.charged - charged,
            };
            if counts != charge_counters::Counts::default() {
                *moved.sums.entry(outcome.place.clone()).or_default() += counts;
            }
        }
    }
    Ok(moved)
}

/// What messages cost before, in their order: set aside or charged as their rows said, or charged or given back.
async fn before<'a>(
    tx: &mut Tx,
    outcomes: impl Iterator<Item = (&'a TenantId, &'a Vec<Outcome>)>,
) -> Result<Vec<Known<'a>>, store::Error> {
    let (mut charges, mut ended) = (Vec::new(), Vec::new());
    for (tenant, outcomes) in outcomes {
        for Outcome { id, row, .. } in outcomes {
            charges.push(match row {
                InRow::Aside(aside) => Known::aside(Charge::of_aside(*tenant, *id, aside)?, aside),
                InRow::Kept(kept) => Known { charge: Charge::of_kept(*tenant, *id, kept)?, place: Place::Kept },
                InRow::Nothing => {
                    ended.push((*tenant, *id));
                    continue;
                }
            });
        }
    }
    ended.sort_unstable();
    ended.dedup();
    let of_table = |charge| Known { charge, place: Place::Table };
    charges.extend(credits::charges(tx, &ended).await?.into_iter().map(of_table));
    // What became of one message in several steps began with the same.
    charges.sort_unstable_by_key(|known| known.charge.message_id);
    charges.dedup_by_key(|known| known.charge.message_id);
    Ok(charges)
}

/// Does what follows from one fact. `ways` are the charges of ways that were left, as far as this transaction knows them.
fn apply(
    open: &mut Open,
    changed: &mut Changed<'_>,
    ways: &mut BTreeMap<(MessageId, u32), Charge>,
    fact: &Fact,
) -> Result<(), store::Error> {
    let charge = &mut changed.charge;
    let before = charge.clone();
    match fact {
        Fact::Sent { segments, at } => open.settle(charge, &Told { segments: *segments, ..Told::default() }, *at),
        Fact::Over { at } => open.release(charge, *at),
        Fact::Told { told, at } if charge.state == SETTLED => open.settle(charge, told, *at),
        Fact::Told { told, .. } => told.note(charge),
        Fact::Moved { tenant, m, category, left, at } => {
            let category = category.unwrap_or_else(|| Category::parse(&charge.category));
            if let Some(Ok(price)) = price(tenant, m, category) {
                let way = open.move_on(charge, &price, category.map_or("", Category::as_str), m.segments, *at);
                ways.extend(left.zip(way).map(|(position, way)| ((m.id, position), way)));
            }
        }
        Fact::Late { position, charge: kept, told, at } => {
            let key = (charge.message_id, *position);
            if let (false, Some(kept)) = (ways.contains_key(&key), kept) {
                ways.insert(key, Charge::of_way(charge.tenant_id, charge.message_id, kept)?);
            }
            // Ways that were left before they had charges of their own stay as they were charged.
            if let Some(way) = ways.get_mut(&key) {
                open.settle_left(charge, way, told, *at);
            }
        }
    }
    if *charge != before {
        changed.kept = match changed.place {
            Place::First(aside) if !changed.is_changed && charge.is_kept(&before) => Some(aside),
            _ => None,
        };
        changed.is_changed = true;
    }
    Ok(())
}
