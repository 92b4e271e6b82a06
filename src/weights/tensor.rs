//! One tensor of a file: what it is, where it lies, and its content.

use std::ops::Range;

use super::convert::{ConvertError, ReadAt, Stored, convert, zeros};
use super::element::{ElementType, StoredType, WeightType, num_elements};
use super::file::WeightFile;
use super::limits::{MAX_NAME_BYTES, MAX_RANK};
use super::low_rank::Update;
use crate::error::{CheckpointError, Error, Result};

/// What a checkpoint knows of a tensor before reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    element_type: ElementType,
    shape: Vec<usize>,
    len_bytes: usize,
}

impl TensorInfo {
    /// `None` if the shape has more elements or bytes than a number can say, or rows that are no
    /// whole blocks.
    pub(super) fn new(element_type: ElementType, shape: Vec<usize>) -> Option<Self> {
        let len_bytes = element_type.len_bytes(&shape)?;
        Some(Self {
            element_type,
            shape,
            len_bytes,
        })
    }

    /// What the elements are stored as.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The axes, outer to inner.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Bytes of all elements together.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Elements of all axes together.
    #[must_use]
    pub fn num_elements(&self) -> usize {
        self.len_bytes / self.element_type.size_bytes() * self.element_type.block_len()
    }
}

/// A tensor as it is stored.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    name: String,
    info: TensorInfo,
    bytes: Vec<u8>,
}

impl StoredTensor {
    /// Element type, shape and size.
    #[must_use]
    pub fn info(&self) -> &TensorInfo {
        &self.info
    }

    /// The elements, row-major and little-endian.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The elements, row-major and little-endian, without a copy.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The elements in single precision, which is exact.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::ElementType`] if the elements are not f32, f16, bf16 or in blocks.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        let stored = Stored {
            from: require_stored_type(&self.name, &self.info)?,
            read_at: &read_from(&self.bytes),
            update: None,
        };
        let mut values: Vec<f32> = zeros(&self.name, self.info.num_elements())?;
        convert(&stored, &mut values).map_err(|error| named(&self.name, error))?;
        Ok(values)
    }
}

/// Takes floats as they are stored.
pub(super) type Fill<'a> = dyn FnMut(&Stored) -> Result<(), ConvertError> + 'a;

/// Where a tensor lies in its file. The range was checked against the file's size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TensorEntry {
    pub(super) info: TensorInfo,
    /// Byte position of the first element.
    pub(super) offset: u64,
    pub(super) layout: Layout,
}

/// How the elements of a tensor follow each other in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Row-major, without gaps.
    Contiguous,
    /// A view: elements to step for each axis.
    Strided(Vec<usize>),
}

impl Layout {
    /// The simplest layout that `strides` mean for `shape`; both have as many axes.
    pub(super) fn new(shape: &[usize], strides: &[usize]) -> Self {
        let mut expected = 1usize;
        for (axis, stride) in shape.iter().zip(strides).rev() {
            // An axis of one element is never stepped along, so any stride will do.
            if *axis != 1 && *stride != expected {
                return Self::Strided(strides.to_vec());
            }
            expected = expected.saturating_mul(*axis);
        }
        Self::Contiguous
    }

    /// Elements from the first to the last one, both included; `None` if that is no number.
    pub(super) fn span(&self, shape: &[usize]) -> Option<usize> {
        let len = num_elements(shape)?;
        let Self::Strided(strides) = self else {
            return Some(len);
        };
        if len == 0 {
            return Some(0);
        }
        let last = shape
            .iter()
            .zip(strides)
            .try_fold(0usize, |last, (axis, stride)| {
                last.checked_add(axis.checked_sub(1)?.checked_mul(*stride)?)
            })?;
        last.checked_add(1)
    }
}

impl TensorEntry {
    /// The tensor as it is stored.
    pub(super) fn read(&self, name: &str, file: &WeightFile) -> Result<StoredTensor> {
        let bytes = match &self.layout {
            Layout::Contiguous => file.read(self.offset, self.info.len_bytes as u64)?,
            Layout::Strided(strides) => self.gather(name, strides, file)?,
        };
        Ok(StoredTensor {
            name: name.to_string(),
            info: self.info.clone(),
            bytes,
        })
    }

    /// These steps along the first axis alone; what has no axis is one row.
    pub(super) fn rows(&self, rows: &Range<usize>) -> Self {
        let Some((_, inner)) = self.info.shape.split_first() else {
            return self.clone();
        };
        let stride = match &self.layout {
            Layout::Contiguous => inner.iter().product(),
            Layout::Strided(strides) => strides[0],
        };
        let element_type = self.info.element_type;
        let skipped = rows.start * stride / element_type.block_len() * element_type.size_bytes();
        let shape = std::iter::once(rows.len()).chain(inner.iter().copied());
        let info = TensorInfo::new(self.info.element_type, shape.collect());
        Self {
            info: info.expect("rows of a tensor have no more bytes than all of it"),
            offset: self.offset + skipped as u64,
            layout: self.layout.clone(),
        }
    }

    /// Lets `fill` take all elements and what `update` adds to them. Where the file has them in
    /// their order, there is no other copy of them on the host.
    pub(super) fn read_with(
        &self,
        name: &str,
        file: &WeightFile,
        update: Option<&Update>,
        fill: &mut Fill,
    ) -> Result<()> {
        let from = require_stored_type(name, &self.info)?;
        let mut fill = |read_at: &ReadAt| {
            let stored = Stored {
                from,
                read_at,
                update,
            };
            fill(&stored).map_err(|error| named(name, error))
        };
        match &self.layout {
            Layout::Contiguous => {
                let read_at = |offset: u64, buffer: &mut [u8]| {
                    file.read_into(self.offset.saturating_add(offset), buffer)
                };
                fill(&read_at)
            }
            Layout::Strided(strides) => {
                let bytes = self.gather(name, strides, file)?;
                fill(&read_from(&bytes))
            }
        }
    }

    /// Copies the elements of a view into row-major order.
    fn gather(&self, name: &str, strides: &[usize], file: &WeightFile) -> Result<Vec<u8>> {
        let size = self.info.element_type.size_bytes();
        let span = self
            .layout
            .span(&self.info.shape)
            .and_then(|span| span.checked_mul(size));
        let span = span.expect("the reader of the file checked the span");
        let source = file.read(self.offset, span as u64)?;
        let mut gathered = zeros(name, self.info.len_bytes)?;
        let mut index = vec![0; strides.len()];
        for element in gathered.chunks_exact_mut(size) {
            let position: usize = index
                .iter()
                .zip(strides)
                .map(|(i, stride)| i * stride)
                .sum();
            element.copy_from_slice(&source[position * size..(position + 1) * size]);
            advance(&mut index, &self.info.shape);
        }
        Ok(gathered)
    }
}

/// Steps `index` to the next position in row-major order.
fn advance(index: &mut [usize], shape: &[usize]) {
    for (position, axis) in index.iter_mut().zip(shape).rev() {
        *position += 1;
        if *position < *axis {
            return;
        }
        *position = 0;
    }
}

/// Refuses what no real tensor has, before it reaches a table or a terminal.
///
/// # Errors
///
/// [`CheckpointError::Limit`] or [`CheckpointError::InvalidTensor`].
pub(super) fn check_name_and_rank(file: &WeightFile, name: &str, rank: usize) -> Result<()> {
    let limit = MAX_NAME_BYTES as u64;
    file.require_at_most(
        limit,
        "the length of a tensor's name in bytes",
        name.len() as u64,
    )?;
    file.require_at_most(
        MAX_RANK as u64,
        "the number of axes of a tensor",
        rank as u64,
    )?;
    if name.chars().any(char::is_control) {
        return Err(file.invalid_tensor(name, "has control characters in its name"));
    }
    Ok(())
}

/// What the floats of `info` are stored in.
///
/// # Errors
///
/// [`CheckpointError::ElementType`] if no parameter can be read from it.
pub(super) fn require_stored_type(name: &str, info: &TensorInfo) -> Result<StoredType> {
    info.element_type.as_stored_type().ok_or_else(|| {
        let floats = WeightType::ALL.map(|known| known.element_type().name());
        let supported = floats.into_iter().chain(["the blocks of GGUF"]).collect();
        let (tensor, found) = (name.to_string(), info.element_type.name());
        CheckpointError::ElementType {
            tensor,
            found,
            supported,
        }
        .into()
    })
}

fn read_from(bytes: &[u8]) -> impl Fn(u64, &mut [u8]) -> Result<()> {
    |offset, buffer| {
        let start = offset as usize;
        buffer.copy_from_slice(&bytes[start..start + buffer.len()]);
        Ok(())
    }
}

fn named(name: &str, error: ConvertError) -> Error {
    match error {
        ConvertError::Read(error) => error,
        ConvertError::Overflow { value, target } => CheckpointError::Overflow {
            tensor: name.to_string(),
            value,
            target,
        }
        .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strides_of_axes_with_one_element_do_not_make_a_view() {
        assert_eq!(Layout::new(&[2, 1, 3], &[3, 77, 1]), Layout::Contiguous);
        assert_eq!(Layout::new(&[], &[]), Layout::Contiguous);
        assert_eq!(Layout::new(&[2, 3], &[1, 2]), Layout::Strided(vec![1, 2]));
    }

    #[test]
    fn the_span_of_a_view_ends_with_its_last_element() {
        let transposed = Layout::Strided(vec![1, 2]);
        assert_eq!(transposed.span(&[2, 3]), Some(6));
        let every_second = Layout::Strided(vec![2]);
        assert_eq!(every_second.span(&[3]), Some(5));
        assert_eq!(every_second.span(&[0]), Some(0));
        assert_eq!(Layout::Strided(vec![usize::MAX]).span(&[3]), None);
    }
}
