//! The wire format of protocol buffers, as far as reading goes.

/// One field of a message.
#[derive(Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

/// The value of a field, by wire type.
#[derive(Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Iterates over the fields of a message; borrows, allocates nothing, ends after the first error.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<Field<'a>, &'static str> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err("a field has an unknown wire type"),
        };
        Ok(Field {
            number: key >> 3,
            value,
        })
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number has more than ten bytes")
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or("a field runs past the end of the file")?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], &'static str> {
        let (array, rest) = self
            .rest
            .split_first_chunk()
            .ok_or("the file ends in the middle of a field")?;
        self.rest = rest;
        Ok(*array)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, &'static str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Field, Fields, Value};

    fn fields(bytes: &[u8]) -> Result<Vec<Field<'_>>, &'static str> {
        Fields::new(bytes).collect()
    }

    #[test]
    fn each_wire_type_is_read() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 1, 0, 0, 0, 0, 0,
            0, 0,
        ];
        let expected = [
            Field {
                number: 1,
                value: Value::Varint(150),
            },
            Field {
                number: 2,
                value: Value::Bytes(b"hi"),
            },
            Field {
                number: 3,
                value: Value::Fixed32(1.0_f32.to_bits()),
            },
            Field {
                number: 4,
                value: Value::Fixed64(1),
            },
        ];
        assert_eq!(fields(&bytes).expect("a sound message"), expected);
    }

    #[test]
    fn a_length_past_the_end_is_an_error_and_no_allocation() {
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
        assert!(fields(&huge).is_err());
        assert!(fields(&[0x0a, 3, 1, 2]).is_err());
    }

    #[test]
    fn cut_and_overlong_numbers_are_errors() {
        assert!(fields(&[0x08]).is_err());
        assert!(fields(&[0x08, 0x80]).is_err());
        assert!(fields(&[0x80; 11]).is_err());
        assert!(fields(&[0x0d, 0, 0]).is_err());
        assert!(fields(&[0x0b]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_fields_or_one_error(
            bytes in proptest::collection::vec(any::<u8>(), 0..64),
        ) {
            let read: Vec<_> = Fields::new(&bytes).collect();
            let errors = read.iter().filter(|field| field.is_err()).count();
            prop_assert!(errors <= 1);
            prop_assert!(read.len() <= bytes.len());
        }
    }
}
