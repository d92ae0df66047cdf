//! Stripe, as far as credit is bought and given back through it: Checkout sessions, payments with a kept method, refunds, disputes, and the events Stripe posts about them. No channel of
//! messages, so no [`Connector`](crate::Connector); the same kind of code otherwise: requests built and answers read, pure.
//!
//! Amounts travel in the currency's smallest unit. Every request that moves money carries an idempotency key of ours, so that one without an answer can be repeated.
//! <https://docs.stripe.com/api/checkout/sessions/create> <https://docs.stripe.com/api/payment_intents/create> <https://docs.stripe.com/api/refunds/create>

use model::{Answer, Failure, FailureKind, HttpCall, Method, Secret};
use serde_json::Value;
use url::form_urlencoded;

mod disputes;
mod events;
mod redacted;

use crate::read;
pub use disputes::{DisputeState, Disputed, all_disputes, disputes};
pub use events::{event, verify};
pub use redacted::redacted;

/// Stripe's API.
const HOST: &str = "https://api.stripe.com";
/// Refunds of one payment that are read: Stripe's largest page, and more than anybody makes of one payment.
const REFUNDS_MAX: u32 = 100;
/// How long Stripe knows an idempotency key, in seconds: a day, less an hour for clocks and retries.
pub const KEY_KEPT_S: i64 = 23 * 3_600;

/// Currencies without a smaller unit. <https://docs.stripe.com/currencies#zero-decimal>
const WHOLE: &[&str] =
    &["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"];
/// Currencies whose smaller unit is a thousandth; Stripe takes them in tens of it.
const THOUSANDTHS: &[&str] = &["BHD", "JOD", "KWD", "OMR", "TND"];
/// Currencies that are written with two decimals which must be zero. <https://docs.stripe.com/currencies#special-cases>
const ROUND: &[&str] = &["ISK", "UGX"];

/// Millionths of the smallest amount Stripe takes in a currency.
pub fn step_micros(currency: &str) -> i64 {
    if WHOLE.contains(&currency) || ROUND.contains(&currency) { 1_000_000 } else { 10_000 }
}

/// Millionths of the unit amounts of a currency are written in.
fn micros_of_one(currency: &str) -> i64 {
    match currency {
        _ if WHOLE.contains(&currency) => 1_000_000,
        _ if THOUSANDTHS.contains(&currency) => 1_000,
        _ => 10_000,
    }
}

/// An amount as Stripe writes it; refused when it is no whole number of what Stripe takes.
fn minor(amount_micros: i64, currency: &str) -> Result<String, Failure> {
    if amount_micros <= 0 || amount_micros % step_micros(currency) != 0 {
        let detail = "The amount is no whole number of the currency's smallest unit.";
        return Err(Failure::new(FailureKind::Content, "bad_amount", detail));
    }
    Ok((amount_micros / micros_of_one(currency)).to_string())
}

/// An amount Stripe wrote, in millionths.
fn micros(minor: &Value, currency: &str) -> Option<i64> {
    Some(minor.as_i64()?.saturating_mul(micros_of_one(currency)))
}

/// Who asks, and where.
#[derive(Debug, Clone, Copy)]
pub struct Cx<'a> {
    /// The operator's secret key.
    pub secret_key: &'a Secret,
    /// Where requests go instead of Stripe, without a trailing slash.
    pub base_url: Option<&'a str>,
}

/// What is paid.
#[derive(Debug, Clone, Copy)]
pub struct Payment<'a> {
    /// Our id of it: comes back in everything Stripe says about it, and makes a repeated request the same.
    pub reference: &'a str,
    /// Whose credit.
    pub tenant: &'a str,
    /// How much, without tax.
    pub amount_micros: i64,
    /// The tax that is paid on top of it, if there is one.
    pub tax: Option<&'a Tax>,
    /// In which currency.
    pub currency: &'a str,
}

impl Payment<'_> {
    /// All of what is paid, in millionths.
    fn total_micros(&self) -> i64 {
        self.amount_micros.saturating_add(self.tax.map_or(0, |tax| tax.amount_micros))
    }
}

/// The tax on what is paid. It comes back in what Stripe says of the payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tax {
    /// What it is called.
    pub name: String,
    /// In millionths of what is paid without it.
    pub rate_ppm: i64,
    /// How much, in millionths.
    pub amount_micros: i64,
}

impl Tax {
    /// Its name and its rate for whoever pays: `VAT 19 %`.
    fn words(&self) -> String {
        let percent = format!("{}.{:04}", self.rate_ppm / 10_000, self.rate_ppm % 10_000);
        format!("{} {} %", self.name, percent.trim_end_matches('0').trim_end_matches('.'))
    }

    /// The tax we said of a payment, from its metadata.
    fn read(object: &Value) -> Option<Self> {
        let number = |pointer: &str| read::text(object, pointer)?.parse().ok();
        Some(Self {
            name: read::text(object, "/metadata/tax_name")?.to_owned(),
            rate_ppm: number("/metadata/tax_rate_ppm")?,
            amount_micros: number("/metadata/tax_micros")?,
        })
    }
}

/// Where a page leads, and whether what was paid with is kept.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// Where whoever paid is led.
    pub success_url: &'a str,
    /// Where whoever changed their mind is led.
    pub cancel_url: &'a str,
    /// True when what it is paid with is to be kept for payments nobody is there for.
    pub saves_method: bool,
}

/// A session as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Stripe's id.
    pub id: String,
    /// Where it is paid, while it can be.
    pub url: Option<String>,
    /// What was paid, or is to be.
    pub paid: Paid,
    /// True once it was paid.
    pub is_paid: bool,
}

/// A payment as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Stripe's id of the payment, once there is one.
    pub payment: Option<String>,
    /// Our id.
    pub reference: Option<String>,
    /// Whose credit, as we said.
    pub tenant: Option<String>,
    /// How much, in millionths, tax included.
    pub amount_micros: i64,
    /// The tax in it, as we said.
    pub tax: Option<Tax>,
    /// In which currency.
    pub currency: String,
}

/// How far a payment is that nobody was there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charged {
    /// The money is there.
    Paid(Paid),
    /// It takes days.
    Awaited(Paid),
    /// It will not come: why.
    Refused(String),
}

/// What somebody paid with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Stripe's id of who paid.
    pub customer: String,
    /// Stripe's id of what with.
    pub method: String,
    /// The same for people, such as `visa •••• 4242`.
    pub name: String,
}

/// A refund as Stripe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// Stripe's id.
    pub id: String,
    /// Stripe's id of the payment.
    pub payment: Option<String>,
    /// Our id, where we asked for it.
    pub reference: Option<String>,
    /// How much, in millionths.
    pub amount_micros: i64,
    /// How far it is.
    pub state: RefundState,
}

/// How far a refund is. It only goes on: what is done may still come back from the bank, and what failed stays so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundState {
    /// On its way.
    Pending,
    /// The money went back.
    Done,
    /// It did not.
    Failed,
}

/// What Stripe tells us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Stripe's id: the same when it is told again.
    pub id: String,
    /// Stripe's word for it.
    pub kind: String,
    /// What it is about.
    pub about: About,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A session was paid, at once or after days.
    Paid(Session),
    /// A session was completed with a method that pays later.
    Awaited(Session),
    /// A later payment failed.
    Failed(Session),
    /// A session ended without payment.
    Expired(Session),
    /// A payment was paid, by whatever way.
    Charged(Paid),
    /// A payment was refused: why. Whoever is at a page may try again.
    Refused(Paid, String),
    /// A refund changed.
    Refund(Refunded),
    /// Money of a payment went back, or its payer's bank wants it back: which refunds and disputes there are is to be asked.
    Returned {
        /// Stripe's id of the payment.
        payment: String,
    },
    /// Nothing we look at.
    Other,
}

/// The request for a page on which credit is paid. Its tax is an item of its own: what it comes to was worked out by the installation's rules, which are not Stripe's.
pub fn open(cx: &Cx<'_>, pays: &Payment<'_>, page: &Page<'_>) -> Result<HttpCall, Failure> {
    let amount = minor(pays.amount_micros, pays.currency)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("mode", "payment")
        .append_pair("success_url", page.success_url)
        .append_pair("cancel_url", page.cancel_url)
        .append_pair("client_reference_id", pays.reference);
    metadata(&mut form, "metadata", pays);
    metadata(&mut form, "payment_intent_data[metadata]", pays);
    item(&mut form, 0, pays.currency, &amount, "Credit for messages");
    if let Some(tax) = pays.tax.filter(|tax| tax.amount_micros != 0) {
        item(&mut form, 1, pays.currency, &minor(tax.amount_micros, pays.currency)?, &tax.words());
    }
    if page.saves_method {
        form.append_pair("customer_creation", "always")
            .append_pair("payment_intent_data[setup_future_usage]", "off_session");
    }
    Ok(post(cx, "/v1/checkout/sessions", pays.reference, form.finish()))
}

/// An item of a page.
fn item(form: &mut form_urlencoded::Serializer<'_, String>, index: usize, currency: &str, amount: &str, name: &str) {
    let field = |below: &str| format!("line_items[{index}]{below}");
    form.append_pair(&field("[quantity]"), "1")
        .append_pair(&field("[price_data][currency]"), &currency.to_ascii_lowercase())
        .append_pair(&field("[price_data][unit_amount]"), amount)
        .append_pair(&field("[price_data][product_data][name]"), name);
}

/// What Stripe keeps with a payment for us: whose it is, and the tax in it, so that a payment of which we have no row yet says what was sold.
fn metadata(form: &mut form_urlencoded::Serializer<'_, String>, below: &str, pays: &Payment<'_>) {
    form.append_pair(&format!("{below}[tenant_id]"), pays.tenant)
        .append_pair(&format!("{below}[purchase_id]"), pays.reference);
    if let Some(tax) = pays.tax {
        form.append_pair(&format!("{below}[tax_name]"), &tax.name)
            .append_pair(&format!("{below}[tax_rate_ppm]"), &tax.rate_ppm.to_string())
            .append_pair(&format!("{below}[tax_micros]"), &tax.amount_micros.to_string());
    }
}

/// The request that pays with what was kept, while nobody is there.
/// <https://docs.stripe.com/payments/save-and-reuse#charge-saved-payment-method>
pub fn charge(cx: &Cx<'_>, pays: &Payment<'_>, customer: &str, method: &str) -> Result<HttpCall, Failure> {
    let amount = minor(pays.total_micros(), pays.currency)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("amount", &amount)
        .append_pair("currency", &pays.currency.to_ascii_lowercase())
        .append_pair("customer", customer)
        .append_pair("payment_method", method)
        .append_pair("off_session", "true")
        .append_pair("confirm", "true")
        .append_pair("description", "Credit for messages");
    metadata(&mut form, "metadata", pays);
    Ok(post(cx, "/v1/payment_intents", pays.reference, form.finish()))
}

/// The request that shows what a payment was made with.
pub fn method(cx: &Cx<'_>, payment: &str) -> HttpCall {
    let path = format!("/v1/payment_intents/{}", segment(payment));
    get(cx, &path, &[("expand[]", "payment_method")])
}

/// The request that shows what became of a page. <https://docs.stripe.com/api/checkout/sessions/retrieve>
pub fn look(cx: &Cx<'_>, session: &str) -> HttpCall {
    get(cx, &format!("/v1/checkout/sessions/{}", segment(session)), &[])
}

/// The request that gives money of a payment back, tax included. `key`: what makes a repeated request the same.
pub fn refund(cx: &Cx<'_>, pays: &Payment<'_>, key: &str, payment: &str) -> Result<HttpCall, Failure> {
    let amount = minor(pays.total_micros(), pays.currency)?;
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("payment_intent", payment)
        .append_pair("amount", &amount)
        .append_pair("metadata[refund_id]", pays.reference)
        .append_pair("metadata[tenant_id]", pays.tenant);
    Ok(post(cx, "/v1/refunds", key, form.finish()))
}

/// The request for all refunds of a payment.
pub fn refunds(cx: &Cx<'_>, payment: &str) -> HttpCall {
    get(cx, "/v1/refunds", &[("payment_intent", payment), ("limit", &REFUNDS_MAX.to_string())])
}

fn base(cx: &Cx<'_>) -> String {
    cx.base_url.unwrap_or(HOST).trim_end_matches('/').to_owned()
}

fn post(cx: &Cx<'_>, path: &str, key: &str, form: String) -> HttpCall {
    HttpCall::new(Method::Post, format!("{}{path}", base(cx)))
        .header("authorization", format!("Bearer {}", cx.secret_key.reveal()))
        .header("idempotency-key", key)
        .body("application/x-www-form-urlencoded", form)
}

fn get(cx: &Cx<'_>, path: &str, query: &[(&str, &str)]) -> HttpCall {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let mark = if query.is_empty() { "" } else { "?" };
    HttpCall::new(Method::Get, format!("{}{path}{mark}{query}", base(cx)))
        .header("authorization", format!("Bearer {}", cx.secret_key.reveal()))
}

/// One of Stripe's ids in a path: nothing but what these have.
fn segment(id: &str) -> String {
    id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// Reads the answer to [`open`].
pub fn opened(answer: &Answer) -> Result<Session, Failure> {
    session(&object(answer)?).ok_or_else(malformed)
}

/// Reads the answer to [`look`]: what an event would have said of the page by now.
pub fn looked(answer: &Answer) -> Result<About, Failure> {
    let object = object(answer)?;
    let session = session(&object).ok_or_else(malformed)?;
    Ok(match (read::text(&object, "/status"), read::text(&object, "/payment_status")) {
        (Some("complete"), Some("unpaid")) => About::Awaited(session),
        (Some("complete"), _) => About::Paid(session),
        (Some("expired"), _) => About::Expired(session),
        _ => About::Other,
    })
}

/// Reads the answer to [`charge`]. A refusal of the bank is an answer; that nobody can say is a failure.
pub fn charged(answer: &Answer) -> Result<Charged, Failure> {
    let http = read::http(answer)?;
    if http.status == 402 {
        let body = read::json(http);
        let words = read::text(&body, "/error/message").unwrap_or("the bank refused it");
        return Ok(Charged::Refused(words.to_owned()));
    }
    how_far(&object(answer)?)
}

/// Reads the answer to [`method`]: how far a payment is that takes days. One that somebody is to pay elsewhere, with a voucher, is still awaited.
pub fn progressed(answer: &Answer) -> Result<Charged, Failure> {
    let intent = object(answer)?;
    match read::text(&intent, "/status") {
        Some("requires_action") => payment(&intent).map(Charged::Awaited).ok_or_else(malformed),
        _ => how_far(&intent),
    }
}

fn how_far(intent: &Value) -> Result<Charged, Failure> {
    let paid = payment(intent).ok_or_else(malformed)?;
    match read::text(intent, "/status").unwrap_or_default() {
        "succeeded" => Ok(Charged::Paid(paid)),
        "processing" => Ok(Charged::Awaited(paid)),
        "requires_action" | "requires_confirmation" => {
            Ok(Charged::Refused("the bank wants somebody to confirm it".to_owned()))
        }
        _ => Ok(Charged::Refused(last_error(intent))),
    }
}

/// Reads the answer to [`method`]; `None` when nothing was kept.
pub fn kept(answer: &Answer) -> Result<Option<Kept>, Failure> {
    let intent = object(answer)?;
    let owned =
        |pointers: [&str; 2]| pointers.iter().find_map(|pointer| read::text(&intent, pointer)).map(str::to_owned);
    let ids = owned(["/customer/id", "/customer"]).zip(owned(["/payment_method/id", "/payment_method"]));
    Ok(ids.map(|(customer, method)| Kept { name: name(&intent["payment_method"]), customer, method }))
}

fn name(method: &Value) -> String {
    let kind = read::text(method, "/type").unwrap_or("payment method");
    let brand = read::text(method, &format!("/{kind}/brand")).unwrap_or(kind);
    match read::text(method, &format!("/{kind}/last4")) {
        Some(last) => format!("{brand} •••• {last}"),
        None => brand.to_owned(),
    }
}

/// Reads the answer to [`refund`].
pub fn refunded(answer: &Answer) -> Result<Refunded, Failure> {
    refund_of(&object(answer)?).ok_or_else(malformed)
}

/// Reads the answer to [`refunds`].
pub fn all_refunds(answer: &Answer) -> Result<Vec<Refunded>, Failure> {
    let list = object(answer)?;
    let data = list["data"].as_array().ok_or_else(malformed)?;
    data.iter().map(|refund| refund_of(refund).ok_or_else(malformed)).collect()
}

fn malformed() -> Failure {
    let detail = "Stripe answered with success but not with what was asked for.";
    Failure::new(FailureKind::Unknown, "malformed_answer", detail)
}

/// The object of an answer, or Stripe's refusal. <https://docs.stripe.com/api/errors>
fn object(answer: &Answer) -> Result<Value, Failure> {
    let http = read::http(answer)?;
    let body = read::json(http);
    if (200..300).contains(&http.status) {
        return Ok(body);
    }
    let code = read::text(&body, "/error/code").or_else(|| read::text(&body, "/error/type")).unwrap_or("unknown_error");
    let words = read::text(&body, "/error/message").unwrap_or_default();
    let (kind, says) = match http.status {
        401 | 403 => (FailureKind::Account, "Stripe refused the operator's key."),
        429 => (FailureKind::Throttled, "Stripe asks for fewer requests."),
        // The same idempotency key is at work: the first request is not over.
        409 | 500..=599 => (FailureKind::Unavailable, "Stripe cannot answer at the moment."),
        _ => (FailureKind::Content, "Stripe refused the request."),
    };
    Err(Failure::new(kind, code, says).with_provider_detail(words))
}

fn session(object: &Value) -> Option<Session> {
    let currency = read::text(object, "/currency")?.to_ascii_uppercase();
    let owned = |pointer: &str| read::text(object, pointer).map(str::to_owned);
    Some(Session {
        id: owned("/id")?,
        url: owned("/url"),
        is_paid: read::text(object, "/payment_status") == Some("paid"),
        paid: Paid {
            payment: owned("/payment_intent").or_else(|| owned("/payment_intent/id")),
            reference: owned("/client_reference_id"),
            tenant: owned("/metadata/tenant_id"),
            amount_micros: micros(&object["amount_total"], &currency)?,
            tax: Tax::read(object),
            currency,
        },
    })
}

fn payment(intent: &Value) -> Option<Paid> {
    let currency = read::text(intent, "/currency")?.to_ascii_uppercase();
    let owned = |pointer: &str| read::text(intent, pointer).map(str::to_owned);
    Some(Paid {
        payment: Some(owned("/id")?),
        reference: owned("/metadata/purchase_id"),
        tenant: owned("/metadata/tenant_id"),
        amount_micros: micros(&intent["amount"], &currency)?,
        tax: Tax::read(intent),
        currency,
    })
}

fn last_error(intent: &Value) -> String {
    read::text(intent, "/last_payment_error/message").unwrap_or("the bank refused it").to_owned()
}

fn refund_of(object: &Value) -> Option<Refunded> {
    let currency = read::text(object, "/currency")?.to_ascii_uppercase();
    let owned = |pointer: &str| read::text(object, pointer).map(str::to_owned);
    Some(Refunded {
        id: owned("/id")?,
        payment: owned("/payment_intent").or_else(|| owned("/payment_intent/id")),
        reference: owned("/metadata/refund_id"),
        amount_micros: micros(&object["amount"], &currency)?,
        state: match read::text(object, "/status")? {
            "succeeded" => RefundState::Done,
            "failed" | "canceled" => RefundState::Failed,
            _ => RefundState::Pending,
        },
    })
}

#[cfg(test)]
mod tests {
    use model::HttpAnswer;
    use serde_json::json;

    use super::*;

    fn cx(key: &Secret) -> Cx<'_> {
        Cx { secret_key: key, base_url: None }
    }

    fn http(status: u16, body: &Value) -> Answer {
        Answer::Http(HttpAnswer { status, body: body.to_string().into(), ..HttpAnswer::default() })
    }

    fn form(call: &HttpCall) -> Vec<(String, String)> {
        form_urlencoded::parse(&call.body).into_owned().collect()
    }

    const FIFTY: Payment<'_> =
        Payment { reference: "pur_1", tenant: "ten_1", amount_micros: 50_000_000, tax: None, currency: "USD" };

    #[test]
    fn amounts_are_written_in_the_smallest_unit() {
        let check = |amount: i64, currency: &str, expected: Option<&str>| {
            assert_eq!(minor(amount, currency).ok().as_deref(), expected, "{amount} {currency}");
        };
        check(12_340_000, "USD", Some("1234"));
        check(12_345_000, "USD", None);
        check(500_000_000, "JPY", Some("500"));
        check(500_500_000, "JPY", None);
        check(1_230_000, "KWD", Some("1230"));
        check(1_234_000, "KWD", None);
        check(5_000_000, "ISK", Some("500"));
        check(5_010_000, "ISK", None);
        check(0, "USD", None);
        let back = |amount: i64, currency: &str| micros(&json!(amount), currency).unwrap();
        assert_eq!((back(1_234, "USD"), back(500, "JPY"), back(1_230, "KWD")), (12_340_000, 500_000_000, 1_230_000));
    }

    #[test]
    fn a_session_is_asked_for_as_stripe_documents_it() {
        let key = Secret::new("sk_test_1");
        let page = |saves_method| Page {
            success_url: "https://acme.example/thanks",
            cancel_url: "https://acme.example/",
            saves_method,
        };
        let call = open(&cx(&key), &FIFTY, &page(false)).unwrap();
        assert_eq!(call.url, "https://api.stripe.com/v1/checkout/sessions");
        let header = |name: &str| call.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!((header("authorization"), header("idempotency-key")), (Some("Bearer sk_test_1"), Some("pur_1")));
        assert_eq!(header("content-type"), Some("application/x-www-form-urlencoded"));
        let fields = form(&call);
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(field("line_items[0][price_data][unit_amount]"), Some("5000"));
        assert_eq!(field("line_items[0][price_data][currency]"), Some("usd"));
        assert_eq!((field("client_reference_id"), field("metadata[tenant_id]")), (Some("pur_1"), Some("ten_1")));
        assert_eq!((field("customer_creation"), field("line_items[1][quantity]")), (None, None));
        let kept = form(&open(&cx(&key), &FIFTY, &page(true)).unwrap());
        assert!(kept.contains(&("payment_intent_data[setup_future_usage]".to_owned(), "off_session".to_owned())));
        let answer = json!({ "id": "cs_1", "url": "https://checkout.stripe.com/c/pay/cs_1", "payment_intent": null, "client_reference_id": "pur_1",
            "payment_status": "unpaid", "amount_total": 5_000, "currency": "usd", "metadata": { "tenant_id": "ten_1" } });
        let session = opened(&http(200, &answer)).unwrap();
        assert_eq!((session.paid.amount_micros, session.is_paid), (50_000_000, false));
        assert_eq!((session.paid.tenant.as_deref(), session.paid.payment), (Some("ten_1"), None));
        let refusal = json!({ "error": { "code": "url_invalid", "message": "Not a valid URL" } });
        let refusal = opened(&http(400, &refusal)).unwrap_err();
        assert_eq!((refusal.kind, refusal.code.as_str()), (FailureKind::Content, "url_invalid"));
        assert_eq!(opened(&http(401, &json!({}))).unwrap_err().kind, FailureKind::Account);
        assert_eq!(opened(&http(409, &json!({}))).unwrap_err().kind, FailureKind::Unavailable);
        assert_eq!(opened(&http(503, &json!({}))).unwrap_err().kind, FailureKind::Unavailable);
        assert_eq!(opened(&http(200, &json!({}))).unwrap_err().kind, FailureKind::Unknown);
    }

    #[test]
    fn tax_is_an_item_of_its_own_and_comes_back_with_the_payment() {
        let key = Secret::new("sk_test_1");
        let page =
            Page { success_url: "https://acme.example/", cancel_url: "https://acme.example/", saves_method: false };
        let tax = |rate_ppm, amount_micros| Tax { name: "VAT".to_owned(), rate_ppm, amount_micros };
        let vat = tax(190_000, 9_500_000);
        let taxed = Payment { tax: Some(&vat), ..FIFTY };
        let fields = form(&open(&cx(&key), &taxed, &page).unwrap());
        let field = |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        assert_eq!(field("line_items[0][price_data][unit_amount]"), Some("5000"));
        assert_eq!(field("line_items[1][price_data][unit_amount]"), Some("950"));
        assert_eq!(field("line_items[1][price_data][product_data][name]"), Some("VAT 19 %"));
        assert_eq!(
            (field("line_items[1][quantity]"), field("line_items[1][price_data][currency]")),
            (Some("1"), Some("usd"))
        );
        assert_eq!(field("payment_intent_data[metadata][tax_micros]"), Some("9500000"));
        let charged = form(&charge(&cx(&key), &taxed, "cus_1", "pm_1").unwrap());
        assert!(charged.contains(&("amount".to_owned(), "5950".to_owned())));
        let of_it = tax(190_000, 1_900_000);
        let back = Payment { reference: "rfd_1", amount_micros: 10_000_000, tax: Some(&of_it), ..FIFTY };
        let back = form(&refund(&cx(&key), &back, "rfd_1", "pi_1").unwrap());
        assert!(back.contains(&("amount".to_owned(), "1190".to_owned())));
        // Stripe takes no item of a part of a coin, and none is needed for a tax of nothing.
        assert_eq!(
            open(&cx(&key), &Payment { tax: Some(&tax(190_000, 5)), ..FIFTY }, &page).unwrap_err().code,
            "bad_amount"
        );
        let none = form(&open(&cx(&key), &Payment { tax: Some(&tax(0, 0)), ..FIFTY }, &page).unwrap());
        assert!(!none.iter().any(|(name, _)| name.starts_with("line_items[1]")));
        let intent = |metadata: Value| {
            payment(&json!({"id": "pi_1", "amount": 5_950, "currency": "usd", "metadata": metadata})).unwrap().tax
        };
        assert_eq!(
            intent(json!({"tax_name": "VAT", "tax_rate_ppm": "190000", "tax_micros": "9500000"})),
            Some(vat.clone())
        );
        assert_eq!(intent(json!({"tax_name": "VAT", "tax_rate_ppm": "much"})), None);
        assert_eq!(
            [190_000, 72_500, 0, 81_230].map(|rate| tax(rate, 1).words()),
            ["VAT 19 %", "VAT 7.25 %", "VAT 0 %", "VAT 8.123 %"]
        );
    }

    #[test]
    fn what_was_kept_pays_while_nobody_is_there() {
        let key = Secret::new("sk_test_1");
        let fields = form(&charge(&cx(&key), &FIFTY, "cus_1", "pm_1").unwrap());
        let has = |name: &str, value: &str| fields.contains(&(name.to_owned(), value.to_owned()));
        assert!(
            has("off_session", "true") && has("confirm", "true") && has("amount", "5000") && has("customer", "cus_1")
        );
        let intent = |status: &str| json!({"id": "pi_1", "status": status, "amount": 5_000, "currency": "usd", "metadata": {"purchase_id": "pur_1"}});
        let said = |status: u16, body: &Value| charged(&http(status, body));
        assert!(
            matches!(said(200, &intent("succeeded")), Ok(Charged::Paid(paid)) if paid.reference.as_deref() == Some("pur_1"))
        );
        assert!(matches!(said(200, &intent("processing")), Ok(Charged::Awaited(_))));
        assert!(matches!(said(200, &intent("requires_action")), Ok(Charged::Refused(_))));
        let declined =
            json!({"error": {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}});
        assert_eq!(said(402, &declined).unwrap(), Charged::Refused("Your card was declined.".to_owned()));
        assert_eq!(said(500, &json!({})).unwrap_err().kind, FailureKind::Unavailable);
        let seen = json!({"id": "pi_1", "customer": "cus_1", "payment_method": {"id": "pm_1", "type": "card", "card": {"brand": "visa", "last4": "4242"}}});
        let seen = kept(&http(200, &seen)).unwrap().unwrap();
        assert_eq!(
            (seen.customer.as_str(), seen.method.as_str(), seen.name.as_str()),
            ("cus_1", "pm_1", "visa •••• 4242")
        );
        assert_eq!(kept(&http(200, &json!({"id": "pi_1", "customer": null, "payment_method": "pm_1"}))).unwrap(), None);
        assert_eq!(
            method(&cx(&key), "pi_1/../x").url,
            "https://api.stripe.com/v1/payment_intents/pi_1x?expand%5B%5D=payment_method"
        );
    }

    #[test]
    fn a_page_and_a_payment_are_looked_at_as_their_events_would_tell() {
        let key = Secret::new("sk_test_x");
        assert_eq!(look(&cx(&key), "cs_1/../x").url, "https://api.stripe.com/v1/checkout/sessions/cs_1x");
        let page = |status: &str, payment_status: &str| {
            let body = json!({"id": "cs_1", "client_reference_id": "pur_1", "currency": "usd", "amount_total": 5_000, "status": status, "payment_status": payment_status});
            looked(&http(200, &body)).unwrap()
        };
        assert!(matches!(page("complete", "paid"), About::Paid(session) if session.paid.amount_micros == 50_000_000));
        assert!(matches!(page("complete", "unpaid"), About::Awaited(_)));
        assert!(matches!(page("expired", "unpaid"), About::Expired(_)));
        assert!(matches!(page("open", "unpaid"), About::Other));
        let payment = |status: &str| {
            progressed(&http(200, &json!({"id": "pi_1", "currency": "usd", "amount": 5_000, "status": status})))
                .unwrap()
        };
        assert!(matches!(payment("succeeded"), Charged::Paid(_)));
        assert!(matches!(payment("processing"), Charged::Awaited(_)));
        assert!(matches!(payment("requires_action"), Charged::Awaited(_)), "a voucher is paid elsewhere");
        assert!(matches!(payment("requires_payment_method"), Charged::Refused(_)));
        let gone = looked(&http(404, &json!({"error": {"code": "resource_missing"}}))).unwrap_err();
        assert_eq!((gone.kind, gone.code.as_str()), (FailureKind::Content, "resource_missing"));
    }
}
