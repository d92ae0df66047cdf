//! What a SendGrid account has besides mails: authenticated domains, statistics by day, suppression lists.
//! <https://www.twilio.com/docs/sendgrid/api-reference/domain-authentication>

use serde_json::{Value, json};

use super::error;
use crate::{
    holdings::{is_id, is_published, page},
    message::Stage,
    mime::bare,
    provider::{Cx, text},
    request::{Reply, Request},
};

/// Most entries of a list on one page.
const PAGE_MAX: usize = 500;
/// The parts SendGrid says something about when it looks at a domain.
const RECORDS: &[&str] = &["mail_cname", "dkim1", "dkim2"];

/// Answers requests below `/v3/whitelabel/domains`.
pub(super) fn domains(cx: &mut Cx<'_>, request: &Request, rest: &[&str]) -> Result<Reply, Reply> {
    let mut all = all(cx);
    let missing = || error(404, Value::Null, "domain not found");
    let at = |id: &str| all.iter().position(|domain| is_id(&domain["id"], id)).ok_or_else(missing);
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let wanted = request.parameters().some("domain");
            all.retain(|domain| wanted.as_deref().is_none_or(|wanted| domain["domain"] == wanted));
            Ok(Reply::json(200, &all.into()))
        }
        ("POST", []) => {
            let body = request.json().unwrap_or_default();
            let name = text(&body, "/domain");
            if !name.contains('.') {
                return Err(error(400, "domain".into(), "domain must be a valid domain"));
            }
            if all.iter().any(|known| known["domain"] == name) {
                return Err(error(400, "domain".into(), "an authenticated domain already exists for this URL"));
            }
            let made = domain(1_000 + all.len(), name, "em1234", false);
            all.push(made.clone());
            cx.keep("domains", &all.into());
            Ok(Reply::json(201, &made))
        }
        ("GET", [id]) => Ok(Reply::json(200, &all[at(id)?])),
        ("DELETE", [id]) => {
            all.remove(at(id)?);
            cx.keep("domains", &all.into());
            Ok(Reply::empty(204))
        }
        ("POST", [id, "validate"]) => {
            let at = at(id)?;
            let is_valid = is_published(text(&all[at], "/domain"));
            let words = if is_valid { Value::Null } else { "Expected CNAME record, but found none.".into() };
            let results = RECORDS.iter().map(|name| ((*name).to_owned(), json!({"valid": is_valid, "reason": words})));
            let results: serde_json::Map<String, Value> = results.collect();
            let subdomain = text(&all[at], "/subdomain").to_owned();
            all[at] = domain(id.parse().unwrap_or(0), text(&all[at], "/domain"), &subdomain, is_valid);
            cx.keep("domains", &all.into());
            Ok(Reply::json(
                200,
                &json!({"id": id.parse::<u64>().unwrap_or(0), "valid": is_valid, "validation_results": results}),
            ))
        }
        _ => Err(error(404, Value::Null, "Resource not found")),
    }
}

/// The account's domains: that of its sender, which is in order, and those that were made.
fn all(cx: &Cx<'_>) -> Vec<Value> {
    let kept = cx.list("domains");
    let from = bare(cx.get("from"));
    let own = from.rsplit('@').next().unwrap_or_default().to_owned();
    if kept.iter().any(|domain| domain["domain"] == own.as_str()) {
        return kept;
    }
    [vec![domain(1, &own, "em", true)], kept].concat()
}

/// True for a domain mails may come from.
pub(super) fn is_verified(cx: &Cx<'_>, name: &str) -> bool {
    all(cx).iter().any(|domain| domain["valid"] == true && text(domain, "/domain").eq_ignore_ascii_case(name))
}

fn domain(id: usize, name: &str, subdomain: &str, is_valid: bool) -> Value {
    let record = |host: String, data: &str| json!({"valid": is_valid, "type": "cname", "host": host, "data": data});
    json!({
        "id": id, "user_id": 7, "username": "simulated", "domain": name, "subdomain": subdomain, "ips": [], "custom_spf": false, "default": false,
        "legacy": false, "automatic_security": true, "valid": is_valid,
        "dns": {
            "mail_cname": record(format!("{subdomain}.{name}"), "u7.wl.sendgrid.net"),
            "dkim1": record(format!("s1._domainkey.{name}"), "s1.domainkey.u7.wl.sendgrid.net"),
            "dkim2": record(format!("s2._domainkey.{name}"), "s2.domainkey.u7.wl.sendgrid.net"),
        },
    })
}

/// <https://www.twilio.com/docs/sendgrid/api-reference/stats>
pub(super) fn stats(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    let Some(from) = asked.some("start_date") else {
        return Err(error(400, "start_date".into(), "start_date is a required field in the format YYYY-MM-DD"));
    };
    let to = asked.some("end_date").unwrap_or_else(|| crate::provider::iso(cx.now));
    let days = cx.tallies(&from, &to).into_iter().map(|day| {
        let metrics = json!({
            "requests": day.sent, "processed": day.sent - day.dropped, "delivered": day.delivered, "bounces": day.bounced, "blocks": day.bounced_for_now,
            "spam_reports": day.complained, "unsubscribes": day.unsubscribed, "opens": day.opened, "unique_opens": day.opened, "clicks": day.clicked,
            "unique_clicks": day.clicked, "bounce_drops": day.dropped, "deferred": 0, "invalid_emails": 0, "spam_report_drops": 0, "unsubscribe_drops": 0,
        });
        json!({"date": day.day, "stats": [{ "metrics": metrics }]})
    });
    Ok(Reply::json(200, &days.collect::<Vec<Value>>().into()))
}

/// <https://www.twilio.com/docs/sendgrid/api-reference/bounces-api>
pub(super) fn suppressed(cx: &Cx<'_>, request: &Request, list: &str) -> Result<Reply, Reply> {
    let (why, reason) = match list {
        "bounces" => (Stage::Bounced, Some("550 5.1.1 user unknown")),
        "spam_reports" => (Stage::Complained, None),
        "unsubscribes" => (Stage::Unsubscribed, None),
        _ => return Err(error(404, Value::Null, "Resource not found")),
    };
    let rows = cx.suppressed(why).into_iter().map(|(address, at)| {
        let mut row = json!({"created": at.as_seconds(), "email": address});
        if let Some(reason) = reason {
            row["reason"] = reason.into();
            row["status"] = "5.1.1".into();
        }
        row
    });
    let asked = request.parameters();
    let number = |name: &str| asked.get(name).parse().ok();
    let (rows, _) =
        page(rows.collect(), number("offset").unwrap_or(0), number("limit").unwrap_or(PAGE_MAX).min(PAGE_MAX));
    Ok(Reply::json(200, &rows.into()))
}
