//! The rows of a packed matrix.
//!
//! Codes are widened in registers and multiplied by their scale there, which is exact; products are
//! added in the order of [`dot_tile`](super::dot_tile). So the answer is, to the bit, that of the
//! same matrix in f32.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, in slices of the right length"
)]

use std::marker::PhantomData;
use std::ops::Range;

use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::f16;

use super::dot::{CACHE_LINE, add_lanes, bytes_ahead};
use super::simd::widen_f16;
use super::{MAX_LANES, MatrixRows, Simd, StridedRows, matrix_rows, no_kernel_for};
use crate::kernels::{GROUP_LEN, LaunchRefused, PackedMatrix};

/// The most vectors in a group, and the fewest lanes of any tier.
const MAX_VECTORS: usize = 4;
const MIN_LANES: usize = GROUP_LEN / MAX_VECTORS;

/// Groups whose numbers are widened at once, ahead of their codes.
const BLOCK_GROUPS: usize = 16;

/// Bytes behind the numbers of a row that are needed soon: see [`bytes_ahead`].
const NUMBERS_AHEAD: usize = 512;

/// Codes of one width.
pub(in crate::kernels) trait Codes: Copy + Send + Sync {
    /// Bytes of a group.
    const BYTES: usize;

    /// What is added to `scale * code` where no minimum is stored, in scales.
    const ZERO: f32;

    /// The code of an element of a group.
    fn code(group: &[u8], at: usize) -> f32;

    /// `GROUP_LEN / S::LANES` vectors of elements: codes times the scale, plus the minimum.
    ///
    /// # Safety
    /// `group` must be [`BYTES`](Self::BYTES) that are readable.
    unsafe fn widen<S: Simd>(
        simd: S,
        group: *const u8,
        numbers: [f32; 2],
    ) -> [S::Vector; MAX_VECTORS];

    /// One of them.
    ///
    /// # Safety
    /// As [`widen`](Self::widen).
    unsafe fn widen_one<S: Simd>(
        simd: S,
        group: *const u8,
        numbers: [f32; 2],
        index: usize,
    ) -> S::Vector;
}

/// Signed bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Bytes;

/// Halves of bytes: the lower ones are the first half of the group.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct HalfBytes;

impl Codes for Bytes {
    const BYTES: usize = GROUP_LEN;
    const ZERO: f32 = 0.0;

    fn code(group: &[u8], at: usize) -> f32 {
        f32::from(group[at].cast_signed())
    }

    #[inline(always)]
    unsafe fn widen<S: Simd>(
        simd: S,
        group: *const u8,
        [scale, _]: [f32; 2],
    ) -> [S::Vector; MAX_VECTORS] {
        // Codes around zero have no minimum, and nothing is read for it.
        let (scale, zero) = (simd.splat(scale), simd.splat(0.0));
        let mut vectors = [zero; MAX_VECTORS];
        for (index, vector) in vectors.iter_mut().take(GROUP_LEN / S::LANES).enumerate() {
            // SAFETY: the vectors together are a group, by the contract.
            let codes = unsafe { simd.load_i8(group.add(index * S::LANES).cast()) };
            *vector = simd.mul_add(codes, scale, zero);
        }
        vectors
    }

    #[inline(always)]
    unsafe fn widen_one<S: Simd>(
        simd: S,
        group: *const u8,
        [scale, _]: [f32; 2],
        index: usize,
    ) -> S::Vector {
        // SAFETY: the vector is a part of the group, by the contract.
        let codes = unsafe { simd.load_i8(group.add(index * S::LANES).cast()) };
        simd.mul_add(codes, simd.splat(scale), simd.splat(0.0))
    }
}

impl Codes for HalfBytes {
    const BYTES: usize = GROUP_LEN / 2;
    const ZERO: f32 = -8.0;

    fn code(group: &[u8], at: usize) -> f32 {
        let byte = group[at % Self::BYTES];
        f32::from(if at < Self::BYTES {
            byte & 15
        } else {
            byte >> 4
        })
    }

    #[inline(always)]
    unsafe fn widen<S: Simd>(
        simd: S,
        group: *const u8,
        numbers: [f32; 2],
    ) -> [S::Vector; MAX_VECTORS] {
        let mut vectors = [simd.splat(0.0); MAX_VECTORS];
        let half = Self::BYTES / S::LANES;
        for index in 0..half {
            // SAFETY: the loads together are a group, by the contract.
            let [lower, upper] =
                unsafe { simd.load_scaled_half_bytes(group.add(index * S::LANES), numbers) };
            vectors[index] = lower;
            vectors[half + index] = upper;
        }
        vectors
    }

    #[inline(always)]
    unsafe fn widen_one<S: Simd>(
        simd: S,
        group: *const u8,
        numbers: [f32; 2],
        index: usize,
    ) -> S::Vector {
        let half = Self::BYTES / S::LANES;
        // SAFETY: the load is a part of the group, by the contract.
        let [lower, upper] =
            unsafe { simd.load_scaled_half_bytes(group.add(index % half * S::LANES), numbers) };
        if index < half { lower } else { upper }
    }
}

/// The rows of a packed matrix where they lie.
pub(in crate::kernels) fn packed_rows<C: Codes>(
    packed: &PackedMatrix<FlexTensor, FlexTensor>,
) -> Result<PackedRows<'_, C>, LaunchRefused> {
    let PackedMatrix { codes, numbers } = packed;
    if codes.dtype() != DType::U32 {
        return Err(no_kernel_for("codes", codes.dtype()));
    }
    if numbers.dtype() != DType::F16 {
        return Err(no_kernel_for("scales", numbers.dtype()));
    }
    Ok(PackedRows::new(
        matrix_rows::<u32>(codes)?.as_bytes(),
        matrix_rows(numbers)?,
    ))
}

/// Rows of codes, and those of the numbers that go with them.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct PackedRows<'a, C> {
    /// `[rows, groups * C::BYTES]`
    codes: StridedRows<'a, u8>,
    /// `[rows, groups]`, or twice as many with minimums.
    numbers: StridedRows<'a, f16>,
    width: PhantomData<C>,
}

impl<'a, C: Codes> PackedRows<'a, C> {
    /// # Panics
    /// If the rows are no whole groups with one or two numbers each.
    pub(in crate::kernels) fn new(
        codes: StridedRows<'a, u8>,
        numbers: StridedRows<'a, f16>,
    ) -> Self {
        let groups = codes.size() / C::BYTES;
        assert_eq!(codes.size(), groups * C::BYTES, "rows are whole groups");
        assert_eq!(codes.count(), numbers.count(), "numbers for every row");
        assert!(
            numbers.size() == groups || numbers.size() == 2 * groups,
            "a scale for every group, and a minimum for all or none"
        );
        Self {
            codes,
            numbers,
            width: PhantomData,
        }
    }

    fn groups(&self) -> usize {
        self.codes.size() / C::BYTES
    }

    fn has_minimums(&self) -> bool {
        self.numbers.size() > self.groups()
    }

    /// Scale and minimum of a group.
    #[inline(always)]
    fn numbers_of(&self, row: usize, group: usize) -> [f32; 2] {
        let numbers = self.numbers.row(row);
        if self.has_minimums() {
            let [scale, minimum] = [numbers[2 * group], numbers[2 * group + 1]];
            return [widen_f16(scale.to_bits()), widen_f16(minimum.to_bits())];
        }
        let scale = widen_f16(numbers[group].to_bits());
        [scale, C::ZERO * scale]
    }

    /// Widens the numbers of the groups of a row from `first` on, as many as a block has.
    #[inline(always)]
    fn block<S: Simd>(&self, simd: S, row: usize, first: usize) -> Block {
        let mut block = Block::EMPTY;
        let numbers = self.numbers.row(row);
        simd.prefetch(
            numbers
                .as_ptr_range()
                .end
                .cast::<u8>()
                .wrapping_add(NUMBERS_AHEAD),
        );
        if self.has_minimums() {
            let mut pairs = [0.0; 2 * BLOCK_GROUPS];
            widen_into(simd, &numbers[2 * first..], &mut pairs);
            let pairs = pairs.as_chunks::<2>().0;
            let places = block.scales.iter_mut().zip(&mut block.minimums);
            for ((scale, minimum), pair) in places.zip(pairs) {
                [*scale, *minimum] = *pair;
            }
            return block;
        }
        widen_into(simd, &numbers[first..], &mut block.scales);
        for (minimum, scale) in block.minimums.iter_mut().zip(&block.scales) {
            *minimum = C::ZERO * *scale;
        }
        block
    }
}

/// The numbers of some groups of a row, in f32.
#[derive(Clone, Copy)]
struct Block {
    scales: [f32; BLOCK_GROUPS],
    minimums: [f32; BLOCK_GROUPS],
}

impl Block {
    const EMPTY: Self = Self {
        scales: [0.0; BLOCK_GROUPS],
        minimums: [0.0; BLOCK_GROUPS],
    };

    /// Of the group at `index`, which is one of the block: taken as a remainder, it needs no check.
    #[inline(always)]
    fn numbers_of(&self, index: usize) -> [f32; 2] {
        let index = index % BLOCK_GROUPS;
        [self.scales[index], self.minimums[index]]
    }
}

/// Widens the first of `narrow` until `wide`, whose length is a multiple of the lanes, is full.
#[inline(always)]
fn widen_into<S: Simd, const COUNT: usize>(simd: S, narrow: &[f16], wide: &mut [f32; COUNT]) {
    let mut padded = [f16::ZERO; COUNT];
    let source = match narrow.first_chunk::<COUNT>() {
        Some(narrow) => narrow,
        None => {
            padded[..narrow.len()].copy_from_slice(narrow);
            &padded
        }
    };
    for at in (0..COUNT).step_by(S::LANES) {
        // SAFETY: source and target have `COUNT` numbers, which is a multiple of the lanes.
        unsafe {
            let vector = simd.load_f16(source.as_ptr().add(at));
            simd.store(wide.as_mut_ptr().add(at), vector);
        }
    }
}

impl<C: Codes> MatrixRows for PackedRows<'_, C> {
    fn count(&self) -> usize {
        self.codes.count()
    }

    fn size(&self) -> usize {
        self.groups() * GROUP_LEN
    }

    fn row_bytes(&self) -> usize {
        self.codes.size() + self.numbers.size() * size_of::<f16>()
    }

    fn range(&self, rows: Range<usize>) -> Self {
        Self {
            codes: self.codes.range(rows.clone()),
            numbers: self.numbers.range(rows),
            width: PhantomData,
        }
    }

    #[inline(always)]
    fn widen(&self, row: usize, at: usize) -> f32 {
        let (group, at) = (at / GROUP_LEN, at % GROUP_LEN);
        let codes = &self.codes.row(row)[group * C::BYTES..][..C::BYTES];
        let [scale, minimum] = self.numbers_of(row, group);
        C::code(codes, at) * scale + minimum
    }

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, row: usize, at: usize) -> S::Vector {
        let group = at / GROUP_LEN;
        let numbers = self.numbers_of(row, group);
        let codes = &self.codes.row(row)[group * C::BYTES..][..C::BYTES];
        // SAFETY: the slice is a group.
        unsafe { C::widen_one(simd, codes.as_ptr(), numbers, at % GROUP_LEN / S::LANES) }
    }

    #[inline(always)]
    fn dot_tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &self,
        simd: S,
        first: usize,
        columns: [&[f32]; COLUMNS],
    ) -> [[f32; COLUMNS]; ROWS] {
        const { assert!(S::LANES >= MIN_LANES && S::LANES <= MAX_LANES) };
        for column in columns {
            assert_eq!(column.len(), self.size(), "columns are as long as rows");
        }
        let mut rows: [&[u8]; ROWS] = [&[]; ROWS];
        for (codes, index) in rows.iter_mut().zip(first..) {
            *codes = self.codes.row(index);
        }
        let (groups, ahead) = (self.groups(), bytes_ahead(&rows));
        let mut sums = [[simd.splat(0.0); COLUMNS]; ROWS];
        for start in (0..groups).step_by(BLOCK_GROUPS) {
            // The last block reaches back, so that all of it is there.
            let base = start.min(groups.saturating_sub(BLOCK_GROUPS));
            // Not `from_fn`: what is in a closure may not be compiled for the tier.
            let mut blocks = [Block::EMPTY; ROWS];
            for (block, row) in blocks.iter_mut().zip(first..) {
                *block = self.block(simd, row, base);
            }
            for group in start..groups.min(start + BLOCK_GROUPS) {
                if (group * C::BYTES).is_multiple_of(CACHE_LINE) {
                    for codes in &rows {
                        let place = codes.as_ptr().wrapping_add(group * C::BYTES);
                        simd.prefetch(place.wrapping_add(ahead));
                    }
                }
                for ((codes, block), sums) in rows.iter().zip(&blocks).zip(&mut sums) {
                    let numbers = block.numbers_of(group - base);
                    // SAFETY: a row has `groups` groups of `BYTES`.
                    let vectors = unsafe {
                        let codes = codes.as_ptr().add(group * C::BYTES);
                        C::widen(simd, codes, numbers)
                    };
                    let vectors = vectors.iter().take(GROUP_LEN / S::LANES).enumerate();
                    for (index, vector) in vectors {
                        for (column, sum) in columns.iter().zip(sums.iter_mut()) {
                            let at = group * GROUP_LEN + index * S::LANES;
                            // SAFETY: a column is as long as a row, of whose groups this is one.
                            let x = unsafe { simd.load_f32(column.as_ptr().add(at)) };
                            *sum = simd.mul_add(*vector, x, *sum);
                        }
                    }
                }
            }
        }
        let mut totals = [[0.0; COLUMNS]; ROWS];
        for (sums, totals) in sums.iter().zip(&mut totals) {
            add_lanes(simd, sums, totals);
        }
        totals
    }
}
