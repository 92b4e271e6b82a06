//! Where the entries of an archive of `torch.save` lie in the file.
//!
//! PyTorch compresses nothing, so that storages can be read in place. An archive with compressed
//! entries is not from PyTorch and would make a small file grow without bound.
//!
//! `rawzip` only reads the directory. The better known `zip` would not do: it allocates as many
//! entries as a directory claims to have, drops all but one of the same name without a word, and
//! searches a file that was cut, of whatever size, from its end to its start.

use std::collections::BTreeMap;

use rawzip::{
    CompressionMethod, ErrorKind, RECOMMENDED_BUFFER_SIZE, ZipArchive, ZipArchiveEntryWayfinder,
    ZipFileHeaderRecord, ZipLocator,
};

use super::FORMAT;
use crate::error::{Error, Result, visible};
use crate::weights::file::WeightFile;
use crate::weights::limits::MAX_HEADER_BYTES;

/// The directory of an archive.
#[derive(Debug)]
pub(super) struct Archive<'f> {
    archive: ZipArchive<&'f WeightFile>,
    entries: BTreeMap<String, ZipArchiveEntryWayfinder>,
}

/// Where the content of an entry lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Extent {
    pub(super) fn len_bytes(self) -> u64 {
        self.end - self.start
    }
}

impl<'f> Archive<'f> {
    /// Reads the directory at the end of `file`.
    pub(super) fn read(file: &'f WeightFile) -> Result<Self> {
        let mut buffer = vec![0; RECOMMENDED_BUFFER_SIZE];
        let archive = ZipLocator::new()
            .locate_in_reader(file, &mut buffer, file.len_bytes())
            .map_err(|(_, error)| zip_error(file, error))?;
        let directory_bytes = archive
            .eocd_offset()
            .saturating_sub(archive.directory_offset());
        let what = "the zip directory's length in bytes";
        file.require_at_most(MAX_HEADER_BYTES, what, directory_bytes)?;
        let mut entries = BTreeMap::new();
        let mut records = archive.entries(&mut buffer);
        while let Some(record) = records
            .next_entry()
            .map_err(|error| zip_error(file, error))?
        {
            let name = stored_name(file, &record)?;
            if entries.contains_key(&name) {
                return Err(file.malformed(
                    FORMAT,
                    format!("it has two entries named {:?}", visible(&name)),
                ));
            }
            entries.insert(name, record.wayfinder());
        }
        Ok(Self { archive, entries })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where the entry `name` lies, or `None` if there is no such entry.
    pub(super) fn locate(&self, name: &str) -> Result<Option<Extent>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let file = *self.archive.get_ref();
        let entry = self.archive.get_entry(*entry);
        let (start, end) = entry
            .map_err(|error| zip_error(file, error))?
            .compressed_data_range();
        if end > self.archive.directory_offset() {
            let reason = format!(
                "the entry {:?} reaches into the zip directory",
                visible(name)
            );
            return Err(file.malformed(FORMAT, reason));
        }
        Ok(Some(Extent { start, end }))
    }
}

/// The name of an entry whose content lies in the file as it is.
fn stored_name(file: &WeightFile, record: &ZipFileHeaderRecord) -> Result<String> {
    let Ok(name) = std::str::from_utf8(record.file_path().as_ref()).map(str::to_string) else {
        return Err(file.malformed(FORMAT, "the name of a zip entry is not UTF-8"));
    };
    let is_stored = record.compression_method() == CompressionMethod::STORE
        && record.compressed_size_hint() == record.uncompressed_size_hint()
        && !record.flags().is_encrypted();
    if is_stored {
        return Ok(name);
    }
    let found = format!(
        "a zip archive with the compressed or encrypted entry {:?}",
        visible(&name)
    );
    let remedy = "save the weights with torch.save, which compresses nothing";
    Err(file.unsupported(found, remedy))
}

fn zip_error(file: &WeightFile, error: rawzip::Error) -> Error {
    match error.into_kind() {
        ErrorKind::IO(reason) if reason.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io(file.path())(reason)
        }
        ErrorKind::MissingEndOfCentralDirectory => file.malformed(
            FORMAT,
            "it does not end with a zip directory; fetch it again",
        ),
        damage => file.malformed(FORMAT, format!("its zip directory is damaged: {damage}")),
    }
}
