//! What a backup promises: the same tree for the same files, counts by content, groups, and nothing without a finish.

use std::path::Path;

use repository::{
    Added, Error, FileKind, FinishOptions, NewFile, Repository, RestoreOptions, RestoreProgress, SnapshotFilter,
    Version,
};

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_same_files_make_the_same_tree_in_any_order_on_any_number_of_threads() {
    let files = corpus(2000, 5);
    let place = tempfile::tempdir().unwrap();
    // One repository, as each has its own chunk borders.
    let repository = new_repository(place.path(), Version::V2).await;
    let mut trees = Vec::new();
    for (threads, reverse) in [(1, false), (3, false), (2, true)] {
        let backup = repository.backup(options("/tmp/resources")).await.unwrap();
        tokio::task::block_in_place(|| match reverse {
            false => add_all(&backup, &files, threads),
            true => {
                let mut worker = backup.worker().unwrap();
                for (n, (path, (content, modified))) in files.iter().rev().enumerate() {
                    worker.add(NewFile { group: n as u32 % 5, path, modified: *modified }, content).unwrap();
                }
            }
        });
        trees.push(backup.finish(FinishOptions::default()).await.unwrap().snapshot.tree);
    }
    assert!(trees.iter().all(|tree| *tree == trees[0]), "{trees:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_backup_stores_nothing_but_its_snapshot() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let files = corpus(1000, 6);
    let first = back_up(&repository, "/tmp/resources", &files).await;
    let before = repository_files(place.path());
    let second = back_up(&repository, "/tmp/resources", &files).await;
    assert_eq!(second.snapshot.tree, first.snapshot.tree);
    let counts = &second.counts;
    assert_eq!((counts.files_unmodified, counts.files_new, counts.files_changed), (files.len() as u64, 0, 0));
    assert_eq!((counts.dirs_unmodified, counts.dirs_new, counts.dirs_changed), (first.counts.dirs_new, 0, 0));
    assert_eq!((counts.data_blobs, counts.tree_blobs, counts.data_added), (0, 0, 0));
    assert_eq!(repository_files(place.path()).len(), before.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_changed_and_unmodified_are_counted_by_content() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let mut files = corpus(1000, 7);
    back_up(&repository, "/tmp/resources", &files).await;
    let total = files.len() as u64;
    files.get_mut("top.yaml").unwrap().0.push(b'\n');
    files.get_mut("large.bin").unwrap().0[6_000_000] ^= 1;
    files.get_mut("a.b/c").unwrap().1 = time(99); // another time, the same content
    files.insert("brand/new.yaml".into(), (b"new\n".to_vec(), time(1)));
    files.remove("a-b/c");
    let counts = back_up(&repository, "/tmp/resources", &files).await.counts;
    assert_eq!((counts.files_new, counts.files_changed, counts.files_unmodified), (1, 2, total - 3));
    // "brand"; "/tmp", "/tmp/resources" and "a.b".
    assert_eq!((counts.dirs_new, counts.dirs_changed), (1, 3));
    assert!(counts.data_added < 10 << 20, "only the changed chunk of the large file is stored");
    let other_host = repository::BackupOptions { host: "other".into(), ..options("/tmp/resources") };
    let backup = repository.backup(other_host).await.unwrap();
    assert!(backup.parent().is_none());
    backup.abort().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_group_leaves_no_file_and_can_be_filled_again() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let backup = repository.backup(options("/r")).await.unwrap();
    let mut worker = backup.worker().unwrap();
    let mut add = |group, path, content: &str| {
        worker.add(NewFile { group, path, modified: time(0) }, content.as_bytes()).unwrap()
    };
    assert!(matches!(add(1, "kept", "one"), Added::New { stored_bytes: 35.. }));
    add(2, "listed-again", "old");
    add(2, "gone", "old");
    assert_eq!((backup.progress().files, backup.progress().bytes), (3, 9));
    backup.discard(2);
    backup.discard(3);
    assert_eq!((backup.progress().files, backup.progress().bytes), (1, 3));
    add(2, "listed-again", "new");
    assert_eq!(add(2, "same", "one"), Added::Known);
    let summary = backup.finish(FinishOptions { tags: vec!["partial".into()] }).await.unwrap();
    assert_eq!(summary.counts.total_files_processed, 3);
    assert_eq!(summary.snapshot.tags, ["partial"]);
    let paths: Vec<_> = repository.list(&summary.snapshot, "/r").await.unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["/r", "/r/kept", "/r/listed-again", "/r/same"]);
    assert_eq!(repository.read_file(&summary.snapshot, "/r/listed-again").await.unwrap(), b"new");
    assert!(matches!(repository.read_file(&summary.snapshot, "/r").await, Err(Error::PathNotFound { .. })));
    assert!(matches!(repository.list(&summary.snapshot, "/x").await, Err(Error::PathNotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_comes_twice_is_an_error_and_makes_no_snapshot() {
    for (first, second) in [("a/b", "a/b"), ("a", "a/b"), ("x/a", "x/a/b/c")] {
        let place = tempfile::tempdir().unwrap();
        let repository = new_repository(place.path(), Version::V2).await;
        let backup = repository.backup(options("/r")).await.unwrap();
        let mut worker = backup.worker().unwrap();
        for (group, path) in [(1, first), (2, second)] {
            worker.add(NewFile { group, path, modified: time(0) }, path.as_bytes()).unwrap();
        }
        let refused = backup.finish(FinishOptions::default()).await.unwrap_err();
        assert!(matches!(&refused, Error::DuplicatePath { path } if path == first), "{refused}");
        assert!(repository.snapshots().await.unwrap().is_empty());
        assert!(matches!(worker.add(NewFile { group: 0, path: "late", modified: time(0) }, b""), Err(Error::Ended)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_that_was_discarded_is_none() {
    let place = tempfile::tempdir().unwrap();
    let backup = new_repository(place.path(), Version::V2).await.backup(options("/r")).await.unwrap();
    let mut worker = backup.worker().unwrap();
    for group in [1, 2] {
        worker.add(NewFile { group, path: "a/b", modified: time(0) }, b"x").unwrap();
    }
    backup.discard(1);
    assert_eq!(backup.finish(FinishOptions::default()).await.unwrap().counts.total_files_processed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_nothing_is_an_empty_folder() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let summary = back_up(&repository, "/tmp/resources", &Files::new()).await;
    let paths: Vec<_> = repository.list(&summary.snapshot, "/").await.unwrap().into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["/tmp", "/tmp/resources"]);
    Restic::new(NEW_RESTIC, place.path().display()).check();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_new_content_from_many_threads_is_stored_once() {
    let place = tempfile::tempdir().unwrap();
    let backup = new_repository(place.path(), Version::V2).await.backup(options("/r")).await.unwrap();
    let content = Random(1).noise(3 << 20);
    tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (mut worker, content) = (backup.worker().unwrap(), &content);
                scope.spawn(move || {
                    let path = format!("copy-{thread}");
                    worker.add(NewFile { group: 0, path: &path, modified: time(0) }, content).unwrap();
                });
            }
        });
    });
    let counts = backup.finish(FinishOptions::default()).await.unwrap().counts;
    assert_eq!(counts.total_bytes_processed, 8 * content.len() as u64);
    assert!(counts.data_added < content.len() as u64 + 100_000, "{}", counts.data_added);
}

/// The lock goes, no snapshot appears, restic finds nothing wrong, and the next backup uses what was stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_cut_off_leaves_a_clean_repository() {
    let place = tempfile::tempdir().unwrap();
    let repository = new_repository(place.path(), Version::V2).await;
    let kept = corpus(100, 8);
    back_up(&repository, "/tmp/resources", &kept).await;
    let backup = repository.backup(options("/tmp/resources")).await.unwrap();
    tokio::task::block_in_place(|| add_all(&backup, &corpus(3000, 9), 2));
    drop(backup);
    wait_for(|| async { repository.backend().list(FileKind::Lock).await.unwrap().is_empty() }).await;
    assert_eq!(repository.snapshots().await.unwrap().len(), 1);
    Restic::new(NEW_RESTIC, place.path().display()).check();
    let reopened = Repository::open(local(place.path()), &password()).await.unwrap();
    back_up(&reopened, "/tmp/resources", &kept).await;
}

async fn wait_for<F: Future<Output = bool>>(condition: impl Fn() -> F) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition().await {
        assert!(std::time::Instant::now() < deadline, "waited for 30 s");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_is_restored_without_the_folders_above_it() {
    let (place, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = new_repository(place.path(), Version::V1).await;
    let files = corpus(300, 10);
    let snapshot = back_up(&repository, "/tmp/resources", &files).await.snapshot;
    assert_eq!(repository.resolve("latest", &SnapshotFilter::default()).await.unwrap(), snapshot);
    let part = RestoreOptions {
        path: "/tmp/resources/namespaces/ns-1".into(),
        base: "/tmp/resources/namespaces".into(),
        ..RestoreOptions::default()
    };
    let restored = repository
        .restore(&snapshot, &|path| !path.ends_with("object-1.yaml"), &part, target.path(), &RestoreProgress::default())
        .await
        .unwrap();
    let wanted: Vec<_> = files
        .iter()
        .filter_map(|(path, file)| Some((path.strip_prefix("namespaces/")?, file)))
        .filter(|(path, _)| path.starts_with("ns-1/") && !path.ends_with("object-1.yaml"))
        .collect();
    assert_eq!(restored.files, wanted.len() as u64);
    for (path, (content, _)) in &wanted {
        assert!(std::fs::read(target.path().join(path)).unwrap() == *content, "{path}");
    }
    assert_eq!(repository_files(target.path()).len(), wanted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_replaces_links_instead_of_following_them() {
    let (place, target, outside) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let repository = new_repository(place.path(), Version::V2).await;
    let files = Files::from([
        ("d/f".to_owned(), (b"restored".to_vec(), time(0))),
        ("g".to_owned(), (b"too".to_vec(), time(0))),
    ]);
    let snapshot = back_up(&repository, "/r", &files).await.snapshot;
    std::fs::write(outside.path().join("f"), "untouched").unwrap();
    std::fs::create_dir(target.path().join("r")).unwrap();
    std::os::unix::fs::symlink(outside.path(), target.path().join("r/d")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("f"), target.path().join("r/g")).unwrap();
    let progress = RestoreProgress::default();
    let options = RestoreOptions::default();
    let restored = repository.restore(&snapshot, &|_| true, &options, target.path(), &progress).await.unwrap();
    assert!(restored.is_complete());
    assert_eq!((progress.files(), progress.bytes()), (2, 11));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    assert_eq!(read(&outside.path().join("f")), "untouched");
    assert_eq!(
        (read(&target.path().join("r/d/f")), read(&target.path().join("r/g"))),
        ("restored".into(), "too".into())
    );
}
