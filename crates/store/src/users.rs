//! People who sign in. They belong to no tenant; what they may do in one stands in [`crate::memberships`]. Everything here is across tenants.

use model::{Timestamp, UserId};

use crate::{Error, Row, Tx};

/// A row of `users`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Who.
    pub id: UserId,
    /// Lower case; unique.
    pub email: String,
    /// Name for people; empty until they gave one.
    pub name: String,
    /// The password's hash in PHC form; `None` for somebody who has none.
    pub password: Option<String>,
    /// When the password was set.
    pub password_at: Option<Timestamp>,
    /// The role among the operator's staff; `None` for everybody else.
    pub operator_role: Option<String>,
    /// The sealed secret of the second factor, confirmed or not.
    pub totp: Option<Vec<u8>>,
    /// Which of the operator's data keys sealed it.
    pub totp_data_key_id: Option<i64>,
    /// The last step a code was taken for.
    pub totp_step: i64,
    /// True once the second factor is needed.
    pub has_totp: bool,
    /// Issuer and subject at the OpenID provider.
    pub oidc_subject: Option<String>,
    /// When the row was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When what they may do, or how they prove who they are, last changed.
    pub privileges_at: Timestamp,
    /// When they last signed in.
    pub signed_in_at: Option<Timestamp>,
}

pub(crate) const COLUMNS: &str = "users.id, users.email, users.name, users.password, users.password_at, users.operator_role, users.totp, \
    users.totp_data_key_id, users.totp_step, users.has_totp, users.oidc_subject, users.created_at, users.updated_at, users.privileges_at, users.signed_in_at";

pub(crate) fn read(row: &mut Row) -> Result<User, Error> {
    Ok(User {
        id: row.get(0)?,
        email: row.get(1)?,
        name: row.get(2)?,
        password: row.get(3)?,
        password_at: row.get(4)?,
        operator_role: row.get(5)?,
        totp: row.get(6)?,
        totp_data_key_id: row.get(7)?,
        totp_step: row.get(8)?,
        has_totp: row.get(9)?,
        oidc_subject: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
        privileges_at: row.get(13)?,
        signed_in_at: row.get(14)?,
    })
}

/// Adds a user; `false` when somebody has the e-mail address already.
pub async fn insert(tx: &mut Tx, user: &User) -> Result<bool, Error> {
    let sql = "INSERT INTO users (id, email, name, password, password_at, operator_role, totp, totp_data_key_id, totp_step, has_totp, oidc_subject,
               created_at, updated_at, privileges_at, signed_in_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT (email) DO NOTHING";
    let inserted = tx
        .execute(
            sql,
            &[
                &user.id,
                &user.email,
                &user.name,
                &user.password,
                &user.password_at,
                &user.operator_role,
                &user.totp,
                &user.totp_data_key_id,
                &user.totp_step,
                &user.has_totp,
                &user.oidc_subject,
                &user.created_at,
                &user.updated_at,
                &user.privileges_at,
                &user.signed_in_at,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Writes everything that can change, except the step of the last code ([`take_step`]).
pub async fn update(tx: &mut Tx, user: &User) -> Result<(), Error> {
    tx.execute(
        "UPDATE users SET name = $1, password = $2, password_at = $3, operator_role = $4, totp = $5, totp_data_key_id = $6, has_totp = $7, oidc_subject = $8,
         updated_at = $9, privileges_at = $10, signed_in_at = $11 WHERE id = $12",
        &[
            &user.name,
            &user.password,
            &user.password_at,
            &user.operator_role,
            &user.totp,
            &user.totp_data_key_id,
            &user.has_totp,
            &user.oidc_subject,
            &user.updated_at,
            &user.privileges_at,
            &user.signed_in_at,
            &user.id,
        ],
    )
    .await?;
    Ok(())
}

/// The user with this id.
pub async fn find(tx: &mut Tx, user: UserId) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1");
    tx.row(&sql, &[&user]).await?.as_mut().map(read).transpose()
}

/// As [`find`], and nobody else changes the row until the transaction ends.
pub async fn hold(tx: &mut Tx, user: UserId) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE id = $1 {}", tx.dialect().for_update());
    tx.row(&sql, &[&user]).await?.as_mut().map(read).transpose()
}

/// The user with this e-mail address, in lower case.
pub async fn find_by_email(tx: &mut Tx, email: &str) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE email = $1");
    tx.row(&sql, &[&email]).await?.as_mut().map(read).transpose()
}

/// The user an OpenID provider knows under this issuer and subject.
pub async fn find_by_subject(tx: &mut Tx, subject: &str) -> Result<Option<User>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM users WHERE oidc_subject = $1");
    tx.row(&sql, &[&subject]).await?.as_mut().map(read).transpose()
}

/// Takes the code of a step; `false` when one of this step or a later one was taken before.
pub async fn take_step(tx: &mut Tx, user: UserId, step: i64) -> Result<bool, Error> {
    let sql = "UPDATE users SET totp_step = $1 WHERE id = $2 AND totp_step < $1";
    Ok(tx.execute(sql, &[&step, &user]).await? == 1)
}

/// The operator's staff made before `before`, newest first.
pub async fn staff(tx: &mut Tx, before: UserId, limit: i64) -> Result<Vec<User>, Error> {
    let sql =
        format!("SELECT {COLUMNS} FROM users WHERE operator_role IS NOT NULL AND id < $1 ORDER BY id DESC LIMIT $2");
    tx.rows(&sql, &[&before, &limit]).await?.iter_mut().map(read).collect()
}

/// The e-mail addresses of the operator's staff with this role, `limit` at most: who was made a user first comes first.
pub async fn staff_emails(tx: &mut Tx, role: &str, limit: i64) -> Result<Vec<String>, Error> {
    let sql = "SELECT email FROM users WHERE operator_role = $1 ORDER BY id LIMIT $2";
    tx.rows(sql, &[&role, &limit]).await?.into_iter().map(|mut row| row.get(0)).collect()
}

/// How many of the operator's staff have this role.
pub async fn count_staff(tx: &mut Tx, role: &str) -> Result<i64, Error> {
    let row = tx.row("SELECT COUNT(*) FROM users WHERE operator_role = $1", &[&role]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// Removes a user. Their memberships, sessions, links and codes are removed by whoever calls.
pub async fn remove(tx: &mut Tx, user: UserId) -> Result<(), Error> {
    tx.execute("DELETE FROM users WHERE id = $1", &[&user]).await?;
    Ok(())
}
