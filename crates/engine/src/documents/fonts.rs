//! The faces documents are set in, and which of them draws a character.
//!
//! All are Noto Sans, shipped in `documents/fonts` under the SIL Open Font License and embedded as subsets. There is no CJK: ten thousand glyphs weigh more than the rest of the program.

use std::cell::OnceCell;

use krilla::text::Font;
use rustybuzz::Face;
use unicode_script::{Script, UnicodeScript as _};

/// What stands in for a character no face has: a question mark in a diamond.
const REPLACEMENT: char = '\u{fffd}';

/// The file of a face in `documents/fonts`.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("fonts/NotoSans", $name, ".ttf")) as &[u8]
    };
}

/// The regular face of a script, and the bold one where there is one.
type Family = (&'static [u8], Option<&'static [u8]>);

/// In the order in which a character looks for its face.
const FAMILIES: &[Family] = &[
    (file!("-Regular"), Some(file!("-Bold"))),
    (file!("Arabic-Regular"), Some(file!("Arabic-Bold"))),
    (file!("Devanagari-Regular"), Some(file!("Devanagari-Bold"))),
    (file!("Hebrew-Regular"), Some(file!("Hebrew-Bold"))),
    (file!("Thai-Regular"), Some(file!("Thai-Bold"))),
    (file!("Bengali-Regular"), None),
    (file!("Tamil-Regular"), None),
    (file!("Telugu-Regular"), None),
    (file!("Gujarati-Regular"), None),
    (file!("Kannada-Regular"), None),
    (file!("Malayalam-Regular"), None),
    (file!("Gurmukhi-Regular"), None),
    (file!("Armenian-Regular"), None),
    (file!("Georgian-Regular"), None),
];

/// One face, ready to shape; it is prepared for a document only if the document draws with it.
pub(super) struct Loaded {
    bytes: &'static [u8],
    /// For shaping.
    pub(super) face: Face<'static>,
    font: OnceCell<Font>,
}

impl Loaded {
    fn new(bytes: &'static [u8]) -> Self {
        let face = Face::from_slice(bytes, 0).expect("the shipped fonts are sound");
        Self { bytes, face, font: OnceCell::new() }
    }

    /// For embedding.
    pub(super) fn font(&self) -> Font {
        self.font.get_or_init(|| Font::new(self.bytes.into(), 0).expect("the shipped fonts are sound")).clone()
    }
}

/// Names a face within [`Fonts`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FaceId {
    family: usize,
    is_bold: bool,
}

/// All faces of one document.
pub(super) struct Fonts {
    regular: Vec<Loaded>,
    bold: Vec<Option<Loaded>>,
}

impl Fonts {
    /// Reads the headers of the shipped faces.
    pub(super) fn load() -> Self {
        Self {
            regular: FAMILIES.iter().map(|(regular, _)| Loaded::new(regular)).collect(),
            bold: FAMILIES.iter().map(|(_, bold)| bold.map(Loaded::new)).collect(),
        }
    }

    /// The face behind a name.
    pub(super) fn get(&self, id: FaceId) -> &Loaded {
        let bold = self.bold[id.family].as_ref().filter(|_| id.is_bold);
        bold.unwrap_or(&self.regular[id.family])
    }

    /// Whether a character can be drawn. Marks that only steer others (joiners, directions) always can.
    pub(super) fn has(&self, c: char) -> bool {
        is_invisible(c) || self.family(c).is_some()
    }

    /// The character itself, or what stands in for it.
    pub(super) fn drawable(&self, c: char) -> char {
        match c {
            '\u{2028}' | '\u{2029}' => ' ',
            c if c.is_control() => ' ',
            c if self.has(c) => c,
            _ => REPLACEMENT,
        }
    }

    /// The face for a character after one drawn with `before`: what belongs to no script of its own stays with its neighbour where that face has it.
    pub(super) fn face_for(&self, c: char, before: Option<FaceId>, is_bold: bool) -> FaceId {
        let floats = is_invisible(c) || matches!(c.script(), Script::Common | Script::Inherited);
        if let Some(before) = before.filter(|_| floats)
            && (is_invisible(c) || self.draws(before.family, c))
        {
            return before;
        }
        FaceId { family: self.family(c).unwrap_or(0), is_bold }
    }

    fn family(&self, c: char) -> Option<usize> {
        (0..self.regular.len()).find(|family| self.draws(*family, c))
    }

    fn draws(&self, family: usize, c: char) -> bool {
        self.regular[family].face.glyph_index(c).is_some()
    }
}

/// Characters without a picture of their own: joiners, marks of direction, variation selectors, the soft hyphen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_promised_script_has_a_face() {
        let fonts = Fonts::load();
        let texts = [
            "Grüße, Łódź, Nguyễn",
            "Счёт № 5",
            "Τιμολόγιο",
            "فاتورة ضريبية",
            "חשבונית",
            "चालान क्रमांक",
            "ใบแจ้งหนี้",
            "চালান",
            "விலைப்பட்டியல்",
            "ఇన్వాయిస్",
            "ભરતિયું",
            "ಸರಕುಪಟ್ಟಿ",
            "ഇൻവോയ്സ്",
            "ਚਲਾਨ",
            "Հաշիվ",
            "ინვოისი",
            "€ ₹ ₦ ₽ ₺ ₪ – — … × •",
        ];
        for text in texts {
            let missing: Vec<char> = text.chars().filter(|c| !fonts.has(*c)).collect();
            assert!(missing.is_empty(), "{missing:?} of {text}");
        }
        let missing: Vec<char> = "請求書 🎉\u{200d}".chars().filter(|c| !fonts.has(*c)).collect();
        assert_eq!(missing, ['請', '求', '書', '🎉']);
        assert_eq!("a\t請".chars().map(|c| fonts.drawable(c)).collect::<String>(), "a \u{fffd}");
    }

    #[test]
    fn punctuation_stays_with_its_neighbour() {
        let fonts = Fonts::load();
        let arabic = fonts.face_for('ع', None, false);
        assert_eq!(fonts.face_for('.', Some(arabic), false), arabic);
        assert_ne!(fonts.face_for('%', Some(arabic), false), arabic, "the Arabic face has no percent sign");
        assert_ne!(fonts.face_for('a', Some(arabic), false), arabic);
        assert_ne!(fonts.face_for('a', None, true), fonts.face_for('a', None, false));
    }
}
