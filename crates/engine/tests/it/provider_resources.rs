//! What an account has at its provider besides messages: domains, senders, callbacks, WhatsApp templates, suppression lists.

use std::sync::{Arc, Mutex};

use engine::{
    accounts, campaigns, domains,
    once::{Repeat, Reply},
    senders, whatsapp_templates,
};
use model::{AccountId, Answer, Broken, Call, DnsKind, HttpCall};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, http_answer, smtp_accepted};

fn body(reply: Result<Reply, engine::Error>) -> Value {
    serde_json::from_slice(&reply.expect("it is done").body).expect("an answer is JSON")
}

async fn new_domain(stage: &Stage, account: AccountId, name: &str) -> Result<Reply, engine::Error> {
    let new = serde_json::from_value(json!({"name": name, "account_id": account})).unwrap();
    domains::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await
}

async fn new_sender(stage: &Stage, new: Value) -> Result<Reply, engine::Error> {
    let new = serde_json::from_value(new).unwrap();
    senders::create(stage.engine.parts(), &stage.caller, &Repeat::NONE, new).await
}

async fn verify(stage: &Stage, domain: &Value) -> Value {
    let id = domain["id"].as_str().unwrap().parse().unwrap();
    body(domains::verify(&stage.engine, &stage.caller, &Repeat::NONE, id).await)
}

fn publish(stage: &Stage, domain: &Value) {
    for record in domain["records"].as_array().unwrap() {
        let kind = match record["type"].as_str().unwrap() {
            "TXT" => DnsKind::Txt,
            "CNAME" => DnsKind::Cname,
            _ => DnsKind::Mx,
        };
        stage.world.zone.publish(record["name"].as_str().unwrap(), kind, record["value"].as_str().unwrap());
    }
}

/// A provider made of one function over HTTP requests.
fn provider(db: &TestDb, respond: impl Fn(&HttpCall) -> Result<Answer, Broken> + Send + Sync + 'static) -> World {
    World::answering(db, move |call| match call {
        Call::Http(http) => respond(http),
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => Ok(Answer::Local),
    })
}

async fn smtp(stage: &Stage) -> AccountId {
    let settings = json!({"host": "mail.acme.example", "username": "u", "password": "p"});
    stage.account("smtp", settings, Some("Acme <tickets@acme.example>")).await
}

async fn sent_mail(stage: &Stage) -> String {
    stage.world.transport.take_calls();
    stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
    stage.dispatch().await;
    match stage.world.transport.take_calls().first().map(|call| (**call).clone()) {
        Some(Call::Smtp(smtp)) => String::from_utf8(smtp.data.to_vec()).unwrap(),
        other => panic!("no mail left: {other:?}"),
    }
}

testkit::both! {
    async fn mails_of_a_mail_server_are_signed_once_the_records_stand(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = smtp(&stage).await;
        let domain = body(new_domain(&stage, account, "Acme.Example").await);
        assert_eq!((domain["name"].as_str(), domain["state"].as_str()), (Some("acme.example"), Some("pending")));
        let seen = verify(&stage, &domain).await;
        assert_eq!((seen["state"].as_str(), seen["records"][0]["state"].as_str()), (Some("pending"), Some("missing")));
        assert!(!sent_mail(&stage).await.contains("DKIM-Signature"));

        publish(&stage, &domain);
        let seen = verify(&stage, &domain).await;
        assert_eq!(seen["state"], "verified", "{seen}");
        let mail = sent_mail(&stage).await;
        assert!(mail.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{mail}");
        assert!(mail.contains("a=rsa-sha256") && mail.contains("d=acme.example"), "{mail}");

        // Somebody takes the keys away: the job notices within a day, and mails leave unsigned.
        for record in domain["records"].as_array().unwrap() {
            stage.world.zone.withdraw(record["name"].as_str().unwrap());
        }
        stage.world.clock.advance_ms(25 * 3_600_000);
        assert_eq!(domains::recheck(&stage.engine).await.unwrap(), 1);
        let id = domain["id"].as_str().unwrap().parse().unwrap();
        let seen = domains::get(stage.engine.parts(), &stage.caller, id).await.unwrap();
        assert_eq!(serde_json::to_value(&seen).unwrap()["state"], "failed");
        assert!(!sent_mail(&stage).await.contains("DKIM-Signature"));

        let again = new_domain(&stage, account, "acme.example").await.unwrap_err();
        assert_eq!(again.code, "domain_exists");
        domains::delete(stage.engine.parts(), &stage.caller, id).await.unwrap();
        assert_eq!(domains::get(stage.engine.parts(), &stage.caller, id).await.unwrap_err().code, "not_found");
    }

    async fn a_domain_waits_for_its_provider(db: TestDb) {
        let is_active = Arc::new(Mutex::new(false));
        let active = Arc::clone(&is_active);
        let world = provider(&db, move |call| {
            let state = if *active.lock().unwrap() { "active" } else { "unverified" };
            let records = json!([{"record_type": "TXT", "name": "mx._domainkey.acme.example", "value": "k=rsa; p=AAAA"}]);
            match (call.method, call.url.as_str()) {
                (model::Method::Get, _) => http_answer(404, r#"{"message": "Domain not found"}"#),
                _ => http_answer(200, json!({"domain": {"name": "acme.example", "state": state}, "sending_dns_records": records}).to_string()),
            }
        });
        let stage = Stage::in_world(world).await;
        let account = stage.account("mailgun", json!({"api_key": "k", "domain": "acme.example"}), Some("a@acme.example")).await;
        let domain = body(new_domain(&stage, account, "acme.example").await);
        assert_eq!(domain["records"].as_array().unwrap().len(), 2, "{domain}");
        let sender = body(new_sender(&stage, json!({"account_id": account, "from": "News <news@acme.example>"})).await);
        assert_eq!((sender["state"].as_str(), sender["kind"].as_str()), (Some("refused"), Some("email")));

        // A campaign that would go as somebody the provider refuses does not start.
        let new = json!({"email": "ada@example.com"});
        let ada = body(engine::contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, serde_json::from_value(new).unwrap()).await);
        let own = serde_json::from_value(json!({"from": "News <news@acme.example>"})).unwrap();
        accounts::patch(stage.engine.parts(), &stage.caller, account, own).await.unwrap();
        let campaign = json!({
            "name": "News", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [ada["id"]]}, "content": {"subject": "Hi", "text": "Hello"},
        });
        let made = body(campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, serde_json::from_value(campaign).unwrap()).await);
        let campaign = made["id"].as_str().unwrap().parse().unwrap();
        let start = async || campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, campaign, None).await;
        let blocked = start().await.unwrap_err();
        assert_eq!((blocked.code, blocked.action, blocked.errors[0].pointer.as_str()), ("campaign_blocked", Some("VERIFY_SENDER"), "/check/sender"));

        // What the provider would refuse is refused at once, by name.
        let message = json!({"to": {"email": "ada@example.com"}, "sender_id": sender["id"], "content": {"subject": "Hi", "text": "Hello"}});
        let refused = stage.try_send(message.clone(), None).await.unwrap_err();
        assert_eq!((refused.code, refused.errors[0].pointer.as_str()), ("sender_not_verified", "/sender_id"));

        *is_active.lock().unwrap() = true;
        publish(&stage, &domain);
        stage.world.clock.advance_ms(61_000);
        assert_eq!(domains::recheck(&stage.engine).await.unwrap(), 1);
        assert_eq!(domains::recheck(&stage.engine).await.unwrap(), 0);
        let accepted = stage.try_send(message, None).await.unwrap();
        assert_eq!(accepted["sender_id"], sender["id"]);
    }

    async fn a_message_leaves_as_the_sender_it_names(db: TestDb) {
        let stage = Stage::new(&db).await;
        let account = smtp(&stage).await;
        let sender = body(new_sender(&stage, json!({"account_id": account, "from": "News <news@acme.example>", "name": "Newsletter"})).await);
        let message = json!({"to": {"email": "ada@example.com"}, "sender_id": sender["id"], "content": {"subject": "Hi", "text": "Hello"}});
        let id = stage.send(message.clone()).await;
        stage.dispatch().await;
        let calls = stage.world.transport.take_calls();
        let Call::Smtp(mail) = &*calls[0] else { panic!("no mail left") };
        assert_eq!(mail.mail_from, "news@acme.example");
        assert!(String::from_utf8_lossy(&mail.data).contains("From: News <news@acme.example>"));
        let route = stage.message(id).await.route.unwrap();
        assert!(route.contains("the sender News <news@acme.example> was given"), "{route}");

        // It becomes the account's default, and the only one.
        let sender_id = sender["id"].as_str().unwrap().parse().unwrap();
        let change = serde_json::from_value(json!({"default": true})).unwrap();
        let after = senders::patch(stage.engine.parts(), &stage.caller, sender_id, change).await.unwrap();
        assert!(after.default);
        let shown = accounts::get(stage.engine.parts(), &stage.caller, account).await.unwrap();
        assert_eq!(shown.from.as_deref(), Some("News <news@acme.example>"));

        // A message that waits for a sender that is gone fails with the reason.
        let mut later = message.clone();
        later["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(60).to_string());
        let waiting = stage.send(later).await;
        senders::delete(stage.engine.parts(), &stage.caller, sender_id).await.unwrap();
        let refused = stage.try_send(message, None).await.unwrap_err();
        assert_eq!(refused.errors[0].pointer, "/sender_id");
        stage.pass(61_000).await;
        assert_eq!(stage.status(waiting).await, "failed");
        assert!(stage.message(waiting).await.failure.unwrap().contains("sender_gone"));
    }

    async fn callbacks_are_set_up_and_their_secrets_kept(db: TestDb) {
        let world = provider(&db, |call| match call.url.rsplit('/').next().unwrap() {
            "setWebhook" => http_answer(200, r#"{"ok": true, "result": true}"#),
            _ => http_answer(200, r#"{"ok": true, "result": {"url": ""}}"#),
        });
        let stage = Stage::in_world(world).await;
        let account = stage.account("telegram", json!({"bot_token": "1:A"}), None).await;
        let (parts, caller) = (stage.engine.parts(), &stage.caller);
        let before = accounts::callbacks(parts, caller, account).await.unwrap();
        assert_eq!((before.state, before.can_be_set), ("not_set", true));
        let done = body(accounts::set_callbacks(parts, caller, &Repeat::NONE, account).await);
        assert_eq!(done["state"], "set");
        let calls = stage.world.transport.calls();
        let Call::Http(call) = &**calls.last().unwrap() else { panic!("no request left") };
        let asked: Value = serde_json::from_slice(&call.body).unwrap();
        assert_eq!(asked["url"], format!("https://tidings.example/hooks/{account}"));
        assert_eq!(asked["secret_token"].as_str().unwrap().len(), 48);
        // The secret was made up, given to Telegram, and sealed.
        let shown = accounts::get(parts, caller, account).await.unwrap();
        assert!(shown.settings["secret_token"].as_str().unwrap().starts_with("••••"));
    }

    async fn templates_follow_their_provider(db: TestDb) {
        let status = Arc::new(Mutex::new("PENDING"));
        let now = Arc::clone(&status);
        let world = provider(&db, move |call| match call.method {
            model::Method::Post => http_answer(200, r#"{"id": "1", "status": "PENDING", "category": "UTILITY"}"#),
            model::Method::Delete => http_answer(200, r#"{"success": true}"#),
            _ => {
                let row = json!({"id": "1", "name": "order_update", "language": "en", "category": "MARKETING", "status": *now.lock().unwrap()});
                http_answer(200, json!({"data": [row]}).to_string())
            }
        });
        let stage = Stage::in_world(world).await;
        let settings = json!({"phone_number_id": "1", "access_token": "t", "business_account_id": "2"});
        let account = stage.account("whatsapp_cloud", settings, None).await;
        let (parts, caller) = (stage.engine.parts(), &stage.caller);
        let new = json!({"name": "order_update", "language": "en", "category": "UTILITY", "components": [{"type": "BODY", "text": "Hi"}]});
        let new = serde_json::from_value(new).unwrap();
        let made = body(whatsapp_templates::create(parts, caller, &Repeat::NONE, account, new).await);
        assert_eq!(made["status"], "submitted");

        *status.lock().unwrap() = "APPROVED";
        stage.world.clock.advance_ms(16 * 60_000);
        assert_eq!(whatsapp_templates::resync(&stage.engine).await.unwrap(), 1);
        let listed = whatsapp_templates::list(parts, caller, account, None, None).await.unwrap();
        let seen: Vec<_> = listed.data.iter().map(|t| (t.status.as_str(), t.category.as_str())).collect();
        assert_eq!(seen, [("approved", "MARKETING")]);
        let tenant = stage.tenant;
        let told = stage.world.ports.db.read(store::Scope::System, move |tx| {
            Box::pin(async move { tx.rows("SELECT type FROM events WHERE tenant_id = $1 AND type = 'whatsapp_template.updated'", &[&tenant]).await })
        });
        assert_eq!(told.await.unwrap().len(), 1);
        // Nothing changed, so nothing is told.
        body(whatsapp_templates::sync(&stage.engine, caller, &Repeat::NONE, account).await);
        whatsapp_templates::delete(parts, caller, account, "order_update").await.unwrap();
        assert!(whatsapp_templates::list(parts, caller, account, None, None).await.unwrap().data.is_empty());
    }

    async fn a_providers_lists_and_figures_are_shown_beside_ours(db: TestDb) {
        let world = provider(&db, |call| match call.url.contains("/v3/stats") {
            true => http_answer(403, r#"{"errors": [{"message": "access forbidden"}]}"#),
            false => http_answer(200, r#"[{"created": 1, "email": "ada@example.com", "reason": "550"}]"#),
        });
        let stage = Stage::in_world(world).await;
        let account = stage.account("sendgrid", json!({"api_key": "SG.k"}), Some("a@acme.example")).await;
        let (parts, caller) = (stage.engine.parts(), &stage.caller);
        let page = accounts::suppressions(parts, caller, account, Some("bounces"), None).await.unwrap();
        assert!(page.offered && page.data[0].address == "ada@example.com");
        // Our own counts are shown although the provider refuses its own.
        let stats = accounts::stats(parts, caller, account).await.unwrap();
        assert!(stats.provider.unwrap().trouble.unwrap().contains("access forbidden"));
        let sandbox = stage.account("sandbox", json!({}), None).await;
        assert!(!accounts::suppressions(parts, caller, sandbox, None, None).await.unwrap().offered);
        assert_eq!(accounts::stats(parts, caller, sandbox).await.unwrap().provider, None);
    }
}
