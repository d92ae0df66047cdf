//! Alerts as events, for endpoints and streams. A tenant's are events of its own. The operator has no events, so its alerts are events of types of their own in the tenant through which its letters
//! leave, too (`mail_tenant` of the configuration), and in no other; there its endpoints are, and what it follows outside of any tenant.

use std::sync::Arc;

use model::{Ids, TenantId, Timestamp};
use store::{Tx, deliveries::Delivery};

use super::AlertView;
use crate::{Engine, Error, Parts, directory::Tenant, provider, vault::OPERATOR};

/// What an event tells of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// That it fires.
    Firing,
    /// That somebody takes care of it.
    Acknowledged,
    /// That it is over.
    Resolved,
}

impl Told {
    const fn event(self, is_operators: bool) -> &'static str {
        match (self, is_operators) {
            (Self::Firing, false) => "alert.firing",
            (Self::Acknowledged, false) => "alert.acknowledged",
            (Self::Resolved, false) => "alert.resolved",
            (Self::Firing, true) => "operator_alert.firing",
            (Self::Acknowledged, true) => "operator_alert.acknowledged",
            (Self::Resolved, true) => "operator_alert.resolved",
        }
    }
}

/// The tenant whose endpoints and streams hear of somebody's alerts.
#[derive(Clone)]
pub(super) struct Audience {
    tenant: Arc<Tenant>,
    is_operators: bool,
}

impl Audience {
    /// Who hears of an owner's alerts: a tenant of its own; of the operator's the tenant its letters leave through, and nobody without one.
    pub(super) async fn of(parts: &Parts, owner: TenantId) -> Result<Option<Self>, Error> {
        let is_operators = owner == OPERATOR;
        let whose = if is_operators { parts.config.mail_tenant } else { Some(owner) };
        let Some(id) = whose else { return Ok(None) };
        Ok(parts.directory.tenant(id).await?.map(|tenant| Self { tenant, is_operators }))
    }

    /// Writes an event about an alert, and answers what endpoints are to get.
    pub(super) async fn tell(
        &self,
        tx: &mut Tx,
        told: Told,
        shown: &AlertView,
        ids: &Ids,
        now: Timestamp,
        shard: i64,
    ) -> Result<Vec<Delivery>, Error> {
        provider::tell(tx, &self.tenant, told.event(self.is_operators), shown, now, ids, shard).await
    }

    /// Wakes what waits for such events, once they are on disk.
    pub(super) fn wake(&self, engine: &Engine, deliveries: &[Delivery]) {
        provider::wake(engine, self.tenant.id, deliveries);
    }
}
