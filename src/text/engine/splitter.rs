//! Cutting a text into words, stage by stage.

use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper,
    SplitDelimiterBehavior,
};

use super::effort::Effort;
use super::matcher::Matcher;
use super::too_long;

/// One stage of a pre-tokenizer.
#[derive(Debug, Clone)]
pub(crate) enum SplitterStage {
    /// Cuts where something is found, or between what is found.
    Split {
        wanted: Matcher,
        behavior: SplitDelimiterBehavior,
        is_inverted: bool,
    },
    /// A stage of the library that takes time linear in the text.
    Library(PreTokenizerWrapper),
}

impl SplitterStage {
    /// The stage for text that does not stand at the start, where it differs.
    ///
    /// Hugging Face encodes a prompt in one call, and its `Metaspace` with scheme `first` looks at
    /// the offset in the prompt. Spans are encoded one by one here, so that the offset is always
    /// zero, and the scheme has to be switched off instead.
    pub(super) fn continuation(&self) -> Option<Self> {
        match self {
            Self::Library(PreTokenizerWrapper::Metaspace(metaspace))
                if metaspace.prepend_scheme == PrependScheme::First =>
            {
                let mut later = metaspace.clone();
                later.set_prepend_scheme(PrependScheme::Never);
                Some(Self::Library(later.into()))
            }
            Self::Library(_) | Self::Split { .. } => None,
        }
    }

    pub(super) fn apply(
        &self,
        words: &mut PreTokenizedString,
        limit: usize,
        effort: &Effort,
    ) -> Result<(), String> {
        let done = match self {
            Self::Split {
                wanted,
                behavior,
                is_inverted,
            } => words.split(|_, word| {
                let found = wanted.find(word.get(), effort)?;
                let found = if *is_inverted {
                    found.inverted()
                } else {
                    found
                };
                word.split(found, *behavior)
            }),
            Self::Library(pre_tokenizer) => pre_tokenizer.pre_tokenize(words),
        };
        done.map_err(|error| error.to_string())?;
        effort.check()?;
        let words = words.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let length = words.iter().map(|(word, _, _)| word.len()).sum();
        if length > limit {
            return Err(too_long(length, limit));
        }
        Ok(())
    }
}
