//! Looks for damage, and says whom it hits.
//!
//! 1. **Structure, always**: config, keys, locks, index files and snapshots open and say what they must; every pack that the index
//!    names is there with the size that its blobs and header need; every tree that a snapshot needs decodes; the index names every blob
//!    of every file, and their sizes add up to the file's.
//! 2. **Data, if asked for** ([`ReadData`]): all packs, a part, a random share, or those whose turn it is. Only this finds a changed
//!    byte in a data blob or in a pack's header. Headers alone can be compared for one small request a pack
//!    ([`CheckOptions::headers`]); restores do not need them, `repair index` does, so that is not the default.
//! 3. **Damage is a result, not an error**: a check goes on, and returns what it found in bounded lists. A storage that does not
//!    answer is an error: what could not be asked is neither intact nor damaged.
//! 4. **Order**: the names of snapshots first, then the index, then the list of packs. Whoever only adds meanwhile, adds in the
//!    opposite order, so a check beside a backup finds nothing that is not damage.
//! 5. **Memory** grows with the index (about 90 bytes a blob) and is bounded otherwise.

mod choice;
mod files;
mod hits;
mod packs;
mod progress;
mod reader;
mod report;
mod trees;

pub use choice::ReadData;
pub use progress::{CheckPhase, CheckProgress};
pub use report::{CheckReport, Finding, HitPath, Hits, Object};

use std::time::Duration;

use crate::backend::{FileKind, Listed};
use crate::error::Error;
use crate::inventory::Inventory;
use crate::lock::Lock;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use hits::Root;
use report::Findings;

/// How to check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckOptions {
    /// How much of the data is read.
    pub read_data: ReadData,
    /// Compare the header of every pack with the index.
    pub headers: bool,
    /// Which lock is held meanwhile.
    pub lock: CheckLock,
    /// How long to wait for the lock while others are in the way.
    pub retry_lock: Duration,
}

/// The lock that a check holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CheckLock {
    /// Nobody else does anything: restic's choice.
    #[default]
    Exclusive,
    /// Others may read and back up. Nothing is removed meanwhile, so findings are damage all the same.
    Shared,
    /// None, for a storage that cannot be written. What somebody removes meanwhile may look like damage.
    None,
}

impl Repository {
    /// Looks for damage in the repository. What is damaged stands in the report: ask [`CheckReport::is_intact`].
    ///
    /// ```
    /// # async fn example(repository: repository::Repository) -> Result<(), repository::Error> {
    /// use repository::{CheckOptions, CheckProgress, ReadData};
    /// // Each day a seventh: within a week every byte is read.
    /// let read_data = ReadData::within_days(7, jiff::Timestamp::now());
    /// let options = CheckOptions { read_data, ..CheckOptions::default() };
    /// let report = repository.check(&options, &CheckProgress::default()).await?;
    /// for finding in &report.findings {
    ///     println!("{finding}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::Denied`], [`Error::Temporary`], [`Error::Storage`] and the like when the storage does not answer;
    /// never [`Error::Damaged`].
    pub async fn check(&self, options: &CheckOptions, progress: &CheckProgress) -> Result<CheckReport, Error> {
        let mut findings = Findings::default();
        progress.begin(CheckPhase::Index, 0);
        let lock = self.lock_to_check(options, &mut findings).await?;
        let checked = self.check_locked(options, &mut findings, progress).await;
        if let Some(lock) = lock {
            // Nothing was changed; a lock that could not be removed goes stale.
            let _ = lock.release().await;
        }
        checked.map(|()| findings.report)
    }

    /// A lock file that cannot be read may forbid anything. It is a finding, and the check goes on without a lock of its own.
    async fn lock_to_check(&self, options: &CheckOptions, findings: &mut Findings) -> Result<Option<Lock>, Error> {
        let sealed = &self.shared.sealed;
        files::check_locks(sealed, findings).await?;
        let locked = match options.lock {
            _ if !findings.report.is_intact() => return Ok(None),
            CheckLock::None => return Ok(None),
            CheckLock::Shared => self.lock_shared_within(options.retry_lock).await,
            CheckLock::Exclusive => self.lock_exclusive(options.retry_lock).await,
        };
        match locked {
            // Somebody has left it since the first look.
            Err(Error::Damaged { .. }) => files::check_locks(sealed, findings).await.map(|()| None),
            locked => locked.map(Some),
        }
    }

    async fn check_locked(
        &self,
        options: &CheckOptions,
        findings: &mut Findings,
        progress: &CheckProgress,
    ) -> Result<(), Error> {
        let sealed = &self.shared.sealed;
        files::check_config_and_keys(sealed, findings).await?;
        let snapshots = files::list(sealed, FileKind::Snapshot, findings).await?;
        let inventory = self.check_index(findings).await?;
        let stored = files::list(sealed, FileKind::Pack, findings).await?;
        let packs = packs::compare(&inventory, stored, findings);
        progress.begin(CheckPhase::Trees, 0);
        let snapshots = files::read_snapshots(sealed, snapshots, findings).await?;
        let roots = snapshots.iter().map(|snapshot| snapshot.tree);
        trees::check(sealed, &inventory.index, roots, findings, progress).await?;
        self.check_data(options, &inventory, packs, findings, progress).await?;
        if findings.has_lost() {
            progress.begin(CheckPhase::Hits, 0);
            hits::find(sealed, &inventory.index, &roots_of(&snapshots), findings).await?;
        }
        Ok(())
    }

    async fn check_index(&self, findings: &mut Findings) -> Result<Inventory, Error> {
        let sealed = &self.shared.sealed;
        files::list(sealed, FileKind::Index, findings).await?;
        let inventory = match Inventory::load(sealed).await {
            // Without its folder, which has just been noted.
            Err(Error::Damaged { .. }) => Inventory::empty(),
            loaded => loaded?,
        };
        for (id, why) in &inventory.damaged {
            findings.note_file(FileKind::Index, *id, why);
        }
        findings.report.blobs = inventory.index.blobs() as u64;
        findings.report.packs = inventory.packs().len() as u64;
        let duplicates = inventory.places() - inventory.index.blobs();
        if duplicates > 0 {
            findings.hint(format!("{duplicates} blobs lie in more than one pack (prune keeps one of each)"));
        }
        Ok(inventory)
    }

    async fn check_data(
        &self,
        options: &CheckOptions,
        inventory: &Inventory,
        packs: Vec<Listed>,
        findings: &mut Findings,
        progress: &CheckProgress,
    ) -> Result<(), Error> {
        let sealed = &self.shared.sealed;
        let chosen = options.read_data.choose(&packs, getrandom::u64()?);
        let others = if options.headers { except(packs, &chosen) } else { Vec::new() };
        progress.begin(CheckPhase::Packs, (chosen.len() + others.len()) as u64);
        packs::compare_headers(sealed, inventory, others, findings, progress).await?;
        packs::read(sealed, inventory, chosen, findings, progress).await
    }
}

fn roots_of(snapshots: &[Snapshot]) -> Vec<Root> {
    snapshots.iter().map(|snapshot| Root { snapshot: snapshot.id, tree: snapshot.tree }).collect()
}

fn except(packs: Vec<Listed>, chosen: &[Listed]) -> Vec<Listed> {
    let chosen: std::collections::HashSet<_> = chosen.iter().map(|pack| pack.id).collect();
    packs.into_iter().filter(|pack| !chosen.contains(&pack.id)).collect()
}
