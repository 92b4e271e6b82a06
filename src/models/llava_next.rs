//! LLaVA-NeXT, which is LLaVA-1.6 (Liu et al. 2024), as Hugging Face stores it: LLaVA-1.5 over the tiles
//! of a picture and the whole of it.

use super::fields::Fields;
use super::{Family, ImageLayout, ModelConfig, ProjectorConfig, VisionConfig, llava};
use crate::error::Result;
use crate::image::{ImageSize, PINPOINTS, PreprocessConfig, TileGrid, read_pinpoints};
use crate::nn::{AnyResolutionConfig, FeatureGrid, FeatureSelect, VisualEncoderConfig};
use crate::text::ImageTokens;
use crate::weights::KeyRule;
use serde_json::json;

pub(super) const FAMILY: Family = Family {
    name: "llava-next",
    architectures: &["LlavaNextForConditionalGeneration"],
    model_type: "llava_next",
    image_processor: Some("LlavaNextImageProcessor"),
    usual_preparation: Some(|vision| {
        let tile = vision.encoder.image_size();
        PreprocessConfig::any_resolution(tile, &vision.image_grid_pinpoints)
    }),
    layout,
    parse,
    ..llava::FAMILY
};

/// Behind those of LLaVA-1.5.
pub(super) const KEYS: [KeyRule; 3] = [
    KeyRule::rename_prefix("projector.linear_", "projector.mlp.linear_"),
    KeyRule::rename_prefix("model.image_newline", "image_newline"),
    KeyRule::rename_prefix("image_newline", "projector.image_newline"),
];

/// Those of Hugging Face's `LlavaNextConfig`: heights and widths.
const DEFAULT_PINPOINTS: [[usize; 2]; 5] =
    [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]];

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    over_tiles(fields, llava::parse(fields)?)
}

/// LLaVA-1.5 over the tiles of a picture.
pub(super) fn over_tiles(fields: &Fields<'_>, mut config: ModelConfig) -> Result<ModelConfig> {
    config.key_map = config.key_map.with_all(KEYS);
    config.vision = match config.vision {
        Some(vision) => Some(vision_over_tiles(fields, vision)?),
        None => None,
    };
    Ok(config)
}

fn vision_over_tiles(fields: &Fields<'_>, vision: VisionConfig) -> Result<VisionConfig> {
    // The features of a tile are a square, in which the class token has no place: transformers fails.
    if let VisualEncoderConfig::Clip(encoder) = &vision.encoder
        && encoder.select == FeatureSelect::ClassAndPatches
    {
        let (name, known) = (
            "vision_feature_select_strategy",
            vec!["default".to_string()],
        );
        return Err(fields.unsupported(name, "full", known));
    }
    let projector = match vision.projector {
        ProjectorConfig::Mlp(mlp) => ProjectorConfig::AnyResolution(AnyResolutionConfig { mlp }),
        other => other,
    };
    Ok(VisionConfig {
        image_grid_pinpoints: pinpoints(fields, vision.encoder.image_size())?,
        projector,
        ..vision
    })
}

fn pinpoints(fields: &Fields<'_>, tile: usize) -> Result<Vec<ImageSize>> {
    let name = "image_grid_pinpoints";
    let default = json!(DEFAULT_PINPOINTS);
    let sizes = fields.value(name).unwrap_or(&default);
    let out_of_range = || fields.out_of_range(name, sizes, PINPOINTS);
    read_pinpoints(sizes, tile).ok_or_else(out_of_range)
}

/// The whole picture, then its tiles side by side without the black beside them.
fn layout(vision: &VisionConfig, preprocess: &PreprocessConfig, size: ImageSize) -> ImageLayout {
    let tiles = preprocess.tile_grid(size);
    let TileGrid { rows, columns } = tiles.expect("a model that cuts has a processor that cuts");
    let side = vision.encoder.num_features().isqrt();
    let grid = FeatureGrid::unpadded(side, [rows, columns], [size.height, size.width]);
    ImageLayout {
        num_tiles: rows * columns + 1,
        tokens: ImageTokens::rows(grid.num_rows()),
        grid: Some(grid),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::*;

    /// What `transformers` counts for pictures of some sizes.
    #[derive(Deserialize)]
    struct TokensCase {
        pinpoints: Vec<[usize; 2]>,
        tile: usize,
        side: usize,
        sizes: Vec<([usize; 2], [usize; 2], [usize; 2])>,
        tokens: Vec<usize>,
    }

    fn vision(pinpoints: &[[usize; 2]], tile: usize, side: usize) -> VisionConfig {
        let json = json!({
            "image_grid_pinpoints": pinpoints,
            "vision_config": {"image_size": tile, "patch_size": tile / side},
        });
        let object = json.as_object().expect("an object");
        let config = parse(&Fields::new(object)).expect("a model");
        config.vision.expect("it sees")
    }

    #[test]
    fn a_picture_takes_as_many_places_as_the_processor_counts() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/preprocess/any_resolution.json"
        );
        let file = std::fs::read(Path::new(path)).expect("a fixture");
        let cases: Vec<TokensCase> = serde_json::from_slice(&file).expect("a sound fixture");
        let mut compared = 0;
        for case in cases {
            let vision = vision(&case.pinpoints, case.tile, case.side);
            let pinpoints = &vision.image_grid_pinpoints;
            let preprocess = PreprocessConfig::any_resolution(case.tile, pinpoints);
            let preprocess = preprocess.expect("a sound size");
            for (([height, width], ..), tokens) in case.sizes.iter().zip(case.tokens) {
                let size = ImageSize::new(*height, *width);
                let found = layout(&vision, &preprocess, size).num_rows();
                assert_eq!(found, tokens, "{height} x {width}");
                compared += 1;
            }
        }
        assert!(compared > 600, "{compared} sizes");
    }

    #[test]
    fn what_is_not_written_is_as_in_the_class() {
        let config = parse(&Fields::new(&serde_json::Map::new())).expect("a model");
        let vision = config.vision.expect("it sees");
        let sizes = vision.image_grid_pinpoints.iter();
        assert!(
            sizes
                .map(|size| [size.height, size.width])
                .eq(DEFAULT_PINPOINTS)
        );
        assert_eq!(vision.encoder.image_size(), 336);
        assert_eq!(vision.image_token_id, Some(32_000));
    }

    #[test]
    fn features_of_several_layers_stand_side_by_side() {
        let json = json!({"vision_feature_layer": [-2, 3, -2]});
        let config = parse(&Fields::new(json.as_object().expect("an object"))).expect("a model");
        let vision = config.vision.expect("it sees");
        let VisualEncoderConfig::Clip(encoder) = &vision.encoder else {
            panic!("{:?}", vision.encoder)
        };
        assert_eq!(encoder.feature_layers, [23, 3, 23]);
        assert_eq!(encoder.num_hidden_layers, 23);
        let ProjectorConfig::AnyResolution(projector) = &vision.projector else {
            panic!("{:?}", vision.projector)
        };
        assert_eq!(projector.mlp.vision_hidden_size, 3 * 1024);
    }
}
