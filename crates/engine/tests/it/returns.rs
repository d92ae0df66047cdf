//! Mails about mails: bounces and complaints that come back to return addresses, or by POST, on both engines.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Mutex},
};

use model::{AccountId, ArrivedMail, Call, MailDoor as _, MessageId, Welcome};
use serde_json::{Value, json};
use testkit::{Stage, TestDb, World, smtp_accepted};
use tidings_engine::{
    accounts,
    callbacks::{OwnedRequest, mail::Returns},
};

use crate::hooks::{call, log, read, told};

/// A stage with a mail that was taken: its account, its id, and the return address it left with.
async fn sent(db: &TestDb) -> (Stage, AccountId, MessageId, String) {
    let seen = Arc::new(Mutex::new(String::new()));
    let note = Arc::clone(&seen);
    let stage = Stage::in_world(World::answering(db, move |call| {
        if let Call::Smtp(smtp) = call {
            smtp.mail_from.clone_into(&mut note.lock().unwrap());
        }
        smtp_accepted()
    }))
    .await;
    let settings = json!({
        "host": "mx.acme.example", "security": "none", "port": 25, "bounce_domain": "bounce.acme.example", "bounce_secret": "a-secret-for-bounces",
    });
    let account = stage.account("smtp", settings, Some("tickets@acme.example")).await;
    let content = json!({ "subject": "Your ticket", "text": "Hello" });
    let id = stage.send(json!({ "to": { "email": "ada@mail.test" }, "channel": "email", "content": content })).await;
    stage.dispatch().await;
    assert_eq!(stage.status(id).await, "sent");
    let address = seen.lock().unwrap().clone();
    assert!(address.starts_with("b+") && address.ends_with("@bounce.acme.example"), "{address}");
    (stage, account, id, address)
}

/// The reply address a mail left with.
fn reply_address(data: &[u8]) -> String {
    let text = String::from_utf8_lossy(data);
    let (before, _) = text.split_once("@reply.acme.example").expect("asks for answers to an address of its own");
    format!("{}@reply.acme.example", &before[before.rfind("r+").unwrap()..])
}

fn bounce(to: &str, status: &str, original: &str) -> String {
    format!(
        "From: MAILER-DAEMON@mx.mail.test\r\nTo: {to}\r\nSubject: Undelivered\r\nContent-Type: multipart/report; report-type=delivery-status; boundary=\"b\"\r\n\r\n\
         --b\r\nContent-Type: text/plain\r\n\r\nSorry.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.mail.test\r\n\r\n\
         Final-Recipient: rfc822; ada@mail.test\r\nAction: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp; 550 {status} so it is\r\n\r\n\
         --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <{original}>\r\n\r\n--b--\r\n"
    )
}

fn brought(to: &str, data: String) -> ArrivedMail {
    ArrivedMail { to: to.to_owned(), data: data.into(), peer: IpAddr::V4(Ipv4Addr::LOCALHOST) }
}

async fn suppressed(stage: &Stage) -> Value {
    read(stage.engine.suppressions(&stage.caller, &Default::default()).await)["data"].clone()
}

testkit::both! {
    async fn a_bounce_comes_back_to_the_return_address(db: TestDb) {
        let (stage, _, id, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        assert_eq!(door.knows(&address).await, Welcome::Yes);
        assert_eq!(door.knows(&address.to_uppercase()).await, Welcome::Yes);
        assert_eq!(door.take(brought(&address, bounce(&address, "5.1.1", "x@y"))).await, Welcome::Yes);
        let message = stage.message(id).await;
        assert_eq!(message.status.as_str(), "bounced");
        assert_eq!(told(&stage).await.iter().filter(|kind| *kind == "message.bounced").count(), 1);
        assert_eq!(suppressed(&stage).await[0]["address"], "ada@mail.test");
        // The same mail again changes nothing.
        let before = told(&stage).await;
        assert_eq!(door.take(brought(&address, bounce(&address, "5.1.1", "x@y"))).await, Welcome::Yes);
        assert_eq!(told(&stage).await, before);
    }

    async fn a_full_mailbox_is_a_bounce_and_no_suppression(db: TestDb) {
        let (stage, _, id, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        assert_eq!(door.take(brought(&address, bounce(&address, "4.2.2", "x@y"))).await, Welcome::Yes);
        assert_eq!(stage.status(id).await, "bounced");
        assert_eq!(suppressed(&stage).await, json!([]));
    }

    async fn nobody_else_has_an_address_here(db: TestDb) {
        let (stage, account, id, address) = sent(&db).await;
        let door = Returns(Arc::clone(&stage.engine));
        let mut forged = address.clone();
        forged.replace_range(57..61, if &address[57..61] == "aaaa" { "bbbb" } else { "aaaa" });
        for to in [forged.as_str(), "", "postmaster@bounce.acme.example", "tickets@acme.example", &address.replace("bounce.", "other.")] {
            assert_eq!(door.knows(to).await, Welcome::No, "{to}");
            assert_eq!(door.take(brought(to, bounce(to, "5.1.1", "x@y"))).await, Welcome::No, "{to}");
        }
        let note = format!("From: ada@mail.test\r\nTo: {address}\r\nAuto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nUntil Monday.\r\n");
        assert_eq!(door.take(brought(&address, note)).await, Welcome::Yes);
        assert_eq!(stage.status(id).await, "sent");
        let log = log(&stage).await;
        assert_eq!((log.len(), &log[0]["account_id"], &log[0]["observed"]), (1, &json!(account), &json!(0)));
    }

    async fn a_stop_by_mail_speaks_for_the_address_that_was_written_to(db: TestDb) {
        let seen = Arc::new(Mutex::new(String::new()));
        let note = Arc::clone(&seen);
        let stage = Stage::in_world(World::answering(&db, move |call| {
            if let Call::Smtp(smtp) = call {
                *note.lock().unwrap() = reply_address(&smtp.data);
            }
            smtp_accepted()
        }))
        .await;
        let settings = json!({
            "host": "mx.acme.example", "security": "none", "port": 25, "bounce_secret": "a-secret-for-bounces", "reply_domain": "reply.acme.example",
        });
        stage.account("smtp", settings, Some("tickets@acme.example")).await;
        let content = json!({ "subject": "News", "text": "Hello" });
        stage.send(json!({ "to": { "email": "ada@mail.test" }, "channel": "email", "content": content })).await;
        stage.dispatch().await;
        let (door, address) = (Returns(Arc::clone(&stage.engine)), seen.lock().unwrap().clone());
        let wrote = |id: &str, from: &str, text: &str| {
            brought(&address, format!("From: {from}\r\nTo: {address}\r\nMessage-ID: <{id}>\r\nSubject: Re: News\r\n\r\n{text}\r\n"))
        };
        assert_eq!(door.take(wrote("1@mail.test", "grace@other.test", "STOP")).await, Welcome::Yes);
        let list = suppressed(&stage).await;
        assert_eq!((list.as_array().unwrap().len(), &list[0]["address"]), (1, &json!("ada@mail.test")));
        assert_eq!(door.take(wrote("2@mail.test", "grace@other.test", "START")).await, Welcome::Yes);
        assert_eq!(suppressed(&stage).await, json!([]));
    }

    async fn reports_may_be_posted_and_name_their_mail(db: TestDb) {
        let (stage, account, id, _) = sent(&db).await;
        let view = accounts::get(stage.engine.parts(), &stage.caller, account).await.unwrap();
        let url = view.callback_url.unwrap();
        let path = url.split_once(&account.to_string()).unwrap().1;
        let post = |path: &str, to: &str, original: &str| OwnedRequest {
            method: "POST".to_owned(),
            path: path.to_owned(),
            headers: vec![("content-type".to_owned(), "message/rfc822".to_owned())],
            body: bounce(to, "5.1.1", original).into(),
            ..OwnedRequest::default()
        };
        let original = format!("{id}@acme.example");
        assert!(call(&stage, account, post("", "tickets@acme.example", &original)).await.is_err());
        assert_eq!(call(&stage, account, post(path, "tickets@acme.example", "other@acme.example")).await, Ok(200));
        assert_eq!(stage.status(id).await, "sent");
        assert_eq!(call(&stage, account, post(path, "tickets@acme.example", &original)).await, Ok(200));
        assert_eq!(stage.status(id).await, "bounced");
    }
}
