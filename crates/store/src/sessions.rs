//! Sessions of people who signed in. Only hashes of their tokens are kept. Across tenants: a session belongs to a person.

use model::{SessionId, TenantId, Timestamp, UserId};

use crate::{Error, Row, Tx};

/// A row of `sessions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Which one.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// SHA-256 of its token.
    pub hash: Vec<u8>,
    /// SHA-256 of the token before.
    pub previous_hash: Option<Vec<u8>>,
    /// Until when the token before is good.
    pub previous_until: Option<Timestamp>,
    /// What forms must carry.
    pub csrf: String,
    /// How the person proved who they are.
    pub method: String,
    /// The tenant they look at.
    pub tenant: Option<TenantId>,
    /// From where it was last used.
    pub ip: Option<String>,
    /// With which browser or program.
    pub agent: String,
    /// When they signed in.
    pub created_at: Timestamp,
    /// When its token was made.
    pub rotated_at: Timestamp,
    /// When it was last used, to the minute.
    pub seen_at: Timestamp,
    /// When it ends, used or not.
    pub expires_at: Timestamp,
}

const COLUMNS: &str = "id, user_id, hash, previous_hash, previous_until, csrf, method, tenant_id, ip, agent, created_at, rotated_at, seen_at, expires_at";

fn read(mut row: Row) -> Result<Session, Error> {
    Ok(Session {
        id: row.get(0)?,
        user: row.get(1)?,
        hash: row.get(2)?,
        previous_hash: row.get(3)?,
        previous_until: row.get(4)?,
        csrf: row.get(5)?,
        method: row.get(6)?,
        tenant: row.get(7)?,
        ip: row.get(8)?,
        agent: row.get(9)?,
        created_at: row.get(10)?,
        rotated_at: row.get(11)?,
        seen_at: row.get(12)?,
        expires_at: row.get(13)?,
    })
}

/// Adds a session.
pub async fn insert(tx: &mut Tx, session: &Session) -> Result<(), Error> {
    let sql = format!(
        "INSERT INTO sessions ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
    );
    tx.execute(
        &sql,
        &[
            &session.id,
            &session.user,
            &session.hash,
            &session.previous_hash,
            &session.previous_until,
            &session.csrf,
            &session.method,
            &session.tenant,
            &session.ip,
            &session.agent,
            &session.created_at,
            &session.rotated_at,
            &session.seen_at,
            &session.expires_at,
        ],
    )
    .await?;
    Ok(())
}

/// The session whose token, or whose token before, has this hash. It may have ended.
pub async fn find_by_hash(tx: &mut Tx, hash: &[u8]) -> Result<Option<Session>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM sessions WHERE hash = $1 OR previous_hash = $1");
    tx.row(&sql, &[&hash]).await?.map(read).transpose()
}

/// Notes when and from where a session was used.
pub async fn touch(
    tx: &mut Tx,
    session: SessionId,
    ip: Option<&str>,
    agent: &str,
    now: Timestamp,
) -> Result<(), Error> {
    let sql = "UPDATE sessions SET seen_at = $1, ip = $2, agent = $3 WHERE id = $4 AND seen_at < $1";
    tx.execute(sql, &[&now, &ip, &agent, &session]).await?;
    Ok(())
}

/// Replaces the token, if it still is the one with the hash `from`; the one before is good until `until`.
pub async fn rotate(
    tx: &mut Tx,
    session: SessionId,
    from: &[u8],
    to: &[u8],
    until: Timestamp,
    now: Timestamp,
) -> Result<bool, Error> {
    let sql = "UPDATE sessions SET hash = $1, previous_hash = $2, previous_until = $3, rotated_at = $4 WHERE id = $5 AND hash = $2";
    Ok(tx.execute(sql, &[&to, &from, &until, &now, &session]).await? == 1)
}

/// Notes the tenant a person looks at.
pub async fn look_at(tx: &mut Tx, session: SessionId, tenant: Option<TenantId>) -> Result<(), Error> {
    tx.execute("UPDATE sessions SET tenant_id = $1 WHERE id = $2", &[&tenant, &session]).await?;
    Ok(())
}

/// Turns every session away from a tenant that is gone.
pub async fn look_away(tx: &mut Tx, tenant: TenantId) -> Result<u64, Error> {
    tx.execute("UPDATE sessions SET tenant_id = NULL WHERE tenant_id = $1", &[&tenant]).await
}

/// The person's sessions that were used since `idle_since` and have not ended at `now`, newest first, made before `before`.
pub async fn list(
    tx: &mut Tx,
    user: UserId,
    now: Timestamp,
    idle_since: Timestamp,
    before: SessionId,
    limit: i64,
) -> Result<Vec<Session>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM sessions WHERE user_id = $1 AND expires_at > $2 AND seen_at > $3 AND id < $4 ORDER BY id DESC LIMIT $5"
    );
    tx.rows(&sql, &[&user, &now, &idle_since, &before, &limit]).await?.into_iter().map(read).collect()
}

/// Ends one of the person's sessions; `false` when there is none.
pub async fn remove(tx: &mut Tx, user: UserId, session: SessionId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM sessions WHERE user_id = $1 AND id = $2", &[&user, &session]).await? == 1)
}

/// Ends all of the person's sessions but `keep` and answers how many.
pub async fn remove_others(tx: &mut Tx, user: UserId, keep: Option<SessionId>) -> Result<u64, Error> {
    let keep = keep.unwrap_or(SessionId::from_ulid(0));
    tx.execute("DELETE FROM sessions WHERE user_id = $1 AND id <> $2", &[&user, &keep]).await
}

/// Ends the person's sessions beyond the newest `most`.
pub async fn remove_beyond(tx: &mut Tx, user: UserId, most: i64) -> Result<u64, Error> {
    let sql = "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN (SELECT id FROM sessions WHERE user_id = $1 ORDER BY id DESC LIMIT $2)";
    tx.execute(sql, &[&user, &most]).await
}

/// Removes up to `limit` sessions that have ended at `now` or were not used since `idle_since`.
pub async fn purge(tx: &mut Tx, now: Timestamp, idle_since: Timestamp, limit: i64) -> Result<u64, Error> {
    let sql =
        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= $1 OR seen_at <= $2 LIMIT $3)";
    tx.execute(sql, &[&now, &idle_since, &limit]).await
}
