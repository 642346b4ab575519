//! The locks of others: which of them count, and which are removed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::process::{self, Here};
use super::{LockJson, LockOwner, STALE_AFTER};
use crate::backend::{File, FileKind, Listed};
use crate::error::Error;
use crate::id::Id;
use crate::unpacked::Sealed;

/// Unreadable locks that this process remembers; more of them than this are a matter for a person.
const UNREADABLE_MAX: usize = 256;

/// What a lock file is to us.
pub(super) enum Seen {
    /// Its owner works.
    Live(LockJson),
    /// Too old, or its owner is gone.
    Stale,
    /// It has a content that is no lock.
    Unreadable(Error),
    /// It was removed since the list, or is empty: see [`look`].
    Nothing,
}

/// Looks at one lock file.
///
/// An empty file is one that is just being written, in a storage where that can be seen. It does not count, because whoever takes a
/// lock looks at all others once more when its own is complete, and will see ours then. restic has the same rule.
pub(super) async fn look(sealed: &Sealed, file: Listed, here: &Here) -> Result<Seen, Error> {
    if file.bytes == 0 {
        return Ok(Seen::Nothing);
    }
    match sealed.load_as::<LockJson>(FileKind::Lock, file.id).await {
        Ok(lock) if is_stale(&lock, Timestamp::now(), here) => Ok(Seen::Stale),
        Ok(lock) => Ok(Seen::Live(lock)),
        Err(unreadable @ Error::Damaged { .. }) => {
            match sealed.backend.stat(File::Named(FileKind::Lock, file.id)).await? {
                None => Ok(Seen::Nothing),
                Some(_) if is_old_unreadable(file.id, Instant::now()) => Ok(Seen::Stale),
                Some(_) => Ok(Seen::Unreadable(unreadable)),
            }
        }
        Err(error) => Err(error),
    }
}

/// Succeeds when no live lock but `own` excludes ours; removes stale ones.
pub(super) async fn none_excludes(sealed: &Sealed, exclusive: bool, own: Option<Id>) -> Result<(), Error> {
    let here = Here::now();
    for file in sealed.backend.list(FileKind::Lock).await? {
        if Some(file.id) == own {
            continue;
        }
        match look(sealed, file, &here).await? {
            Seen::Live(other) if exclusive || other.exclusive => {
                return Err(Error::Locked { by: Box::new(LockOwner::from(other)) });
            }
            // What it forbids is unknown.
            Seen::Unreadable(error) => return Err(error),
            Seen::Stale => {
                // Best effort: whether it is removed does not matter to us.
                let _ = sealed.backend.delete(File::Named(FileKind::Lock, file.id)).await;
            }
            Seen::Live(_) | Seen::Nothing => {}
        }
    }
    Ok(())
}

/// Removes locks: the stale ones, or all. Returns what was removed.
pub(super) async fn unlock(sealed: &Sealed, remove_all: bool) -> Result<Vec<Id>, Error> {
    let here = Here::now();
    let mut removed = Vec::new();
    for file in sealed.backend.list(FileKind::Lock).await? {
        if remove_all || matches!(look(sealed, file, &here).await?, Seen::Stale) {
            sealed.backend.delete(File::Named(FileKind::Lock, file.id)).await?;
            removed.push(file.id);
        }
    }
    Ok(removed)
}

fn is_stale(lock: &LockJson, now: Timestamp, here: &Here) -> bool {
    now.duration_since(lock.time) > STALE_AFTER || process::is_gone(lock, here, process::look)
}

/// Unreadable locks, and when each was seen first. Names are hashes of contents, so they need no repository beside them.
static UNREADABLE: Mutex<VecDeque<(Id, Instant)>> = Mutex::new(VecDeque::new());

/// Whether an unreadable lock has been there for so long that nobody can be holding it: a live owner, restic or ours, gives its lock
/// a new name every five minutes. Storages do not tell a file's age, so it counts from the first time that this process saw it.
fn is_old_unreadable(id: Id, now: Instant) -> bool {
    let stale_after = Duration::try_from(STALE_AFTER).unwrap_or(Duration::MAX);
    let mut seen = UNREADABLE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, first)) = seen.iter().find(|(known, _)| *known == id) {
        return now.saturating_duration_since(*first) > stale_after;
    }
    if seen.len() == UNREADABLE_MAX {
        seen.pop_front();
    }
    seen.push_back((id, now));
    false
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_lock_is_stale_by_age() {
        let now: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        for (minutes, expected) in [(29, false), (31, true), (-60, false)] {
            let lock = LockJson {
                time: now - SignedDuration::from_mins(minutes),
                exclusive: true,
                hostname: "there".into(),
                username: String::new(),
                pid: 7,
                process: None,
            };
            assert_eq!(is_stale(&lock, now, &Here::default()), expected, "{minutes}");
        }
    }

    #[test]
    fn an_unreadable_lock_counts_until_it_was_there_for_half_an_hour() {
        let (id, start) = (Id::of(b"an unreadable lock"), Instant::now());
        for (minutes, expected) in [(0, false), (29, false), (31, true)] {
            assert_eq!(is_old_unreadable(id, start + Duration::from_mins(minutes)), expected, "{minutes}");
        }
    }
}
