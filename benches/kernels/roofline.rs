//! What the device reaches without our kernels: the roof that their shares are of.

use burn::tensor::{DType, Distribution, Tensor};
use burn_vlm::kernels::{VlmBackend, Work};

use crate::line::{Line, Report, time};

pub(crate) const COPY: &str = "roofline copy";
const MATMUL: &str = "roofline matmul";

/// More than any GPU's cache holds, read and written, and what every device of `wgpu` can allocate.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
const COPY_BYTES: usize = 128 << 20;

/// Copies memory on the device: an addition, since a bare copy may be a second handle.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(crate) fn copy<B: VlmBackend>(name: &'static str, report: &mut Report<'_>) {
    let line = Line {
        device: name,
        kernel: COPY,
        case: format!("{} MiB", COPY_BYTES >> 20),
        dtype: DType::F32,
    };
    report.add(&line, true, || {
        let device = B::Device::default();
        let num_elements = COPY_BYTES / size_of::<f32>();
        let source = Tensor::<B, 1>::ones([num_elements], (&device, DType::F32));
        let mut step = || drop(source.clone().add_scalar(1.0));
        let work = Work {
            bytes: 2 * COPY_BYTES,
            flops: 0,
        };
        Ok((time::<B>(&device, &mut step)?, work))
    });
}

/// Burn's own matrix product of two squares, in every type that the device has.
pub(crate) fn matmul<B: VlmBackend>(name: &'static str, size: usize, report: &mut Report<'_>) {
    let device = B::Device::default();
    for dtype in [DType::F16, DType::BF16, DType::F32] {
        let line = Line {
            device: name,
            kernel: MATMUL,
            case: format!("{size}x{size}x{size}"),
            dtype,
        };
        report.add(&line, B::supports_dtype(&device, dtype), || {
            let uniform = Distribution::Uniform(-1.0, 1.0);
            let square =
                || Tensor::<B, 2>::random([size, size], uniform, (&device, DType::F32)).cast(dtype);
            let (a, b) = (square(), square());
            let mut step = || drop(a.clone().matmul(b.clone()));
            let work = Work {
                bytes: 3 * size * size * dtype.size(),
                flops: 2 * size * size * size,
            };
            Ok((time::<B>(&device, &mut step)?, work))
        });
    }
}
