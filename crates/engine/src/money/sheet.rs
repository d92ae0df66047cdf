//! Price lists as tables: the columns of a list's rows by their names in JSON, one row a line, read and written. A table is read as a whole or not at all; what is wrong is told by line.

use std::collections::BTreeMap;

use model::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::prices::{self, About, FAULTS_MAX, NewPriceList, PriceRow, ROWS_MAX};
use crate::{
    Error, Parts, audit,
    csv::{Csv, Lines},
    keys::Caller,
    names::Faults,
    once::{Repeat, Reply},
};

/// The columns, in the order they are written in.
pub const COLUMNS: [&str; 10] = [
    "channel",
    "provider",
    "country",
    "prefix",
    "category",
    "purpose",
    "unit",
    "amount_micros",
    "cost_micros",
    "markup_basis_points",
];

/// A price list to be made of a table.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceTable {
    /// ISO 4217 currency of all its amounts.
    #[schema(example = "USD")]
    pub currency: String,
    /// From when it counts; at once when left out. Not in the past.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub valid_from: Option<Timestamp>,
    /// What people should know about it.
    #[serde(default)]
    pub note: Option<String>,
    /// The table: the names of the columns in the first line, separated by commas or semicolons. At most 10,000 rows.
    #[schema(example = "channel,country,unit,amount_micros\r\nsms,IN,segment,4500\r\n")]
    pub csv: String,
    /// Only says what would come of it.
    #[serde(default)]
    pub dry_run: bool,
}

/// What would come of a table.
#[derive(Debug, Serialize, ToSchema)]
pub struct PriceImport {
    /// Always true: a table that is really imported answers the new list.
    pub dry_run: bool,
    /// Rows that were read.
    pub rows: usize,
    /// Rows about messages the list of today has no row about.
    pub added: usize,
    /// Rows with another price than the list of today.
    pub changed: usize,
    /// Rows of the list of today that are missing.
    pub removed: usize,
    /// What is wrong, by line; nothing when the table can be imported. At most 100.
    pub errors: Vec<LineError>,
}

/// What is wrong with a line.
#[derive(Debug, Serialize, PartialEq, Eq, ToSchema)]
pub struct LineError {
    /// Which line, as an editor counts them: the names of the columns are in line 1.
    pub line: u64,
    /// Which column; empty when it is about the whole line.
    pub column: String,
    /// What is wrong, and what to do.
    pub detail: String,
}

/// Makes a price list of a table, or only says what would come of it. Needs an operator with the scope `prices:write`.
#[crate::boxed]
pub async fn import(parts: &Parts, caller: &Caller, repeat: &Repeat, table: PriceTable) -> Result<Reply, Error> {
    caller.need_operator("prices:write")?;
    let now = parts.ports.clock.now();
    let mut head = Faults::default();
    let (currency, valid_from, _) =
        prices::check_head(&table.currency, table.valid_from, table.note.as_deref(), now, &mut head);
    head.end()?;
    let (rows, lines, mut faults) = read(&table.csv)?;
    prices::check_rows(&rows, |index| format!("/lines/{}", lines.get(index).copied().unwrap_or(0)), &mut faults);
    if table.dry_run {
        let current = prices::current(parts, &currency, valid_from, now).await?;
        let body = serde_json::to_vec(&compare(&rows, &current, faults)).map_err(Error::internal)?;
        return Ok(Reply { status: 200, body, replayed: false });
    }
    told(faults)?;
    let new = NewPriceList { currency: table.currency, valid_from: table.valid_from, note: table.note, rows };
    prices::create(parts, caller, repeat, new).await
}

/// The rows of a table, to try them out. What is wrong is told line by line.
pub fn rows(csv: &str) -> Result<Vec<PriceRow>, Error> {
    let (rows, _, faults) = read(csv)?;
    told(faults)?;
    Ok(rows)
}

/// Ends the check of a table: everything wrong with it is wrong with one field, line by line.
fn told(faults: Faults) -> Result<(), Error> {
    let mut told = Faults::default();
    for fault in faults.0 {
        let LineError { line, column, detail } = line_error(&fault.pointer, fault.detail);
        told.add(
            "/csv",
            match (line, column.as_str()) {
                (0, _) => detail,
                (line, "") => format!("line {line}: {detail}"),
                (line, column) => format!("line {line}, {column}: {detail}"),
            },
        );
    }
    told.end()
}

/// A price list as a table; the newest when no version is named. Needs the scope `prices:read`; only an operator sees what providers take. That somebody took it is in the audit log.
#[crate::boxed]
pub async fn export(parts: &Parts, caller: &Caller, version: Option<i64>) -> Result<Vec<u8>, Error> {
    let list = prices::get(parts, caller, version).await?;
    let asked = json!({"version": list.version});
    audit::note_export(parts, caller, "prices.exported", caller.owner(), list.rows.len(), &asked).await?;
    Ok(write(&list.rows))
}

fn write(rows: &[PriceRow]) -> Vec<u8> {
    let mut csv = Csv::with_header(&COLUMNS);
    for row in rows {
        let number = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
        let cells = [
            row.channel.to_string(),
            row.provider.clone().unwrap_or_default(),
            row.country.clone().unwrap_or_default(),
            row.prefix.clone().unwrap_or_default(),
            row.category.map(|category| category.as_str().to_owned()).unwrap_or_default(),
            row.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
            row.unit.as_str().to_owned(),
            number(row.amount_micros),
            number(row.cost_micros),
            number(row.markup_basis_points),
        ];
        csv.row(cells.iter().map(String::as_str));
    }
    csv.into_bytes()
}

/// Reads a table: its rows, the line each stands in, and what cannot be read. A table that is none is refused as a whole.
fn read(table: &str) -> Result<(Vec<PriceRow>, Vec<u64>, Faults), Error> {
    let text = table.trim_start_matches('\u{feff}');
    let first = text.lines().next().unwrap_or_default();
    let delimiter = if first.contains(';') && !first.contains(',') { b';' } else { b',' };
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let names: Vec<String> = match reader.headers() {
        Ok(names) => names.iter().map(|name| name.trim().to_ascii_lowercase()).collect(),
        Err(error) => return Err(Error::invalid("/csv", format!("line 1: {error}"))),
    };
    let mut faults = Faults::default();
    for name in names.iter().filter(|name| !COLUMNS.contains(&name.as_str())) {
        faults.add("/lines/1", format!("there is no column `{name}`; there are {}", COLUMNS.join(", ")));
    }
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) && COLUMNS.contains(&name.as_str()) {
            faults.add("/lines/1", format!("the column `{name}` stands there twice; leave one of them out"));
        }
    }
    for needed in ["channel", "unit"] {
        if !names.iter().any(|name| name == needed) {
            faults.add("/lines/1", format!("the column `{needed}` is missing"));
        }
    }
    told(std::mem::take(&mut faults))?;
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    let mut counted = Lines::of(text);
    for record in reader.records() {
        let record = record.map_err(|error| Error::invalid("/csv", error.to_string()))?;
        let line = counted.at(record.position().map_or(0, |position| position.byte() as usize));
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if rows.len() == ROWS_MAX {
            return Err(Error::invalid("/csv", format!("at most {ROWS_MAX} rows")));
        }
        if record.len() != names.len() {
            faults.add(
                format!("/lines/{line}"),
                format!("{} cells where the first line has {}", record.len(), names.len()),
            );
        } else if let Some(row) = row(&names, &record, line, &mut faults) {
            rows.push(row);
            lines.push(line);
        }
        if faults.0.len() >= FAULTS_MAX {
            break;
        }
    }
    if rows.is_empty() && faults.0.is_empty() {
        faults.add("/lines", "the table has no rows; each is one line below the names of the columns");
    }
    Ok((rows, lines, faults))
}

fn row(names: &[String], record: &csv::StringRecord, line: u64, faults: &mut Faults) -> Option<PriceRow> {
    let before = faults.0.len();
    // Cells that the export disarmed for spreadsheets come back with their apostrophe.
    let cells: BTreeMap<&str, &str> = names
        .iter()
        .map(String::as_str)
        .zip(record.iter().map(|cell| cell.trim().trim_start_matches('\'')))
        .filter(|(_, cell)| !cell.is_empty())
        .collect();
    let text = |name: &str| cells.get(name).map(|cell| (*cell).to_owned());
    let mut fault = |name: &str, detail: String| faults.add(format!("/lines/{line}/{name}"), detail);
    let channel = cells.get("channel").map_or(Err("a channel is needed".to_owned()), |word| word.parse());
    let channel = channel.map_err(|detail| fault("channel", detail)).ok();
    let units = || super::book::PriceUnit::ALL.map(super::book::PriceUnit::as_str).join(", ");
    let unit =
        cells.get("unit").and_then(|word| super::book::PriceUnit::ALL.into_iter().find(|unit| unit.as_str() == *word));
    if unit.is_none() {
        fault("unit", format!("expected one of {}", units()));
    }
    let mut category = None;
    if let Some(word) = cells.get("category") {
        category = super::book::Category::parse(word);
        if category.is_none() {
            let all = super::book::Category::ALL.map(super::book::Category::as_str).join(", ");
            fault("category", format!("expected one of {all}"));
        }
    }
    let purpose = cells.get("purpose").map(|word| word.parse()).transpose();
    let purpose = purpose.map_err(|detail: String| fault("purpose", detail)).ok().flatten();
    let mut number = |name: &str| {
        let number = cells.get(name).map(|cell| cell.parse::<i64>()).transpose();
        number
            .map_err(|_| fault(name, "expected a whole number of millionths, without separators".to_owned()))
            .ok()
            .flatten()
    };
    let (amount_micros, cost_micros) = (number("amount_micros"), number("cost_micros"));
    let markup_basis_points = number("markup_basis_points");
    let row = PriceRow {
        channel: channel?,
        provider: text("provider"),
        country: text("country"),
        prefix: text("prefix"),
        category,
        purpose,
        unit: unit?,
        amount_micros,
        cost_micros,
        markup_basis_points,
    };
    (faults.0.len() == before).then_some(row)
}

/// What a table changes, and what is wrong with it.
fn compare(rows: &[PriceRow], current: &[PriceRow], faults: Faults) -> PriceImport {
    let known: std::collections::HashMap<About, &PriceRow> = current.iter().map(|row| (row.about(), row)).collect();
    let mut report =
        PriceImport { dry_run: true, rows: rows.len(), added: 0, changed: 0, removed: 0, errors: Vec::new() };
    let mut met = std::collections::HashSet::new();
    for row in rows {
        let about = row.about();
        match known.get(&about) {
            None => report.added += 1,
            Some(before) => {
                report.changed += usize::from(*before != row);
                met.insert(about);
            }
        }
    }
    report.removed = known.len() - met.len();
    report.errors = faults.0.into_iter().map(|fault| line_error(&fault.pointer, fault.detail)).collect();
    report
}

/// A fault at `/lines/{line}/{column}` as a line of the report.
fn line_error(pointer: &str, detail: String) -> LineError {
    let mut parts = pointer.split('/').skip(2);
    let line = parts.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    LineError { line, column: parts.next().unwrap_or_default().to_owned(), detail }
}

#[cfg(test)]
mod tests {
    use model::Channel;

    use super::*;
    use crate::money::book::PriceUnit;

    #[test]
    fn a_list_survives_its_table() {
        let rows = vec![
            PriceRow {
                country: Some("IN".to_owned()),
                cost_micros: Some(3),
                ..PriceRow::new(Channel::Sms, PriceUnit::Segment, 7)
            },
            PriceRow {
                amount_micros: None,
                cost_micros: Some(400),
                markup_basis_points: Some(2_500),
                ..PriceRow::new(Channel::Email, PriceUnit::Thousand, 0)
            },
        ];
        let (read, lines, faults) = read(&String::from_utf8(write(&rows)).unwrap()).unwrap();
        assert_eq!((read, lines, faults.0), (rows, vec![2, 3], Vec::new()));
    }

    #[test]
    fn what_is_wrong_is_told_by_line() {
        let table = "channel;unit;amount_micros;prefix\r\nsms;segment;7;\r\n\r\npigeon;flight;x;\r\nsms;segment;7\r\nsms;segment;9;\r\n";
        let (rows, lines, mut faults) = read(table).unwrap();
        prices::check_rows(&rows, |index| format!("/lines/{}", lines[index]), &mut faults);
        let report = compare(&rows, &[PriceRow::new(Channel::Sms, PriceUnit::Segment, 5)], faults);
        let places: Vec<_> = report.errors.iter().map(|error| (error.line, error.column.as_str())).collect();
        assert_eq!(places, [(4, "channel"), (4, "unit"), (4, "amount_micros"), (5, ""), (6, "")]);
        assert_eq!((report.rows, report.added, report.changed, report.removed), (2, 0, 2, 0));
        let refused = |table: &str| read(table).unwrap_err().errors[0].detail.clone();
        assert!(refused("channel,unit,colour\nsms,segment,red\n").starts_with("line 1: there is no column `colour`"));
        assert_eq!(refused("channel\nsms\n"), "line 1: the column `unit` is missing");
        assert!(
            refused("channel,Unit,unit\nsms,segment,message\n")
                .starts_with("line 1: the column `unit` stands there twice")
        );
        assert_eq!(read("channel,unit\n").unwrap().2.0[0].pointer, "/lines");
    }
}
