//! Reading the small files of a model folder, with limits.

mod values;

use std::cell::Cell;
use std::path::Path;

use serde::de::DeserializeSeed;
use serde_json::Value;

pub(crate) use self::values::CountedValue;
use crate::error::{Result, TokenizerError};
use crate::files::{self, Contents};

/// Largest configuration file that is read. The largest seen, with an embedded chat template and
/// thousands of added tokens, has 2 MiB.
const MAX_CONFIG_BYTES: u64 = 8 << 20;

/// Most JSON values in such a file; five times the most seen, for six thousand added tokens.
const MAX_CONFIG_VALUES: usize = 1 << 18;

/// Reads `name` in `folder`, or returns `None` where it is absent.
///
/// # Errors
///
/// [`Error::Io`](crate::Error::Io) when the file cannot be read or is no regular file,
/// [`TokenizerError::TooLarge`] when it has more than `limit_bytes`.
pub(crate) fn read_bytes(folder: &Path, name: &str, limit_bytes: u64) -> Result<Option<Vec<u8>>> {
    match files::read_capped(&folder.join(name), limit_bytes)? {
        Contents::Absent => Ok(None),
        Contents::Bytes(bytes) => Ok(Some(bytes)),
        Contents::TooLarge { found_bytes } => {
            let file = name.to_string();
            Err(TokenizerError::TooLarge {
                file,
                found_bytes,
                limit_bytes,
            }
            .into())
        }
    }
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
fn parse_json(bytes: &[u8], name: &str) -> Result<Value, TokenizerError> {
    let left = Cell::new(MAX_CONFIG_VALUES);
    parse_seed(bytes, name, CountedValue::new(&left))
}

/// Parses `bytes` as JSON, as Python writes it, into what `seed` makes of it; `name` is for the
/// error.
pub(crate) fn parse_seed<S: for<'de> DeserializeSeed<'de, Value = T>, T>(
    bytes: &[u8],
    name: &str,
    seed: S,
) -> Result<T, TokenizerError> {
    let bytes = files::python_json(bytes);
    let mut parser = serde_json::Deserializer::from_slice(&bytes);
    let parsed = seed.deserialize(&mut parser);
    let ended = parsed.and_then(|value| parser.end().map(|()| value));
    ended.map_err(|error| TokenizerError::Malformed {
        file: name.to_string(),
        reason: error.to_string(),
    })
}
