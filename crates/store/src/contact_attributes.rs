//! The attributes a tenant's contacts have, and the column of `contacts` each lies in.

use model::{TenantId, Timestamp};

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
    let sql = "SELECT name, kind, slot, created_at FROM contact_attributes WHERE tenant_id = $1 ORDER BY name";
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
    let known = all(tx, tenant).await?;
    let is_free = |slot: &usize| known.iter().all(|a| a.kind.is_text() != kind.is_text() || a.slot != *slot);
    let Some(slot) = (0..SLOTS).find(is_free) else { return Ok(None) };
    let sql = "INSERT INTO contact_attributes (tenant_id, name, kind, bank, slot, created_at) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let added = tx.execute(sql, &[&tenant, &name, &kind, &bank(kind), &(slot as i64), &now]).await?;
    Ok((added == 1).then(|| Attribute { name: name.to_owned(), kind, slot, created_at: now }))
}

/// Removes an attribute and what contacts have of it. `false` when there was none.
pub async fn remove(tx: &mut Tx, tenant: TenantId, name: &str) -> Result<bool, Error> {
    let Some(attribute) = all(tx, tenant).await?.into_iter().find(|attribute| attribute.name == name) else {
        return Ok(false);
    };
    let column = column(attribute.kind, attribute.slot);
    let sql = format!("UPDATE contacts SET {column} = NULL WHERE tenant_id = $1 AND {column} IS NOT NULL");
    tx.execute(&sql, &[&tenant]).await?;
    let sql = "DELETE FROM contact_attributes WHERE tenant_id = $1 AND name = $2";
    Ok(tx.execute(sql, &[&tenant, &name]).await? == 1)
}

/// The column of `contacts` a slot is.
pub(crate) fn column(kind: AttributeKind, slot: usize) -> String {
    format!("{}{}", bank(kind), slot + 1)
}
