//! CUDA text to a library of the host, by the system's C++ compiler, and a call of it.

use std::ffi::{CStr, OsString, c_char, c_int, c_void};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use libloading::Library;

use super::rewrite::rewrite;
use super::tools;

/// In the order in which they build on each other.
const SHIM: [(&str, &str); 9] = [
    ("host.h", include_str!("shim/host.h")),
    ("fibers.h", include_str!("shim/fibers.h")),
    ("warp.h", include_str!("shim/warp.h")),
    ("scalar.h", include_str!("shim/scalar.h")),
    ("half.h", include_str!("shim/half.h")),
    ("wmma.h", include_str!("shim/wmma.h")),
    ("ptx_matrix.h", include_str!("shim/ptx_matrix.h")),
    ("ptx_async.h", include_str!("shim/ptx_async.h")),
    ("barrier.h", include_str!("shim/barrier.h")),
];
const ENTRY: (&str, &str) = ("entry.h", include_str!("shim/entry.h"));

/// `-ffp-contract=off` and no fast math: results must not depend on the host. The sanitizers catch
/// what a card would fault on; their handlers are in `shim/entry.h`.
const FLAGS: [&str; 13] = [
    "-std=c++17",
    "-O1",
    "-w",
    "-shared",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-strict-aliasing",
    "-ffp-contract=off",
    "-fno-exceptions",
    "-fsanitize=alignment,bounds,integer-divide-by-zero",
    "-fno-sanitize-recover=all",
    "-xc++",
    "-",
];

/// Lines of a failed compilation that are shown.
const MAX_MESSAGE_LINES: usize = 12;

/// The C++ compiler `$CXX`, or `c++`.
#[derive(Debug)]
pub(crate) struct HostCompiler {
    program: OsString,
    cache: PathBuf,
}

/// A kernel that the host can run.
#[derive(Debug)]
pub(crate) struct HostKernel {
    launch: unsafe extern "C" fn(*const Request) -> c_int,
    _library: Library,
}

/// One launch, as `emu::Request` in `shim/entry.h`.
#[repr(C)]
struct Request {
    grid: [u32; 3],
    block: [u32; 3],
    shared_bytes: u32,
    mode: u32,
    arguments: *const *mut c_void,
    num_arguments: u32,
    message: *mut c_char,
    message_len: usize,
}

/// The sizes of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared_bytes: u32,
}

impl HostCompiler {
    /// # Errors
    ///
    /// The reason to print when skipping.
    pub(crate) fn find() -> Result<Self, String> {
        if cfg!(not(all(target_arch = "x86_64", target_os = "linux"))) {
            return Err("threads are switched by x86-64 assembly for Linux".to_string());
        }
        let compiler = Self::from_environment();
        let version = Command::new(&compiler.program).arg("--version").output();
        match version {
            Ok(output) if output.status.success() => Ok(compiler),
            Ok(output) => Err(format!(
                "{:?} --version: {}",
                compiler.program, output.status
            )),
            Err(error) => Err(format!("{:?}: {error}", compiler.program)),
        }
    }

    /// [`Self::find`], or `None` after printing why the test is skipped.
    pub(crate) fn find_or_skip() -> Option<Self> {
        tools::or_skip("emulated", Self::find())
    }

    /// Without a look whether it works.
    pub(crate) fn from_environment() -> Self {
        let program = std::env::var_os("CXX").unwrap_or_else(|| "c++".into());
        Self {
            program,
            cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("emulated"),
        }
    }

    /// Compiles the kernel `entry`, or loads what was compiled from the same text before.
    ///
    /// # Errors
    ///
    /// The compiler's first messages, with lines of the CUDA text.
    pub(crate) fn compile(&self, source: &str, entry: &str) -> Result<HostKernel, String> {
        let text = translation_unit(source, entry)?;
        let flags = flags();
        let mut hasher = DefaultHasher::new();
        (&text, &flags, &self.program).hash(&mut hasher);
        let library = self.cache.join(format!("{:016x}.so", hasher.finish()));
        if !library.exists() {
            self.compile_to(&library, &text, &flags)?;
        }
        HostKernel::load(&library)
    }

    fn compile_to(&self, library: &Path, text: &str, flags: &[&str]) -> Result<(), String> {
        let io = |error: std::io::Error| format!("{:?}: {error}", self.program);
        fs::create_dir_all(&self.cache).map_err(io)?;
        // Renamed when whole, as other tests may want the same kernel at the same time.
        let unfinished = tempfile::NamedTempFile::new_in(&self.cache)
            .map_err(io)?
            .into_temp_path();
        let mut child = Command::new(&self.program)
            .args(flags)
            .arg("-o")
            .arg(&unfinished)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io)?;
        let mut stdin = child.stdin.take().expect("the input is piped");
        stdin.write_all(text.as_bytes()).map_err(io)?;
        drop(stdin);
        let output = child.wait_with_output().map_err(io)?;
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            let shown: Vec<_> = messages.lines().take(MAX_MESSAGE_LINES).collect();
            return Err(format!("{:?} says\n{}", self.program, shown.join("\n")));
        }
        unfinished.persist(library).map_err(|error| io(error.error))
    }
}

fn translation_unit(source: &str, entry: &str) -> Result<String, String> {
    let mut text = String::new();
    for (name, header) in SHIM.into_iter().chain([ENTRY]) {
        text.push_str(&format!("#line 1 \"shim/{name}\"\n{header}"));
    }
    text.push_str(&format!(
        "#line 1 \"kernel.cu\"\n{}\nEMU_ENTRY({entry})\n",
        rewrite(source)?
    ));
    Ok(text)
}

/// With the processor's f16 conversions where it has them: half the time of an f16 kernel.
fn flags() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("f16c") {
        return ["-mf16c"].into_iter().chain(FLAGS).collect();
    }
    FLAGS.to_vec()
}

impl HostKernel {
    fn load(path: &Path) -> Result<Self, String> {
        // SAFETY: the library is made of the shim and a kernel, whose only initialisers zero data;
        // `launch` has the type that `EMU_ENTRY` gives it and lives as long as the library.
        unsafe {
            let library = Library::new(path).map_err(|error| error.to_string())?;
            let launch = *library
                .get(b"emu_launch\0")
                .map_err(|error| error.to_string())?;
            Ok(Self {
                launch,
                _library: library,
            })
        }
    }

    /// Runs all blocks, with `mode` as in `shim/fibers.h`.
    ///
    /// # Errors
    ///
    /// What a thread did wrong, with its block and position.
    ///
    /// # Safety
    ///
    /// `arguments` are the addresses of what the kernel takes, in its order, as for
    /// `cuLaunchKernel`; buffers among them are as long as the kernel believes.
    pub(crate) unsafe fn launch(
        &self,
        geometry: Geometry,
        arguments: &[*mut c_void],
        mode: u32,
    ) -> Result<(), String> {
        let mut message = [0 as c_char; 512];
        let request = Request {
            grid: geometry.grid,
            block: geometry.block,
            shared_bytes: geometry.shared_bytes,
            mode,
            arguments: arguments.as_ptr(),
            num_arguments: arguments.len() as u32,
            message: message.as_mut_ptr(),
            message_len: message.len(),
        };
        // SAFETY: the caller vouches for the arguments; the message is written within its length
        // and ends with a nul.
        unsafe {
            if (self.launch)(&request) == 0 {
                return Ok(());
            }
            Err(CStr::from_ptr(message.as_ptr())
                .to_string_lossy()
                .into_owned())
        }
    }
}
