//! The tensors of a model on disk, whatever files they are spread over.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::TensorData;

use super::adapter::{Adapter, Origin};
use super::element::WeightType;
use super::file::WeightFile;
use super::folder::{Folder, FolderWeights};
use super::format::read_tensors;
use super::index::ShardIndex;
use super::key_rule::KeyRule;
use super::limits::{MAX_SHARDS, MAX_TENSORS};
use super::near_miss::nearest;
use super::source::{NamedTensor, Source};
use super::tensor::{Layout, StoredTensor, TensorEntry, TensorInfo};
use crate::error::{CheckpointError, Result, visible, visible_line};

/// Bytes of two tensors that are compared at once.
const COMPARED_BYTES: u64 = 1 << 20;

/// The weights of a model on disk: safetensors, PyTorch or GGUF files, one or many.
///
/// Opening reads what describes the tensors and checks all of it: shapes, types, sizes and places
/// are consistent and lie inside of their files. The tensors themselves are read one by one when
/// they are asked for, so that a model is never on the host as a whole.
///
/// # Examples
///
/// ```no_run
/// use burn_vlm::weights::Checkpoint;
///
/// let checkpoint = Checkpoint::open("models/llava-1.5-7b-hf")?;
/// for (name, info) in checkpoint.iter() {
///     println!("{name} {:?} {}", info.shape(), info.element_type());
/// }
/// let head = checkpoint.read("lm_head.weight")?.to_f32()?;
/// # let _ = head;
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    files: Vec<Arc<WeightFile>>,
    tensors: BTreeMap<String, FiledTensor>,
    adapters: Vec<Origin>,
    adapter_rules: Vec<KeyRule>,
}

/// One of the folders and files that the weights of a model are spread over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointPart {
    /// A file, or a folder that [`Checkpoint::open`] reads.
    pub path: PathBuf,
    /// What the names of its tensors begin with from now on: parts know nothing of each other.
    pub prefix: &'static str,
}

#[derive(Clone, Debug)]
struct FiledTensor {
    /// Position in `files`.
    file: usize,
    entry: TensorEntry,
    /// Position in `adapters`, where it comes from one.
    adapter: Option<usize>,
}

impl Checkpoint {
    /// Opens the weights of a model folder.
    ///
    /// Looks for `model.safetensors`, `model.safetensors.index.json`, `pytorch_model.bin` and
    /// `pytorch_model.bin.index.json`, in this order, then for the only other file that ends in
    /// `.safetensors`, `.bin`, `.pth` or `.gguf`. Links are followed; names in an index stay in the folder.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if no or several files could be meant, if a file or the index is
    /// damaged or names what it must not.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = Folder::open(folder.as_ref())?;
        let mut checkpoint = Self::empty();
        match folder.find_weights()? {
            FolderWeights::Single(path) => {
                checkpoint.add_all(WeightFile::open(&path)?)?;
            }
            FolderWeights::Sharded { index_path, index } => {
                checkpoint.add_shards(&folder, &index_path, &index)?;
            }
        }
        Ok(checkpoint)
    }

    /// Opens files by name, wherever they are; together they make one checkpoint.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if a file is damaged, or if two of them hold the same tensor.
    pub fn open_files(paths: &[impl AsRef<Path>]) -> Result<Self> {
        let mut checkpoint = Self::empty();
        for path in paths {
            let file = WeightFile::open(path.as_ref())?;
            file.require_at_most(MAX_SHARDS as u64, "the number of files", paths.len() as u64)?;
            checkpoint.add_all(file)?;
        }
        Ok(checkpoint)
    }

    /// Opens what belongs together: a tensor of a later part replaces the one of that name before.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) for a folder, and [`open_files`](Self::open_files) for a file.
    pub fn open_parts(parts: &[CheckpointPart]) -> Result<Self> {
        let mut checkpoint = Self::empty();
        for CheckpointPart { path, prefix } in parts {
            let part = match path.is_dir() {
                true => Self::open(path)?,
                false => Self::open_files(&[path])?,
            };
            checkpoint.replace_with(part, prefix)?;
        }
        Ok(checkpoint)
    }

    /// Adds a low-rank adapter: a folder with `adapter_config.json` and `adapter_model.safetensors`
    /// or `.bin`, as PEFT saves them. What is loaded from here on is the model with the adapter
    /// merged: its products are added in f32 while weights are read, and what it saved whole takes
    /// the place of the model's own. Several adapters add up.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the folder holds no adapter, a damaged one, or one that is more than
    /// products to be added, such as DoRA. That it fits the model is found when that is loaded:
    /// [`CheckpointError::AdapterMismatch`].
    pub fn add_adapter(&mut self, folder: impl AsRef<Path>) -> Result<()> {
        let adapter = Adapter::open(folder.as_ref(), self.adapter_rules.len())?;
        self.adapters.push(adapter.origin);
        self.adapter_rules.extend(adapter.rules);
        self.add(adapter.file, adapter.tensors, Some(self.adapters.len() - 1))
    }

    /// How the factors of the adapters are called.
    pub(super) fn adapter_rules(&self) -> &[KeyRule] {
        &self.adapter_rules
    }

    /// Where the tensor `name` comes from, if from an adapter.
    pub(super) fn adapter_of(&self, name: &str) -> Option<&Origin> {
        let adapter = self.tensors.get(name)?.adapter?;
        self.adapters.get(adapter)
    }

    /// Whether the tensor `name` comes from the adapter that was added last.
    pub(super) fn is_of_last_adapter(&self, name: &str) -> bool {
        let adapter = self.tensors.get(name).and_then(|tensor| tensor.adapter);
        adapter.is_some_and(|adapter| adapter + 1 == self.adapters.len())
    }

    /// The tensors in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &TensorInfo)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), &tensor.entry.info))
    }

    /// What is known of a tensor, or `None` if there is none of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name).map(|tensor| &tensor.entry.info)
    }

    /// How many tensors there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The files that hold the tensors.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path())
    }

    /// Reads a tensor as it is stored.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::UnknownTensor`], [`CheckpointError::Truncated`], or
    /// [`Error::Io`](crate::error::Error::Io).
    pub fn read(&self, name: &str) -> Result<StoredTensor> {
        let (file, entry) = self.find(name)?;
        entry.read(name, file)
    }

    /// Reads a tensor as `weight_type`, as one axis of all its elements.
    ///
    /// Conversion happens while reading: this is the only copy of the tensor on the host.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); also [`CheckpointError::ElementType`] if the elements are no floats
    /// of 16 or 32 bits, and [`CheckpointError::Overflow`] if one is too large for `weight_type`.
    pub fn read_as(&self, name: &str, weight_type: WeightType) -> Result<TensorData> {
        let info = &self.find(name)?.1.info;
        Source::of(NamedTensor { name, info }).read(self, weight_type)
    }

    /// Whether two tensors are stored as the same bytes of the same type and shape.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(crate) fn holds_equal(&self, first: &str, second: &str) -> Result<bool> {
        let (first_file, first_entry) = self.find(first)?;
        let (second_file, second_entry) = self.find(second)?;
        if first_entry.info != second_entry.info {
            return Ok(false);
        }
        if std::ptr::eq(first_file, second_file) && first_entry == second_entry {
            return Ok(true);
        }
        let (Layout::Contiguous, Layout::Contiguous) = (&first_entry.layout, &second_entry.layout)
        else {
            let [first, second] = [self.read(first)?, self.read(second)?];
            return Ok(first.bytes() == second.bytes());
        };
        let len_bytes = first_entry.info.len_bytes() as u64;
        for done in (0..len_bytes).step_by(COMPARED_BYTES as usize) {
            let count = COMPARED_BYTES.min(len_bytes - done);
            let first = first_file.read(first_entry.offset + done, count)?;
            if first != second_file.read(second_entry.offset + done, count)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The tensors of one file that was read already.
    pub(super) fn of_file(
        file: WeightFile,
        tensors: BTreeMap<String, TensorEntry>,
    ) -> Result<Self> {
        let mut checkpoint = Self::empty();
        checkpoint.add(file, tensors, None)?;
        Ok(checkpoint)
    }

    /// The tensors of both.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Duplicate`] if both hold one of a name.
    pub(crate) fn joined(mut self, other: Self) -> Result<Self> {
        let mut tensors: Vec<BTreeMap<_, _>> =
            other.files.iter().map(|_| BTreeMap::new()).collect();
        for (name, FiledTensor { file, entry, .. }) in other.tensors {
            tensors[file].insert(name, entry);
        }
        for (file, tensors) in other.files.into_iter().zip(tensors) {
            self.add(file, tensors, None)?;
        }
        Ok(self)
    }

    fn empty() -> Self {
        Self {
            files: Vec::new(),
            tensors: BTreeMap::new(),
            adapters: Vec::new(),
            adapter_rules: Vec::new(),
        }
    }

    /// # Errors
    ///
    /// [`CheckpointError::UnknownTensor`]
    pub(super) fn find(&self, name: &str) -> Result<(&WeightFile, &TensorEntry)> {
        let Some(tensor) = self.tensors.get(name) else {
            let nearest = nearest(name, self.tensors.keys().map(String::as_str));
            let (tensor, nearest) = (name.to_string(), nearest.map(str::to_string));
            return Err(CheckpointError::UnknownTensor { tensor, nearest }.into());
        };
        Ok((&self.files[tensor.file], &tensor.entry))
    }

    fn add_all(&mut self, file: WeightFile) -> Result<()> {
        let tensors = read_tensors(&file)?;
        self.add(file, tensors, None)
    }

    fn add_shards(&mut self, folder: &Folder, index_path: &Path, index: &ShardIndex) -> Result<()> {
        let shards = folder.missing(index.shards.iter());
        if !shards.is_empty() {
            let index = index_path.to_path_buf();
            return Err(CheckpointError::MissingShards { index, shards }.into());
        }
        for shard in &index.shards {
            let file = folder.open_file(shard)?;
            let tensors = read_tensors(&file)?;
            self.forget_overwritten(&tensors, &file);
            self.add(file, tensors, None)?;
        }
        Ok(())
    }

    /// Of two shards with a tensor of one name, `transformers` keeps the one that is read last.
    fn forget_overwritten(&mut self, tensors: &BTreeMap<String, TensorEntry>, file: &WeightFile) {
        let mut overwritten = tensors.keys().filter_map(|name| {
            let first = self.tensors.remove(name)?;
            Some((name, first.file))
        });
        if let Some((name, first)) = overwritten.next() {
            let others = overwritten.count();
            log::warn!(
                "tensor `{}` and {others} more are in {} and in {}; the latter counts",
                visible(name),
                visible_line(self.files[first].path()),
                visible_line(file.path())
            );
        }
    }

    fn replace_with(&mut self, part: Self, prefix: &str) -> Result<()> {
        let first_file = self.files.len();
        for (name, mut tensor) in part.tensors {
            tensor.file += first_file;
            self.tensors.insert(format!("{prefix}{name}"), tensor);
        }
        self.files.extend(part.files);
        let count = self.tensors.len() as u64;
        match self.files.last() {
            Some(file) => file.require_at_most(MAX_TENSORS as u64, "the number of tensors", count),
            None => Ok(()),
        }
    }

    pub(super) fn add(
        &mut self,
        file: impl Into<Arc<WeightFile>>,
        tensors: BTreeMap<String, TensorEntry>,
        adapter: Option<usize>,
    ) -> Result<()> {
        let file = file.into();
        let count = (self.tensors.len() + tensors.len()) as u64;
        file.require_at_most(MAX_TENSORS as u64, "the number of tensors", count)?;
        self.files.push(file);
        let file = self.files.len() - 1;
        for (name, entry) in tensors {
            let tensor = FiledTensor {
                file,
                entry,
                adapter,
            };
            match self.tensors.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(tensor);
                }
                Entry::Occupied(mut own) if own.get().adapter.is_none() && adapter.is_some() => {
                    own.insert(tensor);
                }
                Entry::Occupied(occupied) => {
                    let tensor = occupied.key().clone();
                    let first = self.files[occupied.get().file].path().to_path_buf();
                    let second = self.files[file].path().to_path_buf();
                    return Err(CheckpointError::Duplicate {
                        tensor,
                        first,
                        second,
                    }
                    .into());
                }
            };
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
