//! Reading a provider's messages from a table somebody exported: whatever its columns are called, one of them has the provider's ids.

use std::collections::{BTreeSet, HashMap};

use connectors::Connector;
use jiff::{civil, tz::TimeZone};
use model::Timestamp;
use store::reconciliations::Record;

use crate::{Error, csv::Lines};

/// Rows of a table at most: what fits a request body, and is written in one transaction.
const ROWS_MAX: usize = 100_000;
/// Longest id of a provider, in characters.
const ID_MAX: usize = 200;
const DAY_S: i64 = 86_400;
/// What the columns are called, without case and marks. Of several the one named first here is meant: a table with a `message_id` may number its rows as `id`.
const ID: &[&str] = &[
    "providermessageid",
    "messagesid",
    "messageuuid",
    "messageid",
    "sgmessageid",
    "xmessageid",
    "msgid",
    "sid",
    "id",
    "smtpid",
];
const AT: &[&str] = &[
    "datesent",
    "sentdate",
    "sentat",
    "timestamp",
    "time",
    "date",
    "at",
    "sent",
    "startdate",
    "starttime",
    "datecreated",
    "createdat",
    "datereceived",
    "publishtimeutc",
];
const PRICE: &[&str] = &["price", "cost", "amount", "totalprice", IN_DOLLARS];
/// A price that needs no currency beside it.
const IN_DOLLARS: &str = "priceinusd";
const CURRENCY: &[&str] = &["currency", "priceunit"];
const SEGMENTS: &[&str] = &["segments", "numsegments", "parts", "totalparts"];
/// Where a message has a row for each of its parts, as in the usage reports of Amazon SNS, with what that part cost: which part it is.
const PART: &[&str] = &["partnumber"];
const TO: &[&str] = &["to", "toemail", "recipient", "email"];
const DIRECTION: &[&str] = &["direction", "type"];
/// How rows of what was received begin their direction; some say no more than one of [`RECEIVED`].
const INBOUND: [&str; 2] = ["inbound", "incoming"];
const RECEIVED: [&str; 3] = ["in", "mo", "received"];

/// What a table is held against.
pub(crate) struct Asked {
    /// Whose ids it has.
    pub connector: &'static dyn Connector,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
}

/// What stands in a table of one message.
struct Told {
    /// Where in the records.
    place: usize,
    /// In which line first.
    line: u64,
    /// Its parts that have a row.
    parts: BTreeSet<String>,
}

/// Reads a table into records that are to be compared. What was received is left out. Rows of one id are summed where each is a part of a message, and are one where they say nothing but that there is
/// a message, as logs do that have a row for each event.
pub(crate) fn read(text: &str, asked: &Asked) -> Result<Vec<Record>, Error> {
    let bad = |detail: String| Error::invalid("/csv", detail);
    let text = text.trim_start_matches('\u{feff}');
    let delimiter = delimiter(text.lines().next().unwrap_or_default());
    let mut reader = csv::ReaderBuilder::new().flexible(true).delimiter(delimiter).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| bad(format!("line 1: {error}")))?;
    let header: Vec<String> = header.iter().map(plain).collect();
    let column = |names: &[&str]| names.iter().find_map(|name| header.iter().position(|there| there == name));
    let Some(id) = column(ID) else {
        return Err(bad("no column has the provider's ids: call it `id`, `sid` or `message_id`".to_owned()));
    };
    let (at, price, currency, segments) = (column(AT), column(PRICE), column(CURRENCY), column(SEGMENTS));
    let (to, direction, part) = (column(TO), column(DIRECTION), column(PART));
    let is_in_dollars = price.is_some_and(|price| header[price] == IN_DOLLARS);
    let (mut records, mut known) = (Vec::<Record>::new(), HashMap::<String, Told>::new());
    let mut lines = Lines::of(text);
    for row in reader.records() {
        let row = row.map_err(|error| bad(error.to_string()))?;
        // A cell may have several lines.
        let line = lines.at(row.position().map_or(0, |position| position.byte() as usize));
        let cell = |column: Option<usize>| {
            let is_said = |text: &&str| !text.is_empty() && !text.eq_ignore_ascii_case("null");
            column.and_then(|column| row.get(column)).map(disarmed).filter(is_said)
        };
        let Some(name) = cell(Some(id)) else { continue };
        if cell(direction).is_some_and(is_received) {
            continue;
        }
        if name.len() > ID_MAX || name.bytes().any(|b| b.is_ascii_control()) {
            return Err(bad(format!("line {line}: `{}` is no id", name.chars().take(40).collect::<String>())));
        }
        if records.len() >= ROWS_MAX {
            return Err(bad(format!("more than {ROWS_MAX} rows: send the time in parts")));
        }
        let at = cell(at).map(|text| {
            sent_at(text, asked)
                .ok_or_else(|| bad(format!("line {line}: `{text}` is no date; write it as `2026-11-21T09:30:00Z`")))
        });
        let price = cell(price)
            .map(|text| micros(text, delimiter).ok_or_else(|| bad(format!("line {line}: `{text}` is no amount"))));
        let price = price.transpose()?;
        let currency = cell(currency).map(str::to_ascii_uppercase).or_else(|| is_in_dollars.then(|| "USD".to_owned()));
        if price.is_some() {
            match &currency {
                None => return Err(bad(format!("line {line}: the price has no currency; add a column `currency`"))),
                Some(word) if word.len() != 3 || !word.bytes().all(|b| b.is_ascii_uppercase()) => {
                    let word: String = word.chars().take(40).collect();
                    return Err(bad(format!(
                        "line {line}: `{word}` is no currency; write its three letters, such as USD"
                    )));
                }
                Some(_) => {}
            }
        }
        let segments = cell(segments)
            .map(|text| text.parse::<u32>().map_err(|_| bad(format!("line {line}: `{text}` is no number of segments"))))
            .transpose()?;
        let record = asked.connector.listed_id(name, cell(to));
        if record.contains('\0') {
            return Err(bad(format!("line {line}: the recipient has a NUL in it")));
        }
        let new = Record {
            record,
            at: at.transpose()?,
            theirs: price,
            currency: currency.filter(|_| price.is_some()),
            segments_theirs: segments.filter(|count| *count > 0).map(i64::from),
            ..Record::default()
        };
        let part = cell(part).map(str::to_owned);
        let Some(told) = known.get_mut(&new.record) else {
            let (place, parts) = (records.len(), part.into_iter().collect());
            known.insert(new.record.clone(), Told { place, line, parts });
            records.push(new);
            continue;
        };
        let (there, first) = (&mut records[told.place], told.line);
        match part {
            Some(part) => {
                if told.parts.is_empty() || !told.parts.insert(part.clone()) {
                    let name = &there.record;
                    return Err(bad(format!(
                        "line {line}: part {part} of `{name}` stands there twice, see line {first}"
                    )));
                }
                add_part(there, &new).map_err(|why| bad(format!("line {line}: {why} than in line {first}")))?;
            }
            None if is_bare(there) && is_bare(&new) => there.at = there.at.or(new.at),
            None => {
                let name = &there.record;
                return Err(bad(format!(
                    "line {line}: `{name}` stands in line {first} already, with what it cost or its parts; leave one of the two out, or keep the column with the recipient, or the number of the part, if that tells them apart"
                )));
            }
        }
    }
    Ok(records)
}

/// True of a row that says no more than that there is a message.
const fn is_bare(record: &Record) -> bool {
    record.theirs.is_none() && record.segments_theirs.is_none()
}

/// Adds what another part of a message cost. `Err`: what the rows say differently.
fn add_part(there: &mut Record, part: &Record) -> Result<(), &'static str> {
    if there.theirs.is_some() && part.theirs.is_some() && there.currency != part.currency {
        return Err("its price is in another currency");
    }
    if there.segments_theirs != part.segments_theirs {
        return Err("it says another number of parts");
    }
    there.theirs = match (there.theirs, part.theirs) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    };
    if there.currency.is_none() {
        there.currency.clone_from(&part.currency);
    }
    Ok(())
}

/// What separates cells: spreadsheets write semicolons where commas are decimal marks.
fn delimiter(first: &str) -> u8 {
    match (first.contains(','), first.contains(';'), first.contains('\t')) {
        (false, true, _) => b';',
        (false, false, true) => b'\t',
        _ => b',',
    }
}

fn is_received(direction: &str) -> bool {
    let word = direction.to_ascii_lowercase();
    INBOUND.iter().any(|begin| word.starts_with(begin)) || RECEIVED.contains(&word.as_str())
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Without the apostrophe that keeps a spreadsheet from calculating.
fn disarmed(cell: &str) -> &str {
    let cell = cell.trim();
    cell.strip_prefix('\'').unwrap_or(cell)
}

/// When a row was sent. Where no zone is said UTC is meant, in which providers write. Of a day alone the part that is asked about is taken.
fn sent_at(text: &str, asked: &Asked) -> Option<Timestamp> {
    let utc = |at: civil::DateTime| at.to_zoned(TimeZone::UTC).ok().map(|at| Timestamp::from(at.timestamp()));
    if text.len() <= "2026-11-21".len() {
        let day = utc(text.parse::<civil::Date>().ok()?.to_datetime(civil::Time::midnight()))?;
        let is_asked = day < asked.ends_at && day.plus_seconds(DAY_S) > asked.starts_at;
        return Some(if is_asked { day.max(asked.starts_at) } else { day });
    }
    let mail = || jiff::fmt::rfc2822::parse(text).ok().map(|at| at.timestamp().into());
    let bare = || utc(text.trim_end_matches("UTC").trim_end_matches("GMT").trim_end().parse().ok()?);
    text.parse().ok().or_else(mail).or_else(bare)
}

/// An amount as providers write it, some as what they take from the balance: `-0.00750`. Where cells are not separated by commas, one is a decimal mark.
fn micros(text: &str, delimiter: u8) -> Option<i64> {
    let text = text.trim_start_matches(['-', '+']);
    let has_mark = |mark: char| text.contains(mark);
    let mark = if delimiter != b',' && has_mark(',') && !has_mark('.') { ',' } else { '.' };
    let (whole, part) = text.split_once(mark).unwrap_or((text, ""));
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

    fn asked(connector: &str) -> Asked {
        let at = |text: &str| text.parse().unwrap();
        let connector = connectors::registry::find(connector).unwrap();
        Asked { connector, starts_at: at("2026-11-21T06:00:00Z"), ends_at: at("2026-11-28T06:00:00Z") }
    }

    fn read(text: &str) -> Result<Vec<Record>, Error> {
        super::read(text, &asked("twilio"))
    }

    fn ids(connector: &str, text: &str) -> Vec<String> {
        super::read(text, &asked(connector)).unwrap().into_iter().map(|record| record.record).collect()
    }

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
    fn a_spreadsheet_of_another_country_is_read() {
        let text = "\u{feff}Sid;Date Sent;Price;Price Unit;Num Segments\r\nSM1;2026-11-21 09:30:00;-0,0075;USD;3\r\nSM2;2026-11-21 09:30;null;USD;0\r\n";
        let records = read(text).unwrap();
        let half_past = Some(Timestamp::from_seconds(1_795_253_400));
        assert_eq!(records[0].at, half_past);
        assert_eq!((records[0].theirs, records[0].segments_theirs), (Some(7_500), Some(3)));
        assert_eq!((records[1].at, records[1].theirs, records[1].segments_theirs), (half_past, None, None));
        assert_eq!(read("sid\tdate\nSM1\t2026-11-21 09:30:00 UTC\n").unwrap()[0].at, half_past);
    }

    #[test]
    fn what_was_received_is_left_out() {
        let header =
            "From,To,Body,Status,SentDate,ApiVersion,NumSegments,ErrorCode,AccountSid,Sid,Direction,Price,PriceUnit";
        let row = |sid: &str, direction: &str| {
            format!("+1,+49,Hi,delivered,2026-11-21T09:30:00Z,2010-04-01,2,,AC1,{sid},{direction},-0.0075,USD")
        };
        let rows = [row("SM1", "outbound-api"), row("SM2", "inbound"), row("SM3", "outbound-reply")];
        let records = read(&format!("{header}\n{}\n", rows.join("\n"))).unwrap();
        assert_eq!(records.iter().map(|record| record.record.as_str()).collect::<Vec<_>>(), ["SM1", "SM3"]);
        assert_eq!(records[0].at, Some(Timestamp::from_seconds(1_795_253_400)));
        assert_eq!(ids("vonage", "message_id,type\na,MO\nb,text\nc,information\n"), ["b", "c"]);
    }

    #[test]
    fn ids_are_read_as_providers_write_them() {
        assert_eq!(ids("mailgun", "id,message_id\n1,<20261121.1@mg.acme.example>\n"), ["20261121.1@mg.acme.example"]);
        assert_eq!(ids("sendgrid", "smtp-id\n<LRzXl_NHStOGhQ4kofSm_A@geopod-ismtpd-1>\n"), ["LRzXl_NHStOGhQ4kofSm_A"]);
        let table = "msg_id,to_email\nLRzXl_NHStOGhQ4kofSm_A.recvd-canary-1-5F5F-9.0,ada@mail.test\n";
        assert_eq!(ids("sendgrid", table), ["LRzXl_NHStOGhQ4kofSm_A/ada@mail.test"]);
        assert_eq!(
            ids("sendgrid", "sg_message_id\nLRzXl_NHStOGhQ4kofSm_A.filterdrecv.0\n"),
            ["LRzXl_NHStOGhQ4kofSm_A"]
        );
    }

    #[test]
    fn a_day_is_asked_about_as_far_as_the_time_goes() {
        let check = |day: &str, expected: &str| {
            let at = read(&format!("sid,date\nSM1,{day}\n")).unwrap()[0].at;
            assert_eq!(at, Some(expected.parse().unwrap()), "{day}");
        };
        check("2026-11-20", "2026-11-20T00:00:00Z");
        check("2026-11-21", "2026-11-21T06:00:00Z");
        check("2026-11-28", "2026-11-28T00:00:00Z");
        check("2026-11-29", "2026-11-29T00:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let check = |text: &str, words: &str| {
            let error = read(text).unwrap_err();
            assert!(error.errors[0].pointer == "/csv" && error.errors[0].detail.contains(words), "{error:?}");
        };
        check("name,price\nx,1\n", "provider's ids");
        check("id,date\nSM1,yesterday\n", "line 2: `yesterday`");
        check("id,date\nSM1,21.11.2026 at noon\n", "2026-11-21T09:30:00Z");
        check("id,segments\nSM1,two\n", "line 2: `two`");
        check("id,price,currency\nSM1,1,USD\nSM2,free,USD\n", "line 3: `free`");
        check("id,price\nSM1,1\n", "has no currency");
        check("id,price,currency\nSM1,1,US Dollars\n", "line 2: `US DOLLARS`");
        check("id,price,currency\nSM1,1,U\0D\n", "is no currency");
        check("id,body,price,currency\nSM1,\"one\ntwo\nthree\",1,USD\nSM2,,free,USD\n", "line 5: `free`");
        check("id,body,price,currency\r\nSM1,\"one\r\ntwo\",1,USD\r\n\r\nSM2,,free,USD\r\n", "line 5: `free`");
        check(&format!("id\n{}\n", "x".repeat(300)), "is no id");
        check(
            "id,body,price,currency\nSM1,\"a\nb\",1,USD\nSM2,,1,USD\nSM1,,1,USD\n",
            "line 5: `SM1` stands in line 2 already",
        );
        check("id,segments\nSM1,\nSM1,2\n", "line 3: `SM1` stands in line 2 already");
        check(
            "id,part number,price,currency\nSM1,1,1,USD\nSM1,1,1,USD\n",
            "line 3: part 1 of `SM1` stands there twice, see line 2",
        );
        check(
            "id,part number,price,currency\nSM1,1,1,USD\nSM1,2,1,EUR\n",
            "line 3: its price is in another currency than in line 2",
        );
        check("id,part number,total parts\nSM1,1,2\nSM1,2,3\n", "line 3: it says another number of parts");
    }

    #[test]
    fn a_row_for_each_part_is_summed_and_one_for_each_event_is_one() {
        let report = "PublishTimeUTC,MessageId,DestinationPhoneNumber,MessageType,DeliveryStatus,PriceInUSD,PartNumber,TotalParts
2026-11-21T09:30:00.000Z,96a3,+491512,Transactional,Message has been accepted by phone carrier,0.07,1,2
2026-11-21T09:30:00.000Z,b1c2,+491513,Transactional,Message has been accepted by phone carrier,0.07,1,1
2026-11-21T09:30:01.000Z,96a3,+491512,Transactional,Message has been accepted by phone carrier,0.08,2,2
";
        let seen = super::read(report, &asked("sns")).unwrap();
        let seen: Vec<_> =
            seen.iter().map(|r| (r.record.as_str(), r.theirs, r.currency.as_deref(), r.segments_theirs)).collect();
        assert_eq!(seen, [("96a3", Some(150_000), Some("USD"), Some(2)), ("b1c2", Some(70_000), Some("USD"), Some(1))]);
        let log = "event,message_id,timestamp\naccepted,<1@mg.acme.example>,2026-11-21T09:30:00Z\ndelivered,<1@mg.acme.example>,2026-11-21T09:30:05Z\n";
        assert_eq!(ids("mailgun", log), ["1@mg.acme.example"]);
    }

    #[test]
    fn amounts_are_read_to_the_millionth() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(micros(text, b','), expected, "{text}");
        check("-0.00750", Some(7_500));
        check("1", Some(1_000_000));
        check(".5", Some(500_000));
        check("0.0000005", Some(1));
        check("0.00000049", Some(0));
        check("", None);
        check("1.2.3", None);
        check("1e3", None);
        check("0,0075", None);
        assert_eq!((micros("-0,0075", b';'), micros("1,000.5", b';')), (Some(7_500), None));
    }
}
