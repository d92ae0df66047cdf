//! Whom to look for when everything about a contact is read or erased: its id and its addresses, wherever they stand.

use model::{Channel, ContactId, TenantId};
use store::contacts;

use super::{
    links::address,
    naming::{Name, Text},
};
use crate::consent::bar;

/// The channels a contact can have an address for.
const CHANNELS: [Channel; 5] = [Channel::Email, Channel::Sms, Channel::Whatsapp, Channel::Voice, Channel::Telegram];

/// Whom to look for.
pub(super) struct Person {
    pub tenant: TenantId,
    pub id: ContactId,
    /// As messages and callbacks have them.
    pub addresses: Vec<String>,
    /// By channel, in the form the suppression list has.
    pub keys: Vec<(Channel, String)>,
    /// What is looked for in texts.
    names: Vec<Name>,
}

impl Person {
    /// The person a contact is.
    pub fn new(contact: &contacts::Contact) -> Self {
        let keys: Vec<(Channel, String)> = CHANNELS
            .into_iter()
            .filter_map(|channel| Some((channel, bar::key(channel, &address(contact, channel)?.to_string()))))
            .collect();
        let mut addresses: Vec<String> = keys.iter().map(|(_, key)| key.clone()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let mut names = vec![Name::Id(contact.id.to_string().to_lowercase())];
        for (channel, key) in &keys {
            let small = key.to_lowercase();
            match channel {
                Channel::Email => names.extend([Name::Mail(small.replace('@', "%40")), Name::Mail(small)]),
                Channel::Telegram => names.push(Name::Chat(small)),
                _ => names.push(Name::Phone(small.trim_start_matches('+').to_owned())),
            }
        }
        names.dedup();
        Self { tenant: contact.tenant_id, id: contact.id, addresses, keys, names }
    }

    /// True when a text that Tidings or the tenant wrote names the person.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_small(&text.to_lowercase(), Text::Ours)
    }

    /// The same for a text in small letters.
    pub fn is_in_small(&self, small: &str, text: Text) -> bool {
        self.names.iter().any(|name| name.place(small, 0, text).is_some())
    }

    /// The text with `erased` wherever it names the person.
    pub fn taken_out(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, name| name.taken_out(&text))
    }
}
