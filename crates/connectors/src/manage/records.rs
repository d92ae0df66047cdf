//! A provider's own record of each message, for holding ours against it.

use model::{Answer, Money, Timestamp};

use super::{Period, Plan};
use crate::Cx;

/// Messages as the provider's account shows them.
pub trait Records: Sync + Send {
    /// One page of what was sent in a period; `after` is what the page before named.
    fn page(&self, cx: &Cx<'_>, period: &Period, after: Option<&str>, answers: &[Answer]) -> Plan<RecordPage>;

    /// One message by the provider's id; `None` when the provider does not know it.
    fn one(&self, cx: &Cx<'_>, id: &str, answers: &[Answer]) -> Plan<Option<Record>>;
}

/// One page of a provider's records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// What was sent, without what was received.
    pub records: Vec<Record>,
    /// Where the next page begins, when there is one.
    pub next: Option<String>,
}

/// A message as its provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The provider's id.
    pub provider_message_id: String,
    /// When it was sent, as far as the provider says.
    pub at: Option<Timestamp>,
    /// What the provider took for it, once it knows.
    pub price: Option<Money>,
    /// Its parts.
    pub segments: Option<u32>,
}
