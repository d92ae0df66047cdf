//! What somebody reads, and where its links lead: texts and HTML in the one form in which words are compared. One pass over each, whatever it holds.

use unicode_normalization::UnicodeNormalization;

use crate::links::{self, decoded};

/// Elements that stand in a line; every other one ends the word before it. Words can be hidden in their midst.
const INLINE: &[&str] = &[
    "a", "abbr", "b", "big", "cite", "code", "em", "font", "i", "ins", "kbd", "mark", "s", "small", "span", "strike",
    "strong", "sub", "sup", "tt", "u", "wbr",
];
/// Elements whose content nobody reads.
const UNREAD: &[&str] = &["style", "script", "head"];

/// A text as it is compared: in one spelling of each character, in small letters, without what cannot be seen, and with one space for any number of blanks.
pub fn plain(text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    for c in text.nfkc().flat_map(char::to_lowercase) {
        if is_invisible(c) {
            continue;
        }
        if !c.is_whitespace() {
            made.push(c);
        } else if !made.is_empty() && !made.ends_with(' ') {
            made.push(' ');
        }
    }
    if made.ends_with(' ') {
        made.pop();
    }
    made
}

/// Soft hyphens, joiners, marks of direction: they hide a word from a search and not from its reader.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// What somebody reads of an HTML text.
pub fn visible(html: &str) -> String {
    let mut made = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(start) = memchr::memchr(b'<', rest.as_bytes()) {
        made.extend(decoded(&rest[..start]));
        rest = &rest[start..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let name = &rest[1..];
        let name = name.strip_prefix('/').unwrap_or(name);
        let name = &name[..name.bytes().take_while(|b| b.is_ascii_alphanumeric()).count()];
        if name.is_empty() {
            made.push('<');
            rest = &rest[1..];
            continue;
        }
        let is_end = rest.as_bytes()[1] == b'/';
        let end = end_of_tag(rest);
        let known = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if !known(INLINE) {
            made.push(' ');
        }
        rest = &rest[end..];
        if !is_end && known(UNREAD) {
            rest = end_tag(rest, name);
        }
    }
    made.extend(decoded(rest));
    made
}

/// Behind the `>` of the tag a text begins with. Quotes hide one.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    for (at, b) in text.bytes().enumerate() {
        match (quote, b) {
            (None, b'>') => return at + 1,
            (None, b'"' | b'\'') => quote = Some(b),
            (Some(open), b) if open == b => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// At an element's end tag; at the end when there is none.
fn end_tag<'a>(text: &'a str, name: &str) -> &'a str {
    let mut at = 0;
    while let Some(found) = text[at..].find("</") {
        let from = at + found + 2;
        if text.as_bytes().get(from..from + name.len()).is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes())) {
            return &text[from - 2..];
        }
        at = from;
    }
    ""
}

/// A place a text leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host, as in the DNS.
    pub host: String,
    /// False for what only looks like an address, such as `example.com`: phones make a link of it, and a slip of the pen looks the same.
    pub is_certain: bool,
}

/// The places an HTML text leads to by its links.
pub fn linked(html: &str) -> Vec<Place> {
    links::links(html).filter_map(|link| place(decoded(link.value.trim()).collect::<String>().as_str(), true)).collect()
}

/// The places a text leads to.
pub fn named(text: &str) -> Vec<Place> {
    let is_border = |c: char| {
        c.is_whitespace()
            || matches!(c, '<' | '>' | '"' | '\'' | '(' | ')' | '[' | ']' | '{' | '}' | ',' | ';' | '|' | '*')
    };
    text.split(is_border).filter_map(|word| place(word.trim_end_matches(['.', '!', '?', ':']), false)).collect()
}

/// The place a word is; `is_link`: it stands where only links stand.
fn place(word: &str, is_link: bool) -> Option<Place> {
    let lower = word.get(..8).unwrap_or(word).to_ascii_lowercase();
    let after = ["https://", "http://", "//"]
        .iter()
        .find_map(|scheme| (lower.starts_with(scheme) && (is_link || *scheme != "//")).then(|| &word[scheme.len()..]));
    let is_web = after.is_some();
    let rest = after.unwrap_or(word);
    if !is_web && is_link {
        // Another scheme, a place within the page, or a file of the mail.
        return None;
    }
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = &rest[..end];
    let authority = match authority.rsplit_once('@') {
        // What stands before an @ is a user, and only there to deceive; without a scheme it is a mail address.
        Some((_, host)) if is_web => host,
        Some(_) => return None,
        None => authority,
    };
    let host = match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let is_certain = is_web || lower.starts_with("www.") || (end < rest.len() && rest.as_bytes()[end] == b'/');
    if !is_web {
        // As much as a domain: letters at the end, and a dot before them.
        let (_, top) = host.trim_end_matches('.').rsplit_once('.')?;
        if top.chars().count() < 2 || !top.chars().all(char::is_alphabetic) {
            return None;
        }
    }
    Some(Place { host: domain(host)?, is_certain })
}

/// A domain as in the DNS, in small letters and without a dot at its end; or an address. `None` for what is neither.
pub fn domain(text: &str) -> Option<String> {
    let host = url::Host::parse(text.trim_end_matches('.')).ok()?;
    Some(host.to_string())
}

/// True when a host is a domain or lies below it.
pub fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_that_look_the_same_are_the_same() {
        let check = |text: &str, expected: &str| assert_eq!(plain(text), expected, "{text}");
        check("  Big\u{a0}\n CASINO  ", "big casino");
        check("Ca\u{ad}si\u{200b}no", "casino");
        check("ＣＡＳＩＮＯ", "casino");
        check("GROẞ und STRASSE", "groß und strasse");
        check("", "");
    }

    #[test]
    fn only_what_is_read_is_read() {
        let check = |html: &str, expected: &str| assert_eq!(plain(&visible(html)), expected, "{html}");
        check("<p>Big</p><p>win</p>", "big win");
        check("fr<b>e</b>e <span title='a > b'>money</span>", "free money");
        check("<style>casino{}</style><SCRIPT>casino</SCRIPT>x<!-- casino -->y", "xy");
        check("<head><title>casino</title></head><body>ok", "ok");
        check("1 < 2 &amp; 3 &#62; 2 &nbsp;x", "1 < 2 & 3 > 2 x");
        check("<p", "");
        check("<script>never ends", "");
    }

    #[test]
    fn places_are_found_as_people_follow_them() {
        let check = |text: &str, expected: &[(&str, bool)]| {
            let found: Vec<_> = named(text).into_iter().map(|place| (place.host, place.is_certain)).collect();
            let expected: Vec<_> = expected.iter().map(|(host, certain)| ((*host).to_owned(), *certain)).collect();
            assert_eq!(found, expected, "{text}");
        };
        check("See https://Example.COM/a?b (or www.example.org).", &[("example.com", true), ("www.example.org", true)]);
        check("bit.ly/abc and example.com!", &[("bit.ly", true), ("example.com", false)]);
        check("ada@example.com, 3.50 or e.g. 1.2.3", &[]);
        check("HTTP://good.example@evil.example/", &[("evil.example", true)]);
        check("https://münchen.example", &[("xn--mnchen-3ya.example", true)]);
        check("http://192.0.2.7:80/x", &[("192.0.2.7", true)]);
        let html = "<a href='https://a.example/?x=1&amp;y'>a</a><a href='mailto:x@b.example'>b</a><img src='//c.example/p.png'><a href='#d.example/'>";
        let hosts: Vec<_> = linked(html).into_iter().map(|place| place.host).collect();
        assert_eq!(hosts, ["a.example", "c.example"]);
    }

    #[test]
    fn a_domain_covers_what_lies_below_it_and_nothing_else() {
        let check =
            |host: &str, domain: &str, expected: bool| assert_eq!(is_below(host, domain), expected, "{host} {domain}");
        check("example.com", "example.com", true);
        check("a.b.example.com", "example.com", true);
        check("notexample.com", "example.com", false);
        check("example.com.evil.test", "example.com", false);
        assert_eq!(domain("Bücher.Example."), Some("xn--bcher-kva.example".to_owned()));
        assert_eq!(domain("no such host"), None);
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(html in "[<>a-z/=\"' &#;:é!.-]{0,80}") {
            prop_assert!(plain(&visible(&html)).len() <= html.len() + 1);
            linked(&html);
            named(&html);
        }
    }
}
