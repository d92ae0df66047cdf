//! Whether a text message to the United States may leave, as far as registration goes: a pure rule.
//!
//! American carriers block text messages from local numbers whose sender they do not know. So a message is refused while its account's registration is not approved: if the operator
//! requires one of this tenant, or if one was begun for the account. A toll-free number whose verification was begun waits for that in the same way. It concerns text messages to American numbers, from senders the connector says are registered this way (local numbers, not
//! toll-free ones or short codes). An account without a registration sends as before unless the operator requires one: it may be registered at the provider by hand, which nobody
//! here can see.

use std::collections::HashMap;

use connectors::Cx;
use model::{AccountId, Address, Channel, Timestamp};

use super::{RegistrationState, profile::UsSms};
use crate::{
    Error, country,
    directory::{Account, Sender, Tenant},
};

/// The code of a refusal.
pub const REFUSED: &str = "registration_required";
/// Next: say who the business is, and begin a registration.
pub const CONFIGURE: &str = "CONFIGURE_BUSINESS_INFO";
/// Next: wait.
pub const WAIT: &str = "WAIT_FOR_APPROVAL";
/// Next: mend what was rejected.
pub const UPDATE: &str = "UPDATE_BUSINESS_INFO";

/// What was decided about a tenant's registrations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// When registration is asked for.
    pub policy: UsSms,
    /// By account.
    pub states: HashMap<AccountId, RegistrationState>,
    /// By account and toll-free number.
    pub toll_free: HashMap<(AccountId, String), RegistrationState>,
}

impl Registered {
    /// What stands in the way of an account's text messages to the United States, whoever they go to; nothing while registration is not asked for.
    pub fn missing(&self, account: AccountId) -> Option<&'static str> {
        match (self.policy, self.states.get(&account)) {
            (UsSms::Off, _) | (UsSms::WhenStarted, None) => None,
            (UsSms::Required, None) => Some(CONFIGURE),
            (_, Some(state)) => state.action(),
        }
    }

    /// What stands in the way of messages from one of an account's toll-free numbers. Only one whose verification was begun is known to need it: others may have been verified by hand.
    fn unverified(&self, account: AccountId, number: &str) -> Option<&'static str> {
        let state = self.toll_free.get(&(account, number.to_owned()))?;
        if self.policy == UsSms::Off { None } else { state.action() }
    }

    /// True when some text messages of an account to the United States may not leave yet.
    pub fn holds_back(&self, account: AccountId) -> bool {
        let waits = |((of, number), _): (&(AccountId, String), &RegistrationState)| {
            *of == account && self.unverified(account, number).is_some()
        };
        self.missing(account).is_some() || self.toll_free.iter().any(waits)
    }
}

/// What to do before a message may leave, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The next action.
    pub action: &'static str,
    /// True when a toll-free number has to be verified.
    pub is_toll_free: bool,
}

/// What the carriers ask of a sender: of a local number that its business is registered, of a toll-free one that it is verified.
fn missing(registered: &Registered, account: &Account, sender: Option<&Sender>) -> Option<Missing> {
    let from = sender.map(|sender| sender.from.as_str()).or(account.from.as_deref());
    let cx = Cx { from, ..account.cx(Timestamp::EPOCH) };
    let offered = account.connector.registrations()?;
    if offered.concerns(&cx, sender.is_some()) {
        let action = registered.missing(account.id)?;
        return Some(Missing { action, is_toll_free: false });
    }
    let number = offered.toll_free(&cx, sender.is_some())?;
    let action = registered.unverified(account.id, number)?;
    Some(Missing { action, is_toll_free: true })
}

/// What to do before a message may leave this way; `None` when nothing stands in its way.
pub fn action(
    registered: &Registered,
    account: &Account,
    sender: Option<&Sender>,
    channel: Channel,
    address: &str,
) -> Option<Missing> {
    if channel != Channel::Sms || country::of(channel, address) != Some(*b"US") {
        return None;
    }
    missing(registered, account, sender)
}

/// Refuses a message that may not leave this way yet.
pub fn refuse(
    tenant: &Tenant,
    account: &Account,
    sender: Option<&Sender>,
    channel: Channel,
    address: &Address,
) -> Result<(), Error> {
    let Address::Phone(phone) = address else { return Ok(()) };
    match action(&tenant.registered, account, sender, channel, phone.as_str()) {
        Some(missing) => Err(Error::conflict(REFUSED, words(missing, &account.name)).with_action(missing.action)),
        None => Ok(()),
    }
}

/// The refusal in words.
pub fn words(missing: Missing, account: &str) -> String {
    if missing.is_toll_free {
        let why = match missing.action {
            UPDATE => {
                "The verification was rejected: see the reasons at GET /v1/registrations/toll-free, change what is wrong and submit it again."
            }
            _ => "The verification is under way, which takes days. See GET /v1/registrations/toll-free.",
        };
        return format!(
            "Text messages to the United States cannot leave from this toll-free number of {account} before it is verified. {why}"
        );
    }
    let why = match missing.action {
        CONFIGURE => {
            "Say who your business is with PATCH /v1/business-profile, then begin with POST /v1/registrations/10dlc."
        }
        UPDATE => {
            "The registration was rejected: see the reasons at GET /v1/registrations/10dlc, change the business profile and submit it again."
        }
        _ => {
            "The registration is under way; it is approved by the carriers, which takes days. See GET /v1/registrations/10dlc."
        }
    };
    format!(
        "Text messages to the United States cannot leave through {account} before its business is registered with the carriers. {why}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registration_is_asked_for_where_it_was_begun_or_is_required() {
        use RegistrationState::{Approved, InProgress, OperatorNeeded, Rejected};
        use UsSms::{Off, Required, WhenStarted};
        for (policy, state, expected) in [
            (WhenStarted, None, None),
            (WhenStarted, Some(InProgress), Some(WAIT)),
            (WhenStarted, Some(OperatorNeeded), Some(WAIT)),
            (WhenStarted, Some(Rejected), Some(UPDATE)),
            (WhenStarted, Some(Approved), None),
            (Required, None, Some(CONFIGURE)),
            (Required, Some(InProgress), Some(WAIT)),
            (Required, Some(Approved), None),
            (Off, Some(Rejected), None),
            (Off, None, None),
        ] {
            let account = AccountId::from_ulid(1);
            let states = state.map(|state| (account, state)).into_iter().collect();
            let registered = Registered { policy, states, ..Registered::default() };
            assert_eq!(registered.missing(account), expected, "{policy:?} {state:?}");
        }
    }

    #[test]
    fn a_toll_free_number_is_held_back_while_its_verification_is_under_way() {
        use RegistrationState::{Approved, InProgress, Rejected};
        let account = AccountId::from_ulid(1);
        let check = |policy, state, expected: Option<&str>| {
            let toll_free = HashMap::from([((account, "+18005550100".to_owned()), state)]);
            let registered = Registered { policy, toll_free, ..Registered::default() };
            assert_eq!(registered.unverified(account, "+18005550100"), expected, "{policy:?} {state:?}");
            assert_eq!(registered.unverified(account, "+18885550100"), None, "another number");
            assert_eq!(registered.unverified(AccountId::from_ulid(2), "+18005550100"), None, "another account");
            assert_eq!(registered.holds_back(account), expected.is_some() || policy == UsSms::Required);
        };
        check(UsSms::WhenStarted, InProgress, Some(WAIT));
        check(UsSms::WhenStarted, Rejected, Some(UPDATE));
        check(UsSms::WhenStarted, Approved, None);
        check(UsSms::Required, InProgress, Some(WAIT));
        check(UsSms::Off, InProgress, None);
    }
}
