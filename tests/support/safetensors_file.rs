use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// A safetensors file taken apart, to be written again with something wrong in it.
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    pub(crate) header: Map<String, Value>,
    pub(crate) data: Vec<u8>,
}

impl SafetensorsFile {
    /// Reads a sound file.
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = fs::read(path).expect("the fixture has this file");
        let (length, rest) = bytes
            .split_first_chunk::<8>()
            .expect("the fixture is sound");
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header = serde_json::from_slice(header).expect("the fixture is sound");
        Self {
            path: path.to_path_buf(),
            header,
            data: data.to_vec(),
        }
    }

    /// Where the bytes of a tensor lie in `data`.
    pub(crate) fn range(&self, tensor: &str) -> std::ops::Range<usize> {
        let offset = |index: usize| {
            let offset = self.header[tensor]["data_offsets"][index].as_u64();
            offset.expect("the fixture is sound") as usize
        };
        offset(0)..offset(1)
    }

    /// Overwrites the bf16 numbers `at` of a tensor with `value`.
    pub(crate) fn fill_bf16(&mut self, tensor: &str, at: std::ops::Range<usize>, value: f32) {
        let start = self.range(tensor).start;
        let bytes = half::bf16::from_f32(value).to_le_bytes();
        for number in self.data[start + 2 * at.start..start + 2 * at.end].chunks_exact_mut(2) {
            number.copy_from_slice(&bytes);
        }
    }

    /// Adds a tensor behind all others.
    pub(crate) fn push(&mut self, tensor: &str, dtype: &str, shape: &[usize], bytes: &[u8]) {
        let start = self.data.len();
        self.data.extend_from_slice(bytes);
        let offsets = [start, self.data.len()];
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": offsets});
        self.header.insert(tensor.to_string(), entry);
    }

    /// Gives a tensor another name.
    pub(crate) fn rename(&mut self, tensor: &str, name: &str) {
        let entry = self
            .header
            .remove(tensor)
            .expect("the fixture has this tensor");
        self.header.insert(name.to_string(), entry);
    }

    /// Writes the file in place of the one that was read.
    pub(crate) fn write(&self) {
        self.write_with_header(&Value::Object(self.header.clone()).to_string());
    }

    /// As [`write`](Self::write), with a header that is no JSON object, or one that repeats keys.
    pub(crate) fn write_with_header(&self, header: &str) {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&self.data);
        fs::write(&self.path, bytes).expect("a temporary folder takes a file");
    }
}
