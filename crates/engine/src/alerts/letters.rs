//! How far the letters about an alert are: to whom, what became of each, and when the next is tried. Pure.
//!
//! A receiver is told once that an alert fires and, if that was accepted, once that it is over. What no account takes is tried again after five minutes and then after twice as long each
//! time, [`TRIES_MAX`] times within half a day, and then given up with the reason. Only what was accepted counts as told. Who has had the letters of the day waits for the next one,
//! and what could not be handed over for a reason of ours is asked again after five minutes each time; neither is a try.
//!
//! What was accepted is looked after for a day: one that could not be delivered counts as told no more and is tried another way, as one more of its tries. As the first is lost for good by
//! then, nobody is told twice.

use std::collections::BTreeMap;

use model::{AccountId, Channel, MessageId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rules::Receiver;

/// How often a letter is tried.
pub const TRIES_MAX: u32 = 8;
/// Time before a letter is tried a second time, in seconds. Each further time is twice as long.
const WAIT_S: i64 = 300;
/// How long it is looked what became of a letter, in seconds: a mail server that gives up says so within hours. The first look is after [`WAIT_S`], each further one after twice as long.
const LOOKS_S: i64 = 86_400;
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
    /// No account took it yet, it could not be handed over or delivered, or the letters of the day are used up; it is tried again.
    Waiting,
    /// It was accepted as a message, which says what becomes of it.
    Accepted,
    /// It arrived, as its provider says; many say nothing.
    Delivered,
    /// It was accepted and could not be delivered, and it is not tried again.
    Undelivered,
    /// No account took it, and it is not tried again.
    GivenUp,
}

/// A way a letter went by and was not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LostWay {
    /// Through this account.
    pub account_id: AccountId,
    /// Whether it would be so again: the address does not exist, or wants none. Otherwise it is taken again when there is no other.
    pub is_for_good: bool,
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
    /// Why no account took it or was asked the last time, or why it could not be delivered.
    pub reason: Option<String>,
    /// The message it was last; `null` until it was accepted, and for one that left through the operator's account.
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    /// Whether it left through the operator's account.
    #[serde(default)]
    pub by_operator: bool,
    /// When it was last tried.
    #[schema(value_type = String, format = DateTime)]
    pub tried_at: Timestamp,
    /// By which ways it went and was not delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(ignore)]
    pub(super) lost: Vec<LostWay>,
    /// Whether it was put off the last time, and no account was asked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(ignore)]
    pub(super) is_put_off: bool,
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
        /// Whether it was accepted now, and not before by somebody who did not come to note it.
        is_new: bool,
    },
    /// None did, for this reason.
    Refused(String),
    /// None will: by every way there is it could not be delivered.
    Hopeless(String),
    /// None was asked, for this reason. That is no try, and it is asked again after [`WAIT_S`], however often the letter was tried.
    Later(String),
}

/// What became of a letter that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Became {
    /// It arrived.
    Delivered,
    /// It did not, by this way and for this reason.
    Lost(LostWay, String),
    /// A person canceled it.
    Canceled,
}

impl AlertLetter {
    /// When it is tried again; `None` when it is not.
    pub fn next_at(&self) -> Option<Timestamp> {
        let doublings = if self.is_put_off { 0 } else { self.tries.saturating_sub(1).min(TRIES_MAX) };
        (self.state == LetterState::Waiting).then(|| self.tried_at.plus_seconds(WAIT_S << doublings))
    }

    /// When it is next looked what became of it; `None` when nothing more is to be expected.
    fn look_at(&self, now: Timestamp) -> Option<Timestamp> {
        let waits = std::iter::successors(Some(WAIT_S), |wait_s| Some(wait_s * 2));
        let looks = waits.take_while(|wait_s| *wait_s <= LOOKS_S).map(|wait_s| self.tried_at.plus_seconds(wait_s));
        looks.filter(|_| self.state == LetterState::Accepted).find(|at| *at > now)
    }

    /// Whether the receiver knows what it says, as far as anybody can tell.
    pub fn is_heard(&self) -> bool {
        matches!(self.state, LetterState::Accepted | LetterState::Delivered)
    }

    fn is_to(&self, receiver: &Receiver) -> bool {
        self.channel == receiver.channel && self.to == receiver.to
    }

    /// What a letter is that is not tried any more.
    fn ended(&self) -> LetterState {
        if self.lost.is_empty() { LetterState::GivenUp } else { LetterState::Undelivered }
    }
}

/// A letter as its owner sees it: a tenant does not see messages of the operator's.
pub(super) fn shown(letter: AlertLetter, is_operators: bool) -> AlertLetter {
    let message_id = letter.message_id.filter(|_| is_operators || !letter.by_operator);
    AlertLetter { message_id, lost: Vec::new(), is_put_off: false, ..letter }
}

/// Reads the database's text.
pub(super) fn read(text: Option<&str>) -> Vec<AlertLetter> {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// The text for the database.
pub(super) fn write(letters: &[AlertLetter]) -> String {
    serde_json::to_string(letters).expect("letters have a JSON form")
}

/// The letter to a receiver that says this.
pub(super) fn find<'a>(letters: &'a [AlertLetter], about: LetterAbout, receiver: &Receiver) -> Option<&'a AlertLetter> {
    letters.iter().find(|letter| letter.about == about && letter.is_to(receiver))
}

/// Who is to be written to now. Without letters from before (`None`) that something is over is told to everybody; otherwise to those who know that it fired.
pub(super) fn due(
    letters: Option<&[AlertLetter]>,
    about: LetterAbout,
    receivers: &[Receiver],
    now: Timestamp,
) -> Vec<Receiver> {
    let known = letters.unwrap_or_default();
    let is_due = |receiver: &&Receiver| match (find(known, about, receiver), about) {
        (Some(letter), _) => letter.next_at().is_some_and(|at| at <= now),
        (None, LetterAbout::Firing) => true,
        (None, LetterAbout::Resolved) => {
            letters.is_none() || find(known, LetterAbout::Firing, receiver).is_some_and(AlertLetter::is_heard)
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
    let before = letters.iter().position(|letter| letter.about == about && letter.is_to(receiver));
    let mut letter = before.map_or_else(
        || AlertLetter {
            channel: receiver.channel,
            to: receiver.to.clone(),
            about,
            state: LetterState::Waiting,
            tries: 0,
            reason: None,
            message_id: None,
            by_operator: false,
            tried_at: now,
            lost: Vec::new(),
            is_put_off: false,
        },
        |place| letters.remove(place),
    );
    letter.is_put_off = matches!(tried, Tried::Later(_));
    letter.tries += u32::from(!letter.is_put_off);
    letter.tried_at = now;
    match tried {
        Tried::Accepted { message_id, by_operator, .. } => {
            (letter.state, letter.reason) = (LetterState::Accepted, None);
            (letter.message_id, letter.by_operator) = (*message_id, *by_operator);
        }
        Tried::Later(reason) => letter.reason = Some(shortened(reason)),
        Tried::Refused(reason) => {
            letter.reason = Some(shortened(reason));
            letter.state = if letter.tries < TRIES_MAX { LetterState::Waiting } else { letter.ended() };
        }
        Tried::Hopeless(reason) => {
            let before = letter.reason.take().map_or_else(String::new, |before| before + " ");
            letter.reason = Some(shortened(&(before + reason)));
            letter.state = letter.ended();
        }
    }
    letters.push(letter);
}

fn shortened(reason: &str) -> String {
    reason.chars().take(REASON_MAX).collect()
}

/// The messages of letters of which it is to be looked what became of them, and whether they left through the operator's account.
pub(super) fn open(letters: &[AlertLetter]) -> impl Iterator<Item = (MessageId, bool)> {
    let accepted = letters.iter().filter(|letter| letter.state == LetterState::Accepted);
    accepted.filter_map(|letter| letter.message_id.map(|id| (id, letter.by_operator)))
}

/// Notes what became of letters that were accepted. One that was lost is tried again if it says what is `about` to be said, and if it was not tried too often. Answers whether one was lost.
pub(super) fn follow(letters: &mut [AlertLetter], about: LetterAbout, became: &BTreeMap<MessageId, Became>) -> bool {
    let mut is_lost = false;
    for letter in letters.iter_mut().filter(|letter| letter.state == LetterState::Accepted) {
        match letter.message_id.and_then(|id| became.get(&id)) {
            None => {}
            Some(Became::Delivered) => letter.state = LetterState::Delivered,
            Some(Became::Canceled) => {
                is_lost = true;
                letter.reason = Some("Somebody canceled it.".to_owned());
                letter.state = LetterState::Undelivered;
            }
            Some(Became::Lost(way, reason)) => {
                is_lost = true;
                letter.lost.retain(|lost| lost.account_id != way.account_id);
                letter.lost.push(*way);
                letter.reason = Some(shortened(reason));
                let is_tried = letter.about == about && letter.tries < TRIES_MAX;
                letter.state = if is_tried { LetterState::Waiting } else { LetterState::Undelivered };
            }
        }
    }
    is_lost
}

/// Puts what another node got accepted meanwhile before what was refused here. What was seen to be lost is not that.
pub(super) fn keep_accepted(letters: &mut [AlertLetter], known: &[AlertLetter]) {
    for letter in letters.iter_mut().filter(|letter| !letter.is_heard()) {
        let is_same = |other: &&AlertLetter| {
            (other.channel, &other.to, other.about) == (letter.channel, &letter.to, letter.about)
                && other.message_id != letter.message_id
        };
        let accepted = known.iter().filter(is_same).find(|other| other.is_heard());
        if let Some(accepted) = accepted {
            *letter = accepted.clone();
        }
    }
}

/// How often a letter has been tried.
pub(super) fn tries(letters: &[AlertLetter], about: LetterAbout, receiver: &Receiver) -> u32 {
    find(letters, about, receiver).map_or(0, |letter| letter.tries)
}

/// Ends the letters that wait, with the reason.
pub(super) fn end(letters: &mut [AlertLetter], reason: &str) {
    for letter in letters.iter_mut().filter(|letter| letter.state == LetterState::Waiting) {
        letter.state = letter.ended();
        letter.reason = Some(match letter.reason.take() {
            Some(before) => shortened(&format!("{reason} {before}")),
            None => reason.to_owned(),
        });
    }
}

/// Readies the letters of an alert that came back while nothing is said of it any more: who never heard that it fires is tried anew, who knows is not told again, and that it was over is
/// not said by letters that wait.
pub(super) fn reopen(letters: &mut Vec<AlertLetter>) {
    letters.retain(|letter| letter.about == LetterAbout::Firing || letter.is_heard());
    for letter in letters.iter_mut().filter(|letter| !letter.is_heard()) {
        (letter.state, letter.tries) = (LetterState::Waiting, 0);
    }
}

/// When the next letter of those that say this is tried or looked after; `None` when there is none.
pub(super) fn next(letters: &[AlertLetter], about: LetterAbout, now: Timestamp) -> Option<Timestamp> {
    let said = letters.iter().filter(|letter| letter.about == about);
    said.filter_map(|letter| letter.next_at().or_else(|| letter.look_at(now))).min()
}

/// Whether somebody knows that the alert fires.
pub(super) fn is_told(letters: &[AlertLetter]) -> bool {
    letters.iter().any(|letter| letter.about == LetterAbout::Firing && letter.is_heard())
}

/// When a letter was last accepted that was not lost.
pub(super) fn heard_at(letters: &[AlertLetter]) -> Option<Timestamp> {
    letters.iter().filter(|letter| letter.is_heard()).map(|letter| letter.tried_at).max()
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
        accepted_as(7)
    }

    fn accepted_as(message: u128) -> Tried {
        Tried::Accepted { message_id: Some(MessageId::from_ulid(message)), by_operator: false, is_new: true }
    }

    /// What became of one message.
    fn lost(message: u128, account: u128, is_for_good: bool) -> BTreeMap<MessageId, Became> {
        let way = LostWay { account_id: AccountId::from_ulid(account), is_for_good };
        BTreeMap::from([(MessageId::from_ulid(message), Became::Lost(way, "No such mailbox.".to_owned()))])
    }

    #[test]
    fn what_nobody_takes_is_tried_for_half_a_day_and_given_up() {
        let (mut letters, mut now, everybody) = (Vec::new(), START, [to("ada@acme.example")]);
        let mut waits = Vec::new();
        loop {
            assert_eq!(due(Some(&letters), LetterAbout::Firing, &everybody, now), everybody);
            note(&mut letters, LetterAbout::Firing, &everybody[0], &refused(), now);
            let Some(at) = next(&letters, LetterAbout::Firing, now) else { break };
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
    fn what_is_put_off_is_no_try() {
        let (ada, mut letters, mut now) = (to("ada@acme.example"), Vec::new(), START);
        let put_off = Tried::Later("Tomorrow.".to_owned());
        for _ in 0..3 {
            note(&mut letters, LetterAbout::Firing, &ada, &refused(), now);
        }
        assert_eq!(next(&letters, LetterAbout::Firing, now), Some(now.plus_seconds(4 * WAIT_S)));
        for _ in 0..3 * u32::from(u8::MAX) {
            now = next(&letters, LetterAbout::Firing, now).unwrap();
            note(&mut letters, LetterAbout::Firing, &ada, &put_off, now);
            let soon = Some(now.plus_seconds(WAIT_S));
            assert_eq!(next(&letters, LetterAbout::Firing, now), soon, "however often it was tried");
        }
        assert_eq!((letters[0].state, letters[0].tries), (LetterState::Waiting, 3));
        assert_eq!(letters[0].reason.as_deref(), Some("Tomorrow."));
        assert_eq!(read(Some(&write(&letters))), letters);
        assert!(!write(&[shown(letters[0].clone(), true)]).contains("put_off"), "that is for us");
        note(&mut letters, LetterAbout::Firing, &ada, &refused(), now);
        assert_eq!(next(&letters, LetterAbout::Firing, now), Some(now.plus_seconds(8 * WAIT_S)), "a try, once more");
        note(&mut letters, LetterAbout::Firing, &ada, &accepted(), now);
        assert_eq!((letters[0].tries, &letters[0].reason, is_told(&letters)), (5, &None, true));
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
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, later), []);
        assert_eq!(due(None, LetterAbout::Resolved, &everybody, START), everybody, "an earlier version told everybody");
        let mut elsewhere = Vec::new();
        note(&mut elsewhere, LetterAbout::Resolved, &ada, &refused(), later);
        keep_accepted(&mut elsewhere, &letters);
        assert_eq!(elsewhere[0].state, LetterState::Accepted, "two nodes told her at the same time");
        assert_eq!(read(Some(&write(&letters))), letters);
        assert_eq!(read(Some("nonsense")), []);
    }

    #[test]
    fn what_was_accepted_is_looked_after_for_a_day() {
        let mut letters = Vec::new();
        note(&mut letters, LetterAbout::Firing, &to("ada@acme.example"), &accepted(), START);
        let (mut now, mut looks) = (START, Vec::new());
        while let Some(at) = next(&letters, LetterAbout::Firing, now) {
            looks.push((at.as_seconds() - START.as_seconds()) / 60);
            now = at;
        }
        assert_eq!(looks, [5, 10, 20, 40, 80, 160, 320, 640, 1_280]);
        assert_eq!(open(&letters).collect::<Vec<_>>(), [(MessageId::from_ulid(7), false)]);
        let arrived = BTreeMap::from([(MessageId::from_ulid(7), Became::Delivered)]);
        assert!(!follow(&mut letters, LetterAbout::Firing, &arrived));
        assert_eq!((letters[0].state, next(&letters, LetterAbout::Firing, START)), (LetterState::Delivered, None));
    }

    #[test]
    fn what_was_lost_is_not_told_and_is_tried_as_often_as_any_other() {
        let ada = to("ada@acme.example");
        let (mut letters, mut now) = (Vec::new(), START);
        for message in 1..=u128::from(TRIES_MAX) {
            assert_eq!(due(Some(&letters), LetterAbout::Firing, std::slice::from_ref(&ada), now).len(), 1, "{message}");
            note(&mut letters, LetterAbout::Firing, &ada, &accepted_as(message), now);
            assert_eq!((is_told(&letters), heard_at(&letters)), (true, Some(now)));
            let known = letters.clone();
            assert!(follow(&mut letters, LetterAbout::Firing, &lost(message, 3, false)));
            assert_eq!((is_told(&letters), heard_at(&letters), letters[0].lost.len()), (false, None, 1));
            keep_accepted(&mut letters, &known);
            assert!(!letters[0].is_heard(), "what the row still says of the lost one is no news");
            now = next(&letters, LetterAbout::Firing, now).unwrap_or(now);
        }
        assert_eq!((letters[0].state, letters[0].tries), (LetterState::Undelivered, TRIES_MAX));
        assert_eq!(letters[0].reason.as_deref(), Some("No such mailbox."));
        assert_eq!(due(Some(&letters), LetterAbout::Firing, &[ada], now.plus_seconds(86_400)), []);
        assert_eq!(shown(letters[0].clone(), false).lost, []);
    }

    #[test]
    fn what_no_way_can_deliver_is_given_up_at_once() {
        let ada = to("ada@acme.example");
        let mut letters = Vec::new();
        note(&mut letters, LetterAbout::Firing, &ada, &accepted(), START);
        follow(&mut letters, LetterAbout::Firing, &lost(7, 3, true));
        assert_eq!(letters[0].state, LetterState::Waiting);
        note(&mut letters, LetterAbout::Firing, &ada, &Tried::Hopeless("No such mailbox.".to_owned()), START);
        assert_eq!(
            (letters[0].state, letters[0].message_id),
            (LetterState::Undelivered, Some(MessageId::from_ulid(7)))
        );
        // Once it is over, that it fired need not be said.
        let mut over = Vec::new();
        note(&mut over, LetterAbout::Firing, &ada, &accepted(), START);
        follow(&mut over, LetterAbout::Resolved, &lost(7, 3, false));
        assert_eq!(over[0].state, LetterState::Undelivered);
    }

    #[test]
    fn an_alert_that_comes_back_silently_is_told_to_those_who_never_heard_of_it() {
        let [ada, bo, cy, di] = ["ada", "bo", "cy", "di"].map(|name| to(&format!("{name}@acme.example")));
        let mut letters = Vec::new();
        for heard in [&ada, &bo] {
            note(&mut letters, LetterAbout::Firing, heard, &accepted(), START);
        }
        note(&mut letters, LetterAbout::Firing, &cy, &refused(), START);
        end(&mut letters, "It was over first.");
        note(&mut letters, LetterAbout::Resolved, &ada, &accepted(), START);
        note(&mut letters, LetterAbout::Resolved, &bo, &refused(), START);
        reopen(&mut letters);
        let (everybody, later) = ([ada, bo.clone(), cy.clone(), di.clone()], START.plus_seconds(600));
        assert_eq!(
            due(Some(&letters), LetterAbout::Firing, &everybody, later),
            [cy.clone(), di],
            "the rule names one more"
        );
        note(&mut letters, LetterAbout::Firing, &cy, &accepted(), later);
        // Ada heard that it was over, and nothing since.
        assert_eq!(due(Some(&letters), LetterAbout::Resolved, &everybody, later), [bo, cy]);
    }
}
