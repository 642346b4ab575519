//! Carries out a plan. Blocking calls only.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;

use super::plan::{Plan, Request, Target, Want};
use crate::crypto::Key;
use crate::error::Error;
use crate::pack::BlobKind;
use crate::read::BlobDecoder;

/// What one request completed.
#[derive(Default)]
pub(super) struct Written {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// What is damaged in this pack and lies in others too.
    pub(super) instead: Vec<Request>,
}

impl Plan {
    /// Makes all folders, the files that are empty, and those that are written in parts.
    pub(super) fn make_folders(&self) -> Result<(), Error> {
        fs::create_dir_all(&self.destination).map_err(failed(&self.destination))?;
        let mut made = HashSet::new();
        for folder in &self.folders {
            self.make_folder(&folder.path, &mut made)?;
        }
        let paths = self.files.iter().map(|file| &file.path).chain(self.links.iter().map(|link| &link.path));
        for path in paths {
            if let Some(parent) = path.parent() {
                self.make_folder(parent, &mut made)?;
            }
        }
        Ok(())
    }

    fn make_folder(&self, path: &Path, made: &mut HashSet<PathBuf>) -> Result<(), Error> {
        if path.as_os_str().is_empty() || made.contains(path) {
            return Ok(());
        }
        if let Some(parent) = path.parent() {
            self.make_folder(parent, made)?;
        }
        let full = self.destination.join(path);
        let is_folder = fs::symlink_metadata(&full).is_ok_and(|found| found.is_dir());
        if !is_folder {
            remove(&full).and_then(|()| fs::create_dir(&full)).map_err(failed(&full))?;
        }
        made.insert(path.to_owned());
        Ok(())
    }

    /// Decodes what a request brought and writes it into the files; those whose part is damaged here and everywhere else are given up.
    pub(super) fn write(&self, request: &Request, content: &Bytes, key: Key) -> Result<Written, Error> {
        let mut decoder = BlobDecoder::new(key)?;
        let mut text = Vec::new();
        let mut written = Written::default();
        for wants in request.wants.chunk_by(|a, b| a.place.offset == b.place.offset) {
            let Want { id, place, .. } = wants[0];
            let start = usize::try_from(u64::from(place.offset) - request.offset());
            let start = start.expect("a request has at most 4 GiB, and its content is in memory");
            let sealed = content.slice(start..start + place.bytes as usize);
            match decoder.decode(BlobKind::Data, id, request.pack, place, &sealed, &mut text) {
                Ok(()) => self.write_parts(wants, &text, &mut written)?,
                Err(Error::Damaged { file, what }) => {
                    written.instead.extend(self.instead(request.pack, wants, &file, &what));
                }
                Err(other) => return Err(other),
            }
        }
        Ok(written)
    }

    fn write_parts(&self, wants: &[Want], text: &[u8], written: &mut Written) -> Result<(), Error> {
        for want in wants {
            self.write_part(want, text)?;
            written.bytes += text.len() as u64;
            written.files += u64::from(want.at + text.len() as u64 == self.files[want.file].bytes);
        }
        Ok(())
    }

    fn write_part(&self, want: &Want, text: &[u8]) -> Result<(), Error> {
        let file = &self.files[want.file];
        let path = self.destination.join(&file.path);
        if text.len() as u64 == file.bytes {
            let mut output = create(&path).map_err(failed(&path))?;
            return output.write_all(text).and_then(|()| dress(&output, file)).map_err(failed(&path));
        }
        // Parts come in any order; whoever is first makes the file. What was there before is only known to be foreign before that.
        let mut output = self.parts.open(want.file, &path).map_err(failed(&path))?;
        output.seek(SeekFrom::Start(want.at)).and_then(|_| output.write_all(text)).map_err(failed(&path))
    }

    /// What has to wait until all contents are there: empty files, modes and times of files in parts, links, and folders' times. Of
    /// a damaged file nothing stays that was written.
    pub(super) fn finish(&self) -> Result<(), Error> {
        for (position, file) in self.files.iter().enumerate() {
            let path = self.destination.join(&file.path);
            if self.is_damaged(position) {
                if self.parts.contains(position) {
                    remove(&path).map_err(failed(&path))?;
                }
            } else if file.bytes == 0 {
                create(&path).and_then(|output| dress(&output, file)).map_err(failed(&path))?;
            } else if self.parts.contains(position) {
                let output = fs::OpenOptions::new().write(true).open(&path).map_err(failed(&path))?;
                dress(&output, file).map_err(failed(&path))?;
            }
        }
        for link in &self.links {
            let path = self.destination.join(&link.path);
            remove(&path).and_then(|()| make_link(&link.target, &path)).map_err(failed(&path))?;
        }
        // Children before parents: a time that is set must not be changed by what happens below.
        for folder in self.folders.iter().rev() {
            let path = self.destination.join(&folder.path);
            dress_folder(&path, folder.mode, folder.modified).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// The files that are written in parts, as far as they were begun.
#[derive(Default)]
pub(super) struct Parts(std::sync::Mutex<HashSet<usize>>);

impl Parts {
    /// Opens a file, and makes it at its first part.
    fn open(&self, file: usize, path: &Path) -> io::Result<fs::File> {
        let mut begun = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if begun.contains(&file) {
            return fs::OpenOptions::new().write(true).open(path);
        }
        let output = create(path)?;
        begun.insert(file);
        Ok(output)
    }

    fn contains(&self, file: usize) -> bool {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&file)
    }
}

/// A new file in place of whatever was there. Never opens what exists, so no link is followed.
fn create(path: &Path) -> io::Result<fs::File> {
    let create_new = || fs::OpenOptions::new().write(true).create_new(true).open(path);
    match create_new() {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => remove(path).and_then(|()| create_new()),
        created => created,
    }
}

/// Removes a file or a link; a folder with something in it stays, and is an error.
fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir(path),
        Ok(_) => fs::remove_file(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

fn dress(output: &fs::File, file: &Target) -> io::Result<()> {
    output.set_times(times(file.modified))?;
    set_mode(output, file.mode)
}

fn dress_folder(path: &Path, mode: u32, modified: Timestamp) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    let folder = fs::File::open(path)?;
    folder.set_times(times(modified))?;
    set_mode(&folder, mode)
}

fn times(modified: Timestamp) -> fs::FileTimes {
    let modified = SystemTime::from(modified);
    fs::FileTimes::new().set_modified(modified).set_accessed(modified)
}

#[cfg(unix)]
fn set_mode(output: &fs::File, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    output.set_permissions(fs::Permissions::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_output: &fs::File, _mode: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_link(target: &[u8], path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path)
}

#[cfg(not(unix))]
fn make_link(_target: &[u8], _path: &Path) -> io::Result<()> {
    Err(io::Error::from(io::ErrorKind::Unsupported))
}

/// The error for a path of the destination.
fn failed(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Restore { path, source }
}
