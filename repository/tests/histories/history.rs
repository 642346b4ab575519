//! One history: what happened, and what must still be there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use repository::{
    Backend, BackupOptions, CheckOptions, CheckProgress, Count, FinishOptions, ForgetOptions, Id, InitOptions,
    KdfParams, LocalBackend, MaxUnused, NewFile, Password, Policy, PruneOptions, PruneProgress, ReadData,
    RepairIndexOptions, RepairIndexProgress, Repository, RestoreOptions, RestoreProgress, SnapshotFilter, Version,
};
use testkit::Restic;

use crate::judge::{self, Judge, PASSWORD};
use crate::world::{self, Files, Random};

/// Steps of a history, at least and at most.
const STEPS_MIN: u64 = 6;
const STEPS_MAX: u64 = 14;

/// Waiting for a lock would hide that somebody has left one behind.
const NO_WAIT: Duration = Duration::ZERO;

const HOSTS: [&str; 2] = ["host-0", "host-1"];

/// A repository, who works on it, and what it must hold.
pub(crate) struct History {
    seed: u64,
    random: Random,
    folder: tempfile::TempDir,
    /// Kept open all the time, as a service does: what it remembers must stay true whatever restic does.
    warm: Repository,
    judge: Judge,
    version: Version,
    /// The files as they are now.
    files: Files,
    /// What each snapshot must restore.
    expected: BTreeMap<Id, Files>,
    told: Vec<String>,
}

impl History {
    /// A new repository of a format and beside a restic that follow from the number.
    pub(crate) async fn begin(seed: u64) -> Self {
        let (version, judge) = match seed % 3 {
            0 => (Version::V2, Judge::Newest),
            1 => (Version::V1, Judge::Old),
            _ => (Version::V1, Judge::Newest),
        };
        let folder = tempfile::tempdir().unwrap();
        let options = InitOptions { version, kdf: KdfParams { n: 2, r: 1, p: 1 } };
        let warm = Repository::init(backend(&folder), &Password::new(PASSWORD), options).await.unwrap();
        let (random, files, expected) = (Random::new(seed), Files::new(), BTreeMap::new());
        Self { seed, random, folder, warm, judge, version, files, expected, told: Vec::new() }
    }

    /// Lives through the history and judges its end; returns what happened, in a line.
    pub(crate) async fn run(mut self) -> String {
        for step in 0..STEPS_MIN + self.random.below(STEPS_MAX - STEPS_MIN + 1) {
            self.step(step).await;
        }
        self.judge_the_end().await;
        format!(
            "{:?}, {:?}: {}; {} snapshots kept",
            self.version,
            self.judge,
            self.told.join(", "),
            self.expected.len()
        )
    }

    async fn step(&mut self, step: u64) {
        if self.expected.is_empty() || self.random.below(5) < 2 {
            world::change(&mut self.files, &mut self.random, step);
            return if self.random.one_in(2) { self.back_up_with_restic() } else { self.back_up().await };
        }
        match self.random.below(10) {
            0 => self.forget_one().await,
            1 => self.forget_by_policy().await,
            2 => self.forget_with_restic(),
            3 | 4 => self.prune().await,
            5 => self.prune_with_restic(),
            6 => self.check().await,
            7 => self.repair_index().await,
            8 => self.leave_a_backup_unfinished().await,
            _ => self.restore_one().await,
        }
    }

    /// Who works next: the process that was there all the time, or one that was just started.
    async fn repository(&mut self) -> Repository {
        if self.random.one_in(3) {
            return Repository::open(backend(&self.folder), &Password::new(PASSWORD)).await.unwrap();
        }
        self.warm.clone()
    }

    fn tell(&mut self, what: impl Into<String>) {
        self.told.push(what.into());
    }

    fn restic(&self) -> Restic {
        self.judge.on(&self.place())
    }

    fn place(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn source(&self) -> PathBuf {
        self.folder.path().join("resources")
    }

    async fn back_up(&mut self) {
        let repository = self.repository().await;
        let host = (*self.random.pick(&HOSTS)).to_owned();
        let root = self.source().to_str().unwrap().to_owned();
        let backup = repository.backup(BackupOptions { host, root, ..BackupOptions::default() }).await.unwrap();
        self.add_files(&backup);
        let id = backup.finish(FinishOptions::default()).await.unwrap().snapshot.id;
        self.expected.insert(id, self.files.clone());
        self.tell("backup");
    }

    fn add_files(&self, backup: &repository::Backup) {
        tokio::task::block_in_place(|| {
            let mut worker = backup.worker().unwrap();
            for (path, (content, modified)) in &self.files {
                worker.add(NewFile { group: 0, path, modified: *modified }, content).unwrap();
            }
        });
    }

    fn back_up_with_restic(&mut self) {
        let host = *self.random.pick(&HOSTS);
        world::lay_out(&self.source(), &self.files);
        let restic = self.restic();
        let short = judge::back_up(&restic, host, &self.source());
        let id = judge::snapshots(&restic).into_iter().find(|id| id.starts_with(&short)).expect("the new snapshot");
        self.expected.insert(id.parse().unwrap(), self.files.clone());
        self.tell("restic backup");
    }

    /// A backup that stores its data and then dies: no snapshot, packs that nobody needs.
    async fn leave_a_backup_unfinished(&mut self) {
        let repository = self.repository().await;
        let mut files = self.files.clone();
        world::change(&mut files, &mut self.random, 99);
        std::mem::swap(&mut files, &mut self.files);
        let backup = repository.backup(BackupOptions::default()).await.unwrap();
        self.add_files(&backup);
        if self.random.one_in(2) {
            drop(backup.prepare().await.unwrap())
        } else {
            backup.abort().await.unwrap()
        }
        self.files = files;
        repository::locks_released().await;
        self.tell("unfinished backup");
    }

    async fn forget_one(&mut self) {
        let ids: Vec<Id> = self.expected.keys().copied().collect();
        let id = *self.random.pick(&ids);
        let removed = self.repository().await.forget_ids(&[id], NO_WAIT).await.unwrap();
        assert_eq!(removed, [id]);
        self.expected.remove(&id);
        self.tell("forget one");
    }

    async fn forget_by_policy(&mut self) {
        let last = Count::Of(1 + self.random.below(3) as u32);
        let policy = Policy { last, ..Policy::default() };
        let options = ForgetOptions { policy, ..ForgetOptions::default() };
        let groups = self.repository().await.forget(&options, Timestamp::now()).await.unwrap();
        for gone in groups.iter().flat_map(|group| &group.remove) {
            self.expected.remove(&gone.id).expect("only what is there can be forgotten");
        }
        self.tell("forget by policy");
    }

    fn forget_with_restic(&mut self) {
        let restic = self.restic();
        let keep = (1 + self.random.below(3)).to_string();
        let mut arguments = vec!["forget", "--keep-last", &keep];
        if self.random.one_in(2) {
            arguments.push("--prune");
        }
        restic.run(&arguments);
        let left = judge::snapshots(&restic);
        self.expected.retain(|id, _| left.contains(&id.to_string()));
        self.tell(format!("restic {}", arguments.join(" ")));
    }

    async fn prune(&mut self) {
        let max_unused = match self.random.below(3) {
            0 => MaxUnused::Bytes(0),
            1 => MaxUnused::Unlimited,
            _ => PruneOptions::default().max_unused,
        };
        let options = PruneOptions { max_unused, repack_small: self.random.one_in(2), ..PruneOptions::default() };
        self.repository().await.prune(&options, &PruneProgress::default()).await.unwrap();
        self.tell("prune");
    }

    fn prune_with_restic(&mut self) {
        self.restic().run(&["prune", "--max-unused", "0"]);
        self.tell("restic prune");
    }

    async fn check(&mut self) {
        let options = CheckOptions { read_data: ReadData::Everything, headers: true, ..CheckOptions::default() };
        let report = self.repository().await.check(&options, &CheckProgress::default()).await.unwrap();
        assert!(report.is_intact(), "history {}: {:#?}", self.seed, report.findings);
        self.tell("check");
    }

    async fn repair_index(&mut self) {
        let options = RepairIndexOptions { read_all_packs: self.random.one_in(2), retry_lock: NO_WAIT };
        self.repository().await.repair_index(&options, &RepairIndexProgress::default()).await.unwrap();
        self.tell("repair index");
    }

    async fn restore_one(&mut self) {
        let ids: Vec<Id> = self.expected.keys().copied().collect();
        let id = *self.random.pick(&ids);
        let repository = self.repository().await;
        self.restore(&repository, id).await;
        self.tell("restore");
    }

    async fn restore(&self, repository: &Repository, id: Id) {
        let snapshot = repository.resolve(&id.to_string(), &SnapshotFilter::default()).await.unwrap();
        let target = tempfile::tempdir().unwrap();
        let options = RestoreOptions::default();
        let restored = repository
            .restore(&snapshot, &|_| true, &options, target.path(), &RestoreProgress::default())
            .await
            .unwrap();
        assert!(restored.is_complete(), "{restored:?}");
        let root = target.path().join(self.source().strip_prefix("/").unwrap());
        world::assert_holds(&root, &self.expected[&id], &format!("history {}, our restore of {id}", self.seed));
    }

    async fn judge_the_end(&self) {
        let (what, restic) = (format!("history {}: {}", self.seed, self.told.join(", ")), self.restic());
        judge::assert_whole(&restic, &what);
        let locks = self.warm.backend().list(repository::FileKind::Lock).await.unwrap();
        assert!(locks.is_empty(), "{what}: a lock was left behind");
        let mut ids: Vec<String> = self.expected.keys().map(Id::to_string).collect();
        let mut listed = judge::snapshots(&restic);
        ids.sort();
        listed.sort();
        assert_eq!(listed, ids, "{what}");
        for id in self.expected.keys() {
            self.restore(&self.warm, *id).await;
        }
        if let Some((id, files)) = self.expected.last_key_value() {
            let target = tempfile::tempdir().unwrap();
            restic.run(&["restore", &id.to_string(), "--target", target.path().to_str().unwrap()]);
            let root = target.path().join(self.source().strip_prefix("/").unwrap());
            world::assert_holds(&root, files, &format!("{what}; restic's restore of {id}"));
        }
    }
}

fn backend(folder: &tempfile::TempDir) -> Arc<dyn Backend> {
    Arc::new(LocalBackend::new(folder.path().join("repository")))
}
