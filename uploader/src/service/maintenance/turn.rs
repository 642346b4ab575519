//! Whose turn it is to maintain a Repository: an entry in the bucket of claims, kept fresh while the work goes on.
//!
//! It saves work, it protects nothing: that is what the repository's own lock is for. So NATS going away in the middle does no harm.

use std::time::{Duration, Instant};

use async_nats::jetstream::kv::Store;
use jiff::Timestamp;
use proto::stream::CLAIMS;
use runtime::{
    chain,
    nats::{BucketError, Connection, bucket, get, swap},
};
use sha2::{Digest as _, Sha256};
use tokio::{task::JoinHandle, time::sleep};
use tracing::debug;

/// Age from which on an entry is nobody's.
const STALE: Duration = Duration::from_secs(40);
/// Time between two refreshments: two may be lost.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
/// Time between two looks at somebody else's entry.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The turn; it ends when this is dropped.
pub(super) struct Turn(Option<JoinHandle<()>>);

impl Turn {
    /// Waits for the turn.
    ///
    /// # Errors
    /// Why it did not come within `patience`, for people.
    pub(super) async fn take(connection: &Connection, repository: &str, patience: Duration) -> Result<Self, String> {
        let started = Instant::now();
        // Names of Repositories may have characters that names of keys must not have.
        let key = Sha256::digest(repository)
            .iter()
            .take(16)
            .fold("maintain.".to_owned(), |key, byte| format!("{key}{byte:02x}"));
        loop {
            match Self::attempt(connection, &key).await {
                Ok(Some(turn)) => return Ok(turn),
                Ok(None) if started.elapsed() >= patience => {
                    return Err(format!(
                        "another replica has been maintaining {repository} for {} s",
                        patience.as_secs()
                    ));
                }
                Ok(None) => sleep(LOOK_EVERY).await,
                Err(error) => {
                    debug!(reason = %chain(&error), "No turn can be taken without NATS; the repository's lock decides");
                    return Ok(Self(None));
                }
            }
        }
    }

    async fn attempt(connection: &Connection, key: &str) -> Result<Option<Self>, BucketError> {
        let store = bucket(connection.jetstream(), &CLAIMS).await?;
        let found = get(&store, key).await?;
        if found.as_ref().is_some_and(|found| is_fresh(&found.value)) {
            return Ok(None);
        }
        let taken = swap(&store, key, found.map(|found| found.revision), now()).await?;
        Ok(taken.map(|revision| Self(Some(tokio::spawn(keep(store, key.to_owned(), revision))))))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // The entry goes stale by itself, at the latest; its task removes it at once.
        if let Some(task) = self.0.take() {
            task.abort();
        }
    }
}

/// Removes the entry when its task is dropped.
struct Entry {
    store: Store,
    key: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let (store, key) = (self.store.clone(), std::mem::take(&mut self.key));
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { store.purge(key).await });
        }
    }
}

async fn keep(store: Store, key: String, mut revision: u64) {
    let entry = Entry { store, key };
    loop {
        sleep(REFRESH_EVERY).await;
        match swap(&entry.store, &entry.key, Some(revision), now()).await {
            Ok(Some(next)) => revision = next,
            Ok(None) => return,
            Err(error) => debug!(reason = %chain(&error), "The turn was not refreshed"),
        }
    }
}

fn now() -> bytes::Bytes {
    Timestamp::now().as_second().to_string().into()
}

fn is_fresh(value: &[u8]) -> bool {
    let written = std::str::from_utf8(value).ok().and_then(|text| text.parse::<i64>().ok());
    written.is_some_and(|written| {
        let age = Timestamp::now().as_second().saturating_sub(written);
        u64::try_from(age).is_ok_and(|age| age < STALE.as_secs())
    })
}
