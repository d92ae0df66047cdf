//! Charts as SVG made here. Colours are classes, so both themes read well, and each chart has a table behind it for those who do not see it.

use maud::{Markup, html};

use crate::format::number;

/// One series of a chart.
pub(crate) struct Series<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its colour: `1` to `5`, `b` for what went wrong, `n` for the rest.
    pub(crate) colour: char,
    /// One value for each label.
    pub(crate) values: Vec<i64>,
}

/// Width of the drawing, in its own units; the page scales it.
const WIDTH: i64 = 720;
const LEFT: i64 = 44;
const BOTTOM: i64 = 22;
const TOP: i64 = 8;

/// A round number at or above `value`, for the end of an axis.
fn ceiling(value: i64) -> i64 {
    let value = value.max(4);
    let power = 10_i64.pow(value.ilog10());
    [1, 2, 4, 5, 10].into_iter().map(|step| step * power).find(|end| *end >= value).unwrap_or(value)
}

/// Bars on top of one another, one for each label.
pub(crate) fn bars(title: &str, labels: &[String], series: &[Series<'_>], height: i64) -> Markup {
    let total = |at: usize| series.iter().map(|series| series.values[at]).sum::<i64>();
    let most = ceiling((0..labels.len()).map(total).max().unwrap_or(0));
    let inner = height - TOP - BOTTOM;
    let step = (WIDTH - LEFT) as f64 / labels.len().max(1) as f64;
    let wide = (step * 0.66).clamp(2.0, 44.0);
    let every = labels.len().div_ceil(12).max(1);
    let y = |value: i64| TOP as f64 + inner as f64 * (1.0 - value as f64 / most as f64);
    html! {
        figure {
            svg.chart viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
                @for quarter in 0..=4_i64 {
                    @let value = most * quarter / 4;
                    line.grid-line x1=(LEFT) x2=(WIDTH) y1=(one(y(value))) y2=(one(y(value))) {}
                    text x=(LEFT - 8) y=(one(y(value) + 4.0)) text-anchor="end" { (short(value)) }
                }
                @for (at, label) in labels.iter().enumerate() {
                    @let x = LEFT as f64 + step * (at as f64 + 0.5);
                    @for (index, part) in series.iter().enumerate() {
                        @let below: i64 = series[..index].iter().map(|series| series.values[at]).sum();
                        @let value = part.values[at];
                        @if value > 0 {
                            rect class={ "s" (part.colour) } x=(one(x - wide / 2.0)) width=(one(wide)) y=(one(y(below + value))) height=(one((y(below) - y(below + value)).max(1.0))) rx="2" {
                                title { (label) ": " (number(value)) " " (part.name) }
                            }
                        }
                    }
                    @if at % every == 0 { text x=(one(x)) y=(height - 6) text-anchor="middle" { (label) } }
                }
            }
            (legend(series))
            (behind(title, labels, series))
        }
    }
}

/// Lines over the labels. No page has them yet but the style guide, which release builds leave out.
#[cfg(debug_assertions)]
pub(crate) fn lines(title: &str, labels: &[String], series: &[Series<'_>], height: i64) -> Markup {
    let most = ceiling(series.iter().flat_map(|series| series.values.iter().copied()).max().unwrap_or(0));
    let inner = height - TOP - BOTTOM;
    let step = (WIDTH - LEFT - 8) as f64 / labels.len().saturating_sub(1).max(1) as f64;
    let every = labels.len().div_ceil(8).max(1);
    let y = |value: i64| TOP as f64 + inner as f64 * (1.0 - value as f64 / most as f64);
    let path = |values: &[i64]| {
        let point = |(at, value): (usize, &i64)| {
            format!("{}{} {}", if at == 0 { 'M' } else { 'L' }, one(LEFT as f64 + step * at as f64), one(y(*value)))
        };
        values.iter().enumerate().map(point).collect::<String>()
    };
    html! {
        figure {
            svg.chart viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
                @for quarter in 0..=4_i64 {
                    @let value = most * quarter / 4;
                    line.grid-line x1=(LEFT) x2=(WIDTH) y1=(one(y(value))) y2=(one(y(value))) {}
                    text x=(LEFT - 8) y=(one(y(value) + 4.0)) text-anchor="end" { (short(value)) }
                }
                @for part in series { path class={ "line l" (part.colour) } d=(path(&part.values)) {} }
                @for (at, label) in labels.iter().enumerate() {
                    @if at % every == 0 { text x=(one(LEFT as f64 + step * at as f64)) y=(height - 6) text-anchor="middle" { (label) } }
                }
            }
            (legend(series))
            (behind(title, labels, series))
        }
    }
}

/// A trend beside a number. No page has it yet but the style guide, which release builds leave out.
#[cfg(debug_assertions)]
pub(crate) fn sparkline(title: &str, values: &[i64]) -> Markup {
    let (low, high) = (values.iter().min().copied().unwrap_or(0), values.iter().max().copied().unwrap_or(0));
    let span = (high - low).max(1) as f64;
    let step = 92.0 / values.len().saturating_sub(1).max(1) as f64;
    let point = |(at, value): (usize, &i64)| {
        format!(
            "{}{} {}",
            if at == 0 { 'M' } else { 'L' },
            one(2.0 + step * at as f64),
            one(21.0 - 18.0 * (value - low) as f64 / span)
        )
    };
    let path: String = values.iter().enumerate().map(point).collect();
    html! { svg.chart.spark viewBox="0 0 96 24" role="img" aria-label={ (title) ": from " (number(*values.first().unwrap_or(&0))) " to " (number(*values.last().unwrap_or(&0))) } { path.line.l1 d=(path) {} } }
}

/// Shares of a whole, side by side in one bar.
pub(crate) fn shares(title: &str, parts: &[(char, i64)]) -> Markup {
    let whole = parts.iter().map(|(_, value)| value).sum::<i64>().max(1) as f64;
    html! {
        svg.chart.meter-bar viewBox="0 0 1000 8" preserveAspectRatio="none" role="img" aria-label=(title) {
            @for (index, (colour, value)) in parts.iter().enumerate() {
                @let before = parts[..index].iter().map(|(_, value)| value).sum::<i64>() as f64;
                @if *value > 0 { rect class={ "s" (colour) } x=(one(before / whole * 1000.0)) width=(one(*value as f64 / whole * 1000.0)) y="0" height="8" {} }
            }
        }
    }
}

fn legend(series: &[Series<'_>]) -> Markup {
    html! {
        ul.legend aria-hidden="true" {
            @for part in series { li { svg.chart viewBox="0 0 10 10" { rect class={ "s" (part.colour) } width="10" height="10" rx="3" {} } (part.name) } }
        }
    }
}

/// The same numbers as a table.
fn behind(title: &str, labels: &[String], series: &[Series<'_>]) -> Markup {
    html! {
        div.visually-hidden {
            table {
                caption { (title) }
                thead { tr { td {} @for part in series { th scope="col" { (part.name) } } } }
                tbody {
                    @for (at, label) in labels.iter().enumerate() {
                        tr { th scope="row" { (label) } @for part in series { td { (part.values[at]) } } }
                    }
                }
            }
        }
    }
}

/// A coordinate with one decimal.
fn one(value: f64) -> String {
    format!("{value:.1}")
}

/// A number on an axis.
fn short(value: i64) -> String {
    match value {
        0..10_000 => number(value),
        10_000..1_000_000 => format!("{}k", value / 1_000),
        _ => format!("{}.{}M", value / 1_000_000, value % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let check = |value: i64, expected: i64| assert_eq!(ceiling(value), expected);
        check(0, 4);
        check(5, 5);
        check(6, 10);
        check(31, 40);
        check(1_001, 2_000);
        check(999_999, 1_000_000);
    }

    #[test]
    fn a_chart_has_its_numbers_in_a_table_behind() {
        let labels = vec!["09".to_owned(), "10".to_owned()];
        let series = [
            Series { name: "Delivered", colour: '1', values: vec![3, 0] },
            Series { name: "Failed", colour: 'b', values: vec![1, 0] },
        ];
        let text = bars("Messages by hour", &labels, &series, 200).into_string();
        assert_eq!(text.matches("<rect class=\"s1\"").count(), 2, "one bar and the legend");
        assert!(text.contains("<tr><th scope=\"row\">09</th><td>3</td><td>1</td></tr>"), "{text}");
        assert!(!text.contains("style="), "the policy allows no inline style");
    }
}
