//! What guards the door: links that open it once, codes that stand in for a second factor, failed tries, and sign-ins that are away at an OpenID provider. Only
//! hashes of secrets are kept. Across tenants: all of it belongs to people.

use model::{TenantId, Timestamp, UserId};

use crate::{Error, Row, Tx};

/// A row of `user_links`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// SHA-256 of its token.
    pub hash: Vec<u8>,
    /// For whom.
    pub user: UserId,
    /// What it opens.
    pub kind: String,
    /// Into which tenant.
    pub tenant: Option<TenantId>,
    /// How the person proved who they are so far.
    pub method: String,
    /// How often it was tried in vain.
    pub attempts: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it opens.
    pub expires_at: Timestamp,
}

const LINK: &str = "hash, user_id, kind, tenant_id, method, attempts, created_at, expires_at";

fn read_link(mut row: Row) -> Result<Link, Error> {
    Ok(Link {
        hash: row.get(0)?,
        user: row.get(1)?,
        kind: row.get(2)?,
        tenant: row.get(3)?,
        method: row.get(4)?,
        attempts: row.get(5)?,
        created_at: row.get(6)?,
        expires_at: row.get(7)?,
    })
}

/// Adds a link.
pub async fn insert_link(tx: &mut Tx, link: &Link) -> Result<(), Error> {
    let sql = format!("INSERT INTO user_links ({LINK}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    let Link { hash, user, kind, tenant, method, attempts, created_at, expires_at } = link;
    tx.execute(&sql, &[hash, user, kind, tenant, method, attempts, created_at, expires_at]).await?;
    Ok(())
}

/// The link with this hash. It may be too old.
pub async fn find_link(tx: &mut Tx, hash: &[u8]) -> Result<Option<Link>, Error> {
    let sql = format!("SELECT {LINK} FROM user_links WHERE hash = $1");
    tx.row(&sql, &[&hash]).await?.map(read_link).transpose()
}

/// Counts a try in vain and answers how many there were; `None` when the link is gone.
pub async fn count_attempt(tx: &mut Tx, hash: &[u8]) -> Result<Option<i64>, Error> {
    let sql = "UPDATE user_links SET attempts = attempts + 1 WHERE hash = $1 RETURNING attempts";
    tx.row(sql, &[&hash]).await?.map(|mut row| row.get(0)).transpose()
}

/// Uses a link up; `false` when somebody did before.
pub async fn remove_link(tx: &mut Tx, hash: &[u8]) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM user_links WHERE hash = $1", &[&hash]).await? == 1)
}

/// Withdraws the person's links of a kind into one tenant (`None`: into none).
pub async fn remove_links(tx: &mut Tx, user: UserId, kind: &str, tenant: Option<TenantId>) -> Result<u64, Error> {
    let same = if tenant.is_some() { "tenant_id = $3" } else { "tenant_id IS NULL" };
    let sql = format!("DELETE FROM user_links WHERE user_id = $1 AND kind = $2 AND {same}");
    match tenant {
        Some(tenant) => tx.execute(&sql, &[&user, &kind, &tenant]).await,
        None => tx.execute(&sql, &[&user, &kind]).await,
    }
}

/// Withdraws every link of the person.
pub async fn remove_all_links(tx: &mut Tx, user: UserId) -> Result<u64, Error> {
    tx.execute("DELETE FROM user_links WHERE user_id = $1", &[&user]).await
}

/// Replaces the person's recovery codes.
pub async fn replace_codes(tx: &mut Tx, user: UserId, hashes: &[Vec<u8>]) -> Result<(), Error> {
    tx.execute("DELETE FROM recovery_codes WHERE user_id = $1", &[&user]).await?;
    for hash in hashes {
        tx.execute("INSERT INTO recovery_codes (user_id, hash) VALUES ($1, $2)", &[&user, hash]).await?;
    }
    Ok(())
}

/// Uses a recovery code up; `false` when the person has no such code, or used it.
pub async fn take_code(tx: &mut Tx, user: UserId, hash: &[u8]) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM recovery_codes WHERE user_id = $1 AND hash = $2", &[&user, &hash]).await? == 1)
}

/// How many recovery codes the person has left.
pub async fn count_codes(tx: &mut Tx, user: UserId) -> Result<i64, Error> {
    let row = tx.row("SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1", &[&user]).await?;
    row.map_or(Ok(0), |mut row| row.get(0))
}

/// A row of `sign_in_failures`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failures {
    /// Of an account, an address or both, hashed.
    pub key: Vec<u8>,
    /// How many in a row.
    pub failures: i64,
    /// When the last one was.
    pub last_at: Timestamp,
    /// Until when nothing is tried.
    pub blocked_until: Timestamp,
}

/// The failures under one key. Nobody else changes them until the transaction ends.
pub async fn failures(tx: &mut Tx, key: &[u8]) -> Result<Option<Failures>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT key, failures, last_at, blocked_until FROM sign_in_failures WHERE key = $1 {lock}");
    let row = tx.row(&sql, &[&key]).await?;
    row.map(|mut row| {
        Ok(Failures { key: row.get(0)?, failures: row.get(1)?, last_at: row.get(2)?, blocked_until: row.get(3)? })
    })
    .transpose()
}

/// Makes sure there is a row to lock under a key, so that tries at the same time follow one another.
pub async fn begin_failures(tx: &mut Tx, key: &[u8], now: Timestamp) -> Result<(), Error> {
    let sql = "INSERT INTO sign_in_failures (key, failures, last_at, blocked_until) VALUES ($1, 0, $2, $2) ON CONFLICT (key) DO NOTHING";
    tx.execute(sql, &[&key, &now]).await?;
    Ok(())
}

/// Writes the failures under a key.
pub async fn update_failures(tx: &mut Tx, failures: &Failures) -> Result<(), Error> {
    let sql = "UPDATE sign_in_failures SET failures = $1, last_at = $2, blocked_until = $3 WHERE key = $4";
    tx.execute(sql, &[&failures.failures, &failures.last_at, &failures.blocked_until, &failures.key]).await?;
    Ok(())
}

/// Forgets the failures under a key.
pub async fn forget_failures(tx: &mut Tx, key: &[u8]) -> Result<(), Error> {
    tx.execute("DELETE FROM sign_in_failures WHERE key = $1", &[&key]).await?;
    Ok(())
}

/// A row of `oidc_requests`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcRequest {
    /// SHA-256 of the state we sent.
    pub state_hash: Vec<u8>,
    /// What the ID token must repeat.
    pub nonce: String,
    /// The secret behind the code challenge.
    pub verifier: String,
    /// Where to go afterwards.
    pub return_to: String,
    /// When it was sent.
    pub created_at: Timestamp,
    /// Until when an answer counts.
    pub expires_at: Timestamp,
}

/// Notes a sign-in that is sent to the provider.
pub async fn insert_oidc(tx: &mut Tx, request: &OidcRequest) -> Result<(), Error> {
    let sql = "INSERT INTO oidc_requests (state_hash, nonce, verifier, return_to, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
    let OidcRequest { state_hash, nonce, verifier, return_to, created_at, expires_at } = request;
    tx.execute(sql, &[state_hash, nonce, verifier, return_to, created_at, expires_at]).await?;
    Ok(())
}

/// Takes what was noted under a state; a second answer finds nothing.
pub async fn take_oidc(tx: &mut Tx, state_hash: &[u8]) -> Result<Option<OidcRequest>, Error> {
    let sql = "DELETE FROM oidc_requests WHERE state_hash = $1 RETURNING state_hash, nonce, verifier, return_to, created_at, expires_at";
    let row = tx.row(sql, &[&state_hash]).await?;
    row.map(|mut row| {
        Ok(OidcRequest {
            state_hash: row.get(0)?,
            nonce: row.get(1)?,
            verifier: row.get(2)?,
            return_to: row.get(3)?,
            created_at: row.get(4)?,
            expires_at: row.get(5)?,
        })
    })
    .transpose()
}

/// Removes what no longer opens anything at `now`, and failures whose last is older than `failed_before`. Answers how many rows went.
pub async fn purge(tx: &mut Tx, now: Timestamp, failed_before: Timestamp) -> Result<u64, Error> {
    let mut removed = tx.execute("DELETE FROM user_links WHERE expires_at <= $1", &[&now]).await?;
    removed += tx.execute("DELETE FROM oidc_requests WHERE expires_at <= $1", &[&now]).await?;
    removed += tx.execute("DELETE FROM sign_in_failures WHERE last_at <= $1", &[&failed_before]).await?;
    Ok(removed)
}
