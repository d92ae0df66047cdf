//! What each message was charged: by what became of it, under which price, and by its entries.

use model::{Channel, MessageId, TenantId};
use store::{
    Db,
    credits::Charge,
    fallbacks::FormerRoute,
    messages::Message,
    recounts::{self, Costs, Together},
};

use super::{
    END, Found, Page, ROWS_MAX,
    history::{History, Prices},
    read,
};
use crate::{
    Error,
    money::{
        book::{Asked, Book, Category, PARTS, Price, up, usable},
        charge,
        ledger::{CARRIED_MAX, RELEASED, RESERVED, SETTLED},
    },
    plans::quota,
};

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
    if m.cost_micros != Some(charge::shown(charge)) {
        wrong.push(format!(
            "it says it costs {:?} millionths, and its charge comes to {}",
            m.cost_micros,
            charge::shown(charge)
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
        && c.reported.is_some() == c.reported_currency.is_some()
        && c.reported.is_none_or(|reported| reported >= 0);
    (!is_right).then(|| {
        format!(
            "of {} charged, {} for ways it left, and {} set aside, promotional credit pays {}, and its provider took {:?}, which does not fit",
            c.charged, c.charged_before, c.quoted, c.promo, c.reported
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
        // WhatsApp may have billed it as another kind before, at a price with fractions.
        let is_whole = price.is_whole() && way.asked.channel != Channel::Whatsapp;
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

/// True when a list names the price of a charge: for what the message is, or, as one whose new way has no price keeps that of the old one, for another message over any channel. What
/// WhatsApp bills as free costs its provider nothing.
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

/// What one statement each finds of a tenant's charges. `ranges`: ids between which there are so few messages that what their entries come to can be held in memory.
pub(super) async fn look(db: &Db, history: &History, ranges: &[MessageId], found: &mut Found) -> Result<(), Error> {
    let (tenant, of) = (history.tenant, Some(history.tenant));
    let rows = read(db, tenant, move |tx| Box::pin(recounts::charged_as_one(tx, tenant, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |(one, other)| {
        format!("{one} and {other} are one message to the provider, and both were charged")
    });
    let (mut together, mut is_clean) = (Together::default(), true);
    for range in ranges.windows(2).map(|range| (range[0], range[1])) {
        let read = read(db, tenant, move |tx| Box::pin(recounts::mischarged(tx, tenant, range, ROWS_MAX)));
        let (rows, more) = read.await?;
        is_clean &= rows.count == 0;
        together += more;
        found.add_all(of, "charge", rows, |wrong| {
            let Costs { aside, charged, quoted, promo } = wrong.entries;
            let charge = wrong.charge.map_or("there is no charge".to_owned(), |(state, c)| {
                format!("its charge of {} is {state} with {} and {}", c.quoted, c.charged, c.promo)
            });
            format!(
                "{}: its entries set {quoted} aside and leave {aside} of it, charge {charged}, and take {promo} of promotional credit, and {charge}",
                wrong.message_id
            )
        });
    }
    if is_clean && let Some(wrong) = apart(db, tenant, ranges, together).await? {
        found.add(of, "charge", || wrong);
    }
    // Earlier versions removed old messages.
    let since = history.charges_summed;
    let rows = read(db, tenant, move |tx| Box::pin(recounts::charges_of_nothing(tx, tenant, since, ROWS_MAX))).await?;
    found.add_all(of, "charge", rows, |id| format!("{id} was charged, and there is no such message"));
    Ok(())
}

/// What was set aside for messages together, and charged, by the entries, when the messages do not say the same. Messages are accepted while the ranges are read, so what seems to differ is counted once more in one snapshot.
async fn apart(db: &Db, tenant: TenantId, ranges: &[MessageId], told: Together) -> Result<Option<String>, Error> {
    let set = read(db, tenant, move |tx| Box::pin(recounts::moved_together(tx, tenant))).await?;
    if agree(&told, &set) {
        return Ok(None);
    }
    let ranges = ranges.to_vec();
    let again = read(db, tenant, move |tx| {
        Box::pin(async move {
            let mut told = Together::default();
            for range in ranges.windows(2) {
                told += recounts::mischarged(tx, tenant, (range[0], range[1]), 1).await?.1;
            }
            Ok((told, recounts::moved_together(tx, tenant).await?))
        })
    });
    let (told, set) = again.await?;
    let differ = !agree(&told, &set);
    Ok(differ.then(|| {
        format!(
            "entries set {} aside for several messages at once, {} of it promotional credit, in {} parts of a message, and charge {} for {}; by the messages it is {}, {} and {}, and {} for {}",
            set.amount,
            set.promo,
            set.messages,
            set.charged,
            set.charges,
            told.amount,
            told.promo,
            told.messages,
            told.charged,
            told.charges
        )
    }))
}

fn agree(told: &Together, set: &Together) -> bool {
    let is_like = match told.is_blurred && set.promo > 0 {
        true => told.promo <= set.promo,
        false => (told.promo, told.messages) == (set.promo, set.messages),
    };
    (told.amount, told.charged, told.charges) == (set.amount, set.charged, set.charges) && is_like
}
