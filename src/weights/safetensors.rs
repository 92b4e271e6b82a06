//! The safetensors format: a length, a JSON header of tensors, then their bytes.
//!
//! The `safetensors` crate says what a header means and whether its tensors lie end to end. Its
//! own readers want the whole file in memory and keep the last of two equal keys.

use std::collections::BTreeMap;

use ::safetensors::SafeTensorError;
use ::safetensors::tensor::Metadata;

use super::element::ElementType;
use super::file::WeightFile;
use super::limits::{MAX_HEADER_BYTES, MAX_TENSORS};
use super::tensor::{Layout, TensorEntry, TensorInfo, check_name_and_rank};
use super::unique_map::UniqueMap;
use crate::error::{CheckpointError, Result, visible};

const FORMAT: &str = "safetensors";

/// Bytes of the header's length, which opens the file.
const LENGTH_BYTES: u64 = 8;

/// What a header says of its tensors, by name.
type Header = BTreeMap<String, ::safetensors::tensor::TensorInfo>;

/// The tensors of a safetensors file, by name.
///
/// # Errors
///
/// [`CheckpointError`] if the header is not one, or if the tensors do not fill the rest of the
/// file exactly, each once.
pub(super) fn read_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    let (header, data_start) = read_header(file)?;
    let mut tensors = BTreeMap::new();
    for (name, info) in &header {
        check_name_and_rank(file, name, info.shape.len())?;
        tensors.insert(name.clone(), tensor_entry(file, name, info, data_start)?);
    }
    require_tiling(file, header, file.len_bytes() - data_start)?;
    Ok(tensors)
}

fn read_header(file: &WeightFile) -> Result<(Header, u64)> {
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

fn parse_header(file: &WeightFile, header: &[u8]) -> Result<Header> {
    let map: UniqueMap<_> = serde_json::from_slice(header)
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

fn tensor_entry(
    file: &WeightFile,
    name: &str,
    info: &::safetensors::tensor::TensorInfo,
    data_start: u64,
) -> Result<TensorEntry> {
    let (start, end) = info.data_offsets;
    let Some(element_type) = ElementType::from_name(&info.dtype.to_string()) else {
        let found = format!(
            "holding the tensor `{}` of the element type {}",
            visible(name),
            info.dtype
        );
        return Err(file.unsupported(found, "convert the weights to F32, F16 or BF16"));
    };
    let info = TensorInfo::new(element_type, info.shape.clone())
        .ok_or_else(|| file.invalid_tensor(name, "has a shape whose product overflows"))?;
    if end.checked_sub(start) != Some(info.len_bytes()) {
        let (shape, needed) = (info.shape(), info.len_bytes());
        let reason = format!("lies at {start}..{end}, its shape {shape:?} needs {needed} bytes");
        return Err(file.invalid_tensor(name, reason));
    }
    Ok(TensorEntry {
        info,
        offset: data_start.saturating_add(start as u64),
        layout: Layout::Contiguous,
    })
}

/// Tensors must lie end to end and fill the data: a gap could hide another file in this one.
fn require_tiling(file: &WeightFile, header: Header, data_bytes: u64) -> Result<()> {
    let mut tensors: Vec<_> = header.into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let metadata = Metadata::new(None, tensors).map_err(|error| match error {
        SafeTensorError::InvalidOffset(tensor) => {
            file.invalid_tensor(&tensor, "overlaps the tensor before it or leaves a gap")
        }
        other => file.malformed(FORMAT, other.to_string()),
    })?;
    match metadata.data_len() as u64 {
        end if end == data_bytes => Ok(()),
        end => {
            let reason = format!("its tensors end at {end} of {data_bytes} bytes of data");
            Err(file.malformed(FORMAT, reason))
        }
    }
}

#[cfg(test)]
mod tests;
