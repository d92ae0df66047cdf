//! Where credit went: the movements of a ledger, as a list and as a table.

use model::{Money, Timestamp};
use serde::Serialize;
use serde_json::json;
use store::{
    Scope,
    credits::{self as rows, Entry},
};
use utoipa::ToSchema;

use crate::{
    Error, Parts, audit,
    csv::Csv,
    export::{Export, Format},
    keys::Caller,
    page::{Page, Window, read_cursor, write_cursor},
};

/// Entries of one CSV statement: some 10 MB of text. More are continued by its cursor.
const STATEMENT_MAX: i64 = 50_000;
/// Entries that are looked at for one statement of a part of the time: a second or two. More are continued by its cursor.
const STATEMENT_SCAN: i64 = 1_000_000;
/// The name cursors of entries are bound to, as a list and as a statement.
const ENTRIES: &str = "credit-entries";

/// A movement of credit.
#[derive(Debug, Serialize, ToSchema)]
pub struct CreditEntry {
    /// Counts up from 1 without gaps.
    #[schema(example = 1)]
    pub number: i64,
    /// `purchase`, `refund`, `refund_failed`, `dispute`, `dispute_returned`, `adjustment`, `grant`, `expire`, `reserve`, `settle`, `release` or `correct`.
    #[schema(example = "purchase")]
    pub kind: String,
    /// The book it was taken from: `available`, `promotional`, `reserved`, `revenue`, `purchased`, `adjusted` or `granted`.
    #[schema(example = "purchased")]
    pub from: String,
    /// The book it went to.
    #[schema(example = "available")]
    pub to: String,
    /// How much.
    #[schema(value_type = Object)]
    pub amount: Money,
    /// What could be spent after it, in millionths.
    pub available_after_micros: i64,
    /// What was set aside after it, in millionths.
    pub reserved_after_micros: i64,
    /// What promotional credit was there after it, in millionths.
    pub promotional_after_micros: i64,
    /// Because of which message; of several, the first.
    pub message_id: Option<String>,
    /// Of how many messages: more than one where several were accepted together, whose prices are set aside by one movement, or sent at about the same time and charged just that. `null` where it is not
    /// because of a message.
    #[schema(minimum = 1)]
    pub messages: Option<i64>,
    /// The operator's reference or reason.
    pub reference: Option<String>,
    /// When what caused it happened.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
}

/// Lists movements, newest first. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn entries(
    parts: &Parts,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<CreditEntry>, Error> {
    caller.need("credits:read")?;
    let (tenant, window) = (caller.need_tenant()?, Window::read(ENTRIES, limit, cursor)?);
    let (before, limit) = (i64::try_from(window.before).unwrap_or(i64::MAX), window.rows());
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let currency = rows::find(tx, tenant).await?.map(|ledger| ledger.currency).unwrap_or_default();
            Ok::<_, Error>((currency, rows::entries(tx, tenant, before, limit).await?))
        })
    });
    let (currency, found) = read.await?;
    Ok(window.page(found, |entry| u128::from(entry.number.unsigned_abs()), |entry| entry_view(entry, &currency)))
}

/// Which movements a statement has.
#[derive(Debug, Clone, Default)]
pub struct StatementQuery {
    /// Those that happened at or after this instant.
    pub since: Option<Timestamp>,
    /// Those that happened before this instant.
    pub until: Option<Timestamp>,
    /// Where the statement before ended.
    pub cursor: Option<String>,
}

/// Movements as a CSV table, newest first: up to 50,000, and those of the next million that happened within a part of the time. When there may be more, its cursor leads on. That somebody
/// took it is in the audit log. Needs the scope `credits:read`.
#[crate::boxed]
pub async fn statement(parts: &Parts, caller: &Caller, query: &StatementQuery) -> Result<Export, Error> {
    caller.need("credits:read")?;
    let tenant = caller.need_tenant()?;
    let cursor = query.cursor.as_deref().map(|cursor| read_cursor(ENTRIES, cursor)).transpose()?;
    let of = (query.since, query.until);
    let read = parts.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let Some(ledger) = rows::find(tx, tenant).await? else { return Ok((String::new(), 1, Vec::new())) };
            let end = ledger.entries.saturating_add(1);
            let before = cursor.and_then(|cursor| i64::try_from(cursor).ok()).map_or(end, |before| before.min(end));
            let from = before.saturating_sub(STATEMENT_SCAN).max(1);
            let found = rows::entries_between(tx, tenant, (from, before), of, STATEMENT_MAX + 1).await?;
            Ok::<_, Error>((ledger.currency, from, found))
        })
    });
    let (currency, from, mut found) = read.await?;
    let is_cut = found.len() as i64 > STATEMENT_MAX;
    found.truncate(STATEMENT_MAX as usize);
    let last = if is_cut { found.last().map_or(from, |entry| entry.number) } else { from };
    let next_cursor = (last > 1).then(|| write_cursor(ENTRIES, u128::from(last.unsigned_abs())));
    let asked = json!({"since": query.since, "until": query.until, "cursor": query.cursor});
    audit::note_export(parts, caller, "credits.exported", caller.owner(), found.len(), &asked).await?;
    let names = [
        "number",
        "at",
        "kind",
        "from",
        "to",
        "amount_micros",
        "currency",
        "available_after_micros",
        "reserved_after_micros",
        "promotional_after_micros",
        "message_id",
        "reference",
        "messages",
    ];
    let mut csv = Csv::with_header(&names);
    for e in found {
        let e = entry_view(e, &currency);
        let cells = [
            e.number.to_string(),
            e.at.to_string(),
            e.kind,
            e.from,
            e.to,
            e.amount.amount_micros.to_string(),
            e.amount.currency,
            e.available_after_micros.to_string(),
            e.reserved_after_micros.to_string(),
            e.promotional_after_micros.to_string(),
            e.message_id.unwrap_or_default(),
            e.reference.unwrap_or_default(),
            e.messages.map(|messages| messages.to_string()).unwrap_or_default(),
        ];
        csv.row(cells.iter().map(String::as_str));
    }
    Ok(Export { content_type: Format::Csv.media_type(), body: csv.into_bytes(), next_cursor })
}

pub(super) fn entry_view(e: Entry, currency: &str) -> CreditEntry {
    CreditEntry {
        number: e.number,
        kind: e.kind.into_owned(),
        from: e.from_book.into_owned(),
        to: e.to_book.into_owned(),
        amount: Money { amount_micros: e.amount, currency: currency.to_owned() },
        available_after_micros: e.available,
        reserved_after_micros: e.reserved,
        promotional_after_micros: e.promo,
        message_id: e.message_id.map(|id| id.to_string()),
        messages: e.message_id.map(|_| e.messages.unwrap_or(1)),
        reference: e.reference,
        at: e.at,
    }
}
