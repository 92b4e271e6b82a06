//! The fixtures of `tests/fixtures/models`, and opening their models.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{FAMILIES, Family, ImageInput, LoadOptions, ModelSpec, MultimodalPipeline};

use crate::reference::Fixture;
use crate::support::{model_folder, repository};

/// A model that sees, with random weights and 16 rows a picture.
pub(crate) const LLAVA: &str = "llava";

/// The model that sees and reads the question into the rows of a picture.
pub(crate) const INSTRUCTBLIP: &str = "instructblip";

/// The families of the register that read text only.
const TEXT_FAMILIES: [&str; 3] = ["llama", "mistral", "gpt-neox"];

/// A fixture that stands for its family in the laws that hold for all of them.
pub(crate) struct FamilyModel {
    /// The folder of the fixture.
    pub(crate) name: String,
    /// Its name in the register.
    pub(crate) family: &'static str,
    /// Whether it sees.
    pub(crate) sees: bool,
}

/// Models of every family of the register; a family without a fixture is an error. Those whose layout
/// on the disk alone is another are left to the tests of loading, and one that rotates all positions
/// anew as a sequence grows to its own.
pub(crate) fn family_models() -> Result<Vec<FamilyModel>> {
    let is_another_layout = |name: &&String| {
        name.starts_with("gg") || name.ends_with("_lora") || *name == "dynamic_rope"
    };
    let names = fixture_names()?;
    let model = |name: &String| -> Result<FamilyModel> {
        let spec = ModelSpec::read(&model_folder(name)).context(name.clone())?;
        Ok(FamilyModel {
            name: name.clone(),
            family: spec.family.name,
            sees: spec.config.vision.is_some(),
        })
    };
    let names = names.iter().filter(|name| !is_another_layout(name));
    let models = names.map(model).collect::<Result<Vec<_>>>()?;
    for Family { name, .. } in FAMILIES {
        let mut of_family = models.iter().filter(|model| model.family == *name);
        let is_there = match TEXT_FAMILIES.contains(name) {
            true => of_family.next().is_some(),
            false => of_family.any(|model| model.sees),
        };
        ensure!(
            is_there,
            "tests/fixtures/models has no model of the family {name}, or none that sees as it does"
        );
    }
    Ok(models)
}

/// The names of all models of [`family_models`] that see.
pub(crate) fn seeing_models() -> Result<Vec<String>> {
    let seeing = family_models()?.into_iter().filter(|model| model.sees);
    Ok(seeing.map(|model| model.name).collect())
}

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
