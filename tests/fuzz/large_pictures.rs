use std::fs;

use burn_vlm::ImageInput;

use crate::memory;
use crate::support::repository;

/// Pictures of 12 megapixels and the most bytes a pixel that reading each may hold at once: three for
/// the picture, and what its format cannot do without.
const PICTURES: [(&str, f64); 9] = [
    ("photo.jpg", 3.2),
    // Every coefficient has to be there before the first row is.
    ("progressive.jpg", 6.2),
    ("picture.png", 3.2),
    ("grey.png", 3.2),
    ("palette.png", 3.2),
    ("alpha.png", 3.2),
    ("picture.webp", 7.2),
    ("lossy.webp", 4.9),
    ("picture.gif", 4.3),
];

#[test]
fn a_large_picture_takes_little_more_memory_than_its_pixels() {
    let _alone = memory::alone();
    let folder = repository("tests/fixtures/large_pictures");
    let mut excess = Vec::new();
    for (name, limit) in PICTURES {
        let bytes = fs::read(folder.join(name)).expect("the repository has this picture");
        let held = memory::begin();
        let picture = ImageInput::from_bytes(&bytes).expect("a sound picture");
        let peak = memory::peak_bytes_since(held) as f64;
        assert_eq!((picture.width(), picture.height()), (4000, 3000), "{name}");
        let per_pixel = peak / 12e6;
        println!("{name}: {per_pixel:.2} bytes a pixel");
        if per_pixel > limit {
            excess.push(format!(
                "{name}: {per_pixel:.2} bytes a pixel, more than {limit}"
            ));
        }
    }
    assert!(excess.is_empty(), "{excess:?}");
}
