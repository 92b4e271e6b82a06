//! Weights that were saved as they are kept: what opens from them is the same model, bit by bit.

use std::path::Path;

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::MatrixType;
use burn_vlm::{CheckpointError, ConfigError, Error, LoadOptions, MultimodalPipeline, WeightType};

use crate::decoding::Case;
use crate::fixture::{LLAVA, demo_folder, fixture_names, open, open_fixture, open_with};
use crate::support::{copy_model, model_folder};

laws![
    every_model_opens_from_its_saved_weights,
    packed_weights_are_saved_as_they_are,
    weights_of_their_own_are_not_needed_beside_saved_ones,
    what_is_there_is_not_written_over,
    weights_of_another_model_and_adapters_are_refused,
];

fn saved(file: &Path) -> LoadOptions {
    LoadOptions::new().with_saved_weights(file)
}

fn every_model_opens_from_its_saved_weights<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for name in fixture_names()? {
        let fixture = open_fixture(&name)?;
        let file = folder.path().join(&name);
        let first = open_with::<B>(&name, fixture.options())?;
        first.save_weights(&file)?;
        let again = open_with::<B>(&name, saved(&file))?;
        let [first_report, report] = [first.load_report(), again.load_report()];
        assert_eq!(report.matrices, first_report.matrices, "{name}");
        // What the checkpoint left as it was made is saved too.
        let made = |path: &&String| !first_report.applied.contains(*path);
        let mut made = report.applied.iter().filter(made);
        assert!(made.all(|path| first_report.kept.contains(path)), "{name}");
        assert!(
            report.missing.is_empty() && report.unused.is_empty(),
            "{name}"
        );
        let request = fixture.request(&fixture.images);
        let [expected, found] = [first.answer(&request)?, again.answer(&request)?];
        assert_eq!(found.token_ids, expected.token_ids, "{name}");
    }
    Ok(())
}

fn packed_weights_are_saved_as_they_are<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for matrices in [MatrixType::Q8, MatrixType::Q4, WeightType::BF16.into()] {
        let file = folder.path().join(format!("{matrices:?}"));
        let options = LoadOptions::new().with_weights(matrices);
        let packed = MultimodalPipeline::<B>::open(demo_folder(), &options)?;
        packed.save_weights(&file)?;
        let again = MultimodalPipeline::<B>::open(demo_folder(), &saved(&file))?;
        let [first_report, report] = [packed.load_report(), again.load_report()];
        assert_eq!(report.matrices, first_report.matrices);
        assert!(report.dequantised.is_empty(), "{report}");
        let (bytes, kept) = (file.metadata()?.len(), report.kept_bytes);
        assert!(
            (kept..kept + kept / 10).contains(&bytes),
            "{bytes} of {kept}"
        );
        let logits = |pipeline| -> Result<Vec<f32>> {
            let case = Case::text(pipeline, "What is in the picture?")?;
            case.whole(&case.input)
        };
        assert_eq!(logits(again)?, logits(packed)?, "{matrices:?}");
    }
    Ok(())
}

fn weights_of_their_own_are_not_needed_beside_saved_ones<B: VlmBackend>() -> Result<()> {
    let (folder, file) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let file = file.path().join("saved.safetensors");
    let first = open::<B>(LLAVA)?;
    first.save_weights(&file)?;
    copy_model(LLAVA, folder.path());
    for entry in folder.path().read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "safetensors")
        {
            std::fs::remove_file(path)?;
        }
    }
    MultimodalPipeline::<B>::open(folder.path(), &saved(&file)).context("without weights")?;
    Ok(())
}

fn what_is_there_is_not_written_over<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("mine");
    std::fs::write(&file, "mine")?;
    let refused = open::<B>(LLAVA)?.save_weights(&file);
    let Err(Error::Checkpoint(CheckpointError::NotWritten { path, .. })) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(path, file);
    assert_eq!(std::fs::read(&file)?, b"mine");
    Ok(())
}

fn weights_of_another_model_and_adapters_are_refused<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("saved");
    open::<B>(LLAVA)?.save_weights(&file)?;
    let refused = MultimodalPipeline::<B>::open(demo_folder(), &saved(&file));
    let Err(Error::Checkpoint(CheckpointError::Incomplete { .. })) = refused else {
        panic!("{refused:?}");
    };
    let adapted = saved(&file).with_named_adapter("other", folder.path());
    for options in [saved(&file).with_adapter(folder.path()), adapted] {
        let refused = MultimodalPipeline::<B>::open(model_folder(LLAVA), &options);
        let Err(Error::Config(ConfigError::Unsupported { found, .. })) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(found, folder.path().display().to_string());
    }
    Ok(())
}
