//! The callback log as tenants and support see it, and the operator its own: what its payment provider told.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use model::{AccountId, CallbackId, InboundId, MessageId, PurchaseId, RefundId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use store::{
    Scope,
    callback_log::{self, Callback, Filter},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    Engine, Error,
    apply::Change,
    directory::{Account, Tenant},
    keys::Caller,
    page::Window,
    queries::{malformed, to_json},
    vault::OPERATOR,
    view::raw,
};

/// To which account the payment provider's requests come: none.
pub(crate) const NO_ACCOUNT: AccountId = AccountId::from_ulid(0);
/// Refused requests of the operator's own log that are kept. Anybody can make one: with their bodies these are some 60 MB.
const REFUSED_KEPT: i64 = 10_000;

/// How long requests are kept, in seconds: longer than any provider repeats one (Meta: 7 days) or anybody looks for one.
const KEPT_S: i64 = 30 * 86_400;
/// How long a report about an id we do not know is kept, in seconds. What was not matched within minutes is about something else, such as messages sent past us.
const EARLY_KEPT_S: i64 = 7 * 86_400;
/// Rows removed in one transaction.
const PURGE_PAGE: i64 = 500;

/// Longest type or id of an event to filter by, in bytes.
const TEXT_MAX: usize = 200;
/// What is kept of what a request told, one entry each: providers put up to some hundred events into one.
pub(super) const TOLD_MAX: usize = 100;

/// One thing a request told, about what, and what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = CallbackTold)]
pub struct Told {
    /// What happened: `delivered`, `failed`, `opened` and so on, `received` for a message somebody sent, `templates` for news of WhatsApp templates, and the payment provider's own word, as
    /// `refund.updated`.
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
    /// The purchase a payment provider speaks of; left out of everything else.
    #[schema(value_type = Option<String>, example = "pur_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase_id: Option<PurchaseId>,
    /// The refund a payment provider speaks of; left out of everything else.
    #[schema(value_type = Option<String>, example = "rfd_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_id: Option<RefundId>,
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
    /// The message, purchase or refund had come as far or had gone on another way, or what somebody sent was stored before.
    KnownAlready,
    /// No such message was known then. Should it become known within a week, the report is applied, and the message's timeline tells it.
    UnknownMessage,
    /// It is about no purchase of this installation.
    UnknownPurchase,
    /// The tenant whose credit it is about is not there any more.
    TenantGone,
    /// The payment was refused, and whoever is at the page may try again.
    StillOpen,
    /// Nothing depends on events of this type.
    NotLookedAt,
}

impl Told {
    /// What changed `changed`, or nothing, for which `otherwise` is the reason.
    pub(crate) fn new(fact: &str, changed: Vec<Change>, otherwise: Unchanged) -> Self {
        let unchanged = changed.is_empty().then_some(otherwise);
        let (message_id, inbound_message_id, purchase_id, refund_id) = (None, None, None, None);
        Self { fact: fact.to_owned(), message_id, inbound_message_id, purchase_id, refund_id, changed, unchanged }
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
    /// In the operator's log: events of this type.
    #[param(example = "checkout.session.completed")]
    pub event_type: Option<String>,
    /// In the operator's log: the event with this id of the payment provider's.
    #[param(example = "evt_1MtJUT2eZvKYlo2CNaw2HvEv")]
    pub event_id: Option<String>,
    /// In the operator's log: about this tenant, also when it is gone. Not together with `Tidings-Tenant`.
    #[param(value_type = Option<String>, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub tenant_id: Option<TenantId>,
    /// Rows of a page, 1 to 500.
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

impl CallbackQuery {
    fn filter(&self, caller: &Caller) -> Result<Filter, Error> {
        let of_operator = [
            ("?event_type", self.event_type.is_some()),
            ("?event_id", self.event_id.is_some()),
            ("?tenant_id", self.tenant_id.is_some()),
        ];
        if let Some((pointer, _)) = of_operator.iter().find(|(_, is_given)| *is_given && caller.tenant.is_some()) {
            let detail = "only the operator's own log, of what its payment provider told, has this: leave it out";
            return Err(malformed(pointer, detail.to_owned()));
        }
        for (pointer, text) in [("?event_type", &self.event_type), ("?event_id", &self.event_id)] {
            if text.as_ref().is_some_and(|text| text.is_empty() || text.len() > TEXT_MAX || text.contains('\0')) {
                return Err(malformed(pointer, format!("1 to {TEXT_MAX} bytes")));
            }
        }
        Ok(Filter {
            account_id: self.account_id,
            verdict: self.verdict.map(VerdictWord::as_str),
            event_type: self.event_type.clone(),
            event_id: self.event_id.clone(),
            about: self.tenant_id,
        })
    }
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
    /// To which account it came; `null` in the operator's log.
    #[schema(value_type = Option<String>)]
    pub account_id: Option<AccountId>,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    /// `GET` or `POST`.
    #[schema(example = "POST")]
    pub method: String,
    /// What follows the account in the path, without what makes the address unguessable; in the operator's log all of it.
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
    /// In the operator's log: what the payment provider calls the event.
    #[schema(example = "checkout.session.completed")]
    pub event_type: Option<String>,
    /// In the operator's log: the payment provider's id of the event.
    #[schema(example = "evt_1MtJUT2eZvKYlo2CNaw2HvEv")]
    pub event_id: Option<String>,
    /// In the operator's log: the tenant it is about, where that is known; it may be gone by now.
    #[schema(value_type = Option<String>, example = "ten_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub tenant_id: Option<TenantId>,
}

impl CallbackView {
    /// `owner` is whose it is, unless it is the operator's. The account it came to may still be there: rows from before its addresses were taken out have them in their paths.
    fn of(row: Callback, owner: Option<&Tenant>) -> Self {
        let account: Option<&Account> = owner.and_then(|owner| owner.account(row.account_id)).map(Arc::as_ref);
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
            account_id: Some(row.account_id).filter(|id| *id != NO_ACCOUNT),
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
            event_type: row.event.kind,
            event_id: row.event.id,
            tenant_id: row.event.about,
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
    /// Lists what providers sent to the tenant's accounts, newest first, as JSON; for the operator outside of any tenant what its payment provider sent. Needs the scope `callbacks:read`.
    #[crate::boxed]
    pub async fn callback_log(&self, caller: &Caller, query: &CallbackQuery) -> Result<Vec<u8>, Error> {
        let owner = caller.need_owner("callbacks:read")?;
        let window = Window::read("callback_log", query.limit, query.cursor.as_deref())?;
        let filter = query.filter(caller)?;
        let read = self.ports.db.read(caller.reach(), move |tx| {
            Box::pin(async move {
                let before = CallbackId::from_ulid(window.before);
                callback_log::list(tx, owner, &filter, before, window.rows()).await
            })
        });
        let rows = read.await.map_err(Error::from)?;
        let of = self.log_tenant(caller).await?;
        to_json(&window.page(rows, |row| row.id.ulid(), |row| CallbackView::of(row, of.as_deref())))
    }

    /// Reads one request with its whole body, as JSON. Needs the scope `callbacks:read`.
    #[crate::boxed]
    pub async fn callback_entry(&self, caller: &Caller, id: CallbackId) -> Result<Vec<u8>, Error> {
        let owner = caller.need_owner("callbacks:read")?;
        let read = self
            .ports
            .db
            .read(caller.reach(), move |tx| Box::pin(async move { callback_log::find(tx, owner, id).await }));
        let row = read.await.map_err(Error::from)?.ok_or_else(|| Error::not_found("callback"))?;
        to_json(&CallbackView::of(row, self.log_tenant(caller).await?.as_deref()))
    }

    /// The tenant whose log a caller reads; `None` for the operator's own.
    async fn log_tenant(&self, caller: &Caller) -> Result<Option<Arc<Tenant>>, Error> {
        match caller.tenant {
            Some(tenant) => Ok(Some(self.tenant(tenant).await?.1)),
            None => Ok(None),
        }
    }

    /// Forgets requests older than 30 days, in small transactions, of those that were refused in the operator's own log all but the newest, and reports nobody asked for within a week. Run every
    /// hour; killed anywhere, the next run begins anew. Answers how many requests.
    #[crate::boxed]
    pub async fn purge_callbacks(&self) -> Result<u64, Error> {
        let early = self.ports.clock.now().plus_seconds(-EARLY_KEPT_S);
        let forget = self
            .ports
            .db
            .write(Scope::System, move |tx| Box::pin(async move { store::reports::purge_early(tx, early).await }));
        forget.await.map_err(Error::from)?;
        let before = self.ports.clock.now().plus_seconds(-KEPT_S);
        let (mut removed, mut after) = (0, None);
        loop {
            let step = self.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { callback_log::trim(tx, OPERATOR, "invalid", REFUSED_KEPT, PURGE_PAGE).await })
            });
            let step = step.await.map_err(Error::from)?;
            removed += step;
            if step < PURGE_PAGE.unsigned_abs() {
                break;
            }
        }
        loop {
            let step = self.ports.db.write(Scope::System, move |tx| {
                Box::pin(async move { callback_log::purge(tx, after, before, PURGE_PAGE).await })
            });
            let step = step.await.map_err(Error::from)?;
            removed += step.removed;
            match step.tenant {
                None => return Ok(removed),
                Some(tenant) if step.removed < PURGE_PAGE.unsigned_abs() => after = Some(tenant),
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
