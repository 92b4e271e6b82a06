//! The name of a device, as users write it.

use std::fmt;
use std::str::FromStr;

use crate::error::DeviceError;

/// A device by name: `auto`, `cpu`, `wgpu`, `vulkan`, `metal`, `cuda` or `cuda:1`.
///
/// # Examples
/// ```
/// use burn_vlm::DeviceName;
///
/// assert_eq!("cpu".parse::<DeviceName>()?, DeviceName::Cpu);
/// assert!("abacus".parse::<DeviceName>().is_err());
/// # Ok::<(), burn_vlm::DeviceError>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceName {
    /// The best device there is: CUDA, then a GPU that `wgpu` reaches, then the CPU. A software
    /// GPU is passed over.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU that `wgpu` prefers; a software one too.
    Wgpu,
    /// The same through Vulkan, with kernels in SPIR-V.
    Vulkan,
    /// The same through Metal.
    Metal,
    /// A CUDA device, by index.
    Cuda(usize),
}

impl DeviceName {
    /// The devices to try for this name, in order.
    pub(super) fn candidates(self) -> Vec<Self> {
        match self {
            Self::Auto => vec![Self::Cuda(0), Self::Wgpu, Self::Cpu],
            Self::Cpu | Self::Wgpu | Self::Vulkan | Self::Metal | Self::Cuda(_) => vec![self],
        }
    }

    /// The names that this build can open.
    pub fn known() -> Vec<String> {
        let names: &[(bool, &str)] = &[
            (true, "auto"),
            (cfg!(feature = "flex"), "cpu"),
            (cfg!(feature = "wgpu"), "wgpu"),
            (cfg!(feature = "vulkan"), "vulkan"),
            (cfg!(feature = "metal"), "metal"),
            (cfg!(feature = "cuda"), "cuda"),
            (cfg!(feature = "cuda"), "cuda:N"),
        ];
        let known = names.iter().filter(|(is_built, _)| *is_built);
        known.map(|(_, name)| (*name).to_string()).collect()
    }
}

impl FromStr for DeviceName {
    type Err = DeviceError;

    fn from_str(name: &str) -> Result<Self, DeviceError> {
        let unknown = || DeviceError::Unknown {
            name: name.to_string(),
            known: Self::known(),
        };
        match name.to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu),
            "vulkan" => Ok(Self::Vulkan),
            "metal" => Ok(Self::Metal),
            "cuda" => Ok(Self::Cuda(0)),
            other => {
                let index = other
                    .strip_prefix("cuda:")
                    .and_then(|index| index.parse().ok());
                index.map(Self::Cuda).ok_or_else(unknown)
            }
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu => f.write_str("wgpu"),
            Self::Vulkan => f.write_str("vulkan"),
            Self::Metal => f.write_str("metal"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
        }
    }
}
