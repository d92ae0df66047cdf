//! What each message was charged: by what became of it, under which price, and in which quarter of an hour it is summed.

use std::collections::{BTreeMap, BTreeSet};

use model::Timestamp;
use store::{
    Db,
    charge_counters::{self, Counts, Key, SLOT_S},
    credits::Charge,
    fallbacks::FormerRoute,
    messages::Message,
    recounts,
};

use super::{
    END, Found, LATER_S, ROWS_MAX, differing, each,
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
};

/// By how many millionths a charge may differ from its price where that has fractions: each time it was put right, less than one was carried to another message.
const CARRIED_MAX: i128 = 10;

/// What is wrong with a message's charge by what became of the message, by its price, and by the charge itself.
pub(super) fn misjudged<'a>(
    history: &History,
    prices: &Prices,
    m: &Message,
    mut routes: impl Iterator<Item = &'a FormerRoute> + Clone,
    charge: Option<&Charge>,
    is_unread: bool,
) -> Vec<String> {
    if is_unread {
        return vec!["what its row says is set aside cannot be read".to_owned()];
    }
    let was_sent = m.sent_at.is_some() || routes.clone().any(|route| route.sent_at.is_some());
    let Some(charge) = charge else {
        // Where there is none its tenant is not billed, and what its provider asked may stand on it all the same. What Tidings itself answers costs nothing.
        let is_ours = m.topic.as_deref().is_some_and(|topic| topic.starts_with("reply:"));
        let is_missing = was_sent && !is_ours && !history.is_demo && history.was_billed(m.created_at);
        let wrong = "it was sent while its tenant was billed, and there is no charge";
        return is_missing.then(|| wrong.to_owned()).into_iter().collect();
    };
    let mut wrong = Vec::new();
    let has_left = routes.any(|route| route.sent_at.is_some());
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
        wrong.extend(mispriced(history, prices, m, charge));
    }
    wrong
}

/// What a message is shown to cost.
fn shown(charge: &Charge) -> i64 {
    if charge.state == RESERVED { charge.charged_before + charge.quoted } else { charge.charged }
}

/// The state of a charge against what became of its message. `may_stay`: the way it goes now may have no price, so that what it was charged for the way it left may be all.
fn unfit(m: &Message, charge: &Charge, may_stay: bool) -> Option<String> {
    let expected = match (m.sent_at.is_some(), charge::is_over(m)) {
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
fn mispriced(history: &History, prices: &Prices, m: &Message, c: &Charge) -> Vec<String> {
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
        Some(book) if !names(book, currency, m, c) => {
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
    if counted.is_none() || (c.state == SETTLED && m.sent_at.is_some() && m.segments.is_some() && m.segments != counted)
    {
        wrong.push(format!("it was sent in {:?} parts, and charged for {}", m.segments, c.units));
    }
    // What credit did not reach for was not charged.
    let is_short = history.may_have_paid_ahead();
    if c.state == SETTLED && m.sent_at.is_some() {
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

/// True when a list names the price of a charge: for what the message is, or, as one whose new way has no price keeps that of the old one, for another message over any channel.
fn names(book: &Book, currency: &str, m: &Message, c: &Charge) -> bool {
    let price = Price::of_charge(c);
    let provider = m.connector.as_deref().unwrap_or_default();
    let asked =
        Asked { category: Category::parse(&c.category), ..Asked::new(m.channel, provider, &m.address, m.purpose) };
    let is_first = book.find(currency, &asked, END) == Some(price);
    is_first
        || book.list(currency, END).is_some_and(|list| list.rows.iter().any(|row| row.price(list.version) == price))
}

/// What a tenant's messages were charged, by the place it is summed at.
#[derive(Default)]
pub(super) struct Recount {
    sums: BTreeMap<Key, Counts>,
    /// Quarters of an hour of which only the whole is known: by which of its ways a message was charged how much is not kept, or it was summed by an upgrade.
    wholes: BTreeSet<Timestamp>,
}

impl Recount {
    pub(super) fn add<'a>(
        &mut self,
        history: &History,
        m: &Message,
        routes: impl Iterator<Item = &'a FormerRoute> + Clone,
        charge: Option<&Charge>,
    ) {
        let Some(c) = charge else { return };
        let at = charge_counters::slot(m.created_at);
        let place = |channel, address: &str| Key {
            tenant_id: m.tenant_id,
            at,
            channel,
            country: country::text(channel, address),
        };
        let now = place(m.channel, &m.address);
        let left: Vec<Key> =
            routes.filter(|route| route.sent_at.is_some()).map(|route| place(route.channel, &route.address)).collect();
        let is_settled = c.state == SETTLED;
        let before = left.first().unwrap_or(&now).clone();
        let is_known =
            left.iter().all(|key| *key == before) && (left.is_empty() || !history.has_changed_since(m.created_at));
        if !is_known || m.created_at < history.charges_summed {
            self.wholes.insert(at);
        }
        let ways = left.len().max(usize::from(c.charged_before != 0)) as i64;
        let mut add = |key: Key, messages: i64, charged: i64| {
            *self.sums.entry(key).or_default() += Counts { messages, charged };
        };
        add(before, ways, c.charged_before);
        add(now, i64::from(is_settled), c.charged - c.charged_before);
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
                    recount.add(&known, m, page.routes_of(m), page.charges.get(&m.id));
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
