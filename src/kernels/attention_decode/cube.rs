//! Flash decoding (Dao et al. 2023): the keys of a row are cut into parts with a cube each, and a
//! second launch puts the parts together where there is more than one.
//!
//! A cube answers one part for the query heads that share a key-value head, so that each key and
//! value is read once for all of them. How a row is cut depends on its own length alone, and every
//! sum has one order: a row of a batch is, to the bit, the row alone.

mod combine;
mod partial;
mod scores;
mod strategy;
mod sums;
mod tile;

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use partial::Part;
use strategy::{DecodeStrategy, Extent};

use crate::kernels::attention_prefill::AttentionInputs;
use crate::kernels::attention_prefill::cube::check_types;
use crate::kernels::launch::{DeviceProperties, Operand, output, width_in_place};
use crate::kernels::{AttentionMask, KvView, LaunchRefused};

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &[KvView],
    packed: &CubeTensor<R>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    check_types(inputs, packed)?;
    let AttentionInputs { query, key, value } = inputs;
    let [batch, num_heads, _, head_dim] = query.shape().dims();
    let answer = output(query, [batch, 1, num_heads, head_dim].into(), query.dtype);
    let [_, num_kv_heads, _, _] = key.shape().dims();
    let extent = Extent {
        num_heads,
        num_kv_heads,
        head_dim,
    };
    // The only query is the last token: it sees every key.
    let seen = |view: &KvView| view.seen(0, 1, AttentionMask::Bidirectional).len();
    let device = DeviceProperties::of(&query.client);
    let strategy = DecodeStrategy::choose(
        extent,
        views.iter().map(seen),
        width_in_place([key, value], &device),
        &[query, key, value, &answer, packed].map(Operand::from),
        &device,
    )?;
    let part = Part {
        inputs,
        views: packed,
        strategy: &strategy,
    };
    match strategy.combine {
        None => part.launch(&answer),
        Some(grid) => {
            let numbers = head_dim + combine::NUMBERS;
            let shape = [batch, num_heads, strategy.parts, numbers];
            let partial = output(query, shape.into(), DType::F32);
            part.launch(&partial);
            combine::launch(&partial, packed, &answer, &strategy, grid);
        }
    }
    Ok(answer)
}
