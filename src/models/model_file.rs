//! Reading the configuration files of a model folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{ConfigError, Result};
use crate::files;

/// Largest configuration that is read. The largest seen has 50 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the JSON in `name`, whoever wrote it, or returns `None` where the file is absent.
///
/// # Errors
///
/// [`ConfigError::Malformed`] when it is too large.
pub(crate) fn read_config(folder: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    read_file(&folder.join(name))
}

/// As [`read_config`], by path.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    match files::read_capped(path, MAX_BYTES)? {
        files::Contents::Absent => Ok(None),
        files::Contents::Bytes(bytes) => Ok(Some(files::python_json(&bytes).into_owned())),
        files::Contents::TooLarge { found_bytes } => {
            let path = path.to_path_buf();
            let reason = format!("{found_bytes} bytes, the limit is {MAX_BYTES}");
            Err(ConfigError::Malformed { path, reason }.into())
        }
    }
}

/// Reads the JSON object in `name`, or returns `None` where the file is absent.
///
/// # Errors
///
/// [`ConfigError::Malformed`] when it is no JSON object or too large.
pub(super) fn read_object(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let Some(bytes) = read_config(folder, name)? else {
        return Ok(None);
    };
    let malformed = |reason: String| ConfigError::Malformed {
        path: folder.join(name),
        reason,
    };
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(malformed("the file holds no JSON object".to_string()).into()),
        Err(error) => Err(malformed(error.to_string()).into()),
    }
}
