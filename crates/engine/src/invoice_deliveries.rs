//! Invoices to a tenant's customers: given as data or as a file, sent as `invoice-{number}.pdf` by e-mail, by WhatsApp, or both.
//!
//! A delivery is a row that names a file and the messages it went in; those are accepted with the row in one transaction, so an invoice is never half sent, and a number
//! is sent once unless its sender repeats it on purpose. What becomes of the messages is told by the messages. The file is kept for a year; the invoice's data is not kept beside it.
//! `data.rs` checks and adds up, `ways.rs` chooses channels, `letter.rs` is the mail for tenants without a template of their own.

mod data;
mod letter;
mod ways;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use jiff::civil::Date;
use model::{
    AttachmentId, Channel, ContactId, InvoiceDeliveryId, MessageId, Money, Purpose, Status, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use store::{
    Scope, Tx, attachments, inflight,
    invoice_deliveries::{self as rows, InvoiceDelivery},
    messages::{self, Message},
};
use utoipa::{IntoParams, ToSchema};

use self::ways::{File, Letter};
pub use self::{
    data::{
        Decimal, InvoiceData, InvoiceKind, InvoiceLine, InvoicePaper, InvoiceParty, InvoicePeriod, InvoiceReference,
        InvoiceTax, InvoiceTotals,
    },
    letter::{NAME as EMAIL_TEMPLATE, VARIABLES},
    ways::{InvoiceChannel, PROVIDER_NAME as PROVIDER_TEMPLATE, WHATSAPP_NAME as WHATSAPP_TEMPLATE},
};
use crate::{
    Engine, Error,
    accept::{
        Step, may_send,
        request::{ChannelChoice, MessageRequest, To},
    },
    attachments::{AttachmentContent, FILE_MAX, UPLOAD_MAX},
    branding,
    directory::Tenant,
    documents::{self, Language, Look},
    keys::Caller,
    names::Faults,
    once::{self, Repeat, Reply},
    page::{Page, Window},
    view,
};

/// What the contact's preferences speak of.
pub const TOPIC: &str = "invoice_delivery";
/// How long a sent document is kept, in seconds: a year, for whoever asks what the last one said.
const KEPT_S: i64 = 366 * 86_400;
/// Longest personal text, in characters.
const MESSAGE_MAX: usize = 2_000;
/// Longest name beside a ready document, in characters.
const NAME_MAX: usize = 200;

/// An invoice to be sent. Exactly one of `invoice` and `document`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewInvoiceDelivery {
    /// Who gets it: a contact, or an e-mail address, a phone number with WhatsApp, or both.
    pub to: To,
    /// How it goes.
    #[serde(default)]
    pub channel: InvoiceChannel,
    /// The invoice as data.
    #[serde(default)]
    pub invoice: Option<InvoiceData>,
    /// The invoice as a ready PDF.
    #[serde(default)]
    pub document: Option<ReadyInvoice>,
    /// A personal text that stands above it in the mail.
    #[serde(default)]
    #[schema(example = "Thank you for the good work together.")]
    pub message: Option<String>,
    /// The language of the mail; the recipient's when left out.
    #[serde(default)]
    #[schema(example = "en")]
    pub locale: Option<String>,
    /// Your own JSON object, kept with its messages. At most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Box<RawValue>>,
    /// Not before this instant.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub send_at: Option<Timestamp>,
    /// Sends a number again that was sent before.
    #[serde(default)]
    pub resend: bool,
    /// Explains what would happen and sends nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A ready PDF, and what the mail says about it. Exactly one of `attachment_id` and `content_base64`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadyInvoice {
    /// The invoice's number.
    #[schema(example = "2026-0042")]
    pub number: String,
    /// A PDF uploaded with `POST /v1/attachments`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub attachment_id: Option<AttachmentId>,
    /// The PDF in base64.
    #[serde(default)]
    pub content_base64: Option<String>,
    /// What it comes to.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({"amount_micros": 1_785_000_000, "currency": "EUR"}))]
    pub total: Option<Money>,
    /// The day it is to be paid by.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    pub due_date: Option<Date>,
    /// What the customer is called.
    #[serde(default)]
    pub customer_name: Option<String>,
}

/// Which deliveries a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct InvoiceDeliveryQuery {
    /// Of exactly this invoice number.
    #[param(example = "2026-0042")]
    pub number: Option<String>,
    /// Rows of the page.
    #[param(minimum = 1, maximum = 500, default = 50)]
    pub limit: Option<u32>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// The file an invoice was sent as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InvoiceFileView {
    /// Its name.
    #[schema(example = "invoice-2026-0042.pdf")]
    pub filename: String,
    /// The file.
    #[schema(value_type = String, example = "atc_01K9ZC4G5H6J7K8M9N0P1Q2R3S")]
    pub attachment_id: AttachmentId,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of its bytes in hex.
    pub sha256: String,
    /// Where it can be read, for a year.
    #[schema(example = "/v1/invoice-deliveries/ivd_01K9ZCD1A2B3C4D5E6F7G8H9J0/document")]
    pub path: String,
}

/// A message an invoice went in.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceMessageView {
    /// Its id.
    #[schema(value_type = String, example = "msg_01K9ZC8Q6T7Y2V5B3N4M1XWRSD")]
    pub id: MessageId,
    /// Over which channel.
    #[schema(value_type = String, example = "email")]
    pub channel: Channel,
    /// To whom.
    #[schema(example = "ada@example.com")]
    pub to: String,
    /// Where it is.
    #[schema(value_type = String, example = "delivered")]
    pub status: Status,
    /// Why it failed.
    #[schema(value_type = Option<Object>)]
    pub failure: Option<Box<RawValue>>,
    /// When the provider took it.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub sent_at: Option<Timestamp>,
    /// When it arrived.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub delivered_at: Option<Timestamp>,
    /// When it was read.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub read_at: Option<Timestamp>,
}

/// An invoice that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub struct InvoiceDeliveryView {
    /// Its id.
    #[schema(value_type = String, example = "ivd_01K9ZCD1A2B3C4D5E6F7G8H9J0")]
    pub id: InvoiceDeliveryId,
    /// The invoice's number.
    #[schema(example = "2026-0042")]
    pub number: String,
    /// True when the number had been sent before.
    pub is_resend: bool,
    /// How it was to go.
    pub channel: InvoiceChannel,
    /// Why it went the way it went.
    #[schema(example = "The contact prefers email for invoices.")]
    pub reason: String,
    /// What the invoice comes to, where it is known.
    #[schema(value_type = Option<Object>)]
    pub total: Option<Money>,
    /// The contact it went to.
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// The file.
    pub document: InvoiceFileView,
    /// Its messages, and where they are.
    pub messages: Vec<InvoiceMessageView>,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

/// What is to be sent, read and drawn.
struct Sheet {
    number: String,
    bytes: Bytes,
    total: Option<Money>,
    variables: Map<String, Value>,
}

/// Sends an invoice. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn create(
    engine: &Engine,
    caller: &Caller,
    repeat: &Repeat,
    new: NewInvoiceDelivery,
) -> Result<Reply, Error> {
    caller.need("messages:write")?;
    let tenant_id = caller.need_tenant()?;
    if !new.dry_run
        && let Some(reply) = once::replay(engine.parts(), caller, repeat).await?
    {
        return Ok(reply);
    }
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let now = engine.ports.clock.now();
    let mut base = base(&new)?;
    engine.find_recipients(tenant_id, std::iter::once(&mut base)).await?;
    let locale = new.locale.as_deref().or(new.invoice.as_ref().and_then(|invoice| invoice.locale.as_deref()));
    let contacts = base.recipient.as_ref().and_then(|recipient| recipient.contact.language.as_deref());
    let language = Language::of(locale.or(contacts).or(tenant.branding.default_locale.as_deref()));
    let sheet = sheet(engine, &tenant, &new, language).await?;
    if !new.resend
        && let Some(before) = latest(engine, tenant_id, &sheet.number).await?
    {
        return Err(sent_before(&before));
    }
    let letter = |file| Letter {
        base: &base,
        file,
        language,
        locale: locale.map(str::to_owned),
        variables: sheet.variables.clone(),
    };
    let unstored = File { id: None, name: data::filename(&sheet.number) };
    let (requests, reason) = ways::choose(engine, &tenant, new.channel, letter(&unstored), now).await?;
    requests.iter().try_for_each(|request| may_send(caller, request, &tenant))?;
    if new.dry_run {
        return rehearse(engine, tenant_id, &sheet, &unstored, &reason, requests).await;
    }
    let until = base.send_at.map_or(now, |at| at.max(now)).plus_seconds(KEPT_S);
    let kept = engine.keep_for_message(tenant_id, &unstored.name, "application/pdf", sheet.bytes, until).await?;
    let file = File { id: Some(kept.id), name: unstored.name.clone() };
    // Once more, now that there is a file to name.
    let (mut requests, reason) = ways::choose(engine, &tenant, new.channel, letter(&file), now).await?;
    engine.find_recipients(tenant_id, requests.iter_mut()).await?;
    let row = InvoiceDelivery {
        tenant_id,
        id: InvoiceDeliveryId::from_ulid(engine.ports.ids.ulid(now)),
        number: sheet.number.clone(),
        is_resend: new.resend,
        channel: new.channel.as_str().to_owned(),
        reason,
        filename: file.name.clone(),
        attachment_id: kept.id,
        size: kept.size,
        sha256: kept.sha256,
        total_micros: sheet.total.as_ref().map(|total| total.amount_micros),
        currency: sheet.total.map(|total| total.currency),
        contact_id: None,
        email_message_id: None,
        whatsapp_message_id: None,
        created_at: now,
    };
    let tell = |told: &[Message]| tell(&row, told, now);
    match engine.accept_all(tenant_id, &requests, repeat, tell).await? {
        Some(reply) => Ok(reply),
        None => {
            let before = latest(engine, tenant_id, &sheet.number).await?;
            Err(before
                .map_or_else(|| Error::internal("a delivery was in the way and is gone"), |row| sent_before(&row)))
        }
    }
}

/// The step that writes the row beside its messages, and the answer.
fn tell(row: &InvoiceDelivery, told: &[Message], now: Timestamp) -> Result<(Step, Vec<u8>), Error> {
    let of = |channel| told.iter().find(|m| m.channel == channel).map(|m| m.id);
    let row = InvoiceDelivery {
        contact_id: told.iter().find_map(|m| m.contact_id),
        email_message_id: of(Channel::Email),
        whatsapp_message_id: of(Channel::Whatsapp),
        ..row.clone()
    };
    let body = serde_json::to_vec(&shown(&row, told, &[], now)).map_err(Error::internal)?;
    let step = Step::new(move |tx| {
        let row = row.clone();
        Box::pin(async move { rows::insert(tx, &row).await })
    });
    Ok((step, body))
}

/// What every message of an invoice has in common.
fn base(new: &NewInvoiceDelivery) -> Result<MessageRequest, Error> {
    let mut faults = Faults::default();
    if new.to.telegram_chat_id.is_some() {
        faults.add(
            "/to/telegram_chat_id",
            "invoices go by e-mail and WhatsApp: give a contact, an e-mail address or a phone number",
        );
    }
    if new.invoice.is_some() == new.document.is_some() {
        faults.add("/invoice", "give exactly one of `invoice` (data) and `document` (a ready PDF)");
    }
    if new.message.as_ref().is_some_and(|text| text.chars().count() > MESSAGE_MAX) {
        faults.add("/message", format!("at most {MESSAGE_MAX} characters"));
    }
    for (pointer, tag) in
        [("/locale", &new.locale), ("/invoice/locale", &new.invoice.as_ref().and_then(|i| i.locale.clone()))]
    {
        if tag.as_deref().is_some_and(|tag| crate::templates::locale::parse(tag).is_none()) {
            faults.add(pointer, "not a language tag; write one such as en or pt-BR");
        }
    }
    faults.end()?;
    Ok(MessageRequest {
        to: new.to.clone(),
        channel: Some(ChannelChoice::Auto),
        purpose: Some(Purpose::Transactional),
        topic: Some(TOPIC.to_owned()),
        metadata: new.metadata.clone(),
        send_at: new.send_at,
        ..MessageRequest::default()
    })
}

/// Draws the PDF that would be sent, and sends nothing. Needs the scope `messages:write`.
#[crate::boxed]
pub async fn preview(engine: &Engine, caller: &Caller, new: NewInvoiceDelivery) -> Result<Bytes, Error> {
    caller.need("messages:write")?;
    let (_, tenant) = engine.tenant(caller.need_tenant()?).await?;
    let locale = new.locale.as_deref().or(new.invoice.as_ref().and_then(|invoice| invoice.locale.as_deref()));
    let language = Language::of(locale.or(tenant.branding.default_locale.as_deref()));
    Ok(sheet(engine, &tenant, &new, language).await?.bytes)
}

/// A total as people read it.
pub fn amount(total: &Money) -> String {
    documents::money(total.amount_micros, &total.currency, Language::En)
}

async fn sheet(engine: &Engine, tenant: &Tenant, new: &NewInvoiceDelivery, language: Language) -> Result<Sheet, Error> {
    let mut variables: Map<String, Value> = VARIABLES.iter().map(|name| ((*name).to_owned(), "".into())).collect();
    variables.insert("message".to_owned(), new.message.clone().unwrap_or_default().into());
    let own_name = tenant.branding.name.as_ref().unwrap_or(&tenant.name);
    match (&new.invoice, &new.document) {
        (Some(invoice), _) => {
            let logo = branding::logo(engine, tenant.id, &tenant.branding).await?;
            let is_letter = matches!(tenant.default_country.as_deref(), Some("US" | "CA"));
            let document = invoice.document(language, is_letter, Look::of(&tenant.branding, logo))?;
            let date = |date| language.date(date);
            set(&mut variables, "invoice_number", &document.number);
            set(&mut variables, "document_title", documents::title(&document));
            set(&mut variables, "customer_name", &document.buyer.name);
            set(&mut variables, "seller_name", &document.seller.name);
            set(&mut variables, "amount", &documents::money(invoice.due_micros(), &document.currency, language));
            set(&mut variables, "issue_date", &date(document.issued_on));
            set(&mut variables, "due_date", &document.due_on.map(date).unwrap_or_default());
            let total = Money { amount_micros: document.totals.total_micros, currency: document.currency.clone() };
            let number = document.number.clone();
            set(&mut variables, "filename", &data::filename(&number));
            let bytes = documents::draw(document).await?.into();
            Ok(Sheet { number, bytes, total: Some(total), variables })
        }
        (None, Some(ready)) => {
            let mut faults = Faults::default();
            let number = data::number("/document/number", &ready.number, &mut faults);
            if let Some(total) = &ready.total {
                faults.currency("/document/total/currency", &total.currency);
            }
            if ready.customer_name.as_ref().is_some_and(|name| name.chars().count() > NAME_MAX) {
                faults.add("/document/customer_name", format!("at most {NAME_MAX} characters"));
            }
            faults.end()?;
            let bytes = ready_bytes(engine, tenant.id, ready).await?;
            set(&mut variables, "invoice_number", &number);
            set(&mut variables, "document_title", language.invoice());
            set(&mut variables, "customer_name", ready.customer_name.as_deref().unwrap_or_default());
            set(&mut variables, "seller_name", own_name);
            let amount = ready.total.as_ref().map(|m| documents::money(m.amount_micros, &m.currency, language));
            set(&mut variables, "amount", &amount.unwrap_or_default());
            set(&mut variables, "due_date", &ready.due_date.map(|date| language.date(date)).unwrap_or_default());
            set(&mut variables, "filename", &data::filename(&number));
            Ok(Sheet { number, bytes, total: ready.total.clone(), variables })
        }
        (None, None) => Err(Error::internal("a delivery without a document passed its check")),
    }
}

fn set(variables: &mut Map<String, Value>, name: &str, value: &str) {
    variables.insert(name.to_owned(), value.into());
}

/// The bytes of a ready document, which begins like every PDF.
async fn ready_bytes(engine: &Engine, tenant: TenantId, ready: &ReadyInvoice) -> Result<Bytes, Error> {
    let (pointer, most, bytes) = match (ready.attachment_id, &ready.content_base64) {
        (Some(id), None) => {
            let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
                Box::pin(async move { Ok::<_, Error>(attachments::find(tx, tenant, id).await?) })
            });
            let found = read.await?;
            let file = found.ok_or_else(|| Error::invalid("/document/attachment_id", "there is no such attachment"))?;
            let bytes = engine.ports.blobs.get(&file.sha256).await;
            let bytes = bytes.map_err(|error| Error::internal(format!("the bytes of {id} cannot be read: {error}")))?;
            ("/document/attachment_id", UPLOAD_MAX, bytes)
        }
        (None, Some(text)) => {
            let pointer = "/document/content_base64";
            let bytes = STANDARD.decode(text).map_err(|_| {
                Error::invalid(pointer, "not base64 in the standard alphabet with padding and without line breaks")
            })?;
            (pointer, FILE_MAX, Bytes::from(bytes))
        }
        _ => {
            let detail = "give exactly one of `attachment_id` and `content_base64`";
            return Err(Error::invalid("/document/attachment_id", detail));
        }
    };
    if bytes.len() > most {
        return Err(Error::invalid(pointer, format!("at most {most} bytes; this file has {}", bytes.len())));
    }
    if !bytes.starts_with(b"%PDF-") {
        return Err(Error::invalid(pointer, "this file is no PDF: it does not begin with %PDF-"));
    }
    Ok(bytes)
}

/// What would happen. Nothing is stored.
async fn rehearse(
    engine: &Engine,
    tenant: TenantId,
    sheet: &Sheet,
    file: &File,
    reason: &str,
    mut requests: Vec<MessageRequest>,
) -> Result<Reply, Error> {
    engine.find_recipients(tenant, requests.iter_mut()).await?;
    let mut explained = Vec::new();
    for request in &requests {
        let reply = engine.explain(tenant, request).await?;
        explained.push(serde_json::from_slice::<Value>(&reply.body).map_err(Error::internal)?);
    }
    let body = json!({
        "dry_run": true, "number": sheet.number, "reason": reason, "total": sheet.total,
        "document": {"filename": file.name, "size": sheet.bytes.len()}, "messages": explained,
    });
    Ok(Reply { status: 200, body: body.to_string().into_bytes(), replayed: false })
}

fn sent_before(row: &InvoiceDelivery) -> Error {
    let detail = format!(
        "The invoice {} was sent on {} as {}. Give `resend: true` to send it again.",
        row.number,
        row.created_at.jiff().strftime("%Y-%m-%d"),
        row.id
    );
    Error::conflict("invoice_already_sent", detail)
}

async fn latest(engine: &Engine, tenant: TenantId, number: &str) -> Result<Option<InvoiceDelivery>, Error> {
    let number = number.to_owned();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { Ok::<_, Error>(rows::latest(tx, tenant, &number).await?) })
    });
    read.await
}

/// The tenant's sent invoices, newest first. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn list(
    engine: &Engine,
    caller: &Caller,
    query: InvoiceDeliveryQuery,
) -> Result<Page<InvoiceDeliveryView>, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let window = Window::read("invoice_deliveries", query.limit, query.cursor.as_deref())?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let before = InvoiceDeliveryId::from_ulid(window.before);
            let rows = rows::list(tx, tenant, before, query.number.as_deref(), window.rows()).await?;
            with_messages(tx, tenant, rows, now).await
        })
    });
    Ok(window.page(read.await?, |view| view.id.ulid(), |view| view))
}

/// One sent invoice with what became of it. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn get(engine: &Engine, caller: &Caller, id: InvoiceDeliveryId) -> Result<InvoiceDeliveryView, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let now = engine.ports.clock.now();
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move {
            let row = rows::find(tx, tenant, id).await?.ok_or_else(not_found)?;
            with_messages(tx, tenant, vec![row], now).await
        })
    });
    read.await?.pop().ok_or_else(not_found)
}

/// The PDF of a sent invoice. Needs the scope `messages:read`.
#[crate::boxed]
pub async fn document(engine: &Engine, caller: &Caller, id: InvoiceDeliveryId) -> Result<AttachmentContent, Error> {
    caller.need("messages:read")?;
    let tenant = caller.need_tenant()?;
    let read = engine.ports.db.read(Scope::Tenant(tenant), move |tx| {
        Box::pin(async move { rows::find(tx, tenant, id).await?.ok_or_else(not_found) })
    });
    let row = read.await?;
    crate::attachments::kept(engine, tenant, row.attachment_id).await?.ok_or_else(|| {
        let detail = "The document is no longer here: it is kept for a year, unless its recipient was erased.";
        Error::new(crate::ErrorKind::NotFound, "document_gone", detail)
    })
}

/// Deliveries with their messages as they are now.
async fn with_messages(
    tx: &mut Tx,
    tenant: TenantId,
    rows: Vec<InvoiceDelivery>,
    now: Timestamp,
) -> Result<Vec<InvoiceDeliveryView>, Error> {
    let keys: Vec<_> = rows.iter().flat_map(InvoiceDelivery::messages).map(|id| (tenant, id)).collect();
    let told = messages::find_many(tx, &keys).await?;
    let waiting: Vec<MessageId> = told.iter().filter(|m| !m.status.is_final()).map(|m| m.id).collect();
    let flying: Vec<MessageId> =
        inflight::find_many(tx, &waiting).await?.into_iter().map(|flight| flight.message_id).collect();
    Ok(rows.iter().map(|row| shown(row, &told, &flying, now)).collect())
}

fn shown(row: &InvoiceDelivery, told: &[Message], flying: &[MessageId], now: Timestamp) -> InvoiceDeliveryView {
    let message = |id: MessageId| {
        let m = told.iter().find(|m| m.id == id)?;
        let seen = view::message(m, flying.contains(&id), now);
        Some(InvoiceMessageView {
            id,
            channel: m.channel,
            to: m.address.clone(),
            status: seen.status,
            failure: seen.failure,
            sent_at: m.sent_at,
            delivered_at: m.delivered_at,
            read_at: m.read_at,
        })
    };
    InvoiceDeliveryView {
        id: row.id,
        number: row.number.clone(),
        is_resend: row.is_resend,
        channel: InvoiceChannel::from_stored(&row.channel),
        reason: row.reason.clone(),
        total: row
            .total_micros
            .zip(row.currency.clone())
            .map(|(amount_micros, currency)| Money { amount_micros, currency }),
        contact_id: row.contact_id,
        document: InvoiceFileView {
            filename: row.filename.clone(),
            attachment_id: row.attachment_id,
            size: row.size,
            sha256: row.sha256.clone(),
            path: format!("/v1/invoice-deliveries/{}/document", row.id),
        },
        messages: row.messages().filter_map(message).collect(),
        created_at: row.created_at,
    }
}

fn not_found() -> Error {
    Error::not_found("invoice delivery")
}
