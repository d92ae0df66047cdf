//! Mail domains at a provider.

use model::Answer;
use serde::{Deserialize, Serialize};

use super::Plan;
use crate::Cx;

/// Domains a provider can be told to send for.
pub trait Domains: Sync + Send {
    /// Makes the domain known, or finds it when it is known already.
    fn create(&self, cx: &Cx<'_>, name: &str, answers: &[Answer]) -> Plan<DomainAtProvider>;

    /// Asks the provider to look at the DNS again, and what it thinks.
    fn check(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<DomainAtProvider>;

    /// Forgets the domain. One that is gone already is no failure.
    fn remove(&self, cx: &Cx<'_>, domain: &DomainRef<'_>, answers: &[Answer]) -> Plan<()>;
}

/// A domain the provider knows.
#[derive(Debug, Clone, Copy)]
pub struct DomainRef<'a> {
    /// Its name, in lower case and ASCII.
    pub name: &'a str,
    /// What the provider calls it.
    pub reference: &'a str,
}

/// A domain as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DomainAtProvider {
    /// What the provider calls it: its id, or the name again.
    pub reference: String,
    /// Whether it may send.
    pub state: DomainState,
    /// The provider's own word or reason.
    pub detail: Option<String>,
    /// What has to stand in the DNS.
    pub records: Vec<DnsRecord>,
}

/// Whether a provider sends for a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DomainState {
    /// It waits for the records.
    Pending,
    /// It sends.
    Verified,
    /// It gave up, or the domain is blocked.
    Failed,
}

/// A record to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsRecord {
    /// What it is for.
    pub purpose: RecordPurpose,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: RecordKind,
    /// Its full name, without a dot at the end.
    pub name: String,
    /// Its value; of an MX `10 mail.example.com`.
    pub value: String,
    /// False when mails leave without it, only less well.
    pub required: bool,
}

/// What a record is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordPurpose {
    /// Shows that the domain is the tenant's.
    Ownership,
    /// Who may send for it (RFC 7208).
    Spf,
    /// The key of the signatures (RFC 6376).
    Dkim,
    /// What receivers do with forgeries (RFC 9989).
    Dmarc,
    /// Where bounces go.
    ReturnPath,
    /// The host of tracked links.
    Tracking,
}

/// The type of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// Text.
    Txt,
    /// Another name for it.
    Cname,
    /// Where mail goes.
    Mx,
}

impl RecordKind {
    /// Reads a provider's word.
    pub(crate) fn read(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "TXT" => Some(Self::Txt),
            "CNAME" => Some(Self::Cname),
            "MX" => Some(Self::Mx),
            _ => None,
        }
    }
}

impl DnsRecord {
    /// A record the domain cannot do without.
    pub fn needed(purpose: RecordPurpose, kind: RecordKind, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value): (String, String) = (name.into(), value.into());
        Self {
            purpose,
            kind,
            name: name.trim_end_matches('.').to_ascii_lowercase(),
            // Some providers show texts in the quotes that zone files need.
            value: value.trim_matches('"').trim_end_matches('.').to_owned(),
            required: true,
        }
    }

    /// The same, but the domain can do without.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }
}
