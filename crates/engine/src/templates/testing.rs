//! Test sends: a version, drafts too, to a few addresses of one's own. Its messages are marked, and counted apart.

use model::{AccountId, TemplateId};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::messages::OfTemplate;
use utoipa::ToSchema;

use super::{Source, compile, locale, read_version, samples, writer};
use crate::{
    Engine, Error,
    accept::request::{ChannelChoice, MessageRequest, To},
    access::Permission,
    branding::sample,
    keys::Caller,
    once::{Repeat, Reply},
};

/// Addresses of one test.
const TO_MAX: usize = 10;

/// A test send.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TemplateTestRequest)]
pub struct TestRequest {
    /// To whom: up to 10.
    pub to: Vec<To>,
    /// Which version; the newest when left out.
    #[serde(default)]
    pub version: Option<u32>,
    /// In which language; the default one when left out.
    #[serde(default)]
    #[schema(example = "en")]
    pub locale: Option<String>,
    /// Its variables. What is left out is taken from their examples and defaults.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({"name": "Ada"}))]
    pub variables: Option<Map<String, Value>>,
    /// Through this account instead of the channel's default.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
}

/// Sends a version to a few addresses. Its messages carry `"test": "[Test]"` in their metadata. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn test(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: TemplateId,
    request: TestRequest,
) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let (template, version) = read_version(engine, caller, tenant_id, id, request.version).await?;
    caller.need_permission(Permission::Send(template.channel))?;
    if request.to.is_empty() || request.to.len() > TO_MAX {
        return Err(Error::invalid("/to", format!("1 to {TO_MAX} addresses")));
    }
    if request.locale.as_deref().is_some_and(|tag| locale::parse(tag).is_none()) {
        return Err(Error::invalid("/locale", "not a language tag; write one such as en or pt-BR"));
    }
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let source: Source = serde_json::from_str(&version.source).map_err(Error::internal)?;
    let mut made = compile(template.channel, &source, &sample())?;
    let wanted = [request.locale.as_deref(), tenant.branding.default_locale.as_deref()];
    let tag = locale::choose(|tag| made.contents.contains_key(tag), wanted, &source.default_locale);
    let chosen = made.contents.remove(&tag);
    let (content, needs) = chosen.ok_or_else(|| Error::internal("a version has lost its default language"))?;
    let (mut values, _) = samples(&made.variables, &request.variables.unwrap_or_default());
    for name in ["unsubscribe_url", "preferences_url"] {
        // A test unsubscribes nobody.
        values.entry(name).or_insert_with(|| json!(engine.config.public_url));
    }
    let raw = |value: &Value| serde_json::value::to_raw_value(value).map_err(Error::internal);
    let metadata = raw(&json!({"test": "[Test]", "template": template.name, "version": version.number}))?;
    let variables = raw(&Value::Object(values))?;
    let messages = request
        .to
        .into_iter()
        .map(|to| MessageRequest {
            channel: Some(ChannelChoice::One(template.channel)),
            variables: Some(variables.clone()),
            metadata: Some(metadata.clone()),
            account_id: request.account_id,
            to,
            ..MessageRequest::default()
        })
        .collect();
    let of = OfTemplate { id, version: version.number };
    engine.accept_test(tenant_id, messages, content, needs, of, repeat).await
}
