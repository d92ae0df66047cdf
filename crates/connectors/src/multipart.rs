//! Multipart forms (RFC 7578): written for providers that take files as uploads, read from providers that hand mails on. Nothing given can leave its part when written: names are
//! escaped, and the boundary is random.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memmem;

use crate::Request;

/// Parts of a form that are read: a mail has its headers, its texts and some files.
const PARTS_MAX: usize = 200;

/// A form under way.
#[derive(Debug)]
pub(crate) struct Form {
    boundary: String,
    body: BytesMut,
}

impl Form {
    /// An empty form. The nonce makes the boundary, so no file can hold it by chance or on purpose.
    pub(crate) fn new(nonce: u128) -> Self {
        Self { boundary: format!("tidings-{nonce:032x}"), body: BytesMut::new() }
    }

    /// Adds a field.
    pub(crate) fn text(&mut self, name: &str, text: &str) {
        let head = format!("--{}\r\ncontent-disposition: form-data; name=\"{}\"\r\n\r\n", self.boundary, quoted(name));
        self.part(&head, text.as_bytes());
    }

    /// Adds a file.
    pub(crate) fn file(&mut self, name: &str, filename: &str, content_type: &str, bytes: &[u8]) {
        let head = format!(
            "--{}\r\ncontent-disposition: form-data; name=\"{}\"; filename=\"{}\"\r\ncontent-type: {}\r\n\r\n",
            self.boundary,
            quoted(name),
            quoted(filename),
            media_type(content_type),
        );
        self.part(&head, bytes);
    }

    /// The form's content type and body.
    pub(crate) fn finish(mut self) -> (String, Bytes) {
        self.body.put_slice(format!("--{}--\r\n", self.boundary).as_bytes());
        (format!("multipart/form-data; boundary={}", self.boundary), self.body.freeze())
    }

    fn part(&mut self, head: &str, bytes: &[u8]) {
        self.body.reserve(head.len() + bytes.len() + 2);
        self.body.put_slice(head.as_bytes());
        self.body.put_slice(bytes);
        self.body.put_slice(b"\r\n");
    }
}

/// A name inside quotes, escaped as browsers do it (WHATWG HTML, multipart form data).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

fn media_type(given: &str) -> &str {
    if given.is_empty() || given.chars().any(char::is_control) { "application/octet-stream" } else { given }
}

/// One field of a form that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part<'a> {
    /// Its name.
    pub name: String,
    /// The name of the file it is.
    pub filename: Option<String>,
    /// Its media type, when it says one.
    pub content_type: Option<String>,
    /// What it holds.
    pub bytes: Cow<'a, [u8]>,
}

/// A form that was read, multipart or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fields<'a>(pub Vec<Part<'a>>);

impl<'a> Fields<'a> {
    /// Reads the form a request carries; `None` when it carries none, or a broken one.
    pub(crate) fn read(request: &Request<'a>) -> Option<Self> {
        let kind = request.header("content-type")?;
        let (media, parameters) = kind.split_once(';').unwrap_or((kind, ""));
        match media.trim().to_ascii_lowercase().as_str() {
            "application/x-www-form-urlencoded" => {
                let pairs = url::form_urlencoded::parse(request.body).take(PARTS_MAX);
                Some(Self(pairs.map(|(name, value)| Part::text(name.into_owned(), value)).collect()))
            }
            "multipart/form-data" => multipart(parameter(parameters, "boundary")?.as_bytes(), request.body).map(Self),
            _ => None,
        }
    }

    /// The first field of a name that is no file, as a text.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        self.bytes(name).map(String::from_utf8_lossy)
    }

    /// The first field of a name that is no file.
    pub(crate) fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|part| part.name == name && part.filename.is_none()).map(|part| &*part.bytes)
    }

    /// Everything that is a file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Part<'a>> {
        self.0.iter().filter(|part| part.filename.is_some())
    }
}

impl<'a> Part<'a> {
    fn text(name: String, value: Cow<'a, str>) -> Self {
        let bytes = match value {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self { name, filename: None, content_type: None, bytes }
    }
}

/// The parts between boundaries that stand at the beginning of a line.
fn multipart<'a>(boundary: &[u8], body: &'a [u8]) -> Option<Vec<Part<'a>>> {
    if boundary.is_empty() || boundary.len() > 200 {
        return None;
    }
    let mark = [b"--", boundary].concat();
    let finder = memmem::Finder::new(&mark);
    let next =
        |from: usize| finder.find_iter(&body[from..]).map(|at| at + from).find(|at| *at == 0 || body[*at - 1] == b'\n');
    let (mut parts, mut at) = (Vec::new(), next(0)? + mark.len());
    while !body[at..].starts_with(b"--") {
        if parts.len() == PARTS_MAX {
            return None;
        }
        let end = next(at)?;
        let whole = body[at..end].strip_suffix(b"\n")?;
        let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
        parts.extend(part(whole));
        at = end + mark.len();
    }
    Some(parts)
}

/// A part with its head; `None` when it has no name.
fn part(whole: &[u8]) -> Option<Part<'_>> {
    let whole = whole.strip_prefix(b"\r\n").or_else(|| whole.strip_prefix(b"\n"))?;
    let (head, bytes) = match (memmem::find(whole, b"\r\n\r\n"), memmem::find(whole, b"\n\n")) {
        (Some(at), other) if other.is_none_or(|other| at < other) => (&whole[..at], &whole[at + 4..]),
        (_, Some(at)) => (&whole[..at], &whole[at + 2..]),
        (_, None) => return None,
    };
    let head = String::from_utf8_lossy(head);
    let header = |name: &str| {
        head.lines().find_map(|line| {
            let (given, value) = line.split_once(':')?;
            given.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    };
    let disposition = header("content-disposition")?;
    let (_, parameters) = disposition.split_once(';')?;
    Some(Part {
        name: parameter(parameters, "name")?,
        filename: parameter(parameters, "filename"),
        content_type: header("content-type"),
        bytes: Cow::Borrowed(bytes),
    })
}

/// One of the parameters after a header's value, without quotes. Quotes inside are escaped as browsers or as programs do it.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    while !rest.is_empty() {
        let (given, value) = rest.split_once('=')?;
        let given = given.trim_matches(|c: char| c == ';' || c.is_whitespace());
        let (value, after) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let mut is_escaped = false;
                let end = quoted.find(|c: char| {
                    let is_end = c == '"' && !is_escaped;
                    is_escaped = c == '\\' && !is_escaped;
                    is_end
                })?;
                (quoted[..end].replace("\\\"", "\"").replace("%22", "\""), &quoted[end + 1..])
            }
            None => {
                let end = value.find(';').unwrap_or(value.len());
                (value[..end].trim().to_owned(), &value[end..])
            }
        };
        if given.eq_ignore_ascii_case(name) {
            return Some(value);
        }
        rest = after.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_header() {
        assert_eq!(quoted("a\"; name=\"chat_id\"\r\n\r\n7"), "a%22; name=%22chat_id%22%0D%0A%0D%0A7");
        assert_eq!(media_type("image/png\r\nx: y"), "application/octet-stream");
        assert_eq!(media_type("image/png"), "image/png");
    }

    #[test]
    fn a_form_is_written_as_the_standard_shows_it() {
        let mut form = Form::new(0);
        form.text("to", "a@example.com");
        form.file("attachment", "a.txt", "text/plain", b"abc");
        let (kind, body) = form.finish();
        let boundary = "tidings-00000000000000000000000000000000";
        assert_eq!(kind, format!("multipart/form-data; boundary={boundary}"));
        let wanted = format!(
            "--{boundary}\r\ncontent-disposition: form-data; name=\"to\"\r\n\r\na@example.com\r\n--{boundary}\r\n\
             content-disposition: form-data; name=\"attachment\"; filename=\"a.txt\"\r\ncontent-type: text/plain\r\n\r\nabc\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body.to_vec()).unwrap(), wanted);
    }

    type Read = (String, Option<String>, Option<String>, Vec<u8>);

    fn fields(kind: &str, body: &[u8]) -> Option<Vec<Read>> {
        let headers = [("content-type".to_owned(), kind.to_owned())];
        let request = Request { method: "POST", path: "", query: "", headers: &headers, body };
        let parts = Fields::read(&request)?.0.into_iter();
        Some(parts.map(|p| (p.name, p.filename, p.content_type, p.bytes.into_owned())).collect())
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut form = Form::new(7);
        form.text("subject", "Re: a\r\nb");
        form.file("attachment-1", "a \"b\".bin", "image/png", b"\r\n--tidings\n\0");
        let (kind, body) = form.finish();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            fields(&kind, &body).unwrap(),
            [
                ("subject".to_owned(), None, None, b"Re: a\r\nb".to_vec()),
                ("attachment-1".to_owned(), some("a \"b\".bin"), some("image/png"), b"\r\n--tidings\n\0".to_vec()),
            ]
        );
        for end in 0..body.len() - 4 {
            assert_eq!(fields(&kind, &body[..end]), None, "cut at {end}");
        }
    }

    #[test]
    fn forms_of_both_kinds_and_neither() {
        let names = |kind: &str, body: &str| {
            fields(kind, body.as_bytes()).map(|parts| parts.into_iter().map(|part| part.0).collect::<Vec<_>>())
        };
        assert_eq!(names("application/x-www-form-urlencoded; charset=utf-8", "a=1&b%20c=2").unwrap(), ["a", "b c"]);
        assert_eq!(
            names(
                "multipart/form-data; boundary=\"x y\"",
                "--x y\ncontent-disposition: form-data; name=a\n\n1\n--x y--"
            )
            .unwrap(),
            ["a"]
        );
        for (kind, body) in [
            ("application/json", "{}"),
            ("multipart/form-data", "--x--"),
            ("multipart/form-data; boundary=x", ""),
            ("multipart/form-data; boundary=", "----"),
            ("multipart/form-data; boundary=x", "--x\r\n"),
        ] {
            assert_eq!(names(kind, body), None, "{kind} {body}");
        }
        let many = "--x\nContent-Disposition: form-data; name=a\n\n1\n".repeat(PARTS_MAX + 1) + "--x--";
        assert_eq!(names("multipart/form-data; boundary=x", &many), None);
    }
}
