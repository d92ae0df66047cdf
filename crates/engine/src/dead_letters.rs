//! Dead letters: messages that failed after every try and may be worth another one by a person.
//!
//! Retrying reopens the same message. This is the one exception to "a status never goes back": a person's explicit act, on record as an observation with who did it.
//! Attempts keep counting, tries begin anew, and usage follows the row, so nothing is counted twice.

mod export;
mod retry;

use model::{AccountId, Channel, Timestamp};
use serde::{Deserialize, Serialize};
use store::{
    Scope,
    messages::{self, Filter, Message},
};
use utoipa::{IntoParams, ToSchema};

pub use self::{
    export::EXPORT_MAX,
    retry::{RETRY_MAX, RetryAnswer, RetryRequest},
};
use crate::{
    Engine, Error,
    keys::Caller,
    page::{Page, Window},
    queries::{malformed, to_json},
    view::{self, MessageView},
};

/// Which dead letters a list shows (`GET /v1/dead-letters`).
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeadLetterQuery {
    /// Through this account.
    #[param(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// Over this channel.
    #[param(value_type = Option<String>, example = "email")]
    pub channel: Option<Channel>,
    /// Accepted at or after this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Accepted before this instant.
    #[param(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl DeadLetterQuery {
    fn filter(&self) -> Result<Filter, Error> {
        if self.channel == Some(Channel::Webhook) {
            let detail = "events to endpoints are replayed under /v1/webhook-endpoints/{id}/replay";
            return Err(malformed("?channel", detail.to_owned()));
        }
        Ok(Filter {
            account_id: self.account_id,
            channel: self.channel,
            since: self.since,
            until: self.until,
            is_dead: true,
            ..Filter::default()
        })
    }
}

/// A message that failed after every try.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterView<'a> {
    /// The message.
    #[serde(flatten)]
    pub message: MessageView<'a>,
    /// When it was given up.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub dead_at: Option<Timestamp>,
}

fn shown(m: &Message, now: Timestamp) -> DeadLetterView<'_> {
    DeadLetterView { message: view::message(m, false, now), dead_at: m.dead_at }
}

impl Engine {
    /// Lists the tenant's dead letters, newest message first, as JSON. Needs the scope `messages:read`.
    #[crate::boxed]
    pub async fn dead_letters(&self, caller: &Caller, query: &DeadLetterQuery) -> Result<Vec<u8>, Error> {
        let window = Window::read("dead_letters", query.limit, query.cursor.as_deref())?;
        let rows = self.read_dead_letters(caller, query, window.before, window.rows()).await?;
        let now = self.ports.clock.now();
        let page: Page<Message> = window.page(rows, |m| m.id.ulid(), |m| m);
        to_json(&Page { data: page.data.iter().map(|m| shown(m, now)).collect(), next_cursor: page.next_cursor })
    }

    async fn read_dead_letters(
        &self,
        caller: &Caller,
        query: &DeadLetterQuery,
        before: model::Ulid,
        limit: i64,
    ) -> Result<Vec<Message>, Error> {
        caller.need("messages:read")?;
        let tenant = caller.need_tenant()?;
        let filter = query.filter()?;
        // Always with an end: so SQLite takes the small index of dead letters and not the whole table.
        let before = Some(model::MessageId::from_ulid(before));
        let now = self.ports.clock.now();
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move { messages::list(tx, tenant, &filter, before, now, limit).await })
        });
        read.await.map_err(Error::from)
    }
}
