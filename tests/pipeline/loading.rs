//! Opening a model: what is told while it loads, and what its options change.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::{Strictness, WeightType};
use burn_vlm::{AskRequest, CheckpointError, Error, LoadOptions, MultimodalPipeline};

use crate::decoding::Case;
use crate::fixture::{LLAVA, demo_folder, fixture_names, open, open_with};
use crate::reference::largest_difference;
use crate::support::{SafetensorsFile, copy_model, picture};

laws![
    a_sound_checkpoint_is_used_to_the_last_tensor,
    progress_is_told_tensor_by_tensor_up_to_all_bytes,
    weights_in_the_type_they_are_stored_in_lose_nothing,
    tensors_by_the_names_of_any_release_load_the_same,
    a_surplus_tensor_is_an_error_unless_it_is_allowed,
    a_shorter_context_is_the_one_of_the_pipeline,
];

fn a_sound_checkpoint_is_used_to_the_last_tensor<B: VlmBackend>() -> Result<()> {
    for name in fixture_names()? {
        let pipeline = open::<B>(&name)?;
        let report = pipeline.load_report();
        assert!(
            report.missing.is_empty() && report.mismatched.is_empty(),
            "{name}: {report}"
        );
        assert!(report.unused.is_empty(), "{name}: {report}");
        assert!(!report.applied.is_empty());
    }
    Ok(())
}

fn progress_is_told_tensor_by_tensor_up_to_all_bytes<B: VlmBackend>() -> Result<()> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    let options = LoadOptions::new().with_progress(move |progress| {
        let mut told = telling.lock().expect("nobody panics with it");
        told.push((
            progress.done_bytes,
            progress.total_bytes,
            progress.tensor.to_string(),
        ));
    });
    let pipeline = open_with::<B>(LLAVA, options)?;
    let told = told.lock().expect("nobody panics with it");
    assert_eq!(told.len(), pipeline.load_report().applied.len());
    assert!(told.is_sorted_by(|a, b| a.0 < b.0), "the bytes grow");
    let (done, total, _) = told.last().expect("there are tensors");
    assert_eq!(done, total);
    Ok(())
}

fn weights_in_the_type_they_are_stored_in_lose_nothing<B: VlmBackend>() -> Result<()> {
    let options = |weights| LoadOptions::new().with_weights(weights);
    for (name, weights) in [
        ("llama3_rope", WeightType::BF16),
        ("vicuna_bin", WeightType::F16),
    ] {
        let narrow = match open_with::<B>(name, options(weights)) {
            Ok(narrow) => narrow,
            Err(error) => {
                // Not every device has such tensors; it says so and does not guess.
                let cause = error.downcast_ref::<Error>();
                let is_told = matches!(
                    cause,
                    Some(Error::Checkpoint(CheckpointError::WeightType { .. }))
                );
                assert!(is_told, "{error:?}");
                continue;
            }
        };
        let question = "Say why.";
        let wide = Case::<B>::text(open(name)?, question)?;
        let narrow = Case::text(narrow, question)?;
        let difference =
            largest_difference(&wide.whole(&wide.input)?, &narrow.whole(&narrow.input)?)?;
        assert!(difference < 1e-3, "{name}: {difference}");
    }
    Ok(())
}

/// The parts of a model by the names of this fixture, of transformers 4 and of transformers 4.52.
const PARTS: [[&str; 3]; 4] = [
    [
        "language_model.model.",
        "language_model.model.",
        "model.language_model.",
    ],
    [
        "language_model.lm_head.",
        "language_model.lm_head.",
        "lm_head.",
    ],
    [
        "vision_tower.",
        "vision_tower.vision_model.",
        "model.vision_tower.vision_model.",
    ],
    [
        "multi_modal_projector.",
        "multi_modal_projector.",
        "model.multi_modal_projector.",
    ],
];

fn tensors_by_the_names_of_any_release_load_the_same<B: VlmBackend>() -> Result<()> {
    let request = AskRequest::new()
        .image(picture(1))
        .user("Who?")
        .max_new_tokens(6);
    let expected = open::<B>(LLAVA)?.answer(&request)?;
    for release in [1, 2] {
        let folder = tempfile::tempdir()?;
        copy_model(LLAVA, folder.path());
        let mut file = SafetensorsFile::read(&folder.path().join("model.safetensors"));
        let names: Vec<String> = file.header.keys().cloned().collect();
        for name in names.iter().filter(|name| *name != "__metadata__") {
            let part = PARTS.iter().find(|part| name.starts_with(part[0]));
            let part = part.expect("every tensor belongs to a part");
            file.rename(name, &name.replacen(part[0], part[release], 1));
        }
        file.write();
        let renamed = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new())?;
        assert_eq!(renamed.answer(&request)?.token_ids, expected.token_ids);
    }
    Ok(())
}

fn a_surplus_tensor_is_an_error_unless_it_is_allowed<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy_model(LLAVA, folder.path());
    let mut file = SafetensorsFile::read(&folder.path().join("model.safetensors"));
    file.push("model.surplus", "F32", &[2], &[0; 8]);
    file.write();
    let strict = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new());
    let Err(Error::Checkpoint(CheckpointError::Incomplete { unused, .. })) = strict else {
        panic!("{strict:?}")
    };
    assert_eq!(unused, ["model.surplus"]);
    let options = LoadOptions::new().with_strictness(Strictness::AllowUnused);
    let pipeline = MultimodalPipeline::<B>::open(folder.path(), &options)?;
    assert_eq!(pipeline.load_report().unused.len(), 1);
    Ok(())
}

fn a_shorter_context_is_the_one_of_the_pipeline<B: VlmBackend>() -> Result<()> {
    let options = LoadOptions::new().with_context_length(77);
    let pipeline = MultimodalPipeline::<B>::open(demo_folder(), &options)?;
    assert_eq!(pipeline.context_length(), 77);
    assert_eq!(open::<B>(LLAVA)?.context_length(), 1024);
    // Linear scaling stretches the trained context.
    assert_eq!(open::<B>("linear_rope")?.context_length(), 4 * 256);
    Ok(())
}
