//! Models that are published as the difference to another one: Vicuna v0, Alpaca.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::f16;

use super::checkpoint::Checkpoint;
use super::convert::Weight;
use super::element::ElementType;
use super::shards::{ShardWriter, TensorToWrite, plan_shards, shard_name};
use super::source::NamedTensor;
use super::tensor::require_stored_type;
use crate::error::{CheckpointError, Error, Result};

/// Elements that are added at once.
const CHUNK_ELEMENTS: usize = 1 << 20;

/// A buffer of old files, which every program computes anew.
const BUFFER: &str = "rotary_emb.inv_freq";

/// What stands in the rows that only the difference has: those of words that were added.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewRows {
    /// Zeros, as for Vicuna.
    #[default]
    Zeros,
    /// The mean of the base's rows, as for Alpaca.
    Mean,
}

/// How a difference is added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeltaOptions {
    /// What stands in the rows that the base lacks.
    pub new_rows: NewRows,
    /// A file of the result has at most so many bytes of tensors, or one tensor.
    pub max_shard_bytes: u64,
}

impl Default for DeltaOptions {
    fn default() -> Self {
        Self {
            new_rows: NewRows::default(),
            max_shard_bytes: 4 << 30,
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct DeltaReport {
    /// Tensors.
    pub num_tensors: usize,
    /// Files of weights.
    pub num_shards: usize,
    /// The sum of all parameters, by which some projects tell a sound result: Alpaca 7B's is
    /// 50637.1836.
    pub sum: f64,
}

/// Adds the tensors of the folder `delta` to those of the folder `base` and writes safetensors files
/// with an index into the folder `target`, which is made where it is absent.
///
/// The sum has the type of the difference, to which the base is rounded first, as the projects' own
/// programs do. A few rows at a time are on the host, whatever the size of the model.
///
/// # Errors
///
/// [`CheckpointError`] if a folder cannot be read, if the two do not fit together, or if a file of
/// the result is there already or cannot be written.
///
/// # Examples
/// ```no_run
/// use burn_vlm::{DeltaOptions, apply_delta};
///
/// let options = DeltaOptions::default();
/// let report = apply_delta("llama-7b", "vicuna-7b-delta-v0", "vicuna-7b", &options)?;
/// println!("{} tensors", report.num_tensors);
/// # Ok::<(), burn_vlm::Error>(())
/// ```
pub fn apply_delta(
    base: impl AsRef<Path>,
    delta: impl AsRef<Path>,
    target: impl AsRef<Path>,
    options: &DeltaOptions,
) -> Result<DeltaReport> {
    let (base, delta) = (Checkpoint::open(base)?, Checkpoint::open(delta)?);
    require_same_names(&base, &delta)?;
    let tensors = tensors_to_write(&delta)?;
    let sum_of = |tensor| Sum::new([&base, &delta], tensor, options.new_rows);
    for tensor in &tensors {
        sum_of(tensor)?;
    }
    let target = target.as_ref();
    fs::create_dir_all(target).map_err(CheckpointError::write(target))?;
    let shards = plan_shards(&tensors, options.max_shard_bytes);
    let mut report = DeltaReport {
        num_tensors: tensors.len(),
        num_shards: shards.len(),
        sum: 0.0,
    };
    let mut index = BTreeMap::new();
    for (position, shard) in shards.iter().enumerate() {
        let name = shard_name(position, shards.len());
        let mut writer = ShardWriter::create(&target.join(&name), shard)?;
        for tensor in *shard {
            let sum = sum_of(tensor)?;
            report.sum += match tensor.element_type {
                ElementType::F16 => sum.write::<f16>(&mut writer)?,
                ElementType::BF16 => sum.write::<burn::tensor::bf16>(&mut writer)?,
                _ => sum.write::<f32>(&mut writer)?,
            };
            index.insert(tensor.name.clone(), name.clone());
        }
        writer.finish()?;
    }
    ShardWriter::write_index(target, &index, &tensors)?;
    Ok(report)
}

fn tensors_to_write(delta: &Checkpoint) -> Result<Vec<TensorToWrite>> {
    let tensors = delta.iter().filter(|(name, _)| !name.ends_with(BUFFER));
    let to_write = |(name, info): (&str, &super::tensor::TensorInfo)| {
        Ok(TensorToWrite {
            name: name.to_string(),
            shape: info.shape().to_vec(),
            element_type: require_stored_type(name, info)?.float_type().element_type(),
        })
    };
    tensors.map(to_write).collect()
}

fn named<'c>(checkpoint: &'c Checkpoint, name: &'c str) -> Result<NamedTensor<'c>> {
    let (_, entry) = checkpoint.find(name)?;
    let info = &entry.info;
    Ok(NamedTensor { name, info })
}

/// What one of the two lacks has no sum.
fn require_same_names(base: &Checkpoint, delta: &Checkpoint) -> Result<()> {
    for (one, other) in [(delta, base), (base, delta)] {
        let names = one.iter().map(|(name, _)| name);
        for name in names.filter(|name| !name.ends_with(BUFFER)) {
            other.find(name)?;
        }
    }
    Ok(())
}

/// Two tensors on their way to their sum.
struct Sum<'c> {
    base: NamedTensor<'c>,
    delta: NamedTensor<'c>,
    from: [&'c Checkpoint; 2],
    new_rows: NewRows,
}

impl<'c> Sum<'c> {
    fn new(
        from: [&'c Checkpoint; 2],
        tensor: &'c TensorToWrite,
        new_rows: NewRows,
    ) -> Result<Self> {
        let sum = Self {
            base: named(from[0], &tensor.name)?,
            delta: named(from[1], &tensor.name)?,
            from,
            new_rows,
        };
        sum.require_shapes()?;
        Ok(sum)
    }

    /// The base may have fewer rows of the same length.
    fn require_shapes(&self) -> Result<()> {
        let (base, delta) = (self.base.info.shape(), self.delta.info.shape());
        let fits = match (base.split_first(), delta.split_first()) {
            (Some((rows, row)), Some((all_rows, all_row))) => rows <= all_rows && row == all_row,
            _ => base == delta,
        };
        if fits {
            return Ok(());
        }
        let reason = format!("has the shape {base:?}, and its difference {delta:?}");
        let (file, _) = self.from[0].find(self.base.name)?;
        Err(file.invalid_tensor(self.base.name, reason))
    }

    /// Writes the sum; returns the sum of its elements.
    fn write<T: Weight>(&self, writer: &mut ShardWriter) -> Result<f64> {
        let shape = self.delta.info.shape();
        let row_len = shape.iter().skip(1).product::<usize>().max(1);
        let chunk_rows = (CHUNK_ELEMENTS / row_len).max(1);
        let num_rows = self.delta.num_rows();
        let mean = self.mean::<T>(row_len, chunk_rows)?;
        let mut total = 0.0;
        for start in (0..num_rows).step_by(chunk_rows) {
            let rows = start..(start + chunk_rows).min(num_rows);
            let delta = self.delta.read_rows::<T>(self.from[1], &rows)?;
            let known = start..rows.end.min(self.base.num_rows()).max(start);
            let mut base = match known.is_empty() {
                true => Vec::new(),
                false => self.base.read_rows::<T>(self.from[0], &known)?,
            };
            while base.len() < delta.len() {
                base.extend_from_slice(&mean);
            }
            let (mut wide, mut added) = (vec![0.0; delta.len()], vec![0.0; delta.len()]);
            T::widen(&base, &mut wide);
            T::widen(&delta, &mut added);
            wide.iter_mut()
                .zip(&added)
                .for_each(|(sum, delta)| *sum += delta);
            let mut sum = vec![T::zeroed(); wide.len()];
            T::narrow(&wide, &mut sum);
            T::widen(&sum, &mut wide);
            total += wide.iter().map(|value| f64::from(*value)).sum::<f64>();
            writer.write(bytemuck::cast_slice(&sum))?;
        }
        Ok(total)
    }

    /// What a row is that the base lacks.
    fn mean<T: Weight>(&self, row_len: usize, chunk_rows: usize) -> Result<Vec<T>> {
        let num_rows = self.base.num_rows();
        let mut mean = vec![0.0f64; row_len];
        let is_needed = num_rows < self.delta.num_rows() && self.new_rows == NewRows::Mean;
        let starts = (0..num_rows).step_by(chunk_rows);
        for start in starts.filter(|_| is_needed) {
            let rows = start..(start + chunk_rows).min(num_rows);
            let values = self.base.read_rows::<T>(self.from[0], &rows)?;
            let mut wide = vec![0.0; values.len()];
            T::widen(&values, &mut wide);
            for row in wide.chunks_exact(row_len) {
                mean.iter_mut()
                    .zip(row)
                    .for_each(|(mean, value)| *mean += f64::from(*value) / num_rows as f64);
            }
        }
        let wide: Vec<f32> = mean.into_iter().map(|mean| mean as f32).collect();
        let mut narrow = vec![T::zeroed(); row_len];
        T::narrow(&wide, &mut narrow);
        Ok(narrow)
    }
}

impl CheckpointError {
    /// A [`CheckpointError::NotWritten`] about `path`; for `map_err`.
    pub(super) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
        let path = path.to_path_buf();
        move |reason| Self::NotWritten { path, reason }.into()
    }
}

#[cfg(test)]
mod tests;
