//! Little-endian numbers and strings, one after another, none of them trusted.

use crate::error::Result;
use crate::weights::file::WeightFile;

/// Bytes that are read at once.
const WINDOW_BYTES: u64 = 1 << 18;

/// Reads a file from its beginning. Nothing is allocated that the file has no bytes for.
pub(super) struct Reader<'f> {
    pub(super) file: &'f WeightFile,
    pub(super) format: &'static str,
    /// The file may go on; what is read with this may not.
    limit_bytes: u64,
    position: u64,
    window: Vec<u8>,
    window_start: u64,
}

impl<'f> Reader<'f> {
    pub(super) fn new(file: &'f WeightFile, format: &'static str, limit_bytes: u64) -> Self {
        Self {
            file,
            format,
            limit_bytes,
            position: 0,
            window: Vec::new(),
            window_start: 0,
        }
    }

    /// Where the next byte is.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Whether the file has ended.
    pub(super) fn is_at_end(&self) -> bool {
        self.position >= self.file.len_bytes()
    }

    /// Goes on somewhere else; what is skipped does not count.
    pub(super) fn skip_to(&mut self, position: u64) {
        let skipped = position.saturating_sub(self.position);
        self.limit_bytes = self.limit_bytes.saturating_add(skipped);
        self.position = position;
    }

    /// The next `len_bytes`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Truncated`](crate::CheckpointError::Truncated) if the file has fewer,
    /// [`CheckpointError::Limit`](crate::CheckpointError::Limit) if that would be too much in all.
    pub(super) fn bytes(&mut self, len_bytes: u64) -> Result<&[u8]> {
        let end = self.position.saturating_add(len_bytes);
        if end <= self.file.len_bytes() {
            self.file.require_at_most(
                self.limit_bytes,
                "the length of what describes the tensors in bytes",
                end,
            )?;
        }
        self.fill(end)?;
        let start = (self.position - self.window_start) as usize;
        self.position = end;
        Ok(&self.window[start..start + len_bytes as usize])
    }

    /// Makes the window hold everything up to `end`.
    fn fill(&mut self, end: u64) -> Result<()> {
        let window_end = self.window_start + self.window.len() as u64;
        if self.position >= self.window_start && end <= window_end {
            return Ok(());
        }
        let wanted = end - self.position;
        let rest = self.file.len_bytes().saturating_sub(self.position);
        let len_bytes = wanted.max(rest.min(WINDOW_BYTES));
        self.window = self.file.read(self.position, len_bytes)?;
        self.window_start = self.position;
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        Ok(bytes.try_into().expect("as many bytes were asked for"))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text behind its length of 8 bytes; `what` is for the error.
    pub(super) fn text(&mut self, what: &'static str) -> Result<String> {
        let len_bytes = self.u64()?;
        let text = String::from_utf8(self.bytes(len_bytes)?.to_vec());
        text.map_err(|_not_utf8| {
            self.file
                .malformed(self.format, format!("{what} is no UTF-8"))
        })
    }
}
