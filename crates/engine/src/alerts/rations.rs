//! How many letters about alerts leave in a day of UTC. What is told is grouped and has quiet periods, so only rules that are far too strict, or tell far too many, come near these limits: they bound what that costs.

use model::{TenantId, Timestamp};
use store::{Scope, alerts::Alert};

use super::{Severity, letters::LetterAbout, rules::Receiver};
use crate::{Engine, Error, access::throttle};

/// Letters about alerts of one owner in a day.
pub const LETTERS_A_DAY: i64 = 1_000;
/// Those of them to one receiver: one every half hour.
pub const LETTERS_TO_ONE_A_DAY: i64 = 50;
/// By how much what is critical and begins goes beyond both, in percent: a day of warnings does not hold it back.
const URGENT_MORE_PERCENT: i64 = 20;
/// Letters that try out an owner's rules in a day, whatever becomes of them.
pub const TRIALS_A_DAY: i64 = 200;
/// Those of them to one receiver.
pub const TRIALS_TO_ONE_A_DAY: i64 = 10;

/// What letters are counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ration {
    /// One about alerts.
    Letter,
    /// One about alerts of which one is critical and begins.
    Urgent,
    /// One that tries out a rule.
    Trial,
}

impl Ration {
    /// That of a letter about these alerts.
    pub(super) fn of(said: &[&Alert]) -> Self {
        let is_urgent = |alert: &&Alert| {
            alert.severity == Severity::Critical.as_str()
                && alert.telling.as_deref().map(LetterAbout::from_stored) == Some(LetterAbout::Firing)
        };
        if said.iter().any(is_urgent) { Self::Urgent } else { Self::Letter }
    }

    const fn limits(self) -> (i64, i64) {
        match self {
            Self::Letter => (LETTERS_A_DAY, LETTERS_TO_ONE_A_DAY),
            Self::Urgent => (
                LETTERS_A_DAY * (100 + URGENT_MORE_PERCENT) / 100,
                LETTERS_TO_ONE_A_DAY * (100 + URGENT_MORE_PERCENT) / 100,
            ),
            Self::Trial => (TRIALS_A_DAY, TRIALS_TO_ONE_A_DAY),
        }
    }

    /// What a letter is counted under: with all of its owner's, and with those to its receiver.
    fn names(self, owner: TenantId, receiver: &Receiver) -> [Vec<String>; 2] {
        let kind = if self == Self::Trial { "alert trials" } else { "alert letters" };
        let all = vec![kind.to_owned(), owner.to_string()];
        let to_one = [all.as_slice(), &[receiver.channel.to_string(), receiver.to.clone()]].concat();
        [all, to_one]
    }

    /// Counts a letter, or answers why it does not leave today.
    pub(super) async fn take(
        self,
        engine: &Engine,
        owner: TenantId,
        receiver: &Receiver,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        let ([all, to_one], (most, most_to_one)) = (self.names(owner, receiver), self.limits());
        let write = engine.ports.db.write(Scope::System, move |tx| {
            Box::pin(async move { throttle::count(tx, &[(all, most), (to_one, most_to_one)], now).await })
        });
        let is_within = write.await?;
        Ok((!is_within).then(|| self.refusal()))
    }

    /// Takes a letter back that was counted, and that no account took or one had taken before.
    pub(super) async fn give_back(
        self,
        engine: &Engine,
        owner: TenantId,
        receiver: &Receiver,
        now: Timestamp,
    ) -> Result<(), Error> {
        let names = self.names(owner, receiver);
        let write = engine
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { throttle::uncount(tx, &names, now).await }));
        write.await
    }

    fn refusal(self) -> String {
        let (most, to_one) = self.limits();
        match self {
            Self::Letter | Self::Urgent => format!(
                "The letters of today are used up: {most} about alerts leave in a day of UTC, {to_one} of them to one receiver. It leaves tomorrow. \
                 So that fewer are written, give rules a longer `quiet_s`, a higher threshold or fewer receivers; endpoints and streams are told all the same."
            ),
            Self::Trial => format!(
                "The tests of today are used up: {most} letters that try out rules leave in a day of UTC, {to_one} of them to one receiver. Try again tomorrow."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_critical_and_begins_goes_beyond_the_others_it_counts_with() {
        let receiver: Receiver =
            serde_json::from_value(serde_json::json!({"channel": "email", "to": "ada@example.com"})).unwrap();
        let owner = TenantId::from_ulid(1);
        assert_eq!(Ration::Urgent.names(owner, &receiver), Ration::Letter.names(owner, &receiver));
        assert_ne!(Ration::Trial.names(owner, &receiver), Ration::Letter.names(owner, &receiver));
        assert_eq!((Ration::Letter.limits(), Ration::Urgent.limits()), ((1_000, 50), (1_200, 60)));
    }
}
