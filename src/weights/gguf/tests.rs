use std::path::{Path, PathBuf};

use super::*;
use crate::error::CheckpointError;
use crate::weights::WeightType;
use crate::weights::blocks::BlockType;
use crate::weights::checkpoint::Checkpoint;
use crate::weights::gguf_file::Gguf;
use crate::weights::test_files::{checkpoint_error, folder};

/// Numbers of the metadata types.
const U32: u32 = 4;
const TEXT: u32 = 8;
const LIST: u32 = 9;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf")
}

/// A GGUF file, written byte by byte so that it can be wrong on purpose.
#[derive(Clone)]
struct File {
    version: u32,
    entries: Vec<Vec<u8>>,
    tensors: Vec<Vec<u8>>,
    num_entries: Option<u64>,
    num_tensors: Option<u64>,
    data: Vec<u8>,
}

impl File {
    /// Two rows of three f32, and one entry.
    fn sound() -> Self {
        let data = (0..6).flat_map(|value| (value as f32).to_le_bytes());
        Self {
            version: 3,
            entries: vec![entry("general.architecture", TEXT, &text("llama"))],
            tensors: vec![tensor("a", &[3, 2], 0, 0)],
            num_entries: None,
            num_tensors: None,
            data: data.collect(),
        }
    }

    fn with_entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries.push(entry(key, kind, value));
        self
    }

    fn with_tensor(mut self, tensor: Vec<u8>) -> Self {
        self.tensors.push(tensor);
        self
    }

    fn only_tensor(mut self, tensor: Vec<u8>) -> Self {
        self.tensors = vec![tensor];
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let num_tensors = self.num_tensors.unwrap_or(self.tensors.len() as u64);
        let num_entries = self.num_entries.unwrap_or(self.entries.len() as u64);
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(num_tensors.to_le_bytes());
        bytes.extend(num_entries.to_le_bytes());
        bytes.extend(self.entries.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }

    fn open(&self) -> Result<Gguf> {
        open(&self.bytes())
    }
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [&text(key), &kind.to_le_bytes()[..], value].concat()
}

/// A row of the table; `axes` as the file has them.
fn tensor(name: &str, axes: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut row = text(name);
    row.extend((axes.len() as u32).to_le_bytes());
    row.extend(axes.iter().flat_map(|axis| axis.to_le_bytes()));
    row.extend(kind.to_le_bytes());
    row.extend(offset.to_le_bytes());
    row
}

fn open(bytes: &[u8]) -> Result<Gguf> {
    let folder = folder(&[("model.gguf", bytes)]);
    Gguf::open(&folder.path().join("model.gguf"))
}

fn list(kind: u32, count: u64, values: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
}

#[test]
fn the_axes_of_a_tensor_are_turned_around_and_its_values_read() {
    let folder = folder(&[("any.gguf", &File::sound().bytes())]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let tensor = checkpoint.read("a").unwrap();
    assert_eq!(tensor.info().shape(), [2, 3]);
    assert_eq!(tensor.to_f32().unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
}

#[test]
fn every_kind_of_metadata_is_read() {
    let numbers = |values: &[u32]| -> Vec<u8> {
        values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect()
    };
    let texts = [text("x"), text("")].concat();
    let inner = list(U32, 1, &numbers(&[7]));
    let file = File::sound()
        .with_entry("signed", 1, &[0xff])
        .with_entry("unsigned", 10, &u64::MAX.to_le_bytes())
        .with_entry("float", 6, &0.5f32.to_le_bytes())
        .with_entry("bool", 7, &[1])
        .with_entry("numbers", LIST, &list(U32, 2, &numbers(&[3, 4])))
        .with_entry("texts", LIST, &list(TEXT, 2, &texts))
        .with_entry("lists", LIST, &list(LIST, 1, &inner));
    let gguf = file.open().unwrap();
    let expected = [
        ("general.architecture", GgufValue::Text("llama".into())),
        ("signed", GgufValue::Integer(-1)),
        ("unsigned", GgufValue::Integer(i64::MAX)),
        ("float", GgufValue::Float(0.5)),
        ("bool", GgufValue::Bool(true)),
        ("numbers", GgufValue::Integers(vec![3, 4])),
        ("texts", GgufValue::Texts(vec!["x".into(), String::new()])),
        ("lists", GgufValue::Lists),
    ];
    for (key, value) in &expected {
        assert_eq!(gguf.metadata().get(key), Some(value), "{key}");
    }
    assert_eq!(gguf.metadata().iter().count(), expected.len());
}

#[test]
fn blocks_are_the_floats_that_the_gguf_package_makes_of_them() {
    let blocks = Checkpoint::open_files(&[fixtures().join("blocks.gguf")]).unwrap();
    let floats = Checkpoint::open_files(&[fixtures().join("blocks.safetensors")]).unwrap();
    assert_eq!(blocks.len(), 8);
    for (name, info) in blocks.iter() {
        let expected = floats.read(name).unwrap();
        assert_eq!(info.shape(), expected.info().shape(), "{name}");
        let found = blocks.read(name).unwrap().to_f32().unwrap();
        assert_same_bits(name, &found, &expected.to_f32().unwrap());
        let kept = blocks.read_as(name, WeightType::F32).unwrap();
        assert_same_bits(name, kept.as_slice().unwrap(), &found);
    }
}

#[test]
fn the_first_blocks_of_all_are_what_llama_cpp_made_of_them_then() {
    let fixture = Checkpoint::open_files(&[fixtures().join("blocks.safetensors")]).unwrap();
    for (name, block_type) in [
        ("first_Q4_0", BlockType::FirstQ4_0),
        ("first_Q4_1", BlockType::FirstQ4_1),
    ] {
        let expected = fixture.read(name).unwrap().to_f32().unwrap();
        let blocks = fixture.read(&format!("{name}.blocks")).unwrap();
        let mut found = vec![0.0; expected.len()];
        block_type.dequantise(blocks.bytes(), &mut found);
        assert_same_bits(name, &found, &expected);
    }
}

/// What is no number is so in many ways, which mean nothing.
fn assert_same_bits(name: &str, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let pairs = found.iter().zip(expected).enumerate();
    for (index, (found, expected)) in pairs {
        let is_same = found.to_bits() == expected.to_bits();
        let both_nan = found.is_nan() && expected.is_nan();
        assert!(is_same || both_nan, "{name} {index}: {found} {expected}");
    }
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let whole = File::sound().bytes();
    for len in 0..whole.len() {
        let error = checkpoint_error(open(&whole[..len]));
        let expected = matches!(
            error,
            CheckpointError::Truncated { .. } | CheckpointError::Malformed { .. }
        );
        assert!(expected, "{len}: {error}");
    }
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_before_anything_is_allocated() {
    let huge = 1u64 << 62;
    let huge_list = [U32.to_le_bytes().to_vec(), huge.to_le_bytes().to_vec()].concat();
    let many_tensors = File {
        num_tensors: Some(huge),
        ..File::sound()
    };
    let many_entries = File {
        num_entries: Some(huge),
        ..File::sound()
    };
    let sound = File::sound;
    for file in [
        many_tensors,
        many_entries,
        sound().with_entry("k", LIST, &huge_list),
    ] {
        let error = checkpoint_error(file.open());
        assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
    }
    let long_text = sound().with_entry("k", TEXT, &huge.to_le_bytes());
    let long_list = sound().with_entry("k", LIST, &list(U32, 1 << 20, &[]));
    for file in [long_text, long_list] {
        let error = checkpoint_error(file.open());
        assert!(
            matches!(error, CheckpointError::Truncated { .. }),
            "{error}"
        );
    }
}

#[test]
fn lists_in_lists_in_lists_are_refused() {
    let mut nested = list(U32, 0, &[]);
    for _ in 0..10_000 {
        nested = list(LIST, 1, &nested);
    }
    let error = checkpoint_error(File::sound().with_entry("k", LIST, &nested).open());
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
}

#[test]
fn metadata_that_contradicts_itself_is_refused() {
    let sound = File::sound;
    let number = 7u32.to_le_bytes();
    let alignment = |value: u32| sound().with_entry("general.alignment", U32, &value.to_le_bytes());
    for (name, file) in [
        (
            "a key twice",
            sound()
                .with_entry("k", U32, &number)
                .with_entry("k", U32, &number),
        ),
        ("no such type", sound().with_entry("k", 13, &number)),
        (
            "no such type of a list",
            sound().with_entry("k", LIST, &list(99, 0, &[])),
        ),
        ("neither true nor false", sound().with_entry("k", 7, &[2])),
        (
            "no UTF-8",
            sound().with_entry("k", TEXT, &[&1u64.to_le_bytes()[..], &[0xff]].concat()),
        ),
        ("no key", sound().with_entry("", U32, &number)),
        ("alignment 0", alignment(0)),
        ("alignment 3", alignment(3)),
        ("alignment 2^31", alignment(1 << 31)),
        (
            "alignment by a text",
            sound().with_entry("general.alignment", TEXT, &text("32")),
        ),
    ] {
        let error = checkpoint_error(file.open());
        assert!(
            matches!(error, CheckpointError::Malformed { .. }),
            "{name}: {error}"
        );
    }
}

#[test]
fn tensors_that_contradict_the_file_or_each_other_are_refused() {
    let sound = File::sound;
    for (name, file) in [
        ("no axis", sound().only_tensor(tensor("a", &[], 0, 0))),
        ("five axes", sound().only_tensor(tensor("a", &[1; 5], 0, 0))),
        (
            "an axis of nothing",
            sound().only_tensor(tensor("a", &[3, 0], 0, 0)),
        ),
        (
            "a product too large",
            sound().only_tensor(tensor("a", &[1 << 40, 1 << 40], 0, 0)),
        ),
        (
            "an axis too large",
            sound().only_tensor(tensor("a", &[u64::MAX], 0, 0)),
        ),
        (
            "rows that are no blocks",
            sound().only_tensor(tensor("a", &[48, 2], 8, 0)),
        ),
        (
            "rows that are no large blocks",
            sound().only_tensor(tensor("a", &[32, 8], 12, 0)),
        ),
        (
            "an offset between places",
            sound().only_tensor(tensor("a", &[1], 0, 8)),
        ),
        ("an overlap", sound().with_tensor(tensor("b", &[1], 0, 0))),
    ] {
        let error = checkpoint_error(file.open());
        assert!(
            matches!(error, CheckpointError::InvalidTensor { .. }),
            "{name}: {error}"
        );
    }
    for tensor in [
        tensor("a", &[3, 2], 0, 32),
        tensor("a", &[1], 0, u64::MAX - 31),
    ] {
        let error = checkpoint_error(sound().only_tensor(tensor).open());
        assert!(
            matches!(error, CheckpointError::Truncated { .. }),
            "{error}"
        );
    }
    let error = checkpoint_error(sound().with_tensor(tensor("a", &[1], 0, 32)).open());
    assert!(
        matches!(error, CheckpointError::Duplicate { .. }),
        "{error}"
    );
}

#[test]
fn versions_and_types_that_are_not_read_are_named() {
    for (version, says) in [
        (1u32, "version 1"),
        (4, "version 4"),
        (3u32.swap_bytes(), "big-endian"),
    ] {
        let file = File {
            version,
            ..File::sound()
        };
        let error = checkpoint_error(file.open());
        assert!(
            matches!(error, CheckpointError::Unsupported { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
    }
    for (number, says) in [
        (10, "Q2_K"),
        (23, "IQ4_XS"),
        (u32::MAX, "number 4294967295"),
    ] {
        let file = File::sound().only_tensor(tensor("a", &[256], number, 0));
        let error = checkpoint_error(file.open());
        assert!(
            matches!(error, CheckpointError::Unsupported { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(says), "{error}");
    }
    let second = File {
        version: 2,
        ..File::sound()
    };
    assert!(second.open().is_ok());
}

/// One of several files, with one tensor of its own.
fn shard(name: &str, place: u16, count: u16) -> Vec<u8> {
    let file = File::sound()
        .with_entry("split.no", 2, &place.to_le_bytes())
        .with_entry("split.count", 2, &count.to_le_bytes())
        .only_tensor(tensor(name, &[3, 2], 0, 0));
    file.bytes()
}

#[test]
fn a_model_in_several_files_is_opened_by_its_first() {
    let (first, second) = (shard("a", 0, 2), shard("b", 1, 2));
    let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"];
    let whole = folder(&[(names[0], &first), (names[1], &second)]);
    let gguf = Gguf::open(&whole.path().join(names[0])).unwrap();
    let tensors: Vec<_> = gguf.checkpoint().iter().map(|(name, _)| name).collect();
    assert_eq!(tensors, ["a", "b"]);

    let error = checkpoint_error(Gguf::open(&whole.path().join(names[1])));
    assert!(
        matches!(error, CheckpointError::Unsupported { .. }),
        "{error}"
    );
    let half = folder(&[(names[0], &first)]);
    match checkpoint_error(Gguf::open(&half.path().join(names[0]))) {
        CheckpointError::MissingShards { shards, .. } => assert_eq!(shards, [names[1]]),
        other => panic!("{other}"),
    }
    let swapped = folder(&[(names[0], &first), (names[1], &shard("b", 0, 2))]);
    let error = checkpoint_error(Gguf::open(&swapped.path().join(names[0])));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
    let renamed = folder(&[("m.gguf", &first)]);
    let error = checkpoint_error(Gguf::open(&renamed.path().join("m.gguf")));
    assert!(
        matches!(error, CheckpointError::Malformed { .. }),
        "{error}"
    );
}

/// A file of GGJT v1 whose matrices are in blocks.
fn legacy() -> Vec<u8> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    std::fs::read(models.join("ggjt_q4/model/ggml-model-q4_0.bin")).unwrap()
}

#[test]
fn a_file_from_before_gguf_says_what_its_converter_would_say() {
    let gguf = open(&legacy()).unwrap();
    let metadata = gguf.metadata();
    for (key, value) in [
        ("general.architecture", GgufValue::Text("llama".into())),
        ("llama.embedding_length", GgufValue::Integer(64)),
        ("llama.feed_forward_length", GgufValue::Integer(96)),
        ("llama.attention.head_count", GgufValue::Integer(4)),
    ] {
        assert_eq!(metadata.get(key), Some(&value), "{key}");
    }
    let Some(GgufValue::Texts(tokens)) = metadata.get("tokenizer.ggml.tokens") else {
        panic!("it lists its tokens");
    };
    assert_eq!(tokens[..5], ["<unk>", "<s>", "</s>", "<0x00>", "<0x01>"]);
    assert!(
        tokens[259..]
            .iter()
            .any(|token| token.starts_with('\u{2581}'))
    );
    let table = gguf.checkpoint().get("tok_embeddings.weight").unwrap();
    let expected = crate::weights::ElementType::Blocks(BlockType::FirstQ4_0);
    assert_eq!(table.element_type(), expected);
}

#[test]
fn a_file_from_before_gguf_is_refused_where_it_is_cut_or_of_another_version() {
    let whole = legacy();
    for len in (0..whole.len()).step_by(997) {
        let error = checkpoint_error(open(&whole[..len]));
        let expected = matches!(
            error,
            CheckpointError::Truncated { .. }
                | CheckpointError::Malformed { .. }
                | CheckpointError::InvalidTensor { .. }
        );
        assert!(expected, "{len}: {error}");
    }
    for version in [0u8, 2, 3, 4] {
        let mut other = whole.clone();
        other[4] = version;
        let opened = open(&other);
        // The third has the blocks of GGUF, which take other bytes.
        assert!(opened.is_err(), "version {version}");
    }
    let mut endless = whole;
    endless[8..12].fill(0xff);
    let error = checkpoint_error(open(&endless));
    assert!(matches!(error, CheckpointError::Limit { .. }), "{error}");
}
