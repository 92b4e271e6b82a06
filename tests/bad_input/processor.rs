//! Preparations of pictures that do not fit the encoder, or cannot be followed.

use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{ConfigError, Error, Result};
use serde_json::{Value, json};

use crate::case::{Case, LLAVA, TILED, open_damaged, open_with_file, set};

const FILE: &str = "preprocessor_config.json";

fn open_with<B: VlmBackend>(folder: &Path, pointer: &str, value: Value) -> Result<()> {
    open_damaged::<B>(LLAVA, folder, |folder| {
        set(&folder.join(FILE), pointer, value)
    })
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a preparation that is no JSON",
            FILE,
            |at| open_with_file::<B>(LLAVA, at, FILE, "size: 28"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a preparation of two megabytes",
            "the limit is 1048576",
            |at| open_with_file::<B>(LLAVA, at, FILE, vec![b' '; 2 << 20]),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a preparation that says nothing for a model of another size than its class",
            "224 x 224",
            |at| open_with_file::<B>(LLAVA, at, FILE, "{}"),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "an image processor that is not supported",
            "OwlViTImageProcessor",
            |at| open_with::<B>(at, "/image_processor_type", json!("OwlViTImageProcessor")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "pictures of another size than the encoder's",
            "28 x 28",
            |at| open_with::<B>(at, "/crop_size", json!({"height": 28, "width": 56})),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "pictures that keep their own size",
            "crop_size",
            |at| open_with::<B>(at, "/do_center_crop", json!(false)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a crop of no pixels",
            "crop_size",
            |at| open_with::<B>(at, "/crop_size", json!({"height": 0, "width": 28})),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a resize to a million pixels on a side",
            "1000000",
            |at| open_with::<B>(at, "/size", json!({"shortest_edge": 1_000_000})),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a deviation of zero",
            "image_std",
            |at| open_with::<B>(at, "/image_std", json!([0.5, 0.0, 0.5])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a mean of two channels",
            FILE,
            |at| open_with::<B>(at, "/image_mean", json!([0.5, 0.5])),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a filter that is not known",
            "resample",
            |at| open_with::<B>(at, "/resample", json!(99)),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "pictures cut into tiles",
            "image_grid_pinpoints",
            |at| open_with::<B>(at, "/image_grid_pinpoints", json!([[28, 56]])),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "pictures cut into tiles for a model that sees them whole",
            "image_grid_pinpoints",
            |at| open_damaged::<B>(LLAVA, at, |at| {
                let file = at.join(FILE);
                set(
                    &file,
                    "/image_processor_type",
                    json!("LlavaNextImageProcessor"),
                );
                set(&file, "/image_grid_pinpoints", json!([[28, 56]]));
            }),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "pictures seen whole for a model that cuts them into tiles",
            "as the model has them",
            |at| open_damaged::<B>(TILED, at, |at| {
                let file = at.join(FILE);
                set(&file, "/image_processor_type", json!("CLIPImageProcessor"));
                set(&file, "/image_grid_pinpoints", json!(null));
            }),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "pictures cut at other sizes than the model reads",
            "as the model has them",
            |at| open_damaged::<B>(TILED, at, |at| {
                set(&at.join(FILE), "/image_grid_pinpoints", json!([[24, 48]]));
            }),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}
