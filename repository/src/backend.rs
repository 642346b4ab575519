//! The place where a repository's files lie: what every storage must do, and what is true after each call.
//!
//! 1. Files are written once and never changed. All but `config` are named by the SHA-256 of their content, so writing one twice
//!    writes the same bytes: every call here may be repeated.
//! 2. A call either did what it says or returns an error. A list that could not be read to its end is an error, never a shorter list.
//! 3. The layout is restic's default one, in a folder as in a bucket: `config`, `keys/`, `locks/`, `snapshots/`, `index/`, and
//!    `data/xx/` by the first two digits of the pack's name.

mod b2;
mod connector;
mod gcs;
mod http;
mod local;
mod object;
mod rest;
mod retry;
#[cfg(feature = "rusoto")]
mod rusoto;
mod tls;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::id::Id;

pub(crate) use b2::B2Backend;
pub(crate) use connector::Connector;
pub(crate) use gcs::GcsBackend;
pub(crate) use http::Http;
pub use local::LocalBackend;
pub use object::ObjectBackend;
pub(crate) use rest::RestBackend;
#[cfg(feature = "rusoto")]
pub(crate) use rusoto::{Place, RusotoBackend};

/// Largest file that [`Backend::get`] reads whole. An index of 50,000 blobs has 8 MB, and a damaged storage must not exhaust memory.
pub(crate) const FILE_BYTES_MAX: u32 = 256 << 20;

/// Deadline of a request that moves little, with its retries. A server that accepts connections and says nothing must not hold a lock
/// refresh up until the lock is stale.
const SMALL_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Deadline of a request that moves a pack or an index, with its retries: 16 MiB at 0.5 Mbit/s.
const LARGE_REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Deadline of a whole list: a page of 1,000 names takes well under a second.
const LIST_TIMEOUT: Duration = Duration::from_secs(600);

/// The kinds of files named by their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A key file: the master key, sealed with a key derived from a password.
    Key,
    /// A lock.
    Lock,
    /// A snapshot.
    Snapshot,
    /// An index: which blob lies in which pack.
    Index,
    /// A pack: blobs, and a header that lists them.
    Pack,
}

impl FileKind {
    /// All kinds, in no particular order.
    pub const ALL: [Self; 5] = [Self::Key, Self::Lock, Self::Snapshot, Self::Index, Self::Pack];

    /// The folder of this kind below the repository.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Key => "keys",
            Self::Lock => "locks",
            Self::Snapshot => "snapshots",
            Self::Index => "index",
            Self::Pack => "data",
        }
    }
}

/// One file of a repository. `Display` is its path below the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum File {
    /// The one file with a fixed name; it makes a place a repository.
    Config,
    /// A file named by its content.
    Named(FileKind, Id),
}

impl File {
    /// The folder below the repository, empty for `config`.
    pub(crate) fn folder(&self) -> String {
        match self {
            Self::Config => String::new(),
            Self::Named(FileKind::Pack, id) => format!("data/{}", &id.to_string()[..2]),
            Self::Named(kind, _) => kind.folder().to_owned(),
        }
    }

    /// The name within its folder.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Config => "config".to_owned(),
            Self::Named(_, id) => id.to_string(),
        }
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config => f.write_str("config"),
            Self::Named(..) => write!(f, "{}/{}", self.folder(), self.name()),
        }
    }
}

/// One file of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: Id,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What [`Backend::put`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The file now has this content.
    Stored,
    /// Only for [`File::Config`]: the file was there already and is unchanged.
    Exists,
}

/// A storage. [`Location::connect`](crate::Location::connect) gives one for each kind of location.
///
/// All calls may run at the same time and may be repeated; retries within a call are the implementation's.
#[async_trait]
pub trait Backend: Send + Sync + fmt::Debug {
    /// The place in restic's notation, without credentials.
    fn location(&self) -> &str;

    /// Requests that may run at the same time; at least 1.
    fn connections(&self) -> usize;

    /// Makes the folders of an empty repository where the storage has such. Harmless on one that exists.
    async fn create_folders(&self) -> Result<(), BackendError>;

    /// Stores a file. After `Stored` it is durable and complete under its name; after an error it is either so or absent (a leftover
    /// under a temporary name is ignored by every reader). `config` is created only when absent: of several concurrent calls exactly
    /// one returns `Stored`. Named files are overwritten, which changes nothing, as the name is the hash of the content.
    /// Safe to repeat, except that a repeated put of `config` may answer `Exists` although the first one stored it.
    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError>;

    /// The whole content. A file that is absent is an error of kind [`FailureKind::NotFound`].
    async fn get(&self, file: File) -> Result<Bytes, BackendError>;

    /// Exactly `bytes` bytes from `offset`. A file that is absent or ends before is an error of kind [`FailureKind::NotFound`].
    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError>;

    /// All files of a kind, in any order. What does not have a name of 64 digits is passed over. Files stored before the call are
    /// in the list, files deleted before are not; for those stored or deleted meanwhile both is possible.
    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError>;

    /// The size of a file in bytes, or `None` when it is absent.
    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError>;

    /// Removes a file. After success it is absent, and it is no error when it was before. Snapshots, indexes and keys stay absent also
    /// after a power cut, so that what they name can be deleted next.
    async fn delete(&self, file: File) -> Result<(), BackendError>;
}

/// What kind of failure a storage reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The file, or the range of it, is not there.
    NotFound,
    /// The bucket (in Azure the container) is not there.
    BucketMissing,
    /// Credentials or permissions do not suffice.
    Denied,
    /// No space left, or a quota is used up.
    Full,
    /// No connection, a timeout, or a server error, after all retries.
    Temporary,
    /// Anything else.
    Other,
}

/// A failed call to a storage.
#[derive(Debug, thiserror::Error)]
#[error("{action} {target}")]
pub struct BackendError {
    kind: FailureKind,
    action: &'static str,
    target: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BackendError {
    /// An error of this kind; `target` is the file (a path below the repository) or, for a missing bucket, the location.
    pub fn new(kind: FailureKind, action: &'static str, target: impl ToString) -> Self {
        Self { kind, action, target: target.to_string(), source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> FailureKind {
        self.kind
    }

    /// The file or place that was the object of the call.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// An error with its causes, in one line.
pub(crate) fn chain_text(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The outcome of requests that together have `limit`.
async fn within<T>(
    limit: Duration,
    action: &'static str,
    target: impl ToString,
    request: impl Future<Output = Result<T, BackendError>>,
) -> Result<T, BackendError> {
    let late = |late| BackendError::new(FailureKind::Temporary, action, target).caused_by(late);
    tokio::time::timeout(limit, request).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
}
