//! Under the settings of a `generation_config.json` an answer is the one of `transformers`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    AskRequest, BeamOptions, CancelToken, Error, FinishReason, ImageInput, LoadOptions, LogitRules,
    MultimodalPipeline, RequestError, RuleScope, Sampling,
};
use serde_json::{Value, json};

use crate::fixture::{LLAVA, demo_folder, demo_photo, open};
use crate::support::{copy_model, picture, repository};

laws![
    every_setting_gives_the_answer_of_transformers,
    a_request_decides_over_its_checkpoint,
    a_prompt_longer_than_the_checkpoint_lets_it_be_is_an_error,
    rules_may_look_at_the_answer_alone,
    a_search_that_is_interrupted_says_the_best_so_far,
    a_search_ends_at_a_stop_string,
    a_session_goes_on_behind_a_search,
];

/// What `tests/fixtures/generation/generate.py` wrote.
fn expected() -> Result<Value> {
    let path = repository("tests/fixtures/generation/expected.json");
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

/// Writes the settings of a case, with what the reference sets for all of them.
fn write_settings(folder: &Path, settings: &Value, max_new_tokens: &Value) -> Result<()> {
    let mut whole = json!({"eos_token_id": 2});
    if settings.get("max_length").is_none() {
        whole["max_new_tokens"] = max_new_tokens.clone();
    }
    for (name, value) in settings.as_object().context("settings are an object")? {
        whole[name] = value.clone();
    }
    fs::write(folder.join("generation_config.json"), whole.to_string())?;
    Ok(())
}

/// Copies a model and tells what it is asked.
fn prepare(name: &str, folder: &Path, question: &Value) -> Result<AskRequest> {
    if name == "demo" {
        for entry in fs::read_dir(demo_folder())? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        let question = question.as_str().context("the demo has a question")?;
        return Ok(AskRequest::new().image(demo_photo()?).user(question));
    }
    copy_model(name, folder);
    let fixture = repository("tests/fixtures/models").join(name);
    let file: Value = serde_json::from_slice(&fs::read(fixture.join("request.json"))?)?;
    let content = file["messages"][0]["content"].as_array();
    let (text, images) = content
        .and_then(|content| content.split_last())
        .context("a message of pictures and a text")?;
    let mut request = AskRequest::new();
    for image in images {
        let image = image["file"].as_str().context("a picture is a file")?;
        request = request.image(ImageInput::open(fixture.join(image))?);
    }
    let request = request.user(text["text"].as_str().context("a text")?);
    Ok(match file["template"].as_str() {
        Some(template) => request.template(template),
        None => request,
    })
}

fn every_setting_gives_the_answer_of_transformers<B: VlmBackend>() -> Result<()> {
    let expected = expected()?;
    let cases = expected["cases"].as_array().context("a list of cases")?;
    let mut wrong = Vec::new();
    for name in [
        "llava",
        "vicuna_bin",
        "linear_rope",
        "attention_bias",
        "demo",
    ] {
        let folder = tempfile::tempdir()?;
        let request = prepare(name, folder.path(), &expected["demo_question"])?;
        let of_model: Vec<&Value> = cases.iter().filter(|case| case["model"] == name).collect();
        assert!(of_model.len() >= 12, "{name}: {} cases", of_model.len());
        for case in of_model {
            let settings = &case["settings"];
            write_settings(folder.path(), settings, &expected["max_new_tokens"])?;
            let pipeline = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new())?;
            let answer = pipeline
                .answer(&request)
                .with_context(|| format!("{name}: {settings}"))?;
            let theirs: Vec<u32> = serde_json::from_value(case["token_ids"].clone())?;
            if answer.token_ids != theirs {
                let ours = answer.token_ids;
                wrong.push(format!("{name} {settings}: {ours:?}, not {theirs:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// A model whose checkpoint asks for rules, beams and a length.
fn open_set<B: VlmBackend>(settings: Value) -> Result<MultimodalPipeline<B>> {
    let folder = tempfile::tempdir()?;
    copy_model(LLAVA, folder.path());
    fs::write(
        folder.path().join("generation_config.json"),
        settings.to_string(),
    )?;
    Ok(MultimodalPipeline::open(
        folder.path(),
        &LoadOptions::new(),
    )?)
}

fn question() -> AskRequest {
    AskRequest::new().image(picture(3)).user("What is this?")
}

fn a_request_decides_over_its_checkpoint<B: VlmBackend>() -> Result<()> {
    let set = open_set::<B>(json!({
        "eos_token_id": 2, "num_beams": 3, "no_repeat_ngram_size": 1, "max_new_tokens": 7,
    }))?;
    let followed = set.answer(&question())?;
    assert_eq!(followed.token_ids.len(), 7);
    let plain = open::<B>(LLAVA)?.answer(&question().max_new_tokens(9))?;
    assert_ne!(followed.token_ids, plain.token_ids[..7]);
    let decided = question()
        .sampling(Sampling::Greedy)
        .rules(LogitRules::default())
        .max_new_tokens(9);
    assert_eq!(set.answer(&decided)?.token_ids, plain.token_ids);
    // And a model that asks for nothing does what a request does.
    let asked = question()
        .sampling(Sampling::Beam(BeamOptions {
            num_beams: 3,
            ..BeamOptions::default()
        }))
        .rules(LogitRules {
            no_repeat_ngram_size: 1,
            ..LogitRules::default()
        })
        .max_new_tokens(7);
    let answer = open::<B>(LLAVA)?.answer(&asked)?;
    assert_eq!(answer.token_ids, followed.token_ids);
    Ok(())
}

fn a_prompt_longer_than_the_checkpoint_lets_it_be_is_an_error<B: VlmBackend>() -> Result<()> {
    let set = open_set::<B>(json!({"max_length": 40}))?;
    let error = set.answer(&question()).err();
    let is_told = matches!(
        error,
        Some(Error::ContextOverflow {
            context_length: 40,
            ..
        })
    );
    assert!(is_told, "{error:?}");
    assert_eq!(
        set.answer(&question().max_new_tokens(3))?.token_ids.len(),
        3
    );
    let unknown = question().rules(LogitRules {
        bad_words_ids: vec![vec![1, 70_000]],
        ..LogitRules::default()
    });
    let error = set.answer(&unknown.max_new_tokens(3)).err();
    let unknown_id = RequestError::UnknownTokenId {
        id: 70_000,
        vocab_size: 341,
    };
    assert_eq!(
        error.map(|error| error.to_string()),
        Some(Error::from(unknown_id).to_string())
    );
    Ok(())
}

fn rules_may_look_at_the_answer_alone<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let ask = |scope| {
        let rules = LogitRules {
            no_repeat_ngram_size: 1,
            scope,
            ..LogitRules::default()
        };
        pipeline.answer(&question().rules(rules).max_new_tokens(12))
    };
    let prompt = pipeline.prompt(&question())?.ids;
    let whole = ask(RuleScope::PromptAndAnswer)?.token_ids;
    assert!(whole.iter().all(|id| !prompt.contains(id)));
    let alone = ask(RuleScope::Answer)?.token_ids;
    assert!(alone.iter().any(|id| prompt.contains(id)));
    let distinct: std::collections::BTreeSet<&u32> = alone.iter().collect();
    assert_eq!(distinct.len(), alone.len());
    Ok(())
}

fn search(num_beams: usize) -> Sampling {
    Sampling::Beam(BeamOptions {
        num_beams,
        ..BeamOptions::default()
    })
}

fn a_search_that_is_interrupted_says_the_best_so_far<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let cancel = CancelToken::new();
    cancel.cancel();
    let request = question().sampling(search(3)).max_new_tokens(40);
    let answer = pipeline.answer(&request.clone().cancel(cancel))?;
    assert_eq!(
        (answer.finish, answer.text.as_str()),
        (FinishReason::Cancelled, "")
    );
    let soon = std::time::Instant::now() + std::time::Duration::from_secs(3600);
    let whole = pipeline.answer(&request.deadline(soon))?;
    assert_eq!(whole.token_ids.len(), 40);
    assert_eq!(whole.finish, FinishReason::MaxNewTokens);
    Ok(())
}

fn a_search_ends_at_a_stop_string<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let request = question().sampling(search(3)).max_new_tokens(12);
    let whole = pipeline.answer(&request)?;
    let stop = pipeline.tokenizer().decode(&whole.token_ids[4..6]);
    let stop = stop.trim().to_string();
    let stopped = pipeline.answer(&request.stop(stop.clone()))?;
    assert!(!stop.is_empty() && !stopped.text.contains(&stop));
    Ok(())
}

fn a_session_goes_on_behind_a_search<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let mut session = pipeline.session();
    let first = question().max_new_tokens(8).sampling(search(4));
    let answer = session.turn(&first)?;
    assert_eq!(answer.token_ids, pipeline.answer(&first)?.token_ids);
    let second = |request: AskRequest| request.user("And now?").max_new_tokens(8);
    let ours = session.turn(&second(AskRequest::new()))?;
    let whole = second(question().assistant(answer.text));
    assert_eq!(ours.token_ids, pipeline.answer(&whole)?.token_ids);
    Ok(())
}
