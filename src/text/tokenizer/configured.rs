//! Tokens that the files beside a tokenizer add to its vocabulary, as transformers 5 adds them.

use tokenizers::AddedToken;

use super::added::AddedTokens;
use crate::error::{TokenizerError, visible};
use crate::text::engine::Engine;
use crate::text::tokenizer_config::TokenizerConfig;

/// Adds the tokens of the configuration, with the flags that it gives to those that are known, and
/// marks as special what it calls special.
///
/// Ids are the vocabulary's own: a known token keeps the one it has, a new one gets the next.
pub(super) fn add_configured_tokens(
    added: &mut AddedTokens,
    engine: &Engine,
    config: &TokenizerConfig,
    file: &str,
) -> Result<(), TokenizerError> {
    let beside = format!("the configuration beside {file}");
    added.add(config.added.values().cloned().collect(), engine, &beside)?;
    for (&declared, token) in &config.added {
        warn_of_id(added, declared, token, &beside, file);
    }
    let specials = config.special_tokens().filter(|token| {
        let known = added.id(&token.content).and_then(|id| added.get(id));
        known.is_none_or(|known| !known.token.special)
    });
    let specials = specials.cloned().collect();
    added.add(specials, engine, &beside)
}

/// Says so where a token gets another id than a file gives it.
pub(super) fn warn_of_id(
    added: &AddedTokens,
    declared: u32,
    token: &AddedToken,
    says: &str,
    decides: &str,
) {
    if let Some(id) = added.id(&token.content)
        && id != declared
    {
        let token = visible(&token.content);
        log::warn!(
            "{says} gives `{token}` the id {declared}, by {decides} it is {id}, which counts"
        );
    }
}
