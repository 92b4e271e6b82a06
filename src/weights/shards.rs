//! Writing safetensors files, one behind the other, and the index that says what each holds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, json};

use super::element::ElementType;
use crate::error::{CheckpointError, Result};

/// A header is padded to a multiple of this, so that the tensors behind it are aligned.
const ALIGNMENT: usize = 8;

/// A tensor before its values are there.
#[derive(Debug)]
pub(super) struct TensorToWrite {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) element_type: ElementType,
}

impl TensorToWrite {
    fn len_bytes(&self) -> u64 {
        let elements: usize = self.shape.iter().product();
        (elements * self.element_type.size_bytes()) as u64
    }
}

/// Which tensors go into which file: in their order, as many as `max_bytes` hold, and at least one.
pub(super) fn plan_shards(tensors: &[TensorToWrite], max_bytes: u64) -> Vec<&[TensorToWrite]> {
    let (mut shards, mut first, mut bytes) = (Vec::new(), 0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        let len_bytes = tensor.len_bytes();
        if index > first && bytes + len_bytes > max_bytes {
            shards.push(&tensors[first..index]);
            (first, bytes) = (index, 0);
        }
        bytes += len_bytes;
    }
    shards.push(&tensors[first..]);
    shards
}

/// What file `position` of `num_shards` is called.
pub(super) fn shard_name(position: usize, num_shards: usize) -> String {
    format!("model-{:05}-of-{num_shards:05}.safetensors", position + 1)
}

/// One file that is being written.
#[derive(Debug)]
pub(super) struct ShardWriter {
    file: BufWriter<File>,
    path: PathBuf,
}

impl ShardWriter {
    /// Begins a file; the values of `tensors` follow in order.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotWritten`], also if there is such a file already.
    pub(super) fn create(path: &Path, tensors: &[TensorToWrite]) -> Result<Self> {
        let mut writer = Self::open(path)?;
        let mut header = header(tensors).to_string().into_bytes();
        header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
        writer.write(&(header.len() as u64).to_le_bytes())?;
        writer.write(&header)?;
        Ok(writer)
    }

    /// Writes the index of the files that hold `tensors`.
    ///
    /// # Errors
    ///
    /// As [`create`](Self::create).
    pub(super) fn write_index(
        folder: &Path,
        weight_map: &BTreeMap<String, String>,
        tensors: &[TensorToWrite],
    ) -> Result<()> {
        let total_size: u64 = tensors.iter().map(TensorToWrite::len_bytes).sum();
        let index = json!({"metadata": {"total_size": total_size}, "weight_map": weight_map});
        let mut writer = Self::open(&folder.join("model.safetensors.index.json"))?;
        writer.write(format!("{index:#}\n").as_bytes())?;
        writer.finish()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.file.write_all(bytes);
        written.map_err(CheckpointError::write(&self.path))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        let flushed = self.file.flush();
        flushed.map_err(CheckpointError::write(&self.path))
    }

    fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let file = BufWriter::new(file.map_err(CheckpointError::write(path))?);
        let path = path.to_path_buf();
        Ok(Self { file, path })
    }
}

fn header(tensors: &[TensorToWrite]) -> serde_json::Value {
    let mut header = Map::new();
    header.insert("__metadata__".to_string(), json!({"format": "pt"}));
    let mut start = 0;
    for tensor in tensors {
        let end = start + tensor.len_bytes();
        let entry = json!({
            "dtype": tensor.element_type.name(),
            "shape": tensor.shape,
            "data_offsets": [start, end],
        });
        header.insert(tensor.name.clone(), entry);
        start = end;
    }
    header.into()
}
