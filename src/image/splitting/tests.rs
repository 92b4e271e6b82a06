use super::*;
use crate::image::ResizeTo;
use crate::image::tiling::Tiling;

fn config(tile: usize, longest_edge: usize, is_split: bool) -> PreprocessConfig {
    let filter = ResampleFilter::Lanczos;
    let mut config = PreprocessConfig::clip(tile).expect("a sound size");
    config.crop_size = None;
    config.resize = Some((ResizeTo::LongestEdge(longest_edge), filter));
    config.tiling = Some(Tiling::Splitting(Splitting {
        tile,
        is_split,
        filter,
    }));
    config
}

fn grid(config: &PreprocessConfig, height: usize, width: usize) -> Option<[usize; 2]> {
    let grid = config.tile_grid(ImageSize::new(height, width))?;
    Some([grid.rows, grid.columns])
}

#[test]
fn pictures_are_cut_as_the_processors_of_the_published_models_cut_them() {
    let small = config(512, 2048, true);
    assert_eq!(grid(&small, 480, 640), Some([3, 4]));
    assert_eq!(grid(&small, 640, 480), Some([4, 3]));
    assert_eq!(grid(&small, 1080, 1920), Some([3, 4]));
    assert_eq!(grid(&small, 7, 7), Some([4, 4]), "a thumbnail is enlarged");
    assert_eq!(grid(&small, 1, 4000), Some([1, 4]));
    assert_eq!(grid(&small, 4000, 1), Some([4, 1]));
    let large = config(384, 1536, true);
    assert_eq!(grid(&large, 480, 640), Some([3, 4]));
}

#[test]
fn a_picture_that_fits_one_tile_is_not_cut() {
    assert_eq!(grid(&config(512, 512, true), 480, 640), None);
    assert_eq!(grid(&config(512, 2048, false), 480, 640), None);
}

#[test]
fn the_whole_picture_is_the_last_tile() {
    let image = ImageInput::from_rgb8(ImageSize::new(2, 4), (0..24).collect()).unwrap();
    let mut config = config(2, 4, true);
    config.normalization = None;
    config.rescale_factor = None;
    let values = config.preprocess(&image).unwrap();
    assert_eq!(values.shape(), [3, 3, 2, 2]);
    let red = |tile: usize| &values.data()[tile * 12..tile * 12 + 4];
    assert_eq!(red(0), [0., 3., 12., 15.]);
    assert_eq!(red(1), [6., 9., 18., 21.]);
    let whole = red(2);
    assert!(
        (0. ..=6.).contains(&whole[0]) && (15. ..=21.).contains(&whole[3]),
        "{whole:?}"
    );
}
