//! Files: inline, uploaded, by URL; held as long as a message needs them, and gone afterwards.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use engine::{attachments, keys::Caller, once::Repeat};
use model::{Answer, AttachmentId, Blobs, BoxFuture, Broken, Call, HttpAnswer, MessageId};
use serde_json::{Value, json};
use testkit::{MemoryBlobs, Stage, TestDb, World, http_answer, smtp_accepted};

use crate::setting::{body, code, column, json as read, pointers, repeat};

const PDF: &[u8] = b"%PDF-1.7 a ticket";

fn world(db: &TestDb) -> World {
    answering(db, |_| http_answer(404, ""))
}

/// A world with a mail server, and a web server that answers as told.
fn answering(db: &TestDb, web: impl Fn(&str) -> Result<Answer, Broken> + Send + Sync + 'static) -> World {
    World::answering(db, move |call| match call {
        Call::Http(call) => web(&call.url),
        Call::Smtp(_) => smtp_accepted(),
        Call::Local => Ok(Answer::Local),
    })
}

async fn stage(world: World) -> Stage {
    let stage = Stage::in_world(world).await;
    stage.account("smtp", json!({ "host": "mail.example" }), Some("tickets@acme.example")).await;
    stage
}

fn mail(attachments: Value) -> Value {
    json!({
        "to": { "email": "ada@example.com" },
        "content": { "subject": "Your ticket", "text": "Here it is" },
        "attachments": attachments
    })
}

fn inline(bytes: &[u8]) -> Value {
    json!({ "filename": "ticket.pdf", "content_type": "application/pdf", "content_base64": STANDARD.encode(bytes) })
}

async fn upload(stage: &Stage, name: &str, bytes: &'static [u8]) -> AttachmentId {
    let upload = attachments::upload(
        &stage.engine,
        &stage.caller,
        &Repeat::NONE,
        name,
        "application/pdf",
        Bytes::from_static(bytes),
    );
    read(&upload.await.unwrap())["id"].as_str().unwrap().parse().unwrap()
}

/// The mails sent since the last look, unfolded.
fn mails(stage: &Stage) -> Vec<String> {
    let mail = |call: Arc<Call>| match &*call {
        Call::Smtp(call) => Some(String::from_utf8(call.data.to_vec()).unwrap().replace("\r\n", "")),
        _ => None,
    };
    stage.world.transport.take_calls().into_iter().filter_map(mail).collect()
}

async fn purge(stage: &Stage) -> u64 {
    attachments::purge(&stage.engine, stage.world.ports.clock.now()).await.unwrap()
}

fn days(stage: &Stage, days: u64) {
    stage.world.clock.advance_ms(days * 86_400_000);
}

/// Files in memory that count how often they are read.
struct Counting(Arc<MemoryBlobs>, AtomicUsize);

impl Blobs for Counting {
    fn put(&self, sha256: &str, bytes: Bytes) -> BoxFuture<'static, io::Result<()>> {
        self.0.put(sha256, bytes)
    }

    fn get(&self, sha256: &str) -> BoxFuture<'static, io::Result<Bytes>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.get(sha256)
    }

    fn remove(&self, sha256: &str) -> BoxFuture<'static, io::Result<()>> {
        self.0.remove(sha256)
    }
}

testkit::both! {
    async fn an_inline_file_leaves_with_its_mail(db: TestDb) {
        let stage = stage(world(&db)).await;
        let mut request = mail(json!([inline(PDF)]));
        request["content"]["attachments"] =
            json!([{ "filename": "logo.png", "content_type": "image/png", "content_base64": STANDARD.encode(b"a logo"), "content_id": "logo" }]);
        stage.send(request).await;
        stage.dispatch().await;
        let mail = mails(&stage).remove(0);
        for part in [STANDARD.encode(PDF), STANDARD.encode(b"a logo"), "ticket.pdf".to_owned(), "logo.png".to_owned()] {
            assert!(mail.contains(&part), "{part} in {mail}");
        }
        assert_eq!(stage.world.blobs.len(), 2);
        // Its bytes go when no retry can need them any more.
        days(&stage, 30);
        assert_eq!(purge(&stage).await, 0);
        days(&stage, 2);
        assert_eq!(purge(&stage).await, 2);
        assert!(stage.world.blobs.is_empty());
    }

    async fn the_same_file_is_stored_once(db: TestDb) {
        let stage = stage(world(&db)).await;
        for _ in 0..5 {
            stage.send(mail(json!([inline(PDF)]))).await;
        }
        assert_eq!(stage.world.blobs.len(), 1);
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM attachments").await, "1");
    }

    async fn an_upload_is_named_by_id(db: TestDb) {
        let stage = stage(world(&db)).await;
        let key = repeat("upload", "1");
        let request = json!({ "filename": "ticket.pdf", "content_type": "application/pdf", "content_base64": STANDARD.encode(PDF) });
        let first = attachments::upload_json(&stage.engine, &stage.caller, &key, body(request.clone())).await.unwrap();
        let second = attachments::upload_json(&stage.engine, &stage.caller, &key, body(request)).await.unwrap();
        assert_eq!((first.status, &first.body, second.replayed), (201, &second.body, true));
        let answer = read(&first);
        assert_eq!((answer["size"].as_u64(), answer["filename"].as_str()), (Some(PDF.len() as u64), Some("ticket.pdf")));
        let id: AttachmentId = answer["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(attachments::content(&stage.engine, &stage.caller, id).await.unwrap().bytes, PDF);
        let listed = attachments::list(&stage.engine, &stage.caller, None, None).await.unwrap();
        assert_eq!(listed.data, [attachments::get(&stage.engine, &stage.caller, id).await.unwrap()]);
        stage.send(mail(json!([{ "attachment_id": id, "filename": "Your ticket.pdf" }]))).await;
        stage.dispatch().await;
        let mail = mails(&stage).remove(0);
        assert!(mail.contains("Your ticket.pdf") && mail.contains(&STANDARD.encode(PDF)));
    }

    async fn a_deleted_upload_still_leaves_with_messages_that_name_it(db: TestDb) {
        let stage = stage(world(&db)).await;
        let id = upload(&stage, "ticket.pdf", PDF).await;
        let mut request = mail(json!([{ "attachment_id": id }]));
        request["send_at"] = json!(stage.world.ports.clock.now().plus_seconds(10 * 86_400));
        stage.send(request).await;
        attachments::delete(&stage.engine, &stage.caller, id).await.unwrap();
        assert_eq!(code(attachments::get(&stage.engine, &stage.caller, id).await), "not_found");
        assert_eq!(code(attachments::delete(&stage.engine, &stage.caller, id).await), "not_found");
        let refused = stage.try_send(mail(json!([{ "attachment_id": id }])), None).await;
        assert_eq!(pointers(refused), ["/attachments/0/attachment_id"]);
        assert_eq!(purge(&stage).await, 0);
        days(&stage, 10);
        stage.tick().await;
        assert!(mails(&stage)[0].contains(&STANDARD.encode(PDF)));
        days(&stage, 31);
        assert_eq!(purge(&stage).await, 1);
        assert!(stage.world.blobs.is_empty());
    }

    async fn bytes_stay_while_anybody_names_them(db: TestDb) {
        let stage = stage(world(&db)).await;
        let mine = upload(&stage, "ticket.pdf", PDF).await;
        let stranger = Caller::system(Some(crate::setting::tenant(stage.engine.parts(), "Stranger").await.0));
        assert_eq!(code(attachments::get(&stage.engine, &stranger, mine).await), "not_found");
        assert_eq!(code(attachments::content(&stage.engine, &stranger, mine).await), "not_found");
        assert_eq!(code(attachments::delete(&stage.engine, &stranger, mine).await), "not_found");
        let upload = attachments::upload(&stage.engine, &stranger, &Repeat::NONE, "same.pdf", "application/pdf", Bytes::from_static(PDF));
        let theirs: AttachmentId = read(&upload.await.unwrap())["id"].as_str().unwrap().parse().unwrap();
        assert_eq!(pointers(stage.try_send(mail(json!([{ "attachment_id": theirs }])), None).await), ["/attachments/0/attachment_id"]);
        attachments::delete(&stage.engine, &stage.caller, mine).await.unwrap();
        assert_eq!(purge(&stage).await, 1);
        assert_eq!(attachments::content(&stage.engine, &stranger, theirs).await.unwrap().bytes, PDF);
        attachments::delete(&stage.engine, &stranger, theirs).await.unwrap();
        assert_eq!(purge(&stage).await, 1);
        assert!(stage.world.blobs.is_empty());
        // And the same file can come back.
        assert_eq!(attachments::content(&stage.engine, &stage.caller, self::upload(&stage, "ticket.pdf", PDF).await).await.unwrap().bytes, PDF);
    }

    async fn a_url_is_fetched_when_the_message_is_accepted(db: TestDb) {
        let stage = stage(answering(&db, |url| {
            let headers = vec![("content-type".to_owned(), "application/pdf".to_owned())];
            match url {
                "https://files.example/ticket.pdf" => {
                    Ok(Answer::Http(HttpAnswer { status: 200, headers, body: PDF.into(), is_truncated: false }))
                }
                "https://files.example/large.pdf" => {
                    Ok(Answer::Http(HttpAnswer { status: 200, headers, body: PDF.into(), is_truncated: true }))
                }
                "http://169.254.169.254/latest" => Err(Broken {
                    may_have_acted: false,
                    code: "refused_address",
                    detail: "169.254.169.254 is a link-local address.".to_owned(),
                }),
                _ => http_answer(404, "no"),
            }
        }))
        .await;
        let by_url = |url: &str| mail(json!([{ "url": url }]));
        for _ in 0..3 {
            stage.send(by_url("https://files.example/ticket.pdf")).await;
        }
        let fetches = stage.world.transport.take_calls();
        let Call::Http(fetch) = &*fetches[0] else { panic!("a request") };
        assert_eq!((fetches.len(), fetch.is_untrusted, fetch.timeout_ms), (1, true, 10_000));
        stage.dispatch().await;
        assert!(mails(&stage)[0].contains(&STANDARD.encode(PDF)));
        for (url, expected, word) in [
            ("https://files.example/gone.pdf", "attachment_not_fetched", "404"),
            ("https://files.example/large.pdf", "attachment_too_large", "more than"),
            ("http://169.254.169.254/latest", "attachment_not_fetched", "link-local"),
        ] {
            let error = stage.try_send(by_url(url), None).await.unwrap_err();
            assert_eq!((error.code, error.kind.status(), error.errors[0].pointer.as_str()), (expected, 422, "/attachments/0/url"));
            assert!(error.detail.contains(word), "{}", error.detail);
        }
    }

    async fn limits_are_told(db: TestDb) {
        let stage = stage(world(&db)).await;
        let large: &'static [u8] = vec![7; 13 << 20].leak();
        let refused = async |attachments: Value| {
            let error = stage.try_send(mail(attachments), None).await.unwrap_err();
            (error.code, error.errors.into_iter().map(|field| field.pointer).collect::<Vec<_>>().join(" "))
        };
        let many: Vec<Value> = (0..21).map(|_| inline(PDF)).collect();
        assert_eq!(refused(json!(many)).await, ("invalid_request", "/attachments".to_owned()));
        let one = vec![inline(&large[..(10 << 20) + 1])];
        assert_eq!(refused(json!(one)).await, ("attachment_too_large", "/attachments/0/content_base64".to_owned()));
        let id = upload(&stage, "large.pdf", large).await;
        let two = json!([{ "attachment_id": id }, { "attachment_id": id }]);
        assert_eq!(refused(two).await, ("attachment_too_large", "/attachments/1".to_owned()));
        for (file, pointer) in [
            (json!({}), "/attachments/0"),
            (json!({ "attachment_id": id, "url": "https://files.example/x" }), "/attachments/0"),
            (json!({ "filename": "a/b", "content_type": "text/plain", "content_base64": "eA==" }), "/attachments/0/filename"),
            (json!({ "filename": "a\r\nb", "content_type": "text/plain", "content_base64": "eA==" }), "/attachments/0/filename"),
            (json!({ "filename": "a", "content_type": "text", "content_base64": "eA==" }), "/attachments/0/content_type"),
            (json!({ "filename": "a", "content_type": "text/plain", "content_base64": "e" }), "/attachments/0/content_base64"),
            (json!({ "content_base64": "eA==" }), "/attachments/0/filename /attachments/0/content_type"),
            (json!({ "attachment_id": id, "content_id": "<x>" }), "/attachments/0/content_id"),
        ] {
            assert_eq!(refused(json!([file])).await, ("invalid_request", pointer.to_owned()));
        }
        let upload = |bytes: Bytes| attachments::upload(&stage.engine, &stage.caller, &Repeat::NONE, "x.bin", "a/b", bytes);
        let too_large = upload(Bytes::from(vec![0; attachments::UPLOAD_MAX + 1])).await.unwrap_err();
        assert_eq!((too_large.code, too_large.kind.status()), ("attachment_too_large", 413));
        assert_eq!(pointers(upload(Bytes::new()).await), ["/content_base64"]);
    }

    async fn a_file_of_a_campaign_is_read_once(db: TestDb) {
        let mut world = world(&db);
        let counting = Arc::new(Counting(Arc::clone(&world.blobs), AtomicUsize::new(0)));
        world.ports.blobs = Arc::<Counting>::clone(&counting);
        let stage = stage(world).await;
        let id = upload(&stage, "ticket.pdf", PDF).await;
        for _ in 0..40 {
            stage.send(mail(json!([{ "attachment_id": id }]))).await;
        }
        stage.dispatch().await;
        assert_eq!((mails(&stage).len(), counting.1.load(Ordering::Relaxed)), (40, 1));
    }

    async fn a_file_that_is_lost_fails_its_message_and_says_so(db: TestDb) {
        let stage = stage(world(&db)).await;
        let id = upload(&stage, "ticket.pdf", PDF).await;
        let message: MessageId = stage.send(mail(json!([{ "attachment_id": id }]))).await;
        let hash = attachments::get(&stage.engine, &stage.caller, id).await.unwrap().sha256;
        stage.world.blobs.remove(&hash).await.unwrap();
        stage.dispatch().await;
        assert_eq!(stage.status(message).await, "failed");
        assert!(stage.message(message).await.failure.unwrap().contains("attachment_gone"));
    }

    async fn an_upload_is_held_against_what_its_provider_takes_when_it_is_accepted(db: TestDb) {
        let stage = Stage::in_world(world(&db)).await;
        let meta = json!({ "phone_number_id": "1", "access_token": "t" });
        stage.account("whatsapp_cloud", meta, None).await;
        stage.account("telegram", json!({ "bot_token": "1:a" }), None).await;
        let picture = async |content_type: &str, size: usize| -> AttachmentId {
            let bytes = Bytes::from(vec![7; size]);
            let upload = attachments::upload(&stage.engine, &stage.caller, &Repeat::NONE, "a.bin", content_type, bytes);
            read(&upload.await.unwrap())["id"].as_str().unwrap().parse().unwrap()
        };
        let whatsapp = |id: AttachmentId| json!({
            "to": { "phone": "+4915112345678" }, "channel": "whatsapp", "content": { "media": [{ "type": "image", "attachment_id": id }] },
        });
        let telegram = |id: AttachmentId| json!({
            "to": { "telegram_chat_id": 7 }, "content": { "text": "Look", "media": [{ "type": "image", "attachment_id": id }] },
        });
        let fits = picture("image/png", 5 << 20).await;
        let large = picture("image/png", (5 << 20) + 1).await;
        let larger = picture("image/png", (10 << 20) + 1).await;
        let gif = picture("image/gif", 3).await;
        for good in [whatsapp(fits), telegram(large), telegram(gif)] {
            stage.send(good).await;
        }
        let place = ["/content/media/0/attachment_id"];
        for (bad, word) in [
            (whatsapp(large), "5242880"),
            (whatsapp(gif), "image/jpeg, image/png"),
            (telegram(larger), "10485760"),
            (whatsapp(AttachmentId::from_ulid(7)), "no such attachment"),
        ] {
            let mut dry = bad.clone();
            dry["dry_run"] = json!(true);
            for request in [bad, dry] {
                let error = stage.try_send(request, None).await.unwrap_err();
                let field = &error.errors[0];
                assert!(field.pointer == place[0] && field.detail.contains(word) && error.kind.status() == 422, "{error:?}");
            }
        }
        // In a batch the others go.
        let batch = json!({ "messages": [whatsapp(fits), whatsapp(large), whatsapp(fits)] });
        let reply = stage.engine.send_batch(&stage.caller, &serde_json::to_vec(&batch).unwrap(), None).await.unwrap();
        let answers = &read(&reply)["data"];
        assert_eq!(answers[1]["error"]["errors"][0]["pointer"], place[0], "{answers}");
        assert!(answers[0]["id"].is_string() && answers[2]["id"].is_string(), "{answers}");
        // From a template as well.
        for (name, id) in [("fits", fits), ("large", large)] {
            let variants = json!({ "en": { "media": [{ "type": "image", "attachment_id": id }] } });
            crate::templates::published_on(&stage, name, "whatsapp", variants).await;
        }
        let by_template = |name: &str| json!({ "to": { "phone": "+4915112345678" }, "channel": "whatsapp", "template": { "name": name } });
        stage.send(by_template("fits")).await;
        assert_eq!(pointers(stage.try_send(by_template("large"), None).await), place);
    }

    async fn an_upload_of_a_template_stays_for_the_messages_that_show_it(db: TestDb) {
        let stage = Stage::in_world(world(&db)).await;
        stage.account("telegram", json!({ "bot_token": "1:a" }), None).await;
        let id = upload(&stage, "ticket.pdf", PDF).await;
        let variants = json!({ "en": { "media": [{ "type": "document", "attachment_id": id }] } });
        crate::templates::published_on(&stage, "ticket", "telegram", variants).await;
        let later = stage.world.ports.clock.now().plus_seconds(10 * 86_400);
        stage.send(json!({ "to": { "telegram_chat_id": 7 }, "template": { "name": "ticket" }, "send_at": later })).await;
        attachments::delete(&stage.engine, &stage.caller, id).await.unwrap();
        days(&stage, 10);
        assert_eq!(purge(&stage).await, 0);
        days(&stage, 31);
        assert_eq!(purge(&stage).await, 1);
    }

    async fn a_dry_run_weighs_files_and_keeps_none(db: TestDb) {
        let stage = Stage::in_world(world(&db)).await;
        stage.account("mailjet", json!({ "api_key": "k", "secret_key": "s" }), Some("tickets@acme.example")).await;
        let dry = |files: Value| {
            let mut request = mail(files);
            request["dry_run"] = json!(true);
            request
        };
        let explained = stage.try_send(dry(json!([inline(PDF)])), None).await.unwrap();
        assert_eq!((&explained["dry_run"], &explained["content"]["attachments"]), (&json!(true), &Value::Null));
        assert!(stage.world.blobs.is_empty());
        assert_eq!(column(&db, "SELECT CAST(COUNT(*) AS TEXT) FROM attachments").await, "0");
        // Mailjet takes 15 MB of files in base64.
        let large: &'static [u8] = vec![7; 6 << 20].leak();
        let two = json!([inline(large), inline(large)]);
        for request in [dry(two.clone()), mail(two)] {
            assert_eq!(pointers(stage.try_send(request, None).await), ["/attachments"]);
        }
    }
}
