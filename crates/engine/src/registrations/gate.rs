//! Whether a text message to the United States may leave, as far as registration goes: a pure rule.
//!
//! American carriers block text messages from local numbers whose sender they do not know. So a message is refused while its account's registration is not approved: if the operator
//! requires one of this tenant, or if one was begun for the account. It concerns text messages to American numbers, from senders the connector says are registered this way (local numbers, not
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
}

/// Whether a sender is registered this way.
fn concerns(account: &Account, sender: Option<&Sender>) -> bool {
    let cx = Cx {
        settings: &account.values,
        from: sender.map(|sender| sender.from.as_str()).or(account.from.as_deref()),
        base_url: None,
        callback_url: &account.callback_url,
        now: Timestamp::EPOCH,
        nonce: 0,
    };
    account.connector.registrations().is_some_and(|offered| offered.concerns(&cx, sender.is_some()))
}

/// What to do before a message may leave this way; `None` when nothing stands in its way.
pub fn action(
    registered: &Registered,
    account: &Account,
    sender: Option<&Sender>,
    channel: Channel,
    address: &str,
) -> Option<&'static str> {
    if channel != Channel::Sms {
        return None;
    }
    let missing = registered.missing(account.id)?;
    (country::of(channel, address) == Some(*b"US") && concerns(account, sender)).then_some(missing)
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
        Some(action) => Err(Error::conflict(REFUSED, words(action, &account.name)).with_action(action)),
        None => Ok(()),
    }
}

/// The refusal in words.
pub fn words(action: &str, account: &str) -> String {
    let why = match action {
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
            let registered = Registered { policy, states: state.map(|state| (account, state)).into_iter().collect() };
            assert_eq!(registered.missing(account), expected, "{policy:?} {state:?}");
        }
    }
}
