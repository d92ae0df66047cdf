//! Requests in Meta's form: `entry[].changes[].value` with statuses of our messages, messages people sent, and their wishes about marketing. One request may hold
//! many of them. <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components>
//!
//! What changed about a template is not read from here: that it changed is told, and the list is read again.
//! Left out on purpose: errors that belong to no message, changes of numbers, service notes, and edits (the first version is stored
//! under the same id). People who hide their number write under a business-scoped id (`user_id`); there is no address for them yet.

use model::{Address, Channel, Fact, Failure, FailureKind, Location};
use serde_json::Value;

use super::{instant, number, wish};
use crate::{InboundMedia, InboundMessage, Keyword, Observed, Pricing, Report, read::text};

/// Longest word for a kind of message, in characters; Meta's longest has 28.
const CATEGORY_MAX: usize = 64;
/// Changes of templates, by their field.
const TEMPLATES: &[&str] =
    &["message_template_status_update", "message_template_quality_update", "template_category_update"];

/// How a provider writes Meta's form.
pub(crate) struct Dialect<'a> {
    /// The number whose changes are wanted: one URL may get those of all numbers of an app. `None` for all.
    pub phone_number_id: Option<&'a str>,
    /// The id under which the provider took a message, in one of its statuses.
    pub id: fn(&Value) -> Option<&str>,
    /// What a failed status means, by its code and words.
    pub failed: fn(Option<u32>, &str) -> Failure,
}

/// Reads a request. The failure says that people wrote whom we cannot answer, and nothing else was in it.
pub(crate) fn read(body: &Value, dialect: &Dialect<'_>) -> Result<Vec<Observed>, Failure> {
    let mut seen = Vec::new();
    let mut nameless = 0;
    let is_ours = |value: &&Value| match (dialect.phone_number_id, text(value, "/metadata/phone_number_id")) {
        (Some(ours), Some(theirs)) => ours == theirs,
        _ => true,
    };
    let changes = || items(body, "entry").iter().flat_map(|entry| items(entry, "changes"));
    if changes().any(|change| text(change, "/field").is_some_and(|field| TEMPLATES.contains(&field))) {
        seen.push(Observed::Templates);
    }
    let values = changes().map(|change| &change["value"]);
    for value in values.filter(is_ours) {
        seen.extend(items(value, "statuses").iter().filter_map(|status| report(status, dialect)).map(Observed::Status));
        seen.extend(items(value, "user_preferences").iter().filter_map(|wish| stopped(value, wish)));
        for message in items(value, "messages") {
            match self::message(value, message) {
                Ok(message) => seen.extend(message.map(Observed::Message)),
                Err(Nameless) => nameless += 1,
            }
        }
    }
    if nameless > 0 && seen.is_empty() {
        let detail = "Somebody wrote who hides their number from businesses; there is no address to keep it under.";
        return Err(Failure::new(FailureKind::Recipient, "unreadable_sender", detail));
    }
    Ok(seen)
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn report(status: &Value, dialect: &Dialect<'_>) -> Option<Report> {
    let word = text(status, "/status")?;
    let fact = match word {
        // Only Gupshup says that it has taken a message, before Meta does.
        "enqueued" | "sent" => Fact::Sent,
        "delivered" => Fact::Delivered,
        // A voice message that was played was read.
        "read" | "played" => Fact::Read,
        "failed" => Fact::Failed { failure: failed(status, dialect) },
        // `deleted`, `warning` and words to come.
        _ => return None,
    };
    Some(Report {
        attempt_id: text(status, "/biz_opaque_callback_data").and_then(|echo| echo.parse().ok()),
        at: instant(&status["timestamp"]),
        pricing: pricing(&status["pricing"]),
        ..Report::new((dialect.id)(status)?, word, fact)
    })
}

/// As what Meta billed a message. `type` says whether it takes something; before there was one, and at providers that leave it out, `billable` does.
/// <https://developers.facebook.com/docs/whatsapp/pricing/updates-to-pricing>
pub(crate) fn pricing(pricing: &Value) -> Option<Pricing> {
    let category = text(pricing, "/category").filter(|word| !word.is_empty() && word.len() <= CATEGORY_MAX)?;
    let is_free = match text(pricing, "/type") {
        Some("regular") => false,
        Some("free_customer_service" | "free_entry_point") => true,
        _ => pricing["billable"] == Value::Bool(false),
    };
    Some(Pricing { category: category.to_ascii_lowercase(), is_free })
}

fn failed(status: &Value, dialect: &Dialect<'_>) -> Failure {
    let error = &status["errors"][0];
    let places = ["/error_data/details", "/message", "/title", "/reason"];
    let words = places.iter().find_map(|place| text(error, place)).unwrap_or_default();
    (dialect.failed)(code(&error["code"]), words)
}

/// Codes are numbers, and texts at some providers.
pub(crate) fn code(value: &Value) -> Option<u32> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

/// Stopping and resuming marketing messages in WhatsApp's own menu.
/// <https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/reference/user_preferences>
fn stopped(value: &Value, preference: &Value) -> Option<Observed> {
    let keyword = match text(preference, "/value")? {
        "stop" => Keyword::Stop,
        "resume" => Keyword::Start,
        _ => return None,
    };
    let from = text(preference, "/wa_id").and_then(number)?;
    let at = instant(&preference["timestamp"]);
    Some(Observed::Message(wish(from, to(value), keyword, at, text(preference, "/detail"))))
}

/// A sender without a number.
struct Nameless;

/// Reads a message; `None` for kinds that say nothing we have a place for.
fn message(value: &Value, message: &Value) -> Result<Option<InboundMessage>, Nameless> {
    let Some(said) = said(message) else { return Ok(None) };
    let Some(from) = text(message, "/from").and_then(number) else { return Err(Nameless) };
    Ok(Some(InboundMessage {
        provider_message_id: text(message, "/id").unwrap_or_default().to_owned(),
        channel: Channel::Whatsapp,
        from: Address::Phone(from),
        from_name: name(value, message),
        to: to(value),
        text: said.text,
        media: said.media,
        location: said.location,
        button: said.button,
        in_reply_to: text(message, "/context/id").or(text(message, "/reaction/message_id")).map(str::to_owned),
        keyword: None,
        mail: None,
        at: instant(&message["timestamp"]),
    }))
}

#[derive(Default)]
struct Said {
    text: String,
    media: Vec<InboundMedia>,
    location: Option<Location>,
    button: Option<String>,
}

fn said(message: &Value) -> Option<Said> {
    let word = |place: &str| text(message, place).map(str::to_owned);
    let pressed = |words: &str, data: &str| {
        Some(Said { text: word(words).unwrap_or_default(), button: Some(word(data)?), ..Said::default() })
    };
    let written = |place: &str| Some(Said { text: word(place)?, ..Said::default() });
    match text(message, "/type")? {
        "text" => written("/text/body"),
        // An emoji below one of our messages; taking it back is nothing.
        "reaction" => written("/reaction/emoji"),
        "order" => written("/order/text"),
        kind @ ("image" | "video" | "audio" | "document" | "sticker") => file(&message[kind]),
        "location" => Some(Said { location: Some(place(&message["location"])?), ..Said::default() }),
        "contacts" => Some(Said { text: contacts(message)?, ..Said::default() }),
        // The button of a template.
        "button" => pressed("/button/text", "/button/payload").or_else(|| pressed("/button/text", "/button/text")),
        "interactive" => pressed("/interactive/button_reply/title", "/interactive/button_reply/id")
            .or_else(|| pressed("/interactive/list_reply/title", "/interactive/list_reply/id"))
            // The answers of a flow, as JSON.
            .or_else(|| pressed("/interactive/nfm_reply/body", "/interactive/nfm_reply/response_json")),
        _ => None,
    }
}

/// Files by Meta's id: their URL lives five minutes and needs the access token.
fn file(file: &Value) -> Option<Said> {
    let word = |place: &str| text(file, place).map(str::to_owned);
    let media = InboundMedia {
        content_type: word("/mime_type"),
        reference: word("/id").or_else(|| word("/url"))?,
        filename: word("/filename"),
    };
    Some(Said { text: word("/caption").unwrap_or_default(), media: vec![media], ..Said::default() })
}

/// A place in Meta's form; degrees are numbers, and texts at some providers.
pub(crate) fn place(place: &Value) -> Option<Location> {
    let degrees = |name: &str, most: f64| {
        let value = place[name].as_f64().or_else(|| place[name].as_str()?.parse().ok())?;
        (value.abs() <= most).then_some(value)
    };
    let word = |name: &str| text(place, name).map(str::to_owned);
    Some(Location {
        latitude: degrees("latitude", 90.0)?,
        longitude: degrees("longitude", 180.0)?,
        name: word("/name"),
        address: word("/address"),
    })
}

/// Shared contacts have no other place, so their names and numbers are the text, a line for each.
fn contacts(message: &Value) -> Option<String> {
    let line = |contact: &Value| {
        let phones = items(contact, "phones").iter().filter_map(|phone| text(phone, "/phone"));
        text(contact, "/name/formatted_name").into_iter().chain(phones).collect::<Vec<_>>().join(" ")
    };
    let lines = items(message, "contacts").iter().map(line).collect::<Vec<_>>().join("\n");
    (!lines.trim().is_empty()).then_some(lines)
}

/// The name in the profile of who wrote.
fn name(value: &Value, message: &Value) -> Option<String> {
    let is_theirs = |contact: &&Value| {
        let is_same =
            |ours: &str, theirs: &str| text(message, ours).is_some_and(|id| text(contact, theirs) == Some(id));
        is_same("/from", "/wa_id") || is_same("/from_user_id", "/user_id")
    };
    let contact = items(value, "contacts").iter().find(is_theirs)?;
    text(contact, "/profile/name").map(str::to_owned)
}

/// The tenant's number.
fn to(value: &Value) -> String {
    let shown = text(value, "/metadata/display_phone_number").unwrap_or_default();
    let digits: String = shown.chars().filter(char::is_ascii_digit).collect();
    number(&digits).map_or(shown.to_owned(), |phone| phone.as_str().to_owned())
}
