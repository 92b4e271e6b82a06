//! The law of the catalogue: no further from the truth than twice the plain formula.

use burn::tensor::DType;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{Case, Implementation, KernelEntry, KernelTrace, VlmBackend};

/// What came of running every case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Cases whose kernel ran.
    pub(crate) passed: usize,
    /// Answers that are wrong.
    pub(crate) wrong: Vec<String>,
    /// Cases that the device refused and the reference answered, and why.
    pub(crate) refused: Vec<String>,
    /// Cases of operations that this backend has no kernel for.
    pub(crate) by_reference: Vec<String>,
    /// Cases in types that the device does not have.
    pub(crate) not_run: Vec<String>,
}

impl Outcome {
    /// Fails on a wrong answer; names everything that no kernel answered.
    #[expect(
        clippy::print_stderr,
        reason = "nothing may pass by not running unseen"
    )]
    pub(crate) fn report(&self, backend: &str) {
        let Self {
            passed,
            wrong,
            refused,
            by_reference,
            not_run,
        } = self;
        for case in not_run.iter().chain(refused).chain(by_reference) {
            eprintln!("{case}");
        }
        let (refused, not_run) = (refused.len(), not_run.len());
        let by_reference = by_reference.len();
        eprintln!(
            "{backend}: {passed} cases by kernels, {by_reference} by the reference, \
             {refused} refused, {not_run} not run"
        );
        assert!(
            wrong.is_empty(),
            "{backend}: wrong answers:\n{}",
            wrong.join("\n")
        );
    }
}

/// Runs every case of one kernel.
pub(crate) fn run_entry<B: VlmBackend>(
    entry: &KernelEntry<B>,
    truth: &KernelEntry<Cpu>,
    device: &B::Device,
    dtypes: &[DType],
    outcome: &mut Outcome,
) {
    for (case, truth) in (entry.cases)().iter().zip((truth.cases)()) {
        for &dtype in dtypes {
            run_case(entry, case, &truth, (device, dtype), outcome);
        }
    }
}

fn run_case<B: VlmBackend>(
    entry: &KernelEntry<B>,
    case: &Case<B>,
    truth: &Case<Cpu>,
    (device, dtype): (&B::Device, DType),
    outcome: &mut Outcome,
) {
    let name = format!("{} [{}] {dtype:?}", entry.name, case.name);
    let missing = case
        .stored
        .iter()
        .chain([&dtype])
        .find(|dtype| !B::supports_dtype(device, **dtype));
    if let Some(missing) = missing {
        outcome
            .not_run
            .push(format!("{name}: not run: the device lacks {missing:?}"));
        return;
    }
    let (answers, report) = KernelTrace::collect(|| (case.kernel)(device, dtype));
    let plain = (truth.reference)(&Default::default(), dtype);
    let exact = (truth.exact)(&Default::default(), dtype);
    assert_eq!(answers.len(), exact.len(), "{name}: outputs");
    for (index, (answer, (plain, exact))) in
        answers.iter().zip(plain.iter().zip(&exact)).enumerate()
    {
        if let Err(deviation) = answer.check(plain, exact, dtype) {
            outcome
                .wrong
                .push(format!("{name}, output {index}: {deviation}"));
        }
    }
    let why: Vec<_> = report.refusals().map(|(_, why)| why.to_string()).collect();
    let mut calls = report.calls();
    if !why.is_empty() {
        outcome
            .refused
            .push(format!("{name}: refused: {}", why.join("; ")));
    } else if calls.any(|(_, by, _)| by == Implementation::Reference) {
        outcome
            .by_reference
            .push(format!("{name}: by the reference"));
    } else {
        outcome.passed += 1;
    }
}
