//! Problems of [`linear()`](super::linear()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{Activation, LinearEpilogue, NAME, reference};
use crate::kernels::cases::{
    Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Stored, Work,
};
use crate::kernels::{Matrix, MatrixPrimitive, PackedType, VlmBackend};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone, Copy)]
struct LinearProblem {
    rows: usize,
    in_features: usize,
    out_features: usize,
    weight: Option<Stored>,
    order: Order,
    has_bias: bool,
    activation: Activation,
    has_residual: bool,
}

impl LinearProblem {
    /// The bare product `[rows, in_features]` by `[out_features, in_features]`.
    fn product(rows: usize, in_features: usize, out_features: usize) -> Self {
        Self {
            rows,
            in_features,
            out_features,
            weight: None,
            order: Order::RowMajor,
            has_bias: false,
            activation: Activation::Identity,
            has_residual: false,
        }
    }

    fn weight(self, stored: impl Into<Stored>) -> Self {
        Self {
            weight: Some(stored.into()),
            ..self
        }
    }

    fn bias(self, activation: Activation) -> Self {
        Self {
            has_bias: true,
            activation,
            ..self
        }
    }

    fn residual(self) -> Self {
        Self {
            has_residual: true,
            ..self
        }
    }

    fn swapped(self) -> Self {
        Self {
            order: Order::Swapped,
            ..self
        }
    }

    fn case<B: VlmBackend>(self) -> Case<B> {
        let Self {
            rows,
            in_features,
            out_features,
            ..
        } = self;
        let mut name = format!("{rows}x{in_features}->{out_features}");
        if let Some(stored) = self.weight {
            name += &format!(", {stored} weight");
        }
        if self.has_bias {
            name += &format!(", bias, {:?}", self.activation);
        }
        if self.has_residual {
            name += ", residual";
        }
        if self.order == Order::Swapped {
            name += ", transposed x";
        }
        Case::new(name, self)
    }
}

type Arguments<B> = (
    FloatTensor<B>,
    MatrixPrimitive<B>,
    LinearEpilogue<FloatTensor<B>>,
);

impl<B: VlmBackend> Problem<B> for LinearProblem {
    type Inputs = Arguments<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Arguments<B> {
        let Self {
            rows,
            in_features,
            out_features,
            ..
        } = *self;
        // Keeps the answers near 1, so that one tolerance serves every size.
        let scale = (9.0 / in_features as f32).sqrt();
        let x = inputs.in_order([rows, in_features], self.order);
        let weight = inputs.matrix([out_features, in_features], scale, self.weight);
        let bias = self
            .has_bias
            .then(|| inputs.activations([out_features], 1.0));
        let residual = self
            .has_residual
            .then(|| inputs.activations([rows, out_features], 1.0));
        (
            x,
            weight,
            LinearEpilogue {
                bias,
                activation: self.activation,
                residual,
            },
        )
    }

    fn kernel(&self, (x, weight, epilogue): Arguments<B>) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_linear(x, weight, epilogue))]
    }

    fn reference(&self, (x, weight, epilogue): Arguments<B>) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(x, weight, epilogue))]
    }

    fn stored(&self) -> Vec<DType> {
        self.weight.map_or(Vec::new(), Stored::dtypes)
    }

    fn rivals(&self, dtype: DType) -> Vec<(&'static str, Solve<Self, B>)> {
        // Burn multiplies matrices of one type, and its users keep weights in that type.
        let is_product = !self.has_bias && !self.has_residual;
        let weight = self.weight.unwrap_or(dtype.into());
        match is_product && weight == Stored::Float(dtype) {
            true => vec![("Burn's matmul", |_, inputs| vec![burn_matmul(inputs)])],
            false => vec![],
        }
    }

    fn work(&self, dtype: DType) -> Work {
        let Self {
            rows,
            in_features,
            out_features,
            ..
        } = *self;
        let outputs = rows * out_features * (1 + usize::from(self.has_residual));
        let weight = self
            .weight
            .unwrap_or(dtype.into())
            .bytes(in_features * out_features);
        Work {
            bytes: weight + dtype.size() * (rows * in_features + outputs),
            flops: 2 * rows * in_features * out_features,
        }
    }
}

fn burn_matmul<B: VlmBackend>((x, weight, _): Arguments<B>) -> Output<B> {
    let Matrix::Float(weight) = weight else {
        unreachable!("a packed matrix has another type than activations");
    };
    let transposed = B::float_transpose(weight);
    Output::Float(B::float_matmul(x, transposed))
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let product = LinearProblem::product;
    let problems = [
        // SmolLM-135M: attention and feed-forward, decode and a short prefill.
        product(1, 576, 1536),
        product(1, 1536, 576).residual(),
        product(1, 576, 192),
        product(17, 576, 192).weight(DType::F16),
        // A slice of Vicuna-7B.
        product(1, 4096, 64).weight(DType::F16),
        // CLIP ViT-L/14 and SigLIP feed-forwards, and a two-layer projector.
        product(9, 1024, 96).bias(Activation::QuickGelu),
        product(8, 768, 128)
            .bias(Activation::GeluTanh)
            .weight(DType::BF16),
        product(5, 256, 100).bias(Activation::Gelu).residual(),
        // A slice of OPT-2.7B's feed-forward, a token and a short prefill.
        product(1, 2560, 64)
            .bias(Activation::Relu)
            .weight(DType::F16),
        product(21, 160, 72).bias(Activation::Relu),
        // Every weight type, one row and several.
        product(1, 576, 100)
            .weight(DType::F32)
            .bias(Activation::Identity),
        product(1, 576, 100)
            .weight(DType::F16)
            .bias(Activation::Identity),
        product(1, 576, 100)
            .weight(DType::BF16)
            .bias(Activation::Identity),
        product(3, 128, 64).weight(DType::F32).residual(),
        product(3, 128, 64).weight(DType::F16).residual(),
        product(3, 128, 64).weight(DType::BF16).residual(),
        product(1, 576, 100).weight(PackedType::Q8).residual(),
        product(1, 576, 101).weight(PackedType::Q4),
        product(1, 96, 37)
            .weight(PackedType::Q4WithMinimum)
            .bias(Activation::Identity),
        product(3, 1056, 33).weight(PackedType::Q8),
        product(8, 544, 41).weight(PackedType::Q4).residual(),
        product(5, 576, 7).weight(PackedType::Q4WithMinimum),
        product(33, 576, 35).weight(PackedType::Q8),
        product(19, 1056, 66)
            .weight(PackedType::Q4)
            .bias(Activation::Gelu),
        product(9, 32, 3).weight(PackedType::Q4WithMinimum),
        product(2, 96, 37)
            .weight(PackedType::Q8)
            .bias(Activation::Relu)
            .residual(),
        // Sizes that are a multiple of nothing, and the smallest.
        product(1, 33, 7),
        product(2, 577, 5).bias(Activation::Gelu),
        product(7, 33, 65).weight(DType::F16).residual(),
        product(33, 577, 35).weight(DType::BF16),
        product(70, 100, 130).bias(Activation::Identity).residual(),
        product(1, 1, 1),
        product(4, 1, 3).bias(Activation::QuickGelu),
        // Views.
        product(3, 96, 40).swapped(),
        product(20, 96, 40)
            .swapped()
            .bias(Activation::GeluTanh)
            .weight(DType::F16),
    ];
    problems.into_iter().map(LinearProblem::case).collect()
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let product = LinearProblem::product;
    let floats = [DType::F32, DType::F16, DType::BF16].map(Stored::from);
    let types = floats
        .into_iter()
        .chain([PackedType::Q8, PackedType::Q4].map(Stored::from));
    // SmolLM-135M: one token, then a prompt; Vicuna-7B: one token; CLIP ViT-L/14 at 336 pixels.
    let shapes = [
        (1, 576, 576),
        (1, 576, 1536),
        (1, 1536, 576),
        (1, 576, 49152),
        (1, 4096, 4096),
        (1, 4096, 11008),
        (4, 576, 1536),
        (8, 576, 1536),
        (16, 576, 1536),
        (256, 576, 1536),
        (577, 1024, 4096),
    ];
    let problems = shapes
        .into_iter()
        .flat_map(|(rows, in_features, out_features)| {
            types.clone().map(move |stored| {
                product(rows, in_features, out_features)
                    .weight(stored)
                    .case()
            })
        });
    problems.collect()
}
