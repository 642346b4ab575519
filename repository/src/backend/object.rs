//! A repository in a bucket, through `object_store`.
//!
//! 1. One PUT for each file: a file is there completely or not at all.
//! 2. `config` is written with `If-None-Match: *`, so that one of several concurrent inits wins.
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

use super::{Backend, BackendError, FILE_BYTES_MAX, FailureKind, File, FileKind, Listed, Put};
use crate::id::Id;

/// Deadline of a request that moves little, with its retries.
const SMALL_REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Deadline of a request that moves a pack or an index, with its retries: 16 MiB at 0.5 Mbit/s.
const LARGE_REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// Deadline of a whole list: a page of 1,000 names takes well under a second.
const LIST_TIMEOUT: Duration = Duration::from_secs(600);

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

    fn failure(&self, action: &'static str, target: &str, source: object_store::Error) -> BackendError {
        let kind = kind_of(&source);
        let target = if kind == FailureKind::BucketMissing { &self.location } else { target };
        BackendError::new(kind, action, target).caused_by(source)
    }
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
        let mode = if file == File::Config { PutMode::Create } else { PutMode::Overwrite };
        let path = self.path(file);
        let options = PutOptions::from(mode);
        let request = self.store.put_opts(&path, content.into(), options);
        let limit = if file == File::Config { SMALL_REQUEST_TIMEOUT } else { LARGE_REQUEST_TIMEOUT };
        let stored = tokio::time::timeout(limit, request).await;
        match stored {
            Ok(Ok(_)) => Ok(Put::Stored),
            Ok(Err(object_store::Error::AlreadyExists { .. })) if file == File::Config => Ok(Put::Exists),
            Ok(Err(source)) => Err(self.failure("write", &file.to_string(), source)),
            Err(late) => Err(BackendError::new(FailureKind::Temporary, "write", file).caused_by(late)),
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
            Err(e) if status_is(&e, "416") => return Err(short()),
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

/// The store's answer as our kind of failure. S3 says "no such bucket" with the same status as "no such key"; its error code, in the
/// body, is the only difference.
fn kind_of(error: &object_store::Error) -> FailureKind {
    let chain = chain_text(error);
    match error {
        _ if chain.contains("NoSuchBucket") => FailureKind::BucketMissing,
        object_store::Error::NotFound { .. } => FailureKind::NotFound,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            FailureKind::Denied
        }
        _ if ["InvalidAccessKeyId", "SignatureDoesNotMatch", "AccessDenied"]
            .iter()
            .any(|code| chain.contains(code)) =>
        {
            FailureKind::Denied
        }
        _ if ["QuotaExceeded", "XMinioStorageFull", "507 Insufficient"].iter().any(|code| chain.contains(code)) => {
            FailureKind::Full
        }
        _ if chain.contains("non-2xx status code: 4") => FailureKind::Other,
        object_store::Error::Generic { .. } | object_store::Error::JoinError { .. } => FailureKind::Temporary,
        _ => FailureKind::Other,
    }
}

fn status_is(error: &BackendError, status: &str) -> bool {
    std::error::Error::source(error).is_some_and(|source| chain_text(source).contains(status))
}

fn chain_text(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
