//! Payments at the payment provider that the operator has to hear of: such that brought nobody credit, and such whose events did not come. What is noted here is told by alerts
//! ([`crate::alerts`]).
//!
//! A payment brings credit once. Which purchase that was is kept under the provider's ids of the payment and of its page, in the transaction that adds the credit, and outlives the tenant; so an event
//! that names another purchase for the same payment, signed as it is, brings nothing.

use connectors::stripe::{About, Paid, Session};
use model::{PurchaseId, TenantId, Timestamp};
use store::{
    Scope, Tx,
    payments::{self as rows, Finding},
    purchases::Purchase,
};

use super::{payments::STRIPE, words};
use crate::{Engine, Error, Parts};

/// How long what was found is kept, in seconds: longer than any rule looks back.
const KEPT_S: i64 = 40 * 86_400;
/// Rows the cleaner forgets in one step.
const PAGE: i64 = 500;

/// A payment in words.
fn said(paid: &Paid, key: &str) -> String {
    format!("The payment {key} ({})", words(paid.amount_micros, &paid.currency))
}

/// What a payment is known by: the provider's id of it, or of its page.
fn key<'a>(paid: &'a Paid, session: Option<&'a str>) -> &'a str {
    paid.payment.as_deref().or(session).unwrap_or("of which Stripe says no id")
}

/// Notes that a payment brought nobody credit, and why. False when that was noted before.
async fn note(tx: &mut Tx, kind: &str, key: &str, detail: String, now: Timestamp) -> Result<bool, Error> {
    tracing::error!(payment = key, "{detail}");
    let finding = Finding { payment: key.to_owned(), kind: kind.to_owned(), detail, found_at: now };
    Ok(rows::note(tx, &finding).await?)
}

/// Says that a payment brings credit to a purchase. False when it brought some to another already, which is noted.
pub(super) async fn claim(
    tx: &mut Tx,
    tenant: TenantId,
    purchase: PurchaseId,
    paid: &Paid,
    session: Option<&str>,
    now: Timestamp,
) -> Result<bool, Error> {
    // The payment before its page, always: two who say it of different purchases wait for each other here.
    let ids = || paid.payment.as_deref().into_iter().chain(session);
    // Nothing is claimed for a purchase that gets no credit by it.
    let mut of_another = None;
    for id in ids() {
        of_another = of_another.or(rows::credited(tx, id).await?.filter(|of| *of != (tenant, purchase)));
    }
    for id in ids() {
        let (owner, first) = match of_another {
            Some(of) => of,
            None => rows::claim(tx, id, tenant, purchase).await?,
        };
        if (owner, first) != (tenant, purchase) {
            let what = said(paid, key(paid, session));
            let detail = format!(
                "{what} is said to be for {purchase} of {tenant}, and brought credit to {first} of {owner} already. It brings none again: look at Stripe whose it is."
            );
            note(tx, "taken", key(paid, session), detail, now).await?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a payment brought credit to another purchase than this one.
pub(super) async fn is_of_another(tx: &mut Tx, purchase: PurchaseId, paid: &Paid) -> Result<bool, Error> {
    let Some(payment) = &paid.payment else { return Ok(false) };
    Ok(rows::credited(tx, payment).await?.is_some_and(|(_, first)| first != purchase))
}

/// A purchase that is paid is told to be paid: by another payment than before, it was paid twice.
pub(super) async fn paid_again(
    tx: &mut Tx,
    row: &Purchase,
    paid: &Paid,
    session: Option<&str>,
    now: Timestamp,
) -> Result<(), Error> {
    let is_same = match (&row.payment, &paid.payment) {
        (Some(before), Some(now)) => before == now,
        _ => row.provider == STRIPE,
    };
    if is_same {
        return Ok(());
    }
    let how = row.payment.as_ref().map_or_else(|| "outside of Stripe".to_owned(), |payment| format!("by {payment}"));
    let what = said(paid, key(paid, session));
    let detail = format!(
        "{what} is for {} of {}, which was paid {how} already. It brought no credit: give it back at Stripe.",
        row.id, row.tenant_id
    );
    note(tx, "taken", key(paid, session), detail, now).await.map(drop)
}

/// A payment is in another currency than the ledger.
pub(super) async fn in_another_currency(
    tx: &mut Tx,
    row: &Purchase,
    paid: &Paid,
    ledger: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let id = key(paid, row.session.as_deref());
    let what = said(paid, id);
    let detail = format!(
        "{what} is for {} of {}, whose credit is in {ledger}. It brought no credit: give it back at Stripe.",
        row.id, row.tenant_id
    );
    note(tx, "currency", id, detail, now).await.map(drop)
}

/// A payment was found by asking, and its event did not come.
pub(super) async fn unheard(tx: &mut Tx, row: &Purchase, now: Timestamp) -> Result<(), Error> {
    tracing::warn!(purchase.id = %row.id, "A purchase was paid, and Stripe's event about it did not come: look whether the webhook endpoint and its secret are set up");
    let payment = row.payment.clone().or_else(|| row.session.clone()).unwrap_or_else(|| row.id.to_string());
    let detail = format!("{} of {} was found to be paid by asking Stripe.", row.id, row.tenant_id);
    rows::note(tx, &Finding { payment, kind: rows::UNHEARD.to_owned(), detail, found_at: now }).await?;
    Ok(())
}

/// Somebody paid for credit of a tenant that is not there any more. Whoever resends the event changes nothing: the money is given back by hand. Answers what is noted, unless it was before.
pub(super) async fn gone(
    tx: &mut Tx,
    tenant: TenantId,
    about: &About,
    now: Timestamp,
) -> Result<Option<String>, Error> {
    let (paid, session) = match about {
        About::Paid(Session { paid, id, .. }) => (paid, Some(id.as_str())),
        About::Charged(paid) => (paid, None),
        _ => return Ok(None),
    };
    let id = key(paid, session);
    let what = said(paid, id);
    let detail = format!(
        "{what} is for credit of {tenant}, which is not there any more. It brought no credit: give it back at Stripe."
    );
    Ok(note(tx, "gone", id, detail.clone(), now).await?.then_some(detail))
}

/// What was found of the payment an event is about.
pub(super) async fn found(tx: &mut Tx, about: &About) -> Result<Vec<Finding>, Error> {
    let (paid, session) = match about {
        About::Paid(session) | About::Awaited(session) | About::Failed(session) | About::Expired(session) => {
            (&session.paid, Some(session.id.as_str()))
        }
        About::Charged(paid) | About::Refused(paid, _) => (paid, None),
        About::Refund(_) | About::Returned { .. } | About::Other => return Ok(Vec::new()),
    };
    Ok(rows::found(tx, key(paid, session)).await?)
}

/// Money of a payment went back: whatever was the matter with it is over. Answers whether something was.
pub(super) async fn went_back(parts: &Parts, payment: String, now: Timestamp) -> Result<bool, Error> {
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::settle(tx, &payment, now).await?) })
    });
    Ok(write.await? > 0)
}

/// Forgets what was found long ago. Answers how many.
pub(super) async fn purge(engine: &Engine) -> Result<u64, Error> {
    let before = engine.ports.clock.now().plus_seconds(-KEPT_S);
    let write = engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(rows::forget(tx, before, PAGE).await?) }));
    write.await
}
