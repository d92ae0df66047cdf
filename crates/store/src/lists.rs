//! Lists of contacts, and who is on them.

use model::{ContactId, ListId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// A row of `lists`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub id: ListId,
    /// Name for people.
    pub name: String,
    /// What it is for, for people.
    pub description: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its name or description last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "tenant_id, id, name, description, created_at, updated_at";

fn read(mut row: Row) -> Result<List, Error> {
    let row = &mut row;
    Ok(List {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        name: row.get(2)?,
        description: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

/// Adds a list.
pub async fn insert(tx: &mut Tx, list: &List) -> Result<(), Error> {
    let l = list;
    let sql = format!("INSERT INTO lists ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6)");
    tx.execute(&sql, &[&l.tenant_id, &l.id, &l.name, &l.description, &l.created_at, &l.updated_at]).await.map(drop)
}

/// Writes a list's name and description.
pub async fn update(tx: &mut Tx, list: &List) -> Result<(), Error> {
    let sql = "UPDATE lists SET name = $1, description = $2, updated_at = $3 WHERE tenant_id = $4 AND id = $5";
    let params: [&dyn crate::Param; 5] = [&list.name, &list.description, &list.updated_at, &list.tenant_id, &list.id];
    tx.execute(sql, &params).await.map(drop)
}

/// One of the tenant's lists.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: ListId) -> Result<Option<List>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lists WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// The tenant's lists, newest first, made before `before`.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: ListId, limit: i64) -> Result<Vec<List>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM lists WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read).collect()
}

/// How many lists the tenant has.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let row = tx.row("SELECT COUNT(*) FROM lists WHERE tenant_id = $1", &[&tenant]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Removes a list with its places; the contacts stay. `false` when there was none.
pub async fn delete(tx: &mut Tx, tenant: TenantId, id: ListId) -> Result<bool, Error> {
    tx.execute("DELETE FROM list_members WHERE tenant_id = $1 AND list_id = $2", &[&tenant, &id]).await?;
    Ok(tx.execute("DELETE FROM lists WHERE tenant_id = $1 AND id = $2", &[&tenant, &id]).await? == 1)
}

/// Puts contacts on a list. Answers how many were not on it before.
pub async fn add(
    tx: &mut Tx,
    tenant: TenantId,
    list: ListId,
    contacts: &[ContactId],
    now: Timestamp,
) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("list_id", Kind::Id),
        ("contact_id", Kind::Id),
        ("added_at", Kind::Time),
    ]);
    for contact in contacts {
        given.row([&tenant, &list, contact, &now]);
    }
    tx.insert_many("list_members", &given, "ON CONFLICT DO NOTHING").await
}

/// Takes contacts off a list. Answers how many were on it.
pub async fn remove(tx: &mut Tx, tenant: TenantId, list: ListId, contacts: &[ContactId]) -> Result<u64, Error> {
    let mut given = Given::new(&[("tenant_id", Kind::Id), ("list_id", Kind::Id), ("contact_id", Kind::Id)]);
    for contact in contacts {
        given.row([&tenant, &list, contact]);
    }
    tx.delete_many("list_members", &given).await
}

/// The lists a contact is on, oldest first.
pub async fn of_contact(tx: &mut Tx, tenant: TenantId, contact: ContactId) -> Result<Vec<ListId>, Error> {
    let sql = "SELECT list_id FROM list_members WHERE tenant_id = $1 AND contact_id = $2 ORDER BY list_id";
    tx.rows(sql, &[&tenant, &contact]).await?.into_iter().map(|mut row| row.get(0)).collect()
}
