//! What a message's content becomes in Twilio's form, and what Twilio cannot carry.

use std::collections::BTreeMap;

use model::{Content, Failure, FailureKind, Location, Media, SmsContent, WhatsappContent, WhatsappTemplate};
use serde_json::Value;

/// Longest `Body`, in characters (21617 above).
const TEXT_MAX: usize = 1600;
/// Most `MediaUrl` in one MMS (21623 above).
const MEDIA_MAX: usize = 10;

/// Form fields of a message's content, in order; a name may repeat.
pub(super) type Fields = Vec<(&'static str, String)>;

/// The form fields that carry `content`, or which of its fields Twilio cannot carry.
pub(super) fn fields(content: &Content) -> Result<Fields, Failure> {
    match content {
        Content::Sms(sms) => self::sms(sms),
        Content::Whatsapp(WhatsappContent { whatsapp_template: Some(template), text, media, buttons, location }) => {
            if !text.is_empty() || !media.is_empty() || !buttons.is_empty() || location.is_some() {
                return Err(refused(
                    "/content",
                    "a WhatsApp template already holds the whole message; send text, media, buttons and location without one",
                ));
            }
            self::template(template)
        }
        Content::Whatsapp(whatsapp) => self::whatsapp(whatsapp),
        // Calls are no messages to Twilio: see `voice`.
        Content::Email(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            Err(refused("/channel", "this account carries SMS, WhatsApp and calls"))
        }
    }
}

/// The text Twilio stores as the message's `body`; `None` when it is made by Twilio from a template.
pub(super) fn body(content: &Content) -> Option<String> {
    let fields = fields(content).ok()?;
    if fields.iter().any(|(name, _)| *name == "ContentSid") {
        return None;
    }
    Some(fields.into_iter().find(|(name, _)| *name == "Body").map_or(String::new(), |(_, text)| text))
}

fn sms(sms: &SmsContent) -> Result<Fields, Failure> {
    if sms.text.is_empty() && sms.media.is_empty() {
        return Err(refused("/content/text", "is empty and there is no media"));
    }
    if sms.media.len() > MEDIA_MAX {
        return Err(refused("/content/media", format!("Twilio carries at most {MEDIA_MAX} files in one MMS")));
    }
    let mut fields = text(&sms.text, &sms.media)?;
    media(&sms.media, &mut fields)?;
    Ok(fields)
}

fn whatsapp(whatsapp: &WhatsappContent) -> Result<Fields, Failure> {
    if !whatsapp.buttons.is_empty() {
        return Err(refused(
            "/content/buttons",
            "Twilio carries WhatsApp buttons only as a content template; make one and send it as `whatsapp_template`",
        ));
    }
    if whatsapp.media.len() > 1 {
        return Err(refused("/content/media", "WhatsApp carries one file in a message; send one message for each"));
    }
    match &whatsapp.location {
        Some(_) if !whatsapp.media.is_empty() => {
            Err(refused("/content/location", "WhatsApp carries a file or a location in a message; send two messages"))
        }
        Some(place) => location(&whatsapp.text, place),
        None if whatsapp.text.is_empty() && whatsapp.media.is_empty() => {
            Err(refused("/content/text", "is empty and there is no media, location or template"))
        }
        None => {
            let mut fields = text(&whatsapp.text, &whatsapp.media)?;
            media(&whatsapp.media, &mut fields)?;
            Ok(fields)
        }
    }
}

/// `Body`: the text, or the caption of the only file.
fn text(text: &str, media: &[Media]) -> Result<Fields, Failure> {
    let mut body = text;
    for (index, file) in media.iter().enumerate() {
        let Some(caption) = file.caption.as_deref().filter(|caption| !caption.is_empty()) else { continue };
        if !text.is_empty() || media.len() > 1 {
            return Err(refused(
                format!("/content/media/{index}/caption"),
                "Twilio carries one text beside the files; put it into `text`",
            ));
        }
        body = caption;
    }
    if body.chars().count() > TEXT_MAX {
        return Err(refused("/content/text", format!("is longer than Twilio's {TEXT_MAX} characters")));
    }
    Ok(if body.is_empty() { Fields::new() } else { vec![("Body", body.to_owned())] })
}

fn media(media: &[Media], fields: &mut Fields) -> Result<(), Failure> {
    for (index, file) in media.iter().enumerate() {
        let url = file.url.as_deref().filter(|url| !url.is_empty()).ok_or_else(|| {
            refused(
                format!("/content/media/{index}"),
                "Twilio fetches media itself; give a public `url` instead of an uploaded file",
            )
        })?;
        fields.push(("MediaUrl", url.to_owned()));
    }
    Ok(())
}

/// A location is a persistent action, `geo:{latitude},{longitude}|{label}`; `Body` is the name shown above it and may not be empty.
/// <https://www.twilio.com/docs/whatsapp/message-features>
fn location(words: &str, place: &Location) -> Result<Fields, Failure> {
    let label = match (place.name.as_deref(), place.address.as_deref()) {
        (Some(name), Some(address)) => format!("{name}, {address}"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    };
    let point = format!("{},{}", place.latitude, place.longitude);
    let shown = [words, place.name.as_deref().unwrap_or_default(), &label, &point];
    let words = shown.into_iter().find(|words| !words.is_empty()).unwrap_or(&point);
    let mut fields = text(words, &[])?;
    // The bar separates the label from the point, so it cannot be part of one.
    let label = label.replace('|', "/");
    let separator = if label.is_empty() { "" } else { "|" };
    fields.push(("PersistentAction", format!("geo:{point}{separator}{label}")));
    Ok(fields)
}

/// A template is a content SID and a JSON object of variables, sent as text.
/// <https://www.twilio.com/docs/content/using-variables-with-content-api>
fn template(template: &WhatsappTemplate) -> Result<Fields, Failure> {
    let name = template.name.as_str();
    let is_sid =
        name.strip_prefix("HX").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
    if !is_sid {
        return Err(refused(
            "/content/whatsapp_template/name",
            "Twilio knows templates by their content SID, which starts with HX",
        ));
    }
    let variables = variables(&template.components)?;
    let mut fields = vec![("ContentSid", name.to_owned())];
    if !variables.is_empty() {
        let json = serde_json::to_string(&variables).expect("a map of texts has a JSON form");
        fields.push(("ContentVariables", json));
    }
    Ok(fields)
}

/// Twilio numbers the placeholders of a template through header, body and buttons, so the values are numbered in the order given. A value
/// with a `parameter_name` goes under that name.
fn variables(components: &[Value]) -> Result<BTreeMap<String, String>, Failure> {
    let mut variables = BTreeMap::new();
    let mut numbered = 0u32;
    for (at, component) in components.iter().enumerate() {
        let parameters = component["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        for (index, parameter) in parameters.iter().enumerate() {
            let pointer = || format!("/content/whatsapp_template/components/{at}/parameters/{index}");
            let value =
                value(parameter).ok_or_else(|| refused(pointer(), "holds no text, payload, link or fallback value"))?;
            let name = match parameter["parameter_name"].as_str() {
                Some(name) => name.to_owned(),
                None => {
                    numbered += 1;
                    numbered.to_string()
                }
            };
            variables.insert(name, value);
        }
    }
    Ok(variables)
}

/// The value of one parameter of Meta's Cloud API, as text.
fn value(parameter: &Value) -> Option<String> {
    const PLACES: &[&str] = &[
        "/text",
        "/payload",
        "/coupon_code",
        "/currency/fallback_value",
        "/date_time/fallback_value",
        "/image/link",
        "/video/link",
        "/document/link",
    ];
    PLACES.iter().find_map(|place| parameter.pointer(place).and_then(Value::as_str)).map(str::to_owned)
}

/// A `content` failure that names the field.
pub(super) fn refused(pointer: impl Into<String>, detail: impl AsRef<str>) -> Failure {
    Failure::new(FailureKind::Content, "cannot_carry", format!("{}: {}.", pointer.into(), detail.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(content: Value, expected: Result<Vec<(&str, &str)>, &str>) {
        let content: Content = serde_json::from_value(content).unwrap();
        let given = fields(&content);
        let given = match &given {
            Ok(fields) => Ok(fields.iter().map(|(name, value)| (*name, value.as_str())).collect()),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Content);
                Err(failure.detail.split(':').next().unwrap())
            }
        };
        assert_eq!(given, expected, "{content:?}");
    }

    #[test]
    fn what_an_sms_becomes() {
        let picture = |url: &str| json!({"type": "image", "url": url});
        check(json!({"channel": "sms", "text": "Hi"}), Ok(vec![("Body", "Hi")]));
        check(json!({"channel": "sms", "media": [picture("https://x/1")]}), Ok(vec![("MediaUrl", "https://x/1")]));
        check(
            json!({"channel": "sms", "media": [{"type": "image", "url": "https://x/1", "caption": "Below"}]}),
            Ok(vec![("Body", "Below"), ("MediaUrl", "https://x/1")]),
        );
        check(
            json!({"channel": "sms", "text": "Hi", "media": [picture("https://x/1"), picture("https://x/2")]}),
            Ok(vec![("Body", "Hi"), ("MediaUrl", "https://x/1"), ("MediaUrl", "https://x/2")]),
        );
    }

    #[test]
    fn what_an_sms_cannot_be() {
        check(json!({"channel": "sms"}), Err("/content/text"));
        check(json!({"channel": "sms", "text": "ä".repeat(1600)}), Ok(vec![("Body", &"ä".repeat(1600))]));
        check(json!({"channel": "sms", "text": "ä".repeat(1601)}), Err("/content/text"));
        let eleven: Vec<_> = (0..11).map(|_| json!({"type": "image", "url": "https://x/1"})).collect();
        check(json!({"channel": "sms", "media": eleven}), Err("/content/media"));
        let uploaded = json!({"type": "image", "attachment_id": "atc_01KAK4HKM000000000000000A1"});
        check(json!({"channel": "sms", "media": [uploaded]}), Err("/content/media/0"));
        let two_texts = json!([{"type": "image", "url": "https://x/1", "caption": "Below"}]);
        check(json!({"channel": "sms", "text": "Hi", "media": two_texts}), Err("/content/media/0/caption"));
        check(json!({"channel": "voice", "say": "Hi"}), Err("/channel"));
    }

    #[test]
    fn what_a_whatsapp_message_becomes() {
        let place = |name: Value, address: Value| json!({"channel": "whatsapp", "location": {"latitude": 37.5, "longitude": -122.25, "name": name, "address": address}});
        check(
            place(json!("Shop"), json!("1 Main St")),
            Ok(vec![("Body", "Shop"), ("PersistentAction", "geo:37.5,-122.25|Shop, 1 Main St")]),
        );
        check(
            place(json!("A|B"), Value::Null),
            Ok(vec![("Body", "A|B"), ("PersistentAction", "geo:37.5,-122.25|A/B")]),
        );
        check(
            place(Value::Null, Value::Null),
            Ok(vec![("Body", "37.5,-122.25"), ("PersistentAction", "geo:37.5,-122.25")]),
        );
        check(json!({"channel": "whatsapp", "text": "Hi"}), Ok(vec![("Body", "Hi")]));
    }

    #[test]
    fn what_a_template_becomes() {
        let template = |name: &str, components: Value| json!({"channel": "whatsapp", "whatsapp_template": {"name": name, "language": "en", "components": components}});
        check(template("HX12", json!([])), Ok(vec![("ContentSid", "HX12")]));
        let components = json!([
            {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://x/1.png"}}]},
            {"type": "body", "parameters": [
                {"type": "text", "text": "Ann"},
                {"type": "currency", "currency": {"fallback_value": "$7", "code": "USD", "amount_1000": 7000}},
                {"type": "text", "parameter_name": "city", "text": "Rome"}]},
            {"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": [{"type": "payload", "payload": "yes"}]}
        ]);
        check(
            template("HX12", components),
            Ok(vec![
                ("ContentSid", "HX12"),
                ("ContentVariables", r#"{"1":"https://x/1.png","2":"Ann","3":"$7","4":"yes","city":"Rome"}"#),
            ]),
        );
        check(template("order_ready", json!([])), Err("/content/whatsapp_template/name"));
        check(
            template("HX12", json!([{"type": "body", "parameters": [{"type": "text"}]}])),
            Err("/content/whatsapp_template/components/0/parameters/0"),
        );
    }

    #[test]
    fn what_a_whatsapp_message_cannot_be() {
        let button = json!([{"text": "Yes"}]);
        check(json!({"channel": "whatsapp", "text": "Hi", "buttons": button}), Err("/content/buttons"));
        let file = json!({"type": "image", "url": "https://x/1"});
        check(json!({"channel": "whatsapp", "media": [file, file]}), Err("/content/media"));
        let point = json!({"latitude": 1.0, "longitude": 2.0});
        check(json!({"channel": "whatsapp", "media": [file], "location": point}), Err("/content/location"));
        check(json!({"channel": "whatsapp"}), Err("/content/text"));
        let template = json!({"name": "HX12", "language": "en"});
        check(json!({"channel": "whatsapp", "text": "Hi", "whatsapp_template": template}), Err("/content"));
    }
}
