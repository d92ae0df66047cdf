//! What was so when: rows are held against the prices, the plan and the way to pay of their time, and those of an earlier Tidings only against what that wrote.

use std::collections::{BTreeMap, BTreeSet};

use model::{PlanId, TenantId, Timestamp};
use serde_json::Value;
use store::{Db, Scope, prices, recounts, tenants::Tenant};

use crate::{
    Error,
    money::{BillingMode, book::Book, prices::view},
};

/// The version of the database from which charges are summed as they are made.
const CHARGES_SUMMED: i64 = 24;
/// From which a charge says how many parts it is for, and what its price is made of.
const CHARGES_WHOLE: i64 = 18;
/// From which every purchase and every refund has a row.
const PURCHASES_KEPT: i64 = 22;
/// From which messages say what their tenant's clock showed.
const CLOCKS_KEPT: i64 = 23;
/// How far clocks of nodes may be apart, and how long accepting takes, in seconds.
const SLACK_S: i64 = 60;
/// Price lists whose rows are kept in memory at once.
const BOOKS_MAX: usize = 8;

/// What is known of a tenant's past.
#[derive(Clone)]
pub(super) struct History {
    pub tenant: TenantId,
    /// A demo's bill is for show.
    pub is_demo: bool,
    /// Since when charges are summed as they are made; what is older was summed by an upgrade.
    pub charges_summed: Timestamp,
    /// Since when charges say everything.
    pub charges_whole: Timestamp,
    /// Since when purchases and refunds have rows.
    pub purchases_kept: Timestamp,
    /// Since when messages say what the tenant's clock showed.
    pub clocks_kept: Timestamp,
    /// The currency of its ledger, if it has one.
    pub currency: Option<String>,
    /// How it paid, each from an instant on; `None` where the audit log does not tell it all.
    modes: Option<Vec<(Timestamp, BillingMode)>>,
    /// When its plan was last another one; `None` without a plan.
    pub plan_since: Option<Timestamp>,
    /// When its subscription was changed.
    pub subscription_changes: Vec<Timestamp>,
    /// When it began to pay afterwards.
    pub postpaid_since: Vec<Timestamp>,
}

impl History {
    pub(super) async fn read(db: &Db, row: &Tenant) -> Result<Self, Error> {
        let (tenant, is_demo) = (row.id, row.is_demo);
        let read = super::read(db, tenant, move |tx| {
            Box::pin(async move {
                let ledger = store::credits::find(tx, tenant).await?;
                let changes = recounts::changes_of_billing(tx, tenant).await?;
                Ok(Self {
                    tenant,
                    is_demo,
                    charges_summed: recounts::upgraded_at(tx, CHARGES_SUMMED).await?,
                    charges_whole: recounts::upgraded_at(tx, CHARGES_WHOLE).await?,
                    purchases_kept: recounts::upgraded_at(tx, PURCHASES_KEPT).await?,
                    clocks_kept: recounts::upgraded_at(tx, CLOCKS_KEPT).await?,
                    modes: modes(&changes, ledger.as_ref().map_or("none", |ledger| &ledger.mode)),
                    currency: ledger.map(|ledger| ledger.currency),
                    plan_since: changes.iter().rev().find_map(|change| new_plan(change).map(|_| change.0)),
                    subscription_changes: changes
                        .iter()
                        .filter(|(_, action, _)| action.starts_with("subscription."))
                        .map(|change| change.0)
                        .collect(),
                    postpaid_since: changes
                        .iter()
                        .filter(|change| new_mode(change) == Some(BillingMode::Postpaid))
                        .map(|change| change.0)
                        .collect(),
                })
            })
        });
        read.await
    }

    /// True when the tenant was billed for certain when it accepted a message at an instant.
    pub(super) fn was_billed(&self, at: Timestamp) -> bool {
        self.modes_around(at).is_some_and(|modes| modes.iter().all(|mode| *mode != BillingMode::None))
    }

    /// True when credit may have run out for the tenant, now or before.
    pub(super) fn may_have_paid_ahead(&self) -> bool {
        self.modes.as_ref().is_none_or(|modes| modes.iter().any(|(_, mode)| *mode == BillingMode::Prepaid))
    }

    /// True when the way the tenant pays was another one after an instant.
    pub(super) fn has_changed_since(&self, at: Timestamp) -> bool {
        self.modes.as_ref().is_none_or(|modes| modes.iter().any(|(since, _)| *since > at))
    }

    /// How the tenant paid around an instant; `None` where that is not known.
    fn modes_around(&self, at: Timestamp) -> Option<Vec<BillingMode>> {
        let modes = self.modes.as_ref()?;
        let (from, until) = (at.plus_seconds(-SLACK_S), at.plus_seconds(SLACK_S));
        let before = modes.iter().rev().find(|(since, _)| *since <= from).map_or(BillingMode::None, |(_, mode)| *mode);
        let within = modes.iter().filter(|(since, _)| (from..until).contains(since)).map(|(_, mode)| *mode);
        Some([before].into_iter().chain(within).collect())
    }
}

/// How a tenant paid, each from an instant on; `None` when that does not lead to how it pays now.
fn modes(changes: &[(Timestamp, String, String)], now: &str) -> Option<Vec<(Timestamp, BillingMode)>> {
    let modes: Vec<_> = changes.iter().filter_map(|change| Some((change.0, new_mode(change)?))).collect();
    let last = modes.last().map_or(BillingMode::None, |(_, mode)| *mode);
    (last == BillingMode::from_stored(now)).then_some(modes)
}

/// The way to pay a change gave.
fn new_mode((_, action, detail): &(Timestamp, String, String)) -> Option<BillingMode> {
    let detail: Value = serde_json::from_str(detail).ok().filter(|_| action == "credits.updated")?;
    Some(BillingMode::from_stored(detail["mode"]["to"].as_str()?))
}

/// The plan a change gave.
pub(super) fn new_plan((_, action, detail): &(Timestamp, String, String)) -> Option<PlanId> {
    let detail: Value = serde_json::from_str(detail).ok().filter(|_| action.starts_with("subscription."))?;
    let plan = &detail["plan_id"];
    plan.as_str().or_else(|| plan["to"].as_str())?.parse().ok()
}

/// The operator's price lists.
pub(super) struct Prices {
    /// Version, currency and beginning of each.
    lists: Vec<(i64, String, Timestamp)>,
    /// Those whose rows were needed last, each in a book of its own.
    books: BTreeMap<i64, Book>,
}

impl Prices {
    pub(super) async fn read(db: &Db) -> Result<Self, Error> {
        let read =
            db.read(Scope::System, |tx| Box::pin(async move { Ok::<_, Error>(recounts::price_lists(tx).await?) }));
        Ok(Self { lists: read.await?, books: BTreeMap::new() })
    }

    /// Reads the rows of these versions, as far as they are there and not read yet.
    pub(super) async fn need(&mut self, db: &Db, versions: &BTreeSet<i64>) -> Result<(), Error> {
        if versions.iter().any(|version| !self.lists.iter().any(|(known, ..)| known == version)) {
            self.lists = Self::read(db).await?.lists;
        }
        if versions.len() + self.books.len() > BOOKS_MAX {
            self.books.retain(|version, _| versions.contains(version));
        }
        for version in versions {
            if self.books.contains_key(version) {
                continue;
            }
            let version = *version;
            let read = db.read(Scope::System, move |tx| {
                Box::pin(async move { Ok::<_, Error>(prices::find(tx, version).await?) })
            });
            if let Some(list) = read.await? {
                self.books.insert(version, Book::new([view(list)]));
            }
        }
        Ok(())
    }

    /// The book of one list, which [`Prices::need`] has read.
    pub(super) fn book(&self, version: i64) -> Option<&Book> {
        self.books.get(&version)
    }

    /// True when a list of a currency counted for what was accepted at an instant.
    pub(super) fn counted(&self, version: i64, currency: &str, at: Timestamp) -> bool {
        let valid = |at: Timestamp| {
            let valid = self.lists.iter().filter(|(_, of, since)| of == currency && *since <= at);
            valid.max_by_key(|(version, _, since)| (*since, *version)).map(|(version, ..)| *version)
        };
        [at, at.plus_seconds(-SLACK_S), at.plus_seconds(SLACK_S)].into_iter().any(|at| valid(at) == Some(version))
    }
}
