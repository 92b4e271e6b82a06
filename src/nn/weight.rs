//! The matrices of a model, stored as its checkpoint or its user wishes.

use burn::module::{Module, Param, ParamId};
use burn::nn::Initializer;
use burn::tensor::{DType, Int, Tensor, backend::Backend};

use crate::kernels::{MatrixTensor, PackedMatrix};

/// A matrix that only kernels read: the weight of a linear layer, or the table of an embedding.
///
/// It may be stored in less than an f32, since a kernel widens what it reads: in f32, f16 or bf16, or
/// as a [`PackedMatrix`]. All else in a model, such as norms, biases and tables of positions, is small
/// and decides precision: f32, and a [`Param`]. By this type the loader tells the two apart.
///
/// A struct, and no enum of the ways to store a matrix: the loader, which alone knows how a file
/// stores it, fills a module by mapping its parameters, and a map of parameters keeps the variant.
#[derive(Module, Debug)]
pub struct Weight<B: Backend> {
    /// `[rows, columns]`; or, where there are codes, the numbers that go with them.
    numbers: Param<Tensor<B, 2>>,
    /// The codes of a packed matrix; without columns for one of floats.
    codes: Param<Tensor<B, 2, Int>>,
}

impl<B: Backend> Weight<B> {
    /// A random matrix in f32, made when first used.
    pub fn new(initializer: &Initializer, shape: [usize; 2], device: &B::Device) -> Self {
        let [rows, _] = shape;
        Self {
            numbers: initializer.init(shape, device),
            codes: no_codes(rows, device),
        }
    }

    /// A matrix of floats.
    pub(super) fn of(numbers: Tensor<B, 2>) -> Self {
        let ([rows, _], device) = (numbers.dims(), numbers.device());
        Self {
            numbers: Param::initialized(ParamId::new(), numbers),
            codes: no_codes(rows, &device),
        }
    }

    /// Rows and columns; nothing is made for it.
    pub fn dims(&self) -> [usize; 2] {
        match self.has_codes() {
            true => self.matrix().into_primitive().dims(),
            false => self.numbers.lazy_shape().dims(),
        }
    }

    /// The matrix, for a kernel.
    pub fn matrix(&self) -> MatrixTensor<B> {
        let numbers = self.numbers.val();
        match self.has_codes() {
            true => MatrixTensor::Packed(PackedMatrix::new(self.codes.val(), numbers)),
            false => MatrixTensor::Float(numbers),
        }
    }

    fn has_codes(&self) -> bool {
        let [_, words] = self.codes.lazy_shape().dims();
        words > 0
    }
}

/// Made only if somebody asks for it, as who moves or records a module does.
fn no_codes<B: Backend>(rows: usize, device: &B::Device) -> Param<Tensor<B, 2, Int>> {
    let shape = [rows, 0];
    Param::uninitialized(
        ParamId::new(),
        move |device, _| Tensor::empty(shape, (device, DType::U32)),
        device.clone(),
        false,
        shape.into(),
    )
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::ModuleVisitor;
    use burn_flex::Flex;

    use super::*;
    use crate::kernels::MATRIX_MODULE;

    #[derive(Default)]
    struct Entered(Vec<[String; 2]>);

    impl ModuleVisitor<Flex> for Entered {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.0.push([name.to_string(), container_type.to_string()]);
        }
    }

    #[test]
    fn a_visitor_sees_the_module_that_the_loader_looks_for() {
        let weight = Weight::<Flex>::new(&Initializer::Ones, [2, 3], &Default::default());
        let mut entered = Entered::default();
        weight.visit(&mut entered);
        let container = format!("Struct:{MATRIX_MODULE}");
        let fields = ["numbers", "codes"].map(|name| [name.to_string(), container.clone()]);
        assert_eq!(entered.0, fields);
        assert_eq!(weight.dims(), [2, 3]);
    }

    #[test]
    fn codes_that_were_never_made_are_made_where_a_module_is_moved() {
        let device = Default::default();
        let weight = Weight::<Flex>::new(&Initializer::Ones, [2, 3], &device).to_device(&device);
        assert_eq!(weight.dims(), [2, 3]);
        assert!(matches!(weight.matrix(), MatrixTensor::Float(_)));
    }
}
