//! The fixtures of `tests/fixtures/models`, and opening their models.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{ImageInput, LoadOptions, MultimodalPipeline};

use crate::reference::Fixture;
use crate::support::{model_folder, repository};

/// A model that sees, with random weights and 16 rows a picture.
pub(crate) const LLAVA: &str = "llava";

/// The models that see, by what makes rows of their features.
pub(crate) const IMAGE_MODELS: [&str; 6] = [
    LLAVA,
    "minigpt4",
    "minigpt4_llama2",
    "minigpt_v2",
    "idefics3",
    "idefics3_whole",
];

/// The model that sees and reads the question into the rows of a picture.
pub(crate) const INSTRUCTBLIP: &str = "instructblip";

/// The models that read text only, and rotate a position the same way in every sequence.
pub(crate) const TEXT_MODELS: [&str; 5] = [
    "vicuna_bin",
    "llama3_rope",
    "linear_rope",
    "attention_bias",
    "gpt_neox",
];

/// Opens the model of a fixture.
pub(crate) fn open<B: VlmBackend>(name: &str) -> Result<MultimodalPipeline<B>> {
    open_with(name, LoadOptions::new())
}

pub(crate) fn open_with<B: VlmBackend>(
    name: &str,
    options: LoadOptions,
) -> Result<MultimodalPipeline<B>> {
    MultimodalPipeline::open(model_folder(name), &options).context(name.to_string())
}

/// Opens the trained model that the repository ships: it answers in words and ends by itself.
pub(crate) fn open_demo<B: VlmBackend>() -> Result<MultimodalPipeline<B>> {
    Ok(MultimodalPipeline::open(
        demo_folder(),
        &LoadOptions::new(),
    )?)
}

pub(crate) fn demo_folder() -> PathBuf {
    repository("examples/demo/model")
}

/// The picture that goes with the trained model.
pub(crate) fn demo_photo() -> Result<ImageInput> {
    Ok(ImageInput::open(repository("examples/demo/photo.png"))?)
}

/// A question of the fixtures, and what the reference implementation computed for it.
pub(crate) fn open_fixture(name: &str) -> Result<Fixture> {
    Fixture::open(&repository("tests/fixtures/models").join(name)).context(name.to_string())
}

/// The names of all fixtures.
pub(crate) fn fixture_names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in repository("tests/fixtures/models").read_dir()? {
        let entry = entry?;
        if entry.path().is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}
