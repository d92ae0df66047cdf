//! Each ledger's entries against one another, its balances, its grants, the purchases they came from, and what its messages were charged.

use std::collections::{BTreeMap, BTreeSet};

use model::{PurchaseId, TenantId};
use store::{
    Db, charge_counters,
    credits::{self, Entry, Ledger},
    purchases, recounts,
};

use super::{Found, PAGE, TOLD_MAX, read};
use crate::{
    Error,
    money::ledger::{self, Book},
};

/// Checks one tenant's ledger.
pub(super) async fn look(db: &Db, tenant: TenantId, found: &mut Found) -> Result<(), Error> {
    let of = Some(tenant);
    let balances = read(db, tenant, move |tx| {
        Box::pin(async move {
            let Some(ledger) = credits::find(tx, tenant).await? else { return Ok(None) };
            let left = credits::grants_left(tx, tenant).await?;
            Ok(Some((ledger, credits::sums(tx, tenant).await?, charge_counters::total(tx, tenant).await?, left)))
        })
    });
    let Some((ledger, (reserved, charged), counted, left)) = balances.await? else { return Ok(()) };
    if !ledger::balances(&ledger) {
        found.add(of, "ledger", || {
            "available, reserved and spent do not add up to what was purchased and adjusted".to_owned()
        });
    }
    if (reserved, charged) != (ledger.reserved, ledger.revenue) {
        found.add(of, "ledger", || {
            format!(
                "the charges come to {reserved} set aside and {charged} spent, the balances say {} and {}",
                ledger.reserved, ledger.revenue
            )
        });
    }
    if counted != ledger.revenue {
        found.add(of, "ledger", || {
            format!("by channel and country {counted} were charged, the ledger has charged {}", ledger.revenue)
        });
    }
    if left != ledger.promo {
        found.add(of, "ledger", || {
            format!("the grants have {left} left, the balance of promotional credit says {}", ledger.promo)
        });
    }
    // Newest first: each entry's balances follow from those of the one before it. Entries do not change, so those up to the balances that were read are the same in every snapshot.
    let mut later = Later {
        number: ledger.entries + 1,
        available: ledger.available,
        reserved: ledger.reserved,
        promo: ledger.promo,
        came_in: BTreeMap::new(),
        purchases: BTreeMap::new(),
    };
    let mut before = ledger.entries + 1;
    loop {
        let page = read(db, tenant, move |tx| Box::pin(credits::entries(tx, tenant, before, PAGE))).await?;
        let Some(last) = page.last() else { break };
        before = last.number;
        found.verified.entries += page.len() as u64;
        for entry in &page {
            later.follows(entry, tenant, found);
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
    look_at_purchases(db, tenant, &ledger, &later.purchases, found).await?;
    for wrong in read(db, tenant, move |tx| Box::pin(recounts::mischarged(tx, tenant, TOLD_MAX as i64))).await? {
        found.add(of, "charge", || {
            let charge = wrong.charge.as_ref().map_or("there is no charge".to_owned(), |(state, quoted, charged)| {
                format!("its charge of {quoted} is {state} with {charged}")
            });
            format!(
                "{}: its entries leave {} set aside and charge {}, and {charge}",
                wrong.message_id, wrong.aside, wrong.paid
            )
        });
    }
    Ok(())
}

/// What the entry that is looked at next must lead to.
struct Later {
    number: i64,
    available: i64,
    reserved: i64,
    promo: i64,
    /// What came into each book and did not leave it again, by all entries looked at.
    came_in: BTreeMap<String, i64>,
    /// What entries of purchases brought, by their numbers.
    purchases: BTreeMap<i64, i64>,
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
        self.number = entry.number;
        self.available = entry.available - change("available");
        self.reserved = entry.reserved - change("reserved");
        self.promo = entry.promo - change("promotional");
        *self.came_in.entry(entry.to_book.to_string()).or_default() += entry.amount;
        *self.came_in.entry(entry.from_book.to_string()).or_default() -= entry.amount;
        if entry.kind == "purchase" {
            self.purchases.insert(entry.number, entry.amount);
        }
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

/// Each purchase that was paid has brought what it says, by an entry of its own.
async fn look_at_purchases(
    db: &Db,
    tenant: TenantId,
    ledger: &Ledger,
    entries: &BTreeMap<i64, i64>,
    found: &mut Found,
) -> Result<(), Error> {
    let mut before = PurchaseId::from_ulid(u128::MAX);
    let mut seen = BTreeSet::new();
    loop {
        let page = read(db, tenant, move |tx| Box::pin(purchases::list(tx, tenant, before, PAGE))).await?;
        let Some(last) = page.last() else { return Ok(()) };
        before = last.id;
        // What was paid since the entries were read is looked at next time.
        for row in page.iter().filter(|row| row.entry.is_none_or(|entry| entry <= ledger.entries)) {
            let brought = row.entry.and_then(|entry| entries.get(&entry).copied());
            let is_new = row.entry.is_none_or(|entry| seen.insert(entry));
            let is_right = match row.state.as_str() {
                "paid" => brought == Some(row.amount) && is_new,
                _ => row.entry.is_none(),
            };
            if !is_right {
                found.add(Some(tenant), "ledger", || {
                    let brought =
                        brought.map_or("no entry of its own".to_owned(), |amount| format!("an entry of {amount}"));
                    format!("{} over {} is {}, and there is {brought}", row.id, row.amount, row.state)
                });
            }
        }
    }
}
