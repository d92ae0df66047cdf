//! A report that came before the id it speaks of was known: how it is kept, and what it becomes once it is.

use connectors::Pricing;
use model::{Fact, MessageId, Money, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use store::reports::EarlyReport;

use super::Learned;

/// The report as kept in `early_reports.report`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EarlyPayload {
    /// What happened.
    pub fact: Fact,
    /// When.
    pub at: Timestamp,
    /// The provider's own status word.
    pub provider_status: Option<String>,
    /// Parts the provider counted.
    pub segments: Option<u32>,
    /// The price it names.
    pub price: Option<Money>,
    /// As what kind of message it billed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<Pricing>,
}

impl EarlyPayload {
    /// Reads what was kept; `None` when it cannot be read.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The fact, now that its message is known.
    pub fn learned(self, tenant_id: TenantId, message_id: MessageId, early: &EarlyReport) -> Learned {
        Learned {
            tenant_id,
            message_id,
            fact: self.fact,
            at: self.at,
            source: "provider".to_owned(),
            dedupe: early.dedupe.clone(),
            provider_status: self.provider_status,
            provider_message_id: Some(early.provider_message_id.clone()),
            segments: self.segments,
            price: self.price,
            pricing: self.pricing,
            machine: None,
            attempt: None,
        }
    }
}
