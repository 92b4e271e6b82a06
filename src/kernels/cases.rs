//! What the problems of kernels are made of: inputs from a seed, answers on the host, and the law
//! that these are held to.

mod host_tensor;
mod inputs;
mod problem;

use std::fmt;
use std::rc::Rc;

use burn::tensor::DType;
use burn::tensor::backend::BackendTypes;

pub use host_tensor::{Deviation, HostTensor, OutputKind};
pub(in crate::kernels) use inputs::{Inputs, Order, Stored};
pub use problem::Work;
pub(in crate::kernels) use problem::{Output, Problem};

use super::VlmBackend;
use inputs::Precision;

/// A kernel and its problems.
#[derive(Debug)]
pub struct KernelEntry<B: VlmBackend> {
    /// As a [`KernelReport`](super::KernelReport) calls it.
    pub name: &'static str,
    /// Problems of real models and the edges that the kernel owes, small enough for a GPU that is
    /// simulated.
    pub cases: fn() -> Vec<Case<B>>,
    /// Problems of the sizes that real models have, for timing.
    pub bench_cases: fn() -> Vec<Case<B>>,
}

/// Solves a problem on a device, its inputs rounded to a type, and reads the answers back.
///
/// Panics if the device reports that it failed.
pub type RunCase<B> = Box<dyn Fn(&<B as BackendTypes>::Device, DType) -> Vec<HostTensor>>;

/// One problem of one kernel.
pub struct Case<B: VlmBackend> {
    /// What distinguishes it, such as `7x576->1536 f16 weight`.
    pub name: String,
    /// Answers through the backend's [`VlmBackend`] method.
    pub kernel: RunCase<B>,
    /// Answers through the reference body, wholly in the given type.
    pub reference: RunCase<B>,
    /// Answers through the reference body in f32, on inputs rounded to the given type.
    pub exact: RunCase<B>,
    /// What a perfect implementation moves and computes for activations of the given type.
    pub work: Box<dyn Fn(DType) -> Work>,
    /// The types this case stores tensors in whatever the type of the activations; a device
    /// without one of them cannot run it.
    pub stored: Vec<DType>,
    prepare: PrepareCase<B>,
}

type PrepareCase<B> = Box<dyn Fn(&<B as BackendTypes>::Device, DType) -> Box<dyn FnMut()>>;

impl<B: VlmBackend> Case<B> {
    pub(in crate::kernels) fn new<P: Problem<B>>(name: impl Into<String>, problem: P) -> Self {
        let problem = Rc::new(problem);
        Self {
            name: name.into(),
            kernel: run(&problem, Precision::rounded, P::kernel),
            reference: run(&problem, Precision::rounded, P::reference),
            exact: run(&problem, Precision::exact, P::reference),
            stored: problem.stored(),
            prepare: prepare(&problem),
            work: Box::new(move |dtype| problem.work(dtype)),
        }
    }

    /// Makes the inputs once; each call of the result runs the kernel once and reads nothing back.
    ///
    /// A GPU queues the work: call `B::sync` before the clock is read.
    pub fn prepare(&self, device: &B::Device, dtype: DType) -> Box<dyn FnMut()> {
        (self.prepare)(device, dtype)
    }
}

impl<B: VlmBackend> fmt::Debug for Case<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn run<B: VlmBackend, P: Problem<B>>(
    problem: &Rc<P>,
    precision: fn(DType) -> Precision,
    solve: fn(&P, P::Inputs) -> Vec<Output<B>>,
) -> RunCase<B> {
    let problem = problem.clone();
    Box::new(move |device, dtype| {
        let inputs = problem.inputs(&Inputs::new(device, precision(dtype)));
        let outputs = solve(&problem, inputs);
        // A launch that failed is told by the next sync, and a read alone would give stale numbers.
        B::sync(device).unwrap_or_else(|error| panic!("the device failed: {error:?}"));
        outputs.into_iter().map(Output::read).collect()
    })
}

fn prepare<B: VlmBackend, P: Problem<B>>(problem: &Rc<P>) -> PrepareCase<B> {
    let problem = problem.clone();
    Box::new(move |device, dtype| {
        let problem = problem.clone();
        let mut inputs = Some(problem.inputs(&Inputs::new(device, Precision::rounded(dtype))));
        Box::new(move || inputs = inputs.take().map(|inputs| problem.step(inputs)))
    })
}
