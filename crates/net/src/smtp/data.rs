//! The message as it goes over the wire: CRLF line ends only, dots at line starts doubled.
//!
//! A server that takes a bare LF or CR for a line end would see the end of the mail where we see text, and what follows
//! as commands (SMTP smuggling, CVE-2023-51764 and its kin). So none leaves here: each becomes a CRLF, before dots are
//! doubled.

use bytes::Bytes;

/// The data ready to be followed by `.` CRLF. Borrows the bytes when nothing has to change, which is the usual case.
pub(super) fn finish(data: &Bytes) -> Bytes {
    if is_finished(data) { data.clone() } else { Bytes::from(rewritten(data)) }
}

fn is_finished(data: &[u8]) -> bool {
    if data.is_empty() {
        return true;
    }
    if data[0] == b'.' || !data.ends_with(b"\r\n") {
        return false;
    }
    let mut line_ends = 0;
    for at in memchr::memchr_iter(b'\n', data) {
        if at == 0 || data[at - 1] != b'\r' || data.get(at + 1) == Some(&b'.') {
            return false;
        }
        line_ends += 1;
    }
    // Each LF has its CR; with as many CRs as LFs there is no CR alone.
    memchr::memchr_iter(b'\r', data).count() == line_ends
}

fn rewritten(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + data.len() / 32 + 2);
    let mut is_line_start = true;
    let mut at = 0;
    while let Some(&byte) = data.get(at) {
        match byte {
            b'\r' | b'\n' => {
                out.extend_from_slice(b"\r\n");
                is_line_start = true;
                if byte == b'\r' && data.get(at + 1) == Some(&b'\n') {
                    at += 1;
                }
            }
            byte => {
                if byte == b'.' && is_line_start {
                    out.push(b'.');
                }
                out.push(byte);
                is_line_start = false;
            }
        }
        at += 1;
    }
    if !is_line_start {
        out.extend_from_slice(b"\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &str, expected: &str) {
        let finished = finish(&Bytes::copy_from_slice(given.as_bytes()));
        assert_eq!(std::str::from_utf8(&finished).unwrap(), expected, "{given:?}");
    }

    #[test]
    fn a_proper_message_is_not_copied() {
        let data = Bytes::from_static(b"Subject: x\r\n\r\nHello. There.\r\n");
        assert_eq!(finish(&data).as_ptr(), data.as_ptr());
    }

    #[test]
    fn dots_are_doubled_and_line_ends_made_whole() {
        check("", "");
        check("a", "a\r\n");
        check("a\r\n", "a\r\n");
        check(".", "..\r\n");
        check(".a\r\n..b\r\n", "..a\r\n...b\r\n");
        check("a\r\n.\r\nb", "a\r\n..\r\nb\r\n");
        check("a\n", "a\r\n");
        check("\na\r\n", "\r\na\r\n");
        check("a\rb\r\n", "a\r\nb\r\n");
        check("a\r\r\nb\r\n", "a\r\n\r\nb\r\n");
        check("a\n\rb\r\n", "a\r\n\r\nb\r\n");
        check("\r\n", "\r\n");
    }

    #[test]
    fn no_payload_smuggles_an_end_of_data() {
        for end in
            ["\n.\n", "\r\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r.\r\n", "\r\n.\r\n", "\n\n.\n", "\r\r\n.\r\r\n"]
        {
            let payload = format!("Hi{end}MAIL FROM:<evil@example.com>\r\n");
            let finished = finish(&Bytes::from(payload.clone()));
            let text = std::str::from_utf8(&finished).unwrap();
            for line in text.split("\r\n") {
                assert!(!line.contains(['\r', '\n']), "{payload:?} left a bare line end in {line:?}");
                assert_ne!(line, ".", "{payload:?}");
            }
        }
    }
}
