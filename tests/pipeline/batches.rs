//! A row of a batch equals the same sequence alone.

use anyhow::{Context, Result};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::nn::{CacheFull, LogitsFor};

use crate::decoding::{Case, assert_same_logits, best};
use crate::fixture::{FamilyModel, family_models, open};
use crate::reference::values;

laws![
    rows_of_different_lengths_equal_the_sequences_alone,
    a_step_touches_no_other_slot,
    a_full_slot_is_an_error_and_changes_nothing,
];

const QUESTIONS: [&str; 3] = [
    "Why?",
    "Count the shapes on the table.",
    "Name a colour, then two.",
];

/// Slots in an order of their own, with one left empty between them.
const SLOTS: [usize; 3] = [3, 0, 2];

fn cases<B: VlmBackend>(name: &str) -> Result<Vec<Case<B>>> {
    let pipeline = open::<B>(name)?;
    QUESTIONS
        .iter()
        .map(|question| Case::text(pipeline.clone(), question))
        .collect()
}

fn rows_of_different_lengths_equal_the_sequences_alone<B: VlmBackend>() -> Result<()> {
    for FamilyModel { name, .. } in &family_models()? {
        let cases = cases::<B>(name)?;
        let (decoder, vocab_size) = (&cases[0].pipeline.model().decoder, cases[0].vocab_size());
        let longest = cases
            .iter()
            .map(|case| case.input.len())
            .max()
            .context("three cases")?;
        let mut cache = cases[0].cache(4, longest + 8);
        cache.poison();
        let mut logits = Vec::new();
        for (case, slot) in cases.iter().zip(SLOTS) {
            let embeds = case.embeds(&case.input);
            let last = decoder.prefill(embeds, &mut cache, slot, LogitsFor::Last)?;
            logits.push(values(last.context("the last logits were asked for")?)?);
        }
        let mut alone: Vec<_> = cases
            .iter()
            .map(|case| case.sequence(longest + 8))
            .collect();
        for (case, sequence) in cases.iter().zip(&mut alone) {
            case.read(sequence, &case.input)?;
        }
        for step in 0..6 {
            let chosen: Vec<u32> = logits.iter().map(|logits| best(logits)).collect();
            let embeds = decoder.embed(&chosen, vec![]);
            let rows = values(decoder.decode(embeds, &mut cache, &SLOTS)?)?;
            logits = rows.chunks_exact(vocab_size).map(<[f32]>::to_vec).collect();
            for (row, id) in chosen.iter().enumerate() {
                let expected = cases[row].step(&mut alone[row], *id)?;
                let what = format!("{name}, step {step}, row {row}");
                assert_same_logits(&what, &logits[row], &expected, vocab_size);
            }
        }
    }
    Ok(())
}

fn a_step_touches_no_other_slot<B: VlmBackend>() -> Result<()> {
    let cases = cases::<B>("vicuna_bin")?;
    let decoder = &cases[0].pipeline.model().decoder;
    let mut cache = cases[0].cache(2, 256);
    for (slot, case) in cases[..2].iter().enumerate() {
        decoder.prefill(
            case.embeds(&case.input),
            &mut cache,
            slot,
            LogitsFor::Nothing,
        )?;
    }
    let embed = |id: u32| decoder.embed(&[id], vec![]);
    for id in 40..48 {
        decoder.decode(embed(id), &mut cache, &[1])?;
    }
    let ours = values(decoder.decode(embed(50), &mut cache, &[0])?)?;
    let mut alone = cases[0].sequence(256);
    cases[0].read(&mut alone, &cases[0].input)?;
    let expected = cases[0].step(&mut alone, 50)?;
    assert_same_logits("slot 0", &ours, &expected, cases[0].vocab_size());
    assert_eq!(cache.len(0), cases[0].input.len() + 1);
    assert_eq!(cache.len(1), cases[1].input.len() + 8);
    Ok(())
}

fn a_full_slot_is_an_error_and_changes_nothing<B: VlmBackend>() -> Result<()> {
    let cases = cases::<B>("vicuna_bin")?;
    let (case, decoder) = (&cases[0], &cases[0].pipeline.model().decoder);
    let len = case.input.len();
    let mut cache = case.cache(2, len);
    decoder.prefill(case.embeds(&case.input), &mut cache, 0, LogitsFor::Nothing)?;
    let both = decoder.embed(&[40, 41], vec![]);
    let full = CacheFull {
        needed: len + 1,
        capacity: len,
    };
    assert_eq!(decoder.decode(both, &mut cache, &[0, 1]).err(), Some(full));
    assert_eq!((cache.len(0), cache.len(1)), (len, 0));
    let logits = decoder.prefill(case.embeds(&case.input), &mut cache, 1, LogitsFor::All)?;
    let ours = values(logits.context("all logits were asked for")?)?;
    assert_same_logits(
        "slot 1",
        &ours,
        &case.whole(&case.input)?,
        case.vocab_size(),
    );
    Ok(())
}
