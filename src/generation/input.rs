//! What a decoder reads: ids, and pictures between them.

use std::ops::Range;

use burn::tensor::Tensor;

use crate::error::{RequestError, Result};
use crate::kernels::{SplicedRows, VlmBackend};

/// The rows of a picture that stand in a sequence.
#[derive(Debug, Clone)]
pub struct InputImage<B: VlmBackend> {
    /// Tells this picture from every other: sequences with equal ids share what is cached only
    /// where their pictures have equal keys too.
    pub key: u64,
    /// The rows, and the position of the first in the sequence.
    pub place: SplicedRows<Tensor<B, 2>>,
}

impl<B: VlmBackend> InputImage<B> {
    /// The positions of the rows.
    pub fn range(&self) -> Range<usize> {
        let SplicedRows { start, rows } = &self.place;
        let [num_rows, _] = rows.dims();
        *start..start + num_rows
    }
}

/// Checks what an unchecked index on a GPU would not: that `id` is in the embedding table.
pub(super) fn check_id(id: u32, vocab_size: usize) -> Result<(), RequestError> {
    match (id as usize) < vocab_size {
        true => Ok(()),
        false => Err(RequestError::UnknownTokenId { id, vocab_size }),
    }
}

/// A sequence to be read: ids, and the pictures that replace some of them.
#[derive(Debug, Clone)]
pub struct DecoderInput<B: VlmBackend> {
    /// The ids. Under a picture they are placeholders and never looked up.
    pub token_ids: Vec<u32>,
    /// The pictures, in order of their places, not overlapping.
    pub images: Vec<InputImage<B>>,
}

impl<B: VlmBackend> Default for DecoderInput<B> {
    fn default() -> Self {
        Self {
            token_ids: Vec::new(),
            images: Vec::new(),
        }
    }
}

impl<B: VlmBackend> DecoderInput<B> {
    /// Tokens and rows together.
    pub fn len(&self) -> usize {
        self.token_ids.len()
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.token_ids.is_empty()
    }

    /// Rows of pictures among them.
    pub fn image_rows(&self) -> usize {
        self.images.iter().map(|image| image.range().len()).sum()
    }

    /// Checks every id that will be looked up.
    pub(super) fn check_ids(&self, vocab_size: usize) -> Result<()> {
        let mut images = self.images.iter().map(InputImage::range).peekable();
        for (position, id) in self.token_ids.iter().enumerate() {
            while images.next_if(|image| image.end <= position).is_some() {}
            let is_placeholder = images.peek().is_some_and(|image| image.contains(&position));
            if !is_placeholder {
                check_id(*id, vocab_size)?;
            }
        }
        Ok(())
    }

    /// The pictures' rows within `positions`, counted from its start.
    pub(super) fn rows_within(&self, positions: &Range<usize>) -> Vec<SplicedRows<Tensor<B, 2>>> {
        let overlapping = self.images.iter().filter_map(|image| {
            let all = image.range();
            let start = all.start.max(positions.start);
            let end = all.end.min(positions.end);
            (start < end).then(|| SplicedRows {
                start: start - positions.start,
                rows: image
                    .place
                    .rows
                    .clone()
                    .slice_dim(0, start - all.start..end - all.start),
            })
        });
        overlapping.collect()
    }

    /// Adds the positions `chunk` of `other`, and the pictures that begin there.
    pub(super) fn append(&mut self, other: &Self, chunk: Range<usize>) {
        let begun = other.images.iter();
        let begun = begun.filter(|image| chunk.contains(&image.place.start));
        self.images.extend(begun.cloned());
        self.token_ids.extend_from_slice(&other.token_ids[chunk]);
    }

    /// How many positions of `self` and `other` hold the same, from the front.
    pub(super) fn common_prefix(&self, other: &Self) -> usize {
        let same_ids = self
            .token_ids
            .iter()
            .zip(&other.token_ids)
            .take_while(|(a, b)| a == b);
        let mut common = same_ids.count();
        let mut pairs = self.images.iter().zip(&other.images);
        let differing = pairs.find(|(a, b)| a.key != b.key || a.range() != b.range());
        if let Some((a, b)) = differing {
            common = common.min(a.place.start).min(b.place.start);
        }
        let paired = self.images.len().min(other.images.len());
        let unpaired = self.images.get(paired).or(other.images.get(paired));
        unpaired.map_or(common, |image| common.min(image.place.start))
    }

    /// Forgets everything behind the first `len` positions. A picture that is cut goes whole, and
    /// its placeholders with it.
    pub(super) fn truncate(&mut self, len: usize) -> usize {
        let cut = self
            .images
            .iter()
            .find(|image| image.range().end > len && image.place.start < len);
        let len = cut.map_or(len, |image| image.place.start);
        self.images.retain(|image| image.place.start < len);
        self.token_ids.truncate(len);
        len
    }
}
