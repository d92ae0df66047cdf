//! What a Mailjet account has besides mails: senders and their DNS entries, event callback URLs, counters.
//! <https://dev.mailjet.com/email/reference/sender-addresses-and-domains/>

use serde_json::{Value, json};

use super::rest_error;
use crate::{
    holdings::{is_id, is_published},
    mime::bare,
    provider::{Cx, text},
    request::{Reply, Request},
};

const EVENTS: &[&str] = &["sent", "open", "click", "bounce", "blocked", "spam", "unsub"];

fn data(data: Vec<Value>) -> Result<Reply, Reply> {
    with(200, data)
}

fn with(status: u16, data: Vec<Value>) -> Result<Reply, Reply> {
    Ok(Reply::json(status, &json!({"Count": data.len(), "Total": data.len(), "Data": data})))
}

fn missing() -> Reply {
    rest_error(404, "Object not found")
}

/// Answers what is left below `/v3/REST`.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, path: &[&str]) -> Result<Reply, Reply> {
    match path {
        ["sender", rest @ ..] => senders(cx, request, rest),
        ["dns", name, rest @ ..] => dns(cx, request, name, rest),
        ["eventcallbackurl", rest @ ..] => event_urls(cx, request, rest),
        ["statcounters"] if request.method == "GET" => counters(cx, request),
        _ => Err(missing()),
    }
}

/// The account's senders: its own domain, which is active, and those that were made.
fn all(cx: &Cx<'_>) -> Vec<Value> {
    let kept = cx.list("senders");
    let from = bare(cx.get("from"));
    let own = format!("*@{}", from.rsplit('@').next().unwrap_or_default());
    match kept.iter().any(|sender| sender["Email"] == own.as_str()) {
        true => kept,
        false => [vec![json!({"ID": 1, "DNSID": 1, "Email": own, "EmailType": "unknown", "Status": "Active", "IsChecked": true})], kept].concat(),
    }
}

/// True for a domain mails may come from.
pub(super) fn is_verified(cx: &Cx<'_>, domain: &str) -> bool {
    let wanted = format!("*@{domain}");
    all(cx).iter().any(|sender| sender["Status"] == "Active" && text(sender, "/Email").eq_ignore_ascii_case(&wanted))
}

fn senders(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = all(cx);
    let at = |id: &str| all.iter().position(|sender| is_id(&sender["ID"], id)).ok_or_else(missing);
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let domain = request.parameters().some("Domain");
            all.retain(|sender| {
                domain.as_deref().is_none_or(|domain| text(sender, "/Email").ends_with(&format!("@{domain}")))
            });
            data(all)
        }
        ("POST", []) => {
            let body = request.json().unwrap_or_default();
            let email = text(&body, "/Email");
            if !email.contains('@') {
                return Err(rest_error(400, "Invalid Email"));
            }
            if all.iter().any(|sender| sender["Email"] == email) {
                return Err(rest_error(400, "MJ18 A sender with this email address already exists"));
            }
            let id = 100 + all.len();
            let made = json!({"ID": id, "DNSID": id, "Email": email, "EmailType": "unknown", "Status": "Inactive", "IsChecked": false});
            all.push(made.clone());
            cx.keep("senders", &all.into());
            with(201, vec![made])
        }
        ("POST", [id, "validate"]) => {
            let at = at(id)?;
            if all[at]["IsChecked"] != true {
                return Err(rest_error(400, "The token was found neither on the website nor in the DNS"));
            }
            all[at]["Status"] = "Active".into();
            cx.keep("senders", &all.into());
            Ok(Reply::json(200, &json!({"ValidationMethod": "DNS", "Errors": {}, "GlobalError": ""})))
        }
        ("DELETE", [id]) => {
            all.remove(at(id)?);
            cx.keep("senders", &all.into());
            Ok(Reply::empty(204))
        }
        _ => Err(missing()),
    }
}

fn dns(cx: &mut Cx<'_>, request: &Request, name: &str, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = all(cx);
    let wanted = format!("*@{name}");
    let at = all.iter().position(|sender| sender["Email"] == wanted.as_str()).ok_or_else(missing)?;
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let status = if all[at]["IsChecked"] == true { "OK" } else { "Not checked" };
            data(vec![json!({
                "ID": all[at]["DNSID"], "Domain": name, "DKIMRecordName": format!("mailjet._domainkey.{name}."), "DKIMRecordValue": "k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDA",
                "DKIMStatus": status, "IsCheckInProgress": false, "OwnerShipToken": "5f4dcc3b5aa765d61d8327deb882cf99",
                "OwnerShipTokenRecordName": format!("mailjet._5f4dcc3b.{name}."), "SPFRecordValue": "v=spf1 include:spf.mailjet.com ?all", "SPFStatus": status,
            })])
        }
        ("POST", ["check"]) => {
            let is_found = is_published(name);
            all[at]["IsChecked"] = is_found.into();
            cx.keep("senders", &all.into());
            let status = if is_found { "OK" } else { "Error" };
            data(vec![json!({"DKIMStatus": status, "DKIMErrors": [], "SPFStatus": status, "SPFErrors": []})])
        }
        _ => Err(missing()),
    }
}

/// One URL for each kind of event. Where events go is one address here: the last that was named.
/// <https://dev.mailjet.com/email/reference/webhook/>
fn event_urls(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = cx.list("event_urls");
    let body = request.json().unwrap_or_default();
    match (request.method.as_str(), rest) {
        ("GET", []) => data(all),
        ("POST", []) | ("PUT", [_]) => {
            let url = text(&body, "/Url").to_owned();
            if !url.starts_with("http") {
                return Err(rest_error(400, "Invalid Url"));
            }
            let kind = text(&body, "/EventType");
            let at = match rest {
                [id] => all.iter().position(|row| is_id(&row["ID"], id)).ok_or_else(missing)?,
                _ if !EVENTS.contains(&kind) => return Err(rest_error(400, "Invalid EventType")),
                _ if all.iter().any(|row| row["EventType"] == kind) => {
                    return Err(rest_error(400, "MJ18 A callback of this type already exists"));
                }
                _ => {
                    all.push(json!({"ID": 10 + all.len(), "EventType": kind, "IsBackup": false, "Status": "alive", "Version": 1}));
                    all.len() - 1
                }
            };
            all[at]["Url"] = url.as_str().into();
            if body["Version"].is_number() {
                all[at]["Version"] = body["Version"].clone();
            }
            let row = all[at].clone();
            cx.keep("event_urls", &all.into());
            cx.changes.push(("callback_url", url));
            with(if rest.is_empty() { 201 } else { 200 }, vec![row])
        }
        _ => Err(missing()),
    }
}

/// <https://dev.mailjet.com/email/reference/statistics/>
fn counters(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    if [("CounterSource", "APIKey"), ("CounterTiming", "Message"), ("CounterResolution", "Day")]
        .iter()
        .any(|(name, wanted)| asked.get(name) != *wanted)
    {
        return Err(rest_error(400, "CounterSource, CounterTiming and CounterResolution are required"));
    }
    let days = cx.tallies(asked.get("FromTS"), asked.get("ToTS")).into_iter().map(|day| {
        json!({
            "APIKeyID": 1, "Timeslice": format!("{}T00:00:00Z", day.day), "Total": day.sent, "MessageSentCount": day.sent, "MessageHardBouncedCount": day.bounced,
            "MessageSoftBouncedCount": day.bounced_for_now, "MessageSpamCount": day.complained, "MessageUnsubscribedCount": day.unsubscribed,
            "MessageOpenedCount": day.opened, "MessageClickedCount": day.clicked, "MessageBlockedCount": 0, "MessageDeferredCount": 0, "MessageQueuedCount": 0,
        })
    });
    data(days.collect())
}
