//! How long a tenant keeps what it does not need for ever (`/v1/retention`): days for each kind, and the job that takes away what is older.
//!
//! **What goes.** Rows that count stay and are emptied: of a message goes what it said, to whom, or what was exchanged about it, each after its own time; so usage, analytics, charges and the
//! ledger say the same before and after. Logs are removed. A contact nobody wrote to or heard from is erased like one who asked for it.
//!
//! **How.** [`run`] takes a tenant's policy under a lease and works its kinds off in steps, each one transaction of a few hundred rows that moves the kind's place with what it did. Ids are made in
//! the order of time, so nothing is searched for. What is still needed (a message scheduled for later, one a provider is still asked about) is noted and looked at again.
//!
//! **Least times** are where something of ours, or a law, still needs the rows; each is a constant below with its reason.

mod work;

use std::sync::Arc;

use model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::retention::{self, Policy};
use utoipa::ToSchema;

pub use self::work::run;
use crate::{Engine, Error, accept::request, audit, keys::Caller, names::Faults, patch::Patch};

/// Longest time anything can be kept for, in days: ten years, which is longer than any law asks for messages.
const DAYS_MAX: u32 = 3_660;
/// To whom messages went: a cap on how often somebody is written to looks back 90 days, and late bounces must find their address.
const ADDRESSES_MIN: u32 = 90;
/// What was exchanged with providers: reports come days late, and somebody has to be able to look into a failure.
const EXCHANGES_MIN: u32 = 7;
/// Providers' requests are kept for 30 days whatever is set here.
const CALLBACKS_MAX: u32 = 30;
/// Events are kept for a week whatever is set here.
const EVENTS_MAX: u32 = 7;
/// Contacts nobody wrote to or heard from. With them goes the proof of their consent, which has to be there as long as somebody may still complain.
const CONTACTS_MIN: u32 = 365;

/// For how many days each kind is kept; `null` for ever, or as long as we keep it anyway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct RetentionSettings {
    /// What messages said: content, variables and `metadata`. At least 1. A dead letter of that age can no longer be retried.
    #[schema(example = 365)]
    pub message_content_days: Option<u32>,
    /// To whom messages went: the country stays. At least 90.
    #[schema(example = 730)]
    pub message_addresses_days: Option<u32>,
    /// Requests, answers and words of providers in messages' timelines; what happened and when stays. At least 7.
    #[schema(example = 90)]
    pub exchanges_days: Option<u32>,
    /// What people wrote, and from which address. At least 1.
    #[schema(example = 365)]
    pub inbound_days: Option<u32>,
    /// The log of providers' callbacks: 1 to 30, 30 when `null`.
    #[schema(example = 30)]
    pub callbacks_days: Option<u32>,
    /// Events: 1 to 7, 7 when `null`.
    #[schema(example = 7)]
    pub events_days: Option<u32>,
    /// Imports with their errors; their files go at once. At least 1.
    #[schema(example = 90)]
    pub imports_days: Option<u32>,
    /// Contacts that were not changed, written to or heard from for so long are erased. At least 365.
    #[schema(example = 1_460)]
    pub inactive_contacts_days: Option<u32>,
}

/// One kind: its name, its least and longest time, and how it is set.
struct Kind {
    name: &'static str,
    least: u32,
    most: u32,
    of: fn(&RetentionSettings) -> Option<u32>,
}

const KINDS: [Kind; 8] = [
    Kind { name: "message_content", least: 1, most: DAYS_MAX, of: |s| s.message_content_days },
    Kind { name: "message_addresses", least: ADDRESSES_MIN, most: DAYS_MAX, of: |s| s.message_addresses_days },
    Kind { name: "exchanges", least: EXCHANGES_MIN, most: DAYS_MAX, of: |s| s.exchanges_days },
    Kind { name: "inbound", least: 1, most: DAYS_MAX, of: |s| s.inbound_days },
    Kind { name: "callbacks", least: 1, most: CALLBACKS_MAX, of: |s| s.callbacks_days },
    Kind { name: "events", least: 1, most: EVENTS_MAX, of: |s| s.events_days },
    Kind { name: "imports", least: 1, most: DAYS_MAX, of: |s| s.imports_days },
    Kind { name: "inactive_contacts", least: CONTACTS_MIN, most: DAYS_MAX, of: |s| s.inactive_contacts_days },
];

impl RetentionSettings {
    fn check(&self, faults: &mut Faults) {
        for kind in &KINDS {
            let (least, most) = (kind.least, kind.most);
            if (kind.of)(self).is_some_and(|days| !(least..=most).contains(&days)) {
                faults.add(format!("/{}_days", kind.name), format!("{least} to {most} days, or null"));
            }
        }
    }

    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Changes of how long things are kept.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionPatch {
    /// What messages said.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub message_content_days: Patch<u32>,
    /// To whom messages went.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub message_addresses_days: Patch<u32>,
    /// Requests, answers and words of providers.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub exchanges_days: Patch<u32>,
    /// What people wrote.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub inbound_days: Patch<u32>,
    /// The log of providers' callbacks.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub callbacks_days: Patch<u32>,
    /// Events.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub events_days: Patch<u32>,
    /// Imports with their errors.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub imports_days: Patch<u32>,
    /// Contacts nobody wrote to or heard from.
    #[serde(default)]
    #[schema(value_type = Option<u32>)]
    pub inactive_contacts_days: Patch<u32>,
}

/// What was taken away of one kind so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RetentionDone {
    /// Which: the setting's name without `_days`.
    #[schema(example = "message_content")]
    pub kind: String,
    /// Rows emptied or removed.
    pub rows: u64,
    /// When it was last worked on.
    #[schema(value_type = String, format = DateTime)]
    pub worked_at: Timestamp,
}

/// How long things are kept, and what was taken away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct RetentionView {
    /// What is set.
    #[serde(flatten)]
    pub settings: RetentionSettings,
    /// What was taken away so far.
    pub done: Vec<RetentionDone>,
    /// When it last changed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub updated_at: Option<Timestamp>,
    /// When the next look is due; `null` while nothing is set.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
}

fn settings(policy: Option<&Policy>) -> RetentionSettings {
    // What a newer version wrote and this one does not know takes nothing away.
    policy.and_then(|policy| serde_json::from_str(&policy.settings).ok()).unwrap_or_default()
}

async fn shown(tx: &mut store::Tx, tenant: TenantId) -> Result<RetentionView, Error> {
    let policy = retention::find(tx, tenant).await?;
    let known = |kind: &str| KINDS.iter().any(|known| known.name == kind);
    let done = retention::places(tx, tenant).await?.into_iter().filter(|(kind, _)| known(kind));
    let done = done.map(|(kind, at)| RetentionDone { kind, rows: at.done, worked_at: at.worked_at });
    Ok(RetentionView {
        settings: settings(policy.as_ref()),
        done: done.collect(),
        updated_at: policy.as_ref().map(|policy| policy.updated_at),
        next_at: policy.and_then(|policy| policy.next_at),
    })
}

/// Shows how long things are kept. Needs the scope `retention:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller) -> Result<RetentionView, Error> {
    caller.need("retention:read")?;
    let tenant = caller.need_tenant()?;
    engine.ports.db.read(caller.reach(), move |tx| Box::pin(async move { shown(tx, tenant).await })).await
}

/// Changes how long things are kept: what is older goes from now on. Needs the scope `retention:write`.
#[crate::boxed]
pub async fn patch(engine: &Engine, caller: &Caller, body: &[u8]) -> Result<RetentionView, Error> {
    caller.need("retention:write")?;
    let tenant = caller.need_tenant()?;
    let change: RetentionPatch = request::read(body, "")?;
    let now = engine.ports.clock.now();
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = settings(retention::find(tx, tenant).await?.as_ref());
            let after = RetentionSettings {
                message_content_days: change.message_content_days.onto(before.message_content_days),
                message_addresses_days: change.message_addresses_days.onto(before.message_addresses_days),
                exchanges_days: change.exchanges_days.onto(before.exchanges_days),
                inbound_days: change.inbound_days.onto(before.inbound_days),
                callbacks_days: change.callbacks_days.onto(before.callbacks_days),
                events_days: change.events_days.onto(before.events_days),
                imports_days: change.imports_days.onto(before.imports_days),
                inactive_contacts_days: change.inactive_contacts_days.onto(before.inactive_contacts_days),
            };
            let mut faults = Faults::default();
            after.check(&mut faults);
            faults.end()?;
            let row = Policy {
                tenant_id: tenant,
                settings: json!(after).to_string(),
                updated_at: now,
                next_at: (!after.is_nothing()).then_some(now),
            };
            retention::put(tx, &row).await?;
            let difference = audit::difference(&json!(before), &json!(after));
            audit::record(tx, tenant, &ids, now, &by, "retention.updated", tenant, &difference).await?;
            shown(tx, tenant).await
        })
    });
    write.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_bounds() {
        let check = |settings: RetentionSettings, pointer: Option<&str>| {
            let mut faults = Faults::default();
            settings.check(&mut faults);
            assert_eq!(faults.0.first().map(|fault| fault.pointer.as_str()), pointer, "{settings:?}");
        };
        let none = RetentionSettings::default();
        check(none, None);
        check(RetentionSettings { message_content_days: Some(0), ..none }, Some("/message_content_days"));
        check(RetentionSettings { message_content_days: Some(1), ..none }, None);
        check(RetentionSettings { message_addresses_days: Some(89), ..none }, Some("/message_addresses_days"));
        check(RetentionSettings { callbacks_days: Some(31), ..none }, Some("/callbacks_days"));
        check(RetentionSettings { events_days: Some(8), ..none }, Some("/events_days"));
        check(RetentionSettings { inactive_contacts_days: Some(364), ..none }, Some("/inactive_contacts_days"));
        check(RetentionSettings { inbound_days: Some(3_661), ..none }, Some("/inbound_days"));
    }
}
