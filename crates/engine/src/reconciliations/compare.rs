//! Comparing messages, where the provider lists them: a page of its records at a time is held against ours, what is the same is removed, and what it says anew of price and parts is applied.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use model::{AccountId, Fact, MessageId, Money};
use store::{
    Scope, Tx, credits,
    credits::Charge,
    fallbacks::{self, FormerRoute},
    messages::{self, Message},
    reconciliations::{self as rows, Reconciliation, Record},
};

use super::{
    removed,
    work::{Step, is_compared, write},
};
use crate::{
    Engine, Error,
    apply::{Input, Learned},
    money::book::Price,
};

/// Records compared in one step.
const THEIRS_PAGE: i64 = 1_000;
/// Shortest id by which a message is looked for at other accounts, in characters: shorter ones are numbers every account begins anew.
pub(super) const UNIQUE_MIN: usize = 16;
/// Looks for messages at other accounts in one step, at most: an id at an account each, some seconds' work. Beyond, what is missing is believed.
const LOOKS_MAX: usize = 2_000_000;
/// The same in one transaction.
const LOOKS_AT_ONCE: usize = 20_000;

pub(super) async fn compare(engine: &Arc<Engine>, row: &Reconciliation) -> Step {
    let (tenant, id, seen) = (row.tenant_id, row.id, row.clone());
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let page = rows::records(tx, tenant, id, Some(""), &seen.place, THEIRS_PAGE).await?;
            let known = known(tx, &seen, &page).await?;
            Ok::<_, Error>((page, known))
        })
    });
    let (page, mut known) = read.await?;
    let missing = page.iter().filter(|record| is_asked(row, record) && known.message(record).is_none());
    let missing: Vec<String> = missing.map(|record| record.record.clone()).collect();
    known.elsewhere = elsewhere(engine, row, &missing).await?;
    let mut after = Reconciliation { tries: 0, failure: None, ..row.clone() };
    match page.last().filter(|_| page.len() as i64 == THEIRS_PAGE) {
        Some(last) => after.place.clone_from(&last.record),
        None => "done".clone_into(&mut after.state),
    }
    let Judged { same, different, news } = judge(&mut after, page, &known);
    // First what is learned, which may be learned twice: the page is not looked at again once it is written.
    if row.is_binding && !news.is_empty() {
        learn(engine, row, news).await?;
    }
    let is_written = write(engine, row, after, move |tx| {
        Box::pin(async move {
            rows::remove_records(tx, tenant, id, &same).await?;
            Ok(rows::put_records(tx, tenant, id, &different).await?)
        })
    });
    is_written.await?;
    Ok(Ok(()))
}

/// What the provider says it takes, and for how many parts, reaches what messages cost.
async fn learn(engine: &Arc<Engine>, row: &Reconciliation, news: Vec<News>) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    let learned = |news: News| Learned {
        tenant_id: row.tenant_id,
        message_id: news.message_id,
        fact: Fact::Sent,
        at: now,
        source: "reconciliation".to_owned(),
        dedupe: match &news.former {
            Some(record) => format!("reconciled:{}:{record}", row.id),
            None => format!("reconciled:{}", row.id),
        },
        provider_status: None,
        provider_message_id: news.former,
        segments: news.segments,
        price: news.price,
        pricing: None,
        machine: None,
        attempt: None,
    };
    let learned: Vec<Learned> = news.into_iter().map(learned).collect();
    let weight = learned.len();
    let applied = engine.applies.submit(Input::Learned(learned), weight).await;
    applied.unwrap_or_else(|| Err(Error::internal("applying panicked")))
}

/// What is known of a page of records: our messages, and what they were charged.
struct Known {
    of_record: BTreeMap<String, MessageId>,
    messages: BTreeMap<MessageId, Message>,
    charges: BTreeMap<MessageId, Charge>,
    /// Ways they were sent and left, and what those were charged, by their records.
    former: BTreeMap<String, (FormerRoute, Option<Charge>)>,
    ledger: Option<String>,
    /// Records of messages that another account sent.
    elsewhere: BTreeSet<String>,
}

impl Known {
    fn message(&self, record: &Record) -> Option<&Message> {
        self.of_record.get(&record.record).and_then(|id| self.messages.get(id))
    }

    /// The way of a message a record is of; `None` for tries that were followed by others on the same way.
    fn way<'a>(&'a self, record: &Record, m: &'a Message) -> Option<Way<'a>> {
        if m.provider_message_id.as_ref() == Some(&record.record) {
            let cost = m.cost_micros.map(|cost| cost - m.cost_before).zip(m.cost_currency.as_deref());
            return Some(Way { is_former: false, segments: m.segments, cost, charge: self.charges.get(&m.id) });
        }
        let (route, charge) = self.former.get(&record.record)?;
        let cost = route.cost_micros.zip(route.cost_currency.as_deref());
        Some(Way { is_former: true, segments: route.segments, cost, charge: charge.as_ref() })
    }
}

/// What we have of a message the way a record is of.
struct Way<'a> {
    is_former: bool,
    segments: Option<u32>,
    /// What it cost, and in which currency.
    cost: Option<(i64, &'a str)>,
    charge: Option<&'a Charge>,
}

async fn known(tx: &mut Tx, row: &Reconciliation, page: &[Record]) -> Result<Known, store::Error> {
    let mut of_record: BTreeMap<String, MessageId> =
        page.iter().filter_map(|record| Some((record.record.clone(), record.message_id?))).collect();
    let open = page.iter().filter(|record| record.message_id.is_none());
    let open: Vec<(AccountId, String)> = open.map(|record| (row.account_id, record.record.clone())).collect();
    let mut found = messages::find_by_provider_ids(tx, &open).await?;
    found.extend(fallbacks::find_by_provider_ids(tx, &open).await?);
    let found = found.into_iter().filter(|(_, _, tenant, _)| *tenant == row.tenant_id);
    of_record.extend(found.map(|(_, record, _, message)| (record, message)));
    let keys: BTreeSet<_> = of_record.values().map(|id| (row.tenant_id, *id)).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let messages = messages::find_many(tx, &keys).await?;
    let charges = credits::of_messages(tx, &messages).await?;
    let mut former = BTreeMap::new();
    for route in fallbacks::former(tx, &keys).await? {
        let record = route.provider_message_id.clone().filter(|_| route.account_id == row.account_id);
        let Some(record) = record.filter(|_| route.sent_at.is_some()) else { continue };
        let charge = route.charge.as_deref().map(|text| Charge::of_way(route.tenant_id, route.message_id, text));
        former.insert(record, (route.clone(), charge.transpose()?));
    }
    let messages = messages.into_iter().map(|m| (m.id, m)).collect();
    let ledger = credits::find(tx, row.tenant_id).await?.map(|ledger| ledger.currency);
    Ok(Known { of_record, messages, charges, former, ledger, elsewhere: BTreeSet::new() })
}

/// Which of these records are messages that another account sent through the same account at the provider, of whichever tenant, also one that is gone: which one is told nobody.
async fn elsewhere(engine: &Engine, row: &Reconciliation, names: &[String]) -> Result<BTreeSet<String>, Error> {
    // An id may have the recipient behind it, where several messages of one request share it.
    let mut open: BTreeMap<String, String> = BTreeMap::new();
    for name in names {
        let bare = name.split_once('/').map(|(id, _)| id);
        let ids = std::iter::once(name.as_str()).chain(bare).filter(|id| id.len() >= UNIQUE_MIN);
        open.extend(ids.map(|id| (id.to_owned(), name.clone())));
    }
    let (tenant, account_id) = (row.tenant_id, row.account_id);
    let (mut found, mut looks, mut before) = (BTreeSet::new(), 0, AccountId::from_ulid(u128::MAX));
    while !open.is_empty() && looks < LOOKS_MAX {
        let limit = (LOOKS_AT_ONCE / open.len()).max(1);
        let ids: Vec<String> = open.keys().cloned().collect();
        let read = engine.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let Some(own) = store::accounts::find_ever(tx, tenant, account_id).await? else {
                    return Ok((Vec::new(), BTreeSet::new()));
                };
                let accounts = store::accounts::ever_of_connector(tx, &own.connector, before, limit as i64).await?;
                let keys = accounts.iter().flat_map(|account| ids.iter().map(|id| (*account, id.clone())));
                let keys: Vec<(AccountId, String)> = keys.collect();
                let mut there = messages::find_by_provider_ids(tx, &keys).await?;
                there.extend(fallbacks::find_by_provider_ids(tx, &keys).await?);
                let there: BTreeSet<String> = there.into_iter().map(|(_, id, ..)| id).collect();
                Ok::<_, Error>((accounts, there))
            })
        });
        let (accounts, there) = read.await?;
        looks += accounts.len() * open.len();
        found.extend(there.iter().filter_map(|id| open.remove(id)));
        match accounts.last().filter(|_| accounts.len() == limit) {
            Some(last) => before = *last,
            None => break,
        }
    }
    let gone = removed::known(engine, row, open.keys().cloned().collect()).await?;
    found.extend(gone.iter().filter_map(|id| open.remove(id)));
    Ok(found)
}

/// What the provider says about a message of ours that we did not know.
struct News {
    message_id: MessageId,
    /// The provider's id, where it speaks of a way the message left.
    former: Option<String>,
    price: Option<Money>,
    segments: Option<u32>,
}

/// What the comparison of a page comes to.
#[derive(Default)]
struct Judged {
    same: Vec<String>,
    different: Vec<Record>,
    news: Vec<News>,
}

/// Whether the provider sent something in the time; where it does not say when, it is taken for one of it.
fn is_asked(row: &Reconciliation, record: &Record) -> bool {
    record.at.is_none_or(|at| at >= row.starts_at && at < row.ends_at)
}

/// Compares a page of the provider's records with ours. Pure.
fn judge(row: &mut Reconciliation, page: Vec<Record>, known: &Known) -> Judged {
    let mut judged = Judged::default();
    for record in page {
        let is_asked = is_asked(row, &record);
        let Some(m) = known.message(&record) else {
            let is_elsewhere = known.elsewhere.contains(&record.record);
            row.elsewhere += i64::from(is_asked && is_elsewhere);
            if is_asked && !is_elsewhere {
                row.theirs += 1;
                row.missing_here += 1;
                judged.different.push(Record { kind: "missing_here".to_owned(), ..record });
            } else {
                judged.same.push(record.record);
            }
            continue;
        };
        // Our messages of the time were marked. Of the others our clock says that they belong to another time, or nothing where they never were sent as far as we know.
        if record.message_id.is_none() {
            let is_of_time = record.at.is_some() && is_asked && m.sent_at.is_none();
            if !is_of_time || !is_compared(row, m.channel) {
                judged.same.push(record.record);
                continue;
            }
            row.ours += 1;
        }
        row.theirs += 1;
        row.matched += 1;
        compare_one(row, &mut judged, record, m, known);
    }
    judged
}

/// Compares what both know of a message: its parts and its price.
fn compare_one(row: &mut Reconciliation, judged: &mut Judged, record: Record, m: &Message, known: &Known) {
    let Some(way) = known.way(&record, m) else {
        judged.same.push(record.record);
        return;
    };
    let segments = record.segments_theirs.and_then(|count| u32::try_from(count).ok());
    let had = way.segments.filter(|count| *count > 0);
    let former = way.is_former.then(|| record.record.clone());
    let mut news = News { message_id: m.id, former, price: None, segments: segments.filter(|_| segments != had) };
    let has_other_parts = news.segments.is_some() && had.is_some();
    row.segment_differences += i64::from(has_other_parts);
    let mut record = Record { message_id: Some(m.id), segments_ours: had.map(i64::from), ..record };
    if let (Some(theirs), Some(currency)) = (record.theirs, record.currency.clone()) {
        let is_told = match way.charge {
            Some(charge) => {
                charge.reported == Some(theirs) && charge.reported_currency.as_deref() == Some(currency.as_str())
            }
            None => way.cost == Some((theirs, currency.as_str())),
        };
        if !is_told {
            news.price = Some(Money { amount_micros: theirs, currency: currency.clone() });
        }
        if let Some(ours) = our_cost(&way, known.ledger.as_deref(), &currency) {
            if row.currency.get_or_insert_with(|| currency.clone()) == &currency {
                row.cost_ours += ours;
                row.cost_theirs += theirs;
            }
            if ours != theirs {
                row.price_differences += 1;
                record = Record { kind: "price".to_owned(), ours: Some(ours), ..record };
            }
        }
    }
    if record.kind.is_empty() && has_other_parts {
        let (kind, currency) = ("segments".to_owned(), None);
        record = Record { kind, currency, ours: record.segments_ours, theirs: record.segments_theirs, ..record };
    }
    if news.price.is_some() || news.segments.is_some() {
        judged.news.push(news);
    }
    if record.kind.is_empty() {
        judged.same.push(record.record);
    } else {
        judged.different.push(record);
    }
}

/// What the provider took for a message as we have it, in a currency: what it said before, or what the price list says it takes.
fn our_cost(way: &Way<'_>, ledger: Option<&str>, currency: &str) -> Option<i64> {
    let Some(charge) = way.charge else {
        // Who is not billed is shown what the provider takes.
        return way.cost.filter(|(_, known)| *known == currency).map(|(cost, _)| cost);
    };
    // What it said in another currency than the ledger's is kept, and was not used.
    if let Some(reported) = charge.reported.filter(|_| charge.reported_currency.as_deref() == Some(currency)) {
        return Some(reported);
    }
    let cost = Price { fixed_micros: charge.cost_unit?, cost_micros: None, markup: None, ..Price::of_charge(charge) };
    (ledger == Some(currency)).then(|| cost.of(u32::try_from(charge.units).ok()))
}
