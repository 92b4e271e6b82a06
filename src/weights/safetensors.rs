//! The safetensors format: a length, a JSON header of tensors, then their bytes.
//!
//! The `safetensors` crate's own parser wants the whole file as one slice, keeps the last of two
//! equal keys, adds lengths without a check, and reports most faults without the tensor's name.
//! The tests hold this reader against it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::element::ElementType;
use super::file::WeightFile;
use super::limits::{MAX_HEADER_BYTES, MAX_TENSORS};
use super::tensor::{Layout, TensorEntry, TensorInfo, check_name_and_rank};
use super::unique_map::UniqueMap;
use crate::error::{CheckpointError, Error, Result};

const FORMAT: &str = "safetensors";

/// Bytes of the header's length, which opens the file.
const LENGTH_BYTES: u64 = 8;

/// What a header says of a tensor.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderEntry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: [u64; 2],
}

/// The tensors of a safetensors file, by name.
///
/// # Errors
///
/// [`CheckpointError`] if the header is not one, or if the tensors do not fill the rest of the
/// file exactly, each once.
pub(super) fn read_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    let (header, data_start) = read_header(file)?;
    for (name, entry) in &header {
        check_name_and_rank(file, name, entry.shape.len())?;
    }
    check_tiling(file, &header, file.len_bytes() - data_start)?;
    header
        .into_iter()
        .map(|(name, entry)| {
            let entry = check_entry(file, &name, entry, data_start)?;
            Ok((name, entry))
        })
        .collect()
}

fn read_header(file: &WeightFile) -> Result<(BTreeMap<String, HeaderEntry>, u64)> {
    let Some(room) = file.len_bytes().checked_sub(LENGTH_BYTES) else {
        return Err(file.malformed(FORMAT, "shorter than the 8 bytes of its header's length"));
    };
    let mut length = [0; LENGTH_BYTES as usize];
    file.read_into(0, &mut length)?;
    let header_bytes = u64::from_le_bytes(length);
    file.require_at_most(
        MAX_HEADER_BYTES,
        "the header's length in bytes",
        header_bytes,
    )?;
    if header_bytes > room {
        let reason = format!("its header has {header_bytes} bytes, the file has room for {room}");
        return Err(file.malformed(FORMAT, reason));
    }
    let header = file.read(LENGTH_BYTES, header_bytes)?;
    Ok((parse_header(file, &header)?, LENGTH_BYTES + header_bytes))
}

fn parse_header(file: &WeightFile, header: &[u8]) -> Result<BTreeMap<String, HeaderEntry>> {
    let map: UniqueMap<HeaderEntry> = serde_json::from_slice(header)
        .map_err(|error| file.malformed(FORMAT, format!("its header is wrong: {error}")))?;
    file.require_at_most(
        MAX_TENSORS as u64,
        "the number of tensors",
        map.count as u64,
    )?;
    if let Some(tensor) = map.repeated {
        let path = file.path().to_path_buf();
        let duplicate = CheckpointError::Duplicate {
            tensor,
            first: path.clone(),
            second: path,
        };
        return Err(duplicate.into());
    }
    Ok(map.entries)
}

/// Tensors must lie end to end and fill the data: a gap could hide another file in this one.
fn check_tiling(
    file: &WeightFile,
    header: &BTreeMap<String, HeaderEntry>,
    data_bytes: u64,
) -> Result<()> {
    let mut ranges: Vec<_> = header
        .iter()
        .map(|(name, entry)| (entry.data_offsets, name))
        .collect();
    ranges.sort_unstable();
    let mut end_of_last = 0;
    for ([start, end], name) in ranges {
        let reason = match start.cmp(&end_of_last) {
            _ if end < start => format!("ends at {end}, before its start at {start}"),
            _ if end > data_bytes => format!("ends at {end} of {data_bytes} bytes of data"),
            std::cmp::Ordering::Less => format!("overlaps the tensor before it: starts at {start}"),
            std::cmp::Ordering::Greater => format!("leaves a gap from {end_of_last} to {start}"),
            std::cmp::Ordering::Equal => {
                end_of_last = end;
                continue;
            }
        };
        return Err(file.invalid_tensor(name, reason));
    }
    if end_of_last < data_bytes {
        let rest = data_bytes - end_of_last;
        return Err(file.malformed(
            FORMAT,
            format!("{rest} bytes at its end belong to no tensor"),
        ));
    }
    Ok(())
}

fn check_entry(
    file: &WeightFile,
    name: &str,
    entry: HeaderEntry,
    data_start: u64,
) -> Result<TensorEntry> {
    let [start, end] = entry.data_offsets;
    let Some(element_type) = ElementType::from_name(&entry.dtype) else {
        return Err(unknown_element_type(file, name, &entry.dtype));
    };
    let info = TensorInfo::new(element_type, entry.shape)
        .ok_or_else(|| file.invalid_tensor(name, "has a shape whose product overflows"))?;
    if end - start != info.len_bytes() as u64 {
        let (found, needed) = (end - start, info.len_bytes());
        let reason = format!(
            "has {found} bytes, its shape {:?} needs {needed}",
            info.shape()
        );
        return Err(file.invalid_tensor(name, reason));
    }
    Ok(TensorEntry {
        info,
        offset: data_start + start,
        layout: Layout::Contiguous,
    })
}

fn unknown_element_type(file: &WeightFile, name: &str, found: &str) -> Error {
    let short: String = found.chars().take(32).collect();
    let found = format!("holding the tensor `{name}` of the unknown element type `{short}`");
    file.unsupported(found, "convert the weights to F32, F16 or BF16")
}

#[cfg(test)]
mod tests;
