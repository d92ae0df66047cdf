//! What Stripe tells us: checked against the signing secret, and each event once. What cannot be shown to be Stripe's changes nothing.

use std::sync::Arc;

use connectors::stripe::{self, About, Event, Paid, RefundState};
use model::TenantId;
use store::{
    Scope, Tx,
    purchases::{self as rows, Purchase},
};

use super::{
    ledger::Open,
    payments,
    purchases::{self, Told},
    refunds, strays,
};
use crate::{Engine, Error, ErrorKind};

/// How long events are remembered, in seconds: Stripe repeats one for three days, and a person may resend one for thirty.
const KEPT_S: i64 = 40 * 86_400;
/// Events the cleaner forgets in one step.
const PAGE: i64 = 500;

/// Takes an event. `signature`: the header `Stripe-Signature`.
#[crate::boxed]
pub async fn take(engine: &Engine, signature: Option<&str>, body: &[u8]) -> Result<(), Error> {
    let stripe = payments::stripe(engine.parts()).await?.ok_or_else(|| Error::not_found("payment provider"))?;
    let now = engine.ports.clock.now();
    stripe::verify(signature, body, &stripe.webhook_secret, now).map_err(|why| {
        tracing::warn!(why, "Refused an event that claims to be Stripe's");
        let detail = format!("This is not shown to be Stripe's: {why}.");
        Error::new(ErrorKind::Unauthorized, "invalid_signature", detail)
    })?;
    let event = stripe::event(body).ok_or_else(|| {
        Error::new(ErrorKind::Malformed, "malformed_event", "The body is not an event as Stripe sends them.")
    })?;
    if let Some(payment) = went_back(&event) {
        strays::went_back(engine.parts(), payment, now).await?;
    }
    let Some(tenant) = owner(engine, &event.about).await? else {
        tracing::info!(event.id, event.kind, "Passed over an event of Stripe that is about nothing of ours");
        return Ok(());
    };
    let (ids, taken) = (Arc::clone(&engine.ports.ids), event.clone());
    let is_there = refunds::settled(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            match rows::take_event(tx, &taken.id, &taken.kind, now).await? {
                true => apply(tx, tenant, open, &taken.about, &ids, now).await,
                false => Ok(None),
            }
        })
    });
    if !is_there.await? {
        strays::gone(engine.parts(), tenant, &event, now).await?;
    }
    Ok(())
}

/// The payment of which money went back, if the event says so.
fn went_back(event: &Event) -> Option<String> {
    match &event.about {
        About::Refund(refund) if refund.state != RefundState::Failed => refund.payment.clone(),
        About::Returned { payment } if event.kind == "charge.refunded" => Some(payment.clone()),
        _ => None,
    }
}

/// Whose credit an event is about.
async fn owner(engine: &Engine, about: &About) -> Result<Option<TenantId>, Error> {
    let named = |paid: &Paid| paid.tenant.as_ref().and_then(|id| id.parse().ok());
    let payment = match about {
        About::Paid(session) | About::Awaited(session) | About::Failed(session) | About::Expired(session) => {
            return Ok(named(&session.paid));
        }
        About::Charged(paid) | About::Refused(paid, _) => return Ok(named(paid)),
        About::Refund(refund) => refund.payment.clone(),
        About::Returned { payment } => Some(payment.clone()),
        About::Other => None,
    };
    let Some(payment) = payment else { return Ok(None) };
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(rows::of_payment(tx, &payment).await?) }));
    Ok(read.await?.map(|row| row.tenant_id))
}

/// Does what an event says. Answers what the tenant is told.
pub(super) async fn apply(
    tx: &mut Tx,
    tenant: TenantId,
    open: &mut Open,
    about: &About,
    ids: &model::Ids,
    now: model::Timestamp,
) -> Result<Told, Error> {
    let failed = |why: &str| Some(why.to_owned());
    match about {
        About::Paid(session) => purchases::paid(tx, tenant, open, &session.paid, Some(&session.id), now).await,
        About::Charged(paid) => purchases::paid(tx, tenant, open, paid, None, now).await,
        About::Awaited(session) => purchases::moved(tx, tenant, &session.paid, "pending", None, now).await,
        About::Failed(session) => {
            purchases::moved(tx, tenant, &session.paid, "failed", failed("the payment failed"), now).await
        }
        About::Expired(session) => {
            purchases::moved(tx, tenant, &session.paid, "expired", failed("nobody paid in time"), now).await
        }
        About::Refused(paid, why) => match purchases::is_top_up(tx, tenant, paid).await? {
            true => purchases::moved(tx, tenant, paid, "failed", failed(why), now).await,
            // Whoever is at the page may try again with something else.
            false => Ok(None),
        },
        About::Refund(refund) => refunds::said(tx, tenant, open, refund, ids, now).await,
        About::Returned { payment } => {
            if let Some(row) = rows::of_payment(tx, payment).await?.filter(|row| row.tenant_id == tenant) {
                rows::put(tx, tenant, &Purchase { looks: row.looks + 1, updated_at: now, ..row }).await?;
            }
            Ok(None)
        }
        About::Other => Ok(None),
    }
}

/// Forgets events nobody repeats any more, and what was found of payments. Run every hour; answers how many.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let findings = strays::purge(engine).await?;
    let before = engine.ports.clock.now().plus_seconds(-KEPT_S);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::forget_events(tx, before, PAGE).await?) })
    });
    Ok(findings + write.await?)
}
