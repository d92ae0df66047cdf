//! Templates: what is said many times, kept by name, in languages and versions.
//!
//! A version is written once and does not change. Publishing compiles it (`compile.rs`, pure: MJML to HTML, style sheets into the elements, a text part, every placeholder looked at)
//! and writes one row of `contents` per language; messages made of it point there and store nothing of what they say. The directory keeps, for each tenant, which
//! version of which template is live and where its contents lie, so that choosing one reads memory. Contents are compiled to MiniJinja once per process and rendered per recipient.

mod aside;
mod changes;
mod compile;
mod live;
pub mod locale;
mod markup;
mod preview;
mod stats;
mod testing;
mod variables;
mod view;

use std::{collections::BTreeMap, sync::Arc};

use model::{Channel, Content, Purpose, TemplateId, TenantId};
use serde::Deserialize;
use serde_json::value::RawValue;
use store::{Tx, templates};
use utoipa::{IntoParams, ToSchema};

pub use compile::{CLIP, Compiled, Source, VARIANTS_MAX, Warning, compile, samples};
pub(crate) use live::{Live, Picked, load};
pub use preview::{Preview, PreviewRequest, SmsPlain, SmsPreview, WhatsappPreview, preview, try_out};
pub use stats::{TemplateCounts, TemplateStats, VersionStats, stats};
pub use testing::{TestRequest, test};
pub use variables::{PROVIDED, VARIABLES_MAX, Variable, VariableType};
pub use view::{TemplateView, VersionState, VersionView};

use crate::{
    Engine, Error, FieldError,
    branding::{self, TrackingRule},
    content_rules::{self, Rules, Violation},
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    patch::Patch,
};

/// Templates a tenant can have: their outlines are read together whenever the tenant is.
pub const TEMPLATES_MAX: u64 = 1_000;
/// Versions one template can have.
pub const VERSIONS_MAX: u32 = 10_000;
/// Bytes of what one version says, over all languages.
const SOURCE_MAX: usize = 4 * 1024 * 1024;
/// Longest description, in characters.
const DESCRIPTION_MAX: usize = 500;

/// A template to be made, with its first version as a draft.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTemplate {
    /// Unique among the tenant's templates.
    #[schema(example = "ticket-ready")]
    pub name: String,
    /// Over which channel its messages go.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// True to make it the one that is taken when a request over its channel names none.
    #[serde(default)]
    pub default: bool,
    /// What is tracked in its mails; the tenant's own rule when left out.
    #[serde(default)]
    pub tracking: Option<TrackingRule>,
    /// The language of recipients who have none of the others; the only one, or the tenant's, when left out.
    #[serde(default)]
    #[schema(example = "en")]
    pub default_locale: Option<String>,
    /// What it says, by language: the content of its channel; a mail may have `mjml` instead of `html`.
    #[schema(value_type = Object, example = json!({"en": {"subject": "Your ticket", "html": "<p>Hello {{ name }}</p>"}}))]
    pub variants: BTreeMap<String, Box<RawValue>>,
    /// Its variables. Left out: they are found in what it says.
    #[serde(default)]
    pub variables: Option<Vec<Variable>>,
}

/// Another version of a template.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// The language of recipients who have none of the others.
    #[serde(default)]
    #[schema(example = "en")]
    pub default_locale: Option<String>,
    /// What it says, by language.
    #[schema(value_type = Object, example = json!({"en": {"subject": "Your ticket", "html": "<p>Dear {{ name }}</p>"}}))]
    pub variants: BTreeMap<String, Box<RawValue>>,
    /// Its variables. Left out: they are found in what it says.
    #[serde(default)]
    pub variables: Option<Vec<Variable>>,
}

/// Changes of a template. What it says changes by a new version.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplatePatch {
    /// Its name.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub name: Patch<String>,
    /// What it is for.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub description: Patch<String>,
    /// Whether it is its channel's default.
    #[serde(default)]
    #[schema(value_type = Option<bool>)]
    pub default: Patch<bool>,
    /// What is tracked in its mails; `null` for the tenant's own rule.
    #[serde(default)]
    #[schema(value_type = Option<TrackingRule>)]
    pub tracking: Patch<TrackingRule>,
}

/// Which version is meant.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WhichVersion {
    /// Its number.
    #[serde(default)]
    #[schema(example = 2)]
    pub version: Option<u32>,
}

/// Which templates a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TemplateQuery {
    /// Of this channel.
    #[param(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Of exactly this name.
    pub name: Option<String>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Makes a template with its first version as a draft. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn create(engine: &Engine, caller: &Caller, repeat: &Repeat, new: NewTemplate) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    let name = faults.name("/name", &new.name);
    if new.channel == Channel::Webhook {
        faults.add("/channel", "unknown channel; expected email, sms, whatsapp, telegram or voice");
    }
    check_description(&mut faults, new.description.as_deref().unwrap_or_default());
    check_tracking(&mut faults, new.channel, new.tracking.as_ref());
    let source = source(&mut faults, &tenant.branding, new.default_locale, new.variants, new.variables);
    faults.end()?;
    let row = templates::Template {
        tenant_id,
        id: TemplateId::from_ulid(engine.ports.ids.ulid(now)),
        name,
        channel: new.channel,
        description: new.description.unwrap_or_default(),
        is_default: new.default,
        tracking: new.tracking.map(|rule| json_text(&rule)),
        published: None,
        newest: 1,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let first = changes::draft(&row, &source, now);
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { changes::insert(tx, &inner, &by, row, first, now).await })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

/// Lists the tenant's templates, newest first. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn list(engine: &Engine, caller: &Caller, query: &TemplateQuery) -> Result<Page<TemplateView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("templates", query.limit, query.cursor.as_deref())?;
    let (channel, name) = (query.channel, query.name.clone());
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let before = TemplateId::from_ulid(window.before);
            Ok::<_, Error>(templates::list(tx, tenant, channel, name.as_deref(), before, window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view::template(&row)))
}

/// Reads one of the tenant's templates. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: TemplateId) -> Result<TemplateView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| Box::pin(async move { find(tx, tenant, id).await }));
    Ok(view::template(&read.await?))
}

/// Changes a template's name and marks. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn patch(
    engine: &Engine,
    caller: &Caller,
    id: TemplateId,
    change: TemplatePatch,
) -> Result<TemplateView, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::patch(tx, &inner, &by, tenant, id, change, now).await })
    });
    let after = write.await?;
    engine.directory.catch_up().await;
    Ok(after)
}

/// Deletes a template: it can no longer be used, and its name is free. Messages made of it stay, and those that wait still leave. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn delete(engine: &Engine, caller: &Caller, id: TemplateId) -> Result<(), Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let write = engine.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move { changes::delete(tx, &inner, &by, tenant, id, now).await })
    });
    write.await?;
    engine.directory.catch_up().await;
    Ok(())
}

/// Writes another version, as a draft. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn add_version(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: TemplateId,
    new: NewVersion,
) -> Result<Reply, Error> {
    let tenant_id = writer(caller)?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let now = engine.ports.clock.now();
    let mut faults = Faults::default();
    let source = source(&mut faults, &tenant.branding, new.default_locale, new.variants, new.variables);
    faults.end()?;
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move { changes::add_version(tx, &inner, &by, tenant_id, id, &source, now).await })
    });
    reply.await
}

/// Lists a template's versions, newest first. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn versions(
    engine: &Engine,
    caller: &Caller,
    id: TemplateId,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<VersionView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("template-versions", limit, cursor)?;
    let before = i64::try_from(window.before).unwrap_or(i64::MAX);
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            find(tx, tenant, id).await?;
            Ok::<_, Error>(templates::versions(tx, tenant, id, before, window.rows()).await?)
        })
    });
    let page = window.page(read.await?, |row| row.number.into(), |row| view::version(&row));
    Ok(Page { data: page.data.into_iter().collect::<Result<_, _>>()?, next_cursor: page.next_cursor })
}

/// Makes a version the one that is sent: the newest, or the given one. Refuses what would fail for every message. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn publish(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: TemplateId,
    which: WhichVersion,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let (template, version) = read_version(engine, caller, tenant, id, which.version).await?;
    // Compiling takes milliseconds: it is done before the transaction, and a version does not change.
    let made = match version.compiled {
        Some(_) => None,
        None => {
            let source: Source = serde_json::from_str(&version.source).map_err(Error::internal)?;
            let mut compiled = compile(template.channel, &source, &branding::sample())?;
            if let Some(rules) = &engine.tenant(tenant).await?.1.rules {
                let broken = compiled.contents.iter().flat_map(|(tag, (content, _))| broken_rules(rules, tag, content));
                compiled.warnings.extend(broken.collect::<Vec<_>>());
            }
            Some((source, compiled))
        }
    };
    let now = engine.ports.clock.now();
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move { changes::publish(tx, &inner, &by, tenant, id, version.number, made, now).await })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

/// What the tenant's rules say of a variant as it is written, for either purpose: a warning, because placeholders may still change it, and each message is looked at.
fn broken_rules(rules: &Rules, tag: &str, content: &Content) -> Vec<Warning> {
    let mut found = rules.look(content.channel(), Purpose::Marketing, content, false);
    for other in rules.look(content.channel(), Purpose::Transactional, content, false) {
        if !found.contains(&other) {
            found.push(other);
        }
    }
    let warning = |one: Violation| Warning {
        pointer: one.pointer.replacen("/content", &format!("/variants/{tag}"), 1),
        code: content_rules::REFUSED.to_owned(),
        detail: format!("{} ({})", one.detail, one.rule),
    };
    found.into_iter().map(warning).collect()
}

/// Takes the published version back: the one before it, or the given one, is sent again. Needs the scope `templates:write`.
#[crate::boxed]
pub async fn roll_back(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    id: TemplateId,
    which: WhichVersion,
) -> Result<Reply, Error> {
    let tenant = writer(caller)?;
    let now = engine.ports.clock.now();
    let (inner, by) = (engine.parts().clone(), caller.clone());
    let reply = once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move { changes::roll_back(tx, &inner, &by, tenant, id, which.version, now).await })
    })
    .await?;
    engine.directory.catch_up().await;
    Ok(reply)
}

fn reader(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("templates:read")?;
    caller.need_tenant()
}

fn writer(caller: &Caller) -> Result<TenantId, Error> {
    caller.need("templates:write")?;
    caller.need_tenant()
}

async fn find(tx: &mut Tx, tenant: TenantId, id: TemplateId) -> Result<templates::Template, Error> {
    templates::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("template"))
}

/// A template with one of its versions: the given one, or the newest.
async fn read_version(
    engine: &Engine,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    number: Option<u32>,
) -> Result<(templates::Template, templates::Version), Error> {
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            let template = find(tx, tenant, id).await?;
            let number = number.unwrap_or(template.newest);
            let version = templates::find_version(tx, tenant, id, number).await?.ok_or_else(no_version)?;
            Ok::<_, Error>((template, version))
        })
    });
    read.await
}

fn no_version() -> Error {
    Error::invalid("/version", "this template has no such version")
}

fn check_description(faults: &mut Faults, text: &str) {
    if text.chars().count() > DESCRIPTION_MAX || text.contains('\0') {
        faults.add("/description", format!("at most {DESCRIPTION_MAX} characters, and no NUL"));
    }
}

fn check_tracking(faults: &mut Faults, channel: Channel, rule: Option<&TrackingRule>) {
    if rule.is_some() && channel != Channel::Email {
        faults.add("/tracking", format!("only mails are tracked, and this template is for {channel}"));
    }
}

/// Checks the frame of a version. What it says is looked at when it is published.
fn source(
    faults: &mut Faults,
    branding: &branding::Branding,
    default_locale: Option<String>,
    variants: BTreeMap<String, Box<RawValue>>,
    variables: Option<Vec<Variable>>,
) -> Source {
    if variants.is_empty() || variants.len() > VARIANTS_MAX {
        faults.add("/variants", format!("1 to {VARIANTS_MAX} languages"));
    }
    let size: usize = variants.values().map(|raw| raw.get().len()).sum();
    if size > SOURCE_MAX {
        faults.add("/variants", format!("at most {SOURCE_MAX} bytes over all languages"));
    }
    let mut named = BTreeMap::new();
    for (name, raw) in variants {
        let Some(tag) = locale::parse(&name) else {
            faults.add(format!("/variants/{name}"), "not a language tag; write one such as en or pt-BR");
            continue;
        };
        if !raw.get().trim_start().starts_with('{') {
            faults.add(format!("/variants/{name}"), "expected an object");
        }
        if named.insert(tag, raw).is_some() {
            faults.add(format!("/variants/{name}"), "this language is there twice");
        }
    }
    variables::check(variables.as_deref().unwrap_or_default(), &mut faults.0);
    let preferred = default_locale.clone().or_else(|| branding.default_locale.clone());
    let preferred = preferred.as_deref().and_then(locale::parse);
    let first = named.keys().next().cloned().unwrap_or_default();
    if default_locale.is_some() && !preferred.as_ref().is_some_and(|tag| named.contains_key(tag)) {
        faults.add("/default_locale", "there is no variant in this language");
    }
    let has = |tag: &String| named.contains_key(tag);
    let default_locale = preferred.filter(has).or_else(|| Some("en".to_owned()).filter(has)).unwrap_or(first);
    Source { default_locale, variants: named, variables }
}

fn json_text<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("this has a JSON form")
}

/// The refusal of a name another template has.
fn name_taken() -> Error {
    Error {
        errors: vec![FieldError::new("/name", "another template has this name; choose another, or delete that one")],
        ..Error::conflict("name_taken", "Another template has this name. Choose another, or delete that one.")
    }
}

/// What the directory keeps of each template that can be sent.
pub(crate) type Templates = Vec<Arc<Live>>;
