//! What MiniGPT-v2 is asked for by a tag, and the places in its answers.

use crate::image::ImageSize;

/// What MiniGPT-v2 is asked for. Without one it talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TaskTag {
    /// A short answer to a question.
    Vqa,
    /// A short description.
    Caption,
    /// A description whose things have their places.
    Grounding,
    /// The place of what is described.
    Refer,
    /// The places of everything of a kind.
    Detection,
    /// What is at a place.
    Identify,
}

impl TaskTag {
    /// Every task.
    pub const ALL: [Self; 6] = [
        Self::Vqa,
        Self::Caption,
        Self::Grounding,
        Self::Refer,
        Self::Detection,
        Self::Identify,
    ];

    /// How the tag is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Vqa => "[vqa]",
            Self::Caption => "[caption]",
            Self::Grounding => "[grounding]",
            Self::Refer => "[refer]",
            Self::Detection => "[detection]",
            Self::Identify => "[identify]",
        }
    }

    /// A question with the tag in front, as the model was trained.
    ///
    /// # Examples
    /// ```
    /// use burn_vlm::TaskTag;
    ///
    /// assert_eq!(TaskTag::Refer.ask("the red car"), "[refer] the red car");
    /// ```
    pub fn ask(self, text: &str) -> String {
        format!("{} {text}", self.as_str())
    }
}

/// A place in a picture, in hundredths of its width and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RelativeBox {
    /// Left edge.
    pub left: u8,
    /// Upper edge.
    pub top: u8,
    /// Right edge.
    pub right: u8,
    /// Lower edge.
    pub bottom: u8,
}

/// A place in a picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelBox {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Right edge.
    pub right: f64,
    /// Lower edge.
    pub bottom: f64,
}

/// What an answer says of one thing, or of places without a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroundedPhrase {
    /// What stands between `<p>` and `</p>`.
    pub phrase: Option<String>,
    /// Where it is.
    pub boxes: Vec<RelativeBox>,
}

impl RelativeBox {
    /// The place in a picture of `size`. The model sees the picture squashed to a square, so each
    /// axis has a scale of its own.
    pub fn in_image(self, size: ImageSize) -> PixelBox {
        let along = |hundredths: u8, len: usize| f64::from(hundredths) * len as f64 / 100.0;
        PixelBox {
            left: along(self.left, size.width),
            top: along(self.top, size.height),
            right: along(self.right, size.width),
            bottom: along(self.bottom, size.height),
        }
    }

    /// The place as a question names it: `{<left><top><right><bottom>}`.
    pub fn to_text(self) -> String {
        let Self {
            left,
            top,
            right,
            bottom,
        } = self;
        format!("{{<{left}><{top}><{right}><{bottom}>}}")
    }
}

impl GroundedPhrase {
    /// The places of an answer, in its order. What is no place of four numbers up to 100 is text.
    ///
    /// # Examples
    /// ```
    /// use burn_vlm::{GroundedPhrase, RelativeBox};
    ///
    /// let found = GroundedPhrase::all_in("<p>a cat</p> {<12><34><56><78>} on a mat");
    /// assert_eq!(found[0].phrase.as_deref(), Some("a cat"));
    /// let place = RelativeBox { left: 12, top: 34, right: 56, bottom: 78 };
    /// assert_eq!(found[0].boxes, [place]);
    /// ```
    pub fn all_in(answer: &str) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut rest = answer;
        // A name belongs to the places right behind it.
        let mut phrase = None;
        while let Some(at) = rest.find(['<', '{']) {
            let (text, behind) = rest.split_at(at);
            if let Some((place, behind)) = place(behind) {
                let continues = matches!(text.trim(), "" | "<delim>" | "}") && phrase.is_none();
                match found.last_mut().filter(|_| continues) {
                    Some(last) => last.boxes.push(place),
                    None => found.push(Self {
                        phrase: phrase.take(),
                        boxes: vec![place],
                    }),
                }
                rest = behind;
            } else if let Some(named) = behind.strip_prefix("<p>")
                && let Some((name, behind)) = named.split_once("</p>")
            {
                phrase = Some(name.trim().to_string());
                rest = behind;
            } else if let Some(behind) = behind.strip_prefix("<delim>") {
                rest = behind;
            } else {
                phrase = None;
                rest = &behind[1..];
            }
        }
        found
    }
}

/// A place at the start of `text`, and what follows.
fn place(text: &str) -> Option<(RelativeBox, &str)> {
    let mut rest = text.strip_prefix('{')?;
    let mut next = || {
        let (number, behind) = rest.strip_prefix('<')?.split_once('>')?;
        rest = behind;
        let is_number =
            (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let number = number.parse::<u8>().ok().filter(|_| is_number)?;
        (number <= 100).then_some(number)
    };
    let (left, top, right, bottom) = (next()?, next()?, next()?, next()?);
    let place = RelativeBox {
        left,
        top,
        right,
        bottom,
    };
    Some((place, rest.strip_prefix('}')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(numbers: [u8; 4]) -> RelativeBox {
        let [left, top, right, bottom] = numbers;
        RelativeBox {
            left,
            top,
            right,
            bottom,
        }
    }

    #[test]
    fn places_go_with_the_name_in_front_of_them() {
        let answer =
            "<p>two dogs</p> {<1><2><3><4>}<delim>{<5><6><7><100>} and <p>a mat</p> {<0><0><9><9>}";
        let expected = [
            GroundedPhrase {
                phrase: Some("two dogs".to_string()),
                boxes: vec![place_of([1, 2, 3, 4]), place_of([5, 6, 7, 100])],
            },
            GroundedPhrase {
                phrase: Some("a mat".to_string()),
                boxes: vec![place_of([0, 0, 9, 9])],
            },
        ];
        assert_eq!(GroundedPhrase::all_in(answer), expected);
    }

    #[test]
    fn what_is_no_place_is_text() {
        for text in [
            "",
            "{<1><2><3>}",
            "{<1><2><3><101>}",
            "{<1><2><3><4>",
            "{<-1><2><3><4>}",
            "{<1><2><3><0004>}",
            "<p>a cat</p>",
            "{{{<<<",
            "<p>",
        ] {
            assert_eq!(GroundedPhrase::all_in(text), [], "{text:?}");
        }
        let bare = GroundedPhrase::all_in("It is at {<1><2><3><4>}.");
        assert_eq!((bare[0].phrase.as_deref(), bare[0].boxes.len()), (None, 1));
    }

    #[test]
    fn each_axis_has_its_own_scale_and_what_is_written_is_read_again() {
        let place = place_of([10, 20, 50, 100]);
        let pixels = place.in_image(ImageSize::new(200, 50));
        assert_eq!([pixels.left, pixels.top], [5.0, 40.0]);
        assert_eq!([pixels.right, pixels.bottom], [25.0, 200.0]);
        assert_eq!(GroundedPhrase::all_in(&place.to_text())[0].boxes, [place]);
    }
}
