//! The engine's JSON answers as values, as far as pages show them. Pages read what API clients read, so they cannot show anything else.

use engine::Error;
use model::{
    AccountId, CallbackId, CampaignId, Channel, ContactId, Failure, MessageId, Money, Purpose, Status, TenantId,
    Timestamp,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

/// Reads an answer.
pub(crate) fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::internal(format!("an answer cannot be read: {error}")))
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) data: Vec<T>,
    pub(crate) next_cursor: Option<String>,
}

/// A message.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: MessageId,
    pub(crate) status: Status,
    pub(crate) channel: Channel,
    pub(crate) purpose: Purpose,
    pub(crate) topic: Option<String>,
    pub(crate) to: String,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) connector: Option<String>,
    pub(crate) provider_message_id: Option<String>,
    pub(crate) campaign_id: Option<CampaignId>,
    pub(crate) contact_id: Option<ContactId>,
    pub(crate) cost: Option<Money>,
    pub(crate) segments: Option<u32>,
    pub(crate) attempts: u32,
    pub(crate) failure: Option<Failure>,
    pub(crate) metadata: Option<Value>,
    pub(crate) created_at: Timestamp,
    pub(crate) send_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) next_attempt_at: Option<Timestamp>,
    pub(crate) sent_at: Option<Timestamp>,
    pub(crate) delivered_at: Option<Timestamp>,
    pub(crate) read_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) dead_at: Option<Timestamp>,
}

/// What became of a message.
#[derive(Debug, Deserialize)]
pub(crate) struct Timeline {
    pub(crate) data: Vec<Entry>,
}

/// One thing that happened to a message.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Entry {
    Accepted {
        at: Timestamp,
        purpose: String,
        guarantee: String,
        content: Value,
    },
    Routed {
        at: Timestamp,
        why: Option<String>,
    },
    Attempt {
        at: Timestamp,
        number: u32,
        finished_at: Option<Timestamp>,
        outcome: String,
        failure: Option<Failure>,
        provider_message_id: Option<String>,
        exchange: Option<Value>,
        note: Option<String>,
    },
    Observation {
        at: Timestamp,
        recorded_at: Timestamp,
        source: String,
        kind: String,
        detail: Option<Value>,
    },
    Change {
        at: Timestamp,
        status: Status,
    },
    NextAttempt {
        at: Timestamp,
    },
    NextQuestion {
        at: Timestamp,
    },
    /// What a later version tells and this page does not know.
    #[serde(other)]
    Unknown,
}

/// What would happen to a message.
#[derive(Debug, Deserialize)]
pub(crate) struct DryRun {
    pub(crate) status: String,
    pub(crate) channel: Channel,
    pub(crate) to: String,
    pub(crate) connector: String,
    pub(crate) route: String,
    pub(crate) leaves_at: Timestamp,
    pub(crate) segments: Option<u32>,
    pub(crate) content: Value,
}

/// Usage of a month.
#[derive(Debug, Deserialize)]
pub(crate) struct Usage {
    pub(crate) month: String,
    pub(crate) data: Vec<UsageRow>,
    pub(crate) totals: Counts,
}

/// Usage of one group.
#[derive(Debug, Deserialize)]
pub(crate) struct UsageRow {
    pub(crate) channel: Option<Channel>,
    pub(crate) provider: Option<String>,
    #[serde(flatten)]
    pub(crate) counts: Counts,
}

/// Messages by what became of them.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) accepted: i64,
    pub(crate) sent: i64,
    pub(crate) delivered: i64,
    pub(crate) read: i64,
    pub(crate) failed: i64,
    pub(crate) bounced: i64,
    pub(crate) unknown: i64,
    pub(crate) segments: i64,
    pub(crate) recipients: i64,
    pub(crate) bytes: i64,
}

/// What a provider sent.
#[derive(Debug, Deserialize)]
pub(crate) struct Callback {
    pub(crate) id: CallbackId,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) received_at: Timestamp,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Option<Value>,
    pub(crate) body: String,
    pub(crate) size: u64,
    pub(crate) verdict: String,
    pub(crate) detail: Option<String>,
    pub(crate) observed: u32,
    pub(crate) unmatched: u32,
    pub(crate) repeats: u32,
    pub(crate) told: Vec<engine::callbacks::Told>,
    pub(crate) event_type: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) tenant_id: Option<TenantId>,
}

/// What an account's test found.
#[derive(Debug, Deserialize)]
pub(crate) struct Test {
    pub(crate) ok: bool,
    pub(crate) checks: Vec<TestCheck>,
}

/// One line of it.
#[derive(Debug, Deserialize)]
pub(crate) struct TestCheck {
    pub(crate) name: String,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// Anything that was made, by its id.
#[derive(Debug, Deserialize)]
pub(crate) struct Made {
    pub(crate) id: String,
    /// An API key, shown once.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// A signing secret, shown once.
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

/// Several things that were made.
#[derive(Debug, Deserialize)]
pub(crate) struct MadeMany {
    pub(crate) data: Vec<Made>,
}

/// An uploaded file.
#[derive(Debug, Deserialize)]
pub(crate) struct Upload {
    pub(crate) id: String,
    pub(crate) filename: String,
    pub(crate) size: u64,
}
