//! Everything about one person as a zip: nothing of them is missing, and nothing of anybody else is in it.

use std::{collections::BTreeMap, io::Read as _};

use engine::{
    contacts::{self, dossier},
    keys::{Caller, Scopes},
    once::Repeat,
};
use model::ContactId;
use serde_json::{Value, json};
use testkit::Stage;

use crate::setting::{body, code, json as read};

async fn contact(stage: &Stage, new: Value) -> ContactId {
    let reply = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
    read(&reply)["id"].as_str().unwrap().parse().unwrap()
}

async fn ask(stage: &Stage, id: ContactId) -> model::ContactExportId {
    let reply = dossier::ask(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
    let asked = read(&reply);
    assert_eq!(asked["url"], format!("/v1/contacts/{id}/exports/{}", asked["id"].as_str().unwrap()));
    asked["id"].as_str().unwrap().parse().unwrap()
}

/// The files of the zip by name, and how large its largest piece was.
async fn files(stage: &Stage, id: ContactId, export: model::ContactExportId) -> (BTreeMap<String, Vec<u8>>, usize) {
    let mut dossier = dossier::Dossier::begin(&stage.engine, &stage.caller, id, export).await.unwrap();
    let (mut bytes, mut largest) = (Vec::new(), 0);
    while let Some(piece) = dossier.next(&stage.engine).await.unwrap() {
        largest = largest.max(piece.len());
        bytes.extend_from_slice(&piece);
    }
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut files = BTreeMap::new();
    for index in 0..zip.len() {
        let mut file = zip.by_index(index).unwrap();
        let mut content = Vec::new();
        file.read_to_end(&mut content).unwrap();
        files.insert(file.name().unwrap().into_owned(), content);
    }
    (files, largest)
}

fn of(files: &BTreeMap<String, Vec<u8>>, name: &str) -> Value {
    serde_json::from_slice(files.get(name).unwrap_or_else(|| panic!("{name} is missing: {:?}", files.keys()))).unwrap()
}

testkit::both! {
    async fn everything_about_a_person_is_in_it_and_nothing_of_others(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        // Sent to the address before there was a contact.
        stage.send(json!({"to": {"email": "ada@example.com"}, "content": {"subject": "Before", "text": "Hello {{ n }}"}, "variables": {"n": "stranger"}})).await;
        let ada = contact(&stage, json!({"email": "ada@example.com", "phone": "+12025550142", "first_name": "Ada"})).await;
        let bob = contact(&stage, json!({"email": "bob@example.com", "first_name": "Bob"})).await;
        let twin = contact(&stage, json!({"external_id": "twin", "telegram_chat_id": 77})).await;
        stage.send(json!({"to": {"contact_id": twin}, "channel": "telegram", "content": {"text": "To the twin"}})).await;
        contacts::merge(&stage.engine, &stage.caller, &Repeat::NONE, ada, body(json!({"from": twin}))).await.unwrap();
        let list = contacts::lists::create(&stage.engine, &stage.caller, &Repeat::NONE, body(json!({"name": "Friends"}))).await.unwrap();
        let list = read(&list)["id"].as_str().unwrap().parse().unwrap();
        let members = body(json!({"contact_ids": [ada, bob]}));
        contacts::lists::change_members(&stage.engine, &stage.caller, &Repeat::NONE, list, contacts::lists::Way::Add, members).await.unwrap();
        for state in ["opted_in", "opted_out"] {
            stage.world.clock.advance_ms(5);
            let said = body(json!({"channel": "sms", "state": state, "text": "Yes or no"}));
            stage.engine.record_consent(&stage.caller, &Repeat::NONE, ada, said).await.unwrap();
        }
        let file = body(json!({"filename": "../bill.txt", "content_type": "text/plain", "content_base64": "SGVsbG8="}));
        let refused = engine::attachments::upload_json(&stage.engine, &stage.caller, &Repeat::NONE, file).await;
        assert_eq!(refused.map(drop).map_err(|error| error.code), Err("invalid_request"));
        let attached = json!([{"filename": "bill.txt", "content_type": "text/plain", "content_base64": "SGVsbG8="}]);
        stage.send(json!({"to": {"contact_id": ada}, "channel": "email", "content": {"subject": "Bill", "text": "Here"}, "attachments": attached})).await;
        let secret = json!({"to": {"contact_id": ada}, "channel": "email", "content": {"subject": "Key", "text": "{{ secret_code }}"}, "variables": {"secret_code": "hush-hush"}});
        stage.send(secret).await;
        stage.send(json!({"to": {"contact_id": bob}, "channel": "email", "content": {"subject": "For Bob", "text": "only Bob"}})).await;
        let weekly = json!({"name": "Weekly", "cron": "0 9 * * MON", "message": {"to": {"email": "ada@example.com"}, "content": {"subject": "Hi", "text": "Monday"}}});
        engine::schedules::create(&stage.engine, &stage.caller, &Repeat::NONE, body(weekly)).await.unwrap();
        let new = json!({"name": "Summer", "channel": "email", "purpose": "transactional", "audience": {"contact_ids": [ada, bob]}, "content": {"subject": "Sun", "text": "Hi"}});
        let made = engine::campaigns::create(&stage.engine, &stage.caller, &Repeat::NONE, body(new)).await.unwrap();
        let campaign = read(&made)["id"].as_str().unwrap().parse().unwrap();
        engine::campaigns::start(&stage.engine, &stage.caller, &Repeat::NONE, campaign, None).await.unwrap();
        stage.pass(12_000).await;

        let export = ask(&stage, ada).await;
        let (files, _) = files(&stage, ada, export).await;
        assert_eq!(of(&files, "contact.json")["email"], "ada@example.com");
        assert_eq!(of(&files, "lists.json")[0]["name"], "Friends");
        assert_eq!(of(&files, "consent.json")[0]["state"], "opted_out");
        assert_eq!(of(&files, "consents/000001.json").as_array().unwrap().len(), 2);
        let messages = of(&files, "messages/000001.json");
        let subjects: Vec<_> = messages.as_array().unwrap().iter().map(|m| m["content"]["subject"].as_str().or(m["content"]["text"].as_str()).unwrap()).collect();
        assert_eq!(subjects, ["Before", "To the twin", "Bill", "Key", "Sun"]);
        assert_eq!(messages[0]["content"]["text"], "Hello stranger");
        assert!(messages[0]["timeline"].as_array().unwrap().iter().any(|entry| entry["status"] == "delivered"), "{}", messages[0]["timeline"]);
        assert_eq!(files.iter().find(|(name, _)| name.starts_with("files/")).map(|(name, bytes)| (name.ends_with("/bill.txt"), bytes.as_slice())), Some((true, b"Hello".as_slice())));
        assert_eq!(of(&files, "campaigns/000001.json")[0]["name"], "Summer");
        assert_eq!(of(&files, "schedules/000001.json")[0]["name"], "Weekly");
        assert!(of(&files, "changes/000001.json").as_array().unwrap().iter().any(|entry| entry["action"] == "consent.recorded"));
        let index = of(&files, "index.json");
        assert_eq!((&index["held_by"], &index["counts"]["messages"], &index["counts"]["files"]), (&json!("Acme"), &json!(5), &json!(1)));
        let all = files.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect::<String>();
        for absent in ["bob@example.com", "only Bob", "For Bob", "hush-hush"] {
            assert!(!all.contains(absent), "{absent}");
        }
        let log = engine::audit::list(stage.engine.parts(), &stage.caller, None, None).await.unwrap().data;
        let told: Vec<_> = log.iter().take(2).map(|entry| (entry.action.as_str(), entry.subject.as_str())).collect();
        assert_eq!(told, [("contact.exported", ada.to_string().as_str()), ("contact.export_requested", ada.to_string().as_str())]);
    }

    async fn a_long_history_comes_in_pages(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let ada = contact(&stage, json!({"email": "ada@example.com"})).await;
        let one = json!({"to": {"contact_id": ada}, "channel": "email", "content": {"subject": "Hi", "text": "x".repeat(200)}});
        let batch = json!({ "messages": vec![one; 250] }).to_string();
        stage.engine.send_batch(&stage.caller, batch.as_bytes(), None).await.unwrap();
        let export = ask(&stage, ada).await;
        let (files, largest) = files(&stage, ada, export).await;
        let pages: Vec<_> = (1..=3).map(|page| of(&files, &format!("messages/{page:06}.json")).as_array().unwrap().len()).collect();
        assert_eq!(pages, [100, 100, 50]);
        assert!(largest < files.values().map(Vec::len).sum::<usize>() / 2, "one piece holds a page");
    }

    async fn only_who_may_and_only_for_a_day(db: TestDb) {
        let stage = Stage::new(&db).await;
        let ada = contact(&stage, json!({"email": "ada@example.com"})).await;
        let bob = contact(&stage, json!({"email": "bob@example.com"})).await;
        let export = ask(&stage, ada).await;
        let begin = async |caller: &Caller, contact| dossier::Dossier::begin(&stage.engine, caller, contact, export).await.map(drop);
        let reader = Caller { scopes: Scopes::from_stored("contacts:read consent:read messages:read"), ..stage.caller.clone() };
        assert_eq!(code(begin(&reader, ada).await), "missing_scope");
        assert_eq!(code(dossier::ask(&stage.engine, &reader, &Repeat::NONE, ada).await), "missing_scope");
        assert_eq!(code(begin(&stage.caller, bob).await), "not_found");
        begin(&stage.caller, ada).await.unwrap();
        stage.world.clock.advance_ms(86_400_000);
        assert_eq!(code(begin(&stage.caller, ada).await), "not_found");
        assert_eq!((dossier::purge(&stage.engine).await.unwrap(), dossier::purge(&stage.engine).await.unwrap()), (1, 0));
    }
}
