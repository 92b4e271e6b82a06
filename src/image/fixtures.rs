//! Pictures and values that Pillow and transformers made; the folders hold their generators.

use std::fs;
use std::path::PathBuf;

use safetensors::SafeTensors;

use super::{ImageInput, ImageSize};

pub(crate) fn path(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    fs::read(path(name)).unwrap()
}

/// The RGB picture of a u8 tensor `[height, width, 3]`.
pub(crate) fn picture(tensors: &SafeTensors<'_>, name: &str) -> ImageInput {
    let tensor = tensors.tensor(name).unwrap();
    let &[height, width, 3] = tensor.shape() else {
        panic!("{name} is no picture")
    };
    ImageInput::from_rgb8(ImageSize::new(height, width), tensor.data().to_vec()).unwrap()
}

pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = tensors.tensor(name).unwrap();
    let (values, rest) = tensor.data().as_chunks();
    assert_eq!(rest.len(), 0, "{name} holds whole floats");
    (
        tensor.shape().to_vec(),
        values
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect(),
    )
}

/// A size written as `HEIGHTxWIDTH`.
pub(crate) fn size(text: &str) -> ImageSize {
    let (height, width) = text.split_once('x').unwrap();
    ImageSize::new(height.parse().unwrap(), width.parse().unwrap())
}
