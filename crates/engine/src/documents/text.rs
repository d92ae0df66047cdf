//! Text into lines of positioned glyphs: bidirectional order, a face for each character, shaping, and breaking into lines.

use std::ops::Range;

use krilla::text::{GlyphId, KrillaGlyph};
use rustybuzz::{Direction, UnicodeBuffer};
use unicode_bidi::{BidiClass, Level, ParagraphBidiInfo, bidi_class, get_base_direction};
use unicode_script::{Script, UnicodeScript as _};

use super::fonts::{FaceId, Fonts};

/// How a text is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Style {
    /// Points.
    pub(super) size: f32,
    /// Bold or regular.
    pub(super) is_bold: bool,
}

impl Style {
    /// The distance between the tops of two lines, in points: room for the marks of all shipped scripts.
    pub(super) fn leading(self) -> f32 {
        self.size * 1.4
    }
}

/// One line, laid out from left to right.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    /// Points.
    pub(super) width: f32,
    /// What it is drawn of.
    pub(super) runs: Vec<Run>,
    /// Points.
    pub(super) size: f32,
}

/// Glyphs of one face.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// From the line's left edge, in points.
    pub(super) x: f32,
    /// With which face.
    pub(super) face: FaceId,
    /// What the glyphs say; their ranges point into it.
    pub(super) text: String,
    /// In the order they are drawn, from left to right.
    pub(super) glyphs: Vec<KrillaGlyph>,
}

/// Sets texts with the document's faces.
pub(super) struct Setter<'a> {
    pub(super) fonts: &'a Fonts,
    /// Texts without a direction of their own follow the document's.
    pub(super) is_rtl: bool,
}

impl Setter<'_> {
    /// One line that is never broken.
    pub(super) fn line(&self, text: &str, style: Style) -> Line {
        self.wrap(&text.replace(['\n', '\r'], " "), style, f32::INFINITY).swap_remove(0)
    }

    /// One line of at most this width: what is too wide is set smaller.
    pub(super) fn fitted(&self, text: &str, style: Style, width: f32) -> Line {
        let line = self.line(text, style);
        if line.width <= width {
            return line;
        }
        self.line(text, Style { size: style.size * width / line.width * 0.99, ..style })
    }

    /// One line of at most this width: what does not fit is left out, and an ellipsis says so.
    pub(super) fn clipped(&self, text: &str, style: Style, width: f32) -> Line {
        let mut line = self.line(text, style);
        let mut chars: Vec<char> = text.chars().collect();
        while line.width > width && !chars.is_empty() {
            // The first cut is nearly right, the others take one character each.
            let share = (chars.len() as f32 * width / line.width) as usize;
            chars.truncate(share.min(chars.len() - 1));
            let start: String = chars.iter().collect();
            line = self.line(&format!("{}…", start.trim_end()), style);
        }
        line
    }

    /// Breaks a text into lines of at most `width` points; at least one. Words that are wider are broken between characters.
    pub(super) fn wrap(&self, text: &str, style: Style, width: f32) -> Vec<Line> {
        let mut lines = Vec::new();
        for paragraph in text.trim_end().split('\n') {
            let paragraph = paragraph.trim_end_matches('\r');
            let clean: String = paragraph.chars().map(|c| self.fonts.drawable(c)).collect();
            let base = if self.runs_rtl(&clean) { Level::rtl() } else { Level::ltr() };
            let bidi = ParagraphBidiInfo::new(&clean, Some(base));
            for range in breaks(&clean, &self.advances(&clean, &bidi.levels, style), width) {
                lines.push(self.set(&clean, &bidi, range, style));
            }
        }
        lines
    }

    /// In a document that runs from right to left, so does everything that has letters running that way; elsewhere a text's first letter decides.
    fn runs_rtl(&self, text: &str) -> bool {
        let is_rtl_letter = |c| matches!(bidi_class(c), BidiClass::R | BidiClass::AL);
        match get_base_direction(text) {
            unicode_bidi::Direction::Rtl => true,
            unicode_bidi::Direction::Ltr => self.is_rtl && text.chars().any(is_rtl_letter),
            unicode_bidi::Direction::Mixed => self.is_rtl,
        }
    }

    /// The width of each cluster of characters, in the order of the text.
    fn advances(&self, text: &str, levels: &[Level], style: Style) -> Vec<(usize, f32)> {
        let mut advances: Vec<(usize, f32)> = Vec::new();
        for piece in self.pieces(text, 0..text.len(), levels, style.is_bold) {
            for glyph in self.shape(&text[piece.range.clone()], &piece) {
                let start = piece.range.start + glyph.text_range.start;
                advances.push((start, glyph.x_advance * style.size));
            }
        }
        advances.sort_by_key(|(start, _)| *start);
        advances.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 += next.1;
            }
            is_same
        });
        advances
    }

    /// Lays out one line in the order it is seen.
    fn set(&self, text: &str, bidi: &ParagraphBidiInfo<'_>, range: Range<usize>, style: Style) -> Line {
        let mut line = Line { size: style.size, ..Line::default() };
        if range.is_empty() {
            return line;
        }
        let (levels, visual) = bidi.visual_runs(range);
        for run in visual {
            let mut pieces = self.pieces(text, run.clone(), &levels, style.is_bold);
            if levels[run.start].is_rtl() {
                pieces.reverse();
            }
            for piece in pieces {
                let said = &text[piece.range.clone()];
                let glyphs = self.shape(said, &piece);
                let width: f32 = glyphs.iter().map(|glyph| glyph.x_advance * style.size).sum();
                line.runs.push(Run { x: line.width, face: piece.face, text: said.to_owned(), glyphs });
                line.width += width;
            }
        }
        line
    }

    /// Splits a stretch of text where the level, the face or the script changes.
    fn pieces(&self, text: &str, range: Range<usize>, levels: &[Level], is_bold: bool) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::new();
        for (offset, c) in text[range.clone()].char_indices() {
            let at = range.start + offset;
            let end = at + c.len_utf8();
            let level = levels[at];
            let before = pieces.last().filter(|piece| piece.level == level);
            let face = self.fonts.face_for(c, before.map(|piece| piece.face), is_bold);
            let script = Some(c.script()).filter(|script| !matches!(script, Script::Common | Script::Inherited));
            match pieces.last_mut() {
                Some(piece)
                    if piece.level == level
                        && piece.face == face
                        && (script.is_none() || piece.script.is_none() || piece.script == script) =>
                {
                    piece.range.end = end;
                    piece.script = piece.script.or(script);
                }
                _ => pieces.push(Piece { range: at..end, level, face, script }),
            }
        }
        pieces
    }

    /// The glyphs of a piece from left to right, in shares of the font size.
    fn shape(&self, said: &str, piece: &Piece) -> Vec<KrillaGlyph> {
        let face = &self.fonts.get(piece.face).face;
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(said);
        buffer.set_direction(if piece.level.is_rtl() { Direction::RightToLeft } else { Direction::LeftToRight });
        buffer.guess_segment_properties();
        let shaped = rustybuzz::shape(face, &[], buffer);
        let mut starts: Vec<usize> = shaped.glyph_infos().iter().map(|info| info.cluster as usize).collect();
        starts.sort_unstable();
        starts.dedup();
        let em = face.units_per_em() as f32;
        let glyphs = shaped.glyph_infos().iter().zip(shaped.glyph_positions());
        glyphs
            .map(|(info, position)| {
                let start = info.cluster as usize;
                let end = starts.iter().copied().find(|next| *next > start).unwrap_or(said.len());
                KrillaGlyph::new(
                    GlyphId::new(info.glyph_id),
                    position.x_advance as f32 / em,
                    position.x_offset as f32 / em,
                    position.y_offset as f32 / em,
                    position.y_advance as f32 / em,
                    start..end,
                    None,
                )
            })
            .collect()
    }
}

/// A stretch of text that is shaped at once.
struct Piece {
    range: Range<usize>,
    level: Level,
    face: FaceId,
    script: Option<Script>,
}

/// Where lines begin and end, without the spaces at their ends. Always at least one.
fn breaks(text: &str, advances: &[(usize, f32)], width: f32) -> Vec<Range<usize>> {
    let trimmed = |range: Range<usize>| range.start..range.start + text[range.clone()].trim_end().len();
    let mut lines = Vec::new();
    // The line so far: where it begins, its width, and the last place it may end with the width up to there.
    let (mut start, mut filled, mut chance): (usize, f32, Option<(usize, f32)>) = (0, 0.0, None);
    for &(at, advance) in advances {
        let before = text[..at].chars().next_back();
        let is_space = text[at..].starts_with(char::is_whitespace);
        if at > start
            && !is_space
            && before
                .is_some_and(|c| c.is_whitespace() && !is_glue(c) || matches!(c, '-' | '/' | '\u{ad}' | '\u{200b}'))
        {
            chance = Some((at, filled));
        }
        // Spaces may hang over the edge.
        if filled + advance > width && !is_space && at > start {
            let (cut, up_to) = chance.take().unwrap_or((at, filled));
            lines.push(trimmed(start..cut));
            start = cut;
            filled -= up_to;
        }
        filled += advance;
    }
    lines.push(trimmed(start..text.len()));
    lines
}

/// Spaces that hold their neighbours together, as within numbers.
fn is_glue(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{202f}' | '\u{2007}')
}

#[cfg(test)]
mod tests {
    use super::*;

    const STYLE: Style = Style { size: 10.0, is_bold: false };

    /// What each line draws, from left to right.
    fn drawn(text: &str, width: f32) -> Vec<Vec<String>> {
        let fonts = Fonts::load();
        let setter = Setter { fonts: &fonts, is_rtl: false };
        let lines = setter.wrap(text, STYLE, width);
        for line in &lines {
            assert!(line.width <= width + 0.01, "{text}: {} > {width}", line.width);
        }
        lines.iter().map(|line| line.runs.iter().map(|run| run.text.clone()).collect()).collect()
    }

    fn joined(text: &str, width: f32) -> Vec<String> {
        drawn(text, width).into_iter().map(|runs| runs.concat()).collect()
    }

    #[test]
    fn lines_break_between_words() {
        assert_eq!(joined("one two three", 1_000.0), ["one two three"]);
        assert_eq!(joined("one two three", 45.0), ["one two", "three"]);
        assert_eq!(joined("one\n\ntwo\r\n", 45.0), ["one", "", "two"]);
        assert_eq!(joined("", 45.0), [""]);
        assert_eq!(joined("co-operation", 45.0), ["co-", "operatio", "n"]);
    }

    #[test]
    fn a_word_wider_than_the_line_is_broken_and_nothing_is_lost() {
        let long = "Donaudampfschifffahrtsgesellschaftskapitän".repeat(5);
        let lines = joined(&long, 60.0);
        assert!(lines.len() > 10);
        assert_eq!(lines.concat(), long);
        // Even narrower than one character: each line has one.
        assert_eq!(Setter { fonts: &Fonts::load(), is_rtl: false }.wrap("abc", STYLE, 1.0).len(), 3);
    }

    #[test]
    fn arabic_runs_from_right_to_left_and_numbers_in_it_do_not() {
        // What is read first stands at the right: the Latin run ends up at the left.
        assert_eq!(drawn("خدمة Cloud", 1_000.0), [vec!["Cloud", "خدمة "]]);
        let line = drawn("المبلغ 1,250.00", 1_000.0);
        assert_eq!(line[0].first().map(String::as_str), Some("1,250.00"));
    }

    #[test]
    fn a_mark_stays_with_its_letter() {
        // Each line is too narrow for two, and no break may come between a letter and its sign.
        assert_eq!(joined("किकिकि", 12.0), ["कि", "कि", "कि"]);
        let fonts = Fonts::load();
        let setter = Setter { fonts: &fonts, is_rtl: false };
        let [line] = &setter.wrap("क्षि", STYLE, 100.0)[..] else { panic!("one line") };
        assert!(line.runs[0].glyphs.iter().all(|glyph| glyph.glyph_id.to_u32() != 0), "every glyph is there");
    }

    #[test]
    fn a_name_within_an_arabic_line_does_not_turn_it_around() {
        let fonts = Fonts::load();
        let seen = |is_rtl| {
            let line = Setter { fonts: &fonts, is_rtl }.line("VAT على 5", STYLE);
            line.runs.iter().map(|run| run.text.trim().to_owned()).filter(|said| !said.is_empty()).collect::<Vec<_>>()
        };
        assert_eq!(seen(true).last().map(String::as_str), Some("VAT"), "it is read first, from the right");
        assert_eq!(seen(false).first().map(String::as_str), Some("VAT"));
    }

    #[test]
    fn a_name_too_long_for_a_corner_is_cut_and_says_so() {
        let fonts = Fonts::load();
        let setter = Setter { fonts: &fonts, is_rtl: false };
        let cut = setter.clipped(&"Very long name ".repeat(20), STYLE, 100.0);
        let said: String = cut.runs.iter().map(|run| run.text.as_str()).collect();
        assert!(cut.width <= 100.0 && said.starts_with("Very long") && said.ends_with('…'), "{said}");
        let whole = setter.clipped("Short", STYLE, 100.0);
        assert_eq!(whole.runs[0].text, "Short");
    }

    #[test]
    fn what_is_too_wide_for_its_place_is_set_smaller() {
        let fonts = Fonts::load();
        let setter = Setter { fonts: &fonts, is_rtl: false };
        let line = setter.fitted("9,999,999,999,999.99", STYLE, 40.0);
        assert!(line.width <= 40.0 && line.size < 10.0, "{} at {}", line.width, line.size);
    }
}
