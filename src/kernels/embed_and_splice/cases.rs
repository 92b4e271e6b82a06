//! Problems of [`embed_and_splice()`](super::embed_and_splice()).

use burn::tensor::DType;
use burn::tensor::ops::{FloatTensor, IntTensor};

use super::{NAME, SplicedRows, TokenIds, TokenIdsPrimitive, reference};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Output, Problem, Stored, Work};
use crate::kernels::{MatrixPrimitive, PackedType, VlmBackend};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone)]
struct EmbedProblem {
    vocab_size: usize,
    hidden_size: usize,
    num_tokens: usize,
    /// Start and number of rows of each image.
    images: Vec<(usize, usize)>,
    table: Option<Stored>,
    ids: Place,
}

/// Where the ids are.
#[derive(Debug, Clone, Copy)]
enum Place {
    Host,
    /// The first and the last are then not in the table.
    Device,
}

#[derive(Clone)]
struct Arguments<B: VlmBackend> {
    table: MatrixPrimitive<B>,
    token_ids: HeldIds<B>,
    images: Vec<SplicedRows<FloatTensor<B>>>,
    dtype: DType,
}

#[derive(Clone)]
enum HeldIds<B: VlmBackend> {
    Host(Vec<u32>),
    Device(IntTensor<B>),
}

impl<B: VlmBackend> HeldIds<B> {
    fn as_argument(&self) -> TokenIdsPrimitive<'_, B> {
        match self {
            Self::Host(ids) => TokenIds::Host(ids),
            Self::Device(ids) => TokenIds::Device(ids.clone()),
        }
    }
}

impl<B: VlmBackend> Problem<B> for EmbedProblem {
    type Inputs = Arguments<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let Self {
            vocab_size,
            hidden_size,
            ..
        } = *self;
        let table = inputs.matrix([vocab_size, hidden_size], 1.0, self.table);
        let images = self.images.iter().map(|&(start, num_rows)| SplicedRows {
            start,
            rows: inputs.activations([num_rows, hidden_size], 1.0),
        });
        let images = images.collect();
        Arguments {
            table,
            token_ids: match self.ids {
                Place::Host => HeldIds::Host(self.token_ids()),
                Place::Device => HeldIds::Device(inputs.ids(self.chosen_ids())),
            },
            images,
            dtype: inputs.activation_dtype(),
        }
    }

    fn kernel(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        let Arguments {
            table,
            token_ids,
            images,
            dtype,
        } = inputs;
        let token_ids = token_ids.as_argument();
        vec![Output::Float(B::vlm_embed_and_splice(
            table, token_ids, images, dtype,
        ))]
    }

    fn reference(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        let Arguments {
            table,
            token_ids,
            images,
            dtype,
        } = inputs;
        let token_ids = token_ids.as_argument();
        vec![Output::Float(reference::run::<B>(
            table, token_ids, images, dtype,
        ))]
    }

    fn stored(&self) -> Vec<DType> {
        self.table.map_or(Vec::new(), Stored::dtypes)
    }

    fn work(&self, dtype: DType) -> Work {
        let Self {
            hidden_size,
            num_tokens,
            ..
        } = *self;
        let elements = num_tokens * hidden_size;
        let read = self.table.unwrap_or(dtype.into()).bytes(elements);
        Work {
            bytes: read + dtype.size() * elements,
            flops: 0,
        }
    }
}

impl EmbedProblem {
    /// The first and last id of the vocabulary among others, and under images one that is none.
    fn token_ids(&self) -> Vec<u32> {
        let last = self.vocab_size - 1;
        let mut ids: Vec<u32> = (0..self.num_tokens)
            .map(|at| (last - at * 7 % self.vocab_size) as u32)
            .collect();
        for &(start, num_rows) in &self.images {
            ids[start..start + num_rows].fill(u32::MAX);
        }
        ids
    }

    /// The same between what names no row: the id that means nonsense, and a negative one.
    fn chosen_ids(&self) -> Vec<i32> {
        let ids = self.token_ids().into_iter();
        let mut ids: Vec<i32> = ids.map(|id| id as i32).collect();
        let last = ids.len() - 1;
        ids[0] = self.vocab_size as i32;
        ids[last] = -1;
        ids
    }

    fn case<B: VlmBackend>(self, place: &str) -> Case<B> {
        let Self {
            num_tokens,
            hidden_size,
            ..
        } = self;
        Case::new(format!("{num_tokens}x{hidden_size}, {place}"), self)
    }
}

fn problem(num_tokens: usize, hidden_size: usize, images: &[(usize, usize)]) -> EmbedProblem {
    EmbedProblem {
        vocab_size: 100,
        hidden_size,
        num_tokens,
        images: images.to_vec(),
        table: None,
        ids: Place::Host,
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let chosen = |problem| EmbedProblem {
        ids: Place::Device,
        ..problem
    };
    let stored = |stored: Stored| EmbedProblem {
        table: Some(stored),
        ..problem(9, 576, &[(2, 4)])
    };
    vec![
        problem(1, 576, &[]).case("one token"),
        problem(17, 576, &[]).case("no image"),
        problem(20, 576, &[(5, 9)]).case("image in the middle"),
        problem(12, 33, &[(0, 5)]).case("image first"),
        problem(12, 33, &[(7, 5)]).case("image last"),
        problem(6, 577, &[(0, 6)]).case("only an image"),
        problem(30, 64, &[(1, 4), (5, 4), (20, 6)]).case("three images, two adjacent"),
        problem(5, 1, &[(1, 1)]).case("narrowest"),
        chosen(problem(4, 576, &[])).case("ids on the device"),
        chosen(problem(9, 33, &[(3, 2)])).case("ids on the device, one image"),
        chosen(stored(DType::BF16.into())).case("ids on the device, BF16 table"),
        stored(DType::F32.into()).case("F32 table"),
        stored(DType::F16.into()).case("F16 table"),
        stored(DType::BF16.into()).case("BF16 table"),
        stored(PackedType::Q8.into()).case("q8 table"),
        stored(PackedType::Q4.into()).case("q4 table"),
        chosen(stored(PackedType::Q4WithMinimum.into()))
            .case("ids on the device, q4 table with minimum"),
    ]
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let smollm = EmbedProblem {
        vocab_size: 49152,
        table: Some(DType::F16.into()),
        ..problem(256, 576, &[(20, 64)])
    };
    let vicuna = EmbedProblem {
        vocab_size: 32000,
        ..problem(640, 4096, &[(35, 576)])
    };
    vec![smollm.case("F16 table"), vicuna.case("one image")]
}
