//! What a checkpoint's `generation_config.json` says of answers.

use serde_json::{Map, Value};

use super::fields::Fields;
use crate::error::Result;
use crate::generation::{BeamOptions, EarlyStopping, LogitRules, SampleOptions, Sampling};

/// Longest list, sequence or length that is read.
const MOST: usize = 1 << 20;

/// How answers are made where a request says nothing else: `generation_config.json`, followed as
/// `generate` of `transformers` 5 follows it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GenerationConfig {
    /// How each token is chosen.
    pub sampling: Sampling,
    /// What is done to the scores before.
    pub rules: LogitRules,
    /// Most tokens of an answer.
    pub max_new_tokens: Option<usize>,
    /// Most tokens of a prompt and its answer, where `max_new_tokens` is not set.
    pub max_length: Option<usize>,
    /// Strings that end an answer.
    pub stop_strings: Vec<String>,
    /// Ids that end an answer; none where the file names none.
    pub eos_token_ids: Vec<u32>,
    /// Settings of the file that would change an answer and are not followed.
    pub not_followed: Vec<&'static str>,
}

/// Settings that `config.json` may hold where there is no file for them: those of older checkpoints.
/// Not `max_length`, which files of that time state without meaning it.
const OF_OLDER: [&str; 25] = [
    "do_sample",
    "num_beams",
    "early_stopping",
    "length_penalty",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "sequence_bias",
    "encoder_repetition_penalty",
    "repetition_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "min_length",
    "min_new_tokens",
    "max_new_tokens",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "renormalize_logits",
    "stop_strings",
];

impl GenerationConfig {
    /// What `config.json` says of answers where there is no `generation_config.json`: first the whole
    /// model's part of it, then that of its decoder.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(super) fn of_config(config: &Map<String, Value>) -> Result<Self> {
        let of_decoder = config.get("text_config").and_then(Value::as_object);
        let is_said = |value: &&Value| !value.is_null();
        let found = OF_OLDER.iter().filter_map(|name| {
            let of_whole = config.get(*name).filter(is_said);
            let value = of_whole.or_else(|| of_decoder?.get(*name).filter(is_said))?;
            Some(((*name).to_string(), value.clone()))
        });
        Self::parse(&found.collect())
    }

    /// # Errors
    /// A [`ConfigError`](crate::ConfigError) for a field of another type than its own.
    pub(super) fn parse(object: &Map<String, Value>) -> Result<Self> {
        let fields = Fields::new(object);
        let samples = fields.flag("do_sample")?.unwrap_or(false);
        let beams = beam_options(&fields)?;
        let sampling = match (samples, beams.num_beams) {
            (true, _) => Sampling::Sample(sample_options(&fields)?),
            (false, 1) => Sampling::Greedy,
            (false, _) => Sampling::Beam(beams),
        };
        Ok(Self {
            sampling,
            rules: rules(&fields)?,
            // What is longer than the context is cut to it.
            max_new_tokens: fields.count("max_new_tokens", 1..=usize::MAX)?,
            max_length: fields.count("max_length", 0..=usize::MAX)?,
            stop_strings: strings(&fields, "stop_strings")?,
            eos_token_ids: fields.token_ids("eos_token_id")?,
            not_followed: not_followed(object, samples),
        })
    }
}

/// `transformers` draws from the 50 likeliest where the file says nothing.
fn sample_options(fields: &Fields<'_>) -> Result<SampleOptions> {
    let number = |name, default: f64| -> Result<f32> {
        Ok(fields.number(name, f64::MIN..=f64::MAX)?.unwrap_or(default) as f32)
    };
    // Others than `transformers` write -1 for all.
    let top_k = number("top_k", 50.0)?;
    Ok(SampleOptions {
        temperature: number("temperature", 1.0)?,
        top_k: (top_k > 0.0).then_some(top_k as usize),
        // At 0 the likeliest one stays, as at the smallest share; above 1 all do.
        top_p: number("top_p", 1.0)?.clamp(f32::MIN_POSITIVE, 1.0),
        min_p: number("min_p", 0.0)?,
    })
}

fn beam_options(fields: &Fields<'_>) -> Result<BeamOptions> {
    let early_stopping = match fields.value("early_stopping") {
        None | Some(Value::Bool(false)) => EarlyStopping::Heuristic,
        Some(Value::Bool(true)) => EarlyStopping::WhenFull,
        Some(Value::String(text)) if text == "never" => EarlyStopping::Never,
        Some(found) => {
            let expected = "true, false or \"never\"";
            return Err(fields.out_of_range("early_stopping", found, expected));
        }
    };
    let length_penalty = fields.number("length_penalty", f64::MIN..=f64::MAX)?;
    Ok(BeamOptions {
        num_beams: fields.count("num_beams", 1..=MOST)?.unwrap_or(1),
        length_penalty: length_penalty.unwrap_or(1.0) as f32,
        early_stopping,
    })
}

fn rules(fields: &Fields<'_>) -> Result<LogitRules> {
    let penalty = |name| -> Result<f32> {
        Ok(fields.number(name, f64::MIN..=f64::MAX)?.unwrap_or(1.0) as f32)
    };
    let count = |name| -> Result<usize> { Ok(fields.count(name, 0..=MOST)?.unwrap_or(0)) };
    let flag = |name| -> Result<bool> { Ok(fields.flag(name)?.unwrap_or(false)) };
    let min_new_tokens = count("min_new_tokens")?;
    Ok(LogitRules {
        sequence_bias: sequence_bias(fields)?,
        encoder_repetition_penalty: penalty("encoder_repetition_penalty")?,
        repetition_penalty: penalty("repetition_penalty")?,
        no_repeat_ngram_size: count("no_repeat_ngram_size")?,
        encoder_no_repeat_ngram_size: count("encoder_no_repeat_ngram_size")?,
        bad_words_ids: bad_words(fields)?,
        // `generate` lets the tokens of the answer decide where both are set.
        min_length: match fields.value("min_new_tokens") {
            None => count("min_length")?,
            Some(_) => 0,
        },
        min_new_tokens,
        forced_bos_token_id: fields.token_ids("forced_bos_token_id")?.first().copied(),
        forced_eos_token_ids: fields.token_ids("forced_eos_token_id")?,
        remove_invalid_values: flag("remove_invalid_values")?,
        exponential_decay_length_penalty: length_decay(fields)?,
        suppress_tokens: fields.token_ids("suppress_tokens")?,
        begin_suppress_tokens: fields.token_ids("begin_suppress_tokens")?,
        renormalize_logits: flag("renormalize_logits")?,
        ..LogitRules::default()
    })
}

fn length_decay(fields: &Fields<'_>) -> Result<Option<(usize, f32)>> {
    const NAME: &str = "exponential_decay_length_penalty";
    let Some(found) = fields.value(NAME) else {
        return Ok(None);
    };
    let pair = match found.as_array().map(Vec::as_slice) {
        Some([start, factor]) => start.as_u64().zip(factor.as_f64()),
        _ => None,
    };
    match pair {
        Some((start, factor)) => Ok(Some((start as usize, factor as f32))),
        None => Err(fields.out_of_range(NAME, found, "a length and a factor")),
    }
}

/// `[[[ids], bias], ...]`.
fn sequence_bias(fields: &Fields<'_>) -> Result<Vec<(Vec<u32>, f32)>> {
    const NAME: &str = "sequence_bias";
    let Some(found) = fields.value(NAME) else {
        return Ok(Vec::new());
    };
    let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([sequence, bias]) => ids(sequence).zip(bias.as_f64().map(|bias| bias as f32)),
        _ => None,
    };
    let pairs = found.as_array().map(|list| list.iter().map(pair).collect());
    let wrong = || fields.out_of_range(NAME, found, "a list of pairs: token ids, and a number");
    pairs.flatten().ok_or_else(wrong)
}

/// `[[ids], ...]`.
fn bad_words(fields: &Fields<'_>) -> Result<Vec<Vec<u32>>> {
    const NAME: &str = "bad_words_ids";
    let Some(found) = fields.value(NAME) else {
        return Ok(Vec::new());
    };
    let words = found.as_array().map(|list| list.iter().map(ids).collect());
    let wrong = || fields.out_of_range(NAME, found, "lists of token ids");
    words.flatten().ok_or_else(wrong)
}

fn ids(value: &Value) -> Option<Vec<u32>> {
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    value.as_array()?.iter().map(id).collect()
}

/// One text, or a list of them.
fn strings(fields: &Fields<'_>, name: &str) -> Result<Vec<String>> {
    match fields.value(name) {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        _ => Ok(fields.texts(name)?.into_iter().map(String::from).collect()),
    }
}

/// Settings that change an answer in `transformers` and not here.
fn not_followed(object: &Map<String, Value>, samples: bool) -> Vec<&'static str> {
    /// With the number that changes nothing.
    const NUMBERS: [(&str, f64); 4] = [
        ("guidance_scale", 1.0),
        ("num_return_sequences", 1.0),
        ("num_beam_groups", 1.0),
        ("diversity_penalty", 0.0),
    ];
    const OF_SAMPLING: [(&str, f64); 5] = [
        ("typical_p", 1.0),
        ("epsilon_cutoff", 0.0),
        ("eta_cutoff", 0.0),
        ("top_h", 1.0),
        ("num_beams", 1.0),
    ];
    const OTHERS: [&str; 5] = [
        "watermarking_config",
        "constraints",
        "force_words_ids",
        "penalty_alpha",
        "max_time",
    ];
    let set = |name: &str| object.get(name).filter(|value| !value.is_null());
    let changes = |(name, neutral): &(&'static str, f64)| {
        set(name).is_some_and(|value| value.as_f64() != Some(*neutral))
    };
    let of_sampling: &[_] = if samples { &OF_SAMPLING } else { &[] };
    let numbers = NUMBERS.iter().chain(of_sampling);
    let numbers = numbers.filter(|setting| changes(setting));
    let others = OTHERS.into_iter().filter(|name| set(name).is_some());
    numbers.map(|(name, _)| *name).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> GenerationConfig {
        let object = serde_json::from_str(json).expect("an object");
        GenerationConfig::parse(&object).expect("sound settings")
    }

    #[test]
    fn a_file_that_says_nothing_is_greedy_without_rules() {
        let neutral = r#"{"_from_model_config": true, "bos_token_id": 1, "repetition_penalty": 1,
            "suppress_tokens": [], "min_length": null, "temperature": 0.6, "top_p": 0.9}"#;
        assert_eq!(parse(neutral), GenerationConfig::default());
    }

    #[test]
    fn drawing_takes_what_transformers_takes_where_the_file_says_nothing() {
        let Sampling::Sample(options) = parse(r#"{"do_sample": true, "top_p": 0.9}"#).sampling
        else {
            panic!("the file asks for drawing");
        };
        assert_eq!((options.top_k, options.top_p), (Some(50), 0.9));
        let Sampling::Sample(options) = parse(r#"{"do_sample": true, "top_k": 0}"#).sampling else {
            panic!("the file asks for drawing");
        };
        assert_eq!((options.top_k, options.temperature), (None, 1.0));
    }

    #[test]
    fn a_top_k_below_one_stands_for_every_token() {
        for top_k in ["0", "-1"] {
            let json =
                format!(r#"{{"do_sample": true, "top_k": {top_k}, "max_length": 1000000000}}"#);
            let config = parse(&json);
            assert_eq!(config.max_length, Some(1_000_000_000));
            let Sampling::Sample(options) = config.sampling else {
                panic!("the file asks for drawing");
            };
            assert_eq!(options.top_k, None);
        }
    }

    #[test]
    fn without_a_file_the_configuration_counts_and_then_that_of_the_decoder() {
        let config = r#"{"repetition_penalty": 1.9, "no_repeat_ngram_size": null, "max_length": 20,
            "vocab_size": 3, "text_config": {"repetition_penalty": 1.1, "no_repeat_ngram_size": 3}}"#;
        let object = serde_json::from_str(config).expect("an object");
        let rules = LogitRules {
            repetition_penalty: 1.9,
            no_repeat_ngram_size: 3,
            ..LogitRules::default()
        };
        let expected = GenerationConfig {
            rules,
            ..GenerationConfig::default()
        };
        assert_eq!(
            GenerationConfig::of_config(&object).expect("sound"),
            expected
        );
    }

    #[test]
    fn every_setting_arrives_where_it_is_followed() {
        let config = parse(
            r#"{"num_beams": 4, "early_stopping": "never", "length_penalty": -1, "max_length": 40,
            "min_length": 9, "bad_words_ids": [[3, 4], [5]], "sequence_bias": [[[7], -1.5]],
            "forced_eos_token_id": 2, "exponential_decay_length_penalty": [4, 1.5],
            "eos_token_id": [2, 3], "stop_strings": "end"}"#,
        );
        let beams = BeamOptions {
            num_beams: 4,
            length_penalty: -1.0,
            early_stopping: EarlyStopping::Never,
        };
        assert_eq!(config.sampling, Sampling::Beam(beams));
        let rules = LogitRules {
            min_length: 9,
            bad_words_ids: vec![vec![3, 4], vec![5]],
            sequence_bias: vec![(vec![7], -1.5)],
            forced_eos_token_ids: vec![2],
            exponential_decay_length_penalty: Some((4, 1.5)),
            ..LogitRules::default()
        };
        assert_eq!(config.rules, rules);
        assert_eq!((config.max_length, config.max_new_tokens), (Some(40), None));
        assert_eq!(config.eos_token_ids, [2, 3]);
        assert_eq!(config.stop_strings, ["end"]);
        assert!(config.not_followed.is_empty());
    }

    #[test]
    fn what_is_not_followed_is_named() {
        let greedy = parse(r#"{"typical_p": 0.2, "guidance_scale": 1.5, "max_time": 2.0}"#);
        assert_eq!(greedy.not_followed, ["guidance_scale", "max_time"]);
        let drawn = parse(r#"{"do_sample": true, "typical_p": 0.2, "num_beams": 3}"#);
        assert_eq!(drawn.not_followed, ["typical_p", "num_beams"]);
    }

    #[test]
    fn settings_of_another_type_are_errors() {
        for json in [
            r#"{"bad_words_ids": [3]}"#,
            r#"{"sequence_bias": {"3": 1.0}}"#,
            r#"{"early_stopping": "soon"}"#,
            r#"{"exponential_decay_length_penalty": 3}"#,
            r#"{"repetition_penalty": "high"}"#,
            r#"{"num_beams": 0}"#,
        ] {
            let object = serde_json::from_str(json).expect("an object");
            let error = GenerationConfig::parse(&object).expect_err(json);
            let field = json.split('"').nth(1).expect("a field");
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}
