//! Blobs that lie in two packs: as long as one copy is whole, nothing is lost.

use std::path::{Path, PathBuf};

use repository::{File, FileKind, Object, Repository, RestoreOptions, RestoreProgress, SnapshotFilter, Version};

use crate::check::{EVERYTHING, STRUCTURE, check, writable};
use crate::support::*;

fn packs(place: &Path) -> Vec<PathBuf> {
    repository_files(&place.join("data")).into_iter().map(|pack| place.join("data").join(pack)).collect()
}

/// The smaller pack is that of the trees.
fn by_size(mut packs: Vec<PathBuf>) -> [PathBuf; 2] {
    packs.sort_by_key(|pack| pack.metadata().unwrap().len());
    packs.try_into().unwrap()
}

/// Two backups beside each other, neither of which knows of the other. Returns the packs of trees and data of each.
async fn back_up_twice(repository: &Repository, place: &Path, files: &Files) -> [[PathBuf; 2]; 2] {
    let other = Repository::open(local(place), &password()).await.unwrap();
    let [first, second] = [repository, &other].map(|repository| repository.backup(options("/r")));
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    tokio::task::block_in_place(|| [&first, &second].map(|backup| add_all(backup, files, 1)));
    first.finish(repository::FinishOptions::default()).await.unwrap();
    let firsts = packs(place);
    second.finish(repository::FinishOptions::default()).await.unwrap();
    let seconds = packs(place).into_iter().filter(|pack| !firsts.contains(pack)).collect();
    [by_size(firsts), by_size(seconds)]
}

/// Restores everything, and reads each file by itself.
async fn is_complete(repository: &Repository, files: &Files) -> bool {
    let latest = repository.resolve("latest", &SnapshotFilter::default()).await.unwrap();
    let target = tempfile::tempdir().unwrap();
    let options = RestoreOptions { base: "/r".into(), path: "/r".into(), ..RestoreOptions::default() };
    let progress = RestoreProgress::default();
    let restored = repository.restore(&latest, &|_| true, &options, target.path(), &progress).await.unwrap();
    for (path, (content, _)) in files {
        let read = repository.read_file(&latest, &format!("/r/{path}")).await;
        assert_eq!(read.is_ok(), restored.is_complete(), "{path}: {read:?}");
        if restored.is_complete() {
            assert!(
                std::fs::read(target.path().join(path)).unwrap() == *content && read.unwrap() == *content,
                "{path}"
            );
        }
    }
    assert!(restored.is_complete() || restored.files == 0, "{restored:?}");
    restored.is_complete()
}

/// Damages both packs of one of the two backups, in some way, and mends them again afterwards.
async fn with_damage(packs: &[&PathBuf], damage: fn(&Path, &[u8]), look: impl AsyncFn()) {
    let contents: Vec<_> = packs.iter().map(|pack| std::fs::read(pack).unwrap()).collect();
    packs.iter().zip(&contents).for_each(|(pack, content)| damage(pack, content));
    look().await;
    packs.iter().zip(&contents).for_each(|(pack, content)| std::fs::write(pack, content).unwrap());
}

fn flip_every_blob(pack: &Path, content: &[u8]) {
    let flipped: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    std::fs::write(pack, flipped).unwrap();
}

fn cut(pack: &Path, content: &[u8]) {
    std::fs::write(pack, &content[..content.len() / 3]).unwrap();
}

fn remove(pack: &Path, _: &[u8]) {
    std::fs::remove_file(pack).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_is_lost_only_with_its_last_copy() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let mut files: Files = (0..20).map(|n| (format!("d/f{n}"), (Random(n).noise(3000), time(n as usize)))).collect();
    files.insert("e/large".into(), (Random(99).noise(3 << 20), time(2)));
    files.insert("e/copy".into(), files["e/large"].clone());
    let [first, second] = back_up_twice(&repository, place.path(), &files).await;
    assert_eq!(packs(place.path()).len(), 4, "each stored everything");
    packs(place.path()).iter().for_each(|pack| writable(pack));
    // Whichever copy is tried first: that of the other is whole. Also where trees are whole in the one and data in the other.
    let sets = [first.each_ref(), second.each_ref(), [&first[0], &second[1]], [&second[0], &first[1]]];
    for damage in [flip_every_blob, cut, remove] {
        for damaged in sets {
            with_damage(&damaged, damage, async || {
                assert!(is_complete(&repository, &files).await);
                let report = check(place.path(), &EVERYTHING).await;
                assert_eq!(report.findings.len(), 2, "{:?}", report.findings);
                for finding in &report.findings {
                    assert!(matches!(finding.object, Object::File(File::Named(FileKind::Pack, _))), "{finding}");
                    assert_eq!((finding.hits.snapshots_total, finding.hits.paths_total), (0, 0), "{finding}");
                }
            })
            .await;
        }
        for damaged in [[&first[1], &second[1]], [&first[0], &second[0]]] {
            with_damage(&damaged, damage, async || {
                let report = check(place.path(), &EVERYTHING).await;
                let hit = report.findings.iter().map(|finding| finding.hits.snapshots_total).max();
                assert_eq!(hit, Some(2), "{:?}", report.findings);
            })
            .await;
        }
        with_damage(&[&first[1], &second[1]], remove, async || assert!(!is_complete(&repository, &files).await)).await;
    }
    assert!(check(place.path(), &STRUCTURE).await.is_intact());
}
