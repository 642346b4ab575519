//! A small repository with everything in it, and what must be true of it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use repository::{
    BackupOptions, CheckLock, CheckOptions, CheckProgress, CheckReport, Error, FinishOptions, Id, InitOptions,
    KdfParams, LocalBackend, NewFile, Password, ReadData, Repository, RestoreOptions, RestoreProgress, Snapshot,
    Version,
};
use tempfile::TempDir;

/// Bytes of a content that does not shrink, so that one pack is worth sampling.
const LARGE_BYTES: usize = 40_000;

/// How a damaged file harms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    /// Not at all: a removed snapshot or lock is one that somebody removed, an empty lock is one that is being written.
    None,
    /// Found by who reads the data.
    Data,
    /// Found by every check.
    Structure,
}

/// A repository with two snapshots that share nothing, a lock, and what the files were.
pub(crate) struct World {
    place: TempDir,
    repository: Repository,
    snapshots: Vec<(Snapshot, Files)>,
    /// Every file and its content.
    before: BTreeMap<PathBuf, Vec<u8>>,
    /// The packs that hold trees, which every check reads.
    tree_packs: Vec<PathBuf>,
}

type Files = BTreeMap<String, Vec<u8>>;

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..bytes).map(step).collect()
}

fn contents(seed: u64, large: usize) -> Files {
    let text =
        |n: u64| format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  seed: \"{seed}\"\n  n: \"{n}\"\n").into_bytes();
    let mut files: Files = (0..4).map(|n| (format!("d{}/f{n}", n % 2), text(n))).collect();
    files.insert("empty".into(), Vec::new());
    files.insert("noise".into(), noise(seed, large));
    files
}

async fn back_up(repository: &Repository, root: &str, files: &Files) -> Snapshot {
    let options = BackupOptions { root: root.into(), ..BackupOptions::default() };
    let backup = repository.backup(options).await.unwrap();
    tokio::task::block_in_place(|| {
        let mut worker = backup.worker().unwrap();
        for (path, content) in files {
            worker.add(NewFile { group: 0, path, modified: Timestamp::UNIX_EPOCH }, content).unwrap();
        }
    });
    backup.finish(FinishOptions::default()).await.unwrap().snapshot
}

fn memory_folder() -> TempDir {
    let shared_memory = Path::new("/dev/shm");
    let in_memory = if shared_memory.is_dir() { tempfile::tempdir_in(shared_memory) } else { tempfile::tempdir() };
    in_memory.or_else(|_| tempfile::tempdir()).unwrap()
}

impl World {
    pub(crate) async fn new(version: Version) -> Self {
        let place = memory_folder();
        let options = InitOptions { version, kdf: KdfParams { n: 2, r: 1, p: 1 } };
        let backend = Arc::new(LocalBackend::new(place.path()));
        let repository = Repository::init(backend, &Password::new("small"), options).await.unwrap();
        let mut snapshots = Vec::new();
        for (root, seed, large) in [("/one", 1, 200), ("/two", 2, LARGE_BYTES)] {
            let files = contents(seed, large);
            snapshots.push((back_up(&repository, root, &files).await, files));
        }
        let mut world = Self { place, repository, snapshots, before: BTreeMap::new(), tree_packs: Vec::new() };
        // The content of a lock that is held, left behind.
        let lock = world.repository.lock_shared().await.unwrap();
        let held = world.files().into_iter().find(|file| world.kind(file) == "locks").unwrap();
        let content = fs::read(&held).unwrap();
        lock.release().await.unwrap();
        fs::write(&held, content).unwrap();
        for file in world.files() {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            world.before.insert(file.clone(), fs::read(&file).unwrap());
        }
        world.tree_packs = world.find_tree_packs().await;
        assert_eq!(world.tree_packs.len(), 2);
        world
    }

    /// Without them a snapshot is lost as a whole.
    async fn find_tree_packs(&self) -> Vec<PathBuf> {
        let mut tree_packs = Vec::new();
        for pack in self.before.keys().filter(|file| self.kind(file) == "data") {
            self.put(pack, None);
            let report = self.check_structure().await.unwrap();
            if report.findings[0].hits.paths[0].path == "/" {
                tree_packs.push(pack.clone());
            }
            self.put(pack, Some(&self.before[pack]));
        }
        tree_packs
    }

    /// Whether the part of a pack before its header is what it was.
    fn has_same_blobs(&self, pack: &Path, now: &[u8]) -> bool {
        let before = &self.before[pack];
        let (rest, length) = before.split_last_chunk::<4>().unwrap();
        let blobs = rest.len() - usize::try_from(u32::from_le_bytes(*length)).unwrap();
        before[..blobs] == now[..blobs]
    }

    /// All files of the repository.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut open) = (Vec::new(), vec![self.place.path().to_owned()]);
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// A file's path below the repository.
    pub(crate) fn name(&self, file: &Path) -> String {
        file.strip_prefix(self.place.path()).unwrap().display().to_string()
    }

    /// The first part of a file's path: `data`, `keys`, …
    pub(crate) fn kind(&self, file: &Path) -> String {
        self.name(file).split('/').next().unwrap().to_owned()
    }

    pub(crate) fn put(&self, file: &Path, content: Option<&[u8]>) {
        match content {
            Some(content) => fs::write(file, content).unwrap(),
            None => fs::remove_file(file).unwrap(),
        }
    }

    /// What the damage that is done to a file right now must mean.
    pub(crate) fn harm(&self, file: &Path) -> Harm {
        let before = &self.before[file];
        let now = fs::read(file).ok();
        match (self.kind(file).as_str(), now) {
            ("snapshots" | "locks" | "keys", None) => Harm::None,
            ("locks", Some(now)) if now.is_empty() => Harm::None,
            ("data", Some(now)) if now.len() == before.len() => {
                let is_read_always = self.tree_packs.iter().any(|pack| pack == file);
                if is_read_always && !self.has_same_blobs(file, &now) { Harm::Structure } else { Harm::Data }
            }
            _ => Harm::Structure,
        }
    }

    /// By who has opened the repository before: nobody else could, with a damaged config or key.
    pub(crate) async fn check(&self) -> Result<CheckReport, Error> {
        self.check_with(ReadData::Everything).await
    }

    pub(crate) async fn check_structure(&self) -> Result<CheckReport, Error> {
        self.check_with(ReadData::Nothing).await
    }

    async fn check_with(&self, read_data: ReadData) -> Result<CheckReport, Error> {
        let options = CheckOptions { read_data, lock: CheckLock::None, ..CheckOptions::default() };
        self.repository.check(&options, &CheckProgress::default()).await
    }

    /// Restores both snapshots with a newly opened repository, and returns what is not as it must be.
    pub(crate) async fn restore_all(&self, report: &CheckReport) -> Vec<String> {
        let backend = Arc::new(LocalBackend::new(self.place.path()));
        let repository = match Repository::open(backend, &Password::new("small")).await {
            Ok(repository) => repository,
            Err(Error::Damaged { .. } | Error::NotFound { .. }) => return Vec::new(),
            Err(other) => return vec![format!("open: {other}")],
        };
        let mut wrong = Vec::new();
        for (snapshot, files) in &self.snapshots {
            wrong.extend(restore(&repository, snapshot, files, is_hit(report, snapshot.id)).await);
        }
        wrong
    }
}

fn is_hit(report: &CheckReport, snapshot: Id) -> bool {
    report.findings.iter().any(|finding| finding.hits.snapshots.contains(&snapshot))
}

async fn restore(repository: &Repository, snapshot: &Snapshot, files: &Files, is_hit: bool) -> Vec<String> {
    let target = memory_folder();
    let root = snapshot.paths[0].clone();
    let options = RestoreOptions { base: root.clone(), path: root, no_lock: true, ..RestoreOptions::default() };
    let progress = RestoreProgress::default();
    let damaged = match repository.restore(snapshot, &|_| true, &options, target.path(), &progress).await {
        Ok(restored) => restored.damaged,
        // The folder itself could not be found.
        Err(Error::Damaged { .. }) if is_hit => return Vec::new(),
        Err(other) => return vec![format!("{}: {other}", snapshot.paths[0])],
    };
    let mut wrong = Vec::new();
    if !is_hit && !damaged.is_empty() {
        wrong.push(format!("not hit, but {damaged:?}"));
    }
    for (path, content) in files {
        let full = format!("{}/{path}", snapshot.paths[0]);
        match fs::read(target.path().join(path)) {
            Ok(restored) if restored == *content => {}
            Ok(_) => wrong.push(format!("{full} has another content")),
            Err(_) if damaged.iter().any(|damaged| full.starts_with(&damaged.path)) => {}
            Err(error) => wrong.push(format!("{full}: {error}")),
        }
    }
    wrong
}

/// The most memory that this process ever had.
pub(crate) fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}
