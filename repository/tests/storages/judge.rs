//! restic and this engine on one repository, whichever of the two made it.

use std::sync::Arc;

use repository::{Backend, Repository, RestoreOptions, RestoreProgress, SnapshotFilter, Version};

use crate::support::*;

/// A repository that we make: restic finds it whole, adds a snapshot that shares all of its data, and we restore that.
pub(crate) async fn restic_accepts_ours(backend: Arc<dyn Backend>, restic: &Restic) {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let root = source.path().to_str().unwrap();
    let files = corpus(500, 70);
    write_files(source.path(), &files);
    let repository = Repository::open_or_init(backend, &password(), cheap(Version::V2)).await.unwrap();
    back_up(&repository, root, &files).await;
    restic.check();
    let again = restic.backup(&["--host", "host-0", root]);
    assert_eq!(again["data_blobs"], 0);
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    assert_eq!(latest.id.to_string(), again["snapshot_id"]);
    let progress = RestoreProgress::default();
    let restored =
        repository.restore(&latest, &|_| true, &RestoreOptions::default(), target.path(), &progress).await.unwrap();
    assert!(restored.is_complete(), "{restored:?}");
    assert_same_files(source.path(), &target.path().join(root.trim_start_matches('/')));
}

/// A repository that restic makes: we read it, and what we add passes restic's check.
pub(crate) async fn we_accept_restics(backend: Arc<dyn Backend>, restic: &Restic) {
    let source = tempfile::tempdir().unwrap();
    let root = source.path().to_str().unwrap();
    let files = corpus(200, 71);
    write_files(source.path(), &files);
    restic.run(&["init"]);
    let first = restic.backup(&["--host", "host-0", root]);
    let repository = Repository::open(backend, &password()).await.unwrap();
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    assert_eq!(latest.id.to_string(), first["snapshot_id"]);
    assert_eq!(back_up(&repository, root, &files).await.counts.data_blobs, 0);
    restic.check();
}
