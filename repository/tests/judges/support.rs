//! What the tests share: real programs, a corpus of files, and a backup of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use jiff::Timestamp;
use repository::{
    Backend, Backup, BackupOptions, FinishOptions, InitOptions, KdfParams, LocalBackend, NewFile, Password, Repository,
    Summary, Version,
};

pub(crate) const PASSWORD: &str = "correct horse";
pub(crate) const NEW_RESTIC: &str = "restic";
pub(crate) const OLD_RESTIC: &str = "restic-0.13";

/// scrypt at its cheapest: these tests are about everything else.
pub(crate) const CHEAP: KdfParams = KdfParams { n: 2, r: 1, p: 1 };

pub(crate) fn password() -> Password {
    Password::new(PASSWORD)
}

pub(crate) fn cheap(version: Version) -> InitOptions {
    InitOptions { version, kdf: CHEAP }
}

pub(crate) fn local(folder: &Path) -> Arc<dyn Backend> {
    Arc::new(LocalBackend::new(folder))
}

pub(crate) async fn new_repository(folder: &Path, version: Version) -> Repository {
    Repository::init(local(folder), &password(), cheap(version)).await.unwrap()
}

/// restic on one repository.
pub(crate) struct Restic {
    program: PathBuf,
    repository: String,
    variables: Vec<(String, String)>,
    options: Vec<String>,
    cache: tempfile::TempDir,
}

impl Restic {
    pub(crate) fn new(program_name: &str, repository: impl ToString) -> Self {
        let cache = tempfile::tempdir().unwrap();
        let (variables, options) = (Vec::new(), Vec::new());
        Self { program: testkit::tool(program_name), repository: repository.to_string(), variables, options, cache }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Adds an extended option, `azure.access-tier=Hot`.
    #[allow(dead_code, reason = "only storages have such")]
    pub(crate) fn with_option(mut self, option: &str) -> Self {
        self.options.push(format!("--option={option}"));
        self
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_CACHE_DIR", self.cache.path())
            .envs(self.variables.iter().cloned())
            .args(&self.options)
            .args(arguments);
        command
    }

    pub(crate) fn try_run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs restic, which must succeed; its standard output.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.try_run(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "restic {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.run(arguments)).unwrap()
    }

    /// A backup's summary.
    pub(crate) fn backup(&self, arguments: &[&str]) -> serde_json::Value {
        let output = self.run(&[&["backup", "--json"], arguments].concat());
        let summary = output.lines().find(|line| line.contains("\"message_type\":\"summary\"")).expect("a summary");
        serde_json::from_str(summary).unwrap()
    }

    pub(crate) fn check(&self) {
        let output = self.run(&["check", "--read-data"]);
        assert!(output.contains("no errors were found"), "{output}");
    }
}

/// Files by path below the root: content and time.
pub(crate) type Files = BTreeMap<String, (Vec<u8>, Timestamp)>;

/// Manifests of many sizes and names, the same for the same seed: some thousand small ones, some larger than a chunk, empty ones, and
/// names that need quoting.
pub(crate) fn corpus(files: usize, seed: u64) -> Files {
    let mut random = Random(seed);
    let mut corpus = Files::new();
    for n in 0..files {
        let size = match n % 500 {
            7 => 300_000,
            99 => 1_400_000,
            _ => 200 + random.below(4000) as usize,
        };
        let path = format!("namespaces/ns-{}/Kind{}/object-{n}.yaml", n % 7, n % 11);
        corpus.insert(path, (random.manifest(n, size), time(n)));
    }
    corpus.insert("top.yaml".into(), (b"top: true\n".to_vec(), time(1)));
    corpus.insert("empty.yaml".into(), (Vec::new(), time(2)));
    corpus.insert("ClusterRole/system:node \"x\" <&> \\ ü 日本.yaml".into(), (b"name: odd\n".to_vec(), time(3)));
    corpus.insert("ClusterRole/nbsp\u{a0}zw\u{200b}e\u{301}.yaml".into(), (b"name: odder\n".to_vec(), time(4)));
    corpus.insert("a".into(), (b"file beside a folder a.b".to_vec(), time(5)));
    corpus.insert("a.b/c".into(), (b"below".to_vec(), time(6)));
    corpus.insert("a-b/c".into(), (b"below".to_vec(), time(7)));
    corpus.insert("large.bin".into(), (random.noise(12 << 20), time(8)));
    corpus
}

pub(crate) fn time(n: usize) -> Timestamp {
    Timestamp::new(1_650_000_000 + n as i64, if n.is_multiple_of(3) { 120_000_000 } else { 0 }).unwrap()
}

pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    pub(crate) fn noise(&mut self, bytes: usize) -> Vec<u8> {
        let words = (0..bytes.div_ceil(4)).flat_map(|_| (self.below(1 << 31) as u32 >> 3).to_le_bytes());
        words.take(bytes).collect()
    }

    pub(crate) fn manifest(&mut self, n: usize, bytes: usize) -> Vec<u8> {
        let mut text = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: object-{n}\ndata:\n");
        while text.len() < bytes {
            let line = format!("  key-{}: value-{:x}\n", self.below(100), self.below(u64::from(u32::MAX)));
            text.push_str(&line);
        }
        text.into_bytes()
    }
}

/// Writes files below a folder, with their times.
pub(crate) fn write_files(root: &Path, files: &Files) {
    for (path, (content, modified)) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified((*modified).into()).unwrap();
    }
}

pub(crate) fn options(root: &str) -> BackupOptions {
    BackupOptions { root: root.into(), ..BackupOptions::default() }
}

/// Adds files from several plain threads, each taking every n-th.
pub(crate) fn add_all(backup: &Backup, files: &Files, threads: usize) {
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let mut worker = backup.worker().unwrap();
            scope.spawn(move || {
                for (path, (content, modified)) in files.iter().skip(thread).step_by(threads) {
                    worker.add(NewFile { group: 0, path, modified: *modified }, content).unwrap();
                }
            });
        }
    });
}

/// A whole backup, by two threads.
pub(crate) async fn back_up(repository: &Repository, root: &str, files: &Files) -> Summary {
    let backup = repository.backup(options(root)).await.unwrap();
    tokio::task::block_in_place(|| add_all(&backup, files, 2));
    backup.finish(FinishOptions::default()).await.unwrap()
}

/// Fails unless both folders hold the same.
pub(crate) fn assert_same_files(a: &Path, b: &Path) {
    let output = Command::new("diff").arg("-r").arg(a).arg(b).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", text.lines().take(20).collect::<Vec<_>>().join("\n"));
}

/// All files of a repository in a folder, by their paths.
pub(crate) fn repository_files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => open.push(entry.path()),
                false => found.push(entry.path().strip_prefix(root).unwrap().display().to_string()),
            }
        }
    }
    found.sort();
    found
}
