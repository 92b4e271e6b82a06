//! The numbers of an answer: tokens, times, kernels and the device.

use std::time::Duration;

use anyhow::Result;
use burn_vlm::generation::PREFILL_CHUNK_TOKENS;
use burn_vlm::kernels::{Implementation, VlmBackend};
use burn_vlm::nn::VisualEncoderConfig;
use burn_vlm::{
    Answer, AskRequest, DeviceError, Error, KernelPolicy, LoadOptions, SampleOptions, Sampling,
};

use crate::fixture::{LLAVA, open, open_fixture, open_with};
use crate::support::picture;

laws![
    usage_counts_every_token_once,
    timings_cover_the_stages_that_ran,
    kernels_of_the_encoder_are_counted_with_those_of_the_answer,
    kernels_are_counted_by_what_was_read,
    drawn_tokens_count_the_sampling_kernel,
    strict_kernels_answer_alike_or_name_what_was_refused,
    strict_kernels_do_not_draw_by_the_reference,
];

fn calls(answer: &Answer, kernel: &str) -> usize {
    let calls = answer
        .kernels
        .calls()
        .filter(|(name, _, _)| *name == kernel);
    calls.map(|(_, _, calls)| calls).sum()
}

fn usage_counts_every_token_once<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let request = AskRequest::new()
        .image(picture(2))
        .image(picture(3))
        .user("What?");
    let request = request.max_new_tokens(7);
    let answer = pipeline.answer(&request)?;
    assert_eq!(
        answer.usage.prompt_tokens,
        pipeline.prompt(&request)?.ids.len()
    );
    assert_eq!(answer.usage.image_tokens, 32);
    assert_eq!(answer.usage.generated_tokens, answer.token_ids.len());
    assert_eq!(answer.device, pipeline.device_name());
    let text = pipeline.answer(&AskRequest::text("What?").max_new_tokens(1))?;
    assert_eq!(
        (text.usage.image_tokens, text.usage.generated_tokens),
        (0, 1)
    );
    Ok(())
}

fn timings_cover_the_stages_that_ran<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let fixture = open_fixture(LLAVA)?;
    let photo = pipeline.encode(&fixture.images[0])?;
    let answer = pipeline.answer(&fixture.request(std::slice::from_ref(&photo)))?;
    let timings = answer.timings;
    assert_eq!(timings.load, pipeline.load_time());
    assert_eq!(
        (timings.image, timings.encode),
        (photo.image_time(), photo.encode_time())
    );
    let stages = [
        timings.load,
        timings.image,
        timings.encode,
        timings.prefill,
        timings.decode,
    ];
    assert!(
        stages.iter().all(|time| *time > Duration::ZERO),
        "{timings:?}"
    );
    let speed = answer
        .decode_tokens_per_second()
        .expect("more than one token");
    let steps = (answer.usage.generated_tokens - 1) as f64;
    assert!((speed * timings.decode.as_secs_f64() - steps).abs() < 1e-6);
    let short = pipeline.answer(&AskRequest::text("What?").max_new_tokens(1))?;
    let unused = [
        short.timings.image,
        short.timings.encode,
        short.timings.decode,
    ];
    assert_eq!(unused, [Duration::ZERO; 3]);
    assert_eq!(short.decode_tokens_per_second(), None);
    Ok(())
}

fn kernels_of_the_encoder_are_counted_with_those_of_the_answer<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let fixture = open_fixture(LLAVA)?;
    let photo = pipeline.encode(&fixture.images[0])?;
    let answer = pipeline.answer(&fixture.request(std::slice::from_ref(&photo)))?;
    let vision = pipeline.spec().config.vision.as_ref();
    let vision = vision.expect("the model has eyes");
    let VisualEncoderConfig::Clip(encoder) = &vision.encoder else {
        panic!("the encoder of LLaVA is CLIP");
    };
    // One before the layers, two in each.
    let norms = 1 + 2 * encoder.num_hidden_layers;
    assert_eq!(calls(&answer, "layer_norm"), norms);
    assert!(
        photo
            .kernels()
            .calls()
            .any(|(name, ..)| name == "layer_norm")
    );
    Ok(())
}

fn kernels_are_counted_by_what_was_read<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let layers = pipeline.spec().config.decoder.num_hidden_layers;
    for num_words in [1, 380] {
        let request = AskRequest::text("a ".repeat(num_words)).max_new_tokens(6);
        let answer = pipeline.answer(&request)?;
        let steps = answer.usage.generated_tokens - 1;
        let chunks = answer.usage.prompt_tokens.div_ceil(PREFILL_CHUNK_TOKENS);
        assert_ne!(
            answer.usage.prompt_tokens % PREFILL_CHUNK_TOKENS,
            1,
            "a chunk is no step"
        );
        assert_eq!(calls(&answer, "argmax"), steps + 1);
        assert_eq!(calls(&answer, "embed_and_splice"), chunks + steps);
        assert_eq!(calls(&answer, "rope_append"), layers * (chunks + steps));
        assert_eq!(calls(&answer, "attention_prefill"), layers * chunks);
        assert_eq!(calls(&answer, "attention_decode"), layers * steps);
        assert_eq!(calls(&answer, "sample"), 0);
    }
    Ok(())
}

fn drawn_tokens_count_the_sampling_kernel<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let drawn = Sampling::Sample(SampleOptions::default());
    let request = AskRequest::text("What?").max_new_tokens(6).sampling(drawn);
    let answer = pipeline.answer(&request)?;
    assert_eq!(calls(&answer, "sample"), answer.usage.generated_tokens);
    assert_eq!(calls(&answer, "argmax"), 0);
    Ok(())
}

fn strict_kernels_do_not_draw_by_the_reference<B: VlmBackend>() -> Result<()> {
    let drawn = Sampling::Sample(SampleOptions::default());
    let request = AskRequest::text("What?").max_new_tokens(2).sampling(drawn);
    let is_by_kernel = |answer: &Answer| {
        let mut calls = answer.kernels.calls();
        !calls.any(|(kernel, by, _)| kernel == "sample" && by == Implementation::Reference)
    };
    let is_by_kernel = is_by_kernel(&open::<B>("vicuna_bin")?.answer(&request)?);
    let options = LoadOptions::new().with_kernels(KernelPolicy::Strict);
    let strict = open_with::<B>("vicuna_bin", options)?.answer(&request);
    match strict {
        Ok(_) => assert!(is_by_kernel),
        Err(error) => {
            assert!(
                !is_by_kernel && error.to_string().contains("sample"),
                "{error}"
            );
        }
    }
    Ok(())
}

fn strict_kernels_answer_alike_or_name_what_was_refused<B: VlmBackend>() -> Result<()> {
    let request = AskRequest::text("What?").max_new_tokens(6);
    let answer = open::<B>("vicuna_bin")?.answer(&request)?;
    let options = LoadOptions::new().with_kernels(KernelPolicy::Strict);
    let strict = open_with::<B>("vicuna_bin", options)?.answer(&request);
    match answer.kernels.refusals().next() {
        None => assert_eq!(strict?.token_ids, answer.token_ids),
        Some(_) => {
            let is_refused = matches!(
                strict,
                Err(Error::Device(DeviceError::KernelRefused { .. }))
            );
            assert!(is_refused, "{strict:?}");
        }
    }
    Ok(())
}
