use std::collections::BTreeSet;

use safetensors::SafeTensors;

use crate::image::{ImageInput, fixtures};

/// Cases that Pillow refuses and this crate does not, because their pixels are all there, each with
/// one that has the same pixels.
const ANSWERED_WITHOUT_PILLOW: [(&str, &str); 18] = [
    ("ends/gif -3", "ends/gif -1"),
    ("ends/jpeg baseline -1", "ends/jpeg baseline, zeros"),
    ("ends/jpeg baseline -2", "ends/jpeg baseline, zeros"),
    ("ends/jpeg baseline, fill", "ends/jpeg baseline, zeros"),
    ("ends/jpeg grey -1", "ends/jpeg grey, zeros"),
    ("ends/jpeg grey -2", "ends/jpeg grey, zeros"),
    ("ends/jpeg grey, fill", "ends/jpeg grey, zeros"),
    ("ends/jpeg restarts -1", "ends/jpeg restarts, zeros"),
    ("ends/jpeg restarts -2", "ends/jpeg restarts, zeros"),
    ("ends/jpeg restarts, fill", "ends/jpeg restarts, zeros"),
    ("ends/png note cut", "ends/png -1"),
    ("ends/png unknown chunk cut", "ends/png -1"),
    ("ends/webp False, size +100", "ends/webp False, junk"),
    ("ends/webp False, size +2", "ends/webp False, junk"),
    ("ends/webp False, size -2", "ends/webp False, junk"),
    ("ends/webp True, size +100", "ends/webp True, junk"),
    ("ends/webp True, size +2", "ends/webp True, junk"),
    ("ends/webp True, size -2", "ends/webp True, junk"),
];

/// Cases that Pillow answers with grey where pixels are missing: the scan is cut by what looks like
/// a mark, and no end mark follows.
const REFUSED_WITHOUT_PILLOW: [&str; 5] = [
    "ends/jpeg baseline, cut, another mark",
    "ends/jpeg baseline, cut, another segment",
    "ends/jpeg grey, cut, another mark",
    "ends/jpeg grey, cut, another segment",
    "ends/jpeg restarts, cut, another segment",
];

/// The picture that a case has.
fn expected(tensors: &SafeTensors<'_>, name: &str) -> Option<ImageInput> {
    let same = ANSWERED_WITHOUT_PILLOW.iter().find(|(of, _)| *of == name);
    let name = format!("{}/rgb", same.map_or(name, |(_, same)| same));
    let is_answered = tensors.tensor(&name).is_ok();
    is_answered.then(|| fixtures::picture(tensors, &name))
}

/// How far the decoders of a format may differ from Pillow's.
fn tolerance(name: &str) -> u8 {
    let is_lossy = name.contains("jpeg") || name.contains("webp False");
    match (is_lossy, name.starts_with("ends")) {
        (false, _) => 0,
        (true, false) => 4,
        // Noise whose chroma is enlarged by another rule.
        (true, true) => 60,
    }
}

/// Compares every case of a group with Pillow; returns what differs.
fn differences(group: &str) -> Vec<String> {
    let file = fixtures::read("pictures/cases.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let names: BTreeSet<&str> = tensors
        .names()
        .into_iter()
        .filter_map(|name| name.strip_suffix("/file"))
        .filter(|name| name.starts_with(group))
        .collect();
    assert!(names.len() > 90, "{} cases of {group}", names.len());
    names
        .into_iter()
        .filter_map(|name| {
            let file = tensors.tensor(&format!("{name}/file")).unwrap();
            let found = ImageInput::from_bytes(file.data());
            let difference = match (expected(&tensors, name), found) {
                (Some(expected), Ok(found)) if expected.size() != found.size() => {
                    Some(format!("{:?}, not {:?}", found.size(), expected.size()))
                }
                (Some(expected), Ok(found)) => {
                    let pairs = expected.rgb().iter().zip(found.rgb());
                    let largest = pairs.map(|(a, b)| a.abs_diff(*b)).max();
                    (largest > Some(tolerance(name))).then(|| format!("differs by {largest:?}"))
                }
                (Some(_), Err(_)) if REFUSED_WITHOUT_PILLOW.contains(&name) => None,
                (Some(_), Err(error)) => Some(format!("refused: {error}")),
                (None, Ok(_)) => Some("answered, Pillow refuses".to_string()),
                (None, Err(error)) => {
                    let error = error.to_string();
                    error.contains("panicked").then_some(error)
                }
            };
            difference.map(|difference| format!("{name}: {difference}"))
        })
        .collect()
}

#[test]
fn orientation_is_found_wherever_pillow_finds_it() {
    let found = differences("orientation");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn what_shows_around_a_frame_is_what_pillow_shows() {
    let found = differences("frames");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn pictures_whose_pixels_are_all_there_are_read_and_no_others() {
    let found = differences("ends");
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}
