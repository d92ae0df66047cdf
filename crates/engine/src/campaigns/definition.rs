//! What a campaign sends to whom: read, checked, kept as JSON.

use model::{AccountId, Channel, ContactId, ListId, Purpose, SegmentId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use store::campaigns::Campaign;
use utoipa::ToSchema;

use super::{timing::CampaignTiming, variants::VARIANTS_MAX};
use crate::{Error, names::Faults, patch::Patch};

/// Lists, segments and excluded ones of a campaign, each: every batch of the audience looks at all of them.
const SOURCES_MAX: usize = 20;
/// Contacts named one by one; more are a list.
const CONTACTS_MAX: usize = 10_000;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 2_000;
/// A test lasts at least ten minutes and at most two weeks, in seconds.
const TEST_S: (u32, u32) = (600, 14 * 86_400);

/// Whom a campaign is for: everybody on any of the lists, in any of the segments or named, without those on the excluded lists and in the excluded segments.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AudienceRequest {
    /// Everybody on these lists.
    #[schema(value_type = Vec<String>)]
    pub lists: Vec<ListId>,
    /// Everybody in these segments, as they are when it starts.
    #[schema(value_type = Vec<String>)]
    pub segments: Vec<SegmentId>,
    /// These contacts.
    #[schema(value_type = Vec<String>)]
    pub contact_ids: Vec<ContactId>,
    /// Nobody on these lists.
    #[schema(value_type = Vec<String>)]
    pub exclude_lists: Vec<ListId>,
    /// Nobody in these segments.
    #[schema(value_type = Vec<String>)]
    pub exclude_segments: Vec<SegmentId>,
}

/// What a variant counts by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The message arrived.
    #[default]
    Delivered,
    /// A person opened or read it.
    Opened,
    /// A person followed a link in it.
    Clicked,
    /// The recipient wrote back.
    Replied,
}

/// One of several things a campaign may say.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VariantRequest {
    /// What it says. Exactly one of `content` and `template`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Box<RawValue>>,
    /// A stored template.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub template: Option<Box<RawValue>>,
    /// Its share of the test beside the others'; 1 when left out.
    #[serde(default = "one")]
    pub share: u32,
}

const fn one() -> u32 {
    1
}

/// How variants are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestRequest {
    /// How much of the audience takes part, in percent. With 100 there is no rest.
    pub percent: u32,
    /// What counts.
    #[serde(default)]
    pub metric: Metric,
    /// How long to wait before the winner is chosen, in seconds.
    pub duration_s: u32,
    /// True (default) sends the winner to the rest by itself; false waits for `/winner`.
    #[serde(default = "yes")]
    pub automatic: bool,
}

const fn yes() -> bool {
    true
}

/// A campaign to be made.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCampaign {
    /// Its name for people.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// How it goes.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// `marketing` (default) or `transactional`.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
    /// What it says. Exactly one of `content`, `template` and `variants`.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub content: Option<Box<RawValue>>,
    /// A stored template.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub template: Option<Box<RawValue>>,
    /// Two to five things it may say, to be compared.
    #[serde(default)]
    pub variants: Vec<VariantRequest>,
    /// How they are compared.
    #[serde(default)]
    pub test: Option<TestRequest>,
    /// Whom it is for.
    pub audience: AudienceRequest,
    /// Fills placeholders, the same for everybody; `contact` is each recipient's own.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub variables: Option<Box<RawValue>>,
    /// Through this account instead of the channel's default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// What the contacts' preferences speak of.
    #[serde(default)]
    pub topic: Option<String>,
    /// True leaves recipients out who have not agreed to marketing, and says how many. False (default) refuses to start while there are any.
    #[serde(default)]
    pub remove_without_consent: bool,
    /// When it goes out, as `/schedule` set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    pub timing: Option<CampaignTiming>,
}

/// What a campaign says in one of its variants.
#[derive(Debug, Clone, Copy)]
pub struct Says<'a> {
    /// Its own content.
    pub content: Option<&'a RawValue>,
    /// Or a template.
    pub template: Option<&'a RawValue>,
}

impl NewCampaign {
    /// Checks what can be checked without looking anything up.
    pub fn check(&self, faults: &mut Faults) {
        faults.name("/name", &self.name);
        if self.description.as_ref().is_some_and(|text| text.chars().count() > DESCRIPTION_MAX) {
            faults.add("/description", format!("at most {DESCRIPTION_MAX} characters"));
        }
        if self.channel == Channel::Webhook {
            faults.add("/channel", "expected email, sms, whatsapp, telegram or voice");
        }
        let given = usize::from(self.content.is_some())
            + usize::from(self.template.is_some())
            + usize::from(!self.variants.is_empty());
        if given != 1 {
            faults.add("/content", "say what is sent: exactly one of `content`, `template` and `variants`");
        }
        self.check_variants(faults);
        let audience = &self.audience;
        if audience.lists.is_empty() && audience.segments.is_empty() && audience.contact_ids.is_empty() {
            faults.add("/audience", "say whom it is for: at least one of `lists`, `segments` and `contact_ids`");
        }
        let counts = [
            ("lists", audience.lists.len(), SOURCES_MAX),
            ("segments", audience.segments.len(), SOURCES_MAX),
            ("exclude_lists", audience.exclude_lists.len(), SOURCES_MAX),
            ("exclude_segments", audience.exclude_segments.len(), SOURCES_MAX),
            ("contact_ids", audience.contact_ids.len(), CONTACTS_MAX),
        ];
        for (name, _, most) in counts.into_iter().filter(|(_, count, most)| count > most) {
            faults.add(format!("/audience/{name}"), format!("at most {most}"));
        }
    }

    fn check_variants(&self, faults: &mut Faults) {
        if self.variants.len() == 1 || self.variants.len() > VARIANTS_MAX {
            faults.add("/variants", format!("two to {VARIANTS_MAX} variants"));
        }
        for (index, variant) in self.variants.iter().enumerate() {
            if variant.content.is_some() == variant.template.is_some() {
                faults.add(format!("/variants/{index}"), "exactly one of `content` and `template`");
            }
            if !(1..=100).contains(&variant.share) {
                faults.add(format!("/variants/{index}/share"), "a number from 1 to 100");
            }
        }
        match &self.test {
            None if !self.variants.is_empty() => faults.add("/test", "say how the variants are compared"),
            Some(_) if self.variants.is_empty() => {
                faults.add("/test", "there is nothing to compare; give `variants`, or leave this out")
            }
            Some(test) => {
                if !(1..=100).contains(&test.percent) {
                    faults.add("/test/percent", "a number from 1 to 100");
                }
                if !(TEST_S.0..=TEST_S.1).contains(&test.duration_s) {
                    faults.add("/test/duration_s", format!("{} to {} seconds", TEST_S.0, TEST_S.1));
                }
            }
            None => {}
        }
    }

    /// Everything it may say, by variant.
    pub fn says(&self) -> Vec<Says<'_>> {
        if self.variants.is_empty() {
            return vec![Says { content: self.content.as_deref(), template: self.template.as_deref() }];
        }
        self.variants.iter().map(|v| Says { content: v.content.as_deref(), template: v.template.as_deref() }).collect()
    }

    /// The shares of the variants in a test.
    pub fn weights(&self) -> Vec<u32> {
        self.variants.iter().map(|variant| variant.share).collect()
    }

    /// As it is kept.
    pub fn stored_text(&self) -> Result<String, Error> {
        serde_json::to_string(self).map_err(Error::internal)
    }

    /// Reads what is kept.
    pub fn of(row: &Campaign) -> Result<Self, Error> {
        serde_json::from_str(&row.definition)
            .map_err(|error| Error::internal(format!("the definition of {} cannot be read: {error}", row.id)))
    }
}

/// Changes of a draft.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CampaignPatch {
    /// Its name for people.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<Value>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<Value>,
    /// How it goes.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub channel: Patch<Value>,
    /// `marketing` or `transactional`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub purpose: Patch<Value>,
    /// What it says.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub content: Patch<Value>,
    /// A stored template instead.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub template: Patch<Value>,
    /// Things it may say instead, to be compared.
    #[serde(default)]
    #[schema(value_type = Option<Vec<VariantRequest>>)]
    pub variants: Patch<Value>,
    /// How they are compared.
    #[serde(default)]
    #[schema(value_type = Option<TestRequest>)]
    pub test: Patch<Value>,
    /// Whom it is for.
    #[serde(default)]
    #[schema(value_type = Option<AudienceRequest>)]
    pub audience: Patch<Value>,
    /// Fills placeholders, the same for everybody.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub variables: Patch<Value>,
    /// Through this account.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Patch<Value>,
    /// What the contacts' preferences speak of.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub topic: Patch<Value>,
    /// Whether recipients who have not agreed are left out.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub remove_without_consent: Patch<Value>,
}

impl CampaignPatch {
    fn fields(self) -> [(&'static str, Patch<Value>); 13] {
        [
            ("name", self.name),
            ("description", self.description),
            ("channel", self.channel),
            ("purpose", self.purpose),
            ("content", self.content),
            ("template", self.template),
            ("variants", self.variants),
            ("test", self.test),
            ("audience", self.audience),
            ("variables", self.variables),
            ("account_id", self.account_id),
            ("topic", self.topic),
            ("remove_without_consent", self.remove_without_consent),
        ]
    }
}

/// Changes a draft: JSON Merge Patch over its fields.
pub fn amend(row: &mut Campaign, change: CampaignPatch) -> Result<(), Error> {
    let mut fields: serde_json::Map<String, Value> = serde_json::from_str(&row.definition).map_err(Error::internal)?;
    for (name, change) in change.fields() {
        match change {
            Patch::Keep => {}
            Patch::Clear => drop(fields.remove(name)),
            Patch::Set(value) => drop(fields.insert(name.to_owned(), value)),
        }
    }
    let text = Value::Object(fields).to_string();
    let after: NewCampaign = crate::accept::request::read(text.as_bytes(), "")?;
    let mut faults = Faults::default();
    after.check(&mut faults);
    faults.end()?;
    row.name = after.name.trim().to_owned();
    row.description = after.description.clone().unwrap_or_default();
    row.definition = after.stored_text()?;
    Ok(())
}
