//! The arithmetic of a ledger: every movement goes from one book to another, so the books always add up, and prepaid credit never goes below zero.

use model::{MessageId, Timestamp};
use store::credits::{Charge, Entry, Ledger};

use super::BillingMode;

/// The books of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Book {
    /// What can be spent.
    Available,
    /// What is set aside for messages under way.
    Reserved,
    /// What messages have cost.
    Revenue,
    /// What was bought: the other side of purchases.
    Purchased,
    /// The other side of adjustments.
    Adjusted,
}

impl Book {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Reserved => "reserved",
            Self::Revenue => "revenue",
            Self::Purchased => "purchased",
            Self::Adjusted => "adjusted",
        }
    }
}

/// The states of a charge.
pub const RESERVED: &str = "reserved";
/// The message was sent and paid.
pub const SETTLED: &str = "settled";
/// The message was not sent, and its price was given back.
pub const RELEASED: &str = "released";

/// A ledger that is being written, with the entries made so far.
pub struct Open {
    /// As it is now.
    pub ledger: Ledger,
    /// What was added.
    pub entries: Vec<Entry>,
}

/// Why a movement is made.
pub struct Cause<'a> {
    /// As a word.
    pub kind: &'a str,
    /// Because of which message.
    pub message: Option<MessageId>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// By whom.
    pub actor: Option<String>,
    /// When what caused it happened.
    pub at: Timestamp,
}

impl<'a> Cause<'a> {
    /// A movement because of a message.
    pub const fn message(kind: &'a str, id: MessageId, at: Timestamp) -> Self {
        Self { kind, message: Some(id), reference: None, actor: None, at }
    }
}

impl Open {
    /// Begins to write.
    pub const fn new(ledger: Ledger) -> Self {
        Self { ledger, entries: Vec::new() }
    }

    /// What can still be spent: without limit for those who pay afterwards.
    pub fn spendable(&self) -> i64 {
        match BillingMode::from_stored(&self.ledger.mode) {
            BillingMode::Prepaid => self.ledger.available.max(0),
            BillingMode::None | BillingMode::Postpaid => i64::MAX,
        }
    }

    /// Moves an amount, which is positive, and notes it; nothing for 0.
    pub fn post(&mut self, from: Book, to: Book, amount: i64, cause: Cause<'_>) {
        if amount <= 0 {
            return;
        }
        // What comes in from outside raises both sides; within the ledger one book loses what the other gains.
        self.shift(from, if matches!(from, Book::Purchased | Book::Adjusted) { amount } else { -amount });
        self.shift(to, if matches!(to, Book::Purchased | Book::Adjusted) { -amount } else { amount });
        self.ledger.entries += 1;
        self.entries.push(Entry {
            tenant_id: self.ledger.tenant_id,
            number: self.ledger.entries,
            kind: cause.kind.to_owned(),
            from_book: from.as_str().to_owned(),
            to_book: to.as_str().to_owned(),
            amount,
            available: self.ledger.available,
            reserved: self.ledger.reserved,
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
            Book::Reserved => l.reserved += by,
            Book::Revenue => l.revenue += by,
            Book::Purchased => l.purchased += by,
            Book::Adjusted => l.adjusted += by,
        }
    }

    /// Sets a message's price aside. The caller has seen that it is there.
    pub fn reserve(&mut self, charge: &Charge, at: Timestamp) {
        self.post(Book::Available, Book::Reserved, charge.quoted, Cause::message("reserve", charge.message_id, at));
    }

    /// A message was sent, in so many segments as the provider says: pays it, once. A message whose price was given back is charged after all, as far as credit reaches.
    pub fn settle(&mut self, charge: &mut Charge, segments: Option<u32>, at: Timestamp) {
        let cost = match (charge.is_per_segment, segments) {
            (true, Some(segments)) => charge.unit.saturating_mul(i64::from(segments)),
            _ => charge.quoted,
        };
        let cause = |kind| Cause::message(kind, charge.message_id, at);
        let aside = match charge.state.as_str() {
            RESERVED => charge.quoted,
            RELEASED => 0,
            _ => return,
        };
        let from_aside = cost.min(aside);
        let more = (cost - from_aside).min(self.spendable());
        self.post(Book::Reserved, Book::Revenue, from_aside, cause("settle"));
        self.post(Book::Reserved, Book::Available, aside - from_aside, cause("release"));
        self.post(Book::Available, Book::Revenue, more, cause("settle"));
        charge.charged = from_aside + more;
        SETTLED.clone_into(&mut charge.state);
    }

    /// A message will not be sent: gives its price back, once.
    pub fn release(&mut self, charge: &mut Charge, at: Timestamp) {
        if charge.state == RESERVED {
            let cause = Cause::message("release", charge.message_id, at);
            self.post(Book::Reserved, Book::Available, charge.quoted, cause);
            RELEASED.clone_into(&mut charge.state);
        }
    }
}

/// True when the books add up.
pub fn balances(l: &Ledger) -> bool {
    l.available + l.reserved + l.revenue == l.purchased + l.adjusted
}

#[cfg(test)]
mod tests {
    use model::TenantId;

    use super::*;

    type Act<'a> = &'a dyn Fn(&mut Open, &mut Charge);

    fn open(mode: &str, bought: i64) -> Open {
        let now = Timestamp::from_seconds(1);
        let ledger = Ledger {
            tenant_id: TenantId::from_ulid(1),
            mode: mode.to_owned(),
            currency: "USD".to_owned(),
            available: 0,
            reserved: 0,
            revenue: 0,
            purchased: 0,
            adjusted: 0,
            entries: 0,
            created_at: now,
            updated_at: now,
        };
        let mut open = Open::new(ledger);
        let cause = Cause { kind: "purchase", message: None, reference: None, actor: None, at: now };
        open.post(Book::Purchased, Book::Available, bought, cause);
        open
    }

    fn charge(unit: i64, segments: i64) -> Charge {
        Charge {
            tenant_id: TenantId::from_ulid(1),
            message_id: MessageId::from_ulid(2),
            list_version: 1,
            unit,
            is_per_segment: true,
            quoted: unit * segments,
            charged: 0,
            state: RESERVED.to_owned(),
        }
    }

    /// Plays a message of 2 segments at 10 out of `bought` credit, and answers available, reserved, revenue.
    fn played(mode: &str, bought: i64, act: impl Fn(&mut Open, &mut Charge)) -> (i64, i64, i64) {
        let (mut open, mut charge) = (open(mode, bought), charge(10, 2));
        open.reserve(&charge, Timestamp::from_seconds(2));
        act(&mut open, &mut charge);
        assert!(balances(&open.ledger), "{:?}", open.ledger);
        let numbers: Vec<i64> = open.entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (1..=open.ledger.entries).collect::<Vec<_>>());
        (open.ledger.available, open.ledger.reserved, open.ledger.revenue)
    }

    #[test]
    fn money_moves_once() {
        let at = Timestamp::from_seconds(3);
        let cases: &[(&str, (i64, i64, i64), Act<'_>)] = &[
            ("set aside", (80, 20, 0), &|_, _| {}),
            ("as many segments as said", (80, 0, 20), &|open, charge| open.settle(charge, Some(2), at)),
            ("fewer segments", (90, 0, 10), &|open, charge| open.settle(charge, Some(1), at)),
            ("more segments", (70, 0, 30), &|open, charge| open.settle(charge, Some(3), at)),
            ("the provider does not say", (80, 0, 20), &|open, charge| open.settle(charge, None, at)),
            ("not sent", (100, 0, 0), &|open, charge| open.release(charge, at)),
            ("twice sent", (80, 0, 20), &|open, charge| {
                open.settle(charge, None, at);
                open.settle(charge, Some(3), at);
                open.release(charge, at);
            }),
            ("sent after all", (80, 0, 20), &|open, charge| {
                open.release(charge, at);
                open.release(charge, at);
                open.settle(charge, None, at);
            }),
        ];
        for (what, expected, act) in cases {
            assert_eq!(played("prepaid", 100, act), *expected, "{what}");
        }
    }

    #[test]
    fn prepaid_credit_never_goes_below_zero_and_postpaid_may() {
        let at = Timestamp::from_seconds(3);
        let more = |open: &mut Open, charge: &mut Charge| open.settle(charge, Some(9), at);
        assert_eq!(played("prepaid", 50, more), (0, 0, 50));
        assert_eq!(played("postpaid", 50, more), (-40, 0, 90));
    }
}
