//! Deliveries: due work, one row per message that still has to leave. A lane is an account and a class; its rows lie in the order they leave.

use model::{AccountId, Class, MessageId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// Due work for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The lane's account.
    pub account_id: AccountId,
    /// The lane's class.
    pub class: Class,
    /// When it may leave.
    pub due_at: Timestamp,
    /// Which message.
    pub message_id: MessageId,
    /// Whose.
    pub tenant_id: TenantId,
    /// Exchanges so far.
    pub attempts: u32,
    /// Exchanges that count against the retry limit: throttling and account failures do not.
    pub tries: u32,
    /// When it must no longer leave.
    pub expires_at: Option<Timestamp>,
}

const COLUMNS: &str = "account_id, class, due_at, message_id, tenant_id, attempts, tries, expires_at";

impl Delivery {
    fn read(mut row: Row) -> Result<Self, Error> {
        let row = &mut row;
        Ok(Self {
            account_id: row.get(0)?,
            class: row.get(1)?,
            due_at: row.get(2)?,
            message_id: row.get(3)?,
            tenant_id: row.get(4)?,
            attempts: row.get(5)?,
            tries: row.get(6)?,
            expires_at: row.get(7)?,
        })
    }
}

/// Writes due work.
pub async fn insert_many(tx: &mut Tx, deliveries: &[Delivery]) -> Result<(), Error> {
    let mut given = Given::new(&[
        ("account_id", Kind::Id),
        ("class", Kind::Int),
        ("due_at", Kind::Time),
        ("message_id", Kind::Id),
        ("tenant_id", Kind::Id),
        ("attempts", Kind::Int),
        ("tries", Kind::Int),
        ("expires_at", Kind::Time),
    ]);
    for d in deliveries {
        given.row([
            &d.account_id,
            &d.class,
            &d.due_at,
            &d.message_id,
            &d.tenant_id,
            &d.attempts,
            &d.tries,
            &d.expires_at,
        ]);
    }
    tx.insert_many_later("deliveries", &given, "").await
}

/// The oldest due work of a lane of any tenant, without what has expired. On PostgreSQL the rows are locked and rows locked by others are passed over.
pub async fn due_in_lane(
    tx: &mut Tx,
    account: AccountId,
    class: Class,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Delivery>, Error> {
    let lock = tx.dialect().skip_locked();
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE account_id = $1 AND class = $2 AND due_at <= $3 AND (expires_at IS NULL OR expires_at > $3)
         ORDER BY due_at, message_id LIMIT $4 {lock}"
    );
    tx.rows(&sql, &[&account, &class, &now, &limit]).await?.into_iter().map(Delivery::read).collect()
}

/// Due work whose time ran out, of any tenant, to look at: whoever ends it takes the row itself.
pub async fn expired_now(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE expires_at IS NOT NULL AND expires_at <= $1 ORDER BY expires_at LIMIT $2"
    );
    tx.rows(&sql, &[&now, &limit]).await?.into_iter().map(Delivery::read).collect()
}

/// Takes work out of the queue.
pub async fn remove_many(tx: &mut Tx, deliveries: &[Delivery]) -> Result<(), Error> {
    let mut given =
        Given::new(&[("account_id", Kind::Id), ("class", Kind::Int), ("due_at", Kind::Time), ("message_id", Kind::Id)]);
    for d in deliveries {
        given.row([&d.account_id, &d.class, &d.due_at, &d.message_id]);
    }
    tx.delete_many_later("deliveries", &given).await
}

/// Reads and locks the delivery of a message whose lane and due time are known.
pub async fn find(
    tx: &mut Tx,
    account: AccountId,
    class: Class,
    due_at: Timestamp,
    message: MessageId,
) -> Result<Option<Delivery>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE account_id = $1 AND class = $2 AND due_at = $3 AND message_id = $4 {lock}"
    );
    tx.row(&sql, &[&account, &class, &due_at, &message]).await?.map(Delivery::read).transpose()
}

/// The work that waits on an account, oldest first.
pub async fn of_account(tx: &mut Tx, tenant: TenantId, account: AccountId, limit: i64) -> Result<Vec<Delivery>, Error> {
    let lock = tx.dialect().for_update();
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE account_id = $1 AND tenant_id = $2 ORDER BY class, due_at, message_id LIMIT $3 {lock}"
    );
    tx.rows(&sql, &[&account, &tenant, &limit]).await?.into_iter().map(Delivery::read).collect()
}

/// The due work that waits on an account, after a place in the lane's order, to look at.
pub async fn due_of_account(
    tx: &mut Tx,
    tenant: TenantId,
    account: AccountId,
    now: Timestamp,
    (class, due_at, message): (Class, Timestamp, MessageId),
    limit: i64,
) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE account_id = $1 AND tenant_id = $2 AND due_at <= $3 AND (class, due_at, message_id) > ($4, $5, $6)
         ORDER BY class, due_at, message_id LIMIT $7"
    );
    tx.rows(&sql, &[&account, &tenant, &now, &class, &due_at, &message, &limit])
        .await?
        .into_iter()
        .map(Delivery::read)
        .collect()
}

/// Work that waits for accounts that were deleted, of any tenant, to look at: whoever sends it another way takes the row itself. Endpoints withdraw their own.
pub async fn stranded(tx: &mut Tx, limit: i64) -> Result<Vec<Delivery>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM deliveries WHERE account_id IN (
            SELECT id FROM accounts WHERE deleted_at IS NOT NULL AND connector <> 'webhook'
            AND EXISTS (SELECT 1 FROM deliveries AS waiting WHERE waiting.account_id = accounts.id))
         ORDER BY account_id, class, due_at, message_id LIMIT $1"
    );
    tx.rows(&sql, &[&limit]).await?.into_iter().map(Delivery::read).collect()
}

/// How much waits on an account, counted up to `limit`.
pub async fn count_of_account(tx: &mut Tx, tenant: TenantId, account: AccountId, limit: i64) -> Result<i64, Error> {
    let sql =
        "SELECT COUNT(*) FROM (SELECT 1 FROM deliveries WHERE account_id = $1 AND tenant_id = $2 LIMIT $3) AS waiting";
    tx.row(sql, &[&account, &tenant, &limit]).await?.map_or(Ok(0), |mut row| row.get(0))
}

/// A lane with work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// Its account.
    pub account_id: AccountId,
    /// Its class.
    pub class: Class,
    /// Whose.
    pub tenant_id: TenantId,
    /// When its first row is due.
    pub due_at: Timestamp,
}

/// The lanes with work, of all tenants, each with the due time of its first row. Hops from lane to lane over the primary key, so the cost is
/// in lanes, not in rows.
pub async fn lanes(tx: &mut Tx, limit: usize) -> Result<Vec<Lane>, Error> {
    let mut lanes: Vec<Lane> = Vec::new();
    while lanes.len() < limit {
        let sql = "SELECT account_id, class, tenant_id, due_at FROM deliveries";
        let order = "ORDER BY account_id, class, due_at, message_id LIMIT 1";
        let row = match lanes.last() {
            None => tx.row(&format!("{sql} {order}"), &[]).await?,
            Some(last) => {
                tx.row(&format!("{sql} WHERE (account_id, class) > ($1, $2) {order}"), &[&last.account_id, &last.class])
                    .await?
            }
        };
        let Some(mut row) = row else { break };
        lanes.push(Lane { account_id: row.get(0)?, class: row.get(1)?, tenant_id: row.get(2)?, due_at: row.get(3)? });
    }
    Ok(lanes)
}
