//! Antialiased resizing that equals Pillow's byte for byte.
//!
//! Every checkpoint of the families we run was trained on pictures that Pillow resized, and other
//! resizers differ from it on one byte in eight. The method is the one of Pillow's `Resample.c` (by
//! Alex Clark and contributors, MIT-CMU), expressed anew: a window of weights for each output pixel,
//! computed in f64 and rounded to 22 fractional bits; a pass over the columns and one over the rows,
//! with 8-bit pixels between them.
//!
//! Two things are added, both exact because integer sums may be taken in any order. Only the output
//! pixels that are kept are computed, so a crop bounds the work however long the resized picture
//! would be. And the picture may stand on a larger canvas of one colour, whose share of a window is
//! a single product, so padding costs neither memory nor time.

use std::ops::Range;

use rayon::prelude::*;

use super::{ImageInput, ResampleFilter};

/// Fractional bits of a weight. An accumulator of 32 bits has to hold 8 bits of colour and 2 bits
/// for the overshoot of the negative lobes besides.
const PRECISION_BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (PRECISION_BITS - 1);
pub(crate) const CHANNELS: usize = 3;

/// A resize along one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    /// Pixels of the canvas.
    pub(crate) canvas_len: usize,
    /// Where on the canvas the picture stands; the fill colour is elsewhere.
    pub(crate) picture: Range<usize>,
    /// Pixels of the whole canvas after the resize.
    pub(crate) target_len: usize,
    /// Which of those pixels are wanted.
    pub(crate) kept: Range<usize>,
}

impl Axis {
    /// A resize of a picture that is its own canvas and of which everything is kept.
    pub(crate) fn whole(source_len: usize, target_len: usize) -> Self {
        let (picture, kept) = (0..source_len, 0..target_len);
        Self {
            canvas_len: source_len,
            picture,
            target_len,
            kept,
        }
    }
}

/// A resize along both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resize {
    pub(crate) filter: ResampleFilter,
    pub(crate) vertical: Axis,
    pub(crate) horizontal: Axis,
    /// Colour of the canvas around the picture.
    pub(crate) fill: [u8; CHANNELS],
}

impl Resize {
    /// Pillow's order of the passes, which matters to the last bit because 8-bit pixels lie between
    /// them. Before version 13 it was always horizontal first.
    fn is_vertical_first(&self) -> bool {
        let shrinks_by = |axis: &Axis| axis.canvas_len as i64 - axis.target_len as i64;
        let vertical = shrinks_by(&self.vertical);
        vertical > 0 && vertical > 2 * shrinks_by(&self.horizontal)
    }
}

/// Resizes `image` and returns the kept pixels.
///
/// # Shapes
///
/// * result: `[vertical.kept, horizontal.kept, 3]`
///
/// # Panics
///
/// Panics when the size of `image` is not the size of the plan's picture.
pub(crate) fn resample(image: &ImageInput, resize: &Resize) -> Vec<u8> {
    assert_eq!(
        resize.vertical.picture.len(),
        image.height(),
        "height of the picture"
    );
    assert_eq!(
        resize.horizontal.picture.len(),
        image.width(),
        "width of the picture"
    );
    let (stored, orientation) = image.stored_rgb();
    let (row_axis, column_axis) = if orientation.is_transposed {
        (&resize.horizontal, &resize.vertical)
    } else {
        (&resize.vertical, &resize.horizontal)
    };
    let rows = Windows::of_stored(resize.filter, row_axis, orientation.has_reversed_rows);
    let columns = Windows::of_stored(resize.filter, column_axis, orientation.has_reversed_columns);
    let row_bytes = column_axis.picture.len() * CHANNELS;
    let kept_size = [rows.len(), columns.len()];
    let kept = if resize.is_vertical_first() != orientation.is_transposed {
        resample_rows_first(stored, row_bytes, resize.fill, &rows, &columns)
    } else {
        resample_columns_first(stored, row_bytes, resize.fill, rows, &columns)
    };
    if orientation.is_transposed {
        transpose(&kept, kept_size)
    } else {
        kept
    }
}

fn resample_rows_first(
    stored: &[u8],
    row_bytes: usize,
    fill: [u8; CHANNELS],
    rows: &Windows,
    columns: &Windows,
) -> Vec<u8> {
    let fill_row = fill.repeat(row_bytes / CHANNELS);
    let shortened = mix_rows(stored, &fill_row, rows);
    mix_columns(&shortened, row_bytes, &rows.mix_fill(fill), columns)
}

fn resample_columns_first(
    stored: &[u8],
    row_bytes: usize,
    fill: [u8; CHANNELS],
    rows: Windows,
    columns: &Windows,
) -> Vec<u8> {
    let span = rows.span();
    let needed = &stored[span.start * row_bytes..span.end * row_bytes];
    let fills = vec![fill; span.len()];
    let narrowed = mix_columns(needed, row_bytes, &fills, columns);
    let rows = rows.counted_from(span.start);
    mix_rows(&narrowed, columns.mix_fill(fill).as_flattened(), &rows)
}

/// Rows for columns.
fn transpose(pixels: &[u8], [num_rows, num_columns]: [usize; 2]) -> Vec<u8> {
    let (pixels, _) = pixels.as_chunks::<CHANNELS>();
    let columns = (0..num_columns).flat_map(|column| {
        let rest = pixels[column..].iter();
        rest.step_by(num_columns).take(num_rows)
    });
    columns.flatten().copied().collect()
}

/// The horizontal pass over rows of `row_bytes`, beside each of which the canvas has its own fill
/// colour.
fn mix_columns(
    source: &[u8],
    row_bytes: usize,
    fills: &[[u8; CHANNELS]],
    columns: &Windows,
) -> Vec<u8> {
    let output_row_bytes = columns.len() * CHANNELS;
    let mut output = vec![0; fills.len() * output_row_bytes];
    output
        .par_chunks_exact_mut(output_row_bytes)
        .zip(source.par_chunks_exact(row_bytes))
        .zip(fills)
        .for_each(|((output, row), &fill)| columns.mix_pixels(row, fill, output));
    output
}

/// The vertical pass, above and below whose rows the canvas consists of `fill_row`s.
fn mix_rows(source: &[u8], fill_row: &[u8], rows: &Windows) -> Vec<u8> {
    let row_bytes = fill_row.len();
    let mut output = vec![0; rows.len() * row_bytes];
    output
        .par_chunks_exact_mut(row_bytes)
        .zip(&rows.windows)
        .for_each_init(
            || vec![0; row_bytes],
            |sums, (output, window)| {
                begin_sums(sums, fill_row, window.outside);
                let read = source[window.start * row_bytes..].chunks_exact(row_bytes);
                for (row, &weight) in read.zip(rows.weights_of(window)) {
                    add_weighted(sums, row, weight);
                }
                quantise(sums, output);
            },
        );
    output
}

/// Where each kept pixel of one side takes its colour from.
struct Windows {
    windows: Vec<Window>,
    /// The weights of all windows, one after the other.
    weights: Vec<i32>,
}

struct Window {
    /// First pixel of the picture that is read; 0 when none is.
    start: usize,
    /// Where its weights lie.
    weights: Range<usize>,
    /// Sum of the weights that fall on the canvas around the picture.
    outside: i32,
}

impl Windows {
    fn new(filter: ResampleFilter, axis: &Axis) -> Self {
        let mut windows = Vec::with_capacity(axis.kept.len());
        let mut weights = Vec::new();
        for target in axis.kept.clone() {
            let (canvas_start, canvas_weights) = canvas_window(filter, axis, target);
            let canvas_end = canvas_start + canvas_weights.len();
            let start = axis.picture.start.clamp(canvas_start, canvas_end);
            let end = axis.picture.end.clamp(start, canvas_end);
            let inside = start - canvas_start..end - canvas_start;
            let total: i32 = canvas_weights.iter().sum();
            let first_weight = weights.len();
            weights.extend_from_slice(&canvas_weights[inside.clone()]);
            windows.push(Window {
                start: if inside.is_empty() {
                    0
                } else {
                    start - axis.picture.start
                },
                weights: first_weight..weights.len(),
                outside: total - weights[first_weight..].iter().sum::<i32>(),
            });
        }
        Self { windows, weights }
    }

    /// The windows over pixels that may be stored from the last to the first.
    ///
    /// They are mirrored, not computed for a mirrored picture, which would round differently.
    fn of_stored(filter: ResampleFilter, axis: &Axis, is_reversed: bool) -> Self {
        let mut windows = Self::new(filter, axis);
        if is_reversed {
            for window in &mut windows.windows {
                let end = window.start + window.weights.len();
                windows.weights[window.weights.clone()].reverse();
                let is_empty = window.weights.is_empty();
                window.start = if is_empty {
                    0
                } else {
                    axis.picture.len() - end
                };
            }
        }
        windows
    }

    fn len(&self) -> usize {
        self.windows.len()
    }

    fn weights_of(&self, window: &Window) -> &[i32] {
        &self.weights[window.weights.clone()]
    }

    /// The pixels of the picture that any window reads.
    fn span(&self) -> Range<usize> {
        let reading = || {
            self.windows
                .iter()
                .filter(|window| !window.weights.is_empty())
        };
        let start = reading().map(|window| window.start).min().unwrap_or(0);
        let end = reading()
            .map(|window| window.start + window.weights.len())
            .max()
            .unwrap_or(0);
        start..end
    }

    /// The same windows over a picture whose first `skipped` pixels were left out.
    fn counted_from(mut self, skipped: usize) -> Self {
        for window in &mut self.windows {
            // Saturates only where nothing is read.
            window.start = window.start.saturating_sub(skipped);
        }
        self
    }

    /// Every kept pixel of one row of the picture.
    fn mix_pixels(&self, row: &[u8], fill: [u8; CHANNELS], output: &mut [u8]) {
        let (pixels, _) = row.as_chunks::<CHANNELS>();
        for (window, output) in self.windows.iter().zip(output.chunks_exact_mut(CHANNELS)) {
            let [mut red, mut green, mut blue] =
                fill.map(|color| HALF + i32::from(color) * window.outside);
            // The hottest loop of a large picture, spelled out for builds that do not unroll it.
            for (&[r, g, b], &weight) in pixels[window.start..].iter().zip(self.weights_of(window))
            {
                red += i32::from(r) * weight;
                green += i32::from(g) * weight;
                blue += i32::from(b) * weight;
            }
            quantise(&[red, green, blue], output);
        }
    }

    /// What each kept pixel becomes where the picture is not.
    fn mix_fill(&self, fill: [u8; CHANNELS]) -> Vec<[u8; CHANNELS]> {
        let mix = |window: &Window| {
            let total = window.outside + self.weights_of(window).iter().sum::<i32>();
            let mut output = [0; CHANNELS];
            quantise(
                &fill.map(|color| HALF + i32::from(color) * total),
                &mut output,
            );
            output
        };
        self.windows.iter().map(mix).collect()
    }
}

/// The first pixel of the canvas under the pixel `target`, and the weights from there on.
fn canvas_window(filter: ResampleFilter, axis: &Axis, target: usize) -> (usize, Vec<i32>) {
    let scale = axis.canvas_len as f64 / axis.target_len as f64;
    // A filter widens when it shrinks the picture, and stays as it is when it enlarges it.
    let filter_scale = scale.max(1.0);
    let support = filter.support() * filter_scale;
    let center = (target as f64 + 0.5) * scale;
    // Conversions to integers cut towards zero and saturate, as Pillow clamps.
    let start = (center - support + 0.5) as usize;
    let end = ((center + support + 0.5) as usize).min(axis.canvas_len);
    // Pillow multiplies by the inverse; a division would round differently.
    let inverse = 1.0 / filter_scale;
    let weights: Vec<f64> = (start..end)
        .map(|pixel| filter.weight((pixel as f64 - center + 0.5) * inverse))
        .collect();
    let total: f64 = weights.iter().sum();
    let normalise = |weight: f64| if total == 0.0 { weight } else { weight / total };
    (
        start,
        weights
            .into_iter()
            .map(|weight| fixed_point(normalise(weight)))
            .collect(),
    )
}

fn fixed_point(weight: f64) -> i32 {
    (weight * f64::from(1 << PRECISION_BITS) + 0.5_f64.copysign(weight)) as i32
}

fn begin_sums(sums: &mut [i32], colors: &[u8], weight: i32) {
    for (sum, &color) in sums.iter_mut().zip(colors) {
        *sum = HALF + i32::from(color) * weight;
    }
}

fn add_weighted(sums: &mut [i32], colors: &[u8], weight: i32) {
    for (sum, &color) in sums.iter_mut().zip(colors) {
        *sum += i32::from(color) * weight;
    }
}

fn quantise(sums: &[i32], output: &mut [u8]) {
    for (output, &sum) in output.iter_mut().zip(sums) {
        *output = (sum >> PRECISION_BITS).clamp(0, 255) as u8;
    }
}

#[cfg(test)]
mod tests;
