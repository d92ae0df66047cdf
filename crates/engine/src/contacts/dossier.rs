//! Everything that is kept about one person, as a zip of JSON and files: what a tenant owes whoever asks (GDPR articles 15 and 20, CCPA, DPDP).
//!
//! Asking for it is one operation, on record in the audit log; it answers where the file is read from for a day. The file lies nowhere: each time it is read it is made anew, page by page, so
//! that memory holds one page or one of its files, whatever the person got. What changes meanwhile may be in it or not.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use model::{
    AttachmentId, AttachmentRef, AuditId, CampaignId, ConsentId, ContactExportId, ContactId, Content, InboundId,
    MessageId, Purpose, ScheduleId, Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};
use store::{
    Scope, Tx, attachments, campaign_recipients, consents, contact_attributes,
    contacts::{self, Contact},
    contents, dossiers, inbound, lists,
    messages::{self, Message},
    schedules, suppressions,
};
use utoipa::ToSchema;
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::{no_such, person::Person, view, writer};
use crate::{
    Engine, Error, audit,
    consent::{links::Links, preferences, records},
    directory::Tenant,
    keys::Caller,
    once::{Repeat, Reply, Secrecy, once},
    queries,
    render::{Prepared, has_secrets},
    view as shown,
};

/// How long it can be read, in seconds: a day, so that a link that lies around is soon worth nothing.
const READABLE_S: i64 = 86_400;
/// Messages of one page, each with its timeline: some 300 kB.
const MESSAGES: i64 = 100;
/// Rows of one page of everything smaller.
const ROWS: i64 = 500;
/// Schedules looked at in one step.
const SCHEDULES: i64 = 200;

/// Where everything about a contact can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ContactExportView {
    /// Its id.
    #[schema(value_type = String, example = "cxp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: ContactExportId,
    /// About whom.
    #[schema(value_type = String, example = "con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub contact_id: ContactId,
    /// Where the file is read from, with the same right.
    #[schema(example = "/v1/contacts/con_01K9ZC8Q6T7Y2V5B3N4M1XWRSD/exports/cxp_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub url: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Until when it can be read.
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Asks for everything about a contact. 201 with where it is read from. Needs the scope `contacts:write`: whoever may only look does not carry everything away.
#[crate::boxed]
pub async fn ask(engine: &Engine, caller: &Caller, repeat: &Repeat, id: ContactId) -> Result<Reply, Error> {
    let (tenant, now) = writer(engine, caller).await?;
    let row = dossiers::ContactExport {
        tenant_id: tenant.id,
        id: ContactExportId::from_ulid(engine.ports.ids.ulid(now)),
        contact_id: id,
        actor: caller.actor(),
        created_at: now,
        expires_at: now.plus_seconds(READABLE_S),
    };
    let (ids, by) = (Arc::clone(&engine.ports.ids), caller.clone());
    once(engine.parts(), caller, repeat, 201, Secrecy::Plain, move |tx| {
        Box::pin(async move {
            contacts::find(tx, row.tenant_id, id).await?.ok_or_else(no_such)?;
            dossiers::insert(tx, &row).await?;
            let detail = json!({ "export": row.id });
            audit::record(tx, row.tenant_id, &ids, now, &by, "contact.export_requested", id, &detail).await?;
            Ok::<_, Error>(ContactExportView {
                id: row.id,
                contact_id: id,
                url: format!("/v1/contacts/{id}/exports/{}", row.id),
                created_at: row.created_at,
                expires_at: row.expires_at,
            })
        })
    })
    .await
}

/// Removes permissions that have ended. Run every hour; answers how many.
#[crate::boxed]
pub async fn purge(engine: &Engine) -> Result<u64, Error> {
    let now = engine.ports.clock.now();
    let write = engine
        .ports
        .db
        .write(Scope::System, move |tx| Box::pin(async move { Ok::<_, Error>(dossiers::purge(tx, now, ROWS).await?) }));
    write.await
}

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Part {
    Contact,
    Consents(ConsentId),
    Messages(MessageId),
    Inbound(InboundId),
    Campaigns(CampaignId),
    Schedules(ScheduleId),
    Changes(AuditId),
    Index,
    Over,
}

/// The bytes of the zip that were made and not handed out yet.
#[derive(Clone, Default)]
struct Pieces(Arc<Mutex<Vec<u8>>>);

impl Pieces {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A zip that is handed out while it is made.
type Zip = ZipWriter<zip::write::StreamWriter<Pieces>>;

/// A file of a message, to be put in.
struct Wanted {
    id: AttachmentId,
    filename: String,
    sha256: String,
}

/// An export under way.
pub struct Dossier {
    tenant: Arc<Tenant>,
    person: Arc<Person>,
    pieces: Pieces,
    zip: Option<Zip>,
    part: Part,
    /// Pages so far, by folder.
    pages: BTreeMap<&'static str, u32>,
    /// Rows so far, by what they are.
    counts: BTreeMap<&'static str, u64>,
    files: VecDeque<Wanted>,
    /// Files that are in it, or are no longer kept.
    seen: HashSet<AttachmentId>,
    now: Timestamp,
}

impl Dossier {
    /// Begins to make the file, on record. Needs the scope `contacts:write`.
    #[crate::boxed]
    pub async fn begin(
        engine: &Engine,
        caller: &Caller,
        id: ContactId,
        export: ContactExportId,
    ) -> Result<Self, Error> {
        let (tenant, now) = writer(engine, caller).await?;
        super::merge::finish(engine, tenant.id, id).await?;
        let (of, ids, by) = (tenant.id, Arc::clone(&engine.ports.ids), caller.clone());
        let write = engine.ports.db.write(caller.reach(), move |tx| {
            Box::pin(async move {
                let row = dossiers::find(tx, of, export, now).await?.filter(|row| row.contact_id == id);
                row.ok_or_else(|| Error::not_found("export"))?;
                let contact = contacts::find(tx, of, id).await?.ok_or_else(no_such)?;
                audit::record(tx, of, &ids, now, &by, "contact.exported", id, &json!({ "export": export })).await?;
                Ok::<Contact, Error>(contact)
            })
        });
        let contact = write.await?;
        let pieces = Pieces::default();
        Ok(Self {
            person: Arc::new(Person::new(&contact)),
            tenant,
            zip: Some(ZipWriter::new_stream(pieces.clone())),
            pieces,
            part: Part::Contact,
            pages: BTreeMap::new(),
            counts: BTreeMap::new(),
            files: VecDeque::new(),
            seen: HashSet::new(),
            now,
        })
    }

    /// The next piece of the file; `None` at its end.
    #[crate::boxed]
    pub async fn next(&mut self, engine: &Engine) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(file) = self.files.pop_front() {
                self.file(engine, file).await?;
            } else {
                self.part = match self.part {
                    Part::Contact => self.contact(engine).await?,
                    Part::Consents(after) => self.consents(engine, after).await?,
                    Part::Messages(after) => self.messages(engine, after).await?,
                    Part::Inbound(after) => self.inbound(engine, after).await?,
                    Part::Campaigns(after) => self.campaigns(engine, after).await?,
                    Part::Schedules(before) => self.schedules(engine, before).await?,
                    Part::Changes(after) => self.changes(engine, after).await?,
                    Part::Index => self.index()?,
                    Part::Over => return Ok(None),
                };
            }
            let made = self.pieces.take();
            if !made.is_empty() {
                return Ok(Some(made.into()));
            }
        }
    }

    /// Begins a file of the zip.
    fn start(&mut self, name: &str, method: CompressionMethod) -> Result<&mut Zip, Error> {
        let zip = self.zip.as_mut().ok_or_else(|| Error::internal("a zip that was ended is written to"))?;
        zip.start_file(name, SimpleFileOptions::default().compression_method(method)).map_err(Error::internal)?;
        Ok(zip)
    }

    fn put(&mut self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        let to = self.start(name, CompressionMethod::Deflated)?;
        serde_json::to_writer_pretty(to, value).map_err(Error::internal)
    }

    /// Adds a page of rows to a folder, when there are any.
    fn page(&mut self, folder: &'static str, rows: &[impl Serialize]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        *self.counts.entry(folder).or_default() += rows.len() as u64;
        let page = self.pages.entry(folder).or_default();
        *page += 1;
        let name = format!("{folder}/{page:06}.json");
        self.put(&name, &rows)
    }

    async fn contact(&mut self, engine: &Engine) -> Result<Part, Error> {
        let found = read(engine, Arc::clone(&self.person), |tx, of| {
            Box::pin(async move {
                let contact = contacts::find(tx, of.tenant, of.id).await?.ok_or_else(no_such)?;
                let schema = contact_attributes::all(tx, of.tenant).await?;
                let mut on = Vec::new();
                for id in lists::of_contact(tx, of.tenant, of.id).await? {
                    let list = lists::find(tx, of.tenant, id).await?;
                    on.push(json!({ "id": id, "name": list.map(|list| list.name) }));
                }
                let preferred = consents::preferences(tx, &[(of.tenant, of.id)]).await?;
                let standing = consents::standing(tx, &[(of.tenant, of.id)]).await?;
                let keys: Vec<_> = of.keys.iter().map(|(channel, key)| (of.tenant, *channel, key.clone())).collect();
                let against = suppressions::against(tx, &keys).await?;
                Ok((view::contact(&contact, &schema), on, preferred, standing, against))
            })
        });
        let (contact, on, preferred, standing, against) = found.await?;
        self.put("contact.json", &contact)?;
        self.put("lists.json", &on)?;
        self.put("preferences.json", &preferences::view(self.person.id, preferred.first()))?;
        self.put("consent.json", &standing.iter().map(records::standing_view).collect::<Vec<_>>())?;
        let against: Vec<_> = against.iter().map(crate::consent::suppressions::view).collect();
        self.put("suppressions.json", &against)?;
        Ok(Part::Consents(ConsentId::from_ulid(u128::MAX)))
    }

    async fn consents(&mut self, engine: &Engine, before: ConsentId) -> Result<Part, Error> {
        let said = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move { Ok(consents::list(tx, of.tenant, of.id, before, ROWS).await?) })
        });
        let said = said.await?;
        let last = said.last().map(|row| row.id);
        self.page("consents", &said.into_iter().map(records::view).collect::<Vec<_>>())?;
        Ok(last.map_or(Part::Messages(MessageId::from_ulid(0)), Part::Consents))
    }

    async fn messages(&mut self, engine: &Engine, after: MessageId) -> Result<Part, Error> {
        let now = self.now;
        let found = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move {
                let ids = dossiers::messages(tx, of.tenant, of.id, &of.addresses, after, MESSAGES).await?;
                let keys: Vec<_> = ids.iter().map(|id| (of.tenant, *id)).collect();
                let mut rows = messages::find_many(tx, &keys).await?;
                rows.sort_by_key(|m| m.id);
                let mut said: Vec<_> = rows.iter().map(|m| (of.tenant, m.content_id)).collect();
                said.sort_unstable_by_key(|(_, id)| *id);
                said.dedup();
                let said = contents::find_many(tx, &said).await?;
                let mut told = Vec::with_capacity(rows.len());
                for m in &rows {
                    told.push(queries::told(tx, of.tenant, m.id, now).await?);
                }
                Ok((ids.last().copied(), rows, said, told))
            })
        });
        let (last, rows, said, told) = found.await?;
        let said: HashMap<u128, Prepared> =
            said.iter().filter_map(|stored| Some((stored.id.0, Prepared::stored(stored).ok()?))).collect();
        let mut page = Vec::with_capacity(rows.len());
        let mut media = Vec::new();
        for (m, told) in rows.iter().zip(told) {
            let content = said.get(&m.content_id.0).map(|prepared| self.filled(m, prepared));
            if let Some(content) = &content {
                self.want(content);
                media.extend(media_of(content));
            }
            page.push(json!({
                "message": shown::message(m, false, now),
                "content": content,
                "variables": shown::raw(m.variables.as_deref().filter(|_| !has_secrets(m.variables.as_deref()))),
                "timeline": told.data,
            }));
        }
        self.page("messages", &page)?;
        media.retain(|id| !self.seen.contains(id));
        if !media.is_empty() {
            let found = read(engine, Arc::clone(&self.person), move |tx, of| {
                Box::pin(async move { Ok(attachments::find_many(tx, of.tenant, &media).await?) })
            });
            for file in found.await? {
                self.add_file(file.id, file.filename, file.sha256);
            }
        }
        Ok(last.map_or(Part::Inbound(InboundId::from_ulid(0)), Part::Messages))
    }

    /// What a message said, as far as it can be filled again. What was for the recipient alone, such as a link to sign in with, stays a placeholder.
    fn filled(&self, m: &Message, prepared: &Prepared) -> Arc<Content> {
        let source = || Arc::new(prepared.source().clone());
        if has_secrets(m.variables.as_deref()) {
            return source();
        }
        let links = (m.purpose == Purpose::Marketing).then(|| Links::sample(&self.tenant.public_url));
        let filled = prepared.render_with(m.variables.as_deref(), &self.tenant.provided, links.as_ref());
        filled.unwrap_or_else(|_| source())
    }

    /// Notes the files of a mail.
    fn want(&mut self, content: &Content) {
        let Content::Email(email) = content else { return };
        for AttachmentRef { attachment_id, filename, sha256, .. } in &email.attachments {
            self.add_file(*attachment_id, filename.clone(), sha256.clone());
        }
    }

    fn add_file(&mut self, id: AttachmentId, filename: String, sha256: String) {
        if self.seen.insert(id) {
            self.files.push_back(Wanted { id, filename, sha256 });
        }
    }

    async fn file(&mut self, engine: &Engine, file: Wanted) -> Result<(), Error> {
        let bytes = match engine.ports.blobs.get(&file.sha256).await {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *self.counts.entry("files_no_longer_kept").or_default() += 1;
                return Ok(());
            }
            Err(error) => return Err(Error::internal(error)),
        };
        *self.counts.entry("files").or_default() += 1;
        let plain: String =
            file.filename.chars().map(|c| if matches!(c, '/' | '\\' | '\0' | ':') { '_' } else { c }).collect();
        // Most of these are packed already.
        let to =
            self.start(&format!("files/{}/{}", file.id, plain.trim_start_matches('.')), CompressionMethod::Stored)?;
        to.write_all(&bytes).map_err(Error::internal)
    }

    async fn inbound(&mut self, engine: &Engine, after: InboundId) -> Result<Part, Error> {
        let found = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move {
                let ids = dossiers::inbound(tx, of.tenant, of.id, &of.addresses, after, ROWS).await?;
                let mut rows = Vec::with_capacity(ids.len());
                for id in &ids {
                    rows.extend(inbound::find(tx, of.tenant, *id).await?);
                }
                Ok((ids.last().copied(), rows))
            })
        });
        let (last, rows) = found.await?;
        self.page("inbound_messages", &rows.iter().map(crate::inbound::view).collect::<Vec<_>>())?;
        Ok(last.map_or(Part::Campaigns(CampaignId::from_ulid(0)), Part::Inbound))
    }

    async fn campaigns(&mut self, engine: &Engine, after: CampaignId) -> Result<Part, Error> {
        let parts = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move { Ok(dossiers::campaigns(tx, of.tenant, of.id, after, ROWS).await?) })
        });
        let parts = parts.await?;
        let part = |part: &dossiers::Part| {
            let outcome = match part.outcome {
                campaign_recipients::ACCEPTED => "accepted",
                campaign_recipients::EXCLUDED => "left_out",
                _ => "waiting",
            };
            json!({
                "campaign_id": part.campaign_id, "name": part.name, "variant": part.variant, "outcome": outcome, "reason": part.reason,
                "message_id": part.message_id,
            })
        };
        self.page("campaigns", &parts.iter().map(part).collect::<Vec<_>>())?;
        let next = parts.last().map(|part| part.campaign_id);
        Ok(next.map_or(Part::Schedules(ScheduleId::from_ulid(u128::MAX)), Part::Campaigns))
    }

    async fn schedules(&mut self, engine: &Engine, before: ScheduleId) -> Result<Part, Error> {
        let rows = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move { Ok(schedules::list(tx, of.tenant, before, SCHEDULES).await?) })
        });
        let rows = rows.await?;
        let last = rows.last().map(|row| row.id);
        let own = rows.into_iter().filter(|row| self.person.is_in(&row.request)).map(|row| {
            json!({
                "id": row.id, "name": row.name, "state": row.state, "rule": row.rule, "timezone": row.timezone, "next_at": row.next_at,
                "message": shown::raw(Some(&row.request)),
            })
        });
        let own: Vec<Value> = own.collect();
        self.page("schedules", &own)?;
        Ok(last.map_or(Part::Changes(AuditId::from_ulid(0)), Part::Schedules))
    }

    async fn changes(&mut self, engine: &Engine, after: AuditId) -> Result<Part, Error> {
        let rows = read(engine, Arc::clone(&self.person), move |tx, of| {
            Box::pin(async move { Ok(dossiers::changes(tx, of.tenant, of.id, after, ROWS).await?) })
        });
        let rows = rows.await?;
        let last = rows.last().map(|row| row.id);
        let entry = |row: &store::audit::Entry| json!({ "at": row.at, "actor": row.actor, "action": row.action, "detail": shown::raw(Some(&row.detail)) });
        self.page("changes", &rows.iter().map(entry).collect::<Vec<_>>())?;
        Ok(last.map_or(Part::Index, Part::Changes))
    }

    /// The last file says what the others are.
    fn index(&mut self) -> Result<Part, Error> {
        let index = json!({
            "contact_id": self.person.id,
            "held_by": self.tenant.branding.name.as_deref().unwrap_or(&self.tenant.name),
            "made_at": self.now,
            "counts": self.counts,
            "contents": {
                "contact.json": "The contact with its attributes.",
                "lists.json": "The lists it is on.",
                "preferences.json": "Which channels it prefers, its quiet hours, and whether it is to be written to at all.",
                "consent.json": "How its consent stands.",
                "suppressions.json": "Why its addresses are not written to.",
                "consents/": "Everything it said about consent, with time, method and text shown.",
                "messages/": "Every message to it: what it said, when it was sent, delivered, opened and clicked, and each exchange about it.",
                "files/": "The files of those messages that are still kept, by their id.",
                "inbound_messages/": "Every message from it.",
                "campaigns/": "The campaigns whose audience it belonged to.",
                "schedules/": "Messages to it that repeat.",
                "changes/": "Who changed what about it.",
            },
        });
        self.put("index.json", &index)?;
        if let Some(zip) = self.zip.take() {
            zip.finish().map_err(Error::internal)?;
        }
        Ok(Part::Over)
    }
}

/// Reads something in one snapshot.
async fn read<T: Send + 'static>(
    engine: &Engine,
    person: Arc<Person>,
    work: impl for<'t> FnOnce(&'t mut Tx, Arc<Person>) -> model::BoxFuture<'t, Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    engine.ports.db.read(Scope::Tenant(person.tenant), move |tx| work(tx, person)).await
}

/// The uploaded files a content shows.
fn media_of(content: &Content) -> Vec<AttachmentId> {
    content.media().iter().filter_map(|media| media.attachment_id).collect()
}
