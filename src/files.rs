//! Reading the files of a model folder, which is not trusted.

use std::borrow::Cow;
use std::fs::{self, File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use crate::error::{CheckpointError, Error, Result};

/// Folders inside of folders that are searched for links.
const MAX_DEPTH: usize = 8;

/// Where the links in a model folder may lead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FolderLinks {
    /// Anywhere: people keep weights on another disk and link to them.
    #[default]
    Follow,
    /// Only inside of the folder, or into the blobs of the Hugging Face cache that it belongs to:
    /// for folders that come from strangers, whose links could show what else is on the disk. Holds
    /// for every file, since a folder with any other link is refused.
    StayInside,
}

impl FolderLinks {
    /// # Errors
    ///
    /// [`CheckpointError::Outside`] if a link of `folder` leads where it must not.
    pub(crate) fn check(self, folder: &Path) -> Result<()> {
        if self == Self::Follow {
            return Ok(());
        }
        let canonical = folder.canonicalize().map_err(Error::io(folder))?;
        let blobs = hub_blobs(&canonical);
        let roots: Vec<_> = std::iter::once(canonical).chain(blobs).collect();
        check_links(folder, &roots, MAX_DEPTH)
    }
}

fn check_links(folder: &Path, roots: &[PathBuf], depth: usize) -> Result<()> {
    for entry in folder.read_dir().map_err(Error::io(folder))? {
        let entry = entry.map_err(Error::io(folder))?;
        let path = entry.path();
        let file_type = entry.file_type().map_err(Error::io(&path))?;
        if file_type.is_dir() && depth > 0 {
            check_links(&path, roots, depth - 1)?;
        }
        if !file_type.is_symlink() {
            continue;
        }
        match path.canonicalize() {
            Ok(target) if roots.iter().any(|root| target.starts_with(root)) => {}
            Ok(target) => return Err(CheckpointError::Outside { path, target }.into()),
            // What is not there is not read.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io(&path)(error)),
        }
    }
    Ok(())
}

/// The `blobs` folder of the Hugging Face cache that `folder` lies in, if it does.
///
/// The cache keeps content in `models--*/blobs` and links to it from `models--*/snapshots/<revision>`.
fn hub_blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder
        .ancestors()
        .find(|ancestor| ancestor.ends_with("snapshots"))?;
    let repository = snapshots.parent()?;
    let name = repository.file_name()?.to_str()?;
    name.starts_with("models--")
        .then(|| repository.join("blobs"))
}

/// Why a file was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// The operating system said so.
    Io(io::Error),
    /// It is no regular file; this says what it is.
    NotAFile(&'static str),
}

/// Opens a regular file, following links, and says how many bytes it has.
///
/// Asked before it is opened, because opening a device may do something, and again afterwards,
/// because it may be another one by then. A pipe that took its place is not waited for.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64), OpenError> {
    require_regular(fs::metadata(path).map_err(OpenError::Io)?.file_type())?;
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path).map_err(OpenError::Io)?;
    let metadata = file.metadata().map_err(OpenError::Io)?;
    require_regular(metadata.file_type())?;
    Ok((file, metadata.len()))
}

fn require_regular(file_type: FileType) -> Result<(), OpenError> {
    match (file_type.is_file(), file_type.is_dir()) {
        (true, _) => Ok(()),
        (false, true) => Err(OpenError::NotAFile("a folder")),
        (false, false) => Err(OpenError::NotAFile("a pipe, socket or device")),
    }
}

/// What was found under a path.
#[derive(Debug)]
pub(crate) enum Contents {
    /// Nothing.
    Absent,
    /// More than was allowed; none of it was kept.
    TooLarge {
        /// Its size, or where reading stopped.
        found_bytes: u64,
    },
    /// A file.
    Bytes(Vec<u8>),
}

/// Reads a regular file of at most `limit_bytes`.
///
/// # Errors
///
/// [`Error::Io`] when it cannot be read or is a folder, a pipe or a device.
pub(crate) fn read_capped(path: &Path, limit_bytes: u64) -> Result<Contents> {
    let (file, found_bytes) = match open_regular(path) {
        Ok(opened) => opened,
        Err(OpenError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            return Ok(Contents::Absent);
        }
        Err(OpenError::Io(error)) => return Err(Error::io(path)(error)),
        Err(OpenError::NotAFile(found)) => {
            let reason = format!("it is {found}, expected a regular file");
            return Err(Error::io(path)(io::Error::new(
                ErrorKind::InvalidInput,
                reason,
            )));
        }
    };
    if found_bytes > limit_bytes {
        return Ok(Contents::TooLarge { found_bytes });
    }
    let mut bytes = Vec::new();
    file.take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    // The file may have grown since its size was read.
    match bytes.len() as u64 {
        found_bytes if found_bytes > limit_bytes => Ok(Contents::TooLarge { found_bytes }),
        _ => Ok(Contents::Bytes(bytes)),
    }
}

/// What Python writes where JSON has no number for it.
const PYTHON_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// JSON as Python writes it, and with the byte order mark that editors on Windows put in front.
///
/// `NaN` and the infinities become texts: most often nobody asks for the setting, and whoever asks
/// for a number says what was found.
pub(crate) fn python_json(bytes: &[u8]) -> Cow<'_, [u8]> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut replaced = Vec::new();
    let (mut at, mut copied, mut is_text) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        let number = match (byte, is_text) {
            (b'N' | b'I' | b'-', false) => {
                let is_here = |number: &&&[u8]| bytes[at..].starts_with(number);
                PYTHON_NUMBERS.iter().find(is_here)
            }
            _ => None,
        };
        if let Some(number) = number {
            replaced.extend_from_slice(&bytes[copied..at]);
            replaced.extend([b"\"", *number, b"\""].concat());
            copied = at + number.len();
        }
        is_text ^= *byte == b'"';
        let is_escape = is_text && *byte == b'\\';
        at += number.map_or(1 + usize::from(is_escape), |number| number.len());
    }
    if copied == 0 {
        return Cow::Borrowed(bytes);
    }
    replaced.extend_from_slice(&bytes[copied..]);
    Cow::Owned(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_json_lacks_become_texts_and_texts_stay() {
        let json = br#"{"a": NaN, "b NaN": [-Infinity, Infinity, -1], "c": "\"NaN\\", "d":NaN}"#;
        let expected =
            br#"{"a": "NaN", "b NaN": ["-Infinity", "Infinity", -1], "c": "\"NaN\\", "d":"NaN"}"#;
        assert_eq!(&*python_json(json), expected);
        assert!(matches!(python_json(b"{\"a\": \"NaN\"}"), Cow::Borrowed(_)));
        assert_eq!(&*python_json(b"\xEF\xBB\xBF{}"), b"{}");
        for cut in 0..json.len() {
            python_json(&json[..cut]);
        }
    }

    #[cfg(unix)]
    mod links {
        use std::os::unix::fs::symlink;

        use super::*;

        fn is_outside(folder: &Path) -> bool {
            FolderLinks::Follow.check(folder).unwrap();
            match FolderLinks::StayInside.check(folder) {
                Ok(()) => false,
                Err(Error::Checkpoint(CheckpointError::Outside { .. })) => true,
                Err(other) => panic!("{other}"),
            }
        }

        #[test]
        fn any_link_out_of_the_folder_is_found() {
            let outside = tempfile::NamedTempFile::new().unwrap();
            for name in ["model.safetensors", "config.json", "inner/chat.jinja"] {
                let folder = tempfile::tempdir().unwrap();
                fs::create_dir(folder.path().join("inner")).unwrap();
                assert!(!is_outside(folder.path()));
                symlink(outside.path(), folder.path().join(name)).unwrap();
                assert!(is_outside(folder.path()), "{name}");
            }
        }

        #[test]
        fn links_inside_the_folder_and_to_the_folder_are_no_links_out() {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("real"), "").unwrap();
            symlink("real", folder.path().join("config.json")).unwrap();
            symlink("nothing", folder.path().join("README.md")).unwrap();
            let parent = tempfile::tempdir().unwrap();
            symlink(folder.path(), parent.path().join("latest")).unwrap();
            assert!(!is_outside(&parent.path().join("latest")));
        }

        #[test]
        fn the_hugging_face_cache_may_link_to_its_own_blobs_only() {
            let cache = tempfile::tempdir().unwrap();
            let make = |repository: &str| {
                let repository = cache.path().join(repository);
                fs::create_dir_all(repository.join("blobs")).unwrap();
                fs::create_dir_all(repository.join("snapshots/abc")).unwrap();
                fs::write(repository.join("blobs/0123"), "").unwrap();
                repository.join("snapshots/abc")
            };
            let ours = make("models--org--name");
            make("models--org--other");
            symlink("../../blobs/0123", ours.join("model.safetensors")).unwrap();
            assert!(!is_outside(&ours));
            let other = "../../../models--org--other/blobs/0123";
            symlink(other, ours.join("config.json")).unwrap();
            assert!(is_outside(&ours));
            let plain = make("no-model");
            symlink("../../blobs/0123", plain.join("model.safetensors")).unwrap();
            assert!(is_outside(&plain));
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("config.json");
        let status = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(status.unwrap().success());
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert!(matches!(open_regular(path), Err(OpenError::NotAFile(_))));
            assert!(matches!(read_capped(path, 9), Err(Error::Io { .. })));
        }
    }
}
