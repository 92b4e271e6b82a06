//! A description says of a model what opening it would show.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::MatrixType;
use burn_vlm::{ConfigError, Error, LoadOptions, ModelDescription, MultimodalPipeline};
use serde_json::json;

use crate::fixture::{LLAVA, fixture_names, open_with};
use crate::support::{SafetensorsFile, copy_model, edit_json, model_folder};

laws![
    a_sound_model_has_no_problem_and_takes_the_memory_that_is_said,
    a_model_that_cannot_be_run_is_told_by_its_tensors,
    what_opening_refuses_is_a_problem_and_what_it_takes_is_none,
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

fn what_opening_refuses_is_a_problem_and_what_it_takes_is_none<B: VlmBackend>() -> Result<()> {
    let problems = |name: &str, change: fn(&Path)| {
        let folder = tempfile::tempdir()?;
        copy_model(name, folder.path());
        change(folder.path());
        let description = ModelDescription::of::<B>(folder.path(), &B::Device::default());
        let opened = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new());
        let (problems, opened) = (description.problems, opened.err());
        assert_eq!(problems.is_empty(), opened.is_none(), "{problems:?}");
        anyhow::Ok(problems)
    };
    let is_costly = |error: &Error| matches!(error, Error::Config(ConfigError::TooCostly { .. }));
    let costly = problems(LLAVA, |folder| {
        edit_json(&folder.join("config.json"), |config| {
            for name in ["num_attention_heads", "num_key_value_heads", "head_dim"] {
                config["text_config"][name] = json!(1024);
            }
        });
    })?;
    ensure!(costly.iter().any(is_costly), "{costly:?}");
    let costly = problems("idefics3", |folder| {
        edit_json(&folder.join("preprocessor_config.json"), |processor| {
            processor["size"] = json!({"longest_edge": 24 * 32});
        });
        edit_json(&folder.join("config.json"), |config| {
            // 144 rows of a tile, 1025 times.
            config["vision_config"]["patch_size"] = json!(2);
        });
    })?;
    ensure!(costly.iter().any(is_costly), "{costly:?}");
    let misfit = problems("dynamic_rope", |folder| {
        edit_json(&folder.join("config.json"), |config| {
            config["intermediate_size"] = json!(8);
        });
    })?;
    assert_eq!(misfit.len(), 1, "told once, not for each type: {misfit:?}");
    let taken = problems("dynamic_rope", |folder| {
        edit_json(&folder.join("config.json"), |config| {
            config["tie_word_embeddings"] = json!(true);
        });
        let mut weights = SafetensorsFile::read(&folder.join("model.safetensors"));
        weights.push("rope.freqs", "F32", &[2], &[0; 8]);
        weights.write();
    })?;
    ensure!(taken.is_empty(), "{taken:?}");
    let over_t5 = problems("blip2", |folder| {
        edit_json(&folder.join("config.json"), |config| {
            config["text_config"] = json!({"model_type": "t5"});
        });
    })?;
    let is_told = |error: &Error| matches!(error, Error::Config(ConfigError::Unsupported { found, .. }) if found.starts_with("t5"));
    ensure!(over_t5.iter().any(is_told), "{over_t5:?}");
    Ok(())
}
