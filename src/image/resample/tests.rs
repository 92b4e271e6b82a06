use proptest::prelude::*;
use safetensors::SafeTensors;

use super::*;
use crate::image::{ImageSize, fixtures};

fn resize_to(image: &ImageInput, target: ImageSize, filter: ResampleFilter) -> Vec<u8> {
    let vertical = Axis::whole(image.height(), target.height);
    let horizontal = Axis::whole(image.width(), target.width);
    resample(
        image,
        &Resize {
            filter,
            vertical,
            horizontal,
            fill: [0; 3],
        },
    )
}

/// A picture in which no two neighbours are equal.
fn picture(size: ImageSize) -> ImageInput {
    let bytes = (0..size.height * size.width * 3).map(|index| (index * 89 % 251) as u8);
    ImageInput::from_rgb8(size, bytes.collect()).unwrap()
}

/// `picture` in the middle of a square, in memory.
fn padded(picture: &ImageInput, fill: [u8; 3]) -> ImageInput {
    let side = picture.height().max(picture.width());
    let top = (side - picture.height()) / 2;
    let left = (side - picture.width()) / 2;
    let mut rgb = fill.repeat(side * side);
    for (row, pixels) in picture.rgb().chunks_exact(picture.width() * 3).enumerate() {
        let start = ((top + row) * side + left) * 3;
        rgb[start..start + pixels.len()].copy_from_slice(pixels);
    }
    ImageInput::from_rgb8(ImageSize::square(side), rgb).unwrap()
}

#[test]
fn every_filter_equals_pillow_byte_for_byte() {
    let file = fixtures::read("resample/resample.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let mut compared = 0;
    for name in tensors.names() {
        let parts: Vec<_> = name.split('.').collect();
        let [source, target, filter] = parts[..] else {
            continue;
        };
        let image = fixtures::picture(&tensors, &format!("source.{source}"));
        let filter = ResampleFilter::from_id(filter.parse().unwrap()).unwrap();
        let resized = resize_to(&image, fixtures::size(target), filter);
        assert!(
            resized == tensors.tensor(name).unwrap().data(),
            "{name} differs"
        );
        compared += 1;
    }
    assert_eq!(compared, 140);
}

#[test]
fn a_resize_to_the_same_size_changes_nothing() {
    let image = picture(ImageSize::new(13, 17));
    for filter in ResampleFilter::ALL {
        assert_eq!(
            resize_to(&image, image.size(), filter),
            image.rgb(),
            "{filter:?}"
        );
    }
}

#[test]
fn a_uniform_picture_stays_uniform() {
    let size = ImageSize::new(7, 300);
    let image = ImageInput::from_rgb8(size, [9, 128, 255].repeat(7 * 300)).unwrap();
    for filter in ResampleFilter::ALL {
        for target in [ImageSize::new(3, 11), ImageSize::new(50, 400)] {
            let pixels = target.height * target.width;
            assert_eq!(
                resize_to(&image, target, filter),
                [9, 128, 255].repeat(pixels)
            );
        }
    }
}

#[test]
fn a_crop_of_a_resize_too_large_for_memory_is_a_resize() {
    let image = picture(ImageSize::new(16_384, 1));
    let whole = 16_384 * 336;
    let middle = whole / 2;
    let vertical = Axis {
        kept: middle - 168..middle + 168,
        ..Axis::whole(image.height(), whole)
    };
    let horizontal = Axis::whole(1, 336);
    let resize = Resize {
        filter: ResampleFilter::Bicubic,
        vertical,
        horizontal,
        fill: [0; 3],
    };
    let cropped = resample(&image, &resize);
    assert_eq!(cropped.len(), 336 * 336 * 3);
    // The 336 kept rows straddle the border between the two middle pixels.
    let pixel = |row: usize| &image.rgb()[row * 3..row * 3 + 3];
    let differs = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(differs(&cropped[..3], pixel(8191)) < Some(4));
    assert!(differs(&cropped[335 * 336 * 3..][..3], pixel(8192)) < Some(4));
}

#[test]
fn numbers_and_filters_are_the_inverse_of_each_other() {
    for filter in ResampleFilter::ALL {
        assert_eq!(ResampleFilter::from_id(filter.id()), Some(filter));
    }
    assert_eq!(ResampleFilter::from_id(0), None);
    assert_eq!(ResampleFilter::from_id(6), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn keeping_a_part_is_cutting_it_from_the_whole(
        (source, target) in (1_usize..50, 1_usize..50),
        (first, second) in (0_usize..50, 0_usize..50),
        filter in proptest::sample::select(ResampleFilter::ALL.to_vec()),
    ) {
        let image = picture(ImageSize::new(source, 6));
        let (start, end) = (first.min(second) % target, first.max(second) % target + 1);
        let kept = start.min(end - 1)..end;
        let horizontal = Axis::whole(6, 4);
        let vertical = Axis { kept: kept.clone(), ..Axis::whole(source, target) };
        let part = resample(&image, &Resize { filter, vertical, horizontal, fill: [0; 3] });
        let whole = resize_to(&image, ImageSize::new(target, 4), filter);
        prop_assert_eq!(part, &whole[kept.start * 12..kept.end * 12]);
    }

    #[test]
    fn a_canvas_around_the_picture_is_as_if_it_were_in_memory(
        (height, width) in (1_usize..40, 1_usize..40),
        (target_height, target_width) in (1_usize..50, 1_usize..50),
        filter in proptest::sample::select(ResampleFilter::ALL.to_vec()),
    ) {
        let image = picture(ImageSize::new(height, width));
        let fill = [122, 116, 104];
        let side = height.max(width);
        let axis = |len: usize, target_len| {
            let start = (side - len) / 2;
            Axis { canvas_len: side, picture: start..start + len, ..Axis::whole(side, target_len) }
        };
        let (vertical, horizontal) = (axis(height, target_height), axis(width, target_width));
        let on_canvas = resample(&image, &Resize { filter, vertical, horizontal, fill });
        let target = ImageSize::new(target_height, target_width);
        prop_assert_eq!(on_canvas, resize_to(&padded(&image, fill), target, filter));
    }
}

#[test]
fn a_picture_stored_on_its_side_is_resized_as_the_upright_one() {
    let stored = ImageSize::new(23, 38);
    let rgb = picture(stored).rgb().to_vec();
    for number in 1..=8 {
        let turned = ImageInput::stored(stored, rgb.clone(), number);
        let upright = ImageInput::from_rgb8(turned.size(), turned.rgb().to_vec()).unwrap();
        for filter in ResampleFilter::ALL {
            for (height, width) in [(7, 9), (9, 30), (60, 5), (38, 23), (23, 38), (80, 90)] {
                let target = ImageSize::new(height, width);
                let [found, expected] =
                    [&turned, &upright].map(|image| resize_to(image, target, filter));
                assert!(found == expected, "{number}, {filter:?} to {target:?}");
            }
        }
    }
}

#[test]
fn a_picture_stored_on_its_side_is_padded_and_cropped_as_the_upright_one() {
    let stored = ImageSize::new(31, 17);
    let rgb = picture(stored).rgb().to_vec();
    for number in 1..=8 {
        let turned = ImageInput::stored(stored, rgb.clone(), number);
        let upright = ImageInput::from_rgb8(turned.size(), turned.rgb().to_vec()).unwrap();
        let side = upright.size().longest_edge();
        let axis = |len: usize| Axis {
            canvas_len: side + 40,
            picture: 20..20 + len,
            target_len: 50,
            kept: 3..41,
        };
        let resize = Resize {
            filter: ResampleFilter::Bicubic,
            vertical: axis(upright.height()),
            horizontal: axis(upright.width()),
            fill: [9, 100, 200],
        };
        assert!(
            resample(&turned, &resize) == resample(&upright, &resize),
            "{number}"
        );
    }
}
