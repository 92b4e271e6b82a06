//! What a decoder makes of ids that somebody else chose ("teacher forcing").

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use burn_vlm::MultimodalPipeline;
use burn_vlm::generation::DecoderInput;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::nn::LogitsFor;

/// The logits behind every prompt token, `[seq_len, vocab_size]`, and those from which each of `generated` was chosen,
/// `[1, vocab_size]` each: the prompt is read at once, the rest token by token, as an answer is.
pub(crate) fn decode_along<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    input: &DecoderInput<B>,
    generated: &[i64],
) -> Result<(Tensor<B, 2>, Vec<Tensor<B, 2>>)> {
    let decoder = &pipeline.model().decoder;
    let capacity = input.len() + generated.len();
    let embed = |ids: &[u32], images| decoder.embed(ids, images);
    let mut cache = decoder.new_cache(1, capacity, pipeline.device());
    cache.rotate_for(0, input.len());
    let images = input.images.iter();
    let images = images.map(|image| image.place.clone());
    let embeds = embed(&input.token_ids, images.collect());
    let all = decoder.prefill(embeds.clone(), &mut cache, 0, LogitsFor::All)?;
    let all = all.context("logits of every token were asked for")?;
    let mut steps = vec![all.clone().slice_dim(0, input.len() - 1..input.len())];
    let mut sequence = embeds;
    // The last one is read by nobody.
    let read = generated.split_last().map_or(&[][..], |(_, read)| read);
    for id in read {
        let next = embed(&[u32::try_from(*id)?], vec![]);
        sequence = Tensor::cat(vec![sequence, next.clone()], 0);
        let [seq_len, _] = sequence.dims();
        steps.push(match cache.rotate_for(0, seq_len) {
            false => decoder.decode(next, &mut cache, &[0_usize])?,
            true => decoder
                .prefill(sequence.clone(), &mut cache, 0, LogitsFor::Last)?
                .context("the last token's logits were asked for")?,
        });
    }
    Ok((all, steps))
}
