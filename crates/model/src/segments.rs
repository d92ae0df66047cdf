//! How many SMS a text becomes (GSM 03.38, 3GPP TS 23.038 and 23.040). Prices and limits count segments, so this is exact: an
//! extension character or a surrogate pair is never split over two parts.

/// How a text travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits a character: 160 in one part, 153 in each of several.
    Gsm7,
    /// UTF-16: 70 units in one part, 67 in each of several.
    Ucs2,
}

/// The size of a text as SMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// How it travels.
    pub encoding: Encoding,
    /// Parts: what is billed.
    pub count: u32,
    /// Septets (GSM-7) or UTF-16 units (UCS-2).
    pub units: u32,
}

const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const EXTENSION: &str = "^{}\\[~]|€\u{c}";

fn septets(c: char) -> Option<u32> {
    if c.is_ascii_alphanumeric() || c == ' ' || BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

/// Counts the parts `text` needs. An empty text is one part of no units.
pub fn segments(text: &str) -> Segments {
    if let Some(sizes) = text.chars().map(septets).collect::<Option<Vec<_>>>() {
        count(Encoding::Gsm7, sizes, 160, 153)
    } else {
        count(Encoding::Ucs2, text.chars().map(|c| c.len_utf16() as u32).collect(), 70, 67)
    }
}

fn count(encoding: Encoding, sizes: Vec<u32>, single: u32, part: u32) -> Segments {
    let units: u32 = sizes.iter().sum();
    if units <= single {
        return Segments { encoding, count: 1, units };
    }
    let (mut count, mut room) = (1, part);
    for size in sizes {
        if size > room {
            count += 1;
            room = part;
        }
        room -= size;
    }
    Segments { encoding, count, units }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, encoding: Encoding, count: u32, units: u32) {
        assert_eq!(segments(text), Segments { encoding, count, units }, "{text:?}");
    }

    #[test]
    fn boundaries_of_gsm() {
        check("", Encoding::Gsm7, 1, 0);
        check(&"a".repeat(160), Encoding::Gsm7, 1, 160);
        check(&"a".repeat(161), Encoding::Gsm7, 2, 161);
        check(&"a".repeat(306), Encoding::Gsm7, 2, 306);
        check(&"a".repeat(307), Encoding::Gsm7, 3, 307);
        check(&format!("{}€", "a".repeat(159)), Encoding::Gsm7, 2, 161);
    }

    #[test]
    fn an_escape_pair_is_not_split() {
        // 152 + 2 + 152: the euro sign does not fit the first part's last septet, so the second part is full.
        check(&format!("{}€{}", "a".repeat(152), "a".repeat(151)), Encoding::Gsm7, 2, 305);
        check(&format!("{}€{}", "a".repeat(152), "a".repeat(152)), Encoding::Gsm7, 3, 306);
    }

    #[test]
    fn boundaries_of_ucs2() {
        check(&"я".repeat(70), Encoding::Ucs2, 1, 70);
        check(&"я".repeat(71), Encoding::Ucs2, 2, 71);
        check(&"я".repeat(134), Encoding::Ucs2, 2, 134);
        check(&"я".repeat(135), Encoding::Ucs2, 3, 135);
        // The emoji would straddle units 67 and 68.
        check(&format!("{}😀{}", "я".repeat(66), "я".repeat(66)), Encoding::Ucs2, 3, 134);
    }

    #[test]
    fn one_odd_character_changes_the_encoding() {
        check("it’s", Encoding::Ucs2, 1, 4);
        check("ç", Encoding::Ucs2, 1, 1);
        check("Ç", Encoding::Gsm7, 1, 1);
    }
}
