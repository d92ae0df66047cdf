//! A file as rows: CSV in any encoding built on ASCII and with any usual delimiter, or one JSON object per line. Reads a piece of the file at a time; a row begins at a byte that
//! is remembered, so reading can go on from there at any time.

use std::borrow::Cow;

use encoding_rs::Encoding;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Longest row, in bytes: longer is a quote that was never closed.
pub const ROW_MAX: usize = 1 << 20;
/// Delimiters that are looked for.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Lines looked at to find the delimiter.
const SNIFFED_LINES: usize = 20;

/// In which form the rows are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum Form {
    /// A table with a header.
    Csv {
        /// Between cells.
        delimiter: char,
        /// The encoding's name by the WHATWG standard.
        encoding: String,
    },
    /// One JSON object per line, in UTF-8.
    Ndjson,
}

/// A row and where it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Bytes from the start of the piece to the end of the row.
    pub end: usize,
    /// The cells, or the fields of the object.
    pub cells: Cells,
}

/// What a row holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Texts, in the order of the columns.
    Texts(Vec<String>),
    /// Fields by name.
    Fields(Map<String, Value>),
    /// A line that is no JSON object: why.
    Unreadable(String),
}

/// A row that is too long to be one.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLong;

/// Reads the rows of a piece that begin before `until`. With `is_last` the file ends with the piece; otherwise its last row may go on.
pub fn rows(form: &Form, piece: &[u8], until: usize, is_last: bool) -> Result<Vec<Row>, TooLong> {
    match form {
        Form::Csv { delimiter, encoding } => table_rows(piece, until, is_last, *delimiter as u8, encoding),
        Form::Ndjson => object_rows(piece, until, is_last),
    }
}

fn table_rows(piece: &[u8], until: usize, is_last: bool, delimiter: u8, encoding: &str) -> Result<Vec<Row>, TooLong> {
    let encoding = Encoding::for_label(encoding.as_bytes()).unwrap_or(encoding_rs::UTF_8);
    let mut reader =
        csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(delimiter).from_reader(piece);
    let mut record = csv::ByteRecord::new();
    let mut rows = Vec::new();
    let mut begin = 0;
    while begin < until && reader.read_byte_record(&mut record).is_ok_and(|is_row| is_row) {
        let end = usize::try_from(reader.position().byte()).unwrap_or(piece.len());
        if end - begin > ROW_MAX || (end >= piece.len() && !is_last) {
            return if begin == 0 || end - begin > ROW_MAX { Err(TooLong) } else { Ok(rows) };
        }
        let cells = record.iter().map(|cell| decode(encoding, cell)).collect();
        rows.push(Row { end, cells: Cells::Texts(cells) });
        begin = end;
    }
    Ok(rows)
}

fn decode(encoding: &'static Encoding, cell: &[u8]) -> String {
    if encoding == encoding_rs::UTF_8
        && let Ok(text) = std::str::from_utf8(cell)
    {
        return text.to_owned();
    }
    encoding.decode_without_bom_handling(cell).0.into_owned()
}

fn object_rows(piece: &[u8], until: usize, is_last: bool) -> Result<Vec<Row>, TooLong> {
    let mut rows = Vec::new();
    let mut begin = 0;
    while begin < until.min(piece.len()) {
        let length = piece[begin..].iter().position(|byte| *byte == b'\n');
        let (line, end) = match length {
            Some(length) => (&piece[begin..begin + length], begin + length + 1),
            None if is_last => (&piece[begin..], piece.len()),
            None => return if piece.len() - begin > ROW_MAX { Err(TooLong) } else { Ok(rows) },
        };
        if line.len() > ROW_MAX {
            return Err(TooLong);
        }
        begin = end;
        if line.iter().all(u8::is_ascii_whitespace) {
            // An empty line is no row, but the next row begins after it.
            if let Some(last) = rows.last_mut() {
                let last: &mut Row = last;
                last.end = end;
            }
            continue;
        }
        let cells = match serde_json::from_slice(line) {
            Ok(fields) => Cells::Fields(fields),
            Err(error) => Cells::Unreadable(format!("the line is not a JSON object: {error}")),
        };
        rows.push(Row { end, cells });
    }
    Ok(rows)
}

/// Bytes of a byte order mark the file begins with.
pub fn bom(bytes: &[u8]) -> usize {
    if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 }
}

/// The delimiter that cuts the first lines into the most cells, each line into as many.
pub fn sniff(bytes: &[u8]) -> u8 {
    let score = |delimiter: &u8| {
        let mut reader =
            csv::ReaderBuilder::new().has_headers(false).flexible(true).delimiter(*delimiter).from_reader(bytes);
        let widths: Vec<usize> =
            reader.byte_records().take(SNIFFED_LINES).map_while(Result::ok).map(|record| record.len()).collect();
        let first = widths.first().copied().unwrap_or(0);
        let alike = widths.iter().filter(|width| **width == first).count();
        if first < 2 { 0 } else { alike * 1_000 + first.min(999) }
    };
    // The first of equals: a comma.
    DELIMITERS.iter().rev().max_by_key(|delimiter| score(delimiter)).copied().unwrap_or(b',')
}

/// An encoding by one of its names. Only such as can be read from any row on, and whose commas and quotes are ASCII's.
pub fn encoding(label: &str) -> Option<&'static Encoding> {
    let found = Encoding::for_label_no_replacement(label.trim().as_bytes())?;
    (found != encoding_rs::ISO_2022_JP && found != encoding_rs::X_USER_DEFINED).then_some(found)
}

/// A cell without the apostrophe that keeps spreadsheets from taking it for a formula.
pub fn unguarded(cell: &str) -> Cow<'_, str> {
    match cell.strip_prefix('\'') {
        Some(rest) if rest.starts_with(GUARDED) => Cow::Owned(rest.to_owned()),
        _ => Cow::Borrowed(cell),
    }
}

/// What a cell begins with that gets an apostrophe in front when it is written.
pub const GUARDED: [char; 6] = ['=', '+', '-', '@', '\'', '\t'];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn csv(delimiter: char, encoding: &str) -> Form {
        Form::Csv { delimiter, encoding: encoding.to_owned() }
    }

    fn texts(rows: &[Row]) -> Vec<Vec<String>> {
        rows.iter()
            .map(|row| match &row.cells {
                Cells::Texts(texts) => texts.clone(),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn cells_are_cut_and_decoded() {
        let check = |form: &Form, bytes: &[u8], expected: &[&[&str]]| {
            assert_eq!(texts(&rows(form, bytes, bytes.len(), true).unwrap()), expected, "{bytes:?}");
        };
        check(&csv(',', "utf-8"), b"a,\"b, \"\"c\"\"\nd\",e\r\nf", &[&["a", "b, \"c\"\nd", "e"], &["f"]]);
        check(&csv(';', "windows-1252"), b"M\xfcller;\x80 5\n", &[&["Müller", "€ 5"]]);
        check(&csv('\t', "shift_jis"), b"\x93\xfa\x96\x7b\t1\n", &[&["日本", "1"]]);
        check(&csv(',', "utf-8"), b"", &[]);
    }

    #[test]
    fn a_row_that_may_go_on_is_left_for_the_next_piece() {
        let all = b"a,b\nc,\"d\ne\"\nf,g\n";
        for cut in 0..all.len() {
            let read = rows(&csv(',', "utf-8"), &all[..cut], cut, false);
            let first = read.map_or(0, |rows| rows.last().map_or(0, |row| row.end));
            let rest = rows(&csv(',', "utf-8"), &all[first..], all.len(), true).unwrap();
            let whole = texts(&rows(&csv(',', "utf-8"), all, all.len(), true).unwrap());
            assert_eq!(texts(&rest), whole[whole.len() - rest.len()..], "cut at {cut}");
        }
    }

    #[test]
    fn only_rows_that_begin_before_the_end_are_read() {
        let read = rows(&csv(',', "utf-8"), b"a\nb\nc\n", 3, true).unwrap();
        assert_eq!(read.iter().map(|row| row.end).collect::<Vec<_>>(), [2, 4]);
        let read = rows(&Form::Ndjson, b"{}\n\n{}\n", 3, true).unwrap();
        assert_eq!(read.iter().map(|row| row.end).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn lines_are_objects() {
        let read = rows(&Form::Ndjson, b"{\"a\": 1}\n\n[1]\n{\"b\": 2}", 100, true).unwrap();
        let kinds: Vec<bool> = read.iter().map(|row| matches!(row.cells, Cells::Fields(_))).collect();
        assert_eq!(kinds, [true, false, true]);
        assert_eq!(read[0].end, 10, "the empty line belongs to the row before");
    }

    #[test]
    fn a_quote_without_end_is_noticed() {
        let long = format!("a\n\"{}", "x".repeat(ROW_MAX));
        assert_eq!(rows(&csv(',', "utf-8"), long.as_bytes(), 10, true), Err(TooLong));
        let line = format!("{{\"a\": \"{}", "x".repeat(ROW_MAX));
        assert_eq!(rows(&Form::Ndjson, line.as_bytes(), 10, false), Err(TooLong));
    }

    #[test]
    fn delimiters_are_found() {
        for (text, expected) in [
            ("a,b\n1,2\n", b','),
            ("a;b\n\"1,5\";2\n", b';'),
            ("a\tb c\n1\t2, 3\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("email\nada@example.com\n", b','),
            ("name;note\nAda;\"x, y, z\"\nBob;\"a, b, c\"\n", b';'),
        ] {
            assert_eq!(sniff(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        /// What an export writes is read as it was, whatever people wrote and into whatever pieces the file is cut.
        #[test]
        fn what_is_written_comes_back(
            (width, cells) in (2_usize..5).prop_flat_map(|width| (Just(width), prop::collection::vec("[\\PC\"',;=+@|\t\n-]{0,9}", width..width * 12))),
            piece in 1_usize..60,
        ) {
            let wanted: Vec<Vec<String>> = cells.chunks_exact(width).map(<[String]>::to_vec).collect();
            let bytes = crate::contacts::export::table(&wanted);
            let (mut at, mut long, mut found) = (0, piece, Vec::new());
            while at < bytes.len() {
                let end = (at + long).min(bytes.len());
                let is_last = end == bytes.len();
                match rows(&csv(',', "utf-8"), &bytes[at..end], end - at, is_last) {
                    Ok(read) if is_last || !read.is_empty() => {
                        found.extend(texts(&read));
                        at = if is_last { end } else { at + read.last().map_or(0, |row| row.end) };
                        long = piece;
                    }
                    // The row is longer than the piece: more of the file is read with it.
                    _ => long += piece,
                }
            }
            let found: Vec<Vec<String>> =
                found.into_iter().map(|row| row.iter().map(|cell| unguarded(cell).into_owned()).collect()).collect();
            prop_assert_eq!(found, wanted);
        }
    }

    #[test]
    fn apostrophes_before_formulas_go() {
        for (cell, expected) in [("'+1555", "+1555"), ("'=1", "=1"), ("''x", "'x"), ("'x", "'x"), ("x", "x")] {
            assert_eq!(unguarded(cell), expected);
        }
    }
}
