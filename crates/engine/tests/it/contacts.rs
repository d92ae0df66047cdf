//! Contacts, as programs use them: made, found, merged, written to, imported and exported.

use engine::{
    Error, audit,
    contacts::{
        self, ContactQuery, ContactView,
        export::{Export, ExportQuery},
        import::{self, ImportQuery, ImportView, Receiver},
    },
    export::Format,
    keys::Caller,
    once::{Repeat, Reply},
    segments,
};
use model::{ContactId, ImportId};
use serde_json::{Value, json};
use testkit::Stage;

fn json_of(reply: Result<Reply, Error>) -> Value {
    serde_json::from_slice(&reply.unwrap().body).unwrap()
}

async fn try_create(stage: &Stage, contact: Value) -> Result<Reply, Error> {
    let new = serde_json::from_value(contact).unwrap();
    contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await
}

async fn create(stage: &Stage, contact: Value) -> ContactId {
    json_of(try_create(stage, contact).await)["id"].as_str().unwrap().parse().unwrap()
}

async fn attribute(stage: &Stage, name: &str, kind: &str) {
    let new = serde_json::from_value(json!({"name": name, "type": kind})).unwrap();
    contacts::attributes::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
}

async fn all(stage: &Stage) -> Vec<ContactView> {
    let query = ContactQuery { limit: Some(500), ..ContactQuery::default() };
    let mut page = contacts::list(&stage.engine, &stage.caller, &query).await.unwrap().data;
    page.reverse();
    page
}

/// Receives a file in small pieces.
async fn receive(stage: &Stage, query: Value, media_type: &str, file: &[u8]) -> Result<Value, Error> {
    let query: ImportQuery = serde_json::from_value(query).unwrap();
    let mut receiver = Receiver::begin(&stage.engine, &stage.caller, query, media_type).await?;
    for piece in file.chunks(70_001) {
        receiver.push(&stage.engine, piece).await?;
    }
    let reply = receiver.finish(&stage.engine, None, "/v1/contacts/import").await?;
    // The manual clock stands still by itself, and an import tells the contacts it touched by the instant it began.
    stage.world.clock.advance_ms(1);
    Ok(serde_json::from_slice(&reply.body).unwrap())
}

async fn view(stage: &Stage, id: ImportId) -> ImportView {
    import::get(&stage.engine, &stage.caller, id).await.unwrap()
}

/// Imports a file to its end.
async fn import_file(stage: &Stage, query: Value, media_type: &str, file: &[u8]) -> ImportView {
    let made = receive(stage, query, media_type, file).await.unwrap();
    let id: ImportId = made["id"].as_str().unwrap().parse().unwrap();
    while import::run(&stage.engine).await.unwrap() > 0 {}
    view(stage, id).await
}

async fn exported(stage: &Stage, format: Format) -> Vec<u8> {
    let query = ExportQuery { format: Some(format), ..ExportQuery::default() };
    let mut export = Export::begin(&stage.engine, &stage.caller, &query).await.unwrap();
    let mut file = Vec::new();
    while let Some(piece) = export.next(&stage.engine).await.unwrap() {
        file.extend_from_slice(&piece);
    }
    file
}

fn counts(view: &ImportView) -> [u64; 6] {
    [view.rows, view.created, view.updated, view.skipped, view.failed, view.duplicates]
}

/// What an export keeps of a contact.
fn kept(view: &ContactView) -> Value {
    let mut kept = serde_json::to_value(view).unwrap();
    for own in ["id", "created_at", "updated_at"] {
        kept.as_object_mut().unwrap().remove(own);
    }
    kept
}

testkit::both! {
    async fn a_second_contact_with_the_same_address_is_refused_by_name(db: TestDb) {
        let stage = Stage::new(&db).await;
        let ada = create(&stage, json!({"email": "Ada@Example.com", "phone": "+15550100002"})).await;
        let error = try_create(&stage, json!({"email": "ada@EXAMPLE.COM", "phone": "+1 555 010 0002"})).await.unwrap_err();
        assert_eq!((error.code, error.kind.status()), ("contact_exists", 409));
        let pointers: Vec<&str> = error.errors.iter().map(|field| field.pointer.as_str()).collect();
        assert_eq!(pointers, ["/email", "/phone"]);
        assert!(error.errors.iter().all(|field| field.detail.contains(&ada.to_string())), "{error:?}");
        let bob = create(&stage, json!({"email": "bob@example.com"})).await;
        let change = serde_json::from_value(json!({"email": "ada@example.com"})).unwrap();
        let error = contacts::patch(&stage.engine, &stage.caller, bob, change).await.unwrap_err();
        assert_eq!(error.code, "contact_exists");
    }

    async fn merging_keeps_everything_of_both(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        attribute(&stage, "plan", "text").await;
        let kept = create(&stage, json!({"email": "ada@example.com", "first_name": "Ada"})).await;
        let ended = create(&stage, json!({"phone": "+15550100002", "first_name": "A.", "language": "de", "attributes": {"plan": "pro"}})).await;
        let message = stage.send(json!({"to": {"contact_id": ended}, "channel": "sms", "content": {"text": "Hi"}})).await;
        let said = async |contact, state: &str| {
            stage.world.clock.advance_ms(10);
            let new = serde_json::from_value(json!({"channel": "email", "state": state})).unwrap();
            stage.engine.record_consent(&stage.caller, &Repeat::NONE, contact, new).await.unwrap();
        };
        said(kept, "opted_in").await;
        said(ended, "opted_out").await;
        let alone = serde_json::from_value(json!({"do_not_contact": true})).unwrap();
        stage.engine.patch_preferences(&stage.caller, ended, alone).await.unwrap();
        let request = serde_json::from_value(json!({"from": ended})).unwrap();
        let merged = json_of(contacts::merge(&stage.engine, &stage.caller, &Repeat::NONE, kept, request).await);
        let expected = json!(["ada@example.com", "+15550100002", "Ada", "de", {"plan": "pro"}]);
        assert_eq!(json!([merged["email"], merged["phone"], merged["first_name"], merged["language"], merged["attributes"]]), expected);
        assert_eq!(contacts::get(&stage.engine, &stage.caller, ended).await.unwrap_err().code, "not_found");
        assert_eq!(stage.message(message).await.contact_id, Some(kept));
        let consents = serde_json::to_value(stage.engine.consents(&stage.caller, kept, None, None).await.unwrap()).unwrap();
        assert_eq!((&consents["data"][0]["state"], &consents["data"][1]["state"]), (&json!("opted_out"), &json!("opted_in")), "the later word stands");
        assert_eq!(consents["data"].as_array().unwrap().len(), 2);
        assert!(stage.engine.preferences(&stage.caller, kept).await.unwrap().do_not_contact);
        let timeline = contacts::timeline(&stage.engine, &stage.caller, kept, None, None).await.unwrap();
        assert_eq!(timeline.data[0].data["id"], json!(message));
    }

    async fn a_message_to_a_contact_finds_its_address_and_its_name(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        attribute(&stage, "plan", "text").await;
        let ada = create(&stage, json!({"email": "ada@example.com", "whatsapp": "+4915112345678", "first_name": "Ada", "attributes": {"plan": "pro"}})).await;
        let mail = json!({"to": {"contact_id": ada}, "channel": "email", "content": {"subject": "Hi {{ contact.first_name }}", "text": "{{ contact.attributes.plan }}{{ contact.last_name }}"}});
        let id = stage.send(mail.clone()).await;
        let message = stage.message(id).await;
        assert_eq!((message.address.as_str(), message.contact_id), ("ada@example.com", Some(ada)));
        let mut explained = mail.clone();
        explained["dry_run"] = json!(true);
        let explained = stage.try_send(explained, None).await.unwrap();
        assert_eq!((&explained["content"]["subject"], &explained["content"]["text"]), (&json!("Hi Ada"), &json!("pro")));
        let mut own = mail.clone();
        (own["variables"], own["dry_run"]) = (json!({"contact": {"first_name": "Eve", "attributes": {"plan": "x"}, "last_name": "y"}}), json!(true));
        assert_eq!(stage.try_send(own, None).await.unwrap()["content"]["subject"], "Hi Eve");
        let whatsapp = json!({"to": {"contact_id": ada}, "channel": ["sms", "whatsapp"], "content": {"text": "Hi"}});
        let whatsapp = stage.send(whatsapp).await;
        assert_eq!(stage.message(whatsapp).await.address, "+4915112345678");
        for (request, pointer) in [
            (json!({"to": {"contact_id": ada}, "channel": "sms", "content": {"text": "Hi"}}), "/to/contact_id"),
            (json!({"to": {"contact_id": ContactId::from_ulid(7)}, "channel": "sms", "content": {"text": "Hi"}}), "/to/contact_id"),
            (json!({"to": {"contact_id": ada, "phone": "+4915112345678"}, "channel": "sms", "content": {"text": "Hi"}}), "/to"),
        ] {
            assert_eq!(stage.try_send(request, None).await.unwrap_err().errors[0].pointer, pointer);
        }
        let batch = json!({"messages": [mail, {"to": {"contact_id": ContactId::from_ulid(7)}, "channel": "email", "content": {"text": "x"}}]});
        let batch = json_of(stage.engine.send_batch(&stage.caller, batch.to_string().as_bytes(), None).await);
        assert!(batch["data"][0]["id"].is_string() && batch["data"][1]["error"]["status"] == 422, "{batch}");
    }

    async fn a_message_to_an_address_belongs_to_its_contact(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        let mail = |to: &str| json!({"to": {"email": to}, "content": {"subject": "Hi", "text": "Hello"}});
        let before = stage.send(mail("ada@example.com")).await;
        let ada = create(&stage, json!({"email": "ada@example.com"})).await;
        let answer = stage.try_send(mail("Ada@example.com"), Some("key-1")).await.unwrap();
        assert_eq!(answer["contact_id"], json!(ada));
        assert_eq!(stage.try_send(mail("Ada@example.com"), Some("key-1")).await.unwrap(), answer);
        let stranger = stage.send(mail("bob@example.com")).await;
        assert_eq!((stage.message(before).await.contact_id, stage.message(stranger).await.contact_id), (None, None));
        stage.dispatch().await;
        let list = serde_json::from_value(json!({"contact_id": ada})).unwrap();
        let listed: Value = serde_json::from_slice(&stage.engine.messages(&stage.caller, &list).await.unwrap()).unwrap();
        assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["id"]), (1, &answer["id"]));
    }

    async fn an_import_creates_changes_and_says_what_is_wrong(db: TestDb) {
        let stage = Stage::new(&db).await;
        create(&stage, json!({"external_id": "c-1", "email": "ada@example.com", "first_name": "Ada", "last_name": "L."})).await;
        create(&stage, json!({"phone": "+4915112345678"})).await;
        let file = "Kundennummer;E-Mail;Vorname;Telefon;Umsatz;Notiz\r\n\
            c-1;ADA@example.com;;;12,5;alt\r\n\
            c-2;bob@example.com;M\u{fc}ller;0151 99999999;7;=1+1\r\n\
            c-2;;Bob;;8;\r\n\
            c-3;nonsense;Eve;;;\r\n\
            c-1;;;'+4915112345678;;\r\n\
            ;;Nobody;;;\r\n";
        let (bytes, _, _) = encoding_rs::WINDOWS_1252.encode(file);
        let query = json!({"default_country": "DE", "mapping": r#"{"Notiz": null, "Umsatz": "attributes.umsatz"}"#});
        let made = import_file(&stage, query, "text/csv", &bytes).await;
        assert_eq!((made.state.as_str(), counts(&made)), ("done", [6, 1, 1, 0, 3, 1]));
        let errors = String::from_utf8(import::errors(&stage.engine, &stage.caller, made.id).await.unwrap()).unwrap();
        let lines: Vec<&str> = errors.lines().collect();
        assert_eq!(lines.len(), 4, "{errors}");
        assert!(lines[1].starts_with("5,E-Mail,") && lines[2].starts_with("6,,") && lines[3].starts_with("7,,"), "{errors}");
        let told = all(&stage).await;
        assert_eq!((told[0].first_name.as_deref(), &told[0].attributes["umsatz"]), (Some("Ada"), &json!("12,5")));
        assert_eq!((told[2].first_name.as_deref(), told[2].phone.as_deref()), (Some("Bob"), Some("+4915199999999")));

        let again = import_file(&stage, json!({"on_duplicate": "skip"}), "text/csv", b"email,name\nbob@example.com,X\nnew@example.com,Y\nnew@example.com,Z\n").await;
        assert_eq!(counts(&again), [3, 1, 0, 1, 0, 1]);
        assert_eq!(all(&stage).await[3].name.as_deref(), Some("Y"));
    }

    async fn a_dry_run_shows_what_it_understood(db: TestDb) {
        let stage = Stage::new(&db).await;
        let file = b"\xef\xbb\xbfE-Mail;Geburtstag;Punkte\nada@example.com;1990-12-10;5\nnope;;x\n";
        let shown = receive(&stage, json!({"dry_run": true}), "text/csv", file).await.unwrap();
        assert_eq!((&shown["delimiter"], &shown["encoding"], &shown["rows"], &shown["failed"]), (&json!(";"), &json!("utf-8"), &json!(2), &json!(1)));
        let fields: Vec<_> = shown["columns"].as_array().unwrap().iter().map(|c| (c["field"].clone(), c["type"].clone())).collect();
        assert_eq!(fields, [(json!("email"), Value::Null), (json!("attributes.geburtstag"), json!("date")), (json!("attributes.punkte"), json!("text"))]);
        assert_eq!(shown["sample"][0]["attributes"], json!({"geburtstag": "1990-12-10", "punkte": "5"}));
        assert_eq!((&shown["problems"][0]["row"], &shown["problems"][0]["column"]), (&json!(3), &json!("E-Mail")));
        assert!(all(&stage).await.is_empty());
        assert!(import::list(&stage.engine, &stage.caller, None, None).await.unwrap().data.is_empty());
    }

    async fn an_import_goes_on_after_a_crash_and_counts_no_row_twice(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let list = serde_json::from_value(json!({"name": "All"})).unwrap();
        let list = json_of(contacts::lists::create(&stage.engine, &stage.caller, &Repeat::NONE, list).await)["id"].clone();
        let rows = 9_000;
        let line = |n: u32| format!("c-{n},u{n}@example.com,{}\n", "x".repeat(700));
        let file: String = std::iter::once("external_id,email,note\n".to_owned()).chain((0..rows).map(line)).collect();
        let made = receive(&stage, json!({"list_id": list}), "text/csv", file.as_bytes()).await.unwrap();
        let id: ImportId = made["id"].as_str().unwrap().parse().unwrap();
        assert!(import::run(&stage.engine).await.unwrap() > 0, "the file is longer than one run");
        let half = view(&stage, id).await;
        assert!(half.rows > 0 && half.rows < u64::from(rows) && half.state == "running", "{half:?}");
        // What a process that died in the middle of a batch leaves behind is what was committed before.
        stage.restart();
        while import::run(&stage.engine).await.unwrap() > 0 {}
        let done = view(&stage, id).await;
        assert_eq!((done.state.as_str(), counts(&done)), ("done", [u64::from(rows), u64::from(rows), 0, 0, 0, 0]));
        let list = contacts::lists::get(&stage.engine, &stage.caller, list.as_str().unwrap().parse().unwrap()).await.unwrap();
        assert_eq!(list.contacts, i64::from(rows));
        // Its events tell the end once, and its file is gone.
        assert_eq!(import::purge(&stage.engine).await.unwrap(), 0);
        assert_eq!(import::run(&stage.engine).await.unwrap(), 0);
    }

    async fn an_import_is_told_by_what_its_file_was_and_what_became_of_its_rows(db: TestDb) {
        let mut stage = Stage::new(&db).await;
        let person = Caller { user_id: Some(model::UserId::from_ulid(9)), ..crate::setting::member(stage.tenant) };
        let job = std::mem::replace(&mut stage.caller, person.clone());
        let list = contacts::lists::create(&stage.engine, &person, &Repeat::NONE, serde_json::from_value(json!({"name": "News"})).unwrap()).await;
        let list = json_of(list)["id"].as_str().unwrap().to_owned();
        create(&stage, json!({"email": "bob@example.com"})).await;
        let file = b"email,plan\nada@example.com,pro\nbob@example.com,pro\nnobody,pro\n";
        let done = import_file(&stage, json!({ "list_id": list }), "text/csv", file).await;
        let held = receive(&stage, json!({}), "text/csv", b"email\neve@example.com\n").await.unwrap();
        let held: ImportId = held["id"].as_str().unwrap().parse().unwrap();
        import::cancel(&stage.engine, &stage.caller, &Repeat::NONE, held).await.unwrap();
        stage.caller = job;

        let told = async |id: ImportId| {
            let query = serde_json::from_value(json!({ "subject": id })).unwrap();
            let page = audit::search(stage.engine.parts(), &stage.caller, &query).await.unwrap();
            page.data.into_iter().rev().map(|entry| (entry.action, entry.actor, entry.detail)).collect::<Vec<_>>()
        };
        let sha256 = "7d114f224b4654a74b2ab3e4b6978a54411498a283d92fdd1bff7b194b507c5a";
        let (of_file, by) = (json!({"sha256": sha256, "size": 62, "list_id": list, "on_duplicate": "update"}), person.actor());
        let mut ended = of_file.clone();
        for (name, value) in [("by", json!(by)), ("rows", json!(3)), ("created", json!(1)), ("updated", json!(1)), ("skipped", json!(0)), ("failed", json!(1)), ("duplicates", json!(0))] {
            ended[name] = value;
        }
        let expected = [("contacts.import_started", by.clone(), of_file), ("contacts.imported", "system".to_owned(), ended)];
        assert_eq!(told(done.id).await, expected.map(|(action, actor, detail)| (action.to_owned(), actor, detail)));
        let canceled = told(held).await;
        assert_eq!((canceled[1].0.as_str(), &canceled[1].1, &canceled[1].2["rows"]), ("contacts.import_canceled", &by, &json!(0)));
        let query = serde_json::from_value(json!({"subject": "plan"})).unwrap();
        let declared = audit::search(stage.engine.parts(), &stage.caller, &query).await.unwrap().data.remove(0);
        assert_eq!((declared.action.as_str(), declared.detail), ("contact_attribute.created", json!({"type": "text", "import": done.id})));
    }

    async fn an_import_can_be_canceled(db: TestDb) {
        let stage = Stage::new(&db).await;
        let made = receive(&stage, json!({}), "application/x-ndjson", b"{\"email\": \"ada@example.com\"}\n").await.unwrap();
        let id: ImportId = made["id"].as_str().unwrap().parse().unwrap();
        let canceled = json_of(import::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id).await);
        assert_eq!(canceled["state"], "canceled");
        assert_eq!(import::cancel(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap_err().code, "import_ended");
        import::run(&stage.engine).await.unwrap();
        assert!(all(&stage).await.is_empty());
        assert_eq!(import::purge(&stage.engine).await.unwrap(), 1);
        assert_eq!(import::purge(&stage.engine).await.unwrap(), 0);
    }

    async fn what_is_exported_comes_back_the_same(db: TestDb) {
        let stage = Stage::new(&db).await;
        for (name, kind) in [("plan", "text"), ("tags", "list"), ("score", "number"), ("vip", "boolean"), ("since", "date")] {
            attribute(&stage, name, kind).await;
        }
        let ids = model::Ids::seeded(7);
        let word = || ["Ada", "=SUM(A1)", "'quoted", "-5", "O'Neil, \"Jo\"", "Größe ☂", "+1", "a;b", "@x", "x|y"][ids.below(10) as usize];
        let maybe = |value: Value| if ids.below(3) == 0 { Value::Null } else { value };
        for n in 0..120_u64 {
            let contact = json!({
                "external_id": format!("{}{n}", word()), "email": maybe(json!(format!("u{n}@example.com"))),
                "phone": maybe(json!(format!("+4915100000{n:03}"))), "whatsapp": maybe(json!(format!("+4915200000{n:03}"))),
                "telegram_chat_id": maybe(json!(-1_000 - n as i64)), "language": maybe(json!("pt-BR")), "timezone": maybe(json!("Asia/Kolkata")),
                "name": maybe(json!(word())), "first_name": maybe(json!(word())), "last_name": maybe(json!(word())),
                "attributes": {
                    "plan": maybe(json!(word())), "tags": maybe(json!(["a", "=b", "c d"])), "score": maybe(json!(-0.5 - n as f64)),
                    "vip": maybe(json!(n % 2 == 0)), "since": maybe(json!("2026-02-28")),
                },
            });
            create(&stage, contact).await;
        }
        let before: Vec<Value> = all(&stage).await.iter().map(kept).collect();
        for (format, media_type) in [(Format::Csv, "text/csv"), (Format::Ndjson, "application/x-ndjson")] {
            let file = exported(&stage, format).await;
            // Onto what is there: nothing changes.
            let again = import_file(&stage, json!({}), media_type, &file).await;
            assert_eq!(counts(&again), [120, 0, 120, 0, 0, 0], "{:?}", again.problem);
            assert_eq!(all(&stage).await.iter().map(kept).collect::<Vec<_>>(), before);
            // Into nothing: the same contacts.
            for contact in all(&stage).await {
                contacts::delete(&stage.engine, &stage.caller, contact.id).await.unwrap();
            }
            let anew = import_file(&stage, json!({}), media_type, &file).await;
            assert_eq!(counts(&anew), [120, 120, 0, 0, 0, 0]);
            assert_eq!(all(&stage).await.iter().map(kept).collect::<Vec<_>>(), before);
        }
    }

    async fn a_segment_counts_who_belongs_to_it_now(db: TestDb) {
        let stage = Stage::new(&db).await;
        stage.account("sandbox", json!({}), None).await;
        attribute(&stage, "plan", "text").await;
        let ada = create(&stage, json!({"email": "ada@example.com", "attributes": {"plan": "pro"}})).await;
        create(&stage, json!({"email": "bob@example.com", "attributes": {"plan": "pro"}})).await;
        create(&stage, json!({"email": "eve@example.com"})).await;
        let conditions = json!({"all": [{"attribute": "plan", "is": "pro"}, {"not": {"message": {"was": "accepted", "within_days": 30}}}]});
        let new = serde_json::from_value(json!({"name": "Quiet", "conditions": conditions})).unwrap();
        let made = json_of(segments::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await);
        let id: model::SegmentId = made["id"].as_str().unwrap().parse().unwrap();
        let count = async || segments::preview_stored(&stage.engine, &stage.caller, id, segments::Way::default()).await.unwrap().contacts;
        assert_eq!(count().await, 2);
        stage.send(json!({"to": {"contact_id": ada}, "channel": "email", "content": {"subject": "Hi", "text": "Hello"}})).await;
        assert_eq!(count().await, 1);
        stage.world.clock.advance_ms(31 * 86_400_000);
        assert_eq!(count().await, 2);
        let query = ContactQuery { segment_id: Some(id), ..ContactQuery::default() };
        assert_eq!(contacts::list(&stage.engine, &stage.caller, &query).await.unwrap().data.len(), 2);
        contacts::attributes::delete(&stage.engine, &stage.caller, "plan".to_owned()).await.unwrap();
        assert_eq!(segments::preview_stored(&stage.engine, &stage.caller, id, segments::Way::default()).await.unwrap_err().code, "segment_unusable");
    }
}
