//! The simulator asked without sockets: what it takes and refuses, what follows, and its bad days.

use std::sync::atomic::{AtomicI64, Ordering};

use model::{BoxFuture, Broken};
use serde_json::{Value, json};

use super::*;

/// Stands still until it is moved.
struct Still(AtomicI64);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _millis: u64) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Nobody is there.
struct Nobody;

impl Transport for Nobody {
    fn exchange(&self, _call: Arc<Call>) -> BoxFuture<'static, Result<Answer, Broken>> {
        let broken = Broken { may_have_acted: false, code: "connect_refused", detail: "nobody is there".to_owned() };
        Box::pin(std::future::ready(Err(broken)))
    }
}

struct Stage {
    simulator: Arc<Simulator>,
    clock: Arc<Still>,
}

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(Still(AtomicI64::new(1_795_253_400_000_000)));
        let simulator = Simulator::new(Arc::clone(&clock) as _, Ids::seeded(1), Arc::new(Nobody));
        Self { simulator, clock }
    }

    fn later(&self, millis: i64) {
        self.clock.0.fetch_add(millis * 1_000, Ordering::Relaxed);
    }

    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Turn {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = [("host", "127.0.0.1:9100")].iter().chain(headers);
        self.simulator.turn(&Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers: headers.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.to_owned().into(),
        })
    }

    fn control(&self, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        answered(&self.ask(method, target, &[], &text))
    }

    fn sms(&self, to: &str) -> Turn {
        let body = format!(
            "To={}&From=%2B15550100001&Body=Hi&StatusCallback=http://127.0.0.1/hooks/a?attempt=1",
            to.replace('+', "%2B")
        );
        self.ask("POST", TWILIO, &[("authorization", BASIC)], &body)
    }

    fn mail(&self, to: &str) -> Turn {
        let body = json!({
            "personalizations": [{"to": [{"email": to}], "custom_args": {"attempt": "att_1"}}], "from": {"email": "tickets@acme.example"}, "subject": "Ticket",
            "content": [{"type": "text/plain", "value": "Hello"}],
        });
        self.ask("POST", "/sendgrid/v3/mail/send", &[("authorization", "Bearer SG.simulated.key")], &body.to_string())
    }
}

const TWILIO: &str = "/twilio/2010-04-01/Accounts/AC00000000000000000000000000000001/Messages.json";
const BASIC: &str =
    "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMTowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";

fn answered(turn: &Turn) -> (u16, Value) {
    let reply = turn.reply.as_ref().unwrap();
    (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
}

#[test]
fn a_message_is_taken_comes_on_and_reports_signed() {
    let stage = Stage::new();
    let turn = stage.sms("+491511234567");
    let (status, message) = answered(&turn);
    assert_eq!((status, &message["status"]), (201, &"queued".into()));
    assert_eq!(turn.due.iter().map(|due| due.after_ms).collect::<Vec<_>>(), [100, 200]);
    let call = stage.simulator.call(&turn.due[1]).unwrap();
    assert_eq!(call.url, "http://127.0.0.1/hooks/a?attempt=1");
    assert!(String::from_utf8_lossy(&call.body).contains("MessageStatus=delivered"));
    assert!(call.headers.iter().any(|(name, _)| name == "x-twilio-signature"));

    let look_up = format!("{}/{}.json", TWILIO.trim_end_matches(".json"), message["sid"].as_str().unwrap());
    let status = || answered(&stage.ask("GET", &look_up, &[("authorization", BASIC)], "")).1["status"].clone();
    assert_eq!(status(), "queued");
    stage.later(100);
    assert_eq!(status(), "sent");
    stage.later(100);
    assert_eq!(status(), "delivered");
    let (_, list) = stage.control("GET", "/_sim/messages?provider=twilio&to=%2B491511234567", &Value::Null);
    assert_eq!((&list["data"][0]["text"], &list["data"][0]["stage"]), (&"Hi".into(), &"delivered".into()));
}

#[test]
fn credentials_fields_and_recipients_are_checked_in_the_providers_words() {
    let stage = Stage::new();
    let (status, error) =
        answered(&stage.ask("POST", TWILIO, &[("authorization", "Basic eDp5")], "To=%2B491511234567"));
    assert_eq!((status, &error["code"]), (401, &20003.into()));
    let (status, error) =
        answered(&stage.ask("POST", TWILIO, &[("authorization", BASIC)], "To=%2B491511234567&From=%2B15550100001"));
    assert_eq!((status, &error["code"]), (400, &21602.into()));
    assert_eq!(answered(&stage.sms("+15005550001")).1["code"], 21211);
    assert_eq!(answered(&stage.sms("+15005550003")).1["code"], 21610);
    let (status, error) = answered(&stage.mail("refused@mail.test"));
    assert_eq!((status, &error["errors"][0]["field"]), (400, &"personalizations.0.to.0.email".into()));
    assert!(stage.simulator.world().messages.is_empty());
}

#[test]
fn a_rule_spoils_as_many_requests_as_it_says() {
    let stage = Stage::new();
    let add = |rule: Value| assert_eq!(stage.control("POST", "/_sim/script", &rule).0, 201);
    add(json!({"provider": "twilio", "times": 1, "day": {"rate_limit": {"retry_after_s": 2}}}));
    assert_eq!(answered(&stage.mail("ada@mail.test")).0, 202, "a rule for another provider");
    let turn = stage.sms("+491511234567");
    let reply = turn.reply.as_ref().unwrap();
    assert_eq!((reply.status, turn.due.len()), (429, 0));
    assert!(reply.headers.contains(&("retry-after", "2".to_owned())));
    assert_eq!(answered(&stage.sms("+491511234567")).0, 201);

    add(json!({"recipient": "*@slow.test", "times": 1, "day": {"slow": {"wait_ms": 700}}}));
    assert_eq!((stage.mail("ada@mail.test").wait_ms, stage.mail("ada@slow.test").wait_ms), (0, 700));
    add(json!({"times": 1, "day": {"drop": {}}}));
    let dropped = stage.mail("bob@mail.test");
    assert!(dropped.reply.is_none() && dropped.due.len() == 2, "it was taken all the same");
    add(json!({"times": 1, "day": {"drop": {"is_taken": false}}}));
    assert!(stage.mail("bob@mail.test").due.is_empty());
    add(json!({"times": 1, "day": {"callbacks": {"twice": true, "reversed": true, "late_ms": 1000}}}));
    let times: Vec<u64> = stage.mail("ada@mail.test").due.iter().map(|due| due.after_ms).collect();
    assert_eq!(times, [1200, 1200, 1100, 1100]);
    add(json!({"times": 1, "day": {"fate": "bounces"}}));
    let bounced = stage.mail("ada@mail.test");
    let call = stage.simulator.call(&bounced.due[1]);
    assert!(call.is_none(), "SendGrid knows no callback URL yet");
    stage.control("PUT", "/_sim/providers/sendgrid", &json!({"callback_url": "http://127.0.0.1/hooks/b"}));
    let call = stage.simulator.call(&bounced.due[1]).unwrap();
    assert!(String::from_utf8_lossy(&call.body).contains(r#""event":"bounce""#));
}

#[test]
fn a_failure_speaks_the_providers_words_or_a_proxys() {
    let stage = Stage::new();
    let turn = |own: bool| {
        let rule = json!({"times": 1, "day": {"error": {"status": 502, "own_words": own}}});
        stage.control("POST", "/_sim/script", &rule);
        stage.sms("+491511234567").reply.unwrap()
    };
    assert!(String::from_utf8_lossy(&turn(true).body).contains("20500"));
    assert!(turn(false).body.starts_with(b"<html>"));
}

#[test]
fn a_repeated_key_is_answered_as_before() {
    let stage = Stage::new();
    let send = |subject: &str| {
        let body =
            json!({"from": "Acme <tickets@acme.example>", "to": ["ada@mail.test"], "subject": subject, "text": "Hi"});
        let headers = [("authorization", "Bearer re_simulated"), ("idempotency-key", "k1")];
        answered(&stage.ask("POST", "/resend/emails", &headers, &body.to_string()))
    };
    let first = send("Ticket");
    assert_eq!(first.0, 200);
    assert_eq!(send("Ticket"), first);
    assert_eq!(send("Other").1["name"], "invalid_idempotent_request");
    assert_eq!(stage.simulator.world().messages.len(), 1);
}

#[test]
fn stripe_takes_money_once_and_tells_signed() {
    let stage = Stage::new();
    stage.control("PUT", "/_sim/providers/stripe", &json!({"callback_url": "http://127.0.0.1/hooks/stripe"}));
    let form = |path: &str, key: &str, body: &str| {
        let kind = "application/x-www-form-urlencoded";
        let headers = [("authorization", "Bearer sk_test_simulated"), ("content-type", kind), ("idempotency-key", key)];
        stage.ask("POST", &format!("/stripe/{path}"), &headers, body)
    };
    let body = |cents: &str| {
        format!(
            "mode=payment&success_url=https://a.test&client_reference_id=pur_1&line_items[0][quantity]=1&line_items[0][price_data][currency]=usd&line_items[0][price_data][unit_amount]={cents}&line_items[0][price_data][product_data][name]=Credit"
        )
    };
    let sessions = "v1/checkout/sessions";
    let first = answered(&form(sessions, "k1", &body("500")));
    assert_eq!((first.0, &first.1["payment_status"], &first.1["amount_total"]), (200, &json!("unpaid"), &json!(500)));
    assert_eq!(answered(&form(sessions, "k1", &body("500"))), first);
    let refusal = |turn: &Turn| answered(turn).1["error"]["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!(refusal(&form(sessions, "k1", &body("600"))), "idempotency_key_in_use");
    assert_eq!(refusal(&form(sessions, "k2", &body("49"))), "amount_too_small");
    assert_eq!(refusal(&form(sessions, "k3", "mode=setup")), "parameter_missing");
    let item = |currency: &str| {
        format!(
            "{}&line_items[1][quantity]=1&line_items[1][price_data][currency]={currency}&line_items[1][price_data][unit_amount]=95&line_items[1][price_data][product_data][name]=VAT",
            body("500")
        )
    };
    assert_eq!(answered(&form(sessions, "k5", &item("usd"))).1["amount_total"], 595);
    assert_eq!(refusal(&form(sessions, "k6", &item("eur"))), "parameter_invalid");
    let stranger = stage.ask("GET", "/stripe/v1/refunds", &[("authorization", "Bearer sk_other")], "");
    assert_eq!(answered(&stranger).0, 401);

    let page = format!("c/pay/{}", first.1["id"].as_str().unwrap());
    let paid = form(&page, "", "outcome=paid&card=4242424242424242");
    let calls: Vec<HttpCall> = paid.due.iter().filter_map(|due| stage.simulator.call(due)).collect();
    let kinds: Vec<Value> =
        calls.iter().map(|call| serde_json::from_slice::<Value>(&call.body).unwrap()["type"].clone()).collect();
    assert_eq!(kinds, [json!("payment_intent.succeeded"), json!("checkout.session.completed")]);
    let signature = &calls[0].headers.iter().find(|(name, _)| name == "stripe-signature").unwrap().1;
    assert!(signature.starts_with("t=1795253400,v1=") && signature.len() == 16 + 64, "{signature}");
    assert_eq!(answered(&form(&page, "", "outcome=paid")).0, 400, "it is paid already");
    let payment = answered(&paid).1["payment_intent"].as_str().unwrap().to_owned();
    let refund = |key: &str, cents: u32| form("v1/refunds", key, &format!("payment_intent={payment}&amount={cents}"));
    assert_eq!(answered(&refund("r1", 300)).1["status"], "succeeded");
    assert_eq!(answered(&refund("r1", 300)).1["status"], "succeeded");
    assert_eq!(refusal(&refund("r2", 201)), "charge_already_refunded");
    assert_eq!(answered(&refund("r3", 200)).0, 200);
    // What is broken on the way was not taken.
    stage.control(
        "POST",
        "/_sim/script",
        &json!({"provider": "stripe", "path": "*checkout*", "times": 1, "day": {"error": {"status": 503, "own_words": true}}}),
    );
    assert_eq!(answered(&form(sessions, "k4", &body("500"))).0, 503);
    let fourth = answered(&form(sessions, "k4", &body("700")));
    assert_eq!((fourth.0, &fourth.1["amount_total"]), (200, &json!(700)));
}

#[test]
fn the_control_api_says_what_is_wrong() {
    let stage = Stage::new();
    let detail = |method: &str, path: &str, body: Value| {
        let (status, problem) = stage.control(method, path, &body);
        (status, problem["detail"].as_str().unwrap_or_default().to_owned())
    };
    let (status, words) = detail("PUT", "/_sim/providers/twilio", json!({"token": "x"}));
    assert!(status == 422 && words.contains("`token`") && words.contains("auth_token"), "{words}");
    let (status, words) = detail("POST", "/_sim/script", json!({"day": {"storm": {}}}));
    assert!(status == 422 && words.contains("storm"), "{words}");
    assert_eq!(detail("POST", "/_sim/script", json!({"provider": "nobody", "day": {"drop": {}}})).0, 422);
    let (status, words) = detail("POST", "/_sim/inbound", json!({"provider": "twilio", "from": "+491511234567"}));
    assert!(status == 422 && words.contains("callback_url"), "{words}");
    assert_eq!(detail("GET", "/_sim/nothing", Value::Null).0, 404);
    assert_eq!(detail("GET", "/unknown/v1", Value::Null).0, 404);
}

#[test]
fn every_provider_describes_its_accounts_and_its_bad_days() {
    let stage = Stage::new();
    let (_, all) = stage.control("GET", "/_sim/providers", &Value::Null);
    assert_eq!(all["data"].as_array().unwrap().len(), crate::providers::PROVIDERS.len());
    for provider in crate::providers::PROVIDERS {
        let (_, shown) = stage.control("GET", &format!("/_sim/providers/{}", provider.id()), &Value::Null);
        let id = provider.id();
        // Stripe carries no messages.
        assert_eq!(
            shown["accounts"].as_array().is_some_and(|accounts| !accounts.is_empty()),
            id != "stripe",
            "{shown}"
        );
        assert!(id == "smtp" || provider.throttled(None).status == 429, "{id}");
        assert!(id == "smtp" || provider.broken(503).status == 503, "{id}");
        let stranger = stage.ask("POST", &format!("/{id}/v1/anything"), &[], "{}").reply.unwrap();
        assert!((400..500).contains(&stranger.status), "{id} {}", stranger.status);
    }
    stage.sms("+491511234567");
    assert_eq!(stage.control("DELETE", "/_sim", &Value::Null).0, 204);
    assert_eq!(stage.control("GET", "/_sim/messages", &Value::Null).1["total"], 0);
}

#[test]
fn what_is_kept_is_bounded() {
    let stage = Stage::new();
    for _ in 0..1_100 {
        stage.ask("GET", "/sendgrid/v3/scopes", &[], "");
    }
    let (_, kept) = stage.control("GET", "/_sim/requests?provider=sendgrid", &Value::Null);
    assert_eq!(kept["data"].as_array().unwrap().len(), 1_000);
}

#[test]
fn accounts_are_set_up_by_the_providers_own_requests() {
    let stage = Stage::new();
    let url = "http://127.0.0.1/hooks/acc_1";
    let kept = |provider: &str| {
        stage.control("GET", &format!("/_sim/providers/{provider}"), &Value::Null).1["settings"]["callback_url"].clone()
    };

    let sendgrid = |method: &str, path: &str, body: &Value| {
        let target = format!("/sendgrid/v3/user/webhooks/event/settings{path}");
        answered(&stage.ask(method, &target, &[("authorization", "Bearer SG.simulated.key")], &body.to_string()))
    };
    assert_eq!(sendgrid("POST", "", &json!({})).0, 400);
    let (status, made) = sendgrid("POST", "", &json!({"url": url, "enabled": true, "delivered": true}));
    assert_eq!((status, kept("sendgrid")), (201, url.into()));
    let id = made["id"].as_str().unwrap();
    assert!(sendgrid("PATCH", &format!("/signed/{id}"), &json!({"enabled": true})).1["public_key"].is_string());
    assert_eq!(sendgrid("PATCH", "/signed/other", &json!({"enabled": true})).0, 404);
    assert_eq!(sendgrid("GET", "/all", &Value::Null).1["webhooks"], json!([made]));

    let mailgun = |method: &str, path: &str, form: &str| {
        let target = format!("/mailgun/v3/domains/mg.acme.example/webhooks{path}");
        answered(&stage.ask(method, &target, &[("authorization", "Basic YXBpOmtleS1zaW11bGF0ZWQ=")], form))
    };
    assert_eq!(mailgun("PUT", "/delivered", &format!("url={url}")).0, 404);
    assert_eq!(mailgun("POST", "", &format!("id=arrived&url={url}")).0, 400);
    assert_eq!(mailgun("POST", "", &format!("id=delivered&url={url}")).0, 200);
    assert_eq!(mailgun("POST", "", &format!("id=delivered&url={url}")).0, 400);
    assert_eq!(mailgun("GET", "", "").1["webhooks"], json!({"delivered": {"urls": [url]}}));
    assert_eq!(kept("mailgun"), url);

    let numbers = TWILIO.replace("Messages.json", "IncomingPhoneNumbers");
    let twilio = |method: &str, path: &str, form: &str| {
        answered(&stage.ask(method, &format!("{numbers}{path}"), &[("authorization", BASIC)], form)).1
    };
    let found = twilio("GET", ".json?PhoneNumber=%2B15550100001", "");
    let sid = found["incoming_phone_numbers"][0]["sid"].as_str().unwrap();
    assert_eq!(twilio("POST", &format!("/{sid}.json"), &format!("SmsUrl={url}&SmsMethod=POST"))["sms_url"], url);
    assert_eq!(twilio("GET", ".json?PhoneNumber=%2B4930123456", "")["incoming_phone_numbers"], json!([]));
    assert_eq!(kept("twilio"), url);
}

#[test]
fn templates_are_reviewed_and_removed() {
    let stage = Stage::new();
    let meta = |method: &str, query: &str, body: &Value| {
        let target = format!("/whatsapp_cloud/v23.0/102290129340398/message_templates{query}");
        answered(&stage.ask(method, &target, &[("authorization", "Bearer EAAsimulated")], &body.to_string()))
    };
    let template = json!({"name": "order_update", "language": "en", "category": "UTILITY", "components": [{"type": "BODY", "text": "Hi"}]});
    assert_eq!(meta("POST", "", &json!({"name": "Order update"})).0, 400);
    assert_eq!(meta("POST", "", &template).1["status"], "PENDING");
    assert_eq!(meta("POST", "", &template).0, 400, "there is one of that name");
    assert_eq!(meta("GET", "", &Value::Null).1["data"][0]["status"], "PENDING");
    assert_eq!(meta("GET", "", &Value::Null).1["data"][0]["status"], "APPROVED");
    assert_eq!(meta("DELETE", "?name=order_update", &Value::Null).0, 200);
    assert_eq!(meta("GET", "", &Value::Null).1["data"], json!([]));
    assert_eq!(meta("DELETE", "?name=order_update", &Value::Null).0, 400);
}
