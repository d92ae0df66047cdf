//! Exports: the contacts of a list, a segment or all, page by page, in a form an import reads back as the same contacts. Cells of a table a spreadsheet would take for a formula begin with an
//! apostrophe, which an import takes off again.

use bytes::Bytes;
use model::{ContactId, ListId, SegmentId, TenantId};
use serde::Deserialize;
use serde_json::{Value, json};
use store::{
    contact_attributes::{self, Attribute},
    contacts::{self, Audience, Contact},
};
use utoipa::IntoParams;

use super::{attributes, audience, import::table::GUARDED, reader, shown};
use crate::{Engine, Error, audit, export::Format, keys::Caller, queries::malformed};

/// Contacts read at once.
const PAGE: i64 = 1_000;

/// Which contacts, in which form (`GET /v1/contacts/export`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `csv` (default) or `ndjson`.
    #[param(value_type = Option<String>, example = "csv")]
    pub format: Option<Format>,
    /// Those on this list.
    #[param(value_type = Option<String>)]
    pub list_id: Option<ListId>,
    /// Those of this segment; not together with a list.
    #[param(value_type = Option<String>)]
    pub segment_id: Option<SegmentId>,
}

/// An export under way. Memory holds one page.
pub struct Export {
    caller: Caller,
    tenant: TenantId,
    format: Format,
    audience: Audience,
    schema: Vec<Attribute>,
    after: ContactId,
    is_over: bool,
    header: Option<Bytes>,
}

impl Export {
    /// Begins an export. Needs the scope `contacts:read`.
    #[crate::boxed]
    pub async fn begin(engine: &Engine, caller: &Caller, query: &ExportQuery) -> Result<Self, Error> {
        let tenant = reader(caller)?;
        let (list, segment) = (query.list_id, query.segment_id);
        if list.is_some() && segment.is_some() {
            return Err(malformed("?segment_id", "give a list or a segment, not both".to_owned()));
        }
        let now = engine.ports.clock.now();
        let read = engine.ports.db.read(caller.reach(), move |tx| {
            Box::pin(async move {
                let audience = audience(tx, tenant, list, segment, now).await?;
                Ok::<_, Error>((audience, contact_attributes::all(tx, tenant).await?))
            })
        });
        let (audience, schema) = read.await?;
        let format = query.format.unwrap_or(Format::Csv);
        let header = (format == Format::Csv).then(|| table(&[header(&schema)]));
        let after = ContactId::from_ulid(0);
        let word = if format == Format::Csv { "csv" } else { "ndjson" };
        let whose = json!({"list_id": list, "segment_id": segment, "format": word});
        audit::note(engine.parts(), caller, "contacts.exported", tenant, whose).await?;
        Ok(Self { caller: caller.clone(), tenant, format, audience, schema, after, is_over: false, header })
    }

    /// The file's media type.
    pub const fn content_type(&self) -> &'static str {
        self.format.media_type()
    }

    /// The next piece of the file; `None` at its end.
    #[crate::boxed]
    pub async fn next(&mut self, engine: &Engine) -> Result<Option<Bytes>, Error> {
        if let Some(header) = self.header.take() {
            return Ok(Some(header));
        }
        if self.is_over {
            return Ok(None);
        }
        let (tenant, audience, after) = (self.tenant, self.audience.clone(), self.after);
        let read = engine.ports.db.read(self.caller.reach(), move |tx| {
            Box::pin(async move { Ok::<_, Error>(contacts::page(tx, tenant, &audience, after, PAGE).await?) })
        });
        let rows = read.await?;
        self.is_over = rows.len() < PAGE as usize;
        let Some(last) = rows.last() else { return Ok(None) };
        self.after = last.id;
        Ok(Some(write(self.format, &rows, &self.schema)))
    }
}

/// The names of an export's columns.
pub(crate) fn header(schema: &[Attribute]) -> Vec<String> {
    let plain = [
        "id",
        "external_id",
        "name",
        "first_name",
        "last_name",
        "email",
        "phone",
        "whatsapp",
        "telegram_chat_id",
        "language",
        "timezone",
    ];
    let attributes = schema.iter().map(|attribute| format!("attributes.{}", attribute.name));
    let ends = ["created_at", "updated_at"].map(str::to_owned);
    plain.iter().map(|name| (*name).to_owned()).chain(attributes).chain(ends).collect()
}

/// Rows in a form, without a header.
pub(crate) fn write(format: Format, rows: &[Contact], schema: &[Attribute]) -> Bytes {
    match format {
        Format::Csv => table(&rows.iter().map(|row| cells(row, schema)).collect::<Vec<_>>()),
        Format::Ndjson => {
            let mut lines = Vec::new();
            for row in rows {
                serde_json::to_writer(&mut lines, &shown(row, schema)).expect("a contact has a JSON form");
                lines.push(b'\n');
            }
            lines.into()
        }
    }
}

/// Rows as CSV.
pub(crate) fn table(rows: &[Vec<String>]) -> Bytes {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        writer.write_record(row.iter().map(|cell| guarded(cell))).expect("memory takes every row");
    }
    writer.into_inner().expect("memory takes every row").into()
}

/// A cell that no spreadsheet takes for a formula.
fn guarded(cell: &str) -> String {
    if cell.starts_with(GUARDED) { format!("'{cell}") } else { cell.to_owned() }
}

fn cells(row: &Contact, schema: &[Attribute]) -> Vec<String> {
    let text = |text: Option<&String>| text.cloned().unwrap_or_default();
    let mut cells = vec![
        row.id.to_string(),
        text(row.external_id.as_ref()),
        row.display_name().unwrap_or_default(),
        text(row.first_name.as_ref()),
        text(row.last_name.as_ref()),
        text(row.email.as_ref()),
        text(row.phone.as_ref()),
        text(row.whatsapp_number()),
        row.telegram_chat_id.map(|chat| chat.to_string()).unwrap_or_default(),
        text(row.language.as_ref()),
        text(row.timezone.as_ref()),
    ];
    cells.extend(schema.iter().map(|attribute| match attributes::show(row, attribute) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("|"),
        Some(value) => value.to_string(),
    }));
    cells.extend([row.created_at.to_string(), row.updated_at.to_string()]);
    cells
}
