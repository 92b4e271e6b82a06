use super::visible::{visible, visible_line, visible_report};

/// A device that is not there, failed, or computed nonsense.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// No device of that name exists in this build.
    #[error("unknown device `{}`; this build knows: {}", visible(name), known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// Every name that this build accepts.
        known: Vec<String>,
    },
    /// None of the devices asked for could be opened.
    #[error("no device could be opened: {}", visible_report(&tried.join("; ")))]
    Unavailable {
        /// Each device tried, with the reason it was given up.
        tried: Vec<String>,
    },
    /// The device accepted work and failed while doing it.
    #[error("the device failed during {stage}: {}", visible_line(reason))]
    Failed {
        /// What the crate was doing.
        stage: &'static str,
        /// What the backend reported.
        reason: String,
    },
    /// A result is not a finite number, so no token can be chosen from it.
    #[error("{stage} produced values that are not finite numbers")]
    NotFinite {
        /// The stage whose result was bad.
        stage: &'static str,
    },
    /// The device does not compute in the type that was asked for.
    #[error("the device has no {dtype} for {purpose}; f32 works everywhere")]
    UnsupportedType {
        /// What it was asked for.
        purpose: &'static str,
        /// The type.
        dtype: &'static str,
    },
    /// Strict kernels were asked for and the device refused one.
    #[error(
        "kernel `{kernel}` was refused by the device ({reason}) and strict mode forbids a fallback"
    )]
    KernelRefused {
        /// The kernel.
        kernel: &'static str,
        /// Why the device cannot run it.
        reason: String,
    },
}
