//! What the kernels compute, held to the same law as on every other device.

use std::thread;

use burn::tensor::DType;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::Catalogue;

use crate::device::{EmulatedBackend, EmulatedCuda, HostCompiler};
use crate::law::{Outcome, run_entry};

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

#[test]
fn every_kernel_computes_its_reference_in_both_orders_of_the_threads() {
    if HostCompiler::find_or_skip().is_none() {
        return;
    }
    let entries = Catalogue::<EmulatedBackend>::ENTRIES
        .iter()
        .zip(Catalogue::<Cpu>::ENTRIES);
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let runs = entries.map(|(entry, truth)| {
            scope.spawn(move || {
                let device = EmulatedCuda::strict(80);
                let mut outcome = Outcome::default();
                run_entry(entry, truth, &device, &DTYPES, &mut outcome);
                outcome
            })
        });
        let runs: Vec<_> = runs.collect();
        let joined = runs
            .into_iter()
            .map(|run| run.join().expect("a case panicked; see above"));
        joined.collect()
    });
    let outcome = outcomes.into_iter().fold(Outcome::default(), both);
    assert!(
        outcome.refused.is_empty(),
        "refused by CUDA: {:#?}",
        outcome.refused
    );
    assert!(
        outcome.by_reference.is_empty(),
        "no CUDA kernel: {:#?}",
        outcome.by_reference
    );
    outcome.report("emulated CUDA");
}

fn both(mut all: Outcome, next: Outcome) -> Outcome {
    all.passed += next.passed;
    all.wrong.extend(next.wrong);
    all.refused.extend(next.refused);
    all.by_reference.extend(next.by_reference);
    all.not_run.extend(next.not_run);
    all
}
