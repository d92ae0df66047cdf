//! What a file is: its form, its columns and their types, decided from its first bytes.

use encoding_rs::{UTF_8, WINDOWS_1252};
use store::contact_attributes::Attribute;

use super::{
    Options, Plan, columns,
    table::{self, Cells, Form, Row},
};
use crate::FieldError;

/// Rows from which types are inferred.
const SAMPLE: usize = 1_000;

/// A plan, with where the rows begin and the first of them.
pub(super) struct Decided {
    pub(super) plan: Plan,
    /// The byte after the header.
    pub(super) begin: usize,
    /// The first rows, their ends counted from `begin`.
    pub(super) sample: Vec<Row>,
}

/// Decides from the first piece of a file. `is_whole`: there is no more of it.
pub(super) fn decide(
    options: &Options,
    piece: &[u8],
    is_whole: bool,
    schema: &[Attribute],
) -> Result<Decided, Vec<FieldError>> {
    let problem = |text: &str| vec![FieldError::new("", text)];
    let start = table::bom(piece);
    let too_long = |_| problem("a row is longer than 1 MiB; is a quote not closed, or is this another kind of file?");
    if options.is_ndjson {
        let sample = table::rows(&Form::Ndjson, &piece[start..], piece.len() - start, is_whole).map_err(too_long)?;
        let sample: Vec<Row> = sample.into_iter().take(SAMPLE).collect();
        let names = columns::of_objects(&sample);
        if names.is_empty() {
            return Err(problem("the first lines hold no JSON objects with fields"));
        }
        let columns = columns::decide(&names, &sample, &options.mapping, schema)?;
        return Ok(Decided { plan: Plan { form: Form::Ndjson, columns }, begin: start, sample });
    }
    let encoding = match &options.encoding {
        Some(label) => table::encoding(label).unwrap_or(UTF_8),
        None if start > 0 || options.is_utf8 => UTF_8,
        None => WINDOWS_1252,
    };
    let delimiter = options.delimiter.unwrap_or_else(|| char::from(table::sniff(&piece[start..])));
    let form = Form::Csv { delimiter, encoding: encoding.name().to_ascii_lowercase() };
    let mut rows = table::rows(&form, &piece[start..], piece.len() - start, is_whole).map_err(too_long)?;
    if rows.is_empty() {
        return Err(problem("the file is empty: its first row names the columns"));
    }
    let header = rows.remove(0);
    let Cells::Texts(names) = header.cells else { return Err(problem("the first row names no columns")) };
    rows.truncate(SAMPLE);
    for row in &mut rows {
        row.end -= header.end;
    }
    let columns = columns::decide(&names, &rows, &options.mapping, schema)?;
    Ok(Decided { plan: Plan { form, columns }, begin: start + header.end, sample: rows })
}
