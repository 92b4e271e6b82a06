//! Positions that were learned on one grid of patches, read on another.

use burn::tensor::{Tensor, TensorData, backend::Backend};

/// The kernel of torch's bicubic interpolation. Pillow's, which resizes pictures, has -0.5.
const A: f64 = -0.75;

/// Reads a table of a square grid on a square grid of `to` by `to` patches, as torch's
/// `interpolate(mode="bicubic", align_corners=False)` does. The class token's row stays.
///
/// # Shapes
/// - `table`: `[1, from * from + 1, hidden_size]`, the class token first
/// - output: `[1, to * to + 1, hidden_size]`
pub(super) fn resample_positions<B: Backend>(
    table: Tensor<B, 3>,
    [from, to]: [usize; 2],
) -> Tensor<B, 3> {
    if from == to {
        return table;
    }
    let [_, rows, hidden_size] = table.dims();
    let class = table.clone().slice_dim(1, 0..1);
    let weights = TensorData::new(weights(from, to), [to, from]);
    let weights = Tensor::<B, 2>::from_data(weights, (&table.device(), table.dtype()));
    let grid = table
        .slice_dim(1, 1..rows)
        .reshape([from, from * hidden_size]);
    let tall = weights
        .clone()
        .matmul(grid)
        .reshape([to, from, hidden_size]);
    let tall = tall.swap_dims(0, 1).reshape([from, to * hidden_size]); // [from, to, hidden_size]
    let square = weights.matmul(tall).reshape([to, to, hidden_size]);
    let square = square.swap_dims(0, 1).reshape([1, to * to, hidden_size]); // [row, column, ..]
    Tensor::cat(vec![class, square], 1)
}

/// What each of `to` places reads of each of `from`.
fn weights(from: usize, to: usize) -> Vec<f32> {
    let mut weights = vec![0.0f64; to * from];
    for (place, row) in weights.chunks_exact_mut(from).enumerate() {
        let center = (place as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let first = center.floor();
        for tap in -1..=2 {
            let source = first + f64::from(tap);
            // Beyond the border stands what stands at it.
            let at = source.clamp(0.0, from as f64 - 1.0) as usize;
            row[at] += cubic((center - source).abs());
        }
    }
    weights.into_iter().map(|weight| weight as f32).collect()
}

/// Keys' kernel (1981).
fn cubic(distance: f64) -> f64 {
    match distance {
        ..=1.0 => ((A + 2.0) * distance - (A + 3.0)) * distance * distance + 1.0,
        ..2.0 => ((A * distance - 5.0 * A) * distance + 8.0 * A) * distance - 4.0 * A,
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_torch() {
        // F.interpolate(torch.eye(2)[:, None, :, None], (4, 1), mode="bicubic")[:, 0, :, 0].T
        let expected = [
            1.105_469, -0.105_469, 0.773_438, 0.226_562, 0.226_562, 0.773_438, -0.105_469,
            1.105_469,
        ];
        let found = weights(2, 4);
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?}"
        );
    }

    #[test]
    fn every_place_reads_one_in_all() {
        for (from, to) in [(16, 32), (3, 7), (7, 3), (1, 4)] {
            for row in weights(from, to).chunks_exact(from) {
                assert!(
                    (row.iter().sum::<f32>() - 1.0).abs() < 1e-5,
                    "{from} to {to}"
                );
            }
        }
    }
}
