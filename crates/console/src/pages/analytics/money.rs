//! What messages cost, in all and for each that arrived, and over time.

use engine::analytics::AnalyticsView;
use maud::{Markup, html};
use model::{Channel, Money};

use super::Periods;
use crate::{
    format,
    pages::channels,
    parts::{
        self,
        chart::{self, Series},
    },
};

/// Amounts of several currencies, which are never added; a dash for none.
pub(super) fn amounts(amounts: &[Money]) -> String {
    if amounts.is_empty() {
        return "–".to_owned();
    }
    amounts.iter().map(format::money).collect::<Vec<_>>().join(" + ")
}

fn of(amounts: &[Money], currency: &str) -> i64 {
    amounts.iter().filter(|money| money.currency == currency).map(|money| money.amount_micros).sum()
}

/// Draws the cost by channel over time, in the currency that most of it is in.
pub(super) fn card(periods: &Periods, view: &AnalyticsView) -> Markup {
    let Some(main) = view.totals.costs.iter().max_by_key(|money| money.amount_micros) else {
        let text = "No cost is known: there are no prices, and providers tell none.";
        return parts::card("Cost", None, html! { p.muted { (text) } });
    };
    let currency = &main.currency;
    // Whole numbers on the axis: hundredths, or less where there would be none.
    let (size, unit) = if main.amount_micros >= 1_000_000 { (10_000, "hundredths") } else { (1, "millionths") };
    let used: Vec<Channel> = channels::of_people()
        .filter(|channel| {
            view.data.iter().any(|row| row.channel == Some(*channel) && of(&row.figures.costs, currency) != 0)
        })
        .collect();
    let series: Vec<Series<'_>> = used
        .iter()
        .zip(['1', '2', '3', '4', '5'])
        .map(|(channel, colour)| Series {
            name: format::channel(*channel),
            colour,
            values: periods.sums(view, |row| row.channel == Some(*channel), |f| of(&f.costs, currency) / size),
        })
        .collect();
    let title = format!("Cost over time by channel, in {unit} of {currency}");
    parts::card(
        "Cost",
        None,
        html! {
            p { span.strong { (amounts(&view.totals.costs)) } @if !view.totals.cost_per_delivered.is_empty() { ", " (amounts(&view.totals.cost_per_delivered)) " for each message that arrived" } }
            (chart::bars(&title, &periods.labels(), &series, 200))
            p."muted small" { "In " (unit) " of " (currency) @if view.totals.costs.len() > 1 { "; other currencies are in the table and the file" } ". What was quoted until it is charged." }
        },
    )
}
