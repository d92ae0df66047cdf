//! What a log may keep of an event: how things stand with which of Stripe's objects and of ours, and nothing of who paid, with what, or from where.
//!
//! Only what is named here stays; everything else is replaced, so that a field Stripe adds one day shows nothing before somebody has looked at what it says.

use serde_json::{Map, Value};

/// What stands for what is not kept.
const DOTS: &str = "••••";
/// Fields whose texts stay where they are Stripe's own words and ids.
const WORDS: &[&str] = &[
    "account",
    "api_version",
    "balance_transaction",
    "cancellation_reason",
    "capture_method",
    "charge",
    "code",
    "confirmation_method",
    "currency",
    "decline_code",
    "dispute",
    "failure_code",
    "failure_reason",
    "id",
    "invoice",
    "latest_charge",
    "mode",
    "network_reason_code",
    "object",
    "payment_intent",
    "payment_status",
    "reason",
    "refund",
    "setup_future_usage",
    "status",
    "type",
];
/// Fields whose numbers stay, besides all that begin with `amount`.
const NUMBERS: &[&str] = &["created", "due_by", "expires_at", "fee", "net", "pending_webhooks"];
/// What stands for the beginning of a number in [`OURS`].
const NUMBER: &str = "";
/// Fields we give to Stripe, and how our ids in them begin. Anybody else may have given something else.
const OURS: &[(&str, &str)] = &[
    ("client_reference_id", "pur_"),
    ("purchase_id", "pur_"),
    ("refund_id", "rfd_"),
    ("tax_micros", NUMBER),
    ("tax_rate_ppm", NUMBER),
    ("tenant_id", "ten_"),
];
/// Longest text that can be a word or an id, in bytes: Stripe's longest ids have some 70.
const WORD_MAX: usize = 100;
/// Longest name of a field, in bytes.
const NAME_MAX: usize = 60;

/// The first `max` bytes of an event's body as a log keeps it; `None` for what is no JSON object, of which nothing can be told apart.
pub fn redacted(body: &[u8], max: usize) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    if !event.is_object() {
        return None;
    }
    let mut text = vec![0_u8; max];
    let mut room = text.as_mut_slice();
    // Where no room is left it ends: laid out, what somebody made up may be a hundred times as long as it came.
    let _ = serde_json::to_writer_pretty(&mut room, &kept("", event));
    let left = room.len();
    text.truncate(max - left);
    let whole = std::str::from_utf8(&text).map_or_else(|cut| cut.valid_up_to(), str::len);
    text.truncate(whole);
    String::from_utf8(text).ok()
}

/// What is kept of a field's value. The elements of a list are looked at like the field itself.
fn kept(name: &str, value: Value) -> Value {
    match value {
        Value::Null | Value::Bool(_) => value,
        Value::Number(_) if name.starts_with("amount") || NUMBERS.contains(&name) => value,
        Value::String(ref text) if is_kept(name, text) => value,
        Value::Number(_) | Value::String(_) => DOTS.into(),
        Value::Array(items) => items.into_iter().map(|item| kept(name, item)).collect(),
        Value::Object(fields) if name == "metadata" => own(fields),
        Value::Object(fields) => Value::Object(fields.into_iter().map(field).collect()),
    }
}

fn field((name, value): (String, Value)) -> (String, Value) {
    let is_name = name.len() <= NAME_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let value = kept(&name, value);
    (if is_name { name } else { DOTS.to_owned() }, value)
}

/// What others put into an object's metadata is left out by its name, too.
fn own(fields: Map<String, Value>) -> Value {
    let is_ours = |name: &str| OURS.iter().any(|(known, _)| *known == name);
    Value::Object(fields.into_iter().filter(|(name, _)| is_ours(name)).map(field).collect())
}

fn is_kept(name: &str, text: &str) -> bool {
    let is_word = text.len() <= WORD_MAX && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let begins = |start: &str| match start {
        NUMBER => text.bytes().all(|b| b.is_ascii_digit()),
        start => text.starts_with(start),
    };
    let is_ours = || OURS.iter().any(|(known, start)| *known == name && begins(start));
    is_word && (WORDS.contains(&name) || is_ours())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MAX: usize = 64 * 1024;

    fn of(event: &Value) -> Value {
        serde_json::from_str(&redacted(event.to_string().as_bytes(), MAX).unwrap()).unwrap()
    }

    #[test]
    fn who_paid_and_with_what_is_not_kept() {
        let event = json!({
            "id": "evt_1", "object": "event", "api_version": "2025-09-30.clover", "created": 1_700_000_000, "type": "checkout.session.completed", "livemode": true,
            "request": {"id": "req_1", "idempotency_key": "3f1b"},
            "data": {"object": {
                "id": "cs_live_1", "object": "checkout.session", "amount_total": 5_000, "currency": "usd", "client_reference_id": "pur_1", "payment_intent": "pi_1",
                "customer": "cus_1", "customer_email": "ada@example.org", "url": "https://checkout.stripe.com/c/pay/cs_live_1#secret", "client_secret": "cs_live_1_secret_2",
                "customer_details": {"name": "Ada Lovelace", "email": "ada@example.org", "phone": "+447700900000", "address": {"city": "London", "country": "GB"}},
                "payment_method_details": {"type": "card", "card": {"brand": "visa", "last4": "4242", "exp_month": 4, "exp_year": 2030, "fingerprint": "Xt5EWLLDS7FJjR1c"}},
                "metadata": {"tenant_id": "ten_1", "purchase_id": "pur_1", "tax_name": "VAT", "tax_rate_ppm": "190000", "tax_micros": "9500000", "ada@example.org": "ada@example.org"},
                "payment_method_types": ["card"],
            }},
        });
        let expected = json!({
            "id": "evt_1", "object": "event", "api_version": "2025-09-30.clover", "created": 1_700_000_000, "type": "checkout.session.completed", "livemode": true,
            "request": {"id": "req_1", "idempotency_key": DOTS},
            "data": {"object": {
                "id": "cs_live_1", "object": "checkout.session", "amount_total": 5_000, "currency": "usd", "client_reference_id": "pur_1", "payment_intent": "pi_1",
                "customer": DOTS, "customer_email": DOTS, "url": DOTS, "client_secret": DOTS,
                "customer_details": {"name": DOTS, "email": DOTS, "phone": DOTS, "address": {"city": DOTS, "country": DOTS}},
                "payment_method_details": {"type": "card", "card": {"brand": DOTS, "last4": DOTS, "exp_month": DOTS, "exp_year": DOTS, "fingerprint": DOTS}},
                "metadata": {"tenant_id": "ten_1", "purchase_id": "pur_1", "tax_rate_ppm": "190000", "tax_micros": "9500000"}, "payment_method_types": [DOTS],
            }},
        });
        assert_eq!(of(&event), expected);
    }

    #[test]
    fn a_word_is_one_only_where_it_looks_like_one() {
        let check = |name: &str, text: &str, is_kept: bool| {
            let expected = if is_kept { text } else { DOTS };
            assert_eq!(of(&json!({ name: text })), json!({ name: expected }), "{name} {text}");
        };
        check("reason", "fraudulent", true);
        check("reason", "Ada wants it back", false);
        check("client_reference_id", "ada", false);
        check("tenant_id", "ten_01ARZ3NDEKTSV4RRFFQ69G5FAV", true);
        check("id", &"x".repeat(101), false);
        assert_eq!(of(&json!({"ada@example.org": true})), json!({DOTS: true}));
        assert_eq!((redacted(b"name=ada", MAX), redacted(b"[1]", MAX), redacted(b"", MAX)), (None, None, None));
    }

    #[test]
    fn no_more_is_written_than_is_kept() {
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100), "]".repeat(100));
        let whole = redacted(deep.as_bytes(), MAX).unwrap();
        assert!(whole.len() > 10 * deep.len());
        assert_eq!(redacted(deep.as_bytes(), 30).unwrap(), whole[..30]);
        let start = "{\n  \"email\": \"";
        for (max, dots) in [(start.len(), ""), (start.len() + 2, ""), (start.len() + 3, "•")] {
            assert_eq!(redacted(b"{\"email\": \"ada\"}", max).unwrap(), format!("{start}{dots}"), "{max}");
        }
    }
}
