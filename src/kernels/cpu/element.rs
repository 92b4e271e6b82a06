//! The three types of stored numbers.

use std::ops::Range;

use burn::tensor::DType;
use burn_flex::FlexTensor;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use super::Simd;

/// A number as tensors store it.
#[expect(unsafe_code, reason = "vector instructions")]
pub(in crate::kernels) trait Element:
    burn::tensor::Element + bytemuck::Pod + Send + Sync
{
    /// The number, exactly.
    fn widen(self) -> f32;

    /// `S::LANES` numbers from `source` on.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector;
}

macro_rules! element {
    ($type:ty, $load:ident, $widen:expr) => {
        #[expect(unsafe_code, reason = "vector instructions")]
        impl Element for $type {
            #[inline(always)]
            fn widen(self) -> f32 {
                $widen(self)
            }

            #[inline(always)]
            unsafe fn load<S: Simd>(simd: S, source: *const Self) -> S::Vector {
                // SAFETY: the contract is the same.
                unsafe { simd.$load(source) }
            }
        }
    };
}

element!(f32, load_f32, |value| value);
element!(f16, load_f16, f16::to_f32);
element!(bf16, load_bf16, bf16::to_f32);

/// Evaluates the expression with `$element` standing for the Rust type of `$dtype`; `None` for a
/// type that no kernel here stores.
macro_rules! with_element {
    ($dtype:expr, $element:ident => $value:expr) => {
        match $dtype {
            burn::tensor::DType::F32 => {
                type $element = f32;
                Some($value)
            }
            burn::tensor::DType::F16 => {
                type $element = half::f16;
                Some($value)
            }
            burn::tensor::DType::BF16 => {
                type $element = half::bf16;
                Some($value)
            }
            _ => None,
        }
    };
}
pub(in crate::kernels) use with_element;

/// Numbers of a type known at run time.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) enum FloatSlice<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    Bf16(&'a [bf16]),
}

impl<'a> FloatSlice<'a> {
    /// The whole buffer behind `tensor`, whatever its strides; `None` if it is of another type.
    pub(in crate::kernels) fn storage(tensor: &'a FlexTensor) -> Option<Self> {
        match tensor.dtype() {
            DType::F32 => Some(Self::F32(tensor.storage())),
            DType::F16 => Some(Self::F16(tensor.storage())),
            DType::BF16 => Some(Self::Bf16(tensor.storage())),
            _ => None,
        }
    }

    /// The numbers from `start` on, widened into `target`.
    pub(in crate::kernels) fn read(self, start: usize, target: &mut [f32]) {
        let range = start..start + target.len();
        match self {
            Self::F32(source) => target.copy_from_slice(&source[range]),
            Self::F16(source) => source[range].convert_to_f32_slice(target),
            Self::Bf16(source) => source[range].convert_to_f32_slice(target),
        }
    }
}

/// Numbers of a type known at run time, to be written.
#[derive(Debug)]
pub(in crate::kernels) enum FloatSliceMut<'a> {
    F32(&'a mut [f32]),
    F16(&'a mut [f16]),
    Bf16(&'a mut [bf16]),
}

impl<'a> FloatSliceMut<'a> {
    /// The buffer behind a tensor that nobody else holds: `None` if it is shared, or of a type
    /// that is none of the three.
    pub(in crate::kernels) fn unique(tensor: &'a mut FlexTensor) -> Option<Self> {
        match tensor.dtype() {
            DType::F32 => tensor.try_storage_mut().map(Self::F32),
            DType::F16 => tensor.try_storage_mut().map(Self::F16),
            DType::BF16 => tensor.try_storage_mut().map(Self::Bf16),
            _ => None,
        }
    }

    /// Copies the numbers of `source` to those from `start` on.
    pub(in crate::kernels) fn copy_within(&mut self, source: Range<usize>, start: usize) {
        match self {
            Self::F32(target) => target.copy_within(source, start),
            Self::F16(target) => target.copy_within(source, start),
            Self::Bf16(target) => target.copy_within(source, start),
        }
    }

    /// Rounds `source` into the numbers from `start` on.
    pub(in crate::kernels) fn write(&mut self, start: usize, source: &[f32]) {
        let range = start..start + source.len();
        match self {
            Self::F32(target) => target[range].copy_from_slice(source),
            Self::F16(target) => target[range].convert_from_f32_slice(source),
            Self::Bf16(target) => target[range].convert_from_f32_slice(source),
        }
    }
}
