//! What a restore will do: which folders, files and links, and which parts of which packs it needs for them.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::RestoreSummary;
use super::write::Parts;
use crate::backend::{File, FileKind};
use crate::error::Error;
use crate::fetch::{GAP_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::id::Id;
use crate::index::{Index, Place};
use crate::pack::BlobKind;
use crate::read::not_indexed;
use crate::tree::{Node, NodeKind};

/// A folder to be made.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) modified: Timestamp,
}

/// A file to be written.
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) mode: u32,
    pub(super) modified: Timestamp,
    pub(super) bytes: u64,
    pub(super) content: Vec<Id>,
}

/// A link to be made.
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) target: Vec<u8>,
}

/// All that is to be done. Paths are relative to the destination.
pub(super) struct Plan {
    pub(super) destination: PathBuf,
    pub(super) folders: Vec<Folder>,
    pub(super) files: Vec<Target>,
    pub(super) links: Vec<Link>,
    pub(super) parts: Parts,
    left_out: u64,
}

/// One blob that goes into one file.
pub(super) struct Want {
    pub(super) id: Id,
    pub(super) place: Place,
    pub(super) file: usize,
    /// Where in the file.
    pub(super) at: u64,
}

/// A stretch of a pack, and what to do with it.
pub(super) struct Request {
    pub(super) pack: Id,
    /// In ascending order of their offsets, at least one.
    pub(super) wants: Vec<Want>,
}

impl Request {
    pub(super) fn file(&self) -> File {
        File::Named(FileKind::Pack, self.pack)
    }

    pub(super) fn offset(&self) -> u64 {
        self.wants.first().map_or(0, |first| first.place.offset.into())
    }

    pub(super) fn bytes(&self) -> u32 {
        let end = self.wants.iter().map(|want| want.place.end()).max().unwrap_or(0);
        u32::try_from(end - self.offset()).expect("a request is one blob, of at most 4 GiB, or at most 4 MiB")
    }
}

impl Plan {
    pub(super) fn new(destination: PathBuf) -> Self {
        Self {
            destination,
            folders: Vec::new(),
            files: Vec::new(),
            links: Vec::new(),
            parts: Parts::default(),
            left_out: 0,
        }
    }

    /// Plans one entry; `path` is below the destination and made of names that were checked.
    pub(super) fn add(&mut self, path: &[u8], node: Node) -> Result<(), Error> {
        let path = relative(path)?;
        let Node { mode, modified, .. } = node;
        match node.kind {
            NodeKind::Dir => self.folders.push(Folder { path, mode, modified }),
            NodeKind::File => self.files.push(Target { path, mode, modified, bytes: node.size, content: node.content }),
            NodeKind::Symlink { target } => self.links.push(Link { path, target }),
            NodeKind::Other => self.left_out += 1,
        }
        Ok(())
    }

    pub(super) fn summary(&self) -> RestoreSummary {
        RestoreSummary {
            files: self.files.len() as u64,
            dirs: self.folders.len() as u64,
            symlinks: self.links.len() as u64,
            bytes: 0,
            left_out: self.left_out,
        }
    }

    /// What to read, neighbouring blobs together. Takes the lists of blobs out of the files.
    pub(super) fn requests(&mut self, index: &Index) -> Result<Vec<Request>, Error> {
        let mut wants = Vec::new();
        for (file, target) in self.files.iter_mut().enumerate() {
            let mut at = 0;
            for id in std::mem::take(&mut target.content) {
                let (_, place) = index.place(BlobKind::Data, &id).ok_or_else(|| not_indexed(BlobKind::Data, id))?;
                wants.push(Want { id, place, file, at });
                at += place.text_bytes();
            }
            if at != target.bytes {
                let what = format!("its blobs have {at} bytes, its node says {}", target.bytes);
                return Err(Error::damaged(target.path.display(), what));
            }
        }
        wants.sort_unstable_by_key(|want| (want.place.pack, want.place.offset, want.file, want.at));
        Ok(group(wants, index))
    }
}

fn group(wants: Vec<Want>, index: &Index) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    let mut last_pack = None;
    for want in wants {
        let fits = |request: &Request| {
            let end = request.offset() + u64::from(request.bytes());
            let start = u64::from(want.place.offset);
            start <= end.saturating_add(GAP_BYTES_MAX) && want.place.end() - request.offset() <= REQUEST_BYTES_MAX
        };
        match requests.last_mut() {
            Some(request) if last_pack == Some(want.place.pack) && fits(request) => request.wants.push(want),
            _ => {
                last_pack = Some(want.place.pack);
                requests.push(Request { pack: index.pack(want.place.pack), wants: vec![want] });
            }
        }
    }
    requests
}

#[cfg(unix)]
fn relative(path: &[u8]) -> Result<PathBuf, Error> {
    use std::os::unix::ffi::OsStrExt;
    let start = path.iter().take_while(|byte| **byte == b'/').count();
    Ok(Path::new(std::ffi::OsStr::from_bytes(&path[start..])).to_owned())
}

#[cfg(not(unix))]
fn relative(path: &[u8]) -> Result<PathBuf, Error> {
    let text = std::str::from_utf8(path).map_err(|e| Error::damaged(String::from_utf8_lossy(path), e))?;
    let path = Path::new(text.trim_start_matches('/'));
    // Names that mean something to this system (drives, backslashes) would lead elsewhere.
    let is_plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    is_plain.then(|| path.to_owned()).ok_or_else(|| Error::damaged(text, "it is no path on this system"))
}
