//! Tokens that the files beside a tokenizer add to its vocabulary.

use tokenizers::{AddedToken, Model};

use crate::error::{TokenizerError, visible};
use crate::text::tokenizer_config::TokenizerConfig;
use crate::text::tokenizer_json::MAX_VOCAB_SIZE;

/// Adds the tokens that only the configuration knows, and marks as special what it calls special.
pub(super) fn add_configured_tokens(
    backend: &mut tokenizers::Tokenizer,
    config: &TokenizerConfig,
    file: &str,
) -> Result<(), TokenizerError> {
    let mut possible = next_id(backend);
    let mut tokens = Vec::new();
    for (&declared, token) in &config.added {
        match backend.token_to_id(&token.content) {
            // The vocabulary's own numbering counts; the configuration may be left over.
            Some(id) if id != declared => log::debug!(
                "{:?} has id {id} and not {declared}",
                visible(&token.content)
            ),
            Some(_) if !token.special => {}
            Some(_) => tokens.push(token.clone()),
            None if declared == possible && declared < MAX_VOCAB_SIZE => {
                possible += 1;
                tokens.push(token.clone());
            }
            None => {
                return Err(TokenizerError::TokenId {
                    file: format!("the configuration beside {file}"),
                    token: token.content.clone(),
                    declared,
                    possible,
                });
            }
        }
    }
    add_tokens(backend, tokens)?;
    let mut specials = Vec::new();
    for special in config.special_tokens() {
        match backend.token_to_id(special) {
            Some(_) => specials.push(AddedToken::from(special, true)),
            None => log::debug!(
                "special token {:?} is not in the vocabulary",
                visible(special)
            ),
        }
    }
    add_tokens(backend, specials)
}

/// The id that the library gives to the next new token.
fn next_id(backend: &tokenizers::Tokenizer) -> u32 {
    let behind_model = u32::try_from(backend.get_model().get_vocab_size()).unwrap_or(u32::MAX);
    let behind_added = backend.get_added_tokens_decoder().into_keys().max();
    behind_added
        .map_or(0, |largest| largest.saturating_add(1))
        .max(behind_model)
}

/// Adds tokens to the vocabulary, or marks them as special where it holds them already.
pub(super) fn add_tokens(
    backend: &mut tokenizers::Tokenizer,
    mut tokens: Vec<AddedToken>,
) -> Result<(), TokenizerError> {
    // The flags in the tokenizer's own file are the better ones.
    let known = backend.get_added_tokens_decoder();
    tokens.retain(|token| {
        let known = backend
            .token_to_id(&token.content)
            .and_then(|id| known.get(&id));
        known.is_none_or(|known| token.special && !known.special)
    });
    let added = backend.add_tokens(tokens);
    added.map_err(|error| TokenizerError::Encode {
        reason: error.to_string(),
    })?;
    Ok(())
}
