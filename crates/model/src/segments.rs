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

/// The characters that make a text UCS-2, each once, in their order.
pub fn odd_characters(text: &str) -> Vec<char> {
    let mut odd = Vec::new();
    for c in text.chars() {
        if septets(c).is_none() && !odd.contains(&c) {
            odd.push(c);
        }
    }
    odd
}

/// A text with plain characters for typographic ones that word processors put in: quotes, dashes, dots, blanks. What has no plain form stays.
pub fn smart_text(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{2018}' | '\u{2019}' | '\u{201a}' | '\u{201b}' | '\u{2032}' | '\u{b4}' | '`' => plain.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => plain.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => plain.push('-'),
            '\u{2026}' => plain.push_str("..."),
            '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' | '\t' => plain.push(' '),
            '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}' => {}
            '\u{2022}' | '\u{b7}' => plain.push('*'),
            '\u{2039}' => plain.push('<'),
            '\u{203a}' => plain.push('>'),
            c => plain.push(c),
        }
    }
    plain
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

    #[test]
    fn what_made_it_dear_is_named_and_replaced() {
        assert_eq!(odd_characters("it’s “it” – я’"), ['’', '“', '”', '–', 'я']);
        assert_eq!(odd_characters("plain €"), Vec::<char>::new());
        let plain = smart_text("it’s “it”\u{a0}– so…\u{200b}");
        assert_eq!(plain, "it's \"it\" - so...");
        assert_eq!(segments(&plain).encoding, Encoding::Gsm7);
        assert_eq!(smart_text("я"), "я");
    }
}
