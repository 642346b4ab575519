//! Protobuf on the wire: <https://protobuf.dev/programming-guides/encoding/>. Only what metrics need, without copying.

/// What is wrong with the bytes.
pub(crate) type Problem = &'static str;

/// Reads the fields of one message.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

/// The value of one field.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8], Problem> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        let (taken, rest) = self.rest.split_at(count.ok_or("the message ends before its field")?);
        self.rest = rest;
        Ok(taken)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, Problem> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err("a number of more than 64 bits");
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("a number of more than 64 bits")
    }

    /// A message behind its length.
    pub(crate) fn delimited(&mut self) -> Result<&'a [u8], Problem> {
        let length = self.varint()?;
        self.take(length)
    }

    /// The next field's number and value; nothing at the end.
    pub(crate) fn field(&mut self) -> Result<Option<(u32, Wire<'a>)>, Problem> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0).ok_or("a wrong field number")?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(*self.take(8)?.first_chunk().ok_or("a short field")?)),
            2 => Wire::Bytes(self.delimited()?),
            5 => self.take(4).map(|_| Wire::Fixed32)?,
            _ => return Err("a wrong wire type"),
        };
        Ok(Some((number, value)))
    }
}

impl<'a> Wire<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8], Problem> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err("a field of the wrong type") }
    }

    pub(crate) fn text(self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "invalid UTF-8")
    }

    pub(crate) fn double(self) -> Result<f64, Problem> {
        if let Self::Fixed64(bits) = self { Ok(f64::from_bits(bits)) } else { Err("a field of the wrong type") }
    }

    pub(crate) fn varint(self) -> Result<u64, Problem> {
        if let Self::Varint(value) = self { Ok(value) } else { Err("a field of the wrong type") }
    }

    /// The numbers of a repeated field, packed or single; `push` may refuse one.
    pub(crate) fn varints(self, mut push: impl FnMut(u64) -> Result<(), Problem>) -> Result<(), Problem> {
        match self {
            Self::Varint(value) => push(value),
            Self::Bytes(bytes) => {
                let mut reader = Reader::new(bytes);
                while reader.left() > 0 {
                    push(reader.varint()?)?;
                }
                Ok(())
            }
            _ => Err("a field of the wrong type"),
        }
    }

    /// As [`Wire::varints`], for doubles.
    pub(crate) fn doubles(self, mut push: impl FnMut(f64) -> Result<(), Problem>) -> Result<(), Problem> {
        match self {
            Self::Fixed64(bits) => push(f64::from_bits(bits)),
            Self::Bytes(bytes) => {
                let (chunks, left) = bytes.as_chunks::<8>();
                if !left.is_empty() {
                    return Err("the message ends before its field");
                }
                chunks.iter().try_for_each(|chunk| push(f64::from_le_bytes(*chunk)))
            }
            _ => Err("a field of the wrong type"),
        }
    }
}

/// A signed number in zigzag form.
pub(crate) fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

fn unzigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, value: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, value);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, field: u32, value: i64) {
    put_number(out, field, unzigzag(value));
}

pub(crate) fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_varint(out, u64::from(field) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes a message of unknown length: behind it, then moved by the few bytes of its length.
pub(crate) fn put_message(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    put_varint(out, u64::from(field) << 3 | 2);
    let start = out.len();
    write(out);
    let length = out.len() - start;
    put_varint(out, length as u64);
    let length_bytes = out.len() - start - length;
    out[start..].rotate_right(length_bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(zigzag(unzigzag(value)), value);
            let mut out = Vec::new();
            put_varint(&mut out, value.cast_unsigned());
            assert_eq!(Reader::new(&out).varint(), Ok(value.cast_unsigned()));
        }
    }

    #[test]
    fn broken_bytes_are_errors() {
        for bytes in [&[0x80][..], &[0xff; 11], &[0x0a, 5, 1], &[0x07], &[0x00, 1], &[0x09, 1, 2]] {
            let mut reader = Reader::new(bytes);
            let result = std::iter::from_fn(|| reader.field().transpose()).collect::<Result<Vec<_>, _>>();
            assert!(result.is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn a_message_stands_behind_its_length() {
        let mut out = vec![7];
        put_message(&mut out, 2, |out| put_bytes(out, 1, &[1; 200]));
        assert_eq!(out[..3], [7, 2 << 3 | 2, 203 & 0x7f | 0x80]);
        let mut reader = Reader::new(&out[1..]);
        assert!(matches!(reader.field(), Ok(Some((2, Wire::Bytes(bytes)))) if bytes.len() == 203));
    }
}
