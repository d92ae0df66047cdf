//! What an SES account has besides mails: identities, configuration sets with their destinations, and its suppression list.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_CreateEmailIdentity.html>

use serde_json::{Value, json};

use super::error;
use crate::{
    holdings::{is_published, page},
    message::Stage,
    provider::{Cx, text},
    request::{Reply, Request},
};

/// Longest page of the suppression list.
const PAGE_MAX: usize = 1_000;

fn bad(words: &str) -> Reply {
    error(400, "BadRequestException", words)
}

fn exists(what: &str) -> Reply {
    error(400, "AlreadyExistsException", &format!("{what} already exists."))
}

fn missing(what: &str) -> Reply {
    error(404, "NotFoundException", &format!("{what} does not exist."))
}

/// Answers a request below `/v2/email`.
pub(super) fn answer(cx: &mut Cx<'_>, request: &Request, path: &[&str]) -> Result<Reply, Reply> {
    let body = request.json().unwrap_or_default();
    match (request.method.as_str(), path) {
        ("POST", ["identities"]) => create(cx, &body),
        ("POST", ["list-identities"]) => list(cx, &body),
        ("PUT", ["identities", name, "mail-from"]) => mail_from(cx, name, &body),
        ("GET", ["identities", name]) => look(cx, name),
        ("DELETE", ["identities", name]) => {
            let mut all = cx.list("identities");
            let count = all.len();
            all.retain(|identity| identity["name"] != *name);
            if all.len() == count {
                return Err(missing(&format!("Email identity {name}")));
            }
            cx.keep("identities", &all.into());
            Ok(Reply::json(200, &json!({})))
        }
        ("GET", ["suppression", "addresses"]) => suppressed(cx, request),
        ("POST", ["configuration-sets"]) => {
            let (name, mut sets) = (text(&body, "/ConfigurationSetName"), sets(cx));
            let is_name =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            if !is_name {
                return Err(bad("The configuration set name is not valid"));
            }
            if sets[name].is_array() {
                return Err(exists(&format!("Configuration set {name}")));
            }
            sets[name] = json!([]);
            cx.keep("configuration_sets", &sets);
            Ok(Reply::json(200, &json!({})))
        }
        ("GET", ["configuration-sets", name, "event-destinations"]) => match &sets(cx)[*name] {
            Value::Array(all) => Ok(Reply::json(200, &json!({ "EventDestinations": all }))),
            _ => Err(missing(&format!("Configuration set <{name}>"))),
        },
        ("POST", ["configuration-sets", name, "event-destinations"]) => destination(cx, name, &body),
        _ => Err(error(404, "UnknownOperationException", "Unknown operation")),
    }
}

/// The sets by name: the one the account starts with, and those that were made.
pub(super) fn sets(cx: &Cx<'_>) -> Value {
    let mut sets = cx.kept("configuration_sets");
    if !sets[cx.get("configuration_set")].is_array() {
        sets[cx.get("configuration_set")] = json!([]);
    }
    sets
}

/// True for a domain that was verified here.
pub(super) fn is_verified(cx: &Cx<'_>, domain: &str) -> bool {
    cx.list("identities").iter().any(|identity| identity["name"] == domain && identity["is_verified"] == true)
}

/// The identities made here, and the domain of the account's sender, which its owner verified long ago.
fn list(cx: &Cx<'_>, body: &Value) -> Result<Reply, Reply> {
    let size = body["PageSize"].as_u64().unwrap_or(1_000);
    if !(1..=1_000).contains(&size) {
        return Err(bad("PageSize must be from 1 to 1000"));
    }
    let row = |name: &str, is_verified: bool| {
        let kind = if name.contains('@') { "EMAIL_ADDRESS" } else { "DOMAIN" };
        let status = if is_verified { "SUCCESS" } else { "PENDING" };
        json!({"IdentityType": kind, "IdentityName": name, "SendingEnabled": is_verified, "VerificationStatus": status})
    };
    let own = crate::mime::bare(cx.get("from")).rsplit('@').next().unwrap_or_default().to_owned();
    let made = cx.list("identities");
    let mut rows: Vec<Value> = made.iter().map(|one| row(text(one, "/name"), one["is_verified"] == true)).collect();
    if !made.iter().any(|one| one["name"] == own.as_str()) {
        rows.push(row(&own, true));
    }
    rows.truncate(usize::try_from(size).unwrap_or(usize::MAX));
    Ok(Reply::json(200, &json!({ "EmailIdentities": rows })))
}

fn create(cx: &mut Cx<'_>, body: &Value) -> Result<Reply, Reply> {
    let (name, mut all) = (text(body, "/EmailIdentity"), cx.list("identities"));
    if !name.contains('.') {
        return Err(bad("EmailIdentity is not a domain or an address"));
    }
    if all.iter().any(|identity| identity["name"] == name) {
        return Err(exists(&format!("Email identity {name}")));
    }
    let tokens: Vec<String> = (0..3).map(|_| cx.hex(32)).collect();
    let made = json!({"name": name, "tokens": tokens, "looks": 0, "is_verified": false, "mail_from": null});
    let shown = shown(&made);
    all.push(made);
    cx.keep("identities", &all.into());
    let names = ["IdentityType", "VerifiedForSendingStatus", "DkimAttributes"];
    let answer: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), shown[*name].clone())).collect();
    Ok(Reply::json(200, &answer.into()))
}

/// Changes an identity and keeps it.
fn change(cx: &mut Cx<'_>, name: &str, with: impl FnOnce(&mut Value)) -> Result<Value, Reply> {
    let mut all = cx.list("identities");
    let found = all.iter_mut().find(|identity| identity["name"] == name);
    let found = found.ok_or_else(|| missing(&format!("Email identity {name}")))?;
    with(found);
    let changed = found.clone();
    cx.keep("identities", &all.into());
    Ok(changed)
}

fn mail_from(cx: &mut Cx<'_>, name: &str, body: &Value) -> Result<Reply, Reply> {
    let domain = text(body, "/MailFromDomain");
    if !domain.is_empty() && !domain.ends_with(&format!(".{name}")) {
        return Err(bad("MailFromDomain must be a subdomain of the identity"));
    }
    if !["USE_DEFAULT_VALUE", "REJECT_MESSAGE"].contains(&text(body, "/BehaviorOnMxFailure")) {
        return Err(bad("BehaviorOnMxFailure must be USE_DEFAULT_VALUE or REJECT_MESSAGE"));
    }
    change(cx, name, |identity| identity["mail_from"] = domain.into())?;
    Ok(Reply::json(200, &json!({})))
}

/// SES looks at the DNS by itself: what was just made is pending when it is asked for the first time.
fn look(cx: &mut Cx<'_>, name: &str) -> Result<Reply, Reply> {
    let changed = change(cx, name, |identity| {
        let looks = identity["looks"].as_u64().unwrap_or(0);
        identity["is_verified"] = (looks > 0 && is_published(name)).into();
        identity["looks"] = (looks + 1).into();
    })?;
    Ok(Reply::json(200, &shown(&changed)))
}

fn shown(identity: &Value) -> Value {
    let is_verified = identity["is_verified"] == true;
    let status = if is_verified { "SUCCESS" } else { "PENDING" };
    let mut shown = json!({
        "IdentityType": "DOMAIN", "FeedbackForwardingStatus": true, "VerifiedForSendingStatus": is_verified, "VerificationStatus": status,
        "DkimAttributes": {
            "SigningEnabled": true, "Status": status, "Tokens": identity["tokens"], "SigningAttributesOrigin": "AWS_SES",
            "NextSigningKeyLength": "RSA_2048_BIT", "CurrentSigningKeyLength": "RSA_2048_BIT",
        },
        "Policies": {}, "Tags": [],
    });
    if let Some(from) = identity["mail_from"].as_str().filter(|from| !from.is_empty()) {
        shown["MailFromAttributes"] =
            json!({"MailFromDomain": from, "MailFromDomainStatus": status, "BehaviorOnMxFailure": "USE_DEFAULT_VALUE"});
    }
    shown
}

fn suppressed(cx: &Cx<'_>, request: &Request) -> Result<Reply, Reply> {
    let asked = request.parameters();
    let reasons = asked.all("Reason");
    if reasons.iter().any(|reason| !["BOUNCE", "COMPLAINT"].contains(reason)) {
        return Err(bad("Reason must be BOUNCE or COMPLAINT"));
    }
    let of = |reason: &'static str, why: Stage| {
        let is_wanted = reasons.is_empty() || reasons.contains(&reason);
        let found = if is_wanted { cx.suppressed(why) } else { Vec::new() };
        found.into_iter().map(move |(address, at)| {
            json!({"EmailAddress": address, "Reason": reason, "LastUpdateTime": at.as_micros() as f64 / 1e6})
        })
    };
    let all: Vec<Value> = of("BOUNCE", Stage::Bounced).chain(of("COMPLAINT", Stage::Complained)).collect();
    let limit = asked.get("PageSize").parse().unwrap_or(PAGE_MAX).min(PAGE_MAX);
    let (found, next) = page(all, asked.get("NextToken").parse().unwrap_or(0), limit);
    let mut answer = json!({ "SuppressedDestinationSummaries": found });
    if let Some(next) = next {
        answer["NextToken"] = next.to_string().into();
    }
    Ok(Reply::json(200, &answer))
}

/// An event destination needs a topic that SES may publish to.
fn destination(cx: &mut Cx<'_>, set: &str, body: &Value) -> Result<Reply, Reply> {
    let mut sets = sets(cx);
    let Some(all) = sets[set].as_array() else { return Err(missing(&format!("Configuration set <{set}>"))) };
    let (name, given) = (text(body, "/EventDestinationName"), &body["EventDestination"]);
    if name.is_empty() || given["MatchingEventTypes"].as_array().is_none_or(Vec::is_empty) {
        return Err(bad("EventDestinationName and MatchingEventTypes are required"));
    }
    if all.iter().any(|known| known["Name"] == name) {
        return Err(exists(&format!("Event destination {name}")));
    }
    let topic = text(given, "/SnsDestination/TopicArn");
    let known = cx.list("topics").into_iter().find(|known| known["arn"] == topic);
    let policy = known.ok_or_else(|| bad("The SNS topic does not exist"))?;
    if !text(&policy, "/policy").contains("ses.amazonaws.com") {
        return Err(bad(&format!("Amazon SES is not allowed to publish to {topic}")));
    }
    let mut made = given.clone();
    made["Name"] = name.into();
    let mut all = all.clone();
    all.push(made);
    sets[set] = all.into();
    cx.keep("configuration_sets", &sets);
    Ok(Reply::json(200, &json!({})))
}
