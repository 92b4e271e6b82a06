use ::image::ImageDecoder;

/// How the bytes of a pixel buffer are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// One byte of brightness.
    Grey8,
    /// Brightness and opacity, seen on white.
    GreyAlpha8,
    /// Red, green, blue.
    Rgb8,
    /// Red, green, blue and opacity, seen on white.
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

    /// Red, green and blue of every pixel, 8 bits each; what is transparent shows white, as
    /// `transformers` converts it.
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
            let colour = match channels {
                1 | 2 => [sample(0); 3],
                _ => [sample(0), sample(1), sample(2)],
            };
            rgb.extend(match channels {
                2 | 4 => on_white(colour, sample(channels - 1)),
                _ => colour,
            });
        }
        rgb
    }
}

/// A colour of this opacity in front of white, in Pillow's fixed point (`Image.alpha_composite`).
fn on_white(colour: [u8; 3], opacity: u8) -> [u8; 3] {
    const FRACTION_BITS: u32 = 7;
    let front = u32::from(opacity) << FRACTION_BITS;
    let behind = (255 << FRACTION_BITS) - front;
    colour.map(|value| {
        let sum = u32::from(value) * front + 255 * behind + (0x80 << FRACTION_BITS);
        // A division by 255, rounded.
        ((((sum >> 8) + sum) >> 8) >> FRACTION_BITS) as u8
    })
}

fn upper_byte(sample: &[u8]) -> u8 {
    match *sample {
        [first, second] => (u16::from_ne_bytes([first, second]) >> 8) as u8,
        _ => sample[0],
    }
}
