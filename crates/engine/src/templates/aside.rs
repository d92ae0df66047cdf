//! Placeholders set aside while something that knows only HTML or MJML works on a text, and put back afterwards.
//!
//! Each `{{ … }}`, `{% … %}` and `{# … #}` becomes a mark that survives XML and HTML parsers: a word where it stands in a text or an attribute's value, and a comment where it is
//! a statement between elements, because an HTML parser moves words out of tables and leaves comments where they are.

use std::fmt::Write as _;

/// The pieces that were set aside.
pub(super) struct Aside<'a> {
    mark: String,
    pieces: Vec<Piece<'a>>,
    /// True when a placeholder stands inside a tag but outside of an attribute's value: parsers reorder what is there.
    pub has_loose: bool,
}

struct Piece<'a> {
    text: &'a str,
    is_comment: bool,
    is_statement: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Content,
    Tag,
    Value(u8),
    Comment,
    /// Inside an element whose content is no markup.
    Raw(&'static str),
}

/// Elements whose content a parser takes as text.
const RAW: &[&str] = &["style", "title", "script", "textarea", "mj-style", "mj-title", "mj-preview"];

/// Where a placeholder that begins at the start of `text` ends, in bytes, and whether it is a statement. `None` when it has no end.
fn placeholder(text: &str) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    let close: &[u8; 2] = match bytes.get(..2)? {
        b"{{" => b"}}",
        b"{%" => b"%}",
        b"{#" => return text.find("#}").map(|at| (at + 2, true)),
        _ => return None,
    };
    let (mut at, mut quote) = (2, None);
    while at + 1 < bytes.len() {
        match (quote, bytes[at]) {
            (Some(_), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (None, byte @ (b'"' | b'\'')) => quote = Some(byte),
            (None, _) if bytes[at..].starts_with(close) => {
                let end = at + 2;
                let inner = text[2..at].trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
                if close == b"%}" && inner == "raw" {
                    return raw_end(text, end).map(|end| (end, false));
                }
                return Some((end, close == b"%}"));
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// What stands between `{% raw %}` and `{% endraw %}` is no template.
fn raw_end(text: &str, from: usize) -> Option<usize> {
    let at = from + text[from..].find("endraw")?;
    text[at..].find("%}").map(|end| at + end + 2)
}

/// Sets every placeholder aside.
pub(super) fn set_aside(source: &str) -> (String, Aside<'_>) {
    let mark = (0..).map(|n| format!("tdph{n}q")).find(|mark| !source.contains(mark)).unwrap_or_default();
    let mut aside = Aside { mark, pieces: Vec::new(), has_loose: false };
    let (mut text, mut place, mut at) = (String::with_capacity(source.len()), Place::Content, 0);
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        if c == '{'
            && let Some((length, is_statement)) = placeholder(rest)
        {
            let is_comment = is_statement && place == Place::Content;
            aside.has_loose |= place == Place::Tag;
            let number = aside.pieces.len();
            let _ = match is_comment {
                true => write!(text, "<!--{}{number}x-->", aside.mark),
                false => write!(text, "{}{number}x", aside.mark),
            };
            aside.pieces.push(Piece { text: &rest[..length], is_comment, is_statement });
            at += length;
            continue;
        }
        place = next(place, rest, &source[..at]);
        text.push(c);
        at += c.len_utf8();
    }
    (text, aside)
}

/// Where the scanner is after the first character of `rest`.
fn next(place: Place, rest: &str, before: &str) -> Place {
    let first = rest.as_bytes()[0];
    match place {
        Place::Content if rest.starts_with("<!--") => Place::Comment,
        Place::Content if first == b'<' && rest[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') => {
            Place::Tag
        }
        Place::Comment if first == b'>' && before.ends_with("--") => Place::Content,
        Place::Tag if first == b'"' || first == b'\'' => Place::Value(first),
        Place::Tag if first == b'>' => opened(before).map_or(Place::Content, Place::Raw),
        Place::Value(quote) if first == quote => Place::Tag,
        Place::Raw(name) if first == b'<' => {
            let closes = rest
                .get(1..2 + name.len())
                .is_some_and(|end| end.starts_with('/') && end[1..].eq_ignore_ascii_case(name));
            if closes { Place::Tag } else { place }
        }
        place => place,
    }
}

/// The raw element a tag that ends here opens.
fn opened(before: &str) -> Option<&'static str> {
    let tag = &before[before.rfind('<')? + 1..];
    if tag.ends_with('/') {
        return None;
    }
    let name = tag.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).next()?;
    RAW.iter().find(|raw| raw.eq_ignore_ascii_case(name)).copied()
}

impl Aside<'_> {
    /// Puts every placeholder back.
    pub fn restore(&self, text: &str) -> String {
        self.replaced(text, |piece| piece.text, |piece| piece.is_comment)
    }

    /// The text with all marks as words: for what drops comments.
    pub fn as_words(&self, text: &str) -> String {
        let mut words = text.to_owned();
        for (number, _) in self.pieces.iter().enumerate().filter(|(_, piece)| piece.is_comment) {
            let word = format!("{}{number}x", self.mark);
            words = words.replace(&format!("<!--{word}-->"), &word);
        }
        words
    }

    /// Puts placeholders back into a text in which all marks are words. A line that holds nothing but statements leaves no empty line.
    pub fn restore_words(&self, text: &str) -> String {
        let mut lines = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            let left = self.replaced(line, |piece| if piece.is_statement { "" } else { "x" }, |_| false);
            let is_bare = left.trim().is_empty() && line.contains(&self.mark);
            let line = if is_bare { line.trim_end_matches('\n') } else { line };
            lines.push_str(&self.replaced(line, |piece| piece.text, |_| false));
        }
        lines
    }

    fn replaced<'t>(
        &'t self,
        text: &str,
        by: impl Fn(&'t Piece<'t>) -> &'t str,
        is_wrapped: impl Fn(&Piece<'_>) -> bool,
    ) -> String {
        let mut made = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(&self.mark) {
            let behind = &rest[at + self.mark.len()..];
            let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
            let piece = behind[..digits].parse::<usize>().ok().and_then(|number| self.pieces.get(number));
            let Some(piece) = piece.filter(|_| behind[digits..].starts_with('x')) else {
                made.push_str(&rest[..at + self.mark.len()]);
                rest = behind;
                continue;
            };
            let (mut before, mut after) = (&rest[..at], &behind[digits + 1..]);
            if is_wrapped(piece)
                && let (Some(b), Some(a)) = (before.strip_suffix("<!--"), after.strip_prefix("-->"))
            {
                (before, after) = (b, a);
            }
            made.push_str(before);
            made.push_str(by(piece));
            rest = after;
        }
        made.push_str(rest);
        made
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn statements_between_elements_are_comments_and_the_rest_are_words() {
        let check = |source: &str, expected: &str| {
            let (text, aside) = set_aside(source);
            assert_eq!(text, expected);
            assert_eq!(aside.restore(&text), source);
        };
        check("<p>{{ a }}</p>", "<p>tdph0q0x</p>");
        check("{% if a %}<p>x</p>{% endif %}", "<!--tdph0q0x--><p>x</p><!--tdph0q1x-->");
        check(r#"<a href="{% if a %}x{% endif %}">"#, r#"<a href="tdph0q0xxtdph0q1x">"#);
        check(r#"{{ "}}" }}{# {{ #}"#, "tdph0q0x<!--tdph0q1x-->");
        check("<style>{% if a %}p{}{% endif %}</style>{% if b %}", "<style>tdph0q0xp{}tdph0q1x</style><!--tdph0q2x-->");
        check("{% raw %}{{ x }}{% endraw %}", "tdph0q0x");
        check("{{ open", "{{ open");
        check("tdph0q1x {{ a }}", "tdph0q1x tdph1q0x");
    }

    #[test]
    fn statements_leave_no_empty_lines_in_a_text() {
        let (text, aside) = set_aside("Hi\n{% if a %}\nyes\n{% endif %}\n{{ b }}\n");
        assert_eq!(aside.restore_words(&aside.as_words(&text)), "Hi\n{% if a %}yes\n{% endif %}{{ b }}\n");
    }

    proptest! {
        #[test]
        fn what_is_set_aside_comes_back(source in r#"([a-z<>/"'= \n]|\{\{ [a-z"]{0,3} \}\}|\{% [a-z]{1,3} %\}|<p>|<!--|-->|<style>|</style>|\{){0,40}"#) {
            let (text, aside) = set_aside(&source);
            prop_assert_eq!(aside.restore(&text), source);
        }
    }
}
