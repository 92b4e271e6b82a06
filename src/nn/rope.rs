//! Rotary position embedding: from a configuration to the tables the kernels read.

use std::f64::consts::PI;

use burn::tensor::{DType, Tensor, TensorData, backend::Backend};
use half::bf16;

/// How positions become rotations (HF `rope_theta`, `rope_scaling` or `rope_parameters`).
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub rope_theta: f64,
    /// Elements of a head that are rotated; the rest pass unchanged. Even.
    pub rotary_dim: usize,
    /// How they are stretched to a longer context.
    pub scaling: RopeScaling,
    /// What the frequencies are rounded to.
    pub precision: RopePrecision,
}

/// What the frequencies of a rotation are rounded to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RopePrecision {
    /// f32: what `transformers` computes when it loads a checkpoint, whatever type the weights
    /// have.
    #[default]
    F32,
    /// bf16: what is left of them in a PyTorch model that was cast as a whole
    /// (`model.to(torch.bfloat16)`), because the cast takes the buffers along. Some references were
    /// computed so.
    Bf16,
}

/// Ways to stretch a context, as `transformers` computes them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// As trained.
    Default,
    /// Positions divided by `factor` (Chen et al. 2023).
    Linear {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// The base grows with the sequence once it is longer than the trained context ("dynamic
    /// NTK"): every rotation depends on the length of the whole sequence. A cache would hold keys of
    /// other rotations, so beyond the trained context every token reads the sequence again.
    Dynamic {
        /// How fast the base grows.
        factor: f64,
        /// The trained context.
        original_max_position_embeddings: usize,
    },
    /// Low frequencies divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// How many times longer the context becomes.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are low.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are high.
        high_freq_factor: f64,
        /// The trained context.
        original_max_position_embeddings: usize,
    },
    /// Each frequency divided by its own factor, as a checkpoint stores them: `rotary_dim / 2`
    /// numbers.
    Factors(Vec<f32>),
}

impl RopeConfig {
    /// The frequency of each rotated pair, for a sequence of `seq_len` tokens:
    /// `rotary_dim / 2` values.
    pub fn inverse_frequencies(&self, seq_len: usize) -> Vec<f32> {
        let rotary_dim = self.rotary_dim;
        let base = self.base(seq_len);
        let pairs = 0..rotary_dim / 2;
        let plain = pairs.map(|i| base.powf(-((2 * i) as f64) / rotary_dim as f64));
        let frequencies = plain
            .zip(0..)
            .map(|(frequency, pair)| self.stretched(frequency, pair) as f32);
        match self.precision {
            // A base that grew was computed after the cast.
            RopePrecision::Bf16 if base == self.rope_theta => frequencies
                .map(|frequency| bf16::from_f32(frequency).to_f32())
                .collect(),
            RopePrecision::F32 | RopePrecision::Bf16 => frequencies.collect(),
        }
    }

    /// The length that decides the rotations of a sequence of `seq_len` tokens. As long as it stays
    /// the same, cached keys stay valid.
    pub fn deciding_len(&self, seq_len: usize) -> usize {
        match self.scaling {
            RopeScaling::Dynamic {
                original_max_position_embeddings,
                ..
            } => seq_len.max(original_max_position_embeddings),
            RopeScaling::Default
            | RopeScaling::Linear { .. }
            | RopeScaling::Llama3 { .. }
            | RopeScaling::Factors(_) => 0,
        }
    }

    fn base(&self, seq_len: usize) -> f64 {
        let RopeScaling::Dynamic {
            factor,
            original_max_position_embeddings,
        } = self.scaling
        else {
            return self.rope_theta;
        };
        let stretch = self.deciding_len(seq_len) as f64 / original_max_position_embeddings as f64;
        let rotary_dim = self.rotary_dim as f64;
        let exponent = rotary_dim / (rotary_dim - 2.0);
        self.rope_theta * (factor * stretch - (factor - 1.0)).powf(exponent)
    }

    fn stretched(&self, frequency: f64, pair: usize) -> f64 {
        match &self.scaling {
            RopeScaling::Factors(factors) => frequency / f64::from(factors[pair]),
            RopeScaling::Default | RopeScaling::Dynamic { .. } => frequency,
            RopeScaling::Linear { factor } => frequency / factor,
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                // Full turns within the trained context.
                let turns = *original_max_position_embeddings as f64 * frequency / (2.0 * PI);
                let keep = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor);
                let keep = keep.clamp(0.0, 1.0);
                keep * frequency + (1.0 - keep) * frequency / factor
            }
        }
    }
}

/// Cosine and sine of each position and rotated pair.
#[derive(Debug, Clone)]
pub struct RopeTable<B: Backend> {
    pub(super) cos: Tensor<B, 2>,
    pub(super) sin: Tensor<B, 2>,
    pub(super) deciding_len: usize,
}

impl<B: Backend> RopeTable<B> {
    /// The table of `num_positions` positions in a sequence of `seq_len` tokens.
    ///
    /// # Shapes
    /// - the table: `[num_positions, rotary_dim / 2]`, f32
    pub fn new(
        config: &RopeConfig,
        num_positions: usize,
        seq_len: usize,
        device: &B::Device,
    ) -> Self {
        let frequencies = config.inverse_frequencies(seq_len);
        // The angle is rounded to f32 as the reference implementation does; its cosine is exact.
        let angles: Vec<f32> = (0..num_positions)
            .flat_map(|position| frequencies.iter().map(move |f| position as f32 * f))
            .collect();
        let table = |function: fn(f64) -> f64| {
            let values: Vec<f32> = angles
                .iter()
                .map(|a| function(f64::from(*a)) as f32)
                .collect();
            let data = TensorData::new(values, [num_positions, config.rotary_dim / 2]);
            Tensor::from_data(data, (device, DType::F32))
        };
        Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
            deciding_len: config.deciding_len(seq_len),
        }
    }

    /// The table of a decoder whose positions are no rotations: of one pair, which is turned by nothing.
    /// Kernels read a table whatever the decoder is, and a finite number times one plus zero is itself.
    pub(super) fn still(num_positions: usize, device: &B::Device) -> Self {
        let options = (device, DType::F32);
        Self {
            cos: Tensor::ones([num_positions, 1], options),
            sin: Tensor::zeros([num_positions, 1], options),
            deciding_len: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rotary_dim: usize, scaling: RopeScaling) -> RopeConfig {
        RopeConfig {
            rope_theta: 10_000.0,
            rotary_dim,
            scaling,
            precision: RopePrecision::F32,
        }
    }

    #[test]
    fn linear_scaling_divides_every_frequency() {
        let plain = config(8, RopeScaling::Default).inverse_frequencies(1);
        let scaled = config(8, RopeScaling::Linear { factor: 4.0 }).inverse_frequencies(1);
        assert_eq!(plain[0], 1.0);
        for (plain, scaled) in plain.iter().zip(scaled) {
            assert!((plain / 4.0 - scaled).abs() < 1e-9);
        }
    }

    #[test]
    fn dynamic_scaling_leaves_short_sequences_alone() {
        let scaling = RopeScaling::Dynamic {
            factor: 2.0,
            original_max_position_embeddings: 64,
        };
        let (plain, dynamic) = (config(16, RopeScaling::Default), config(16, scaling));
        assert_eq!(
            plain.inverse_frequencies(64),
            dynamic.inverse_frequencies(64)
        );
        assert_eq!(dynamic.deciding_len(10), dynamic.deciding_len(64));
        assert!(dynamic.inverse_frequencies(65)[7] < plain.inverse_frequencies(65)[7]);
    }

    #[test]
    fn llama3_scaling_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        let plain = config(20, RopeScaling::Default).inverse_frequencies(1);
        let scaled = config(20, scaling).inverse_frequencies(1);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[9] / 8.0 - scaled[9]).abs() < 1e-9);
    }
}
