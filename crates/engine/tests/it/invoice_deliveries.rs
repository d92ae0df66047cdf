//! Invoices: drawn, sent once, over the right channels, with the PDF that can be asked for again.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use engine::{contacts, invoice_deliveries, once::Repeat, templates, tracking::Response, whatsapp_templates};
use model::{AccountId, Answer, Call, ContactId, InvoiceDeliveryId};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};

use crate::setting::{body, code, column, json as read, pointers, repeat};

/// A world with a mail server, and WhatsApp's Cloud API with one approved template.
fn world(db: &TestDb) -> World {
    World::answering(db, |call| match call {
        Call::Http(call) if call.url.contains("message_templates") => {
            let template = json!({"id": "77", "name": "invoice_whatsapp", "language": "en", "category": "UTILITY", "status": "APPROVED",
                "components": [{"type": "HEADER", "format": "DOCUMENT"}, {"type": "BODY", "text": "Hello {{1}}, invoice {{2}} over {{3}} is attached."}]});
            http_answer(200, json!({ "data": [template] }).to_string())
        }
        Call::Http(_) => http_answer(200, json!({"messages": [{"id": "wamid.1"}]}).to_string()),
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => Ok(Answer::Local),
    })
}

async fn stage(db: &TestDb) -> Stage {
    let stage = Stage::in_world(world(db)).await;
    stage.account("smtp", json!({ "host": "mail.example" }), Some("billing@acme.example")).await;
    stage
}

async fn whatsapp(stage: &Stage) -> AccountId {
    let settings = json!({"access_token": "t", "phone_number_id": "1", "business_account_id": "2", "app_secret": "s", "verify_token": "v"});
    stage.account("whatsapp_cloud", settings, None).await
}

/// The provider's templates are read.
async fn synced(stage: &Stage, account: AccountId) {
    whatsapp_templates::sync(&stage.engine, &stage.caller, &Repeat::NONE, account).await.unwrap();
}

fn invoice(number: &str) -> Value {
    json!({
        "number": number, "issue_date": "2026-11-29", "due_date": "2026-12-13", "currency": "EUR",
        "seller": {"name": "Acme"}, "buyer": {"name": "Ada {{ 7 * 7 }} Lovelace"},
        "lines": [{"description": "Consulting", "quantity": "2", "unit_price_micros": 50_000_000, "amount_micros": 100_000_000}],
        "totals": {"net_micros": 100_000_000, "total_micros": 100_000_000}
    })
}

fn to_ada(number: &str) -> Value {
    json!({"to": {"email": "ada@example.com"}, "channel": "email", "invoice": invoice(number)})
}

async fn try_send(stage: &Stage, request: Value) -> Result<Value, engine::Error> {
    invoice_deliveries::create(&stage.engine, &stage.caller, &Repeat::NONE, body(request))
        .await
        .map(|reply| read(&reply))
}

async fn send(stage: &Stage, request: Value) -> Value {
    try_send(stage, request).await.unwrap()
}

fn id(sent: &Value) -> InvoiceDeliveryId {
    sent["id"].as_str().unwrap().parse().unwrap()
}

async fn document(stage: &Stage, sent: &Value) -> Result<Vec<u8>, engine::Error> {
    let document = invoice_deliveries::document(&stage.engine, &stage.caller, id(sent)).await?;
    Ok(document.bytes.to_vec())
}

async fn contact(stage: &Stage, fields: Value) -> ContactId {
    let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(fields)).await.unwrap();
    read(&reply)["id"].as_str().unwrap().parse().unwrap()
}

fn channels(sent: &Value) -> Vec<&str> {
    sent["messages"].as_array().unwrap().iter().map(|m| m["channel"].as_str().unwrap()).collect()
}

/// The bodies of the requests made since the last look.
fn requests(stage: &Stage) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "");
    let calls = stage.world.transport.take_calls();
    calls
        .iter()
        .filter_map(|call| match &**call {
            Call::Smtp(call) => Some(text(&call.data)),
            Call::Http(call) => Some(text(&call.body)),
            Call::Local => None,
        })
        .collect()
}

testkit::both! {
    async fn an_invoice_arrives_as_the_pdf_that_can_be_asked_for_again(db: TestDb) {
        let stage = stage(&db).await;
        let sent = send(&stage, to_ada("2026/1")).await;
        assert_eq!((sent["document"]["filename"].as_str(), sent["messages"][0]["status"].as_str()), (Some("invoice-2026-1.pdf"), Some("queued")));
        stage.dispatch().await;
        let pdf = document(&stage, &sent).await.unwrap();
        assert!(pdf.starts_with(b"%PDF-") && pdf.len() as u64 == sent["document"]["size"]);
        let mail = requests(&stage).concat();
        assert!(mail.contains("invoice-2026-1.pdf") && mail.contains(&STANDARD.encode(&pdf)), "the very bytes are attached");
        assert!(mail.contains("Invoice 2026/1 from Acme"), "{}", &mail[..mail.len().min(2_000)]);
        let seen = invoice_deliveries::get(&stage.engine, &stage.caller, id(&sent)).await.unwrap();
        let seen = serde_json::to_value(seen).unwrap();
        assert_eq!(seen["messages"][0]["status"], "sent");
        assert_eq!(seen["total"], json!({"amount_micros": 100_000_000, "currency": "EUR"}));
    }

    async fn a_number_is_sent_once_unless_it_is_repeated_on_purpose(db: TestDb) {
        let stage = stage(&db).await;
        send(&stage, to_ada("7")).await;
        assert_eq!(code(try_send(&stage, to_ada("7")).await), "invoice_already_sent");
        let mut again = to_ada("7");
        again["resend"] = json!(true);
        assert_eq!(send(&stage, again).await["is_resend"], true);
        let (one, two) = tokio::join!(try_send(&stage, to_ada("8")), try_send(&stage, to_ada("8")));
        let refused: Vec<_> = [one, two].into_iter().filter_map(Result::err).map(|error| error.code).collect();
        assert_eq!(refused, ["invoice_already_sent"]);
        let query = invoice_deliveries::InvoiceDeliveryQuery { number: Some("7".to_owned()), ..Default::default() };
        assert_eq!(invoice_deliveries::list(&stage.engine, &stage.caller, query).await.unwrap().data.len(), 2);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "3", "what was refused sent nothing");
    }

    async fn a_repeated_request_is_answered_the_same(db: TestDb) {
        let stage = stage(&db).await;
        let key = repeat("once", "{}");
        let post = async || invoice_deliveries::create(&stage.engine, &stage.caller, &key, body(to_ada("9"))).await.unwrap();
        let (first, second) = (post().await, post().await);
        assert_eq!((first.status, first.replayed, second.replayed), (202, false, true));
        assert_eq!(first.body, second.body);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "1");
    }

    async fn a_dry_run_explains_and_leaves_nothing(db: TestDb) {
        let stage = stage(&db).await;
        let mut request = to_ada("10");
        request["dry_run"] = json!(true);
        let told = send(&stage, request).await;
        assert_eq!((told["dry_run"].as_bool(), told["messages"][0]["to"].as_str()), (Some(true), Some("ada@example.com")));
        assert_eq!(told["messages"][0]["content"]["subject"], "Invoice 10 from Acme");
        for table in ["SELECT CAST(COUNT(*) AS TEXT) FROM attachments", "SELECT CAST(COUNT(*) AS TEXT) FROM invoice_deliveries"] {
            assert_eq!(column(&db, table).await, "0");
        }
    }

    async fn whatsapp_gets_the_approved_template_with_the_document(db: TestDb) {
        let stage = stage(&db).await;
        let account = whatsapp(&stage).await;
        let request = json!({"to": {"phone": "+4915112345678"}, "channel": "whatsapp", "invoice": invoice("11")});
        assert_eq!(code(try_send(&stage, request.clone()).await), "no_invoice_template", "nothing was read from the provider yet");
        synced(&stage, account).await;
        requests(&stage);
        let sent = send(&stage, request).await;
        stage.dispatch().await;
        let posted: Value = serde_json::from_str(&requests(&stage).concat()).unwrap();
        assert_eq!(posted["template"]["name"], "invoice_whatsapp");
        let document_of = &posted["template"]["components"][0]["parameters"][0]["document"];
        assert_eq!(document_of["filename"], "invoice-11.pdf");
        let said = &posted["template"]["components"][1]["parameters"];
        assert_eq!((said[0]["text"].as_str(), said[2]["text"].as_str()), (Some("Ada {{ 7 * 7 }} Lovelace"), Some("EUR 100.00")), "a name is never read as a template");
        // The provider fetches the file without signing in, for a month.
        let link = document_of["link"].as_str().unwrap().to_owned();
        let token = link.rsplit('/').next().unwrap();
        let Response::Document(fetched) = stage.engine.tracked(token, false, "").await.unwrap() else { panic!("a document") };
        assert_eq!(fetched.bytes.to_vec(), document(&stage, &sent).await.unwrap());
        stage.world.clock.advance_ms(31 * 86_400_000);
        assert_eq!(stage.engine.tracked(token, false, "").await.err().map(|error| error.code), Some("not_found"));
        assert!(document(&stage, &sent).await.is_ok(), "its sender still has it");
    }

    async fn both_ways_go_together_or_not_at_all(db: TestDb) {
        let stage = stage(&db).await;
        let account = whatsapp(&stage).await;
        synced(&stage, account).await;
        let ada = contact(&stage, json!({"email": "ada@example.com", "phone": "+4915112345678"})).await;
        let bob = contact(&stage, json!({"email": "bob@example.com"})).await;
        let request = |to: ContactId, number: &str| json!({"to": {"contact_id": to}, "channel": "both", "invoice": invoice(number)});
        let sent = send(&stage, request(ada, "12")).await;
        assert_eq!(channels(&sent), ["email", "whatsapp"]);
        assert_eq!(sent["contact_id"], json!(ada));
        assert_eq!(pointers(try_send(&stage, request(bob, "13")).await), ["/to/contact_id"]);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "2");
    }

    async fn auto_follows_what_the_contact_prefers_and_allows(db: TestDb) {
        let stage = stage(&db).await;
        let account = whatsapp(&stage).await;
        synced(&stage, account).await;
        let ada = contact(&stage, json!({"email": "ada@example.com", "phone": "+4915112345678"})).await;
        let request = |number: &str| json!({"to": {"contact_id": ada}, "invoice": invoice(number)});
        assert_eq!(channels(&send(&stage, request("14")).await), ["email"]);
        let prefers = body(json!({"channels": {"invoice_delivery": "whatsapp"}}));
        stage.engine.patch_preferences(&stage.caller, ada, prefers).await.unwrap();
        let sent = send(&stage, request("15")).await;
        assert_eq!((channels(&sent), sent["reason"].as_str()), (vec!["whatsapp"], Some("The contact prefers whatsapp for invoices.")));
        let nobody = contact(&stage, json!({"telegram_chat_id": 5})).await;
        let refused = try_send(&stage, json!({"to": {"contact_id": nobody}, "invoice": invoice("16")})).await;
        assert_eq!(code(refused), "no_channel_for_invoice");
    }

    async fn a_ready_pdf_goes_as_it_is(db: TestDb) {
        let stage = stage(&db).await;
        let ready = |bytes: &[u8]| json!({"to": {"email": "ada@example.com"}, "channel": "email",
            "document": {"number": "17", "content_base64": STANDARD.encode(bytes), "total": {"amount_micros": 5_000_000, "currency": "USD"}}});
        assert_eq!(pointers(try_send(&stage, ready(b"<html>")).await), ["/document/content_base64"]);
        let sent = send(&stage, ready(b"%PDF-1.4 made elsewhere")).await;
        assert_eq!(document(&stage, &sent).await.unwrap(), b"%PDF-1.4 made elsewhere");
        let mut neither = to_ada("18");
        neither.as_object_mut().unwrap().remove("invoice");
        assert_eq!(pointers(try_send(&stage, neither).await), ["/invoice"]);
    }

    async fn sums_are_checked_before_anything_is_sent(db: TestDb) {
        let stage = stage(&db).await;
        let mut wrong = to_ada("19");
        wrong["invoice"]["totals"]["total_micros"] = json!(99_000_000);
        let refused = try_send(&stage, wrong).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/invoice/totals/total_micros");
        assert!(refused.errors[0].detail.contains("expected 100000000"), "{}", refused.errors[0].detail);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM messages").await, "0");
    }

    async fn a_tenants_own_template_is_taken(db: TestDb) {
        let stage = stage(&db).await;
        let new = body(json!({"name": "invoice-delivery", "channel": "email", "variants": {"en": {"subject": "Bill {{ invoice_number }}", "text": "Please pay {{ amount }} by {{ due_date }}."}}}));
        let made = templates::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let template = read(&made)["id"].as_str().unwrap().parse().unwrap();
        templates::publish(&stage.engine, &stage.caller, &Repeat::NONE, template, Default::default()).await.unwrap();
        send(&stage, to_ada("20")).await;
        stage.dispatch().await;
        let mail = requests(&stage).concat();
        assert!(mail.contains("Bill 20") && mail.contains("Please pay EUR 100.00 by 13 December 2026."), "{mail}");
    }

    async fn an_erased_contacts_invoice_is_gone(db: TestDb) {
        let stage = stage(&db).await;
        let ada = contact(&stage, json!({"email": "ada@example.com"})).await;
        let sent = send(&stage, to_ada("21")).await;
        stage.dispatch().await;
        assert_eq!(sent["contact_id"], json!(ada), "found behind the address");
        contacts::erase(&stage.engine, &stage.caller, &Repeat::NONE, ada).await.unwrap();
        assert_eq!(code(document(&stage, &sent).await), "document_gone");
    }
}
