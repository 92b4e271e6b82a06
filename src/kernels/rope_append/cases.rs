//! Problems of [`rope_append()`](super::rope_append()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, RopeAppendInputs, RopeAppended, reference};
use crate::kernels::attention_prefill::cases::{Heads, heads};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Work};
use crate::kernels::{KvSpan, KvWrite, KvWrites, VlmBackend};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone)]
struct RopeProblem {
    heads: Heads,
    rotary_dim: usize,
    seq_len: usize,
    writes: Vec<KvWrite>,
    num_slots: usize,
    capacity: usize,
    max_positions: usize,
    cache: Option<DType>,
    order: Order,
}

impl<B: VlmBackend> Problem<B> for RopeProblem {
    type Inputs = (RopeAppendInputs<FloatTensor<B>>, KvWrites<B>);

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let slab = [self.num_slots, num_kv_heads, self.capacity, head_dim];
        let batch = self.writes.len();
        let qkv_heads = num_heads + 2 * num_kv_heads;
        let table = |function: fn(f32) -> f32| {
            let shape = [self.max_positions, self.rotary_dim / 2];
            inputs.values(
                self.angles().map(function).collect(),
                shape,
                Some(DType::F32),
            )
        };
        let writes = KvWrites::new(self.writes.clone(), inputs.device());
        writes.check([batch, self.seq_len], self.num_slots, self.capacity);
        let arguments = RopeAppendInputs {
            qkv: inputs.in_order([batch, self.seq_len, qkv_heads, head_dim], self.order),
            key_cache: inputs.slab(slab, &self.filled(), self.cache),
            value_cache: inputs.slab(slab, &self.filled(), self.cache),
            cos: table(f32::cos),
            sin: table(f32::sin),
        };
        (arguments, writes)
    }

    fn kernel(&self, (inputs, writes): Self::Inputs) -> Vec<Output<B>> {
        outputs(B::vlm_rope_append(inputs, &writes))
    }

    fn reference(&self, (inputs, writes): Self::Inputs) -> Vec<Output<B>> {
        outputs(reference::run::<B>(inputs, writes.writes()))
    }

    fn stored(&self) -> Vec<DType> {
        self.cache.into_iter().collect()
    }

    fn step(&self, (inputs, writes): Self::Inputs, solve: Solve<Self, B>) -> Self::Inputs {
        // A clone of the caches would share them, and a shared cache is refused.
        let RopeAppendInputs { qkv, cos, sin, .. } = inputs.clone();
        let outputs = solve(self, (inputs, writes.clone())).try_into().ok();
        let [_, key_cache, value_cache] = outputs.expect("the query and both caches");
        let inputs = RopeAppendInputs {
            qkv,
            key_cache: key_cache.into_float(),
            value_cache: value_cache.into_float(),
            cos,
            sin,
        };
        (inputs, writes)
    }

    fn work(&self, dtype: DType) -> Work {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let tokens = self.writes.len() * self.seq_len;
        let cache = self.cache.unwrap_or(dtype).size();
        let moved = 2 * dtype.size() * (num_heads + num_kv_heads) + 2 * cache * num_kv_heads;
        Work {
            bytes: tokens * (moved * head_dim + DType::F32.size() * self.rotary_dim),
            flops: 3 * tokens * (num_heads + num_kv_heads) * self.rotary_dim,
        }
    }
}

impl RopeProblem {
    /// Behind what the slots hold so far, given as (slot, length); a head is rotated as a whole.
    fn new(heads: Heads, seq_len: usize, held: &[(usize, usize)]) -> Self {
        let writes = held.iter().map(|&(slot, len)| KvWrite {
            slot,
            place: len,
            position: len,
        });
        Self::of_writes(heads, seq_len, writes.collect())
    }

    fn of_writes(heads: Heads, seq_len: usize, writes: Vec<KvWrite>) -> Self {
        let most = |number: fn(&KvWrite) -> usize| writes.iter().map(number).max().unwrap_or(0);
        Self {
            heads,
            rotary_dim: heads.head_dim,
            seq_len,
            num_slots: most(|write| write.slot) + 2,
            capacity: most(|write| write.place) + seq_len + 1,
            max_positions: most(|write| write.position) + seq_len + 1,
            writes,
            cache: None,
            order: Order::RowMajor,
        }
    }

    /// What was there before.
    fn filled(&self) -> Vec<KvSpan> {
        let spans = self.writes.iter().map(|write| KvSpan {
            slot: write.slot,
            start: 0,
            len: write.place,
        });
        spans.collect()
    }

    fn angles(&self) -> impl Iterator<Item = f32> {
        let half = self.rotary_dim / 2;
        (0..self.max_positions).flat_map(move |position| {
            (0..half).map(move |pair| {
                let frequency = 10_000f32.powf(-(pair as f32) / half as f32);
                position as f32 * frequency
            })
        })
    }
}

fn outputs<B: VlmBackend>(appended: RopeAppended<FloatTensor<B>>) -> Vec<Output<B>> {
    let RopeAppended {
        query,
        key_cache,
        value_cache,
    } = appended;
    [query, key_cache, value_cache].map(Output::Float).into()
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let new = RopeProblem::new;
    let smollm = heads(9, 3, 64);
    let partial = |rotary_dim, problem| RopeProblem {
        rotary_dim,
        ..problem
    };
    let stored = |dtype| RopeProblem {
        cache: Some(dtype),
        ..new(heads(4, 2, 64), 3, &[(1, 5)])
    };
    let swapped = RopeProblem {
        order: Order::Swapped,
        ..new(heads(4, 2, 32), 5, &[(1, 2), (0, 0)])
    };
    let full = RopeProblem {
        capacity: 24,
        ..new(heads(2, 1, 16), 8, &[(0, 16)])
    };
    let write = |slot, place, position| KvWrite {
        slot,
        place,
        position,
    };
    let elsewhere = vec![write(1, 0, 17), write(0, 20, 3), write(1, 9, 0)];
    let many: Vec<(usize, usize)> = (0..19).map(|slot| (slot, 5 * slot % 23)).collect();
    let problems = vec![
        (
            "smollm-135m, prompt into an empty slot",
            new(smollm, 17, &[(0, 0)]),
        ),
        ("smollm-135m, one token", new(smollm, 1, &[(0, 33)])),
        ("smollm-135m, a chunk", new(smollm, 8, &[(1, 20)])),
        (
            "vicuna-7b, 2 of 32 heads",
            new(heads(2, 2, 128), 5, &[(0, 9)]),
        ),
        (
            "3 rows in slots out of order",
            new(smollm, 2, &[(3, 7), (0, 0), (1, 31)]),
        ),
        (
            "3 rows, one token each",
            new(heads(4, 1, 80), 1, &[(2, 7), (1, 0), (0, 31)]),
        ),
        (
            "places that are not positions, two in one slot",
            RopeProblem::of_writes(smollm, 2, elsewhere),
        ),
        ("19 rows", new(heads(2, 1, 16), 2, &many)),
        ("head_dim 16, the slot becomes full", full),
        ("head_dim 20", new(heads(4, 2, 20), 3, &[(0, 4)])),
        ("head_dim 96", new(heads(2, 2, 96), 3, &[(0, 4)])),
        (
            "gpt-neox, a quarter is rotated",
            partial(16, new(heads(4, 4, 64), 3, &[(0, 4)])),
        ),
        (
            "phi, 32 of 80 are rotated",
            partial(32, new(heads(2, 2, 80), 1, &[(0, 4)])),
        ),
        (
            "head_dim 20, 6 are rotated",
            partial(6, new(heads(2, 1, 20), 4, &[(0, 1)])),
        ),
        ("F32 cache", stored(DType::F32)),
        ("F16 cache", stored(DType::F16)),
        ("BF16 cache", stored(DType::BF16)),
        ("swapped tokens and heads", swapped),
    ];
    problems
        .into_iter()
        .map(|(name, problem)| Case::new(name, problem))
        .collect()
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let long = |problem| RopeProblem {
        capacity: 2048,
        max_positions: 2048,
        ..problem
    };
    let problems = vec![
        (
            "smollm-135m, one token",
            long(RopeProblem::new(heads(9, 3, 64), 1, &[(0, 256)])),
        ),
        (
            "smollm-135m, 256 tokens",
            long(RopeProblem::new(heads(9, 3, 64), 256, &[(0, 0)])),
        ),
        (
            "vicuna-7b, one token",
            long(RopeProblem::new(heads(32, 32, 128), 1, &[(0, 640)])),
        ),
        (
            "vicuna-7b, 640 tokens",
            long(RopeProblem::new(heads(32, 32, 128), 640, &[(0, 0)])),
        ),
    ];
    problems
        .into_iter()
        .map(|(name, problem)| Case::new(name, problem))
        .collect()
}
