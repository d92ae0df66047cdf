//! Takes a file in, piece by piece as it arrives.

use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::{Bytes, BytesMut};
use model::{AttachmentId, ImportId};
use serde_json::json;
use store::{
    contact_attributes,
    contact_imports::{self, Counts, Import},
};

use super::{
    CHUNK, FILE_MAX, ImportPreview, ImportQuery, OPEN_MAX, Options, RECEIVING, WAITING, chunk_name, columns, hex, plan,
    table, told_of_file, view,
};
use crate::{
    Engine, Error, ErrorKind,
    contacts::{Work, full, lists, writer},
    directory::Tenant,
    keys::Caller,
    names::Faults,
    once::{self, IdempotencyKey, Repeat, Reply, Secrecy},
    queries::malformed,
};

/// A file that is being received.
pub struct Receiver {
    caller: Caller,
    tenant: Arc<Tenant>,
    import: Import,
    options: Options,
    is_dry: bool,
    buffer: BytesMut,
    /// UTF-16 becomes UTF-8 as it arrives: its commas are not ASCII's.
    decoder: Option<encoding_rs::Decoder>,
    has_begun: bool,
    /// The first bytes of a character whose rest has not arrived.
    tail: Vec<u8>,
    hash: Context,
}

/// Checks what was asked for. `media_type` is the file's.
fn check(query: ImportQuery, media_type: &str, tenant: &Tenant) -> Result<Options, Error> {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_ndjson = match essence.as_str() {
        "text/csv" | "text/tab-separated-values" | "application/csv" | "application/vnd.ms-excel" => false,
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => true,
        _ => {
            let detail =
                format!("A file of contacts is `text/csv` or `application/x-ndjson`; this one says it is `{essence}`.");
            return Err(Error::new(ErrorKind::UnsupportedMedia, "unsupported_media_type", detail));
        }
    };
    let charset = media_type.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"').to_owned())
    });
    let delimiter = match query.delimiter.as_deref() {
        None => (essence == "text/tab-separated-values").then_some('\t'),
        Some("tab" | "\t") => Some('\t'),
        Some(text @ ("," | ";" | "|")) => text.chars().next(),
        Some(_) => return Err(malformed("?delimiter", "one of `,`, `;`, `|` and `tab`".to_owned())),
    };
    let encoding = query.encoding.or(charset);
    if encoding.as_deref().is_some_and(|label| table::encoding(label).is_none()) {
        return Err(malformed(
            "?encoding",
            "not an encoding we read; write one such as utf-8, utf-16le, windows-1252 or shift_jis".to_owned(),
        ));
    }
    let mapping = match &query.mapping {
        None => columns::Wishes::new(),
        Some(text) => columns::wishes(text).map_err(|problem| malformed("?mapping", problem))?,
    };
    let country = match query.default_country {
        None => tenant.default_country.clone(),
        Some(code) => {
            let mut faults = Faults::default();
            let code = faults.country("?default_country", &code);
            if let Some(fault) = faults.0.pop() {
                return Err(malformed("?default_country", fault.detail));
            }
            Some(code)
        }
    };
    Ok(Options {
        is_ndjson,
        delimiter,
        encoding,
        mapping,
        list_id: query.list_id,
        on_duplicate: query.on_duplicate.unwrap_or_default(),
        country,
        is_utf8: true,
        sha256: None,
        by: None,
    })
}

impl Receiver {
    /// Begins to receive a file. Needs the scope `contacts:write`.
    #[crate::boxed]
    pub async fn begin(engine: &Engine, caller: &Caller, query: ImportQuery, media_type: &str) -> Result<Self, Error> {
        let (tenant, now) = writer(engine, caller).await?;
        let is_dry = query.dry_run.unwrap_or_default();
        let options = check(query, media_type, &tenant)?;
        let import = Import {
            tenant_id: tenant.id,
            id: ImportId::from_ulid(engine.ports.ids.ulid(now)),
            state: RECEIVING.to_owned(),
            options: json!(options).to_string(),
            mapping: None,
            chunks: 0,
            size: 0,
            position: 0,
            counts: Counts::default(),
            problem: None,
            created_at: now,
            started_at: None,
            finished_at: None,
            purged_at: None,
        };
        let (row, list) = (import.clone(), options.list_id);
        let write = engine.ports.db.write(caller.reach(), move |tx| {
            Box::pin(async move {
                if let Some(list) = list {
                    lists::found(tx, row.tenant_id, list).await?;
                }
                if is_dry {
                    return Ok(());
                }
                if contact_imports::count_open(tx, row.tenant_id).await? >= OPEN_MAX {
                    let detail =
                        format!("{OPEN_MAX} imports are under way, which is the most. Wait for one, or cancel it.");
                    return Err(full("too_many_imports", detail));
                }
                Ok::<_, Error>(contact_imports::insert(tx, &row).await?)
            })
        });
        write.await?;
        Ok(Self {
            caller: caller.clone(),
            tenant,
            import,
            options,
            is_dry,
            buffer: BytesMut::new(),
            decoder: None,
            has_begun: false,
            tail: Vec::new(),
            hash: Context::new(&SHA256),
        })
    }

    /// Takes the next bytes. `false` when no more are wanted: a dry run has seen enough.
    #[crate::boxed]
    pub async fn push(&mut self, engine: &Engine, bytes: &[u8]) -> Result<bool, Error> {
        self.hash.update(bytes);
        self.import.size += bytes.len() as u64;
        if self.import.size > FILE_MAX {
            let detail = format!("A file of contacts has at most {FILE_MAX} bytes. Cut it into several.");
            return Err(Error::new(ErrorKind::TooLarge, "body_too_large", detail));
        }
        if !self.has_begun && !bytes.is_empty() {
            self.has_begun = true;
            let named = self.options.encoding.as_deref().and_then(table::encoding);
            let marked = encoding_rs::Encoding::for_bom(bytes).map(|(encoding, _)| encoding);
            let wide = [encoding_rs::UTF_16LE, encoding_rs::UTF_16BE];
            if let Some(encoding) = marked.or(named).filter(|encoding| wide.contains(encoding)) {
                self.decoder = Some(encoding.new_decoder());
                self.options.encoding = Some("utf-8".to_owned());
            }
        }
        self.keep(bytes, false);
        while self.buffer.len() >= CHUNK && !self.is_dry {
            let chunk = self.buffer.split_to(CHUNK).freeze();
            self.put(engine, chunk).await?;
        }
        Ok(!self.is_dry || self.buffer.len() < CHUNK)
    }

    fn keep(&mut self, bytes: &[u8], is_last: bool) {
        if let Some(decoder) = &mut self.decoder {
            let mut text =
                String::with_capacity(decoder.max_utf8_buffer_length(bytes.len()).unwrap_or(bytes.len() * 3));
            let _ = decoder.decode_to_string(bytes, &mut text, is_last);
            self.buffer.extend_from_slice(text.as_bytes());
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.options.is_utf8 {
            self.tail.extend_from_slice(bytes);
            match std::str::from_utf8(&self.tail) {
                Ok(_) => self.tail.clear(),
                Err(error) if error.error_len().is_none() && !is_last => {
                    let valid = error.valid_up_to();
                    self.tail.drain(..valid);
                }
                Err(_) => (self.options.is_utf8, self.tail) = (false, Vec::new()),
            }
        }
    }

    async fn put(&mut self, engine: &Engine, chunk: Bytes) -> Result<(), Error> {
        let before = self.import.clone();
        // First the row that says there is a chunk, so that none is left behind.
        self.import.chunks += 1;
        let after = self.import.clone();
        let write = engine.ports.db.write(self.caller.reach(), move |tx| {
            Box::pin(async move { Ok::<_, Error>(contact_imports::advance(tx, &before, &after).await?) })
        });
        if !write.await? {
            return Err(Error::conflict(
                "import_abandoned",
                "The upload took too long and was given up. Send the file again.",
            ));
        }
        let name = chunk_name(self.import.id, self.import.chunks - 1);
        engine.ports.blobs.put(&name, chunk).await.map_err(crate::attachments::unwritten)
    }

    /// Ends the upload: the import waits for its turn; of a dry run, this is the answer.
    #[crate::boxed]
    pub async fn finish(mut self, engine: &Engine, key: Option<IdempotencyKey>, target: &str) -> Result<Reply, Error> {
        self.keep(&[], true);
        if self.is_dry {
            return self.explain(engine).await;
        }
        if self.import.size == 0 {
            self.abandon(engine).await;
            return Err(Error::invalid("", "the file is empty"));
        }
        let rest = self.buffer.split().freeze();
        if !rest.is_empty() {
            self.put(engine, rest).await?;
        }
        let content = self.hash.clone().finish();
        let repeat = match key {
            None => Repeat::NONE,
            Some(key) => Repeat { key: Some(key), fingerprint: once::fingerprint("POST", target, content.as_ref()) },
        };
        self.options.sha256 = Some(hex(content.as_ref()));
        self.options.by = Some(self.caller.actor());
        let work = Work::new(engine, &self.tenant, &self.caller, engine.ports.clock.now());
        let detail = told_of_file(&self.import, &self.options);
        let before = self.import.clone();
        let after = Import { state: WAITING.to_owned(), options: json!(self.options).to_string(), ..before.clone() };
        let reply = once::once(engine.parts(), &self.caller, &repeat, 202, Secrecy::Plain, move |tx| {
            Box::pin(async move {
                if !contact_imports::advance(tx, &before, &after).await? {
                    return Err(Error::conflict(
                        "import_abandoned",
                        "The upload took too long and was given up. Send the file again.",
                    ));
                }
                work.record(tx, "contacts.import_started", after.id, &detail).await?;
                Ok(view::view(&after))
            })
        })
        .await;
        if !matches!(&reply, Ok(reply) if !reply.replayed) {
            self.abandon(engine).await;
        }
        reply
    }

    /// Gives the upload up: its chunks are removed with it. What fails here, the job removes later.
    #[crate::boxed]
    pub async fn abandon(&self, engine: &Engine) {
        if self.is_dry {
            return;
        }
        for number in 0..self.import.chunks {
            let _ = engine.ports.blobs.remove(&chunk_name(self.import.id, number)).await;
        }
        let (tenant, id) = (self.import.tenant_id, self.import.id);
        let write = engine.ports.db.write(self.caller.reach(), move |tx| {
            Box::pin(async move { contact_imports::remove(tx, tenant, id).await })
        });
        if let Err(error) = write.await {
            tracing::warn!(%error, import.id = %id, "Cannot remove an upload that was given up");
        }
    }

    async fn explain(self, engine: &Engine) -> Result<Reply, Error> {
        let tenant = self.tenant.id;
        let read = engine.ports.db.read(self.caller.reach(), move |tx| {
            Box::pin(async move { Ok::<_, Error>(contact_attributes::all(tx, tenant).await?) })
        });
        let schema = read.await?;
        let is_whole = self.buffer.len() < CHUNK;
        let decided = plan::decide(&self.options, &self.buffer, is_whole, &schema).map_err(Error::invalid_fields)?;
        let answer =
            ImportPreview::new(&self.options, decided, schema, tenant, self.import.created_at, &engine.ports.ids);
        Ok(Reply {
            status: 200,
            body: serde_json::to_vec(&answer).expect("an answer has a JSON form"),
            replayed: false,
        })
    }
}

/// Imports an uploaded file. Needs the scope `contacts:write`.
#[crate::boxed]
pub async fn from_attachment(
    engine: &Engine,
    caller: &Caller,
    query: ImportQuery,
    id: AttachmentId,
    key: Option<IdempotencyKey>,
    target: &str,
) -> Result<Reply, Error> {
    caller.need("contacts:write")?;
    let file =
        crate::attachments::content(engine, &Caller { scopes: crate::keys::Scopes::All, ..caller.clone() }, id).await;
    let file = file.map_err(|error| match error.kind {
        ErrorKind::NotFound => Error::invalid("/attachment_id", "there is no such attachment"),
        _ => error,
    })?;
    let named = |ending: &str| file.view.filename.to_ascii_lowercase().ends_with(ending);
    let media_type = if named(".ndjson") || named(".jsonl") {
        "application/x-ndjson"
    } else if named(".csv") || named(".txt") {
        "text/csv"
    } else {
        file.view.content_type.as_str()
    };
    let mut receiver = Receiver::begin(engine, caller, query, media_type).await?;
    for piece in file.bytes.chunks(CHUNK) {
        match receiver.push(engine, piece).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                receiver.abandon(engine).await;
                return Err(error);
            }
        }
    }
    receiver.finish(engine, key, target).await
}
