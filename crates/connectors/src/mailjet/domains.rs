//! Mail domains: a sender for the whole domain, and its DNS entry.
//! <https://dev.mailjet.com/email/reference/sender-addresses-and-domains/>

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
            0 => ask(cx, Method::Get, &format!("/v3/REST/sender?Domain={name}&Limit=1000"), None),
            1 => match whole(&reply(NAME, answers, 0)?, name) {
                Some(_) => ask(cx, Method::Get, &format!("/v3/REST/dns/{name}"), None),
                None => ask(cx, Method::Post, "/v3/REST/sender", Some(json!({ "Email": format!("*@{name}") }))),
            },
            _ => {
                // With or without a sender made in between, the DNS entry is asked for last.
                let (first, last) = (reply(NAME, answers, 0)?, answers.len() - 1);
                let (reference, is_last) = match whole(&first, name) {
                    Some(id) => (id, true),
                    None => {
                        let made = reply(NAME, answers, 1)?;
                        let id = made
                            .pointer("/Data/0/ID")
                            .and_then(Value::as_i64)
                            .ok_or_else(|| manage::unreadable(NAME))?;
                        (id, answers.len() > 2)
                    }
                };
                if !is_last {
                    return ask(cx, Method::Get, &format!("/v3/REST/dns/{name}"), None);
                }
                Ok(Next::Done(read(name, reference.to_string(), &reply(NAME, answers, last)?)?))
            }
        }
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        let dns = format!("/v3/REST/dns/{}", domain.name);
        match answers.len() {
            0 => ask(cx, Method::Post, &format!("{dns}/check"), None),
            1 => {
                reply(NAME, answers, 0)?;
                // The domain is the tenant's once the token is found.
                ask(cx, Method::Post, &format!("/v3/REST/sender/{}/validate", domain.reference), None)
            }
            // A sender that is not valid yet is answered with an error: the entry says what is missing.
            2 => ask(cx, Method::Get, &dns, None),
            _ => Ok(Next::Done(read(domain.name, domain.reference.to_owned(), &reply(NAME, answers, 2)?)?)),
        }
    }

    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()> {
        match answers.len() {
            0 => ask(cx, Method::Delete, &format!("/v3/REST/sender/{}", domain.reference), None),
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

/// The id of the sender that stands for the whole domain.
fn whole(body: &Value, name: &str) -> Option<i64> {
    let wanted = format!("*@{name}");
    let is_it = |sender: &&Value| text(sender, "/Email").is_some_and(|found| found.eq_ignore_ascii_case(&wanted));
    each(body, "/Data").find(is_it)?.get("ID")?.as_i64()
}

fn read(name: &str, reference: String, body: &Value) -> Result<DomainAtProvider, Failure> {
    let dns = body.pointer("/Data/0").ok_or_else(|| manage::unreadable(NAME))?;
    let mut records = Vec::new();
    let mut add = |purpose, at: Option<String>, value: Option<&str>| {
        if let (Some(at), Some(value)) = (at, value) {
            records.push(DnsRecord::needed(purpose, RecordKind::Txt, at, value));
        }
    };
    let at = |pointer| text(dns, pointer).map(|at| absolute(at, name));
    add(RecordPurpose::Ownership, at("/OwnerShipTokenRecordName"), text(dns, "/OwnerShipToken"));
    add(RecordPurpose::Dkim, at("/DKIMRecordName"), text(dns, "/DKIMRecordValue"));
    add(RecordPurpose::Spf, Some(name.to_owned()), text(dns, "/SPFRecordValue"));
    let [dkim, spf] = ["/DKIMStatus", "/SPFStatus"].map(|pointer| text(dns, pointer).unwrap_or("Not checked"));
    let state = if (dkim, spf) == ("OK", "OK") { DomainState::Verified } else { DomainState::Pending };
    Ok(DomainAtProvider { reference, state, detail: Some(format!("DKIM: {dkim}, SPF: {spf}")), records })
}
