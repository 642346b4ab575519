//! Packs: sealed blobs one after another, then a sealed header that lists them, then the header's length in four bytes.
//!
//! A header entry is the type, the stored length, in the compressed types the length before compression, and the blob's id; see
//! "Pack Format" in restic's design document. Data and tree blobs lie in separate packs. [`header`] reads a pack's header back.

pub(crate) mod header;

use crate::crypto::{Key, OVERHEAD_BYTES};
use crate::error::Error;
use crate::id::{ID_BYTES, Id};

/// A pack holds blobs of this size, or one that is larger; restic's default is about the same.
pub(crate) const PACK_BYTES_MAX: usize = 16 << 20;

/// And at most so many, so that its header (41 bytes each) stays far below restic's limit of 16 MiB.
const PACK_BLOBS_MAX: usize = 50_000;

/// Memory of a pack, header included, so that it never moves while it grows. Only what is used becomes resident.
const PACK_CAPACITY_BYTES: usize = PACK_BYTES_MAX + PACK_BLOBS_MAX * ENTRY_BYTES_MAX + OVERHEAD_BYTES + LENGTH_BYTES;

/// Bytes of a header entry of a compressed blob; the one of a plain blob lacks the length before compression.
const ENTRY_BYTES_MAX: usize = 1 + 4 + 4 + ID_BYTES;

/// Bytes of a header entry of a plain blob.
const ENTRY_BYTES_MIN: usize = 1 + 4 + ID_BYTES;

/// Bytes of the header's length, the last ones of a pack.
const LENGTH_BYTES: usize = 4;

/// What a blob holds. Ids are unique within a kind only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum BlobKind {
    Data,
    Tree,
}

impl BlobKind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Tree => "tree",
        }
    }
}

/// One blob of a pack.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PackedBlob {
    pub(crate) id: Id,
    /// Bytes in the pack, sealed.
    pub(crate) bytes: u32,
    /// Bytes before compression, 0 when it is not compressed.
    pub(crate) raw_bytes: u32,
}

/// A pack that is being filled.
pub(crate) struct PackBuilder {
    kind: BlobKind,
    content: Vec<u8>,
    blobs: Vec<PackedBlob>,
}

/// A complete pack.
pub(crate) struct Pack {
    pub(crate) id: Id,
    pub(crate) kind: BlobKind,
    pub(crate) content: Vec<u8>,
    pub(crate) blobs: Vec<PackedBlob>,
}

impl PackBuilder {
    /// An empty pack in memory from [`buffer`], or that of a pack that was written.
    pub(crate) fn new(kind: BlobKind, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { kind, content: buffer, blobs: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Whether another blob of this size belongs into this pack.
    pub(crate) fn has_room_for(&self, sealed: &[u8]) -> bool {
        self.is_empty() || (self.content.len() + sealed.len() <= PACK_BYTES_MAX && self.blobs.len() < PACK_BLOBS_MAX)
    }

    /// Appends a sealed blob. `raw_bytes` is 0 for one that is not compressed.
    pub(crate) fn append(&mut self, id: Id, sealed: &[u8], raw_bytes: u32) -> Result<(), Error> {
        let too_large = |_| Error::TooLarge { what: "a blob in bytes", limit: u32::MAX.into() };
        let bytes = u32::try_from(sealed.len()).map_err(too_large)?;
        self.content.extend_from_slice(sealed);
        self.blobs.push(PackedBlob { id, bytes, raw_bytes });
        Ok(())
    }

    /// Adds the header. CPU-bound: the pack's name is the hash of all of it.
    pub(crate) fn finish(mut self, key: &Key) -> Result<Pack, Error> {
        let mut header = Vec::with_capacity(self.blobs.len() * ENTRY_BYTES_MAX);
        for blob in &self.blobs {
            header.push(match (self.kind, blob.raw_bytes) {
                (BlobKind::Data, 0) => 0,
                (BlobKind::Tree, 0) => 1,
                (BlobKind::Data, _) => 2,
                (BlobKind::Tree, _) => 3,
            });
            header.extend_from_slice(&blob.bytes.to_le_bytes());
            if blob.raw_bytes != 0 {
                header.extend_from_slice(&blob.raw_bytes.to_le_bytes());
            }
            header.extend_from_slice(blob.id.as_bytes());
        }
        let header = key.seal(&header)?;
        let header_bytes = u32::try_from(header.len()).expect("a header of 50,000 entries has 2 MB");
        self.content.extend_from_slice(&header);
        self.content.extend_from_slice(&header_bytes.to_le_bytes());
        Ok(Pack { id: Id::of(&self.content), kind: self.kind, content: self.content, blobs: self.blobs })
    }
}

/// Bytes of a pack's header without its entries.
pub(crate) const HEADER_BYTES: u64 = OVERHEAD_BYTES as u64 + 4;

/// Bytes that a blob takes in a pack, its header entry included. `raw_bytes` is 0 for one that is not compressed.
pub(crate) fn packed_bytes(bytes: u32, raw_bytes: u32) -> u64 {
    let entry = if raw_bytes == 0 { ENTRY_BYTES_MAX - 4 } else { ENTRY_BYTES_MAX };
    u64::from(bytes) + entry as u64
}

/// Memory for one pack.
pub(crate) fn buffer() -> Vec<u8> {
    Vec::with_capacity(PACK_CAPACITY_BYTES)
}

/// Whether memory has the size of [`buffer`]'s: some of a pack with an outsized blob has not, and is better given back.
pub(crate) fn is_buffer_size(capacity: usize) -> bool {
    capacity == PACK_CAPACITY_BYTES
}

/// Bytes of the smallest sealed blob.
pub(crate) const SEALED_BYTES_MIN: u32 = 32;
const _: () = assert!(SEALED_BYTES_MIN as usize == OVERHEAD_BYTES);
