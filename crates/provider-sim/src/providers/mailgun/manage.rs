//! What a Mailgun account has besides mails: domains, statistics by day, suppression lists.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/domains>

use serde_json::{Value, json};

use super::error;
use crate::{
    holdings::{is_published, page},
    message::Stage,
    provider::{Cx, rfc2822, text},
    request::{Reply, Request},
};

/// Most entries of a list on one page.
const PAGE_MAX: usize = 1_000;

fn unknown() -> Reply {
    error(404, "Domain not found")
}

/// Answers requests below `/v4/domains`, and the deletion below `/v3/domains`.
pub(super) fn domains(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = all(cx);
    let at =
        |name: &str| all.iter().position(|domain| text(domain, "/name").eq_ignore_ascii_case(name)).ok_or_else(unknown);
    match (request.method.as_str(), rest) {
        ("POST", []) => {
            let (fields, _) = super::fields(request);
            let name = fields.get("name").to_ascii_lowercase();
            if !name.contains('.') {
                return Err(error(400, "name parameter is not a valid domain"));
            }
            if at(&name).is_ok() {
                return Err(error(400, "This domain name is already taken"));
            }
            all.push(json!({"name": name, "state": "unverified"}));
            let shown = shown("Domain DNS records have been created", &all[all.len() - 1]);
            cx.keep("domains", &all.into());
            Ok(Reply::json(200, &shown))
        }
        ("GET", [name]) => {
            let known = &all[at(name)?];
            Ok(Reply::json(200, &shown("", known)))
        }
        ("PUT", [name, "verify"]) => {
            let at = at(name)?;
            if is_published(text(&all[at], "/name")) {
                all[at]["state"] = "active".into();
            }
            let shown = shown("Domain DNS records have been updated", &all[at]);
            cx.keep("domains", &all.into());
            Ok(Reply::json(200, &shown))
        }
        ("DELETE", [name]) => {
            all.remove(at(name)?);
            cx.keep("domains", &all.into());
            Ok(Reply::json(200, &json!({"message": "Domain will be deleted in the background"})))
        }
        _ => Err(unknown()),
    }
}

/// The account's domains: the one it sends from, which is active, and those that were made.
fn all(cx: &Cx<'_>) -> Vec<Value> {
    let kept = cx.list("domains");
    let own = cx.get("domain");
    match kept.iter().any(|domain| domain["name"] == own) {
        true => kept,
        false => [vec![json!({"name": own, "state": "active"})], kept].concat(),
    }
}

fn shown(message: &str, domain: &Value) -> Value {
    let (name, is_active) = (text(domain, "/name"), domain["state"] == "active");
    let valid = if is_active { "valid" } else { "unknown" };
    let record = |kind: &str, at: String, value: &str| json!({"record_type": kind, "name": at, "value": value, "valid": valid, "is_active": is_active, "cached": [], "priority": null});
    let mx = |host: &str| json!({"record_type": "MX", "value": host, "priority": "10", "valid": valid, "is_active": is_active, "cached": []});
    json!({
        "message": message, "domain": {"name": name, "state": domain["state"], "type": "custom", "is_disabled": false, "spam_action": "disabled", "wildcard": false},
        "sending_dns_records": [
            record("TXT", name.to_owned(), "v=spf1 include:mailgun.org ~all"),
            record("TXT", format!("pic._domainkey.{name}"), "k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC7"),
            record("CNAME", format!("email.{name}"), "mailgun.org"),
        ],
        "receiving_dns_records": [mx("mxa.mailgun.org"), mx("mxb.mailgun.org")],
    })
}

/// <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/stats>
pub(super) fn stats(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    let (events, known) = (
        asked.all("event"),
        ["accepted", "delivered", "failed", "complained", "opened", "clicked", "unsubscribed", "stored"],
    );
    if events.is_empty() || events.iter().any(|event| !known.contains(event)) {
        return Err(error(400, "event parameter is missing or not known"));
    }
    let day = |name: &str| {
        let seconds: Option<i64> = asked.get(name).parse().ok();
        seconds.map(|seconds| model::Timestamp::from_seconds(seconds).to_string())
    };
    let (Some(from), Some(to)) = (day("start"), day("end")) else {
        return Err(error(400, "start and end must be seconds since 1970"));
    };
    let days = cx.tallies(&from, &to).into_iter().map(|tally| {
        let count = |event: &str| match event {
            "accepted" => json!({"incoming": 0, "outgoing": tally.sent, "total": tally.sent}),
            "delivered" => json!({"smtp": tally.delivered, "http": 0, "total": tally.delivered}),
            "failed" => json!({"temporary": {"espblock": 0, "total": 0}, "permanent": {"bounce": tally.bounced, "delayed-bounce": tally.bounced_for_now, "suppress-bounce": 0, "suppress-unsubscribe": 0, "suppress-complaint": 0, "total": tally.bounced + tally.bounced_for_now}}),
            "complained" => json!({ "total": tally.complained }),
            "opened" => json!({ "total": tally.opened }),
            "clicked" => json!({ "total": tally.clicked }),
            "unsubscribed" => json!({ "total": tally.unsubscribed }),
            _ => json!({ "total": 0 }),
        };
        let mut row = json!({});
        let at: Option<model::Timestamp> = format!("{}T00:00:00Z", tally.day).parse().ok();
        row["time"] = at.map(|at| rfc2822(at).replace("+0000", "UTC")).into();
        for event in &events {
            row[*event] = count(event);
        }
        row
    });
    let stats: Vec<Value> = days.collect();
    Ok(Reply::json(200, &json!({"start": from, "end": to, "resolution": "day", "stats": stats})))
}

/// <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/bounces>
pub(super) fn suppressed(cx: &Cx<'_>, request: &Request, list: &str) -> Reply {
    let why = match list {
        "bounces" => Stage::Bounced,
        "complaints" => Stage::Complained,
        _ => Stage::Unsubscribed,
    };
    let all = cx.suppressed(why);
    let asked = request.parameters();
    // A page is named by the address before it.
    let after = asked.get("address");
    let offset = all.iter().position(|(address, _)| address == after).map_or(0, |at| at + 1);
    let limit = asked.get("limit").parse().unwrap_or(100).min(PAGE_MAX);
    let (rows, _) = page(all, offset, limit);
    let rows: Vec<Value> = rows
        .into_iter()
        .map(|(address, at)| {
            let mut row = json!({"address": address, "created_at": rfc2822(at).replace("+0000", "UTC")});
            if list == "bounces" {
                row["code"] = "550".into();
                row["error"] = "5.1.1 user unknown".into();
            }
            row
        })
        .collect();
    Reply::json(200, &json!({"items": rows, "paging": {}}))
}
