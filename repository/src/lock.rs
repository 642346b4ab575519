//! restic's lock: a file that says who works on the repository, so that nobody prunes what is being written or read.
//!
//! 1. A lock is written, then all others are looked at *again*: of two who exclude each other at least one sees the other, and gives
//!    way. (restic also waits 200 ms in between, for storages whose lists lag behind; those that are supported here do not.)
//! 2. While held it is written anew every five minutes, under a new name, and the old file removed.
//! 3. A lock is stale after 30 minutes, or when its process is gone for certain ([`process`] says how that is known, in containers
//!    too); stale ones are ignored and removed, as `restic unlock` does. All other locks, restic's or ours, are honoured. One that
//!    cannot be read is honoured as well, until it was there for 30 minutes: what it forbids is unknown.
//! 4. Whoever waits for a lock asks again after one second, then after ever longer pauses of at most 30 s, each a little different, so
//!    that two who wait for each other do not meet again. There is no queue: who comes at the right moment is next, as with restic.
//! 5. To learn whether the process of a lock lives, `restic unlock` sends it SIGHUP, which would end us. From the first lock on this
//!    process ignores that signal, as restic does.
//! 6. [`Lock::check`] says whether the protection still holds. Whoever commits something asks right before. A lock that was not
//!    refreshed for too long (the process was stopped, the storage away) or whose file somebody removed is lost **for good**, also when
//!    a later refresh would succeed: in between somebody may have pruned.

mod held;
mod others;
mod process;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::backend::BackendError;
use crate::error::Error;
use crate::id::Id;
use crate::repository::Repository;
use crate::unpacked::Sealed;
use held::{Held, Holder, hold, ignore_hangups};
use process::Process;

pub use held::locks_released;
pub use process::set_lock_slot;

/// restic's rule: a lock this old belongs to nobody.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// restic's interval of refreshing.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);

/// The first pause of who waits for a lock: most locks of others are held for a few seconds.
const WAIT_PAUSE_MIN: Duration = Duration::from_secs(1);

/// The longest: each look costs a list and a read for each lock, and half a minute is little against a prune.
const WAIT_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// The host's name.
    pub host: String,
    /// The user's name, may be empty.
    pub user: String,
    /// The process.
    pub pid: u32,
    /// When the lock was refreshed last.
    pub since: Timestamp,
    /// Whether the owner wants to be alone.
    pub exclusive: bool,
}

impl fmt::Display for LockOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, user, pid, since, exclusive } = self;
        let kind = if *exclusive { "exclusively" } else { "shared" };
        write!(f, "process {pid} on {host}")?;
        if !user.is_empty() {
            write!(f, " (user {user})")?;
        }
        write!(f, ", {kind}, since {since}")
    }
}

#[derive(Serialize, Deserialize)]
struct LockJson {
    time: Timestamp,
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
    /// Ours; restic passes over fields that it does not know.
    #[serde(default, rename = "stowage", skip_serializing_if = "Option::is_none")]
    process: Option<Process>,
}

impl From<LockJson> for LockOwner {
    fn from(lock: LockJson) -> Self {
        Self { host: lock.hostname, user: lock.username, pid: lock.pid, since: lock.time, exclusive: lock.exclusive }
    }
}

/// What a lock file's text says, if it is one.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn decode(json: &[u8]) -> Option<LockOwner> {
    serde_json::from_slice::<LockJson>(json).ok().map(LockOwner::from)
}

/// A held lock. [`Lock::release`] removes it; dropping it does so in the background, if the runtime still runs.
#[derive(Debug)]
pub struct Lock {
    held: Arc<Held>,
    /// Dropped to end the refreshing.
    stop: Option<oneshot::Sender<()>>,
    refreshing: Option<JoinHandle<Result<(), BackendError>>>,
}

impl Repository {
    /// Takes restic's shared lock, which keeps prune away while something reads or adds. [`Repository::backup`] and
    /// [`Repository::restore`] take their own.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody holds an exclusive lock that is not stale; [`Error::Damaged`] for a lock file that cannot be
    /// read; storage errors.
    pub async fn lock_shared(&self) -> Result<Lock, Error> {
        Lock::acquire(self.shared.sealed.clone(), false).await
    }

    /// The same, waiting for at most `wait` while others are in the way. Dropping the future leaves no lock behind.
    ///
    /// # Errors
    /// Those of [`Repository::lock_shared`], after that time.
    pub async fn lock_shared_within(&self, wait: Duration) -> Result<Lock, Error> {
        Lock::acquire_within(self.shared.sealed.clone(), false, wait).await
    }

    /// Takes restic's exclusive lock, for who removes something; waits for at most `wait` while others are in the way. Dropping the
    /// future leaves no lock behind.
    ///
    /// # Errors
    /// [`Error::Locked`] while somebody holds any lock that is not stale, after that time; [`Error::Damaged`] for a lock file that
    /// cannot be read; storage errors.
    pub async fn lock_exclusive(&self, wait: Duration) -> Result<Lock, Error> {
        Lock::acquire_within(self.shared.sealed.clone(), true, wait).await
    }

    /// Removes locks and returns their names: those that are stale or whose owner is gone, or with `remove_all` every one, which takes
    /// their protection from whoever works on the repository right now.
    ///
    /// # Errors
    /// Storage errors; the locks before are then removed.
    pub async fn unlock(&self, remove_all: bool) -> Result<Vec<Id>, Error> {
        others::unlock(&self.shared.sealed, remove_all).await
    }
}

impl Lock {
    /// Takes the lock: shared (to read or to add), or exclusive (to remove).
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody holds a lock that excludes it; storage errors; [`Error::Damaged`] for a lock that cannot be
    /// read, because what it forbids is unknown.
    pub(crate) async fn acquire(sealed: Sealed, exclusive: bool) -> Result<Self, Error> {
        Self::acquire_within(sealed, exclusive, Duration::ZERO).await
    }

    /// The same, waiting for at most `wait` while others are in the way.
    pub(crate) async fn acquire_within(sealed: Sealed, exclusive: bool, wait: Duration) -> Result<Self, Error> {
        let start = Instant::now();
        let mut pause = WAIT_PAUSE_MIN;
        loop {
            let taken = match Self::acquire_refreshed(sealed.clone(), exclusive, REFRESH_INTERVAL).await {
                Err(taken @ (Error::Locked { .. } | Error::Damaged { .. })) => taken,
                acquired => return acquired,
            };
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(taken);
            }
            tokio::time::sleep(varied(pause)?.min(left)).await;
            pause = (2 * pause).min(WAIT_PAUSE_MAX);
        }
    }

    async fn acquire_refreshed(sealed: Sealed, exclusive: bool, interval: Duration) -> Result<Self, Error> {
        ignore_hangups()?;
        others::none_excludes(&sealed, exclusive, None).await?;
        let (stop, stopped) = oneshot::channel();
        let (first, written) = oneshot::channel();
        // Written by the task that removes it: should this future be dropped, `stop` is, and no lock stays behind.
        let refreshing = tokio::spawn(hold(Holder::enter(), sealed.clone(), exclusive, interval, first, stopped));
        let held = written.await.map_err(|_| Error::Interrupted { action: "writing the lock" })??;
        let own = held.state().id;
        let lock = Self { held, stop: Some(stop), refreshing: Some(refreshing) };
        if let Err(taken) = others::none_excludes(&sealed, exclusive, Some(own)).await {
            lock.release().await?;
            return Err(taken);
        }
        Ok(lock)
    }

    /// Succeeds while the protection holds: our file is there and was refreshed in time, always.
    ///
    /// # Errors
    /// [`Error::LockLost`], from then on every time; storage errors.
    pub async fn check(&self) -> Result<(), Error> {
        self.held.check().await
    }

    /// Removes the lock.
    ///
    /// # Errors
    /// Storage errors; the lock then goes stale by itself.
    pub async fn release(mut self) -> Result<(), Error> {
        drop(self.stop.take());
        match self.refreshing.take() {
            Some(task) => Ok(task.await.map_err(Error::interrupted("removing the lock"))??),
            None => Ok(()),
        }
    }
}

/// Between half and all of a pause.
fn varied(pause: Duration) -> Result<Duration, Error> {
    let random = getrandom::u32()?;
    Ok(pause / 2 + (pause / 2).mul_f64(f64::from(random) / f64::from(u32::MAX)))
}

/// This host's name, empty when it has none.
pub(crate) fn host_name() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
