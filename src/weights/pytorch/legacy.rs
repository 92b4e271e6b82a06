//! What `torch.save` wrote before version 1.6: no archive, but pickles one behind the other.
//!
//! A magic number, a version and facts about the machine; the pickle that describes the tensors; the
//! keys of the storages in their order; then each storage: how many elements it has, and the elements.

use std::collections::HashMap;

use super::heap::{Heap, Storage, Value};
use super::zip::Extent;
use super::{FORMAT, pickle, pickle_error};
use crate::error::Result;
use crate::weights::file::WeightFile;
use crate::weights::limits::MAX_HEADER_BYTES;

/// The pickle of the magic number.
pub(in crate::weights) const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The only version there ever was.
const VERSION: i64 = 1001;

/// Bytes in front of a storage that count its elements.
const COUNT_BYTES: u64 = 8;

/// The pickles of a file.
#[derive(Debug)]
pub(super) struct Pickles {
    bytes: Vec<u8>,
}

/// The tensors of a file, and where the storages lie that they name.
pub(super) type Described<'p> = (Heap<'p>, Value, HashMap<&'p str, Extent>);

impl Pickles {
    /// Reads as much as the pickles of a file may take.
    pub(super) fn read(file: &WeightFile) -> Result<Self> {
        let bytes = file.read(0, file.len_bytes().min(MAX_HEADER_BYTES))?;
        Ok(Self { bytes })
    }

    /// Follows the file from its magic number to its end.
    pub(super) fn describe(&self, file: &WeightFile) -> Result<Described<'_>> {
        let mut at = MAGIC.len();
        let mut next = || {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let (heap, root, len) =
                pickle::load_front(rest).map_err(|error| pickle_error(file, error))?;
            at += len;
            Ok::<_, crate::Error>((heap, root))
        };
        let (_, version) = next()?;
        if version != Value::Int(VERSION) {
            return Err(file.malformed(FORMAT, "its version is not 1001"));
        }
        let (facts, machine) = next()?;
        require_little_endian(file, &facts, machine)?;
        let (heap, root) = next()?;
        let (key_heap, keys) = next()?;
        let keys = key_heap.sequence(keys).unwrap_or_default();
        let located = locate(
            file,
            &heap,
            keys.iter().map(|key| key_heap.text(*key)),
            at as u64,
        )?;
        Ok((heap, root, located))
    }
}

fn require_little_endian(file: &WeightFile, heap: &Heap, machine: Value) -> Result<()> {
    let facts = heap.dict(machine).unwrap_or_default();
    let fact = facts
        .iter()
        .find(|(key, _)| heap.text(*key) == Some("little_endian"));
    match fact {
        Some((_, Value::Bool(true))) => Ok(()),
        Some((_, Value::Bool(false))) => {
            let found = "a PyTorch file of big-endian numbers";
            Err(file.unsupported(found, "save it again on a little-endian machine"))
        }
        _ => Err(file.malformed(FORMAT, "it does not say in which order bytes lie")),
    }
}

/// Where each storage lies, from `at` on.
fn locate<'p>(
    file: &WeightFile,
    heap: &Heap<'p>,
    keys: impl Iterator<Item = Option<&'p str>>,
    mut at: u64,
) -> Result<HashMap<&'p str, Extent>> {
    let storages: HashMap<&str, Storage> = heap
        .storages()
        .map(|storage| (storage.key, storage))
        .collect();
    let mut located = HashMap::new();
    for key in keys {
        let storage = key.and_then(|key| storages.get(key));
        let Some(storage) = storage else {
            return Err(file.malformed(FORMAT, "it lists a storage that no tensor names"));
        };
        let mut count = [0; COUNT_BYTES as usize];
        file.require_range(at, COUNT_BYTES)?;
        file.read_into(at, &mut count)?;
        let len_bytes = u64::from_le_bytes(count)
            .checked_mul(storage.element_type.size_bytes() as u64)
            .filter(|len_bytes| *len_bytes <= u64::MAX / 2);
        let too_many = || file.malformed(FORMAT, "a storage has more elements than any file");
        let (start, len_bytes) = (at + COUNT_BYTES, len_bytes.ok_or_else(too_many)?);
        file.require_range(start, len_bytes)?;
        let end = start + len_bytes;
        if located.insert(storage.key, Extent { start, end }).is_some() {
            return Err(file.malformed(FORMAT, "it lists a storage twice"));
        }
        at = end;
    }
    Ok(located)
}
