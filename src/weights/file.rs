//! A regular file that is read by position.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{CheckpointError, Error, Result};
use crate::files::{OpenError, open_regular};

/// An open regular file and the size it had when it was opened.
///
/// Reads name their position, so that threads can share one file; nothing is mapped into memory,
/// because a mapped file that shrinks kills the process.
#[derive(Debug)]
pub(super) struct WeightFile {
    file: File,
    path: PathBuf,
    len_bytes: u64,
}

impl WeightFile {
    /// Opens `path`, following links.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotAFile`] for a folder, pipe or device.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (file, len_bytes) = open_regular(path).map_err(|error| match error {
            OpenError::Io(reason) => Error::io(path)(reason),
            OpenError::NotAFile(found) => {
                let path = path.to_path_buf();
                CheckpointError::NotAFile { path, found }.into()
            }
        })?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
            len_bytes,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Truncated`] if the file ends before the buffer is full.
    pub(super) fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        read_exact_at(&self.file, offset, buffer).map_err(|reason| match reason.kind() {
            std::io::ErrorKind::UnexpectedEof => self.truncated(offset, buffer.len() as u64),
            _ => Error::Io {
                path: self.path.clone(),
                reason,
            },
        })
    }

    /// Reads `len_bytes` from `offset`, which must lie inside the file as it was opened.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Truncated`] if the range leaves the file; nothing is allocated then.
    pub(super) fn read(&self, offset: u64, len_bytes: u64) -> Result<Vec<u8>> {
        self.require_range(offset, len_bytes)?;
        let Ok(len) = usize::try_from(len_bytes) else {
            return Err(self.truncated(offset, len_bytes));
        };
        let mut buffer = bytemuck::allocation::try_zeroed_vec(len)
            .map_err(|()| Error::io(&self.path)(std::io::ErrorKind::OutOfMemory.into()))?;
        self.read_into(offset, &mut buffer)?;
        Ok(buffer)
    }

    /// # Errors
    ///
    /// [`CheckpointError::Truncated`] if a range leaves the file as it was opened.
    pub(super) fn require_range(&self, offset: u64, len_bytes: u64) -> Result<()> {
        let end = offset.checked_add(len_bytes);
        match end.is_some_and(|end| end <= self.len_bytes) {
            true => Ok(()),
            false => Err(self.truncated(offset, len_bytes)),
        }
    }

    pub(super) fn malformed(&self, format: &'static str, reason: impl Into<String>) -> Error {
        let path = self.path.clone();
        CheckpointError::Malformed {
            path,
            format,
            reason: reason.into(),
        }
        .into()
    }

    pub(super) fn invalid_tensor(&self, tensor: &str, reason: impl Into<String>) -> Error {
        let (path, tensor) = (self.path.clone(), tensor.to_string());
        CheckpointError::InvalidTensor {
            path,
            tensor,
            reason: reason.into(),
        }
        .into()
    }

    pub(super) fn unsupported(&self, found: impl Into<String>, remedy: &'static str) -> Error {
        let path = self.path.clone();
        CheckpointError::Unsupported {
            path,
            found: found.into(),
            remedy,
        }
        .into()
    }

    /// # Errors
    ///
    /// [`CheckpointError::Limit`] if `found` is above `limit`.
    pub(super) fn require_at_most(&self, limit: u64, what: &'static str, found: u64) -> Result<()> {
        if found <= limit {
            return Ok(());
        }
        Err(CheckpointError::Limit {
            path: self.path.clone(),
            what,
            found,
            limit,
        }
        .into())
    }

    fn truncated(&self, offset: u64, len_bytes: u64) -> Error {
        CheckpointError::Truncated {
            path: self.path.clone(),
            offset,
            len_bytes,
        }
        .into()
    }
}

/// For the directory of a zip archive.
impl rawzip::ReaderAt for WeightFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let rest = self.len_bytes.saturating_sub(offset);
        let len = usize::try_from(rest).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        read_exact_at(&self.file, offset, &mut buffer[..len]).map(|()| len)
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut buffer: &mut [u8]) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            count => {
                buffer = &mut buffer[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_beyond_the_end_is_refused_before_anything_is_allocated() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"12345678").unwrap();
        let file = WeightFile::open(file.path()).unwrap();
        assert_eq!(file.read(2, 3).unwrap(), b"345");
        for (offset, len_bytes) in [(0, u64::MAX), (u64::MAX, 1), (7, 2), (9, 0)] {
            let error = file.read(offset, len_bytes).unwrap_err();
            let expected = matches!(error, Error::Checkpoint(CheckpointError::Truncated { .. }));
            assert!(expected, "{offset} {len_bytes}: {error}");
        }
    }

    #[test]
    fn a_file_that_shrank_after_opening_is_an_error() {
        let named = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(named.path(), [7; 64]).unwrap();
        let file = WeightFile::open(named.path()).unwrap();
        std::fs::write(named.path(), [7; 16]).unwrap();
        let error = file.read(0, 64).unwrap_err();
        assert!(
            matches!(error, Error::Checkpoint(CheckpointError::Truncated { .. })),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_folder_and_a_device_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("model.safetensors");
        assert!(
            std::process::Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            let error = WeightFile::open(path).unwrap_err();
            let expected = matches!(error, Error::Checkpoint(CheckpointError::NotAFile { .. }));
            assert!(expected, "{error}");
        }
    }
}
