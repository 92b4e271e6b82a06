use std::fs;

use burn_vlm::{ImageInput, ImageLimits};

use crate::random::Random;
use crate::support::repository;
use crate::watch::{CaughtPanics, finding};

/// Pictures in every format and mode.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let folder = repository("tests/fixtures/image_formats");
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("the repository has pictures")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| {
            let extension = path.extension().unwrap_or_default();
            extension != "py" && extension != "safetensors"
        })
        .collect();
    // A folder lists its files in any order.
    paths.sort();
    let read = |path| fs::read(path).expect("the repository has this picture");
    paths.into_iter().map(read).collect()
}

/// A damaged picture is read or refused, within what its limits allow.
pub(crate) fn attempt(random: &mut Random, seeds: &[Vec<u8>]) -> Option<String> {
    let mut bytes = random.pick(seeds).clone();
    random.damage(&mut bytes, seeds);
    finding(CaughtPanics::AreFindings, move || {
        let limits = ImageLimits::default().with_max_pixels(4_000_000);
        match ImageInput::from_bytes_with_limits(&bytes, &limits) {
            Ok(image) if image.rgb().len() != 3 * image.height() * image.width() => {
                Err("another number of pixels than its size asks for".to_string())
            }
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    })
}
