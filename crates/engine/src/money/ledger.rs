//! The arithmetic of a ledger: every movement goes from one book to another, so the books always add up, and prepaid credit never goes below zero.
//!
//! Promotional credit is spent before credit that was paid for, the grant that ends first first. What a message does not need after all is given back in the other order, and what comes back
//! to a grant that has ended ends with it.

use std::{borrow::Cow, collections::BTreeMap};

use model::{MessageId, Money, Timestamp};
use store::credits::{Charge, Entry, Grant, Ledger};

use super::{
    BillingMode,
    book::{Category, PARTS, Price, reported, up, usable},
};

/// The books of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// What can be spent and was paid for, or is to be.
    Available,
    /// What can be spent and was given for a time.
    Promo,
    /// What is set aside for messages under way.
    Reserved,
    /// What messages have cost.
    Revenue,
    /// What was bought: the other side of purchases and refunds.
    Purchased,
    /// The other side of adjustments.
    Adjusted,
    /// The other side of promotional credit.
    Granted,
}

impl Book {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Promo => "promotional",
            Self::Reserved => "reserved",
            Self::Revenue => "revenue",
            Self::Purchased => "purchased",
            Self::Adjusted => "adjusted",
            Self::Granted => "granted",
        }
    }

    const fn is_outside(self) -> bool {
        matches!(self, Self::Purchased | Self::Adjusted | Self::Granted)
    }
}

/// The states of a charge.
pub use store::credits::{RESERVED, SETTLED};
/// The message was not sent, and its price was given back.
pub const RELEASED: &str = "released";

/// By how many millionths what a message paid may differ from its price where that has fractions: each time it was put right, less than one was carried to another message.
pub const CARRIED_MAX: i128 = 10;

/// A ledger that is being written, with the entries made so far.
pub struct Open {
    /// As it is now.
    pub ledger: Ledger,
    /// What was added.
    pub entries: Vec<Entry>,
    /// Its promotional credit, what ends first first. Their rests come to the ledger's promotional credit.
    pub grants: Vec<Grant>,
    remainder_before: i64,
    /// What the grants had left when they were read, by their numbers.
    rests_before: BTreeMap<i64, i64>,
}

/// Why a movement is made.
#[derive(Clone)]
pub struct Cause {
    /// As a word.
    pub kind: &'static str,
    /// Because of which message.
    pub message: Option<MessageId>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// By whom.
    pub actor: Option<String>,
    /// When what caused it happened.
    pub at: Timestamp,
}

impl Cause {
    /// A movement because of a message.
    pub const fn message(kind: &'static str, id: MessageId, at: Timestamp) -> Self {
        Self { kind, message: Some(id), reference: None, actor: None, at }
    }
}

/// What the provider says of a message it took.
#[derive(Clone, Default)]
pub struct Told {
    /// In how many segments or minutes.
    pub segments: Option<u32>,
    /// What it takes for it.
    pub price: Option<Money>,
    /// What a message of the kind it billed costs, and that kind.
    pub kind: Option<(Price, Category)>,
}

impl Told {
    /// Writes it into a charge.
    pub fn note(&self, charge: &mut Charge) {
        if let Some(segments) = self.segments {
            charge.units = segments.into();
        }
        if let Some(price) = &self.price {
            (charge.reported, charge.reported_currency) = reported(price);
        }
        if let Some((price, category)) = &self.kind {
            rate(charge, price, category.as_str());
        }
    }
}

impl Open {
    /// Begins to write a ledger that never had promotional credit.
    pub const fn new(ledger: Ledger) -> Self {
        Self {
            remainder_before: ledger.remainder,
            ledger,
            entries: Vec::new(),
            grants: Vec::new(),
            rests_before: BTreeMap::new(),
        }
    }

    /// Takes note of the grants as they were read.
    pub fn with_grants(&mut self, grants: Vec<Grant>) {
        self.rests_before = grants.iter().map(|grant| (grant.number, grant.rest)).collect();
        self.grants = grants;
    }

    /// The grants that are to be written: new ones, and those of which something was taken or given back.
    pub fn changed_grants(&self) -> Vec<Grant> {
        let is_changed = |grant: &&Grant| self.rests_before.get(&grant.number) != Some(&grant.rest);
        self.grants.iter().filter(is_changed).cloned().collect()
    }

    /// True when there is something to be written.
    pub const fn has_changed(&self) -> bool {
        !self.entries.is_empty() || self.remainder_before != self.ledger.remainder
    }

    /// What can still be spent: without limit for those who pay afterwards, and nothing in debt, promotional credit neither.
    pub fn spendable(&self) -> i64 {
        match BillingMode::from_stored(&self.ledger.mode) {
            BillingMode::Prepaid => self.ledger.left().max(0),
            BillingMode::None | BillingMode::Postpaid => i64::MAX,
        }
    }

    /// What can be taken of what was paid for.
    pub fn takeable(&self) -> i64 {
        match BillingMode::from_stored(&self.ledger.mode) {
            BillingMode::Prepaid => self.ledger.available.max(0),
            BillingMode::None | BillingMode::Postpaid => i64::MAX,
        }
    }

    /// Moves an amount, which is positive, and notes it; nothing for 0. Promotional credit moves by [`Open::spend`] and [`Open::give_back`], which keep its grants.
    pub fn post(&mut self, from: Book, to: Book, amount: i64, cause: Cause) {
        if amount <= 0 {
            return;
        }
        // What comes in from outside raises both sides; within the ledger one book loses what the other gains.
        self.shift(from, if from.is_outside() { amount } else { -amount });
        self.shift(to, if to.is_outside() { -amount } else { amount });
        self.ledger.entries += 1;
        self.entries.push(Entry {
            tenant_id: self.ledger.tenant_id,
            number: self.ledger.entries,
            kind: Cow::Borrowed(cause.kind),
            from_book: Cow::Borrowed(from.as_str()),
            to_book: Cow::Borrowed(to.as_str()),
            amount,
            available: self.ledger.available,
            reserved: self.ledger.reserved,
            promo: self.ledger.promo,
            message_id: cause.message,
            reference: cause.reference,
            actor: cause.actor,
            at: cause.at,
        });
    }

    fn shift(&mut self, book: Book, by: i64) {
        let l = &mut self.ledger;
        match book {
            Book::Available => l.available += by,
            Book::Promo => l.promo += by,
            Book::Reserved => l.reserved += by,
            Book::Revenue => l.revenue += by,
            Book::Purchased => l.purchased += by,
            Book::Adjusted => l.adjusted += by,
            Book::Granted => l.granted += by,
        }
    }

    /// Gives promotional credit until an instant.
    pub fn grant(&mut self, amount: i64, expires_at: Timestamp, cause: Cause) {
        let reference = cause.reference.clone().unwrap_or_default();
        let created_at = cause.at;
        self.post(Book::Granted, Book::Promo, amount, cause);
        let (tenant_id, number) = (self.ledger.tenant_id, self.ledger.entries);
        self.grants.push(Grant { tenant_id, number, amount, rest: amount, expires_at, reference, created_at });
        self.grants.sort_by_key(|grant| (grant.expires_at, grant.number));
    }

    /// Takes back promotional credit that has ended.
    pub fn expire(&mut self, now: Timestamp) {
        for index in 0..self.grants.len() {
            let grant = &mut self.grants[index];
            if grant.expires_at > now || grant.rest == 0 {
                continue;
            }
            let rest = std::mem::take(&mut grant.rest);
            let (reference, at) = (Some(grant.reference.clone()), grant.expires_at);
            self.post(
                Book::Promo,
                Book::Granted,
                rest,
                Cause { kind: "expire", message: None, reference, actor: None, at },
            );
        }
    }

    /// Moves an amount out of what can be spent, promotional credit first. Answers how much of it was promotional.
    fn spend(&mut self, to: Book, amount: i64, cause: &Cause) -> i64 {
        let promo = amount.min(self.ledger.promo);
        let mut left = promo;
        for grant in &mut self.grants {
            let taken = left.min(grant.rest);
            (grant.rest, left) = (grant.rest - taken, left - taken);
        }
        self.post(Book::Promo, to, promo, cause.clone());
        self.post(Book::Available, to, amount - promo, cause.clone());
        promo
    }

    /// Moves an amount back to what can be spent, `promo` of it to promotional credit: to the grants that end last, which were begun last. What has no room there came from a grant that was spent
    /// longer ago than grants are read, and ends with it.
    fn give_back(&mut self, from: Book, amount: i64, promo: i64, cause: &Cause) {
        let mut left = promo;
        for grant in self.grants.iter_mut().rev() {
            let room = left.min(grant.amount - grant.rest);
            (grant.rest, left) = (grant.rest + room, left - room);
        }
        self.post(from, Book::Available, amount - promo, cause.clone());
        self.post(from, Book::Promo, promo, cause.clone());
        self.post(Book::Promo, Book::Granted, left, Cause { kind: "expire", ..cause.clone() });
    }

    /// Makes the grants' rests come to the promotional credit there is: those behind 200 later ones were not read by servers of before, so what was spent of them was taken from the balance alone.
    pub fn trim_grants(&mut self) {
        let rests: i64 = self.grants.iter().map(|grant| grant.rest).sum();
        let mut over = rests - self.ledger.promo.max(0);
        for grant in &mut self.grants {
            let taken = over.clamp(0, grant.rest);
            (grant.rest, over) = (grant.rest - taken, over - taken);
        }
    }

    /// Sets a message's price aside, as far as credit reaches: that it does was seen when it was accepted ([`super::charge::afford`]), and before it went another way ([`super::purse`]).
    pub fn reserve(&mut self, charge: &mut Charge, at: Timestamp) {
        charge.quoted = charge.quoted.min(self.spendable());
        let cause = Cause::message("reserve", charge.message_id, at);
        charge.promo = self.spend(Book::Reserved, charge.quoted, &cause);
    }

    /// A message was sent, and this is what the provider says of it: pays it, or puts right what was paid as far as that makes a difference. A message whose price was given back is charged
    /// after all, as far as credit reaches.
    pub fn settle(&mut self, charge: &mut Charge, told: &Told, at: Timestamp) {
        let is_settled = charge.state == SETTLED;
        let before = if is_settled { self.exact(charge) } else { 0 };
        let paid = charge.charged - charge.charged_before;
        // Credit did not reach for what was due before: what was taken counts, and not that. Of a price with fractions some millionths may have been carried to other messages.
        let carried = if Price::of_charge(charge).is_whole() { 1 } else { CARRIED_MAX };
        let is_short = is_settled && i128::from(paid) + carried < before.div_euclid(PARTS);
        told.note(charge);
        let after = self.exact(charge);
        let due = if is_short {
            i64::try_from(after.div_euclid(PARTS)).unwrap_or(i64::MAX) - paid
        } else {
            self.carry(after - before, paid)
        };
        let cause = |kind| Cause::message(kind, charge.message_id, at);
        if is_settled {
            if due > 0 {
                let more = due.min(self.spendable());
                charge.promo += self.spend(Book::Revenue, more, &cause("correct"));
                charge.charged += more;
            } else {
                let back = -due;
                // What was paid for comes back first: promotional credit was spent first.
                let promo = (back - (paid - charge.promo)).max(0);
                self.give_back(Book::Revenue, back, promo, &cause("correct"));
                (charge.promo, charge.charged) = (charge.promo - promo, charge.charged - back);
            }
            return;
        }
        let (aside, aside_promo) = if charge.state == RESERVED { (charge.quoted, charge.promo) } else { (0, 0) };
        let from_aside = due.min(aside);
        let promo = aside_promo.min(from_aside);
        self.post(Book::Reserved, Book::Revenue, from_aside, cause("settle"));
        self.give_back(Book::Reserved, aside - from_aside, aside_promo - promo, &cause("release"));
        let more = (due - from_aside).min(self.spendable());
        charge.promo = promo + self.spend(Book::Revenue, more, &cause("settle"));
        charge.charged = charge.charged_before + from_aside + more;
        charge.state = Cow::Borrowed(SETTLED);
    }

    /// A message will not be sent the way it goes now: gives its price back, once.
    pub fn release(&mut self, charge: &mut Charge, at: Timestamp) {
        if charge.state == RESERVED {
            self.give_back(
                Book::Reserved,
                charge.quoted,
                charge.promo,
                &Cause::message("release", charge.message_id, at),
            );
            charge.promo = 0;
            charge.state = Cow::Borrowed(RELEASED);
        }
    }

    /// A message goes another way, at another price: gives back what was set aside for the way it leaves, or keeps what that was charged, and sets the new price aside. Answers what the way it
    /// leaves was charged, if it was: a charge of its own.
    pub fn move_on(
        &mut self,
        charge: &mut Charge,
        price: &Price,
        category: &str,
        segments: Option<u32>,
        at: Timestamp,
    ) -> Option<Charge> {
        self.release(charge, at);
        let charged = charge.charged - charge.charged_before;
        let left = (charge.state == SETTLED).then(|| Charge { charged, charged_before: 0, ..charge.clone() });
        charge.charged_before = charge.charged;
        quote(charge, price, category, segments);
        charge.state = Cow::Borrowed(RESERVED);
        self.reserve(charge, at);
        left
    }

    /// The provider says more of a way a message left: puts right what that was charged, which is part of what the message was charged before.
    pub fn settle_left(&mut self, charge: &mut Charge, left: &mut Charge, told: &Told, at: Timestamp) {
        let charged = left.charged;
        self.settle(left, told, at);
        charge.charged_before += left.charged - charged;
        charge.charged += left.charged - charged;
    }

    /// What a charge comes to without what it was charged for ways it left.
    fn exact(&self, charge: &Charge) -> i128 {
        let known = usable(charge.reported, charge.reported_currency.as_deref(), &self.ledger.currency);
        Price::of_charge(charge).exact(u32::try_from(charge.units).ok(), known)
    }

    /// Whole millionths of what a message costs more or less than before, and of what was carried; what is left over is carried on. A message gives back no more than it `paid`, and what is too
    /// much then is less to be charged of the next.
    fn carry(&mut self, parts: i128, paid: i64) -> i64 {
        let sum = parts + i128::from(self.ledger.remainder);
        let due = sum.div_euclid(PARTS).max(-i128::from(paid));
        self.ledger.remainder = i64::try_from(sum - due * PARTS).expect("parts of a millionth are few");
        i64::try_from(due).unwrap_or(i64::MAX)
    }
}

/// Writes what a message of a kind costs into a charge.
fn rate(charge: &mut Charge, price: &Price, category: &str) {
    charge.list_version = price.list;
    (charge.unit, charge.per) = (price.fixed_micros, price.per.code());
    (charge.cost_unit, charge.markup) = (price.cost_micros, price.markup);
    category.clone_into(&mut charge.category);
}

/// Writes a price into a charge: what it is to cost, as far as that is known beforehand.
pub fn quote(charge: &mut Charge, price: &Price, category: &str, segments: Option<u32>) {
    rate(charge, price, category);
    charge.units = segments.unwrap_or(0).into();
    (charge.reported, charge.reported_currency) = (None, None);
    charge.quoted = up(price.exact(segments, None));
}

/// True when the books add up.
pub fn balances(l: &Ledger) -> bool {
    l.available + l.promo + l.reserved + l.revenue == l.purchased + l.adjusted + l.granted
}

#[cfg(test)]
mod tests {
    use model::TenantId;
    use proptest::prelude::*;

    use super::*;
    use crate::money::book::PriceUnit;

    type Act<'a> = &'a dyn Fn(&mut Open, &mut Charge);

    const NOW: Timestamp = Timestamp::from_seconds(1);

    fn open(mode: &str, bought: i64) -> Open {
        let mut open = Open::new(Ledger::empty(TenantId::from_ulid(1), mode, "USD", NOW));
        open.post(Book::Purchased, Book::Available, bought, by_hand("purchase"));
        open
    }

    fn by_hand(kind: &'static str) -> Cause {
        Cause { kind, message: None, reference: None, actor: None, at: NOW }
    }

    fn per_segment(unit: i64) -> Price {
        Price { list: 1, per: PriceUnit::Segment, fixed_micros: unit, cost_micros: None, markup: None }
    }

    fn charge(price: &Price, segments: u32) -> Charge {
        let mut charge = Charge::new(TenantId::from_ulid(1), MessageId::from_ulid(2), RESERVED);
        quote(&mut charge, price, "", Some(segments));
        charge
    }

    fn usd(amount_micros: i64) -> Money {
        Money { amount_micros, currency: "USD".to_owned() }
    }

    fn in_parts(segments: u32) -> Told {
        Told { segments: Some(segments), ..Told::default() }
    }

    fn priced(price: Money) -> Told {
        Told { price: Some(price), ..Told::default() }
    }

    fn check(open: &Open) {
        assert!(balances(&open.ledger), "{:?}", open.ledger);
        assert_eq!(open.ledger.promo, open.grants.iter().map(|grant| grant.rest).sum::<i64>());
        let numbers: Vec<i64> = open.entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=open.ledger.entries).collect::<Vec<_>>());
    }

    /// Plays a message of 2 segments at 10 out of `bought` credit, and answers available, reserved, revenue.
    fn played(mode: &str, bought: i64, act: impl Fn(&mut Open, &mut Charge)) -> (i64, i64, i64) {
        let (mut open, mut charge) = (open(mode, bought), charge(&per_segment(10), 2));
        open.reserve(&mut charge, Timestamp::from_seconds(2));
        act(&mut open, &mut charge);
        check(&open);
        (open.ledger.available, open.ledger.reserved, open.ledger.revenue)
    }

    #[test]
    fn money_moves_once() {
        let at = Timestamp::from_seconds(3);
        let cases: &[(&str, (i64, i64, i64), Act<'_>)] = &[
            ("set aside", (80, 20, 0), &|_, _| {}),
            ("as many segments as said", (80, 0, 20), &|open, charge| open.settle(charge, &in_parts(2), at)),
            ("fewer segments", (90, 0, 10), &|open, charge| open.settle(charge, &in_parts(1), at)),
            ("more segments", (70, 0, 30), &|open, charge| open.settle(charge, &in_parts(3), at)),
            ("the provider does not say", (80, 0, 20), &|open, charge| open.settle(charge, &Told::default(), at)),
            ("not sent", (100, 0, 0), &|open, charge| open.release(charge, at)),
            ("twice sent", (80, 0, 20), &|open, charge| {
                open.settle(charge, &Told::default(), at);
                open.settle(charge, &Told::default(), at);
                open.release(charge, at);
            }),
            ("put right later", (60, 0, 40), &|open, charge| {
                open.settle(charge, &Told::default(), at);
                open.settle(charge, &in_parts(1), at);
                open.settle(charge, &in_parts(4), at);
            }),
            ("sent after all", (80, 0, 20), &|open, charge| {
                open.release(charge, at);
                open.release(charge, at);
                open.settle(charge, &Told::default(), at);
            }),
            ("another way before it was sent", (97, 0, 3), &|open, charge| {
                open.move_on(charge, &per_segment(3), "", None, at);
                open.settle(charge, &Told::default(), at);
            }),
            ("another way after it was sent", (77, 0, 23), &|open, charge| {
                open.settle(charge, &Told::default(), at);
                open.move_on(charge, &per_segment(3), "", None, at);
                open.settle(charge, &Told::default(), at);
                assert_eq!((charge.charged_before, charge.charged), (20, 23));
            }),
            ("another way that fails", (80, 0, 20), &|open, charge| {
                open.settle(charge, &Told::default(), at);
                open.move_on(charge, &per_segment(3), "", None, at);
                open.release(charge, at);
                assert_eq!(charge.charged, 20);
            }),
        ];
        for (what, expected, act) in cases {
            assert_eq!(played("prepaid", 100, act), *expected, "{what}");
        }
    }

    #[test]
    fn prepaid_credit_never_goes_below_zero_and_postpaid_may() {
        let at = Timestamp::from_seconds(3);
        let more = |open: &mut Open, charge: &mut Charge| open.settle(charge, &in_parts(9), at);
        assert_eq!(played("prepaid", 50, more), (0, 0, 50));
        assert_eq!(played("postpaid", 50, more), (-40, 0, 90));
        let dearer = |open: &mut Open, charge: &mut Charge| drop(open.move_on(charge, &per_segment(70), "", None, at));
        assert_eq!(played("prepaid", 50, dearer), (0, 50, 0));
    }

    #[test]
    fn what_the_provider_reports_counts_for_a_markup_and_not_for_a_fixed_price() {
        let marked = Price { cost_micros: Some(8), markup: Some(2_500), ..per_segment(0) };
        let (mut open, mut charge) = (open("prepaid", 100), charge(&marked, 2));
        open.reserve(&mut charge, NOW);
        assert_eq!(charge.quoted, 20);
        open.settle(&mut charge, &Told::default(), NOW);
        open.settle(&mut charge, &priced(usd(12)), NOW);
        assert_eq!((charge.charged, open.ledger.available), (15, 85));
        // Another currency says nothing about ours, and is kept.
        open.settle(&mut charge, &priced(Money { currency: "EUR".to_owned(), ..usd(1) }), NOW);
        assert_eq!((charge.charged, charge.reported, charge.reported_currency.as_deref()), (20, Some(1), Some("EUR")));
        check(&open);
        assert_eq!(played("prepaid", 100, |open, charge| open.settle(charge, &priced(usd(1)), NOW)), (80, 0, 20));
    }

    #[test]
    fn what_is_said_late_of_a_way_that_was_left_puts_its_own_charge_right() {
        let (mut open, mut charge) = (open("prepaid", 100), charge(&per_segment(10), 2));
        open.reserve(&mut charge, NOW);
        open.settle(&mut charge, &Told::default(), NOW);
        let mut left = open.move_on(&mut charge, &per_segment(3), "", None, NOW).unwrap();
        assert_eq!((left.charged, left.charged_before, charge.charged_before), (20, 0, 20));
        let seen = |open: &Open| (open.ledger.available, open.ledger.reserved, open.ledger.revenue);
        for _ in 0..2 {
            open.settle_left(&mut charge, &mut left, &in_parts(3), NOW);
            assert_eq!((left.charged, charge.charged_before, charge.charged, seen(&open)), (30, 30, 30, (67, 3, 30)));
        }
        open.settle(&mut charge, &Told::default(), NOW);
        open.settle_left(&mut charge, &mut left, &in_parts(1), NOW);
        assert_eq!((left.charged, charge.charged_before, charge.charged, seen(&open)), (10, 10, 13, (87, 0, 13)));
        // What was never sent was never charged.
        assert_eq!(open.move_on(&mut self::charge(&per_segment(10), 2), &per_segment(3), "", None, NOW), None);
        check(&open);
    }

    #[test]
    fn what_was_billed_as_another_kind_costs_what_that_costs_once() {
        let kind = |unit, category| Told { kind: Some((per_segment(unit), category)), ..Told::default() };
        let (mut open, mut charge) = (open("prepaid", 100), charge(&per_segment(10), 0));
        open.reserve(&mut charge, NOW);
        kind(30, Category::Marketing).note(&mut charge);
        assert_eq!((charge.quoted, open.ledger.reserved), (10, 10), "what is set aside stays");
        open.settle(&mut charge, &Told::default(), NOW);
        assert_eq!((charge.charged, charge.category.as_str()), (30, "marketing"));
        for _ in 0..2 {
            open.settle(&mut charge, &kind(0, Category::Service), NOW);
            assert_eq!((charge.charged, open.ledger.available), (0, 100));
        }
        check(&open);
    }

    #[test]
    fn what_credit_did_not_reach_for_does_not_come_back() {
        let marked = Price { cost_micros: Some(6), markup: Some(0), ..per_segment(0) };
        let (mut open, mut charge) = (open("prepaid", 50), charge(&marked, 1));
        open.reserve(&mut charge, NOW);
        open.settle(&mut charge, &Told::default(), NOW);
        let mut pays = |bought: i64, micros: i64| {
            open.post(Book::Purchased, Book::Available, bought, by_hand("purchase"));
            open.settle(&mut charge, &priced(usd(micros)), NOW);
            check(&open);
            (charge.charged, open.ledger.available)
        };
        assert_eq!(pays(0, 100), (50, 0));
        // It still costs more than was paid, then less, then more again than there is, and then there is credit.
        assert_eq!(pays(0, 80), (50, 0));
        assert_eq!(pays(0, 45), (45, 5));
        assert_eq!(pays(0, 100), (50, 0));
        assert_eq!(pays(1_000, 80), (80, 970));
        assert_eq!(pays(0, 80), (80, 970));
        assert_eq!(pays(0, 60), (60, 990));
    }

    #[test]
    fn a_thousand_mails_cost_what_a_thousand_mails_cost() {
        let price = Price { per: PriceUnit::Thousand, fixed_micros: 401, ..per_segment(0) };
        let mut open = open("postpaid", 0);
        for number in 1..=1_000 {
            let mut charge = charge(&price, 0);
            open.reserve(&mut charge, NOW);
            open.settle(&mut charge, &Told::default(), NOW);
            assert_eq!(open.ledger.revenue, 401 * number / 1_000);
        }
        assert_eq!((open.ledger.revenue, open.ledger.remainder, open.ledger.reserved), (401, 0, 0));
    }

    #[test]
    fn what_was_carried_to_another_message_comes_back_with_the_next() {
        let price = Price { per: PriceUnit::Thousand, fixed_micros: 400, ..per_segment(0) };
        let mut open = open("postpaid", 0);
        let mut sent: Vec<Charge> = (0..3).map(|_| charge(&price, 0)).collect();
        for charge in &mut sent {
            open.settle(charge, &Told::default(), NOW);
        }
        assert_eq!((open.ledger.revenue, open.ledger.remainder), (1, 2_000_000), "the third paid for all");
        let free = Told { kind: Some((per_segment(0), Category::Service)), ..Told::default() };
        open.settle(&mut sent[0], &free, NOW);
        assert_eq!((open.ledger.revenue, open.ledger.remainder), (1, -2_000_000), "0.8 are due, 1 was paid");
        open.settle(&mut charge(&price, 0), &Told::default(), NOW);
        assert_eq!((open.ledger.revenue, open.ledger.remainder), (1, 2_000_000));
        check(&open);
    }

    #[test]
    fn promotional_credit_is_spent_first_and_ends() {
        let end = |seconds| Timestamp::from_seconds(seconds);
        let mut open = open("prepaid", 100);
        open.grant(15, end(100), by_hand("grant"));
        open.grant(8, end(50), by_hand("grant"));
        let mut charge = charge(&per_segment(10), 2);
        open.reserve(&mut charge, NOW);
        let rests = |open: &Open| open.grants.iter().map(|grant| grant.rest).collect::<Vec<_>>();
        assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 3], 100, 20));
        open.release(&mut charge, NOW);
        assert_eq!((rests(&open), open.ledger.promo), (vec![8, 15], 23));
        let mut charge = self::charge(&per_segment(15), 2);
        open.reserve(&mut charge, NOW);
        assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 0], 93, 23));
        // One segment costs 15: paid credit comes back first, then the promotional credit that ends last.
        open.settle(&mut charge, &in_parts(1), NOW);
        assert_eq!((rests(&open), open.ledger.available, charge.promo), (vec![0, 8], 100, 15));
        open.expire(end(99));
        assert_eq!(open.ledger.promo, 8);
        open.expire(end(100));
        assert_eq!((open.ledger.promo, open.ledger.granted, open.spendable()), (0, 15, 100));
        check(&open);
    }

    #[test]
    fn what_comes_back_to_a_grant_nobody_reads_any_more_ends_with_it() {
        let mut open = open("prepaid", 100);
        open.grant(20, Timestamp::from_seconds(100), by_hand("grant"));
        let mut charge = charge(&per_segment(15), 1);
        open.reserve(&mut charge, NOW);
        open.grants.clear();
        open.ledger.promo = 0;
        open.ledger.granted = 15;
        open.release(&mut charge, NOW);
        let l = &open.ledger;
        assert_eq!((l.available, l.promo, l.granted, l.reserved), (100, 0, 0, 0));
        assert!(balances(l));
    }

    #[test]
    fn grants_have_no_more_left_than_there_is() {
        let mut open = open("prepaid", 0);
        for (amount, ends) in [(10, 50), (10, 100)] {
            open.grant(amount, Timestamp::from_seconds(ends), by_hand("grant"));
        }
        open.ledger.promo = 7;
        open.trim_grants();
        assert_eq!(open.grants.iter().map(|grant| grant.rest).collect::<Vec<_>>(), [0, 7]);
        open.trim_grants();
        assert_eq!(open.grants.iter().map(|grant| grant.rest).sum::<i64>(), 7);
    }

    #[test]
    fn who_is_in_debt_spends_no_promotional_credit() {
        let mut open = open("prepaid", 0);
        open.grant(20, Timestamp::from_seconds(100), by_hand("grant"));
        assert_eq!(open.spendable(), 20);
        open.post(Book::Available, Book::Purchased, 1, by_hand("dispute"));
        assert_eq!((open.spendable(), open.ledger.left()), (0, -1));
        open.post(Book::Purchased, Book::Available, 1, by_hand("purchase"));
        assert_eq!(open.spendable(), 20);
    }

    #[derive(Debug, Clone)]
    enum Move {
        Buy(i64),
        Grant(i64, i64),
        Refund(i64),
        Reserve(i64, u32),
        Settle(usize, Option<u32>, Option<i64>),
        Release(usize),
        Reroute(usize, i64),
        Late(usize, Option<u32>, Option<i64>),
        Kind(usize, i64),
        Pass(i64),
    }

    fn any_move() -> impl Strategy<Value = Move> {
        prop_oneof![
            (0i64..100).prop_map(Move::Buy),
            (1i64..60, 1i64..20).prop_map(|(amount, lasts)| Move::Grant(amount, lasts)),
            (0i64..100).prop_map(Move::Refund),
            (0i64..40, 1u32..4).prop_map(|(unit, segments)| Move::Reserve(unit, segments)),
            (0usize..8, proptest::option::of(0u32..5), proptest::option::of(0i64..90))
                .prop_map(|(i, s, p)| Move::Settle(i, s, p)),
            (0usize..8).prop_map(Move::Release),
            (0usize..8, 0i64..40).prop_map(|(i, unit)| Move::Reroute(i, unit)),
            (0usize..4, proptest::option::of(0u32..5), proptest::option::of(0i64..90))
                .prop_map(|(i, s, p)| Move::Late(i, s, p)),
            (0usize..8, 0i64..40).prop_map(|(i, unit)| Move::Kind(i, unit)),
            (0i64..8).prop_map(Move::Pass),
        ]
    }

    proptest! {
        #[test]
        fn books_add_up_and_prepaid_credit_is_never_overdrawn(
            moves in proptest::collection::vec(any_move(), 1..80), is_marked in any::<bool>(), is_prepaid in any::<bool>(),
        ) {
            let mode = if is_prepaid { "prepaid" } else { "postpaid" };
            let (mut open, mut charges, mut now) = (open(mode, 50), Vec::<Charge>::new(), 1i64);
            let mut left: Vec<(usize, Charge)> = Vec::new();
            let price = |unit: i64| match is_marked {
                true => Price { cost_micros: Some(unit), markup: Some(3_333), per: PriceUnit::Thousand, ..per_segment(unit) },
                false => per_segment(unit),
            };
            for one in moves {
                let at = Timestamp::from_seconds(now);
                open.expire(at);
                match one {
                    Move::Buy(amount) => open.post(Book::Purchased, Book::Available, amount, by_hand("purchase")),
                    Move::Grant(amount, lasts) => open.grant(amount, Timestamp::from_seconds(now + lasts), by_hand("grant")),
                    Move::Refund(amount) => open.post(Book::Available, Book::Purchased, amount.min(open.takeable()), by_hand("refund")),
                    Move::Reserve(unit, segments) => {
                        let mut new = charge(&price(unit), segments);
                        if new.quoted <= open.spendable() {
                            open.reserve(&mut new, at);
                            charges.push(new);
                        }
                    }
                    Move::Settle(index, segments, reported) => if let Some(charge) = charges.get_mut(index) {
                        let before = charge.charged;
                        open.settle(charge, &Told { segments, price: reported.map(usd), kind: None }, at);
                        // What is given back leaves no message below its price. Fractions of prices move from message to message, and whole ones do not.
                        prop_assert!(is_marked || charge.charged >= before || i128::from(charge.charged + 1) * PARTS >= open.exact(charge));
                    },
                    Move::Release(index) => if let Some(charge) = charges.get_mut(index) {
                        open.release(charge, at);
                    },
                    Move::Reroute(index, unit) => if let Some(charge) = charges.get_mut(index) {
                        left.extend(open.move_on(charge, &price(unit), "", None, at).map(|way| (index, way)));
                    },
                    Move::Late(index, segments, reported) => if let Some((of, way)) = left.get_mut(index) {
                        open.settle_left(&mut charges[*of], way, &Told { segments, price: reported.map(usd), kind: None }, at);
                    },
                    Move::Kind(index, unit) => if let Some(charge) = charges.get_mut(index) {
                        let told = Told { kind: Some((price(unit), Category::Utility)), ..Told::default() };
                        if charge.state == SETTLED { open.settle(charge, &told, at) } else { told.note(charge) }
                    },
                    Move::Pass(seconds) => now += seconds,
                }
                let l = &open.ledger;
                prop_assert!((l.available >= 0 || !is_prepaid) && l.promo >= 0 && l.reserved >= 0 && l.revenue >= 0, "{:?}", l);
                prop_assert!(balances(l), "{:?}", l);
                prop_assert_eq!(l.promo, open.grants.iter().map(|grant| grant.rest).sum::<i64>());
                for (index, charge) in charges.iter().enumerate() {
                    let ways = left.iter().filter(|(of, _)| *of == index).map(|(_, way)| way.charged);
                    prop_assert_eq!(charge.charged_before, ways.sum::<i64>());
                }
                let set_aside: i64 = charges.iter().filter(|charge| charge.state == RESERVED).map(|charge| charge.quoted).sum();
                prop_assert_eq!((l.reserved, l.revenue), (set_aside, charges.iter().map(|charge| charge.charged).sum::<i64>()));
                // Where credit always reaches, all prices together are what was charged and what is carried.
                let settled = charges.iter().filter(|charge| charge.state == SETTLED).chain(left.iter().map(|(_, way)| way));
                let exact: i128 = settled.map(|charge| open.exact(charge)).sum();
                prop_assert!(is_prepaid || exact == i128::from(l.revenue) * PARTS + i128::from(l.remainder), "{} {:?}", exact, l);
            }
        }
    }
}
