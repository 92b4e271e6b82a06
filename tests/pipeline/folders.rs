//! Model folders as people have them: what is left over, written twice, or spelled as it once was.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::nn::{Activation, MlpKind, RopeConfig, VisualEncoderConfig};
use burn_vlm::{
    AskRequest, CheckpointError, ConfigError, Error, FolderLinks, LoadOptions, ModelConfig,
    ModelSpec, MultimodalPipeline, Strictness, VisionConfig,
};
use serde_json::json;

use crate::fixture::LLAVA;
use crate::support::{SafetensorsFile, copy_model, edit_json, model_folder, picture};

laws![
    of_two_sets_of_weights_the_single_file_counts,
    of_two_shards_with_one_tensor_the_last_counts,
    a_head_of_its_own_is_used_though_the_configuration_ties_it,
    a_head_that_is_the_table_is_tied,
    a_head_without_a_table_is_the_table,
    tensors_that_nobody_reads_are_reported,
    links_out_of_the_folder_are_followed_unless_it_is_a_strangers,
    the_model_type_decides_where_the_architecture_is_spelled_otherwise,
    settings_as_python_writes_them_are_read,
    weights_of_a_model_without_its_head_need_no_prefix,
    settings_of_answers_may_stand_in_the_models_own_file,
    a_preparation_that_names_no_class_is_that_of_its_model,
    a_folder_that_says_nothing_of_pictures_is_refused_where_its_models_differ,
];

/// One file of weights, tied to nothing.
const TEXT: &str = "dynamic_rope";
const FILE: &str = "model.safetensors";
const HEAD: &str = "lm_head.weight";
const TABLE: &str = "model.embed_tokens.weight";

fn answer<B: VlmBackend>(folder: &Path) -> Result<Vec<u32>> {
    answer_with::<B>(folder, &LoadOptions::new())
}

fn answer_with<B: VlmBackend>(folder: &Path, options: &LoadOptions) -> Result<Vec<u32>> {
    let pipeline = MultimodalPipeline::<B>::open(folder, options)?;
    let request = AskRequest::text("How many shapes are there?").max_new_tokens(6);
    Ok(pipeline.answer(&request)?.token_ids)
}

/// What a changed copy of a model answers.
fn answer_of<B: VlmBackend>(name: &str, change: impl FnOnce(&Path)) -> Result<Vec<u32>> {
    let folder = tempfile::tempdir()?;
    copy_model(name, folder.path());
    change(folder.path());
    answer::<B>(folder.path())
}

fn answer_with_config<B: VlmBackend>(
    name: &str,
    change: impl FnOnce(&mut serde_json::Value),
) -> Result<Vec<u32>> {
    answer_of::<B>(name, |folder| {
        edit_json(&folder.join("config.json"), change)
    })
}

fn change_weights(folder: &Path, change: impl FnOnce(&mut SafetensorsFile)) {
    let mut file = SafetensorsFile::read(&folder.join(FILE));
    change(&mut file);
    file.write();
}

/// Weights that answer otherwise.
fn spoil(file: &mut SafetensorsFile) {
    let range = file.range(HEAD);
    // Every id gets the row of the next one.
    file.data[range].rotate_left(96);
}

fn index(folder: &Path, shards: &[(&str, &str)]) {
    let map: serde_json::Map<_, _> = shards
        .iter()
        .map(|(tensor, shard)| (tensor.to_string(), json!(shard)))
        .collect();
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    fs::write(folder.join("model.safetensors.index.json"), index).expect("a temporary folder");
}

fn of_two_sets_of_weights_the_single_file_counts<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    let spoilt = answer_of::<B>(TEXT, |folder| change_weights(folder, spoil))?;
    assert_ne!(spoilt, expected);
    let found = answer_of::<B>(TEXT, |folder| {
        let shard = folder.join("model-00001-of-00001.safetensors");
        let good = fs::read(folder.join(FILE)).expect("the fixture has this file");
        change_weights(folder, spoil);
        fs::rename(folder.join(FILE), shard).expect("a temporary folder");
        fs::write(folder.join(FILE), good).expect("a temporary folder");
        fs::write(folder.join("pytorch_model.bin"), "older still").expect("a temporary folder");
        index(folder, &[(HEAD, "model-00001-of-00001.safetensors")]);
    })?;
    assert_eq!(found, expected);
    Ok(())
}

fn of_two_shards_with_one_tensor_the_last_counts<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    let found = answer_of::<B>(TEXT, |folder| {
        let good = fs::read(folder.join(FILE)).expect("the fixture has this file");
        change_weights(folder, spoil);
        fs::rename(folder.join(FILE), folder.join("a.safetensors")).expect("a temporary folder");
        fs::write(folder.join("b.safetensors"), good).expect("a temporary folder");
        // What an index says of a tensor is not believed.
        index(
            folder,
            &[(HEAD, "a.safetensors"), ("ghost", "b.safetensors")],
        );
    })?;
    assert_eq!(found, expected);
    Ok(())
}

fn tie(folder: &Path) {
    edit_json(&folder.join("config.json"), |config| {
        config["tie_word_embeddings"] = json!(true);
    });
}

fn a_head_of_its_own_is_used_though_the_configuration_ties_it<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    assert_eq!(answer_of::<B>(TEXT, tie)?, expected);
    let expected = answer::<B>(&model_folder(LLAVA))?;
    let outer = answer_with_config::<B>(LLAVA, |c| c["tie_word_embeddings"] = json!(true))?;
    assert_eq!(outer, expected);
    let inner = answer_with_config::<B>(LLAVA, |c| {
        c["text_config"]["tie_word_embeddings"] = json!(true);
    })?;
    assert_eq!(inner, expected);
    Ok(())
}

/// A model whose table is its head, and which stores it once.
fn tied(folder: &Path) {
    tie(folder);
    change_weights(folder, |file| {
        file.rename(HEAD, "unused");
        let range = file.range("unused");
        let table = file.range(TABLE);
        assert_eq!(range.len(), table.len());
    });
}

fn a_head_that_is_the_table_is_tied<B: VlmBackend>() -> Result<()> {
    let expected = answer_of::<B>(TEXT, tied)?;
    assert_ne!(expected, answer::<B>(&model_folder(TEXT))?);
    let folder = tempfile::tempdir()?;
    copy_model(TEXT, folder.path());
    tie(folder.path());
    change_weights(folder.path(), |file| {
        let (head, table) = (file.range(HEAD), file.range(TABLE));
        let bytes = file.data[table].to_vec();
        file.data[head].copy_from_slice(&bytes);
    });
    assert_eq!(answer::<B>(folder.path())?, expected);
    let options = LoadOptions::new().with_strictness(Strictness::Strict);
    let pipeline = MultimodalPipeline::<B>::open(folder.path(), &options)?;
    assert!(pipeline.spec().config.decoder.tie_word_embeddings);
    assert_eq!(pipeline.load_report().ignored, [HEAD]);
    Ok(())
}

fn a_head_without_a_table_is_the_table<B: VlmBackend>() -> Result<()> {
    let expected = answer_of::<B>(TEXT, tied)?;
    let found = answer_of::<B>(TEXT, |folder| {
        tied(folder);
        change_weights(folder, |file| file.rename(TABLE, HEAD));
    })?;
    assert_eq!(found, expected);
    Ok(())
}

fn tensors_that_nobody_reads_are_reported<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    copy_model(TEXT, folder.path());
    let names = [
        "model.layers.2.mlp.down_proj.weight",
        "rope.freqs",
        "v_head.summary.weight",
    ];
    change_weights(folder.path(), |file| {
        for name in names {
            file.push(name, "F32", &[2], &[0; 8]);
        }
    });
    let expected = answer::<B>(&model_folder(TEXT))?;
    assert_eq!(answer::<B>(folder.path())?, expected);
    let pipeline = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new())?;
    let unused = &pipeline.load_report().unused;
    let unused: Vec<_> = unused.iter().map(|u| u.tensor.as_str()).collect();
    assert_eq!(unused, names);
    let strict = LoadOptions::new().with_strictness(Strictness::Strict);
    let Err(Error::Checkpoint(CheckpointError::Incomplete { unused, .. })) =
        MultimodalPipeline::<B>::open(folder.path(), &strict)
    else {
        panic!("three tensors are unused");
    };
    assert_eq!(unused, names);
    Ok(())
}

#[cfg(unix)]
fn links_out_of_the_folder_are_followed_unless_it_is_a_strangers<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    for name in [
        FILE,
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ] {
        let (folder, elsewhere) = (tempfile::tempdir()?, tempfile::tempdir()?);
        copy_model(TEXT, folder.path());
        let target = elsewhere.path().join("5f3a");
        fs::copy(folder.path().join(name), &target)?;
        fs::remove_file(folder.path().join(name))?;
        std::os::unix::fs::symlink(&target, folder.path().join(name))?;
        assert_eq!(answer::<B>(folder.path())?, expected, "{name}");
        let inside = LoadOptions::new().with_links(FolderLinks::StayInside);
        let refused = MultimodalPipeline::<B>::open(folder.path(), &inside);
        let Err(Error::Checkpoint(CheckpointError::Outside { path, .. })) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert_eq!(path.file_name(), Some(name.as_ref()));
    }
    let inside = LoadOptions::new().with_links(FolderLinks::StayInside);
    assert_eq!(answer_with::<B>(&model_folder(TEXT), &inside)?, expected);
    Ok(())
}

#[cfg(not(unix))]
fn links_out_of_the_folder_are_followed_unless_it_is_a_strangers<B: VlmBackend>() -> Result<()> {
    let inside = LoadOptions::new().with_links(FolderLinks::StayInside);
    assert!(!answer_with::<B>(&model_folder(TEXT), &inside)?.is_empty());
    Ok(())
}

fn the_model_type_decides_where_the_architecture_is_spelled_otherwise<B: VlmBackend>() -> Result<()>
{
    let expected = answer::<B>(&model_folder(TEXT))?;
    for architecture in ["LLaMAForCausalLM", "LlaMAForCausalLM", "AlpacaForCausalLM"] {
        let found = answer_with_config::<B>(TEXT, |c| c["architectures"] = json!([architecture]))?;
        assert_eq!(found, expected, "{architecture}");
    }
    // The architecture of another family does not count either.
    let llava = json!(["LlavaForConditionalGeneration"]);
    let found = answer_with_config::<B>(TEXT, |c| c["architectures"] = llava)?;
    assert_eq!(found, expected);
    Ok(())
}

fn settings_as_python_writes_them_are_read<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    let found = answer_of::<B>(TEXT, |folder| {
        let path = folder.join("config.json");
        let text = fs::read_to_string(&path).expect("the fixture has this file");
        // Of two values of one key, Python keeps the last.
        let lines = "\u{feff}{\"hidden_size\": 7, \"loss\": NaN, \"best\": [Infinity, -Infinity],";
        let text = text.replacen('{', lines, 1);
        fs::write(path, text).expect("a temporary folder");
        let generation = r#"{"eos_token_id": 2, "typical_p": NaN}"#;
        fs::write(folder.join("generation_config.json"), generation).expect("a temporary folder");
    })?;
    assert_eq!(found, expected);
    Ok(())
}

fn weights_of_a_model_without_its_head_need_no_prefix<B: VlmBackend>() -> Result<()> {
    let expected = answer::<B>(&model_folder(TEXT))?;
    let found = answer_of::<B>(TEXT, |folder| {
        let mut file = SafetensorsFile::read(&folder.join(FILE));
        let names: Vec<String> = file.header.keys().cloned().collect();
        for name in names {
            if let Some(bare) = name.strip_prefix("model.") {
                file.rename(&name, bare);
            }
        }
        file.write();
    })?;
    assert_eq!(found, expected);
    Ok(())
}

fn settings_of_answers_may_stand_in_the_models_own_file<B: VlmBackend>() -> Result<()> {
    let first = answer::<B>(&model_folder(TEXT))?[0];
    let suppressed = |folder: &Path| {
        edit_json(&folder.join("config.json"), |config| {
            config["suppress_tokens"] = json!([first]);
        });
    };
    let found = answer_of::<B>(TEXT, |folder| {
        fs::remove_file(folder.join("generation_config.json")).expect("the fixture has this file");
        suppressed(folder);
    })?;
    assert!(!found.contains(&first), "{found:?}");
    // The file of its own counts alone.
    let found = answer_of::<B>(TEXT, suppressed)?;
    assert_eq!(found[0], first);
    Ok(())
}

fn a_preparation_that_names_no_class_is_that_of_its_model<B: VlmBackend>() -> Result<()> {
    let seen = |folder: &Path| {
        let pipeline = MultimodalPipeline::<B>::open(folder, &LoadOptions::new())?;
        let request = AskRequest::new().image(picture(3)).user("What is this?");
        anyhow::Ok(pipeline.answer(&request.max_new_tokens(6))?.token_ids)
    };
    let seeing = [
        LLAVA,
        "llava_next",
        "instructblip",
        "blip2",
        "idefics3",
        "smolvlm",
    ];
    for name in seeing {
        let folder = tempfile::tempdir()?;
        copy_model(name, folder.path());
        let named = seen(folder.path())?;
        edit_json(&folder.path().join("preprocessor_config.json"), |file| {
            let file = file.as_object_mut().expect("an object");
            file.remove("image_processor_type").expect("its class");
        });
        assert_eq!(seen(folder.path())?, named, "{name}");
    }
    Ok(())
}

fn a_folder_that_says_nothing_of_pictures_is_refused_where_its_models_differ<B: VlmBackend>()
-> Result<()> {
    let without = |name: &str| -> Result<_> {
        let folder = tempfile::tempdir()?;
        copy_model(name, folder.path());
        for file in ["preprocessor_config.json", "processor_config.json"] {
            let file = folder.path().join(file);
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        Ok(MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new()).map(drop))
    };
    for name in [LLAVA, "llava_next"] {
        without(name)?.context(name)?;
    }
    for name in ["instructblip", "blip2", "idefics3", "smolvlm"] {
        let refused = without(name)?;
        let Err(Error::Config(ConfigError::MissingFile { looked_for, .. })) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert_eq!(looked_for[0], "preprocessor_config.json", "{name}");
    }
    Ok(())
}

fn rope(config: &ModelConfig) -> Result<&RopeConfig> {
    config.decoder.positions.rope().context("it is rotated")
}

#[test]
fn of_two_spellings_of_a_setting_the_one_of_transformers_counts() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let read = |config: serde_json::Value| {
        fs::write(folder.path().join("config.json"), config.to_string())?;
        anyhow::Ok(ModelSpec::read(folder.path())?.config)
    };
    let linear = json!({"type": "linear", "factor": 2.0});
    let theta = json!({"rope_type": "default", "rope_theta": 5.0});
    let old = read(json!({"model_type": "llama", "rope_scaling": linear}))?;
    let both = json!({"model_type": "llama", "rope_scaling": linear, "rope_parameters": theta});
    assert_eq!(read(both)?.decoder.positions, old.decoder.positions);
    let new = read(json!({"model_type": "llama", "rope_parameters": theta}))?;
    assert_eq!(rope(&new)?.rope_theta, 5.0);
    let empty = json!({
        "model_type": "llama", "rope_scaling": {}, "rope_parameters": theta, "rope_theta": 7.0
    });
    assert_eq!(read(empty)?.decoder.positions, new.decoder.positions);

    let llama3 = |inner: usize| {
        json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": inner
        })
    };
    let inner = read(json!({"model_type": "llama", "rope_scaling": llama3(64)}))?;
    let outer = json!({
        "model_type": "llama", "rope_scaling": llama3(512), "original_max_position_embeddings": 64
    });
    assert_eq!(read(outer)?.decoder.positions, inner.decoder.positions);

    let image_token = |config: serde_json::Value| {
        let vision = read(config)?.vision;
        anyhow::Ok(vision.and_then(|vision| vision.image_token_id))
    };
    let llava = json!({"model_type": "llava", "image_token_id": 7, "image_token_index": 5});
    assert_eq!(image_token(llava)?, Some(7));
    assert_eq!(
        image_token(json!({"model_type": "llava", "image_token_index": 5}))?,
        Some(5)
    );
    assert_eq!(image_token(json!({"model_type": "llava"}))?, Some(32_000));

    let neox = |config: serde_json::Value| {
        let config = read(config)?;
        let rope = rope(&config)?;
        anyhow::Ok((rope.rope_theta, rope.rotary_dim))
    };
    // GPT-NeoX knows other names than Llama outside of its parameters.
    let other = json!({"model_type": "gpt_neox", "rope_theta": 7.0, "partial_rotary_factor": 0.5});
    assert_eq!(neox(other)?, (1e4, 24));
    let both = json!({
        "model_type": "gpt_neox", "rope_theta": 7.0, "rotary_emb_base": 5.0, "rotary_pct": 0.5
    });
    assert_eq!(neox(both)?, (5.0, 48));
    let inner = json!({
        "model_type": "gpt_neox", "rotary_emb_base": 7.0, "rope_parameters": theta
    });
    assert_eq!(neox(inner)?, (5.0, 24));
    let swish = read(json!({"model_type": "llama", "hidden_act": "swish"}))?;
    assert_eq!(swish.decoder.layer.mlp, MlpKind::Gated);
    Ok(())
}

/// The numbers are those of the classes in `transformers` 5.24.
#[test]
fn what_a_configuration_does_not_say_is_as_in_its_class() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let read = |config: serde_json::Value| {
        fs::write(folder.path().join("config.json"), config.to_string())?;
        anyhow::Ok(ModelSpec::read(folder.path())?.config)
    };
    let llama = read(json!({"model_type": "llama"}))?;
    let decoder = &llama.decoder;
    assert_eq!(
        [
            decoder.vocab_size,
            decoder.hidden_size,
            decoder.num_hidden_layers
        ],
        [32_000, 4096, 32]
    );
    let layer = &decoder.layer;
    assert_eq!(
        [
            layer.num_attention_heads,
            layer.num_key_value_heads,
            layer.head_dim
        ],
        [32, 32, 128]
    );
    assert_eq!(
        [layer.intermediate_size, decoder.max_position_embeddings],
        [11_008, 2048]
    );
    assert_eq!((layer.norm.epsilon, rope(&llama)?.rope_theta), (1e-6, 1e4));
    assert_eq!(
        (decoder.tie_word_embeddings, llama.eos_token_ids),
        (false, vec![2])
    );
    let unset = json!({"model_type": "llama", "eos_token_id": null});
    assert!(read(unset)?.eos_token_ids.is_empty());

    let absent = read(json!({"model_type": "llava", "eos_token_id": 9}))?;
    assert_eq!(
        (absent.decoder.hidden_size, absent.eos_token_ids),
        (4096, vec![9])
    );
    let partial = json!({"model_type": "llava", "vision_config": {"num_hidden_layers": 5}});
    let partial = read(partial)?;
    assert_eq!(partial.eos_token_ids, [2]);
    let sizes = |config: Option<VisionConfig>| {
        let VisualEncoderConfig::Clip(clip) = config.expect("it sees").encoder else {
            panic!("the encoder of LLaVA is CLIP");
        };
        let heads = [clip.num_attention_heads, clip.num_hidden_layers];
        let sizes = [
            clip.hidden_size,
            clip.intermediate_size,
            clip.image_size,
            clip.patch_size,
        ];
        (sizes, heads)
    };
    assert_eq!(sizes(absent.vision), ([1024, 4096, 336, 14], [16, 23]));
    assert_eq!(sizes(partial.vision), ([768, 3072, 224, 32], [12, 4]));
    Ok(())
}

/// As above, for the classes that have parts of their own.
#[test]
fn a_part_that_a_configuration_leaves_out_is_as_in_its_class() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let read = |config: serde_json::Value| {
        fs::write(folder.path().join("config.json"), config.to_string())?;
        anyhow::Ok(ModelSpec::read(folder.path())?.config)
    };
    let neox = read(json!({"model_type": "gpt_neox"}))?;
    let decoder = &neox.decoder;
    let sizes = [
        decoder.vocab_size,
        decoder.hidden_size,
        decoder.num_hidden_layers,
        decoder.layer.num_attention_heads,
        decoder.layer.intermediate_size,
    ];
    assert_eq!(sizes, [50_432, 6144, 44, 64, 24_576]);
    assert_eq!(neox.eos_token_ids, [2]);

    for model_type in ["idefics3", "smolvlm"] {
        // Seven patches a side are no multiple of the class's scale.
        let absent = read(json!({"model_type": model_type, "scale_factor": 7}))?;
        let empty = read(json!({
            "model_type": model_type, "scale_factor": 7, "text_config": {}, "vision_config": {}
        }))?;
        assert_eq!(absent.vision, empty.vision);
        let epsilon = |config: &ModelConfig| config.decoder.layer.norm.epsilon;
        assert_eq!([epsilon(&absent), epsilon(&empty)], [1e-5, 1e-6]);
        assert_eq!(absent.eos_token_ids, [2]);
        let outer = json!({
            "model_type": model_type, "scale_factor": 7, "eos_token_id": 9,
            "text_config": {"eos_token_id": 3}
        });
        assert_eq!(read(outer)?.eos_token_ids, [9]);
        let encoder = absent.vision.context("it sees")?.encoder;
        assert_eq!([encoder.image_size(), encoder.num_features()], [224, 49]);
    }

    let llama = json!({"model_type": "llama"});
    let absent = read(json!({"model_type": "instructblip", "text_config": llama}))?;
    let encoder = absent.vision.context("it sees")?.encoder;
    assert_eq!([encoder.image_size(), encoder.num_features()], [224, 257]);

    let absent = read(json!({"model_type": "blip-2"}))?;
    let named = json!({"model_type": "blip-2", "text_config": {"model_type": "opt"}});
    assert_eq!(absent.decoder, read(named)?.decoder);
    let decoder = &absent.decoder;
    let sizes = [
        decoder.vocab_size,
        decoder.hidden_size,
        decoder.num_hidden_layers,
        decoder.layer.num_attention_heads,
        decoder.layer.intermediate_size,
        decoder.max_position_embeddings,
    ];
    assert_eq!(sizes, [50_272, 768, 12, 12, 3072, 2048]);
    assert_eq!(decoder.layer.mlp, MlpKind::Plain(Activation::Relu));
    assert_eq!(
        (decoder.tie_word_embeddings, absent.eos_token_ids),
        (true, vec![2])
    );
    assert_eq!(absent.vision.context("it sees")?.encoder, encoder);
    Ok(())
}
