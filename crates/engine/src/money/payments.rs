//! How this installation takes payments, and asking the payment provider: the operator's account at Stripe, its secrets sealed as those of tenants' accounts are.

use std::sync::Arc;

use connectors::stripe::{self, Cx};
use model::{Answer, Call, Failure, FailureKind, HttpCall, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::{
    Scope, Tx,
    purchases::{self as rows, PaymentSettings as Row},
    tenants,
};
use utoipa::ToSchema;

use crate::{
    Error, ErrorKind, Parts, audit,
    keys::Caller,
    names::Faults,
    patch::Patch,
    vault::{Fingerprints, OPERATOR, Place, Vault},
};

/// The word for Stripe in JSON, SQL and the configuration's `connectors.<id>.base_url`.
pub const STRIPE: &str = "stripe";
/// Where Stripe's events are posted to, below the public URL.
pub const EVENTS_PATH: &str = "/hooks/stripe";
/// Longest key or secret, in characters: Stripe's have some hundred.
const SECRET_MAX: usize = 300;

/// How payments are taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct PaymentSettings {
    /// The operator's account at Stripe; `null` when tenants cannot pay by themselves.
    pub stripe: Option<StripeAccount>,
    /// Where Stripe's events are to be posted to: enter it at Stripe as a webhook endpoint for `checkout.session.*`, `payment_intent.succeeded`, `payment_intent.payment_failed`,
    /// `charge.refunded` and `refund.*`.
    #[schema(example = "https://messages.example/hooks/stripe")]
    pub stripe_webhook_url: String,
}

/// An account at Stripe, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub struct StripeAccount {
    /// The end of the secret key.
    #[schema(example = "••••9f2K")]
    pub secret_key: String,
    /// The end of the webhook endpoint's signing secret.
    #[schema(example = "••••x7Qw")]
    pub webhook_secret: String,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// Changes of how payments are taken.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PaymentSettingsPatch {
    /// The operator's account at Stripe; `null` removes it.
    #[serde(default)]
    #[schema(value_type = Option<StripeKeys>)]
    pub stripe: Patch<StripeKeys>,
}

/// The secrets of an account at Stripe. What is left out stays.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StripeKeys {
    /// A secret or restricted key that may write Checkout sessions, payments and refunds.
    #[serde(default)]
    #[schema(example = "sk_live_…")]
    pub secret_key: Option<String>,
    /// The signing secret of the webhook endpoint.
    #[serde(default)]
    #[schema(example = "whsec_…")]
    pub webhook_secret: Option<String>,
}

// They are secrets: nothing is printed.
impl std::fmt::Debug for StripeKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StripeKeys")
    }
}

/// The operator's account at Stripe, opened.
pub(super) struct Stripe {
    /// The secret key.
    pub secret_key: Secret,
    /// The signing secret of the webhook endpoint.
    pub webhook_secret: Secret,
    updated_at: Timestamp,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    secret_key: String,
    webhook_secret: String,
}

const PLACE: Place<'static> = Place { tenant: OPERATOR, table: "payment_settings", row: STRIPE, field: "settings" };

async fn read(tx: &mut Tx, vault: &Vault) -> Result<Option<Stripe>, Error> {
    let Some(row) = rows::settings(tx, STRIPE).await? else { return Ok(None) };
    let plain = vault.open(tx, &PLACE, &row.settings).await?;
    let kept: Kept = serde_json::from_slice(&plain).map_err(|_| Error::internal("payment settings cannot be read"))?;
    Ok(Some(Stripe {
        secret_key: Secret::new(kept.secret_key),
        webhook_secret: Secret::new(kept.webhook_secret),
        updated_at: row.updated_at,
    }))
}

fn view(parts: &Parts, stripe: Option<&Stripe>) -> PaymentSettings {
    PaymentSettings {
        stripe: stripe.map(|stripe| StripeAccount {
            secret_key: stripe.secret_key.hint(),
            webhook_secret: stripe.webhook_secret.hint(),
            updated_at: stripe.updated_at,
        }),
        stripe_webhook_url: format!("{}{EVENTS_PATH}", parts.config.public_url),
    }
}

/// The operator's account at Stripe, if there is one.
pub(super) async fn stripe(parts: &Parts) -> Result<Option<Stripe>, Error> {
    let vault = Arc::clone(&parts.vault);
    let read = parts.ports.db.read(Scope::System, move |tx| Box::pin(async move { self::read(tx, &vault).await }));
    read.await
}

/// The same, or the refusal of whoever wants to pay.
pub(super) async fn need_stripe(parts: &Parts) -> Result<Stripe, Error> {
    stripe(parts).await?.ok_or_else(|| {
        let detail = "This installation takes no payments by itself. Ask the operator to record your payment.";
        Error::conflict("payments_not_configured", detail).with_action("CONTACT_OPERATOR")
    })
}

/// Whether tenants can pay by themselves. Needs the scope `purchases:read`.
#[crate::boxed]
pub async fn are_taken(parts: &Parts, caller: &Caller) -> Result<bool, Error> {
    caller.need("purchases:read")?;
    let read = parts.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::settings(tx, STRIPE).await?.is_some()) })
    });
    read.await
}

/// Shows how payments are taken. Needs an operator with the scope `credits:read`.
#[crate::boxed]
pub async fn get(parts: &Parts, caller: &Caller) -> Result<PaymentSettings, Error> {
    caller.need_operator("credits:read")?;
    Ok(view(parts, stripe(parts).await?.as_ref()))
}

/// Changes how payments are taken. Needs an operator with the scope `credits:write`.
#[crate::boxed]
pub async fn patch(parts: &Parts, caller: &Caller, change: PaymentSettingsPatch) -> Result<PaymentSettings, Error> {
    caller.need_operator("credits:write")?;
    let now = parts.ports.clock.now();
    let (vault, ids) = (Arc::clone(&parts.vault), Arc::clone(&parts.ports.ids));
    let by = Caller { tenant: None, ..caller.clone() };
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            // Two who change it at the same time wait for each other here.
            tenants::bump(tx, None).await?;
            let before = read(tx, &vault).await?;
            let after = match change.stripe {
                Patch::Keep => return Ok::<_, Error>(before),
                Patch::Clear => None,
                Patch::Set(keys) => Some(checked(keys, before.as_ref(), now)?),
            };
            let row = match &after {
                Some(stripe) => Some(sealed(tx, &vault, &ids, stripe, now).await?),
                None => None,
            };
            rows::put_settings(tx, STRIPE, row.as_ref()).await?;
            let prints = Fingerprints::of_tenant(tx, &vault, &ids, OPERATOR, now).await?;
            let told = |stripe: &Option<Stripe>| {
                let print = |of: fn(&Stripe) -> &Secret| stripe.as_ref().map(|s| prints.of(of(s).reveal()));
                json!({ "stripe.secret_key": print(|s| &s.secret_key), "stripe.webhook_secret": print(|s| &s.webhook_secret) })
            };
            let detail = audit::difference(&told(&before), &told(&after));
            audit::record(tx, OPERATOR, &ids, now, &by, "payment_settings.updated", STRIPE, &detail).await?;
            Ok(after)
        })
    });
    let after = write.await?;
    Ok(view(parts, after.as_ref()))
}

fn checked(keys: StripeKeys, before: Option<&Stripe>, now: Timestamp) -> Result<Stripe, Error> {
    let mut faults = Faults::default();
    let mut one = |pointer: &str, given: Option<String>, before: Option<&Secret>, begins: &[&str]| {
        let Some(text) = given else {
            return before.cloned().unwrap_or_else(|| {
                faults.add(pointer, "needed the first time");
                Secret::default()
            });
        };
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= SECRET_MAX;
        if !is_plain || !begins.iter().any(|begin| text.starts_with(begin)) {
            faults.add(pointer, format!("begins with {}, as Stripe shows it", begins.join(" or ")));
        }
        Secret::new(text)
    };
    let secret_key =
        one("/stripe/secret_key", keys.secret_key, before.map(|before| &before.secret_key), &["sk_", "rk_"]);
    let webhook_secret =
        one("/stripe/webhook_secret", keys.webhook_secret, before.map(|before| &before.webhook_secret), &["whsec_"]);
    faults.end()?;
    Ok(Stripe { secret_key, webhook_secret, updated_at: now })
}

async fn sealed(tx: &mut Tx, vault: &Vault, ids: &model::Ids, stripe: &Stripe, now: Timestamp) -> Result<Row, Error> {
    let kept = Kept {
        secret_key: stripe.secret_key.reveal().to_owned(),
        webhook_secret: stripe.webhook_secret.reveal().to_owned(),
    };
    let plain = zeroize::Zeroizing::new(serde_json::to_vec(&kept).map_err(Error::internal)?);
    let sealed = vault.seal(tx, ids, now, &PLACE, &plain).await?;
    Ok(Row { settings: sealed.bytes, data_key_id: sealed.data_key_id, updated_at: now })
}

/// Asks Stripe something, outside of any transaction: `call` builds the request, `read` reads the answer.
pub(super) async fn ask<T>(
    parts: &Parts,
    stripe: &Stripe,
    call: impl FnOnce(&Cx<'_>) -> Result<HttpCall, Failure>,
    read: impl FnOnce(&Answer) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let base_url = parts.config.base_urls.get(STRIPE).map(String::as_str);
    let call = call(&Cx { secret_key: &stripe.secret_key, base_url })?;
    let answer = parts.ports.transport.exchange(Arc::new(Call::Http(call))).await.map_err(|broken| {
        let detail = format!("Stripe gave no answer: {} ({}).", broken.detail, broken.code);
        Failure::new(FailureKind::Unavailable, broken.code, detail)
    })?;
    read(&answer)
}

/// What Stripe's refusal means to whoever wants to pay.
pub(super) fn refusal(failure: Failure) -> Error {
    let words = failure.provider_detail.as_ref().map(|words| format!(" ({words})")).unwrap_or_default();
    let detail = format!("{}{words}", failure.detail);
    match failure.kind {
        FailureKind::Content => Error::new(ErrorKind::Invalid, "payment_provider_refused", detail),
        FailureKind::Account => Error::conflict("payment_provider_refused", detail).with_action("CONTACT_OPERATOR"),
        _ => Error::new(ErrorKind::Unavailable, "payment_provider_unavailable", detail).with_retry_after_ms(30_000),
    }
}

/// Whether an amount is one that can be paid in a currency.
pub(super) fn check_amount(pointer: &str, amount: i64, currency: &str) -> Result<(), Error> {
    let step = stripe::step_micros(currency);
    if (1..=super::credits::AMOUNT_MAX).contains(&amount) && amount % step == 0 {
        return Ok(());
    }
    let most = super::credits::AMOUNT_MAX;
    Err(Error::invalid(pointer, format!("a multiple of {step} millionths of {currency}, from {step} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_look_like_stripes_and_what_is_left_out_stays() {
        let now = Timestamp::from_seconds(1);
        let keys = |secret_key: Option<&str>, webhook_secret: Option<&str>| StripeKeys {
            secret_key: secret_key.map(str::to_owned),
            webhook_secret: webhook_secret.map(str::to_owned),
        };
        let refused = |keys: StripeKeys| match checked(keys, None, now) {
            Err(error) => error.errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>(),
            Ok(_) => Vec::new(),
        };
        assert_eq!(refused(keys(Some("pk_test_1"), None)), ["/stripe/secret_key", "/stripe/webhook_secret"]);
        assert_eq!(refused(keys(Some("sk_test 1"), Some("whsec_1"))), ["/stripe/secret_key"]);
        let before = checked(keys(Some("rk_test_1"), Some("whsec_1")), None, now).unwrap();
        let after = checked(keys(None, Some("whsec_2")), Some(&before), now).unwrap();
        assert_eq!((after.secret_key.reveal(), after.webhook_secret.reveal()), ("rk_test_1", "whsec_2"));
        assert_eq!(format!("{:?}", keys(Some("sk_live"), None)), "StripeKeys");
    }
}
