//! The second factor: codes of six digits that change every half minute (RFC 6238), and recovery codes for the day the telephone is lost.
//!
//! The secret is sealed. A code is taken once: its step is written with the sign-in, and no step before or at it counts again. Codes of the step before and after
//! are taken too, for clocks that are off.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use model::{Ids, Secret, Timestamp};
use qrcode::{EcLevel, QrCode, render::svg};
use serde::Serialize;
use serde_json::json;
use store::{Scope, Tx, sessions, sign_in, users};
use totp_rs::{Algorithm, Builder, Totp};
use utoipa::ToSchema;

use super::{Session, SignedIn, hash, sessions::record_everywhere, sign_in::renewed};
use crate::{
    Error, Parts,
    vault::{OPERATOR, Place, Vault},
};

/// Bytes of a secret: what RFC 4226 recommends, and what every app takes.
const SECRET_LEN: usize = 20;
const STEP_S: i64 = 30;
const ISSUER: &str = "Tidings";
/// Recovery codes of one person.
pub const RECOVERY_CODES: usize = 10;
/// Characters of a recovery code without its dashes: some 60 bits, so that a fast hash is enough.
const RECOVERY_LEN: usize = 12;

/// A second factor that is being set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Enrolment {
    /// To be typed into an app, in base32.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    pub secret: String,
    /// The same as a link an app on this device opens.
    #[schema(
        example = "otpauth://totp/Tidings:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Tidings"
    )]
    pub url: String,
    /// The same as a QR code: an SVG document.
    pub qr_svg: String,
}

/// Which second proof was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    Code,
    RecoveryCode,
}

impl Proof {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "totp",
            Self::RecoveryCode => "recovery_code",
        }
    }
}

fn place(row: &str) -> Place<'_> {
    Place { tenant: OPERATOR, table: "users", row, field: "totp" }
}

fn totp(secret: &[u8], email: &str) -> Totp {
    // A colon separates issuer and account in the link.
    let account = email.replace(':', "_");
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(6)
        .with_step_duration(STEP_S.unsigned_abs())
        .with_secret(secret.to_vec())
        .with_account_name(account)
        .with_issuer(Some(ISSUER))
        .build_noncompliant()
}

/// The step of a code, when it is that of now, the one before or the one after.
fn step_of(secret: &[u8], code: &str, now: Timestamp) -> Option<i64> {
    let current = now.as_seconds().div_euclid(STEP_S);
    let totp = totp(secret, "");
    let matches = |step: &i64| {
        let time = (step * STEP_S).max(0).unsigned_abs();
        verify_slices_are_equal(totp.generate(time).to_string().as_bytes(), code.as_bytes()).is_ok()
    };
    // Each is computed, whichever matches.
    [current - 1, current, current + 1].into_iter().filter(matches).max()
}

/// Checks a code or recovery code of somebody with a second factor and uses it up.
pub(super) async fn check(
    tx: &mut Tx,
    vault: &Vault,
    user: &users::User,
    code: &str,
    now: Timestamp,
) -> Result<Option<Proof>, Error> {
    let code: String = code.chars().filter(|c| !c.is_whitespace() && *c != '-').take(64).collect();
    let Some(sealed) = &user.totp else { return Ok(None) };
    let secret = vault.open(tx, &place(&user.id.to_string()), sealed).await?;
    if let Some(step) = step_of(&secret, &code, now) {
        return Ok(users::take_step(tx, user.id, step).await?.then_some(Proof::Code));
    }
    let is_recovery = sign_in::take_code(tx, user.id, &hash(&code.to_uppercase())).await?;
    Ok(is_recovery.then_some(Proof::RecoveryCode))
}

/// Begins to set up a second factor: nothing is asked for until [`enable`] has seen a first code. Beginning again replaces the secret.
#[crate::boxed]
pub async fn begin(parts: &Parts, session: &Session) -> Result<Enrolment, Error> {
    let mut secret = [0; SECRET_LEN];
    parts.ports.ids.fill(&mut secret);
    let (ids, vault, now) = (Arc::clone(&parts.ports.ids), Arc::clone(&parts.vault), parts.ports.clock.now());
    let user_id = session.user_id;
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            if user.has_totp {
                return Err(Error::conflict(
                    "totp_already_on",
                    "You have a second factor already. Turn it off first to set up another.",
                ));
            }
            let sealed = vault.seal(tx, &ids, now, &place(&user_id.to_string()), &secret).await?;
            (user.totp, user.totp_data_key_id, user.updated_at) = (Some(sealed.bytes), Some(sealed.data_key_id), now);
            Ok::<_, Error>(users::update(tx, &user).await?)
        })
    });
    write.await?;
    let totp = totp(&secret, &session.email);
    let url = totp.to_url().map_err(|error| Error::internal(format!("a second factor has no link: {error}")))?;
    let code = QrCode::with_error_correction_level(url.as_bytes(), EcLevel::M)
        .map_err(|error| Error::internal(format!("a second factor has no QR code: {error}")))?;
    let qr_svg = code.render::<svg::Color<'_>>().min_dimensions(200, 200).build();
    Ok(Enrolment { secret: base32(&secret), url, qr_svg })
}

/// Base32 without padding (RFC 4648), as apps take it.
fn base32(bytes: &[u8]) -> String {
    totp_rs::Secret::from(bytes.to_vec()).to_base32()
}

/// Turns the second factor on with a first code. The person's other sessions end, this one gets another token, and the recovery codes are shown this once.
#[crate::boxed]
pub async fn enable(
    parts: &Parts,
    session: &Session,
    token: &Secret,
    code: &str,
    now: Timestamp,
) -> Result<(Vec<String>, SignedIn), Error> {
    let (ids, vault, by) = (Arc::clone(&parts.ports.ids), Arc::clone(&parts.vault), session.person());
    let (user_id, id, code) = (session.user_id, session.id, code.to_owned());
    let codes = recovery_codes(&ids);
    let hashes = hashes(&codes);
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            if user.has_totp {
                return Err(Error::conflict("totp_already_on", "You have a second factor already."));
            }
            if user.totp.is_none() {
                return Err(Error::conflict(
                    "totp_not_begun",
                    "Begin to set up the second factor first, scan the code, then give a first code of it.",
                ));
            }
            if check(tx, &vault, &user, &code, now).await? != Some(Proof::Code) {
                return Err(wrong_code());
            }
            sign_in::replace_codes(tx, user_id, &hashes).await?;
            (user.has_totp, user.updated_at, user.privileges_at) = (true, now, now);
            users::update(tx, &user).await?;
            let ended = sessions::remove_others(tx, user_id, Some(id)).await?;
            let detail = json!({"sessions_ended": ended});
            record_everywhere(tx, &ids, now, &by, &user, "user.totp_enabled", &detail).await
        })
    });
    write.await?;
    Ok((codes, renewed(parts, session, token, now).await?))
}

fn wrong_code() -> Error {
    Error::invalid(
        "/code",
        "this code is not right or was used before; wait for the next one, and check the clock of the device",
    )
}

/// Turns the second factor off, with a code or recovery code of it.
#[crate::boxed]
pub async fn disable(parts: &Parts, session: &Session, code: &str, now: Timestamp) -> Result<(), Error> {
    with_code(parts, session, code, now, "user.totp_disabled", |user, _| {
        (user.totp, user.totp_data_key_id, user.has_totp) = (None, None, false);
        Vec::new()
    })
    .await
    .map(drop)
}

/// Replaces the recovery codes, with a code. They are shown this once.
#[crate::boxed]
pub async fn new_recovery_codes(
    parts: &Parts,
    session: &Session,
    code: &str,
    now: Timestamp,
) -> Result<Vec<String>, Error> {
    with_code(parts, session, code, now, "user.recovery_codes_replaced", |_, ids| recovery_codes(ids)).await
}

async fn with_code(
    parts: &Parts,
    session: &Session,
    code: &str,
    now: Timestamp,
    action: &'static str,
    change: impl FnOnce(&mut users::User, &Ids) -> Vec<String> + Send + 'static,
) -> Result<Vec<String>, Error> {
    // Somebody who found an open session must not guess codes without end.
    let account = format!("totp {}", session.user_id);
    super::throttle::begin(parts, &account, session.ip, now).await?;
    let (ids, vault, by) = (Arc::clone(&parts.ports.ids), Arc::clone(&parts.vault), session.person());
    let (user_id, code) = (session.user_id, code.to_owned());
    let write = parts.ports.db.write(Scope::System, move |tx| {
        Box::pin(async move {
            let mut user = users::hold(tx, user_id).await?.ok_or_else(|| Error::not_found("user"))?;
            if !user.has_totp {
                return Err(Error::conflict("totp_off", "You have no second factor."));
            }
            if check(tx, &vault, &user, &code, now).await?.is_none() {
                return Err(wrong_code());
            }
            let codes = change(&mut user, &ids);
            sign_in::replace_codes(tx, user_id, &hashes(&codes)).await?;
            (user.updated_at, user.privileges_at) = (now, now);
            users::update(tx, &user).await?;
            record_everywhere(tx, &ids, now, &by, &user, action, &json!({})).await?;
            Ok(codes)
        })
    });
    let codes = write.await?;
    super::throttle::clear(parts, &account, session.ip, now).await?;
    Ok(codes)
}

/// Codes of capital letters and digits in groups of four.
fn recovery_codes(ids: &Ids) -> Vec<String> {
    let code = || {
        let token = ids.token(RECOVERY_LEN).to_uppercase();
        format!("{}-{}-{}", &token[..4], &token[4..8], &token[8..])
    };
    (0..RECOVERY_CODES).map(|_| code()).collect()
}

fn hashes(codes: &[String]) -> Vec<Vec<u8>> {
    codes.iter().map(|code| hash(&code.replace('-', "")).to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_standard() {
        // RFC 6238, appendix B, the last six digits for SHA-1.
        let secret = b"12345678901234567890";
        let check = |seconds: i64, code: &str| {
            assert_eq!(step_of(secret, code, Timestamp::from_seconds(seconds)), Some(seconds / 30), "{seconds}");
        };
        check(59, "287082");
        check(1_111_111_109, "081804");
        check(1_111_111_111, "050471");
        check(1_234_567_890, "005924");
        check(2_000_000_000, "279037");
        check(20_000_000_000, "353130");
        assert_eq!(base32(secret), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn a_clock_may_be_off_by_one_step() {
        let at = |seconds: i64| step_of(b"12345678901234567890", "050471", Timestamp::from_seconds(seconds));
        let step = Some(1_111_111_111 / 30);
        assert_eq!(
            [at(1_111_111_111 - 30), at(1_111_111_111 + 30), at(1_111_111_111 + 90), at(1_111_111_111 - 70)],
            [step, step, None, None]
        );
        for bad in ["", "05047", "0504711", "x", "05o471"] {
            assert_eq!(step_of(b"12345678901234567890", bad, Timestamp::from_seconds(1_111_111_111)), None);
        }
    }
}
