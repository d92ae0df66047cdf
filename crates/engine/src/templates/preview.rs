//! A version as somebody would get it: filled with given variables and examples, with what it costs and what to look out for. Sends nothing.

use model::{Channel, ContactId, Content, Encoding, Purpose, TemplateId, TenantId, segments, smart_text};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    CLIP, Compiled, NewVersion, Source, Variable, VariableType, Warning, compile, locale, read_version, reader, samples,
};
use crate::{
    Engine, Error,
    accept::request::MessageRequest,
    branding::sample,
    keys::Caller,
    names::Faults,
    render::{Prepared, json_value},
};

/// How a template is to be shown.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TemplatePreviewRequest)]
pub struct PreviewRequest {
    /// Which version; the newest when left out.
    #[serde(default)]
    pub version: Option<u32>,
    /// In which language; the default one when left out.
    #[serde(default)]
    #[schema(example = "en")]
    pub locale: Option<String>,
    /// Its variables. What is left out is taken from their examples and defaults.
    #[serde(default)]
    #[schema(value_type = Option<Object>, example = json!({"name": "Ada"}))]
    pub variables: Option<Map<String, Value>>,
    /// As this contact.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub contact_id: Option<ContactId>,
    /// For marketing more is looked at.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "marketing")]
    pub purpose: Option<Purpose>,
}

/// A text as an SMS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SmsPreview {
    /// `gsm7`, or `ucs2` when a character needs it.
    #[schema(example = "ucs2")]
    pub encoding: &'static str,
    /// Parts: what is billed.
    pub segments: u32,
    /// Septets, or UTF-16 units.
    pub units: u32,
    /// The characters that need `ucs2`.
    #[schema(example = json!(["’"]))]
    pub forced_by: Vec<String>,
    /// The same text with plain characters for typographic ones, when that makes it cheaper.
    pub plain: Option<SmsPlain>,
}

/// A text with plain characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SmsPlain {
    /// The text.
    pub text: String,
    /// How it would travel.
    pub encoding: &'static str,
    /// Parts it would take.
    pub segments: u32,
}

/// A WhatsApp message and the provider's template it stands for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct WhatsappPreview {
    /// The provider's template; `null` for a text, which arrives only within 24 hours of the recipient's last message.
    #[schema(example = "ticket_ready")]
    pub template: Option<String>,
    /// Its language.
    #[schema(example = "en_US")]
    pub language: Option<String>,
    /// What fills it, part by part.
    #[schema(value_type = Vec<Object>)]
    pub components: Vec<Value>,
    /// The text, when there is one.
    pub text: String,
}

/// A template as somebody would get it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = TemplatePreview)]
pub struct Preview {
    /// The version that is shown.
    pub version: u32,
    /// Its language.
    #[schema(example = "en")]
    pub locale: String,
    /// What it says.
    #[schema(value_type = Object)]
    pub content: Value,
    /// Bytes of its HTML.
    pub html_size: Option<usize>,
    /// For SMS.
    pub sms: Option<SmsPreview>,
    /// For WhatsApp.
    pub whatsapp: Option<WhatsappPreview>,
    /// What to look out for.
    pub warnings: Vec<Warning>,
}

/// Shows a version of a template as somebody would get it, drafts too. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn preview(
    engine: &Engine,
    caller: &Caller,
    id: TemplateId,
    request: PreviewRequest,
) -> Result<Preview, Error> {
    let tenant = reader(caller)?;
    let (template, version) = read_version(engine, caller, tenant, id, request.version).await?;
    let source: Source = serde_json::from_str(&version.source).map_err(Error::internal)?;
    let made = compile(template.channel, &source, &sample())?;
    show(engine, tenant, &source, made, version.number, request).await
}

/// Shows what is being written and kept nowhere yet, with the variables it has. One without any value is shown by its name in brackets. Needs the scope `templates:read`.
#[crate::boxed]
pub async fn try_out(
    engine: &Engine,
    caller: &Caller,
    channel: Channel,
    new: NewVersion,
    mut request: PreviewRequest,
) -> Result<(Preview, Vec<Variable>), Error> {
    let tenant_id = reader(caller)?;
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let mut faults = Faults::default();
    let source = super::source(&mut faults, &tenant.branding, new.default_locale, new.variants, new.variables);
    faults.end()?;
    let made = compile(channel, &source, &sample())?;
    let variables = made.variables.clone();
    let given = request.variables.get_or_insert_default();
    for variable in variables.iter().filter(|variable| variable.example.is_none() && variable.default.is_none()) {
        let nothing = match variable.kind {
            VariableType::Any | VariableType::String => Value::String(format!("[{}]", variable.name)),
            kind => kind.nothing(),
        };
        given.entry(variable.name.clone()).or_insert(nothing);
    }
    let preview = show(engine, tenant_id, &source, made, 0, request).await?;
    Ok((preview, variables))
}

async fn show(
    engine: &Engine,
    tenant_id: TenantId,
    source: &Source,
    mut made: Compiled,
    number: u32,
    request: PreviewRequest,
) -> Result<Preview, Error> {
    let mut shown_to = MessageRequest::default();
    shown_to.to.contact_id = request.contact_id;
    engine.find_recipients(tenant_id, std::iter::once(&mut shown_to)).await?;
    if request.contact_id.is_some() && shown_to.recipient.is_none() {
        return Err(Error::invalid("/contact_id", "there is no such contact"));
    }
    let language = shown_to.recipient.as_ref().and_then(|recipient| recipient.contact.language.clone());
    if request.locale.as_deref().is_some_and(|tag| locale::parse(tag).is_none()) {
        return Err(Error::invalid("/locale", "not a language tag; write one such as en or pt-BR"));
    }
    let (_, tenant) = engine.tenant(tenant_id).await?;
    let wanted = [request.locale.as_deref(), language.as_deref(), tenant.branding.default_locale.as_deref()];
    let tag = locale::choose(|tag| made.contents.contains_key(tag), wanted, &source.default_locale);
    let chosen = made.contents.remove(&tag);
    let (content, needs) = chosen.ok_or_else(|| Error::internal("a version has lost its default language"))?;
    let (values, _) = samples(&made.variables, &request.variables.unwrap_or_default());
    let mut provided = sample();
    provided.extend(tenant.provided.clone());
    if let Some(recipient) = &shown_to.recipient {
        provided.insert("contact", json_value(&recipient.variables));
    }
    let asks = asks(&content);
    let rendered = Prepared::of_template(content, needs)?.fill(&values, &provided)?;
    let mut warnings = made.warnings;
    warnings.extend(look(&rendered, &asks, request.purpose, &format!("/variants/{tag}")));
    if let Some(rules) = &tenant.rules {
        warnings.extend(super::broken_rules(rules, &tag, &rendered));
    }
    Ok(Preview {
        version: number,
        locale: tag,
        html_size: html(&rendered).map(str::len),
        sms: match &*rendered {
            Content::Sms(sms) => Some(sms_preview(&sms.text)),
            _ => None,
        },
        whatsapp: whatsapp(&rendered),
        content: serde_json::to_value(&*rendered).map_err(Error::internal)?,
        warnings,
    })
}

fn html(content: &Content) -> Option<&str> {
    if let Content::Email(email) = content { email.html.as_deref() } else { None }
}

/// What the law wants a marketing mail to have, as far as the template asks for it.
struct Asks {
    unsubscribes: bool,
    names_address: bool,
}

fn asks(content: &Content) -> Asks {
    let text = serde_json::to_string(content).unwrap_or_default();
    Asks {
        unsubscribes: text.contains("unsubscribe_url") || text.contains("preferences_url"),
        names_address: text.contains("brand.postal_address"),
    }
}

fn look(content: &Content, asks: &Asks, purpose: Option<Purpose>, base: &str) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |code: &str, detail: String| {
        warnings.push(Warning { pointer: base.to_owned(), code: code.to_owned(), detail });
    };
    if let Some(html) = html(content).filter(|html| html.len() > CLIP) {
        warn(
            "clipped",
            format!("The HTML has {} bytes as it is shown here. Gmail cuts mails off after {CLIP}.", html.len()),
        );
    }
    if purpose == Some(Purpose::Marketing) && content.channel() == Channel::Email {
        if !asks.unsubscribes {
            warn(
                "no_unsubscribe_link",
                "A marketing mail needs a visible way out: add a link to {{ unsubscribe_url }}.".to_owned(),
            );
        }
        if !asks.names_address {
            warn("no_postal_address", "A marketing mail has to name the sender's postal address: add {{ brand.postal_address }}, and set it under /v1/branding.".to_owned());
        }
    }
    if let Content::Whatsapp(whatsapp) = content
        && whatsapp.whatsapp_template.is_none()
    {
        warn(
            "no_provider_template",
            "Without `whatsapp_template` this arrives only within 24 hours of the recipient's last message.".to_owned(),
        );
    }
    warnings
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Gsm7 => "gsm7",
        Encoding::Ucs2 => "ucs2",
    }
}

fn sms_preview(text: &str) -> SmsPreview {
    let size = segments(text);
    let plain = smart_text(text);
    let smaller = segments(&plain);
    SmsPreview {
        encoding: encoding(size.encoding),
        segments: size.count,
        units: size.units,
        forced_by: model::odd_characters(text).into_iter().map(String::from).collect(),
        plain: (plain != text && (smaller.count < size.count || smaller.encoding != size.encoding)).then(|| SmsPlain {
            encoding: encoding(smaller.encoding),
            segments: smaller.count,
            text: plain,
        }),
    }
}

fn whatsapp(content: &Content) -> Option<WhatsappPreview> {
    let Content::Whatsapp(whatsapp) = content else { return None };
    let template = whatsapp.whatsapp_template.as_ref();
    Some(WhatsappPreview {
        template: template.map(|template| template.name.clone()),
        language: template.map(|template| template.language.clone()),
        components: template.map(|template| template.components.clone()).unwrap_or_default(),
        text: whatsapp.text.clone(),
    })
}
