//! What stands on a month's invoice. Pure: from what was counted to lines, tax and total.
//!
//! Each line is rounded to the currency's smallest coin, half away from zero, so that what is printed adds up. What goes beyond a plan is shared out over countries in the
//! proportion in which messages went there, to the message exactly.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use model::{Channel, Timestamp};
use serde::{Deserialize, Serialize};
use store::charge_counters::Counts;
use utoipa::ToSchema;

use crate::{documents::figures::minor_unit, plans::Allowance};

/// Parts of a rate: a millionth.
pub(crate) const PPM: i128 = 1_000_000;

/// `part / whole` rounded to a multiple of `coin`, half away from zero.
pub(crate) fn round(part: i128, whole: i128, coin: i64) -> i64 {
    let unit = whole * i128::from(coin);
    let coins = (part.abs() + unit / 2) / unit;
    let amount = coins * i128::from(coin) * part.signum();
    i64::try_from(amount).unwrap_or(if part < 0 { i64::MIN } else { i64::MAX })
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineKind {
    /// The plan's fee.
    Fee,
    /// Messages the fee pays for.
    Included,
    /// Messages beyond.
    Overage,
    /// Messages charged by the price list.
    Messages,
    /// What of them was paid out of credit.
    Credit,
    /// What was learned about an earlier month since its invoice.
    Correction,
    /// What was learned since about messages of an earlier month that are charged by the price list.
    MessagesCorrection,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = InvoiceLine)]
pub struct Line {
    /// What it is about.
    pub kind: LineKind,
    /// The same in words.
    #[schema(example = "SMS to DE beyond the 1000 included")]
    pub description: String,
    /// Over which channel.
    #[schema(value_type = Option<String>, example = "sms")]
    pub channel: Option<Channel>,
    /// To which country.
    #[schema(example = "DE")]
    pub country: Option<String>,
    /// How many.
    #[schema(example = 412)]
    pub quantity: i64,
    /// Price of one, in millionths.
    #[schema(example = 9000)]
    pub unit_micros: Option<i64>,
    /// Price of all, in millionths, rounded to the currency's smallest coin.
    #[schema(example = 3_710_000)]
    pub amount_micros: i64,
}

impl Line {
    /// What it says besides words.
    pub(crate) fn figures(&self) -> (LineKind, Option<Channel>, Option<&str>, i64, Option<i64>, i64) {
        (self.kind, self.channel, self.country.as_deref(), self.quantity, self.unit_micros, self.amount_micros)
    }
}

/// A tax.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TaxRate {
    /// As it stands on the invoice.
    #[schema(example = "VAT")]
    pub name: String,
    /// In millionths of the net amount: 190000 is 19 percent. 0 shows why nothing is charged.
    #[schema(example = 190_000)]
    pub rate_ppm: i64,
}

/// A tax that was charged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaxLine {
    /// As it stands on the invoice.
    #[schema(example = "VAT")]
    pub name: String,
    /// In millionths of the net amount.
    #[schema(example = 190_000)]
    pub rate_ppm: i64,
    /// How much.
    #[schema(example = 10_010_000)]
    pub amount_micros: i64,
}

/// Messages that were sent, by channel and country; an empty country for addresses that lie in none.
pub type Sent = BTreeMap<(Channel, String), i64>;

/// What a price list charged, by channel and country.
pub type Charged = BTreeMap<(Channel, String), Counts>;

/// An earlier month.
#[derive(Debug, Clone)]
pub struct Earlier {
    /// How people find its invoice.
    pub name: String,
    /// What its plan granted.
    pub allowances: Vec<Allowance>,
    /// What is on invoices of it.
    pub invoiced: Sent,
    /// What a recount finds.
    pub found: Sent,
    /// What is on invoices of what a price list charged.
    pub charged: Charged,
    /// What it has charged by now.
    pub charged_found: Charged,
}

impl Earlier {
    /// What is put right of what a price list charged, and of what its plan granted: where they are not in one currency.
    pub fn apart(self) -> (Self, Self) {
        let by_list = Self { allowances: Vec::new(), invoiced: Sent::new(), found: Sent::new(), ..self.clone() };
        (by_list, Self { charged: Charged::new(), charged_found: Charged::new(), ..self })
    }

    /// True when there is something to put right.
    pub fn has_changed(&self) -> bool {
        (&self.invoiced, &self.charged) != (&self.found, &self.charged_found)
    }
}

/// How messages are charged one by one.
#[derive(Debug, Clone)]
pub struct Metered {
    /// What they cost, in millionths.
    pub charged: Charged,
    /// What the tenant's ledger still owes for them and for what they are put right by, in millionths; what goes beyond it was paid out of credit. `None` for a tenant that pays
    /// beforehand: all of it was.
    pub owed: Option<i64>,
}

/// Everything a month's invoice is made of.
#[derive(Debug, Clone)]
pub struct Facts {
    /// ISO 4217 code.
    pub currency: String,
    /// The plan's name; `None` without one, and then there is no fee.
    pub plan: Option<String>,
    /// Its fee.
    pub monthly_fee: i64,
    /// What it grants.
    pub allowances: Vec<Allowance>,
    /// From when the invoice bills.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
    /// When the month began on the tenant's clock: earlier than `starts_at` when the plan began within it.
    pub month_starts_at: Timestamp,
    /// Since when there is the plan: its fee is for the time from then on.
    pub counted_from: Timestamp,
    /// The tenant's clock.
    pub zone: TimeZone,
    /// Until when no fee is charged.
    pub trial_ends_at: Option<Timestamp>,
    /// From when the subscription is over.
    pub canceled_at: Option<Timestamp>,
    /// What was sent.
    pub sent: Sent,
    /// Earlier months that may have changed, oldest first.
    pub earlier: Vec<Earlier>,
    /// What a price list charged.
    pub metered: Option<Metered>,
    /// The tax, where there is one.
    pub tax: Option<TaxRate>,
}

/// Lines and sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Composed {
    /// The lines.
    pub lines: Vec<Line>,
    /// Their sum.
    pub net: i64,
    /// The taxes.
    pub taxes: Vec<TaxLine>,
    /// What is to be paid.
    pub total: i64,
}

/// Makes a month's invoice. It has no lines when the subscription had ended before and nothing is to be put right.
pub fn compose(facts: &Facts) -> Composed {
    let coin = minor_unit(&facts.currency);
    let mut lines = Vec::new();
    // After its end there is only something to put right, and without that no invoice.
    if let Some(plan) = &facts.plan
        && facts.canceled_at.is_none_or(|at| at > facts.starts_at)
    {
        lines.push(fee(plan, facts, coin));
        for allowance in &facts.allowances {
            used(allowance, &facts.sent, coin, &mut lines);
        }
    }
    for earlier in &facts.earlier {
        lines.extend(corrections(earlier, coin));
    }
    if let Some(metered) = &facts.metered {
        let first = lines.len();
        charged(&metered.charged, coin, &mut lines);
        for earlier in &facts.earlier {
            lines.extend(charged_since(earlier, coin));
        }
        let due: i64 = lines[first..].iter().map(|line| line.amount_micros).sum();
        let paid = paid(metered, &facts.earlier, due, coin);
        if paid != 0 {
            lines.push(Line {
                kind: LineKind::Credit,
                description: "Paid out of credit".to_owned(),
                channel: None,
                country: None,
                quantity: 1,
                unit_micros: None,
                amount_micros: -paid,
            });
        }
    }
    let net = lines.iter().fold(0i64, |sum, line| sum.saturating_add(line.amount_micros));
    let taxes: Vec<TaxLine> = facts.tax.iter().map(|tax| taxed(tax, net, coin)).collect();
    let total = taxes.iter().fold(net, |sum, tax| sum.saturating_add(tax.amount_micros));
    Composed { lines, net, taxes, total }
}

/// What of the amount that is due for messages was paid out of credit, in whole coins: what is less than one of them counts when it has come to one.
fn paid(metered: &Metered, earlier: &[Earlier], due: i64, coin: i64) -> i64 {
    let Some(owed) = metered.owed else { return due };
    let sum = |charged: &Charged| charged.values().map(|counts| i128::from(counts.charged)).sum::<i128>();
    let corrected: i128 = earlier.iter().map(|earlier| sum(&earlier.charged_found) - sum(&earlier.charged)).sum();
    let exact = sum(&metered.charged) + corrected;
    let paid = exact - i128::from(owed.max(0));
    if due <= 0 || paid <= 0 {
        0
    } else if paid >= exact {
        due
    } else {
        i64::try_from(paid / i128::from(coin) * i128::from(coin)).map_or(due, |paid| paid.min(due))
    }
}

/// A tax on a net amount.
pub fn taxed(tax: &TaxRate, net: i64, coin: i64) -> TaxLine {
    let amount_micros = round(i128::from(net) * i128::from(tax.rate_ppm), PPM, coin);
    TaxLine { name: tax.name.clone(), rate_ppm: tax.rate_ppm, amount_micros }
}

/// The fee for the part of the month that is neither before the plan, nor trial, nor after its end.
fn fee(plan: &str, facts: &Facts, coin: i64) -> Line {
    let begins = facts.starts_at.max(facts.counted_from).min(facts.ends_at);
    let from = facts.trial_ends_at.map_or(begins, |trial| trial.clamp(begins, facts.ends_at));
    let until = facts.canceled_at.map_or(facts.ends_at, |end| end.clamp(from, facts.ends_at));
    let (part, whole) = (
        i128::from(until.as_micros()) - i128::from(from.as_micros()),
        i128::from(facts.ends_at.as_micros()) - i128::from(facts.month_starts_at.as_micros()),
    );
    let amount_micros = round(i128::from(facts.monthly_fee) * part, whole.max(1), coin);
    let day = |at: Timestamp| at.jiff().to_zoned(facts.zone.clone()).date();
    let share = if part >= whole {
        String::new()
    } else if part <= 0 {
        ", free".to_owned()
    } else {
        format!(" ({} to {})", day(from), day(until.plus_millis(-1)))
    };
    Line {
        kind: LineKind::Fee,
        description: format!("{plan}, a month{share}"),
        channel: None,
        country: None,
        quantity: 1,
        // The price of a month is not the price of a part of it.
        unit_micros: (part >= whole).then_some(facts.monthly_fee),
        amount_micros,
    }
}

fn on(sent: &Sent, channel: Channel) -> impl Iterator<Item = (&str, i64)> {
    sent.iter().filter(move |((on, _), _)| *on == channel).map(|((_, country), count)| (country.as_str(), *count))
}

/// How many messages of a channel go beyond a plan.
fn beyond(allowance: &Allowance, sent: &Sent) -> i64 {
    let all: i64 = on(sent, allowance.channel).map(|(_, count)| count).sum();
    (all - allowance.included).max(0)
}

fn used(allowance: &Allowance, sent: &Sent, coin: i64, lines: &mut Vec<Line>) {
    let counts: Vec<(&str, i64)> = on(sent, allowance.channel).collect();
    let all: i64 = counts.iter().map(|(_, count)| count).sum();
    let beyond = beyond(allowance, sent);
    let channel = allowance.channel;
    if all > 0 || allowance.included > 0 {
        lines.push(Line {
            kind: LineKind::Included,
            description: format!("{channel}: {} of {} included messages", all - beyond, allowance.included),
            channel: Some(channel),
            country: None,
            quantity: all - beyond,
            unit_micros: None,
            amount_micros: 0,
        });
    }
    let Some(price) = allowance.overage_micros else { return };
    let shares = shares(&counts, beyond);
    let exact: Vec<i64> = shares.iter().map(|share| share.saturating_mul(price)).collect();
    let shares = shares.into_iter().zip(spread(&exact, coin));
    for ((country, _), (share, amount_micros)) in counts.iter().zip(shares).filter(|(_, (share, _))| *share > 0) {
        let to = if country.is_empty() { String::new() } else { format!(" to {country}") };
        lines.push(Line {
            kind: LineKind::Overage,
            description: format!("{channel}{to} beyond the {} included", allowance.included),
            channel: Some(channel),
            country: Some((*country).to_owned()).filter(|code| !code.is_empty()),
            quantity: share,
            unit_micros: Some(price),
            amount_micros,
        });
    }
}

/// Shares `part` of what the counts come to out in their proportion; what is left over by rounding goes to the largest remainders.
fn shares(counts: &[(&str, i64)], part: i64) -> Vec<i64> {
    let whole: i128 = counts.iter().map(|(_, count)| i128::from(*count)).sum();
    if whole <= 0 {
        return vec![0; counts.len()];
    }
    let exact: Vec<i128> = counts.iter().map(|(_, count)| i128::from(*count) * i128::from(part)).collect();
    let mut shares: Vec<i64> = exact.iter().map(|share| i64::try_from(share / whole).unwrap_or(i64::MAX)).collect();
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(exact[*index] % whole), *index));
    let left = part - shares.iter().sum::<i64>();
    for index in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[index] += 1;
    }
    shares
}

/// A line for each channel and country a price list charged messages to. Together they are what all of it rounds to, to the coin.
fn charged(charged: &Charged, coin: i64, lines: &mut Vec<Line>) {
    let amounts: Vec<i64> = charged.values().map(|counts| counts.charged).collect();
    for (((channel, country), counts), amount_micros) in charged.iter().zip(spread(&amounts, coin)) {
        if counts.charged == 0 {
            continue;
        }
        lines.push(Line {
            kind: LineKind::Messages,
            description: format!("{channel}{} by the price list", to(country)),
            channel: Some(*channel),
            country: Some(country.clone()).filter(|code| !code.is_empty()),
            quantity: counts.messages,
            unit_micros: None,
            amount_micros,
        });
    }
}

fn to(country: &str) -> String {
    if country.is_empty() { String::new() } else { format!(" to {country}") }
}

/// Rounds amounts to coins so that together they are what their sum rounds to: what is left over goes to those that lost most.
fn spread(amounts: &[i64], coin: i64) -> Vec<i64> {
    spread_to(amounts, together(amounts, coin), coin)
}

/// What the sum of amounts rounds to.
fn together(amounts: &[i64], coin: i64) -> i64 {
    round(amounts.iter().map(|amount| i128::from(*amount)).sum(), 1, coin)
}

/// Rounds amounts to coins so that together they are `whole`, which is less than a coin from their sum.
fn spread_to(amounts: &[i64], whole: i64, coin: i64) -> Vec<i64> {
    let mut spread: Vec<i64> = amounts.iter().map(|amount| amount.div_euclid(coin) * coin).collect();
    let left = whole - spread.iter().sum::<i64>();
    let mut order: Vec<usize> = (0..amounts.len()).collect();
    order.sort_by_key(|index| (std::cmp::Reverse(amounts[*index].rem_euclid(coin)), *index));
    for index in order.into_iter().take(usize::try_from(left / coin).unwrap_or(0)) {
        spread[index] += coin;
    }
    spread
}

/// What a price list charged for an earlier month's messages since it was last on an invoice.
fn charged_since(earlier: &Earlier, coin: i64) -> Vec<Line> {
    let keys: BTreeSet<_> = earlier.charged.keys().chain(earlier.charged_found.keys()).collect();
    let of = |charged: &Charged, key: &(Channel, String)| charged.get(key).copied().unwrap_or_default();
    let pairs = keys.into_iter().map(|key| (key, of(&earlier.charged, key), of(&earlier.charged_found, key)));
    let changed: Vec<_> = pairs.filter(|(_, before, now)| before.charged != now.charged).collect();
    // All of the month is rounded as it stands on invoices and as it is now, so that what is less than a coin now is not lost for the next time.
    let all = |charged: &Charged| together(&charged.values().map(|counts| counts.charged).collect::<Vec<_>>(), coin);
    let whole = all(&earlier.charged_found) - all(&earlier.charged);
    let exact: Vec<i64> = changed.iter().map(|(_, before, now)| now.charged - before.charged).collect();
    let mut lines = Vec::new();
    for ((key, before, now), amount_micros) in changed.into_iter().zip(spread_to(&exact, whole, coin)) {
        if amount_micros == 0 {
            continue;
        }
        let (channel, country) = key;
        lines.push(Line {
            kind: LineKind::MessagesCorrection,
            description: format!("{}: {channel}{} by the price list, put right", earlier.name, to(country)),
            channel: Some(*channel),
            country: Some(country.clone()).filter(|code| !code.is_empty()),
            quantity: now.messages - before.messages,
            unit_micros: None,
            amount_micros,
        });
    }
    lines
}

/// What was learned about an earlier month since it was last on an invoice.
fn corrections(earlier: &Earlier, coin: i64) -> Vec<Line> {
    let mut lines = Vec::new();
    for allowance in &earlier.allowances {
        let Some(price) = allowance.overage_micros else { continue };
        let (before, now) = (beyond(allowance, &earlier.invoiced), beyond(allowance, &earlier.found));
        if before == now {
            continue;
        }
        let amount = |count: i64| round(i128::from(count) * i128::from(price), 1, coin);
        let quantity = now - before;
        let word = if quantity < 0 { "fewer" } else { "more" };
        lines.push(Line {
            kind: LineKind::Correction,
            description: format!(
                "{}: {} {} messages {word} beyond what was included",
                earlier.name,
                quantity.abs(),
                allowance.channel
            ),
            channel: Some(allowance.channel),
            country: None,
            quantity,
            unit_micros: Some(price),
            amount_micros: amount(now) - amount(before),
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn allowance(included: i64, overage_micros: Option<i64>) -> Allowance {
        Allowance { channel: Channel::Sms, included, overage_micros, limit: None }
    }

    fn sent(counts: &[(&str, i64)]) -> Sent {
        counts.iter().map(|(country, count)| ((Channel::Sms, (*country).to_owned()), *count)).collect()
    }

    fn priced(charged: &[(&str, i64, i64)]) -> Charged {
        let one = |(country, messages, charged): &(&str, i64, i64)| {
            ((Channel::Sms, (*country).to_owned()), Counts { messages: *messages, charged: *charged })
        };
        charged.iter().map(one).collect()
    }

    /// A month of 1,000 seconds.
    fn facts() -> Facts {
        Facts {
            currency: "EUR".to_owned(),
            plan: Some("Studio".to_owned()),
            monthly_fee: 30_000_000,
            allowances: vec![allowance(10, Some(9_000))],
            starts_at: at(1_000),
            ends_at: at(2_000),
            month_starts_at: at(1_000),
            counted_from: at(0),
            zone: TimeZone::UTC,
            trial_ends_at: None,
            canceled_at: None,
            sent: Sent::new(),
            earlier: Vec::new(),
            metered: None,
            tax: None,
        }
    }

    fn told(composed: &Composed) -> Vec<(LineKind, i64, i64)> {
        composed.lines.iter().map(|line| (line.kind, line.quantity, line.amount_micros)).collect()
    }

    #[test]
    fn a_full_month_has_its_fee_what_was_included_and_what_went_beyond() {
        use LineKind::{Fee, Included, Overage};
        let vat = TaxRate { name: "VAT".to_owned(), rate_ppm: 190_000 };
        let composed = compose(&Facts { sent: sent(&[("DE", 8), ("IN", 7)]), tax: Some(vat), ..facts() });
        // Five go beyond: 2.67 of Germany's eight and 2.33 of India's seven, so three and two.
        let expected = [(Fee, 1, 30_000_000), (Included, 10, 0), (Overage, 3, 30_000), (Overage, 2, 20_000)];
        assert_eq!(told(&composed), expected);
        assert_eq!(
            (composed.net, composed.taxes[0].amount_micros, composed.total),
            (30_050_000, 5_710_000, 35_760_000)
        );
        assert_eq!(composed.lines[2].country.as_deref(), Some("DE"));
        let quiet = compose(&Facts { allowances: vec![allowance(0, None)], ..facts() });
        assert_eq!(told(&quiet), [(Fee, 1, 30_000_000)]);
    }

    #[test]
    fn the_fee_is_for_the_part_of_the_month_that_is_billed() {
        let fee = |facts: Facts| compose(&facts).lines[0].amount_micros;
        assert_eq!(fee(Facts { starts_at: at(1_500), ..facts() }), 15_000_000);
        assert_eq!(fee(Facts { trial_ends_at: Some(at(1_900)), ..facts() }), 3_000_000);
        assert_eq!(fee(Facts { counted_from: at(1_750), ..facts() }), 7_500_000);
        assert_eq!(fee(Facts { counted_from: at(1_750), trial_ends_at: Some(at(1_600)), ..facts() }), 7_500_000);
        assert_eq!(compose(&Facts { plan: None, ..facts() }).lines, []);
        assert_eq!(fee(Facts { trial_ends_at: Some(at(900)), ..facts() }), 30_000_000);
        assert_eq!(fee(Facts { trial_ends_at: Some(at(9_000)), ..facts() }), 0);
        assert_eq!(fee(Facts { canceled_at: Some(at(1_250)), ..facts() }), 7_500_000);
        assert_eq!(fee(Facts { trial_ends_at: Some(at(1_500)), canceled_at: Some(at(1_250)), ..facts() }), 0);
        assert_eq!(compose(&Facts { canceled_at: Some(at(1_000)), ..facts() }).lines, []);
        // A third of a month, to the cent.
        assert_eq!(
            fee(Facts {
                monthly_fee: 10_000_000,
                ends_at: at(1_300),
                month_starts_at: at(400),
                starts_at: at(1_000),
                ..facts()
            }),
            3_330_000
        );
    }

    #[test]
    fn what_a_price_list_charged_is_due_unless_credit_paid_it() {
        let due = |owed| {
            let charged = priced(&[("DE", 3, 1_004_500), ("IN", 2, 230_067), ("", 1, 0)]);
            compose(&Facts { metered: Some(Metered { charged, owed }), ..facts() })
        };
        let (postpaid, prepaid) = (due(Some(1_234_567)), due(None));
        assert_eq!((postpaid.net, prepaid.net), (31_230_000, 30_000_000));
        assert_eq!(prepaid.lines.len(), postpaid.lines.len() + 1);
        // By channel and country, and together what all of it rounds to.
        let lines: Vec<_> = postpaid.lines.iter().filter(|line| line.kind == LineKind::Messages).collect();
        assert_eq!(
            lines.iter().map(|line| (line.quantity, line.amount_micros)).collect::<Vec<_>>(),
            [(3, 1_000_000), (2, 230_000)]
        );
        assert_eq!(lines[0].description, "sms to DE by the price list");
    }

    #[test]
    fn what_credit_paid_is_taken_off_and_what_the_ledger_owes_is_due() {
        let due = |owed| {
            let metered = Metered { charged: priced(&[("DE", 8, 80_000), ("IN", 1, 5_000)]), owed: Some(owed) };
            compose(&Facts { metered: Some(metered), ..facts() }).net - 30_000_000
        };
        // 0.085 is 0.09 on paper. Of it the ledger owes all, more (of which something else is the reason), a part, nothing, or holds credit.
        assert_eq!([85_000, 200_000, 35_000, 0, -70_000].map(due), [90_000, 90_000, 40_000, 0, 0]);
        // Less than a coin waits until it has come to one.
        assert_eq!([80_001, 75_000].map(due), [90_000, 80_000]);
    }

    #[test]
    fn lines_of_many_countries_come_to_what_all_of_it_rounds_to() {
        let countries: Vec<String> = (b'A'..=b'J').map(|letter| format!("{}X", letter as char)).collect();
        let counts: Vec<(&str, i64)> = countries.iter().map(|country| (country.as_str(), 1)).collect();
        let overage = |price| {
            let facts = Facts { sent: sent(&counts), allowances: vec![allowance(0, Some(price))], ..facts() };
            compose(&facts).net - 30_000_000
        };
        assert_eq!((overage(5_000), overage(4_000)), (50_000, 40_000));
        let all: Vec<(&str, i64, i64)> = countries.iter().map(|country| (country.as_str(), 1, 4_000)).collect();
        let late = |before: &[(&str, i64, i64)], now: &[(&str, i64, i64)]| {
            let earlier = Earlier {
                name: "INV-000001".to_owned(),
                allowances: Vec::new(),
                invoiced: Sent::new(),
                found: Sent::new(),
                charged: priced(before),
                charged_found: priced(now),
            };
            let metered = Metered { charged: Charged::new(), owed: Some(1_000_000) };
            compose(&Facts { earlier: vec![earlier], metered: Some(metered), ..facts() }).net - 30_000_000
        };
        assert_eq!(late(&[], &all), 40_000);
        assert_eq!((late(&[], &all[..7]), late(&all[..7], &all)), (30_000, 10_000));
        assert_eq!(late(&all, &[]), -40_000);
    }

    #[test]
    fn a_part_of_a_month_is_told_in_days_of_the_tenants_clock() {
        let zone = TimeZone::get("America/Los_Angeles").unwrap();
        let when = |text: &str| -> Timestamp { text.parse().unwrap() };
        let (month_starts_at, ends_at) = (when("2026-11-01T07:00:00Z"), when("2026-12-01T08:00:00Z"));
        let line = |starts_at, trial_ends_at| {
            let facts = Facts { zone: zone.clone(), month_starts_at, starts_at, ends_at, trial_ends_at, ..facts() };
            let line = compose(&facts).lines.remove(0);
            (line.description, line.unit_micros)
        };
        assert_eq!(line(month_starts_at, None), ("Studio, a month".to_owned(), Some(30_000_000)));
        let part = "Studio, a month (2026-11-19 to 2026-11-30)".to_owned();
        assert_eq!(line(when("2026-11-20T07:00:00Z"), None), (part, None));
        assert_eq!(
            line(month_starts_at, Some(when("2027-03-01T00:00:00Z"))),
            ("Studio, a month, free".to_owned(), None)
        );
    }

    #[test]
    fn what_a_price_list_charged_later_is_put_right() {
        let earlier = Earlier {
            name: "INV-000001".to_owned(),
            allowances: Vec::new(),
            invoiced: Sent::new(),
            found: Sent::new(),
            charged: priced(&[("DE", 3, 900_000), ("IN", 1, 50_000)]),
            charged_found: priced(&[("DE", 2, 600_000), ("IN", 1, 50_001), ("FR", 1, 70_000)]),
        };
        let composed = |owed| {
            let metered = Some(Metered { charged: Charged::new(), owed });
            told(&compose(&Facts { earlier: vec![earlier.clone()], metered, ..facts() }))
        };
        use LineKind::{Credit, Fee, MessagesCorrection};
        let expected = [(Fee, 1, 30_000_000), (MessagesCorrection, -1, -300_000), (MessagesCorrection, 1, 70_000)];
        let without_included = |told: Vec<(LineKind, i64, i64)>| {
            told.into_iter().filter(|line| line.0 != LineKind::Included).collect::<Vec<_>>()
        };
        assert_eq!(without_included(composed(Some(0))), expected);
        assert_eq!(without_included(composed(None))[3], (Credit, 1, 230_000));
    }

    #[test]
    fn an_earlier_month_is_corrected_by_what_changed_only() {
        let earlier = |before: i64, now: i64| Earlier {
            name: "INV-000001".to_owned(),
            allowances: vec![allowance(10, Some(9_000))],
            invoiced: sent(&[("DE", before)]),
            found: sent(&[("DE", now)]),
            charged: Charged::new(),
            charged_found: Charged::new(),
        };
        let corrected = |before, now| {
            let composed = compose(&Facts { earlier: vec![earlier(before, now)], ..facts() });
            let line = composed.lines.iter().find(|line| line.kind == LineKind::Correction);
            line.map(|line| (line.quantity, line.amount_micros))
        };
        assert_eq!(corrected(12, 15), Some((3, 30_000)));
        assert_eq!(corrected(15, 12), Some((-3, -30_000)));
        assert_eq!(corrected(9, 10), None);
        assert_eq!(corrected(9, 11), Some((1, 10_000)));
        assert_eq!(corrected(12, 12), None);
    }

    #[test]
    fn amounts_are_rounded_to_the_coin_of_their_currency() {
        assert_eq!((minor_unit("EUR"), minor_unit("JPY"), minor_unit("KWD")), (10_000, 1_000_000, 1_000));
        let check = |part, whole, coin, expected| assert_eq!(round(part, whole, coin), expected);
        check(4_999, 1, 10_000, 0);
        check(5_000, 1, 10_000, 10_000);
        check(-5_000, 1, 10_000, -10_000);
        check(1_499_999, 1, 1_000_000, 1_000_000);
        check(1_500, 1, 1_000, 2_000);
        check(10_000_000, 3, 10_000, 3_330_000);
    }

    proptest! {
        #[test]
        fn shares_come_to_the_whole_and_stay_close_to_the_proportion(counts in prop::collection::vec(0i64..100_000, 1..20), per_mille in 0i64..=1000) {
            let counts: Vec<(&str, i64)> = counts.into_iter().map(|count| ("", count)).collect();
            let whole: i64 = counts.iter().map(|(_, count)| count).sum();
            let part = whole * per_mille / 1000;
            let shares = shares(&counts, part);
            prop_assert_eq!(shares.iter().sum::<i64>(), part);
            for ((_, count), share) in counts.iter().zip(&shares) {
                prop_assert!(share <= count);
                let exact = *count as f64 * part as f64 / whole.max(1) as f64;
                prop_assert!((*share as f64 - exact).abs() <= 1.0);
            }
        }

        #[test]
        fn what_is_spread_over_lines_comes_to_the_whole(amounts in prop::collection::vec(0i64..10_000_000, 0..20)) {
            let spread = spread(&amounts, 10_000);
            prop_assert_eq!(spread.iter().sum::<i64>(), round(amounts.iter().map(|amount| i128::from(*amount)).sum(), 1, 10_000));
            for (amount, line) in amounts.iter().zip(&spread) {
                prop_assert!(line % 10_000 == 0 && (line - amount).abs() < 10_000);
            }
        }

        #[test]
        fn the_total_is_the_sum_of_what_is_printed(counts in prop::collection::vec(0i64..1_000, 1..6), price in 0i64..1_000_000, rate in 0i64..1_000_000) {
            let countries = ["", "DE", "FR", "IN", "NG", "US"];
            let sent: Sent = countries.iter().zip(counts).map(|(country, count)| ((Channel::Sms, (*country).to_owned()), count)).collect();
            let tax = Some(TaxRate { name: "T".to_owned(), rate_ppm: rate });
            let composed = compose(&Facts { sent, allowances: vec![allowance(100, Some(price))], tax, ..facts() });
            let net: i64 = composed.lines.iter().map(|line| line.amount_micros).sum();
            prop_assert_eq!(composed.net, net);
            prop_assert_eq!(composed.total, net + composed.taxes[0].amount_micros);
            prop_assert_eq!(composed.total % 10_000, 0);
        }
    }
}
