//! Charts as SVG made here. Colours are classes, so both themes read well, and each chart has a table behind it for those who do not see it.

use std::fmt::Write as _;

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
const LEFT: i64 = 50;
const BOTTOM: i64 = 22;
const TOP: i64 = 8;

/// A round number at or above `value`, for the end of an axis that is cut in four.
fn ceiling(value: i64) -> i64 {
    if value <= 20 {
        return (value.max(1) + 3) / 4 * 4;
    }
    let power = 10_i64.pow(value.ilog10());
    [1, 2, 4, 6, 8, 10].into_iter().map(|step| step * power).find(|end| *end >= value).unwrap_or(value)
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
            div.chart-scroll {
                svg.chart viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
                    (grid(most, "", y))
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
            }
            (legend(series.iter().map(|part| (part.name, part.colour))))
            (behind(title, labels, series.iter().map(|part| (part.name, part.values.iter().copied().map(Some).collect())).collect()))
        }
    }
}

/// The lines a chart stands before, with their numbers.
fn grid(most: i64, unit: &str, y: impl Fn(i64) -> f64) -> Markup {
    html! {
        @for quarter in 0..=4_i64 {
            @let value = most * quarter / 4;
            line.grid-line x1=(LEFT) x2=(WIDTH) y1=(one(y(value))) y2=(one(y(value))) {}
            text x=(LEFT - 8) y=(one(y(value) + 4.0)) text-anchor="end" { (short(value)) (unit) }
        }
    }
}

/// One line of a chart.
pub(crate) struct Line<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its colour, as of a [`Series`].
    pub(crate) colour: char,
    /// One value for each label; none where nothing can be said.
    pub(crate) values: Vec<Option<i64>>,
}

/// Lines over the labels. `unit` follows each number, as in ` %`.
pub(crate) fn lines(title: &str, labels: &[String], lines: &[Line<'_>], unit: &str, height: i64) -> Markup {
    let most = ceiling(lines.iter().flat_map(|line| line.values.iter().copied().flatten()).max().unwrap_or(0));
    let inner = height - TOP - BOTTOM;
    let step = (WIDTH - LEFT - 16) as f64 / labels.len().saturating_sub(1).max(1) as f64;
    let every = labels.len().div_ceil(8).max(1);
    let x = |at: usize| LEFT as f64 + 8.0 + step * at as f64;
    let y = |value: i64| TOP as f64 + inner as f64 * (1.0 - value as f64 / most as f64);
    html! {
        figure {
            div.chart-scroll {
                svg.chart viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-label=(title) {
                    (grid(most, unit, y))
                    @for line in lines {
                        path class={ "line l" (line.colour) } d=(path(&line.values, x, y)) {}
                        @for (at, value) in line.values.iter().enumerate() {
                            @if let Some(value) = value {
                                circle class={ "s" (line.colour) } cx=(one(x(at))) cy=(one(y(*value))) r="3" { title { (labels[at]) ": " (number(*value)) (unit) " " (line.name) } }
                            }
                        }
                    }
                    @for (at, label) in labels.iter().enumerate() {
                        @if at % every == 0 { text x=(one(x(at))) y=(height - 6) text-anchor=(if at == 0 { "start" } else { "middle" }) { (label) } }
                    }
                }
            }
            (legend(lines.iter().map(|line| (line.name, line.colour))))
            (behind(title, labels, lines.iter().map(|line| (line.name, line.values.clone())).collect()))
        }
    }
}

/// The strokes of a line: where a value is missing it stops and begins anew.
fn path(values: &[Option<i64>], x: impl Fn(usize) -> f64, y: impl Fn(i64) -> f64) -> String {
    let mut text = String::new();
    let mut is_drawing = false;
    for (at, value) in values.iter().enumerate() {
        if let Some(value) = value {
            let _ = write!(text, "{}{} {}", if is_drawing { 'L' } else { 'M' }, one(x(at)), one(y(*value)));
        }
        is_drawing = value.is_some();
    }
    text
}

/// A trend beside a number.
pub(crate) fn sparkline(title: &str, values: &[i64]) -> Markup {
    let most = values.iter().max().copied().unwrap_or(0).max(1) as f64;
    let step = 92.0 / values.len().saturating_sub(1).max(1) as f64;
    let point = |(at, value): (usize, &i64)| {
        let mark = if at == 0 { 'M' } else { 'L' };
        format!("{mark}{} {}", one(2.0 + step * at as f64), one(21.0 - 18.0 * *value as f64 / most))
    };
    let path: String = values.iter().enumerate().map(point).collect();
    let said = values.iter().map(|value| number(*value)).collect::<Vec<_>>().join(", ");
    html! { svg.chart.spark viewBox="0 0 96 24" role="img" aria-label={ (title) ": " (said) } { path.line.l1 d=(path) {} } }
}

/// Shares of a whole, each with its bar.
pub(crate) fn shares_of(title: &str, whole: i64, parts: &[(&str, i64)]) -> Markup {
    html! {
        ul.bar-list aria-label=(title) {
            @for (name, value) in parts {
                li.line {
                    div.row.apart { span { (name) } span."num muted" { (number(*value)) " · " (crate::format::percent(*value, whole)) } }
                    svg.chart.meter-bar viewBox="0 0 1000 8" preserveAspectRatio="none" aria-hidden="true" {
                        rect.s1 x="0" y="0" height="8" width=(one(*value as f64 / whole.max(1) as f64 * 1000.0)) {}
                    }
                }
            }
        }
    }
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

fn legend<'a>(parts: impl Iterator<Item = (&'a str, char)>) -> Markup {
    html! {
        ul.legend aria-hidden="true" {
            @for (name, colour) in parts { li { svg.chart viewBox="0 0 10 10" { rect class={ "s" (colour) } width="10" height="10" rx="3" {} } (name) } }
        }
    }
}

/// The same numbers as a table.
fn behind(title: &str, labels: &[String], columns: Vec<(&str, Vec<Option<i64>>)>) -> Markup {
    html! {
        div.visually-hidden {
            table {
                caption { (title) }
                thead { tr { td {} @for (name, _) in &columns { th scope="col" { (name) } } } }
                tbody {
                    @for (at, label) in labels.iter().enumerate() {
                        tr { th scope="row" { (label) } @for (_, values) in &columns { td { @match values[at] { Some(value) => (value), None => "–" } } } }
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
        check(5, 8);
        check(17, 20);
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

    #[test]
    fn a_line_stops_where_nothing_can_be_said() {
        let strokes = |values: &[Option<i64>]| path(values, |at| at as f64, |value| value as f64);
        assert_eq!(strokes(&[Some(1), Some(2), None, Some(3)]), "M0.0 1.0L1.0 2.0M3.0 3.0");
        assert_eq!(strokes(&[None, None]), "");
        let labels = vec!["1 Nov".to_owned(), "2 Nov".to_owned()];
        let line = Line { name: "Arrived", colour: '1', values: vec![None, Some(97)] };
        let text = lines("Rates", &labels, &[line], " %", 200).into_string();
        assert!(
            text.contains("<th scope=\"row\">1 Nov</th><td>–</td>") && text.contains("2 Nov: 97 % Arrived"),
            "{text}"
        );
    }

    #[test]
    fn a_trend_begins_at_nothing_and_shares_end_at_the_whole() {
        let trend = sparkline("Lately", &[0, 5, 10]).into_string();
        assert!(trend.contains("M2.0 21.0L48.0 12.0L94.0 3.0") && trend.contains("Lately: 0, 5, 10"), "{trend}");
        let text = shares_of("Results", 200, &[("Recipients", 200), ("Arrived", 150)]).into_string();
        assert!(text.contains("150 · 75.0 %") && text.contains("width=\"750.0\""), "{text}");
    }
}
