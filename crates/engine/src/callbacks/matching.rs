//! Which message a report speaks of.

use std::collections::{HashMap, HashSet};

use aws_lc_rs::digest::{Context, SHA256};
use connectors::Report;
use model::{AccountId, MessageId, TenantId, Timestamp};
use store::{Scope, Tx, attempts, fallbacks, inflight, messages, reports, reports::EarlyReport};

use super::record::without_nul;
use crate::{
    Engine, Error,
    apply::{EarlyPayload, Input, Learned},
};

/// Early reports matched in one go.
const REMATCH_PAGE: i64 = 500;

/// A report with what is needed to find its message.
pub(super) struct Reported {
    pub tenant_id: TenantId,
    pub account_id: AccountId,
    /// The message whose attempt the provider echoed.
    echo: Option<MessageId>,
    /// Which of its attempts.
    attempt: Option<u32>,
    /// The provider's id.
    provider_id: Option<String>,
    dedupe: String,
    payload: EarlyPayload,
    received_at: Timestamp,
}

impl Reported {
    /// Prepares a report of the request with this key for matching. What a provider dates later than now happened now: its clock runs ahead of ours.
    pub(super) fn new(
        tenant_id: TenantId,
        account_id: AccountId,
        report: Report,
        request: &[u8],
        now: Timestamp,
    ) -> Self {
        let dedupe = dedupe(&report, request);
        Self {
            tenant_id,
            account_id,
            echo: report.attempt_id.map(model::AttemptId::message),
            attempt: report.attempt_id.map(model::AttemptId::number).filter(|number| *number > 0),
            provider_id: report.provider_message_id.map(|id| without_nul(&id)).filter(|id| !id.is_empty()),
            dedupe,
            payload: EarlyPayload {
                fact: report.fact,
                at: report.at.unwrap_or(now).min(now),
                provider_status: Some(report.provider_status).filter(|word| !word.is_empty()),
                segments: report.segments,
                price: report.price,
                pricing: report.pricing,
            },
            received_at: now,
        }
    }

    /// What happened, in a word.
    pub(super) fn fact(&self) -> &'static str {
        self.payload.fact.as_str()
    }

    fn learned(&self, message_id: MessageId) -> Learned {
        let payload = self.payload.clone();
        Learned {
            tenant_id: self.tenant_id,
            message_id,
            fact: payload.fact,
            at: payload.at,
            source: "provider".to_owned(),
            dedupe: self.dedupe.clone(),
            provider_status: payload.provider_status,
            provider_message_id: self.provider_id.clone(),
            segments: payload.segments,
            price: payload.price,
            pricing: payload.pricing,
            machine: None,
            attempt: self.attempt,
        }
    }

    fn early(&self) -> Option<EarlyReport> {
        Some(EarlyReport {
            account_id: self.account_id,
            provider_message_id: self.provider_id.clone()?,
            dedupe: self.dedupe.clone(),
            tenant_id: self.tenant_id,
            report: serde_json::to_string(&self.payload).expect("a report has a JSON form"),
            received_at: self.received_at,
        })
    }
}

/// Makes a repeated report the same, also when it comes in another request: a status is told once per attempt, an engagement once per instant.
fn dedupe(report: &Report, request: &[u8]) -> String {
    let fact = serde_json::to_vec(&report.fact).unwrap_or_default();
    let attempt = report.attempt_id.map(|id| id.to_string()).unwrap_or_default();
    let mut parts: Vec<Vec<u8>> = vec![
        report.provider_status.clone().into_bytes(),
        report.provider_message_id.clone().unwrap_or_default().into_bytes(),
        attempt.into_bytes(),
    ];
    // A status that is told again with another kind of message says something new.
    parts.extend(report.pricing.as_ref().map(|pricing| serde_json::to_vec(pricing).unwrap_or_default()));
    if report.fact.status().is_none() {
        let at = report.at.map_or_else(|| request.to_vec(), |at| at.as_micros().to_be_bytes().to_vec());
        parts.extend([fact, at]);
    }
    let mut context = Context::new(&SHA256);
    for part in &parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mark: String = context.finish().as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("provider:{}:{mark}", report.fact.as_str())
}

/// What matching brought: facts about messages, and what to keep for later. `matched` has one answer per report: its message, where it was found.
pub(super) struct Matched {
    pub learned: Vec<Learned>,
    pub early: Vec<EarlyReport>,
    pub matched: Vec<Option<MessageId>>,
}

/// Finds the messages reports speak of, of any tenants' accounts.
pub(super) async fn find(tx: &mut Tx, reported: &[&Reported]) -> Result<Matched, Error> {
    let echoed = echoed(tx, reported).await?;
    let keys: HashSet<(AccountId, String)> = reported
        .iter()
        .filter(|r| !echoed.contains_key(&key_of(r)))
        .filter_map(|r| Some((r.account_id, r.provider_id.clone()?)))
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let mut known: HashMap<(AccountId, String), (TenantId, MessageId)> = messages::find_by_provider_ids(tx, &keys)
        .await?
        .into_iter()
        .map(|(account, id, tenant, message)| ((account, id), (tenant, message)))
        .collect();
    // What no message has now, one may have had before it moved on to another channel.
    let missing: Vec<_> = keys.into_iter().filter(|key| !known.contains_key(key)).collect();
    if !missing.is_empty() {
        for (account, id, tenant, message) in fallbacks::find_by_provider_ids(tx, &missing).await? {
            known.insert((account, id), (tenant, message));
        }
    }
    let mut found = Matched { learned: Vec::new(), early: Vec::new(), matched: Vec::with_capacity(reported.len()) };
    for report in reported {
        let by_id = || {
            let (tenant, message) = known.get(&(report.account_id, report.provider_id.clone()?))?;
            (*tenant == report.tenant_id).then_some(*message)
        };
        let message = echoed.get(&key_of(report)).copied().or_else(by_id);
        found.matched.push(message);
        match message {
            Some(message) => found.learned.push(report.learned(message)),
            None => found.early.extend(report.early()),
        }
    }
    Ok(found)
}

type EchoKey = (TenantId, AccountId, Option<MessageId>);

fn key_of(report: &Reported) -> EchoKey {
    (report.tenant_id, report.account_id, report.echo)
}

/// The messages behind our own echo: the tenant's, and sent through this account once.
async fn echoed(tx: &mut Tx, reported: &[&Reported]) -> Result<HashMap<EchoKey, MessageId>, Error> {
    let wanted: HashSet<EchoKey> = reported.iter().filter(|r| r.echo.is_some()).map(|r| key_of(r)).collect();
    let keys: HashSet<(TenantId, MessageId)> =
        wanted.iter().filter_map(|(tenant, _, echo)| Some((*tenant, (*echo)?))).collect();
    let keys: Vec<_> = keys.into_iter().collect();
    let accounts: HashMap<(TenantId, MessageId), Option<AccountId>> =
        messages::find_many(tx, &keys).await?.into_iter().map(|m| ((m.tenant_id, m.id), m.account_id)).collect();
    let mut echoed = HashMap::new();
    for key in wanted {
        let (tenant, account, Some(message)) = key else { continue };
        let Some(current) = accounts.get(&(tenant, message)) else { continue };
        if *current == Some(account) || went_through(tx, tenant, message, account).await? {
            echoed.insert(key, message);
        }
    }
    Ok(echoed)
}

/// True when a message that goes through another account by now went through this one before.
async fn went_through(tx: &mut Tx, tenant: TenantId, message: MessageId, account: AccountId) -> Result<bool, Error> {
    let ended = attempts::of_message(tx, tenant, message).await?;
    let flying = inflight::find_many(tx, &[message]).await?;
    Ok(ended.iter().any(|attempt| attempt.account_id == account)
        || flying.iter().any(|flight| flight.account_id == account))
}

/// Applies early reports whose id became known in the very moment they were kept: on PostgreSQL two transactions can pass each other there. Run every few
/// seconds; answers how many.
#[crate::boxed]
pub async fn rematch(engine: &Engine) -> Result<usize, Error> {
    let find =
        engine.ports.db.read(Scope::System, |tx| Box::pin(async move { reports::known_early(tx, REMATCH_PAGE).await }));
    let found = find.await.map_err(Error::from)?;
    let learned: Vec<Learned> = found
        .iter()
        .filter_map(|(early, message)| {
            Some(EarlyPayload::read(&early.report)?.learned(early.tenant_id, *message, early))
        })
        .collect();
    let count = found.len();
    if !learned.is_empty() {
        let weight = learned.len();
        let applied = engine.applies.submit(Input::Learned(learned), weight).await;
        applied.unwrap_or_else(|| Err(Error::internal("applying panicked")))?;
    }
    if count > 0 {
        // Applied before they are forgotten: a crash in between applies them twice, which changes nothing.
        let early: Vec<EarlyReport> = found.into_iter().map(|(early, _)| early).collect();
        let forget = engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { reports::remove_early(tx, &early).await }));
        forget.await.map_err(Error::from)?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Fact, Failure, FailureKind};

    #[test]
    fn a_status_is_the_same_in_any_request_and_an_engagement_is_not() {
        let delivered = Report::new("SM1", "delivered", Fact::Delivered);
        let later = Report { at: Some(Timestamp::from_seconds(9)), ..delivered.clone() };
        assert_eq!(dedupe(&delivered, b"1"), dedupe(&later, b"2"));
        assert_ne!(dedupe(&delivered, b"1"), dedupe(&Report::new("SM2", "delivered", Fact::Delivered), b"1"));
        let failure = Failure::new(FailureKind::Recipient, "30003", "gone");
        assert_ne!(
            dedupe(&delivered, b"1"),
            dedupe(&Report::new("SM1", "undelivered", Fact::Failed { failure }), b"1")
        );
        let opened = Report::new("SM1", "open", Fact::Opened);
        assert_eq!(dedupe(&opened, b"1"), dedupe(&opened, b"1"));
        assert_ne!(dedupe(&opened, b"1"), dedupe(&opened, b"2"));
        let clicked = |url: &str, at| Report {
            at: Some(Timestamp::from_seconds(at)),
            ..Report::new("SM1", "click", Fact::Clicked { url: Some(url.to_owned()) })
        };
        assert_eq!(dedupe(&clicked("https://a.example", 1), b"1"), dedupe(&clicked("https://a.example", 1), b"2"));
        assert_ne!(dedupe(&clicked("https://a.example", 1), b"1"), dedupe(&clicked("https://b.example", 1), b"1"));
        assert_ne!(dedupe(&clicked("https://a.example", 1), b"1"), dedupe(&clicked("https://a.example", 2), b"1"));
    }

    #[test]
    fn a_clock_that_runs_ahead_does_not_date_facts_into_the_future() {
        let now = Timestamp::from_seconds(100);
        let report = Report { at: Some(now.plus_seconds(60)), ..Report::new("SM1", "delivered", Fact::Delivered) };
        let reported = Reported::new(TenantId::from_ulid(1), AccountId::from_ulid(1), report, b"k", now);
        assert_eq!(reported.payload.at, now);
    }
}
