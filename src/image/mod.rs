//! Pixels: from a file or a buffer to what a visual encoder reads.
//!
//! [`ImageInput`] is an upright RGB picture whose size was checked before it was decoded.
//! [`PreprocessConfig`] turns it into [`PixelValues`], bit for bit as Hugging Face `transformers`
//! does with Pillow: the same resampling in fixed point, the same rounding of sizes and offsets.
//!
//! JPEG is the one exception: decoders may round differently, so a JPEG picture differs from
//! Pillow's by a few units of 255. Compare systems on PNG.

mod any_resolution;
mod container;
mod decode;
mod filter;
#[cfg(test)]
mod fixtures;
mod format;
mod limits;
mod orientation;
mod pixel_format;
mod pixel_values;
mod png_rows;
mod preprocess;
mod processor;
mod processor_json;
mod resample;
mod resize_to;
mod size;
mod splitting;
mod tiling;

pub(crate) use any_resolution::{PINPOINTS, read_pinpoints};
pub use decode::ImageInput;
pub use filter::ResampleFilter;
pub use limits::ImageLimits;
pub use pixel_format::PixelFormat;
pub use pixel_values::PixelValues;
pub use preprocess::PreprocessConfig;
pub use resize_to::ResizeTo;
pub use size::ImageSize;
pub use tiling::TileGrid;
