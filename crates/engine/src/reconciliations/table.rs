//! Reading a provider's messages from a table somebody exported: whatever its columns are called, one of them has the provider's ids.

use model::Timestamp;
use store::reconciliations::Record;

use crate::Error;

/// Rows of a table at most: what fits a request body, and is written in one transaction.
const ROWS_MAX: usize = 100_000;
/// Longest id of a provider, in characters.
const ID_MAX: usize = 200;
/// What the columns are called, without case and marks.
const ID: &[&str] = &["sid", "id", "messageid", "messagesid", "providermessageid", "messageuuid", "smtpid"];
const AT: &[&str] = &["at", "date", "datesent", "sentat", "sent", "timestamp", "time", "datecreated"];
const PRICE: &[&str] = &["price", "cost", "amount", "totalprice"];
const CURRENCY: &[&str] = &["currency", "priceunit"];

/// Reads a table into records that are to be compared.
pub(crate) fn read(text: &str) -> Result<Vec<Record>, Error> {
    let bad = |detail: String| Error::invalid("/csv", detail);
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad(format!("line 1: {error}")))?.clone();
    let column = |names: &[&str]| header.iter().position(|name| names.contains(&plain(name).as_str()));
    let Some(id) = column(ID) else {
        return Err(bad("no column has the provider's ids: call it `id`, `sid` or `message_id`".to_owned()));
    };
    let (at, price, currency) = (column(AT), column(PRICE), column(CURRENCY));
    let mut records = Vec::new();
    for (index, row) in reader.records().enumerate() {
        let line = index + 2;
        let row = row.map_err(|error| bad(error.to_string()))?;
        let cell = |column: Option<usize>| {
            column.and_then(|column| row.get(column)).map(disarmed).filter(|text| !text.is_empty())
        };
        let Some(name) = cell(Some(id)) else { continue };
        if name.len() > ID_MAX || name.bytes().any(|b| b.is_ascii_control()) {
            return Err(bad(format!("line {line}: `{}` is no id", name.chars().take(40).collect::<String>())));
        }
        if records.len() >= ROWS_MAX {
            return Err(bad(format!("more than {ROWS_MAX} rows: send the time in parts")));
        }
        let at = cell(at)
            .map(|text| instant(text).ok_or_else(|| bad(format!("line {line}: `{text}` is no date with a time"))));
        let price =
            cell(price).map(|text| micros(text).ok_or_else(|| bad(format!("line {line}: `{text}` is no amount"))));
        let price = price.transpose()?;
        let currency = cell(currency).map(str::to_ascii_uppercase);
        if price.is_some() && currency.is_none() {
            return Err(bad(format!("line {line}: the price has no currency; add a column `currency`")));
        }
        records.push(Record {
            record: name.to_owned(),
            kind: String::new(),
            message_id: None,
            at: at.transpose()?,
            ours: None,
            theirs: price,
            currency: currency.filter(|_| price.is_some()),
        });
    }
    Ok(records)
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Without the apostrophe that keeps a spreadsheet from calculating.
fn disarmed(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('\'').unwrap_or(cell)
}

fn instant(text: &str) -> Option<Timestamp> {
    let mail = || jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().into());
    text.parse().ok().or_else(mail)
}

/// An amount as providers write it, some as what they take from the balance: `-0.00750`.
fn micros(text: &str) -> Option<i64> {
    let text = text.trim_start_matches(['-', '+']);
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + part.len() == 0 || !is_number(whole) || !is_number(part) || part.len() > 12 || whole.len() > 9 {
        return None;
    }
    let digits = format!("{part:0<6}");
    let rounds_up = digits.as_bytes().get(6).is_some_and(|digit| *digit >= b'5');
    let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    Some(whole * 1_000_000 + digits[..6].parse::<i64>().ok()? + i64::from(rounds_up))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let text = "Sid,To,Date Sent,Price,Price Unit\r\nSM1,+49,\"Sat, 21 Nov 2026 09:30:00 +0000\",'-0.0075,usd\r\n,,,,\r\nSM2,+49,2026-11-21T09:31:00Z,,usd\r\n";
        let records = read(text).unwrap();
        assert_eq!(
            (records[0].record.as_str(), records[0].theirs, records[0].currency.as_deref()),
            ("SM1", Some(7_500), Some("USD"))
        );
        assert_eq!(records[0].at, Some(Timestamp::from_seconds(1_795_253_400)));
        assert_eq!((records.len(), records[1].theirs, records[1].currency.as_deref()), (2, None, None));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |text: &str, words: &str| {
            let error = read(text).unwrap_err();
            assert!(error.errors[0].pointer == "/csv" && error.errors[0].detail.contains(words), "{error:?}");
        };
        check("name,price\nx,1\n", "provider's ids");
        check("id,date\nSM1,yesterday\n", "line 2: `yesterday`");
        check("id,price,currency\nSM1,1,USD\nSM2,free,USD\n", "line 3: `free`");
        check("id,price\nSM1,1\n", "has no currency");
        check(&format!("id\n{}\n", "x".repeat(300)), "is no id");
    }

    #[test]
    fn amounts_are_read_to_the_millionth() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(micros(text), expected, "{text}");
        check("-0.00750", Some(7_500));
        check("1", Some(1_000_000));
        check(".5", Some(500_000));
        check("0.0000005", Some(1));
        check("0.00000049", Some(0));
        check("", None);
        check("1.2.3", None);
        check("1e3", None);
    }
}
