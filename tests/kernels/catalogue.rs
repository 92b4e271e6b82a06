//! Every case of the catalogue; the CPU answers each by a kernel of its own.

use burn::tensor::DType;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{Catalogue, VlmBackend};

use crate::law::{Outcome, run_entry};

/// Runs every case of every kernel, its inputs rounded to each of `dtypes`.
fn run_catalogue<B: VlmBackend>(device: &B::Device, dtypes: &[DType]) -> Outcome {
    let mut outcome = Outcome::default();
    let entries = Catalogue::<B>::ENTRIES.iter();
    for (entry, truth) in entries.zip(Catalogue::<Cpu>::ENTRIES) {
        run_entry(entry, truth, device, dtypes, &mut outcome);
    }
    outcome
}

#[test]
fn every_case_is_answered_by_a_cpu_kernel() {
    let dtypes = [DType::F32, DType::F16, DType::BF16];
    let outcome = run_catalogue::<Cpu>(&Default::default(), &dtypes);
    outcome.report("flex");
    assert!(outcome.refused.is_empty() && outcome.by_reference.is_empty());
    assert!(outcome.not_run.is_empty());
}

#[test]
fn names_of_cases_are_unique() {
    for entry in Catalogue::<Cpu>::ENTRIES {
        let mut names: Vec<_> = (entry.cases)().into_iter().map(|case| case.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "{}", entry.name);
    }
}
