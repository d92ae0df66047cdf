//! What Stripe tells us: checked against the signing secret, and each event once. What cannot be shown to be Stripe's changes nothing. All of it is logged ([`payment_log`]).

use std::{net::IpAddr, sync::Arc};

use connectors::stripe::{self, About, Event, Paid, RefundState};
use model::{TenantId, Timestamp};
use store::{
    Scope, Tx,
    callback_log::Callback,
    purchases::{self as rows, Purchase},
};

use super::{
    ledger::Open,
    payment_log::{self, Picture, Verdict},
    payments,
    purchases::{self, Told},
    refunds, strays,
};
use crate::{
    Engine, Error, ErrorKind,
    callbacks::{self as logged, OwnedRequest, Unchanged},
};

/// How long events are remembered, in seconds: Stripe repeats one for three days, and a person may resend one for thirty.
const KEPT_S: i64 = 40 * 86_400;
/// Events the cleaner forgets in one step.
const PAGE: i64 = 500;

/// Takes a request that says it is Stripe's, and writes into the operator's callback log what came of it. `peer`: from where it came.
///
/// 404 when no account at Stripe is set, 401 when it cannot be shown to be Stripe's, 400 when it is no event.
#[crate::boxed]
pub async fn take(engine: &Engine, request: &OwnedRequest, peer: Option<IpAddr>) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    let from = peer.map_or_else(String::new, |peer| format!(" (from {})", peer.to_canonical()));
    let Some(stripe) = payments::stripe(engine.parts()).await? else {
        let why = format!("no account at Stripe is set, so nobody can say whose this is{from}");
        payment_log::refused(engine, request, Verdict::Invalid, &why, None, now).await;
        return Err(Error::not_found("payment provider"));
    };
    let signature =
        request.headers.iter().find(|(name, _)| name == "stripe-signature").map(|(_, value)| value.as_str());
    if let Err(why) = stripe::verify(signature, &request.body, &stripe.webhook_secret, now) {
        tracing::warn!(why, "Refused an event that claims to be Stripe's");
        payment_log::refused(engine, request, Verdict::Invalid, &format!("{why}{from}"), None, now).await;
        let detail = format!("This is not shown to be Stripe's: {why}.");
        return Err(Error::new(ErrorKind::Unauthorized, "invalid_signature", detail));
    }
    let Some(event) = stripe::event(&request.body) else {
        let why = "The body is not an event as Stripe sends them.";
        payment_log::refused(engine, request, Verdict::Unreadable, why, None, now).await;
        return Err(Error::new(ErrorKind::Malformed, "malformed_event", why));
    };
    let row = payment_log::of_event(&engine.ports.ids, request, &event, now);
    if let Err(error) = act(engine, &event, row, now).await {
        let why = format!("It could not be taken now, so Stripe sends it again: {}", error.detail);
        payment_log::refused(engine, request, Verdict::Valid, &why, Some(&event), now).await;
        return Err(error);
    }
    Ok(())
}

/// Does what an event says, and writes down what it changed.
async fn act(engine: &Engine, event: &Event, row: Callback, now: Timestamp) -> Result<(), Error> {
    let is_over = match went_back(event) {
        Some(payment) => strays::went_back(engine.parts(), payment, now).await?,
        None => false,
    };
    let over = is_over.then(payment_log::settled);
    let Some(tenant) = owner(engine, &event.about).await? else {
        tracing::info!(event.id, event.kind, "Passed over an event of Stripe that is about nothing of ours");
        let otherwise = if event.about == About::Other { Unchanged::NotLookedAt } else { Unchanged::UnknownPurchase };
        let told = logged::Told::new(&event.kind, over.into_iter().collect(), otherwise);
        let write = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move { payment_log::taken(tx, row, None, &told, None).await })
        });
        return write.await;
    };
    let (ids, event) = (Arc::clone(&engine.ports.ids), event.clone());
    let (taken, kept, settled) = (event.clone(), row.clone(), over.clone());
    let is_there = refunds::settled(engine, tenant, move |tx, open, now| {
        Box::pin(async move {
            let before = Picture::of(tx, tenant, open, &taken.about).await?;
            let said = match rows::take_event(tx, &taken.id, &taken.kind, now).await? {
                true => apply(tx, tenant, open, &taken.about, &ids, now).await?,
                false => None,
            };
            let after = Picture::of(tx, tenant, open, &taken.about).await?;
            let (told, detail) = before.told(&after, &taken, settled);
            payment_log::taken(tx, kept, Some(tenant), &told, detail).await?;
            Ok(said)
        })
    });
    if is_there.await? {
        return Ok(());
    }
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let noted = strays::gone(tx, tenant, &event.about, now).await?;
            let changed = over.into_iter().chain(noted.as_ref().map(|_| payment_log::noted("gone"))).collect();
            let told = logged::Told::new(&event.kind, changed, Unchanged::TenantGone);
            payment_log::taken(tx, row, Some(tenant), &told, noted).await
        })
    });
    write.await
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
    now: Timestamp,
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
