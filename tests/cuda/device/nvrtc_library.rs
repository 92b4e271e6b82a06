//! The functions of NVRTC that are needed, loaded by path. No driver is involved.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::null;

use libloading::Library;

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type LogSize = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Log = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;

/// NVIDIA's run-time compiler.
pub(crate) struct NvrtcLibrary {
    create: Create,
    compile: Compile,
    log_size: LogSize,
    log: Log,
    destroy: Destroy,
    version: Version,
    _builtins: Vec<Library>,
    _library: Library,
}

impl NvrtcLibrary {
    /// Loads `libnvrtc` from `folder`.
    pub(crate) fn open(folder: &Path) -> Result<Self, String> {
        let files = file_names(folder)?;
        let main = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"]
            .into_iter()
            .find(|name| files.iter().any(|file| file == name))
            .ok_or_else(|| format!("no libnvrtc in {}", folder.display()))?;
        // NVRTC opens its builtins by bare name. They are found without LD_LIBRARY_PATH once a
        // library of that name is loaded.
        let builtins = files
            .iter()
            .filter(|name| name.starts_with("libnvrtc-builtins.so"));
        let builtins = builtins
            .map(|name| load(&folder.join(name)))
            .collect::<Result<_, _>>()?;
        let library = load(&folder.join(main))?;
        Ok(Self {
            create: function(&library, c"nvrtcCreateProgram")?,
            compile: function(&library, c"nvrtcCompileProgram")?,
            log_size: function(&library, c"nvrtcGetProgramLogSize")?,
            log: function(&library, c"nvrtcGetProgramLog")?,
            destroy: function(&library, c"nvrtcDestroyProgram")?,
            version: function(&library, c"nvrtcVersion")?,
            _builtins: builtins,
            _library: library,
        })
    }

    /// Major and minor version.
    pub(crate) fn version(&self) -> (i32, i32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both point to live integers.
        unsafe { (self.version)(&mut major, &mut minor) };
        (major, minor)
    }

    /// Compiles `source` and returns the log, which is an error's text if it failed.
    pub(crate) fn compile(&self, source: &str, options: &[String]) -> Result<String, String> {
        let source = c_string(source)?;
        let options = options
            .iter()
            .map(|option| c_string(option))
            .collect::<Result<Vec<_>, _>>()?;
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: the texts end with a nul and live to the end of this function; the program is
        // destroyed exactly once, after its last use.
        unsafe {
            let source = source.as_ptr();
            let created = (self.create)(&mut program, source, null(), 0, null(), null());
            if created != 0 {
                return Err(format!("nvrtcCreateProgram failed with code {created}"));
            }
            let code = (self.compile)(program, options.len() as c_int, options.as_ptr());
            let log = self.read_log(program);
            (self.destroy)(&mut program);
            if code == 0 {
                Ok(log)
            } else {
                Err(format!("NVRTC error {code}:\n{log}"))
            }
        }
    }

    /// # Safety
    ///
    /// `program` was created and is not destroyed.
    unsafe fn read_log(&self, program: Program) -> String {
        let mut len = 0;
        // SAFETY: the caller's program is alive, and the buffer has the length that was asked for.
        unsafe {
            (self.log_size)(program, &mut len);
            let mut log = vec![0_u8; len.max(1)];
            (self.log)(program, log.as_mut_ptr().cast());
            log.retain(|byte| *byte != 0);
            String::from_utf8_lossy(&log).into_owned()
        }
    }
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|error| format!("the text holds a nul byte: {error}"))
}

fn file_names(folder: &Path) -> Result<Vec<String>, String> {
    let entries = folder
        .read_dir()
        .map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.collect())
}

fn load(path: &Path) -> Result<Library, String> {
    // SAFETY: the initialisers of NVIDIA's libraries have no preconditions.
    unsafe { Library::new(path) }.map_err(|error| format!("{}: {error}", path.display()))
}

fn function<F: Copy>(library: &Library, name: &CStr) -> Result<F, String> {
    // SAFETY: the types above are the signatures in nvrtc.h, and the library outlives the pointer,
    // as both are fields of one struct.
    unsafe { library.get::<F>(name.to_bytes_with_nul()) }
        .map(|symbol| *symbol)
        .map_err(|error| error.to_string())
}
