//! Messages people sent to a tenant. One row per message, whatever the number of times its provider reports it.

use model::{AccountId, Channel, ContactId, InboundId, TenantId, Timestamp};

use crate::{Error, Given, Kind, Param, Row, Tx};

/// A row of `inbound_messages`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Whose.
    pub tenant_id: TenantId,
    /// Sortable id.
    pub id: InboundId,
    /// Through which account it came.
    pub account_id: AccountId,
    /// Over which channel.
    pub channel: Channel,
    /// The provider's id.
    pub provider_message_id: String,
    /// Who wrote, in text form.
    pub address: String,
    /// Everything else, as JSON.
    pub body: String,
    /// When we stored it.
    pub received_at: Timestamp,
    /// Which contact wrote, when the address is one's.
    pub contact_id: Option<ContactId>,
}

const COLUMNS: &str = "tenant_id, id, account_id, channel, provider_message_id, address, body, received_at, contact_id";

fn read(mut row: Row) -> Result<Inbound, Error> {
    Ok(Inbound {
        tenant_id: row.get(0)?,
        id: row.get(1)?,
        account_id: row.get(2)?,
        channel: row.get(3)?,
        provider_message_id: row.get(4)?,
        address: row.get(5)?,
        body: row.get(6)?,
        received_at: row.get(7)?,
        contact_id: row.get(8)?,
    })
}

/// Adds messages of any tenants and answers how many. Fewer than given: another transaction was first with one of them, so the caller rolls back and looks
/// again.
pub async fn insert_many(tx: &mut Tx, messages: &[Inbound]) -> Result<u64, Error> {
    let mut given = Given::new(&[
        ("tenant_id", Kind::Id),
        ("id", Kind::Id),
        ("account_id", Kind::Id),
        ("channel", Kind::Int),
        ("provider_message_id", Kind::Text),
        ("address", Kind::Text),
        ("body", Kind::Text),
        ("received_at", Kind::Time),
        ("contact_id", Kind::Id),
    ]);
    for m in messages {
        given.row([
            &m.tenant_id,
            &m.id,
            &m.account_id,
            &m.channel,
            &m.provider_message_id,
            &m.address,
            &m.body,
            &m.received_at,
            &m.contact_id,
        ]);
    }
    tx.insert_many("inbound_messages", &given, "ON CONFLICT (account_id, provider_message_id) DO NOTHING").await
}

/// Which of these messages, of any tenants' accounts, are stored already.
pub async fn known(tx: &mut Tx, keys: &[(AccountId, String)]) -> Result<Vec<(AccountId, String)>, Error> {
    let mut given = Given::new(&[("account_id", Kind::Id), ("provider_message_id", Kind::Text)]);
    for (account, id) in keys {
        given.row([account, id]);
    }
    let rows = tx.match_many("SELECT account_id, provider_message_id FROM inbound_messages", &given, "").await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// One of the tenant's messages.
pub async fn find(tx: &mut Tx, tenant: TenantId, id: InboundId) -> Result<Option<Inbound>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM inbound_messages WHERE tenant_id = $1 AND id = $2");
    tx.row(&sql, &[&tenant, &id]).await?.map(read).transpose()
}

/// Which messages a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Over this channel.
    pub channel: Option<Channel>,
    /// Through this account.
    pub account_id: Option<AccountId>,
    /// From exactly this address.
    pub address: Option<String>,
    /// From this contact.
    pub contact_id: Option<ContactId>,
}

/// The tenant's messages, newest first, that came before `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: InboundId,
    limit: i64,
) -> Result<Vec<Inbound>, Error> {
    let mut sql = format!("SELECT {COLUMNS} FROM inbound_messages WHERE tenant_id = $1 AND id < $2");
    let mut params: Vec<&dyn Param> = vec![&tenant, &before];
    let conditions: [(&str, Option<&dyn Param>); 4] = [
        ("channel", filter.channel.as_ref().map(|channel| channel as &dyn Param)),
        ("account_id", filter.account_id.as_ref().map(|account| account as &dyn Param)),
        ("address", filter.address.as_ref().map(|address| address as &dyn Param)),
        ("contact_id", filter.contact_id.as_ref().map(|contact| contact as &dyn Param)),
    ];
    for (column, value) in conditions {
        if let Some(value) = value {
            params.push(value);
            sql.push_str(&format!(" AND {column} = ${}", params.len()));
        }
    }
    params.push(&limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
    tx.rows(&sql, &params).await?.into_iter().map(read).collect()
}
