//! What can go wrong, by what the caller does about it.
//!
//! 1. One variant for each reaction: create the repository, ask for the password, wait, free space, call a person.
//! 2. Storage failures keep their cause as source; `Display` never repeats it.
//! 3. A file that an index, a tree or a snapshot names and that is not there is damage, not "not found".

use crate::backend::{BackendError, FailureKind, File};
use crate::id::Id;
use crate::lock::LockOwner;

/// Every failure of this crate but [`LocationError`](crate::LocationError) and [`BackendError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The storage answered, and there is no `config` file: this is not a repository yet.
    #[error("there is no restic repository at {location}")]
    NotFound {
        /// The place, in restic's notation.
        location: String,
    },
    /// The bucket that should hold the repository does not exist.
    #[error("the bucket of {location} does not exist")]
    BucketMissing {
        /// The place, in restic's notation.
        location: String,
    },
    /// No key file of the repository opens with this password.
    #[error("wrong password, or no key of the repository is for it ({keys} tried)")]
    WrongPassword {
        /// Key files that were tried.
        keys: usize,
    },
    /// Credentials or file permissions do not suffice.
    #[error("access to the repository was denied")]
    Denied {
        /// What was attempted.
        #[source]
        source: BackendError,
    },
    /// The storage is full, or its quota is used up.
    #[error("the storage of the repository is full")]
    Full {
        /// What was attempted.
        #[source]
        source: BackendError,
    },
    /// The storage could not be reached, or answered with a server error, after all retries. The same call may succeed later.
    #[error("the storage of the repository does not answer properly")]
    Temporary {
        /// What was attempted.
        #[source]
        source: BackendError,
    },
    /// Any other failure of the storage.
    #[error("the storage of the repository failed")]
    Storage {
        /// What was attempted.
        #[source]
        source: BackendError,
    },
    /// Another process holds a lock that excludes ours.
    #[error("the repository is locked by {by}")]
    Locked {
        /// Who, and since when.
        by: Box<LockOwner>,
    },
    /// Our own lock was removed by somebody else, or could not be refreshed in time; what it protected must not be relied on.
    #[error("the lock on the repository was lost: {why}")]
    LockLost {
        /// What was observed.
        why: &'static str,
    },
    /// A file of the repository is missing or does not hold what it must.
    #[error("{file} is damaged: {what}")]
    Damaged {
        /// The file (or blob) in question, as a path below the repository.
        file: String,
        /// What is wrong with it.
        what: String,
    },
    /// Snapshots need what is missing or damaged, so that nothing may be removed. A check says which files of them are hit.
    #[error("{blobs} blobs that {} need cannot be read, nothing was removed; the first is {first}", few(snapshots))]
    Incomplete {
        /// How many blobs.
        blobs: u64,
        /// What is wrong with the first of them.
        first: String,
        /// The snapshots in question.
        snapshots: Vec<Id>,
    },
    /// The repository uses something that this engine does not know.
    #[error("the repository is not supported: {what}")]
    Unsupported {
        /// The property in question.
        what: String,
    },
    /// No snapshot fits.
    #[error("no snapshot matches {wanted:?}")]
    SnapshotNotFound {
        /// The id, prefix or `latest` that was asked for.
        wanted: String,
    },
    /// A policy would leave nothing of a group of snapshots. Nothing was removed.
    #[error("the policy keeps no snapshot of {group}")]
    KeepsNothing {
        /// What the snapshots of the group share.
        group: String,
    },
    /// More than one snapshot begins with this prefix.
    #[error("{wanted:?} is the beginning of {count} snapshot ids")]
    SnapshotAmbiguous {
        /// The prefix that was asked for.
        wanted: String,
        /// How many snapshots begin with it.
        count: usize,
    },
    /// The snapshot has nothing at this path, or a directory where a file was asked for.
    #[error("the snapshot has no {wanted} at {path:?}")]
    PathNotFound {
        /// `file` or `entry`.
        wanted: &'static str,
        /// The path that was asked for.
        path: String,
    },
    /// A path for [`Worker::add`](crate::Worker::add) is empty, absolute, too long, or has an empty, `.` or `..` component.
    #[error("{path:?} cannot be the path of a file: {why}")]
    InvalidPath {
        /// The path as given.
        path: String,
        /// Which rule it breaks.
        why: &'static str,
    },
    /// Two live files have the same path, or one file's path is another one's folder.
    #[error("{path:?} was added twice")]
    DuplicatePath {
        /// The path below the root.
        path: String,
    },
    /// The backup already failed or ended. Call [`Backup::finish`](crate::Backup::finish), which reports the first failure (a full
    /// storage, for example) and saves no snapshot then.
    #[error("the backup has ended")]
    Ended,
    /// A new blob did not come back as it went in: faulty memory or a bug. Nothing was written.
    #[error("blob {id} does not decode to what was encoded")]
    VerifyFailed {
        /// The blob.
        id: Id,
    },
    /// A limit of this engine or of the format.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in the unit that `what` names.
        limit: u64,
    },
    /// The destination of a restore cannot be written.
    #[error("write {path}")]
    Restore {
        /// The file or folder in question.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refused something that has nothing to do with the repository (random numbers, a thread).
    #[error("{action}")]
    System {
        /// What was attempted.
        action: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An operation of the engine ended without an answer: a panic or a runtime that is shutting down.
    #[error("{action} was interrupted")]
    Interrupted {
        /// What was running.
        action: &'static str,
    },
    /// The key is the one that this repository was opened with; without it nothing of what is open could be opened again.
    #[error("key {id} is the one in use, it cannot be removed")]
    KeyInUse {
        /// The key file.
        id: Id,
    },
    /// No key, or more than one, begins with this prefix.
    #[error("{wanted:?} is the beginning of {count} key ids, not of one")]
    KeyNotFound {
        /// The id or prefix that was asked for.
        wanted: String,
        /// How many keys begin with it.
        count: usize,
    },
    /// The storage holds a repository already.
    #[error("there is a repository at {location} already")]
    Exists {
        /// The place, in restic's notation.
        location: String,
    },
}

impl Error {
    pub(crate) fn damaged(file: impl ToString, what: impl ToString) -> Self {
        Self::Damaged { file: file.to_string(), what: what.to_string() }
    }

    pub(crate) fn damaged_file(file: File, what: impl ToString) -> Self {
        Self::damaged(file, what)
    }

    pub(crate) fn interrupted(action: &'static str) -> impl FnOnce(tokio::task::JoinError) -> Self {
        move |_| Self::Interrupted { action }
    }

    /// Whether the same call may succeed if it is made again after a while (a server error, a lock of somebody else).
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Temporary { .. } | Self::Locked { .. })
    }
}

/// Names a few snapshots.
fn few(snapshots: &[Id]) -> String {
    const NAMED_MAX: usize = 5;
    let short = |id: &Id| id.to_string()[..8].to_owned();
    let named = snapshots.iter().take(NAMED_MAX).map(short).collect::<Vec<_>>().join(", ");
    match snapshots.len().saturating_sub(NAMED_MAX) {
        0 => format!("the snapshots {named}"),
        more => format!("the snapshots {named} and {more} more"),
    }
}

impl From<BackendError> for Error {
    fn from(source: BackendError) -> Self {
        match source.kind() {
            FailureKind::NotFound => Self::damaged(source.target(), "it is missing"),
            FailureKind::BucketMissing => Self::BucketMissing { location: source.target().to_owned() },
            FailureKind::Denied => Self::Denied { source },
            FailureKind::Full => Self::Full { source },
            FailureKind::Temporary => Self::Temporary { source },
            FailureKind::Other => Self::Storage { source },
        }
    }
}

impl From<getrandom::Error> for Error {
    fn from(source: getrandom::Error) -> Self {
        Self::System { action: "read random numbers", source: std::io::Error::other(source) }
    }
}
