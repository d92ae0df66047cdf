//! What may be done to a campaign in which state. Pure.

use store::campaigns::Campaign;

use crate::Error;

/// Where a campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It can be changed.
    Draft,
    /// It starts by itself.
    Scheduled,
    /// Its messages are being accepted.
    Sending,
    /// Somebody stopped it for now.
    Paused,
    /// Every recipient has a message.
    Sent,
    /// Somebody ended it.
    Canceled,
    /// It could not go on.
    Failed,
}

impl State {
    pub const ALL: [Self; 7] =
        [Self::Draft, Self::Scheduled, Self::Sending, Self::Paused, Self::Sent, Self::Canceled, Self::Failed];

    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Scheduled => "scheduled",
            Self::Sending => "sending",
            Self::Paused => "paused",
            Self::Sent => "sent",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        Self::ALL.into_iter().find(|state| state.as_str() == word).unwrap_or(Self::Failed)
    }
}

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Change,
    Delete,
    Send,
    Schedule,
    Pause,
    Resume,
    Cancel,
}

/// The states in which an action is allowed, and the refusal's code and remedy.
const fn rule(action: Action) -> (&'static [State], &'static str, &'static str) {
    use State::{Canceled, Draft, Failed, Paused, Scheduled, Sending, Sent};
    match action {
        Action::Change => (
            &[Draft, Scheduled],
            "campaign_not_changeable",
            "Only drafts and scheduled campaigns can be changed; duplicate it.",
        ),
        Action::Delete => (&[Draft, Sent, Canceled, Failed], "campaign_under_way", "Cancel it first."),
        Action::Send => (
            &[Draft, Scheduled],
            "campaign_not_startable",
            "Only drafts and scheduled campaigns can be started; duplicate it.",
        ),
        Action::Schedule => (
            &[Draft, Scheduled],
            "campaign_not_startable",
            "Only drafts and scheduled campaigns can be scheduled; duplicate it.",
        ),
        Action::Pause => (&[Sending], "campaign_not_pausable", "Only a campaign that is being sent can be paused."),
        Action::Resume => (&[Paused], "campaign_not_paused", "Only a paused campaign can be resumed."),
        // What was accepted may still wait, so a campaign that is sent can be canceled too.
        Action::Cancel => {
            (&[Draft, Scheduled, Sending, Paused, Sent], "campaign_not_cancelable", "It has ended already.")
        }
    }
}

/// Refuses what cannot be done to a campaign now.
pub fn allow(campaign: &Campaign, action: Action) -> Result<(), Error> {
    let state = State::from_stored(&campaign.state);
    let (states, code, remedy) = rule(action);
    if states.contains(&state) {
        return Ok(());
    }
    Err(Error::conflict(code, format!("This campaign is {}. {remedy}", state.as_str())))
}
