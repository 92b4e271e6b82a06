//! The parameters of a Burn module by path, without making any of them.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, Int, Tensor};

use crate::kernels::{DECODER_LAYERS, DECODER_MODULE, MATRIX_MODULE};

/// A float parameter of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    /// Field names and positions from the module inwards, joined by dots.
    pub(super) path: String,
    pub(super) shape: Vec<usize>,
    pub(super) role: Role,
}

/// What a parameter may be kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Whatever the kernels read: only they do.
    Matrix(MatrixUse),
    /// F32: small, and it decides precision.
    Precise,
}

/// What a matrix is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatrixUse {
    /// Read for every token that a decoder reads.
    DecoderLayer,
    /// The head of a decoder, or its table of embeddings, or both.
    Vocabulary,
    /// Part of something else, such as the encoder of pictures.
    Other,
}

/// What a module wants filled.
#[derive(Debug)]
pub(super) struct Parameters<B: Backend> {
    pub(super) floats: Vec<Parameter>,
    /// Paths of the integer and boolean parameters, which no checkpoint fills.
    pub(super) others: Vec<String>,
    /// Where the first float parameter is or will be.
    pub(super) device: Option<B::Device>,
}

impl<B: Backend> Parameters<B> {
    pub(super) fn of<M: Module<B>>(module: &M) -> Self {
        let parameters = Self {
            floats: Vec::new(),
            others: Vec::new(),
            device: None,
        };
        let mut visitor = Visitor {
            path: ModulePath::default(),
            parameters,
        };
        module.visit(&mut visitor);
        visitor.parameters
    }
}

/// Where a visitor of a module stands.
#[derive(Debug, Default)]
pub(super) struct ModulePath {
    names: Vec<String>,
    /// The modules around that mean something to the loader, outer to inner.
    around: Vec<Around>,
}

/// A module around a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    Matrix,
    DecoderLayers,
    /// Another field of a decoder.
    Decoder,
}

impl Around {
    fn of(name: &str, container: &str) -> Option<Self> {
        match container.strip_prefix(STRUCT)? {
            MATRIX_MODULE => Some(Self::Matrix),
            DECODER_MODULE if name == DECODER_LAYERS => Some(Self::DecoderLayers),
            DECODER_MODULE => Some(Self::Decoder),
            _ => None,
        }
    }
}

impl ModulePath {
    pub(super) fn enter(&mut self, name: &str, container: &str) {
        self.around.extend(Around::of(name, container));
        if is_part_of_path(container) {
            // Fields named by a keyword, such as `r#type`, are plain in files.
            self.names.push(name.trim_start_matches("r#").to_string());
        }
    }

    pub(super) fn exit(&mut self, name: &str, container: &str) {
        if Around::of(name, container).is_some() {
            self.around.pop();
        }
        if is_part_of_path(container) {
            self.names.pop();
        }
    }

    pub(super) fn join(&self) -> String {
        self.names.join(".")
    }

    fn role(&self) -> Role {
        if !self.is_in_matrix() {
            return Role::Precise;
        }
        Role::Matrix(match self.around.first() {
            Some(Around::DecoderLayers) => MatrixUse::DecoderLayer,
            Some(Around::Decoder) => MatrixUse::Vocabulary,
            Some(Around::Matrix) | None => MatrixUse::Other,
        })
    }

    /// Whether the parameter is one of those that a matrix is made of, which have its path.
    pub(super) fn is_in_matrix(&self) -> bool {
        self.around.last() == Some(&Around::Matrix)
    }
}

const ENUM: &str = "Enum:";
const STRUCT: &str = "Struct:";

/// Burn reports the active variant of an enum as if it were a field; files do not know it, nor what
/// a matrix is made of.
fn is_part_of_path(container: &str) -> bool {
    !container.starts_with(ENUM) && container.strip_prefix(STRUCT) != Some(MATRIX_MODULE)
}

struct Visitor<B: Backend> {
    path: ModulePath,
    parameters: Parameters<B>,
}

impl<B: Backend> ModuleVisitor<B> for Visitor<B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.path.exit(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let shape = param.lazy_shape().iter().copied().collect();
        self.parameters.floats.push(Parameter {
            path: self.path.join(),
            shape,
            role: self.path.role(),
        });
        self.parameters
            .device
            .get_or_insert_with(|| param.lazy_device());
    }

    fn visit_int<const D: usize>(&mut self, _param: &Param<Tensor<B, D, Int>>) {
        // The codes of a matrix are filled together with its numbers.
        if !self.path.is_in_matrix() {
            self.parameters.others.push(self.path.join());
        }
    }

    fn visit_bool<const D: usize>(&mut self, _param: &Param<Tensor<B, D, Bool>>) {
        self.parameters.others.push(self.path.join());
    }
}
