//! Amounts, quantities and rates as figures. Everything is a whole number of millionths; nothing is rounded here.

/// Millionths of a unit.
pub const ONE: i64 = 1_000_000;

/// Currencies whose smallest unit is not a hundredth, by ISO 4217.
const NO_MINOR: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF";
const THOUSANDTHS: &str = "BHD IQD JOD KWD LYD OMR TND";

/// How a language writes figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) decimal: char,
    pub(super) group: char,
    /// Whether digits beyond the first thousand go in pairs, as in India.
    pub(super) is_lakh: bool,
}

/// How many decimals a currency's smallest unit has.
pub fn decimals(currency: &str) -> u32 {
    let listed = |list: &str| list.split(' ').any(|known| known == currency);
    match currency {
        _ if listed(NO_MINOR) => 0,
        _ if listed(THOUSANDTHS) => 3,
        _ => 2,
    }
}

/// The smallest unit of a currency, in millionths.
pub fn minor_unit(currency: &str) -> i64 {
    10_i64.pow(6 - decimals(currency))
}

/// Writes millionths with at least `least` decimals and as many more as they need.
pub(super) fn write(micros: i64, least: u32, marks: Marks) -> String {
    let size = micros.unsigned_abs();
    let (whole, part) = (size / ONE as u64, size % ONE as u64);
    let mut decimals = format!("{part:06}");
    while decimals.len() > least as usize && decimals.ends_with('0') {
        decimals.pop();
    }
    let mut text = String::new();
    if micros < 0 {
        text.push('-');
    }
    push_grouped(&mut text, whole, marks.group, marks.is_lakh);
    if !decimals.is_empty() {
        text.push(marks.decimal);
        text.push_str(&decimals);
    }
    text
}

/// A whole number as English writes it: `12,345`. The one place where pages, alerts and documents put thousands apart.
pub fn grouped(number: u64) -> String {
    let mut text = String::new();
    push_grouped(&mut text, number, ',', false);
    text
}

fn push_grouped(text: &mut String, number: u64, group: char, is_lakh: bool) {
    let digits = number.to_string();
    for (index, digit) in digits.chars().enumerate() {
        let left = digits.len() - index;
        let is_border = if is_lakh && left > 3 { (left - 3).is_multiple_of(2) } else { left.is_multiple_of(3) };
        if index > 0 && is_border {
            text.push(group);
        }
        text.push(digit);
    }
}

/// A decimal number as people write it in JSON, in millionths: `2`, `"2.5"`, `"-0.000001"`.
pub fn read(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(part) || part.len() > 6 {
        return None;
    }
    let part: i64 = format!("{part:0<6}").parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(ONE)?.checked_add(part)?.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EN: Marks = Marks { decimal: '.', group: ',', is_lakh: false };
    const IN: Marks = Marks { decimal: '.', group: ',', is_lakh: true };
    const DE: Marks = Marks { decimal: ',', group: '.', is_lakh: false };

    #[test]
    fn figures_are_grouped_as_the_language_does() {
        let check = |micros, least, marks, expected| assert_eq!(write(micros, least, marks), expected);
        check(0, 2, EN, "0.00");
        check(1_234_500_000, 2, EN, "1,234.50");
        check(1_234_500_000, 2, DE, "1.234,50");
        check(-999_990_000, 2, EN, "-999.99");
        check(7_500, 2, EN, "0.0075");
        check(1_234_567_890_000_000, 0, EN, "1,234,567,890");
        check(1_234_567_890_000_000, 0, IN, "1,23,45,67,890");
        check(100_000 * ONE, 2, IN, "1,00,000.00");
        check(1_000 * ONE, 0, IN, "1,000");
        check(i64::MIN, 2, EN, "-9,223,372,036,854.775808");
    }

    #[test]
    fn currencies_have_their_own_decimals() {
        let check = |currency, expected| assert_eq!((decimals(currency), minor_unit(currency)), expected, "{currency}");
        check("EUR", (2, 10_000));
        check("JPY", (0, 1_000_000));
        check("KWD", (3, 1_000));
    }

    #[test]
    fn decimals_are_read_exactly_or_not_at_all() {
        let check = |text, expected| assert_eq!(read(text), expected, "{text}");
        check("2", Some(2_000_000));
        check("2.5", Some(2_500_000));
        check("-0.000001", Some(-1));
        check("0.0000001", None);
        for bad in ["", ".5", "5.", "1e3", "1,5", "+1", "--1", " 1", "9223372036855"] {
            check(bad, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(micros in any::<i64>()) {
            let text = write(micros, 0, EN).replace(',', "");
            // The lowest number has no positive counterpart to be read through.
            prop_assume!(micros != i64::MIN);
            prop_assert_eq!(read(&text), Some(micros));
        }
    }
}
