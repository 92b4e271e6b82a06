//! What a request takes, from the configuration alone: bounds on products where every factor is
//! small enough for itself.
//!
//! A file of a megabyte may describe a picture of gigabytes, and a cache of as many: one thin matrix
//! pays for a wide activation. What is asked for is held against the parameters, which have to be in
//! the file, and a floor that lets small models be small.

use super::{ModelConfig, ProjectorConfig, VisionConfig};
use crate::error::{ConfigError, Result};
use crate::nn::{EncoderSizes, LlamaConfig, MlpKind, QFormerConfig};

/// Bytes of the widest activation of one tile. InternViT-6B, the widest encoder there is, has 50 MiB
/// at 448 pixels.
const TILE_BYTES: f64 = (256_u64 << 20) as f64;

/// Bytes of activations that tiles which go through an encoder together may have.
const BYTES_AT_ONCE: f64 = (512_u64 << 20) as f64;

/// Rows of all tiles of a picture: each costs a multiplication with every parameter. 37 tiles of
/// SigLIP at 384 pixels have 27,000.
const PICTURE_ROWS: f64 = 65_536.0;

/// Multiplications of the attention within all tiles of a picture, as [`TILE_WORK`]. SmolVLM-256M,
/// small beside its 17 tiles, has 4,400 a parameter.
const PICTURE_WORK: [f64; 2] = [6.4e10, 16_384.0];

/// Multiplications of the attention between the patches of one tile, with as many for each softmax
/// as it takes time: what any model may have, and what each parameter pays for. SigLIP has 300 a
/// parameter at 512 pixels.
const TILE_WORK: [f64; 2] = [8e9, 4096.0];
/// What one score costs beside its products.
const SOFTMAX_WORK: f64 = 16.0;

/// Bytes of keys and values of a default answer behind [`PROMPT_TOKENS`]: the floor, and a parameter's
/// share. LLaMA-7B, with a head of keys for each of queries, takes 0.3 a parameter.
const CACHE_BYTES: [f64; 2] = [(512_u64 << 20) as f64, 1.0];
/// A long prompt with several pictures.
const PROMPT_TOKENS: f64 = 2048.0;

/// Multiplications of the attention between all tokens of a full context: the floor, and what goes
/// with the square of the parameters, as longer contexts come with larger models. Half a billion of
/// them with a context of 131,072 are the closest to it.
const CONTEXT_WORK: [f64; 2] = [2e10, 2e-3];

impl ModelConfig {
    /// Holds what a picture and a default answer take against the usual limits, `allowance` times.
    ///
    /// # Errors
    ///
    /// [`ConfigError::TooCostly`] if one is above its limit.
    pub(crate) fn require_affordable(&self, allowance: f64) -> Result<()> {
        if let Some(vision) = &self.vision {
            self.require_affordable_tile(vision, allowance)?;
        }
        let tokens = PROMPT_TOKENS.min(self.decoder.max_position_embeddings as f64);
        let found = tokens * cache_bytes_per_token(&self.decoder);
        let limit = allowance * line(CACHE_BYTES, decoder_parameters(&self.decoder));
        require("bytes for the keys and values of an answer", found, limit)
    }

    /// Holds what all tiles of a picture take against the usual limits, `allowance` times, where a
    /// picture becomes at most so many.
    ///
    /// # Errors
    ///
    /// As [`require_affordable`](Self::require_affordable).
    pub(crate) fn require_affordable_tiles(&self, max_tiles: usize, allowance: f64) -> Result<()> {
        let Some(vision) = &self.vision else {
            return Ok(());
        };
        let (sizes, tiles) = (vision.encoder.sizes(), max_tiles as f64);
        let found = tiles * sizes.num_rows as f64;
        require("rows for a picture", found, allowance * PICTURE_ROWS)?;
        let limit = allowance * line(PICTURE_WORK, encoder_parameters(&sizes));
        let found = tiles * attention_work(&sizes);
        require("multiplications for a picture", found, limit)
    }

    /// Tiles that may go through the encoder together.
    pub(crate) fn tiles_at_once(&self) -> usize {
        let per_tile = self.vision.as_ref().map_or(1.0, tile_bytes);
        ((BYTES_AT_ONCE / per_tile) as usize).max(1)
    }

    fn require_affordable_tile(&self, vision: &VisionConfig, allowance: f64) -> Result<()> {
        if let ProjectorConfig::QFormer(config) = &vision.projector {
            require_affordable_queries(config, allowance)?;
        }
        require(
            "bytes for one tile of a picture",
            tile_bytes(vision),
            allowance * TILE_BYTES,
        )?;
        let sizes = vision.encoder.sizes();
        let found = attention_work(&sizes);
        let limit = allowance * line(TILE_WORK, encoder_parameters(&sizes));
        require("multiplications for one tile of a picture", found, limit)
    }

    /// The longest context whose attention the parameters pay for, `allowance` times over.
    pub(crate) fn affordable_context(&self, allowance: f64) -> usize {
        let LlamaConfig {
            num_hidden_layers,
            layer,
            ..
        } = &self.decoder;
        let per_pair = (2 * layer.head_dim) as f64 + SOFTMAX_WORK;
        let heads = (num_hidden_layers * layer.num_attention_heads) as f64;
        let parameters = decoder_parameters(&self.decoder);
        let limit = allowance * line(CONTEXT_WORK, parameters * parameters);
        // Each token sees those before it: half of the square.
        (2.0 * limit / (heads * per_pair)).sqrt() as usize
    }
}

/// Bytes of the widest activation of one tile.
fn tile_bytes(vision: &VisionConfig) -> f64 {
    let EncoderSizes {
        num_rows,
        hidden_size,
        intermediate_size,
        ..
    } = vision.encoder.sizes();
    let projected = match &vision.projector {
        ProjectorConfig::Linear(config) => config.hidden_size,
        ProjectorConfig::Mlp(config) => config.hidden_size.max(config.vision_hidden_size),
        ProjectorConfig::Merge(config) => config.hidden_size,
        ProjectorConfig::PixelShuffle(config) => config.hidden_size,
        ProjectorConfig::AnyResolution(config) => {
            config.mlp.hidden_size.max(config.mlp.vision_hidden_size)
        }
        ProjectorConfig::QFormer(config) => config.hidden_size,
    };
    let width = (3 * hidden_size).max(intermediate_size).max(projected);
    4.0 * num_rows as f64 * width as f64
}

/// Queries and the longest question go through the layers of a Q-Former together.
fn require_affordable_queries(config: &QFormerConfig, allowance: f64) -> Result<()> {
    let text = config.text.as_ref();
    let words = text.map_or(0, |text| text.max_position_embeddings);
    let width = (3 * config.qformer_hidden_size)
        .max(config.intermediate_size)
        .max(config.hidden_size);
    let found = 4.0 * (config.num_query_tokens + words) as f64 * width as f64;
    let limit = allowance * TILE_BYTES;
    require("bytes for the queries about a picture", found, limit)
}

fn line([floor, each]: [f64; 2], parameters: f64) -> f64 {
    floor + each * parameters
}

fn require(what: &'static str, found: f64, limit: f64) -> Result<()> {
    match found <= limit {
        true => Ok(()),
        false => Err(ConfigError::TooCostly {
            what,
            found: found as u64,
            limit: limit as u64,
        }
        .into()),
    }
}

fn attention_work(sizes: &EncoderSizes) -> f64 {
    let rows = sizes.num_rows as f64;
    let per_pair = 2.0 * sizes.hidden_size as f64 + SOFTMAX_WORK * sizes.num_heads as f64;
    sizes.num_layers as f64 * rows * rows * per_pair
}

fn encoder_parameters(sizes: &EncoderSizes) -> f64 {
    let hidden = sizes.hidden_size as f64;
    let per_layer = 4.0 * hidden * hidden + 2.0 * hidden * sizes.intermediate_size as f64;
    sizes.num_layers as f64 * per_layer
}

fn cache_bytes_per_token(decoder: &LlamaConfig) -> f64 {
    let (layer, layers) = (&decoder.layer, decoder.num_hidden_layers);
    let row = layer.num_key_value_heads as f64 * layer.head_dim as f64;
    2.0 * layers as f64 * row * decoder.cache.size() as f64
}

fn decoder_parameters(decoder: &LlamaConfig) -> f64 {
    let (layer, hidden) = (&decoder.layer, decoder.hidden_size as f64);
    let heads = 2.0 * (layer.num_attention_heads + layer.num_key_value_heads) as f64;
    let matrices = match layer.mlp {
        MlpKind::Gated => 3.0,
        MlpKind::Plain(_) => 2.0,
    };
    let widths = heads * layer.head_dim as f64 + matrices * layer.intermediate_size as f64;
    let layers = decoder.num_hidden_layers as f64 * hidden * widths;
    layers + decoder.vocab_size as f64 * hidden
}

#[cfg(test)]
mod tests {
    use super::super::fields::Fields;
    use super::super::{FAMILIES, ModelConfig};
    use super::*;

    fn config(family: &str, json: &str) -> ModelConfig {
        let object = serde_json::from_str(json).expect("an object");
        let family = FAMILIES.iter().find(|known| known.name == family);
        (family.expect("a family").parse)(&Fields::new(&object)).expect("a model")
    }

    /// Sizes that were published, the smallest and the largest of their kind.
    #[test]
    fn real_models_stay_far_below_every_limit() {
        let decoders = [
            // LLaMA-7B and 65B, Llama 3 70B, SmolLM2-135M, half a billion with a long context.
            r#"{}"#,
            r#"{"hidden_size": 8192, "intermediate_size": 22016, "num_hidden_layers": 80,
                "num_attention_heads": 64}"#,
            r#"{"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
                "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256,
                "max_position_embeddings": 131072}"#,
            r#"{"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
                "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
                "max_position_embeddings": 8192}"#,
            r#"{"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 151936,
                "max_position_embeddings": 131072}"#,
        ];
        for json in decoders {
            let config = config("llama", json);
            config.require_affordable(0.75).expect(json);
            let longest = config.decoder.max_position_embeddings;
            assert!(config.affordable_context(1.0) >= longest, "{json}");
        }
        let eyes = [
            // CLIP-L, SigLIP-SO400M at 384 and SigLIP-B at 512 as SmolVLM has them, InternViT-6B.
            (
                "llava",
                r#"{"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
                "num_attention_heads": 16, "image_size": 336, "patch_size": 14}"#,
            ),
            (
                "idefics3",
                r#"{"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27,
                "num_attention_heads": 16, "image_size": 384, "patch_size": 14}"#,
            ),
            (
                "idefics3",
                r#"{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
                "num_attention_heads": 12, "image_size": 512, "patch_size": 16}"#,
            ),
            (
                "llava",
                r#"{"hidden_size": 3200, "intermediate_size": 12800, "num_hidden_layers": 45,
                "num_attention_heads": 25, "image_size": 448, "patch_size": 14}"#,
            ),
        ];
        for (family, json) in eyes {
            let json =
                format!(r#"{{"text_config": {{}}, "vision_config": {json}, "scale_factor": 1}}"#);
            let config = config(family, &json);
            config.require_affordable(0.5).expect(&json);
            // 16 tiles and the whole picture: all that SmolVLM makes of one.
            config.require_affordable_tiles(17, 0.5).expect(&json);
            assert!(config.tiles_at_once() >= 8, "{json}");
        }
    }

    #[test]
    fn many_tiles_cost_more_than_one_and_do_not_go_through_the_encoder_together() {
        let json = r#"{"text_config": {}, "vision_config": {"hidden_size": 8, "intermediate_size": 65536,
            "num_attention_heads": 1, "image_size": 308, "patch_size": 14}, "scale_factor": 1}"#;
        let config = config("idefics3", json);
        config.require_affordable(1.0).expect("one tile is cheap");
        assert!(config.tiles_at_once() <= 4);
        config
            .require_affordable_tiles(17, 1.0)
            .expect("a picture of some tiles");
        let refused = config.require_affordable_tiles(257, 1.0);
        let refused = refused.expect_err("484 rows each");
        let is_expected = matches!(refused, crate::Error::Config(ConfigError::TooCostly { .. }));
        assert!(is_expected, "{refused}");
    }

    #[test]
    fn sizes_that_multiply_are_refused_and_an_allowance_lets_them_in() {
        let cases = [
            (
                "idefics3",
                r#"{"text_config": {}, "vision_config": {"hidden_size": 8, "intermediate_size": 8,
                "num_attention_heads": 1, "image_size": 2000, "patch_size": 8}}"#,
            ),
            (
                "llava",
                r#"{"vision_config": {"hidden_size": 1, "intermediate_size": 65536,
                "num_attention_heads": 1, "image_size": 2000, "patch_size": 16}}"#,
            ),
            (
                "llava",
                r#"{"vision_config": {"hidden_size": 8, "intermediate_size": 8,
                "num_attention_heads": 1, "image_size": 2000, "patch_size": 8}}"#,
            ),
            (
                "llama",
                r#"{"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 1024,
                "head_dim": 1024, "num_hidden_layers": 1, "vocab_size": 100}"#,
            ),
        ];
        for (family, json) in cases {
            let config = config(family, json);
            let refused = config.require_affordable(1.0).expect_err(json);
            let is_expected =
                matches!(refused, crate::Error::Config(ConfigError::TooCostly { .. }));
            assert!(is_expected, "{refused}");
            config.require_affordable(1000.0).expect(json);
        }
        let tiny = r#"{"hidden_size": 48, "intermediate_size": 80, "num_attention_heads": 6,
            "num_hidden_layers": 2, "vocab_size": 341, "max_position_embeddings": 16777216}"#;
        assert!(config("llama", tiny).affordable_context(1.0) < 20_000);
    }
}
