//! Writes multipart forms (RFC 7578) for providers that take files as uploads. Nothing given can leave its part: names are escaped, and the
//! boundary is random.

use bytes::{BufMut, Bytes, BytesMut};

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
}
