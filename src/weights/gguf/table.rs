//! The table of tensors of a GGUF file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::metadata::{GgufMetadata, GgufValue};
use super::reader::Reader;
use crate::error::{CheckpointError, Result};
use crate::weights::blocks::BlockType;
use crate::weights::element::ElementType;
use crate::weights::file::WeightFile;
use crate::weights::limits::MAX_TENSORS;
use crate::weights::tensor::{Layout, TensorEntry, TensorInfo, check_name_and_rank};

/// Where the data begins, and every tensor in it, where the metadata does not say.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The widest that is taken: a page of 2 MiB.
const MAX_ALIGNMENT: u64 = 2 << 20;

/// Axes that a tensor may have.
const MAX_AXES: u32 = 4;

/// The numbers of the element types that are read.
const TYPES: [(u32, ElementType); 16] = [
    (0, ElementType::F32),
    (1, ElementType::F16),
    (2, ElementType::Blocks(BlockType::Q4_0)),
    (3, ElementType::Blocks(BlockType::Q4_1)),
    (6, ElementType::Blocks(BlockType::Q5_0)),
    (7, ElementType::Blocks(BlockType::Q5_1)),
    (8, ElementType::Blocks(BlockType::Q8_0)),
    (12, ElementType::Blocks(BlockType::Q4K)),
    (13, ElementType::Blocks(BlockType::Q5K)),
    (14, ElementType::Blocks(BlockType::Q6K)),
    (24, ElementType::I8),
    (25, ElementType::I16),
    (26, ElementType::I32),
    (27, ElementType::I64),
    (28, ElementType::F64),
    (30, ElementType::BF16),
];

/// The names of those that are not.
const UNREAD_TYPES: [(u32, &str); 20] = [
    (4, "Q4_2"),
    (5, "Q4_3"),
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// A tensor as the table has it.
struct Row {
    info: TensorInfo,
    /// From the beginning of the data.
    offset: u64,
}

pub(super) fn require_count(file: &WeightFile, num_tensors: u64) -> Result<()> {
    file.require_at_most(MAX_TENSORS as u64, "the number of tensors", num_tensors)
}

/// Reads the table, and checks that every tensor lies in the file, on its own.
pub(super) fn read(
    reader: &mut Reader,
    num_tensors: u64,
    metadata: &GgufMetadata,
) -> Result<BTreeMap<String, TensorEntry>> {
    let alignment = alignment(reader, metadata)?;
    let mut rows = BTreeMap::new();
    for _ in 0..num_tensors {
        let (name, row) = read_row(reader, alignment)?;
        match rows.entry(name) {
            Entry::Vacant(vacant) => vacant.insert(row),
            Entry::Occupied(occupied) => {
                let (tensor, path) = (occupied.key().clone(), reader.file.path().to_path_buf());
                let (first, second) = (path.clone(), path);
                let duplicate = CheckpointError::Duplicate {
                    tensor,
                    first,
                    second,
                };
                return Err(duplicate.into());
            }
        };
    }
    let data_start = reader.position().next_multiple_of(alignment);
    let entry = |(name, row): (String, Row)| {
        let entry = TensorEntry {
            info: row.info,
            offset: data_start.saturating_add(row.offset),
            layout: Layout::Contiguous,
        };
        (name, entry)
    };
    let tensors = rows.into_iter().map(entry).collect();
    require_places(reader.file, &tensors)?;
    Ok(tensors)
}

fn alignment(reader: &Reader, metadata: &GgufMetadata) -> Result<u64> {
    let found = match metadata.get("general.alignment") {
        None => return Ok(DEFAULT_ALIGNMENT),
        Some(GgufValue::Integer(found)) => u64::try_from(*found).unwrap_or_default(),
        Some(_) => 0,
    };
    match found.is_power_of_two() && found <= MAX_ALIGNMENT {
        true => Ok(found),
        false => {
            let reason = "`general.alignment` is no power of two up to 2 MiB";
            Err(reader.file.malformed(reader.format, reason))
        }
    }
}

fn read_row(reader: &mut Reader, alignment: u64) -> Result<(String, Row)> {
    let file = reader.file;
    let name = reader.text("the name of a tensor")?;
    check_name_and_rank(file, &name, 0)?;
    let num_axes = reader.u32()?;
    if !(1..=MAX_AXES).contains(&num_axes) {
        return Err(file.invalid_tensor(&name, format!("has {num_axes} axes, not 1 to {MAX_AXES}")));
    }
    let mut shape = (0..num_axes)
        .map(|_| reader.u64())
        .collect::<Result<Vec<_>>>()?;
    // The file names the axis first along which elements are neighbours.
    shape.reverse();
    let element_type = element_type(file, &name, reader.u32()?)?;
    let offset = reader.u64()?;
    if !offset.is_multiple_of(alignment) {
        let reason = format!("lies at {offset}, which is no multiple of {alignment}");
        return Err(file.invalid_tensor(&name, reason));
    }
    let info = tensor_info(file, &name, element_type, &shape)?;
    Ok((name, Row { info, offset }))
}

/// The element type that has the number `found`.
///
/// # Errors
///
/// [`CheckpointError::Unsupported`] if it is not read.
pub(super) fn element_type(file: &WeightFile, name: &str, found: u32) -> Result<ElementType> {
    let known = TYPES.iter().find(|(number, _)| *number == found);
    known.map(|(_, element_type)| *element_type).ok_or_else(|| {
        let unread = UNREAD_TYPES.iter().find(|(number, _)| *number == found);
        let type_name = unread.map_or_else(|| format!("number {found}"), |it| it.1.to_string());
        let found = format!("holding the tensor `{name}` of the element type {type_name}");
        let remedy =
            "take the model in F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K";
        file.unsupported(found, remedy)
    })
}

/// # Errors
///
/// [`CheckpointError::InvalidTensor`] if the shape is none, or no whole number of blocks.
pub(super) fn tensor_info(
    file: &WeightFile,
    name: &str,
    element_type: ElementType,
    shape: &[u64],
) -> Result<TensorInfo> {
    let axes: Result<Vec<usize>, _> = shape.iter().map(|axis| usize::try_from(*axis)).collect();
    let axes = axes.ok().filter(|axes| !axes.contains(&0));
    let block_len = element_type.block_len();
    let columns = axes.as_ref().and_then(|axes| axes.last());
    if columns.is_some_and(|columns| !columns.is_multiple_of(block_len)) {
        let reason = format!("has the shape {shape:?}, whose rows are no blocks of {block_len}");
        return Err(file.invalid_tensor(name, reason));
    }
    axes.and_then(|axes| TensorInfo::new(element_type, axes))
        .ok_or_else(|| file.invalid_tensor(name, format!("has the shape {shape:?}")))
}

/// Every tensor must lie in the file, and no two at one place.
pub(super) fn require_places(
    file: &WeightFile,
    tensors: &BTreeMap<String, TensorEntry>,
) -> Result<()> {
    let mut places: Vec<_> = tensors
        .iter()
        .map(|(name, entry)| (entry.offset, entry.info.len_bytes() as u64, name))
        .collect();
    places.sort_unstable();
    let mut taken = 0;
    for (offset, len_bytes, name) in places {
        let end = offset.saturating_add(len_bytes);
        if end > file.len_bytes() {
            return Err(CheckpointError::Truncated {
                path: file.path().to_path_buf(),
                offset,
                len_bytes,
            }
            .into());
        }
        if offset < taken {
            return Err(file.invalid_tensor(name, "overlaps the tensor before it"));
        }
        taken = end;
    }
    Ok(())
}
