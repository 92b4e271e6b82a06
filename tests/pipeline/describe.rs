//! A description says of a model what opening it would show.

use anyhow::{Context, Result, ensure};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::MatrixType;
use burn_vlm::{ConfigError, Error, LoadOptions, ModelDescription};

use crate::fixture::{fixture_names, open_with};
use crate::support::model_folder;

laws![
    a_sound_model_has_no_problem_and_takes_the_memory_that_is_said,
    a_model_that_cannot_be_run_is_told_by_its_tensors,
];

fn a_sound_model_has_no_problem_and_takes_the_memory_that_is_said<B: VlmBackend>() -> Result<()> {
    for name in fixture_names()? {
        let folder = model_folder(&name);
        let description = ModelDescription::of::<B>(&folder, &B::Device::default());
        ensure!(
            description.problems.is_empty(),
            "{name}: {:?}",
            description.problems
        );
        let memory = |matrices| {
            let mut lines = description.memory.iter();
            lines
                .find(|(listed, _)| *listed == matrices)
                .map(|(_, bytes)| *bytes)
        };
        let pipeline = open_with::<B>(&name, LoadOptions::new().with_weights(MatrixType::F32))?;
        let report = pipeline.load_report();
        assert_eq!(memory(MatrixType::F32), Some(report.kept_bytes), "{name}");
        let fit = description.fit.as_ref().with_context(|| name.clone())?;
        assert_eq!(fit.applied, report.applied, "{name}");
        let stored: u64 = description.stored.values().map(|stored| stored.bytes).sum();
        ensure!(stored >= report.stored_bytes, "{name}");
        // Matrices are nearly all of a model.
        let halved = memory(MatrixType::F16).with_context(|| name.clone())?;
        ensure!(halved < report.kept_bytes, "{name}");
    }
    Ok(())
}

fn a_model_that_cannot_be_run_is_told_by_its_tensors<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let weights = model_folder("llava").join("model.safetensors");
    std::fs::copy(weights, folder.path().join("model.safetensors"))?;
    let description = ModelDescription::of::<B>(folder.path(), &B::Device::default());
    let is_unknown = |error: &Error| matches!(error, Error::Config(ConfigError::UnknownModel { missing, .. }) if missing.contains("config.json"));
    ensure!(
        description.problems.iter().any(is_unknown),
        "{:?}",
        description.problems
    );
    let resemblance = description.resemblance.context("its tensors tell")?;
    assert_eq!(resemblance.nearest_family, "llava");
    ensure!(!description.stored.is_empty());
    Ok(())
}
