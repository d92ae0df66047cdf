//! Templates and versions as people see them.

use std::collections::BTreeMap;

use model::{Channel, TemplateId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::templates::{Template, Version};
use utoipa::ToSchema;

use super::{Source, Variable, Warning, live::Outline};
use crate::{Error, branding::TrackingRule};

/// What becomes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VersionState {
    /// It was written and never published.
    Draft,
    /// It is the one that is sent.
    Published,
    /// Another took its place.
    Superseded,
    /// It was taken back.
    RolledBack,
}

impl VersionState {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::RolledBack => "rolled_back",
        }
    }

    fn from_stored(word: &str) -> Self {
        [Self::Published, Self::Superseded, Self::RolledBack]
            .into_iter()
            .find(|state| state.as_str() == word)
            .unwrap_or(Self::Draft)
    }
}

/// A template.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TemplateView {
    /// Its id.
    #[schema(value_type = String, example = "tpl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: TemplateId,
    /// Its name.
    #[schema(example = "ticket-ready")]
    pub name: String,
    /// Over which channel its messages go.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// What it is for.
    pub description: String,
    /// Whether it is taken when a request over its channel names none.
    pub default: bool,
    /// What is tracked in its mails; `null` for the tenant's own rule.
    pub tracking: Option<TrackingRule>,
    /// The version that is sent; `null` before the first is published.
    pub published_version: Option<u32>,
    /// The newest version.
    pub newest_version: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
}

/// A version of a template.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct VersionView {
    /// Of which template.
    #[schema(value_type = String, example = "tpl_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub template_id: TemplateId,
    /// Its number, from 1.
    pub version: u32,
    /// What became of it.
    pub state: VersionState,
    /// The language of recipients who have none of the others.
    #[schema(example = "en")]
    pub default_locale: String,
    /// What it says, by language, as it was written.
    #[schema(value_type = Object)]
    pub variants: BTreeMap<String, Box<RawValue>>,
    /// Its variables: as declared, or as they were found when it was published.
    pub variables: Vec<Variable>,
    /// What is odd about it; known once it is published.
    pub warnings: Vec<Warning>,
    /// When it was written.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it was last published.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub published_at: Option<Timestamp>,
    /// When it was last replaced or taken back.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<Timestamp>,
}

pub(super) fn template(row: &Template) -> TemplateView {
    TemplateView {
        id: row.id,
        name: row.name.clone(),
        channel: row.channel,
        description: row.description.clone(),
        default: row.is_default,
        tracking: row.tracking.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        published_version: row.published,
        newest_version: row.newest,
        created_at: row.created_at,
        updated_at: row.updated_at,
    }
}

pub(super) fn version(row: &Version) -> Result<VersionView, Error> {
    let source: Source = serde_json::from_str(&row.source).map_err(Error::internal)?;
    let outline = row.compiled.as_deref().map(Outline::read).transpose()?;
    let (found, warnings) = outline.map(|outline| (outline.variables, outline.warnings)).unwrap_or_default();
    Ok(VersionView {
        template_id: row.template_id,
        version: row.number,
        state: VersionState::from_stored(&row.state),
        default_locale: source.default_locale,
        variants: source.variants,
        variables: source.variables.unwrap_or(found),
        warnings,
        created_at: row.created_at,
        published_at: row.published_at,
        ended_at: row.ended_at,
    })
}
