//! What the integration tests share: where models and pictures lie, and files to be damaged.

#[path = "../../examples/common/repository.rs"]
mod repository;
mod safetensors_file;

use std::fs;
use std::path::{Path, PathBuf};

use burn_vlm::ImageInput;
use burn_vlm::image::ImageSize;
use serde_json::Value;

pub(crate) use repository::repository;
pub(crate) use safetensors_file::SafetensorsFile;

/// The checkpoint of a fixture.
pub(crate) fn model_folder(name: &str) -> PathBuf {
    repository("tests/fixtures/models").join(name).join("model")
}

/// Copies the checkpoint of a fixture into `folder`, where it may be damaged.
pub(crate) fn copy_model(name: &str, folder: &Path) {
    copy_folder(&model_folder(name), folder);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("the fixture is part of the repository") {
        let path = entry.expect("a readable folder").path();
        let copy = to.join(path.file_name().expect("an entry of a folder has a name"));
        if path.is_dir() {
            fs::create_dir(&copy).expect("a temporary folder takes a folder");
            copy_folder(&path, &copy);
        } else {
            fs::copy(&path, copy).expect("a temporary folder takes a file");
        }
    }
}

/// Changes a JSON file.
pub(crate) fn edit_json(path: &Path, edit: impl FnOnce(&mut Value)) {
    let text = fs::read(path).expect("the fixture has this file");
    let mut value = serde_json::from_slice(&text).expect("the fixture is sound");
    edit(&mut value);
    fs::write(path, value.to_string()).expect("a temporary folder takes a file");
}

/// A picture of stripes; another `shift`, another picture.
pub(crate) fn picture(shift: u8) -> ImageInput {
    let size = ImageSize::new(40, 52);
    let pixels = (0..size.height * size.width).flat_map(|at| {
        let (row, column) = (at / size.width, at % size.width);
        let stripe = ((row / 7 + column / 5) * 60) as u8;
        [
            stripe.wrapping_add(shift),
            shift.wrapping_mul(3),
            (4 * column) as u8 ^ shift,
        ]
    });
    ImageInput::from_rgb8(size, pixels.collect()).expect("the buffer has this size")
}
