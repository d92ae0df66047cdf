//! A mail server: what it says to a recipient and to a whole mail. The session around it is `crate::smtp`.
//! RFC 5321 4.2 (replies), RFC 3463 (their enhanced codes); the words are those of Postfix 3.7.

use model::HttpCall;
use serde_json::{Value, json};

use crate::{
    fate::Fate,
    message::{Draft, Message, Stage},
    mime,
    provider::{Cx, Provider, Setting, Settings, account},
    request::{Reply, Request},
};

pub(crate) struct Smtp;

const SETTINGS: &[Setting] = &[
    Setting { name: "host", default: "127.0.0.1" },
    // Where the server listens; filled in when it does.
    Setting { name: "port", default: "" },
    Setting { name: "username", default: "simulator" },
    Setting { name: "password", default: "simulated-password" },
];

fn reply(status: u16, words: String) -> Reply {
    Reply::of(status, "text/plain", words)
}

impl Provider for Smtp {
    fn id(&self) -> &'static str {
        "smtp"
    }

    fn settings(&self) -> &'static [Setting] {
        SETTINGS
    }

    fn accounts(&self, settings: &Settings) -> Vec<Value> {
        let login = json!({
            "host": settings["host"], "port": settings["port"].parse().unwrap_or(0), "security": "starttls",
            "username": settings["username"], "password": settings["password"],
        });
        vec![account("smtp", "SMTP", Some("Acme Tickets <tickets@acme.example>"), login)]
    }

    /// The commands RCPT and DATA, with the envelope in the headers.
    fn answer(&self, cx: &mut Cx<'_>, request: &Request) -> Result<Reply, Reply> {
        let to = request.header("to").to_owned();
        match (request.method.as_str(), cx.fate(&to)) {
            ("RCPT", Fate::Refused | Fate::Bounces) => {
                let words = "Recipient address rejected: User unknown in virtual mailbox table";
                Err(reply(550, format!("550 5.1.1 <{to}>: {words}")))
            }
            ("RCPT", Fate::SoftBounces) => Err(reply(452, format!("452 4.2.2 <{to}>: Mailbox full"))),
            ("RCPT", Fate::Fails) => {
                Err(reply(554, format!("554 5.7.1 <{to}>: Recipient address rejected: Access denied")))
            }
            ("RCPT", Fate::Throttled) => Err(self.throttled(None)),
            ("RCPT", _) => Ok(reply(250, "250 2.1.5 Ok".to_owned())),
            ("DATA", _) => {
                let id = cx.hex(11).to_uppercase();
                let from = request.header("from").to_owned();
                let mut draft = Draft { id: id.clone(), channel: "email", to, from, ..Draft::default() };
                mime::describe(&mut draft, &request.body);
                cx.take(draft);
                Ok(reply(250, format!("250 2.0.0 Ok: queued as {id}")))
            }
            _ => Err(Reply::of(404, "text/plain", "SMTP is spoken on its own port")),
        }
    }

    fn throttled(&self, _after_s: Option<u64>) -> Reply {
        reply(450, "450 4.7.1 Throttling failure: Maximum sending rate exceeded".to_owned())
    }

    fn broken(&self, _status: u16) -> Reply {
        reply(451, "451 4.3.0 Error: queue file write error".to_owned())
    }

    fn report(&self, _cx: &Cx<'_>, _message: &Message, _stage: Stage) -> Option<HttpCall> {
        None
    }
}
