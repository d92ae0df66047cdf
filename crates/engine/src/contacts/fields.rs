//! What a contact's fields may hold: one rule per field, for the API, imports and merging alike.

use std::collections::HashMap;

use model::EmailAddress;
use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat, Region};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{
    contact_attributes::Attribute,
    contacts::{Contact, SLOTS},
};
use utoipa::ToSchema;

use super::{attribute, attributes};
use crate::{Error, names::Faults, patch::Patch};

/// Longest `external_id`, in characters.
const EXTERNAL_ID_MAX: usize = 200;
/// Longest name, in characters.
const NAME_MAX: usize = 200;
/// Longest language tag: RFC 5646 asks for room for 35.
const LANGUAGE_MAX: usize = 35;
/// Longest phone number as people write it, in bytes.
const PHONE_TEXT_MAX: usize = 64;

/// A contact to be made. At least one of `external_id`, `email`, `phone`, `whatsapp` and `telegram_chat_id`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    /// Your own id for this person. Unique.
    #[serde(default)]
    #[schema(example = "customer-42")]
    pub external_id: Option<String>,
    /// E-mail address, kept in lower case. Unique.
    #[serde(default)]
    #[schema(example = "ada@example.com")]
    pub email: Option<String>,
    /// Phone number, kept in E.164. Without a country code it is read as one of the tenant's `default_country`. Unique.
    #[serde(default)]
    #[schema(example = "+15550100002")]
    pub phone: Option<String>,
    /// WhatsApp number, when it is another than `phone`.
    #[serde(default)]
    pub whatsapp: Option<String>,
    /// The chat with your Telegram bot. Unique.
    #[serde(default)]
    pub telegram_chat_id: Option<i64>,
    /// Language by BCP 47, such as `de` or `pt-BR`.
    #[serde(default)]
    #[schema(example = "en-GB")]
    pub language: Option<String>,
    /// Time zone by its IANA name.
    #[serde(default)]
    #[schema(example = "Europe/London")]
    pub timezone: Option<String>,
    /// The whole name. Left out: first and last name.
    #[serde(default)]
    pub name: Option<String>,
    /// First name.
    #[serde(default)]
    #[schema(example = "Ada")]
    pub first_name: Option<String>,
    /// Last name.
    #[serde(default)]
    #[schema(example = "Lovelace")]
    pub last_name: Option<String>,
    /// Values of your own attributes, by name.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub attributes: Map<String, Value>,
}

/// Changes of a contact.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactPatch {
    /// Your own id for this person.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub external_id: Patch<String>,
    /// E-mail address.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub email: Patch<String>,
    /// Phone number.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub phone: Patch<String>,
    /// WhatsApp number; `null` for the phone number.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub whatsapp: Patch<String>,
    /// The chat with your Telegram bot.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    pub telegram_chat_id: Patch<i64>,
    /// Language by BCP 47.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub language: Patch<String>,
    /// Time zone by its IANA name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub timezone: Patch<String>,
    /// The whole name; `null` for first and last name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// First name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub first_name: Patch<String>,
    /// Last name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub last_name: Patch<String>,
    /// Attributes to change: `null` removes one, those left out keep their value. `null` instead of an object removes all.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub attributes: Patch<Map<String, Value>>,
}

impl From<NewContact> for ContactPatch {
    fn from(new: NewContact) -> Self {
        fn set<T>(value: Option<T>) -> Patch<T> {
            value.map_or(Patch::Keep, Patch::Set)
        }
        Self {
            external_id: set(new.external_id),
            email: set(new.email),
            phone: set(new.phone),
            whatsapp: set(new.whatsapp),
            telegram_chat_id: set(new.telegram_chat_id),
            language: set(new.language),
            timezone: set(new.timezone),
            name: set(new.name),
            first_name: set(new.first_name),
            last_name: set(new.last_name),
            attributes: Patch::Set(new.attributes),
        }
    }
}

/// Changes a contact, or says everything that is wrong with the change.
pub fn change(
    contact: &mut Contact,
    patch: ContactPatch,
    schema: &[Attribute],
    country: Option<&str>,
) -> Result<(), Error> {
    let mut faults = Faults::default();
    let mut rules = Rules::new(country);
    set(&mut contact.external_id, patch.external_id, "/external_id", &mut faults, external_id);
    set(&mut contact.email, patch.email, "/email", &mut faults, email);
    set(&mut contact.phone, patch.phone, "/phone", &mut faults, |text| rules.phone(text));
    set(&mut contact.whatsapp, patch.whatsapp, "/whatsapp", &mut faults, |text| rules.phone(text));
    contact.telegram_chat_id = patch.telegram_chat_id.onto(contact.telegram_chat_id);
    set(&mut contact.language, patch.language, "/language", &mut faults, language);
    set(&mut contact.timezone, patch.timezone, "/timezone", &mut faults, |text| rules.timezone(text));
    set(&mut contact.name, patch.name, "/name", &mut faults, name);
    set(&mut contact.first_name, patch.first_name, "/first_name", &mut faults, name);
    set(&mut contact.last_name, patch.last_name, "/last_name", &mut faults, name);
    match patch.attributes {
        Patch::Keep => {}
        Patch::Clear => (contact.numbers, contact.texts) = (Vec::new(), Vec::new()),
        Patch::Set(values) => {
            for (name, value) in values {
                let pointer = format!("/attributes/{}", name.replace('~', "~0").replace('/', "~1"));
                let Some(attribute) = attribute(schema, &name) else {
                    faults.add(
                        pointer,
                        format!("there is no attribute `{name}`; declare it with POST /v1/contact-attributes"),
                    );
                    continue;
                };
                match attributes::read(attribute.kind, &value) {
                    Ok(stored) => attributes::put(contact, attribute, stored),
                    Err(problem) => faults.add(pointer, problem),
                }
            }
        }
    }
    settle(contact);
    if !is_reachable(contact) {
        faults.add("", "a contact needs at least one of external_id, email, phone, whatsapp and telegram_chat_id");
    }
    faults.end()
}

/// The names of the fields in which two contacts differ, as `email` and `attributes.plan`: what the audit log tells of a change. What they hold is the person's.
pub fn differing(before: &Contact, after: &Contact, schema: &[Attribute]) -> Vec<String> {
    let fields = [
        ("external_id", before.external_id != after.external_id),
        ("email", before.email != after.email),
        ("phone", before.phone != after.phone),
        ("whatsapp", before.whatsapp != after.whatsapp),
        ("telegram_chat_id", before.telegram_chat_id != after.telegram_chat_id),
        ("language", before.language != after.language),
        ("timezone", before.timezone != after.timezone),
        ("name", before.name != after.name),
        ("first_name", before.first_name != after.first_name),
        ("last_name", before.last_name != after.last_name),
    ];
    let own = schema.iter().filter(|one| attributes::show(before, one) != attributes::show(after, one));
    let plain = fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned());
    plain.chain(own.map(|one| format!("attributes.{}", one.name))).collect()
}

/// True when a contact can be told from others.
pub fn is_reachable(contact: &Contact) -> bool {
    contact.external_id.is_some()
        || contact.email.is_some()
        || contact.whatsapp_number().is_some()
        || contact.telegram_chat_id.is_some()
}

/// Leaves out what follows from other fields, so that the same contact is always the same row.
pub fn settle(contact: &mut Contact) {
    if contact.whatsapp == contact.phone {
        contact.whatsapp = None;
    }
    if contact.name.is_some() {
        let given = contact.name.take();
        contact.name = given.filter(|given| contact.display_name().as_ref() != Some(given));
    }
    debug_assert!(contact.numbers.len() <= SLOTS && contact.texts.len() <= SLOTS, "attributes have slots");
}

fn set(
    field: &mut Option<String>,
    patch: Patch<String>,
    pointer: &str,
    faults: &mut Faults,
    rule: impl FnOnce(&str) -> Result<String, String>,
) {
    match patch {
        Patch::Keep => {}
        Patch::Clear => *field = None,
        Patch::Set(text) => match rule(&text) {
            Ok(text) => *field = Some(text),
            Err(problem) => faults.add(pointer, problem),
        },
    }
}

/// The tenant's own id.
pub fn external_id(text: &str) -> Result<String, String> {
    line(text, EXTERNAL_ID_MAX)
}

/// A name of a person.
pub fn name(text: &str) -> Result<String, String> {
    line(text, NAME_MAX)
}

fn line(text: &str, max: usize) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("it is empty; leave it out or send null instead".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("no line breaks or control characters".to_owned());
    }
    if text.len() > max && text.chars().count() > max {
        return Err(format!("at most {max} characters"));
    }
    Ok(text.to_owned())
}

/// An e-mail address: the domain in ASCII, all of it in lower case.
pub fn email(text: &str) -> Result<String, String> {
    let address: EmailAddress = text.trim().parse().map_err(|error: model::BadAddress| error.to_string())?;
    Ok(address.as_str().to_lowercase())
}

/// A language tag in its usual spelling: `pt-BR`, `zh-Hant-TW`.
pub fn language(text: &str) -> Result<String, String> {
    let wrong = || "not a language; write a BCP 47 tag such as en, de-AT or pt-BR".to_owned();
    let text = text.trim();
    if text.len() > LANGUAGE_MAX {
        return Err(wrong());
    }
    let mut tag = String::with_capacity(text.len());
    let mut is_private = false;
    for (index, part) in text.split(['-', '_']).enumerate() {
        let letters = part.bytes().all(|b| b.is_ascii_alphabetic());
        let good = match index {
            0 => letters && (2..=3).contains(&part.len()),
            _ => (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()),
        };
        if !good {
            return Err(wrong());
        }
        if index > 0 {
            tag.push('-');
        }
        let lower = part.to_ascii_lowercase();
        tag.push_str(&match part.len() {
            2 if index > 0 && letters && !is_private => part.to_ascii_uppercase(),
            4 if index > 0 && letters && !is_private => {
                let (first, rest) = lower.split_at(1);
                format!("{}{rest}", first.to_ascii_uppercase())
            }
            _ => lower,
        });
        is_private |= part.len() == 1;
    }
    if text.ends_with('-') || tag.rsplit('-').next().is_some_and(|last| last.len() == 1) {
        Err(wrong())
    } else {
        Ok(tag)
    }
}

/// Rules that remember what they have seen: a million rows name a few time zones, and one country.
pub struct Rules {
    country: Option<Region>,
    timezones: HashMap<String, Result<String, String>>,
}

/// Different time zones remembered.
const TIMEZONES_MAX: usize = 1_000;

impl Rules {
    /// Rules for phone numbers of a country, as ISO 3166-1 code.
    pub fn new(country: Option<&str>) -> Self {
        Self { country: country.and_then(|code| code.parse().ok()), timezones: HashMap::new() }
    }

    /// A phone number as people write it, in E.164.
    pub fn phone(&self, text: &str) -> Result<String, String> {
        let text = text.trim();
        let wrong = || "not a phone number; write it with its country code, as in +15550100002".to_owned();
        if text.len() > PHONE_TEXT_MAX {
            return Err(wrong());
        }
        let number = PHONE_NUMBER_UTIL.parse(text, self.country).map_err(|_| match self.country {
            None if !text.starts_with('+') => {
                "a phone number without country code; write it as in +15550100002, or set the tenant's `default_country`"
                    .to_owned()
            }
            _ => wrong(),
        })?;
        if !PHONE_NUMBER_UTIL.is_possible_number(&number) {
            return Err("a phone number of this country has another number of digits".to_owned());
        }
        let e164 = PHONE_NUMBER_UTIL.format(&number, PhoneNumberFormat::E164);
        e164.parse::<model::Phone>().map(|phone| phone.as_str().to_owned()).map_err(|error| error.to_string())
    }

    /// A time zone by its IANA name.
    pub fn timezone(&mut self, text: &str) -> Result<String, String> {
        let text = text.trim();
        if let Some(known) = self.timezones.get(text) {
            return known.clone();
        }
        let mut faults = Faults::default();
        let zone = faults.timezone("", text);
        let answer = faults.0.pop().map_or(Ok(zone), |fault| Err(fault.detail));
        if self.timezones.len() < TIMEZONES_MAX {
            self.timezones.insert(text.to_owned(), answer.clone());
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones_are_read_as_people_write_them() {
        let check = |country: Option<&str>, text: &str, expected: Result<&str, &str>| match expected {
            Ok(number) => assert_eq!(Rules::new(country).phone(text).as_deref(), Ok(number), "{text}"),
            Err(part) => {
                let problem = Rules::new(country).phone(text).unwrap_err();
                assert!(problem.contains(part), "{text}: {problem}");
            }
        };
        check(None, "+15550100002", Ok("+15550100002"));
        check(None, " +49 (0)151 1234 5678 ", Ok("+4915112345678"));
        check(Some("DE"), "0151 12345678", Ok("+4915112345678"));
        check(Some("DE"), "0044 20 7946 0018", Ok("+442079460018"));
        check(Some("US"), "(555) 010-0002", Ok("+15550100002"));
        check(Some("IT"), "06 1234 5678", Ok("+390612345678"));
        check(None, "0151 12345678", Err("default_country"));
        check(Some("DE"), "12", Err(""));
        check(None, "+1555", Err(""));
        check(None, "hello", Err(""));
        check(Some("US"), &"1".repeat(65), Err("not a phone number"));
    }

    #[test]
    fn languages_get_their_usual_spelling() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(language(text).ok().as_deref(), expected, "{text}");
        check("de", Some("de"));
        check("PT-br", Some("pt-BR"));
        check("en_GB", Some("en-GB"));
        check("zh-hant-tw", Some("zh-Hant-TW"));
        check("sl-rozaj-biske", Some("sl-rozaj-biske"));
        check("de-419", Some("de-419"));
        check("en-x-us-pig", Some("en-x-us-pig"));
        for bad in ["", "d", "deutsch-", "english", "de-", "de--AT", "x", "en-x", "de AT", "12", "e1"] {
            check(bad, None);
        }
    }

    #[test]
    fn addresses_in_other_spellings_are_the_same() {
        assert_eq!(email(" Ada@EXAMPLE.com ").as_deref(), Ok("ada@example.com"));
        assert_eq!(email("ada@Bücher.example").as_deref(), Ok("ada@xn--bcher-kva.example"));
        assert!(email("ada").is_err());
    }
}
