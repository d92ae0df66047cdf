//! Mail domains: domain authentication with automatic security.
//! <https://www.twilio.com/docs/sendgrid/api-reference/domain-authentication/authenticate-a-domain>

use model::{Answer, Call, Failure, Method};
use serde_json::{Value, json};

use super::{NAME, Settings, call};
use crate::{
    Cx,
    manage::{
        self, DnsRecord, DomainAtProvider, DomainRef, DomainState, Next, Plan, RecordKind, RecordPurpose, get, reply,
    },
    read::text,
};

const PATH: &str = "/v3/whitelabel/domains";

pub(super) struct Domains;

impl manage::Domains for Domains {
    fn create(&self, cx: &Cx<'_>, name: &str, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => ask(cx, Method::Get, &format!("{PATH}?domain={name}"), None),
            1 => {
                let known = reply(NAME, answers, 0)?;
                let is_it =
                    |domain: &&Value| text(domain, "/domain").is_some_and(|found| found.eq_ignore_ascii_case(name));
                match known.as_array().into_iter().flatten().find(is_it) {
                    Some(known) => Ok(Next::Done(read(known)?)),
                    None => {
                        let body = json!({ "domain": name, "automatic_security": true, "default": false });
                        ask(cx, Method::Post, PATH, Some(body))
                    }
                }
            }
            _ => Ok(Next::Done(read(&reply(NAME, answers, 1)?)?)),
        }
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => ask(cx, Method::Post, &format!("{PATH}/{}/validate", domain.reference), None),
            1 => {
                reply(NAME, answers, 0)?;
                ask(cx, Method::Get, &format!("{PATH}/{}", domain.reference), None)
            }
            _ => {
                let mut domain = read(&reply(NAME, answers, 1)?)?;
                domain.detail = reasons(&reply(NAME, answers, 0)?);
                Ok(Next::Done(domain))
            }
        }
    }

    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()> {
        match answers.len() {
            0 => ask(cx, Method::Delete, &format!("{PATH}/{}", domain.reference), None),
            _ if get(answers, 0)?.status == 404 => Ok(Next::Done(())),
            _ => reply(NAME, answers, 0).map(|_| Next::Done(())),
        }
    }
}

pub(super) fn ask<T>(cx: &Cx<'_>, method: Method, path: &str, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = call(cx, &settings, method, path);
    Ok(Next::Call(Call::Http(match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    })))
}

/// What is wrong with each record, in SendGrid's words.
fn reasons(body: &Value) -> Option<String> {
    let results = body.get("validation_results").and_then(Value::as_object)?;
    let wrong = results.iter().filter_map(|(name, result)| Some(format!("{name}: {}", text(result, "/reason")?)));
    let wrong = wrong.collect::<Vec<_>>().join("; ");
    (!wrong.is_empty()).then_some(wrong)
}

fn read(body: &Value) -> Result<DomainAtProvider, Failure> {
    let id = body.get("id").and_then(Value::as_u64).ok_or_else(|| manage::unreadable(NAME))?;
    let dns = body.get("dns").and_then(Value::as_object);
    let records = dns.into_iter().flatten().filter_map(|(key, record)| {
        let purpose = match key.as_str() {
            key if key.starts_with("dkim") => RecordPurpose::Dkim,
            "subdomain_spf" | "domain_spf" => RecordPurpose::Spf,
            _ => RecordPurpose::ReturnPath,
        };
        let kind = RecordKind::read(text(record, "/type")?)?;
        Some(DnsRecord::needed(purpose, kind, text(record, "/host")?, text(record, "/data")?))
    });
    let state = if body["valid"] == true { DomainState::Verified } else { DomainState::Pending };
    Ok(DomainAtProvider { reference: id.to_string(), state, detail: None, records: records.collect() })
}
