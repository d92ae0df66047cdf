//! Providers' requests: real, forged, repeated, shuffled, early and misdirected, on both engines.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;
use model::AccountId;
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer};
use tidings_engine::callbacks::{BODY_MAX, CallbackQuery, OwnedRequest};

use crate::hooks::{
    SID, TOKEN, call, log, neighbour, now, read, recount, report, signed_with, sms, taken, told, twilio, twilio_account,
};

/// A stage with a message that Twilio took.
async fn sent(db: &TestDb) -> (Stage, AccountId, model::MessageId) {
    let (stage, account) = twilio(db, |_| taken()).await;
    let id = stage.send(sms()).await;
    stage.dispatch().await;
    assert_eq!(stage.status(id).await, "sent");
    (stage, account, id)
}

fn bot_update(update: Value) -> OwnedRequest {
    OwnedRequest {
        method: "POST".to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-telegram-bot-api-secret-token".to_owned(), "s3cret-of-the-hook".to_owned()),
        ],
        body: update.to_string().into(),
        ..OwnedRequest::default()
    }
}

/// Resend tells that a mail waits to be fetched.
fn mail_waits(stage: &Stage, n: u8) -> OwnedRequest {
    let body = json!({ "type": "email.received", "data": { "email_id": format!("mail-{n}"), "to": ["r@reply.acme.example"] } }).to_string();
    let timestamp = now(stage).as_seconds().to_string();
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"secret");
    let signature = STANDARD.encode(hmac::sign(&key, format!("n{n}.{timestamp}.{body}").as_bytes()));
    let header = |name: &str, value: String| (format!("svix-{name}"), value);
    OwnedRequest {
        method: "POST".to_owned(),
        headers: vec![
            header("id", format!("n{n}")),
            header("timestamp", timestamp),
            header("signature", format!("v1,{signature}")),
        ],
        body: body.into(),
        ..OwnedRequest::default()
    }
}

async fn telegram(db: &TestDb) -> (Stage, AccountId) {
    let stage = Stage::in_world(World::answering(db, |_| http_answer(200, r#"{"ok": true, "result": true}"#))).await;
    let settings =
        json!({ "bot_token": "123456789:AAExampleExampleExampleExampleExample", "secret_token": "s3cret-of-the-hook" });
    let account = stage.account("telegram", settings, None).await;
    (stage, account)
}

/// A stage at the time Amazon signed its examples, and those examples: (name, request, is it genuine).
async fn ses(db: &TestDb) -> (Stage, AccountId, Vec<(String, OwnedRequest, bool)>) {
    let stage = Stage::in_world(World::answering(db, |call| match call {
        model::Call::Http(http) if http.url.ends_with(".pem") => {
            http_answer(200, include_str!("../../../connectors/tests/data/sns_cert.pem"))
        }
        _ => http_answer(200, r#"{"MessageId": "0100d9ef03f8978a-8ab15d86-000000"}"#),
    }))
    .await;
    stage.world.clock.set("2026-11-20T22:00:30Z".parse().unwrap());
    let settings = json!({ "access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "region": "us-east-1" });
    let account = stage.account("ses", settings, Some("Acme <s@example.com>")).await;
    let file: Value = serde_json::from_str(include_str!("../../../connectors/tests/data/sns_messages.json")).unwrap();
    let example = |case: &Value| {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        let request = OwnedRequest {
            method: "POST".to_owned(),
            headers,
            body: case["body"].to_string().into(),
            ..OwnedRequest::default()
        };
        (case["name"].as_str().unwrap().to_owned(), request, case["valid"].as_bool().unwrap())
    };
    (stage, account, file["cases"].as_array().unwrap().iter().map(example).collect())
}

testkit::both! {
    async fn a_reply_answers_what_left_through_the_account_it_comes_to(db: TestDb) {
        let (stage, account, asked) = sent(&db).await;
        let other = stage.account("sandbox", json!({}), None).await;
        let mut newer = sms();
        newer["account_id"] = json!(other);
        let newer = stage.send(newer).await;
        stage.dispatch().await;
        let written = |n: u8| {
            let id = format!("SM{n}");
            signed_with(TOKEN, account, "", &[("MessageSid", id.as_str()), ("From", "+4915112345678"), ("To", "+15550100001"), ("Body", "Thanks")])
        };
        for told in join_all((0..3).map(|n| call(&stage, account, written(n)))).await {
            told.unwrap();
        }
        assert!(stage.message(asked).await.engagement.replied_at.is_some());
        assert_eq!(stage.message(newer).await.engagement.replied_at, None, "nobody wrote to the number it came from");
    }

    async fn a_report_moves_its_message_and_is_logged(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        assert_eq!(call(&stage, account, report(account, Some(id), SID, "delivered")).await, Ok(204));
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.delivered_at), ("delivered", Some(now(&stage))));
        assert_eq!(told(&stage).await, ["message.sent", "message.delivered"]);
        let log = log(&stage).await;
        assert_eq!(log.len(), 1);
        assert_eq!((&log[0]["verdict"], &log[0]["observed"], &log[0]["unmatched"]), (&json!("valid"), &json!(1), &json!(0)));
        assert!(log[0]["body"].as_str().unwrap().contains("MessageStatus=delivered"));
        assert_eq!((&log[0]["told"][0]["fact"], &log[0]["told"][0]["message_id"]), (&json!("delivered"), &json!(id)));
        recount(&stage).await;
    }

    async fn a_report_finds_its_message_by_the_providers_id(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        assert_eq!(call(&stage, account, report(account, None, SID, "delivered")).await, Ok(204));
        assert_eq!(stage.status(id).await, "delivered");
    }

    async fn five_at_once_are_one(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        let calls = (0..5).map(|_| call(&stage, account, report(account, Some(id), SID, "delivered")));
        assert_eq!(join_all(calls).await, vec![Ok(204); 5]);
        assert_eq!(call(&stage, account, report(account, Some(id), SID, "delivered")).await, Ok(204));
        assert_eq!(told(&stage).await, ["message.sent", "message.delivered"]);
        let log = log(&stage).await;
        assert_eq!((log.len(), &log[0]["repeats"]), (1, &json!(5)));
        let timeline = read(stage.engine.timeline(&stage.caller, id).await);
        let observed = timeline["data"].as_array().unwrap().iter().filter(|entry| entry["type"] == "observation").count();
        assert_eq!(observed, 1);
        recount(&stage).await;
    }

    async fn order_does_not_matter(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        for status in ["read", "delivered", "sent", "failed"] {
            assert_eq!(call(&stage, account, report(account, Some(id), SID, status)).await, Ok(204));
            assert_eq!(stage.status(id).await, "read");
        }
        assert_eq!(told(&stage).await, ["message.sent", "message.read"]);
        recount(&stage).await;
    }

    async fn many_at_once_share_transactions_and_all_arrive(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let mut ids = Vec::new();
        for _ in 0..40 {
            ids.push(stage.send(sms()).await);
        }
        stage.dispatch().await;
        let calls = ids.iter().enumerate().map(|(n, id)| {
            call(&stage, account, report(account, Some(*id), &format!("SM{n:032}"), "delivered"))
        });
        assert!(join_all(calls).await.iter().all(|answer| *answer == Ok(204)));
        for id in &ids {
            assert_eq!(stage.status(*id).await, "delivered");
        }
        assert_eq!(log(&stage).await.len(), 40);
        recount(&stage).await;
    }

    async fn a_forged_request_is_refused_and_changes_nothing(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        let forged = |token: &str| signed_with(token, account, &format!("attempt={}", id.attempt(1)), &[("MessageSid", SID), ("MessageStatus", "delivered")]);
        let mut unsigned = forged(TOKEN);
        unsigned.headers.retain(|(name, _)| name != "x-twilio-signature");
        let mut truncated = forged(TOKEN);
        truncated.body = truncated.body.slice(..truncated.body.len() - 1);
        let mut moved = forged(TOKEN);
        moved.query.clear();
        let mut binary = forged(TOKEN);
        binary.body = vec![0xff, 0xfe, 0, 0x80].into();
        for request in [forged("ffffffffffffffffffffffffffffffff"), unsigned, truncated, moved, binary] {
            let refused = call(&stage, account, request).await.unwrap_err();
            assert_eq!((refused.code, refused.kind.status()), ("callback_not_verified", 401));
        }
        assert_eq!((stage.status(id).await, told(&stage).await), ("sent", vec!["message.sent".to_owned()]));
        let invalid = log(&stage).await;
        assert_eq!(invalid.len(), 5);
        assert!(invalid.iter().all(|row| row["verdict"] == "invalid" && row["detail"].is_string()));
        // The real one still counts: what was forged does not stand in its way.
        assert_eq!(call(&stage, account, forged(TOKEN)).await, Ok(204));
        assert_eq!(stage.status(id).await, "delivered");
    }

    async fn an_attacker_cannot_fill_the_log(db: TestDb) {
        let (stage, account, _) = sent(&db).await;
        let mut noise = signed_with("no", account, "", &[("MessageSid", SID)]);
        noise.body = vec![b'x'; BODY_MAX].into();
        noise.headers.push(("authorization".to_owned(), "Bearer of-somebody".to_owned()));
        noise.headers.push(("cookie".to_owned(), "session=1".to_owned()));
        for _ in 0..40 {
            assert!(call(&stage, account, noise.clone()).await.is_err());
        }
        let invalid = log(&stage).await;
        assert_eq!(invalid.len(), 30);
        assert_eq!(invalid[0]["size"], json!(BODY_MAX));
        assert!(invalid[0]["body"].as_str().unwrap().len() <= 4_096);
        let headers = invalid[0]["headers"].to_string();
        assert!(!headers.contains("of-somebody") && !headers.contains("session=1") && headers.contains("authorization"));
        stage.world.clock.advance_ms(60_000);
        assert!(call(&stage, account, noise).await.is_err());
        let query = CallbackQuery { limit: Some(500), ..CallbackQuery::default() };
        assert_eq!(read(stage.engine.callback_log(&stage.caller, &query).await)["data"].as_array().unwrap().len(), 31);
    }

    async fn what_is_forged_keeps_nothing_of_the_providers_out_of_the_log(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| testkit::broken_before("connect_refused"))).await;
        let settings = json!({ "api_key": "re_12345678_abcdefghijklmnop", "webhook_secret": format!("whsec_{}", STANDARD.encode("secret")), "reply_domain": "reply.acme.example" });
        let account = stage.account("resend", settings, Some("Acme <news@acme.example>")).await;
        let forged = OwnedRequest { body: mail_waits(&stage, 2).body, ..mail_waits(&stage, 1) };
        for _ in 0..40 {
            assert_eq!(call(&stage, account, forged.clone()).await.unwrap_err().kind.status(), 401);
        }
        // Rightly signed, and what it tells of cannot be fetched.
        assert_eq!(call(&stage, account, mail_waits(&stage, 1)).await.unwrap_err().kind.status(), 503);
        let query = CallbackQuery { limit: Some(500), ..CallbackQuery::default() };
        let log = read(stage.engine.callback_log(&stage.caller, &query).await);
        let count = |verdict: &str| log["data"].as_array().unwrap().iter().filter(|row| row["verdict"] == verdict).count();
        assert_eq!((count("invalid"), count("unreadable")), (30, 1), "{log}");
    }

    async fn a_request_that_is_too_large_or_to_nobody_is_refused(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        let mut large = report(account, Some(id), SID, "delivered");
        large.body = vec![0; BODY_MAX + 1].into();
        assert_eq!(call(&stage, account, large).await.unwrap_err().kind.status(), 413);
        let nobody = AccountId::from_ulid(7);
        assert_eq!(call(&stage, nobody, report(nobody, None, SID, "sent")).await.unwrap_err().kind.status(), 404);
        let mail = stage.account("smtp", json!({ "host": "mail.example.com", "port": 25, "security": "none" }), Some("a@example.com")).await;
        // Bounces may be posted to it, but only by who knows its secret.
        assert_eq!(call(&stage, mail, report(mail, None, SID, "sent")).await.unwrap_err().kind.status(), 401);
        tidings_engine::accounts::delete(stage.engine.parts(), &stage.caller, account).await.unwrap();
        assert_eq!(call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap_err().kind.status(), 404);
        assert_eq!(stage.status(id).await, "sent");
    }

    async fn another_tenants_message_is_never_touched(db: TestDb) {
        let (stage, _, id) = sent(&db).await;
        let other = neighbour(&stage).await;
        let theirs = twilio_account(&other).await;
        // Their own provider account, rightly signed, but about our message: by our echo and by the provider's id.
        assert_eq!(call(&other, theirs, report(theirs, Some(id), SID, "delivered")).await, Ok(204));
        assert_eq!(call(&other, theirs, report(theirs, None, SID, "read")).await, Ok(204));
        assert_eq!((stage.status(id).await, told(&stage).await), ("sent", vec!["message.sent".to_owned()]));
        let seen = log(&other).await;
        assert!(seen.iter().all(|row| row["unmatched"] == json!(1)), "{seen:?}");
        assert!(seen.iter().all(|row| row["told"][0]["message_id"].is_null() && row["told"][0]["fact"].is_string()), "{seen:?}");
        assert!(log(&stage).await.is_empty());
    }

    async fn another_account_of_the_same_tenant_speaks_for_its_own_messages_only(db: TestDb) {
        let (stage, _, id) = sent(&db).await;
        let second = twilio_account(&stage).await;
        assert_eq!(call(&stage, second, report(second, Some(id), SID, "delivered")).await, Ok(204));
        assert_eq!(stage.status(id).await, "sent");
        assert_eq!(log(&stage).await[0]["unmatched"], json!(1));
    }

    async fn a_report_that_is_quicker_than_our_own_commit_is_kept_and_matched(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.world.transport.hold();
        let dispatch = async { stage.dispatch().await };
        let early = async {
            while stage.world.transport.calls().is_empty() {
                tokio::task::yield_now().await;
            }
            // Without our echo: the id is not known to us yet.
            assert_eq!(call(&stage, account, report(account, None, SID, "delivered")).await, Ok(204));
            assert_eq!(log(&stage).await[0]["unmatched"], json!(1));
            stage.world.transport.release();
        };
        tokio::join!(dispatch, early);
        assert_eq!(stage.status(id).await, "delivered");
        assert_eq!(told(&stage).await, ["message.sent", "message.delivered"]);
        recount(&stage).await;
    }

    async fn an_echo_matches_while_the_attempt_is_under_way(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let id = stage.send(sms()).await;
        stage.world.transport.hold();
        let dispatch = async { stage.dispatch().await };
        let early = async {
            while stage.world.transport.calls().is_empty() {
                tokio::task::yield_now().await;
            }
            assert_eq!(call(&stage, account, report(account, Some(id), SID, "delivered")).await, Ok(204));
            assert_eq!(stage.status(id).await, "delivered");
            stage.world.transport.release();
        };
        tokio::join!(dispatch, early);
        let message = stage.message(id).await;
        assert_eq!((message.status.as_str(), message.attempts, message.due_at), ("delivered", 1, None));
        assert_eq!(stage.world.transport.calls().len(), 1);
        recount(&stage).await;
    }

    async fn reports_that_passed_our_commit_are_found_by_the_sweep(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        let payload = json!({ "fact": { "fact": "delivered" }, "at": now(&stage).to_string(), "provider_status": "delivered", "segments": null, "price": null });
        let early = store::reports::EarlyReport {
            account_id: account,
            provider_message_id: SID.to_owned(),
            dedupe: "d".to_owned(),
            tenant_id: stage.tenant,
            report: payload.to_string(),
            received_at: now(&stage),
        };
        let keep = db.write(store::Scope::System, move |tx| Box::pin(async move { store::reports::insert_early(tx, &[early]).await }));
        keep.await.unwrap();
        assert_eq!(tidings_engine::callbacks::rematch(&stage.engine).await, Ok(1));
        assert_eq!(stage.status(id).await, "delivered");
        assert_eq!(tidings_engine::callbacks::rematch(&stage.engine).await, Ok(0));
    }

    async fn an_unknown_id_is_answered_and_visible(db: TestDb) {
        let (stage, account, _) = sent(&db).await;
        assert_eq!(call(&stage, account, report(account, None, "SMffffffffffffffffffffffffffffffff", "delivered")).await, Ok(204));
        assert_eq!((&log(&stage).await[0]["observed"], &log(&stage).await[0]["unmatched"]), (&json!(1), &json!(1)));
    }

    async fn a_message_from_a_person_is_stored_once_and_told_once(db: TestDb) {
        let (stage, account, _) = sent(&db).await;
        let text = |segments: &str| signed_with(TOKEN, account, "", &[
            ("MessageSid", "SM11111111111111111111111111111111"), ("SmsStatus", "received"), ("From", "+15550109999"),
            ("To", "+15550100001"), ("Body", "=HELLO ☂"), ("NumSegments", segments),
        ]);
        // The same message in three requests, the third not the same byte for byte.
        for segments in ["1", "1", "2"] {
            let reply = stage.engine.callback(account, text(segments), None).await.unwrap();
            assert_eq!((reply.status, reply.body), (200, Some(("text/xml", "<Response></Response>".to_owned()))));
        }
        assert_eq!(told(&stage).await, ["message.sent", "message.received"]);
        let list = read(stage.engine.inbound_messages(&stage.caller, &Default::default()).await);
        assert_eq!(list["data"].as_array().unwrap().len(), 1);
        let id = list["data"][0]["id"].as_str().unwrap().parse().unwrap();
        let one = read(stage.engine.inbound_message(&stage.caller, id).await);
        assert_eq!((&one["from"], &one["text"], &one["channel"], &one["to"]), (&json!("+15550109999"), &json!("=HELLO ☂"), &json!("sms"), &json!("+15550100001")));
        let other = neighbour(&stage).await;
        assert_eq!(other.engine.inbound_message(&other.caller, id).await.unwrap_err().code, "not_found");
        let from = tidings_engine::inbound::InboundQuery { from: Some("+1".to_owned()), ..Default::default() };
        assert_eq!(read(stage.engine.inbound_messages(&stage.caller, &from).await)["data"], json!([]));
    }

    async fn a_pressed_button_is_answered_and_the_secret_stays_secret(db: TestDb) {
        let (stage, account) = telegram(&db).await;
        let update = json!({ "update_id": 1, "callback_query": { "id": "77", "data": "yes", "from": { "id": 5, "first_name": "Ada" },
            "message": { "message_id": 3, "chat": { "id": 5 } } } });
        assert_eq!(call(&stage, account, bot_update(update)).await, Ok(200));
        let mut row = log(&stage).await.remove(0);
        while row["detail"].is_null() {
            tokio::task::yield_now().await;
            row = log(&stage).await.remove(0);
        }
        assert_eq!(row["detail"], json!(r#"The call it asked for was answered 200: {"ok": true, "result": true}"#));
        let calls = stage.world.transport.calls();
        assert!(matches!(&*calls[0], model::Call::Http(http) if http.url.ends_with("/answerCallbackQuery")));
        assert!(!row.to_string().contains("s3cret"), "{row}");
        let inbound = read(stage.engine.inbound_messages(&stage.caller, &Default::default()).await);
        assert_eq!((&inbound["data"][0]["button"], &inbound["data"][0]["from_name"]), (&json!("yes"), &json!("Ada")));
    }

    async fn what_cannot_be_read_is_stored_and_answered(db: TestDb) {
        let (stage, account) = telegram(&db).await;
        for body in ["{", "", "\u{0}", "[[[[[[[[[[", r#"{"update_id": "x"}"#] {
            let request = OwnedRequest { body: body.to_owned().into(), ..bot_update(json!({})) };
            assert_eq!(call(&stage, account, request).await, Ok(200), "{body:?}");
        }
        let deep = OwnedRequest { body: "[".repeat(100_000).into(), ..bot_update(json!({})) };
        assert_eq!(call(&stage, account, deep).await, Ok(200));
        let invalid_utf8 = OwnedRequest { body: vec![b'{', 0xff, b'}'].into(), ..bot_update(json!({})) };
        assert_eq!(call(&stage, account, invalid_utf8).await, Ok(200));
        let log = log(&stage).await;
        assert_eq!(log.iter().filter(|row| row["verdict"] == "unreadable").count(), 6, "{log:?}");
        assert!(log.iter().any(|row| row["body_encoding"] == "base64"));
        let id = log[0]["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(read(stage.engine.callback_entry(&stage.caller, id).await)["verdict"], json!("unreadable"));
    }

    async fn a_certificate_is_fetched_once_and_decides(db: TestDb) {
        let (stage, account, examples) = ses(&db).await;
        let mail = json!({ "to": { "email": "nobody@example.net" }, "content": { "subject": "Hi", "text": "Hello" } });
        let id = stage.send(mail).await;
        stage.dispatch().await;
        stage.world.transport.take_calls();
        let mut fetched_only = 0;
        for (name, request, is_genuine) in &examples {
            let answer = call(&stage, account, request.clone()).await;
            assert_eq!(answer.is_ok(), *is_genuine, "{name}: {answer:?}");
        }
        for call in stage.world.transport.calls() {
            fetched_only += usize::from(matches!(&*call, model::Call::Http(http) if http.url.ends_with(".pem")));
        }
        assert_eq!(fetched_only, 1);
        assert_eq!(stage.status(id).await, "bounced");
        recount(&stage).await;
    }

    async fn a_certificate_that_cannot_be_fetched_is_no_verdict(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| testkit::broken_before("connect_refused"))).await;
        stage.world.clock.set("2026-11-20T22:00:30Z".parse().unwrap());
        let settings = json!({ "access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "region": "us-east-1" });
        let account = stage.account("ses", settings, Some("Acme <s@example.com>")).await;
        let file: Value = serde_json::from_str(include_str!("../../../connectors/tests/data/sns_messages.json")).unwrap();
        let body = file["cases"][0]["body"].to_string();
        let request = OwnedRequest { method: "POST".to_owned(), body: body.into(), ..OwnedRequest::default() };
        for _ in 0..15 {
            let refused = call(&stage, account, request.clone()).await.unwrap_err();
            assert_eq!((refused.kind.status(), refused.retry_after_ms.is_some()), (503, true));
        }
        assert_eq!(stage.world.transport.calls().len(), 10, "an account has a budget for fetching");
        assert!(log(&stage).await.is_empty());
    }

    async fn what_small_notifications_tell_of_is_fetched_a_few_at_once(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |_| http_answer(200, r#"{"headers": {}, "from": "ada@mail.test", "message_id": "<1@mail.test>", "text": "Hi", "attachments": []}"#))).await;
        let settings = json!({ "api_key": "re_12345678_abcdefghijklmnop", "webhook_secret": format!("whsec_{}", STANDARD.encode("secret")), "reply_domain": "reply.acme.example" });
        let account = stage.account("resend", settings.clone(), Some("Acme <news@acme.example>")).await;
        let other = neighbour(&stage).await;
        let theirs = other.account("resend", settings, Some("Other <news@acme.example>")).await;
        stage.world.transport.hold();
        let notes: Vec<_> = (0..5).map(|n| mail_waits(&stage, n)).collect();
        // Two of this tenant's are being fetched: a third must come again, while another tenant's finds room.
        let mut two = join_all(notes[..2].iter().map(|note| call(&stage, account, note.clone())));
        while stage.world.transport.calls().len() < 2 {
            assert!(futures_util::poll!(&mut two).is_pending());
            tokio::task::yield_now().await;
        }
        let refused = call(&stage, account, notes[2].clone()).await.unwrap_err();
        assert_eq!((refused.kind.status(), refused.retry_after_ms.is_some()), (503, true), "{refused:?}");
        let mut another = Box::pin(call(&other, theirs, notes[3].clone()));
        while stage.world.transport.calls().len() < 3 {
            assert!(futures_util::poll!(&mut another).is_pending());
            tokio::task::yield_now().await;
        }
        stage.world.transport.release();
        assert_eq!((two.await, another.await), (vec![Ok(200), Ok(200)], Ok(200)));
        assert_eq!(call(&stage, account, notes[2].clone()).await, Ok(200), "room was given back");
        assert_eq!(stage.world.transport.calls().len(), 4);
    }

    async fn what_a_notification_tells_of_has_a_measure_in_all(db: TestDb) {
        let stage = Stage::in_world(World::answering(&db, |call| {
            let model::Call::Http(http) = call else { panic!("no mail leaves") };
            let padding = " ".repeat(7 << 20);
            match http.url.rsplit('/').next() {
                Some(end) if end.starts_with("attachments") => http_answer(200, format!(r#"{{"data": [{{"filename": "a", "download_url": "https://files.example/a"}}]}}{padding}"#)),
                Some("a") => Ok(model::Answer::Http(model::HttpAnswer { status: 200, is_truncated: true, ..Default::default() })),
                _ => http_answer(200, format!(r#"{{"headers": {{}}, "from": "ada@mail.test", "attachments": [{{}}]}}{padding}"#)),
            }
        }))
        .await;
        let settings = json!({ "api_key": "re_12345678_abcdefghijklmnop", "webhook_secret": format!("whsec_{}", STANDARD.encode("secret")), "reply_domain": "reply.acme.example" });
        let account = stage.account("resend", settings, Some("Acme <news@acme.example>")).await;
        assert_eq!(call(&stage, account, mail_waits(&stage, 1)).await, Ok(200));
        let calls = stage.world.transport.calls();
        let most: Vec<_> = calls.iter().map(|call| match &**call { model::Call::Http(http) => http.answer_max >> 20, _ => 0 }).collect();
        assert_eq!(most, [8, 8, 33], "the file gets what the texts left of 48");
        assert_eq!(log(&stage).await[0]["verdict"], "unreadable");
    }

    async fn the_log_forgets_after_a_month(db: TestDb) {
        let (stage, account, id) = sent(&db).await;
        call(&stage, account, report(account, Some(id), SID, "delivered")).await.unwrap();
        let other = neighbour(&stage).await;
        let theirs = twilio_account(&other).await;
        call(&other, theirs, report(theirs, None, SID, "delivered")).await.unwrap();
        assert_eq!(stage.engine.purge_callbacks().await, Ok(0));
        stage.world.clock.advance_ms(31 * 86_400_000);
        call(&stage, account, report(account, Some(id), SID, "read")).await.unwrap();
        assert_eq!(stage.engine.purge_callbacks().await, Ok(2));
        assert_eq!((log(&stage).await.len(), log(&other).await.len()), (1, 0));
    }
}
