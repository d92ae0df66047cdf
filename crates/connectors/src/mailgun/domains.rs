//! Mail domains.
//! <https://documentation.mailgun.com/docs/mailgun/api-reference/send/mailgun/domains>

use model::{Answer, Call, Failure, Method};
use serde_json::Value;

use super::{NAME, Settings, call};
use crate::{
    Cx,
    manage::{
        self, DnsRecord, DomainAtProvider, DomainRef, DomainState, Next, Plan, RecordKind, RecordPurpose, each, get,
        reply,
    },
    multipart,
    read::text,
};

pub(super) struct Domains;

impl manage::Domains for Domains {
    fn create(&self, cx: &Cx<'_>, name: &str, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => ask(cx, Method::Get, &format!("/v4/domains/{name}"), &[]),
            1 if get(answers, 0)?.status == 404 => ask(cx, Method::Post, "/v4/domains", &[("name", name)]),
            1 => Ok(Next::Done(read(name, &reply(NAME, answers, 0)?)?)),
            _ => Ok(Next::Done(read(name, &reply(NAME, answers, 1)?)?)),
        }
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => ask(cx, Method::Put, &format!("/v4/domains/{}/verify", domain.reference), &[]),
            _ => Ok(Next::Done(read(domain.name, &reply(NAME, answers, 0)?)?)),
        }
    }

    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()> {
        match answers.len() {
            0 => ask(cx, Method::Delete, &format!("/v3/domains/{}", domain.reference), &[]),
            _ if get(answers, 0)?.status == 404 => Ok(Next::Done(())),
            _ => reply(NAME, answers, 0).map(|_| Next::Done(())),
        }
    }
}

pub(super) fn ask<T>(cx: &Cx<'_>, method: Method, path: &str, pairs: &[(&str, &str)]) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = call(cx, &settings, method, path);
    if pairs.is_empty() {
        return Ok(Next::Call(Call::Http(call)));
    }
    let mut form = multipart::Form::new(cx.nonce);
    for (name, value) in pairs {
        form.text(name, value);
    }
    let (kind, body) = form.finish();
    Ok(Next::Call(Call::Http(call.body(&kind, body))))
}

fn read(name: &str, body: &Value) -> Result<DomainAtProvider, Failure> {
    let word = text(body, "/domain/state").ok_or_else(|| manage::unreadable(NAME))?;
    let records = each(body, "/sending_dns_records").filter_map(|record| {
        let (kind, at, value) =
            (RecordKind::read(text(record, "/record_type")?)?, text(record, "/name")?, text(record, "/value")?);
        let purpose = match kind {
            RecordKind::Txt if value.starts_with("v=spf1") => RecordPurpose::Spf,
            RecordKind::Txt if value.starts_with("v=DMARC1") => RecordPurpose::Dmarc,
            RecordKind::Cname if at.starts_with("email.") => RecordPurpose::Tracking,
            RecordKind::Txt | RecordKind::Cname => RecordPurpose::Dkim,
            RecordKind::Mx => RecordPurpose::ReturnPath,
        };
        let record = DnsRecord::needed(purpose, kind, at, value);
        // Mails leave without tracking and without a policy.
        Some(match purpose {
            RecordPurpose::Tracking | RecordPurpose::Dmarc => record.optional(),
            _ => record,
        })
    });
    let state = match word {
        "active" => DomainState::Verified,
        "disabled" => DomainState::Failed,
        _ => DomainState::Pending,
    };
    Ok(DomainAtProvider {
        reference: name.to_owned(),
        state,
        detail: Some(word.to_owned()),
        records: records.collect(),
    })
}
