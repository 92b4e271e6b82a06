//! The part of the zip format that `torch.save` writes: stored entries behind one directory.
//!
//! PyTorch compresses nothing, so that storages can be read in place. An archive with compressed
//! entries is not from PyTorch and would make a small file grow without bound.

use std::collections::BTreeMap;

use super::FORMAT;
use super::byte_reader::ByteReader;
use crate::error::Result;
use crate::weights::file::WeightFile;
use crate::weights::limits::MAX_HEADER_BYTES;

const LOCAL_SIGNATURE: u32 = 0x0403_4b50;
const DIRECTORY_SIGNATURE: u32 = 0x0201_4b50;
const END_SIGNATURE: u32 = 0x0605_4b50;
const END_64_SIGNATURE: u32 = 0x0606_4b50;
const LOCATOR_64_SIGNATURE: u32 = 0x0706_4b50;

const LOCAL_BYTES: u64 = 30;
const END_BYTES: u64 = 22;
const END_64_BYTES: u64 = 56;
const LOCATOR_64_BYTES: u64 = 20;

/// Stands in a field of 32 bits whose number is in the extra field of 64 bits.
const SEE_EXTRA: u64 = u32::MAX as u64;
const EXTRA_64_ID: u16 = 1;

/// Bits of the flags that say the content is encrypted.
const ENCRYPTED: u16 = 0x0001 | 0x0040;

/// The directory of an archive.
#[derive(Debug)]
pub(super) struct Archive {
    entries: BTreeMap<String, Entry>,
    /// Where the directory starts and so where the content of every entry must have ended.
    content_end: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    local_offset: u64,
    len_bytes: u64,
}

/// Where an entry lies in the file: its header, its content, its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) header: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Extent {
    pub(super) fn len_bytes(self) -> u64 {
        self.end - self.start
    }
}

/// Position and length of the directory.
struct Directory {
    offset: u64,
    len_bytes: u64,
    num_entries: u64,
}

impl Archive {
    /// Reads the directory at the end of `file`.
    pub(super) fn read(file: &WeightFile) -> Result<Self> {
        let directory = find_directory(file)?;
        file.require_at_most(
            MAX_HEADER_BYTES,
            "the zip directory's length in bytes",
            directory.len_bytes,
        )?;
        let bytes = file.read(directory.offset, directory.len_bytes)?;
        let mut reader = ByteReader::new(&bytes);
        let mut entries = BTreeMap::new();
        for _ in 0..directory.num_entries {
            let (name, entry) = parse_entry(file, &mut reader)?;
            if entries.contains_key(&name) {
                return Err(file.malformed(FORMAT, format!("it has two entries named {name:?}")));
            }
            entries.insert(name, entry);
        }
        Ok(Self {
            entries,
            content_end: directory.offset,
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Where the entry `name` lies, or `None` if there is no such entry.
    pub(super) fn locate(&self, file: &WeightFile, name: &str) -> Result<Option<Extent>> {
        let Some(entry) = self.entries.get(name) else {
            return Ok(None);
        };
        let broken = || {
            file.malformed(
                FORMAT,
                format!("the entry {name:?} is not where it should be"),
            )
        };
        let header = file.read(entry.local_offset, LOCAL_BYTES)?;
        let start = local_header_len(&header)
            .and_then(|len| entry.local_offset.checked_add(len))
            .ok_or_else(broken)?;
        let stored_name = file.read(entry.local_offset + LOCAL_BYTES, name.len() as u64)?;
        let end = start
            .checked_add(entry.len_bytes)
            .filter(|end| *end <= self.content_end);
        match end {
            Some(end) if stored_name == name.as_bytes() => Ok(Some(Extent {
                header: entry.local_offset,
                start,
                end,
            })),
            _ => Err(broken()),
        }
    }
}

/// Bytes of a local header with its name and extra field.
fn local_header_len(header: &[u8]) -> Option<u64> {
    let mut reader = ByteReader::new(header);
    if reader.u32()? != LOCAL_SIGNATURE {
        return None;
    }
    reader.take(22)?;
    let (name_len, extra_len) = (reader.u16()?, reader.u16()?);
    Some(LOCAL_BYTES + u64::from(name_len) + u64::from(extra_len))
}

/// PyTorch writes no comment, so the end record is the end of the file.
fn find_directory(file: &WeightFile) -> Result<Directory> {
    let no_end = || {
        file.malformed(
            FORMAT,
            "it does not end with a zip directory; fetch it again",
        )
    };
    let end_offset = file.len_bytes().checked_sub(END_BYTES).ok_or_else(no_end)?;
    let end = file.read(end_offset, END_BYTES)?;
    let short = parse_end(&end).ok_or_else(no_end)?;
    let directory = match read_end_64(file, end_offset)? {
        Some(long) => long,
        None => short,
    };
    let end = directory.offset.checked_add(directory.len_bytes);
    if end.is_none_or(|end| end > end_offset) {
        return Err(file.malformed(FORMAT, "its zip directory lies outside of the file"));
    }
    Ok(directory)
}

fn parse_end(record: &[u8]) -> Option<Directory> {
    let mut reader = ByteReader::new(record);
    if reader.u32()? != END_SIGNATURE {
        return None;
    }
    reader.take(6)?;
    let num_entries = u64::from(reader.u16()?);
    let (len_bytes, offset) = (u64::from(reader.u32()?), u64::from(reader.u32()?));
    Some(Directory {
        offset,
        len_bytes,
        num_entries,
    })
}

/// The end record of 64 bits, if the file has one.
fn read_end_64(file: &WeightFile, end_offset: u64) -> Result<Option<Directory>> {
    let Some(locator_offset) = end_offset.checked_sub(LOCATOR_64_BYTES) else {
        return Ok(None);
    };
    let locator = file.read(locator_offset, LOCATOR_64_BYTES)?;
    let Some(record_offset) = parse_locator_64(&locator) else {
        return Ok(None);
    };
    let record = file.read(record_offset, END_64_BYTES)?;
    match parse_end_64(&record) {
        Some(directory) => Ok(Some(directory)),
        None => Err(file.malformed(
            FORMAT,
            "its zip directory of 64 bits is not where it should be",
        )),
    }
}

fn parse_locator_64(locator: &[u8]) -> Option<u64> {
    let mut reader = ByteReader::new(locator);
    if reader.u32()? != LOCATOR_64_SIGNATURE {
        return None;
    }
    reader.take(4)?;
    reader.u64()
}

fn parse_end_64(record: &[u8]) -> Option<Directory> {
    let mut reader = ByteReader::new(record);
    if reader.u32()? != END_64_SIGNATURE {
        return None;
    }
    reader.take(28)?;
    let (num_entries, len_bytes, offset) = (reader.u64()?, reader.u64()?, reader.u64()?);
    Some(Directory {
        offset,
        len_bytes,
        num_entries,
    })
}

fn parse_entry(file: &WeightFile, reader: &mut ByteReader) -> Result<(String, Entry)> {
    let header = EntryHeader::parse(reader)
        .ok_or_else(|| file.malformed(FORMAT, "its zip directory is cut or damaged"))?;
    let Ok(name) = std::str::from_utf8(header.name) else {
        return Err(file.malformed(FORMAT, "the name of a zip entry is not UTF-8"));
    };
    if header.method != 0
        || header.flags & ENCRYPTED != 0
        || header.packed_bytes != header.len_bytes
    {
        let found = format!("a zip archive with the compressed or encrypted entry {name:?}");
        return Err(file.unsupported(
            found,
            "save the weights with torch.save, which compresses nothing",
        ));
    }
    let entry = Entry {
        local_offset: header.local_offset,
        len_bytes: header.len_bytes,
    };
    Ok((name.to_string(), entry))
}

/// One record of the directory, with the numbers of 64 bits where it has them.
struct EntryHeader<'a> {
    flags: u16,
    method: u16,
    packed_bytes: u64,
    len_bytes: u64,
    local_offset: u64,
    name: &'a [u8],
}

impl<'a> EntryHeader<'a> {
    fn parse(reader: &mut ByteReader<'a>) -> Option<Self> {
        if reader.u32()? != DIRECTORY_SIGNATURE {
            return None;
        }
        reader.take(4)?;
        let (flags, method) = (reader.u16()?, reader.u16()?);
        reader.take(8)?;
        let (packed_bytes, len_bytes) = (u64::from(reader.u32()?), u64::from(reader.u32()?));
        let (name_len, extra_len) = (reader.u16()?, reader.u16()?);
        let comment_len = reader.u16()?;
        reader.take(8)?;
        let local_offset = u64::from(reader.u32()?);
        let name = reader.take(name_len.into())?;
        let extra = reader.take(extra_len.into())?;
        reader.take(comment_len.into())?;
        let mut header = Self {
            flags,
            method,
            packed_bytes,
            len_bytes,
            local_offset,
            name,
        };
        header.widen(extra)?;
        Some(header)
    }

    /// Replaces the numbers that did not fit into 32 bits.
    fn widen(&mut self, extra: &[u8]) -> Option<()> {
        let mut reader = ByteReader::new(extra);
        let mut wide = ByteReader::new(&[]);
        while let Some(id) = reader.u16() {
            let len = reader.u16()?;
            let field = reader.take(len.into())?;
            if id == EXTRA_64_ID {
                wide = ByteReader::new(field);
            }
        }
        for number in [
            &mut self.len_bytes,
            &mut self.packed_bytes,
            &mut self.local_offset,
        ] {
            if *number == SEE_EXTRA {
                *number = wide.u64()?;
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record of the directory named `n`, with these sizes, offset and extra field.
    fn record(packed: u32, len: u32, offset: u32, extra: &[u8]) -> Vec<u8> {
        let mut record = DIRECTORY_SIGNATURE.to_le_bytes().to_vec();
        record.extend([0; 16]);
        record.extend(packed.to_le_bytes());
        record.extend(len.to_le_bytes());
        record.extend([1, 0]);
        record.extend((extra.len() as u16).to_le_bytes());
        record.extend([0; 10]);
        record.extend(offset.to_le_bytes());
        record.push(b'n');
        record.extend_from_slice(extra);
        record
    }

    fn extra_64(numbers: &[u64]) -> Vec<u8> {
        let unrelated = [0x99, 0x99, 2, 0, 7, 7];
        let head = [
            EXTRA_64_ID.to_le_bytes(),
            ((numbers.len() * 8) as u16).to_le_bytes(),
        ];
        let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
        unrelated
            .into_iter()
            .chain(head.concat())
            .chain(numbers)
            .collect()
    }

    #[test]
    fn numbers_that_do_not_fit_into_32_bits_are_in_the_extra_field() {
        let long = record(
            u32::MAX,
            u32::MAX,
            u32::MAX,
            &extra_64(&[5 << 32, 6 << 32, 7 << 32]),
        );
        let header = EntryHeader::parse(&mut ByteReader::new(&long)).unwrap();
        assert_eq!(
            [header.len_bytes, header.packed_bytes, header.local_offset],
            [5 << 32, 6 << 32, 7 << 32]
        );

        let far = record(8, 8, u32::MAX, &extra_64(&[7 << 32]));
        let header = EntryHeader::parse(&mut ByteReader::new(&far)).unwrap();
        assert_eq!(
            [header.len_bytes, header.packed_bytes, header.local_offset],
            [8, 8, 7 << 32]
        );
    }

    #[test]
    fn a_number_that_is_promised_and_absent_is_an_error() {
        for extra in [extra_64(&[]), Vec::new(), vec![1, 0, 200, 0]] {
            let record = record(8, 8, u32::MAX, &extra);
            assert!(EntryHeader::parse(&mut ByteReader::new(&record)).is_none());
        }
    }
}
