//! Mail domains: identities with Easy DKIM and an own MAIL FROM domain.
//! <https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_CreateEmailIdentity.html>

use model::{Answer, Failure, HttpCall, Method};
use serde_json::{Value, json};

use super::{Settings, base, sign};
use crate::{
    Cx, aws,
    manage::{
        self, DnsRecord, DomainAtProvider, DomainRef, DomainState, Next, Plan, RecordKind, RecordPurpose, each, get,
        reply,
    },
    read::text,
};

pub(super) const NAME: &str = "Amazon SES";
/// The part before the domain where bounces go.
const MAIL_FROM: &str = "bounce";

pub(super) struct Domains;

impl manage::Domains for Domains {
    fn create(&self, cx: &Cx<'_>, name: &str, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            0 => call(cx, Method::Post, "/identities", Some(json!({ "EmailIdentity": name }))),
            1 => {
                let http = get(answers, 0)?;
                // An identity that is there already is as good.
                if aws::error(http).kind != "AlreadyExistsException" {
                    reply(NAME, answers, 0)?;
                }
                let from = json!({"MailFromDomain": format!("{MAIL_FROM}.{name}"), "BehaviorOnMxFailure": "USE_DEFAULT_VALUE"});
                call(cx, Method::Put, &format!("/identities/{name}/mail-from"), Some(from))
            }
            2 => {
                reply(NAME, answers, 1)?;
                call(cx, Method::Get, &format!("/identities/{name}"), None)
            }
            _ => Ok(Next::Done(read(cx, name, &reply(NAME, answers, 2)?)?)),
        }
    }

    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider> {
        match answers.len() {
            // SES looks by itself.
            0 => call(cx, Method::Get, &format!("/identities/{}", domain.reference), None),
            _ => Ok(Next::Done(read(cx, domain.name, &reply(NAME, answers, 0)?)?)),
        }
    }

    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()> {
        match answers.len() {
            0 => call(cx, Method::Delete, &format!("/identities/{}", domain.reference), None),
            _ if get(answers, 0)?.status == 404 => Ok(Next::Done(())),
            _ => reply(NAME, answers, 0).map(|_| Next::Done(())),
        }
    }
}

/// A request below `/v2/email`.
pub(super) fn call<T>(cx: &Cx<'_>, method: Method, path: &str, body: Option<Value>) -> Plan<T> {
    let settings = Settings::read(cx.settings)?;
    let call = HttpCall::new(method, format!("{}/v2/email{path}", base(cx, &settings)));
    let call = match body {
        Some(body) => manage::json_body(call, &body),
        None => call,
    };
    sign(cx, &settings, call).map(Next::Call)
}

fn read(cx: &Cx<'_>, name: &str, body: &Value) -> Result<DomainAtProvider, Failure> {
    let settings = Settings::read(cx.settings)?;
    let zone = text(body, "/DkimAttributes/SigningHostedZone").unwrap_or("dkim.amazonses.com");
    let dkim = each(body, "/DkimAttributes/Tokens").filter_map(Value::as_str).map(|token| {
        let (at, to) = (format!("{token}._domainkey.{name}"), format!("{token}.{zone}"));
        DnsRecord::needed(RecordPurpose::Dkim, RecordKind::Cname, at, to)
    });
    let mut records: Vec<DnsRecord> = dkim.collect();
    if let Some(from) = text(body, "/MailFromAttributes/MailFromDomain") {
        let mx = format!("10 feedback-smtp.{}.amazonses.com", settings.region);
        let spf = "v=spf1 include:amazonses.com ~all";
        records.push(DnsRecord::needed(RecordPurpose::ReturnPath, RecordKind::Mx, from, mx).optional());
        records.push(DnsRecord::needed(RecordPurpose::Spf, RecordKind::Txt, from, spf).optional());
    }
    let is_verified = body["VerifiedForSendingStatus"] == true;
    let status = text(body, "/DkimAttributes/Status").unwrap_or("PENDING");
    let state = match (is_verified, status) {
        (true, _) => DomainState::Verified,
        (false, "FAILED") => DomainState::Failed,
        (false, _) => DomainState::Pending,
    };
    let detail = Some(format!("DKIM: {status}"));
    Ok(DomainAtProvider { reference: name.to_owned(), state, detail, records })
}
