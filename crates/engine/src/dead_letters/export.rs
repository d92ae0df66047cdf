//! Dead letters as a file, for people who work through them elsewhere.

use model::Timestamp;
use store::messages::Message;

use super::{DeadLetterQuery, shown};
use crate::{
    Engine, Error, audit,
    csv::Csv,
    export::{Export, Format},
    keys::Caller,
    page::{read_cursor, write_cursor},
    queries::to_json,
};

/// Most rows of one file: some 10 MB. The next file begins at its cursor.
pub const EXPORT_MAX: usize = 10_000;
/// The list's name, which its cursors are bound to; the same as of the list itself.
const LIST: &str = "dead_letters";

impl Engine {
    /// Writes the tenant's dead letters into a file of up to [`EXPORT_MAX`] rows, newest message first; the query's `limit` is not looked at. Needs the scope
    /// `messages:read`.
    #[crate::boxed]
    pub async fn export_dead_letters(
        &self,
        caller: &Caller,
        query: &DeadLetterQuery,
        format: Format,
    ) -> Result<Export, Error> {
        let before = query.cursor.as_deref().map_or(Ok(u128::MAX), |cursor| read_cursor(LIST, cursor))?;
        let mut rows = self.read_dead_letters(caller, query, before, EXPORT_MAX as i64 + 1).await?;
        let has_more = rows.len() > EXPORT_MAX;
        rows.truncate(EXPORT_MAX);
        let next_cursor = rows.last().filter(|_| has_more).map(|last| write_cursor(LIST, last.id.ulid()));
        audit::note_export(self.parts(), caller, "dead_letters.exported", caller.owner(), rows.len(), query).await?;
        let body = match format {
            Format::Ndjson => lines(&rows, self.ports.clock.now())?,
            Format::Csv => table(&rows),
        };
        Ok(Export { content_type: format.media_type(), body, next_cursor })
    }
}

fn lines(rows: &[Message], now: Timestamp) -> Result<Vec<u8>, Error> {
    let mut lines = Vec::new();
    for row in rows {
        lines.extend(to_json(&shown(row, now))?);
        lines.push(b'\n');
    }
    Ok(lines)
}

fn table(rows: &[Message]) -> Vec<u8> {
    let mut csv = Csv::with_header(&[
        "id",
        "created_at",
        "dead_at",
        "status",
        "channel",
        "purpose",
        "to",
        "account_id",
        "connector",
        "attempts",
        "failure_kind",
        "failure_code",
        "failure_detail",
        "metadata",
    ]);
    for m in rows {
        let failure: Option<model::Failure> = m.failure.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let text = |value: Option<String>| value.unwrap_or_default();
        let cells = [
            m.id.to_string(),
            m.created_at.to_string(),
            text(m.dead_at.map(|at| at.to_string())),
            m.status.to_string(),
            m.channel.to_string(),
            m.purpose.to_string(),
            m.address.clone(),
            text(m.account_id.map(|id| id.to_string())),
            text(m.connector.clone()),
            m.attempts.to_string(),
            text(failure.as_ref().map(|failure| failure.kind.to_string())),
            text(failure.as_ref().map(|failure| failure.code.clone())),
            text(failure.map(|failure| failure.detail)),
            text(m.metadata.clone()),
        ];
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}
