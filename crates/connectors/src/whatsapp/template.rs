//! A template's values: checked in Meta's own form, and taken apart for the providers that have another one.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages#template-object>

use model::{Failure, MediaKind, WhatsappTemplate};
use serde_json::Value;

use super::refused;
use crate::read;

/// Longest name of a template, in characters.
const NAME_MAX: usize = 512;
/// Components of one kind with values; buttons carry an index besides.
const KINDS: &[&str] = &["header", "body", "button", "carousel", "limited_time_offer"];
/// Kinds of buttons that take a value, with the name of that value.
const BUTTONS: &[(&str, &str)] = &[
    ("url", "text"),
    ("quick_reply", "payload"),
    ("copy_code", "coupon_code"),
    ("flow", "action"),
    ("catalog", "action"),
    ("mpm", "action"),
];
/// Kinds of values outside buttons; each has a field of its own name.
const VALUES: &[&str] = &["text", "currency", "date_time", "image", "video", "document", "location"];
/// Most buttons of a template.
const BUTTONS_MAX: u64 = 10;

/// Refuses values that have not the form Meta documents.
pub(super) fn check(template: &WhatsappTemplate) -> Result<(), Failure> {
    let pointer = "/content/whatsapp_template";
    if template.name.is_empty() || template.name.chars().count() > NAME_MAX {
        return Err(refused(format!("{pointer}/name"), format!("has 1 to {NAME_MAX} characters")));
    }
    if !is_language(&template.language) {
        return Err(refused(format!("{pointer}/language"), "is not a language code such as `en` or `en_US`"));
    }
    for (at, component) in template.components.iter().enumerate() {
        check_component(&format!("{pointer}/components/{at}"), component)?;
    }
    Ok(())
}

/// `en`, `fil`, `en_US`: <https://developers.facebook.com/docs/whatsapp/business-management-api/message-templates/supported-languages>
fn is_language(code: &str) -> bool {
    let (language, region) = code.split_once('_').map_or((code, None), |(language, region)| (language, Some(region)));
    let is_of = |text: &str, is: fn(&u8) -> bool| (2..=3).contains(&text.len()) && text.as_bytes().iter().all(is);
    is_of(language, u8::is_ascii_lowercase) && region.is_none_or(|region| is_of(region, u8::is_ascii_uppercase))
}

fn check_component(pointer: &str, component: &Value) -> Result<(), Failure> {
    let kind = kind(component);
    if !KINDS.contains(&kind.as_str()) {
        return Err(refused(format!("{pointer}/type"), format!("is none of {}", KINDS.join(", "))));
    }
    if kind == "carousel" {
        let has_cards = component["cards"].as_array().is_some_and(|cards| !cards.is_empty());
        return if has_cards { Ok(()) } else { Err(refused(format!("{pointer}/cards"), "is missing")) };
    }
    if kind == "button" {
        check_button(pointer, component)?;
    }
    let parameters = component["parameters"].as_array().filter(|parameters| !parameters.is_empty());
    let Some(parameters) = parameters else {
        return Err(refused(format!("{pointer}/parameters"), "is missing; leave out components without values"));
    };
    if kind == "limited_time_offer" {
        return Ok(());
    }
    for (at, parameter) in parameters.iter().enumerate() {
        check_value(&format!("{pointer}/parameters/{at}"), &kind, component, parameter)?;
    }
    Ok(())
}

fn check_button(pointer: &str, button: &Value) -> Result<(), Failure> {
    if field_of(button).is_none() {
        let known = BUTTONS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        return Err(refused(format!("{pointer}/sub_type"), format!("is none of {known}")));
    }
    match index(button) {
        Some(_) => Ok(()),
        None => Err(refused(format!("{pointer}/index"), "is not 0 to 9, counted through the template's buttons")),
    }
}

fn check_value(pointer: &str, kind: &str, component: &Value, parameter: &Value) -> Result<(), Failure> {
    let named = parameter["type"].as_str().unwrap_or_default();
    let is_known = match kind {
        "button" => field_of(component) == Some(named),
        _ => VALUES.contains(&named),
    };
    if !is_known {
        return Err(refused(format!("{pointer}/type"), format!("`{named}` does not belong here")));
    }
    let value = &parameter[named];
    let is_filled = match named {
        "text" | "payload" | "coupon_code" => value.as_str().is_some_and(|text| !text.is_empty()),
        "image" | "video" | "document" => value["id"].is_string() != value["link"].is_string(),
        _ => value.is_object(),
    };
    match is_filled {
        true => Ok(()),
        false if matches!(named, "image" | "video" | "document") => {
            Err(refused(format!("{pointer}/{named}"), "needs a `link` or an `id`, and not both"))
        }
        false => Err(refused(format!("{pointer}/{named}"), "is missing or empty")),
    }
}

/// Meta takes names in capitals too.
fn kind(component: &Value) -> String {
    component["type"].as_str().unwrap_or_default().to_ascii_lowercase()
}

fn sub_type(button: &Value) -> String {
    button["sub_type"].as_str().unwrap_or_default().to_ascii_lowercase()
}

fn field_of(button: &Value) -> Option<&'static str> {
    let sub_type = sub_type(button);
    BUTTONS.iter().find(|(name, _)| *name == sub_type).map(|(_, field)| *field)
}

/// The index is a text or a number.
fn index(button: &Value) -> Option<u64> {
    let index = button["index"].as_u64().or_else(|| button["index"].as_str()?.parse().ok())?;
    (index < BUTTONS_MAX).then_some(index)
}

/// The values of a template by where they stand, for providers that only know texts in order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Parts<'a> {
    /// What stands in the header.
    pub header: Option<Header<'a>>,
    /// The values of the body, in order.
    pub body: Vec<&'a str>,
    /// The values of buttons.
    pub buttons: Vec<Press<'a>>,
}

/// The value of a header.
#[derive(Debug, PartialEq)]
pub(crate) enum Header<'a> {
    /// A text.
    Text(&'a str),
    /// A file by its URL, with the name of a document.
    Media(MediaKind, &'a str, Option<&'a str>),
    /// A place, in Meta's form.
    Place(&'a Value),
}

/// The value of one button.
#[derive(Debug, PartialEq)]
pub(crate) struct Press<'a> {
    /// Where its component stands, for refusals.
    pub pointer: String,
    /// The button's place in the template, from 0.
    pub index: u64,
    /// What it does.
    pub does: Does,
    /// The value.
    pub value: &'a str,
}

/// What a button of a template does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Opens a page; the value is the end of its URL.
    Open,
    /// Sends an answer back; the value is its data.
    Reply,
    /// Copies a code.
    Copy,
}

/// Takes a checked template apart, or says what `provider` has no place for: named values, carousels, offers, flows and catalogues.
pub(crate) fn parts<'a>(template: &'a WhatsappTemplate, provider: &str) -> Result<Parts<'a>, Failure> {
    let mut parts = Parts::default();
    for (at, component) in template.components.iter().enumerate() {
        let pointer = format!("/content/whatsapp_template/components/{at}");
        let values = component["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        if let Some(at) = values.iter().position(|value| value["parameter_name"].is_string()) {
            let detail = format!("{provider} takes values by their order, not by name");
            return Err(refused(format!("{pointer}/parameters/{at}/parameter_name"), detail));
        }
        match kind(component).as_str() {
            "header" => parts.header = Some(header(&pointer, values, provider)?),
            "body" => {
                for (at, value) in values.iter().enumerate() {
                    parts.body.push(words(value).ok_or_else(|| {
                        refused(format!("{pointer}/parameters/{at}"), "holds neither a text nor a fallback value")
                    })?);
                }
            }
            "button" => parts.buttons.push(press(pointer, component, values, provider)?),
            other => return Err(refused(pointer, format!("{provider} has no place here for a {other}"))),
        }
    }
    Ok(parts)
}

fn header<'a>(pointer: &str, values: &'a [Value], provider: &str) -> Result<Header<'a>, Failure> {
    let [value] = values else {
        return Err(refused(format!("{pointer}/parameters"), "a header has one value"));
    };
    let media = |kind, named: &str| match read::text(value, &format!("/{named}/link")) {
        Some(link) => Ok(Header::Media(kind, link, read::text(value, &format!("/{named}/filename")))),
        None => {
            let detail = format!("{provider} fetches media itself; give a `link` instead of an `id`");
            Err(refused(format!("{pointer}/parameters/0/{named}"), detail))
        }
    };
    match value["type"].as_str().unwrap_or_default() {
        "image" => media(MediaKind::Image, "image"),
        "video" => media(MediaKind::Video, "video"),
        "document" => media(MediaKind::Document, "document"),
        "location" => Ok(Header::Place(&value["location"])),
        _ => words(value)
            .map(Header::Text)
            .ok_or_else(|| refused(format!("{pointer}/parameters/0"), "holds neither a text nor a fallback value")),
    }
}

fn press<'a>(pointer: String, component: &'a Value, values: &'a [Value], provider: &str) -> Result<Press<'a>, Failure> {
    let does = match sub_type(component).as_str() {
        "url" => Does::Open,
        "quick_reply" => Does::Reply,
        "copy_code" => Does::Copy,
        other => {
            return Err(refused(format!("{pointer}/sub_type"), format!("{provider} carries no values for {other}")));
        }
    };
    let value = match values {
        [value] => value[field_of(component).unwrap_or_default()].as_str(),
        _ => None,
    };
    let (Some(index), Some(value)) = (index(component), value) else {
        return Err(refused(format!("{pointer}/parameters"), "a button has one value"));
    };
    Ok(Press { pointer, index, does, value })
}

/// A value as the words Meta would show.
fn words(value: &Value) -> Option<&str> {
    const PLACES: &[&str] = &["/text", "/currency/fallback_value", "/date_time/fallback_value"];
    PLACES.iter().find_map(|place| read::text(value, place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn template(components: Value) -> WhatsappTemplate {
        serde_json::from_value(json!({"name": "t", "language": "en_US", "components": components})).unwrap()
    }

    fn bad(components: Value, wanted: &str) {
        let failure = check(&template(components.clone())).unwrap_err();
        let pointer = failure.detail.split(':').next().unwrap().to_owned();
        assert_eq!(pointer.strip_prefix("/content/whatsapp_template/components/0"), Some(wanted), "{components}");
    }

    #[test]
    fn values_have_metas_form() {
        let text = json!([{"type": "text", "text": "Ann"}]);
        for good in [
            json!([]),
            json!([{"type": "body", "parameters": text}]),
            json!([{"type": "HEADER", "parameters": [{"type": "image", "image": {"link": "https://x/1"}}]}]),
            json!([{"type": "header", "parameters": [{"type": "document", "document": {"id": "1"}}]}]),
            json!([{"type": "button", "sub_type": "URL", "index": "0", "parameters": text}]),
            json!([{"type": "button", "sub_type": "flow", "index": 9, "parameters": [{"type": "action", "action": {}}]}]),
            json!([{"type": "carousel", "cards": [{}]}]),
            json!([{"type": "limited_time_offer", "parameters": [{"type": "limited_time_offer"}]}]),
        ] {
            assert_eq!(check(&template(good.clone())), Ok(()), "{good}");
        }
        bad(json!([{"type": "footer", "parameters": text}]), "/type");
        bad(json!(["body"]), "/type");
        bad(json!([{"type": "body"}]), "/parameters");
        bad(json!([{"type": "body", "parameters": []}]), "/parameters");
        bad(json!([{"type": "body", "parameters": [{"type": "text"}]}]), "/parameters/0/text");
        bad(json!([{"type": "body", "parameters": [{"type": "text", "text": ""}]}]), "/parameters/0/text");
        bad(json!([{"type": "body", "parameters": [{"type": "payload", "payload": "x"}]}]), "/parameters/0/type");
        bad(json!([{"type": "body", "parameters": [{"type": "currency"}]}]), "/parameters/0/currency");
        let image = |image: Value| json!([{"type": "header", "parameters": [{"type": "image", "image": image}]}]);
        bad(image(json!({})), "/parameters/0/image");
        bad(image(json!({"id": "1", "link": "https://x"})), "/parameters/0/image");
        bad(json!([{"type": "button", "sub_type": "otp", "index": "0", "parameters": text}]), "/sub_type");
        bad(json!([{"type": "button", "sub_type": "url", "index": "10", "parameters": text}]), "/index");
        bad(json!([{"type": "button", "sub_type": "url", "parameters": text}]), "/index");
        bad(
            json!([{"type": "button", "sub_type": "quick_reply", "index": "0", "parameters": text}]),
            "/parameters/0/type",
        );
        bad(json!([{"type": "carousel"}]), "/cards");
    }

    #[test]
    fn names_and_languages() {
        for (name, language, is_good) in [
            ("t", "en", true),
            ("t", "fil", true),
            ("t", "pt_BR", true),
            ("", "en", false),
            ("t", "", false),
            ("t", "english", false),
            ("t", "en-US", false),
            ("t", "en_us", false),
        ] {
            let given = WhatsappTemplate { name: name.to_owned(), language: language.to_owned(), components: vec![] };
            assert_eq!(check(&given).is_ok(), is_good, "{name} {language}");
        }
        let long = WhatsappTemplate { name: "x".repeat(513), language: "en".to_owned(), components: vec![] };
        assert!(check(&long).is_err());
    }

    #[test]
    fn parts_stand_in_their_order() {
        let given = template(json!([
            {"type": "header", "parameters": [{"type": "document", "document": {"link": "https://x/1", "filename": "a.pdf"}}]},
            {"type": "body", "parameters": [
                {"type": "text", "text": "Ann"},
                {"type": "currency", "currency": {"fallback_value": "$7", "code": "USD", "amount_1000": 7000}}]},
            {"type": "button", "sub_type": "quick_reply", "index": "1", "parameters": [{"type": "payload", "payload": "y"}]},
            {"type": "button", "sub_type": "copy_code", "index": 2, "parameters": [{"type": "coupon_code", "coupon_code": "C"}]}
        ]));
        let parts = parts(&given, "Acme").unwrap();
        assert_eq!(parts.header, Some(Header::Media(MediaKind::Document, "https://x/1", Some("a.pdf"))));
        assert_eq!(parts.body, ["Ann", "$7"]);
        let buttons: Vec<_> = parts.buttons.iter().map(|press| (press.index, press.does, press.value)).collect();
        assert_eq!(buttons, [(1, Does::Reply, "y"), (2, Does::Copy, "C")]);
    }

    #[test]
    fn what_other_forms_have_no_place_for() {
        let text = json!([{"type": "text", "text": "Ann"}]);
        for components in [
            json!([{"type": "body", "parameters": [{"type": "text", "text": "Ann", "parameter_name": "name"}]}]),
            json!([{"type": "header", "parameters": [{"type": "image", "image": {"id": "1"}}]}]),
            json!([{"type": "header", "parameters": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]),
            json!([{"type": "carousel", "cards": [{}]}]),
            json!([{"type": "limited_time_offer", "parameters": text}]),
            json!([{"type": "button", "sub_type": "flow", "index": "0", "parameters": [{"type": "action", "action": {}}]}]),
        ] {
            let failure = parts(&template(components.clone()), "Acme").unwrap_err();
            assert!(failure.detail.starts_with("/content/whatsapp_template/components/0"), "{components}");
        }
    }
}
