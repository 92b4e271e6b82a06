//! The files of `torch.save`: a zip archive of one pickle, which describes the tensors, and one
//! stored entry for the memory of each; or, from before version 1.6, the same one behind the other.
//!
//! burn-store's reader is not used: it ignores strides, so that a transposed view loads as wrong
//! numbers; it opens the archive again for every tensor; and it allocates what the pickle declares.

mod byte_reader;
mod global;
mod heap;
mod legacy;
mod opcode;
mod pickle;
mod state_dict;
mod zip;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use self::heap::{Heap, Storage, Value, View};
use self::pickle::PickleError;
use self::state_dict::StateDictError;
use self::zip::{Archive, Extent};
use super::element::num_elements;
use super::file::WeightFile;
use super::limits::{MAX_HEADER_BYTES, MAX_PICKLE_VALUES};
use super::tensor::{Layout, TensorEntry, TensorInfo, check_name_and_rank};
use crate::error::{CheckpointError, Error, Result, visible};

const FORMAT: &str = "PyTorch";

const PICKLE_NAME: &str = "data.pkl";

pub(super) use self::legacy::MAGIC as LEGACY_MAGIC;

/// The tensors of a PyTorch file, by name.
///
/// # Errors
///
/// [`CheckpointError`] if the file is no archive of `torch.save`, if its pickle asks for anything
/// but tensors, or if a tensor reaches outside of its storage.
pub(super) fn read_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    let archive = Archive::read(file)?;
    let folder = find_folder(file, &archive)?;
    check_byte_order(file, &archive, folder)?;
    let pickle = read_entry(file, &archive, &format!("{folder}{PICKLE_NAME}"))?;
    let (heap, root) = pickle::load(&pickle).map_err(|error| pickle_error(file, error))?;
    let storages = Storages {
        file,
        archive: Some((&archive, folder)),
        located: HashMap::new(),
    };
    storages.tensors(&heap, root)
}

/// The tensors of a PyTorch file from before version 1.6, by name.
///
/// # Errors
///
/// As [`read_tensors`].
pub(super) fn read_legacy_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    let pickles = legacy::Pickles::read(file)?;
    let (heap, root, located) = pickles.describe(file)?;
    let storages = Storages {
        file,
        archive: None,
        located,
    };
    storages.tensors(&heap, root)
}

/// The folder of the archive that holds the pickle, with its slash.
fn find_folder<'a>(file: &WeightFile, archive: &'a Archive<'_>) -> Result<&'a str> {
    let mut folders = archive.names().filter_map(|name| {
        let folder = name.strip_suffix(PICKLE_NAME)?;
        let is_top = folder.is_empty() || folder.find('/') == Some(folder.len() - 1);
        is_top.then_some(folder)
    });
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder),
        (None, _) => Err(file.malformed(FORMAT, "the zip archive holds no data.pkl")),
        (Some(_), Some(_)) => Err(file.malformed(FORMAT, "the zip archive holds two data.pkl")),
    }
}

fn check_byte_order(file: &WeightFile, archive: &Archive, folder: &str) -> Result<()> {
    let Some(extent) = archive.locate(&format!("{folder}byteorder"))? else {
        return Ok(());
    };
    if file.read(extent.start, extent.len_bytes().min(16))? == b"little" {
        return Ok(());
    }
    let found = "a PyTorch file of big-endian numbers";
    Err(file.unsupported(found, "save it again on a little-endian machine"))
}

fn read_entry(file: &WeightFile, archive: &Archive, name: &str) -> Result<Vec<u8>> {
    let missing = || file.malformed(FORMAT, format!("the zip archive holds no {name}"));
    let extent = archive.locate(name)?.ok_or_else(missing)?;
    file.require_at_most(
        MAX_HEADER_BYTES,
        "the pickle's length in bytes",
        extent.len_bytes(),
    )?;
    file.read(extent.start, extent.len_bytes())
}

/// The storages that tensors of one file have named so far.
struct Storages<'s, 'p> {
    file: &'s WeightFile,
    /// The archive and the folder in it that hold those which are not located yet.
    archive: Option<(&'s Archive<'s>, &'s str)>,
    located: HashMap<&'p str, Extent>,
}

impl<'p> Storages<'_, 'p> {
    /// Finds the tensors that `root` holds, and where they lie.
    fn tensors(mut self, heap: &Heap<'p>, root: Value) -> Result<BTreeMap<String, TensorEntry>> {
        let file = self.file;
        let named =
            state_dict::tensors(heap, root).map_err(|error| state_dict_error(file, error))?;
        let mut tensors = BTreeMap::new();
        for (name, id) in named {
            check_name_and_rank(file, &name, heap.tensor(id).shape.len())?;
            let entry = self.place(&name, heap, heap.tensor(id))?;
            match tensors.entry(name) {
                Entry::Vacant(vacant) => vacant.insert(entry),
                Entry::Occupied(occupied) => return Err(duplicate(file, occupied.key())),
            };
        }
        self.require_disjoint()?;
        Ok(tensors)
    }

    /// Turns a view into a range of the file, if all of it lies inside its storage.
    fn place(&mut self, name: &str, heap: &Heap<'p>, view: &View) -> Result<TensorEntry> {
        let storage = heap.storage(view.storage);
        let extent = self.locate(name, storage)?;
        let layout = Layout::new(&view.shape, &view.strides);
        let outside = || {
            let (shape, strides, len) = (&view.shape, &view.strides, storage.len);
            let place = format!("{shape:?} with strides {strides:?} from {}", view.offset);
            let reason = format!("is {place}, more than its storage of {len} elements");
            self.file.invalid_tensor(name, reason)
        };
        let first = storage.first.checked_add(view.offset);
        let end = layout
            .span(&view.shape)
            .and_then(|span| span.checked_add(first?));
        // A view that repeats elements has more of them than bytes are there to pay for.
        let len = num_elements(&view.shape);
        if end.is_none_or(|end| end > storage.len) || len.is_none_or(|len| len > storage.len) {
            return Err(outside());
        }
        let info = TensorInfo::new(storage.element_type, view.shape.clone()).ok_or_else(outside)?;
        let skipped = (storage.first + view.offset) * storage.element_type.size_bytes();
        Ok(TensorEntry {
            info,
            offset: extent.start + skipped as u64,
            layout,
        })
    }

    fn locate(&mut self, name: &str, storage: Storage<'p>) -> Result<Extent> {
        let extent = match self.located.get(storage.key) {
            Some(extent) => *extent,
            None => {
                let found = match self.archive {
                    Some((archive, folder)) => {
                        archive.locate(&format!("{folder}data/{}", storage.key))?
                    }
                    None => None,
                };
                let missing = || {
                    let key = visible(storage.key);
                    self.file
                        .invalid_tensor(name, format!("is in the missing storage {key}"))
                };
                found.ok_or_else(missing)?
            }
        };
        let needed = storage.len.checked_mul(storage.element_type.size_bytes());
        if needed.is_none_or(|needed| needed as u64 != extent.len_bytes()) {
            let (len, found) = (storage.len, extent.len_bytes());
            let element_type = storage.element_type;
            let reason = format!("is in a storage of {len} {element_type} that has {found} bytes");
            return Err(self.file.invalid_tensor(name, reason));
        }
        self.located.insert(storage.key, extent);
        Ok(extent)
    }

    fn require_disjoint(&self) -> Result<()> {
        let mut extents: Vec<_> = self.located.values().map(|e| (e.start, e.end)).collect();
        extents.sort_unstable();
        match extents.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            true => Err(self
                .file
                .malformed(FORMAT, "two storages share bytes of the archive")),
            false => Ok(()),
        }
    }
}

fn duplicate(file: &WeightFile, tensor: &str) -> Error {
    let (tensor, path) = (tensor.to_string(), file.path().to_path_buf());
    CheckpointError::Duplicate {
        tensor,
        first: path.clone(),
        second: path,
    }
    .into()
}

fn pickle_error(file: &WeightFile, error: PickleError) -> Error {
    match error {
        PickleError::Malformed(reason) => file.malformed(FORMAT, reason),
        PickleError::ForbiddenGlobal(global) => {
            let path = file.path().to_path_buf();
            CheckpointError::ForbiddenGlobal { path, global }.into()
        }
        PickleError::TooManyValues => {
            let limit = MAX_PICKLE_VALUES as u64;
            limit_error(file, "the number of values in its pickle", limit + 1, limit)
        }
    }
}

fn state_dict_error(file: &WeightFile, error: StateDictError) -> Error {
    match error {
        StateDictError::Malformed(reason) => file.malformed(FORMAT, reason),
        StateDictError::Limit(what, found, limit) => limit_error(file, what, found, limit),
    }
}

fn limit_error(file: &WeightFile, what: &'static str, found: u64, limit: u64) -> Error {
    CheckpointError::Limit {
        path: file.path().to_path_buf(),
        what,
        found,
        limit,
    }
    .into()
}

#[cfg(test)]
mod tests;
