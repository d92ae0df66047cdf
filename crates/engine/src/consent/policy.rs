//! A tenant's own rules of consent, kept with the tenant in the directory: what it set, whether anybody is suppressed at all, and the secret its links and hashes are
//! keyed by.

use aws_lc_rs::hmac;
use jiff::tz::TimeZone;
use model::{Channel, Ids, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{Tx, consent_policies, tenants};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use super::hours::QuietHours;

use crate::{
    Error,
    vault::{Place, Vault},
};

/// Bytes of the secret.
const SECRET_LEN: usize = 32;

/// What STOP ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StopScope {
    /// Everything on the channel, also transactional messages.
    #[default]
    All,
    /// Marketing on the channel.
    Program,
}

/// At most so many marketing messages to one contact in so many days, over all channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FrequencyCap {
    /// Messages.
    #[schema(example = 3)]
    pub max: u32,
    /// Days, up to 90.
    #[schema(example = 7)]
    pub days: u32,
}

/// What a tenant can set about consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// When marketing waits, for contacts who chose no hours of their own; on the contact's clock, or the tenant's.
    pub quiet_hours: Option<QuietHours>,
    /// The most marketing a contact gets.
    pub frequency_cap: Option<FrequencyCap>,
    /// Marketing texts to numbers in the United States keep to the window of their state.
    pub us_windows: bool,
    /// Marketing texts to numbers in India arrive from 10:00 to 21:00 there.
    pub india_windows: bool,
    /// What STOP ends.
    pub stop_scope: StopScope,
    /// STOP, START and HELP are answered, where the provider does not do so itself.
    pub answers_keywords: bool,
    /// The answer to HELP instead of ours.
    pub help_text: Option<String>,
    /// The answer to STOP instead of ours. One message without marketing is all the law allows.
    pub stop_text: Option<String>,
    /// The answer to START instead of ours.
    pub start_text: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            quiet_hours: None,
            frequency_cap: None,
            us_windows: true,
            india_windows: true,
            stop_scope: StopScope::All,
            answers_keywords: true,
            help_text: None,
            stop_text: None,
            start_text: None,
        }
    }
}

/// The rules of one tenant.
#[derive(Clone)]
pub struct Policy {
    /// What it set.
    pub settings: Settings,
    /// Its own clock.
    pub zone: TimeZone,
    /// False while the tenant never had a suppression: nothing is looked up for it.
    pub has_suppressions: bool,
    /// False while no address of it was replaced by its hash.
    pub has_erased: bool,
    secret: Option<Zeroizing<Vec<u8>>>,
}

impl Policy {
    /// The rules everybody begins with.
    pub(crate) fn new(zone: TimeZone) -> Self {
        Self { settings: Settings::default(), zone, has_suppressions: false, has_erased: false, secret: None }
    }

    /// Rules with a secret, for tests of what is keyed by it.
    #[cfg(test)]
    pub(crate) fn with_secret(zone: TimeZone, secret: Vec<u8>) -> Self {
        Self { secret: Some(Zeroizing::new(secret)), ..Self::new(zone) }
    }

    /// True once there is a secret: links can be made.
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// A key for one use, once there is a secret.
    pub fn key(&self, purpose: &str) -> Option<hmac::Key> {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_ref()?);
        Some(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&secret, purpose.as_bytes()).as_ref()))
    }

    /// What stands in the suppression list instead of an erased address.
    pub fn hash(&self, channel: Channel, key: &str) -> Option<String> {
        let text = format!("{channel}:{key}");
        let tag = hmac::sign(&self.key("tidings erased address 1")?, text.as_bytes());
        Some(tag.as_ref()[..16].iter().fold("hash:".to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }
}

fn place(tenant: TenantId, row: &str) -> Place<'_> {
    Place { tenant, table: "consent_policies", row, field: "secret" }
}

/// Reads a tenant's rules.
pub(crate) async fn load(tx: &mut Tx, vault: &Vault, tenant: TenantId, timezone: &str) -> Result<Policy, Error> {
    let zone = TimeZone::get(timezone).unwrap_or(TimeZone::UTC);
    let Some(row) = consent_policies::find(tx, tenant).await? else { return Ok(Policy::new(zone)) };
    let secret = match &row.secret {
        Some(sealed) => Some(vault.open(tx, &place(tenant, &tenant.to_string()), sealed).await?),
        None => None,
    };
    Ok(Policy {
        // What a newer version wrote and this one does not know must not stop the tenant.
        settings: serde_json::from_str(&row.settings).unwrap_or_default(),
        zone,
        has_suppressions: row.has_suppressions,
        has_erased: row.has_erased,
        secret,
    })
}

/// Makes the tenant's secret, when it has none, in the transaction that needs it. Raises the configuration version: every node reads it again.
pub(crate) async fn need_secret(
    tx: &mut Tx,
    vault: &Vault,
    ids: &Ids,
    tenant: TenantId,
    now: Timestamp,
) -> Result<(), Error> {
    consent_policies::begin(tx, tenant, now).await?;
    if consent_policies::find(tx, tenant).await?.is_some_and(|row| row.secret.is_some()) {
        return Ok(());
    }
    let mut secret = Zeroizing::new(vec![0; SECRET_LEN]);
    ids.fill(&mut secret);
    let sealed = vault.seal(tx, ids, now, &place(tenant, &tenant.to_string()), &secret).await?;
    if consent_policies::keep_secret(tx, tenant, &sealed.bytes, sealed.data_key_id).await? {
        tenants::bump(tx, Some(tenant)).await?;
    }
    Ok(())
}

/// Seals the secret with the tenant's newest data key, when another sealed it. Answers how many texts were sealed anew, and how many do not open.
pub(crate) async fn reseal(
    tx: &mut Tx,
    vault: &Vault,
    ids: &Ids,
    tenant: TenantId,
    newest: i64,
    now: Timestamp,
) -> Result<(u64, u64), Error> {
    let Some(row) = consent_policies::find(tx, tenant).await? else { return Ok((0, 0)) };
    let Some(sealed) = row.secret.as_ref().filter(|_| row.data_key_id != newest) else { return Ok((0, 0)) };
    let name = tenant.to_string();
    let Ok(plain) = vault.open(tx, &place(tenant, &name), sealed).await else { return Ok((0, 1)) };
    let fresh = vault.seal(tx, ids, now, &place(tenant, &name), &plain).await?;
    let is_done = consent_policies::reseal(tx, &row, &fresh.bytes, fresh.data_key_id).await?;
    Ok((u64::from(is_done), 0))
}
