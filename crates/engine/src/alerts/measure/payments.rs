//! Readings of payments for credit that the operator has to hear of. Pure.

use model::Timestamp;
use store::payments::Finding;

use super::{Level, Reading, counted};
use crate::alerts::{
    rules::Rule,
    words::{duration, grouped_number},
};

/// Payments that brought nobody credit: each is a matter of its own.
pub(super) fn stray(rule: &Rule, strays: &[Finding], now: Timestamp) -> Vec<Reading> {
    let since = now.plus_seconds(-rule.over_s);
    let reading = |found: &Finding| Reading {
        level: Level::Bad,
        title: format!("The payment {} brought nobody credit", found.payment),
        detail: format!("{} This is over once money of it went back there, or somebody resolves it.", found.detail),
        ..Reading::of(&found.payment)
    };
    strays.iter().filter(|found| found.found_at > since).map(reading).collect()
}

/// Payments that were found by asking, because their events did not come.
pub(super) fn unheard(rule: &Rule, found_at: &[Timestamp], now: Timestamp) -> Reading {
    let since = now.plus_seconds(-rule.over_s);
    let count = found_at.iter().filter(|at| **at > since).count() as i64;
    let (noun, verb) = if count == 1 { ("payment", "was") } else { ("payments", "were") };
    counted(
        rule,
        "events",
        count,
        format!("Stripe's events about {} {noun} did not come", grouped_number(count)),
        format!(
            "{} {noun} for credit {verb} found in the last {} only by asking Stripe, minutes or hours after somebody paid. Enter `stripe_webhook_url` of GET /v1/payment-settings at Stripe as a webhook endpoint, with the events docs/billing.md names, and its signing secret with PATCH /v1/payment-settings. This is over once an event comes.",
            grouped_number(count),
            duration(rule.over_s)
        ),
    )
}
