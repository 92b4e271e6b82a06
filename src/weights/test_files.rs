//! Files for the tests of this layer, written byte by byte so that they can be wrong on purpose.

use std::path::{Path, PathBuf};

use crate::error::{CheckpointError, Error};

/// The folder of files that torch wrote.
pub(super) fn pytorch_fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytorch")
}

/// A temporary folder with these files.
pub(super) fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// The error of this layer that `result` must be.
pub(super) fn checkpoint_error<T>(result: Result<T, Error>) -> CheckpointError {
    match result.err().expect("the input is wrong") {
        Error::Checkpoint(error) => error,
        other => panic!("not a checkpoint error: {other}"),
    }
}

/// A safetensors file of any header.
pub(super) fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A safetensors file of f32 tensors, each counting up from 0.
pub(super) fn f32_safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, shape) in tensors {
        let start = data.len();
        for value in 0..shape.iter().product::<usize>() {
            data.extend_from_slice(&(value as f32).to_le_bytes());
        }
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"F32","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    safetensors(&format!("{{{}}}", entries.join(",")), &data)
}

/// A zip archive of stored entries.
pub(super) fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let offset = file.len() as u32;
        let sizes = [0, content.len() as u32, content.len() as u32];
        file.extend(0x0403_4b50u32.to_le_bytes());
        file.extend([0; 10]);
        file.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        file.extend((name.len() as u32).to_le_bytes());
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(content);
        directory.extend(0x0201_4b50u32.to_le_bytes());
        directory.extend([0; 12]);
        directory.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        directory.extend((name.len() as u32).to_le_bytes());
        directory.extend([0; 10]);
        directory.extend(offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let (offset, len) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend(0x0605_4b50u32.to_le_bytes());
    file.extend([0; 4]);
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend((entries.len() as u16).to_le_bytes());
    file.extend(len.to_le_bytes());
    file.extend(offset.to_le_bytes());
    file.extend([0; 2]);
    file
}
