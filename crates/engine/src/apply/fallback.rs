//! Moving a message on to its next channel: what the rules are, and what changes on its row. Pure; `fold` calls it.
//!
//! The message stays the same message: its id, its timeline, its attempts go on counting. What it leaves behind is a [`FormerRoute`]: a late report about it still finds the message, can still
//! make it delivered, and can no longer make it fail; and usage still counts what was sent that way, and what that cost. It moves on when its channel failed for good, when its recipient
//! must not be written to there, or when it was sent and nothing arrived within `fallback_after_s`. It never moves on while nobody can say whether an attempt was taken: that would be a
//! second message by guess.

use model::{AccountId, Channel, Failure, FailureKind, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    fallbacks::FormerRoute,
    messages::{ContentId, Message},
};

use crate::money::book::Category;

/// One more channel to try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Which.
    pub channel: Channel,
    /// To which address.
    pub address: String,
    /// Through which account.
    pub account_id: AccountId,
    /// By which connector.
    pub connector: String,
    /// What it says there, as the id's number in text: JSON numbers are too small for it.
    pub content_id: String,
    /// Parts, for SMS.
    pub segments: Option<u32>,
    /// What kind of message it is there, for its price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Why this account.
    pub route: String,
}

impl Step {
    fn content(&self) -> Option<ContentId> {
        self.content_id.parse().ok().map(ContentId)
    }
}

/// What marks the route of a message that has another channel to fall back on. A text that looks like it costs a look-up and nothing else.
pub const MARK: &str = "; if that fails, ";

/// A new way for a message on the same channel: what its route said of channels left to try stays, so that it is still recognised.
pub fn with_rest_of(before: &str, route: String) -> String {
    before.find(MARK).map(|at| format!("{route}{}", &before[at..])).unwrap_or(route)
}

/// Marks the route of a message that left a way and has no channel left to try: its row tells the ways it came.
pub fn with_ways(route: String) -> String {
    if route.contains(MARK) { route } else { format!("{route}{MARK}{NOTHING}") }
}

/// What is left to try once nothing is.
pub const NOTHING: &str = "nothing is left to try";

/// True when there may be something left to try: without a look at the database.
pub fn may_move_on(m: &Message) -> bool {
    m.route.as_deref().is_some_and(|route| route.contains(MARK))
}

/// Reads the channels left.
pub fn steps(rest: &str) -> Vec<Step> {
    serde_json::from_str(rest).unwrap_or_default()
}

/// True when a failure may be followed by another channel. The content is another one there, so also content may work.
pub const fn allows(failure: &Failure) -> bool {
    !matches!(failure.kind, FailureKind::Unknown)
}

/// Takes the first step that can be used and puts the message on it. Answers the way it left, what is left after this one, and what kind of message it is now.
pub fn move_on(
    m: &mut Message,
    steps: &[Step],
    position: u32,
    mut is_usable: impl FnMut(&Step) -> bool,
    now: Timestamp,
) -> Option<(FormerRoute, Vec<Step>, Option<Category>)> {
    let index = steps.iter().position(|step| step.content().is_some() && is_usable(step))?;
    let step = &steps[index];
    let former = leave(m, position, now)?;
    m.channel = step.channel;
    m.address.clone_from(&step.address);
    m.account_id = Some(step.account_id);
    m.connector = Some(step.connector.clone());
    m.content_id = step.content()?;
    m.sender_id = None;
    m.segments = step.segments;
    m.route = Some(step.route.clone());
    (m.due_at, m.poll_at, m.polls, m.dead_at, m.ended_at) = (None, None, 0, None, None);
    Some((former, steps[index + 1..].to_vec(), step.category))
}

/// Takes off a message's row what is only so the way it goes now, to be kept as a way it left.
pub fn leave(m: &mut Message, position: u32, now: Timestamp) -> Option<FormerRoute> {
    let account_id = m.account_id?;
    // What it costs is known once it was sent.
    let cost_micros = m.sent_at.and(m.cost_micros).map(|cost| cost - m.cost_before);
    m.cost_before += cost_micros.unwrap_or(0);
    Some(FormerRoute {
        tenant_id: m.tenant_id,
        message_id: m.id,
        position,
        channel: m.channel,
        address: m.address.clone(),
        account_id,
        connector: m.connector.clone().unwrap_or_default(),
        provider_message_id: m.provider_message_id.take(),
        sent_at: m.sent_at.take(),
        segments: m.segments,
        bytes: m.bytes.take(),
        cost_micros,
        cost_currency: cost_micros.and(m.cost_currency.clone()),
        charge: None,
        failure: m.failure.take(),
        last_attempt: m.attempts,
        left_at: now,
    })
}

/// Which of the ways the message left, in their order, a report speaks of: by the attempt it echoes, or by the provider's id.
pub fn about_former(
    m: &Message,
    former: &[FormerRoute],
    attempt: Option<u32>,
    provider_id: Option<&str>,
) -> Option<usize> {
    match (attempt, provider_id) {
        (Some(attempt), _) => former.iter().position(|route| attempt <= route.last_attempt),
        (None, Some(id)) if m.provider_message_id.as_deref() != Some(id) => {
            former.iter().position(|route| route.provider_message_id.as_deref() == Some(id))
        }
        (None, _) => None,
    }
}
