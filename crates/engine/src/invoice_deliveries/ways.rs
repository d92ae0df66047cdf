//! Over which channels an invoice goes, and what is said on each.

use std::sync::Arc;

use model::{AttachmentId, Channel, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json, value::RawValue};
use store::{Scope, whatsapp_templates};
use utoipa::ToSchema;

use super::letter;
use crate::{
    Engine, Error, ErrorKind, FieldError,
    accept::{
        plan,
        request::{AttachmentRequest, ChannelChoice, MessageRequest, TemplateRequest, To},
    },
    directory::{Account, Tenant},
    documents::Language,
    tracking::{self, token::Target},
};

/// The tenant's own template for WhatsApp.
pub const WHATSAPP_NAME: &str = "invoice-whatsapp";
/// The template at the provider that is taken when there is no own one: names there have no hyphens.
pub const PROVIDER_NAME: &str = "invoice_whatsapp";
/// What a provider's template may ask for in its body, in this order when it only counts.
const ASKED: &[&str] = &["customer_name", "invoice_number", "amount", "due_date"];
/// How long a provider can fetch the file, in seconds: 30 days, as long as a message may be tried again.
const LINK_S: i64 = 30 * 86_400;

/// How an invoice goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceChannel {
    /// As the contact prefers and allows for the topic `invoice_delivery`: e-mail or WhatsApp.
    #[default]
    Auto,
    /// By e-mail, with the PDF attached.
    Email,
    /// By WhatsApp, with the PDF as a document.
    Whatsapp,
    /// Both ways.
    Both,
}

impl InvoiceChannel {
    /// The word in JSON and SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Email => "email",
            Self::Whatsapp => "whatsapp",
            Self::Both => "both",
        }
    }

    /// Reads the database's word.
    pub fn from_stored(word: &str) -> Self {
        match word {
            "email" => Self::Email,
            "whatsapp" => Self::Whatsapp,
            "both" => Self::Both,
            _ => Self::Auto,
        }
    }
}

/// The file as far as messages name it.
pub(super) struct File {
    /// `None` in a rehearsal, for which nothing is stored.
    pub(super) id: Option<AttachmentId>,
    pub(super) name: String,
}

/// What is the same for each channel.
pub(super) struct Letter<'a> {
    /// Recipient, topic, purpose, time and metadata; its channel is `auto`, and its wishes are found.
    pub(super) base: &'a MessageRequest,
    pub(super) file: &'a File,
    pub(super) language: Language,
    /// The language that was asked for; otherwise a template finds the recipient's itself.
    pub(super) locale: Option<String>,
    pub(super) variables: Map<String, Value>,
}

/// Chooses the channels. Answers the messages and why.
pub(super) async fn choose(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    channel: InvoiceChannel,
    letter: Letter<'_>,
    now: Timestamp,
) -> Result<(Vec<MessageRequest>, String), Error> {
    let given = || "The channel was given.".to_owned();
    Ok(match channel {
        InvoiceChannel::Email => (vec![email(tenant, &letter)?], given()),
        InvoiceChannel::Whatsapp => (vec![whatsapp(engine, tenant, &letter, now).await?], given()),
        InvoiceChannel::Both => {
            let both = vec![email(tenant, &letter)?, whatsapp(engine, tenant, &letter, now).await?];
            (both, "Both channels were asked for.".to_owned())
        }
        InvoiceChannel::Auto => auto(engine, tenant, &letter, now).await?,
    })
}

async fn auto(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<(Vec<MessageRequest>, String), Error> {
    let wishes = letter.base.wishes.as_deref().cloned().unwrap_or_default();
    let order = plan::auto_order(letter.base).0;
    let mut passed = Vec::new();
    for channel in [Channel::Email, Channel::Whatsapp] {
        if let Some((_, code)) = wishes.barred.iter().find(|(barred, _)| *barred == channel) {
            passed.push(format!("{channel} ({code})"));
        }
    }
    for channel in order {
        let request = match channel {
            Channel::Email => email(tenant, letter),
            Channel::Whatsapp => whatsapp(engine, tenant, letter, now).await,
            _ => continue,
        };
        let usable = request.and_then(|request| plan::choose(&request, tenant).map(|_| request));
        let usable = match plan::default_account(tenant, channel) {
            None => Err(Error::invalid("/channel", "no enabled account")),
            Some(_) => usable,
        };
        match usable {
            Ok(request) => {
                let mut why = match wishes.preferred {
                    Some(preferred) if preferred == channel => format!("The contact prefers {channel} for invoices."),
                    _ => format!("{channel} is the first channel with an address and an account."),
                };
                if !passed.is_empty() {
                    why.push_str(&format!(" Passed over: {}.", passed.join(", ")));
                }
                return Ok((vec![request], why));
            }
            Err(error) if error.kind == ErrorKind::Forbidden => return Err(error),
            Err(error) => {
                let why = error.errors.first().map_or(error.detail.as_str(), |field| field.detail.as_str());
                passed.push(format!("{channel} ({why})"));
            }
        }
    }
    let detail = format!("neither e-mail nor WhatsApp can take this invoice: {}", passed.join("; "));
    Err(Error {
        errors: vec![FieldError::new("/channel", detail.clone())],
        ..Error::new(ErrorKind::Invalid, "no_channel_for_invoice", detail)
    })
}

/// A message of one channel: only the address that belongs there.
fn alone(letter: &Letter<'_>, channel: Channel) -> Result<MessageRequest, Error> {
    let to = &letter.base.to;
    Ok(MessageRequest {
        to: To {
            contact_id: to.contact_id,
            email: to.email.clone().filter(|_| channel == Channel::Email),
            phone: to.phone.clone().filter(|_| channel == Channel::Whatsapp),
            telegram_chat_id: None,
        },
        channel: Some(ChannelChoice::One(channel)),
        wishes: None,
        ..letter.base.clone()
    })
}

fn own_template(tenant: &Tenant, name: &str, channel: Channel, letter: &Letter<'_>) -> Option<TemplateRequest> {
    tenant.templates.iter().any(|live| live.name == name && live.channel == channel).then(|| TemplateRequest {
        id: None,
        name: Some(name.to_owned()),
        version: None,
        locale: letter.locale.clone(),
    })
}

fn email(tenant: &Tenant, letter: &Letter<'_>) -> Result<MessageRequest, Error> {
    let mut request = alone(letter, Channel::Email)?;
    request.template = own_template(tenant, letter::NAME, Channel::Email, letter);
    if request.template.is_none() {
        request.written = Some(letter::written(letter.language)?);
    }
    request.attachments = letter
        .file
        .id
        .map(|id| AttachmentRequest { attachment_id: Some(id), ..AttachmentRequest::default() })
        .into_iter()
        .collect();
    request.variables = Some(json_text(&Value::Object(letter.variables.clone()))?);
    Ok(request)
}

async fn whatsapp(
    engine: &Engine,
    tenant: &Arc<Tenant>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<MessageRequest, Error> {
    let mut request = alone(letter, Channel::Whatsapp)?;
    let mut variables = letter.variables.clone();
    let url = link(engine, tenant, letter.file.id, now).await?;
    variables.insert("document_url".to_owned(), url.into());
    request.template = own_template(tenant, WHATSAPP_NAME, Channel::Whatsapp, letter);
    if request.template.is_none() {
        // Without an account the plan says so in its own words.
        let account = plan::default_account(tenant, Channel::Whatsapp);
        let content = match account {
            Some(account) if account.connector.spec().id != "sandbox" => {
                approved(engine, tenant.id, account, letter).await?
            }
            _ => json!({"media": [{"type": "document", "url": "{{ document_url }}", "filename": letter.file.name,
                "caption": "{{ document_title }} {{ invoice_number }}"}]}),
        };
        request.content = Some(json_text(&content)?);
    }
    request.variables = Some(json_text(&Value::Object(variables))?);
    Ok(request)
}

/// Where a provider fetches the file.
async fn link(engine: &Engine, tenant: &Tenant, file: Option<AttachmentId>, now: Timestamp) -> Result<String, Error> {
    let file = file.unwrap_or(AttachmentId::from_ulid(0));
    let token = engine.signer().await?.token(tenant.id, &Target::Document { file, until: now.plus_seconds(LINK_S) });
    Ok(format!("{}/t/{token}", tracking::base(engine, tenant)))
}

/// The content that fills the provider's approved template. Its texts are placeholders, so that what a customer is called is never read as a template.
async fn approved(engine: &Engine, tenant: TenantId, account: &Account, letter: &Letter<'_>) -> Result<Value, Error> {
    let id = account.id;
    let read = engine
        .ports
        .db
        .read(Scope::Tenant(tenant), move |tx| Box::pin(async move { whatsapp_templates::all(tx, tenant, id).await }));
    let mut found: Vec<_> = read.await?;
    found.retain(|row| row.name == PROVIDER_NAME);
    if found.is_empty() {
        let detail = format!(
            "outside of a conversation WhatsApp takes approved templates only, and the account {} has none named `{PROVIDER_NAME}`. Submit one with a DOCUMENT header and up to four \
             placeholders in its body (customer's name, invoice number, amount, due date) with POST /v1/accounts/{id}/whatsapp-templates, or publish an own template named `{WHATSAPP_NAME}`",
            account.name
        );
        return Err(unready(detail, "CREATE_WHATSAPP_TEMPLATE"));
    }
    let language = letter.language.tag().replace('-', "_");
    let short = language.split('_').next().unwrap_or_default().to_owned();
    found.sort_by_key(|row| match row.language.as_str() {
        own if own == language => 0,
        own if own.split('_').next() == Some(&short) => 1,
        own if own.starts_with("en") => 2,
        _ => 3,
    });
    let mut why = String::new();
    for row in &found {
        if row.status != "approved" {
            why = format!("`{}` in {} is {}", row.name, row.language, row.status);
            continue;
        }
        let components: Value = serde_json::from_str(&row.components).map_err(Error::internal)?;
        match fill(&components, &letter.file.name) {
            Ok(components) => {
                // These two know templates by the provider's id.
                let by_id = matches!(account.connector.spec().id, "twilio" | "gupshup");
                let name = if by_id { &row.provider_id } else { &row.name };
                return Ok(
                    json!({"whatsapp_template": {"name": name, "language": row.language, "components": components}}),
                );
            }
            Err(problem) => why = format!("`{}` in {} {problem}", row.name, row.language),
        }
    }
    let detail = format!("the template for invoices of the account {} cannot be used: {why}", account.name);
    Err(unready(detail, "WAIT_FOR_APPROVAL"))
}

fn unready(detail: String, action: &'static str) -> Error {
    Error {
        errors: vec![FieldError::new("/channel", detail.clone())],
        ..Error::new(ErrorKind::Invalid, "no_invoice_template", detail)
    }
    .with_action(action)
}

/// The values for a template's header and body, from its components as the provider shows them. Pure.
fn fill(components: &Value, filename: &str) -> Result<Value, &'static str> {
    let of = |kind: &str| {
        let mut all = components.as_array().into_iter().flatten();
        all.find(|component| component["type"].as_str().is_some_and(|own| own.eq_ignore_ascii_case(kind)))
    };
    let is_document = |header: &Value| header["format"].as_str().is_some_and(|f| f.eq_ignore_ascii_case("document"));
    if !of("header").is_some_and(is_document) {
        return Err("has no DOCUMENT header");
    }
    let link = json!({"link": "{{ document_url }}", "filename": filename});
    let mut filled = vec![json!({"type": "header", "parameters": [{"type": "document", "document": link}]})];
    let text = of("body").and_then(|body| body["text"].as_str()).unwrap_or_default();
    let mut values = Vec::new();
    for name in placeholders(text) {
        // Every value says something: WhatsApp refuses empty ones.
        let value = |name: &str| format!("{{{{ {name} or \"–\" }}}}");
        let parameter = match name.parse::<usize>() {
            Ok(number) => {
                let asked = number.checked_sub(1).and_then(|at| ASKED.get(at));
                json!({"type": "text", "text": value(asked.ok_or("asks for more than four values")?)})
            }
            Err(_) if letter::VARIABLES.contains(&name.as_str()) => {
                json!({"type": "text", "parameter_name": name, "text": value(&name)})
            }
            Err(_) => return Err("asks for a value invoices do not have"),
        };
        values.push(parameter);
    }
    if !values.is_empty() {
        filled.push(json!({"type": "body", "parameters": values}));
    }
    Ok(Value::Array(filled))
}

/// What stands between double braces, each once, in the order of first sight; numbers in their own order.
fn placeholders(text: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, tail)) = after.split_once("}}") else { break };
        if !names.iter().any(|known| known == name.trim()) {
            names.push(name.trim().to_owned());
        }
        rest = tail;
    }
    names.sort_by_key(|name| name.parse::<usize>().unwrap_or(0));
    names
}

fn json_text(value: &Value) -> Result<Box<RawValue>, Error> {
    RawValue::from_string(value.to_string()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(format: &str, body: &str) -> Value {
        json!([{"type": "HEADER", "format": format}, {"type": "BODY", "text": body}])
    }

    #[test]
    fn an_approved_template_is_filled_with_what_it_asks_for() {
        let filled = fill(&components("DOCUMENT", "Hello {{1}}, invoice {{2}} over {{3}}."), "invoice-7.pdf").unwrap();
        assert_eq!(
            filled[0]["parameters"][0]["document"],
            json!({"link": "{{ document_url }}", "filename": "invoice-7.pdf"})
        );
        let said: Vec<_> =
            filled[1]["parameters"].as_array().unwrap().iter().map(|p| p["text"].as_str().unwrap()).collect();
        assert_eq!(said, ["{{ customer_name or \"–\" }}", "{{ invoice_number or \"–\" }}", "{{ amount or \"–\" }}"]);
        let named = fill(&components("document", "{{amount}} from {{ seller_name }}"), "a.pdf").unwrap();
        assert_eq!(named[1]["parameters"][1]["parameter_name"], "seller_name");
        assert_eq!(fill(&components("DOCUMENT", "Your invoice."), "a.pdf").unwrap().as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_template_that_does_not_fit_says_why() {
        let check = |format, body, expected| assert_eq!(fill(&components(format, body), "a.pdf"), Err(expected));
        check("IMAGE", "Hello", "has no DOCUMENT header");
        check("DOCUMENT", "{{1}} {{2}} {{3}} {{4}} {{5}}", "asks for more than four values");
        check("DOCUMENT", "{{colour}}", "asks for a value invoices do not have");
        assert_eq!(fill(&json!([]), "a.pdf"), Err("has no DOCUMENT header"));
    }

    #[test]
    fn placeholders_are_seen_once_and_numbers_count_up() {
        assert_eq!(placeholders("{{2}} {{1}} {{2}} {{ x"), ["1", "2"]);
        assert_eq!(placeholders("none"), Vec::<String>::new());
    }
}
