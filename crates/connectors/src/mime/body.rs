//! Texts and files as the lines of a mail: as they are where that is safe, quoted-printable or base64 otherwise (RFC 2045 6).

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::header::plain;

/// Longest line written as it is. Far below 998, since some servers cut earlier than the standard lets them.
const LINE_MAX: usize = 500;
/// Columns of an encoded line, without the line end.
const COLUMNS: usize = 76;
/// Bytes that make one line of base64.
const BASE64_LINE: usize = COLUMNS / 4 * 3;
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// How a text travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transfer {
    SevenBit,
    QuotedPrintable,
    Base64,
}

/// Writes a text part: its two headers, an empty line, its lines. The text's line ends, of whatever kind, become CRLF.
pub(super) fn text(out: &mut Vec<u8>, kind: &str, text: &str) {
    plain(out, "Content-Type", &format!("{kind}; charset=utf-8"));
    let transfer = choose(text.as_bytes());
    let name = match transfer {
        Transfer::SevenBit => "7bit",
        Transfer::QuotedPrintable => "quoted-printable",
        Transfer::Base64 => "base64",
    };
    plain(out, "Content-Transfer-Encoding", name);
    out.extend_from_slice(b"\r\n");
    match transfer {
        Transfer::SevenBit => each_line(text.as_bytes(), |line, is_last| {
            out.extend_from_slice(line);
            if !is_last {
                out.extend_from_slice(b"\r\n");
            }
        }),
        Transfer::QuotedPrintable => each_line(text.as_bytes(), |line, is_last| {
            quoted_printable(out, line);
            if !is_last {
                out.extend_from_slice(b"\r\n");
            }
        }),
        Transfer::Base64 => {
            let mut normal = Vec::with_capacity(text.len() + 64);
            each_line(text.as_bytes(), |line, is_last| {
                normal.extend_from_slice(line);
                if !is_last {
                    normal.extend_from_slice(b"\r\n");
                }
            });
            base64(out, &normal);
        }
    }
}

/// Writes bytes as lines of base64.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    for (index, line) in bytes.chunks(BASE64_LINE).enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let start = out.len();
        out.resize(start + COLUMNS, 0);
        let written = STANDARD.encode_slice(line, &mut out[start..]).expect("57 bytes are 76 characters of base64");
        out.truncate(start + written);
    }
}

/// Plain ASCII in short lines stays as it is. Otherwise quoted-printable, except where more than a sixth is beyond ASCII: there it would
/// be longer than base64.
fn choose(text: &[u8]) -> Transfer {
    let (mut line, mut longest, mut beyond, mut odd) = (0_usize, 0_usize, 0_usize, false);
    for &byte in text {
        line += 1;
        match byte {
            b'\n' | b'\r' => {
                longest = longest.max(line);
                line = 0;
            }
            b' '..=b'~' | b'\t' => {}
            0x80.. => beyond += 1,
            _ => odd = true,
        }
    }
    if beyond > text.len() / 6 {
        return Transfer::Base64;
    }
    let is_safe = beyond == 0 && !odd && longest.max(line) <= LINE_MAX;
    if is_safe { Transfer::SevenBit } else { Transfer::QuotedPrintable }
}

/// Calls `write` with each line and whether it is the last. Lines end at CRLF, LF or CR.
fn each_line(text: &[u8], mut write: impl FnMut(&[u8], bool)) {
    let mut rest = text;
    while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
        write(&rest[..end], false);
        let is_pair = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
        rest = &rest[end + if is_pair { 2 } else { 1 }..];
    }
    write(rest, true);
}

fn quoted_printable(out: &mut Vec<u8>, line: &[u8]) {
    let mut column = 0;
    for (index, &byte) in line.iter().enumerate() {
        let is_last = index + 1 == line.len();
        let is_literal = match byte {
            b'=' => false,
            b'!'..=b'~' => true,
            b' ' | b'\t' => !is_last,
            _ => false,
        };
        let width = if is_literal { 1 } else { 3 };
        // One column is kept for the soft line break, except at the end of the line.
        if column + width > COLUMNS - usize::from(!is_last) {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if is_literal {
            out.push(byte);
        } else {
            out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        column += width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(words: &str) -> String {
        let mut out = Vec::new();
        text(&mut out, "text/plain", words);
        String::from_utf8(out).unwrap().split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    #[test]
    fn the_shortest_safe_transfer_is_chosen() {
        assert_eq!(choose(b"plain\r\ntext\t."), Transfer::SevenBit);
        assert_eq!(choose("ein Gruß aus Köln am Rhein".as_bytes()), Transfer::QuotedPrintable);
        assert_eq!(choose(&[b'x'; 501]), Transfer::QuotedPrintable);
        assert_eq!(choose(b"nul\0"), Transfer::QuotedPrintable);
        assert_eq!(choose("日本語のテキスト".as_bytes()), Transfer::Base64);
    }

    #[test]
    fn line_ends_become_crlf() {
        assert_eq!(written("a\nb\r\nc\rd\n"), "a\r\nb\r\nc\r\nd\r\n");
        assert_eq!(written("ä long enough line\n = 1 \n"), "=C3=A4 long enough line\r\n =3D 1=20\r\n");
    }

    #[test]
    fn encoded_lines_stay_within_76_columns() {
        for length in 70..240 {
            let lines = written(&format!("{}ü\u{7f}", "x".repeat(length)));
            assert!(lines.split("\r\n").all(|line| line.len() <= COLUMNS), "{lines}");
        }
        assert!(written(&"日本語".repeat(99)).split("\r\n").all(|line| line.len() <= COLUMNS));
    }
}
