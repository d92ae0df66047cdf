//! What Stripe told, in the operator's callback log: each request with what was found about it and what it changed, bounded, and without what says who paid or with what ([`stripe::redacted`]).
//!
//! A request that was taken is written down in the transaction that did what it says. One that cannot be shown to be Stripe's anybody can make, as often as they like: so many a minute are
//! written down, and only the newest of them are kept ([`Engine::purge_callbacks`]). Those of Stripe's own that could not be read or taken are counted by themselves, so that no forged ones hide them.

use aws_lc_rs::digest::{SHA256, digest};
use connectors::stripe::{self, About, Event, Paid};
use model::{CallbackId, Ids, TenantId, Timestamp};
use store::{
    Scope, Tx,
    callback_log::{self, Callback},
    payments::Finding,
    purchases::{self as rows, Purchase, Refund},
};

use super::{ledger::Open, payments::EVENTS_PATH, purchases::id_of, refunds, strays, words};
use crate::{
    Engine, Error,
    apply::Change,
    callbacks::{NO_ACCOUNT, OwnedRequest, Told, Unchanged, record::cut},
    vault::OPERATOR,
};

/// Headers that are kept. The rest tells nothing of why a request was refused.
const HEADERS: &[&str] = &["content-type", "stripe-signature", "user-agent"];
/// Headers kept of one request, should some come several times.
const HEADERS_MAX: usize = 6;
/// Bytes kept of a header's value.
const HEADER_MAX: usize = 512;
/// Bytes kept of a body that is Stripe's: most of its events have a tenth of that.
const BODY_MAX: usize = 64 * 1024;
/// Bytes kept of a body that is anybody's.
const REFUSED_BODY_MAX: usize = 4 * 1024;
/// Bytes kept of an event's id, of its type, and of why it was refused.
const TEXT_MAX: usize = 500;
/// Bytes of what makes a repeated event the same.
const DEDUPE_LEN: usize = 16;
/// A payment that brought nobody credit, as the operator's alerts call it.
const STRAY: &str = "payment_stray";

/// What was found about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is Stripe's.
    Valid,
    /// It is not, or cannot be shown to be.
    Invalid,
    /// It is Stripe's, and no event.
    Unreadable,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unreadable => "unreadable",
        }
    }
}

/// The log's row of a request.
fn row(ids: &Ids, request: &OwnedRequest, verdict: Verdict, now: Timestamp) -> Callback {
    let kept = request.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str())).take(HEADERS_MAX);
    let headers: Vec<(&str, String)> = kept.map(|(name, value)| (name.as_str(), cut(value, HEADER_MAX))).collect();
    let body_max = if verdict == Verdict::Invalid { REFUSED_BODY_MAX } else { BODY_MAX };
    let body = stripe::redacted(&request.body, body_max).unwrap_or_default();
    Callback {
        tenant_id: OPERATOR,
        id: CallbackId::from_ulid(ids.ulid(now)),
        account_id: NO_ACCOUNT,
        received_at: now,
        method: "POST".to_owned(),
        path: EVENTS_PATH.to_owned(),
        query: String::new(),
        headers: serde_json::to_string(&headers).unwrap_or_else(|_| "[]".to_owned()),
        body: body.into_bytes(),
        size: request.body.len() as u64,
        dedupe: None,
        verdict: verdict.as_str().to_owned(),
        detail: None,
        observed: 0,
        unmatched: 0,
        repeats: 0,
        told: None,
        event: callback_log::Event::default(),
    }
}

fn named(event: &Event) -> callback_log::Event {
    callback_log::Event { kind: Some(cut(&event.kind, TEXT_MAX)), id: Some(cut(&event.id, TEXT_MAX)), about: None }
}

/// The row of a request that is an event. The same event again is the same row.
pub(super) fn of_event(ids: &Ids, request: &OwnedRequest, event: &Event, now: Timestamp) -> Callback {
    let dedupe = digest(&SHA256, event.id.as_bytes()).as_ref()[..DEDUPE_LEN].to_vec();
    Callback { dedupe: Some(dedupe), observed: 1, event: named(event), ..row(ids, request, Verdict::Valid, now) }
}

/// Writes down a request that changed nothing, because it was refused or could not be taken. That it cannot be written changes nothing about the answer.
pub(super) async fn refused(
    engine: &Engine,
    request: &OwnedRequest,
    verdict: Verdict,
    why: &str,
    event: Option<&Event>,
    now: Timestamp,
) {
    if !engine.callbacks.keeps_refused(NO_ACCOUNT, verdict != Verdict::Invalid, now) {
        return;
    }
    let event = event.map(named).unwrap_or_default();
    let row = Callback { detail: Some(cut(why, TEXT_MAX)), event, ..row(&engine.ports.ids, request, verdict, now) };
    let write = engine.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(callback_log::put(tx, &row, false).await?) })
    });
    if let Err(error) = write.await {
        tracing::warn!(%error, "Cannot write down a request of Stripe's that was not taken");
    }
}

/// Writes down an event with what it told. For that alone the transaction reaches beyond its tenant.
pub(super) async fn taken(
    tx: &mut Tx,
    row: Callback,
    about: Option<TenantId>,
    told: &Told,
    detail: Option<String>,
) -> Result<(), Error> {
    let is_unmatched = matches!(told.unchanged, Some(Unchanged::UnknownPurchase | Unchanged::TenantGone));
    let row = Callback {
        unmatched: u32::from(is_unmatched),
        told: Some(serde_json::to_string(&[told]).map_err(Error::internal)?),
        detail,
        event: callback_log::Event { about, ..row.event },
        ..row
    };
    let reach = tx.widen().await?;
    callback_log::put(tx, &row, !told.changed.is_empty()).await?;
    Ok(tx.narrow(reach).await?)
}

/// That money of a payment went back that had brought nobody credit.
pub(super) fn settled() -> Change {
    Change::new(STRAY, "settled")
}

/// A payment that brought nobody credit was noted.
pub(super) fn noted(kind: &str) -> Change {
    Change::new(STRAY, kind)
}

/// What an event may change, as it stands.
pub(super) struct Picture {
    available: i64,
    currency: String,
    purchase: Option<Purchase>,
    refund: Option<Refund>,
    findings: Vec<Finding>,
}

impl Picture {
    /// Looks at a tenant's credit, and at the purchase and the refund an event is about.
    pub(super) async fn of(tx: &mut Tx, tenant: TenantId, open: &Open, about: &About) -> Result<Self, Error> {
        let mut refund = None;
        let purchase = match about {
            About::Paid(session) | About::Awaited(session) | About::Failed(session) | About::Expired(session) => {
                asked_for(tx, tenant, &session.paid).await?
            }
            About::Charged(paid) | About::Refused(paid, _) => asked_for(tx, tenant, paid).await?,
            About::Refund(seen) => {
                refund = refunds::known(tx, tenant, seen).await?;
                match refund.as_ref().and_then(|refund| refund.purchase_id) {
                    Some(id) => rows::find(tx, tenant, id).await?,
                    None => paid_with(tx, tenant, seen.payment.as_deref()).await?,
                }
            }
            About::Returned { payment } => paid_with(tx, tenant, Some(payment)).await?,
            About::Other => None,
        };
        let findings = strays::found(tx, about).await?;
        let (available, currency) = (open.ledger.available, open.ledger.currency.clone());
        Ok(Self { available, currency, purchase, refund, findings })
    }

    /// What an event told, of which `self` is the picture before and `now` the one after; and what the operator is to hear of it.
    pub(super) fn told(&self, now: &Self, event: &Event, before: Option<Change>) -> (Told, Option<String>) {
        let found = now.findings.iter().find(|found| !self.findings.contains(found));
        let mut changed: Vec<Change> = before.into_iter().chain(self.changes(now)).collect();
        changed.extend(found.map(|found| noted(&found.kind)));
        let told = Told {
            purchase_id: now.purchase.as_ref().map(|purchase| purchase.id),
            refund_id: now.refund.as_ref().map(|refund| refund.id),
            ..Told::new(&event.kind, changed, now.unchanged(&event.about))
        };
        (told, found.map(|found| found.detail.clone()))
    }

    fn changes(&self, now: &Self) -> Vec<Change> {
        let money = |micros: i64| Some(words(micros, &now.currency));
        let purchase = |of: &Self| of.purchase.as_ref().map(|purchase| purchase.state.clone());
        let refund = |of: &Self| of.refund.as_ref().map(|refund| refund.state.clone());
        let refunded = |of: &Self| money(of.purchase.as_ref().map_or(0, |purchase| purchase.refunded));
        let pairs = [
            ("purchase", purchase(self), purchase(now)),
            ("refund", refund(self), refund(now)),
            ("refunded", refunded(self), refunded(now)),
            ("credit", money(self.available), money(now.available)),
        ];
        let differs = |(what, from, to): (&str, Option<String>, Option<String>)| {
            let to = to.filter(|to| from.as_ref() != Some(to))?;
            Some(Change { what: what.to_owned(), from, to })
        };
        let looks = |of: &Self| of.purchase.as_ref().map_or(0, |purchase| purchase.looks);
        let to_ask = (looks(now) > looks(self)).then(|| Change::new("refunds_and_disputes", "to be asked for"));
        pairs.into_iter().filter_map(differs).chain(to_ask).collect()
    }

    /// Why nothing changed.
    fn unchanged(&self, about: &About) -> Unchanged {
        match (about, &self.purchase) {
            (About::Other, _) => Unchanged::NotLookedAt,
            (_, None) if self.refund.is_none() => Unchanged::UnknownPurchase,
            (About::Refused(..), Some(purchase)) if purchase.ask_at.is_some() => Unchanged::StillOpen,
            _ => Unchanged::KnownAlready,
        }
    }
}

async fn asked_for(tx: &mut Tx, tenant: TenantId, paid: &Paid) -> Result<Option<Purchase>, Error> {
    match id_of(paid) {
        Some(id) => Ok(rows::find(tx, tenant, id).await?),
        None => Ok(None),
    }
}

async fn paid_with(tx: &mut Tx, tenant: TenantId, payment: Option<&str>) -> Result<Option<Purchase>, Error> {
    let Some(payment) = payment else { return Ok(None) };
    Ok(rows::of_payment(tx, payment).await?.filter(|row| row.tenant_id == tenant))
}
