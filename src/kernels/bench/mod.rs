//! Times kernels beside what else solves their problems, and beside what the device can do at most.
//!
//! `cargo bench --bench kernels` runs it over the [`Catalogue`](super::Catalogue); a kernel of one's
//! own needs a [`Problem`](super::Problem), and is seen in the same table. A backend of one's own
//! needs an `impl` of [`VlmBackend`] with the kernels it has, and is timed by
//! `Bench::<B>::new("mine").run(Catalogue::<B>::ENTRIES, &mut |_| {})`.
//!
//! Every answer is checked before it is timed. All ways to one problem are timed in turns. The limit
//! is the time that copying memory takes, or Burn's matrix product of two large squares, whichever is
//! longer for what the problem must move and compute; both are measured in the same run. What a cache
//! holds is faster than that, so small problems may pass the limit of memory.
//!
//! # Examples
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::{DType, Tensor, TensorPrimitive, activation::relu, ops::FloatTensor};
//! use burn_vlm::backend::Cpu;
//! use burn_vlm::kernels::bench::Bench;
//! use burn_vlm::kernels::{Case, Inputs, KernelEntry, Output, Problem, Work};
//!
//! struct Relu(usize);
//!
//! impl Problem<Cpu> for Relu {
//!     type Inputs = FloatTensor<Cpu>;
//!     fn inputs(&self, inputs: &Inputs<'_, Cpu>) -> Self::Inputs {
//!         inputs.activations([self.0], 1.0) // random, in [-1, 1)
//!     }
//!     fn kernel(&self, x: Self::Inputs) -> Vec<Output<Cpu>> {
//!         let x = Tensor::<Cpu, 1>::from_primitive(TensorPrimitive::Float(x));
//!         vec![Output::Float(relu(x).into_primitive().tensor())] // your kernel
//!     }
//!     fn reference(&self, x: Self::Inputs) -> Vec<Output<Cpu>> {
//!         let x = Tensor::<Cpu, 1>::from_primitive(TensorPrimitive::Float(x));
//!         vec![Output::Float(x.clone().add(x.abs()).div_scalar(2.0).into_primitive().tensor())]
//!     }
//!     fn work(&self, dtype: DType) -> Work {
//!         Work { bytes: 2 * self.0 * dtype.size(), flops: self.0 }
//!     }
//! }
//!
//! let cases = || vec![Case::new("4096 elements", Relu(4096))];
//! let entry = KernelEntry { name: "relu", cases, bench_cases: cases };
//! let report = Bench::<Cpu>::new("cpu").with_matmul_size(64).run(&[entry], &mut |_| {});
//! println!("{report}"); // the table; `chart(&report.records)` is the picture
//! assert!(report.to_string().contains("| relu "));
//! assert_eq!(report.num_failed(), 0);
//! # }
//! ```

mod chart;
mod clock;
mod compare;
mod limits;
mod record;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::DType;

pub use chart::chart;
pub use compare::{Change, Comparison};
pub use record::{
    DeviceRecord, FailedRecord, LimitedBy, Record, RecordError, Subject, TimedRecord, read_records,
};
pub use table::{table_head, table_row};

use super::cases::{Case, HostTensor, KERNEL, KernelEntry, Way};
use super::{VlmBackend, Work};
use clock::{Timer, take_turns};
use limits::{Limits, dtype_name, nanoseconds};

/// Times kernels on one device.
#[derive(Debug, Clone)]
pub struct Bench<B: VlmBackend> {
    name: String,
    device: B::Device,
    dtypes: Vec<DType>,
    words: Vec<String>,
    is_alone: bool,
    matmul_size: usize,
    copies_on_host: bool,
    facts: BTreeMap<String, String>,
}

/// What a bench does, told as it happens.
#[derive(Debug)]
pub enum BenchEvent<'a> {
    /// A problem is next, or the limits of the device are.
    Begins {
        /// In words.
        problem: &'a str,
        /// How many were before it.
        index: usize,
        /// How many there are.
        total: usize,
    },
    /// What is known now: the device, or every way to the problem that was next.
    Known(&'a [Record]),
}

/// All that a bench found out. [`Display`](fmt::Display) shows the table.
#[derive(Debug, Clone, Default)]
pub struct BenchReport {
    /// In the order they were found in.
    pub records: Vec<Record>,
}

impl BenchReport {
    /// How many kernels failed, or gave wrong answers.
    pub fn num_failed(&self) -> usize {
        let failed = self.records.iter().filter(|record| match record {
            Record::Failed(failed) => failed.what.is_kernel(),
            _ => false,
        });
        failed.count()
    }
}

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        table::write_all(&self.records, f)
    }
}

/// A problem, in one type.
struct Task<B: VlmBackend> {
    kernel: &'static str,
    case: Case<B>,
    dtype: DType,
}

impl<B: VlmBackend> Bench<B> {
    /// Times f32 activations on the backend's default device, which lines call `name`.
    pub fn new(name: impl Into<String>) -> Self {
        let device = B::Device::default();
        Self {
            facts: BTreeMap::from([("backend".to_string(), B::name(&device))]),
            name: name.into(),
            device,
            dtypes: vec![DType::F32],
            words: vec![],
            is_alone: false,
            matmul_size: 1024,
            copies_on_host: false,
        }
    }

    /// The types of activations.
    #[must_use]
    pub fn with_dtypes(mut self, dtypes: &[DType]) -> Self {
        self.dtypes = dtypes.to_vec();
        self
    }

    /// Keeps the problems whose names (`cpu linear F32 [1x576->576, F16 weight]`) hold every word.
    #[must_use]
    pub fn with_filter(mut self, words: &[String]) -> Self {
        self.words = words.to_vec();
        self
    }

    /// Times the kernels alone.
    #[must_use]
    pub fn without_rivals(mut self) -> Self {
        self.is_alone = true;
        self
    }

    /// Rows and columns of the matrix product that the limit of arithmetic is taken from.
    #[must_use]
    pub fn with_matmul_size(mut self, size: usize) -> Self {
        self.matmul_size = size;
        self
    }

    /// For a device whose memory is the host's: its limit is what all cores copy.
    #[must_use]
    pub fn with_host_memory(mut self) -> Self {
        self.copies_on_host = true;
        self
    }

    /// Something that is known of the device, such as its driver.
    #[must_use]
    pub fn with_fact(mut self, name: &str, fact: impl Into<String>) -> Self {
        self.facts.insert(name.to_string(), fact.into());
        self
    }

    /// Measures the limits of the device, then every problem of every kernel that the filter keeps
    /// and whose types the device has. What fails, fails alone.
    pub fn run(
        &self,
        entries: &[KernelEntry<B>],
        watch: &mut dyn FnMut(BenchEvent<'_>),
    ) -> BenchReport {
        let tasks = self.tasks(entries);
        let total = tasks.len() + 1;
        let mut report = BenchReport::default();
        let mut step = |index, problem: &str, solve: &mut dyn FnMut() -> Vec<Record>| {
            watch(BenchEvent::Begins {
                problem,
                index,
                total,
            });
            let known = solve();
            watch(BenchEvent::Known(&known));
            report.records.extend(known);
        };
        let mut limits = Limits::default();
        step(0, "what the device can do", &mut || {
            limits = self.limits();
            vec![Record::Device(self.device_record(&limits))]
        });
        for (index, task) in tasks.iter().enumerate() {
            let subject = self.subject(task, KERNEL).to_string();
            step(index + 1, &subject, &mut || {
                let measured = caught(|| Ok(self.measure(task, &limits)));
                measured.unwrap_or_else(|error| vec![self.failed(task, KERNEL, error)])
            });
        }
        report
    }

    fn tasks(&self, entries: &[KernelEntry<B>]) -> Vec<Task<B>> {
        let mut tasks = Vec::new();
        for entry in entries {
            for &dtype in &self.dtypes {
                tasks.extend((entry.bench_cases)().into_iter().map(|case| Task {
                    kernel: entry.name,
                    case,
                    dtype,
                }));
            }
        }
        tasks.retain(|task| self.keeps(task));
        tasks
    }

    fn keeps(&self, task: &Task<B>) -> bool {
        let text = self.subject(task, KERNEL).to_string();
        let mut types = task.case.stored.iter().chain([&task.dtype]);
        self.words.iter().all(|word| text.contains(word))
            && types.all(|dtype| B::supports_dtype(&self.device, *dtype))
    }

    fn subject(&self, task: &Task<B>, by: &str) -> Subject {
        Subject {
            device: self.name.clone(),
            kernel: task.kernel.to_string(),
            case: task.case.name.clone(),
            dtype: dtype_name(task.dtype),
            by: by.to_string(),
            settings: None,
        }
    }

    /// What cannot be measured limits nothing.
    fn limits(&self) -> Limits {
        let sync = || self.sync();
        let copy = match self.copies_on_host {
            true => Ok(limits::copy_on_host()),
            false => caught(|| limits::copy::<B>(&self.device, &sync)),
        };
        let mut matmul = BTreeMap::new();
        for &dtype in &self.dtypes {
            if B::supports_dtype(&self.device, dtype) {
                let size = self.matmul_size;
                let rate = caught(|| limits::matmul::<B>(&self.device, dtype, size, &sync));
                matmul.extend(rate.ok().map(|rate| (dtype_name(dtype), rate)));
            }
        }
        Limits {
            copy: copy.ok(),
            matmul,
        }
    }

    fn device_record(&self, limits: &Limits) -> DeviceRecord {
        DeviceRecord {
            device: self.name.clone(),
            facts: self.facts.clone(),
            copy_gigabytes_per_second: limits.copy,
            matmul_gigaflops_per_second: limits.matmul.clone(),
        }
    }

    fn sync(&self) -> Result<(), String> {
        B::sync(&self.device).map_err(|error| format!("the device failed: {error:?}"))
    }

    /// Checks every way to a problem, and times in turns those that are right.
    fn measure(&self, task: &Task<B>, limits: &Limits) -> Vec<Record> {
        let mut ways = task.case.ways(&self.device, task.dtype);
        let solved = caught(|| {
            let plain = (task.case.reference)(&self.device, task.dtype);
            Ok((plain, (task.case.exact)(&self.device, task.dtype)))
        });
        let (plain, exact) = match solved {
            Ok(solved) => solved,
            Err(error) => return vec![self.failed(task, KERNEL, error)],
        };
        if self.is_alone {
            ways.truncate(1);
        }
        let sync = || self.sync();
        let ready = |way: &Way| {
            caught(|| {
                check(way, &plain, &exact, task.dtype)?;
                Timer::new((way.prepare)(), &sync)
            })
        };
        let timers = ways.iter().map(ready).collect();
        let times = take_turns(timers, &sync);
        let work = (task.case.work)(task.dtype);
        let record = |(way, samples): (&Way, Result<Vec<_>, _>)| match samples {
            Ok(samples) => {
                let samples: Vec<_> = samples.into_iter().map(nanoseconds).collect();
                let what = self.subject(task, way.by);
                Record::Timed(timed(what, &samples, (work, task.dtype), limits))
            }
            Err(error) => self.failed(task, way.by, error),
        };
        ways.iter().zip(times).map(record).collect()
    }

    fn failed(&self, task: &Task<B>, by: &str, error: String) -> Record {
        Record::Failed(FailedRecord {
            error,
            what: self.subject(task, by),
        })
    }
}

fn timed(
    what: Subject,
    nanoseconds: &[f64],
    (work, dtype): (Work, DType),
    limits: &Limits,
) -> TimedRecord {
    let rounded = |number: f64| (number * 1e3).round() / 1e3;
    let time = record::median(nanoseconds);
    let share = limits.share(work, dtype, time);
    TimedRecord {
        what,
        microseconds: rounded(time / 1e3),
        gigabytes_per_second: rounded(work.bytes as f64 / time),
        gigaflops_per_second: rounded(work.flops as f64 / time),
        share_of_limit: share.map(|(share, _)| rounded(share)),
        limited_by: share.map(|(_, by)| by),
        samples_microseconds: nanoseconds.iter().map(|time| rounded(time / 1e3)).collect(),
    }
}

/// A kernel may be twice as wrong as the plain formula; others must only solve the same problem.
fn check(
    way: &Way,
    plain: &[HostTensor],
    exact: &[HostTensor],
    dtype: DType,
) -> Result<(), String> {
    let answers = (way.answers)();
    if answers.len() != exact.len() {
        return Err(format!(
            "{} answers in place of {}",
            answers.len(),
            exact.len()
        ));
    }
    for (answer, (plain, exact)) in answers.iter().zip(plain.iter().zip(exact)) {
        let checked = match way.by == KERNEL {
            true => answer.check(plain, exact, dtype),
            false => answer.check_roughly(exact),
        };
        checked.map_err(|deviation| format!("wrong: {deviation}"))?;
    }
    Ok(())
}

/// What panics fails with the words of the panic.
fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let line = text.and_then(|text| text.lines().next());
        Err(format!(
            "failed: {}",
            line.unwrap_or("a panic without words")
        ))
    })
}
