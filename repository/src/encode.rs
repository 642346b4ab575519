//! From a blob's text to what lies in a pack, and back again to be sure. One encoder for each thread.

use crate::codec::{self, Decoder, Encoder};
use crate::crypto::{Key, NONCE_BYTES, Nonces, TAG_BYTES};
use crate::error::Error;
use crate::id::Id;
use crate::pack::BlobKind;

/// How blobs are encoded.
#[derive(Clone, Copy)]
pub(crate) struct EncodeOptions {
    /// With zstd, where the format allows it.
    pub(crate) compress: bool,
    /// Decode each blob again and compare.
    pub(crate) verify: bool,
    /// zstd level.
    pub(crate) level: i32,
}

/// Buffers and contexts that serve blob after blob.
pub(crate) struct BlobEncoder {
    options: EncodeOptions,
    key: Key,
    nonces: Nonces,
    zstd: Encoder,
    unzstd: Decoder,
    sealed: Vec<u8>,
    opened: Vec<u8>,
    decompressed: Vec<u8>,
}

/// A blob as it will lie in a pack.
pub(crate) struct Encoded<'a> {
    pub(crate) sealed: &'a [u8],
    /// Bytes before compression, 0 when it is not compressed.
    pub(crate) raw_bytes: u32,
}

impl BlobEncoder {
    pub(crate) fn new(key: Key, options: EncodeOptions) -> Result<Self, Error> {
        Ok(Self {
            options,
            key,
            nonces: Nonces::new(),
            zstd: Encoder::new(options.level)?,
            unzstd: Decoder::new()?,
            sealed: Vec::new(),
            opened: Vec::new(),
            decompressed: Vec::new(),
        })
    }

    /// Encodes a blob, and decodes it again if so asked.
    ///
    /// Trees are compressed in format 2 even where that makes them larger, as restic does; data only where it helps.
    pub(crate) fn encode(&mut self, kind: BlobKind, id: Id, text: &[u8]) -> Result<Encoded<'_>, Error> {
        let too_large = |_| Error::TooLarge { what: "a blob in bytes", limit: u32::MAX.into() };
        let mut raw_bytes = 0;
        let mut end = NONCE_BYTES;
        if self.options.compress {
            let bytes = self.zstd.compress_at(text, &mut self.sealed, NONCE_BYTES)?;
            if bytes < text.len() || kind == BlobKind::Tree {
                raw_bytes = u32::try_from(text.len()).map_err(too_large)?;
                end += bytes;
            }
        }
        if raw_bytes == 0 {
            end += text.len();
            self.reserve(end);
            self.sealed[NONCE_BYTES..end].copy_from_slice(text);
        }
        end += TAG_BYTES;
        self.reserve(end);
        self.key.seal_in_place(&self.nonces.next()?, &mut self.sealed[..end]);
        if self.options.verify && !self.decodes_to(end, raw_bytes, text) {
            return Err(Error::VerifyFailed { id });
        }
        Ok(Encoded { sealed: &self.sealed[..end], raw_bytes })
    }

    /// Gives memory back that a large blob took.
    pub(crate) fn shrink(&mut self) {
        codec::shrink(&mut self.sealed);
        codec::shrink(&mut self.opened);
        codec::shrink(&mut self.decompressed);
    }

    fn decodes_to(&mut self, end: usize, raw_bytes: u32, text: &[u8]) -> bool {
        if self.key.open_into(&self.sealed[..end], &mut self.opened).is_err() {
            return false;
        }
        if raw_bytes == 0 {
            return self.opened == text;
        }
        let decompressed = self.unzstd.decompress_exact(&self.opened, &mut self.decompressed, raw_bytes as usize);
        decompressed.is_some() && self.decompressed == text
    }

    fn reserve(&mut self, bytes: usize) {
        if self.sealed.len() < bytes {
            self.sealed.resize(bytes, 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyBytes;

    #[test]
    fn what_does_not_shrink_is_stored_plain_and_trees_are_always_compressed() {
        let key = Key::new(&KeyBytes::random().unwrap());
        let options = EncodeOptions { compress: true, verify: true, level: 3 };
        let mut encoder = BlobEncoder::new(key, options).unwrap();
        let id = Id::of(b"");
        assert_eq!(encoder.encode(BlobKind::Data, id, b"abc").unwrap().raw_bytes, 0);
        assert_eq!(encoder.encode(BlobKind::Tree, id, b"abc").unwrap().raw_bytes, 3);
        let text = [b'x'; 1000];
        let encoded = encoder.encode(BlobKind::Data, id, &text).unwrap();
        assert!(encoded.raw_bytes == 1000 && encoded.sealed.len() < 100);
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let key = Key::new(&KeyBytes::random().unwrap());
        let options = EncodeOptions { compress: true, verify: true, level: 3 };
        let mut encoder = BlobEncoder::new(key, options).unwrap();
        let text = [b'x'; 1000];
        let end = encoder.encode(BlobKind::Data, Id::of(b""), &text).unwrap().sealed.len();
        assert!(encoder.decodes_to(end, 1000, &text));
        encoder.sealed[20] ^= 4;
        assert!(!encoder.decodes_to(end, 1000, &text));
        encoder.sealed[20] ^= 4;
        assert!(!encoder.decodes_to(end, 1000, &[b'y'; 1000]));
    }
}
