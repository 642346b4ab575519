//! Reads what a pack says of itself: the header at its end.
//!
//! 1. A pack ends with its sealed header and the header's length in four bytes ("Pack Format" in restic's design document). The header
//!    gives no offsets: a blob begins where the one before it ends, the first at 0.
//! 2. Nothing is believed before it fits: the length fits the file, the seal is the repository's, the entries fill the header, and the
//!    blobs fill the file up to the header. Anything else is damage, said in words.
//! 3. Memory is given only for what was read: at most [`HEADER_BYTES_MAX`].

use super::{BlobKind, ENTRY_BYTES_MAX, ENTRY_BYTES_MIN, LENGTH_BYTES, SEALED_BYTES_MIN};
use crate::backend::{File, FileKind};
use crate::crypto::{Key, OVERHEAD_BYTES};
use crate::error::Error;
use crate::id::{ID_BYTES, Id};
use crate::unpacked::Sealed;

/// Largest sealed header; restic refuses larger ones as well.
const HEADER_BYTES_MAX: u64 = 16 << 20;

/// Bytes that the first request takes from the end of a pack of which nothing is known: 398 compressed blobs.
const TAIL_BYTES: u64 = 16 << 10;

/// One blob as a header or an index names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ListedBlob {
    pub(crate) offset: u32,
    /// Bytes in the pack, sealed.
    pub(crate) bytes: u32,
    /// Bytes before compression, 0 when it is not compressed.
    pub(crate) raw_bytes: u32,
    pub(crate) kind: BlobKind,
    pub(crate) id: Id,
}

/// Bytes of a pack's end for these blobs: the sealed header and its length.
pub(crate) fn end_bytes(blobs: impl Iterator<Item = bool>) -> u64 {
    let entries = blobs.map(|is_compressed| if is_compressed { ENTRY_BYTES_MAX } else { ENTRY_BYTES_MIN } as u64);
    entries.sum::<u64>() + (OVERHEAD_BYTES + LENGTH_BYTES) as u64
}

/// Reads the header of a stored pack with `pack_bytes` bytes. `end_bytes` is how much of the pack's end to read at once; too little
/// costs a second request, and 0 stands for "unknown".
///
/// # Errors
/// [`Error::Damaged`] naming the pack; storage errors.
pub(crate) async fn read(sealed: &Sealed, pack: Id, pack_bytes: u64, end_bytes: u64) -> Result<Vec<ListedBlob>, Error> {
    let file = File::Named(FileKind::Pack, pack);
    let guess = if end_bytes == 0 { TAIL_BYTES } else { end_bytes };
    let mut wanted = guess.min(pack_bytes).min(HEADER_BYTES_MAX);
    loop {
        let bytes = u32::try_from(wanted).expect("at most 16 MiB");
        let tail = sealed.backend.get_range(file, pack_bytes - wanted, bytes).await?;
        let key = sealed.key.clone();
        let opened = tokio::task::spawn_blocking(move || open(&key, &tail, pack_bytes));
        match opened.await.map_err(Error::interrupted("reading a pack's header"))? {
            Ok(blobs) => return Ok(blobs),
            Err(Unread::Longer { end_bytes }) if end_bytes > wanted => wanted = end_bytes,
            Err(unread) => return Err(Error::damaged_file(file, unread)),
        }
    }
}

/// Why a header could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// More of the pack's end is needed.
    #[error("its header ends before its beginning")]
    Longer {
        /// How much.
        end_bytes: u64,
    },
    /// It is none.
    #[error("{0}")]
    Damaged(&'static str),
}

/// Reads the header from the last bytes of a pack that has `pack_bytes` bytes.
pub(crate) fn open(key: &Key, tail: &[u8], pack_bytes: u64) -> Result<Vec<ListedBlob>, Unread> {
    let (rest, length) =
        tail.split_last_chunk::<LENGTH_BYTES>().ok_or(Unread::Damaged("it is too short to be a pack"))?;
    let header_bytes = u64::from(u32::from_le_bytes(*length));
    let end_bytes = header_bytes + LENGTH_BYTES as u64;
    if header_bytes < (OVERHEAD_BYTES + ENTRY_BYTES_MIN) as u64 || header_bytes > HEADER_BYTES_MAX - LENGTH_BYTES as u64
    {
        return Err(Unread::Damaged("the length of its header is impossible"));
    }
    if end_bytes > pack_bytes {
        return Err(Unread::Damaged("its header is longer than the file"));
    }
    let start = (rest.len() as u64).checked_sub(header_bytes).ok_or(Unread::Longer { end_bytes })?;
    let start = usize::try_from(start).expect("within a slice");
    let header =
        key.open(&rest[start..]).map_err(|_| Unread::Damaged("its header is not sealed with the repository's key"))?;
    entries(&header, pack_bytes - end_bytes).map_err(Unread::Damaged)
}

/// The entries of an opened header, for a pack whose blobs take `content_bytes`.
pub(crate) fn entries(mut header: &[u8], content_bytes: u64) -> Result<Vec<ListedBlob>, &'static str> {
    let mut blobs = Vec::with_capacity(header.len() / ENTRY_BYTES_MIN);
    let mut offset = 0_u64;
    while let Some((kind, rest)) = header.split_first() {
        let (blob, rest) = entry(*kind, rest, offset)?;
        offset += u64::from(blob.bytes);
        blobs.push(blob);
        header = rest;
    }
    if offset == content_bytes { Ok(blobs) } else { Err("the blobs in its header do not fill it") }
}

fn entry(kind: u8, rest: &[u8], offset: u64) -> Result<(ListedBlob, &[u8]), &'static str> {
    const CUT: &str = "its header ends within an entry";
    let (kind, is_compressed) = match kind {
        0 => (BlobKind::Data, false),
        1 => (BlobKind::Tree, false),
        2 => (BlobKind::Data, true),
        3 => (BlobKind::Tree, true),
        _ => return Err("its header has an entry of an unknown kind"),
    };
    let offset = u32::try_from(offset).map_err(|_| "it is larger than 4 GiB")?;
    let (bytes, rest) = number(rest).ok_or(CUT)?;
    let (raw_bytes, rest) = if is_compressed { number(rest).ok_or(CUT)? } else { (0, rest) };
    if bytes < SEALED_BYTES_MIN {
        return Err("its header has a blob that is shorter than its seal");
    }
    if is_compressed && raw_bytes == 0 {
        return Err("its header has a compressed blob of nothing");
    }
    let (id, rest) = rest.split_first_chunk::<ID_BYTES>().ok_or(CUT)?;
    Ok((ListedBlob { offset, bytes, raw_bytes, kind, id: Id::from_bytes(*id) }, rest))
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::super::PackBuilder;
    use super::*;
    use crate::crypto::KeyBytes;

    fn key() -> Key {
        Key::new(&KeyBytes::from_bytes(&[7; 64]))
    }

    fn pack(blobs: &[(u8, usize, u32)]) -> Vec<u8> {
        let mut builder = PackBuilder::new(BlobKind::Data, Vec::new());
        for (n, bytes, raw_bytes) in blobs {
            builder.append(Id::of(&[*n]), &vec![*n; *bytes], *raw_bytes).unwrap();
        }
        builder.finish(&key()).unwrap().content
    }

    /// A pack with this header and as many bytes before it.
    fn crafted(header: &[u8], content_bytes: usize) -> Vec<u8> {
        let sealed = key().seal(header).unwrap();
        let length = u32::try_from(sealed.len()).unwrap().to_le_bytes();
        [&vec![0; content_bytes][..], &sealed, &length].concat()
    }

    fn opened(content: &[u8]) -> Result<Vec<ListedBlob>, Unread> {
        open(&key(), content, content.len() as u64)
    }

    #[test]
    fn what_a_builder_wrote_is_read_from_any_sufficient_tail() {
        let content = pack(&[(1, 40, 0), (2, 50, 900), (3, 32, 0)]);
        let blob = |n: u8, offset, bytes, raw_bytes| ListedBlob {
            offset,
            bytes,
            raw_bytes,
            kind: BlobKind::Data,
            id: Id::of(&[n]),
        };
        let expected = [blob(1, 0, 40, 0), blob(2, 40, 50, 900), blob(3, 90, 32, 0)];
        assert_eq!(opened(&content).unwrap(), expected);
        let end = usize::try_from(end_bytes(expected.iter().map(|blob| blob.raw_bytes != 0))).unwrap();
        assert_eq!(content.len(), 122 + end);
        let all = content.len() as u64;
        assert_eq!(open(&key(), &content[122..], all).unwrap(), expected);
        assert_eq!(open(&key(), &content[123..], all), Err(Unread::Longer { end_bytes: end as u64 }));
    }

    #[test]
    fn no_flipped_byte_and_no_cut_of_the_end_goes_unnoticed() {
        let content = pack(&[(1, 40, 0), (2, 50, 900)]);
        for at in 90..content.len() {
            let mut flipped = content.clone();
            flipped[at] ^= 1;
            assert!(opened(&flipped).is_err(), "byte {at}");
        }
        for end in 0..content.len() {
            assert!(opened(&content[..end]).is_err(), "cut to {end} bytes");
        }
        assert!(opened(&[&[0][..], &content].concat()).is_err(), "a byte too many");
    }

    #[test]
    fn sealed_nonsense_is_damage() {
        let entry = |kind: u8, numbers: &[u32]| -> Vec<u8> {
            let numbers = numbers.iter().flat_map(|n| n.to_le_bytes());
            [kind].into_iter().chain(numbers).chain([9; ID_BYTES]).collect()
        };
        assert_eq!(opened(&crafted(&entry(1, &[40]), 40)).unwrap()[0].kind, BlobKind::Tree);
        for (header, content_bytes, why) in [
            (entry(4, &[40]), 40, "unknown kind"),
            (entry(0, &[31]), 31, "shorter than its seal"),
            (entry(0, &[41]), 40, "do not fill it"),
            (entry(2, &[40, 0]), 40, "compressed blob of nothing"),
            (entry(0, &[40])[..36].to_vec(), 40, "impossible"),
            (entry(2, &[40, 60])[..40].to_vec(), 40, "within an entry"),
            (entry(0, &[u32::MAX]).repeat(3), 40, "larger than 4 GiB"),
            (Vec::new(), 0, "impossible"),
        ] {
            let refused = opened(&crafted(&header, content_bytes)).unwrap_err().to_string();
            assert!(refused.contains(why), "{refused:?} does not say {why:?}");
        }
    }
}
