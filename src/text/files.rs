//! Reading the small files of a model folder, with limits.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::Path;

use serde_json::Value;

use crate::error::{Error, Result, TokenizerError};

/// Largest configuration file that is read. The largest seen, with an embedded chat template and
/// thousands of added tokens, has 2 MiB.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Reads `name` in `folder`, or returns `None` where it is absent.
///
/// # Errors
///
/// [`Error::Io`] when the file cannot be read or is no regular file,
/// [`TokenizerError::TooLarge`] when it has more than `limit_bytes`.
pub(crate) fn read_bytes(folder: &Path, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
    let path = folder.join(name);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    // Opening a pipe would block, and a device may never end.
    if !metadata.is_file() {
        return Err(Error::io(&path)(ErrorKind::InvalidInput.into()));
    }
    let too_large = |found_bytes| TokenizerError::TooLarge {
        file: name.to_string(),
        found_bytes,
        limit_bytes,
    };
    if metadata.len() > limit_bytes {
        return Err(too_large(metadata.len()).into());
    }
    let mut bytes = Vec::new();
    let file = File::open(&path).map_err(Error::io(&path))?;
    file.take(limit_bytes + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io(&path))?;
    // The file may have grown since its size was read.
    if bytes.len() as u64 > limit_bytes {
        return Err(too_large(bytes.len() as u64).into());
    }
    Ok(Some(bytes))
}

/// Reads the JSON file `name` in `folder`, or returns `None` where it is absent.
///
/// # Errors
///
/// As [`read_bytes`], and [`TokenizerError::Malformed`] when it is not JSON.
pub(crate) fn read_json(folder: &Path, name: &str) -> Result<Option<Value>> {
    let bytes = read_bytes(folder, name, MAX_CONFIG_BYTES)?;
    Ok(bytes.map(|bytes| parse_json(&bytes, name)).transpose()?)
}

/// Parses `bytes` as JSON; `name` is for the error.
pub(crate) fn parse_json(bytes: &[u8], name: &str) -> Result<Value, TokenizerError> {
    // Editors on Windows put a byte order mark in front, which JSON forbids.
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    serde_json::from_slice(bytes).map_err(|error| TokenizerError::Malformed {
        file: name.to_string(),
        reason: error.to_string(),
    })
}
