//! Matrices as they are stored: in a type that the device may not compute in, or packed.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::ComputeClient;
use cubecl::zspace::metadata::Metadata;

use crate::kernels::launch::{DeviceProperties, in_vectors};
use crate::kernels::{GROUP_LEN, LaunchRefused, Matrix, PackedMatrix, PackedType};

/// How a kernel reads a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernels) enum Storage {
    /// In its own type.
    Native,
    /// As u32 words of two bf16 each, the first in the lower half: on devices without bf16.
    Bf16Words,
    /// As u32 words of codes, with numbers beside them.
    Packed(PackedType),
}

/// Elements that a word of packed codes gives at a time: all of 8 bits, or half of those of 4.
pub(super) const PIECE: usize = 4;
/// Words that are read at once at the most: 16 bytes, and no more than any group has.
const MAX_LOAD_WORDS: usize = 4;
/// Pieces of a group.
pub(super) const GROUP_PIECES: usize = GROUP_LEN / PIECE;

impl Storage {
    /// Pieces of a stored vector of so many words.
    pub(in crate::kernels) fn pieces(self, words: usize) -> usize {
        match self {
            Self::Native | Self::Bf16Words => 1,
            Self::Packed(packed_type) => words * GROUP_PIECES / packed_type.words_of_group(),
        }
    }
}

/// A matrix as a kernel reads it.
pub(in crate::kernels) struct StoredMatrix<R: CubeRuntime> {
    /// The matrix, or its words.
    pub(in crate::kernels) tensor: CubeTensor<R>,
    /// What goes with the groups of a packed one.
    pub(in crate::kernels) numbers: Option<CubeTensor<R>>,
    /// Elements of a vector of the other operands.
    pub(in crate::kernels) width: usize,
    /// Elements, or words, of a vector of the matrix.
    pub(in crate::kernels) stored_width: usize,
    pub(in crate::kernels) storage: Storage,
}

impl<R: CubeRuntime> StoredMatrix<R> {
    /// `matrix`, to be read beside `other`, both in vectors of at most `max_width` elements.
    pub(in crate::kernels) fn new(
        matrix: &Matrix<CubeTensor<R>>,
        other: &CubeTensor<R>,
        max_width: usize,
    ) -> Result<Self, LaunchRefused> {
        let matrix = match matrix {
            Matrix::Float(matrix) => matrix,
            Matrix::Packed(packed) => return Self::packed(packed, other, max_width),
        };
        let [_, columns] = matrix.shape().dims();
        let device = DeviceProperties::of(&matrix.client);
        if device.computes(matrix.dtype) || matrix.dtype != DType::BF16 {
            let width = device.vector_width([matrix.dtype, other.dtype], columns);
            let width = width.min(max_width);
            let tensor = in_vectors(matrix, width);
            return Ok(Self {
                tensor,
                numbers: None,
                width,
                stored_width: width,
                storage: Storage::Native,
            });
        }
        let width = device.vector_width([other.dtype], columns).min(max_width);
        match words(matrix, width) {
            Some(tensor) if width >= 2 => Ok(Self {
                tensor,
                numbers: None,
                width,
                stored_width: width / 2,
                storage: Storage::Bf16Words,
            }),
            _ => Err(LaunchRefused::PartialWords),
        }
    }

    fn packed(
        packed: &PackedMatrix<CubeTensor<R>, CubeTensor<R>>,
        other: &CubeTensor<R>,
        max_width: usize,
    ) -> Result<Self, LaunchRefused> {
        let device = DeviceProperties::of(&other.client);
        if device.vector_width([other.dtype], PIECE).min(max_width) < PIECE {
            return Err(LaunchRefused::Packed);
        }
        Ok(Self {
            tensor: in_vectors(&packed.codes, 1),
            numbers: Some(in_vectors(&packed.numbers, 1)),
            width: PIECE,
            stored_width: 1,
            storage: Storage::Packed(packed.packed_type()),
        })
    }

    /// With vectors of several words of packed codes, so that enough of them lie in one, and no more
    /// than `max_width` elements that a word gives at a time.
    pub(in crate::kernels) fn in_loads(self, max_width: usize) -> Self {
        match self.storage {
            Storage::Native | Storage::Bf16Words => self,
            Storage::Packed(_) => {
                let stored_width = (max_width / PIECE).min(MAX_LOAD_WORDS);
                Self {
                    tensor: in_vectors(&self.tensor, stored_width),
                    stored_width,
                    ..self
                }
            }
        }
    }

    /// The type of the numbers; where there are none, any that the device has will do.
    pub(in crate::kernels) fn numbers_dtype(&self) -> DType {
        self.numbers
            .as_ref()
            .map_or(DType::F32, |numbers| numbers.dtype)
    }
}

/// A tensor of the matrix, to say on which device it is.
pub(in crate::kernels) fn part_of<R: CubeRuntime>(
    matrix: &Matrix<CubeTensor<R>>,
) -> &CubeTensor<R> {
    match matrix {
        Matrix::Float(numbers) => numbers,
        Matrix::Packed(packed) => &packed.numbers,
    }
}

/// Whether [`StoredMatrix::new`] takes a contiguous float matrix of this type, with rows of so many
/// columns.
pub(in crate::kernels) fn reads<R: CubeRuntime>(
    client: &ComputeClient<R>,
    dtype: DType,
    columns: usize,
) -> bool {
    DeviceProperties::of(client).computes(dtype)
        || (dtype == DType::BF16 && columns.is_multiple_of(2))
}

/// The bf16 matrix as u32 words, if its rows lie in whole vectors of `width` elements.
fn words<R: CubeRuntime>(matrix: &CubeTensor<R>, width: usize) -> Option<CubeTensor<R>> {
    let [rows, columns] = matrix.shape().dims();
    // A copy to straighten it would have to compute in bf16.
    let pitch = match **matrix.meta.strides() {
        [pitch, 1] if pitch.is_multiple_of(width) => pitch,
        _ => return None,
    };
    let meta = Metadata::new([rows, columns / 2], [pitch / 2, 1]);
    let CubeTensor {
        client,
        handle,
        device,
        ..
    } = matrix.clone();
    Some(CubeTensor::new(client, handle, meta, device, DType::U32))
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::tensor::{Tensor, bf16};
    use cubecl::Runtime;
    use cubecl::wgpu::{WgpuDevice, WgpuRuntime};

    use crate::kernels::{Activation, LinearEpilogue, linear, primitive, tensor};

    use super::*;

    type Wgpu = burn_cubecl::CubeBackend<WgpuRuntime, f32, i32, u32>;

    fn bf16_matrix(rows: usize, columns: usize) -> (CubeTensor<WgpuRuntime>, Vec<f32>) {
        let client = WgpuRuntime::client(&Default::default());
        let elements = (0..rows * columns).map(|index| bf16::from_f32((index % 37) as f32 - 17.3));
        let elements: Vec<_> = elements.collect();
        let handle = client.create_from_slice(bytemuck::cast_slice(&elements));
        let shape = [rows, columns].into();
        let device = WgpuDevice::default();
        let matrix = CubeTensor::new_contiguous(client, device, shape, handle, DType::BF16);
        (matrix, elements.into_iter().map(bf16::to_f32).collect())
    }

    fn product(rows: usize, columns: usize) -> Result<(Vec<f32>, Vec<f32>), LaunchRefused> {
        let (weight, elements) = bf16_matrix(3, columns);
        let x = Tensor::<Wgpu, 2>::ones([rows, columns], &Default::default());
        let epilogue = LinearEpilogue {
            activation: Activation::Identity,
            ..Default::default()
        };
        let y = linear::cube::launch(&primitive(x), &Matrix::Float(weight), &epilogue)?;
        let found = tensor::<Wgpu, 2>(y).into_data().iter::<f32>().collect();
        let row_sums = elements.chunks(columns).map(|row| row.iter().sum::<f32>());
        let row_sums: Vec<f32> = row_sums.collect();
        Ok((found, row_sums.repeat(rows)))
    }

    #[test]
    fn bf16_weights_need_no_bf16_of_the_device() {
        for (rows, columns) in [(1, 64), (9, 64), (2, 6), (11, 6)] {
            let (found, expected) = product(rows, columns).expect("whole words are read");
            for (found, expected) in found.iter().zip(&expected) {
                assert!(
                    (found - expected).abs() < 1e-3,
                    "{rows}x{columns}: {found}, {expected}"
                );
            }
        }
    }

    #[test]
    fn rows_of_half_a_word_are_refused_where_bf16_is_lacking() {
        let (matrix, _) = bf16_matrix(1, 3);
        let has_bf16 = DeviceProperties::of(&matrix.client).has_bf16;
        assert_eq!(product(1, 3).is_ok(), has_bf16);
        assert_eq!(reads(&matrix.client, DType::BF16, 3), has_bf16);
        assert!(reads(&matrix.client, DType::BF16, 6));
    }
}
