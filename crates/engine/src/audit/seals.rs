//! Seals of the audit log, made with a random key that lies in the database only as the vault's master key seals it.
//!
//! - Each entry has a seal over its hash: nobody without the key can make an entry, and the chain behind it cannot be rewritten.
//! - Each log has a **mark**: how far it had come when [`run`] last looked, every few seconds. A log that is shorter was cut off, whatever its head says. Marks outlive their tenants.
//! - The **register** has one seal over all marks, so that no mark can be taken away or put back to what it was together with its log.
//!
//! Logs from before there were seals get their marks in the first run, which says so in each of them (`audit_log.sealed`), with the entries that were emptied until then.
//!
//! What this cannot show: what somebody did who has the master key; what was cut off within the seconds before the next look; and that the whole database was put back to an older copy.
//! Against the last, heads are kept elsewhere ([`super::verify_against`]).

use aws_lc_rs::hmac;
use model::{AuditId, Ids, TenantId, Timestamp};
use serde_json::json;
use store::{
    Scope, Tx, audit,
    audit_marks::{self, Mark, Register},
};

use super::{ERASED_ENTRIES, beginning, ranges, record};
use crate::{
    Error, Parts, UPGRADE_S,
    keys::Caller,
    vault::{OPERATOR, Vault},
};

/// How often marks are made, in milliseconds: what is cut off of a log within this time is not missed.
pub const EVERY_MS: u64 = 10_000;
/// Logs marked in one transaction: some milliseconds.
const PAGE: i64 = 200;
/// Marks read at once.
pub(super) const MARKS_PAGE: i64 = 1_000;
/// How often a log that is not as it was written is told of in our own, in seconds.
const TOLD_EVERY_S: i64 = 3_600;
/// Entries outside of a chain that are read at once.
const LOOSE_PAGE: i64 = 1_000;

/// Makes seals.
pub(super) struct Key(hmac::Key);

impl Key {
    fn sign(&self, what: &str, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = hmac::Context::with_key(&self.0);
        for part in std::iter::once(what.as_bytes()).chain(parts.iter().copied()) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().to_vec()
    }

    /// The seal of an entry with this hash.
    pub fn of_entry(&self, hash: &[u8]) -> Vec<u8> {
        self.sign("tidings audit entry 1", &[hash])
    }

    /// The seal of a mark.
    pub fn of_mark(&self, mark: &Mark) -> Vec<u8> {
        let numbers = [mark.number, mark.at.as_micros(), mark.unsealed, mark.loose].map(i64::to_be_bytes);
        let [number, at, unsealed, loose] = numbers.each_ref().map(<[u8; 8]>::as_slice);
        let owner = mark.owner.ulid().to_be_bytes();
        self.sign("tidings audit mark 1", &[&owner, number, &mark.hash, at, unsealed, loose, &mark.loose_hash])
    }

    /// The seal of the register over the seals of all marks, in the order of their owners.
    pub fn of_register(&self, register: &Register, marks: &[Vec<u8>]) -> Vec<u8> {
        let micros = |at: Option<Timestamp>| at.map_or(0, Timestamp::as_micros).to_be_bytes();
        let (begun, marked) = (micros(register.begun_at), micros(register.marked_at));
        let mut parts: Vec<&[u8]> = vec![&begun, &marked];
        parts.extend(marks.iter().map(Vec::as_slice));
        self.sign("tidings audit register 1", &parts)
    }
}

/// The key, which is made when there is none. `None`, and so an entry without a seal, when it cannot be opened: what people do is written down all the same, and verifying tells of it.
pub(super) async fn key(tx: &mut Tx, ids: &Ids) -> Result<Option<Key>, Error> {
    let Some(vault) = tx.companion::<Vault>() else {
        tracing::error!("An audit entry cannot be sealed: the database was opened without a vault");
        return Ok(None);
    };
    if audit_marks::register(tx).await?.is_none() {
        let (master, sealed) = vault.installation_key(ids);
        audit_marks::make_register(tx, &sealed, &master).await?;
    }
    // Another transaction may have been first; then its key counts.
    let Some(register) = audit_marks::register(tx).await? else { return Ok(None) };
    Ok(open(&vault, &register).ok())
}

/// Opens the register's key. An error says which master key is missing, or that it was altered.
pub(super) fn open(vault: &Vault, register: &Register) -> Result<Key, Error> {
    let plain = vault.open_installation_key(&register.master_key_id, &register.key)?;
    Ok(Key(hmac::Key::new(hmac::HMAC_SHA256, &plain)))
}

/// How many entries lie outside of a log's chain, their hash without what they say, and the newest of them.
pub(super) async fn loose(tx: &mut Tx, owner: TenantId) -> Result<(i64, Vec<u8>, Option<AuditId>), Error> {
    let (mut count, mut hash, mut last) = (0, Vec::new(), None);
    loop {
        let from = last.map_or(0, |last: AuditId| last.ulid() + 1);
        let page = audit::loose(tx, owner, AuditId::from_ulid(from), LOOSE_PAGE).await?;
        if page.is_empty() {
            return Ok((count, hash, last));
        }
        for entry in page {
            count += 1;
            hash = super::hash(&hash, count, &entry, &[]);
            last = Some(entry.id);
        }
    }
}

/// Writes down how far each log has come that went on since it was last looked at. Answers how many.
#[crate::boxed]
pub async fn run(parts: &Parts) -> Result<u64, Error> {
    let (mut count, mut from) = (0, OPERATOR);
    loop {
        let (ids, now) = (std::sync::Arc::clone(&parts.ports.ids), parts.ports.clock.now());
        let read = parts.ports.db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let register = audit_marks::register(tx).await?;
                let has_begun = register.is_some_and(|register| register.begun_at.is_some());
                Ok::<_, Error>(has_begun && !is_told(now) && audit_marks::behind(tx, from, 1).await?.is_empty())
            })
        });
        if read.await? {
            return Ok(count);
        }
        let write = parts
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { mark_some(tx, &ids, from, now).await }));
        let (marked, last) = write.await?;
        count += marked;
        match last {
            Some(last) => from = TenantId::from_ulid(last.ulid() + 1),
            None => return Ok(count),
        }
    }
}

/// Whether what is wrong is said now: it stays so until somebody looks, and once an hour is often enough.
fn is_told(now: Timestamp) -> bool {
    now.as_seconds() % TOLD_EVERY_S < EVERY_MS as i64 / 1_000
}

/// Marks the next logs from `from` on. Answers how many, and the last that was looked at when there may be more.
async fn mark_some(tx: &mut Tx, ids: &Ids, from: TenantId, now: Timestamp) -> Result<(u64, Option<TenantId>), Error> {
    let Some(key) = key(tx, ids).await? else { return Ok((0, None)) };
    let Some(mut register) = audit_marks::lock_register(tx).await? else { return Ok((0, None)) };
    let owners = match register.begun_at {
        Some(_) => audit_marks::behind(tx, from, PAGE).await?,
        None => audit_marks::without(tx, from, PAGE).await?,
    };
    let is_upgrade = register.begun_at.is_none_or(|begun| now < begun.plus_seconds(UPGRADE_S));
    // A seal over all marks that is wrong stays wrong: another one would cover up that a mark was removed, added, or put back together with its log.
    let is_told = is_told(now);
    let is_right = owners.is_empty() && !is_told
        || register.begun_at.is_none()
        || register.seal == key.of_register(&register, &audit_marks::seals(tx).await?);
    let mut marked = 0;
    if !is_right && is_told {
        tracing::error!("The marks of the audit logs are not those that were made: tidings doctor --audit tells more");
    }
    for owner in &owners {
        match mark(tx, ids, &key, *owner, is_upgrade, now).await? {
            None => marked += 1,
            Some(what) if is_told => {
                tracing::error!(tenant.id = %owner, what, "An audit log is not as it was written: tidings doctor --audit tells more")
            }
            Some(_) => {}
        }
    }
    let is_full = owners.len() as i64 == PAGE;
    let begins = register.begun_at.is_none() && !is_full;
    if begins {
        register.begun_at = Some(now);
        tracing::info!("Every audit log is sealed from now on");
    }
    if (marked > 0 || begins) && register.begun_at.is_some() && is_right {
        register.marked_at = Some(now);
        register.seal = key.of_register(&register, &audit_marks::seals(tx).await?);
        audit_marks::put_register(tx, &register).await?;
    }
    Ok((marked, owners.last().copied().filter(|_| is_full)))
}

/// Marks one log, or says why its mark stays what it was: a mark never covers up what verifying would tell.
async fn mark(
    tx: &mut Tx,
    ids: &Ids,
    key: &Key,
    owner: TenantId,
    is_upgrade: bool,
    now: Timestamp,
) -> Result<Option<&'static str>, Error> {
    let before = audit_marks::find(tx, owner).await?;
    let (since, mut unsealed) = before.as_ref().map_or((0, 0), |mark| (mark.number, mark.unsealed));
    if let Some(mark) = &before {
        if mark.seal != key.of_mark(mark) {
            return Ok(Some("its mark was altered"));
        }
        if since > 0 && audit::hash_at(tx, owner, since).await?.as_ref() != Some(&mark.hash) {
            return Ok(Some("entries were removed or rewritten"));
        }
    }
    let (loose, loose_hash) = match &before {
        Some(mark) => (mark.loose, mark.loose_hash.clone()),
        None => {
            let (count, hash, _) = self::loose(tx, owner).await?;
            if count > 0 && !is_upgrade {
                return Ok(Some("entries were added beside the chain"));
            }
            (count, hash)
        }
    };
    let mut head = audit::head(tx, owner).await?.unwrap_or_else(beginning);
    if let Some(number) = audit::last_unsealed(tx, owner, (since, head.number)).await? {
        if !is_upgrade {
            return Ok(Some("entries were added without a seal"));
        }
        let detail = json!({"entries": number, ERASED_ENTRIES: ranges(&audit::erased(tx, owner).await?)});
        record(tx, owner, ids, now, &Caller::system(Some(owner)), "audit_log.sealed", owner, &detail).await?;
        // From here on nobody else appends to this log before this transaction ends.
        head = audit::head(tx, owner).await?.unwrap_or(head);
        unsealed = audit::last_unsealed(tx, owner, (since, head.number)).await?.unwrap_or(number);
    }
    let seal = Vec::new();
    let mut mark = Mark { owner, number: head.number, hash: head.hash, at: now, unsealed, loose, loose_hash, seal };
    mark.seal = key.of_mark(&mark);
    audit_marks::put(tx, &mark).await?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_mark_is_under_its_seal() {
        let key = Key(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
        let mark = Mark {
            owner: OPERATOR,
            number: 1,
            hash: vec![1],
            at: Timestamp::from_seconds(1),
            unsealed: 0,
            loose: 0,
            loose_hash: Vec::new(),
            seal: Vec::new(),
        };
        let others = [
            Mark { owner: TenantId::from_ulid(9), ..mark.clone() },
            Mark { number: 2, ..mark.clone() },
            Mark { hash: vec![2], ..mark.clone() },
            Mark { at: Timestamp::from_seconds(2), ..mark.clone() },
            Mark { unsealed: 1, ..mark.clone() },
            Mark { loose: 1, ..mark.clone() },
            Mark { loose_hash: vec![1], ..mark.clone() },
        ];
        for other in others {
            assert_ne!(key.of_mark(&other), key.of_mark(&mark), "{other:?}");
        }
    }
}
