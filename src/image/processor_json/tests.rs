use serde_json::json;

use super::*;
use crate::error::Error;

fn read(json: &Value) -> Result<PreprocessConfig> {
    PreprocessConfig::from_json(
        Path::new("preprocessor_config.json"),
        json.to_string().as_bytes(),
        None,
    )
}

fn message(json: &Value) -> String {
    read(json).unwrap_err().to_string()
}

fn clip_with(field: &str, value: Value) -> Value {
    let mut json = json!({"image_processor_type": "CLIPImageProcessor"});
    json[field] = value;
    json
}

#[test]
fn a_silent_file_gives_the_defaults_of_its_class() {
    let read_type = |name: &str| read(&json!({"image_processor_type": name})).unwrap();
    assert_eq!(
        read_type("CLIPImageProcessor"),
        PreprocessConfig::clip(224).unwrap()
    );
    assert_eq!(
        read_type("LlavaImageProcessor"),
        PreprocessConfig::clip(224).unwrap()
    );
    assert_eq!(
        read_type("BlipImageProcessor"),
        PreprocessConfig::blip(384).unwrap()
    );
    let siglip = read_type("SiglipImageProcessor");
    assert_eq!(siglip.output_size(), Some(ImageSize::square(224)));
    assert_eq!(
        siglip.normalization,
        Some(Normalization {
            mean: [0.5; 3],
            std: [0.5; 3]
        })
    );
    let vit_filter = read_type("ViTImageProcessor").resize.unwrap().1;
    assert_eq!(vit_filter, ResampleFilter::Bilinear);
}

#[test]
fn every_spelling_of_a_class_is_known() {
    let clip = PreprocessConfig::clip(224).unwrap();
    for name in [
        "CLIPImageProcessor",
        "CLIPImageProcessorFast",
        "CLIPImageProcessorPil",
    ] {
        assert_eq!(read(&json!({"image_processor_type": name})).unwrap(), clip);
    }
    let old = json!({"feature_extractor_type": "CLIPFeatureExtractor"});
    assert_eq!(read(&old).unwrap(), clip);
}

#[test]
fn the_image_part_of_a_processor_file_is_found() {
    let image_processor = clip_with("crop_size", json!({"height": 30, "width": 40}));
    let json = json!({"processor_class": "LlavaProcessor", "image_processor": image_processor});
    assert_eq!(
        read(&json).unwrap().output_size(),
        Some(ImageSize::new(30, 40))
    );
}

#[test]
fn null_is_silence() {
    let json = clip_with(
        "size",
        json!({"height": null, "width": null, "shortest_edge": 9}),
    );
    assert_eq!(
        read(&json).unwrap().resize.unwrap().0,
        ResizeTo::ShortestEdge(9)
    );
    assert_eq!(
        read(&clip_with("crop_size", Value::Null))
            .unwrap()
            .crop_size
            .unwrap()
            .height,
        224
    );
}

#[test]
fn what_is_switched_off_is_not_done() {
    let json = json!({
        "image_processor_type": "CLIPImageProcessor", "do_resize": false, "do_center_crop": false,
        "do_rescale": false, "do_normalize": false,
    });
    let config = read(&json).unwrap();
    assert_eq!((config.resize, config.crop_size), (None, None));
    assert_eq!((config.rescale_factor, config.normalization), (None, None));
}

#[test]
fn padding_is_a_square_for_llava_and_nothing_for_clip() {
    let pads = |name: &str| json!({"image_processor_type": name, "do_pad": true});
    let square = Padding::Square([122, 116, 104]);
    assert_eq!(read(&pads("LlavaImageProcessor")).unwrap().padding, square);
    assert_eq!(
        read(&pads("CLIPImageProcessor")).unwrap().padding,
        Padding::None
    );
}

#[test]
fn a_file_without_an_image_processor_says_so() {
    let json = json!({"processor_class": "InstructBlipProcessor", "num_query_tokens": 8});
    assert_eq!(
        message(&json),
        "config field `image_processor_type` is missing"
    );
}

#[test]
fn where_no_class_is_named_it_is_that_of_the_model() {
    let read = |json: &str, class| {
        let read = PreprocessConfig::from_json(Path::new("p.json"), json.as_bytes(), Some(class));
        read.map_err(|error| error.to_string())
    };
    for class in PROCESSORS.map(|processor| processor.name) {
        let named = json!({"image_processor_type": class}).to_string();
        assert_eq!(read("{}", class), read(&named, "ViTImageProcessor"));
        let null = r#"{"image_processor_type": null, "processor_class": "LlavaProcessor"}"#;
        assert_eq!(read(null, class), read("{}", class));
    }
    let size = r#"{"size": 50}"#;
    let blip = read(size, "BlipImageProcessor").unwrap().resize.unwrap().0;
    assert_eq!(blip, ResizeTo::Exact(ImageSize::square(50)));
    let older = r#"{"feature_extractor_type": "CLIPFeatureExtractor"}"#;
    assert_eq!(
        read(older, "Idefics3ImageProcessor"),
        read("{}", "CLIPImageProcessor")
    );
}

#[test]
fn the_part_of_a_processor_file_alone_is_about_pictures() {
    let read = |json: &str| {
        let path = Path::new("processor_config.json");
        PreprocessConfig::from_processor_json(path, json.as_bytes(), Some("BlipImageProcessor"))
    };
    let silent = r#"{"processor_class": "InstructBlipProcessor", "size": 3}"#;
    assert_eq!(read(silent).unwrap(), None);
    assert_eq!(read(r#"{"image_processor": null}"#).unwrap(), None);
    let blip = PreprocessConfig::blip(384).unwrap();
    assert_eq!(read(r#"{"image_processor": {}}"#).unwrap(), Some(blip));
    read(r#"{"image_processor": []}"#).unwrap_err();
}

#[test]
fn of_a_repeated_key_the_last_counts() {
    let json = br#"{"image_processor_type": "BlipImageProcessor", "crop_size": 3, "size": 5,
        "crop_size": 7, "image_processor_type": "CLIPImageProcessor"}"#;
    let config = PreprocessConfig::from_json(Path::new("p.json"), json, None).unwrap();
    assert_eq!(config.crop_size, Some(ImageSize::square(7)));
    assert_eq!(config.resize.unwrap().0, ResizeTo::ShortestEdge(5));
}

#[test]
fn a_picture_that_would_become_too_many_tiles_is_refused() {
    let json = |edge: usize| {
        json!({
            "image_processor_type": "SmolVLMImageProcessor",
            "max_image_size": {"longest_edge": edge},
            "size": {"longest_edge": 2048},
        })
    };
    let error = message(&json(63));
    assert!(
        error.contains("max_image_size.longest_edge` is 63"),
        "{error}"
    );
    assert!(error.contains("at least 64"), "{error}");
    let config = read(&json(64)).unwrap();
    assert_eq!(config.output_size(), Some(ImageSize::square(64)));
    let kept = json!({"image_processor_type": "Idefics3ImageProcessor", "do_resize": false});
    assert!(message(&kept).contains("do_resize"), "{}", message(&kept));
}

#[test]
fn what_is_not_supported_is_refused_with_what_is() {
    let cases = [
        (
            json!({"image_processor_type": "PixtralImageProcessor"}),
            "config field `image_processor_type` is `PixtralImageProcessor`; supported: \
             CLIPImageProcessor, LlavaImageProcessor, LlavaNextImageProcessor, BlipImageProcessor, SiglipImageProcessor, \
             ViTImageProcessor, Idefics3ImageProcessor, SmolVLMImageProcessor",
        ),
        (
            clip_with("resample", json!(0)),
            "config field `resample` is `0`; supported: 1 (Lanczos), 2 (Bilinear), 3 (Bicubic), \
             4 (Box), 5 (Hamming)",
        ),
        (
            clip_with("size", json!({"height": 4, "shortest_edge": 5})),
            "config field `size` is `height and shortest_edge`; supported: height and width, \
             shortest_edge, longest_edge, shortest_edge and longest_edge",
        ),
        (
            clip_with("crop_size", json!({})),
            "config field `crop_size` is `an object without edges`; supported: height and width",
        ),
        (
            clip_with("do_image_splitting", json!(true)),
            "config field `do_image_splitting` is `true`; supported: false",
        ),
        (
            clip_with("image_grid_pinpoints", json!([[336, 672]])),
            "config field `image_grid_pinpoints` is `[[336,672]]`; supported: null",
        ),
        (
            json!({"image_processor_type": "BlipImageProcessor", "do_center_crop": true}),
            "config field `crop_size` is missing",
        ),
    ];
    for (json, expected) in cases {
        assert_eq!(message(&json), expected);
    }
}

#[test]
fn numbers_outside_of_their_range_are_refused() {
    let cases = [
        (
            "size",
            json!({"shortest_edge": 0}),
            "`size.shortest_edge` is 0, expected 1 to 4096",
        ),
        ("size", json!(5000), "`size` is 5000, expected 1 to 4096"),
        (
            "crop_size",
            json!({"height": 3, "width": 4097}),
            "`crop_size.width` is 4097, expected 1 to 4096",
        ),
        (
            "rescale_factor",
            json!(0),
            "`rescale_factor` is 0, expected a number above 0, at most 1",
        ),
        (
            "image_std",
            json!([1.0, 0.0, 1.0]),
            "`image_std` is 0, expected numbers above 0",
        ),
        (
            "image_std",
            json!(1e-44),
            "keep (pixel - image_mean) / image_std finite",
        ),
        (
            "image_mean",
            json!(1e300),
            "keep (pixel - image_mean) / image_std finite",
        ),
    ];
    for (field, value, expected) in cases {
        let found = message(&clip_with(field, value));
        assert!(found.contains(expected), "{field}: {found}");
    }
}

#[test]
fn values_of_the_wrong_type_are_malformed_with_their_place() {
    let wrong = [
        (
            "size",
            json!("large"),
            "a number of pixels or an object of edges",
        ),
        (
            "size",
            json!({"shortest_edge": -3}),
            "a number of pixels or an object of edges",
        ),
        ("do_resize", json!("yes"), "line 1 column"),
        (
            "image_mean",
            json!([0.5, 0.5]),
            "a number or a list of three numbers",
        ),
    ];
    for (field, value, expected) in wrong {
        let error = read(&clip_with(field, value)).unwrap_err();
        let Error::Config(ConfigError::Malformed { reason, .. }) = &error else {
            panic!("{field}: {error}");
        };
        assert!(reason.contains(expected), "{field}: {reason}");
    }
    for json in [
        &b""[..],
        b"[]",
        b"{",
        b"\xff\xfe",
        b"null",
        b"{\"image_processor\": 3}",
    ] {
        let found = PreprocessConfig::from_json(Path::new("broken.json"), json, None).unwrap_err();
        assert!(
            found.to_string().starts_with("broken.json is not valid: "),
            "{found}"
        );
    }
}
