//! Reading the configuration files of a model folder.

use std::path::Path;

use serde_json::{Map, Value};

use crate::error::{ConfigError, Result};
use crate::files;

/// Largest configuration that is read. The largest seen has 50 KiB.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the JSON object in `name`, or returns `None` where the file is absent.
///
/// # Errors
///
/// [`ConfigError::Malformed`] when it is no JSON object or too large.
pub(super) fn read_object(folder: &Path, name: &str) -> Result<Option<Map<String, Value>>> {
    let path = folder.join(name);
    let malformed = |reason: String| ConfigError::Malformed { path: path.clone(), reason };
    let bytes = match files::read_capped(&path, MAX_BYTES)? {
        files::Contents::Absent => return Ok(None),
        files::Contents::TooLarge { found_bytes } => {
            return Err(malformed(format!("{found_bytes} bytes, the limit is {MAX_BYTES}")).into());
        }
        files::Contents::Bytes(bytes) => bytes,
    };
    match serde_json::from_slice(files::without_byte_order_mark(&bytes)) {
        Ok(Value::Object(object)) => Ok(Some(object)),
        Ok(_) => Err(malformed("the file holds no JSON object".to_string()).into()),
        Err(error) => Err(malformed(error.to_string()).into()),
    }
}
