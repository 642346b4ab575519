//! restic's lock: a file that says who works on the repository, so that nobody prunes what is being written or read.
//!
//! 1. A lock is written, then all others are looked at *again*: of two who exclude each other at least one sees the other, and gives
//!    way. (restic also waits 200 ms in between, for storages whose lists lag behind; those that are supported here do not.)
//! 2. While held it is written anew every five minutes, under a new name, and the old file removed.
//! 3. A lock is stale after 30 minutes, or when its process on this host is gone; stale ones are ignored and removed, as
//!    `restic unlock` does. All other locks, restic's or ours, are honoured.
//! 4. [`Lock::check`] says whether the protection still holds. Whoever commits something asks right before.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::backend::{BackendError, File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::unpacked::Sealed;

/// restic's rule: a lock this old belongs to nobody.
const STALE_AFTER: SignedDuration = SignedDuration::from_mins(30);

/// restic's interval of refreshing.
const REFRESH_INTERVAL: Duration = Duration::from_mins(5);

/// After a failed refresh the next attempt comes sooner.
const REFRESH_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// A lock that was not refreshed for so long no longer counts for its holder, well before others call it stale.
const TRUSTED_FOR: SignedDuration = SignedDuration::from_secs(30 * 60 - 450);

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
}

/// A held lock. [`Lock::release`] removes it; dropping it does so in the background, if the runtime still runs.
#[derive(Debug)]
pub struct Lock {
    sealed: Sealed,
    current: Arc<Mutex<Current>>,
    /// Dropped to end the refreshing.
    stop: Option<oneshot::Sender<()>>,
    refreshing: Option<JoinHandle<Result<(), BackendError>>>,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    id: Id,
    written: Timestamp,
}

impl Lock {
    /// Takes the lock: shared (to read or to add), or exclusive (to remove).
    ///
    /// # Errors
    /// [`Error::Locked`] when somebody holds a lock that excludes it; storage errors; [`Error::Damaged`] for a lock that cannot be
    /// read, because what it forbids is unknown.
    pub(crate) async fn acquire(sealed: Sealed, exclusive: bool) -> Result<Self, Error> {
        Self::acquire_refreshed(sealed, exclusive, REFRESH_INTERVAL).await
    }

    async fn acquire_refreshed(sealed: Sealed, exclusive: bool, interval: Duration) -> Result<Self, Error> {
        look_for_others(&sealed, exclusive, None).await?;
        let first = write(&sealed, exclusive).await?;
        if let Err(taken) = look_for_others(&sealed, exclusive, Some(first.id)).await {
            sealed.backend.delete(File::Named(FileKind::Lock, first.id)).await?;
            return Err(taken);
        }
        let (stop, stopped) = oneshot::channel();
        let current = Arc::new(Mutex::new(first));
        let refreshing = tokio::spawn(refresh(sealed.clone(), exclusive, interval, Arc::clone(&current), stopped));
        Ok(Self { sealed, current, stop: Some(stop), refreshing: Some(refreshing) })
    }

    /// Succeeds while the protection holds: our file is there and was refreshed in time.
    ///
    /// # Errors
    /// [`Error::LockLost`]; storage errors.
    pub async fn check(&self) -> Result<(), Error> {
        let seen = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if Timestamp::now().duration_since(seen.written) > TRUSTED_FOR {
            return Err(Error::LockLost { why: "it could not be refreshed in time" });
        }
        if self.sealed.backend.stat(File::Named(FileKind::Lock, seen.id)).await?.is_some() {
            return Ok(());
        }
        // A refresh between the two looks renames the file, which is no loss.
        let now = *self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if now.id != seen.id { Ok(()) } else { Err(Error::LockLost { why: "its file was removed" }) }
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

/// Keeps the lock fresh until `stopped`, then removes it.
async fn refresh(
    sealed: Sealed,
    exclusive: bool,
    refresh_interval: Duration,
    current: Arc<Mutex<Current>>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), BackendError> {
    let mut interval = refresh_interval;
    while tokio::time::timeout(interval, &mut stopped).await.is_err() {
        interval = REFRESH_RETRY_INTERVAL;
        let Ok(next) = write(&sealed, exclusive).await else {
            continue;
        };
        let last = std::mem::replace(&mut *current.lock().unwrap_or_else(PoisonError::into_inner), next);
        // A file that stays behind goes stale.
        let _ = sealed.backend.delete(File::Named(FileKind::Lock, last.id)).await;
        interval = refresh_interval;
    }
    let last = current.lock().unwrap_or_else(PoisonError::into_inner).id;
    sealed.backend.delete(File::Named(FileKind::Lock, last)).await
}

async fn write(sealed: &Sealed, exclusive: bool) -> Result<Current, Error> {
    let written = Timestamp::now();
    let json =
        LockJson { time: written, exclusive, hostname: host_name(), username: String::new(), pid: std::process::id() };
    let json = serde_json::to_vec(&json).expect("a struct of texts and numbers serialises");
    Ok(Current { id: sealed.save(FileKind::Lock, &json).await?, written })
}

/// Succeeds when no live lock but `own` excludes ours.
async fn look_for_others(sealed: &Sealed, exclusive: bool, own: Option<Id>) -> Result<(), Error> {
    for file in sealed.backend.list(FileKind::Lock).await? {
        if Some(file.id) == own {
            continue;
        }
        let other: LockJson = match sealed.load_as(FileKind::Lock, file.id).await {
            Ok(other) => other,
            Err(unreadable) => match sealed.backend.stat(File::Named(FileKind::Lock, file.id)).await? {
                Some(_) => return Err(unreadable),
                None => continue, // released since the list
            },
        };
        if is_stale(&other, Timestamp::now(), &host_name(), is_running) {
            // Best effort: whether it is removed does not matter to us.
            let _ = sealed.backend.delete(File::Named(FileKind::Lock, file.id)).await;
        } else if exclusive || other.exclusive {
            return Err(Error::Locked { by: Box::new(owner(other)) });
        }
    }
    Ok(())
}

fn is_stale(lock: &LockJson, now: Timestamp, host: &str, is_running: impl Fn(u32) -> bool) -> bool {
    now.duration_since(lock.time) > STALE_AFTER || (lock.hostname == host && !host.is_empty() && !is_running(lock.pid))
}

fn owner(lock: LockJson) -> LockOwner {
    LockOwner { host: lock.hostname, user: lock.username, pid: lock.pid, since: lock.time, exclusive: lock.exclusive }
}

/// Whether a process of this host exists; where that cannot be told, it is taken to.
fn is_running(pid: u32) -> bool {
    let processes = std::path::Path::new("/proc");
    !processes.join("self").exists() || processes.join(pid.to_string()).exists()
}

/// This host's name, empty when it has none.
pub(crate) fn host_name() -> String {
    hostname::get().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_stale_by_age_or_when_its_process_is_gone() {
        let now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let lock = |minutes: i64, hostname: &str| LockJson {
            time: now - SignedDuration::from_mins(minutes),
            exclusive: true,
            hostname: hostname.into(),
            username: String::new(),
            pid: 7,
        };
        for (minutes, host, running, expected) in [
            (29, "here", true, false),
            (31, "here", true, true),
            (1, "here", false, true),
            (1, "there", false, false),
            (31, "there", false, true),
            (-60, "there", false, false),
        ] {
            assert_eq!(
                is_stale(&lock(minutes, host), now, "here", |_| running),
                expected,
                "{minutes} {host} {running}"
            );
        }
    }

    async fn sealed(folder: &std::path::Path) -> Sealed {
        let backend = Arc::new(crate::backend::LocalBackend::new(folder));
        let key = crate::crypto::Key::new(&crate::crypto::KeyBytes::random().unwrap());
        crate::backend::Backend::create_folders(&*backend).await.unwrap();
        Sealed { backend, key, version: crate::config::Version::V2 }
    }

    #[tokio::test]
    async fn a_held_lock_gets_new_files_and_leaves_none() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = sealed(folder.path()).await;
        let lock = Lock::acquire_refreshed(sealed.clone(), false, Duration::from_millis(1)).await.unwrap();
        let first = lock.current.lock().unwrap().id;
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while lock.current.lock().unwrap().id == first {
            assert!(std::time::Instant::now() < deadline, "the lock is not refreshed");
            tokio::task::yield_now().await;
        }
        lock.check().await.unwrap();
        lock.release().await.unwrap();
        assert!(sealed.backend.list(FileKind::Lock).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn exclusive_locks_exclude_and_shared_ones_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let sealed = sealed(folder.path()).await;
        let shared = Lock::acquire(sealed.clone(), false).await.unwrap();
        let second = Lock::acquire(sealed.clone(), false).await.unwrap();
        let refused = Lock::acquire(sealed.clone(), true).await.unwrap_err();
        assert!(matches!(refused, Error::Locked { by } if by.pid == std::process::id() && !by.exclusive));
        shared.release().await.unwrap();
        second.release().await.unwrap();
        let exclusive = Lock::acquire(sealed.clone(), true).await.unwrap();
        assert!(matches!(Lock::acquire(sealed.clone(), false).await, Err(Error::Locked { .. })));
        exclusive.release().await.unwrap();
        assert!(sealed.backend.list(FileKind::Lock).await.unwrap().is_empty());
    }

    #[test]
    fn this_process_runs() {
        assert!(is_running(std::process::id()));
    }
}
