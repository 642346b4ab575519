//! Forget: removes snapshots, by a policy or by their ids. What they alone refer to stays until a prune.
//!
//! 1. Under restic's exclusive lock: first the lock, then the list, so that the choice is made among all there are. A dry run only
//!    reads, and takes none.
//! 2. Every removal is the removal of one file. Whatever dies in between leaves a repository that is whole, and the next run does the
//!    rest.
//! 3. **No group loses its last snapshot to a policy** ([`Error::KeepsNothing`], as with restic today, not yet with 0.13.1): a slip in a tag or a host
//!    must not end a history. Nothing at all is removed then.
//! 4. Twice: what is gone already is no error.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::backend::{File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::repository::Repository;
use crate::retention::{Choice, GroupBy, GroupKey, Kept, Policy};
use crate::snapshot::{Snapshot, SnapshotFilter};

/// What to forget.
#[derive(Clone, Debug, Default)]
pub struct ForgetOptions {
    /// What to keep of each group. Without a rule everything is kept.
    pub policy: Policy,
    /// What makes a group.
    pub group_by: GroupBy,
    /// Which snapshots are looked at; all others stay.
    pub filter: SnapshotFilter,
    /// A policy without a rule removes everything that the filter lets through, instead of nothing. Only with a filter.
    pub remove_all: bool,
    /// Only say what would be removed.
    pub dry_run: bool,
    /// How long to wait for the repository's lock.
    pub retry_lock: Duration,
}

/// One group, and what became of it. Both lists begin with the newest.
#[derive(Clone, Debug, PartialEq)]
pub struct ForgetGroup {
    /// What its snapshots share.
    pub key: GroupKey,
    /// What stays, and why.
    pub keep: Vec<Kept>,
    /// What was removed, or would be.
    pub remove: Vec<Snapshot>,
}

impl Repository {
    /// Applies a policy to the snapshots, group by group, and removes what it does not keep. Returns all groups, ordered by what their
    /// snapshots share. `now` is the time of day; see [`Policy::apply`].
    ///
    /// # Errors
    /// [`Error::KeepsNothing`]; [`Error::Locked`]; [`Error::LockLost`]; [`Error::Damaged`] for a snapshot that cannot be read; storage
    /// errors. After the last four a part may have been removed.
    pub async fn forget(&self, options: &ForgetOptions, now: Timestamp) -> Result<Vec<ForgetGroup>, Error> {
        let plan = async || plan(self.snapshots().await?, options, now);
        if options.dry_run {
            return plan().await;
        }
        let lock = self.lock_exclusive(options.retry_lock).await?;
        let forgotten = async {
            let groups = plan().await?;
            lock.check().await?;
            let ids = groups.iter().flat_map(|group| &group.remove).map(|snapshot| snapshot.id);
            self.remove_snapshots(ids.collect()).await?;
            Ok(groups)
        };
        let forgotten = forgotten.await;
        // What is removed is removed; a lock that stays behind goes stale.
        let _ = lock.release().await;
        forgotten
    }

    /// Removes these snapshots, whatever they hold and also when they cannot be read. Returns those that were there.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::LockLost`]; storage errors, after which a part may have been removed.
    pub async fn forget_ids(&self, ids: &[Id], retry_lock: Duration) -> Result<Vec<Id>, Error> {
        let lock = self.lock_exclusive(retry_lock).await?;
        let forgotten = async {
            let listed = self.shared.sealed.backend.list(FileKind::Snapshot).await?;
            let there: Vec<Id> = ids.iter().copied().filter(|id| listed.iter().any(|file| file.id == *id)).collect();
            lock.check().await?;
            self.remove_snapshots(there.clone()).await?;
            Ok(there)
        };
        let forgotten = forgotten.await;
        let _ = lock.release().await;
        forgotten
    }

    async fn remove_snapshots(&self, ids: Vec<Id>) -> Result<(), Error> {
        let backend = &self.shared.sealed.backend;
        let removals = ids.into_iter().map(|id| backend.delete(File::Named(FileKind::Snapshot, id)));
        let mut removals = stream::iter(removals).buffer_unordered(backend.connections());
        while removals.try_next().await?.is_some() {}
        Ok(())
    }
}

/// What stays and what goes, of all snapshots of a repository.
fn plan(snapshots: Vec<Snapshot>, options: &ForgetOptions, now: Timestamp) -> Result<Vec<ForgetGroup>, Error> {
    let all = options.policy.is_empty() && options.remove_all;
    if all && options.filter.is_empty() {
        return Err(Error::KeepsNothing { group: "the repository".to_owned() });
    }
    let wanted = snapshots.into_iter().filter(|snapshot| options.filter.matches(snapshot));
    let groups = options.group_by.group(wanted).into_iter().map(|(key, mut group)| {
        if all {
            group.reverse();
            return Ok(ForgetGroup { key, keep: Vec::new(), remove: group });
        }
        let Choice { keep, remove } = options.policy.apply(&group, now);
        if keep.is_empty() {
            Err(Error::KeepsNothing { group: key.to_string() })
        } else {
            Ok(ForgetGroup { key, keep, remove })
        }
    });
    groups.collect()
}
