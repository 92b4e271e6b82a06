//! Times every kernel of the catalogue on the sizes of real models.
//!
//! `cargo bench --features testing --bench kernels -- --device cpu linear F16` keeps the lines whose
//! text holds every word. Each answer is checked against the reference first; a wrong one is told
//! and not timed, and the others go on. Beside the time stand the bytes and operations that a
//! perfect kernel would need, divided by it; the `roofline` lines say what copying memory and
//! Burn's own matrix product reach in the same run.
#![expect(clippy::print_stdout, reason = "a report")]

#[path = "../../tests/support/device.rs"]
mod device;
#[cfg(feature = "flex")]
mod host;
mod line;
mod roofline;

use std::process::ExitCode;

use burn::tensor::DType;
use burn_vlm::kernels::{Case, Catalogue, VlmBackend};
use clap::{Parser, ValueEnum};

use line::{Line, Report, time};

/// Times the kernels.
#[derive(Debug, Parser)]
struct Arguments {
    /// Keeps the lines that hold every one of these
    words: Vec<String>,
    /// Every device of this build without it
    #[arg(long, value_name = "NAME")]
    device: Option<Device>,
    /// A JSON object behind each line
    #[arg(long)]
    json: bool,
    /// Rows and columns of Burn's matrix product
    #[arg(long, value_name = "N", default_value = "4096", value_parser = 1..=1 << 15)]
    matmul_size: i64,
    // `cargo bench` says so.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    #[cfg(feature = "flex")]
    Cpu,
    #[cfg(feature = "wgpu")]
    Wgpu,
    #[cfg(feature = "cuda")]
    Cuda,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut report = Report::new(&arguments.words, arguments.json);
    for device in Device::value_variants() {
        if arguments.device.is_some_and(|chosen| chosen != *device) {
            continue;
        }
        let size = arguments.matmul_size as usize;
        match device {
            #[cfg(feature = "flex")]
            Device::Cpu => {
                host::copy("cpu", &mut report);
                run::<burn_vlm::backend::Cpu>("cpu", size, &[DType::F32], &mut report);
            }
            #[cfg(feature = "wgpu")]
            Device::Wgpu => run_gpu::<burn_vlm::backend::Wgpu>("wgpu", size, &mut report),
            #[cfg(feature = "cuda")]
            Device::Cuda => run_gpu::<burn_vlm::backend::Cuda>("cuda", size, &mut report),
        }
    }
    match report.num_wrong() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn run_gpu<B: VlmBackend>(name: &'static str, matmul_size: usize, report: &mut Report<'_>) {
    if device::has_device::<B>(name) {
        roofline::copy::<B>(name, report);
        run::<B>(name, matmul_size, &[DType::F32, DType::F16], report);
    }
}

fn run<B: VlmBackend>(
    name: &'static str,
    matmul_size: usize,
    dtypes: &[DType],
    report: &mut Report<'_>,
) {
    let device = B::Device::default();
    roofline::matmul::<B>(name, matmul_size, report);
    for entry in Catalogue::<B>::ENTRIES {
        for case in (entry.bench_cases)() {
            for &dtype in dtypes {
                let line = Line {
                    device: name,
                    kernel: entry.name,
                    case: case.name.clone(),
                    dtype,
                };
                let mut types = case.stored.iter().chain([&dtype]);
                let is_supported = types.all(|dtype| B::supports_dtype(&device, *dtype));
                report.add(&line, is_supported, || {
                    check(&case, &device, dtype)?;
                    let mut step = case.prepare(&device, dtype);
                    let time = time::<B>(&device, &mut step)?;
                    Ok((time, (case.work)(dtype)))
                });
            }
        }
    }
}

fn check<B: VlmBackend>(case: &Case<B>, device: &B::Device, dtype: DType) -> Result<(), String> {
    let answers = (case.kernel)(device, dtype);
    let plain = (case.reference)(device, dtype);
    let exact = (case.exact)(device, dtype);
    for (answer, (plain, exact)) in answers.iter().zip(plain.iter().zip(&exact)) {
        let checked = answer.check(plain, exact, dtype);
        checked.map_err(|deviation| format!("wrong: {deviation}"))?;
    }
    Ok(())
}
