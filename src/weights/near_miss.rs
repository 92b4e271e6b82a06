//! The most similar of many names, for error messages.

/// Share of a name that must agree at its two ends. Names of tensors differ by a prefix, by one
/// renamed part in the middle, or by their last part; all keep more than this.
const MIN_AGREEMENT: f32 = 0.6;

/// The candidate that agrees most with `name` at its start and end, if any agrees well.
pub(super) fn nearest<'c>(
    name: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    let (agreement, candidate) = candidates
        .map(|candidate| (agreement(name, candidate), candidate))
        .max_by(|(left, _), (right, _)| left.total_cmp(right))?;
    (agreement >= MIN_AGREEMENT).then_some(candidate)
}

/// Bytes that two names share at their start and end, as a share of the longer name. Linear in
/// their length, because a hostile checkpoint chooses how long and how many they are.
fn agreement(left: &str, right: &str) -> f32 {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let start = left.iter().zip(right).take_while(|(l, r)| l == r).count();
    let ends = left[start..].iter().rev().zip(right[start..].iter().rev());
    let end = ends.take_while(|(l, r)| l == r).count();
    (start + end) as f32 / left.len().max(right.len()).max(1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_differs_in_one_place() {
        let names = [
            "model.layers.0.mlp.up_proj.weight",
            "model.layers.0.mlp.up_proj.bias",
            "lm_head.weight",
        ];
        let nearest = |name| nearest(name, names.into_iter());
        assert_eq!(nearest("layers.0.mlp.up_proj.weight"), Some(names[0]));
        assert_eq!(nearest("model.layers.0.ffn.up_proj.bias"), Some(names[1]));
        assert_eq!(nearest("head.weight"), Some(names[2]));
        assert_eq!(nearest("rotary"), None);
    }

    #[test]
    fn shared_bytes_are_not_counted_twice() {
        assert_eq!(agreement("aaa", "aaaaa"), 0.6);
        assert_eq!(agreement("same", "same"), 1.0);
        assert_eq!(agreement("", ""), 0.0);
    }
}
