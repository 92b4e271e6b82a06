//! The image processors of `transformers`.

use super::preprocess::{CLIP_MEAN, CLIP_STD};
use super::{ImageSize, ResampleFilter, ResizeTo};

/// What a processor class of `transformers` does where the file is silent.
pub(super) struct Processor {
    pub(super) name: &'static str,
    pub(super) resize_to: ResizeTo,
    /// What a single number in `size` means, as files of old versions have it.
    pub(super) size_from_edge: fn(usize) -> ResizeTo,
    pub(super) filter: ResampleFilter,
    pub(super) crop_size: Option<ImageSize>,
    pub(super) mean: [f64; 3],
    pub(super) std: [f64; 3],
    /// Whether `do_pad` means a square; elsewhere it only aligns the pictures of a batch.
    pub(super) pads_to_square: bool,
    /// Height and width of the tiles that it cuts a picture into, where it does.
    pub(super) tile: Option<usize>,
    /// Heights and widths that it cuts a picture at, where it chooses one of several.
    pub(super) pinpoints: Option<&'static [[usize; 2]]>,
}

pub(super) const CLIP: Processor = Processor {
    name: "CLIPImageProcessor",
    resize_to: ResizeTo::ShortestEdge(224),
    size_from_edge: ResizeTo::ShortestEdge,
    filter: ResampleFilter::Bicubic,
    crop_size: Some(ImageSize::square(224)),
    mean: CLIP_MEAN,
    std: CLIP_STD,
    pads_to_square: false,
    tile: None,
    pinpoints: None,
};

const LLAVA: Processor = Processor {
    name: "LlavaImageProcessor",
    pads_to_square: true,
    ..CLIP
};

const LLAVA_NEXT: Processor = Processor {
    name: "LlavaNextImageProcessor",
    pinpoints: Some(&[[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]),
    ..CLIP
};

const BLIP: Processor = Processor {
    name: "BlipImageProcessor",
    resize_to: ResizeTo::Exact(ImageSize::square(384)),
    size_from_edge: square,
    crop_size: None,
    ..CLIP
};

const SIGLIP: Processor = Processor {
    name: "SiglipImageProcessor",
    resize_to: ResizeTo::Exact(ImageSize::square(224)),
    mean: [0.5; 3],
    std: [0.5; 3],
    ..BLIP
};

const VIT: Processor = Processor {
    name: "ViTImageProcessor",
    filter: ResampleFilter::Bilinear,
    ..SIGLIP
};

const IDEFICS3: Processor = Processor {
    name: "Idefics3ImageProcessor",
    resize_to: ResizeTo::LongestEdge(4 * 364),
    size_from_edge: ResizeTo::LongestEdge,
    filter: ResampleFilter::Lanczos,
    tile: Some(364),
    ..SIGLIP
};

const SMOLVLM: Processor = Processor {
    name: "SmolVLMImageProcessor",
    ..IDEFICS3
};

pub(super) const PROCESSORS: [&Processor; 8] = [
    &CLIP,
    &LLAVA,
    &LLAVA_NEXT,
    &BLIP,
    &SIGLIP,
    &VIT,
    &IDEFICS3,
    &SMOLVLM,
];

fn square(edge: usize) -> ResizeTo {
    ResizeTo::Exact(ImageSize::square(edge))
}
