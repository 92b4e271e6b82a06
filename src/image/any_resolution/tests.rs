use std::path::Path;

use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::error::{ConfigError, Error};
use crate::image::fixtures;

/// What `transformers` makes of a size, by the sizes to choose from.
#[derive(Deserialize)]
struct SizesCase {
    pinpoints: Vec<[usize; 2]>,
    tile: usize,
    /// Size of the picture, the best of the sizes, and that of the picture in it.
    sizes: Vec<([usize; 2], [usize; 2], [usize; 2])>,
}

fn pair(size: ImageSize) -> [usize; 2] {
    [size.height, size.width]
}

#[test]
fn every_picture_is_cut_at_the_size_that_transformers_takes() {
    let file = fixtures::read("preprocess/any_resolution.json");
    let cases: Vec<SizesCase> = serde_json::from_slice(&file).unwrap();
    let mut compared = 0;
    for case in &cases {
        let any = AnyResolution {
            tile: case.tile,
            pinpoints: { case.pinpoints.iter() }
                .map(|[height, width]| ImageSize::new(*height, *width))
                .collect(),
            filter: ResampleFilter::Bicubic,
        };
        for (picture, best, resized) in &case.sizes {
            let picture = ImageSize::new(picture[0], picture[1]);
            let found = any.best(picture);
            assert_eq!(pair(found), *best, "{picture:?}");
            assert_eq!(pair(within(picture, found)), *resized, "{picture:?}");
            compared += 1;
        }
    }
    assert!(compared > 600, "{compared} sizes");
}

#[test]
fn a_picture_too_thin_for_every_size_takes_the_first() {
    let config = config(&json!({}));
    let grid = |height, width| config.tile_grid(ImageSize::new(height, width));
    let first = Some(TileGrid {
        rows: 1,
        columns: 2,
    });
    assert_eq!(grid(1, 60_000), first);
    let values =
        config.preprocess(&ImageInput::from_rgb8(ImageSize::new(1, 900), vec![9; 2700]).unwrap());
    assert_eq!(values.unwrap().shape(), [3, 3, 16, 16]);
}

fn config(changes: &serde_json::Value) -> PreprocessConfig {
    read(changes).unwrap()
}

fn read(changes: &serde_json::Value) -> Result<PreprocessConfig> {
    let mut json = json!({
        "image_processor_type": "LlavaNextImageProcessor",
        "size": {"shortest_edge": 16},
        "crop_size": {"height": 16, "width": 16},
        "image_grid_pinpoints": [[16, 32], [32, 16], [32, 32], [48, 16], [16, 48]],
    });
    for (name, value) in changes.as_object().unwrap() {
        json[name] = value.clone();
    }
    PreprocessConfig::from_json(Path::new("test.json"), json.to_string().as_bytes(), None)
}

#[test]
fn values_equal_those_of_transformers() {
    let file = fixtures::read("preprocess/any_resolution.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let cases = [
        ("plain", config(&json!({}))),
        (
            "changed",
            config(&json!({"resample": 2, "do_normalize": false, "size": 16, "crop_size": 16})),
        ),
    ];
    let mut compared = 0;
    for (case, config) in cases {
        for name in tensors.names() {
            let Some(size) = name.strip_prefix(&format!("{case}.")) else {
                continue;
            };
            let image = fixtures::picture(&tensors, &format!("source.{size}"));
            let (shape, expected) = fixtures::floats(&tensors, name);
            let found = config.preprocess(&image).unwrap();
            assert_eq!(found.shape()[..], shape, "{name}");
            assert!(found.data() == expected, "{name} differs");
            compared += 1;
        }
    }
    assert_eq!(compared, 2 * 8);
}

#[test]
fn sizes_that_are_none_of_whole_tiles_are_refused() {
    let sizes = [
        json!([]),
        json!([[16]]),
        json!([[16, 24]]),
        json!([[0, 16]]),
        json!([[16, "32"]]),
        json!([[16, 16 * 65]]),
        json!([[16 * 9, 16 * 8]]),
        json!("(1x1),...,(6x6)"),
    ];
    for sizes in sizes {
        let error = read(&json!({"image_grid_pinpoints": sizes})).unwrap_err();
        let is_expected = matches!(
            &error,
            Error::Config(ConfigError::OutOfRange { field, .. }) if field == "image_grid_pinpoints"
        );
        assert!(is_expected, "{error}");
    }
}

#[test]
fn tiles_that_would_be_resized_once_more_are_refused() {
    for changes in [
        json!({"size": {"shortest_edge": 32}}),
        json!({"size": {"height": 16, "width": 32}}),
        json!({"crop_size": {"height": 16, "width": 8}}),
    ] {
        let error = read(&changes).unwrap_err();
        assert!(error.to_string().contains("crop_size"), "{error}");
    }
    let by_sides = config(&json!({"size": {"height": 16, "width": 16}}));
    assert_eq!(by_sides.tiling, config(&json!({})).tiling);
}

#[test]
fn what_no_file_says_is_as_in_the_class() {
    let silent = br#"{"image_processor_type": "LlavaNextImageProcessorFast", "size": 336, "crop_size": 336}"#;
    let config = PreprocessConfig::from_json(Path::new("test.json"), silent, None).unwrap();
    let classes = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];
    assert!(
        config
            .pinpoints()
            .iter()
            .map(|size| pair(*size))
            .eq(classes)
    );
}
