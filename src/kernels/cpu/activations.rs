//! Activations in and out: small, so they pass through f32 as a whole.

use std::borrow::Cow;

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::{Buffer, FloatSlice};
use crate::kernels::LaunchRefused;

/// The elements in row-major order, widened; borrowed where nothing needs to change.
///
/// For activations only: a weight or a cache is read where it lies.
pub(in crate::kernels) fn activations(
    tensor: &FlexTensor,
) -> Result<Cow<'_, [f32]>, LaunchRefused> {
    if let Some(values) = tensor.as_slice::<f32>() {
        return Ok(Cow::Borrowed(values));
    }
    let contiguous = tensor.to_contiguous();
    let Some(slice) = FloatSlice::storage(&contiguous) else {
        return Err(no_kernel_for("activations", tensor.dtype()));
    };
    let mut values = vec![0.0; tensor.layout().num_elements()];
    slice.read(contiguous.layout().start_offset(), &mut values);
    Ok(Cow::Owned(values))
}

/// A tensor of `dtype`, which is one of the three, around the numbers.
pub(in crate::kernels) fn float_tensor(
    values: Buffer,
    shape: impl Into<Shape>,
    dtype: DType,
) -> FlexTensor {
    let bytes = match dtype {
        DType::F16 => {
            let mut rounded = vec![f16::ZERO; values.len()];
            rounded.convert_from_f32_slice(&values);
            Bytes::from_elems(rounded)
        }
        DType::BF16 => {
            let mut rounded = vec![bf16::ZERO; values.len()];
            rounded.convert_from_f32_slice(&values);
            Bytes::from_elems(rounded)
        }
        _ => values.into_bytes(),
    };
    FlexTensor::new(bytes, Layout::contiguous(shape.into()), dtype)
}

/// Rounds numbers to those that `dtype` can store.
#[inline(always)]
pub(in crate::kernels) fn round_to(dtype: DType, values: &mut [f32]) {
    match dtype {
        DType::F16 => values
            .iter_mut()
            .for_each(|value| *value = f16::from_f32(*value).to_f32()),
        DType::BF16 => values
            .iter_mut()
            .for_each(|value| *value = bf16::from_f32(*value).to_f32()),
        _ => {}
    }
}

/// A row of token ids.
pub(in crate::kernels) fn token_ids(ids: Vec<usize>) -> FlexTensor {
    let shape = [ids.len()];
    let ids: Vec<i32> = ids.into_iter().map(|id| id as i32).collect();
    FlexTensor::new(
        Bytes::from_elems(ids),
        Layout::contiguous(shape.into()),
        DType::I32,
    )
}

/// There is no kernel for an operand of this type.
pub(in crate::kernels) fn no_kernel_for(operand: &'static str, dtype: DType) -> LaunchRefused {
    LaunchRefused::NoKernelFor { operand, dtype }
}
