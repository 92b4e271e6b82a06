//! How a cube cuts the problem for matrix units.

use crate::kernels::kv::VIEW_SIZE;

/// Rows and columns of a product of the matrix units, and the terms of its sums.
pub(super) const SIDE: usize = 16;
/// Units of a plane.
pub(super) const PLANE: usize = 32;
const PLANES: usize = 4;
/// Queries of a cube.
pub(in crate::kernels) const ROWS: usize = PLANES * SIDE;
/// Units that share a query.
pub(super) const SHARERS: usize = PLANE / SIDE;
/// Keys of a tile, and columns of the values that are multiplied at once.
pub(super) const KEYS: usize = 64;
/// The units read from multiples of so many bytes.
pub(super) const ALIGNMENT: usize = 32;
/// What is added to a row of half-precision numbers in shared memory, so that rows do not begin in
/// one bank. The matrix units want rows of a multiple of 16 bytes.
const PADDING: usize = 8;
/// A row of weights.
pub(super) const WEIGHT_PITCH: usize = KEYS + PADDING;
/// A row of products, which are f32.
pub(super) const PRODUCT_PITCH: usize = KEYS + PADDING / 2;
/// The largest head whose sums two units hold in registers.
const MAX_HEAD_DIM: usize = 128;

/// How a cube cuts the problem, known when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernels) struct MatrixTile {
    pub(in crate::kernels) head_dim: usize,
    /// Elements of a vector of keys or values.
    pub(in crate::kernels) width: usize,
}

impl MatrixTile {
    /// Where slabs can be read in vectors of `width`; none for a head that is too large, or whose
    /// numbers do not lie in vectors: matrix units would wait for them.
    pub(in crate::kernels) fn new(head_dim: usize, width: usize) -> Option<Self> {
        (head_dim <= MAX_HEAD_DIM && width > 1).then_some(Self {
            head_dim,
            // Rows of shared memory are whole vectors.
            width: width.min(PADDING),
        })
    }

    /// A head that does not fill its last product is filled up with zeros in shared memory.
    pub(super) fn padded(self) -> usize {
        self.head_dim.next_multiple_of(SIDE)
    }

    /// A row of queries, keys or values.
    pub(super) fn pitch(self) -> usize {
        self.padded() + PADDING
    }

    /// How often values are multiplied: the memory of the scores holds so many of their columns.
    pub(super) fn chunks(self) -> usize {
        self.padded().div_ceil(KEYS)
    }

    pub(super) fn columns_of_chunk(self, chunk: usize) -> usize {
        KEYS.min(self.padded() - chunk * KEYS)
    }

    pub(in crate::kernels) fn units(self) -> usize {
        PLANES * PLANE
    }

    pub(in crate::kernels) fn shared_memory_bytes(self) -> usize {
        let halves = (ROWS + KEYS) * self.pitch() + ROWS * WEIGHT_PITCH;
        let words = ROWS * PRODUCT_PITCH + VIEW_SIZE;
        // Each of the four pieces may begin after a gap.
        2 * halves + size_of::<f32>() * words + 4 * ALIGNMENT
    }
}
