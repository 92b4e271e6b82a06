//! Problems of [`kv_copy()`](super::kv_copy()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, check, reference};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Output, Problem, Solve, Work};
use crate::kernels::{KvSpan, VlmBackend};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone, Copy)]
struct CopyProblem {
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    slab: [usize; 4],
    from: KvSpan,
    to_slot: usize,
    cache: Option<DType>,
}

impl<B: VlmBackend> Problem<B> for CopyProblem {
    type Inputs = FloatTensor<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        check(self.slab, self.from, self.to_slot);
        inputs.slab(self.slab, &self.filled(), self.cache)
    }

    fn kernel(&self, slab: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_kv_copy(slab, self.from, self.to_slot))]
    }

    fn reference(&self, slab: Self::Inputs) -> Vec<Output<B>> {
        let copied = reference::run::<B>(slab, self.from, self.to_slot);
        vec![Output::Float(copied)]
    }

    fn stored(&self) -> Vec<DType> {
        self.cache.into_iter().collect()
    }

    fn step(&self, slab: Self::Inputs, solve: Solve<Self, B>) -> Self::Inputs {
        // A clone of the slab would share it, and a shared cache is refused.
        let [slab] = solve(self, slab).try_into().ok().expect("one slab");
        slab.into_float()
    }

    fn work(&self, dtype: DType) -> Work {
        let [_, num_kv_heads, _, head_dim] = self.slab;
        let elements = num_kv_heads * self.from.len * head_dim;
        Work {
            bytes: 2 * self.cache.unwrap_or(dtype).size() * elements,
            flops: 0,
        }
    }
}

impl CopyProblem {
    /// Of a slab `[num_slots, num_kv_heads, capacity, head_dim]`, from a slot to another, given as
    /// (from, to): `len` places from `start` on.
    fn new(slab: [usize; 4], (slot, to_slot): (usize, usize), [start, len]: [usize; 2]) -> Self {
        Self {
            slab,
            from: KvSpan { slot, start, len },
            to_slot,
            cache: None,
        }
    }

    /// The source holds what is copied and a place beside it on either side; the target, which is
    /// half written over, all in front. All else is NaN and must stay so.
    fn filled(&self) -> [KvSpan; 2] {
        let [_, _, capacity, _] = self.slab;
        let KvSpan { slot, start, len } = self.from;
        let first = start.saturating_sub(1);
        let end = (start + len + 1).min(capacity);
        let source = KvSpan {
            slot,
            start: first,
            len: end - first,
        };
        let target = KvSpan {
            slot: self.to_slot,
            start: 0,
            len: start + len / 2,
        };
        [source, target]
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let new = CopyProblem::new;
    let smollm = [3, 3, 40, 64];
    let stored = |dtype| CopyProblem {
        cache: Some(dtype),
        ..new([2, 2, 16, 64], (1, 0), [3, 9])
    };
    let problems = [
        ("smollm-135m, the first 33", new(smollm, (0, 2), [0, 33])),
        ("smollm-135m, behind 7", new(smollm, (2, 1), [7, 20])),
        ("smollm-135m, one place", new(smollm, (1, 0), [0, 1])),
        ("the last place", new(smollm, (0, 1), [39, 1])),
        ("the whole slot", new([2, 2, 12, 16], (1, 0), [0, 12])),
        (
            "vicuna-7b, 2 of 32 heads",
            new([2, 2, 12, 128], (0, 1), [4, 5]),
        ),
        ("head_dim 20", new([2, 3, 9, 20], (0, 1), [0, 6])),
        ("head_dim 20, behind 5", new([3, 2, 9, 20], (2, 0), [5, 3])),
        ("head_dim 5", new([2, 1, 9, 5], (1, 0), [2, 4])),
        ("F32 cache", stored(DType::F32)),
        ("F16 cache", stored(DType::F16)),
        ("BF16 cache", stored(DType::BF16)),
    ];
    problems
        .map(|(name, problem)| Case::new(name, problem))
        .into()
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let vicuna = CopyProblem::new([2, 32, 2048, 128], (0, 1), [0, 512]);
    vec![Case::new("vicuna-7b, 512 places", vicuna)]
}
