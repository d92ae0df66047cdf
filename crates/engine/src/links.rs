//! Links in rendered HTML: finding them in one pass, and telling those that would run something.

use std::ops::Range;

/// Attributes that hold a link.
const ATTRIBUTES: &[&str] = &["href", "src", "action", "formaction", "background", "poster", "xlink:href"];
/// Schemes no link of a mail has a use for.
const DANGEROUS: &[&str] = &["javascript:", "vbscript:", "data:"];
/// What a picture may carry in itself.
const PICTURES: &[&str] = &["data:image/png", "data:image/gif", "data:image/jpeg", "data:image/webp"];

/// An attribute that holds a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// The element, as written.
    pub element: &'a str,
    /// The attribute, as written.
    pub attribute: &'a str,
    /// Where its value lies, without quotes.
    pub range: Range<usize>,
    /// The value, as written: entities are not decoded.
    pub value: &'a str,
}

/// Goes through the links of an HTML text in their order. Looks into comments too, because Outlook reads some of them.
pub fn links(html: &str) -> impl Iterator<Item = Link<'_>> {
    let mut scanner = Scanner { html, at: 0, element: "" };
    std::iter::from_fn(move || scanner.next_link())
}

/// The first link that would run or hide something, shortened.
pub fn dangerous(html: &str) -> Option<String> {
    links(html).find(|link| is_dangerous(link)).map(|link| link.value.chars().take(60).collect())
}

fn is_dangerous(link: &Link<'_>) -> bool {
    let start: String = plain(link.value).take(24).collect();
    let is_picture = link.attribute.eq_ignore_ascii_case("src") && PICTURES.iter().any(|kind| start.starts_with(kind));
    DANGEROUS.iter().any(|scheme| start.starts_with(scheme)) && !is_picture
}

/// The value as a browser sees its scheme: entities decoded, blanks and control characters dropped, in lower case.
fn plain(value: &str) -> impl Iterator<Item = char> {
    decoded(value).filter(|c| !c.is_control() && !c.is_whitespace()).flat_map(char::to_lowercase)
}

/// A value with its character references decoded, as far as they matter in links.
pub fn decoded(value: &str) -> impl Iterator<Item = char> {
    let mut rest = value;
    std::iter::from_fn(move || {
        let c = rest.chars().next()?;
        if c == '&'
            && let Some((decoded, length)) = reference(rest)
        {
            rest = &rest[length..];
            return Some(decoded);
        }
        rest = &rest[c.len_utf8()..];
        Some(c)
    })
}

/// A character reference at the start of `text`, with its length.
fn reference(text: &str) -> Option<(char, usize)> {
    let body = &text[1..];
    if let Some(number) = body.strip_prefix('#') {
        let (digits, radix) = number.strip_prefix(['x', 'X']).map_or((number, 10), |hex| (hex, 16));
        let count = digits.bytes().take_while(|b| char::from(*b).is_digit(radix)).count();
        let c = u32::from_str_radix(digits.get(..count.min(8))?, radix).ok().and_then(char::from_u32)?;
        let length = text.len() - digits.len() + count;
        return Some((c, length + usize::from(text[length..].starts_with(';'))));
    }
    const NAMED: &[(&str, char)] = &[
        ("amp;", '&'),
        ("quot;", '"'),
        ("lt;", '<'),
        ("gt;", '>'),
        ("apos;", '\''),
        ("colon;", ':'),
        ("nbsp;", '\u{a0}'),
        ("shy;", '\u{ad}'),
        ("Tab;", '\t'),
        ("NewLine;", '\n'),
        ("sol;", '/'),
    ];
    NAMED.iter().find(|(name, _)| body.starts_with(name)).map(|(name, c)| (*c, 1 + name.len()))
}

struct Scanner<'a> {
    html: &'a str,
    at: usize,
    /// The element whose attributes are read; empty between elements.
    element: &'a str,
}

impl<'a> Scanner<'a> {
    fn next_link(&mut self) -> Option<Link<'a>> {
        loop {
            if self.element.is_empty() {
                self.open()?;
            }
            while let Some((attribute, range)) = self.attribute() {
                if ATTRIBUTES.iter().any(|name| name.eq_ignore_ascii_case(attribute)) {
                    let value = &self.html[range.clone()];
                    return Some(Link { element: self.element, attribute, range, value });
                }
            }
            self.element = "";
        }
    }

    /// Goes behind the name of the next element.
    fn open(&mut self) -> Option<()> {
        let bytes = self.html.as_bytes();
        loop {
            self.at += memchr::memchr(b'<', &bytes[self.at..])? + 1;
            if bytes.get(self.at).is_some_and(u8::is_ascii_alphabetic) {
                let start = self.at;
                self.skip(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-'));
                self.element = &self.html[start..self.at];
                return Some(());
            }
        }
    }

    fn skip(&mut self, is_part: impl Fn(u8) -> bool) {
        let bytes = self.html.as_bytes();
        while bytes.get(self.at).is_some_and(|b| is_part(*b)) {
            self.at += 1;
        }
    }

    /// The next attribute of the element; `None` at its end.
    fn attribute(&mut self) -> Option<(&'a str, Range<usize>)> {
        let bytes = self.html.as_bytes();
        self.skip(|b| b.is_ascii_whitespace() || b == b'/');
        if bytes.get(self.at).is_none_or(|b| matches!(b, b'>' | b'<')) {
            return None;
        }
        let start = self.at;
        self.skip(|b| !b.is_ascii_whitespace() && !matches!(b, b'=' | b'>' | b'/'));
        if self.at == start {
            self.at += 1;
            return Some(("", start..start));
        }
        let name = &self.html[start..self.at];
        self.skip(|b| b.is_ascii_whitespace());
        if bytes.get(self.at) != Some(&b'=') {
            return Some((name, self.at..self.at));
        }
        self.at += 1;
        self.skip(|b| b.is_ascii_whitespace());
        let range = match bytes.get(self.at) {
            Some(quote @ (b'"' | b'\'')) => {
                let from = self.at + 1;
                let until = memchr::memchr(*quote, &bytes[from..]).map_or(bytes.len(), |at| from + at);
                self.at = (until + 1).min(bytes.len());
                from..until
            }
            _ => {
                let from = self.at;
                self.skip(|b| !b.is_ascii_whitespace() && b != b'>');
                from..self.at
            }
        };
        Some((name, range))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn links_are_found_wherever_they_stand() {
        let html = r#"<p>1 < 2</p><A class=x HREF='https://a.example/?b=1&amp;c=2'>x</a><img alt="href=no" src=cid:logo />
            <!--[if mso]><v:rect href="https://b.example"><![endif]--><a href = "" download><a"#;
        let found: Vec<_> = links(html).map(|link| (link.element, link.attribute, link.value)).collect();
        assert_eq!(
            found,
            [
                ("A", "HREF", "https://a.example/?b=1&amp;c=2"),
                ("img", "src", "cid:logo"),
                ("v:rect", "href", "https://b.example"),
                ("a", "href", "")
            ]
        );
    }

    #[test]
    fn links_that_run_something_are_told_apart() {
        let check = |value: &str, expected: bool| {
            assert_eq!(dangerous(&format!("<a href=\"{value}\">")).is_some(), expected, "{value}");
        };
        for bad in [
            "javascript:alert(1)",
            " JavaScript:alert(1)",
            "java\tscript:x",
            "java&#115;cript:x",
            "javascript&colon;x",
            "&#x6A;avascript:x",
            "data:text/html,x",
            "vbscript:x",
            "\u{1}javascript:x",
        ] {
            check(bad, true);
        }
        for good in [
            "https://a.example/javascript:",
            "mailto:ada@example.com",
            "tel:+1",
            "#top",
            "/data:x",
            "",
            "data",
            "sms:+1",
        ] {
            check(good, false);
        }
        assert!(dangerous("<img src=\"data:image/png;base64,AA\">").is_none());
        assert!(dangerous("<img src=\"data:image/svg+xml,x\">").is_some());
    }

    proptest! {
        #[test]
        fn any_text_can_be_scanned(html in "[<>a-z/=\"' &#;:é]{0,80}") {
            for link in links(&html) {
                prop_assert_eq!(&html[link.range.clone()], link.value);
                prop_assert!(decoded(link.value).count() <= link.value.len());
            }
        }
    }
}
