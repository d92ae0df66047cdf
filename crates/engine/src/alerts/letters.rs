//! How far the letters about an alert are: to whom, what became of each, and when the next is tried. Pure.
//!
//! A receiver is told once that an alert fires and, if that was accepted, once that it is over. What no account takes is tried again after five minutes and then after twice as long each
//! time, [`TRIES_MAX`] times within half a day, and then given up with the reason. Only what was accepted counts as told.

use model::{Channel, MessageId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::Receiver;

/// How often a letter is tried.
pub const TRIES_MAX: u32 = 8;
/// Time before a letter is tried a second time, in seconds. Each further time is twice as long.
const WAIT_S: i64 = 300;
/// Characters of a reason that are kept.
const REASON_MAX: usize = 500;

/// What a letter says of its alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterAbout {
    /// That it fires.
    Firing,
    /// That it is over.
    Resolved,
}

impl LetterAbout {
    /// The word in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        if word == "resolved" { Self::Resolved } else { Self::Firing }
    }
}

/// How far a letter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum LetterState {
    /// No account took it yet; it is tried again.
    Waiting,
    /// It was accepted as a message, which says what becomes of it.
    Accepted,
    /// No account took it, and it is not tried again.
    GivenUp,
}

/// A letter about an alert, to one receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AlertLetter {
    /// Over which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// An address, a number or a chat; `admins` where nobody administers the tenant.
    #[schema(example = "ops@acme.example")]
    pub to: String,
    /// What it says of the alert.
    pub about: LetterAbout,
    /// How far it is.
    pub state: LetterState,
    /// How often it was tried, up to 8 times.
    pub tries: u32,
    /// Why no account took it the last time.
    pub reason: Option<String>,
    /// The message it is; `null` until it was accepted, and for one that left through the operator's account.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Whether it left through the operator's account.
    #[serde(default)]
    pub by_operator: bool,
    /// When it was last tried.
    #[schema(value_type = String, format = DateTime)]
    pub tried_at: Timestamp,
}

/// What became of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tried {
    /// An account took it.
    Accepted {
        /// The message.
        message_id: Option<MessageId>,
        /// Whether the account is the operator's.
        by_operator: bool,
    },
    /// None did, for this reason.
    Refused(String),
}

impl AlertLetter {
    /// When it is tried again; `None` when it is not.
    pub fn next_at(&self) -> Option<Timestamp> {
        let doublings = self.tries.saturating_sub(1).min(TRIES_MAX);
        (self.state == LetterState::Waiting).then(|| self.tried_at.plus_seconds(WAIT_S << doublings))
    }

    fn is_to(&self, receiver: &Receiver) -> bool {
        self.channel == receiver.channel && self.to == receiver.to
    }
}

/// A letter as its owner sees it: a tenant does not see messages of the operator's.
pub(super) fn shown(letter: AlertLetter, is_operators: bool) -> AlertLetter {
    AlertLetter { message_id: letter.message_id.filter(|_| is_operators || !letter.by_operator), ..letter }
}

/// Reads the database's text.
pub(super) fn read(text: Option<&str>) -> Vec<AlertLetter> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The text for the database.
pub(super) fn write(letters: &[AlertLetter]) -> String {
    serde_json::to_string(letters).expect("letters have a JSON form")
}

/// Who is to be written to now. Without letters from before (`None`) that something is over is told to everybody; otherwise to those who know that it fired.
pub(super) fn due(
    letters: Option<&[AlertLetter]>,
    about: LetterAbout,
    receivers: &[Receiver],
    now: Timestamp,
) -> Vec<Receiver> {
    let is_due = |receiver: &&Receiver| {
        let letter = letters.unwrap_or_default().iter().find(|letter| letter.is_to(receiver));
        match letter {
            Some(letter) if letter.about == about => letter.next_at().is_some_and(|at| at <= now),
            Some(letter) => about == LetterAbout::Firing || letter.state == LetterState::Accepted,
            None => about == LetterAbout::Firing || letters.is_none(),
        }
    };
    receivers.iter().filter(is_due).cloned().collect()
}

/// Notes what became of a try.
pub(super) fn note(
    letters: &mut Vec<AlertLetter>,
    about: LetterAbout,
    receiver: &Receiver,
    tried: &Tried,
    now: Timestamp,
) {
    let tries = tries(letters, about, receiver) + 1;
    letters.retain(|letter| !letter.is_to(receiver));
    let (state, reason, message_id, by_operator) = match tried {
        Tried::Accepted { message_id, by_operator } => (LetterState::Accepted, None, *message_id, *by_operator),
        Tried::Refused(reason) => {
            let state = if tries < TRIES_MAX { LetterState::Waiting } else { LetterState::GivenUp };
            (state, Some(reason.chars().take(REASON_MAX).collect()), None, false)
        }
    };
    letters.push(AlertLetter {
        channel: receiver.channel,
        to: receiver.to.clone(),
        about,
        state,
        tries,
        reason,
        message_id,
        by_operator,
        tried_at: now,
    });
}

/// Puts what another node got accepted meanwhile before what was refused here.
pub(super) fn keep_accepted(letters: &mut [AlertLetter], known: &[AlertLetter]) {
    for letter in letters.iter_mut().filter(|letter| letter.state != LetterState::Accepted) {
        let is_same = |other: &&AlertLetter| {
            (other.channel, &other.to, other.about) == (letter.channel, &letter.to, letter.about)
        };
        let accepted = known.iter().filter(is_same).find(|other| other.state == LetterState::Accepted);
        if let Some(accepted) = accepted {
            *letter = accepted.clone();
        }
    }
}

/// How often a letter has been tried.
pub(super) fn tries(letters: &[AlertLetter], about: LetterAbout, receiver: &Receiver) -> u32 {
    let found = letters.iter().find(|letter| letter.is_to(receiver) && letter.about == about);
    found.map_or(0, |letter| letter.tries)
}

/// Ends the letters that wait, with the reason.
pub(super) fn end(letters: &mut [AlertLetter], reason: &str) {
    for letter in letters.iter_mut().filter(|letter| letter.state == LetterState::Waiting) {
        letter.state = LetterState::GivenUp;
        letter.reason = Some(match letter.reason.take() {
            Some(before) => format!("{reason} {before}").chars().take(REASON_MAX).collect(),
            None => reason.to_owned(),
        });
    }
}

/// When the next letter is tried; `None` when there is none.
pub(super) fn next(letters: &[AlertLetter]) -> Option<Timestamp> {
    letters.iter().filter_map(AlertLetter::next_at).min()
}

/// Whether somebody knows that the alert fires.
pub(super) fn is_told(letters: &[AlertLetter]) -> bool {
    letters.iter().any(|letter| letter.about == LetterAbout::Firing && letter.state == LetterState::Accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn to(address: &str) -> Receiver {
        Receiver { channel: Channel::Email, to: address.to_owned() }
    }

    fn refused() -> Tried {
        Tried::Refused("No account works.".to_owned())
    }

    fn accepted() -> Tried {
        Tried::Accepted { message_id: Some(MessageId::from_ulid(7)), by_operator: false }
    }

    #[test]
    fn what_nobody_takes_is_tried_for_half_a_day_and_given_up() {
        let (mut letters, mut now, everybody) = (Vec::new(), START, [to("ada@acme.example")]);
        let mut waits = Vec::new();
        loop {
            assert_eq!(due(Some(&letters), LetterAbout::Firing, &everybody, now), everybody);
            note(&mut letters, LetterAbout::Firing, &everybody[0], &refused(), now);
            let Some(at) = next(&letters) else { break };
            assert_eq!(due(Some(&letters), LetterAbout::Firing, &everybody, at.plus_seconds(-1)), []);
            waits.push((at.as_seconds() - now.as_seconds()) / 60);
            now = at;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320]);
        assert_eq!((letters[0].state, letters[0].tries, is_told(&letters)), (LetterState::GivenUp, TRIES_MAX, false));
        assert_eq!(due(Some(&letters), LetterAbout::Firing, &everybody, now.plus_seconds(86_400)), []);
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, now), [], "they never heard of it");
    }

    #[test]
    fn only_those_who_know_of_it_hear_that_it_is_over() {
        let (ada, bo, cy) = (to("ada@acme.example"), to("bo@acme.example"), to("cy@acme.example"));
        let everybody = [ada.clone(), bo.clone(), cy];
        let mut letters = Vec::new();
        note(&mut letters, LetterAbout::Firing, &ada, &accepted(), START);
        note(&mut letters, LetterAbout::Firing, &bo, &refused(), START);
        end(&mut letters, "It is over.");
        assert_eq!(letters[1].reason.as_deref(), Some("It is over. No account works."));
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, START), everybody[..1]);
        note(&mut letters, LetterAbout::Resolved, &ada, &refused(), START);
        let later = START.plus_seconds(300);
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, START), []);
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, later), everybody[..1]);
        note(&mut letters, LetterAbout::Resolved, &ada, &accepted(), later);
        assert_eq!((due(Some(&letters), LetterAbout::Resolved, &everybody, later), next(&letters)), (vec![], None));
        assert_eq!(due(None, LetterAbout::Resolved, &everybody, START), everybody, "an earlier version told everybody");
        let mut elsewhere = Vec::new();
        note(&mut elsewhere, LetterAbout::Resolved, &ada, &refused(), later);
        keep_accepted(&mut elsewhere, &letters);
        assert_eq!(elsewhere[0].state, LetterState::Accepted, "two nodes told her at the same time");
        assert_eq!(read(Some(&write(&letters))), letters);
        assert_eq!(read(Some("nonsense")), []);
    }
}
