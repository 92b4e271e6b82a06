//! The devices of [`device`](crate::device) do what they promise: the emulated one computes what plain loops
//! compute and notices faults, the dry one hands over text that NVIDIA's compiler judges.

mod emission;
mod faults;
mod kernels;
mod matrix_units;
mod results;

use burn::tensor::{DType, Tensor, TensorData, TensorPrimitive};
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime};

type Backend<R> = CubeBackend<R, f32, i32, u8>;

/// A vector on the device, rounded to `dtype`.
fn upload<R: CubeRuntime>(values: &[f32], dtype: DType, device: &R::Device) -> CubeTensor<R> {
    let data = TensorData::new(values.to_vec(), [values.len()]).convert_dtype(dtype);
    primitive(Tensor::<Backend<R>, 1>::from_data(data, (device, dtype)))
}

/// A vector that nobody has written.
fn unwritten<R: CubeRuntime>(len: usize, dtype: DType, device: &R::Device) -> CubeTensor<R> {
    primitive(Tensor::<Backend<R>, 1>::empty([len], (device, dtype)))
}

fn primitive<R: CubeRuntime>(tensor: Tensor<Backend<R>, 1>) -> CubeTensor<R> {
    tensor.into_primitive().tensor()
}

/// Reads a vector back as f32.
///
/// # Panics
///
/// Panics if a kernel failed before.
fn download<R: CubeRuntime>(tensor: CubeTensor<R>) -> Vec<f32> {
    let tensor = Tensor::<Backend<R>, 1>::from_primitive(TensorPrimitive::Float(tensor));
    tensor
        .into_data()
        .convert::<f32>()
        .to_vec()
        .expect("converted to f32")
}

/// Values in `-1..1`, no two alike among the first 65 536.
fn pattern(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 40_503 + 12_345) % 65_536) as f32 / 32_768.0 - 1.0)
        .collect()
}

/// Rounded to `dtype` and back.
fn rounded(values: &[f32], dtype: DType) -> Vec<f32> {
    let data = TensorData::new(values.to_vec(), [values.len()]).convert_dtype(dtype);
    data.convert::<f32>().to_vec().expect("converted to f32")
}

fn max_difference(found: &[f32], expected: impl IntoIterator<Item = f64>) -> f64 {
    let expected: Vec<f64> = expected.into_iter().collect();
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(found, expected)| {
        let difference = (f64::from(*found) - expected).abs();
        if difference.is_nan() {
            f64::INFINITY
        } else {
            difference
        }
    });
    differences.fold(0.0, f64::max)
}
