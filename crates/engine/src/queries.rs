//! Reading messages: one, a list, and what became of one. Called by the API and the console. Changes nothing.
//!
//! Another tenant's message is not found. Events to webhook endpoints travel as messages too; a list leaves them out, because they are not messages to people, and
//! one of them is shown to the tenant it belongs to.

mod timeline;

use model::{AccountId, Address, CampaignId, Channel, ContactId, MessageId, Status, TenantId, Timestamp};
use serde::Deserialize;
use store::{
    Scope, Tx, fallbacks, inflight,
    messages::{self, Filter, Message},
};
use utoipa::IntoParams;

pub use self::timeline::{Entry, Timeline};
use crate::{
    Engine, Error, ErrorKind, FieldError,
    apply::fallback,
    directory::Tenant,
    keys::Caller,
    page::{Page, Window},
    view::{self, MessageDetail, MessageView},
};

/// Longest `q`, in bytes: an e-mail address has at most 254, provider ids fewer.
const Q_MAX: usize = 512;

/// Which messages a list shows (`GET /v1/messages`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// At this status.
    #[param(value_type = Option<String>, example = "failed")]
    pub status: Option<Status>,
    /// Over this channel.
    #[param(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Through this account.
    #[param(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// To this contact.
    #[param(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// Of this campaign.
    #[param(value_type = Option<String>)]
    pub campaign_id: Option<CampaignId>,
    /// Accepted at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Accepted before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// A message's id, a provider's id, or a recipient's address, whole.
    #[param(example = "ada@example.com")]
    pub q: Option<String>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl ListQuery {
    fn filter(&self) -> Result<Filter, Error> {
        if self.channel == Some(Channel::Webhook) {
            let detail = "events to endpoints are listed under /v1/webhook-endpoints/{id}/deliveries";
            return Err(malformed("?channel", detail.to_owned()));
        }
        if self.since.zip(self.until).is_some_and(|(since, until)| since >= until) {
            return Err(malformed(
                "?until",
                "nothing lies between `since` and `until`; give a later `until`".to_owned(),
            ));
        }
        Ok(Filter {
            status: self.status,
            channel: self.channel,
            account_id: self.account_id,
            contact_id: self.contact_id,
            campaign_id: self.campaign_id,
            since: self.since,
            until: self.until,
            address: None,
            is_dead: false,
        })
    }
}

/// 400 for one query parameter.
pub(crate) fn malformed(pointer: &str, detail: String) -> Error {
    let name = pointer.trim_start_matches('?');
    let text = format!("Query parameter `{name}`: {detail}.");
    Error { errors: vec![FieldError::new(pointer, detail)], ..Error::new(ErrorKind::Malformed, "invalid_query", text) }
}

/// What `q` looks for.
enum Sought {
    /// A message's own id.
    Message(MessageId),
    /// A provider's id, or, when no message has it, an address.
    Text(String),
}

fn sought(q: &str) -> Result<Sought, Error> {
    let q = q.trim();
    if q.is_empty() || q.len() > Q_MAX {
        return Err(malformed(
            "?q",
            format!("1 to {Q_MAX} bytes: a message's id, a provider's id, or a recipient's address"),
        ));
    }
    Ok(q.parse().map_or_else(|_| Sought::Text(q.to_owned()), Sought::Message))
}

/// An address as messages keep it, from what a person typed.
fn address(q: &str) -> String {
    Address::read(Channel::Email, q).map_or_else(|_| q.to_owned(), |address| address.to_string())
}

impl Engine {
    /// Reads one of the tenant's messages, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn message(&self, caller: &Caller, id: MessageId) -> Result<Vec<u8>, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let message = found(messages::find(tx, tenant, id).await?)?;
                let is_in_flight = !inflight::find_many(tx, &[id]).await?.is_empty();
                let former = match fallback::may_move_on(&message) {
                    true => fallbacks::former(tx, &[(tenant, id)]).await?,
                    false => Vec::new(),
                };
                Ok::<_, Error>((message, is_in_flight, former))
            })
        });
        let (message, is_in_flight, former) = read.await?;
        to_json(&MessageDetail {
            message: view::message(&message, is_in_flight, self.ports.clock.now()),
            former_routes: former.into_iter().map(view::former_route).collect(),
        })
    }

    /// Lists the tenant's messages, newest first, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn messages(&self, caller: &Caller, query: &ListQuery) -> Result<Vec<u8>, Error> {
        caller.need("messages:read")?;
        let tenant_id = caller.need_tenant()?;
        let window = Window::read("messages", query.limit, query.cursor.as_deref())?;
        let filter = query.filter()?;
        let sought = query.q.as_deref().map(sought).transpose()?;
        let (_, tenant) = self.tenant(tenant_id).await?;
        let now = self.ports.clock.now();
        let read = self.ports.db.read(Scope::Tenant(tenant_id), move |tx| {
            Box::pin(async move {
                let rows = match sought {
                    None => list(tx, tenant_id, &filter, window, now).await?,
                    Some(Sought::Message(id)) => exactly(tx, tenant_id, &filter, window, now, &[id]).await?,
                    Some(Sought::Text(text)) => by_text(tx, &tenant, filter, window, now, &text).await?,
                };
                with_flights(tx, rows).await
            })
        });
        to_json(&shown(window, &read.await?, now))
    }

    /// Tells what became of one of the tenant's messages, oldest first, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn timeline(&self, caller: &Caller, id: MessageId) -> Result<Vec<u8>, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        let read = self
            .ports
            .db
            .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { timeline::read(tx, tenant, id).await }));
        to_json(&timeline::tell(read.await?, self.ports.clock.now()))
    }
}

/// What became of one of the tenant's messages, within a snapshot of the caller's.
pub(crate) async fn told(tx: &mut Tx, tenant: TenantId, id: MessageId, now: Timestamp) -> Result<Timeline, Error> {
    Ok(timeline::tell(timeline::read(tx, tenant, id).await?, now))
}

/// The message, or 404.
pub(crate) fn found(message: Option<Message>) -> Result<Message, Error> {
    message.ok_or_else(|| Error::not_found("message"))
}

/// A list's rows, each with whether an attempt is in flight.
pub(crate) type Rows = Vec<(Message, bool)>;

async fn list(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    window: Window,
    now: Timestamp,
) -> Result<Vec<Message>, Error> {
    let before = (window.before != u128::MAX).then(|| MessageId::from_ulid(window.before));
    Ok(messages::list(tx, tenant, filter, before, now, window.rows()).await?)
}

/// These messages, as far as they pass the filter, newest first.
async fn exactly(
    tx: &mut Tx,
    tenant: TenantId,
    filter: &Filter,
    window: Window,
    now: Timestamp,
    ids: &[MessageId],
) -> Result<Vec<Message>, Error> {
    let keys: Vec<_> = ids.iter().filter(|id| id.ulid() < window.before).map(|id| (tenant, *id)).collect();
    let found = messages::find_many(tx, &keys).await?;
    let flying: Vec<MessageId> =
        inflight::find_many(tx, ids).await?.into_iter().map(|flight| flight.message_id).collect();
    let mut rows: Vec<Message> = found.into_iter().filter(|m| passes(filter, m, flying.contains(&m.id), now)).collect();
    rows.sort_by_key(|m| std::cmp::Reverse(m.id));
    rows.truncate(window.rows() as usize);
    Ok(rows)
}

/// The same conditions as the filter's SQL, for messages found otherwise.
fn passes(filter: &Filter, m: &Message, is_in_flight: bool, now: Timestamp) -> bool {
    let is = |wanted: bool, passes: bool| !wanted || passes;
    m.channel != Channel::Webhook
        && is(filter.status.is_some(), filter.status == Some(view::message(m, is_in_flight, now).status))
        && is(filter.channel.is_some(), filter.channel == Some(m.channel))
        && is(filter.account_id.is_some(), filter.account_id == m.account_id)
        && is(filter.contact_id.is_some(), filter.contact_id == m.contact_id)
        && is(filter.campaign_id.is_some(), filter.campaign_id == m.campaign_id)
        && filter.since.is_none_or(|since| m.created_at >= since)
        && filter.until.is_none_or(|until| m.created_at < until)
}

/// The messages a provider knows under this text, or those to this address.
async fn by_text(
    tx: &mut Tx,
    tenant: &Tenant,
    mut filter: Filter,
    window: Window,
    now: Timestamp,
    text: &str,
) -> Result<Vec<Message>, Error> {
    let keys: Vec<(AccountId, String)> = tenant.accounts.iter().map(|account| (account.id, text.to_owned())).collect();
    let known = messages::find_by_provider_ids(tx, &keys).await?;
    if known.is_empty() {
        filter.address = Some(address(text));
        return list(tx, tenant.id, &filter, window, now).await;
    }
    let ids: Vec<MessageId> = known.into_iter().map(|(_, _, _, id)| id).collect();
    exactly(tx, tenant.id, &filter, window, now, &ids).await
}

/// Adds which of them are in flight.
pub(crate) async fn with_flights(tx: &mut Tx, rows: Vec<Message>) -> Result<Rows, Error> {
    let waiting: Vec<MessageId> = rows.iter().filter(|m| !m.status.is_final()).map(|m| m.id).collect();
    let flying: std::collections::HashSet<MessageId> =
        inflight::find_many(tx, &waiting).await?.into_iter().map(|flight| flight.message_id).collect();
    Ok(rows
        .into_iter()
        .map(|m| {
            let is_in_flight = flying.contains(&m.id);
            (m, is_in_flight)
        })
        .collect())
}

/// Cuts the rows to a page and shows them.
pub(crate) fn shown(window: Window, rows: &Rows, now: Timestamp) -> Page<MessageView<'_>> {
    let rows: Vec<&(Message, bool)> = rows.iter().collect();
    window.page(rows, |row| row.0.id.ulid(), |(m, is_in_flight)| view::message(m, *is_in_flight, now))
}

/// An answer as JSON bytes.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::internal(format!("an answer has no JSON form: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_refuses_what_it_cannot_mean() {
        let refused = |query: ListQuery| query.filter().unwrap_err().errors[0].pointer.clone();
        assert_eq!(refused(ListQuery { channel: Some(Channel::Webhook), ..ListQuery::default() }), "?channel");
        let at = Some(Timestamp::from_seconds(5));
        assert_eq!(refused(ListQuery { since: at, until: at, ..ListQuery::default() }), "?until");
    }

    #[test]
    fn a_search_is_an_id_or_a_text() {
        let id = MessageId::from_ulid(7);
        assert!(matches!(sought(&format!(" {id} ")), Ok(Sought::Message(found)) if found == id));
        assert!(matches!(sought("SM123"), Ok(Sought::Text(text)) if text == "SM123"));
        assert!(sought("  ").is_err() && sought(&"x".repeat(513)).is_err());
        assert_eq!(address("Ada@BÜCHER.example"), "Ada@xn--bcher-kva.example");
        assert_eq!(address("+15550100001"), "+15550100001");
    }
}
