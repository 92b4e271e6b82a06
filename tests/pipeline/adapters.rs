//! Adapters beside the weights: a request takes one, and nothing else sees it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use burn::tensor::{DType, Tensor, TensorData};
use burn_vlm::kernels::{PackedType, VlmBackend};
use burn_vlm::nn::{FeedForward, Linear, LlamaDecoder};
use burn_vlm::weights::MatrixType;
use burn_vlm::{
    AskRequest, BeamOptions, ConfigError, EncodedImage, Error, LoadOptions, MultimodalPipeline,
    RequestError, Sampling,
};
use serde_json::json;

use crate::decoding::{Case, assert_same_logits};
use crate::fixture::{LLAVA, demo_folder, open, open_fixture, open_with};
use crate::reference::{largest_difference, values};
use crate::support::{SafetensorsFile, edit_json, model_folder, picture, repository};

laws![
    a_request_with_an_adapter_is_answered_as_peft_answers_it,
    a_request_with_an_adapter_equals_the_model_with_it_merged,
    a_picture_is_answered_with_an_adapter_as_if_it_were_merged,
    a_named_adapter_goes_on_top_of_a_merged_one,
    an_adapter_of_a_folder_fits_the_same_model_in_gguf,
    a_request_without_an_adapter_equals_the_bare_model_to_the_bit,
    an_adapter_adds_to_packed_weights_what_it_adds_to_floats,
    packed_weights_with_an_adapter_are_as_near_as_those_without,
    beams_are_followed_with_the_adapter_of_their_request,
    rows_of_a_batch_may_have_different_adapters,
    a_session_remembers_its_adapter,
    an_adapter_that_nobody_loaded_is_named_with_those_that_are,
    two_adapters_of_one_name_are_refused,
    an_adapter_of_more_than_the_decoder_is_refused_with_what_merges_it,
];

/// Models with an adapter: of what is fused, in rows of an order of its own, and with a head saved
/// whole.
const MODELS: [&str; 2] = ["llama_lora", "gpt_neox_lora"];

/// The one of them whose rows are whole groups, but for those of the last layer of a block.
const PACKABLE: &str = "gpt_neox_lora";

/// Layers of a LLaVA checkpoint: parts of what is fused, what is not, and the head.
const LLAVA_LAYERS: [&str; 5] = [
    "language_model.model.layers.0.self_attn.q_proj",
    "language_model.model.layers.1.self_attn.v_proj",
    "language_model.model.layers.0.mlp.up_proj",
    "language_model.model.layers.1.mlp.down_proj",
    "language_model.lm_head",
];

/// Layers of a Llama checkpoint; the rows of the first two lie in another order in GGUF.
const LLAMA_LAYERS: [&str; 6] = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.k_proj",
    "model.layers.1.self_attn.v_proj",
    "model.layers.0.self_attn.o_proj",
    "model.layers.0.mlp.gate_proj",
    "lm_head",
];

const QUESTION: &str = "Count the shapes. 딥러닝이 뭐야?";

fn adapter(name: &str) -> PathBuf {
    repository("tests/fixtures/models")
        .join(name)
        .join("adapter")
}

/// The model with its adapter beside it, as `own`.
fn open_apart<B: VlmBackend>(name: &str) -> Result<MultimodalPipeline<B>> {
    open_with(
        name,
        LoadOptions::new().with_named_adapter("own", adapter(name)),
    )
}

/// As [`open_apart`], with the same adapter scaled otherwise as `other`.
fn open_with_two<B: VlmBackend>(name: &str) -> Result<MultimodalPipeline<B>> {
    let other = tempfile::tempdir()?;
    copy_adapter(name, other.path())?;
    edit_json(&other.path().join("adapter_config.json"), |config| {
        config["lora_alpha"] = json!(-30);
    });
    let options = LoadOptions::new()
        .with_named_adapter("own", adapter(name))
        .with_named_adapter("other", other.path());
    open_with(name, options)
}

fn copy_adapter(name: &str, folder: &Path) -> Result<()> {
    for entry in adapter(name).read_dir()? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    Ok(())
}

/// Writes an adapter of rank 2 for layers of the model in a folder.
fn write_adapter(folder: &Path, model: &Path, layers: &[&str]) -> Result<()> {
    copy_adapter("llama_lora", folder)?;
    edit_json(&folder.join("adapter_config.json"), |config| {
        config["r"] = json!(2);
        config["lora_alpha"] = json!(3);
        config["target_modules"] = json!(layers);
        config["modules_to_save"] = json!(null);
    });
    let weights = SafetensorsFile::read(&model.join("model.safetensors"));
    let mut file = SafetensorsFile::read(&folder.join("adapter_model.safetensors"));
    file.header.clear();
    file.data.clear();
    for layer in layers {
        let shape = &weights.header[&format!("{layer}.weight")]["shape"];
        let [rows, columns] = [0, 1].map(|axis| shape[axis].as_u64().unwrap_or(0) as usize);
        for (factor, shape) in [("lora_A", [2, columns]), ("lora_B", [rows, 2])] {
            let bytes: Vec<u8> = numbers(shape[0] * shape[1])
                .into_iter()
                .flat_map(f32::to_le_bytes)
                .collect();
            let name = format!("base_model.model.{layer}.{factor}.weight");
            file.push(&name, "F32", &shape, &bytes);
        }
    }
    file.write();
    Ok(())
}

/// Numbers around zero without a pattern.
fn numbers(count: usize) -> Vec<f32> {
    let number = |index: usize| (index * 7919 % 101) as f32 / 101.0 - 0.5;
    (0..count).map(number).collect()
}

fn ask<B: VlmBackend>(question: &str) -> AskRequest<EncodedImage<B>> {
    AskRequest::new().user(question).max_new_tokens(8)
}

/// The logits of a question, read at once.
fn logits<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    adapter: Option<&str>,
) -> Result<(Vec<f32>, usize)> {
    let mut case = Case::text(pipeline.clone(), QUESTION)?;
    case.adapter = adapter.map(str::to_string);
    Ok((case.whole(&case.input)?, case.vocab_size()))
}

fn a_request_with_an_adapter_is_answered_as_peft_answers_it<B: VlmBackend>() -> Result<()> {
    for name in MODELS {
        let fixture = open_fixture(name)?;
        let apart = open_apart::<B>(name)?;
        let request = fixture.request::<EncodedImage<B>>(&[]).adapter("own");
        let mut case = Case::new(apart.clone(), &request, &[])?;
        case.adapter = Some("own".to_string());
        let expected = fixture.floats("logits")?;
        let difference = largest_difference(&case.whole(&case.input)?, &expected)?;
        assert!(
            difference <= fixture.tolerance(),
            "{name}: {difference:.2e}"
        );
        let answer = apart.answer(&request)?;
        assert_eq!(answer.token_ids, fixture.answer_ids(&apart)?, "{name}");
        assert_eq!(answer.text, fixture.text(), "{name}");
    }
    Ok(())
}

fn a_request_with_an_adapter_equals_the_model_with_it_merged<B: VlmBackend>() -> Result<()> {
    for name in MODELS {
        let merged = open_with::<B>(name, open_fixture(name)?.options())?;
        let (ours, vocab_size) = logits(&open_apart::<B>(name)?, Some("own"))?;
        let (theirs, _) = logits(&merged, None)?;
        assert_same_logits(name, &ours, &theirs, vocab_size);
    }
    Ok(())
}

fn a_picture_is_answered_with_an_adapter_as_if_it_were_merged<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_adapter(folder.path(), &model_folder(LLAVA), &LLAVA_LAYERS)?;
    let merged = open_with::<B>(LLAVA, LoadOptions::new().with_adapter(folder.path()))?;
    let apart = LoadOptions::new().with_named_adapter("own", folder.path());
    let apart = open_with::<B>(LLAVA, apart)?;
    let answer = |pipeline: &MultimodalPipeline<B>, adapter: Option<&str>| -> Result<_> {
        let shown = AskRequest::new().image(pipeline.encode(&picture(8))?);
        let mut request = shown.user(QUESTION).max_new_tokens(8);
        if let Some(adapter) = adapter {
            request = request.adapter(adapter);
        }
        Ok(pipeline.answer(&request)?.token_ids)
    };
    let expected = answer(&merged, None)?;
    assert_eq!(answer(&apart, Some("own"))?, expected);
    assert_ne!(answer(&apart, None)?, expected);
    Ok(())
}

fn a_named_adapter_goes_on_top_of_a_merged_one<B: VlmBackend>() -> Result<()> {
    let name = PACKABLE;
    let folder = tempfile::tempdir()?;
    let layer = "gpt_neox.layers.1.attention.dense";
    write_adapter(folder.path(), &model_folder(name), &[layer])?;
    let first = || LoadOptions::new().with_adapter(adapter(name));
    let both = open_with::<B>(name, first().with_adapter(folder.path()))?;
    let apart = open_with::<B>(name, first().with_named_adapter("more", folder.path()))?;
    let (expected, vocab_size) = logits(&both, None)?;
    let (found, _) = logits(&apart, Some("more"))?;
    assert_same_logits(name, &found, &expected, vocab_size);
    let (bare, _) = logits(&open_with::<B>(name, first())?, None)?;
    assert_eq!(logits(&apart, None)?.0, bare);
    Ok(())
}

fn an_adapter_of_a_folder_fits_the_same_model_in_gguf<B: VlmBackend>() -> Result<()> {
    let models: [(_, _, &[&str]); 2] = [
        ("attention_bias", "gguf_attention_bias", &LLAMA_LAYERS),
        (LLAVA, "gguf_llava", &LLAVA_LAYERS),
    ];
    for (name, in_gguf, layers) in models {
        let folder = tempfile::tempdir()?;
        write_adapter(folder.path(), &model_folder(name), layers)?;
        let merged = LoadOptions::new().with_adapter(folder.path());
        let apart = LoadOptions::new().with_named_adapter("own", folder.path());
        let case = Case::text(open_with::<B>(name, merged.clone())?, QUESTION)?;
        let (expected, vocab_size) = (case.whole(&case.input)?, case.vocab_size());
        let read = |pipeline: MultimodalPipeline<B>, adapter: Option<&str>| {
            let adapter = adapter.map(str::to_string);
            let own = Case::text(pipeline, QUESTION)?;
            Case { adapter, ..own }.whole(&case.input)
        };
        let found = read(open_with(in_gguf, merged)?, None)?;
        assert_same_logits(in_gguf, &found, &expected, vocab_size);
        let apart = open_with(in_gguf, apart)?;
        let found = read(apart.clone(), Some("own"))?;
        assert_same_logits(in_gguf, &found, &expected, vocab_size);
        let difference = largest_difference(&read(apart, None)?, &expected)?;
        assert!(
            difference > 1e-2,
            "{in_gguf}: the adapter decides something"
        );
    }
    Ok(())
}

fn a_request_without_an_adapter_equals_the_bare_model_to_the_bit<B: VlmBackend>() -> Result<()> {
    for name in MODELS {
        let apart = open_apart::<B>(name)?;
        // Whatever was answered with it before.
        apart.answer(&ask(QUESTION).adapter("own"))?;
        let (ours, _) = logits(&apart, None)?;
        let (theirs, _) = logits(&open::<B>(name)?, None)?;
        assert_eq!(ours, theirs, "{name}");
        let (adapted, _) = logits(&apart, Some("own"))?;
        let difference = largest_difference(&ours, &adapted)?;
        assert!(difference > 1e-2, "{name}: the adapter decides something");
    }
    Ok(())
}

fn linears<B: VlmBackend>(decoder: &LlamaDecoder<B>) -> Vec<&Linear<B>> {
    let mut linears = Vec::new();
    for layer in &decoder.layers {
        linears.extend([&layer.self_attn.qkv_proj, &layer.self_attn.o_proj]);
        linears.extend(match &layer.mlp {
            FeedForward::Gated(mlp) => [&mlp.gate_up_proj, &mlp.down_proj],
            FeedForward::Plain(mlp) => [&mlp.fc1, &mlp.fc2],
        });
    }
    linears.extend(&decoder.lm_head);
    linears
}

/// What an adapter adds to the outputs of each linear layer, for two rows of numbers.
fn added<B: VlmBackend>(
    model: &Path,
    adapter: &Path,
    matrices: MatrixType,
) -> Result<Vec<Vec<f32>>> {
    let options = LoadOptions::new()
        .with_weights(matrices)
        .with_named_adapter("own", adapter);
    let pipeline = MultimodalPipeline::<B>::open(model, &options)?;
    let is_packed = { pipeline.load_report().matrices.keys() }.any(|kept| {
        [PackedType::Q8, PackedType::Q4]
            .map(Into::into)
            .contains(kept)
    });
    assert_eq!(is_packed, matrices != MatrixType::F32);
    let (bare, adapted) = (pipeline.decoder(None)?, pipeline.decoder(Some("own"))?);
    let mut added = Vec::new();
    for (bare, adapted) in linears(bare).into_iter().zip(linears(adapted)) {
        let [_, columns] = bare.weight.dims();
        let data = TensorData::new(numbers(2 * columns), [2, columns]);
        let x = Tensor::<B, 2>::from_data(data, (pipeline.device(), DType::F32));
        added.push(values(adapted.forward(x.clone()) - bare.forward(x))?);
    }
    Ok(added)
}

fn an_adapter_adds_to_packed_weights_what_it_adds_to_floats<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_adapter(folder.path(), &demo_folder(), &LLAVA_LAYERS)?;
    let subjects = [
        (model_folder(PACKABLE), adapter(PACKABLE), 4),
        (demo_folder(), folder.path().to_path_buf(), 5),
    ];
    for (model, adapter, num_adapted) in subjects {
        let floats = added::<B>(&model, &adapter, MatrixType::F32)?;
        let largest = |added: &[f32]| added.iter().fold(0f32, |most, one| most.max(one.abs()));
        let adapted = floats.iter().filter(|added| largest(added) > 1e-2);
        assert_eq!(adapted.count(), num_adapted, "layers of {model:?}");
        for matrices in [MatrixType::Q8, MatrixType::Q4] {
            let packed = added::<B>(&model, &adapter, matrices)?;
            for (layer, (packed, floats)) in packed.iter().zip(&floats).enumerate() {
                // A sum of the two, less the one, is the other but for the rounding of the sum.
                let difference = largest_difference(packed, floats)?;
                assert!(
                    difference <= 1e-4 * largest(floats),
                    "layer {layer} of {model:?} in {matrices:?}: {difference:.2e}"
                );
            }
        }
    }
    Ok(())
}

fn packed_weights_with_an_adapter_are_as_near_as_those_without<B: VlmBackend>() -> Result<()> {
    let open = |matrices: MatrixType| -> Result<_> {
        let options = LoadOptions::new().with_weights(matrices);
        let apart = options.clone().with_named_adapter("own", adapter(PACKABLE));
        let apart = open_with::<B>(PACKABLE, apart)?;
        let (without, _) = logits(&apart, None)?;
        let (bare, _) = logits(&open_with::<B>(PACKABLE, options)?, None)?;
        assert_eq!(without, bare, "{matrices:?}");
        Ok([without, logits(&apart, Some("own"))?.0])
    };
    let [without, with] = open(MatrixType::F32)?;
    for matrices in [MatrixType::Q8, MatrixType::Q4] {
        let [packed_without, packed_with] = open(matrices)?;
        // What rounding the weights does to the model alone; with an adapter it is no worse, but that
        // no two logits err alike.
        let rounding = largest_difference(&packed_without, &without)?;
        let found = largest_difference(&packed_with, &with)?;
        assert!(
            found <= 2.0 * rounding,
            "{matrices:?}: {found:.2e} with the adapter, {rounding:.2e} without"
        );
    }
    Ok(())
}

fn beams_are_followed_with_the_adapter_of_their_request<B: VlmBackend>() -> Result<()> {
    for name in MODELS {
        let merged = open_with::<B>(name, open_fixture(name)?.options())?;
        let apart = open_with_two::<B>(name)?;
        let search = Sampling::Beam(BeamOptions {
            num_beams: 3,
            ..BeamOptions::default()
        });
        let request = ask(QUESTION).sampling(search);
        let expected = merged.answer(&request)?.token_ids;
        let adapted = apart.answer(&request.clone().adapter("own"))?;
        assert_eq!(adapted.token_ids, expected, "{name}");
        let other = apart.answer(&request.clone().adapter("other"))?;
        assert_ne!(other.token_ids, expected, "{name}");
        let bare = open::<B>(name)?.answer(&request)?;
        assert_eq!(apart.answer(&request)?.token_ids, bare.token_ids, "{name}");
    }
    Ok(())
}

fn rows_of_a_batch_may_have_different_adapters<B: VlmBackend>() -> Result<()> {
    let search = Sampling::Beam(BeamOptions::default());
    for name in MODELS {
        let pipeline = open_with_two::<B>(name)?;
        let requests = [
            ask(QUESTION),
            ask(QUESTION).adapter("own"),
            ask("Why?").adapter("other"),
            ask(QUESTION).adapter("other"),
            ask("Why?").adapter("own"),
            ask("So?").adapter("absent"),
            ask("Why?"),
            ask(QUESTION).adapter("own").sampling(search),
        ];
        let answers = pipeline.ask_batch(&requests);
        let mut found = Vec::new();
        for (index, (request, answer)) in requests.iter().zip(answers).enumerate() {
            match (answer, pipeline.answer(request)) {
                (Ok(ours), Ok(alone)) => {
                    assert_eq!(ours.token_ids, alone.token_ids, "{name}, row {index}");
                    found.push(ours.token_ids);
                }
                (Err(ours), Err(alone)) => {
                    assert_eq!(ours.to_string(), alone.to_string());
                    assert_eq!(index, 5, "{name}: {ours}");
                }
                (ours, alone) => panic!("{name}, row {index}: {ours:?} and {alone:?}"),
            }
        }
        assert_eq!(found.len(), requests.len() - 1);
        let [bare, own, _, other, ..] = &found[..] else {
            unreachable!("there are more rows")
        };
        assert!(bare != own && own != other && bare != other, "{name}");
    }
    Ok(())
}

fn a_session_remembers_its_adapter<B: VlmBackend>() -> Result<()> {
    let pipeline = open_with_two::<B>("llama_lora")?;
    let mut session = pipeline.session();
    let first = session.turn(&ask("Hi.").adapter("own"))?;
    let second = session.turn(&ask("So?"))?;
    let whole = ask("Hi.").assistant(first.text).user("So?");
    let expected = pipeline.answer(&whole.clone().adapter("own"))?;
    assert_eq!(second.token_ids, expected.token_ids);
    assert_ne!(second.token_ids, pipeline.answer(&whole)?.token_ids);
    let goes_on_with = |turn: burn_vlm::Result<_>, expected: Option<&str>| {
        let Err(Error::Request(RequestError::AdapterOfSession { session, found })) = turn else {
            panic!("one session has one adapter");
        };
        assert_eq!((session.as_deref(), found.as_str()), (expected, "other"));
    };
    goes_on_with(session.turn(&ask("So?").adapter("other")), Some("own"));
    // Whoever undoes everything may go on with another, or without one.
    assert!(session.undo() && session.undo());
    let other = ask("Hi.").adapter("other");
    let alone = pipeline.answer(&other)?;
    assert_eq!(session.turn(&other)?.token_ids, alone.token_ids);
    assert!(session.undo());
    let alone = pipeline.answer(&ask("Hi."))?;
    assert_eq!(session.turn(&ask("Hi."))?.token_ids, alone.token_ids);
    goes_on_with(session.turn(&other), None);
    assert_eq!(
        session.messages().len(),
        2,
        "a turn that fails leaves no trace"
    );
    Ok(())
}

fn an_adapter_that_nobody_loaded_is_named_with_those_that_are<B: VlmBackend>() -> Result<()> {
    let pipeline = open_apart::<B>("llama_lora")?;
    assert!(pipeline.adapters().eq(["own"]));
    let request = ask("Hi.").adapter("other");
    let refused = [
        pipeline.answer(&request).map(drop),
        pipeline.prompt(&request).map(drop),
        pipeline.session().turn(&request).map(drop),
    ];
    for refused in refused {
        let is_expected = matches!(
            &refused,
            Err(Error::Request(RequestError::UnknownAdapter { name, known }))
                if name == "other" && *known == ["own"]
        );
        assert!(is_expected, "{refused:?}");
    }
    let without = open::<B>("llama_lora")?.answer(&request);
    let message = without.expect_err("none was loaded").to_string();
    assert!(message.ends_with("there are: none"), "{message}");
    Ok(())
}

fn two_adapters_of_one_name_are_refused<B: VlmBackend>() -> Result<()> {
    let options = LoadOptions::new()
        .with_named_adapter("own", adapter("llama_lora"))
        .with_named_adapter("own", adapter("llama_lora"));
    let error = open_with::<B>("llama_lora", options).expect_err("one name for two");
    assert!(
        format!("{error:#}").contains("a name of its own"),
        "{error:#}"
    );
    Ok(())
}

fn an_adapter_of_more_than_the_decoder_is_refused_with_what_merges_it<B: VlmBackend>() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let model = model_folder(LLAVA);
    let layers = [
        LLAVA_LAYERS[0],
        "vision_tower.encoder.layers.0.self_attn.k_proj",
    ];
    write_adapter(folder.path(), &model, &layers)?;
    let named = LoadOptions::new().with_named_adapter("own", folder.path());
    let refused = MultimodalPipeline::<B>::open(&model, &named);
    let Err(Error::Config(ConfigError::Unsupported {
        found, supported, ..
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(
        found.starts_with("visual_encoder.encoder.layers.0"),
        "{found}"
    );
    assert!(supported[0].contains("with_adapter"), "{supported:?}");
    open_with::<B>(LLAVA, LoadOptions::new().with_adapter(folder.path()))?;
    Ok(())
}
