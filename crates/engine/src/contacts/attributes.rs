//! A tenant's own fields of contacts: declared once with what they hold, then filled per contact.

use model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use store::{
    Scope,
    contact_attributes::{self, Attribute, AttributeKind},
    contacts::{Contact, SLOTS, join_list, split_list},
};
use utoipa::ToSchema;

use super::{Work, full, reader, writer};
use crate::{
    Engine, Error,
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::Page,
};

/// Longest text of an attribute, in characters.
const TEXT_MAX: usize = 1_000;
/// Items of a list.
const ITEMS_MAX: usize = 50;
/// Longest item, in characters.
const ITEM_MAX: usize = 100;
/// Largest number, either way: what fits a column in millionths.
const NUMBER_MAX: f64 = 9e12;
/// Largest number with decimals, either way: beyond it, JSON numbers lose the sixth decimal.
const FRACTION_MAX: f64 = 9e9;
const MICROS: i64 = 1_000_000;

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AttributeType {
    /// A text of up to 1,000 characters.
    Text,
    /// A number with up to six decimals.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A day such as `2026-11-21`, or an instant in RFC 3339.
    Date,
    /// Up to 50 texts.
    List,
}

impl AttributeType {
    /// As the store knows it.
    pub const fn kind(self) -> AttributeKind {
        match self {
            Self::Text => AttributeKind::Text,
            Self::Number => AttributeKind::Number,
            Self::Boolean => AttributeKind::Boolean,
            Self::Date => AttributeKind::Date,
            Self::List => AttributeKind::List,
        }
    }

    /// From what the store knows.
    pub const fn of(kind: AttributeKind) -> Self {
        match kind {
            AttributeKind::Text => Self::Text,
            AttributeKind::Number => Self::Number,
            AttributeKind::Boolean => Self::Boolean,
            AttributeKind::Date => Self::Date,
            AttributeKind::List => Self::List,
        }
    }
}

/// An attribute to be declared.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAttribute {
    /// 1 to 64 characters of a–z, 0–9 and _, beginning with a letter.
    #[schema(example = "plan")]
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: AttributeType,
}

/// A declared attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AttributeView {
    /// Its name.
    #[schema(example = "plan")]
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub kind: AttributeType,
    /// When it was declared.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

fn view(attribute: &Attribute) -> AttributeView {
    AttributeView {
        name: attribute.name.clone(),
        kind: AttributeType::of(attribute.kind),
        created_at: attribute.created_at,
    }
}

/// Says what is wrong with an attribute's name.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    let is_good =
        (1..=64).contains(&name.len()) && name.as_bytes()[0].is_ascii_lowercase() && name.bytes().all(is_word);
    if is_good { Ok(()) } else { Err("1 to 64 characters of a-z, 0-9 and _, beginning with a letter") }
}

/// Declares an attribute. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewAttribute) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let mut faults = Faults::default();
    if let Err(problem) = check_name(&new.name) {
        faults.add("/name", problem);
    }
    faults.end()?;
    let work = Work::new(engine, &tenant, caller, now);
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let (tenant, kind) = (work.tenant.id, new.kind.kind());
            if let Some(added) = contact_attributes::add(tx, tenant, &new.name, kind, now).await? {
                work.record(tx, "contact_attribute.created", &new.name, &json!({"type": new.kind})).await?;
                return Ok(view(&added));
            }
            if contact_attributes::all(tx, tenant).await?.iter().any(|known| known.name == new.name) {
                let detail = format!("There is an attribute `{}` already. Use it, or choose another name.", new.name);
                return Err(Error::conflict("attribute_exists", detail));
            }
            Err(full("too_many_attributes", too_many(kind)))
        })
    })
    .await
}

/// Why there is no room for one more.
pub fn too_many(kind: AttributeKind) -> String {
    let kinds = if kind.is_text() { "texts and lists" } else { "numbers, dates and flags" };
    format!("There are {SLOTS} attributes for {kinds} already, which is the most. Remove those nobody uses.")
}

/// Lists the tenant's attributes by name, all on one page. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller) -> Result<Page<AttributeView>, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move { Ok::<_, Error>(contact_attributes::all(tx, tenant).await?) })
    });
    Ok(Page { data: read.await?.iter().map(view).collect(), next_cursor: None })
}

/// Contacts whose value goes in one transaction: some milliseconds.
const EMPTY_STEP: i64 = 2_000;
/// Steps made before a removal is answered, and in one turn of the job for one attribute.
const EMPTY_AT_ONCE: u32 = 10;
/// Attributes one turn of the job looks at.
const EMPTIED: i64 = 20;
/// How long PostgreSQL waits before it begins, in seconds: transactions that saw the attribute may still write values of it. SQLite has one writer, and none is under way.
const SETTLED_S: i64 = 60;

/// Removes an attribute with all its values; those of many contacts go in the background, and nobody sees them meanwhile. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, name: String) -> Result<(), Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            let schema = contact_attributes::all(tx, work.tenant.id).await?;
            if !contact_attributes::remove(tx, work.tenant.id, &name, now).await? {
                return Err(Error::not_found("attribute"));
            }
            let kind = super::attribute(&schema, &name).map(|known| AttributeType::of(known.kind));
            work.record(tx, "contact_attribute.deleted", &name, &json!({"type": kind})).await
        })
    });
    write.await?;
    empty(engine, Some(tenant.id)).await.map(drop)
}

/// Goes on with emptying the columns of removed attributes, of one tenant or of all. Answers how many steps were made.
#[crate::boxed]
pub async fn empty(engine: &Engine, of: Option<TenantId>) -> Result<u64, Error> {
    let read = engine.ports.db.read(of.map_or(Scope::System, Scope::Tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(contact_attributes::removed(tx, of, EMPTIED).await?) })
    });
    let wait_s = match engine.ports.db.dialect() {
        store::Dialect::Sqlite => 0,
        store::Dialect::Postgres => SETTLED_S,
    };
    let settled = engine.ports.clock.now().plus_seconds(-wait_s);
    let mut steps = 0;
    for removed in read.await?.into_iter().filter(|removed| removed.removed_at <= settled) {
        for _ in 0..EMPTY_AT_ONCE {
            let one = removed.clone();
            let write = engine.ports.db.write(Scope::Tenant(removed.tenant_id), move |tx| {
                Box::pin(async move { Ok::<_, Error>(contact_attributes::empty_some(tx, &one, EMPTY_STEP).await?) })
            });
            steps += 1;
            if write.await?.is_none() {
                break;
            }
        }
    }
    Ok(steps)
}

/// A value as a column holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// Nothing.
    Nothing,
    /// In a column for texts.
    Text(String),
    /// In a column for numbers.
    Number(i64),
}

/// Puts a value into a contact.
pub fn put(contact: &mut Contact, attribute: &Attribute, value: Stored) {
    fn place<T>(slots: &mut Vec<Option<T>>, slot: usize, value: Option<T>) {
        if slots.len() <= slot && value.is_some() {
            slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = slots.get_mut(slot) {
            *place = value;
        }
        while slots.last().is_some_and(Option::is_none) {
            slots.pop();
        }
    }
    match value {
        Stored::Text(text) => place(&mut contact.texts, attribute.slot, Some(text)),
        Stored::Number(number) => place(&mut contact.numbers, attribute.slot, Some(number)),
        Stored::Nothing if attribute.kind.is_text() => place(&mut contact.texts, attribute.slot, None),
        Stored::Nothing => place(&mut contact.numbers, attribute.slot, None),
    }
}

/// Reads a value from JSON. The error says what was expected.
pub fn read(kind: AttributeKind, value: &Value) -> Result<Stored, String> {
    match (kind, value) {
        (_, Value::Null) => Ok(Stored::Nothing),
        (AttributeKind::Text, Value::String(text)) if text.trim().is_empty() => Ok(Stored::Nothing),
        (AttributeKind::Text, Value::String(text)) => this_text(text.trim(), TEXT_MAX).map(Stored::Text),
        (AttributeKind::List, Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned));
            let texts: Option<Vec<String>> = texts.collect();
            list_of(texts.ok_or("expected an array of texts")?)
        }
        (AttributeKind::Number, Value::Number(number)) => decimal(&number.to_string()),
        (AttributeKind::Boolean, Value::Bool(flag)) => Ok(Stored::Number(i64::from(*flag))),
        (AttributeKind::Date, Value::String(text)) => date(text).map(Stored::Number),
        (kind, _) => Err(expected(kind).to_owned()),
    }
}

/// Reads a value from a cell of a table. Lists are separated by semicolons or vertical bars.
pub fn read_text(kind: AttributeKind, text: &str) -> Result<Stored, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(Stored::Nothing);
    }
    match kind {
        AttributeKind::Text => this_text(text, TEXT_MAX).map(Stored::Text),
        AttributeKind::List => {
            let separator = if text.contains('|') { '|' } else { ';' };
            list_of(text.split(separator).map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect())
        }
        AttributeKind::Number => decimal(text),
        AttributeKind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Ok(Stored::Number(1)),
            "false" | "no" | "0" => Ok(Stored::Number(0)),
            _ => Err("expected true or false".to_owned()),
        },
        AttributeKind::Date => date(text).map(Stored::Number),
    }
}

const fn expected(kind: AttributeKind) -> &'static str {
    match kind {
        AttributeKind::Text => "expected a text",
        AttributeKind::List => "expected an array of texts",
        AttributeKind::Number => "expected a number",
        AttributeKind::Boolean => "expected true or false",
        AttributeKind::Date => "expected a day such as \"2026-11-21\", or an instant such as \"2026-11-21T09:30:00Z\"",
    }
}

fn this_text(text: &str, max: usize) -> Result<String, String> {
    if text.chars().any(char::is_control) {
        return Err("no line breaks or control characters".to_owned());
    }
    if text.len() > max && text.chars().count() > max {
        return Err(format!("at most {max} characters"));
    }
    Ok(text.to_owned())
}

fn list_of(items: Vec<String>) -> Result<Stored, String> {
    if items.len() > ITEMS_MAX {
        return Err(format!("at most {ITEMS_MAX} texts"));
    }
    for item in &items {
        this_text(item, ITEM_MAX)?;
        if item.is_empty() || item.contains(['|', ';']) || item.trim() != item {
            return Err("a text of a list is not empty and holds no `|`, no `;` and no spaces around it".to_owned());
        }
    }
    Ok(if items.is_empty() { Stored::Nothing } else { Stored::Text(join_list(&items)) })
}

/// A decimal number in millionths.
fn decimal(text: &str) -> Result<Stored, String> {
    let wrong = || "expected a number with a point before its decimals, such as 1250.5".to_owned();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E')) {
        return Err(wrong());
    }
    let whole = text.parse::<i64>().ok().and_then(|whole| whole.checked_mul(MICROS));
    if let Some(micros) = whole.filter(|micros| micros.unsigned_abs() <= NUMBER_MAX as u64 * MICROS as u64) {
        return Ok(Stored::Number(micros));
    }
    let number: f64 = text.parse().map_err(|_| wrong())?;
    if !number.is_finite() || number.abs() > NUMBER_MAX || (number.fract() != 0.0 && number.abs() > FRACTION_MAX) {
        return Err("a number lies within ±9,000,000,000,000, or ±9,000,000,000 with decimals".to_owned());
    }
    let micros = (number * MICROS as f64).round();
    if (micros / MICROS as f64 - number).abs() > number.abs() * f64::EPSILON {
        return Err("a number has at most six decimals".to_owned());
    }
    Ok(Stored::Number(micros as i64))
}

/// A day or an instant, in microseconds.
fn date(text: &str) -> Result<i64, String> {
    let wrong = || expected(AttributeKind::Date).to_owned();
    let instant = match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() == 10 => day.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?.timestamp(),
        _ => text.parse::<jiff::Timestamp>().map_err(|_| wrong())?,
    };
    Ok(instant.as_microsecond())
}

/// A stored value as JSON.
pub fn show(contact: &Contact, attribute: &Attribute) -> Option<Value> {
    if attribute.kind.is_text() {
        let text = contact.texts.get(attribute.slot)?.as_ref()?;
        return Some(match attribute.kind {
            AttributeKind::List => split_list(text).into(),
            _ => text.clone().into(),
        });
    }
    let number = (*contact.numbers.get(attribute.slot)?)?;
    Some(match attribute.kind {
        AttributeKind::Boolean => (number != 0).into(),
        AttributeKind::Date => show_date(number).into(),
        _ if number % MICROS == 0 => (number / MICROS).into(),
        _ => Number::from_f64(number as f64 / MICROS as f64).map_or(Value::Null, Value::Number),
    })
}

/// A day when it begins one in UTC, otherwise an instant.
fn show_date(micros: i64) -> String {
    let at = Timestamp::from_micros(micros);
    let text = at.to_string();
    match text.strip_suffix("T00:00:00.000000Z") {
        Some(day) => day.to_owned(),
        None => text,
    }
}

/// All values of a contact, by name.
pub fn shown(contact: &Contact, schema: &[Attribute]) -> Map<String, Value> {
    schema.iter().filter_map(|attribute| Some((attribute.name.clone(), show(contact, attribute)?))).collect()
}

#[cfg(test)]
mod tests {
    use model::{ContactId, TenantId};

    use super::*;

    fn round(kind: AttributeKind, value: Value) -> Result<Value, String> {
        let attribute = Attribute { name: "a".to_owned(), kind, slot: 3, created_at: Timestamp::EPOCH };
        let mut contact = Contact::new(TenantId::from_ulid(1), ContactId::from_ulid(2), Timestamp::EPOCH);
        put(&mut contact, &attribute, read(kind, &value)?);
        Ok(show(&contact, &attribute).unwrap_or(Value::Null))
    }

    #[test]
    fn values_come_back_as_they_were_given() {
        for (kind, value) in [
            (AttributeKind::Text, json!("Größe L")),
            (AttributeKind::Text, json!(null)),
            (AttributeKind::List, json!(["a", "b c"])),
            (AttributeKind::Number, json!(12.5)),
            (AttributeKind::Number, json!(-0.000001)),
            (AttributeKind::Number, json!(8_999_999_999_999_i64)),
            (AttributeKind::Boolean, json!(false)),
            (AttributeKind::Date, json!("2026-11-21")),
            (AttributeKind::Date, json!("1969-07-20")),
            (AttributeKind::Date, json!("2026-11-21T09:30:00.000001Z")),
        ] {
            assert_eq!(round(kind, value.clone()), Ok(value));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (kind, value, part) in [
            (AttributeKind::Text, json!(5), "a text"),
            (AttributeKind::Text, json!("a\nb"), "line breaks"),
            (AttributeKind::Text, json!("x".repeat(1_001)), "1000"),
            (AttributeKind::List, json!("a"), "array"),
            (AttributeKind::List, json!(["a;b"]), "holds no"),
            (AttributeKind::List, json!([1]), "array of texts"),
            (AttributeKind::Number, json!("5"), "a number"),
            (AttributeKind::Number, json!(1e13), "within"),
            (AttributeKind::Number, json!(0.000_000_1), "six decimals"),
            (AttributeKind::Boolean, json!(1), "true or false"),
            (AttributeKind::Date, json!("21.11.2026"), "a day"),
            (AttributeKind::Date, json!("2026-11-21T09:30:00"), "a day"),
            (AttributeKind::Date, json!(5), "a day"),
        ] {
            let problem = round(kind, value.clone()).unwrap_err();
            assert!(problem.contains(part), "{value}: {problem}");
        }
    }
}
