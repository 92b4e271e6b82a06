//! Tokens that the files beside a tokenizer add to its vocabulary, as transformers 5 adds them.

use tokenizers::AddedToken;

use super::added::AddedTokens;
use crate::error::{TokenizerError, visible};
use crate::text::engine::Engine;
use crate::text::tokenizer_config::TokenizerConfig;
use crate::text::warnings::warn_of_each;

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
    let declared = config.added.iter().map(|(&id, token)| (id, token));
    warn_of_ids(added, declared, &beside, file);
    let specials = config.special_tokens().filter(|token| {
        let known = added.id(&token.content).and_then(|id| added.get(id));
        known.is_none_or(|known| !known.token.special)
    });
    let specials = specials.cloned().collect();
    added.add(specials, engine, &beside)
}

/// Says so where tokens get other ids than a file gives them.
pub(super) fn warn_of_ids<'t>(
    added: &AddedTokens,
    declared: impl Iterator<Item = (u32, &'t AddedToken)>,
    says: &str,
    decides: &str,
) {
    warn_of_each(declared.filter_map(|(declared, token)| {
        let id = added.id(&token.content).filter(|&id| id != declared)?;
        let token = visible(&token.content);
        Some(format!(
            "{says} gives `{token}` the id {declared}, by {decides} it is {id}, which counts"
        ))
    }));
}
