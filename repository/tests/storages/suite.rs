//! What `Backend` promises, checked on whatever implements it. `connect` gives a client of its own each time; the place is an
//! empty one.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};
use repository::{Backend, FailureKind, File, FileKind, Id, Put};

use crate::support::Random;

/// More names than a page of any of these stores holds: 1,000 in S3 and GCS, 5,000 in Azure.
pub(crate) const NAMES_S3_PAGE: usize = 1_100;
pub(crate) const NAMES_AZURE_PAGE: usize = 5_100;

type Connect<'a> = &'a dyn Fn() -> Arc<dyn Backend>;

/// The whole suite; `names` is how many files a list is tried with.
pub(crate) async fn conforms(connect: Connect<'_>, names: usize) {
    connect().create_folders().await.unwrap();
    connect().create_folders().await.expect("it may be repeated");
    files_of_all_sizes_are_read_back(&*connect()).await;
    a_file_may_be_put_again(&*connect()).await;
    what_is_missing_is_not_found(&*connect()).await;
    config_is_claimed_once(connect).await;
    concurrent_puts_are_all_stored(connect).await;
    lists_are_complete(&*connect(), names).await;
}

/// A file and what it must be named.
pub(crate) fn file_of(kind: FileKind, content: &Bytes) -> File {
    File::Named(kind, Id::of(content))
}

pub(crate) fn noise(bytes: usize, seed: u64) -> Bytes {
    Random(seed).noise(bytes).into()
}

async fn files_of_all_sizes_are_read_back(backend: &dyn Backend) {
    for (seed, bytes) in [0, 1, 4096, 65_537, 20 << 20].into_iter().enumerate() {
        let content = noise(bytes, seed as u64);
        let file = file_of(FileKind::Pack, &content);
        assert_eq!(backend.put(file, content.clone()).await.unwrap(), Put::Stored, "{bytes} bytes");
        assert!(backend.get(file).await.unwrap() == content, "{bytes} bytes");
        assert_eq!(backend.stat(file).await.unwrap(), Some(bytes as u64));
        ranges_are_exact(backend, file, &content).await;
        backend.delete(file).await.unwrap();
    }
}

async fn ranges_are_exact(backend: &dyn Backend, file: File, content: &Bytes) {
    let bytes = content.len();
    for (offset, wanted) in
        [(0, bytes), (0, bytes / 2), (bytes / 3, bytes / 3), (bytes.saturating_sub(1), bytes.min(1))]
    {
        let range = backend.get_range(file, offset as u64, wanted as u32).await.unwrap();
        assert!(range == content[offset..offset + wanted], "{wanted} bytes from {offset} of {bytes}");
    }
    assert_eq!(backend.get_range(file, 0, 0).await.unwrap().len(), 0);
    for (offset, wanted) in [(0, bytes + 1), (bytes, 1), (bytes + 1000, 10)] {
        let beyond = backend.get_range(file, offset as u64, wanted as u32).await;
        let kind = beyond.as_ref().err().map(repository::BackendError::kind);
        assert_eq!(kind, Some(FailureKind::NotFound), "{wanted} bytes from {offset} of {bytes}: {beyond:?}");
    }
}

async fn a_file_may_be_put_again(backend: &dyn Backend) {
    for kind in FileKind::ALL {
        let content = noise(3000, 10);
        let file = file_of(kind, &content);
        for _ in 0..3 {
            assert_eq!(backend.put(file, content.clone()).await.unwrap(), Put::Stored);
        }
        assert!(backend.get(file).await.unwrap() == content);
        backend.delete(file).await.unwrap();
        assert_eq!(backend.stat(file).await.unwrap(), None);
    }
}

async fn what_is_missing_is_not_found(backend: &dyn Backend) {
    let missing = [File::Config, file_of(FileKind::Pack, &noise(5, 11)), file_of(FileKind::Lock, &noise(5, 12))];
    for file in missing {
        assert_eq!(backend.get(file).await.unwrap_err().kind(), FailureKind::NotFound, "{file}");
        assert_eq!(backend.get_range(file, 0, 4).await.unwrap_err().kind(), FailureKind::NotFound, "{file}");
        assert_eq!(backend.stat(file).await.unwrap(), None, "{file}");
        backend.delete(file).await.expect("what is absent may be deleted");
    }
    for kind in FileKind::ALL {
        assert_eq!(backend.list(kind).await.unwrap(), [], "{kind:?}");
    }
}

async fn config_is_claimed_once(connect: Connect<'_>) {
    let claims = (0..8u64).map(|writer| {
        let (backend, content) = (connect(), noise(155, 20 + writer));
        tokio::spawn(async move {
            let put = backend.put(File::Config, content.clone()).await.unwrap();
            // Whoever is told that it exists reads it next.
            assert_eq!(backend.get(File::Config).await.unwrap().len(), 155);
            (put, content)
        })
    });
    let claims: Vec<_> = future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
    let winners: Vec<_> = claims.iter().filter(|(put, _)| *put == Put::Stored).collect();
    assert_eq!(winners.len(), 1, "{claims:?}");
    let backend = connect();
    assert_eq!(backend.get(File::Config).await.unwrap(), winners[0].1);
    assert_eq!(backend.put(File::Config, noise(155, 30)).await.unwrap(), Put::Exists);
    assert_eq!(backend.get(File::Config).await.unwrap(), winners[0].1);
    assert_eq!(backend.stat(File::Config).await.unwrap(), Some(155));
    backend.delete(File::Config).await.unwrap();
    assert_eq!(backend.stat(File::Config).await.unwrap(), None);
}

async fn concurrent_puts_are_all_stored(connect: Connect<'_>) {
    let backend = connect();
    // Each content is put by four writers at once.
    let puts = (0..32u64).map(|writer| {
        let (backend, content) = (Arc::clone(&backend), noise(300_000, 40 + writer / 4));
        tokio::spawn(async move {
            let file = file_of(FileKind::Pack, &content);
            assert_eq!(backend.put(file, content.clone()).await.unwrap(), Put::Stored);
            (file, content)
        })
    });
    for put in future::join_all(puts).await {
        let (file, content) = put.unwrap();
        assert!(backend.get(file).await.unwrap() == content);
    }
    let listed = backend.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed.len(), 8);
    empty(&*backend, FileKind::Pack).await;
}

async fn lists_are_complete(backend: &dyn Backend, names: usize) {
    let mut stored = BTreeMap::new();
    for (kind, count) in [(FileKind::Snapshot, names), (FileKind::Pack, 300), (FileKind::Key, 3)] {
        let contents = (0..count).map(|n| Bytes::from(format!("{kind:?} {n}").repeat(1 + n % 3)));
        let puts = futures::stream::iter(contents).map(|content| async move {
            let id = Id::of(&content);
            backend.put(File::Named(kind, id), content.clone()).await?;
            Ok::<_, repository::BackendError>((id, content.len() as u64))
        });
        let sizes: BTreeMap<Id, u64> = puts.buffer_unordered(16).try_collect().await.unwrap();
        assert_eq!(sizes.len(), count);
        stored.insert(kind.folder(), sizes);
    }
    for kind in FileKind::ALL {
        let listed = backend.list(kind).await.unwrap();
        let sizes: BTreeMap<Id, u64> = listed.iter().map(|listed| (listed.id, listed.bytes)).collect();
        assert_eq!(sizes.len(), listed.len(), "{kind:?}: a name stands twice");
        assert!(sizes == stored.remove(kind.folder()).unwrap_or_default(), "{kind:?}: {} names", sizes.len());
    }
}

/// Deletes all files of a kind.
async fn empty(backend: &dyn Backend, kind: FileKind) {
    let listed = backend.list(kind).await.unwrap();
    let deletes = futures::stream::iter(listed).map(|listed| backend.delete(File::Named(kind, listed.id)));
    deletes.buffer_unordered(16).try_collect::<()>().await.unwrap();
    assert_eq!(backend.list(kind).await.unwrap(), []);
}
