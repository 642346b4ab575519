//! Check: what is whole passes, what is damaged is named with the snapshots and paths that it hits, and restic agrees.

use std::path::{Path, PathBuf};
use std::time::Duration;

use repository::{
    CheckLock, CheckOptions, CheckProgress, CheckReport, Error, FileKind, Object, ReadData, Repository, Version,
};

use crate::support::*;

pub(crate) const STRUCTURE: CheckOptions = CheckOptions {
    read_data: ReadData::Nothing,
    headers: false,
    lock: CheckLock::Exclusive,
    retry_lock: Duration::ZERO,
};
pub(crate) const EVERYTHING: CheckOptions = CheckOptions { read_data: ReadData::Everything, ..STRUCTURE };
const HEADERS: CheckOptions = CheckOptions { headers: true, ..STRUCTURE };

pub(crate) async fn check(folder: &Path, options: &CheckOptions) -> CheckReport {
    let repository = Repository::open(local(folder), &password()).await.unwrap();
    repository.check(options, &CheckProgress::default()).await.unwrap()
}

/// The only file of a folder of the repository.
fn only(place: &Path, folder: &str) -> PathBuf {
    let files = repository_files(&place.join(folder));
    assert_eq!(files.len(), 1, "{files:?}");
    place.join(folder).join(&files[0])
}

pub(crate) fn writable(path: &Path) {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = std::fs::read(path).unwrap();
    writable(path);
    change(&mut content);
    std::fs::write(path, content).unwrap();
}

/// Files with contents of their own; `from` keeps those of several backups apart.
fn some_files(from: u64, count: u64) -> Files {
    (from..from + count)
        .map(|n| (format!("d/f{n}"), (Random(n).manifest(n as usize, 2000), time(n as usize))))
        .collect()
}

fn restic_finds_nothing_wrong(place: &Path) -> bool {
    Restic::new(NEW_RESTIC, place.display()).try_run(&["check", "--read-data"]).status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_wrote_is_intact_and_counted() {
    for version in [Version::V1, Version::V2] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), version).await;
        let files = corpus(800, 1);
        back_up(&repository, "/tmp/resources", &files).await;
        back_up(&repository, "/tmp/resources", &some_files(0, 10)).await;
        let progress = CheckProgress::default();
        let report = repository.check(&EVERYTHING, &progress).await.unwrap();
        assert!(report.is_intact() && report.hints.is_empty(), "{report:?}");
        assert_eq!((report.snapshots, report.files), (2, files.len() as u64 + 10));
        let packs = repository_files(&place.path().join("data"));
        let count = packs.len() as u64;
        assert_eq!((report.packs, report.packs_read, report.headers_read), (count, count, count));
        let bytes: u64 = packs.iter().map(|p| place.path().join("data").join(p).metadata().unwrap().len()).sum();
        assert_eq!((report.bytes_read, progress.done(), progress.total()), (bytes, count, count));
        assert!(repository_files(&place.path().join("locks")).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_restic_wrote_is_intact() {
    for (program, init) in
        [(NEW_RESTIC, &["init"][..]), (NEW_RESTIC, &["init", "--repository-version", "1"]), (OLD_RESTIC, &["init"])]
    {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_files(source.path(), &corpus(600, 2));
        let restic = Restic::new(program, place.path().display());
        restic.run(init);
        for n in 0..2 {
            std::fs::write(source.path().join("changing"), format!("{n}")).unwrap();
            restic.backup(&[source.path().to_str().unwrap()]);
        }
        let report = check(place.path(), &EVERYTHING).await;
        assert!(report.is_intact() && report.hints.is_empty(), "{report:?}");
        assert_eq!((report.snapshots, report.packs_read), (2, report.packs));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_names_the_paths_that_it_hits() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let first = back_up(&repository, "/tmp/resources", &some_files(0, 30)).await.snapshot;
    let second = back_up(&repository, "/tmp/resources", &some_files(0, 20)).await.snapshot;
    let pack = data_pack(&repository).await;
    change(&place.path().join(&pack), |content| content[0] ^= 1);
    assert!(check(place.path(), &STRUCTURE).await.is_intact(), "the structure alone does not read data");
    let report = check(place.path(), &EVERYTHING).await;
    assert_eq!(report.findings.len(), 1, "{report:?}");
    let finding = &report.findings[0];
    assert_eq!(finding.object.to_string(), pack);
    assert!(finding.reasons[0].contains("does not have the hash"), "{finding}");
    assert!(finding.reasons[1].contains("not sealed with the repository's key"), "{finding}");
    assert_eq!((finding.hits.snapshots_total, finding.hits.paths_total), (2, 2), "{finding}");
    assert_eq!(finding.hits.snapshots, [second.id, first.id]);
    // Two snapshots, one path: it is spelled out once.
    let path = &finding.hits.paths[0].path;
    assert!(finding.hits.paths.len() == 1 && path.starts_with("/tmp/resources/d/f"), "{finding}");
    assert!(matches!(repository.read_file(&second, path).await, Err(Error::Damaged { .. })));
    assert!(!restic_finds_nothing_wrong(place.path()));
}

/// The pack of data of a repository that has one, as a path below it.
async fn data_pack(repository: &Repository) -> String {
    let packs = repository.backend().list(FileKind::Pack).await.unwrap();
    let largest = packs.iter().max_by_key(|pack| pack.bytes).unwrap();
    repository::File::Named(FileKind::Pack, largest.id).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_hits_all_that_needs_it_and_nothing_else() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/tmp/resources", &some_files(0, 30)).await;
    let packs = repository_files(&place.path().join("data"));
    let second = back_up(&repository, "/tmp/other", &some_files(100, 40)).await.snapshot;
    let added =
        |path: &PathBuf| !packs.contains(&path.strip_prefix(place.path().join("data")).unwrap().display().to_string());
    let all = repository_files(&place.path().join("data"));
    let mut new: Vec<PathBuf> = all.iter().map(|p| place.path().join("data").join(p)).filter(added).collect();
    new.sort_by_key(|path| path.metadata().unwrap().len());
    // First the data, then the trees too.
    std::fs::remove_file(&new[1]).unwrap();
    let report = check(place.path(), &STRUCTURE).await;
    assert_eq!((report.findings.len(), report.findings[0].reasons.as_slice()), (1, &["it is missing".to_owned()][..]));
    let hits = &report.findings[0].hits;
    assert_eq!((&hits.snapshots[..], hits.paths_total, hits.paths.len()), (&[second.id][..], 40, 5), "{report:?}");
    assert!(report.findings[0].to_string().contains("and 35 more"), "{}", report.findings[0]);
    std::fs::remove_file(&new[0]).unwrap();
    let report = check(place.path(), &STRUCTURE).await;
    assert_eq!(report.findings.len(), 2, "{report:?}");
    let trees = report.findings.iter().find(|finding| new[0].ends_with(finding.object.to_string())).unwrap();
    assert_eq!((trees.hits.snapshots_total, trees.hits.paths_total, &trees.hits.paths[0].path[..]), (1, 1, "/"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_index_is_blobs_that_no_index_names() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let kept = back_up(&repository, "/tmp/resources", &some_files(0, 5)).await.snapshot;
    let before = repository_files(&place.path().join("index"));
    let lost = back_up(&repository, "/tmp/other", &some_files(50, 10)).await.snapshot;
    let new = repository_files(&place.path().join("index")).into_iter().find(|file| !before.contains(file)).unwrap();
    let path = place.path().join("index").join(&new);
    let content = std::fs::read(&path).unwrap();
    change(&path, |content| content[40] ^= 1);
    let report = check(place.path(), &STRUCTURE).await;
    let objects: Vec<String> = report.findings.iter().map(|finding| finding.object.to_string()).collect();
    assert_eq!(objects, [format!("index/{new}"), "index".to_owned()], "{report:?}");
    assert_eq!(report.findings[1].hits.snapshots, [lost.id]);
    assert!(report.hints[0].starts_with("2 packs that no index names"), "{:?}", report.hints);
    std::fs::remove_file(&path).unwrap();
    let report = check(place.path(), &EVERYTHING).await;
    assert_eq!((report.findings.len(), report.findings[0].object), (1, Object::Unindexed));
    assert!(report.findings[0].hits.snapshots != [kept.id], "{report:?}");
    std::fs::write(&path, content).unwrap();
    assert!(check(place.path(), &EVERYTHING).await.is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_and_indexes_left_by_others_are_hints() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let backup = repository.backup(options("/tmp/resources")).await.unwrap();
    tokio::task::block_in_place(|| add_all(&backup, &some_files(0, 30), 1));
    backup.abort().await.unwrap();
    std::fs::remove_file(only(place.path(), "index")).unwrap();
    back_up(&repository, "/tmp/resources", &some_files(0, 30)).await;
    let report = check(place.path(), &EVERYTHING).await;
    assert!(report.is_intact());
    assert!(report.hints.len() == 1 && report.hints[0].starts_with("1 pack that no index names"), "{:?}", report.hints);
    assert!(restic_finds_nothing_wrong(place.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_snapshots_config_keys_and_locks_are_named() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let snapshot = back_up(&repository, "/tmp/resources", &some_files(0, 5)).await.snapshot;
    let held = repository.lock_shared().await.unwrap();
    for file in
        [format!("snapshots/{}", snapshot.id), "config".to_owned(), only(place.path(), "keys").display().to_string()]
            .into_iter()
            .chain([only(place.path(), "locks").display().to_string()])
    {
        let path = place.path().join(file);
        let content = std::fs::read(&path).unwrap();
        for cut in [content.len() / 2, 1] {
            change(&path, |content| content.truncate(cut));
            // Checked by who opened it before: nobody else could, with such a config or key.
            let options = CheckOptions { lock: CheckLock::Shared, ..STRUCTURE };
            let report = repository.check(&options, &CheckProgress::default()).await.unwrap();
            assert_eq!(report.findings.len(), 1, "{report:?}");
            assert!(path.ends_with(report.findings[0].object.to_string()), "{report:?}");
            std::fs::write(&path, &content).unwrap();
        }
    }
    held.release().await.unwrap();
    assert!(check(place.path(), &STRUCTURE).await.is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn swapped_packs_of_one_size_are_found_by_their_headers() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V1).await;
    let one = |content: &[u8]| Files::from([("f".to_owned(), (content.to_vec(), time(0)))]);
    back_up(&repository, "/a", &one(b"12345")).await;
    back_up(&repository, "/b", &one(b"54321")).await;
    let packs = repository.backend().list(FileKind::Pack).await.unwrap();
    let smallest = packs.iter().map(|pack| pack.bytes).min().unwrap();
    let data: Vec<PathBuf> = packs
        .iter()
        .filter(|pack| pack.bytes == smallest)
        .map(|pack| place.path().join(repository::File::Named(FileKind::Pack, pack.id).to_string()))
        .collect();
    let contents = [std::fs::read(&data[0]).unwrap(), std::fs::read(&data[1]).unwrap()];
    change(&data[0], |content| content.clone_from(&contents[1]));
    change(&data[1], |content| content.clone_from(&contents[0]));
    assert!(check(place.path(), &STRUCTURE).await.is_intact());
    let report = check(place.path(), &HEADERS).await;
    assert_eq!((report.findings.len(), report.headers_read, report.packs_read), (2, 4, 0), "{report:?}");
    assert_eq!(report.findings[0].reasons, ["its header and the index disagree"]);
    let report = check(place.path(), &EVERYTHING).await;
    assert!(report.findings.iter().all(|finding| finding.hits.paths_total == 1), "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_kept_away_by_a_backup_only_when_it_wants_to_be_alone() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/tmp/resources", &some_files(0, 5)).await;
    let backup = repository.backup(options("/tmp/resources")).await.unwrap();
    tokio::task::block_in_place(|| add_all(&backup, &some_files(50, 5), 1));
    let refused = repository.check(&STRUCTURE, &CheckProgress::default()).await;
    assert!(matches!(refused, Err(Error::Locked { .. })), "{refused:?}");
    let beside = CheckOptions { lock: CheckLock::Shared, ..EVERYTHING };
    assert!(repository.check(&beside, &CheckProgress::default()).await.unwrap().is_intact());
    let prepared = backup.prepare().await.unwrap();
    assert!(repository.check(&beside, &CheckProgress::default()).await.unwrap().is_intact());
    prepared.commit(repository::FinishOptions::default()).await.unwrap();
    assert!(repository.check(&EVERYTHING, &CheckProgress::default()).await.unwrap().is_intact());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storage_that_cannot_be_asked_is_an_error_and_no_damage() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/tmp/resources", &some_files(0, 5)).await;
    // A folder in place of a file: the system refuses to read it, which says nothing about the file.
    let snapshot = only(place.path(), "snapshots");
    std::fs::remove_file(&snapshot).unwrap();
    std::fs::create_dir(&snapshot).unwrap();
    let failed = repository.check(&STRUCTURE, &CheckProgress::default()).await;
    assert!(matches!(failed, Err(Error::Storage { .. })), "{failed:?}");
    assert!(repository.backend().list(FileKind::Lock).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn turns_together_read_every_pack_once() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    for n in 0..8 {
        back_up(&repository, "/tmp/resources", &some_files(n * 100, 3)).await;
    }
    let mut read = 0;
    for turn in 0..5 {
        let options = CheckOptions { read_data: ReadData::Turn { turn, turns: 5 }, ..STRUCTURE };
        let report = repository.check(&options, &CheckProgress::default()).await.unwrap();
        assert!(report.is_intact() && report.packs_read < report.packs);
        read += report.packs_read;
    }
    assert_eq!(read, 16);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_folder_is_a_finding() {
    for folder in ["data", "index", "keys", "snapshots"] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), Version::V2).await;
        back_up(&repository, "/tmp/resources", &some_files(0, 5)).await;
        std::fs::remove_dir_all(place.path().join(folder)).unwrap();
        let report = repository.check(&EVERYTHING, &CheckProgress::default()).await.unwrap();
        let finding = &report.findings[0];
        assert_eq!(
            (finding.object.to_string().as_str(), &finding.reasons[0][..]),
            (folder, "it is missing"),
            "{report:?}"
        );
    }
}
