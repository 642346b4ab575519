//! Prune, judged by restic: what is kept is whole, what goes is what restic lets go, and refusals remove nothing.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use repository::{
    Backend, BackendError, Error, File, FileKind, FinishOptions, Listed, MaxUnused, PruneOptions, PruneProgress,
    PruneStep, PruneSummary, Put, Repository, RestoreOptions, RestoreProgress, Snapshot, Version,
};

use crate::support::*;

pub(crate) async fn prune(repository: &Repository, options: &PruneOptions) -> Result<PruneSummary, Error> {
    let progress = PruneProgress::default();
    let pruned = repository.prune(options, &progress).await;
    assert_eq!(pruned.is_ok(), progress.step() == PruneStep::Done);
    pruned
}

pub(crate) async fn open(folder: &Path) -> Repository {
    Repository::open(local(folder), &password()).await.unwrap()
}

/// One more generation of the same files: of ten one has changed, a few are new, a few are gone.
pub(crate) fn change(files: &mut Files, generation: usize) {
    let mut random = Random(generation as u64 + 100);
    let paths: Vec<String> = files.keys().cloned().collect();
    for (n, path) in paths.into_iter().enumerate() {
        match (n + generation) % 30 {
            0 => drop(files.remove(&path)),
            1 => drop(files.insert(format!("new/{generation}/{n}.yaml"), (random.manifest(n, 1500), time(n)))),
            2..=4 => drop(files.insert(path, (random.manifest(n, 2000), time(n + generation)))),
            _ => {}
        }
    }
}

/// Four generations in a new repository, of which restic then forgets the first two.
async fn history(folder: &Path, root: &str, restic: &Restic, version: Version) -> Vec<Files> {
    let repository = new_repository(folder, version).await;
    let mut generations = vec![corpus(2000, 40)];
    for generation in 1..4 {
        let mut files = generations[generation - 1].clone();
        change(&mut files, generation);
        generations.push(files);
    }
    let mut ids = Vec::new();
    for files in &generations {
        ids.push(back_up(&repository, root, files).await.snapshot.id.to_string());
    }
    restic.run(&["forget", &ids[0], &ids[1]]);
    generations.split_off(2)
}

fn copy_of(folder: &Path, name: &str) -> std::path::PathBuf {
    let copy = folder.with_file_name(name);
    assert!(Command::new("cp").arg("-r").arg(folder).arg(&copy).status().unwrap().success());
    copy
}

fn pack_bytes(folder: &Path) -> u64 {
    let packs = repository_files(folder).into_iter().filter(|file| file.starts_with("data/"));
    packs.map(|file| std::fs::metadata(folder.join(file)).unwrap().len()).sum()
}

/// Every snapshot restores to its files, by restic and by this engine, and restic finds nothing wrong.
async fn assert_whole(folder: &Path, root: &str, restic: &Restic, generations: &[Files]) {
    restic.check();
    let repository = open(folder).await;
    let snapshots = repository.snapshots().await.unwrap();
    assert_eq!(snapshots.len(), generations.len());
    for (snapshot, files) in snapshots.iter().zip(generations) {
        let target = tempfile::tempdir().unwrap();
        let (source, theirs, ours) =
            (target.path().join("source"), target.path().join("theirs"), target.path().join("ours"));
        write_files(&source, files);
        restic.run(&["restore", &snapshot.id.to_string(), "--target", theirs.to_str().unwrap()]);
        restore(&repository, snapshot, &ours).await;
        for restored in [theirs, ours] {
            assert_same_files(&source, &restored.join(root.trim_start_matches('/')));
        }
    }
}

pub(crate) async fn restore(repository: &Repository, snapshot: &Snapshot, target: &Path) {
    let progress = RestoreProgress::default();
    let restored =
        repository.restore(snapshot, &|_| true, &RestoreOptions::default(), target, &progress).await.unwrap();
    assert!(restored.is_complete(), "{restored:?}");
}

pub(crate) fn finds_nothing_to_do(restic: &Restic) {
    let said = restic.run(&["prune", "--dry-run"]);
    for nothing in ["to repack:             0 blobs", "to delete:             0 blobs"] {
        assert!(said.contains(nothing), "{said}");
    }
}

async fn what_is_kept_stays_whole(program: &str, version: Version) {
    let folder = tempfile::tempdir().unwrap();
    let (place, root) = (folder.path().join("ours"), "/tmp/resources");
    let restic = Restic::new(program, place.display());
    let kept = history(&place, root, &restic, version).await;
    let theirs = copy_of(&place, "theirs");
    Restic::new(program, theirs.display()).run(&["prune"]);

    let repository = open(&place).await;
    let before = pack_bytes(&place);
    let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
    let (ours, theirs) = (pack_bytes(&place), pack_bytes(&theirs));
    assert_eq!((summary.snapshots, summary.bytes_before), (2, before));
    assert!(summary.packs_repacked > 0 && ours < before, "{summary:?}");
    assert!(summary.bytes_unused_after <= ours / 20, "{summary:?}");
    assert!(ours.abs_diff(theirs) <= theirs / 20, "{ours} bytes by us, {theirs} by restic, {before} before");
    assert_eq!(summary.bytes_before - summary.bytes_deleted + written(&summary, ours), ours, "{summary:?}");
    assert_whole(&place, root, &restic, &kept).await;
    finds_nothing_to_do(&restic);

    let files = repository_files(&place);
    let again = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert_eq!((again.bytes_deleted, again.index_files_replaced, again.bytes_after), (0, 0, ours));
    assert_eq!(repository_files(&place), files, "the second prune finds nothing to do");
    let again = back_up(&repository, root, &kept[1]).await;
    assert_eq!((again.counts.data_blobs, again.counts.tree_blobs), (0, 0), "all is found where it is now");
}

/// Bytes of the new packs: what is there now and was not kept.
fn written(summary: &PruneSummary, after: u64) -> u64 {
    after - (summary.bytes_before - summary.bytes_deleted)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_restic_accepts_a_pruned_format_2() {
    what_is_kept_stays_whole(NEW_RESTIC, Version::V2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_restic_accepts_a_pruned_format_1() {
    what_is_kept_stays_whole(NEW_RESTIC, Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_restic_accepts_a_pruned_format_1() {
    what_is_kept_stays_whole(OLD_RESTIC, Version::V1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn we_use_and_prune_what_restic_wrote_and_pruned() {
    for (program, version) in [(NEW_RESTIC, "2"), (OLD_RESTIC, "1")] {
        let (place, source) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let restic = Restic::new(program, place.path().display());
        let init = ["init", "--repository-version", version];
        restic.run(if program == OLD_RESTIC { &init[..1] } else { &init });
        let (root, mut files) = (source.path().to_str().unwrap().to_owned(), corpus(600, 41));
        for generation in 1..4 {
            std::fs::remove_dir_all(source.path()).unwrap();
            write_files(source.path(), &files);
            restic.backup(&["--host", "host-0", &root]);
            change(&mut files, generation);
        }
        let kept = |restic: &Restic, count: &str| restic.run(&["forget", "--keep-last", count]);
        kept(&restic, "2");
        restic.run(&["prune"]);
        let repository = open(place.path()).await;
        back_up(&repository, &root, &files).await;
        kept(&restic, "1");
        let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
        assert!(summary.bytes_deleted > 0 && summary.packs_unindexed == 0, "{summary:?}");
        assert_whole(place.path(), &root, &restic, &[files]).await;
        finds_nothing_to_do(&restic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lay_plain_is_compressed_where_it_is_copied_after_an_upgrade_to_format_2() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    let restic = Restic::new(NEW_RESTIC, place.display());
    let kept = history(&place, "/r", &restic, Version::V1).await;
    restic.run(&["migrate", "upgrade_repo_v2"]);
    let repository = open(&place).await;
    assert_eq!(repository.version(), Version::V2);
    let thorough = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    let summary = prune(&repository, &thorough).await.unwrap();
    let after = pack_bytes(&place);
    assert!(after + after / 20 < summary.bytes_after, "{after} bytes instead of those of {summary:?}");
    assert_whole(&place, "/r", &restic, &kept).await;
    finds_nothing_to_do(&restic);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_remains_when_nothing_is_kept() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    back_up(&repository, "/r", &corpus(50, 42)).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    restic.run(&["forget", "latest"]);
    let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert_eq!((summary.packs_unused, summary.packs_kept, summary.bytes_after), (2, 0, 0), "{summary:?}");
    let left = repository_files(place.path());
    assert!(left.iter().all(|file| file == "config" || file.starts_with("keys/")), "{left:?}");
    restic.check();
    back_up(&repository, "/r", &corpus(50, 42)).await;
    restic.check();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_go_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    history(&place, "/r", &Restic::new(NEW_RESTIC, place.display()), Version::V2).await;
    let (repository, files) = (open(&place).await, repository_files(&place));
    let dry_run = PruneOptions { dry_run: true, ..PruneOptions::default() };
    let backup = repository.backup(options("/r")).await.unwrap();
    let said = prune(&repository, &dry_run).await.unwrap();
    backup.abort().await.unwrap();
    assert_eq!(repository_files(&place), files);
    let done = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert_eq!(PruneSummary { bytes_after: done.bytes_after, ..said }, done);
    assert!(said.bytes_after.abs_diff(pack_bytes(&place)) < 1000, "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_say_how_much_may_be_copied_and_how_much_may_stay() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    let restic = Restic::new(NEW_RESTIC, place.display());
    let kept = history(&place, "/r", &restic, Version::V2).await;
    let repository = open(&place).await;
    let copy_nothing = PruneOptions { max_repack_bytes: Some(0), ..PruneOptions::default() };
    let summary = prune(&repository, &copy_nothing).await.unwrap();
    assert_eq!((summary.packs_repacked, summary.bytes_copied), (0, 0), "{summary:?}");
    let spared = PruneOptions { max_unused: MaxUnused::Unlimited, ..PruneOptions::default() };
    let summary = prune(&repository, &spared).await.unwrap();
    assert!(summary.bytes_unused_after > 0, "{summary:?}");
    let thorough = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
    let summary = prune(&repository, &thorough).await.unwrap();
    assert_eq!(summary.bytes_unused_after, 0);
    assert_whole(&place, "/r", &restic, &kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_packs_become_few() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let mut files = Files::new();
    for n in 0..8 {
        files.insert(format!("f{n}"), (Random(n).manifest(n as usize, 3000), time(n as usize)));
        back_up(&repository, "/r", &files).await;
    }
    let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert_eq!((summary.packs_before, summary.packs_repacked, summary.index_files_before), (16, 16, 8), "{summary:?}");
    let listed = |folder| repository_files_of(place.path(), folder);
    assert_eq!((listed("data/"), listed("index/")), (2, 1));
    Restic::new(NEW_RESTIC, place.path().display()).check();
}

fn repository_files_of(root: &Path, folder: &str) -> usize {
    repository_files(root).iter().filter(|file| file.starts_with(folder)).count()
}

/// Two backups at once store the same blobs, as neither knows of the other's; a killed one leaves packs that no index names.
#[tokio::test(flavor = "multi_thread")]
async fn doubles_and_what_a_killed_backup_left_are_removed() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let files: Files = (0..40).map(|n| (format!("f{n}"), (Random(n).noise(1 << 20), time(0)))).collect();
    let backups = [repository.backup(options("/r")).await.unwrap(), repository.backup(options("/r")).await.unwrap()];
    for backup in backups {
        // One thread each: both fill their packs with the same blobs.
        tokio::task::block_in_place(|| add_all(&backup, &files, 1));
        backup.finish(FinishOptions::default()).await.unwrap();
    }
    let once = pack_bytes(place.path()) / 2;
    let killed = repository.backup(options("/r")).await.unwrap();
    let more: Files = (0..40).map(|n| (format!("f{n}"), (Random(n + 99).noise(1 << 20), time(0)))).collect();
    tokio::task::block_in_place(|| add_all(&killed, &more, 2));
    let packs = || repository_files_of(place.path(), "data/");
    let before = packs();
    testkit::wait_for(Duration::from_secs(30), || async { packs() > before || killed.progress().packs > 0 }).await;
    drop(killed);
    let locks = || async { repository.backend().list(FileKind::Lock).await.unwrap().is_empty() };
    testkit::wait_for(Duration::from_secs(30), locks).await;
    let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert!(summary.packs_unindexed > 0 && summary.packs_unused > 0, "{summary:?}");
    assert!(pack_bytes(place.path()) <= once + once / 20, "{summary:?}");
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    finds_nothing_to_do(&restic);
    assert_whole(place.path(), "/r", &restic, &[files.clone(), files]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_pack_that_is_needed_makes_it_refuse_and_one_that_is_not_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    let repository = new_repository(&place, Version::V2).await;
    let restic = Restic::new(NEW_RESTIC, place.display());
    let files = |seed| Files::from([("d/f".to_owned(), (Random(seed).noise(100_000), time(0)))]);
    let packs = || repository_files(&place).into_iter().filter(|file| file.starts_with("data/")).collect::<Vec<_>>();
    let first = back_up(&repository, "/r", &files(1)).await.snapshot;
    let of_first = packs();
    let second = back_up(&repository, "/r", &files(2)).await.snapshot;
    for (missing, truncated) in [(0, false), (1, false), (0, true), (1, true)] {
        let pack = place.join(&of_first[missing]);
        let content = std::fs::read(&pack).unwrap();
        std::fs::remove_file(&pack).unwrap();
        if truncated {
            std::fs::write(&pack, &content[..content.len() - 1]).unwrap();
        }
        let before = repository_files(&place);
        let refused = prune(&repository, &PruneOptions::default()).await.unwrap_err();
        assert!(matches!(&refused, Error::Incomplete { snapshots, .. } if *snapshots == [first.id]), "{refused}");
        assert!(refused.to_string().contains(&first.id.to_string()[..8]), "{refused}");
        assert_eq!(repository_files(&place), before);
        std::fs::remove_file(&pack).unwrap_or_default();
        std::fs::write(&pack, &content).unwrap();
    }
    restic.run(&["forget", &first.id.to_string()]);
    for pack in of_first {
        std::fs::remove_file(place.join(pack)).unwrap();
    }
    let summary = prune(&repository, &PruneOptions::default()).await.unwrap();
    assert_eq!((summary.packs_missing, summary.packs_kept), (2, 2), "{summary:?}");
    assert_whole(&place, "/r", &restic, &[files(2)]).await;
    assert_eq!(repository.snapshots().await.unwrap()[0].id, second.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_snapshot_or_index_or_blob_removes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    history(&place, "/r", &Restic::new(NEW_RESTIC, place.display()), Version::V2).await;
    let repository = open(&place).await;
    for kind in ["snapshots/", "index/", "data/"] {
        let files = repository_files(&place);
        let file = files.iter().filter(|file| file.starts_with(kind));
        let file = file.max_by_key(|file| std::fs::metadata(place.join(file)).unwrap().len()).unwrap();
        let path = place.join(file);
        let content = std::fs::read(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut damaged = content.clone();
        // Everywhere, so that a blob that is needed is hit.
        damaged.iter_mut().step_by(50).for_each(|byte| *byte ^= 1);
        std::fs::write(&path, damaged).unwrap();
        let thorough = PruneOptions { max_unused: MaxUnused::Bytes(0), ..PruneOptions::default() };
        let refused = prune(&repository, &thorough).await.unwrap_err();
        assert!(matches!(&refused, Error::Damaged { file: named, .. } if named == file), "{refused}");
        let left = repository_files(&place);
        assert!(files.iter().all(|file| left.contains(file)), "something was removed");
        std::fs::write(&path, content).unwrap();
    }
    prune(&repository, &PruneOptions::default()).await.unwrap();
    Restic::new(NEW_RESTIC, place.display()).check();
}

/// restic backs up from its standard input, which stays open, so that it holds its lock as long as the test needs.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_backup_is_waited_for_and_named_when_it_takes_too_long() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let restic = Restic::new(NEW_RESTIC, place.path().display());
    let mut command = restic.command(&["backup", "--stdin"]);
    let mut backup = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let locked = || async { !repository.backend().list(FileKind::Lock).await.unwrap().is_empty() };
    testkit::wait_for(Duration::from_secs(30), locked).await;
    assert!(Command::new("kill").arg("-STOP").arg(backup.id().to_string()).status().unwrap().success());
    let short = PruneOptions { lock_wait: Duration::from_millis(700), ..PruneOptions::default() };
    match prune(&repository, &short).await {
        Err(Error::Locked { by }) => assert!(by.pid == backup.id() && !by.exclusive, "{by}"),
        other => panic!("{other:?}"),
    }
    let patient = PruneOptions { lock_wait: Duration::from_secs(120), ..PruneOptions::default() };
    let progress = Arc::new(PruneProgress::default());
    let waiting = tokio::spawn({
        let (repository, progress) = (repository.clone(), Arc::clone(&progress));
        async move { repository.prune(&patient, &progress).await }
    });
    assert!(Command::new("kill").arg("-CONT").arg(backup.id().to_string()).status().unwrap().success());
    assert!(!waiting.is_finished() && progress.step() == PruneStep::Locking);
    backup.stdin.take().unwrap().write_all(b"at last").unwrap();
    assert!(backup.wait().unwrap().success());
    assert_eq!(waiting.await.unwrap().unwrap().snapshots, 1);
    restic.check();
}

/// A folder where somebody removes all locks as soon as an index is written.
#[derive(Debug)]
struct Unlocking {
    folder: Arc<dyn Backend>,
}

#[async_trait::async_trait]
impl Backend for Unlocking {
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
        if matches!(file, File::Named(FileKind::Index, _)) {
            for lock in self.folder.list(FileKind::Lock).await? {
                self.folder.delete(File::Named(FileKind::Lock, lock.id)).await?;
            }
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
async fn a_prune_whose_lock_was_removed_deletes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("ours");
    let restic = Restic::new(NEW_RESTIC, place.display());
    let kept = history(&place, "/r", &restic, Version::V2).await;
    let before = repository_files(&place);
    let unlocking = Repository::open(Arc::new(Unlocking { folder: local(&place) }), &password()).await.unwrap();
    let refused = prune(&unlocking, &PruneOptions::default()).await.unwrap_err();
    assert!(matches!(refused, Error::LockLost { .. }), "{refused}");
    let left = repository_files(&place);
    assert!(before.iter().all(|file| left.contains(file)), "something was removed");
    restic.check();
    let summary = prune(&open(&place).await, &PruneOptions::default()).await.unwrap();
    assert!(summary.bytes_unused_after <= pack_bytes(&place) / 20, "{summary:?}");
    assert_whole(&place, "/r", &restic, &kept).await;
    finds_nothing_to_do(&restic);
}
