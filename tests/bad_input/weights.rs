//! Weights that are damaged, incomplete, or of another model.

use std::fs;
use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::weights::{Strictness, WeightType};
use burn_vlm::{CheckpointError, DeviceError, Error, LoadOptions, MultimodalPipeline, Result};
use serde_json::{Value, json};

use crate::case::{
    Case, TEXT, ask_damaged, open_damaged, open_with_field, open_with_file, open_with_weights,
    remove, set, write,
};
use crate::support::{SafetensorsFile, copy_model, edit_json, repository};

const FILE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const BIN_INDEX: &str = "pytorch_model.bin.index.json";
const BIN: &str = "pytorch_model-00001-of-00002.bin";
const NORM: &str = "model.norm.weight";
const TABLE: &str = "model.embed_tokens.weight";

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    let groups = [
        headers::<B>(),
        fits::<B>(),
        indices::<B>(),
        pickles::<B>(),
        numbers::<B>(),
    ];
    groups.into_iter().flatten().collect()
}

fn open_with_bytes<B: VlmBackend>(folder: &Path, damage: fn(&mut Vec<u8>)) -> Result<()> {
    open_damaged::<B>(TEXT, folder, |folder| {
        let mut bytes = fs::read(folder.join(FILE)).expect("the fixture has this file");
        damage(&mut bytes);
        write(&folder.join(FILE), bytes);
    })
}

/// Opens a model one field of the header of whose weights has another value.
fn open_with_entry<B: VlmBackend>(folder: &Path, field: &str, value: Value) -> Result<()> {
    open_with_weights::<B>(folder, |file| file.header[NORM][field] = value)
}

fn headers<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "weights of no bytes",
            FILE,
            |at| open_with_bytes::<B>(at, Vec::clear),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "weights that a download cut short",
            FILE,
            |at| open_with_bytes::<B>(at, |bytes| bytes.truncate(bytes.len() / 2)),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "weights that were cut inside of the header",
            "has room for",
            |at| open_with_bytes::<B>(at, |bytes| bytes.truncate(100)),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "a pointer of Git LFS in place of the weights",
            "git lfs pull",
            |at| open_with_file::<B>(
                TEXT,
                at,
                FILE,
                "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 138560\n"
            ),
            Error::Checkpoint(CheckpointError::Unsupported { .. })
        ),
        case!(
            "a header of exabytes",
            "the limit is 16777216",
            |at| open_with_bytes::<B>(at, |bytes| bytes[..8].fill(0x7f)),
            Error::Checkpoint(CheckpointError::Limit { .. })
        ),
        case!(
            "a header that is no JSON",
            "header is wrong",
            |at| open_with_bytes::<B>(at, |bytes| bytes[8] = b'!'),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "bytes that belong to no tensor",
            "bytes of data",
            |at| open_with_bytes::<B>(at, |bytes| bytes.extend([0; 6])),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "a tensor stored twice",
            "stored twice",
            |at| open_damaged::<B>(TEXT, at, |at| {
                let file = SafetensorsFile::read(&at.join(FILE));
                let header = Value::Object(file.header.clone()).to_string();
                let again = format!("{{\"{NORM}\":{},{}", file.header[NORM], &header[1..]);
                file.write_with_header(&again);
            }),
            Error::Checkpoint(CheckpointError::Duplicate { .. })
        ),
        case!(
            "tensors that overlap",
            "overlaps the tensor before it",
            |at| open_with_entry::<B>(at, "data_offsets", json!([0, 96])),
            Error::Checkpoint(CheckpointError::InvalidTensor { .. })
        ),
        case!(
            "a tensor that ends before it starts",
            "lies at 96..0",
            |at| open_with_entry::<B>(at, "data_offsets", json!([96, 0])),
            Error::Checkpoint(CheckpointError::InvalidTensor { .. })
        ),
        case!(
            "a shape of other bytes than its tensor's",
            "[47]",
            |at| open_with_entry::<B>(at, "shape", json!([47])),
            Error::Checkpoint(CheckpointError::InvalidTensor { .. })
        ),
        case!(
            "a shape whose product overflows",
            "overflows",
            |at| open_with_entry::<B>(at, "shape", json!([1_u64 << 40, 1_u64 << 40])),
            Error::Checkpoint(CheckpointError::InvalidTensor { .. })
        ),
        case!(
            "an element type that nobody knows",
            "F12",
            |at| open_with_entry::<B>(at, "dtype", json!("F12")),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
    ]
}

fn fits<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!("a tensor by another name", "model.nrm.weight",
            |at| open_with_weights::<B>(at, |file| file.rename(NORM, "model.nrm.weight")),
            Error::Checkpoint(CheckpointError::Incomplete { missing, unused, .. })
                if missing.len() == 1 && unused.len() == 1),
        case!("a surplus tensor where none may be", "model.surplus",
            |at| {
                copy_model(TEXT, at);
                let mut file = SafetensorsFile::read(&at.join(FILE));
                file.push("model.surplus", "F32", &[2], &[0; 8]);
                file.write();
                let options = LoadOptions::new().with_strictness(Strictness::Strict);
                MultimodalPipeline::<B>::open(at, &options).map(drop)
            },
            Error::Checkpoint(CheckpointError::Incomplete { missing, unused, .. })
                if missing.is_empty() && unused.len() == 1),
        case!("weights of a wider model", "48",
            |at| open_with_field::<B>(TEXT, at, "/intermediate_size", json!(96)),
            Error::Checkpoint(CheckpointError::Incomplete { mismatched, .. })
                if mismatched.len() == 4),
        case!("weights of a deeper model", "layers.2",
            |at| open_with_field::<B>(TEXT, at, "/num_hidden_layers", json!(3)),
            Error::Checkpoint(CheckpointError::Incomplete { missing, .. }) if missing.len() == 6),
        case!("weights without the biases that are asked for", "bias",
            |at| open_with_field::<B>(TEXT, at, "/attention_bias", json!(true)),
            Error::Checkpoint(CheckpointError::Incomplete { missing, .. }) if missing.len() == 4),
        case!(
            "a configuration of terabytes over a small file",
            "of 15 parameters",
            |at| open_damaged::<B>(TEXT, at, |at| {
                let config = at.join("config.json");
                set(&config, "/vocab_size", json!(4_000_000));
                set(&config, "/hidden_size", json!(120_000));
                set(&config, "/head_dim", json!(1024));
            }),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "whole numbers where weights should be",
            "I16",
            |at| open_with_entry::<B>(at, "dtype", json!("I16")),
            Error::Checkpoint(CheckpointError::ElementType { .. })
        ),
        case!(
            "two names for one parameter",
            "both stand for the parameter",
            |at| open_with_weights::<B>(at, |file| {
                file.push("decoder.norm.weight", "BF16", &[48], &[0; 96]);
            }),
            Error::Checkpoint(CheckpointError::NameCollision { .. })
        ),
    ]
}

/// Opens a sharded model whose index was damaged.
fn open_with_index<B: VlmBackend>(folder: &Path, damage: fn(&mut Value)) -> Result<()> {
    open_damaged::<B>("llama3_rope", folder, |folder| {
        edit_json(&folder.join(INDEX), damage)
    })
}

fn indices<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "an index that is no JSON",
            INDEX,
            |at| open_with_file::<B>("llama3_rope", at, INDEX, "weight_map: {}"),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "an index of no tensors",
            "weight_map is empty",
            |at| open_with_index::<B>(at, |index| index["weight_map"] = json!({})),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!("a shard that is missing", "model-00002-of-00003.safetensors",
            |at| open_damaged::<B>("llama3_rope", at, |at| {
                remove(&at.join("model-00002-of-00003.safetensors"));
            }),
            Error::Checkpoint(CheckpointError::MissingShards { shards, .. }) if shards.len() == 1),
        case!(
            "a shard outside of the folder",
            "../../secret.safetensors",
            |at| open_with_index::<B>(at, |index| {
                index["weight_map"][NORM] = json!("../../secret.safetensors");
            }),
            Error::Checkpoint(CheckpointError::UnsafeName { .. })
        ),
        case!(
            "a shard by its absolute path",
            "/etc/passwd",
            |at| open_with_index::<B>(at, |index| {
                index["weight_map"][NORM] = json!("/etc/passwd");
            }),
            Error::Checkpoint(CheckpointError::UnsafeName { .. })
        ),
        case!(
            "a shard of another format",
            "pytorch_model.bin",
            |at| open_with_index::<B>(at, |index| {
                index["weight_map"][NORM] = json!("pytorch_model.bin");
            }),
            Error::Checkpoint(CheckpointError::UnsafeName { .. })
        ),
        case!(
            "a shard that is no name",
            INDEX,
            |at| open_with_index::<B>(at, |index| index["weight_map"][NORM] = json!(3)),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "a tensor that the index promises and no shard holds",
            "decoder.norm.weight",
            |at| open_damaged::<B>("llama3_rope", at, |at| {
                let shard = fs::read(at.join(INDEX)).expect("the fixture has this file");
                let index: Value = serde_json::from_slice(&shard).expect("the fixture is sound");
                let shard = index["weight_map"][NORM].as_str().expect("the fixture is sound");
                let mut file = SafetensorsFile::read(&at.join(shard));
                file.rename(NORM, "model.nrm.weight");
                file.write();
            }),
            Error::Checkpoint(CheckpointError::Incomplete { missing, .. }) if missing.len() == 1
        ),
    ]
}

/// Opens a model whose weights are a file that torch, or somebody worse, wrote.
fn open_with_pickle<B: VlmBackend>(folder: &Path, file: &str) -> Result<()> {
    open_damaged::<B>("vicuna_bin", folder, |folder| {
        for shard in [BIN, "pytorch_model-00002-of-00002.bin", BIN_INDEX] {
            remove(&folder.join(shard));
        }
        let from = repository("tests/fixtures/pytorch").join(file);
        fs::copy(from, folder.join("pytorch_model.bin")).expect("the fixture has this file");
    })
}

fn pickles<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a pickle that runs a program",
            "never loaded",
            |at| open_with_pickle::<B>(at, "malicious.bin"),
            Error::Checkpoint(CheckpointError::ForbiddenGlobal { .. })
        ),
        case!(
            "a cut file of the format before 2020",
            "pytorch_model.bin",
            |at| open_with_pickle::<B>(at, "legacy_truncated.bin"),
            Error::Checkpoint(CheckpointError::Truncated { .. })
        ),
        case!(
            "numbers of a big-endian machine",
            "big-endian",
            |at| open_with_pickle::<B>(at, "big_endian.bin"),
            Error::Checkpoint(CheckpointError::Unsupported { .. })
        ),
        case!(
            "a pickle of another model",
            "weights do not fit",
            |at| open_with_pickle::<B>(at, "plain.bin"),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "a shard that a download cut short",
            BIN,
            |at| open_damaged::<B>("vicuna_bin", at, |at| {
                let bytes = fs::read(at.join(BIN)).expect("the fixture has this file");
                write(&at.join(BIN), &bytes[..bytes.len() / 2]);
            }),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
        case!(
            "a web page in place of a shard",
            BIN,
            |at| open_with_file::<B>("vicuna_bin", at, BIN, "<!doctype html><title>404</title>"),
            Error::Checkpoint(CheckpointError::Malformed { .. })
        ),
    ]
}

fn numbers<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a weight too large for half precision",
            "f16",
            |at| {
                copy_model(TEXT, at);
                let mut file = SafetensorsFile::read(&at.join(FILE));
                file.fill_bf16(TABLE, 5..6, 1e6);
                file.write();
                let options = LoadOptions::new().with_weights(WeightType::F16);
                MultimodalPipeline::<B>::open(at, &options).map(drop)
            },
            Error::Checkpoint(
                CheckpointError::Overflow { .. } | CheckpointError::WeightType { .. }
            )
        ),
        case!(
            "weights that are not numbers",
            "not finite",
            |at| {
                copy_model(TEXT, at);
                let mut file = SafetensorsFile::read(&at.join(FILE));
                file.fill_bf16(NORM, 0..48, f32::NAN);
                file.write();
                ask_damaged::<B>(at, "Why?")
            },
            Error::Device(DeviceError::NotFinite { stage: "prefill" })
        ),
    ]
}
