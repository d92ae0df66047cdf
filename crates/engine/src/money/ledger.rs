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
    /// Messages that were charged just what was set aside for them, of which no entry speaks yet.
    even: Option<Even>,
    /// What the grants had left when they were read, by their numbers.
    rests_before: BTreeMap<i64, i64>,
}

/// What is charged by one entry.
struct Even {
    first: MessageId,
    messages: i64,
    amount: i64,
    at: Timestamp,
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
            even: None,
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

    /// True when there is something to be written, after [`Open::close`].
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

    /// Makes the entry of messages that were charged together: before what concerns one of them once more, and before the ledger is written.
    pub fn close(&mut self) {
        if let Some(Even { first, messages, amount, at }) = self.even.take() {
            self.post(Book::Reserved, Book::Revenue, amount, Cause::message("settle", first, at));
            if let Some(entry) = self.entries.last_mut() {
                entry.messages = (messages > 1).then_some(messages);
            }
        }
    }

    /// Charges a message what is set aside for it, by one entry with others of this transaction.
    fn charge_even(&mut self, id: MessageId, amount: i64, at: Timestamp) {
        let even = self.even.get_or_insert(Even { first: id, messages: 0, amount: 0, at });
        (even.messages, even.amount, even.at) = (even.messages + 1, even.amount + amount, even.at.max(at));
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
            messages: None,
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
        self.reserve_all(std::slice::from_mut(charge), at);
    }

    /// The same for messages that are accepted together, by one entry for all those that promotional credit pays something of, and one for what was paid for. Each names the first of its
    /// messages and how many they are; how much of it is which message's, the charges say.
    pub fn reserve_all(&mut self, charges: &mut [Charge], at: Timestamp) {
        let (mut left, mut promo, mut sum) = (self.spendable(), self.ledger.promo, 0);
        let mut of_book: [(Option<MessageId>, i64); 2] = [(None, 0); 2];
        for charge in &mut *charges {
            charge.quoted = charge.quoted.min(left);
            charge.promo = charge.quoted.min(promo);
            (left, promo, sum) = (left - charge.quoted, promo - charge.promo, sum + charge.quoted);
            for ((first, count), part) in of_book.iter_mut().zip([charge.promo, charge.quoted - charge.promo]) {
                if part > 0 {
                    *first = first.or(Some(charge.message_id));
                    *count += 1;
                }
            }
        }
        let Some(first) = charges.first().map(|charge| charge.message_id) else { return };
        let made = self.entries.len();
        self.spend(Book::Reserved, sum, &Cause::message("reserve", first, at));
        for entry in &mut self.entries[made..] {
            let (first, count) = of_book[usize::from(entry.from_book != Book::Promo.as_str())];
            (entry.message_id, entry.messages) = (first, (count > 1).then_some(count));
        }
    }

    /// A message was sent, and this is what the provider says of it: pays it, or puts right what was paid as far as that makes a difference. A message whose price was given back is charged
    /// after all, as far as credit reaches. Those that are charged just what was set aside for them, as nearly all are, are so by one entry for all of a transaction, which names the first of them and
    /// says how many they are; what each was charged, the charges say.
    pub fn settle(&mut self, charge: &mut Charge, told: &Told, at: Timestamp) {
        charge.may_stay = false;
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
            self.close();
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
        if due == aside && due > 0 && charge.charged_before == 0 {
            self.charge_even(charge.message_id, due, at);
            (charge.charged, charge.state) = (due, Cow::Borrowed(SETTLED));
            return;
        }
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
            (charge.promo, charge.may_stay) = (0, false);
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
        self.close();
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
    /// much then is less to be charged of the next with fractions: what is whole is charged, or given back, as it is.
    fn carry(&mut self, parts: i128, paid: i64) -> i64 {
        if parts % PARTS == 0 && parts / PARTS >= -i128::from(paid) {
            return i64::try_from(parts / PARTS).unwrap_or(i64::MAX);
        }
        let sum = parts + i128::from(self.ledger.remainder);
        let due = sum.div_euclid(PARTS).max(-i128::from(paid));
        self.ledger.remainder = i64::try_from(sum - due * PARTS).expect("parts of a millionth are few");
        i64::try_from(due).unwrap_or(i64::MAX)
    }
}

/// True when what a message that was sent in so many parts is charged follows from what is set aside for it alone: there is enough, and nothing of a millionth to be carried. It is the same then whatever
/// its ledger says.
pub fn is_foreseen(charge: &Charge, segments: Option<u32>) -> bool {
    let exact = Price::of_charge(charge).exact(segments.or(u32::try_from(charge.units).ok()), None);
    charge.reported.is_none() && exact % PARTS == 0 && exact <= i128::from(charge.quoted) * PARTS
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
mod tests;
