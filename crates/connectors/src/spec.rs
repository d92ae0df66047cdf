//! What a connector is and can do, as data.

use model::{Channel, Field};

/// A connector's card: shown by `GET /v1/connectors`, read by forms, docs and the dispatcher.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// Stable id, as in `POST /v1/accounts {"connector": "twilio"}`.
    pub id: &'static str,
    /// The provider's name.
    pub name: &'static str,
    /// The provider's API documentation.
    pub docs_url: &'static str,
    /// Channels it carries; the first is the default of a new account.
    pub channels: &'static [Channel],
    /// Its settings.
    pub fields: &'static [Field],
    /// An example of a sender for the form, empty when none is needed.
    pub from_example: &'static str,
    /// True when sending needs a sender (`from`) that the settings do not imply.
    pub needs_from: bool,
    /// What the dispatcher obeys unless the tenant sets less.
    pub limits: Limits,
    /// True when the provider reports delivery back, so that silence is worth asking about.
    pub has_receipts: bool,
    /// How to set up callbacks by hand, for people; empty when nothing is to be done.
    pub callback_help: &'static str,
    /// How the provider's callbacks are verified, for people; says so when they are not signed.
    pub callback_security: &'static str,
}

/// Pace of one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Messages a second; 0 for no declared limit.
    pub per_second: u32,
    /// Requests (or SMTP sessions) at once.
    pub concurrency: u32,
}
