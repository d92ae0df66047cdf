//! Stripe, as far as credit is bought through it: Checkout sessions and the page they are paid on, payments with a kept method, refunds, idempotency keys, and signed events.
//! <https://docs.stripe.com/api>
//!
//! The page can be opened in a browser. What happens on it is `POST /stripe/c/pay/{session}` with `outcome` (`paid`, `later`, `arrived`, `bounced`, `declined` or `expired`) and `card`, one of
//! Stripe's own test numbers; somebody on Stripe's pages who gives money back is `POST /stripe/dashboard/refunds`, and a payer who goes to the bank is `POST /stripe/bank/disputes` (see
//! [`disputes`]). Events go to the setting `callback_url`.

mod disputes;

use model::{HttpCall, Method};
use serde_json::{Map, Value, json};

use crate::{
    fields::Fields,
    message::{Message, Stage},
    provider::{Cx, Provider, Setting, Settings, text},
    request::{Reply, Request},
    sign,
};

pub(crate) struct Stripe;

const SETTINGS: &[Setting] = &[
    Setting { name: "secret_key", default: "sk_test_simulated" },
    Setting { name: "webhook_secret", default: "whsec_simulated" },
    Setting { name: "callback_url", default: "" },
    Setting { name: "sessions", default: "[]" },
    Setting { name: "payments", default: "[]" },
    Setting { name: "refunds", default: "[]" },
    Setting { name: disputes::KEPT, default: "[]" },
    Setting { name: "answers", default: "[]" },
];
/// The least that can be paid, in cents.
const LEAST: i64 = 50;
/// Items of a page at most.
const ITEMS_MAX: usize = 100;
/// Longest idempotency key.
const KEY_MAX: usize = 255;
/// Things of a kind that are kept.
const KEPT_MAX: usize = 1_000;
/// Test numbers <https://docs.stripe.com/testing>: can be kept and is declined afterwards; wants somebody to confirm; refunds fail later; refunds take a while.
const DECLINED_LATER: &str = "4000000000000341";
const WANTS_SOMEBODY: &str = "4000002760003184";
const REFUND_FAILS: &str = "4000000000005126";
const REFUND_WAITS: &str = "4000000000007726";

fn error(status: u16, kind: &str, code: &str, message: &str) -> Reply {
    Reply::json(status, &json!({"error": {"type": kind, "code": code, "message": message}}))
}

fn invalid(code: &str, message: &str) -> Reply {
    error(400, "invalid_request_error", code, message)
}

impl Provider for Stripe {
    fn id(&self) -> &'static str {
        "stripe"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, _: &Settings) -> Vec<Value> {
        // It carries no messages.
        Vec::new()
    }

    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        match (request.method.as_str(), &request.segments()[..]) {
            ("GET", ["c", "pay", id]) => return to_pay(cx, id),
            ("POST", ["c", "pay", id]) => {
                let session = page(cx, id, &request.form())?;
                return if request.header("accept").contains("text/html") {
                    back(&session)
                } else {
                    shown(Some(session))
                };
            }
            ("POST", ["dashboard", "refunds"]) => return refund(cx, &request.form()),
            ("POST", ["bank", "disputes"]) => return disputes::turn(cx, &request.form()),
            _ => {}
        }
        if request.bearer() != cx.get("secret_key") {
            return Err(error(401, "invalid_request_error", "api_key_invalid", "Invalid API Key provided."));
        }
        match (request.method.as_str(), &request.segments()[..]) {
            ("POST", ["v1", "checkout", "sessions"]) => once(cx, request, session),
            ("POST", ["v1", "payment_intents"]) => once(cx, request, charge),
            ("POST", ["v1", "refunds"]) => once(cx, request, refund),
            ("GET", ["v1", "checkout", "sessions", id]) => shown(find(&cx.list("sessions"), id)),
            ("GET", ["v1", "payment_intents", id]) => {
                let mut intent = find(&cx.list("payments"), id).ok_or_else(missing)?;
                if request.parameters().all("expand[]").contains(&"payment_method") {
                    intent["payment_method"] = method(&intent);
                }
                shown(Some(intent))
            }
            ("GET", ["v1", "refunds"]) => {
                Ok(list(cx, "refunds", "/v1/refunds", request.parameters().get("payment_intent")))
            }
            ("GET", ["v1", "disputes"]) => {
                Ok(list(cx, disputes::KEPT, "/v1/disputes", request.parameters().get("payment_intent")))
            }
            _ => Err(error(404, "invalid_request_error", "resource_missing", "Unrecognized request URL.")),
        }
    }

    fn throttled(&self, after_s: Option<u64>) -> Reply {
        error(429, "invalid_request_error", "rate_limit", "Too many requests.").retry_after(after_s)
    }

    fn broken(&self, status: u16) -> Reply {
        error(status, "api_error", "api_error", "An error occurred on our side.")
    }

    fn report(&self, _: &Cx<'_>, _: &Message, _: Stage) -> Option<HttpCall> {
        None
    }
}

/// What there is of a payment, the newest first; of all payments without one.
fn list(cx: &Cx<'_>, name: &str, url: &str, payment: &str) -> Reply {
    let mut found = cx.list(name);
    found.retain(|one| payment.is_empty() || one["payment_intent"] == payment);
    found.reverse();
    Reply::json(200, &json!({"object": "list", "url": url, "has_more": false, "data": found}))
}

fn missing() -> Reply {
    error(404, "invalid_request_error", "resource_missing", "No such object.")
}

fn shown(found: Option<Value>) -> Result<Reply, Reply> {
    found.map(|found| Reply::json(200, &public(&found))).ok_or_else(missing)
}

/// Without what only the simulator knows.
fn public(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(object) = object.as_object_mut() {
        object.remove("_card");
    }
    object
}

fn find(list: &[Value], id: &str) -> Option<Value> {
    list.iter().find(|object| object["id"] == id).cloned()
}

/// Puts an object into its list, in place of what it was.
fn put(list: &mut Vec<Value>, object: &Value) {
    match list.iter_mut().find(|known| known["id"] == object["id"]) {
        Some(known) => *known = object.clone(),
        None => list.push(object.clone()),
    }
    let excess = list.len().saturating_sub(KEPT_MAX);
    list.drain(..excess);
}

/// `metadata[name]=value` of a form, below a prefix.
fn metadata(form: &Fields, prefix: &str) -> Value {
    let start = format!("{prefix}[");
    let pairs = form.0.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix(&start)?.strip_suffix(']')?;
        Some((name.to_owned(), Value::from(value.as_str())))
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

fn integer(form: &Fields, name: &str) -> Result<i64, Reply> {
    let found = form.get(name).parse::<i64>().ok().filter(|cents| *cents >= 0);
    found.ok_or_else(|| invalid("parameter_invalid_integer", &format!("Invalid integer: {name}")))
}

/// An amount that is to be paid, if it can be.
fn payable(cents: i64) -> Result<i64, Reply> {
    if cents < LEAST { Err(invalid("amount_too_small", "The amount is below the minimum charge.")) } else { Ok(cents) }
}

/// What the items of a page come to, and in which currency.
fn items(form: &Fields) -> Result<(i64, String), Reply> {
    let field = |index: usize, below: &str| format!("line_items[{index}]{below}");
    let mut all: Option<(i64, String)> = None;
    for index in 0..ITEMS_MAX {
        if index > 0 && form.some(&field(index, "[quantity]")).is_none() {
            break;
        }
        let cents = integer(form, &field(index, "[price_data][unit_amount]"))?;
        let currency = form.get(&field(index, "[price_data][currency]"));
        if currency.len() != 3 || currency.bytes().any(|b| !b.is_ascii_lowercase()) {
            return Err(invalid("parameter_invalid", "Invalid currency."));
        }
        let name = form.get(&field(index, "[price_data][product_data][name]"));
        if name.is_empty() || form.get(&field(index, "[quantity]")) != "1" {
            return Err(invalid("parameter_missing", "Each line item has a product and a quantity."));
        }
        all = match all {
            Some((_, before)) if before != currency => {
                return Err(invalid("parameter_invalid", "All line items must have the same currency."));
            }
            Some((sum, before)) => Some((sum.saturating_add(cents), before)),
            None => Some((cents, currency.to_owned())),
        };
    }
    let (sum, currency) = all.ok_or_else(|| invalid("parameter_missing", "A page has line items."))?;
    Ok((payable(sum)?, currency))
}

/// Takes a request once: the same key with the same body gets the first answer again.
fn once(
    cx: &mut Cx<'_>,
    request: &Request,
    take: impl FnOnce(&mut Cx<'_>, &Fields) -> Result<Reply, Reply>,
) -> Result<Reply, Reply> {
    if request.header("content-type") != "application/x-www-form-urlencoded" {
        return Err(invalid("unsupported_media_type", "Requests are form-encoded."));
    }
    let key = request.header("idempotency-key").to_owned();
    if key.len() > KEY_MAX {
        return Err(error(400, "idempotency_error", "idempotency_key_too_long", "The idempotency key is too long."));
    }
    let asked = sign::sha256(&[request.path.as_bytes(), b"\n", &request.body].concat());
    let mut answers = cx.list("answers");
    if let Some(before) = answers.iter().find(|known| !key.is_empty() && known["id"] == key.as_str()) {
        if before["asked"] != asked.as_str() {
            let words =
                "Keys for idempotent requests can only be used with the same parameters they were first used with.";
            return Err(error(400, "idempotency_error", "idempotency_key_in_use", words));
        }
        let status = before["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(500);
        return Ok(Reply::json(status, &before["body"]).header("idempotent-replayed", "true"));
    }
    let reply = take(cx, &request.form()).unwrap_or_else(|refusal| refusal);
    let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    put(&mut answers, &json!({"id": key, "asked": asked, "status": reply.status, "body": body}));
    cx.keep("answers", &answers.into());
    Ok(reply)
}

fn session(cx: &mut Cx<'_>, form: &Fields) -> Result<Reply, Reply> {
    if form.get("mode") != "payment" || form.get("success_url").is_empty() {
        return Err(invalid("parameter_missing", "mode=payment and success_url are needed."));
    }
    let (cents, currency) = items(form)?;
    let id = format!("cs_test_{}", cx.hex(24));
    let object = json!({
        "id": id, "object": "checkout.session", "mode": "payment", "status": "open", "payment_status": "unpaid", "amount_total": cents, "currency": currency,
        "client_reference_id": form.some("client_reference_id"), "customer": null, "payment_intent": null, "metadata": metadata(form, "metadata"),
        "success_url": form.get("success_url"), "cancel_url": form.get("cancel_url"), "created": cx.unix(), "expires_at": cx.unix() + 86_400,
        "livemode": false, "url": format!("{}/c/pay/{id}", cx.base_url),
        "_card": {
            "metadata": metadata(form, "payment_intent_data[metadata]"), "keeps": form.get("payment_intent_data[setup_future_usage]") == "off_session",
            "customer": form.get("customer_creation") == "always",
        },
    });
    let mut all = cx.list("sessions");
    put(&mut all, &object);
    cx.keep("sessions", &all.into());
    shown(Some(object))
}

/// What somebody does on the page.
fn page(cx: &mut Cx<'_>, id: &str, form: &Fields) -> Result<Value, Reply> {
    let mut sessions = cx.list("sessions");
    let mut session = find(&sessions, id).ok_or_else(missing)?;
    let mut payments = cx.list("payments");
    let is_open = session["status"] == "open";
    let waits = session["status"] == "complete" && session["payment_status"] == "unpaid";
    let card = form.some("card").unwrap_or_else(|| "4242424242424242".to_owned());
    let mut payment = match session["payment_intent"].as_str() {
        Some(payment) => find(&payments, payment).ok_or_else(missing)?,
        None => begun(cx, &session, &card),
    };
    let (session_event, payment_event) = match form.get("outcome") {
        "paid" if is_open => {
            session["status"] = "complete".into();
            session["payment_status"] = "paid".into();
            payment["status"] = "succeeded".into();
            ("checkout.session.completed", "payment_intent.succeeded")
        }
        "later" if is_open => {
            session["status"] = "complete".into();
            payment["status"] = "processing".into();
            ("checkout.session.completed", "payment_intent.processing")
        }
        "arrived" if waits => {
            session["payment_status"] = "paid".into();
            payment["status"] = "succeeded".into();
            ("checkout.session.async_payment_succeeded", "payment_intent.succeeded")
        }
        "bounced" if waits => {
            payment["status"] = "requires_payment_method".into();
            payment["last_payment_error"] =
                json!({"code": "payment_failed", "message": "The bank returned the debit."});
            ("checkout.session.async_payment_failed", "payment_intent.payment_failed")
        }
        "declined" if is_open => {
            payment["status"] = "requires_payment_method".into();
            payment["last_payment_error"] = json!({"code": "card_declined", "message": "Your card was declined."});
            ("", "payment_intent.payment_failed")
        }
        "expired" if is_open => {
            session["status"] = "expired".into();
            session["url"] = Value::Null;
            ("checkout.session.expired", "")
        }
        _ => return Err(invalid("session_state", "The page cannot do that now.")),
    };
    if session_event != "checkout.session.expired" {
        session["payment_intent"] = payment["id"].clone();
        session["customer"] = payment["customer"].clone();
        put(&mut payments, &payment);
    }
    put(&mut sessions, &session);
    tell(cx, payment_event, &payment);
    tell(cx, session_event, &session);
    cx.keep("sessions", &sessions.into());
    cx.keep("payments", &payments.into());
    Ok(session)
}

/// The page itself, for somebody with a browser: what can happen on it, one button each.
fn to_pay(cx: &Cx<'_>, id: &str) -> Result<Reply, Reply> {
    let session = find(&cx.list("sessions"), id).ok_or_else(missing)?;
    let cents = session["amount_total"].as_i64().unwrap_or(0);
    let amount = format!("{}.{:02} {}", cents / 100, cents % 100, text(&session, "/currency").to_uppercase());
    let buttons = if session["status"] == "open" {
        "<button name=\"outcome\" value=\"paid\">Pay</button> <button name=\"outcome\" value=\"later\">Pay by debit, which takes days</button> <button name=\"outcome\" value=\"declined\">Be declined</button>"
    } else {
        "This page is over."
    };
    let cancel = text(&session, "/cancel_url").replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Pay {amount}</title><main><h1>Pay {amount}</h1><p>The simulator's page: no money moves.</p>\
         <form method=\"post\">{buttons}</form><p><a href=\"{cancel}\">Back without paying</a></p></main></html>"
    );
    Ok(Reply::of(200, "text/html; charset=utf-8", html))
}

/// Leads a browser back to where the session says; whoever was declined can try again.
fn back(session: &Value) -> Result<Reply, Reply> {
    let is_open = session["status"] == "open";
    let to = text(session, if is_open { "/url" } else { "/success_url" });
    Ok(Reply::empty(303).header("location", to))
}

/// The payment of a session, as it begins.
fn begun(cx: &Cx<'_>, session: &Value, card: &str) -> Value {
    let keeps = session["_card"]["customer"] == true;
    let customer = keeps.then(|| format!("cus_{}", cx.hex(14)));
    intent(
        cx,
        session["amount_total"].as_i64().unwrap_or(0),
        text(session, "/currency"),
        &session["_card"]["metadata"],
        customer,
        card,
    )
}

fn intent(cx: &Cx<'_>, cents: i64, currency: &str, metadata: &Value, customer: Option<String>, card: &str) -> Value {
    json!({
        "id": format!("pi_{}", cx.hex(24)), "object": "payment_intent", "amount": cents, "amount_received": cents, "currency": currency, "customer": customer,
        "payment_method": format!("pm_{}", cx.hex(24)), "status": "processing", "metadata": metadata, "last_payment_error": null, "created": cx.unix(),
        "latest_charge": format!("ch_{}", cx.hex(24)), "livemode": false, "_card": card,
    })
}

fn method(intent: &Value) -> Value {
    let last: String = text(intent, "/_card").chars().rev().take(4).collect::<Vec<_>>().into_iter().rev().collect();
    json!({"id": intent["payment_method"], "object": "payment_method", "type": "card", "customer": intent["customer"], "card": {"brand": "visa", "last4": last}})
}

/// A payment with a method that was kept, while nobody is there.
fn charge(cx: &mut Cx<'_>, form: &Fields) -> Result<Reply, Reply> {
    let cents = payable(integer(form, "amount")?)?;
    if form.get("confirm") != "true" || form.get("off_session") != "true" {
        return Err(invalid(
            "parameter_missing",
            "Only payments with confirm=true and off_session=true are simulated.",
        ));
    }
    let mut payments = cx.list("payments");
    let (customer, method) = (form.get("customer"), form.get("payment_method"));
    let is_it = |known: &&Value| {
        known["customer"] == customer && known["payment_method"] == method && known["status"] == "succeeded"
    };
    let before =
        payments.iter().find(is_it).cloned().ok_or_else(|| invalid("resource_missing", "No such PaymentMethod."))?;
    let card = text(&before, "/_card").to_owned();
    let meta = metadata(form, "metadata");
    let mut payment = intent(cx, cents, form.get("currency"), &meta, Some(customer.to_owned()), &card);
    payment["payment_method"] = method.into();
    let refusal = match card.as_str() {
        DECLINED_LATER => Some(("card_declined", "Your card was declined.")),
        WANTS_SOMEBODY => {
            Some(("authentication_required", "Your card was declined. This transaction requires authentication."))
        }
        _ => None,
    };
    payment["status"] = if refusal.is_some() { "requires_payment_method" } else { "succeeded" }.into();
    if let Some((code, message)) = refusal {
        payment["last_payment_error"] = json!({"code": code, "message": message});
    }
    put(&mut payments, &payment);
    cx.keep("payments", &payments.into());
    match refusal {
        Some((code, message)) => {
            tell(cx, "payment_intent.payment_failed", &payment);
            let body = json!({"error": {"type": "card_error", "code": code, "message": message, "payment_intent": public(&payment)}});
            Err(Reply::json(402, &body))
        }
        None => {
            tell(cx, "payment_intent.succeeded", &payment);
            shown(Some(payment))
        }
    }
}

fn refund(cx: &mut Cx<'_>, form: &Fields) -> Result<Reply, Reply> {
    let payment = find(&cx.list("payments"), form.get("payment_intent")).ok_or_else(missing)?;
    if payment["status"] != "succeeded" {
        return Err(invalid("charge_not_refundable", "This payment has not succeeded."));
    }
    let whole = payment["amount"].as_i64().unwrap_or(0);
    let mut refunds = cx.list("refunds");
    let is_of = |refund: &&Value| refund["payment_intent"] == payment["id"] && refund["status"] != "failed";
    let gone: i64 = refunds.iter().filter(is_of).filter_map(|refund| refund["amount"].as_i64()).sum();
    let cents = match form.some("amount") {
        Some(_) => {
            form.get("amount").parse::<i64>().map_err(|_| invalid("parameter_invalid_integer", "Invalid integer."))?
        }
        None => whole - gone,
    };
    if cents <= 0 || gone + cents > whole {
        return Err(invalid(
            "charge_already_refunded",
            "The refund is greater than the unrefunded amount of the charge.",
        ));
    }
    let card = text(&payment, "/_card");
    let mut refund = json!({
        "id": format!("re_{}", cx.hex(24)), "object": "refund", "amount": cents, "currency": payment["currency"], "payment_intent": payment["id"],
        "charge": payment["latest_charge"], "status": if card == REFUND_WAITS { "pending" } else { "succeeded" }, "metadata": metadata(form, "metadata"), "created": cx.unix(),
    });
    let answer = refund.clone();
    let charge = json!({
        "id": payment["latest_charge"], "object": "charge", "amount": whole, "amount_refunded": gone + cents, "currency": payment["currency"],
        "payment_intent": payment["id"], "refunded": gone + cents == whole, "metadata": payment["metadata"],
    });
    tell(cx, "refund.created", &refund);
    tell(cx, "charge.refunded", &charge);
    match card {
        REFUND_FAILS => {
            refund["status"] = "failed".into();
            refund["failure_reason"] = "lost_or_stolen_card".into();
            tell(cx, "refund.failed", &refund);
        }
        REFUND_WAITS => {
            refund["status"] = "succeeded".into();
            tell(cx, "refund.updated", &refund);
        }
        _ => {}
    }
    put(&mut refunds, &refund);
    cx.keep("refunds", &refunds.into());
    Ok(Reply::json(200, &answer))
}

/// Posts an event, signed; nothing for no event, or nowhere to post to.
fn tell(cx: &mut Cx<'_>, kind: &str, object: &Value) {
    let url = cx.get("callback_url").to_owned();
    if kind.is_empty() || url.is_empty() {
        return;
    }
    let event = json!({
        "id": format!("evt_{}", cx.hex(24)), "object": "event", "api_version": "2025-09-30.clover", "created": cx.unix(), "type": kind, "livemode": false,
        "pending_webhooks": 1, "data": {"object": public(object)},
    });
    let (body, at) = (event.to_string(), cx.unix());
    let signature = sign::mac_sha256(cx.get("webhook_secret"), format!("{at}.{body}").as_bytes());
    let call = HttpCall::new(Method::Post, url)
        .body("application/json; charset=utf-8", body)
        .header("stripe-signature", format!("t={at},v1={signature}"));
    cx.calls.push(call);
}
