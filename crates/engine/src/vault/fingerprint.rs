//! Fingerprints of secrets, for the audit log: whether a token is the one of before can be seen there, and nothing else. Keyed by the tenant's own secret, so that nobody who reads the
//! log can try passwords against it.

use aws_lc_rs::hmac;
use model::{Ids, TenantId, Timestamp};
use store::Tx;

use super::Vault;
use crate::{Error, consent::policy};

/// Bytes of a fingerprint: two secrets of one tenant look the same once in four billion.
const LENGTH: usize = 4;

/// Makes fingerprints of one tenant's secrets.
pub(crate) struct Fingerprints(Option<hmac::Key>);

impl Fingerprints {
    /// Those of a tenant, in the transaction that audits; makes the tenant's secret when it has none.
    #[crate::boxed]
    pub async fn of_tenant(
        tx: &mut Tx,
        vault: &Vault,
        ids: &Ids,
        tenant: TenantId,
        now: Timestamp,
    ) -> Result<Self, Error> {
        policy::need_secret(tx, vault, ids, tenant, now).await?;
        match policy::load(tx, vault, tenant, "UTC").await {
            Ok(policy) => Ok(Self(policy.key("tidings fingerprint 1"))),
            // A secret whose master key is gone must not keep people from entering settings again.
            Err(error) if error.code == "secret_unreadable" => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }

    /// What the log says of a secret.
    pub fn of(&self, secret: &str) -> String {
        let Some(key) = &self.0 else { return "secret".to_owned() };
        let tag = hmac::sign(key, secret.as_bytes());
        tag.as_ref()[..LENGTH].iter().fold("secret:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_tells_secrets_apart_and_tenants_too() {
        let key = |bytes: &[u8]| Fingerprints(Some(hmac::Key::new(hmac::HMAC_SHA256, bytes)));
        let (one, other) = (key(b"one"), key(b"other"));
        assert_eq!(one.of("token"), one.of("token"));
        assert_ne!(one.of("token"), one.of("tokem"));
        assert_ne!(one.of("token"), other.of("token"));
        assert_eq!(one.of("token").len(), "secret:".len() + 2 * LENGTH);
        assert_eq!(Fingerprints(None).of("token"), "secret");
    }
}
