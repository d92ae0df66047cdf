//! The keys of domains we sign for.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der},
    rsa::{KeyPair, KeySize},
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use connectors::dkim;
use model::{Ids, Timestamp};
use store::{Tx, domains};

use crate::{Error, Parts, accounts::changes};

/// What of a pair of keys is published.
pub(super) struct Publics {
    pub rsa_selector: String,
    /// SubjectPublicKeyInfo in base64, as RFC 6376 wants it.
    pub rsa: String,
    pub ed25519_selector: String,
    /// The 32 bytes in base64, as RFC 8463 wants them.
    pub ed25519: String,
}

/// Makes keys under selectors nobody else has: two accounts may sign for one domain. The RSA key comes out of the cryptographic library's own generator,
/// which takes no other.
pub(super) fn make(ids: &Ids) -> Result<(dkim::Keys, Publics), Error> {
    let mut seed = [0; 32];
    ids.fill(&mut seed);
    let mut tail = [0; 4];
    ids.fill(&mut tail);
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    let failed = |_| Error::internal("a DKIM key could not be made");
    let rsa = KeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
    let private: Pkcs8V1Der<'_> = rsa.as_der().map_err(failed)?;
    let public: PublicKeyX509Der<'_> = rsa.public_key().as_der().map_err(failed)?;
    let ed25519 = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| Error::internal("32 bytes are a seed"))?;
    let publics = Publics {
        rsa_selector: format!("td-{tail}"),
        rsa: STANDARD.encode(public.as_ref()),
        ed25519_selector: format!("td-{tail}-ed"),
        ed25519: STANDARD.encode(ed25519.public_key().as_ref()),
    };
    let keys = dkim::Keys {
        is_active: false,
        rsa_selector: publics.rsa_selector.clone(),
        rsa: STANDARD.encode(private.as_ref()),
        ed25519_selector: publics.ed25519_selector.clone(),
        ed25519: STANDARD.encode(seed),
    };
    Ok((keys, publics))
}

/// Seals a domain's keys into its account's settings.
pub(super) async fn keep(
    tx: &mut Tx,
    parts: &Parts,
    row: &domains::Domain,
    keys: &dkim::Keys,
    now: Timestamp,
) -> Result<(), Error> {
    let text = serde_json::to_string(keys).map_err(Error::internal)?;
    let change = [(dkim::setting(&row.name), Some(text))];
    changes::change_settings(tx, parts, row.tenant_id, row.account_id, &change, now).await
}
