//! Every kind of file, damaged in several ways: a typed error that names it, and never a panic.

use std::path::Path;

use repository::{
    DamagedPath, Error, Repository, RestoreOptions, RestoreProgress, RestoreSummary, SnapshotFilter, Version,
};

use crate::support::*;

/// Everything that reads: open, snapshots, index, trees, data.
async fn read_all(folder: &Path) -> Result<(), Error> {
    let repository = Repository::open(local(folder), &password()).await?;
    let target = tempfile::tempdir().unwrap();
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await?;
    repository.snapshots().await?;
    let options = RestoreOptions::default();
    let restored = repository.restore(&latest, &|_| true, &options, target.path(), &RestoreProgress::default()).await?;
    assert_eq!(restored.damaged_total == 0, restored.is_complete());
    if let Some(DamagedPath { file, what, .. }) = restored.damaged.into_iter().next() {
        return Err(Error::Damaged { file, what });
    }
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
                // An empty lock is one that is just being written.
                Ok(()) if file.starts_with("locks/") && damaged.is_empty() => {}
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

/// Restores `/r` of the newest snapshot.
async fn restore(repository: &Repository, target: &Path) -> RestoreSummary {
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    let options = RestoreOptions { base: "/r".into(), path: "/r".into(), ..RestoreOptions::default() };
    repository.restore(&latest, &|_| true, &options, target, &RestoreProgress::default()).await.unwrap()
}

/// Everything of a snapshot that is not hit is there, byte for byte; nothing of what is hit is.
async fn restores_all_but(repository: &Repository, files: &Files, hit: impl Fn(&str) -> bool) {
    let target = tempfile::tempdir().unwrap();
    let restored = restore(repository, target.path()).await;
    let (lost, whole): (Vec<_>, Vec<_>) = files.iter().partition(|(path, _)| hit(path));
    assert!(!restored.is_complete() && !lost.is_empty(), "{restored:?}");
    let bytes: usize = whole.iter().map(|(_, (content, _))| content.len()).sum();
    assert_eq!((restored.files, restored.bytes), (whole.len() as u64, bytes as u64), "{restored:?}");
    for (path, (content, modified)) in whole {
        let found = target.path().join(path);
        assert!(std::fs::read(&found).unwrap() == *content, "{path}");
        assert_eq!(found.metadata().unwrap().modified().unwrap(), std::time::SystemTime::from(*modified), "{path}");
    }
    for (path, _) in lost {
        assert!(!target.path().join(path).exists(), "{path}");
        let below = |damaged: &DamagedPath| format!("/r/{path}").starts_with(&damaged.path);
        assert!(restored.damaged.iter().any(below), "{path} is not in {:?}", restored.damaged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_hit_restores_exactly() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    let mut files: Files = (0..40).map(|n| (format!("d/f{n}"), (Random(n).noise(3000), time(n as usize)))).collect();
    files.insert("e/empty".into(), (Vec::new(), time(1)));
    files.insert("e/large".into(), (Random(99).noise(3 << 20), time(2)));
    files.insert("e/copy".into(), files["e/large"].clone());
    files.insert("e/small".into(), (b"small".to_vec(), time(3)));
    back_up(&repository, "/r", &files).await;
    let mut packs = repository_files(&place.path().join("data"));
    packs.sort_by_key(|pack| place.path().join("data").join(pack).metadata().unwrap().len());
    let [trees, data] = [&packs[0], &packs[1]].map(|pack| place.path().join("data").join(pack));
    let content = std::fs::read(&data).unwrap();
    for pack in [&trees, &data] {
        std::fs::set_permissions(pack, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    // Blobs lie in the order in which they were added: the first is small, the last chunk of the large file comes late.
    let damage = async |at: usize| {
        let mut damaged = content.clone();
        damaged[at] ^= 1;
        std::fs::write(&data, damaged).unwrap();
        let report = crate::check::check(place.path(), &crate::check::EVERYTHING).await;
        let paths =
            report.findings[0].hits.paths.iter().map(|hit| hit.path["/r/".len()..].to_owned()).collect::<Vec<_>>();
        restores_all_but(&repository, &files, |path| paths.iter().any(|hit| hit == path)).await;
        paths
    };
    assert_eq!(damage(0).await.len(), 1);
    assert_eq!(damage(1 << 20).await, ["e/copy", "e/large"]);
    // Cut: what lies before the cut is still there.
    std::fs::write(&data, &content[..20_000]).unwrap();
    let report = crate::check::check(place.path(), &crate::check::EVERYTHING).await;
    let lost = report.findings[0].hits.paths_total;
    assert!(lost > 3 && lost < files.len() as u64, "{lost}");
    let target = tempfile::tempdir().unwrap();
    let restored = restore(&repository, target.path()).await;
    assert_eq!((restored.damaged_total, restored.files), (lost, files.len() as u64 - lost), "{restored:?}");
    std::fs::write(&data, &content).unwrap();
    // A folder whose tree is damaged is lost with what is in it; the others are not.
    let trees_content = std::fs::read(&trees).unwrap();
    let mut damaged = trees_content.clone();
    damaged[40] ^= 1;
    std::fs::write(&trees, damaged).unwrap();
    let report = crate::check::check(place.path(), &crate::check::STRUCTURE).await;
    let folder = report.findings[0].hits.paths[0].path["/r/".len()..].to_owned();
    restores_all_but(&repository, &files, |path| path.starts_with(&format!("{folder}/"))).await;
}
