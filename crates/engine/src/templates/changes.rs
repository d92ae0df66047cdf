//! What is written when templates change. Each function runs in one transaction, which first raises the configuration version: changes of one tenant's templates follow one another,
//! and a message planned with the version before is planned again.

use model::{TemplateId, TenantId, Timestamp};
use serde_json::json;
use store::{
    Tx,
    contents::{self, Stored},
    messages::ContentId,
    templates::{self, Template, Version},
    tenants,
};

use super::{
    Compiled, Source, TEMPLATES_MAX, TemplatePatch, VERSIONS_MAX, check_description, check_tracking, find, json_text,
    live::{Outline, content_text},
    name_taken, no_version,
    view::{self, TemplateView, VersionState, VersionView},
};
use crate::{Error, Parts, audit, keys::Caller, names::Faults, patch::Patch};

/// A version that was just written.
pub(super) fn draft(template: &Template, source: &Source, now: Timestamp) -> Version {
    Version {
        tenant_id: template.tenant_id,
        template_id: template.id,
        number: template.newest,
        state: VersionState::Draft.as_str().to_owned(),
        source: json_text(source),
        compiled: None,
        created_at: now,
        published_at: None,
        ended_at: None,
    }
}

pub(super) async fn insert(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: Template,
    first: Version,
    now: Timestamp,
) -> Result<TemplateView, Error> {
    let tenant = row.tenant_id;
    tenants::bump(tx, Some(tenant)).await?;
    if templates::count(tx, tenant).await? >= TEMPLATES_MAX {
        let detail =
            format!("There are {TEMPLATES_MAX} templates already, which is the most. Delete those nobody uses.");
        return Err(Error::conflict("too_many_templates", detail));
    }
    if templates::find_by_name(tx, tenant, &row.name).await?.is_some() {
        return Err(name_taken());
    }
    if row.is_default {
        templates::clear_default(tx, tenant, row.channel).await?;
    }
    templates::insert(tx, &row).await?;
    templates::insert_version(tx, &first).await?;
    record(tx, parts, caller, &row, "template.created", &audited(&row), now).await?;
    Ok(view::template(&row))
}

pub(super) async fn patch(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    change: TemplatePatch,
    now: Timestamp,
) -> Result<TemplateView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let before = find(tx, tenant, id).await?;
    let mut after = before.clone();
    let mut faults = Faults::default();
    after.name = change.name.required(after.name, "/name", &mut faults.0);
    after.name = faults.name("/name", &after.name);
    after.description = change.description.or(after.description, String::new());
    check_description(&mut faults, &after.description);
    after.is_default = change.default.or(after.is_default, false);
    match change.tracking {
        Patch::Keep => {}
        Patch::Clear => after.tracking = None,
        Patch::Set(rule) => {
            check_tracking(&mut faults, after.channel, Some(&rule));
            after.tracking = Some(json_text(&rule));
        }
    }
    faults.end()?;
    if after.name != before.name && templates::find_by_name(tx, tenant, &after.name).await?.is_some() {
        return Err(name_taken());
    }
    if after.is_default && !before.is_default {
        templates::clear_default(tx, tenant, after.channel).await?;
    }
    after.updated_at = now;
    templates::update(tx, &after).await?;
    let difference = audit::difference(&audited(&before), &audited(&after));
    record(tx, parts, caller, &after, "template.updated", &difference, now).await?;
    Ok(view::template(&after))
}

pub(super) async fn delete(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    now: Timestamp,
) -> Result<(), Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let mut row = find(tx, tenant, id).await?;
    (row.deleted_at, row.updated_at, row.is_default) = (Some(now), now, false);
    templates::update(tx, &row).await?;
    record(tx, parts, caller, &row, "template.deleted", &json!({"name": row.name}), now).await
}

pub(super) async fn add_version(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    source: &Source,
    now: Timestamp,
) -> Result<VersionView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let mut row = find(tx, tenant, id).await?;
    if row.newest >= VERSIONS_MAX {
        let detail = format!("This template has {VERSIONS_MAX} versions, which is the most. Make another template.");
        return Err(Error::conflict("too_many_versions", detail));
    }
    row.newest += 1;
    row.updated_at = now;
    templates::update(tx, &row).await?;
    let version = draft(&row, source, now);
    templates::insert_version(tx, &version).await?;
    record(tx, parts, caller, &row, "template.version_added", &json!({"version": row.newest}), now).await?;
    view::version(&version)
}

#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would be used once")]
pub(super) async fn publish(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    number: u32,
    made: Option<(Source, Compiled)>,
    now: Timestamp,
) -> Result<VersionView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let row = find(tx, tenant, id).await?;
    let mut version = templates::find_version(tx, tenant, id, number).await?.ok_or_else(no_version)?;
    if version.compiled.is_none() {
        let (source, compiled) = made.ok_or_else(|| Error::internal("a version was compiled and is no longer"))?;
        version.compiled = Some(json_text(&keep(tx, parts, tenant, source, compiled, now).await?));
    }
    let detail = json!({"version": {"from": row.published, "to": number}});
    let shown = put_live(tx, row.clone(), version, VersionState::Superseded, now).await?;
    record(tx, parts, caller, &row, "template.published", &detail, now).await?;
    Ok(shown)
}

pub(super) async fn roll_back(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    tenant: TenantId,
    id: TemplateId,
    number: Option<u32>,
    now: Timestamp,
) -> Result<VersionView, Error> {
    tenants::bump(tx, Some(tenant)).await?;
    let row = find(tx, tenant, id).await?;
    let Some(live) = row.published else {
        return Err(Error::conflict("nothing_published", "This template has no published version to take back."));
    };
    let version = match number {
        Some(number) if number == live => {
            return Err(Error::invalid("/version", "this is the published version; name the one to go back to"));
        }
        Some(number) => {
            let found = templates::find_version(tx, tenant, id, number).await?.ok_or_else(no_version)?;
            if found.compiled.is_none() {
                return Err(Error::invalid("/version", "this version was never published; publish it instead"));
            }
            found
        }
        None => templates::former(tx, tenant, id).await?.ok_or_else(|| {
            Error::conflict("no_former_version", "No version was published before this one. Publish another instead.")
        })?,
    };
    let detail = json!({"version": {"from": live, "to": version.number}});
    let shown = put_live(tx, row.clone(), version, VersionState::RolledBack, now).await?;
    record(tx, parts, caller, &row, "template.rolled_back", &detail, now).await?;
    Ok(shown)
}

/// Makes a compiled version the one that is sent; the one before gets `state`.
async fn put_live(
    tx: &mut Tx,
    mut row: Template,
    mut version: Version,
    state: VersionState,
    now: Timestamp,
) -> Result<VersionView, Error> {
    if let Some(former) = row.published.filter(|former| *former != version.number)
        && let Some(mut former) = templates::find_version(tx, row.tenant_id, row.id, former).await?
    {
        (former.state, former.ended_at) = (state.as_str().to_owned(), Some(now));
        templates::update_version(tx, &former).await?;
    }
    version.state = VersionState::Published.as_str().to_owned();
    (version.published_at, version.ended_at) = (Some(now), None);
    templates::update_version(tx, &version).await?;
    (row.published, row.updated_at) = (Some(version.number), now);
    templates::update(tx, &row).await?;
    view::version(&version)
}

/// Writes what a version says where messages find it.
async fn keep(
    tx: &mut Tx,
    parts: &Parts,
    tenant: TenantId,
    source: Source,
    compiled: Compiled,
    now: Timestamp,
) -> Result<Outline, Error> {
    let mut outline = Outline {
        default_locale: source.default_locale,
        contents: std::collections::BTreeMap::new(),
        variables: compiled.variables,
        warnings: compiled.warnings,
    };
    let mut rows = Vec::with_capacity(compiled.contents.len());
    for (tag, (content, needs)) in compiled.contents {
        let id = ContentId(parts.ports.ids.ulid(now));
        outline.contents.insert(tag, content_text(id));
        rows.push(Stored { tenant_id: tenant, id, body: json_text(&content), template: Some(json_text(&needs)) });
    }
    contents::insert_many(tx, &rows).await?;
    Ok(outline)
}

fn audited(row: &Template) -> serde_json::Value {
    json!({"name": row.name, "channel": row.channel, "description": row.description, "default": row.is_default, "tracking": row.tracking})
}

async fn record(
    tx: &mut Tx,
    parts: &Parts,
    caller: &Caller,
    row: &Template,
    action: &'static str,
    detail: &serde_json::Value,
    now: Timestamp,
) -> Result<(), Error> {
    audit::record(tx, row.tenant_id, &parts.ports.ids, now, caller, action, row.id, detail).await
}
