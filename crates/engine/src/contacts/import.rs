//! Imports: a file of contacts, received in pieces, worked on in the background.
//!
//! The file is cut into chunks of 1 MiB in the blob store while it arrives, so neither it nor its rows are ever in memory as a whole. `plan` decides once what the columns are.
//! The job takes the rows from where the last batch ended and writes a batch with its contacts, its errors, its counts and its new position in one transaction;
//! killed at any moment it goes on there. When the last row is done the file is removed; counts and errors stay.
//!
//! Every contact an import touches carries the instant the import began as its `updated_at`. That is how a row notices, however large the file, that a row before it was about
//! the same contact.

pub mod columns;
mod job;
mod plan;
mod receive;
pub mod rows;
pub mod table;
mod view;

use aws_lc_rs::digest::{SHA256, digest};
use model::{ImportId, ListId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::{
    Tx,
    contact_imports::{self, Import},
};
use utoipa::IntoParams;

pub use job::{purge, run};
pub use receive::{Receiver, from_attachment};
pub use rows::OnDuplicate;
pub use view::{ColumnView, ImportPreview, ImportView, ProblemView, cancel, errors, get, list};

use crate::Error;

/// Largest file, in bytes: ten million rows of a hundred bytes.
pub const FILE_MAX: u64 = 1 << 30;
/// Bytes of a chunk: ten thousand rows, a tenth of a second of work.
pub const CHUNK: usize = 1 << 20;
/// Imports of a tenant that are not finished at once.
const OPEN_MAX: i64 = 10;
/// Errors kept of one import: who has more mends the file, not the rows.
pub const ERRORS_MAX: u64 = 10_000;

const RECEIVING: &str = "receiving";
const WAITING: &str = "waiting";
const RUNNING: &str = "running";
const DONE: &str = "done";
const FAILED: &str = "failed";
const CANCELED: &str = "canceled";

/// How to read a file (`POST /v1/contacts/import?…`).
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Between cells: `,`, `;`, `|` or `tab`. Left out: found in the first lines.
    #[param(example = ";")]
    pub delimiter: Option<String>,
    /// The file's encoding, such as `utf-8` or `windows-1252`. Left out: what its byte order mark says, UTF-8 where all of it is, otherwise windows-1252.
    pub encoding: Option<String>,
    /// A JSON object that says what columns are, where their names do not: `{"Adresse": "email", "Tarif": "attributes.plan", "Notiz": null}`.
    pub mapping: Option<String>,
    /// Looks at the first rows and says what would be done. Nothing is kept.
    pub dry_run: Option<bool>,
    /// Puts every contact of the file on this list.
    #[param(value_type = Option<String>)]
    pub list_id: Option<ListId>,
    /// What to do with rows whose contact is there already: `update` (default) or `skip`.
    #[param(value_type = Option<String>, example = "update")]
    pub on_duplicate: Option<OnDuplicate>,
    /// The country of phone numbers without country code, instead of the tenant's.
    #[param(example = "DE")]
    pub default_country: Option<String>,
}

/// What was asked for, checked, as it is kept with the import.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Options {
    is_ndjson: bool,
    delimiter: Option<char>,
    encoding: Option<String>,
    #[serde(default)]
    mapping: columns::Wishes,
    list_id: Option<ListId>,
    on_duplicate: OnDuplicate,
    country: Option<String>,
    /// True when all of the file is UTF-8, as far as it was received.
    is_utf8: bool,
    /// SHA-256 of the file as it was sent, in hexadecimal digits; `None` of an import from before this was kept.
    #[serde(default)]
    sha256: Option<String>,
    /// Who sent it, as the audit log names them; likewise.
    #[serde(default)]
    by: Option<String>,
}

/// What the audit log holds of an import when it begins: which file it is, and where its contacts go. What its rows say is the contacts'.
fn told_of_file(import: &Import, options: &Options) -> Value {
    json!({"sha256": options.sha256, "size": import.size, "list_id": options.list_id, "on_duplicate": options.on_duplicate})
}

/// What it holds when the import ends: also who began it, and what became of the rows.
fn told(import: &Import) -> Value {
    let mut detail = json!({});
    if let Ok(options) = serde_json::from_str::<Options>(&import.options) {
        detail = told_of_file(import, &options);
        detail["by"] = json!(options.by);
    }
    let counts = import.counts;
    for (name, count) in [
        ("rows", counts.rows_read),
        ("created", counts.created),
        ("updated", counts.updated),
        ("skipped", counts.skipped),
        ("failed", counts.failed),
        ("duplicates", counts.duplicates),
    ] {
        detail[name] = json!(count);
    }
    detail
}

/// What the file is, once that is decided.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    form: table::Form,
    columns: columns::Columns,
}

/// The name of a chunk in the blob store. It is no hash of the chunk's bytes, so it is nobody else's.
fn chunk_name(import: ImportId, number: u32) -> String {
    hex(digest(&SHA256, format!("{import}/{number}").as_bytes()).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The tenant's import, or 404.
async fn found(tx: &mut Tx, tenant: TenantId, id: ImportId) -> Result<Import, Error> {
    contact_imports::find(tx, tenant, id).await?.ok_or_else(|| Error::not_found("import"))
}
