//! Whether a decoder's head is its embedding table, where configuration and weights disagree.

use super::ModelConfig;
use crate::error::{Result, visible};
use crate::weights::{Checkpoint, KeyPattern, KeyRule};

const TABLE: &str = "decoder.embed_tokens.weight";
const HEAD: &str = "decoder.lm_head.weight";

impl ModelConfig {
    /// Decides as `transformers` 5 does. Trainers leave `tie_word_embeddings: true` beside a head
    /// that they trained: one that differs from the table is used. One that does not is left in the
    /// file, as `torch.save` stores both. Where the head alone is stored, it is the table.
    ///
    /// # Errors
    ///
    /// Those of reading the two tensors.
    pub(crate) fn settle_head(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        if !self.decoder.tie_word_embeddings {
            return Ok(());
        }
        let Some(head) = self.tensor_of(HEAD, checkpoint) else {
            return Ok(());
        };
        let rule = match self.tensor_of(TABLE, checkpoint) {
            None => KeyRule::rename_prefix(HEAD, TABLE),
            Some(table) if checkpoint.holds_equal(table, head)? => {
                KeyRule::Ignore(KeyPattern::Prefix(head.to_string().into()))
            }
            Some(table) => {
                log::warn!(
                    "config.json sets `tie_word_embeddings`, but the tensors `{}` and `{}` differ; \
                     each is used as it is stored",
                    visible(table),
                    visible(head)
                );
                self.decoder.tie_word_embeddings = false;
                return Ok(());
            }
        };
        self.key_map = std::mem::take(&mut self.key_map).with(rule);
        Ok(())
    }

    /// The name of the tensor that fills a parameter.
    fn tensor_of<'c>(&self, parameter: &str, checkpoint: &'c Checkpoint) -> Option<&'c str> {
        let mut names = checkpoint.iter().map(|(name, _)| name);
        names.find(|name| self.key_map.path(name).as_deref() == Some(parameter))
    }
}
