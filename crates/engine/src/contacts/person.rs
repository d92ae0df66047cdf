//! Whom to look for when everything about a contact is read or erased: its id and its addresses, wherever they stand.

use model::{Channel, ContactId, TenantId};
use store::contacts;

use super::links::address;
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
    /// In lower case: what is looked for in logged texts.
    needles: Vec<String>,
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
        let mut needles = vec![contact.id.to_string().to_lowercase()];
        for one in &addresses {
            let plain = one.trim_start_matches('+').to_lowercase();
            needles.push(plain.replace('@', "%40"));
            needles.push(plain);
        }
        Self { tenant: contact.tenant_id, id: contact.id, addresses, keys, needles }
    }

    /// True when a text names the person.
    pub fn is_in(&self, text: &str) -> bool {
        self.is_in_small(&text.to_lowercase())
    }

    /// The same for a text in small letters.
    pub fn is_in_small(&self, text: &str) -> bool {
        self.needles.iter().any(|needle| text.contains(needle))
    }

    /// The text with `erased` wherever it names the person.
    pub fn taken_out(&self, text: &str) -> String {
        self.needles.iter().fold(text.to_owned(), |text, needle| without(&text, needle))
    }
}

/// A text with `erased` in the place of a needle, in capital letters or small ones. Addresses and ids are ASCII, so that places in the small text are places in the text.
fn without(text: &str, needle: &str) -> String {
    let small = text.to_ascii_lowercase();
    let (mut made, mut from) = (String::with_capacity(text.len()), 0);
    while let Some(found) = small[from..].find(needle) {
        made.push_str(&text[from..from + found]);
        made.push_str("erased");
        from += found + needle.len();
    }
    made.push_str(&text[from..]);
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_needle_is_taken_out_wherever_it_stands() {
        let check = |text: &str, expected: &str| assert_eq!(without(text, "ada@example.com"), expected);
        check("to Ada@Example.com, cc ada@example.com", "to erased, cc erased");
        check("ü ada@example.com ü", "ü erased ü");
        check("nobody", "nobody");
    }
}
