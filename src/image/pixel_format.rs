use ::image::ImageDecoder;

/// How the bytes of a pixel buffer are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One byte of brightness.
    Grey8,
    /// Brightness and opacity; the opacity is dropped.
    GreyAlpha8,
    /// Red, green, blue.
    Rgb8,
    /// Red, green, blue and opacity; the opacity is dropped.
    Rgba8,
}

impl PixelFormat {
    pub(crate) fn layout(self) -> PixelLayout {
        let channels = match self {
            Self::Grey8 => 1,
            Self::GreyAlpha8 => 2,
            Self::Rgb8 => 3,
            Self::Rgba8 => 4,
        };
        PixelLayout {
            channels,
            sample_bytes: 1,
        }
    }
}

/// How a decoder lays out its pixels: samples in the byte order of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PixelLayout {
    pub(crate) channels: usize,
    sample_bytes: usize,
}

impl PixelLayout {
    pub(crate) fn of(decoder: &impl ImageDecoder) -> Self {
        let color_type = decoder.color_type();
        let channels = usize::from(color_type.channel_count());
        Self {
            channels,
            sample_bytes: usize::from(color_type.bytes_per_pixel()) / channels,
        }
    }

    /// Red, green and blue of every pixel, 8 bits each.
    pub(crate) fn into_rgb(self, pixels: Vec<u8>) -> Vec<u8> {
        let Self {
            channels,
            sample_bytes,
        } = self;
        if (channels, sample_bytes) == (3, 1) {
            return pixels;
        }
        let pixel_bytes = channels * sample_bytes;
        let mut rgb = Vec::with_capacity(pixels.len() / pixel_bytes * 3);
        for pixel in pixels.chunks_exact(pixel_bytes) {
            let sample = |channel| upper_byte(&pixel[channel * sample_bytes..][..sample_bytes]);
            let is_grey = channels < 3;
            rgb.extend(if is_grey {
                [sample(0); 3]
            } else {
                [sample(0), sample(1), sample(2)]
            });
        }
        rgb
    }
}

fn upper_byte(sample: &[u8]) -> u8 {
    match *sample {
        [first, second] => (u16::from_ne_bytes([first, second]) >> 8) as u8,
        _ => sample[0],
    }
}
