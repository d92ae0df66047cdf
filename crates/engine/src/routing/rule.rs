//! What a rule says: which messages it is about, how it chooses, and among which accounts. The same words stand in requests, in the database and in answers. Pure.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use model::{AccountId, Channel, MessageId, Purpose, RouteId, TemplateId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use utoipa::ToSchema;

use crate::{consent::hours::clock, country};

/// Hours a rule looks back for a delivery rate, unless it says otherwise: a day has every hour of the day.
const RATE_HOURS: u32 = 24;
/// Hours a rule looks back for health: what matters is how the account is now.
const HEALTH_HOURS: u32 = 1;

/// Which messages a rule is about. All that is given must hold; of several values one is enough. Nothing given: every message of the channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteMatch)]
pub struct Matches {
    /// Countries the recipient's number may lie in, by ISO 3166-1 code; beside `prefixes` either is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["KE", "UG"]))]
    pub countries: Vec<String>,
    /// First digits the recipient's number may have, without the `+`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["25470"]))]
    pub prefixes: Vec<String>,
    /// `transactional`, `marketing`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["marketing"]))]
    pub purposes: Vec<Purpose>,
    /// Topics, as messages name them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["payment_reminders"]))]
    pub topics: Vec<String>,
    /// Templates the message may be made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["tpl_01K9ZC6T7E8M9P0R1S2T3V4W5X"]))]
    pub template_ids: Vec<TemplateId>,
    /// When the message leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// Values the message's `metadata` may have under each of these names. A list in the metadata matches by any of its items.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"tier": ["gold", "silver"]}))]
    pub metadata: BTreeMap<String, Vec<String>>,
}

/// A daily span, on some days of the week or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteHours)]
pub struct Hours {
    /// From this time of day.
    #[serde(with = "clock")]
    #[schema(value_type = String, example = "09:00")]
    pub from: u16,
    /// Until this time of day, itself not included; earlier than `from` is the next morning.
    #[serde(with = "clock")]
    #[schema(value_type = String, example = "17:30")]
    pub until: u16,
    /// Days on which the span begins; all when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// On the clock of this IANA time zone; the tenant's when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "Africa/Nairobi")]
    pub timezone: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = RouteDay)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

impl Day {
    /// The days in order.
    pub const ALL: [Self; 7] = [Self::Mon, Self::Tue, Self::Wed, Self::Thu, Self::Fri, Self::Sat, Self::Sun];

    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Tue => "tue",
            Self::Wed => "wed",
            Self::Thu => "thu",
            Self::Fri => "fri",
            Self::Sat => "sat",
            Self::Sun => "sun",
        }
    }
}

/// How a rule chooses among its accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteChoice)]
pub struct Choice {
    /// By what.
    pub by: By,
    /// Hours it looks back, 1 to 168, for `best_delivery_rate` (24 when left out) and `health` (1).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
}

impl Choice {
    /// How far it looks back, if it does.
    pub fn looks_back_h(self) -> Option<u32> {
        match self.by {
            By::BestDeliveryRate => Some(self.hours.unwrap_or(RATE_HOURS)),
            By::Health => Some(self.hours.unwrap_or(HEALTH_HOURS)),
            By::Priority | By::Weight | By::LowestPrice => None,
        }
    }
}

/// By what accounts are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RouteBy)]
pub enum By {
    /// As they are listed.
    Priority,
    /// Each gets its share of the messages; the same message always the same one.
    Weight,
    /// The cheapest first: by `price_micros` where the rule gives it, else by the price list.
    LowestPrice,
    /// First whose messages arrived most often.
    BestDeliveryRate,
    /// First whose provider failed least often.
    Health,
}

impl By {
    /// The word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Weight => "weight",
            Self::LowestPrice => "lowest_price",
            Self::BestDeliveryRate => "best_delivery_rate",
            Self::Health => "health",
        }
    }
}

/// One of a rule's accounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RouteAccount)]
pub struct Candidate {
    /// Which.
    #[schema(value_type = String, example = "acc_01K9ZC1M2N3P4Q5R6S7T8V9W0X")]
    pub account_id: AccountId,
    /// Its share, 0 to 1,000, when the rule chooses by weight; 1 when left out. With 0 it only steps in for others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// What a message costs there (a part of an SMS), in millionths of the tenant's currency, where the price list does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_micros: Option<i64>,
}

/// What happens when none of a rule's accounts can take a message now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RouteOtherwise)]
pub enum Otherwise {
    /// The next rule that matches is asked, and in the end the channel's default account.
    #[default]
    NextRule,
    /// The message waits for one of this rule's accounts: it never goes through another.
    Wait,
}

impl Otherwise {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NextRule => "next_rule",
            Self::Wait => "wait",
        }
    }

    /// Reads the database's word; one this binary does not know lets nothing through elsewhere.
    pub fn from_stored(word: &str) -> Self {
        if word == "next_rule" { Self::NextRule } else { Self::Wait }
    }
}

/// A rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Which.
    pub id: RouteId,
    /// For messages over this channel.
    pub channel: Channel,
    /// Name for people.
    pub name: String,
    /// False while it is passed over.
    pub is_enabled: bool,
    /// Which messages it is about.
    pub matches: Matches,
    /// How it chooses.
    pub choice: Choice,
    /// Among these.
    pub accounts: Vec<Candidate>,
    /// When none of them can be used.
    pub otherwise: Otherwise,
}

impl Rule {
    /// Reads a row. `None` when it says something this binary does not understand.
    pub fn read(row: &store::routes::Route) -> Option<Self> {
        Some(Self {
            id: row.id,
            channel: row.channel,
            name: row.name.clone(),
            is_enabled: row.is_enabled,
            matches: serde_json::from_str(&row.matches).ok()?,
            choice: serde_json::from_str(&row.choice).ok()?,
            accounts: serde_json::from_str(&row.accounts).ok()?,
            otherwise: Otherwise::from_stored(&row.otherwise),
        })
    }
}

/// A message as far as rules ask about it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Which one; the zero id before it has one.
    pub id: MessageId,
    /// Over which channel.
    pub channel: Channel,
    /// To whom.
    pub address: &'a str,
    /// Why.
    pub purpose: Purpose,
    /// About what.
    pub topic: Option<&'a str>,
    /// Made of which template.
    pub template: Option<TemplateId>,
    /// The tenant's own object, as JSON.
    pub metadata: Option<&'a str>,
    /// Parts, for SMS.
    pub segments: Option<u32>,
    /// When it leaves.
    pub leaves_at: Timestamp,
    /// When it was accepted: which prices count.
    pub accepted_at: Timestamp,
}

impl Matches {
    /// True when nothing is asked: every message of the channel matches.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True for a message it is about. `timezone` is the tenant's.
    pub fn hold(&self, m: &Subject<'_>, timezone: &str) -> bool {
        self.holds_place(m)
            && (self.purposes.is_empty() || self.purposes.contains(&m.purpose))
            && (self.topics.is_empty() || m.topic.is_some_and(|topic| self.topics.iter().any(|one| one == topic)))
            && (self.template_ids.is_empty() || m.template.is_some_and(|id| self.template_ids.contains(&id)))
            && self.hours.as_ref().is_none_or(|hours| hours.hold(m.leaves_at, timezone))
            && (self.metadata.is_empty() || self.holds_metadata(m.metadata))
    }

    fn holds_place(&self, m: &Subject<'_>) -> bool {
        if self.countries.is_empty() && self.prefixes.is_empty() {
            return true;
        }
        let digits = m.address.trim_start_matches('+');
        self.prefixes.iter().any(|prefix| digits.starts_with(prefix.as_str()))
            || (!self.countries.is_empty() && {
                let country = country::text(m.channel, m.address);
                self.countries.contains(&country)
            })
    }

    fn holds_metadata(&self, metadata: Option<&str>) -> bool {
        let object: BTreeMap<String, &RawValue> =
            metadata.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        self.metadata.iter().all(|(name, wanted)| {
            let value = object.get(name).and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok());
            value.is_some_and(|value| match value {
                Value::Array(items) => items.iter().any(|item| wanted.contains(&text_of(item))),
                one => wanted.contains(&text_of(&one)),
            })
        })
    }
}

/// A value as a rule's text is compared with it: texts as they are, everything else as JSON.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

impl Hours {
    /// True at an instant. What begins before midnight belongs to the day it begins on.
    pub fn hold(&self, at: Timestamp, timezone: &str) -> bool {
        let zone = TimeZone::get(self.timezone.as_deref().unwrap_or(timezone)).unwrap_or(TimeZone::UTC);
        let local = zone.to_datetime(at.jiff());
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let today = usize::from(local.weekday().to_monday_zero_offset().unsigned_abs());
        let begins_on = |day: usize| self.days.is_empty() || self.days.contains(&Day::ALL[day]);
        if self.from < self.until {
            return (self.from..self.until).contains(&minute) && begins_on(today);
        }
        (minute >= self.from && begins_on(today)) || (minute < self.until && begins_on((today + 6) % 7))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn subject(address: &str) -> Subject<'_> {
        Subject {
            id: MessageId::from_ulid(1 << 10),
            channel: Channel::Sms,
            address,
            purpose: Purpose::Transactional,
            topic: Some("payment_reminders"),
            template: Some(TemplateId::from_ulid(7)),
            metadata: Some(r#"{"tier": "gold", "vip": true, "n": 3, "tags": ["a", "b"], "deep": {"x": 1}}"#),
            segments: Some(1),
            leaves_at: "2026-11-27T22:30:00Z".parse().unwrap(),
            accepted_at: "2026-11-27T22:30:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_rule_is_about_what_it_says() {
        let cases = [
            ("{}", true),
            (r#"{"countries": ["KE"]}"#, true),
            (r#"{"countries": ["UG", "KE"]}"#, true),
            (r#"{"countries": ["UG"]}"#, false),
            (r#"{"countries": ["UG"], "prefixes": ["2547"]}"#, true),
            (r#"{"prefixes": ["2548"]}"#, false),
            (r#"{"purposes": ["marketing"]}"#, false),
            (r#"{"purposes": ["marketing", "transactional"]}"#, true),
            (r#"{"topics": ["payment_reminders"]}"#, true),
            (r#"{"topics": ["general_updates"]}"#, false),
            (r#"{"template_ids": ["tpl_00000000000000000000000007"]}"#, true),
            (r#"{"template_ids": ["tpl_00000000000000000000000008"]}"#, false),
            (r#"{"metadata": {"tier": ["silver", "gold"]}}"#, true),
            (r#"{"metadata": {"tier": ["silver"]}}"#, false),
            (r#"{"metadata": {"vip": ["true"], "n": ["3"]}}"#, true),
            (r#"{"metadata": {"vip": ["true"], "n": ["4"]}}"#, false),
            (r#"{"metadata": {"tags": ["b"]}}"#, true),
            (r#"{"metadata": {"missing": [""]}}"#, false),
            (r#"{"countries": ["KE"], "purposes": ["marketing"]}"#, false),
        ];
        for (rule, expected) in cases {
            let matches: Matches = serde_json::from_str(rule).unwrap();
            assert_eq!(matches.hold(&subject("+254700000001"), "UTC"), expected, "{rule}");
        }
        let by_metadata: Matches = serde_json::from_str(r#"{"metadata": {"tier": ["gold"]}}"#).unwrap();
        assert!(!by_metadata.hold(&Subject { metadata: None, ..subject("+254700000001") }, "UTC"));
    }

    #[test]
    fn a_span_is_on_a_clock_and_may_pass_midnight() {
        let check = |hours: &str, at: &str, expected: bool| {
            let hours: Hours = serde_json::from_str(hours).unwrap();
            assert_eq!(hours.hold(at.parse().unwrap(), "Europe/Berlin"), expected, "{hours:?} {at}");
        };
        // 2026-11-27 is a Friday.
        let day = r#"{"from": "09:00", "until": "17:30"}"#;
        check(day, "2026-11-27T08:00:00Z", true);
        check(day, "2026-11-27T07:59:59Z", false);
        check(day, "2026-11-27T16:30:00Z", false);
        let nairobi = r#"{"from": "09:00", "until": "17:30", "timezone": "Africa/Nairobi"}"#;
        check(nairobi, "2026-11-27T06:00:00Z", true);
        check(nairobi, "2026-11-27T14:30:00Z", false);
        let friday_night = r#"{"from": "22:00", "until": "06:00", "days": ["fri"]}"#;
        check(friday_night, "2026-11-27T21:00:00Z", true);
        check(friday_night, "2026-11-28T04:59:00Z", true);
        check(friday_night, "2026-11-28T21:00:00Z", false);
        check(friday_night, "2026-11-27T04:59:00Z", false);
        // On the day the clock goes back the hour from two to three comes twice, and both are in the span.
        let early = r#"{"from": "02:00", "until": "03:00"}"#;
        check(early, "2026-10-25T00:30:00Z", true);
        check(early, "2026-10-25T01:30:00Z", true);
        check(early, "2026-10-25T02:00:00Z", false);
    }
}
