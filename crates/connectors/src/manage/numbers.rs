//! Whether a sender is the account's.

use model::{Answer, Channel};
use serde::Serialize;

use super::Plan;
use crate::Cx;

/// Numbers, names and bots a provider can be asked about.
pub trait Numbers: Sync + Send {
    /// Asks whether the account may send as [`Cx::from`] over `channel`.
    fn look_up(&self, cx: &Cx<'_>, channel: Channel, answers: &[Answer]) -> Plan<NumberState>;
}

/// What the provider says of a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum NumberState {
    /// It is the account's; with what more is known, such as its rating.
    Verified(String),
    /// It is not, with the remedy.
    Refused(String),
    /// It cannot be said.
    Unknown(String),
}
