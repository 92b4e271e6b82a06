use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::nn::LlamaDecoder;

use crate::workload::Workload;

/// What one decode step has to read, however it is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepBytes {
    /// Every weight once, for the whole batch.
    pub(crate) weights: usize,
    /// Every cached row of every sequence, in the mean over the steps.
    pub(crate) cache: usize,
}

impl StepBytes {
    /// The bytes of a decode step.
    pub(crate) fn new<B: VlmBackend>(decoder: &LlamaDecoder<B>, workload: &Workload) -> Self {
        let mut weights = ParameterBytes { bytes: 0 };
        decoder.layers.visit(&mut weights);
        decoder.norm.visit(&mut weights);
        // Of a table that is not also the head, a step reads a row.
        match &decoder.lm_head {
            Some(head) => head.visit(&mut weights),
            None => decoder.embed_tokens.visit(&mut weights),
        }
        let shape = decoder.config().cache_shape();
        let row = 2 * shape.num_kv_heads * shape.head_dim * shape.dtype.size();
        let rows_twice = workload.batch * (2 * workload.depth + workload.new_tokens + 1);
        let cache = shape.num_layers * row * rows_twice / 2;
        Self {
            weights: weights.bytes,
            cache,
        }
    }

    /// Both together.
    pub(crate) fn total(&self) -> usize {
        self.weights + self.cache
    }
}

struct ParameterBytes {
    bytes: usize,
}

impl<B: Backend> ModuleVisitor<B> for ParameterBytes {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let tensor = param.val();
        self.bytes += tensor.shape().num_elements() * tensor.dtype().size();
    }

    // The codes of packed matrices.
    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        let tensor = param.val();
        self.bytes += tensor.shape().num_elements() * tensor.dtype().size();
    }
}
