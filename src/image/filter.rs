use std::f64::consts::PI;

/// How the colour of an output pixel is mixed from the pixels under it.
///
/// The numbers of Hugging Face's `resample` field are Pillow's: see [`id`](Self::id).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResampleFilter {
    /// Windowed sinc over three pixels to either side.
    Lanczos,
    /// Triangle over one pixel to either side.
    Bilinear,
    /// Cubic with `a = -0.5` over two pixels to either side.
    Bicubic,
    /// Plain mean of the pixels under the output pixel.
    Box,
    /// Windowed sinc over one pixel to either side.
    Hamming,
}

impl ResampleFilter {
    /// Every filter, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::Lanczos,
        Self::Bilinear,
        Self::Bicubic,
        Self::Box,
        Self::Hamming,
    ];

    /// The number that stands for the filter in configuration files.
    pub const fn id(self) -> u64 {
        match self {
            Self::Lanczos => 1,
            Self::Bilinear => 2,
            Self::Bicubic => 3,
            Self::Box => 4,
            Self::Hamming => 5,
        }
    }

    /// The filter of a number, if there is one.
    pub fn from_id(id: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|filter| filter.id() == id)
    }

    /// Pixels to either side that the filter reads when it does not shrink.
    pub(crate) fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bilinear | Self::Hamming => 1.0,
            Self::Bicubic => 2.0,
            Self::Box => 0.5,
        }
    }

    pub(crate) fn weight(self, x: f64) -> f64 {
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Bilinear => (1.0 - x.abs()).max(0.0),
            Self::Bicubic => bicubic(x.abs()),
            Self::Box if x > -0.5 && x <= 0.5 => 1.0,
            Self::Box => 0.0,
            Self::Hamming => hamming(x.abs()),
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 {
        return 1.0;
    }
    let angle = x * PI;
    angle.sin() / angle
}

fn bicubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

fn hamming(x: f64) -> f64 {
    if x >= 1.0 {
        return 0.0;
    }
    // Pillow writes these two as single-precision constants.
    sinc(x) * (f64::from(0.54_f32) + f64::from(0.46_f32) * (x * PI).cos())
}
