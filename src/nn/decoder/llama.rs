//! The Llama decoder (Touvron et al. 2023): Vicuna, Alpaca, KoVicuna, Llama 2 and 3, SmolLM2.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::config::LlamaConfig;
use super::layer::LlamaLayer;
use crate::kernels::{self, Activation, VlmBackend};
use crate::nn::attention::Step;
use crate::nn::cache::{CacheFull, KvCache};
use crate::nn::embedding::Embedding;
use crate::nn::linear::Linear;
use crate::nn::norm::RmsNorm;

/// From rows of embeddings to logits.
///
/// Usable on its own: embed token ids with `embed_tokens`, run [`prefill`](Self::prefill) over the
/// prompt and [`decode`](Self::decode) for each further token.
///
/// # Examples
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn_vlm::backend::Cpu;
/// use burn_vlm::nn::{KvCache, LlamaConfig, LogitsFor, RopeConfig, RopePrecision, RopeScaling};
///
/// let config = LlamaConfig {
///     vocab_size: 32,
///     hidden_size: 16,
///     intermediate_size: 24,
///     num_hidden_layers: 2,
///     num_attention_heads: 4,
///     num_key_value_heads: 2,
///     head_dim: 4,
///     rms_norm_eps: 1e-5,
///     max_position_embeddings: 64,
///     rope: RopeConfig {
///         rope_theta: 10_000.0,
///         scaling: RopeScaling::Default,
///         precision: RopePrecision::F32,
///     },
///     tie_word_embeddings: true,
///     attention_bias: false,
///     mlp_bias: false,
/// };
/// let device = Default::default();
/// let decoder = config.init::<Cpu>(&device);
/// let mut cache = KvCache::new(&config, 1, 8, &device);
/// let prompt = decoder.embed_tokens.forward(&[1, 5, 9], vec![]);
/// let logits = decoder.prefill(prompt, &mut cache, 0, LogitsFor::Last)?;
/// assert_eq!(logits.map(|logits| logits.dims()), Some([1, 32]));
/// assert_eq!(cache.len(0), 3);
/// # }
/// # Ok::<(), burn_vlm::nn::CacheFull>(())
/// ```
#[derive(Module, Debug)]
pub struct LlamaDecoder<B: Backend> {
    /// Token embeddings.
    pub embed_tokens: Embedding<B>,
    /// The layers, first to last.
    pub layers: Vec<LlamaLayer<B>>,
    /// Before the head.
    pub norm: RmsNorm<B>,
    /// The head; `None` where it is the embedding table.
    pub lm_head: Option<Linear<B>>,
}

/// Which tokens of a prefill get logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogitsFor {
    /// None: a chunk before the last one.
    Nothing,
    /// The last token: the next one is chosen from them.
    Last,
    /// Every token.
    All,
}

impl LlamaConfig {
    /// Builds the decoder with random weights on `device`, each made when first used.
    pub fn init<B: Backend>(&self, device: &B::Device) -> LlamaDecoder<B> {
        let layers = (0..self.num_hidden_layers).map(|_| LlamaLayer::new(self, device));
        let head = || Linear::new(self.hidden_size, self.vocab_size, device);
        LlamaDecoder {
            embed_tokens: Embedding::new(self.vocab_size, self.hidden_size, device),
            layers: layers.collect(),
            norm: RmsNorm::new(self.hidden_size, self.rms_norm_eps, device),
            lm_head: (!self.tie_word_embeddings).then(head),
        }
    }
}

impl<B: VlmBackend> LlamaDecoder<B> {
    /// Reads many tokens of one sequence, behind what `slot` already holds.
    ///
    /// Prompts longer than memory allows at once are read in chunks, with
    /// [`LogitsFor::Nothing`] for all but the last: the result is the same.
    ///
    /// # Shapes
    /// - `embeds`: `[seq_len, hidden_size]`
    /// - output: `None`, `[1, vocab_size]` or `[seq_len, vocab_size]`, as `logits_for` says
    ///
    /// # Errors
    /// If the slot has no room for them; nothing is written then.
    ///
    /// # Panics
    /// If `embeds` is empty or not of this width, or there is no such slot.
    pub fn prefill(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        slot: usize,
        logits_for: LogitsFor,
    ) -> Result<Option<Tensor<B, 2>>, CacheFull> {
        let [seq_len, _] = embeds.dims();
        let hidden = self.forward(embeds, cache, &[slot], seq_len)?;
        Ok(match logits_for {
            LogitsFor::Nothing => None,
            LogitsFor::Last => Some(self.logits(hidden.slice_dim(0, seq_len - 1..seq_len))),
            LogitsFor::All => Some(self.logits(hidden)),
        })
    }

    /// Reads one more token of each of several sequences.
    ///
    /// # Shapes
    /// - `embeds`: `[slots.len(), hidden_size]`
    /// - output: `[slots.len(), vocab_size]`
    ///
    /// # Errors
    /// If a slot has no room for it; nothing is written then.
    ///
    /// # Panics
    /// If a slot is named twice or does not exist, or the shapes do not fit.
    pub fn decode(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        slots: &[usize],
    ) -> Result<Tensor<B, 2>, CacheFull> {
        let hidden = self.forward(embeds, cache, slots, 1)?;
        Ok(self.logits(hidden))
    }

    fn forward(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        slots: &[usize],
        seq_len: usize,
    ) -> Result<Tensor<B, 2>, CacheFull> {
        let rows = cache.rows(slots, seq_len)?;
        let mut hidden = embeds;
        for (index, layer) in self.layers.iter().enumerate() {
            let step = Step {
                layer: index,
                seq_len,
                rows: &rows,
            };
            hidden = layer.forward(hidden, step, cache);
        }
        cache.advance(slots, seq_len);
        Ok(hidden)
    }

    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = self.norm.forward(hidden);
        match &self.lm_head {
            Some(head) => head.forward(normed),
            None => {
                let table = self.embed_tokens.weight.val();
                kernels::linear(normed, table, None, Activation::Identity, None)
            }
        }
    }
}
