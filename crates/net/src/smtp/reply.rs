//! Reads replies: `250-first line`, `250 last line`. Strict about codes, lenient about line ends; bounded.

use bytes::{Buf, BytesMut};
use model::SmtpReply;

/// Longest reply line taken, in bytes. RFC 5321 says 512; some servers add long URLs.
const LINE_MAX: usize = 4_096;
/// Most lines in one reply; long EHLO answers have about thirty.
const LINES_MAX: usize = 128;

/// A reply with its lines apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

/// Bytes that are no SMTP reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoReply(pub &'static str);

/// Takes one complete reply off the front of `inbox`, or nothing while its end is missing.
pub(super) fn take(inbox: &mut BytesMut) -> Result<Option<Reply>, NoReply> {
    let mut lines = Vec::with_capacity(1);
    let mut code = None;
    let mut used = 0;
    loop {
        let Some(length) = memchr::memchr(b'\n', &inbox[used..]) else {
            return if inbox.len() - used > LINE_MAX { Err(NoReply("a reply line is too long")) } else { Ok(None) };
        };
        if length > LINE_MAX {
            return Err(NoReply("a reply line is too long"));
        }
        let line = &inbox[used..used + length];
        used += length + 1;
        let (line_code, is_last, text) = read_line(line.strip_suffix(b"\r").unwrap_or(line))?;
        if *code.get_or_insert(line_code) != line_code {
            return Err(NoReply("the lines of a reply differ in their code"));
        }
        lines.push(text);
        if is_last {
            inbox.advance(used);
            return Ok(Some(Reply { code: line_code, lines }));
        }
        if lines.len() >= LINES_MAX {
            return Err(NoReply("a reply has too many lines"));
        }
    }
}

fn read_line(line: &[u8]) -> Result<(u16, bool, String), NoReply> {
    let [a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = line else {
        return Err(NoReply("a line does not begin with a reply code"));
    };
    let code = [a, b, c].into_iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let (is_last, text) = match rest {
        [] => (true, rest),
        [b' ', text @ ..] => (true, text),
        [b'-', text @ ..] => (false, text),
        _ => return Err(NoReply("a reply code is not followed by a space or a hyphen")),
    };
    let text: String = String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Ok((code, is_last, text))
}

impl Reply {
    /// 2xx.
    pub fn is_ok(&self) -> bool {
        self.code / 100 == 2
    }
}

impl From<Reply> for SmtpReply {
    /// Joins the lines; an enhanced code at the start of the first is taken off every line that repeats it.
    fn from(reply: Reply) -> Self {
        let enhanced = reply.lines.first().and_then(|line| enhanced(line)).map(str::to_owned);
        let mut text = String::new();
        for line in &reply.lines {
            let bare = enhanced.as_deref().and_then(|code| line.strip_prefix(code)).unwrap_or(line).trim();
            if !text.is_empty() && !bare.is_empty() {
                text.push(' ');
            }
            text.push_str(bare);
        }
        Self { code: reply.code, enhanced, text }
    }
}

/// An enhanced code (RFC 3463) such as `5.1.1` at the beginning of a line.
fn enhanced(line: &str) -> Option<&str> {
    let word = line.split([' ', ':']).next()?;
    let mut parts = word.split('.');
    let is_class = matches!(parts.next()?, "2" | "4" | "5");
    let is_number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let is_whole = is_number(parts.next()?) && is_number(parts.next()?) && parts.next().is_none();
    (is_class && is_whole).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(u16, Option<String>, String)>, NoReply> {
        let mut inbox = BytesMut::from(bytes);
        let reply = take(&mut inbox)?.map(SmtpReply::from);
        Ok(reply.map(|r| (r.code, r.enhanced, r.text)))
    }

    #[test]
    fn replies_and_their_enhanced_codes() {
        for (bytes, code, enhanced, text) in [
            ("250 2.0.0 Ok: queued as 8315E9AC918\r\n", 250, Some("2.0.0"), "Ok: queued as 8315E9AC918"),
            ("250 OK id=1abc-def\r\n", 250, None, "OK id=1abc-def"),
            ("250\r\n", 250, None, ""),
            ("250 \r\n", 250, None, ""),
            ("354 go\n", 354, None, "go"),
            (
                "550-5.1.1 The address\r\n550-5.1.1 does not\r\n550 5.1.1 exist.\r\n",
                550,
                Some("5.1.1"),
                "The address does not exist.",
            ),
            ("550 5.1.1\r\n", 550, Some("5.1.1"), ""),
            ("550 5.7.26: policy\r\n", 550, Some("5.7.26"), ": policy"),
            ("550 5.1.1x no\r\n", 550, None, "5.1.1x no"),
            ("550 1.2.3 no\r\n", 550, None, "1.2.3 no"),
            ("550 5.1.1.1 no\r\n", 550, None, "5.1.1.1 no"),
            ("421 4.7.0 bell\x07 rung\r\n", 421, Some("4.7.0"), "bell  rung"),
        ] {
            let expected = (code, enhanced.map(str::to_owned), text.to_owned());
            assert_eq!(read(bytes.as_bytes()), Ok(Some(expected)), "{bytes:?}");
        }
        assert_eq!(read(b"250 caf\xe9\r\n").unwrap().unwrap().2, "caf\u{fffd}");
    }

    #[test]
    fn an_incomplete_reply_waits_and_leaves_the_bytes_alone() {
        for bytes in ["", "2", "250", "250 half", "250-first\r\n", "250-first\r\n250 la"] {
            let mut inbox = BytesMut::from(bytes);
            assert_eq!(take(&mut inbox), Ok(None), "{bytes:?}");
            assert_eq!(inbox, bytes);
        }
    }

    #[test]
    fn replies_are_taken_one_by_one() {
        let mut inbox = BytesMut::from("250 a\r\n550-b\r\n550 c\r\n354 d");
        assert_eq!(take(&mut inbox).unwrap().unwrap().code, 250);
        assert_eq!(take(&mut inbox).unwrap().unwrap().lines, ["b", "c"]);
        assert_eq!(take(&mut inbox).unwrap(), None);
        assert_eq!(inbox, "354 d");
    }

    #[test]
    fn what_is_no_reply() {
        let long = format!("250 {}", "x".repeat(LINE_MAX + 1));
        let many = "250-x\r\n".repeat(LINES_MAX);
        for bytes in [
            "HTTP/1.1 400 Bad\r\n",
            "25 \r\n",
            "250x\r\n",
            "150 a\r\n",
            "650 a\r\n",
            "250-a\r\n251 b\r\n",
            "\r\n",
            &long,
            &many,
        ] {
            assert!(read(bytes.as_bytes()).is_err(), "{:.20}", bytes);
        }
    }
}
