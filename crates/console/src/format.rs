//! Numbers, instants and words the way people read them.

use engine::documents::figures::{decimals, grouped};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use model::{Channel, Money, Timestamp};

/// A whole number with thousands separated: `12,345`.
pub(crate) fn number(value: i64) -> String {
    format!("{}{}", if value < 0 { "−" } else { "" }, grouped(value.unsigned_abs()))
}

/// A share in percent: `97.3 %`; a dash where there is nothing to divide by.
pub(crate) fn percent(part: i64, whole: i64) -> String {
    if whole <= 0 {
        return "–".to_owned();
    }
    let tenths = (i128::from(part) * 1000 / i128::from(whole)) as i64;
    if tenths == 1000 || tenths == 0 {
        format!("{} %", tenths / 10)
    } else {
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

/// An amount with its currency: `12.50 USD`, `1,408 JPY`, and as many decimals more as a price of a fraction of its smallest coin needs.
pub(crate) fn money(money: &Money) -> String {
    format!("{} {}", amount_of(money.amount_micros, &money.currency), money.currency)
}

/// An amount of millionths of a currency as a number with the decimals of its smallest coin at least.
pub(crate) fn amount_of(micros: i64, currency: &str) -> String {
    decimal(micros, decimals(currency) as usize)
}

/// An amount of millionths as a number with at least two decimals.
pub(crate) fn amount(micros: i64) -> String {
    decimal(micros, 2)
}

fn decimal(micros: i64, least: usize) -> String {
    let (whole, part) = (micros.unsigned_abs() / 1_000_000, micros.unsigned_abs() % 1_000_000);
    let mut decimals = format!("{part:06}");
    while decimals.len() > least && decimals.ends_with('0') {
        decimals.pop();
    }
    let point = if decimals.is_empty() { "" } else { "." };
    let sign = if micros < 0 { "−" } else { "" };
    format!("{sign}{}{point}{decimals}", grouped(whole))
}

/// Reads an amount as people write it, with a dot or a comma before at most six decimals, as millionths. `1,000` is refused, as it is a thousand for one and one for another.
pub(crate) fn read_amount(text: &str) -> Option<i64> {
    let text = text.trim().replace('−', "-");
    let is_thousands =
        |(whole, part): (&str, &str)| part.len() == 3 && !whole.trim_start_matches(['-', '0']).is_empty();
    if text.split_once(',').is_some_and(is_thousands) {
        return None;
    }
    let text = text.replace(',', ".");
    let (sign, text) = text.strip_prefix('-').map_or((1, text.as_str()), |rest| (-1, rest));
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 6 || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part: i64 = format!("{part:0<6}").parse().ok()?;
    let micros = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part)?;
    Some(sign * micros)
}

/// `1 message`, `2 messages`.
pub(crate) fn count(value: i64, one: &str, many: &str) -> String {
    format!("{} {}", number(value), if value == 1 { one } else { many })
}

/// A time that passed, rounded for people: `850 ms`, `3.5 s`, `12 min`.
pub(crate) fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..7_200_000 => format!("{} min", ms / 60_000),
        _ => format!("{} h", ms / 3_600_000),
    }
}

/// Units a length of time is written in, the largest first: seconds, the word, and others that are understood.
const SPANS: [(i64, &str, &[&str]); 4] = [
    (86_400, "d", &["day", "days"]),
    (3_600, "h", &["hour", "hours"]),
    (60, "min", &["m", "minute", "minutes"]),
    (1, "s", &["sec", "second", "seconds"]),
];

/// A length of time as a form has it: exact, in the largest unit that fits: `4 h`, `90 min`.
pub(crate) fn span(seconds: i64) -> String {
    let fits = |(size, ..): &&(i64, &str, &[&str])| seconds >= *size && seconds % *size == 0;
    let (size, unit, _) = SPANS.iter().find(fits).unwrap_or(&SPANS[3]);
    format!("{} {unit}", seconds / size)
}

/// Reads a length of time, in seconds; a bare number is seconds.
pub(crate) fn read_span(text: &str) -> Option<i64> {
    let text = text.trim().to_lowercase();
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (count, unit) = (text[..length].parse::<i64>().ok()?, text[length..].trim());
    let is_it = |(_, word, others): &&(i64, &str, &[&str])| *word == unit || others.contains(&unit);
    let size = if unit.is_empty() { 1 } else { SPANS.iter().find(is_it)?.0 };
    count.checked_mul(size)
}

/// Bytes, rounded for people.
pub(crate) fn bytes(value: u64) -> String {
    match value {
        0..1_000 => format!("{value} B"),
        1_000..1_000_000 => format!("{} kB", value.div_ceil(1_000)),
        _ => format!("{}.{} MB", value / 1_000_000, value % 1_000_000 / 100_000),
    }
}

/// Where and when somebody reads: their zone and the current instant.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    /// The viewer's zone.
    pub(crate) zone: TimeZone,
    /// The current instant.
    pub(crate) now: Timestamp,
}

impl Here {
    /// An instant as short as it can be said, exact on hover.
    pub(crate) fn at(&self, at: Timestamp) -> Markup {
        let zoned = at.jiff().to_zoned(self.zone.clone());
        let today = self.now.jiff().to_zoned(self.zone.clone());
        let text = if zoned.date() == today.date() {
            zoned.strftime("%H:%M:%S").to_string()
        } else if zoned.year() == today.year() {
            zoned.strftime("%-d %b, %H:%M").to_string()
        } else {
            zoned.strftime("%-d %b %Y, %H:%M").to_string()
        };
        html! { time datetime=(at) title=(self.exact(at)) { (text) } }
    }

    /// An instant to the millisecond, in the viewer's zone and in UTC.
    pub(crate) fn exact(&self, at: Timestamp) -> String {
        let zoned = at.jiff().to_zoned(self.zone.clone());
        format!("{} · {:.3} UTC", zoned.strftime("%A, %-d %B %Y, %H:%M:%S.%3f %Z"), at.jiff().strftime("%H:%M:%S%.3f"))
    }

    /// Only the day.
    pub(crate) fn day(&self, at: Timestamp) -> Markup {
        html! { time datetime=(at) title=(self.exact(at)) { (self.date(at)) } }
    }

    /// Only the day, as plain text.
    pub(crate) fn date(&self, at: Timestamp) -> String {
        at.jiff().to_zoned(self.zone.clone()).strftime("%-d %b %Y").to_string()
    }

    /// How far away an instant is: `in 3 min`, `now`, `2 h ago`.
    pub(crate) fn distance(&self, at: Timestamp) -> String {
        let seconds = at.millis_since(self.now) / 1000;
        let amount = match seconds.unsigned_abs() {
            0..60 => format!("{} s", seconds.unsigned_abs()),
            60..3_600 => format!("{} min", seconds.unsigned_abs() / 60),
            3_600..172_800 => format!("{} h", seconds.unsigned_abs() / 3_600),
            more => format!("{} days", more / 86_400),
        };
        match seconds {
            0 => "now".to_owned(),
            1.. => format!("in {amount}"),
            _ => format!("{amount} ago"),
        }
    }

    /// The first instant of today in the viewer's zone.
    pub(crate) fn midnight(&self) -> Timestamp {
        let today = self.now.jiff().to_zoned(self.zone.clone());
        today.start_of_day().map_or(self.now, |start| start.timestamp().into())
    }

    /// The hour of the day an instant lies in, 0 to 23.
    pub(crate) fn hour(&self, at: Timestamp) -> usize {
        usize::try_from(at.jiff().to_zoned(self.zone.clone()).hour()).unwrap_or(0)
    }

    /// An instant as `<input type="datetime-local">` holds it, in the viewer's zone.
    pub(crate) fn local(&self, at: Timestamp) -> String {
        at.jiff().to_zoned(self.zone.clone()).strftime("%Y-%m-%dT%H:%M").to_string()
    }

    /// What `<input type="datetime-local">` holds, read in the viewer's zone.
    pub(crate) fn read_local(&self, text: &str) -> Option<Timestamp> {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(self.zone.clone()).ok().map(|zoned| zoned.timestamp().into())
    }
}

/// A channel's name for people.
pub(crate) const fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "E-mail",
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
        Channel::Telegram => "Telegram",
        Channel::Voice => "Voice",
        Channel::Webhook => "Webhook",
    }
}

/// A word from the API for people: `opted_out` becomes `Opted out`.
pub(crate) fn words(word: &str) -> String {
    let text = word.replace(['_', '.'], " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What the engine says to programs as well, without the operations of the API it names: people have pages for them.
pub(crate) fn spoken(text: &str) -> String {
    let mut text = text.to_owned();
    let mut from = 0;
    while let Some((start, end)) = operation(&text, from) {
        let before = text[..start].trim_end();
        let word = before.rsplit(' ').next().unwrap_or_default();
        let cut = match word {
            "with" | "at" => before.len() - word.len()..end,
            // "the records that GET … shows": the verb goes, too.
            "that" => before.len() - word.len()..next_word(&text, end),
            _ => match clause(&text, start, end) {
                Some(cut) => cut,
                None => {
                    from = end;
                    continue;
                }
            },
        };
        let (head, tail) = (text[..cut.start].trim_end().to_owned(), text[cut.end..].to_owned());
        from = head.len();
        text = head + &tail;
    }
    text
}

/// Where the next operation (`POST /v1/contacts`) is named, and where its path ends.
fn operation(text: &str, from: usize) -> Option<(usize, usize)> {
    let at = from + text.get(from..)?.find(" /v1/")?;
    let verb = ["GET", "POST", "PATCH", "DELETE"].into_iter().find(|verb| text[..at].ends_with(verb));
    let Some(verb) = verb else { return operation(text, at + 1) };
    let path = &text[at + 1..];
    let length = path.find([' ', ',', ';', ')']).unwrap_or(path.len());
    let length = path[..length].trim_end_matches(['.', ':']).len();
    Some((at - verb.len(), at + 1 + length))
}

fn next_word(text: &str, from: usize) -> usize {
    let rest = text[from..].trim_start();
    let skipped = text[from..].len() - rest.len();
    from + skipped + rest.find([' ', ',', ';', '.']).unwrap_or(rest.len())
}

/// The half sentence around an operation, with the mark that sets it off; `None` when it is all there is.
fn clause(text: &str, start: usize, end: usize) -> Option<std::ops::Range<usize>> {
    let mark = ["; ", ". ", ": "].into_iter().filter_map(|mark| text[..start].rfind(mark)).max()?;
    let over = text[end..].find(['.', ';']).map_or(text.len(), |length| end + length);
    let is_sentence = text[mark..].starts_with('.');
    Some(if is_sentence { mark + 1..(over + 1).min(text.len()) } else { mark..over })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_shares_are_honest() {
        assert_eq!([number(0), number(999), number(1_000), number(-12_345_678)], ["0", "999", "1,000", "−12,345,678"]);
        assert_eq!(
            [percent(0, 0), percent(1, 3), percent(999, 1000), percent(3, 3)],
            ["–", "33.3 %", "99.9 %", "100 %"]
        );
        assert_eq!([bytes(12), bytes(1_500), bytes(2_300_000)], ["12 B", "2 kB", "2.3 MB"]);
        assert_eq!(
            [duration(850), duration(3_540), duration(720_000), duration(86_400_000)],
            ["850 ms", "3.5 s", "12 min", "24 h"]
        );
        assert_eq!(words("opted_out"), "Opted out");
    }

    #[test]
    fn amounts_are_read_as_they_are_written() {
        let check = |micros: i64, text: &str| {
            assert_eq!(amount(micros), text);
            assert_eq!(read_amount(&text.replace(',', "")), Some(micros), "{text}");
        };
        check(0, "0.00");
        check(12_500_000, "12.50");
        check(-7_500, "−0.0075");
        check(1_234_567_000_001, "1,234,567.000001");
        let of = |micros, currency| amount_of(micros, currency);
        assert_eq!(
            [of(1_408_000_000, "JPY"), of(7_500, "JPY"), of(-13_010_000, "KWD")],
            ["1,408", "0.0075", "−13.010"]
        );
        assert_eq!([read_amount("12,5"), read_amount(" 3 ")], [Some(12_500_000), Some(3_000_000)]);
        assert_eq!([read_amount("0,009"), read_amount("-0,125")], [Some(9_000), Some(-125_000)]);
        assert_eq!([read_amount("1,0000"), read_amount("1.125")], [Some(1_000_000), Some(1_125_000)]);
        for odd in [
            "1,000",
            "-12,345",
            "100,000",
            "1,000,000",
            "",
            "abc",
            ".5",
            "1.2.3",
            "1,234.50",
            "0.0000001",
            "--1",
            "99999999999999",
        ] {
            assert_eq!(read_amount(odd), None, "{odd}");
        }
    }

    #[test]
    fn lengths_of_time_are_read_as_they_are_written() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (90, "90 s"), (5_400, "90 min"), (14_400, "4 h"), (86_400, "1 d")]
        {
            assert_eq!((span(seconds), read_span(text)), (text.to_owned(), Some(seconds)));
        }
        let read = ["3600", " 2 Hours ", "15minutes", "7 days"].map(read_span);
        assert_eq!(read, [Some(3_600), Some(7_200), Some(900), Some(604_800)]);
        for odd in ["", "soon", "-1 h", "1.5 h", "4 weeks", "999999999999999999 d"] {
            assert_eq!(read_span(odd), None, "{odd}");
        }
    }

    #[test]
    fn people_are_not_told_of_operations() {
        for (said, expected) in [
            ("Nothing to cut here: https://acme.example/v1/x.", "Nothing to cut here: https://acme.example/v1/x."),
            ("Change it, or merge the two with POST /v1/contacts/{id}/merge.", "Change it, or merge the two."),
            ("upload the file with POST /v1/attachments, or give it", "upload the file, or give it"),
            ("there is no such connector; GET /v1/connectors lists them", "there is no such connector"),
            ("Pay it; GET /v1/invoices lists what is open.", "Pay it."),
            ("It takes days. See GET /v1/registrations/10dlc.", "It takes days."),
            ("Publish the records that GET /v1/domains shows, and verify it.", "Publish the records, and verify it."),
            ("see the reasons at GET /v1/x, change it", "see the reasons, change it"),
            (
                "Say who you are with PATCH /v1/business-profile, then begin with POST /v1/registrations/10dlc.",
                "Say who you are, then begin.",
            ),
            ("GET /v1/x says why", "GET /v1/x says why"),
        ] {
            assert_eq!(spoken(said), expected);
        }
    }

    #[test]
    fn instants_are_short_near_and_long_far() {
        let here = Here { zone: TimeZone::get("Europe/Berlin").unwrap(), now: "2026-11-28T12:00:00Z".parse().unwrap() };
        let check = |at: &str, expected: &str| {
            let text = here.at(at.parse().unwrap()).into_string();
            assert!(text.ends_with(&format!(">{expected}</time>")), "{text}");
        };
        check("2026-11-28T10:05:06Z", "11:05:06");
        check("2026-11-27T23:30:00Z", "00:30:00");
        check("2026-07-01T10:00:00Z", "1 Jul, 12:00");
        check("2025-12-31T23:30:00Z", "1 Jan, 00:30");
        check("2024-02-29T10:00:00Z", "29 Feb 2024, 11:00");
        assert_eq!(here.midnight().to_string(), "2026-11-27T23:00:00.000000Z");
        assert_eq!(here.read_local("2026-11-28T13:30").unwrap().to_string(), "2026-11-28T12:30:00.000000Z");
        assert_eq!(here.local("2026-11-28T12:30:00Z".parse().unwrap()), "2026-11-28T13:30");
        assert_eq!(here.date("2026-11-28T23:30:00Z".parse().unwrap()), "29 Nov 2026");
        assert_eq!(here.distance("2026-11-28T12:03:10Z".parse().unwrap()), "in 3 min");
        assert_eq!(here.distance("2026-11-28T09:00:00Z".parse().unwrap()), "3 h ago");
        assert_eq!(here.distance(here.now.plus_millis(-400)), "now");
    }
}
