//! Mail domains.
//! <https://resend.com/docs/api-reference/domains/create-domain>

use model::{Answer, Call, Failure, Method};
use serde_json::{Value, json};

use super::{NAME, Settings, call};
use crate::{
    Cx,
    manage::{
        self, DnsRecord, DomainAtProvider, DomainRef, DomainState, Next, Plan, RecordKind, RecordPurpose, absolute,
        each, get, reply,
    },
    read::text,
};

pub(super) struct Domains;

impl manage::Domains for Domains {
    fn create(&self, cx: &Cx<'_>, name: &str, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => ask(cx, Method::Get, "/domains", None),
            1 => {
                let known = reply(NAME, answers, 0)?;
                let is_it =
                    |domain: &&Value| text(domain, "/name").is_some_and(|found| found.eq_ignore_ascii_case(name));
                match each(&known, "/data").find(is_it).and_then(|domain| text(domain, "/id")) {
                    Some(id) => ask(cx, Method::Get, &format!("/domains/{id}"), None),
                    None => ask(cx, Method::Post, "/domains", Some(json!({ "name": name }))),
                }
            }
            _ => Ok(Next::Done(read(name, &reply(NAME, answers, 1)?)?)),
        }
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        let path = format!("/domains/{}", domain.reference);
        match answers.len() {
            // The check runs by itself afterwards: its result is seen at the next look.
            0 => ask(cx, Method::Post, &format!("{path}/verify"), None),
            1 => {
                reply(NAME, answers, 0)?;
                ask(cx, Method::Get, &path, None)
            }
            _ => Ok(Next::Done(read(domain.name, &reply(NAME, answers, 1)?)?)),
        }
    }

    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()> {
        match answers.len() {
            0 => ask(cx, Method::Delete, &format!("/domains/{}", domain.reference), None),
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

fn read(name: &str, body: &Value) -> Result<DomainAtProvider, Failure> {
    let id = text(body, "/id").ok_or_else(|| manage::unreadable(NAME))?;
    let word = text(body, "/status").unwrap_or("not_started");
    let records = each(body, "/records").filter_map(|record| {
        let kind = RecordKind::read(text(record, "/type")?)?;
        let at = absolute(text(record, "/name")?, name);
        let value = text(record, "/value")?;
        let record = match (text(record, "/record")?, kind) {
            ("DKIM", _) => DnsRecord::needed(RecordPurpose::Dkim, kind, at, value),
            ("SPF", RecordKind::Mx) => {
                let priority = record.get("priority").and_then(Value::as_u64).unwrap_or(10);
                DnsRecord::needed(RecordPurpose::ReturnPath, kind, at, format!("{priority} {value}"))
            }
            ("SPF", _) => DnsRecord::needed(RecordPurpose::Spf, kind, at, value),
            ("Tracking", _) => DnsRecord::needed(RecordPurpose::Tracking, kind, at, value).optional(),
            // Receiving and certificates are not about sending.
            _ => return None,
        };
        Some(record)
    });
    let state = match word {
        "verified" => DomainState::Verified,
        "failed" => DomainState::Failed,
        _ => DomainState::Pending,
    };
    Ok(DomainAtProvider { reference: id.to_owned(), state, detail: Some(word.to_owned()), records: records.collect() })
}
