//! What a restore will do: which folders, files and links, and which parts of which packs it needs for them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::RestoreSummary;
use super::write::Parts;
use crate::backend::{File, FileKind};
use crate::error::Error;
use crate::fetch::{GAP_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::id::Id;
use crate::index::{Index, Place};
use crate::pack::BlobKind;
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
    /// Where blobs that lie in several packs lie besides the first.
    elsewhere: HashMap<Id, Vec<(Id, Place)>>,
    damaged: Mutex<DamagedFiles>,
}

/// Positions of files that cannot be restored; the file of the repository that is damaged, and what is wrong with it.
type DamagedFiles = BTreeMap<usize, (String, String)>;

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

    /// Whether it is for more than one blob.
    pub(super) fn can_be_split(&self) -> bool {
        self.wants.iter().any(|want| want.place.offset != self.wants[0].place.offset)
    }

    /// A request for each blob.
    pub(super) fn split(self) -> Vec<Self> {
        let mut wants = self.wants;
        let mut requests = Vec::new();
        while let Some(last) = wants.last() {
            let start = wants.partition_point(|want| want.place.offset < last.place.offset);
            requests.push(Self { pack: self.pack, wants: wants.split_off(start) });
        }
        requests
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
            elsewhere: HashMap::new(),
            damaged: Mutex::default(),
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

    /// What was done, once it is.
    pub(super) fn summary(&self) -> RestoreSummary {
        let damaged = self.damaged();
        let restored = self.files.iter().enumerate().filter(|(file, _)| !damaged.contains_key(file));
        RestoreSummary {
            files: (self.files.len() - damaged.len()) as u64,
            dirs: self.folders.len() as u64,
            symlinks: self.links.len() as u64,
            bytes: restored.map(|(_, target)| target.bytes).sum(),
            left_out: self.left_out,
            ..RestoreSummary::default()
        }
    }

    /// What to read, neighbouring blobs together. Takes the lists of blobs out of the files. Files whose blobs are not known are
    /// lost from the beginning.
    pub(super) fn requests(&mut self, index: &Index) -> Vec<Request> {
        let mut all = Vec::new();
        for (file, target) in self.files.iter_mut().enumerate() {
            match wants(index, file, std::mem::take(&mut target.content), target) {
                Ok(wants) => all.extend(wants),
                Err((damaged, what)) => {
                    let lost = self.damaged.get_mut().unwrap_or_else(PoisonError::into_inner);
                    lost.insert(file, (damaged, what));
                }
            }
        }
        self.elsewhere = all.iter().filter_map(|want| others(index, want)).collect();
        all.sort_unstable_by_key(|want| (want.place.pack, want.place.offset, want.file, want.at));
        group(all, index)
    }

    /// The files that cannot be restored: their paths and why.
    pub(super) fn damaged_files(&self) -> Vec<(&Path, (String, String))> {
        let damaged = self.damaged();
        damaged.iter().map(|(file, why)| (self.files[*file].path.as_path(), why.clone())).collect()
    }

    pub(super) fn is_damaged(&self, file: usize) -> bool {
        self.damaged().contains_key(&file)
    }

    /// Gives a file up: a file of the repository is damaged.
    fn lose(&self, file: usize, damaged: &str, what: &str) {
        self.damaged().entry(file).or_insert_with(|| (damaged.to_owned(), what.to_owned()));
    }

    /// What to do about a blob that is damaged in this pack, wanted by one file or several: the request for the next pack that it lies
    /// in. Where there is none, the files are given up.
    pub(super) fn instead(&self, pack: Id, wants: &[Want], damaged: &str, what: &str) -> Option<Request> {
        let elsewhere = self.elsewhere.get(&wants[0].id).map_or(&[][..], Vec::as_slice);
        let here = |(other, place): &(Id, Place)| *other == pack && place.offset == wants[0].place.offset;
        let next = elsewhere.iter().position(here).map_or(0, |at| at + 1);
        let Some((pack, place)) = elsewhere.get(next).copied() else {
            wants.iter().for_each(|want| self.lose(want.file, damaged, what));
            return None;
        };
        Some(Request { pack, wants: wants.iter().map(|want| Want { place, ..*want }).collect() })
    }

    fn damaged(&self) -> std::sync::MutexGuard<'_, DamagedFiles> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The blobs of a file, or which file of the repository is damaged and how.
fn wants(index: &Index, file: usize, content: Vec<Id>, target: &Target) -> Result<Vec<Want>, (String, String)> {
    let (mut wants, mut at) = (Vec::with_capacity(content.len()), 0);
    for id in content {
        let Some((_, place)) = index.place(BlobKind::Data, &id) else {
            return Err(index.missing(BlobKind::Data, id));
        };
        wants.push(Want { id, place, file, at });
        at += place.text_bytes();
    }
    if at == target.bytes {
        Ok(wants)
    } else {
        Err(("its tree".to_owned(), format!("the file's blobs have {at} bytes, and the file has {}", target.bytes)))
    }
}

/// Where else a blob lies. Only where the index gives it the same length: from lengths follows where in a file it goes.
fn others(index: &Index, want: &Want) -> Option<(Id, Vec<(Id, Place)>)> {
    let others = index.other_places(BlobKind::Data, &want.id);
    let others: Vec<_> = others.filter(|(_, place)| place.text_bytes() == want.place.text_bytes()).collect();
    (!others.is_empty()).then_some((want.id, others))
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
