//! What a month's traffic would cost at other prices: read from sums, so a month of ten million mails and plain texts takes no longer than a small one.
//!
//! Sums know the country of a number and not its further digits, so rows for a longer prefix than a country's calling code are left out and counted in the answer. Neither do they know
//! what is priced apart within a channel (MMS, the categories of WhatsApp): that is read from what such messages were charged as. Of how many calls nobody told the minutes is counted among the
//! calls, as each costs one: text messages have their parts from the start. What was not charged, or is beyond what is looked at, is
//! taken for what its purpose says, as everywhere before a provider has shown a category, and counted in the answer. Prices of both lists are applied to the same numbers, so their
//! difference is what the change makes.

use std::collections::BTreeMap;

use model::{Channel, Money, Purpose, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope, prices as rows,
    traffic::{self, Sent},
};
use utoipa::ToSchema;

use super::{
    book::{Asked, Book, Category, PARTS},
    prices::{self, NewPriceList, PriceListView, PriceRow},
};
use crate::{Engine, Error, country, keys::Caller, usage};

/// Groups of messages that are looked at: every country through dozens of accounts, and of kinds every beginning of a number that is in use.
const GROUPS_MAX: i64 = 200_000;
/// Messages of a kind that are looked at one by one, the last of the month: more would keep a reader of the database from everybody else.
const KINDS_READ: i64 = 2_000_000;

/// Prices to be tried out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhatIf {
    /// ISO 4217 currency of all amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// The month (UTC) whose traffic is looked at; the current one when left out.
    #[serde(default)]
    #[schema(example = "2026-11")]
    pub month: Option<String>,
    /// The prices to try. Instead of `version`.
    #[serde(default)]
    pub rows: Option<Vec<PriceRow>>,
    /// A list that is there already, also one that only counts later. Instead of `rows`.
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the traffic costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhatIfView {
    /// Which month.
    #[schema(example = "2026-11")]
    pub month: String,
    /// At today's prices; what has none costs nothing.
    #[schema(value_type = Object)]
    pub today: Money,
    /// At the prices tried.
    #[schema(value_type = Object)]
    pub then: Money,
    /// What is paid to providers at the prices tried, as far as they say.
    #[schema(value_type = Object)]
    pub provider_cost: Money,
    /// Messages the prices tried have no row for.
    pub without_price: i64,
    /// WhatsApp messages that were not charged by their kind, and are taken for `marketing` or `utility` by their purpose. Text messages that were not charged are taken for such without media.
    pub guessed: i64,
    /// Tenants who sent something that month and are left out: they are not billed, or in another currency. Only when everybody's traffic is looked at.
    pub tenants_left_out: i64,
    /// Rows of the prices tried that are for a longer prefix than a calling code; the numbers looked at do not tell such messages apart.
    pub rows_left_out: usize,
    /// The same by channel, provider, country, purpose and kind; the dearest first.
    pub data: Vec<WhatIfRow>,
}

/// What one group of messages costs.
#[derive(Debug, Serialize, ToSchema)]
pub struct WhatIfRow {
    /// Over which channel.
    #[schema(value_type = String, example = "sms")]
    pub channel: Channel,
    /// Through which connector.
    #[schema(example = "twilio")]
    pub provider: String,
    /// To which country; empty for addresses that lie in none.
    #[schema(example = "IN")]
    pub country: String,
    /// Why.
    #[schema(value_type = String, example = "transactional")]
    pub purpose: Purpose,
    /// Of which kind, where kinds of the channel are priced apart.
    pub category: Option<Category>,
    /// Messages that were sent.
    pub messages: i64,
    /// Their parts, as far as they are known: a call whose minutes nobody told costs one.
    pub segments: i64,
    /// At today's prices, in millionths; `null` without a price.
    pub today_micros: Option<i64>,
    /// At the prices tried, in millionths; `null` without a price.
    pub then_micros: Option<i64>,
}

/// Rows of the answer: as many as a person looks through; sums are over all.
const SHOWN_MAX: usize = 1_000;

type Group = (Channel, String, String, Purpose, Option<Category>);

/// How many messages, and of how many parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    messages: i64,
    /// As far as they are known.
    segments: i64,
    /// Messages of which they are not: each is charged for one.
    uncounted: i64,
}

impl Sums {
    fn of(sent: &Sent) -> Self {
        Self { messages: sent.messages, segments: sent.segments, uncounted: sent.uncounted }
    }

    /// No more than there is.
    fn up_to(self, most: Self) -> Self {
        Self {
            messages: self.messages.min(most.messages),
            segments: self.segments.min(most.segments),
            uncounted: self.uncounted.min(self.messages.min(most.messages)),
        }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, more: Self) {
        self.messages += more.messages;
        self.segments += more.segments;
        self.uncounted += more.uncounted;
    }
}

/// What was sent in a month.
#[derive(Default)]
struct Traffic {
    groups: BTreeMap<Group, Sums>,
    guessed: i64,
    tenants_left_out: i64,
}

impl Engine {
    /// Says what a month's traffic would cost at other prices: a tenant's, or everybody's without one. Needs an operator with the scope `prices:write`.
    #[crate::boxed]
    pub async fn what_if(&self, caller: &Caller, asked: WhatIf) -> Result<WhatIfView, Error> {
        caller.need_operator("prices:write")?;
        let now = self.ports.clock.now();
        let month = usage::month(asked.month.as_deref(), now).map_err(|error| {
            let detail = error.errors.first().map_or(error.detail.clone(), |field| field.detail.clone());
            Error::invalid("/month", detail)
        })?;
        let tried = self.tried(&asked, now).await?;
        let rows_left_out = tried.rows.iter().filter(|row| is_left_out(row)).count();
        let kept = tried.rows.into_iter().filter(|row| !is_left_out(row)).collect();
        let tried = Book::new([PriceListView { rows: kept, valid_from: now, ..tried }]);
        let currency = asked.currency.clone();
        let today = self.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(rows::counting_in(tx, &currency, now).await?) })
        });
        let today = Book::new(today.await?.map(prices::view));
        let traffic = self.traffic(caller.tenant, &asked.currency, &month).await?;
        Ok(priced(month, &asked.currency, &traffic, &today, &tried, rows_left_out, now))
    }

    async fn tried(&self, asked: &WhatIf, now: Timestamp) -> Result<PriceListView, Error> {
        match (&asked.rows, asked.version) {
            (Some(rows), None) => {
                let new = NewPriceList {
                    currency: asked.currency.clone(),
                    valid_from: Some(now),
                    note: None,
                    rows: rows.clone(),
                };
                prices::check(new, now, "/rows").map(prices::view)
            }
            (None, Some(version)) => {
                let list = prices::get(self.parts(), &Caller::system(None), Some(version)).await;
                let list = list.map_err(|_| Error::invalid("/version", "there is no such price list"))?;
                if list.currency != asked.currency {
                    let detail = format!("that price list is in {}", list.currency);
                    return Err(Error::invalid("/currency", detail));
                }
                Ok(list)
            }
            _ => Err(Error::invalid("/rows", "give either `rows` or the `version` of a price list")),
        }
    }

    async fn traffic(&self, tenant: Option<TenantId>, currency: &str, month: &str) -> Result<Traffic, Error> {
        let (span, currency) = (usage::span(month, None)?, currency.to_owned());
        let read = self.ports.db.read(tenant.map_or(Scope::System, Scope::Tenant), move |tx| {
            Box::pin(async move {
                let sent = traffic::sent(tx, tenant, &currency, span, GROUPS_MAX).await?;
                let kinds = traffic::kinds(tx, tenant, &currency, span, KINDS_READ, GROUPS_MAX).await?;
                let calls = traffic::without_minutes(tx, tenant, &currency, span, GROUPS_MAX).await?;
                let tenants_left_out =
                    if tenant.is_none() { traffic::not_billed(tx, &currency, span).await? } else { 0 };
                Ok::<_, store::Error>(Traffic { tenants_left_out, ..told_apart(sent, kinds, &calls) })
            })
        });
        read.await.map_err(Error::from)
    }
}

/// Sums, with what is known of kinds taken out of them, and of calls whose minutes are not known.
fn told_apart(sent: Vec<Sent>, kinds: Vec<Sent>, calls: &[Sent]) -> Traffic {
    let place = |of: &Sent| (of.channel, of.provider.clone(), country::text(of.channel, &of.place), of.purpose);
    let mut known: BTreeMap<_, BTreeMap<Category, Sums>> = BTreeMap::new();
    for of in kinds {
        // A charge may be of the way a message left.
        let Some(category) = Category::parse(&of.category).filter(|kind| kind.channel() == of.channel) else {
            continue;
        };
        *known.entry(place(&of)).or_default().entry(category).or_default() += Sums::of(&of);
    }
    let mut uncounted: BTreeMap<_, i64> = BTreeMap::new();
    for of in calls {
        *uncounted.entry(place(of)).or_default() += of.uncounted;
    }
    let mut traffic = Traffic::default();
    for of in sent {
        let (channel, purpose, mut rest) = (of.channel, of.purpose, Sums::of(&of));
        let place = (channel, of.provider, of.place, purpose);
        let mut add = |category, sums: Sums| {
            let (channel, provider, country, purpose) = place.clone();
            *traffic.groups.entry((channel, provider, country, purpose, category)).or_default() += sums;
        };
        for (category, sums) in known.get(&place).into_iter().flatten() {
            let taken = sums.up_to(rest);
            (rest.messages, rest.segments) = (rest.messages - taken.messages, rest.segments - taken.segments);
            if taken.messages > 0 {
                add(Some(*category), taken);
            }
        }
        if rest.messages > 0 {
            let guessed = (channel == Channel::Whatsapp).then(|| Category::of_purpose(purpose));
            let uncounted = uncounted.get(&place).copied().unwrap_or(0).min(rest.messages);
            add(guessed, Sums { uncounted, ..rest });
            traffic.guessed += if guessed.is_some() { rest.messages } else { 0 };
        }
    }
    traffic
}

/// True for a row about more particular numbers than a country's.
fn is_left_out(row: &PriceRow) -> bool {
    row.prefix
        .as_deref()
        .is_some_and(|prefix| country::calling_code(prefix).is_some_and(|code| code.len() < prefix.len()))
}

/// What a group costs in a book, and what providers take of it, in parts of a millionth; `None` without a price.
fn cost(book: &Book, currency: &str, group: &Group, sums: Sums, at: Timestamp) -> Option<(i128, i128)> {
    let (channel, provider, country, purpose, category) = group;
    let letters: Option<[u8; 2]> = country.as_bytes().try_into().ok();
    let address = letters.and_then(country::code_of).map(|code| format!("+{code}")).unwrap_or_default();
    let (channel, purpose, category) = (*channel, *purpose, *category);
    let asked = Asked { channel, provider, address: &address, country: letters, purpose, category };
    let price = book.find(currency, &asked, at)?;
    let units = i128::from(if price.per.is_counted() { sums.segments + sums.uncounted } else { sums.messages });
    let alone = super::book::Price { fixed_micros: 0, markup: Some(0), ..price };
    let cost = price.cost_micros.map_or(0, |_| alone.exact(None, None));
    Some((price.exact(None, None) * units, cost * units))
}

fn priced(
    month: String,
    currency: &str,
    traffic: &Traffic,
    today: &Book,
    tried: &Book,
    rows_left_out: usize,
    now: Timestamp,
) -> WhatIfView {
    let micros = |parts: i128| i64::try_from((parts + PARTS / 2).div_euclid(PARTS)).unwrap_or(i64::MAX);
    let money = |parts: i128| Money { amount_micros: micros(parts), currency: currency.to_owned() };
    let (mut sums, mut without_price, mut data) = ((0, 0, 0), 0, Vec::new());
    for (group, counts) in &traffic.groups {
        let before = cost(today, currency, group, *counts, now).map(|(price, _)| price);
        let then = cost(tried, currency, group, *counts, now);
        sums.0 += before.unwrap_or(0);
        sums.1 += then.map_or(0, |(price, _)| price);
        sums.2 += then.map_or(0, |(_, cost)| cost);
        without_price += if then.is_none() { counts.messages } else { 0 };
        let (channel, provider, country, purpose, category) = group.clone();
        data.push(WhatIfRow {
            channel,
            provider,
            country,
            purpose,
            category,
            messages: counts.messages,
            segments: counts.segments,
            today_micros: before.map(micros),
            then_micros: then.map(|(price, _)| micros(price)),
        });
    }
    data.sort_by_key(|row| std::cmp::Reverse(row.then_micros));
    data.truncate(SHOWN_MAX);
    WhatIfView {
        month,
        today: money(sums.0),
        then: money(sums.1),
        provider_cost: money(sums.2),
        without_price,
        guessed: traffic.guessed,
        tenants_left_out: traffic.tenants_left_out,
        rows_left_out,
        data,
    }
}
