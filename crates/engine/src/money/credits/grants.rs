//! Promotional credit: given until an instant, spent before what was paid for, and taken back when it has ended.

use std::sync::Arc;

use model::{Money, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope,
    credits::{self as rows, Grant},
};
use utoipa::ToSchema;

use super::{AMOUNT_MAX, check_text, ledger_to_write};
use crate::{
    Engine, Error, Parts, audit,
    keys::Caller,
    money::{charge, ledger::Cause},
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
};

/// Grants of promotional credit a tenant has at once: more than campaigns of a year, and few enough to be read with the ledger.
pub(crate) const GRANTS_MAX: i64 = 100;
/// Ledgers a job looks at in one run.
const LEDGERS_PAGE: i64 = 500;

/// Promotional credit to be given.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// How much, in millionths of the ledger's currency.
    #[schema(example = 10_000_000)]
    pub amount_micros: i64,
    /// When what is left of it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Why.
    #[schema(example = "welcome")]
    pub reference: String,
}

/// Promotional credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditGrant {
    /// The number of the movement that gave it.
    #[schema(example = 2)]
    pub number: i64,
    /// How much was given.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// How much of it is left.
    #[schema(value_type = Object)]
    pub left: Money,
    /// When what is left of it ends.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    /// Why it was given.
    #[schema(example = "welcome")]
    pub reference: String,
    /// When it was given.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// Gives promotional credit. Needs an operator with the scope `credits:write`.
#[crate::boxed]
pub async fn grant(parts: &Parts, caller: &Caller, repeat: &Repeat, new: NewGrant) -> Result<Reply, Error> {
    caller.need_operator("credits:write")?;
    let (tenant, now) = (caller.need_tenant()?, parts.ports.clock.now());
    let mut faults = Faults::default();
    if !(1..=AMOUNT_MAX).contains(&new.amount_micros) {
        faults.add("/amount_micros", format!("1 to {AMOUNT_MAX} millionths of the currency's unit"));
    }
    if new.expires_at <= now {
        faults.add("/expires_at", "a time to come: promotional credit that has ended cannot be spent");
    }
    check_text("/reference", &new.reference, &mut faults);
    faults.end()?;
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let ledger = ledger_to_write(tx, tenant, now).await?;
            let mut open = charge::begin(tx, ledger, now).await?;
            if open.grants.iter().filter(|grant| grant.rest > 0).count() as i64 >= GRANTS_MAX {
                let detail = format!("A tenant has at most {GRANTS_MAX} grants of promotional credit at once; one has to be spent or end first.");
                return Err(Error::conflict("too_many_grants", detail));
            }
            let cause = Cause {
                kind: "grant",
                message: None,
                reference: Some(new.reference.clone()),
                actor: Some(by.actor()),
                at: now,
            };
            open.grant(new.amount_micros, new.expires_at, cause);
            let number = open.ledger.entries;
            let currency = open.ledger.currency.clone();
            let made = open.grants.iter().find(|grant| grant.number == number).cloned();
            charge::write(tx, [(tenant, open)]).await?;
            let detail = json!({ "amount_micros": new.amount_micros, "expires_at": new.expires_at, "reference": new.reference });
            audit::record(tx, tenant, &ids, now, &by, "credits.granted", tenant, &detail).await?;
            let made = made.ok_or_else(|| Error::internal("a grant left no row"))?;
            Ok(grant_view(made, &currency))
        })
    })
    .await
}

fn grant_view(grant: Grant, currency: &str) -> CreditGrant {
    let money = |amount_micros| Money { amount_micros, currency: currency.to_owned() };
    CreditGrant {
        number: grant.number,
        amount: money(grant.amount),
        left: money(grant.rest),
        expires_at: grant.expires_at,
        reference: grant.reference,
        created_at: grant.created_at,
    }
}

/// Lists promotional credit, newest first. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn grants(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<CreditGrant>, Error> {
    caller.need("credits:read")?;
    let (tenant, window) = (caller.need_tenant()?, Window::read("credit-grants", limit, cursor)?);
    let (before, rows) = (i64::try_from(window.before).unwrap_or(i64::MAX), window.rows());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let currency = rows::find(tx, tenant).await?.map(|ledger| ledger.currency).unwrap_or_default();
            Ok::<_, Error>((currency, rows::grants_before(tx, tenant, before, rows).await?))
        })
    });
    let (currency, found) = read.await?;
    Ok(window.page(found, |grant| u128::from(grant.number.unsigned_abs()), |grant| grant_view(grant, &currency)))
}

/// Takes back promotional credit that has ended. Run every minute; answers how many ledgers were looked at.
#[crate::boxed]
pub async fn expire_grants(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let due = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { rows::with_ended_grants(tx, now, LEDGERS_PAGE).await }));
    let due = due.await.map_err(Error::from)?;
    let count = due.len() as u64;
    for tenant in due {
        let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let open = charge::lock(tx, [tenant].into(), now).await?;
                charge::write(tx, open).await
            })
        });
        write.await.map_err(Error::from)?;
    }
    Ok(count)
}
