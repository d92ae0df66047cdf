//! What has to stand in the DNS, and what to say about what was found there. Pure.

use std::collections::BTreeSet;

use connectors::manage::{DnsRecord, RecordKind, RecordPurpose};
use model::Values;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::keys::Publics;

/// Most DNS questions an SPF record may cost a receiver (RFC 7208 4.6.4).
pub(super) const SPF_LOOKUPS_MAX: usize = 10;
/// Found records shown at most, and characters of each.
const SHOWN_MAX: usize = 10;
const SHOWN_CHARS: usize = 1_000;

/// Whether a record stands as it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordState {
    /// Nobody looked yet.
    Unchecked,
    /// There is none.
    Missing,
    /// There is another.
    Wrong,
    /// It works; see the detail for what could be better.
    Warning,
    /// It stands.
    Ok,
}

/// A record and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordView {
    /// What it is for: `ownership`, `spf`, `dkim`, `dmarc`, `return_path` or `tracking`.
    #[schema(value_type = String, example = "dkim")]
    pub purpose: RecordPurpose,
    /// `TXT`, `CNAME` or `MX`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "TXT")]
    pub kind: RecordKind,
    /// Its full name.
    #[schema(example = "td-5f2a91c0._domainkey.acme.example")]
    pub name: String,
    /// Its value. A TXT value beyond 255 characters is entered in several strings; most DNS providers do that by themselves.
    pub value: String,
    /// False when mails leave without it, only less well.
    pub required: bool,
    /// Whether it stands.
    pub state: RecordState,
    /// What stands there instead, or as well.
    pub found: Vec<String>,
    /// What is wrong and what to do.
    pub detail: Option<String>,
}

impl RecordView {
    pub(super) fn unchecked(record: DnsRecord) -> Self {
        Self {
            purpose: record.purpose,
            kind: record.kind,
            name: record.name,
            value: record.value,
            required: record.required,
            state: RecordState::Unchecked,
            found: Vec::new(),
            detail: None,
        }
    }

    pub(super) fn record(&self) -> DnsRecord {
        DnsRecord {
            purpose: self.purpose,
            kind: self.kind,
            name: self.name.clone(),
            value: self.value.clone(),
            required: self.required,
        }
    }
}

/// The records of a domain we sign for.
pub(super) fn own(name: &str, settings: &Values, public_url: &str, keys: &Publics) -> Vec<DnsRecord> {
    let dkim = |selector: &str, kind: &str, key: &str| {
        let at = format!("{selector}._domainkey.{name}");
        DnsRecord::needed(RecordPurpose::Dkim, RecordKind::Txt, at, format!("v=DKIM1; k={kind}; p={key}"))
    };
    let mut records = vec![
        dkim(&keys.rsa_selector, "rsa", &keys.rsa),
        dkim(&keys.ed25519_selector, "ed25519", &keys.ed25519),
        own_policy(name, settings),
    ];
    records.extend(returns(name, settings, public_url));
    if let Some(public) = host_name(public_url) {
        let at = format!("link.{name}");
        records.push(DnsRecord::needed(RecordPurpose::Tracking, RecordKind::Cname, at, public).optional());
    }
    with_policy(records, name)
}

/// Lets the account's mail server send for a name.
fn own_policy(name: &str, settings: &Values) -> DnsRecord {
    let host = settings.get("host").unwrap_or("mail.example");
    let mechanism = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => format!("ip4:{ip}"),
        Ok(std::net::IpAddr::V6(ip)) => format!("ip6:{ip}"),
        Err(_) => format!("a:{host}"),
    };
    // The mail server may send from other addresses than it listens at: its owner knows.
    DnsRecord::needed(RecordPurpose::Spf, RecordKind::Txt, name, format!("v=spf1 {mechanism} ~all")).optional()
}

/// What brings bounces back. An account's bounce domain needs an MX record that leads to this installation's mail listener, and an SPF record of its own, since
/// receivers check that of the return address (RFC 7208 2.4). Where the account names no bounce domain, an alias keeps a name for it; one elsewhere is not this domain's.
fn returns(name: &str, settings: &Values, public_url: &str) -> Vec<DnsRecord> {
    let public = host_name(public_url);
    let Some(at) = settings.get("bounce_domain").filter(|at| !at.is_empty()).map(str::to_ascii_lowercase) else {
        let alias = |public: &str| {
            DnsRecord::needed(RecordPurpose::ReturnPath, RecordKind::Cname, format!("bounce.{name}"), public).optional()
        };
        return public.map(alias).into_iter().collect();
    };
    let is_below = at.strip_suffix(name).is_some_and(|label| label.ends_with('.'));
    if at != name && !is_below {
        return Vec::new();
    }
    let exchange = public.map(|public| {
        DnsRecord::needed(RecordPurpose::ReturnPath, RecordKind::Mx, &at, format!("10 {public}")).optional()
    });
    exchange.into_iter().chain(is_below.then(|| own_policy(&at, settings))).collect()
}

/// The kept records of a domain we sign for, with those about bounces as the account's settings are now.
pub(super) fn renewed(kept: &[RecordView], name: &str, settings: &Values, public_url: &str) -> Vec<DnsRecord> {
    let is_about_bounces = |record: &DnsRecord| match record.purpose {
        RecordPurpose::ReturnPath => true,
        RecordPurpose::Spf => record.name != name,
        _ => false,
    };
    let others = kept.iter().map(RecordView::record).filter(|record| !is_about_bounces(record));
    others.chain(returns(name, settings, public_url)).collect()
}

/// The host of this installation's public address, where it has a name.
fn host_name(public_url: &str) -> Option<&str> {
    let host = public_url.split("://").nth(1).unwrap_or(public_url).split(['/', ':']).next()?;
    (host.contains('.') && host.parse::<std::net::IpAddr>().is_err()).then_some(host)
}

/// Adds the policy for forgeries where the provider names none: it belongs to the domain, not to the provider.
pub(super) fn with_policy(mut records: Vec<DnsRecord>, name: &str) -> Vec<DnsRecord> {
    if !records.is_empty() && !records.iter().any(|record| record.purpose == RecordPurpose::Dmarc) {
        let (at, value) = (format!("_dmarc.{name}"), "v=DMARC1; p=none");
        records.push(DnsRecord::needed(RecordPurpose::Dmarc, RecordKind::Txt, at, value).optional());
    }
    records
}

/// What was found for one record.
pub(super) struct Found {
    /// The records of the wanted kind, or why nobody could say.
    pub records: Result<Vec<String>, String>,
    /// Where they stood, when not at the record's own name: a policy of the domain above.
    pub above: Option<String>,
    /// DNS questions the SPF record costs.
    pub spf_lookups: usize,
}

/// Compares a record with what was found.
pub(super) fn judge(record: DnsRecord, found: Found) -> RecordView {
    let is_strict = record.required;
    let mut view = RecordView::unchecked(record);
    let records = match found.records {
        Ok(records) => records,
        Err(problem) => {
            view.detail = Some(format!("The DNS could not be asked: {problem}."));
            return view;
        }
    };
    let (state, detail, shown) = match (view.purpose, view.kind) {
        (RecordPurpose::Spf, RecordKind::Txt) => spf(&view.value, records, found.spf_lookups, is_strict),
        (RecordPurpose::Dmarc, RecordKind::Txt) => dmarc(records, found.above.as_deref()),
        (RecordPurpose::Dkim, RecordKind::Txt) => one_of(&records, |text| key(text) == key(&view.value), &records),
        (_, RecordKind::Txt) => one_of(&records, |text| squeezed(text) == squeezed(&view.value), &records),
        (_, RecordKind::Cname) => one_of(&records, |text| text.eq_ignore_ascii_case(&view.value), &records),
        // Another priority leads to the same server.
        (_, RecordKind::Mx) => {
            one_of(&records, |text| exchange(text).eq_ignore_ascii_case(exchange(&view.value)), &records)
        }
    };
    (view.state, view.detail) = (state, detail);
    let shortened = |text: &String| text.chars().take(SHOWN_CHARS).collect();
    view.found = shown.iter().take(SHOWN_MAX).map(shortened).collect();
    view
}

type Judged = (RecordState, Option<String>, Vec<String>);

fn one_of(records: &[String], is_it: impl Fn(&str) -> bool, shown: &[String]) -> Judged {
    match records {
        [] => (RecordState::Missing, None, Vec::new()),
        records if records.iter().any(|text| is_it(text)) => (RecordState::Ok, None, Vec::new()),
        _ => (RecordState::Wrong, Some("Another value stands there. Replace it.".to_owned()), shown.to_vec()),
    }
}

fn spf(wanted: &str, records: Vec<String>, lookups: usize, is_strict: bool) -> Judged {
    let policies: Vec<String> = records.into_iter().filter(|text| is_spf(text)).collect();
    let [policy] = policies.as_slice() else {
        return match policies.len() {
            0 => (RecordState::Missing, None, Vec::new()),
            many => {
                let detail =
                    format!("There are {many} SPF records, which receivers take for an error. Merge them into one.");
                (RecordState::Wrong, Some(detail), policies)
            }
        };
    };
    let has: BTreeSet<String> = mechanisms(policy).collect();
    let lacking: Vec<String> =
        mechanisms(wanted).filter(|term| !term.ends_with("all") && !has.contains(term)).collect();
    if !lacking.is_empty() {
        let state = if is_strict { RecordState::Wrong } else { RecordState::Warning };
        let detail =
            format!("The SPF record does not name {}. Add it, unless what it names covers it.", lacking.join(" "));
        return (state, Some(detail), policies);
    }
    if lookups > SPF_LOOKUPS_MAX {
        let detail = format!(
            "The SPF record costs {lookups} DNS questions; beyond {SPF_LOOKUPS_MAX} receivers stop and take it for an error. Take includes out that nobody needs."
        );
        return (RecordState::Warning, Some(detail), policies);
    }
    (RecordState::Ok, None, Vec::new())
}

/// True for an SPF record of version 1.
pub(super) fn is_spf(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    text == "v=spf1" || text.starts_with("v=spf1 ")
}

/// The terms of an SPF record in lower case, without the version and without a plus, which says nothing.
pub(super) fn mechanisms(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().skip(1).map(|term| term.trim_start_matches('+').to_ascii_lowercase())
}

fn dmarc(records: Vec<String>, above: Option<&str>) -> Judged {
    let is_policy = |text: &String| text.trim_start().to_ascii_uppercase().starts_with("V=DMARC1");
    let policies: Vec<String> = records.into_iter().filter(is_policy).collect();
    let [policy] = policies.as_slice() else {
        return match policies.len() {
            0 => (RecordState::Missing, None, Vec::new()),
            many => {
                let detail = format!("There are {many} DMARC records, which receivers ignore all. Keep one.");
                (RecordState::Wrong, Some(detail), policies)
            }
        };
    };
    let tags: Vec<(String, String)> = tags(policy);
    let tag = |name: &str| tags.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    match tag("p").map(str::to_ascii_lowercase).as_deref() {
        Some("none" | "quarantine" | "reject") => {}
        _ => {
            let detail = "The DMARC record has no usable policy. Write p=none, p=quarantine or p=reject.".to_owned();
            return (RecordState::Wrong, Some(detail), policies);
        }
    }
    // RFC 9989 removed these; receivers ignore them.
    let old: Vec<&str> = ["pct", "rf", "ri"].into_iter().filter(|name| tag(name).is_some()).collect();
    if !old.is_empty() {
        let detail = format!("The DMARC record uses {}, which RFC 9989 removed. Take it out.", old.join(", "));
        return (RecordState::Warning, Some(detail), policies);
    }
    (RecordState::Ok, above.map(|name| format!("The policy at {name} covers this domain.")), policies)
}

/// `tag=value` pairs, separated by semicolons; names in lower case, values without spaces.
fn tags(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_ascii_lowercase(), value.split_whitespace().collect()))
    };
    text.split(';').filter_map(pair).collect()
}

/// The key of a DKIM record.
fn key(text: &str) -> Option<String> {
    tags(text).into_iter().find(|(name, value)| name == "p" && !value.is_empty()).map(|(_, value)| value)
}

fn squeezed(text: &str) -> String {
    text.trim_matches('"').split_whitespace().collect::<Vec<_>>().join(" ")
}

fn exchange(text: &str) -> &str {
    text.split_whitespace().last().unwrap_or_default().trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        purpose: RecordPurpose,
        kind: RecordKind,
        wanted: &str,
        found: &[&str],
        lookups: usize,
    ) -> (RecordState, String) {
        let record = DnsRecord::needed(purpose, kind, "acme.example", wanted);
        let records = Ok(found.iter().map(|text| (*text).to_owned()).collect());
        let view = judge(record, Found { records, above: None, spf_lookups: lookups });
        (view.state, view.detail.unwrap_or_default())
    }

    #[test]
    fn bounces_come_back_through_records_of_their_domain() {
        let shown = |domain: Option<&str>, url: &str| -> Vec<String> {
            let mut settings = Values::default();
            settings.set("host", "mail.acme.example");
            domain.into_iter().for_each(|domain| settings.set("bounce_domain", domain));
            let records = returns("acme.example", &settings, url);
            records.into_iter().map(|record| format!("{:?} {} {}", record.kind, record.name, record.value)).collect()
        };
        let url = "https://tidings.acme.example/x";
        assert_eq!(shown(None, url), ["Cname bounce.acme.example tidings.acme.example"]);
        let spf = "Txt back.acme.example v=spf1 a:mail.acme.example ~all";
        assert_eq!(shown(Some("back.acme.example"), url), ["Mx back.acme.example 10 tidings.acme.example", spf]);
        assert_eq!(shown(Some("back.acme.example"), "http://127.0.0.1:8080"), [spf]);
        assert_eq!(shown(Some("acme.example"), url), ["Mx acme.example 10 tidings.acme.example"]);
        assert!(shown(Some("back.other.example"), url).is_empty() && shown(Some("backacme.example"), url).is_empty());
    }

    #[test]
    fn spf_records() {
        let spf = |found: &[&str], lookups| {
            check(RecordPurpose::Spf, RecordKind::Txt, "v=spf1 include:mailgun.org ~all", found, lookups)
        };
        assert_eq!(spf(&["google-site-verification=1"], 0).0, RecordState::Missing);
        assert_eq!(spf(&["V=SPF1 +a include:Mailgun.org -all", "other"], 3), (RecordState::Ok, String::new()));
        assert!(spf(&["v=spf1 include:mailgun.org", "v=spf1 a"], 1).1.contains("Merge"));
        assert!(spf(&["v=spf1 a -all"], 1).1.contains("include:mailgun.org"));
        let (state, detail) = spf(&["v=spf1 include:mailgun.org include:many.example ~all"], 11);
        assert!(state == RecordState::Warning && detail.contains("11 DNS questions"), "{detail}");
        assert_eq!(spf(&["v=spf10 include:mailgun.org"], 0).0, RecordState::Missing);
    }

    #[test]
    fn dmarc_records() {
        let dmarc = |found: &[&str]| check(RecordPurpose::Dmarc, RecordKind::Txt, "v=DMARC1; p=none", found, 0);
        assert_eq!(dmarc(&["v=DMARC1; p=reject; rua=mailto:d@acme.example"]).0, RecordState::Ok);
        assert_eq!(dmarc(&[]).0, RecordState::Missing);
        assert_eq!(dmarc(&["v=DMARC1; p=none", "v=DMARC1; p=none"]).0, RecordState::Wrong);
        assert_eq!(dmarc(&["v=DMARC1; p=nothing"]).0, RecordState::Wrong);
        let (state, detail) = dmarc(&["v=DMARC1; p=none; pct=50; ri=3600"]);
        assert!(state == RecordState::Warning && detail.contains("pct, ri"), "{detail}");
    }

    #[test]
    fn keys_aliases_and_exchanges() {
        let dkim = |found: &[&str]| check(RecordPurpose::Dkim, RecordKind::Txt, "v=DKIM1; k=rsa; p=ABCD", found, 0).0;
        assert_eq!(dkim(&["k=rsa; p=AB CD"]), RecordState::Ok);
        assert_eq!(dkim(&["v=DKIM1; p=ABCE"]), RecordState::Wrong);
        assert_eq!(dkim(&["v=DKIM1; p="]), RecordState::Wrong);
        let cname = |found: &[&str]| check(RecordPurpose::Dkim, RecordKind::Cname, "a.dkim.example", found, 0).0;
        assert_eq!(cname(&["A.dkim.example"]), RecordState::Ok);
        assert_eq!(cname(&["b.dkim.example"]), RecordState::Wrong);
        let mx = |found: &[&str]| check(RecordPurpose::ReturnPath, RecordKind::Mx, "10 mx.example", found, 0).0;
        assert_eq!(mx(&["20 mx.example"]), RecordState::Ok);
        assert_eq!(mx(&["10 other.example"]), RecordState::Wrong);
    }
}
