//! Buckets of keys and values, and their compare-and-set.

use async_nats::jetstream::{
    Context,
    context::{CreateKeyValueErrorKind, KeyValueErrorKind},
    kv::{self, Store},
    stream::StorageType,
};
use bytes::Bytes;
use proto::stream::Bucket;

/// A bucket cannot be used at the moment. Trying again may help.
#[derive(Debug, thiserror::Error)]
#[error("{action} of bucket {bucket}")]
pub struct BucketError {
    action: &'static str,
    bucket: String,
    #[source]
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// A value, and what [`swap`] needs to replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// Its revision.
    pub revision: u64,
}

/// The bucket, created where it is missing.
///
/// # Errors
/// [`BucketError`].
pub async fn bucket(jetstream: &Context, bucket: &Bucket) -> Result<Store, BucketError> {
    match jetstream.get_key_value(bucket.name).await {
        Ok(store) => return Ok(store),
        Err(error) if error.kind() == KeyValueErrorKind::GetBucket => {}
        Err(error) => return Err(failed("open", bucket.name)(error)),
    }
    let config = kv::Config {
        bucket: bucket.name.to_owned(),
        history: 1,
        max_age: bucket.age_max,
        max_bytes: bucket.bytes_max,
        max_value_size: bucket.value_bytes_max,
        storage: StorageType::File,
        num_replicas: 1,
        ..kv::Config::default()
    };
    match jetstream.create_key_value(config).await {
        Ok(store) => Ok(store),
        // Another replica was faster.
        Err(error) if error.kind() == CreateKeyValueErrorKind::BucketCreate => {
            jetstream.get_key_value(bucket.name).await.map_err(failed("create", bucket.name))
        }
        Err(error) => Err(failed("create", bucket.name)(error)),
    }
}

/// The value of a key.
///
/// # Errors
/// [`BucketError`].
pub async fn get(store: &Store, key: &str) -> Result<Option<Versioned>, BucketError> {
    let entry = store.entry(key).await.map_err(failed("read a value", &store.name))?;
    let live = entry.filter(|entry| entry.operation == kv::Operation::Put);
    Ok(live.map(|entry| Versioned { value: entry.value, revision: entry.revision }))
}

/// Sets the value of a key if it still has this revision (`None`: if there is none). Returns the new revision, or `None` when
/// somebody else was faster.
///
/// # Errors
/// [`BucketError`]: the value may or may not have been set.
pub async fn swap(store: &Store, key: &str, revision: Option<u64>, value: Bytes) -> Result<Option<u64>, BucketError> {
    use kv::{CreateErrorKind, UpdateErrorKind};
    match revision {
        None => match store.create(key, value).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(None),
            Err(error) => Err(failed("create a value", &store.name)(error)),
        },
        Some(revision) => match store.update(key, value, revision).await {
            Ok(revision) => Ok(Some(revision)),
            Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => Ok(None),
            Err(error) => Err(failed("set a value", &store.name)(error)),
        },
    }
}

fn failed<E>(action: &'static str, bucket: &str) -> impl FnOnce(E) -> BucketError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let bucket = bucket.to_owned();
    move |source| BucketError { action, bucket, source: Box::new(source) }
}
