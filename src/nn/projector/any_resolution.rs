use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use super::each_row;
use super::mlp::{MlpProjector, MlpProjectorConfig};
use crate::kernels::VlmBackend;

/// Sizes of an [`AnyResolutionProjector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnyResolutionConfig {
    /// What every feature goes through.
    pub mlp: MlpProjectorConfig,
}

impl AnyResolutionConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> AnyResolutionProjector<B> {
        let normal = Initializer::Normal {
            mean: 0.0,
            std: (self.mlp.hidden_size as f64).sqrt().recip(),
        };
        AnyResolutionProjector {
            mlp: self.mlp.init(device),
            image_newline: normal.init([self.mlp.hidden_size], device),
        }
    }
}

/// Which features of a picture that was cut into tiles become rows: all of the tile that shows the
/// whole picture, and of the others, laid side by side, those that do not show the black beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureGrid {
    /// Features along a side of a tile.
    side: usize,
    /// Tiles along a side, without the one of the whole picture: rows and columns.
    tiles: [usize; 2],
    /// Rows and columns of all features side by side that are kept.
    kept: [Range<usize>; 2],
}

impl FeatureGrid {
    /// The features of a picture of `[height, width]` that was cut into rows and columns of `tiles`,
    /// with `side` features along a side of each.
    ///
    /// What is kept is computed as `unpad_image` of `transformers` does, in f64: the places of the
    /// image token in a prompt are counted by it.
    pub fn unpadded(side: usize, tiles: [usize; 2], [height, width]: [usize; 2]) -> Self {
        let [rows, columns] = tiles.map(|tiles| tiles * side);
        let [height, width] = [height, width].map(|pixels| pixels as f64);
        let (grid_rows, grid_columns) = (rows as f64, columns as f64);
        let kept = match width / height > grid_columns / grid_rows {
            true => [middle(rows, height * (grid_columns / width)), 0..columns],
            false => [0..rows, middle(columns, width * (grid_rows / height))],
        };
        Self { side, tiles, kept }
    }

    /// Rows of the decoder's width that the picture becomes.
    pub fn num_rows(&self) -> usize {
        let [rows, columns] = self.kept.clone().map(|kept| kept.len());
        // Behind every row of features stands the one of the line's end.
        self.side * self.side + rows * (columns + 1)
    }

    /// Tiles of the picture, the one of the whole among them.
    fn num_tiles(&self) -> usize {
        self.tiles[0] * self.tiles[1] + 1
    }

    /// The place of each row among the features of all tiles, tile by tile; `newline` where a line
    /// ends.
    fn order(&self, newline: usize) -> Vec<usize> {
        let (side, [_, tile_columns]) = (self.side, self.tiles);
        let [rows, columns] = self.kept.clone();
        let mut order: Vec<usize> = (0..side * side).collect();
        for row in rows {
            order.extend(columns.clone().map(|column| {
                let tile = 1 + row / side * tile_columns + column / side;
                (tile * side + row % side) * side + column % side
            }));
            order.push(newline);
        }
        order
    }
}

/// The features along a side that `shown` of them, rounded down, stand in the middle of.
fn middle(len: usize, shown: f64) -> Range<usize> {
    // 35.9999999 is 36 that was rounded.
    let shown = ((shown * 1e7).round() / 1e7) as usize;
    let padding = (len - shown.min(len)) / 2;
    padding..len - padding
}

/// The MLP of LLaVA-1.5 over the tiles of a picture, whose features are then laid side by side, with a
/// learned row at the end of each line (LLaVA-NeXT, Liu et al. 2024).
#[derive(Module, Debug)]
pub struct AnyResolutionProjector<B: Backend> {
    /// What every feature goes through.
    pub mlp: MlpProjector<B>,
    /// What ends a line: `[hidden_size]`
    pub image_newline: Param<Tensor<B, 1>>,
}

impl<B: VlmBackend> AnyResolutionProjector<B> {
    /// Projects the features of one picture, the whole of it first.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, side * side, vision_hidden_size]`
    /// - output: `[num_rows, hidden_size]`
    ///
    /// # Panics
    /// If the features are not those of the grid.
    pub fn forward(&self, features: Tensor<B, 3>, grid: &FeatureGrid) -> Tensor<B, 2> {
        let [num_tiles, num_features, _] = features.dims();
        assert_eq!(
            [num_tiles, num_features],
            [grid.num_tiles(), grid.side * grid.side],
            "tiles of the picture and features of each"
        );
        let projected = each_row(features, |rows| self.mlp.forward(rows));
        let newline = self.image_newline.val().cast(projected.dtype());
        let device = projected.device();
        let all = Tensor::cat(vec![projected, newline.unsqueeze()], 0);
        let order = grid.order(num_tiles * num_features);
        let order: Vec<i32> = order.into_iter().map(|row| row as i32).collect();
        let len = order.len();
        let order = Tensor::<B, 1, Int>::from_data(TensorData::new(order, [len]), &device);
        all.select(0, order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_through_neighbouring_tiles_and_end_with_the_newline() {
        let grid = FeatureGrid::unpadded(2, [1, 2], [10, 20]);
        let newline = 99;
        let expected = [
            vec![0, 1, 2, 3],
            vec![4, 5, 8, 9, newline],
            vec![6, 7, 10, 11, newline],
        ];
        assert_eq!(grid.order(newline), expected.concat());
        assert_eq!(grid.num_rows(), expected.concat().len());
    }

    #[test]
    fn what_shows_no_picture_is_left_out() {
        // Twice as wide as the grid: the middle half of the rows.
        let wide = FeatureGrid::unpadded(4, [1, 1], [10, 20]);
        assert_eq!(wide.kept, [1..3, 0..4]);
        let tall = FeatureGrid::unpadded(4, [2, 1], [90, 10]);
        // Less than a whole column shows the picture, and none of four has their middle.
        assert_eq!(tall.kept, [0..8, 2..2]);
        assert_eq!(tall.num_rows(), 16 + 8, "the ends of lines remain");
        let odd = FeatureGrid::unpadded(3, [1, 1], [10, 11]);
        assert_eq!(
            odd.kept,
            [0..3, 0..3],
            "2 of 3 have no middle without a third"
        );
    }
}
