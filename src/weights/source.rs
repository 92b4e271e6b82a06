//! What a parameter is made of: rows of tensors, one under another, read into one buffer.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{TensorData, bf16, f16};

use super::blocks::BlockType;
use super::checkpoint::Checkpoint;
use super::convert::{Weight, convert, zeros};
use super::element::{ElementType, WeightType};
use super::kept_type::KeptType;
use super::low_rank::Update;
use super::packing::{Groups, pack};
use super::parameters::Role;
use super::tensor::{Fill, TensorInfo, require_stored_type};
use crate::error::Result;
use crate::kernels::{GROUP_LEN, PackedType};

/// Rows that tell what a matrix is like, and the fewest that tell it of a tensor in it.
const SAMPLED_ROWS: usize = 16;
const MIN_SAMPLED_ROWS: usize = 4;

/// All that one parameter is made of.
#[derive(Clone, Debug)]
pub(super) struct Source<'c> {
    /// Outer rows first.
    pub(super) pieces: Vec<Piece<'c>>,
    pub(super) role: Role,
    /// Elements of a row.
    pub(super) columns: usize,
    pub(super) kept: KeptType,
}

/// Elements that follow each other in a parameter.
#[derive(Clone, Debug)]
pub(super) enum Piece<'c> {
    /// As many zeros.
    Zeros(usize),
    /// Rows of a tensor, and what is added to them.
    Rows {
        tensor: NamedTensor<'c>,
        rows: Range<usize>,
        updates: Vec<LowRank<'c>>,
    },
}

/// A tensor of the checkpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamedTensor<'c> {
    pub(super) name: &'c str,
    pub(super) info: &'c TensorInfo,
}

/// `scale * up down`, which is added to rows of a tensor.
#[derive(Clone, Debug)]
pub(super) struct LowRank<'c> {
    pub(super) down: NamedTensor<'c>,
    pub(super) up: NamedTensor<'c>,
    pub(super) scale: f32,
    /// The rows of `up` that belong to them.
    pub(super) up_rows: Range<usize>,
}

impl NamedTensor<'_> {
    /// Steps along the first axis; what has no axis is one row.
    pub(super) fn num_rows(&self) -> usize {
        self.info.shape().first().copied().unwrap_or(1)
    }

    pub(super) fn read_rows<T: Weight>(
        &self,
        checkpoint: &Checkpoint,
        rows: &Range<usize>,
    ) -> Result<Vec<T>> {
        let (file, entry) = checkpoint.find(self.name)?;
        let entry = entry.rows(rows);
        let mut values: Vec<T> = zeros(self.name, entry.info.num_elements())?;
        entry.read_with(self.name, file, None, &mut |stored| {
            convert(stored, &mut values)
        })?;
        Ok(values)
    }
}

impl<'c> Source<'c> {
    /// One whole tensor.
    pub(super) fn of(tensor: NamedTensor<'c>) -> Self {
        let piece = Piece::Rows {
            tensor,
            rows: 0..tensor.num_rows(),
            updates: Vec::new(),
        };
        Self {
            pieces: vec![piece],
            role: Role::Precise,
            columns: tensor.info.shape().last().copied().unwrap_or(1),
            kept: WeightType::F32.into(),
        }
    }

    /// The type that all of it is stored in, or the narrowest that holds every value of its parts and
    /// of what is added to them: a sum in f32 is not rounded to the f16 it started from. See
    /// [`StoredType::float_type`](super::element::StoredType::float_type) for blocks that no packed type
    /// holds.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::ElementType`](crate::CheckpointError::ElementType) if a tensor holds no
    /// floats of 16 or 32 bits, and no blocks.
    pub(super) fn stored_type(&self) -> Result<KeptType> {
        if let Some(packed_type) = self.stored_packed_type() {
            return Ok(packed_type.into());
        }
        let mut widest: Option<WeightType> = None;
        for tensor in self.tensors() {
            let stored = require_stored_type(tensor.name, tensor.info)?.float_type();
            widest = Some(widest.map_or(stored, |widest| widest.widest(stored)));
        }
        Ok(widest.unwrap_or(WeightType::F32).into())
    }

    /// The type that packs the codes and scales of all its blocks as they are, if there is one and
    /// nothing is added to them.
    fn stored_packed_type(&self) -> Option<PackedType> {
        let mut all: Option<PackedType> = None;
        for piece in &self.pieces {
            let Piece::Rows {
                tensor, updates, ..
            } = piece
            else {
                continue;
            };
            let ElementType::Blocks(block_type) = tensor.info.element_type() else {
                return None;
            };
            let stored = block_type.packed_type().filter(|_| updates.is_empty())?;
            all = match all {
                Some(all) => Some(all.holding(stored)?),
                None => Some(stored),
            };
        }
        all
    }

    /// Bytes of it on the device.
    pub(super) fn kept_bytes(&self) -> u64 {
        let bytes = match self.kept {
            KeptType::Floats(weight_type) => self.len() * weight_type.dtype().size(),
            KeptType::Packed(packed_type) => {
                let words = packed_type.words_of_group() * size_of::<u32>();
                let numbers = packed_type.numbers_of_group() * size_of::<f16>();
                self.len() / GROUP_LEN * (words + numbers)
            }
        };
        bytes as u64
    }

    fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    /// The blocks that some of it is stored in.
    pub(super) fn block_types(&self) -> BTreeSet<BlockType> {
        let tensors = self.tensors().into_iter();
        let block_type = |tensor: NamedTensor<'_>| match tensor.info.element_type() {
            ElementType::Blocks(block_type) => Some(block_type),
            _ => None,
        };
        tensors.filter_map(block_type).collect()
    }

    /// Every tensor that is read for the parameter, once.
    pub(super) fn tensors(&self) -> Vec<NamedTensor<'c>> {
        let mut tensors: Vec<NamedTensor<'c>> = Vec::new();
        for tensor in self.pieces.iter().flat_map(Piece::tensors) {
            if tensors.iter().all(|known| known.name != tensor.name) {
                tensors.push(tensor);
            }
        }
        tensors
    }

    /// Reads the parameter as one axis of all its elements, which is its only copy on the host.
    pub(super) fn read(
        &self,
        checkpoint: &Checkpoint,
        weight_type: WeightType,
    ) -> Result<TensorData> {
        match weight_type {
            WeightType::F32 => self.read_as::<f32>(checkpoint),
            WeightType::F16 => self.read_as::<f16>(checkpoint),
            WeightType::BF16 => self.read_as::<bf16>(checkpoint),
        }
    }

    fn read_as<T: Weight>(&self, checkpoint: &Checkpoint) -> Result<TensorData> {
        let len = self.len();
        let mut values: Vec<T> = zeros(self.first_name(), len)?;
        let mut rest = values.as_mut_slice();
        let mut downs = Downs::default();
        for piece in &self.pieces {
            let (target, others) = rest.split_at_mut(piece.len());
            piece.read_with(checkpoint, &mut downs, &mut |stored| {
                convert(stored, target)
            })?;
            rest = others;
        }
        Ok(TensorData::new(values, [len]))
    }

    /// Reads the parameter as the codes of all its groups, and the numbers that go with them. Only a
    /// chunk of it is on the host as floats.
    ///
    /// # Panics
    ///
    /// If its rows are no whole groups.
    pub(super) fn read_packed(
        &self,
        checkpoint: &Checkpoint,
        packed_type: PackedType,
    ) -> Result<[TensorData; 2]> {
        assert!(
            self.columns.is_multiple_of(GROUP_LEN),
            "rows are whole groups"
        );
        let (name, groups) = (self.first_name(), self.len() / GROUP_LEN);
        let mut codes: Vec<u32> = zeros(name, groups * packed_type.words_of_group())?;
        let mut numbers: Vec<f16> = zeros(name, groups * packed_type.numbers_of_group())?;
        let mut rest = Groups {
            packed_type,
            codes: &mut codes,
            numbers: &mut numbers,
        };
        let mut downs = Downs::default();
        for piece in &self.pieces {
            let [mut target, others] = rest.split_at(piece.len());
            piece.read_with(checkpoint, &mut downs, &mut |stored| {
                pack(stored, &mut target)
            })?;
            rest = others;
        }
        let (num_words, num_numbers) = (codes.len(), numbers.len());
        Ok([
            TensorData::new(codes, [num_words]),
            TensorData::new(numbers, [num_numbers]),
        ])
    }

    /// Some of its rows, from all over each tensor in it: enough to tell what they are like.
    pub(super) fn sample(&self, checkpoint: &Checkpoint) -> Result<Vec<f32>> {
        let columns = self.columns.max(1);
        let sampled = self.sampled_rows();
        let mut values: Vec<f32> = zeros(self.first_name(), sampled.len() * columns)?;
        let mut downs = Downs::default();
        for (index, target) in sampled.into_iter().zip(values.chunks_exact_mut(columns)) {
            if let Some(row) = self.row(index) {
                row.read_with(checkpoint, &mut downs, &mut |stored| {
                    convert(stored, target)
                })?;
            }
        }
        Ok(values)
    }

    /// Rows from all over, the last of each tensor among them: values may be of another kind than the
    /// queries beside them, and tokens that were added than those before them.
    fn sampled_rows(&self) -> Vec<usize> {
        let columns = self.columns.max(1);
        let all_rows = (self.len() / columns).max(1);
        let mut sampled = Vec::new();
        for rows in self.rows_of_tensors() {
            let share = SAMPLED_ROWS * rows.len() / all_rows;
            let count = share.max(MIN_SAMPLED_ROWS).min(rows.len());
            // The middle of each part, for rows that repeat with the heads are seldom at one.
            let middles = (0..count).map(|part| (2 * part + 1) * rows.len() / (2 * count));
            sampled.extend(middles.map(|row| rows.start + row));
            sampled.extend(rows.last().filter(|last| sampled.last() != Some(last)));
        }
        sampled
    }

    /// The rows of pieces side by side that are of one tensor.
    fn rows_of_tensors(&self) -> Vec<Range<usize>> {
        let mut found: Vec<(Option<&str>, Range<usize>)> = Vec::new();
        let mut end = 0;
        for piece in &self.pieces {
            let name = piece.tensors().next().map(|tensor| tensor.name);
            let start = end;
            end += piece.len() / self.columns.max(1);
            match found.last_mut() {
                Some((last, rows)) if *last == name => rows.end = end,
                _ => found.push((name, start..end)),
            }
        }
        found.into_iter().map(|(_, rows)| rows).collect()
    }

    /// One row, as a piece of its own.
    fn row(&self, index: usize) -> Option<Piece<'c>> {
        let mut first = 0;
        for piece in &self.pieces {
            let num_rows = piece.len() / self.columns.max(1);
            if index < first + num_rows {
                // Where a tensor has its rows by another axis there is nothing to be told.
                return Some(piece.row(index - first)).filter(|row| row.len() == self.columns);
            }
            first += num_rows;
        }
        None
    }

    fn first_name(&self) -> &'c str {
        let mut tensors = self.pieces.iter().flat_map(Piece::tensors);
        tensors.next().map_or("", |tensor| tensor.name)
    }
}

impl<'c> Piece<'c> {
    /// Elements of the piece.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Zeros(len) => *len,
            Self::Rows { tensor, rows, .. } => {
                let row_len: usize = tensor.info.shape().iter().skip(1).product();
                rows.len() * row_len
            }
        }
    }

    /// One of its rows, with what is added to it.
    fn row(&self, index: usize) -> Self {
        let one_of = |rows: &Range<usize>| rows.start + index..rows.start + index + 1;
        match self {
            Self::Zeros(_) => self.clone(),
            Self::Rows {
                tensor,
                rows,
                updates,
            } => Self::Rows {
                tensor: *tensor,
                rows: one_of(rows),
                updates: updates
                    .iter()
                    .map(|update| LowRank {
                        up_rows: one_of(&update.up_rows),
                        ..update.clone()
                    })
                    .collect(),
            },
        }
    }

    /// What is added to it.
    pub(super) fn updates(&self) -> &[LowRank<'c>] {
        match self {
            Self::Zeros(_) => &[],
            Self::Rows { updates, .. } => updates,
        }
    }

    fn tensors(&self) -> impl Iterator<Item = NamedTensor<'c>> + '_ {
        let tensor = match self {
            Self::Zeros(_) => None,
            Self::Rows { tensor, .. } => Some(*tensor),
        };
        let factors = self
            .updates()
            .iter()
            .flat_map(|update| [update.down, update.up]);
        tensor.into_iter().chain(factors)
    }

    /// Lets `fill` take the elements; zeros it is not given.
    fn read_with(
        &self,
        checkpoint: &Checkpoint,
        downs: &mut Downs<'c>,
        fill: &mut Fill,
    ) -> Result<()> {
        let Self::Rows {
            tensor,
            rows,
            updates,
        } = self
        else {
            return Ok(());
        };
        let (file, entry) = checkpoint.find(tensor.name)?;
        let factors = updates.iter().map(|update| update.read(checkpoint, downs));
        let update = Update::sum(factors.collect::<Result<_>>()?);
        entry
            .rows(rows)
            .read_with(tensor.name, file, update.as_ref(), fill)
    }
}

/// The factors that narrow, by their names: the pieces of a parameter share them.
#[derive(Default)]
struct Downs<'c>(BTreeMap<&'c str, Arc<[f32]>>);

impl<'c> Downs<'c> {
    fn get(&mut self, checkpoint: &Checkpoint, down: NamedTensor<'c>) -> Result<Arc<[f32]>> {
        if let Some(read) = self.0.get(down.name) {
            return Ok(read.clone());
        }
        let read: Vec<f32> = down.read_rows(checkpoint, &(0..down.num_rows()))?;
        let read = Arc::<[f32]>::from(read);
        self.0.insert(down.name, read.clone());
        Ok(read)
    }
}

impl<'c> LowRank<'c> {
    fn read(&self, checkpoint: &Checkpoint, downs: &mut Downs<'c>) -> Result<Update> {
        let down = downs.get(checkpoint, self.down)?;
        let up = self.up.read_rows(checkpoint, &self.up_rows)?;
        Ok(Update::new(up, down, self.down.num_rows(), self.scale))
    }
}
