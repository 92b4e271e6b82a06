//! Files for the tests of this layer, written byte by byte so that they can be wrong on purpose.

use std::path::{Path, PathBuf};

use super::element::ElementType;
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

/// A safetensors file of tensors by name, element type, shape and bytes.
pub(super) fn typed_safetensors(tensors: &[(&str, &str, &[usize], Vec<u8>)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend_from_slice(bytes);
        let end = data.len();
        entries.push(format!(
            r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        ));
    }
    safetensors(&format!("{{{}}}", entries.join(",")), &data)
}

/// A safetensors file of f32 tensors, each counting up from 0.
pub(super) fn f32_safetensors(tensors: &[(&str, &[usize])]) -> Vec<u8> {
    let counting = |shape: &[usize]| {
        let values = 0..shape.iter().product::<usize>();
        values
            .flat_map(|value| (value as f32).to_le_bytes())
            .collect()
    };
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, shape)| (*name, "F32", *shape, counting(shape)))
        .collect();
    typed_safetensors(&tensors)
}

/// A safetensors file of zeros in the types named.
pub(super) fn zeros_safetensors(tensors: &[(&str, &str, &[usize])]) -> Vec<u8> {
    let zeros = |dtype: &str, shape: &[usize]| {
        let element = ElementType::from_name(dtype).expect("a type of safetensors");
        vec![0; element.len_bytes(shape).expect("a small shape")]
    };
    let tensors: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, shape)| (*name, *dtype, *shape, zeros(dtype, shape)))
        .collect();
    typed_safetensors(&tensors)
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
