//! What can be sent: which version of which template, and where its contents lie. Kept in memory with the tenant.

use std::{collections::BTreeMap, sync::Arc};

use model::{Channel, TemplateId, TenantId};
use serde::{Deserialize, Serialize};
use store::{
    Scope, Tx,
    messages::{ContentId, OfTemplate},
    templates::{self, Template, Version},
};

use super::{Templates, Variable, Warning, locale};
use crate::{
    Engine, Error, ErrorKind, FieldError, accept::request::TemplateRequest, branding::TrackingRule, directory::Tenant,
};

/// What publishing leaves beside the contents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outline {
    pub default_locale: String,
    /// Content ids by language.
    pub contents: BTreeMap<String, String>,
    pub variables: Vec<Variable>,
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

impl Outline {
    pub(super) fn read(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(Error::internal)
    }
}

/// How a content's id stands in JSON.
pub(super) fn content_text(id: ContentId) -> String {
    format!("{:032x}", id.0)
}

/// A version that can be sent.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub id: TemplateId,
    pub name: String,
    pub channel: Channel,
    pub is_default: bool,
    pub version: u32,
    pub tracking: Option<TrackingRule>,
    default_locale: String,
    contents: BTreeMap<String, ContentId>,
}

/// A template that was chosen for a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Picked {
    pub of: OfTemplate,
    pub content_id: ContentId,
    pub tracking: Option<TrackingRule>,
}

impl Live {
    fn new(template: Template, version: u32, outline: Outline) -> Self {
        let content = |(tag, id): (String, String)| u128::from_str_radix(&id, 16).ok().map(|id| (tag, ContentId(id)));
        Self {
            id: template.id,
            name: template.name,
            channel: template.channel,
            is_default: template.is_default,
            version,
            tracking: template.tracking.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            default_locale: outline.default_locale,
            contents: outline.contents.into_iter().filter_map(content).collect(),
        }
    }

    /// The variant for somebody.
    fn pick<'a>(&self, wanted: impl IntoIterator<Item = Option<&'a str>>) -> Result<Picked, Error> {
        let tag = locale::choose(|tag| self.contents.contains_key(tag), wanted, &self.default_locale);
        let content_id = self.contents.get(&tag).copied();
        let content_id = content_id.ok_or_else(|| Error::internal(format!("{} has lost its contents", self.id)))?;
        Ok(Picked { of: OfTemplate { id: self.id, version: self.version }, content_id, tracking: self.tracking })
    }
}

/// Everything of a tenant that can be sent, for the directory.
pub(crate) async fn load(tx: &mut Tx, tenant: TenantId) -> Result<Templates, Error> {
    let mut live = Vec::new();
    for (template, compiled) in templates::live(tx, tenant).await? {
        let number = template.published.unwrap_or_default();
        match Outline::read(&compiled) {
            Ok(outline) => live.push(Arc::new(Live::new(template, number, outline))),
            Err(error) => {
                tracing::error!(%error, template.id = %template.id, "A template cannot be read; it is not sent")
            }
        }
    }
    Ok(live)
}

impl Engine {
    /// The version and language of a template a message is made of. `language` is the recipient's, when it is known.
    pub(crate) async fn pick_template(
        &self,
        tenant: &Tenant,
        asked: &TemplateRequest,
        channel: Channel,
        language: Option<&str>,
    ) -> Result<Picked, Error> {
        if asked.id.is_some() && asked.name.is_some() {
            return Err(Error::invalid("/template", "name the template by `id` or `name`, not both"));
        }
        if asked.locale.as_deref().is_some_and(|tag| locale::parse(tag).is_none()) {
            return Err(Error::invalid("/template/locale", "not a language tag; write one such as en or pt-BR"));
        }
        let wanted = [asked.locale.as_deref(), language, tenant.branding.default_locale.as_deref()];
        let live = tenant.templates.iter().find(|live| match (asked.id, &asked.name) {
            (Some(id), _) => live.id == id,
            (None, Some(name)) => live.name == *name,
            (None, None) => live.is_default && live.channel == channel,
        });
        let picked = match (live, asked.version) {
            (Some(live), None) => Arc::clone(live),
            (Some(live), Some(number)) if live.version == number => Arc::clone(live),
            (_, version) => Arc::new(self.stored_template(tenant.id, asked, version).await?),
        };
        if picked.channel != channel {
            let detail = format!("this template is for {}, and the message goes by {channel}", picked.channel);
            return Err(Error::invalid("/template", detail));
        }
        picked.pick(wanted)
    }

    /// A version that is not the published one, from the database.
    async fn stored_template(
        &self,
        tenant: TenantId,
        asked: &TemplateRequest,
        version: Option<u32>,
    ) -> Result<Live, Error> {
        let (id, name) = (asked.id, asked.name.clone());
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let template = match (id, &name) {
                    (Some(id), _) => templates::find(tx, tenant, id).await?,
                    (None, Some(name)) => templates::find_by_name(tx, tenant, name).await?,
                    (None, None) => None,
                };
                let Some(template) = template else { return Ok::<_, Error>(None) };
                let stored = match version {
                    Some(number) => templates::find_version(tx, tenant, template.id, number).await?,
                    None => None,
                };
                Ok(Some((template, stored)))
            })
        });
        let Some((template, stored)) = read.await? else {
            let (pointer, detail) = match (id, &asked.name) {
                (Some(_), _) => ("/template/id", "there is no such template"),
                (None, Some(_)) => ("/template/name", "there is no template of this name"),
                (None, None) => ("/template", "this channel has no default template; name one by `id` or `name`"),
            };
            return Err(Error::invalid(pointer, detail));
        };
        match (version, stored) {
            (None, _) => Err(not_published(&template, "/template")),
            (Some(_), None) => Err(Error::invalid("/template/version", "this template has no such version")),
            (Some(number), Some(Version { compiled: Some(compiled), .. })) => {
                Ok(Live::new(template, number, Outline::read(&compiled)?))
            }
            (Some(_), Some(_)) => Err(not_published(&template, "/template/version")),
        }
    }
}

fn not_published(template: &Template, pointer: &str) -> Error {
    let detail = format!("The template {} has not been published: nothing of it can be sent.", template.name);
    Error {
        errors: vec![FieldError::new(pointer, "it has not been published; POST /v1/templates/{id}/publish does that")],
        ..Error::new(ErrorKind::Invalid, "template_not_published", detail)
    }
    .with_action("PUBLISH_TEMPLATE")
}
