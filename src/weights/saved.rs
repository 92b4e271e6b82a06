//! Parameters as they are kept, in a file of their own: a second start reads them and rounds nothing.
//!
//! A safetensors file, whose tensors have the paths of the parameters for names. Floats are floats. A
//! packed matrix is bytes, `[rows, bytes of a row]`: ggml's blocks, whose type stands behind the name,
//! as in `decoder.layers.0.mlp.down_proj.weight:Q4_0`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData, f16};

use super::blocks::BlockType;
use super::checkpoint::Checkpoint;
use super::element::{ElementType, WeightType};
use super::file::WeightFile;
use super::format::read_tensors;
use super::parameters::ModulePath;
use super::shards::{ShardWriter, TensorToWrite};
use super::tensor::{TensorEntry, TensorInfo};
use crate::error::{DeviceError, Error, Result};
use crate::kernels::PackedType;

/// Stands between the path of a packed matrix and the type of its blocks.
const TYPE_MARK: char = ':';

/// The blocks that packed matrices are written in.
const BLOCK_TYPES: [BlockType; 3] = [BlockType::Q8_0, BlockType::Q4_0, BlockType::Q4_1];

/// Writes every float parameter and every packed matrix of `module`, as they are kept, into a new
/// file, which [`Checkpoint::open_saved`] opens. One parameter at a time is on the host.
///
/// # Errors
///
/// [`CheckpointError::NotWritten`](crate::CheckpointError::NotWritten), also if there is such a file
/// already; [`DeviceError::Failed`] if the device does not give a parameter back. What was written
/// until then is removed.
pub(crate) fn save_module<B: Backend, M: Module<B>>(module: &M, path: &Path) -> Result<()> {
    let mut visitor = Visitor::<B> {
        path: ModulePath::default(),
        kept: Vec::new(),
    };
    module.visit(&mut visitor);
    let tensors: Vec<_> = visitor.kept.iter().map(Kept::to_write).collect();
    let mut writer = ShardWriter::create(path, &tensors)?;
    let mut kept = visitor.kept.into_iter();
    let written = kept.try_for_each(|kept| kept.write(&mut writer));
    let written = written.and_then(|()| writer.finish());
    if written.is_err() {
        // The first failure is what is told.
        let _ = fs::remove_file(path);
    }
    written
}

impl Checkpoint {
    /// Opens what [`save_module`] wrote: its names are the paths of parameters, in no need of a map.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`](crate::CheckpointError) if the file is damaged.
    pub(crate) fn open_saved(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in read_tensors(&file)? {
            let (path, entry) = match blocks_of(&name, &entry) {
                Some((path, info)) => (path.to_string(), TensorEntry { info, ..entry }),
                None => (name, entry),
            };
            // A matrix of floats and one of blocks may not stand for the same parameter.
            if tensors.insert(path.clone(), entry).is_some() {
                return Err(file.invalid_tensor(&path, "is there twice"));
            }
        }
        Self::of_file(file, tensors)
    }
}

/// The path and the blocks of a packed matrix.
fn blocks_of<'n>(name: &'n str, entry: &TensorEntry) -> Option<(&'n str, TensorInfo)> {
    let (path, type_name) = name.rsplit_once(TYPE_MARK)?;
    let mut types = BLOCK_TYPES.into_iter();
    let block_type = types.find(|block_type| block_type.name() == type_name)?;
    let &[rows, row_bytes] = entry.info.shape() else {
        return None;
    };
    let is_whole = entry.info.element_type() == ElementType::U8
        && row_bytes.is_multiple_of(block_type.size_bytes());
    let columns = row_bytes / block_type.size_bytes() * block_type.block_len();
    let info = TensorInfo::new(ElementType::Blocks(block_type), vec![rows, columns])?;
    is_whole.then_some((path, info))
}

/// A parameter, or the two of a packed matrix.
struct Kept<B: Backend> {
    path: String,
    shape: Vec<usize>,
    /// `[first axis, the others]`
    numbers: Tensor<B, 2>,
    codes: Option<Codes<B>>,
}

struct Codes<B: Backend> {
    words: Tensor<B, 2, Int>,
    /// The blocks that hold them, with their numbers.
    block_type: BlockType,
}

impl<B: Backend> Kept<B> {
    fn to_write(&self) -> TensorToWrite {
        let Some(Codes { block_type, .. }) = self.codes else {
            return TensorToWrite {
                name: self.path.clone(),
                shape: self.shape.clone(),
                element_type: self.weight_type().element_type(),
            };
        };
        let [rows, numbers] = self.numbers.dims();
        let blocks = numbers * size_of::<f16>() / head_bytes(block_type);
        TensorToWrite {
            name: format!("{}{TYPE_MARK}{}", self.path, block_type.name()),
            shape: vec![rows, blocks * block_type.size_bytes()],
            element_type: ElementType::U8,
        }
    }

    /// What the device keeps floats in, or what holds that.
    fn weight_type(&self) -> WeightType {
        let dtype = self.numbers.dtype();
        let mut types = WeightType::ALL.into_iter();
        let same = types.find(|weight_type| weight_type.dtype() == dtype);
        same.unwrap_or(WeightType::F32)
    }

    fn write(self, writer: &mut ShardWriter) -> Result<()> {
        let weight_type = self.weight_type();
        let numbers = read(self.numbers.try_into_data())?;
        let Some(Codes { words, block_type }) = self.codes else {
            let floats = numbers.convert_dtype(weight_type.dtype());
            return writer.write(floats.as_bytes());
        };
        let words = read(words.try_into_data())?.convert_dtype(DType::U32);
        // They were f16 before a device without that type kept them in f32.
        let numbers = numbers.convert_dtype(DType::F16);
        writer.write(&blocks(block_type, words.as_bytes(), numbers.as_bytes()))
    }
}

fn read<E: ToString>(data: Result<TensorData, E>) -> Result<TensorData> {
    data.map_err(|error| {
        let reason = error.to_string();
        let stage = "reading the weights back";
        Error::from(DeviceError::Failed { stage, reason })
    })
}

fn block_type(packed_type: PackedType) -> BlockType {
    match packed_type {
        PackedType::Q8 => BlockType::Q8_0,
        PackedType::Q4 => BlockType::Q4_0,
        PackedType::Q4WithMinimum => BlockType::Q4_1,
    }
}

/// Bytes of the numbers that a block begins with; behind them are the codes, as a group has them.
fn head_bytes(block_type: BlockType) -> usize {
    let packed_type = block_type.packed_type();
    packed_type.map_or(0, PackedType::numbers_of_group) * size_of::<f16>()
}

fn blocks(block_type: BlockType, codes: &[u8], numbers: &[u8]) -> Vec<u8> {
    let head_bytes = head_bytes(block_type);
    let mut blocks = Vec::with_capacity(codes.len() + numbers.len());
    let codes = codes.chunks_exact(block_type.size_bytes() - head_bytes);
    for (numbers, codes) in numbers.chunks_exact(head_bytes).zip(codes) {
        blocks.extend_from_slice(numbers);
        blocks.extend_from_slice(codes);
    }
    blocks
}

struct Visitor<B: Backend> {
    path: ModulePath,
    kept: Vec<Kept<B>>,
}

impl<B: Backend> ModuleVisitor<B> for Visitor<B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.path.exit(name, container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let numbers = param.val();
        let shape: Vec<usize> = numbers.dims().to_vec();
        let rows = shape.first().copied().unwrap_or(1);
        let columns = shape.iter().skip(1).product();
        self.kept.push(Kept {
            path: self.path.join(),
            shape,
            numbers: numbers.reshape([rows, columns]),
            codes: None,
        });
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<B, D, Int>>) {
        // The codes of a matrix come right behind its numbers; other integers are no weights.
        let &[rows, words] = param.lazy_shape().as_slice() else {
            return;
        };
        let is_packed = self.path.is_in_matrix() && words > 0;
        if let Some(kept) = self.kept.last_mut().filter(|_| is_packed) {
            let [_, numbers] = kept.numbers.dims();
            let packed_type = PackedType::of_row(words, numbers);
            kept.codes = Some(Codes {
                words: param.val().reshape([rows, words]),
                block_type: block_type(packed_type.expect("codes and numbers of one matrix")),
            });
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests;
