//! Shape checks at the border of the kernels.

/// Panics with both shapes unless `tensor.dims()` is `expected`.
///
/// For shapes between our own modules only: what comes from a file or a user is an error instead.
macro_rules! assert_shape {
    ($tensor:expr, $expected:expr) => {{
        let (found, expected) = ($tensor.dims(), $expected);
        assert!(
            found == expected,
            "{} has shape {found:?}, expected {expected:?}",
            stringify!($tensor)
        );
    }};
}
pub(crate) use assert_shape;
