//! Seals secrets before they are stored and opens them again.
//!
//! Two floors: a **master key** (the operator's, never stored) seals one **data key** per tenant, and the data key seals the tenant's secrets, both with
//! AES-256-GCM. Replacing the master key therefore re-seals a few hundred bytes per tenant; replacing a data key re-seals that tenant's rows.
//!
//! - A sealed text is `1 | data key id (8 bytes) | nonce (12) | ciphertext and tag`. What it is sealed *for* (tenant, table, row, field, data key) is authenticated
//!   with it, so a text moved to another row, tenant or field does not open.
//! - Data keys are made on first need, in the transaction that needs them, and sealing reads the key's row in that same transaction: nothing is ever
//!   sealed with a key that a rollback took away.
//! - Rotation is ordinary work in small transactions: killed anywhere, the next run carries on. An old data key goes only when no row needs it.
//!
//! Several nodes: give every node the new master key as the *second* one first, then make it the first, then rotate, then drop the old one.

mod fingerprint;
mod master;
mod rotate;

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use model::{Ids, TenantId, Timestamp};
use store::{Tx, data_keys};
use zeroize::Zeroizing;

pub(crate) use fingerprint::Fingerprints;
pub use master::{BadMasterKey, MasterKeys};
pub use rotate::{DataKeyRotation, MasterRotation};

use crate::{Error, ErrorKind, bounded::Bounded};

/// The owner of what is the operator's own and not a tenant's: answers to the operator's requests, the operator's audit log.
pub const OPERATOR: TenantId = TenantId::from_ulid(0);

/// Opened data keys in memory at most; each is some hundred bytes.
const OPENED_MAX: usize = 4_096;
/// The number of the installation's own key, beside the operator's data keys, which are counted from 1.
const INSTALLATION_KEY: i64 = 0;
/// The first byte of everything sealed, so that another scheme can be told apart later.
const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 8;

/// Where a sealed text belongs. It opens nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Whose; [`OPERATOR`] for what is no tenant's.
    pub tenant: TenantId,
    /// Table, such as `accounts`.
    pub table: &'static str,
    /// The row's id.
    pub row: &'a str,
    /// Column, such as `settings`.
    pub field: &'static str,
}

/// A sealed text, for the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Which of the tenant's data keys sealed it.
    pub data_key_id: i64,
    /// Header, nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

/// Holds the master keys and the data keys that were opened.
pub struct Vault {
    masters: MasterKeys,
    opened: Mutex<Bounded<(TenantId, i64), Arc<Opened>>>,
}

struct Opened {
    id: i64,
    /// The row's sealed form: when it is another, the row was re-sealed or never committed.
    sealed: Vec<u8>,
    key: LessSafeKey,
}

impl Vault {
    /// A vault behind these master keys; the first seals.
    pub fn new(masters: MasterKeys) -> Self {
        Self { masters, opened: Mutex::new(Bounded::new(OPENED_MAX)) }
    }

    /// A fresh key for the installation itself rather than for a tenant, sealed by the first master key, whose id comes with it.
    pub(crate) fn installation_key(&self, ids: &Ids) -> (String, Vec<u8>) {
        let row = self.masters.new_data_key(ids, OPERATOR, INSTALLATION_KEY, Timestamp::from_seconds(0));
        (row.master_key_id, row.sealed)
    }

    /// Opens what [`Vault::installation_key`] made.
    pub(crate) fn open_installation_key(
        &self,
        master_key_id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        self.masters.open_data_key(&installation_key(master_key_id, sealed))
    }

    /// Seals `plain` for `place` with the tenant's newest data key, which is made when there is none.
    #[crate::boxed]
    pub async fn seal(
        &self,
        tx: &mut Tx,
        ids: &Ids,
        now: Timestamp,
        place: &Place<'_>,
        plain: &[u8],
    ) -> Result<Sealed, Error> {
        let row = match data_keys::newest(tx, place.tenant).await? {
            Some(row) => row,
            None => self.first_key(tx, ids, now, place.tenant).await?,
        };
        let key = self.open_key(&row)?;
        Ok(Sealed { data_key_id: key.id, bytes: key.seal(ids, place, plain) })
    }

    /// Opens what [`Vault::seal`] made for the same place. Fails when it was altered, moved, or sealed under a master key we were not given.
    #[crate::boxed]
    pub async fn open(&self, tx: &mut Tx, place: &Place<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let id = data_key_id(sealed).ok_or_else(|| unreadable(place))?;
        let cached = self.opened().get(&(place.tenant, id)).map(|key| Arc::clone(key));
        if let Some(plain) = cached.and_then(|key| key.open(place, sealed)) {
            return Ok(plain);
        }
        let row = data_keys::find(tx, place.tenant, id).await?.ok_or_else(|| unreadable(place))?;
        self.open_key(&row)?.open(place, sealed).ok_or_else(|| unreadable(place))
    }

    async fn first_key(
        &self,
        tx: &mut Tx,
        ids: &Ids,
        now: Timestamp,
        tenant: TenantId,
    ) -> Result<data_keys::DataKey, Error> {
        let row = self.masters.new_data_key(ids, tenant, 1, now);
        data_keys::insert(tx, &row).await?;
        // Another transaction may have been first; then its key counts.
        let newest = data_keys::newest(tx, tenant).await?;
        newest.ok_or_else(|| Error::internal(format!("the data key of {tenant} was written and is not there")))
    }

    fn open_key(&self, row: &data_keys::DataKey) -> Result<Arc<Opened>, Error> {
        let at = (row.tenant, row.id);
        if let Some(key) = self.opened().get(&at).filter(|key| key.sealed == row.sealed) {
            return Ok(Arc::clone(key));
        }
        let key = LessSafeKey::new(unbound(&self.masters.open_data_key(row)?));
        let opened = Arc::new(Opened { id: row.id, sealed: row.sealed.clone(), key });
        self.opened().insert(at, Arc::clone(&opened));
        Ok(opened)
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, Bounded<(TenantId, i64), Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn installation_key(master_key_id: &str, sealed: &[u8]) -> data_keys::DataKey {
    data_keys::DataKey {
        tenant: OPERATOR,
        id: INSTALLATION_KEY,
        master_key_id: master_key_id.to_owned(),
        sealed: sealed.to_vec(),
        created_at: Timestamp::from_seconds(0),
    }
}

impl Opened {
    fn seal(&self, ids: &Ids, place: &Place<'_>, plain: &[u8]) -> Vec<u8> {
        let mut header = [VERSION; HEADER_LEN];
        header[1..].copy_from_slice(&self.id.to_be_bytes());
        seal(&self.key, ids, &header, &place.associated(self.id), plain)
    }

    fn open(&self, place: &Place<'_>, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        open(&self.key, &place.associated(self.id), sealed.get(HEADER_LEN..)?)
    }
}

impl Place<'_> {
    fn associated(&self, data_key_id: i64) -> Vec<u8> {
        let tenant = self.tenant.to_string();
        let key = data_key_id.to_string();
        associated(&["tidings sealed text 1", &tenant, self.table, self.row, self.field, &key])
    }
}

/// The data key a sealed text names; `None` when this is no sealed text.
pub fn data_key_id(sealed: &[u8]) -> Option<i64> {
    let header = sealed.get(..HEADER_LEN)?;
    let id = i64::from_be_bytes(header[1..].try_into().ok()?);
    (header[0] == VERSION).then_some(id)
}

fn unreadable(place: &Place<'_>) -> Error {
    tracing::error!(tenant.id = %place.tenant, table = place.table, row = place.row, field = place.field, "A stored secret does not open");
    Error::new(
        ErrorKind::Internal,
        "secret_unreadable",
        format!(
            "The stored {} of {} cannot be opened: it was altered or moved in the database. Enter it again.",
            place.field, place.row
        ),
    )
}

fn unbound(key: &[u8]) -> UnboundKey {
    UnboundKey::new(&AES_256_GCM, key).expect("every key here has 32 bytes, which its reader checked")
}

/// Each part with its length, so that no two different lists have the same bytes.
fn associated(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes
}

/// `header | nonce | ciphertext and tag`.
fn seal(key: &LessSafeKey, ids: &Ids, header: &[u8], associated: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    ids.fill(&mut nonce);
    let mut text = Zeroizing::new(plain.to_vec());
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut text)
        .expect("AES-GCM seals anything shorter than 64 GiB");
    [header, &nonce, &text, tag.as_ref()].concat()
}

fn open(key: &LessSafeKey, associated: &[u8], nonce_and_text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = nonce_and_text.split_at_checked(NONCE_LEN)?;
    let mut text = Zeroizing::new(text.to_vec());
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let length = key.open_in_place(nonce, Aad::from(associated), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}
