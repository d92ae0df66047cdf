//! Why a send did not work: a closed set of kinds, with the provider's own code and words kept.
//!
//! The kind alone decides retry, failover, suppression and billing; connectors only classify.

use serde::{Deserialize, Serialize};

use crate::channel::words;

words! {
    /// What a failure means for the message, the account and the recipient.
    FailureKind {
        /// This address does not work. Not retried; may suppress the address.
        Recipient = "recipient" / 1,
        /// The recipient does not want messages from this sender. Not retried.
        OptedOut = "opted_out" / 2,
        /// This content would be refused again. Not retried.
        Content = "content" / 3,
        /// Nothing was accepted: too fast. The lane waits; no attempt is burnt.
        Throttled = "throttled" / 4,
        /// Nothing was accepted: provider or network trouble. Retried by schedule.
        Unavailable = "unavailable" / 5,
        /// The account itself fails (credentials, sender, suspension, credit). The account is paused as a whole and the message waits.
        Account = "account" / 6,
        /// The request left and no usable answer came back: nobody can say. Never retried blindly.
        Unknown = "unknown" / 7,
    }
}

/// One failure, as stored with the attempt and shown to the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// The provider's code, or ours (snake_case) when the failure is local.
    pub code: String,
    /// What happened and what to do, for people.
    pub detail: String,
    /// The provider's own words, shortened to 500 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_detail: Option<String>,
    /// How long the provider asked us to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// True when the request was refused because of another message that rode in it: it says nothing of this one, nor of the account, and this one goes again alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_of_batch: bool,
}

/// Longest provider text we keep, in characters.
const PROVIDER_DETAIL_MAX: usize = 500;

impl Failure {
    /// A failure with our words only.
    pub fn new(kind: FailureKind, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.into(),
            detail: detail.into(),
            provider_detail: None,
            retry_after_ms: None,
            is_of_batch: false,
        }
    }

    /// Adds the provider's words, shortened.
    #[must_use]
    pub fn with_provider_detail(mut self, words: impl AsRef<str>) -> Self {
        let words = words.as_ref().trim();
        if !words.is_empty() {
            self.provider_detail = Some(words.chars().take(PROVIDER_DETAIL_MAX).collect());
        }
        self
    }

    /// Adds the wait the provider asked for.
    #[must_use]
    pub fn with_retry_after_ms(mut self, wait_ms: Option<u64>) -> Self {
        self.retry_after_ms = wait_ms;
        self
    }
}

impl From<crate::BadSetting> for Failure {
    /// Settings that cannot be read: the account needs attention.
    fn from(bad: crate::BadSetting) -> Self {
        Self::new(
            FailureKind::Account,
            "bad_settings",
            format!("The account's setting `{}` {}. Update the account.", bad.field, bad.detail),
        )
    }
}
