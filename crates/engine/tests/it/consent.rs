//! Links of marketing mail, keywords, quiet hours and channels to fall back on, on both engines.

use engine::{
    consent::{
        links::Kind,
        pages::{Reach, Visitor},
        suppressions::SuppressionQuery,
    },
    once::Repeat,
};
use model::Call;
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer};

use crate::{
    hooks::{self, TOKEN, call, read, recount, signed_with, taken, told, twilio},
    setting::column,
};

fn marketing(to: &str) -> Value {
    json!({ "to": { "email": to }, "purpose": "marketing", "content": { "subject": "News", "text": "Hello. No more: {{ unsubscribe_url }} or {{ preferences_url }}" } })
}

async fn resend(db: &TestDb) -> Stage {
    let stage = Stage::in_world(World::answering(db, |_| http_answer(200, r#"{"id": "re_1"}"#))).await;
    stage
        .account("resend", json!({ "api_key": "re_12345678_abcdefghijklmnop" }), Some("Acme <news@acme.example>"))
        .await;
    stage
}

/// The last mail that left, as the provider got it.
fn mail(stage: &Stage) -> Value {
    let calls = stage.world.transport.calls();
    let Some(Call::Http(http)) = calls.last().map(|call| &**call) else { panic!("no mail left") };
    serde_json::from_slice(&http.body).unwrap()
}

fn token(url: &str) -> String {
    url.rsplit('/').next().unwrap().to_owned()
}

fn visitor() -> Visitor {
    Visitor { ip: Some("192.0.2.7".to_owned()), user_agent: None, text_shown: None }
}

async fn suppressions(stage: &Stage) -> Vec<(String, String, String)> {
    let page = read(stage.engine.suppressions(&stage.caller, &SuppressionQuery::default()).await);
    let word = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let rows = page["data"].as_array().unwrap().iter();
    rows.map(|row| (word(row, "address"), word(row, "reason"), word(row, "blocks"))).collect()
}

testkit::both! {
    async fn auto_follows_what_the_contact_prefers_allows_and_can_be_reached_by(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let new = serde_json::from_value(json!({ "email": "ada@example.com", "phone": "+4915112345678" })).unwrap();
        let reply = engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let contact = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].clone();
        let id: model::ContactId = contact.as_str().unwrap().parse().unwrap();
        let goes = async |purpose: &str, topic: &str| {
            let request = json!({ "to": { "contact_id": contact }, "channel": "auto", "purpose": purpose, "topic": topic, "content": { "subject": "Hi", "text": "Hello" } });
            let m = stage.try_send(request, None).await.unwrap();
            (m["channel"].as_str().unwrap().to_owned(), m["status"].as_str().unwrap().to_owned())
        };
        let is = |channel: &str, status: &str| (channel.to_owned(), status.to_owned());
        assert_eq!(goes("transactional", "invoice_delivery").await, is("email", "queued"));
        let prefers = serde_json::from_value(json!({ "channels": { "invoice_delivery": "sms" } })).unwrap();
        stage.engine.patch_preferences(&stage.caller, id, prefers).await.unwrap();
        assert_eq!(goes("transactional", "invoice_delivery").await, is("sms", "queued"));
        assert_eq!(goes("transactional", "general_updates").await, is("email", "queued"), "it chose for invoices only");
        assert_eq!(goes("marketing", "general_updates").await.1, "suppressed", "it allowed marketing nowhere");
        let yes = serde_json::from_value(json!({ "channel": "whatsapp", "state": "opted_in" })).unwrap();
        stage.engine.record_consent(&stage.caller, &Repeat::NONE, id, yes).await.unwrap();
        assert_eq!(goes("marketing", "general_updates").await, is("whatsapp", "queued"));
        let stop = serde_json::from_value(json!({ "channel": "sms", "address": "+4915112345678" })).unwrap();
        stage.engine.suppress(&stage.caller, &Repeat::NONE, stop).await.unwrap();
        stage.engine.directory.refresh().await.unwrap();
        assert_eq!(goes("transactional", "invoice_delivery").await, is("email", "queued"), "its preferred channel is closed");
        let dry = json!({ "to": { "contact_id": contact }, "channel": "auto", "topic": "invoice_delivery", "content": { "subject": "Hi", "text": "Hello" }, "dry_run": true });
        let reply = stage.engine.send(&stage.caller, dry.to_string().as_bytes(), None).await.unwrap();
        let explained: Value = serde_json::from_slice(&reply.body).unwrap();
        assert!(explained["route"].as_str().unwrap().contains("the contact prefers sms for invoice_delivery; passed over: sms (suppressed_manual)"), "{explained}");
    }

    async fn every_marketing_mail_can_be_ended_by_one_click(db: TestDb) {
        let stage = resend(&db).await;
        let id = stage.send(marketing("Ada@example.com")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
        let sent = mail(&stage);
        let header = sent["headers"]["List-Unsubscribe"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
        assert_eq!(sent["headers"]["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
        assert!(header.starts_with("https://tidings.example/u/"), "{header}");
        let text = sent["text"].as_str().unwrap();
        assert!(text.contains(&header) && text.contains("https://tidings.example/p/"), "{text}");

        let token = token(&header);
        let before = stage.engine.page(&token, Kind::Unsubscribe).await.unwrap();
        assert_eq!((before.is_off, before.address.as_str()), (false, "A\u{2022}\u{2022}\u{2022}@example.com"));
        assert_eq!(suppressions(&stage).await, [], "looking changes nothing");
        for _ in 0..2 {
            let after = stage.engine.unsubscribe(&token, visitor(), Reach::Channel).await.unwrap();
            assert!(after.is_off);
        }
        assert_eq!(suppressions(&stage).await, [("ada@example.com".to_owned(), "opted_out".to_owned(), "marketing".to_owned())]);
        assert_eq!(told(&stage).await, ["message.sent", "message.unsubscribed"]);
        let again = stage.send(marketing("ada@example.com")).await;
        let mut ticket = marketing("ada@example.com");
        ticket["purpose"] = json!("transactional");
        ticket["content"] = json!({ "subject": "Ticket", "text": "Yours" });
        let ticket = stage.send(ticket).await;
        stage.dispatch().await;
        assert_eq!((stage.status(again).await, stage.status(ticket).await), ("suppressed", "sent"));
        assert_eq!(mail(&stage)["headers"]["List-Unsubscribe"], Value::Null, "a ticket is no marketing");
        stage.engine.resubscribe(&token, visitor()).await.unwrap();
        assert_eq!(suppressions(&stage).await, []);
    }

    async fn a_forged_link_does_nothing(db: TestDb) {
        let stage = resend(&db).await;
        stage.send(marketing("ada@example.com")).await;
        stage.dispatch().await;
        let header = mail(&stage)["headers"]["List-Unsubscribe"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
        let good = token(&header);
        let mut forged = good.clone().into_bytes();
        let middle = forged.len() / 2;
        forged[middle] = if forged[middle] == b'A' { b'B' } else { b'A' };
        for bad in [String::from_utf8(forged).unwrap(), String::new(), "x".to_owned(), good[1..].to_owned()] {
            let refused = stage.engine.unsubscribe(&bad, visitor(), Reach::Channel).await.unwrap_err();
            assert_eq!((refused.code, refused.kind.status()), ("link_invalid", 404));
        }
        let other = stage.engine.page(&good, Kind::Preferences).await.unwrap_err();
        assert_eq!(other.code, "link_invalid", "a link is for one thing");
        assert_eq!(suppressions(&stage).await, []);
    }

    async fn stop_is_confirmed_once_and_start_takes_it_back(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        let wrote = |id: &'static str, text: &'static str| {
            signed_with(TOKEN, account, "", &[("MessageSid", id), ("From", "+4915112345678"), ("To", "+15550100001"), ("Body", text), ("NumMedia", "0")])
        };
        call(&stage, account, wrote("SM1", "Where is my ticket?")).await.unwrap();
        call(&stage, account, wrote("SM2", "yes")).await.unwrap();
        assert_eq!(suppressions(&stage).await, []);
        let waiting = {
            let mut later = hooks::sms();
            later["send_at"] = json!(hooks::now(&stage).plus_seconds(60).to_string());
            stage.send(later).await
        };
        call(&stage, account, wrote("SM3", " Stop. ")).await.unwrap();
        call(&stage, account, wrote("SM4", "STOP")).await.unwrap();
        assert_eq!(suppressions(&stage).await, [("+4915112345678".to_owned(), "opted_out".to_owned(), "everything".to_owned())]);
        stage.dispatch().await;
        let topics = column(&db, "SELECT topic FROM messages WHERE topic LIKE 'reply:%' AND status = 7").await;
        assert_eq!(topics, "reply:stop", "one confirmation, though it is suppressed by now");
        stage.world.clock.advance_ms(61_000);
        stage.dispatch().await;
        assert_eq!(stage.status(waiting).await, "suppressed");
        call(&stage, account, wrote("SM5", "please stop texting me")).await.unwrap();
        call(&stage, account, wrote("SM6", "START")).await.unwrap();
        assert_eq!(suppressions(&stage).await, []);
        let kinds = column(&db, "SELECT type FROM events WHERE type LIKE 'consent.%' OR type LIKE 'suppression.%' ORDER BY seq").await;
        assert_eq!(kinds, "suppression.added\nconsent.review_needed\nsuppression.removed");
    }

    async fn marketing_waits_for_the_end_of_quiet_hours(db: TestDb) {
        let stage = resend(&db).await;
        let now = hooks::now(&stage);
        let local = now.jiff().to_zoned(jiff::tz::TimeZone::UTC);
        let clock = |minutes: i64| {
            let at = &local + jiff::Span::new().minutes(minutes);
            format!("{:02}:{:02}", at.hour(), at.minute())
        };
        let patch = serde_json::from_value(json!({ "quiet_hours": { "from": clock(-60), "until": clock(60) } })).unwrap();
        stage.engine.patch_consent_policy(&stage.caller, patch).await.unwrap();
        let answer = stage.try_send(marketing("ada@example.com"), None).await.unwrap();
        assert_eq!(answer["status"], "scheduled");
        let id = answer["id"].as_str().unwrap().parse().unwrap();
        let mut late = marketing("ada@example.com");
        late["expires_at"] = json!(now.plus_seconds(600).to_string());
        let late = stage.send(late).await;
        let ticket = stage.send(json!({ "to": { "email": "ada@example.com" }, "content": { "subject": "Ticket", "text": "Yours" } })).await;
        stage.dispatch().await;
        assert_eq!((stage.status(id).await, stage.status(ticket).await), ("scheduled", "sent"));
        stage.pass(601_000).await;
        assert_eq!(stage.status(late).await, "expired");
        stage.world.clock.advance_ms(3_600_000);
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
    }

    async fn a_message_waits_again_when_its_turn_comes_in_quiet_hours(db: TestDb) {
        let stage = resend(&db).await;
        let mut later = marketing("ada@example.com");
        let now = hooks::now(&stage);
        later["send_at"] = json!(now.plus_seconds(60).to_string());
        let id = stage.send(later).await;
        let local = now.jiff().to_zoned(jiff::tz::TimeZone::UTC);
        let clock = |minutes: i64| {
            let at = &local + jiff::Span::new().minutes(minutes);
            format!("{:02}:{:02}", at.hour(), at.minute())
        };
        let patch = serde_json::from_value(json!({ "quiet_hours": { "from": clock(-60), "until": clock(60) } })).unwrap();
        stage.engine.patch_consent_policy(&stage.caller, patch).await.unwrap();
        stage.world.clock.advance_ms(61_000);
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert!(message.due_at.unwrap() > now.plus_seconds(1_800) && message.attempts == 0, "{message:?}");
        assert_eq!(stage.world.transport.calls().len(), 0);
        stage.world.clock.advance_ms(3_600_000);
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
    }

    async fn the_next_channel_takes_over_when_one_fails(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let request = json!({
            "to": { "phone": "+15005550001", "email": "ada@example.com" }, "channel": ["sms", "email"],
            "content": { "subject": "Hi", "text": "Hello" },
        });
        let id = stage.send(request).await;
        stage.dispatch().await;
        stage.pass(20_000).await;
        let message = stage.message(id).await;
        assert_eq!((message.channel.as_str(), message.address.as_str(), message.attempts), ("email", "ada@example.com", 2));
        assert!(message.status.was_accepted(), "{}", message.status);
        assert!(told(&stage).await.contains(&"message.fell_back".to_owned()));
        let kinds = column(&db, "SELECT kind FROM observations WHERE kind = 'fell_back'").await;
        assert_eq!(kinds, "fell_back");
        recount(&stage).await;
    }

    async fn a_suppressed_channel_is_passed_over(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let new = serde_json::from_value(json!({ "channel": "sms", "address": "+4915112345678" })).unwrap();
        stage.engine.suppress(&stage.caller, &engine::once::Repeat::NONE, new).await.unwrap();
        let request = json!({
            "to": { "phone": "+4915112345678", "email": "ada@example.com" }, "channel": ["sms", "email"],
            "content": { "subject": "Hi", "text": "Hello" },
        });
        let id = stage.send(request).await;
        stage.dispatch().await;
        let message = stage.message(id).await;
        assert_eq!((message.channel.as_str(), message.attempts, message.status.as_str()), ("email", 1, "sent"));
    }

    async fn what_was_sent_and_does_not_arrive_in_time_goes_on(db: TestDb) {
        let (stage, _) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({ }), None).await;
        let request = json!({
            "to": { "phone": "+4915112345678", "email": "ada@example.com" }, "channel": ["sms", "email"], "fallback_after_s": 60,
            "content": { "subject": "Hi", "text": "Hello" },
        });
        let id = stage.send(request).await;
        stage.dispatch().await;
        assert_eq!((stage.status(id).await, stage.message(id).await.channel.as_str()), ("sent", "sms"));
        stage.pass(59_000).await;
        assert_eq!(stage.message(id).await.channel.as_str(), "sms");
        stage.pass(30_000).await;
        let message = stage.message(id).await;
        assert_eq!(message.channel.as_str(), "email");
        assert!(message.status.was_accepted(), "{}", message.status);
        assert_eq!(told(&stage).await.iter().filter(|kind| *kind == "message.fell_back").count(), 1);
    }

    async fn what_arrived_stays_where_it_is(db: TestDb) {
        let (stage, account) = twilio(&db, |_| taken()).await;
        stage.account("sandbox", json!({}), None).await;
        let request = json!({
            "to": { "phone": "+4915112345678", "email": "ada@example.com" }, "channel": ["sms", "email"], "fallback_after_s": 60,
            "content": { "subject": "Hi", "text": "Hello" },
        });
        let id = stage.send(request.clone()).await;
        stage.dispatch().await;
        call(&stage, account, hooks::report(account, Some(id), hooks::SID, "delivered")).await.unwrap();
        stage.pass(120_000).await;
        assert_eq!((stage.status(id).await, stage.message(id).await.channel.as_str()), ("delivered", "sms"));
        assert!(!told(&stage).await.contains(&"message.fell_back".to_owned()));
    }

    async fn waiting_for_delivery_needs_a_next_channel(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let refused = async |extra: Value| {
            let mut request = json!({ "to": { "email": "ada@example.com" }, "content": { "subject": "Hi", "text": "Hello" } });
            request.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            stage.try_send(request, None).await.unwrap_err().errors[0].pointer.clone()
        };
        assert_eq!(refused(json!({ "fallback_after_s": 60 })).await, "/fallback_after_s");
        assert_eq!(refused(json!({ "channel": ["email", "sms"], "fallback_after_s": 5 })).await, "/fallback_after_s");
    }

    async fn a_question_is_answered_by_its_link_and_only_for_a_week(db: TestDb) {
        let stage = resend(&db).await;
        let new = serde_json::from_value(json!({ "email": "ada@example.com" })).unwrap();
        let reply = engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let contact: model::ContactId = serde_json::from_slice::<Value>(&reply.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        let ask = async || -> String {
            let new = serde_json::from_value(json!({ "channel": "email", "state": "pending" })).unwrap();
            stage.engine.record_consent(&stage.caller, &Repeat::NONE, contact, new).await.unwrap();
            stage.dispatch().await;
            let text = mail(&stage)["text"].as_str().unwrap().to_owned();
            let url = text.split_whitespace().find(|word| word.starts_with("https://tidings.example/c/")).unwrap().to_owned();
            token(&url)
        };
        let standing = async || -> Value {
            let page = stage.engine.consents(&stage.caller, contact, None, None).await.unwrap();
            serde_json::to_value(page).unwrap()
        };
        let late = ask().await;
        assert_eq!(standing().await["standing"][0]["state"], "pending");
        let held = stage.send(marketing("ada@example.com")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(held).await, "suppressed", "a question is no consent");
        stage.world.clock.advance_ms(8 * 86_400_000);
        assert_eq!(stage.engine.confirm(&late, visitor()).await.unwrap_err().code, "link_expired");
        let asked = ask().await;
        stage.engine.page(&asked, Kind::Confirm).await.unwrap();
        assert_eq!(standing().await["standing"][0]["state"], "pending", "looking changes nothing");
        stage.engine.confirm(&asked, visitor()).await.unwrap();
        stage.engine.confirm(&asked, visitor()).await.unwrap();
        let said = standing().await;
        assert_eq!((&said["standing"][0]["state"], &said["data"][0]["method"], &said["data"][0]["ip"]), (&json!("opted_in"), &json!("double_opt_in"), &json!("192.0.2.7")));
        let sent = stage.send(marketing("ada@example.com")).await;
        stage.dispatch().await;
        assert_eq!(stage.status(sent).await, "sent");
    }
}
