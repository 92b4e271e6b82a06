//! How tokens are drawn, as a user sees it.

use std::collections::BTreeSet;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, LogitRules, MultimodalPipeline, RuleScope, SampleOptions, Sampling};

use crate::fixture::open;

laws![
    the_same_seed_draws_the_same_answer,
    different_seeds_draw_different_answers,
    a_narrow_distribution_is_greedy,
    a_repetition_penalty_keeps_tokens_from_coming_again,
    the_filters_narrow_what_is_drawn,
];

const NUM_TOKENS: usize = 24;

fn answer<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    options: SampleOptions,
    seed: u64,
) -> Result<Vec<u32>> {
    let request = AskRequest::text("Say something.").max_new_tokens(NUM_TOKENS);
    let answer = pipeline.answer(&request.sampling(Sampling::Sample(options)).seed(seed))?;
    Ok(answer.token_ids)
}

fn greedy<B: VlmBackend>(pipeline: &MultimodalPipeline<B>) -> Result<Vec<u32>> {
    let request = AskRequest::text("Say something.").max_new_tokens(NUM_TOKENS);
    Ok(pipeline.answer(&request)?.token_ids)
}

fn the_same_seed_draws_the_same_answer<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    for seed in [0, 1, u64::MAX] {
        let first = answer(&pipeline, SampleOptions::default(), seed)?;
        assert_eq!(first, answer(&pipeline, SampleOptions::default(), seed)?);
    }
    Ok(())
}

fn different_seeds_draw_different_answers<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let mut answers = BTreeSet::new();
    for seed in 0..5 {
        answers.insert(answer(&pipeline, SampleOptions::default(), seed)?);
    }
    assert_eq!(answers.len(), 5);
    Ok(())
}

fn a_narrow_distribution_is_greedy<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let expected = greedy(&pipeline)?;
    let plain = SampleOptions::default();
    let narrow = [
        SampleOptions {
            temperature: 1e-4,
            ..plain
        },
        SampleOptions {
            temperature: f32::MIN_POSITIVE,
            ..plain
        },
        SampleOptions {
            top_k: Some(1),
            ..plain
        },
        SampleOptions {
            top_p: 1e-6,
            ..plain
        },
        SampleOptions {
            min_p: 1.0,
            ..plain
        },
        SampleOptions {
            top_k: Some(1),
            temperature: 1e6,
            ..plain
        },
    ];
    for options in narrow {
        for seed in [0, 7] {
            assert_eq!(answer(&pipeline, options, seed)?, expected, "{options:?}");
        }
    }
    Ok(())
}

fn a_repetition_penalty_keeps_tokens_from_coming_again<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let repeats = |repetition_penalty: f32, sampling: Sampling| -> Result<usize> {
        let rules = LogitRules {
            repetition_penalty,
            scope: RuleScope::Answer,
            ..LogitRules::default()
        };
        let request = AskRequest::text("Say something.").max_new_tokens(NUM_TOKENS);
        let answer = pipeline.answer(&request.sampling(sampling).rules(rules))?;
        let distinct: BTreeSet<&u32> = answer.token_ids.iter().collect();
        Ok(answer.token_ids.len() - distinct.len())
    };
    let likeliest = Sampling::Sample(SampleOptions {
        top_k: Some(1),
        ..SampleOptions::default()
    });
    for sampling in [Sampling::Greedy, likeliest] {
        assert!(
            repeats(1.0, sampling)? > 0,
            "the plain answer repeats itself"
        );
        assert_eq!(repeats(1e4, sampling)?, 0);
        // Below 1 it is a reward: what was said once is said again.
        assert!(repeats(1e-4, sampling)? > NUM_TOKENS / 2);
    }
    Ok(())
}

fn the_filters_narrow_what_is_drawn<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let first_tokens = |options: SampleOptions| -> Result<usize> {
        let mut drawn = BTreeSet::new();
        for seed in 0..24 {
            let request = AskRequest::text("Say something.").max_new_tokens(1);
            let request = request.sampling(Sampling::Sample(options)).seed(seed);
            drawn.extend(pipeline.answer(&request)?.token_ids);
        }
        Ok(drawn.len())
    };
    // So hot that every token is about as likely as any other.
    let hot = SampleOptions {
        temperature: 1e3,
        ..SampleOptions::default()
    };
    assert!(first_tokens(hot)? > 15);
    assert!((2..=3).contains(&first_tokens(SampleOptions {
        top_k: Some(3),
        ..hot
    })?));
    assert_eq!(
        first_tokens(SampleOptions {
            top_k: Some(usize::MAX),
            ..hot
        })?,
        first_tokens(hot)?
    );
    Ok(())
}
