//! Tensors in a type that the device cannot compute in.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::zspace::metadata::Metadata;

use crate::kernels::launch::{DeviceProperties, in_vectors};
use crate::kernels::{LaunchRefused, Matrix};

/// How a kernel reads a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernels) enum Storage {
    /// In its own type.
    Native,
    /// As u32 words of two bf16 each, the first in the lower half: on devices without bf16.
    Bf16Words,
}

/// A matrix as a kernel reads it.
pub(in crate::kernels) struct StoredMatrix<R: CubeRuntime> {
    /// The matrix, or its words.
    pub(in crate::kernels) tensor: CubeTensor<R>,
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
        let Matrix::Float(matrix) = matrix else {
            return Err(LaunchRefused::Packed);
        };
        let [_, columns] = matrix.shape().dims();
        let device = DeviceProperties::of(&matrix.client);
        if device.computes(matrix.dtype) || matrix.dtype != DType::BF16 {
            let width = device.vector_width([matrix.dtype, other.dtype], columns);
            let width = width.min(max_width);
            let tensor = in_vectors(matrix, width);
            return Ok(Self {
                tensor,
                width,
                stored_width: width,
                storage: Storage::Native,
            });
        }
        let width = device.vector_width([other.dtype], columns).min(max_width);
        match words(matrix, width) {
            Some(tensor) if width >= 2 => Ok(Self {
                tensor,
                width,
                stored_width: width / 2,
                storage: Storage::Bf16Words,
            }),
            _ => Err(LaunchRefused::PartialWords),
        }
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

/// The elements of a stored vector.
#[cube]
pub(in crate::kernels) fn unpack<W: Numeric, M: Size, N: Size>(
    stored: Vector<W, M>,
    #[comptime] storage: Storage,
) -> Vector<f32, N> {
    match comptime!(storage) {
        Storage::Native => Vector::<f32, N>::cast_from(stored),
        Storage::Bf16Words => {
            let mut elements = Vector::<f32, N>::empty();
            #[unroll]
            for word in 0..stored.vector_size() {
                // A bf16 is the upper half of an f32.
                let bits = u32::cast_from(stored[word]);
                elements[2 * word] = f32::reinterpret(bits << 16u32);
                elements[2 * word + 1] = f32::reinterpret(bits & 0xFFFF_0000u32);
            }
            elements
        }
    }
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn::tensor::{Tensor, bf16};
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
