//! Numbers, lengths of time and amounts as people read them in alerts. Pure.

use model::Channel;

use super::kinds::AlertUnit;
use crate::documents::figures::{decimals, grouped, minor_unit};

const MICROS: i64 = 1_000_000;

/// An amount for people, in the currency's smallest coins.
pub fn money(micros: i64, currency: &str) -> String {
    let coin = minor_unit(currency).unsigned_abs();
    let (coins, in_whole) = ((micros.unsigned_abs() + coin / 2) / coin, 1_000_000 / coin);
    let whole = grouped(coins / in_whole);
    let part = match decimals(currency) as usize {
        0 => String::new(),
        digits => format!(".{:0digits$}", coins % in_whole),
    };
    format!("{}{whole}{part} {currency}", if micros < 0 { "-" } else { "" })
}

/// Millionths of a percent for people: two digits after the point where they say something.
pub fn percent(micros: i64) -> String {
    let hundredths = (micros + 5_000) / 10_000;
    let text = match (hundredths / 100, hundredths % 100) {
        (whole, 0) => whole.to_string(),
        (whole, part) if part % 10 == 0 => format!("{whole}.{}", part / 10),
        (whole, part) => format!("{whole}.{part:02}"),
    };
    format!("{text} %")
}

/// A number for people, its thousands apart.
pub fn grouped_number(number: i64) -> String {
    format!("{}{}", if number < 0 { "-" } else { "" }, grouped(number.unsigned_abs()))
}

/// Things for people: `a`, `a and b`, `a, b and c`.
pub fn listed(things: &[String]) -> String {
    match things {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A length of time for people, by its largest unit.
pub fn duration(seconds: i64) -> String {
    let (count, unit) = match seconds {
        ..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// A threshold or value for people.
pub fn amount(unit: AlertUnit, micros: i64) -> String {
    match unit {
        AlertUnit::Percent => percent(micros),
        AlertUnit::Seconds => duration(micros / MICROS),
        AlertUnit::Count => grouped_number(micros / MICROS),
        AlertUnit::Times => format!("{} times", grouped_number(micros / MICROS)),
        AlertUnit::Money => money(micros, ""),
        AlertUnit::Days => format!("{} days", grouped_number(micros / MICROS)),
        AlertUnit::None => String::new(),
    }
}

/// A channel as it stands before `messages`.
pub fn channel(channel: Channel) -> &'static str {
    match channel {
        Channel::Email => "e-mail",
        Channel::Sms => "SMS",
        Channel::Whatsapp => "WhatsApp",
        Channel::Telegram => "Telegram",
        Channel::Voice => "voice",
        Channel::Webhook => "webhook",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_the_decimals_of_their_currency() {
        assert_eq!(
            [money(12_345_678_000, "EUR"), money(1_408_400_000, "JPY"), money(-13_010_400, "KWD"), money(5_000, "USD")],
            ["12,345.68 EUR", "1,408 JPY", "-13.010 KWD", "0.01 USD"]
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(
            [percent(4 * MICROS), percent(80_000), percent(6_010_000), percent(99_999_999)],
            ["4 %", "0.08 %", "6.01 %", "100 %"]
        );
        assert_eq!(
            [grouped_number(0), grouped_number(999), grouped_number(1_000), grouped_number(-1_234_567)],
            ["0", "999", "1,000", "-1,234,567"]
        );
        assert_eq!(
            [duration(1), duration(119), duration(3_600), duration(86_400), duration(604_800)],
            ["1 second", "119 seconds", "60 minutes", "24 hours", "7 days"]
        );
    }
}
