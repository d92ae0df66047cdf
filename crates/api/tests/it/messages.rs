//! Messages from request to outcome, as a client sees them.

use serde_json::{Value, json};
use testkit::TestDb;

use crate::support::{Api, example_body, guarded};

fn mail(to: &str) -> Value {
    json!({
        "to": {"email": to}, "channel": "email", "purpose": "transactional",
        "content": {"subject": "Your ticket", "text": "Hello {{ name }}", "html": "<p>Hello {{ name }}</p>"},
        "variables": {"name": "Ada"}, "metadata": {"order": "42"},
    })
}

async fn with_sandbox(db: &TestDb) -> Api {
    let api = Api::new(db).await;
    api.post("/v1/accounts", &json!({"name": "Sandbox", "connector": "sandbox"})).send().await.ok(201);
    api
}

/// A small uploaded file, by its id.
pub async fn upload(api: &Api, key: &str) -> String {
    let call = api.call("POST", "/v1/attachments?filename=ticket.pdf").bearer(key);
    let made = call.header("content-type", "application/pdf").bytes("%PDF-1.7").send().await.ok(201);
    made["id"].as_str().unwrap().to_owned()
}

testkit::both! {
    async fn a_message_is_accepted_sent_and_told_of(db: TestDb) {
        let api = with_sandbox(&db).await;
        let accepted = api.post("/v1/messages", &mail("ada@example.com")).send().await.ok(202);
        assert_eq!((&accepted["status"], &accepted["to"]), (&json!("queued"), &json!("ada@example.com")));
        let path = format!("/v1/messages/{}", accepted["id"].as_str().unwrap());
        assert_eq!(api.get(&path).send().await.ok(200), accepted);
        api.stage.dispatch().await;
        api.stage.pass(20_000).await;
        assert_eq!(api.get(&path).send().await.ok(200)["status"], "read");
        let told = api.get(&format!("{path}/timeline")).send().await.ok(200);
        let types: Vec<_> = told["data"].as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect();
        assert_eq!(types[..3], ["accepted", "routed", "attempt"]);
        assert!(types.contains(&"observation") && types.contains(&"change"), "{types:?}");
        let told = api.get("/v1/analytics?interval=day&group_by=channel,country").send().await.ok(200);
        assert_eq!((&told["totals"]["accepted"], &told["data"][0]["accepted"]), (&json!(1), &json!(1)));
        assert!(api.get("/v1/analytics").header("accept", "text/csv").send().await.text().starts_with("accepted,sent,"));
        assert_eq!(api.get("/v1/analytics?since=soon").send().await.pointers(), ["?since"]);
        let unknown = api.get("/v1/analytics?colour=red").send().await;
        assert!(unknown.pointers() == ["?colour"] && unknown.text().contains("`format`"), "{}", unknown.text());
        let usage = api.get("/v1/usage?group_by=channel,provider").send().await.ok(200);
        assert_eq!((&usage["data"][0]["provider"], &usage["totals"]["read"]), (&json!("sandbox"), &json!(1)));
        let table = api.get("/v1/usage?group_by=channel").header("accept", "text/csv").send().await;
        assert_eq!(table.header("content-type"), Some("text/csv; charset=utf-8"));
        assert!(table.text().starts_with("month,channel,accepted,sent"), "{}", table.text());
        assert_eq!(api.get("/v1/usage?group_by=channel&format=csv").send().await.text(), table.text());
        let all = api.get("/v1/usage").for_operator().send().await.ok(200);
        assert_eq!(all["data"][0]["tenant_id"], api.stage.tenant.to_string());
    }

    async fn tables_are_to_be_had_by_the_query_and_by_the_header(db: TestDb) {
        let api = with_sandbox(&db).await;
        api.post("/v1/messages", &mail("ada@example.com")).send().await.ok(202);
        for path in ["/v1/analytics", "/v1/usage", "/v1/credits/entries", "/v1/dead-letters/export", "/v1/suppressions/export", "/v1/audit-log/export", "/v1/contacts/export"] {
            let by_query = api.get(&format!("{path}?format=csv")).send().await;
            assert_eq!((by_query.status.as_u16(), by_query.header("content-type")), (200, Some("text/csv; charset=utf-8")), "{path}: {}", by_query.text());
            let by_header = api.get(path).header("accept", "text/csv").send().await;
            assert_eq!(by_header.header("content-type"), Some("text/csv; charset=utf-8"), "{path}");
            let header = |text: String| text.lines().next().map(str::to_owned);
            assert_eq!(header(by_header.text()), header(by_query.text()), "{path}");
            assert_eq!(api.get(&format!("{path}?format=xml")).send().await.pointers(), ["?format"], "{path}");
        }
    }

    async fn a_repeated_request_is_answered_alike_and_done_once(db: TestDb) {
        let api = with_sandbox(&db).await;
        let post = |to: &str| api.post("/v1/messages", &mail(to)).keyed("order-42").send();
        let (first, second) = (post("ada@example.com").await, post("ada@example.com").await);
        assert_eq!((first.ok(202), first.header("idempotency-replayed")), (second.ok(202), None));
        assert_eq!(second.header("idempotency-replayed"), Some("true"));
        assert_eq!(post("bob@example.com").await.problem(422), "idempotency_key_reused");
        assert_eq!(api.get("/v1/messages").send().await.ok(200)["data"].as_array().unwrap().len(), 1);
        // Another tenant's keys are its own.
        let (_, other) = api.another_tenant().await;
        api.post("/v1/accounts", &json!({"name": "S", "connector": "sandbox"})).bearer(&other).send().await.ok(201);
        api.post("/v1/messages", &mail("bob@example.com")).bearer(&other).keyed("order-42").send().await.ok(202);
        // A refusal is not kept: the same key may be used once the request is put right.
        let wrong = json!({"to": {"email": "ada"}, "content": {"text": "x"}});
        assert_eq!(api.post("/v1/messages", &wrong).keyed("order-43").send().await.problem(422), "invalid_request");
        api.post("/v1/messages", &mail("ada@example.com")).keyed("order-43").send().await.ok(202);
    }

    async fn a_batch_answers_for_each_message(db: TestDb) {
        let api = with_sandbox(&db).await;
        let batch = json!({"messages": [mail("ada@example.com"), {"to": {"phone": "555"}, "channel": "sms", "content": {"text": "x"}}, mail("bob@example.com")]});
        let post = || api.post("/v1/messages/batch", &batch).keyed("batch-1").send();
        let answer = post().await.ok(202);
        let rows = answer["data"].as_array().unwrap();
        assert!(rows[0]["id"].is_string() && rows[2]["id"].is_string());
        assert_eq!((&rows[1]["error"]["status"], &rows[1]["error"]["errors"][0]["pointer"]), (&json!(422), &json!("/to/phone")));
        assert_eq!(post().await.ok(202), answer);
        assert_eq!(api.get("/v1/messages").send().await.ok(200)["data"].as_array().unwrap().len(), 2);
        let empty = api.post("/v1/messages/batch", &json!({"messages": []})).send().await;
        assert_eq!(empty.pointers(), ["/messages"]);
    }

    async fn a_message_is_withdrawn_or_tried_again(db: TestDb) {
        let api = with_sandbox(&db).await;
        let mut later = mail("ada@example.com");
        later["send_at"] = json!("2026-11-22T09:30:00Z");
        let waiting = api.post("/v1/messages", &later).send().await.ok(202);
        assert_eq!(waiting["status"], "scheduled");
        let cancel = format!("/v1/messages/{}/cancel", waiting["id"].as_str().unwrap());
        assert_eq!(api.call("POST", &cancel).send().await.ok(200)["status"], "canceled");
        assert_eq!(api.call("POST", &cancel).send().await.problem(409), "message_not_cancelable");
        let retry = cancel.replace("/cancel", "/retry");
        assert_eq!(api.call("POST", &retry).send().await.problem(409), "message_not_retryable");
        // `{}` is as good as nothing; anything else is not.
        assert_eq!(api.post(&retry, &json!({})).send().await.problem(409), "message_not_retryable");
        assert_eq!(api.post(&retry, &json!({"now": true})).send().await.pointers(), ["/now"]);
    }

    async fn pages_lead_to_every_message_once(db: TestDb) {
        let api = with_sandbox(&db).await;
        let mut ids = Vec::new();
        for n in 0..7 {
            let accepted = api.post("/v1/messages", &mail(&format!("ada{n}@example.com"))).send().await.ok(202);
            ids.insert(0, accepted["id"].clone());
        }
        let (mut seen, mut path) = (Vec::new(), "/v1/messages?limit=3".to_owned());
        loop {
            let page = api.get(&path).send().await.ok(200);
            seen.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].clone()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            // What comes meanwhile is newer, and not on later pages.
            api.post("/v1/messages", &mail("new@example.com")).send().await.ok(202);
            path = format!("/v1/messages?limit=3&cursor={cursor}");
            let other_list = api.get(&format!("/v1/accounts?cursor={cursor}")).send().await;
            assert_eq!(other_list.problem(400), "invalid_cursor");
        }
        assert_eq!(seen, ids);
        let found = api.get("/v1/messages?q=ada3@example.com&status=queued").send().await.ok(200);
        assert_eq!(found["data"].as_array().unwrap().len(), 1);
    }

    async fn dead_letters_are_listed_exported_and_tried_again(db: TestDb) {
        let api = with_sandbox(&db).await;
        // The sandbox's provider is away for this address.
        let dead = api.post("/v1/messages", &mail("unavailable@example.com")).send().await.ok(202);
        api.stage.dispatch().await;
        api.stage.pass(600_000).await;
        let listed = api.get("/v1/dead-letters").send().await.ok(200);
        assert_eq!((&listed["data"][0]["id"], &listed["data"][0]["status"]), (&dead["id"], &json!("failed")));
        let lines = api.get("/v1/dead-letters/export").send().await;
        assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
        assert!(lines.text().starts_with("{\"id\":\"msg_") && lines.text().ends_with("}\n"), "{}", lines.text());
        let table = api.get("/v1/dead-letters/export?format=csv").send().await;
        assert!(table.text().starts_with("id,created_at,dead_at,"), "{}", table.text());
        let wrong = api.get("/v1/dead-letters/export?format=pdf").send().await;
        assert_eq!((wrong.problem(400), wrong.pointers()), ("invalid_query".to_owned(), vec!["?format".to_owned()]));
        let again = api.post("/v1/dead-letters/retry", &json!({"all": true})).keyed("again").send().await.ok(202);
        assert_eq!((&again["data"][0]["status"], &again["has_more"]), (&json!("queued"), &json!(false)));
        assert_eq!(api.get("/v1/dead-letters").send().await.ok(200)["data"], json!([]));
    }
}

#[test]
fn a_dry_run_explains_and_sends_nothing() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = with_sandbox(&db).await;
        let mut request = mail("ada@example.com");
        request["dry_run"] = json!(true);
        let told = api.post("/v1/messages", &request).send().await.ok(200);
        assert_eq!((&told["connector"], &told["content"]["text"]), (&json!("sandbox"), &json!("Hello Ada")));
        assert_eq!(api.get("/v1/messages").send().await.ok(200)["data"], json!([]));
    });
}

/// The document's shapes of contents are the engine's.
#[test]
fn every_documented_field_of_a_content_is_taken_and_no_other() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = with_sandbox(&db).await;
        let media = json!([{"type": "image", "url": "https://acme.example/a.png", "caption": "c", "filename": "f"}]);
        let place = json!({"latitude": 52.5, "longitude": 13.4, "name": "n", "address": "a"});
        let template = json!({"name": "t", "language": "en_US", "components": []});
        let button = json!({"text": "Open", "data": "x"});
        let whole = [
            (
                "EmailContent",
                "email",
                json!({"email": "ada@example.com"}),
                json!({"subject": "s", "text": "t", "html": "h", "reply_to": "r@example.com", "headers": {"X-A": "b"}, "attachments": []}),
            ),
            ("SmsContent", "sms", json!({"phone": "+15550100001"}), json!({"text": "t", "media": media})),
            (
                "WhatsappContent",
                "whatsapp",
                json!({"phone": "+15550100001"}),
                json!({"text": "t", "media": media, "buttons": [button], "location": place, "whatsapp_template": template}),
            ),
            (
                "TelegramContent",
                "telegram",
                json!({"telegram_chat_id": 42}),
                json!({"text": "t", "media": media, "buttons": [[button]], "location": place}),
            ),
            (
                "VoiceContent",
                "voice",
                json!({"phone": "+15550100001"}),
                json!({"say": "s", "voice": "v", "language": "en-GB"}),
            ),
        ];
        for (name, channel, to, content) in whole {
            let schema = &crate::support::DOCUMENT["components"]["schemas"][name];
            let documented: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
            assert_eq!(documented, content.as_object().unwrap().keys().collect::<Vec<_>>(), "{name}");
            let send = async |content: &Value| {
                let request = json!({"to": to, "channel": channel, "content": content, "dry_run": true, "variables": {"name": "Ada"}});
                api.post("/v1/messages", &request).send().await
            };
            // The sandbox need not carry all of it at once, but no field may be unknown.
            assert!(!send(&content).await.text().contains("unknown field"), "{name}");
            send(&schema["example"]).await.ok(200);
            let mut more = content.clone();
            more["zzz"] = json!(1);
            assert_eq!(send(&more).await.pointers(), ["/content/zzz"], "{name}");
        }
    });
}

#[test]
fn bad_messages_are_pointed_at() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = with_sandbox(&db).await;
        let (_, other_key) = api.another_tenant().await;
        let foreign = json!({"name": "S", "connector": "sandbox"});
        let foreign = api.post("/v1/accounts", &foreign).bearer(&other_key).send().await.ok(201)["id"].clone();
        let file = json!([{"attachment_id": upload(&api, &other_key).await}]);
        let check = async |change: Value, pointer: &str| {
            let mut request = mail("ada@example.com");
            for (name, value) in change.as_object().unwrap() {
                request[name] = value.clone();
            }
            let seen = api.post("/v1/messages", &request).send().await;
            assert_eq!(seen.status.as_u16(), 422, "{change}: {}", seen.text());
            assert_eq!(seen.pointers(), [pointer], "{change}: {}", seen.text());
        };
        check(json!({"to": {}}), "/to").await;
        check(json!({"to": {"email": "a@example.com", "phone": "+15550100001"}}), "/to").await;
        check(json!({"to": {"email": "no address"}}), "/to/email").await;
        check(json!({"to": {"phone": "0151 2345"}, "channel": "sms"}), "/to/phone").await;
        check(json!({"channel": "fax"}), "/channel").await;
        check(json!({"content": {"subject": "a\r\nBcc: x@example.com", "text": "x"}}), "/content/subject").await;
        check(json!({"account_id": foreign}), "/account_id").await;
        check(json!({"attachments": file}), "/attachments/0/attachment_id").await;
        check(
            json!({"attachments": [{"filename": "a", "content_type": "text/plain", "content_base64": "%%%"}]}),
            "/attachments/0/content_base64",
        )
        .await;
        check(json!({"send_at": "tomorrow"}), "/send_at").await;
        check(json!({"expires_at": "2020-01-01T00:00:00Z"}), "/expires_at").await;
        check(json!({"metadata": {"x": "y".repeat(17_000)}}), "/metadata").await;
        check(json!({"content": null, "template": {"name": "none"}}), "/template/name").await;
    });
}

#[test]
fn an_idempotency_key_that_is_none_is_refused_by_every_post() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = Api::new(&db).await;
        for (operation, described) in guarded().filter(|(operation, _)| operation.method == api::access::Verb::Post) {
            let path = crate::walls::concrete(operation, crate::walls::nobody);
            let is_operators = matches!(operation.access, api::access::Access::Operator(_));
            let key = if is_operators { &api.operator } else { &api.key };
            for bad in [&"x".repeat(256), "two words", "ключ"] {
                let body = example_body(described).unwrap_or_else(|| json!({}));
                let seen = api.post(&path, &body).bearer(key).keyed(bad).send().await;
                assert_eq!(seen.problem(400), "invalid_idempotency_key", "{operation:?}");
            }
        }
    });
}

#[test]
fn files_are_uploaded_as_they_are_or_as_json() {
    testkit::on_sqlite(async |db: TestDb| {
        let api = with_sandbox(&db).await;
        let id = upload(&api, &api.key).await;
        let as_json =
            json!({"filename": "Übersicht.pdf", "content_type": "application/pdf", "content_base64": "JVBERi0xLjc="});
        let made = api.post("/v1/attachments", &as_json).keyed("file").send().await.ok(201);
        assert_eq!(api.post("/v1/attachments", &as_json).keyed("file").send().await.ok(201), made);
        let listed = api.get("/v1/attachments").send().await.ok(200);
        assert_eq!((&listed["data"][0], &listed["data"][1]["id"]), (&made, &json!(id)));
        assert_eq!(listed["data"][0]["sha256"], listed["data"][1]["sha256"]);
        let file = api.get(&format!("/v1/attachments/{}/content", made["id"].as_str().unwrap())).send().await;
        assert_eq!(
            (file.status.as_u16(), file.text().as_str(), file.header("content-type")),
            (200, "%PDF-1.7", Some("application/pdf"))
        );
        assert_eq!(file.header("content-disposition"), Some("attachment; filename*=UTF-8''%C3%9Cbersicht.pdf"));
        let message = json!({"to": {"email": "ada@example.com"}, "content": {"subject": "s", "text": "t"}, "attachments": [{"attachment_id": id}]});
        api.post("/v1/messages", &message).send().await.ok(202);
        api.delete(&format!("/v1/attachments/{id}")).send().await.ok(204);
        assert_eq!(api.post("/v1/messages", &message).send().await.pointers(), ["/attachments/0/attachment_id"]);
        let large = api.call("POST", "/v1/attachments?filename=a.bin").bytes(vec![0; (25 << 20) + 1]).send().await;
        assert_eq!(large.problem(413), "body_too_large");
        let empty = api.call("POST", "/v1/attachments?filename=a.bin").send().await;
        assert_eq!(empty.status.as_u16(), 422, "{}", empty.text());
    });
}
