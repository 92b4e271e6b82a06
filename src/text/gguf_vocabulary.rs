//! The vocabulary inside a GGUF file, as the tokenizer it was made from.

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use super::gguf_pre_tokenizer::PreTokenizer;
use super::sentencepiece;
use super::tokenizer_config::TokenizerConfig;
use crate::error::TokenizerError;
use crate::text::Tokenizer;

/// What errors call it.
const FILE: &str = "the vocabulary of the GGUF file";

/// Kinds of tokens, by their number in `tokenizer.ggml.token_type`.
const UNKNOWN: i64 = 2;
const CONTROL: i64 = 3;
const USER_DEFINED: i64 = 4;

/// What `tokenizer.ggml.*` says.
#[derive(Debug, Clone, Default)]
pub(crate) struct GgufVocabulary {
    /// `llama` for SentencePiece, `gpt2` for byte-level BPE.
    pub(crate) model: String,
    /// How byte-level BPE cuts a text into words.
    pub(crate) pre: Option<String>,
    /// Spelling of each id.
    pub(crate) tokens: Vec<String>,
    /// SentencePiece's score of each.
    pub(crate) scores: Vec<f32>,
    /// Kind of each.
    pub(crate) kinds: Vec<i64>,
    /// Byte-level BPE's merges, best first.
    pub(crate) merges: Vec<String>,
    /// The beginning of a text.
    pub(crate) bos_id: Option<u32>,
    /// The end of one.
    pub(crate) eos_id: Option<u32>,
    /// What cannot be spelled.
    pub(crate) unknown_id: Option<u32>,
    /// What fills a row.
    pub(crate) padding_id: Option<u32>,
    /// Whether the first is put in front of a prompt.
    pub(crate) adds_bos: Option<bool>,
    /// Whether the second is put behind one.
    pub(crate) adds_eos: Option<bool>,
    /// Whether a space is put in front of a text.
    pub(crate) adds_space: Option<bool>,
    /// Whether spaces are joined, which is not implemented.
    pub(crate) has_rewritten_spaces: bool,
}

impl Tokenizer {
    /// Makes the tokenizer of a vocabulary.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the vocabulary is damaged or of an unsupported kind.
    pub(crate) fn from_gguf(vocabulary: &GgufVocabulary) -> Result<Self, TokenizerError> {
        vocabulary.build().map_err(|error| error.about(FILE))
    }
}

impl GgufVocabulary {
    fn build(&self) -> Result<Tokenizer, TokenizerError> {
        self.require_lists()?;
        match self.model.as_str() {
            "llama" => self.sentencepiece(),
            "gpt2" => self.byte_level(),
            found => Err(unsupported("model", found, "llama, gpt2")),
        }
    }

    /// Each list must have an entry a token, and each token another spelling.
    fn require_lists(&self) -> Result<(), TokenizerError> {
        let num_tokens = self.tokens.len();
        for (name, len) in [
            ("scores", self.scores.len()),
            ("token_type", self.kinds.len()),
        ] {
            if len != 0 && len != num_tokens {
                return Err(malformed(format!("{num_tokens} tokens have {len} {name}")));
            }
        }
        match self.has_rewritten_spaces {
            true => Err(unsupported("spaces", "joined", "kept as they are")),
            false => Ok(()),
        }
    }

    fn sentencepiece(&self) -> Result<Tokenizer, TokenizerError> {
        if self.scores.is_empty() {
            return Err(malformed("its tokens have no scores"));
        }
        let kind = |id: usize| self.kinds.get(id).map_or(1, |kind| *kind);
        let pieces = self.tokens.iter().zip(&self.scores).enumerate();
        let pieces = pieces.map(|(id, (token, score))| {
            let kind = i32::try_from(kind(id)).unwrap_or_default();
            (token.clone(), *score, kind)
        });
        let config = self.config();
        Tokenizer::of_sentencepiece(sentencepiece::load_pieces(pieces, &config)?, config)
    }

    /// By way of the file that it was made from.
    fn byte_level(&self) -> Result<Tokenizer, TokenizerError> {
        let pre_tokenizer = PreTokenizer::named(self.pre.as_deref())?;
        let json = json!({
            "version": "1.0",
            "added_tokens": self.added_tokens(),
            "normalizer": pre_tokenizer.normalizer(),
            "pre_tokenizer": pre_tokenizer.json(self.adds_space.unwrap_or(false)),
            "post_processor": self.post_processor(self.adds_bos.unwrap_or(pre_tokenizer.adds_bos())),
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                        "use_regex": true},
            "model": {
                "type": "BPE",
                "ignore_merges": pre_tokenizer.takes_whole_words(),
                "vocab": self.vocab()?,
                "merges": self.merges()?,
            },
        });
        let mut config = self.config();
        // The post-processor says it.
        config.add_bos_token = None;
        config.add_eos_token = None;
        Tokenizer::from_json(json.to_string().as_bytes(), config)
    }

    /// What stands around a text.
    fn post_processor(&self, adds_bos: bool) -> Value {
        let named = |id: Option<u32>, is_added: bool| {
            let id = id.filter(|_| is_added)?;
            let token = self.tokens.get(usize::try_from(id).ok()?)?;
            Some((token.clone(), id))
        };
        let bos = named(self.bos_id, adds_bos);
        let eos = named(self.eos_id, self.adds_eos.unwrap_or(false));
        if bos.is_none() && eos.is_none() {
            return Value::Null;
        }
        let special =
            |token: &(String, u32)| json!({"SpecialToken": {"id": token.0, "type_id": 0}});
        let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let around = |texts: Vec<Value>| -> Vec<Value> {
            let first = bos.iter().map(special);
            first.chain(texts).chain(eos.iter().map(special)).collect()
        };
        let ids = bos.iter().chain(&eos).map(|(token, id)| {
            let entry = json!({"id": token, "ids": [id], "tokens": [token]});
            (token.clone(), entry)
        });
        json!({
            "type": "TemplateProcessing",
            "single": around(vec![text("A")]),
            "pair": around(vec![text("A"), text("B")]),
            "special_tokens": ids.collect::<Map<_, _>>(),
        })
    }

    fn vocab(&self) -> Result<Map<String, Value>, TokenizerError> {
        let mut vocab = Map::with_capacity(self.tokens.len());
        for (id, token) in self.tokens.iter().enumerate() {
            if let Some(first) = vocab.insert(token.clone(), Value::from(id)) {
                return Err(malformed(format!(
                    "tokens {first} and {id} are both `{token}`"
                )));
            }
        }
        Ok(vocab)
    }

    /// The halves of each merge. The first may begin with a space.
    fn merges(&self) -> Result<Vec<[&str; 2]>, TokenizerError> {
        let halves = |(rank, merge): (usize, &'_ String)| {
            let mut spaces = merge.match_indices(' ').filter(|(at, _)| *at > 0);
            spaces
                .next()
                .map(|(at, _)| at)
                .ok_or_else(|| malformed(format!("merge {rank} is `{merge}`")))
        };
        let merges = self.merges.iter().enumerate();
        merges
            .map(|(rank, merge)| {
                let at = halves((rank, merge))?;
                Ok([&merge[..at], &merge[at + 1..]])
            })
            .collect()
    }

    fn added_tokens(&self) -> Vec<Value> {
        let tokens = self.tokens.iter().zip(&self.kinds).enumerate();
        let added = tokens.filter(|(_, (_, kind))| [UNKNOWN, CONTROL, USER_DEFINED].contains(kind));
        let entry = |(id, (token, kind)): (usize, (&String, &i64))| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": *kind != USER_DEFINED,
            })
        };
        added.map(entry).collect()
    }

    fn config(&self) -> TokenizerConfig {
        let named = [
            ("bos_token", self.bos_id),
            ("eos_token", self.eos_id),
            ("unk_token", self.unknown_id),
            ("pad_token", self.padding_id),
        ];
        let spelled = |(name, id): (&str, Option<u32>)| {
            let token = self.tokens.get(usize::try_from(id?).ok()?)?;
            Some((
                name.to_string(),
                AddedToken::from(token.clone(), true).normalized(false),
            ))
        };
        TokenizerConfig {
            named: named.into_iter().filter_map(spelled).collect(),
            add_bos_token: self.adds_bos,
            add_eos_token: self.adds_eos,
            add_prefix_space: self.adds_space,
            ..TokenizerConfig::default()
        }
    }
}

pub(super) fn unsupported(
    part: &'static str,
    found: &str,
    supported: &'static str,
) -> TokenizerError {
    TokenizerError::Unsupported {
        file: FILE.to_string(),
        part,
        found: found.to_string(),
        supported,
    }
}

fn malformed(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Malformed {
        file: FILE.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of ASCII, two merges, and a control token.
    fn byte_level(pre: &str) -> GgufVocabulary {
        let mut tokens: Vec<String> = ('!'..='~').map(String::from).collect();
        tokens.extend(["\u{120}", "12", "hi", "<|end|>"].map(String::from));
        let mut kinds = vec![1; tokens.len()];
        *kinds.last_mut().expect("there are tokens") = CONTROL;
        GgufVocabulary {
            model: "gpt2".to_string(),
            pre: Some(pre.to_string()),
            eos_id: Some(tokens.len() as u32 - 1),
            tokens,
            kinds,
            merges: vec!["1 2".to_string(), "h i".to_string()],
            ..GgufVocabulary::default()
        }
    }

    fn spelled(tokenizer: &Tokenizer, text: &str) -> Vec<String> {
        let ids = tokenizer.encode(text).expect("ASCII can be spelled");
        let token = |id| tokenizer.token_text(id).expect("an id of the vocabulary");
        ids.into_iter().map(token).collect()
    }

    #[test]
    fn the_name_of_the_pre_tokenizer_decides_where_digits_are_cut() {
        let cut = |pre: &str| {
            let tokenizer = Tokenizer::from_gguf(&byte_level(pre)).expect("a known name");
            spelled(&tokenizer, "hi12")
        };
        assert_eq!(cut("smollm"), ["hi", "1", "2"]);
        assert_eq!(cut("gpt-2"), ["hi", "12"]);
        assert_eq!(cut("llama-bpe"), ["hi", "12"]);
        assert_eq!(cut("qwen2"), ["hi", "1", "2"]);
        assert_eq!(cut("tekken"), ["hi", "1", "2"]);
        assert_eq!(cut("default"), ["hi", "12"]);
    }

    #[test]
    fn a_control_token_is_none_in_the_text_of_a_user() {
        let tokenizer = Tokenizer::from_gguf(&byte_level("smollm")).expect("a known name");
        let ids = tokenizer.encode("<|end|>").expect("ASCII can be spelled");
        assert!(ids.len() > 1 && !ids.contains(&tokenizer.eos_id().expect("it is named")));
    }

    #[test]
    fn a_vocabulary_that_contradicts_itself_is_refused() {
        let sound = byte_level("smollm");
        let damaged: [fn(&mut GgufVocabulary); 6] = [
            |it| it.tokens[1] = "!".to_string(),
            |it| it.merges[0] = "12".to_string(),
            |it| it.merges[0] = "1 x9".to_string(),
            |it| it.kinds.truncate(3),
            |it| it.model = "llama".to_string(),
            |it| it.has_rewritten_spaces = true,
        ];
        for (index, damage) in damaged.into_iter().enumerate() {
            let mut vocabulary = sound.clone();
            damage(&mut vocabulary);
            let error = Tokenizer::from_gguf(&vocabulary).expect_err("it is damaged");
            assert!(error.to_string().contains(FILE), "{index}: {error}");
        }
        let error = Tokenizer::from_gguf(&byte_level("klingon")).expect_err("an unknown name");
        assert!(matches!(error, TokenizerError::Unsupported { found, .. } if found == "klingon"));
    }
}
