//! BLIP-2's querying transformer (Li et al. 2023): a few learned queries read a whole picture.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::cross_attention::CrossAttention;
use crate::kernels::{Activation, KvView, KvViews, VlmBackend};
use crate::nn::attention::SelfAttention;
use crate::nn::embedding::Embedding;
use crate::nn::feed_forward::Mlp;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;

/// Sizes of a [`QFormerProjector`], under Hugging Face's names.
#[derive(Debug, Clone, PartialEq)]
pub struct QFormerConfig {
    /// Width of the features.
    pub vision_hidden_size: usize,
    /// Learned queries: rows that a picture becomes.
    pub num_query_tokens: usize,
    /// Width of the queries.
    pub qformer_hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; divides `qformer_hidden_size`.
    pub num_attention_heads: usize,
    /// The first of this many layers reads the picture, and so does the first of the next as many.
    pub cross_attention_frequency: usize,
    /// Between the two linear layers of the feed-forward block.
    pub hidden_act: Activation,
    /// Added to the variance in the norms.
    pub layer_norm_eps: f64,
    /// Width of the decoder.
    pub hidden_size: usize,
    /// How the question is read beside the queries (InstructBLIP); `None` where it is not (BLIP-2,
    /// MiniGPT-4).
    pub text: Option<QFormerTextConfig>,
}

/// Sizes of what a Q-Former reads a question with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QFormerTextConfig {
    /// Rows of the table of word pieces.
    pub vocab_size: usize,
    /// Word pieces that a question may have.
    pub max_position_embeddings: usize,
}

impl QFormerConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> QFormerProjector<B> {
        let width = self.qformer_hidden_size;
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let layers = (0..self.num_hidden_layers).map(|index| {
            let reads_picture = index.is_multiple_of(self.cross_attention_frequency);
            QFormerLayer::new(self, reads_picture, device)
        });
        let text = self.text.as_ref();
        let positions = |config: &QFormerTextConfig| [config.max_position_embeddings, width];
        QFormerProjector {
            text: text.map(|config| TextEmbeddings {
                word_embeddings: Embedding::new(config.vocab_size, width, device),
                position_embeddings: normal.init(positions(config), device),
            }),
            query_tokens: normal.init([1, self.num_query_tokens, width], device),
            layernorm: LayerNorm::new(width, self.layer_norm_eps, device),
            layers: layers.collect(),
            linear: Linear::with_bias(width, self.hidden_size, device),
        }
    }
}

/// A transformer of learned queries over the features of a picture, then one linear layer.
#[derive(Module, Debug)]
pub struct QFormerProjector<B: Backend> {
    /// `[1, num_query_tokens, qformer_hidden_size]`
    query_tokens: Param<Tensor<B, 3>>,
    text: Option<TextEmbeddings<B>>,
    layernorm: LayerNorm<B>,
    layers: Vec<QFormerLayer<B>>,
    /// `qformer_hidden_size` to `hidden_size`.
    linear: Linear<B>,
}

#[derive(Module, Debug)]
struct TextEmbeddings<B: Backend> {
    /// `[vocab_size, qformer_hidden_size]`
    word_embeddings: Embedding<B>,
    /// `[max_position_embeddings, qformer_hidden_size]`
    position_embeddings: Param<Tensor<B, 2>>,
}

/// As in BERT, what a block adds is normalised together with what it was added to.
#[derive(Module, Debug)]
struct QFormerLayer<B: Backend> {
    attention: SelfAttention<B>,
    attention_norm: LayerNorm<B>,
    cross_attention: Option<CrossAttention<B>>,
    cross_attention_norm: Option<LayerNorm<B>>,
    mlp: Mlp<B>,
    mlp_norm: LayerNorm<B>,
    /// The same for the question.
    text_mlp: Option<Mlp<B>>,
    text_norm: Option<LayerNorm<B>>,
}

impl<B: Backend> QFormerLayer<B> {
    fn new(config: &QFormerConfig, reads_picture: bool, device: &B::Device) -> Self {
        let (width, num_heads) = (config.qformer_hidden_size, config.num_attention_heads);
        let norm = || LayerNorm::new(width, config.layer_norm_eps, device);
        let features = config.vision_hidden_size;
        let cross = || CrossAttention::new([width, features], num_heads, device);
        let mlp = || {
            let linear = Linear::maker(true, device);
            Mlp::new(width, config.intermediate_size, config.hidden_act, linear)
        };
        let reads_text = config.text.is_some();
        Self {
            attention: SelfAttention::new(width, num_heads, device),
            attention_norm: norm(),
            cross_attention: reads_picture.then(cross),
            cross_attention_norm: reads_picture.then(norm),
            mlp: mlp(),
            mlp_norm: norm(),
            text_mlp: reads_text.then(mlp),
            text_norm: reads_text.then(norm),
        }
    }
}

impl<B: VlmBackend> QFormerProjector<B> {
    /// Whether the rows depend on the question.
    pub fn reads_question(&self) -> bool {
        self.text.is_some()
    }

    /// Reads the features of pictures, with the word pieces of a question beside them where
    /// [`reads_question`](Self::reads_question).
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_tiles, num_query_tokens, hidden_size]`
    ///
    /// # Panics
    /// If an id of `question` is not in the table, or it has more of them than positions.
    pub fn forward(&self, features: Tensor<B, 3>, question: &[u32]) -> Tensor<B, 3> {
        let [num_tiles, num_features, _] = features.dims();
        let [_, num_queries, width] = self.query_tokens.dims();
        let embedded = self.embed(num_tiles, question, features.dtype());
        let [_, seq_len, _] = embedded.dims();
        let device = features.device();
        let all_of = |len| {
            let views = (0..num_tiles).map(|tile| KvView::of(tile, len));
            KvViews::new(views.collect(), &device)
        };
        let pictures = Pictures {
            own: all_of(seq_len),
            views: all_of(num_features),
            features,
            num_queries,
        };
        let embedded = embedded.reshape([num_tiles * seq_len, width]);
        let mut hidden = self.layernorm.forward(embedded);
        for layer in &self.layers {
            hidden = layer.forward(hidden, &pictures);
        }
        let hidden = hidden.reshape([num_tiles, seq_len, width]);
        let queries = hidden.slice_dim(1, 0..num_queries);
        let rows = self
            .linear
            .forward(queries.reshape([num_tiles * num_queries, width]));
        let [_, hidden_size] = rows.dims();
        rows.reshape([num_tiles, num_queries, hidden_size])
    }

    /// The queries, and behind them the question: `[num_tiles, seq_len, qformer_hidden_size]`.
    fn embed(&self, num_tiles: usize, question: &[u32], dtype: DType) -> Tensor<B, 3> {
        let queries = self.query_tokens.val().cast(dtype);
        let text = self.text.as_ref().filter(|_| !question.is_empty());
        let embedded = match text {
            Some(text) => Tensor::cat(vec![queries, text.forward(question, dtype).unsqueeze()], 1),
            None => queries,
        };
        embedded.repeat_dim(0, num_tiles)
    }
}

impl<B: VlmBackend> TextEmbeddings<B> {
    fn forward(&self, question: &[u32], dtype: DType) -> Tensor<B, 2> {
        let words = self.word_embeddings.forward(question, vec![], dtype);
        let positions = self.position_embeddings.val().cast(dtype);
        words + positions.slice_dim(0, 0..question.len())
    }
}

/// What every layer reads.
struct Pictures<B: Backend> {
    /// `[num_tiles, num_features, vision_hidden_size]`
    features: Tensor<B, 3>,
    /// The features of each picture.
    views: KvViews<B>,
    /// Its queries and the question.
    own: KvViews<B>,
    num_queries: usize,
}

impl<B: VlmBackend> QFormerLayer<B> {
    /// # Shapes
    /// - `hidden` and output: `[num_tiles * seq_len, qformer_hidden_size]`
    fn forward(&self, hidden: Tensor<B, 2>, pictures: &Pictures<B>) -> Tensor<B, 2> {
        let attended = self
            .attention
            .forward(hidden.clone(), &pictures.own, hidden);
        let hidden = self.attention_norm.forward(attended);
        let [rows, width] = hidden.dims();
        let [num_tiles, _, _] = pictures.features.dims();
        let (num_queries, seq_len) = (pictures.num_queries, rows / num_tiles);
        let (Some(mlp), Some(norm)) = (&self.text_mlp, &self.text_norm) else {
            return self.forward_queries(hidden, pictures);
        };
        if seq_len == num_queries {
            return self.forward_queries(hidden, pictures);
        }
        let hidden = hidden.reshape([num_tiles, seq_len, width]);
        let part = |range: std::ops::Range<usize>| {
            let rows = num_tiles * range.len();
            hidden.clone().slice_dim(1, range).reshape([rows, width])
        };
        let (queries, text) = (part(0..num_queries), part(num_queries..seq_len));
        let queries = self.forward_queries(queries, pictures);
        let text = norm.forward(mlp.forward(text.clone(), text));
        let queries = queries.reshape([num_tiles, num_queries, width]);
        let text = text.reshape([num_tiles, seq_len - num_queries, width]);
        Tensor::cat(vec![queries, text], 1).reshape([rows, width])
    }

    /// What only the queries do: read the picture, and widen by matrices of their own.
    fn forward_queries(&self, mut hidden: Tensor<B, 2>, pictures: &Pictures<B>) -> Tensor<B, 2> {
        if let (Some(attention), Some(norm)) = (&self.cross_attention, &self.cross_attention_norm) {
            let features = pictures.features.clone();
            let read = attention.forward(hidden.clone(), features, &pictures.views, hidden);
            hidden = norm.forward(read);
        }
        self.mlp_norm
            .forward(self.mlp.forward(hidden.clone(), hidden))
    }
}
