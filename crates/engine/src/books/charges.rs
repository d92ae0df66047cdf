//! What each message was charged: by what became of it, under which price, and in which quarter of an hour it is summed.

use std::collections::{BTreeMap, BTreeSet};

use model::{Channel, Timestamp};
use store::{
    Db,
    charge_counters::{self, Counts, Key, SLOT_S},
    credits::Charge,
    fallbacks::FormerRoute,
    messages::Message,
    recounts,
};

use super::{
    END, Found, LATER_S, Page, ROWS_MAX, differing, each,
    history::{History, Prices},
    read,
};
use crate::{
    Error, country,
    money::{
        book::{Asked, Book, Category, PARTS, Price, PriceUnit, up, usable},
        charge,
        ledger::{RELEASED, RESERVED, SETTLED},
    },
    plans::quota,
};

/// By how many millionths a charge may differ from its price where that has fractions: each time it was put right, less than one was carried to another message.
const CARRIED_MAX: i128 = 10;

/// What is wrong with a message's charges by what became of the message, by their prices, and by the charges themselves.
pub(super) fn misjudged(history: &History, prices: &Prices, m: &Message, page: &Page) -> Vec<String> {
    if page.unread.contains(&m.id) {
        return vec!["what its rows say it costs cannot be read".to_owned()];
    }
    let mut wrong = Vec::new();
    let routes: Vec<&FormerRoute> = page.routes_of(m).collect();
    let before: i64 = routes.iter().filter_map(|route| route.cost_micros).sum();
    if m.cost_before != before {
        wrong.push(format!("ways it left are said to have cost {}, and they come to {before}", m.cost_before));
    }
    let has_left = routes.iter().any(|route| route.sent_at.is_some());
    let Some(charge) = page.charges.get(&m.id) else {
        // Where there is none its tenant is not billed, and what its provider asked may stand on it all the same. What Tidings itself says costs nothing.
        let was_sent = m.sent_at.is_some() || has_left;
        if was_sent && !quota::is_ours(m) && !history.is_demo && history.was_billed(m.created_at) {
            wrong.push("it was sent while its tenant was billed, and there is no charge".to_owned());
        }
        return wrong;
    };
    wrong.extend(unfit(m, charge, has_left && history.has_changed_since(m.created_at)));
    if m.cost_micros != Some(shown(charge)) {
        wrong.push(format!(
            "it says it costs {:?} millionths, and its charge comes to {}",
            m.cost_micros,
            shown(charge)
        ));
    }
    if m.cost_currency.is_none() || m.cost_currency != history.currency {
        wrong.push(format!(
            "it costs something in {:?}, and its tenant's ledger is in {:?}",
            m.cost_currency, history.currency
        ));
    }
    wrong.extend(unequal(charge));
    if m.created_at >= history.charges_whole {
        wrong.extend(mispriced(history, prices, m, &Way::now(m), charge));
    }
    let mut own = 0;
    for route in &routes {
        let Some(way) = page.ways.get(&(m.id, route.position)) else { continue };
        own += way.charged;
        if route.cost_micros != Some(way.charged) || route.cost_currency != history.currency {
            wrong.push(format!(
                "a way it left over {} is said to cost {:?} in {:?}, and was charged {}",
                route.channel, route.cost_micros, route.cost_currency, way.charged
            ));
        }
        let of_way = unequal(way).into_iter().chain(mispriced(history, prices, m, &Way::left(m, route), way));
        wrong.extend(of_way.map(|wrong| format!("the way it left over {}: {wrong}", route.channel)));
    }
    // Ways that were left before they had charges of their own were charged, too.
    let is_apart = routes.iter().all(|route| route.sent_at.is_none() || route.charge.is_some());
    if own > charge.charged_before || (is_apart && own != charge.charged_before) {
        wrong.push(format!("it was charged {} for ways it left, and they come to {own}", charge.charged_before));
    }
    wrong
}

/// A way a message goes or went, as far as that makes its price.
struct Way<'a> {
    asked: Asked<'a>,
    was_sent: bool,
    segments: Option<u32>,
}

impl<'a> Way<'a> {
    /// The way it goes now.
    fn now(m: &'a Message) -> Self {
        let provider = m.connector.as_deref().unwrap_or_default();
        let asked = Asked::new(m.channel, provider, &m.address, m.purpose);
        Self { asked, was_sent: m.sent_at.is_some(), segments: m.segments }
    }

    /// A way it left.
    fn left(m: &Message, route: &'a FormerRoute) -> Self {
        let asked = Asked::new(route.channel, &route.connector, &route.address, m.purpose);
        Self { asked, was_sent: route.sent_at.is_some(), segments: route.segments }
    }
}

/// What a message is shown to cost.
fn shown(charge: &Charge) -> i64 {
    if charge.state == RESERVED { charge.charged_before + charge.quoted } else { charge.charged }
}

/// The state of a charge against what became of its message. `may_stay`: the way it goes now may have no price, so that what it was charged for the way it left may be all.
fn unfit(m: &Message, charge: &Charge, may_stay: bool) -> Option<String> {
    let expected = match (m.sent_at.is_some(), charge::is_given_back(m)) {
        (true, _) => SETTLED,
        (false, true) => RELEASED,
        (false, false) => RESERVED,
    };
    // A dead letter that is tried again keeps what was given back until it is sent.
    let is_retried = charge.state == RELEASED && expected == RESERVED;
    let is_fit = charge.state == expected || is_retried || (may_stay && charge.state == SETTLED);
    (!is_fit).then(|| format!("it is {}, and its charge is {} instead of {expected}", m.status, charge.state))
}

/// Amounts of a charge that do not fit one another.
fn unequal(c: &Charge) -> Option<String> {
    let now = match &*c.state {
        RESERVED => c.quoted,
        SETTLED => c.charged - c.charged_before,
        _ => 0,
    };
    let is_before = c.state == RELEASED || c.state == RESERVED;
    let is_right = c.quoted >= 0
        && c.charged_before >= 0
        && now >= 0
        && (!is_before || c.charged == c.charged_before)
        && (0..=now).contains(&c.promo)
        && c.reported.is_some() == c.reported_currency.is_some();
    (!is_right).then(|| {
        format!(
            "of {} charged, {} for ways it left, and {} set aside, promotional credit pays {}, which does not fit",
            c.charged, c.charged_before, c.quoted, c.promo
        )
    })
}

/// What is wrong with a charge by the price list it names.
fn mispriced(history: &History, prices: &Prices, m: &Message, way: &Way<'_>, c: &Charge) -> Vec<String> {
    let mut wrong = Vec::new();
    let currency = history.currency.as_deref().unwrap_or_default();
    let (price, category) = (Price::of_charge(c), Category::parse(&c.category));
    if category.map_or("", Category::as_str) != c.category {
        wrong.push(format!("it is priced as {}, which is no kind of message", c.category));
    }
    match prices.book(c.list_version) {
        None => wrong.push(format!("there is no price list {}", c.list_version)),
        Some(_) if !prices.counted(c.list_version, currency, m.created_at) => {
            wrong.push(format!("price list {} did not count when it was accepted", c.list_version));
        }
        Some(book) if !names(book, currency, way, c) => {
            wrong.push(format!(
                "price list {} does not name its price of {} for each {}",
                c.list_version,
                c.unit,
                price.per.as_str()
            ));
        }
        Some(_) => {}
    }
    let counted = u32::try_from(c.units).ok();
    let is_settled = c.state == SETTLED && way.was_sent;
    if counted.is_none() || (is_settled && way.segments.is_some() && way.segments != counted) {
        wrong.push(format!("it was sent in {:?} parts, and charged for {}", way.segments, c.units));
    }
    // What credit did not reach for was not charged.
    let is_short = history.may_have_paid_ahead();
    if is_settled {
        let known = usable(c.reported, c.reported_currency.as_deref(), currency);
        let (exact, paid) = (price.exact(counted, known), i128::from(c.charged - c.charged_before) * PARTS);
        let is_whole = price.per != PriceUnit::Thousand && price.markup.is_none();
        let slack = if is_whole { 0 } else { CARRIED_MAX * PARTS };
        if paid > exact + slack || (!is_short && paid < exact - slack) {
            wrong.push(format!(
                "its price comes to {}, and it was charged {}",
                up(exact),
                c.charged - c.charged_before
            ));
        }
    }
    // In how many parts it was to be sent is known only until it was.
    let one = price.exact(Some(1), None);
    let is_quote = |units: i128| up(one * units) == c.quoted;
    let is_right = match (price.per.is_counted(), &*c.state) {
        // It may have been billed as another kind than it was sent as, whose price was set aside.
        (_, SETTLED) if way.asked.channel == Channel::Whatsapp => true,
        (true, RESERVED) => is_quote(i128::from(c.units.max(1))),
        (true, _) => one == 0 && c.quoted == 0 || one > 0 && is_quote((i128::from(c.quoted) * PARTS).div_euclid(one)),
        (false, _) => is_quote(1),
    };
    let is_less = is_short && c.quoted < up(one * i128::from(c.units.max(1)));
    if !is_right && !is_less {
        wrong.push(format!("{} were set aside, which is no number of its price", c.quoted));
    }
    wrong
}

/// True when a list names the price of a charge: for what the message is, or, as one whose new way has no price keeps that of the old one, for another message over any channel. What WhatsApp bills as free
/// costs its provider nothing.
fn names(book: &Book, currency: &str, way: &Way<'_>, c: &Charge) -> bool {
    let price = Price::of_charge(c);
    let is_free = way.asked.channel == Channel::Whatsapp && price.cost_micros == Some(0);
    let is_it = |named: Price| {
        named == price || (is_free && Price { cost_micros: named.cost_micros.map(|_| 0), ..named } == price)
    };
    let asked = Asked { category: Category::parse(&c.category), ..way.asked };
    book.find(currency, &asked, END).is_some_and(is_it)
        || book.list(currency, END).is_some_and(|list| list.rows.iter().any(|row| is_it(row.price(list.version))))
}

/// What a tenant's messages were charged, by the place it is summed at.
#[derive(Default)]
pub(super) struct Recount {
    sums: BTreeMap<Key, Counts>,
    /// Quarters of an hour of which only the whole is known: by which of its ways a message was charged how much is not kept, or it was summed by an upgrade.
    wholes: BTreeSet<Timestamp>,
}

impl Recount {
    pub(super) fn add(&mut self, history: &History, m: &Message, page: &Page) {
        let Some(c) = page.charges.get(&m.id) else { return };
        let at = charge_counters::slot(m.created_at);
        let place = |channel, address: &str| Key {
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
                // It was left before ways had charges of their own.
                None => older.push(place),
            }
        }
        let before = older.first().unwrap_or(&now).clone();
        let is_known =
            older.iter().all(|key| *key == before) && (older.is_empty() || !history.has_changed_since(m.created_at));
        let rest = c.charged_before - own;
        add(before, older.len().max(usize::from(rest != 0)) as i64, rest);
        add(now, i64::from(c.state == SETTLED), c.charged - c.charged_before);
        if !is_known || m.created_at < history.charges_summed {
            self.wholes.insert(at);
        }
    }

    /// The sums of what is told apart: of a quarter of an hour of which only the whole is known, that.
    fn comparable(&self, sums: &BTreeMap<Key, Counts>) -> BTreeMap<(Timestamp, String), Counts> {
        let mut all: BTreeMap<(Timestamp, String), Counts> = BTreeMap::new();
        for (key, counts) in sums {
            let is_whole = self.wholes.contains(&key.at);
            let place = match is_whole {
                true => "in all".to_owned(),
                false => {
                    format!("over {}{}{}", key.channel, if key.country.is_empty() { "" } else { " to " }, key.country)
                }
            };
            let messages = if is_whole { 0 } else { counts.messages };
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

    pub(super) async fn compare(self, db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
        let tenant = history.tenant;
        let kept = read(db, tenant, move |tx| Box::pin(recounts::charge_counters(tx, tenant, Timestamp::EPOCH, END)));
        let mut kept = kept.await?;
        // What an upgrade could not find the messages of is in no quarter of an hour; then the older ones are in none either.
        let is_lost = kept.keys().any(|key| key.at == Timestamp::EPOCH) && history.charges_summed > Timestamp::EPOCH;
        kept.retain(|key, _| key.at != Timestamp::EPOCH || history.charges_summed == Timestamp::EPOCH);
        let suspects: BTreeSet<Timestamp> = self.differences(history, &kept).into_iter().map(|(at, _)| at).collect();
        for at in suspects.into_iter().filter(|at| !is_lost || *at >= history.charges_summed) {
            for (_, detail) in quarter(db, history, at).await? {
                found.add(Some(tenant), "charge", || detail);
            }
        }
        Ok(())
    }
}

/// Counts what messages of one quarter of an hour were charged again, in one snapshot, and says what differs.
async fn quarter(db: &Db, history: &History, at: Timestamp) -> Result<Vec<(Timestamp, String)>, Error> {
    let (tenant, until) = (history.tenant, at.plus_seconds(SLOT_S));
    let mut differences = Vec::new();
    for end in [until.plus_seconds(LATER_S), END] {
        let known = history.clone();
        differences = read(db, tenant, move |tx| {
            Box::pin(async move {
                let mut recount = Recount::default();
                each(tx, tenant, (at, until, end), true, |page, m| {
                    recount.add(&known, m, page);
                })
                .await?;
                let kept = recounts::charge_counters(tx, tenant, at, until).await?;
                Ok(recount.differences(&known, &kept))
            })
        })
        .await?;
        if differences.is_empty() {
            break;
        }
    }
    Ok(differences)
}

/// What one statement each finds of a tenant's charges.
pub(super) async fn look(db: &Db, history: &History, found: &mut Found) -> Result<(), Error> {
    let (tenant, of) = (history.tenant, Some(history.tenant));
    let rows = read(db, tenant, move |tx| Box::pin(recounts::charged_as_one(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |(one, other)| {
        format!("{one} and {other} are one message to the provider, and both were charged")
    });
    let rows = read(db, tenant, move |tx| Box::pin(recounts::mischarged(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |wrong| {
        let charge = wrong.charge.as_ref().map_or("there is no charge".to_owned(), |(state, quoted, charged)| {
            format!("its charge of {quoted} is {state} with {charged}")
        });
        format!(
            "{}: its entries leave {} set aside and charge {}, and {charge}",
            wrong.message_id, wrong.aside, wrong.paid
        )
    });
    let rows = read(db, tenant, move |tx| Box::pin(recounts::misquoted(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |wrong| {
        format!(
            "{}: its entries set {} aside and took {} of promotional credit, its charge says {} and {}",
            wrong.message_id, wrong.entries_quoted, wrong.entries_promo, wrong.quoted, wrong.promo
        )
    });
    // Earlier versions removed old messages.
    let since = history.charges_summed;
    let rows = read(db, tenant, move |tx| Box::pin(recounts::charges_of_nothing(tx, tenant, since, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |id| format!("{id} was charged, and there is no such message"));
    Ok(())
}
