//! Inputs from a fixed seed, the same on every device.

use std::cell::Cell;
use std::fmt;

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};

use crate::kernels::{
    GROUP_LEN, KvSpan, Matrix, MatrixPrimitive, PackedMatrix, PackedType, VlmBackend, primitive,
};

/// The type a number is rounded to, and the type the device then holds it in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Precision {
    activations: DType,
    /// Holds everything in the widest type of the device after the rounding.
    is_widened: bool,
}

impl Precision {
    pub(super) fn rounded(activations: DType) -> Self {
        Self {
            activations,
            is_widened: false,
        }
    }

    pub(super) fn exact(activations: DType) -> Self {
        Self {
            activations,
            is_widened: true,
        }
    }
}

/// What a matrix is stored in, whatever the activations are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Numbers of this type.
    Float(DType),
    /// Codes in groups.
    Packed(PackedType),
}

impl Stored {
    /// The types that a device must have for it.
    pub fn dtypes(self) -> Vec<DType> {
        match self {
            Self::Float(dtype) => vec![dtype],
            Self::Packed(_) => vec![DType::F16, DType::U32],
        }
    }

    /// Bytes of so many elements.
    pub fn bytes(self, elements: usize) -> usize {
        match self {
            Self::Float(dtype) => dtype.size() * elements,
            Self::Packed(packed_type) => {
                let (words, numbers) =
                    (packed_type.words_of_group(), packed_type.numbers_of_group());
                elements / GROUP_LEN * (words * DType::U32.size() + numbers * DType::F16.size())
            }
        }
    }
}

impl From<DType> for Stored {
    fn from(dtype: DType) -> Self {
        Self::Float(dtype)
    }
}

impl From<PackedType> for Stored {
    fn from(packed_type: PackedType) -> Self {
        Self::Packed(packed_type)
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float(dtype) => write!(f, "{dtype:?}"),
            Self::Packed(packed_type) => packed_type.fmt(f),
        }
    }
}

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As its shape says.
    RowMajor,
    /// The second and third axes of four, or both of two, swapped: a view.
    Swapped,
}

/// Makes the tensors of one problem.
pub struct Inputs<'a, B: VlmBackend> {
    device: &'a B::Device,
    precision: Precision,
    widest: DType,
    state: Cell<u64>,
}

impl<'a, B: VlmBackend> Inputs<'a, B> {
    pub(super) fn new(device: &'a B::Device, precision: Precision) -> Self {
        Self {
            device,
            precision,
            widest: match B::supports_dtype(device, DType::F64) {
                true => DType::F64,
                false => DType::F32,
            },
            state: Cell::new(0x5eed),
        }
    }

    /// Where the tensors are made.
    pub fn device(&self) -> &B::Device {
        self.device
    }

    /// The type that activations come in.
    pub fn activation_dtype(&self) -> DType {
        if self.precision.is_widened {
            self.widest
        } else {
            self.precision.activations
        }
    }

    /// A uniform random number in `[-1, 1)` (Knuth's MMIX generator).
    pub fn number(&self) -> f32 {
        let state = self.state.get().wrapping_mul(6_364_136_223_846_793_005);
        self.state
            .set(state.wrapping_add(1_442_695_040_888_963_407));
        (self.state.get() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// `count` uniform random numbers in `[-scale, scale)`.
    pub fn numbers(&self, count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|_| scale * self.number()).collect()
    }

    /// Random activations in `[-scale, scale)`.
    pub fn activations<const D: usize>(&self, shape: [usize; D], scale: f32) -> FloatTensor<B> {
        self.stored(shape, scale, None)
    }

    /// Random activations in `[-1, 1)`, in memory in another order than `shape` says.
    pub fn in_order<const D: usize>(&self, shape: [usize; D], order: Order) -> FloatTensor<B> {
        if order == Order::RowMajor {
            return self.activations(shape, 1.0);
        }
        let first = if D == 2 { 0 } else { 1 };
        let mut swapped = shape;
        swapped.swap(first, first + 1);
        B::float_swap_dims(self.activations(swapped, 1.0), first, first + 1)
    }

    /// Random numbers in `[-scale, scale)`, in a type of their own if there is one.
    pub fn stored<const D: usize>(
        &self,
        shape: [usize; D],
        scale: f32,
        dtype: Option<DType>,
    ) -> FloatTensor<B> {
        self.values(self.numbers(shape.iter().product(), scale), shape, dtype)
    }

    /// A matrix of random numbers in about `[-scale, scale)`, in a type of its own if there is one.
    pub fn matrix(
        &self,
        shape: [usize; 2],
        scale: f32,
        stored: Option<Stored>,
    ) -> MatrixPrimitive<B> {
        match stored {
            None => Matrix::Float(self.stored(shape, scale, None)),
            Some(Stored::Float(dtype)) => Matrix::Float(self.stored(shape, scale, Some(dtype))),
            Some(Stored::Packed(packed_type)) => self.packed(shape, scale, packed_type),
        }
    }

    fn packed(
        &self,
        [rows, columns]: [usize; 2],
        scale: f32,
        packed_type: PackedType,
    ) -> MatrixPrimitive<B> {
        assert!(columns.is_multiple_of(GROUP_LEN), "rows are whole groups");
        let groups = columns / GROUP_LEN;
        let words = [rows, groups * packed_type.words_of_group()];
        let byte = || (128.0 * self.number()).floor() as i8;
        let codes = (0..words[0] * words[1])
            .map(|_| u32::from_le_bytes([(); 4].map(|()| byte().cast_unsigned())));
        let codes = TensorData::new(codes.collect::<Vec<_>>(), words);
        let codes = Tensor::<B, 2, Int>::from_data(codes, (self.device, DType::U32));
        // The largest code gives about `scale`.
        let unit = scale / (1 << (packed_type.bits() - 1)) as f32;
        let per_row = groups * packed_type.numbers_of_group();
        let of_group = &[1.0, -8.0][..packed_type.numbers_of_group()];
        let numbers = of_group.iter().cycle().take(rows * per_row);
        let numbers = numbers.map(|number| number * unit * (1.0 + 0.5 * self.number()));
        let numbers = self.values(numbers.collect(), [rows, per_row], Some(DType::F16));
        Matrix::Packed(PackedMatrix::new(codes.into_primitive(), numbers))
    }

    /// Token ids, in the type that the backend gives them.
    pub fn ids(&self, ids: Vec<i32>) -> IntTensor<B> {
        let shape = [ids.len()];
        let ids = TensorData::new(ids, shape);
        Tensor::<B, 1, Int>::from_data(ids, self.device).into_primitive()
    }

    /// The given numbers, in a type of their own or that of the activations.
    pub fn values<const D: usize>(
        &self,
        values: Vec<f32>,
        shape: [usize; D],
        dtype: Option<DType>,
    ) -> FloatTensor<B> {
        let rounded_to = dtype.unwrap_or(self.precision.activations);
        let dtype = if self.precision.is_widened {
            self.widest
        } else {
            rounded_to
        };
        let rounded = TensorData::new(values, shape).convert_dtype(rounded_to);
        primitive(Tensor::<B, D>::from_data(
            rounded.convert_dtype(dtype),
            (self.device, dtype),
        ))
    }

    /// A cache `[num_slots, num_kv_heads, capacity, head_dim]` that is `filled` so far and NaN
    /// everywhere else, so that nothing may read it and stay unnoticed.
    pub fn slab(
        &self,
        shape: [usize; 4],
        filled: &[KvSpan],
        dtype: Option<DType>,
    ) -> FloatTensor<B> {
        let [_, num_kv_heads, capacity, head_dim] = shape;
        let mut values = vec![f32::NAN; shape.iter().product()];
        for KvSpan { slot, start, len } in filled {
            for head in 0..num_kv_heads {
                let first = (slot * num_kv_heads + head) * capacity + start;
                values[first * head_dim..][..len * head_dim].fill_with(|| self.number());
            }
        }
        self.values(values, shape, dtype)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn_flex::Flex;

    use super::*;
    use crate::kernels::{layer_norm, rms_norm, swiglu, tensor};

    /// Numbers that f32 rounds come out of the reference bodies as f64 has them.
    #[test]
    fn what_kernels_are_held_to_is_in_f64_on_a_device_that_has_it() {
        let device = Default::default();
        let inputs = Inputs::<Flex>::new(&device, Precision::exact(DType::F32));
        assert_eq!(inputs.activation_dtype(), DType::F64);
        let number = |values: Vec<f32>| {
            let len = values.len();
            inputs.values::<1>(values, [len], None)
        };
        let row = || primitive(tensor::<Flex, 1>(number(vec![1.0, 2.0])).reshape([1, 2]));
        let check = |found: FloatTensor<Flex>, expected: f64| {
            let found = tensor::<Flex, 2>(found).into_data();
            let first: f64 = found.iter().next().expect("a number");
            assert!((first - expected).abs() < 1e-15, "{first} {expected}");
        };
        let ones = || number(vec![1.0, 1.0]);
        let rms = rms_norm::reference::run::<Flex>(row(), ones(), 0.0);
        check(rms, 1.0 / 2.5f64.sqrt());
        let zeros = number(vec![0.0, 0.0]);
        let layer = layer_norm::reference::run::<Flex>(row(), ones(), zeros, 1.0);
        check(layer, -0.5 / 1.25f64.sqrt());
        check(
            swiglu::reference::run::<Flex>(row()),
            2.0 / (1.0 + (-1f64).exp()),
        );
    }
}
