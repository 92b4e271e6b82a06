use std::fmt;

use super::ImageSize;

/// What a visual encoder reads: the tiles of one picture, channels first.
///
/// # Shapes
///
/// * `data`: `[num_tiles, 3, height, width]`
#[derive(Clone, PartialEq)]
pub struct PixelValues {
    data: Vec<f32>,
    num_tiles: usize,
    size: ImageSize,
}

impl PixelValues {
    /// The number of colour channels of every tile.
    pub const NUM_CHANNELS: usize = 3;

    /// Tiles of `size`, one after the other.
    ///
    /// # Panics
    ///
    /// Panics when `data` has another length than its shape asks for.
    pub(crate) fn new(num_tiles: usize, size: ImageSize, data: Vec<f32>) -> Self {
        let expected = num_tiles * Self::NUM_CHANNELS * size.height * size.width;
        assert_eq!(
            data.len(),
            expected,
            "length of {num_tiles} tiles of {size:?}"
        );
        Self {
            data,
            num_tiles,
            size,
        }
    }

    /// The values in the order of [`shape`](Self::shape).
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// The values in the order of [`shape`](Self::shape), without a copy.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }

    /// `[num_tiles, 3, height, width]`
    pub fn shape(&self) -> [usize; 4] {
        [
            self.num_tiles,
            Self::NUM_CHANNELS,
            self.size.height,
            self.size.width,
        ]
    }

    /// Number of tiles that the picture was cut into; 1 when it was not.
    pub fn num_tiles(&self) -> usize {
        self.num_tiles
    }

    /// Number of rows of a tile.
    pub fn height(&self) -> usize {
        self.size.height
    }

    /// Number of columns of a tile.
    pub fn width(&self) -> usize {
        self.size.width
    }
}

impl fmt::Debug for PixelValues {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("PixelValues")
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}
