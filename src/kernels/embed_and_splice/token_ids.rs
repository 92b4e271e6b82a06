use burn::tensor::backend::Backend;
use burn::tensor::ops::IntTensor;
use burn::tensor::{Int, Tensor};

/// Ids to be looked up, where they are: a prompt on the host, a chosen token on the device.
#[derive(Debug, Clone)]
pub enum TokenIds<'a, I> {
    /// On the host. Each must be in the table.
    Host(&'a [u32]),
    /// On the device, `[num_tokens]`: as [`argmax()`](crate::kernels::argmax()) and
    /// [`sample()`](crate::kernels::sample()) give them, without a way over the host. One that is
    /// not in the table, as these give for nonsense, looks up zeros.
    Device(I),
}

/// Ids as the methods of [`VlmBackend`](crate::kernels::VlmBackend) take them.
pub type TokenIdsPrimitive<'a, B> = TokenIds<'a, IntTensor<B>>;

/// Ids as the tensor-level functions take them.
pub type TokenIdsTensor<'a, B> = TokenIds<'a, Tensor<B, 1, Int>>;

impl<'a, I> TokenIds<'a, I> {
    /// The same ids over another tensor type.
    pub fn map<J>(self, change: impl FnOnce(I) -> J) -> TokenIds<'a, J> {
        match self {
            Self::Host(ids) => TokenIds::Host(ids),
            Self::Device(ids) => TokenIds::Device(change(ids)),
        }
    }
}

impl<B: Backend> TokenIdsTensor<'_, B> {
    /// How many there are.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Host(ids) => ids.len(),
            Self::Device(ids) => {
                let [count] = ids.dims();
                count
            }
        }
    }
}

impl<'a, I> From<&'a [u32]> for TokenIds<'a, I> {
    fn from(ids: &'a [u32]) -> Self {
        Self::Host(ids)
    }
}

impl<'a, I> From<&'a Vec<u32>> for TokenIds<'a, I> {
    fn from(ids: &'a Vec<u32>) -> Self {
        Self::Host(ids)
    }
}

impl<'a, I, const N: usize> From<&'a [u32; N]> for TokenIds<'a, I> {
    fn from(ids: &'a [u32; N]) -> Self {
        Self::Host(ids)
    }
}

impl<B: Backend> From<Tensor<B, 1, Int>> for TokenIdsTensor<'_, B> {
    fn from(ids: Tensor<B, 1, Int>) -> Self {
        Self::Device(ids)
    }
}
