//! What a Resend account has besides mails: domains, webhooks, suppressions, metrics. <https://resend.com/docs/api-reference/domains>

use serde_json::{Value, json};

use super::error;
use crate::{
    holdings::{is_published, page},
    message::Stage,
    mime::bare,
    provider::{Cx, iso, text},
    request::{Reply, Request},
};

/// Most entries of a list on one page.
const PAGE_MAX: usize = 100;
/// Events of messages a webhook can be for.
const EVENTS: &[&str] = &[
    "email.sent",
    "email.delivered",
    "email.delivery_delayed",
    "email.bounced",
    "email.complained",
    "email.failed",
    "email.suppressed",
    "email.opened",
    "email.clicked",
    "email.received",
    "email.scheduled",
];
/// The account's own domain.
const OWN: &str = "d91cd9bd-1176-453e-8fc1-35364d380206";

fn missing(what: &str) -> Reply {
    error(404, "not_found", &format!("{what} not found"))
}

fn listed(data: Vec<Value>, has_more: bool) -> Reply {
    Reply::json(200, &json!({"object": "list", "has_more": has_more, "data": data}))
}

/// Answers requests below `/domains`.
pub(super) fn domains(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = all(cx);
    let at = |id: &str| all.iter().position(|domain| domain["id"] == id).ok_or_else(|| missing("Domain"));
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(listed(all, false)),
        ("POST", []) => {
            let body = request.json().unwrap_or_default();
            let name = text(&body, "/name");
            if !name.contains('.') {
                return Err(error(422, "validation_error", "The domain name is not valid."));
            }
            if all.iter().any(|known| known["name"] == name) {
                return Err(error(403, "validation_error", &format!("The {name} domain has been registered already.")));
            }
            let made = json!({"id": cx.uuid(), "name": name, "status": "not_started", "region": "eu-west-1", "created_at": iso(cx.now)});
            all.push(made.clone());
            cx.keep("domains", &all.into());
            Ok(Reply::json(201, &shown(&made)))
        }
        ("GET", [id]) => Ok(Reply::json(200, &shown(&all[at(id)?]))),
        ("POST", [id, "verify"]) => {
            let at = at(id)?;
            let status = if is_published(text(&all[at], "/name")) { "verified" } else { "pending" };
            all[at]["status"] = status.into();
            cx.keep("domains", &all.into());
            Ok(Reply::json(200, &json!({"object": "domain", "id": id})))
        }
        ("DELETE", [id]) => {
            all.remove(at(id)?);
            cx.keep("domains", &all.into());
            Ok(Reply::json(200, &json!({"object": "domain", "id": id, "deleted": true})))
        }
        _ => Err(error(404, "not_found", "The requested endpoint does not exist.")),
    }
}

/// The account's domains: that of its sender, which is verified, and those that were made.
fn all(cx: &Cx<'_>) -> Vec<Value> {
    let kept = cx.list("domains");
    let from = bare(cx.get("from"));
    let own = from.rsplit('@').next().unwrap_or_default();
    match kept.iter().any(|domain| domain["id"] == OWN) {
        true => kept,
        false => [vec![json!({"id": OWN, "name": own, "status": "verified", "region": "eu-west-1"})], kept].concat(),
    }
}

/// True for a domain mails may come from.
pub(super) fn is_verified(cx: &Cx<'_>, name: &str) -> bool {
    all(cx).iter().any(|domain| domain["status"] == "verified" && domain["name"] == name)
}

fn shown(domain: &Value) -> Value {
    let (name, status) = (text(domain, "/name"), text(domain, "/status"));
    let below = name.split('.').rev().skip(2).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(".");
    // Names of records are relative to the zone, as Resend writes them.
    let at = |label: &str| if below.is_empty() { label.to_owned() } else { format!("{label}.{below}") };
    let record = |what: &str, kind: &str, name: String, value: &str| json!({"record": what, "name": name, "type": kind, "ttl": "Auto", "status": status, "value": value});
    let mut mx = record("SPF", "MX", at("send"), "feedback-smtp.eu-west-1.amazonses.com");
    mx["priority"] = 10.into();
    let mut shown = domain.clone();
    shown["object"] = "domain".into();
    shown["records"] = json!([
        mx,
        record("SPF", "TXT", at("send"), "v=spf1 include:amazonses.com ~all"),
        record("DKIM", "TXT", at("resend._domainkey"), "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDh"),
    ]);
    shown
}

/// Answers requests below `/webhooks`. Where events go is one address here: the last that was named.
pub(super) fn webhooks(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = cx.list("webhooks");
    let at = |id: &str| all.iter().position(|hook| hook["id"] == id).ok_or_else(|| missing("Webhook"));
    let body = request.json().unwrap_or_default();
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(listed(all, false)),
        ("GET", [id]) => {
            let mut hook = all[at(id)?].clone();
            hook["signing_secret"] = cx.get("webhook_secret").into();
            Ok(Reply::json(200, &hook))
        }
        ("POST", []) | ("PATCH", [_]) => {
            let (url, events) =
                (text(&body, "/endpoint").to_owned(), body["events"].as_array().cloned().unwrap_or_default());
            let is_known = |event: &Value| event.as_str().is_some_and(|event| EVENTS.contains(&event));
            if !url.starts_with("http") || events.is_empty() || !events.iter().all(is_known) {
                return Err(error(422, "validation_error", "`endpoint` and known `events` are required."));
            }
            let at = match rest {
                [id] => at(id)?,
                _ => {
                    all.push(
                        json!({"object": "webhook", "id": cx.uuid(), "status": "enabled", "created_at": iso(cx.now)}),
                    );
                    all.len() - 1
                }
            };
            all[at]["endpoint"] = url.as_str().into();
            all[at]["events"] = events.into();
            if body["status"].is_string() {
                all[at]["status"] = body["status"].clone();
            }
            let id = all[at]["id"].clone();
            cx.keep("webhooks", &all.into());
            cx.changes.push(("callback_url", url));
            match rest {
                [_] => Ok(Reply::json(200, &json!({"object": "webhook", "id": id}))),
                _ => Ok(Reply::json(
                    201,
                    &json!({"object": "webhook", "id": id, "signing_secret": cx.get("webhook_secret")}),
                )),
            }
        }
        ("DELETE", [id]) => {
            all.remove(at(id)?);
            cx.keep("webhooks", &all.into());
            Ok(Reply::json(200, &json!({"object": "webhook", "id": id, "deleted": true})))
        }
        _ => Err(error(404, "not_found", "The requested endpoint does not exist.")),
    }
}

/// <https://resend.com/docs/api-reference/suppressions/list-suppressions>
pub(super) fn suppressions(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    let lists = [("bounce", Stage::Bounced), ("complaint", Stage::Complained)];
    let origin = asked.some("origin");
    if origin.as_deref().is_some_and(|origin| !["bounce", "complaint", "manual"].contains(&origin)) {
        return Err(error(422, "validation_error", "`origin` must be bounce, complaint or manual."));
    }
    let wanted = lists.iter().filter(|(name, _)| origin.as_deref().is_none_or(|origin| origin == *name));
    let rows = wanted.flat_map(|(name, why)| {
        cx.suppressed(*why).into_iter().map(move |(address, at)| {
            let id = crate::sign::sha256(format!("{name} {address}").as_bytes());
            json!({"id": id.get(..32), "email": address, "origin": name, "source_id": null, "created_at": iso(at)})
        })
    });
    let rows: Vec<Value> = rows.collect();
    let offset = asked.some("after").and_then(|after| rows.iter().position(|row| row["id"] == after.as_str()));
    let limit = asked.get("limit").parse().unwrap_or(20).min(PAGE_MAX);
    let (rows, next) = page(rows, offset.map_or(0, |at| at + 1), limit);
    Ok(listed(rows, next.is_some()))
}

/// <https://resend.com/docs/api-reference/emails>
pub(super) fn metrics(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    let (from, to) = (asked.get("start_date"), asked.get("end_date"));
    let metrics: Vec<&str> = asked.get("metrics").split(',').filter(|name| !name.is_empty()).collect();
    if asked.get("granularity") != "daily" || asked.get("dimensions") != "period" {
        return Err(error(422, "validation_error", "Only daily metrics by period are simulated."));
    }
    let rows = cx.tallies(from, to).into_iter().filter(|day| day.sent > 0).map(|day| {
        let mut row = json!({"period": format!("{}T00:00:00.000Z", day.day)});
        for metric in &metrics {
            row[*metric] = match *metric {
                "sent" => day.sent,
                "delivered" => day.delivered,
                "bounced" => day.bounced + day.bounced_for_now,
                "bounced_permanent" => day.bounced,
                "bounced_transient" => day.bounced_for_now,
                "complained" => day.complained,
                "unique_opened" | "opened" => day.opened,
                "unique_clicked" | "clicked" => day.clicked,
                _ => 0,
            }
            .into();
        }
        row
    });
    let rows: Vec<Value> = rows.collect();
    Ok(Reply::json(
        200,
        &json!({"object": "metrics", "start_date": from, "end_date": to, "metrics": metrics, "dimensions": ["period"], "granularity": "daily", "totals": {}, "data": rows}),
    ))
}
