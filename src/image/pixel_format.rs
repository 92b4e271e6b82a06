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
            upper_byte: 0,
        }
    }
}

/// How a decoder lays out its pixels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PixelLayout {
    pub(crate) channels: usize,
    sample_bytes: usize,
    /// Which byte of a sample is the upper one.
    upper_byte: usize,
}

impl PixelLayout {
    /// Samples of two bytes are in the byte order of this machine.
    pub(crate) fn of(decoder: &impl ImageDecoder) -> Self {
        let color_type = decoder.color_type();
        let channels = usize::from(color_type.channel_count());
        let sample_bytes = usize::from(color_type.bytes_per_pixel()) / channels;
        let is_little_endian = cfg!(target_endian = "little");
        Self {
            channels,
            sample_bytes,
            upper_byte: if is_little_endian {
                sample_bytes - 1
            } else {
                0
            },
        }
    }

    pub(crate) fn big_endian(channels: usize, sample_bytes: usize) -> Self {
        Self {
            channels,
            sample_bytes,
            upper_byte: 0,
        }
    }

    fn pixel_bytes(self) -> usize {
        self.channels * self.sample_bytes
    }

    /// Red, green and blue of every pixel, 8 bits each; what is transparent shows white, as
    /// `transformers` converts it.
    ///
    /// Without a second buffer where the pixels become no larger.
    pub(crate) fn into_rgb(self, mut pixels: Vec<u8>) -> Vec<u8> {
        if (self.channels, self.sample_bytes) == (3, 1) {
            return pixels;
        }
        let num_pixels = pixels.len() / self.pixel_bytes();
        if self.pixel_bytes() < 3 {
            let mut rgb = vec![0; num_pixels * 3];
            self.write_rgb(&pixels, &mut rgb);
            return rgb;
        }
        for pixel in 0..num_pixels {
            let rgb = self.rgb(&pixels[pixel * self.pixel_bytes()..][..self.pixel_bytes()]);
            pixels[pixel * 3..][..3].copy_from_slice(&rgb);
        }
        pixels.truncate(num_pixels * 3);
        pixels.shrink_to_fit();
        pixels
    }

    /// The same for `pixels` that are to stay.
    pub(crate) fn write_rgb(self, pixels: &[u8], rgb: &mut [u8]) {
        let pixels = pixels.chunks_exact(self.pixel_bytes());
        for (rgb, pixel) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
            *rgb = self.rgb(pixel);
        }
    }

    fn rgb(self, pixel: &[u8]) -> [u8; 3] {
        let sample = |channel| pixel[channel * self.sample_bytes + self.upper_byte];
        let colour = match self.channels {
            1 | 2 => [sample(0); 3],
            _ => [sample(0), sample(1), sample(2)],
        };
        match self.channels {
            2 | 4 => on_white(colour, sample(self.channels - 1)),
            _ => colour,
        }
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
