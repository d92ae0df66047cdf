//! The attributes a tenant's contacts have, and the column of `contacts` each lies in.

use model::{ContactId, TenantId, Timestamp};

use crate::{Column, Error, Owned, Param, Row, Tx, Value, contacts::SLOTS};

/// What an attribute holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttributeKind {
    /// A text.
    Text,
    /// Texts.
    List,
    /// A number in millionths.
    Number,
    /// 0 or 1.
    Boolean,
    /// An instant in microseconds.
    Date,
}

impl AttributeKind {
    const ALL: [Self; 5] = [Self::Text, Self::List, Self::Number, Self::Boolean, Self::Date];

    const fn code(self) -> i64 {
        self as i64
    }

    /// True when it lies among the texts of a contact, false when among its numbers.
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::List)
    }
}

impl Param for AttributeKind {
    fn value(&self) -> Value<'_> {
        Value::Int(self.code())
    }
}

impl Column for AttributeKind {
    fn read(value: Owned) -> Option<Self> {
        let code = i64::read(value)?;
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// A row of `contact_attributes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name, as in `contact.attributes.plan`.
    pub name: String,
    /// What it holds.
    pub kind: AttributeKind,
    /// Which of the contact's texts or numbers it is, from 0.
    pub slot: usize,
    /// When it was made.
    pub created_at: Timestamp,
}

const fn bank(kind: AttributeKind) -> &'static str {
    if kind.is_text() { "t" } else { "n" }
}

fn read(mut row: Row) -> Result<Attribute, Error> {
    let slot: i64 = row.get(2)?;
    Ok(Attribute {
        name: row.get(0)?,
        kind: row.get(1)?,
        slot: usize::try_from(slot).ok().filter(|slot| *slot < SLOTS).ok_or(Error::Decode { column: 2 })?,
        created_at: row.get(3)?,
    })
}

/// All attributes of a tenant, by name. There are few.
pub async fn all(tx: &mut Tx, tenant: TenantId) -> Result<Vec<Attribute>, Error> {
    let sql = "SELECT name, kind, slot, created_at FROM contact_attributes WHERE tenant_id = $1 AND removed_at IS NULL ORDER BY name";
    tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect()
}

/// Adds an attribute in the first free column of its kind. `None` when there is none left, or the name is taken.
pub async fn add(
    tx: &mut Tx,
    tenant: TenantId,
    name: &str,
    kind: AttributeKind,
    now: Timestamp,
) -> Result<Option<Attribute>, Error> {
    // Also those that were removed: their column is not empty yet.
    let sql = "SELECT name, kind, slot, created_at FROM contact_attributes WHERE tenant_id = $1";
    let known = tx.rows(sql, &[&tenant]).await?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let is_free = |slot: &usize| known.iter().all(|a| a.kind.is_text() != kind.is_text() || a.slot != *slot);
    let Some(slot) = (0..SLOTS).find(is_free) else { return Ok(None) };
    let sql = "INSERT INTO contact_attributes (tenant_id, name, kind, bank, slot, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let added = tx.execute(sql, &[&tenant, &name, &kind, &bank(kind), &(slot as i64), &now]).await?;
    Ok((added == 1).then(|| Attribute { name: name.to_owned(), kind, slot, created_at: now }))
}

/// Removes an attribute; what contacts have of it goes in steps of [`empty_some`], and until then its column stays taken. `false` when there was none.
pub async fn remove(tx: &mut Tx, tenant: TenantId, name: &str, now: Timestamp) -> Result<bool, Error> {
    // Nobody can choose such a name, so another attribute may have the old one at once.
    let gone = format!("removed {} {name}", now.as_micros());
    let sql = "UPDATE contact_attributes SET name = $1, removed_at = $2, emptied = $3 WHERE tenant_id = $4 AND name = $5 AND removed_at IS NULL";
    Ok(tx.execute(sql, &[&gone, &now, &ContactId::from_ulid(0), &tenant, &name]).await? == 1)
}

/// An attribute that was removed while contacts still have values of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Whose.
    pub tenant_id: TenantId,
    /// The name it has until it is gone.
    pub name: String,
    /// What it held.
    pub kind: AttributeKind,
    /// Which of the contact's texts or numbers it is.
    pub slot: usize,
    /// The contact it has come to.
    pub emptied: ContactId,
    /// When it was removed.
    pub removed_at: Timestamp,
}

/// Up to `limit` attributes that were removed and are not gone, of one tenant or of all.
pub async fn removed(tx: &mut Tx, tenant: Option<TenantId>, limit: i64) -> Result<Vec<Removed>, Error> {
    let columns =
        "SELECT tenant_id, name, kind, slot, emptied, removed_at FROM contact_attributes WHERE removed_at IS NOT NULL";
    let rows = match tenant {
        Some(tenant) => {
            let sql = format!("{columns} AND tenant_id = $1 ORDER BY tenant_id, name LIMIT $2");
            tx.rows(&sql, &[&tenant, &limit]).await?
        }
        None => tx.rows(&format!("{columns} ORDER BY tenant_id, name LIMIT $1"), &[&limit]).await?,
    };
    let read = |mut row: Row| {
        let slot: i64 = row.get(3)?;
        Ok(Removed {
            tenant_id: row.get(0)?,
            name: row.get(1)?,
            kind: row.get(2)?,
            slot: usize::try_from(slot).ok().filter(|slot| *slot < SLOTS).ok_or(Error::Decode { column: 3 })?,
            emptied: row.get(4)?,
            removed_at: row.get(5)?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// Empties the column of a removed attribute for the next `limit` contacts and answers where it came to; `None` once it and its column are gone.
pub async fn empty_some(tx: &mut Tx, removed: &Removed, limit: i64) -> Result<Option<ContactId>, Error> {
    let (tenant, name) = (removed.tenant_id, &removed.name);
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT emptied FROM contact_attributes WHERE tenant_id = $1 AND name = $2 {lock}");
    let Some(mut row) = tx.row(&sql, &[&tenant, name]).await? else { return Ok(None) };
    let after: ContactId = row.get(0)?;
    let sql = "SELECT id FROM contacts WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT 1 OFFSET $3";
    let last = tx.row(sql, &[&tenant, &after, &(limit - 1)]).await?.map(|mut row| row.get(0)).transpose()?;
    let until = last.unwrap_or(ContactId::from_ulid(u128::MAX));
    let column = column(removed.kind, removed.slot);
    let sql = format!(
        "UPDATE contacts SET {column} = NULL WHERE tenant_id = $1 AND id > $2 AND id <= $3 AND {column} IS NOT NULL"
    );
    tx.execute(&sql, &[&tenant, &after, &until]).await?;
    let sql = match last {
        Some(_) => "UPDATE contact_attributes SET emptied = $3 WHERE tenant_id = $1 AND name = $2",
        None => {
            let sql = "DELETE FROM contact_attributes WHERE tenant_id = $1 AND name = $2";
            tx.execute(sql, &[&tenant, name]).await?;
            return Ok(None);
        }
    };
    tx.execute(sql, &[&tenant, name, &until]).await?;
    Ok(last)
}

/// The column of `contacts` a slot is.
pub(crate) fn column(kind: AttributeKind, slot: usize) -> String {
    format!("{}{}", bank(kind), slot + 1)
}
