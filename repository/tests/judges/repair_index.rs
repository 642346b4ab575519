//! `repair index`: the index is right again whatever was lost of it, restic agrees, and nothing that was readable is lost.

use std::path::{Path, PathBuf};
use std::time::Duration;

use repository::{
    CheckProgress, Error, FileKind, RepairIndexOptions, RepairIndexProgress, RepairIndexSummary, Repository, Version,
};

use crate::check::{EVERYTHING, check, writable};
use crate::support::*;

const PLAIN: RepairIndexOptions = RepairIndexOptions { read_all_packs: false, retry_lock: Duration::ZERO };
const ALL: RepairIndexOptions = RepairIndexOptions { read_all_packs: true, retry_lock: Duration::ZERO };

async fn repair(place: &Path, options: &RepairIndexOptions) -> RepairIndexSummary {
    let repository = Repository::open(local(place), &password()).await.unwrap();
    repository.repair_index(options, &RepairIndexProgress::default()).await.unwrap()
}

/// Two backups, so two index files, two packs each.
async fn two_backups(place: &Path, version: Version) -> Repository {
    let repository = new_repository(place, version).await;
    back_up(&repository, "/a", &corpus(300, 1)).await;
    back_up(&repository, "/b", &corpus(310, 2)).await;
    repository
}

fn files(place: &Path, folder: &str) -> Vec<PathBuf> {
    repository_files(&place.join(folder)).into_iter().map(|file| place.join(folder).join(file)).collect()
}

async fn is_whole(place: &Path) {
    let report = check(place, &EVERYTHING).await;
    assert!(report.is_intact() && report.hints.is_empty(), "{report:?}");
    Restic::new(NEW_RESTIC, place.display()).check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_index_is_left_alone() {
    let place = tempfile::tempdir().unwrap();
    two_backups(place.path(), Version::V2).await;
    let before = repository_files(place.path());
    assert_eq!(repair(place.path(), &PLAIN).await, RepairIndexSummary::default());
    let all = repair(place.path(), &ALL).await;
    let packs = files(place.path(), "data").len() as u64;
    assert_eq!((all.packs_read, all.indexes_written, all.indexes_removed, all.packs_added), (packs, 0, 0, 0));
    assert_eq!(repository_files(place.path()), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_and_damaged_index_files_are_rebuilt_from_the_packs() {
    for version in [Version::V1, Version::V2] {
        let place = tempfile::tempdir().unwrap();
        two_backups(place.path(), version).await;
        let indexes = files(place.path(), "index");
        writable(&indexes[0]);
        std::fs::write(&indexes[0], b"damaged").unwrap();
        let one = repair(place.path(), &PLAIN).await;
        assert_eq!((one.indexes_damaged, one.indexes_removed, one.indexes_written), (1, 1, 1), "{one:?}");
        assert!(one.packs_added >= 2 && one.packs_added == one.packs_read, "{one:?}");
        is_whole(place.path()).await;
        for index in files(place.path(), "index") {
            std::fs::remove_file(index).unwrap();
        }
        let all = repair(place.path(), &PLAIN).await;
        assert_eq!((all.packs_added, all.indexes_written), (files(place.path(), "data").len() as u64, 1));
        is_whole(place.path()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_restics_repositories_are_repaired() {
    for (program, init) in
        [(NEW_RESTIC, &["init"][..]), (OLD_RESTIC, &["init"]), (NEW_RESTIC, &["init", "--repository-version", "1"])]
    {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_files(source.path(), &corpus(300, 3));
        let restic = Restic::new(program, place.path().display());
        restic.run(init);
        restic.backup(&[source.path().to_str().unwrap()]);
        let before = check(place.path(), &EVERYTHING).await;
        files(place.path(), "index").into_iter().for_each(|index| std::fs::remove_file(index).unwrap());
        assert_eq!(repair(place.path(), &ALL).await.packs_added, before.packs);
        restic.check();
        assert_eq!(check(place.path(), &EVERYTHING).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_is_dropped_and_the_other_packs_of_its_index_stay() {
    let place = tempfile::tempdir().unwrap();
    two_backups(place.path(), Version::V2).await;
    let mut packs = files(place.path(), "data");
    packs.sort_by_key(|pack| pack.metadata().unwrap().len());
    std::fs::remove_file(packs.pop().unwrap()).unwrap();
    let summary = repair(place.path(), &PLAIN).await;
    assert_eq!((summary.packs_dropped, summary.indexes_written, summary.indexes_removed), (1, 1, 1), "{summary:?}");
    let report = check(place.path(), &EVERYTHING).await;
    assert_eq!(report.packs, packs.len() as u64);
    assert_eq!(report.findings.len(), 1, "only the blobs that are lost: {report:?}");
    assert_eq!(repair(place.path(), &PLAIN).await, RepairIndexSummary::default(), "a second one has nothing to do");
}

/// What is in the readable part of a cut pack is restored: the index goes on knowing it.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_pack_keeps_the_blobs_that_are_left_of_it() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let contents = |n: u64| Random(n).noise(3000);
    let some: Files = (0..50).map(|n| (format!("f{n}"), (contents(n), time(0)))).collect();
    let snapshot = back_up(&repository, "/r", &some).await.snapshot;
    let pack = files(place.path(), "data").into_iter().max_by_key(|pack| pack.metadata().unwrap().len()).unwrap();
    writable(&pack);
    std::fs::File::options().write(true).open(&pack).unwrap().set_len(100_000).unwrap();
    let readable = async |repository: &Repository| {
        let mut readable = 0;
        for (path, (content, _)) in &some {
            match repository.read_file(&snapshot, &format!("/r/{path}")).await {
                Ok(read) => readable += usize::from(read == *content),
                Err(Error::Damaged { .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        readable
    };
    let before = readable(&repository).await;
    assert!((30..40).contains(&before), "{before}");
    let summary = repair(place.path(), &PLAIN).await;
    assert_eq!((summary.unreadable.len(), summary.packs_corrected, summary.indexes_written), (1, 1, 1), "{summary:?}");
    let reopened = Repository::open(local(place.path()), &password()).await.unwrap();
    assert_eq!(readable(&reopened).await, before);
    let report = check(place.path(), &EVERYTHING).await;
    assert!(report.findings.iter().any(|finding| pack.ends_with(finding.object.to_string())), "{report:?}");
    let again = repair(place.path(), &PLAIN).await;
    assert_eq!((again.packs_corrected, again.indexes_written), (0, 0), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pack_in_two_index_files_ends_in_one() {
    let place = tempfile::tempdir().unwrap();
    two_backups(place.path(), Version::V2).await;
    let copy = tempfile::tempdir().unwrap();
    for index in files(place.path(), "index") {
        std::fs::copy(&index, copy.path().join(index.file_name().unwrap())).unwrap();
    }
    // The state after a kill between writing and deleting.
    let removed = files(place.path(), "index").remove(0);
    std::fs::remove_file(&removed).unwrap();
    repair(place.path(), &PLAIN).await;
    std::fs::copy(copy.path().join(removed.file_name().unwrap()), &removed).unwrap();
    let report = check(place.path(), &EVERYTHING).await;
    assert!(report.is_intact() && report.hints[0].contains("several index files"), "{report:?}");
    let summary = repair(place.path(), &PLAIN).await;
    assert_eq!((summary.indexes_removed, summary.packs_read), (1, 0), "{summary:?}");
    is_whole(place.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_nobody_and_disturbs_nobody() {
    let place = tempfile::tempdir().unwrap();
    let repository = two_backups(place.path(), Version::V2).await;
    let held = repository.lock_shared().await.unwrap();
    let refused = repository.repair_index(&PLAIN, &RepairIndexProgress::default()).await;
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    held.release().await.unwrap();
    repository.repair_index(&PLAIN, &RepairIndexProgress::default()).await.unwrap();
    assert!(repository.backend().list(FileKind::Lock).await.unwrap().is_empty());
    assert!(repository.check(&EVERYTHING, &CheckProgress::default()).await.unwrap().is_intact());
}
