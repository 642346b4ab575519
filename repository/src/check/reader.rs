//! Looks at the bytes of one pack. CPU-bound; the bytes are brought by the caller, stretch after stretch.
//!
//! Stretches end where a blob ends, so that each blob lies in one of them: memory is bounded whatever the size of the pack, and a pack
//! of the usual size takes one request.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::backend::Listed;
use crate::error::Error;
use crate::id::Id;
use crate::pack::header::{self, ListedBlob, Unread};
use crate::read::BlobDecoder;
use crate::unpacked::Sealed;

/// Bytes of a stretch, unless a single blob is larger. Our packs and restic's have 16 MiB and a header.
const STRETCH_BYTES_MAX: u64 = 24 << 20;

/// Reasons kept for one pack: what is beyond is counted by the report, and there is no use in 50,000 texts on the way to it.
const REASONS_MAX: usize = 50;

/// Where to cut a pack of this size; `blobs` follow each other from its beginning, or there are none.
pub(super) fn stretches(blobs: &[ListedBlob], pack_bytes: u64) -> Vec<(u64, u64)> {
    let mut ends = blobs.iter().map(|blob| blob.place().end()).filter(|end| *end <= pack_bytes).peekable();
    let (mut stretches, mut start) = (Vec::new(), 0);
    while start < pack_bytes {
        let limit = start.saturating_add(STRETCH_BYTES_MAX);
        let mut end = ends.next_if(|end| *end > limit).unwrap_or(start);
        while let Some(next) = ends.next_if(|end| *end <= limit) {
            end = next;
        }
        if end == start || ends.peek().is_none() {
            // No blob ends here: the header, or something that the index does not know.
            end = end.max(limit.min(pack_bytes));
        }
        stretches.push((start, end));
        start = end;
    }
    stretches
}

/// What was found in a pack.
pub(super) struct Found {
    pub(super) pack: Id,
    pub(super) reasons: Vec<String>,
    /// The blobs that cannot be read.
    pub(super) lost: Vec<ListedBlob>,
    /// Bytes that were read.
    pub(super) bytes: u64,
}

/// A pack that is being looked at.
pub(super) struct Reader {
    pack: Listed,
    blobs: std::iter::Peekable<std::vec::IntoIter<ListedBlob>>,
    hash: Sha256,
    decoder: BlobDecoder,
    sealed: Sealed,
    text: Vec<u8>,
    header: Option<Result<Vec<ListedBlob>, String>>,
    found: Found,
}

impl Reader {
    /// For a pack with these blobs, in the order of their offsets.
    pub(super) fn new(sealed: &Sealed, pack: Listed, blobs: Vec<ListedBlob>) -> Result<Self, Error> {
        Ok(Self {
            pack,
            blobs: blobs.into_iter().peekable(),
            hash: Sha256::new(),
            decoder: BlobDecoder::new(sealed.key.clone())?,
            sealed: sealed.clone(),
            text: Vec::new(),
            header: None,
            found: Found { pack: pack.id, reasons: Vec::new(), lost: Vec::new(), bytes: 0 },
        })
    }

    /// Takes the next stretch, with the blobs that lie in it. If it is the whole pack, also the header.
    pub(super) fn take(mut self, start: u64, content: &Bytes) -> Self {
        self.hash.update(content);
        self.found.bytes += content.len() as u64;
        let end = start + content.len() as u64;
        while let Some(blob) = self.blobs.next_if(|blob| blob.place().end() <= end) {
            let at = usize::try_from(u64::from(blob.offset) - start).expect("within the stretch");
            self = self.decode(blob, &content.slice(at..at + blob.bytes as usize));
        }
        if content.len() as u64 == self.pack.bytes {
            let header = header::open(&self.sealed.key, content, self.pack.bytes);
            self.header = Some(header.map_err(|unread: Unread| unread.to_string()));
        }
        self
    }

    /// Decodes one blob.
    pub(super) fn decode(mut self, blob: ListedBlob, content: &Bytes) -> Self {
        let decoded = self.decoder.decode(blob.kind, blob.id, self.pack.id, blob.place(), content, &mut self.text);
        match decoded {
            Ok(()) => {}
            Err(Error::Damaged { what, .. }) => self.lose(blob, what),
            Err(other) => self.lose(blob, other.to_string()),
        }
        self
    }

    /// Notes a blob that cannot be read.
    pub(super) fn lose(&mut self, blob: ListedBlob, why: String) {
        self.found.lost.push(blob);
        if self.found.reasons.len() < REASONS_MAX {
            self.found.reasons.push(why);
        }
    }

    /// The header, if the pack came in one stretch.
    pub(super) fn header(&mut self) -> Option<Result<Vec<ListedBlob>, String>> {
        self.header.take()
    }

    /// The pack cannot be read on: all of it counts as lost.
    pub(super) fn give_up(mut self, why: String, blobs: Vec<ListedBlob>) -> Found {
        self.found.reasons.insert(0, why);
        self.found.lost = blobs;
        self.found
    }

    /// What was found, after the last stretch.
    pub(super) fn finish(mut self, header: Result<(), String>) -> Found {
        let rest: Vec<ListedBlob> = self.blobs.by_ref().collect();
        self.found.lost.extend(rest);
        if let Err(why) = header {
            self.found.reasons.insert(0, why);
        }
        if Id::from_bytes(self.hash.finalize().into()) != self.pack.id {
            self.found.reasons.insert(0, "its content does not have the hash that is its name".to_owned());
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::BlobKind;

    fn blobs(sizes: &[u32]) -> Vec<ListedBlob> {
        let mut offset = 0;
        let blob = |bytes: &u32| {
            offset += bytes;
            let id = Id::of(&offset.to_le_bytes());
            ListedBlob { offset: offset - bytes, bytes: *bytes, raw_bytes: 0, kind: BlobKind::Data, id }
        };
        sizes.iter().map(blob).collect()
    }

    #[test]
    fn a_usual_pack_is_one_stretch_and_a_large_one_is_cut_between_blobs() {
        const MIB: u32 = 1 << 20;
        let mib = |n: u32| u64::from(n * MIB);
        assert_eq!(stretches(&blobs(&[MIB; 16]), mib(16) + 700), [(0, mib(16) + 700)]);
        assert_eq!(
            stretches(&blobs(&[10 * MIB; 5]), mib(50) + 700),
            [(0, mib(20)), (mib(20), mib(40)), (mib(40), mib(50) + 700)]
        );
        assert_eq!(
            stretches(&blobs(&[MIB, 100 * MIB, MIB]), mib(102) + 9),
            [(0, mib(1)), (mib(1), mib(101)), (mib(101), mib(102) + 9)]
        );
        assert_eq!(stretches(&[], mib(50)), [(0, mib(24)), (mib(24), mib(48)), (mib(48), mib(50))]);
        assert!(stretches(&blobs(&[40]), 0).is_empty());
    }

    #[test]
    fn stretches_cover_a_pack_that_is_shorter_or_longer_than_its_index() {
        for pack_bytes in [1_u64, 90, 100, 1 << 20, 60 << 20] {
            let stretches = stretches(&blobs(&[50, 40, 1 << 20]), pack_bytes);
            let covered = stretches.iter().fold(0, |at, (start, end)| {
                assert!(*start == at && end > start);
                *end
            });
            assert_eq!(covered, pack_bytes);
        }
    }
}
