//! Where a text names somebody: by a whole address or id, never by a part of a longer one. `ann@x.example` is not in `joann@x.example`, and a number is not in its extension. Pure.
//!
//! Texts are JSON, forms and what people write. So what stands beside a name is read with the escapes of JSON and of addresses of pages; a Telegram chat, whose id may be any number,
//! is named only where a field holds it.

use std::ops::Range;

/// Fields that hold a Telegram chat.
const CHAT_FIELDS: [&str; 5] = ["telegram_chat_id", "chat_id", "address", "to", "from"];
/// Objects of Telegram whose `id` is a chat.
const CHATS: [&str; 3] = ["chat", "from", "user"];

/// What to look for, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// An id of ours.
    Id(String),
    /// A mail address, as it is or with `%40`.
    Mail(String),
    /// The digits of a phone number.
    Phone(String),
    /// A Telegram chat.
    Chat(String),
}

/// What kind of text is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Text {
    /// One that Tidings or the tenant wrote: a phone number is text there, and a number is an amount or a count.
    Ours,
    /// One that a provider wrote, which may tell a phone number as a number.
    Provider,
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Self::Id(text) | Self::Mail(text) | Self::Phone(text) | Self::Chat(text) => text,
        }
    }

    /// The first place behind `from` in a text in small letters that is this name as a whole.
    pub fn place(&self, small: &str, from: usize, text: Text) -> Option<Range<usize>> {
        let mut at = from;
        while let Some(found) = small.get(at..)?.find(self.text()) {
            let (start, end) = (at + found, at + found + self.text().len());
            let (before, after) = (&small[..start], &small[end..]);
            let is_whole = match self {
                Self::Id(_) => !is_part(before_last(before).0) && !is_part(first(after).0),
                Self::Mail(_) => !goes_before_mail(before) && !goes_on(after),
                Self::Phone(_) => {
                    !is_number_before(before) && !goes_on(after) && (text == Text::Provider || !is_json_number(before))
                }
                Self::Chat(_) => is_chat(before, after),
            };
            if is_whole {
                let plus = usize::from(matches!(self, Self::Phone(_)) && before.ends_with('+'));
                return Some(start - plus..end);
            }
            at = end;
        }
        None
    }

    /// A text with `erased` in the place of the name, in capital letters or small ones; `null` in the place of a number.
    pub fn taken_out(&self, text: &str) -> String {
        // Only ASCII letters are made small, so that places in the small text are places in the text.
        let small = text.to_ascii_lowercase();
        let (mut made, mut from) = (String::with_capacity(text.len()), 0);
        while let Some(place) = self.place(&small, from, Text::Ours) {
            let is_bare = matches!(self, Self::Chat(_)) && !small[..place.start].ends_with('"');
            made.push_str(&text[from..place.start]);
            made.push_str(if is_bare { "null" } else { "erased" });
            from = place.end;
        }
        made.push_str(&text[from..]);
        made
    }
}

fn is_part(char: Option<char>) -> bool {
    char.is_some_and(|char| char.is_alphanumeric() || char == '_')
}

/// The byte that two hexadecimal digits are, as a character: those of other alphabets become letters.
fn hex(digits: &str) -> Option<char> {
    let byte = u8::from_str_radix(digits, 16).ok()?;
    Some(if byte.is_ascii() { char::from(byte) } else { 'ü' })
}

/// The last character of a text, its escape undone, and what is before it.
fn before_last(text: &str) -> (Option<char>, &str) {
    let escaped = |len: usize, mark: &str| {
        let at = text.len().checked_sub(len)?;
        let rest = text.get(..at)?;
        Some((text.get(at..)?.strip_prefix(mark)?, rest))
    };
    if let Some((digits, rest)) = escaped(3, "%")
        && let Some(char) = hex(digits)
    {
        return (Some(char), rest);
    }
    if let Some((digits, rest)) = escaped(6, "\\u")
        && let Ok(code) = u32::from_str_radix(digits, 16)
    {
        return (Some(char::from_u32(code).unwrap_or('ü')), rest);
    }
    if let Some((letter, rest)) = escaped(2, "\\")
        && matches!(letter, "n" | "r" | "t" | "b" | "f")
    {
        return (Some(' '), rest);
    }
    let mut chars = text.chars();
    (chars.next_back(), chars.as_str())
}

/// The first character of a text, its escape undone, and what is behind it.
fn first(text: &str) -> (Option<char>, &str) {
    if let Some(digits) = text.strip_prefix('%').and_then(|text| text.get(..2))
        && let Some(char) = hex(digits)
    {
        return (Some(char), &text[3..]);
    }
    let mut chars = text.chars();
    (chars.next(), chars.as_str())
}

/// True when a mail address that seems to begin here began before.
fn goes_before_mail(before: &str) -> bool {
    let (last, rest) = before_last(before);
    match last {
        Some('.' | '+' | '-' | '@') => true,
        // As in O'Brien, and not where it begins a quotation.
        Some('\'') => is_part(before_last(rest).0),
        other => is_part(other),
    }
}

/// True when digits that seem to begin a number do not.
fn is_number_before(before: &str) -> bool {
    let (last, rest) = before_last(before);
    let last = if last == Some('+') { before_last(rest).0 } else { last };
    is_part(last) || matches!(last, Some('.' | '-' | '@'))
}

/// True when an address that seems to end here goes on.
fn goes_on(after: &str) -> bool {
    let (next, rest) = first(after);
    match next {
        Some('@') => true,
        Some('.' | '-') => is_part(first(rest).0),
        other => is_part(other),
    }
}

/// What stands before a quotation mark, which may be escaped.
fn unquoted(text: &str) -> Option<&str> {
    let text = text.strip_suffix('"')?;
    Some(text.trim_end_matches('\\'))
}

/// The field whose value begins behind this, and what stands before it.
fn field(before: &str) -> Option<(&str, &str)> {
    let text = unquoted(before.trim_end().strip_suffix(':')?.trim_end())?;
    let quote = text.rfind('"')?;
    Some((unquoted(&text[..=quote])?, &text[quote + 1..]))
}

fn is_json_number(before: &str) -> bool {
    field(before).is_some()
}

fn is_chat(before: &str, after: &str) -> bool {
    let (before, is_whole) = match unquoted(before) {
        Some(before) => (before, after.trim_start_matches('\\').starts_with('"')),
        None => (before, !after.starts_with('.') && !is_part(first(after).0)),
    };
    let Some((rest, name)) = field(before).filter(|_| is_whole) else { return false };
    let is_of_chat =
        || rest.trim_end().strip_suffix('{').and_then(field).is_some_and(|(_, object)| CHATS.contains(&object));
    CHAT_FIELDS.contains(&name) || (name == "id" && is_of_chat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &Name, text: &str, expected: &str) {
        assert_eq!(name.taken_out(text), expected, "{text}");
    }

    #[test]
    fn a_mail_address_is_taken_out_where_it_stands_as_a_whole() {
        let ann = Name::Mail("ann@acme.example".to_owned());
        for (text, expected) in [
            ("to Ann@Acme.example, cc ann@acme.example.", "to erased, cc erased."),
            ("ü ann@acme.example ü", "ü erased ü"),
            (r#"{"text":"Hi\nann@acme.example\n"}"#, r#"{"text":"Hi\nerased\n"}"#),
            (r#"{"text":"\u003cann@acme.example\u003e"}"#, r#"{"text":"\u003cerased\u003e"}"#),
            ("From=Ann%20%3Cann@acme.example%3E", "From=Ann%20%3Cerased%3E"),
            ("'ann@acme.example'", "'erased'"),
            ("ann@acme.exampleann@acme.example ann@acme.example", "ann@acme.exampleann@acme.example erased"),
        ] {
            check(&ann, text, expected);
        }
        for other in [
            "joann@acme.example",
            "o'ann@acme.example",
            "jo.ann@acme.example",
            "jo+ann@acme.example",
            "jo%2Bann@acme.example",
            "jo-ann@acme.example",
            "ann@acme.example.org",
            "ann@acme.examples",
            "ann@acme.example-shop.org",
            "nobody",
        ] {
            check(&ann, other, other);
        }
    }

    #[test]
    fn a_phone_number_is_not_in_a_longer_one_nor_an_amount() {
        let number = Name::Phone("4930123456".to_owned());
        for (text, expected) in [
            ("call +4930123456.", "call erased."),
            (r#"{"wa_id":"4930123456"}"#, r#"{"wa_id":"erased"}"#),
            ("whatsapp:+4930123456", "whatsapp:erased"),
        ] {
            check(&number, text, expected);
        }
        for other in
            ["+493012345678", "+4930123456-78", "+14930123456", r#"{"amount_micros":4930123456}"#, "1.4930123456"]
        {
            check(&number, other, other);
        }
        assert!(number.place("to=%2b4930123456&x=1", 0, Text::Ours).is_some());
        assert!(number.place(r#"{"msisdn":4930123456}"#, 0, Text::Provider).is_some());
    }

    #[test]
    fn a_chat_is_named_by_fields_only() {
        let chat = Name::Chat("5".to_owned());
        for (text, expected) in [
            (r#"{"to":"5"}"#, r#"{"to":"erased"}"#),
            (r#"{"telegram_chat_id": 5}"#, r#"{"telegram_chat_id": null}"#),
            (
                r#"{"message":{"chat":{"id":5,"type":"private"}}}"#,
                r#"{"message":{"chat":{"id":null,"type":"private"}}}"#,
            ),
            (r#""{\"chat_id\":5}""#, r#""{\"chat_id\":null}""#),
        ] {
            check(&chat, text, expected);
        }
        for other in [
            r#"{"amount_micros":5}"#,
            "bank 5",
            r#"{"chat_id":57}"#,
            r#"{"chat_id":-5}"#,
            r#"{"id":5}"#,
            r#"{"to":"57"}"#,
        ] {
            check(&chat, other, other);
        }
    }
}
