//! What Stripe tells us: checked against the signing secret, and each event once. What cannot be shown to be Stripe's changes nothing.

use std::sync::Arc;

use connectors::stripe::{self, About, Paid};
use model::TenantId;
use store::{
    Scope, Tx,
    purchases::{self as rows, Purchase},
};

use super::{
    ledger::Open,
    payments,
    purchases::{self, Told},
    refunds,
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
    let Some(tenant) = owner(engine, &event.about).await? else {
        tracing::info!(event.id, event.kind, "Passed over an event of Stripe that is about nothing of ours");
        return Ok(());
    };
    if engine.directory.tenant(tenant).await?.is_none() {
        // Whoever resends it changes nothing: money that came for nobody is given back by hand.
        if let About::Paid(stripe::Session { paid, .. }) | About::Charged(paid) = &event.about {
            tracing::error!(event.id, tenant.id = %tenant, payment = paid.payment, "Somebody paid for credit of a tenant that is not there any more: give it back at Stripe");
        }
        return Ok(());
    }
    let ids = Arc::clone(&engine.ports.ids);
    refunds::settle(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            match rows::take_event(tx, &event.id, &event.kind, now).await? {
                true => apply(tx, tenant, open, &event.about, &ids, now).await,
                false => Ok(None),
            }
        })
    })
    .await
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

/// Forgets events nobody repeats any more. Run every hour; answers how many.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let before = engine.ports.clock.now().plus_seconds(-KEPT_S);
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::forget_events(tx, before, PAGE).await?) })
    });
    write.await
}
