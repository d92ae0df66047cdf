//! Templates and their versions. What a published version says lies in `contents`, where messages find it.

use model::{Channel, TemplateId, TenantId, Timestamp};

use crate::{
    Dialect, Error, Param, Row, Tx,
    messages::{ContentId, OfTemplate},
};

/// A row of `templates`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which one.
    pub id: TemplateId,
    /// Unique among the tenant's templates that were not deleted.
    pub name: String,
    /// Over which channel its messages go.
    pub channel: Channel,
    /// What it is for, for people.
    pub description: String,
    /// True for the one that is taken when a request names none.
    pub is_default: bool,
    /// What is tracked, as JSON; `None` for the tenant's own rule.
    pub tracking: Option<String>,
    /// The version that is sent.
    pub published: Option<u32>,
    /// The highest number a version has.
    pub newest: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was deleted.
    pub deleted_at: Option<Timestamp>,
}

const COLUMNS: &str = "tenant_id, id, name, channel, description, is_default, tracking, published, newest, created_at, updated_at, deleted_at";

fn read(mut row: Row) -> Result<Template, Error> {
    let row = &mut row;
    Ok(Template {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        channel: row.get(3)?,
        description: row.get(4)?,
        is_default: row.get(5)?,
        tracking: row.get(6)?,
        published: row.get(7)?,
        newest: row.get(8)?,
        created_at: row.get(9)?,
        updated_at: row.get(10)?,
        deleted_at: row.get(11)?,
    })
}

/// Adds a template.
pub async fn insert(tx: &mut Tx, template: &Template) -> Result<(), Error> {
    let sql = format!("INSERT INTO templates ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
    let t = template;
    let params: [&dyn Param; 12] = [
        &t.tenant_id,
        &t.id,
        &t.name,
        &t.channel,
        &t.description,
        &t.is_default,
        &t.tracking,
        &t.published,
        &t.newest,
        &t.created_at,
        &t.updated_at,
        &t.deleted_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, template: &Template) -> Result<(), Error> {
    let t = template;
    let params: [&dyn Param; 10] = [
        &t.name,
        &t.description,
        &t.is_default,
        &t.tracking,
        &t.published,
        &t.newest,
        &t.updated_at,
        &t.deleted_at,
        &t.tenant_id,
        &t.id,
    ];
    tx.execute(
        "UPDATE templates SET name = $1, description = $2, is_default = $3, tracking = $4, published = $5, newest = $6, updated_at = $7, deleted_at = $8
         WHERE tenant_id = $9 AND id = $10",
        &params,
    )
    .await
    .map(drop)
}

/// One of the tenant's templates, unless it was deleted.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: TemplateId) -> Result<Option<Template>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM templates WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's template of that name, unless it was deleted.
pub async fn find_by_name(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<Option<Template>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM templates WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL");
    tx.row(&sql, &[&tenant, &name]).await?.map(read).transpose()
}

/// The tenant's templates that were not deleted, newest first, made before `before`; of one channel or of that name, when given.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    channel: Option<Channel>,
    name: Option<&str>,
    before: TemplateId,
    limit: i64,
) -> Result<Vec<Template>, Error> {
    let mut sql = format!("SELECT {COLUMNS} FROM templates WHERE tenant_id = $1 AND id < $2 AND deleted_at IS NULL");
    let mut params: Vec<&dyn Param> = vec![&tenant, &before];
    if let Some(channel) = &channel {
        params.push(channel);
        sql.push_str(&format!(" AND channel = ${}", params.len()));
    }
    if let Some(name) = &name {
        params.push(name);
        sql.push_str(&format!(" AND name = ${}", params.len()));
    }
    params.push(&limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
    tx.rows(&sql, &params).await?.into_iter().map(read).collect()
}

/// How many templates the tenant has that were not deleted.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<u64, Error> {
    let sql = "SELECT COUNT(*) FROM templates WHERE tenant_id = $1 AND deleted_at IS NULL";
    tx.row(sql, &[&tenant]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// Takes the mark of the default from the tenant's templates of a channel.
pub async fn clear_default(tx: &mut Tx, tenant: TenantId, channel: Channel) -> Result<(), Error> {
    let sql = "UPDATE templates SET is_default = $1 WHERE tenant_id = $2 AND channel = $3 AND is_default = $4";
    tx.execute(sql, &[&false, &tenant, &channel, &true]).await.map(drop)
}

/// A row of `template_versions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which template.
    pub template_id: TemplateId,
    /// From 1.
    pub number: u32,
    /// `draft`, `published`, `superseded` or `rolled_back`.
    pub state: String,
    /// What was written, as JSON.
    pub source: String,
    /// What publishing made of it, as JSON.
    pub compiled: Option<String>,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was last published.
    pub published_at: Option<Timestamp>,
    /// When it was last replaced or rolled back.
    pub ended_at: Option<Timestamp>,
}

const VERSION_COLUMNS: &str =
    "tenant_id, template_id, number, state, source, compiled, created_at, published_at, ended_at";

fn read_version(mut row: Row) -> Result<Version, Error> {
    let row = &mut row;
    Ok(Version {
        tenant_id: row.get(0)?,
        template_id: row.get(1)?,
        number: row.get(2)?,
        state: row.get(3)?,
        source: row.get(4)?,
        compiled: row.get(5)?,
        created_at: row.get(6)?,
        published_at: row.get(7)?,
        ended_at: row.get(8)?,
    })
}

/// Adds a version.
pub async fn insert_version(tx: &mut Tx, version: &Version) -> Result<(), Error> {
    let sql = format!("INSERT INTO template_versions ({VERSION_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    let v = version;
    let params: [&dyn Param; 9] = [
        &v.tenant_id,
        &v.template_id,
        &v.number,
        &v.state,
        &v.source,
        &v.compiled,
        &v.created_at,
        &v.published_at,
        &v.ended_at,
    ];
    tx.execute(&sql, &params).await.map(drop)
}

/// Writes a version's state and what publishing made of it.
pub async fn update_version(tx: &mut Tx, version: &Version) -> Result<(), Error> {
    let v = version;
    let params: [&dyn Param; 7] =
        [&v.state, &v.compiled, &v.published_at, &v.ended_at, &v.tenant_id, &v.template_id, &v.number];
    tx.execute(
        "UPDATE template_versions SET state = $1, compiled = $2, published_at = $3, ended_at = $4 WHERE tenant_id = $5 AND template_id = $6 AND number = $7",
        &params,
    )
    .await
    .map(drop)
}

/// One version of one of the tenant's templates.
pub async fn find_version(
    tx: &mut Tx,
    tenant: TenantId,
    template: TemplateId,
    number: u32,
) -> Result<Option<Version>, Error> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM template_versions WHERE tenant_id = $1 AND template_id = $2 AND number = $3"
    );
    tx.row(&sql, &[&tenant, &template, &number]).await?.map(read_version).transpose()
}

/// Versions of one of the tenant's templates with a number below `before`, newest first.
pub async fn versions(
    tx: &mut Tx,
    tenant: TenantId,
    template: TemplateId,
    before: i64,
    limit: i64,
) -> Result<Vec<Version>, Error> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM template_versions WHERE tenant_id = $1 AND template_id = $2 AND number < $3 ORDER BY number DESC LIMIT $4"
    );
    tx.rows(&sql, &[&tenant, &template, &before, &limit]).await?.into_iter().map(read_version).collect()
}

/// The version that was live before another took its place: the one that ended last. `None` when there was none.
pub async fn former(tx: &mut Tx, tenant: TenantId, template: TemplateId) -> Result<Option<Version>, Error> {
    let sql = format!(
        "SELECT {VERSION_COLUMNS} FROM template_versions WHERE tenant_id = $1 AND template_id = $2 AND state = 'superseded' ORDER BY ended_at DESC, number DESC LIMIT 1"
    );
    tx.row(&sql, &[&tenant, &template]).await?.map(read_version).transpose()
}

/// The tenant's templates that can be sent, each with what publishing made of its published version, oldest first.
pub async fn live(tx: &mut Tx, tenant: TenantId) -> Result<Vec<(Template, String)>, Error> {
    let columns = COLUMNS.split(", ").map(|name| format!("t.{name}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT {columns}, v.compiled FROM templates AS t JOIN template_versions AS v
         ON v.tenant_id = t.tenant_id AND v.template_id = t.id AND v.number = t.published
         WHERE t.tenant_id = $1 AND t.deleted_at IS NULL AND v.compiled IS NOT NULL ORDER BY t.id"
    );
    let rows = tx.rows(&sql, &[&tenant]).await?.into_iter();
    rows.map(|mut row| {
        let compiled = row.get(12)?;
        Ok((read(row)?, compiled))
    })
    .collect()
}

/// Whether a content is one a version of a template says, and not one a message made of it for itself, such as with files of its own.
pub async fn says(tx: &mut Tx, tenant: TenantId, of: OfTemplate, content: ContentId) -> Result<bool, Error> {
    let place = match tx.dialect() {
        Dialect::Sqlite => "instr",
        Dialect::Postgres => "strpos",
    };
    // As publishing writes ids of contents down.
    let id = format!("{:032x}", content.0);
    let sql = format!(
        "SELECT 1 FROM template_versions WHERE tenant_id = $1 AND template_id = $2 AND number = $3 AND {place}(compiled, $4) > 0"
    );
    Ok(tx.row(&sql, &[&tenant, &of.id, &of.version, &id]).await?.is_some())
}
