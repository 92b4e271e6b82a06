//! Models that read documents say in tags what they saw: Idefics3 with another vocabulary.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    AskRequest, EncodedImage, FinishReason, LoadOptions, LogitRules, MultimodalPipeline, Tokenizer,
};
use serde_json::{Value, json};

use crate::support::{SafetensorsFile, copy_model, edit_json, picture};

laws![
    granite_docling_opens_and_is_asked_in_its_own_words,
    tags_come_out_where_control_tokens_are_asked_for,
    tags_that_are_words_come_out_in_any_case,
];

const MODEL: &str = "idefics3";

/// Tokens of the fixture, and those that stand for them in a vocabulary of documents: SmolDocling has
/// its tags where SmolVLM reserved places.
const TAGS: [(&str, &str); 5] = [
    ("<row_4_col_1>", "<doctag>"),
    ("<row_4_col_2>", "</doctag>"),
    ("<row_4_col_3>", "<otsl>"),
    ("<row_4_col_4>", "<loc_"),
    ("<row_4_col_5>", "<chart>"),
];

/// Those that Granite has beside them: what opens and closes a role, and the end.
const ROLES: [(&str, &str); 3] = [
    ("<|endoftext|>", "<|end_of_text|>"),
    ("<|im_start|>", "<|start_of_role|>"),
    ("<|im_end|>", "<|end_of_role|>"),
];

/// As Granite-Docling's: a role between two tokens, and what is said behind it.
const TEMPLATE: &str = "{%- for message in messages -%}\
    {{- '<|start_of_role|>' + message['role'] + '<|end_of_role|>' -}}\
    {%- for part in message['content'] -%}\
    {{- '<image>' if part['type'] == 'image' else part['text'] -}}{%- endfor -%}\
    {{- '<|end_of_text|>\n' -}}{%- endfor -%}\
    {%- if add_generation_prompt -%}{{- '<|start_of_role|>assistant' -}}\
    {%- if controls -%}{{- ' ' + controls | tojson() -}}{%- endif -%}\
    {{- '<|end_of_role|>' -}}{%- endif -%}";

const QUESTION: &str = "Convert this page to docling.";

/// The model with other words in its vocabulary; `are_special` says what its files call the tags.
fn write_words(folder: &Path, words: &[(&str, &str)], are_special: bool) -> Result<()> {
    copy_model(MODEL, folder);
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        let text = fs::read_to_string(&path)?;
        let replaced = { words.iter() }.fold(text, |text, (old, new)| {
            text.replace(&format!("\"{old}\""), &format!("\"{new}\""))
        });
        fs::write(path, replaced)?;
    }
    let is_tag = |token: &Value| TAGS.iter().any(|(_, tag)| token == tag);
    edit_json(&folder.join("tokenizer.json"), |file| {
        let added = file["added_tokens"].as_array_mut();
        for token in added
            .into_iter()
            .flatten()
            .filter(|token| is_tag(&token["content"]))
        {
            token["special"] = json!(are_special);
        }
    });
    edit_json(&folder.join("tokenizer_config.json"), |file| {
        file["extra_special_tokens"] =
            json!(["<fake_token_around_image>", "<image>", "<end_of_utterance>"]);
    });
    Ok(())
}

/// Granite-Docling: a class for its tokenizer, a tied head, fields at the root and fields that are
/// null, and a token behind the last row of the table, which an older file adds.
fn write_granite(folder: &Path) -> Result<()> {
    write_words(folder, &[&TAGS[..], &ROLES].concat(), true)?;
    fs::remove_file(folder.join("chat_template.json"))?;
    fs::write(folder.join("chat_template.jinja"), TEMPLATE)?;
    edit_json(&folder.join("tokenizer_config.json"), |file| {
        file["tokenizer_class"] = json!("GPT2Tokenizer");
        file["add_prefix_space"] = json!(false);
        file["add_bos_token"] = json!(false);
        file["bos_token"] = json!("<|start_of_role|>");
        file["eos_token"] = json!("<|end_of_text|>");
        file["pad_token"] = json!("<|end_of_text|>");
    });
    edit_json(&folder.join("generation_config.json"), |file| {
        file["eos_token_id"] = json!(0);
    });
    // Nobody reads a tensor of this name.
    let mut weights = SafetensorsFile::read(&folder.join("model.safetensors"));
    weights.rename("lm_head.weight", "rotary_emb.inv_freq");
    weights.write();
    let mut vocab_size = Value::Null;
    edit_json(&folder.join("config.json"), |file| {
        vocab_size = file["text_config"]["vocab_size"].clone();
        file["vocab_size"] = vocab_size.clone();
        file["tie_word_embeddings"] = json!(true);
        for name in ["eos_token_id", "pad_token_id"] {
            file[name] = json!(0);
            file["text_config"][name] = json!(0);
        }
        let text = file["text_config"].as_object_mut().expect("an object");
        text.remove("rope_parameters");
        text.insert("rope_theta".to_string(), json!(10_000.0));
        text.insert("rope_scaling".to_string(), Value::Null);
        text.insert("tie_word_embeddings".to_string(), json!(true));
        for name in ["size", "max_image_size"] {
            file["vision_config"][name] = json!({"longest_edge": 24});
        }
    });
    let added = json!({"<end_of_page>": vocab_size}).to_string();
    fs::write(folder.join("added_tokens.json"), added)?;
    Ok(())
}

fn open<B: VlmBackend>(folder: &Path) -> Result<MultimodalPipeline<B>> {
    Ok(MultimodalPipeline::open(folder, &LoadOptions::new())?)
}

/// All that ids say, control tokens too.
fn spelled(tokenizer: &Tokenizer, ids: &[u32]) -> Result<String> {
    let mut stream = tokenizer.stream(&[])?.with_control_tokens(true);
    let mut text: String = { ids.iter() }.filter_map(|id| stream.push(*id)).collect();
    text.push_str(&stream.finish());
    Ok(text)
}

/// What a model says that has to say these tokens and then its end.
struct Said {
    hidden: String,
    shown: String,
}

/// Asks for the tokens of `pieces`, each of which is one.
fn said<B: VlmBackend>(pipeline: &MultimodalPipeline<B>, pieces: &[&str]) -> Result<Said> {
    let tokenizer = pipeline.tokenizer();
    let ids = pieces.iter().map(|piece| tokenizer.token_id(piece));
    let mut ids: Vec<u32> = ids
        .collect::<Option<_>>()
        .context("a token of the vocabulary")?;
    ids.push(tokenizer.eos_id().context("an end")?);
    let pairs = ids.windows(2).map(|pair| (pair.to_vec(), 2e4));
    let rules = LogitRules {
        sequence_bias: pairs.chain([(vec![ids[0]], 1e4)]).collect(),
        ..LogitRules::default()
    };
    let request = AskRequest::<EncodedImage<B>>::new()
        .image(pipeline.encode(&picture(5))?)
        .user(QUESTION)
        .rules(rules)
        .max_new_tokens(ids.len());
    let hidden = pipeline.answer(&request)?;
    let shown = pipeline.answer(&request.show_control_tokens(true))?;
    assert_eq!(shown.finish, FinishReason::EndOfText);
    assert_eq!(shown.token_ids, ids[..ids.len() - 1]);
    Ok(Said {
        hidden: hidden.text,
        shown: shown.text,
    })
}

/// A table with a place, as both models write one.
const TABLE: [&str; 8] = [
    "<doctag>",
    "<otsl>",
    "<loc_",
    "1",
    "2",
    ">",
    "<chart>",
    "</doctag>",
];

fn granite_docling_opens_and_is_asked_in_its_own_words<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_granite(folder.path())?;
    let pipeline = open::<B>(folder.path())?;
    assert!(pipeline.spec().config.decoder.tie_word_embeddings);
    let request = AskRequest::new().image(picture(5)).user(QUESTION);
    let prompt = pipeline.prompt(&request)?;
    let text = spelled(pipeline.tokenizer(), &prompt.ids)?.replace("<image>", "");
    let around = "<fake_token_around_image>";
    assert!(
        text.starts_with(&format!(
            "<|start_of_role|>user<|end_of_role|>{around}<row_1_col_1>"
        )),
        "{text}"
    );
    let end = format!(
        "\n\n{around}<global-img>{around}{QUESTION}<|end_of_text|>\n\
         <|start_of_role|>assistant<|end_of_role|>"
    );
    assert!(text.ends_with(&end), "{text}");
    Ok(())
}

fn tags_come_out_where_control_tokens_are_asked_for<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_granite(folder.path())?;
    let said = said(&open::<B>(folder.path())?, &TABLE)?;
    assert_eq!(said.hidden, "12>");
    assert_eq!(said.shown, "<doctag><otsl><loc_12><chart></doctag>");
    Ok(())
}

fn tags_that_are_words_come_out_in_any_case<B: VlmBackend>() -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_words(folder.path(), &TAGS, false)?;
    let said = said(&open::<B>(folder.path())?, &TABLE)?;
    assert_eq!(said.hidden, "<doctag><otsl><loc_12><chart></doctag>");
    assert_eq!(said.shown, said.hidden);
    Ok(())
}
