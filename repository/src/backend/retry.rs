//! Trying again, for the storages whose library does not.

use std::error::Error as StdError;
use std::time::{Duration, Instant};

use crate::location::Patience;

/// Why one attempt failed.
pub(super) enum Attempt<E> {
    /// For good.
    Final(E),
    /// For now; the server may have said for how long.
    Again { pause: Option<Duration>, cause: Box<dyn StdError + Send + Sync> },
}

/// Why there is no result.
pub(super) enum GaveUp<E> {
    /// An attempt failed for good.
    Final(E),
    /// Patience is over.
    Attempts(Attempts),
}

/// All attempts failed.
#[derive(Debug, thiserror::Error)]
#[error("{attempts} attempts failed")]
pub(super) struct Attempts {
    attempts: usize,
    #[source]
    last: Box<dyn StdError + Send + Sync>,
}

/// Makes attempts until one succeeds or fails for good, or patience is over, with growing pauses in between.
pub(super) async fn patiently<T, E, F>(patience: Patience, mut attempt: impl FnMut() -> F) -> Result<T, GaveUp<E>>
where
    F: Future<Output = Result<T, Attempt<E>>>,
{
    let started = Instant::now();
    let (mut attempts, mut pause_next) = (0, patience.pause_first);
    loop {
        attempts += 1;
        match attempt().await {
            Ok(done) => return Ok(done),
            Err(Attempt::Final(failed)) => return Err(GaveUp::Final(failed)),
            Err(Attempt::Again { cause: last, .. })
                if attempts > patience.retries_max || started.elapsed() > patience.retry_max =>
            {
                return Err(GaveUp::Attempts(Attempts { attempts, last }));
            }
            Err(Attempt::Again { pause, .. }) => tokio::time::sleep(pause.unwrap_or(pause_next)).await,
        }
        pause_next = (pause_next * 2).min(patience.pause_max);
    }
}
