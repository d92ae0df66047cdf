//! Telling a provider where it reports to.

use model::Answer;
use serde::Serialize;

use super::Plan;
use crate::Cx;

/// Callbacks a provider can be told of over its API.
pub trait Callbacks: Sync + Send {
    /// Asks what the provider has.
    fn state(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState>;

    /// Makes the provider report to [`Cx::callback_url`]. Repeating it changes nothing.
    fn set(&self, cx: &Cx<'_>, answers: &[Answer]) -> Plan<CallbackState>;

    /// Settings that have to be made up before [`Callbacks::set`], such as a secret the provider shall send back: name and length in
    /// characters of `A–Z a–z 0–9`. Only those that are not set are made.
    fn own_secrets(&self) -> &'static [(&'static str, usize)] {
        &[]
    }
}

/// What a provider was told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CallbackState {
    /// True when everything is set the way we need it.
    pub is_set: bool,
    /// What was found or done, a line each.
    pub lines: Vec<String>,
    /// Settings the provider gave: name and value, such as its signing secret. They are sealed into the account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<(&'static str, String)>,
    /// What has to be entered at the provider by hand all the same.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_hand: Vec<Paste>,
}

/// Something to be entered at the provider by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paste {
    /// Where it goes.
    pub place: String,
    /// What goes there.
    pub value: String,
}
