//! The lines about who may be written to, when, and as whom: consent, suppression, frequency, quiet hours, the sender. They are found by the same look accept takes
//! ([`crate::consent::screen`]), so what the checklist says is what happens.

use serde::{Deserialize, Serialize};

use super::{Level, Line, facts::Facts, line};
use crate::{consent::screen::Ruling, senders::SenderState};

/// What keeps a message from a recipient, by the line that speaks of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Barrier {
    /// The contact has not agreed.
    Consent,
    /// The address is on the suppression list.
    Suppressed,
    /// The contact has had enough for now.
    Frequency,
    /// There is no hour at which it may arrive.
    NeverOpen,
    /// It may go, later.
    Waits,
}

/// Which line a ruling belongs to, and its words.
pub(super) fn barrier(ruling: &Ruling) -> (Barrier, String) {
    match ruling {
        Ruling::Wait { until, why } => (Barrier::Waits, format!("{why} It leaves at {until}.")),
        Ruling::Bar(failure) => {
            let barrier = match failure.code.as_str() {
                "frequency_cap" | "reminder_frequency" => Barrier::Frequency,
                "no_open_hour" => Barrier::NeverOpen,
                code if code.starts_with("suppressed_") => Barrier::Suppressed,
                _ => Barrier::Consent,
            };
            (barrier, failure.detail.clone())
        }
    }
}

pub(super) fn consent(facts: &Facts) -> Option<Line> {
    let channel = facts.channel;
    let Some((count, first)) = facts.tally.held.get(&Barrier::Consent) else {
        return line("consent", Level::Ok, 0, "Nobody who was looked at is without consent.", None);
    };
    if facts.removes {
        let detail =
            format!("{count} recipients have not agreed to this over {channel}; they are left out. The first: {first}");
        return line("consent", Level::Warning, *count, detail, Some("COLLECT_CONSENT"));
    }
    let detail = format!(
        "{count} recipients have not agreed to this over {channel}. Collect their consent, or set `remove_without_consent` to leave them out. The first: {first}"
    );
    line("consent", Level::Blocking, *count, detail, Some("REMOVE_WITHOUT_CONSENT"))
}

pub(super) fn suppressed(facts: &Facts) -> Option<Line> {
    let Some((count, first)) = facts.tally.held.get(&Barrier::Suppressed) else {
        return line("suppressed", Level::Ok, 0, "No address that was looked at is on the suppression list.", None);
    };
    let detail = format!("{count} recipients are on the suppression list; they are left out. The first: {first}");
    line("suppressed", Level::Warning, *count, detail, Some("REVIEW_SUPPRESSIONS"))
}

pub(super) fn frequency(facts: &Facts) -> Option<Line> {
    let (count, first) = facts.tally.held.get(&Barrier::Frequency)?;
    let detail = format!("{count} recipients have had as much as they may get; they are left out. The first: {first}");
    line("frequency_cap", Level::Warning, *count, detail, Some("SEND_LATER"))
}

pub(super) fn quiet_hours(facts: &Facts) -> Option<Line> {
    if let Some((count, first)) = facts.tally.held.get(&Barrier::NeverOpen) {
        let detail =
            format!("{count} recipients have no hour at which this may arrive; they are left out. The first: {first}");
        return line("quiet_hours", Level::Warning, *count, detail, Some("CHANGE_QUIET_HOURS"));
    }
    match facts.tally.held.get(&Barrier::Waits) {
        Some((count, first)) => {
            let detail = format!("{count} messages would wait for a lawful or agreed hour. The first: {first}");
            line("quiet_hours", Level::Warning, *count, detail, Some("SCHEDULE_FOR_DAYTIME"))
        }
        None => line("quiet_hours", Level::Ok, 0, "Every message may leave at once.", None),
    }
}

/// As whom it goes. Nothing to say while there is no account.
pub(super) fn sender(facts: &Facts) -> Option<Line> {
    let (account, _) = facts.account.as_ref().ok()?;
    let from = account.from.as_deref()?;
    let known = account.senders.iter().find(|sender| sender.from == from && sender.channels.contains(&facts.channel));
    let Some(sender) = known else {
        let detail = format!("It goes as {from}. Add it as a sender to see whether the provider lets it send.");
        return line("sender", Level::Warning, facts.tally.checked, detail, Some("ADD_SENDER"));
    };
    let why = sender.detail.as_deref().unwrap_or_default();
    match sender.state {
        SenderState::Verified => line("sender", Level::Ok, 0, format!("It goes as {from}, which is verified."), None),
        SenderState::Unknown => {
            let detail = format!("It goes as {from}, which is not verified. {why}");
            line("sender", Level::Warning, facts.tally.checked, detail, Some("VERIFY_SENDER"))
        }
        SenderState::Refused => line(
            "sender",
            Level::Blocking,
            facts.tally.checked,
            format!("{from} may not send. {why}"),
            Some("VERIFY_SENDER"),
        ),
    }
}
