/// Height and width in pixels; height comes first, as in every shape of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ImageSize {
    /// Number of rows.
    pub height: usize,
    /// Number of columns.
    pub width: usize,
}

impl ImageSize {
    /// A size of `height` rows and `width` columns.
    pub const fn new(height: usize, width: usize) -> Self {
        Self { height, width }
    }

    /// A size with equal sides.
    pub const fn square(side: usize) -> Self {
        Self::new(side, side)
    }

    pub(crate) fn longest_edge(self) -> usize {
        self.height.max(self.width)
    }
}
