use std::path::Path;

use anyhow::{Context, Result};
use burn_vlm::{ImageInput, ImageLimits};
use clap::Args;

/// How large pictures may be.
#[derive(Debug, Args)]
pub(crate) struct PictureArgs {
    /// The largest picture, in pixels; its bytes and sides may grow with it
    #[arg(long, value_name = "N")]
    max_pixels: Option<u64>,
}

impl PictureArgs {
    pub(crate) fn open(&self, path: &Path) -> Result<ImageInput> {
        let limits = match self.max_pixels {
            Some(max_pixels) => ImageLimits::default()
                .with_max_pixels(max_pixels)
                // No format of a photo takes more than four bytes a pixel, and some headers.
                .with_max_bytes(max_pixels.saturating_mul(4).max(64 << 20))
                .with_max_side(usize::MAX),
            None => ImageLimits::default(),
        };
        let image = ImageInput::open_with_limits(path, &limits);
        image.with_context(|| format!("{path:?}"))
    }
}
