use std::path::Path;

use proptest::prelude::*;
use safetensors::SafeTensors;
use serde_json::{Map, Value};

use super::*;
use crate::error::Error;
use crate::image::fixtures;

fn config(json: &Value) -> PreprocessConfig {
    PreprocessConfig::from_json(Path::new("test.json"), json.to_string().as_bytes(), None).unwrap()
}

fn grey(size: ImageSize) -> ImageInput {
    ImageInput::from_rgb8(size, vec![128; size.height * size.width * 3]).unwrap()
}

#[test]
fn values_equal_those_of_transformers() {
    let file = fixtures::read("preprocess/preprocess.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let cases: Map<String, Value> =
        serde_json::from_slice(&fixtures::read("preprocess/cases.json")).unwrap();
    let mut compared = 0;
    for name in tensors.names() {
        let (case, size) = name.split_once('.').unwrap();
        let Some(json) = cases.get(case) else {
            continue;
        };
        let image = fixtures::picture(&tensors, &format!("source.{size}"));
        let (shape, expected) = fixtures::floats(&tensors, name);
        let found = config(json).preprocess(&image).unwrap();
        assert_eq!(found.shape()[1..], shape, "{name}");
        assert!(found.data() == expected, "{name} differs");
        compared += 1;
    }
    assert_eq!(compared, 12 * 9);
}

#[test]
fn a_config_with_a_fixed_size_tells_it_before_it_runs() {
    let clip = PreprocessConfig::clip(30).unwrap();
    assert_eq!(clip.output_size(), Some(ImageSize::square(30)));
    let blip = PreprocessConfig::blip(30).unwrap();
    assert_eq!(blip.output_size(), Some(ImageSize::square(30)));
    let uncropped = PreprocessConfig {
        crop_size: None,
        ..clip
    };
    assert_eq!(uncropped.output_size(), None);
    assert_eq!(
        uncropped.with_square_padding().output_size(),
        Some(ImageSize::square(30))
    );
}

#[test]
fn a_preset_with_an_impossible_size_is_an_error() {
    for size in [0, 4097, usize::MAX] {
        for preset in [PreprocessConfig::clip(size), PreprocessConfig::blip(size)] {
            let Err(Error::Config(ConfigError::OutOfRange { found, .. })) = preset else {
                panic!("{size} was accepted");
            };
            assert_eq!(found, size.to_string());
        }
    }
}

#[test]
fn the_square_around_a_picture_has_the_mean_colour_of_clip() {
    let padding = PreprocessConfig::clip(8)
        .unwrap()
        .with_square_padding()
        .padding;
    assert_eq!(padding, Padding::Square([122, 116, 104]));
}

#[test]
fn an_output_that_would_be_too_large_is_refused() {
    let config = PreprocessConfig {
        crop_size: None,
        ..PreprocessConfig::clip(336).unwrap()
    };
    let error = config
        .preprocess(&grey(ImageSize::new(16_384, 1)))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "preprocessing would make the picture 336x5505024, the limit is 4096 pixels on a side: \
         crop the picture first"
    );
}

#[test]
fn a_thread_of_pixels_is_as_quick_as_any_picture() {
    let clip = PreprocessConfig::clip(336).unwrap();
    for size in [ImageSize::new(1, 16_384), ImageSize::new(16_384, 1)] {
        let image = grey(size);
        for config in [clip.clone(), clip.clone().with_square_padding()] {
            assert_eq!(config.preprocess(&image).unwrap().shape(), [1, 3, 336, 336]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_picture_gives_exactly_the_configured_size(
        (height, width) in (side(), side()),
        (crop_height, crop_width) in (1_usize..70, 1_usize..70),
        edge in 1_usize..70,
        pads in any::<bool>(),
    ) {
        let crop_size = Some(ImageSize::new(crop_height, crop_width));
        let mut config = PreprocessConfig { crop_size, ..PreprocessConfig::clip(edge).unwrap() };
        if pads {
            config = config.with_square_padding();
        }
        let values = config.preprocess(&grey(ImageSize::new(height, width))).unwrap();
        prop_assert_eq!(values.shape(), [1, 3, crop_height, crop_width]);
        prop_assert!(values.data().iter().all(|value| value.is_finite()));
    }
}

/// Small sides, and now and then an extreme one.
fn side() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 1_usize..=64, 1 => Just(1), 1 => Just(2000)]
}
