//! Times every kernel of the catalogue on the sizes of real models, beside Burn's own operation and
//! the unfused composition, and beside what the device can do at most.
//!
//!     cargo bench --bench kernels -- --device cpu --filter linear F32 --json OUT.json --svg OUT.svg
//!     cargo bench --bench kernels -- draw OUT.json OUT.svg
//!     cargo bench --bench kernels -- compare BEFORE.json AFTER.json
//!
//! Each answer is checked against the reference first; a wrong one is told and not timed, and the
//! others go on. The file of `--json` has a line a result as soon as it is known, so a run that was
//! cut off can be drawn and compared too.
//!
//! Ends with 0; with 1 when an answer was wrong or something became slower; with 2 when a flag is
//! wrong; with 3 when a device or a file cannot be used. `burn_vlm::kernels::bench` is what does it,
//! for kernels of one's own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a report")]

#[path = "../../tests/support/device.rs"]
mod device;
mod machine;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

#[cfg(any(feature = "wgpu", feature = "cuda"))]
use burn::tensor::DType;
use burn_vlm::kernels::bench::{Bench, Comparison, Record, chart, read_records};
use burn_vlm::kernels::{Catalogue, VlmBackend};
use clap::{Args, Parser, Subcommand, ValueEnum};

use report::Report;

/// Times the kernels
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
    // `cargo bench` says so.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Every device of this build without it
    #[arg(long, value_name = "NAME")]
    device: Option<Device>,
    /// Keeps the problems whose names hold every one of these
    #[arg(long, value_name = "WORDS", num_args = 1..)]
    filter: Vec<String>,
    /// A line of JSON for each result, as soon as it is known; `-` prints them between the rows
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// A picture of the results
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// The kernels without what they are compared with
    #[arg(long)]
    alone: bool,
    /// Only what the device can do
    #[arg(long)]
    limits: bool,
    /// Rows and columns of Burn's matrix product; 2048 on a CPU and 4096 on a GPU
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1 << 15))]
    matmul_size: Option<u32>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says what became slower or faster between two runs, beyond noise
    Compare {
        /// What `--json` wrote
        before: PathBuf,
        /// The same, later
        after: PathBuf,
        /// Per cent that a time may change
        #[arg(long, value_name = "PERCENT", default_value = "5")]
        noise: f64,
    },
    /// Draws what `--json` wrote, and prints its table
    Draw {
        /// What `--json` wrote
        results: PathBuf,
        /// The picture
        svg: PathBuf,
    },
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

/// How the program ends; 2 is a wrong flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Fine = 0,
    Worse = 1,
    Unusable = 3,
}

impl From<End> for ExitCode {
    fn from(end: End) -> Self {
        Self::from(end as u8)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match &arguments.command {
        None => run(&arguments.run),
        Some(Command::Compare {
            before,
            after,
            noise,
        }) => compare(before, after, noise / 100.0),
        Some(Command::Draw { results, svg }) => draw(results, svg),
    };
    let ended = ended.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        End::Unusable
    });
    ended.into()
}

fn run(arguments: &RunArgs) -> Result<End, String> {
    let mut report = Report::new(arguments.json.as_deref())?;
    report.add(&[Record::Run {
        versions: machine::versions(),
    }])?;
    for device in Device::value_variants() {
        if arguments.device.is_none_or(|chosen| chosen == *device) {
            run_on(*device, arguments, &mut report)?;
        }
    }
    if arguments.device.is_some() && !report.has_device() {
        return Err("the device is not there".to_string());
    }
    if !arguments.limits && report.num_problems() == 0 {
        return Err("no problem's name holds all the words of --filter".to_string());
    }
    if let Some(path) = &arguments.svg {
        write(path, &chart(report.records()))?;
    }
    Ok(match report.num_failed() {
        0 => End::Fine,
        _ => End::Worse,
    })
}

fn run_on(device: Device, arguments: &RunArgs, report: &mut Report) -> Result<(), String> {
    match device {
        #[cfg(feature = "flex")]
        Device::Cpu => {
            let bench = Bench::<burn_vlm::backend::Cpu>::new("cpu");
            let bench = machine::cpu().fold(bench.with_host_memory());
            run_bench(&bench.with_matmul_size(2048), arguments, report)
        }
        #[cfg(feature = "wgpu")]
        Device::Wgpu => {
            run_gpu::<burn_vlm::backend::Wgpu>("wgpu", machine::wgpu, arguments, report)
        }
        #[cfg(feature = "cuda")]
        Device::Cuda => {
            run_gpu::<burn_vlm::backend::Cuda>("cuda", machine::cuda, arguments, report)
        }
    }
}

#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn run_gpu<B: VlmBackend>(
    name: &str,
    facts: fn() -> machine::Facts,
    arguments: &RunArgs,
    report: &mut Report,
) -> Result<(), String> {
    if !device::has_device::<B>(name) {
        return Ok(());
    }
    let bench = facts().fold(Bench::<B>::new(name));
    let bench = bench.with_dtypes(&[DType::F32, DType::F16, DType::BF16]);
    run_bench(&bench.with_matmul_size(4096), arguments, report)
}

fn run_bench<B: VlmBackend>(
    bench: &Bench<B>,
    arguments: &RunArgs,
    report: &mut Report,
) -> Result<(), String> {
    let words = arguments
        .filter
        .iter()
        .flat_map(|words| words.split_whitespace());
    let words: Vec<_> = words.map(str::to_string).collect();
    let mut bench = bench.clone().with_filter(&words);
    if arguments.alone {
        bench = bench.without_rivals();
    }
    if let Some(size) = arguments.matmul_size {
        bench = bench.with_matmul_size(size as usize);
    }
    let entries = match arguments.limits {
        true => &[],
        false => Catalogue::<B>::ENTRIES,
    };
    let mut told = Ok(());
    bench.run(entries, &mut |event| {
        if told.is_ok() {
            told = report.tell(event);
        }
    });
    told
}

fn compare(before: &Path, after: &Path, noise: f64) -> Result<End, String> {
    let [before, after] = [read(before)?, read(after)?];
    let comparison = Comparison::of(&before, &after, noise);
    println!("{comparison}");
    if comparison.is_empty() {
        return Err("the two runs have no problem in common".to_string());
    }
    let is_worse = !comparison.slower.is_empty() || !comparison.lost.is_empty();
    Ok(if is_worse { End::Worse } else { End::Fine })
}

fn draw(results: &Path, svg: &Path) -> Result<End, String> {
    let records = read(results)?;
    print!(
        "{}",
        burn_vlm::kernels::bench::BenchReport {
            records: records.clone()
        }
    );
    write(svg, &chart(&records))?;
    Ok(End::Fine)
}

fn read(path: &Path) -> Result<Vec<Record>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| told(path, error))?;
    read_records(&text).map_err(|error| told(path, error))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| told(path, error))
}

fn told(path: &Path, error: impl std::fmt::Display) -> String {
    format!("{}: {error}", path.display())
}
