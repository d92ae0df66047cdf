//! The operator's master keys: read from configuration, used only to seal and open data keys.

use aws_lc_rs::{aead::LessSafeKey, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{Ids, TenantId, Timestamp};
use store::data_keys::DataKey;
use zeroize::Zeroizing;

use super::{VERSION, associated, open, seal, unbound};
use crate::{Error, ErrorKind};

/// Length of a master or data key, in bytes.
pub(super) const KEY_LEN: usize = 32;
/// Longest id of a master key.
const ID_MAX: usize = 32;

/// A master key that was refused. The text never repeats the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMasterKey(String);

/// One or more master keys by id; the first seals, the others only open.
pub struct MasterKeys(Vec<Master>);

struct Master {
    id: String,
    key: LessSafeKey,
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("MasterKeys").field(&self.ids().collect::<Vec<_>>()).finish()
    }
}

impl MasterKeys {
    /// Reads `id:key,id:key`, each key 32 bytes in base64. A key without an id gets one derived from it.
    pub fn parse(text: &str) -> Result<Self, BadMasterKey> {
        let mut masters: Vec<Master> = Vec::new();
        for (index, part) in text.split(',').map(str::trim).enumerate() {
            let master = Master::parse(part).map_err(|problem| {
                BadMasterKey(format!(
                    "master key number {}: {problem}. A key is 32 random bytes in base64, as `openssl rand -base64 32` prints them, optionally as id:key",
                    index + 1
                ))
            })?;
            if masters.iter().any(|other| other.id == master.id) {
                return Err(BadMasterKey(format!("two master keys have the id `{}`; give each its own", master.id)));
            }
            masters.push(master);
        }
        Ok(Self(masters))
    }

    /// A fresh key as configuration text, for an installation that was given none.
    pub fn generate(ids: &Ids) -> Zeroizing<String> {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        ids.fill(key.as_mut());
        Zeroizing::new(STANDARD.encode(key.as_ref()))
    }

    /// The id of the key that seals.
    pub fn first_id(&self) -> &str {
        &self.0[0].id
    }

    /// The ids of all keys, the sealing one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|master| master.id.as_str())
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.ids().any(|known| known == id)
    }

    /// A fresh data key, sealed by the first master key.
    pub(super) fn new_data_key(&self, ids: &Ids, tenant: TenantId, id: i64, now: Timestamp) -> DataKey {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        ids.fill(key.as_mut());
        self.seal_data_key(ids, tenant, id, now, key.as_ref())
    }

    pub(super) fn seal_data_key(
        &self,
        ids: &Ids,
        tenant: TenantId,
        id: i64,
        created_at: Timestamp,
        key: &[u8],
    ) -> DataKey {
        let master = &self.0[0];
        let sealed = seal(&master.key, ids, &[VERSION], &master.associated(tenant, id), key);
        DataKey { tenant, id, master_key_id: master.id.clone(), sealed, created_at }
    }

    /// Opens a data key, or says which master key is missing.
    pub(super) fn open_data_key(&self, row: &DataKey) -> Result<Zeroizing<Vec<u8>>, Error> {
        let Some(master) = self.0.iter().find(|master| master.id == row.master_key_id) else {
            return Err(missing(&[row.master_key_id.as_str()]));
        };
        let text = row.sealed.strip_prefix(&[VERSION]);
        text.and_then(|text| open(&master.key, &master.associated(row.tenant, row.id), text))
            .filter(|key| key.len() == KEY_LEN)
            .ok_or_else(|| {
                let (id, tenant, master) = (row.id, row.tenant, &master.id);
                tracing::error!(tenant.id = %tenant, data_key.id = id, master_key.id = %master, "A data key does not open");
                Error::new(
                    ErrorKind::Internal,
                    "data_key_unreadable",
                    format!("Data key {id} of {tenant} does not open with the master key `{master}`. Either another key was configured under this id, or the database was altered: \
                             check TIDINGS_MASTER_KEY."),
                )
            })
    }
}

/// The error for master keys that seal something and were not given to us.
pub(super) fn missing(ids: &[&str]) -> Error {
    let ids = ids.iter().map(|id| format!("`{id}`")).collect::<Vec<_>>().join(", ");
    tracing::error!(master_key.ids = %ids, "Master keys are missing");
    Error::new(
        ErrorKind::Unavailable,
        "master_key_missing",
        format!(
            "Stored secrets are sealed with the master key {ids}, which is not configured. Add it to TIDINGS_MASTER_KEY behind the first key; it may go once `tidings master-key rotate` has run."
        ),
    )
}

impl Master {
    fn parse(part: &str) -> Result<Self, &'static str> {
        let (id, text) = match part.split_once(':') {
            Some((id, text)) => (Some(id), text),
            None => (None, part),
        };
        let key = Zeroizing::new(STANDARD.decode(text).map_err(|_| "the key is not base64")?);
        if key.len() != KEY_LEN {
            return Err("the key does not have 32 bytes");
        }
        let id = id.map_or_else(|| derived_id(&key), str::to_owned);
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if id.is_empty() || id.len() > ID_MAX || !id.bytes().all(is_plain) {
            return Err("an id has 1 to 32 letters, digits, dots, dashes or underscores");
        }
        Ok(Self { id, key: LessSafeKey::new(unbound(&key)) })
    }

    fn associated(&self, tenant: TenantId, id: i64) -> Vec<u8> {
        associated(&["tidings data key 1", &self.id, &tenant.to_string(), &id.to_string()])
    }
}

/// An id that says nothing about the key but is always the same for it.
fn derived_id(key: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, &[b"tidings master key id 1:".as_slice(), key].concat());
    hash.as_ref()[..4].iter().fold("k".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        STANDARD.encode([byte; KEY_LEN])
    }

    #[test]
    fn keys_are_read_in_order_and_a_bare_one_gets_an_id() {
        let keys = MasterKeys::parse(&format!("new:{}, old.1:{},{}", key(1), key(2), key(3))).unwrap();
        let ids: Vec<_> = keys.ids().collect();
        assert_eq!(ids[..2], ["new", "old.1"]);
        assert_eq!(MasterKeys::parse(&key(3)).unwrap().first_id(), ids[2]);
        assert_ne!(MasterKeys::parse(&key(4)).unwrap().first_id(), ids[2]);
        assert!(MasterKeys::parse(&MasterKeys::generate(&Ids::seeded(1))).is_ok());
    }

    #[test]
    fn bad_keys_are_refused_without_repeating_them() {
        let check = |text: &str, expected: &str| {
            let refused = MasterKeys::parse(text).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
            assert!(text.len() < 20 || !refused.contains(text), "{refused}");
        };
        check("", "32 bytes");
        check("not base64!", "not base64");
        check(&STANDARD.encode([7; 31]), "32 bytes");
        check(&format!(":{}", key(1)), "an id has");
        check(&format!("a b:{}", key(1)), "an id has");
        check(&format!("{}:{}", "x".repeat(33), key(1)), "an id has");
        check(&format!("a:{},a:{}", key(1), key(2)), "two master keys");
        check(&format!("a:{},", key(1)), "number 2");
    }
}
