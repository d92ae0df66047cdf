//! The operator's pool of numbers. Belongs to no tenant: a number outlives the tenant it is with.

use model::{NumberId, RegistrationId, TenantId, Timestamp};

use crate::{Error, Row, Tx};

/// A row of `numbers`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// Which one.
    pub id: NumberId,
    /// The number in E.164 form.
    pub number: String,
    /// ISO 3166-1 alpha-2.
    pub country: String,
    /// Where it is held.
    pub connector: String,
    /// Who holds it there, such as Twilio's account SID.
    pub provider_account: String,
    /// What the provider calls it.
    pub reference: Option<String>,
    /// `free`, `allocated`, `retired` or `failed`.
    pub state: String,
    /// Why, in words.
    pub detail: Option<String>,
    /// The tenant it is with.
    pub allocated_to: Option<TenantId>,
    /// The registration it is for.
    pub registration_id: Option<RegistrationId>,
    /// Since when.
    pub allocated_at: Option<Timestamp>,
    /// When it came into the pool.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

const COLUMNS: &str = "id, number, country, connector, provider_account, reference, state, detail, allocated_to, registration_id, allocated_at, created_at, updated_at";

fn read(mut row: Row) -> Result<Number, Error> {
    let row = &mut row;
    Ok(Number {
        id: row.get(0)?,
        number: row.get(1)?,
        country: row.get(2)?,
        connector: row.get(3)?,
        provider_account: row.get(4)?,
        reference: row.get(5)?,
        state: row.get(6)?,
        detail: row.get(7)?,
        allocated_to: row.get(8)?,
        registration_id: row.get(9)?,
        allocated_at: row.get(10)?,
        created_at: row.get(11)?,
        updated_at: row.get(12)?,
    })
}

/// Adds a number. `false` when it is in the pool already.
pub async fn insert(tx: &mut Tx, n: &Number) -> Result<bool, Error> {
    let sql = format!(
        "INSERT INTO numbers ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (number) DO NOTHING"
    );
    let params: [&dyn crate::Param; 13] = [
        &n.id,
        &n.number,
        &n.country,
        &n.connector,
        &n.provider_account,
        &n.reference,
        &n.state,
        &n.detail,
        &n.allocated_to,
        &n.registration_id,
        &n.allocated_at,
        &n.created_at,
        &n.updated_at,
    ];
    Ok(tx.execute(&sql, &params).await? == 1)
}

/// Writes everything that can change.
pub async fn update(tx: &mut Tx, n: &Number) -> Result<(), Error> {
    let sql = "UPDATE numbers SET reference = $1, state = $2, detail = $3, allocated_to = $4, registration_id = $5, allocated_at = $6, updated_at = $7 WHERE id = $8";
    let params: [&dyn crate::Param; 8] =
        [&n.reference, &n.state, &n.detail, &n.allocated_to, &n.registration_id, &n.allocated_at, &n.updated_at, &n.id];
    tx.execute(sql, &params).await.map(drop)
}

/// One number.
pub async fn find(tx: &mut Tx, id: NumberId) -> Result<Option<Number>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM numbers WHERE id = $1");
    tx.row(&sql, &[&id]).await?.map(read).transpose()
}

/// The same, locked for a change.
pub async fn lock(tx: &mut Tx, id: NumberId) -> Result<Option<Number>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!("SELECT {COLUMNS} FROM numbers WHERE id = $1 {lock}");
    tx.row(&sql, &[&id]).await?.map(read).transpose()
}

/// Takes a number out of the pool. `false` when it is not in it.
pub async fn remove(tx: &mut Tx, id: NumberId) -> Result<bool, Error> {
    Ok(tx.execute("DELETE FROM numbers WHERE id = $1", &[&id]).await? == 1)
}

/// The pool, newest first, from before `before`; only those in a state, where one is given.
pub async fn list(tx: &mut Tx, state: Option<&str>, before: NumberId, limit: i64) -> Result<Vec<Number>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM numbers WHERE id < $1 AND state = COALESCE($2, state) ORDER BY id DESC LIMIT $3"
    );
    tx.rows(&sql, &[&before, &state, &limit]).await?.into_iter().map(read).collect()
}

/// The numbers of a registration.
pub async fn of_registration(tx: &mut Tx, tenant: TenantId, id: RegistrationId) -> Result<Vec<Number>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM numbers WHERE allocated_to = $1 AND registration_id = $2 ORDER BY id");
    tx.rows(&sql, &[&tenant, &id]).await?.into_iter().map(read).collect()
}

/// Takes a free local number of the United States of the same holder whose digits begin with `start` for a registration, so that nobody else gets it.
pub async fn allocate(
    tx: &mut Tx,
    (connector, provider_account): (&str, &str),
    start: &str,
    (tenant, registration): (TenantId, RegistrationId),
    now: Timestamp,
) -> Result<Option<Number>, Error> {
    let (lock, toll_free) = (tx.dialect().skip_locked(), model::TOLL_FREE.map(|code| format!("'{code}'")).join(", "));
    let sql = format!(
        "WITH chosen AS MATERIALIZED (
            SELECT id FROM numbers WHERE state = 'free' AND connector = $4 AND provider_account = $5 AND number LIKE $6 AND reference IS NOT NULL
                AND country = 'US' AND substr(number, 3, 3) NOT IN ({toll_free})
            ORDER BY number LIMIT 1 {lock})
         UPDATE numbers SET state = 'allocated', detail = NULL, allocated_to = $1, registration_id = $2, allocated_at = $3, updated_at = $3
         WHERE id IN (SELECT id FROM chosen) RETURNING {COLUMNS}"
    );
    let pattern = format!("{start}%");
    let params: [&dyn crate::Param; 6] = [&tenant, &registration, &now, &connector, &provider_account, &pattern];
    tx.row(&sql, &params).await?.map(read).transpose()
}

/// Gives the numbers of a registration back to the pool.
pub async fn free(tx: &mut Tx, tenant: TenantId, id: RegistrationId, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE numbers SET state = 'free', allocated_to = NULL, registration_id = NULL, allocated_at = NULL, updated_at = $1
        WHERE allocated_to = $2 AND registration_id = $3";
    tx.execute(sql, &[&now, &tenant, &id]).await.map(drop)
}

/// Gives the numbers of tenants and registrations that are gone back to the pool. Answers how many.
pub async fn free_left(tx: &mut Tx, now: Timestamp) -> Result<u64, Error> {
    let sql = "UPDATE numbers SET state = CASE WHEN state = 'allocated' THEN 'free' ELSE state END, allocated_to = NULL, registration_id = NULL, allocated_at = NULL, updated_at = $1
        WHERE allocated_to IS NOT NULL AND (allocated_to NOT IN (SELECT id FROM tenants WHERE deleted_at IS NULL)
            OR registration_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM registrations AS r WHERE r.tenant_id = numbers.allocated_to AND r.id = numbers.registration_id))";
    tx.execute(sql, &[&now]).await
}
