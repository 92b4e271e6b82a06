//! A `tokenizer.json` in the hands of a class that takes little from it.

use super::FILE;
use super::affixes::Affixes;
use super::file::{File, ModelFile};
use crate::text::tokenizer_class::TokenizerClass;

/// How a byte-level tokenizer shows in its file. Files of Llama 3 name `LlamaTokenizer` and are no
/// such thing, so transformers looks for these letters, wherever they stand.
const BYTE_LEVEL: &str = "\"ByteLevel\"";

/// The class, unless it could not have written the file.
pub(super) fn of_file(class: TokenizerClass, bytes: &[u8], file: &File) -> Option<TokenizerClass> {
    let is_llama = matches!(class, TokenizerClass::Llama { .. });
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let found = match &file.model {
        _ if is_llama && text.contains(BYTE_LEVEL) => "is byte-level",
        Some(model) if is_bpe(model) => return Some(class),
        Some(_) | None => "is of another kind",
    };
    log::warn!(
        "the checkpoint names the class {}, {FILE} {found}, which counts",
        class.name()
    );
    None
}

fn is_bpe(model: &ModelFile) -> bool {
    match model.kind.as_deref() {
        Some(kind) => kind == "BPE",
        None => model.merges.is_some(),
    }
}

/// The model as the class builds it of vocabulary and merges.
pub(super) fn model_of(class: TokenizerClass, file: ModelFile) -> ModelFile {
    let is_llama = matches!(class, TokenizerClass::Llama { .. });
    ModelFile {
        kind: file.kind,
        vocab: file.vocab,
        merges: file.merges,
        fuse_unk: Some(is_llama),
        byte_fallback: Some(is_llama),
        ..ModelFile::default()
    }
}

/// What the class puts around a text: what the file says, but for one that says nothing itself.
pub(super) fn affixes_of(class: TokenizerClass, affixes: &Affixes) -> Affixes {
    match class {
        TokenizerClass::Llama { .. }
        | TokenizerClass::Gpt2 { .. }
        | TokenizerClass::Qwen2 { .. } => affixes.clone(),
        TokenizerClass::GptNeoX { .. } => Affixes::default(),
    }
}
