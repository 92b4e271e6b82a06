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
pub use inputs::{Inputs, Order, Stored};
pub use problem::{Output, Problem, Solve, Work};

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
    /// Answers through the reference body in f64, or f32 on a device without it, on inputs rounded to
    /// the given type.
    pub exact: RunCase<B>,
    /// What a perfect implementation moves and computes for activations of the given type.
    pub work: Box<dyn Fn(DType) -> Work>,
    /// The types this case stores tensors in whatever the type of the activations; a device
    /// without one of them cannot run it.
    pub stored: Vec<DType>,
    ways: WaysOfCase<B>,
}

type WaysOfCase<B> = Box<dyn Fn(&<B as BackendTypes>::Device, DType) -> Vec<Way>>;

/// A way to the answers of a problem, on one device and in one type.
pub struct Way {
    /// Whose it is: [`KERNEL`], [`UNFUSED`] or the name of a rival.
    pub by: &'static str,
    /// Solves the problem and reads the answers back.
    pub answers: Box<dyn Fn() -> Vec<HostTensor>>,
    /// Makes the inputs once; each call of the result solves the problem once and reads nothing
    /// back. A GPU queues the work: call `B::sync` before the clock is read.
    pub prepare: Box<dyn Fn() -> Box<dyn FnMut()>>,
}

/// The way that a case is about.
pub const KERNEL: &str = "kernel";

/// The reference body: the same in operations of Burn, one after the other.
pub const UNFUSED: &str = "unfused";

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way")
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

impl<B: VlmBackend> Case<B> {
    /// The case of a problem.
    pub fn new<P: Problem<B>>(name: impl Into<String>, problem: P) -> Self {
        let problem = Rc::new(problem);
        Self {
            name: name.into(),
            kernel: run(&problem, Precision::rounded, P::kernel),
            reference: run(&problem, Precision::rounded, P::reference),
            exact: run(&problem, Precision::exact, P::reference),
            stored: problem.stored(),
            ways: ways(&problem),
            work: Box::new(move |dtype| problem.work(dtype)),
        }
    }

    /// Every way to the answers: the kernel, then its rivals, then the reference body.
    pub fn ways(&self, device: &B::Device, dtype: DType) -> Vec<Way> {
        (self.ways)(device, dtype)
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
    solve: Solve<P, B>,
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

fn ways<B: VlmBackend, P: Problem<B>>(problem: &Rc<P>) -> WaysOfCase<B> {
    let problem = problem.clone();
    Box::new(move |device, dtype| {
        let mut ways: Vec<(_, Solve<P, B>)> = vec![(KERNEL, P::kernel)];
        ways.extend(problem.rivals(dtype));
        ways.push((UNFUSED, P::reference));
        let way = |(by, solve)| way(by, solve, &problem, (device, dtype));
        ways.into_iter().map(way).collect()
    })
}

fn way<B: VlmBackend, P: Problem<B>>(
    by: &'static str,
    solve: Solve<P, B>,
    problem: &Rc<P>,
    (device, dtype): (&B::Device, DType),
) -> Way {
    let (of_step, run) = (problem.clone(), run(problem, Precision::rounded, solve));
    let [device, of_run] = [(); 2].map(|()| device.clone());
    Way {
        by,
        answers: Box::new(move || run(&of_run, dtype)),
        prepare: Box::new(move || {
            let problem = of_step.clone();
            let mut inputs = Some(problem.inputs(&Inputs::new(&device, Precision::rounded(dtype))));
            Box::new(move || inputs = inputs.take().map(|inputs| problem.step(inputs, solve)))
        }),
    }
}
