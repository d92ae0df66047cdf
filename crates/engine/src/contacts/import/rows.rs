//! From a row to a contact: its cells are read by the rules of their columns, then applied to a new contact or to the one it names.

use std::collections::HashMap;

use model::{ContactId, Ids, TenantId, Timestamp};
use serde_json::Value;
use store::{
    contact_attributes::Attribute,
    contact_imports::{Counts, RowError},
    contacts::{Contact, Key},
};

use super::{
    columns::{self, Columns, Field, Target},
    table::{Cells, Row, unguarded},
};
use crate::contacts::{
    attribute,
    attributes::{self, Stored},
    fields::{self, Rules},
};

/// A row whose cells were read.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The row's number, from 1.
    pub number: u64,
    /// Where the next row begins, in bytes from the beginning of the file.
    pub end: u64,
    values: Vec<(usize, Field, Text)>,
    stored: Vec<(usize, Stored)>,
    /// What is wrong with it: column and reason. Then it makes no contact.
    pub errors: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Text {
    Text(String),
    Chat(i64),
}

/// What is known of the columns while rows are read.
pub struct Reading<'a> {
    columns: &'a Columns,
    /// The attribute of each column that is one.
    attributes: Vec<Option<&'a Attribute>>,
    rules: Rules,
}

impl<'a> Reading<'a> {
    /// Rules for these columns. Attributes must be declared by now.
    pub fn new(columns: &'a Columns, schema: &'a [Attribute], country: Option<&str>) -> Self {
        let attributes = columns.0.iter().map(|(_, target)| match target {
            Target::Attribute(name, _) => attribute(schema, name),
            Target::Nothing | Target::Field(_) => None,
        });
        Self { columns, attributes: attributes.collect(), rules: Rules::new(country) }
    }

    /// Reads a row's cells. An empty cell says nothing.
    pub fn read(&mut self, row: Row, number: u64, base: u64) -> Draft {
        let mut draft =
            Draft { number, end: base + row.end as u64, values: Vec::new(), stored: Vec::new(), errors: Vec::new() };
        match row.cells {
            Cells::Unreadable(reason) => draft.errors.push((String::new(), reason)),
            Cells::Texts(texts) => {
                if texts.len() > self.columns.0.len()
                    && texts[self.columns.0.len()..].iter().any(|text| !text.is_empty())
                {
                    let reason = format!("the row has {} cells, the header {}", texts.len(), self.columns.0.len());
                    draft.errors.push((String::new(), reason));
                }
                for (index, text) in texts.iter().enumerate().take(self.columns.0.len()) {
                    let text = unguarded(text.trim());
                    if !text.is_empty() {
                        self.cell(&mut draft, index, Given::Cell(&text));
                    }
                }
            }
            Cells::Fields(object) => {
                for index in 0..self.columns.0.len() {
                    match columns::of_object(&object, &self.columns.0[index].0) {
                        None | Some(Value::Null) => {}
                        Some(value) => self.cell(&mut draft, index, Given::Json(value)),
                    }
                }
                for name in object.keys().filter(|name| *name != "attributes" && !self.knows(name)) {
                    draft.errors.push((
                        name.clone(),
                        "the first rows have no such field, so it is not known what it is".to_owned(),
                    ));
                }
                let inner =
                    object.get("attributes").and_then(Value::as_object).into_iter().flat_map(|inner| inner.keys());
                for name in inner.map(|name| format!("attributes.{name}")).filter(|name| !self.knows(name)) {
                    draft.errors.push((
                        name,
                        "the first rows have no such attribute; declare it with POST /v1/contact-attributes".to_owned(),
                    ));
                }
            }
        }
        draft
    }

    fn knows(&self, name: &str) -> bool {
        self.columns.0.iter().any(|(known, _)| known == name)
    }

    fn cell(&mut self, draft: &mut Draft, index: usize, given: Given<'_>) {
        let read = match &self.columns.0[index].1 {
            Target::Nothing => Ok(()),
            Target::Field(field) => {
                let field = *field;
                self.field(field, &given).map(|value| draft.values.push((index, field, value)))
            }
            Target::Attribute(name, _) => match (self.attributes[index], given) {
                (None, _) => Err(format!("there is no attribute `{name}` any more")),
                (Some(known), Given::Cell(text)) => {
                    attributes::read_text(known.kind, text).map(|stored| draft.stored.push((index, stored)))
                }
                (Some(known), Given::Json(value)) => {
                    attributes::read(known.kind, value).map(|stored| draft.stored.push((index, stored)))
                }
            },
        };
        if let Err(reason) = read {
            draft.errors.push((self.columns.0[index].0.clone(), reason));
        }
    }

    fn field(&mut self, field: Field, given: &Given<'_>) -> Result<Text, String> {
        if field == Field::TelegramChatId {
            let number = match given {
                Given::Cell(text) => text.parse().ok(),
                Given::Json(value) => value.as_i64(),
            };
            return number.map(Text::Chat).ok_or_else(|| "a Telegram chat id is a whole number".to_owned());
        }
        let number;
        let text = match given {
            Given::Cell(text) => *text,
            Given::Json(Value::String(text)) => text.as_str(),
            Given::Json(Value::Number(value)) if field == Field::ExternalId => {
                number = value.to_string();
                number.as_str()
            }
            Given::Json(_) => return Err("expected a text".to_owned()),
        };
        match field {
            Field::ExternalId => fields::external_id(text),
            Field::Email => fields::email(text),
            Field::Phone | Field::Whatsapp => self.rules.phone(text),
            Field::Language => fields::language(text),
            Field::Timezone => self.rules.timezone(text),
            Field::Name | Field::FirstName | Field::LastName | Field::TelegramChatId => fields::name(text),
        }
        .map(Text::Text)
    }

    /// Puts a row's values into a contact.
    pub fn apply(&self, draft: &Draft, contact: &mut Contact) {
        for (_, field, value) in &draft.values {
            let text = match value {
                Text::Chat(chat) => {
                    contact.telegram_chat_id = Some(*chat);
                    continue;
                }
                Text::Text(text) => Some(text.clone()),
            };
            match field {
                Field::ExternalId => contact.external_id = text,
                Field::Email => contact.email = text,
                Field::Phone => contact.phone = text,
                Field::Whatsapp => contact.whatsapp = text,
                Field::Language => contact.language = text,
                Field::Timezone => contact.timezone = text,
                Field::Name => contact.name = text,
                Field::FirstName => contact.first_name = text,
                Field::LastName => contact.last_name = text,
                Field::TelegramChatId => {}
            }
        }
        for (index, stored) in &draft.stored {
            if let Some(attribute) = self.attributes[*index] {
                attributes::put(contact, attribute, stored.clone());
            }
        }
        fields::settle(contact);
    }
}

enum Given<'a> {
    Cell(&'a str),
    Json(&'a Value),
}

impl Draft {
    /// What the row names a contact by.
    pub fn keys(&self) -> impl Iterator<Item = (Key, String)> + '_ {
        self.values.iter().filter_map(|(_, field, value)| match (field, value) {
            (Field::ExternalId, Text::Text(text)) => Some((Key::ExternalId, text.clone())),
            (Field::Email, Text::Text(text)) => Some((Key::Email, text.clone())),
            (Field::Phone, Text::Text(text)) => Some((Key::Phone, text.clone())),
            (_, Text::Chat(chat)) => Some((Key::Telegram, chat.to_string())),
            _ => None,
        })
    }
}

/// What to do with a row whose contact is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDuplicate {
    /// Its cells go into the contact; empty ones leave what is there.
    #[default]
    Update,
    /// The contact is left as it is.
    Skip,
}

/// What a batch of rows comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// New contacts.
    pub new: Vec<Contact>,
    /// Contacts that were there and change.
    pub changed: Vec<Contact>,
    /// Contacts the rows are about, for the list.
    pub members: Vec<ContactId>,
    /// What is wrong.
    pub errors: Vec<RowError>,
    /// How many rows came to what.
    pub counts: Counts,
}

/// Contacts by what they are recognised by, while a batch is worked on.
struct Pool {
    slots: Vec<Slot>,
    by_key: HashMap<(Key, String), usize>,
}

struct Slot {
    contact: Contact,
    is_new: bool,
    is_touched: bool,
}

fn keys_of(contact: &Contact) -> impl Iterator<Item = (Key, String)> + '_ {
    let text = |key: Key, text: &Option<String>| text.clone().map(|text| (key, text));
    [
        text(Key::ExternalId, &contact.external_id),
        text(Key::Email, &contact.email),
        text(Key::Phone, &contact.phone),
        contact.telegram_chat_id.map(|chat| (Key::Telegram, chat.to_string())),
    ]
    .into_iter()
    .flatten()
}

impl Pool {
    fn add(&mut self, contact: Contact, is_new: bool) -> usize {
        let index = self.slots.len();
        self.by_key.extend(keys_of(&contact).map(|key| (key, index)));
        self.slots.push(Slot { contact, is_new, is_touched: false });
        index
    }

    fn change(&mut self, index: usize, after: Contact) {
        for key in keys_of(&self.slots[index].contact) {
            self.by_key.remove(&key);
        }
        self.by_key.extend(keys_of(&after).map(|key| (key, index)));
        self.slots[index].contact = after;
    }
}

/// Works out what a batch of rows does. `known` are the contacts the rows name that are there; `mark` is the instant that says a contact was touched by this
/// import.
pub fn work_out(
    reading: &Reading<'_>,
    drafts: &[Draft],
    known: Vec<Contact>,
    on_duplicate: OnDuplicate,
    tenant: TenantId,
    mark: Timestamp,
    ids: &Ids,
) -> Outcome {
    let mut pool = Pool { slots: Vec::new(), by_key: HashMap::new() };
    for contact in known {
        let is_touched = contact.updated_at == mark;
        let index = pool.add(contact, false);
        pool.slots[index].is_touched = is_touched;
    }
    let mut changed = vec![false; pool.slots.len()];
    let mut outcome = Outcome::default();
    for draft in drafts {
        outcome.counts.rows_read += 1;
        match one(reading, draft, &mut pool, on_duplicate, tenant, mark, ids, &mut outcome.counts) {
            Ok((index, is_written)) => {
                changed.resize(pool.slots.len(), false);
                changed[index] |= is_written;
                outcome.members.push(pool.slots[index].contact.id);
            }
            Err(errors) => {
                outcome.counts.failed += 1;
                outcome.errors.extend(errors.into_iter().enumerate().map(|(place, (column, reason))| RowError {
                    row_number: draft.number,
                    place: place as u64,
                    column,
                    reason,
                }));
            }
        }
    }
    changed.resize(pool.slots.len(), false);
    for (slot, is_changed) in pool.slots.into_iter().zip(changed) {
        match (slot.is_new, is_changed) {
            (true, _) => outcome.new.push(slot.contact),
            (false, true) => outcome.changed.push(slot.contact),
            (false, false) => {}
        }
    }
    outcome
}

/// The contact a row is about, and whether it is to be written.
#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would repeat them")]
fn one(
    reading: &Reading<'_>,
    draft: &Draft,
    pool: &mut Pool,
    on_duplicate: OnDuplicate,
    tenant: TenantId,
    mark: Timestamp,
    ids: &Ids,
    counts: &mut Counts,
) -> Result<(usize, bool), Vec<(String, String)>> {
    if !draft.errors.is_empty() {
        return Err(draft.errors.clone());
    }
    let mut found: Vec<usize> = draft.keys().filter_map(|key| pool.by_key.get(&key).copied()).collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [] => {
            let mut contact = Contact::new(tenant, ContactId::from_ulid(ids.ulid(mark)), mark);
            reading.apply(draft, &mut contact);
            if !fields::is_reachable(&contact) {
                let reason = "neither external_id nor email, phone, whatsapp or telegram_chat_id";
                return Err(vec![(String::new(), reason.to_owned())]);
            }
            let index = pool.add(contact, true);
            pool.slots[index].is_touched = true;
            counts.created += 1;
            Ok((index, true))
        }
        [index] => {
            let index = *index;
            let was_touched = std::mem::replace(&mut pool.slots[index].is_touched, true);
            let is_written = on_duplicate == OnDuplicate::Update;
            if was_touched {
                counts.duplicates += 1;
            } else if is_written {
                counts.updated += 1;
            } else {
                counts.skipped += 1;
            }
            if is_written {
                let mut after = pool.slots[index].contact.clone();
                reading.apply(draft, &mut after);
                after.updated_at = mark;
                pool.change(index, after);
            }
            Ok((index, is_written))
        }
        several => {
            let named: Vec<String> = several.iter().map(|index| pool.slots[*index].contact.id.to_string()).collect();
            Err(vec![(
                String::new(),
                format!("it names different contacts: {}; merge them first", named.join(" and ")),
            )])
        }
    }
}
