//! A storage that fails in the middle: the first failure is reported, no snapshot appears, and what was stored is used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use repository::{
    Backend, BackendError, Error, FailureKind, File, FileKind, FinishOptions, Listed, NewFile, Put, Repository, Version,
};

use crate::support::*;

/// A folder that takes some packs and is full then.
#[derive(Debug)]
struct Filling {
    folder: Arc<dyn Backend>,
    packs_left: AtomicUsize,
}

#[async_trait::async_trait]
impl Backend for Filling {
    fn location(&self) -> &str {
        self.folder.location()
    }

    fn connections(&self) -> usize {
        self.folder.connections()
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        self.folder.create_folders().await
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        let one_less = |left: usize| left.checked_sub(1);
        let is_pack = matches!(file, File::Named(FileKind::Pack, _));
        if is_pack && self.packs_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_err() {
            return Err(BackendError::new(FailureKind::Full, "write", file));
        }
        self.folder.put(file, content).await
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        self.folder.get(file).await
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        self.folder.get_range(file, offset, bytes).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        self.folder.list(kind).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        self.folder.stat(file).await
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        self.folder.delete(file).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_storage_ends_the_backup_and_what_was_stored_is_found_again() {
    let place = tempfile::tempdir().unwrap();
    new_repository(place.path(), Version::V2).await;
    let files: Files = (0..60).map(|n| (format!("f{n}"), (Random(n).noise(1 << 20), time(0)))).collect();
    let full = Arc::new(Filling { folder: local(place.path()), packs_left: 2.into() });
    let repository = Repository::open(full, &password()).await.unwrap();
    let backup = repository.backup(options("/r")).await.unwrap();
    let mut worker = backup.worker().unwrap();
    let refused = tokio::task::block_in_place(|| {
        files.iter().find_map(|(path, (content, modified))| {
            worker.add(NewFile { group: 0, path, modified: *modified }, content).err()
        })
    });
    assert!(matches!(refused, Some(Error::Ended)), "{refused:?}");
    let cause = backup.finish(FinishOptions::default()).await.unwrap_err();
    assert!(matches!(cause, Error::Full { .. }), "{cause:?}");
    assert!(repository.snapshots().await.unwrap().is_empty());

    let repository = Repository::open(local(place.path()), &password()).await.unwrap();
    let counts = back_up(&repository, "/r", &files).await.counts;
    let stored_before = (60 << 20) - counts.data_added;
    assert!(stored_before > 25 << 20, "two packs were stored, {stored_before} bytes were known");
    Restic::new(NEW_RESTIC, place.path().display()).check();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_aborted_backup_stored_is_found_again() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let files = corpus(300, 30);
    let backup = repository.backup(options("/r")).await.unwrap();
    tokio::task::block_in_place(|| add_all(&backup, &files, 2));
    backup.abort().await.unwrap();
    assert!(repository.snapshots().await.unwrap().is_empty());
    assert!(repository.backend().list(FileKind::Lock).await.unwrap().is_empty());
    assert_eq!(back_up(&repository, "/r", &files).await.counts.data_blobs, 0);
}
