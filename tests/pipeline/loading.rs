//! Opening a model: what is told while it loads, and what its options change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::{MatrixType, Strictness, WeightType};
use burn_vlm::{AskRequest, CheckpointError, Error, LoadOptions, MultimodalPipeline};

use crate::decoding::Case;
use crate::fixture::{LLAVA, demo_folder, fixture_names, open, open_with};
use crate::reference::largest_difference;
use crate::support::{SafetensorsFile, copy_model, model_folder, picture, repository};

laws![
    a_sound_checkpoint_is_used_to_the_last_tensor,
    progress_is_told_tensor_by_tensor_up_to_all_bytes,
    weights_are_kept_as_they_are_stored,
    weights_as_they_are_stored_lose_nothing,
    weights_in_a_type_asked_for_are_kept_in_it,
    tensors_by_the_names_of_any_release_load_the_same,
    an_adapter_of_another_model_is_named_with_what_it_was_made_for,
    what_is_no_adapter_and_an_adapter_alone_are_told_apart,
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
    // What is fused is told part by part.
    let names: BTreeSet<_> = told.iter().map(|(_, _, tensor)| tensor.as_str()).collect();
    assert_eq!(names.len(), told.len(), "each tensor is told once");
    assert!(told.len() > pipeline.load_report().applied.len());
    assert!(told.is_sorted_by(|a, b| a.0 < b.0), "the bytes grow");
    let (done, total, _) = told.last().expect("there are tensors");
    assert_eq!(done, total);
    Ok(())
}

fn an_adapter_of_another_model_is_named_with_what_it_was_made_for<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let own = repository("tests/fixtures/models/llama_lora/adapter");
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(own.join(name), folder.path().join(name))?;
    }
    let config = folder.path().join("adapter_config.json");
    let told = std::fs::read_to_string(&config)?.replace(
        "\"base_model_name_or_path\": null",
        "\"base_model_name_or_path\": \"a/llama\"",
    );
    std::fs::write(&config, told)?;
    for (model, is_allowed) in [
        ("gpt_neox", false),
        ("gpt_neox", true),
        ("attention_bias", false),
    ] {
        let mut options = LoadOptions::new().with_adapter(folder.path());
        if is_allowed {
            options = options.with_strictness(Strictness::AllowUnused);
        }
        let error = MultimodalPipeline::<B>::open(model_folder(model), &options).err();
        let error = error.with_context(|| format!("{model} has no place for it"))?;
        let message = error.to_string();
        let Error::Checkpoint(CheckpointError::AdapterMismatch { base, tensors, .. }) = error
        else {
            panic!("{model}: {error:?}");
        };
        assert!(message.contains("lora_A.weight"), "{message}");
        assert!(
            message.lines().count() == 1 && message.len() < 500,
            "{message}"
        );
        assert_eq!(base.as_deref(), Some("a/llama"));
        let is_factor = |tensor: &String| tensor.contains("lora_A");
        assert!(tensors.iter().any(is_factor), "{tensors:?}");
    }
    Ok(())
}

fn what_is_no_adapter_and_an_adapter_alone_are_told_apart<B: VlmBackend>() -> Result<()> {
    let own = repository("tests/fixtures/models/llama_lora/adapter");
    let model = model_folder("llama_lora");
    let absent = model.join("absent");
    for no_adapter in [&model, &absent, &own.join("adapter_model.safetensors")] {
        for options in [
            LoadOptions::new().with_adapter(no_adapter),
            LoadOptions::new().with_named_adapter("own", no_adapter),
        ] {
            let error = MultimodalPipeline::<B>::open(&model, &options).err();
            let Some(Error::Checkpoint(CheckpointError::NoAdapter { path, .. })) = error else {
                panic!("{no_adapter:?}: {error:?}");
            };
            assert_eq!(&path, no_adapter);
        }
    }
    let alone = MultimodalPipeline::<B>::open(&own, &LoadOptions::new()).err();
    let message = alone.context("it is no model")?.to_string();
    assert!(message.contains("LoadOptions::with_adapter"), "{message}");
    Ok(())
}

/// The fixtures whose matrices are stored in bf16 and in f16.
const BF16_MODEL: &str = "llama3_rope";
const F16_MODEL: &str = "vicuna_bin";

/// Every backend reads bf16, some of them as words of two; not every device has f16.
fn weights_are_kept_as_they_are_stored<B: VlmBackend>() -> Result<()> {
    let bf16 = open::<B>(BF16_MODEL)?;
    let report = bf16.load_report();
    assert!(
        report.matrices.keys().eq([&WeightType::BF16.into()]),
        "{report}"
    );
    assert!(report.widened.is_empty(), "{report}");
    let f16 = open::<B>(F16_MODEL)?;
    let report = f16.load_report();
    let matrices: usize = report.matrices.values().sum();
    let kept = report.matrices.get(&WeightType::F16.into()).copied();
    assert_eq!(kept.unwrap_or(0) + report.widened.len(), matrices);
    Ok(())
}

fn weights_as_they_are_stored_lose_nothing<B: VlmBackend>() -> Result<()> {
    for name in [BF16_MODEL, F16_MODEL] {
        let in_f32 = LoadOptions::new().with_weights(WeightType::F32);
        let wide = Case::<B>::text(open_with(name, in_f32)?, "Say why.")?;
        let stored = Case::<B>::text(open(name)?, "Say why.")?;
        let difference =
            largest_difference(&wide.whole(&wide.input)?, &stored.whole(&stored.input)?)?;
        assert!(difference < 1e-3, "{name}: {difference}");
    }
    Ok(())
}

fn weights_in_a_type_asked_for_are_kept_in_it<B: VlmBackend>() -> Result<()> {
    for asked in [WeightType::F32, WeightType::F16, WeightType::BF16] {
        let options = LoadOptions::new().with_weights(MatrixType::from(asked));
        match open_with::<B>(BF16_MODEL, options) {
            Ok(pipeline) => assert!(pipeline.load_report().matrices.keys().eq([&asked.into()])),
            Err(error) => {
                // Not every device has such tensors; it says so and does not guess.
                let cause = error.downcast_ref::<Error>();
                let is_told = matches!(
                    cause,
                    Some(Error::Checkpoint(CheckpointError::WeightType { .. }))
                );
                assert!(is_told, "{error:?}");
            }
        }
    }
    Ok(())
}

#[cfg(all(feature = "flex", feature = "wgpu"))]
#[test]
fn a_model_in_bf16_answers_through_wgpu_as_on_the_cpu() -> Result<()> {
    use burn_vlm::backend::{Cpu, Wgpu};

    let request = AskRequest::text("Say why.").max_new_tokens(12);
    let (cpu, wgpu) = (open::<Cpu>(BF16_MODEL)?, open::<Wgpu>(BF16_MODEL)?);
    assert!(
        wgpu.load_report()
            .matrices
            .keys()
            .eq([&WeightType::BF16.into()])
    );
    let (expected, found) = (cpu.answer(&request)?, wgpu.answer(&request)?);
    assert_eq!(found.token_ids, expected.token_ids);
    assert_eq!(found.kernels.refusals().count(), 0);
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

fn a_shorter_context_is_the_one_of_the_pipeline<B: VlmBackend>() -> Result<()> {
    let options = LoadOptions::new().with_context_length(77);
    let pipeline = MultimodalPipeline::<B>::open(demo_folder(), &options)?;
    assert_eq!(pipeline.context_length(), 77);
    assert_eq!(open::<B>(LLAVA)?.context_length(), 1024);
    // Linear scaling stretches the trained context.
    assert_eq!(open::<B>("linear_rope")?.context_length(), 4 * 256);
    Ok(())
}
