//! Erasing a person: nothing of them is left, and everything still counts.

use engine::{
    contacts::{self, erase},
    once::Repeat,
};
use serde_json::{Value, json};
use store::Scope;
use testkit::Stage;

use crate::setting::{body, code, json};

/// Every text column of every table of tenants that holds one of these words, as `table.column`.
async fn found(stage: &Stage, words: &'static [&'static str]) -> Vec<String> {
    let read = stage.world.ports.db.read(Scope::System, move |tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for table in store::tenant_tables().filter(|table| *table != "idempotency_keys") {
                let columns = match tx.dialect() {
                    store::Dialect::Sqlite => "SELECT name FROM pragma_table_info($1) WHERE type = 'TEXT'",
                    store::Dialect::Postgres => "SELECT column_name::TEXT FROM information_schema.columns WHERE table_schema = current_schema() AND table_name = $1 AND data_type = 'text'",
                };
                for mut row in tx.rows(columns, &[&table]).await? {
                    let column: String = row.get(0)?;
                    for word in words {
                        let like = format!("%{word}%");
                        let sql = format!("SELECT COUNT(*) FROM {table} WHERE {column} LIKE $1");
                        let count: i64 = tx.row(&sql, &[&like]).await?.map_or(Ok(0), |mut row| row.get(0))?;
                        if count > 0 {
                            found.push(format!("{table}.{column}: {word}"));
                        }
                    }
                }
            }
            Ok::<_, store::Error>(found)
        })
    });
    read.await.unwrap()
}

const TRACES: &[&str] = &["ada@example.com", "2025550142", "Lovelace", "your secret is 42"];

testkit::both! {
    async fn an_erased_person_leaves_no_trace_and_still_counts(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let endpoint = json!({"url": "https://hooks.example/in"});
        engine::endpoints::create(&stage.engine, &stage.caller, &Repeat::NONE, body(endpoint)).await.unwrap();
        let new = json!({"email": "ada@example.com", "phone": "+12025550142", "first_name": "Ada", "last_name": "Lovelace"});
        let made = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        let id: model::ContactId = json(&made)["id"].as_str().unwrap().parse().unwrap();
        let said = json!({"channel": "email", "state": "opted_in", "text": "Yes, Lovelace", "evidence": "ada@example.com"});
        stage.engine.record_consent(&stage.caller, &Repeat::NONE, id, body(said)).await.unwrap();
        let listed = json!({"channel": "sms", "address": "+12025550142", "detail": "Ada Lovelace rang"});
        let sent = stage.send(json!({"to": {"email": "ada@example.com"}, "metadata": {"name": "Lovelace"}, "variables": {"n": "42"}, "content": {"subject": "Hi", "text": "your secret is 42 {{ n }}"}})).await;
        stage.send(json!({"to": {"phone": "+12025550142"}, "channel": "sms", "content": {"text": "your secret is 42"}})).await;
        let kept = stage.send(json!({"to": {"email": "grace@example.com"}, "content": {"subject": "Hi", "text": "Hello Grace"}})).await;
        stage.pass(12_000).await;
        stage.engine.suppress(&stage.caller, &Repeat::NONE, body(listed)).await.unwrap();
        let later = json!({"to": {"email": "ada@example.com"}, "send_at": stage.world.ports.clock.now().plus_seconds(86_400), "content": {"subject": "Hi", "text": "your secret is 42"}});
        let waiting = stage.send(later).await;
        assert!(found(&stage, TRACES).await.len() >= 8, "{:?}", found(&stage, TRACES).await);
        stage.pass(2_000).await;

        let erased = erase(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        let erased: Value = json(&erased);
        assert_eq!((&erased["messages"], erased["events"].as_u64().unwrap() > 3), (&json!(3), true), "{erased}");
        assert_eq!(found(&stage, TRACES).await, Vec::<String>::new());
        assert_eq!((stage.status(sent).await, stage.status(waiting).await), ("read", "canceled"));
        assert_eq!(code(contacts::get(&stage.engine, &stage.caller, id).await), "not_found");
        assert_eq!(code(erase(&stage.engine, &stage.caller, &Repeat::NONE, id).await), "not_found");

        // The log of changes is still whole, and the sums are what a recount finds.
        let verified = engine::audit::verify(&stage.world.ports.db).await.unwrap();
        assert_eq!((verified.broken, verified.erased > 0), (Vec::new(), true));
        assert_eq!(stage.engine.recount(stage.tenant).await.unwrap(), 0);

        // Everybody else is as before, and nobody writes to the person by mistake.
        assert_eq!(stage.message(kept).await.address, "grace@example.com");
        let again = stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Hello"}})).await;
        stage.pass(12_000).await;
        assert_eq!(stage.status(again).await, "suppressed");
        let told = engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        assert!(told.iter().any(|entry| entry.action == "contact.erased" && entry.subject == id.to_string()));
    }

    async fn what_would_still_name_or_write_to_an_erased_person_goes(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let person = async |email: &str| -> String {
            let made = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": email}))).await.unwrap();
            json(&made)["id"].as_str().unwrap().to_owned()
        };
        let (ada, grace) = (person("ada@example.com").await, person("grace@example.com").await);
        let weekly = |name: &str, to: Value, text: &str| json!({"name": name, "cron": "0 9 * * MON", "message": {"to": to, "channel": "email", "content": {"subject": "Hi", "text": text}}});
        for new in [weekly("To Ada", json!({"contact_id": ada}), "x"), weekly("To Grace", json!({"contact_id": grace}), "Ask Ada@Example.com about it")] {
            engine::schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        }
        let campaign = json!({"name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [ada, grace]}, "content": {"subject": "Hi", "text": "Write to ada@example.com"}});
        let campaign = engine::campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(campaign)).await.unwrap();
        let campaign: model::CampaignId = json(&campaign)["id"].as_str().unwrap().parse().unwrap();
        engine::campaigns::check::check(&stage.engine, &stage.caller, campaign).await.unwrap();
        let file = |name: &str| json!([{"filename": name, "content_type": "text/plain", "content_base64": "SGVsbG8="}]);
        let mail = |to: &str, name: &str| json!({"to": {"email": to}, "content": {"subject": "Bill", "text": "Here"}, "attachments": file(name)});
        let sent = mail("ada@example.com", "own.txt");
        stage.try_send(sent.clone(), Some("once")).await.unwrap();
        stage.send(mail("ada@example.com", "shared.txt")).await;
        stage.world.clock.advance_ms(10_000);
        stage.send(mail("grace@example.com", "shared.txt")).await;
        stage.pass(12_000).await;

        let erased = erase(&stage.engine, &stage.caller, &Repeat::NONE, ada.parse().unwrap()).await.unwrap();
        let erased: Value = json(&erased);
        assert_eq!((&erased["messages"], &erased["schedules"], &erased["files"]), (&json!(2), &json!(1), &json!(1)), "{erased}");
        assert_eq!(found(&stage, &["ada@example.com"]).await, Vec::<String>::new());
        let schedules = engine::schedules::list(&stage.engine, &stage.caller, None, None).await.unwrap();
        let schedules = serde_json::to_value(&schedules).unwrap();
        let left: Vec<_> = schedules["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(left, ["To Grace"]);
        assert_eq!(schedules["data"][0]["message"]["content"]["text"], "Ask erased about it");
        let campaign = engine::campaigns::get(&stage.engine, &stage.caller, campaign).await.unwrap();
        assert_eq!(campaign.audience.contact_ids, [grace.parse().unwrap()]);
        assert!(campaign.content.unwrap().get().contains("Write to erased"));
        // The file only Ada got is gone; the one Grace got, too, is there, also its bytes.
        assert_eq!(crate::setting::column(&db, "SELECT filename FROM attachments").await, "shared.txt");
        // A repeated request is still not done twice, and does not say to whom it went.
        let again = stage.try_send(sent, Some("once")).await.unwrap();
        assert_eq!(again, json!({"erased": true}));
    }

    async fn erasing_a_person_leaves_alone_whose_address_holds_theirs(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let credits = json!({"amount_micros": 5_000_000, "reference": "bank 5"});
        engine::money::credits::purchase(stage.engine.parts(), &stage.caller, &Repeat::NONE, body(credits)).await.unwrap();
        let weekly = |name: &str, to: Value, channel: &str, content: Value| json!({"name": name, "cron": "0 9 * * MON", "message": {"to": to, "channel": channel, "content": content}});
        for new in [
            weekly("To joann@acme.example", json!({"email": "joann@acme.example"}), "email", json!({"subject": "Hi", "text": "o'ann@acme.example"})),
            weekly("To an extension", json!({"phone": "+493012345678"}), "sms", json!({"text": "x"})),
            weekly("To another chat", json!({"telegram_chat_id": 57}), "telegram", json!({"text": "5"})),
            weekly("To the chat", json!({"telegram_chat_id": 5}), "telegram", json!({"text": "x"})),
        ] {
            engine::schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        }
        let joann = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"email": "joann@acme.example"}))).await.unwrap();
        let campaign = json!({"name": "Letter of joann@acme.example", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [json(&joann)["id"]]}, "content": {"subject": "A", "text": "write to joann@acme.example or ann@acme.example.org"}});
        let campaign = engine::campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(campaign)).await.unwrap();
        let campaign: model::CampaignId = json(&campaign)["id"].as_str().unwrap().parse().unwrap();
        for address in ["joann@acme.example", "ann@acme.example"] {
            let listed = json!({"channel": "email", "address": address});
            stage.engine.suppress(&stage.caller, &Repeat::NONE, body(listed)).await.unwrap();
        }
        let mail = json!({"to": {"email": "joann@acme.example"}, "content": {"subject": "s", "text": "t"}});
        let first = stage.try_send(mail.clone(), Some("k1")).await.unwrap();
        stage.pass(12_000).await;
        let log = async || engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let of = |log: &[engine::audit::AuditEntry], action: &str| -> Vec<Value> {
            log.iter().filter(|entry| entry.action == action).map(|entry| entry.detail.clone()).collect()
        };
        let before = log().await;

        let ann = json!({"email": "ann@acme.example", "phone": "+4930123456", "telegram_chat_id": 5});
        let ann = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(ann)).await.unwrap();
        let ann: model::ContactId = json(&ann)["id"].as_str().unwrap().parse().unwrap();
        let erased = erase(&stage.engine, &stage.caller, &Repeat::NONE, ann).await.unwrap();
        assert_eq!(json(&erased)["schedules"], 1, "the one to the chat");

        let schedules = engine::schedules::list(&stage.engine, &stage.caller, None, None).await.unwrap();
        let schedules = serde_json::to_value(&schedules).unwrap();
        let mut left: Vec<_> = schedules["data"].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect();
        left.sort_unstable();
        assert_eq!(left, ["To an extension", "To another chat", "To joann@acme.example"]);
        assert!(schedules.to_string().contains("o'ann@acme.example"), "{schedules}");
        let campaign = engine::campaigns::get(&stage.engine, &stage.caller, campaign).await.unwrap();
        assert_eq!(campaign.name, "Letter of joann@acme.example");
        assert!(campaign.content.unwrap().get().contains("write to joann@acme.example or ann@acme.example.org"));
        assert_eq!(stage.try_send(mail, Some("k1")).await.unwrap(), first, "a repeated request has its answer");

        // The log still says what was done about money and about others; of the person it says nothing.
        let after = log().await;
        for action in ["account.created", "credits.purchased", "tenant.created", "campaign.created"] {
            assert_eq!(of(&after, action), of(&before, action), "{action}");
        }
        let listed: Vec<Value> = of(&after, "suppression.added").iter().map(|detail| detail["address"].clone()).collect();
        assert!(listed.contains(&json!("joann@acme.example")) && !listed.contains(&json!("ann@acme.example")), "{listed:?}");
        assert_eq!(engine::audit::verify(&stage.world.ports.db).await.unwrap().broken, Vec::<String>::new());
    }
}
