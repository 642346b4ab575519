//! A repository in a folder.
//!
//! 1. A file is written under a temporary name in the folder it belongs to, synced, renamed, and the folder synced: after `put` it
//!    survives a power cut, and a reader sees all of it or nothing.
//! 2. `config` is linked instead of renamed, because a link fails when the name is taken.
//! 3. File modes are restic's: folders 0700, files 0400, and the same for the group when `config` is readable by the group.
//! 4. Deleting a snapshot, an index or a key is durable too; packs and locks may come back after a power cut, which harms nothing.
//! 5. Blocking calls run on tokio's blocking threads.

use std::fs;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, BackendError, FILE_BYTES_MAX, FailureKind, File, FileKind, Listed, Put};
use crate::id::Id;

/// Requests at the same time: two writers keep a disk busy while each waits for its sync.
const CONNECTIONS_DEFAULT: usize = 2;

/// A repository in a folder of this machine; see [`Backend`] for what each call guarantees.
#[derive(Clone, Debug)]
pub struct LocalBackend {
    root: Arc<Path>,
    location: String,
    connections: usize,
}

impl LocalBackend {
    /// The repository in `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root: PathBuf = root.into();
        Self { location: root.display().to_string(), root: root.into(), connections: CONNECTIONS_DEFAULT }
    }

    /// The same with another number of concurrent requests; 0 counts as 1.
    #[must_use]
    pub fn with_connections(mut self, connections: usize) -> Self {
        self.connections = connections.max(1);
        self
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: &'static str,
        target: impl ToString,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BackendError> {
        let root = Arc::clone(&self.root);
        match tokio::task::spawn_blocking(move || work(&root)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(source)) => Err(BackendError::new(kind_of(&source), action, target).caused_by(source)),
            Err(stopped) => Err(BackendError::new(FailureKind::Other, action, target).caused_by(stopped)),
        }
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn location(&self) -> &str {
        &self.location
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        self.blocking("create the folders of", &self.location, create_folders).await
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        self.blocking("write", file, move |root| put(root, file, &content)).await
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        self.blocking("read", file, move |root| get(&path_of(root, file))).await
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        self.blocking("read", file, move |root| get_range(&path_of(root, file), offset, bytes)).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        self.blocking("list", kind.folder(), move |root| list(root, kind)).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        self.blocking("look for", file, move |root| match fs::metadata(path_of(root, file)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
        .await
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        self.blocking("delete", file, move |root| delete(root, file)).await
    }
}

fn kind_of(error: &io::Error) -> FailureKind {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::UnexpectedEof => FailureKind::NotFound,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => FailureKind::Denied,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FailureKind::Full,
        io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy | io::ErrorKind::StaleNetworkFileHandle => {
            FailureKind::Temporary
        }
        _ => FailureKind::Other,
    }
}

fn path_of(root: &Path, file: File) -> PathBuf {
    root.join(file.folder()).join(file.name())
}

fn create_folders(root: &Path) -> io::Result<()> {
    let modes = Modes::of(root);
    for kind in FileKind::ALL {
        create_folder(&root.join(kind.folder()), modes)?;
    }
    // All 256 at once, as restic does: later no pack has to make and sync its folder first.
    for first_byte in 0..=u8::MAX {
        create_folder(&root.join(format!("data/{first_byte:02x}")), modes)?;
    }
    sync_folder(&root.join("data"))?;
    sync_folder(root)
}

fn put(root: &Path, file: File, content: &[u8]) -> io::Result<Put> {
    let modes = Modes::of(root);
    let folder = root.join(file.folder());
    let target = folder.join(file.name());
    let temporary = folder.join(format!("{}-tmp-{:016x}", file.name(), getrandom::u64().map_err(io::Error::other)?));
    let stored = write_temporary(&temporary, content, modes).and_then(|()| match file {
        File::Named(..) => fs::rename(&temporary, &target).map(|()| Put::Stored),
        File::Config => claim(&temporary, &target),
    });
    if !matches!((&stored, file), (Ok(_), File::Named(..))) {
        // Best effort: a leftover is ignored by every reader, and the error that matters is the first one.
        let _ = fs::remove_file(&temporary);
    }
    let stored = stored?;
    sync_folder(&folder)?;
    Ok(stored)
}

fn write_temporary(temporary: &Path, content: &[u8], modes: Modes) -> io::Result<()> {
    let mut output = match create_new(temporary, modes) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            create_folder(temporary.parent().unwrap_or(temporary), modes)?;
            create_new(temporary, modes)?
        }
        opened => opened?,
    };
    output.write_all(content)?;
    output.sync_all()
}

/// Gives the finished file its name unless that is taken.
fn claim(temporary: &Path, target: &Path) -> io::Result<Put> {
    match fs::hard_link(temporary, target) {
        Ok(()) => Ok(Put::Stored),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
        Err(e) if matches!(e.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            claim_without_links(temporary, target)
        }
        Err(e) => Err(e),
    }
}

/// For file systems without hard links: the empty file is the claim, the rename over it brings the content.
fn claim_without_links(temporary: &Path, target: &Path) -> io::Result<Put> {
    match fs::OpenOptions::new().write(true).create_new(true).open(target) {
        Ok(_) => fs::rename(temporary, target).map(|()| Put::Stored),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(Put::Exists),
        Err(e) => Err(e),
    }
}

fn get(path: &Path) -> io::Result<Bytes> {
    let input = fs::File::open(path)?;
    let bytes = input.metadata()?.len();
    if bytes > u64::from(FILE_BYTES_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{bytes} bytes, at most {FILE_BYTES_MAX} fit"),
        ));
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).map_err(io::Error::other)?);
    input.take(FILE_BYTES_MAX.into()).read_to_end(&mut content)?;
    Ok(content.into())
}

fn get_range(path: &Path, offset: u64, bytes: u32) -> io::Result<Bytes> {
    let mut input = fs::File::open(path)?;
    // Checked before the buffer is allocated: the length may come from a damaged index.
    if offset.checked_add(bytes.into()).is_none_or(|end| input.metadata().is_ok_and(|m| m.len() < end)) {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short"));
    }
    input.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::with_capacity(bytes as usize);
    if input.take(bytes.into()).read_to_end(&mut content)? < bytes as usize {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short"));
    }
    Ok(content.into())
}

fn list(root: &Path, kind: FileKind) -> io::Result<Vec<Listed>> {
    let folder = root.join(kind.folder());
    let mut files = Vec::new();
    if kind != FileKind::Pack {
        return match list_folder(&folder, &mut files) {
            // rustic takes no locks and makes no folder for them. Without `config` the whole repository is gone, say unmounted.
            Err(e) if kind == FileKind::Lock && e.kind() == io::ErrorKind::NotFound && root.join("config").exists() => {
                Ok(files)
            }
            listed => listed.map(|()| files),
        };
    }
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list_folder(&entry.path(), &mut files)?;
        }
    }
    Ok(files)
}

fn list_folder(folder: &Path, files: &mut Vec<Listed>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<Id>().ok()) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) => files.push(Listed { id, bytes: metadata.len() }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {} // deleted since the folder was read
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn delete(root: &Path, file: File) -> io::Result<()> {
    match fs::remove_file(path_of(root, file)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        removed => removed?,
    }
    match file {
        // A snapshot or an index that a power cut brings back would name packs that were deleted after it.
        File::Named(FileKind::Snapshot | FileKind::Index | FileKind::Key, _) => sync_folder(&root.join(file.folder())),
        File::Named(FileKind::Pack | FileKind::Lock, _) | File::Config => Ok(()),
    }
}

/// Modes for new files and folders.
#[derive(Clone, Copy)]
struct Modes {
    file: u32,
    folder: u32,
}

#[cfg(unix)]
impl Modes {
    fn of(root: &Path) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let group_reads = fs::metadata(root.join("config")).is_ok_and(|m| m.permissions().mode() & 0o040 != 0);
        if group_reads { Self { file: 0o440, folder: 0o770 } } else { Self { file: 0o400, folder: 0o700 } }
    }
}

#[cfg(unix)]
fn create_new(path: &Path, modes: Modes) -> io::Result<fs::File> {
    use std::os::unix::fs::OpenOptionsExt;
    fs::OpenOptions::new().write(true).create_new(true).mode(modes.file).open(path)
}

#[cfg(unix)]
fn create_folder(path: &Path, modes: Modes) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(modes.folder).create(path)
}

#[cfg(not(unix))]
impl Modes {
    fn of(_root: &Path) -> Self {
        Self { file: 0, folder: 0 }
    }
}

#[cfg(not(unix))]
fn create_new(path: &Path, _modes: Modes) -> io::Result<fs::File> {
    fs::OpenOptions::new().write(true).create_new(true).open(path)
}

#[cfg(not(unix))]
fn create_folder(path: &Path, _modes: Modes) -> io::Result<()> {
    fs::create_dir_all(path)
}

/// Makes renames and new names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { fs::File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn concurrent_puts_of_config_have_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        let backend = LocalBackend::new(folder.path());
        backend.create_folders().await.unwrap();
        let puts = (0..8u8).map(|i| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.put(File::Config, Bytes::from(vec![i; 100])).await.unwrap() })
        });
        let results = futures::future::join_all(puts).await;
        assert_eq!(results.iter().filter(|r| matches!(r, Ok(Put::Stored))).count(), 1);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "no temporary file stays");
    }

    #[tokio::test]
    async fn a_range_beyond_the_end_is_not_found() {
        let folder = tempfile::tempdir().unwrap();
        let backend = LocalBackend::new(folder.path());
        let file = File::Named(FileKind::Pack, Id::of(b"x"));
        backend.put(file, Bytes::from_static(b"0123456789")).await.unwrap();
        assert_eq!(backend.get_range(file, 4, 6).await.unwrap(), "456789");
        assert_eq!(backend.get_range(file, 4, 7).await.unwrap_err().kind(), FailureKind::NotFound);
        assert_eq!(backend.get_range(file, u64::MAX, u32::MAX).await.unwrap_err().kind(), FailureKind::NotFound);
    }

    #[tokio::test]
    async fn a_list_of_a_missing_folder_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let backend = LocalBackend::new(folder.path().join("gone"));
        assert_eq!(backend.list(FileKind::Index).await.unwrap_err().kind(), FailureKind::NotFound);
    }
}
