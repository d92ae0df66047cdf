//! Each ledger's entries against one another, its balances, and its grants.

use std::collections::BTreeMap;

use model::TenantId;
use store::{
    Db, charge_counters,
    credits::{self, Entry, Grant, Ledger},
    recounts::{self, Alike},
};

use super::{Found, PAGE, history::History, read};
use crate::{
    Error,
    money::{
        BillingMode,
        book::{PARTS, Price},
        credits::GRANTS_MAX,
        ledger::{self, Book},
    },
};

/// Grants a ledger is written with besides those that have something left, the newest: what is given back finds no others, and ends.
const GRANTS_READ: usize = 2 * GRANTS_MAX as usize;

/// Checks one tenant's ledger.
pub(super) async fn look(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    let (tenant, of, since) = (history.tenant, Some(history.tenant), history.charges_whole);
    let balances = read(db, tenant, move |tx| {
        Box::pin(async move {
            let Some(ledger) = credits::find(tx, tenant).await? else {
                return Ok(Err(recounts::rows_of_ledger(tx, tenant).await?));
            };
            let grants = credits::grants_before(tx, tenant, i64::MAX, i64::MAX).await?;
            let prices = recounts::by_price(tx, tenant, &ledger.currency, since).await?;
            let (sums, total) = (credits::sums(tx, tenant).await?, charge_counters::total(tx, tenant).await?);
            Ok(Ok((ledger, sums, total, grants, prices)))
        })
    });
    let (ledger, (reserved, charged), counted, grants, prices) = match balances.await? {
        Ok(balances) => balances,
        Err(0) => return Ok(()),
        Err(rows) => {
            found.add(of, "ledger", || format!("there is no ledger, and {rows} entries, charges, grants and payments"));
            return Ok(());
        }
    };
    let mut wrong = |detail: String| found.add(of, "ledger", || detail);
    if !ledger::balances(&ledger) {
        wrong("available, reserved and spent do not add up to what was purchased and adjusted".to_owned());
    }
    if (reserved, charged) != (ledger.reserved, ledger.revenue) {
        wrong(format!(
            "the charges come to {reserved} set aside and {charged} spent, the balances say {} and {}",
            ledger.reserved, ledger.revenue
        ));
    }
    if counted != ledger.revenue {
        wrong(format!("by channel and country {counted} were charged, the ledger has charged {}", ledger.revenue));
    }
    let left: i64 = grants.iter().map(|grant| grant.rest).sum();
    if left != ledger.promo {
        wrong(format!("the grants have {left} left, the balance of promotional credit says {}", ledger.promo));
    }
    if i128::from(ledger.remainder) >= PARTS {
        wrong(format!(
            "{} parts of a millionth are still to be charged, which are a millionth or more",
            ledger.remainder
        ));
    }
    if BillingMode::from_stored(&ledger.mode).as_str() != ledger.mode || !is_currency(&ledger.currency) {
        wrong(format!("it is {} in {}, which is no way to pay", ledger.mode, ledger.currency));
    }
    // Newest first: each entry's balances follow from those of the one before it. Entries do not change, so those up to the balances that were read are the same in every snapshot.
    let mut later = Later {
        number: ledger.entries + 1,
        available: ledger.available,
        reserved: ledger.reserved,
        promo: ledger.promo,
        was_empty: false,
        came_in: BTreeMap::new(),
    };
    let mut before = ledger.entries + 1;
    loop {
        let page = read(db, tenant, move |tx| Box::pin(credits::entries(tx, tenant, before, PAGE))).await?;
        let Some(last) = page.last() else { break };
        before = last.number;
        found.verified.entries += page.len() as u64;
        for entry in &page {
            later.follows(entry, tenant, found);
            if let Some(wrong) = misplaced(entry) {
                found.add(of, "ledger", || format!("entry {}: {wrong}", entry.number));
            }
        }
    }
    if (later.number, later.available, later.reserved, later.promo) != (1, 0, 0, 0) {
        found.add(of, "ledger", || {
            format!(
                "before entry {} there are {} available, {} promotional and {} set aside instead of nothing",
                later.number, later.available, later.promo, later.reserved
            )
        });
    }
    later.compare(&ledger, found);
    // What credit did not reach for was not charged.
    let is_known = !history.may_have_paid_ahead() || !later.was_empty;
    if let Some(wrong) = prices.filter(|_| is_known).and_then(|prices| miscarried(&ledger, &prices)) {
        found.add(of, "ledger", || wrong);
    }
    let above = ledger.entries;
    let beyond = read(db, tenant, move |tx| Box::pin(recounts::entries_beyond(tx, tenant))).await?;
    if beyond > 0 {
        found.add(of, "ledger", || format!("{beyond} entries are beyond the last one, {above}"));
    }
    look_at_grants(db, &ledger, grants, found).await
}

fn is_currency(code: &str) -> bool {
    code.len() == 3 && code.bytes().all(|b| b.is_ascii_uppercase())
}

/// What was charged in all, and the parts of a millionth that are still to be charged, against what the prices of all charges come to.
fn miscarried(ledger: &Ledger, prices: &[Alike]) -> Option<String> {
    let (mut exact, mut charged, mut unpaid) = (0, 0, 0);
    for Alike { charge, count, unpaid: free } in prices {
        let (price, units) = (Price::of_charge(charge), u32::try_from(charge.units).ok());
        let of = |reported| price.exact(units, reported);
        exact += match charge.reported {
            Some(sum) => of(Some(sum)) + of(Some(0)) * i128::from(count - 1),
            None => of(None) * i128::from(*count),
        };
        charged += i128::from(charge.charged);
        unpaid += i128::from(*free);
    }
    let over = charged * PARTS + i128::from(ledger.remainder) - exact;
    // One that was put right to nothing kept a millionth of what others had paid for it, until that was carried.
    let is_right = over % PARTS == 0 && (0..=unpaid).contains(&(over / PARTS));
    (!is_right).then(|| {
        format!(
            "prices come to {} parts of a millionth more than {charged} millionths, and {} are still to be charged",
            exact - charged * PARTS,
            ledger.remainder
        )
    })
}

/// What is wrong with an entry by its kind: where it moves credit from and to, and what it has to name.
fn misplaced(entry: &Entry) -> Option<String> {
    let spendable = ["available", "promotional"];
    let (from, to): (&[&str], &[&str]) = match &*entry.kind {
        "purchase" => (&["purchased", "available"], &["available", "purchased"]),
        "adjustment" => (&["adjusted", "available"], &["available", "adjusted"]),
        "refund" | "dispute" => (&["available"], &["purchased"]),
        "refund_failed" | "dispute_returned" => (&["purchased"], &["available"]),
        "grant" => (&["granted"], &["promotional"]),
        "expire" => (&["promotional"], &["granted"]),
        "reserve" => (&spendable, &["reserved"]),
        "settle" => (&["reserved", "available", "promotional"], &["revenue"]),
        "release" => (&["reserved"], &spendable),
        "correct" => (&["revenue", "available", "promotional"], &["revenue", "available", "promotional"]),
        kind => return Some(format!("{kind} is no kind of movement")),
    };
    let is_within = entry.kind == "correct" && (&*entry.from_book == "revenue") == (&*entry.to_book == "revenue");
    if !from.contains(&&*entry.from_book) || !to.contains(&&*entry.to_book) || is_within {
        return Some(format!("a {} does not move credit from {} to {}", entry.kind, entry.from_book, entry.to_book));
    }
    let named = (entry.message_id.is_some(), entry.reference.is_some(), entry.actor.is_some());
    let is_named = match &*entry.kind {
        "reserve" | "settle" | "release" | "correct" => named == (true, false, false),
        // What a message gives back to a grant that is not found any more ends with it.
        "expire" => named == (false, true, false) || named == (true, false, false),
        // What an invoice evens out by itself nobody asked for.
        kind => !named.0 && named.1 && (named.2 || kind == "purchase"),
    };
    let is_together = entry.kind == "reserve" || (entry.kind == "settle" && entry.from_book == "reserved");
    if entry.messages.is_some_and(|messages| messages < 2 || !is_together) {
        return Some(format!("a {} is said to be because of {:?} messages", entry.kind, entry.messages));
    }
    (!is_named).then(|| format!("a {} does not name what it has to: a message, or who made it and why", entry.kind))
}

/// What the entry that is looked at next must lead to.
struct Later {
    number: i64,
    available: i64,
    reserved: i64,
    promo: i64,
    /// Nothing was left to spend after one of the entries looked at.
    was_empty: bool,
    /// What came into each book and did not leave it again, by all entries looked at.
    came_in: BTreeMap<String, i64>,
}

impl Later {
    fn follows(&mut self, entry: &Entry, tenant: TenantId, found: &mut Found) {
        let of = Some(tenant);
        if entry.number != self.number - 1 {
            found.add(of, "ledger", || format!("the entries between {} and {} are missing", entry.number, self.number));
        } else if (entry.available, entry.reserved, entry.promo) != (self.available, self.reserved, self.promo) {
            found.add(of, "ledger", || {
                format!(
                    "after entry {} there are {} available, {} promotional and {} set aside, and what follows begins with {}, {} and {}",
                    entry.number, entry.available, entry.promo, entry.reserved, self.available, self.promo, self.reserved
                )
            });
        }
        if entry.amount < 0 || entry.from_book == entry.to_book {
            found.add(of, "ledger", || format!("entry {} moves nothing from one book to another", entry.number));
        }
        let change = |book: &str| {
            let to = if entry.to_book == book { entry.amount } else { 0 };
            let from = if entry.from_book == book { entry.amount } else { 0 };
            to - from
        };
        self.was_empty |= entry.available < 0 || entry.available + entry.promo <= 0;
        self.number = entry.number;
        self.available = entry.available - change("available");
        self.reserved = entry.reserved - change("reserved");
        self.promo = entry.promo - change("promotional");
        *self.came_in.entry(entry.to_book.to_string()).or_default() += entry.amount;
        *self.came_in.entry(entry.from_book.to_string()).or_default() -= entry.amount;
    }

    /// Holds every book against what its entries come to. What came in from outside left the book it came from.
    fn compare(&self, ledger: &Ledger, found: &mut Found) {
        let books = [
            (Book::Revenue, ledger.revenue),
            (Book::Purchased, -ledger.purchased),
            (Book::Adjusted, -ledger.adjusted),
            (Book::Granted, -ledger.granted),
        ];
        for (book, told) in books {
            let sum = self.came_in.get(book.as_str()).copied().unwrap_or(0);
            if sum != told {
                let name = book.as_str();
                found.add(Some(ledger.tenant_id), "ledger", || {
                    format!("the entries come to {} {name}, the balance says {}", sum.abs(), told.abs())
                });
            }
        }
    }
}

/// Plays the entries again that have to do with promotional credit, the oldest first, and holds what each grant has left against that.
async fn look_at_grants(db: &Db, ledger: &Ledger, grants: Vec<Grant>, found: &mut Found) -> Result<(), Error> {
    let tenant = ledger.tenant_id;
    if grants.is_empty() && ledger.promo == 0 && ledger.granted == 0 {
        return Ok(());
    }
    let kept: BTreeMap<i64, Grant> = grants.into_iter().map(|grant| (grant.number, grant)).collect();
    let (mut played, mut after, last) = (Played::default(), 0, ledger.entries);
    loop {
        let page = read(db, tenant, move |tx| Box::pin(recounts::promotional_entries(tx, tenant, after, last, PAGE)));
        let page = page.await?;
        let Some(newest) = page.last() else { break };
        after = newest.number;
        for entry in &page {
            if let Some(wrong) = played.follow(entry, &kept) {
                found.add(Some(tenant), "grant", || format!("entry {}: {wrong}", entry.number));
            }
        }
    }
    for (number, grant) in &kept {
        match played.grants.iter().find(|played| played.number == *number).map(|played| played.rest) {
            Some(rest) if rest == grant.rest => {}
            Some(rest) => found.add(Some(tenant), "grant", || {
                format!("grant {number} has {} left, and by the entries {rest}", grant.rest)
            }),
            None => found.add(Some(tenant), "grant", || format!("grant {number} of {} has no entry", grant.amount)),
        }
    }
    Ok(())
}

/// Grants as the entries so far leave them.
#[derive(Default)]
struct Played {
    /// What ends first first.
    grants: Vec<Grant>,
    /// Their numbers, the oldest first.
    numbers: Vec<i64>,
    /// What was given back and found no grant: it ends with the next entry.
    homeless: i64,
}

impl Played {
    /// Plays one entry. Answers what is wrong with it.
    fn follow(&mut self, entry: &Entry, kept: &BTreeMap<i64, Grant>) -> Option<String> {
        let mut left = entry.amount;
        match &*entry.kind {
            "grant" => {
                let is_same = |kept: &&Grant| {
                    (kept.amount, kept.created_at, Some(&kept.reference)) == (left, entry.at, entry.reference.as_ref())
                        && kept.expires_at > kept.created_at
                };
                let Some(grant) = kept.get(&entry.number).filter(is_same) else {
                    return Some("its grant says something else, or is not there".to_owned());
                };
                self.grants.push(Grant { rest: left, ..grant.clone() });
                self.grants.sort_by_key(|grant| (grant.expires_at, grant.number));
                self.numbers.push(entry.number);
                None
            }
            "expire" if entry.message_id.is_some() => {
                let homeless = std::mem::take(&mut self.homeless);
                (homeless != left).then(|| format!("it ends {left}, and {homeless} found no grant"))
            }
            "expire" => {
                let is_it = |grant: &&mut Grant| {
                    (grant.expires_at, grant.rest, Some(&grant.reference)) == (entry.at, left, entry.reference.as_ref())
                };
                match self.grants.iter_mut().find(is_it) {
                    Some(grant) => grant.rest = 0,
                    None => return Some(format!("no grant ended at {} with {left} left", entry.at)),
                }
                None
            }
            _ if entry.from_book == "promotional" => {
                for grant in &mut self.grants {
                    let taken = left.min(grant.rest);
                    (grant.rest, left) = (grant.rest - taken, left - taken);
                }
                (left != 0).then(|| format!("it spends {left} more than the grants have left"))
            }
            _ => {
                let first = self.numbers[self.numbers.len().saturating_sub(GRANTS_READ)..].first().copied();
                let read = self.grants.iter_mut().filter(|grant| Some(grant.number) >= first || grant.rest > 0);
                for grant in read.rev() {
                    let room = left.min(grant.amount - grant.rest);
                    (grant.rest, left) = (grant.rest + room, left - room);
                }
                // A grant further back may have been read, because it had something left when the transaction began.
                self.homeless = left;
                None
            }
        }
    }
}
