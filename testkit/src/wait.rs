//! Waiting for a condition, in place of sleeping for a while and hoping.

use std::{
    future::Future,
    panic::Location,
    time::{Duration, Instant},
};

/// Time between two looks at a condition. Short enough not to be felt, long enough to leave the processor to the server.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Returns as soon as `condition` is true.
///
/// # Panics
/// When it is not true within `limit`; the message names the caller's line.
#[track_caller]
pub fn wait_for<F, Fut>(limit: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = Location::caller();
    async move {
        let started = Instant::now();
        while !condition().await {
            assert!(started.elapsed() < limit, "the condition at {caller} was not met within {limit:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
