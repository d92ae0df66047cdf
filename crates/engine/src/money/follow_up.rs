//! Asking Stripe what became of a purchase it did not tell us of: its events go elsewhere when the webhook endpoint or its secret is not set up, and are given up after three days.
//!
//! A page that is open, and a payment that takes days, is asked about after five minutes and then each time after twice as long, every six hours at the most. What is learned does what the event
//! would have done, so an event that comes later changes nothing.

use connectors::stripe::{self, About, Charged, Paid};
use model::{Failure, FailureKind, Timestamp};
use store::{
    Scope,
    purchases::{self as rows, Purchase, Stuck},
};

use super::{
    payment_events,
    payments::{self, Stripe},
    purchases, refunds, strays, top_ups,
};
use crate::{Engine, Error, Parts};

/// How long after it began Stripe is first asked about a purchase, in seconds: events come within seconds.
pub(super) const ASK_FIRST_S: i64 = 300;
/// Longest time between two questions, in seconds.
const ASK_EVERY_S: i64 = 6 * 3_600;
/// How long after it began a purchase is asked about, in seconds: a page lasts a day, and the slowest payments take two weeks.
const ASK_LAST_S: i64 = 30 * 86_400;
/// Purchases a job asks about in one run: each is one exchange with Stripe.
const PAGE: i64 = 20;

/// What Stripe says of a purchase.
enum Seen {
    /// Of its page.
    Page(About),
    /// Of its payment.
    Payment(Charged),
}

/// Asks about purchases whose turn it is. Run every half minute; answers how many were asked about.
#[crate::boxed]
pub async fn run(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read =
        engine.ports.db.read(Scope::System, move |tx| Box::pin(async move { rows::to_ask_about(tx, now, PAGE).await }));
    let due = read.await.map_err(Error::from)?;
    if due.is_empty() {
        return Ok(0);
    }
    let Some(stripe) = payments::stripe(engine.parts()).await? else { return Ok(0) };
    let count = due.len() as u64;
    for row in due {
        let stuck = Stuck::Purchase(row.tenant_id, row.id);
        let done = ask(engine, &stripe, row).await;
        refunds::passed_over(engine, stuck, done).await;
    }
    Ok(count)
}

async fn ask(engine: &Engine, stripe: &Stripe, row: Purchase) -> Result<(), Error> {
    let (tenant, id) = (row.tenant_id, row.id);
    let seen = match seen(engine.parts(), stripe, &row).await {
        Ok(seen) => seen,
        Err(failure) => {
            match failure.kind {
                FailureKind::Content => {
                    tracing::error!(purchase.id = %id, code = failure.code, "Stripe does not show a purchase: {}", purchases::in_words(&failure));
                }
                _ => {
                    tracing::warn!(purchase.id = %id, code = failure.code, "Could not ask Stripe what became of a purchase");
                }
            }
            Seen::Page(About::Other)
        }
    };
    let ids = std::sync::Arc::clone(&engine.ports.ids);
    refunds::settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            let asked = purchases::asked_for(&row);
            let told = match seen {
                Seen::Page(about) => payment_events::apply(tx, tenant, open, &about, &ids, now).await?,
                Seen::Payment(outcome) => top_ups::became(tx, tenant, open, &outcome, &asked, now).await?,
            };
            let Some(after) = rows::find(tx, tenant, id).await? else { return Ok(told) };
            if after.state == "paid" && told.is_some() {
                strays::unheard(tx, &after, now).await?;
            }
            // What went on meanwhile says itself when it is asked about next.
            if after.ask_at == row.ask_at && after.ask_at.is_some() {
                if let Some(ask_at) = next(row.created_at, now) {
                    rows::put(tx, tenant, &Purchase { ask_at: Some(ask_at), ..after }).await?;
                } else {
                    let why = "the payment provider did not say for a month what became of it: look there whether it was paid";
                    // Whatever became of its payment, which may have brought credit to another one: this one is over.
                    let given_up = Paid { payment: None, ..asked.clone() };
                    return purchases::moved(tx, tenant, &given_up, "failed", Some(why.to_owned()), now).await;
                }
            }
            Ok(told)
        })
    })
    .await
}

/// Its payment is asked about where it is known: a page does not say that a payment failed which took days.
async fn seen(parts: &Parts, stripe: &Stripe, row: &Purchase) -> Result<Seen, Failure> {
    match (&row.payment, &row.session) {
        (Some(payment), _) => payments::ask(parts, stripe, |cx| Ok(stripe::method(cx, payment)), stripe::progressed)
            .await
            .map(Seen::Payment),
        (None, Some(session)) => {
            payments::ask(parts, stripe, |cx| Ok(stripe::look(cx, session)), stripe::looked).await.map(Seen::Page)
        }
        (None, None) => Ok(Seen::Page(About::Other)),
    }
}

/// When a purchase is asked about next: once it is twice as old as now; `None` when it is not any more.
fn next(created_at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let age_s = now.millis_since(created_at) / 1_000;
    (age_s < ASK_LAST_S).then(|| now.plus_seconds(age_s.clamp(ASK_FIRST_S, ASK_EVERY_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_silent_is_asked_about_less_and_less_and_then_no_more() {
        let begun = Timestamp::from_seconds(1_000);
        let (mut at, mut ages) = (begun.plus_seconds(ASK_FIRST_S), Vec::new());
        while let Some(later) = next(begun, at) {
            ages.push(at.millis_since(begun) / 1_000);
            at = later;
        }
        assert_eq!(ages[..8], [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200, 38_400]);
        assert_eq!((ages[8], ages.len()), (60_000, 126));
    }
}
