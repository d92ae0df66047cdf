//! Idempotency: a POST that is repeated answers what the first one answered, and does nothing a second time.
//!
//! The answer is written in the transaction of the effect, so there is no moment at which one exists without the other. While a request runs, its key is held in
//! this node's memory ([`Running`]); between nodes the primary key decides, and the later one rolls back and repeats what the first answered. Refusals have no effect
//! and are not kept: the same key may be used again once the request is put right.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use model::{BoxFuture, TenantId, Timestamp};
use serde::Serialize;
use store::{
    Scope, Tx,
    idempotency::{self, Answered},
};

use crate::{
    Error, ErrorKind, Parts,
    keys::Caller,
    vault::{Place, Sealed},
};

/// How long an answer is kept, in seconds: a day.
pub const KEPT_S: i64 = 24 * 60 * 60;
/// Longest key, in characters.
pub const KEY_MAX: usize = 255;
/// The code of the refusal while a request with the same key is still running.
pub(crate) const IN_USE: &str = "idempotency_key_in_use";
/// Rows one step of the cleaner looks at.
const PURGE_PAGE: i64 = 1_000;

/// A key the client chose for one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Reads the header `Idempotency-Key`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::new(
            ErrorKind::Malformed,
            "invalid_idempotency_key",
            format!(
                "`Idempotency-Key` has 1 to {KEY_MAX} visible ASCII characters without spaces; a UUID is a good one."
            ),
        ))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A request as far as repeating it goes.
#[derive(Debug, Clone)]
pub struct Repeat {
    /// Its key, when the client gave one.
    pub key: Option<IdempotencyKey>,
    /// What it asks for; see [`fingerprint`].
    pub fingerprint: [u8; 32],
}

impl Repeat {
    /// A request without a key: nothing is looked up or kept.
    pub const NONE: Self = Self { key: None, fingerprint: [0; 32] };
}

/// The hash of what a request asks for: method, path with query, and body.
pub fn fingerprint(method: &str, path: &str, body: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [method.as_bytes(), path.as_bytes(), body] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether an answer carries a secret, and is therefore kept sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrecy {
    /// It may lie in the database as it is.
    Plain,
    /// It shows a key this once.
    Sealed,
}

/// An answer, first or repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// JSON.
    pub body: Vec<u8>,
    /// True when this answers a repeated request: nothing was done now.
    pub replayed: bool,
}

/// What an earlier request with the same key means for this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judged {
    /// Answer the same.
    Replay,
    /// Too old to count: remove it and go on.
    Expired,
}

/// Compares a request with what was answered under its key; another request under the same key is refused.
pub fn judge(answered: &Answered, fingerprint: &[u8; 32], now: Timestamp) -> Result<Judged, Error> {
    if answered.created_at.plus_seconds(KEPT_S) <= now {
        return Ok(Judged::Expired);
    }
    if answered.fingerprint == fingerprint {
        return Ok(Judged::Replay);
    }
    Err(Error::new(
        ErrorKind::Invalid,
        "idempotency_key_reused",
        "This `Idempotency-Key` was used for another request within the last 24 hours. Give each request its own key.",
    ))
}

/// Does `work` once per key, in one transaction with the answer it is kept under. Answers `status` and what `work` returned as JSON.
///
/// `work` runs at most once per call. It runs within the caller's reach: a tenant's rows, or everybody's for an operator outside of any tenant.
pub fn once<'a, T, W>(
    parts: &'a Parts,
    caller: &'a Caller,
    repeat: &'a Repeat,
    status: u16,
    secrecy: Secrecy,
    work: W,
) -> BoxFuture<'a, Result<Reply, Error>>
where
    T: Serialize + Send + 'static,
    W: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Error>> + Send + 'static,
{
    let work: Work = Box::new(move |tx| {
        let doing = work(tx);
        Box::pin(async move { to_json(&doing.await?) })
    });
    Box::pin(run(parts, caller, repeat, status, secrecy, work))
}

/// Work whose answer is JSON already, so that what follows is compiled once and not for every kind of answer.
type Work = Box<dyn for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<Vec<u8>, Error>> + Send>;

async fn run(
    parts: &Parts,
    caller: &Caller,
    repeat: &Repeat,
    status: u16,
    secrecy: Secrecy,
    work: Work,
) -> Result<Reply, Error> {
    let scope = caller.reach();
    let Some(key) = &repeat.key else {
        let body = parts.ports.db.write(scope, work).await?;
        return Ok(Reply { status, body, replayed: false });
    };
    let owner = caller.owner();
    let _running = parts.running.begin(owner, key).ok_or_else(in_use)?;
    let now = parts.ports.clock.now();
    let (vault, ids) = (Arc::clone(&parts.vault), Arc::clone(&parts.ports.ids));
    let (inner_key, fingerprint) = (key.clone(), repeat.fingerprint);
    let write = parts.ports.db.write(scope, move |tx| {
        Box::pin(async move {
            if let Some(before) = idempotency::find(tx, owner, inner_key.as_str()).await? {
                match judge(&before, &fingerprint, now)? {
                    Judged::Replay => return Ok(Done::Before(before)),
                    Judged::Expired => idempotency::remove(tx, &before).await?,
                }
            }
            let body = work(tx).await?;
            let kept = match secrecy {
                Secrecy::Plain => Kept { bytes: body.clone(), data_key_id: None },
                Secrecy::Sealed => vault.seal(tx, &ids, now, &place(owner, inner_key.as_str()), &body).await?.into(),
            };
            let row = Answered {
                tenant: owner,
                key: inner_key.0,
                fingerprint: fingerprint.to_vec(),
                status: status.into(),
                body: kept.bytes,
                data_key_id: kept.data_key_id,
                created_at: now,
            };
            // Zero: another node was first. Its effect stands, ours is rolled back.
            if idempotency::insert_many(tx, &[row]).await? == 0 { Err(Stop::Raced) } else { Ok(Done::Now(body)) }
        })
    });
    match write.await {
        Ok(Done::Now(body)) => Ok(Reply { status, body, replayed: false }),
        Ok(Done::Before(answered)) => open(parts, scope, answered).await,
        Err(Stop::Raced) => replay(parts, caller, repeat).await?.ok_or_else(in_use),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// The answer to an earlier request with the same key, if there was one. For work that cannot be done inside of [`once`]'s transaction, before it is begun.
#[crate::boxed]
pub async fn replay(parts: &Parts, caller: &Caller, repeat: &Repeat) -> Result<Option<Reply>, Error> {
    let Some(key) = repeat.key.clone() else { return Ok(None) };
    let (owner, scope) = (caller.owner(), caller.reach());
    let find = parts.ports.db.read(scope, move |tx| {
        Box::pin(async move { Ok::<_, Error>(idempotency::find(tx, owner, key.as_str()).await?) })
    });
    let Some(before) = find.await? else { return Ok(None) };
    match judge(&before, &repeat.fingerprint, parts.ports.clock.now())? {
        Judged::Replay => open(parts, scope, before).await.map(Some),
        Judged::Expired => Ok(None),
    }
}

enum Done {
    Now(Vec<u8>),
    Before(Answered),
}

enum Stop {
    Raced,
    Error(Error),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Error(error.into())
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

struct Kept {
    bytes: Vec<u8>,
    data_key_id: Option<i64>,
}

impl From<Sealed> for Kept {
    fn from(sealed: Sealed) -> Self {
        Self { bytes: sealed.bytes, data_key_id: Some(sealed.data_key_id) }
    }
}

fn place(owner: TenantId, key: &str) -> Place<'_> {
    Place { tenant: owner, table: "idempotency_keys", row: key, field: "body" }
}

async fn open(parts: &Parts, scope: Scope, answered: Answered) -> Result<Reply, Error> {
    let status = u16::try_from(answered.status).map_err(|_| Error::internal("a kept status is no HTTP status"))?;
    if answered.data_key_id.is_none() {
        return Ok(Reply { status, body: answered.body, replayed: true });
    }
    let vault = Arc::clone(&parts.vault);
    let open = parts.ports.db.read(scope, move |tx| {
        Box::pin(async move {
            let plain = vault.open(tx, &place(answered.tenant, &answered.key), &answered.body).await?;
            Ok::<_, Error>(plain.to_vec())
        })
    });
    Ok(Reply { status, body: open.await?, replayed: true })
}

fn to_json<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::internal(format!("an answer has no JSON form: {error}")))
}

/// The refusal of a request whose key is held by one that still runs.
pub(crate) fn in_use() -> Error {
    Error::conflict(
        IN_USE,
        "A request with this `Idempotency-Key` is still running. Wait for its answer, or repeat this request shortly.",
    )
    .with_retry_after_ms(1_000)
}

/// Keys whose request is running on this node.
#[derive(Debug, Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<(TenantId, String)>>>);

impl Running {
    /// Holds a key until the guard is dropped; `None` when another request holds it.
    pub fn begin(&self, owner: TenantId, key: &IdempotencyKey) -> Option<RunningGuard> {
        let entry = (owner, key.as_str().to_owned());
        let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        is_free.then(|| RunningGuard { running: self.clone(), entry })
    }
}

/// Holds an idempotency key.
#[derive(Debug)]
pub struct RunningGuard {
    running: Running,
    entry: (TenantId, String),
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

/// Removes answers older than a day, in small transactions. Run every hour; killed anywhere, the next run begins anew.
#[crate::boxed]
pub async fn purge(parts: &Parts) -> Result<u64, Error> {
    let before = parts.ports.clock.now().plus_seconds(-KEPT_S);
    let (mut removed, mut after) = (0, Some((TenantId::from_ulid(0), String::new())));
    while let Some(from) = after {
        let step = parts.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move { Ok::<_, Error>(idempotency::purge(tx, &from, before, PURGE_PAGE).await?) })
        });
        let step = step.await?;
        removed += step.removed;
        after = step.next;
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_bounded_length() {
        let check = |text: &str, expected: bool| assert_eq!(IdempotencyKey::parse(text).is_ok(), expected, "{text:?}");
        check("7d3c0a52-ffff-4f5e-9a51-5f7a33e0f001", true);
        check(&"x".repeat(255), true);
        check(&"x".repeat(256), false);
        check("", false);
        check("a b", false);
        check("ключ", false);
        check("a\n", false);
    }

    #[test]
    fn a_fingerprint_keeps_its_parts_apart() {
        let all = [
            fingerprint("POST", "/v1/messages", b"{}"),
            fingerprint("POST", "/v1/messages{", b"}"),
            fingerprint("POS", "T/v1/messages", b"{}"),
            fingerprint("POST", "/v1/messages", b"{ }"),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn a_running_key_is_free_again_when_its_guard_goes() {
        let running = Running::default();
        let (one, two) = (TenantId::from_ulid(1), TenantId::from_ulid(2));
        let key = IdempotencyKey::parse("k").unwrap();
        let guard = running.begin(one, &key);
        assert!(guard.is_some() && running.begin(one, &key).is_none() && running.begin(two, &key).is_some());
        drop(guard);
        assert!(running.begin(one, &key).is_some());
    }
}
