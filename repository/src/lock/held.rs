//! A lock while it is held: written, refreshed, checked, removed.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};

use super::LockJson;
use super::process::Here;
use crate::backend::{BackendError, File, FileKind};
use crate::error::Error;
use crate::id::Id;
use crate::unpacked::Sealed;

/// After a failed refresh the next attempt comes sooner.
const REFRESH_RETRY_INTERVAL: Duration = Duration::from_secs(30);

/// A lock that was not refreshed for so long no longer counts for its holder, well before others call it stale.
pub(super) const TRUSTED_FOR: SignedDuration = SignedDuration::from_secs(30 * 60 - 450);

/// What the holder and the task that refreshes share.
#[derive(Debug)]
pub(super) struct Held {
    sealed: Sealed,
    exclusive: bool,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// The lock's file now.
    pub(super) id: Id,
    pub(super) written: Timestamp,
    /// Why it no longer protects, once that is so.
    lost: Option<&'static str>,
}

impl Held {
    pub(super) fn state(&self) -> State {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(super) async fn check(&self) -> Result<(), Error> {
        let seen = self.state();
        let late = Timestamp::now().duration_since(seen.written) > TRUSTED_FOR;
        let why = match seen.lost {
            Some(why) => why,
            None if late => "it could not be refreshed in time",
            None if self.sealed.backend.stat(File::Named(FileKind::Lock, seen.id)).await?.is_some() => return Ok(()),
            // A refresh between the two looks renames the file, which is no loss.
            None if self.state().id != seen.id && self.state().lost.is_none() => return Ok(()),
            None => "its file was removed",
        };
        self.change(|state| state.lost = Some(why));
        Err(Error::LockLost { why })
    }

    /// Writes the lock anew and removes the old file.
    pub(super) async fn refresh(&self) -> Result<(), Error> {
        self.check().await?;
        let (id, written) = write(&self.sealed, self.exclusive).await?;
        let last = self.state().id;
        self.change(|state| *state = State { id, written, ..*state });
        // A file that stays behind goes stale.
        let _ = self.sealed.backend.delete(File::Named(FileKind::Lock, last)).await;
        Ok(())
    }
}

/// Waits until no lock of this process is left. Locks that were dropped, or whose acquiring was, are removed in the background; who
/// ends the process waits for it here, so that nobody has to wait for them to go stale. A lock that is still held is waited for too.
pub async fn locks_released() {
    // The sender is never dropped, so this cannot fail.
    let _ = HOLDERS.subscribe().wait_for(|holders| *holders == 0).await;
}

/// Tasks that hold a lock.
static HOLDERS: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// Counts one holder for as long as it lives.
pub(super) struct Holder;

impl Holder {
    pub(super) fn enter() -> Self {
        HOLDERS.send_modify(|holders| *holders += 1);
        Self
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        HOLDERS.send_modify(|holders| *holders -= 1);
    }
}

/// Writes the lock, keeps it fresh until `stopped`, then removes it.
pub(super) async fn hold(
    _holder: Holder,
    sealed: Sealed,
    exclusive: bool,
    refresh_interval: Duration,
    first: oneshot::Sender<Result<Arc<Held>, Error>>,
    mut stopped: oneshot::Receiver<()>,
) -> Result<(), BackendError> {
    let held = match write(&sealed, exclusive).await {
        Ok((id, written)) => Held { sealed, exclusive, state: Mutex::new(State { id, written, lost: None }) },
        Err(error) => {
            let _ = first.send(Err(error));
            return Ok(());
        }
    };
    let held = Arc::new(held);
    let _ = first.send(Ok(Arc::clone(&held)));
    let mut interval = refresh_interval;
    while tokio::time::timeout(interval, &mut stopped).await.is_err() {
        interval = match held.refresh().await {
            Ok(()) => refresh_interval,
            Err(_) => REFRESH_RETRY_INTERVAL,
        };
    }
    held.sealed.backend.delete(File::Named(FileKind::Lock, held.state().id)).await
}

/// Takes SIGHUP off its default, which is to end the process.
#[cfg(unix)]
pub(super) fn ignore_hangups() -> Result<(), Error> {
    use tokio::signal::unix::{SignalKind, signal};
    // The handler stays when its stream is dropped (tokio says so), and without a stream nobody is told.
    signal(SignalKind::hangup()).map(drop).map_err(|source| Error::System { action: "ignore SIGHUP", source })
}

#[cfg(not(unix))]
pub(super) fn ignore_hangups() -> Result<(), Error> {
    Ok(())
}

async fn write(sealed: &Sealed, exclusive: bool) -> Result<(Id, Timestamp), Error> {
    let Here { host, pid, process } = Here::now();
    let written = Timestamp::now();
    let json = LockJson { time: written, exclusive, hostname: host, username: String::new(), pid, process };
    let json = serde_json::to_vec(&json).expect("a struct of texts and numbers serialises");
    Ok((sealed.save(FileKind::Lock, &json).await?, written))
}
