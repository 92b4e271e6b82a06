//! Models whose files lie apart, tied together by a YAML.

use std::fs;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{LoadOptions, MultimodalPipeline};

use crate::fixture::{open, open_fixture};
use crate::reference::values;
use crate::support::{model_folder, picture};

laws![
    a_yaml_opens_what_its_folder_does,
    a_yaml_may_lie_anywhere,
    an_answer_ends_in_front_of_the_separator,
    tiles_encoded_together_equal_each_alone,
];

fn answer<B: VlmBackend>(pipeline: &MultimodalPipeline<B>) -> Result<Vec<u32>> {
    let fixture = open_fixture("minigpt4")?;
    Ok(pipeline
        .answer(&fixture.request(&fixture.images))?
        .token_ids)
}

fn a_yaml_opens_what_its_folder_does<B: VlmBackend>() -> Result<()> {
    let yaml = model_folder("minigpt4").join("eval.yaml");
    let by_name = MultimodalPipeline::<B>::open(yaml, &LoadOptions::new())?;
    assert_eq!(answer(&by_name)?, answer(&open::<B>("minigpt4")?)?);
    Ok(())
}

fn a_yaml_may_lie_anywhere<B: VlmBackend>() -> Result<()> {
    let model = model_folder("minigpt4");
    let elsewhere = tempfile::tempdir()?;
    let mut yaml = fs::read_to_string(model.join("eval.yaml"))?;
    let blip = "blip2_pretrained_flant5xxl.pth";
    yaml = yaml.replace(&format!("https://example.com/LAVIS/{blip}"), blip);
    for name in ["eva_vit_g.pth", "llama", "checkpoint.pth", blip] {
        let path = model.join(name).display().to_string();
        yaml = yaml
            .replace(&format!(": {name}\n"), &format!(": {path}\n"))
            .replace(&format!("'{name}'"), &format!("'{path}'"));
    }
    let path = elsewhere.path().join("mine.yml");
    fs::write(&path, yaml)?;
    let pipeline = MultimodalPipeline::<B>::open(&path, &LoadOptions::new())?;
    assert_eq!(answer(&pipeline)?, answer(&open::<B>("minigpt4")?)?);
    Ok(())
}

fn an_answer_ends_in_front_of_the_separator<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("minigpt4")?;
    let tokenizer = pipeline.tokenizer();
    // It is one token behind a space and other tokens elsewhere; the text is what ends an answer.
    for text in ["A cat ###", "A cat###"] {
        let ids = tokenizer.encode(text)?;
        assert!(tokenizer.decode(&ids).ends_with("###"), "{text}");
    }
    let template =
        burn_vlm::ConversationTemplate::by_name(pipeline.spec().family.default_template)?;
    assert_eq!(template.stop, ["###"]);
    Ok(())
}

fn tiles_encoded_together_equal_each_alone<B: VlmBackend>() -> Result<()> {
    for name in ["minigpt4", "minigpt4_llama2", "minigpt_v2"] {
        let pipeline = open::<B>(name)?;
        let tile = |shift| -> Result<_> {
            let pixels = pipeline.preprocess(&picture(shift))?;
            let shape = pixels.shape();
            let data = burn::tensor::TensorData::new(pixels.into_data(), shape);
            Ok(burn::tensor::Tensor::<B, 4>::from_data(
                data,
                pipeline.device(),
            ))
        };
        let (first, second) = (tile(3)?, tile(120)?);
        let both = burn::tensor::Tensor::cat(vec![first.clone(), second.clone()], 0);
        let layout = pipeline.layout(picture(3).size())?;
        let encode = |tiles| values(pipeline.encode_tiles(tiles, &layout, "")?);
        let mut alone = encode(first)?;
        alone.extend(encode(second)?);
        let together = encode(both)?;
        let difference = crate::reference::largest_difference(&together, &alone)?;
        assert!(difference < 1e-4, "{name}: {difference}");
    }
    Ok(())
}
