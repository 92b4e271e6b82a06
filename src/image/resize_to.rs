use super::ImageSize;

/// The size that a picture is resized to; `size` in Hugging Face's configuration files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResizeTo {
    /// This size, whatever the aspect ratio was: `{"height", "width"}`.
    Exact(ImageSize),
    /// The shorter side gets this length, the longer one follows: `{"shortest_edge"}`.
    ShortestEdge(usize),
    /// The longer side gets this length, the shorter one follows and is made even by the rule of
    /// the Idefics3 processor: `{"longest_edge"}`.
    LongestEdge(usize),
    /// As [`ShortestEdge`](Self::ShortestEdge), but smaller where the longer side would pass its
    /// limit: `{"shortest_edge", "longest_edge"}`.
    ShortestEdgeWithin {
        /// Length that the shorter side gets.
        shortest_edge: usize,
        /// Limit of the longer side.
        longest_edge: usize,
    },
}

impl ResizeTo {
    /// The size that a picture of `size` gets.
    ///
    /// Lengths are computed in f64 and cut as the Python originals do, so that no side is off by
    /// one.
    pub(crate) fn target(self, size: ImageSize) -> ImageSize {
        match self {
            Self::Exact(target) => target,
            Self::ShortestEdge(edge) => follow_aspect(size, edge, edge as f64),
            Self::LongestEdge(edge) => with_longest_edge(size, edge),
            Self::ShortestEdgeWithin {
                shortest_edge,
                longest_edge,
            } => within(size, shortest_edge, longest_edge),
        }
    }

    /// The size that every square gets.
    pub(crate) fn target_of_squares(self) -> ImageSize {
        // No rule depends on the size of a square, only on its being one.
        self.target(ImageSize::square(1))
    }
}

/// `short_edge` is the new shorter side, `ideal_edge` the same before it was rounded.
fn follow_aspect(size: ImageSize, short_edge: usize, ideal_edge: f64) -> ImageSize {
    let (short, long) = (size.height.min(size.width), size.longest_edge());
    let long_edge = ((ideal_edge * long as f64 / short as f64) as usize).max(1);
    if size.width <= size.height {
        ImageSize::new(long_edge, short_edge)
    } else {
        ImageSize::new(short_edge, long_edge)
    }
}

fn with_longest_edge(size: ImageSize, edge: usize) -> ImageSize {
    let aspect_ratio = size.width as f64 / size.height as f64;
    if size.width >= size.height {
        let height = ((edge as f64 / aspect_ratio) as usize).next_multiple_of(2);
        ImageSize::new(height.max(1), edge)
    } else {
        let width = ((edge as f64 * aspect_ratio) as usize).next_multiple_of(2);
        ImageSize::new(edge, width.max(1))
    }
}

fn within(size: ImageSize, shortest_edge: usize, longest_edge: usize) -> ImageSize {
    let (short, long) = (
        size.height.min(size.width) as f64,
        size.longest_edge() as f64,
    );
    if long / short * shortest_edge as f64 <= longest_edge as f64 {
        return follow_aspect(size, shortest_edge, shortest_edge as f64);
    }
    let ideal_edge = longest_edge as f64 * short / long;
    let short_edge = ideal_edge.round_ties_even();
    if short_edge == short {
        return size;
    }
    follow_aspect(size, (short_edge as usize).max(1), ideal_edge)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::image::fixtures;

    fn rule(json: &Value) -> ResizeTo {
        let edge = |name: &str| json[name].as_u64().map(|edge| edge as usize);
        match (edge("shortest_edge"), edge("longest_edge")) {
            (Some(edge), None) => ResizeTo::ShortestEdge(edge),
            (None, Some(edge)) => ResizeTo::LongestEdge(edge),
            (Some(shortest_edge), Some(longest_edge)) => ResizeTo::ShortestEdgeWithin {
                shortest_edge,
                longest_edge,
            },
            (None, None) => panic!("no rule in {json}"),
        }
    }

    #[test]
    fn every_rule_gives_the_size_that_transformers_gives() {
        let file = fixtures::read("preprocess/sizes.json");
        let cases: Vec<(Value, [usize; 2], [usize; 2])> = serde_json::from_slice(&file).unwrap();
        assert!(cases.len() > 600);
        for (json, [height, width], expected) in cases {
            let target = rule(&json).target(ImageSize::new(height, width));
            assert_eq!(
                [target.height, target.width],
                expected,
                "{height}x{width} by {json}"
            );
        }
    }

    #[test]
    fn all_squares_get_the_same_size() {
        let rules = [
            ResizeTo::ShortestEdge(20),
            ResizeTo::LongestEdge(21),
            ResizeTo::ShortestEdgeWithin {
                shortest_edge: 40,
                longest_edge: 30,
            },
        ];
        for rule in rules {
            for side in [1, 19, 20, 21, 30, 16_384] {
                assert_eq!(
                    rule.target(ImageSize::square(side)),
                    rule.target_of_squares()
                );
            }
        }
    }
}
