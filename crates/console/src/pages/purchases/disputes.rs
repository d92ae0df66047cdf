//! Purchases whose payer asked the bank for the money.

use engine::money::{disputes::DisputeView, purchases::PurchaseView};
use maud::{Markup, html};

use crate::{
    cx::Cx,
    format,
    parts::{
        self, Tone,
        table::{self, Row, Table, cell, figure},
    },
};

/// Whether the bank has not decided yet about a payment.
pub(super) fn is_open(purchase: &PurchaseView) -> bool {
    purchase.disputes.iter().any(|one| matches!(one.state.as_str(), "warning" | "open" | "under_review"))
}

fn badge(state: &str) -> Markup {
    let (tone, word) = match state {
        "warning" => (Tone::Warn, "The bank asks"),
        "open" => (Tone::Bad, "To be answered"),
        "under_review" => (Tone::Info, "The bank decides"),
        "won" => (Tone::Good, "Won"),
        "lost" => (Tone::Bad, "Lost"),
        "dropped" => (Tone::Plain, "Dropped"),
        other => return parts::badge(Tone::Plain, &format::words(other)),
    };
    parts::badge(tone, word)
}

/// What payers' banks were asked to give back, and what it took from the credit.
pub(super) fn card(cx: &Cx, purchase: &PurchaseView) -> Markup {
    let disputes = &purchase.disputes;
    let row = |one: &DisputeView| Row {
        href: None,
        cells: vec![
            cell(html! { span."strong num" { (format::money(&one.amount)) } div.sub { code.break { (one.id) } } }),
            cell(
                html! { (badge(&one.state)) @if let Some(at) = one.respond_by.filter(|_| one.state == "open") { div.sub { "by the operator until " (cx.here().at(at)) } } },
            ),
            cell(html! { (format::words(&one.reason)) }),
            figure(&format::money(&one.taken)),
            cell(cx.here().at(one.created_at)),
        ],
    };
    let columns = &["Amount", "State", "Why", "Taken from the credit", "Since"];
    html! {
        @if !disputes.is_empty() {
            @if is_open(purchase) { (parts::notice(Tone::Warn, "Its payer asked the bank for the money", html! { p { "The amount was taken from the credit, and comes back should the bank decide so." } })) }
            (parts::card_flush("Disputes", None, table::table(Table { caption: "Disputes of this payment, oldest first", columns, rows: disputes.iter().map(row).collect() })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_words() {
        for (state, word) in [("open", "To be answered"), ("won", "Won"), ("news", "News")] {
            assert!(badge(state).into_string().contains(word), "{state}");
        }
    }
}
