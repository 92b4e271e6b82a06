//! The few Python objects that a tensor is made of.

use crate::error::visible;
use crate::weights::element::ElementType;

/// The callables and types that a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// Calls another callable, and gives its result attributes.
    RebuildFromType,
    TensorType,
    Storage(ElementType),
}

impl Global {
    /// `None` for anything else, which is then never loaded.
    pub(super) fn from_names(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::RebuildTensor,
            // The second is of a parameter that was given attributes, which come behind its tensor.
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::RebuildParameter
            }
            ("torch._tensor", "_rebuild_from_type_v2") => Self::RebuildFromType,
            ("torch", "Tensor") | ("torch.nn.parameter", "Parameter") => Self::TensorType,
            ("torch", "DoubleStorage") => Self::Storage(ElementType::F64),
            ("torch", "FloatStorage") => Self::Storage(ElementType::F32),
            ("torch", "HalfStorage") => Self::Storage(ElementType::F16),
            ("torch", "BFloat16Storage") => Self::Storage(ElementType::BF16),
            ("torch", "LongStorage") => Self::Storage(ElementType::I64),
            ("torch", "IntStorage") => Self::Storage(ElementType::I32),
            ("torch", "ShortStorage") => Self::Storage(ElementType::I16),
            ("torch", "CharStorage") => Self::Storage(ElementType::I8),
            ("torch", "ByteStorage") => Self::Storage(ElementType::U8),
            ("torch", "BoolStorage") => Self::Storage(ElementType::Bool),
            ("torch", "ComplexFloatStorage") => Self::Storage(ElementType::C64),
            _ => return None,
        })
    }

    /// Module and name in a form that is safe to print.
    pub(super) fn visible(module: &str, name: &str) -> String {
        format!("{}.{}", visible(module), visible(name))
    }
}
