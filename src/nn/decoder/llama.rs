//! The Llama decoder (Touvron et al. 2023) and everything that differs from it by data: Vicuna, Alpaca,
//! KoVicuna, Llama 2 and 3, SmolLM2, Mistral, GPT-NeoX, OPT.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::config::{LlamaConfig, Positions};
use super::layer::DecoderLayer;
use super::positions::LearnedPositions;
use crate::kernels::{self, Activation, SplicedRows, TokenIdsTensor, VlmBackend};
use crate::nn::attention::Step;
use crate::nn::cache::{CacheFull, CachePlace, KvCache};
use crate::nn::embedding::Embedding;
use crate::nn::linear::Linear;
use crate::nn::low_rank::LowRank;
use crate::nn::norm::Norm;

/// From rows of embeddings to logits.
///
/// Usable on its own: embed token ids with [`embed`](Self::embed), run [`prefill`](Self::prefill) over the
/// prompt and [`decode`](Self::decode) for each further token.
///
/// # Examples
/// ```
/// # #[cfg(feature = "flex")] {
/// use burn::tensor::DType;
/// use burn_vlm::backend::Cpu;
/// use burn_vlm::nn::{
///     Biases, LayerConfig, LlamaConfig, LogitsFor, MlpKind, NormConfig, NormKind, Positions,
///     Residual, RopeConfig, RopePrecision, RopeScaling,
/// };
///
/// let config = LlamaConfig {
///     vocab_size: 32,
///     hidden_size: 16,
///     num_hidden_layers: 2,
///     layer: LayerConfig {
///         num_attention_heads: 4,
///         num_key_value_heads: 2,
///         head_dim: 4,
///         intermediate_size: 24,
///         mlp: MlpKind::Gated,
///         norm: NormConfig { kind: NormKind::Rms, epsilon: 1e-5 },
///         residual: Residual::Sequential,
///         biases: Biases::default(),
///         sliding_window: None,
///     },
///     max_position_embeddings: 64,
///     positions: Positions::Rotary(RopeConfig {
///         rope_theta: 10_000.0,
///         rotary_dim: 4,
///         scaling: RopeScaling::Default,
///         precision: RopePrecision::F32,
///     }),
///     tie_word_embeddings: true,
///     compute: DType::F32,
///     cache: DType::F32,
/// };
/// let device = Default::default();
/// let decoder = config.init::<Cpu>(&device);
/// let mut cache = decoder.new_cache(1, 8, &device);
/// let prompt = decoder.embed(&[1, 5, 9], vec![]);
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
    /// Learned positions; `None` where positions are rotations.
    pub embed_positions: Option<LearnedPositions<B>>,
    /// The layers, first to last.
    pub layers: Vec<DecoderLayer<B>>,
    /// Before the head.
    pub norm: Norm<B>,
    /// The head; `None` where it is the embedding table.
    pub lm_head: Option<Linear<B>>,
    #[module(skip)]
    config: LlamaConfig,
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
        let layers = (0..self.num_hidden_layers).map(|_| DecoderLayer::new(self, device));
        let head = || Linear::new(self.hidden_size, self.vocab_size, device);
        LlamaDecoder {
            embed_tokens: Embedding::new(self.vocab_size, self.hidden_size, device),
            embed_positions: self.learned_positions(device),
            layers: layers.collect(),
            norm: self.layer.norm.init(self.hidden_size, device),
            lm_head: (!self.tie_word_embeddings).then(head),
            config: self.clone(),
        }
    }

    fn learned_positions<B: Backend>(&self, device: &B::Device) -> Option<LearnedPositions<B>> {
        match self.positions {
            Positions::Rotary(_) => None,
            Positions::Learned { offset } => Some(LearnedPositions::new(
                offset,
                self.max_position_embeddings,
                self.hidden_size,
                device,
            )),
        }
    }
}

impl<B: VlmBackend> LlamaDecoder<B> {
    /// What it was built from.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// The same decoder, which shares the weights, with what an adapter adds to its linear layers, by
    /// their paths. Returns the paths that no layer has, too.
    pub(crate) fn with_low_rank(
        &self,
        mut updates: BTreeMap<String, LowRank<B>>,
    ) -> (Self, Vec<String>) {
        let mut decoder = self.clone();
        for (index, layer) in decoder.layers.iter_mut().enumerate() {
            for (path, linear) in layer.linears() {
                linear.low_rank = updates.remove(&format!("layers.{index}.{path}"));
            }
        }
        if let Some(head) = &mut decoder.lm_head {
            head.low_rank = updates.remove("lm_head");
        }
        (decoder, updates.into_keys().collect())
    }

    /// An empty cache of `num_slots` sequences with room for `capacity` tokens each.
    pub fn new_cache(&self, num_slots: usize, capacity: usize, device: &B::Device) -> KvCache<B> {
        KvCache::new(self.config.cache_shape(), num_slots, capacity, device)
    }

    /// The rows of `token_ids`, with those of `images` in their places; learned positions are added when
    /// they are read.
    ///
    /// # Shapes
    /// - `token_ids`: `[num_tokens]`, on the host or on the device
    /// - `images`: rows `[num_rows, hidden_size]`, in order
    /// - output: `[num_tokens, hidden_size]`, in the type that is computed in; zeros for an id on the
    ///   device that is not in the table
    ///
    /// # Panics
    /// If an id on the host, outside the images, is not in the table, or an image does not fit.
    pub fn embed<'a>(
        &self,
        token_ids: impl Into<TokenIdsTensor<'a, B>>,
        images: Vec<SplicedRows<Tensor<B, 2>>>,
    ) -> Tensor<B, 2> {
        self.embed_tokens
            .forward(token_ids, images, self.config.compute)
    }

    /// Reads many tokens of one sequence, behind what its slot already holds.
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
    /// If `embeds` is empty or not of this width, there is no such slot, or positions are learned and it
    /// goes behind the last one.
    pub fn prefill(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        place: impl Into<CachePlace>,
        logits_for: LogitsFor,
    ) -> Result<Option<Tensor<B, 2>>, CacheFull> {
        let [seq_len, _] = embeds.dims();
        let hidden = self.forward(embeds, cache, &[place.into()], seq_len)?;
        Ok(match logits_for {
            LogitsFor::Nothing => None,
            LogitsFor::Last => Some(self.logits(hidden.slice_dim(0, seq_len - 1..seq_len))),
            LogitsFor::All => Some(self.logits(hidden)),
        })
    }

    /// Reads one more token of each of several sequences.
    ///
    /// # Shapes
    /// - `embeds`: `[places.len(), hidden_size]`
    /// - output: `[places.len(), vocab_size]`
    ///
    /// # Errors
    /// If a slot has no room for it; nothing is written then.
    ///
    /// # Panics
    /// If a slot is named twice or does not exist, the shapes do not fit, or positions are learned and a
    /// token stands behind the last one.
    pub fn decode(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        places: &[impl Into<CachePlace> + Copy],
    ) -> Result<Tensor<B, 2>, CacheFull> {
        let places: Vec<CachePlace> = places.iter().map(|place| (*place).into()).collect();
        B::vlm_in_team(|| {
            let hidden = self.forward(embeds, cache, &places, 1)?;
            Ok(self.logits(hidden))
        })
    }

    fn forward(
        &self,
        embeds: Tensor<B, 2>,
        cache: &mut KvCache<B>,
        places: &[CachePlace],
        seq_len: usize,
    ) -> Result<Tensor<B, 2>, CacheFull> {
        let rows = cache.rows(places, seq_len, self.config.layer.sliding_window)?;
        let mut hidden = match &self.embed_positions {
            Some(positions) => {
                let dtype = embeds.dtype();
                embeds + positions.forward(rows.writes.writes(), seq_len, dtype)
            }
            None => embeds,
        };
        for (index, layer) in self.layers.iter().enumerate() {
            let step = Step {
                layer: index,
                seq_len,
                batch: places.len(),
                rows: &rows,
            };
            hidden = layer.forward(hidden, &step, cache);
        }
        cache.advance(places, seq_len);
        Ok(hidden)
    }

    /// In f32 whatever is computed in: tokens are chosen by differences that half precision rounds
    /// away.
    fn logits(&self, hidden: Tensor<B, 2>) -> Tensor<B, 2> {
        let normed = self.norm.forward(hidden).cast(DType::F32);
        match &self.lm_head {
            Some(head) => head.forward(normed),
            None => {
                let table = self.embed_tokens.weight.matrix();
                kernels::linear(normed, table, None, Activation::Identity, None)
            }
        }
    }
}
