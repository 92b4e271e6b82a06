//! The matrices of a model, stored as its checkpoint or its user wishes.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::MatrixTensor;

/// A matrix that only kernels read: the weight of a linear layer, or the table of an embedding.
///
/// It may be stored in less than an f32, since a kernel widens what it reads. All else in a model,
/// such as norms, biases and tables of positions, is small and decides precision: f32, and a
/// [`Param`]. By this type the loader tells the two apart.
#[derive(Module, Debug)]
#[non_exhaustive]
pub enum Weight<B: Backend> {
    /// In f32, f16 or bf16.
    Float(Param<Tensor<B, 2>>),
}

impl<B: Backend> Weight<B> {
    /// A random matrix in f32, made when first used.
    pub fn new(initializer: &Initializer, shape: [usize; 2], device: &B::Device) -> Self {
        Self::Float(initializer.init(shape, device))
    }

    /// Rows and columns; nothing is made for it.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Float(numbers) => numbers.lazy_shape().dims(),
        }
    }

    /// The matrix, for a kernel.
    pub fn matrix(&self) -> MatrixTensor<B> {
        match self {
            Self::Float(numbers) => MatrixTensor::Float(numbers.val()),
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::module::ModuleVisitor;
    use burn_flex::Flex;

    use super::*;
    use crate::kernels::MATRIX_MODULE;

    struct Containers(Vec<String>);

    impl ModuleVisitor<Flex> for Containers {
        fn enter_module(&mut self, _name: &str, container_type: &str) {
            self.0.push(container_type.to_string());
        }
    }

    #[test]
    fn a_visitor_sees_the_module_that_the_loader_looks_for() {
        let weight = Weight::<Flex>::new(&Initializer::Ones, [2, 3], &Default::default());
        let mut containers = Containers(Vec::new());
        weight.visit(&mut containers);
        assert_eq!(containers.0, [format!("Enum:{MATRIX_MODULE}")]);
        assert_eq!(weight.dims(), [2, 3]);
    }
}
