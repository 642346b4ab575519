//! Names of blobs and files: the SHA-256 of the content, written as 64 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

/// Bytes of an [`Id`].
pub(crate) const ID_BYTES: usize = 32;

/// The SHA-256 of a blob or of a file in the repository.
///
/// `Display` prints all 64 digits; [`Id::short`] the first eight, as restic does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; ID_BYTES]);

/// The text is not 64 lower- or upper-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("an id has 64 hexadecimal digits")]
pub struct IdError;

impl Id {
    /// The id of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// An id from its raw bytes.
    pub fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The raw bytes.
    pub fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    /// The first eight digits, which is how restic shows snapshots.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }

    /// The 64 digits as ASCII bytes, for writers that cannot afford a formatter per id.
    pub(crate) fn hex(&self) -> [u8; 2 * ID_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 2 * ID_BYTES];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }

    /// Reads exactly 64 hexadecimal digits.
    pub(crate) fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; ID_BYTES];
        if hex.len() != 2 * ID_BYTES {
            return None;
        }
        let mut bad = 0;
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            let (high, low) = (HEX_VALUES[usize::from(pair[0])], HEX_VALUES[usize::from(pair[1])]);
            bad |= high | low;
            *byte = (high << 4) | (low & 15);
        }
        (bad & NOT_HEX == 0).then_some(Self(bytes))
    }
}

/// Marks a byte that is no hexadecimal digit in [`HEX_VALUES`].
const NOT_HEX: u8 = 0x80;

/// The value of each ASCII digit: ids are read by the hundred thousand from index files, a table is the fastest way.
const HEX_VALUES: [u8; 256] = {
    let mut values = [NOT_HEX; 256];
    let mut digit = 0;
    while digit < 10 {
        values[b'0' as usize + digit as usize] = digit;
        digit += 1;
    }
    while digit < 16 {
        values[b'a' as usize + digit as usize - 10] = digit;
        values[b'A' as usize + digit as usize - 10] = digit;
        digit += 1;
    }
    values
};

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(std::str::from_utf8(&self.hex()).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Id {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_hex(text.as_bytes()).ok_or(IdError)
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.hex()).expect("hexadecimal digits are ASCII"))
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an id of 64 hexadecimal digits")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_hexadecimal_form() {
        let id = Id::of(b"abc");
        assert_eq!(id.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<Id>().unwrap(), id);
    }

    #[test]
    fn what_is_not_64_digits_is_refused() {
        let good = Id::of(b"abc").to_string();
        for bad in ["", "00", &good[1..], &good.replace('b', "g"), &good.replace('7', "/")] {
            assert!(bad.parse::<Id>().is_err(), "{bad}");
        }
    }
}
