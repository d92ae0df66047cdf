//! The job that works on received files: a bounded piece of each open import at every run.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{ImportId, Timestamp};
use serde_json::json;
use store::{
    Scope, Tx,
    contact_attributes::{self, Attribute},
    contact_imports::{self, Counts, Import, RowError},
    contacts::{self, Key},
    lists, tenants,
};

use super::{
    CHUNK, DONE, ERRORS_MAX, FAILED, Options, Plan, RECEIVING, RUNNING, WAITING, chunk_name,
    columns::Target,
    plan,
    rows::{Draft, Outcome, Reading, work_out},
    table::{self, TooLong},
    told, view,
};
use crate::{Engine, Error, audit, contacts::attributes::too_many, directory::Tenant, keys::Caller, writes::Writes};

/// Rows in one transaction: a tenth of a second of the database, so that messages of others pass between.
const BATCH: usize = 2_000;
/// Chunks of one import in one run: then the next import has its turn.
const CHUNKS_PER_RUN: usize = 4;
/// Open imports looked at in one run.
const OPEN_PER_RUN: i64 = 100;
/// Imports whose file is removed in one run.
const PURGED_PER_RUN: i64 = 100;
/// An upload that did not end within this time is given up, in seconds: a gibibyte over a slow line takes hours.
const UPLOAD_MAX_S: i64 = 6 * 3_600;
/// What a run answers when there is more to do at once.
const MORE: u64 = 1_000;

/// Works a bounded time on every import that is not finished. Answers much when there is more to do.
#[crate::boxed]
pub async fn run(engine: &Arc<Engine>) -> Result<u64, Error> {
    let read = engine.ports.db.read(Scope::System, |tx| {
        Box::pin(async move { contact_imports::open(tx, ImportId::from_ulid(0), OPEN_PER_RUN).await })
    });
    let mut done = 0;
    for import in read.await.map_err(Error::from)? {
        let id = import.id;
        match work_on(engine, import).await {
            Ok(is_open) => done += if is_open { MORE } else { 0 },
            Err(error) => tracing::warn!(%error, import.id = %id, "An import stopped and will go on"),
        }
    }
    Ok(done)
}

/// Works on one import. `true` when there is more to do now.
async fn work_on(engine: &Arc<Engine>, mut import: Import) -> Result<bool, Error> {
    let now = engine.ports.clock.now();
    if import.state == RECEIVING {
        if import.created_at.plus_seconds(UPLOAD_MAX_S) < now {
            end(engine, &import, FAILED, Some("the upload did not end".to_owned())).await?;
        }
        return Ok(false);
    }
    let Some(tenant) = engine.directory.tenant(import.tenant_id).await? else {
        end(engine, &import, FAILED, Some("the tenant is gone".to_owned())).await?;
        return Ok(false);
    };
    if import.state == WAITING {
        match begin(engine, &import).await? {
            Some(begun) => import = begun,
            None => return Ok(true),
        }
    }
    if import.state != RUNNING {
        return Ok(false);
    }
    let task = Arc::new(Task::read(engine, &import, &tenant).await?);
    for _ in 0..CHUNKS_PER_RUN {
        match chunk(engine, &task, &mut import).await? {
            Step::On => {}
            Step::Elsewhere => return Ok(false),
            Step::End => {
                end(engine, &import, DONE, None).await?;
                return Ok(false);
            }
            Step::Fail(problem) => {
                end(engine, &import, FAILED, Some(problem)).await?;
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Decides what the columns are, declares new attributes and starts the import. `None`: somebody else was first, or it failed.
async fn begin(engine: &Arc<Engine>, import: &Import) -> Result<Option<Import>, Error> {
    let piece = piece(engine, import, 0).await?;
    let options: Options = serde_json::from_str(&import.options).map_err(Error::internal)?;
    let is_whole = import.chunks <= 2;
    let tenant = import.tenant_id;
    let now = engine.ports.clock.now();
    let (before, ids) = (import.clone(), Arc::clone(&engine.ports.ids));
    let write = engine.ports.db.write(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let schema = contact_attributes::all(tx, tenant).await?;
            let decided = match plan::decide(&options, &piece, is_whole, &schema) {
                Ok(decided) => decided,
                Err(problems) => {
                    return Ok(Err(problems.into_iter().map(|problem| problem.detail).collect::<Vec<_>>().join("; ")));
                }
            };
            for (column, target) in &decided.plan.columns.0 {
                let Target::Attribute(name, kind) = target else { continue };
                if schema.iter().any(|known| known.name == *name) {
                    continue;
                }
                if contact_attributes::add(tx, tenant, name, kind.kind(), now).await?.is_some() {
                    let (by, detail) = (Caller::system(Some(tenant)), json!({"type": kind, "import": before.id}));
                    audit::record(tx, tenant, &ids, now, &by, "contact_attribute.created", name, &detail).await?;
                } else {
                    return Ok(Err(format!(
                        "the column `{column}`: {} Or leave the column out with null in `mapping`.",
                        too_many(kind.kind())
                    )));
                }
            }
            let after = Import {
                state: RUNNING.to_owned(),
                mapping: Some(json!(decided.plan).to_string()),
                position: decided.begin as u64,
                counts: Counts::default(),
                started_at: Some(now),
                ..before.clone()
            };
            let is_first = contact_imports::advance(tx, &before, &after).await?;
            Ok::<_, Error>(Ok(is_first.then_some(after)))
        })
    });
    match write.await? {
        Ok(begun) => Ok(begun),
        Err(problem) => {
            // What was declared before the problem showed stays declared; it is harmless, and the next try finds it.
            end(engine, import, FAILED, Some(problem)).await?;
            Ok(None)
        }
    }
}

/// Everything about an import that stays the same from batch to batch.
struct Task {
    plan: Plan,
    options: Options,
    schema: Vec<Attribute>,
    mark: Timestamp,
}

impl Task {
    async fn read(engine: &Engine, import: &Import, tenant: &Tenant) -> Result<Self, Error> {
        let id = tenant.id;
        let read = engine.ports.db.read(Scope::Tenant(id), move |tx| {
            Box::pin(async move { Ok::<_, Error>(contact_attributes::all(tx, id).await?) })
        });
        Ok(Self {
            plan: serde_json::from_str(import.mapping.as_deref().unwrap_or_default()).map_err(Error::internal)?,
            options: serde_json::from_str(&import.options).map_err(Error::internal)?,
            schema: read.await?,
            mark: import.started_at.unwrap_or(import.created_at),
        })
    }

    fn reading(&self) -> Reading<'_> {
        Reading::new(&self.plan.columns, &self.schema, self.options.country.as_deref())
    }
}

enum Step {
    On,
    End,
    Fail(String),
    Elsewhere,
}

/// The bytes from the chunk that holds `position` to the end of the next one: a row ends there, or it is too long.
async fn piece(engine: &Engine, import: &Import, position: u64) -> Result<Bytes, Error> {
    let number = u32::try_from(position / CHUNK as u64).unwrap_or(u32::MAX);
    let mut bytes = BytesMut::new();
    for number in number..import.chunks.min(number.saturating_add(2)) {
        let chunk = engine.ports.blobs.get(&chunk_name(import.id, number)).await;
        bytes.extend_from_slice(
            &chunk.map_err(|error| Error::internal(format!("a piece of an import cannot be read: {error}")))?,
        );
    }
    let skipped = usize::try_from(position % CHUNK as u64).unwrap_or(0).min(bytes.len());
    Ok(bytes.freeze().slice(skipped..))
}

/// Works on the rows that begin in the chunk that is at its turn.
async fn chunk(engine: &Arc<Engine>, task: &Arc<Task>, import: &mut Import) -> Result<Step, Error> {
    let position = import.position;
    let number = position / CHUNK as u64;
    if number >= u64::from(import.chunks) {
        return Ok(Step::End);
    }
    let is_last = number + 2 >= u64::from(import.chunks);
    let is_final = number + 1 >= u64::from(import.chunks);
    let bytes = piece(engine, import, position).await?;
    let until = if is_final { bytes.len() } else { CHUNK - usize::try_from(position % CHUNK as u64).unwrap_or(0) };
    let first = import.counts.rows_read + if task.options.is_ndjson { 1 } else { 2 };
    let drafts = {
        let task = Arc::clone(task);
        let read = move || {
            let rows = table::rows(&task.plan.form, &bytes, until, is_last)?;
            let mut reading = task.reading();
            Ok::<Vec<Draft>, TooLong>(
                rows.into_iter().zip(first..).map(|(row, number)| reading.read(row, number, position)).collect(),
            )
        };
        tokio::task::spawn_blocking(read).await.map_err(Error::internal)?
    };
    let Ok(drafts) = drafts else {
        let row = first;
        return Ok(Step::Fail(format!("row {row} is longer than 1 MiB: a quote in or before it is not closed")));
    };
    if drafts.is_empty() {
        // Nothing but empty lines is left in this chunk.
        if is_final {
            return Ok(Step::End);
        }
        return Ok(if save_position(engine, import, (number + 1) * CHUNK as u64).await? {
            Step::On
        } else {
            Step::Elsewhere
        });
    }
    let drafts: Vec<Arc<Vec<Draft>>> = {
        let mut batches = Vec::new();
        let mut rest = drafts;
        while rest.len() > BATCH {
            let tail = rest.split_off(BATCH);
            batches.push(Arc::new(std::mem::replace(&mut rest, tail)));
        }
        batches.push(Arc::new(rest));
        batches
    };
    for batch in drafts {
        if !write(engine, task, import, batch).await? {
            return Ok(Step::Elsewhere);
        }
    }
    Ok(Step::On)
}

async fn save_position(engine: &Engine, import: &mut Import, position: u64) -> Result<bool, Error> {
    let (before, after) = (import.clone(), Import { position, ..import.clone() });
    let saved = after.clone();
    let write = engine.ports.db.write(Scope::Tenant(import.tenant_id), move |tx| {
        Box::pin(async move { Ok::<_, Error>(contact_imports::advance(tx, &before, &after).await?) })
    });
    let is_first = write.await?;
    *import = saved;
    Ok(is_first)
}

/// Writes a batch. When a row of it meets a contact that somebody made or changed at this very moment, the batch is written in halves, down to that row. `false`:
/// the import went on elsewhere, or was canceled.
async fn write(
    engine: &Arc<Engine>,
    task: &Arc<Task>,
    import: &mut Import,
    batch: Arc<Vec<Draft>>,
) -> Result<bool, Error> {
    let mut waiting = vec![batch];
    while let Some(batch) = waiting.pop() {
        match write_once(engine, task, import, Arc::clone(&batch), false).await {
            Ok(Some(after)) => *import = after,
            Ok(None) => return Ok(false),
            Err(store::Error::Conflict { .. }) if batch.len() > 1 => {
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.push(Arc::new(second.to_vec()));
                waiting.push(Arc::new(first.to_vec()));
            }
            Err(store::Error::Conflict { .. }) => {
                match write_once(engine, task, import, batch, true).await.map_err(Error::from)? {
                    Some(after) => *import = after,
                    None => return Ok(false),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(true)
}

/// `is_refused`: the one row of the batch is another contact's, as the database has just said.
async fn write_once(
    engine: &Arc<Engine>,
    task: &Arc<Task>,
    import: &Import,
    batch: Arc<Vec<Draft>>,
    is_refused: bool,
) -> Result<Option<Import>, store::Error> {
    let (task, before, ids) = (Arc::clone(task), import.clone(), Arc::clone(&engine.ports.ids));
    let write = engine.ports.db.write(Scope::Tenant(import.tenant_id), move |tx| {
        Box::pin(async move {
            let tenant = before.tenant_id;
            let mut after = before.clone();
            after.position = batch.last().map_or(before.position, |draft| draft.end);
            let outcome = if is_refused {
                refused(&batch)
            } else {
                let known = known(tx, &before, &batch).await?;
                work_out(&task.reading(), &batch, known, task.options.on_duplicate, tenant, task.mark, &ids)
            };
            after.counts += outcome.counts;
            // Before anything else: who comes second changes nothing.
            if !contact_imports::advance(tx, &before, &after).await? {
                return Ok(None);
            }
            contacts::update_many(tx, &outcome.changed).await?;
            let inserted = contacts::insert_many(tx, &outcome.new).await?;
            if inserted < outcome.new.len() as u64 {
                return Err(store::Error::Conflict { detail: "a contact was made at the same time".to_owned() });
            }
            if inserted > 0 && contacts::mark(tx, tenant).await? {
                tenants::bump(tx, Some(tenant)).await?;
            }
            if let Some(list) = task.options.list_id
                && lists::find(tx, tenant, list).await?.is_some()
            {
                lists::add(tx, tenant, list, &outcome.members, task.mark).await?;
            }
            if !outcome.errors.is_empty() && contact_imports::count_errors(tx, tenant, before.id).await? < ERRORS_MAX {
                contact_imports::add_errors(tx, tenant, before.id, &outcome.errors).await?;
            }
            Ok(Some(after))
        })
    });
    write.await
}

/// The contacts that are there and that the rows of a batch name.
async fn known(tx: &mut Tx, import: &Import, batch: &[Draft]) -> Result<Vec<contacts::Contact>, store::Error> {
    let mut found: Vec<contacts::Contact> = Vec::new();
    for key in [Key::ExternalId, Key::Email, Key::Phone, Key::Telegram] {
        let mut values: Vec<String> =
            batch.iter().flat_map(Draft::keys).filter(|(kind, _)| *kind == key).map(|(_, text)| text).collect();
        values.sort_unstable();
        values.dedup();
        found.extend(contacts::find_by_keys(tx, import.tenant_id, key, &values).await?);
    }
    found.sort_by_key(|contact| contact.id);
    found.dedup_by_key(|contact| contact.id);
    Ok(found)
}

fn refused(batch: &[Draft]) -> Outcome {
    let reason = "another contact has its id, address or number by now".to_owned();
    Outcome {
        counts: Counts { rows_read: batch.len() as u64, failed: batch.len() as u64, ..Counts::default() },
        errors: batch
            .iter()
            .map(|draft| RowError { row_number: draft.number, place: 0, column: String::new(), reason: reason.clone() })
            .collect(),
        ..Outcome::default()
    }
}

/// Ends an import and tells its tenant; then its file goes.
async fn end(engine: &Arc<Engine>, import: &Import, state: &str, problem: Option<String>) -> Result<(), Error> {
    let now = engine.ports.clock.now();
    let before = import.clone();
    let after = Import { state: state.to_owned(), problem, finished_at: Some(now), ..import.clone() };
    let tenant = engine.directory.tenant(import.tenant_id).await?;
    let (ids, shard, of) = (Arc::clone(&engine.ports.ids), engine.shard(), tenant.clone());
    let ended = after.clone();
    let write = engine.ports.db.write(Scope::Tenant(import.tenant_id), move |tx| {
        Box::pin(async move {
            if !contact_imports::advance(tx, &before, &after).await? {
                return Ok(false);
            }
            if let Some(tenant) = of {
                // The job ends what somebody began, who is named in it.
                let mut detail = told(&after);
                if let Some(problem) = &after.problem {
                    detail["problem"] = json!(problem);
                }
                let action = if after.state == DONE { "contacts.imported" } else { "contacts.import_failed" };
                let by = Caller::system(Some(tenant.id));
                audit::record(tx, tenant.id, &ids, now, &by, action, after.id, &detail).await?;
                let mut writes = Writes::default();
                let data = serde_json::to_string(&view::view(&after)).expect("an import has a JSON form");
                writes.event(&tenant, "contact_import.finished", data, now, &ids);
                writes.write(tx, shard).await?;
            }
            Ok::<_, Error>(true)
        })
    });
    if write.await? {
        tracing::info!(import.id = %ended.id, import.state = %ended.state, rows = ended.counts.rows_read, "An import ended");
        if let Some(tenant) = tenant {
            crate::contacts::settle(engine, &tenant).await;
        }
        remove_file(engine, &ended).await?;
    }
    Ok(())
}

/// Removes the files of imports that ended without it: canceled, or killed in between.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let read = engine
        .ports
        .db
        .read(Scope::System, |tx| Box::pin(async move { contact_imports::unpurged(tx, PURGED_PER_RUN).await }));
    let mut count = 0;
    for import in read.await.map_err(Error::from)? {
        remove_file(engine, &import).await?;
        count += 1;
    }
    Ok(count)
}

async fn remove_file(engine: &Engine, import: &Import) -> Result<(), Error> {
    for number in 0..import.chunks {
        engine
            .ports
            .blobs
            .remove(&chunk_name(import.id, number))
            .await
            .map_err(|error| Error::internal(format!("a piece of an import cannot be removed: {error}")))?;
    }
    let before = import.clone();
    let after = Import { purged_at: Some(engine.ports.clock.now()), ..import.clone() };
    let write = engine.ports.db.write(Scope::Tenant(import.tenant_id), move |tx| {
        Box::pin(async move { Ok::<_, Error>(contact_imports::advance(tx, &before, &after).await?) })
    });
    write.await.map(drop)
}
