//! Colours, and which of them can be read upon another.

/// A colour of the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Color {
    /// Red, green, blue.
    pub rgb: [u8; 3],
}

/// What small text needs against what is behind it (WCAG 2, level AA).
const READABLE: f64 = 4.5;

impl Color {
    /// Black.
    pub const BLACK: Self = Self { rgb: [0, 0, 0] };
    /// White.
    pub const WHITE: Self = Self { rgb: [255, 255, 255] };

    /// Reads `#rrggbb` or `#rgb`.
    pub fn read(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let digit = |at: usize| digits.get(at..at + 1).and_then(|digit| u8::from_str_radix(digit, 16).ok());
        let byte = |at: usize| digits.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match digits.len() {
            3 => Some(Self { rgb: [digit(0)? * 17, digit(1)? * 17, digit(2)? * 17] }),
            6 => Some(Self { rgb: [byte(0)?, byte(2)?, byte(4)?] }),
            _ => None,
        }
    }

    /// This colour where it can be read upon `behind`, else black or white, whichever can.
    pub(super) fn readable_on(self, behind: Self) -> Self {
        if contrast(self, behind) >= READABLE {
            return self;
        }
        let (black, white) = (contrast(Self::BLACK, behind), contrast(Self::WHITE, behind));
        if black >= white { Self::BLACK } else { Self::WHITE }
    }

    /// This colour, thinned with white: `percent` of it is left.
    pub(super) fn tint(self, percent: u16) -> Self {
        let thin = |part: u8| {
            let part = u16::from(part) * percent + 255 * (100 - percent);
            u8::try_from(part / 100).expect("a mean of bytes is a byte")
        };
        Self { rgb: self.rgb.map(thin) }
    }
}

fn luminance(color: Color) -> f64 {
    let [red, green, blue] = color.rgb.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.040_45 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

fn contrast(one: Color, other: Color) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_be_read_whatever_the_branding_says() {
        let check = |text: &str, behind: &str, expected: &str| {
            let [text, behind, expected] = [text, behind, expected].map(|color| Color::read(color).unwrap());
            assert_eq!(text.readable_on(behind), expected, "{text:?} on {behind:?}");
        };
        check("#ffffff", "#1f5fd6", "#ffffff");
        check("#ffffff", "#ffe600", "#000000");
        check("#333", "#000", "#ffffff");
        check("#1f5fd6", "#ffffff", "#1f5fd6");
        check("#ffff00", "#ffffff", "#000000");
    }

    #[test]
    fn only_hexadecimal_colours_are_read() {
        assert_eq!(Color::read("#abc"), Color::read("#aabbcc"));
        for bad in ["red", "#ab", "#abcd", "#ggg", "abc", "#äbc"] {
            assert_eq!(Color::read(bad), None, "{bad}");
        }
        assert_eq!(Color::BLACK.tint(0), Color::WHITE);
        assert_eq!(Color::BLACK.tint(100), Color::BLACK);
    }
}
