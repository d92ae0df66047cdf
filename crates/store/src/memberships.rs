//! Which people belong to which tenant, and what they may do there.

use model::{TenantId, Timestamp, UserId};

use crate::{
    Error, Row, Tx,
    users::{self, User},
};

/// A row of `memberships`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Of which tenant.
    pub tenant: TenantId,
    /// Who.
    pub user: UserId,
    /// The role's word.
    pub role: String,
    /// Words of permissions beyond the role's, separated by spaces.
    pub permissions: String,
    /// Who invited them, as the audit log names actors.
    pub invited_by: String,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When role or permissions last changed.
    pub updated_at: Timestamp,
    /// When the invitation was taken up; `None` while it is open.
    pub accepted_at: Option<Timestamp>,
}

/// A membership with its tenant's name and whether that is a demo, for somebody who belongs to several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfUser {
    /// The membership.
    pub membership: Membership,
    /// The tenant's name.
    pub tenant_name: String,
    /// True for a demo tenant.
    pub is_demo: bool,
}

const COLUMNS: &str = "memberships.tenant_id, memberships.user_id, memberships.role, memberships.permissions, memberships.invited_by, memberships.created_at, \
    memberships.updated_at, memberships.accepted_at";
const WIDTH: usize = 8;

fn read(row: &mut Row, from: usize) -> Result<Membership, Error> {
    Ok(Membership {
        tenant: row.get(from)?,
        user: row.get(from + 1)?,
        role: row.get(from + 2)?,
        permissions: row.get(from + 3)?,
        invited_by: row.get(from + 4)?,
        created_at: row.get(from + 5)?,
        updated_at: row.get(from + 6)?,
        accepted_at: row.get(from + 7)?,
    })
}

/// Adds a membership; `false` when there is one already.
pub async fn insert(tx: &mut Tx, membership: &Membership) -> Result<bool, Error> {
    let sql = "INSERT INTO memberships (tenant_id, user_id, role, permissions, invited_by, created_at, updated_at, accepted_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, user_id) DO NOTHING";
    let inserted = tx
        .execute(
            sql,
            &[
                &membership.tenant,
                &membership.user,
                &membership.role,
                &membership.permissions,
                &membership.invited_by,
                &membership.created_at,
                &membership.updated_at,
                &membership.accepted_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Writes role and permissions.
pub async fn update(tx: &mut Tx, membership: &Membership) -> Result<(), Error> {
    let sql =
        "UPDATE memberships SET role = $1, permissions = $2, updated_at = $3 WHERE tenant_id = $4 AND user_id = $5";
    let Membership { tenant, user, role, permissions, updated_at, .. } = membership;
    tx.execute(sql, &[role, permissions, updated_at, tenant, user]).await?;
    Ok(())
}

/// Takes up an invitation; `false` when there is none that is open.
pub async fn accept(tx: &mut Tx, tenant: TenantId, user: UserId, now: Timestamp) -> Result<bool, Error> {
    let sql = "UPDATE memberships SET accepted_at = $1 WHERE tenant_id = $2 AND user_id = $3 AND accepted_at IS NULL";
    Ok(tx.execute(sql, &[&now, &tenant, &user]).await? == 1)
}

/// Removes a membership; `false` when there is none.
pub async fn remove(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<bool, Error> {
    let sql = "DELETE FROM memberships WHERE tenant_id = $1 AND user_id = $2";
    Ok(tx.execute(sql, &[&tenant, &user]).await? == 1)
}

/// One of the tenant's members with who that is.
pub async fn find(tx: &mut Tx, tenant: TenantId, user: UserId) -> Result<Option<(Membership, User)>, Error> {
    let sql = format!(
        "SELECT {users}, {COLUMNS} FROM memberships JOIN users ON users.id = memberships.user_id WHERE memberships.tenant_id = $1 AND memberships.user_id = $2",
        users = users::COLUMNS
    );
    tx.row(&sql, &[&tenant, &user]).await?.map(read_both).transpose()
}

fn read_both(mut row: Row) -> Result<(Membership, User), Error> {
    let user = users::read(&mut row)?;
    Ok((read(&mut row, users::COLUMNS.split(',').count())?, user))
}

/// The tenant's members that were made before `before`, newest first, open invitations among them.
pub async fn list(tx: &mut Tx, tenant: TenantId, before: UserId, limit: i64) -> Result<Vec<(Membership, User)>, Error> {
    let sql = format!(
        "SELECT {users}, {COLUMNS} FROM memberships JOIN users ON users.id = memberships.user_id
         WHERE memberships.tenant_id = $1 AND memberships.user_id < $2 ORDER BY memberships.user_id DESC LIMIT $3",
        users = users::COLUMNS
    );
    tx.rows(&sql, &[&tenant, &before, &limit]).await?.into_iter().map(read_both).collect()
}

/// How many members the tenant has, open invitations among them.
pub async fn count(tx: &mut Tx, tenant: TenantId) -> Result<i64, Error> {
    let row = tx.row("SELECT COUNT(*) FROM memberships WHERE tenant_id = $1", &[&tenant]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// The e-mail addresses of those who have one of these roles in the tenant and took up their invitation, `limit` at most: those of the first role first, and then who was made a user first.
pub async fn emails(
    tx: &mut Tx,
    tenant: TenantId,
    [first, other]: [&str; 2],
    limit: i64,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT users.email FROM memberships JOIN users ON users.id = memberships.user_id
        WHERE memberships.tenant_id = $1 AND memberships.role IN ($2, $3) AND memberships.accepted_at IS NOT NULL
        ORDER BY memberships.role <> $2, memberships.user_id LIMIT $4";
    tx.rows(sql, &[&tenant, &first, &other, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// How many others than `user` have this role in the tenant and took up their invitation. Their rows stay as they are until the transaction ends.
pub async fn others_with_role(tx: &mut Tx, tenant: TenantId, user: UserId, role: &str) -> Result<usize, Error> {
    let sql = format!(
        "SELECT user_id FROM memberships WHERE tenant_id = $1 AND user_id <> $2 AND role = $3 AND accepted_at IS NOT NULL ORDER BY user_id {}",
        tx.dialect().for_update()
    );
    Ok(tx.rows(&sql, &[&tenant, &user, &role]).await?.len())
}

/// Whether a person belongs to any tenant, deleted ones among them. Across tenants.
pub async fn has_any(tx: &mut Tx, user: UserId) -> Result<bool, Error> {
    Ok(tx.row("SELECT 1 FROM memberships WHERE user_id = $1 LIMIT 1", &[&user]).await?.is_some())
}

/// The memberships of one person in tenants that were not deleted, by tenant; open invitations among them. Across tenants.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<OfUser>, Error> {
    let sql = format!(
        "SELECT {COLUMNS}, tenants.name, tenants.is_demo FROM memberships JOIN tenants ON tenants.id = memberships.tenant_id
         WHERE memberships.user_id = $1 AND tenants.deleted_at IS NULL ORDER BY memberships.tenant_id"
    );
    let rows = tx.rows(&sql, &[&user]).await?.into_iter();
    rows.map(|mut row| {
        let membership = read(&mut row, 0)?;
        Ok(OfUser { membership, tenant_name: row.get(WIDTH)?, is_demo: row.get(WIDTH + 1)? })
    })
    .collect()
}
