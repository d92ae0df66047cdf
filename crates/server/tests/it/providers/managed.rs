//! What an account has at its provider besides messages: mail domains, where it reports to, figures, suppression lists, uploads; and many messages at once.

use serde_json::{Value, json};

use super::{Expected, QUIET_HEARTBEATS, Stage, set, table::address};
use crate::http::Client;

/// Asks after which what is waited for will not come: each takes about a millisecond.
const ASKS_MAX: u32 = 20_000;

/// The mail providers that know domains: the account's name, and whether mails may come from any verified domain.
const DOMAINS: &[(&str, bool)] =
    &[("Amazon SES", true), ("SendGrid", true), ("Mailgun", false), ("Mailjet", true), ("Resend", true)];

/// What each mail provider shows of a day, and which lists it has.
const FIGURES: &[(&str, &[&str], &[&str])] = &[
    ("Amazon SES", &["sent", "bounced", "complained"], &["bounces", "complaints"]),
    (
        "SendGrid",
        &["sent", "delivered", "bounced", "complained", "opened", "clicked"],
        &["bounces", "complaints", "unsubscribes"],
    ),
    (
        "Mailgun",
        &["sent", "delivered", "bounced", "complained", "opened", "clicked"],
        &["bounces", "complaints", "unsubscribes"],
    ),
    ("Mailjet", &["sent", "bounced", "complained", "opened", "clicked"], &[]),
    ("Resend", &["sent", "delivered", "bounced", "complained", "opened", "clicked"], &["bounces", "complaints"]),
];

/// What becomes of the mails of which figures are asked, and the last event about each.
const STORIES: &[(&str, &str)] = &[
    ("ada", "message.delivered"),
    ("bounce", "message.bounced"),
    ("complaint", "message.complained"),
    ("clicks", "message.clicked"),
];

fn post(client: &mut Client, path: &str) -> Value {
    client.post(path, &Value::Null)
}

fn mail(stage: &Stage, account: &str, to: &Value, more: &Value) -> Value {
    let mut mail = json!({
        "to": to, "channel": "email", "account_id": stage.account(account), "purpose": "transactional", "content": {"subject": "Ticket", "text": "Hello"},
    });
    mail.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    mail
}

fn send(stage: &Stage, message: &Value) -> String {
    stage.client().post("/v1/messages", message)["id"].as_str().unwrap().to_owned()
}

/// What the provider kept in one of its settings.
fn kept(stage: &Stage, provider: &str, setting: &str) -> String {
    let shown = stage.control().get(&format!("/_sim/providers/{provider}"));
    shown["settings"][setting].as_str().unwrap_or_default().to_owned()
}

/// A domain at one provider: made, published, verified, used, deleted; and one whose records nobody publishes.
fn domain_at(stage: &Stage, account: &'static str, is_any_sender: bool) -> Option<Expected> {
    let (mut client, provider) = (stage.client(), stage.accounts[account].1.clone());
    let make = |client: &mut Client, name: &str| {
        client.post("/v1/domains", &json!({"name": name, "account_id": stage.account(account)}))
    };
    let made = make(&mut client, "news.acme.example");
    let path = format!("/v1/domains/{}", made["id"].as_str().unwrap());
    let records = made["records"].as_array().unwrap();
    stage.check(made["state"] == "pending" && !records.is_empty(), || format!("{account}: {made:#}"));
    records.iter().for_each(|record| stage.zone.publish(record));
    let seen = post(&mut client, &format!("{path}/verify"));
    let stands = |record: &Value| record["state"] == "ok" || record["state"] == "warning";
    let all = seen["records"].as_array().unwrap().iter().all(stands);
    stage.check(seen["state"] == "verified" && all, || format!("{account}: {seen:#}"));

    let other = make(&mut client, "unpublished.acme.example");
    let other = format!("/v1/domains/{}", other["id"].as_str().unwrap());
    let seen = post(&mut client, &format!("{other}/verify"));
    let are_missing = seen["records"].as_array().unwrap().iter().any(|record| record["state"] == "missing");
    stage.check(seen["state"] == "pending" && are_missing, || format!("{account}: {seen:#}"));
    assert_eq!(client.ask("DELETE", &other, &[], &Value::Null).status, 204);
    let setting = match provider.as_str() {
        "ses" => "identities",
        "mailjet" => "senders",
        _ => "domains",
    };
    let known = kept(stage, &provider, setting);
    let is_gone = known.contains("news.acme.example") && !known.contains("unpublished");
    stage.check(is_gone, || format!("{account} still knows the deleted domain"));
    if !is_any_sender {
        return None;
    }
    let sender = json!({"account_id": stage.account(account), "from": "News <hello@news.acme.example>"});
    let sender = client.post("/v1/senders", &sender);
    stage.check(sender["state"] == "verified", || format!("{account}: {sender:#}"));
    let to = json!({"email": format!("domains+{provider}@mail.test")});
    let id = send(stage, &mail(stage, account, &to, &json!({"sender_id": sender["id"]})));
    Some(Expected { about: format!("{account} from a new domain"), id, event: "message.delivered" })
}

fn figures_of(stage: &Stage, account: &str, shown: &[&str], lists: &[&str]) {
    let id = stage.account(account);
    let stats = stage.client().get(&format!("/v1/accounts/{id}/stats"));
    let days = stats["provider"]["days"].as_array().cloned().unwrap_or_default();
    let sum = |name: &str| days.iter().filter_map(|day| day[name].as_i64()).sum::<i64>();
    for name in ["sent", "delivered", "bounced", "complained", "opened", "clicked"] {
        let wanted = match name {
            _ if !shown.contains(&name) => 0,
            "sent" => 4,
            "delivered" => 3,
            _ => 1,
        };
        let is_shown = days.iter().any(|day| !day[name].is_null());
        let is_right = sum(name) == wanted && is_shown == shown.contains(&name);
        stage.check(is_right, || format!("{account}: {name} is not {wanted} in {:#}", stats["provider"]));
    }
    for list in ["bounces", "complaints", "unsubscribes"] {
        let page = stage.client().get(&format!("/v1/accounts/{id}/suppressions?list={list}"));
        let is_there = page["data"].as_array().unwrap().iter().any(|entry| {
            let address = entry["address"].as_str().unwrap();
            address.starts_with(if list == "bounces" { "bounce+" } else { "complaint+" })
        });
        let wanted = (lists.contains(&list), lists.contains(&list) && list != "unsubscribes");
        stage.check((page["offered"] == true, is_there) == wanted, || format!("{account} {list}: {page:#}"));
    }
}

/// What is written to each account whose provider can be told where to report to, and the last event about it.
const REPORTING: &[(&str, &str, &str, &str)] = &[
    ("Amazon SES", "email", "callback_url", "message.delivered"),
    ("SendGrid", "email", "callback_url", "message.delivered"),
    ("Mailgun", "email", "callback_url", "message.delivered"),
    ("Mailjet", "email", "callback_url", "message.delivered"),
    ("Resend", "email", "callback_url", "message.delivered"),
    ("WhatsApp Cloud", "whatsapp", "callback_url", "message.read"),
    ("Twilio", "sms", "callback_url", "message.delivered"),
    ("Vonage", "sms", "callback_url", "message.delivered"),
    ("Telegram", "telegram", "callback_url", "message.sent"),
];

testkit::both! {
    async fn mail_domains_are_made_verified_and_used_at_each_provider(db: TestDb) {
        let stage = Stage::open(&db);
        let sent: Vec<Expected> =
            DOMAINS.iter().filter_map(|(account, is_any_sender)| domain_at(&stage, account, *is_any_sender)).collect();
        stage.ends(&sent);
        let taken = stage.control().get("/_sim/messages");
        let from: Vec<&Value> = taken["data"].as_array().unwrap().iter().map(|message| &message["from"]).collect();
        stage.check(from.len() == sent.len() && from.iter().all(|from| **from == "hello@news.acme.example"), || format!("{taken:#}"));
        stage.close();
    }

    async fn providers_show_what_they_counted_and_whom_they_no_longer_write_to(db: TestDb) {
        let stage = Stage::open(&db);
        let mut expected = Vec::new();
        for (number, (account, ..)) in FIGURES.iter().enumerate() {
            for &(story, event) in STORIES {
                let id = send(&stage, &mail(&stage, account, &address("email", story, number), &Value::Null));
                expected.push(Expected { about: format!("{account} {story}"), id, event });
            }
        }
        stage.ends(&expected);
        for (account, shown, lists) in FIGURES {
            figures_of(&stage, account, shown, lists);
        }
        let none = stage.client().get(&format!("/v1/accounts/{}/stats", stage.account("SMTP")));
        stage.check(none["provider"].is_null(), || format!("{none:#}"));
        stage.close();
    }

    async fn providers_are_told_where_to_report_to(db: TestDb) {
        let stage = Stage::open(&db);
        let (mut client, mut control) = (stage.client(), stage.control());
        // What was made by hand is taken back. SES is to make a configuration set and a topic of its own.
        let own = json!({"settings": {"configuration_set": null, "topic_arn": null}});
        client.ask("PATCH", &format!("/v1/accounts/{}", stage.account("Amazon SES")), &[], &own).success();
        for (account, _, setting, _) in REPORTING {
            set(&mut control, &stage.accounts[*account].1, setting, "");
            let path = format!("/v1/accounts/{}/callbacks", stage.account(account));
            let before = client.get(&path);
            stage.check(before["state"] == "not_set" && before["can_be_set"] == true, || format!("{account}: {before:#}"));
            let done = post(&mut client, &path);
            let after = client.get(&path);
            stage.check(done["state"] == "set" && after["state"] == "set", || format!("{account}: {done:#} {after:#}"));
        }
        // SNS asks us to confirm, and reports nothing before.
        let mut asks = 0;
        while kept(&stage, "ses", "callback_url").is_empty() && asks < ASKS_MAX {
            asks += 1;
        }
        let expected: Vec<Expected> = REPORTING.iter().enumerate().map(|(number, &(account, channel, _, event))| {
            let content = if channel == "email" { json!({"subject": "Gate", "text": "7"}) } else { json!({"text": "Gate 7"}) };
            let message = json!({"to": address(channel, "ada", number), "channel": channel, "account_id": stage.account(account), "content": content});
            Expected { about: format!("{account} after its set-up"), id: send(&stage, &message), event }
        }).collect();
        stage.ends(&expected);
        for (provider, from) in [("telegram", "700000001"), ("twilio", "+15005550010"), ("vonage", "+15005550011"), ("whatsapp_cloud", "+15005550012")] {
            let channel = if provider == "whatsapp_cloud" { "whatsapp" } else { "sms" };
            control.post("/_sim/inbound", &json!({"provider": provider, "channel": channel, "from": from, "text": "Hi"}));
        }
        let mut events = stage.events("message.received");
        for _ in 0..4 {
            assert!(events.next_within(QUIET_HEARTBEATS).is_some(), "a message of somebody did not come");
        }
        stage.close();
    }
}
