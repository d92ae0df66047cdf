//! Laid out pages as PDF, and pictures as they come from outside.

use krilla::{
    Data, Document,
    color::rgb,
    error::KrillaError,
    geom::{PathBuilder, Point, Rect, Size, Transform},
    image::Image,
    metadata::{Metadata, TextDirection},
    num::NormalizedF32,
    page::PageSettings,
    paint::Fill,
    surface::Surface,
};

use super::{
    InvoiceDocument, Unwritable,
    color::Color,
    fonts::Fonts,
    invoice,
    sheet::{Mark, Sheets},
};

/// Most pixels of a picture: 16 million take 64 MB while they are unpacked.
const PIXELS_MAX: u64 = 16_000_000;
/// Largest file of a picture, in bytes.
pub const PICTURE_MAX: usize = 4 * 1024 * 1024;

/// A picture for a document: PNG, JPEG, GIF or WebP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture(Image);

impl Picture {
    /// Reads a file's head; `None` when it is of another kind, broken, or too large. Cheap: the pixels are unpacked when the document is drawn.
    pub fn read(bytes: Vec<u8>) -> Option<Self> {
        if bytes.len() > PICTURE_MAX {
            return None;
        }
        let kind = match bytes.as_slice() {
            [0x89, b'P', b'N', b'G', ..] => Image::from_png,
            [0xff, 0xd8, 0xff, ..] => Image::from_jpeg,
            [b'G', b'I', b'F', b'8', ..] => Image::from_gif,
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Image::from_webp,
            _ => return None,
        };
        let image = kind(Data::from(bytes), true).ok()?;
        let (width, height) = image.size();
        let pixels = u64::from(width) * u64::from(height);
        (1..=PIXELS_MAX).contains(&pixels).then_some(Self(image))
    }

    /// Its size within a box of this width and height, with its proportions kept.
    pub(super) fn fit(&self, width: f32, height: f32) -> (f32, f32) {
        let (own_width, own_height) = self.0.size();
        let (own_width, own_height) = (own_width as f32, own_height as f32);
        let scale = (width / own_width).min(height / own_height);
        (own_width * scale, own_height * scale)
    }
}

/// Draws the pages.
pub(super) fn paint(document: &InvoiceDocument, fonts: &Fonts, pages: &Sheets) -> Result<Vec<u8>, Unwritable> {
    match draw(document, fonts, pages) {
        Err(KrillaError::Image(..)) => {
            let mut plain = document.clone();
            plain.look.logo = None;
            let pages = invoice::lay_out(&plain, fonts);
            draw(&plain, fonts, &pages).map_err(|error| Unwritable(error.to_string()))
        }
        drawn => drawn.map_err(|error| Unwritable(error.to_string())),
    }
}

fn draw(document: &InvoiceDocument, fonts: &Fonts, sheets: &Sheets) -> Result<Vec<u8>, KrillaError> {
    let mut pdf = Document::new();
    let direction = if sheets.is_rtl { TextDirection::RightToLeft } else { TextDirection::LeftToRight };
    let title = format!("{} {}", invoice::title(document), document.number);
    pdf.set_metadata(
        Metadata::new()
            .title(title)
            .authors(vec![document.seller.name.clone()])
            .producer("Tidings".to_owned())
            .language(document.language.tag().to_owned())
            .text_direction(direction),
    );
    for marks in &sheets.pages {
        let settings = PageSettings::from_wh(sheets.width, sheets.height).expect("papers have a size");
        let mut page = pdf.start_page_with(settings);
        let mut surface = page.surface();
        for mark in marks {
            put(&mut surface, document, fonts, mark);
        }
        surface.finish();
        page.finish();
    }
    pdf.finish()
}

fn put(surface: &mut Surface<'_>, document: &InvoiceDocument, fonts: &Fonts, mark: &Mark) {
    match mark {
        Mark::Text { x, y, line, color } => {
            surface.set_fill(Some(fill(*color)));
            for run in &line.runs {
                let at = Point::from_xy(x + run.x, *y);
                surface.draw_glyphs(at, &run.glyphs, fonts.get(run.face).font(), &run.text, line.size, false);
            }
        }
        Mark::Block { x, y, width, height, color } => {
            let mut path = PathBuilder::new();
            if let Some(rect) = Rect::from_xywh(*x, *y, *width, *height) {
                path.push_rect(rect);
            }
            if let Some(path) = path.finish() {
                surface.set_fill(Some(fill(*color)));
                surface.draw_path(&path);
            }
        }
        Mark::Picture { x, y, width, height } => {
            if let (Some(Picture(image)), Some(size)) = (&document.look.logo, Size::from_wh(*width, *height)) {
                surface.push_transform(&Transform::from_translate(*x, *y));
                surface.draw_image(image.clone(), size);
                surface.pop();
            }
        }
    }
}

fn fill(color: Color) -> Fill {
    let [red, green, blue] = color.rgb;
    Fill { paint: rgb::Color::new(red, green, blue).into(), opacity: NormalizedF32::ONE, ..Fill::default() }
}
