//! WhatsApp templates as providers last showed them.

use model::{AccountId, TenantId, Timestamp, WhatsappTemplateId};

use crate::{Error, Row, Tx};

/// A row of `whatsapp_templates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatsappTemplate {
    /// Which one.
    pub id: WhatsappTemplateId,
    /// Whose.
    pub tenant_id: TenantId,
    /// At which account's provider.
    pub account_id: AccountId,
    /// Its name there.
    pub name: String,
    /// Its language.
    pub language: String,
    /// The provider's id.
    pub provider_id: String,
    /// In the provider's words, upper case.
    pub category: String,
    /// Our word for where it is in its life.
    pub status: String,
    /// The provider's rating.
    pub quality: Option<String>,
    /// Why it was rejected.
    pub reason: Option<String>,
    /// Its components as JSON.
    pub components: String,
    /// When we first saw it.
    pub created_at: Timestamp,
    /// When anything about it last changed.
    pub updated_at: Timestamp,
    /// When the provider was last asked.
    pub synced_at: Timestamp,
}

const COLUMNS: &str = "id, tenant_id, account_id, name, language, provider_id, category, status, quality, reason, components, created_at, updated_at, synced_at";

fn read(mut row: Row) -> Result<WhatsappTemplate, Error> {
    let row = &mut row;
    Ok(WhatsappTemplate {
        id: row.get(0)?,
        tenant_id: row.get(1)?,
        account_id: row.get(2)?,
        name: row.get(3)?,
        language: row.get(4)?,
        provider_id: row.get(5)?,
        category: row.get(6)?,
        status: row.get(7)?,
        quality: row.get(8)?,
        reason: row.get(9)?,
        components: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        synced_at: row.get(13)?,
    })
}

/// Writes a template as it is now: a new one, or over the one of the same name and language.
pub async fn put(tx: &mut Tx, template: &WhatsappTemplate) -> Result<(), Error> {
    let t = template;
    let sql = format!(
        "INSERT INTO whatsapp_templates ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
         ON CONFLICT (account_id, name, language) DO UPDATE SET provider_id = $6, category = $7, status = $8, quality = $9, reason = $10, components = $11,
         updated_at = $13, synced_at = $14"
    );
    let params: [&dyn crate::Param; 14] = [
        &t.id,
        &t.tenant_id,
        &t.account_id,
        &t.name,
        &t.language,
        &t.provider_id,
        &t.category,
        &t.status,
        &t.quality,
        &t.reason,
        &t.components,
        &t.created_at,
        &t.updated_at,
        &t.synced_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Forgets a template.
pub async fn remove(tx: &mut Tx, tenant: TenantId, id: WhatsappTemplateId) -> Result<(), Error> {
    tx.execute("DELETE FROM whatsapp_templates WHERE id = $1 AND tenant_id = $2", &[&id, &tenant]).await.map(drop)
}

/// Forgets all templates of an account.
pub async fn remove_of_account(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<(), Error> {
    let sql = "DELETE FROM whatsapp_templates WHERE account_id = $1 AND tenant_id = $2";
    tx.execute(sql, &[&account, &tenant]).await.map(drop)
}

/// An account's templates, newest first, seen before `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    before: WhatsappTemplateId,
    limit: i64,
) -> Result<Vec<WhatsappTemplate>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM whatsapp_templates WHERE tenant_id = $1 AND account_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &account, &before, &limit]).await?.into_iter().map(read).collect()
}

/// All of an account's templates. Bounded by the engine's limit on them.
pub async fn all(tx: &mut Tx, tenant: TenantId, account: AccountId) -> Result<Vec<WhatsappTemplate>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM whatsapp_templates WHERE tenant_id = $1 AND account_id = $2 ORDER BY id");
    tx.rows(&sql, &[&tenant, &account]).await?.into_iter().map(read).collect()
}

/// What kind each of a tenant's templates is, in the provider's words, by account, name and language. Bounded by the engine's limit on them.
pub async fn categories(tx: &mut Tx, tenant: TenantId) -> Result<Vec<((AccountId, String, String), String)>, Error> {
    let sql = "SELECT account_id, name, language, category FROM whatsapp_templates WHERE tenant_id = $1 ORDER BY id";
    let read = |mut row: Row| Ok(((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?));
    tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect()
}
