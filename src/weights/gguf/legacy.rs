//! The files of llama.cpp from before GGUF: `ggml`, `GGMF` and `GGJT`, as KoVicuna was published.
//!
//! Seven numbers, the vocabulary, then each tensor behind its own header until the file ends. They
//! know one architecture and leave out what all models of it shared, so that they become the
//! metadata that llama.cpp's converter to GGUF writes for them.

use std::collections::BTreeMap;

use super::metadata::{GgufMetadata, GgufValue};
use super::reader::Reader;
use super::{Contents, table};
use crate::error::{CheckpointError, Result};
use crate::weights::blocks::BlockType;
use crate::weights::element::ElementType;
use crate::weights::file::WeightFile;
use crate::weights::limits::{MAX_METADATA_BYTES, MAX_METADATA_VALUES};
use crate::weights::tensor::{Layout, TensorEntry, check_name_and_rank};

const FORMAT: &str = "GGJT";

/// Tensors begin at multiples of this where they are aligned at all.
const ALIGNMENT: u64 = 32;

/// Ids of LLaMA's vocabulary; what comes behind was added to it.
const LLAMA_VOCAB: usize = 32_000;
/// Ids of its bytes.
const BYTES: std::ops::Range<usize> = 3..259;

/// Number of a tensor that says its feed-forward size.
const GATE: &str = "layers.0.feed_forward.w1.weight";

/// Which of the formats it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// Neither scores nor alignment.
    Ggml,
    /// With scores.
    Ggmf,
    /// Aligned too. The second and the third changed the blocks.
    Ggjt(u32),
}

/// The numbers in front.
struct Sizes {
    vocab: usize,
    embedding: i64,
    heads: i64,
    layers: i64,
    rotary: i64,
}

pub(in crate::weights) fn is_legacy(beginning: &[u8]) -> bool {
    let magics: [&[u8]; 3] = [b"lmgg", b"fmgg", b"tjgg"];
    magics.iter().any(|magic| beginning.starts_with(magic))
}

/// Reads such a file.
///
/// # Errors
///
/// [`CheckpointError`] if it is damaged, or of a version that is not read.
pub(super) fn read(file: &WeightFile) -> Result<Contents> {
    let mut reader = Reader::new(file, FORMAT, MAX_METADATA_BYTES);
    let version = read_version(&mut reader)?;
    let sizes = read_sizes(&mut reader)?;
    let mut metadata = read_vocabulary(&mut reader, version, &sizes)?;
    let tensors = read_tensors(&mut reader, version)?;
    table::require_places(file, &tensors)?;
    describe(file, &sizes, &tensors, &mut metadata)?;
    Ok(Contents { metadata, tensors })
}

fn read_version(reader: &mut Reader) -> Result<Version> {
    let magic = reader.array::<4>()?;
    if &magic == b"lmgg" {
        return Ok(Version::Ggml);
    }
    match (&magic, reader.u32()?) {
        (b"fmgg", 1) => Ok(Version::Ggmf),
        (b"tjgg", version @ 1..=3) => Ok(Version::Ggjt(version)),
        (_, version) => {
            let found = format!("a file of llama.cpp from before GGUF, of version {version}");
            Err(reader.file.unsupported(found, "take the model as GGUF"))
        }
    }
}

fn read_sizes(reader: &mut Reader) -> Result<Sizes> {
    let mut next = || reader.u32().map(i64::from);
    let (vocab, embedding, _multiple) = (next()?, next()?, next()?);
    let (heads, layers, rotary, _file_type) = (next()?, next()?, next()?, next()?);
    let file = reader.file;
    file.require_at_most(
        MAX_METADATA_VALUES,
        "the number of tokens",
        vocab.cast_unsigned(),
    )?;
    Ok(Sizes {
        vocab: vocab as usize,
        embedding,
        heads,
        layers,
        rotary,
    })
}

/// Pieces with their spaces as spaces and their bytes as bytes, which SentencePiece writes
/// otherwise.
fn read_vocabulary(reader: &mut Reader, version: Version, sizes: &Sizes) -> Result<GgufMetadata> {
    let (mut tokens, mut scores, mut types) = (Vec::new(), Vec::new(), Vec::new());
    for id in 0..sizes.vocab {
        let len_bytes = reader.u32()?.into();
        let (token, token_type) = match (reader.bytes(len_bytes)?, id) {
            (_, 0) => ("<unk>".to_string(), 2),
            (_, 1) => ("<s>".to_string(), 3),
            (_, 2) => ("</s>".to_string(), 3),
            ([byte], _) if BYTES.contains(&id) => (format!("<0x{byte:02X}>"), 6),
            ([], _) => (format!("<empty_{id}>"), 3),
            (bytes, LLAMA_VOCAB..) => (text(bytes), 4),
            (bytes, _) => (text(bytes).replace(' ', "\u{2581}"), 1),
        };
        tokens.push(token);
        types.push(token_type);
        scores.push(match version {
            // Pieces were learned in the order of their scores.
            Version::Ggml => -(id as f32),
            Version::Ggmf | Version::Ggjt(_) => f32::from_le_bytes(reader.array()?),
        });
    }
    let mut metadata = GgufMetadata::default();
    for (key, value) in [
        ("model", GgufValue::Text("llama".to_string())),
        ("tokens", GgufValue::Texts(tokens)),
        ("scores", GgufValue::Floats(scores)),
        ("token_type", GgufValue::Integers(types)),
        ("bos_token_id", GgufValue::Integer(1)),
        ("eos_token_id", GgufValue::Integer(2)),
        ("unknown_token_id", GgufValue::Integer(0)),
    ] {
        metadata.insert(&format!("tokenizer.ggml.{key}"), value);
    }
    Ok(metadata)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn read_tensors(reader: &mut Reader, version: Version) -> Result<BTreeMap<String, TensorEntry>> {
    let file = reader.file;
    let mut tensors = BTreeMap::new();
    while !reader.is_at_end() {
        let (name, entry) = read_tensor(reader, version)?;
        reader.skip_to(entry.offset.saturating_add(entry.info.len_bytes() as u64));
        table::require_count(file, tensors.len() as u64 + 1)?;
        if tensors.insert(name.clone(), entry).is_some() {
            let (first, second) = (file.path().to_path_buf(), file.path().to_path_buf());
            let duplicate = CheckpointError::Duplicate {
                tensor: name,
                first,
                second,
            };
            return Err(duplicate.into());
        }
    }
    Ok(tensors)
}

fn read_tensor(reader: &mut Reader, version: Version) -> Result<(String, TensorEntry)> {
    let file = reader.file;
    let (num_axes, name_bytes, type_number) = (reader.u32()?, reader.u32()?, reader.u32()?);
    file.require_at_most(4, "the number of axes of a tensor", num_axes.into())?;
    let mut shape = (0..num_axes)
        .map(|_| reader.u32().map(u64::from))
        .collect::<Result<Vec<_>>>()?;
    shape.reverse();
    let name = text(reader.bytes(name_bytes.into())?);
    check_name_and_rank(file, &name, shape.len())?;
    let element_type = element_type(file, version, &name, type_number)?;
    let info = table::tensor_info(file, &name, element_type, &shape)?;
    let offset = match version {
        Version::Ggml | Version::Ggmf => reader.position(),
        Version::Ggjt(_) => reader.position().next_multiple_of(ALIGNMENT),
    };
    let layout = Layout::Contiguous;
    let entry = TensorEntry {
        info,
        offset,
        layout,
    };
    Ok((name, entry))
}

fn element_type(
    file: &WeightFile,
    version: Version,
    name: &str,
    number: u32,
) -> Result<ElementType> {
    match (version, number) {
        (_, 0 | 1) | (Version::Ggjt(3), _) => table::element_type(file, name, number),
        (Version::Ggml | Version::Ggmf | Version::Ggjt(1), 2) => {
            Ok(ElementType::Blocks(BlockType::FirstQ4_0))
        }
        (Version::Ggml | Version::Ggmf | Version::Ggjt(1), 3) => {
            Ok(ElementType::Blocks(BlockType::FirstQ4_1))
        }
        _ => {
            let found = format!("holding `{name}` in blocks of {version:?}, number {number}");
            Err(file.unsupported(found, "take the model as GGUF"))
        }
    }
}

/// What the converter to GGUF says of such a model.
fn describe(
    file: &WeightFile,
    sizes: &Sizes,
    tensors: &BTreeMap<String, TensorEntry>,
    metadata: &mut GgufMetadata,
) -> Result<()> {
    let gate = tensors.get(GATE).and_then(|gate| gate.info.shape().first());
    let Some(feed_forward) = gate.and_then(|rows| i64::try_from(*rows).ok()) else {
        return Err(file.malformed(FORMAT, format!("it holds no tensor `{GATE}`")));
    };
    let architecture = GgufValue::Text("llama".to_string());
    metadata.insert("general.architecture", architecture);
    for (key, value) in [
        ("context_length", 2048),
        ("embedding_length", sizes.embedding),
        ("block_count", sizes.layers),
        ("feed_forward_length", feed_forward),
        ("attention.head_count", sizes.heads),
        ("rope.dimension_count", sizes.rotary),
    ] {
        metadata.insert(&format!("llama.{key}"), GgufValue::Integer(value));
    }
    // All models of that time are LLaMA, which has this one.
    let epsilon = GgufValue::Float(1e-6);
    metadata.insert("llama.attention.layer_norm_rms_epsilon", epsilon);
    Ok(())
}
