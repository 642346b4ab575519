//! kill -9 at every step: before, in the middle of, and after every change that an operation makes to the storage.
//!
//! 1. A test starts itself anew as a child that runs one operation on a storage which kills its process with SIGKILL at one given
//!    point. The parent tries one point after another until the operation comes to its end.
//! 2. After each kill, and without any manual step: every snapshot that is to be kept restores byte for byte, by this engine and by
//!    restic; restic reads everything and finds no error; the same operation simply runs again and finishes; afterwards restic finds
//!    no error either, and every snapshot restores.
//! 3. Each point begins with a fresh copy of the same repository.
//!
//! A new operation is one more [`Scenario`].

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use repository::{Backend, BackendError, File, FileKind, Listed, PruneOptions, Put, Repository, Version};

use crate::prune::{change, open, restore};
use crate::support::*;

const PLACE_VARIABLE: &str = "FAILURE_POINTS_PLACE";
const POINT_VARIABLE: &str = "FAILURE_POINTS_POINT";

/// Where the snapshots say that their files lie.
const ROOT: &str = "/tmp/resources";

/// More points than any of these operations has: one that never ends is a failure too.
const POINTS_MAX: usize = 400;

/// An operation that is killed.
struct Scenario {
    /// The test's full name, by which it starts itself.
    test: &'static str,
    version: Version,
    /// So many points it has at least.
    points_min: usize,
    /// Makes the repository; returns what its snapshots hold, those that must survive whatever happens.
    prepare: fn(&Repository, &Path) -> Vec<Files>,
    /// The operation.
    operate: fn(&Repository),
    /// Looks at the repository after the operation was finished.
    finished: fn(&Repository, &Path),
}

/// When a change kills: each has three points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    Midway,
    After,
}

/// A folder that kills its process at one point.
#[derive(Debug)]
struct Deadly {
    folder: Arc<dyn Backend>,
    root: PathBuf,
    points_left: AtomicUsize,
}

impl Deadly {
    /// Comes to the next point. At the one that is meant the process ends, and nothing more is changed until then.
    async fn pass(&self, when: When, file: File, content: Option<&Bytes>) {
        let one_less = |left: usize| left.checked_sub(1);
        let left = self.points_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less);
        match left {
            Ok(1) => {
                if let (When::Midway, Some(content)) = (when, content) {
                    self.leave_half(file, content);
                }
                Command::new("kill").arg("-KILL").arg(std::process::id().to_string()).status().unwrap();
                std::future::pending().await
            }
            Ok(_) => {}
            // The process is being killed: whatever else was under way does not get further.
            Err(_) => std::future::pending().await,
        }
    }

    /// What a kill in the middle of a write leaves: a part of the file under a temporary name.
    fn leave_half(&self, file: File, content: &[u8]) {
        let path = self.root.join(format!("{file}-tmp-0123456789abcdef"));
        std::fs::write(path, &content[..content.len() / 2]).unwrap();
    }
}

#[async_trait::async_trait]
impl Backend for Deadly {
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
        self.pass(When::Before, file, None).await;
        self.pass(When::Midway, file, Some(&content)).await;
        let put = self.folder.put(file, content).await;
        self.pass(When::After, file, None).await;
        put
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
        self.pass(When::Before, file, None).await;
        let deleted = self.folder.delete(file).await;
        self.pass(When::After, file, None).await;
        deleted
    }
}

/// Waits for a future on the runtime of the test.
fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(future))
}

impl Scenario {
    async fn run(self) {
        match (std::env::var(PLACE_VARIABLE), std::env::var(POINT_VARIABLE)) {
            (Ok(place), Ok(point)) => self.be_killed(Path::new(&place), point.parse().unwrap()).await,
            _ => self.survive_all().await,
        }
    }

    /// The child.
    async fn be_killed(self, place: &Path, point: usize) {
        let deadly = Deadly { folder: local(place), root: place.to_owned(), points_left: point.into() };
        let repository = Repository::open(Arc::new(deadly), &password()).await.unwrap();
        (self.operate)(&repository);
    }

    /// The parent.
    async fn survive_all(self) {
        let folder = tempfile::tempdir().unwrap();
        let original = folder.path().join("original");
        let repository = new_repository(&original, self.version).await;
        let kept = (self.prepare)(&repository, &original);
        let sources: Vec<PathBuf> = (0..kept.len()).map(|n| folder.path().join(format!("source-{n}"))).collect();
        sources.iter().zip(&kept).for_each(|(source, files)| write_files(source, files));
        for point in 1.. {
            assert!(point <= POINTS_MAX, "the operation does not end");
            let place = folder.path().join(format!("killed-at-{point}"));
            assert!(Command::new("cp").arg("-r").args([&original, &place]).status().unwrap().success());
            if self.child_ends(&place, point) {
                assert!(point > self.points_min, "killed at {} points only", point - 1);
                return;
            }
            self.assert_survived(&place, &sources, point).await;
            std::fs::remove_dir_all(place).unwrap();
        }
    }

    /// Runs the child; whether it came to its end.
    fn child_ends(&self, place: &Path, point: usize) -> bool {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", self.test, "--nocapture"]).env(PLACE_VARIABLE, place);
        let output = child.env(POINT_VARIABLE, point.to_string()).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        let ended = output.status.success() && text.contains("1 passed");
        assert!(ended || output.status.signal() == Some(9), "at point {point}: {text}");
        ended
    }

    async fn assert_survived(&self, place: &Path, sources: &[PathBuf], point: usize) {
        let restic = Restic::new(if self.version == Version::V1 { OLD_RESTIC } else { NEW_RESTIC }, place.display());
        self.assert_whole(place, sources, &restic, point).await;
        for (snapshot, source) in open(place).await.snapshots().await.unwrap().iter().zip(sources) {
            let target = tempfile::tempdir().unwrap();
            let id = snapshot.id.to_string();
            restic.run(&["restore", &id, "--no-lock", "--target", target.path().to_str().unwrap()]);
            assert_same_files(source, &target.path().join(ROOT.trim_start_matches('/')));
        }
        (self.operate)(&open(place).await);
        self.assert_whole(place, sources, &restic, point).await;
        (self.finished)(&open(place).await, place);
    }

    /// restic takes no lock here: it leaves removing the lock of a killed process to its user, and this engine does not.
    async fn assert_whole(&self, place: &Path, sources: &[PathBuf], restic: &Restic, point: usize) {
        let said = restic.run(&["check", "--read-data", "--no-lock"]);
        assert!(said.contains("no errors were found"), "after a kill at point {point}: {said}");
        let repository = open(place).await;
        let snapshots = repository.snapshots().await.unwrap();
        assert!(snapshots.len() >= sources.len(), "a snapshot is gone after a kill at point {point}");
        for (snapshot, source) in snapshots.iter().zip(sources) {
            let target = tempfile::tempdir().unwrap();
            restore(&repository, snapshot, target.path()).await;
            assert_same_files(source, &target.path().join(ROOT.trim_start_matches('/')));
        }
    }
}

/// Few files, of which some are larger than a chunk, so that a repository is copied in no time.
fn few_files() -> Files {
    let mut files = Files::new();
    for n in 0..40 {
        let bytes = if n % 10 == 0 { 40_000 } else { 1500 };
        files.insert(format!("ns-{}/object-{n}.yaml", n % 3), (Random(n as u64 + 7).manifest(n, bytes), time(n)));
    }
    files
}

/// A folder that never changes: its tree lies beside trees that go.
fn steady_files() -> Files {
    (0..5).map(|n| (format!("steady/object-{n}.yaml"), (Random(n).manifest(0, 900), time(0)))).collect()
}

fn generations(count: usize) -> Vec<Files> {
    let mut generations = vec![few_files().into_iter().chain(steady_files()).collect::<Files>()];
    for generation in 1..count {
        let mut files = generations[generation - 1].clone();
        change(&mut files, generation);
        files.extend(steady_files());
        generations.push(files);
    }
    generations
}

fn back_up_generations(repository: &Repository, count: usize) -> Vec<Files> {
    let generations = generations(count);
    for files in &generations {
        wait(back_up(repository, ROOT, files));
    }
    generations
}

fn has_no_lock(repository: &Repository) {
    assert!(wait(repository.backend().list(FileKind::Lock)).unwrap().is_empty(), "no lock is left");
}

fn backup(test: &'static str, version: Version) -> Scenario {
    Scenario {
        test,
        version,
        // Five files are written, and the lock is deleted.
        points_min: 5 * 3 + 2,
        prepare: |repository, _| back_up_generations(repository, 1),
        operate: |repository| drop(wait(back_up(repository, ROOT, &generations(2)[1]))),
        finished: |repository, place| {
            has_no_lock(repository);
            let target = tempfile::tempdir().unwrap();
            let latest = wait(repository.snapshots()).unwrap().pop().unwrap();
            wait(restore(repository, &latest, target.path()));
            let source = place.with_file_name("source-of-the-backup");
            write_files(&source, &generations(2)[1]);
            assert_same_files(&source, &target.path().join(ROOT.trim_start_matches('/')));
        },
    }
}

fn prune(test: &'static str, version: Version) -> Scenario {
    Scenario {
        test,
        version,
        // The lock, two packs and an index are written; five index files, at least four packs, and the lock are deleted.
        points_min: 4 * 3 + 10 * 2,
        prepare: |repository, _| {
            let mut generations = back_up_generations(repository, 5);
            let first_two: Vec<_> = wait(repository.snapshots()).unwrap().into_iter().take(2).collect();
            for snapshot in first_two {
                wait(repository.backend().delete(File::Named(FileKind::Snapshot, snapshot.id))).unwrap();
            }
            generations.split_off(2)
        },
        operate: |repository| {
            let pruned = wait(crate::prune::prune(repository, &PruneOptions::default())).unwrap();
            assert_eq!(pruned.snapshots, 3);
        },
        finished: |repository, place| {
            has_no_lock(repository);
            let pruned = wait(crate::prune::prune(repository, &PruneOptions::default())).unwrap();
            assert_eq!((pruned.bytes_deleted, pruned.bytes_unused_after), (0, 0), "{pruned:?}");
            crate::prune::finds_nothing_to_do(&Restic::new(NEW_RESTIC, place.display()));
        },
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_killed_anywhere_loses_nothing_and_the_next_one_finishes() {
    backup("failure_points::a_backup_killed_anywhere_loses_nothing_and_the_next_one_finishes", Version::V2).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_killed_anywhere_loses_nothing_and_the_next_one_finishes() {
    prune("failure_points::a_prune_killed_anywhere_loses_nothing_and_the_next_one_finishes", Version::V2).run().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_of_format_1_killed_anywhere_loses_nothing_and_the_next_one_finishes() {
    let test = "failure_points::a_prune_of_format_1_killed_anywhere_loses_nothing_and_the_next_one_finishes";
    prune(test, Version::V1).run().await;
}
