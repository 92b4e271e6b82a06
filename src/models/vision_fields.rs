//! What the configurations of all visual encoders have in common: their limits, and how sizes must fit.

use super::fields::Fields;
use crate::error::Result;

pub(super) const MAX_WIDTH: usize = 1 << 16;
pub(super) const MAX_LAYERS: usize = 512;
/// Most pixels along a side of what an encoder sees.
pub(super) const MAX_IMAGE_SIZE: usize = 2048;
/// Most patches of a picture: attention between them takes memory by the square.
const MAX_PATCHES: usize = 1 << 16;

/// The heads of a block share its width evenly; `name` is the field that says how many there are.
pub(super) fn require_even_heads(
    fields: &Fields<'_>,
    name: &'static str,
    num_heads: usize,
    hidden_size: usize,
) -> Result<()> {
    if hidden_size.is_multiple_of(num_heads) {
        return Ok(());
    }
    let expected = format!("a divisor of the width {hidden_size}");
    Err(fields.out_of_range(name, num_heads, expected))
}

/// Pictures are red, green and blue.
pub(super) fn require_three_channels(fields: &Fields<'_>) -> Result<()> {
    match fields.count("num_channels", 1..=MAX_WIDTH)? {
        None | Some(3) => Ok(()),
        Some(found) => Err(fields.unsupported("num_channels", found, vec!["3".to_string()])),
    }
}

/// A picture has a patch, and not too many; `name` is the field that says how large they are.
pub(super) fn require_patches(
    fields: &Fields<'_>,
    name: &'static str,
    patch_size: usize,
    num_patches: usize,
) -> Result<()> {
    if (1..=MAX_PATCHES).contains(&num_patches) {
        return Ok(());
    }
    let found = format!("{patch_size} ({num_patches} patches)");
    let expected = format!("one that cuts a picture into 1 to {MAX_PATCHES} patches");
    Err(fields.out_of_range(name, found, expected))
}
