//! A repository in a bucket of S3 or a container of Azure, through `object_store`.
//!
//! 1. One PUT for each file: a file is there completely or not at all.
//! 2. `config` is written with `If-None-Match: *`, so that one of several concurrent inits wins. Where the store does not know that
//!    (B2), it is written when it is absent, and read again after a pause: the last of several writers has won then. Inits that start
//!    further apart than the pause are told apart by the first look; in between a slow writer may still come too late.
//! 3. Retries with backoff are `object_store`'s; a body that breaks off is read on from where it broke.
//! 4. Small requests have a deadline of their own: a server that accepts connections and says nothing must not hold a lock refresh
//!    up until the lock is stale.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::tls::Untrusted;
use super::{
    Backend, BackendError, FILE_BYTES_MAX, FailureKind, File, FileKind, LARGE_REQUEST_TIMEOUT, LIST_TIMEOUT, Listed,
    Put, SMALL_REQUEST_TIMEOUT, chain_text,
};
use crate::id::Id;

/// Pause before a claim that could not be made on a condition is looked at again: longer than a small PUT takes, retries aside.
const CLAIM_SETTLES: Duration = Duration::from_secs(2);

/// Looks at a `config` that another writer has just written, and the pause between two: three seconds in all.
const LOOKS_FOR_WINNER_MAX: usize = 30;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A repository below a prefix of an object store; see [`Backend`] for what each call guarantees.
#[derive(Clone, Debug)]
pub struct ObjectBackend {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    location: String,
    connections: usize,
}

impl ObjectBackend {
    /// The repository below `prefix` of `store`. `location` names it in messages.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str, location: impl Into<String>, connections: usize) -> Self {
        Self { store, prefix: Path::from(prefix), location: location.into(), connections: connections.max(1) }
    }

    fn path(&self, file: File) -> Path {
        let folder = self.prefix.parts().chain(Path::from(file.folder()).parts()).collect::<Path>();
        folder.join(file.name())
    }

    async fn deadline<T>(
        &self,
        limit: Duration,
        action: &'static str,
        target: &str,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, BackendError> {
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(source)) => Err(self.failure(action, target, source)),
            Err(late) => Err(BackendError::new(FailureKind::Temporary, action, target).caused_by(late)),
        }
    }

    async fn write(&self, file: File, content: Bytes, mode: PutMode) -> Result<Put, Unwritten> {
        let path = self.path(file);
        let request = self.store.put_opts(&path, content.into(), PutOptions::from(mode));
        let limit = if file == File::Config { SMALL_REQUEST_TIMEOUT } else { LARGE_REQUEST_TIMEOUT };
        match tokio::time::timeout(limit, request).await {
            Ok(Ok(_)) => Ok(Put::Stored),
            Ok(Err(source)) => Err(Unwritten::Store(source)),
            Err(late) => Err(Unwritten::Late(late)),
        }
    }

    /// Writes `config` where a PUT has no condition.
    async fn claim(&self, content: Bytes) -> Result<Put, BackendError> {
        if self.stat(File::Config).await?.is_some() {
            return Ok(Put::Exists);
        }
        let stored = self.write(File::Config, content.clone(), PutMode::Overwrite).await;
        stored.map_err(|e| self.put_failure(File::Config, e))?;
        tokio::time::sleep(CLAIM_SETTLES).await;
        let winner = self.get(File::Config).await?;
        Ok(if winner == content { Put::Stored } else { Put::Exists })
    }

    /// What is there already can be read, or soon: some servers (versitygw) refuse the losers of a race a moment before the winner's
    /// object can be seen.
    async fn settled(&self) -> Result<Put, BackendError> {
        for _ in 0..LOOKS_FOR_WINNER_MAX {
            match self.get(File::Config).await {
                Err(e) if e.kind() == FailureKind::NotFound => tokio::time::sleep(LOOK_AGAIN).await,
                read => return read.map(|_| Put::Exists),
            }
        }
        Ok(Put::Exists)
    }

    fn put_failure(&self, file: File, unwritten: Unwritten) -> BackendError {
        match unwritten {
            Unwritten::Store(source) => self.failure("write", &file.to_string(), source),
            Unwritten::Late(late) => BackendError::new(FailureKind::Temporary, "write", file).caused_by(late),
        }
    }

    fn failure(&self, action: &'static str, target: &str, source: object_store::Error) -> BackendError {
        let kind = kind_of(&source);
        let target = if kind == FailureKind::BucketMissing { &self.location } else { target };
        BackendError::new(kind, action, target).caused_by(source)
    }
}

/// Why a file was not written.
enum Unwritten {
    Store(object_store::Error),
    Late(tokio::time::error::Elapsed),
}

#[async_trait]
impl Backend for ObjectBackend {
    fn location(&self) -> &str {
        &self.location
    }

    fn connections(&self) -> usize {
        self.connections
    }

    async fn create_folders(&self) -> Result<(), BackendError> {
        Ok(())
    }

    async fn put(&self, file: File, content: Bytes) -> Result<Put, BackendError> {
        if file != File::Config {
            return self.write(file, content, PutMode::Overwrite).await.map_err(|e| self.put_failure(file, e));
        }
        match self.write(file, content.clone(), PutMode::Create).await {
            Err(Unwritten::Store(object_store::Error::AlreadyExists { .. })) => self.settled().await,
            Err(Unwritten::Store(object_store::Error::NotImplemented { .. })) => self.claim(content).await,
            stored => stored.map_err(|e| self.put_failure(file, e)),
        }
    }

    async fn get(&self, file: File) -> Result<Bytes, BackendError> {
        let target = file.to_string();
        let path = self.path(file);
        let answer = self.deadline(SMALL_REQUEST_TIMEOUT, "read", &target, self.store.get(&path)).await?;
        if answer.meta.size > u64::from(FILE_BYTES_MAX) {
            let why = format!("{} bytes, at most {FILE_BYTES_MAX} fit", answer.meta.size);
            return Err(BackendError::new(FailureKind::Other, "read", target).caused_by(why));
        }
        self.deadline(LARGE_REQUEST_TIMEOUT, "read", &target, answer.bytes()).await
    }

    async fn get_range(&self, file: File, offset: u64, bytes: u32) -> Result<Bytes, BackendError> {
        let target = file.to_string();
        let short = || BackendError::new(FailureKind::NotFound, "read", &target).caused_by("the file is too short");
        if bytes == 0 {
            return Ok(Bytes::new());
        }
        let end = offset.checked_add(bytes.into()).ok_or_else(short)?;
        let path = self.path(file);
        let request = self.store.get_range(&path, offset..end);
        let content = match self.deadline(LARGE_REQUEST_TIMEOUT, "read", &target, request).await {
            Err(e) if is_beyond_the_end(&e) => return Err(short()),
            answer => answer?,
        };
        if content.len() == bytes as usize { Ok(content) } else { Err(short()) }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<Listed>, BackendError> {
        let prefix = self.prefix.clone().join(kind.folder());
        let listed = self.store.list(Some(&prefix)).try_filter_map(|object| async move {
            let id = object.location.filename().and_then(|name| name.parse::<Id>().ok());
            Ok(id.map(|id| Listed { id, bytes: object.size }))
        });
        self.deadline(LIST_TIMEOUT, "list", kind.folder(), listed.try_collect()).await
    }

    async fn stat(&self, file: File) -> Result<Option<u64>, BackendError> {
        let path = self.path(file);
        match self.deadline(SMALL_REQUEST_TIMEOUT, "look for", &file.to_string(), self.store.head(&path)).await {
            Ok(object) => Ok(Some(object.size)),
            Err(e) if e.kind() == FailureKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, file: File) -> Result<(), BackendError> {
        let path = self.path(file);
        match self.deadline(SMALL_REQUEST_TIMEOUT, "delete", &file.to_string(), self.store.delete(&path)).await {
            Err(e) if e.kind() != FailureKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// The store's answer as our kind of failure. S3 and Azure say "no such bucket" with the same status as "no such key"; the error code,
/// in the body, is the only difference.
pub(super) fn kind_of(error: &object_store::Error) -> FailureKind {
    let chain = chain_text(error);
    let says = |codes: &[&str]| codes.iter().any(|code| chain.contains(code));
    match error {
        _ if says(&["NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted"]) => FailureKind::BucketMissing,
        object_store::Error::NotFound { .. } => FailureKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            FailureKind::Denied
        }
        _ if says(&["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"]) => FailureKind::Denied,
        _ if says(&["QuotaExceeded", "XMinioStorageFull", "507 Insufficient"]) => FailureKind::Full,
        _ if says(&["status code: 429", "status code: 408"]) => FailureKind::Temporary,
        _ if chain.contains("non-2xx status code: 4") || is_untrusted(error) => FailureKind::Other,
        object_store::Error::Generic { .. } | object_store::Error::JoinError { .. } => FailureKind::Temporary,
        _ => FailureKind::Other,
    }
}

fn is_untrusted(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<Untrusted>())
}

/// A range that the file does not have: 416 from S3 and Azure; Azurite sends another range or one that is none, which the library
/// notices.
fn is_beyond_the_end(error: &BackendError) -> bool {
    let why = std::error::Error::source(error).map(chain_text).unwrap_or_default();
    ["status code: 416", "CONTENT_RANGE header", "Wanted range starting at"].iter().any(|text| why.contains(text))
}
