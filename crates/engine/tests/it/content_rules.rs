//! What a tenant allows its messages to say, wherever something is said.

use engine::{
    campaigns, contacts,
    content_rules::{self, ContentRuleView},
    once::Repeat,
    templates,
};
use serde_json::{Value, json};
use testkit::Stage;

use crate::setting::{body, code, json as read};

async fn stage(db: &testkit::TestDb) -> Stage {
    let stage = Stage::new(db).await;
    stage.account("sandbox", json!({}), None).await;
    stage
}

async fn rule(stage: &Stage, new: Value) -> model::ContentRuleId {
    let reply = content_rules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    read(&reply)["id"].as_str().unwrap().parse().unwrap()
}

fn mail(subject: &str, html: &str) -> Value {
    json!({"to": {"email": "ada@example.com"}, "content": {"subject": subject, "html": html}, "variables": {"what": "casino"}})
}

testkit::both! {
    async fn what_breaks_a_rule_is_refused_and_named_also_in_a_dry_run(db: TestDb) {
        let stage = stage(&db).await;
        let id = rule(&stage, json!({"name": "No gambling", "blocked_words": {"words": ["casino"]}, "channels": ["email"]})).await;
        rule(&stage, json!({"name": "Own links", "links": {"allowed_domains": ["acme.example"]}})).await;
        let refused = stage.try_send(mail("The {{ what }} opens", "<p>x</p>"), None).await.unwrap_err();
        assert_eq!((refused.code, refused.action), ("content_rule", Some("CHANGE_CONTENT")));
        assert_eq!(refused.errors[0].pointer, "/content/subject");
        assert!(refused.detail.contains("“No gambling”") && refused.detail.contains(&id.to_string()), "{}", refused.detail);
        let mut dry = mail("Hi", "<p>ca<b>si</b>no <a href='https://evil.test/'>x</a></p>");
        dry["dry_run"] = json!(true);
        let refused = stage.try_send(dry, None).await.unwrap_err();
        let pointers: Vec<_> = refused.errors.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/content/html", "/content/html"]);
        // Over another channel, and to our own pages, it may.
        stage.send(json!({"to": {"phone": "+15550100002"}, "channel": "sms", "content": {"text": "casino https://tidings.example/u/x"}})).await;
        let batch = json!({"messages": [mail("casino", "<p>x</p>"), mail("Hi", "<p>x</p>")]}).to_string();
        let reply = stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        let answers: Value = read(&reply);
        assert_eq!((&answers["data"][0]["error"]["code"], answers["data"][1]["id"].is_string()), (&json!("content_rule"), true));
    }

    async fn a_rule_can_be_changed_switched_off_and_removed(db: TestDb) {
        let stage = stage(&db).await;
        let id = rule(&stage, json!({"name": "Footer", "required_footer": {"text": "Acme Ltd"}, "purpose": "transactional"})).await;
        assert_eq!(stage.try_send(mail("Hi", "<p>x</p>"), None).await.unwrap_err().code, "content_rule");
        stage.send(mail("Hi", "<p>x</p><p>ACME  Ltd</p>")).await;
        let change = async |change: Value| -> Result<ContentRuleView, engine::Error> {
            content_rules::patch(&stage.engine, &stage.caller, id, change.to_string().as_bytes()).await
        };
        change(json!({"enabled": false})).await.unwrap();
        stage.send(mail("Hi", "<p>x</p>")).await;
        let both = change(json!({"links": {"blocked_domains": ["x.example"]}})).await.unwrap_err();
        assert_eq!(both.errors[0].pointer, "/blocked_words");
        let other = change(json!({"required_footer": null, "links": {"blocked_domains": ["x.example"]}, "enabled": true, "purpose": null})).await.unwrap();
        assert!(other.required_footer.is_none() && other.purpose.is_none());
        assert_eq!(stage.try_send(mail("Hi", "see x.example"), None).await.unwrap_err().errors[0].pointer, "/content/html");
        content_rules::delete(&stage.engine, &stage.caller, id).await.unwrap();
        stage.send(mail("Hi", "see x.example")).await;
        assert_eq!(code(content_rules::get(&stage.engine, &stage.caller, id).await), "not_found");
        let log = engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let changes: Vec<_> = log.iter().map(|entry| entry.action.as_str()).filter(|action| action.starts_with("content_rule")).collect();
        assert_eq!(changes, ["content_rule.deleted", "content_rule.updated", "content_rule.updated", "content_rule.created"]);
    }

    async fn a_template_that_breaks_a_rule_is_published_with_a_warning(db: TestDb) {
        let stage = stage(&db).await;
        rule(&stage, json!({"name": "No gambling", "blocked_words": {"words": ["casino"]}})).await;
        let variants = json!({"en": {"subject": "Casino night", "html": "<p>{{ name }}</p>"}, "de": {"subject": "Hallo", "html": "<p>x</p>"}});
        let new = json!({"name": "night", "channel": "email", "variants": variants});
        let made = templates::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        let id = read(&made)["id"].as_str().unwrap().parse().unwrap();
        let published = templates::publish(&stage.engine, &stage.caller, &Repeat::NONE, id, body(json!({}))).await.unwrap();
        let warnings = read(&published)["warnings"].clone();
        assert_eq!((&warnings[0]["pointer"], &warnings[0]["code"]), (&json!("/variants/en/subject"), &json!("content_rule")), "{warnings}");
        let send = json!({"to": {"email": "ada@example.com"}, "template": {"name": "night"}, "variables": {"name": "Ada"}});
        assert_eq!(stage.try_send(send, None).await.unwrap_err().code, "content_rule");
    }

    async fn a_campaign_that_breaks_a_rule_does_not_start(db: TestDb) {
        let stage = stage(&db).await;
        let contact = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": "ada@example.com", "first_name": "casino"}))).await.unwrap();
        let contact = read(&contact)["id"].clone();
        let plain = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": "bob@example.com", "first_name": "Bob"}))).await.unwrap();
        rule(&stage, json!({"name": "No gambling", "blocked_words": {"words": ["casino"]}})).await;
        let new = json!({
            "name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [contact, read(&plain)["id"]]},
            "content": {"subject": "Hello {{ contact.first_name }}", "text": "Hi"},
        });
        let made = campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        let id = read(&made)["id"].as_str().unwrap().parse().unwrap();
        let report = campaigns::check::check(&stage.engine, &stage.caller, id).await.unwrap();
        let line = report.lines.iter().find(|line| line.code == "content_rules").unwrap();
        assert_eq!((line.level, line.count, line.action), (campaigns::check::Level::Blocking, 1, Some("CHANGE_CONTENT")));
        assert!(line.detail.contains("“No gambling”"), "{}", line.detail);
        let refused = campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, id, None).await.unwrap_err();
        assert_eq!((refused.code, refused.errors[0].pointer.as_str()), ("campaign_blocked", "/check/content_rules"));
    }

    async fn what_cannot_be_a_rule_is_pointed_at(db: TestDb) {
        let stage = stage(&db).await;
        for (new, pointer) in [
            (json!({"name": "", "blocked_words": {"words": ["x"]}}), "/name"),
            (json!({"name": "x"}), "/blocked_words"),
            (json!({"name": "x", "blocked_words": {"words": []}}), "/blocked_words/words"),
            (json!({"name": "x", "blocked_words": {"words": ["a", "\u{200b}"]}}), "/blocked_words/words/1"),
            (json!({"name": "x", "links": {}}), "/links/allowed_domains"),
            (json!({"name": "x", "links": {"blocked_domains": ["https://x.example/y"]}}), "/links/blocked_domains/0"),
            (json!({"name": "x", "required_footer": {"text": " "}}), "/required_footer/text"),
            (json!({"name": "x", "required_footer": {"text": "a"}, "channels": ["webhook"]}), "/channels/0"),
        ] {
            let refused = content_rules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new.clone())).await.unwrap_err();
            assert_eq!(refused.errors[0].pointer, pointer, "{new}: {}", refused.detail);
        }
    }
}
