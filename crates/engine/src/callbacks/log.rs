//! The callback log as tenants and support see it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{AccountId, CallbackId, InboundId, MessageId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{
    Scope,
    callback_log::{self, Callback, Filter},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Engine, Error, apply::Change, directory::Account, keys::Caller, page::Window, queries::to_json, view::raw,
};

/// How long requests are kept, in seconds: longer than any provider repeats one (Meta: 7 days) or anybody looks for one.
const KEPT_S: i64 = 30 * 86_400;
/// How long a report about an id we do not know is kept, in seconds. What was not matched within minutes is about something else, such as messages sent past us.
const EARLY_KEPT_S: i64 = 7 * 86_400;
/// Rows removed in one transaction.
const PURGE_PAGE: i64 = 500;

/// What is kept of what a request told, one entry each: providers put up to some hundred events into one.
pub(super) const TOLD_MAX: usize = 100;

/// One thing a request told, about what, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallbackTold)]
pub struct Told {
    /// What happened: `delivered`, `failed`, `opened` and so on, `received` for a message somebody sent, `templates` for news of WhatsApp templates.
    #[schema(example = "delivered")]
    pub fact: String,
    /// The message it is about; none when no such message was known then.
    #[schema(value_type = Option<String>, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    #[serde(default)]
    pub message_id: Option<MessageId>,
    /// The message somebody sent.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub inbound_message_id: Option<InboundId>,
    /// What it changed, when it was taken. Requests from before this was kept have nothing here, and no `unchanged` either.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub changed: Vec<Change>,
    /// Why it changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<Unchanged>,
}

/// Why something a request told changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallbackUnchanged)]
#[serde(rename_all = "snake_case")]
pub enum Unchanged {
    /// The message had come as far or had gone on another way, or what somebody sent was stored before.
    KnownAlready,
    /// No such message was known then. Should it become known within a week, the report is applied, and the message's timeline tells it.
    UnknownMessage,
}

impl Told {
    fn new(fact: &str, changed: Vec<Change>, otherwise: Unchanged) -> Self {
        let unchanged = changed.is_empty().then_some(otherwise);
        Self { fact: fact.to_owned(), message_id: None, inbound_message_id: None, changed, unchanged }
    }

    /// A report about a message.
    pub(super) fn report(fact: &str, message_id: Option<MessageId>, changed: Vec<Change>) -> Self {
        let otherwise = message_id.map_or(Unchanged::UnknownMessage, |_| Unchanged::KnownAlready);
        Self { message_id, ..Self::new(fact, changed, otherwise) }
    }

    /// A message somebody sent; nothing changed by one that was there before.
    pub(super) fn message(id: InboundId, changed: Vec<Change>) -> Self {
        let inbound_message_id = (!changed.is_empty()).then_some(id);
        Self { inbound_message_id, ..Self::new("received", changed, Unchanged::KnownAlready) }
    }

    /// That the account's templates are not what they were.
    pub(super) fn templates() -> Self {
        let changed = vec![Change::new("whatsapp_templates", "to be read again")];
        Self::new("templates", changed, Unchanged::KnownAlready)
    }
}

/// Which requests a list shows (`GET /v1/callback-log`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallbackQuery {
    /// To this account.
    #[param(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// With this verdict: `valid`, `invalid` or `unreadable`.
    #[param(value_type = Option<String>, example = "invalid")]
    pub verdict: Option<VerdictWord>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// What was found about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    /// It is the provider's.
    Valid,
    /// It is not, or cannot be shown to be.
    Invalid,
    /// It is the provider's, and could not be read.
    Unreadable,
}

impl VerdictWord {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Unreadable => "unreadable",
        }
    }
}

/// A provider's request.
#[derive(Debug, Serialize, ToSchema)]
pub struct CallbackView {
    /// Its id.
    #[schema(value_type = String, example = "cbk_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: CallbackId,
    /// To which account it came.
    #[schema(value_type = String)]
    pub account_id: AccountId,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// `GET` or `POST`.
    #[schema(example = "POST")]
    pub method: String,
    /// What follows the account in the path, without what makes the address unguessable.
    pub path: String,
    /// The query, without secrets.
    pub query: String,
    /// Headers, without secrets, as pairs.
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Option<Box<RawValue>>,
    /// The body; a list shows its first 2,048 bytes.
    pub body: String,
    /// `utf-8`, or `base64` for a body that is no text.
    #[schema(example = "utf-8")]
    pub body_encoding: &'static str,
    /// How many bytes the body had.
    pub size: u64,
    /// `valid`, `invalid` (not the provider's; nothing changed) or `unreadable` (the provider's, but not in a form we know).
    #[schema(example = "valid")]
    pub verdict: String,
    /// Why it is not valid or not readable, or what came of the call it asked for.
    pub detail: Option<String>,
    /// How many things it told us.
    pub observed: u32,
    /// How many of them were about messages we did not know then.
    pub unmatched: u32,
    /// How often it came again. Repetitions change nothing.
    pub repeats: u32,
    /// What it told, up to a hundred things, and what each changed. Empty for a request that is not valid: it changed nothing, and `detail` says why.
    pub told: Vec<Told>,
}

impl CallbackView {
    /// `account` is the one it came to, if it is still there: rows from before its addresses were taken out have them in their paths.
    fn of(row: Callback, account: Option<&Account>) -> Self {
        let path = match account {
            Some(account) => account.secrets().hidden(row.path),
            None => row.path,
        };
        let (body, body_encoding) = match text(row.body) {
            Ok(text) => (text, "utf-8"),
            Err(bytes) => (STANDARD.encode(bytes), "base64"),
        };
        Self {
            id: row.id,
            account_id: row.account_id,
            received_at: row.received_at,
            method: row.method,
            path,
            query: row.query,
            headers: raw(Some(&row.headers)),
            body,
            body_encoding,
            size: row.size,
            verdict: row.verdict,
            detail: row.detail,
            observed: row.observed,
            unmatched: row.unmatched,
            repeats: row.repeats,
            told: row.told.and_then(|told| serde_json::from_str(&told).ok()).unwrap_or_default(),
        }
    }
}

/// The bytes as text; a character that was cut in two at the end is left out.
fn text(bytes: Vec<u8>) -> Result<String, Vec<u8>> {
    String::from_utf8(bytes).or_else(|error| {
        let (valid, is_cut) = (error.utf8_error().valid_up_to(), error.utf8_error().error_len().is_none());
        let mut bytes = error.into_bytes();
        if !is_cut {
            return Err(bytes);
        }
        bytes.truncate(valid);
        String::from_utf8(bytes).map_err(std::string::FromUtf8Error::into_bytes)
    })
}

impl Engine {
    /// Lists what providers sent to the tenant's accounts, newest first, as JSON. Needs the scope `callbacks:read`.
    #[crate::boxed]
    pub async fn callback_log(&self, caller: &Caller, query: &CallbackQuery) -> Result<Vec<u8>, Error> {
        caller.need("callbacks:read")?;
        let tenant = caller.need_tenant()?;
        let window = Window::read("callback_log", query.limit, query.cursor.as_deref())?;
        let filter = Filter { account_id: query.account_id, verdict: query.verdict.map(VerdictWord::as_str) };
        let read = self.ports.db.read(Scope::Tenant(tenant), move |tx| {
            Box::pin(async move {
                let before = CallbackId::from_ulid(window.before);
                callback_log::list(tx, tenant, &filter, before, window.rows()).await
            })
        });
        let rows = read.await.map_err(Error::from)?;
        let of = self.tenant(tenant).await?.1;
        let view = |row: Callback| {
            let account = of.account(row.account_id).map(Arc::as_ref);
            CallbackView::of(row, account)
        };
        to_json(&window.page(rows, |row| row.id.ulid(), view))
    }

    /// Reads one request with its whole body, as JSON. Needs the scope `callbacks:read`.
    #[crate::boxed]
    pub async fn callback_entry(&self, caller: &Caller, id: CallbackId) -> Result<Vec<u8>, Error> {
        caller.need("callbacks:read")?;
        let tenant = caller.need_tenant()?;
        let read = self
            .ports
            .db
            .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { callback_log::find(tx, tenant, id).await }));
        let row = read.await.map_err(Error::from)?.ok_or_else(|| Error::not_found("callback"))?;
        let of = self.tenant(tenant).await?.1;
        let account = of.account(row.account_id).map(Arc::as_ref);
        to_json(&CallbackView::of(row, account))
    }

    /// Forgets requests older than 30 days, in small transactions, and reports nobody asked for within a week. Run every hour; killed anywhere, the next run begins
    /// anew. Answers how many requests.
    #[crate::boxed]
    pub async fn purge_callbacks(&self) -> Result<u64, Error> {
        let early = self.ports.clock.now().plus_seconds(-EARLY_KEPT_S);
        let forget = self
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { store::reports::purge_early(tx, early).await }));
        forget.await.map_err(Error::from)?;
        let before = self.ports.clock.now().plus_seconds(-KEPT_S);
        let (mut removed, mut after) = (0, model::TenantId::from_ulid(0));
        loop {
            let step = self.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { callback_log::purge(tx, after, before, PURGE_PAGE).await })
            });
            let step = step.await.map_err(Error::from)?;
            removed += step.removed;
            match step.tenant {
                None => return Ok(removed),
                Some(tenant) if step.removed < PURGE_PAGE.unsigned_abs() => after = tenant,
                // The same tenant has more.
                Some(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_text_where_it_can_be() {
        assert_eq!(text("aä".into()), Ok("aä".into()));
        assert_eq!(text(b"a\xc3".to_vec()), Ok("a".into()), "the list cut a character in two");
        assert_eq!(text(b"\xff\xfea".to_vec()), Err(b"\xff\xfea".to_vec()));
    }
}
