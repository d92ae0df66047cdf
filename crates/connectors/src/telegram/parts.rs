//! Into which of Telegram's messages a content falls, in the order they are sent: the media, then a text that is no caption, then a place.
//! The buttons hang on the last of them that can have any; an album cannot.
//!
//! Everything Telegram would refuse for its size or shape is refused here, before the first part is on its way.

use model::{Button, Content, Failure, FailureKind, Location, Media, MediaKind, TelegramContent};

/// Longest text of a message, in UTF-16 units, which is how Telegram counts.
const TEXT_MAX: usize = 4096;
/// Longest caption, in UTF-16 units.
const CAPTION_MAX: usize = 1024;
/// Most media in one album.
const ALBUM_MAX: usize = 10;
/// Longest data of a button, in bytes.
const BUTTON_DATA_MAX: usize = 64;

/// One of Telegram's messages.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Part<'a> {
    /// A text.
    Text(&'a str),
    /// One file.
    Media(&'a Media, Option<&'a str>),
    /// Two to ten files; the caption goes with the first one.
    Album(&'a [Media], Option<&'a str>),
    /// A place on the map.
    Place(&'a Location),
}

/// The messages of a content, and which of them carries its buttons.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parts<'a> {
    /// At least one.
    pub(super) list: Vec<Part<'a>>,
    /// Rows of buttons.
    pub(super) buttons: &'a [Vec<Button>],
    /// The part that carries them.
    pub(super) keyboard_at: Option<usize>,
}

/// Takes a content apart, or says which of its fields Telegram cannot carry.
pub(super) fn of(content: &Content) -> Result<Parts<'_>, Failure> {
    let Content::Telegram(content) = content else {
        return Err(refused("/channel", "this account carries Telegram only"));
    };
    check_media(&content.media)?;
    check_buttons(&content.buttons)?;
    if units(&content.text) > TEXT_MAX {
        return Err(refused("/content/text", format!("is longer than Telegram's {TEXT_MAX} characters")));
    }
    let list = list(content);
    if list.is_empty() {
        return Err(refused("/content/text", "is empty and there is no media or location"));
    }
    let has_buttons = content.buttons.iter().any(|row| !row.is_empty());
    let keyboard_at = has_buttons.then(|| list.iter().rposition(|part| !matches!(part, Part::Album(..)))).flatten();
    if has_buttons && keyboard_at.is_none() {
        return Err(refused("/content/buttons", "an album cannot have buttons; add a text for them"));
    }
    Ok(Parts { list, buttons: &content.buttons, keyboard_at })
}

fn list(content: &TelegramContent) -> Vec<Part<'_>> {
    let text = content.text.as_str();
    let is_caption = match content.media.as_slice() {
        [] => false,
        // The text of an album with buttons stays apart, so that it can carry them.
        [first, rest @ ..] => {
            let is_free = first.caption.as_deref().unwrap_or_default().is_empty();
            is_free && units(text) <= CAPTION_MAX && (rest.is_empty() || content.buttons.is_empty())
        }
    };
    let caption = (is_caption && !text.is_empty()).then_some(text);
    let media = match content.media.as_slice() {
        [] => None,
        [one] => Some(Part::Media(one, caption.or(one.caption.as_deref()))),
        many => Some(Part::Album(many, caption)),
    };
    let text = (caption.is_none() && !text.is_empty()).then_some(Part::Text(text));
    let place = content.location.as_ref().map(Part::Place);
    [media, text, place].into_iter().flatten().collect()
}

fn check_media(media: &[Media]) -> Result<(), Failure> {
    if media.len() > ALBUM_MAX {
        return Err(refused("/content/media", format!("Telegram carries at most {ALBUM_MAX} files in an album")));
    }
    for (index, file) in media.iter().enumerate() {
        if file.url.is_none() && file.attachment_id.is_none() {
            return Err(refused(format!("/content/media/{index}"), "has neither a `url` nor an `attachment_id`"));
        }
        if units(file.caption.as_deref().unwrap_or_default()) > CAPTION_MAX {
            let detail = format!("is longer than Telegram's {CAPTION_MAX} characters for captions");
            return Err(refused(format!("/content/media/{index}/caption"), detail));
        }
    }
    let is_mixed = media.windows(2).any(|pair| group(pair[0].kind) != group(pair[1].kind));
    if is_mixed {
        return Err(refused("/content/media", "an album holds pictures and films, or only sounds, or only documents"));
    }
    Ok(())
}

/// What may share an album: <https://core.telegram.org/bots/api#sendmediagroup>
fn group(kind: MediaKind) -> u8 {
    match kind {
        MediaKind::Image | MediaKind::Video => 0,
        MediaKind::Audio => 1,
        MediaKind::Document => 2,
    }
}

fn check_buttons(rows: &[Vec<Button>]) -> Result<(), Failure> {
    for (row_at, row) in rows.iter().enumerate() {
        for (index, button) in row.iter().enumerate() {
            let refuse = |detail: String| refused(format!("/content/buttons/{row_at}/{index}"), detail);
            if button.text.is_empty() {
                return Err(refuse("has no text".to_owned()));
            }
            if button.url.is_some() && button.data.is_some() {
                return Err(refuse("has both a `url` and `data`; a button does one thing".to_owned()));
            }
            if button.url.is_none() && !(1..=BUTTON_DATA_MAX).contains(&data(button).len()) {
                return Err(refuse(format!("needs 1 to {BUTTON_DATA_MAX} bytes of `data`")));
            }
        }
    }
    Ok(())
}

/// What comes back when a button is pressed: its data, or its text when it has none.
pub(super) fn data(button: &Button) -> &str {
    button.data.as_deref().unwrap_or(&button.text)
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn refused(pointer: impl Into<String>, detail: impl AsRef<str>) -> Failure {
    Failure::new(FailureKind::Content, "cannot_carry", format!("{}: {}.", pointer.into(), detail.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Names each part: `text`, `photo` or `album3`, `place`; `+` follows a caption and `*` the part with the buttons.
    fn shape(content: Value) -> String {
        let mut content = content;
        content["channel"] = json!("telegram");
        let content: Content = serde_json::from_value(content).unwrap();
        let parts = match of(&content) {
            Ok(parts) => parts,
            Err(failure) => return failure.detail.split(':').next().unwrap().to_owned(),
        };
        let name = |part: &Part<'_>| match part {
            Part::Text(_) => "text".to_owned(),
            Part::Media(_, caption) => format!("media{}", if caption.is_some() { "+" } else { "" }),
            Part::Album(many, caption) => format!("album{}{}", many.len(), if caption.is_some() { "+" } else { "" }),
            Part::Place(_) => "place".to_owned(),
        };
        let mark = |at| if parts.keyboard_at == Some(at) { "*" } else { "" };
        parts.list.iter().enumerate().map(|(at, part)| name(part) + mark(at)).collect::<Vec<_>>().join(" ")
    }

    fn check(content: Value, expected: &str) {
        assert_eq!(shape(content.clone()), expected, "{content}");
    }

    fn file(kind: &str) -> Value {
        json!({"type": kind, "url": "https://x/1"})
    }

    #[test]
    fn a_content_falls_into_few_messages() {
        let place = json!({"latitude": 1.0, "longitude": 2.0});
        let two = json!([file("image"), file("video")]);
        let captioned = json!([{"type": "image", "url": "https://x/1", "caption": "Below"}]);
        let yes = json!([[{"text": "Yes", "data": "y"}]]);
        check(json!({"text": "Hi"}), "text");
        check(json!({"text": "Hi", "buttons": yes}), "text*");
        check(json!({"media": [file("image")]}), "media");
        check(json!({"text": "Hi", "media": [file("image")], "buttons": yes}), "media+*");
        check(json!({"media": captioned}), "media+");
        check(json!({"text": "Hi", "media": captioned}), "media+ text");
        check(json!({"text": "x".repeat(1025), "media": [file("image")]}), "media text");
        check(json!({"text": "Hi", "media": two}), "album2+");
        check(json!({"text": "Hi", "media": two, "buttons": yes}), "album2 text*");
        check(json!({"text": "x".repeat(1025), "media": two}), "album2 text");
        check(json!({"location": place}), "place");
        check(json!({"text": "Hi", "location": place, "buttons": yes}), "text place*");
        check(json!({"media": two, "location": place, "buttons": yes}), "album2 place*");
        check(json!({"text": "Hi", "buttons": [[]]}), "text");
    }

    #[test]
    fn what_telegram_cannot_carry() {
        let two = json!([file("image"), file("video")]);
        let eleven: Vec<_> = (0..11).map(|_| file("image")).collect();
        let button = |button: Value| json!({"text": "Hi", "buttons": [[{"text": "ok", "data": "1"}], [button]]});
        check(json!({}), "/content/text");
        // An emoji outside the basic plane counts twice.
        check(json!({"text": "😀".repeat(2048)}), "text");
        check(json!({"text": "😀".repeat(2048) + "x"}), "/content/text");
        check(json!({"media": eleven}), "/content/media");
        check(json!({"media": [file("image"), file("document")]}), "/content/media");
        check(json!({"media": [file("audio"), file("audio")]}), "album2");
        check(json!({"media": [{"type": "image"}]}), "/content/media/0");
        check(
            json!({"media": [{"type": "image", "url": "u", "caption": "x".repeat(1025)}]}),
            "/content/media/0/caption",
        );
        check(json!({"media": two, "buttons": [[{"text": "Yes", "data": "y"}]]}), "/content/buttons");
        check(button(json!({"text": "", "data": "y"})), "/content/buttons/1/0");
        check(button(json!({"text": "x", "data": "y", "url": "https://x"})), "/content/buttons/1/0");
        check(button(json!({"text": "x", "data": "y".repeat(65)})), "/content/buttons/1/0");
        check(button(json!({"text": "x", "data": ""})), "/content/buttons/1/0");
        check(button(json!({"text": "ü".repeat(33)})), "/content/buttons/1/0");
        check(button(json!({"text": "ü".repeat(32)})), "text*");
    }
}
