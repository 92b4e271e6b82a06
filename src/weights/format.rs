//! Tells the format of a weight file by its first bytes, and reads its tensors.

use std::collections::BTreeMap;

use super::file::WeightFile;
use super::tensor::TensorEntry;
use super::{gguf, pytorch, safetensors};
use crate::error::Result;

/// What a file begins with; the longest beginning that is looked for has 20 bytes.
const BEGINNING_BYTES: u64 = 20;

const ZIP: &[u8] = b"PK\x03\x04";
const GIT_LFS: &[u8] = b"version https://git-";

/// The tensors of a file, by name.
///
/// # Errors
///
/// [`CheckpointError`](crate::error::CheckpointError) if it is no safetensors, PyTorch or GGUF
/// file, or a damaged one.
pub(super) fn read_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    let beginning = file.read(0, file.len_bytes().min(BEGINNING_BYTES))?;
    if beginning.starts_with(ZIP) {
        return pytorch::read_tensors(file);
    }
    if beginning.starts_with(pytorch::LEGACY_MAGIC) {
        return pytorch::read_legacy_tensors(file);
    }
    if beginning.starts_with(GIT_LFS) {
        let remedy = "fetch the file itself, for example by `git lfs pull`";
        return Err(file.unsupported("the placeholder of a file in Git LFS", remedy));
    }
    if gguf::is_gguf(&beginning) || gguf::is_legacy(&beginning) {
        return gguf::read_tensors(file);
    }
    let extension = file.path().extension();
    if extension.is_some_and(|extension| extension == "bin" || extension == "pth") {
        return Err(file.malformed("PyTorch", "it does not start as a zip archive does"));
    }
    safetensors::read_tensors(file)
}
