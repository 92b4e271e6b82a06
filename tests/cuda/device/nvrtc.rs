//! CUDA text to machine code by NVIDIA's run-time compiler, and what the code needs of a card.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::nvrtc_library::NvrtcLibrary;
use super::runtime::EmittedKernel;
use super::{properties, tools};

/// Registers of one multiprocessor, on every card from 7.0 on.
const REGISTERS: u32 = 65_536;
/// Registers are handed out to a thread in steps of this many.
const REGISTER_STEP: u32 = 8;
/// The one kernel of which the compiler moves a few numbers to memory rather than take the next step of
/// registers, of which it leaves three quarters to other blocks. No edit talks it out of that for all
/// types at once; every other kernel spills nothing.
const SPARING_KERNEL: &str = "decode_kernel";
/// What a thread of that may store and load again; 24 bytes were seen.
const SPARED_BYTES: u32 = 32;
/// Threads and blocks that a multiprocessor holds at once, on an A100 and an H100.
const MAX_THREADS: u32 = 2048;
const MAX_BLOCKS: u32 = 32;
/// Shared memory that the driver takes of each block.
const RESERVED_SHARED_BYTES: usize = 1024;

/// NVRTC with its headers.
pub(crate) struct Compiler {
    library: NvrtcLibrary,
    include: PathBuf,
    cache: PathBuf,
}

/// What `ptxas` says about a kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resources {
    /// Registers of one thread.
    pub(crate) registers: u32,
    /// Bytes that a thread moves between registers and memory because registers ran out.
    pub(crate) spill_bytes: u32,
    /// Bytes of a thread's stack: spills, and local arrays whose index is not constant.
    pub(crate) stack_bytes: u32,
    /// Shared memory of a block beside what the launch asks for.
    pub(crate) static_shared_bytes: u32,
}

impl Compiler {
    /// NVRTC under `CUDA_PATH` (a toolkit, or the `nvidia/cu13` folder of the wheels that
    /// `.ci/install-nvrtc` installs) or in the usual places.
    ///
    /// # Errors
    ///
    /// The reason to print when skipping.
    pub(crate) fn find() -> Result<Self, String> {
        let usual = ["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from);
        let root = std::env::var_os("CUDA_PATH")
            .map(PathBuf::from)
            .or_else(|| usual.into_iter().find(|path| path.exists()))
            .ok_or("CUDA_PATH is not set; .ci/install-nvrtc prints one")?;
        let include = root.join("include");
        if !include.join("cuda_fp16.h").exists() {
            return Err(format!("no cuda_fp16.h in {}", include.display()));
        }
        let folders = ["lib", "lib64"].map(|name| root.join(name));
        let folder = folders.iter().find(|path| path.exists());
        let folder = folder.ok_or_else(|| format!("no lib folder in {}", root.display()))?;
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nvrtc");
        fs::create_dir_all(&cache).map_err(|e| format!("{}: {e}", cache.display()))?;
        Ok(Self {
            library: NvrtcLibrary::open(folder)?,
            include,
            cache,
        })
    }

    /// [`Self::find`], or `None` after printing why the test is skipped.
    pub(crate) fn find_or_skip() -> Option<Self> {
        tools::or_skip("nvrtc", Self::find())
    }

    /// Compiles one kernel for the architecture it was emitted for.
    ///
    /// # Errors
    ///
    /// The compiler's messages.
    pub(crate) fn check(&self, kernel: &EmittedKernel) -> Result<Resources, String> {
        self.compile(&kernel.source, kernel.arch)
    }

    /// Compiles `source`, which need not come from CubeCL, for compute capability `arch`.
    ///
    /// # Errors
    ///
    /// The compiler's messages.
    pub(crate) fn compile(&self, source: &str, arch: u16) -> Result<Resources, String> {
        let options = self.options(arch);
        let record = self.cache.join(self.cache_key(source, &options));
        if let Some(known) = fs::read_to_string(&record)
            .ok()
            .and_then(|log| parse_log(&log).ok())
        {
            return Ok(known);
        }
        let log = self.library.compile(source, &options)?;
        let resources = parse_log(&log)?;
        write_whole(&record, &log)?;
        Ok(resources)
    }

    /// [`Self::check`] of every kernel, on all cores.
    pub(crate) fn check_all(
        &self,
        kernels: &[Arc<EmittedKernel>],
    ) -> Vec<Result<Resources, String>> {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut done = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(kernel) = kernels.get(i) else {
                    return done;
                };
                done.push((i, self.check(kernel)));
            }
        };
        let num_workers = std::thread::available_parallelism().map_or(1, usize::from);
        let mut reports: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = (0..num_workers).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .flat_map(|w| w.join().expect("`check` does not panic"))
                .collect()
        });
        reports.sort_by_key(|(i, _)| *i);
        reports.into_iter().map(|(_, report)| report).collect()
    }

    /// The options of `cubecl-cuda`, and a report of the resources.
    fn options(&self, arch: u16) -> Vec<String> {
        let specific = if arch >= 90 { "a" } else { "" };
        vec![
            format!("--gpu-architecture=sm_{arch}{specific}"),
            format!("--include-path={}", self.include.display()),
            format!("--include-path={}", self.include.join("cccl").display()),
            "-lineinfo".to_string(),
            "--ptxas-options=-v".to_string(),
        ]
    }

    fn cache_key(&self, source: &str, options: &[String]) -> String {
        let mut hasher = DefaultHasher::new();
        (self.library.version(), source, options).hash(&mut hasher);
        format!("{:016x}.log", hasher.finish())
    }
}

impl Resources {
    /// Whether a card of the kernel's architecture can launch it, and without running out of
    /// registers.
    ///
    /// # Errors
    ///
    /// What there is too much of.
    pub(crate) fn fit(&self, kernel: &EmittedKernel) -> Result<(), String> {
        let threads = kernel.cube_dim.num_elems().next_multiple_of(32);
        let registers = self.registers.next_multiple_of(REGISTER_STEP) * threads;
        let is_sparing = kernel.entry.starts_with(SPARING_KERNEL) && registers <= REGISTERS / 4;
        let spared_bytes = if is_sparing { SPARED_BYTES } else { 0 };
        if self.spill_bytes > spared_bytes {
            let Self {
                spill_bytes,
                registers,
                ..
            } = self;
            return Err(format!(
                "spills {spill_bytes} bytes of {registers} registers"
            ));
        }
        if registers > REGISTERS {
            return Err(format!(
                "needs {registers} registers, a block has {REGISTERS}"
            ));
        }
        let shared_bytes = self.static_shared_bytes as usize + kernel.shared_memory_bytes;
        let max_bytes = properties::device(kernel.arch)
            .hardware
            .max_shared_memory_size;
        if shared_bytes > max_bytes {
            return Err(format!(
                "needs {shared_bytes} bytes of shared memory of {max_bytes}"
            ));
        }
        Ok(())
    }
}

impl Resources {
    /// Blocks of the kernel that a multiprocessor holds at once.
    pub(crate) fn blocks_of_multiprocessor(&self, kernel: &EmittedKernel) -> u32 {
        let threads = kernel.cube_dim.num_elems().next_multiple_of(32);
        let registers = self.registers.next_multiple_of(REGISTER_STEP) * threads;
        let shared_bytes = self.static_shared_bytes as usize + kernel.shared_memory_bytes;
        let most_shared = properties::device(kernel.arch)
            .hardware
            .max_shared_memory_size;
        let by_shared =
            (most_shared + RESERVED_SHARED_BYTES) / (shared_bytes + RESERVED_SHARED_BYTES);
        let by_registers = REGISTERS / registers.max(1);
        MAX_BLOCKS
            .min(MAX_THREADS / threads)
            .min(by_registers)
            .min(by_shared as u32)
    }
}

/// Two tests may write the same record: each its own file first, then a rename.
fn write_whole(path: &Path, text: &str) -> Result<(), String> {
    let folder = path.parent().expect("a record lies in the cache folder");
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| error.to_string())?;
    fs::write(file.path(), text).map_err(|error| error.to_string())?;
    file.persist(path)
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Sums up the report of `ptxas`, which stands in the log of a successful compilation.
fn parse_log(log: &str) -> Result<Resources, String> {
    let mut resources = Resources::default();
    let mut entries = 0;
    for line in log.lines() {
        entries += usize::from(line.contains("Compiling entry function"));
        resources.registers += number_before(line, " registers");
        resources.spill_bytes += number_before(line, " bytes spill stores");
        resources.spill_bytes += number_before(line, " bytes spill loads");
        resources.stack_bytes += number_before(line, " bytes stack frame");
        resources.static_shared_bytes += number_before(line, " bytes smem");
    }
    match entries {
        1 => Ok(resources),
        _ => Err(format!(
            "the report is about {entries} kernels instead of one:\n{log}"
        )),
    }
}

fn number_before(line: &str, unit: &str) -> u32 {
    let number = line
        .split_once(unit)
        .and_then(|(before, _)| before.rsplit([' ', ',']).next());
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'scale' for 'sm_80'
ptxas info    : Function properties for scale
    640 bytes stack frame, 956 bytes spill stores, 960 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 640 bytes cumulative stack size, 48 bytes smem
";

    #[test]
    fn the_report_is_read_from_the_log() {
        let expected = Resources {
            registers: 64,
            spill_bytes: 956 + 960,
            stack_bytes: 640,
            static_shared_bytes: 48,
        };
        assert_eq!(parse_log(LOG), Ok(expected));
    }

    #[test]
    fn a_log_without_a_report_is_an_error() {
        assert!(parse_log("").is_err());
    }
}
