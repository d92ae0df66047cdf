//! Taking what a person said and was told out of rows that stay: they still count, and no longer tell of whom.
//!
//! Each function works on up to `limit` rows and answers what it found, so that a caller repeats it until nothing is left.

use model::{AttachmentId, AuditId, CallbackId, ContactId, InboundId, MessageId, TenantId, Timestamp};

use crate::{Dialect, Error, Tx, audit, messages::ContentId};

/// Stands where an address stood, alone or with `:` and the country it lay in.
pub const ERASED: &str = "erased";

/// Up to `limit` of the tenant's messages that went to a contact, or to one of its addresses.
pub async fn messages_of(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    addresses: &[String],
    limit: i64,
) -> Result<Vec<MessageId>, Error> {
    let sql = "SELECT id FROM messages WHERE tenant_id = $1 AND contact_id = $2 ORDER BY id LIMIT $3";
    let mut rows = tx.rows(sql, &[&tenant, &contact, &limit]).await?;
    for address in addresses {
        let sql = "SELECT id FROM messages WHERE tenant_id = $1 AND address = $2 ORDER BY id LIMIT $3";
        rows.extend(tx.rows(sql, &[&tenant, address, &limit]).await?);
    }
    let mut ids: Vec<MessageId> = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
    ids.sort_unstable();
    ids.dedup();
    ids.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ids)
}

/// Empties one message, its attempts and its observations. `address` takes the place of its recipient's and begins with [`ERASED`]; `failure` is what is kept of why it failed.
pub async fn empty_message(
    tx: &mut Tx,
    tenant: TenantId,
    message: MessageId,
    address: &str,
    failure: Option<&str>,
) -> Result<(), Error> {
    let sql = "UPDATE messages SET address = $1, variables = NULL, metadata = NULL, contact_id = NULL, provider_message_id = NULL, failure = $2, dead_at = NULL
        WHERE tenant_id = $3 AND id = $4";
    tx.execute(sql, &[&address, &failure, &tenant, &message]).await?;
    for sql in [
        "UPDATE attempts SET exchange = NULL, provider_message_id = NULL, note = NULL WHERE tenant_id = $1 AND message_id = $2",
        "UPDATE observations SET detail = NULL WHERE tenant_id = $1 AND message_id = $2",
        "DELETE FROM fallbacks WHERE tenant_id = $1 AND message_id = $2",
        "DELETE FROM tracking_hits WHERE tenant_id = $1 AND message_id = $2",
    ] {
        tx.execute(sql, &[&tenant, &message]).await?;
    }
    Ok(())
}

/// Empties one of the ways a message left before it moved on to another channel.
pub async fn empty_route(
    tx: &mut Tx,
    tenant: TenantId,
    message: MessageId,
    position: u32,
    address: &str,
) -> Result<(), Error> {
    let sql = "UPDATE former_routes SET address = $1, provider_message_id = NULL, failure = NULL
        WHERE tenant_id = $2 AND message_id = $3 AND position = $4";
    tx.execute(sql, &[&address, &tenant, &message, &position]).await.map(drop)
}

/// Writes what is kept of why one of a message's attempts failed.
pub async fn keep_failure(
    tx: &mut Tx,
    tenant: TenantId,
    message: MessageId,
    number: u32,
    failure: Option<&str>,
) -> Result<(), Error> {
    let sql = "UPDATE attempts SET failure = $1 WHERE tenant_id = $2 AND message_id = $3 AND number = $4";
    tx.execute(sql, &[&failure, &tenant, &message, &number]).await.map(drop)
}

/// Whether another message among those accepted with one, whose ids lie from `first` to `last`, says the same and still has its recipient.
pub async fn is_shared(
    tx: &mut Tx,
    tenant: TenantId,
    content: ContentId,
    (first, last): (MessageId, MessageId),
) -> Result<bool, Error> {
    let sql = "SELECT 1 FROM messages WHERE tenant_id = $1 AND id >= $2 AND id <= $3 AND content_id = $4 AND address <> $5 AND address NOT LIKE $6 LIMIT 1";
    let with_country = format!("{ERASED}:%");
    Ok(tx.row(sql, &[&tenant, &first, &last, &content, &ERASED, &with_country]).await?.is_some())
}

/// Replaces what a content says, unless it is a template's.
pub async fn empty_content(tx: &mut Tx, tenant: TenantId, content: ContentId, body: &str) -> Result<(), Error> {
    let sql = "UPDATE contents SET body = $1 WHERE tenant_id = $2 AND id = $3 AND template IS NULL";
    tx.execute(sql, &[&body, &tenant, &content]).await.map(drop)
}

/// Empties up to `limit` messages a contact, or somebody at one of its addresses, wrote. Answers what they said: it may name files.
pub async fn empty_inbound(
    tx: &mut Tx,
    tenant: TenantId,
    contact: ContactId,
    addresses: &[String],
    body: &str,
    limit: i64,
) -> Result<Vec<String>, Error> {
    let sql = "SELECT id, body FROM inbound_messages WHERE tenant_id = $1 AND contact_id = $2 ORDER BY id LIMIT $3";
    let mut rows = tx.rows(sql, &[&tenant, &contact, &limit]).await?;
    for address in addresses {
        let sql = "SELECT id, body FROM inbound_messages WHERE tenant_id = $1 AND address = $2 ORDER BY id LIMIT $3";
        rows.extend(tx.rows(sql, &[&tenant, address, &limit]).await?);
    }
    let mut emptied = Vec::new();
    for mut row in rows {
        let id: InboundId = row.get(0)?;
        let sql =
            "UPDATE inbound_messages SET address = $1, body = $2, contact_id = NULL WHERE tenant_id = $3 AND id = $4";
        tx.execute(sql, &[&ERASED, &body, &tenant, &id]).await?;
        emptied.push(row.get(1)?);
    }
    Ok(emptied)
}

/// Up to `limit` of the tenant's callbacks after `after`, oldest first: id, query, headers and body.
pub async fn callbacks(
    tx: &mut Tx,
    tenant: TenantId,
    after: CallbackId,
    limit: i64,
) -> Result<Vec<(CallbackId, String, String, Vec<u8>)>, Error> {
    let sql = "SELECT id, query, headers, body FROM callback_log WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    let rows = tx.rows(sql, &[&tenant, &after, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).collect()
}

/// Empties a callback.
pub async fn empty_callback(tx: &mut Tx, tenant: TenantId, id: CallbackId) -> Result<(), Error> {
    let nothing: &[u8] = &[];
    let sql =
        "UPDATE callback_log SET query = '', headers = '[]', body = $1, detail = NULL WHERE tenant_id = $2 AND id = $3";
    tx.execute(sql, &[&nothing, &tenant, &id]).await.map(drop)
}

/// Up to `limit` of the tenant's recorded exchanges after one attempt: message, number and text.
pub async fn exchanges(
    tx: &mut Tx,
    tenant: TenantId,
    (message, number): (MessageId, u32),
    limit: i64,
) -> Result<Vec<(MessageId, u32, String)>, Error> {
    let sql = "SELECT message_id, number, exchange FROM attempts
        WHERE tenant_id = $1 AND (message_id, number) > ($2, $3) AND exchange IS NOT NULL ORDER BY message_id, number LIMIT $4";
    let rows = tx.rows(sql, &[&tenant, &message, &number, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).collect()
}

/// Removes one recorded exchange.
pub async fn empty_exchange(tx: &mut Tx, tenant: TenantId, message: MessageId, number: u32) -> Result<(), Error> {
    let sql = "UPDATE attempts SET exchange = NULL WHERE tenant_id = $1 AND message_id = $2 AND number = $3";
    tx.execute(sql, &[&tenant, &message, &number]).await.map(drop)
}

/// Removes what a contact agreed to and wished for.
pub async fn forget_contact(tx: &mut Tx, tenant: TenantId, contact: ContactId) -> Result<(), Error> {
    for table in ["consent_records", "consent_states", "contact_preferences", "contact_exports"] {
        let sql = format!("DELETE FROM {table} WHERE tenant_id = $1 AND contact_id = $2");
        tx.execute(&sql, &[&tenant, &contact]).await?;
    }
    tx.execute("DELETE FROM contact_moves WHERE tenant_id = $1 AND to_id = $2", &[&tenant, &contact]).await.map(drop)
}

/// Up to `limit` of the tenant's kept answers that are not sealed, behind the key `after`: key and body.
pub async fn answers(tx: &mut Tx, tenant: TenantId, after: &str, limit: i64) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let sql = "SELECT key, body FROM idempotency_keys WHERE tenant_id = $1 AND key > $2 AND data_key_id IS NULL ORDER BY key LIMIT $3";
    let rows = tx.rows(sql, &[&tenant, &after, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Replaces the body of a kept answer.
pub async fn empty_answer(tx: &mut Tx, tenant: TenantId, key: &str, body: &[u8]) -> Result<(), Error> {
    let sql = "UPDATE idempotency_keys SET body = $1 WHERE tenant_id = $2 AND key = $3";
    tx.execute(sql, &[&body, &tenant, &key]).await.map(drop)
}

/// Up to `limit` of the tenant's contents behind `after`: id and body.
pub async fn contents(
    tx: &mut Tx,
    tenant: TenantId,
    after: ContentId,
    limit: i64,
) -> Result<Vec<(ContentId, String)>, Error> {
    let sql = "SELECT id, body FROM contents WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3";
    let rows = tx.rows(sql, &[&tenant, &after, &limit]).await?;
    rows.into_iter().map(|mut row| Ok((row.get(0)?, row.get(1)?))).collect()
}

/// Lets go of a file at once, held or not: its bytes are removed as those of any file that is due.
pub async fn let_go_of_file(tx: &mut Tx, tenant: TenantId, id: AttachmentId, now: Timestamp) -> Result<(), Error> {
    let sql = "UPDATE attachments SET deleted_at = $1, held_until = $1, purge_at = $1 WHERE tenant_id = $2 AND id = $3 AND purging_at IS NULL";
    tx.execute(sql, &[&now, &tenant, &id]).await.map(drop)
}

/// Forgets the bounces of an address that may pass.
pub async fn forget_bounces(tx: &mut Tx, tenant: TenantId, address: &str) -> Result<(), Error> {
    let sql = "DELETE FROM soft_bounces WHERE tenant_id = $1 AND address = $2";
    tx.execute(sql, &[&tenant, &address]).await.map(drop)
}

/// Where a tenant's rows are removed that name a person, as table and column: errors of imports, reports that wait, and checklists of campaigns.
pub const NAMED: [(&str, &str); 4] = [
    ("contact_import_errors", "reason"),
    ("early_reports", "report"),
    ("campaign_checks", "tally"),
    ("campaign_checks", "definition"),
];

/// Texts or entries one step looks at.
const LOOKED_AT: i64 = 500;

/// The condition that a column holds the text `$2` in any case, among other things.
fn holds(tx: &Tx, column: &str) -> String {
    match tx.dialect() {
        Dialect::Sqlite => format!("instr(lower({column}), $2) > 0"),
        Dialect::Postgres => format!("strpos(lower({column}), $2) > 0"),
    }
}

/// Removes the tenant's rows of one of the [`NAMED`] whose text is a person's, as `named` says of those that hold `part`, in small letters.
pub async fn forget_text(
    tx: &mut Tx,
    tenant: TenantId,
    (table, column): (&'static str, &'static str),
    part: &str,
    named: impl Fn(&str) -> bool + Send + Sync,
) -> Result<(), Error> {
    let holds = holds(tx, column);
    let sql = format!(
        "SELECT DISTINCT {column} FROM {table} WHERE tenant_id = $1 AND {holds} AND {column} > $3 ORDER BY {column} LIMIT $4"
    );
    let delete = format!("DELETE FROM {table} WHERE tenant_id = $1 AND {column} = $2");
    let mut after = String::new();
    loop {
        let rows = tx.rows(&sql, &[&tenant, &part, &after, &LOOKED_AT]).await?;
        let texts: Vec<String> = rows.into_iter().map(|mut row| row.get(0)).collect::<Result<_, _>>()?;
        for text in &texts {
            if named(text) {
                tx.execute(&delete, &[&tenant, text]).await?;
            }
        }
        match texts.into_iter().next_back() {
            Some(last) => after = last,
            None => return Ok(()),
        }
    }
}

/// Erases the details of those of the tenant's audit entries that are a person's, as `named` says, from action and detail, of those that hold `part`, in small letters. Answers
/// the numbers of those in the chain.
pub async fn forget_details(
    tx: &mut Tx,
    tenant: TenantId,
    part: &str,
    named: impl Fn(&str, &str) -> bool + Send + Sync,
) -> Result<Vec<i64>, Error> {
    let holds = holds(tx, "detail");
    let sql = format!(
        "SELECT id, number, action, detail FROM audit_log WHERE tenant_id = $1 AND {holds} AND id > $3 ORDER BY id LIMIT $4"
    );
    let (mut erased, mut after) = (Vec::new(), AuditId::from_ulid(0));
    loop {
        let rows = tx.rows(&sql, &[&tenant, &part, &after, &LOOKED_AT]).await?;
        if rows.is_empty() {
            return Ok(erased);
        }
        for mut row in rows {
            let (id, number): (AuditId, Option<i64>) = (row.get(0)?, row.get(1)?);
            let (action, detail): (String, String) = (row.get(2)?, row.get(3)?);
            if named(&action, &detail) {
                audit::erase(tx, tenant, id).await?;
                erased.extend(number);
            }
            after = id;
        }
    }
}
