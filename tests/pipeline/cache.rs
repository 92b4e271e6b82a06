//! What a cache holds never shows: only what was read decides the logits.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

use anyhow::{Context, Result, ensure};
use burn::tensor::Tensor;
use burn_vlm::generation::{InputImage, PREFILL_CHUNK_TOKENS, Sequence};
use burn_vlm::kernels::{KernelTrace, VlmBackend};
use burn_vlm::nn::LogitsFor;
use burn_vlm::{AskRequest, EncodedImage};

use crate::decoding::{Case, assert_same_logits};
use crate::fixture::{FamilyModel, LLAVA, family_models, open, open_fixture, seeing_models};
use crate::reference::values;
use crate::support::picture;

laws![
    cached_steps_equal_one_forward_over_everything,
    steps_beyond_the_trained_context_equal_a_fresh_forward_of_each_length,
    a_prefill_in_chunks_equals_one_in_whole,
    a_long_prompt_with_a_picture_across_a_chunk_border_equals_one_forward,
    token_by_token_equals_all_at_once,
    unwritten_rows_are_never_read,
    a_sequence_that_grows_equals_one_that_had_the_room,
    a_sequence_that_goes_on_differently_equals_a_fresh_one,
    a_reading_that_was_stopped_between_chunks_leaves_no_trace,
    a_step_that_reads_everything_again_can_be_stopped,
    equal_ids_under_another_picture_are_read_again,
    what_the_device_has_not_answered_for_is_read_again,
    a_fork_goes_on_as_its_origin_would,
    forks_that_step_together_equal_each_alone,
];

const QUESTION: &str = "Name three colours and count the shapes.";

/// The fixture's own request.
fn fixture_case<B: VlmBackend>(name: &str) -> Result<Case<B>> {
    let (pipeline, fixture) = (open(name)?, open_fixture(name)?);
    let images = fixture.images.iter().map(|image| pipeline.encode(image));
    let images = images.collect::<burn_vlm::Result<Vec<EncodedImage<B>>>>()?;
    let question = fixture.question();
    Case::asked(pipeline, &fixture.request(&images), &images, &question)
}

/// A prompt with a picture whose rows lie on both sides of a border between chunks.
fn case_across_a_border<B: VlmBackend>(border: usize) -> Result<Case<B>> {
    let pipeline = open::<B>(LLAVA)?;
    let photo = pipeline.encode(&picture(1))?;
    let with_system = |num_words: usize| {
        let request = AskRequest::new()
            .system("a ".repeat(num_words))
            .image(photo.clone());
        Case::new(
            pipeline.clone(),
            &request.user(QUESTION),
            std::slice::from_ref(&photo),
        )
    };
    // Every further word is one token.
    let start = with_system(1)?.input.images[0].place.start;
    let case = with_system(1 + border - photo.num_rows() / 2 - start)?;
    let rows = case.input.images[0].range();
    ensure!(
        rows.start < border && border < rows.end,
        "{rows:?} do not cross {border}"
    );
    Ok(case)
}

fn cached_steps_equal_one_forward_over_everything<B: VlmBackend>() -> Result<()> {
    for FamilyModel { name, .. } in &family_models()? {
        let case = fixture_case::<B>(name)?;
        let mut sequence = case.sequence(case.input.len() + 12);
        let (token_ids, steps) = case.greedy(&mut sequence, 12)?;
        let whole = case.whole(&case.input_with(&token_ids[..11]))?;
        let first = (case.input.len() - 1) * case.vocab_size();
        assert_same_logits(name, &steps, &whole[first..], case.vocab_size());
    }
    Ok(())
}

fn a_sequence_that_grows_equals_one_that_had_the_room<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "dynamic_rope"] {
        let case = fixture_case::<B>(name)?;
        let (capacity, device) = (case.input.len() + 12, case.pipeline.device());
        let decoder = &case.pipeline.model().decoder;
        let mut growing = Sequence::alone(decoder, 8, capacity, device);
        // It holds the start of the prompt when it has to grow for the rest.
        let mut start = case.input.clone();
        start.token_ids.truncate(6);
        start.images.clear();
        case.read(&mut growing, &start)?;
        let (token_ids, logits) = case.greedy(&mut growing, 12)?;
        let (expected_ids, expected) = case.greedy(&mut case.sequence(capacity), 12)?;
        assert_eq!(token_ids, expected_ids, "{name}");
        assert_same_logits(name, &logits, &expected, case.vocab_size());
    }
    Ok(())
}

fn steps_beyond_the_trained_context_equal_a_fresh_forward_of_each_length<B: VlmBackend>()
-> Result<()> {
    let case = fixture_case::<B>("dynamic_rope")?;
    let trained = case.pipeline.spec().config.decoder.max_position_embeddings;
    let (num_tokens, len) = (12, case.input.len());
    assert!(
        len < trained && trained < len + num_tokens,
        "the answer crosses the trained context"
    );
    let mut sequence = case.sequence(len + num_tokens);
    let (token_ids, steps) = case.greedy(&mut sequence, num_tokens)?;
    for (index, step) in steps.chunks_exact(case.vocab_size()).enumerate() {
        let whole = case.whole(&case.input_with(&token_ids[..index]))?;
        let last = &whole[whole.len() - case.vocab_size()..];
        assert_same_logits(&format!("token {index}"), step, last, case.vocab_size());
    }
    Ok(())
}

fn a_prefill_in_chunks_equals_one_in_whole<B: VlmBackend>() -> Result<()> {
    for FamilyModel { name, .. } in &family_models()? {
        let case = fixture_case::<B>(name)?;
        let (embeds, decoder) = (case.embeds(&case.input), &case.pipeline.model().decoder);
        let len = case.input.len();
        let whole = case.whole(&case.input)?;
        let rows = case.input.images.first().map(InputImage::range);
        let rows = rows.unwrap_or(len / 2..len);
        let in_the_picture = rows.start + rows.len() / 2;
        for borders in [
            vec![1],
            vec![len - 1],
            vec![in_the_picture],
            vec![2, 3, in_the_picture, len - 2],
        ] {
            let mut cache = case.cache(1, len);
            let (mut chunked, mut start) = (Vec::new(), 0);
            let ends: BTreeSet<usize> = borders.iter().copied().chain([len]).collect();
            for end in ends {
                let chunk = embeds.clone().slice_dim(0, start..end);
                let logits = decoder.prefill(chunk, &mut cache, 0, LogitsFor::All)?;
                chunked.extend(values(logits.context("all logits were asked for")?)?);
                start = end;
            }
            let what = format!("{name}, {borders:?}");
            assert_same_logits(&what, &chunked, &whole, case.vocab_size());
        }
    }
    Ok(())
}

fn a_long_prompt_with_a_picture_across_a_chunk_border_equals_one_forward<B: VlmBackend>()
-> Result<()> {
    for border in [PREFILL_CHUNK_TOKENS, 2 * PREFILL_CHUNK_TOKENS] {
        let case = case_across_a_border::<B>(border)?;
        let whole = case.whole(&case.input)?;
        let mut sequence = case.sequence(case.input.len());
        let last = case.read(&mut sequence, &case.input)?;
        let expected = &whole[whole.len() - case.vocab_size()..];
        assert_same_logits(
            &format!("border {border}"),
            &last,
            expected,
            case.vocab_size(),
        );
    }
    Ok(())
}

fn token_by_token_equals_all_at_once<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "vicuna_bin", "attention_bias"] {
        let case = fixture_case::<B>(name)?;
        let (embeds, decoder) = (case.embeds(&case.input), &case.pipeline.model().decoder);
        let mut cache = case.cache(1, case.input.len());
        let mut stepwise = Vec::new();
        for position in 0..case.input.len() {
            let row = embeds.clone().slice_dim(0, position..position + 1);
            stepwise.extend(values(decoder.decode(row, &mut cache, &[0])?)?);
        }
        assert_same_logits(
            name,
            &stepwise,
            &case.whole(&case.input)?,
            case.vocab_size(),
        );
    }
    Ok(())
}

fn unwritten_rows_are_never_read<B: VlmBackend>() -> Result<()> {
    let models = family_models()?;
    let names = models.iter().map(|model| model.name.as_str());
    for name in names.chain(["dynamic_rope"]) {
        let case = fixture_case::<B>(name)?;
        let capacity = case.input.len() + 100;
        let (mut clean, mut poisoned) = (case.sequence(capacity), case.sequence(capacity));
        poisoned.poison();
        let (expected_ids, expected) = case.greedy(&mut clean, 8)?;
        let (token_ids, steps) = case.greedy(&mut poisoned, 8)?;
        assert_eq!(token_ids, expected_ids, "{name}");
        assert_same_logits(name, &steps, &expected, case.vocab_size());
    }
    Ok(())
}

fn a_sequence_that_goes_on_differently_equals_a_fresh_one<B: VlmBackend>() -> Result<()> {
    let case = fixture_case::<B>(LLAVA)?;
    let rows = case.input.images[0].range();
    let len = case.input.len();
    let mut sequence = case.sequence(len + 8);
    sequence.poison();
    case.read(&mut sequence, &case.input_with(&[7, 8, 9, 10]))?;
    // Changed behind the picture, in front of it, and cut in the middle of it.
    for at in [len - 1, rows.end, rows.start - 1, 0, len - 1] {
        let mut changed = case.input_with(&[9, 10]);
        changed.token_ids[at] = 20 + at as u32 % 3;
        let ours = case.read(&mut sequence, &changed)?;
        let fresh = case.read(&mut case.sequence(changed.len()), &changed)?;
        assert_same_logits(
            &format!("changed at {at}"),
            &ours,
            &fresh,
            case.vocab_size(),
        );
        assert_eq!(sequence.len(), changed.len());
    }
    let mut cut = case.input.clone();
    cut.token_ids.truncate(rows.start);
    cut.images.clear();
    let ours = case.read(&mut sequence, &cut)?;
    let fresh = case.read(&mut case.sequence(cut.len()), &cut)?;
    assert_same_logits(
        "cut in front of the picture",
        &ours,
        &fresh,
        case.vocab_size(),
    );
    Ok(())
}

/// Reads the first chunk of `case` and stops there: in the middle of its picture.
fn read_one_chunk<B: VlmBackend>(case: &Case<B>) -> Result<Sequence<B>> {
    let mut sequence = case.sequence(case.input.len() + 2);
    let chunks = Cell::new(0);
    let go_on = || {
        chunks.set(chunks.get() + 1);
        if chunks.get() > 1 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let decoder = &case.pipeline.model().decoder;
    let logits = sequence.read(decoder, &case.input, go_on)?;
    assert!(logits.is_none());
    assert_eq!(sequence.len(), PREFILL_CHUNK_TOKENS);
    Ok(sequence)
}

fn a_reading_that_was_stopped_between_chunks_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    let case = case_across_a_border::<B>(PREFILL_CHUNK_TOKENS)?;
    let mut other_picture = case.input.clone();
    other_picture.images[0].key = 77;
    other_picture.images[0].place.rows = Tensor::ones_like(&other_picture.images[0].place.rows);
    let mut ids_alone = case.input.clone();
    ids_alone.images.clear();
    let longer = case.input_with(&[9, 10]);
    // The last one twice: then nothing is new.
    let inputs = [
        case.input.clone(),
        ids_alone,
        other_picture,
        longer.clone(),
        longer,
    ];
    for first in 0..inputs.len() {
        let mut sequence = read_one_chunk(&case)?;
        // Whatever is read first, and what is read behind that.
        for input in inputs.iter().cycle().skip(first).take(inputs.len()) {
            let fresh = case.read(&mut case.sequence(input.len()), input)?;
            let ours = case.read(&mut sequence, input)?;
            assert_same_logits("after a stop", &ours, &fresh, case.vocab_size());
        }
    }
    Ok(())
}

fn a_step_that_reads_everything_again_can_be_stopped<B: VlmBackend>() -> Result<()> {
    let case = fixture_case::<B>("dynamic_rope")?;
    let decoder = &case.pipeline.model().decoder;
    let trained = decoder.config().max_position_embeddings;
    let beyond = case.input_with(&vec![7; trained - case.input.len()]);
    let mut sequence = case.sequence(trained + 4);
    case.read(&mut sequence, &beyond)?;
    // Every length beyond the trained one rotates everything anew.
    let stopped = sequence.step(decoder, 9, || ControlFlow::Break(()))?;
    assert!(stopped.is_none() && sequence.is_empty());
    let longer = case.input_with(&[vec![7; trained - case.input.len()], vec![9]].concat());
    let ours = case.read(&mut sequence, &longer)?;
    let fresh = case.read(&mut case.sequence(longer.len()), &longer)?;
    assert_same_logits("after a stop", &ours, &fresh, case.vocab_size());
    Ok(())
}

fn equal_ids_under_another_picture_are_read_again<B: VlmBackend>() -> Result<()> {
    for name in &seeing_models()? {
        let case = fixture_case::<B>(name)?;
        let mut other = case.input.clone();
        // The last: a window may hide those before it.
        let image = other
            .images
            .last_mut()
            .context("the fixture has a picture")?;
        image.key = 77;
        image.place.rows = Tensor::ones_like(&image.place.rows);
        let mut sequence = case.sequence(case.input.len());
        let first = case.read(&mut sequence, &case.input)?;
        let ours = case.read(&mut sequence, &other)?;
        let fresh = case.read(&mut case.sequence(other.len()), &other)?;
        assert_same_logits(name, &ours, &fresh, case.vocab_size());
        assert_ne!(first, ours, "the picture decides something");
        let again = case.read(&mut sequence, &case.input)?;
        assert_same_logits(name, &again, &first, case.vocab_size());
    }
    Ok(())
}

fn what_the_device_has_not_answered_for_is_read_again<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "dynamic_rope"] {
        let case = fixture_case::<B>(name)?;
        let decoder = &case.pipeline.model().decoder;
        let capacity = case.input.len() + 12;
        let mut sequence = case.sequence(capacity);
        case.read(&mut sequence, &case.input)?;
        let held = sequence.len();
        // Queued and never answered: a caller that failed in between says nothing.
        for token_id in [7, 8] {
            sequence.step(decoder, token_id, || ControlFlow::Continue(()))?;
        }
        sequence.rollback();
        let mut expected = case.sequence(capacity);
        // Scaling beyond the trained context leaves nothing that could be kept.
        assert!(
            [0, held].contains(&sequence.len()),
            "{name}: {}",
            sequence.len()
        );
        // The same tokens again: a cache that trusted them would read the last alone.
        let again = case.input_with(&[7, 8]);
        let (ours, report) = KernelTrace::collect(|| case.read(&mut sequence, &again));
        let mut kernels = report.calls().map(|(kernel, ..)| kernel);
        assert!(
            kernels.any(|kernel| kernel == "attention_prefill"),
            "{name}: what was queued is trusted"
        );
        let theirs = case.read(&mut expected, &again)?;
        assert_same_logits(name, &ours?, &theirs, case.vocab_size());
    }
    Ok(())
}

fn a_fork_goes_on_as_its_origin_would<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "dynamic_rope", "llama3_rope"] {
        let case = fixture_case::<B>(name)?;
        let capacity = case.input.len() + 12;
        let (expected_ids, expected) = case.greedy(&mut case.sequence(capacity), 8)?;
        let mut origin = case.sequence(capacity);
        origin.poison();
        case.read(&mut origin, &case.input)?;
        let mut fork = origin.fork();
        case.step(&mut fork, expected_ids[0])?;
        // Of a fork, with a token of its own; and one that nobody goes on with.
        let mut second = fork.fork();
        drop(origin.fork());
        for sequence in [&mut origin, &mut fork, &mut second] {
            let (token_ids, logits) = case.greedy(sequence, 8)?;
            assert_eq!(token_ids, expected_ids, "{name}");
            assert_same_logits(name, &logits, &expected, case.vocab_size());
        }
        // Cut back into what they share, each reads on alone.
        let other = case.input_with(&[9, 10]);
        let theirs = case.read(&mut case.sequence(capacity), &other)?;
        for sequence in [&mut second, &mut origin, &mut fork] {
            let ours = case.read(sequence, &other)?;
            assert_same_logits(name, &ours, &theirs, case.vocab_size());
        }
    }
    Ok(())
}

fn forks_that_step_together_equal_each_alone<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "dynamic_rope"] {
        let case = fixture_case::<B>(name)?;
        let decoder = &case.pipeline.model().decoder;
        let capacity = case.input.len() + 12;
        let mut origin = case.sequence(capacity);
        case.read(&mut origin, &case.input)?;
        let mut forks = [origin.fork(), origin.fork(), origin];
        let mut alone = [(); 3].map(|()| case.sequence(capacity));
        for sequence in &mut alone {
            case.read(sequence, &case.input)?;
        }
        // The second has a longer text of its own.
        case.step(&mut forks[1], 30)?;
        case.step(&mut alone[1], 30)?;
        for token_ids in [[5, 6, 7], [7, 7, 5]] {
            let mut together: Vec<_> = forks.iter_mut().collect();
            let logits = Sequence::step_together(decoder, &mut together, &token_ids)?;
            let rows = values(logits)?;
            forks.iter_mut().for_each(Sequence::commit);
            let rows = rows.chunks_exact(case.vocab_size());
            for ((row, sequence), token_id) in rows.zip(&mut alone).zip(token_ids) {
                let expected = case.step(sequence, token_id)?;
                assert_same_logits(name, row, &expected, case.vocab_size());
            }
        }
    }
    Ok(())
}
