//! What each column of a file is: a field, an attribute, or nothing. Decided once, from the header, the first rows and what the request says, and kept with the import.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::contact_attributes::{Attribute, AttributeKind};
use utoipa::ToSchema;

use super::table::{Cells, Row};
use crate::{
    FieldError,
    contacts::attributes::{self, AttributeType, check_name},
};

/// Columns of a file at most: every field and every attribute, and as many that are left out.
pub const COLUMNS_MAX: usize = 200;

/// A field of a contact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "they are the fields of a contact")]
pub enum Field {
    ExternalId,
    Email,
    Phone,
    Whatsapp,
    TelegramChatId,
    Language,
    Timezone,
    Name,
    FirstName,
    LastName,
}

impl Field {
    /// All of them, with their names.
    pub const ALL: [(Self, &'static str); 10] = [
        (Self::ExternalId, "external_id"),
        (Self::Name, "name"),
        (Self::FirstName, "first_name"),
        (Self::LastName, "last_name"),
        (Self::Email, "email"),
        (Self::Phone, "phone"),
        (Self::Whatsapp, "whatsapp"),
        (Self::TelegramChatId, "telegram_chat_id"),
        (Self::Language, "language"),
        (Self::Timezone, "timezone"),
    ];

    /// What a header calls this field, in letters and digits only.
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::ExternalId => {
                &["externalid", "customerid", "customernumber", "clientid", "contactid", "kundennummer"]
            }
            Self::Email => &["email", "mail", "emailaddress", "mailaddress", "emailadresse"],
            Self::Phone => &[
                "phone",
                "phonenumber",
                "mobile",
                "mobilephone",
                "mobilenumber",
                "cell",
                "cellphone",
                "tel",
                "telephone",
                "telefon",
                "handy",
            ],
            Self::Whatsapp => &["whatsapp", "whatsappnumber", "whatsappphone"],
            Self::TelegramChatId => &["telegramchatid", "telegram", "telegramid"],
            Self::Language => &["language", "lang", "locale", "sprache"],
            Self::Timezone => &["timezone", "tz", "zeitzone"],
            Self::Name => &["name", "fullname"],
            Self::FirstName => &["firstname", "givenname", "forename", "vorname"],
            Self::LastName => &["lastname", "surname", "familyname", "nachname"],
        }
    }
}

/// Our own columns of an export that say nothing an import could keep.
const OWN: [&str; 3] = ["id", "created_at", "updated_at"];

/// What a column is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Left out.
    Nothing,
    /// A field.
    Field(Field),
    /// An attribute of this name and type.
    Attribute(String, AttributeType),
}

/// The columns of a file, by position for a table and by name for objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns(pub Vec<(String, Target)>);

/// What to do with a column, as a request says it: `email`, `attributes.plan`, or `null` to leave it out.
pub type Wishes = BTreeMap<String, Option<String>>;

/// Reads the request's wishes from `?mapping=`.
pub fn wishes(text: &str) -> Result<Wishes, String> {
    let wishes: Wishes = serde_json::from_str(text).map_err(|error| {
        format!("expected a JSON object of column names and fields, such as {{\"E-Mail\": \"email\"}}: {error}")
    })?;
    for (column, wish) in &wishes {
        let Some(wish) = wish else { continue };
        let is_field = Field::ALL.iter().any(|(_, name)| name == wish);
        let attribute = wish.strip_prefix("attributes.");
        if !is_field && attribute.is_none() {
            return Err(format!(
                "{column}: `{wish}` is no field; there are external_id, email and so on, attributes.NAME, and null to leave the column out"
            ));
        }
        if let Some(Err(problem)) = attribute.map(check_name) {
            return Err(format!("{column}: a name of an attribute is {problem}"));
        }
    }
    Ok(wishes)
}

/// Decides what the columns are. `sample` are the first rows.
pub fn decide(
    names: &[String],
    sample: &[Row],
    wishes: &Wishes,
    schema: &[Attribute],
) -> Result<Columns, Vec<FieldError>> {
    let mut bad = Vec::new();
    if names.len() > COLUMNS_MAX {
        bad.push(FieldError::new("", format!("the file has more than {COLUMNS_MAX} columns")));
        return Err(bad);
    }
    for name in wishes.keys().filter(|name| !names.iter().any(|known| same(known, name))) {
        bad.push(FieldError::new("?mapping", format!("the file has no column `{name}`; it has {}", names.join(", "))));
    }
    let mut columns = Vec::with_capacity(names.len());
    let mut used: HashMap<String, &str> = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        let wish = wishes.iter().find(|(wished, _)| same(wished, name)).map(|(_, wish)| wish);
        let target = match wish {
            Some(None) => Target::Nothing,
            Some(Some(wish)) => match Field::ALL.iter().find(|(_, field)| field == wish) {
                Some((field, _)) => Target::Field(*field),
                None => {
                    attribute(wish.strip_prefix("attributes.").unwrap_or(wish), schema, || infer(index, name, sample))
                }
            },
            None => guess(name, schema, || infer(index, name, sample)),
        };
        let key = match &target {
            Target::Nothing => None,
            Target::Field(field) => {
                Field::ALL.iter().find(|(known, _)| known == field).map(|(_, name)| (*name).to_owned())
            }
            Target::Attribute(name, _) => Some(format!("attributes.{name}")),
        };
        if let Some(other) = key.and_then(|key| used.insert(key, name)) {
            let detail =
                format!("the columns `{other}` and `{name}` are the same field; leave one out with null in `mapping`");
            bad.push(FieldError::new("?mapping", detail));
        }
        columns.push((name.clone(), target));
    }
    if bad.is_empty() { Ok(Columns(columns)) } else { Err(bad) }
}

fn same(a: &str, b: &str) -> bool {
    a.trim() == b.trim()
}

fn guess(name: &str, schema: &[Attribute], infer: impl FnOnce() -> AttributeType) -> Target {
    let plain = name.trim();
    if plain.is_empty() || OWN.contains(&plain) {
        return Target::Nothing;
    }
    let folded: String = plain.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if let Some((field, _)) = Field::ALL.iter().find(|(field, _)| field.names().contains(&folded.as_str())) {
        return Target::Field(*field);
    }
    match slug(plain.strip_prefix("attributes.").unwrap_or(plain)) {
        Some(slug) => attribute(&slug, schema, infer),
        None => Target::Nothing,
    }
}

fn attribute(name: &str, schema: &[Attribute], infer: impl FnOnce() -> AttributeType) -> Target {
    let known = super::super::attribute(schema, name).map(|attribute| AttributeType::of(attribute.kind));
    Target::Attribute(name.to_owned(), known.unwrap_or_else(infer))
}

/// A column's name as one of an attribute: `Größe (cm)` is `groesse_cm`.
fn slug(name: &str) -> Option<String> {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'ä' => slug.push_str("ae"),
            'ö' => slug.push_str("oe"),
            'ü' => slug.push_str("ue"),
            'ß' => slug.push_str("ss"),
            _ if slug.ends_with('_') => {}
            _ => slug.push('_'),
        }
    }
    let slug = slug.trim_matches('_');
    let slug = if slug.starts_with(|c: char| c.is_ascii_digit()) { format!("n{slug}") } else { slug.to_owned() };
    let slug: String = slug.chars().take(64).collect();
    check_name(&slug).is_ok().then_some(slug)
}

/// The narrowest type that every value of the sample has.
fn infer(index: usize, name: &str, sample: &[Row]) -> AttributeType {
    let values: Vec<Value> = sample
        .iter()
        .filter_map(|row| match &row.cells {
            Cells::Texts(texts) => texts.get(index).map(|text| Value::String(text.trim().to_owned())),
            Cells::Fields(fields) => of_object(fields, name).cloned(),
            Cells::Unreadable(_) => None,
        })
        .filter(|value| !value.is_null() && value.as_str() != Some(""))
        .collect();
    let is_table = sample.iter().any(|row| matches!(row.cells, Cells::Texts(_)));
    let fits = |kind: AttributeKind| {
        !values.is_empty()
            && values.iter().all(|value| match value.as_str() {
                Some(text) if is_table => !is_code(kind, text) && attributes::read_text(kind, text).is_ok(),
                _ => attributes::read(kind, value).is_ok(),
            })
    };
    let is_list =
        |value: &Value| value.is_array() || (is_table && value.as_str().is_some_and(|text| text.contains('|')));
    if fits(AttributeKind::Boolean) {
        AttributeType::Boolean
    } else if fits(AttributeKind::Number) {
        AttributeType::Number
    } else if fits(AttributeKind::Date) {
        AttributeType::Date
    } else if values.iter().any(is_list) && fits(AttributeKind::List) {
        AttributeType::List
    } else {
        AttributeType::Text
    }
}

/// True for what looks like a value of this kind and is more likely a text: `0123`, `+49`, `1`.
fn is_code(kind: AttributeKind, text: &str) -> bool {
    match kind {
        AttributeKind::Number => {
            let digits = text.trim_start_matches('-');
            text.starts_with('+') || (digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0."))
        }
        AttributeKind::Boolean => matches!(text, "0" | "1"),
        AttributeKind::Text | AttributeKind::List | AttributeKind::Date => false,
    }
}

/// A field of an object by a column's name: `attributes.plan` lies deeper.
pub fn of_object<'a>(fields: &'a serde_json::Map<String, Value>, name: &str) -> Option<&'a Value> {
    match name.strip_prefix("attributes.") {
        Some(name) => fields.get("attributes")?.get(name),
        None => fields.get(name),
    }
}

/// The columns of objects: every field that one of the first has, attributes one level deeper.
pub fn of_objects(sample: &[Row]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        if names.len() <= COLUMNS_MAX && !names.contains(&name) {
            names.push(name);
        }
    };
    for row in sample {
        let Cells::Fields(fields) = &row.cells else { continue };
        for (name, value) in fields {
            match value {
                Value::Object(inner) if name == "attributes" => {
                    inner.keys().for_each(|name| add(format!("attributes.{name}")));
                }
                _ => add(name.clone()),
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use model::Timestamp;

    use super::*;

    fn table(rows: &[&[&str]]) -> Vec<Row> {
        let cells = |row: &&[&str]| Cells::Texts(row.iter().map(|cell| (*cell).to_owned()).collect());
        rows.iter().map(|row| Row { end: 0, cells: cells(row) }).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn headers_are_understood() {
        let check = |header: &str, expected: Target| {
            let columns = decide(&names(&[header]), &[], &Wishes::new(), &[]).unwrap();
            assert_eq!(columns.0[0].1, expected, "{header}");
        };
        check("E-Mail", Target::Field(Field::Email));
        check(" First Name ", Target::Field(Field::FirstName));
        check("external_id", Target::Field(Field::ExternalId));
        check("Handy", Target::Field(Field::Phone));
        check("id", Target::Nothing);
        check("", Target::Nothing);
        check("???", Target::Nothing);
        check("Größe (cm)", Target::Attribute("groesse_cm".into(), AttributeType::Text));
        check("attributes.plan", Target::Attribute("plan".into(), AttributeType::Text));
        check("2025 orders", Target::Attribute("n2025_orders".into(), AttributeType::Text));
    }

    #[test]
    fn types_are_the_narrowest_that_fit() {
        let check = |values: &[&str], expected: AttributeType| {
            let rows: Vec<Vec<&str>> = values.iter().map(|value| vec![*value]).collect();
            let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
            let columns = decide(&names(&["x"]), &table(&rows), &Wishes::new(), &[]).unwrap();
            assert_eq!(columns.0[0].1, Target::Attribute("x".into(), expected), "{values:?}");
        };
        check(&["1", "-2.5", ""], AttributeType::Number);
        check(&["0", "1"], AttributeType::Number);
        check(&["01234", "99"], AttributeType::Text);
        check(&["+49"], AttributeType::Text);
        check(&["true", "No"], AttributeType::Boolean);
        check(&["2026-11-21", "2026-11-21T09:30:00Z"], AttributeType::Date);
        check(&["a|b", "c"], AttributeType::List);
        check(&["a", "5"], AttributeType::Text);
        check(&[], AttributeType::Text);
        check(&[""], AttributeType::Text);
    }

    #[test]
    fn wishes_and_declared_types_win() {
        let schema =
            [Attribute { name: "plan".into(), kind: AttributeKind::Text, slot: 0, created_at: Timestamp::EPOCH }];
        let wishes = wishes(r#"{"Adresse": "email", "Mail": null, "p": "attributes.plan"}"#).unwrap();
        let sample = table(&[&["a@b.example", "x", "5"]]);
        let columns = decide(&names(&["Adresse", "Mail", "p"]), &sample, &wishes, &schema).unwrap();
        let targets: Vec<_> = columns.0.into_iter().map(|(_, target)| target).collect();
        let plan = Target::Attribute("plan".into(), AttributeType::Text);
        assert_eq!(targets, [Target::Field(Field::Email), Target::Nothing, plan]);
    }

    #[test]
    fn what_cannot_be_is_said() {
        for text in ["[]", r#"{"a": "colour"}"#, r#"{"a": "attributes.Plan"}"#, "{"] {
            assert!(wishes(text).is_err(), "{text}");
        }
        let refused = |header: &[&str], text: &str| {
            decide(&names(header), &[], &wishes(text).unwrap(), &[]).unwrap_err()[0].detail.clone()
        };
        assert!(refused(&["mail", "E-Mail"], "{}").contains("same field"));
        assert!(refused(&["mail"], r#"{"Mail": "email"}"#).contains("no column `Mail`"));
    }
}
