//! Reading the small files of a model folder, which is not trusted.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::{Error, Result};

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
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Contents::Absent),
        Err(error) => return Err(Error::io(path)(error)),
    };
    // Opening a pipe would block, and a device may never end.
    if !metadata.is_file() {
        return Err(Error::io(path)(ErrorKind::InvalidInput.into()));
    }
    if metadata.len() > limit_bytes {
        return Ok(Contents::TooLarge {
            found_bytes: metadata.len(),
        });
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::io(path))?;
    file.take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(path))?;
    // The file may have grown since its size was read.
    match bytes.len() as u64 {
        found_bytes if found_bytes > limit_bytes => Ok(Contents::TooLarge { found_bytes }),
        _ => Ok(Contents::Bytes(bytes)),
    }
}

/// The text behind a byte order mark, which editors on Windows put in front and JSON forbids.
pub(crate) fn without_byte_order_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}
