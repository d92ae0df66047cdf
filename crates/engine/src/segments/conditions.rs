//! The conditions of a segment: JSON as people and programs write it, read against the tenant's attributes and the present instant.
//!
//! ```json
//! {"all": [
//!   {"attribute": "plan", "is": ["pro", "team"]},
//!   {"field": "language", "starts_with": "de"},
//!   {"attribute": "renewal", "within_next_days": 14},
//!   {"list": "lst_01K9ZC8Q6T7Y2V5B3N4M1XWRSD"},
//!   {"not": {"message": {"was": "accepted", "within_days": 30}}},
//!   {"consent": {"channel": "email", "topic": "match_reports", "is": "opted_in"}}
//! ]}
//! ```

use model::{Channel, ConsentState, ListId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};
use store::{
    contact_attributes::{Attribute, AttributeKind},
    segments::{Condition, ConsentTest, MessageTest, NumberField, Outcome, TextField, TextTest},
};

use crate::{
    Error, FieldError,
    contacts::{
        attribute,
        attributes::{self, Stored},
    },
};

/// Levels a tree may have: people think in three.
pub const DEPTH_MAX: usize = 8;
/// Conditions a tree may have: what a query can hold and a person can read.
pub const SIZE_MAX: usize = 100;
/// Values one test may list.
pub const VALUES_MAX: usize = 500;
/// Longest span in days: a century.
const DAYS_MAX: i64 = 36_500;
/// Longest text in a test, in characters.
const TEXT_MAX: usize = 1_000;
const DAY_MICROS: i64 = 86_400_000_000;

/// What a message was, and when. At least one message of the contact is like that.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageForm {
    was: Was,
    #[serde(default)]
    channel: Option<model::Channel>,
    #[serde(default)]
    campaign_id: Option<model::CampaignId>,
    #[serde(default)]
    within_days: Option<i64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Was {
    Accepted,
    Sent,
    Delivered,
    Opened,
    Clicked,
    Failed,
    Replied,
}

/// What the contact last said about a channel, or about a topic on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentForm {
    channel: Channel,
    #[serde(default)]
    topic: Option<String>,
    is: Said,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    OptedIn,
    OptedOut,
    Pending,
    Nothing,
}

/// Everybody among whom `condition` holds who may be sent marketing over a channel, in the words of [`crate::consent::judge`]: the contact agreed to the channel or the topic, and
/// opted out of neither. Suppressions are asked about apart.
pub fn agreed(channel: Channel, topic: Option<&str>) -> Condition {
    let said =
        |topic: &str, state| Condition::Consent(ConsentTest { channel, topic: topic.to_owned(), state: Some(state) });
    let topics: Vec<&str> = std::iter::once("").chain(topic).collect();
    let not = |condition| Condition::Not(Box::new(condition));
    let mut parts = vec![not(Condition::DoNotContact)];
    parts.extend(topics.iter().map(|topic| not(said(topic, ConsentState::OptedOut))));
    parts.push(Condition::Any(topics.iter().map(|topic| said(topic, ConsentState::OptedIn)).collect()));
    Condition::All(parts)
}

/// Reads a tree. The error points below `base`.
pub fn read(tree: &Value, base: &str, schema: &[Attribute], now: Timestamp) -> Result<Condition, Error> {
    let mut reader = Reader { schema, now, left: SIZE_MAX };
    reader.read(tree, base, DEPTH_MAX).map_err(|fault| Error::invalid_fields(vec![fault]))
}

/// The lists a condition names.
pub fn lists(condition: &Condition) -> Vec<ListId> {
    match condition {
        Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(lists).collect(),
        Condition::Not(inner) => lists(inner),
        Condition::OnList(list) => vec![*list],
        Condition::Text(..)
        | Condition::Number(..)
        | Condition::Holds(..)
        | Condition::Message(_)
        | Condition::Consent(_)
        | Condition::DoNotContact
        | Condition::Suppressed(..)
        | Condition::Reachable(_) => Vec::new(),
    }
}

struct Reader<'a> {
    schema: &'a [Attribute],
    now: Timestamp,
    left: usize,
}

/// What a field or an attribute holds.
#[derive(Clone, Copy)]
enum Subject {
    Text(TextField),
    Texts(usize),
    Number(NumberField),
    Flag(NumberField),
    Date(NumberField),
}

type Fault = FieldError;

impl Reader<'_> {
    fn read(&mut self, tree: &Value, at: &str, depth: usize) -> Result<Condition, Fault> {
        if depth == 0 {
            return Err(Fault::new(at, format!("conditions are nested more than {DEPTH_MAX} levels deep")));
        }
        self.left =
            self.left.checked_sub(1).ok_or_else(|| Fault::new(at, format!("more than {SIZE_MAX} conditions")))?;
        let Value::Object(fields) = tree else { return Err(Fault::new(at, "expected an object with a condition")) };
        let kinds = [
            "all",
            "any",
            "not",
            "attribute",
            "field",
            "list",
            "message",
            "consent",
            "do_not_contact",
            "suppressed",
            "reachable",
        ];
        let mut named = kinds.iter().filter(|kind| fields.contains_key(**kind));
        let (Some(kind), None) = (named.next(), named.next()) else {
            return Err(Fault::new(at, format!("a condition has exactly one of {}", kinds.join(", "))));
        };
        let (value, here) = (&fields[*kind], format!("{at}/{kind}"));
        match *kind {
            "attribute" => {
                let name = value.as_str().unwrap_or_default();
                let known = attribute(self.schema, name);
                let attribute = known.ok_or_else(|| Fault::new(&here, format!("there is no attribute `{name}`")))?;
                self.test(subject(attribute), fields, kind, at)
            }
            "field" => {
                let name = value.as_str().unwrap_or_default();
                let subject = field(name).ok_or_else(|| {
                    Fault::new(&here, format!("there is no field `{name}` to test; there are {FIELDS}"))
                })?;
                self.test(subject, fields, kind, at)
            }
            _ if fields.len() > 1 => {
                let other = fields.keys().find(|name| name.as_str() != *kind).map_or("", String::as_str);
                Err(Fault::new(format!("{at}/{other}"), format!("nothing stands beside `{kind}`")))
            }
            "not" => Ok(Condition::Not(Box::new(self.read(value, &here, depth - 1)?))),
            "list" => {
                let list = value.as_str().and_then(|text| text.parse().ok());
                list.map(Condition::OnList).ok_or_else(|| Fault::new(&here, "expected the id of a list"))
            }
            "message" => self.message(value, &here),
            "consent" => consent(value, &here),
            "do_not_contact" => match value {
                Value::Bool(true) => Ok(Condition::DoNotContact),
                Value::Bool(false) => Ok(Condition::Not(Box::new(Condition::DoNotContact))),
                _ => Err(Fault::new(&here, "expected true or false")),
            },
            "suppressed" => Ok(Condition::Suppressed(channel(value, &here)?, true)),
            "reachable" => Ok(Condition::Reachable(channel(value, &here)?)),
            _ => {
                let Value::Array(items) = value else {
                    return Err(Fault::new(&here, "expected an array of conditions"));
                };
                if items.is_empty() {
                    return Err(Fault::new(&here, "at least one condition"));
                }
                let parts: Result<Vec<_>, _> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| self.read(item, &format!("{here}/{index}"), depth - 1))
                    .collect();
                Ok(if *kind == "all" { Condition::All(parts?) } else { Condition::Any(parts?) })
            }
        }
    }

    fn message(&self, value: &Value, at: &str) -> Result<Condition, Fault> {
        let form: MessageForm = form(value, at)?;
        let since = form.within_days.map(|days| self.days_ago(days, &format!("{at}/within_days"))).transpose()?;
        Ok(Condition::Message(MessageTest {
            was: match form.was {
                Was::Accepted => Outcome::Accepted,
                Was::Sent => Outcome::Sent,
                Was::Delivered => Outcome::Delivered,
                Was::Opened => Outcome::Opened,
                Was::Clicked => Outcome::Clicked,
                Was::Failed => Outcome::Failed,
                Was::Replied => Outcome::Replied,
            },
            channel: form.channel,
            campaign: form.campaign_id,
            since: since.map(Timestamp::from_micros),
        }))
    }

    fn days_ago(&self, days: i64, at: &str) -> Result<i64, Fault> {
        if (0..=DAYS_MAX).contains(&days) {
            Ok(self.now.as_micros() - days * DAY_MICROS)
        } else {
            Err(Fault::new(at, format!("a number of days from 0 to {DAYS_MAX}")))
        }
    }

    /// The tests beside a field or an attribute: all of them must hold.
    fn test(&self, subject: Subject, fields: &Map<String, Value>, kind: &str, at: &str) -> Result<Condition, Fault> {
        let tests = fields.iter().filter(|(name, _)| name.as_str() != kind);
        let mut parts = Vec::new();
        for (name, value) in tests {
            parts.push(self.one(subject, name, value, &format!("{at}/{name}"))?);
        }
        match parts.len() {
            0 => Err(Fault::new(at, format!("say what must hold of it: {}", words(subject)))),
            1 => Ok(parts.remove(0)),
            _ => Ok(Condition::All(parts)),
        }
    }

    fn one(&self, subject: Subject, name: &str, value: &Value, at: &str) -> Result<Condition, Fault> {
        if name == "exists" {
            let exists = match subject {
                Subject::Text(field) => Condition::Text(field, TextTest::Exists),
                Subject::Texts(slot) => Condition::Text(TextField::Attribute(slot), TextTest::Exists),
                Subject::Number(field) | Subject::Flag(field) | Subject::Date(field) => {
                    Condition::Number(field, None, None)
                }
            };
            return match value {
                Value::Bool(true) => Ok(exists),
                Value::Bool(false) => Ok(Condition::Not(Box::new(exists))),
                _ => Err(Fault::new(at, "expected true or false")),
            };
        }
        match (subject, name) {
            (Subject::Text(field), "is") => Ok(Condition::Text(field, TextTest::Is(texts(value, at)?))),
            (Subject::Text(field), "starts_with") => Ok(Condition::Text(field, TextTest::StartsWith(text(value, at)?))),
            (Subject::Text(field), "contains") => Ok(Condition::Text(field, TextTest::Contains(text(value, at)?))),
            (Subject::Texts(slot), "has") => Ok(Condition::Holds(slot, texts(value, at)?)),
            (Subject::Flag(field), "is") => match value {
                Value::Bool(flag) => Ok(Condition::Number(field, Some(i64::from(*flag)), Some(i64::from(*flag)))),
                _ => Err(Fault::new(at, "expected true or false")),
            },
            (Subject::Number(field), "is") => {
                let number = self.number(field, value, at)?;
                Ok(Condition::Number(field, Some(number), Some(number)))
            }
            (Subject::Number(field), "at_least") => {
                Ok(Condition::Number(field, Some(self.number(field, value, at)?), None))
            }
            (Subject::Number(field), "at_most") => {
                Ok(Condition::Number(field, None, Some(self.number(field, value, at)?)))
            }
            (Subject::Number(field), "more_than") => {
                Ok(Condition::Number(field, Some(self.number(field, value, at)?.saturating_add(1)), None))
            }
            (Subject::Number(field), "less_than") => {
                Ok(Condition::Number(field, None, Some(self.number(field, value, at)?.saturating_sub(1))))
            }
            (Subject::Date(field), "on_or_after") => Ok(Condition::Number(field, Some(date(value, at)?), None)),
            (Subject::Date(field), "before") => Ok(Condition::Number(field, None, Some(date(value, at)? - 1))),
            (Subject::Date(field), "within_last_days") => {
                let since = self.days_ago(days(value, at)?, at)?;
                Ok(Condition::Number(field, Some(since), Some(self.now.as_micros())))
            }
            (Subject::Date(field), "within_next_days") => {
                let span = self.now.as_micros() - self.days_ago(days(value, at)?, at)?;
                Ok(Condition::Number(field, Some(self.now.as_micros()), Some(self.now.as_micros() + span)))
            }
            (Subject::Date(field), "more_than_days_ago") => {
                Ok(Condition::Number(field, None, Some(self.days_ago(days(value, at)?, at)? - 1)))
            }
            _ => Err(Fault::new(at, format!("there is no test `{name}` here; there are {}", words(subject)))),
        }
    }

    fn number(&self, field: NumberField, value: &Value, at: &str) -> Result<i64, Fault> {
        if field == NumberField::TelegramChat {
            return value.as_i64().ok_or_else(|| Fault::new(at, "expected a whole number"));
        }
        match attributes::read(AttributeKind::Number, value) {
            Ok(Stored::Number(number)) => Ok(number),
            Ok(_) => Err(Fault::new(at, "expected a number")),
            Err(problem) => Err(Fault::new(at, problem)),
        }
    }
}

/// Reads the object of a condition; the fault points into it.
fn form<T: serde::de::DeserializeOwned>(value: &Value, at: &str) -> Result<T, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error: serde_path_to_error::Error<serde_json::Error>| {
        let path = error.path().to_string();
        let pointer = if path == "." { at.to_owned() } else { format!("{at}/{path}") };
        Fault::new(pointer, error.into_inner().to_string())
    })
}

/// A channel contacts are reached over.
fn channel(value: &Value, at: &str) -> Result<Channel, Fault> {
    let channel = value.as_str().and_then(|word| word.parse().ok()).filter(|channel| *channel != Channel::Webhook);
    channel.ok_or_else(|| Fault::new(at, "one of email, sms, whatsapp, telegram and voice"))
}

fn consent(value: &Value, at: &str) -> Result<Condition, Fault> {
    let asked: ConsentForm = form(value, at)?;
    if asked.channel == Channel::Webhook {
        return Err(Fault::new(format!("{at}/channel"), "one of email, sms, whatsapp, telegram and voice"));
    }
    let topic = asked.topic.unwrap_or_default();
    if topic.len() > 64 || !topic.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_') {
        return Err(Fault::new(format!("{at}/topic"), "1 to 64 characters of a-z, 0-9 and _"));
    }
    let state = match asked.is {
        Said::OptedIn => Some(ConsentState::OptedIn),
        Said::OptedOut => Some(ConsentState::OptedOut),
        Said::Pending => Some(ConsentState::Pending),
        Said::Nothing => None,
    };
    Ok(Condition::Consent(ConsentTest { channel: asked.channel, topic, state }))
}

const FIELDS: &str = "external_id, email, phone, whatsapp, telegram_chat_id, language, timezone, first_name, last_name, created_at and updated_at";

fn field(name: &str) -> Option<Subject> {
    Some(match name {
        "external_id" => Subject::Text(TextField::ExternalId),
        "email" => Subject::Text(TextField::Email),
        "phone" => Subject::Text(TextField::Phone),
        "whatsapp" => Subject::Text(TextField::Whatsapp),
        "telegram_chat_id" => Subject::Number(NumberField::TelegramChat),
        "language" => Subject::Text(TextField::Language),
        "timezone" => Subject::Text(TextField::Timezone),
        "first_name" => Subject::Text(TextField::FirstName),
        "last_name" => Subject::Text(TextField::LastName),
        "created_at" => Subject::Date(NumberField::CreatedAt),
        "updated_at" => Subject::Date(NumberField::UpdatedAt),
        _ => return None,
    })
}

const fn subject(attribute: &Attribute) -> Subject {
    match attribute.kind {
        AttributeKind::Text => Subject::Text(TextField::Attribute(attribute.slot)),
        AttributeKind::List => Subject::Texts(attribute.slot),
        AttributeKind::Number => Subject::Number(NumberField::Attribute(attribute.slot)),
        AttributeKind::Boolean => Subject::Flag(NumberField::Attribute(attribute.slot)),
        AttributeKind::Date => Subject::Date(NumberField::Attribute(attribute.slot)),
    }
}

/// The tests there are.
const fn words(subject: Subject) -> &'static str {
    match subject {
        Subject::Text(_) => "is, starts_with, contains and exists",
        Subject::Texts(_) => "has and exists",
        Subject::Number(_) => "is, at_least, at_most, more_than, less_than and exists",
        Subject::Flag(_) => "is and exists",
        Subject::Date(_) => "on_or_after, before, within_last_days, within_next_days, more_than_days_ago and exists",
    }
}

fn text(value: &Value, at: &str) -> Result<String, Fault> {
    match value.as_str() {
        Some("") => Err(Fault::new(at, "the text is empty")),
        Some(text) if text.chars().any(char::is_control) => Err(Fault::new(at, "no control characters")),
        Some(text) if text.chars().count() > TEXT_MAX => Err(Fault::new(at, format!("at most {TEXT_MAX} characters"))),
        Some(text) => Ok(text.to_owned()),
        None => Err(Fault::new(at, "expected a text")),
    }
}

/// One text, or one of several.
fn texts(value: &Value, at: &str) -> Result<Vec<String>, Fault> {
    match value {
        Value::Array(items) if (1..=VALUES_MAX).contains(&items.len()) => {
            items.iter().enumerate().map(|(index, item)| text(item, &format!("{at}/{index}"))).collect()
        }
        Value::Array(_) => Err(Fault::new(at, format!("1 to {VALUES_MAX} texts"))),
        value => text(value, at).map(|text| vec![text]),
    }
}

fn days(value: &Value, at: &str) -> Result<i64, Fault> {
    value.as_i64().ok_or_else(|| Fault::new(at, "expected a whole number of days"))
}

fn date(value: &Value, at: &str) -> Result<i64, Fault> {
    match attributes::read(AttributeKind::Date, value) {
        Ok(Stored::Number(micros)) => Ok(micros),
        Ok(_) => Err(Fault::new(at, "expected a day or an instant")),
        Err(problem) => Err(Fault::new(at, problem)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Vec<Attribute> {
        let kinds = [
            ("age", AttributeKind::Number, 0),
            ("plan", AttributeKind::Text, 0),
            ("renewal", AttributeKind::Date, 1),
            ("tags", AttributeKind::List, 1),
            ("vip", AttributeKind::Boolean, 2),
        ];
        let made = |(name, kind, slot): (&str, AttributeKind, usize)| Attribute {
            name: name.to_owned(),
            kind,
            slot,
            created_at: Timestamp::EPOCH,
        };
        kinds.map(made).to_vec()
    }

    fn at(tree: &Value) -> Result<Condition, (String, String)> {
        read(tree, "/conditions", &schema(), Timestamp::from_seconds(10 * 86_400))
            .map_err(|error| (error.errors[0].pointer.clone(), error.errors[0].detail.clone()))
    }

    #[test]
    fn trees_become_conditions() {
        let age = |least, most| Condition::Number(NumberField::Attribute(0), least, most);
        for (tree, expected) in [
            (json!({"attribute": "age", "at_least": 18}), age(Some(18_000_000), None)),
            (json!({"attribute": "age", "more_than": 1.5}), age(Some(1_500_001), None)),
            (
                json!({"attribute": "age", "at_least": 1, "less_than": 2}),
                Condition::All(vec![age(Some(1_000_000), None), age(None, Some(1_999_999))]),
            ),
            (json!({"not": {"attribute": "age", "exists": false}}), {
                Condition::Not(Box::new(Condition::Not(Box::new(age(None, None)))))
            }),
            (json!({"attribute": "vip", "is": true}), Condition::Number(NumberField::Attribute(2), Some(1), Some(1))),
            (json!({"attribute": "tags", "has": ["a", "b"]}), Condition::Holds(1, vec!["a".into(), "b".into()])),
            (
                json!({"any": [{"field": "language", "starts_with": "de"}, {"attribute": "plan", "is": "pro"}]}),
                Condition::Any(vec![
                    Condition::Text(TextField::Language, TextTest::StartsWith("de".into())),
                    Condition::Text(TextField::Attribute(0), TextTest::Is(vec!["pro".into()])),
                ]),
            ),
            (
                json!({"field": "created_at", "within_last_days": 3}),
                Condition::Number(NumberField::CreatedAt, Some(7 * DAY_MICROS), Some(10 * DAY_MICROS)),
            ),
            (
                json!({"attribute": "renewal", "before": "1970-01-02"}),
                Condition::Number(NumberField::Attribute(1), None, Some(DAY_MICROS - 1)),
            ),
            (
                json!({"message": {"was": "clicked", "channel": "email", "within_days": 1}}),
                Condition::Message(MessageTest {
                    was: Outcome::Clicked,
                    channel: Some(model::Channel::Email),
                    campaign: None,
                    since: Some(Timestamp::from_seconds(9 * 86_400)),
                }),
            ),
        ] {
            assert_eq!(at(&tree), Ok(expected), "{tree}");
        }
    }

    #[test]
    fn each_mistake_is_pointed_at() {
        let deep = (0..DEPTH_MAX).fold(json!({"attribute": "vip", "is": true}), |inner, _| json!({ "not": inner }));
        let wide = json!({"any": vec![json!({"attribute": "vip", "is": true}); SIZE_MAX]});
        for (tree, pointer, part) in [
            (json!([]), "/conditions", "object"),
            (json!({}), "/conditions", "exactly one"),
            (json!({"all": [], "any": []}), "/conditions", "exactly one"),
            (json!({"all": []}), "/conditions/all", "at least one"),
            (json!({"all": [{"attribute": "size", "is": "L"}]}), "/conditions/all/0/attribute", "`size`"),
            (json!({"field": "colour", "is": "red"}), "/conditions/field", "there are external_id"),
            (json!({"attribute": "plan"}), "/conditions", "starts_with"),
            (json!({"attribute": "plan", "at_least": 5}), "/conditions/at_least", "there are is"),
            (json!({"attribute": "plan", "is": 5}), "/conditions/is", "a text"),
            (json!({"attribute": "age", "is": "5"}), "/conditions/is", "a number"),
            (json!({"attribute": "renewal", "before": "soon"}), "/conditions/before", "a day"),
            (json!({"attribute": "renewal", "within_last_days": -1}), "/conditions/within_last_days", "from 0"),
            (json!({"list": "con_x"}), "/conditions/list", "list"),
            (json!({"not": {"list": 5}}), "/conditions/not/list", "list"),
            (json!({"list": "x", "is": 5}), "/conditions/is", "beside"),
            (json!({"consent": {"channel": "email", "is": "maybe"}}), "/conditions/consent/is", "unknown variant"),
            (
                json!({"consent": {"channel": "webhook", "is": "nothing"}}),
                "/conditions/consent/channel",
                "one of email",
            ),
            (
                json!({"consent": {"channel": "sms", "topic": "A b", "is": "pending"}}),
                "/conditions/consent/topic",
                "64",
            ),
            (json!({"do_not_contact": "yes"}), "/conditions/do_not_contact", "true or false"),
            (json!({"suppressed": "post"}), "/conditions/suppressed", "one of email"),
            (json!({"reachable": "webhook"}), "/conditions/reachable", "one of email"),
            (json!({"message": {"was": "eaten"}}), "/conditions/message/was", "unknown variant"),
            (json!({"message": {}}), "/conditions/message", "missing field"),
            (deep, "/conditions/not/not/not/not/not/not/not/not", "levels"),
            (wide, "/conditions/any/99", "more than"),
        ] {
            let (found, detail) = at(&tree).unwrap_err();
            assert_eq!(found, pointer, "{tree}: {detail}");
            assert!(detail.contains(part), "{tree}: {detail}");
        }
    }
}
