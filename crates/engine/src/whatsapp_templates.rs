//! WhatsApp templates at an account's provider: listed from what was read last, submitted, deleted, and read again by a job.
//!
//! The provider decides about templates, sometimes days later and sometimes by changing a category. So what is stored is what it last showed; a job reads it every
//! quarter of an hour while something is under review and every six hours otherwise, and a reading that differs is told as `whatsapp_template.updated`.

use std::sync::{Arc, Mutex, PoisonError};

use connectors::manage::{NewTemplate, Template, TemplateStatus};
use model::{AccountId, Channel, TenantId, Timestamp, WhatsappTemplateId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{Scope, Tx, account_resources, deliveries::Delivery, whatsapp_templates as rows};
use utoipa::ToSchema;

use crate::{
    Engine, Error, Parts,
    accounts::changes::may_manage,
    audit,
    directory::Account,
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply, Secrecy, once},
    page::{Page, Window},
    provider,
};

/// Templates of one account that are kept: Meta's own limit for a verified business.
pub const TEMPLATES_MAX: usize = 6_000;
/// Longest name (Meta's limit).
const NAME_MAX: usize = 512;
/// Components of one template at most: header, body, footer, buttons, and room.
const COMPONENTS_MAX: usize = 10;
/// Largest components, in bytes of JSON: ten times Meta's longest texts.
const COMPONENTS_BYTES_MAX: usize = 64 * 1024;
const CATEGORIES: &[&str] = &["UTILITY", "MARKETING", "AUTHENTICATION"];
/// Wait between two readings while a template is under review, and otherwise, in milliseconds. Meta allows 200 management calls an hour.
const REVIEWED_MS: i64 = 15 * 60_000;
const IDLE_MS: i64 = 6 * 3_600_000;
/// Accounts read in one run of the job.
const PAGE: i64 = 10;

/// A template to be submitted.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWhatsappTemplate {
    /// Lower-case letters, digits and `_`.
    #[schema(example = "order_update")]
    pub name: String,
    /// Such as `en` or `pt_BR`.
    #[schema(example = "en")]
    pub language: String,
    /// `UTILITY`, `MARKETING` or `AUTHENTICATION`.
    #[schema(example = "UTILITY")]
    pub category: String,
    /// Components in Meta's form: `HEADER`, `BODY`, `FOOTER`, `BUTTONS`. A body with placeholders brings example values.
    #[schema(value_type = Vec<Object>)]
    pub components: Vec<Value>,
}

/// A template as its provider last showed it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WhatsappTemplateView {
    /// Its name: what messages refer to it by.
    pub name: String,
    /// Its language.
    pub language: String,
    /// The provider's id. Twilio's and Gupshup's messages refer to it instead of the name.
    pub provider_id: String,
    /// In the provider's words; it may change what was asked for.
    pub category: String,
    /// `draft`, `submitted`, `approved`, `rejected`, `paused`, `disabled` or `deleted`.
    #[schema(example = "approved")]
    pub status: String,
    /// `GREEN`, `YELLOW`, `RED`, or nothing where it is not rated.
    pub quality: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Its components, as far as the provider shows them.
    #[schema(value_type = Vec<Object>)]
    pub components: Value,
    /// When we first saw it.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When anything about it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When the provider was last asked.
    #[schema(value_type = String, format = DateTime)]
    pub synced_at: Timestamp,
}

/// What a reading came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct WhatsappTemplateSync {
    /// Templates the provider showed.
    pub total: usize,
    /// New ones and those that changed.
    pub changed: usize,
    /// Those the provider no longer shows.
    pub gone: usize,
    /// When this was.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Lists an account's templates as they were last read, newest first. Needs the scope `accounts:read`.
#[crate::boxed]
pub async fn list(
    parts: &Parts,
    caller: &Caller,
    id: AccountId,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<WhatsappTemplateView>, Error> {
    caller.need("accounts:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("whatsapp_templates", limit, cursor)?;
    provider::account(parts, tenant, id).await?;
    let read = parts.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            rows::list(tx, tenant, id, WhatsappTemplateId::from_ulid(window.before), window.rows()).await
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view(&row)))
}

/// Submits a template at the account's provider. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn create(
    parts: &Parts,
    caller: &Caller,
    repeat: &Repeat,
    id: AccountId,
    new: NewWhatsappTemplate,
) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(parts, caller, repeat).await? {
        return Ok(before);
    }
    let account = whatsapp_account(parts, tenant, id).await?;
    may_manage(caller, &account.channels)?;
    let new = checked(new)?;
    let offered = account.connector.templates().filter(|offered| {
        let cx = account.cx(parts.ports.clock.now());
        offered.create(&cx, &new, &[]).is_some()
    });
    let offered = offered.ok_or_else(|| provider::not_offered(&account, "", "making WhatsApp templates"))?;
    let driven = provider::drive(parts, &account, |cx, answers| {
        offered.create(cx, &new, answers).unwrap_or_else(|| Err(unoffered()))
    });
    let made = driven.await.map_err(provider::refusal)?;
    let now = parts.ports.clock.now();
    let row = row(&account, &made, WhatsappTemplateId::from_ulid(parts.ports.ids.ulid(now)), now);
    let (ids, by) = (Arc::clone(&parts.ports.ids), caller.clone());
    once(parts, caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            crate::accounts::find(tx, tenant, id).await?;
            rows::put(tx, &row).await?;
            account_resources::put_templates(tx, tenant, id, None, None, now.plus_millis(REVIEWED_MS)).await?;
            let detail = serde_json::json!({"name": row.name, "language": row.language, "category": row.category, "status": row.status});
            audit::record(tx, tenant, &ids, now, &by, "whatsapp_template.created", id, &detail).await?;
            Ok(view(&row))
        })
    })
    .await
}

/// Deletes a template by name, in all its languages, here and at the provider. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn delete(parts: &Parts, caller: &Caller, id: AccountId, name: &str) -> Result<(), Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    let account = provider::account(parts, tenant, id).await?;
    may_manage(caller, &account.channels)?;
    let read = parts.ports.db.read(caller.reach(), move |tx| Box::pin(async move { rows::all(tx, tenant, id).await }));
    let found: Vec<_> = read.await?.into_iter().filter(|row| row.name == name).collect();
    if found.is_empty() {
        return Err(Error::not_found("WhatsApp template"));
    }
    let offered = account
        .connector
        .templates()
        .ok_or_else(|| provider::not_offered(&account, "", "deleting WhatsApp templates"))?;
    for row in &found {
        let template = template(row);
        let cx = account.cx(parts.ports.clock.now());
        if offered.remove(&cx, &template, &[]).is_none() {
            return Err(provider::not_offered(&account, "", "deleting WhatsApp templates"));
        }
        let driven = provider::drive(parts, &account, |cx, answers| {
            offered.remove(cx, &template, answers).unwrap_or_else(|| Err(unoffered()))
        });
        driven.await.map_err(provider::refusal)?;
    }
    let (now, ids, by, name) = (parts.ports.clock.now(), Arc::clone(&parts.ports.ids), caller.clone(), name.to_owned());
    let write = parts.ports.db.write(caller.reach(), move |tx| {
        Box::pin(async move {
            for row in &found {
                rows::remove(tx, tenant, row.id).await?;
            }
            let detail = serde_json::json!({ "name": name });
            audit::record(tx, tenant, &ids, now, &by, "whatsapp_template.deleted", id, &detail).await
        })
    });
    write.await
}

/// Reads the account's templates at its provider, now. Needs the scope `accounts:write`.
#[crate::boxed]
pub async fn sync(engine: &Engine, caller: &Caller, repeat: &Repeat, id: AccountId) -> Result<Reply, Error> {
    caller.need("accounts:write")?;
    let tenant = caller.need_tenant()?;
    if let Some(before) = once::replay(engine.parts(), caller, repeat).await? {
        return Ok(before);
    }
    let account = whatsapp_account(engine.parts(), tenant, id).await?;
    may_manage(caller, &account.channels)?;
    if account.connector.templates().is_none() {
        return Err(provider::not_offered(&account, "", "WhatsApp templates"));
    }
    read_now(engine, caller, repeat, &account).await
}

/// Reads the templates of accounts whose time has come. Answers how many accounts. Run every minute.
#[crate::boxed]
pub async fn resync(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let read = engine
        .ports
        .db
        .read(Scope::System, move |tx| Box::pin(async move { account_resources::templates_due(tx, now, PAGE).await }));
    let due = read.await?;
    let count = due.len() as u64;
    for (tenant, id) in due {
        let caller = Caller::system(Some(tenant));
        let outcome = match provider::account(engine.parts(), tenant, id).await {
            Ok(account) => read_now(engine, &caller, &Repeat::NONE, &account).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::info!(account.id = %id, %error, "WhatsApp templates could not be read");
            let (detail, again) = (error.detail, now.plus_millis(IDLE_MS));
            let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
                Box::pin(
                    async move { account_resources::put_templates(tx, tenant, id, None, Some(&detail), again).await },
                )
            });
            write.await?;
        }
    }
    Ok(count)
}

async fn read_now(engine: &Engine, caller: &Caller, repeat: &Repeat, account: &Account) -> Result<Reply, Error> {
    let parts = engine.parts();
    let Some(offered) = account.connector.templates() else {
        return Err(provider::not_offered(account, "", "WhatsApp templates"));
    };
    let own = own_list(parts, account, offered).await?;
    let mut found = match own {
        Some(found) => found,
        None => {
            let driven = provider::drive(parts, account, |cx, answers| offered.list(cx, answers)).await;
            driven.map_err(provider::refusal)?
        }
    };
    found.truncate(TEMPLATES_MAX);
    let now = parts.ports.clock.now();
    let (tenant_id, id) = (account.tenant_id, account.id);
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let seen: Vec<_> = found
        .iter()
        .map(|template| row(account, template, WhatsappTemplateId::from_ulid(parts.ports.ids.ulid(now)), now))
        .collect();
    let told = Arc::new(Mutex::new(Vec::<Delivery>::new()));
    let (tell, ids, shard) = (Arc::clone(&told), Arc::clone(&parts.ports.ids), engine.shard());
    let reply = once(parts, caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            crate::accounts::find(tx, tenant_id, id).await?;
            let difference = fold(rows::all(tx, tenant_id, id).await?, seen);
            if !difference.changed.is_empty() || !difference.gone.is_empty() {
                // What a message costs depends on its template's category.
                store::tenants::bump(tx, Some(tenant_id)).await?;
            }
            let mut deliveries = Vec::new();
            for row in &difference.kept {
                rows::put(tx, row).await?;
            }
            for row in &difference.changed {
                rows::put(tx, row).await?;
                let data = Told { account_id: id, template: view(row) };
                deliveries
                    .extend(provider::tell(tx, &tenant, "whatsapp_template.updated", &data, now, &ids, shard).await?);
            }
            for row in &difference.gone {
                rows::remove(tx, tenant_id, row.id).await?;
                let gone = WhatsappTemplateView { status: TemplateStatus::Deleted.as_str().to_owned(), ..view(row) };
                let data = Told { account_id: id, template: gone };
                deliveries
                    .extend(provider::tell(tx, &tenant, "whatsapp_template.updated", &data, now, &ids, shard).await?);
            }
            let all = difference.kept.iter().chain(&difference.changed);
            let is_reviewed = all.clone().any(|row| row.status == TemplateStatus::Submitted.as_str());
            let again = now.plus_millis(if is_reviewed { REVIEWED_MS } else { IDLE_MS });
            account_resources::put_templates(tx, tenant_id, id, Some(now), None, again).await?;
            *tell.lock().unwrap_or_else(PoisonError::into_inner) = deliveries;
            Ok(WhatsappTemplateSync {
                total: all.count(),
                changed: difference.changed.len(),
                gone: difference.gone.len(),
                at: now,
            })
        })
    })
    .await?;
    let told = std::mem::take(&mut *told.lock().unwrap_or_else(PoisonError::into_inner));
    provider::wake(engine, tenant_id, &told);
    Ok(reply)
}

/// What is known here, as it would be read now, where the provider keeps no list of its own.
async fn own_list(
    parts: &Parts,
    account: &Account,
    offered: &dyn connectors::manage::Templates,
) -> Result<Option<Vec<Template>>, Error> {
    if offered.keeps_list() {
        return Ok(None);
    }
    let (tenant, id) = (account.tenant_id, account.id);
    let read =
        parts.ports.db.read(Scope::Tenant(tenant), move |tx| Box::pin(async move { rows::all(tx, tenant, id).await }));
    Ok(Some(read.await?.iter().filter_map(|row| offered.reviewed(&template(row))).collect()))
}

/// What an event says.
#[derive(Serialize)]
struct Told {
    account_id: AccountId,
    template: WhatsappTemplateView,
}

/// What a reading changes.
#[derive(Debug, PartialEq)]
struct Difference {
    /// As they were, but for the time of the reading.
    kept: Vec<rows::WhatsappTemplate>,
    /// New, or different.
    changed: Vec<rows::WhatsappTemplate>,
    /// No longer shown.
    gone: Vec<rows::WhatsappTemplate>,
}

/// Compares what is stored with what was seen.
fn fold(stored: Vec<rows::WhatsappTemplate>, seen: Vec<rows::WhatsappTemplate>) -> Difference {
    let mut difference = Difference { kept: Vec::new(), changed: Vec::new(), gone: Vec::new() };
    let is_same = |a: &rows::WhatsappTemplate, b: &rows::WhatsappTemplate| a.name == b.name && a.language == b.language;
    for mut new in seen {
        if difference.kept.iter().chain(&difference.changed).any(|other| is_same(other, &new)) {
            continue;
        }
        let Some(old) = stored.iter().find(|old| is_same(old, &new)) else {
            difference.changed.push(new);
            continue;
        };
        (new.id, new.created_at) = (old.id, old.created_at);
        // A list may show less of a template than its making did.
        if new.components == "[]" {
            new.components.clone_from(&old.components);
        }
        let told = |row: &rows::WhatsappTemplate| {
            (row.provider_id.clone(), row.category.clone(), row.status.clone(), row.quality.clone(), row.reason.clone())
        };
        if told(old) == told(&new) {
            new.updated_at = old.updated_at;
            difference.kept.push(new);
        } else {
            difference.changed.push(new);
        }
    }
    let is_seen =
        |old: &rows::WhatsappTemplate| difference.kept.iter().chain(&difference.changed).any(|new| is_same(old, new));
    difference.gone = stored.iter().filter(|old| !is_seen(old)).cloned().collect();
    difference
}

fn unoffered() -> model::Failure {
    model::Failure::new(model::FailureKind::Content, "not_offered", "The provider offers this on its own pages only.")
}

async fn whatsapp_account(parts: &Parts, tenant: TenantId, id: AccountId) -> Result<Arc<Account>, Error> {
    let account = provider::account(parts, tenant, id).await?;
    if !account.channels.contains(&Channel::Whatsapp) {
        return Err(Error::conflict("not_whatsapp", format!("The account {} does not carry WhatsApp.", account.name)));
    }
    Ok(account)
}

fn checked(new: NewWhatsappTemplate) -> Result<NewTemplate, Error> {
    let mut faults = Faults::default();
    let is_name = |text: &str| {
        !text.is_empty()
            && text.len() <= NAME_MAX
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    if !is_name(&new.name) {
        faults.add("/name", format!("1 to {NAME_MAX} characters of a-z, 0-9 and _"));
    }
    let is_language =
        |text: &str| (2..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    if !is_language(&new.language) {
        faults.add("/language", "a language as WhatsApp writes it, such as en, en_US or pt_BR");
    }
    let category = new.category.to_ascii_uppercase();
    if !CATEGORIES.contains(&category.as_str()) {
        faults.add("/category", format!("one of {}", CATEGORIES.join(", ")));
    }
    let has_body = new.components.iter().any(|component| {
        component["type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("BODY"))
            && component["text"].is_string()
    });
    if new.components.is_empty() || new.components.len() > COMPONENTS_MAX {
        faults.add("/components", format!("1 to {COMPONENTS_MAX} components"));
    } else if !has_body && category != "AUTHENTICATION" {
        faults.add("/components", "a template needs a component of type BODY with a text");
    }
    if serde_json::to_string(&new.components).map_or(0, |text| text.len()) > COMPONENTS_BYTES_MAX {
        faults.add("/components", format!("at most {COMPONENTS_BYTES_MAX} bytes"));
    }
    faults.end()?;
    Ok(NewTemplate { name: new.name, language: new.language, category, components: new.components })
}

fn row(account: &Account, template: &Template, id: WhatsappTemplateId, now: Timestamp) -> rows::WhatsappTemplate {
    rows::WhatsappTemplate {
        id,
        tenant_id: account.tenant_id,
        account_id: account.id,
        name: template.name.clone(),
        language: template.language.clone(),
        provider_id: template.id.clone(),
        category: template.category.to_ascii_uppercase(),
        status: template.status.as_str().to_owned(),
        quality: template.quality.clone(),
        reason: template.reason.clone(),
        components: Value::from(template.components.clone()).to_string(),
        created_at: now,
        updated_at: now,
        synced_at: now,
    }
}

fn template(row: &rows::WhatsappTemplate) -> Template {
    Template {
        name: row.name.clone(),
        language: row.language.clone(),
        id: row.provider_id.clone(),
        category: row.category.clone(),
        status: TemplateStatus::read(&row.status),
        quality: row.quality.clone(),
        reason: row.reason.clone(),
        components: Vec::new(),
    }
}

fn view(row: &rows::WhatsappTemplate) -> WhatsappTemplateView {
    WhatsappTemplateView {
        name: row.name.clone(),
        language: row.language.clone(),
        provider_id: row.provider_id.clone(),
        category: row.category.clone(),
        status: row.status.clone(),
        quality: row.quality.clone(),
        reason: row.reason.clone(),
        components: serde_json::from_str(&row.components).unwrap_or(Value::Array(Vec::new())),
        created_at: row.created_at,
        updated_at: row.updated_at,
        synced_at: row.synced_at,
    }
}

/// Makes an account's templates due for a reading: its provider says that one changed.
pub(crate) async fn nudge(tx: &mut Tx, tenant: TenantId, account: AccountId, now: Timestamp) -> Result<(), Error> {
    Ok(account_resources::put_templates(tx, tenant, account, None, None, now).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(name: &str, status: &str, second: i64) -> rows::WhatsappTemplate {
        let at = Timestamp::from_seconds(second);
        rows::WhatsappTemplate {
            id: WhatsappTemplateId::from_ulid(second as u128),
            tenant_id: TenantId::from_ulid(1),
            account_id: AccountId::from_ulid(2),
            name: name.to_owned(),
            language: "en".to_owned(),
            provider_id: name.to_owned(),
            category: "UTILITY".to_owned(),
            status: status.to_owned(),
            quality: None,
            reason: None,
            components: "[]".to_owned(),
            created_at: at,
            updated_at: at,
            synced_at: at,
        }
    }

    #[test]
    fn a_reading_keeps_changes_and_forgets() {
        let before =
            vec![stored("kept", "approved", 1), stored("changed", "submitted", 1), stored("gone", "approved", 1)];
        let now = vec![stored("kept", "approved", 9), stored("changed", "rejected", 9), stored("new", "submitted", 9)];
        let difference = fold(before, now);
        let names = |rows: &[rows::WhatsappTemplate]| rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&difference.kept), ["kept"]);
        assert_eq!(names(&difference.changed), ["changed", "new"]);
        assert_eq!(names(&difference.gone), ["gone"]);
        let kept = &difference.kept[0];
        assert_eq!(
            (kept.created_at.as_seconds(), kept.updated_at.as_seconds(), kept.synced_at.as_seconds()),
            (1, 1, 9)
        );
        let changed = &difference.changed[0];
        assert_eq!((changed.created_at.as_seconds(), changed.updated_at.as_seconds()), (1, 9));
    }

    #[test]
    fn what_no_provider_takes_is_refused_by_field() {
        let new = |name: &str, language: &str, category: &str, components: Value| NewWhatsappTemplate {
            name: name.to_owned(),
            language: language.to_owned(),
            category: category.to_owned(),
            components: components.as_array().cloned().unwrap_or_default(),
        };
        let body = serde_json::json!([{"type": "BODY", "text": "Hi"}]);
        assert!(checked(new("order_update", "pt_BR", "utility", body.clone())).is_ok());
        let refused =
            checked(new("Order", "english", "NEWS", serde_json::json!([{"type": "FOOTER", "text": "x"}]))).unwrap_err();
        let pointers: Vec<_> = refused.errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/category", "/components"]);
        assert!(checked(new("a", "e", "UTILITY", body)).is_err());
    }
}
