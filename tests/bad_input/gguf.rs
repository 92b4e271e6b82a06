//! GGUF files that are damaged, or of another model: the header's own rules are tested beside its
//! reader.

use std::fs;
use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    CheckpointError, ConfigError, DeviceError, Error, Result, TemplateError, TokenizerError,
};

use crate::case::{Case, ask_damaged, open, open_damaged, write};
use crate::support::{copy_model, model_folder};

const FILE: &str = "model.gguf";
/// With a SentencePiece vocabulary and a chat template.
const PIECES: &str = "gguf_attention_bias";
/// With blocks and a byte-level vocabulary.
const BLOCKS: &str = "gguf_blocks";
const PAIR: &str = "gguf_llava";
/// A pair whose pictures are cut into tiles.
const TILES: &str = "gguf_llava_next";
const EYES: &str = "mmproj-f32.gguf";

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    let groups = [fields::<B>(), words::<B>(), numbers::<B>(), files::<B>()];
    groups.into_iter().flatten().collect()
}

/// Opens a model in whose file some bytes are others, everywhere.
fn open_with<B: VlmBackend>(name: &str, at: &Path, from: &[u8], to: &[u8]) -> Result<()> {
    open_damaged::<B>(name, at, |at| replace(&at.join(FILE), from, to))
}

/// Opens a model an entry of whose metadata, a number of four bytes, is another.
fn open_with_number<B: VlmBackend>(at: &Path, key: &str, number: [u8; 4]) -> Result<()> {
    open_damaged::<B>(PIECES, at, |at| {
        let mut bytes = fs::read(at.join(FILE)).expect("the fixture has this file");
        let key = place(&bytes, key.as_bytes()) + key.len();
        // The type of the value is between.
        bytes[key + 4..key + 8].copy_from_slice(&number);
        write(&at.join(FILE), bytes);
    })
}

/// Opens the pair with tiles, where some bytes of its eyes are others.
fn open_tiles_with<B: VlmBackend>(at: &Path, from: &[u8], to: &[u8]) -> Result<()> {
    open_damaged::<B>(TILES, at, |at| replace(&at.join(EYES), from, to))
}

fn replace(path: &Path, from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len(), "lengths are part of the file");
    let mut bytes = fs::read(path).expect("the fixture has this file");
    let at = place(&bytes, from);
    bytes[at..at + to.len()].copy_from_slice(to);
    write(path, bytes);
}

fn place(bytes: &[u8], part: &[u8]) -> usize {
    let mut windows = bytes.windows(part.len());
    windows
        .position(|window| window == part)
        .expect("the fixture has these bytes")
}

fn fields<B: VlmBackend>() -> Vec<Case> {
    const HEADS: &str = "llama.attention.head_count";
    const EPSILON: &str = "llama.attention.layer_norm_rms_epsilon";
    vec![
        case!(
            "a GGUF file of another architecture",
            "lemon",
            |at| open_with::<B>(
                PIECES,
                at,
                b"\x05\0\0\0\0\0\0\0llama",
                b"\x05\0\0\0\0\0\0\0lemon"
            ),
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a GGUF file that does not say how many layers there are",
            "llama.block_count",
            |at| open_with::<B>(PIECES, at, b"llama.block_count", b"llama.block_couns"),
            Error::Config(ConfigError::Missing { .. })
        ),
        case!(
            "a GGUF file of no head",
            HEADS,
            |at| open_with_number::<B>(at, HEADS, [0; 4]),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a GGUF file of heads beyond counting",
            HEADS,
            |at| open_with_number::<B>(at, HEADS, [255; 4]),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a GGUF file whose epsilon is no number",
            EPSILON,
            |at| open_with_number::<B>(at, EPSILON, f32::NAN.to_le_bytes()),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a GGUF file whose widths are not those of its tensors",
            "decoder.layers.0.mlp",
            |at| open_with_number::<B>(at, "llama.feed_forward_length", 64u32.to_le_bytes()),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "a GGUF file with a rotation of another width than its heads",
            "llama.rope.dimension_count",
            |at| open_with_number::<B>(at, "llama.rope.dimension_count", 4u32.to_le_bytes()),
            Error::Config(ConfigError::Unsupported { .. })
        ),
    ]
}

fn words<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a GGUF vocabulary of an unknown kind",
            "plamo",
            |at| open_with::<B>(
                PIECES,
                at,
                b"tokenizer.ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0llama",
                b"tokenizer.ggml.model\x08\0\0\0\x05\0\0\0\0\0\0\0plamo"
            ),
            Error::Tokenizer(TokenizerError::Unsupported { .. })
        ),
        case!(
            "a GGUF vocabulary cut into words in an unknown way",
            "smallm",
            |at| open_with::<B>(BLOCKS, at, b"smollm", b"smallm"),
            Error::Tokenizer(TokenizerError::Unsupported { .. })
        ),
        case!(
            "a GGUF vocabulary with one token twice",
            "GGUF",
            |at| open_with::<B>(PIECES, at, b"<0x41>", b"<0x42>"),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a GGUF vocabulary without its tokens",
            "GGUF",
            |at| open_with::<B>(
                PIECES,
                at,
                b"tokenizer.ggml.tokens",
                b"tokenizer.ggml.tokenz"
            ),
            Error::Config(ConfigError::OutOfRange { .. }) | Error::Tokenizer(_)
        ),
        case!(
            "a GGUF file whose chat template cannot be parsed",
            "chat template",
            |at| open_with::<B>(PIECES, at, b"{% endfor %}", b"{% endfox %}"),
            Error::Template(TemplateError::Syntax { .. })
        ),
    ]
}

fn numbers<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a GGUF file that a download cut short",
            FILE,
            |at| open_damaged::<B>(BLOCKS, at, |at| {
                let bytes = fs::read(at.join(FILE)).expect("the fixture has this file");
                write(&at.join(FILE), &bytes[..bytes.len() / 2]);
            }),
            Error::Checkpoint(CheckpointError::Truncated { .. })
        ),
        case!(
            "blocks whose scales are no numbers",
            "not finite numbers",
            |at| {
                copy_model(BLOCKS, at);
                let mut bytes = fs::read(at.join(FILE)).expect("the fixture has this file");
                let end = bytes.len();
                bytes[end - 4096..].fill(0xff);
                write(&at.join(FILE), bytes);
                ask_damaged::<B>(at, "hello")
            },
            Error::Device(DeviceError::NotFinite { .. })
        ),
    ]
}

fn files<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a folder of two models in GGUF",
            "other.gguf",
            |at| open_damaged::<B>(PIECES, at, |at| {
                let copied = fs::copy(model_folder(BLOCKS).join(FILE), at.join("other.gguf"));
                copied.expect("a temporary folder takes a file");
            }),
            Error::Checkpoint(CheckpointError::Ambiguous { .. })
        ),
        case!(
            "eyes in GGUF without a model",
            "mmproj-f32.gguf",
            |at| open_damaged::<B>(PAIR, at, |at| {
                fs::remove_file(at.join("model-f32.gguf")).expect("the fixture has this file");
            }),
            Error::Checkpoint(CheckpointError::Ambiguous { .. })
        ),
        case!(
            "a projector in GGUF of another kind",
            "clip.projector_type",
            |at| open_damaged::<B>(PAIR, at, |at| {
                let kind = |name: &str| [b"\x03\0\0\0\0\0\0\0", name.as_bytes()].concat();
                replace(&at.join(EYES), &kind("mlp"), &kind("ldp"));
            }),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "rows of tiles in GGUF that are merged in an unknown way",
            "clip.vision.mm_patch_merge_type",
            |at| open_tiles_with::<B>(at, b"spatial_unpad", b"spatial_unped"),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "tiles in GGUF of a picture that is not cut",
            "clip.vision.image_aspect_ratio",
            |at| open_tiles_with::<B>(at, b"anyres", b"square"),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "tiles in GGUF of no size",
            "clip.vision.image_grid_pinpoints",
            |at| open_tiles_with::<B>(at, b"image_grid_pinpoints", b"image_grid_pinpoimps"),
            Error::Config(ConfigError::Missing { .. })
        ),
        case!(
            "eyes in GGUF that are a model's",
            "model.gguf",
            |at| {
                copy_model(PIECES, at);
                let eyes = at.join(FILE);
                let options = burn_vlm::LoadOptions::new().with_mmproj(&eyes);
                burn_vlm::MultimodalPipeline::<B>::open(at, &options).map(drop)
            },
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "no file at all",
            "nowhere.gguf",
            |at| open::<B>(&at.join("nowhere.gguf")),
            Error::Io { .. }
        ),
    ]
}
