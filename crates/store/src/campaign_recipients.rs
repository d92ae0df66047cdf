//! The frozen audience of campaigns: who is meant, and what became of each.

use model::{CampaignId, ContactId, MessageId, Status, TenantId, Timestamp};

use crate::{Error, Given, Kind, Row, Tx};

/// Waits for its message.
pub const WAITING: u32 = 0;
/// Has its message.
pub const ACCEPTED: u32 = 1;
/// Was left out.
pub const EXCLUDED: u32 = 2;
/// Waits for a test to end.
pub const RESTING: u32 = 3;

/// A row of `campaign_recipients`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Whose.
    pub tenant_id: TenantId,
    /// Of which campaign.
    pub campaign_id: CampaignId,
    /// Who.
    pub contact_id: ContactId,
    /// Which variant, of a campaign with several.
    pub variant: Option<u32>,
    /// [`WAITING`], [`ACCEPTED`], [`EXCLUDED`] or [`RESTING`].
    pub outcome: u32,
    /// Why it was left out: a code.
    pub reason: Option<String>,
    /// Its message.
    pub message_id: Option<MessageId>,
}

const COLUMNS: &str = "tenant_id, campaign_id, contact_id, variant, outcome, reason, message_id";
const GIVEN: &[(&str, Kind)] = &[
    ("tenant_id", Kind::Id),
    ("campaign_id", Kind::Id),
    ("contact_id", Kind::Id),
    ("variant", Kind::Int),
    ("outcome", Kind::Int),
    ("reason", Kind::Text),
    ("message_id", Kind::Id),
];

fn read(mut row: Row) -> Result<Recipient, Error> {
    let row = &mut row;
    Ok(Recipient {
        tenant_id: row.get(0)?,
        campaign_id: row.get(1)?,
        contact_id: row.get(2)?,
        variant: row.get(3)?,
        outcome: row.get(4)?,
        reason: row.get(5)?,
        message_id: row.get(6)?,
    })
}

fn given(recipients: &[Recipient]) -> Given<'_> {
    let mut given = Given::new(GIVEN);
    for r in recipients {
        given.row([&r.tenant_id, &r.campaign_id, &r.contact_id, &r.variant, &r.outcome, &r.reason, &r.message_id]);
    }
    given
}

/// Adds recipients.
pub async fn insert_many(tx: &mut Tx, recipients: &[Recipient]) -> Result<u64, Error> {
    tx.insert_many("campaign_recipients", &given(recipients), "ON CONFLICT DO NOTHING").await
}

/// Writes what became of recipients.
pub async fn update_many(tx: &mut Tx, recipients: &[Recipient]) -> Result<u64, Error> {
    tx.update_many("campaign_recipients", 3, &given(recipients)).await
}

/// Recipients after `after` with this outcome, in the order of their contacts.
pub async fn with_outcome(
    tx: &mut Tx,
    tenant: TenantId,
    campaign: CampaignId,
    outcome: u32,
    after: ContactId,
    limit: i64,
) -> Result<Vec<Recipient>, Error> {
    let sql = format!(
        "SELECT {COLUMNS} FROM campaign_recipients WHERE tenant_id = $1 AND campaign_id = $2 AND outcome = $3 AND contact_id > $4
         ORDER BY contact_id LIMIT $5"
    );
    tx.rows(&sql, &[&tenant, &campaign, &outcome, &after, &limit]).await?.into_iter().map(read).collect()
}

/// A recipient beside its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The recipient.
    pub recipient: Recipient,
    /// The message's address, status and failure, when it has one.
    pub message: Option<(String, Status, Option<String>)>,
}

/// Recipients before `before` beside their messages, the latest contact first.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    campaign: CampaignId,
    before: ContactId,
    limit: i64,
) -> Result<Vec<Outcome>, Error> {
    let columns = COLUMNS.split(", ").map(|name| format!("r.{name}")).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT {columns}, m.address, m.status, m.failure FROM campaign_recipients AS r
         LEFT JOIN messages AS m ON m.tenant_id = r.tenant_id AND m.id = r.message_id
         WHERE r.tenant_id = $1 AND r.campaign_id = $2 AND r.contact_id < $3 ORDER BY r.contact_id DESC LIMIT $4"
    );
    let rows = tx.rows(&sql, &[&tenant, &campaign, &before, &limit]).await?;
    let outcome = |mut row: Row| {
        let address: Option<String> = row.get(7)?;
        let message = match address {
            Some(address) => Some((address, row.get(8)?, row.get(9)?)),
            None => None,
        };
        Ok(Outcome { message, recipient: read(row)? })
    };
    rows.into_iter().map(outcome).collect()
}

/// Why recipients were left out, with how many.
pub async fn exclusions(tx: &mut Tx, tenant: TenantId, campaign: CampaignId) -> Result<Vec<(String, u64)>, Error> {
    let sql = "SELECT COALESCE(reason, ''), COUNT(*) FROM campaign_recipients WHERE tenant_id = $1 AND campaign_id = $2 AND outcome = 2
        GROUP BY COALESCE(reason, '') ORDER BY 2 DESC, 1";
    let rows = tx.rows(sql, &[&tenant, &campaign]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Messages of a campaign after `after` that have not left and have no end. `held`: only those that are due at `held_at`, or only the others.
#[allow(clippy::too_many_arguments, reason = "each is a different fact, and a struct would be used once")]
pub async fn waiting_messages(
    tx: &mut Tx,
    tenant: TenantId,
    campaign: CampaignId,
    after: MessageId,
    held_at: Timestamp,
    held: Option<bool>,
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let due = match held {
        None => "(due_at IS NULL OR due_at <= $4)",
        Some(true) => "due_at = $4",
        Some(false) => "due_at <> $4",
    };
    let words = [Status::Scheduled, Status::Queued, Status::Sending].map(|status| status.code().to_string()).join(", ");
    let sql = format!(
        "SELECT id FROM messages WHERE tenant_id = $1 AND campaign_id = $2 AND id > $3 AND status IN ({words}) AND {due} ORDER BY id LIMIT $5"
    );
    let rows = tx.rows(&sql, &[&tenant, &campaign, &after, &held_at, &limit]).await?;
    rows.into_iter().map(|mut row| row.get(0)).collect()
}
