//! Imports as the API shows them, and what can be done with one.

use model::{ContactId, ImportId, ListId, TenantId, Timestamp};
use serde::Serialize;
use serde_json::json;
use store::{
    contact_attributes::{Attribute, AttributeKind},
    contact_imports::{self, Import},
    contacts::{Contact, SLOTS},
};
use utoipa::ToSchema;

use super::{
    CANCELED, DONE, ERRORS_MAX, FAILED, Options, Plan,
    columns::{Field, Target},
    found, plan,
    rows::{OnDuplicate, Reading},
    table::Form,
    told,
};
use crate::{
    Engine, Error, audit,
    contacts::{ContactView, Work, attributes::AttributeType, reader, shown, writer},
    csv::Csv,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    page::{Page, Window},
};

/// Contacts a dry run shows.
const SHOWN: usize = 5;
/// Problems a dry run shows.
const PROBLEMS: usize = 100;

/// An import and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ImportView {
    /// Its id.
    #[schema(value_type = String, example = "imp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ImportId,
    /// `waiting`, `running`, `done`, `failed` or `canceled`.
    #[schema(example = "running")]
    pub state: String,
    /// Why it failed.
    pub problem: Option<String>,
    /// Bytes of the file.
    #[schema(example = 104_857_600)]
    pub size: u64,
    /// How much of the file is done, in percent.
    #[schema(example = 42)]
    pub percent: u64,
    /// Rows done; the sum of the following five.
    pub rows: u64,
    /// Rows that became a contact.
    pub created: u64,
    /// Rows that changed a contact.
    pub updated: u64,
    /// Rows whose contact was there before and was left alone.
    pub skipped: u64,
    /// Rows that are wrong: see its errors.
    pub failed: u64,
    /// Rows about a contact that a row before was about; treated as `on_duplicate` says.
    pub duplicates: u64,
    /// What the columns are, once that is decided.
    pub columns: Vec<ColumnView>,
    /// The list its contacts are put on.
    #[schema(value_type = Option<String>)]
    pub list_id: Option<ListId>,
    /// What is done with rows whose contact is there already.
    pub on_duplicate: OnDuplicate,
    /// When it was received.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When its first row was worked on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

/// A column of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ColumnView {
    /// Its name in the file.
    #[schema(example = "E-Mail")]
    pub column: String,
    /// The contact's field it is: `email`, `attributes.plan`; `null` when it is left out.
    #[schema(example = "email")]
    pub field: Option<String>,
    /// Its type, of an attribute.
    #[serde(rename = "type")]
    pub kind: Option<AttributeType>,
}

fn columns(plan: &Plan) -> Vec<ColumnView> {
    let one = |(column, target): &(String, Target)| {
        let (field, kind) = match target {
            Target::Nothing => (None, None),
            Target::Field(field) => {
                (Field::ALL.iter().find(|(known, _)| known == field).map(|(_, name)| (*name).to_owned()), None)
            }
            Target::Attribute(name, kind) => (Some(format!("attributes.{name}")), Some(*kind)),
        };
        ColumnView { column: column.clone(), field, kind }
    };
    plan.columns.0.iter().map(one).collect()
}

pub(super) fn view(import: &Import) -> ImportView {
    let options: Option<Options> = serde_json::from_str(&import.options).ok();
    let plan: Option<Plan> = import.mapping.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let percent = if import.state == DONE { 100 } else { import.position * 100 / import.size.max(1) };
    ImportView {
        id: import.id,
        state: import.state.clone(),
        problem: import.problem.clone(),
        size: import.size,
        percent: percent.min(100),
        rows: import.counts.rows_read,
        created: import.counts.created,
        updated: import.counts.updated,
        skipped: import.counts.skipped,
        failed: import.counts.failed,
        duplicates: import.counts.duplicates,
        columns: plan.as_ref().map(columns).unwrap_or_default(),
        list_id: options.as_ref().and_then(|options| options.list_id),
        on_duplicate: options.map(|options| options.on_duplicate).unwrap_or_default(),
        created_at: import.created_at,
        started_at: import.started_at,
        finished_at: import.finished_at,
    }
}

/// What an import would do, from the first rows.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct ImportPreview {
    /// `csv` or `ndjson`.
    #[schema(example = "csv")]
    pub format: &'static str,
    /// The encoding that was given or found.
    #[schema(example = "windows-1252")]
    pub encoding: String,
    /// The delimiter that was given or found, of a table.
    #[schema(example = ";")]
    pub delimiter: Option<char>,
    /// What the columns are.
    pub columns: Vec<ColumnView>,
    /// How many rows were looked at, from the first.
    pub rows: u64,
    /// How many of them are wrong.
    pub failed: u64,
    /// The first contacts as they would be.
    pub sample: Vec<ContactView>,
    /// What is wrong, of the first hundred.
    pub problems: Vec<ProblemView>,
}

/// Something wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ProblemView {
    /// The row's number, from 1; the header of a table is row 1.
    pub row: u64,
    /// In which column; empty for the row as a whole.
    pub column: String,
    /// What is wrong.
    pub reason: String,
}

impl ImportPreview {
    pub(super) fn new(
        options: &Options,
        decided: plan::Decided,
        mut schema: Vec<Attribute>,
        tenant: TenantId,
        now: Timestamp,
        ids: &model::Ids,
    ) -> Self {
        let plan = decided.plan;
        let mut problems = declare(&plan, &mut schema, now);
        let mut reading = Reading::new(&plan.columns, &schema, options.country.as_deref());
        let first = if options.is_ndjson { 1 } else { 2 };
        let (mut failed, mut sample) = (0, Vec::new());
        let rows = decided.sample.len() as u64;
        for (number, row) in (first..).zip(decided.sample) {
            let draft = reading.read(row, number, 0);
            if draft.errors.is_empty() {
                if sample.len() < SHOWN {
                    let mut contact = Contact::new(tenant, ContactId::from_ulid(ids.ulid(now)), now);
                    reading.apply(&draft, &mut contact);
                    sample.push(shown(&contact, &schema));
                }
                continue;
            }
            failed += 1;
            let told = draft.errors.into_iter().map(|(column, reason)| ProblemView { row: number, column, reason });
            let room = PROBLEMS.saturating_sub(problems.len());
            problems.extend(told.take(room));
        }
        let (format, encoding, delimiter) = match &plan.form {
            Form::Ndjson => ("ndjson", "utf-8".to_owned(), None),
            Form::Csv { delimiter, encoding } => ("csv", encoding.clone(), Some(*delimiter)),
        };
        Self { format, encoding, delimiter, columns: columns(&plan), rows, failed, sample, problems }
    }
}

/// Adds the attributes a plan would declare; says where there is no room.
fn declare(plan: &Plan, schema: &mut Vec<Attribute>, now: Timestamp) -> Vec<ProblemView> {
    let mut problems = Vec::new();
    for (column, target) in &plan.columns.0 {
        let Target::Attribute(name, kind) = target else { continue };
        let kind: AttributeKind = kind.kind();
        if schema.iter().any(|known| known.name == *name) {
            continue;
        }
        let of_kind =
            |slot: &usize| schema.iter().any(|known| known.kind.is_text() == kind.is_text() && known.slot == *slot);
        match (0..SLOTS).find(|slot| !of_kind(slot)) {
            Some(slot) => schema.push(Attribute { name: name.clone(), kind, slot, created_at: now }),
            None => problems.push(ProblemView {
                row: 1,
                column: column.clone(),
                reason: crate::contacts::attributes::too_many(kind),
            }),
        }
    }
    schema.sort_by(|a, b| a.name.cmp(&b.name));
    problems
}

/// Lists the tenant's imports, newest first. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    limit: Option<u32>,
    cursor: Option<&str>,
) -> Result<Page<ImportView>, Error> {
    let tenant = reader(caller)?;
    let window = Window::read("contact_imports", limit, cursor)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            Ok::<_, Error>(contact_imports::list(tx, tenant, ImportId::from_ulid(window.before), window.rows()).await?)
        })
    });
    Ok(window.page(read.await?, |row| row.id.ulid(), |row| view(&row)))
}

/// Reads an import. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: ImportId) -> Result<ImportView, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| Box::pin(async move { found(tx, tenant, id).await }));
    Ok(view(&read.await?))
}

/// The rows that are wrong, as a table: row, column, reason. That somebody took it is in the audit log. Needs the scope `contacts:read`.
#[crate::boxed]
pub async fn errors(engine: &Engine, caller: &Caller, id: ImportId) -> Result<Vec<u8>, Error> {
    let tenant = reader(caller)?;
    let read = engine.ports.db.read(caller.reach(), move |tx| {
        Box::pin(async move {
            found(tx, tenant, id).await?;
            Ok::<_, Error>(contact_imports::errors(tx, tenant, id, ERRORS_MAX as i64).await?)
        })
    });
    let mut csv = Csv::with_header(&["row", "column", "reason"]);
    let found = read.await?;
    audit::note_export(engine.parts(), caller, "contacts.import_errors_exported", id, found.len(), &json!({})).await?;
    for error in found {
        csv.row([error.row_number.to_string().as_str(), error.column.as_str(), error.reason.as_str()]);
    }
    Ok(csv.into_bytes())
}

/// Ends an import before its last row. What was imported stays. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn cancel(engine: &Engine, caller: &Caller, repeat: &Repeat, id: ImportId) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let work = Work::new(engine, &tenant, caller, now);
    once(engine.parts(), caller, repeat, 200, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            let before = found(tx, work.tenant.id, id).await?;
            if [DONE, FAILED, CANCELED].contains(&before.state.as_str()) {
                let detail = format!("The import {id} has ended already: it is {}.", before.state);
                return Err(Error::conflict("import_ended", detail));
            }
            let after = Import { state: CANCELED.to_owned(), finished_at: Some(now), ..before.clone() };
            if !contact_imports::advance(tx, &before, &after).await? {
                return Err(Error::conflict("import_moved_on", "The import went on just now. Try again."));
            }
            work.record(tx, "contacts.import_canceled", id, &told(&after)).await?;
            Ok(view(&after))
        })
    })
    .await
}
