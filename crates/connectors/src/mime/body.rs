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
    let beyond = if text.is_ascii() { 0 } else { text.iter().filter(|byte| !byte.is_ascii()).count() };
    if beyond > text.len() / 6 {
        return Transfer::Base64;
    }
    // Written without branches, so that many bytes are looked at in one step.
    let odd = text
        .iter()
        .fold(false, |odd, &b| odd | ((b < b' ') & (b != b'\t') & (b != b'\n') & (b != b'\r')) | (b == 0x7f));
    let mut longest = 0;
    each_line(text, |line, _| longest = longest.max(line.len()));
    let is_safe = beyond == 0 && !odd && longest <= LINE_MAX;
    if is_safe { Transfer::SevenBit } else { Transfer::QuotedPrintable }
}

/// Calls `write` with each line and whether it is the last. Lines end at CRLF, LF or CR.
fn each_line(text: &[u8], mut write: impl FnMut(&[u8], bool)) {
    let mut rest = text;
    while let Some(end) = memchr::memchr2(b'\n', b'\r', rest) {
        write(&rest[..end], false);
        let is_pair = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
        rest = &rest[end + if is_pair { 2 } else { 1 }..];
    }
    write(rest, true);
}

/// Bytes that stand for themselves in quoted-printable. Spaces and tabs do too, unless they end the line.
const LITERAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        table[byte as usize] = byte != b'=';
        byte += 1;
    }
    table[b'\t' as usize] = true;
    table
};

/// Writes one line. Literal bytes go in runs; one column is kept for the soft line break.
fn quoted_printable(out: &mut Vec<u8>, line: &[u8]) {
    let body = line.trim_ascii_end();
    let mut column = 0;
    let mut rest = body;
    while !rest.is_empty() {
        let room = COLUMNS - 1 - column;
        let run = rest.iter().take(room).take_while(|byte| LITERAL[usize::from(**byte)]).count();
        out.extend_from_slice(&rest[..run]);
        column += run;
        rest = &rest[run..];
        let Some(&byte) = rest.first() else { break };
        if LITERAL[usize::from(byte)] || column + 3 > COLUMNS - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if !LITERAL[usize::from(byte)] {
            escaped(out, byte);
            column += 3;
            rest = &rest[1..];
        }
    }
    for &byte in &line[body.len()..] {
        if column + 3 > COLUMNS - 1 {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        escaped(out, byte);
        column += 3;
    }
}

fn escaped(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
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
