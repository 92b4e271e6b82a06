//! The orientation of an EXIF block, read as Pillow reads it: the first directory, any numeric type.

const ORIENTATION: u16 = 0x0112;
const ENTRY_BYTES: usize = 12;

/// What stands in place of a value that turns no picture: text, a fraction, a number out of range.
const NONE_OF_THEM: u8 = 0;

/// The orientation, where the block has that field, whatever its value.
pub(super) fn orientation(block: &[u8]) -> Option<u8> {
    let tiff = Tiff::of(strip_names(block))?;
    let directory = tiff.unsigned(4, 4)? as usize;
    let count = tiff.unsigned(directory, 2)? as usize;
    let entries = directory.checked_add(2)?;
    let mut external_bytes = 0;
    for entry in (0..count).map(|index| entries.saturating_add(index * ENTRY_BYTES)) {
        match tiff.field(entry, &mut external_bytes) {
            Field::End => return None,
            Field::Skipped => {}
            Field::Value(value) if tiff.unsigned(entry, 2) == Some(ORIENTATION.into()) => {
                return Some(value.orientation(tiff));
            }
            Field::Value(_) => {}
        }
    }
    None
}

/// Without the name that JPEG puts before the block; some files have it twice.
fn strip_names(block: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"Exif\0\0";
    let once = block.strip_prefix(NAME).unwrap_or(block);
    once.strip_prefix(NAME).unwrap_or(once)
}

#[derive(Clone, Copy)]
struct Tiff<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

/// One entry of a directory.
enum Field<'a> {
    /// The directory cannot be read beyond here.
    End,
    /// It has no value: an unknown type, a count of none.
    Skipped,
    Value(Value<'a>),
}

struct Value<'a> {
    kind: u16,
    bytes: &'a [u8],
}

impl<'a> Tiff<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let is_little_endian = match bytes.get(..4)? {
            b"II\x2a\0" | b"II\0\x2a" => true,
            b"MM\0\x2a" | b"MM\x2a\0" => false,
            _ => return None,
        };
        Some(Self {
            bytes,
            is_little_endian,
        })
    }

    fn field(self, entry: usize, external_bytes: &mut u64) -> Field<'a> {
        let read = |at: usize, count| self.unsigned(entry.saturating_add(at), count);
        let Some(((kind, count), inline)) = read(2, 2).zip(read(4, 4)).zip(
            self.bytes
                .get(entry.saturating_add(8)..entry.saturating_add(ENTRY_BYTES)),
        ) else {
            return Field::End;
        };
        let Some(unit) = unit_bytes(kind as u16) else {
            return Field::Skipped;
        };
        let size = count * unit;
        if size <= inline.len() as u64 {
            let bytes = &inline[..size as usize];
            return match bytes {
                [] => Field::Skipped,
                _ => Field::Value(Value {
                    kind: kind as u16,
                    bytes,
                }),
            };
        }
        *external_bytes = external_bytes.saturating_add(size);
        if *external_bytes > self.bytes.len() as u64 {
            return Field::Skipped;
        }
        let at = read(8, 4).unwrap_or(0) as usize;
        let bytes = self.bytes.get(at..at.saturating_add(size as usize));
        bytes.map_or(Field::End, |bytes| {
            Field::Value(Value {
                kind: kind as u16,
                bytes,
            })
        })
    }

    /// An unsigned number of `count` bytes.
    fn unsigned(self, at: usize, count: usize) -> Option<u64> {
        let bytes = self.bytes.get(at..at.checked_add(count)?)?;
        Some(self.number(bytes))
    }

    fn number(self, bytes: &[u8]) -> u64 {
        let append = |number, byte: &u8| (number << 8) | u64::from(*byte);
        if self.is_little_endian {
            bytes.iter().rev().fold(0, append)
        } else {
            bytes.iter().fold(0, append)
        }
    }
}

/// Bytes of one value of a type of TIFF.
fn unit_bytes(kind: u16) -> Option<u64> {
    match kind {
        1 | 2 | 6 | 7 => Some(1),
        3 | 8 => Some(2),
        4 | 9 | 11 | 13 => Some(4),
        5 | 10 | 12 | 16 => Some(8),
        _ => None,
    }
}

impl Value<'_> {
    /// The first number, if it is one of the eight.
    fn orientation(&self, tiff: Tiff<'_>) -> u8 {
        let unit = unit_bytes(self.kind).map_or(0, |bytes| bytes as usize);
        let Some(first) = self.bytes.get(..unit) else {
            return NONE_OF_THEM;
        };
        let number = tiff.number(first);
        let equal = |value: f64| (1..=8).find(|&known| f64::from(known) == value);
        let found = match self.kind {
            // Bytes and text are no numbers to Pillow.
            1 | 2 | 7 => None,
            5 | 10 => {
                let (over, under) = first.split_at(4);
                let signed = |bytes| f64::from(tiff.number(bytes) as u32 as i32);
                let unsigned = |bytes| f64::from(tiff.number(bytes) as u32);
                if self.kind == 5 {
                    equal(unsigned(over) / unsigned(under))
                } else {
                    equal(signed(over) / signed(under))
                }
            }
            11 => equal(f64::from(f32::from_bits(number as u32))),
            12 => equal(f64::from_bits(number)),
            // A negative number of the signed types is far above eight.
            _ => (1..=8).find(|&known| u64::from(known) == number),
        };
        found.unwrap_or(NONE_OF_THEM)
    }
}
