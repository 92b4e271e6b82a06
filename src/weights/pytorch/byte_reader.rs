/// Little-endian numbers from a slice; `None` at its end.
#[derive(Clone, Debug)]
pub(super) struct ByteReader<'a> {
    rest: &'a [u8],
}

impl<'a> ByteReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// How many bytes are left.
    pub(super) fn rest_len(&self) -> usize {
        self.rest.len()
    }

    /// The bytes before the next line feed, which is consumed too.
    pub(super) fn line(&mut self) -> Option<&'a [u8]> {
        let len = self.rest.iter().position(|byte| *byte == b'\n')?;
        let line = self.take(len)?;
        self.take(1)?;
        Some(line)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }
}
