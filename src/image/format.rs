use ::image::ImageFormat;
use ::image::error::ImageError as DecoderError;

use crate::error::ImageError;

/// A file format that this crate reads.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    name: &'static str,
    pub(crate) decoder: ImageFormat,
}

const FORMATS: [Format; 5] = [
    Format {
        name: "PNG",
        decoder: ImageFormat::Png,
    },
    Format {
        name: "JPEG",
        decoder: ImageFormat::Jpeg,
    },
    Format {
        name: "WebP",
        decoder: ImageFormat::WebP,
    },
    Format {
        name: "GIF",
        decoder: ImageFormat::Gif,
    },
    Format {
        name: "BMP",
        decoder: ImageFormat::Bmp,
    },
];

impl Format {
    /// The format of `bytes`, by their first ones.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let guess = ::image::guess_format(bytes).ok();
        FORMATS
            .into_iter()
            .find(|format| guess == Some(format.decoder))
            .ok_or_else(|| {
                let found =
                    guess.map_or_else(|| first_bytes(bytes), |other| format!("it is {other:?}"));
                ImageError::UnknownFormat { found }
            })
    }

    pub(crate) fn damaged(self, reason: impl ToString) -> ImageError {
        ImageError::Damaged {
            format: self.name,
            reason: reason.to_string(),
        }
    }

    /// What the decoder of this format said, in our terms.
    pub(crate) fn error(self, error: DecoderError) -> ImageError {
        match error {
            DecoderError::Unsupported(feature) => ImageError::UnsupportedFeature {
                format: self.name,
                reason: feature.to_string(),
            },
            error @ (DecoderError::Decoding(_)
            | DecoderError::Encoding(_)
            | DecoderError::Parameter(_)
            | DecoderError::Limits(_)
            | DecoderError::IoError(_)) => self.damaged(error),
        }
    }
}

fn first_bytes(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 8;
    match bytes.get(..SHOWN_BYTES).unwrap_or(bytes) {
        [] => "it is empty".to_string(),
        shown => format!("it starts with `{}`", shown.escape_ascii()),
    }
}
