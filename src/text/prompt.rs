//! From a rendered prompt to the ids and picture rows that a decoder reads.

mod segments;

use std::ops::Range;

use self::segments::{RowStrip, Segment, SegmentBuilder};
use super::engine::{Effort, SpanPlace};
use super::tokenizer::Tokenizer;
use crate::error::{RequestError, Result, TemplateError};

/// Most bytes of text in a prompt, template and messages together.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// What a template made of a conversation: text that knows its author, and places for pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    pieces: Vec<Piece>,
    bos: Bos,
    image_border: ImageBorder,
}

/// One piece of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Text of the template; control tokens in it count.
    Template(String),
    /// Text of a message; nothing in it counts.
    Message(String),
    /// The picture with this index.
    Image(usize),
    /// The tokenizer's own token for the beginning of a text.
    Bos,
    /// The tokenizer's own token for the end of a text.
    Eos,
}

/// Whether and where the tokenizer's bos goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bos {
    /// In front of everything, if the tokenizer puts one there.
    First,
    /// Behind the pictures at the start.
    AfterImages,
    /// In front, unless the template's text begins with it. Processors of image models do this.
    UnlessWritten,
    /// Nowhere: the template's text holds what is needed. Chat templates of text models do this.
    OnlyWritten,
}

/// How text goes on behind a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ImageBorder {
    /// The picture is one token among the others.
    Token,
    /// The text was cut at the picture and begins anew, with its own leading space.
    Cut,
}

/// What stands for one picture in a prompt.
///
/// # Examples
///
/// ```
/// use burn_vlm::{ImagePart, ImageTokens};
///
/// let llava = ImageTokens::rows(576);
/// let framed = ImageTokens::new([
///     ImagePart::Text("<fake_token_around_image><global-img>".to_string()),
///     ImagePart::Rows(64),
///     ImagePart::Text("<fake_token_around_image>".to_string()),
/// ]);
/// assert_eq!(llava.num_rows(), 576);
/// assert_eq!(framed.num_rows(), 64);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTokens {
    parts: Vec<ImagePart>,
}

/// One part of what stands for a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImagePart {
    /// This many rows of the encoded picture.
    Rows(usize),
    /// Text of the model's own, such as row and column markers; control tokens in it count.
    Text(String),
}

impl ImageTokens {
    /// A picture made of several parts.
    pub fn new(parts: impl IntoIterator<Item = ImagePart>) -> Self {
        Self {
            parts: parts.into_iter().collect(),
        }
    }

    /// A picture that is nothing but its rows.
    pub fn rows(num_rows: usize) -> Self {
        Self::new([ImagePart::Rows(num_rows)])
    }

    /// The rows of the encoded picture that are placed in the prompt.
    pub fn num_rows(&self) -> usize {
        let rows = self.parts.iter().map(|part| match part {
            ImagePart::Rows(rows) => *rows,
            ImagePart::Text(_) => 0,
        });
        rows.sum()
    }
}

/// A prompt as the decoder reads it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PromptTokens {
    /// The ids; where a picture's rows go, the placeholder.
    pub ids: Vec<u32>,
    /// Where the rows of the pictures go, in the order of `ids`; the spans of one picture take up
    /// its rows from first to last.
    pub image_spans: Vec<ImageSpan>,
}

/// A run of rows of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSpan {
    /// Index of the picture in the request.
    pub image: usize,
    /// Where the run starts in [`PromptTokens::ids`].
    pub start: usize,
    /// How many rows it has.
    pub len: usize,
}

impl ImageSpan {
    /// The places of the rows in [`PromptTokens::ids`].
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.len
    }
}

impl Prompt {
    pub(crate) fn new(pieces: Vec<Piece>, bos: Bos) -> Self {
        Self {
            pieces,
            bos,
            image_border: ImageBorder::Token,
        }
    }

    pub(crate) fn with_image_border(mut self, image_border: ImageBorder) -> Self {
        self.image_border = image_border;
        self
    }

    /// What the prompt is made of.
    #[cfg(test)]
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Moves all pictures in front of everything, bos included.
    ///
    /// InstructBLIP and BLIP-2 were trained so.
    pub fn with_images_first(mut self) -> Self {
        let is_image = |piece: &Piece| matches!(piece, Piece::Image(_));
        self.pieces.sort_by_key(|piece| !is_image(piece));
        self.bos = Bos::AfterImages;
        self
    }

    /// The places for pictures.
    pub fn num_images(&self) -> usize {
        self.pieces
            .iter()
            .filter(|piece| matches!(piece, Piece::Image(_)))
            .count()
    }

    /// Tokenises the prompt, with `images[i]` where the picture `i` goes.
    ///
    /// `placeholder_id` is repeated once for every row of a picture: the model's image token, or
    /// any id where it has none.
    ///
    /// Text of the template and of a message that stand side by side are encoded together, as
    /// Hugging Face does; control tokens are only found in the template's.
    ///
    /// # Errors
    ///
    /// [`RequestError::ImageCount`] when there are more or fewer places than `images`,
    /// [`RequestError::TooLong`] beyond [`MAX_TEXT_BYTES`],
    /// [`TemplateError::MissingToken`] when the template needs a token that the tokenizer does not
    /// name, and [`TokenizerError`](crate::error::TokenizerError) when the vocabulary cannot spell
    /// the text.
    pub fn tokenize(
        &self,
        tokenizer: &Tokenizer,
        images: &[ImageTokens],
        placeholder_id: u32,
    ) -> Result<PromptTokens> {
        let slots = self.num_images();
        if slots != images.len() {
            return Err(RequestError::ImageCount {
                slots,
                images: images.len(),
            }
            .into());
        }
        let effort = Effort::for_bytes(self.check_length(images)?);
        let segments =
            self.segments(tokenizer, images, self.row_strip(tokenizer, placeholder_id))?;
        let images_in_front = match self.bos {
            Bos::AfterImages => segments
                .iter()
                .take_while(|segment| segment.is_image())
                .count(),
            Bos::First | Bos::UnlessWritten | Bos::OnlyWritten => 0,
        };
        let mut writer = TokenWriter {
            tokenizer,
            effort,
            placeholder_id,
            image_border: self.image_border,
            place: SpanPlace::Start,
            tokens: PromptTokens::default(),
        };
        writer.write(&segments[..images_in_front])?;
        if self.adds_bos(tokenizer) {
            writer.tokens.ids.extend(tokenizer.bos_ids());
            // What the tokenizer adds by itself is not part of the text.
            writer.place = SpanPlace::Start;
        }
        writer.write(&segments[images_in_front..])?;
        Ok(writer.tokens)
    }

    /// The bytes of all text.
    fn check_length(&self, images: &[ImageTokens]) -> Result<usize, RequestError> {
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Template(text) | Piece::Message(text) => text.len(),
            Piece::Image(_) | Piece::Bos | Piece::Eos => 0,
        });
        let parts = images
            .iter()
            .flat_map(|image| &image.parts)
            .map(|part| match part {
                ImagePart::Text(text) => text.len(),
                ImagePart::Rows(_) => 0,
            });
        let found_bytes = pieces.chain(parts).sum();
        if found_bytes > MAX_TEXT_BYTES {
            return Err(RequestError::TooLong {
                found_bytes,
                limit_bytes: MAX_TEXT_BYTES,
            });
        }
        Ok(found_bytes)
    }

    /// A picture that is one token among the others does what the flags of its token say.
    fn row_strip(&self, tokenizer: &Tokenizer, placeholder_id: u32) -> RowStrip {
        let (left, right) = match self.image_border {
            ImageBorder::Token => tokenizer.strips(placeholder_id),
            ImageBorder::Cut => (false, false),
        };
        RowStrip { left, right }
    }

    fn segments(
        &self,
        tokenizer: &Tokenizer,
        images: &[ImageTokens],
        row_strip: RowStrip,
    ) -> Result<Vec<Segment>> {
        let mut builder = SegmentBuilder::new(row_strip);
        for piece in &self.pieces {
            match piece {
                Piece::Template(text) => builder.push_template(text),
                Piece::Message(text) => builder.push_message(text),
                Piece::Bos => builder.push_template(&named(tokenizer, tokenizer.bos_id(), "bos")?),
                Piece::Eos => builder.push_template(&named(tokenizer, tokenizer.eos_id(), "eos")?),
                Piece::Image(image) => {
                    // A place for a picture that the request lacks is counted like any other.
                    let tokens = images.get(*image).ok_or(RequestError::ImageCount {
                        slots: image + 1,
                        images: images.len(),
                    })?;
                    for part in &tokens.parts {
                        match part {
                            ImagePart::Rows(rows) => builder.push_rows(*image, *rows),
                            ImagePart::Text(text) => builder.push_template(text),
                        }
                    }
                }
            }
        }
        Ok(builder.finish())
    }

    fn adds_bos(&self, tokenizer: &Tokenizer) -> bool {
        match self.bos {
            Bos::First | Bos::AfterImages => true,
            Bos::OnlyWritten => false,
            Bos::UnlessWritten => {
                let bos = tokenizer.bos_id().and_then(|id| tokenizer.token_text(id));
                !matches!(
                    (self.pieces.first(), bos),
                    (Some(Piece::Template(text)), Some(bos)) if text.starts_with(&bos)
                )
            }
        }
    }
}

fn named(
    tokenizer: &Tokenizer,
    id: Option<u32>,
    token: &'static str,
) -> Result<String, TemplateError> {
    id.and_then(|id| tokenizer.token_text(id))
        .ok_or(TemplateError::MissingToken { token })
}

/// Encodes segments one behind the other.
struct TokenWriter<'a> {
    tokenizer: &'a Tokenizer,
    effort: Effort,
    placeholder_id: u32,
    image_border: ImageBorder,
    place: SpanPlace,
    tokens: PromptTokens,
}

impl TokenWriter<'_> {
    fn write(&mut self, segments: &[Segment]) -> Result<()> {
        for segment in segments {
            let place = std::mem::replace(&mut self.place, SpanPlace::Continuation);
            match segment {
                Segment::Text { text, owned } => {
                    let ids = &mut self.tokens.ids;
                    self.tokenizer
                        .encode_span(text, owned, place, &self.effort, ids)?;
                }
                Segment::Rows { image, rows } => self.write_rows(*image, *rows),
            }
        }
        Ok(())
    }

    fn write_rows(&mut self, image: usize, rows: usize) {
        let start = self.tokens.ids.len();
        self.tokens
            .ids
            .extend(std::iter::repeat_n(self.placeholder_id, rows));
        self.tokens.image_spans.push(ImageSpan {
            image,
            start,
            len: rows,
        });
        if self.image_border == ImageBorder::Cut {
            self.place = SpanPlace::Start;
        }
    }
}

#[cfg(test)]
mod tests;
