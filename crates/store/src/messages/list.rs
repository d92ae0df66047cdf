//! Lists of messages, newest first, by what they are filtered by.

use model::{AccountId, CampaignId, Channel, ContactId, MessageId, Status, TenantId, Timestamp};

use super::{COLUMNS, Message};
use crate::{Error, Param, Tx};

/// What few messages come to: the condition of the index `messages_trouble`.
const TROUBLE: [Status; 6] =
    [Status::Canceled, Status::Expired, Status::Suppressed, Status::Unknown, Status::Failed, Status::Bounced];

/// Which messages a list shows.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// At this status, as the API tells it: `sending` and `queued` look at the work tables.
    pub status: Option<Status>,
    /// Over this channel. Without one, events to webhook endpoints are left out.
    pub channel: Option<Channel>,
    /// Through this account.
    pub account_id: Option<AccountId>,
    /// To this contact.
    pub contact_id: Option<ContactId>,
    /// Of this campaign.
    pub campaign_id: Option<CampaignId>,
    /// Accepted at or after.
    pub since: Option<Timestamp>,
    /// Accepted before.
    pub until: Option<Timestamp>,
    /// To exactly this address.
    pub address: Option<String>,
    /// Only dead letters.
    pub is_dead: bool,
}

/// One page of a tenant's messages, newest first, older than `before`.
pub async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    before: Option<MessageId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<Message>, Error> {
    let place =
        Place { tenant, since: filter.since.map(first_of), until: filter.until.map(first_of), before, now, limit };
    let (sql, params) = query(filter, &place);
    tx.rows(&sql, &params).await?.into_iter().map(Message::read).collect()
}

/// The lowest id of a moment.
fn first_of(at: Timestamp) -> MessageId {
    MessageId::from_ulid(u128::from(at.as_millis().max(0).unsigned_abs()) << 80)
}

/// Where in whose list a page lies.
struct Place {
    tenant: TenantId,
    since: Option<MessageId>,
    until: Option<MessageId>,
    before: Option<MessageId>,
    now: Timestamp,
    limit: i64,
}

/// The statement of a page.
fn query<'a>(filter: &'a Filter, place: &'a Place) -> (String, Vec<&'a dyn Param>) {
    let mut conditions: Vec<(&str, Vec<&dyn Param>)> = Vec::new();
    match &filter.channel {
        Some(channel) => conditions.push(("channel = ?", vec![channel])),
        None => conditions.push(("channel <> ?", vec![&Channel::Webhook])),
    }
    match &filter.status {
        None => {}
        Some(Status::Sending) => {
            conditions.push(("EXISTS (SELECT 1 FROM inflight WHERE inflight.message_id = messages.id)", vec![]));
        }
        Some(Status::Scheduled) => {
            conditions.push(("status = ? AND due_at > ?", vec![&Status::Scheduled, &place.now]));
        }
        Some(Status::Queued) => conditions.push((
            "(status = ? OR (status = ? AND due_at <= ?)) AND NOT EXISTS (SELECT 1 FROM inflight WHERE inflight.message_id = messages.id)",
            vec![&Status::Queued, &Status::Scheduled, &place.now],
        )),
        // Those that few messages have are indexed; SQLite takes the index when it is told its condition.
        Some(status) if TROUBLE.contains(status) => {
            conditions.push(("status = ? AND status IN (3, 4, 5, 6, 8, 10)", vec![status]));
        }
        Some(status) => conditions.push(("status = ?", vec![status])),
    }
    if let Some(account) = &filter.account_id {
        conditions.push(("account_id = ?", vec![account]));
    }
    if let Some(contact) = &filter.contact_id {
        conditions.push(("contact_id = ?", vec![contact]));
    }
    if let Some(campaign) = &filter.campaign_id {
        conditions.push(("campaign_id = ?", vec![campaign]));
    }
    if let Some(since) = &place.since {
        conditions.push(("id >= ?", vec![since]));
    }
    if let Some(until) = &place.until {
        conditions.push(("id < ?", vec![until]));
    }
    if let Some(address) = &filter.address {
        conditions.push(("address = ?", vec![address]));
    }
    if filter.is_dead {
        conditions.push(("dead_at IS NOT NULL", vec![]));
    }
    if let Some(before) = &place.before {
        conditions.push(("id < ?", vec![before]));
    }
    let mut params: Vec<&dyn Param> = vec![&place.tenant];
    let mut sql = format!("SELECT {COLUMNS} FROM messages WHERE tenant_id = $1");
    for (condition, values) in conditions {
        sql.push_str(" AND ");
        let mut values = values.into_iter();
        for piece in condition.split_inclusive('?') {
            match piece.strip_suffix('?') {
                Some(text) => {
                    params.extend(values.next());
                    sql.push_str(&format!("{text}${}", params.len()));
                }
                None => sql.push_str(piece),
            }
        }
    }
    params.push(&place.limit);
    sql.push_str(&format!(" ORDER BY id DESC LIMIT ${}", params.len()));
    (sql, params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Db, Scope, scratch::Scratch};

    /// How SQLite would find a page.
    async fn plan(db: &Db, filter: Filter) -> String {
        let place = Place {
            tenant: TenantId::from_ulid(1),
            since: None,
            until: None,
            before: Some(MessageId::from_ulid(9)),
            now: Timestamp::from_seconds(1),
            limit: 51,
        };
        let read = db.read(Scope::System, move |tx| {
            Box::pin(async move {
                let (sql, params) = query(&filter, &place);
                let rows = tx.rows(&format!("EXPLAIN QUERY PLAN {sql}"), &params).await?;
                rows.into_iter().map(|mut row| row.get(3)).collect::<Result<Vec<String>, Error>>()
            })
        });
        read.await.unwrap().join("; ")
    }

    #[tokio::test]
    async fn a_filtered_page_is_found_by_its_index() {
        let scratch = Scratch::new("message-list").await;
        let all = Filter::default;
        let address = Some("+4915112345678".to_owned());
        for (index, filter) in [
            ("PRIMARY KEY (tenant_id=? AND id<?)", all()),
            ("messages_address (tenant_id=? AND address=? AND id<?)", Filter { address, ..all() }),
            ("messages_dead (tenant_id=? AND id<?)", Filter { is_dead: true, ..all() }),
            ("messages_trouble (tenant_id=? AND status=? AND id<?)", Filter { status: Some(Status::Failed), ..all() }),
            (
                "messages_contact (tenant_id=? AND contact_id=? AND id<?)",
                Filter { contact_id: Some(ContactId::from_ulid(1)), ..all() },
            ),
            (
                "messages_campaign (tenant_id=? AND campaign_id=? AND id<?)",
                Filter { campaign_id: Some(CampaignId::from_ulid(1)), ..all() },
            ),
        ] {
            let plan = plan(&scratch.db, filter).await;
            assert!(plan.contains(index), "{plan} instead of {index}");
        }
    }
}
