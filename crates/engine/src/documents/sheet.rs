//! Pages on which things have been given their places. Distances along a line are counted from where reading begins: the left, or the right for languages that run that way.

use super::{color::Color, text::Line};

/// Something with its place. Points, from the page's upper left corner.
#[derive(Debug, Clone)]
pub(super) enum Mark {
    /// A line of text; `y` is what the letters stand on.
    Text { x: f32, y: f32, line: Line, color: Color },
    /// A filled rectangle.
    Block { x: f32, y: f32, width: f32, height: f32, color: Color },
    /// The logo.
    Picture { x: f32, y: f32, width: f32, height: f32 },
}

/// At which edge of its box a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// Where reading begins.
    Start,
    /// Where it ends: figures.
    End,
}

/// A horizontal stretch of the page, counted from where reading begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Span {
    pub(super) start: f32,
    pub(super) width: f32,
}

impl Span {
    /// A part of this one.
    pub(super) fn part(self, start: f32, width: f32) -> Self {
        Self { start: self.start + start, width }
    }

    /// This one without its ends.
    pub(super) fn inset(self, by: f32) -> Self {
        Self { start: self.start + by, width: self.width - 2.0 * by }
    }
}

/// The pages of a document, the last of which is being filled.
#[derive(Debug)]
pub(super) struct Sheets {
    pub(super) width: f32,
    pub(super) height: f32,
    pub(super) is_rtl: bool,
    pub(super) pages: Vec<Vec<Mark>>,
    /// How far down the last page is filled.
    pub(super) y: f32,
}

impl Sheets {
    fn put(&mut self, mark: Mark) {
        self.pages.last_mut().expect("there is a page before anything is put on it").push(mark);
    }

    fn left(&self, span: Span) -> f32 {
        if self.is_rtl { self.width - span.start - span.width } else { span.start }
    }

    /// Puts a line at one edge of `span`, its upper edge at `top`.
    pub(super) fn text(&mut self, span: Span, side: Side, top: f32, line: Line, color: Color) {
        let is_left = (side == Side::Start) != self.is_rtl;
        let x = self.left(span) + if is_left { 0.0 } else { span.width - line.width };
        let y = top + line.size * 1.05;
        self.put(Mark::Text { x, y, line, color });
    }

    /// Puts a filled rectangle.
    pub(super) fn block(&mut self, span: Span, top: f32, height: f32, color: Color) {
        self.put(Mark::Block { x: self.left(span), y: top, width: span.width, height, color });
    }

    /// Puts the logo at the beginning of `span`.
    pub(super) fn picture(&mut self, span: Span, top: f32, (width, height): (f32, f32)) {
        let x = self.left(Span { start: span.start, width });
        self.put(Mark::Picture { x, y: top, width, height });
    }
}
