//! What Stripe posts: whether it is Stripe's, and what it says.

use aws_lc_rs::hmac;
use model::{Secret, Timestamp};
use serde_json::Value;

use super::{About, Event, Session, last_error, payment, refund_of, session};
use crate::read;

/// How old a signed event may be, and how far ahead of our clock, in seconds: the default of Stripe's own libraries.
const TOLERANCE_S: i64 = 300;
/// Signatures of a header that are looked at: two while a secret is rolled, and room.
const SIGNATURES_MAX: usize = 8;

/// Checks that a request comes from Stripe and is fresh: `Stripe-Signature: t=SECONDS,v1=HEX`, one `v1` for each secret while one is rolled.
/// <https://docs.stripe.com/webhooks/signature>
pub fn verify(header: Option<&str>, body: &[u8], secret: &Secret, now: Timestamp) -> Result<(), String> {
    let header = header.ok_or("the header Stripe-Signature is missing")?;
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let at = pairs().find(|(name, _)| *name == "t").map(|(_, value)| value).ok_or("the signature has no time")?;
    let seconds: i64 = at.parse().map_err(|_| "the signature's time is no number")?;
    if now.as_seconds().saturating_sub(seconds).saturating_abs() > TOLERANCE_S {
        return Err(format!("the signature is more than {TOLERANCE_S} s from our clock"));
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.reveal().as_bytes());
    let signed = [at.as_bytes(), b".", body].concat();
    let is_good = |hex: &str| unhex(hex).is_some_and(|tag| hmac::verify(&key, &signed, &tag).is_ok());
    let mut signatures = pairs().filter(|(name, _)| *name == "v1").take(SIGNATURES_MAX);
    if signatures.any(|(_, hex)| is_good(hex)) { Ok(()) } else { Err("the signature is not Stripe's".to_owned()) }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Reads a verified request; `None` for what is no event. <https://docs.stripe.com/api/events/types>
pub fn event(body: &[u8]) -> Option<Event> {
    let event: Value = serde_json::from_slice(body).ok()?;
    let kind = read::text(&event, "/type")?;
    let object = event.pointer("/data/object")?;
    let of_session = |about: fn(Session) -> About| session(object).map_or(About::Other, about);
    let is_unpaid = read::text(object, "/payment_status") == Some("unpaid");
    let about = match kind {
        "checkout.session.completed" if is_unpaid => of_session(About::Awaited),
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => of_session(About::Paid),
        "checkout.session.async_payment_failed" => of_session(About::Failed),
        "checkout.session.expired" => of_session(About::Expired),
        "payment_intent.succeeded" => payment(object).map_or(About::Other, About::Charged),
        "payment_intent.payment_failed" => {
            payment(object).map_or(About::Other, |paid| About::Refused(paid, last_error(object)))
        }
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            refund_of(object).map_or(About::Other, About::Refund)
        }
        // What a dispute came to is asked, so that its events may come in any order.
        "charge.refunded"
        | "charge.dispute.created"
        | "charge.dispute.updated"
        | "charge.dispute.funds_withdrawn"
        | "charge.dispute.funds_reinstated"
        | "charge.dispute.closed" => read::text(object, "/payment_intent")
            .map_or(About::Other, |payment| About::Returned { payment: payment.to_owned() }),
        _ => About::Other,
    };
    Some(Event { id: read::text(&event, "/id")?.to_owned(), kind: kind.to_owned(), about })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stripe::RefundState;

    #[test]
    fn only_fresh_events_signed_with_our_secret_are_stripes() {
        let (secret, body) = (Secret::new("whsec_test"), br#"{"id":"evt_1"}"#);
        let sign = |at: i64, secret: &str| {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let tag = hmac::sign(&key, format!("{at}.{}", String::from_utf8_lossy(body)).as_bytes());
            tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let now = Timestamp::from_seconds(1_000_000);
        let good = sign(1_000_000, "whsec_test");
        let check = |header: Option<String>, body: &[u8], is_good: bool| {
            assert_eq!(verify(header.as_deref(), body, &secret, now).is_ok(), is_good, "{header:?}");
        };
        check(Some(format!("t=1000000,v1={good}")), body, true);
        check(Some(format!("t=1000000,v1={},v1={good},v0=00", sign(1_000_000, "whsec_old"))), body, true);
        check(Some(format!("t=999700,v1={}", sign(999_700, "whsec_test"))), body, true);
        check(Some(format!("t=999699,v1={}", sign(999_699, "whsec_test"))), body, false);
        check(Some(format!("t=1000301,v1={}", sign(1_000_301, "whsec_test"))), body, false);
        check(Some(format!("t=1000001,v1={good}")), body, false);
        check(Some(format!("t=1000000,v1={good}")), br#"{"id":"evt_2"}"#, false);
        check(Some(format!("t=1000000,v0={good}")), body, false);
        check(Some(format!("t={},v1={good}", i64::MIN)), body, false);
        check(Some("t=1000000".to_owned()), body, false);
        check(Some("nonsense".to_owned()), body, false);
        check(None, body, false);
    }

    #[test]
    fn events_say_what_became_of_money() {
        let about = |kind: &str, object: Value| {
            event(json!({ "id": "evt_1", "type": kind, "data": { "object": object } }).to_string().as_bytes())
                .unwrap()
                .about
        };
        let session = |status: &str| json!({ "id": "cs_1", "payment_intent": "pi_1", "payment_status": status, "amount_total": 5_000, "currency": "usd" });
        assert!(
            matches!(about("checkout.session.completed", session("paid")), About::Paid(s) if s.paid.payment.as_deref() == Some("pi_1"))
        );
        assert!(matches!(about("checkout.session.completed", session("unpaid")), About::Awaited(_)));
        assert!(matches!(about("checkout.session.async_payment_succeeded", session("paid")), About::Paid(_)));
        assert!(matches!(about("checkout.session.async_payment_failed", session("unpaid")), About::Failed(_)));
        assert!(matches!(about("checkout.session.expired", session("unpaid")), About::Expired(_)));
        let intent = json!({"id": "pi_1", "amount": 5_000, "currency": "usd", "metadata": {}, "last_payment_error": {"message": "Declined."}});
        assert!(matches!(about("payment_intent.succeeded", intent.clone()), About::Charged(_)));
        assert!(matches!(about("payment_intent.payment_failed", intent), About::Refused(_, why) if why == "Declined."));
        let refund = json!({ "id": "re_1", "status": "failed", "amount": 100, "currency": "usd", "metadata": { "refund_id": "rfd_1" } });
        assert!(
            matches!(about("refund.failed", refund), About::Refund(r) if r.state == RefundState::Failed && r.amount_micros == 1_000_000)
        );
        let charge = json!({ "id": "ch_1", "payment_intent": "pi_1", "amount_refunded": 700, "currency": "usd" });
        assert_eq!(about("charge.refunded", charge), About::Returned { payment: "pi_1".to_owned() });
        for kind in ["created", "updated", "funds_withdrawn", "funds_reinstated", "closed"] {
            let dispute = json!({"id": "du_1", "object": "dispute", "amount": 1_000, "currency": "usd", "charge": "ch_1", "payment_intent": "pi_1", "status": "needs_response"});
            assert_eq!(
                about(&format!("charge.dispute.{kind}"), dispute),
                About::Returned { payment: "pi_1".to_owned() }
            );
        }
        assert_eq!(about("customer.created", json!({})), About::Other);
        assert_eq!(event(b"{}"), None);
    }
}
