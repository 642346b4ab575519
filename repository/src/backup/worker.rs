//! The hot path: one file in, a row in the table and perhaps new blobs out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use jiff::Timestamp;

use super::Shared;
use super::files::NAME_BYTES_MAX;
use crate::encode::BlobEncoder;
use crate::error::Error;
use crate::id::Id;
use crate::mutex::locked;
use crate::pack::BlobKind;

/// What is known of a file besides its content.
#[derive(Clone, Copy, Debug)]
pub struct NewFile<'a> {
    /// The group it belongs to, see [`Backup::discard`](super::Backup::discard).
    pub group: u32,
    /// Its path below the root: names of 1 to 255 bytes, separated by `/`; no name is `.` or `..`.
    pub path: &'a str,
    /// When its content changed last, by the object itself and not by the clock. The years 0 to 9999 are stored as they are.
    pub modified: Timestamp,
}

/// What became of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// Something of its content was not in the repository.
    New {
        /// Bytes that are stored for it.
        stored_bytes: u64,
    },
    /// All of its content was known (or is being stored by another worker right now).
    Known,
}

/// Adds files to a backup; one for each thread. CPU-bound and blocking: not for async tasks.
pub struct Worker {
    shared: Arc<Shared>,
    encoder: BlobEncoder,
    /// Blobs of the file at hand.
    blobs: Vec<u32>,
    /// The last folder and its number: files of a folder mostly come together.
    folder: Option<(String, u32)>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, Error> {
        let encoder = BlobEncoder::new(shared.packer.key().clone(), shared.options)?;
        Ok(Self { shared, encoder, blobs: Vec::new(), folder: None })
    }

    /// Adds a file. Blocks while the storage is slower than the workers. Paths are compared with each other when the backup is
    /// finished, after discarded groups are gone.
    ///
    /// # Errors
    /// [`Error::InvalidPath`], after which the backup can go on. Everything else ends the backup: [`Error::VerifyFailed`],
    /// [`Error::TooLarge`], [`Error::System`]; [`Error::Ended`] when it had ended before, for a reason that
    /// [`Backup::finish`](super::Backup::finish) reports.
    pub fn add(&mut self, file: NewFile<'_>, content: &[u8]) -> Result<Added, Error> {
        let (folder, name) = split(file.path)?;
        self.shared.packer.check()?;
        let added = self.store(content).and_then(|stored_bytes| {
            let folder = self.folder(folder)?;
            let bytes = content.len() as u64;
            locked(&self.shared.files).add(file.group, folder, name, file.modified, bytes, &self.blobs)?;
            self.shared.counters.files.fetch_add(1, Ordering::Relaxed);
            self.shared.counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            Ok(stored_bytes)
        });
        match added {
            Ok(Some(stored_bytes)) => Ok(Added::New { stored_bytes }),
            Ok(None) => Ok(Added::Known),
            Err(Error::Ended) => Err(Error::Ended),
            Err(cause) => {
                // A blob may be claimed and not stored: no snapshot must name it.
                self.shared.packer.fail(Error::Ended);
                Err(cause)
            }
        }
    }

    /// Stores what is not known yet; the bytes it takes, or `None` when nothing was new. The blobs are in `self.blobs`.
    fn store(&mut self, content: &[u8]) -> Result<Option<u64>, Error> {
        self.blobs.clear();
        let shared = Arc::clone(&self.shared);
        let mut stored = None;
        for chunk in shared.chunker.chunks(content) {
            let id = Id::of(chunk);
            let (position, is_new) = shared.claim(BlobKind::Data, id)?;
            self.blobs.push(position);
            if is_new {
                let bytes = store_blob(&shared, &mut self.encoder, BlobKind::Data, id, chunk)?;
                stored = Some(stored.unwrap_or(0) + bytes);
            }
        }
        Ok(stored)
    }

    fn folder(&mut self, path: &str) -> Result<u32, Error> {
        if let Some((last, number)) = &self.folder
            && last == path
        {
            return Ok(*number);
        }
        let number = locked(&self.shared.files).folder(path)?;
        self.folder = Some((path.to_owned(), number));
        Ok(number)
    }
}

/// Encodes a claimed blob and puts it into a pack; the bytes it takes there.
pub(super) fn store_blob(
    shared: &Shared,
    encoder: &mut BlobEncoder,
    kind: BlobKind,
    id: Id,
    text: &[u8],
) -> Result<u64, Error> {
    let encoded = encoder.encode(kind, id, text)?;
    let bytes = encoded.sealed.len() as u64;
    shared.packer.add(kind, id, encoded)?;
    let counters = &shared.counters;
    let blobs = match kind {
        BlobKind::Data => &counters.data_blobs,
        BlobKind::Tree => &counters.tree_blobs,
    };
    blobs.fetch_add(1, Ordering::Relaxed);
    counters.raw_bytes.fetch_add(text.len() as u64, Ordering::Relaxed);
    counters.stored_bytes.fetch_add(bytes, Ordering::Relaxed);
    encoder.shrink();
    Ok(bytes)
}

/// Splits a path into its folder (empty for the root) and its name, after checking each name.
fn split(path: &str) -> Result<(&str, &str), Error> {
    let invalid = |why| Err(Error::InvalidPath { path: path.to_owned(), why });
    for name in path.split('/') {
        match name {
            "" => return invalid("a name is empty"),
            "." | ".." => return invalid("a name is . or .."),
            _ if name.len() > NAME_BYTES_MAX => return invalid("a name has more than 255 bytes"),
            _ if name.contains('\0') => return invalid("a name has a zero byte"),
            _ => {}
        }
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_and_checked() {
        assert_eq!(split("a").unwrap(), ("", "a"));
        assert_eq!(split("a/b c/d:e").unwrap(), ("a/b c", "d:e"));
        let long = "x".repeat(256);
        for bad in ["", "/a", "a/", "a//b", ".", "a/../b", "a/.", "a\0", &long] {
            assert!(matches!(split(bad), Err(Error::InvalidPath { .. })), "{bad}");
        }
    }
}
