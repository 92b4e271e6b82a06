//! What a `tokenizer.json` puts around a text.

use tokenizers::{Encoding, PostProcessor, Token, Tokenizer};

/// The ids that are put around a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affixes {
    /// In front of it.
    pub(crate) prefix: Vec<u32>,
    /// Behind it.
    pub(crate) suffix: Vec<u32>,
}

/// Stands for a text; no token has this id.
const TEXT: u32 = u32::MAX;

impl Affixes {
    /// Has a text of one token processed, and takes what is then around it.
    pub(super) fn of(tokenizer: &Tokenizer) -> Result<Self, String> {
        let Some(processor) = tokenizer.get_post_processor() else {
            return Ok(Self::default());
        };
        let text = Encoding::from_tokens(vec![Token::new(TEXT, String::new(), (0, 0))], 0);
        let processed = processor.process(text, None, true);
        let processed = processed.map_err(|error| error.to_string())?;
        let ids = processed.get_ids();
        let is_known = |id: &&u32| **id == TEXT || tokenizer.id_to_token(**id).is_some();
        if let Some(id) = ids.iter().find(|id| !is_known(id)) {
            return Err(format!("the post-processor adds the unknown id {id}"));
        }
        let mut around = ids.split(|&id| id == TEXT).map(<[u32]>::to_vec);
        match (around.next(), around.next(), around.next()) {
            (Some(prefix), Some(suffix), None) => Ok(Self { prefix, suffix }),
            _ => Err("the post-processor does not show the text once".to_string()),
        }
    }
}
