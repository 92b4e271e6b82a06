//! What a GGUF file says of its model.

use std::collections::BTreeMap;

use super::reader::Reader;
use crate::error::{CheckpointError, Result};
use crate::weights::limits::{MAX_METADATA_VALUES, MAX_NAME_BYTES};

/// Lists in lists: no model has any.
const MAX_DEPTH: u64 = 2;

/// The entries of a GGUF file by key, such as `llama.block_count`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GgufMetadata {
    entries: BTreeMap<String, GgufValue>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum GgufValue {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Float(f64),
    /// A text.
    Text(String),
    /// Several of the first.
    Bools(Vec<bool>),
    /// Several whole numbers.
    Integers(Vec<i64>),
    /// Several numbers.
    Floats(Vec<f32>),
    /// Several texts.
    Texts(Vec<String>),
    /// Lists in a list, which no model needs: they are skipped.
    Lists,
}

/// The type of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unsigned(usize),
    Signed(usize),
    F32,
    F64,
    Bool,
    Text,
    List,
}

impl Kind {
    fn read(reader: &mut Reader) -> Result<Self> {
        Ok(match reader.u32()? {
            0 => Self::Unsigned(1),
            1 => Self::Signed(1),
            2 => Self::Unsigned(2),
            3 => Self::Signed(2),
            4 => Self::Unsigned(4),
            5 => Self::Signed(4),
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Text,
            9 => Self::List,
            10 => Self::Unsigned(8),
            11 => Self::Signed(8),
            12 => Self::F64,
            found => {
                let reason = format!("a metadata entry is of the type {found}, which is none");
                return Err(reader.file.malformed(reader.format, reason));
            }
        })
    }
}

impl GgufMetadata {
    /// The value of an entry.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&GgufValue> {
        self.entries.get(key)
    }

    /// Every entry.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &GgufValue)> {
        let entries = self.entries.iter();
        entries.map(|(key, value)| (key.as_str(), value))
    }

    pub(super) fn insert(&mut self, key: &str, value: GgufValue) {
        self.entries.insert(key.to_string(), value);
    }

    pub(super) fn read(reader: &mut Reader, num_entries: u64) -> Result<Self> {
        let mut metadata = Self::default();
        let mut num_values = 0;
        for _ in 0..num_entries {
            let key = reader.text("the key of a metadata entry")?;
            check_key(reader, &key)?;
            let value = read_value(reader, &mut num_values)?;
            if metadata.entries.insert(key.clone(), value).is_some() {
                let reason = format!("it has two metadata entries `{key}`");
                return Err(reader.file.malformed(reader.format, reason));
            }
        }
        Ok(metadata)
    }
}

fn check_key(reader: &Reader, key: &str) -> Result<()> {
    reader.file.require_at_most(
        MAX_NAME_BYTES as u64,
        "the length of a metadata key in bytes",
        key.len() as u64,
    )?;
    if key.is_empty() || key.chars().any(char::is_control) {
        let reason = format!("a metadata entry has the key {key:?}");
        return Err(reader.file.malformed(reader.format, reason));
    }
    Ok(())
}

fn read_value(reader: &mut Reader, num_values: &mut u64) -> Result<GgufValue> {
    Ok(match Kind::read(reader)? {
        Kind::Bool => GgufValue::Bool(read_bool(reader)?),
        Kind::Unsigned(size) => GgufValue::Integer(saturated(reader.bytes(size as u64)?)),
        Kind::Signed(size) => GgufValue::Integer(signed(reader.bytes(size as u64)?)),
        Kind::F32 => GgufValue::Float(f32::from_le_bytes(reader.array()?).into()),
        Kind::F64 => GgufValue::Float(f64::from_le_bytes(reader.array()?)),
        Kind::Text => GgufValue::Text(reader.text("a metadata text")?),
        Kind::List => read_list(reader, num_values, 1)?,
    })
}

fn read_list(reader: &mut Reader, num_values: &mut u64, depth: u64) -> Result<GgufValue> {
    let kind = Kind::read(reader)?;
    let count = reader.u64()?;
    *num_values = num_values.saturating_add(count);
    reader.file.require_at_most(
        MAX_METADATA_VALUES,
        "the number of values in metadata lists",
        *num_values,
    )?;
    Ok(match kind {
        Kind::Bool => {
            let bools = (0..count).map(|_| read_bool(reader));
            GgufValue::Bools(bools.collect::<Result<_>>()?)
        }
        Kind::Unsigned(size) => {
            let bytes = reader.bytes(count * size as u64)?;
            GgufValue::Integers(bytes.chunks_exact(size).map(saturated).collect())
        }
        Kind::Signed(size) => {
            let bytes = reader.bytes(count * size as u64)?;
            GgufValue::Integers(bytes.chunks_exact(size).map(signed).collect())
        }
        Kind::F32 => {
            let (numbers, _) = reader.bytes(count * 4)?.as_chunks();
            let numbers = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes));
            GgufValue::Floats(numbers.collect())
        }
        Kind::F64 => {
            let (numbers, _) = reader.bytes(count * 8)?.as_chunks();
            let numbers = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes));
            GgufValue::Floats(numbers.map(|number| number as f32).collect())
        }
        Kind::Text => {
            let texts = (0..count).map(|_| reader.text("a metadata text"));
            GgufValue::Texts(texts.collect::<Result<_>>()?)
        }
        Kind::List if depth < MAX_DEPTH => {
            for _ in 0..count {
                read_list(reader, num_values, depth + 1)?;
            }
            GgufValue::Lists
        }
        Kind::List => return Err(too_deep(reader).into()),
    })
}

fn too_deep(reader: &Reader) -> CheckpointError {
    CheckpointError::Limit {
        path: reader.file.path().to_path_buf(),
        what: "the depth of lists in metadata",
        found: MAX_DEPTH + 1,
        limit: MAX_DEPTH,
    }
}

fn read_bool(reader: &mut Reader) -> Result<bool> {
    match reader.array()? {
        [0] => Ok(false),
        [1] => Ok(true),
        [found] => {
            let reason = format!("a metadata entry that is true or false is {found}");
            Err(reader.file.malformed(reader.format, reason))
        }
    }
}

fn unsigned(bytes: &[u8]) -> u64 {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(wide)
}

/// No model has a number beyond the largest.
fn saturated(bytes: &[u8]) -> i64 {
    i64::try_from(unsigned(bytes)).unwrap_or(i64::MAX)
}

fn signed(bytes: &[u8]) -> i64 {
    let unused_bits = 64 - 8 * bytes.len();
    (unsigned(bytes) << unused_bits).cast_signed() >> unused_bits
}
