//! WhatsApp's own rules, the same at every provider that passes messages on to it: what one message can hold ([`says`]), the parts of a template
//! ([`template`]), Meta's error codes ([`codes`]), and the requests in Meta's form ([`envelope`]).
//!
//! Called by `whatsapp_cloud`, `gupshup` and others in front of WhatsApp. What WhatsApp has no form for is refused here with the field's name, before
//! anything leaves: two files in one message, a text beside a location, four buttons.
//! <https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>

pub(crate) mod codes;
pub(crate) mod envelope;
pub(crate) mod template;
#[cfg(test)]
pub(crate) mod vectors;

use aws_lc_rs::hmac;
use model::{
    Button, Content, Failure, FailureKind, Location, Media, MediaKind, Phone, Timestamp, WhatsappContent,
    WhatsappTemplate,
};
use serde_json::Value;

use crate::{InboundMessage, Keyword, hook, read};

/// Longest text, in characters.
const TEXT_MAX: usize = 4096;
/// Longest caption, and longest text above buttons, in characters.
const CAPTION_MAX: usize = 1024;
/// Most reply buttons.
const BUTTONS_MAX: usize = 3;
/// Longest words on a button, in characters.
const BUTTON_TEXT_MAX: usize = 20;
/// Longest data behind a button, in characters.
const BUTTON_DATA_MAX: usize = 256;

/// The one thing a message says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Says<'a> {
    /// A text.
    Text(&'a str),
    /// One file, and the text below it.
    Media(&'a Media, Option<&'a str>),
    /// One to three buttons whose press comes back, below a text.
    Buttons(Above<'a>, &'a [Button]),
    /// One button that opens a page, below a text.
    Link(Above<'a>, &'a str, &'a str),
    /// A place on the map.
    Place(&'a Location),
    /// An approved template.
    Template(&'a WhatsappTemplate),
}

/// What stands above buttons.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Above<'a> {
    /// A picture, film or document on top.
    pub header: Option<&'a Media>,
    /// The text.
    pub text: &'a str,
}

/// What a content says in WhatsApp's terms, or which of its fields WhatsApp cannot carry.
pub(crate) fn says(content: &Content) -> Result<Says<'_>, Failure> {
    match content {
        Content::Whatsapp(content) => match &content.whatsapp_template {
            Some(template) => alone(content, template),
            None => free(content),
        },
        Content::Email(_) | Content::Sms(_) | Content::Telegram(_) | Content::Voice(_) | Content::Webhook(_) => {
            Err(refused("/channel", "this account carries WhatsApp only"))
        }
    }
}

fn alone<'a>(content: &'a WhatsappContent, template: &'a WhatsappTemplate) -> Result<Says<'a>, Failure> {
    let is_more = !content.text.is_empty()
        || !content.media.is_empty()
        || !content.buttons.is_empty()
        || content.location.is_some();
    if is_more {
        return Err(refused(
            "/content",
            "a WhatsApp template already holds the whole message; send text, media, buttons and location without one",
        ));
    }
    template::check(template)?;
    Ok(Says::Template(template))
}

fn free(content: &WhatsappContent) -> Result<Says<'_>, Failure> {
    if content.media.len() > 1 {
        return Err(refused("/content/media", "WhatsApp carries one file in a message; send one message for each"));
    }
    if let Some(place) = &content.location {
        return self::place(content, place);
    }
    let media = content.media.first();
    let text = text(content, media)?;
    media.map_or(Ok(()), check_media)?;
    if !content.buttons.is_empty() {
        return buttons(content, media, text);
    }
    match media {
        Some(media) => {
            if media.kind == MediaKind::Audio && text.is_some() {
                return Err(refused("/content/text", "WhatsApp carries no text below a sound; send two messages"));
            }
            at_most("/content/text", text, CAPTION_MAX, "captions")?;
            Ok(Says::Media(media, text))
        }
        None => {
            at_most("/content/text", text, TEXT_MAX, "texts")?;
            text.map(Says::Text)
                .ok_or_else(|| refused("/content/text", "is empty and there is no media, location or template"))
        }
    }
}

fn place<'a>(content: &'a WhatsappContent, place: &'a Location) -> Result<Says<'a>, Failure> {
    let detail = "WhatsApp carries a location by itself; send two messages";
    match (content.text.is_empty(), content.media.is_empty(), content.buttons.is_empty()) {
        (true, true, true) => Ok(Says::Place(place)),
        (false, _, _) => Err(refused("/content/text", detail)),
        (_, false, _) => Err(refused("/content/media", detail)),
        (_, _, false) => Err(refused("/content/buttons", detail)),
    }
}

/// The text, or the caption of the only file.
fn text<'a>(content: &'a WhatsappContent, media: Option<&'a Media>) -> Result<Option<&'a str>, Failure> {
    let caption = media.and_then(|media| media.caption.as_deref()).filter(|caption| !caption.is_empty());
    match (content.text.as_str(), caption) {
        ("", caption) => Ok(caption),
        (text, None) => Ok(Some(text)),
        (_, Some(_)) => {
            Err(refused("/content/media/0/caption", "WhatsApp carries one text beside a file; put it into `text`"))
        }
    }
}

fn check_media(media: &Media) -> Result<(), Failure> {
    match (&media.url, media.attachment_id) {
        (Some(url), _) if !url.starts_with("https://") && !url.starts_with("http://") => {
            Err(refused("/content/media/0/url", "is not an http or https URL"))
        }
        (None, None) => Err(refused("/content/media/0", "has neither a `url` nor an `attachment_id`")),
        _ => Ok(()),
    }
}

fn buttons<'a>(
    content: &'a WhatsappContent,
    header: Option<&'a Media>,
    text: Option<&'a str>,
) -> Result<Says<'a>, Failure> {
    let text = text.ok_or_else(|| refused("/content/text", "is empty; WhatsApp wants a text above buttons"))?;
    at_most("/content/text", Some(text), CAPTION_MAX, "texts above buttons")?;
    if header.is_some_and(|media| media.kind == MediaKind::Audio) {
        return Err(refused("/content/media/0", "WhatsApp shows a picture, film or document above buttons, no sound"));
    }
    let above = Above { header, text };
    if let [Button { text, url: Some(url), data: None }] = content.buttons.as_slice() {
        at_most("/content/buttons/0/text", Some(text), BUTTON_TEXT_MAX, "buttons")?;
        if text.is_empty() {
            return Err(refused("/content/buttons/0/text", "is empty"));
        }
        if !url.starts_with("https://") && !url.starts_with("http://") {
            return Err(refused("/content/buttons/0/url", "is not an http or https URL"));
        }
        return Ok(Says::Link(above, text, url));
    }
    check_buttons(&content.buttons)?;
    Ok(Says::Buttons(above, &content.buttons))
}

fn check_buttons(buttons: &[Button]) -> Result<(), Failure> {
    if buttons.len() > BUTTONS_MAX {
        return Err(refused("/content/buttons", format!("WhatsApp carries at most {BUTTONS_MAX} reply buttons")));
    }
    for (index, button) in buttons.iter().enumerate() {
        let pointer = format!("/content/buttons/{index}");
        if button.url.is_some() {
            return Err(refused(pointer, "WhatsApp carries a single button with a `url`, or buttons with `data`"));
        }
        if button.text.is_empty() {
            return Err(refused(pointer, "has no text"));
        }
        at_most(&format!("{pointer}/text"), Some(&button.text), BUTTON_TEXT_MAX, "buttons")?;
        at_most(&format!("{pointer}/data"), Some(data(button)), BUTTON_DATA_MAX, "data of buttons")?;
        let is_twin = |other: &Button| other.text == button.text || data(other) == data(button);
        if data(button).is_empty() || buttons[..index].iter().any(is_twin) {
            return Err(refused(pointer, "has the same text or `data` as another, or empty `data`"));
        }
    }
    Ok(())
}

/// What comes back when a button is pressed: its data, or its text when it has none.
pub(crate) fn data(button: &Button) -> &str {
    button.data.as_deref().unwrap_or(&button.text)
}

fn at_most(pointer: &str, text: Option<&str>, max: usize, what: &str) -> Result<(), Failure> {
    match text {
        Some(text) if text.chars().count() > max => {
            Err(refused(pointer, format!("is longer than WhatsApp's {max} characters for {what}")))
        }
        _ => Ok(()),
    }
}

/// A `content` failure that names the field.
pub(crate) fn refused(pointer: impl Into<String>, detail: impl AsRef<str>) -> Failure {
    Failure::new(FailureKind::Content, "cannot_carry", format!("{}: {}.", pointer.into(), detail.as_ref()))
}

/// The URL of a file, for providers that only fetch.
pub(crate) fn link<'a>(media: &'a Media, provider: &str) -> Result<&'a str, Failure> {
    media.url.as_deref().ok_or_else(|| {
        let detail = format!("{provider} fetches media itself; give a public `url` instead of an uploaded file");
        refused("/content/media/0", detail)
    })
}

/// The name a document is shown under, for providers that insist on one: as given, or the end of its URL.
pub(crate) fn filename(name: Option<&str>, url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let end = path.splitn(4, '/').nth(3).and_then(|path| path.rsplit('/').next()).filter(|end| !end.is_empty());
    name.filter(|name| !name.is_empty()).or(end).unwrap_or("document").to_owned()
}

/// A number as WhatsApp writes it: digits, with or without a plus.
pub(crate) fn number(digits: &str) -> Option<Phone> {
    format!("+{}", digits.trim_start_matches('+')).parse().ok()
}

/// Seconds since 1970; some events count in milliseconds.
pub(crate) fn instant(value: &Value) -> Option<Timestamp> {
    /// Seconds beyond this lie past the year 5000, so it is milliseconds.
    const SECONDS_MAX: f64 = 1e11;
    read::seconds(value).or_else(|| {
        let millis = value.as_f64().or_else(|| value.as_str()?.parse().ok())?;
        (SECONDS_MAX..1e15).contains(&millis).then(|| Timestamp::from_millis(millis as i64))
    })
}

/// Checks a signature in hex, HMAC-SHA256 over the body as it came, in constant time.
pub(crate) fn is_signed(secret: &str, body: &[u8], given: &str) -> bool {
    hook::is_signed(hmac::HMAC_SHA256, secret, body, given)
}

/// A wish to hear no more, or again, that the person told WhatsApp or the provider and not in a message. It has no id of its own.
pub(crate) fn wish(
    from: Phone,
    to: String,
    keyword: Keyword,
    at: Option<Timestamp>,
    words: Option<&str>,
) -> InboundMessage {
    let word = match keyword {
        Keyword::Stop => "stop",
        Keyword::Start => "start",
        Keyword::Help => "help",
    };
    let when = at.map_or_else(String::new, |at| at.as_millis().to_string());
    InboundMessage {
        provider_message_id: format!("{word}:{}:{when}", from.digits()),
        channel: model::Channel::Whatsapp,
        from: model::Address::Phone(from),
        from_name: None,
        to,
        text: words.unwrap_or_default().to_owned(),
        media: Vec::new(),
        location: None,
        button: None,
        in_reply_to: None,
        keyword: Some(keyword),
        mail: None,
        at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(mut content: Value, expected: Result<&str, &str>) {
        content["channel"] = json!("whatsapp");
        let given: Content = serde_json::from_value(content.clone()).unwrap();
        let said = says(&given);
        let shown = match &said {
            Ok(Says::Text(_)) => Ok("text"),
            Ok(Says::Media(_, caption)) => Ok(if caption.is_some() { "media+" } else { "media" }),
            Ok(Says::Buttons(above, _)) => Ok(if above.header.is_some() { "header buttons" } else { "buttons" }),
            Ok(Says::Link(..)) => Ok("link"),
            Ok(Says::Place(_)) => Ok("place"),
            Ok(Says::Template(_)) => Ok("template"),
            Err(failure) => {
                assert_eq!((failure.kind, failure.code.as_str()), (FailureKind::Content, "cannot_carry"));
                Err(failure.detail.split(':').next().unwrap())
            }
        };
        assert_eq!(shown, expected, "{content}");
    }

    fn file(kind: &str) -> Value {
        json!({"type": kind, "url": "https://x/1"})
    }

    #[test]
    fn what_a_message_says() {
        let yes = json!([{"text": "Yes", "data": "y"}]);
        let place = json!({"latitude": 1.0, "longitude": 2.0});
        check(json!({"text": "x".repeat(4096)}), Ok("text"));
        check(json!({"media": [file("image")]}), Ok("media"));
        check(json!({"text": "ü".repeat(1024), "media": [file("document")]}), Ok("media+"));
        check(json!({"media": [{"type": "video", "url": "https://x/1", "caption": "Below"}]}), Ok("media+"));
        check(json!({"text": "Hi", "buttons": yes}), Ok("buttons"));
        check(json!({"text": "Hi", "media": [file("video")], "buttons": yes}), Ok("header buttons"));
        check(json!({"text": "Hi", "buttons": [{"text": "Open", "url": "https://x"}]}), Ok("link"));
        check(json!({"location": place}), Ok("place"));
        check(json!({"whatsapp_template": {"name": "t", "language": "en"}}), Ok("template"));
    }

    #[test]
    fn what_whatsapp_cannot_carry() {
        let place = json!({"latitude": 1.0, "longitude": 2.0});
        let button = |text: &str, data: &str| json!({"text": text, "data": data});
        let pressed = |buttons: Value| json!({"text": "Hi", "buttons": buttons});
        check(json!({}), Err("/content/text"));
        check(json!({"text": "x".repeat(4097)}), Err("/content/text"));
        check(json!({"text": "x".repeat(1025), "media": [file("image")]}), Err("/content/text"));
        check(json!({"text": "Hi", "media": [file("audio")]}), Err("/content/text"));
        check(json!({"media": [file("image"), file("image")]}), Err("/content/media"));
        check(json!({"media": [{"type": "image"}]}), Err("/content/media/0"));
        check(json!({"media": [{"type": "image", "url": "ftp://x"}]}), Err("/content/media/0/url"));
        let both = json!([{"type": "image", "url": "https://x/1", "caption": "Below"}]);
        check(json!({"text": "Hi", "media": both}), Err("/content/media/0/caption"));
        check(json!({"text": "Hi", "location": place}), Err("/content/text"));
        check(json!({"media": [file("image")], "location": place}), Err("/content/media"));
        check(json!({"buttons": [button("a", "1")], "location": place}), Err("/content/buttons"));
        check(json!({"buttons": [button("a", "1")]}), Err("/content/text"));
        check(json!({"text": "x".repeat(1025), "buttons": [button("a", "1")]}), Err("/content/text"));
        check(json!({"text": "Hi", "media": [file("audio")], "buttons": [button("a", "1")]}), Err("/content/media/0"));
        let four: Vec<_> = (0..4).map(|n| button(&n.to_string(), &n.to_string())).collect();
        check(pressed(json!(four)), Err("/content/buttons"));
        check(pressed(json!([{"text": "a", "url": "https://x"}, button("b", "2")])), Err("/content/buttons/0"));
        check(pressed(json!([{"text": "a", "url": "https://x", "data": "1"}])), Err("/content/buttons/0"));
        check(pressed(json!([{"text": "a", "url": "tel:1"}])), Err("/content/buttons/0/url"));
        check(pressed(json!([{"text": "", "url": "https://x"}])), Err("/content/buttons/0/text"));
        check(pressed(json!([button("", "1")])), Err("/content/buttons/0"));
        check(pressed(json!([button("a", "")])), Err("/content/buttons/0"));
        check(pressed(json!([button(&"x".repeat(21), "1")])), Err("/content/buttons/0/text"));
        check(pressed(json!([button("a", &"x".repeat(257))])), Err("/content/buttons/0/data"));
        check(pressed(json!([button("a", "1"), button("a", "2")])), Err("/content/buttons/1"));
        check(pressed(json!([button("a", "1"), button("b", "1")])), Err("/content/buttons/1"));
        let template = json!({"name": "t", "language": "en"});
        check(json!({"text": "Hi", "whatsapp_template": template}), Err("/content"));
    }

    #[test]
    fn other_channels_are_refused() {
        let content: Content = serde_json::from_value(json!({"channel": "sms", "text": "Hi"})).unwrap();
        assert!(says(&content).unwrap_err().detail.starts_with("/channel"));
    }

    #[test]
    fn documents_have_names() {
        assert_eq!(filename(Some("a.pdf"), "https://x/b.pdf"), "a.pdf");
        assert_eq!(filename(None, "https://x/y/b.pdf?z=1/2#c"), "b.pdf");
        assert_eq!(filename(Some(""), "https://x/y/"), "document");
        assert_eq!(filename(None, "https://x"), "document");
    }

    #[test]
    fn instants_in_seconds_and_milliseconds() {
        let at = |value: Value| instant(&value).map(Timestamp::as_millis);
        assert_eq!(at(json!("1750030073")), Some(1_750_030_073_000));
        assert_eq!(at(json!(1_750_030_073)), Some(1_750_030_073_000));
        assert_eq!(at(json!(1_750_030_073_123_u64)), Some(1_750_030_073_123));
        assert_eq!(at(json!("1750030073123")), Some(1_750_030_073_123));
        for bad in [json!("soon"), json!(-1), json!(null), json!(1e300)] {
            assert_eq!(at(bad), None);
        }
    }
}
