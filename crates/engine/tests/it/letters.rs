//! Answers by e-mail: to the address each message has of its own, through the listener's door and by POST, on both engines.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use model::{AccountId, ArrivedMail, AttachmentId, Call, MailDoor as _, MessageId, Welcome};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, smtp_accepted};
use tidings_engine::{
    accounts, attachments,
    callbacks::{OwnedRequest, mail::Returns},
    contacts,
    once::Repeat,
};

use crate::hooks::{call, log, neighbour, read, told};

/// A stage with a mail that was taken: its account, its id, and where it asks for answers.
async fn sent(db: &TestDb) -> (Stage, AccountId, MessageId, String) {
    let seen = Arc::new(Mutex::new(String::new()));
    let note = Arc::clone(&seen);
    let stage = Stage::in_world(World::answering(db, move |call| {
        if let Call::Smtp(smtp) = call {
            let mail = String::from_utf8_lossy(&smtp.data).into_owned();
            let asks = mail.lines().find_map(|line| line.strip_prefix("Reply-To: "));
            asks.unwrap_or_default().clone_into(&mut note.lock().unwrap());
        }
        smtp_accepted()
    }))
    .await;
    let settings = json!({
        "host": "mx.acme.example", "security": "none", "port": 25, "reply_domain": "reply.acme.example", "bounce_secret": "a-secret-for-bounces",
    });
    let account = stage.account("smtp", settings, Some("tickets@acme.example")).await;
    let content = json!({ "subject": "Your ticket", "text": "Are you coming?" });
    let id = stage.send(json!({ "to": { "email": "ada@mail.test" }, "channel": "email", "content": content })).await;
    stage.dispatch().await;
    assert_eq!(stage.status(id).await, "sent");
    let address = seen.lock().unwrap().clone();
    assert!(address.starts_with("r+") && address.ends_with("@reply.acme.example"), "{address}");
    (stage, account, id, address)
}

fn letter(headers: &str, text: &str) -> String {
    format!(
        "From: Ada <ada@mail.test>\r\nSubject: Re: Your ticket\r\nMessage-ID: <one@mail.test>\r\n{headers}Content-Type: text/plain\r\n\r\n{text}\r\n"
    )
}

const WITH_FILE: &str = "From: Ada <ada@mail.test>\r\nSubject: Re: Your ticket\r\nMessage-ID: <file@mail.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<p>Here it is</p>\r\n--b\r\nContent-Type: application/pdf; name=\"plan.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nJVBERi0xLjc=\r\n--b--\r\n";

fn brought(to: &str, data: impl Into<String>) -> ArrivedMail {
    ArrivedMail { to: to.to_owned(), data: data.into().into(), peer: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

async fn received(stage: &Stage) -> Vec<Value> {
    let page = read(stage.engine.inbound_messages(&stage.caller, &Default::default()).await);
    page["data"].as_array().unwrap().clone()
}

async fn suppressed(stage: &Stage) -> Value {
    read(stage.engine.suppressions(&stage.caller, &Default::default()).await)["data"].clone()
}

testkit::both! {
    async fn an_answer_becomes_a_message_that_names_the_mail_it_answers(db: TestDb) {
        let (stage, account, id, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        assert_eq!(door.knows(&address.to_uppercase()).await, Welcome::Yes);
        let text = "I come with two.\r\n\r\nOn Sat, Acme wrote:\r\n> Are you coming?";
        assert_eq!(door.take(brought(&address, letter("", text))).await, Welcome::Yes);
        let all = received(&stage).await;
        let [one] = &all[..] else { panic!("{all:?}") };
        assert_eq!((&one["channel"], &one["from"], &one["from_name"]), (&json!("email"), &json!("ada@mail.test"), &json!("Ada")));
        assert_eq!((&one["account_id"], &one["in_reply_to_message_id"]), (&json!(account), &json!(id)));
        assert_eq!((&one["mail"]["subject"], &one["mail"]["new_text"]), (&json!("Re: Your ticket"), &json!("I come with two.")));
        assert_eq!((one["to"].as_str(), &one["mail"]["is_automatic"]), (Some(address.as_str()), &json!(false)));
        assert!(one["text"].as_str().unwrap().contains("> Are you coming?"));
        // The same mail again, by the same way or another, is the same message.
        let events = told(&stage).await;
        assert_eq!(events.iter().filter(|kind| *kind == "message.received").count(), 1);
        assert_eq!(door.take(brought(&address, letter("X-Again: 1\r\n", text))).await, Welcome::Yes);
        assert_eq!(told(&stage).await, events);
        assert_eq!(received(&stage).await.len(), 1);
    }

    async fn files_are_stored_and_can_be_read(db: TestDb) {
        let (stage, _, id, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        assert_eq!(door.take(brought(&address, WITH_FILE)).await, Welcome::Yes);
        let one = received(&stage).await.remove(0);
        assert_eq!((one["in_reply_to_message_id"].clone(), one["text"].clone()), (json!(id), json!("Here it is")));
        let file = &one["mail"]["attachments"][0];
        assert_eq!((&file["filename"], &file["content_type"], &file["size"]), (&json!("plan.pdf"), &json!("application/pdf"), &json!(8)));
        let attachment: AttachmentId = file["attachment_id"].as_str().unwrap().parse().unwrap();
        let content = attachments::content(&stage.engine, &stage.caller, attachment).await.unwrap();
        assert_eq!(&content.bytes[..], b"%PDF-1.7");
        let other = neighbour(&stage).await;
        assert!(attachments::content(&stage.engine, &other.caller, attachment).await.is_err());
    }

    async fn files_beyond_what_is_kept_are_counted(db: TestDb) {
        let (stage, _, _, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        let part = |n: usize, text: &str| format!("--x\r\nContent-Type: text/plain; name=f{n}.txt\r\nContent-Disposition: attachment; filename=f{n}.txt\r\n\r\n{text}\r\n");
        // The third is empty, so there is nothing of it to keep.
        let files: String = (0..53).map(|n| part(n, if n == 2 { "" } else { "a" })).collect();
        let mail = format!(
            "From: ada@mail.test\r\nTo: {address}\r\nMessage-ID: <many@mail.test>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
             --x\r\nContent-Type: text/plain\r\n\r\nAll of them\r\n{files}--x--\r\n"
        );
        assert_eq!(door.take(brought(&address, mail)).await, Welcome::Yes);
        let one = received(&stage).await.remove(0);
        let kept = one["mail"]["attachments"].as_array().unwrap();
        assert_eq!((kept.len(), &kept[48]["filename"], &one["mail"]["attachments_left_out"]), (49, &json!("f49.txt"), &json!(4)));
    }

    async fn files_go_with_the_person_who_sent_them(db: TestDb) {
        let (stage, _, _, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        assert_eq!(door.take(brought(&address, WITH_FILE)).await, Welcome::Yes);
        // Somebody else sent the very same file.
        let other = WITH_FILE.replace("ada@", "bob@").replace("file@", "other@");
        assert_eq!(door.take(brought(&address, other)).await, Welcome::Yes);
        let files: Vec<AttachmentId> = received(&stage).await.iter()
            .map(|one| one["mail"]["attachments"][0]["attachment_id"].as_str().unwrap().parse().unwrap())
            .collect();
        let [bobs, adas] = files[..] else { panic!("{files:?}") };
        let contact = json!({ "email": "ada@mail.test" });
        let new = serde_json::from_value(contact).unwrap();
        let made = contacts::create(&stage.engine, &stage.caller, &Repeat::NONE, new).await.unwrap();
        let id = serde_json::from_slice::<Value>(&made.body).unwrap()["id"].as_str().unwrap().parse().unwrap();
        contacts::erase(&stage.engine, &stage.caller, &Repeat::NONE, id).await.unwrap();
        assert!(attachments::content(&stage.engine, &stage.caller, adas).await.is_err());
        assert_eq!(&attachments::content(&stage.engine, &stage.caller, bobs).await.unwrap().bytes[..], b"%PDF-1.7");
    }

    async fn what_comes_elsewhere_is_threaded_by_what_it_refers_to(db: TestDb) {
        let (stage, account, id, _) = sent(&db).await;
        let foreign = MessageId::from_ulid(id.ulid() ^ (1 << 90));
        let view = accounts::get(stage.engine.parts(), &stage.caller, account).await.unwrap();
        let url = view.mail_url.unwrap();
        let path = url.split_once(&account.to_string()).unwrap().1.to_owned();
        let post = |body: String| OwnedRequest {
            method: "POST".to_owned(),
            path: path.clone(),
            headers: vec![("content-type".to_owned(), "message/rfc822".to_owned())],
            body: body.into(),
            ..OwnedRequest::default()
        };
        // A mail server's account takes only what answers a mail: it is no mailbox.
        let refers = |id: MessageId| format!("To: tickets@acme.example\r\nIn-Reply-To: <{id}@acme.example>\r\n");
        assert_eq!(call(&stage, account, post(letter(&refers(id), "Yes"))).await, Ok(200));
        assert_eq!(call(&stage, account, post(letter(&refers(foreign), "Yes"))).await, Ok(200));
        assert!(received(&stage).await.is_empty());
        assert_eq!(log(&stage).await.len(), 2);
        // At a provider everything that comes to the domain is a message, with or without a mail it answers.
        let settings = json!({ "api_key": "0123456789abcdef0123456789abcdef", "secret_key": "fedcba9876543210fedcba9876543210" });
        let mailjet = stage.account("mailjet", settings, Some("tickets@acme.example")).await;
        let url = accounts::get(stage.engine.parts(), &stage.caller, mailjet).await.unwrap().mail_url.unwrap();
        let path = url.split_once(&mailjet.to_string()).unwrap().1.to_owned();
        for (number, (refers, wanted)) in [(format!("<x@y> <{id}@acme.example>"), json!(id)), (format!("<{foreign}@acme.example>"), json!(null)), (String::new(), json!(null))].into_iter().enumerate() {
            let body = json!({
                "Recipient": "support@reply.acme.example", "Text-part": "Yes",
                "Headers": { "From": "ada@mail.test", "Message-ID": format!("<{number}@mail.test>"), "References": refers },
            });
            let request = OwnedRequest { method: "POST".to_owned(), path: path.clone(), body: body.to_string().into(), ..OwnedRequest::default() };
            assert_eq!(call(&stage, mailjet, request).await, Ok(200));
            assert_eq!(received(&stage).await[0]["in_reply_to_message_id"], wanted, "{number}");
        }
    }

    async fn words_act_in_what_people_write_and_not_in_what_machines_write(db: TestDb) {
        let (stage, _, _, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        let away = letter("Auto-Submitted: auto-replied\r\n", "STOP");
        assert_eq!(door.take(brought(&address, away)).await, Welcome::Yes);
        assert_eq!((received(&stage).await[0]["mail"]["is_automatic"].clone(), suppressed(&stage).await), (json!(true), json!([])));
        // Among other words it is none.
        let chat = letter("", "When does the show STOP?").replace("one@", "two@");
        assert_eq!(door.take(brought(&address, chat)).await, Welcome::Yes);
        assert_eq!(suppressed(&stage).await, json!([]));
        let stop = letter("", "STOP\r\n\r\n> Are you coming?").replace("one@", "three@");
        assert_eq!(door.take(brought(&address, stop)).await, Welcome::Yes);
        assert_eq!(suppressed(&stage).await[0]["address"], "ada@mail.test");
        // Nobody is written to in answer.
        stage.dispatch().await;
        let sent = read(stage.engine.messages(&stage.caller, &Default::default()).await);
        assert_eq!(sent["data"].as_array().unwrap().len(), 1);
        let start = letter("", "START").replace("one@", "four@");
        assert_eq!(door.take(brought(&address, start)).await, Welcome::Yes);
        assert_eq!(suppressed(&stage).await, json!([]));
    }

    async fn nobody_else_has_a_reply_address(db: TestDb) {
        let (stage, _, _, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        let mut forged = address.clone();
        forged.replace_range(57..61, if &address[57..61] == "aaaa" { "bbbb" } else { "aaaa" });
        for to in [forged.as_str(), "support@reply.acme.example", &address.replacen("r+", "b+", 1), &address.replace("reply.", "other.")] {
            assert_eq!(door.knows(to).await, Welcome::No, "{to}");
            assert_eq!(door.take(brought(to, letter("", "Hi"))).await, Welcome::No, "{to}");
        }
        assert!(received(&stage).await.is_empty());
    }

    async fn a_mail_keeps_the_address_it_names_for_answers(db: TestDb) {
        let (stage, _, _, _) = sent(&db).await;
        let content = json!({ "subject": "Your ticket", "text": "Hello", "reply_to": "boss@acme.example" });
        let id = stage.send(json!({ "to": { "email": "bob@mail.test" }, "channel": "email", "content": content })).await;
        stage.dispatch().await;
        assert_eq!(stage.status(id).await, "sent");
        let calls = stage.world.transport.calls();
        let Some(Call::Smtp(last)) = calls.last().map(|call| &**call) else { panic!("no mail left") };
        let mail = String::from_utf8_lossy(&last.data).into_owned();
        let asks: Vec<&str> = mail.lines().filter(|line| line.to_ascii_lowercase().starts_with("reply-to:")).collect();
        assert_eq!(asks, ["Reply-To: boss@acme.example"]);
    }
}
