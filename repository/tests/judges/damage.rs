//! Every kind of file, damaged in several ways: a typed error that names it, and never a panic.

use std::path::Path;

use repository::{Error, Repository, RestoreOptions, RestoreProgress, SnapshotFilter, Version};

use crate::support::*;

/// Everything that reads: open, snapshots, index, trees, data.
async fn read_all(folder: &Path) -> Result<(), Error> {
    let repository = Repository::open(local(folder), &password()).await?;
    let target = tempfile::tempdir().unwrap();
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await?;
    repository.snapshots().await?;
    let options = RestoreOptions::default();
    repository.restore(&latest, &|_| true, &options, target.path(), &RestoreProgress::default()).await?;
    repository.backup(crate::support::options("/tmp/resources")).await?.abort().await
}

fn damages(content: &[u8]) -> Vec<Vec<u8>> {
    let flipped = |at: usize| {
        let mut content = content.to_vec();
        content[at] ^= 0x10;
        content
    };
    let half = content.len() / 2;
    vec![flipped(0), flipped(half), flipped(content.len() - 1), content[..half].to_vec(), Vec::new()]
}

async fn damaged_files_are_named(version: Version) {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), version).await;
    // One pack of data and one of trees, all of whose blobs are needed.
    let files: Files = (0..50).map(|n| (format!("d/f{n}"), (Random(n).manifest(n as usize, 3000), time(0)))).collect();
    back_up(&repository, "/tmp/resources", &files).await;
    let _lock = repository.lock_shared().await.unwrap();
    read_all(place.path()).await.unwrap();
    // Key files have a test of their own: this process opened the repository before, and remembers its key.
    for file in repository_files(place.path()).into_iter().filter(|file| !file.starts_with("keys/")) {
        let path = place.path().join(&file);
        let content = std::fs::read(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        for damaged in damages(&content) {
            // The end of a pack is its header, which nothing of this reads.
            if file.starts_with("data/")
                && damaged.len() == content.len()
                && damaged[..damaged.len() - 1] == content[..content.len() - 1]
            {
                continue;
            }
            // An empty lock is one that is just being written: both restics pass over it, and so do we.
            if file.starts_with("locks/") && damaged.is_empty() {
                continue;
            }
            std::fs::write(&path, &damaged).unwrap();
            match read_all(place.path()).await {
                Err(Error::Damaged { file: named, .. }) => assert_eq!(named, file),
                // An empty lock is one that is just being written; it does not count, as with restic.
                Ok(()) if damaged.is_empty() && file.starts_with("locks/") => {}
                other => panic!("{file} with {} of {} bytes: {other:?}", damaged.len(), content.len()),
            }
        }
        std::fs::remove_file(&path).unwrap();
        let missing = read_all(place.path()).await;
        match file.split('/').next().unwrap() {
            "config" => assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}"),
            "snapshots" => assert!(matches!(missing, Err(Error::SnapshotNotFound { .. })), "{missing:?}"),
            "locks" => missing.unwrap(),
            _ => assert!(matches!(missing, Err(Error::Damaged { .. })), "{file}: {missing:?}"),
        }
        std::fs::write(&path, &content).unwrap();
    }
    read_all(place.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_of_format_2_are_named() {
    damaged_files_are_named(Version::V2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_of_format_1_are_named() {
    damaged_files_are_named(Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_key_files_are_named() {
    let place = tempfile::tempdir().unwrap();
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    restic.run(&["init"]);
    let key = repository_files(&place.path().join("keys")).remove(0);
    let path = place.path().join("keys").join(&key);
    let content = std::fs::read(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for damaged in damages(&content) {
        std::fs::write(&path, &damaged).unwrap();
        let refused = Repository::open(local(place.path()), &password()).await;
        assert!(matches!(&refused, Err(Error::Damaged { file, .. }) if file.ends_with(&key)), "{refused:?}");
    }
    std::fs::remove_file(&path).unwrap();
    let refused = Repository::open(local(place.path()), &password()).await;
    assert!(matches!(&refused, Err(Error::Damaged { file, .. }) if file == "keys"), "{refused:?}");
    std::fs::write(&path, &content).unwrap();
    Repository::open(local(place.path()), &password()).await.unwrap();
}
