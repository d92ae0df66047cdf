//! Prices as providers write them, without floating point.

/// Millionths of a decimal, without its sign (some providers write what they take from a balance, as in `-0.00750`); digits beyond the sixth are
/// dropped. `None` for anything but digits with one point.
pub(crate) fn micros(decimal: &str) -> Option<i64> {
    const PLACES: usize = 6;
    let decimal = decimal.trim_start_matches('-');
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let is_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !is_digits(whole) || !is_digits(part) {
        return None;
    }
    let part = format!("{:0<PLACES$}", &part[..part.len().min(PLACES)]);
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_read_without_floating_point() {
        assert_eq!(micros("-0.00750"), Some(7_500));
        assert_eq!(micros("0.0000019"), Some(1));
        assert_eq!(micros("12"), Some(12_000_000));
        for bad in ["", "-", ".5", "1e3", "0.0.1", "1,5", "99999999999999999999"] {
            assert_eq!(micros(bad), None, "{bad}");
        }
    }
}
